/*
 * tests/kernels/check_ternary.c: ternary weights times int8 activations. The products are checked against sums taken
 * here from plain arrays, not against the reference kernels; the extremes of I2_S's published overflow are among them.
 */
#include "check.h"

#include <math.h>
#include <stdlib.h>

static struct guarded gw, gx, gd, gp;

static void fill_weights(int8_t *w, size_t n, int kind) {
	for (size_t i = 0; i < n; i++) w[i] = (int8_t)(kind == 1 ? 1 : kind == 2 ? -1 : (int)random_below(3) - 1);
}

static void fill_activations(int8_t *x, size_t n, int kind) {
	for (size_t i = 0; i < n; i++) x[i] = (int8_t)(kind == 1 ? 127 : kind == 2 ? -128 : (int)random_below(256) - 128);
}

static unsigned t2_code(const uint8_t *row, size_t k) { return row[k / 4] >> k % 4 * 2 & 3u; }

static unsigned t5_code(const uint8_t *row, size_t k) {
	static const uint8_t power[5] = {1, 3, 9, 27, 81};
	return (unsigned)((uint8_t)(row[k / 5] * power[k % 5]) * 3) >> 8;
}

/* The formats, by their definition in kernels.h. Fills t2, t5 and p16 through the kernels and checks each code. */
static void formats(struct check_run *run, const int8_t *w, size_t m, size_t k, uint8_t *t2, uint8_t *t5,
                    uint8_t *p16) {
	const struct hypi_ternary *t = &run->k->ternary;
	size_t t2_row = HYPI_T2_ROW_BYTES(k), t5_row = HYPI_T5_ROW_BYTES(k);
	bool ok = true;
	int8_t *back = malloc(k + 1);
	uint8_t *again = malloc(t2_row + 1);
	for (size_t r = 0; r < m; r++) {
		t->t2_from_i8(t2 + r * t2_row, w + r * k, k);
		t->t5_from_t2(t5 + r * t5_row, t2 + r * t2_row, k);
		t->i8_from_t2(back, t2 + r * t2_row, k);
		t->t2_from_t5(again, t5 + r * t5_row, k);
		ok = ok && memcmp(back, w + r * k, k) == 0 && memcmp(again, t2 + r * t2_row, t2_row) == 0;
		for (size_t i = 0; i < k; i++)
			ok = ok && (int)t2_code(t2 + r * t2_row, i) - 1 == w[r * k + i] &&
			     (int)t5_code(t5 + r * t5_row, i) - 1 == w[r * k + i];
	}
	check_result(run, ok, "t2 and t5 of %zu x %zu", m, k);
	/* in two pieces, as two threads would */
	size_t split = m / 32 * 16;
	t->pack_p16(p16, t2, t2_row, m, k, 0, split);
	t->pack_p16(p16, t2, t2_row, m, k, split, m);
	ok = true;
	for (size_t r = 0; r < (m + 15) / 16 * 16; r++) {
		for (size_t i = 0; i < (k + 15) / 16 * 16; i++) {
			unsigned byte = p16[r / 16 * HYPI_P16_PANEL_BYTES(k) + i / 16 * 64 + r % 16 * 4 + i % 4];
			int want = r < m && i < k ? w[r * k + i] : 0;
			ok = ok && (int)(byte >> i % 16 / 4 * 2 & 3) - 1 == want;
		}
	}
	uint8_t *all = malloc(m * t2_row + 1);
	t->t2_from_p16(all, t2_row, p16, m, k);
	ok = ok && memcmp(all, t2, m * t2_row) == 0;
	check_result(run, ok, "p16 of %zu x %zu", m, k);
	free(back);
	free(again);
	free(all);
}

static void product(struct check_run *run, const struct hypi_ternary_job *base, const char *name, const int8_t *w,
                    void (*matmul)(const struct hypi_ternary_job *, size_t, size_t), bool as_float) {
	struct hypi_ternary_job job = *base;
	size_t m = job.m, k = job.k, batch = job.batch;
	job.out_stride = m + random_below(4);
	size_t out_bytes = batch == 0 ? 0 : ((batch - 1) * job.out_stride + m) * 4;
	void *out = guarded_place(&gd, out_bytes, 4, PLACE_END);
	if (as_float) {
		job.out_f32 = out;
	} else {
		job.out_i32 = out;
	}
	size_t split = random_below(m / 16 + 1) * 16;
	matmul(&job, split, m);
	matmul(&job, 0, split);
	bool ok = guarded_intact(&gd, out, out_bytes);
	for (size_t b = 0; b < batch; b++) {
		for (size_t r = 0; r < m; r++) {
			int64_t dot = 0;
			for (size_t i = 0; i < k; i++) dot += w[r * k + i] * job.x[b * job.x_stride + i];
			size_t at = b * job.out_stride + r;
			ok = ok &&
			     (as_float ? job.out_f32[at] == (float)dot * (job.x_scale[b] * job.w_scale) : job.out_i32[at] == dot);
		}
		const uint8_t *row_end = (const uint8_t *)out + (b * job.out_stride + m) * 4;
		for (size_t i = 0; b + 1 < batch && i < (job.out_stride - m) * 4; i++) ok = ok && row_end[i] == GUARD_CANARY;
	}
	check_result(run, ok, "%s %s %zu x %zu, batch %zu", name, as_float ? "f32" : "i32", m, k, batch);
}

