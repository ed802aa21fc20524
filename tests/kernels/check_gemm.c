/* tests/kernels/check_gemm.c: matrix products of all shapes, transpositions and tilings against f64 sums. */
#include "check.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

static struct guarded ga, gb, gc, gs;

struct shape {
	size_t m, n, k, workers;
	bool trans_a, trans_b, f64;
	double alpha, beta;
	bool dense; /* rows follow each other without a gap: those of A fall into few sets of a cache */
};

static double at(const void *p, bool f64, size_t i) {
	return f64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

static void fill(void *p, size_t n, bool f64) {
	if (f64) {
		fill_unit_f64(p, n);
	} else {
		fill_unit_f32(p, n);
	}
}

static size_t extent(size_t rows, size_t cols, size_t ld) {
	return rows == 0 || cols == 0 ? 0 : (rows - 1) * ld + cols;
}

/* Every element within (K + 4) u sum|a b| of the exact sum, and no byte of C between or beyond its rows touched. */
static bool right(const struct hypi_gemm_plan *p, const void *before, const uint8_t *c_bytes) {
	size_t bytes = p->f64 ? 8 : 4;
	double u = p->f64 ? 0x1p-53 : 0x1p-24;
	for (size_t i = 0; i < p->m; i++) {
		for (size_t j = 0; j < p->n; j++) {
			double sum = 0, rest = 0, size = 0;
			for (size_t k = 0; k < p->k; k++) {
				double x = at(p->a, p->f64, p->trans_a ? k * p->lda + i : i * p->lda + k);
				double y = at(p->b, p->f64, p->trans_b ? j * p->ldb + k : k * p->ldb + j);
				double xy = x * y, next = sum + xy, part = next - sum;
				/* what this product and this addition rounded away (Knuth's two-sum) */
				rest += fma(x, y, -xy) + ((sum - (next - part)) + (xy - part));
				sum = next;
				size += fabs(x * y);
			}
			double c0 = p->beta != 0 ? p->beta * at(before, p->f64, i * p->ldc + j) : 0;
			double want = p->alpha * (sum + rest) + c0, got = at(p->c, p->f64, i * p->ldc + j);
			double bound = ((double)p->k + 4) * u * (fabs(p->alpha) * size + fabs(c0)) + DBL_MIN;
			if (!(fabs(got - want) <= bound)) return false;
		}
		if (i + 1 == p->m || p->n == 0) break;
		for (size_t b = (i * p->ldc + p->n) * bytes; b < (i + 1) * p->ldc * bytes; b++)
			if (c_bytes[b] != ((const uint8_t *)before)[b]) return false;
	}
	return true;
}

static void one(struct check_run *run, const struct shape *s) {
	size_t bytes = s->f64 ? 8 : 4;
	struct hypi_gemm_plan p = {.m = s->m,
	                           .n = s->n,
	                           .k = s->k,
	                           .trans_a = s->trans_a,
	                           .trans_b = s->trans_b,
	                           .f64 = s->f64,
	                           .alpha = s->alpha,
	                           .beta = s->beta};
	size_t gap = s->dense ? 1 : 5;
	p.lda = (s->trans_a ? s->m : s->k) + random_below(gap);
	p.ldb = (s->trans_b ? s->k : s->n) + random_below(gap);
	p.ldc = s->n + random_below(gap);
	size_t a_n = extent(s->trans_a ? s->k : s->m, s->trans_a ? s->m : s->k, p.lda);
	size_t b_n = extent(s->trans_b ? s->n : s->k, s->trans_b ? s->k : s->n, p.ldb), c_n = extent(s->m, s->n, p.ldc);
	void *a = guarded_place(&ga, a_n * bytes, bytes, PLACE_END), *b = guarded_place(&gb, b_n * bytes, bytes, PLACE_END);
	void *c = guarded_place(&gc, c_n * bytes, bytes, PLACE_END);
	fill(a, a_n, s->f64);
	fill(b, b_n, s->f64);
	fill(c, c_n, s->f64);
	if (s->beta == 0) memset(c, 0xff, c_n * bytes); /* NaN, which must not be read */
	p.a = a, p.b = b, p.c = c;
	void *before = malloc(c_n * bytes + 1);
	memcpy(before, c, c_n * bytes);
	hypi_gemm_plan_init(&p, &run->k->gemm, s->workers);
	void *scratch = NULL;
	bool ok = true;
	if (p.scratch_bytes > 0) {
		size_t rounded = (p.scratch_bytes + 63) / 64 * 64;
		scratch = guarded_place(&gs, rounded, 64, PLACE_END);
	}
	/* Tiles last to first, one by one or in pairs: the order must not matter. */
	for (size_t t = p.tiles; t > 0;) {
		size_t from = t > 1 && random_below(2) == 0 ? t - 2 : t - 1;
		hypi_gemm_run(&p, &run->k->gemm, from, t, scratch);
		t = from;
	}
	if (scratch != NULL) ok = guarded_intact(&gs, scratch, (p.scratch_bytes + 63) / 64 * 64);
	ok = ok && guarded_intact(&gc, c, c_n * bytes) && right(&p, before, c);
	free(before);
	check_result(run, ok, "gemm %s %c%c %zu x %zu x %zu, workers %zu, alpha %g beta %g, path %d, pack_a %d",
	             s->f64 ? "f64" : "f32", s->trans_a ? 'T' : 'N', s->trans_b ? 'T' : 'N', s->m, s->n, s->k, s->workers,
	             s->alpha, s->beta, p.path, p.pack_a);
}

static size_t pick_size(void) {
	size_t pick = random_below(10);
	return pick < 2 ? random_below(4) : pick < 7 ? 1 + random_below(40) : 1 + random_below(130);
}

void check_gemm(struct check_run *run) {
	static const double factor[] = {1, 0, -0.5, 2};
	guarded_init(&ga, (size_t)8 << 20);
	guarded_init(&gb, (size_t)8 << 20);
	guarded_init(&gc, (size_t)4 << 20);
	guarded_init(&gs, (size_t)16 << 20);
	for (int again = 0; again < 1200; again++) {
		struct shape s = {.m = pick_size(),
		                  .n = pick_size(),
		                  .k = pick_size(),
		                  .workers = 1 + random_below(4),
		                  .trans_a = random_below(2),
		                  .trans_b = random_below(2),
		                  .f64 = random_below(3) == 0};
		s.alpha = again % 2 ? 1 : factor[random_below(4)];
		s.beta = factor[random_below(4)];
		one(run, &s);
	}
	/* Each path with its blocks crossed in every dimension. */
	static const struct shape large[] = {
		{200, 270, 800, 1, false, false, false, 1, 0, false}, {200, 270, 800, 2, true, false, false, 1, 1, false},
		{150, 70, 1024, 1, false, false, false, 1, 0, false}, {150, 270, 512, 3, true, true, false, 1, 0, false},
		{32, 333, 2100, 1, false, true, false, 1, 0, false},  {13, 333, 1100, 2, false, true, false, 2, 1, false},
		{128, 520, 1030, 2, false, true, false, 1, 0, false}, {1, 1000, 300, 3, false, false, false, 1, 0, false},
		{1, 1000, 300, 2, true, true, false, 1, 2, false},    {1000, 1, 300, 2, false, false, false, 1, 0, false},
		{1000, 1, 300, 2, true, false, false, 1, 0, false},   {1000, 1, 300, 2, true, true, false, 2, 1, false},
		{20, 1100, 100, 1, false, false, false, 1, 0, false}, {100, 270, 500, 2, false, true, true, 1, 1, false},
		{40, 1100, 100, 2, true, false, true, 1, 0, false},   {1, 500, 700, 2, false, true, true, 1, 0, false},
		{37, 288, 1024, 1, false, false, false, 2, 1, true},  {47, 300, 512, 2, false, true, true, 1, 0, true},
		{64, 64, 64, 1, false, false, false, 1, 0, true},     {50, 48, 1100, 1, false, false, true, -0.5, 1, false},
	};
	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) one(run, &large[i]);
	guarded_fini(&ga);
	guarded_fini(&gb);
	guarded_fini(&gc);
	guarded_fini(&gs);
}
