/*
 * kernels/elementwise_simd.c: the float element-wise kernels on vectors; compiled once for each set.
 *
 * Each kernel is a loop of four vectors, of one, and a last masked one, around one expression. Large results that
 * will not fit the caches are written past them (stream), which spares reading what is about to be overwritten.
 */
#include "kernels/elementwise.h"
#include "kernels/vec.h"
#include "kernels/vec_math.h"

#define vf_LANES VF_LANES
#define vd_LANES VD_LANES

/* Where D is the address that results go to: how many leading elements until it is aligned for stream stores, or
 * n if the result is small. */
#define STREAM_FROM_BYTES HYPI_LARGE_BYTES
#define STREAM_PIECE_BYTES ((size_t)2 << 10) /* of a piece of a large result: below that a fence costs too much */

static inline size_t plain_elements(const void *dst, size_t n, size_t element_bytes, size_t vector_bytes,
                                    size_t from_bytes) {
	if (HYP_LIKELY(n * element_bytes < from_bytes)) return n;
	size_t off = (uintptr_t)dst % vector_bytes;
	return off % element_bytes != 0 ? n : (vector_bytes - off) % vector_bytes / element_bytes;
}

/* The body of a kernel: out = expr, where LOAD_A and LOAD_B give vectors a and b at element i, whole or the first r. */
#define LOOP(V, type, load_a, load_b, load_a_n, load_b_n, fn) \
	LOOP_FROM(STREAM_FROM_BYTES, V, type, load_a, load_b, load_a_n, load_b_n, fn)
