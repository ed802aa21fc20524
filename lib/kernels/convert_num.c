/*
 * kernels/convert_num.c: conversions between the seven numeric types, all 49 of them, from two macros. Exact or
 * correctly rounded by the C standard, so one source serves: compiled once for the reference and once for each set,
 * and vectorised by the compiler.
 */
#include "kernels/fill.h"

/* The numeric types: X(enumerator, suffix, C type) */
#define FLOATS(X, ...) X(F32, f32, float, __VA_ARGS__) X(F64, f64, double, __VA_ARGS__)
#define INTEGERS(X, ...) \
	X(I8, i8, int8_t, __VA_ARGS__) \
	X(I16, i16, int16_t, __VA_ARGS__) \
	X(I32, i32, int32_t, __VA_ARGS__) \
	X(I64, i64, int64_t, __VA_ARGS__) \
	X(U8, u8, uint8_t, __VA_ARGS__)

#define LOOP(to, to_type, from, from_type, expr) \
	static void to##_##from(void *dst, const void *a, size_t n) { \
		to_type *d = dst; \
		const from_type *p = a; \
		for (size_t i = 0; i < n; i++) { \
			from_type x = p[i]; \
			d[i] = (to_type)(expr); \
		} \
	}

/* Saturation: the limits are powers of two (or 0), exact in every float type. NaN fails both tests and every
 * comparison; it must not reach the cast. */
#define SATURATE(to_type, low, high_plus_1, low_value, high_value) \
	(x != x ? 0 : x <= (low) ? (low_value) : x >= (high_plus_1) ? (high_value) : (to_type)x)

#define TO_INTEGERS(id, from, from_type, unused) \
	LOOP(i8, int8_t, from, from_type, SATURATE(int8_t, -128, 128, INT8_MIN, INT8_MAX)) \
	LOOP(i16, int16_t, from, from_type, SATURATE(int16_t, -32768, 32768, INT16_MIN, INT16_MAX)) \
	LOOP(i32, int32_t, from, from_type, \
	     SATURATE(int32_t, (from_type)-0x1p31, (from_type)0x1p31, INT32_MIN, INT32_MAX)) \
	LOOP(i64, int64_t, from, from_type, \
	     SATURATE(int64_t, (from_type)-0x1p63, (from_type)0x1p63, INT64_MIN, INT64_MAX)) \
	LOOP(u8, uint8_t, from, from_type, SATURATE(uint8_t, 0, 256, 0, UINT8_MAX)) \
	LOOP(f32, float, from, from_type, x) \
	LOOP(f64, double, from, from_type, x)
FLOATS(TO_INTEGERS, unused)

#define FROM_INTEGER(id, from, from_type, unused) \
	LOOP(f32, float, from, from_type, x) \
	LOOP(f64, double, from, from_type, x) \
	LOOP(i8, int8_t, from, from_type, (uint8_t)x) \
	LOOP(i16, int16_t, from, from_type, (uint16_t)x) \
	LOOP(i32, int32_t, from, from_type, (uint32_t)x) \
	LOOP(i64, int64_t, from, from_type, x) \
	LOOP(u8, uint8_t, from, from_type, (uint8_t)x)
INTEGERS(FROM_INTEGER, unused)

#define SET_FROM(id, from, from_type, c) \
	(c)->num[HYPI_F32][HYPI_##id] = f32_##from; \
	(c)->num[HYPI_F64][HYPI_##id] = f64_##from; \
	(c)->num[HYPI_I8][HYPI_##id] = i8_##from; \
	(c)->num[HYPI_I16][HYPI_##id] = i16_##from; \
	(c)->num[HYPI_I32][HYPI_##id] = i32_##from; \
	(c)->num[HYPI_I64][HYPI_##id] = i64_##from; \
	(c)->num[HYPI_U8][HYPI_##id] = u8_##from;

void HYPI_FOR_SET(hypi_fill_num_)(struct hypi_convert *c) {
	FLOATS(SET_FROM, c)
	INTEGERS(SET_FROM, c)
}
