/*
 * heap/heap.h: a heap: one thread's front end to an engine, and the engine itself.
 *
 * An engine is everything behind one pool: a large-block pool and the heaps over it. The process's malloc is the
 * default engine. A heap has for each size class a list of free blocks, which is what malloc takes from and free puts
 * to (tcmalloc's idea: Ghemawat, Menage 2005), and the spans that the blocks come from. The list is refilled with a
 * whole span's free blocks in a few instructions, and what overflows goes back to the list of each block's own span
 * (mimalloc's: Leijen, Zorn, de Moura 2019), so that spans run empty and there is no middle layer under a lock.
 *
 * Who may touch what: a heap's fields are its thread's alone, but for `pending` (any thread pushes) and `state`. A heap
 * whose thread is gone is an orphan: whoever takes it by a compare-and-swap of `state` is its thread from then on.
 * Engine fields under `lock` say so. Lock ranks, outermost first: engines list, engine lock, large-block pool, metadata.
 *
 * A block of another thread's span is put on the list of who frees it, and allocated again from there, as long as it
 * fills a cache line at least (smaller ones would let two threads write to one line: Berger et al. 2000); above 4 KiB only
 * when that thread asks for such blocks itself (one that only frees would hold much). What overflows,
 * and other blocks at once, travel home by message passing (snmalloc: Lietar et al. 2019): the thread gathers blocks
 * of one span in its outbox and pushes them as one chain on the span, which then goes on its owner's pending stack,
 * which the owner looks through in its slow path.
 *
 * Counters of a list. allocs and frees only rise (modulo 2^32), each with one writer. `left` counts frees down to the
 * next hypi_heap_event (1 in a new heap: the first free is one), and frees = due + 1 - left: one decrement is the counter, the bound on the list's length, and the
 * clock. The list has stock + frees - allocs blocks; `stock` changes with refills and returns.
 *
 * The block freed last is held back: it goes on its list with the next free. So the address that a free stores to is
 * known long before the next malloc loads from it; a store whose address comes late, from the block just freed through
 * the page map, delays that load (a malloc + free pair took 1.6 times as long). A held block counts as freed; its first word
 * says so (hypi_link_mark), and is looked at before it goes on.
 *
 * Invariants (hypi_heap_check, when the heap stands still): a list's blocks belong to spans of the engine and the class,
 * are out of them, and are as many as the counters say; a span with a block in its own list is in its bin's, any other
 * in none; a bin's carving span is the only one of its class that is not carved whole.
 */
#ifndef HYPI_HEAP_HEAP_H
#define HYPI_HEAP_HEAP_H

#include "base/fatal.h"
#include "core/span.h"

#define HYPI_TICK 128u          /* most local frees of a class between two events */
#define HYPI_LOOK_EVENTS 8      /* slow paths between two looks at the clock */
#define HYPI_LOOK_FIRST 64      /* before the first: a process that needs no more never touches what reading it takes */
#define HYPI_ABROAD_BYTES 4096u /* blocks up to here go on the list of any thread that frees them */
#define HYPI_BULK_EVENTS 64u    /* too long lists in a row, after which a heap frees in bulk (heap/bulk.c) */
#define HYPI_BULK_BYTES 4096u   /* blocks up to here */
#define HYPI_WINDOW_BULK (UINTPTR_MAX - 1) /* `window` of a heap that does: no block lies there */
#define HYPI_OUTBOX_ENTRIES 32u
#define HYPI_OUTBOX_BYTES 4096u /* blocks of one span gathered before they are pushed */
#define HYPI_CACHE_ENTRIES 8u   /* freed large blocks that a heap keeps */

typedef enum hypi_heap_state { HYPI_HEAP_OWNED, HYPI_HEAP_ORPHAN, HYPI_HEAP_LOST } hypi_heap_state;

typedef struct hypi_outbox_entry {
	hypi_span *span;
	hypi_block *head, *tail;
	uint32_t count;
} hypi_outbox_entry;

