/*
 * kernels/ternary_neon.c: ternary times int8 for AArch64: Advanced SIMD alone, SDOT, and SMMLA; compiled once for each.
 *
 * Codes 0..2 are taken as signed bytes; a sum is sum(code x) = sum(weight x) + sum(x), and the sum of x is taken off at
 * the end. Without SDOT a product of bytes is at most 256 in size, so 124 of them are added as i16 before they widen;
 * SDOT adds four products to an i32 at once; SMMLA multiplies 2 rows of 8 codes with 2 rows of 8 activations.
 */
#include "kernels/ternary_scalar.h"
#include "kernels/vec.h"

#define TILE_BATCH 4
#define PANEL_VECTORS 4 /* vectors of 4 rows by 4 bytes in one group of one panel */

/* Code s of each byte: weights 4s .. 4s+3 of 4 rows. */
HYP_INLINE int8x16_t codes_of(uint8x16_t raw, int s) {
	static const int8_t right[4] = {0, -2, -4, -6};
	return vreinterpretq_s8_u8(vandq_u8(vshlq_u8(raw, vdupq_n_s8(right[s])), vdupq_n_u8(3)));
}

HYP_INLINE int8x16_t four_activations(const int8_t *x) {
	int32_t four;
	memcpy(&four, x, 4);
	return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

#if HYPI_DOTPROD

/* One group of 16 weights for one vector of 4 rows. */
HYP_INLINE void group_dots(size_t batch, int32x4_t *acc, uint8x16_t raw, const int8_t *x, size_t x_stride) {
	HYP_UNROLL
	for (int s = 0; s < 4; s++) {
		int8x16_t code = codes_of(raw, s);
		HYP_UNROLL
		for (size_t b = 0; b < batch; b++) acc[b] = vdotq_s32(acc[b], code, four_activations(x + b * x_stride + 4 * s));
	}
}

#else

/* The same with i16 sums: lanes are pairs of products of 2 rows; acc[2b] rows 0 and 1, acc[2b+1] rows 2 and 3. */
HYP_INLINE void group_products(size_t batch, int16x8_t *acc, uint8x16_t raw, const int8_t *x, size_t x_stride) {
	HYP_UNROLL
	for (int s = 0; s < 4; s++) {
		int8x16_t code = codes_of(raw, s);
		HYP_UNROLL
		for (size_t b = 0; b < batch; b++) {
			int8x16_t xb = four_activations(x + b * x_stride + 4 * s);
			acc[2 * b] = vmlal_s8(acc[2 * b], vget_low_s8(code), vget_low_s8(xb));
			acc[2 * b + 1] = vmlal_high_s8(acc[2 * b + 1], code, xb);
		}
	}
}
#define WIDEN_GROUPS 31 /* of 4 products a lane: 124 * 256 fits an i16 */

#endif

HYP_INLINE void tile(size_t batch, const uint8_t *w, const int8_t *x, size_t x_stride, size_t k, int32_t *dots) {
	const size_t whole = k / 16, groups = whole + (k % 16 != 0);
	int8_t last_x[TILE_BATCH][16];
	memset(last_x, 0, sizeof(last_x));
	for (size_t b = 0; b < batch; b++) memcpy(last_x[b], x + b * x_stride + whole * 16, k - whole * 16);
	for (size_t v = 0; v < PANEL_VECTORS; v++) {
		int32x4_t acc[TILE_BATCH];
		HYP_UNROLL
		for (size_t b = 0; b < batch; b++) acc[b] = vdupq_n_s32(0);
#if HYPI_DOTPROD
		for (size_t g = 0; g < whole; g++) group_dots(batch, acc, vld1q_u8(w + g * 64 + v * 16), x + g * 16, x_stride);
		if (groups > whole) group_dots(batch, acc, vld1q_u8(w + whole * 64 + v * 16), last_x[0], 16);
#else
		for (size_t g = 0; g < groups;) {
			int16x8_t narrow[2 * TILE_BATCH];
			size_t end = groups - g < WIDEN_GROUPS ? groups : g + WIDEN_GROUPS;
			HYP_UNROLL
			for (size_t b = 0; b < 2 * batch; b++) narrow[b] = vdupq_n_s16(0);
			for (; g < end; g++) {
				bool partial = g == whole;
				group_products(batch, narrow, vld1q_u8(w + g * 64 + v * 16), partial ? last_x[0] : x + g * 16,
				               partial ? 16 : x_stride);
			}
			HYP_UNROLL
			for (size_t b = 0; b < batch; b++) {
				int32x4_t low = vpaddlq_s16(narrow[2 * b]), high = vpaddlq_s16(narrow[2 * b + 1]);
				acc[b] = vaddq_s32(acc[b], vpaddq_s32(low, high));
			}
		}
#endif
		HYP_UNROLL
		for (size_t b = 0; b < batch; b++) vst1q_s32(dots + b * 16 + v * 4, acc[b]);
	}
}

#define DEFINE_TILE(batch) \
	static void tile_##batch(const uint8_t *w, size_t panel_bytes, const int8_t *x, size_t x_stride, size_t k, \
	                         int32_t *dots) { \
		(void)panel_bytes; \
		tile(batch, w, x, x_stride, k, dots); \
	}
