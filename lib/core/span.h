/*
 * core/span.h: a run of slices cut into equal blocks, and the record of a large block.
 *
 * Each span belongs to one heap for its whole life. A block is carved once, and from then on is out (with the program,
 * in a heap's list, or in another thread's hands) or in the span's own list, which the owner alone touches. Other
 * threads push whole chains on `remote`, one compare-and-swap a chain; blocks in the chain count as out until the owner
 * collects them. When nothing is out the span goes back.
 *
 * Link. A free block's first word is the next block's address, masked with the process's secret (0 masked: the last);
 * its second word is the first's complement, masked with the block's own address. Who takes a block off a list compares
 * the two: a list written over is told at once (the smallest block has both words). An allocated block's first word was
 * cleared when it was handed out, so two words that fit, and that decode to a block, are those of a block freed already:
 * a double free. Words that a program copies here with memory it never wrote fit no other address. Addresses are
 * multiples of 16, so every link's low four bits are the secret's, which are fixed: free looks at the first byte alone,
 * and at the words only when that fits. (A byte can be read while the program's own store to the word is still on its
 * way; a word cannot, and stalls: that was a third of the time of a malloc + free pair.)
 *
 * Invariants, checked by hypi_span_check when the owner stands still:
 *   the list holds `listed` blocks, and listed + out = carved blocks; the chain's blocks are among those out;
 *   every free block is distinct, aligned to the block size, and its words fit;
 *   carved_bytes is a multiple of block_bytes and at most slices * slice.
 */
#ifndef HYPI_CORE_SPAN_H
#define HYPI_CORE_SPAN_H

#include "base/atomic.h"
#include "base/fatal.h"
#include "core/large_pool.h"
#include "core/page_map.h"
#include "core/size_class.h"

typedef struct hypi_block {
	uint64_t link; /* masked address of the next free block */
	uint64_t twin; /* ~link ^ the block's address */
} hypi_block;

typedef enum hypi_span_kind {
	HYPI_SPAN_NONE,  /* a record not in use */
	HYPI_SPAN_SMALL, /* blocks of a size class */
	HYPI_SPAN_LARGE, /* one block, a run of the buddy system */
	HYPI_SPAN_HUGE,  /* one block, a mapping of its own */
	HYPI_SPAN_CACHED /* a large block that was freed and that a heap keeps for its next request */
} hypi_span_kind;

/* HYPI_RESTED: listed, and its free blocks' pages went back (heap/pages.c). HYPI_PICKED is of large blocks: the sampler
 * knows it (heap/sample.h). */
typedef enum hypi_span_place { HYPI_UNLISTED, HYPI_LISTED, HYPI_RESTED, HYPI_PICKED } hypi_span_place;

struct hypi_heap;
struct hypi_engine;

typedef struct hypi_span {
	/* What a free looks at; constant while the span lives, but for `bound` and `place` and the last four, which
	 * are the owner's. */
	uintptr_t base;
	union {
		uint64_t inverse;     /* small: the first number above 2^64 / block_bytes */
		uint64_t asked_plus1; /* large, huge, hardened: the size asked for, plus 1; 0: unknown */
	};
	_Atomic(struct hypi_heap *) owner; /* NULL for large blocks */
	uint64_t block_bytes;              /* usable bytes of each block */
	_Atomic uint64_t bound;            /* small: carved_bytes * inverse, see hypi_span_starts */
	_Atomic uint8_t kind;
	uint8_t class_index;
	bool zeroed;                   /* blocks not carved yet read as zero; large: it was fresh when it was handed out */
	uint8_t place;                 /* owner only */
	_Atomic uint32_t carved_bytes; /* blocks below this were handed out at least once or are in the list */
	hypi_block *free;              /* the list; NULL: empty. Owner only. */
	uint32_t listed, out;          /* blocks in the list; carved blocks that are not. Owner only. */

	/* The other threads' line. */
	HYP_CACHE_ALIGNED _Atomic uint64_t remote; /* a chain: offset of its first block | count << 32 | HYPI_PENDING */
	union {
		_Atomic(struct hypi_span *) pending_next; /* small: in the owner's pending stack */
		struct hypi_engine *engine;               /* large, huge, cached: whose it is */
	};
	hypi_arena *arena;             /* NULL: huge */
	struct hypi_span *next, *prev; /* in a bin's list; owner only. Huge: the engine's; engine lock */
	union {
		hypi_block *last;    /* small: the last block of the list, NULL: unknown. Owner only. */
		size_t mapped_bytes; /* huge: of the mapping, guard included */
	};
	union {
		uint64_t stamp_ms;        /* cached: since when */
		_Atomic uint32_t *shadow; /* small: one word a block (heap/harden.h), or NULL */
	};
	uint32_t slices;
	uint32_t first; /* slice in the arena; huge: 1: between guard pages (heap/guard.c), 0: not */
} hypi_span;

_Static_assert(sizeof(hypi_span) == 128, "a span record is two cache lines");
_Static_assert(offsetof(hypi_span, remote) == 64, "remote frees do not touch the first line");

/* In `remote`: the span is on its owner's pending stack, or the pusher that set the bit is about to put it there. The
 * record may not be recycled while it is set; only the owner's drain clears it. */
#define HYPI_PENDING (UINT64_C(1) << 63)

HYP_INLINE uint32_t hypi_chain_count(uint64_t remote) { return (uint32_t)(remote >> 32) & 0x7fffffffu; }

extern HYP_HIDDEN uint64_t hypi_link_key; /* set once, before the first span */
#define HYPI_LINK_NIBBLE 11u              /* its low four bits: rare in counts, pointers and text */

