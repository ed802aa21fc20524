/*
 * tests/tensor/test_idle.c: tensors that lie idle: moved by the compaction of their pool, compressed and restored, while
 * other threads use them.
 */
#include "tensor/internal.h"
#include "tensor/storage.h"
#include "tensor/zstd.h"

#include <hypool/cleanup.h>
#include <hypool/hypool.h>
#include <hypool/ops.h>

#include "outcome.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* The i-th tensor of a test: n elements i, i + 1, ... modulo 251, which compresses. */
static hyp_tensor *numbered(hyp_pool *pool, int64_t i, int64_t n) {
	hyp_tensor_place place = {sizeof place, pool, 0, 0};
	hyp_tensor *t;
	float *x;
	OK(hyp_tensor_empty_at(&place, HYP_F32, 1, &n, &t));
	OK(hyp_tensor_lock(t, (void **)&x));
	for (int64_t j = 0; j < n; j++) x[j] = (float)((i + j) % 251);
	hyp_tensor_unlock(t);
	return t;
}

static bool holds(const hyp_tensor *t, int64_t i, int64_t first) {
	float *x;
	OK(hyp_tensor_lock(t, (void **)&x));
	bool right = true;
	for (int64_t j = 0; j < hyp_tensor_elements(t); j++) right = right && x[j] == (float)((i + first + j) % 251);
	hyp_tensor_unlock(t);
	return right;
}

static uintptr_t address(const hyp_tensor *t) {
	void *p;
	OK(hyp_tensor_lock(t, &p));
	hyp_tensor_unlock(t);
	return (uintptr_t)p;
}

/* ---- compaction ---- */

#define MANY 2000

START_TEST(compaction_moves_idle_tensors) {
	hyp_pool *pool;
	static hyp_tensor *tensors[MANY], *views[MANY];
	static uintptr_t at[MANY];
	ck_assert_int_eq(hyp_pool_create(NULL, &pool), HYP_OK);
	for (int64_t i = 0; i < MANY; i++) tensors[i] = numbered(pool, i, 1500);
	hyp_slice tail = {500, HYP_SLICE_OPEN, 1};
	for (int64_t i = 0; i < MANY; i++) {
		views[i] = NULL;
		if (i % 16 == 0) OK(hyp_tensor_slice(tensors[i], 1, &tail, &views[i]));
		if (i % 8 != 0 || i % 16 == 0) hyp_tensor_release(tensors[i]); /* of every 16th the view is left */
		else views[i] = tensors[i];
		at[i] = views[i] == NULL ? 0 : address(views[i]);
	}
	void *pinned;
	OK(hyp_tensor_lock(views[16], &pinned));
	hyp_cleanup_result result = {.struct_bytes = sizeof result};
	ck_assert_int_eq(hyp_cleanup_run(pool, NULL, &result), HYP_OK);
	ck_assert_msg(result.moved_blocks > 50, "%llu blocks moved", (unsigned long long)result.moved_blocks);
	int moved = 0;
	for (int64_t i = 0; i < MANY; i++) {
		if (views[i] == NULL) continue;
		ck_assert_msg(holds(views[i], i, i % 16 == 0 ? 500 : 0), "tensor %lld", (long long)i);
		moved += address(views[i]) != at[i];
	}
	ck_assert_int_eq(moved, (int)result.moved_blocks);
	ck_assert_uint_eq((uintptr_t)pinned, at[16]); /* locked: it stayed */
	ck_assert_uint_eq(address(views[16]), at[16]);
	hyp_tensor_unlock(views[16]);
	for (int64_t i = 0; i < MANY; i++) hyp_tensor_release(views[i]);
	hyp_pool_destroy(pool);
	ck_assert_uint_eq(hyp_tensor_live_count(), 0);
}
END_TEST

static hyp_tensor *in_use[8];
static _Atomic bool stop;

static void *compute(void *argument) {
	int64_t i = (int64_t)(intptr_t)argument;
	for (int64_t round = 0; !atomic_load(&stop); round++) {
		hyp_tensor *sum;
		OK(hyp_tensor_add(in_use[i % 8], in_use[(i + round) % 8], &sum));
		float *x;
		OK(hyp_tensor_lock(sum, (void **)&x));
		int64_t a = i % 8, b = (i + round) % 8;
		for (int64_t j = 0; j < 3000; j += 7)
			ck_assert_msg(x[j] == (float)((a + j) % 251) + (float)((b + j) % 251), "%lld + %lld", (long long)a,
			              (long long)b);
		hyp_tensor_unlock(sum);
		hyp_tensor_release(sum);
	}
	return NULL;
}

static hyp_tensor *written;
static int64_t times_written;

