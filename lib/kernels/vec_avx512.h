/* kernels/vec_avx512.h: vec.h's vocabulary in AVX-512 F, BW, VL and DQ. Included by vec.h only. */
#ifndef HYPI_KERNELS_VEC_AVX512_H
#define HYPI_KERNELS_VEC_AVX512_H

#include <immintrin.h>

/* One wrapper a line, to be read as a table. */
/* clang-format off */
#define VF_LANES 16
#define VD_LANES 8

typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;
typedef __m512d vd;
typedef __mmask8 vdm;

HYP_INLINE __mmask16 avx512_first(size_t n) { return (__mmask16)((1u << n) - 1); }
HYP_INLINE __mmask8 avx512_first_d(size_t n) { return (__mmask8)((1u << n) - 1); }

HYP_INLINE vf vf_set1(float x) { return _mm512_set1_ps(x); }
HYP_INLINE vf vf_zero(void) { return _mm512_setzero_ps(); }
HYP_INLINE vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
HYP_INLINE void vf_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
HYP_INLINE void vf_stream(float *p, vf a) { _mm512_stream_ps(p, a); }
HYP_INLINE vf vf_load_n(const float *p, size_t n) { return _mm512_maskz_loadu_ps(avx512_first(n), p); }
HYP_INLINE void vf_store_n(float *p, vf a, size_t n) { _mm512_mask_storeu_ps(p, avx512_first(n), a); }
HYP_INLINE vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
HYP_INLINE vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
HYP_INLINE vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
HYP_INLINE vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
HYP_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
HYP_INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
HYP_INLINE vf vf_sqrt(vf a) { return _mm512_sqrt_ps(a); }
HYP_INLINE vf vf_neg(vf a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
HYP_INLINE vf vf_abs(vf a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
HYP_INLINE vf vf_copysign(vf a, vf sign) { return _mm512_or_ps(vf_abs(a), _mm512_and_ps(sign, _mm512_set1_ps(-0.0f))); }
HYP_INLINE vf vf_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
HYP_INLINE vf vf_min_any(vf a, vf b) { return _mm512_min_ps(a, b); }
HYP_INLINE vf vf_max_any(vf a, vf b) { return _mm512_max_ps(a, b); }
/* MINPS yields its second operand if either is NaN; so only a NaN in the first needs care. */
HYP_INLINE vf vf_min(vf a, vf b) { return _mm512_mask_mov_ps(_mm512_min_ps(a, b), _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a); }
HYP_INLINE vf vf_max(vf a, vf b) { return _mm512_mask_mov_ps(_mm512_max_ps(a, b), _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a); }
HYP_INLINE vf vf_clamp(vf x, vf lo, vf hi) { return _mm512_min_ps(hi, _mm512_max_ps(lo, x)); }

HYP_INLINE vm vf_eq(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
HYP_INLINE vm vf_ne(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ); }
HYP_INLINE vm vf_lt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
HYP_INLINE vm vf_le(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
HYP_INLINE vm vf_gt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
HYP_INLINE vm vf_ge(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
HYP_INLINE vm vf_unordered(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q); }
HYP_INLINE vm vm_or(vm a, vm b) { return _kor_mask16(a, b); }
HYP_INLINE vf vf_select(vm m, vf yes, vf no) { return _mm512_mask_blend_ps(m, no, yes); }
HYP_INLINE bool vm_any(vm m) { return m != 0; }
HYP_INLINE unsigned vm_bits(vm m) { return m; }
/* 0 or 1 in each of VF_LANES bytes */
HYP_INLINE void vm_store_bytes(uint8_t *p, vm m) { _mm_storeu_si128((__m128i *)p, _mm_maskz_set1_epi8(m, 1)); }

HYP_INLINE vi vi_set1(int32_t x) { return _mm512_set1_epi32(x); }
HYP_INLINE vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
HYP_INLINE vi vi_sub(vi a, vi b) { return _mm512_sub_epi32(a, b); }
HYP_INLINE vi vi_and(vi a, vi b) { return _mm512_and_si512(a, b); }
#define vi_shl(a, bits) _mm512_slli_epi32(a, bits)
#define vi_sra(a, bits) _mm512_srai_epi32(a, bits)
HYP_INLINE vi vi_from_vf(vf a) { return _mm512_cvtps_epi32(a); }
HYP_INLINE vf vf_from_vi(vi a) { return _mm512_cvtepi32_ps(a); }
HYP_INLINE vi vf_bits(vf a) { return _mm512_castps_si512(a); }
HYP_INLINE vf vf_of_bits(vi a) { return _mm512_castsi512_ps(a); }
HYP_INLINE vf vf_scale(vf x, vf n) { return _mm512_scalef_ps(x, n); }
HYP_INLINE float vf_hmax_any(vf a) { return _mm512_reduce_max_ps(a); }
HYP_INLINE float vf_hmin_any(vf a) { return _mm512_reduce_min_ps(a); }
HYP_INLINE float vf_hsum(vf a) { return _mm512_reduce_add_ps(a); }

HYP_INLINE vd vd_set1(double x) { return _mm512_set1_pd(x); }
HYP_INLINE vd vd_zero(void) { return _mm512_setzero_pd(); }
HYP_INLINE vd vd_load(const double *p) { return _mm512_loadu_pd(p); }
HYP_INLINE void vd_store(double *p, vd a) { _mm512_storeu_pd(p, a); }
HYP_INLINE void vd_stream(double *p, vd a) { _mm512_stream_pd(p, a); }
HYP_INLINE vd vd_load_n(const double *p, size_t n) { return _mm512_maskz_loadu_pd(avx512_first_d(n), p); }
HYP_INLINE void vd_store_n(double *p, vd a, size_t n) { _mm512_mask_storeu_pd(p, avx512_first_d(n), a); }
HYP_INLINE vd vd_add(vd a, vd b) { return _mm512_add_pd(a, b); }
HYP_INLINE vd vd_sub(vd a, vd b) { return _mm512_sub_pd(a, b); }
HYP_INLINE vd vd_mul(vd a, vd b) { return _mm512_mul_pd(a, b); }
HYP_INLINE vd vd_div(vd a, vd b) { return _mm512_div_pd(a, b); }
HYP_INLINE vd vd_fma(vd a, vd b, vd c) { return _mm512_fmadd_pd(a, b, c); }
HYP_INLINE vd vd_sqrt(vd a) { return _mm512_sqrt_pd(a); }
HYP_INLINE vd vd_neg(vd a) { return _mm512_xor_pd(a, _mm512_set1_pd(-0.0)); }
HYP_INLINE vd vd_abs(vd a) { return _mm512_andnot_pd(_mm512_set1_pd(-0.0), a); }
HYP_INLINE vd vd_min(vd a, vd b) { return _mm512_mask_mov_pd(_mm512_min_pd(a, b), _mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q), a); }
HYP_INLINE vd vd_max(vd a, vd b) { return _mm512_mask_mov_pd(_mm512_max_pd(a, b), _mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q), a); }
HYP_INLINE vdm vd_eq(vd a, vd b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
HYP_INLINE vdm vd_ne(vd a, vd b) { return _mm512_cmp_pd_mask(a, b, _CMP_NEQ_UQ); }
HYP_INLINE vdm vd_lt(vd a, vd b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
HYP_INLINE vdm vd_le(vd a, vd b) { return _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ); }
HYP_INLINE vdm vd_gt(vd a, vd b) { return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ); }
HYP_INLINE vdm vd_ge(vd a, vd b) { return _mm512_cmp_pd_mask(a, b, _CMP_GE_OQ); }
HYP_INLINE vd vd_select(vdm m, vd yes, vd no) { return _mm512_mask_blend_pd(m, no, yes); }
HYP_INLINE void vdm_store_bytes(uint8_t *p, vdm m) { _mm_storel_epi64((__m128i *)p, _mm_maskz_set1_epi8(m, 1)); }
HYP_INLINE double vd_hsum(vd a) { return _mm512_reduce_add_pd(a); }
/* The lower and upper half of a vf, exactly. */
HYP_INLINE vd vd_from_low(vf a) { return _mm512_cvtps_pd(_mm512_castps512_ps256(a)); }
HYP_INLINE vd vd_from_high(vf a) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1)); }
HYP_INLINE vf vf_from_vd(vd low, vd high)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
}
HYP_INLINE void vec_fence(void) { _mm_sfence(); }

