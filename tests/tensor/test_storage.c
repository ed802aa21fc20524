/*
 * tests/tensor/test_storage.c: where elements lie: foreign memory, storage that moves, pools, devices.
 */
#include "tensor/internal.h"
#include "tensor/storage.h"

#include <hypool/device.h>
#include <hypool/handle.h>
#include <hypool/ops.h>

#include "outcome.h"

#include <stdlib.h>

static int deleted;
static void count_deletion(void *context) {
	ck_assert_ptr_eq(context, &deleted);
	deleted++;
}

START_TEST(foreign_memory) {
	/* Aligned to an element and nothing more; element 0 in the middle, a negative stride. */
	char *block = malloc(4 * 32 + 4);
	float *from = (float *)(void *)(block + 4);
	for (int i = 0; i < 32; i++) from[i] = (float)i;
	hyp_tensor *t = untouched, *sum;
	const int64_t shape[2] = {4, 3}, strides[2] = {-8, 2};
	deleted = 0;
	REFUSED(HYP_ERR_INVALID, "reach",
	        hyp_tensor_from_foreign(HYP_F32, 2, shape, strides, from, 4 * 20, 128, 0, 0, count_deletion, &deleted, &t));
	REFUSED(HYP_ERR_INVALID, "aligned",
	        hyp_tensor_from_foreign(HYP_F32, 2, shape, strides, from, 97, 128, 0, 0, count_deletion, &deleted, &t));
	REFUSED(HYP_ERR_INVALID, "flags",
	        hyp_tensor_from_foreign(HYP_F32, 2, shape, strides, from, 96, 128, 0, 8, count_deletion, &deleted, &t));
	ck_assert_int_eq(deleted, 0);
	OK(hyp_tensor_from_foreign(HYP_F32, 2, shape, strides, from, 4 * 24, 128, 0, 0, count_deletion, &deleted, &t));
	ck_assert(at(t, (int64_t[]){0, 0}) == 24 && at(t, (int64_t[]){3, 2}) == 4);
	OK(hyp_tensor_sum(t, 0, NULL, NULL, &sum));
	ck_assert(at(sum, NULL) == 12 * 14);
	OK(hyp_tensor_binary_into(HYP_OP_ADD, t, sum, t));
	ck_assert(from[24] == 24 + 168 && from[25] == 25);
	hyp_tensor *view;
	OK(hyp_tensor_select(t, 0, 1, &view));
	hyp_tensor_release(t);
	ck_assert_int_eq(deleted, 0);
	hyp_tensor_release(view);
	ck_assert_int_eq(deleted, 1);
	hyp_tensor_release(sum);
	OK(hyp_tensor_from_foreign(HYP_F32, 1, shape, NULL, from, 0, 16, 0, HYP_TENSOR_READ_ONLY, NULL, NULL, &t));
	REFUSED(HYP_ERR_INVALID, "read-only", hyp_tensor_fill(t, hyp_int(0)));
	REFUSED(HYP_ERR_INVALID, "read-only", hyp_tensor_binary_into(HYP_OP_ADD, t, t, t));
	hyp_tensor_release(t);
	free(block);
	none_left();
}
END_TEST

/* Moves the block under a tensor, as compaction does: grows it until it lies elsewhere. */
static void move(hyp_tensor *t) {
	struct hypi_storage *s = t->storage;
	void *before, *after;
	OK(hyp_handle_lock(s->pool, s->handle, &before));
	OK(hyp_handle_unlock(s->pool, s->handle));
	for (size_t bytes = s->bytes * 3 + 64;; bytes *= 2) {
		OK(hyp_handle_realloc(s->pool, s->handle, bytes));
		OK(hyp_handle_lock(s->pool, s->handle, &after));
		OK(hyp_handle_unlock(s->pool, s->handle));
		if (after != before) return;
		ck_assert(bytes < (size_t)1 << 28);
	}
}