DEFINE_TILE(1)
#if HYPI_I8MM

/* Two or four rows of x: SMMLA. Steps s and s + 1 of a vector, traded between lanes, are rows 0 and 2 (1 and 3) with 8
 * weights each; its result holds row 0 with both rows of x, then row 2. */
HYP_INLINE void tile_mm(size_t pairs, const uint8_t *w, const int8_t *x, size_t x_stride, size_t k, int32_t *dots) {
	const size_t whole = k / 16, groups = whole + (k % 16 != 0);
	int8_t last_x[4][16];
	memset(last_x, 0, sizeof(last_x));
	for (size_t b = 0; b < 2 * pairs; b++) memcpy(last_x[b], x + b * x_stride + whole * 16, k - whole * 16);
	for (size_t v = 0; v < PANEL_VECTORS; v++) {
		int32x4_t even[2], odd[2];
		HYP_UNROLL
		for (size_t p = 0; p < pairs; p++) even[p] = odd[p] = vdupq_n_s32(0);
		for (size_t g = 0; g < groups; g++) {
			const int8_t *xg = g == whole ? last_x[0] : x + g * 16;
			size_t stride = g == whole ? 16 : x_stride;
			uint8x16_t raw = vld1q_u8(w + g * 64 + v * 16);
			HYP_UNROLL
			for (int s = 0; s < 4; s += 2) {
				int32x4_t a = vreinterpretq_s32_s8(codes_of(raw, s)), b = vreinterpretq_s32_s8(codes_of(raw, s + 1));
				int8x16_t rows_02 = vreinterpretq_s8_s32(vtrn1q_s32(a, b));
				int8x16_t rows_13 = vreinterpretq_s8_s32(vtrn2q_s32(a, b));
				HYP_UNROLL
				for (size_t p = 0; p < pairs; p++) {
					int8x16_t xp =
						vcombine_s8(vld1_s8(xg + 2 * p * stride + 4 * s), vld1_s8(xg + (2 * p + 1) * stride + 4 * s));
					even[p] = vmmlaq_s32(even[p], rows_02, xp);
					odd[p] = vmmlaq_s32(odd[p], rows_13, xp);
				}
			}
		}
		HYP_UNROLL
		for (size_t p = 0; p < pairs; p++) {
			/* even: r0x0 r0x1 r2x0 r2x1, odd: r1x0 r1x1 r3x0 r3x1 */
			int32x4_t x0 = vtrn1q_s32(even[p], odd[p]), x1 = vtrn2q_s32(even[p], odd[p]);
			vst1q_s32(dots + 2 * p * 16 + v * 4, x0);
			vst1q_s32(dots + (2 * p + 1) * 16 + v * 4, x1);
		}
	}
}
static void tile_2(const uint8_t *w, size_t panel_bytes, const int8_t *x, size_t x_stride, size_t k, int32_t *dots) {
	(void)panel_bytes;
	tile_mm(1, w, x, x_stride, k, dots);
}
static void tile_4(const uint8_t *w, size_t panel_bytes, const int8_t *x, size_t x_stride, size_t k, int32_t *dots) {
	(void)panel_bytes;
	tile_mm(2, w, x, x_stride, k, dots);
}

