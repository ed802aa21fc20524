/*
 * tensor/zstd.h: the compressor of idle tensors. zstd.c is Zstandard (Collet, 2016); zstd_none.c stands in where it is
 * not there.
 */
#ifndef HYPI_TENSOR_ZSTD_H
#define HYPI_TENSOR_ZSTD_H

#include "base/compiler.h"

/* Is there a compressor in this build? */
bool hypi_zstd_here(void);
/* Bytes written to dst; 0 if `room` does not hold the result, or there is no memory for the work. */
size_t hypi_zstd_compress(void *dst, size_t room, const void *src, size_t bytes);
/* Fills dst with exactly `bytes`; false if the frame is not that. */
bool hypi_zstd_restore(void *dst, size_t bytes, const void *frame, size_t frame_bytes);

#endif
