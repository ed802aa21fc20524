/*
 * heap/large.c: blocks from the threshold up: runs of the buddy system, and mappings of their own beyond an arena.
 *
 * A large block is rounded to pages; its run to slices, the unit in which tails go back. The thread that frees one
 * keeps it for its next request of the same number of slices, which makes the common pair a few comparisons. What is
 * kept is bounded in bytes, ages out with the heap's clock, and goes back when a request finds no match among it.
 */
#include "heap/heap.h"

#include "base/fatal.h"
#include "core/meta.h"

#include <errno.h>
#include <string.h>

static void add(_Atomic uint64_t *count, uint64_t n, bool alone) {
	if (alone) hypi_count_add(count, n);
	else hypi_add_relaxed(count, n);
}

static void count_alloc(hypi_engine *engine, hypi_heap *heap, size_t bytes) {
	hypi_large_count *count = heap != NULL ? &heap->large_count : &engine->large_count;
	add(&count->allocs, 1, heap != NULL);
	add(&count->allocated_bytes, bytes, heap != NULL);
}

static void count_free(hypi_engine *engine, hypi_heap *heap, size_t bytes) {
	hypi_large_count *count = heap != NULL ? &heap->large_count : &engine->large_count;
	add(&count->frees, 1, heap != NULL);
	add(&count->freed_bytes, bytes, heap != NULL);
}

static void sum(hypi_large_count *total, const hypi_large_count *count) {
	hypi_count_add(&total->allocs, hypi_load_relaxed(&count->allocs));
	hypi_count_add(&total->frees, hypi_load_relaxed(&count->frees));
	hypi_count_add(&total->allocated_bytes, hypi_load_relaxed(&count->allocated_bytes));
	hypi_count_add(&total->freed_bytes, hypi_load_relaxed(&count->freed_bytes));
}

void hypi_large_count_sum(const hypi_engine *engine, hypi_large_count *ret_sum) {
	memset(ret_sum, 0, sizeof *ret_sum);
	sum(ret_sum, &engine->large_count);
	for (const hypi_heap *heap = engine->heaps; heap != NULL; heap = heap->next) sum(ret_sum, &heap->large_count);
}

uint64_t hypi_large_live_bytes(const hypi_engine *engine) {
	hypi_large_count total;
	hypi_large_count_sum(engine, &total);
	return hypi_load_relaxed(&total.allocated_bytes) - hypi_load_relaxed(&total.freed_bytes);
}

/* Huge blocks are in no arena: the engine lists them, so that a pool can be emptied. */
static void list_huge(hypi_engine *engine, hypi_span *span) {
	hypi_lock_take(&engine->lock);
	span->prev = NULL;
	span->next = engine->huges;
	if (span->next != NULL) span->next->prev = span;
	engine->huges = span;
	hypi_unlock(&engine->lock);
}

static void unlist_huge(hypi_engine *engine, hypi_span *span) {
	hypi_lock_take(&engine->lock);
	if (span->prev != NULL) span->prev->next = span->next;
	else engine->huges = span->next;
	if (span->next != NULL) span->next->prev = span->prev;
	hypi_unlock(&engine->lock);
}

static void release(hypi_engine *engine, hypi_span *span) {
	hypi_page_map_set(span->base, 1, NULL);
	if (hypi_load_relaxed(&span->kind) == HYPI_SPAN_HUGE) {
		unlist_huge(engine, span);
		hypi_large_pool_unmap_huge(&engine->large, span->base, span->mapped_bytes);
	} else {
		hypi_run run = {.arena = span->arena, .first = span->first, .count = span->slices};
		hypi_large_pool_give(&engine->large, &run, true);
	}
	hypi_store_relaxed(&span->kind, HYPI_SPAN_NONE);
	hypi_meta_free(span, sizeof *span);
}

/* ---- the cache of freed blocks ---- */

static hypi_span *cache_remove(hypi_heap *heap, unsigned i) {
	hypi_span *span = heap->cache[i];
	heap->cached--;
	heap->cached_bytes -= (size_t)span->slices << HYPI_SLICE_LOG2;
	for (; i < heap->cached; i++) heap->cache[i] = heap->cache[i + 1];
	return span;
}

void hypi_large_cache_flush(hypi_heap *heap, uint64_t older_than_ms) {
	while (heap->cached > 0 && heap->cache[0]->stamp_ms <= older_than_ms) release(heap->engine, cache_remove(heap, 0));
}

static bool has_room(const hypi_heap *heap, size_t bytes) {
	return heap->cached < HYPI_CACHE_ENTRIES && heap->cached_bytes + bytes <= heap->engine->large_cache_bytes;
}

static void cache_push(hypi_heap *heap, hypi_span *span, size_t bytes) {
	hypi_store_relaxed(&span->kind, HYPI_SPAN_CACHED);
	span->stamp_ms = heap->look_ms; /* its thread's clock: at most a look old */
	heap->cache[heap->cached++] = span;
	heap->cached_bytes += bytes;
}

