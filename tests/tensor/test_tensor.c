/*
 * tests/tensor/test_tensor.c: lives of tensors by hand: creation, references and weak handles, and what bad arguments leave.
 * What NumPy can judge is in against_numpy.py.
 */
#include <hypool/ops.h>

#include "outcome.h"

#include <math.h>

START_TEST(creation_and_metadata) {
	const int64_t shape[3] = {2, 3, 4};
	hyp_tensor *t;
	OK(hyp_tensor_empty(HYP_F32, 3, shape, &t));
	ck_assert_int_eq(hyp_tensor_rank(t), 3);
	ck_assert_int_eq(hyp_tensor_elements(t), 24);
	ck_assert_int_eq(hyp_tensor_strides(t)[0], 12);
	ck_assert(hyp_tensor_is_contiguous(t));
	ck_assert_uint_eq(hyp_tensor_storage_bytes(t), 96);
	void *data;
	OK(hyp_tensor_lock(t, &data));
	ck_assert_uint_eq((uintptr_t)data % 64, 0);
	hyp_tensor_unlock(t);
	OK(hyp_tensor_set_name(t, "weights"));
	OK(hyp_tensor_set_tag(t, 77));
	ck_assert_str_eq(hyp_tensor_name(t), "weights");
	ck_assert_uint_eq(hyp_tensor_tag(t), 77);
	hyp_tensor_info info = {.struct_bytes = sizeof info};
	OK(hyp_tensor_describe(t, &info));
	ck_assert_uint_eq(info.references, 1);
	ck_assert_uint_eq(info.storage_references, 1);
	ck_assert_uint_eq(info.use_count, 1);
	ck_assert(info.used_ms >= info.created_ms && info.created_ms > 0);
	REFUSED(HYP_ERR_INVALID, "name",
	        hyp_tensor_set_name(t, "a name that is far too long for the sixty-three bytes of a tensor's name"));
	hyp_tensor_release(t);
	const int64_t many[12] = {1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2};
	OK(hyp_tensor_ones(HYP_I32, 12, many, &t));
	hyp_tensor *sum;
	OK(hyp_tensor_sum(t, 0, NULL, NULL, &sum));
	ck_assert(at(sum, NULL) == 64);
	hyp_tensor_release(sum);
	hyp_tensor_release(t);
	hyp_tensor_place place = {sizeof place, NULL, 0, 4096};
	OK(hyp_tensor_empty_at(&place, HYP_I8, 0, NULL, &t));
	OK(hyp_tensor_lock(t, &data));
	ck_assert_uint_eq((uintptr_t)data % 4096, 0);
	hyp_tensor_unlock(t);
	hyp_tensor_release(t);
	none_left();
}
END_TEST

START_TEST(filled) {
	hyp_tensor *t;
	OK(hyp_tensor_eye(HYP_F64, 3, 4, 1, &t));
	for (int64_t i = 0; i < 3; i++)
		for (int64_t j = 0; j < 4; j++) ck_assert(at(t, (int64_t[]){i, j}) == (j - i == 1));
	hyp_tensor_release(t);
	OK(hyp_tensor_arange(HYP_I16, 10, 0, -3, &t));
	ck_assert_int_eq(hyp_tensor_shape(t)[0], 4);
	ck_assert(at(t, (int64_t[]){-1}) == 1);
	hyp_tensor_release(t);
	OK(hyp_tensor_arange(HYP_F32, 0, -1, 1, &t));
	ck_assert_int_eq(hyp_tensor_elements(t), 0);
	hyp_tensor_release(t);
	REFUSED(HYP_ERR_INVALID, "step", hyp_tensor_arange(HYP_F32, 0, 1, 0, &t));
	/* Random numbers do not depend on the threads, and lie where they should. */
	const int64_t shape[1] = {100003};
	hyp_tensor *u, *same;
	OK(hyp_tensor_set_threads(1));
	OK(hyp_tensor_random(HYP_F32, 1, shape, 42, -2, 3, &t));
	OK(hyp_tensor_set_threads(4));
	OK(hyp_tensor_random(HYP_F32, 1, shape, 42, -2, 3, &u));
	OK(hyp_tensor_eq(t, u, &same));
	hyp_tensor *all;
	OK(hyp_tensor_all(same, 0, NULL, NULL, &all));
	ck_assert(at(all, NULL) == 1);
	hyp_tensor_release(all);
	hyp_tensor *mean, *low;
	OK(hyp_tensor_mean(t, 0, NULL, NULL, &mean));
	OK(hyp_tensor_amin(t, 0, NULL, NULL, &low));
	ck_assert(fabs(at(mean, NULL) - 0.5) < 0.02 && at(low, NULL) >= -2 && at(low, NULL) < -1.99);
	hyp_tensor_release(mean);
	hyp_tensor_release(low);
	hyp_tensor_release(same);
	hyp_tensor_release(t);
	hyp_tensor_release(u);
	OK(hyp_tensor_random_normal(HYP_F64, 1, shape, 7, &t));
	OK(hyp_tensor_std(t, 0, NULL, NULL, &u));
	ck_assert(fabs(at(u, NULL) - 1) < 0.01);
	hyp_tensor_release(t);
	hyp_tensor_release(u);
	REFUSED(HYP_ERR_OVERFLOW, "value", hyp_tensor_full(HYP_I8, 1, shape, hyp_int(300), &t));
	OK(hyp_tensor_set_threads(0));
	none_left();
}
END_TEST

