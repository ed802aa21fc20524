/*
 * heap/heap.c: the slow path of small blocks: where a list's blocks come from and go to.
 *
 * A list that is empty takes, in this order: the free blocks of a listed span, which is memory in use already; what
 * other threads freed (of small blocks, whose chains are long, that first); fresh blocks of the carving span, a page at a
 * time; a new span. A list that is too long returns its newest blocks to their spans, a batch an event, so that freeing
 * very many costs each one visit of its span. A span that gets its first block back is listed first: it is the fullest
 * known, and using the fullest first lets the others run empty. An empty span goes back at once, unless it is being carved
 * and its heap has a thread.
 *
 * What lies unused while the heap looks after itself twice goes back.
 */
#include "heap/heap.h"

#include "heap/fast.h"
#include "heap/sample.h"

#include <errno.h>
#include <string.h>

enum { RETURN_BATCH = 32, REFILL_LEAST = 8, GROW_SLICES = 32, GROW_SHARE = 32, LEAST_LIMIT = 32, MOST_SLACK = 16 };
enum { GROW_REST_NS = 250000, DRAIN_BYTES = 256 };

/* Blocks above which a list is too long: 16 to 64 KiB of small blocks, 128 KiB of larger ones, and at least one. */
static uint32_t limit_of(unsigned c) {
	size_t bytes = hypi_class_bytes(c);
	if (bytes <= 64) return 1024;
	if (bytes <= 1024) return (uint32_t)(65536 / bytes);
	return bytes <= 65536 ? (uint32_t)(131072 / bytes) : 1;
}

/* How far that may grow: a class whose list runs empty soon after it returned blocks keeps twice as many (the slow start
 * of tcmalloc's thread caches). One that only frees keeps fewer and fewer, so that spans run empty. */
static uint32_t most_of(unsigned c) {
	size_t bytes = hypi_class_bytes(c);
	uint32_t least = bytes <= 65536 ? 16 : bytes <= 262144 ? 4 : 2, limit = limit_of(c);
	return limit > least ? limit : least;
}

/* Frees until the next event at least: a list may be over its limit by so many for a moment. As long as it is found within
 * its limit, twice as many each time, up to MOST_SLACK: pairs of large blocks would see an event every few calls. */
static uint32_t slack_of(unsigned c) {
	size_t bytes = hypi_class_bytes(c);
	return bytes <= 65536 ? 16 : bytes <= 262144 ? 4 : 2;
}

/* ---- a bin's spans ---- */

static void list_first(hypi_heap *heap, hypi_span *span) {
	hypi_bin *bin = &heap->bins[span->class_index];
	span->place = HYPI_LISTED;
	span->prev = NULL;
	span->next = bin->first;
	if (bin->first != NULL) bin->first->prev = span;
	else bin->last = span;
	bin->first = span;
}

static void unlist(hypi_heap *heap, hypi_span *span) {
	hypi_bin *bin = &heap->bins[span->class_index];
	if (span->place == HYPI_UNLISTED) return;
	span->place = HYPI_UNLISTED;
	if (span->prev != NULL) span->prev->next = span->next;
	else bin->first = span->next;
	if (span->next != NULL) span->next->prev = span->prev;
	else bin->last = span->prev;
	span->next = span->prev = NULL;
}

/* A span that got a block. */
static void list(hypi_heap *heap, hypi_span *span) {
	if (span->place == HYPI_UNLISTED) list_first(heap, span);
	else span->place = HYPI_LISTED;
}

/* An empty span goes back; one that is still on the pending stack when the drain comes to it. */
static void give_back(hypi_heap *heap, hypi_span *span) {
	hypi_bin *bin = &heap->bins[span->class_index];
	unlist(heap, span);
	if (bin->carving == span) bin->carving = NULL;
	if (hypi_load_acquire(&span->remote) & HYPI_PENDING) return; /* pairs with hypi_span_push_remote */
	hypi_store_relaxed(&bin->spans, hypi_load_relaxed(&bin->spans) - 1);
	hypi_store_relaxed(&bin->slices, hypi_load_relaxed(&bin->slices) - span->slices);
	heap->slices -= span->slices;
	hypi_span_destroy(&heap->engine->large, span);
}