static bool cache_put(hypi_heap *heap, hypi_span *span) {
	size_t bytes = (size_t)span->slices << HYPI_SLICE_LOG2;
	if (bytes > heap->engine->large_cache_bytes) return false;
	while (!has_room(heap, bytes)) release(heap->engine, cache_remove(heap, 0));
	cache_push(heap, span, bytes);
	return true;
}

/* ---- the common pair ---- */

/* Lends the kept block number `i` once more, for `usable` bytes. */
static void *lend(hypi_heap *heap, unsigned i, size_t usable) {
	bool was_busy = hypi_heap_enter(heap);
	hypi_span *span = cache_remove(heap, i);
	hypi_store_relaxed(&span->kind, HYPI_SPAN_LARGE);
	span->block_bytes = usable;
	span->zeroed = false;
	count_alloc(heap->engine, heap, usable);
	hypi_heap_leave(heap, was_busy);
	return (void *)span->base;
}

void *hypi_large_again(hypi_heap *heap, size_t bytes) {
	size_t usable = hypi_round_up(bytes, hypi_os.page_bytes); /* 0 when it is beyond all memory: no block's */
	uint32_t last = heap->cached - 1;
	if (heap->cached == 0 || heap->cache[last]->slices != hypi_slices_of(usable)) return NULL;
	return lend(heap, last, usable);
}

bool hypi_large_keep(hypi_heap *heap, hypi_span *span) {
	size_t bytes = (size_t)span->slices << HYPI_SLICE_LOG2;
	if (!has_room(heap, bytes)) return false;
	bool was_busy = hypi_heap_enter(heap);
	count_free(heap->engine, heap, span->block_bytes);
	cache_push(heap, span, bytes);
	hypi_heap_leave(heap, was_busy);
	if (++heap->ticks >= HYPI_LOOK_EVENTS) hypi_heap_look(heap);
	return true;
}

/* ---- allocate ---- */

static hypi_span *take_run(hypi_engine *engine, size_t slices, size_t alignment, bool *ret_zeroed) {
	hypi_span *span = hypi_meta_alloc(sizeof *span);
	if (span == NULL) return NULL;
	unsigned align_order = alignment > HYPI_SLICE_BYTES ? hypi_log2_floor(alignment) - HYPI_SLICE_LOG2 : 0;
	hypi_run run;
	if (hypi_large_pool_take(&engine->large, (uint32_t)slices, align_order, &run) != HYP_OK) {
		hypi_meta_free(span, sizeof *span);
		return NULL;
	}
	span->base = hypi_run_address(&run);
	span->slices = run.count;
	span->first = run.first;
	span->arena = run.arena;
	*ret_zeroed = run.zeroed;
	return span;
}

static hypi_span *map_huge(hypi_engine *engine, size_t bytes, size_t alignment, bool *ret_zeroed) {
	size_t mapped;
	if (alignment < HYPI_SLICE_BYTES) alignment = HYPI_SLICE_BYTES;
	if (__builtin_add_overflow(bytes, hypi_os.page_bytes, &mapped) || mapped >> HYPI_ADDRESS_LOG2 != 0)
		return errno = ENOMEM, NULL;
	hypi_span *span = hypi_meta_alloc(sizeof *span);
	if (span == NULL) return NULL;
	uintptr_t base = hypi_large_pool_map_huge(&engine->large, mapped, alignment);
	if (base == 0) {
		hypi_meta_free(span, sizeof *span);
		return NULL;
	}
	/* The page behind the block traps an overflow; without it (too many mappings) the block still stands. */
	int saved = errno;
	if ((engine->large.backing.flags & HYP_BACKING_HOST) &&
	    hypi_os_guard((void *)(base + bytes), hypi_os.page_bytes) != HYP_OK)
		errno = saved;
	span->base = base;
	span->mapped_bytes = mapped;
	*ret_zeroed = (engine->large.backing.flags & HYP_BACKING_ZEROED) != 0;
	return span;
}

static void *from_cache(hypi_heap *heap, size_t slices, size_t usable, size_t alignment) {
	for (unsigned i = heap->cached; i-- > 0;)
		if (heap->cache[i]->slices == slices && (heap->cache[i]->base & (alignment - 1)) == 0)
			return lend(heap, i, usable);
	bool was_busy = hypi_heap_enter(heap);
	hypi_large_cache_flush(heap, UINT64_MAX); /* sizes that never return would hold memory that this one can use */
	hypi_heap_leave(heap, was_busy);
	return NULL;
}

