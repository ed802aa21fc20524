/* core/large_pool.c: see core/large_pool.h. */
#include "core/large_pool.h"

#include "base/atomic.h"
#include "base/option.h"
#include "core/meta.h"
#include "core/page_map.h"

#include <errno.h>
#include <string.h>

/* Whole arenas that stay: a program that swings around an arena's edge does not map and unmap each time. */
enum { KEPT_WHOLE = 1 };

void hypi_large_pool_init(hypi_large_pool *pool, const hyp_backing *backing, size_t arena_bytes, uint64_t decay_ms) {
	memset(pool, 0, sizeof *pool);
	pool->backing = *backing;
	pool->arena_bytes = arena_bytes;
	pool->decay_ms = decay_ms;
	pool->commit_whole = backing->commit != NULL && backing->granule_bytes > HYPI_SLICE_BYTES;
	if (pool->commit_whole) pool->backing.purge = NULL;
}

/* ---- lists of arenas by largest free order; the caller holds the lock ---- */

static void unlist(hypi_large_pool *pool, hypi_arena *arena) {
	if (arena->listed == 0) return;
	if (arena->prev != NULL) arena->prev->next = arena->next;
	else pool->lists[arena->listed] = arena->next;
	if (arena->next != NULL) arena->next->prev = arena->prev;
	if (pool->lists[arena->listed] == NULL) pool->list_mask &= ~(1u << arena->listed);
	arena->listed = 0;
}

static void relist(hypi_large_pool *pool, hypi_arena *arena) {
	uint32_t largest = hypi_arena_largest(arena);
	if (largest == arena->listed) return;
	unlist(pool, arena);
	arena->listed = largest;
	if (largest == 0) return;
	arena->prev = NULL;
	arena->next = pool->lists[largest];
	if (arena->next != NULL) arena->next->prev = arena;
	pool->lists[largest] = arena;
	pool->list_mask |= 1u << largest;
}

static void link_arena(hypi_large_pool *pool, hypi_arena *arena) {
	arena->id = pool->arenas_made++;
	arena->all_prev = NULL;
	arena->all_next = pool->all;
	if (pool->all != NULL) pool->all->all_prev = arena;
	pool->all = arena;
	pool->arenas++;
	pool->whole_arenas++;
	pool->mapped_bytes += (size_t)arena->slices << HYPI_SLICE_LOG2;
	relist(pool, arena);
}

static void unlink_arena(hypi_large_pool *pool, hypi_arena *arena) {
	unlist(pool, arena);
	if (arena->all_prev != NULL) arena->all_prev->all_next = arena->all_next;
	else pool->all = arena->all_next;
	if (arena->all_next != NULL) arena->all_next->all_prev = arena->all_prev;
	pool->arenas--;
	pool->whole_arenas--;
	pool->mapped_bytes -= (size_t)arena->slices << HYPI_SLICE_LOG2;
}

/* ---- growth ---- */

static size_t granule_bytes(const hypi_large_pool *pool) {
	size_t granule = pool->backing.granule_bytes;
	return granule < HYPI_SLICE_BYTES ? HYPI_SLICE_BYTES : granule;
}

static void name_arena(uintptr_t base, size_t bytes) {
	if (hypi_option_get(HYPI_OPTION_names)) hypi_os_name((void *)base, bytes, "hypool arena");
}

/* Reserves an arena; smaller and smaller ones when address space is short. Called without the lock. */
static hyp_status make_arena(hypi_large_pool *pool, size_t least_bytes, hypi_arena **ret_arena) {
	size_t bytes = pool->arena_bytes;
	size_t least = (size_t)1 << hypi_log2_ceil(least_bytes);
	if (least < granule_bytes(pool)) least = granule_bytes(pool);
	if (bytes < least) bytes = least;
	hypi_arena *arena = hypi_meta_alloc(sizeof *arena);
	if (arena == NULL) return HYP_ERR_NO_MEMORY;
	for (;; bytes >>= 1) {
		uintptr_t base;
		hyp_status status = pool->backing.reserve(pool->backing.context, bytes, bytes, &base);
		if (status == HYP_OK) {
			status = pool->commit_whole ? pool->backing.commit(pool->backing.context, base, bytes) : HYP_OK;
			if (status == HYP_OK && hypi_page_map_cover(base, bytes)) {
				if (pool->backing.flags & HYP_BACKING_HOST) name_arena(base, bytes);
				hypi_arena_init(arena, base, (uint32_t)(bytes >> HYPI_SLICE_LOG2));
				*ret_arena = arena;
				return HYP_OK;
			}
			if (pool->backing.release(pool->backing.context, base, bytes) != HYP_OK) status = HYP_ERR_OS;
			status = HYP_ERR_NO_MEMORY;
		}
		if (bytes <= least) {
			hypi_meta_free(arena, sizeof *arena);
			errno = ENOMEM;
			return status == HYP_ERR_LIMIT ? status : HYP_ERR_NO_MEMORY;
		}
	}
}