void hypi_heap_place(hypi_heap *heap, hypi_span *span) {
	if (span->out == 0 && heap->bins[span->class_index].carving != span) give_back(heap, span);
	else if (span->place != HYPI_LISTED) list(heap, span);
}

/* Returns a chain of a span's blocks that are off the list to it, or to the heap that it belongs to. */
static void put_back(hypi_heap *heap, hypi_span *span, hypi_block *first, hypi_block *last, uint32_t count) {
	if (HYP_UNLIKELY(hypi_load_relaxed(&span->owner) != heap)) {
		hypi_remote_send(heap, span, first, last, count);
		return;
	}
	hypi_span_put_chain(span, first, last, count);
	hypi_heap_place(heap, span);
}

static void give_idle(hypi_heap *heap);

/* Whether only this heap may put its blocks of class `c` on a list; see heap/heap.h. */
static bool stays_home(const hypi_heap *heap, unsigned c) {
	return heap->engine != &hypi_default_engine || heap == hypi_load_relaxed(&heap->engine->sampled) ||
	       hypi_class_bytes(c) < HYP_CACHE_LINE || hypi_class_bytes(c) > HYPI_ABROAD_BYTES;
}

/* Whether the heap grows still, a moment after idle classes last returned what they hold. Those that a program uses in
 * turn, faster than that, would return their spans each time and ask for them again. */
static bool grows_on(hypi_heap *heap) {
	uint64_t now = hypi_os_now_ns();
	if (now - heap->grown_ns < GROW_REST_NS) return false;
	heap->grown_ns = now;
	return true;
}

static hypi_span *new_span(hypi_heap *heap, unsigned c) {
	hypi_bin *bin = &heap->bins[c];
	uint32_t slices = hypi_load_relaxed(&bin->spans) == 0 ? hypi_class_first_slices(c) : hypi_class_slices(c);
	/* Before the heap grows, what other classes have no use for goes back: it may be what this one takes. */
	heap->grown += slices;
	if (heap->grown >= GROW_SLICES + heap->slices / GROW_SHARE && grows_on(heap)) {
		heap->grown = 0;
		give_idle(heap);
		hypi_large_cache_flush(heap, UINT64_MAX); /* pages that are there already, for pages that are not */
	}
	hypi_span *span = hypi_span_create(&heap->engine->large, c, slices, heap, stays_home(heap, c) ? HYPI_TAG_HOME : 0);
	if (span == NULL) return NULL;
	hypi_store_relaxed(&bin->spans, hypi_load_relaxed(&bin->spans) + 1);
	hypi_store_relaxed(&bin->slices, hypi_load_relaxed(&bin->slices) + slices);
	heap->slices += slices;
	if (hypi_window_of(span->base) != heap->window) {
		heap->window = hypi_window_of(span->base);
		heap->leaf = hypi_load_relaxed(&hypi_root[heap->window]);
	}
	return bin->carving = span;
}

/* ---- the list ---- */

/* Sets the 32-bit counters back before they wrap; what they counted is kept in 64 bits. */
static void fold_counts(hypi_heap *heap, unsigned c) {
	if (heap->sampler != NULL) hypi_sample_settle(heap, c);
	hypi_bin *bin = &heap->bins[c];
	uint32_t allocs = hypi_load_relaxed(&heap->lists[c].allocs), frees = hypi_list_frees(heap, c);
	hypi_count_add(&bin->past_allocs, allocs);
	hypi_count_add(&bin->past_frees, frees);
	bin->stock += frees - allocs;
	hypi_store_relaxed(&heap->lists[c].allocs, 0);
	hypi_store_relaxed(&bin->due, hypi_load_relaxed(&heap->lists[c].left) - 1);
	if (heap->sampler != NULL) hypi_sample_rebase(heap, c);
}

