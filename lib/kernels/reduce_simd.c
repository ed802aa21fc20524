/*
 * kernels/reduce_simd.c: reductions on vectors; compiled once for each set.
 *
 * Sums run in blocks of 8 accumulators times 8 vectors. Within a block each accumulator is a chain of 8 additions in
 * the type's own precision; a tree of 3 more joins them, and the joined vector goes into f64 (f32 input) or into a
 * compensated pair (f64 input). Hence 8 + 3 roundings of f32 for any length, and the bound of kernels.h; and the
 * conversions and compensation cost one step in 64. A last block of f32 has fewer steps; what is left over is a chain
 * shorter than a block's, into f64.
 *
 * What is long is read as eight streams far apart: main memory gives a quarter more to eight streams than to one
 * (perf/results, docs/design/kernels.md), and a cache no less.
 */
#include <math.h>

#include "kernels/vec.h"
#include "kernels/vec_math.h"

#define CHAINS 8
#define CHAIN_STEPS 8
#define STREAM_LENGTH ((size_t)1 << 15) /* elements of each of eight streams: together a chunk of tensor/reduce.c's */
#define BLOCK_F64 ((size_t)CHAINS * CHAIN_STEPS * VD_LANES)

struct sum_f32 {
	vd low, high; /* totals of the lower and upper lanes */
};

static inline void add_to_sum(struct sum_f32 *s, vf v) {
	s->low = vd_add(s->low, vd_from_low(v));
	s->high = vd_add(s->high, vd_from_high(v));
}

static inline double total_f32(const struct sum_f32 *s) { return vd_hsum(vd_add(s->low, s->high)); }

/* A load that the compiler neither folds into the addition nor moves past the next one: memory is read in its order,
 * which is worth a few percent where it comes from far. And where a vector is a whole cache line, the line is touched
 * twice: from memory, lines that are loaded once each come a tenth slower (docs/design/kernels.md). */
static inline vf load_in_order(const float *p) {
#if HYP_CPU_X86_64
#if HYPI_VEC_BITS == 512
	float first = *p;
	__asm__ volatile("" : : "x"(first));
#endif
	vf x = vf_load(p);
	__asm__ volatile("" : "+v"(x));
	return x;
#else
	return vf_load(p);
#endif
}

/* One term of each kind of sum, added to an accumulator: whole vectors, or the first n lanes. */
#define PLAIN(acc, i) vf_add(acc, load_in_order(a + (i)))
#define PLAIN_N(i, n) vf_load_n(a + (i), n)
#define ABSOLUTE(acc, i) vf_add(acc, vf_abs(vf_load(a + (i))))
#define ABSOLUTE_N(i, n) vf_abs(vf_load_n(a + (i), n))
#define PRODUCT(acc, i) vf_fma(vf_load(a + (i)), vf_load(b + (i)), acc)
#define PRODUCT_N(i, n) vf_mul(vf_load_n(a + (i), n), vf_load_n(b + (i), n))

/* One block at i: CHAINS streams that lie `apart`, each of which goes on by `along` a step. */
#define SUM_BLOCK_F32(step, i, steps, apart, along) \
	do { \
		vf acc[CHAINS]; \
		HYP_UNROLL \
		for (size_t c = 0; c < CHAINS; c++) acc[c] = vf_zero(); \
		for (size_t s = 0; s < (steps); s++) { \
			HYP_UNROLL \
			for (size_t c = 0; c < CHAINS; c++) acc[c] = step(acc[c], (i) + s * (along) + c * (apart)); \
		} \
		vf ab = vf_add(vf_add(acc[0], acc[1]), vf_add(acc[2], acc[3])); \
		vf cd = vf_add(vf_add(acc[4], acc[5]), vf_add(acc[6], acc[7])); \
		add_to_sum(&total, vf_add(ab, cd)); \
	} while (0)

