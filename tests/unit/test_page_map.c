/* Tests of core/page_map.c: look-ups at every edge, and addresses that nobody entered. */
#include "core/page_map.h"
#include "os/fault.h"
#include "os/os.h"
#include "unit.h"

#include <errno.h>

/* Entries are compared, never followed. */
static char one_span, other_span;
#define ONE ((struct hypi_span *)&one_span)
#define OTHER ((struct hypi_span *)&other_span)

START_TEST(nothing_is_known) {
	hypi_os_init();
	int local = 0;
	ck_assert_ptr_null(hypi_span_at(NULL));
	ck_assert_ptr_null(hypi_span_at(&local));
	ck_assert_ptr_null(hypi_span_at(&one_span));
	ck_assert_ptr_null(hypi_span_at((void *)UINTPTR_MAX));
	ck_assert_ptr_null(hypi_span_at((void *)((uintptr_t)1 << HYPI_ADDRESS_LOG2)));
	ck_assert_ptr_null(hypi_span_at((void *)(((uintptr_t)1 << HYPI_ADDRESS_LOG2) - 1)));
	ck_assert_ptr_null(hypi_span_at((void *)0xffff800000000000u));
}
END_TEST

START_TEST(edges) {
	hypi_os_init();
	uintptr_t window = (uintptr_t)1 << HYPI_WINDOW_LOG2;
	uintptr_t base = 9 * window - 2 * HYPI_SLICE_BYTES; /* the range lies in two windows */
	ck_assert(hypi_page_map_cover(base, 4 * HYPI_SLICE_BYTES));
	hypi_page_map_set(base, 4, ONE);
	ck_assert_ptr_null(hypi_span_at((void *)(base - 1)));
	ck_assert_ptr_eq(hypi_span_at((void *)base), ONE);
	ck_assert_ptr_eq(hypi_span_at((void *)(9 * window - 1)), ONE);
	ck_assert_ptr_eq(hypi_span_at((void *)(9 * window)), ONE);
	ck_assert_ptr_eq(hypi_span_at((void *)(base + 4 * HYPI_SLICE_BYTES - 1)), ONE);
	ck_assert_ptr_null(hypi_span_at((void *)(base + 4 * HYPI_SLICE_BYTES)));
	/* A part changes hands, and the rest stays. */
	hypi_page_map_set(base + HYPI_SLICE_BYTES, 2, OTHER);
	ck_assert_ptr_eq(hypi_span_at((void *)(base + HYPI_SLICE_BYTES - 1)), ONE);
	ck_assert_ptr_eq(hypi_span_at((void *)(base + HYPI_SLICE_BYTES)), OTHER);
	ck_assert_ptr_eq(hypi_span_at((void *)(base + 3 * HYPI_SLICE_BYTES - 1)), OTHER);
	ck_assert_ptr_eq(hypi_span_at((void *)(base + 3 * HYPI_SLICE_BYTES)), ONE);
	hypi_page_map_set(base, 4, NULL);
	for (unsigned i = 0; i < 4; i++) ck_assert_ptr_null(hypi_span_at((void *)(base + i * HYPI_SLICE_BYTES)));
	/* The same place in another window is another entry. */
	ck_assert(hypi_page_map_cover(base + 7 * window, 1));
	hypi_page_map_set(base + 7 * window, 1, ONE);
	ck_assert_ptr_null(hypi_span_at((void *)base));
	hypi_page_map_set(base + 7 * window, 1, NULL);
}
END_TEST

START_TEST(out_of_reach) {
	hypi_os_init();
	uintptr_t top = (uintptr_t)1 << HYPI_ADDRESS_LOG2;
	ck_assert(hypi_page_map_cover(top - HYPI_SLICE_BYTES, HYPI_SLICE_BYTES));
	ck_assert(!hypi_page_map_cover(top, HYPI_SLICE_BYTES));
	ck_assert(!hypi_page_map_cover(top - HYPI_SLICE_BYTES, 2 * HYPI_SLICE_BYTES));
	ck_assert(!hypi_page_map_cover(UINTPTR_MAX - HYPI_SLICE_BYTES + 1, 2 * HYPI_SLICE_BYTES));
}
END_TEST

START_TEST(no_memory_for_a_leaf) {
	hypi_os_init();
	uintptr_t far = (uintptr_t)77 << HYPI_WINDOW_LOG2;
	hypi_fault_script(1u << HYPI_FAULT_MAP, 0, 1, ENOMEM);
	ck_assert(!hypi_page_map_cover(far, HYPI_SLICE_BYTES));
	ck_assert_uint_eq(hypi_fault_failed(), 1);
	hypi_fault_script(0, 0, 0, 0);
	ck_assert_ptr_null(hypi_span_at((void *)far));
	ck_assert(hypi_page_map_cover(far, HYPI_SLICE_BYTES));
}
END_TEST

UNIT_MAIN("page_map", nothing_is_known, edges, out_of_reach, no_memory_for_a_leaf)
