/*
 * kernels/ternary_x86.c: ternary times int8 for AVX2, AVX-512 and AVX-512 VNNI; compiled once for each.
 *
 * The unsigned operand of the byte products is the code (0..2), the signed one the activation; so a sum is
 * sum(code x) = sum(weight x) + sum(x), and the sum of x, known once a row, is taken off at the end. VNNI adds four such
 * products to an i32 at once. Without it two products make an i16 of at most 512 in size; 63 of those fit an i16, so
 * they are added up as i16 for 15 groups (60 of them) and only then widened: exact for every input, at nearly the price
 * of the inexact sums that others use.
 */
#include "kernels/ternary_scalar.h"
#include "kernels/vec.h"

#if VF_LANES == 16
typedef __m512i vz;
#define Z(name) HYPI_CAT(_mm512_, name)
#define z_zero() _mm512_setzero_si512()
#define z_load(p) _mm512_loadu_si512(p)
#define z_store(p, v) _mm512_storeu_si512(p, v)
#define z_and(a, b) _mm512_and_si512(a, b)
#else
typedef __m256i vz;
#define Z(name) HYPI_CAT(_mm256_, name)
#define z_zero() _mm256_setzero_si256()
#define z_load(p) _mm256_loadu_si256((const __m256i *)(p))
#define z_store(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#define z_and(a, b) _mm256_and_si256(a, b)
#endif
#define VZ_BYTES (VF_LANES * 4)
#define PER_PANEL (64 / VZ_BYTES) /* vectors of one group of one panel */
#define WIDEN_GROUPS 15

/* ---- P16 -------------------------------------------------------------------------------------------------------------- */

#if HYPI_VNNI
#define TILE_PANELS 3
#define TILE_BATCH 8
#elif VF_LANES == 16
#define TILE_PANELS 3
#define TILE_BATCH 8
#else
#define TILE_PANELS 1
#define TILE_BATCH 4
#endif

/* One group of 16 weights: 4 steps of 4. x: the first row's 16 activations, rows x_stride apart. */
HYP_INLINE void group(size_t vectors, size_t batch, vz acc[TILE_PANELS * PER_PANEL][TILE_BATCH], const uint8_t *w,
                      size_t panel_bytes, const int8_t *x, size_t x_stride) {
	const vz three = Z(set1_epi8)(3);
	HYP_UNROLL
	for (int s = 0; s < 4; s++) {
		vz code[TILE_PANELS * PER_PANEL];
		HYP_UNROLL
		for (size_t v = 0; v < vectors; v++) {
			vz raw = z_load(w + v / PER_PANEL * panel_bytes + v % PER_PANEL * VZ_BYTES);
			code[v] = z_and(s == 0 ? raw : Z(srli_epi32)(raw, 2 * s), three);
		}
		HYP_UNROLL
		for (size_t b = 0; b < batch; b++) {
			int32_t four;
			memcpy(&four, x + b * x_stride + 4 * s, 4);
			vz xb = Z(set1_epi32)(four);
			HYP_UNROLL
			for (size_t v = 0; v < vectors; v++) {
#if HYPI_VNNI
				acc[v][b] = _mm512_dpbusd_epi32(acc[v][b], code[v], xb);
#else
				acc[v][b] = Z(add_epi16)(acc[v][b], Z(maddubs_epi16)(code[v], xb));
#endif
			}
		}
	}
}

HYP_INLINE void clear(size_t vectors, size_t batch, vz acc[TILE_PANELS * PER_PANEL][TILE_BATCH]) {
	HYP_UNROLL
	for (size_t v = 0; v < vectors; v++) {
		HYP_UNROLL
		for (size_t b = 0; b < batch; b++) acc[v][b] = z_zero();
	}
}