static bool within_limit(const hypi_large_pool *pool, size_t more_bytes, bool small) {
	size_t limit = small ? pool->small_limit_bytes : pool->limit_bytes;
	if (limit == 0) return true;
	size_t used = small ? pool->small_slices << HYPI_SLICE_LOG2
	                    : ((pool->used_slices - pool->small_slices) << HYPI_SLICE_LOG2) + pool->huge_bytes;
	return used <= limit && more_bytes <= limit - used;
}

static bool release_whole(hypi_large_pool *pool, uint32_t keep);

/* The kernel refused address space: whatever stands empty goes back, now and from now on. Returns whether any did. */
static bool squeeze(hypi_large_pool *pool) {
	hypi_lock_take(&pool->lock);
	pool->tight = true;
	bool any = release_whole(pool, 0);
	hypi_unlock(&pool->lock);
	return any;
}

hyp_status hypi_large_pool_grow(hypi_large_pool *pool, size_t bytes) {
	hypi_arena *arena;
	hyp_status status = make_arena(pool, bytes, &arena);
	if (status != HYP_OK && squeeze(pool)) status = make_arena(pool, bytes, &arena);
	if (status != HYP_OK) return status;
	hypi_lock_take(&pool->lock);
	link_arena(pool, arena);
	hypi_unlock(&pool->lock);
	return HYP_OK;
}

/* ---- runs ---- */

enum {
	LONG_RUN = (1 << 20) >> HYPI_SLICE_LOG2, /* slices of runs that may lie at any slice */
	LONG_LOOKS = 16,                         /* arenas that are looked through for a place */
	LONG_SHARE = 4                           /* of a run is dirty at least, or the place is no better than another */
};

/* A long run goes where most dirty slices lie, at a multiple of its size or not: programs that come and go with blocks of
 * many megabytes leave ranges in which another block fits, if at no such multiple. */
static hypi_arena *dirtiest(hypi_large_pool *pool, uint32_t count, uint32_t *ret_first) {
	hypi_arena *in = NULL;
	hypi_place best = {.first = HYPI_NO_SLICE, .dirty = count / LONG_SHARE};
	int looks = LONG_LOOKS;
	for (hypi_arena *arena = pool->all; arena != NULL && looks > 0; arena = arena->all_next) {
		if (arena->dirty_free < best.dirty || arena->free_slices < count) continue;
		looks--;
		if (hypi_arena_dirtiest(arena, count, &best)) in = arena;
	}
	*ret_first = best.first;
	return in;
}

static bool take_locked(hypi_large_pool *pool, uint32_t count, unsigned align_order, hypi_run *ret_run) {
	unsigned want = hypi_log2_ceil(count);
	if (align_order > want) want = align_order;
	uint32_t first = HYPI_NO_SLICE, candidates = want + 1 >= 32 ? 0 : pool->list_mask >> (want + 1) << (want + 1);
	bool any_slice = count >= LONG_RUN && align_order == 0 && granule_bytes(pool) == HYPI_SLICE_BYTES;
	hypi_arena *arena = any_slice ? dirtiest(pool, count, &first) : NULL;
	if (arena == NULL) {
		if (candidates == 0) return false;
		arena = pool->lists[hypi_ctz(candidates)];
	}
	bool was_whole = hypi_arena_is_whole(arena);
	uint32_t dirty = arena->dirty_free;
	if (first == HYPI_NO_SLICE) first = hypi_arena_take(arena, count, align_order);
	else if (!hypi_arena_take_at(arena, first, count)) first = HYPI_NO_SLICE;
	HYP_ASSERT(first != HYPI_NO_SLICE);
	pool->whole_arenas -= was_whole;
	relist(pool, arena);
	pool->used_slices += count;
	if (pool->used_slices > pool->peak_used_slices) pool->peak_used_slices = pool->used_slices;
	*ret_run = (hypi_run){.arena = arena, .first = first, .count = count, .clean = count - (dirty - arena->dirty_free)};
	ret_run->zeroed = ret_run->clean == count && (pool->backing.flags & HYP_BACKING_ZEROED);
	return true;
}