/* Marks a block as free that is on no list: its link says that nothing follows, its twin stays what it was. */
HYP_INLINE void hypi_link_mark(hypi_block *block) { block->link = hypi_link_key; }
HYP_INLINE bool hypi_link_marked(const hypi_block *block) { return block->link == hypi_link_key; }

/* Makes `next` (NULL: none) follow a free block. */
HYP_INLINE void hypi_link_set(hypi_block *block, const hypi_block *next) {
	const uint64_t key = hypi_link_key;
	uint64_t link = (uintptr_t)next ^ key;
	block->link = link;
	block->twin = (uintptr_t)next ^ (uintptr_t)block ^ ~key; /* ~link ^ block, ready as early as the link */
}

/* Whether a block's two words fit; if not, and the block is on a list, it was written to after it was freed. */
HYP_INLINE bool hypi_link_fits(const hypi_block *block) {
	return ((uintptr_t)block ^ block->twin ^ block->link) == UINT64_MAX;
}
HYP_INLINE hypi_block *hypi_link_get(const hypi_block *block) { return (hypi_block *)(block->link ^ hypi_link_key); }

/* As hypi_link_get, and ends the process when the words do not fit. */
HYP_INLINE hypi_block *hypi_link_follow(const hypi_block *block) {
	if (HYP_UNLIKELY(!hypi_link_fits(block))) hypi_fatal("free list corrupted", block, 0);
	return hypi_link_get(block);
}

/* Whether a block's first byte is not that of a link: then it is not free. */
HYP_INLINE bool hypi_block_unlinked(const void *block) {
	return (*(const unsigned char *)block & 15) != HYPI_LINK_NIBBLE;
}

/* Whether a block is on some list: its words fit and name another block or the end. Program data do not look so but by
 * chance, about once in 2^64. */
bool hypi_block_is_free(const hypi_block *block);

/* Whether an address lies in the carved blocks. */
HYP_INLINE bool hypi_span_holds(const hypi_span *span, const void *address) {
	return (uintptr_t)address - span->base < hypi_load_relaxed(&span->carved_bytes);
}

/* Whether `offset` (< 2^32) is that of a block's first byte (Lemire, Kaser, Kurz 2019). */
HYP_INLINE bool hypi_span_divides(const hypi_span *span, uint64_t offset) {
	return offset * span->inverse < span->inverse;
}

/* Both of the last two at once, of an address in the span's slices. The low 64 bits of block_bytes * inverse are a
 * step of 1 to block_bytes, those of block k's offset k steps: below `bound` for the blocks that are carved. Every other
 * offset's are at least `inverse`, which is far above. */
HYP_INLINE bool hypi_span_starts(const hypi_span *span, const void *address) {
	return ((uintptr_t)address - span->base) * span->inverse < hypi_load_relaxed(&span->bound);
}

/* Takes a run for a span of class `c` and makes its record; no block is carved yet. `home`: 0 or HYPI_TAG_HOME. NULL with
 * errno. */
hypi_span *hypi_span_create(hypi_large_pool *pool, unsigned c, uint32_t slices, struct hypi_heap *owner, size_t home);

/* Gives the run and the record back. No block of it is out and no other thread knows it. */
void hypi_span_destroy(hypi_large_pool *pool, hypi_span *span);

/* Carves at most a page's worth of fresh blocks, at least one, and links them in address order. Touches no page beyond
 * those blocks'. They are out: the caller's. Returns how many; 0: the span is carved whole. */
uint32_t hypi_span_carve(hypi_span *span, hypi_block **ret_first);

/* Owner: puts `count` blocks that were out on the list, linked from `first` to `last`. */
HYP_INLINE void hypi_span_put_chain(hypi_span *span, hypi_block *first, hypi_block *last, uint32_t count) {
	hypi_link_set(last, span->free);
	if (span->free == NULL) span->last = last;
	span->free = first;
	span->listed += count;
	span->out -= count;
}

/* Owner: puts a block that was out on the list. */
HYP_INLINE void hypi_span_put(hypi_span *span, hypi_block *block) { hypi_span_put_chain(span, block, block, 1); }

/* Owner: takes the whole list, which is not empty; its blocks are out. */
HYP_INLINE hypi_block *hypi_span_take(hypi_span *span) {
	hypi_block *first = span->free;
	span->free = NULL;
	span->out += span->listed;
	span->listed = 0;
	return first;
}

/* Blocks that the span can hold. */
HYP_INLINE uint32_t hypi_span_capacity(const hypi_span *span) {
	return (uint32_t)(((size_t)span->slices << HYPI_SLICE_LOG2) / span->block_bytes);
}

/* Bytes of the span's shadow, when it has one. */
HYP_INLINE size_t hypi_span_shadow_bytes(const hypi_span *span) {
	return hypi_span_capacity(span) * sizeof(_Atomic uint32_t);
}

/* Any thread that is not the owner: frees a chain of `count` blocks, linked from `head` to `tail`. True: the caller must
 * now put the span on its owner's pending stack. False: it may not touch the span any more. */
bool hypi_span_push_remote(hypi_span *span, hypi_block *head, hypi_block *tail, uint32_t count);

/* Owner: makes the remote chain the list; what was on it before is the caller's to put behind. Returns the chain's
 * length; 0: nothing changed. */
uint32_t hypi_span_collect(hypi_span *span);

/* NULL, or what is wrong. Nobody else uses the span meanwhile. Cost: all blocks. */
const char *hypi_span_check(const hypi_span *span);

#endif
