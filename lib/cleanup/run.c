/*
 * cleanup/run.c: one cleanup of a pool: moving by plan, purging, and what is kept of it.
 *
 * A move: a fresh block is made first, since making it may take the pool's locks; then the handle is held, the contents
 * copied and the handle let go (pool/handle.c). A fresh block that lies in a vessel which the plan empties is put aside and another
 * one asked for: so the allocator needs not to know of plans. Those, and the blocks moved out of, are freed only at the end,
 * since a freed block would be the next to be handed out. They are linked through their own first words.
 *
 * Everything runs on the calling thread. Its own figures are measured: purged bytes are what the system took back, freed
 * ones the fall of the slices in use.
 */
#include "base/bits.h"
#include "cleanup/cleanup.h"

#include <errno.h>
#include <string.h>

enum { HISTORY = 64, MOST_HELD_BYTES = 4 << 20 /* a millisecond or two, with the page faults of the new place */ };

static hyp_cleanup_result history[HISTORY]; /* table lock */
static uint64_t history_count;

void hyp_cleanup_request_init(hyp_cleanup_request *ret_request) {
	*ret_request = (hyp_cleanup_request){.struct_bytes = sizeof *ret_request,
	                                     .compact = true,
	                                     .purge = true,
	                                     .device = -1,
	                                     .budget_ms = 100,
	                                     .most_held_bytes = MOST_HELD_BYTES};
}

/* ---- moving ---- */

typedef struct mover {
	hyp_pool *pool;
	hypi_heap *heap;
	hypi_lock *move_lock;
	hypi_plan *plan;
	const hyp_cleanup_request *request;
	hyp_cleanup_result *result;
	uint64_t end_ns;    /* when all of the cleanup should be over; 0: never */
	bool planned;       /* the plan was gone on with in this run: something was done */
	void *aside;        /* to be freed at the end, linked by their first words */
	size_t aside_count; /* in the plan's own table: memory that the processor cannot reach */
	bool no_arena;      /* there is no room for large blocks but in an arena of its own */
} mover;

static void free_block(mover *m, const hypi_device_block *block) {
	if (hypi_pool_is_host(m->pool)) hyp_pool_free(m->pool, (void *)block->address);
	else hypi_device_free(m->pool, block);
}

static void free_aside(mover *m) {
	for (void *p = m->aside, *next; p != NULL; p = next) {
		next = *(void **)p;
		*(void **)p = NULL;
		hyp_pool_free(m->pool, p);
	}
	m->aside = NULL;
	while (m->aside_count > 0) hypi_device_free(m->pool, &m->plan->aside[--m->aside_count]);
}

static void put_aside(mover *m, const hypi_device_block *block) {
	if (!hypi_pool_is_host(m->pool)) {
		if (m->aside_count == m->plan->aside_room) free_aside(m);
		m->plan->aside[m->aside_count++] = *block;
		return;
	}
	*(void **)block->address = m->aside;
	m->aside = (void *)block->address;
}

/* A block for a move, wherever it lies. */
static bool any_block(mover *m, const hypi_move *move, hypi_device_block *ret_block) {
	hypi_engine *engine = &m->pool->engine;
	size_t alignment = (size_t)1 << move->align_log2;
	bool done;
	if (hypi_pool_is_host(m->pool)) {
		void *p = hypi_engine_alloc(engine, m->heap, move->bytes, alignment <= 16 ? 1 : alignment, false);
		done = p != NULL;
		/* A large block that shrank where it was may be a small one now. */
		if (done) ret_block->small = hypi_load_relaxed(&hypi_span_at(p)->kind) == HYPI_SPAN_SMALL;
		ret_block->address = (uintptr_t)p;
	} else {
		done = hypi_device_alloc(m->pool, move->bytes, alignment, ret_block) == HYP_OK;
	}
	if (!done) hypi_sub_relaxed(&engine->failures, 1); /* nobody asked for it */
	return done;
}

