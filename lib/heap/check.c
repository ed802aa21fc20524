/*
 * heap/check.c: the consistency checker of an engine, which tests run after every step.
 *
 * It counts everything twice, from both ends: the heaps tell which spans are carved, listed, pending or kept in a
 * cache; the arenas' slices tell, through the page map, which spans there are. Every used slice belongs to exactly one
 * run, every run to one span, every span to a heap of the engine; the two counts agree with each other and with the
 * pool's.
 *
 * No thread uses the engine meanwhile. Takes the engine's lock and, inside it, the large-block pool's.
 */
#include "heap/heap.h"

/* What one of the two ends has seen. */
typedef struct tally {
	size_t carving, listed, pending, cached; /* spans */
	size_t spans;                            /* small ones */
	size_t slices;                           /* in runs of all spans; the heaps do not know */
	size_t small_slices;                     /* of the small ones */
	uint64_t large_bytes;                    /* usable, of live large blocks in arenas */
} tally;

/* ---- from the heaps ---- */

static const char *check_bins(const hypi_heap *heap, tally *seen) {
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		const hypi_span *carving = heap->bins[c].carving;
		if (carving != NULL && (hypi_span_at((void *)carving->base) != carving || carving->class_index != c ||
		                        hypi_load_relaxed(&carving->owner) != heap))
			return "a carving span is gone, or another heap's";
		seen->carving += carving != NULL;
		seen->spans += hypi_load_relaxed(&heap->bins[c].spans);
		seen->small_slices += hypi_load_relaxed(&heap->bins[c].slices);
		for (const hypi_span *span = heap->bins[c].first; span != NULL; span = span->next) {
			if (hypi_span_at((void *)span->base) != span) return "a listed span is gone";
			if (hypi_load_relaxed(&span->owner) != heap) return "a listed span is another heap's";
			seen->listed++;
		}
	}
	return NULL;
}

static const char *check_pending(hypi_heap *heap, tally *seen) {
	/* acquire: pairs with the push in heap/remote.c */
	for (hypi_span *span = hypi_load_acquire(&heap->pending); span != NULL;
	     span = hypi_load_relaxed(&span->pending_next)) {
		if ((hypi_load_relaxed(&span->remote) & HYPI_PENDING) == 0) return "a pending span does not know that it is";
		if (hypi_load_relaxed(&span->owner) != heap) return "a pending span is another heap's";
		seen->pending++;
	}
	return NULL;
}

static const char *check_cache(const hypi_heap *heap, tally *seen) {
	size_t bytes = 0;
	if (heap->cached > HYPI_CACHE_ENTRIES) return "a cache holds more than it can";
	for (uint32_t i = 0; i < heap->cached; i++) {
		const hypi_span *span = heap->cache[i];
		if (hypi_load_relaxed(&span->kind) != HYPI_SPAN_CACHED) return "a block in a cache is not kept there";
		if (hypi_span_at((void *)span->base) != span) return "a block in a cache is gone";
		bytes += (size_t)span->slices << HYPI_SLICE_LOG2;
		seen->cached++;
	}
	return bytes == heap->cached_bytes ? NULL : "the count of cached bytes is wrong";
}

static const char *check_outbox(const hypi_heap *heap) {
	for (unsigned i = 0; i < HYPI_OUTBOX_ENTRIES; i++) {
		const hypi_outbox_entry *entry = &heap->outbox[i];
		if (entry->span == NULL) continue;
		if (hypi_load_relaxed(&entry->span->kind) != HYPI_SPAN_SMALL) return "an outbox holds blocks of no span";
		if (entry->count > entry->span->out) return "an outbox holds more blocks than were out";
		if (entry->count * entry->span->block_bytes >= HYPI_OUTBOX_BYTES)
			return "an outbox holds what should have gone home";
		const hypi_block *block = entry->head;
		for (uint32_t n = entry->count; n > 0; n--, block = hypi_link_get(block)) {
			if (!hypi_span_holds(entry->span, block)) return "a chain in an outbox leaves its span";
			if (n == 1 && block != entry->tail) return "a chain in an outbox is longer than it says";
		}
	}
	return NULL;
}

/* ---- from the arenas ---- */

static bool is_heap_of(const hypi_engine *engine, const hypi_heap *owner) {
	const hypi_heap *heap = engine->heaps;
	while (heap != NULL && heap != owner) heap = heap->next;
	return heap != NULL;
}

static const char *check_small(const hypi_engine *engine, const hypi_span *span, tally *seen) {
	hypi_heap *owner = hypi_load_relaxed(&span->owner);
	if (!is_heap_of(engine, owner)) return "a span belongs to no heap of its engine";
	seen->pending += (hypi_load_relaxed(&span->remote) & HYPI_PENDING) != 0;
	seen->listed += span->place != HYPI_UNLISTED;
	seen->small_slices += span->slices;
	seen->carving += owner->bins[span->class_index].carving == span;
	seen->spans++;
	if ((span->place != HYPI_UNLISTED) != (span->listed > 0))
		return "a span with free blocks is not listed, or one without is";
	return hypi_span_check(span);
}

