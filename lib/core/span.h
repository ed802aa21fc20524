/*
 * core/span.h: a run of slices cut into equal blocks, and the record of a large block.
 *
 * Each span belongs to one heap for its whole life. Its free list runs through the free blocks themselves, newest
 * first; the list and the counters are the owner's alone, so that allocating and freeing locally is a few ordinary
 * loads and stores (the page-owned list is mimalloc's idea: Leijen, Zorn, de Moura 2019). Other threads push whole
 * chains on `remote`, one compare-and-swap a chain.
 *
 * Link. A free block's first word is the next block's address, masked with the process's secret; the last block's
 * successor is base - 16. A list's head lies in [base, base + carved_bytes) or the list is at its end, or it was
 * overwritten: one comparison finds both. Every free block's first word decodes to that range or to base - 16; an
 * allocated block's does not (it was cleared when handed out), or it was freed already. That is how a corrupt list and
 * a double free are told at once, at no cost in memory. Addresses are multiples of 16, so every link's low four bits
 * are the secret's, which are fixed: free looks at the first byte alone, and at the word only when that fits. (A byte
 * can be read while the program's own store to the word is still on its way; a word cannot, and stalls.)
 *
 * Counters. allocs and frees only ever rise (modulo 2^32), each with one writer, the owner; live = allocs - frees.
 * `left` counts frees down to the next look of hypi_heap_event at the span, and frees = due - left: so one decrement
 * serves as counter and as trigger.
 *   the heap's current span of its class:  every HYPI_TICK frees: the clock is looked at
 *   a span with free blocks, waiting:      when all that is live was freed: the span is empty and goes back
 *   a span that was full:                  after a few: worth listing again
 *
 * Invariants, checked by hypi_span_check when the owner stands still:
 *   free + remote + live = carved blocks; every free block is distinct, aligned to the block size, and decodes;
 *   carved_bytes is a multiple of block_bytes and at most slices * slice.
 */
#ifndef HYPI_CORE_SPAN_H
#define HYPI_CORE_SPAN_H

#include "base/atomic.h"
#include "core/large_pool.h"
#include "core/page_map.h"
#include "core/size_class.h"

typedef struct hypi_block {
	uint64_t link;
} hypi_block;

typedef enum hypi_span_kind {
	HYPI_SPAN_NONE,  /* a record not in use */
	HYPI_SPAN_SMALL, /* blocks of a size class */
	HYPI_SPAN_LARGE, /* one block, a run of the buddy system */
	HYPI_SPAN_HUGE,  /* one block, a mapping of its own */
	HYPI_SPAN_CACHED /* a large block that was freed and that a heap keeps for its next request */
} hypi_span_kind;

/* HYPI_PICKED is of large blocks: the sampler knows it (heap/sample.h). */
typedef enum hypi_span_place { HYPI_FULL, HYPI_CURRENT, HYPI_LISTED, HYPI_PICKED } hypi_span_place;

struct hypi_heap;
struct hypi_engine;

typedef struct hypi_span {
	/* The owner's line: all that a local allocate and free touch. */
	hypi_block *free;                  /* newest free block, or base - 16. Owner only. */
	_Atomic uint32_t allocs;           /* written by the owner */
	_Atomic uint32_t left;             /* written by the owner */
	_Atomic uint32_t due;              /* written by the owner; remote frees count once collected */
	uint32_t slices;                   /* constant while the span lives, as is the rest of this line but carved_bytes */
	_Atomic uint64_t carved_bytes;     /* blocks below this were handed out at least once or are in the list */
	uintptr_t base;
	uint64_t inverse;                  /* ceil(2^64 / block_bytes): divides n iff n * inverse < inverse */
	_Atomic(struct hypi_heap *) owner; /* NULL for large blocks */
	uint64_t block_bytes;              /* usable bytes of each block */

	/* The other threads' line. */
	HYP_CACHE_ALIGNED _Atomic uint64_t remote; /* a chain: offset of its first block | count << 32 | HYPI_PENDING */
	union {
		_Atomic(struct hypi_span *) pending_next; /* small: in the owner's pending stack */
		struct hypi_engine *engine;               /* large, huge, cached: whose it is */
	};
	uint32_t first;                            /* slice in the arena */
	_Atomic uint8_t kind;
	uint8_t class_index, place;                /* place: owner only */
	bool zeroed;                               /* blocks not carved yet read as zero */
	hypi_arena *arena;                         /* NULL: huge */
	struct hypi_span *next, *prev;             /* in a bin's list; owner only. Huge: the engine's; engine lock */
	size_t mapped_bytes;                       /* huge: of the mapping, guard included */
	uint64_t stamp_ms;                         /* cached: since when */
} hypi_span;

