/*
 * pool/pool.h: what a pool is made of.
 *
 * A pool is an engine (heap/heap.h) and, beside it, what only pools have: the configuration, the callback, handles and
 * slabs. `engine` comes first and is all of hyp_pool, so that the process's default engine is a pool too; the rest hangs
 * at engine.pool. The default pool's is static.
 */
#ifndef HYPI_POOL_POOL_H
#define HYPI_POOL_POOL_H

#include "heap/heap.h"

#include <hypool/pool.h>

struct hyp_pool {
	hypi_engine engine;
};

struct hypi_handle_chunk;
struct hypi_slab;

typedef struct hypi_pool_state {
	hyp_pool_config config; /* as it was validated; `name` points at the copy below, `backing` is NULL */
	char name[32];
	bool owns_backing; /* the backing was opened for this pool */
	/* Handles (pool/handle.c); engine lock. */
	struct hypi_handle_chunk *chunks;
	/* Slabs of pools whose memory the processor cannot reach, by class (pool/slab.c); engine lock. */
	struct hypi_slab *slabs[HYPI_CLASSES];
	struct hypi_slab *full_slabs;
	_Atomic uint64_t moves;  /* blocks moved behind their handles */
	_Atomic(void *) cleanup; /* the cleanup layer's record; its own */
} hypi_pool_state;

hypi_pool_state *hypi_pool_state_of(hyp_pool *pool);

HYP_INLINE bool hypi_pool_is_host(const hyp_pool *pool) {
	return (pool->engine.large.backing.flags & HYP_BACKING_HOST) != 0 || pool == (const hyp_pool *)&hypi_default_engine;
}

/* The class that serves a request, HYPI_CLASSES for a large block: blocks lie at multiples of their size from a slice's
 * edge, so any class whose size is a multiple of the alignment will do. A device's are not staggered (core/size_class.h):
 * nothing here looks at them. */
HYP_INLINE unsigned hypi_pool_class_of(const hyp_pool *pool, size_t bytes, size_t alignment) {
	if (bytes >= pool->engine.threshold_bytes || alignment > HYPI_SLICE_BYTES) return HYPI_CLASSES;
	if (hypi_pool_is_host(pool)) return hypi_class_for(bytes, alignment);
	unsigned c = hypi_class_of(bytes);
	while (c < HYPI_CLASSES && (hypi_class_bytes(c) & (alignment - 1)) != 0) c++;
	return c;
}

/* An allocation with everything a pool does when memory is short. NULL with errno. Host pools. */
void *hypi_pool_alloc(hyp_pool *pool, size_t bytes, size_t alignment, bool zero);

/* Makes room: stage 0 gives back what the calling thread keeps, stage 1 what dead threads left. Stage 2 asks the
 * callback, `attempt` from 1. False: nothing more can be done. */
bool hypi_pool_make_room(hyp_pool *pool, size_t bytes, unsigned *stage);

/* Looks whether the pool holds more now than at any look before: peaks are those of looks (hypool/stats.h). Slow paths call
 * it that are about to give memory back, and queries; nothing on a hit path. */
void hypi_pool_raise_peaks(hyp_pool *pool);

/* What the layers above are told of pools. Defined by lib/cleanup, so that a program that links the archive gets what its
 * pools' configurations ask for. `created` may refuse (the reason goes to hypi_self.reason), and the pool is not made;
 * between `enter` and `leave` (a reset) and after `destroyed` nobody above is inside the pool. */
typedef struct hypi_pool_hooks {
	hyp_status (*created)(hyp_pool *pool, const hyp_pool_config *config);
	void (*enter)(hyp_pool *pool);
	void (*leave)(hyp_pool *pool);
	void (*destroyed)(hyp_pool *pool);
} hypi_pool_hooks;
extern const hypi_pool_hooks hypi_cleanup_hooks;

/* ---- slab.c ---- */

/* A block of device memory: a slab's, or a run of its own. */
typedef struct hypi_device_block {
	uintptr_t address;
	size_t bytes;
	void *record; /* the slab, or the run's own record */
	bool small;
} hypi_device_block;

HYP_MUST_USE hyp_status hypi_device_alloc(hyp_pool *pool, size_t bytes, size_t alignment, hypi_device_block *ret_block);
void hypi_device_free(hyp_pool *pool, const hypi_device_block *block);
size_t hypi_device_usable(const void *record, bool small);

/* What a block lies in: a slab, or the arena of a run; `key` NULL: a range of its own. The caller holds the engine's lock
 * and the large pool's, or the block. */
typedef struct hypi_device_vessel {
	const void *key;
	size_t bytes;
	uint32_t blocks, used; /* a slab's */
	uint32_t weight;       /* of the block: 1, or the slices of its run */
	unsigned class_index;  /* HYPI_CLASSES: an arena */
} hypi_device_vessel;
hypi_device_vessel hypi_device_vessel_of(const hypi_device_block *block);
/* Puts the slabs that `is_last` says behind the others of their class: blocks are taken from them when no other has one. It is
 * called under the engine's lock. */
void hypi_slabs_put_last(hyp_pool *pool, bool (*is_last)(const void *context, const void *key), const void *context);
/* Calls `visit` for every slab, under the engine's lock. */
void hypi_slabs_walk(hyp_pool *pool, void (*visit)(void *context, const hypi_device_vessel *slab), void *context);
void hypi_slabs_empty(hyp_pool *pool);
const char *hypi_slabs_check(hyp_pool *pool);

#endif