#define BLOCKED_SUM_F32(step, last, streams_from) \
	struct sum_f32 total = {vd_zero(), vd_zero()}; \
	size_t i = 0; \
	for (; n >= (streams_from) && n - i >= CHAINS * STREAM_LENGTH; i += CHAINS * STREAM_LENGTH) { \
		for (size_t at = 0; at < STREAM_LENGTH; at += CHAIN_STEPS * VF_LANES) \
			SUM_BLOCK_F32(step, i + at, CHAIN_STEPS, STREAM_LENGTH, VF_LANES); \
	} \
	while (n - i >= CHAINS * VF_LANES) { \
		size_t left = (n - i) / (CHAINS * VF_LANES), steps = left < CHAIN_STEPS ? left : CHAIN_STEPS; \
		SUM_BLOCK_F32(step, i, steps, VF_LANES, CHAINS *VF_LANES); \
		i += steps * CHAINS * VF_LANES; \
	} \
	for (; i + 4 * VF_LANES <= n; i += 4 * VF_LANES) { \
		vf p = step(vf_zero(), i), q = step(vf_zero(), i + VF_LANES); \
		add_to_sum(&total, vf_add(step(p, i + 2 * VF_LANES), step(q, i + 3 * VF_LANES))); \
	} \
	for (; i + VF_LANES <= n; i += VF_LANES) add_to_sum(&total, step(vf_zero(), i)); \
	if (i < n) add_to_sum(&total, last(i, n - i)); \
	return total_f32(&total);

static double sum_f32(const float *a, size_t n) { BLOCKED_SUM_F32(PLAIN, PLAIN_N, CHAINS * STREAM_LENGTH) }
double HYPI_FOR_SET(hypi_abs_sum_f32_)(const float *a, size_t n) {
	BLOCKED_SUM_F32(ABSOLUTE, ABSOLUTE_N, HYPI_LARGE_BYTES / sizeof(float))
}
static double dot_f32(const float *a, const float *b, size_t n) {
	BLOCKED_SUM_F32(PRODUCT, PRODUCT_N, CHAINS * STREAM_LENGTH)
}

/* Both sums in one pass: chains of 8 in f32, four of each, joined as above. */
static void moments_f32(const float *a, size_t n, float shift, double *ret_sum, double *ret_square) {
	const vf by = vf_set1(shift);
	struct sum_f32 sum = {vd_zero(), vd_zero()}, square = sum;
	size_t i = 0;
	while (n - i >= 4 * VF_LANES) {
		size_t left = (n - i) / (4 * VF_LANES), steps = left < CHAIN_STEPS ? left : CHAIN_STEPS;
		vf s[4], q[4];
		HYP_UNROLL
		for (size_t c = 0; c < 4; c++) s[c] = q[c] = vf_zero();
		for (size_t end = i + steps * 4 * VF_LANES; i < end; i += 4 * VF_LANES) {
			HYP_UNROLL
			for (size_t c = 0; c < 4; c++) {
				vf d = vf_sub(load_in_order(a + i + c * VF_LANES), by);
				s[c] = vf_add(s[c], d);
				q[c] = vf_fma(d, d, q[c]);
			}
		}
		add_to_sum(&sum, vf_add(vf_add(s[0], s[1]), vf_add(s[2], s[3])));
		add_to_sum(&square, vf_add(vf_add(q[0], q[1]), vf_add(q[2], q[3])));
	}
	*ret_sum = total_f32(&sum);
	*ret_square = total_f32(&square);
	for (; i < n; i++) {
		float d = a[i] - shift;
		*ret_sum += (double)d;
		*ret_square += (double)d * (double)d;
	}
}

/* f64: lane totals s with their rounding errors c (Knuth's two-sum, branch-free). */
struct sum_f64 {
	vd s, c;
};

static inline void compensated_add(struct sum_f64 *t, vd x) {
	vd sum = vd_add(t->s, x), x_part = vd_sub(sum, t->s);
	vd error = vd_add(vd_sub(t->s, vd_sub(sum, x_part)), vd_sub(x, x_part));
	t->c = vd_add(t->c, error);
	t->s = sum;
}

static inline double total_f64(const struct sum_f64 *t) {
	double s[VD_LANES], c[VD_LANES], sum = 0, error = 0;
	vd_store(s, t->s);
	vd_store(c, t->c);
	for (size_t i = 0; i < VD_LANES; i++) {
		double next = sum + s[i], part = next - sum;
		error += (sum - (next - part)) + (s[i] - part) + c[i];
		sum = next;
	}
	/* Infinity makes every error NaN; the plain sum is then the answer. */
	return isfinite(sum) ? sum + error : sum;
}

