/*
 * heap/harden.h: the stronger checks, option `harden` 2 and 3. They cost the hit paths nothing: at these levels every
 * thread's front stays hypi_heap_none, so each call comes to the slow path (heap/malloc.c), which comes here.
 *
 * What is known of a small block stands out of band, in its span's shadow: one word a block with its state and the
 * exact size that was asked for. So a free of what is free already is told whatever the block holds, also after the
 * memory was written over. From the asked size to the block's end stands a canary of bytes that are never 0, which
 * depend on the address and the process's secret; it is compared when the block is freed or reallocated, and, before
 * that, the end of the block in front of it, which is where an underflow goes. A freed block is cleared, waits in its
 * thread's quarantine, and is compared with zero when it leaves (its first bytes) and, whole, when it is handed out
 * again. Which block leaves the quarantine, and which of eight fresh ones is handed out, is random.
 *
 * A block of `guard_from_bytes` or more (level 2: the large threshold; level 3: 128 KiB) is a mapping of its own that
 * ends at a page without access and begins behind one. Freed, its pages go back and its addresses stay without access
 * for a while: whoever touches it is stopped by the processor (SIGSEGV). There are at most GUARDS_MOST of them at a
 * time, under a quarter of the kernel's usual table of mappings with three entries each; beyond, blocks are placed as
 * ever, with a canary. At level 3 one in GUARD_EVERY small ones gets a page of heap/guard_sample.c, where one is free,
 * else such a mapping.
 *
 * Limits: the first block of a span has none in front, so its underflow is not told; a block that the sampler picked
 * is freed without quarantine; what is handed out while the options are not known yet (before the C library has set
 * the environment), and what pools other than the default hand out, is checked as at level 1.
 *
 * Who may touch what: a shadow word changes by its block's holder, with HYPI_SHADOW_BUSY while the canary or the block
 * is being written; a neighbour's look reads word, bytes, word, and believes the bytes when the word stood still. A
 * quarantine belongs to its heap's thread. The ring of freed guarded blocks has a lock, outermost beside limbo's.
 *
 * Learned from: hardened_malloc (Micay, 2016): canaries, zero on free with a check, random + FIFO quarantine; PartitionAlloc
 * and Electric Fence (Perens, 1987): guard pages; DieHard (Berger, Zorn 2006): random placement.
 */
#ifndef HYPI_HEAP_HARDEN_H
#define HYPI_HEAP_HARDEN_H

#include "heap/heap.h"

/* Written once, at the start; at level 3 its page is read-only from then on. */
typedef struct hypi_harden_config {
	uint32_t level;          /* 2 or 3 when this file is in charge, else 0 */
	uint64_t key;            /* of the canaries */
	size_t guard_from_bytes; /* requests from here on get guard pages */
	size_t hold_bytes;       /* most that one quarantine holds */
	uint32_t sample_every;   /* level 1: small allocations to one with guard pages; 0: none */
	uint32_t slots;          /* pages for such */
} hypi_harden_config;

typedef union hypi_harden_page {
	hypi_harden_config config;
	char page[HYPI_SLICE_BYTES];
} hypi_harden_page;

extern hypi_harden_page hypi_harden;

HYP_INLINE bool hypi_hardened(void) {
#if HYP_CHECKS
	return HYP_UNLIKELY(hypi_harden.config.level >= 2);
#else
	return false;
#endif
}

/* Whether a block's span is one that is hardened, when any is. */
HYP_INLINE bool hypi_hardens(const hypi_engine *engine) { return hypi_hardened() && engine == &hypi_default_engine; }

/* Reads the option and takes charge. Again when the options came late, as long as there is but one heap. */
void hypi_harden_init(void);

/* As hypi_engine_alloc, of the default engine. */
void *hypi_harden_alloc(hypi_heap *heap, size_t bytes, size_t alignment, bool zero);

