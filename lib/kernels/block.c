/*
 * kernels/block.c: the block formats that GGUF files hold (ggml-org, 2023 to 2025; BitNet's I2_S, Microsoft 2024).
 * One source, compiled for the reference and once for each set: the loops have fixed lengths and the compiler
 * vectorises them. The f32 additions keep their order, so all sets agree bit for bit.
 *
 *   Q8_0   32 elements, 34 bytes: f16 d; int8 q[32]. x = q d.
 *   Q4_0   32 elements, 18 bytes: f16 d; 16 bytes, byte m: low half element m, high half 16 + m. x = (q - 8) d.
 *   TQ1_0  256 elements, 54 bytes: 48 + 4 bytes of 5 trits (the last 4 bytes: 4), then f16 d. The first 32 bytes hold
 *          elements 32n + m for trit n of byte m, the next 16 elements 160 + 16n + m, the last 4 240 + 4n + m. Byte =
 *          ceil(256 q / 243), trit n = ((uint8)(b 3^n) 3) >> 8. x = (trit - 1) d.
 *   TQ2_0  256 elements, 66 bytes: 64 bytes, then f16 d. Of byte m of 32-byte group j, bits 2n+1:2n hold element
 *          128j + 32n + m. x = (code - 1) d.
 *   I2_S   128 elements, 32 bytes (the x86 order). Of byte m, bits 7:6 hold element m, 5:4 32 + m, 3:2 64 + m, 1:0
 *          96 + m. x = (code - 1) times the tensor's one scale, which lies behind its last block.
 */
#include <math.h>
#include <stdlib.h>

#include "kernels/fill.h"
#include "kernels/half.h"

static void put_f16(uint8_t *p, float x) {
	uint16_t h = hypi_f16_of_f32(x);
	memcpy(p, &h, sizeof(h));
}

static float get_f16(const uint8_t *p) {
	uint16_t h;
	memcpy(&h, p, sizeof(h));
	return hypi_f32_of_f16(h);
}

static float abs_max(const float *x, size_t n) {
	float most = 0;
	for (size_t i = 0; i < n; i++) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
	return most;
}

/* ---- Quantisers, one block each -------------------------------------------------------------------------------- */

static void quantize_block_q8_0(uint8_t *b, const float *x) {
	float d = abs_max(x, 32) / 127.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
	put_f16(b, d);
	for (size_t i = 0; i < 32; i++) b[2 + i] = (uint8_t)(int8_t)roundf(x[i] * inverse);
}

static uint8_t q4_of(float x, float inverse) {
	int q = (int)(x * inverse + 8.5f);
	return (uint8_t)(q < 15 ? q : 15);
}

static void quantize_block_q4_0(uint8_t *b, const float *x) {
	float most = 0; /* the element of the greatest size, with its sign: it becomes code 0 */
	for (size_t i = 0; i < 32; i++)
		if (fabsf(x[i]) > fabsf(most)) most = x[i];
	float d = most / -8.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
	put_f16(b, d);
	for (size_t m = 0; m < 16; m++) b[2 + m] = (uint8_t)(q4_of(x[m], inverse) | q4_of(x[16 + m], inverse) << 4);
}

static unsigned trit_of(float x, float inverse) {
	long q = lroundf(x * inverse);
	return (unsigned)(q + 1);
}

static uint8_t trit_byte(unsigned q) { return (uint8_t)((q * 256 + 242) / 243); }

static void quantize_block_tq1_0(uint8_t *b, const float *x) {
	float d = abs_max(x, 256), inverse = d != 0 ? 1.0f / d : 0.0f;
	static const struct {
		uint8_t bytes, first_byte, trits;
		uint8_t first_element;
	} group[3] = {{32, 0, 5, 0}, {16, 32, 5, 160}, {4, 48, 4, 240}};
	for (size_t g = 0; g < 3; g++) {
		for (size_t m = 0; m < group[g].bytes; m++) {
			unsigned q = 0;
			for (size_t n = 0; n < 5; n++) {
				unsigned trit = 0;
				if (n < group[g].trits) trit = trit_of(x[group[g].first_element + n * group[g].bytes + m], inverse);
				q = 3 * q + trit;
			}
			b[group[g].first_byte + m] = trit_byte(q);
		}
	}
	put_f16(b + 52, d);
}

static void quantize_block_tq2_0(uint8_t *b, const float *x) {
	float d = abs_max(x, 256), inverse = d != 0 ? 1.0f / d : 0.0f;
	for (size_t j = 0; j < 2; j++) {
		for (size_t m = 0; m < 32; m++) {
			unsigned byte = 0;
			for (size_t n = 0; n < 4; n++) byte |= trit_of(x[128 * j + 32 * n + m], inverse) << 2 * n;
			b[32 * j + m] = (uint8_t)byte;
		}
	}
	put_f16(b + 64, d);
}

static unsigned sign_code(float x) { return fabsf(x) < 1e-6f ? 1u : x > 0 ? 2u : 0u; }

