/*
 * core/size_class.h: the size classes of the small-block pool.
 *
 * The classes are 16, 32, ... 128 bytes, and then eight to each doubling up to 1 MiB: 144, 160, ... 256, 288, ...
 * A request above 128 bytes wastes less than 1/9 of its block (11.1 %); below, less than one 16-byte quantum, which
 * alignment asks for anyway. (jemalloc, Evans 2006, spaces its classes in four; eight halves the waste.)
 *
 * Class c < 8 is 16 (c + 1). Class 8 + 8 k + j is 2^(7 + k) + (j + 1) 2^(4 + k), j = 0 to 7.
 */
#ifndef HYPI_CORE_SIZE_CLASS_H
#define HYPI_CORE_SIZE_CLASS_H

#include "base/bits.h"
#include "core/slice.h"

#define HYPI_CLASSES 112u
#define HYPI_SMALL_LIMIT ((size_t)1 << 20) /* requests below this have a size class */

HYP_INLINE unsigned hypi_class_of(size_t bytes) {
	if (bytes <= 128) return bytes == 0 ? 0 : (unsigned)((bytes - 1) >> 4);
	size_t last = bytes - 1;
	unsigned log2 = hypi_log2_floor(last);
	return 8 + ((log2 - 7) << 3) + (unsigned)((last >> (log2 - 3)) & 7);
}

HYP_INLINE size_t hypi_class_bytes(unsigned c) {
	if (c < 8) return (size_t)16 * (c + 1);
	unsigned k = (c - 8) >> 3, j = (c - 8) & 7;
	return ((size_t)8 + j + 1) << (4 + k);
}

/* Slices of a span of this class. Small blocks: the power of two that holds at least 16 blocks (8 of the larger)
 * with at most 1/32 left over, so that spans of different classes can take each other's place. Above 32 KiB: the
 * one to four blocks that fit slices best. */
unsigned hypi_class_slices(unsigned c);

#endif