#define PLAIN_D(acc, i) vd_add(acc, vd_load(a + (i)))
#define PLAIN_D_N(i, n) vd_load_n(a + (i), n)
#define PRODUCT_D(acc, i) vd_fma(vd_load(a + (i)), vd_load(b + (i)), acc)
#define PRODUCT_D_N(i, n) vd_mul(vd_load_n(a + (i), n), vd_load_n(b + (i), n))

#define BLOCKED_SUM_F64(step, last) \
	struct sum_f64 total = {vd_zero(), vd_zero()}; \
	size_t i = 0; \
	for (; i + BLOCK_F64 <= n; i += BLOCK_F64) { \
		vd acc[CHAINS]; \
		HYP_UNROLL \
		for (size_t c = 0; c < CHAINS; c++) acc[c] = vd_zero(); \
		for (size_t s = 0; s < CHAIN_STEPS; s++) { \
			HYP_UNROLL \
			for (size_t c = 0; c < CHAINS; c++) acc[c] = step(acc[c], i + (s * CHAINS + c) * VD_LANES); \
		} \
		vd ab = vd_add(vd_add(acc[0], acc[1]), vd_add(acc[2], acc[3])); \
		vd cd = vd_add(vd_add(acc[4], acc[5]), vd_add(acc[6], acc[7])); \
		compensated_add(&total, vd_add(ab, cd)); \
	} \
	for (; i + VD_LANES <= n; i += VD_LANES) compensated_add(&total, step(vd_zero(), i)); \
	if (i < n) compensated_add(&total, last(i, n - i)); \
	return total_f64(&total);

static double sum_f64(const double *a, size_t n) { BLOCKED_SUM_F64(PLAIN_D, PLAIN_D_N) }
static double dot_f64(const double *a, const double *b, size_t n){BLOCKED_SUM_F64(PRODUCT_D, PRODUCT_D_N)}

/* ---- Extremes ------------------------------------------------------------------------------------------------------
 * The cheap maximum may lose a NaN, so a mask watches for them: one unordered comparison for each two vectors. */

#define EXTREME_STEP(any, i, apart) \
	do { \
		HYP_UNROLL \
		for (size_t c = 0; c < 8; c += 2) { \
			vf x = vf_load(a + (i) + c * (apart)), y = vf_load(a + (i) + (c + 1) * (apart)); \
			nan = vm_or(nan, vf_unordered(x, y)); \
			m[c] = any(m[c], x); \
			m[c + 1] = any(m[c + 1], y); \
		} \
	} while (0)

#define EXTREME_F32(name, any, start, h) \
	static float name(const float *a, size_t n) { \
		const vf first = vf_set1(start); \
		vf m[8]; \
		HYP_UNROLL \
		for (size_t c = 0; c < 8; c++) m[c] = first; \
		size_t i = 0; \
		vm nan = vf_ne(first, first); \
		for (; n - i >= 8 * STREAM_LENGTH; i += 8 * STREAM_LENGTH) \
			for (size_t at = i; at < i + STREAM_LENGTH; at += VF_LANES) EXTREME_STEP(any, at, STREAM_LENGTH); \
		for (; i + 8 * VF_LANES <= n; i += 8 * VF_LANES) EXTREME_STEP(any, i, VF_LANES); \
		for (; i < n; i += VF_LANES) { \
			size_t r = n - i < VF_LANES ? n - i : VF_LANES; \
			float buffer[VF_LANES]; \
			vf_store(buffer, first); \
			memcpy(buffer, a + i, r * sizeof(float)); \
			vf x = vf_load(buffer); \
			nan = vm_or(nan, vf_unordered(x, x)); \
			m[0] = any(m[0], x); \
		} \
		if (vm_any(nan)) return __builtin_nanf(""); \
		vf p = any(any(m[0], m[1]), any(m[2], m[3])), q = any(any(m[4], m[5]), any(m[6], m[7])); \
		return h(any(p, q)); \
	}
EXTREME_F32(max_f32, vf_max_any, -__builtin_inff(), vf_hmax_any)
	EXTREME_F32(min_f32, vf_min_any, __builtin_inff(), vf_hmin_any)

