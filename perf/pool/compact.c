/*
 * perf/pool/compact.c: what compaction makes others wait for, and how long it takes itself.
 *
 * One thread locks blocks of a pool at random, writes to them and unlocks them, and each time is kept; another fills the
 * pool, frees three of four other blocks at random, and compacts with the default budget until there is no more to move. Told are
 * the times of the first thread while nothing else runs, and while the other compacts (and only then), the times that
 * compaction held one block, those of its runs as the caller sees them (by the clock, and in processor time), and of their
 * parts: planning and moving, and planning alone. The small blocks are 256 B, the large ones 1 MiB; the third scene has
 * more small blocks than can be moved within one budget. In the last nothing moves: 2 GiB of large blocks by pointer were written
 * and freed, and it is purging that takes more than one budget.
 *
 * With fewer free processors than threads the largest times are the scheduler's: the 99th percentile is what is promised.
 *
 * Writes CSV: row,p50_ns,p99_ns,p999_ns,max_ns,count.
 */
#include <hypool/cleanup.h>
#include <hypool/handle.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SAMPLES = 1 << 21, BATCH_MS = 100 };

typedef struct series {
	uint64_t *ns;
	size_t count;
} series;

static hyp_pool *pool;
static hyp_handle *kept; /* those that stay for a whole scene */
static size_t kept_count, block_bytes;
static _Atomic int phase; /* 0: not kept, 1: alone, 2: while compacting, 3: end */
static series alone, meanwhile, held, calls, runs, worked, planning;

static uint64_t now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t processor_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint32_t next_random(uint64_t *state) {
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)(*state >> 32);
}

static void note(series *s, uint64_t ns) {
	if (s->ns == NULL) s->ns = malloc(SAMPLES * sizeof *s->ns);
	if (s->ns == NULL) abort();
	if (s->count < SAMPLES) s->ns[s->count++] = ns;
}

