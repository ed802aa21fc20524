/*
 * tests/tensor/test_types.c: packed types, blocks of GGUF, ternary products, quantisation.
 */
#include <hypool/ops.h>

#include "outcome.h"

#include <math.h>

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

START_TEST(exact_bytes) {
	static const struct {
		hyp_dtype dtype;
		int n;
		int8_t values[9];
		uint8_t bytes[2];
	} rows[] = {
		{HYP_I4, 3, {1, -1, 7}, {0xf1, 0x07}},
		{HYP_I2, 5, {1, -2, 0, -1, 1}, {1 | 2 << 2 | 3 << 6, 1}},
		{HYP_I1, 9, {-1, 0, 0, -1, 0, 0, 0, -1, -1}, {0x89, 0x01}},
		/* codes 0 1 2 2 1; what pads is zero bits here, and code 1 below */
		{HYP_BITNET158, 5, {-1, 0, 1, 1, 0}, {0 | 1 << 2 | 2 << 4 | 2 << 6, 0x01}},
		/* ceil((0 * 81 + 1 * 27 + 2 * 9 + 2 * 3 + 1) * 256 / 243), and code 2 before four of padding: 202 of 243 */
		{HYP_BITNET158_5, 6, {-1, 0, 1, 1, 0, 1}, {55, 213}},
	};
	for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
		hyp_tensor *t, *packed;
		uint8_t got[2];
		OK(hyp_tensor_from_data(HYP_I8, 1, &(const int64_t){rows[k].n}, NULL, rows[k].values, &t));
		OK(hyp_tensor_cast(t, rows[k].dtype, &packed));
		ck_assert_uint_eq(hyp_tensor_storage_bytes(packed), 2);
		OK(hyp_tensor_read(packed, got, 2));
		ck_assert_msg(memcmp(got, rows[k].bytes, 2) == 0, "%s: %02x %02x", hyp_dtype_describe(rows[k].dtype)->name,
		              got[0], got[1]);
		hyp_tensor_release(t);
		hyp_tensor_release(packed);
	}
	/* I2_S: 128 in 32 bytes, elements p, 32 + p, 64 + p and 96 + p in bits 7:6, 5:4, 3:2 and 1:0 of byte p. */
	hyp_tensor *t, *packed, *back;
	uint8_t got[64];
	OK(hyp_tensor_ones(HYP_F32, 2, (const int64_t[]){2, 128}, &t));
	OK(hyp_tensor_set(t, (const int64_t[]){1, 0}, hyp_float(-1)));
	OK(hyp_tensor_set(t, (const int64_t[]){1, 33}, hyp_float(0)));
	OK(hyp_tensor_set(t, (const int64_t[]){1, 127}, hyp_float(-1)));
	OK(hyp_tensor_cast(t, HYP_I2_S, &packed));
	OK(hyp_tensor_read(packed, got, 64));
	for (int i = 0; i < 64; i++) {
		int want = i == 32 ? 0x2a : i == 33 ? 0x9a : i == 63 ? 0xa8 : 0xaa;
		ck_assert_msg(got[i] == want, "byte %d is %02x", i, got[i]);
	}
	OK(hyp_tensor_cast(packed, HYP_F32, &back));
	for (int64_t i = 0; i < 256; i++)
		ck_assert(at(t, (int64_t[]){i / 128, i % 128}) == at(back, (int64_t[]){i / 128, i % 128}));
	hyp_tensor *others[] = {t, packed, back};
	for (size_t i = 0; i < 3; i++) hyp_tensor_release(others[i]);
	none_left();
}
END_TEST

/* Every value of the small types there and back, and every half through F32. */
START_TEST(all_values) {
	static const hyp_dtype narrow[] = {HYP_F16, HYP_BF16, HYP_I16, HYP_I8, HYP_U8, HYP_BOOL};
	static const hyp_dtype wide[] = {HYP_F32, HYP_F64};
	for (size_t k = 0; k < sizeof narrow / sizeof *narrow; k++) {
		size_t bytes = hyp_dtype_describe(narrow[k])->block_bytes;
		const int64_t n = narrow[k] == HYP_BOOL ? 2 : bytes == 1 ? 256 : 65536;
		uint16_t two[65536];
		uint8_t one[256];
		for (int64_t i = 0; i < n; i++) bytes == 1 ? (one[i] = (uint8_t)i) : (two[i] = (uint16_t)i);
		for (size_t w = 0; w < 2; w++) {
			hyp_tensor *t, *there, *back;
			static uint8_t got[131072];
			OK(hyp_tensor_from_data(narrow[k], 1, &n, NULL, bytes == 1 ? (const void *)one : two, &t));
			OK(hyp_tensor_cast(t, wide[w], &there));
			OK(hyp_tensor_cast(there, narrow[k], &back));
			OK(hyp_tensor_read(back, got, (size_t)n * bytes));
			for (int64_t i = 0; i < n; i++) {
				uint16_t value;
				memcpy(&value, got + 2 * i, 2);
				/* NaN stays NaN, with its quiet bit set. */
				unsigned exponent = narrow[k] == HYP_F16 ? 0x7c00 : 0x7f80, fraction = 0x7fff & ~exponent;
				bool is_nan = (narrow[k] == HYP_F16 || narrow[k] == HYP_BF16) && ((unsigned)i & exponent) == exponent &&
				              ((unsigned)i & fraction) != 0;
				if (is_nan) ck_assert((value & exponent) == exponent && (value & fraction) != 0);
				else
					ck_assert_msg(bytes == 1 ? got[i] == i : value == i, "%s: %lld through %s",
					              hyp_dtype_describe(narrow[k])->name, (long long)i, hyp_dtype_describe(wide[w])->name);
			}
			hyp_tensor *others[] = {t, there, back};
			for (size_t i = 0; i < 3; i++) hyp_tensor_release(others[i]);
		}
	}
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

int main(void) {
	const TTest *const tests[] = {packed_round_trips, exact_bytes,      all_values, saturating_casts,
	                              gguf_blocks,        ternary_products, quantising};
	return run_suite("types", tests, sizeof tests / sizeof *tests);
}
