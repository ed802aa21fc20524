/*
 * heap/malloc.c: the slow ends of malloc and free, and the malloc family under hypool's own names.
 */
#include "base/fatal.h"
#include "base/option.h"
#include "heap/fast.h"
#include "heap/harden.h"
#include "heap/heap.h"
#include "heap/sample.h"

#include <hypool/hypool.h>

#include <errno.h>
#include <string.h>

enum { MOST_STRAYS = 32, GROWS_FROM = 1 << 15, GROWS_SHARE = 8 };

/* ---- allocate ---- */

static void *no_memory(hypi_engine *engine) {
	hypi_add_relaxed(&engine->failures, 1);
	errno = ENOMEM;
	return NULL;
}

/* For threads past their heap's end, and for calls from inside a thread's own start. */
static void *limbo_alloc(hypi_engine *engine, unsigned c, bool *ret_zeroed) {
	hypi_process_init();
	hypi_lock_take(&engine->limbo_lock);
	if (engine->limbo == NULL) engine->limbo = hypi_heap_acquire(engine);
	void *p = engine->limbo != NULL ? hypi_heap_alloc(engine->limbo, c, ret_zeroed) : NULL;
	hypi_unlock(&engine->limbo_lock);
	return p;
}

static void *alloc_large(hypi_engine *engine, hypi_heap *heap, size_t bytes, size_t alignment, bool zero) {
	void *p = hypi_large_alloc(engine, heap, bytes, alignment, zero);
	if (p != NULL && heap != NULL && hypi_sample_concerns(heap)) hypi_sample_large(heap, hypi_span_at(p), bytes);
	return p;
}

unsigned hypi_class_for(size_t bytes, size_t alignment) {
	if (bytes >= HYPI_SMALL_LIMIT || alignment > HYPI_SLICE_BYTES) return HYPI_CLASSES;
	unsigned c = hypi_class_of(bytes);
	/* Blocks lie at multiples of their size from a slice's edge: any class whose size is a multiple will do. */
	while (c < HYPI_CLASSES && (hypi_class_block_bytes(c) & (alignment - 1)) != 0) c++;
	return c;
}

void *hypi_engine_alloc(hypi_engine *engine, hypi_heap *heap, size_t bytes, size_t alignment, bool zero) {
	if (hypi_hardens(engine)) return hypi_harden_alloc(heap, bytes, alignment, zero);
	return hypi_engine_alloc_plain(engine, heap, bytes, alignment, zero);
}

void *hypi_engine_alloc_plain(hypi_engine *engine, hypi_heap *heap, size_t bytes, size_t alignment, bool zero) {
	if (bytes >= engine->threshold_bytes || alignment > HYPI_SLICE_BYTES)
		return alloc_large(engine, heap, bytes, alignment, zero);
	unsigned c = hypi_class_for(bytes, alignment);
	if (c == HYPI_CLASSES) return alloc_large(engine, heap, bytes, alignment, zero);
	bool zeroed = false;
	void *p = heap != NULL && hypi_sample_may_pick(heap, c) ? hypi_sample_small(heap, c, bytes, &zeroed) : NULL;
	if (p == NULL) p = heap != NULL ? hypi_heap_alloc(heap, c, &zeroed) : limbo_alloc(engine, c, &zeroed);
	if (HYP_UNLIKELY(p == NULL)) return no_memory(engine);
	if (zero && !zeroed) memset(p, 0, bytes);
	return p;
}

static void *alloc(size_t bytes, size_t alignment, bool zero) {
	hypi_heap *heap = hypi_heap_mine();
	if (heap == NULL) hypi_process_init();
	if (HYP_UNLIKELY(heap != NULL && heap->guard_armed)) {
		void *p = hypi_guard_pick(heap, bytes, alignment, zero);
		if (p != NULL) return p;
	}
	return hypi_engine_alloc(&hypi_default_engine, heap, bytes, alignment, zero);
}

/* A heap that nothing looks at: what malloc and free need not go the long way for. */
static bool is_plain(const hypi_heap *heap) {
	return heap != &hypi_heap_none && !heap->guard_armed && !hypi_sample_concerns(heap);
}

void *hypi_alloc_slow(size_t bytes) {
	hypi_heap *front = hypi_self.front;
	if (bytes >= HYPI_SMALL_LIMIT && is_plain(front)) {
		void *p = hypi_large_again(front, bytes);
		if (p != NULL) return p;
	}
	if (hypi_hardened() && hypi_self.heap != NULL) return hypi_harden_alloc(hypi_self.heap, bytes, 1, false);
	return alloc(bytes, 1, false);
}

void *hypi_alloc_aligned(size_t bytes, size_t alignment) { return alloc(bytes, alignment, false); }

