/* kernels/vec_avx2.h: vec.h's vocabulary in AVX2, FMA and F16C. Included by vec.h only. */
#ifndef HYPI_KERNELS_VEC_AVX2_H
#define HYPI_KERNELS_VEC_AVX2_H

#include <immintrin.h>

/* One wrapper a line, to be read as a table. */
/* clang-format off */
#define VF_LANES 8
#define VD_LANES 4

typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm;
typedef __m256d vd;
typedef __m256d vdm;

/* Lane masks for the first n lanes are windows of this. */
static const int32_t avx2_lane_window[16] __attribute__((aligned(64))) = {-1, -1, -1, -1, -1, -1, -1, -1};

HYP_INLINE __m256i avx2_first(size_t n) { return _mm256_loadu_si256((const __m256i *)(avx2_lane_window + 8 - n)); }
HYP_INLINE __m256i avx2_first_d(size_t n) { return avx2_first(2 * n); }

HYP_INLINE vf vf_set1(float x) { return _mm256_set1_ps(x); }
HYP_INLINE vf vf_zero(void) { return _mm256_setzero_ps(); }
HYP_INLINE vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
HYP_INLINE void vf_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
HYP_INLINE void vf_stream(float *p, vf a) { _mm256_stream_ps(p, a); }
HYP_INLINE vf vf_load_n(const float *p, size_t n) { return _mm256_maskload_ps(p, avx2_first(n)); }
HYP_INLINE void vf_store_n(float *p, vf a, size_t n) { _mm256_maskstore_ps(p, avx2_first(n), a); }
HYP_INLINE vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
HYP_INLINE vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
HYP_INLINE vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
HYP_INLINE vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
HYP_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
HYP_INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
HYP_INLINE vf vf_sqrt(vf a) { return _mm256_sqrt_ps(a); }
HYP_INLINE vf vf_neg(vf a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
HYP_INLINE vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
HYP_INLINE vf vf_copysign(vf a, vf sign) { return _mm256_or_ps(vf_abs(a), _mm256_and_ps(sign, _mm256_set1_ps(-0.0f))); }
HYP_INLINE vf vf_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
HYP_INLINE vf vf_min_any(vf a, vf b) { return _mm256_min_ps(a, b); }
HYP_INLINE vf vf_max_any(vf a, vf b) { return _mm256_max_ps(a, b); }
/* MINPS yields its second operand if either is NaN; so only a NaN in the first needs care. */
HYP_INLINE vf vf_min(vf a, vf b) { return _mm256_blendv_ps(_mm256_min_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q)); }
HYP_INLINE vf vf_max(vf a, vf b) { return _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q)); }
HYP_INLINE vf vf_clamp(vf x, vf lo, vf hi) { return _mm256_min_ps(hi, _mm256_max_ps(lo, x)); }

HYP_INLINE vm vf_eq(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
HYP_INLINE vm vf_ne(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_NEQ_UQ); }
HYP_INLINE vm vf_lt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
HYP_INLINE vm vf_le(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
HYP_INLINE vm vf_gt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
HYP_INLINE vm vf_ge(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_GE_OQ); }
HYP_INLINE vm vf_unordered(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_UNORD_Q); }
HYP_INLINE vm vm_or(vm a, vm b) { return _mm256_or_ps(a, b); }
HYP_INLINE vf vf_select(vm m, vf yes, vf no) { return _mm256_blendv_ps(no, yes, m); }
HYP_INLINE bool vm_any(vm m) { return _mm256_movemask_ps(m) != 0; }
HYP_INLINE unsigned vm_bits(vm m) { return (unsigned)_mm256_movemask_ps(m); }
/* 0 or 1 in each of VF_LANES bytes */
HYP_INLINE void vm_store_bytes(uint8_t *p, vm m)
{
    __m256i i = _mm256_castps_si256(m);
    __m128i w = _mm_packs_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
    _mm_storel_epi64((__m128i *)p, _mm_and_si128(_mm_packs_epi16(w, w), _mm_set1_epi8(1)));
}

