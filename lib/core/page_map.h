/*
 * core/page_map.h: from an address to the span that owns it.
 *
 * A two-level radix tree over the 47-bit address space (48 on arm64): the root has an entry for each 64 MiB window,
 * a leaf one for each slice of its window. Both are read without a lock: an entry is 0 or a span, and spans are never
 * unmapped. A pointer that hypool did not hand out finds 0, without a look at the memory behind it.
 *
 * Small spans stand in the entries of all their slices; large blocks only in that of their first.
 */
#ifndef HYPI_CORE_PAGE_MAP_H
#define HYPI_CORE_PAGE_MAP_H

#include "base/atomic.h"
#include "core/slice.h"

struct hypi_span;

#if HYP_CPU_ARM64
#define HYPI_ADDRESS_LOG2 48
#else
#define HYPI_ADDRESS_LOG2 47
#endif
#define HYPI_ROOT_ENTRIES ((size_t)1 << (HYPI_ADDRESS_LOG2 - HYPI_ARENA_LOG2))

typedef struct hypi_leaf {
	_Atomic(struct hypi_span *) span[HYPI_ARENA_SLICES];
} hypi_leaf;

extern _Atomic(hypi_leaf *) hypi_root[HYPI_ROOT_ENTRIES];

/* The span in whose slices `address` lies, or NULL. Any address. */
HYP_INLINE struct hypi_span *hypi_span_at(const void *address) {
	uintptr_t a = (uintptr_t)address;
	uintptr_t window = a >> HYPI_ARENA_LOG2;
	if (HYP_UNLIKELY(window >= HYPI_ROOT_ENTRIES)) return NULL;
	/* The relaxed loads are ordered by the program itself: whoever frees a block got it after it was mapped. */
	hypi_leaf *leaf = hypi_load_relaxed(&hypi_root[window]);
	if (HYP_UNLIKELY(leaf == NULL)) return NULL;
	return hypi_load_relaxed(&leaf->span[(a >> HYPI_SLICE_LOG2) & (HYPI_ARENA_SLICES - 1)]);
}

/* Makes the leaves for [base, base + bytes). False: no memory for them, or the range is out of reach. */
bool hypi_page_map_cover(uintptr_t base, size_t bytes);

/* Enters `span` (or NULL) for `slices` slices from `base`. The range is covered. */
void hypi_page_map_set(uintptr_t base, size_t slices, struct hypi_span *span);

#endif