void *hypi_alloc_zeroed(size_t bytes) {
	if (bytes < HYPI_SMALL_LIMIT) {
		void *p = hypi_list_pop(hypi_list_for(hypi_self.front, bytes));
		if (HYP_LIKELY(p != NULL)) return memset(p, 0, bytes);
	}
	return alloc(bytes, 1, true);
}

/* ---- free ---- */

const hypi_misuse hypi_misuse_free = {"invalid free", "misaligned free", "double free"};
static const hypi_misuse misuse_realloc = {"invalid realloc", "invalid realloc", "invalid realloc"};
static const hypi_misuse misuse_pointer = {"invalid pointer", "invalid pointer", "invalid pointer"};

/* Ends the process with the name of the misuse, when a small span does not lend `p`. */
static void examine(const hypi_span *span, const void *p, const hypi_misuse *misuse) {
	if (!hypi_span_holds(span, p)) hypi_fatal(misuse->invalid, p, span->block_bytes);
	if (!hypi_span_divides(span, (uintptr_t)p - span->base)) hypi_fatal(misuse->misaligned, p, span->block_bytes);
	/* A link that says "the last", and a twin that does not fit: free when some thread holds it back, else a program's. */
	if (hypi_block_is_free(p) || (hypi_link_marked(p) && hypi_engine_holds(hypi_span_engine(span), p)))
		hypi_fatal(misuse->freed, p, span->block_bytes);
}

hypi_span *hypi_span_of_block(const void *p, const hypi_misuse *misuse) {
	hypi_span *span = hypi_span_at(p);
	if (span == NULL) hypi_fatal(misuse->invalid, p, 0);
	if (hypi_load_relaxed(&span->kind) == HYPI_SPAN_SMALL) {
		if (!hypi_span_lends(span, p, false)) examine(span, p, misuse);
	} else if (hypi_load_relaxed(&span->kind) == HYPI_SPAN_CACHED) {
		hypi_fatal(misuse->freed, p, span->block_bytes);
	} else if ((uintptr_t)p != span->base) {
		hypi_fatal(misuse->misaligned, p, span->block_bytes);
	}
	return span;
}

/* Most that the fast path leaves are ordinary blocks: their first byte looks like a link's, or they lie in another window
 * than the heap's last spans (of a program of many gigabytes). A heap without spans, whose thread frees what others asked
 * for, takes the window of the first. */
static bool free_closely(hypi_heap *heap, void *p) {
	uintptr_t window = hypi_window_of((uintptr_t)p);
	if (heap == &hypi_heap_none || window >= HYPI_ROOT_ENTRIES) return false;
	hypi_leaf *leaf = hypi_load_relaxed(&hypi_root[window]);
	if (leaf == NULL) return false;
	if (heap->window == UINTPTR_MAX) {
		heap->leaf = leaf;
		heap->window = window;
	}
	return hypi_heap_free_in(heap, leaf, p, true, true);
}

/* A large block, kept for the next request. */
static bool free_large(hypi_heap *heap, void *p) {
	hypi_span *span = hypi_span_at(p);
	return heap != &hypi_heap_none && span != NULL && hypi_load_relaxed(&span->kind) == HYPI_SPAN_LARGE &&
	       span->base == (uintptr_t)p && span->engine == heap->engine && span->place != HYPI_PICKED &&
	       hypi_large_keep(heap, span);
}

void hypi_free_slow(void *p) {
	hypi_heap *heap = hypi_self.front;
	if (HYP_UNLIKELY(hypi_window_of((uintptr_t)p) == heap->bulk_window)) hypi_bulk_free(heap, p);
	else hypi_free_long(p);
}

void hypi_free_long(void *p) {
	if (p == NULL || free_closely(hypi_self.front, p) || free_large(hypi_self.front, p)) return;
	if (hypi_hardened() && hypi_harden_free_small(p)) return;
	hypi_span *span = hypi_span_of_block(p, &hypi_misuse_free);
	hypi_engine *engine = hypi_span_engine(span);
	hypi_heap *heap = hypi_heap_of(engine);
	if (HYP_CHECKS && heap != NULL && hypi_heap_holds(heap, p)) /* freed, and then written to */
		hypi_fatal(hypi_misuse_free.freed, p, span->block_bytes);
	if (heap != NULL) hypi_heap_check_held(hypi_load_relaxed(&heap->held)); /* and what was freed before it */
	if (HYP_UNLIKELY(engine != &hypi_default_engine) && engine->zero_on_free) memset(p, 0, span->block_bytes);
	if (hypi_watches(engine, span) && !hypi_harden_free(heap, span, p)) return;
	hypi_free_checked(engine, heap, span, p);
}

/* Whether the caller's heap has a use for a larger block of another thread: it asked for one of its class since the
 * class's last event. */
