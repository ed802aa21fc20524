/*
 * pool/slab.c: blocks in memory that the processor cannot touch.
 *
 * Spans run their free lists through the blocks themselves; here that is impossible, and so nothing is ever written to
 * the memory. A slab is a run of slices cut into blocks of one class, with a bitmap of those in use (Bonwick 1994) in a
 * record of its own. Larger blocks are runs, and beyond an arena ranges of their own, with a record that says which.
 * Sizes, classes and runs are those of the host's pools.
 *
 * Slabs with a free block are in their class's list, full ones in one list of their own; both and the bitmaps are under
 * the engine's lock. The backing's functions are called outside it. An empty slab goes back, but for one a class.
 */
#include "core/meta.h"
#include "pool/pool.h"

#include <errno.h>

enum { SLAB_WORDS = 16 };

typedef struct hypi_slab {
	struct hypi_slab *next, *prev;
	hypi_run run;
	uintptr_t base;
	size_t block_bytes;
	uint32_t blocks, used;
	unsigned class_index;
	bool full;                 /* in the list of full ones */
	uint64_t bits[SLAB_WORDS]; /* blocks in use */
} hypi_slab;

/* A block that is a run, or a range of its own (run.arena NULL). */
typedef struct device_run {
	hypi_run run;
	uintptr_t address;
	size_t bytes;
} device_run;

static void count(hypi_engine *engine, size_t bytes, bool alloc) {
	if (alloc) {
		hypi_add_relaxed(&engine->large_count.allocs, 1);
		hypi_add_relaxed(&engine->large_count.allocated_bytes, bytes);
	} else {
		hypi_add_relaxed(&engine->large_count.frees, 1);
		hypi_add_relaxed(&engine->large_count.freed_bytes, bytes);
	}
}

/* ---- small ---- */

static hypi_slab **list_of(hyp_pool *pool, const hypi_slab *slab) {
	hypi_pool_state *state = hypi_pool_state_of(pool);
	return slab->full ? &state->full_slabs : &state->slabs[slab->class_index];
}

static void link_slab(hyp_pool *pool, hypi_slab *slab, bool full) {
	slab->full = full;
	hypi_slab **list = list_of(pool, slab);
	slab->prev = NULL;
	slab->next = *list;
	if (slab->next != NULL) slab->next->prev = slab;
	*list = slab;
}

static void unlink_slab(hyp_pool *pool, hypi_slab *slab) {
	if (slab->prev != NULL) slab->prev->next = slab->next;
	else *list_of(pool, slab) = slab->next;
	if (slab->next != NULL) slab->next->prev = slab->prev;
}

static hyp_status make_slab(hyp_pool *pool, unsigned c, hypi_slab **ret_slab) {
	hypi_slab *slab = hypi_meta_alloc(sizeof *slab);
	if (slab == NULL) return HYP_ERR_NO_MEMORY;
	hyp_status status = hypi_large_pool_take_small(&pool->engine.large, hypi_class_slices(c), &slab->run);
	if (status != HYP_OK) {
		hypi_meta_free(slab, sizeof *slab);
		return status;
	}
	slab->base = hypi_run_address(&slab->run);
	slab->block_bytes = hypi_class_bytes(c);
	slab->class_index = c;
	size_t blocks = ((size_t)slab->run.count << HYPI_SLICE_LOG2) / slab->block_bytes;
	slab->blocks = blocks < SLAB_WORDS * 64 ? (uint32_t)blocks : SLAB_WORDS * 64;
	*ret_slab = slab;
	return HYP_OK;
}

static void drop_slab(hyp_pool *pool, hypi_slab *slab) {
	hypi_large_pool_give(&pool->engine.large, &slab->run, true);
	hypi_meta_free(slab, sizeof *slab);
}

/* The lowest free block of a slab that has one; engine lock. */
static uintptr_t take_block(hyp_pool *pool, hypi_slab *slab) {
	uint32_t w = 0;
	while (slab->bits[w] == UINT64_MAX) w++;
	uint32_t index = w * 64 + hypi_ctz(~slab->bits[w]);
	slab->bits[w] |= UINT64_C(1) << (index & 63);
	if (++slab->used == slab->blocks) {
		unlink_slab(pool, slab);
		link_slab(pool, slab, true);
	}
	return slab->base + index * slab->block_bytes;
}