void hypi_list_arm(hypi_heap *heap, unsigned c) {
	hypi_bin *bin = &heap->bins[c];
	if (HYP_UNLIKELY(hypi_load_relaxed(&heap->lists[c].allocs) > UINT32_C(1) << 30)) fold_counts(heap, c);
	uint32_t length = hypi_list_length(heap, c), frees = hypi_list_frees(heap, c);
	uint32_t left = bin->limit > length ? bin->limit - length : 0;
	if (left < bin->slack) left = bin->slack;
	if (left > HYPI_TICK) left = HYPI_TICK;
	if (HYP_UNLIKELY(heap->sampler != NULL) && hypi_sample_is_near(heap, c, length + left))
		left = hypi_sample_cap(heap, c, left);
	hypi_store_relaxed(&heap->lists[c].left, left);
	hypi_store_relaxed(&bin->due, frees + left - 1);
}

/* Puts a chain of `count` blocks, `first` to `last`, before the list. */
static void prepend(hypi_heap *heap, unsigned c, hypi_block *first, hypi_block *last, uint32_t count) {
	hypi_list *list = &heap->lists[c];
	if (list->head != NULL) hypi_link_set(last, list->head);
	list->head = first;
	heap->bins[c].stock += count;
}

static hypi_block *last_of(hypi_block *block) {
	for (hypi_block *next; (next = hypi_link_follow(block)) != NULL;) block = next;
	return block;
}

/* Takes the blocks of listed spans: of one, or of some that have few. Returns how many. */
static uint32_t take_listed(hypi_heap *heap, unsigned c) {
	uint32_t got = 0;
	hypi_span *span;
	while (got < REFILL_LEAST && (span = heap->bins[c].first) != NULL) {
		uint32_t count = span->listed;
		if (got > 0 && span->last == NULL && count > REFILL_LEAST) break; /* finding its end would cost more */
		hypi_block *first = hypi_span_take(span);
		prepend(heap, c, first, got == 0 ? NULL : span->last != NULL ? span->last : last_of(first), count);
		got += count;
		unlist(heap, span);
	}
	return got;
}

/* A class that the heap uses for the first time, or whose blocks its thread asks for for the first time. A thread that only
 * frees has no use for a list but to send blocks home in batches. */
static void set_limits(hypi_heap *heap, unsigned c, bool asks) {
	hypi_bin *bin = &heap->bins[c];
	bin->asks = asks;
	bin->limit = asks ? limit_of(c) : 1;
	bin->slack = asks ? slack_of(c) : (uint32_t)(HYPI_OUTBOX_BYTES / hypi_class_bytes(c)) + 1;
}

/* Fills an empty list; *ret_fresh: with blocks that nobody has had before, of memory that reads as zero. False: no
 * memory. */
static bool refill(hypi_heap *heap, unsigned c, bool *ret_fresh) {
	hypi_bin *bin = &heap->bins[c];
	if (HYP_UNLIKELY(!bin->asks)) set_limits(heap, c, true);
	else if (bin->returned && bin->limit < most_of(c))
		bin->limit = 2 * bin->limit < most_of(c) ? 2 * bin->limit : most_of(c);
	bin->returned = false;
	hypi_bulk_end(heap);
	/* Blocks that others freed come in long chains of small ones, each of which is worth it; of others few at a time. */
	if (hypi_class_bytes(c) > DRAIN_BYTES && take_listed(heap, c) > 0) return true;
	hypi_heap_drain(heap);
	if (take_listed(heap, c) > 0) return true;
	hypi_span *span = bin->carving;
	hypi_block *first;
	uint32_t count = 0;
	if (span != NULL) count = hypi_span_carve(span, &first);
	if (count == 0) {
		hypi_heap_settle(heap);
		if (heap->lists[c].head != NULL) return true;
		span = new_span(heap, c);
		if (span == NULL) return false;
		count = hypi_span_carve(span, &first);
	}
	prepend(heap, c, first, NULL, count);
	hypi_guard_pass(heap, HYPI_CLASSES, count);
	*ret_fresh = span->zeroed;
	return true;
}