static bool is_in_new_arena(const mover *m, const hypi_device_block *block) {
	const hypi_arena *arena =
		hypi_pool_is_host(m->pool) ? hypi_span_at((void *)block->address)->arena : hypi_device_vessel_of(block).key;
	return arena == NULL || arena->id >= m->plan->arenas_made;
}

/* A block for a move, outside every vessel that is emptied. False: none to be had. */
static bool fresh_block(mover *m, const hypi_move *move, bool large, hypi_device_block *ret_block) {
	hypi_device_block block = {0};
	for (;;) {
		if (!any_block(m, move, &block)) return false;
		const hypi_vessel *v = hypi_plan_vessel_of(m->plan, m->pool, &block);
		if (large && (hypi_pool_is_host(m->pool) || !block.small) && is_in_new_arena(m, &block)) {
			m->no_arena = true;
			put_aside(m, &block);
			return false;
		}
		if (v == NULL || !v->emptied) break;
		bool full = !hypi_pool_is_host(m->pool) && m->aside_count == m->plan->aside_room;
		put_aside(m, &block);
		if (full) return false;
	}
	if (m->pool->engine.zero_on_alloc) {
		size_t usable = hypi_span_at((void *)block.address)->block_bytes;
		memset((char *)block.address + move->bytes, 0, usable - move->bytes);
	}
	*ret_block = block;
	return true;
}

/* False: no block to move to. */
static bool move_one(mover *m, const hypi_move *move) {
	const hypi_vessel *from = &m->plan->vessels[move->vessel];
	bool large = from->class_index == HYPI_CLASSES;
	if ((large && m->no_arena) || hypi_plan_vessel(m->plan, m->pool, move->handle) != from)
		return true; /* it is elsewhere by now */
	hypi_device_block block;
	if (!fresh_block(m, move, large, &block)) return large;
	uint64_t held_ns = 0;
	hypi_lock_take(m->move_lock);
	hyp_status status = hypi_handle_put_in(m->pool, move->handle, move->bytes, &block, &held_ns);
	hypi_unlock(m->move_lock);
	if (status == HYP_OK) {
		m->result->moved_blocks++;
		m->result->moved_bytes += move->bytes;
		if (held_ns > m->result->longest_ns) m->result->longest_ns = held_ns;
		if (move->bytes > m->result->longest_bytes) m->result->longest_bytes = move->bytes;
		put_aside(m, &block);
		return true;
	}
	if (status == HYP_ERR_BUSY) m->result->locked_blocks++;
	free_block(m, &block);
	/* Of these the next one would say the same; a copy that fails is the device's failure. */
	return status == HYP_ERR_BUSY || status == HYP_ERR_STALE || status == HYP_ERR_FOREIGN;
}

/* Whether the time is over: giving back what was moved (freeing, and purging the spans that ran empty) takes about as long
 * as moving it took, or a little less, and is within the budget, too. Every run does something. */
static bool is_over(const mover *m, uint64_t moving_ns) {
	if (m->end_ns == 0 || (m->result->moved_blocks == 0 && !m->planned)) return false;
	uint64_t now_ns = hypi_os_now_ns();
	return now_ns + (now_ns - moving_ns) >= m->end_ns;
}

static void move_all(mover *m) {
	hypi_plan *plan = m->plan;
	uint64_t moving_ns = hypi_os_now_ns();
	if (!hypi_pool_is_host(m->pool) && plan->move_count != 0) hypi_plan_put_last(plan, m->pool);
	for (; plan->next < plan->move_count; plan->next++) {
		const hypi_move *move = &plan->moves[plan->next];
		size_t after = m->result->moved_bytes + move->bytes;
		m->result->more = is_over(m, moving_ns) || (m->request->budget_bytes != 0 && after > m->request->budget_bytes);
		if (m->result->more) break;
		if (!move_one(m, move)) {
			plan->next = plan->move_count;
			break;
		}
	}
	free_aside(m);
}

