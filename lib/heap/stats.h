/*
 * heap/stats.h: adding up what the heaps of an engine counted, and printing it.
 *
 * A class's frees are those of the threads' own lists and those that threads did for others: so a block that waits in
 * an outbox or a remote chain is freed, as it is for the program.
 */
#ifndef HYPI_HEAP_STATS_H
#define HYPI_HEAP_STATS_H

#include "base/out.h"
#include "heap/heap.h"

#include <hypool/stats.h>

/* Fills all fields; struct_bytes is not looked at. */
void hypi_engine_stats(hypi_engine *engine, hyp_stats *ret_stats);

/* HYPI_CLASSES entries. */
void hypi_engine_classes(hypi_engine *engine, hyp_class_stats *ret_classes);

/* Copies as much of `stats` as the caller's structure has room for. */
HYP_MUST_USE hyp_status hypi_stats_copy(const hyp_stats *stats, hyp_stats *ret_stats);

/* `title` names the pool. */
void hypi_stats_print(hypi_engine *engine, const char *title, hypi_out *out);
void hypi_stats_print_json(hypi_engine *engine, const char *title, hypi_out *out);

/* What the options ask for at exit: text or JSON, on descriptor 2 or in a file. */
void hypi_stats_at_exit(void);

#endif
