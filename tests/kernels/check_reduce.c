/* tests/kernels/check_reduce.c: reductions against exact values, within the bounds that kernels.h states. */
#include "check.h"

#include <math.h>
#include <stdlib.h>

#define MAX_N 70001
#define U32 0x1p-24
#define U64 0x1p-53
static struct guarded ga, gb, gd;

/* Long double has 64 bits of significand on x86 and 113 on arm64: enough to judge f64 sums of this length. */
static void one_sum(struct check_run *run, size_t n, enum place place) {
	float *a = guarded_place(&ga, n * 4, 4, place), *b = guarded_place(&gb, n * 4, 4, place);
	fill_f32(a, n, false);
	fill_f32(b, n, false);
	if (n > 2 && random_below(2) == 0) a[random_below(n)] = 3e7f, a[random_below(n)] = -3e7f;
	long double sum = 0, size = 0, dot = 0, dot_size = 0;
	for (size_t i = 0; i < n; i++) {
		sum += (long double)a[i];
		size += fabsl((long double)a[i]);
		dot += (long double)a[i] * (long double)b[i];
		dot_size += fabsl((long double)a[i] * (long double)b[i]);
	}
	double got = run->k->reduce.sum_f32(a, n);
	check_result(run, fabsl((long double)got - sum) <= 12 * U32 * size, "sum_f32 n %zu", n);
	got = run->k->reduce.dot_f32(a, b, n);
	check_result(run, fabsl((long double)got - dot) <= 13 * U32 * dot_size, "dot_f32 n %zu", n);
	float shift = random_below(2) == 0 ? 0 : (float)random_unit() * 100;
	long double d_sum = 0, d_size = 0, d_square = 0;
	for (size_t i = 0; i < n; i++) {
		long double d = (long double)(a[i] - shift);
		d_sum += d, d_size += fabsl(d), d_square += d * d;
	}
	double square;
	run->k->reduce.moments_f32(a, n, shift, &got, &square);
	check_result(run, fabsl((long double)got - d_sum) <= 12 * U32 * d_size, "moments_f32 n %zu: sum", n);
	check_result(run, fabsl((long double)square - d_square) <= 14 * U32 * d_square, "moments_f32 n %zu: square", n);
	got = run->k->ternary.abs_sum_f32(a, n);
	check_result(run, fabsl((long double)got - size) <= 12 * U32 * size, "abs_sum_f32 n %zu", n);
}

static void one_sum_f64(struct check_run *run, size_t n, enum place place) {
	double *a = guarded_place(&ga, n * 8, 8, place), *b = guarded_place(&gb, n * 8, 8, place);
	fill_f64(a, n, false);
	fill_f64(b, n, false);
	long double sum = 0, size = 0, dot = 0, dot_size = 0;
	for (size_t i = 0; i < n; i++) {
		sum += (long double)a[i];
		size += fabsl((long double)a[i]);
		dot += (long double)a[i] * (long double)b[i];
		dot_size += fabsl((long double)a[i] * (long double)b[i]);
	}
	/* the yardstick itself may be off by n 2^-64 */
	long double slack = (long double)n * 0x1p-64L;
	double got = run->k->reduce.sum_f64(a, n);
	check_result(run, fabsl((long double)got - sum) <= (14 * (long double)U64 + slack) * size, "sum_f64 n %zu", n);
	got = run->k->reduce.dot_f64(a, b, n);
	check_result(run, fabsl((long double)got - dot) <= (14 * (long double)U64 + slack) * dot_size, "dot_f64 n %zu", n);
	fill_f64(a, n, random_below(2) == 0);
	check_result(run, same_f64(run->k->reduce.max_f64(a, n), run->ref->reduce.max_f64(a, n)), "max_f64 n %zu", n);
	check_result(run, same_f64(run->k->reduce.min_f64(a, n), run->ref->reduce.min_f64(a, n)), "min_f64 n %zu", n);
}

