/*
 * tensor/parallel.h: the threads that big operations share.
 */
#ifndef HYPI_TENSOR_PARALLEL_H
#define HYPI_TENSOR_PARALLEL_H

#include <stdint.h>

typedef void hypi_range_fn(void *context, int64_t begin, int64_t end);

/* Calls fn on disjoint ranges that cover [0, total), each a multiple of grain long but for the last, on the caller and
 * the pool's threads; returns when all are done. Runs on the caller alone when total <= grain, when there is one
 * thread, or when the pool is busy with another caller's work. fn may not call this again on a pool thread's behalf:
 * a nested call runs on its caller alone. */
void hypi_parallel(int64_t total, int64_t grain, hypi_range_fn *fn, void *context);

/* How many threads a call may use now; starts nothing. */
unsigned hypi_parallel_width(void);

#endif