static void one(struct check_run *run, size_t m, size_t k, size_t batch, int weights, int activations) {
	size_t t2_row = HYPI_T2_ROW_BYTES(k), t5_row = HYPI_T5_ROW_BYTES(k);
	int8_t *w = malloc(m * k + 1);
	int32_t *sums = malloc(batch * 4 + 4);
	float *scales = malloc(batch * 4 + 4);
	fill_weights(w, m * k, weights);
	struct hypi_ternary_job job = {.m = m, .k = k, .batch = batch, .x_sum = sums, .x_scale = scales, .w_scale = 0.37f};
	job.x_stride = k + random_below(3);
	size_t x_bytes = batch == 0 ? 0 : (batch - 1) * job.x_stride + k;
	int8_t *x = guarded_place(&gx, x_bytes, 1, PLACE_END);
	fill_activations(x, x_bytes, activations);
	job.x = x;
	for (size_t b = 0; b < batch; b++) {
		sums[b] = (int32_t)run->ref->reduce.sum_i8(x + b * job.x_stride, k);
		scales[b] = (float)random_unit();
	}
	uint8_t *t2 = guarded_place(&gw, m * t2_row, 1, PLACE_END);
	uint8_t *t5 = malloc(m * t5_row + 1);
	uint8_t *p16 = guarded_place(&gp, HYPI_P16_BYTES(m, k), 1, random_below(2) ? PLACE_END : PLACE_ODD);
	formats(run, w, m, k, t2, t5, p16);
	check_result(run, guarded_intact(&gp, p16, HYPI_P16_BYTES(m, k)), "pack_p16 keeps its bounds");
	for (int as_float = 0; as_float < 2; as_float++) {
		job.w = t2, job.w_stride_bytes = t2_row;
		product(run, &job, "matmul_t2", w, run->k->ternary.matmul_t2, as_float);
		job.w = t5, job.w_stride_bytes = t5_row;
		product(run, &job, "matmul_t5", w, run->k->ternary.matmul_t5, as_float);
		job.w = p16, job.w_stride_bytes = 0;
		product(run, &job, "matmul_p16", w, run->k->ternary.matmul_p16, as_float);
	}
	free(w);
	free(sums);
	free(scales);
	free(t5);
}