HYP_INLINE void tile(size_t panels, size_t batch, const uint8_t *w, size_t panel_bytes, const int8_t *x,
                     size_t x_stride, size_t k, int32_t *dots) {
	const size_t vectors = panels * PER_PANEL, whole = k / 16;
	vz acc[TILE_PANELS * PER_PANEL][TILE_BATCH];
	int8_t last_x[TILE_BATCH][16]; /* the activations of a last, partial group, zeros behind them */
	memset(last_x, 0, sizeof(last_x));
	for (size_t b = 0; b < batch; b++) memcpy(last_x[b], x + b * x_stride + whole * 16, k - whole * 16);
	clear(vectors, batch, acc);
#if HYPI_VNNI
	for (size_t g = 0; g < whole; g++) {
		HYP_UNROLL
		for (size_t p = 0; p < panels; p++) __builtin_prefetch(w + p * panel_bytes + g * 64 + 4096);
		group(vectors, batch, acc, w + g * 64, panel_bytes, x + g * 16, x_stride);
	}
	if (k % 16 != 0) group(vectors, batch, acc, w + whole * 64, panel_bytes, last_x[0], 16);
	HYP_UNROLL
	for (size_t v = 0; v < vectors; v++) {
		HYP_UNROLL
		for (size_t b = 0; b < batch; b++) z_store(dots + (b * vectors + v) * VF_LANES, acc[v][b]);
	}
#else
	memset(dots, 0, batch * vectors * VZ_BYTES);
	const vz ones = Z(set1_epi16)(1);
	for (size_t g = 0; g < whole || (g == whole && k % 16 != 0);) {
		size_t end = whole - g < WIDEN_GROUPS ? whole : g + WIDEN_GROUPS;
		for (; g < end; g++) {
			HYP_UNROLL
			for (size_t p = 0; p < panels; p++) __builtin_prefetch(w + p * panel_bytes + g * 64 + 4096);
			group(vectors, batch, acc, w + g * 64, panel_bytes, x + g * 16, x_stride);
		}
		if (g == whole) {
			/* 15 groups may be in the sums: 16 * 4 * 512 would not fit, but the 64th pair is -512 to 508 and
			 * -32768 does. */
			if (k % 16 != 0) group(vectors, batch, acc, w + g * 64, panel_bytes, last_x[0], 16);
			g++;
		}
		HYP_UNROLL
		for (size_t v = 0; v < vectors; v++) {
			HYP_UNROLL
			for (size_t b = 0; b < batch; b++) {
				int32_t *at = dots + (b * vectors + v) * VF_LANES;
				z_store(at, Z(add_epi32)(z_load(at), Z(madd_epi16)(acc[v][b], ones)));
			}
		}
		clear(vectors, batch, acc);
	}
#endif
}

#define DEFINE_TILE(panels, batch) \
	static void tile_##panels##_##batch(const uint8_t *w, size_t panel_bytes, const int8_t *x, size_t x_stride, \
	                                    size_t k, int32_t *dots) { \
		tile(panels, batch, w, panel_bytes, x, x_stride, k, dots); \
	}
#if TILE_BATCH == 8
#define TILE_ROW(X, panels) X(panels, 2) X(panels, 3) X(panels, 4) X(panels, 5) X(panels, 6) X(panels, 7) X(panels, 8)
#define TILE_ENTRIES(panels) \
	{ \
		tile_##panels##_1, tile_##panels##_2, tile_##panels##_3, tile_##panels##_4, tile_##panels##_5, \
			tile_##panels##_6, tile_##panels##_7, tile_##panels##_8 \
	}
