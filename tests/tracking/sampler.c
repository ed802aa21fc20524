/*
 * The sampler is exact: for each size and each pattern of use, the picked allocations, each counted 1 / probability
 * times, estimate the true number without bias (a z-test on a fixed number of picks), gaps between picks are memoryless
 * (their variance is that of a geometric law), every picked block is told exactly once when freed, and with a mean of
 * one byte every allocation is told. Assertions are on in the library that this links.
 */
#include "tracking/check.h"

#include "heap/fast.h"
#include "heap/sample.h"

#include <hypool/hypool.h>

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

/* The thread sanitizer makes each access some 20 times as dear, and looks for other faults than wrong estimates: a tenth of
 * the allocations, with bounds as wide as that makes them. */
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif
enum { FEWER = UNDER_TSAN ? 10 : 1 };

static atomic_ulong picks, frees, bytes_asked;
static _Atomic double scaled;
static _Thread_local unsigned long here, last_pick;
static double gap_sum, gap_squares;
static unsigned long gaps;

static void on_alloc(void *p, size_t asked, size_t usable, double scale) {
	size_t may_use = hyp_usable_size(p); /* of a block between guard pages: what was asked for */
	CHECK(p != NULL && asked <= usable && (may_use >= usable || may_use == asked), "%zu of %zu", asked, usable);
	atomic_fetch_add(&picks, 1);
	atomic_fetch_add(&bytes_asked, asked);
	double before = atomic_load(&scaled);
	while (!atomic_compare_exchange_weak(&scaled, &before, before + scale)) continue;
	double gap = (double)(here - last_pick);
	last_pick = here;
	gap_sum += gap;
	gap_squares += gap * gap;
	gaps++;
	hyp_free(hyp_malloc(100)); /* hooks may allocate, and are not told of it */
}

static void on_free(void *p, size_t usable) {
	CHECK(p != NULL && usable > 0, "%p", p);
	atomic_fetch_add(&frees, 1);
}

static const hypi_sample_hooks hooks = {.on_alloc = on_alloc, .on_free = on_free};

static void reset(void) {
	picks = frees = bytes_asked = 0;
	scaled = 0;
	gap_sum = gap_squares = 0;
	gaps = 0;
	here = last_pick = 0;
}

/* ---- patterns: each makes `count` allocations of `bytes` and frees them all ---- */

enum { LIVE = 3000 };
static void *live[LIVE];

static void *one(size_t bytes) {
	here++;
	void *p = hyp_malloc(bytes);
	CHECK(p != NULL, "no memory");
	return p;
}

static void pairs(size_t bytes, unsigned long count) {
	for (unsigned long i = 0; i < count; i++) hyp_free(one(bytes));
}

static void batches(size_t bytes, unsigned long count) {
	for (unsigned long i = 0; i < count;) {
		unsigned n = 0;
		for (; n < LIVE && i < count; n++, i++) live[n] = one(bytes);
		while (n > 0) {
			hyp_free(live[--n]);
			live[n] = NULL;
		}
	}
}

static void random_slots(size_t bytes, unsigned long count) {
	unsigned long random = 1;
	for (unsigned long i = 0; i < count; i++) {
		random = random * 6364136223846793005ul + 1442695040888963407ul;
		void **slot = &live[(random >> 33) % LIVE];
		hyp_free(*slot);
		*slot = one(bytes);
	}
	for (unsigned i = 0; i < LIVE; i++) hyp_free(live[i]), live[i] = NULL;
}

static void aligned_and_zeroed(size_t bytes, unsigned long count) {
	for (unsigned long i = 0; i < count; i++) {
		here++;
		unsigned char *p = i % 3 == 0   ? hyp_aligned_alloc(64, bytes)
		                   : i % 3 == 1 ? hyp_calloc(1, bytes)
		                                : hyp_malloc(bytes);
		if (i % 3 == 1)
			for (size_t k = 0; k < bytes; k++) CHECK(p[k] == 0, "calloc: byte %zu is %u", k, p[k]);
		memset(p, 0xa5, bytes);
		hyp_free(p);
	}
}

/* The other thread frees what this one allocates. */
static _Atomic(void *) mailbox[64];
static atomic_bool done;

static void *freeing(void *unused) {
	(void)unused;
	for (bool last = false;;) {
		last = atomic_load(&done);
		for (int i = 0; i < 64; i++) hyp_free(atomic_exchange(&mailbox[i], NULL));
		if (last) return NULL;
	}
}

static void handed_over(size_t bytes, unsigned long count) {
	pthread_t thread;
	done = false;
	CHECK(pthread_create(&thread, NULL, freeing, NULL) == 0, "no thread");
	for (unsigned long i = 0; i < count; i++) {
		void *p = one(bytes);
		if (i % 4 == 0) hyp_free(p);
		else hyp_free(atomic_exchange(&mailbox[i % 64], p));
	}
	done = true;
	pthread_join(thread, NULL);
}

