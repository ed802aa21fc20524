/* tests/kernels/check_elementwise.c: every element-wise kernel of every set against the reference. */
#include "check.h"

#include <math.h>
#include <stdlib.h>

#define MAX_N 5003
static struct guarded ga, gb, gd;

static const char *const num_name[] = {"f32", "f64", "i8", "i16", "i32", "i64", "u8"};
static const char *const binary_name[] = {"add", "sub", "mul", "div", "min", "max"};
static const char *const form_name[] = {"vv", "vs", "sv"};
static const char *const compare_name[] = {"eq", "ne", "lt", "le", "gt", "ge"};
static const char *const unary_name[] = {"neg",  "abs",     "relu", "sqrt",      "exp", "log",
                                         "tanh", "sigmoid", "gelu", "gelu_tanh", "silu"};

static void fill_num(void *p, size_t n, enum hypi_num num) {
	if (num == HYPI_F32) {
		fill_f32(p, n, true);
	} else if (num == HYPI_F64) {
		fill_f64(p, n, true);
	} else {
		fill_bytes(p, n * hypi_num_bytes[num]);
		uint8_t *b = p;
		/* Zeros, ones of all signs and extremes are what goes wrong in division. */
		for (size_t i = 0; i < n; i++) {
			size_t pick = random_below(8);
			if (pick < 2) memset(b + i * hypi_num_bytes[num], pick == 0 ? 0 : 0xff, hypi_num_bytes[num]);
			if (pick == 2 && num != HYPI_U8) {
				memset(b + i * hypi_num_bytes[num], 0, hypi_num_bytes[num]);
				b[(i + 1) * hypi_num_bytes[num] - 1] = 0x80;
			}
		}
	}
}

static size_t first_difference(const void *got, const void *want, size_t n, enum hypi_num num) {
	size_t bytes = hypi_num_bytes[num];
	for (size_t i = 0; i < n; i++) {
		bool same;
		if (num == HYPI_F32) {
			same = same_f32(((const float *)got)[i], ((const float *)want)[i]);
		} else if (num == HYPI_F64) {
			same = same_f64(((const double *)got)[i], ((const double *)want)[i]);
		} else {
			same = memcmp((const char *)got + i * bytes, (const char *)want + i * bytes, bytes) == 0;
		}
		if (!same) return i;
	}
	return n;
}

static void one_binary(struct check_run *run, enum hypi_num num, int op, int form, size_t n, enum place place) {
	static uint8_t want[MAX_N * 8];
	size_t bytes = hypi_num_bytes[num];
	size_t na = form == HYPI_SV ? 1 : n, nb = form == HYPI_VS ? 1 : n;
	void *a = guarded_place(&ga, na * bytes, bytes, place), *b = guarded_place(&gb, nb * bytes, bytes, place);
	fill_num(a, na, num);
	fill_num(b, nb, num);
	run->ref->elementwise.binary[num][op][form](want, a, b, n);
	bool in_place = form != HYPI_SV && random_below(3) == 0;
	void *d = in_place ? a : guarded_place(&gd, n * bytes, bytes, place);
	hypi_binary_fn *fn = run->k->elementwise.piece[num][op][form];
	if (fn == NULL || random_below(2) == 0) fn = run->k->elementwise.binary[num][op][form];
	fn(d, a, b, n);
	size_t at = first_difference(d, want, n, num);
	check_result(run, at == n && guarded_intact(in_place ? &ga : &gd, d, n * bytes), "%s_%s_%s n %zu element %zu%s",
	             binary_name[op], num_name[num], form_name[form], n, at, in_place ? " in place" : "");
}

