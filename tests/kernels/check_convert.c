/* tests/kernels/check_convert.c: conversions over all values where there are few, transposes and strided copies. */
#include "check.h"

#include <math.h>

#define MAX_N 5003
static struct guarded ga, gd;

/* The compiler's own f16, where it has one, is a witness independent of ours; here all 2^16 through a round trip. */
static void all_halves(struct check_run *run) {
	static uint16_t h[65536], back[65536];
	static float f[65536], want[65536];
	for (size_t i = 0; i < 65536; i++) h[i] = (uint16_t)i;
	const struct hypi_convert *k = &run->k->convert, *r = &run->ref->convert;
	k->f32_from_f16(f, h, 65536);
	r->f32_from_f16(want, h, 65536);
	check_result(run, memcmp(f, want, sizeof(f)) == 0, "f32_from_f16 of all values");
	size_t exact = 0;
	for (size_t i = 0; i < 65536; i++) {
		/* the definition */
		int e = (int)(i >> 10 & 31);
		double m = (double)(i & 1023), x = e == 0 ? ldexp(m, -24) : ldexp(m + 1024, e - 25);
		if (i & 0x8000) x = -x;
		exact += e == 31 ? (m == 0 ? isinf(f[i]) != 0 : isnan(f[i]) != 0) : (double)f[i] == x;
	}
	check_result(run, exact == 65536, "f32_from_f16 against the definition: %zu", exact);
	k->f16_from_f32(back, f, 65536);
	size_t same = 0;
	for (size_t i = 0; i < 65536; i++)
		same += back[i] == h[i] || ((h[i] & 0x7c00) == 0x7c00 && (h[i] & 0x3ff) != 0 && back[i] == (h[i] | 0x200));
	check_result(run, same == 65536, "f16 round trip: %zu", same);
	k->f32_from_bf16(f, h, 65536);
	r->f32_from_bf16(want, h, 65536);
	check_result(run, memcmp(f, want, sizeof(f)) == 0, "f32_from_bf16 of all values");
	k->bf16_from_f32(back, f, 65536);
	same = 0;
	for (size_t i = 0; i < 65536; i++)
		same += back[i] == h[i] || ((h[i] & 0x7f80) == 0x7f80 && (h[i] & 0x7f) != 0 && back[i] == (h[i] | 0x40));
	check_result(run, same == 65536, "bf16 round trip: %zu", same);
}

/* Floats around every f16 and bf16 rounding boundary, and a sweep of all exponents. */
static void to_half(struct check_run *run) {
	static float f[65536];
	static uint16_t got[65536], want[65536];
	const struct hypi_convert *k = &run->k->convert, *r = &run->ref->convert;
	for (uint32_t round = 0; round < 40; round++) {
		for (uint32_t i = 0; i < 65536; i++) {
			uint32_t bits = round < 32 ? (i << 16) + (round * 2048u + (round % 3) - 1) : (uint32_t)random_u64();
			memcpy(&f[i], &bits, 4);
		}
		k->f16_from_f32(got, f, 65536);
		r->f16_from_f32(want, f, 65536);
		check_result(run, memcmp(got, want, sizeof(got)) == 0, "f16_from_f32, round %u", round);
		k->bf16_from_f32(got, f, 65536);
		r->bf16_from_f32(want, f, 65536);
		check_result(run, memcmp(got, want, sizeof(got)) == 0, "bf16_from_f32, round %u", round);
	}
}

typedef void any_convert(void *dst, const void *a, size_t n);
static void one(struct check_run *run, const char *name, any_convert *k, any_convert *r, size_t to, size_t from,
                size_t n, enum place place) {
	static uint8_t want[MAX_N * 8];
	void *a = guarded_place(&ga, n * from, from, place), *d = guarded_place(&gd, n * to, to, place);
	if (from == 4) {
		fill_f32(a, n, true);
	} else if (from == 8) {
		fill_f64(a, n, true);
	} else {
		fill_bytes(a, n * from);
	}
	k(d, a, n);
	r(want, a, n);
	check_result(run, memcmp(d, want, n * to) == 0 && guarded_intact(&gd, d, n * to), "%s n %zu", name, n);
}

static void one_num(struct check_run *run, enum hypi_num to, enum hypi_num from, size_t n, enum place place) {
	static uint8_t want[MAX_N * 8];
	size_t from_bytes = hypi_num_bytes[from], to_bytes = hypi_num_bytes[to];
	void *a = guarded_place(&ga, n * from_bytes, from_bytes, place),
		 *d = guarded_place(&gd, n * to_bytes, to_bytes, place);
	if (from == HYPI_F32) {
		fill_f32(a, n, true);
	} else if (from == HYPI_F64) {
		fill_f64(a, n, true);
	} else {
		fill_bytes(a, n * from_bytes);
	}
	run->k->convert.num[to][from](d, a, n);
	run->ref->convert.num[to][from](want, a, n);
	bool ok = guarded_intact(&gd, d, n * to_bytes);
	for (size_t i = 0; i < n; i++) {
		if (to == HYPI_F32) {
			ok = ok && same_f32(((float *)d)[i], ((float *)want)[i]);
		} else if (to == HYPI_F64) {
			ok = ok && same_f64(((double *)d)[i], ((double *)want)[i]);
		} else {
			ok = ok && memcmp((char *)d + i * to_bytes, want + i * to_bytes, to_bytes) == 0;
		}
	}
	check_result(run, ok, "num[%d][%d] n %zu", (int)to, (int)from, n);
}