static void give_locked(hypi_large_pool *pool, const hypi_run *run, bool dirty) {
	hypi_arena_give(run->arena, run->first, run->count, dirty);
	pool->whole_arenas += hypi_arena_is_whole(run->arena);
	pool->used_slices -= run->count;
	if (run->small) pool->small_slices -= run->count;
	relist(pool, run->arena);
}

/* Memory that is not usable until committed is committed outside the lock: the run is already ours. */
static hyp_status commit_run(hypi_large_pool *pool, const hypi_run *run) {
	if (pool->backing.commit == NULL || pool->commit_whole) return HYP_OK;
	size_t bytes = (size_t)run->count << HYPI_SLICE_LOG2;
	hyp_status status = pool->backing.commit(pool->backing.context, hypi_run_address(run), bytes);
	if (status != HYP_OK) hypi_large_pool_give(pool, run, true);
	return status;
}

static size_t purge_all(hypi_large_pool *pool, bool settled_only, size_t most, bool cut);

/* Dirty memory that may lie free: so much, and a share of what small and large blocks use. What is large comes back in
 * another size, and costs as much for each page. */
enum { SLACK_BYTES = 1 << 18, SMALL_SHARE = 8, LARGE_SHARE = 3, SWAP_LEAST = 1 << 18 };

static size_t slack_slices(const hypi_large_pool *pool) {
	size_t small = pool->small_slices, large = pool->used_slices - small;
	return (SLACK_BYTES >> HYPI_SLICE_LOG2) + small / SMALL_SHARE + large / LARGE_SHARE;
}

/* A run is about to cost the memory of its clean slices: lets dirty free slices go for it, in batches that are worth a system call. */
static void swap_dirty(hypi_large_pool *pool, const hypi_run *run) {
	size_t dirty = 0, want = (size_t)run->clean << HYPI_SLICE_LOG2;
	if (want == 0 || pool->backing.purge == NULL) return;
	hypi_lock_take(&pool->lock);
	for (const hypi_arena *arena = pool->all; arena != NULL; arena = arena->all_next) dirty += arena->dirty_free;
	if (want < SWAP_LEAST) want = SWAP_LEAST;
	if (dirty > slack_slices(pool) + (SWAP_LEAST >> HYPI_SLICE_LOG2)) purge_all(pool, false, want, false);
	hypi_unlock(&pool->lock);
}

static hyp_status take(hypi_large_pool *pool, uint32_t count, unsigned align_order, bool small, hypi_run *ret_run) {
	if (count > HYPI_ARENA_SLICES || align_order > HYPI_ARENA_ORDER) return HYP_ERR_INVALID;
	hypi_run run;
	for (bool grown = false;;) {
		hypi_lock_take(&pool->lock);
		bool allowed = within_limit(pool, (size_t)count << HYPI_SLICE_LOG2, small);
		bool taken = allowed && take_locked(pool, count, align_order, &run);
		if (taken && small) pool->small_slices += count;
		bool wait = allowed && !taken && pool->purging > 0;
		hypi_unlock(&pool->lock);
		if (!allowed) return errno = ENOMEM, HYP_ERR_LIMIT;
		if (taken) break;
		if (wait && grown) {
			hypi_os_yield(); /* slices out on a purge come back in a moment */
			continue;
		}
		unsigned want = hypi_log2_ceil(count);
		if (align_order > want) want = align_order;
		hyp_status status = hypi_large_pool_grow(pool, HYPI_SLICE_BYTES << want);
		if (status != HYP_OK && !wait) return status;
		grown = true;
	}
	run.small = small;
	swap_dirty(pool, &run);
	hyp_status status = commit_run(pool, &run);
	if (status == HYP_OK) *ret_run = run;
	return status;
}