/* Whether two requests choose the same blocks. */
static bool is_same(const hyp_cleanup_request *a, const hyp_cleanup_request *b) {
	return a->least_age_ms == b->least_age_ms && a->least_idle_ms == b->least_idle_ms &&
	       a->least_bytes == b->least_bytes && a->most_bytes == b->most_bytes &&
	       a->most_held_bytes == b->most_held_bytes;
}

/* Whether the pool's plan is one to go on with. What it knows of spans is one thread's view. */
static bool goes_on(const hypi_plan *plan, const hypi_heap *heap, const hyp_cleanup_request *request) {
	if (request->dry_run || !is_same(&plan->request, request)) return false;
	if (plan->stage == HYPI_PLAN_MADE) return plan->next < plan->move_count;
	return plan->stage != HYPI_PLAN_NONE && plan->mine == heap;
}

/* `end_ns`: as in mover. */
static hyp_status compact(hypi_cleanup *record, hypi_heap *heap, const hyp_cleanup_request *request, uint64_t end_ns,
                          hyp_cleanup_result *result) {
	hypi_plan *plan = &record->plan;
	uint64_t start_ns = hypi_os_now_ns();
	bool anew = !goes_on(plan, heap, request), plans = anew || plan->stage != HYPI_PLAN_MADE;
	if (anew && !hypi_plan_begin(plan, record->pool, heap, request)) return HYP_ERR_NO_MEMORY;
	if (plans) {
		result->more = !hypi_plan_go_on(plan, record->pool, request->dry_run ? 0 : end_ns);
		result->planning_ns = hypi_os_now_ns() - start_ns;
	}
	if (!result->more) {
		result->planned_blocks = plan->move_count;
		result->planned_bytes = plan->planned_bytes;
		result->planned_freed_bytes = plan->planned_freed_bytes;
		result->planned_arenas = plan->planned_arenas;
		result->locked_blocks = plans ? plan->locked : 0;
		mover m = {.pool = record->pool,
		           .heap = heap,
		           .move_lock = &record->move_lock,
		           .plan = plan,
		           .request = request,
		           .result = result,
		           .end_ns = end_ns,
		           .planned = plans};
		if (!request->dry_run) move_all(&m);
		if (!result->more) hypi_plan_fini(plan);
	}
	result->moving_ns = hypi_os_now_ns() - start_ns;
	return HYP_OK;
}

/* ---- one cleanup ---- */

static void measure(hypi_large_pool *large, uint64_t *ret_used_bytes, uint64_t *ret_arenas) {
	hypi_lock_take(&large->lock);
	*ret_used_bytes = ((uint64_t)large->used_slices << HYPI_SLICE_LOG2) + large->huge_bytes;
	*ret_arenas = large->arenas;
	hypi_unlock(&large->lock);
}

/* When planning and moving must be over: what was dirty before is purged within the budget as well, but half of it is
 * theirs at least. */
static uint64_t end_of(const hypi_cleanup *record, const hyp_cleanup_request *request, uint64_t start_ns) {
	enum { SLICE_PURGE_NS = 4000 }; /* before any was measured */
	uint64_t budget_ns = request->budget_ms * 1000000;
	if (budget_ns == 0) return 0;
	budget_ns -= budget_ns / 16; /* the last step goes on for a moment */
	uint64_t slice_ns = record->slice_purge_ns != 0 ? record->slice_purge_ns : SLICE_PURGE_NS;
	uint64_t dirty_ns = 0;
	if (request->purge) dirty_ns = hypi_large_pool_dirty_slices(&record->pool->engine.large) * slice_ns;
	return start_ns + budget_ns - (dirty_ns < budget_ns / 2 ? dirty_ns : budget_ns / 2);
}

/* Gives unused pages back, a few megabytes at a time, as long as the time that the last step took is left for one more. Every
 * run makes one step at least. `end_ns` 0: all of it. */
