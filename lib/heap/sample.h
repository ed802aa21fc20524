/*
 * heap/sample.h: which allocations are looked at more closely, at no cost to the others.
 *
 * The sampler picks allocations so that each byte handed out is picked with the same small chance, independently (a
 * Poisson process over bytes, as in tcmalloc and jemalloc): an allocation of n usable bytes is picked with probability
 * 1 - exp(-n / mean). The picked ones are told to the hooks; a profiler that counts each as 1 / probability
 * allocations has exact expectations for every call site.
 *
 * The hit paths do not know of it: not one instruction is there for it. Those allocators count bytes down on every
 * call; here the slow path is made to come at the right call. For each class, the number of allocations up to the next
 * picked one is drawn in advance (it is geometric, so classes and threads may draw independently: it has no memory).
 * A list's hit path can succeed at most (its length) + (frees until the owner's next event) times before it comes to
 * the slow path. Whenever the owner passes there, that sum is kept at most the number still to go: by an earlier event,
 * and, near the end, by cutting the list to a few dozen blocks and keeping the rest aside. The slow path is seen about a
 * dozen times a sample.
 *
 * Picked small blocks come from a heap of their own (engine->sampled, under its lock), so that the free of one is never
 * on anyone's hit path either: no free has to ask whether its block was picked. Picked large blocks are marked in
 * their record.
 *
 * Pools take part with their heaps, each at a mean of its own when the hooks say so; picked blocks of a pool come from a
 * heap of that pool.
 *
 * Who may touch what: a sampler belongs to its heap's thread. Switching on or off changes one generation number, which
 * each heap reads in its slow path: a thread is sampled exactly from its next slow path on, at the latest after one
 * free list. Lock: sample lock, outermost beside limbo's; the hooks run outside it.
 *
 * Invariant, for each class of a heap with a sampler, at every exit from the slow path: length + left <= until.
 */
#ifndef HYPI_HEAP_SAMPLE_H
#define HYPI_HEAP_SAMPLE_H

#include "heap/heap.h"

typedef struct hypi_sampled_class {
	uint32_t until;      /* allocations of the class from `base` on, up to and with the next picked one */
	uint32_t base;       /* the list's `allocs` when `until` was last brought up to date */
	hypi_block *rest;    /* cut off the list; NULL: nothing */
	uint32_t rest_count; /* blocks in it; they are not in the list's length */
} hypi_sampled_class;

typedef struct hypi_sampler {
	uint64_t random;
	uintptr_t stack[2];  /* of the thread, for the hooks to keep: tracking/unwind.h */
	double large_until;  /* bytes of large blocks up to the next picked one */
	uint64_t mean_bytes; /* of the heap's engine, when the heap last learned of a switch */
	hypi_sampled_class classes[HYPI_CLASSES];
} hypi_sampler;

/* What was picked. `usable`: bytes of its size class, the block itself may be larger (hypi_sample_small), so what on_free
 * is told may be more; `scale`: how many allocations of its size it stands for. Called by the
 * thread that allocates or frees, outside every lock; may allocate: what happens inside is not picked. */
typedef struct hypi_sample_hooks {
	void (*on_alloc)(void *p, size_t asked, size_t usable, double scale);
	void (*on_free)(void *p, size_t usable);
	void (*on_look)(uint64_t now_ms); /* now and then, from a thread that looks after its heap */
	/* What an engine's mean is when the process's is `usual`; 0: nothing of it is picked. NULL: `usual`, always. Asked
	 * once a heap and switch; may not allocate. */
	uint64_t (*mean_of)(const hypi_engine *engine, uint64_t usual);
} hypi_sample_hooks;

/* Starts (mean_bytes > 0), changes or stops (0) the picking; heaps ask hooks->mean_of anew. `hooks` stay for good: blocks that were picked before are
 * still told when they are freed. mean_bytes 1: every allocation is picked. Any thread. */
void hypi_sample_set(uint64_t mean_bytes, const hypi_sample_hooks *hooks);
uint64_t hypi_sample_mean(void);

/* The probability that an allocation of `usable` bytes is picked, and -ln(u); without the mathematics library. */
double hypi_sample_probability(size_t usable, uint64_t mean_bytes);
double hypi_minus_log(double u);

extern _Atomic uint32_t hypi_sample_generation; /* rises with every change; 0: never was on */
extern _Atomic(const hypi_sample_hooks *) hypi_sample_hooks_on;

/* Whether the heap has anything to do with sampling now. */
HYP_INLINE bool hypi_sample_concerns(const hypi_heap *heap) {
	return heap->sampler != NULL || heap->sample_generation != hypi_load_relaxed(&hypi_sample_generation);
}

/* Whether the next allocation of class `c` may be the picked one: what hypi_sample_small then decides. */
HYP_INLINE bool hypi_sample_may_pick(const hypi_heap *heap, unsigned c) {
	if (heap->sample_generation != hypi_load_relaxed(&hypi_sample_generation)) return true;
	if (heap->sampler == NULL) return false;
	const hypi_sampled_class *k = &heap->sampler->classes[c];
	return hypi_load_relaxed(&heap->lists[c].allocs) - k->base + 1 >= k->until;
}

/* Whether the picked allocation of class `c` may come within the next `reach`. */
HYP_INLINE bool hypi_sample_is_near(const hypi_heap *heap, unsigned c, uint32_t reach) {
	const hypi_sampled_class *k = &heap->sampler->classes[c];
	return k->until - (hypi_load_relaxed(&heap->lists[c].allocs) - k->base) < reach;
}

/* Owner, slow path: a picked block of class `c` for a request of `asked` bytes; NULL: this one is not picked (or there
 * is no memory for it), go on as ever. */
void *hypi_sample_small(hypi_heap *heap, unsigned c, size_t asked, bool *ret_zeroed);

/* Owner: a large block was allocated, or resized in place. */
void hypi_sample_large(hypi_heap *heap, hypi_span *span, size_t asked);

/* Any thread: a picked block is being freed. */
void hypi_sample_free_small(hypi_span *span, void *p);
void hypi_sample_free_large(hypi_span *span);

/* A large block changed its size where it is: as freed, and allocated. `heap`: the caller's, or NULL. */
HYP_INLINE void hypi_sample_resized(hypi_heap *heap, hypi_span *span, size_t asked) {
	if (span->place == HYPI_PICKED) hypi_sample_free_large(span);
	if (heap != NULL && hypi_sample_concerns(heap)) hypi_sample_large(heap, span, asked);
}

/* Owner: brings `until` up to date with the list's `allocs`, and after those were set back. */
void hypi_sample_settle(hypi_heap *heap, unsigned c);
void hypi_sample_rebase(hypi_heap *heap, unsigned c);
/* Owner: how many of `left` frees the next event may be away; cuts the list when it must. */
uint32_t hypi_sample_cap(hypi_heap *heap, unsigned c, uint32_t left);
/* Owner: an event: learns of a switch, and settles. */
void hypi_sample_event(hypi_heap *heap, unsigned c);
/* Owner: puts what was cut off behind the list again. False: nothing was. */
bool hypi_sample_rest(hypi_heap *heap, unsigned c);

/* The heap, which has a sampler, loses it: its thread is at its end. */
void hypi_sample_quit(hypi_heap *heap);

/* Tells the hooks that time passes. */
void hypi_sample_look(uint64_t now_ms);

void hypi_sample_fork_prepare(void);
void hypi_sample_fork_parent(void);
void hypi_sample_fork_child(void);

#endif
