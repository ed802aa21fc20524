/*
 * tests/cleanup/tests_cleanup.h: what the tests of cleanup share: blocks by handle with known contents, and the kernel's
 * figures of this process.
 */
#ifndef HYP_TESTS_CLEANUP_TESTS_CLEANUP_H
#define HYP_TESTS_CLEANUP_TESTS_CLEANUP_H

#include "unit.h"

#include <hypool/cleanup.h>
#include <hypool/handle.h>

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static inline hyp_pool *cleanup_pool(void) {
	hyp_pool_config config;
	hyp_pool *pool = NULL;
	hyp_pool_config_init(&config);
	config.initial_small_bytes = config.initial_large_bytes = 0;
	config.name = "cleaned";
	return hyp_pool_create(&config, &pool) == HYP_OK ? pool : NULL;
}

/* A block whose every byte follows from its number. */
static inline void write_block(hyp_pool *pool, hyp_handle h, size_t bytes, uint32_t number) {
	void *p;
	HOLDS(hyp_handle_lock(pool, h, &p) == HYP_OK);
	for (size_t i = 0; i < bytes; i++) ((uint8_t *)p)[i] = (uint8_t)(number * 31 + i * 7 + (number >> 8));
	HOLDS(hyp_handle_unlock(pool, h) == HYP_OK);
}

static inline hyp_handle make_block(hyp_pool *pool, size_t bytes, uint32_t number) {
	hyp_handle h = 0;
	HOLDS(hyp_handle_alloc(pool, bytes, 0, 0, &h) == HYP_OK);
	write_block(pool, h, bytes, number);
	return h;
}

static inline void check_block(hyp_pool *pool, hyp_handle h, size_t bytes, uint32_t number) {
	void *p;
	HOLDS(hyp_handle_lock(pool, h, &p) == HYP_OK);
	for (size_t i = 0; i < bytes; i++) HOLDS(((uint8_t *)p)[i] == (uint8_t)(number * 31 + i * 7 + (number >> 8)));
	HOLDS(hyp_handle_unlock(pool, h) == HYP_OK);
}

static inline void check_pool(hyp_pool *pool) {
	const char *wrong = hyp_pool_check(pool);
	ck_assert_msg(wrong == NULL, "%s", wrong);
}

/* Resident memory by /proc/self/smaps_rollup, which counts pages, not estimates. */
static inline size_t resident(void) {
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	char line[256];
	size_t kb = 0;
	while (file != NULL && fgets(line, sizeof line, file) != NULL)
		if (sscanf(line, "Rss: %zu kB", &kb) == 1) break;
	if (file != NULL) fclose(file);
	return kb * 1024;
}

/* The thread sanitizer has threads of its own: there, always 0. */
static inline unsigned thread_count(void) {
	unsigned count = 0;
	if (HYP_TSAN) return 0;
	DIR *dir = opendir("/proc/self/task");
	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) count += e->d_name[0] != '.';
	if (dir != NULL) closedir(dir);
	return count;
}

static inline void sleep_ms(long ms);

/* A thread that was joined may stand in /proc for a moment still. */
static inline bool threads_are(unsigned count) {
	for (int waited = 0; thread_count() != count; waited++, sleep_ms(1))
		if (waited == 10000) return false;
	return true;
}

static inline void sleep_ms(long ms) {
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};
	nanosleep(&t, NULL);
}

static inline uint32_t next_random(uint64_t *state) {
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)(*state >> 32);
}

#endif