START_TEST(references_and_weak_handles) {
	const int64_t shape[1] = {8};
	hyp_tensor *t, *again = untouched;
	hyp_tensor_weak weak;
	OK(hyp_tensor_zeros(HYP_F32, 1, shape, &t));
	OK(hyp_tensor_weaken(t, &weak));
	OK(hyp_tensor_weak_lock(weak, &again));
	ck_assert_ptr_eq(again, t);
	ck_assert_uint_eq(hyp_tensor_references(t), 2);
	hyp_tensor_release(again);
	hyp_tensor *view;
	OK(hyp_tensor_view(t, &view));
	hyp_tensor_release(t);
	again = untouched;
	REFUSED(HYP_ERR_STALE, "weak", hyp_tensor_weak_lock(weak, &again));
	ck_assert_ptr_eq(again, untouched);
	/* The header is another tensor's now; the handle still tells. */
	hyp_tensor *next[300];
	for (int i = 0; i < 300; i++) OK(hyp_tensor_zeros(HYP_F32, 1, shape, &next[i]));
	REFUSED(HYP_ERR_STALE, "weak", hyp_tensor_weak_lock(weak, &again));
	for (int i = 0; i < 300; i++) hyp_tensor_release(next[i]);
	REFUSED(HYP_ERR_INVALID, "weak", hyp_tensor_weak_lock(0, &again));
	REFUSED(HYP_ERR_INVALID, "weak", hyp_tensor_weak_lock((uint64_t)1 << 32 | 4000000000u, &again));
	ck_assert(at(view, (int64_t[]){7}) == 0);
	hyp_tensor_release(view);
	/* A freed tensor is told from a live one, whatever it is passed to. */
	REFUSED(HYP_ERR_STALE, "argument tensor", hyp_tensor_view(view, &again));
	REFUSED(HYP_ERR_STALE, "argument a", hyp_tensor_add(view, view, &again));
	REFUSED(HYP_ERR_INVALID, "argument tensor", hyp_tensor_weaken(NULL, &weak));
	ck_assert_int_eq(hyp_tensor_rank(view), -1);
	hyp_tensor_release(view); /* told, not done twice */
	ck_assert_ptr_null(hyp_tensor_retain(view));
	none_left();
}
END_TEST

START_TEST(bad_shapes) {
	hyp_tensor *t = untouched, *base;
	const int64_t huge[3] = {1ll << 40, 1ll << 20, 8}, negative[2] = {3, -1}, zero[3] = {0, 1ll << 62, 1ll << 62};
	REFUSED(HYP_ERR_OVERFLOW, "shape", hyp_tensor_empty(HYP_F32, 3, huge, &t));
	REFUSED(HYP_ERR_SHAPE, "shape", hyp_tensor_empty(HYP_F32, 2, negative, &t));
	REFUSED(HYP_ERR_OVERFLOW, "shape", hyp_tensor_empty(HYP_F32, 3, zero, &t));
	REFUSED(HYP_ERR_SHAPE, "rank", hyp_tensor_empty(HYP_F32, 33, huge, &t));
	REFUSED(HYP_ERR_TYPE, "dtype", hyp_tensor_empty((hyp_dtype)99, 1, negative, &t));
	REFUSED(HYP_ERR_INVALID, "shape", hyp_tensor_empty(HYP_F32, 1, NULL, &t));
	const int64_t big[1] = {1ll << 52};
	REFUSED(HYP_ERR_NO_MEMORY, "bytes", hyp_tensor_empty(HYP_F64, 1, big, &t));
	const int64_t shape[2] = {4, 6};
	OK(hyp_tensor_zeros(HYP_F32, 2, shape, &base));
	const int64_t three[1] = {3}, open2[2] = {-1, -1}, strides[2] = {7, 1}, back[2] = {-1, 1}, far[2] = {1ll << 61, 1};
	REFUSED(HYP_ERR_SHAPE, "shape", hyp_tensor_reshape(base, 1, three, &t));
	REFUSED(HYP_ERR_SHAPE, "-1", hyp_tensor_reshape(base, 2, open2, &t));
	REFUSED(HYP_ERR_INVALID, "strides", hyp_tensor_as_strided(base, 2, shape, strides, 0, &t));
	REFUSED(HYP_ERR_INVALID, "strides", hyp_tensor_as_strided(base, 2, shape, back, 2, &t));
	REFUSED(HYP_ERR_OVERFLOW, "strides", hyp_tensor_as_strided(base, 2, shape, far, 0, &t));
	REFUSED(HYP_ERR_INVALID, "offset", hyp_tensor_as_strided(base, 2, shape, strides, -1, &t));
	REFUSED(HYP_ERR_INVALID, "axis", hyp_tensor_transpose(base, 0, 2, &t));
	REFUSED(HYP_ERR_INVALID, "twice", hyp_tensor_permute(base, (const int[]){1, 1}, &t));
	REFUSED(HYP_ERR_INVALID, "index", hyp_tensor_select(base, 1, 6, &t));
	REFUSED(HYP_ERR_INVALID, "step", hyp_tensor_slice(base, 1, &(hyp_slice){0, 1, 0}, &t));
	REFUSED(HYP_ERR_SHAPE, "broadcast", hyp_tensor_expand(base, 2, (const int64_t[]){5, 6}, &t));
	REFUSED(HYP_ERR_SHAPE, "extent", hyp_tensor_squeeze(base, 1, (const int[]){0}, &t));
	ck_assert_ptr_eq(t, untouched);
	hyp_tensor_release(base);
	none_left();
}
END_TEST