/* Vectors of half the width, for the last columns of a product. */
HYP_INLINE __m256 vf_h_zero(void) { return _mm256_setzero_ps(); }
HYP_INLINE __m256 vf_h_set1(float x) { return _mm256_set1_ps(x); }
HYP_INLINE __m256 vf_h_load(const float *p) { return _mm256_loadu_ps(p); }
HYP_INLINE void vf_h_store(float *p, __m256 a) { _mm256_storeu_ps(p, a); }
HYP_INLINE __m256 vf_h_mul(__m256 a, __m256 b) { return _mm256_mul_ps(a, b); }
HYP_INLINE __m256 vf_h_fma(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
HYP_INLINE __m256d vd_h_zero(void) { return _mm256_setzero_pd(); }
HYP_INLINE __m256d vd_h_set1(double x) { return _mm256_set1_pd(x); }
HYP_INLINE __m256d vd_h_load(const double *p) { return _mm256_loadu_pd(p); }
HYP_INLINE void vd_h_store(double *p, __m256d a) { _mm256_storeu_pd(p, a); }
HYP_INLINE __m256d vd_h_mul(__m256d a, __m256d b) { return _mm256_mul_pd(a, b); }
HYP_INLINE __m256d vd_h_fma(__m256d a, __m256d b, __m256d c) { return _mm256_fmadd_pd(a, b, c); }

/* The sums of four vectors. */
HYP_INLINE __m256 avx512_halves(__m512 a) { return _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1)); }
HYP_INLINE void vf_hsum4(float *sum, vf a, vf b, vf c, vf d)
{
    __m256 ab = _mm256_hadd_ps(avx512_halves(a), avx512_halves(b)), cd = _mm256_hadd_ps(avx512_halves(c), avx512_halves(d));
    __m256 t = _mm256_hadd_ps(ab, cd);
    _mm_storeu_ps(sum, _mm_add_ps(_mm256_castps256_ps128(t), _mm256_extractf128_ps(t, 1)));
}
HYP_INLINE void vd_hsum4(double *sum, vd a, vd b, vd c, vd d)
{
    sum[0] = vd_hsum(a), sum[1] = vd_hsum(b), sum[2] = vd_hsum(c), sum[3] = vd_hsum(d);
}

