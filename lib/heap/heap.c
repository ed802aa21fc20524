/*
 * heap/heap.c: the slow path of small blocks: which span a heap uses next, and when spans come and go.
 *
 * A full span is in no list. It is listed again when a sixteenth of it is free, at the front: it is then the fullest
 * known, and using the fullest first lets the others run empty. An empty span goes back at once, unless it is the
 * current one, which stays until the heap's clock finds it idle.
 */
#include "heap/heap.h"

#include "heap/fast.h"
#include "heap/sample.h"

#include <errno.h>
#include <string.h>

static void set_current(hypi_heap *heap, unsigned c, hypi_span *span) {
	heap->current[c] = span;
	if (heap->sampler != NULL) hypi_sample_changed(heap, c);
	if (hypi_class_bytes(c) > HYPI_DIRECT_LIMIT) return;
	size_t first = c == 0 ? 0 : hypi_class_bytes(c - 1) / 16 + 1, last = hypi_class_bytes(c) / 16;
	for (size_t i = first; i <= last; i++) heap->direct[i] = span;
}

static hypi_span *no_span(void) { return hypi_heap_none.current[0]; }

static void list_first(hypi_heap *heap, hypi_span *span) {
	hypi_bin *bin = &heap->bins[span->class_index];
	span->place = HYPI_LISTED;
	span->prev = NULL;
	span->next = bin->first;
	if (bin->first != NULL) bin->first->prev = span;
	else bin->last = span;
	bin->first = span;
}

static void unlist(hypi_heap *heap, hypi_span *span) {
	hypi_bin *bin = &heap->bins[span->class_index];
	if (span->prev != NULL) span->prev->next = span->next;
	else bin->first = span->next;
	if (span->next != NULL) span->next->prev = span->prev;
	else bin->last = span->prev;
	span->next = span->prev = NULL;
}

/* Moves a span's counts to the heap's, so that the 32-bit ones never wrap unseen and totals survive the span. */
static void retire_counts(hypi_heap *heap, hypi_span *span) {
	uint32_t frees = hypi_span_frees(span), allocs = hypi_load_relaxed(&span->allocs);
	hypi_class_count *count = &heap->counts[span->class_index];
	hypi_count_add(&count->allocs, frees);
	hypi_count_add(&count->frees, frees);
	hypi_store_relaxed(&span->allocs, allocs - frees);
	hypi_store_relaxed(&span->due, hypi_load_relaxed(&span->left));
}

/* An empty span goes back; one that is still on the pending stack when the drain comes to it. */
static void give_back(hypi_heap *heap, hypi_span *span) {
	span->place = HYPI_FULL;
	hypi_span_set_left(span, 0); /* nothing is out */
	if (hypi_load_acquire(&span->remote) & HYPI_PENDING) return; /* pairs with hypi_span_push_remote */
	retire_counts(heap, span);
	hypi_span_destroy(&heap->engine->large, span);
}

/* Free blocks that a full span is worth listing for. */
static uint32_t few(const hypi_span *span) {
	uint32_t blocks = hypi_span_capacity(span) / 16;
	return blocks == 0 ? 1 : blocks;
}

/* The current span of a class has no block left: it is full from now on. */
static void leave_current(hypi_heap *heap, unsigned c) {
	hypi_span *span = heap->current[c];
	if (span == no_span()) return;
	set_current(heap, c, no_span());
	span->place = HYPI_FULL;
	hypi_span_set_left(span, few(span));
	if (hypi_span_live(span) == 0) give_back(heap, span); /* all of it was freed by others and collected */
}

static void make_current(hypi_heap *heap, hypi_span *span) {
	span->place = HYPI_CURRENT;
	hypi_span_set_left(span, HYPI_TICK);
	if (hypi_window_of(span->base) != heap->window) {
		heap->window = hypi_window_of(span->base);
		heap->leaf = hypi_load_relaxed(&hypi_root[heap->window]);
	}
	set_current(heap, span->class_index, span);
}

