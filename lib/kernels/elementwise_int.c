/*
 * kernels/elementwise_int.c: the integer element-wise kernels. Integer arithmetic is exact, so there is one source:
 * the build compiles it once for the reference and once for each set, and the compiler's vectoriser does the rest.
 * Arithmetic goes through the unsigned type, where wrapping is defined.
 */
#include "kernels/fill.h"

#define FORMS(type, name, out_type, expr) \
	static void name##_vv(out_type *dst, const void *a, const void *b, size_t n) { \
		type *d = (type *)dst; \
		const type *p = a, *q = b; \
		for (size_t i = 0; i < n; i++) { \
			type x = p[i], y = q[i]; \
			d[i] = (type)(expr); \
		} \
	} \
	static void name##_vs(out_type *dst, const void *a, const void *b, size_t n) { \
		type *d = (type *)dst; \
		const type *p = a, y = *(const type *)b; \
		for (size_t i = 0; i < n; i++) { \
			type x = p[i]; \
			d[i] = (type)(expr); \
		} \
	} \
	static void name##_sv(out_type *dst, const void *a, const void *b, size_t n) { \
		type *d = (type *)dst; \
		const type x = *(const type *)a, *q = b; \
		for (size_t i = 0; i < n; i++) { \
			type y = q[i]; \
			d[i] = (type)(expr); \
		} \
	}

#define COMPARE(type, name, op) \
	static void name##_vv(uint8_t *dst, const void *a, const void *b, size_t n) { \
		const type *p = a, *q = b; \
		for (size_t i = 0; i < n; i++) dst[i] = p[i] op q[i]; \
	} \
	static void name##_vs(uint8_t *dst, const void *a, const void *b, size_t n) { \
		const type *p = a, y = *(const type *)b; \
		for (size_t i = 0; i < n; i++) dst[i] = p[i] op y; \
	} \
	static void name##_sv(uint8_t *dst, const void *a, const void *b, size_t n) { \
		const type x = *(const type *)a, *q = b; \
		for (size_t i = 0; i < n; i++) dst[i] = x op q[i]; \
	}

#define UNARY(type, name, expr) \
	static void name(void *dst, const void *a, size_t n) { \
		type *d = dst; \
		const type *p = a; \
		for (size_t i = 0; i < n; i++) { \
			type x = p[i]; \
			d[i] = (type)(expr); \
		} \
	}

/* Floor division; by 0 gives 0; the least value by -1 wraps to itself. is_signed folds away. */
#define FLOOR_DIV(type, utype, t, is_signed) \
	static inline type floor_div_##t(type x, type y) { \
		if (y == 0) return 0; \
		if (is_signed && y == (type)-1) return (type)((utype)0 - (utype)x); \
		type q = (type)(x / y); \
		type r = (type)(x % y); \
		int signs_differ = is_signed && (((utype)r ^ (utype)y) >> (8 * sizeof(type) - 1)) != 0; \
		return (type)(q - (r != 0 && signs_differ)); \
	}

#define INTEGER_KERNELS(type, utype, t, is_signed) \
	FLOOR_DIV(type, utype, t, is_signed) \
	FORMS(type, add_##t, void, (utype)x + (utype)y) \
	FORMS(type, sub_##t, void, (utype)x - (utype)y) \
	FORMS(type, mul_##t, void, (uint64_t)x *(uint64_t)y) \
	FORMS(type, div_##t, void, floor_div_##t(x, y)) \
	FORMS(type, min_##t, void, x < y ? x : y) \
	FORMS(type, max_##t, void, x > y ? x : y) \
	COMPARE(type, eq_##t, ==) \
	COMPARE(type, ne_##t, !=) \
	COMPARE(type, lt_##t, <) \
	COMPARE(type, le_##t, <=) \
	COMPARE(type, gt_##t, >) \
	COMPARE(type, ge_##t, >=) \
	UNARY(type, neg_##t, (utype)0 - (utype)x) \
	UNARY(type, abs_##t, is_signed &&x < (type)1 ? (utype)0 - (utype)x : (utype)x) \
	UNARY(type, relu_##t, is_signed &&x < (type)1 ? 0 : x)

INTEGER_KERNELS(int8_t, uint8_t, i8, 1)
INTEGER_KERNELS(int16_t, uint16_t, i16, 1)
INTEGER_KERNELS(int32_t, uint32_t, i32, 1)
INTEGER_KERNELS(int64_t, uint64_t, i64, 1)
INTEGER_KERNELS(uint8_t, uint8_t, u8, 0)

#define SET_FORMS(slot, name) ((slot)[HYPI_VV] = name##_vv, (slot)[HYPI_VS] = name##_vs, (slot)[HYPI_SV] = name##_sv)

#define SET_INTEGER(e, num, t) \
	do { \
		SET_FORMS((e)->binary[num][HYPI_ADD], add_##t); \
		SET_FORMS((e)->binary[num][HYPI_SUB], sub_##t); \
		SET_FORMS((e)->binary[num][HYPI_MUL], mul_##t); \
		SET_FORMS((e)->binary[num][HYPI_DIV], div_##t); \
		SET_FORMS((e)->binary[num][HYPI_MIN], min_##t); \
		SET_FORMS((e)->binary[num][HYPI_MAX], max_##t); \
		SET_FORMS((e)->compare[num][HYPI_EQ], eq_##t); \
		SET_FORMS((e)->compare[num][HYPI_NE], ne_##t); \
		SET_FORMS((e)->compare[num][HYPI_LT], lt_##t); \
		SET_FORMS((e)->compare[num][HYPI_LE], le_##t); \
		SET_FORMS((e)->compare[num][HYPI_GT], gt_##t); \
		SET_FORMS((e)->compare[num][HYPI_GE], ge_##t); \
		(e)->unary[num][HYPI_NEG] = neg_##t; \
		(e)->unary[num][HYPI_ABS] = abs_##t; \
		(e)->unary[num][HYPI_RELU] = relu_##t; \
	} while (0)

void HYPI_FOR_SET(hypi_fill_integer_)(struct hypi_elementwise *e) {
	SET_INTEGER(e, HYPI_I8, i8);
	SET_INTEGER(e, HYPI_I16, i16);
	SET_INTEGER(e, HYPI_I32, i32);
	SET_INTEGER(e, HYPI_I64, i64);
	SET_INTEGER(e, HYPI_U8, u8);
}