static hyp_status small_alloc(hyp_pool *pool, unsigned c, hypi_device_block *ret_block) {
	hypi_pool_state *state = hypi_pool_state_of(pool);
	hypi_slab *fresh = NULL;
	for (;;) {
		hypi_lock_take(&pool->engine.lock);
		if (fresh != NULL) link_slab(pool, fresh, false);
		hypi_slab *slab = state->slabs[c];
		if (slab != NULL) *ret_block = (hypi_device_block){take_block(pool, slab), slab->block_bytes, slab, true};
		hypi_unlock(&pool->engine.lock);
		if (slab != NULL) return HYP_OK;
		hyp_status status = make_slab(pool, c, &fresh);
		if (status != HYP_OK) return status;
	}
}

static void small_free(hyp_pool *pool, hypi_slab *slab, uintptr_t address) {
	uint32_t index = (uint32_t)((address - slab->base) / slab->block_bytes);
	hypi_lock_take(&pool->engine.lock);
	HYP_ASSERT(slab->bits[index >> 6] >> (index & 63) & 1);
	slab->bits[index >> 6] &= ~(UINT64_C(1) << (index & 63));
	slab->used--;
	if (slab->full) {
		unlink_slab(pool, slab);
		link_slab(pool, slab, false);
	}
	bool surplus = slab->used == 0 && (slab->next != NULL || slab->prev != NULL);
	if (surplus) unlink_slab(pool, slab);
	hypi_unlock(&pool->engine.lock);
	if (surplus) drop_slab(pool, slab);
}

/* ---- large ---- */

static hyp_status large_alloc(hyp_pool *pool, size_t bytes, size_t alignment, hypi_device_block *ret_block) {
	hypi_large_pool *large = &pool->engine.large;
	size_t granule = large->backing.granule_bytes > HYPI_SLICE_BYTES ? large->backing.granule_bytes : HYPI_SLICE_BYTES;
	size_t rounded;
	if (!hypi_round_up_checked(bytes == 0 ? 1 : bytes, HYPI_SLICE_BYTES, &rounded)) return HYP_ERR_NO_MEMORY;
	device_run *r = hypi_meta_alloc(sizeof *r);
	if (r == NULL) return HYP_ERR_NO_MEMORY;
	hyp_status status = HYP_OK;
	if (rounded > large->arena_bytes || alignment > large->arena_bytes) {
		if (!hypi_round_up_checked(rounded, granule, &rounded) || rounded >> HYPI_ADDRESS_LOG2 != 0)
			status = HYP_ERR_NO_MEMORY;
		else r->address = hypi_large_pool_map_huge(large, rounded, alignment < granule ? granule : alignment);
		if (r->address == 0) status = HYP_ERR_NO_MEMORY;
	} else {
		unsigned order = alignment > HYPI_SLICE_BYTES ? hypi_log2_floor(alignment) - HYPI_SLICE_LOG2 : 0;
		status = hypi_large_pool_take(large, (uint32_t)hypi_slices_of(rounded), order, &r->run);
		if (status == HYP_OK) r->address = hypi_run_address(&r->run);
	}
	if (status != HYP_OK) {
		hypi_meta_free(r, sizeof *r);
		return status;
	}
	r->bytes = rounded;
	*ret_block = (hypi_device_block){r->address, rounded, r, false};
	return HYP_OK;
}

static void large_free(hyp_pool *pool, device_run *r) {
	if (r->run.arena != NULL) hypi_large_pool_give(&pool->engine.large, &r->run, true);
	else hypi_large_pool_unmap_huge(&pool->engine.large, r->address, r->bytes);
	hypi_meta_free(r, sizeof *r);
}

/* ---- both ---- */

hyp_status hypi_device_alloc(hyp_pool *pool, size_t bytes, size_t alignment, hypi_device_block *ret_block) {
	unsigned c = hypi_pool_class_of(pool, bytes, alignment);
	hyp_status status =
		c < HYPI_CLASSES ? small_alloc(pool, c, ret_block) : large_alloc(pool, bytes, alignment, ret_block);
	if (status == HYP_OK) count(&pool->engine, ret_block->bytes, true);
	else hypi_add_relaxed(&pool->engine.failures, 1);
	return status;
}

size_t hypi_device_usable(const void *record, bool small) {
	if (record == NULL) return 0;
	return small ? ((const hypi_slab *)record)->block_bytes : ((const device_run *)record)->bytes;
}

