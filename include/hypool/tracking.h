/*
 * hypool/tracking.h: where memory goes: tracking levels, the sampled profiler, leaks, pressure, the timeline.
 *
 * All of it is off at first and then costs nothing. Every function may be called by any thread, but where said.
 */
#ifndef HYPOOL_TRACKING_H
#define HYPOOL_TRACKING_H

#include <hypool/status.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- levels ---- */

/* What is tracked beyond the statistics, which cost nothing: */
typedef enum hyp_tracking_level {
	HYP_TRACKING_NONE,     /* nothing */
	HYP_TRACKING_BASIC,    /* the timeline of memory in use */
	HYP_TRACKING_STANDARD, /* and call sites, one sample in 2 MiB */
	HYP_TRACKING_DETAILED, /* one sample in 512 KiB */
	HYP_TRACKING_DEBUG     /* one sample in 128 KiB, and the last single events */
} hyp_tracking_level;

/* Switches at run time; threads follow in their next slow path. HYP_ERR_INVALID: no such level; HYP_ERR_NO_MEMORY. */
HYP_API HYP_NODISCARD hyp_status hyp_tracking_set_level(hyp_tracking_level level);
HYP_API hyp_tracking_level hyp_tracking_get_level(void);

/* ---- the profiler ---- */

/* Samples each byte handed out with probability 1 / mean_bytes; 1: every allocation. What was counted before is kept. */
HYP_API HYP_NODISCARD hyp_status hyp_profile_start(uint64_t mean_bytes);
HYP_API void hyp_profile_stop(void);
/* Forgets what was counted; blocks that live go on being followed. */
HYP_API void hyp_profile_reset(void);

typedef enum hyp_profile_format {
	HYP_PROFILE_HYPOOL, /* everything, for `hypool report` and `hypool diff` */
	HYP_PROFILE_PPROF,  /* gzip'd protobuf, for `pprof` */
	HYP_PROFILE_JEPROF, /* heap_v2 text, for `jeprof` */
	HYP_PROFILE_FOLDED, /* folded stacks of live bytes, for flame graphs */
	HYP_PROFILE_DHAT    /* DHAT v2 JSON, for dh_view */
} hyp_profile_format;

/* Writes the profile so far to a descriptor. Symbols are looked up now: cost is tens of milliseconds. HYP_ERR_OS: the
 * descriptor could not take it all; errno says why. */
HYP_API HYP_NODISCARD hyp_status hyp_profile_write(int fd, hyp_profile_format format);

/* ---- leaks ---- */

typedef struct hyp_leak_totals {
	uint64_t blocks, bytes;                     /* that nothing points to any more: lost */
	uint64_t reachable_blocks, reachable_bytes; /* live and still pointed to */
	uint64_t suppressed_blocks, suppressed_bytes;
	uint32_t sites; /* call sites with lost blocks */
	uint32_t exact; /* 1: every allocation was followed; 0: scaled up from samples */
} hyp_leak_totals;

/* Looks for blocks that nothing points to, in a copy of the process made for it (the caller goes on meanwhile only when
 * it has other threads), and writes a report by call site to `fd` (negative: none) when there are any. Only what was allocated while the
 * profiler ran is looked at. HYP_ERR_UNSUPPORTED: no copy could be made. */
HYP_API HYP_NODISCARD hyp_status hyp_leaks_find(int fd, hyp_leak_totals *ret_totals);

/* Adds a suppression, "leak:PATTERN" or a pattern alone: of a function or library; * stands for anything. */
HYP_API HYP_NODISCARD hyp_status hyp_leaks_suppress(const char *pattern);

/* ---- metrics ---- */

/* OpenMetrics text of the statistics, to a descriptor. */
HYP_API void hyp_metrics_write(int fd);

#ifdef __cplusplus
}
#endif

#endif
