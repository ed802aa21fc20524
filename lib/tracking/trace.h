/*
 * tracking/trace.h: every allocation and free, in order, in a file: for `hypool replay`.
 *
 * The file: a hypi_trace_head, then records. A free stands before the block can be handed out again and an allocation
 * after it was, so the order of one address's records is the true one. The thread id says who; the order between
 * threads is that of one lock.
 */
#ifndef HYPI_TRACKING_TRACE_H
#define HYPI_TRACKING_TRACE_H

#include "base/compiler.h"

#define HYPI_TRACE_MAGIC "hyptrac1"
#define HYPI_TRACE_FREE UINT64_MAX

typedef struct hypi_trace_head {
	char magic[8];
	uint64_t record_bytes;
} hypi_trace_head;

typedef struct hypi_trace_record {
	uint64_t address;
	uint64_t bytes; /* asked for; HYPI_TRACE_FREE: freed */
	uint32_t thread, ms;
} hypi_trace_record;

/* Starts; the sampler must tell of every allocation. False: the file cannot be made. */
bool hypi_trace_start(const char *path);
void hypi_trace_alloc(uintptr_t address, uint64_t bytes, uint32_t ms);
void hypi_trace_free(uintptr_t address, uint32_t ms);
/* Writes what is buffered. False: some record could not be written. */
bool hypi_trace_flush(void);
void hypi_trace_fork_child(void);

#endif
