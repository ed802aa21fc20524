/*
 * heap/guard.c: blocks between guard pages, and what becomes of them when they are freed; see heap/harden.h.
 *
 * Layout, from a slice's edge: one slice without access; the pages of the block, in whose last bytes it ends (rounded
 * to its alignment: at most 15 bytes of canary behind it, as a rule); the rest of the mapping without access. The block
 * begins in the first of its pages, and so in the second slice: that one's entry in the page map is the block's. The
 * bytes of that page in front of it hold a canary, too. Behind a block of ROOM_FROM bytes there is room without access to
 * grow into by half, so that growing in small steps copies seldom; it costs address space alone, and where that is
 * limited there is none.
 *
 * A freed one lies without access in a ring of RING_ENTRIES and RING_BYTES at most, still known to the page map: a
 * second free is told as such.
 */
#include "heap/harden.h"

#include "base/fatal.h"
#include "core/meta.h"

#include <errno.h>
#include <string.h>

enum { GUARDS_MOST = 5000, RING_ENTRIES = 64 };
#define RING_BYTES ((size_t)1 << 30)
#define RING_BYTES_TIGHT ((size_t)16 << 20)
#define ROOM_FROM ((size_t)1 << 20)

static _Atomic uint32_t guards;
static struct {
	hypi_lock lock;
	hypi_span *spans[RING_ENTRIES];
	uint32_t next; /* the oldest's place, when there is one */
	size_t bytes;  /* of address space */
} ring;

/* Also of a sampled one, whose page is the first of its slice. */
static uintptr_t pages_of(const hypi_span *span) { return span->base & ~(uintptr_t)(HYPI_SLICE_BYTES - 1); }

static void unmap(hypi_span *span) {
	hypi_large_pool *pool = &hypi_default_engine.large;
	uintptr_t start = pages_of(span) - HYPI_SLICE_BYTES;
	size_t bytes = span->mapped_bytes;
	hypi_page_map_set(span->base, 1, NULL);
	if (pool->backing.release(pool->backing.context, start, bytes) != HYP_OK) {
		/* The kernel's table of mappings is full: the range lies without access and memory. (A purge of the pool's would
		 * write to it.) */
		hypi_add_relaxed(&pool->purge_failures, 1);
		if (hypi_os_decommit((void *)start, bytes) != HYP_OK) hypi_add_relaxed(&pool->purge_failures, 1);
	}
	hypi_lock_take(&pool->lock);
	pool->huge_bytes -= bytes;
	hypi_unlock(&pool->lock);
	hypi_store_relaxed(&span->kind, HYPI_SPAN_NONE);
	hypi_meta_free(span, sizeof *span);
	hypi_sub_relaxed(&guards, 1);
}

/* Address space is limited, or was refused: none is kept that is not in use. */
static bool tight(void) { return hypi_os.address_limit_bytes != 0 || hypi_default_engine.large.tight; }

bool hypi_guard_flush(void) {
	bool any = false;
	int saved = errno;
	for (uint32_t i = 0; i < RING_ENTRIES; i++) {
		hypi_lock_take(&ring.lock);
		hypi_span *span = ring.spans[i];
		ring.spans[i] = NULL;
		if (span != NULL) ring.bytes -= span->mapped_bytes;
		hypi_unlock(&ring.lock);
		if (span != NULL) unmap(span);
		any |= span != NULL;
	}
	errno = saved;
	return any;
}

/* Most address space of freed blocks. */
static size_t ring_bytes(void) {
	size_t limit = hypi_os.address_limit_bytes;
	if (limit != 0 && limit / 32 < RING_BYTES) return limit / 32;
	return tight() ? RING_BYTES_TIGHT : RING_BYTES;
}

/* Maps [guard slice][body][guard] and returns where the body is; 0. */
static uintptr_t map(size_t body, size_t total) {
	hypi_large_pool *pool = &hypi_default_engine.large;
	uintptr_t start = hypi_large_pool_map_huge(pool, total, HYPI_SLICE_BYTES), pages = start + HYPI_SLICE_BYTES;
	if (start == 0) return 0;
	if (hypi_page_map_cover(pages, HYPI_SLICE_BYTES) && hypi_os_guard((void *)start, HYPI_SLICE_BYTES) == HYP_OK &&
	    hypi_os_guard((void *)(pages + body), total - HYPI_SLICE_BYTES - body) == HYP_OK)
		return pages;
	hypi_large_pool_unmap_huge(pool, start, total);
	return 0;
}

void hypi_guard_fill(const hypi_span *span, uintptr_t from, uintptr_t to) {
	uint64_t canary = hypi_canary_of(span->base);
	hypi_canary_write(canary, (void *)from, (void *)span->base);
	hypi_canary_write(canary, (void *)(span->base + span->asked_plus1 - 1), (void *)to);
}

