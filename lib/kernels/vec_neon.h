/* kernels/vec_neon.h: vec.h's vocabulary in AArch64 Advanced SIMD. Included by vec.h only. */
#ifndef HYPI_KERNELS_VEC_NEON_H
#define HYPI_KERNELS_VEC_NEON_H

#include <arm_neon.h>

/* One wrapper a line, to be read as a table. */
/* clang-format off */
#define VF_LANES 4
#define VD_LANES 2

typedef float32x4_t vf;
typedef int32x4_t vi;
typedef uint32x4_t vm;
typedef float64x2_t vd;
typedef uint64x2_t vdm;

HYP_INLINE vf vf_set1(float x) { return vdupq_n_f32(x); }
HYP_INLINE vf vf_zero(void) { return vdupq_n_f32(0); }
HYP_INLINE vf vf_load(const float *p) { return vld1q_f32(p); }
HYP_INLINE void vf_store(float *p, vf a) { vst1q_f32(p, a); }
HYP_INLINE void vf_stream(float *p, vf a) { vst1q_f32(p, a); }
HYP_INLINE vf vf_load_n(const float *p, size_t n)
{
    float t[4] = {0};
    for (size_t i = 0; i < n; i++)
        t[i] = p[i];
    return vld1q_f32(t);
}
HYP_INLINE void vf_store_n(float *p, vf a, size_t n)
{
    float t[4];
    vst1q_f32(t, a);
    for (size_t i = 0; i < n; i++)
        p[i] = t[i];
}
HYP_INLINE vf vf_add(vf a, vf b) { return vaddq_f32(a, b); }
HYP_INLINE vf vf_sub(vf a, vf b) { return vsubq_f32(a, b); }
HYP_INLINE vf vf_mul(vf a, vf b) { return vmulq_f32(a, b); }
HYP_INLINE vf vf_div(vf a, vf b) { return vdivq_f32(a, b); }
HYP_INLINE vf vf_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
HYP_INLINE vf vf_fnma(vf a, vf b, vf c) { return vfmsq_f32(c, a, b); }
HYP_INLINE vf vf_sqrt(vf a) { return vsqrtq_f32(a); }
HYP_INLINE vf vf_neg(vf a) { return vnegq_f32(a); }
HYP_INLINE vf vf_abs(vf a) { return vabsq_f32(a); }
HYP_INLINE vf vf_copysign(vf a, vf sign) { return vbslq_f32(vdupq_n_u32(0x80000000u), sign, a); }
HYP_INLINE vf vf_round(vf a) { return vrndnq_f32(a); }
HYP_INLINE vf vf_min_any(vf a, vf b) { return vminq_f32(a, b); }
HYP_INLINE vf vf_max_any(vf a, vf b) { return vmaxq_f32(a, b); }
HYP_INLINE vf vf_min(vf a, vf b) { return vminq_f32(a, b); }
HYP_INLINE vf vf_max(vf a, vf b) { return vmaxq_f32(a, b); }
HYP_INLINE vf vf_clamp(vf x, vf lo, vf hi) { return vminq_f32(hi, vmaxq_f32(lo, x)); }

HYP_INLINE vm vf_eq(vf a, vf b) { return vceqq_f32(a, b); }
HYP_INLINE vm vf_ne(vf a, vf b) { return vmvnq_u32(vceqq_f32(a, b)); }
HYP_INLINE vm vf_lt(vf a, vf b) { return vcltq_f32(a, b); }
HYP_INLINE vm vf_le(vf a, vf b) { return vcleq_f32(a, b); }
HYP_INLINE vm vf_gt(vf a, vf b) { return vcgtq_f32(a, b); }
HYP_INLINE vm vf_ge(vf a, vf b) { return vcgeq_f32(a, b); }
HYP_INLINE vm vf_unordered(vf a, vf b) { return vmvnq_u32(vandq_u32(vceqq_f32(a, a), vceqq_f32(b, b))); }
HYP_INLINE vm vm_or(vm a, vm b) { return vorrq_u32(a, b); }
HYP_INLINE vf vf_select(vm m, vf yes, vf no) { return vbslq_f32(m, yes, no); }
HYP_INLINE bool vm_any(vm m) { return vmaxvq_u32(m) != 0; }
HYP_INLINE unsigned vm_bits(vm m)
{
    const uint32x4_t weight = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(m, weight));
}
/* 0 or 1 in each of VF_LANES bytes */
HYP_INLINE void vm_store_bytes(uint8_t *p, vm m)
{
    uint16x4_t w = vmovn_u32(vshrq_n_u32(m, 31));
    uint8x8_t b = vmovn_u16(vcombine_u16(w, w));
    uint32_t bytes = vget_lane_u32(vreinterpret_u32_u8(b), 0);
    memcpy(p, &bytes, 4);
}

HYP_INLINE vi vi_set1(int32_t x) { return vdupq_n_s32(x); }
HYP_INLINE vi vi_add(vi a, vi b) { return vaddq_s32(a, b); }
HYP_INLINE vi vi_sub(vi a, vi b) { return vsubq_s32(a, b); }
HYP_INLINE vi vi_and(vi a, vi b) { return vandq_s32(a, b); }
#define vi_shl(a, bits) vshlq_n_s32(a, bits)
#define vi_sra(a, bits) vshrq_n_s32(a, bits)
HYP_INLINE vi vi_from_vf(vf a) { return vcvtnq_s32_f32(a); }
HYP_INLINE vf vf_from_vi(vi a) { return vcvtq_f32_s32(a); }
HYP_INLINE vi vf_bits(vf a) { return vreinterpretq_s32_f32(a); }
HYP_INLINE vf vf_of_bits(vi a) { return vreinterpretq_f32_s32(a); }
HYP_INLINE vf vf_scale(vf x, vf n)
{
    int32x4_t i = vcvtnq_s32_f32(n), half = vshrq_n_s32(i, 1), rest = vsubq_s32(i, half), bias = vdupq_n_s32(127);
    float32x4_t p = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
    float32x4_t q = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23));
    return vmulq_f32(vmulq_f32(x, p), q);
}
HYP_INLINE float vf_hmax_any(vf a) { return vmaxvq_f32(a); }
HYP_INLINE float vf_hmin_any(vf a) { return vminvq_f32(a); }
HYP_INLINE float vf_hsum(vf a) { return vaddvq_f32(a); }

