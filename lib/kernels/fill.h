/*
 * kernels/fill.h: the rungs of the ladder. Each function overwrites the pointers that its file does better. Only
 * dispatch.c calls them; each set's are compiled with that set's flags, so nothing else may be called unasked.
 */
#ifndef HYPI_KERNELS_FILL_H
#define HYPI_KERNELS_FILL_H

#include "kernels/kernels.h"

#define HYPI_FILL_DECLARE(set) \
	void hypi_fill_elementwise_##set(struct hypi_elementwise *e); \
	void hypi_fill_integer_##set(struct hypi_elementwise *e); \
	void hypi_fill_reduce_##set(struct hypi_reduce *r); \
	void hypi_fill_convert_##set(struct hypi_convert *c); \
	void hypi_fill_num_##set(struct hypi_convert *c); \
	void hypi_fill_gemm_##set(struct hypi_gemm *g); \
	void hypi_fill_ternary_##set(struct hypi_ternary *t); \
	void hypi_fill_block_##set(struct hypi_block_ops *b); \
	void hypi_fill_probe_##set(struct hypi_probe *p);

HYPI_FILL_DECLARE(ref)
HYPI_FILL_DECLARE(avx2)
HYPI_FILL_DECLARE(avx512)
HYPI_FILL_DECLARE(avx512vnni)
HYPI_FILL_DECLARE(neon)
HYPI_FILL_DECLARE(dotprod)
HYPI_FILL_DECLARE(i8mm)

/* Shared between families of one set. */
double hypi_abs_sum_f32_avx2(const float *a, size_t n);
double hypi_abs_sum_f32_avx512(const float *a, size_t n);
double hypi_abs_sum_f32_neon(const float *a, size_t n);

/* A set's source files are shared: the build compiles them once a set, with HYPI_SET naming it. */
#define HYPI_CAT_(a, b) a##b
#define HYPI_CAT(a, b) HYPI_CAT_(a, b)
#define HYPI_FOR_SET(name) HYPI_CAT(name, HYPI_SET)

#endif
