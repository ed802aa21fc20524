/*
 * heap/guard_sample.c: at the default level, one small allocation in about `guard` (5000) gets a page of its own between
 * pages without access, so that a write behind its end is seen sooner or later by somebody's run. At level 3 it is one in
 * 1000, which heap/harden.c chooses.
 *
 * Owns up to SLOTS_MOST pages, each in a slice of its own, so that the page map has an entry for each. A block ends at
 * its page's end (rounded to its alignment); what is left of the page is canary, compared when the block is freed, and
 * tells an underflow, too. A freed slot is without access until all others that are free were used: whoever touches it
 * or the pages around is stopped by the processor. No signal handler is installed. Its record stays in the page map: a
 * second free is told as such. Where no slot is free, the kernel refuses, or address space is limited, nothing is
 * sampled.
 *
 * How it costs the hit paths nothing: a heap counts what passes in its slow paths (hypi_heap_event, refills). When the
 * next one is due, the list of the class at hand is set aside whole, so that the next allocation of that class finds an
 * empty list and comes to the slow path; whichever allocation comes there first is the sampled one, and the list is put
 * back. A pick takes a system call and a page fault, its free two calls: there is at least GAP_NS between two of the
 * process, which bounds the time to less than 1 % however fast a program allocates. (The profiler's counts, in
 * heap/sample.h, are drawn for each class and cut lists a dozen times a sample: exact, and too dear to have always on.)
 *
 * Who may touch what: the fields guard_... of a heap are its thread's. The slots have a lock, outermost beside limbo's.
 *
 * Learned from: GWP-ASan (Serebryany et al., 2018 and 2023).
 */
#include "heap/harden.h"

#include "core/meta.h"
#include "heap/sample.h"

#include <errno.h>
#include <string.h>

enum { SLOTS_MOST = 64, GAP_NS = 3000000 };

static struct {
	hypi_lock lock;
	_Atomic bool refused;         /* no address space for them, or not where it is limited */
	hypi_span *records;           /* `most` of them; NULL: not made yet */
	uint32_t most;                /* as the level says */
	uint32_t first, count;        /* of `waiting` */
	uint32_t waiting[SLOTS_MOST]; /* free slots; the one that was freed first comes next */
} slots;
static _Atomic uint64_t next_ns; /* before which nothing is sampled: a rate, which orders nothing else */

static size_t stride(void) { return hypi_round_up(2 * hypi_os.page_bytes, HYPI_SLICE_BYTES); }
static uintptr_t page_of(const hypi_span *span) { return hypi_round_down(span->base, hypi_os.page_bytes); }

/* ---- the slots ---- */

static bool make_slots(void) {
	uint32_t most = hypi_harden.config.slots;
	size_t each = stride(), total = HYPI_SLICE_BYTES + most * each;
	if (hypi_os.address_limit_bytes != 0) return false;
	hypi_span *records = hypi_meta_alloc(most * sizeof *records);
	if (records == NULL) return false;
	uintptr_t start = (uintptr_t)hypi_os_reserve(total, HYPI_SLICE_BYTES), at = start + HYPI_SLICE_BYTES;
	if (start == 0 || !hypi_page_map_cover(at, most * each)) {
		hypi_meta_free(records, most * sizeof *records);
		if (start != 0 && hypi_os_unmap((void *)start, total) != HYP_OK)
			hypi_add_relaxed(&hypi_default_engine.large.purge_failures, 1); /* address space, no memory */
		return false;
	}
	for (uint32_t i = 0; i < most; i++, at += each) {
		records[i] = (hypi_span){.base = at, .engine = &hypi_default_engine, .first = HYPI_GUARD_SLOT, .slices = i};
		slots.waiting[i] = i;
	}
	slots.count = slots.most = most;
	slots.records = records;
	return true;
}

/* The slot that waited longest, or NULL. */
static hypi_span *take_slot(void) {
	hypi_span *span = NULL;
	hypi_lock_take(&slots.lock);
	/* Once in a process's life the lock is held over the calls that make the slots. */
	if (slots.records == NULL && !hypi_load_relaxed(&slots.refused)) hypi_store_relaxed(&slots.refused, !make_slots());
	if (slots.count > 0) {
		span = &slots.records[slots.waiting[slots.first]];
		slots.first = (slots.first + 1) % slots.most;
		slots.count--;
	}
	hypi_unlock(&slots.lock);
	return span;
}

static void give_slot(const hypi_span *span) {
	hypi_lock_take(&slots.lock);
	slots.waiting[(slots.first + slots.count++) % slots.most] = span->slices;
	hypi_unlock(&slots.lock);
}

static void count_page(bool freed) {
	hypi_large_pool *pool = &hypi_default_engine.large;
	hypi_lock_take(&pool->lock);
	pool->huge_bytes += freed ? -hypi_os.page_bytes : hypi_os.page_bytes;
	hypi_unlock(&pool->lock);
}

