/*
 * kernels/convert_simd.c: half floats, int8 and transposing copies on vectors; compiled once for each set.
 *
 * The f16 instructions of x86 and AArch64 round and keep NaN exactly as half.h spells out. bf16 goes by integers: the
 * bf16 instructions flush denormals, which is not what a conversion should do.
 */
#include "kernels/half.h"
#include "kernels/vec.h"

/* ---- Conversions: VF_LANES at a time; the tail one by one --------------------------------------------------------- */

#if VF_LANES == 16
HYP_INLINE void store_f16(uint16_t *d, vf x) { _mm256_storeu_si256((__m256i *)d, _mm512_cvtps_ph(x, 0)); }
HYP_INLINE vf load_f16(const uint16_t *a) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)a)); }
HYP_INLINE vf load_bf16(const uint16_t *a) {
	return vf_of_bits(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)a)), 16));
}
HYP_INLINE void store_bf16(uint16_t *d, vf x) {
	vi u = vf_bits(x), odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), vi_set1(1));
	vi rounded = vi_add(u, vi_add(odd, vi_set1(0x7fff)));
	rounded = _mm512_mask_mov_epi32(rounded, vf_unordered(x, x), _mm512_or_si512(u, vi_set1(0x400000)));
	_mm256_storeu_si256((__m256i *)d, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}
#elif HYP_CPU_X86_64
HYP_INLINE void store_f16(uint16_t *d, vf x) { _mm_storeu_si128((__m128i *)d, _mm256_cvtps_ph(x, 0)); }
HYP_INLINE vf load_f16(const uint16_t *a) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)a)); }
HYP_INLINE vf load_bf16(const uint16_t *a) {
	return vf_of_bits(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)a)), 16));
}
HYP_INLINE void store_bf16(uint16_t *d, vf x) {
	vi u = vf_bits(x), odd = vi_and(_mm256_srli_epi32(u, 16), vi_set1(1));
	vi rounded = vi_add(u, vi_add(odd, vi_set1(0x7fff)));
	vf kept = vf_select(vf_unordered(x, x), vf_of_bits(_mm256_or_si256(u, vi_set1(0x400000))), vf_of_bits(rounded));
	vi high = _mm256_srli_epi32(vf_bits(kept), 16);
	__m128i w = _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
	_mm_storeu_si128((__m128i *)d, w);
}
#else
HYP_INLINE void store_f16(uint16_t *d, vf x) { vst1_u16(d, vreinterpret_u16_f16(vcvt_f16_f32(x))); }
HYP_INLINE vf load_f16(const uint16_t *a) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(a))); }
HYP_INLINE vf load_bf16(const uint16_t *a) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(a), 16)); }
HYP_INLINE void store_bf16(uint16_t *d, vf x) {
	uint32x4_t u = vreinterpretq_u32_f32(x), odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
	uint32x4_t rounded = vaddq_u32(u, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
	rounded = vbslq_u32(vf_unordered(x, x), vorrq_u32(u, vdupq_n_u32(0x400000)), rounded);
	vst1_u16(d, vshrn_n_u32(rounded, 16));
}
#endif

static uint16_t bf16_one(float x) {
	uint32_t u = hypi_f32_bits(x);
	if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
#define f32_of_bf16(h) hypi_f32_of_bits((uint32_t)(h) << 16)

#define CONVERT(name, to_type, from_type, store, load, one) \
	static void name(to_type *dst, const from_type *a, size_t n) { \
		size_t i = 0; \
		for (; i + 2 * VF_LANES <= n; i += 2 * VF_LANES) { \
			store(dst + i, load(a + i)); \
			store(dst + i + VF_LANES, load(a + i + VF_LANES)); \
		} \
		for (; i < n; i++) dst[i] = one(a[i]); \
	}
CONVERT(f16_from_f32, uint16_t, float, store_f16, vf_load, hypi_f16_of_f32)
CONVERT(f32_from_f16, float, uint16_t, vf_store, load_f16, hypi_f32_of_f16)
CONVERT(bf16_from_f32, uint16_t, float, store_bf16, vf_load, bf16_one)
CONVERT(f32_from_bf16, float, uint16_t, vf_store, load_bf16, f32_of_bf16)

/* ---- Transposing copies of 4-byte elements ------------------------------------------------------------------------ */

/* Blocks of TURN x TURN in registers. With AVX-512 too they are of 32-byte vectors: rows are often 32-byte aligned and no
 * more, so that a 64-byte one lies in two lines; and its shuffles take two steps on some processors. */
#if VF_LANES == 16
#define TURN 8
HYP_INLINE void transpose_block(float *d, size_t dst_stride, const float *s, size_t src_stride) {
	__m256 r[8], t[8];
	HYP_UNROLL
	for (size_t i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(s + i * src_stride);
	HYP_UNROLL
	for (size_t i = 0; i < 8; i += 2) {
		t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
		t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
	}
	HYP_UNROLL
	for (size_t i = 0; i < 8; i += 4) {
		HYP_UNROLL
		for (size_t j = 0; j < 2; j++) {
			r[i + 2 * j] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0x44);
			r[i + 2 * j + 1] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0xee);
		}
	}
	HYP_UNROLL
	for (size_t i = 0; i < 4; i++) {
		_mm256_storeu_ps(d + i * dst_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
		_mm256_storeu_ps(d + (i + 4) * dst_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
	}
}
#else
#define TURN VF_LANES
HYP_INLINE void transpose_block(float *d, size_t dst_stride, const float *s, size_t src_stride) {
	vf r[VF_LANES];
	HYP_UNROLL
	for (size_t i = 0; i < VF_LANES; i++) r[i] = vf_load(s + i * src_stride);
	vf_transpose(r);
	HYP_UNROLL
	for (size_t i = 0; i < VF_LANES; i++) vf_store(d + i * dst_stride, r[i]);
}
#endif

/* Source rows at a time: their lines stay in the first cache until all their columns are read, and a destination row is
 * written along for eight lines. */
#define BAND_ROWS 128

static void transpose_f32(void *dst, size_t dst_stride, const void *src, size_t src_stride, size_t rows, size_t cols) {
	float *d = dst;
	const float *s = src;
	size_t whole_rows = rows / TURN * TURN, whole_cols = cols / TURN * TURN;
	for (size_t r0 = 0; r0 < whole_rows; r0 += BAND_ROWS) {
		size_t r1 = whole_rows - r0 < BAND_ROWS ? whole_rows : r0 + BAND_ROWS;
		for (size_t c = 0; c < whole_cols; c += TURN)
			for (size_t r = r0; r < r1; r += TURN)
				transpose_block(d + c * dst_stride + r, dst_stride, s + r * src_stride + c, src_stride);
	}
	for (size_t c = 0; c < cols; c++)
		for (size_t r = c < whole_cols ? whole_rows : 0; r < rows; r++) d[c * dst_stride + r] = s[r * src_stride + c];
}

void HYPI_FOR_SET(hypi_fill_convert_)(struct hypi_convert *c) {
	c->f16_from_f32 = f16_from_f32;
	c->f32_from_f16 = f32_from_f16;
	c->bf16_from_f32 = bf16_from_f32;
	c->f32_from_bf16 = f32_from_bf16;
	c->transpose[2] = transpose_f32;
}