static void quantisers(struct check_run *run, size_t k, enum place place) {
	const struct hypi_ternary *t = &run->k->ternary, *r = &run->ref->ternary;
	enum { ROWS = 3 };
	size_t stride = k + random_below(4), x_bytes = k == 0 ? 0 : ((ROWS - 1) * stride + k) * 4;
	float *x = guarded_place(&gx, x_bytes, 4, place), scale[ROWS], want_scale[ROWS];
	int32_t sum[ROWS], want_sum[ROWS];
	fill_f32(x, x_bytes / 4, false);
	if (random_below(4) == 0 && k > 0) memset(x, 0, k * 4);
	if (random_below(4) == 0 && k > 0) x[random_below(k)] = 1e30f;
	int8_t *q = guarded_place(&gd, ROWS * k, 1, place), *want = malloc(ROWS * k + 1);
	t->quantize_i8(q, k, scale, sum, x, stride, ROWS, k);
	r->quantize_i8(want, k, want_scale, want_sum, x, stride, ROWS, k);
	bool ok = guarded_intact(&gd, q, ROWS * k) && memcmp(q, want, ROWS * k) == 0;
	for (size_t i = 0; i < ROWS; i++) {
		int64_t total = 0;
		for (size_t j = 0; j < k; j++) total += q[i * k + j];
		ok = ok && scale[i] == want_scale[i] && sum[i] == want_sum[i] && sum[i] == total;
	}
	check_result(run, ok, "quantize_i8 k %zu", k);
	float *back = guarded_place(&gd, k * 4, 4, place), *want_back = malloc(k * 4 + 4);
	t->dequantize_i8(back, want, 0.3f, k);
	r->dequantize_i8(want_back, want, 0.3f, k);
	check_result(run, guarded_intact(&gd, back, k * 4) && memcmp(back, want_back, k * 4) == 0, "dequantize_i8 k %zu",
	             k);

	uint8_t *t2 = guarded_place(&gd, HYPI_T2_ROW_BYTES(k), 1, place), *want_t2 = malloc(HYPI_T2_ROW_BYTES(k) + 1);
	for (size_t i = 0; i < k; i++)
		if (random_below(9) == 0) x[i] = random_below(2) ? 0.5f : -0.5f;
	float inverse = random_below(2) ? 1.0f : 0.8f;
	t->quantize_t2(t2, x, inverse, k);
	r->quantize_t2(want_t2, x, inverse, k);
	ok = guarded_intact(&gd, t2, HYPI_T2_ROW_BYTES(k)) && memcmp(t2, want_t2, HYPI_T2_ROW_BYTES(k)) == 0;
	for (size_t i = 0; i < k; i++) {
		double rounded = nearbyint((double)(x[i] * inverse));
		ok = ok && (int)t2_code(want_t2, i) - 1 == (int)fmax(-1, fmin(1, rounded));
	}
	check_result(run, ok, "quantize_t2 k %zu", k);
	back = guarded_place(&gx, k * 4, 4, place);
	t->dequantize_t2(back, want_t2, 0.3f, k);
	r->dequantize_t2(want_back, want_t2, 0.3f, k);
	check_result(run, guarded_intact(&gx, back, k * 4) && memcmp(back, want_back, k * 4) == 0, "dequantize_t2 k %zu",
	             k);

	int8_t *w = guarded_place(&gx, k, 1, place);
	fill_weights(w, k, 0);
	t->t2_from_i8(t2, w, k);
	r->t2_from_i8(want_t2, w, k);
	check_result(run, guarded_intact(&gd, t2, HYPI_T2_ROW_BYTES(k)) && memcmp(t2, want_t2, HYPI_T2_ROW_BYTES(k)) == 0,
	             "t2_from_i8 k %zu", k);
	t2 = guarded_place(&gx, HYPI_T2_ROW_BYTES(k), 1, place);
	memcpy(t2, want_t2, HYPI_T2_ROW_BYTES(k));
	q = guarded_place(&gd, k, 1, place);
	t->i8_from_t2(q, t2, k);
	r->i8_from_t2(want, t2, k);
	check_result(run, guarded_intact(&gd, q, k) && memcmp(q, want, k) == 0, "i8_from_t2 k %zu", k);
	free(want);
	free(want_back);
	free(want_t2);
}

void check_ternary(struct check_run *run) {
	guarded_init(&gw, (size_t)2 << 20);
	guarded_init(&gx, (size_t)2 << 20);
	guarded_init(&gd, (size_t)2 << 20);
	guarded_init(&gp, (size_t)4 << 20);
	for (size_t s = 0; s < check_sizes_count; s++)
		for (enum place place = 0; place < PLACE_COUNT; place++) quantisers(run, check_sizes[s], place);
	for (int again = 0; again < 250; again++) {
		size_t k = again % 4 ? random_below(300) : check_sizes[random_below(check_sizes_count - 2)];
		size_t m = random_below(again % 5 ? 60 : 150), batch = random_below(3) ? random_below(11) : random_below(40);
		one(run, m, k, batch, again % 7 == 0 ? 1 + again % 2 : 0, again % 5 == 0 ? 1 + again % 3 % 2 : 0);
	}
	/* I2_S's AVX2 kernel is wrong here (i16 sums): all +1 times all 127, at the widths of BitNet 2B and Llama 8B. */
	static const size_t widths[] = {2560, 4096, 6912, 14336};
	for (size_t i = 0; i < 4; i++)
		for (int weights = 0; weights < 3; weights++)
			for (int activations = 0; activations < 3; activations++)
				one(run, 17, widths[i], 1 + 8 * (i == 0), weights, activations);
	/* So long that a sum of codes left where they lie in their bytes must be taken down in between. */
	const size_t long_k = 16 * 16384 * 2 + 21;
	for (int activations = 1; activations < 3; activations++) one(run, 2, long_k, 1, 1, activations);
	guarded_fini(&gw);
	guarded_fini(&gx);
	guarded_fini(&gd);
	guarded_fini(&gp);
}
