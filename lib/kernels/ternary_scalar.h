/*
 * kernels/ternary_scalar.h: the ternary formats one weight at a time (kernels.h says what they are), and the driver that
 * all sets' products share. For the reference in full, for the vector sets' tails.
 */
#ifndef HYPI_KERNELS_TERNARY_SCALAR_H
#define HYPI_KERNELS_TERNARY_SCALAR_H

#include <string.h>

#include "base/compiler.h"
#include "kernels/fill.h"

static inline unsigned t2_get(const uint8_t *row, size_t k) { return row[k / 4] >> k % 4 * 2 & 3u; }

/* Sets code k of a row; the codes of a byte are set in order, so the first clears the rest. */
static inline void t2_put(uint8_t *row, size_t k, unsigned code) {
	if (k % 4 == 0) row[k / 4] = 0;
	row[k / 4] = (uint8_t)(row[k / 4] | code << k % 4 * 2);
}

static inline unsigned t5_get(const uint8_t *row, size_t k) {
	static const uint8_t power[5] = {1, 3, 9, 27, 81};
	uint8_t shifted = (uint8_t)(row[k / 5] * power[k % 5]);
	return (unsigned)(shifted * 3) >> 8;
}

/* round half even of x, clamped to -1..1, plus 1: only where |x| passes 0.5 matters. */
static inline unsigned ternary_code(float x) { return x > 0.5f ? 2u : x < -0.5f ? 0u : 1u; }

static inline int round_even(float x) /* |x| < 2^22 */ {
	float shifted = x + 0x1.8p23f;
	return (int)(shifted - 0x1.8p23f);
}

/* 127 / max|x|. Below 2^-118 that is out of range; such a row counts as zeros. */
static inline float i8_inverse_scale(float most) { return most >= 0x1p-118f ? 127.0f / most : 0.0f; }
static inline float i8_scale(float most) { return most >= 0x1p-118f ? most / 127.0f : 0.0f; }

/* Byte of weight k of row in the P16 form. */
static inline size_t p16_at(size_t k_total, size_t row, size_t k) {
	return row / 16 * HYPI_P16_PANEL_BYTES(k_total) + k / 16 * 64 + row % 16 * 4 + k % 4;
}

/* 16 codes of T2 (code 4s + b at bit 8s + 2b) to a dword of P16 (at bit 8b + 2s), or back: a 4 x 4 transpose of 2-bit
 * cells by two exchanges (the method of Warren, Hacker's Delight, 2002, 7-3). */
static inline uint32_t p16_exchange(uint32_t x) {
	uint32_t t = (x ^ x >> 12) & 0x0000f0f0u;
	x ^= t ^ t << 12;
	t = (x ^ x >> 6) & 0x00cc00ccu;
	return x ^ t ^ t << 6;
}

/* The 16 codes from 16 * group on, code 1 beyond k. */
static inline uint32_t t2_group(const uint8_t *row, size_t group, size_t k) {
	size_t left = k - 16 * group;
	uint32_t codes = 0;
	if (HYP_LIKELY(left >= 16)) {
		memcpy(&codes, row + 4 * group, 4);
		return codes;
	}
	memcpy(&codes, row + 4 * group, (left + 3) / 4);
	uint32_t mask = left == 0 ? 0 : UINT32_MAX >> (32 - 2 * left);
	return (codes & mask) | (0x55555555u & ~mask);
}

static inline void ternary_pack_p16(uint8_t *dst, const uint8_t *t2, size_t t2_stride_bytes, size_t m, size_t k,
                                    size_t row_begin, size_t row_end) {
	size_t groups = (k + 15) / 16;
	for (size_t p = row_begin / 16; p < (row_end + 15) / 16; p++) {
		uint8_t *panel = dst + p * HYPI_P16_PANEL_BYTES(k);
		for (size_t g = 0; g < groups; g++) {
			uint32_t lane[16];
			for (size_t r = 0; r < 16; r++)
				lane[r] = 16 * p + r < m ? t2_group(t2 + (16 * p + r) * t2_stride_bytes, g, k) : 0x55555555u;
			for (size_t r = 0; r < 16; r++) lane[r] = p16_exchange(lane[r]);
			memcpy(panel + g * 64, lane, 64);
		}
	}
}

static inline void ternary_t2_from_p16(uint8_t *dst, size_t dst_stride_bytes, const uint8_t *p16, size_t m, size_t k) {
	for (size_t r = 0; r < m; r++) {
		uint8_t *row = dst + r * dst_stride_bytes;
		const uint8_t *lane = p16 + r / 16 * HYPI_P16_PANEL_BYTES(k) + r % 16 * 4;
		for (size_t g = 0; g < (k + 15) / 16; g++) {
			size_t left = k - 16 * g;
			uint32_t codes;
			memcpy(&codes, lane + g * 64, 4);
			codes = p16_exchange(codes);
			if (left >= 16) {
				memcpy(row + 4 * g, &codes, 4);
			} else {
				codes &= UINT32_MAX >> (32 - 2 * left);
				memcpy(row + 4 * g, &codes, (left + 3) / 4);
			}
		}
	}
}

