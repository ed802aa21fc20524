/*
 * tracking/bytes.h: a buffer that grows, in a mapping of its own: for reports, which may not use the heap they describe.
 */
#ifndef HYPI_TRACKING_BYTES_H
#define HYPI_TRACKING_BYTES_H

#include "base/out.h"

typedef struct hypi_bytes {
	unsigned char *at;
	size_t used, capacity;
	bool failed; /* some append found no memory; the rest were dropped */
} hypi_bytes;

void hypi_bytes_fini(hypi_bytes *b);
void hypi_bytes_add(hypi_bytes *b, const void *data, size_t bytes);
/* Room for `bytes` more, zeroed; NULL: failed. */
void *hypi_bytes_extend(hypi_bytes *b, size_t bytes);
/* An out that appends to `b`. */
void hypi_bytes_out(hypi_bytes *b, hypi_out *ret_out);

/* Writes all to a descriptor; false with errno. */
bool hypi_write_all(int fd, const void *data, size_t bytes);

#endif
