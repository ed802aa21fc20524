/*
 * tests/tensor/test_tensor.c: edge cases of tensors by hand: lives, weak handles, errors and what they leave, packed
 * types, foreign memory, storage that moves, devices, threads. What NumPy can judge is in against_numpy.py.
 */
#include "tensor/internal.h"
#include "tensor/storage.h"

#include <hypool/device.h>
#include <hypool/handle.h>
#include <hypool/hypool.h>
#include <hypool/ops.h>

#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define OK(call) ck_assert_msg((call) == HYP_OK, "%s: %s", #call, hyp_tensor_last_error())
/* A refusal with this status and a text that names the argument; nothing stays alive. */
#define REFUSED(status, named, call) \
	do { \
		uint64_t before_ = hyp_tensor_live_count(); \
		hyp_status got_ = (call); \
		ck_assert_msg(got_ == (status), "%s: %s (%s)", #call, hyp_status_name(got_), hyp_tensor_last_error()); \
		ck_assert_msg(strstr(hyp_tensor_last_error(), (named)) != NULL, "%s: '%s'", #call, hyp_tensor_last_error()); \
		ck_assert_uint_eq(hyp_tensor_live_count(), before_); \
	} while (0)

static hyp_tensor *const untouched = (hyp_tensor *)(uintptr_t)0x5a5a;

static void none_left(void) { ck_assert_uint_eq(hyp_tensor_live_count(), 0); }

static double at(const hyp_tensor *t, const int64_t *index) {
	hyp_scalar s;
	OK(hyp_tensor_get(t, index, &s));
	return s.kind == HYP_SCALAR_FLOAT ? s.value.f : (double)s.value.i;
}

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

/* ---- packed types ---- */

START_TEST(packed_round_trips) {
	static const struct {
		hyp_dtype dtype;
		int low, high;
		size_t each; /* elements a byte */
	} types[] = {{HYP_I4, -8, 7, 2},
	             {HYP_I2, -2, 1, 4},
	             {HYP_I1, -1, 0, 8},
	             {HYP_BITNET158, -1, 1, 4},
	             {HYP_BITNET158_5, -1, 1, 5}};
	for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
		/* Every row length up to two blocks and a bit, every value at every place. */
		for (int64_t n = 1; n < 20; n++) {
			const int64_t shape[2] = {20, n};
			hyp_tensor *values, *packed, *back, *same, *all;
			OK(hyp_tensor_zeros(HYP_I8, 2, shape, &values));
			for (int64_t i = 0; i < 20; i++)
				for (int64_t j = 0; j < n; j++)
					OK(hyp_tensor_set(values, (int64_t[]){i, j},
					                  hyp_int(types[k].low +
					                          (i * 7 + j * 3 + i * j) % (types[k].high - types[k].low + 1))));
			OK(hyp_tensor_cast(values, types[k].dtype, &packed));
			ck_assert_uint_eq(hyp_tensor_storage_bytes(packed), 20 * (((size_t)n + types[k].each - 1) / types[k].each));
			OK(hyp_tensor_cast(packed, HYP_I8, &back));
			OK(hyp_tensor_eq(values, back, &same));
			OK(hyp_tensor_all(same, 0, NULL, NULL, &all));
			ck_assert_msg(at(all, NULL) == 1, "%s, rows of %lld", hyp_dtype_describe(types[k].dtype)->name,
			              (long long)n);
			for (int64_t j = 0; j < n; j++) {
				ck_assert(at(packed, (int64_t[]){13, j}) == at(values, (int64_t[]){13, j}));
				OK(hyp_tensor_set(packed, (int64_t[]){13, j}, hyp_int(types[k].low)));
				ck_assert(at(packed, (int64_t[]){13, j}) == types[k].low);
			}
			/* Arithmetic reads them as I8; rows can be cut and turned. */
			hyp_tensor *cut, *sum, *plain;
			OK(hyp_tensor_slice(packed, 1, &(hyp_slice){12, 3, -4}, &cut));
			OK(hyp_tensor_add(cut, cut, &sum));
			OK(hyp_tensor_slice(values, 1, &(hyp_slice){12, 3, -4}, &plain));
			ck_assert(at(sum, (int64_t[]){1, n - 1}) == 2 * at(plain, (int64_t[]){1, n - 1}));
			hyp_tensor *others[] = {values, packed, back, same, all, cut, sum, plain};
			for (size_t i = 0; i < 8; i++) hyp_tensor_release(others[i]);
		}
	}
	hyp_tensor *t, *v = untouched;
	OK(hyp_tensor_zeros(HYP_I4, 2, (const int64_t[]){3, 7}, &t));
	REFUSED(HYP_ERR_UNSUPPORTED, "packed", hyp_tensor_transpose(t, 0, 1, &v));
	REFUSED(HYP_ERR_UNSUPPORTED, "packed", hyp_tensor_slice(t, 2, (const hyp_slice[]){{0, 3, 1}, {1, 3, 1}}, &v));
	REFUSED(HYP_ERR_UNSUPPORTED, "shape", hyp_tensor_reshape(t, 1, (const int64_t[]){21}, &v));
	REFUSED(HYP_ERR_TYPE, "out", hyp_tensor_binary_into(HYP_OP_ADD, t, t, t));
	REFUSED(HYP_ERR_SHAPE, "block", hyp_tensor_empty(HYP_Q8_0, 1, (const int64_t[]){33}, &v));
	hyp_tensor_release(t);
	none_left();
}
END_TEST

START_TEST(saturating_casts) {
	const float from[6] = {-100, -1.5f, 0.49f, 0.51f, 7.5f, (float)NAN};
	const double i4[6] = {-8, -2, 0, 1, 7, 0}, t2[6] = {-1, -1, 0, 1, 1, 0};
	hyp_tensor *t, *packed, *ternary;
	OK(hyp_tensor_from_data(HYP_F32, 1, (const int64_t[]){6}, NULL, from, &t));
	OK(hyp_tensor_cast(t, HYP_I4, &packed));
	OK(hyp_tensor_cast(t, HYP_BITNET158, &ternary));
	for (int64_t i = 0; i < 6; i++) {
		ck_assert(at(packed, &i) == i4[i]);
		ck_assert(at(ternary, &i) == t2[i]);
	}
	hyp_tensor_release(packed);
	hyp_tensor_release(ternary);
	hyp_tensor_release(t);
	OK(hyp_tensor_full(HYP_I32, 1, (const int64_t[]){5}, hyp_int(1000), &t));
	OK(hyp_tensor_cast(t, HYP_I4, &packed));
	ck_assert(at(packed, (int64_t[]){4}) == 7);
	hyp_tensor_release(packed);
	hyp_tensor_release(t);
	none_left();
}
END_TEST

START_TEST(gguf_blocks) {
	static const struct {
		hyp_dtype dtype;
		size_t bytes; /* of 2 x 256 */
		double error; /* of values in -1..1 */
	} types[] = {{HYP_Q8_0, 544, 0.005}, {HYP_Q4_0, 288, 0.15}, {HYP_TQ1_0, 108, 0.51}, {HYP_TQ2_0, 132, 0.51}};
	const int64_t shape[2] = {2, 256};
	hyp_tensor *x;
	OK(hyp_tensor_random(HYP_F32, 2, shape, 5, -1, 1, &x));
	for (size_t k = 0; k < 4; k++) {
		hyp_tensor *q, *back, *d, *worst;
		OK(hyp_tensor_cast(x, types[k].dtype, &q));
		ck_assert_uint_eq(hyp_tensor_storage_bytes(q), types[k].bytes);
		OK(hyp_tensor_cast(q, HYP_F32, &back));
		OK(hyp_tensor_sub(x, back, &d));
		OK(hyp_tensor_unary_into(HYP_OP_ABS, d, d));
		OK(hyp_tensor_amax(d, 0, NULL, NULL, &worst));
		ck_assert_msg(at(worst, NULL) <= types[k].error, "%s: %g", hyp_dtype_describe(types[k].dtype)->name,
		              at(worst, NULL));
		ck_assert(at(q, (int64_t[]){1, 77}) == at(back, (int64_t[]){1, 77}));
		hyp_tensor_release(q);
		hyp_tensor_release(back);
		hyp_tensor_release(d);
		hyp_tensor_release(worst);
	}
	hyp_tensor_release(x);
	none_left();
}
END_TEST

START_TEST(ternary_products) {
	OK(hyp_tensor_set_threads(3));
	for (int64_t k = 1; k < 700; k = k * 2 + 3) {
		const int64_t m = 37, batch = 5;
		hyp_tensor *w, *x, *exact, *wide_w, *wide_x, *t5, *packed, *turned, *want;
		OK(hyp_tensor_random(HYP_BITNET158, 2, (const int64_t[]){m, k}, 1, -1, 2, &w));
		OK(hyp_tensor_random(HYP_I8, 2, (const int64_t[]){batch, k}, 2, -128, 128, &x));
		OK(hyp_tensor_cast(w, HYP_BITNET158_5, &t5));
		OK(hyp_tensor_pack_ternary(w, &packed));
		OK(hyp_tensor_cast(w, HYP_I32, &wide_w));
		OK(hyp_tensor_cast(x, HYP_I32, &wide_x));
		OK(hyp_tensor_transpose(wide_w, 0, 1, &turned));
		OK(hyp_tensor_matmul(wide_x, turned, &want));
		for (int way = 0; way < 3; way++) {
			hyp_tensor *same, *all;
			if (way < 2) OK(hyp_tensor_matmul_ternary(x, NULL, way ? t5 : w, 1, &exact));
			else OK(hyp_tensor_matmul_ternary_packed(x, NULL, packed, m, 1, &exact));
			ck_assert_int_eq(hyp_tensor_dtype(exact), HYP_I32);
			OK(hyp_tensor_eq(exact, want, &same));
			OK(hyp_tensor_all(same, 0, NULL, NULL, &all));
			ck_assert_msg(at(all, NULL) == 1, "k %lld, way %d", (long long)k, way);
			hyp_tensor_release(same);
			hyp_tensor_release(all);
			hyp_tensor_release(exact);
		}
		/* Floats: quantised first, scaled after. */
		hyp_tensor *xf, *y, *q, *scale, *y2;
		OK(hyp_tensor_random(HYP_F32, 2, (const int64_t[]){batch, k}, 3, -4, 4, &xf));
		OK(hyp_tensor_matmul_ternary(xf, NULL, w, 0.25, &y));
		OK(hyp_tensor_quantize_absmax(xf, &q, &scale));
		OK(hyp_tensor_matmul_ternary(q, scale, w, 0.25, &y2));
		for (int64_t i = 0; i < batch; i++)
			for (int64_t j = 0; j < m; j++) {
				int64_t sum = 0;
				for (int64_t l = 0; l < k; l++) sum += (int64_t)(at(q, (int64_t[]){i, l}) * at(w, (int64_t[]){j, l}));
				double want_y = (double)sum * at(scale, &i) * 0.25;
				ck_assert(fabs(at(y, (int64_t[]){i, j}) - want_y) <= 4e-7 * fabs(want_y));
				ck_assert(at(y, (int64_t[]){i, j}) == at(y2, (int64_t[]){i, j}));
			}
		hyp_tensor *others[] = {w, x, wide_w, wide_x, t5, packed, turned, want, xf, y, q, scale, y2};
		for (size_t i = 0; i < sizeof others / sizeof *others; i++) hyp_tensor_release(others[i]);
	}
	hyp_tensor *w, *x, *y = untouched;
	OK(hyp_tensor_zeros(HYP_BITNET158, 2, (const int64_t[]){4, 8}, &w));
	OK(hyp_tensor_zeros(HYP_I8, 1, (const int64_t[]){9}, &x));
	REFUSED(HYP_ERR_SHAPE, "argument x", hyp_tensor_matmul_ternary(x, NULL, w, 1, &y));
	REFUSED(HYP_ERR_TYPE, "argument w", hyp_tensor_matmul_ternary(x, NULL, x, 1, &y));
	REFUSED(HYP_ERR_TYPE, "argument packed", hyp_tensor_matmul_ternary_packed(x, NULL, w, 4, 1, &y));
	hyp_tensor_release(w);
	hyp_tensor_release(x);
	OK(hyp_tensor_set_threads(0));
	none_left();
}
END_TEST

START_TEST(quantising) {
	const float from[8] = {0.5f, -0.2f, 0.05f, -1.0f, 0, 0, 0, 0};
	hyp_tensor *x, *q, *scale, *back, *codes;
	double mean;
	OK(hyp_tensor_from_data(HYP_F32, 2, (const int64_t[]){2, 4}, NULL, from, &x));
	OK(hyp_tensor_quantize_absmax(x, &q, &scale));
	ck_assert(at(q, (int64_t[]){0, 3}) == -127 && at(q, (int64_t[]){0, 0}) == 64 && at(scale, (int64_t[]){1}) == 0);
	OK(hyp_tensor_dequantize_absmax(q, scale, &back));
	for (int64_t i = 0; i < 8; i++)
		ck_assert(fabs(at(back, (int64_t[]){i / 4, i % 4}) - (double)from[i]) <= 0.5 / 127 + 1e-6);
	hyp_tensor_release(q);
	hyp_tensor_release(scale);
	hyp_tensor_release(back);
	OK(hyp_tensor_quantize_absmean(x, HYP_BITNET158_5, &codes, &mean));
	ck_assert(fabs(mean - 1.75 / 8) < 1e-6);
	const double want[4] = {1, -1, 0, -1};
	for (int64_t i = 0; i < 4; i++) ck_assert(at(codes, (int64_t[]){0, i}) == want[i]);
	OK(hyp_tensor_dequantize_absmean(codes, mean, &back));
	ck_assert(fabs(at(back, (int64_t[]){0, 3}) + mean) < 1e-6);
	hyp_tensor_release(codes);
	hyp_tensor_release(back);
	OK(hyp_tensor_set(x, (int64_t[]){1, 1}, hyp_float((double)NAN)));
	q = scale = codes = untouched;
	REFUSED(HYP_ERR_INVALID, "NaN", hyp_tensor_quantize_absmax(x, &q, &scale));
	REFUSED(HYP_ERR_INVALID, "NaN", hyp_tensor_quantize_absmean(x, HYP_BITNET158, &codes, &mean));
	ck_assert(q == untouched && scale == untouched && codes == untouched);
	hyp_tensor_release(x);
	none_left();
}
END_TEST

/* ---- storage ---- */

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

/* ---- threads ---- */

static hyp_tensor *shared;
static hyp_tensor_weak shared_weak;
static void *worker(void *argument) {
	unsigned seed = (unsigned)(uintptr_t)argument;
	for (int i = 0; i < 400; i++) {
		hyp_tensor *mine, *sum, *view;
		if (hyp_tensor_weak_lock(shared_weak, &mine) != HYP_OK) break;
		OK(hyp_tensor_transpose(mine, 0, 1, &view));
		OK(hyp_tensor_sum(view, 0, NULL, NULL, &sum));
		ck_assert(at(sum, NULL) == 300 * 300);
		hyp_tensor_release(sum);
		hyp_tensor_release(view);
		hyp_tensor_release(mine);
		if (i % 100 == 50 && seed == 0) OK(hyp_tensor_set_threads(1 + (unsigned)i / 100));
	}
	return NULL;
}

START_TEST(many_threads) {
	OK(hyp_tensor_set_threads(3));
	OK(hyp_tensor_ones(HYP_F32, 2, (const int64_t[]){300, 300}, &shared));
	OK(hyp_tensor_weaken(shared, &shared_weak));
	pthread_t threads[4];
	for (int i = 0; i < 4; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)i), 0);
	for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
	hyp_tensor_release(shared);
	OK(hyp_tensor_set_threads(0));
	none_left();
}
END_TEST

