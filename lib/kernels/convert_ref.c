/*
 * kernels/convert_ref.c: half floats, int8, transposing and strided copies in plain C. The half float conversions
 * work on the bits, so that every rounding and NaN is spelt out once; the vector sets must match them bit for bit.
 */
#include "kernels/fill.h"
#include "kernels/half.h"

static uint16_t bf16_of(float x) {
	uint32_t u = hypi_f32_bits(x);
	if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static int8_t i8_of(float x) {
	if (x != x) return 0;
	if (x >= 127.0f) return 127;
	if (x <= -128.0f) return -128;
	float shifted = x + 0x1.8p23f; /* where the last bit is worth 1: rounds to nearest even */
	return (int8_t)(int32_t)(shifted - 0x1.8p23f);
}

#define LOOP(name, to_type, from_type, fn) \
	static void name(to_type *dst, const from_type *a, size_t n) { \
		for (size_t i = 0; i < n; i++) dst[i] = fn(a[i]); \
	}
#define f32_of_bf16(h) hypi_f32_of_bits((uint32_t)(h) << 16)
#define f32_of_i8(q) ((float)(q))
LOOP(f16_from_f32, uint16_t, float, hypi_f16_of_f32)
LOOP(f32_from_f16, float, uint16_t, hypi_f32_of_f16)
LOOP(bf16_from_f32, uint16_t, float, bf16_of)
LOOP(f32_from_bf16, float, uint16_t, f32_of_bf16)
LOOP(f32_from_i8, float, int8_t, f32_of_i8)
LOOP(i8_from_f32, int8_t, float, i8_of)

/* Square blocks that fit the first cache with both sides of the copy in it. */
#define TRANSPOSE_BLOCK 32
#define COPIES(bits) \
	static void transpose_##bits(void *dst, size_t dst_stride, const void *src, size_t src_stride, size_t rows, \
	                             size_t cols) { \
		uint##bits##_t *d = dst; \
		const uint##bits##_t *s = src; \
		for (size_t r0 = 0; r0 < rows; r0 += TRANSPOSE_BLOCK) \
			for (size_t c0 = 0; c0 < cols; c0 += TRANSPOSE_BLOCK) \
				for (size_t c = c0; c < cols && c < c0 + TRANSPOSE_BLOCK; c++) \
					for (size_t r = r0; r < rows && r < r0 + TRANSPOSE_BLOCK; r++) \
						d[c * dst_stride + r] = s[r * src_stride + c]; \
	} \
	static void copy_strided_##bits(void *dst, ptrdiff_t dst_stride, const void *src, ptrdiff_t src_stride, \
	                                size_t n) { \
		uint##bits##_t *d = dst; \
		const uint##bits##_t *s = src; \
		if (dst_stride == 1 && src_stride == 2) { \
			for (size_t i = 0; i < n; i++) d[i] = s[2 * i]; \
			return; \
		} \
		for (size_t i = 0; i < n; i++) d[(ptrdiff_t)i * dst_stride] = s[(ptrdiff_t)i * src_stride]; \
	}
COPIES(8)
COPIES(16)
COPIES(32)
COPIES(64)

void hypi_fill_convert_ref(struct hypi_convert *c) {
	c->f16_from_f32 = f16_from_f32;
	c->f32_from_f16 = f32_from_f16;
	c->bf16_from_f32 = bf16_from_f32;
	c->f32_from_bf16 = f32_from_bf16;
	c->f32_from_i8 = f32_from_i8;
	c->i8_from_f32 = i8_from_f32;
	c->transpose[0] = transpose_8;
	c->transpose[1] = transpose_16;
	c->transpose[2] = transpose_32;
	c->transpose[3] = transpose_64;
	c->copy_strided[0] = copy_strided_8;
	c->copy_strided[1] = copy_strided_16;
	c->copy_strided[2] = copy_strided_32;
	c->copy_strided[3] = copy_strided_64;
}