static void saturation(struct check_run *run) {
	const float f[6] = {NAN, INFINITY, -INFINITY, 1e10f, -1.9f, 255.9f};
	int8_t b[6];
	int32_t i[6];
	uint8_t u[6];
	run->k->convert.num[HYPI_I8][HYPI_F32](b, f, 6);
	run->k->convert.num[HYPI_I32][HYPI_F32](i, f, 6);
	run->k->convert.num[HYPI_U8][HYPI_F32](u, f, 6);
	check_result(run, b[0] == 0 && b[1] == 127 && b[2] == -128 && b[3] == 127 && b[4] == -1, "i8 saturates");
	check_result(run, i[0] == 0 && i[1] == INT32_MAX && i[2] == INT32_MIN && i[3] == INT32_MAX && i[5] == 255,
	             "i32 saturates");
	check_result(run, u[0] == 0 && u[1] == 255 && u[2] == 0 && u[4] == 0 && u[5] == 255, "u8 saturates");
	int8_t r[6];
	const float g[6] = {0.5f, 1.5f, -2.5f, 127.5f, -128.6f, NAN};
	run->k->convert.i8_from_f32(r, g, 6);
	check_result(run, r[0] == 0 && r[1] == 2 && r[2] == -2 && r[3] == 127 && r[4] == -128 && r[5] == 0, "i8_from_f32");
}

static void one_transpose(struct check_run *run, unsigned log2, size_t rows, size_t cols) {
	size_t bytes = (size_t)1 << log2, ss = cols + random_below(5), ds = rows + random_below(5);
	size_t src_bytes = rows == 0 ? 0 : ((rows - 1) * ss + cols) * bytes;
	size_t dst_bytes = cols == 0 ? 0 : ((cols - 1) * ds + rows) * bytes;
	uint8_t *s = guarded_place(&ga, src_bytes, bytes, PLACE_END), *d = guarded_place(&gd, dst_bytes, bytes, PLACE_END);
	fill_bytes(s, src_bytes);
	run->k->convert.transpose[log2](d, ds, s, ss, rows, cols);
	bool ok = guarded_intact(&gd, d, dst_bytes);
	for (size_t c = 0; c < cols; c++) {
		for (size_t r = 0; r < rows; r++)
			ok = ok && memcmp(d + (c * ds + r) * bytes, s + (r * ss + c) * bytes, bytes) == 0;
		/* what lies between the rows of dst is not ours */
		for (size_t i = (c * ds + rows) * bytes; c + 1 < cols && i < (c + 1) * ds * bytes; i++)
			ok = ok && d[i] == GUARD_CANARY;
	}
	check_result(run, ok, "transpose of %zu bytes, %zu x %zu", bytes, rows, cols);
}

static void one_strided(struct check_run *run, unsigned log2, size_t n) {
	static const ptrdiff_t strides[] = {1, 2, -1, 3, -2, 0, 7};
	size_t bytes = (size_t)1 << log2;
	for (size_t i = 0; i < 7; i++) {
		for (size_t j = 0; j < 7; j++) {
			ptrdiff_t ss = strides[i], ds = strides[j];
			if (ds == 0 || n == 0) continue;
			size_t src_n = (n - 1) * (size_t)(ss < 0 ? -ss : ss) + 1, dst_n = (n - 1) * (size_t)(ds < 0 ? -ds : ds) + 1;
			uint8_t *s = guarded_place(&ga, src_n * bytes, bytes, PLACE_END);
			uint8_t *d = guarded_place(&gd, dst_n * bytes, bytes, PLACE_END);
			fill_bytes(s, src_n * bytes);
			uint8_t *s0 = ss < 0 ? s + (src_n - 1) * bytes : s, *d0 = ds < 0 ? d + (dst_n - 1) * bytes : d;
			run->k->convert.copy_strided[log2](d0, ds, s0, ss, n);
			bool ok = guarded_intact(&gd, d, dst_n * bytes);
			for (size_t e = 0; e < n; e++)
				ok = ok && memcmp(d0 + (ptrdiff_t)e * ds * (ptrdiff_t)bytes, s0 + (ptrdiff_t)e * ss * (ptrdiff_t)bytes,
				                  bytes) == 0;
			check_result(run, ok, "copy_strided of %zu bytes, n %zu, strides %td %td", bytes, n, ds, ss);
		}
	}
}

void check_convert(struct check_run *run) {
	guarded_init(&ga, (size_t)1 << 20);
	guarded_init(&gd, (size_t)1 << 20);
	all_halves(run);
	to_half(run);
	saturation(run);
	const struct hypi_convert *k = &run->k->convert, *r = &run->ref->convert;
#define ONE(name, to, from) one(run, #name, (any_convert *)k->name, (any_convert *)r->name, to, from, n, place)
	for (size_t s = 0; s < check_sizes_count; s++) {
		for (enum place place = 0; place < PLACE_COUNT; place++) {
			size_t n = check_sizes[s];
			ONE(f16_from_f32, 2, 4);
			ONE(f32_from_f16, 4, 2);
			ONE(bf16_from_f32, 2, 4);
			ONE(f32_from_bf16, 4, 2);
			ONE(f32_from_i8, 4, 1);
			ONE(i8_from_f32, 1, 4);
			for (enum hypi_num to = 0; to < HYPI_NUM_COUNT; to++)
				for (enum hypi_num from = 0; from < HYPI_NUM_COUNT; from++) one_num(run, to, from, n, place);
		}
	}
	for (unsigned log2 = 0; log2 < 4; log2++) {
		for (int again = 0; again < 60; again++)
			one_transpose(run, log2, random_below(again < 30 ? 20 : 150), random_below(again < 30 ? 40 : 150));
		for (size_t n = 0; n < 40; n++) one_strided(run, log2, n);
		one_strided(run, log2, 1000);
	}
	guarded_fini(&ga);
	guarded_fini(&gd);
}