static void one_integer_sum(struct check_run *run, size_t n, enum place place) {
	int8_t *a = guarded_place(&ga, n, 1, place);
	fill_bytes(a, n);
	if (random_below(4) == 0) memset(a, 0x80, n);
	check_result(run, run->k->reduce.sum_i8(a, n) == run->ref->reduce.sum_i8(a, n), "sum_i8 n %zu", n);
	int32_t *b = guarded_place(&ga, n * 4, 4, place);
	fill_bytes(b, n * 4);
	check_result(run, run->k->reduce.sum_i32(b, n) == run->ref->reduce.sum_i32(b, n), "sum_i32 n %zu", n);
	int64_t *c = guarded_place(&ga, n * 8, 8, place);
	fill_bytes(c, n * 8);
	check_result(run, run->k->reduce.sum_i64(c, n) == run->ref->reduce.sum_i64(c, n), "sum_i64 n %zu", n);
}

static void one_extreme(struct check_run *run, size_t n, enum place place) {
	float *a = guarded_place(&ga, n * 4, 4, place);
	fill_f32(a, n, false);
	for (size_t i = 0; i < n; i++) a[i] = (float)(int)(a[i] * 4); /* many ties: the first must win */
	if (random_below(3) == 0) fill_f32(a, n, true);
	if (random_below(8) == 0)
		for (size_t i = 0; i < n; i++) a[i] = -INFINITY;
	if (n > 0 && random_below(3) == 0) a[n - 1] = NAN;
	const struct hypi_reduce *k = &run->k->reduce, *r = &run->ref->reduce;
	check_result(run, same_f32(k->max_f32(a, n), r->max_f32(a, n)), "max_f32 n %zu", n);
	check_result(run, same_f32(k->min_f32(a, n), r->min_f32(a, n)), "min_f32 n %zu", n);
	check_result(run, k->argmax_f32(a, n) == r->argmax_f32(a, n), "argmax_f32 n %zu", n);
	check_result(run, k->argmin_f32(a, n) == r->argmin_f32(a, n), "argmin_f32 n %zu", n);
}

static void one_axis(struct check_run *run, size_t rows, size_t cols, size_t stride, bool specials) {
	static float want[MAX_N];
	const struct hypi_reduce *k = &run->k->reduce, *r = &run->ref->reduce;
	size_t bytes = rows == 0 ? 0 : ((rows - 1) * stride + cols) * 4;
	float *a = guarded_place(&ga, bytes, 4, PLACE_END);
	fill_f32(a, bytes / 4, specials);
	if (!specials) {
		double *t = guarded_place(&gd, cols * 8, 8, PLACE_END);
		for (size_t c = 0; c < cols; c++) t[c] = (double)c;
		k->add_axis0_f32(t, a, rows, cols, stride);
		bool ok = guarded_intact(&gd, t, cols * 8);
		for (size_t c = 0; c < cols; c++) {
			double sum = 0, size = 0;
			for (size_t i = 0; i < rows; i++) sum += (double)a[i * stride + c], size += fabs((double)a[i * stride + c]);
			ok = ok && fabs(t[c] - (double)c - sum) <= 12 * U32 * size + 1e-15 * (double)c;
		}
		check_result(run, ok, "add_axis0_f32 %zu x %zu stride %zu", rows, cols, stride);
	}
	float *d = guarded_place(&gd, cols * 4, 4, PLACE_END);
	k->max_axis0_f32(d, a, rows, cols, stride);
	r->max_axis0_f32(want, a, rows, cols, stride);
	bool ok = guarded_intact(&gd, d, cols * 4);
	for (size_t c = 0; c < cols; c++) ok = ok && same_f32(d[c], want[c]);
	k->min_axis0_f32(d, a, rows, cols, stride);
	r->min_axis0_f32(want, a, rows, cols, stride);
	ok = ok && guarded_intact(&gd, d, cols * 4);
	for (size_t c = 0; c < cols; c++) ok = ok && same_f32(d[c], want[c]);
	check_result(run, ok, "max/min_axis0_f32 %zu x %zu stride %zu", rows, cols, stride);

	d = guarded_place(&gd, rows * 4, 4, PLACE_END);
	k->max_axis1_f32(d, a, rows, cols, stride);
	r->max_axis1_f32(want, a, rows, cols, stride);
	ok = guarded_intact(&gd, d, rows * 4);
	for (size_t i = 0; i < rows; i++) ok = ok && same_f32(d[i], want[i]);
	k->min_axis1_f32(d, a, rows, cols, stride);
	r->min_axis1_f32(want, a, rows, cols, stride);
	for (size_t i = 0; i < rows; i++) ok = ok && same_f32(d[i], want[i]);
	k->sum_axis1_f32(d, a, rows, cols, stride);
	for (size_t i = 0; i < rows && !specials; i++) {
		double sum = 0, size = 0;
		for (size_t c = 0; c < cols; c++) sum += (double)a[i * stride + c], size += fabs((double)a[i * stride + c]);
		ok = ok && fabs((double)d[i] - sum) <= 12 * U32 * size + U32 * fabs(sum);
		float alone; /* the same alone as among others */
		k->sum_axis1_f32(&alone, a + i * stride, 1, cols, stride);
		ok = ok && same_f32(d[i], alone);
	}
	check_result(run, ok && guarded_intact(&gd, d, rows * 4), "axis1 %zu x %zu stride %zu", rows, cols, stride);
}

