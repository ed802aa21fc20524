/*
 * pool/handle.h: the record behind a handle, and what compaction does with it. slot.c has the table of records, block.c
 * the blocks behind them and their moves, handle.c the calls of hypool/handle.h.
 *
 * A handle is generation << 32 | chunk << 15 | place in the chunk << 6, so that its low half finds a slot without a shift.
 * Chunk and place name a slot in the process's one table of slots, which is made of
 * chunks; a chunk belongs to one pool and to one heap of it as long as the pool lives, and a slot to its heap. So a
 * foreign handle is known by its chunk, and every slot has one thread that may take short cuts.
 *
 * Pins. A block is pinned while `local` + the state's count is not 0. `local` is the owner's: a plain load and store,
 * may be negative (others unlock what the owner locked, and the other way round; only the sum means something). Others
 * count in the state, by compare-and-swap. Whoever wants the block unpinned (free, move, resize) sets HELD in the
 * state and takes the name away, makes every processor take a barrier (os/barrier.h), and then looks at `local`: the owner
 * stores `local` and then loads `name`, so either it is seen to be gone there or the pin is seen here. `name` is the handle
 * while the block is live and nobody holds it: one comparison tells the owner all that the state would. Otherwise it is
 * what no caller can bring to this slot: an invented handle of that value leads to another.
 *
 * Generations only rise. A slot whose generation would wrap is never used again (64 bytes for each 2^32 blocks).
 */
#ifndef HYPI_POOL_HANDLE_H
#define HYPI_POOL_HANDLE_H

#include "pool/pool.h"

#include <hypool/handle.h>

/* All that is atomic but not said to be more is relaxed: a query may read it while another thread moves or frees the
 * block, and then looks at the state again. */
typedef struct hypi_slot {
	_Atomic uint64_t name;      /* the handle when live and not held; else hypi_slot_no_name */
	_Atomic uint64_t state;     /* generation << 32 | LIVE | HELD | others' locks + HYPI_SLOT_ZERO */
	_Atomic(hypi_heap *) owner; /* whose thread may use `local`; NULL: nobody's (no barriers here) */
	_Atomic uintptr_t address;
	_Atomic size_t bytes;   /* as asked for */
	_Atomic(void *) record; /* Live: device memory: see hypi_device_block; host: usable bytes where they do not follow
	                         * from `bytes`, else NULL. Free: the next in its heap's list */
	_Atomic uint32_t local; /* locks by the owner less unlocks by it, as a signed number */
	_Atomic uint32_t used_ms;
	_Atomic uint32_t made_ms;
	_Atomic uint16_t device;
	_Atomic uint8_t align_log2;
	_Atomic bool small;
} hypi_slot;

_Static_assert(sizeof(hypi_slot) == 64, "a slot is one cache line, and a handle names it by its offset");

#define HYPI_SLOT_LIVE (UINT64_C(1) << 31)
#define HYPI_SLOT_HELD (UINT64_C(1) << 30)
#define HYPI_SLOT_ZERO (UINT64_C(1) << 29) /* others' locks are counted from here: they may be negative */
#define HYPI_SLOT_COUNT (HYPI_SLOT_HELD - 1)

#define HYPI_SLOT_LOG2 6
#define HYPI_CHUNK_LOG2 9
#define HYPI_CHUNK_SLOTS (1u << HYPI_CHUNK_LOG2)
#define HYPI_CHUNKS (1u << (32 - HYPI_SLOT_LOG2 - HYPI_CHUNK_LOG2))

typedef struct hypi_handle_chunk {
	hypi_slot slots[HYPI_CHUNK_SLOTS];
	_Atomic(hyp_pool *) pool; /* NULL: nobody's now */
	hypi_heap *heap;          /* of that pool; as its slots' owner, but also where nobody may use `local` */
	_Atomic uint32_t carved;  /* slots below this are known; the heap's owner */
	uint32_t id;
	struct hypi_handle_chunk *next; /* of the pool, or of those that are nobody's */
} hypi_handle_chunk;