void *hypi_guard_slot_alloc(size_t bytes, size_t alignment) {
	size_t page = hypi_os.page_bytes;
	if (bytes > page || alignment > page) return NULL;
	size_t body = hypi_round_up(bytes == 0 ? 1 : bytes, alignment < 16 ? 16 : alignment);
	int saved = errno;
	hypi_span *span = take_slot();
	if (span == NULL || hypi_os_commit((void *)page_of(span), page) != HYP_OK) {
		if (span != NULL) give_slot(span);
		errno = saved;
		return NULL;
	}
	uintptr_t start = page_of(span), end = start + page;
	span->base = end - body;
	span->block_bytes = body;
	span->asked_plus1 = bytes + 1;
	span->place = HYPI_UNLISTED;
	hypi_guard_fill(span, start, end);
	hypi_store_relaxed(&span->kind, HYPI_SPAN_HUGE);
	hypi_page_map_set(start, 1, span);
	count_page(false);
	return (void *)span->base;
}

void hypi_guard_slot_free(hypi_span *span) {
	int saved = errno;
	hypi_store_relaxed(&span->kind, HYPI_SPAN_CACHED);
	/* A page that the kernel does not take away keeps what it holds: it is not used again. */
	if (hypi_os_decommit((void *)page_of(span), hypi_os.page_bytes) == HYP_OK) give_slot(span);
	else hypi_add_relaxed(&hypi_default_engine.large.purge_failures, 1);
	count_page(true);
	errno = saved;
}

void hypi_guard_sample_fork_prepare(void) { hypi_lock_take(&slots.lock); }
void hypi_guard_sample_fork_parent(void) { hypi_unlock(&slots.lock); }
void hypi_guard_sample_fork_child(void) { hypi_lock_reset(&slots.lock); }

/* ---- which allocation it is ---- */

void hypi_guard_disarm(hypi_heap *heap) {
	heap->guard_armed = false;
	hypi_block *rest = heap->guard_rest;
	if (rest == NULL) return;
	bool was_busy = heap->busy;
	heap->busy = true;
	unsigned c = heap->guard_class;
	hypi_list *list = &heap->lists[c];
	heap->guard_rest = NULL;
	heap->bins[c].stock += heap->guard_rest_count;
	if (list->head != NULL) {
		hypi_block *last = list->head;
		for (hypi_block *next; (next = hypi_link_follow(last)) != NULL;) last = next;
		hypi_link_set(last, rest);
	} else {
		list->head = rest;
	}
	hypi_list_arm(heap, c);
	heap->busy = was_busy;
}

static void set_aside(hypi_heap *heap, unsigned c) {
	bool was_busy = heap->busy;
	heap->busy = true;
	if (heap->sampler != NULL) hypi_sample_settle(heap, c);
	heap->guard_rest_count = hypi_list_length(heap, c);
	heap->guard_rest = heap->lists[c].head;
	heap->guard_class = (uint8_t)c;
	heap->lists[c].head = NULL;
	heap->bins[c].stock -= heap->guard_rest_count;
	hypi_list_arm(heap, c);
	heap->busy = was_busy;
}

bool hypi_guard_turn(void) {
	uint64_t now = hypi_os_now_ns(), before = hypi_load_relaxed(&next_ns);
	return now >= before && atomic_compare_exchange_strong_explicit(&next_ns, &before, now + GAP_NS,
	                                                                memory_order_relaxed, memory_order_relaxed);
}

void hypi_guard_due(hypi_heap *heap, unsigned c) {
	uint32_t every = hypi_harden.config.sample_every;
	bool first = heap->guard_random == 0;
	if (every == 0 || heap != hypi_self.heap) {
		heap->until_guard = 1 << 20; /* not at all, or not as long as somebody else looks after the heap */
		return;
	}
	if (first) heap->guard_random = hypi_os.random ^ hypi_mix64((uintptr_t)heap);
	heap->guard_random += UINT64_C(0x9e3779b97f4a7c15);
	heap->until_guard = 1 + (uint32_t)(hypi_mix64(heap->guard_random) % (2 * (uint64_t)every));
	if (first || heap->guard_armed || hypi_load_relaxed(&slots.refused)) return;
	if (!hypi_guard_turn()) return;
	if (c < HYPI_CLASSES && hypi_class_bytes(c) <= hypi_os.page_bytes) set_aside(heap, c);
	heap->guard_armed = true;
}

void *hypi_guard_pick(hypi_heap *heap, size_t bytes, size_t alignment, bool zero) {
	hypi_guard_disarm(heap);
	if (hypi_self.hooked) return NULL;
	void *p = hypi_guard_slot_alloc(bytes, alignment);
	if (p == NULL) return NULL;
	if (zero) memset(p, 0, bytes); /* where the kernel lied about the page */
	hypi_harden_count(heap, hypi_span_at(p), false);
	if (hypi_sample_concerns(heap)) hypi_sample_large(heap, hypi_span_at(p), bytes);
	return p;
}