static void one_row(struct check_run *run, size_t n, enum place place) {
	float *a = guarded_place(&ga, n * 4, 4, place), *w = guarded_place(&gb, n * 4, 4, place);
	float *d = guarded_place(&gd, n * 4, 4, place);
	fill_f32(a, n, false);
	fill_f32(w, n, false);
	if (n > 1 && random_below(3) == 0) a[0] = -INFINITY;
	if (n > 1 && random_below(3) == 0) a[n - 1] = 1e4f;
	double most = -INFINITY, sum = 0, squares = 0;
	for (size_t i = 0; i < n; i++) most = fmax(most, (double)a[i]);
	for (size_t i = 0; i < n; i++) sum += exp((double)a[i] - most);
	run->k->reduce.softmax_f32(d, a, n);
	bool ok = guarded_intact(&gd, d, n * 4);
	for (size_t i = 0; i < n; i++) {
		double exact = exp((double)a[i] - most) / sum, distance = fabs((double)a[i] - most);
		ok = ok &&
		     (isinf(distance) ? d[i] == 0 : fabs((double)d[i] - exact) <= (16 + distance) * U32 * exact + 0x1p-148);
	}
	check_result(run, ok, "softmax_f32 n %zu", n);

	fill_f32(a, n, false);
	for (size_t i = 0; i < n; i++) squares += (double)a[i] * (double)a[i];
	bool weighted = random_below(2) == 0, in_place = random_below(2) == 0;
	float *out = in_place ? a : d;
	static float before[MAX_N];
	memcpy(before, a, n * 4);
	run->k->reduce.rms_norm_f32(out, a, weighted ? w : NULL, n, 1e-5f);
	ok = guarded_intact(in_place ? &ga : &gd, out, n * 4);
	for (size_t i = 0; i < n; i++) {
		double exact = (double)before[i] / sqrt(squares / (double)n + (double)1e-5f);
		if (weighted) exact *= (double)w[i];
		ok = ok && fabs((double)out[i] - exact) <= 16 * U32 * fabs(exact) + 0x1p-148;
	}
	check_result(run, ok, "rms_norm_f32 n %zu", n);
}

static void one_row_specials(struct check_run *run) {
	float a[40], d[40];
	fill_f32(a, 40, false);
	a[17] = NAN;
	run->k->reduce.softmax_f32(d, a, 40);
	check_result(run, isnan(d[0]) && isnan(d[39]), "softmax_f32 of a row with NaN is NaN");
	for (size_t i = 0; i < 40; i++) a[i] = -INFINITY;
	run->k->reduce.softmax_f32(d, a, 40);
	check_result(run, isnan(d[0]) && isnan(d[39]), "softmax_f32 of a row of -inf is NaN");
	fill_f32(a, 40, false);
	a[33] = INFINITY;
	check_result(run, run->k->reduce.sum_f32(a, 40) == INFINITY, "sum_f32 with inf is inf");
	a[2] = -INFINITY;
	check_result(run, isnan(run->k->reduce.sum_f32(a, 40)), "sum_f32 with inf and -inf is NaN");
	double b[40];
	fill_f64(b, 40, false);
	b[5] = INFINITY;
	check_result(run, run->k->reduce.sum_f64(b, 40) == INFINITY, "sum_f64 with inf is inf");
	check_result(run, run->k->reduce.dot_f64(b, b, 40) == INFINITY, "dot_f64 with inf is inf");
	check_result(run, run->k->reduce.argmax_f32(a, 0) == SIZE_MAX, "argmax_f32 of nothing");
}

