/*
 * core/arena.h: a contiguous range of memory and the binary buddy system over its slices.
 *
 * A free block of order k is 2^k slices at a multiple of 2^k (Knowlton 1965; Robson 1974 bounds what such a system can
 * lose). All state is in bitmaps out of band, so the same code serves memory that the processor cannot touch. Every
 * operation visits at most a few words per order. Of equal blocks one with dirty memory is taken, which costs nothing
 * more, or else the lowest, which keeps the top of the arena free.
 *
 * Invariants, checked by hypi_arena_check:
 *  - a slice is used, or lies in exactly one free block; free_slices counts the latter;
 *  - no two buddies are both free (they would be one block);
 *  - summary[k] has bit w set exactly when word w of order k is not 0; orders has bit k set exactly when summary[k] != 0;
 *  - a dirty slice may hold old contents and resident memory; a clean free slice reads as zero and costs no memory;
 *    dirty_free counts the dirty ones among the free.
 *
 * The caller holds the lock of the large pool that owns the arena. No call here makes a system call.
 */
#ifndef HYPI_CORE_ARENA_H
#define HYPI_CORE_ARENA_H

#include "base/bits.h"
#include "core/slice.h"

#define HYPI_ORDERS (HYPI_ARENA_ORDER + 1)
#define HYPI_BITMAP_WORDS (HYPI_ARENA_SLICES / 64)
#define HYPI_BUDDY_WORDS (2 * HYPI_BITMAP_WORDS + 16)

typedef struct hypi_arena {
	uintptr_t base;
	uint32_t slices;                        /* a power of two */
	uint32_t order;                         /* log2 of slices: the largest block */
	uint32_t free_slices;                   /* in free blocks */
	uint32_t orders;                        /* bit k: some block of order k is free */
	struct hypi_arena *next, *prev;         /* arenas of the pool with the same largest free order */
	struct hypi_arena *all_next, *all_prev; /* all arenas of the pool */
	uint32_t listed;                        /* largest free order + 1 under which it is listed; 0: nothing free */
	uint32_t id;                            /* place among the pool's arenas when it was made */
	uint32_t dirty_free;                    /* free slices that are dirty */
	bool purging;                           /* some slices are out while their pages go back */
	uint32_t out_first, out_count;          /* which */
	bool young;                             /* some free slice is dirty */
	uint64_t summary[HYPI_ORDERS];
	uint64_t buddy[HYPI_BUDDY_WORDS];    /* free blocks by order */
	uint64_t used[HYPI_BITMAP_WORDS];    /* slices handed out */
	uint64_t dirty[HYPI_BITMAP_WORDS];   /* may hold old contents */
	uint64_t settled[HYPI_BITMAP_WORDS]; /* dirty and free since the last epoch: next to be purged */
} hypi_arena;

#define HYPI_NO_SLICE UINT32_MAX

/* An arena of `slices` slices, all free and clean. */
void hypi_arena_init(hypi_arena *arena, uintptr_t base, uint32_t slices);

/* Takes `count` contiguous slices at a multiple of 2^align_order; the rest of the buddy block stays free. Returns
 * the first slice, or HYPI_NO_SLICE. */
uint32_t hypi_arena_take(hypi_arena *arena, uint32_t count, unsigned align_order);

/* A place for a run: slices of it that are dirty, and of the free range that it is an end of. */
typedef struct hypi_place {
	uint32_t first, dirty, room;
} hypi_place;

/* Where `count` slices, at any slice, cost least: the low or the high end of a free range, with more dirty slices than
 * *best has, or with as many in a shorter range. True: there is one, and it is *best now. Cost: two bitmaps. */
bool hypi_arena_dirtiest(const hypi_arena *arena, uint32_t count, hypi_place *best);

/* Takes exactly [first, first + count) if all of it is free. */
bool hypi_arena_take_at(hypi_arena *arena, uint32_t first, uint32_t count);

/* Gives slices back, coalescing. `dirty`: they may have been written. */
void hypi_arena_give(hypi_arena *arena, uint32_t first, uint32_t count, bool dirty);

/* Whether no slice of the range is dirty. */
bool hypi_arena_is_clean(const hypi_arena *arena, uint32_t first, uint32_t count);

/* A run of free slices whose pages may go back: dirty, and when `settled_only`, free for a whole epoch. From slice
 * `from` on; false when there is none. */
bool hypi_arena_next_purge(const hypi_arena *arena, uint32_t from, bool settled_only, uint32_t *ret_first,
                           uint32_t *ret_count);

/* Ends an epoch: what is dirty and free now is settled. Returns whether anything is. */
bool hypi_arena_settle(hypi_arena *arena);

HYP_INLINE bool hypi_arena_is_whole(const hypi_arena *arena) { return arena->free_slices == arena->slices; }

/* The largest free order + 1; 0 when nothing is free. */
HYP_INLINE uint32_t hypi_arena_largest(const hypi_arena *arena) {
	return arena->orders == 0 ? 0 : hypi_log2_floor(arena->orders) + 1;
}

/* NULL, or what is wrong. Cost: all bitmaps. */
const char *hypi_arena_check(const hypi_arena *arena);

#endif