/* ---- slot.c: the table ---- */

/* NULL or a chunk for good: read without a lock. */
extern HYP_HIDDEN _Atomic(hypi_handle_chunk *) hypi_handle_chunks[HYPI_CHUNKS];

HYP_INLINE hypi_handle_chunk *hypi_chunk_of(hyp_handle handle) {
	/* acquire: pairs with the release in new_chunk */
	return hypi_load_acquire(&hypi_handle_chunks[(uint32_t)handle >> (HYPI_SLOT_LOG2 + HYPI_CHUNK_LOG2)]);
}

HYP_INLINE hypi_slot *hypi_slot_in(hypi_handle_chunk *chunk, hyp_handle handle) {
	return (hypi_slot *)((char *)chunk->slots + (handle & ((HYPI_CHUNK_SLOTS - 1) << HYPI_SLOT_LOG2)));
}

/* A slot's name while it has none, from the low half of its handles, and back: the place next to it is in it. */
HYP_INLINE uint64_t hypi_slot_no_name(uint64_t low) { return (uint32_t)low ^ (1u << HYPI_SLOT_LOG2); }

HYP_INLINE bool hypi_slot_is_live(uint64_t state, hyp_handle handle) {
	return (state & HYPI_SLOT_LIVE) != 0 && state >> 32 == handle >> 32;
}

/* Locks on the block, the owner's and the others'. */
HYP_INLINE int64_t hypi_slot_locks(const hypi_slot *slot, uint64_t state) {
	/* acquire: pairs with the owner's release in unlock */
	int32_t local = (int32_t)hypi_load_acquire(&((hypi_slot *)(uintptr_t)slot)->local);
	return (int64_t)(state & HYPI_SLOT_COUNT) - (int64_t)HYPI_SLOT_ZERO + local;
}

/* The state of a slot whose block is freed: one generation on; the count of locks stays, so that with `local` it adds up
 * to none. The last generation is never given out: whoever gives slots back and out sees to that. */
HYP_INLINE uint64_t hypi_slot_freed(uint64_t state) {
	return (state & ~(HYPI_SLOT_LIVE | HYPI_SLOT_HELD)) + (UINT64_C(1) << 32);
}

/* The chunk and slot of a handle, or what is wrong with it when it is not a live one of the pool. */
hyp_status hypi_handle_find(hyp_pool *pool, hyp_handle handle, hypi_handle_chunk **ret_chunk, hypi_slot **ret_slot);

/* A slot of the caller's heap that is not live. NULL: no memory. */
hypi_slot *hypi_slot_take_slow(hyp_pool *pool, hypi_heap *heap);
HYP_INLINE hypi_slot *hypi_slot_take(hyp_pool *pool, hypi_heap *heap) {
	hypi_slot *slot = heap->slots;
	if (HYP_UNLIKELY(slot == NULL)) return hypi_slot_take_slow(pool, heap);
	heap->slots = hypi_load_relaxed(&slot->record);
	return slot;
}

/* A slot that is not live and that nobody holds goes back to its heap, which is not the caller's. */
void hypi_slot_give_back(hypi_slot *slot, hypi_heap *heap);

/* ---- block.c: the blocks, held and moved ---- */

HYP_INLINE hypi_device_block hypi_slot_block(const hypi_slot *slot) {
	hypi_slot *s = (hypi_slot *)(uintptr_t)slot;
	return (hypi_device_block){.address = hypi_load_relaxed(&s->address),
	                           .record = hypi_load_relaxed(&s->record),
	                           .small = hypi_load_relaxed(&s->small)};
}

HYP_MUST_USE hyp_status hypi_block_alloc(hyp_pool *pool, size_t bytes, size_t alignment, hypi_device_block *ret_block);
void hypi_block_free(hyp_pool *pool, const hypi_device_block *block);

