/*
 * tensor/loops.c: element-wise operations without a kernel (loops.h).
 *
 * Written once over a list of types. Remainder and floor division of floats follow Python: the quotient is rounded
 * down after the remainder has been made exact by fmod, and signed zeros are kept.
 */
#include "tensor/loops.h"

#include "base/compiler.h"

#include <math.h>

#define INTEGERS(X) \
	X(i8, int8_t, uint8_t, I8) \
	X(i16, int16_t, uint16_t, I16) \
	X(i32, int32_t, uint32_t, I32) \
	X(i64, int64_t, uint64_t, I64) \
	X(u8, uint8_t, uint8_t, U8)

/* The unsigned type carries the arithmetic, so that it wraps. */
#define X(name, type, wrap, id) \
	static void mod_##name(void *dst, const void *a, const void *b, size_t n) { \
		const type *x = a, *y = b; \
		type *z = dst; \
		for (size_t i = 0; i < n; i++) { \
			int64_t d = (int64_t)y[i]; \
			int64_t r = d == 0 || d == -1 ? 0 : (int64_t)x[i] % d; /* INT64_MIN % -1 would trap */ \
			z[i] = (type)(r != 0 && (r ^ d) < 0 ? r + d : r); \
		} \
	} \
	static void pow_##name(void *dst, const void *a, const void *b, size_t n) { \
		const type *x = a, *y = b; \
		type *z = dst; \
		for (size_t i = 0; i < n; i++) { \
			uint64_t base = (uint64_t)x[i], result = 1; \
			for (wrap e = (wrap)y[i]; e != 0; e = (wrap)(e >> 1)) { \
				if (e & 1) result *= base; \
				base *= base; \
			} \
			z[i] = (type)result; \
		} \
	} \
	static void square_##name(void *dst, const void *a, size_t n) { \
		const type *x = a; \
		type *z = dst; \
		for (size_t i = 0; i < n; i++) z[i] = (type)((uint64_t)x[i] * (uint64_t)x[i]); \
	} \
	static void sign_##name(void *dst, const void *a, size_t n) { \
		const type *x = a; \
		type *z = dst; \
		for (size_t i = 0; i < n; i++) z[i] = (type)((x[i] > 0) - (x[i] < 0)); \
	}
INTEGERS(X)
#undef X

#define FLOATS(X) \
	X(f32, float, f) \
	X(f64, double, )

#define X(name, type, f) \
	static type mod_one_##name(type a, type b) { \
		type r = fmod##f(a, b); \
		if (b == 0) return r; \
		if (r != 0) return (b < 0) != (r < 0) ? r + b : r; \
		return copysign##f(0, b); \
	} \
	static void mod_##name(void *dst, const void *a, const void *b, size_t n) { \
		const type *x = a, *y = b; \
		type *z = dst; \
		for (size_t i = 0; i < n; i++) z[i] = mod_one_##name(x[i], y[i]); \
	} \
	static void floor_div_##name(void *dst, const void *a, const void *b, size_t n) { \
		const type *x = a, *y = b; \
		type *z = dst; \
		for (size_t i = 0; i < n; i++) { \
			if (y[i] == 0) { \
				z[i] = x[i] / y[i]; \
				continue; \
			} \
			type r = fmod##f(x[i], y[i]); \
			type quotient = (x[i] - r) / y[i]; \
			if (r != 0 && (y[i] < 0) != (r < 0)) quotient -= 1; \
			type down = floor##f(quotient); \
			if (quotient != 0) z[i] = quotient - down > (type)0.5 ? down + 1 : down; \
			else z[i] = copysign##f(0, x[i] / y[i]); \
		} \
	} \
	static void pow_##name(void *dst, const void *a, const void *b, size_t n) { \
		const type *x = a, *y = b; \
		type *z = dst; \
		for (size_t i = 0; i < n; i++) z[i] = pow##f(x[i], y[i]); \
	}
FLOATS(X)
#undef X

