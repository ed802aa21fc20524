/*
 * perf/tensor/kernels_bench.c: what kernels.py times, as one shared module: our kernels and OpenBLAS's on the same
 * arrays, on one thread or several. Each call of kb_sample() is one sample: it repeats the operation until two
 * milliseconds have passed, and returns nanoseconds for one.
 *
 * Threads beyond the caller's spin between the phases of a sample, so that waking them costs what it costs a thread pool
 * in the middle of work. OpenBLAS is opened at run time, and uses its own threads.
 */
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kernels.h"

#define EXPORT __attribute__((visibility("default")))
#define ELEMENTS ((size_t)100000000)
#define THREADS_MAX 8
#define SCRATCH_BYTES ((size_t)32 << 20)
#define SAMPLE_NS 2e6
#define SAMPLE_PATIENCE_NS 5e8
#define COLD_BYTES ((size_t)512 << 20)

EXPORT float *kb_a, *kb_b, *kb_c;
int kb_open(const char *openblas, unsigned mask);
double kb_sample(const char *op, int peer, int threads, size_t x, size_t y, size_t z);
double kb_amount(const char *op, size_t x);
static const struct hypi_kernels *k;

uint32_t hypi_kernels_allowed(void) { return HYPI_MASK_ALL; }
static uint8_t *cold; /* ternary weights to rotate through */
static void *scratch[THREADS_MAX];
static volatile double sink;

enum { CBLAS_ROW_MAJOR = 101, CBLAS_NO_TRANS = 111, CBLAS_TRANS = 112 };
static void (*cblas_sgemm)(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *,
                           int);