static const char *check_span(const hypi_engine *engine, const hypi_span *span, tally *seen) {
	switch (hypi_load_relaxed(&span->kind)) {
	case HYPI_SPAN_SMALL: return check_small(engine, span, seen);
	case HYPI_SPAN_LARGE:
		if (span->engine != engine) return "a large block is another engine's";
		seen->large_bytes += span->block_bytes;
		break;
	case HYPI_SPAN_CACHED: seen->cached++; break;
	default: return "the page map holds a span that is not in use";
	}
	if (span->block_bytes > (size_t)span->slices << HYPI_SLICE_LOG2) return "a large block is larger than its run";
	return NULL;
}

/* The slices of one arena: each run's first names its span, a small one's others as well, and free ones none. */
static const char *check_slices(const hypi_engine *engine, const hypi_arena *arena, tally *seen) {
	uint32_t end = 0; /* of the run that the slice lies in */
	const hypi_span *span = NULL;
	for (uint32_t s = 0; s < arena->slices; s++) {
		const hypi_span *at = hypi_span_at((void *)(arena->base + ((uintptr_t)s << HYPI_SLICE_LOG2)));
		bool used = arena->used[s >> 6] >> (s & 63) & 1;
		if (s < end) {
			bool small = hypi_load_relaxed(&span->kind) == HYPI_SPAN_SMALL;
			if (!used) return "a span has a free slice";
			if (at != (small ? span : NULL)) return "two spans have the same slice";
			continue;
		}
		if (!used && at != NULL) return "a free slice has a span";
		if (!used) continue;
		if (at == NULL) return "a used slice belongs to nobody";
		if (at->arena != arena || at->first != s || at->base != arena->base + ((uintptr_t)s << HYPI_SLICE_LOG2))
			return "a span is not where its slices are";
		span = at;
		end = s + span->slices;
		if (end <= s || end > arena->slices) return "a span leaves its arena";
		seen->slices += span->slices;
		const char *wrong = check_span(engine, span, seen);
		if (wrong != NULL) return wrong;
	}
	return NULL;
}

static const char *check_huges(const hypi_engine *engine) {
	const hypi_span *before = NULL;
	for (const hypi_span *span = engine->huges; span != NULL; before = span, span = span->next) {
		if (hypi_load_relaxed(&span->kind) != HYPI_SPAN_HUGE || span->engine != engine)
			return "a huge block is not one";
		if (span->prev != before) return "the list of huge blocks is broken";
		if (hypi_span_at((void *)span->base) != span) return "a huge block is not where it is";
	}
	return NULL;
}

static const char *compare(const hypi_engine *engine, const tally *heaps, const tally *arenas) {
	if (heaps->carving != arenas->carving) return "a heap's carving span is gone";
	if (heaps->spans != arenas->spans || heaps->small_slices != arenas->small_slices)
		return "heaps count other spans than there are";
	if (heaps->listed != arenas->listed) return "a span is listed and in no list, or the other way round";
	if (heaps->pending != arenas->pending) return "a pending span is on no stack";
	if (heaps->cached != arenas->cached) return "a kept large block is in no cache";
	if (arenas->slices != engine->large.used_slices) return "spans and the count of used slices do not agree";
	if (arenas->small_slices != engine->large.small_slices) return "the count of small blocks' slices is wrong";
	uint64_t live = hypi_large_live_bytes(engine);
	if (engine->large.huge_bytes == 0 ? live != arenas->large_bytes : live < arenas->large_bytes)
		return "the count of large blocks' bytes is wrong";
	return NULL;
}

/* In a forked child: what a thread was changing when it was left behind can not be counted. */
static bool lost_any(const hypi_engine *engine) {
	for (hypi_heap *heap = engine->heaps; heap != NULL; heap = heap->next)
		if (hypi_load_relaxed(&heap->state) == HYPI_HEAP_LOST) return true;
	return false;
}

const char *hypi_engine_check(hypi_engine *engine) {
	tally heaps = {0}, arenas = {0};
	const char *wrong = NULL;
	hypi_lock_take(&engine->lock);
	if (lost_any(engine)) {
		hypi_unlock(&engine->lock);
		return hypi_large_pool_check(&engine->large);
	}
	for (hypi_heap *heap = engine->heaps; heap != NULL && wrong == NULL; heap = heap->next) {
		wrong = hypi_heap_check(heap);
		if (wrong == NULL) wrong = check_bins(heap, &heaps);
		if (wrong == NULL) wrong = check_pending(heap, &heaps);
		if (wrong == NULL) wrong = check_cache(heap, &heaps);
		if (wrong == NULL) wrong = check_outbox(heap);
	}
	if (wrong == NULL) wrong = check_huges(engine);
	hypi_lock_take(&engine->large.lock);
	for (hypi_arena *arena = engine->large.all; arena != NULL && wrong == NULL; arena = arena->all_next)
		wrong = check_slices(engine, arena, &arenas);
	hypi_unlock(&engine->large.lock);
	if (wrong == NULL) wrong = compare(engine, &heaps, &arenas);
	if (wrong == NULL) wrong = hypi_large_pool_check(&engine->large);
	hypi_unlock(&engine->lock);
	return wrong;
}