void *hypi_guard_alloc(size_t bytes, size_t alignment) {
	size_t page = hypi_os.page_bytes, body = hypi_round_up(bytes == 0 ? 1 : bytes, page);
	if (bytes > PTRDIFF_MAX / 2 || alignment > page) return NULL;
	if (alignment < 16) alignment = 16;
	int saved = errno;
	hypi_span *span = hypi_add_relaxed(&guards, 1) < GUARDS_MOST ? hypi_meta_alloc(sizeof *span) : NULL;
	size_t room = body >= ROOM_FROM && !tight() ? body / 2 : 0;
	size_t total = hypi_round_up(HYPI_SLICE_BYTES + body + room + page, HYPI_SLICE_BYTES);
	uintptr_t pages = span != NULL ? map(body, total) : 0;
	if (span != NULL && pages == 0 && hypi_guard_flush()) pages = map(body, total);
	if (pages == 0) {
		if (span != NULL) hypi_meta_free(span, sizeof *span);
		hypi_sub_relaxed(&guards, 1);
		errno = saved;
		return NULL;
	}
	span->base = pages + body - hypi_round_up(bytes == 0 ? 1 : bytes, alignment);
	span->block_bytes = body - (span->base - pages);
	span->asked_plus1 = bytes + 1;
	span->mapped_bytes = total;
	span->engine = &hypi_default_engine;
	span->first = 1;
	hypi_store_relaxed(&span->kind, HYPI_SPAN_HUGE);
	hypi_guard_fill(span, pages, pages + body);
	hypi_page_map_set(span->base, 1, span);
	return (void *)span->base;
}

void hypi_guard_check(const hypi_span *span) {
	uint64_t canary = hypi_canary_of(span->base);
	uintptr_t end = span->base + span->block_bytes, asked = span->asked_plus1 - 1;
	if (hypi_canary_differs(canary, (void *)(span->base + asked), (void *)end) != NULL)
		hypi_fatal("buffer overflow", (void *)span->base, asked);
	if (hypi_canary_differs(canary, (void *)pages_of(span), (void *)span->base) != NULL)
		hypi_fatal("buffer underflow", (void *)span->base, asked);
}

bool hypi_guard_resize(hypi_span *span, size_t bytes) {
	if (span->first == HYPI_GUARD_SLOT) return bytes == span->asked_plus1 - 1;
	uintptr_t pages = pages_of(span);
	size_t page = hypi_os.page_bytes, before = span->base - pages, body = before + span->block_bytes;
	size_t most = span->mapped_bytes - HYPI_SLICE_BYTES - page;
	if (bytes > most - before || bytes < span->block_bytes / 2 || bytes == 0) return false;
	size_t wanted = hypi_round_up(before + bytes, page);
	int saved = errno;
	hyp_status status = HYP_OK;
	if (wanted > body) status = hypi_os_commit((void *)(pages + body), wanted - body);
	else if (wanted < body && hypi_os_decommit((void *)(pages + wanted), body - wanted) != HYP_OK) wanted = body;
	errno = saved;
	if (status != HYP_OK) return false;
	span->block_bytes = wanted - before;
	span->asked_plus1 = bytes + 1;
	hypi_canary_write(hypi_canary_of(span->base), (void *)(span->base + bytes), (void *)(pages + wanted));
	return true;
}

void hypi_guard_free(hypi_span *span) {
	if (span->first == HYPI_GUARD_SLOT) {
		hypi_guard_slot_free(span);
		return;
	}
	int saved = errno;
	size_t bytes = span->mapped_bytes;
	hypi_store_relaxed(&span->kind, HYPI_SPAN_CACHED);
	if (bytes > ring_bytes() / 4 || hypi_os_decommit((void *)(pages_of(span) - HYPI_SLICE_BYTES), bytes) != HYP_OK) {
		unmap(span);
		errno = saved;
		return;
	}
	for (;;) {
		hypi_lock_take(&ring.lock);
		hypi_span *oldest = ring.spans[ring.next];
		if (oldest == NULL && ring.bytes + bytes <= ring_bytes()) break;
		ring.spans[ring.next] = NULL;
		ring.next = (ring.next + 1) % RING_ENTRIES;
		if (oldest != NULL) ring.bytes -= oldest->mapped_bytes;
		hypi_unlock(&ring.lock);
		if (oldest != NULL) unmap(oldest);
	}
	/* The place at `next` is empty: the newest takes it, and the oldest is the next one that is not. */
	ring.spans[ring.next] = span;
	ring.next = (ring.next + 1) % RING_ENTRIES;
	ring.bytes += bytes;
	hypi_unlock(&ring.lock);
	errno = saved;
}

void hypi_harden_fork_prepare(void) { hypi_lock_take(&ring.lock); }
void hypi_harden_fork_parent(void) { hypi_unlock(&ring.lock); }
void hypi_harden_fork_child(void) { hypi_lock_reset(&ring.lock); }
