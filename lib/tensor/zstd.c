/* tensor/zstd.c: see tensor/zstd.h. The fastest of the levels that look for matches: restoring is as fast at all. */
#include "tensor/zstd.h"

#include <zstd.h>

#define LEVEL 1

bool hypi_zstd_here(void) { return true; }

size_t hypi_zstd_compress(void *dst, size_t room, const void *src, size_t bytes) {
	size_t written = ZSTD_compress(dst, room, src, bytes, LEVEL);
	return ZSTD_isError(written) ? 0 : written;
}

bool hypi_zstd_restore(void *dst, size_t bytes, const void *frame, size_t frame_bytes) {
	return ZSTD_decompress(dst, bytes, frame, frame_bytes) == bytes;
}
