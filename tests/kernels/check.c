/* tests/kernels/check.c: guarded arrays, random values and comparisons for the kernel checks. */
#include "check.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

uint64_t check_rng = 88172645463325252u;

const size_t check_sizes[] = {0,   1,   2,   3,   4,   5,   7,   8,   9,    11,   13,   15,   16,   17,
                              19,  23,  31,  32,  33,  47,  48,  49,  63,   64,   65,   95,   100,  127,
                              128, 129, 191, 255, 256, 257, 511, 513, 1000, 1023, 1025, 2049, 4097, 5003};
const size_t check_sizes_count = sizeof(check_sizes) / sizeof(check_sizes[0]);

void guarded_init(struct guarded *g, size_t usable_bytes) {
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	g->usable = (usable_bytes + 4 * GUARD_REACH + page - 1) / page * page;
	uint8_t *map = mmap(NULL, g->usable + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED || mprotect(map + page, g->usable, PROT_READ | PROT_WRITE) != 0) {
		perror("checkkernels: mmap");
		exit(2);
	}
	g->first = map + page;
}

void guarded_fini(struct guarded *g) {
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	munmap(g->first - page, g->usable + 2 * page);
	g->first = NULL;
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

void *guarded_place(const struct guarded *g, size_t bytes, size_t element_bytes, enum place place) {
	size_t room = g->usable - bytes, offset = room;
	if (place == PLACE_START) offset = 0;
	if (place == PLACE_ODD) offset = GUARD_REACH + random_below(64) * element_bytes;
	uint8_t *p = g->first + offset;
	size_t before = smaller(offset, GUARD_REACH), behind = smaller(g->usable - offset - bytes, GUARD_REACH);
	memset(p - before, GUARD_CANARY, before + bytes + behind);
	return p;
}

bool guarded_intact(const struct guarded *g, const void *p, size_t bytes) {
	size_t offset = (size_t)((const uint8_t *)p - g->first);
	size_t before = smaller(offset, GUARD_REACH), behind = smaller(g->usable - offset - bytes, GUARD_REACH);
	for (size_t i = 0; i < before; i++)
		if (((const uint8_t *)p)[-1 - (ptrdiff_t)i] != GUARD_CANARY) return false;
	for (size_t i = 0; i < behind; i++)
		if (((const uint8_t *)p)[bytes + i] != GUARD_CANARY) return false;
	return true;
}

void fill_f32(float *p, size_t n, bool with_specials) {
	static const float special[] = {0.0f,      -0.0f,   INFINITY, -INFINITY, NAN,      1e-40f,        -1e-45f,
	                                0x1p-126f, 3.4e38f, -3.4e38f, 65504.0f,  65520.0f, 88.8f,         -103.9f,
	                                -104.5f,   127.5f,  -128.5f,  0.5f,      -0.5f,    2147483648.0f, 1.0f};
	for (size_t i = 0; i < n; i++) {
		if (with_specials && random_below(7) == 0) {
			p[i] = special[random_below(sizeof(special) / sizeof(special[0]))];
		} else {
			p[i] = (float)(random_unit() * ldexp(1.0, (int)random_below(12) - 4));
		}
	}
}

void fill_f64(double *p, size_t n, bool with_specials) {
	static const double special[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1e-310, -5e-324, 1.7e308, 1.0, 9.3e18, -1e19};
	for (size_t i = 0; i < n; i++) {
		if (with_specials && random_below(7) == 0) {
			p[i] = special[random_below(sizeof(special) / sizeof(special[0]))];
		} else {
			p[i] = random_unit() * ldexp(1.0, (int)random_below(12) - 4);
		}
	}
}

void fill_unit_f32(float *p, size_t n) {
	for (size_t i = 0; i < n; i++) p[i] = (float)random_unit();
}

void fill_unit_f64(double *p, size_t n) {
	for (size_t i = 0; i < n; i++) p[i] = random_unit();
}

void fill_bytes(void *p, size_t bytes) {
	uint8_t *b = p;
	for (size_t i = 0; i < bytes; i++) b[i] = (uint8_t)(random_u64() >> 33);
}

bool same_f32(float a, float b) { return a == b || (a != a && b != b); }

bool same_f64(double a, double b) { return a == b || (a != a && b != b); }

double ulps_f32(float got, double exact) {
	float nearest = (float)exact;
	if (same_f32(got, nearest)) return 0;
	if (!isfinite(got) || !isfinite(nearest)) {
		/* One step into infinity is one unit. */
		return fabsf(got) >= 3.4028234e38f && fabsf(nearest) >= 3.4028234e38f && got * nearest > 0 ? 1 : 1e9;
	}
	int exponent;
	frexp(exact, &exponent);
	double unit = ldexp(1.0, exponent - 24 < -149 ? -149 : exponent - 24);
	return fabs((double)got - exact) / unit;
}

bool check_result(struct check_run *run, bool ok, const char *format, ...) {
	run->compared++;
	if (ok) return true;
	if (run->failed++ < 20) {
		va_list args;
		printf("FAIL %s: ", run->set);
		va_start(args, format);
		vprintf(format, args);
		va_end(args);
		printf("\n");
		fflush(stdout);
	}
	return false;
}
