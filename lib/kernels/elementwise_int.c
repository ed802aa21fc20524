/*
 * kernels/elementwise_int.c: the integer element-wise kernels. Integer arithmetic is exact, so there is one source:
 * the build compiles it once for the reference and once for each set, and the compiler's vectoriser does the rest.
 * Arithmetic goes through the unsigned type, where wrapping is defined.
 */
#include "kernels/elementwise.h"

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
	PLAIN_BINARY(type, add_##t, (utype)x + (utype)y) \
	PLAIN_BINARY(type, sub_##t, (utype)x - (utype)y) \
	PLAIN_BINARY(type, mul_##t, (uint64_t)x *(uint64_t)y) \
	PLAIN_BINARY(type, div_##t, floor_div_##t(x, y)) \
	PLAIN_BINARY(type, min_##t, x < y ? x : y) \
	PLAIN_BINARY(type, max_##t, x > y ? x : y) \
	PLAIN_COMPARES(type, t) \
	PLAIN_UNARY(type, neg_##t, (utype)0 - (utype)x) \
	PLAIN_UNARY(type, abs_##t, is_signed &&x < (type)1 ? (utype)0 - (utype)x : (utype)x) \
	PLAIN_UNARY(type, relu_##t, is_signed &&x < (type)1 ? 0 : x)

INTEGER_KERNELS(int8_t, uint8_t, i8, 1)
INTEGER_KERNELS(int16_t, uint16_t, i16, 1)
INTEGER_KERNELS(int32_t, uint32_t, i32, 1)
INTEGER_KERNELS(int64_t, uint64_t, i64, 1)
INTEGER_KERNELS(uint8_t, uint8_t, u8, 0)

void HYPI_FOR_SET(hypi_fill_integer_)(struct hypi_elementwise *e) {
	SET_NUMBER(e, HYPI_I8, i8);
	SET_NUMBER(e, HYPI_I16, i16);
	SET_NUMBER(e, HYPI_I32, i32);
	SET_NUMBER(e, HYPI_I64, i64);
	SET_NUMBER(e, HYPI_U8, u8);
}