/* X(name, expression of x, with f the suffix of the libm name) */
#define FLOAT_UNARY(X, type, f) \
	X(square, type, x *x) \
	X(sign, type, x > 0 ? (type)1 : x < 0 ? (type)-1 : x) \
	X(reciprocal, type, (type)1 / x) \
	X(rsqrt, type, (type)1 / sqrt##f(x)) \
	X(floor, type, floor##f(x)) \
	X(ceil, type, ceil##f(x)) \
	X(round, type, rint##f(x)) \
	X(trunc, type, trunc##f(x)) \
	X(sin, type, sin##f(x)) \
	X(cos, type, cos##f(x)) \
	X(tan, type, tan##f(x)) \
	X(exp2, type, exp2##f(x)) \
	X(expm1, type, expm1##f(x)) \
	X(log2, type, log2##f(x)) \
	X(log10, type, log10##f(x)) \
	X(log1p, type, log1p##f(x)) \
	X(erf, type, erf##f(x)) \
	X(isnan, uint8_t, (uint8_t)(isnan(x) ? 1 : 0)) \
	X(isinf, uint8_t, (uint8_t)(isinf(x) ? 1 : 0)) \
	X(isfinite, uint8_t, (uint8_t)(isfinite(x) ? 1 : 0))

#define X(name, result, expression) \
	static void name##_f32(void *dst, const void *a, size_t n) { \
		const float *from = a; \
		result *to = dst; \
		for (size_t i = 0; i < n; i++) { \
			float x = from[i]; \
			to[i] = expression; \
		} \
	}
FLOAT_UNARY(X, float, f)
#undef X
#define X(name, result, expression) \
	static void name##_f64(void *dst, const void *a, size_t n) { \
		const double *from = a; \
		result *to = dst; \
		for (size_t i = 0; i < n; i++) { \
			double x = from[i]; \
			to[i] = expression; \
		} \
	}
FLOAT_UNARY(X, double, )
#undef X

hypi_binary_fn *hypi_binary_loop(hyp_binary_op op, enum hypi_num num) {
	static hypi_binary_fn *const mods[HYPI_NUM_COUNT] = {mod_f32, mod_f64, mod_i8, mod_i16, mod_i32, mod_i64, mod_u8};
	static hypi_binary_fn *const pows[HYPI_NUM_COUNT] = {pow_f32, pow_f64, pow_i8, pow_i16, pow_i32, pow_i64, pow_u8};
	if (op == HYP_OP_MOD) return mods[num];
	if (op == HYP_OP_POW) return pows[num];
	if (op != HYP_OP_FLOOR_DIV) return NULL;
	return num == HYPI_F32 ? floor_div_f32 : num == HYPI_F64 ? floor_div_f64 : NULL;
}

hypi_unary_fn *hypi_unary_loop(hyp_unary_op op, enum hypi_num num) {
	static hypi_unary_fn *const table[HYP_UNARY_OP_COUNT][HYPI_NUM_COUNT] = {
		[HYP_OP_SQUARE] = {square_f32, square_f64, square_i8, square_i16, square_i32, square_i64, square_u8},
		[HYP_OP_SIGN] = {sign_f32, sign_f64, sign_i8, sign_i16, sign_i32, sign_i64, sign_u8},
		[HYP_OP_RECIPROCAL] = {reciprocal_f32, reciprocal_f64},
		[HYP_OP_RSQRT] = {rsqrt_f32, rsqrt_f64},
		[HYP_OP_FLOOR] = {floor_f32, floor_f64},
		[HYP_OP_CEIL] = {ceil_f32, ceil_f64},
		[HYP_OP_ROUND] = {round_f32, round_f64},
		[HYP_OP_TRUNC] = {trunc_f32, trunc_f64},
		[HYP_OP_SIN] = {sin_f32, sin_f64},
		[HYP_OP_COS] = {cos_f32, cos_f64},
		[HYP_OP_TAN] = {tan_f32, tan_f64},
		[HYP_OP_EXP2] = {exp2_f32, exp2_f64},
		[HYP_OP_EXPM1] = {expm1_f32, expm1_f64},
		[HYP_OP_LOG2] = {log2_f32, log2_f64},
		[HYP_OP_LOG10] = {log10_f32, log10_f64},
		[HYP_OP_LOG1P] = {log1p_f32, log1p_f64},
		[HYP_OP_ERF] = {erf_f32, erf_f64},
		[HYP_OP_ISNAN] = {isnan_f32, isnan_f64},
		[HYP_OP_ISINF] = {isinf_f32, isinf_f64},
		[HYP_OP_ISFINITE] = {isfinite_f32, isfinite_f64},
	};
	return table[op][num];
}