HYP_INLINE vd vd_set1(double x) { return vdupq_n_f64(x); }
HYP_INLINE vd vd_zero(void) { return vdupq_n_f64(0); }
HYP_INLINE vd vd_load(const double *p) { return vld1q_f64(p); }
HYP_INLINE void vd_store(double *p, vd a) { vst1q_f64(p, a); }
HYP_INLINE void vd_stream(double *p, vd a) { vst1q_f64(p, a); }
HYP_INLINE vd vd_load_n(const double *p, size_t n)
{
    vd z = vdupq_n_f64(0);
    return n == 0 ? z : n == 1 ? vsetq_lane_f64(p[0], z, 0) : vld1q_f64(p);
}
HYP_INLINE void vd_store_n(double *p, vd a, size_t n)
{
    if (n > 0) p[0] = vgetq_lane_f64(a, 0);
    if (n > 1) p[1] = vgetq_lane_f64(a, 1);
}
HYP_INLINE vd vd_add(vd a, vd b) { return vaddq_f64(a, b); }
HYP_INLINE vd vd_sub(vd a, vd b) { return vsubq_f64(a, b); }
HYP_INLINE vd vd_mul(vd a, vd b) { return vmulq_f64(a, b); }
HYP_INLINE vd vd_div(vd a, vd b) { return vdivq_f64(a, b); }
HYP_INLINE vd vd_fma(vd a, vd b, vd c) { return vfmaq_f64(c, a, b); }
HYP_INLINE vd vd_sqrt(vd a) { return vsqrtq_f64(a); }
HYP_INLINE vd vd_neg(vd a) { return vnegq_f64(a); }
HYP_INLINE vd vd_abs(vd a) { return vabsq_f64(a); }
HYP_INLINE vd vd_min(vd a, vd b) { return vminq_f64(a, b); }
HYP_INLINE vd vd_max(vd a, vd b) { return vmaxq_f64(a, b); }
HYP_INLINE vdm vd_eq(vd a, vd b) { return vceqq_f64(a, b); }
HYP_INLINE vdm vd_ne(vd a, vd b) { return veorq_u64(vceqq_f64(a, b), vdupq_n_u64(UINT64_MAX)); }
HYP_INLINE vdm vd_lt(vd a, vd b) { return vcltq_f64(a, b); }
HYP_INLINE vdm vd_le(vd a, vd b) { return vcleq_f64(a, b); }
HYP_INLINE vdm vd_gt(vd a, vd b) { return vcgtq_f64(a, b); }
HYP_INLINE vdm vd_ge(vd a, vd b) { return vcgeq_f64(a, b); }
HYP_INLINE vd vd_select(vdm m, vd yes, vd no) { return vbslq_f64(m, yes, no); }
HYP_INLINE void vdm_store_bytes(uint8_t *p, vdm m)
{
    p[0] = (uint8_t)(vgetq_lane_u64(m, 0) & 1);
    p[1] = (uint8_t)(vgetq_lane_u64(m, 1) & 1);
}
HYP_INLINE double vd_hsum(vd a) { return vaddvq_f64(a); }
/* The lower and upper half of a vf, exactly. */
HYP_INLINE vd vd_from_low(vf a) { return vcvt_f64_f32(vget_low_f32(a)); }
HYP_INLINE vd vd_from_high(vf a) { return vcvt_f64_f32(vget_high_f32(a)); }
HYP_INLINE vf vf_from_vd(vd low, vd high) { return vcombine_f32(vcvt_f32_f64(low), vcvt_f32_f64(high)); }
HYP_INLINE void vec_fence(void) {}

/* The sums of four vectors. */
HYP_INLINE void vf_hsum4(float *sum, vf a, vf b, vf c, vf d) { vst1q_f32(sum, vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d))); }
HYP_INLINE void vd_hsum4(double *sum, vd a, vd b, vd c, vd d)
{
    sum[0] = vd_hsum(a), sum[1] = vd_hsum(b), sum[2] = vd_hsum(c), sum[3] = vd_hsum(d);
}

/* In place: lane j of vector i becomes lane i of vector j. */
HYP_INLINE void vf_transpose(vf r[VF_LANES])
{
    float32x4_t a = vtrn1q_f32(r[0], r[1]), b = vtrn2q_f32(r[0], r[1]);
    float32x4_t c = vtrn1q_f32(r[2], r[3]), d = vtrn2q_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(a), vget_low_f32(c));
    r[1] = vcombine_f32(vget_low_f32(b), vget_low_f32(d));
    r[2] = vcombine_f32(vget_high_f32(a), vget_high_f32(c));
    r[3] = vcombine_f32(vget_high_f32(b), vget_high_f32(d));
}
HYP_INLINE void vd_transpose(vd r[VD_LANES])
{
    float64x2_t a = vtrn1q_f64(r[0], r[1]);
    r[1] = vtrn2q_f64(r[0], r[1]);
    r[0] = a;
}

#endif