DEFINE_TILE(3, 1)
TILE_ROW(DEFINE_TILE, 3)
DEFINE_TILE(2, 1)
TILE_ROW(DEFINE_TILE, 2)
#else
#define TILE_ROW(X, panels) X(panels, 2) X(panels, 3) X(panels, 4)
#define TILE_ENTRIES(panels) \
	{ tile_##panels##_1, tile_##panels##_2, tile_##panels##_3, tile_##panels##_4 }
#endif
TILE_ROW(DEFINE_TILE, 1)

#if HYPI_VNNI
/* One row of x takes each code once, so the codes stay where they lie in their bytes: field s counts 4^s times too much,
 * exactly, and its own sum is shifted down at the end. That spares three shifts in a vector. */
HYP_INLINE vz field(vz raw, int s) { return z_and(raw, Z(set1_epi8)((char)(3u << 2 * s))); }

HYP_INLINE vz sum_of_fields(const vz *acc) {
	vz low = _mm512_add_epi32(acc[0], _mm512_srai_epi32(acc[1], 2));
	return _mm512_add_epi32(low, _mm512_add_epi32(_mm512_srai_epi32(acc[2], 4), _mm512_srai_epi32(acc[3], 6)));
}

/* A group adds at most 4 * 128 * 128 to the last field's sum: so many fit an int32. */
#define FIELD_GROUPS ((size_t)16384)
#endif

/* One panel, one row of x: four independent sums, because one would wait for itself. */
static void tile_1_1(const uint8_t *w, size_t panel_bytes, const int8_t *x, size_t x_stride, size_t k, int32_t *dots) {
#if HYPI_VNNI
	(void)panel_bytes;
	(void)x_stride;
	int8_t last_x[16] = {0};
	size_t whole = k / 16, groups = whole + (k % 16 != 0);
	vz total = z_zero();
	memcpy(last_x, x + whole * 16, k - whole * 16);
	for (size_t g = 0; g < groups;) {
		size_t end = groups - g < FIELD_GROUPS ? groups : g + FIELD_GROUPS;
		vz acc[4];
		HYP_UNROLL
		for (int s = 0; s < 4; s++) acc[s] = z_zero();
		for (; g < end; g++) {
			const int8_t *xg = g < whole ? x + g * 16 : last_x;
			vz raw = z_load(w + g * 64);
			__builtin_prefetch(w + g * 64 + 4096);
			HYP_UNROLL
			for (int s = 0; s < 4; s++) {
				int32_t four;
				memcpy(&four, xg + 4 * s, 4);
				acc[s] = _mm512_dpbusd_epi32(acc[s], field(raw, s), _mm512_set1_epi32(four));
			}
		}
		total = _mm512_add_epi32(total, sum_of_fields(acc));
	}
	z_store(dots, total);
#else
	tile(1, 1, w, panel_bytes, x, x_stride, k, dots);
#endif
}

static p16_tile_fn *const tiles[P16_PANELS_MAX][P16_BATCH_MAX] = {
	TILE_ENTRIES(1),
#if TILE_PANELS == 3
	TILE_ENTRIES(2),
	TILE_ENTRIES(3),
#endif
};

static void matmul_p16(const struct hypi_ternary_job *job, size_t row_begin, size_t row_end) {
	ternary_p16_driver(job, row_begin, row_end, tiles, TILE_PANELS, TILE_BATCH);
}

/* ---- Row-major -------------------------------------------------------------------------------------------------------- */

/* The last vector of a row, when fewer bytes are left. */
HYP_INLINE vz load_bytes(const uint8_t *p, size_t n) {
#if VF_LANES == 16
	return _mm512_maskz_loadu_epi8(n >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << n) - 1, p);
#else
	uint8_t buffer[VZ_BYTES] = {0};
	memcpy(buffer, p, n);
	return z_load(buffer);
#endif
}

HYP_INLINE int32_t hsum(vz v) {
#if VF_LANES == 16
	return _mm512_reduce_add_epi32(v);
#else
	__m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
	return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
#endif
}

/* acc[field] plus the dot of `fields` code vectors with the planes at `at`. */
HYP_INLINE void add_dots(vz *acc, const vz *code, size_t fields, const int8_t (*planes)[PLANE_BYTES], size_t at) {
#if HYPI_VNNI
	HYP_UNROLL
	for (size_t f = 0; f < fields; f++) acc[f % 4] = _mm512_dpbusd_epi32(acc[f % 4], code[f], z_load(planes[f] + at));
#else
	vz sum = Z(maddubs_epi16)(code[0], z_load(planes[0] + at));
	HYP_UNROLL
	for (size_t f = 1; f < fields; f++) sum = Z(add_epi16)(sum, Z(maddubs_epi16)(code[f], z_load(planes[f] + at)));
	acc[0] = Z(add_epi32)(acc[0], Z(madd_epi16)(sum, Z(set1_epi16)(1)));
#endif
}

