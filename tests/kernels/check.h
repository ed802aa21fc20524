/*
 * tests/kernels/check.h: what the checks of all kernel families share.
 *
 * Each instruction set that the processor has is compared with the C reference: integers and single IEEE operations bit
 * for bit, the rest within the bounds that kernels.h states. Arrays lie against unmapped pages, so that a read past an
 * end faults, and between canaries, so that a write past an end is seen.
 */
#ifndef HYPI_TESTS_KERNELS_CHECK_H
#define HYPI_TESTS_KERNELS_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "kernels/kernels.h"

/* ---- Random numbers: xorshift (Marsaglia 2003), the seed printed and settable ------------------------------------ */
extern uint64_t check_rng;
static inline uint64_t random_u64(void) {
	check_rng ^= check_rng << 13;
	check_rng ^= check_rng >> 7;
	check_rng ^= check_rng << 17;
	return check_rng;
}
static inline size_t random_below(size_t n) { return (size_t)(random_u64() >> 11) % n; }
static inline double random_unit(void) /* [-1, 1) */
{
	return (double)(int64_t)random_u64() * 0x1p-63;
}

/* ---- Arrays between guards ----------------------------------------------------------------------------------------- */
#define GUARD_CANARY 0xA5
#define GUARD_REACH 512 /* bytes on each side that are filled and checked */
struct guarded {
	uint8_t *first; /* of the usable bytes; an unmapped page lies before */
	size_t usable;  /* an unmapped page lies behind */
};
void guarded_init(struct guarded *g, size_t usable_bytes);
void guarded_fini(struct guarded *g);
/* A place for `bytes`: against the page behind, against the page before, or misaligned somewhere by whole elements. */
enum place { PLACE_END, PLACE_START, PLACE_ODD, PLACE_COUNT };
void *guarded_place(const struct guarded *g, size_t bytes, size_t element_bytes, enum place place);
bool guarded_intact(const struct guarded *g, const void *p, size_t bytes);

/* ---- Values and comparisons ---------------------------------------------------------------------------------------- */
void fill_f32(float *p, size_t n, bool with_specials);
void fill_f64(double *p, size_t n, bool with_specials);
void fill_unit_f32(float *p, size_t n); /* [-1, 1) */
void fill_unit_f64(double *p, size_t n);
void fill_bytes(void *p, size_t bytes);
bool same_f32(float a, float b); /* bit for bit, but any NaN equals any, and -0 equals 0 */
bool same_f64(double a, double b);
double ulps_f32(float got, double exact); /* in units of the last place of exact */

extern const size_t check_sizes[];
extern const size_t check_sizes_count;

/* ---- Results ------------------------------------------------------------------------------------------------------- */
struct check_run {
	const char *set;
	const struct hypi_kernels *ref, *k;
	uint64_t compared; /* calls of kernels compared in this set */
	uint64_t failed;
};
/* Counts one comparison; prints the first few failures. Returns ok. */
bool check_result(struct check_run *run, bool ok, const char *format, ...) __attribute__((format(printf, 3, 4)));

void check_elementwise(struct check_run *run);
void check_reduce(struct check_run *run);
void check_convert(struct check_run *run);
void check_gemm(struct check_run *run);
void check_ternary(struct check_run *run);
void check_block(struct check_run *run);
void check_cpu(struct check_run *run);

/* ---- Timing (bench.c) ------------------------------------------------------------------------------------------------ */
int bench_main(uint32_t mask, const char *filter, bool csv);

#endif