static const struct {
	const char *name;
	void (*run)(size_t bytes, unsigned long count);
	bool whole_blocks; /* rounds sizes up to other classes */
} patterns[] = {{"pairs", pairs, true},
                {"batches", batches, true},
                {"random slots", random_slots, true},
                {"aligned and zeroed", aligned_and_zeroed, false},
                {"handed over", handed_over, true}};

static void exact(size_t bytes, uint64_t mean, unsigned pattern, unsigned long count) {
	reset();
	hypi_sample_set(mean, &hooks);
	hyp_free(hyp_aligned_alloc(64, 300)); /* a slow path: the heap notices */
	reset();
	patterns[pattern].run(bytes, count);
	hypi_sample_set(0, &hooks);
	hyp_free(hyp_aligned_alloc(64, 300));
	double p = hypi_sample_probability(hypi_class_block_bytes(hypi_class_of(bytes)), mean);
	double wanted = (double)count, sigma = sqrt(wanted * (1 - p) / p);
	CHECK(picks == frees, "%s %zu: %lu picked, %lu freed", patterns[pattern].name, bytes, picks, frees);
	if (!patterns[pattern].whole_blocks) return;
	CHECK(bytes_asked == picks * bytes, "%s %zu: asked", patterns[pattern].name, bytes);
	CHECK(fabs(scaled - wanted) < 5 * sigma + 1e-6 * wanted,
	      "%s, %zu bytes, mean %llu: estimate %.0f, true %.0f, sigma %.0f", patterns[pattern].name, bytes,
	      (unsigned long long)mean, (double)scaled, wanted, sigma);
	if (gaps > 1000 && p < 0.5) {
		/* A geometric law: variance (1 - p) / p^2; the estimate's own error is about sqrt(8 / gaps). */
		double m = gap_sum / (double)gaps, ratio = (gap_squares / (double)gaps - m * m) / ((1 - p) / (p * p));
		CHECK(fabs(ratio - 1) < 5 * sqrt(8.0 / (double)gaps), "%s, %zu bytes: variance of gaps is %.3f of the law's",
		      patterns[pattern].name, bytes, ratio);
	}
}

static void large(void) {
	reset();
	hypi_sample_set(16 << 20, &hooks);
	enum { COUNT = 20000 / FEWER };
	for (int i = 0; i < COUNT; i++) {
		char *p = hyp_malloc(2 << 20);
		p = hyp_realloc(p, 3 << 20);
		hyp_free(p);
	}
	hypi_sample_set(0, &hooks);
	hyp_free(hyp_aligned_alloc(64, 100));
	double p = hypi_sample_probability(2 << 20, 16 << 20);
	CHECK(picks == frees, "large: %lu picked, %lu freed", picks, frees);
	/* 2 MiB, then 3 MiB: in place or moved, both count. */
	CHECK(fabs(scaled - 2.0 * COUNT) < 6 * sqrt(2.0 * COUNT * (1 - p) / p), "large: estimate %.0f", (double)scaled);
}

static void every_one(void) {
	reset();
	hypi_sample_set(1, &hooks);
	hyp_free(hyp_aligned_alloc(64, 300));
	reset();
	for (unsigned long i = 0; i < 5000; i++) {
		hyp_free(hyp_malloc(1 + i * 7 % 70000));
		hyp_free(hyp_realloc(hyp_calloc(3, 7), 500));
	}
	CHECK(picks == 15000 && frees == 15000, "%lu picked, %lu freed", picks, frees);
	hypi_sample_set(0, &hooks);
	hyp_free(hyp_aligned_alloc(64, 100));
	unsigned long before = picks;
	pairs(64, 10000);
	CHECK(picks == before, "off, and %lu more were picked", picks - before);
}

static void numbers(void) {
	for (double u = 1e-15; u < 1; u = u * 1.07 + 1e-16)
		CHECK(fabs(hypi_minus_log(u) + log(u)) < 1e-11 * (1 - log(u)), "-log(%g) is %g", u, hypi_minus_log(u));
	for (size_t n = 1; n < 1u << 30; n = n * 5 / 4 + 1) {
		double have = hypi_sample_probability(n, 524288), want = -expm1(-(double)n / 524288);
		CHECK(fabs(have - want) < 1e-10 * want, "probability of %zu is %.15g, not %.15g", n, have, want);
	}
}

int main(void) {
	numbers();
	static const size_t sizes[] = {1, 16, 48, 100, 256, 1000, 4096, 20000, 100000};
	for (unsigned pattern = 0; pattern < HYP_ARRAY_LEN(patterns); pattern++)
		for (unsigned s = 0; s < HYP_ARRAY_LEN(sizes); s++) {
			size_t bytes = sizes[s];
			unsigned long count = (bytes > 4096 ? 20000 : 200000) / FEWER;
			exact(bytes, bytes * 20, pattern, count);
			exact(bytes, bytes * 1000, pattern, count);
			exact(bytes, bytes / 2 + 2, pattern, count / 10);
		}
	large();
	every_one();
	const char *wrong = hypi_heap_check(hypi_self.heap);
	CHECK(wrong == NULL, "%s", wrong);
	puts("exact");
	return 0;
}