/* Adds 1 to every element, as long as the others work: a write that were lost shows at the end. */
static void *count(void *argument) {
	(void)argument;
	for (times_written = 0; !atomic_load(&stop); times_written++) {
		float *x;
		OK(hyp_tensor_lock(written, (void **)&x));
		for (int64_t j = 0; j < 3000; j++) x[j] = x[j] >= 1000 ? 0 : x[j] + 1;
		hyp_tensor_unlock(written);
		for (volatile int pause = 0; pause < 20000; pause++) { /* leave it alone for a while */
		}
	}
	return NULL;
}

/* Whatever happens to the storages, threads that compute with them see what is theirs. On a busy machine it goes on, a
 * hundred times as long at most, until what `until` counts has happened once. */
static void among_threads(hyp_pool *pool, int rounds, void (*disturb)(hyp_pool *pool), const uint64_t *until) {
	pthread_t threads[3], counter;
	for (int64_t i = 0; i < 8; i++) in_use[i] = numbered(pool, i, 3000);
	written = numbered(pool, 0, 3000);
	OK(hyp_tensor_fill(written, hyp_int(0)));
	atomic_store(&stop, false);
	for (int i = 0; i < 3; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, compute, (void *)(intptr_t)i), 0);
	ck_assert_int_eq(pthread_create(&counter, NULL, count, NULL), 0);
	for (int round = 0; round < rounds || (until != NULL && *until == 0 && round < 100 * rounds); round++)
		disturb(pool);
	atomic_store(&stop, true);
	ck_assert_int_eq(pthread_join(counter, NULL), 0);
	float *x;
	OK(hyp_tensor_lock(written, (void **)&x));
	for (int64_t j = 0; j < 3000; j++)
		ck_assert_msg(x[j] == (float)(times_written % 1001), "element %lld is %g after %lld writes", (long long)j,
		              (double)x[j], (long long)times_written);
	hyp_tensor_unlock(written);
	hyp_tensor_release(written);
	for (int i = 0; i < 3; i++) ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	for (int64_t i = 0; i < 8; i++) {
		ck_assert(holds(in_use[i], i, 0));
		hyp_tensor_release(in_use[i]);
	}
}

static void scatter_and_compact(hyp_pool *pool) {
	hyp_tensor *others[100];
	for (int64_t i = 0; i < 100; i++) others[i] = numbered(pool, i, 3000);
	for (int64_t i = 0; i < 100; i += 2) hyp_tensor_release(others[i]);
	ck_assert_int_eq(hyp_cleanup_run(pool, NULL, NULL), HYP_OK);
	for (int64_t i = 1; i < 100; i += 2) {
		ck_assert(holds(others[i], i, 0));
		hyp_tensor_release(others[i]);
	}
}

START_TEST(compaction_among_threads) {
	hyp_pool *pool;
	ck_assert_int_eq(hyp_pool_create(NULL, &pool), HYP_OK);
	among_threads(pool, 40, scatter_and_compact, NULL);
	hyp_pool_destroy(pool);
	ck_assert_uint_eq(hyp_tensor_live_count(), 0);
}
END_TEST

/* ---- compression ---- */

START_TEST(compressed_and_restored) {
	if (!hypi_zstd_here()) return;
	hyp_pool *pool;
	hyp_tensor *t, *noise, *view, *sum;
	size_t saved = 77;
	ck_assert_int_eq(hyp_pool_create(NULL, &pool), HYP_OK);
	t = numbered(pool, 3, 100000);
	ck_assert_int_eq(hyp_tensor_compress(t, &saved), HYP_ERR_UNSUPPORTED); /* not turned on */
	ck_assert_uint_eq(saved, 77);
	OK(hyp_tensor_compression(true, 0));
	OK(hyp_tensor_slice(t, 1, &(hyp_slice){HYP_SLICE_OPEN, HYP_SLICE_OPEN, -1}, &view));
	OK(hyp_tensor_compress(t, &saved));
	ck_assert_msg(saved > 350000, "%zu of 400000 bytes saved", saved);
	hyp_tensor_info info = {.struct_bytes = sizeof info};
	OK(hyp_tensor_describe(view, &info));
	ck_assert(info.compressed_bytes > 0 && info.compressed_bytes < 50000 && info.storage_bytes == 400000);
	OK(hyp_tensor_compress(t, &saved)); /* once is enough */
	ck_assert_uint_eq(saved, 0);
	/* An operation on the view restores what both stand on. */
	OK(hyp_tensor_sum(view, 0, NULL, NULL, &sum));
	hyp_scalar value;
	OK(hyp_tensor_get(sum, NULL, &value));
	double want = 0;
	for (int j = 0; j < 100000; j++) want += (3 + j) % 251;
	ck_assert(value.value.f > want * (1 - 1e-6) && value.value.f < want * (1 + 1e-6));
	hyp_tensor_release(sum);
	OK(hyp_tensor_describe(t, &info));
	ck_assert_uint_eq(info.compressed_bytes, 0);
	ck_assert(holds(t, 3, 0));
	ck_assert_uint_eq(address(t) % 64, 0);
	/* Locked it stays, and says so. */
	void *p;
	OK(hyp_tensor_lock(view, &p));
	ck_assert_int_eq(hyp_tensor_compress(t, &saved), HYP_ERR_BUSY);
	hyp_tensor_unlock(view);
	/* Noise is left as it is; so is what is small. */
	OK(hyp_tensor_random(HYP_F64, 1, (const int64_t[]){10000}, 1, 0, 1, &noise));
	OK(hyp_tensor_compress(noise, &saved));
	OK(hyp_tensor_describe(noise, &info));
	ck_assert(saved == 0 && info.compressed_bytes == 0);
	hyp_tensor_release(noise);
	/* Released while compressed: nothing is left. */
	OK(hyp_tensor_compress(t, &saved));
	ck_assert_uint_gt(saved, 350000);
	hyp_tensor_release(t);
	hyp_tensor_release(view);
	OK(hyp_tensor_compression(false, 0));
	hyp_pool_destroy(pool);
	ck_assert_uint_eq(hyp_tensor_live_count(), 0);
}
END_TEST

