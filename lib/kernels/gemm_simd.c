/*
 * kernels/gemm_simd.c: float matrix products on vectors; compiled once for each set. gemm_body.h holds the code, for
 * f32 and then for f64; here are the register tiles. A tile of MR rows times two vectors of columns keeps 2 MR sums,
 * two vectors of B and one broadcast of A in registers: 12 rows fill AVX-512's and NEON's 32, 6 rows AVX2's 16.
 */
#include <math.h>

#include "kernels/vec.h"

#if VF_LANES == 8
#define TILE_MR 6
#define DOT_MR 3
#define DOT_NR 4
#else
#define TILE_MR 12
#define DOT_MR 6
#define DOT_NR 4
#endif
#define TILE_NV 2
#define HALVES (HYP_CPU_X86_64 && VF_LANES == 16)

#define ELEMENT float
#define LANES VF_LANES
#define V(name) HYPI_CAT(vf_, name)
#define T(name) HYPI_CAT(name, _f32)
#define VECTOR vf
#define HALF_VECTOR __m256
#include "kernels/gemm_body.h"
#undef ELEMENT
#undef LANES
#undef V
#undef T
#undef VECTOR
#undef HALF_VECTOR

#define ELEMENT double
#define LANES VD_LANES
#define V(name) HYPI_CAT(vd_, name)
#define T(name) HYPI_CAT(name, _f64)
#define VECTOR vd
#define HALF_VECTOR __m256d
#include "kernels/gemm_body.h"

void HYPI_FOR_SET(hypi_fill_gemm_)(struct hypi_gemm *g) {
	g->f32 = (struct hypi_gemm_impl){.mr = TILE_MR, .nr = TILE_NV * VF_LANES, .nt_nr = DOT_NR, .run = run_f32};
	g->f64 = (struct hypi_gemm_impl){.mr = TILE_MR, .nr = TILE_NV * VD_LANES, .nt_nr = DOT_NR, .run = run_f64};
}
