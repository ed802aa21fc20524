/* core/span.c: see core/span.h. */
#include "core/span.h"

#include "base/fatal.h"
#include "core/meta.h"

#include <string.h>

uint64_t hypi_link_key;

hypi_span *hypi_span_create(hypi_large_pool *pool, unsigned c, uint32_t slices, struct hypi_heap *owner, size_t home) {
	hypi_span *span = hypi_meta_alloc(sizeof *span);
	if (span == NULL) return NULL;
	hypi_run run;
	if (hypi_large_pool_take_small(pool, slices, &run) != HYP_OK) {
		hypi_meta_free(span, sizeof *span);
		return NULL;
	}
	span->base = hypi_run_address(&run);
	span->block_bytes = hypi_class_block_bytes(c);
	span->inverse = UINT64_MAX / span->block_bytes + 1;
	if (hypi_is_pow2(span->block_bytes)) span->inverse++; /* hypi_span_starts: else the step is 0 */
	hypi_store_relaxed(&span->kind, HYPI_SPAN_SMALL);
	span->class_index = (uint8_t)c;
	span->zeroed = run.zeroed;
	span->slices = run.count;
	span->first = run.first;
	span->arena = run.arena;
	hypi_store_relaxed(&span->owner, owner);
	hypi_page_map_set_tagged(span->base, span->slices, span, hypi_class_tag(c) | HYPI_TAG_PLAIN | home);
	return span;
}

void hypi_span_destroy(hypi_large_pool *pool, hypi_span *span) {
	hypi_run run = {.arena = span->arena, .first = span->first, .count = span->slices, .small = true};
	hypi_page_map_set(span->base, span->slices, NULL);
	/* Whoever walks the page map under the pool's lock may still look at the record until the run is given back. */
	hypi_large_pool_give(pool, &run, hypi_load_relaxed(&span->carved_bytes) != 0);
	hypi_store_relaxed(&span->kind, HYPI_SPAN_NONE);
	if (span->shadow != NULL) hypi_meta_free(span->shadow, hypi_span_shadow_bytes(span));
	hypi_meta_free(span, sizeof *span);
}

/* Memory that nobody has had reads as zero. Where it does not, the owner of the block in front wrote on behind its end,
 * and the first word tells. The second is written to before the first is read: else the kernel maps a page of zeroes to
 * read, and then another to write (server loads on 16 cores took twice their time). */
static void check_fresh(const hypi_span *span, uintptr_t block, size_t count) {
	uint64_t any = 0;
	uintptr_t in_front = block == span->base ? block : block - span->block_bytes;
	for (size_t i = 0; i < count; i++, block += span->block_bytes) {
		*(volatile uint64_t *)&((hypi_block *)block)->twin = 0;
		any |= *(volatile uint64_t *)&((hypi_block *)block)->link;
	}
	if (HYP_UNLIKELY(any != 0)) hypi_fatal("buffer overflow", (const void *)in_front, span->block_bytes);
}

uint32_t hypi_span_carve(hypi_span *span, hypi_block **ret_first) {
	size_t size = span->block_bytes, at = hypi_load_relaxed(&span->carved_bytes);
	size_t total = (size_t)hypi_span_capacity(span) * size;
	if (at >= total) return 0;
	size_t page_end = hypi_round_up(span->base + at + 1, hypi_os.page_bytes) - span->base;
	size_t count = page_end > at + size ? (page_end - at) / size : 1;
	if (count > (total - at) / size) count = (total - at) / size;
	/* Lowest address first, so that fresh pages are touched in order. */
	uintptr_t block = span->base + at;
	*ret_first = (hypi_block *)block;
	if (HYP_CHECKS && span->zeroed) check_fresh(span, block, count);
	for (size_t i = 1; i < count; i++, block += size) hypi_link_set((hypi_block *)block, (hypi_block *)(block + size));
	hypi_link_set((hypi_block *)block, NULL);
	span->out += (uint32_t)count;
	hypi_store_relaxed(&span->carved_bytes, (uint32_t)(at + count * size));
	hypi_store_relaxed(&span->bound, (at + count * size) * span->inverse);
	return (uint32_t)count;
}