HYP_INLINE vi vi_set1(int32_t x) { return _mm256_set1_epi32(x); }
HYP_INLINE vi vi_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
HYP_INLINE vi vi_sub(vi a, vi b) { return _mm256_sub_epi32(a, b); }
HYP_INLINE vi vi_and(vi a, vi b) { return _mm256_and_si256(a, b); }
#define vi_shl(a, bits) _mm256_slli_epi32(a, bits)
#define vi_sra(a, bits) _mm256_srai_epi32(a, bits)
HYP_INLINE vi vi_from_vf(vf a) { return _mm256_cvtps_epi32(a); }
HYP_INLINE vf vf_from_vi(vi a) { return _mm256_cvtepi32_ps(a); }
HYP_INLINE vi vf_bits(vf a) { return _mm256_castps_si256(a); }
HYP_INLINE vf vf_of_bits(vi a) { return _mm256_castsi256_ps(a); }
HYP_INLINE vf vf_scale(vf x, vf n)
{
    __m256i i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1), rest = _mm256_sub_epi32(i, half);
    __m256i bias = _mm256_set1_epi32(127);
    __m256 p = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    __m256 q = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(x, p), q);
}
HYP_INLINE float vf_hmax_any(vf a)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}
HYP_INLINE float vf_hmin_any(vf a)
{
    __m128 m = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    m = _mm_min_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_min_ss(m, _mm_movehdup_ps(m)));
}
HYP_INLINE float vf_hsum(vf a)
{
    __m128 m = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    m = _mm_add_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_add_ss(m, _mm_movehdup_ps(m)));
}

HYP_INLINE vd vd_set1(double x) { return _mm256_set1_pd(x); }
HYP_INLINE vd vd_zero(void) { return _mm256_setzero_pd(); }
HYP_INLINE vd vd_load(const double *p) { return _mm256_loadu_pd(p); }
HYP_INLINE void vd_store(double *p, vd a) { _mm256_storeu_pd(p, a); }
HYP_INLINE void vd_stream(double *p, vd a) { _mm256_stream_pd(p, a); }
HYP_INLINE vd vd_load_n(const double *p, size_t n) { return _mm256_maskload_pd(p, avx2_first_d(n)); }
HYP_INLINE void vd_store_n(double *p, vd a, size_t n) { _mm256_maskstore_pd(p, avx2_first_d(n), a); }
HYP_INLINE vd vd_add(vd a, vd b) { return _mm256_add_pd(a, b); }
HYP_INLINE vd vd_sub(vd a, vd b) { return _mm256_sub_pd(a, b); }
HYP_INLINE vd vd_mul(vd a, vd b) { return _mm256_mul_pd(a, b); }
HYP_INLINE vd vd_div(vd a, vd b) { return _mm256_div_pd(a, b); }
HYP_INLINE vd vd_fma(vd a, vd b, vd c) { return _mm256_fmadd_pd(a, b, c); }
HYP_INLINE vd vd_sqrt(vd a) { return _mm256_sqrt_pd(a); }
HYP_INLINE vd vd_neg(vd a) { return _mm256_xor_pd(a, _mm256_set1_pd(-0.0)); }
HYP_INLINE vd vd_abs(vd a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
HYP_INLINE vd vd_min(vd a, vd b) { return _mm256_blendv_pd(_mm256_min_pd(a, b), a, _mm256_cmp_pd(a, a, _CMP_UNORD_Q)); }
HYP_INLINE vd vd_max(vd a, vd b) { return _mm256_blendv_pd(_mm256_max_pd(a, b), a, _mm256_cmp_pd(a, a, _CMP_UNORD_Q)); }
HYP_INLINE vdm vd_eq(vd a, vd b) { return _mm256_cmp_pd(a, b, _CMP_EQ_OQ); }
HYP_INLINE vdm vd_ne(vd a, vd b) { return _mm256_cmp_pd(a, b, _CMP_NEQ_UQ); }
HYP_INLINE vdm vd_lt(vd a, vd b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
HYP_INLINE vdm vd_le(vd a, vd b) { return _mm256_cmp_pd(a, b, _CMP_LE_OQ); }
HYP_INLINE vdm vd_gt(vd a, vd b) { return _mm256_cmp_pd(a, b, _CMP_GT_OQ); }
HYP_INLINE vdm vd_ge(vd a, vd b) { return _mm256_cmp_pd(a, b, _CMP_GE_OQ); }
HYP_INLINE vd vd_select(vdm m, vd yes, vd no) { return _mm256_blendv_pd(no, yes, m); }
HYP_INLINE void vdm_store_bytes(uint8_t *p, vdm m)
{
    __m256i i = _mm256_castpd_si256(m);
    __m128i w = _mm_packs_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
    w = _mm_packs_epi32(w, w);
    w = _mm_and_si128(_mm_packs_epi16(w, w), _mm_set1_epi8(1));
    int bytes = _mm_cvtsi128_si32(w);
    memcpy(p, &bytes, 4);
}
HYP_INLINE double vd_hsum(vd a)
{
    __m128d m = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(m, _mm_unpackhi_pd(m, m)));
}
/* The lower and upper half of a vf, exactly. */
HYP_INLINE vd vd_from_low(vf a) { return _mm256_cvtps_pd(_mm256_castps256_ps128(a)); }
HYP_INLINE vd vd_from_high(vf a) { return _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)); }
HYP_INLINE vf vf_from_vd(vd low, vd high) { return _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low)); }
HYP_INLINE void vec_fence(void) { _mm_sfence(); }

