/*
 * tracking/pressure_levels.h: from what the sources say to one level: the same on every system.
 *
 * Use rises at once and falls only below threshold - hysteresis. What a source told lasts hold_ms. The level is the
 * highest of all; a change is told once. Lock: none; one thread at a time polls.
 */
#ifndef HYPI_TRACKING_PRESSURE_LEVELS_H
#define HYPI_TRACKING_PRESSURE_LEVELS_H

#include "pool/pool.h"

#include <hypool/tracking.h>

/* The beginning of every system's struct hyp_pressure. */
typedef struct hypi_pressure_levels {
	uint16_t thresholds[4], hysteresis;
	uint32_t hold_ms;
	uint64_t limit_bytes;
	hyp_pool *pool;                        /* whose use counts against limit_bytes, or its own limits */
	hyp_pressure_level usage, level, told; /* by use; as last returned; what sources told */
	hyp_pressure_source told_source;
	uint64_t told_until_ms;
	hyp_pressure_callback *callback;
	void *context;
} hypi_pressure_levels;

/* Thousandths of `limit` that `used` is. */
uint64_t hypi_pressure_part(uint64_t used, uint64_t limit);

/* The caller's configuration, or the usual one when it is NULL, into *ret_config and *ret_levels. */
HYP_MUST_USE hyp_status hypi_pressure_configure(const hyp_pressure_config *config, hyp_pressure_config *ret_config,
                                                hypi_pressure_levels *ret_levels);

/* A source has spoken. */
void hypi_pressure_tell(hypi_pressure_levels *p, hyp_pressure_level level, hyp_pressure_source source);

/* The level, with `use` thousandths of the tightest limit that the system sets; tells of a change. */
hyp_pressure_level hypi_pressure_settle(hypi_pressure_levels *p, uint64_t use);

#endif