/* The hot part of a class. Owner writes, any thread may read the counters. */
typedef struct hypi_list {
	hypi_block *head; /* newest free block; NULL: none */
	_Atomic uint32_t allocs;
	_Atomic uint32_t left;
} hypi_list;

_Static_assert(sizeof(hypi_list) == 16, "a class's list is found at its size, and at its tag");

/* The rest of it. Owner only, but for the atomics, which it alone writes. */
typedef struct hypi_bin {
	hypi_span *first, *last; /* spans with free blocks of their own, the one to use next first */
	hypi_span *carving;      /* the span that fresh blocks come from, or NULL */
	uint32_t stock;          /* blocks put to the list by refills, less those returned */
	uint32_t limit, slack;   /* length above which the list overflows; least frees between two events */
	uint32_t seen;           /* allocs when the heap last looked after itself */
	uint32_t event_allocs;   /* allocs at the last event */
	bool returned;           /* the list overflowed since it was last refilled */
	bool asks;               /* the limits are those of a class that the thread asks for */
	_Atomic uint32_t due;
	_Atomic uint32_t spans, slices;
	_Atomic uint64_t sent; /* blocks that this thread freed past the list: of other heaps, and in bulk */
	_Atomic uint64_t past_allocs, past_frees; /* counted before the 32-bit counters were set back */
} hypi_bin;

/* Large blocks, in usable bytes. A heap's has one writer. */
typedef struct hypi_large_count {
	_Atomic uint64_t allocs, frees, allocated_bytes, freed_bytes;
} hypi_large_count;

struct hypi_sampler;
struct hypi_slot;
struct hypi_handle_chunk;

typedef struct hypi_heap {
	hypi_list lists[HYPI_CLASSES + 1]; /* the last is nobody's: `nothing` goes there */
	uintptr_t window;                  /* of the page map: the one that the heap's last new span lies in */
	hypi_leaf *leaf;                   /* that window's */
	_Atomic(hypi_block *) held;        /* freed last, not on its list yet; none: `nothing` */
	_Atomic size_t held_tag;           /* of its class */
	hypi_block nothing;
	uintptr_t bulk_window; /* what `window` was, while frees go in bulk; else UINTPTR_MAX. Owner */
	uint64_t look_ms;      /* when the heap next looks after itself */
	uint64_t grown_ns;     /* when idle classes last returned what they hold */
	int32_t ticks;         /* events since it last asked for the time */
	uint32_t slices;       /* of its spans */
	uint32_t grown;        /* slices of new spans since idle classes last returned what they hold */
	uint8_t bulk_events; /* in a row that found a list too long, and nothing asked for: up to HYPI_BULK_EVENTS. Owner */
	bool shelved;        /* without a thread: hypi_heap_shelve */
	bool busy;           /* inside a slow path: after a fork, lists may be half changed */
	bool guard_armed; /* the next allocation in the slow path gets guard pages (heap/guard_sample.c); owner, as are: */
	uint8_t guard_class;
	uint8_t pages_failed, pages_wait; /* calls in vain, and looks up to the next (heap/pages.c); owner */
	uint32_t until_guard, guard_rest_count;
	hypi_block *guard_rest; /* the list of guard_class, set aside meanwhile */
	uint64_t guard_random;
	hypi_bin bins[HYPI_CLASSES];
	hypi_outbox_entry outbox[HYPI_OUTBOX_ENTRIES];
	hypi_large_count large_count;
	hypi_span *cache[HYPI_CACHE_ENTRIES]; /* oldest first */
	uint32_t cached;
	size_t cached_bytes;
	_Atomic(hypi_span *) pushing;           /* on its owner's pending stack, where a fork may come in between */
	struct hypi_sampler *sampler;           /* NULL: nothing is picked (heap/sample.h) */
	uint32_t sample_generation;             /* of the last change that the heap knows */
	struct hypi_quarantine *quarantine;     /* freed blocks that wait (heap/harden.h); owner; NULL: none */
	struct hypi_slot *slots;                /* free handles (pool/handle.h); owner */
	struct hypi_handle_chunk *slot_chunk;   /* new ones come from here; owner */
	_Atomic(struct hypi_slot *) slots_back; /* handles of this heap that other threads freed */
	/* Who frees a block of this heap reads its engine: not on a line that the owner writes as it frees (a server load on
	 * four threads took a quarter longer). */
	HYP_CACHE_ALIGNED struct hypi_engine *engine;
	struct hypi_heap *next;        /* all heaps of the engine; engine lock */
	struct hypi_heap *next_orphan; /* engine lock */
	uint32_t kept;                 /* slices of an orphan that was left as it was; engine lock, as is: */
	uint64_t kept_ms;              /* since when */
	HYP_CACHE_ALIGNED _Atomic(hypi_span *) pending;
	_Atomic uint32_t state;
} hypi_heap;

