/*
 * kernels/gemm_ref.c: matrix products by the definition, one element after the other, f32 in f64 accumulators. Honours
 * the plan's tiles and ignores its path.
 */
#include "kernels/fill.h"

#define DEFINE_RUN(name, type) \
	static void name##_tile(const struct hypi_gemm_plan *p, size_t i0, size_t i1, size_t j0, size_t j1) { \
		const type *a = p->a, *b = p->b; \
		type *c = p->c; \
		size_t a_row = p->trans_a ? 1 : p->lda, a_col = p->trans_a ? p->lda : 1; \
		size_t b_row = p->trans_b ? 1 : p->ldb, b_col = p->trans_b ? p->ldb : 1; \
		for (size_t i = i0; i < i1; i++) { \
			for (size_t j = j0; j < j1; j++) { \
				double s = 0; \
				for (size_t k = 0; k < p->k; k++) \
					s += (double)a[i * a_row + k * a_col] * (double)b[k * b_row + j * b_col]; \
				s *= p->alpha; \
				if (p->beta != 0) s += p->beta * (double)c[i * p->ldc + j]; \
				c[i * p->ldc + j] = (type)s; \
			} \
		} \
	} \
	static void name(const struct hypi_gemm_plan *p, size_t tile_begin, size_t tile_end, void *scratch) { \
		(void)scratch; \
		for (size_t t = tile_begin; t < tile_end; t++) { \
			size_t i0 = t / p->tiles_n * p->tile_m, j0 = t % p->tiles_n * p->tile_n; \
			size_t i1 = p->m - i0 < p->tile_m ? p->m : i0 + p->tile_m; \
			size_t j1 = p->n - j0 < p->tile_n ? p->n : j0 + p->tile_n; \
			name##_tile(p, i0, i1, j0, j1); \
		} \
	}

DEFINE_RUN(run_f32, float)
DEFINE_RUN(run_f64, double)

void hypi_fill_gemm_ref(struct hypi_gemm *g) {
	g->f32 = (struct hypi_gemm_impl){.mr = 8, .nr = 8, .nt_nr = 0, .run = run_f32};
	g->f64 = (struct hypi_gemm_impl){.mr = 8, .nr = 8, .nt_nr = 0, .run = run_f64};
}