/* The sums of four vectors. */
HYP_INLINE void vf_hsum4(float *sum, __m256 a, __m256 b, __m256 c, __m256 d)
{
    __m256 t = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    _mm_storeu_ps(sum, _mm_add_ps(_mm256_castps256_ps128(t), _mm256_extractf128_ps(t, 1)));
}
HYP_INLINE void vd_hsum4(double *sum, vd a, vd b, vd c, vd d)
{
    sum[0] = vd_hsum(a), sum[1] = vd_hsum(b), sum[2] = vd_hsum(c), sum[3] = vd_hsum(d);
}

/* In place: lane j of vector i becomes lane i of vector j. */
HYP_INLINE void vf_transpose(vf r[VF_LANES])
{
    __m256 t[8];
    HYP_UNROLL
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    HYP_UNROLL
    for (int h = 0; h < 8; h += 4) { /* t[h..h+3] hold pairs of rows h, h+1 and h+2, h+3 */
        __m256 a = _mm256_shuffle_ps(t[h], t[h + 2], 0x44), b = _mm256_shuffle_ps(t[h], t[h + 2], 0xee);
        __m256 c = _mm256_shuffle_ps(t[h + 1], t[h + 3], 0x44), d = _mm256_shuffle_ps(t[h + 1], t[h + 3], 0xee);
        t[h] = a, t[h + 1] = b, t[h + 2] = c, t[h + 3] = d;
    }
    HYP_UNROLL
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
}
HYP_INLINE void vd_transpose(vd r[VD_LANES])
{
    __m256d a = _mm256_unpacklo_pd(r[0], r[1]), b = _mm256_unpackhi_pd(r[0], r[1]);
    __m256d c = _mm256_unpacklo_pd(r[2], r[3]), d = _mm256_unpackhi_pd(r[2], r[3]);
    r[0] = _mm256_permute2f128_pd(a, c, 0x20);
    r[1] = _mm256_permute2f128_pd(b, d, 0x20);
    r[2] = _mm256_permute2f128_pd(a, c, 0x31);
    r[3] = _mm256_permute2f128_pd(b, d, 0x31);
}

#endif