static void quantize_block_i2_s(uint8_t *b, const float *x) {
	for (size_t m = 0; m < 32; m++) {
		b[m] = (uint8_t)(sign_code(x[m]) << 6 | sign_code(x[32 + m]) << 4 | sign_code(x[64 + m]) << 2 |
		                 sign_code(x[96 + m]));
	}
}

/* ---- Decoders: the scale, and the integers of 32 elements from element 32 * part on ------------------------------ */

static float decode_q8_0(int8_t q[32], const uint8_t *b, size_t part) {
	(void)part;
	memcpy(q, b + 2, 32);
	return get_f16(b);
}

static float decode_q4_0(int8_t q[32], const uint8_t *b, size_t part) {
	(void)part;
	for (size_t m = 0; m < 16; m++) {
		q[m] = (int8_t)((b[2 + m] & 15) - 8);
		q[16 + m] = (int8_t)((b[2 + m] >> 4) - 8);
	}
	return get_f16(b);
}

static int8_t trit_at(uint8_t byte, size_t n) {
	static const uint8_t power[5] = {1, 3, 9, 27, 81};
	uint8_t shifted = (uint8_t)(byte * power[n]);
	return (int8_t)((shifted * 3 >> 8) - 1);
}

static float decode_tq1_0(int8_t q[32], const uint8_t *b, size_t part) {
	for (size_t i = 0; i < 32; i++) {
		size_t e = 32 * part + i;
		if (e < 160) {
			q[i] = trit_at(b[e % 32], e / 32);
		} else if (e < 240) {
			q[i] = trit_at(b[32 + e % 16], (e - 160) / 16);
		} else {
			q[i] = trit_at(b[48 + e % 4], (e - 240) / 4);
		}
	}
	return get_f16(b + 52);
}

static float decode_tq2_0(int8_t q[32], const uint8_t *b, size_t part) {
	for (size_t m = 0; m < 32; m++) q[m] = (int8_t)((b[32 * (part / 4) + m] >> 2 * (part % 4) & 3) - 1);
	return get_f16(b + 64);
}

static float decode_i2_s(int8_t q[32], const uint8_t *b, size_t part) {
	for (size_t m = 0; m < 32; m++) q[m] = (int8_t)((b[m] >> (6 - 2 * part) & 3) - 1);
	return 1.0f;
}

/* ---- The five, from the same mould -------------------------------------------------------------------------------- */

#define DEFINE_BLOCK(id, name) \
	static void quantize_##name(void *dst, const float *x, size_t k) { \
		uint8_t *b = dst; \
		size_t elements = hypi_block_info[id].elements, bytes = hypi_block_info[id].bytes; \
		for (size_t i = 0; i < k / elements; i++) quantize_block_##name(b + i * bytes, x + i * elements); \
	} \
	static void dequantize_##name(float *dst, const void *blocks, size_t k) { \
		const uint8_t *b = blocks; \
		size_t parts = hypi_block_info[id].elements / 32u, bytes = hypi_block_info[id].bytes; \
		for (size_t p = 0; p < k / 32; p++) { \
			int8_t q[32]; \
			float d = decode_##name(q, b + p / parts * bytes, p % parts); \
			for (size_t i = 0; i < 32; i++) dst[32 * p + i] = (float)q[i] * d; \
		} \
	} \
	static float dot_##name(const void *blocks, const void *q8_0, size_t k) { \
		const uint8_t *b = blocks, *x = q8_0; \
		size_t parts = hypi_block_info[id].elements / 32u, bytes = hypi_block_info[id].bytes; \
		float total = 0; \
		for (size_t p = 0; p < k / 32; p++) { \
			int8_t q[32], r[32]; \
			int32_t dot = 0; \
			float d = decode_##name(q, b + p / parts * bytes, p % parts); \
			float e = decode_q8_0(r, x + p * 34, 0); \
			for (size_t i = 0; i < 32; i++) dot += q[i] * r[i]; \
			total += (float)dot * (d * e); \
		} \
		return total; \
	}

DEFINE_BLOCK(HYPI_Q8_0, q8_0)
DEFINE_BLOCK(HYPI_Q4_0, q4_0)
DEFINE_BLOCK(HYPI_TQ1_0, tq1_0)
DEFINE_BLOCK(HYPI_TQ2_0, tq2_0)
DEFINE_BLOCK(HYPI_I2_S, i2_s)

#define SET_BLOCK(ops, id, name) \
	((ops)->quantize[id] = quantize_##name, (ops)->dequantize[id] = dequantize_##name, (ops)->dot_q8_0[id] = dot_##name)

void HYPI_FOR_SET(hypi_fill_block_)(struct hypi_block_ops *ops) {
	SET_BLOCK(ops, HYPI_Q8_0, q8_0);
	SET_BLOCK(ops, HYPI_Q4_0, q4_0);
	SET_BLOCK(ops, HYPI_TQ1_0, tq1_0);
	SET_BLOCK(ops, HYPI_TQ2_0, tq2_0);
	SET_BLOCK(ops, HYPI_I2_S, i2_s);
}
