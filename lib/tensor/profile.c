/*
 * tensor/profile.c: what the operations cost, and what this machine could do at best.
 *
 * One row a kind of operation, added to with relaxed atomics when profiling is on. The ceilings are loops of the
 * kernels (kernels.h, probe) and of the addition kernel over arrays larger than any cache, run by all threads at once.
 */
#include "tensor/compute.h"
#include "tensor/parallel.h"

#include <hypool/hypool.h>

#include <pthread.h>
#include <time.h>

_Atomic bool hypi_profile_on;

static struct { _Atomic uint64_t calls, time_ns, flops, bytes; } rows[HYP_PROFILE_COUNT];

static const char *const names[HYP_PROFILE_COUNT] = {
#define X(name) #name,
	HYP_PROFILE_OPS(X)
#undef X
};

static uint64_t now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t hypi_profile_begin(void) { return now_ns(); }

void hypi_profile_end(hyp_profile_op op, uint64_t begun, uint64_t flops, uint64_t bytes) {
	(void)hypi_add_relaxed(&rows[op].calls, 1);
	(void)hypi_add_relaxed(&rows[op].time_ns, now_ns() - begun);
	(void)hypi_add_relaxed(&rows[op].flops, flops);
	(void)hypi_add_relaxed(&rows[op].bytes, bytes);
}

void hyp_profile_enable(bool on) { hypi_store_relaxed(&hypi_profile_on, on); }

void hyp_profile_reset(void) {
	for (int i = 0; i < HYP_PROFILE_COUNT; i++) {
		hypi_store_relaxed(&rows[i].calls, 0);
		hypi_store_relaxed(&rows[i].time_ns, 0);
		hypi_store_relaxed(&rows[i].flops, 0);
		hypi_store_relaxed(&rows[i].bytes, 0);
	}
}

void hyp_profile_read(hyp_profile_op op, hyp_profile_row *ret_row) {
	if ((int)op < 0 || op >= HYP_PROFILE_COUNT || ret_row == NULL) return;
	*ret_row = (hyp_profile_row){names[op], hypi_load_relaxed(&rows[op].calls), hypi_load_relaxed(&rows[op].time_ns),
	                             hypi_load_relaxed(&rows[op].flops), hypi_load_relaxed(&rows[op].bytes)};
}

/* ---- ceilings ---- */

#define ROUNDS 400000
#define ARRAY_BYTES ((size_t)96 << 20) /* larger than the last cache of most machines, three times */
#define PASSES 5

struct ceiling_run {
	int what; /* 0 fma, 1 dot, 2 read, 3 stream */
	char *a, *b, *c;
	_Atomic uint64_t work;
};

static void ceiling_range(void *context, int64_t begin, int64_t end) {
	struct ceiling_run *run = context;
	const struct hypi_kernels *k = hypi_kernels();
	if (run->what < 2) {
		for (int64_t i = begin; i < end; i++)
			(void)hypi_add_relaxed(&run->work, run->what == 0 ? k->probe.fma_f32(ROUNDS) : k->probe.dot_i8(ROUNDS));
		return;
	}
	size_t bytes = (size_t)(end - begin);
	if (run->what == 2) {
		(void)k->probe.read(run->a + begin, bytes);
		(void)hypi_add_relaxed(&run->work, bytes);
		return;
	}
	k->elementwise.binary[HYPI_F32][HYPI_ADD][HYPI_VV](run->c + begin, run->a + begin, run->b + begin, bytes / 4);
	(void)hypi_add_relaxed(&run->work, 3 * bytes);
}

static double best_rate(struct ceiling_run *run, int what) {
	double best = 0;
	unsigned w = hypi_parallel_width();
	for (int pass = 0; pass < PASSES; pass++) {
		run->what = what;
		hypi_store_relaxed(&run->work, 0);
		uint64_t begun = now_ns();
		if (what < 2) hypi_parallel((int64_t)w * 4, 1, ceiling_range, run);
		else hypi_parallel((int64_t)ARRAY_BYTES, 1 << 20, ceiling_range, run);
		double rate = (double)hypi_load_relaxed(&run->work) / ((double)(now_ns() - begun) * 1e-9);
		if (rate > best) best = rate;
	}
	return best;
}

hyp_status hyp_profile_measure(hyp_profile_ceiling *ret_ceiling) {
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	static hyp_profile_ceiling kept;
	static bool measured;
	static unsigned with_threads;
	HYPI_CHECK_RET(ret_ceiling);
	pthread_mutex_lock(&mutex);
	hyp_status status = HYP_OK;
	if (!measured || with_threads != hypi_parallel_width()) {
		struct ceiling_run run = {0};
		run.a = hyp_aligned_alloc(64, ARRAY_BYTES);
		run.b = hyp_aligned_alloc(64, ARRAY_BYTES);
		run.c = hyp_aligned_alloc(64, ARRAY_BYTES);
		if (run.a == NULL || run.b == NULL || run.c == NULL) {
			status = hypi_fail(HYP_ERR_NO_MEMORY, "no memory for %zu bytes to measure with", 3 * ARRAY_BYTES);
		} else {
			memset(run.a, 1, ARRAY_BYTES);
			memset(run.b, 1, ARRAY_BYTES);
			memset(run.c, 1, ARRAY_BYTES);
			kept =
				(hyp_profile_ceiling){best_rate(&run, 0), best_rate(&run, 1), best_rate(&run, 2), best_rate(&run, 3)};
			measured = true;
			with_threads = hypi_parallel_width();
		}
		hyp_free(run.a);
		hyp_free(run.b);
		hyp_free(run.c);
	}
	if (status == HYP_OK) *ret_ceiling = kept;
	pthread_mutex_unlock(&mutex);
	return status;
}