hyp_status hypi_large_pool_take(hypi_large_pool *pool, uint32_t count, unsigned align_order, hypi_run *ret_run) {
	return take(pool, count, align_order, false, ret_run);
}

hyp_status hypi_large_pool_take_small(hypi_large_pool *pool, uint32_t count, hypi_run *ret_run) {
	return take(pool, count, 0, true, ret_run);
}

void hypi_large_pool_give(hypi_large_pool *pool, const hypi_run *run, bool dirty) {
	hypi_lock_take(&pool->lock);
	give_locked(pool, run, dirty);
	if (HYP_UNLIKELY(pool->tight) && hypi_arena_is_whole(run->arena)) release_whole(pool, 0);
	hypi_unlock(&pool->lock);
}

bool hypi_large_pool_resize(hypi_large_pool *pool, hypi_run *run, uint32_t count) {
	hypi_run change = {.arena = run->arena};
	bool done = true;
	hypi_lock_take(&pool->lock);
	if (count < run->count) {
		change.first = run->first + count;
		change.count = run->count - count;
		give_locked(pool, &change, true);
	} else if (count > run->count) {
		change.first = run->first + run->count;
		change.count = count - run->count;
		uint32_t dirty = run->arena->dirty_free;
		done = within_limit(pool, (size_t)change.count << HYPI_SLICE_LOG2, false) &&
		       hypi_arena_take_at(run->arena, change.first, change.count);
		if (done) {
			change.clean = change.count - (dirty - run->arena->dirty_free);
			pool->used_slices += change.count;
			if (pool->used_slices > pool->peak_used_slices) pool->peak_used_slices = pool->used_slices;
			relist(pool, run->arena);
		}
	}
	hypi_unlock(&pool->lock);
	if (!done) return false;
	if (count > run->count) swap_dirty(pool, &change);
	if (count > run->count && commit_run(pool, &change) != HYP_OK) return false;
	run->count = count;
	return true;
}

/* ---- purging ---- */

static void come_back(hypi_large_pool *pool, hypi_arena *arena, bool dirty) {
	hypi_arena_give(arena, arena->out_first, arena->out_count, dirty);
	arena->out_count = 0;
	pool->whole_arenas += hypi_arena_is_whole(arena);
	relist(pool, arena);
}

/* Purges the runs of one arena one by one, until `most` bytes are; each is out of the buddy system while the lock is
 * open. `cut`: the last run as well, at a granule. */
static size_t purge_arena(hypi_large_pool *pool, hypi_arena *arena, bool settled_only, size_t most, bool cut) {
	size_t purged = 0;
	uint32_t from = 0, first, count;
	while (purged < most && hypi_arena_next_purge(arena, from, settled_only, &first, &count)) {
		size_t left = cut ? hypi_round_up(most - purged, granule_bytes(pool)) >> HYPI_SLICE_LOG2 : count;
		if (count > left) count = (uint32_t)left;
		bool was_whole = hypi_arena_is_whole(arena);
		if (!hypi_arena_take_at(arena, first, count)) break;
		arena->out_first = first;
		arena->out_count = count;
		pool->whole_arenas -= was_whole;
		relist(pool, arena);
		hypi_unlock(&pool->lock);
		uintptr_t address = arena->base + ((uintptr_t)first << HYPI_SLICE_LOG2);
		size_t bytes = (size_t)count << HYPI_SLICE_LOG2;
		bool whole = ((address | bytes) & (granule_bytes(pool) - 1)) == 0; /* else it stays, and stays dirty */
		bool done = whole && pool->backing.purge(pool->backing.context, address, bytes) == HYP_OK;
		hypi_lock_take(&pool->lock);
		come_back(pool, arena, !done);
		if (done) purged += bytes;
		else if (whole) hypi_add_relaxed(&pool->purge_failures, 1);
		from = first + count;
	}
	return purged;
}