START_TEST(bad_operands) {
	const int64_t a_shape[2] = {2, 3}, b_shape[2] = {4, 3};
	hyp_tensor *a, *b, *t = untouched, *bits, *wide;
	OK(hyp_tensor_ones(HYP_F32, 2, a_shape, &a));
	OK(hyp_tensor_ones(HYP_I32, 2, b_shape, &b));
	OK(hyp_tensor_ones(HYP_BOOL, 2, a_shape, &bits));
	REFUSED(HYP_ERR_SHAPE, "[2, 3] and [4, 3]", hyp_tensor_add(a, b, &t));
	REFUSED(HYP_ERR_TYPE, "bool", hyp_tensor_sub(bits, bits, &t));
	REFUSED(HYP_ERR_TYPE, "bool", hyp_tensor_neg(bits, &t));
	REFUSED(HYP_ERR_SHAPE, "matrix product", hyp_tensor_matmul(a, b, &t));
	REFUSED(HYP_ERR_SHAPE, "out", hyp_tensor_binary_into(HYP_OP_ADD, a, a, b));
	REFUSED(HYP_ERR_INVALID, "op", hyp_tensor_binary((hyp_binary_op)99, a, a, &t));
	REFUSED(HYP_ERR_INVALID, "axes", hyp_tensor_sum(a, 2, (const int[]){0, -2}, NULL, &t));
	REFUSED(HYP_ERR_INVALID, "axis", hyp_tensor_sum(a, 1, (const int[]){2}, NULL, &t));
	REFUSED(HYP_ERR_INVALID, "one axis", hyp_tensor_argmax(a, 2, (const int[]){0, 1}, NULL, &t));
	REFUSED(HYP_ERR_INVALID, "options", hyp_tensor_sum(a, 0, NULL, &(hyp_reduce_options){1, true, 0}, &t));
	REFUSED(HYP_ERR_OVERFLOW, "scalar", hyp_tensor_binary_scalar(HYP_OP_ADD, b, hyp_int(1ll << 40), false, &t));
	REFUSED(HYP_ERR_INVALID, "ret_tensor", hyp_tensor_add(a, a, NULL));
	OK(hyp_tensor_expand(a, 3, (const int64_t[]){5, 2, 3}, &wide));
	REFUSED(HYP_ERR_INVALID, "overlap", hyp_tensor_fill(wide, hyp_int(1)));
	REFUSED(HYP_ERR_INVALID, "overlap", hyp_tensor_binary_into(HYP_OP_ADD, wide, wide, wide));
	/* A negative integer power leaves the output as it was. */
	OK(hyp_tensor_set(b, (const int64_t[]){3, 2}, hyp_int(-1)));
	hyp_tensor *seven;
	OK(hyp_tensor_full(HYP_I32, 2, b_shape, hyp_int(7), &seven));
	REFUSED(HYP_ERR_INVALID, "power", hyp_tensor_binary_into(HYP_OP_POW, b, b, seven));
	for (int64_t i = 0; i < 4; i++)
		for (int64_t j = 0; j < 3; j++) ck_assert(at(seven, (int64_t[]){i, j}) == 7);
	ck_assert_ptr_eq(t, untouched);
	hyp_tensor_release(seven);
	hyp_tensor_release(wide);
	hyp_tensor_release(a);
	hyp_tensor_release(b);
	hyp_tensor_release(bits);
	none_left();
}
END_TEST

int main(void) {
	const TTest *const tests[] = {creation_and_metadata, filled, references_and_weak_handles, bad_shapes, bad_operands};
	return run_suite("tensor", tests, sizeof tests / sizeof *tests);
}