/* With VNNI the fields stay where they are: a piece of a row is too short for any of their sums to leave an int32. */
HYP_INLINE void add_t2(vz *acc, vz raw, const int8_t (*planes)[PLANE_BYTES], size_t at) {
	vz code[4];
#if HYPI_VNNI
	HYP_UNROLL
	for (int s = 0; s < 4; s++) code[s] = field(raw, s);
#else
	const vz three = Z(set1_epi8)(3);
	code[0] = z_and(raw, three);
	HYP_UNROLL
	for (int s = 1; s < 4; s++) code[s] = z_and(Z(srli_epi32)(raw, 2 * s), three);
#endif
	add_dots(acc, code, 4, planes, at);
}

/* Trit n of v is the carry of 3 v: how many of 86 and 171 it reaches; the rest of 3 v carries the next trits. */
HYP_INLINE void add_t5(vz *acc, vz v, const int8_t (*planes)[PLANE_BYTES], size_t at) {
	const vz one = Z(set1_epi8)(1);
	vz code[5];
	HYP_UNROLL
	for (int n = 0; n < 5; n++) {
		vz reaches_86 = Z(min_epu8)(Z(subs_epu8)(v, Z(set1_epi8)(85)), one);
		vz reaches_171 = Z(min_epu8)(Z(subs_epu8)(v, Z(set1_epi8)((char)170)), one);
		code[n] = Z(add_epi8)(reaches_86, reaches_171);
		v = Z(add_epi8)(Z(add_epi8)(v, v), v);
	}
	add_dots(acc, code, 5, planes, at);
}

HYP_INLINE vz plain_sum(const vz *acc) {
	return Z(add_epi32)(Z(add_epi32)(acc[0], acc[1]), Z(add_epi32)(acc[2], acc[3]));
}
#if HYPI_VNNI
#define T2_SUM sum_of_fields
#else
#define T2_SUM plain_sum
#endif

#define DEFINE_PLANE_DOT(name, add, sum) \
	static int32_t name(const uint8_t *row, size_t bytes, const int8_t(*planes)[PLANE_BYTES]) { \
		vz acc[4]; \
		HYP_UNROLL \
		for (int f = 0; f < 4; f++) acc[f] = z_zero(); \
		size_t i = 0; \
		for (; i + VZ_BYTES <= bytes; i += VZ_BYTES) { \
			__builtin_prefetch(row + i + 4096); \
			add(acc, z_load(row + i), planes, i); \
		} \
		if (i < bytes) add(acc, load_bytes(row + i, bytes - i), planes, i); \
		return hsum(sum(acc)); \
	}
DEFINE_PLANE_DOT(dot_t2, add_t2, T2_SUM)
DEFINE_PLANE_DOT(dot_t5, add_t5, plain_sum)

static void matmul_t2(const struct hypi_ternary_job *job, size_t row_begin, size_t row_end) {
	ternary_plane_driver(job, row_begin, row_end, 4, dot_t2);
}
static void matmul_t5(const struct hypi_ternary_job *job, size_t row_begin, size_t row_end) {
	ternary_plane_driver(job, row_begin, row_end, 5, dot_t5);
}

/* ---- Quantisers -------------------------------------------------------------------------------------------------------- */

#if !HYPI_VNNI

static float abs_max(const float *x, size_t k) {
	vf m[4];
	HYP_UNROLL
	for (int c = 0; c < 4; c++) m[c] = vf_zero();
	size_t i = 0;
	for (; i + 4 * VF_LANES <= k; i += 4 * VF_LANES) {
		HYP_UNROLL
		for (size_t c = 0; c < 4; c++) m[c] = vf_max_any(m[c], vf_abs(vf_load(x + i + c * VF_LANES)));
	}
	for (; i + VF_LANES <= k; i += VF_LANES) m[0] = vf_max_any(m[0], vf_abs(vf_load(x + i)));
	if (i < k) m[1] = vf_max_any(m[1], vf_abs(vf_load_n(x + i, k - i)));
	return vf_hmax_any(vf_max_any(vf_max_any(m[0], m[1]), vf_max_any(m[2], m[3])));
}

