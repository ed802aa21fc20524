/*
 * pool/region.h: an allocator whose whole state is in one region that processes share: bytes, no pointers.
 *
 * The region is cut into granules of 64 bytes. `kinds` has a byte for each: 0, or the class of the block that starts
 * there. That array alone is the truth: to allocate or free is to store one byte of it. All else, the binary buddy
 * system (Knowlton 1965) of what is free, is derived, and made anew from the kinds when a process died while it held
 * the lock. So a process may be killed between any two instructions: the one store either happened or did not.
 *
 * The file behind a region is sparse. `pages` has a bit for each 64 KiB of the data, set when the file has those pages
 * for certain; a block is handed out when all of its own are there. Bits are only ever set, after the pages were made: who
 * is killed between leaves nothing wrong.
 *
 * The buddy system's free blocks stand in one set a order, each a hierarchy of bitmaps: finding, taking and giving are
 * a few words whatever the region's size. Classes are those of core/size_class.h in units of a granule; what a class
 * leaves of its buddy goes back at once.
 *
 * The caller holds the region's lock, but for the pure questions.
 */
#ifndef HYPI_POOL_REGION_H
#define HYPI_POOL_REGION_H

#include "os/robust.h"

#include <stdatomic.h>

#define HYPI_GRANULE_LOG2 6
#define HYPI_REGION_ORDERS 33
#define HYPI_REGION_MAGIC UINT64_C(0x314c4f4f50595048) /* "HYPPOOL1" */
#define HYPI_REGION_VERSION 2u
#define HYPI_REGION_PAGES_LOG2 16 /* of data bytes, to a bit of `pages` */

typedef struct hypi_region {
	_Atomic uint64_t magic; /* stored last: until then the region is being made */
	uint32_t version, lock_bytes;
	uint64_t region_bytes, granules; /* granules: a multiple of 64 */
	uint64_t kinds_offset, pages_offset, bits_offset, data_offset;
	_Atomic uint64_t root;
	_Atomic uint32_t broken; /* the records were found damaged: nothing is given out any more */
	hypi_robust_lock lock;
	/* Under the lock, and derived. */
	uint64_t used_granules, blocks, recoveries;
	uint64_t order_words[HYPI_REGION_ORDERS]; /* where each order's set starts in the bits, in words */
	uint32_t orders;                          /* how many there are */
} hypi_region;

/* Sizes for `granules`, without touching any memory: fills everything that is constant. */
void hypi_region_lay_out(hypi_region *region, uint64_t granules);

/* Whether a header that somebody else wrote is one of ours, for a region of `bytes`. */
bool hypi_region_is_sound(const hypi_region *region, size_t bytes);

/* Derives everything from the kinds. False: they are damaged. */
bool hypi_region_rebuild(hypi_region *region);

/* The first granule of a block of at least `bytes`; false: no room. */
bool hypi_region_take(hypi_region *region, size_t bytes, uint64_t *ret_granule);

/* Granules of the block that starts at `granule`; 0: none does. */
uint64_t hypi_region_block(const hypi_region *region, uint64_t granule);

void hypi_region_give(hypi_region *region, uint64_t granule);

/* The next part of the data of `count` granules from `granule` on that the file may not have pages for, in bytes from the
 * region's start; false: all are there. And says that they are. */
bool hypi_region_next_missing(const hypi_region *region, uint64_t granule, uint64_t count, uint64_t *ret_offset,
                              uint64_t *ret_bytes);
void hypi_region_made(hypi_region *region, uint64_t offset, uint64_t bytes);

uint64_t hypi_region_largest_free(const hypi_region *region); /* granules */

/* NULL, or what is wrong. */
const char *hypi_region_check(hypi_region *region);

#endif
