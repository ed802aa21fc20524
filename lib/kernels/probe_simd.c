/*
 * kernels/probe_simd.c: the ceilings of a vector set: independent chains of its multiply-add, of its exact int8 dot
 * product, and of its widest loads. Compiled once for each set.
 */
#include "kernels/vec.h"

/* The compiler must neither merge the chains nor drop them. */
#if HYP_CPU_X86_64
#define KEEP(v) __asm__ volatile("" : "+v"(v))
#else
#define KEEP(v) __asm__ volatile("" : "+w"(v))
#endif
#define CHAINS 12

static uint64_t fma_f32(size_t rounds) {
	vf acc[CHAINS], x = vf_set1(0.999f), y = vf_set1(1.0f);
	HYP_UNROLL
	for (int c = 0; c < CHAINS; c++) acc[c] = vf_zero();
	for (size_t i = 0; i < rounds; i++) {
		HYP_UNROLL
		for (int c = 0; c < CHAINS; c++) {
			acc[c] = vf_fma(acc[c], x, y);
			KEEP(acc[c]);
		}
	}
	return rounds * CHAINS * VF_LANES * 2;
}

static uint64_t read_bytes(const void *p, size_t bytes) {
	const float *a = p;
	size_t n = bytes / sizeof(float), i = 0;
	vf acc[8];
	HYP_UNROLL
	for (int c = 0; c < 8; c++) acc[c] = vf_zero();
	for (; i + 8 * VF_LANES <= n; i += 8 * VF_LANES) {
		HYP_UNROLL
		for (size_t c = 0; c < 8; c++) {
			acc[c] = vf_max_any(acc[c], vf_load(a + i + c * VF_LANES));
			KEEP(acc[c]);
		}
	}
	return i * sizeof(float);
}

#if HYP_CPU_X86_64
/* Each set's exact idiom: VNNI's own instruction, or products widened from i16 pairs. */
static uint64_t dot_i8(size_t rounds) {
	vi acc[CHAINS], x = vi_set1(0x01020102), y = vi_set1(0x03010203);
	HYP_UNROLL
	for (int c = 0; c < CHAINS; c++) acc[c] = vi_set1(0);
	for (size_t i = 0; i < rounds; i++) {
		HYP_UNROLL
		for (int c = 0; c < CHAINS; c++) {
			KEEP(x);
#if HYPI_VNNI
			acc[c] = _mm512_dpbusd_epi32(acc[c], x, y);
#elif VF_LANES == 16
			acc[c] = vi_add(acc[c], _mm512_madd_epi16(_mm512_maddubs_epi16(x, y), _mm512_set1_epi16(1)));
#else
			acc[c] = vi_add(acc[c], _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), _mm256_set1_epi16(1)));
#endif
			KEEP(acc[c]);
		}
	}
	return rounds * CHAINS * VF_LANES * 4 * 2;
}
#else
static uint64_t dot_i8(size_t rounds) {
	int32x4_t acc[CHAINS];
	int8x16_t x = vdupq_n_s8(1), y = vdupq_n_s8(3);
	for (int c = 0; c < CHAINS; c++) acc[c] = vdupq_n_s32(0);
	for (size_t i = 0; i < rounds; i++) {
		HYP_UNROLL
		for (int c = 0; c < CHAINS; c++) {
			KEEP(x);
#if HYPI_DOTPROD
			acc[c] = vdotq_s32(acc[c], x, y);
#else
			int16x8_t p = vmull_s8(vget_low_s8(x), vget_low_s8(y));
			acc[c] = vpadalq_s16(acc[c], vmlal_high_s8(p, x, y));
#endif
			KEEP(acc[c]);
		}
	}
	return rounds * CHAINS * 16 * 2;
}
#endif

void HYPI_FOR_SET(hypi_fill_probe_)(struct hypi_probe *p) {
	p->fma_f32 = fma_f32;
	p->dot_i8 = dot_i8;
	p->read = read_bytes;
}
