/*
 * tracking/live.h: a page of statistics that another process may read: for `hypool top`.
 *
 * A file /dev/shm/hypool.PID, readable by its owner alone, mapped shared; the process writes it from its heaps' clock,
 * under a sequence number (odd while it is being written: Boehm 2012, seqlocks), so a reader stops nobody. Made only
 * when the option `live` asks; removed at exit.
 */
#ifndef HYPI_TRACKING_LIVE_H
#define HYPI_TRACKING_LIVE_H

#include "base/compiler.h"

#include <hypool/stats.h>

#include <stdatomic.h>

#define HYPI_LIVE_MAGIC UINT64_C(0x316576696c707968) /* "hyplive1" in memory order */
enum { HYPI_LIVE_CLASSES = 112, HYPI_LIVE_COMMAND = 128 };

typedef struct hypi_live_class {
	uint64_t block_bytes, active, span_bytes;
} hypi_live_class;

typedef struct hypi_live_page {
	uint64_t magic;
	_Atomic uint64_t sequence;
	uint64_t pid, start_ms, now_ms; /* monotonic clock */
	char command[HYPI_LIVE_COMMAND];
	hyp_stats stats;
	uint64_t profiled_live_bytes;
	uint64_t class_count;
	hypi_live_class classes[HYPI_LIVE_CLASSES];
} hypi_live_page;

bool hypi_live_start(void);
void hypi_live_stop(void);
/* Called now and then. Never blocks, never allocates. */
void hypi_live_look(uint64_t now_ms);

#endif