/* The low byte of each of VF_LANES int32 in range. */
HYP_INLINE void store_i8(int8_t *q, vi v) {
#if VF_LANES == 16
	_mm_storeu_si128((__m128i *)q, _mm512_cvtepi32_epi8(v));
#else
	__m128i w = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
	_mm_storel_epi64((__m128i *)q, _mm_packs_epi16(w, w));
#endif
}

/* A row of codes; its sum. next: a row whose greatest size is found beside, or NULL. */
HYP_INLINE vi quantize_row(int8_t *q, const float *x, const float *next, size_t k, vf inverse, float *ret_most) {
	vi total = vi_set1(0);
	vf m[2] = {vf_zero(), vf_zero()};
	size_t i = 0;
	for (; i + 4 * VF_LANES <= k; i += 4 * VF_LANES) {
		HYP_UNROLL
		for (size_t c = 0; c < 4; c++) {
			vi v = vi_from_vf(vf_mul(vf_load(x + i + c * VF_LANES), inverse));
			total = vi_add(total, v);
			store_i8(q + i + c * VF_LANES, v);
			if (next != NULL) m[c % 2] = vf_max_any(m[c % 2], vf_abs(vf_load(next + i + c * VF_LANES)));
		}
	}
	for (; i + VF_LANES <= k; i += VF_LANES) {
		vi v = vi_from_vf(vf_mul(vf_load(x + i), inverse));
		total = vi_add(total, v);
		store_i8(q + i, v);
		if (next != NULL) m[0] = vf_max_any(m[0], vf_abs(vf_load(next + i)));
	}
	if (i < k) {
		int8_t last[VF_LANES];
		vi v = vi_from_vf(vf_mul(vf_load_n(x + i, k - i), inverse));
		total = vi_add(total, v);
		store_i8(last, v);
		memcpy(q + i, last, k - i);
		if (next != NULL) m[0] = vf_max_any(m[0], vf_abs(vf_load_n(next + i, k - i)));
	}
	if (next != NULL) *ret_most = vf_hmax_any(vf_max_any(m[0], m[1]));
	return total;
}

/* Of rows that fit the first cache by twos, the next one's scale is found while this one is written: one waits for
 * memory, the other for arithmetic. Longer ones come from the second cache either way. */
#define PAIRED_K 3072

static void quantize_i8(int8_t *q, size_t q_stride, float *scale, int32_t *sum, const float *x, size_t x_stride,
                        size_t rows, size_t k) {
	const bool paired = k <= PAIRED_K;
	float most = 0, next_most = 0;
	for (size_t r = 0; r < rows; r++, q += q_stride, x += x_stride) {
		most = r > 0 && paired ? next_most : abs_max(x, k);
		const vf inverse = vf_set1(i8_inverse_scale(most));
		vi total = paired && r + 1 < rows ? quantize_row(q, x, x + x_stride, k, inverse, &next_most)
		                                  : quantize_row(q, x, NULL, k, inverse, NULL);
		scale[r] = i8_scale(most);
		if (sum != NULL) sum[r] = hsum(total);
	}
}

static void dequantize_i8(float *x, const int8_t *q, float scale, size_t n) {
	for (size_t i = 0; i < n; i++) x[i] = (float)q[i] * scale;
}