static bool wants(const hypi_heap *heap, const hypi_span *span) {
	unsigned c = span->class_index;
	return heap->engine == &hypi_default_engine && span->block_bytes > HYPI_ABROAD_BYTES &&
	       hypi_load_relaxed(&heap->lists[c].allocs) != heap->bins[c].event_allocs;
}

void hypi_free_checked(hypi_engine *engine, hypi_heap *heap, hypi_span *span, void *p) {
	if (hypi_load_relaxed(&span->kind) != HYPI_SPAN_SMALL) {
		if (HYP_UNLIKELY(span->place == HYPI_PICKED)) hypi_sample_free_large(span);
		hypi_large_free(engine, heap, span);
		return;
	}
	int saved = errno;
	/* A thread that frees on and on without ever asking gets a heap, too: without one each block goes home alone, and is
	 * counted where all threads count (8 consumers on 16 cores freed no more than one). */
	if (HYP_UNLIKELY(heap == NULL) && engine == &hypi_default_engine && ++hypi_self.strays >= MOST_STRAYS) {
		hypi_self.strays = 0;
		heap = hypi_heap_mine();
	}
	const hypi_heap *owner = hypi_load_relaxed(&span->owner), *sampled = hypi_load_relaxed(&engine->sampled);
	bool home = (hypi_entry_tag(hypi_entry_at(p)) & HYPI_TAG_HOME) != 0;
	if (heap != NULL && home && owner != sampled) home = !wants(heap, span);
	if (hypi_hardens(engine)) home = true;
	if (heap != NULL && (owner == heap || !home)) hypi_heap_put(heap, hypi_class_tag(span->class_index), p);
	else if (owner == sampled) hypi_sample_free_small(span, p);
	else hypi_remote_free(heap, span, p);
	errno = saved;
}

/* ---- realloc ---- */

/* A block that grows by a little is likely to grow again: it gets a quarter more than it had (as in tcmalloc), so that
 * growing to n bytes in small steps copies about 4 n bytes. */
static size_t room_for(size_t have, size_t bytes) {
	size_t more = have + have / 4;
	return have >= 128 && have < bytes && bytes < more && more < HYPI_SMALL_LIMIT ? more : bytes;
}

/* One of more than two slices that grows becomes a large block, where as much as it needs lies free behind it: from then
 * on it grows where it is. (As a small block it would leave a used span behind at each class: docs/design/heap.md, 14.) */
static bool grows(const hypi_engine *engine, size_t have, size_t bytes) {
	return engine == &hypi_default_engine && !hypi_hardens(engine) && have >= GROWS_FROM && have < bytes &&
	       bytes <= engine->large.arena_bytes / GROWS_SHARE;
}

static void *place_for(hypi_engine *engine, size_t have, size_t bytes) {
	if (grows(engine, have, bytes)) {
		int saved = errno;
		void *q = alloc_large(engine, hypi_self.heap, bytes, (size_t)2 << hypi_log2_ceil(bytes), false);
		if (q != NULL) return q;
		/* One without so much room behind it may be there still: the request has not failed. */
		hypi_add_relaxed(&engine->failures, UINT64_MAX);
		errno = saved;
	}
	size_t room = room_for(have, bytes);
	if (engine == &hypi_default_engine) return hypi_alloc(room);
	return hypi_engine_alloc(engine, hypi_heap_for(engine), room, 1, false);
}

static void *move(hypi_engine *engine, void *p, size_t have, size_t bytes) {
	void *q = place_for(engine, have, bytes);
	if (q == NULL) return NULL;
	size_t kept = have < bytes ? have : bytes;
	/* Hardened blocks have a canary behind them, which must stay. */
	bool by_pages = kept >= HYPI_SMALL_LIMIT && !hypi_hardens(engine);
	hyp_status moved = by_pages ? hypi_large_move(engine, p, q, kept) : HYP_ERR_UNSUPPORTED;
	if (moved == HYP_ERR_NO_MEMORY)
		return no_memory(engine); /* what became of q's place is not known: it stays taken */
	if (moved != HYP_OK) memcpy(q, p, kept);
	hypi_free(p);
	return q;
}

void *hypi_realloc_slow(void *p, size_t bytes) {
	if (p == NULL) return hypi_alloc(bytes);
	hypi_span *span = hypi_span_of_block(p, &misuse_realloc);
	if (bytes == 0) {
		hypi_free(p);
		return NULL;
	}
	hypi_engine *engine = hypi_span_engine(span);
	size_t have = span->block_bytes;
	if (hypi_watches(engine, span)) {
		have = hypi_harden_asked(span, p, &misuse_realloc, have);
		return hypi_harden_resize(span, p, bytes) ? p : move(engine, p, have, bytes);
	}
	if (hypi_load_relaxed(&span->kind) == HYPI_SPAN_SMALL) {
		if (bytes <= have && hypi_keeps(have, bytes)) return p;
	} else {
		void *q = hypi_large_resize(engine, hypi_heap_of(engine), span, p, bytes);
		if (q != NULL) {
			if (span->block_bytes != have) hypi_sample_resized(hypi_self.heap, span, bytes);
			return q;
		}
	}
	return move(engine, p, have, bytes);
}

