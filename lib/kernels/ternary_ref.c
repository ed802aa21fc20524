/*
 * kernels/ternary_ref.c: ternary weights and int8 activations in plain C. The formats stand in kernels.h.
 * Absmean quantisation is that of BitNet b1.58 (Ma et al., 2024); the 5-in-8 code is llama.cpp's TQ1_0 idea (compilade,
 * 2024) on rows instead of blocks.
 */
#include <math.h>

#include "kernels/ternary_scalar.h"

static void quantize_i8(int8_t *q, size_t q_stride, float *scale, int32_t *sum, const float *x, size_t x_stride,
                        size_t rows, size_t k) {
	for (size_t r = 0; r < rows; r++) {
		float most = 0;
		for (size_t i = 0; i < k; i++) most = fabsf(x[r * x_stride + i]) > most ? fabsf(x[r * x_stride + i]) : most;
		float inverse = i8_inverse_scale(most);
		int32_t total = 0;
		for (size_t i = 0; i < k; i++) {
			int v = round_even(x[r * x_stride + i] * inverse);
			q[r * q_stride + i] = (int8_t)v;
			total += v;
		}
		scale[r] = i8_scale(most);
		if (sum != NULL) sum[r] = total;
	}
}

static void dequantize_i8(float *x, const int8_t *q, float scale, size_t n) {
	for (size_t i = 0; i < n; i++) x[i] = (float)q[i] * scale;
}

static double abs_sum_f32(const float *w, size_t n) {
	double s = 0;
	for (size_t i = 0; i < n; i++) s += fabs((double)w[i]);
	return s;
}

static void quantize_t2(uint8_t *dst, const float *w, float inv_scale, size_t k) {
	for (size_t i = 0; i < k; i++) t2_put(dst, i, ternary_code(w[i] * inv_scale));
}

static void dequantize_t2(float *dst, const uint8_t *t2, float scale, size_t k) {
	for (size_t i = 0; i < k; i++) dst[i] = (float)((int)t2_get(t2, i) - 1) * scale;
}

static void t2_from_i8(uint8_t *dst, const int8_t *w, size_t k) {
	for (size_t i = 0; i < k; i++) t2_put(dst, i, (unsigned)(w[i] + 1) & 3u);
}

static void i8_from_t2(int8_t *dst, const uint8_t *t2, size_t k) {
	for (size_t i = 0; i < k; i++) dst[i] = (int8_t)((int)t2_get(t2, i) - 1);
}

static void t5_from_t2(uint8_t *dst, const uint8_t *t2, size_t k) {
	for (size_t j = 0; j < HYPI_T5_ROW_BYTES(k); j++) {
		unsigned q = 0;
		for (size_t i = 5 * j; i < 5 * j + 5; i++) q = 3 * q + (i < k ? t2_get(t2, i) : 1u);
		dst[j] = (uint8_t)((q * 256 + 242) / 243);
	}
}

static void t2_from_t5(uint8_t *dst, const uint8_t *t5, size_t k) {
	for (size_t i = 0; i < k; i++) t2_put(dst, i, t5_get(t5, i));
}

static void pack_p16(uint8_t *dst, const uint8_t *t2, size_t t2_stride_bytes, size_t m, size_t k, size_t row_begin,
                     size_t row_end) {
	for (size_t r = row_begin; r < row_end || (r % 16 != 0 && r > row_begin); r++) {
		for (size_t i = 0; i < (k + 15) / 16 * 16; i++) {
			unsigned code = r < m && i < k ? t2_get(t2 + r * t2_stride_bytes, i) : 1u;
			uint8_t *byte = dst + p16_at(k, r, i);
			unsigned shift = (unsigned)(i % 16 / 4 * 2);
			*byte = (uint8_t)(shift == 0 ? code : *byte | code << shift);
		}
	}
}

static void t2_from_p16(uint8_t *dst, size_t dst_stride_bytes, const uint8_t *p16, size_t m, size_t k) {
	for (size_t r = 0; r < m; r++)
		for (size_t i = 0; i < k; i++)
			t2_put(dst + r * dst_stride_bytes, i, p16[p16_at(k, r, i)] >> i % 16 / 4 * 2 & 3u);
}

static void put_result(const struct hypi_ternary_job *job, size_t row, size_t b, int32_t dot) {
	size_t at = b * job->out_stride + row;
	if (job->out_i32 != NULL) job->out_i32[at] = dot;
	if (job->out_f32 != NULL) job->out_f32[at] = (float)dot * (job->x_scale[b] * job->w_scale);
}

/* code * x summed, minus x_sum; unsigned, because the partial sums may pass the range that the result keeps. */
#define MATMUL(name, code_at) \
	static void name(const struct hypi_ternary_job *job, size_t row_begin, size_t row_end) { \
		for (size_t row = row_begin; row < row_end; row++) { \
			for (size_t b = 0; b < job->batch; b++) { \
				const int8_t *x = job->x + b * job->x_stride; \
				uint32_t dot = 0; \
				for (size_t i = 0; i < job->k; i++) dot += (uint32_t)((int)(code_at)*x[i]); \
				put_result(job, row, b, (int32_t)(dot - (uint32_t)job->x_sum[b])); \
			} \
		} \
	}
MATMUL(matmul_t2, t2_get(job->w + row * job->w_stride_bytes, i))
MATMUL(matmul_t5, t5_get(job->w + row * job->w_stride_bytes, i))
MATMUL(matmul_p16, job->w[p16_at(job->k, row, i)] >> i % 16 / 4 * 2 & 3u)

void hypi_fill_ternary_ref(struct hypi_ternary *t) {
	*t = (struct hypi_ternary){
		.quantize_i8 = quantize_i8,
		.dequantize_i8 = dequantize_i8,
		.abs_sum_f32 = abs_sum_f32,
		.quantize_t2 = quantize_t2,
		.dequantize_t2 = dequantize_t2,
		.t2_from_i8 = t2_from_i8,
		.i8_from_t2 = i8_from_t2,
		.t5_from_t2 = t5_from_t2,
		.t2_from_t5 = t2_from_t5,
		.pack_p16 = pack_p16,
		.t2_from_p16 = t2_from_p16,
		.matmul_t2 = matmul_t2,
		.matmul_t5 = matmul_t5,
		.matmul_p16 = matmul_p16,
	};
}
