/* pool/region.c: see pool/region.h. */
#include "pool/region.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "core/size_class.h"

#include <string.h>

static _Atomic uint8_t *kinds_of(const hypi_region *r) {
	return (_Atomic uint8_t *)((char *)(uintptr_t)r + r->kinds_offset);
}

static uint64_t *set_of(const hypi_region *r, unsigned order) {
	return (uint64_t *)((char *)(uintptr_t)r + r->bits_offset) + r->order_words[order];
}

/* A class by granules: core/size_class.h counts in 16 bytes what is here a granule. */
static unsigned class_of(uint64_t granules) { return hypi_class_of(granules << 4); }
static uint64_t class_granules(unsigned c) { return hypi_class_bytes(c) >> 4; }

/* ---- sets: bitmaps of bitmaps, the widest first ---- */

static uint64_t words_for(uint64_t bits) { return (bits + 63) / 64; }

static uint64_t set_words(uint64_t bits) {
	uint64_t total = 0;
	do {
		bits = words_for(bits);
		total += bits;
	} while (bits > 1);
	return total;
}

static uint64_t bits_of_order(const hypi_region *r, unsigned order) { return (r->granules >> order) + 1; }

static bool set_holds(const hypi_region *r, unsigned order, uint64_t i) {
	return set_of(r, order)[i >> 6] >> (i & 63) & 1;
}

static void set_add(hypi_region *r, unsigned order, uint64_t i) {
	uint64_t *level = set_of(r, order), words = words_for(bits_of_order(r, order));
	for (;;) {
		uint64_t before = level[i >> 6];
		level[i >> 6] = before | UINT64_C(1) << (i & 63);
		if (before != 0 || words == 1) return;
		level += words;
		words = words_for(words);
		i >>= 6;
	}
}

static void set_remove(hypi_region *r, unsigned order, uint64_t i) {
	uint64_t *level = set_of(r, order), words = words_for(bits_of_order(r, order));
	for (;;) {
		level[i >> 6] &= ~(UINT64_C(1) << (i & 63));
		if (level[i >> 6] != 0 || words == 1) return;
		level += words;
		words = words_for(words);
		i >>= 6;
	}
}

/* The lowest member. False: it is empty. */
static bool set_first(const hypi_region *r, unsigned order, uint64_t *ret_i) {
	const uint64_t *levels[8];
	unsigned depth = 0;
	const uint64_t *level = set_of(r, order);
	for (uint64_t words = words_for(bits_of_order(r, order));; words = words_for(words)) {
		levels[depth++] = level;
		if (words == 1) break;
		level += words;
	}
	if (levels[depth - 1][0] == 0) return false;
	uint64_t i = 0;
	while (depth-- > 0) i = i << 6 | hypi_ctz(levels[depth][i]);
	*ret_i = i;
	return true;
}

/* ---- layout ---- */

void hypi_region_lay_out(hypi_region *r, uint64_t granules) {
	r->version = HYPI_REGION_VERSION;
	r->lock_bytes = sizeof(hypi_robust_lock);
	r->granules = granules;
	r->kinds_offset = hypi_round_up(sizeof *r, 4096);
	r->pages_offset = r->kinds_offset + granules;
	r->bits_offset = r->pages_offset + (words_for((granules << HYPI_GRANULE_LOG2 >> HYPI_REGION_PAGES_LOG2) + 1) << 3);
	r->orders = hypi_log2_floor(granules) + 1;
	uint64_t words = 0;
	for (unsigned order = 0; order < HYPI_REGION_ORDERS; order++) {
		r->order_words[order] = words;
		if (order < r->orders) words += set_words(bits_of_order(r, order));
	}
	r->data_offset = hypi_round_up(r->bits_offset + words * 8, 65536);
	r->region_bytes = hypi_round_up(r->data_offset + (granules << HYPI_GRANULE_LOG2), 65536);
}

