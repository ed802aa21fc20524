/*
 * heap/fast.h: the hit paths of malloc and free, inlined into every entry point that has them.
 *
 * Allocate: the thread's word, the class's list by size, its first block, that block's words. Free: the page map, the
 * span's constants, and the list of the block that was freed before. No lock, no atomic read-modify-write, no call;
 * three lines of memory to allocate (the heap's, the list's, the block's). All else is behind one branch each, out of
 * line.
 */
#ifndef HYPI_HEAP_FAST_H
#define HYPI_HEAP_FAST_H

#include "heap/heap.h"

/* Takes the first block off a list; NULL when there is none, or when it was written over. */
HYP_INLINE void *hypi_list_pop(hypi_list *list) {
	hypi_block *block = list->head;
	if (HYP_UNLIKELY(block == NULL)) return NULL;
#if HYP_CHECKS
	if (HYP_UNLIKELY(!hypi_link_fits(block))) return NULL;
#endif
	list->head = hypi_link_get(block);
	block->link = 0; /* a link left behind would look like a double free */
	hypi_count_up(&list->allocs);
	return block;
}

/* The list that serves `bytes`, which is below HYPI_SMALL_LIMIT. */
HYP_INLINE hypi_list *hypi_list_for(hypi_heap *heap, size_t bytes) {
	if (HYP_LIKELY(bytes <= HYPI_TABLE_LIMIT))
		return (hypi_list *)((char *)heap->lists + hypi_tag_table[(bytes + 15) >> 4]);
	return &heap->lists[hypi_class_of(bytes)];
}

HYP_INLINE void *hypi_alloc(size_t bytes) {
	/* In this order one comparison serves the sizes of the table. */
	if (HYP_UNLIKELY(bytes > HYPI_TABLE_LIMIT) && HYP_UNLIKELY(bytes >= HYPI_SMALL_LIMIT))
		return hypi_alloc_slow(bytes);
	void *block = hypi_list_pop(hypi_list_for(hypi_self.front, bytes));
	if (HYP_UNLIKELY(block == NULL)) return hypi_alloc_slow(bytes);
	return block;
}

/* Whether `p` is the start of a block that `span` handed out and that was not freed since. False may be wrong: of one
 * block in 16 that hold random bytes, and of one in 2^64 when `words` has both words looked at. */
HYP_INLINE bool hypi_span_lends(const hypi_span *span, const void *p, bool words) {
#if HYP_CHECKS
	if (HYP_UNLIKELY(!hypi_span_starts(span, p))) return false;
	return words ? !hypi_link_fits(p) && !hypi_link_marked(p) : HYP_LIKELY(hypi_block_unlinked(p));
#else
	(void)span;
	(void)p;
	(void)words;
	return true;
#endif
}

/* Puts a block on the list that its tag names. The heap is the caller's, and the block's span's owner. */
HYP_INLINE void hypi_heap_put(hypi_heap *heap, size_t tag, hypi_block *block) {
	hypi_list *list = (hypi_list *)((char *)heap->lists + tag);
	hypi_link_set(block, list->head);
	list->head = block;
	if (HYP_UNLIKELY(hypi_count_down(&list->left))) hypi_heap_event(heap, (unsigned)(tag / sizeof *list));
}

/* As hypi_heap_free, of a block in the window that `leaf` is of; `words`: see hypi_span_lends. */
HYP_INLINE bool hypi_heap_free_in(hypi_heap *heap, const hypi_leaf *leaf, void *p, bool any, bool words) {
	hypi_entry entry = hypi_leaf_at(leaf, (uintptr_t)p);
	if (HYP_UNLIKELY(!hypi_entry_is_plain(entry))) return false;
	hypi_span *span = hypi_entry_span(entry);
	/* One branch of two conditions: each alone is as good as random in a program of mixed sizes, or of many threads. */
	uintptr_t home = any ? hypi_entry_home(entry) : UINTPTR_MAX;
	if (HYP_UNLIKELY((((uintptr_t)hypi_load_relaxed(&span->owner) ^ (uintptr_t)heap) & home) != 0)) return false;
	if (HYP_UNLIKELY(!hypi_span_lends(span, p, words))) return false;
	hypi_block *block = hypi_load_relaxed(&heap->held);
	size_t held_tag = hypi_load_relaxed(&heap->held_tag);
#if HYP_CHECKS
	/* Written to since it was freed: hypi_free_slow tells. (If it is `p`, its mark was seen above, or is gone.) */
	if (HYP_UNLIKELY(!hypi_link_marked(block))) return false;
#endif
	size_t tag = hypi_entry_tag(entry) & HYPI_TAG_CLASS;
	if (HYP_LIKELY(tag < HYPI_TAG_HELD)) {
		hypi_link_mark(p); /* until it is linked on */
		hypi_store_relaxed(&heap->held, p);
		hypi_store_relaxed(&heap->held_tag, tag);
		hypi_heap_put(heap, held_tag, block);
	} else {
		hypi_heap_put(heap, tag, p);
	}
	return true;
}

/* Frees a block into `heap`, which is the caller's. `any`: of any heap of the default engine, else of this one. False: it
 * is not plainly such a block in the heap's last window, and nothing happened. */
HYP_INLINE bool hypi_heap_free(hypi_heap *heap, void *p, bool any) {
	if (HYP_UNLIKELY(hypi_window_of((uintptr_t)p) != heap->window)) return false;
	return hypi_heap_free_in(heap, heap->leaf, p, any, false);
}

HYP_INLINE void hypi_free(void *p) {
	if (HYP_UNLIKELY(!hypi_heap_free(hypi_self.front, p, true))) hypi_free_slow(p);
}

/* Whether a small block of `have` bytes stays where it is for `bytes`, no more than that: shrinking by a little is not
 * worth a copy. */
HYP_INLINE bool hypi_keeps(size_t have, size_t bytes) { return bytes > have / 2 || have <= 32; }

/* The ordinary blocks that realloc leaves where they are: the thread's own, of the same class or number of pages. */
HYP_INLINE bool hypi_stays(const void *p, size_t bytes) {
	const hypi_heap *heap = hypi_self.front;
	if (HYP_UNLIKELY(hypi_window_of((uintptr_t)p) != heap->window)) return false;
	hypi_entry entry = hypi_leaf_at(heap->leaf, (uintptr_t)p);
	const hypi_span *span = hypi_entry_span(entry);
	if (HYP_UNLIKELY(span == NULL) || HYP_UNLIKELY(bytes - 1 >= span->block_bytes)) return false;
	if (HYP_LIKELY(hypi_entry_is_plain(entry)))
		return hypi_load_relaxed(&span->owner) == heap && hypi_keeps(span->block_bytes, bytes) &&
		       hypi_span_lends(span, p, false);
	return (uintptr_t)p == span->base && hypi_load_relaxed(&span->kind) == HYPI_SPAN_LARGE &&
	       span->engine == heap->engine && span->block_bytes - bytes < hypi_os.page_bytes;
}

HYP_INLINE void *hypi_realloc(void *p, size_t bytes) {
	return HYP_LIKELY(hypi_stays(p, bytes)) ? p : hypi_realloc_slow(p, bytes);
}

#endif
