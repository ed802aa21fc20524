/* Tests of heap/thread.c and the slow end of free: which threads have a heap. */
#include "heap/heap.h"
#include "unit.h"

#include <hypool/hypool.h>

#include <pthread.h>
#include <string.h>

enum { BLOCKS = 4000, FEW = 8 };

static void *blocks[BLOCKS];

static uint64_t homeless(void) {
	uint64_t sum = 0;
	for (unsigned c = 0; c < HYPI_CLASSES; c++) sum += hypi_load_relaxed(&hypi_default_engine.homeless_frees[c]);
	return sum;
}

static void *free_them(void *context) {
	size_t count = *(size_t *)context;
	for (size_t i = 0; i < count; i++) hyp_free(blocks[i]);
	return hypi_self.heap;
}

/* Blocks of the main thread, freed by another that never asks for one. Returns that thread's heap. */
static void *freed_elsewhere(size_t count, size_t bytes) {
	for (size_t i = 0; i < count; i++) {
		blocks[i] = hyp_malloc(bytes);
		ck_assert_ptr_nonnull(blocks[i]);
		memset(blocks[i], 1, bytes);
	}
	pthread_t thread;
	void *heap;
	ck_assert_int_eq(pthread_create(&thread, NULL, free_them, &count), 0);
	ck_assert_int_eq(pthread_join(thread, &heap), 0);
	const char *wrong = hypi_engine_check(&hypi_default_engine);
	ck_assert_msg(wrong == NULL, "%s", wrong);
	return heap;
}

START_TEST(one_that_only_frees_gets_a_heap) {
	ck_assert_ptr_nonnull(freed_elsewhere(BLOCKS, 64));
	ck_assert_uint_eq(hypi_default_engine.heap_count, 2);
	ck_assert_uint_lt(homeless(), 64);
}
END_TEST

START_TEST(one_that_frees_little_gets_none) {
	ck_assert_ptr_null(freed_elsewhere(FEW, 64));
	ck_assert_uint_eq(hypi_default_engine.heap_count, 1);
	ck_assert_uint_eq(homeless(), FEW);
}
END_TEST

/* What it frees does not stay with it: the other thread's next blocks cost no memory. */
START_TEST(one_that_only_frees_keeps_little) {
	size_t bytes = 1024;
	freed_elsewhere(BLOCKS, bytes);
	hypi_heap_trim(hypi_heap_mine());
	ck_assert_uint_lt(hypi_default_engine.large.used_slices, 8);
}
END_TEST

static size_t list_bytes; /* of the class, while the thread lives */

static void *free_and_look(void *context) {
	size_t bytes = *(size_t *)context;
	unsigned c = hypi_class_of(bytes);
	for (size_t i = 0; i < BLOCKS; i++) {
		hyp_free(blocks[i]);
		if (hypi_self.heap == NULL) continue;
		size_t held = hypi_list_length(hypi_self.heap, c) * bytes;
		if (held > list_bytes) list_bytes = held;
	}
	return NULL;
}

START_TEST(its_lists_are_short) {
	size_t bytes = 64; /* of which other threads keep 1024 blocks and more */
	for (size_t i = 0; i < BLOCKS; i++) blocks[i] = hyp_malloc(bytes);
	pthread_t thread;
	ck_assert_int_eq(pthread_create(&thread, NULL, free_and_look, &bytes), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_gt(list_bytes, 0);
	ck_assert_uint_le(list_bytes, 400 * bytes);
}
END_TEST

UNIT_MAIN("thread", one_that_only_frees_gets_a_heap, one_that_frees_little_gets_none, one_that_only_frees_keeps_little,
          its_lists_are_short)
