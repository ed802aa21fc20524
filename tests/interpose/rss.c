/*
 * Resident memory, by the kernel's own count (RELIABILITY.md rows 19, 20, 23, 28 and 29).
 *
 * return_small, return_large: 256 MiB freed; after 3 s of light activity the resident size is near the start again.
 * sparse_touch: 128 blocks of 2 MiB with one page touched each: resident < 2 x the touched bytes (+ 4 MiB).
 * prodcons: one thread allocates, another frees, 2,000,000 blocks: never over a few MiB. The freeing thread never
 * allocates. orphan: 200 threads each leave 1 MiB in blocks that the main thread frees after they are gone.
 * realloc_grow: one block grown in steps of 4 KiB to 64 MiB beside others. realloc_shrink: 64 blocks of 4 MiB shrunk
 * to 64 KiB give the rest back.
 */
#include "interpose/check.h"

#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>

static void light_activity(double seconds) {
	uint64_t end = check_now_ns() + (uint64_t)(seconds * 1e9);
	uint64_t seed = 5;
	while (check_now_ns() < end) {
		for (int i = 0; i < 20; i++) free(opaque(malloc(check_random(&seed) % 500 + 1)));
		usleep(1000);
	}
}

static void returned(size_t block, size_t count) {
	void **blocks = malloc(count * sizeof *blocks);
	REQUIRE(blocks);
	memset(blocks, 0, count * sizeof *blocks);
	size_t before = check_rss_bytes();
	for (size_t i = 0; i < count; i++) {
		blocks[i] = malloc(block);
		REQUIRE(blocks[i]);
		memset(blocks[i], 1, block);
	}
	size_t full = check_rss_bytes();
	for (size_t i = 0; i < count; i++) free(blocks[i]);
	size_t freed = check_rss_bytes();
	light_activity(3);
	size_t after = check_rss_bytes();
	printf("resident MiB: start %zu, full %zu, freed %zu, after 3 s %zu\n", before / MIB, full / MIB, freed / MIB,
	       after / MIB);
	CHECK(after < before + 32 * MIB, "%zu MiB were not returned", (after - before) / MIB);
	free(blocks);
}

static void sparse_touch(void) {
	enum { BLOCKS = 128 };
	char *blocks[BLOCKS];
	size_t page = (size_t)sysconf(_SC_PAGESIZE), before = check_rss_bytes();
	for (int i = 0; i < BLOCKS; i++) {
		blocks[i] = malloc(2 * MIB);
		REQUIRE(blocks[i]);
		blocks[i][MIB] = 1;
	}
	size_t grown = check_rss_bytes() - before;
	printf("touched %zu KiB, resident grew by %zu KiB\n", BLOCKS * page / KIB, grown / KIB);
	CHECK(grown < 2 * BLOCKS * page + 4 * MIB, "sparse use costs %zu KiB", grown / KIB);
	for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
}

enum { RING = 1024, PASSED = 2000000 };
static void *ring[RING];
static sem_t filled, emptied;

static void *consume(void *unused) {
	(void)unused;
	for (size_t i = 0; i < PASSED; i++) {
		sem_wait(&filled);
		free(ring[i % RING]);
		sem_post(&emptied);
	}
	return NULL;
}

static void prodcons(void) {
	uint64_t seed = 1;
	size_t peak = 0;
	pthread_t thread;
	sem_init(&filled, 0, 0);
	sem_init(&emptied, 0, RING);
	REQUIRE(pthread_create(&thread, NULL, consume, NULL) == 0);
	for (size_t i = 0; i < PASSED; i++) {
		sem_wait(&emptied);
		size_t size = check_random(&seed) % 1000 + 1;
		char *p = malloc(size);
		REQUIRE(p);
		p[0] = p[size - 1] = 1;
		ring[i % RING] = p;
		sem_post(&filled);
		if (i % 100000 == 99999) {
			size_t now = check_rss_bytes();
			if (now > peak) peak = now;
		}
	}
	pthread_join(thread, NULL);
	printf("resident at most %zu KiB for %d KiB in flight\n", peak / KIB, RING / 2);
	CHECK(peak < 24 * MIB, "blocks freed by a thread that never allocates pile up: %zu MiB", peak / MIB);
}