typedef struct hypi_engine {
	hypi_large_pool large;
	hypi_lock lock;
	hypi_heap *heaps;   /* every heap ever made */
	hypi_heap *orphans; /* stack of heaps without a thread; a taken one is skipped */
	uint32_t heap_count;
	_Atomic uint32_t kept; /* slices of all such orphans; engine lock to write */
	hypi_lock limbo_lock;
	_Atomic(hypi_heap *) sampled; /* holds the blocks that the sampler picked; the sample lock */
	hypi_heap *limbo;             /* serves threads that are past their own heap's end */
	size_t threshold_bytes;       /* requests from here on are large blocks */
	size_t large_cache_bytes;     /* most that one heap keeps */
	uint64_t serial;              /* names the engine in threads' tables; never used again for another */
	uint64_t front_serial;        /* `serial`, or HYPI_NO_FRONT when every call must come to the slow path */
	bool zero_on_alloc, zero_on_free;
	hypi_span *huges;                               /* huge blocks, so that a pool can be emptied; `lock` */
	void *pool;                                     /* what lib/pool keeps beside the engine */
	_Atomic uint32_t clock_ms;                      /* coarse; moved by the calls of hypool/handle.h */
	HYP_CACHE_ALIGNED hypi_large_count large_count; /* by threads without a heap; any thread adds */
	_Atomic uint64_t failures;                      /* requests that ended in NULL */
	_Atomic uint64_t peak_bytes, peak_active;
	_Atomic uint64_t homeless_frees[HYPI_CLASSES]; /* by threads without a heap */
	struct hypi_engine *next, *prev;               /* all engines; engines lock */
} hypi_engine;

/* What a thread knows: the whole of hypool's thread-local storage. */
typedef struct hypi_thread {
	hypi_heap *front;     /* what malloc and free look at; hypi_heap_none sends every call down the slow path */
	hypi_heap *heap;      /* the thread's own heap in the default engine, or NULL */
	uint64_t pool_serial; /* of the engine that the thread's last pool call used; 0: none */
	hypi_heap *pool_heap; /* the thread's heap there; never NULL */
	struct hypi_pool_table *pools; /* its heaps in all other engines, or NULL */
	uint32_t rounds;               /* times the exit handler has run */
	bool exiting;                  /* past its last round: allocates from limbo */
	bool hooked;                   /* inside a hook of heap/sample.h */
	bool starting;                 /* inside hypi_heap_mine: a nested call must not start again */
	uint8_t strays;                /* frees before it had a heap */
	const char *reason;            /* why the last pool was refused; NULL: none was */
} hypi_thread;

extern HYP_HIDDEN HYP_TLS hypi_thread hypi_self;
extern HYP_HIDDEN hypi_heap hypi_heap_none;
extern HYP_HIDDEN hypi_engine hypi_default_engine;
extern hypi_lock hypi_engines_lock;
extern hypi_engine *hypi_engines; /* all; under that lock */