START_TEST(the_idle_ones) {
	if (!hypi_zstd_here()) return;
	OK(hyp_tensor_compression(true, 0));
	hyp_tensor *idle[10], *busy;
	size_t saved;
	for (int64_t i = 0; i < 10; i++) idle[i] = numbered(NULL, i, 50000);
	usleep(150000);
	busy = numbered(NULL, 99, 50000);
	OK(hyp_tensor_compress_idle(100, &saved));
	ck_assert_msg(saved > 10 * 150000, "%zu bytes", saved);
	hyp_tensor_info info = {.struct_bytes = sizeof info};
	OK(hyp_tensor_describe(busy, &info));
	ck_assert_uint_eq(info.compressed_bytes, 0);
	for (int64_t i = 0; i < 10; i++) {
		OK(hyp_tensor_describe(idle[i], &info));
		ck_assert_uint_gt(info.compressed_bytes, 0);
		ck_assert(holds(idle[i], i, 0));
	}
	/* Whoever is short of memory asks for it. */
	hyp_relief relief = {.struct_bytes = sizeof relief};
	ck_assert_int_eq(hyp_cleanup_relieve((uint64_t)1 << 40, &relief), HYP_OK);
	ck_assert_uint_gt(relief.claimed_bytes, 10 * 150000);
	OK(hyp_tensor_describe(idle[4], &info));
	ck_assert_uint_gt(info.compressed_bytes, 0);
	/* In a child of fork too. */
	pid_t child = fork();
	if (child == 0) _exit(holds(idle[4], 4, 0) && holds(idle[5], 5, 0) ? 0 : 1);
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	for (int64_t i = 0; i < 10; i++) {
		if (i % 2) ck_assert(holds(idle[i], i, 0));
		hyp_tensor_release(idle[i]);
	}
	hyp_tensor_release(busy);
	ck_assert_uint_eq(hyp_tensor_live_count(), 0);
}
END_TEST

static uint64_t times_compressed, times_written_compressed;
static void compress_all(hyp_pool *pool) {
	(void)pool;
	size_t saved;
	if (hyp_tensor_compress(written, &saved) == HYP_OK && saved != 0) times_written_compressed++;
	for (int i = 0; i < 8; i++)
		if (hyp_tensor_compress(in_use[i], &saved) == HYP_OK && saved != 0) times_compressed++;
	OK(hyp_tensor_compress_idle(0, &saved));
	if (saved != 0) times_compressed++;
}

START_TEST(compression_among_threads) {
	if (!hypi_zstd_here()) return;
	OK(hyp_tensor_compression(true, 0));
	among_threads(hyp_pool_default(), 2000, compress_all, &times_written_compressed);
	ck_assert_uint_gt(times_compressed, 0);
	ck_assert_uint_gt(times_written_compressed, 0);
	ck_assert_uint_eq(hyp_tensor_live_count(), 0);
}
END_TEST

int main(void) {
	const TTest *const tests[] = {compaction_moves_idle_tensors, compaction_among_threads, compressed_and_restored,
	                              the_idle_ones, compression_among_threads};
	return run_suite("idle tensors", tests, sizeof tests / sizeof *tests);
}