void *hypi_heap_alloc(hypi_heap *heap, unsigned c, bool *ret_zeroed) {
	if (++heap->ticks >= HYPI_LOOK_EVENTS) hypi_heap_look(heap);
	bool was_busy = hypi_heap_enter(heap), fresh = false;
	hypi_list *list = &heap->lists[c];
	hypi_block *block = NULL;
	if (list->head != NULL || (heap->sampler != NULL && hypi_sample_rest(heap, c)) || refill(heap, c, &fresh)) {
		hypi_link_follow(list->head); /* ends the process when the list was written over */
		block = hypi_list_pop(list);
	}
	hypi_list_arm(heap, c);
	/* The first block off a fresh carving holds nothing but its two words. */
	if (fresh && block != NULL) block->twin = 0;
	*ret_zeroed = fresh;
	hypi_heap_leave(heap, was_busy);
	return block;
}

/* Returns the newest `count` blocks of a list to their spans: those that follow each other and lie in one span are a
 * chain already. */
static void give_blocks(hypi_heap *heap, unsigned c, uint32_t count) {
	hypi_list *list = &heap->lists[c];
	for (uint32_t n; count > 0 && list->head != NULL; count -= n) {
		hypi_block *first = list->head, *last = first, *next = hypi_link_follow(first);
		hypi_span *span = hypi_span_at(first);
		for (n = 1; n < count && next != NULL && hypi_span_holds(span, next); n++) {
			last = next;
			next = hypi_link_follow(last);
		}
		list->head = next;
		heap->bins[c].stock -= n;
		put_back(heap, span, first, last, n);
	}
}

void hypi_heap_hold_nothing(hypi_heap *heap) {
	hypi_link_mark(&heap->nothing);
	hypi_store_relaxed(&heap->held, &heap->nothing);
	hypi_store_relaxed(&heap->held_tag, HYPI_TAG_NONE);
	heap->lists[HYPI_CLASSES].head = NULL;
	hypi_store_relaxed(&heap->lists[HYPI_CLASSES].left, UINT32_MAX); /* no event comes */
}

bool hypi_engine_holds(hypi_engine *engine, const void *p) {
	hypi_lock_take(&engine->lock);
	const hypi_heap *heap = engine->heaps;
	while (heap != NULL && !hypi_heap_holds(heap, p)) heap = heap->next;
	hypi_unlock(&engine->lock);
	return heap != NULL;
}

void hypi_heap_settle(hypi_heap *heap) {
	hypi_block *block = hypi_load_relaxed(&heap->held);
	size_t tag = hypi_load_relaxed(&heap->held_tag);
	if (tag == HYPI_TAG_NONE) return;
	hypi_heap_hold_nothing(heap);
	hypi_heap_check_held(block);
	hypi_heap_put(heap, tag, block);
}

