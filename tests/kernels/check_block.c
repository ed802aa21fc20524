/* tests/kernels/check_block.c: GGUF's block formats: layouts by hand, errors of the round trip, sets against each other. */
#include "check.h"

#include <math.h>
#include <stdlib.h>

static struct guarded ga, gb, gd;

/* Blocks written out by hand from the format's definition, decoded. */
static void layouts(struct check_run *run) {
	float y[256];
	const struct hypi_block_ops *k = &run->k->block;
	uint8_t q8[34] = {0x00, 0x38}; /* d = 0.5 */
	q8[2] = 3, q8[33] = 0xff;
	k->dequantize[HYPI_Q8_0](y, q8, 32);
	check_result(run, y[0] == 1.5f && y[1] == 0 && y[31] == -0.5f, "Q8_0 by hand");
	uint8_t q4[18] = {0x00, 0x3c}; /* d = 1 */
	memset(q4 + 2, 0x88, 16);
	q4[2] = 0xf1, q4[17] = 0x0a;
	k->dequantize[HYPI_Q4_0](y, q4, 32);
	check_result(run, y[0] == -7 && y[16] == 7 && y[15] == 2 && y[31] == -8 && y[1] == 0, "Q4_0 by hand");
	uint8_t tq2[66];
	memset(tq2, 0x55, 64);
	tq2[64] = 0x00, tq2[65] = 0x40; /* d = 2 */
	tq2[0] = 0x54;                  /* element 0: 0 */
	tq2[31] = 0x65;                 /* element 64 + 31: 2 */
	tq2[33] = 0x95;                 /* element 128 + 96 + 1: 2 */
	k->dequantize[HYPI_TQ2_0](y, tq2, 256);
	check_result(run, y[0] == -2 && y[95] == 2 && y[225] == 2 && y[1] == 0 && y[255] == 0, "TQ2_0 by hand");
	uint8_t i2[32];
	memset(i2, 0x55, 32);
	i2[0] = 0x95;  /* element 0: 2 */
	i2[5] = 0x51;  /* element 64 + 5: 0 */
	i2[31] = 0x56; /* element 96 + 31: 2 */
	k->dequantize[HYPI_I2_S](y, i2, 128);
	check_result(run, y[0] == 1 && y[69] == -1 && y[127] == 1 && y[1] == 0, "I2_S by hand");
	uint8_t tq1[54];
	for (size_t i = 0; i < 52; i++)
		tq1[i] = (uint8_t)(((i < 48 ? 121u : 120u) * 256 + 242) / 243); /* 11111 and 1111 0 in base 3 */
	tq1[52] = 0x00, tq1[53] = 0x3c;
	tq1[0] = (uint8_t)((202u * 256 + 242) / 243);  /* 21111: element 0 */
	tq1[33] = (uint8_t)((120u * 256 + 242) / 243); /* 11110: element 160 + 64 + 1 */
	tq1[51] = (uint8_t)((123u * 256 + 242) / 243); /* 1112 0: element 240 + 12 + 3 */
	k->dequantize[HYPI_TQ1_0](y, tq1, 256);
	size_t zeros = 0;
	for (size_t i = 0; i < 256; i++) zeros += y[i] == 0;
	check_result(run, y[0] == 1 && y[225] == -1 && y[255] == 1 && zeros == 253, "TQ1_0 by hand");
}

static void one(struct check_run *run, enum hypi_block id, size_t k, enum place place) {
	const struct hypi_block_ops *ops = &run->k->block, *r = &run->ref->block;
	size_t bytes = k / hypi_block_info[id].elements * hypi_block_info[id].bytes, x_bytes = k / 32 * 34;
	float *x = guarded_place(&ga, k * 4, 4, place), *y = malloc(k * 4 + 4), *want_y = malloc(k * 4 + 4);
	fill_f32(x, k, false);
	bool ternary = id == HYPI_TQ1_0 || id == HYPI_TQ2_0 || id == HYPI_I2_S;
	if (ternary)
		for (size_t i = 0; i < k; i++) x[i] = (float)((int)random_below(3) - 1);
	if (k > 0 && random_below(4) == 0) memset(x, 0, hypi_block_info[id].elements * 4u);
	uint8_t *b = guarded_place(&gb, bytes, 1, place), *want = malloc(bytes + 1);
	ops->quantize[id](b, x, k);
	r->quantize[id](want, x, k);
	bool ok = guarded_intact(&gb, b, bytes) && memcmp(b, want, bytes) == 0;
	check_result(run, ok, "quantize %s k %zu", hypi_block_info[id].name, k);
	float *d = guarded_place(&gd, k * 4, 4, place);
	ops->dequantize[id](d, b, k);
	r->dequantize[id](want_y, b, k);
	ok = guarded_intact(&gd, d, k * 4) && memcmp(d, want_y, k * 4) == 0;
	for (size_t i = 0; i < k; i++) {
		float most = 0;
		for (size_t j = i / 32 * 32; j < i / 32 * 32 + 32; j++) most = fmaxf(most, fabsf(x[j]));
		float bound = ternary ? 0 : id == HYPI_Q8_0 ? most / 220 : most / 7.5f;
		ok = ok && fabsf(d[i] - x[i]) <= bound;
	}
	check_result(run, ok, "dequantize %s k %zu", hypi_block_info[id].name, k);
	uint8_t *x8 = guarded_place(&ga, x_bytes, 1, place);
	fill_f32(y, k, false);
	r->quantize[HYPI_Q8_0](x8, y, k);
	float dot = ops->dot_q8_0[id](b, x8, k), want_dot = r->dot_q8_0[id](b, x8, k);
	double exact = 0, size = 0;
	r->dequantize[HYPI_Q8_0](y, x8, k);
	for (size_t i = 0; i < k; i++)
		exact += (double)want_y[i] * (double)y[i], size += fabs((double)want_y[i] * (double)y[i]);
	ok = same_f32(dot, want_dot) && fabs((double)dot - exact) <= ((double)k / 32 + 3) * 0x1p-24 * size;
	check_result(run, ok, "dot_q8_0 %s k %zu: %g, exactly %g", hypi_block_info[id].name, k, (double)dot, exact);
	free(y);
	free(want_y);
	free(want);
}

void check_block(struct check_run *run) {
	guarded_init(&ga, 1 << 16);
	guarded_init(&gb, 1 << 16);
	guarded_init(&gd, 1 << 16);
	layouts(run);
	for (enum hypi_block id = 0; id < HYPI_BLOCK_COUNT; id++)
		for (size_t blocks = 0; blocks < 12; blocks++)
			for (enum place place = 0; place < PLACE_COUNT; place++)
				one(run, id, blocks * hypi_block_info[id].elements, place);
	guarded_fini(&ga);
	guarded_fini(&gb);
	guarded_fini(&gd);
}