/* ---- the family ---- */

void *hyp_malloc(size_t bytes) { return hypi_alloc(bytes); }
void hyp_free(void *p) { hypi_free(p); }
void *hyp_realloc(void *p, size_t bytes) { return hypi_realloc(p, bytes); }

void *hyp_calloc(size_t count, size_t bytes) {
	size_t total;
	if (HYP_UNLIKELY(!hypi_mul_checked(count, bytes, &total))) return no_memory(&hypi_default_engine);
	return hypi_alloc_zeroed(total);
}

void *hyp_reallocarray(void *p, size_t count, size_t bytes) {
	size_t total;
	if (!hypi_mul_checked(count, bytes, &total)) return no_memory(&hypi_default_engine);
	return hypi_realloc(p, total);
}

void *hyp_aligned_alloc(size_t alignment, size_t bytes) {
	if (HYP_UNLIKELY(!hypi_is_pow2(alignment))) return errno = EINVAL, NULL;
	if (alignment <= 16) return hypi_alloc(bytes);
	return hypi_alloc_aligned(bytes, alignment);
}

int hyp_posix_memalign(void **ret_p, size_t alignment, size_t bytes) {
	if (!hypi_is_pow2(alignment) || alignment % sizeof(void *) != 0) return EINVAL;
	int saved = errno;
	void *p = hyp_aligned_alloc(alignment, bytes);
	errno = saved;
	if (p == NULL) return ENOMEM;
	*ret_p = p;
	return 0;
}

size_t hyp_usable_size(const void *p) {
	if (p == NULL) return 0;
	hypi_span *span = hypi_span_of_block(p, &misuse_pointer);
	if (hypi_watches(hypi_span_engine(span), span))
		return hypi_harden_asked(span, p, &misuse_pointer, span->block_bytes);
	return span->block_bytes;
}

#if HYP_CHECKS
/* Whether a block may be one that was asked for with this size, or was left where it is by realloc with it. */
static bool fits(const hypi_span *span, size_t bytes, size_t alignment) {
	size_t have = span->block_bytes;
	if (bytes > have) return false;
	if (hypi_guarded(span)) /* sampled: what the class is of another block of its size */
		return hypi_class_for(bytes, alignment) == hypi_class_for(span->asked_plus1 - 1, alignment);
	if (hypi_load_relaxed(&span->kind) != HYPI_SPAN_SMALL)
		return hypi_round_up(bytes == 0 ? 1 : bytes, hypi_os.page_bytes) == have;
	return hypi_class_for(bytes, alignment) == span->class_index || hypi_keeps(have, bytes);
}
#endif

static void free_checked(void *p, size_t bytes, size_t alignment) {
#if HYP_CHECKS
	if (p != NULL) {
		hypi_span *span = hypi_span_of_block(p, &hypi_misuse_free);
		bool good = fits(span, bytes, alignment);
		if (hypi_hardens(hypi_span_engine(span)))
			good = hypi_harden_asked(span, p, &hypi_misuse_free, good ? bytes : SIZE_MAX) == bytes;
		if (!good) hypi_fatal("size mismatch", p, span->block_bytes);
	}
#else
	(void)bytes;
	(void)alignment;
#endif
	hypi_free(p);
}

void hyp_free_sized(void *p, size_t bytes) { free_checked(p, bytes, 1); }

void hyp_free_aligned_sized(void *p, size_t alignment, size_t bytes) {
#if HYP_CHECKS
	if (p != NULL && ((uintptr_t)p & (alignment - 1)) != 0) hypi_fatal("alignment mismatch", p, 0);
#endif
	free_checked(p, bytes, alignment);
}

size_t hyp_trim(void) {
	hypi_heap *heap = hypi_heap_mine();
	size_t released = 0;
	hypi_process_init();
	hypi_heap_trim_kept(&hypi_default_engine, UINT64_MAX); /* sends blocks home to this heap */
	if (heap != NULL) {
		hypi_harden_flush(heap);
		hypi_heap_trim(heap);
		released = hypi_heap_release_pages(heap, false);
	}
	hypi_engine *engine = &hypi_default_engine;
	hypi_lock_take(&engine->limbo_lock);
	if (engine->limbo != NULL) hypi_heap_trim(engine->limbo);
	hypi_unlock(&engine->limbo_lock);
	return released + hypi_large_pool_purge(&engine->large);
}