static int by_value(const void *a, const void *b) {
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static void tell(const char *what, const char *row, series *s) {
	if (s->count == 0) return;
	qsort(s->ns, s->count, sizeof *s->ns, by_value);
	printf("%s %s,%llu,%llu,%llu,%llu,%zu\n", what, row, (unsigned long long)s->ns[s->count / 2],
	       (unsigned long long)s->ns[s->count * 99 / 100], (unsigned long long)s->ns[s->count * 999 / 1000],
	       (unsigned long long)s->ns[s->count - 1], s->count);
	s->count = 0;
}

static void *user(void *unused) {
	(void)unused;
	uint64_t seed = 99;
	for (int at; (at = atomic_load(&phase)) != 3;) {
		hyp_handle h = kept[next_random(&seed) % kept_count];
		void *p;
		uint64_t start = now_ns();
		if (hyp_handle_lock(pool, h, &p) != HYP_OK) abort();
		((volatile uint64_t *)p)[1] = start;
		if (hyp_handle_unlock(pool, h) != HYP_OK) abort();
		uint64_t ns = now_ns() - start;
		if (at == 1) note(&alone, ns);
		if (at == 2 && atomic_load(&phase) == 2) note(&meanwhile, ns);
		struct timespec pause = {.tv_nsec = 10000}; /* it works a little between, and leaves the processor to others */
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static hyp_handle make(uint64_t *seed) {
	hyp_handle h;
	void *p;
	if (hyp_handle_alloc(pool, block_bytes, 0, 0, &h) != HYP_OK || hyp_handle_lock(pool, h, &p) != HYP_OK) abort();
	memset(p, (int)next_random(seed), block_bytes);
	if (hyp_handle_unlock(pool, h) != HYP_OK) abort();
	return h;
}

static void drop(hyp_handle *h) {
	if (hyp_handle_free(pool, *h) != HYP_OK) abort();
	*h = 0;
}

static void compact(void) {
	hyp_cleanup_request request;
	hyp_cleanup_result result = {.struct_bytes = sizeof result};
	hyp_cleanup_request_init(&request);
	do {
		atomic_store(&phase, 2);
		uint64_t start = processor_ns(), start_ns = now_ns();
		if (hyp_cleanup_run(pool, &request, &result) != HYP_OK) abort();
		atomic_store(&phase, 0);
		note(&calls, now_ns() - start_ns);
		note(&worked, processor_ns() - start);
		note(&runs, result.moving_ns);
		if (result.planning_ns != 0) note(&planning, result.planning_ns);
		if (result.moved_blocks != 0) note(&held, result.longest_ns);
	} while (result.more);
}

/* `count` blocks, of which a quarter stays; more come and go `rounds` times. */
static void scene(const char *row, size_t bytes, size_t count, int rounds) {
	hyp_pool_config config;
	pthread_t thread;
	uint64_t seed = 4711;
	hyp_pool_config_init(&config);
	config.initial_small_bytes = config.initial_large_bytes = config.max_small_bytes = config.max_large_bytes = 0;
	if (hyp_pool_create(&config, &pool) != HYP_OK) abort();
	hyp_handle *all = calloc(count, sizeof *all);
	kept = calloc(count, sizeof *kept);
	if (all == NULL || kept == NULL) abort();
	block_bytes = bytes;
	kept_count = 0;
	for (size_t i = 0; i < count; i++) all[i] = make(&seed);
	for (size_t i = 0; i < count; i++)
		if (next_random(&seed) % 4 == 0) kept[kept_count++] = all[i], all[i] = 0;
	atomic_store(&phase, 1);
	pthread_create(&thread, NULL, user, NULL);
	struct timespec pause = {.tv_nsec = BATCH_MS * 1000000};
	nanosleep(&pause, NULL);
	atomic_store(&phase, 0);
	for (int round = 0; round < rounds; round++) {
		for (size_t i = 0; i < count; i++)
			if (all[i] == 0) all[i] = make(&seed);
		for (size_t i = 0; i < count; i++)
			if (next_random(&seed) % 4 != 0) drop(&all[i]);
		compact();
	}
	atomic_store(&phase, 3);
	pthread_join(thread, NULL);
	tell(row, "lock+write+unlock alone", &alone);
	tell(row, "lock+write+unlock while compacting", &meanwhile);
	tell(row, "longest hold of a run", &held);
	tell(row, "whole run", &calls);
	tell(row, "whole run in processor time", &worked);
	tell(row, "planning and moving", &runs);
	tell(row, "planning", &planning);
	const char *wrong = hyp_pool_check(pool);
	if (wrong != NULL) fprintf(stderr, "%s\n", wrong), exit(1);
	hyp_pool_destroy(pool);
	free(all);
	free(kept);
}

static void unused_pages(const char *row, int rounds) {
	enum { COUNT = 1024, BYTES = 2 << 20 };
	static void *blocks[COUNT];
	hyp_pool_config config;
	hyp_pool_config_init(&config);
	config.initial_small_bytes = config.initial_large_bytes = config.max_small_bytes = config.max_large_bytes = 0;
	if (hyp_pool_create(&config, &pool) != HYP_OK) abort();
	for (int round = 0; round < rounds; round++) {
		for (int i = 0; i < COUNT; i++) {
			if ((blocks[i] = hyp_pool_malloc(pool, BYTES)) == NULL) abort();
			memset(blocks[i], round, BYTES);
		}
		for (int i = 0; i < COUNT; i++) hyp_pool_free(pool, blocks[i]);
		compact();
	}
	tell(row, "whole run", &calls);
	hyp_pool_destroy(pool);
}

int main(void) {
	printf("row,p50_ns,p99_ns,p999_ns,max_ns,count\n");
	scene("256 B", 256, 200000, 100);
	scene("1 MiB", 1 << 20, 400, 100);
	scene("256 B many", 256, 1000000, 12);
	unused_pages("2 GiB unused", 10);
	return 0;
}
