/*
 * tensor/pack.c: rows of packed types to int8 or float and back (pack.h). The layouts of the ternary types and of the
 * GGUF blocks are the kernels' (kernels/kernels.h); the integers' is here: element i of a byte's e stands at bit
 * i * 8 / e, two's complement.
 */
#include "tensor/pack.h"

#include "kernels/kernels.h"
#include "tensor/internal.h"

static int bits_of(int dtype) { return dtype == HYP_I4 ? 4 : dtype == HYP_I2 ? 2 : 1; }

static enum hypi_block block_of(int dtype) {
	switch (dtype) {
	case HYP_Q8_0: return HYPI_Q8_0;
	case HYP_Q4_0: return HYPI_Q4_0;
	case HYP_TQ1_0: return HYPI_TQ1_0;
	case HYP_TQ2_0: return HYPI_TQ2_0;
	default: return HYPI_I2_S;
	}
}

static void unpack_integers(int8_t *dst, int bits, const uint8_t *src, int64_t n) {
	int each = 8 / bits;
	for (int64_t i = 0; i < n; i++) {
		unsigned field = (unsigned)src[i / each] >> (i % each * bits);
		dst[i] = (int8_t)((int8_t)(uint8_t)(field << (8 - bits)) >> (8 - bits));
	}
}

static void pack_integers(uint8_t *dst, int bits, const int8_t *src, int64_t n) {
	int each = 8 / bits, least = -(1 << (bits - 1)), most = (1 << (bits - 1)) - 1;
	memset(dst, 0, (size_t)((n + each - 1) / each));
	for (int64_t i = 0; i < n; i++) {
		int v = src[i] < least ? least : src[i] > most ? most : src[i];
		dst[i / each] = (uint8_t)(dst[i / each] | ((unsigned)v & ((1u << bits) - 1)) << (i % each * bits));
	}
}

#define STEP 1020 /* a multiple of 4 and 5 */

static void unpack_t5(int8_t *dst, const uint8_t *src, int64_t n) {
	uint8_t t2[STEP / 4];
	for (int64_t at = 0; at < n; at += STEP) {
		size_t m = (size_t)(n - at < STEP ? n - at : STEP);
		hypi_kernels()->ternary.t2_from_t5(t2, src + at / 5, m);
		hypi_kernels()->ternary.i8_from_t2(dst + at, t2, m);
	}
}

static void pack_ternary(uint8_t *dst, bool five, const int8_t *src, int64_t n) {
	int8_t clamped[STEP];
	uint8_t t2[STEP / 4];
	for (int64_t at = 0; at < n; at += STEP) {
		int64_t m = n - at < STEP ? n - at : STEP;
		for (int64_t i = 0; i < m; i++) clamped[i] = (int8_t)((src[at + i] > 0) - (src[at + i] < 0));
		hypi_kernels()->ternary.t2_from_i8(five ? t2 : dst + at / 4, clamped, (size_t)m);
		if (five) hypi_kernels()->ternary.t5_from_t2(dst + at / 5, t2, (size_t)m);
	}
}

void hypi_unpack_row(void *dst, int dtype, const void *src, int64_t n) {
	switch (hypi_dtypes[dtype].info.kind) {
	case HYP_DTYPE_PACKED: unpack_integers(dst, bits_of(dtype), src, n); break;
	case HYP_DTYPE_TERNARY:
		if (dtype == HYP_BITNET158) hypi_kernels()->ternary.i8_from_t2(dst, src, (size_t)n);
		else unpack_t5(dst, src, n);
		break;
	default: hypi_kernels()->block.dequantize[block_of(dtype)](dst, src, (size_t)n);
	}
}

void hypi_pack_row(void *dst, int dtype, const void *src, int64_t n) {
	switch (hypi_dtypes[dtype].info.kind) {
	case HYP_DTYPE_PACKED: pack_integers(dst, bits_of(dtype), src, n); break;
	case HYP_DTYPE_TERNARY: pack_ternary(dst, dtype == HYP_BITNET158_5, src, n); break;
	default: hypi_kernels()->block.quantize[block_of(dtype)](dst, src, (size_t)n);
	}
}
