/*
 * Advanced memory tracking: a pool with limits, a callback for when they are reached, a tracking level, and the figures
 * that tell how the pool is doing.
 */
#include <hypool/pool.h>
#include <hypool/tracking.h>

#include <stdbool.h>
#include <stdio.h>

enum { CACHED = 64 };

typedef struct cache {
	void *blocks[CACHED];
	int used;
} cache;

/* The pool is at its limit: give it back something that can be made again, and let it try once more. */
static bool make_room(void *context, hyp_pool *pool, size_t bytes, unsigned attempt) {
	cache *c = context;
	if (c->used == 0) return false;
	hyp_pool_free(pool, c->blocks[--c->used]);
	printf("pressure: %zu bytes wanted, attempt %u, one cached block dropped\n", bytes, attempt);
	return true;
}

static double ratio(uint64_t part, uint64_t whole) { return whole == 0 ? 0 : (double)part / (double)whole; }

int main(void) {
	cache c = {.used = 0};
	hyp_pool_config config;
	hyp_pool_config_init(&config);
	config.name = "tracked";
	config.initial_large_bytes = 16 << 20;
	config.max_large_bytes = 32 << 20;
	config.on_out_of_memory = make_room;
	config.out_of_memory_context = &c;
	config.enable_tracking = true;
	config.tracking.level = HYP_TRACKING_DETAILED;
	config.tracking.pressure_threshold_ratio = 0.8;
	config.tracking.leak_detection_interval_ms = 60000;

	/* A configuration that cannot be is refused, with the reason. */
	hyp_pool_config wrong = config;
	wrong.tracking.pressure_threshold_ratio = 1.5;
	hyp_pool *pool;
	if (hyp_pool_create(&wrong, &pool) != HYP_OK) printf("refused: %s\n", hyp_pool_config_error());
	if (hyp_pool_create(&config, &pool) != HYP_OK) return 1;

	/* Fill it with what could be dropped, then ask for more than is left. */
	while (c.used < 28) {
		void *block = hyp_pool_malloc(pool, 1 << 20);
		if (block == NULL) return 1;
		c.blocks[c.used++] = block;
	}
	void *wanted = hyp_pool_malloc(pool, 6 << 20);
	if (wanted == NULL) return 1;

	hyp_stats s = {.struct_bytes = sizeof s};
	if (hyp_pool_stats(pool, &s) != HYP_OK) return 1;
	printf("In use: %llu of %zu bytes (%.0f%%)\n", (unsigned long long)s.large_bytes, config.max_large_bytes,
	       100 * ratio(s.large_bytes, config.max_large_bytes));
	printf("Failures: %llu\n", (unsigned long long)s.failures);
	printf("Fragmentation: %.2f%%\n", 100 * (s.free_bytes == 0 ? 0 : 1 - ratio(s.largest_free_bytes, s.free_bytes)));
	hyp_pool_print(pool, 1);

	hyp_pool_destroy(pool); /* with everything that is still in it */
	return 0;
}