#else
DEFINE_TILE(2)
DEFINE_TILE(4)
#endif
DEFINE_TILE(3)

static p16_tile_fn *const tiles[P16_PANELS_MAX][P16_BATCH_MAX] = {{tile_1, tile_2, tile_3, tile_4}};

static void matmul_p16(const struct hypi_ternary_job *job, size_t row_begin, size_t row_end) {
	ternary_p16_driver(job, row_begin, row_end, tiles, 1, TILE_BATCH);
}

/* ---- Row-major -------------------------------------------------------------------------------------------------- */

HYP_INLINE int32x4_t add_dot(int32x4_t acc, int8x16_t code, int8x16_t x) {
#if HYPI_DOTPROD
	return vdotq_s32(acc, code, x);
#else
	int16x8_t p = vmull_s8(vget_low_s8(code), vget_low_s8(x));
	return vpadalq_s16(acc, vmlal_high_s8(p, code, x));
#endif
}

HYP_INLINE int32x4_t add_t2(int32x4_t acc, uint8x16_t raw, const int8_t (*planes)[PLANE_BYTES], size_t at) {
	HYP_UNROLL
	for (int s = 0; s < 4; s++) acc = add_dot(acc, codes_of(raw, s), vld1q_s8(planes[s] + at));
	return acc;
}

/* Trit n of v is the carry of 3 v: how many of 86 and 171 it reaches; the rest of 3 v carries the next trits. */
HYP_INLINE int32x4_t add_t5(int32x4_t acc, uint8x16_t v, const int8_t (*planes)[PLANE_BYTES], size_t at) {
	HYP_UNROLL
	for (int n = 0; n < 5; n++) {
		uint8x16_t reached = vaddq_u8(vcgeq_u8(v, vdupq_n_u8(86)), vcgeq_u8(v, vdupq_n_u8(171)));
		acc = add_dot(acc, vnegq_s8(vreinterpretq_s8_u8(reached)), vld1q_s8(planes[n] + at));
		v = vaddq_u8(vaddq_u8(v, v), v);
	}
	return acc;
}

#define DEFINE_PLANE_DOT(name, add) \
	static int32_t name(const uint8_t *row, size_t bytes, const int8_t(*planes)[PLANE_BYTES]) { \
		int32x4_t acc = vdupq_n_s32(0); \
		size_t i = 0; \
		for (; i + 16 <= bytes; i += 16) acc = add(acc, vld1q_u8(row + i), planes, i); \
		if (i < bytes) { \
			uint8_t last[16] = {0}; \
			memcpy(last, row + i, bytes - i); \
			acc = add(acc, vld1q_u8(last), planes, i); \
		} \
		return vaddvq_s32(acc); \
	}
DEFINE_PLANE_DOT(dot_t2, add_t2)
DEFINE_PLANE_DOT(dot_t5, add_t5)

static void matmul_t2(const struct hypi_ternary_job *job, size_t row_begin, size_t row_end) {
	ternary_plane_driver(job, row_begin, row_end, 4, dot_t2);
}
static void matmul_t5(const struct hypi_ternary_job *job, size_t row_begin, size_t row_end) {
	ternary_plane_driver(job, row_begin, row_end, 5, dot_t5);
}

/* ---- Quantisers ------------------------------------------------------------------------------------------------- */

#if !HYPI_DOTPROD