#define EXTREME_F64(name, V_OP, start, op) \
	static double name(const double *a, size_t n) { \
		vd m0 = vd_set1(start), m1 = m0, m2 = m0, m3 = m0; \
		size_t i = 0; \
		for (; i + 4 * VD_LANES <= n; i += 4 * VD_LANES) { \
			m0 = V_OP(m0, vd_load(a + i)); \
			m1 = V_OP(m1, vd_load(a + i + VD_LANES)); \
			m2 = V_OP(m2, vd_load(a + i + 2 * VD_LANES)); \
			m3 = V_OP(m3, vd_load(a + i + 3 * VD_LANES)); \
		} \
		double lane[VD_LANES], m = start; \
		vd_store(lane, V_OP(V_OP(m0, m1), V_OP(m2, m3))); \
		for (size_t l = 0; l < VD_LANES; l++) m = (lane[l] op m || lane[l] != lane[l]) ? lane[l] : m; \
		for (; i < n; i++) m = (a[i] op m || a[i] != a[i]) ? a[i] : m; \
		return m; \
	}
		EXTREME_F64(max_f64, vd_max, -__builtin_inf(), >) EXTREME_F64(min_f64, vd_min, __builtin_inf(), <)

	/* The first element equal to x (or NaN, if x is), which is known to be there. */
	static size_t find_f32(const float *a, size_t n, float x) {
	bool nan = x != x;
	vf wanted = vf_set1(x);
	size_t i = 0;
	for (; i + VF_LANES <= n; i += VF_LANES) {
		vf v = vf_load(a + i);
		unsigned bits = vm_bits(nan ? vf_unordered(v, v) : vf_eq(v, wanted));
		if (bits != 0) return i + (size_t)__builtin_ctz(bits);
	}
	while (nan ? a[i] == a[i] : a[i] != x) i++;
	return i;
}

/* Block by block: a block is searched only if it holds a better one than all before. Of much, blocks of eight streams. */
#define ARG_BLOCK 4096
#define ARG_LARGE (8 * STREAM_LENGTH)
#define ARG_EXTREME(name, extreme, better) \
	static size_t name(const float *a, size_t n) { \
		if (n == 0) return SIZE_MAX; \
		const size_t block = n < 4 * ARG_LARGE ? ARG_BLOCK : ARG_LARGE; \
		size_t best_block = 0; \
		float best = extreme(a, n < block ? n : block); \
		for (size_t i = block; i < n && best == best; i += block) { \
			float m = extreme(a + i, n - i < block ? n - i : block); \
			if (m better best || m != m) { \
				best = m; \
				best_block = i; \
			} \
		} \
		size_t length = n - best_block < block ? n - best_block : block; \
		return best_block + find_f32(a + best_block, length, best); \
	}
ARG_EXTREME(argmax_f32, max_f32, >)
ARG_EXTREME(argmin_f32, min_f32, <)

/* ---- Axes ------------------------------------------------------------------------------------------------------------
 * Axis 0 goes down the rows in strips of columns whose totals stay in a cache: some rows are joined as a tree and the
 * result goes into the totals. The processor's prefetchers begin anew on every page and in narrow strips never get going,
 * so a strip is as wide as the cache allows. Sums join FAR rows, each from an eighth of the matrix of its own that it
 * goes through row after row: main memory then sees eight long streams. Extremes join GROUP neighbours. */

#define STRIP 8192
#define GROUP 16
#define FAR 8

/* One vector of columns of GROUP rows, joined; row(i) loads that of row i. */
#define TREE4(V_OP, row, i) V_OP(V_OP(row(i), row((i) + 1)), V_OP(row((i) + 2), row((i) + 3)))
#define TREE8(V_OP, row) V_OP(TREE4(V_OP, row, 0), TREE4(V_OP, row, 4))
#define TREE(V_OP, row) V_OP(TREE8(V_OP, row), V_OP(TREE4(V_OP, row, 8), TREE4(V_OP, row, 12)))
#define ROW(i) vf_load(p + (i)*stride + c)
#define FAR_ROW(i) vf_load(p + (i)*apart + c)
#define FAR_ROW_N(i) vf_load_n(p + (i)*apart + c, cols - c)
#define ROW_N(i) vf_load_n(p + (i)*stride + c, cols - c)

