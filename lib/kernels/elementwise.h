/*
 * kernels/elementwise.h: what the files of element-wise kernels share: the plain loops around one expression, for the
 * float reference and the integers, and the places in the table that every type fills.
 */
#ifndef HYPI_KERNELS_ELEMENTWISE_H
#define HYPI_KERNELS_ELEMENTWISE_H

#include "kernels/fill.h"

/* name_vv, name_vs and name_sv: one function a form. x is the left operand, y the right one. */
#define PLAIN_BINARY(type, name, expr) \
	static void name##_vv(void *dst, const void *a, const void *b, size_t n) { \
		type *d = dst; \
		const type *p = a, *q = b; \
		for (size_t i = 0; i < n; i++) { \
			type x = p[i], y = q[i]; \
			d[i] = (type)(expr); \
		} \
	} \
	static void name##_vs(void *dst, const void *a, const void *b, size_t n) { \
		type *d = dst; \
		const type *p = a, y = *(const type *)b; \
		for (size_t i = 0; i < n; i++) { \
			type x = p[i]; \
			d[i] = (type)(expr); \
		} \
	} \
	static void name##_sv(void *dst, const void *a, const void *b, size_t n) { \
		type *d = dst; \
		const type x = *(const type *)a, *q = b; \
		for (size_t i = 0; i < n; i++) { \
			type y = q[i]; \
			d[i] = (type)(expr); \
		} \
	}

#define PLAIN_COMPARE(type, name, op) \
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
#define PLAIN_COMPARES(type, t) \
	PLAIN_COMPARE(type, eq_##t, ==) \
	PLAIN_COMPARE(type, ne_##t, !=) \
	PLAIN_COMPARE(type, lt_##t, <) \
	PLAIN_COMPARE(type, le_##t, <=) \
	PLAIN_COMPARE(type, gt_##t, >) \
	PLAIN_COMPARE(type, ge_##t, >=)

#define PLAIN_UNARY(type, name, expr) \
	static void name(void *dst, const void *a, size_t n) { \
		type *d = dst; \
		const type *p = a; \
		for (size_t i = 0; i < n; i++) { \
			type x = p[i]; \
			d[i] = (type)(expr); \
		} \
	}

#define SET_FORMS(slot, name) ((slot)[HYPI_VV] = name##_vv, (slot)[HYPI_VS] = name##_vs, (slot)[HYPI_SV] = name##_sv)

/* The kernels that every type has, named add_t, eq_t, neg_t ... */
#define SET_NUMBER(e, num, t) \
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

#endif