/* One operation of every family; what it gives, as F64. */
static hyp_tensor *compute(int family, const hyp_tensor *a, const hyp_tensor *view, const hyp_tensor *codes) {
	hyp_tensor *t = NULL, *scale, *wide;
	switch (family) {
	case 0: OK(hyp_tensor_mul(a, view, &t)); break;
	case 1: OK(hyp_tensor_binary_scalar(HYP_OP_SUB, view, hyp_float(0.5), true, &t)); break;
	case 2: OK(hyp_tensor_exp(view, &t)); break;
	case 3: OK(hyp_tensor_where(a, a, view, &t)); break;
	case 4: OK(hyp_tensor_var(view, 1, (const int[]){1}, NULL, &t)); break;
	case 5: OK(hyp_tensor_softmax(a, &t)); break;
	case 6: OK(hyp_tensor_rms_norm(view, NULL, 1e-5, &t)); break;
	case 7: OK(hyp_tensor_matmul(a, view, &t)); break;
	case 8: OK(hyp_tensor_outer(a, view, &t)); break;
	case 9: OK(hyp_tensor_matmul_ternary(a, NULL, codes, 0.5, &t)); break;
	case 10: OK(hyp_tensor_contiguous(view, &t)); break;
	case 11: OK(hyp_tensor_cast(view, HYP_BF16, &t)); break;
	case 12:
		OK(hyp_tensor_quantize_absmax(view, &t, &scale));
		hyp_tensor_release(scale);
		break;
	default: return NULL;
	}
	OK(hyp_tensor_cast(t, HYP_F64, &wide));
	hyp_tensor_release(t);
	return wide;
}

START_TEST(storage_that_moves) {
	const int64_t shape[2] = {9, 11};
	hyp_tensor *a, *b, *turned, *c, *out;
	OK(hyp_tensor_random(HYP_F32, 2, shape, 1, -1, 1, &a));
	OK(hyp_tensor_random(HYP_F32, 2, (const int64_t[]){11, 9}, 2, -1, 1, &b));
	OK(hyp_tensor_transpose(b, 0, 1, &turned));
	OK(hyp_tensor_add(a, turned, &c));
	double before = at(c, (int64_t[]){7, 10});
	for (int round = 0; round < 5; round++) {
		move(a);
		move(turned);
		OK(hyp_tensor_add(a, turned, &out));
		ck_assert(at(out, (int64_t[]){7, 10}) == before);
		hyp_tensor_release(out);
		OK(hyp_tensor_matmul(a, b, &out));
		hyp_tensor_release(out);
	}
	/* Every family of operations, on what lies elsewhere each time. */
	hyp_tensor *square, *view, *codes, *first, *second;
	OK(hyp_tensor_random(HYP_F32, 2, (const int64_t[]){24, 24}, 3, -1, 1, &square));
	OK(hyp_tensor_transpose(square, 0, 1, &view));
	OK(hyp_tensor_random(HYP_BITNET158, 2, (const int64_t[]){17, 24}, 4, -1, 2, &codes));
	for (int family = 0; (first = compute(family, square, view, codes)) != NULL; family++) {
		move(view);
		move(codes);
		move(first);
		second = compute(family, square, view, codes);
		hyp_tensor *same, *all;
		OK(hyp_tensor_eq(first, second, &same));
		move(same);
		OK(hyp_tensor_all(same, 0, NULL, NULL, &all));
		ck_assert_msg(at(all, NULL) == 1, "family %d", family);
		hyp_tensor *results[] = {first, second, same, all};
		for (size_t i = 0; i < 4; i++) hyp_tensor_release(results[i]);
	}
	hyp_tensor_release(square);
	hyp_tensor_release(view);
	hyp_tensor_release(codes);
	/* Locked, it stays: the pool says so. */
	void *data;
	OK(hyp_tensor_lock(a, &data));
	ck_assert_int_eq(hyp_handle_realloc(a->storage->pool, a->storage->handle, 1 << 20), HYP_ERR_BUSY);
	hyp_tensor_unlock(a);
	hyp_tensor *others[] = {a, b, turned, c};
	for (size_t i = 0; i < 4; i++) hyp_tensor_release(others[i]);
	none_left();
}
END_TEST