bool hypi_region_is_sound(const hypi_region *r, size_t bytes) {
	if (bytes < sizeof *r || r->version != HYPI_REGION_VERSION || r->region_bytes != bytes) return false;
	if (r->granules == 0 || r->granules % 64 != 0 || r->granules > UINT64_C(1) << 32) return false;
	hypi_region ours;
	hypi_region_lay_out(&ours, r->granules);
	return ours.region_bytes == r->region_bytes && ours.lock_bytes == r->lock_bytes &&
	       ours.kinds_offset == r->kinds_offset && ours.pages_offset == r->pages_offset &&
	       ours.bits_offset == r->bits_offset && ours.data_offset == r->data_offset && ours.orders == r->orders &&
	       memcmp(ours.order_words, r->order_words, sizeof ours.order_words) == 0;
}

/* ---- the buddy system ---- */

static void give_block(hypi_region *r, unsigned order, uint64_t block) {
	while (order + 1 < r->orders && set_holds(r, order, block ^ 1)) {
		set_remove(r, order, block ^ 1);
		block >>= 1;
		order++;
	}
	set_add(r, order, block);
}

static void give_range(hypi_region *r, uint64_t first, uint64_t end) {
	while (first < end) {
		unsigned order = hypi_log2_floor(end - first);
		if (first != 0 && hypi_ctz(first) < order) order = hypi_ctz(first);
		give_block(r, order, first >> order);
		first += UINT64_C(1) << order;
	}
}

bool hypi_region_rebuild(hypi_region *r) {
	_Atomic uint8_t *kinds = kinds_of(r);
	memset(set_of(r, 0), 0, r->data_offset - r->bits_offset);
	r->used_granules = r->blocks = 0;
	uint64_t free_from = 0, at = 0;
	while (at < r->granules) {
		uint8_t kind = hypi_load_relaxed(&kinds[at]);
		if (kind == 0) {
			at++;
			continue;
		}
		uint64_t count = class_granules(kind - 1u);
		if (count > r->granules - at) return false;
		for (uint64_t i = 1; i < count; i++)
			if (hypi_load_relaxed(&kinds[at + i]) != 0) return false;
		give_range(r, free_from, at);
		r->used_granules += count;
		r->blocks++;
		at += count;
		free_from = at;
	}
	give_range(r, free_from, r->granules);
	return true;
}

bool hypi_region_take(hypi_region *r, size_t bytes, uint64_t *ret_granule) {
	if (bytes > r->granules << HYPI_GRANULE_LOG2) return false;
	unsigned c = class_of((bytes + (bytes == 0) + 63) >> HYPI_GRANULE_LOG2);
	uint64_t count = class_granules(c), block = 0;
	unsigned want = hypi_log2_ceil(count), order = want;
	while (order < r->orders && !set_first(r, order, &block)) order++;
	if (order >= r->orders) return false;
	set_remove(r, order, block);
	while (order > want) {
		order--;
		block <<= 1;
		set_add(r, order, block | 1);
	}
	uint64_t first = block << want;
	give_range(r, first + count, first + (UINT64_C(1) << want));
	r->used_granules += count;
	r->blocks++;
	/* From this store on it is allocated. release: the derived records do not sink below it, which would matter to
	 * nobody but a debugger; a killed process's stores are all there in program order. */
	hypi_store_release(&kinds_of(r)[first], (uint8_t)(c + 1));
	*ret_granule = first;
	return true;
}

uint64_t hypi_region_block(const hypi_region *r, uint64_t granule) {
	if (granule >= r->granules) return 0;
	uint8_t kind = hypi_load_relaxed(&kinds_of(r)[granule]);
	uint64_t count = kind == 0 ? 0 : class_granules(kind - 1u);
	return count <= r->granules - granule ? count : 0; /* a damaged byte is no block */
}

void hypi_region_give(hypi_region *r, uint64_t granule) {
	uint64_t count = hypi_region_block(r, granule);
	hypi_store_relaxed(&kinds_of(r)[granule], 0); /* from here on it is free */
	atomic_signal_fence(memory_order_seq_cst);
	give_range(r, granule, granule + count);
	r->used_granules -= count;
	r->blocks--;
}