/* Strips of about equal width: a narrow last one would be read slower. */
static size_t strip_width(size_t cols) {
	size_t strips = (cols + STRIP - 1) / STRIP;
	return strips <= 1 ? cols : ((cols + strips - 1) / strips + VF_LANES - 1) / VF_LANES * VF_LANES;
}

static inline void add_to_totals(double *t, vf s) {
	vd_store(t, vd_add(vd_load(t), vd_from_low(s)));
	vd_store(t + VD_LANES, vd_add(vd_load(t + VD_LANES), vd_from_high(s)));
}

static void add_strip(double *total, const float *a, size_t rows, size_t cols, size_t stride) {
	const size_t apart = rows / FAR * stride; /* between the rows that are joined */
	for (size_t r = 0; r < rows / FAR; r++) {
		const float *p = a + r * stride;
		size_t c = 0;
		for (; c + VF_LANES <= cols; c += VF_LANES) add_to_totals(total + c, TREE8(vf_add, FAR_ROW));
		if (c < cols) {
			double last[VF_LANES] = {0};
			add_to_totals(last, TREE8(vf_add, FAR_ROW_N));
			for (size_t l = 0; c + l < cols; l++) total[c + l] += last[l];
		}
	}
	for (size_t r = rows / FAR * FAR; r < rows; r++)
		for (size_t c = 0; c < cols; c++) total[c] += (double)a[r * stride + c];
}

static void add_axis0_f32(double *total, const float *a, size_t rows, size_t cols, size_t stride) {
	size_t width = strip_width(cols);
	for (size_t c = 0; c < cols; c += width)
		add_strip(total + c, a + c, rows, cols - c < width ? cols - c : width, stride);
}

#define EXTREME_AXIS0(name, V_OP, start) \
	static void name##_strip(float *dst, const float *a, size_t rows, size_t cols, size_t stride) { \
		size_t r = 0; \
		for (; r + GROUP <= rows; r += GROUP) { \
			const float *p = a + r * stride; \
			size_t c = 0; \
			for (; c + VF_LANES <= cols; c += VF_LANES) vf_store(dst + c, V_OP(vf_load(dst + c), TREE(V_OP, ROW))); \
			if (c < cols) vf_store_n(dst + c, V_OP(vf_load_n(dst + c, cols - c), TREE(V_OP, ROW_N)), cols - c); \
		} \
		for (; r < rows; r++) { \
			const float *p = a + r * stride; \
			for (size_t c = 0; c < cols; c += VF_LANES) { \
				size_t n = cols - c < VF_LANES ? cols - c : VF_LANES; \
				vf_store_n(dst + c, V_OP(vf_load_n(dst + c, n), vf_load_n(p + c, n)), n); \
			} \
		} \
	} \
	static void name(float *dst, const float *a, size_t rows, size_t cols, size_t stride) { \
		size_t width = strip_width(cols); \
		for (size_t c = 0; c < cols; c++) dst[c] = start; \
		for (size_t c = 0; c < cols; c += width) \
			name##_strip(dst + c, a + c, rows, cols - c < width ? cols - c : width, stride); \
	}
EXTREME_AXIS0(max_axis0_f32, vf_max, -__builtin_inff())
EXTREME_AXIS0(min_axis0_f32, vf_min, __builtin_inff())

#define AXIS1(name, fn) \
	static void name(float *dst, const float *a, size_t rows, size_t cols, size_t stride) { \
		for (size_t r = 0; r < rows; r++) dst[r] = (float)fn(a + r * stride, cols); \
	}
AXIS1(max_axis1_f32, max_f32)
AXIS1(min_axis1_f32, min_f32)

/* Rows are seldom long enough for eight streams. A tree over eight vectors, straight into f64. */
static float sum_row(const float *a, size_t n) {
	struct sum_f32 total = {vd_zero(), vd_zero()};
	size_t i = 0;
	for (; i + 8 * VF_LANES <= n; i += 8 * VF_LANES) {
		vf v[8];
		HYP_UNROLL
		for (size_t c = 0; c < 8; c++) v[c] = load_in_order(a + i + c * VF_LANES);
		vf ab = vf_add(vf_add(v[0], v[1]), vf_add(v[2], v[3])), cd = vf_add(vf_add(v[4], v[5]), vf_add(v[6], v[7]));
		add_to_sum(&total, vf_add(ab, cd));
	}
	for (; i + VF_LANES <= n; i += VF_LANES) add_to_sum(&total, vf_load(a + i));
	if (i < n) add_to_sum(&total, vf_load_n(a + i, n - i));
	return (float)total_f32(&total);
}