static void quantize_i8(int8_t *q, size_t q_stride, float *scale, int32_t *sum, const float *x, size_t x_stride,
                        size_t rows, size_t k) {
	for (size_t r = 0; r < rows; r++, q += q_stride, x += x_stride) {
		vf m = vf_zero();
		size_t i = 0;
		for (; i + 4 <= k; i += 4) m = vf_max_any(m, vf_abs(vf_load(x + i)));
		if (i < k) m = vf_max_any(m, vf_abs(vf_load_n(x + i, k - i)));
		float most = vf_hmax_any(m), factor = i8_inverse_scale(most);
		const vf inverse = vf_set1(factor);
		vi total = vi_set1(0);
		for (i = 0; i + 8 <= k; i += 8) {
			vi a = vi_from_vf(vf_mul(vf_load(x + i), inverse)), b = vi_from_vf(vf_mul(vf_load(x + i + 4), inverse));
			total = vi_add(total, vi_add(a, b));
			vst1_s8(q + i, vmovn_s16(vcombine_s16(vmovn_s32(a), vmovn_s32(b))));
		}
		int32_t rest = 0;
		for (; i < k; i++) {
			int v = round_even(x[i] * factor);
			q[i] = (int8_t)v;
			rest += v;
		}
		scale[r] = i8_scale(most);
		if (sum != NULL) sum[r] = vaddvq_s32(total) + rest;
	}
}

/* Sixteen weights at a time: vld4 sets apart the weights that go to each field of a byte. */
static void quantize_t2(uint8_t *dst, const float *w, float inv_scale, size_t k) {
	const vf inverse = vf_set1(inv_scale), half = vf_set1(0.5f), minus_half = vf_set1(-0.5f);
	size_t i = 0;
	for (; i + 16 <= k; i += 16) {
		float32x4x4_t x = vld4q_f32(w + i);
		uint32x4_t bytes = vdupq_n_u32(0);
		HYP_UNROLL
		for (int f = 3; f >= 0; f--) {
			vf v = vf_mul(x.val[f], inverse);
			/* masks are -1: 1 - above + below, then shifted into place */
			uint32x4_t code = vaddq_u32(vsubq_u32(vdupq_n_u32(1), vf_gt(v, half)), vf_lt(v, minus_half));
			bytes = vorrq_u32(vshlq_n_u32(bytes, 2), code);
		}
		uint16x4_t w16 = vmovn_u32(bytes);
		uint32_t four = vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(w16, w16))), 0);
		memcpy(dst + i / 4, &four, 4);
	}
	for (; i < k; i++) t2_put(dst, i, ternary_code(w[i] * inv_scale));
}

static void i8_from_t2(int8_t *dst, const uint8_t *t2, size_t k) {
	size_t i = 0;
	for (; i + 64 <= k; i += 64) {
		uint8x16_t raw = vld1q_u8(t2 + i / 4);
		int8x16x4_t w;
		HYP_UNROLL
		for (int s = 0; s < 4; s++) w.val[s] = vsubq_s8(codes_of(raw, s), vdupq_n_s8(1));
		vst4q_s8(dst + i, w);
	}
	for (; i < k; i++) dst[i] = (int8_t)((int)t2_get(t2, i) - 1);
}

static void t2_from_i8(uint8_t *dst, const int8_t *w, size_t k) {
	size_t i = 0;
	for (; i + 64 <= k; i += 64) {
		int8x16x4_t x = vld4q_s8(w + i);
		uint8x16_t bytes = vdupq_n_u8(0);
		HYP_UNROLL
		for (int f = 3; f >= 0; f--) {
			uint8x16_t code = vandq_u8(vreinterpretq_u8_s8(vaddq_s8(x.val[f], vdupq_n_s8(1))), vdupq_n_u8(3));
			bytes = vorrq_u8(vshlq_n_u8(bytes, 2), code);
		}
		vst1q_u8(dst + i / 4, bytes);
	}
	for (; i < k; i++) t2_put(dst, i, (unsigned)(w[i] + 1) & 3u);
}

#endif

void HYPI_FOR_SET(hypi_fill_ternary_)(struct hypi_ternary *t) {
	t->matmul_p16 = matmul_p16;
	t->matmul_t2 = matmul_t2;
	t->matmul_t5 = matmul_t5;
#if !HYPI_DOTPROD
	t->quantize_i8 = quantize_i8;
	t->abs_sum_f32 = HYPI_FOR_SET(hypi_abs_sum_f32_);
	t->quantize_t2 = quantize_t2;
	t->t2_from_i8 = t2_from_i8;
	t->i8_from_t2 = i8_from_t2;
	t->pack_p16 = ternary_pack_p16;
	t->t2_from_p16 = ternary_t2_from_p16;
#endif
}
