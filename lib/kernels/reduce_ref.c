/*
 * kernels/reduce_ref.c: reductions in plain C. Sums accumulate in f64 (f32 input) or with Neumaier's compensation
 * (f64 input; Neumaier 1974), more exactly than the bounds ask: it is the yardstick.
 */
#include <math.h>

#include "kernels/fill.h"

static double sum_f32(const float *a, size_t n) {
	double s = 0;
	for (size_t i = 0; i < n; i++) s += (double)a[i];
	return s;
}

/* s + c holds the sum; c gathers what each addition to s rounds away. */
static inline void compensated_add(double *s, double *c, double x) {
	double t = *s + x;
	*c += fabs(*s) >= fabs(x) ? (*s - t) + x : (x - t) + *s;
	*s = t;
}

static double sum_f64(const double *a, size_t n) {
	double s = 0, c = 0;
	for (size_t i = 0; i < n; i++) compensated_add(&s, &c, a[i]);
	return isfinite(s) ? s + c : s;
}

#define INTEGER_SUM(name, type) \
	static int64_t name(const type *a, size_t n) { \
		uint64_t s = 0; \
		for (size_t i = 0; i < n; i++) s += (uint64_t)(int64_t)a[i]; \
		return (int64_t)s; \
	}
INTEGER_SUM(sum_i8, int8_t)
INTEGER_SUM(sum_i32, int32_t)
INTEGER_SUM(sum_i64, int64_t)

static double dot_f32(const float *a, const float *b, size_t n) {
	double s = 0;
	for (size_t i = 0; i < n; i++) s += (double)a[i] * (double)b[i];
	return s;
}

static void moments_f32(const float *a, size_t n, float shift, double *ret_sum, double *ret_square) {
	double sum = 0, square = 0;
	for (size_t i = 0; i < n; i++) {
		double d = (double)(a[i] - shift);
		sum += d;
		square += d * d;
	}
	*ret_sum = sum;
	*ret_square = square;
}

static double dot_f64(const double *a, const double *b, size_t n) {
	double s = 0, c = 0;
	for (size_t i = 0; i < n; i++) {
		double p = a[i] * b[i];
		compensated_add(&s, &c, p);
		c += fma(a[i], b[i], -p);
	}
	return isfinite(s) ? s + c : s;
}

#define EXTREME(name, type, start, op) \
	static type name(const type *a, size_t n) { \
		type m = (type)(start); \
		for (size_t i = 0; i < n; i++) m = (a[i] op m || a[i] != a[i]) ? a[i] : m; \
		return m; \
	}
/* A NaN in m stays: no comparison with it is true, and only another NaN replaces it. */
EXTREME(max_f32, float, -INFINITY, >)
EXTREME(min_f32, float, INFINITY, <)
EXTREME(max_f64, double, -INFINITY, >)
EXTREME(min_f64, double, INFINITY, <)

#define ARG_EXTREME(name, op) \
	static size_t name(const float *a, size_t n) { \
		if (n == 0) return SIZE_MAX; \
		size_t at = 0; \
		for (size_t i = 0; i < n; i++) { \
			if (a[i] != a[i]) return i; \
			if (a[i] op a[at]) at = i; \
		} \
		return at; \
	}
ARG_EXTREME(argmax_f32, >)
ARG_EXTREME(argmin_f32, <)

static void add_axis0_f32(double *total, const float *a, size_t rows, size_t cols, size_t stride) {
	for (size_t c = 0; c < cols; c++) {
		double s = 0;
		for (size_t r = 0; r < rows; r++) s += (double)a[r * stride + c];
		total[c] += s;
	}
}

#define EXTREME_AXIS0(name, start, op) \
	static void name(float *dst, const float *a, size_t rows, size_t cols, size_t stride) { \
		for (size_t c = 0; c < cols; c++) { \
			float m = (float)(start); \
			for (size_t r = 0; r < rows; r++) { \
				float x = a[r * stride + c]; \
				m = (x op m || x != x) ? x : m; \
			} \
			dst[c] = m; \
		} \
	}
EXTREME_AXIS0(max_axis0_f32, -INFINITY, >)
EXTREME_AXIS0(min_axis0_f32, INFINITY, <)

#define AXIS1(name, fn) \
	static void name(float *dst, const float *a, size_t rows, size_t cols, size_t stride) { \
		for (size_t r = 0; r < rows; r++) dst[r] = (float)fn(a + r * stride, cols); \
	}
AXIS1(sum_axis1_f32, sum_f32)
AXIS1(max_axis1_f32, max_f32)
AXIS1(min_axis1_f32, min_f32)

static void softmax_f32(float *dst, const float *a, size_t n) {
	double m = (double)max_f32(a, n), s = 0;
	for (size_t i = 0; i < n; i++) s += exp((double)a[i] - m);
	for (size_t i = 0; i < n; i++) dst[i] = (float)(exp((double)a[i] - m) / s);
}

static void rms_norm_f32(float *dst, const float *a, const float *weight, size_t n, float eps) {
	double scale = 1.0 / sqrt(dot_f32(a, a, n) / (double)n + (double)eps);
	for (size_t i = 0; i < n; i++) dst[i] = (float)((double)a[i] * scale * (weight != NULL ? (double)weight[i] : 1.0));
}

void hypi_fill_reduce_ref(struct hypi_reduce *r) {
	*r = (struct hypi_reduce){
		.sum_f32 = sum_f32,
		.sum_f64 = sum_f64,
		.sum_i8 = sum_i8,
		.sum_i32 = sum_i32,
		.sum_i64 = sum_i64,
		.dot_f32 = dot_f32,
		.dot_f64 = dot_f64,
		.moments_f32 = moments_f32,
		.max_f32 = max_f32,
		.min_f32 = min_f32,
		.max_f64 = max_f64,
		.min_f64 = min_f64,
		.argmax_f32 = argmax_f32,
		.argmin_f32 = argmin_f32,
		.add_axis0_f32 = add_axis0_f32,
		.max_axis0_f32 = max_axis0_f32,
		.min_axis0_f32 = min_axis0_f32,
		.sum_axis1_f32 = sum_axis1_f32,
		.max_axis1_f32 = max_axis1_f32,
		.min_axis1_f32 = min_axis1_f32,
		.softmax_f32 = softmax_f32,
		.rms_norm_f32 = rms_norm_f32,
	};
}
