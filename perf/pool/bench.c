/*
 * perf/pool/bench.c: what pools and handles cost on one thread, warm, each beside malloc of the same run.
 *
 * Every row is run in many short rounds of processor time, a fraction of a millisecond each; rounds of all rows alternate,
 * so that a machine that changes speed changes all of them. Told are the median of the rounds, in nanoseconds an
 * operation, and the least: on a machine that others use too, the least is what the code costs. Writes CSV:
 * row,ns,least_ns,ratio,base; the ratio is that of the medians. "two calls" is what lock and unlock would cost if they did
 * nothing: two calls of the library's shortest function through a pointer, which is how a shared library is called.
 */
#include <hypool/handle.h>
#include <hypool/hypool.h>
#include <hypool/pool.h>
#include <hypool/shared.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 1001, OPERATIONS = 4000 };

static hyp_pool *pool;
static hyp_handle locked, listed[64];
static hyp_shared *region;
static int (*const volatile nothing)(const hyp_shared *) = hyp_shared_fd;

static uint64_t now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#define KEEP(p) __asm__ volatile("" : : "g"(p) : "memory")

/* The loops stand in the rows, so that no call through a pointer is measured with them. */
static void hyp_pair(size_t bytes, int operations) {
	for (int i = 0; i < operations; i++) {
		void *p = hyp_malloc(bytes);
		KEEP(p);
		hyp_free(p);
	}
}

static void pool_pair(size_t bytes, int operations) {
	for (int i = 0; i < operations; i++) {
		void *p = hyp_pool_malloc(pool, bytes);
		KEEP(p);
		hyp_pool_free(pool, p);
	}
}

static void handle_pair(size_t bytes, int operations) {
	for (int i = 0; i < operations; i++) {
		hyp_handle h;
		if (hyp_handle_alloc(pool, bytes, 0, 0, &h) != HYP_OK) abort();
		KEEP(h);
		if (hyp_handle_free(pool, h) != HYP_OK) abort();
	}
}

static void lock_pair(size_t bytes, int operations) {
	(void)bytes;
	for (int i = 0; i < operations; i++) {
		void *p;
		if (hyp_handle_lock(pool, locked, &p) != HYP_OK) abort();
		KEEP(p);
		if (hyp_handle_unlock(pool, locked) != HYP_OK) abort();
	}
}

static void listed_pair(size_t bytes, int operations) {
	(void)bytes;
	for (int i = 0; i < operations; i++) {
		void *p;
		hyp_handle h = listed[i % 64];
		if (hyp_handle_lock(pool, h, &p) != HYP_OK) abort();
		KEEP(p);
		if (hyp_handle_unlock(pool, h) != HYP_OK) abort();
	}
}

static void call_pair(size_t bytes, int operations) {
	(void)bytes;
	for (int i = 0; i < operations; i++) {
		if (nothing(region) < 0) abort();
		if (nothing(region) < 0) abort();
	}
}

typedef struct row {
	const char *name;
	void (*run)(size_t bytes, int operations);
	size_t bytes;
	int base; /* row that the ratio is to; -1: none */
	double ns[ROUNDS];
} row;

static row rows[] = {
	{.name = "hyp_malloc+free 64", .run = hyp_pair, .bytes = 64, .base = -1},
	{.name = "pool malloc+free 64", .run = pool_pair, .bytes = 64, .base = 0},
	{.name = "hyp_malloc+free 1000", .run = hyp_pair, .bytes = 1000, .base = -1},
	{.name = "pool malloc+free 1000", .run = pool_pair, .bytes = 1000, .base = 2},
	{.name = "handle alloc+free 64", .run = handle_pair, .bytes = 64, .base = 0},
	{.name = "handle lock+unlock", .run = lock_pair, .base = 0},
	{.name = "handle lock+unlock in turn of 64", .run = listed_pair, .base = 0},
	{.name = "two calls", .run = call_pair, .base = 0},
	{.name = "hyp_malloc+free 1 MiB", .run = hyp_pair, .bytes = 1 << 20, .base = -1},
	{.name = "handle alloc+free 1 MiB", .run = handle_pair, .bytes = 1 << 20, .base = 8},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static int by_value(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Mean time of making a pool, using it once and destroying it. */
static double pool_life(void) {
	enum { POOLS = 10000 };
	uint64_t start = now_ns();
	for (int i = 0; i < POOLS; i++) {
		hyp_pool *one;
		if (hyp_pool_create(NULL, &one) != HYP_OK) abort();
		hyp_pool_free(one, hyp_pool_malloc(one, 64));
		hyp_pool_destroy(one);
	}
	return (double)(now_ns() - start) / POOLS;
}

int main(int argc, char **argv) {
	if (hyp_pool_create(NULL, &pool) != HYP_OK || hyp_handle_alloc(pool, 64, 0, 0, &locked) != HYP_OK) return 1;
	for (int i = 0; i < 64; i++)
		if (hyp_handle_alloc(pool, 64, 0, 0, &listed[i]) != HYP_OK) return 1;
	if (hyp_shared_create(NULL, 1 << 16, &region) != HYP_OK) return 1;
	if (argc == 3) { /* for callgrind: one row, so many operations */
		const row *one = &rows[atoi(argv[1])];
		one->run(one->bytes, atoi(argv[2]));
		return 0;
	}
	for (int round = 0; round < ROUNDS; round++)
		for (int r = 0; r < ROWS; r++) {
			int operations = rows[r].bytes >= 1 << 20 ? OPERATIONS / 20 : OPERATIONS;
			uint64_t start = now_ns();
			rows[r].run(rows[r].bytes, operations);
			rows[r].ns[round] = (double)(now_ns() - start) / operations;
		}
	for (int r = 0; r < ROWS; r++) qsort(rows[r].ns, ROUNDS, sizeof rows[r].ns[0], by_value);
	printf("row,ns,least_ns,ratio,base\n");
	for (int r = 0; r < ROWS; r++) {
		double ns = rows[r].ns[ROUNDS / 2];
		printf("%s,%.2f,%.2f,", rows[r].name, ns, rows[r].ns[0]);
		if (rows[r].base < 0) printf(",\n");
		else printf("%.3f,%s\n", ns / rows[rows[r].base].ns[ROUNDS / 2], rows[rows[r].base].name);
	}
	printf("pool create+use+destroy,%.0f,,,\n", pool_life());
	hyp_shared_detach(region);
	hyp_pool_destroy(pool);
	return 0;
}