START_TEST(results_do_not_depend_on_threads) {
	hyp_tensor *x, *one, *many;
	OK(hyp_tensor_random_normal(HYP_F32, 2, (const int64_t[]){1500, 1001}, 3, &x));
	for (int op = 0; op < HYP_REDUCE_OP_COUNT; op++) {
		for (int axis = -1; axis < 2; axis++) {
			OK(hyp_tensor_set_threads(1));
			OK(hyp_tensor_reduce((hyp_reduce_op)op, x, 1, axis < 0 ? NULL : &axis, NULL, &one));
			OK(hyp_tensor_set_threads(5));
			OK(hyp_tensor_reduce((hyp_reduce_op)op, x, 1, axis < 0 ? NULL : &axis, NULL, &many));
			void *a, *b;
			OK(hyp_tensor_lock(one, &a));
			OK(hyp_tensor_lock(many, &b));
			ck_assert_msg(memcmp(a, b, hyp_tensor_storage_bytes(one)) == 0, "reduction %d axis %d", op, axis);
			hyp_tensor_unlock(one);
			hyp_tensor_unlock(many);
			hyp_tensor_release(one);
			hyp_tensor_release(many);
		}
	}
	OK(hyp_tensor_set_threads(0));
	hyp_tensor_release(x);
	none_left();
}
END_TEST