static void one_compare(struct check_run *run, enum hypi_num num, int op, int form, size_t n, enum place place) {
	static uint8_t want[MAX_N];
	size_t bytes = hypi_num_bytes[num];
	size_t na = form == HYPI_SV ? 1 : n, nb = form == HYPI_VS ? 1 : n;
	void *a = guarded_place(&ga, na * bytes, bytes, place), *b = guarded_place(&gb, nb * bytes, bytes, place);
	fill_num(a, na, num);
	fill_num(b, nb, num);
	if (na == nb) memcpy(a, b, n / 2 * bytes);
	uint8_t *d = guarded_place(&gd, n, 1, place);
	run->ref->elementwise.compare[num][op][form](want, a, b, n);
	run->k->elementwise.compare[num][op][form](d, a, b, n);
	check_result(run, memcmp(d, want, n) == 0 && guarded_intact(&gd, d, n), "%s_%s_%s n %zu", compare_name[op],
	             num_name[num], form_name[form], n);
}

static double exact_unary(int op, double x) {
	switch (op) {
	case HYPI_EXP: return exp(x);
	case HYPI_LOG: return log(x);
	case HYPI_TANH: return tanh(x);
	case HYPI_SIGMOID: return 1 / (1 + exp(-x));
	case HYPI_GELU: return 0.5 * x * erfc(-x * 0.70710678118654752440);
	case HYPI_GELU_TANH: return 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
	default: return x / (1 + exp(-x));
	}
}

/* The bounds of kernels.h. */
static bool close_unary(int op, float x, float got) {
	double exact = exact_unary(op, (double)x);
	if (op == HYPI_GELU || op == HYPI_GELU_TANH) {
		if (!isfinite(exact) || !isfinite(got)) return same_f32(got, (float)exact);
		return fabs((double)got - exact) <= 1e-6 * fabs((double)x) + 1e-44;
	}
	if (op == HYPI_SILU && fabs((double)got - exact) <= fabs((double)x) * 0x1p-149) return true;
	return ulps_f32(got, exact) <= (op == HYPI_SILU ? 6 : 4);
}

static void one_unary(struct check_run *run, enum hypi_num num, int op, size_t n, enum place place) {
	static uint8_t want[MAX_N * 8];
	size_t bytes = hypi_num_bytes[num];
	void *a = guarded_place(&ga, n * bytes, bytes, place), *d = guarded_place(&gd, n * bytes, bytes, place);
	fill_num(a, n, num);
	run->k->elementwise.unary[num][op](d, a, n);
	size_t at;
	if (num == HYPI_F32 && op >= HYPI_EXP) {
		for (at = 0; at < n && close_unary(op, ((float *)a)[at], ((float *)d)[at]); at++) {
		}
	} else {
		run->ref->elementwise.unary[num][op](want, a, n);
		at = first_difference(d, want, n, num);
	}
	check_result(run, at == n && guarded_intact(&gd, d, n * bytes), "%s_%s n %zu element %zu: %g gives %g",
	             unary_name[op], num_name[num], n, at, num == HYPI_F32 && at < n ? (double)((float *)a)[at] : 0,
	             num == HYPI_F32 && at < n ? (double)((float *)d)[at] : 0);
}

static void fma_pair(struct check_run *run, size_t n, enum place place) {
	static float want_f[MAX_N];
	static double want_d[MAX_N];
	float *a = guarded_place(&ga, n * 4, 4, place), *b = guarded_place(&gb, n * 4, 4, place), s[2];
	float *d = guarded_place(&gd, n * 4, 4, place);
	fill_f32(a, n, true);
	fill_f32(b, n, true);
	fill_f32(s, 2, false);
	run->ref->elementwise.fma_f32(want_f, a, s[0], b, n);
	run->k->elementwise.fma_f32(d, a, s[0], b, n);
	check_result(run, first_difference(d, want_f, n, HYPI_F32) == n && guarded_intact(&gd, d, n * 4), "fma_f32 n %zu",
	             n);
	run->ref->elementwise.fma_s_f32(want_f, a, s[0], s[1], n);
	run->k->elementwise.fma_s_f32(d, a, s[0], s[1], n);
	check_result(run, first_difference(d, want_f, n, HYPI_F32) == n && guarded_intact(&gd, d, n * 4), "fma_s_f32 n %zu",
	             n);
	double *p = guarded_place(&ga, n * 8, 8, place), *q = guarded_place(&gb, n * 8, 8, place);
	double *e = guarded_place(&gd, n * 8, 8, place);
	fill_f64(p, n, true);
	fill_f64(q, n, true);
	run->ref->elementwise.fma_f64(want_d, p, (double)s[0], q, n);
	run->k->elementwise.fma_f64(e, p, (double)s[0], q, n);
	check_result(run, first_difference(e, want_d, n, HYPI_F64) == n && guarded_intact(&gd, e, n * 8), "fma_f64 n %zu",
	             n);
	run->ref->elementwise.fma_s_f64(want_d, p, (double)s[0], (double)s[1], n);
	run->k->elementwise.fma_s_f64(e, p, (double)s[0], (double)s[1], n);
	check_result(run, first_difference(e, want_d, n, HYPI_F64) == n && guarded_intact(&gd, e, n * 8), "fma_s_f64 n %zu",
	             n);
}