/* Order independence: the same elements sorted up, sorted down and shuffled all keep the bound; long and one-sided. */
static int compare_floats(const void *a, const void *b) {
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}
static void long_sum(struct check_run *run) {
	size_t n = (size_t)1 << 22;
	float *a = malloc(n * 4);
	for (size_t i = 0; i < n; i++) a[i] = (float)ldexp(fabs(random_unit()), (int)random_below(20));
	for (int order = 0; order < 3; order++) {
		if (order == 1) qsort(a, n, 4, compare_floats);
		if (order == 2) {
			for (size_t i = 0; i < n / 2; i++) {
				float t = a[i];
				a[i] = a[n - 1 - i];
				a[n - 1 - i] = t;
			}
		}
		double exact = run->ref->reduce.sum_f32(a, n), got = run->k->reduce.sum_f32(a, n);
		check_result(run, fabs(got - exact) <= 12 * U32 * exact, "sum_f32 of 2^22, order %d: off by %g u", order,
		             fabs(got - exact) / exact / U32);
	}
	/* Long enough for streams: the first of several greatest is found wherever it lies. */
	for (int again = 0; again < 20; again++) {
		size_t m = n - random_below(1000), at = random_below(m);
		a[at] = 1e9f, a[at + random_below(m - at)] = again % 5 == 0 ? NAN : 1e9f;
		const struct hypi_reduce *k = &run->k->reduce, *r = &run->ref->reduce;
		check_result(run, k->argmax_f32(a, m) == r->argmax_f32(a, m), "argmax_f32 n %zu", m);
		check_result(run, k->argmin_f32(a, m) == r->argmin_f32(a, m), "argmin_f32 n %zu", m);
		check_result(run, same_f32(k->max_f32(a, m), r->max_f32(a, m)), "max_f32 n %zu", m);
		for (size_t i = 0; i < n; i++)
			if (!(a[i] < 1e9f)) a[i] = 1;
	}
	free(a);
}

void check_reduce(struct check_run *run) {
	guarded_init(&ga, (size_t)MAX_N * 8 + ((size_t)12 << 20));
	guarded_init(&gb, (size_t)MAX_N * 8);
	guarded_init(&gd, (size_t)MAX_N * 8);
	for (size_t s = 0; s < check_sizes_count + 2; s++) {
		size_t n = s < check_sizes_count ? check_sizes[s] : 8192 * (s - check_sizes_count + 1) + random_below(40000);
		for (enum place place = 0; place < PLACE_COUNT; place++) {
			one_sum(run, n, place);
			one_sum_f64(run, n, place);
			one_integer_sum(run, n, place);
			for (int again = 0; again < 3; again++) one_extreme(run, n, place);
			one_row(run, n, place);
		}
	}
	for (int again = 0; again < 60; again++) {
		size_t rows = random_below(50), cols = 1 + random_below(again < 30 ? 70 : 3000);
		one_axis(run, rows, cols, cols + random_below(9), again % 2 != 0);
	}
	/* Wider than a strip, and long enough that what comes next is fetched. */
	for (int specials = 0; specials < 2; specials++) {
		one_axis(run, 205, 11003, 11007, specials);
		one_axis(run, 21003, 105, 105, specials);
		one_axis(run, 17, 9001, 9001, specials);
	}
	one_axis(run, 0, 5, 5, false);
	one_axis(run, 5, 0, 5, false);
	one_row_specials(run);
	long_sum(run);
	guarded_fini(&ga);
	guarded_fini(&gb);
	guarded_fini(&gd);
}