_Static_assert(sizeof(hypi_span) == 128, "a span record is two cache lines");
_Static_assert(offsetof(hypi_span, remote) == 64, "remote frees do not touch the owner's line");

/* In `remote`: the span is on its owner's pending stack, or the pusher that set the bit is about to put it there. The
 * record may not be recycled while it is set; only the owner's drain clears it. */
#define HYPI_PENDING (UINT64_C(1) << 63)

HYP_INLINE uint32_t hypi_chain_count(uint64_t remote) { return (uint32_t)(remote >> 32) & 0x7fffffffu; }

#define HYPI_TICK 128u /* frees between two looks at the clock */

extern uint64_t hypi_link_key; /* set once, before the first span */
#define HYPI_LINK_NIBBLE 11u   /* its low four bits: rare in counts, pointers and text */

HYP_INLINE hypi_block *hypi_no_block(uintptr_t base) { return (hypi_block *)(base - 16); }

HYP_INLINE uint64_t hypi_link_make(const hypi_block *next) { return (uintptr_t)next ^ hypi_link_key; }
HYP_INLINE hypi_block *hypi_link_read(const hypi_block *block) { return (hypi_block *)(block->link ^ hypi_link_key); }

/* Whether an address lies in the carved blocks. */
HYP_INLINE bool hypi_span_holds(const hypi_span *span, const void *address) {
	return (uintptr_t)address - span->base < hypi_load_relaxed(&span->carved_bytes);
}

/* Whether a word may be a link of this span: that it decodes into the carved blocks, or to the end. */
HYP_INLINE bool hypi_span_links(const hypi_span *span, const hypi_block *block) {
	return (uintptr_t)hypi_link_read(block) - span->base + 16 < hypi_load_relaxed(&span->carved_bytes) + 16;
}

/* Whether a block's first byte is not that of a link: then it is not free. */
HYP_INLINE bool hypi_block_unlinked(const void *block) {
	return (*(const unsigned char *)block & 15) != HYPI_LINK_NIBBLE;
}

HYP_INLINE uint32_t hypi_span_frees(const hypi_span *span) {
	return hypi_load_relaxed(&span->due) - hypi_load_relaxed(&span->left);
}

/* Blocks handed out and not known to be back; a remote chain counts as live until it is collected. */
HYP_INLINE uint32_t hypi_span_live(const hypi_span *span) {
	return hypi_load_relaxed(&span->allocs) - hypi_span_frees(span);
}

/* Owner: the next event is `count` local frees away; 0: never. */
HYP_INLINE void hypi_span_set_left(hypi_span *span, uint32_t count) {
	uint32_t frees = hypi_span_frees(span);
	hypi_store_relaxed(&span->left, count);
	hypi_store_relaxed(&span->due, frees + count);
}

/* Owner: counts `count` frees that did not come through the local list. */
HYP_INLINE void hypi_span_add_frees(hypi_span *span, uint32_t count) {
	hypi_store_relaxed(&span->due, hypi_load_relaxed(&span->due) + count);
}

/* Whether `offset` (< 2^32) is that of a block's first byte (Lemire, Kaser, Kurz 2019). */
HYP_INLINE bool hypi_span_divides(const hypi_span *span, uint64_t offset) {
	return offset * span->inverse < span->inverse;
}

/* Takes a run for a span of class `c` and makes its record; no block is carved yet. NULL with errno. */
hypi_span *hypi_span_create(hypi_large_pool *pool, unsigned c, struct hypi_heap *owner);

/* Gives the run and the record back. No block of it is in use and no other thread knows it. */
void hypi_span_destroy(hypi_large_pool *pool, hypi_span *span);

/* Puts at most a page's worth of fresh blocks (at least one) on the empty free list. False: the span is carved whole.
 * Touches no page beyond those blocks'. */
bool hypi_span_carve(hypi_span *span);

/* Blocks that the span can hold. */
HYP_INLINE uint32_t hypi_span_capacity(const hypi_span *span) {
	return (uint32_t)(((size_t)span->slices << HYPI_SLICE_LOG2) / span->block_bytes);
}

/* Any thread that is not the owner: frees a chain of `count` blocks, linked from `head` to `tail`. True: the caller must
 * now put the span on its owner's pending stack. False: it may not touch the span any more. */
bool hypi_span_push_remote(hypi_span *span, hypi_block *head, hypi_block *tail, uint32_t count);

/* Owner, with an empty free list: makes the remote chain the free list. Returns how many blocks it had. */
uint32_t hypi_span_collect(hypi_span *span);

/* Whether `block` is in the free list or the remote chain. The owner's list may be changing: then false may be wrong. */
bool hypi_span_is_free(const hypi_span *span, const hypi_block *block);

/* NULL, or what is wrong. Nobody else uses the span meanwhile. Cost: all blocks. */
const char *hypi_span_check(const hypi_span *span);

#endif