static void (*cblas_sgemv)(int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
static void (*openblas_set_num_threads)(int);

static double now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double thread_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ---- Threads ------------------------------------------------------------------------------------------------------ */

struct work {
	const char *op;
	size_t x, y, z, turn;
	struct hypi_gemm_plan plan;
	struct hypi_ternary_job job;
	int threads;
};
static struct work current;
static _Atomic unsigned phase, done;
static _Atomic int asked; /* threads that take part in the phase */
static int started = 1;

static void part(const struct work *w, int thread);

static void *worker(void *arg) {
	int self = (int)(intptr_t)arg;
	unsigned seen = 0;
	for (;;) {
		/* the acquire pairs with the release in run_once() */
		unsigned now;
		int idle = 0;
		while ((now = atomic_load_explicit(&phase, memory_order_acquire)) == seen)
			if (++idle > 20000) sched_yield();
		seen = now;
		if (self >= atomic_load_explicit(&asked, memory_order_relaxed)) continue;
		part(&current, self);
		atomic_fetch_add_explicit(&done, 1, memory_order_release);
	}
	return NULL;
}

static void run_once(struct work *w) {
	w->turn++;
	if (w->threads > 1) {
		current = *w;
		atomic_store_explicit(&done, 0, memory_order_relaxed);
		atomic_store_explicit(&asked, w->threads, memory_order_relaxed);
		atomic_fetch_add_explicit(&phase, 1, memory_order_release);
	}
	part(w, 0);
	while (w->threads > 1 && atomic_load_explicit(&done, memory_order_acquire) != (unsigned)w->threads - 1) {
	}
}

/* This thread's piece of n, in multiples of unit. */
static size_t cut(size_t n, size_t unit, int thread, int threads) {
	size_t units = (n + unit - 1) / unit, at = units * (size_t)thread / (size_t)threads * unit;
	return at < n ? at : n;
}

/* ---- Our kernels ---------------------------------------------------------------------------------------------------- */

static bool is(const struct work *w, const char *name) { return strcmp(w->op, name) == 0; }

/* x elements, flat. */
static bool part_flat(const struct work *w, size_t i, size_t n) {
	const struct hypi_elementwise *e = &k->elementwise;
	float *a = kb_a + i, *b = kb_b + i, *c = kb_c + i;
	if (is(w, "add")) e->binary[HYPI_F32][HYPI_ADD][HYPI_VV](c, a, b, n);
	else if (is(w, "mul")) e->binary[HYPI_F32][HYPI_MUL][HYPI_VV](c, a, b, n);
	else if (is(w, "a*s+b")) e->fma_s_f32(c, a, 1.5f, 0.5f, n);
	else if (is(w, "exp")) e->unary[HYPI_F32][HYPI_EXP](c, a, n);
	else if (is(w, "tanh")) e->unary[HYPI_F32][HYPI_TANH](c, a, n);
	else if (is(w, "sum")) sink = k->reduce.sum_f32(a, n);
	else if (is(w, "max")) sink = (double)k->reduce.max_f32(a, n);
	else if (is(w, "argmax")) sink = (double)k->reduce.argmax_f32(a, n);
	else if (is(w, "a[::2]")) k->convert.copy_strided[2](kb_c + i / 2, 1, a, 2, n / 2);
	else if (is(w, "f32->f16")) k->convert.f16_from_f32((uint16_t *)kb_c + i, a, n);
	else if (is(w, "f16->f32")) k->convert.f32_from_f16(c, (uint16_t *)kb_b + i, n);
	else if (is(w, "f32->bf16")) k->convert.bf16_from_f32((uint16_t *)kb_c + i, a, n);
	else if (is(w, "read")) sink = (double)k->probe.read(a, n * 4);
	else if (is(w, "memcpy")) memcpy(c, a, n * 4);
	else return false;
	return true;
}

/* A matrix of x rows by y columns; this thread has rows [r, r + n). */
static bool part_rows(const struct work *w, size_t r, size_t n) {
	static float scale[1 << 20];
	static int32_t sum[1 << 20];
	size_t cols = w->y;
	float *a = kb_a + r * cols, *c = kb_c + r * cols;
	if (is(w, "add row")) {
		for (size_t i = 0; i < n; i++)
			k->elementwise.binary[HYPI_F32][HYPI_ADD][HYPI_VV](c + i * cols, a + i * cols, kb_b, cols);
	} else if (is(w, "sum axis 1")) {
		k->reduce.sum_axis1_f32(kb_c + r, a, n, cols, cols);
	} else if (is(w, "softmax")) {
		for (size_t i = 0; i < n; i++) k->reduce.softmax_f32(c + i * cols, a + i * cols, cols);
	} else if (is(w, "rms_norm")) {
		for (size_t i = 0; i < n; i++) k->reduce.rms_norm_f32(c + i * cols, a + i * cols, kb_b, cols, 1e-5f);
	} else if (is(w, "transpose")) {
		k->convert.transpose[2](kb_c + r, w->x, a, cols, n, cols);
	} else if (is(w, "absmax int8")) {
		k->ternary.quantize_i8((int8_t *)kb_c + r * cols, cols, scale + r, sum + r, a, cols, n, cols);
	} else {
		return false;
	}
	return true;
}

static void part(const struct work *w, int thread) {
	int threads = w->threads;
	if (is(w, "fma")) {
		sink = (double)k->probe.fma_f32(w->x);
	} else if (is(w, "dot")) {
		sink = (double)k->probe.dot_i8(w->x);
	} else if (is(w, "sgemm nn") || is(w, "sgemm nt") || is(w, "sgemv nt")) {
		size_t t0 = cut(w->plan.tiles, 1, thread, threads), t1 = cut(w->plan.tiles, 1, thread + 1, threads);
		hypi_gemm_run(&w->plan, &k->gemm, t0, t1, scratch[thread]);
	} else if (strncmp(w->op, "ternary", 7) == 0) {
		size_t r0 = cut(w->job.m, 16, thread, threads), r1 = cut(w->job.m, 16, thread + 1, threads);
		struct hypi_ternary_job job = w->job;
		size_t bytes = HYPI_P16_BYTES(job.m, job.k);
		if (strstr(w->op, "cold")) job.w = cold + w->turn % (COLD_BYTES / bytes) * bytes;
		(strstr(w->op, "t2") ? k->ternary.matmul_t2 : k->ternary.matmul_p16)(&job, r0, r1);
	} else if (is(w, "absmean ternary")) {
		size_t cols = w->y, n = w->x * cols;
		float inverse = (float)((double)n / k->ternary.abs_sum_f32(kb_a, n));
		for (size_t r = 0; r < w->x; r++)
			k->ternary.quantize_t2((uint8_t *)kb_c + r * HYPI_T2_ROW_BYTES(cols), kb_a + r * cols, inverse, cols);
	} else if (is(w, "sum axis 0")) {
		/* Rows are shared, as the operation shares them: a thread's streams are whole rows. */
		size_t r0 = cut(w->x, 16, thread, threads), r1 = cut(w->x, 16, thread + 1, threads);
		double *total = (double *)(void *)kb_c + (size_t)thread * w->y;
		memset(total, 0, w->y * sizeof *total);
		k->reduce.add_axis0_f32(total, kb_a + r0 * w->y, r1 - r0, w->y, w->y);
	} else if (w->y == 0) {
		size_t i0 = cut(w->x, 1024, thread, threads), i1 = cut(w->x, 1024, thread + 1, threads);
		if (!part_flat(w, i0, i1 - i0)) abort();
	} else {
		size_t r0 = cut(w->x, 16, thread, threads), r1 = cut(w->x, 16, thread + 1, threads);
		if (!part_rows(w, r0, r1 - r0)) abort();
	}
}

static void openblas_once(struct work *w) {
	const struct hypi_gemm_plan *p = &w->plan;
	int m = (int)p->m, n = (int)p->n, kk = (int)p->k;
	if (is(w, "sgemv nt")) {
		cblas_sgemv(CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, n, kk, 1, kb_b, kk, kb_a, 1, 0, kb_c, 1);
		return;
	}
	cblas_sgemm(CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, p->trans_b ? CBLAS_TRANS : CBLAS_NO_TRANS, m, n, kk, 1, kb_a, kk, kb_b,
	            (int)p->ldb, 0, kb_c, n);
}

/* ---- For kernels.py --------------------------------------------------------------------------------------------------- */

/* Returns the mask of sets in use, or -1. openblas may be NULL. */
EXPORT int kb_open(const char *openblas, unsigned mask) {
	hypi_kernels_init(mask);
	k = hypi_kernels();
	float **arrays[3] = {&kb_a, &kb_b, &kb_c};
	for (int i = 0; i < 3; i++) {
		*arrays[i] = aligned_alloc(4096, ELEMENTS * 4 + 4096 - ELEMENTS * 4 % 4096);
		if (*arrays[i] == NULL) return -1;
		for (size_t j = 0; j < ELEMENTS; j++) (*arrays[i])[j] = (float)(j * 2654435761u % 1021) * 0.001f - 0.5f;
	}
	cold = aligned_alloc(4096, COLD_BYTES);
	if (cold == NULL) return -1;
	for (size_t i = 0; i < COLD_BYTES; i++) cold[i] = (uint8_t)(0x55 ^ (i * 40503u >> 7 & 0x11)); /* codes 0 to 2 */
	for (int i = 0; i < THREADS_MAX; i++) scratch[i] = aligned_alloc(64, SCRATCH_BYTES);
	if (openblas == NULL) return (int)k->mask;
	void *lib = dlopen(openblas, RTLD_NOW | RTLD_LOCAL);
	if (lib == NULL) return -1;
	*(void **)&cblas_sgemm = dlsym(lib, "cblas_sgemm");
	*(void **)&cblas_sgemv = dlsym(lib, "cblas_sgemv");
	*(void **)&openblas_set_num_threads = dlsym(lib, "openblas_set_num_threads");
	return cblas_sgemm != NULL && cblas_sgemv != NULL && openblas_set_num_threads != NULL ? (int)k->mask : -1;
}

static void set_up(struct work *w) {
	static float scale[1024];
	static int32_t sum[1024];
	w->plan = (struct hypi_gemm_plan){.m = w->x, .n = w->y, .k = w->z, .a = kb_a, .b = kb_b, .c = kb_c, .alpha = 1};
	w->plan.trans_b = w->op[strlen(w->op) - 1] == 't';
	w->plan.lda = w->z;
	w->plan.ldb = w->plan.trans_b ? w->z : w->y;
	w->plan.ldc = w->y;
	if (strncmp(w->op, "sgem", 4) == 0) hypi_gemm_plan_init(&w->plan, &k->gemm, (size_t)w->threads);
	if (w->plan.scratch_bytes > SCRATCH_BYTES) abort();
	w->job = (struct hypi_ternary_job){.w = cold,
	                                   .w_stride_bytes = HYPI_T2_ROW_BYTES(w->y),
	                                   .m = w->x,
	                                   .k = w->y,
	                                   .batch = w->z,
	                                   .x = (int8_t *)kb_a,
	                                   .x_stride = w->y,
	                                   .x_sum = sum,
	                                   .x_scale = scale,
	                                   .w_scale = 1,
	                                   .out_f32 = kb_c,
	                                   .out_stride = w->x};
}

/* One sample of op with sizes x, y, z (what they mean is the op's affair), by us (peer 0) or OpenBLAS (peer 1): nanoseconds, or -1
 * if the machine was too busy for one clean sample. */
EXPORT double kb_sample(const char *op, int peer, int threads, size_t x, size_t y, size_t z) {
	struct work w = {.op = op, .x = x, .y = y, .z = z, .threads = threads};
	set_up(&w);
	if (peer == 1) openblas_set_num_threads(threads);
	while (peer == 0 && started < threads) {
		pthread_t t;
		pthread_create(&t, NULL, worker, (void *)(intptr_t)started++);
	}
	void (*once)(struct work *) = peer == 1 ? openblas_once : run_once;
	/* A sample in which this thread was not running all the time says nothing about the kernel. */
	double deadline = now_ns() + SAMPLE_PATIENCE_NS;
	once(&w);
	for (;;) {
		double t0 = now_ns(), own0 = thread_ns(), t1;
		size_t n = 0;
		do {
			once(&w);
			n++;
			t1 = now_ns();
		} while (t1 - t0 < SAMPLE_NS);
		if (thread_ns() - own0 >= 0.98 * (t1 - t0)) return (t1 - t0) / (double)n;
		if (t1 > deadline) return -1;
	}
}

/* Operations (or bytes) that op goes through in one go, where only the kernel knows. */
EXPORT double kb_amount(const char *op, size_t x) {
	return strcmp(op, "fma") == 0 ? (double)k->probe.fma_f32(x) : (double)k->probe.dot_i8(x);
}
