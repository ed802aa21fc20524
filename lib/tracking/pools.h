/*
 * tracking/pools.h: pools as tracking sees them: a level each, and a number and name in the profile.
 *
 * A pool without a level of its own follows the process. Levels stand in a table by the pool's slot (heap/engine.c), so
 * that a heap learns its mean with one load; beside its serial, so that it ends with the pool. The profile counts call sites apart by pool: pools get numbers as their
 * first block is picked; a number and its name outlive the pool. Number 0 is the default pool's, the last one all that
 * came too late.
 */
#ifndef HYPI_TRACKING_POOLS_H
#define HYPI_TRACKING_POOLS_H

#include "pool/pool.h"

#include <hypool/tracking.h>

enum { HYPI_TRACKED_POOLS = 1024 };

typedef struct hypi_tracked_pool {
	uint64_t serial; /* of the engine when a block of it was last picked; changes with every reset */
	char name[32];
} hypi_tracked_pool;

/* The mean that a level stands for; 0: no call sites. */
uint64_t hypi_tracking_mean_of(hyp_tracking_level level);

/* For hypi_sample_hooks. */
uint64_t hypi_pool_mean_of(const hypi_engine *engine, uint64_t usual);

/* Under the profile's lock: the number of a block's pool; *ret_stale: the pool was emptied since, what is known of its
 * blocks is void. */
uint32_t hypi_pool_number(const hypi_engine *engine, bool *ret_stale);

/* Under the profile's lock: how many numbers are given, and each one's pool. */
uint32_t hypi_tracked_pool_count(void);
const hypi_tracked_pool *hypi_tracked_pool_at(uint32_t number);

/* Takes another process's for its own: tracking/box.h. At most HYPI_TRACKED_POOLS. */
void hypi_tracked_pools_load(const hypi_tracked_pool *from, uint32_t count);

/* Under the profile's lock: whether the pool was emptied or destroyed since its last pick. */
bool hypi_tracked_pool_is_stale(uint32_t number);

#endif