static void purge(hypi_cleanup *record, const hyp_cleanup_request *request, uint64_t end_ns,
                  hyp_cleanup_result *result) {
	hypi_large_pool *large = &record->pool->engine.large;
	uint64_t start_ns = hypi_os_now_ns(), now_ns = start_ns, step_ns;
	size_t most = end_ns == 0 ? SIZE_MAX : HYPI_PURGE_STEP_BYTES, bytes;
	do {
		bytes = hypi_large_pool_purge_most(large, most);
		result->purged_bytes += bytes;
		step_ns = now_ns;
		now_ns = hypi_os_now_ns();
		step_ns = now_ns - step_ns;
	} while (bytes >= most && now_ns + step_ns < end_ns);
	if (result->purged_bytes >> HYPI_SLICE_LOG2 >= 16)
		record->slice_purge_ns = (now_ns - start_ns) / (result->purged_bytes >> HYPI_SLICE_LOG2);
	record->unpurged_slices = bytes >= most ? hypi_large_pool_dirty_slices(large) : 0;
	record->purge_request = *request;
	result->more |= record->unpurged_slices != 0;
}

/* Whether the cleanup before moved all that it could, and only its purging was cut: that is gone on with, unless somebody else
 * did it meanwhile. */
static bool only_purges(const hypi_cleanup *record, const hyp_cleanup_request *request, const hypi_heap *heap,
                        hyp_cleanup_cause cause) {
	if (record->unpurged_slices == 0 || cause == HYP_CLEANUP_EMERGENCY || !request->purge || request->dry_run)
		return false;
	if (!is_same(&record->purge_request, request) || goes_on(&record->plan, heap, request)) return false;
	return hypi_large_pool_dirty_slices(&record->pool->engine.large) >= record->unpurged_slices / 2;
}

static uint64_t fall(uint64_t before, uint64_t after) { return before > after ? before - after : 0; }

static hyp_status clean(hypi_cleanup *record, const hyp_cleanup_request *request, hyp_cleanup_result *result) {
	hyp_pool *pool = record->pool;
	hypi_large_pool *large = &pool->engine.large;
	uint64_t used, arenas, used_after, arenas_after, start_ns = hypi_os_now_ns();
	hyp_status status = HYP_OK;
	result->when_ms = start_ns / 1000000;
	hypi_pool_raise_peaks(pool);
	result->resident_before_bytes = hypi_os_resident_bytes();
	measure(large, &used, &arenas);
	hypi_heap *heap = hypi_pool_is_host(pool) ? hypi_heap_for(&pool->engine) : hypi_heap_of(&pool->engine);
	if (heap != NULL) hypi_heap_trim(heap);
	bool moved = only_purges(record, request, heap, result->cause);
	if (request->compact && !moved && hypi_handles_move(pool) && (heap != NULL || !hypi_pool_is_host(pool))) {
		status = compact(record, heap, request, end_of(record, request, start_ns), result);
		if (heap != NULL) hypi_heap_trim(heap);
	}
	uint64_t budget_ns = request->budget_ms * 1000000;
	if (request->purge && !request->dry_run) purge(record, request, budget_ns != 0 ? start_ns + budget_ns : 0, result);
	measure(large, &used_after, &arenas_after);
	result->freed_bytes = fall(used, used_after);
	result->freed_arenas = fall(arenas, arenas_after);
	result->resident_after_bytes = hypi_os_resident_bytes();
	result->duration_ns = hypi_os_now_ns() - start_ns;
	return status;
}

static void keep(hypi_cleanup *record, const hyp_cleanup_result *r) {
	hyp_cleanup_stats *s = &record->stats;
	pthread_mutex_lock(&hypi_cleanup_table);
	s->runs++;
	s->by_cause[r->cause]++;
	s->moved_blocks += r->moved_blocks;
	s->moved_bytes += r->moved_bytes;
	s->locked_blocks += r->locked_blocks;
	s->freed_bytes += r->freed_bytes;
	s->purged_bytes += r->purged_bytes;
	s->duration_ns += r->duration_ns;
	if (r->longest_ns > s->longest_ns) s->longest_ns = r->longest_ns;
	if (r->duration_ns > s->longest_run_ns) s->longest_run_ns = r->duration_ns;
	history[history_count++ % HISTORY] = *r;
	pthread_mutex_unlock(&hypi_cleanup_table);
}