static void sum_axis1_f32(float *dst, const float *a, size_t rows, size_t cols, size_t stride) {
	bool streams = cols >= CHAINS * STREAM_LENGTH;
	for (size_t r = 0; r < rows; r++)
		dst[r] = streams ? (float)sum_f32(a + r * stride, cols) : sum_row(a + r * stride, cols);
}

/* ---- Rows ------------------------------------------------------------------------------------------------------------ */

static void scale_row(float *dst, const float *a, const float *weight, float scale, size_t n) {
	const vf s = vf_set1(scale);
	size_t i = 0;
	for (; i + VF_LANES <= n; i += VF_LANES) {
		vf x = vf_mul(vf_load(a + i), s);
		if (weight != NULL) x = vf_mul(x, vf_load(weight + i));
		vf_store(dst + i, x);
	}
	if (i < n) {
		vf x = vf_mul(vf_load_n(a + i, n - i), s);
		if (weight != NULL) x = vf_mul(x, vf_load_n(weight + i, n - i));
		vf_store_n(dst + i, x, n - i);
	}
}

/* Three passes: maximum, exponentials and their sum, scaling. Rows of ordinary length stay in a cache between them. */
static void softmax_f32(float *dst, const float *a, size_t n) {
	if (n == 0) return;
	const vf most = vf_set1(max_f32(a, n));
	struct sum_f32 total = {vd_zero(), vd_zero()};
	size_t i = 0;
	for (; i + 4 * VF_LANES <= n; i += 4 * VF_LANES) {
		vf e[4];
		HYP_UNROLL
		for (size_t c = 0; c < 4; c++) {
			e[c] = vf_exp_down(vf_sub(vf_load(a + i + c * VF_LANES), most));
			vf_store(dst + i + c * VF_LANES, e[c]);
		}
		add_to_sum(&total, vf_add(vf_add(e[0], e[1]), vf_add(e[2], e[3])));
	}
	for (; i < n; i += VF_LANES) {
		size_t r = n - i < VF_LANES ? n - i : VF_LANES;
		float e[VF_LANES];
		vf_store(e, vf_exp_down(vf_sub(vf_load_n(a + i, r), most)));
		for (size_t l = r; l < VF_LANES; l++) e[l] = 0;
		add_to_sum(&total, vf_load(e));
		memcpy(dst + i, e, r * sizeof(float));
	}
	scale_row(dst, dst, NULL, (float)(1.0 / total_f32(&total)), n);
}

static void rms_norm_f32(float *dst, const float *a, const float *weight, size_t n, float eps) {
	if (n == 0) return;
	scale_row(dst, a, weight, (float)(1.0 / sqrt(dot_f32(a, a, n) / (double)n + (double)eps)), n);
}

void HYPI_FOR_SET(hypi_fill_reduce_)(struct hypi_reduce *r) {
	r->sum_f32 = sum_f32;
	r->sum_f64 = sum_f64;
	r->dot_f32 = dot_f32;
	r->dot_f64 = dot_f64;
	r->moments_f32 = moments_f32;
	r->max_f32 = max_f32;
	r->min_f32 = min_f32;
	r->max_f64 = max_f64;
	r->min_f64 = min_f64;
	r->argmax_f32 = argmax_f32;
	r->argmin_f32 = argmin_f32;
	r->add_axis0_f32 = add_axis0_f32;
	r->max_axis0_f32 = max_axis0_f32;
	r->min_axis0_f32 = min_axis0_f32;
	r->sum_axis1_f32 = sum_axis1_f32;
	r->max_axis1_f32 = max_axis1_f32;
	r->min_axis1_f32 = min_axis1_f32;
	r->softmax_f32 = softmax_f32;
	r->rms_norm_f32 = rms_norm_f32;
}