#define LOOP_FROM(from_bytes, V, type, load_a, load_b, load_a_n, load_b_n, fn) \
	size_t i = 0, plain = plain_elements(d, n, sizeof(type), sizeof(V), from_bytes); \
	if (HYP_UNLIKELY(plain < n)) { \
		if (plain > 0) { \
			size_t r = plain; \
			V##_store_n(d, fn(load_a_n, load_b_n), r); \
			i = plain; \
		} \
		for (; i + V##_LANES <= n; i += V##_LANES) V##_stream(d + i, fn(load_a, load_b)); \
		vec_fence(); \
	} \
	for (; i + 4 * V##_LANES <= n; i += V##_LANES) { \
		V r0 = fn(load_a, load_b); \
		V##_store(d + i, r0); \
		i += V##_LANES; \
		V r1 = fn(load_a, load_b); \
		V##_store(d + i, r1); \
		i += V##_LANES; \
		V r2 = fn(load_a, load_b); \
		V##_store(d + i, r2); \
		i += V##_LANES; \
		V r3 = fn(load_a, load_b); \
		V##_store(d + i, r3); \
	} \
	for (; i + V##_LANES <= n; i += V##_LANES) V##_store(d + i, fn(load_a, load_b)); \
	if (i < n) { \
		size_t r = n - i; \
		V##_store_n(d + i, fn(load_a_n, load_b_n), r); \
	}

#define BINARY(V, type, name, fn) \
	static void name##_vv(void *dst, const void *a, const void *b, size_t n) { \
		type *d = dst; \
		const type *p = a, *q = b; \
		LOOP(V, type, V##_load(p + i), V##_load(q + i), V##_load_n(p + i, r), V##_load_n(q + i, r), fn) \
	} \
	static void name##_vs(void *dst, const void *a, const void *b, size_t n) { \
		type *d = dst; \
		const type *p = a; \
		V y = V##_set1(*(const type *)b); \
		LOOP(V, type, V##_load(p + i), y, V##_load_n(p + i, r), y, fn) \
	} \
	static void name##_sv(void *dst, const void *a, const void *b, size_t n) { \
		type *d = dst; \
		const type *q = b; \
		V x = V##_set1(*(const type *)a); \
		LOOP(V, type, x, V##_load(q + i), x, V##_load_n(q + i, r), fn) \
	} \
	static void name##_piece_vv(void *dst, const void *a, const void *b, size_t n) { \
		type *d = dst; \
		const type *p = a, *q = b; \
		LOOP_FROM(STREAM_PIECE_BYTES, V, type, V##_load(p + i), V##_load(q + i), V##_load_n(p + i, r), \
		          V##_load_n(q + i, r), fn) \
	} \
	static void name##_piece_vs(void *dst, const void *a, const void *b, size_t n) { \
		type *d = dst; \
		const type *p = a; \
		V y = V##_set1(*(const type *)b); \
		LOOP_FROM(STREAM_PIECE_BYTES, V, type, V##_load(p + i), y, V##_load_n(p + i, r), y, fn) \
	}

#define UNARY(V, type, name, fn) \
	static inline V name##_1(V x, int unused) { \
		(void)unused; \
		return fn(x); \
	} \
	static void name(void *dst, const void *a, size_t n) { \
		type *d = dst; \
		const type *p = a; \
		LOOP(V, type, V##_load(p + i), 0, V##_load_n(p + i, r), 0, name##_1) \
	}

/* Comparisons store one byte a lane; the tail goes through a buffer of one vector. */
#define COMPARE_LOOP(V, M, load_a, load_b, load_a_n, load_b_n, fn) \
	size_t i = 0; \
	for (; i + V##_LANES <= n; i += V##_LANES) M##_store_bytes(dst + i, fn(load_a, load_b)); \
	if (i < n) { \
		size_t r = n - i; \
		uint8_t last[V##_LANES]; \
		M##_store_bytes(last, fn(load_a_n, load_b_n)); \
		memcpy(dst + i, last, r); \
	}

#define COMPARE(V, M, type, name, fn) \
	static void name##_vv(uint8_t *dst, const void *a, const void *b, size_t n) { \
		const type *p = a, *q = b; \
		COMPARE_LOOP(V, M, V##_load(p + i), V##_load(q + i), V##_load_n(p + i, r), V##_load_n(q + i, r), fn) \
	} \
	static void name##_vs(uint8_t *dst, const void *a, const void *b, size_t n) { \
		const type *p = a; \
		V y = V##_set1(*(const type *)b); \
		COMPARE_LOOP(V, M, V##_load(p + i), y, V##_load_n(p + i, r), y, fn) \
	} \
	static void name##_sv(uint8_t *dst, const void *a, const void *b, size_t n) { \
		const type *q = b; \
		V x = V##_set1(*(const type *)a); \
		COMPARE_LOOP(V, M, x, V##_load(q + i), x, V##_load_n(q + i, r), fn) \
	}

static inline vf relu_vf(vf x) { return vf_select(vf_le(x, vf_zero()), vf_zero(), x); }
static inline vd relu_vd(vd x) { return vd_select(vd_le(x, vd_zero()), vd_zero(), x); }

#define FLOAT_KERNELS(V, M, type, t) \
	BINARY(V, type, add_##t, V##_add) \
	BINARY(V, type, sub_##t, V##_sub) \
	BINARY(V, type, mul_##t, V##_mul) \
	BINARY(V, type, div_##t, V##_div) \
	BINARY(V, type, min_##t, V##_min) \
	BINARY(V, type, max_##t, V##_max) \
	COMPARE(V, M, type, eq_##t, V##_eq) \
	COMPARE(V, M, type, ne_##t, V##_ne) \
	COMPARE(V, M, type, lt_##t, V##_lt) \
	COMPARE(V, M, type, le_##t, V##_le) \
	COMPARE(V, M, type, gt_##t, V##_gt) \
	COMPARE(V, M, type, ge_##t, V##_ge) \
	UNARY(V, type, neg_##t, V##_neg) \
	UNARY(V, type, abs_##t, V##_abs) \
	UNARY(V, type, relu_##t, relu_##V) \
	UNARY(V, type, sqrt_##t, V##_sqrt)

FLOAT_KERNELS(vf, vm, float, f32)
FLOAT_KERNELS(vd, vdm, double, f64)
UNARY(vf, float, exp_f32, vf_exp)
UNARY(vf, float, log_f32, vf_log)
UNARY(vf, float, tanh_f32, vf_tanh)
UNARY(vf, float, sigmoid_f32, vf_sigmoid)
UNARY(vf, float, gelu_f32, vf_gelu)
UNARY(vf, float, gelu_tanh_f32, vf_gelu_tanh)
UNARY(vf, float, silu_f32, vf_silu)

/* a * s + b. The scalar is captured by the macro's fn. */
#define FMA_S(x, y) vf_fma(x, scale, y)
#define FMA_D(x, y) vd_fma(x, scale, y)
static void fma_f32(float *d, const float *a, float s, const float *b, size_t n) {
	vf scale = vf_set1(s);
	LOOP(vf, float, vf_load(a + i), vf_load(b + i), vf_load_n(a + i, r), vf_load_n(b + i, r), FMA_S)
}
static void fma_s_f32(float *d, const float *a, float s, float b, size_t n) {
	vf scale = vf_set1(s), y = vf_set1(b);
	LOOP(vf, float, vf_load(a + i), y, vf_load_n(a + i, r), y, FMA_S)
}
static void fma_f64(double *d, const double *a, double s, const double *b, size_t n) {
	vd scale = vd_set1(s);
	LOOP(vd, double, vd_load(a + i), vd_load(b + i), vd_load_n(a + i, r), vd_load_n(b + i, r), FMA_D)
}
static void fma_s_f64(double *d, const double *a, double s, double b, size_t n) {
	vd scale = vd_set1(s), y = vd_set1(b);
	LOOP(vd, double, vd_load(a + i), y, vd_load_n(a + i, r), y, FMA_D)
}

#define SET_PIECE(slot, name) ((slot)[HYPI_VV] = name##_piece_vv, (slot)[HYPI_VS] = name##_piece_vs)
#define SET_FLOAT(e, num, t) \
	do { \
		SET_NUMBER(e, num, t); \
		(e)->unary[num][HYPI_SQRT] = sqrt_##t; \
		SET_PIECE((e)->piece[num][HYPI_ADD], add_##t); \
		SET_PIECE((e)->piece[num][HYPI_SUB], sub_##t); \
		SET_PIECE((e)->piece[num][HYPI_MUL], mul_##t); \
		SET_PIECE((e)->piece[num][HYPI_DIV], div_##t); \
		SET_PIECE((e)->piece[num][HYPI_MIN], min_##t); \
		SET_PIECE((e)->piece[num][HYPI_MAX], max_##t); \
		(e)->fma_##t = fma_##t; \
		(e)->fma_s_##t = fma_s_##t; \
	} while (0)

void HYPI_FOR_SET(hypi_fill_elementwise_)(struct hypi_elementwise *e) {
	SET_FLOAT(e, HYPI_F32, f32);
	SET_FLOAT(e, HYPI_F64, f64);
	e->unary[HYPI_F32][HYPI_EXP] = exp_f32;
	e->unary[HYPI_F32][HYPI_LOG] = log_f32;
	e->unary[HYPI_F32][HYPI_TANH] = tanh_f32;
	e->unary[HYPI_F32][HYPI_SIGMOID] = sigmoid_f32;
	e->unary[HYPI_F32][HYPI_GELU] = gelu_f32;
	e->unary[HYPI_F32][HYPI_GELU_TANH] = gelu_tanh_f32;
	e->unary[HYPI_F32][HYPI_SILU] = silu_f32;
}