void hypi_device_free(hyp_pool *pool, const hypi_device_block *block) {
	int saved = errno;
	count(&pool->engine, hypi_device_usable(block->record, block->small), false);
	if (block->small) small_free(pool, block->record, block->address);
	else large_free(pool, block->record);
	errno = saved;
}

static hypi_device_vessel vessel_of_slab(const hypi_slab *slab) {
	return (hypi_device_vessel){.key = slab,
	                            .bytes = (size_t)slab->run.count << HYPI_SLICE_LOG2,
	                            .blocks = slab->blocks,
	                            .used = slab->used,
	                            .weight = 1,
	                            .class_index = slab->class_index};
}

hypi_device_vessel hypi_device_vessel_of(const hypi_device_block *block) {
	if (block->small) return vessel_of_slab(block->record);
	const device_run *r = block->record;
	const hypi_arena *arena = r->run.arena;
	return (hypi_device_vessel){.key = arena,
	                            .bytes = arena != NULL ? (size_t)arena->slices << HYPI_SLICE_LOG2 : 0,
	                            .weight = r->run.count,
	                            .class_index = HYPI_CLASSES};
}

void hypi_slabs_walk(hyp_pool *pool, void (*visit)(void *context, const hypi_device_vessel *slab), void *context) {
	const hypi_pool_state *state = hypi_pool_state_of(pool);
	hypi_lock_take(&pool->engine.lock);
	for (unsigned c = 0; c <= HYPI_CLASSES; c++) {
		const hypi_slab *slab = c < HYPI_CLASSES ? state->slabs[c] : state->full_slabs;
		for (; slab != NULL; slab = slab->next) {
			hypi_device_vessel v = vessel_of_slab(slab);
			visit(context, &v);
		}
	}
	hypi_unlock(&pool->engine.lock);
}

void hypi_slabs_put_last(hyp_pool *pool, bool (*is_last)(const void *context, const void *key), const void *context) {
	hypi_pool_state *state = hypi_pool_state_of(pool);
	hypi_lock_take(&pool->engine.lock);
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		hypi_slab *parts[2] = {NULL}, *ends[2] = {NULL}, *next;
		for (hypi_slab *slab = state->slabs[c]; slab != NULL; slab = next) {
			next = slab->next;
			unsigned k = is_last(context, slab);
			slab->prev = ends[k];
			slab->next = NULL;
			if (ends[k] != NULL) ends[k]->next = slab;
			else parts[k] = slab;
			ends[k] = slab;
		}
		if (ends[0] != NULL && parts[1] != NULL) {
			ends[0]->next = parts[1];
			parts[1]->prev = ends[0];
		}
		state->slabs[c] = parts[0] != NULL ? parts[0] : parts[1];
	}
	hypi_unlock(&pool->engine.lock);
}

void hypi_slabs_empty(hyp_pool *pool) {
	hypi_pool_state *state = hypi_pool_state_of(pool);
	for (unsigned c = 0; c < HYPI_CLASSES; c++)
		while (state->slabs[c] != NULL) {
			hypi_slab *slab = state->slabs[c];
			unlink_slab(pool, slab);
			drop_slab(pool, slab);
		}
}

static const char *check_slab(const hypi_slab *slab, bool full) {
	uint32_t used = 0;
	for (uint32_t w = 0; w < SLAB_WORDS; w++) used += (uint32_t)__builtin_popcountll(slab->bits[w]);
	if (used != slab->used || slab->used > slab->blocks) return "a slab's count is wrong";
	if (full != slab->full || full != (slab->used == slab->blocks)) return "a slab is in the wrong list";
	return NULL;
}

const char *hypi_slabs_check(hyp_pool *pool) {
	const hypi_pool_state *state = hypi_pool_state_of(pool);
	size_t slices = 0;
	for (unsigned c = 0; c <= HYPI_CLASSES; c++) {
		const hypi_slab *slab = c < HYPI_CLASSES ? state->slabs[c] : state->full_slabs;
		for (; slab != NULL; slab = slab->next) {
			const char *wrong = check_slab(slab, c == HYPI_CLASSES);
			if (wrong != NULL) return wrong;
			slices += slab->run.count;
		}
	}
	if (slices != pool->engine.large.small_slices) return "slabs and small slices do not add up";
	return hypi_large_pool_check(&pool->engine.large);
}
