/*
 * core/page_map.h: from an address to the span that owns it.
 *
 * A two-level radix tree over the 47-bit address space (48 on arm64): the root has an entry for each 4 GiB window,
 * a leaf one for each slice of its window (2 MiB of address space, of which 4 KiB are touched for each 8 MiB in use).
 * Both are read without a lock: an entry is 0 or a span, and spans are never unmapped. A pointer that hypool did not
 * hand out finds 0, without a look at the memory behind it.
 *
 * The kernel places neighbouring mappings side by side, so nearly all of a process's blocks lie in one window. A heap
 * remembers that window's leaf: then the way from a pointer to its span is one load, and the addresses that a free
 * writes to are known early (a chain of two loads made a malloc + free pair a quarter slower).
 *
 * Small spans stand in the entries of all their slices; large blocks only in that of their first. An address has at
 * most 48 bits, so an entry has 16 to spare: the tag of a small span tells where a free block of it goes, without a
 * look at the span.
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
#define HYPI_WINDOW_LOG2 32
#define HYPI_ROOT_ENTRIES ((size_t)1 << (HYPI_ADDRESS_LOG2 - HYPI_WINDOW_LOG2))

#define HYPI_TAG_SHIFT 48
/* In a tag. PLAIN: a span of small blocks, which a free may put on a list; whatever else is freed goes the long way (the
 * entry's highest bit, so that this is one test with whether there is a span at all). HOME: of the plain ones, those
 * whose blocks only the span's own heap may have on its list. */
#define HYPI_TAG_PLAIN ((size_t)1 << 15)
#define HYPI_TAG_HOME_BIT 14
#define HYPI_TAG_HOME ((size_t)1 << HYPI_TAG_HOME_BIT)
#define HYPI_TAG_CLASS (HYPI_TAG_HOME - 1)

typedef uint64_t hypi_entry; /* a span's address | tag << HYPI_TAG_SHIFT; 0: no span */

typedef struct hypi_leaf {
	_Atomic hypi_entry entry[(size_t)1 << (HYPI_WINDOW_LOG2 - HYPI_SLICE_LOG2)];
} hypi_leaf;

extern HYP_HIDDEN _Atomic(hypi_leaf *) hypi_root[HYPI_ROOT_ENTRIES];

HYP_INLINE uintptr_t hypi_window_of(uintptr_t address) { return address >> HYPI_WINDOW_LOG2; }

/* The entry of `address` in the leaf of its window. */
HYP_INLINE hypi_entry hypi_leaf_at(const hypi_leaf *leaf, uintptr_t address) {
	return hypi_load_relaxed(&leaf->entry[(uint32_t)address >> HYPI_SLICE_LOG2]);
}

HYP_INLINE struct hypi_span *hypi_entry_span(hypi_entry entry) {
	return (struct hypi_span *)(uintptr_t)(entry & ((UINT64_C(1) << HYPI_TAG_SHIFT) - 1));
}
HYP_INLINE size_t hypi_entry_tag(hypi_entry entry) { return entry >> HYPI_TAG_SHIFT; }
HYP_INLINE bool hypi_entry_is_plain(hypi_entry entry) { return (int64_t)entry < 0; }
/* All bits of one whose blocks stay home, none of another's. */
HYP_INLINE uintptr_t hypi_entry_home(hypi_entry entry) {
	return 0 - (uintptr_t)(entry >> (HYPI_TAG_SHIFT + HYPI_TAG_HOME_BIT) & 1);
}

/* The entry of any address; 0: none. */
HYP_INLINE hypi_entry hypi_entry_at(const void *address) {
	uintptr_t window = hypi_window_of((uintptr_t)address);
	if (HYP_UNLIKELY(window >= HYPI_ROOT_ENTRIES)) return 0;
	/* The relaxed loads are ordered by the program itself: whoever frees a block got it after it was mapped. */
	hypi_leaf *leaf = hypi_load_relaxed(&hypi_root[window]);
	if (HYP_UNLIKELY(leaf == NULL)) return 0;
	return hypi_leaf_at(leaf, (uintptr_t)address);
}

/* The span in whose slices `address` lies, or NULL. Any address. */
HYP_INLINE struct hypi_span *hypi_span_at(const void *address) { return hypi_entry_span(hypi_entry_at(address)); }

/* As hypi_span_at, of an address whose block another thread may be freeing: what the entry names is filled in. Something
 * must keep the record from going meanwhile: the lock of the large pool in one of whose arenas the address lies (see
 * hypi_span_destroy). */
HYP_INLINE struct hypi_span *hypi_span_at_acquire(const void *address) {
	uintptr_t window = hypi_window_of((uintptr_t)address);
	if (HYP_UNLIKELY(window >= HYPI_ROOT_ENTRIES)) return NULL;
	hypi_leaf *leaf = hypi_load_acquire(&hypi_root[window]); /* pairs with the exchange in hypi_page_map_cover */
	if (HYP_UNLIKELY(leaf == NULL)) return NULL;
	/* acquire: pairs with the release in hypi_page_map_set_tagged */
	return hypi_entry_span(hypi_load_acquire(&leaf->entry[(uint32_t)(uintptr_t)address >> HYPI_SLICE_LOG2]));
}

/* Makes the leaves for [base, base + bytes). False: no memory for them, or the range is out of reach. */
bool hypi_page_map_cover(uintptr_t base, size_t bytes);

/* Enters `span` (or NULL) and its tag for `slices` slices from `base`. The range is covered. */
void hypi_page_map_set_tagged(uintptr_t base, size_t slices, struct hypi_span *span, size_t tag);
HYP_INLINE void hypi_page_map_set(uintptr_t base, size_t slices, struct hypi_span *span) {
	hypi_page_map_set_tagged(base, slices, span, span != NULL ? HYPI_TAG_HOME : 0);
}

#endif
