/*
 * kernels/half.h: half floats one at a time, on the bits, so that every rounding and NaN is spelt out once. The vector
 * sets must match these bit for bit. Used by the reference kernels.
 */
#ifndef HYPI_KERNELS_HALF_H
#define HYPI_KERNELS_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t hypi_f32_bits(float x) {
	uint32_t u;
	memcpy(&u, &x, sizeof(u));
	return u;
}

static inline float hypi_f32_of_bits(uint32_t u) {
	float x;
	memcpy(&x, &u, sizeof(x));
	return x;
}

static inline uint16_t hypi_f16_of_f32(float x) {
	uint32_t u = hypi_f32_bits(x), sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffff;
	if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff)); /* NaN, made quiet */
	if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* 65520 and above round to infinity */
	if (magnitude < 0x38800000) {
		/* Below 2^-14 the spacing is 2^-24: adding 0.5, whose last bit is worth that, rounds there. */
		uint32_t rounded = hypi_f32_bits(hypi_f32_of_bits(magnitude) + 0.5f) - 0x3f000000;
		return (uint16_t)(sign | rounded);
	}
	uint32_t odd = magnitude >> 13 & 1;
	return (uint16_t)(sign | ((magnitude - 0x38000000 + 0xfff + odd) >> 13));
}

static inline float hypi_f32_of_f16(uint16_t h) {
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, magnitude = h & 0x7fff;
	if (magnitude > 0x7c00) return hypi_f32_of_bits(sign | 0x7fc00000 | magnitude << 13);
	if (magnitude == 0x7c00) return hypi_f32_of_bits(sign | 0x7f800000);
	if (magnitude < 0x400) return hypi_f32_of_bits(sign | hypi_f32_bits((float)magnitude * 0x1p-24f));
	return hypi_f32_of_bits(sign | ((magnitude << 13) + 0x38000000));
}

#endif
