/* pool/config.c: the defaults of a pool's configuration, and what is refused and why; see pool/config.h. */
#include "pool/config.h"

#include "base/bits.h"
#include "heap/heap.h"

#include <string.h>

#define MIB ((size_t)1 << 20)
#define MOST_BYTES ((size_t)1 << 46) /* beyond any address space that we can reach */

void hyp_pool_config_init(hyp_pool_config *ret_config) {
	*ret_config = (hyp_pool_config){
		.struct_bytes = sizeof *ret_config,
		.initial_small_bytes = 64 * MIB,
		.max_small_bytes = 512 * MIB,
		.initial_large_bytes = 128 * MIB,
		.max_large_bytes = 2048 * MIB,
		.threshold_bytes = HYPI_SMALL_LIMIT,
		.numa_node = -1,
		.tracking = {.level = HYP_TRACKING_STANDARD,
	                 .pressure_detection = true,
	                 .leak_detection = true,
	                 .pressure_threshold_ratio = 0.8,
	                 .leak_detection_interval_ms = 60000,
	                 .report_fd = 2},
		.cleanup = {.idle_interval_ms = 30000, .pressure_threshold = 0.9, .compaction = true, .max_cleanup_ms = 100},
	};
}

static const char *check_sizes(const hyp_pool_config *c) {
	if (c->threshold_bytes < HYPI_LEAST_THRESHOLD || c->threshold_bytes > HYPI_SMALL_LIMIT)
		return "threshold_bytes must be from 4 KiB to 1 MiB";
	if (c->max_small_bytes > MOST_BYTES) return "max_small_bytes is larger than the address space";
	if (c->max_large_bytes > MOST_BYTES) return "max_large_bytes is larger than the address space";
	if (c->max_small_bytes != 0 && c->max_small_bytes < HYPI_SLICE_BYTES)
		return "max_small_bytes is too small for one span (16 KiB, 64 KiB on arm64)";
	if (c->max_large_bytes != 0 && c->max_large_bytes < c->threshold_bytes)
		return "max_large_bytes is below threshold_bytes, so that no large block could be had";
	if (c->initial_small_bytes > (c->max_small_bytes != 0 ? c->max_small_bytes : MOST_BYTES))
		return "initial_small_bytes is larger than max_small_bytes";
	if (c->initial_large_bytes > (c->max_large_bytes != 0 ? c->max_large_bytes : MOST_BYTES))
		return "initial_large_bytes is larger than max_large_bytes";
	return NULL;
}

static const char *check_backing(const hyp_pool_config *c) {
	const hyp_backing *b = c->backing;
	if (c->numa_node < -1 || c->numa_node >= 1024) return "numa_node must be -1 or a node's number";
	if ((unsigned)c->huge_pages > HYP_HUGE_EXPLICIT) return "huge_pages is none of hyp_huge_pages";
	if ((unsigned)c->zero > HYP_ZERO_ON_FREE) return "zero is none of hyp_zero_policy";
	if (b == NULL) return NULL;
	if (b->struct_bytes != sizeof *b) return "backing: struct_bytes is not sizeof(hyp_backing)";
	if (b->reserve == NULL) return "backing: reserve is required";
	if (b->release == NULL) return "backing: release is required";
	if (b->name == NULL) return "backing: name is required";
	if (b->granule_bytes != 0 && (!hypi_is_pow2(b->granule_bytes) || b->granule_bytes > HYPI_ARENA_BYTES))
		return "backing: granule_bytes must be 0 or a power of two up to 64 MiB";
	if (c->numa_node != -1) return "numa_node shapes hypool's own memory: it cannot go with a backing";
	if (c->huge_pages != HYP_HUGE_DEFAULT) return "huge_pages shapes hypool's own memory: it cannot go with a backing";
	if (c->lock_memory) return "lock_memory shapes hypool's own memory: it cannot go with a backing";
	if (!(b->flags & HYP_BACKING_HOST) && c->zero != HYP_ZERO_NEVER)
		return "zero: the processor cannot clear memory that is not HYP_BACKING_HOST";
	return NULL;
}

/* Written so that what is not a number is refused. */
static bool is_ratio(double x) { return x > 0 && x <= 1; }

static const char *check_sections(const hyp_pool_config *c) {
	if (c->enable_tracking) {
		if ((unsigned)c->tracking.level > HYP_TRACKING_DEBUG) return "tracking.level is none of hyp_tracking_level";
		if (!is_ratio(c->tracking.pressure_threshold_ratio))
			return "tracking.pressure_threshold_ratio must be above 0 and at most 1";
		if (c->tracking.leak_detection_interval_ms == 0)
			return "tracking.leak_detection_interval_ms must be at least 1";
	}
	if (c->enable_cleanup) {
		if (c->cleanup.idle_interval_ms == 0) return "cleanup.idle_interval_ms must be at least 1";
		if (!is_ratio(c->cleanup.pressure_threshold)) return "cleanup.pressure_threshold must be above 0 and at most 1";
		if (c->cleanup.max_cleanup_ms == 0) return "cleanup.max_cleanup_ms must be at least 1";
	}
	return NULL;
}

const char *hypi_pool_config_check(const hyp_pool_config *config) {
	if (config->struct_bytes != sizeof *config)
		return "struct_bytes is not sizeof(hyp_pool_config): start from hyp_pool_config_init";
	if (config->name != NULL && strlen(config->name) > 31) return "name is longer than 31 bytes";
	const char *wrong = check_sizes(config);
	if (wrong == NULL) wrong = check_backing(config);
	return wrong != NULL ? wrong : check_sections(config);
}
