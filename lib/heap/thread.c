/*
 * heap/thread.c: threads and heaps: the first call of a process and of a thread, thread exit, adoption, fork.
 *
 * A heap outlives its thread: at exit it becomes an orphan with whatever spans still have live blocks, and the next
 * thread that needs a heap adopts it whole. So there are never more heaps than there were threads at once.
 *
 * After a thread's exit handler has run, other destructors may still allocate: the thread then takes a heap once more
 * and arms itself again, for a few rounds; beyond that it allocates from one shared heap under a lock ("limbo"), and
 * frees as if every block were another thread's.
 *
 * Fork. All locks are taken before and released after; in the child the heaps of threads that are gone become orphans,
 * but for those that were inside a slow path at that instant, whose lists may be half changed: those are lost, with
 * what they hold. A fast path that was cut off at any store leaves its span usable (a block may be lost).
 */
#include "heap/heap.h"

#include "base/option.h"
#include "core/meta.h"
#include "heap/harden.h"
#include "heap/sample.h"

#include <errno.h>
#include <string.h>

hypi_heap hypi_heap_none = {
	.window = UINTPTR_MAX,
	.bulk_window = UINTPTR_MAX,
	.engine = &hypi_default_engine,
};

HYP_TLS hypi_thread hypi_self = {.front = &hypi_heap_none, .pool_heap = &hypi_heap_none};

hypi_engine hypi_default_engine;

hypi_lock hypi_engines_lock;
hypi_engine *hypi_engines = &hypi_default_engine;
static hypi_lock start_lock;
static _Atomic uint32_t started;

/* ---- engines ---- */

void hypi_engine_init(hypi_engine *engine, const hyp_backing *backing, size_t arena_bytes, uint64_t decay_ms) {
	memset(engine, 0, sizeof *engine);
	hypi_large_pool_init(&engine->large, backing, arena_bytes, decay_ms);
	engine->threshold_bytes = HYPI_SMALL_LIMIT;
	engine->large_cache_bytes = decay_ms != 0 ? hypi_option_get(HYPI_OPTION_large_cache) : 0;
}

/* ---- heaps ----
 *
 * An orphan is kept as it is for the next thread, while all that are kept have no more than MOST_KEPT slices: threads that
 * come and go find what the last ones had. After the time that free memory may stay (the decay), whichever heap looks after
 * itself trims them. Larger ones are trimmed at once. */

enum { MOST_KEPT = 512 };

/* Under the engine's lock. */
static void set_kept(hypi_heap *heap, uint32_t slices) {
	_Atomic uint32_t *kept = &heap->engine->kept;
	hypi_store_relaxed(kept, hypi_load_relaxed(kept) - heap->kept + slices);
	heap->kept = slices;
}

/* Whether a heap that is losing its thread stays as it is; its slices are counted from here on, since many threads may end
 * at once. */
static bool keep(hypi_heap *heap) {
	hypi_engine *engine = heap->engine;
	if (engine != &hypi_default_engine || hypi_hardened() || heap->sampler != NULL || engine->large.tight ||
	    engine->large.decay_ms == 0)
		return false;
	heap->kept_ms = hypi_os_now_coarse_ms();
	hypi_lock_take(&engine->lock);
	if (hypi_load_relaxed(&engine->kept) + heap->slices <= MOST_KEPT) set_kept(heap, heap->slices);
	hypi_unlock(&engine->lock);
	return heap->kept != 0;
}

static void leave(hypi_heap *heap) {
	/* Pairs with the acquire of whoever adopts or reclaims, and with the order in hypi_heap_reclaim. */
	atomic_store(&heap->state, HYPI_HEAP_ORPHAN);
}

/* A push that saw an owned heap left the reclaiming to nobody: it is looked at once more. */
static void look_again(hypi_heap *heap) {
	if (atomic_load(&heap->pending) != NULL) hypi_heap_reclaim(heap);
}