#define HYPI_DEFAULT_SERIAL UINT64_C(0x10000)
#define HYPI_NO_FRONT UINT64_MAX

/* ---- process ---- */

/* Makes the default engine ready. Idempotent, any thread, before anything else. */
void hypi_process_init(void);

void hypi_engine_init(hypi_engine *engine, const hyp_backing *backing, size_t arena_bytes, uint64_t decay_ms);

/* The calling thread's heap in the default engine; NULL when there is no memory for one, or the thread is past it. */
hypi_heap *hypi_heap_mine(void);

/* Makes or adopts a heap of `engine` for the calling thread. NULL: no memory. */
hypi_heap *hypi_heap_acquire(hypi_engine *engine);

/* Makes a heap that is nobody's before. NULL: no memory. */
hypi_heap *hypi_heap_create(hypi_engine *engine);

/* ---- engines of pools (heap/engine.c) ---- */

/* Gives an initialised engine its serial and lists it. HYP_ERR_LIMIT: too many pools. */
HYP_MUST_USE hyp_status hypi_engine_register(hypi_engine *engine);
void hypi_engine_unregister(hypi_engine *engine);

/* Forgets every heap and gives every block back, whoever has it. The engine has a new serial: what threads remember of
 * it is void. `keep_arenas`: they stay, purged; else they are released. No other thread is inside a call on it. */
void hypi_engine_empty(hypi_engine *engine, bool keep_arenas);

/* The engine whose span this is. The span is in use. */
HYP_INLINE hypi_engine *hypi_span_engine(const hypi_span *span) {
	if (hypi_load_relaxed(&span->kind) == HYPI_SPAN_SMALL) return hypi_load_relaxed(&span->owner)->engine;
	return span->engine;
}

/* The calling thread's heap in `engine`: NULL when it has none; hypi_heap_for makes it, and returns NULL when there is
 * no memory or the thread is at its end. */
hypi_heap *hypi_heap_of_pool(hypi_engine *engine);
hypi_heap *hypi_heap_for(hypi_engine *engine);
HYP_INLINE hypi_heap *hypi_heap_of(hypi_engine *engine) {
	return HYP_LIKELY(engine == &hypi_default_engine) ? hypi_self.heap : hypi_heap_of_pool(engine);
}

/* Abandons the thread's heaps in the engines that still exist. */
void hypi_pool_heaps_exit(void);

/* The class that serves a request of `bytes` at an alignment; HYPI_CLASSES: it is a large block. */
unsigned hypi_class_for(size_t bytes, size_t alignment);

/* Any engine. `heap`: the caller's there, or NULL. NULL with ENOMEM; counts the failure. */
void *hypi_engine_alloc(hypi_engine *engine, hypi_heap *heap, size_t bytes, size_t alignment, bool zero);

/* Sends off what the heap holds for others, gives back what it can, and makes it an orphan. */
void hypi_heap_abandon(hypi_heap *heap);
/* Any thread: orphans that were kept for the next thread since then or longer give back what they have. */
void hypi_heap_trim_kept(hypi_engine *engine, uint64_t since_ms);

/* ---- the slow paths; each returns NULL with errno ENOMEM on failure ---- */

void *hypi_alloc_slow(size_t bytes);                      /* any size, default engine */
void *hypi_alloc_zeroed(size_t bytes);                    /* calloc of a checked product */
void *hypi_alloc_aligned(size_t bytes, size_t alignment); /* a power of two */
void hypi_free_slow(void *p);                             /* any pointer */
void hypi_free_long(void *p);                             /* the same, not in bulk */
void *hypi_realloc_slow(void *p, size_t bytes);           /* any pointer, and NULL */

/* A block of class `c` from `heap`, which is the caller's. *ret_zeroed: its contents read as zero. */
void *hypi_heap_alloc(hypi_heap *heap, unsigned c, bool *ret_zeroed);

