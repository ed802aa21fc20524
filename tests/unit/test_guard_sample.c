/* Tests of heap/guard_sample.c: whatever is asked for while the next allocation is due to get guard pages, it gets what it
 * would have got without them, or a page of its own. */
#include "heap/heap.h"
#include "unit.h"

#include <hypool/hypool.h>

#include <errno.h>
#include <string.h>

static void arm(void) {
	hyp_free(hyp_malloc(1));
	hypi_heap_mine()->guard_armed = true;
}

/* A hypi_span of a sampled block is one of a mapping, at the end of its page. */
static bool is_sampled(const void *p) {
	return hypi_load_relaxed(&hypi_span_at(p)->kind) == HYPI_SPAN_HUGE && hyp_usable_size(p) <= hypi_os.page_bytes;
}

START_TEST(impossible_sizes) {
	static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 15, SIZE_MAX - 4095, (size_t)PTRDIFF_MAX + 1};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		volatile size_t bytes = sizes[i];
		arm();
		errno = 0;
		ck_assert_ptr_null(hyp_malloc(bytes));
		ck_assert_int_eq(errno, ENOMEM);
		arm();
		ck_assert_ptr_null(hyp_calloc(1, bytes));
		arm();
		ck_assert_ptr_null(hyp_aligned_alloc(64, bytes));
	}
}
END_TEST

START_TEST(every_size) {
	arm(); /* the page's size is known with the first call */
	size_t page = hypi_os.page_bytes, sampled = 0;
	for (size_t bytes = 0; bytes <= page + 32; bytes += bytes < 40 || bytes > page - 40 ? 1 : 37)
		for (size_t alignment = 1; alignment <= 2 * page; alignment *= 2) {
			arm();
			unsigned char *p = hyp_aligned_alloc(alignment, bytes);
			HOLDS(p != NULL && (uintptr_t)p % alignment == 0 && hyp_usable_size(p) >= bytes);
			HOLDS(!is_sampled(p) || (bytes <= page && alignment <= page));
			sampled += is_sampled(p);
			memset(p, 0x5a, bytes);
			hyp_free(p);
		}
	ck_assert_uint_gt(sampled, 100);
}
END_TEST

UNIT_MAIN("guard_sample", impossible_sizes, every_size)
