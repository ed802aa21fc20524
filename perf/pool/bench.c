/*
 * perf/pool/bench.c: what pools and handles cost on one thread, warm, each beside malloc of the same run.
 *
 * Every figure is the median of many short rounds of processor time, in nanoseconds an operation; rounds of all rows
 * alternate, so that a machine that changes speed changes all of them. Writes CSV: row,ns,ratio,base.
 */
#include <hypool/handle.h>
#include <hypool/hypool.h>
#include <hypool/pool.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 101, OPERATIONS = 20000 };

static hyp_pool *pool;
static hyp_handle locked;

static uint64_t now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#define KEEP(p) __asm__ volatile("" : : "g"(p) : "memory")

static void hyp_pair(size_t bytes) {
	void *p = hyp_malloc(bytes);
	KEEP(p);
	hyp_free(p);
}

static void pool_pair(size_t bytes) {
	void *p = hyp_pool_malloc(pool, bytes);
	KEEP(p);
	hyp_pool_free(pool, p);
}

static void handle_pair(size_t bytes) {
	hyp_handle h;
	if (hyp_handle_alloc(pool, bytes, 0, 0, &h) != HYP_OK) abort();
	KEEP(h);
	if (hyp_handle_free(pool, h) != HYP_OK) abort();
}

static void lock_pair(size_t bytes) {
	(void)bytes;
	void *p;
	if (hyp_handle_lock(pool, locked, &p) != HYP_OK) abort();
	KEEP(p);
	if (hyp_handle_unlock(pool, locked) != HYP_OK) abort();
}

static void empty_call(size_t bytes) { KEEP(bytes); }

typedef struct row {
	const char *name;
	void (*operation)(size_t bytes);
	size_t bytes;
	int base; /* row that the ratio is to; -1: none */
	double ns[ROUNDS];
} row;

static row rows[] = {
	{.name = "empty call", .operation = empty_call, .base = -1},
	{.name = "hyp_malloc+free 64", .operation = hyp_pair, .bytes = 64, .base = -1},
	{.name = "pool malloc+free 64", .operation = pool_pair, .bytes = 64, .base = 1},
	{.name = "hyp_malloc+free 1000", .operation = hyp_pair, .bytes = 1000, .base = -1},
	{.name = "pool malloc+free 1000", .operation = pool_pair, .bytes = 1000, .base = 3},
	{.name = "handle alloc+free 64", .operation = handle_pair, .bytes = 64, .base = 1},
	{.name = "handle lock+unlock", .operation = lock_pair, .base = 1},
	{.name = "hyp_malloc+free 1 MiB", .operation = hyp_pair, .bytes = 1 << 20, .base = -1},
	{.name = "handle alloc+free 1 MiB", .operation = handle_pair, .bytes = 1 << 20, .base = 7},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static int by_value(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

int main(void) {
	if (hyp_pool_create(NULL, &pool) != HYP_OK || hyp_handle_alloc(pool, 64, 0, 0, &locked) != HYP_OK) return 1;
	for (int round = 0; round < ROUNDS; round++)
		for (int r = 0; r < ROWS; r++) {
			int operations = rows[r].bytes >= 1 << 20 ? OPERATIONS / 20 : OPERATIONS;
			void (*volatile operation)(size_t) = rows[r].operation;
			uint64_t start = now_ns();
			for (int i = 0; i < operations; i++) operation(rows[r].bytes);
			rows[r].ns[round] = (double)(now_ns() - start) / operations;
		}
	for (int r = 0; r < ROWS; r++) qsort(rows[r].ns, ROUNDS, sizeof rows[r].ns[0], by_value);
	double call = rows[0].ns[ROUNDS / 2];
	printf("row,ns,ratio,base\n");
	for (int r = 1; r < ROWS; r++) {
		double ns = rows[r].ns[ROUNDS / 2] - call;
		if (rows[r].base < 0) printf("%s,%.2f,,\n", rows[r].name, ns);
		else printf("%s,%.2f,%.3f,%s\n", rows[r].name, ns, ns / (rows[rows[r].base].ns[ROUNDS / 2] - call), rows[rows[r].base].name);
	}
	struct timespec a, b;
	enum { POOLS = 10000 };
	hyp_pool_config config;
	hyp_pool_config_init(&config);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < POOLS; i++) {
		hyp_pool *one;
		if (hyp_pool_create(&config, &one) != HYP_OK) return 1;
		hyp_pool_free(one, hyp_pool_malloc(one, 64));
		hyp_pool_destroy(one);
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("pool create+use+destroy,%.0f,,\n", ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / POOLS);
	hyp_pool_destroy(pool);
	return 0;
}