void hypi_heap_event(hypi_heap *heap, unsigned c) {
	if (HYP_UNLIKELY(heap->sample_generation != hypi_load_relaxed(&hypi_sample_generation))) hypi_sample_event(heap, c);
	hypi_bin *bin = &heap->bins[c];
	uint32_t allocs = hypi_load_relaxed(&heap->lists[c].allocs);
	bool asks = allocs != 0, only_frees = allocs == bin->event_allocs;
	if (HYP_UNLIKELY(bin->limit == 0 || bin->asks != asks)) set_limits(heap, c, asks);
	hypi_guard_pass(heap, c, allocs - bin->event_allocs);
	bin->event_allocs = allocs;
	if (!only_frees) hypi_bulk_end(heap);
	uint32_t limit = bin->limit, length = hypi_list_length(heap, c);
	if (length > limit) {
		if (only_frees && limit > LEAST_LIMIT) bin->limit -= limit / 16;
		bool was_busy = hypi_heap_enter(heap);
		uint32_t batch = length - limit;
		give_blocks(heap, c, batch < RETURN_BATCH || !asks ? batch : RETURN_BATCH);
		bin->returned = true;
		if (asks) {
			bin->slack = slack_of(c);
			hypi_bulk_due(heap, c);
		}
		hypi_heap_leave(heap, was_busy);
	} else if (asks && bin->slack < MOST_SLACK) {
		bin->slack *= 2;
	}
	hypi_list_arm(heap, c);
	if (++heap->ticks >= HYPI_LOOK_EVENTS) hypi_heap_look(heap);
}

/* ---- what others freed ---- */

/* A span off the pending stack: what others freed goes to its list. */
static void look_at_pending(hypi_heap *heap, hypi_span *span) {
	hypi_block *before = span->free, *last = span->last;
	uint32_t listed = span->listed;
	if (hypi_span_collect(span) > 0 && listed > 0) {
		hypi_link_set(last_of(span->free), before);
		span->last = last;
		span->listed += listed;
	}
	bool carving = heap->bins[span->class_index].carving == span && !heap->shelved;
	if (span->out == 0 && !carving) give_back(heap, span);
	else if (span->listed > 0) list(heap, span);
}

bool hypi_heap_drain(hypi_heap *heap) {
	if (hypi_load_relaxed(&heap->pending) == NULL) return false;
	hypi_span *span = hypi_exchange_acquire(&heap->pending, NULL); /* pairs with the push in heap/remote.c */
	while (span != NULL) {
		hypi_span *next = hypi_load_relaxed(&span->pending_next);
		/* acquire: pairs with hypi_span_push_remote, whose next caller stacks the span again */
		atomic_fetch_and_explicit(&span->remote, ~HYPI_PENDING, memory_order_acquire);
		look_at_pending(heap, span);
		span = next;
	}
	return true;
}

/* ---- giving back ---- */

/* Returns a class's whole list, and the carving span when nothing of it is out. */
static void give_class(hypi_heap *heap, unsigned c) {
	if (heap->sampler != NULL) {
		hypi_sample_settle(heap, c);
		hypi_sample_rest(heap, c);
	}
	give_blocks(heap, c, UINT32_MAX);
	if (heap->bins[c].limit != 0) set_limits(heap, c, heap->bins[c].asks);
	hypi_span *span = heap->bins[c].carving;
	if (span != NULL && span->out == 0) give_back(heap, span);
	hypi_list_arm(heap, c);
}

static bool holds_any(const hypi_heap *heap, unsigned c) {
	return hypi_load_relaxed(&heap->bins[c].spans) > 0 || heap->lists[c].head != NULL;
}

void hypi_heap_shelve(hypi_heap *heap) {
	if (heap->sampler != NULL) hypi_sample_quit(heap);
	hypi_bulk_end(heap);
	heap->shelved = true;
}

static void give_up(hypi_heap *heap, bool lists) {
	bool was_busy = hypi_heap_enter(heap);
	hypi_guard_disarm(heap);
	hypi_heap_settle(heap);
	hypi_heap_drain(heap);
	for (unsigned c = 0; lists && c < HYPI_CLASSES; c++)
		if (holds_any(heap, c)) give_class(heap, c);
	hypi_remote_flush(heap);
	hypi_large_cache_flush(heap, UINT64_MAX);
	hypi_heap_leave(heap, was_busy);
}

void hypi_heap_rest(hypi_heap *heap) { give_up(heap, false); }
void hypi_heap_trim(hypi_heap *heap) { give_up(heap, true); }