static hypi_heap *take_kept(hypi_engine *engine, uint64_t since_ms) {
	hypi_heap *heap;
	hypi_lock_take(&engine->lock);
	for (heap = engine->orphans; heap != NULL; heap = heap->next_orphan) {
		uint32_t expected = HYPI_HEAP_ORPHAN;
		if (heap->kept == 0 || heap->kept_ms > since_ms) continue;
		/* acquire: pairs with `leave`. It stays among the orphans, where others pass it by, as when it is reclaimed. */
		if (hypi_cas_strong_acquire(&heap->state, &expected, HYPI_HEAP_OWNED)) break;
	}
	if (heap != NULL) set_kept(heap, 0);
	hypi_unlock(&engine->lock);
	return heap;
}

void hypi_heap_trim_kept(hypi_engine *engine, uint64_t since_ms) {
	if (HYP_LIKELY(hypi_load_relaxed(&engine->kept) == 0)) return;
	for (hypi_heap *heap; (heap = take_kept(engine, since_ms)) != NULL; look_again(heap)) {
		hypi_heap_trim(heap);
		leave(heap);
	}
}

static hypi_heap *adopt(hypi_engine *engine) {
	hypi_heap *heap = NULL;
	hypi_lock_take(&engine->lock);
	for (hypi_heap **at = &engine->orphans; *at != NULL;) {
		uint32_t expected = HYPI_HEAP_ORPHAN;
		hypi_heap *candidate = *at;
		/* acquire: pairs with the release in hypi_heap_abandon. A reclaimer may hold it for a moment: take another. */
		if (hypi_cas_strong_acquire(&candidate->state, &expected, HYPI_HEAP_OWNED)) {
			*at = candidate->next_orphan;
			candidate->shelved = false;
			set_kept(candidate, 0);
			heap = candidate;
			break;
		}
		at = &candidate->next_orphan;
	}
	hypi_unlock(&engine->lock);
	return heap;
}

hypi_heap *hypi_heap_acquire(hypi_engine *engine) {
	hypi_heap *heap = adopt(engine);
	return heap != NULL ? heap : hypi_heap_create(engine);
}

hypi_heap *hypi_heap_create(hypi_engine *engine) {
	hypi_heap *heap = hypi_meta_alloc(sizeof *heap);
	if (heap == NULL) return NULL;
	heap->ticks = HYPI_LOOK_EVENTS - HYPI_LOOK_FIRST;
	heap->window = heap->bulk_window = UINTPTR_MAX;
	heap->engine = engine;
	hypi_heap_hold_nothing(heap);
	for (unsigned c = 0; c < HYPI_CLASSES; c++) hypi_store_relaxed(&heap->lists[c].left, 1);
	hypi_lock_take(&engine->lock);
	heap->next = engine->heaps;
	engine->heaps = heap;
	engine->heap_count++;
	hypi_unlock(&engine->lock);
	return heap;
}

void hypi_heap_abandon(hypi_heap *heap) {
	bool was_busy = hypi_heap_enter(heap);
	if (keep(heap)) hypi_heap_rest(heap);
	else hypi_heap_trim(heap);
	hypi_heap_shelve(heap);
	hypi_heap_leave(heap, was_busy);
	hypi_engine *engine = heap->engine;
	hypi_lock_take(&engine->lock);
	heap->next_orphan = engine->orphans;
	engine->orphans = heap;
	leave(heap);
	hypi_unlock(&engine->lock);
	look_again(heap);
}

hypi_heap *hypi_heap_mine(void) {
	hypi_thread *self = &hypi_self;
	if (HYP_LIKELY(self->heap != NULL)) return self->heap;
	if (self->exiting || self->starting) return NULL;
	hypi_process_init();
	self->starting = true;
	hypi_heap *heap = hypi_heap_acquire(&hypi_default_engine);
	if (heap != NULL) {
		self->heap = heap;
		self->front = hypi_hardened() ? &hypi_heap_none : heap;
		hypi_os_thread_arm(); /* may allocate: the heap is in place */
	}
	self->starting = false;
	return heap;
}

static void on_thread_exit(void) {
	hypi_thread *self = &hypi_self;
	hypi_heap *heap = self->heap;
	if (++self->rounds >= HYPI_OS_EXIT_ROUNDS) self->exiting = true;
	hypi_pool_heaps_exit();
	self->front = &hypi_heap_none;
	self->heap = NULL;
	if (heap != NULL) {
		hypi_harden_flush(heap);
		hypi_heap_abandon(heap);
	}
}

/* ---- fork ---- */