/* Usable bytes of a slot's block. The caller holds it, or nobody else uses the pool. */
size_t hypi_slot_usable(hyp_pool *pool, const hypi_slot *slot);
/* The same while others may free, resize or move it; 0: it is gone. */
size_t hypi_slot_usable_now(hyp_pool *pool, hypi_slot *slot, hyp_handle handle);

/* Holds a live handle's block: nobody has it locked, and nobody can lock it until it is let go. `mine`: the caller's heap
 * of the pool, or NULL. HYP_ERR_STALE, HYP_ERR_BUSY, HYP_ERR_OS (there is no barrier any more): nothing changed. */
HYP_MUST_USE hyp_status hypi_slot_hold(hypi_slot *slot, hyp_handle handle, const hypi_heap *mine);
void hypi_slot_let_go(hypi_slot *slot, hyp_handle handle);

/* The pool's clock, brought up to date. */
HYP_INLINE uint32_t hypi_pool_clock(hyp_pool *pool) {
	uint32_t now = (uint32_t)hypi_os_now_coarse_ms();
	hypi_store_relaxed(&pool->engine.clock_ms, now);
	return now;
}

/* Moves a block that nobody has locked to another place of the pool, keeping its handle. HYP_ERR_BUSY, and as
 * hyp_handle_realloc. For compaction, and for tests that move blocks while threads work. */
HYP_MUST_USE hyp_status hypi_handle_move(hyp_pool *pool, hyp_handle handle);

/* Puts the contents of a block that nobody has locked into *block, a fresh block of the pool for `bytes` and the same
 * alignment, and makes it the handle's: *block is the old one then, and the caller's to free. HYP_ERR_BUSY: it is
 * locked, or its size is another by now. HYP_ERR_UNSUPPORTED: the pool's memory cannot be copied. Anything but HYP_OK:
 * nothing changed. *ret_ns: how long it was held. */
HYP_MUST_USE hyp_status hypi_handle_put_in(hyp_pool *pool, hyp_handle handle, size_t bytes, hypi_device_block *block,
                                           uint64_t *ret_ns);

/* The block of a live handle that nobody holds, in memory that the processor cannot reach: visits it while its record cannot
 * go (the engine's lock and the large pool's are held). False: it is no such handle by now. */
bool hypi_handle_look(hyp_pool *pool, hyp_handle handle, void (*visit)(void *context, const hypi_device_block *block),
                      void *context);

/* Usable bytes of a host pool's block, also while others resize or free it: then of a moment ago. */
size_t hypi_handle_host_usable(const hyp_pool *pool, hypi_slot *slot);

/* Whether the pool's memory can be copied, and so its blocks moved. */
bool hypi_handles_move(const hyp_pool *pool);

/* ---- slot.c: all of them ---- */

/* Where a walk is; {0}: before its first chunk. Good until the pool is emptied. */
typedef struct hypi_handle_cursor {
	hypi_handle_chunk *chunk;
	bool begun;
} hypi_handle_cursor;

/* Calls `visit` for the live handles of one more chunk. False: there is none. */
bool hypi_handles_walk_chunk(hyp_pool *pool, hypi_handle_cursor *cursor,
                             void (*visit)(void *context, hyp_handle handle, const hypi_slot *slot), void *context);
/* How many slots the pool's chunks have, at least as many as there are live handles. */
size_t hypi_handles_room(hyp_pool *pool);

/* Calls `visit` for every live handle of the pool; handles that come or go meanwhile may be missed. */
void hypi_handles_walk(hyp_pool *pool, void (*visit)(void *context, hyp_handle handle, const hypi_slot *slot),
                       void *context);

/* Forgets every handle of the pool; the generations go on. No other thread is inside a call on the pool. */
void hypi_handles_empty(hyp_pool *pool);

/* NULL, or what is wrong. Nobody uses the pool meanwhile. */
const char *hypi_handles_check(hyp_pool *pool);

/* Tests: the slot behind a handle. */
hypi_slot *hypi_slot_of(hyp_handle handle);

#endif
