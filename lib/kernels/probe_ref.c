/*
 * kernels/probe_ref.c: the ceilings as plain C reaches them, for a machine without any vector set.
 */
#include "kernels/fill.h"

#define CHAINS 8

static uint64_t fma_f32(size_t rounds) {
	volatile float sink;
	float acc[CHAINS] = {0};
	for (size_t i = 0; i < rounds; i++)
		for (size_t c = 0; c < CHAINS; c++) acc[c] = acc[c] * 0.999f + 1.0f;
	for (size_t c = 0; c < CHAINS; c++) sink = acc[c];
	(void)sink;
	return rounds * CHAINS * 2;
}

static uint64_t dot_i8(size_t rounds) {
	volatile int32_t sink;
	int8_t x[64];
	int32_t acc = 0;
	for (int i = 0; i < 64; i++) x[i] = (int8_t)i;
	for (size_t i = 0; i < rounds; i++) {
		__asm__ volatile("" : : "r"(x) : "memory");
		for (size_t c = 0; c < 64; c++) acc += x[c] * x[63 - c];
	}
	sink = acc;
	(void)sink;
	return rounds * 64 * 2;
}

static uint64_t read_bytes(const void *p, size_t bytes) {
	volatile uint64_t sink;
	const uint64_t *words = p;
	uint64_t sum = 0;
	for (size_t i = 0; i < bytes / 8; i++) sum += words[i];
	sink = sum;
	(void)sink;
	return bytes / 8 * 8;
}

void hypi_fill_probe_ref(struct hypi_probe *p) {
	p->fma_f32 = fma_f32;
	p->dot_i8 = dot_i8;
	p->read = read_bytes;
}
