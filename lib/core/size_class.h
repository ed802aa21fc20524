/*
 * core/size_class.h: the size classes of the small-block pool.
 *
 * The classes are the multiples of 16 up to 512 bytes, and then nine to each doubling up to 1 MiB: 528, 576, 640, ...
 * 1024, 1056, 1152, ... So a request up to 512 bytes finds its class by a shift, and one above 128 bytes wastes less
 * than 1/9 of its block (11.1 %); below, less than one 16-byte quantum, which alignment asks for anyway. (jemalloc,
 * Evans 2006, spaces its classes in four; eight halves the waste.) The ninth, the first of a doubling, is for what
 * programs ask for most above it: a power of two and a header, up to 1/32 of it.
 *
 * Blocks of 16 to 64 KiB lie a cache line further apart than that, unless their size is a power of two. Else the first
 * words of all would begin a page, and share a 64th of the cache's sets: in a heap of a thousand such blocks nearly every
 * look at one, which malloc and free both take, would miss. Who asks for an alignment above the line gets a power of two.
 *
 * Class c < 32 is 16 (c + 1). Class 32 + 9 k is 33 2^(4 + k); class 32 + 9 k + j is 2^(9 + k) + j 2^(6 + k), j = 1 to 8.
 */
#ifndef HYPI_CORE_SIZE_CLASS_H
#define HYPI_CORE_SIZE_CLASS_H

#include "base/bits.h"
#include "core/slice.h"

#define HYPI_CLASSES 131u
#define HYPI_EVEN_LIMIT ((size_t)512)      /* up to here classes are 16 bytes apart */
#define HYPI_SMALL_LIMIT ((size_t)1 << 20) /* requests below this have a size class */

HYP_INLINE unsigned hypi_class_of(size_t bytes) {
	if (bytes <= HYPI_EVEN_LIMIT) return bytes == 0 ? 0 : (unsigned)((bytes - 1) >> 4);
	size_t last = bytes - 1;
	unsigned log2 = hypi_log2_floor(last);
	unsigned part = (unsigned)(last >> (log2 - 5)) & 31; /* of 32 in the doubling */
	return 32 + (log2 - 9) * 9 + (part >> 2) + (part != 0);
}

/* The largest request that the class serves. */
HYP_INLINE size_t hypi_class_bytes(unsigned c) {
	if (c < 32) return (size_t)16 * (c + 1);
	unsigned k = (c - 32) / 9, j = (c - 32) % 9;
	return j == 0 ? (size_t)33 << (4 + k) : ((size_t)8 + j) << (6 + k);
}

#define HYPI_STAGGER_BYTES ((size_t)64)
#define HYPI_STAGGER_FROM ((size_t)16384) /* classes between these two are staggered */
#define HYPI_STAGGER_TO ((size_t)65536)

/* Usable bytes of the class's blocks, and how far apart they lie in a span: what a request may be at most, and a cache
 * line where they are staggered. */
HYP_INLINE size_t hypi_class_block_bytes(unsigned c) {
	size_t bytes = hypi_class_bytes(c);
	bool staggered = bytes > HYPI_STAGGER_FROM && bytes < HYPI_STAGGER_TO && !hypi_is_pow2(bytes);
	return staggered ? bytes + HYPI_STAGGER_BYTES : bytes;
}

/* What the page map's entries say of a class: where its list stands among a heap's (heap/heap.h), in bytes. */
HYP_INLINE size_t hypi_class_tag(unsigned c) { return (size_t)c * 16; }

/* The tag of the class that serves a request of up to HYPI_TABLE_LIMIT bytes, at (bytes + 15) / 16. Computing it takes a
 * branch at 512 bytes, which programs of mixed sizes mispredict: a third of the time of churn.10000.1K. */
#define HYPI_TABLE_LIMIT ((size_t)8192)
extern HYP_HIDDEN const uint16_t hypi_tag_table[HYPI_TABLE_LIMIT / 16 + 1];

/* Slices of a span of this class. Small blocks: the power of two that holds at least 16 blocks (8 of the larger)
 * with at most 1/32 left over, so that spans of different classes can take each other's place. Above 32 KiB the four to
 * eight blocks that fit slices best, above 64 KiB the one to four. */
unsigned hypi_class_slices(unsigned c);

/* Of a heap's first span of the class, which may stay its only one: at least four blocks with at most 1/8 left over. A
 * program that uses many classes, each a little, would otherwise touch a page here and a page there of much more. */
unsigned hypi_class_first_slices(unsigned c);

#endif