/* ---- the file's pages ---- */

static uint64_t *pages_of(const hypi_region *r) { return (uint64_t *)((char *)(uintptr_t)r + r->pages_offset); }

bool hypi_region_next_missing(const hypi_region *r, uint64_t granule, uint64_t count, uint64_t *ret_offset,
                              uint64_t *ret_bytes) {
	const uint64_t *pages = pages_of(r);
	unsigned shift = HYPI_REGION_PAGES_LOG2 - HYPI_GRANULE_LOG2;
	uint64_t at = granule >> shift, end = ((granule + count - 1) >> shift) + 1;
	while (at < end && (pages[at >> 6] >> (at & 63) & 1) != 0) at++;
	if (at == end) return false;
	uint64_t first = at;
	while (at < end && (pages[at >> 6] >> (at & 63) & 1) == 0) at++;
	uint64_t last = at << shift < r->granules ? at << shift : r->granules;
	*ret_offset = r->data_offset + (first << HYPI_REGION_PAGES_LOG2);
	*ret_bytes = (last << HYPI_GRANULE_LOG2) - (first << HYPI_REGION_PAGES_LOG2);
	return true;
}

void hypi_region_made(hypi_region *r, uint64_t offset, uint64_t bytes) {
	uint64_t at = (offset - r->data_offset) >> HYPI_REGION_PAGES_LOG2;
	uint64_t end =
		hypi_round_up(offset - r->data_offset + bytes, UINT64_C(1) << HYPI_REGION_PAGES_LOG2) >> HYPI_REGION_PAGES_LOG2;
	for (; at < end; at++) pages_of(r)[at >> 6] |= UINT64_C(1) << (at & 63);
}

uint64_t hypi_region_largest_free(const hypi_region *r) {
	uint64_t block = 0;
	for (unsigned order = r->orders; order-- > 0;)
		if (set_first(r, order, &block)) return UINT64_C(1) << order;
	return 0;
}

/* ---- the checker ---- */

static const char *check_set(const hypi_region *r, unsigned order, uint64_t *free_granules) {
	const uint64_t *level = set_of(r, order);
	uint64_t bits = bits_of_order(r, order), words = words_for(bits);
	for (uint64_t i = 0; i < r->granules >> order; i++) {
		if (!set_holds(r, order, i)) continue;
		*free_granules += UINT64_C(1) << order;
		if (order + 1 < r->orders && (i ^ 1) < r->granules >> order && set_holds(r, order, i ^ 1))
			return "two buddies are both free";
		for (uint64_t g = i << order; g < (i + 1) << order; g++)
			if (hypi_load_relaxed(&kinds_of(r)[g]) != 0) return "a block starts in free granules";
	}
	for (; words > 1; words = words_for(words)) {
		const uint64_t *above = level + words;
		for (uint64_t i = 0; i < words; i++)
			if ((above[i >> 6] >> (i & 63) & 1) != (level[i] != 0)) return "a set's upper bitmap is wrong";
		level = above;
	}
	return NULL;
}

const char *hypi_region_check(hypi_region *r) {
	uint64_t used = 0, blocks = 0, free_granules = 0;
	for (uint64_t at = 0; at < r->granules;) {
		uint64_t count = hypi_region_block(r, at);
		if (count == 0 && hypi_load_relaxed(&kinds_of(r)[at]) != 0) return "a block leaves the region";
		for (uint64_t i = 1; i < count; i++)
			if (hypi_load_relaxed(&kinds_of(r)[at + i]) != 0) return "two blocks overlap";
		used += count;
		blocks += count != 0;
		at += count == 0 ? 1 : count;
	}
	for (unsigned order = 0; order < r->orders; order++) {
		const char *wrong = check_set(r, order, &free_granules);
		if (wrong != NULL) return wrong;
	}
	if (used != r->used_granules || blocks != r->blocks) return "the counts of blocks are wrong";
	return used + free_granules == r->granules ? NULL : "free and used granules do not add up";
}