static hyp_status check(hyp_pool *pool, const hyp_cleanup_request *request) {
	if (pool == NULL || request->struct_bytes != sizeof *request) return HYP_ERR_INVALID;
	if (request->most_bytes != 0 && request->most_bytes < request->least_bytes) return HYP_ERR_INVALID;
	if (request->device != -1 && request->device != pool->engine.large.backing.device) return HYP_ERR_DEVICE;
	return HYP_OK;
}

hyp_status hypi_cleanup_do(hyp_pool *pool, const hyp_cleanup_request *request, hyp_cleanup_cause cause,
                           hyp_cleanup_result *ret_result) {
	hyp_status status = check(pool, request);
	if (status != HYP_OK) return status;
	hypi_cleanup *record = hypi_cleanup_of(pool, true);
	if (record == NULL) return HYP_ERR_NO_MEMORY;
	if (!hypi_lock_try(&record->run_lock)) return HYP_ERR_BUSY;
	int saved = errno;
	bool hooked = hypi_self.hooked;
	hypi_self.hooked = true; /* nothing of this is the program's: the sampler does not look */
	hyp_cleanup_result result = {.struct_bytes = sizeof result, .cause = cause};
	memcpy(result.pool, hyp_pool_name(pool), strlen(hyp_pool_name(pool)) + 1);
	status = clean(record, request, &result);
	hypi_self.hooked = hooked;
	hypi_unlock(&record->run_lock);
	if (!request->dry_run) keep(record, &result);
	if (ret_result != NULL) {
		size_t bytes = ret_result->struct_bytes < sizeof result ? ret_result->struct_bytes : sizeof result;
		memcpy(ret_result, &result, bytes);
		ret_result->struct_bytes = bytes;
	}
	errno = saved;
	return status;
}

hyp_status hyp_cleanup_run(hyp_pool *pool, const hyp_cleanup_request *request, hyp_cleanup_result *ret_result) {
	hyp_cleanup_request defaults;
	if (ret_result != NULL && ret_result->struct_bytes < offsetof(hyp_cleanup_result, cause)) return HYP_ERR_INVALID;
	hypi_process_init();
	if (request == NULL) {
		hyp_cleanup_request_init(&defaults);
		request = &defaults;
	}
	return hypi_cleanup_do(pool, request, HYP_CLEANUP_MANUAL, ret_result);
}

/* ---- what is kept ---- */

hyp_status hyp_cleanup_stats_get(hyp_pool *pool, hyp_cleanup_stats *ret_stats) {
	if (pool == NULL || ret_stats == NULL || ret_stats->struct_bytes < sizeof(size_t) + sizeof(uint64_t))
		return HYP_ERR_INVALID;
	hyp_cleanup_stats stats = {0};
	hypi_cleanup *record = hypi_cleanup_of(pool, false);
	if (record != NULL) {
		pthread_mutex_lock(&hypi_cleanup_table);
		stats = record->stats;
		stats.automatic = record->automatic;
		pthread_mutex_unlock(&hypi_cleanup_table);
	}
	size_t bytes = ret_stats->struct_bytes < sizeof stats ? ret_stats->struct_bytes : sizeof stats;
	stats.struct_bytes = bytes;
	memcpy(ret_stats, &stats, bytes);
	return HYP_OK;
}

size_t hyp_cleanup_history(hyp_cleanup_result *ret_results, size_t capacity) {
	pthread_mutex_lock(&hypi_cleanup_table);
	size_t have = history_count < HISTORY ? (size_t)history_count : HISTORY;
	size_t count = have < capacity ? have : capacity;
	for (size_t i = 0; i < count; i++) ret_results[i] = history[(history_count - 1 - i) % HISTORY];
	pthread_mutex_unlock(&hypi_cleanup_table);
	return have;
}