/* Hands sums of code * x, for rows [row, row + count) and one row of x, to the job's output. */
static inline void ternary_put(const struct hypi_ternary_job *job, size_t row, size_t count, size_t b,
                               const int32_t *dots) {
	uint32_t x_sum = (uint32_t)job->x_sum[b];
	if (job->out_i32 != NULL) {
		int32_t *out = job->out_i32 + b * job->out_stride + row;
		for (size_t i = 0; i < count; i++) out[i] = (int32_t)((uint32_t)dots[i] - x_sum);
	}
	if (job->out_f32 != NULL) {
		float scale = job->x_scale[b] * job->w_scale;
		float *out = job->out_f32 + b * job->out_stride + row;
		for (size_t i = 0; i < count; i++) out[i] = (float)(int32_t)((uint32_t)dots[i] - x_sum) * scale;
	}
}

/* ---- The driver of P16 products ---------------------------------------------------------------------------------
 * A tile is up to 3 panels times up to 8 rows of x; its kernel gives the sums of code * x as dots[b][panel * 16 + row].
 * Panels stay, rows of x pass: so weights come from memory once, and a tile's weights stay in the first cache. */
#define P16_PANELS_MAX 3
#define P16_BATCH_MAX 8
typedef void p16_tile_fn(const uint8_t *panels, size_t panel_bytes, const int8_t *x, size_t x_stride, size_t k,
                         int32_t *dots);

static inline void ternary_p16_driver(const struct hypi_ternary_job *job, size_t row_begin, size_t row_end,
                                      p16_tile_fn *const tiles[P16_PANELS_MAX][P16_BATCH_MAX], size_t panels_max,
                                      size_t batch_max) {
	size_t panel_bytes = HYPI_P16_PANEL_BYTES(job->k), last = (row_end + 15) / 16;
	for (size_t p = row_begin / 16; p < last;) {
		/* One panel at a time for few rows of x: a single linear stream of weights is what memory likes best. */
		size_t panels = job->batch < 3 ? 1 : last - p < panels_max ? last - p : panels_max;
		size_t rows = row_end - 16 * p < 16 * panels ? row_end - 16 * p : 16 * panels;
		for (size_t b = 0; b < job->batch;) {
			size_t tiles_left = (job->batch - b + batch_max - 1) / batch_max;
			size_t count = (job->batch - b + tiles_left - 1) / tiles_left;
			int32_t dots[P16_BATCH_MAX * P16_PANELS_MAX * 16];
			tiles[panels - 1][count - 1](job->w + p * panel_bytes, panel_bytes, job->x + b * job->x_stride,
			                             job->x_stride, job->k, dots);
			for (size_t i = 0; i < count; i++) ternary_put(job, 16 * p, rows, b + i, dots + i * panels * 16);
			b += count;
		}
		p += panels;
	}
}

/* ---- The driver of row-major products -----------------------------------------------------------------------------
 * A byte holds `field` codes of consecutive weights; a vector of bytes unpacks to vectors of every field-th weight. So
 * the activations are laid out as `field` planes, zero beyond k, a piece of K at a time; the kernel dots one row's
 * bytes with them. Bytes and codes beyond k meet zeros. */
#define PLANE_BYTES 2048 /* of each plane at once: with 4 or 5 planes that covers 8192 or 10240 weights */
#define PLANE_ROWS 128
typedef int32_t plane_dot_fn(const uint8_t *row, size_t bytes, const int8_t (*planes)[PLANE_BYTES]);

static inline void ternary_plane_driver(const struct hypi_ternary_job *job, size_t row_begin, size_t row_end,
                                        size_t field, plane_dot_fn *dot) {
	int8_t planes[5][PLANE_BYTES] __attribute__((aligned(64)));
	int32_t dots[PLANE_ROWS];
	for (size_t b = 0; b < job->batch; b++) {
		const int8_t *x = job->x + b * job->x_stride;
		for (size_t r0 = row_begin; r0 < row_end; r0 += PLANE_ROWS) {
			size_t rows = row_end - r0 < PLANE_ROWS ? row_end - r0 : PLANE_ROWS;
			memset(dots, 0, sizeof(dots));
			for (size_t k0 = 0; k0 < job->k; k0 += field * PLANE_BYTES) {
				size_t count = job->k - k0 < field * PLANE_BYTES ? job->k - k0 : field * PLANE_BYTES;
				size_t bytes = (count + field - 1) / field;
				if (count < field * PLANE_BYTES) {
					for (size_t f = 0; f < field; f++)
						memset(planes[f] + count / field, 0, PLANE_BYTES - count / field);
				}
				for (size_t i = 0; i < count / field; i++)
					for (size_t f = 0; f < field; f++) planes[f][i] = x[k0 + i * field + f];
				for (size_t i = count / field * field; i < count; i++) planes[i % field][i / field] = x[k0 + i];
				for (size_t r = 0; r < rows; r++) {
					const uint8_t *row = job->w + (r0 + r) * job->w_stride_bytes + k0 / field;
					dots[r] =
						(int32_t)((uint32_t)dots[r] + (uint32_t)dot(row, bytes, (const int8_t(*)[PLANE_BYTES])planes));
				}
			}
			ternary_put(job, r0, rows, b, dots);
		}
	}
}

#endif
