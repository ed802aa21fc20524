/*
 * tests/pool/tests_pool.h: what the tests of pools share: a pool with small limits, random numbers, threads.
 */
#ifndef HYP_TESTS_POOL_TESTS_POOL_H
#define HYP_TESTS_POOL_TESTS_POOL_H

#include <hypool/pool.h>

#include <pthread.h>
#include <string.h>

static inline hyp_pool_config small_config(void) {
	hyp_pool_config config;
	hyp_pool_config_init(&config);
	config.initial_small_bytes = config.initial_large_bytes = 0;
	config.max_small_bytes = (size_t)8 << 20;
	config.max_large_bytes = (size_t)24 << 20;
	return config;
}

static inline hyp_pool *make_pool(const hyp_pool_config *config) {
	hyp_pool *pool = NULL;
	return hyp_pool_create(config, &pool) == HYP_OK ? pool : NULL;
}

/* Xorshift (Marsaglia 2003). */
static inline uint32_t next_random(uint64_t *state) {
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)(*state >> 32);
}

/* Sizes that matter: mostly small, some near the threshold, some large. */
static inline size_t random_size(uint64_t *state) {
	uint32_t r = next_random(state), kind = r % 100;
	if (kind < 80) return next_random(state) % 2000;
	if (kind < 95) return next_random(state) % 100000;
	return next_random(state) % ((size_t)3 << 20);
}

static inline void fill(void *p, size_t bytes, uint8_t tag) {
	if (bytes == 0) return;
	memset(p, tag, bytes < 64 ? bytes : 64);
	((uint8_t *)p)[bytes - 1] = tag;
}

static inline bool filled(const void *p, size_t bytes, uint8_t tag) {
	const uint8_t *b = p;
	for (size_t i = 0; i < bytes && i < 64; i++)
		if (b[i] != tag) return false;
	return bytes == 0 || b[bytes - 1] == tag;
}

#endif