static size_t purge_all(hypi_large_pool *pool, bool settled_only, size_t most, bool cut) {
	size_t purged = 0;
	for (hypi_arena *arena = pool->all; arena != NULL && purged < most; arena = arena->all_next) {
		if (!arena->young || arena->purging) continue;
		if (pool->backing.purge != NULL) {
			/* `purging` keeps the arena alive and this thread its only purger while the lock is open. */
			arena->purging = true;
			pool->purging++;
			purged += purge_arena(pool, arena, settled_only, most - purged, cut);
			pool->purging--;
			arena->purging = false;
		}
		if (most == SIZE_MAX || (cut && purged < most)) hypi_arena_settle(arena);
	}
	hypi_add_relaxed(&pool->purged_bytes, purged);
	return purged;
}

/* Unmaps whole arenas until `keep` are left; clean ones only, unless address space is short. The caller holds the lock,
 * which is open meanwhile. Returns whether any was unmapped. */
static bool release_whole(hypi_large_pool *pool, uint32_t keep) {
	bool any = false;
	if (pool->keep_arenas) return false;
	hypi_arena *next;
	for (hypi_arena *arena = pool->all; arena != NULL && pool->whole_arenas > keep; arena = next) {
		next = arena->all_next;
		/* Waiting for its pages to be purged is for arenas whose pages can be. */
		bool waits = arena->young && !pool->tight && pool->backing.purge != NULL;
		if (!hypi_arena_is_whole(arena) || waits || arena->purging) continue;
		unlink_arena(pool, arena);
		hypi_unlock(&pool->lock);
		size_t bytes = (size_t)arena->slices << HYPI_SLICE_LOG2;
		bool released = pool->backing.release(pool->backing.context, arena->base, bytes) == HYP_OK;
		if (released) hypi_meta_free(arena, sizeof *arena);
		hypi_lock_take(&pool->lock);
		if (!released) {
			link_arena(pool, arena);
			return any;
		}
		any = true;
		next = pool->all; /* the list may have changed meanwhile */
	}
	return any;
}

void hypi_large_pool_tick(hypi_large_pool *pool, uint64_t now_ms) {
	uint64_t due = hypi_load_relaxed(&pool->epoch_ms);
	if (now_ms < due) return;
	uint64_t next = now_ms + pool->decay_ms / 2 + 1;
	if (!atomic_compare_exchange_strong(&pool->epoch_ms, &due, next) || due == 0) return;
	hypi_lock_take(&pool->lock);
	purge_all(pool, true, SIZE_MAX, false);
	release_whole(pool, KEPT_WHOLE);
	hypi_unlock(&pool->lock);
}

size_t hypi_large_pool_purge_most(hypi_large_pool *pool, size_t most) {
	hypi_lock_take(&pool->lock);
	size_t purged = purge_all(pool, false, most, most != SIZE_MAX);
	release_whole(pool, pool->tight ? 0 : KEPT_WHOLE);
	hypi_unlock(&pool->lock);
	return purged;
}

void hypi_large_pool_forked(hypi_large_pool *pool) {
	for (hypi_arena *arena = pool->all; arena != NULL && pool->purging > 0; arena = arena->all_next) {
		if (arena->out_count > 0) come_back(pool, arena, true);
		arena->purging = false;
	}
	pool->purging = 0;
}

size_t hypi_large_pool_purge(hypi_large_pool *pool) { return hypi_large_pool_purge_most(pool, SIZE_MAX); }

/* ---- mappings of their own ---- */

uintptr_t hypi_large_pool_map_huge(hypi_large_pool *pool, size_t bytes, size_t alignment) {
	hypi_lock_take(&pool->lock);
	bool allowed = within_limit(pool, bytes, false);
	if (allowed) pool->huge_bytes += bytes;
	hypi_unlock(&pool->lock);
	if (!allowed) return errno = ENOMEM, 0;
	uintptr_t address = 0;
	hyp_status status = pool->backing.reserve(pool->backing.context, bytes, alignment, &address);
	if (status != HYP_OK && squeeze(pool))
		status = pool->backing.reserve(pool->backing.context, bytes, alignment, &address);
	if (status == HYP_OK) {
		if (hypi_page_map_cover(address, HYPI_SLICE_BYTES) &&
		    (pool->backing.commit == NULL || pool->backing.commit(pool->backing.context, address, bytes) == HYP_OK))
			return address;
		if (pool->backing.release(pool->backing.context, address, bytes) != HYP_OK)
			hypi_add_relaxed(&pool->purge_failures, 1);
	}
	hypi_lock_take(&pool->lock);
	pool->huge_bytes -= bytes;
	hypi_unlock(&pool->lock);
	return errno = ENOMEM, 0;
}

