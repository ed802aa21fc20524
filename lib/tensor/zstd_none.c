/* tensor/zstd_none.c: a build without Zstandard: nothing is ever compressed, so there is nothing to restore. */
#include "tensor/zstd.h"

bool hypi_zstd_here(void) { return false; }

size_t hypi_zstd_compress(void *dst, size_t room, const void *src, size_t bytes) {
	(void)dst;
	(void)room;
	(void)src;
	(void)bytes;
	return 0;
}

bool hypi_zstd_restore(void *dst, size_t bytes, const void *frame, size_t frame_bytes) {
	(void)dst;
	(void)bytes;
	(void)frame;
	(void)frame_bytes;
	return false;
}
