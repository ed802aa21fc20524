/*
 * Giving memory back: a cache of blocks by handle grows and shrinks, its spans stay sparse; a cleanup moves what is left
 * together and returns the rest. Then the same without being asked: a pool with automatic cleanup.
 */
#include <hypool/cleanup.h>
#include <hypool/handle.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { ENTRIES = 100000, BYTES = 200 };

static hyp_handle entries[ENTRIES];

/* Fills the cache and drops nine of ten entries again. */
static int use(hyp_pool *pool) {
	for (int i = 0; i < ENTRIES; i++) {
		void *p;
		if (hyp_handle_alloc(pool, BYTES, 0, 0, &entries[i]) != HYP_OK) return 1;
		if (hyp_handle_lock(pool, entries[i], &p) != HYP_OK) return 1;
		snprintf(p, BYTES, "entry %d", i);
		if (hyp_handle_unlock(pool, entries[i]) != HYP_OK) return 1;
	}
	for (int i = 0; i < ENTRIES; i++)
		if (i % 10 != 0 && hyp_handle_free(pool, entries[i]) != HYP_OK) return 1;
	return 0;
}

static int check(hyp_pool *pool) {
	for (int i = 0; i < ENTRIES; i += 10) {
		char text[32];
		void *p;
		snprintf(text, sizeof text, "entry %d", i);
		if (hyp_handle_lock(pool, entries[i], &p) != HYP_OK || strcmp(p, text) != 0) return 1;
		if (hyp_handle_unlock(pool, entries[i]) != HYP_OK) return 1;
	}
	return 0;
}

int main(void) {
	hyp_pool *pool;
	if (hyp_pool_create(NULL, &pool) != HYP_OK || use(pool) != 0) return 1;

	/* By hand: first only a plan, then for real, a millisecond at a time. */
	hyp_cleanup_request request;
	hyp_cleanup_request_init(&request);
	hyp_cleanup_result result = {.struct_bytes = sizeof result};
	request.dry_run = true;
	if (hyp_cleanup_run(pool, &request, &result) != HYP_OK) return 1;
	printf("planned: %llu blocks to move, %llu KiB to win\n", (unsigned long long)result.planned_blocks,
	       (unsigned long long)result.planned_freed_bytes / 1024);
	request.dry_run = false;
	request.budget_ms = 1;
	do {
		if (hyp_cleanup_run(pool, &request, &result) != HYP_OK) return 1;
	} while (result.more);
	if (check(pool) != 0) return 1;
	hyp_cleanup_stats stats = {.struct_bytes = sizeof stats};
	if (hyp_cleanup_stats_get(pool, &stats) != HYP_OK) return 1;
	printf("done: %llu blocks moved in %llu steps, %llu KiB went back to the system\n",
	       (unsigned long long)stats.moved_blocks, (unsigned long long)stats.runs,
	       (unsigned long long)stats.purged_bytes / 1024);
	hyp_pool_destroy(pool);

	/* By itself, once the pool was not used for a tenth of a second. */
	hyp_pool_config config;
	hyp_pool_config_init(&config);
	config.enable_cleanup = true;
	config.cleanup.idle_interval_ms = 100;
	if (hyp_pool_create(&config, &pool) != HYP_OK || use(pool) != 0) return 1;
	do {
		struct timespec pause = {.tv_nsec = 10000000};
		nanosleep(&pause, NULL);
		if (hyp_cleanup_stats_get(pool, &stats) != HYP_OK) return 1;
	} while (stats.by_cause[HYP_CLEANUP_IDLE] == 0);
	puts("idle: the pool was cleaned up");
	if (check(pool) != 0) return 1;
	hyp_pool_destroy(pool);
	return 0;
}