static void fork_prepare(void) {
	hypi_lock_take(&start_lock);
	hypi_lock_take(&hypi_engines_lock);
	hypi_harden_fork_prepare();
	hypi_guard_sample_fork_prepare();
	hypi_sample_fork_prepare();
	for (hypi_engine *e = hypi_engines; e != NULL; e = e->next) {
		hypi_lock_take(&e->limbo_lock);
		hypi_lock_take(&e->lock);
		hypi_lock_take(&e->large.lock);
	}
	hypi_meta_fork_prepare();
}

static void fork_parent(void) {
	hypi_meta_fork_parent();
	for (hypi_engine *e = hypi_engines; e != NULL; e = e->next) {
		hypi_unlock(&e->large.lock);
		hypi_unlock(&e->lock);
		hypi_unlock(&e->limbo_lock);
	}
	hypi_sample_fork_parent();
	hypi_guard_sample_fork_parent();
	hypi_harden_fork_parent();
	hypi_unlock(&hypi_engines_lock);
	hypi_unlock(&start_lock);
}

static void fork_child(void) {
	hypi_meta_fork_child();
	for (hypi_engine *e = hypi_engines; e != NULL; e = e->next) {
		hypi_large_pool_forked(&e->large);
		hypi_lock_reset(&e->large.lock);
		hypi_lock_reset(&e->lock);
		hypi_lock_reset(&e->limbo_lock);
		e->orphans = NULL;
		uint32_t kept = 0;
		for (hypi_heap *heap = e->heaps; heap != NULL; heap = heap->next) {
			if (heap == hypi_heap_of(e) || heap == e->limbo || heap == hypi_load_relaxed(&e->sampled)) continue;
			hypi_remote_forked(heap);
			bool lost = heap->busy || hypi_load_relaxed(&heap->state) == HYPI_HEAP_LOST;
			hypi_store_relaxed(&heap->state, lost ? HYPI_HEAP_LOST : HYPI_HEAP_ORPHAN);
			if (lost) heap->kept = 0;
			kept += heap->kept;
			if (lost) continue;
			hypi_heap_hold_nothing(heap); /* its two words may not belong together */
			heap->next_orphan = e->orphans;
			e->orphans = heap;
		}
		hypi_store_relaxed(&e->kept, kept);
	}
	hypi_sample_fork_child();
	hypi_harden_fork_child();
	hypi_guard_sample_fork_child();
	hypi_lock_reset(&hypi_engines_lock);
	hypi_lock_reset(&start_lock);
}

/* ---- the process ---- */

/* Where address space is limited, arenas are a small part of it: thread stacks need some, too. */
static size_t arena_bytes(void) {
	size_t bytes = hypi_option_get(HYPI_OPTION_arena), least = (size_t)1 << 20;
	size_t share = hypi_os.address_limit_bytes / 16;
	if (hypi_os.address_limit_bytes != 0 && share < bytes) bytes = share;
	return (size_t)1 << hypi_log2_floor(bytes < least ? least : bytes);
}

static void start(void) {
	hypi_os_init();
	hypi_options_init(hypi_os_environment(), hypi_os.secure);
	hypi_link_key = (hypi_mix64(hypi_os.random) & ~UINT64_C(15)) | HYPI_LINK_NIBBLE;
	hypi_engine_init(&hypi_default_engine, hypi_backing_anonymous(), arena_bytes(), hypi_option_get(HYPI_OPTION_decay));
	hypi_default_engine.large.tight = hypi_os.address_limit_bytes != 0;
	hypi_default_engine.serial = hypi_default_engine.front_serial = HYPI_DEFAULT_SERIAL;
	hypi_harden_init();
	hypi_os_thread_exit_init(on_thread_exit);
}

void hypi_process_init(void) {
	if (HYP_LIKELY(hypi_load_acquire(&started) == 2)) return; /* pairs with the release below */
	hypi_lock_take(&start_lock);
	bool first = hypi_load_relaxed(&started) == 0;
	if (first) {
		start();
		hypi_store_release(&started, 2);
	}
	hypi_unlock(&start_lock);
	/* The C library allocates for this: the engine is ready, and the lock is free. */
	if (first) hypi_os_fork_init(fork_prepare, fork_parent, fork_child);
}