void *hypi_large_alloc(hypi_engine *engine, hypi_heap *heap, size_t bytes, size_t alignment, bool zero) {
	size_t usable;
	if (bytes > PTRDIFF_MAX || alignment > PTRDIFF_MAX) goto no_memory;
	usable = hypi_round_up(bytes == 0 ? 1 : bytes, hypi_os.page_bytes);
	size_t slices = hypi_slices_of(usable);
	bool huge = slices > engine->large.arena_bytes >> HYPI_SLICE_LOG2 || alignment > engine->large.arena_bytes;
	if (!huge && heap != NULL) {
		if (++heap->ticks >= HYPI_LOOK_EVENTS) hypi_heap_look(heap);
		void *p = from_cache(heap, slices, usable, alignment);
		if (p != NULL) return zero ? memset(p, 0, bytes) : p;
	}
	bool zeroed = false;
	hypi_span *span =
		huge ? map_huge(engine, usable, alignment, &zeroed) : take_run(engine, slices, alignment, &zeroed);
	if (span == NULL) goto no_memory;
	hypi_store_relaxed(&span->kind, huge ? HYPI_SPAN_HUGE : HYPI_SPAN_LARGE);
	span->block_bytes = usable;
	span->engine = engine;
	span->zeroed = zeroed;
	if (huge) list_huge(engine, span);
	hypi_page_map_set(span->base, 1, span);
	count_alloc(engine, heap, usable);
	if (zero && !zeroed) memset((void *)span->base, 0, bytes);
	return (void *)span->base;
no_memory:
	hypi_add_relaxed(&engine->failures, 1);
	errno = ENOMEM;
	return NULL;
}

void hypi_large_free(hypi_engine *engine, hypi_heap *heap, hypi_span *span) {
	int saved = errno;
	count_free(engine, heap, span->block_bytes);
	bool kept = false;
	if (heap != NULL && hypi_load_relaxed(&span->kind) != HYPI_SPAN_HUGE) {
		bool was_busy = hypi_heap_enter(heap);
		kept = cache_put(heap, span);
		hypi_heap_leave(heap, was_busy);
	}
	if (!kept) release(engine, span);
	if (heap != NULL && ++heap->ticks >= HYPI_LOOK_EVENTS) hypi_heap_look(heap);
	errno = saved;
}

void *hypi_large_resize(hypi_engine *engine, hypi_heap *heap, hypi_span *span, void *p, size_t bytes) {
	size_t usable, slices;
	if (bytes > PTRDIFF_MAX) return NULL;
	usable = hypi_round_up(bytes, hypi_os.page_bytes);
	if (usable == span->block_bytes) return p;
	if (hypi_load_relaxed(&span->kind) == HYPI_SPAN_HUGE) return NULL;
	/* Where a small block will do. In malloc, blocks that grew are large from two slices on. */
	size_t least = engine == &hypi_default_engine ? HYPI_SLICE_BYTES : engine->threshold_bytes / 2;
	if (bytes < least) return NULL;
	slices = hypi_slices_of(usable);
	hypi_run run = {.arena = span->arena, .first = span->first, .count = span->slices};
	if (slices > HYPI_ARENA_SLICES) return NULL;
	if (slices != span->slices && !hypi_large_pool_resize(&engine->large, &run, (uint32_t)slices)) return NULL;
	span->slices = run.count;
	size_t before = span->block_bytes;
	span->block_bytes = usable;
	count_free(engine, heap, before);
	count_alloc(engine, heap, usable);
	return p;
}

static bool is_movable(const hypi_engine *engine, const hypi_span *span, const void *p) {
	unsigned kind = hypi_load_relaxed(&span->kind);
	return (kind == HYPI_SPAN_LARGE || kind == HYPI_SPAN_HUGE) && span->engine == engine && (uintptr_t)p == span->base;
}

hyp_status hypi_large_move(hypi_engine *engine, void *p, void *q, size_t bytes) {
	const hypi_span *from = hypi_span_at(p);
	hypi_span *to = hypi_span_at(q);
	if (engine->large.backing.reserve != hypi_backing_anonymous()->reserve) return HYP_ERR_UNSUPPORTED;
	if (!is_movable(engine, from, p) || !is_movable(engine, to, q)) return HYP_ERR_UNSUPPORTED;
	if (!to->zeroed) return HYP_ERR_UNSUPPORTED; /* its pages are there: copying to them is cheaper */
	/* Of a range of several mappings the kernel (6.17 on) may move some and then fail, which would lose them: so only
	 * what is certain to be one, a mapping of its own into which nothing was moved. */
	if (hypi_load_relaxed(&from->kind) != HYPI_SPAN_HUGE || !from->zeroed) return HYP_ERR_UNSUPPORTED;
	hyp_status status = hypi_os_move_pages(p, q, hypi_round_up(bytes, hypi_os.page_bytes));
	if (status == HYP_OK) to->zeroed = false;
	return status == HYP_OK || status == HYP_ERR_NO_MEMORY ? status : HYP_ERR_UNSUPPORTED;
}