START_TEST(pools) {
	hyp_pool *pool;
	ck_assert_int_eq(hyp_pool_create(NULL, &pool), HYP_OK);
	hyp_tensor_place place = {sizeof place, pool, 0, 0};
	hyp_tensor *t;
	OK(hyp_tensor_empty_at(&place, HYP_F64, 1, (const int64_t[]){100000}, &t));
	void *data;
	OK(hyp_tensor_lock(t, &data));
	ck_assert_ptr_eq(hyp_pool_of(data), pool);
	hyp_tensor_unlock(t);
	hyp_tensor_release(t);
	/* What was made elsewhere, brought there: a view with gaps, and codes that are not quantised again. */
	hyp_tensor *whole, *odd, *there, *same, *all;
	place.alignment = 8192;
	OK(hyp_tensor_arange(HYP_I32, 0, 100, 1, &whole));
	OK(hyp_tensor_slice(whole, 1, &(hyp_slice){1, HYP_SLICE_OPEN, 2}, &odd));
	OK(hyp_tensor_to_place(odd, &place, &there));
	ck_assert(hyp_tensor_is_contiguous(there) && at(there, (int64_t[]){49}) == 99);
	OK(hyp_tensor_lock(there, &data));
	ck_assert(hyp_pool_of(data) == pool && (uintptr_t)data % 8192 == 0);
	hyp_tensor_unlock(there);
	hyp_tensor_release(there);
	OK(hyp_tensor_random(HYP_TQ1_0, 2, (const int64_t[]){2, 256}, 1, -1, 1, &t));
	OK(hyp_tensor_to_place(t, &place, &there));
	ck_assert_int_eq(hyp_tensor_dtype(there), HYP_TQ1_0);
	OK(hyp_tensor_eq(t, there, &same));
	OK(hyp_tensor_all(same, 0, NULL, NULL, &all));
	ck_assert(at(all, NULL) == 1);
	place.alignment = 3;
	hyp_tensor *none = untouched;
	REFUSED(HYP_ERR_INVALID, "alignment", hyp_tensor_to_place(t, &place, &none));
	hyp_tensor *others[] = {whole, odd, there, same, all, t};
	for (size_t i = 0; i < 6; i++) hyp_tensor_release(others[i]);
	hyp_pool_destroy(pool);
	none_left();
}
END_TEST

START_TEST(on_a_device) {
	int device;
	ck_assert_int_eq(hyp_simulated_open(NULL, &device), HYP_OK);
	hyp_tensor *a, *there, *back, *same, *all, *none = untouched;
	OK(hyp_tensor_random(HYP_F32, 2, (const int64_t[]){30, 40}, 1, -1, 1, &a));
	OK(hyp_tensor_to(a, device, &there));
	ck_assert_int_eq(hyp_tensor_device(there), device);
	REFUSED(HYP_ERR_DEVICE, "argument a", hyp_tensor_add(there, a, &none));
	REFUSED(HYP_ERR_DEVICE, "tensor", hyp_tensor_lock(there, (void **)&none));
	OK(hyp_tensor_to(there, 0, &back));
	OK(hyp_tensor_eq(a, back, &same));
	OK(hyp_tensor_all(same, 0, NULL, NULL, &all));
	ck_assert(at(all, NULL) == 1);
	/* Failures on the way leave nothing behind. */
	ck_assert_int_eq(hyp_simulated_fail(device, HYP_FAULT_ALLOC, 1), HYP_OK);
	REFUSED(HYP_ERR_NO_MEMORY, "device", hyp_tensor_to(a, device, &none));
	ck_assert_int_eq(hyp_simulated_fail(device, HYP_FAULT_COPY, 1), HYP_OK);
	REFUSED(HYP_ERR_DEVICE, "device", hyp_tensor_to(a, device, &none));
	REFUSED(HYP_ERR_DEVICE, "failed", hyp_tensor_to(there, 0, &none));
	REFUSED(HYP_ERR_NOT_FOUND, "device", hyp_tensor_to(a, 63, &none));
	hyp_tensor *others[] = {a, there, back, same, all};
	for (size_t i = 0; i < 5; i++) hyp_tensor_release(others[i]);
	uint64_t blocks, bytes;
	ck_assert_int_eq(hyp_simulated_live(device, &blocks, &bytes), HYP_OK);
	ck_assert_uint_eq(blocks, 0);
	ck_assert_int_eq(hyp_device_unregister(device), HYP_OK);
	none_left();
}
END_TEST

int main(void) {
	const TTest *const tests[] = {foreign_memory, storage_that_moves, pools, on_a_device};
	return run_suite("storage", tests, sizeof tests / sizeof *tests);
}
