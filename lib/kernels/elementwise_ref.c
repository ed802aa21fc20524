/*
 * kernels/elementwise_ref.c: the float element-wise kernels in plain C: what the vector sets are checked against, and
 * what runs where there is none. Compiled without contraction of a * b + c, so that each operation rounds once. The
 * transcendental functions of f32 are computed in f64, hence correctly rounded but for ties nobody meets.
 */
#include <math.h>

#include "kernels/elementwise.h"

static inline float min_f32(float a, float b) { return a < b || a != a ? a : b; }
static inline float max_f32(float a, float b) { return a > b || a != a ? a : b; }
static inline double min_f64(double a, double b) { return a < b || a != a ? a : b; }
static inline double max_f64(double a, double b) { return a > b || a != a ? a : b; }

/* The functions of one real, in f64. */
static double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }
static double gelu(double x) { return 0.5 * x * erfc(-x * 0.70710678118654752440); }
static double gelu_tanh(double x) {
	return 0.5 * x * (1.0 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
}
static double silu(double x) { return x / (1.0 + exp(-x)); }

#define FLOAT_KERNELS(type, t) \
	PLAIN_BINARY(type, add_##t, x + y) \
	PLAIN_BINARY(type, sub_##t, x - y) \
	PLAIN_BINARY(type, mul_##t, x *y) \
	PLAIN_BINARY(type, div_##t, x / y) \
	PLAIN_BINARY(type, min_##t, min_##t(x, y)) \
	PLAIN_BINARY(type, max_##t, max_##t(x, y)) \
	PLAIN_COMPARES(type, t) \
	PLAIN_UNARY(type, neg_##t, -x) \
	PLAIN_UNARY(type, relu_##t, (x > 0 || x != x) ? x : 0) \
	PLAIN_UNARY(type, exp_##t, (type)exp((double)x)) \
	PLAIN_UNARY(type, log_##t, (type)log((double)x)) \
	PLAIN_UNARY(type, tanh_##t, (type)tanh((double)x)) \
	PLAIN_UNARY(type, sigmoid_##t, (type)sigmoid((double)x)) \
	PLAIN_UNARY(type, gelu_##t, (type)gelu((double)x)) \
	PLAIN_UNARY(type, gelu_tanh_##t, (type)gelu_tanh((double)x)) \
	PLAIN_UNARY(type, silu_##t, (type)silu((double)x))

FLOAT_KERNELS(float, f32)
FLOAT_KERNELS(double, f64)
PLAIN_UNARY(float, abs_f32, fabsf(x))
PLAIN_UNARY(double, abs_f64, fabs(x))
PLAIN_UNARY(float, sqrt_f32, sqrtf(x))
PLAIN_UNARY(double, sqrt_f64, sqrt(x))

static void fma_f32(float *dst, const float *a, float s, const float *b, size_t n) {
	for (size_t i = 0; i < n; i++) dst[i] = fmaf(a[i], s, b[i]);
}
static void fma_s_f32(float *dst, const float *a, float s, float b, size_t n) {
	for (size_t i = 0; i < n; i++) dst[i] = fmaf(a[i], s, b);
}
static void fma_f64(double *dst, const double *a, double s, const double *b, size_t n) {
	for (size_t i = 0; i < n; i++) dst[i] = fma(a[i], s, b[i]);
}
static void fma_s_f64(double *dst, const double *a, double s, double b, size_t n) {
	for (size_t i = 0; i < n; i++) dst[i] = fma(a[i], s, b);
}

#define SET_FLOAT(e, num, t) \
	do { \
		SET_NUMBER(e, num, t); \
		(e)->unary[num][HYPI_SQRT] = sqrt_##t; \
		(e)->unary[num][HYPI_EXP] = exp_##t; \
		(e)->unary[num][HYPI_LOG] = log_##t; \
		(e)->unary[num][HYPI_TANH] = tanh_##t; \
		(e)->unary[num][HYPI_SIGMOID] = sigmoid_##t; \
		(e)->unary[num][HYPI_GELU] = gelu_##t; \
		(e)->unary[num][HYPI_GELU_TANH] = gelu_tanh_##t; \
		(e)->unary[num][HYPI_SILU] = silu_##t; \
		(e)->fma_##t = fma_##t; \
		(e)->fma_s_##t = fma_s_##t; \
	} while (0)

void hypi_fill_elementwise_ref(struct hypi_elementwise *e) {
	SET_FLOAT(e, HYPI_F32, f32);
	SET_FLOAT(e, HYPI_F64, f64);
}
