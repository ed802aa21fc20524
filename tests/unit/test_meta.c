/* Tests of core/meta.c: records are aligned, zero, distinct, counted, and used again. */
#include "core/meta.h"
#include "os/fault.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static bool is_zero(const void *record, size_t bytes) {
	for (size_t i = 0; i < bytes; i++)
		if (((const char *)record)[i] != 0) return false;
	return true;
}

START_TEST(records) {
	hypi_os_init();
	static const size_t sizes[] = {1, 63, 64, 65, 128, 1000, 4096, 16384};
	for (size_t i = 0; i < HYP_ARRAY_LEN(sizes); i++) {
		size_t used = hypi_meta_used_bytes(), rounded = (sizes[i] + 63) / 64 * 64;
		char *a = hypi_meta_alloc(sizes[i]), *b = hypi_meta_alloc(sizes[i]);
		ck_assert_ptr_nonnull(a);
		ck_assert_ptr_nonnull(b);
		ck_assert_uint_eq((uintptr_t)a % HYP_CACHE_LINE, 0);
		ck_assert_uint_eq((uintptr_t)b % HYP_CACHE_LINE, 0);
		ck_assert(a + rounded <= b || b + rounded <= a);
		ck_assert(is_zero(a, rounded) && is_zero(b, rounded));
		ck_assert_uint_eq(hypi_meta_used_bytes(), used + 2 * rounded);
		memset(a, 0xa5, rounded);
		hypi_meta_free(a, sizes[i]);
		ck_assert_uint_eq(hypi_meta_used_bytes(), used + rounded);
		char *again = hypi_meta_alloc(sizes[i]);
		ck_assert_ptr_eq(again, a);
		ck_assert(is_zero(again, rounded));
		hypi_meta_free(again, sizes[i]);
		hypi_meta_free(b, sizes[i]);
		ck_assert_uint_eq(hypi_meta_used_bytes(), used);
	}
}
END_TEST

START_TEST(more_than_a_chunk) {
	hypi_os_init();
	size_t bytes = (size_t)3 << 20, mapped = hypi_meta_mapped_bytes();
	char *big = hypi_meta_alloc(bytes);
	ck_assert_ptr_nonnull(big);
	ck_assert(is_zero(big, bytes));
	ck_assert_uint_ge(hypi_meta_mapped_bytes() - mapped, bytes);
	memset(big, 1, bytes);
	/* Many small ones do not run into it, nor into each other. */
	char *last = NULL;
	for (int i = 0; i < 20000; i++) {
		char *p = hypi_meta_alloc(64);
		HOLDS(p != NULL && is_zero(p, 64));
		HOLDS(p + 64 <= big || p >= big + bytes);
		*(char **)p = last;
		last = p;
	}
	while (last != NULL) {
		char *next = *(char **)last;
		hypi_meta_free(last, 64);
		last = next;
	}
	for (size_t i = 0; i < bytes; i++) HOLDS(big[i] == 1);
}
END_TEST

START_TEST(no_memory) {
	hypi_os_init();
	size_t used = hypi_meta_used_bytes(), mapped = hypi_meta_mapped_bytes();
	hypi_fault_script(1u << HYPI_FAULT_MAP, 0, UINT64_MAX, EAGAIN);
	errno = 0;
	ck_assert_ptr_null(hypi_meta_alloc((size_t)1 << 20));
	ck_assert_int_eq(errno, ENOMEM);
	ck_assert_uint_eq(hypi_meta_used_bytes(), used);
	ck_assert_uint_eq(hypi_meta_mapped_bytes(), mapped);
	hypi_fault_script(0, 0, 0, 0);
	ck_assert_ptr_nonnull(hypi_meta_alloc((size_t)1 << 20));
}
END_TEST

static void *churn(void *seed) {
	char *held[64] = {NULL};
	for (unsigned i = 0; i < 20000; i++) {
		char **slot = &held[(i * 7 + (uintptr_t)seed) % 64];
		if (*slot != NULL) {
			HOLDS((*slot)[0] == (int)(uintptr_t)seed);
			hypi_meta_free(*slot, 192);
			*slot = NULL;
		} else {
			*slot = hypi_meta_alloc(192);
			HOLDS(*slot != NULL && is_zero(*slot, 192));
			memset(*slot, (int)(uintptr_t)seed, 192);
		}
	}
	for (size_t i = 0; i < 64; i++)
		if (held[i] != NULL) hypi_meta_free(held[i], 192);
	return NULL;
}

START_TEST(threads) {
	hypi_os_init();
	size_t used = hypi_meta_used_bytes();
	pthread_t thread[4];
	for (uintptr_t i = 0; i < 4; i++) ck_assert_int_eq(pthread_create(&thread[i], NULL, churn, (void *)(i + 1)), 0);
	for (size_t i = 0; i < 4; i++) ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
	ck_assert_uint_eq(hypi_meta_used_bytes(), used);
}
END_TEST

UNIT_MAIN("meta", records, more_than_a_chunk, no_memory, threads)
