/*
 * heap/bulk.c: frees in bulk: of a heap that only frees, straight to the spans.
 *
 * A block on a list is visited twice when nobody asks for it: as it is freed, and as the list, too long, returns it to
 * its span. A heap that found lists too long for HYPI_BULK_EVENTS events in a row, and nothing asked for in between,
 * frees in bulk: a block of its own, of up to HYPI_BULK_BYTES, goes on the list of its span at once, and the span back
 * when it is empty. With the first list that runs empty, the first event of a class that was asked for, and the first
 * block of another heap, it ends, and begins again only after as many events.
 *
 * How it costs the hit paths nothing: meanwhile `window` is one where no block lies, so that each free comes to the
 * slow path, which knows the true one, the leaf's, by `bulk_window`. malloc takes from the lists as ever.
 *
 * Programs often free in the order of addresses, but blocks of many classes in turn, which is more than the processor
 * follows by itself: of a span whose blocks come so, the next but one is fetched ahead.
 *
 * Invariants: every check of heap/fast.h is made, before anything changes, but that of the block held back, which waits
 * for the end. No list changes, and no counter of one: what is freed is counted in `sent`, as all that passes the list.
 * HYPI_TICK frees of a class are an event, for the heap's clock. It is done by the heap that malloc and free look at and
 * by no other: not by a pool's, the sampler's or limbo's; and not at the hardening levels, where that is hypi_heap_none.
 */
#include "heap/fast.h"

enum { AHEAD = 2 };

void hypi_bulk_due(hypi_heap *heap, unsigned c) {
	if (hypi_class_bytes(c) > HYPI_BULK_BYTES || heap != hypi_self.front || heap->window == UINTPTR_MAX) return;
	if (heap->bulk_events == HYPI_BULK_EVENTS || ++heap->bulk_events < HYPI_BULK_EVENTS) return;
	heap->bulk_window = heap->window;
	heap->window = HYPI_WINDOW_BULK;
}

void hypi_bulk_end(hypi_heap *heap) {
	heap->bulk_events = 0;
	if (HYP_LIKELY(heap->bulk_window == UINTPTR_MAX)) return;
	heap->window = heap->bulk_window;
	heap->bulk_window = UINTPTR_MAX;
}

static bool ticks(const hypi_bin *bin) { return hypi_load_relaxed(&bin->sent) % HYPI_TICK == 0; }

/* A span that got its first block back, or its last; or it is time for an event. */
static HYP_NOINLINE void finish(hypi_heap *heap, hypi_span *span, bool was_busy) {
	unsigned c = span->class_index;
	hypi_heap_place(heap, span);
	hypi_heap_leave(heap, was_busy);
	if (ticks(&heap->bins[c])) hypi_heap_event(heap, c);
}

static HYP_NOINLINE void free_foreign(hypi_heap *heap, void *p) {
	hypi_bulk_end(heap);
	hypi_free_long(p);
}

/* What is rare is called last, each: so nothing is saved and restored, and more frees are under way at once. */
void hypi_bulk_free(hypi_heap *heap, void *p) {
	hypi_entry entry = hypi_leaf_at(heap->leaf, (uintptr_t)p);
	size_t tag = hypi_entry_tag(entry) & HYPI_TAG_CLASS;
	hypi_span *span = hypi_entry_span(entry);
	hypi_bin *bin = &heap->bins[tag / sizeof *heap->lists];
	if (HYP_UNLIKELY(!hypi_entry_is_plain(entry)) ||
	    HYP_UNLIKELY(tag > hypi_class_tag(hypi_class_of(HYPI_BULK_BYTES)))) {
		hypi_free_long(p);
		return;
	}
	if (HYP_UNLIKELY(hypi_load_relaxed(&span->owner) != heap)) {
		free_foreign(heap, p);
		return;
	}
	if (HYP_UNLIKELY(!hypi_span_lends(span, p, false)) && !hypi_span_lends(span, p, true)) {
		hypi_free_long(p);
		return;
	}
	if ((uintptr_t)p - (uintptr_t)span->free == span->block_bytes)
		__builtin_prefetch((char *)p + AHEAD * span->block_bytes, 1);
	bool was_busy = hypi_heap_enter(heap);
	hypi_span_put(span, p);
	hypi_count_add(&bin->sent, 1);
	if (HYP_UNLIKELY(span->out == 0) || HYP_UNLIKELY(span->place != HYPI_LISTED) || HYP_UNLIKELY(ticks(bin)))
		finish(heap, span, was_busy);
	else hypi_heap_leave(heap, was_busy);
}