/* In place: lane j of vector i becomes lane i of vector j. */
HYP_INLINE void vf_transpose(vf r[VF_LANES])
{
    __m512 t[16];
    HYP_UNROLL
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    HYP_UNROLL
    for (int h = 0; h < 16; h += 4) { /* 4x4 blocks in each quarter */
        r[h] = _mm512_shuffle_ps(t[h], t[h + 2], 0x44);
        r[h + 1] = _mm512_shuffle_ps(t[h], t[h + 2], 0xee);
        r[h + 2] = _mm512_shuffle_ps(t[h + 1], t[h + 3], 0x44);
        r[h + 3] = _mm512_shuffle_ps(t[h + 1], t[h + 3], 0xee);
    }
    HYP_UNROLL
    for (int i = 0; i < 4; i++) { /* quarters of rows i, i + 4, i + 8, i + 12 */
        t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
    }
    HYP_UNROLL
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
    }
}
HYP_INLINE void vd_transpose(vd r[VD_LANES])
{
    __m512d t[8];
    HYP_UNROLL
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_unpacklo_pd(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_pd(r[i], r[i + 1]);
    }
    HYP_UNROLL
    for (int i = 0; i < 2; i++) {
        r[i] = _mm512_shuffle_f64x2(t[i], t[i + 2], 0x88);
        r[i + 2] = _mm512_shuffle_f64x2(t[i], t[i + 2], 0xdd);
        r[i + 4] = _mm512_shuffle_f64x2(t[i + 4], t[i + 6], 0x88);
        r[i + 6] = _mm512_shuffle_f64x2(t[i + 4], t[i + 6], 0xdd);
    }
    HYP_UNROLL
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_f64x2(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f64x2(r[i], r[i + 4], 0xdd);
    }
    memcpy(r, t, sizeof(t));
}

#endif