/* A block is freed; the caller has found its span. True: nothing was known of it, the caller frees it as ever. */
bool hypi_harden_free(hypi_heap *heap, hypi_span *span, void *p);

/* The same for a small block that is plainly live, with all checks of its address; false: nothing happened. */
bool hypi_harden_free_small(void *p);

/* The size that a live block was asked for with, its canary checked; `unknown` when nothing is known of it. */
size_t hypi_harden_asked(hypi_span *span, const void *p, const hypi_misuse *misuse, size_t unknown);

/* Changes the asked size where the block is; false: it must move. */
bool hypi_harden_resize(hypi_span *span, void *p, size_t bytes);

/* Empties the heap's quarantine, and forgets it. */
void hypi_harden_flush(hypi_heap *heap);

void hypi_harden_fork_prepare(void);
void hypi_harden_fork_parent(void);
void hypi_harden_fork_child(void);

/* ---- guarded blocks (heap/guard.c) ---- */

/* A block with pages without access on both sides; NULL: not possible now, place it as ever. It reads as zero. */
void *hypi_guard_alloc(size_t bytes, size_t alignment);
/* Checks what stands around a guarded block; the process ends when it was written to. */
void hypi_guard_check(const hypi_span *span);
/* Grows or shrinks where it is; false: nothing changed. */
bool hypi_guard_resize(hypi_span *span, size_t bytes);
void hypi_guard_free(hypi_span *span);
/* Gives the address space of freed ones back; false: there was none. */
bool hypi_guard_flush(void);
HYP_INLINE bool hypi_guarded(const hypi_span *span) {
	return hypi_load_relaxed(&span->kind) == HYPI_SPAN_HUGE && span->first != 0;
}
/* Whether the block's exact size is known, and its surroundings are looked at. */
HYP_INLINE bool hypi_watches(const hypi_engine *engine, const hypi_span *span) {
	return hypi_hardens(engine) || (HYP_CHECKS && hypi_guarded(span));
}
/* Writes the canary around a guarded block in [from, to). */
void hypi_guard_fill(const hypi_span *span, uintptr_t from, uintptr_t to);
/* As a large one, of the default engine. `heap`: the caller's, or NULL. */
void hypi_harden_count(hypi_heap *heap, const hypi_span *span, bool freed);

/* ---- sampled ones (heap/guard_sample.c) ---- */

#define HYPI_GUARD_SLOT 2u /* `first` of their spans */

/* Whether a small block may be guarded now: three milliseconds have passed since one was. */
bool hypi_guard_turn(void);
/* A page between pages without access; NULL: none is free, or too much was asked for. */
void *hypi_guard_slot_alloc(size_t bytes, size_t alignment);
/* The heap, which is the caller's, is armed: a guarded block, or NULL: go on as ever. */
void *hypi_guard_pick(hypi_heap *heap, size_t bytes, size_t alignment, bool zero);
void hypi_guard_slot_free(hypi_span *span);
void hypi_guard_sample_fork_prepare(void);
void hypi_guard_sample_fork_parent(void);
void hypi_guard_sample_fork_child(void);

/* ---- canaries ---- */

/* The byte of the canary at an address: never 0. */
HYP_INLINE uint64_t hypi_canary_of(uintptr_t block) {
	return hypi_mix64(block ^ hypi_harden.config.key) | UINT64_C(0x0101010101010101);
}
/* Writes it to [from, to) (of a long range: the first and last bytes); finds the first byte that differs or NULL. */
void hypi_canary_write(uint64_t canary, void *from, void *to);
const void *hypi_canary_differs(uint64_t canary, const void *from, const void *to);

/* ---- heap/malloc.c ---- */

void *hypi_engine_alloc_plain(hypi_engine *engine, hypi_heap *heap, size_t bytes, size_t alignment, bool zero);
/* The end of every free, after all checks. */
void hypi_free_checked(hypi_engine *engine, hypi_heap *heap, hypi_span *span, void *p);

#endif