/* Class `c`'s `left` reached 0: its list may be too long, and time may have passed. The caller owns the heap. */
void hypi_heap_event(hypi_heap *heap, unsigned c);

HYP_INLINE uint32_t hypi_list_frees(const hypi_heap *heap, unsigned c) {
	return hypi_load_relaxed(&heap->bins[c].due) + 1 - hypi_load_relaxed(&heap->lists[c].left);
}

HYP_INLINE uint32_t hypi_list_length(const hypi_heap *heap, unsigned c) {
	return heap->bins[c].stock + hypi_list_frees(heap, c) - hypi_load_relaxed(&heap->lists[c].allocs);
}

#define HYPI_TAG_NONE ((size_t)HYPI_CLASSES * 16) /* of `nothing` */
#define HYPI_TAG_HELD ((size_t)95 * 16)           /* blocks of classes below this are held back: up to 64 KiB */

/* Any thread: whether the heap holds this block back; then it is free. */
HYP_INLINE bool hypi_heap_holds(const hypi_heap *heap, const void *p) { return hypi_load_relaxed(&heap->held) == p; }

/* Ends the process when a block that is held back was written to since it was freed. */
HYP_INLINE void hypi_heap_check_held(const hypi_block *held) {
	if (HYP_CHECKS && HYP_UNLIKELY(!hypi_link_marked(held))) hypi_fatal("free list corrupted", held, 0);
}

/* Any thread: whether some heap of the engine holds it back. Cost: the engine's lock, and all its heaps. */
bool hypi_engine_holds(hypi_engine *engine, const void *p);

/* Any thread: whether the heap holds back a block of class `c`. */
HYP_INLINE bool hypi_heap_holds_class(const hypi_heap *heap, unsigned c) {
	return hypi_load_relaxed(&heap->held_tag) == hypi_class_tag(c);
}

/* Owner: a span got blocks back: it is listed, or given back when it is empty. */
void hypi_heap_place(hypi_heap *heap, hypi_span *span);

/* Nothing is held any more: what was is on its list (hypi_heap_settle), or never mattered. */
void hypi_heap_hold_nothing(hypi_heap *heap);

/* Owner: puts the held block on its list. */
void hypi_heap_settle(hypi_heap *heap);

/* Owner: sets when the next event of the class comes. */
void hypi_list_arm(hypi_heap *heap, unsigned c);

/* Owner: `count` blocks passed; when one is due, an allocation soon gets guard pages, one of class `c` if that is below
 * HYPI_CLASSES (heap/guard_sample.c). */
void hypi_guard_due(hypi_heap *heap, unsigned c);
HYP_INLINE void hypi_guard_pass(hypi_heap *heap, unsigned c, uint32_t count) {
	if (HYP_UNLIKELY(count >= heap->until_guard)) hypi_guard_due(heap, c);
	else heap->until_guard -= count;
}
/* Owner: takes that back; the list that was set aside is whole again. */
void hypi_guard_disarm(hypi_heap *heap);

/* The heap's own clock: gives back what has been idle, and lets the engine purge. */
void hypi_heap_look(hypi_heap *heap);

/* Gives back whole pages of free blocks in the heap's spans; `seen_only`: of those that lay free at the last such call.
 * Returns how many bytes (heap/pages.c). */
size_t hypi_heap_release_pages(hypi_heap *heap, bool seen_only);

/* Gives back every empty span, the cache and the outbox. */
void hypi_heap_trim(hypi_heap *heap);
/* Of that only what others may wait for: the outbox, the cache, and what lies pending. */
void hypi_heap_rest(hypi_heap *heap);

/* For a heap that is about to lose its thread: from now on even a span that is being carved goes back when it is empty. */
void hypi_heap_shelve(hypi_heap *heap);

/* Around what changes a heap in more than one step: a fork in between leaves the heap to nobody in the child. */
HYP_INLINE bool hypi_heap_enter(hypi_heap *heap) {
	bool was_busy = heap->busy;
	heap->busy = true;
	atomic_signal_fence(memory_order_seq_cst);
	return was_busy;
}

