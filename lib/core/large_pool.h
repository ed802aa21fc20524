/*
 * core/large_pool.h: the large-block pool: buddy arenas over one backing, with limits, purging and growth.
 *
 * A block here is a run: contiguous slices of one arena. Small spans and large blocks are both runs. Arenas are listed
 * by the order of their largest free block; a request takes from the smallest that fits (best fit among arenas, lowest
 * address within), so finding room is O(1) however many arenas there are. A long run rather goes where most dirty memory
 * lies, at any slice: that costs a look at each arena's counts, and at the bitmaps of a few.
 *
 * Invariants (hypi_large_pool_check): every arena's own; each arena with room is in the list of its largest order and
 * list_mask names the lists that are not empty; used_slices is the sum over arenas; purging or growing never holds the
 * lock over a call to the OS: slices whose pages are on their way back are taken out of the buddy system meanwhile.
 *
 * Growth: before a run of clean slices costs new memory, as many dirty free ones are purged, beyond a small slack: so
 * what the process holds follows the peak of what it uses, whatever shapes the free blocks have.
 *
 * Decay: an epoch is half the decay time. A slice freed in one epoch settles at its end and is purged at the end of
 * the next if it is still free: so after one to two epochs, half to a whole decay time.
 *
 * Lock rank: below (inside) a heap registry's lock, above metadata's.
 */
#ifndef HYPI_CORE_LARGE_POOL_H
#define HYPI_CORE_LARGE_POOL_H

#include "core/arena.h"
#include "os/os.h"

#include <hypool/backing.h>

typedef struct hypi_run {
	hypi_arena *arena;
	uint32_t first, count; /* slices */
	uint32_t clean;        /* of them, those that cost no memory yet */
	bool zeroed;           /* reads as zero */
	bool small;            /* holds small blocks: counted against their limit */
} hypi_run;

HYP_INLINE uintptr_t hypi_run_address(const hypi_run *run) {
	return run->arena->base + ((uintptr_t)run->first << HYPI_SLICE_LOG2);
}

typedef struct hypi_large_pool {
	hypi_lock lock;
	hyp_backing backing;
	hypi_arena *lists[HYPI_ORDERS + 1]; /* by hypi_arena_largest; 0 is unused */
	uint32_t list_mask;
	hypi_arena *all;
	uint32_t arenas, arenas_made, whole_arenas;
	uint32_t purging;         /* arenas with slices out on a purge */
	size_t arena_bytes;       /* size of the next arena */
	size_t limit_bytes;       /* of large blocks' slices and of huge mappings together; 0: none */
	size_t small_limit_bytes; /* of small blocks' slices; 0: none */
	size_t used_slices;
	size_t small_slices; /* of them, those that hold small blocks */
	size_t huge_bytes;   /* mappings of their own */
	size_t mapped_bytes; /* arenas */
	size_t peak_used_slices;
	_Atomic size_t purged_bytes; /* ever given back */
	_Atomic size_t purge_failures;
	_Atomic uint64_t epoch_ms; /* when the next epoch ends */
	uint64_t decay_ms;
	bool keep_arenas;  /* never release an arena before the pool goes */
	bool tight;        /* address space was refused once, or is limited: drained arenas go back at once */
	bool commit_whole; /* the backing's granule is larger than a slice: arenas are committed whole, and never purged */
} hypi_large_pool;

/* `backing` is copied. Nothing is mapped yet. */
void hypi_large_pool_init(hypi_large_pool *pool, const hyp_backing *backing, size_t arena_bytes, uint64_t decay_ms);

/* Gives all arenas back. No run may be in use any more by anyone. */
void hypi_large_pool_fini(hypi_large_pool *pool);

/* Takes a run of `count` slices at a multiple of 2^align_order slices, growing the pool by an arena when there is no
 * room. HYP_ERR_NO_MEMORY, HYP_ERR_LIMIT: nothing changed. */
HYP_MUST_USE hyp_status hypi_large_pool_take(hypi_large_pool *pool, uint32_t count, unsigned align_order,
                                             hypi_run *ret_run);

/* As hypi_large_pool_take, for small blocks. */
HYP_MUST_USE hyp_status hypi_large_pool_take_small(hypi_large_pool *pool, uint32_t count, hypi_run *ret_run);

/* Gives a run back. `dirty`: it may have been written to. */
void hypi_large_pool_give(hypi_large_pool *pool, const hypi_run *run, bool dirty);

/* Grows or shrinks a run in place; false: no room behind it (or the limit), nothing changed. */
bool hypi_large_pool_resize(hypi_large_pool *pool, hypi_run *run, uint32_t count);

/* Ends the epoch when its time has come, and purges what has settled. Cheap when it has not. */
void hypi_large_pool_tick(hypi_large_pool *pool, uint64_t now_ms);

/* Purges every dirty free slice now, and releases all whole arenas but one. Returns bytes given back. */
size_t hypi_large_pool_purge(hypi_large_pool *pool);

/* The same of at most `most` bytes (rounded up to the backing's granule): who has no time for all of it calls it again and
 * again. Less is returned: no dirty slice is left that the backing takes back. */
size_t hypi_large_pool_purge_most(hypi_large_pool *pool, size_t most);

/* In a forked child: takes back what another thread had out on a purge. */
void hypi_large_pool_forked(hypi_large_pool *pool);

/* Adds an arena of at least `bytes` now. */
HYP_MUST_USE hyp_status hypi_large_pool_grow(hypi_large_pool *pool, size_t bytes);

/* A mapping of its own, outside the arenas, charged to the limit. `alignment` >= one slice. 0: none to be had. */
uintptr_t hypi_large_pool_map_huge(hypi_large_pool *pool, size_t bytes, size_t alignment);
void hypi_large_pool_unmap_huge(hypi_large_pool *pool, uintptr_t address, size_t bytes);

/* The arena that holds an address, or NULL. Cost: the number of arenas. */
hypi_arena *hypi_large_pool_arena_of(hypi_large_pool *pool, uintptr_t address);

/* Sum over arenas of slices that are free and dirty. */
size_t hypi_large_pool_dirty_slices(hypi_large_pool *pool);

/* Slices of the largest free block. */
size_t hypi_large_pool_largest_free(hypi_large_pool *pool);

const char *hypi_large_pool_check(hypi_large_pool *pool);

/* The anonymous-memory backing, the default. */
const hyp_backing *hypi_backing_anonymous(void);

#endif