/* Every 2^12th float of all 2^32 through the transcendental kernels. */
static void sweep_unary(struct check_run *run, int op) {
	float x[1024], y[1024];
	uint32_t bits = (uint32_t)random_below(4096);
	for (size_t block = 0; block < 1024; block++) {
		for (size_t i = 0; i < 1024; i++) {
			memcpy(&x[i], &bits, 4);
			bits += 4096;
		}
		run->k->elementwise.unary[HYPI_F32][op](y, x, 1024);
		size_t at = 0;
		while (at < 1024 && close_unary(op, x[at], y[at])) at++;
		check_result(run, at == 1024, "%s_f32 of %a: %a, exactly %a", unary_name[op], (double)x[at % 1024],
		             (double)y[at % 1024], exact_unary(op, (double)x[at % 1024]));
	}
}

/* Results past the streaming threshold, at an odd address. */
static void large(struct check_run *run) {
	size_t n = (size_t)(17 << 20) / 4 + 5;
	float *a = malloc((n + 1) * 4), *d = malloc((n + 8) * 4);
	for (size_t i = 0; i < n; i++) a[i] = (float)(i % 1000003);
	memset(d, GUARD_CANARY, (n + 8) * 4);
	float s = 0.5f, canary = d[0];
	run->k->elementwise.binary[HYPI_F32][HYPI_ADD][HYPI_VS](d + 3, a, &s, n);
	size_t at = 0;
	while (at < n && d[3 + at] == a[at] + s) at++;
	check_result(run, at == n && d[2] == canary && d[n + 3] == canary, "add_f32_vs n %zu element %zu", n, at);
	free(a);
	free(d);
}

void check_elementwise(struct check_run *run) {
	guarded_init(&ga, MAX_N * 8);
	guarded_init(&gb, MAX_N * 8);
	guarded_init(&gd, MAX_N * 8);
	for (size_t s = 0; s < check_sizes_count; s++) {
		for (enum place place = 0; place < PLACE_COUNT; place++) {
			size_t n = check_sizes[s];
			for (enum hypi_num num = 0; num < HYPI_NUM_COUNT; num++) {
				for (int form = 0; form < HYPI_FORM_COUNT; form++) {
					for (int op = 0; op < HYPI_BINARY_COUNT; op++) one_binary(run, num, op, form, n, place);
					for (int op = 0; op < HYPI_COMPARE_COUNT; op++) one_compare(run, num, op, form, n, place);
				}
				for (int op = 0; op < HYPI_UNARY_COUNT; op++)
					if (run->ref->elementwise.unary[num][op] != NULL) one_unary(run, num, op, n, place);
			}
			fma_pair(run, n, place);
		}
	}
	for (int op = HYPI_EXP; op < HYPI_UNARY_COUNT; op++) sweep_unary(run, op);
	large(run);
	guarded_fini(&ga);
	guarded_fini(&gb);
	guarded_fini(&gd);
}