/* Whether the free list has a block. Its head is one, or the end; anything else was written over. */
static bool has_block(const hypi_span *span) {
	if (hypi_span_holds(span, span->free)) return true;
	if (span->free != hypi_no_block(span->base)) hypi_fail_link(span, span->free);
	return false;
}

/* Makes what other threads freed the span's free list, which is empty. */
static bool collect(hypi_heap *heap, hypi_span *span) {
	uint32_t count = hypi_span_collect(span);
	if (count > 0) hypi_count_add(&heap->counts[span->class_index].collected, count);
	return count > 0;
}

/* All that is out has been freed by others: the links of the chain need not even be read. */
static void collect_all(hypi_heap *heap, hypi_span *span) {
	uint32_t count = hypi_span_live(span);
	/* acquire: pairs with hypi_span_push_remote. Nobody else can push now. */
	atomic_fetch_and_explicit(&span->remote, HYPI_PENDING, memory_order_acquire);
	hypi_span_add_frees(span, count);
	hypi_count_add(&heap->counts[span->class_index].collected, count);
}

/* Refills the empty free list of a span; *ret_fresh: with blocks that nobody has had before. */
static bool refill(hypi_heap *heap, hypi_span *span, bool *ret_fresh) {
	if (has_block(span) || (heap->sampler != NULL && hypi_sample_rest(heap, span)) || collect(heap, span)) return true;
	return *ret_fresh = hypi_span_carve(span);
}

/* A span of class `c` with a free block, made current; NULL: no memory. */
static hypi_span *next_span(hypi_heap *heap, unsigned c, bool *ret_fresh) {
	hypi_span *span = heap->current[c];
	if (span != no_span()) {
		if (refill(heap, span, ret_fresh)) return span;
		leave_current(heap, c);
	}
	hypi_heap_drain(heap);
	hypi_heap_look(heap);
	span = heap->bins[c].first;
	if (span != NULL) {
		unlist(heap, span);
	} else {
		span = hypi_span_create(&heap->engine->large, c, heap);
		if (span == NULL) return NULL;
	}
	make_current(heap, span);
	return refill(heap, span, ret_fresh) ? span : NULL;
}

void *hypi_heap_alloc(hypi_heap *heap, unsigned c, bool *ret_zeroed) {
	heap->busy = true;
	bool fresh = false;
	hypi_span *span = next_span(heap, c, &fresh);
	void *block = span != NULL ? hypi_span_pop(span) : NULL;
	if (heap->sampler != NULL) hypi_sample_passed(heap, c);
	/* The first block off a fresh carving holds nothing but its link, which the pop has cleared. */
	*ret_zeroed = fresh && span->zeroed;
	heap->busy = false;
	return block;
}

/* A span that is not current: listed, to tell its event when its last block that no other thread has freed is back; or,
 * when there is none, given back. Another thread's free brings it here again by the pending stack. */
static void rest(hypi_heap *heap, hypi_span *span) {
	uint32_t live = hypi_span_live(span), waiting = hypi_chain_count(hypi_load_relaxed(&span->remote));
	if (waiting == live) {
		if (span->place == HYPI_LISTED) unlist(heap, span);
		collect_all(heap, span);
		give_back(heap, span);
		return;
	}
	if (span->place != HYPI_LISTED) list_first(heap, span);
	hypi_span_set_left(span, live - waiting);
}

void hypi_heap_event(hypi_span *span) {
	hypi_heap *heap = hypi_load_relaxed(&span->owner);
	bool was_busy = heap->busy;
	heap->busy = true;
	if (span->place == HYPI_CURRENT) {
		if (hypi_sample_concerns(heap)) hypi_sample_event(heap, span->class_index);
		if (hypi_span_frees(span) > UINT32_C(1) << 30) retire_counts(heap, span);
		hypi_span_set_left(span, HYPI_TICK);
		if (heap->sampler != NULL) hypi_sample_arm(heap, span->class_index);
		hypi_heap_look(heap);
	} else {
		rest(heap, span);
	}
	heap->busy = was_busy;
}