/* ---- links ---- */

bool hypi_block_is_free(const hypi_block *block) {
	if (!hypi_link_fits(block)) return false;
	const hypi_block *next = hypi_link_get(block);
	const hypi_span *span = next == NULL ? NULL : hypi_span_at(next);
	return next == NULL || (span != NULL && hypi_span_holds(span, next));
}

/* ---- other threads ---- */

bool hypi_span_push_remote(hypi_span *span, hypi_block *head, hypi_block *tail, uint32_t count) {
	uint64_t before = hypi_load_relaxed(&span->remote), after;
	do {
		uint32_t have = hypi_chain_count(before);
		hypi_link_set(tail, have == 0 ? NULL : (hypi_block *)(span->base + (uint32_t)before));
		after = HYPI_PENDING | ((uint64_t)(have + count) << 32) | (uint32_t)((uintptr_t)head - span->base);
		/* release: pairs with the acquire in hypi_span_collect */
	} while (!hypi_cas_weak_release(&span->remote, &before, after));
	return (before & HYPI_PENDING) == 0;
}

uint32_t hypi_span_collect(hypi_span *span) {
	if (hypi_chain_count(hypi_load_relaxed(&span->remote)) == 0) return 0;
	/* acquire: pairs with the release in hypi_span_push_remote */
	uint64_t chain = atomic_fetch_and_explicit(&span->remote, HYPI_PENDING, memory_order_acquire);
	uint32_t count = hypi_chain_count(chain);
	span->free = (hypi_block *)(span->base + (uint32_t)chain);
	span->last = NULL;
	span->listed = count;
	span->out -= count;
	return count;
}

/* ---- the checker ---- */

static const char *check_chain(const hypi_span *span, const hypi_block *at, uint64_t *seen, uint32_t *count) {
	for (; at != NULL; at = hypi_link_get(at)) {
		uint64_t offset = (uintptr_t)at - span->base;
		if (!hypi_span_holds(span, at)) return "a link leaves its span";
		if (!hypi_span_divides(span, offset)) return "a link points inside a block";
		if (!hypi_link_fits(at)) return "a link was written over";
		uint64_t index = offset / span->block_bytes;
		if (seen[index >> 6] >> (index & 63) & 1) return "a block is free twice";
		seen[index >> 6] |= UINT64_C(1) << (index & 63);
		(*count)++;
	}
	return NULL;
}

const char *hypi_span_check(const hypi_span *span) {
	uint64_t seen[HYPI_SLICE_BYTES / 64] = {0};
	uint32_t capacity = hypi_span_capacity(span);
	uint64_t carved = hypi_load_relaxed(&span->carved_bytes);
	if (capacity > sizeof seen * 8) return "a span has too many blocks";
	if (carved % span->block_bytes != 0 || carved / span->block_bytes > capacity) return "carved_bytes is wrong";
	if (hypi_load_relaxed(&span->bound) != carved * span->inverse) return "carved_bytes and bound disagree";
	if (hypi_span_at((void *)span->base) != span) return "the page map does not know a span";
	if ((hypi_entry_tag(hypi_entry_at((void *)span->base)) & HYPI_TAG_CLASS) != hypi_class_tag(span->class_index))
		return "the page map has another class for a span";
	uint32_t listed = 0, waiting = 0;
	const char *wrong = check_chain(span, span->free, seen, &listed);
	if (wrong != NULL) return wrong;
	uint64_t chain = hypi_load_acquire(&((hypi_span *)(uintptr_t)span)->remote); /* pairs with hypi_span_push_remote */
	uint32_t count = hypi_chain_count(chain);
	if (count != 0) wrong = check_chain(span, (hypi_block *)(span->base + (uint32_t)chain), seen, &waiting);
	if (wrong != NULL) return wrong;
	if (waiting != count) return "the remote chain is not as long as it says";
	if (listed != span->listed) return "the list is not as long as it says";
	if (span->listed + span->out != carved / span->block_bytes) return "listed and out do not add up";
	if (count > span->out) return "more blocks came back than were out";
	return NULL;
}