START_TEST(profile) {
	hyp_tensor *x, *y;
	hyp_profile_row row;
	OK(hyp_tensor_ones(HYP_F32, 2, (const int64_t[]){64, 64}, &x));
	hyp_profile_reset();
	OK(hyp_tensor_matmul(x, x, &y));
	hyp_profile_read(HYP_PROFILE_matmul, &row);
	ck_assert_uint_eq(row.calls, 0);
	hyp_tensor_release(y);
	hyp_profile_enable(true);
	OK(hyp_tensor_matmul(x, x, &y));
	hyp_tensor_release(y);
	OK(hyp_tensor_add(x, x, &y));
	hyp_tensor_release(y);
	hyp_profile_enable(false);
	hyp_profile_read(HYP_PROFILE_matmul, &row);
	ck_assert_str_eq(row.name, "matmul");
	ck_assert_uint_eq(row.calls, 1);
	ck_assert_uint_eq(row.flops, 2 * 64 * 64 * 64);
	ck_assert_uint_eq(row.bytes, 3 * 64 * 64 * 4);
	ck_assert(row.time_ns > 0);
	hyp_profile_read(HYP_PROFILE_binary, &row);
	ck_assert_uint_eq(row.calls, 1);
	ck_assert_uint_eq(row.flops, 64 * 64);
	hyp_profile_ceiling ceiling;
	OK(hyp_profile_measure(&ceiling));
	/* Figures of a machine, and no more than that: under a sanitizer, on a busy machine, they are a thousandth. */
	ck_assert_msg(ceiling.f32_flops_per_s > 1e5 && ceiling.f32_flops_per_s < 1e16, "%g", ceiling.f32_flops_per_s);
	ck_assert_msg(ceiling.i8_ops_per_s > 1e5 && ceiling.i8_ops_per_s < 1e16, "%g", ceiling.i8_ops_per_s);
	ck_assert_msg(ceiling.read_bytes_per_s > 1e5 && ceiling.read_bytes_per_s < 1e14, "%g", ceiling.read_bytes_per_s);
	ck_assert_msg(ceiling.stream_bytes_per_s > 1e5 && ceiling.stream_bytes_per_s < 1e14, "%g",
	              ceiling.stream_bytes_per_s);
	hyp_tensor_release(x);
	none_left();
}
END_TEST

int main(void) {
	Suite *suite = suite_create("tensor");
	TCase *cases = tcase_create("tensor");
	tcase_set_timeout(cases, 120);
	tcase_add_test(cases, creation_and_metadata);
	tcase_add_test(cases, filled);
	tcase_add_test(cases, references_and_weak_handles);
	tcase_add_test(cases, bad_shapes);
	tcase_add_test(cases, bad_operands);
	tcase_add_test(cases, packed_round_trips);
	tcase_add_test(cases, saturating_casts);
	tcase_add_test(cases, gguf_blocks);
	tcase_add_test(cases, ternary_products);
	tcase_add_test(cases, quantising);
	tcase_add_test(cases, foreign_memory);
	tcase_add_test(cases, storage_that_moves);
	tcase_add_test(cases, pools);
	tcase_add_test(cases, on_a_device);
	tcase_add_test(cases, many_threads);
	tcase_add_test(cases, results_do_not_depend_on_threads);
	tcase_add_test(cases, profile);
	suite_add_tcase(suite, cases);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