bool hypi_heap_drain(hypi_heap *heap) {
	if (hypi_load_relaxed(&heap->pending) == NULL) return false;
	hypi_span *span = hypi_exchange_acquire(&heap->pending, NULL); /* pairs with the push in heap/remote.c */
	while (span != NULL) {
		hypi_span *next = hypi_load_relaxed(&span->pending_next);
		/* acquire: pairs with hypi_span_push_remote, whose next caller stacks the span again */
		uint64_t chain = atomic_fetch_and_explicit(&span->remote, ~HYPI_PENDING, memory_order_acquire);
		/* A full span's own thread lists it when enough of it is free; what others free is not counted there. */
		if (span->place != HYPI_CURRENT && (hypi_chain_count(chain) > 0 || hypi_span_live(span) == 0)) rest(heap, span);
		span = next;
	}
	return true;
}

/* Current spans that nobody holds a block of go back. */
static void give_back_idle(hypi_heap *heap) {
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		hypi_span *span = heap->current[c];
		if (span == no_span() || hypi_chain_count(hypi_load_relaxed(&span->remote)) != hypi_span_live(span)) continue;
		if (heap->sampler != NULL) hypi_sample_settle(heap, c);
		set_current(heap, c, no_span());
		collect_all(heap, span);
		give_back(heap, span);
	}
}

void hypi_heap_trim(hypi_heap *heap) {
	bool was_busy = heap->busy;
	heap->busy = true;
	hypi_remote_flush(heap);
	hypi_heap_drain(heap);
	give_back_idle(heap);
	hypi_large_cache_flush(heap, UINT64_MAX);
	heap->busy = was_busy;
}

/* Current spans are only given back by their heap's own thread: without one, they wait in their lists like the others,
 * so that whoever frees the last block of one gives it back. */
void hypi_heap_shelve(hypi_heap *heap) {
	if (heap->sampler != NULL) hypi_sample_quit(heap);
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		hypi_span *span = heap->current[c];
		if (span == no_span()) continue;
		set_current(heap, c, no_span());
		span->place = HYPI_FULL;
		bool more = has_block(span) || hypi_load_relaxed(&span->carved_bytes) < hypi_span_capacity(span) * span->block_bytes;
		if (more || hypi_chain_count(hypi_load_relaxed(&span->remote)) > 0) rest(heap, span);
		else hypi_span_set_left(span, few(span));
	}
}

void hypi_heap_look(hypi_heap *heap) {
	uint64_t now = hypi_os_now_coarse_ms();
	if (now < heap->look_ms) return;
	bool first = heap->look_ms == 0;
	uint64_t decay = heap->engine->large.decay_ms;
	heap->look_ms = now + decay / 4 + 1;
	if (first) return;
	hypi_remote_flush(heap);
	hypi_heap_drain(heap);
	hypi_large_cache_flush(heap, now >= decay / 2 ? now - decay / 2 : 0);
	hypi_large_pool_tick(&heap->engine->large, now);
	hypi_sample_look(now);
}

const char *hypi_heap_check(hypi_heap *heap) {
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		hypi_span *span = heap->current[c];
		if (span != no_span() && (span->place != HYPI_CURRENT || span->class_index != c ||
		                          hypi_load_relaxed(&span->owner) != heap))
			return "a current span is of another class or heap";
		const hypi_span *before = NULL;
		for (span = heap->bins[c].first; span != NULL; before = span, span = span->next) {
			if (span->place != HYPI_LISTED || span->class_index != c || span->prev != before)
				return "a bin's list is broken";
			uint64_t remote = hypi_load_relaxed(&span->remote);
			uint32_t left = hypi_load_relaxed(&span->left), out = hypi_span_live(span) - hypi_chain_count(remote);
			if (left == 0 || (left > out && !(remote & HYPI_PENDING))) return "a listed span will not tell when it is empty";
		}
		if (heap->bins[c].last != before) return "a bin's list has a wrong end";
	}
	for (size_t i = 0; i < HYPI_DIRECT_ENTRIES; i++)
		if (heap->direct[i] != heap->current[hypi_class_of(i * 16)]) return "the direct table is stale";
	return NULL;
}
