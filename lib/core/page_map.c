/* core/page_map.c: see core/page_map.h. The root costs 256 KiB of address space, and memory only where used. */
#include "core/page_map.h"

#include "os/os.h"

_Atomic(hypi_leaf *) hypi_root[HYPI_ROOT_ENTRIES];

bool hypi_page_map_cover(uintptr_t base, size_t bytes) {
	uintptr_t first = hypi_window_of(base), last = hypi_window_of(base + bytes - 1);
	if (last >= HYPI_ROOT_ENTRIES || last < first) return false;
	for (uintptr_t window = first; window <= last; window++) {
		if (hypi_load_acquire(&hypi_root[window]) != NULL) continue; /* pairs with the exchange below */
		hypi_leaf *leaf = hypi_os_map(sizeof *leaf, hypi_os.page_bytes), *expected = NULL;
		if (leaf == NULL) return false;
		if (!atomic_compare_exchange_strong(&hypi_root[window], &expected, leaf) &&
		    hypi_os_unmap(leaf, sizeof *leaf) != HYP_OK)
			continue; /* lost the race, and it stays mapped: address space, never touched */
	}
	return true;
}

void hypi_page_map_set_tagged(uintptr_t base, size_t slices, struct hypi_span *span, size_t tag) {
	for (size_t i = 0; i < slices; i++) {
		uintptr_t a = base + (i << HYPI_SLICE_LOG2);
		hypi_leaf *leaf = hypi_load_relaxed(&hypi_root[hypi_window_of(a)]);
		hypi_store_release(&leaf->entry[(uint32_t)a >> HYPI_SLICE_LOG2], (uintptr_t)span | tag << HYPI_TAG_SHIFT);
	}
}