enum { ORPHANS = 1024 };
static void *leave_blocks(void *unused) {
	(void)unused;
	char **blocks = malloc(ORPHANS * sizeof *blocks);
	REQUIRE(blocks);
	for (int i = 0; i < ORPHANS; i++) {
		blocks[i] = malloc(1000);
		REQUIRE(blocks[i]);
		memset(blocks[i], i, 1000);
	}
	return blocks;
}

static void orphan(void) {
	size_t early = 0, last = 0;
	for (int round = 0; round < 200; round++) {
		pthread_t threads[4];
		for (int t = 0; t < 4; t++) REQUIRE(pthread_create(&threads[t], NULL, leave_blocks, NULL) == 0);
		for (int t = 0; t < 4; t++) {
			void *result = NULL;
			pthread_join(threads[t], &result);
			char **blocks = result;
			for (int i = 0; i < ORPHANS; i++) {
				CHECK(blocks[i][999] == (char)i);
				free(blocks[i]);
			}
			free(blocks);
		}
		last = check_rss_bytes();
		if (round == 20) early = last;
	}
	printf("resident after 20 rounds %zu KiB, after 200 %zu KiB\n", early / KIB, last / KIB);
	CHECK(last < early + 8 * MIB, "dead threads' memory is not taken over: %zu -> %zu KiB", early / KIB, last / KIB);
}

static void realloc_grow(void) {
	char *p = NULL;
	void *beside[64] = {0};
	size_t before = check_rss_bytes(), peak = 0;
	clock_t start = clock(); /* the processor's time: of a busy machine there is less, not more */
	for (size_t size = 4 * KIB; size <= 64 * MIB; size += 4 * KIB) {
		p = realloc(p, size);
		REQUIRE(p);
		p[size - 1] = (char)(size >> 12);
		for (size_t k = size - 4 * KIB; k < size - 1; k += 64) p[k] = 1;
		free(beside[size >> 12 & 63]);
		beside[size >> 12 & 63] = malloc(size % 30000);
		if ((size & (MIB - 1)) == 0 && check_rss_bytes() - before > peak) peak = check_rss_bytes() - before;
	}
	double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
	for (size_t size = 4 * KIB; size <= 64 * MIB; size += 4 * KIB) CHECK(p[size - 1] == (char)(size >> 12));
	printf("grown to 64 MiB in steps of 4 KiB: %.2f s, at most %zu MiB resident\n", seconds, peak / MIB);
	CHECK(peak < 64 * MIB * 5 / 2, "growing a block of 64 MiB needed %zu MiB", peak / MIB);
	CHECK(seconds < 20, "growth copies every time: %.1f s", seconds);
	free(p);
	for (int i = 0; i < 64; i++) free(beside[i]);
}

static void realloc_shrink(void) {
	char *p[64];
	size_t before = check_rss_bytes();
	for (int i = 0; i < 64; i++) {
		p[i] = malloc(4 * MIB);
		REQUIRE(p[i]);
		memset(p[i], i + 1, 4 * MIB);
	}
	for (int i = 0; i < 64; i++) {
		p[i] = realloc(p[i], 64 * KIB);
		REQUIRE(p[i]);
		CHECK(p[i][0] == i + 1 && p[i][64 * KIB - 1] == i + 1, "shrinking lost the contents");
	}
	light_activity(3);
	size_t after = check_rss_bytes();
	printf("64 blocks shrunk from 4 MiB to 64 KiB: resident %zu MiB over the start\n", (after - before) / MIB);
	CHECK(after < before + 40 * MIB, "the rest was not given back: %zu MiB", (after - before) / MIB);
	for (int i = 0; i < 64; i++) free(p[i]);
}

int main(int argc, char **argv) {
	const char *which = argc > 1 ? argv[1] : "";
	if (strcmp(which, "return_small") == 0) returned(400, 256 * MIB / 400);
	else if (strcmp(which, "return_medium") == 0) returned(60 * KIB, 256 * MIB / (60 * KIB));
	else if (strcmp(which, "return_large") == 0) returned(3 * MIB, 85);
	else if (strcmp(which, "sparse_touch") == 0) sparse_touch();
	else if (strcmp(which, "prodcons") == 0) prodcons();
	else if (strcmp(which, "orphan") == 0) orphan();
	else if (strcmp(which, "realloc_grow") == 0) realloc_grow();
	else if (strcmp(which, "realloc_shrink") == 0) realloc_shrink();
	else REQUIRE(false, "usage: rss TEST");
	return check_end();
}