void hypi_large_pool_unmap_huge(hypi_large_pool *pool, uintptr_t address, size_t bytes) {
	if (pool->backing.release(pool->backing.context, address, bytes) != HYP_OK) {
		/* The kernel's table of mappings is full: give the memory back at least, and let the range lie. */
		hypi_add_relaxed(&pool->purge_failures, 1);
		if (pool->backing.purge != NULL && pool->backing.purge(pool->backing.context, address, bytes) != HYP_OK)
			hypi_add_relaxed(&pool->purge_failures, 1);
	}
	hypi_lock_take(&pool->lock);
	pool->huge_bytes -= bytes;
	hypi_unlock(&pool->lock);
}

/* ---- questions ---- */

hypi_arena *hypi_large_pool_arena_of(hypi_large_pool *pool, uintptr_t address) {
	hypi_lock_take(&pool->lock);
	hypi_arena *arena = pool->all;
	while (arena != NULL && address - arena->base >= (uintptr_t)arena->slices << HYPI_SLICE_LOG2)
		arena = arena->all_next;
	hypi_unlock(&pool->lock);
	return arena;
}

size_t hypi_large_pool_dirty_slices(hypi_large_pool *pool) {
	size_t slices = 0;
	hypi_lock_take(&pool->lock);
	for (hypi_arena *arena = pool->all; arena != NULL; arena = arena->all_next)
		for (size_t w = 0; w < HYPI_BITMAP_WORDS; w++) slices += hypi_popcount(arena->dirty[w] & ~arena->used[w]);
	hypi_unlock(&pool->lock);
	return slices;
}

size_t hypi_large_pool_largest_free(hypi_large_pool *pool) {
	hypi_lock_take(&pool->lock);
	size_t largest = pool->list_mask == 0 ? 0 : (size_t)1 << (hypi_log2_floor(pool->list_mask) - 1);
	hypi_unlock(&pool->lock);
	return largest;
}

static const char *check_locked(hypi_large_pool *pool) {
	size_t used = 0, mapped = 0;
	uint32_t arenas = 0, whole = 0, mask = 0;
	for (hypi_arena *arena = pool->all; arena != NULL; arena = arena->all_next) {
		const char *wrong = hypi_arena_check(arena);
		if (wrong != NULL) return wrong;
		if (!arena->purging) used += arena->slices - arena->free_slices;
		mapped += (size_t)arena->slices << HYPI_SLICE_LOG2;
		arenas++;
		whole += hypi_arena_is_whole(arena);
		if (arena->listed != hypi_arena_largest(arena)) return "an arena is in the wrong list";
		if (arena->listed != 0) mask |= 1u << arena->listed;
	}
	if (mask != pool->list_mask) return "the mask of arena lists is wrong";
	if (arenas != pool->arenas || whole != pool->whole_arenas) return "the count of arenas is wrong";
	if (mapped != pool->mapped_bytes) return "the count of mapped bytes is wrong";
	if (pool->purging == 0 && used != pool->used_slices) return "the count of used slices is wrong";
	return NULL;
}

const char *hypi_large_pool_check(hypi_large_pool *pool) {
	hypi_lock_take(&pool->lock);
	const char *wrong = check_locked(pool);
	hypi_unlock(&pool->lock);
	return wrong;
}

void hypi_large_pool_fini(hypi_large_pool *pool) {
	for (hypi_arena *arena = pool->all, *next; arena != NULL; arena = next) {
		next = arena->all_next;
		size_t bytes = (size_t)arena->slices << HYPI_SLICE_LOG2;
		if (pool->backing.release(pool->backing.context, arena->base, bytes) != HYP_OK)
			hypi_add_relaxed(&pool->purge_failures, 1);
		hypi_meta_free(arena, sizeof *arena);
	}
	pool->all = NULL;
	memset(pool->lists, 0, sizeof pool->lists);
	pool->list_mask = 0;
	pool->arenas = pool->whole_arenas = 0;
	pool->used_slices = pool->small_slices = 0;
	pool->mapped_bytes = 0;
}
