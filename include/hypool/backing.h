/*
 * hypool/backing.h: where an arena's memory comes from.
 *
 * A backing is a small table of functions and of what is true of the memory: anonymous pages, huge pages, a NUMA
 * node, a file, shared memory, pinned host memory, a device's address range, or anything a user brings. All
 * metadata of a pool lives elsewhere, so the memory need not be readable by the processor.
 */
#ifndef HYPOOL_BACKING_H
#define HYPOOL_BACKING_H

#include <hypool/status.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
	HYP_BACKING_HOST = 1,      /* the processor can read and write it at its address */
	HYP_BACKING_ZEROED = 2,    /* fresh memory, and memory after a purge, reads as zero */
	HYP_BACKING_SHAREABLE = 4, /* other processes can map it */
	HYP_BACKING_PINNED = 8     /* never leaves physical memory */
};

/*
 * The functions are called outside every lock of hypool, by any thread, and may not allocate from the pool they serve.
 * Sizes are bytes, multiples of granule_bytes. The structure is copied; `context` must outlive the pool.
 */
typedef struct hyp_backing {
	size_t struct_bytes;  /* sizeof(hyp_backing) */
	const char *name;     /* static; for reports */
	void *context;        /* given to every function */
	uint32_t flags;       /* HYP_BACKING_* */
	size_t granule_bytes; /* of commit and purge: a power of two; 0: the page */
	int numa_node;        /* -1: none in particular */
	int device;           /* device index; 0: the host */

	/* An address range of `bytes` at a multiple of `alignment`. Required. */
	hyp_status (*reserve)(void *context, size_t bytes, size_t alignment, uintptr_t *ret_address);
	/* Makes part of it usable. NULL: reserved memory is usable at once. */
	hyp_status (*commit)(void *context, uintptr_t address, size_t bytes);
	/* Gives its physical memory back; commit makes it usable again. NULL: cannot. */
	hyp_status (*purge)(void *context, uintptr_t address, size_t bytes);
	/* Gives a whole reserved range back. Required. */
	hyp_status (*release)(void *context, uintptr_t address, size_t bytes);
	/* Copies from one place of it to another, which do not overlap; done when it returns. Memory of HYP_BACKING_HOST is copied
	 * by the processor. Otherwise NULL: blocks never move. Whoever wants to lock the block that is copied waits. */
	hyp_status (*copy)(void *context, uintptr_t to, uintptr_t from, size_t bytes);
	/* How full the memory is that this is part of, whoever uses it: the device's. NULL: not known. */
	hyp_status (*usage)(void *context, uint64_t *ret_used_bytes, uint64_t *ret_total_bytes);
} hyp_backing;

#ifdef __cplusplus
}
#endif

#endif