/* The codes of up to 32 weights: which pass 0.5 and -0.5, as bits, deposited to the even and odd bits of the codes. */
HYP_INLINE uint64_t t2_codes(const float *w, size_t n, vf inverse) {
	uint64_t above = 0, below = 0;
	HYP_UNROLL
	for (size_t c = 0; c < 32; c += VF_LANES) {
		if (c >= n) break;
		vf x = vf_mul(n - c >= VF_LANES ? vf_load(w + c) : vf_load_n(w + c, n - c), inverse);
		above |= (uint64_t)vm_bits(vf_gt(x, vf_set1(0.5f))) << c;
		below |= (uint64_t)vm_bits(vf_lt(x, vf_set1(-0.5f))) << c;
	}
	uint64_t zero = ~(above | below) & (n < 32 ? ((uint64_t)1 << n) - 1 : UINT32_MAX);
	return _pdep_u64(zero, 0x5555555555555555u) | _pdep_u64(above, 0xaaaaaaaaaaaaaaaau);
}

static void quantize_t2(uint8_t *dst, const float *w, float inv_scale, size_t k) {
	const vf inverse = vf_set1(inv_scale);
	size_t i = 0;
	for (; i + 32 <= k; i += 32) {
		uint64_t codes = t2_codes(w + i, 32, inverse);
		memcpy(dst + i / 4, &codes, 8);
	}
	if (i == k) return;
	uint64_t codes = t2_codes(w + i, k - i, inverse);
	for (; i < k; i += 4, codes >>= 8) dst[i / 4] = (uint8_t)codes;
}

HYP_INLINE __m128i eight_weights(const uint8_t *t2) {
	uint16_t codes;
	memcpy(&codes, t2, 2);
	return _mm_sub_epi8(_mm_cvtsi64_si128((long long)_pdep_u64(codes, 0x0303030303030303u)), _mm_set1_epi8(1));
}

static void i8_from_t2(int8_t *dst, const uint8_t *t2, size_t k) {
	size_t i = 0;
	for (; i + 8 <= k; i += 8) _mm_storel_epi64((__m128i *)(dst + i), eight_weights(t2 + i / 4));
	for (; i < k; i++) dst[i] = (int8_t)((int)t2_get(t2, i) - 1);
}

static void dequantize_t2(float *dst, const uint8_t *t2, float scale, size_t k) {
	const __m256 s = _mm256_set1_ps(scale);
	size_t i = 0;
	for (; i + 8 <= k; i += 8) {
		__m256 v = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight_weights(t2 + i / 4)));
		_mm256_storeu_ps(dst + i, _mm256_mul_ps(v, s));
	}
	for (; i < k; i++) dst[i] = (float)((int)t2_get(t2, i) - 1) * scale;
}

static void t2_from_i8(uint8_t *dst, const int8_t *w, size_t k) {
	size_t i = 0;
	for (; i + 8 <= k; i += 8) {
		uint64_t eight;
		memcpy(&eight, w + i, 8);
		/* -1, 0, 1 plus 1 in each byte: 0xff + 1 must not carry into the next. */
		__m128i codes = _mm_add_epi8(_mm_cvtsi64_si128((long long)eight), _mm_set1_epi8(1));
		uint16_t packed = (uint16_t)_pext_u64((uint64_t)_mm_cvtsi128_si64(codes), 0x0303030303030303u);
		memcpy(dst + i / 4, &packed, 2);
	}
	for (; i < k; i++) t2_put(dst, i, (unsigned)(w[i] + 1) & 3u);
}

#endif

void HYPI_FOR_SET(hypi_fill_ternary_)(struct hypi_ternary *t) {
	t->matmul_p16 = matmul_p16;
	t->matmul_t2 = matmul_t2;
	t->matmul_t5 = matmul_t5;
#if !HYPI_VNNI
	t->quantize_i8 = quantize_i8;
	t->dequantize_i8 = dequantize_i8;
	t->abs_sum_f32 = HYPI_FOR_SET(hypi_abs_sum_f32_);
	t->quantize_t2 = quantize_t2;
	t->dequantize_t2 = dequantize_t2;
	t->t2_from_i8 = t2_from_i8;
	t->i8_from_t2 = i8_from_t2;
	t->pack_p16 = ternary_pack_p16;
	t->t2_from_p16 = ternary_t2_from_p16;
#endif
}
