/* Tests of heap/pages.c: the pages of free blocks in spans that are in use go back, by the kernel's own word, and nothing
 * else does. */
#include "heap/heap.h"
#include "unit.h"

#include <hypool/hypool.h>

#include <string.h>
#include <sys/mman.h>

enum { BLOCKS = 64, BYTES = 32768, KEEP = 4 };

static unsigned char *blocks[BLOCKS];
static bool freed[BLOCKS];

/* Pages of a block that cost memory. */
static size_t resident(const unsigned char *p) {
	unsigned char in_core[BYTES / 4096] = {0};
	size_t page = hypi_os.page_bytes, count = 0;
	ck_assert_int_eq(mincore((void *)hypi_round_down((uintptr_t)p, page), BYTES, (void *)in_core), 0);
	for (size_t i = 0; i < BYTES / page; i++) count += in_core[i] & 1;
	return count;
}

static size_t resident_of(bool which) {
	size_t pages = 0;
	for (int i = 0; i < BLOCKS; i++)
		if (freed[i] == which) pages += resident(blocks[i]);
	return pages;
}

/* Blocks of which one in four stays, and the others are in their spans' lists. */
static void begin(void) {
	for (int i = 0; i < BLOCKS; i++) {
		blocks[i] = hyp_malloc(BYTES);
		ck_assert_ptr_nonnull(blocks[i]);
		memset(blocks[i], i + 1, BYTES);
	}
	for (int i = 0; i < BLOCKS; i++)
		if ((freed[i] = i % KEEP != 0)) hyp_free(blocks[i]);
	hypi_heap_trim(hypi_heap_mine());
	ck_assert_uint_eq(resident_of(true), (BLOCKS - BLOCKS / KEEP) * (BYTES / hypi_os.page_bytes));
}

static void ends_well(void) {
	for (int i = 0; i < BLOCKS; i++)
		for (size_t k = 0; !freed[i] && k < BYTES; k++) HOLDS(blocks[i][k] == i + 1);
	ck_assert_uint_eq(resident_of(false), BLOCKS / KEEP * (BYTES / hypi_os.page_bytes));
	const char *wrong = hypi_engine_check(&hypi_default_engine);
	ck_assert_msg(wrong == NULL, "%s", wrong);
	/* All of it can be had and used again, and comes from the same spans. */
	uint64_t committed = hypi_default_engine.large.used_slices;
	for (int i = 0; i < BLOCKS; i++) {
		if (!freed[i]) continue;
		unsigned char *p = hyp_malloc(BYTES);
		ck_assert_ptr_nonnull(p);
		memset(p, 0xee, BYTES);
	}
	ck_assert_uint_le(hypi_default_engine.large.used_slices, committed);
	for (int i = 0; i < BLOCKS; i++)
		for (size_t k = 0; !freed[i] && k < BYTES; k++) HOLDS(blocks[i][k] == i + 1);
}

START_TEST(trim) {
	begin();
	size_t released = hyp_trim(), free_blocks = BLOCKS - BLOCKS / KEEP;
	ck_assert_uint_ge(released, free_blocks * (BYTES - 2 * hypi_os.page_bytes));
	ck_assert_uint_le(resident_of(true), 2 * free_blocks);
	ends_well();
}
END_TEST

START_TEST(free_since_the_last_look) {
	begin();
	hypi_heap *heap = hypi_heap_mine();
	ck_assert_uint_eq(hypi_heap_release_pages(heap, true), 0);
	ck_assert_uint_gt(hypi_heap_release_pages(heap, true), 0);
	ck_assert_uint_eq(hypi_heap_release_pages(heap, false), 0); /* at rest */
	/* One more free block, and its span, which has another that is not, is looked at again. */
	enum { MORE = 2 * KEEP };
	hyp_free(blocks[MORE]);
	freed[MORE] = true;
	hypi_heap_trim(heap);
	ck_assert_uint_gt(hypi_heap_release_pages(heap, false), 0);
	freed[MORE] = false;
	blocks[MORE] = hyp_malloc(BYTES);
	memset(blocks[MORE], MORE + 1, BYTES);
	ends_well();
}
END_TEST

START_TEST(blocks_in_lists_stay) {
	begin();
	unsigned char *p = hyp_malloc(BYTES); /* the others of its span are on the heap's list now */
	size_t before = resident(p);
	memset(p, 3, BYTES);
	uint32_t length = hypi_list_length(hypi_heap_mine(), hypi_class_of(BYTES));
	ck_assert_uint_gt(length, 0);
	size_t released = hypi_heap_release_pages(hypi_heap_mine(), false);
	ck_assert_uint_le(released, (BLOCKS - BLOCKS / KEEP - length) * BYTES);
	ck_assert_uint_eq(before, BYTES / hypi_os.page_bytes);
	freed[0] = false;
	for (size_t k = 0; k < BYTES; k++) HOLDS(p[k] == 3);
}
END_TEST

UNIT_MAIN("pages", trim, free_since_the_last_look, blocks_in_lists_stay)
