/*
 * hypool/stats.h: what a pool holds and did, in numbers.
 *
 * Counting costs the hit paths nothing that they did not do anyway, and no counter is shared by threads: a query adds
 * up the threads' own. It is exact for everything that happened before it; what other threads do meanwhile may or may
 * not be in it. Cost of a query: one pass over the page map of the pool's arenas; two files of /proc are read.
 */
#ifndef HYPOOL_STATS_H
#define HYPOOL_STATS_H

#include <hypool/status.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HYP_STATS_VERSION 1u

typedef struct hyp_stats {
	size_t struct_bytes; /* set by the caller to sizeof(hyp_stats): older callers get the fields they know */
	uint32_t version;    /* HYP_STATS_VERSION of the library */
#define HYP_STAT_X(name, kind, doc) uint64_t name;
#include <hypool/stats.def>
#undef HYP_STAT_X
} hyp_stats;

/* One size class of the small-block pool. */
typedef struct hyp_class_stats {
	size_t block_bytes; /* usable size of its blocks */
	uint64_t allocations, frees, active;
	uint64_t spans;      /* spans of the class now */
	uint64_t span_bytes; /* their bytes */
} hyp_class_stats;

/* Statistics of the process's default pool. HYP_ERR_INVALID: NULL, or struct_bytes is not set. */
HYP_API HYP_NODISCARD hyp_status hyp_stats_get(hyp_stats *ret_stats);

/* The default pool's size classes, smallest first: at most `capacity` into ret_classes. Returns how many there are. */
HYP_API size_t hyp_stats_classes(hyp_class_stats *ret_classes, size_t capacity);

/* Writes the default pool's statistics to a descriptor. Never allocates. */
HYP_API void hyp_stats_print(int fd);
HYP_API void hyp_stats_print_json(int fd);

#ifdef __cplusplus
}
#endif

#endif
