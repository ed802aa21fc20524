/*
 * heap/fast.h: the hit paths of malloc and free, inlined into every entry point that has them.
 *
 * Allocate: the thread's word, the span by size, the free list's head, its link. Free: the page map, the span's owner,
 * the list. No lock, no atomic read-modify-write, no call; three lines of memory each: the heap's (or page map's), the
 * span's, the block's. All else is behind one branch each, out of line.
 */
#ifndef HYPI_HEAP_FAST_H
#define HYPI_HEAP_FAST_H

#include "base/fatal.h"
#include "heap/heap.h"

void hypi_fail_link(const hypi_span *span, const void *block) __attribute__((noreturn, cold));

/* Takes the newest free block of a span of the caller's heap; NULL when there is none, or when the head is not one. */
HYP_INLINE void *hypi_span_pop(hypi_span *span) {
	hypi_block *block = span->free;
	if (HYP_UNLIKELY(!hypi_span_holds(span, block))) return NULL;
	span->free = hypi_link_read(block);
	block->link = 0; /* a link left behind would look like a double free */
	hypi_count_up(&span->allocs);
	return block;
}

/* The span that the front takes `bytes` from; below HYPI_SMALL_LIMIT. */
HYP_INLINE hypi_span *hypi_front_span(hypi_heap *heap, size_t bytes) {
	if (HYP_LIKELY(bytes <= HYPI_DIRECT_LIMIT)) return heap->direct[(bytes + 15) >> 4];
	return heap->current[hypi_class_of(bytes)];
}

HYP_INLINE void *hypi_alloc(size_t bytes) {
	hypi_span *span;
	if (HYP_LIKELY(bytes <= HYPI_DIRECT_LIMIT)) span = hypi_self.front->direct[(bytes + 15) >> 4];
	else if (HYP_LIKELY(bytes < HYPI_SMALL_LIMIT)) span = hypi_self.front->current[hypi_class_of(bytes)];
	else return hypi_alloc_slow(bytes);
	void *block = hypi_span_pop(span);
	if (HYP_UNLIKELY(block == NULL)) return hypi_alloc_slow(bytes);
	return block;
}

/* Whether `p` is the start of a block that `span` handed out and that was not freed since, as far as one look tells. */
HYP_INLINE bool hypi_span_lends(const hypi_span *span, const void *p) {
#if HYP_CHECKS
	uint64_t offset = (uintptr_t)p - span->base, carved_bytes = hypi_load_relaxed(&span->carved_bytes);
	if (HYP_UNLIKELY(offset >= carved_bytes) || HYP_UNLIKELY(!hypi_span_divides(span, offset))) return false;
	return HYP_LIKELY(hypi_block_unlinked(p)) || !hypi_span_links(span, p);
#else
	(void)span;
	(void)p;
	return true;
#endif
}

/* Puts a block on the list of its span, which belongs to the caller's heap. */
HYP_INLINE void hypi_span_put(hypi_span *span, void *p) {
	hypi_block *block = p;
	block->link = hypi_link_make(span->free);
	span->free = block;
	if (HYP_UNLIKELY(hypi_count_down(&span->left))) hypi_heap_event(span);
}

HYP_INLINE void hypi_free(void *p) {
	hypi_heap *heap = hypi_self.front;
	if (HYP_LIKELY(hypi_window_of((uintptr_t)p) == heap->window)) {
		hypi_span *span = hypi_leaf_at(heap->leaf, (uintptr_t)p);
		if (HYP_LIKELY(span != NULL) && HYP_LIKELY(hypi_load_relaxed(&span->owner) == heap) &&
		    HYP_LIKELY(hypi_span_lends(span, p))) {
			hypi_span_put(span, p);
			return;
		}
	}
	hypi_free_slow(p);
}

#endif
