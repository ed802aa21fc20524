/*
 * heap/pages.c: gives back the pages of free blocks in spans that are still in use.
 *
 * A span of large classes is often kept by one block while the others are free, and their memory is of no use to any
 * other class. A free block needs its first words (core/span.h); the pages wholly behind them can go back, and come again
 * as zeroes when the block is handed out and written to. This is done when the heap looks after itself, for blocks that
 * lay free since its last look, and on hyp_trim for all. (Whenever the heap grew, too, it took 60 % more page faults in a
 * run of gcc and saved less than 1 % of its memory.)
 *
 * A word behind the link says what was done: seen, or given back. It is bound to the block's address, and a program's data
 * look so about once in 2^63; one that is stale, of a block that was handed out and not written to there, makes the
 * pages go back too early or not at all, and nothing else.
 *
 * Where the kernel refuses (a sandbox, locked memory), a call gives up after MOST_REFUSED pages that it did not take, and
 * when it took none at all the next looks pass without asking: one, then two, then four, up to 2^MOST_WAIT_LOG2, until one
 * succeeds. What the program asks for itself (hyp_trim) is always tried.
 *
 * Only blocks in their span's own list, never those in the heap's, which are the next to be handed out. A span all of
 * whose free blocks were given back is HYPI_RESTED until it gets another, so that no block is visited twice. Owner only.
 */
#include "heap/harden.h"
#include "heap/heap.h"

#define SEEN UINT64_C(0x9ae16a3b2f90404f)
#define GONE UINT64_C(0xc3a5c85c97cb3127)

enum { MOST_REFUSED = 8, MOST_WAIT_LOG2 = 6 };

typedef struct tally {
	size_t released; /* bytes */
	unsigned refused;
} tally;

typedef struct resting {
	hypi_block block;
	uint64_t mark; /* SEEN or GONE, ^ the block's address */
} resting;

/* Gives back what can go of a block; false: there is more to do for it at a later call. */
static bool release_block(hypi_large_pool *pool, resting *r, size_t bytes, bool seen_only, tally *sum) {
	size_t page = hypi_os.page_bytes > pool->backing.granule_bytes ? hypi_os.page_bytes : pool->backing.granule_bytes;
	uintptr_t at = (uintptr_t)r, from = hypi_round_up(at + sizeof *r, page), to = hypi_round_down(at + bytes, page);
	bool seen = r->mark == (SEEN ^ at);
	if (r->mark == (GONE ^ at) || to <= from) return true;
	r->mark = SEEN ^ at;
	if ((seen_only && !seen) || sum->refused >= MOST_REFUSED) return false;
	if (pool->backing.purge(pool->backing.context, from, to - from) != HYP_OK) {
		hypi_add_relaxed(&pool->purge_failures, 1);
		sum->refused++;
		return false;
	}
	r->mark = GONE ^ at;
	sum->released += to - from;
	return true;
}

static void release_span(hypi_large_pool *pool, hypi_span *span, bool seen_only, tally *sum) {
	bool all = true;
	for (hypi_block *block = span->free; block != NULL; block = hypi_link_follow(block))
		all &= release_block(pool, (resting *)block, span->block_bytes, seen_only, sum);
	if (all) span->place = HYPI_RESTED;
}

size_t hypi_heap_release_pages(hypi_heap *heap, bool seen_only) {
	hypi_large_pool *pool = &heap->engine->large;
	tally sum = {0};
	if (pool->backing.purge == NULL || hypi_hardens(heap->engine)) return 0; /* hardened: what is free is watched */
	if (seen_only && heap->pages_wait > 0) {
		heap->pages_wait--;
		return 0;
	}
	for (unsigned c = hypi_class_of(2 * hypi_os.page_bytes); c < HYPI_CLASSES; c++)
		for (hypi_span *span = heap->bins[c].first; span != NULL; span = span->next)
			if (span->place == HYPI_LISTED) release_span(pool, span, seen_only, &sum);
	if (sum.released > 0) {
		heap->pages_failed = 0;
	} else if (sum.refused > 0) {
		heap->pages_wait = (uint8_t)(1u << heap->pages_failed);
		if (heap->pages_failed < MOST_WAIT_LOG2) heap->pages_failed++;
	}
	hypi_add_relaxed(&pool->purged_bytes, sum.released);
	return sum.released;
}