/* Classes that nobody asked for since the last time return what they hold. */
static void give_idle(hypi_heap *heap) {
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		hypi_bin *bin = &heap->bins[c];
		uint32_t allocs = hypi_load_relaxed(&heap->lists[c].allocs);
		if (bin->seen == allocs && holds_any(heap, c)) give_class(heap, c);
		bin->seen = allocs;
	}
}

void hypi_heap_look(hypi_heap *heap) {
	heap->ticks = 0;
	uint64_t now = hypi_os_now_coarse_ms();
	if (now < heap->look_ms) return;
	bool first = heap->look_ms == 0;
	uint64_t decay = heap->engine->large.decay_ms;
	heap->look_ms = now + decay / 4 + 1;
	if (first) return;
	bool was_busy = hypi_heap_enter(heap);
	hypi_guard_disarm(heap);
	hypi_heap_settle(heap);
	hypi_heap_drain(heap);
	give_idle(heap);
	hypi_heap_release_pages(heap, true);
	hypi_remote_flush(heap);
	hypi_large_cache_flush(heap, now >= decay / 2 ? now - decay / 2 : 0);
	hypi_large_pool_tick(&heap->engine->large, now);
	hypi_heap_leave(heap, was_busy);
	if (now >= decay) hypi_heap_trim_kept(heap->engine, now - decay);
	hypi_sample_look(now);
}

/* ---- the checker ---- */

static bool is_of_engine(const hypi_heap *heap, const hypi_span *span) {
	const hypi_heap *owner = hypi_load_relaxed(&span->owner);
	return owner != NULL && owner->engine == heap->engine;
}

static const char *check_list(const hypi_heap *heap, unsigned c) {
	uint32_t length = 0, want = hypi_list_length(heap, c);
	for (const hypi_block *block = heap->lists[c].head; block != NULL; block = hypi_link_get(block)) {
		const hypi_span *span = hypi_span_at(block);
		if (span == NULL || !hypi_span_holds(span, block) || !hypi_span_divides(span, (uintptr_t)block - span->base))
			return "a list names what is no block";
		if (!is_of_engine(heap, span) || span->class_index != c)
			return "a list names a block of another engine or class";
		if (!hypi_link_fits(block)) return "a list was written over";
		if (++length > want) break;
	}
	return length == want ? NULL : "a list is not as long as its counters say";
}

const char *hypi_heap_check(hypi_heap *heap) {
	if (!hypi_heap_holds(heap, &heap->nothing)) {
		const void *held = hypi_load_relaxed(&heap->held);
		const hypi_span *span = hypi_span_at(held);
		if (span == NULL || !is_of_engine(heap, span) || !hypi_span_holds(span, held) || !hypi_link_marked(held) ||
		    !hypi_heap_holds_class(heap, span->class_index))
			return "the block held back is another engine's, or of another class";
	} else if (hypi_load_relaxed(&heap->held_tag) != HYPI_TAG_NONE) {
		return "no block is held back, but its class is known";
	}
	bool bulk = heap->window == HYPI_WINDOW_BULK;
	if (bulk != (heap->bulk_window != UINTPTR_MAX)) return "a heap frees in bulk and does not know the window";
	if (bulk && heap->leaf != hypi_load_relaxed(&hypi_root[heap->bulk_window]))
		return "a heap that frees in bulk has another window's leaf";
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		const char *wrong = check_list(heap, c);
		if (wrong != NULL) return wrong;
		const hypi_span *before = NULL;
		for (hypi_span *span = heap->bins[c].first; span != NULL; before = span, span = span->next) {
			if (span->place == HYPI_UNLISTED || span->class_index != c || span->prev != before)
				return "a bin's list is broken";
			if (span->listed == 0) return "a listed span has no block";
		}
		if (heap->bins[c].last != before) return "a bin's list has a wrong end";
	}
	return NULL;
}