HYP_INLINE void hypi_heap_leave(hypi_heap *heap, bool was_busy) {
	atomic_signal_fence(memory_order_seq_cst);
	heap->busy = was_busy;
}

/* ---- frees in bulk (heap/bulk.c); owner ---- */

/* The list of class `c` was found too long. */
void hypi_bulk_due(hypi_heap *heap, unsigned c);
/* Blocks are asked for: frees put them on lists again, and the events are counted anew. */
void hypi_bulk_end(hypi_heap *heap);
/* Frees `p`, which may be anything in the heap's `bulk_window`. */
void hypi_bulk_free(hypi_heap *heap, void *p);

/* ---- frees of other threads (heap/remote.c) ---- */

/* `heap`: the caller's, or NULL: then the block is pushed at once. */
void hypi_remote_free(hypi_heap *heap, hypi_span *span, hypi_block *block);
/* The same, of a chain of a span's blocks whose frees were counted before. */
void hypi_remote_send(hypi_heap *heap, hypi_span *span, hypi_block *head, hypi_block *tail, uint32_t count);
void hypi_remote_flush(hypi_heap *heap);
/* In a forked child, for the heap of a thread that is not in it: finishes the push that the fork cut, if any. */
void hypi_remote_forked(hypi_heap *heap);
/* Any thread: looks after an orphan for a moment, as long as something lies on its pending stack. */
void hypi_heap_reclaim(hypi_heap *heap);
/* Collects what others freed; returns whether any span was looked at. */
bool hypi_heap_drain(hypi_heap *heap);

/* ---- large blocks (heap/large.c) ---- */

/* `heap`: the caller's, or NULL. Any alignment that is a power of two. */
void *hypi_large_alloc(hypi_engine *engine, hypi_heap *heap, size_t bytes, size_t alignment, bool zero);
void hypi_large_free(hypi_engine *engine, hypi_heap *heap, hypi_span *span);
/* The common pair of them, in a few instructions. Owner. The block that the heap freed last, if it is of the right size;
 * NULL: ask hypi_large_alloc. And whether a block that is being freed was kept; false: nothing happened. */
void *hypi_large_again(hypi_heap *heap, size_t bytes);
bool hypi_large_keep(hypi_heap *heap, hypi_span *span);
/* Grows or shrinks where it is or by moving pages; NULL: the caller must copy. */
void *hypi_large_resize(hypi_engine *engine, hypi_heap *heap, hypi_span *span, void *p, size_t bytes);
/* Moves the first `bytes` of one large block to a new one by their pages. HYP_ERR_UNSUPPORTED: the caller must copy.
 * HYP_ERR_NO_MEMORY: `q` is lost, `p` is as it was. */
HYP_MUST_USE hyp_status hypi_large_move(hypi_engine *engine, void *p, void *q, size_t bytes);
/* Sums over heaps. The caller holds the engine's lock, or no other thread uses the engine. */
void hypi_large_count_sum(const hypi_engine *engine, hypi_large_count *ret_sum);
uint64_t hypi_large_live_bytes(const hypi_engine *engine);
void hypi_large_cache_flush(hypi_heap *heap, uint64_t older_than_ms);

/* ---- questions ---- */

/* What to call it when a pointer is not that of a live block. */
typedef struct hypi_misuse {
	const char *invalid, *misaligned, *freed;
} hypi_misuse;

extern const hypi_misuse hypi_misuse_free;

/* The span of a live block by the address that malloc gave; or the process ends with the name of the misuse. */
hypi_span *hypi_span_of_block(const void *p, const hypi_misuse *misuse);

const char *hypi_heap_check(hypi_heap *heap);
/* NULL, or what is wrong anywhere in the engine. No thread uses it meanwhile. */
const char *hypi_engine_check(hypi_engine *engine);

#endif
