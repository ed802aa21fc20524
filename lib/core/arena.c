/* core/arena.c: the buddy system; see core/arena.h. */
#include "core/arena.h"

#include <string.h>

/* Order k has slices >> k blocks. Its bitmap starts after those of the smaller orders; from the order with one word
 * on, each has a word of its own. */
static size_t words_before(unsigned order) {
	size_t total = 2 * HYPI_BITMAP_WORDS;
	unsigned single = hypi_log2_floor(HYPI_BITMAP_WORDS);
	return order <= single ? total - (total >> order) : total - 2 + (order - single);
}

_Static_assert(2 * HYPI_BITMAP_WORDS - 1 + HYPI_ORDERS <= HYPI_BUDDY_WORDS, "the buddy bitmaps fit");

static uint64_t *word_of(hypi_arena *arena, unsigned order, uint32_t block) {
	return &arena->buddy[words_before(order) + (block >> 6)];
}

static bool is_free(const hypi_arena *arena, unsigned order, uint32_t block) {
	return arena->buddy[words_before(order) + (block >> 6)] >> (block & 63) & 1;
}

static void set_free(hypi_arena *arena, unsigned order, uint32_t block) {
	*word_of(arena, order, block) |= UINT64_C(1) << (block & 63);
	arena->summary[order] |= UINT64_C(1) << (block >> 6);
	arena->orders |= 1u << order;
}

static void clear_free(hypi_arena *arena, unsigned order, uint32_t block) {
	uint64_t *word = word_of(arena, order, block);
	*word &= ~(UINT64_C(1) << (block & 63));
	if (*word != 0) return;
	arena->summary[order] &= ~(UINT64_C(1) << (block >> 6));
	if (arena->summary[order] == 0) arena->orders &= ~(1u << order);
}

/* ---- ranges of a slice bitmap ---- */

static uint64_t range_mask(uint32_t *first, uint32_t end) {
	unsigned shift = *first & 63;
	uint32_t here = 64 - shift, left = end - *first;
	if (here > left) here = left;
	*first += here;
	return hypi_low_mask(here) << shift;
}

static void range_set(uint64_t *bits, uint32_t first, uint32_t count) {
	for (uint32_t at = first, end = first + count; at < end;) {
		uint64_t *word = &bits[at >> 6];
		*word |= range_mask(&at, end);
	}
}

static void range_clear(uint64_t *bits, uint32_t first, uint32_t count) {
	for (uint32_t at = first, end = first + count; at < end;) {
		uint64_t *word = &bits[at >> 6];
		*word &= ~range_mask(&at, end);
	}
}

static bool range_any(const uint64_t *bits, uint32_t first, uint32_t count) {
	for (uint32_t at = first, end = first + count; at < end;) {
		uint64_t word = bits[at >> 6];
		if (word & range_mask(&at, end)) return true;
	}
	return false;
}

static uint32_t range_count(const uint64_t *bits, uint32_t first, uint32_t count) {
	uint32_t total = 0;
	for (uint32_t at = first, end = first + count; at < end;) {
		uint64_t word = bits[at >> 6];
		total += hypi_popcount(word & range_mask(&at, end));
	}
	return total;
}

/* ---- the buddy system ---- */

void hypi_arena_init(hypi_arena *arena, uintptr_t base, uint32_t slices) {
	memset(arena, 0, sizeof *arena);
	arena->base = base;
	arena->slices = slices;
	arena->order = hypi_log2_floor(slices);
	arena->free_slices = slices;
	set_free(arena, arena->order, 0);
}

static void give_block(hypi_arena *arena, unsigned order, uint32_t block) {
	while (order < arena->order && is_free(arena, order, block ^ 1)) {
		clear_free(arena, order, block ^ 1);
		block >>= 1;
		order++;
	}
	set_free(arena, order, block);
}

/* Frees a range in the largest aligned blocks that make it up. */
static void give_range(hypi_arena *arena, uint32_t first, uint32_t end) {
	while (first < end) {
		unsigned order = hypi_log2_floor(end - first);
		if (first != 0 && hypi_ctz(first) < order) order = hypi_ctz(first);
		give_block(arena, order, first >> order);
		first += 1u << order;
	}
}

/* The smallest free block at the lowest address. */
static uint32_t smallest(const hypi_arena *arena, unsigned want) {
	unsigned order = hypi_ctz(arena->orders >> want << want);
	uint32_t word = hypi_ctz(arena->summary[order]);
	return ((word << 6) + hypi_ctz(arena->buddy[words_before(order) + word])) << order;
}

/* Where to take 2^want slices: of the first places with dirty memory, which costs nothing more, the one that has most of
 * it; of equal ones that in the smallest free block. Without any, the smallest free block. */
static uint32_t pick(const hypi_arena *arena, unsigned want) {
	enum { LOOKS = 8, HOLES = 32 };
	uint32_t best = HYPI_NO_SLICE, best_dirty = 0, looks = LOOKS, holes = HOLES;
	unsigned best_order = 0;
	for (uint32_t at = 0, end; at < arena->slices && looks > 0 && holes > 0; at = end) {
		uint64_t bits = (arena->dirty[at >> 6] & ~arena->used[at >> 6]) >> (at & 63);
		end = (at | 63) + 1;
		if (bits == 0) continue;
		at += hypi_ctz(bits);
		unsigned order = 0;
		while (!is_free(arena, order, at >> order)) order++;
		unsigned step = order < want ? order : want;
		uint32_t place = at >> step << step;
		end = place + (1u << step);
		holes--;
		if (order < want) continue; /* a hole: too small, and not part of a place */
		looks--;
		uint32_t dirty = range_count(arena->dirty, place, end - place);
		if (dirty < best_dirty || (dirty == best_dirty && order >= best_order)) continue;
		best = place;
		best_dirty = dirty;
		best_order = order;
		if (dirty == 1u << want && order == want) break; /* none is better */
	}
	return best != HYPI_NO_SLICE ? best : smallest(arena, want);
}

uint32_t hypi_arena_take(hypi_arena *arena, uint32_t count, unsigned align_order) {
	unsigned want = hypi_log2_ceil(count), order = 0;
	if (align_order > want) want = align_order;
	if (want > arena->order || arena->orders >> want == 0) return HYPI_NO_SLICE;
	uint32_t first = arena->dirty_free > 0 ? pick(arena, want) : smallest(arena, want);
	while (!is_free(arena, order, first >> order)) order++;
	clear_free(arena, order, first >> order);
	while (order-- > want) set_free(arena, order, first >> order ^ 1); /* the halves that first is not in */
	give_range(arena, first + count, first + (1u << want));
	range_set(arena->used, first, count);
	range_clear(arena->settled, first, count);
	arena->dirty_free -= range_count(arena->dirty, first, count);
	arena->free_slices -= count;
	return first;
}

/* The first slice from `at` on whose bit is `set` or not, or `end`. */
static uint32_t find(const uint64_t *bits, uint32_t at, uint32_t end, bool set) {
	while (at < end) {
		uint64_t word = (set ? bits[at >> 6] : ~bits[at >> 6]) >> (at & 63);
		if (word != 0) return at + hypi_ctz(word) < end ? at + hypi_ctz(word) : end;
		at = (at | 63) + 1;
	}
	return end;
}

bool hypi_arena_dirtiest(const hypi_arena *arena, uint32_t count, hypi_place *best) {
	bool any = false;
	for (uint32_t at = 0, end; at < arena->slices; at = end) {
		uint32_t start = find(arena->used, at, arena->slices, false);
		end = find(arena->used, start, arena->slices, true);
		if (end - start < count) continue;
		uint32_t low = range_count(arena->dirty, start, count), high = range_count(arena->dirty, end - count, count);
		hypi_place place = {
			.first = high > low ? end - count : start, .dirty = high > low ? high : low, .room = end - start};
		if (place.dirty > best->dirty || (place.dirty == best->dirty && place.room < best->room)) {
			*best = place;
			any = true;
		}
	}
	return any;
}

bool hypi_arena_take_at(hypi_arena *arena, uint32_t first, uint32_t count) {
	uint32_t end = first + count;
	if (end > arena->slices || range_any(arena->used, first, count)) return false;
	for (uint32_t at = first; at < end;) {
		unsigned order = 0;
		while (!is_free(arena, order, at >> order)) order++;
		uint32_t start = at >> order << order, stop = start + (1u << order);
		clear_free(arena, order, at >> order);
		give_range(arena, start, at);
		if (stop > end) give_range(arena, end, stop);
		at = stop;
	}
	range_set(arena->used, first, count);
	range_clear(arena->settled, first, count);
	arena->dirty_free -= range_count(arena->dirty, first, count);
	arena->free_slices -= count;
	return true;
}

void hypi_arena_give(hypi_arena *arena, uint32_t first, uint32_t count, bool dirty) {
	HYP_ASSERT(first + count <= arena->slices);
	range_clear(arena->used, first, count);
	if (dirty) {
		range_set(arena->dirty, first, count);
		arena->dirty_free += count;
		arena->young = true;
	} else {
		range_clear(arena->dirty, first, count);
	}
	arena->free_slices += count;
	give_range(arena, first, first + count);
}

bool hypi_arena_is_clean(const hypi_arena *arena, uint32_t first, uint32_t count) {
	return !range_any(arena->dirty, first, count);
}

/* ---- purging ---- */

static uint64_t purge_word(const hypi_arena *arena, uint32_t word, bool settled_only) {
	uint64_t bits = arena->dirty[word] & ~arena->used[word];
	return settled_only ? bits & arena->settled[word] : bits;
}

bool hypi_arena_next_purge(const hypi_arena *arena, uint32_t from, bool settled_only, uint32_t *ret_first,
                           uint32_t *ret_count) {
	uint32_t at = from;
	while (at < arena->slices) {
		uint64_t bits = purge_word(arena, at >> 6, settled_only) >> (at & 63);
		if (bits != 0) {
			at += hypi_ctz(bits);
			break;
		}
		at = (at | 63) + 1;
	}
	if (at >= arena->slices) return false;
	uint32_t end = at;
	while (end < arena->slices) {
		uint64_t holes = ~purge_word(arena, end >> 6, settled_only) >> (end & 63);
		if (holes != 0 && hypi_ctz(holes) < 64 - (end & 63)) {
			end += hypi_ctz(holes);
			break;
		}
		end = (end | 63) + 1;
	}
	if (end > arena->slices) end = arena->slices;
	*ret_first = at;
	*ret_count = end - at;
	return true;
}

bool hypi_arena_settle(hypi_arena *arena) {
	uint64_t any = 0;
	for (uint32_t w = 0; w < (arena->slices + 63) / 64; w++) {
		arena->settled[w] = arena->dirty[w] & ~arena->used[w];
		any |= arena->settled[w];
	}
	arena->young = any != 0;
	return any != 0;
}

/* ---- the checker ---- */

static const char *check_order(const hypi_arena *arena, unsigned order, uint64_t *covered) {
	uint32_t blocks = arena->slices >> order;
	uint64_t summary = 0;
	for (uint32_t block = 0; block < blocks; block++) {
		if (!is_free(arena, order, block)) continue;
		summary |= UINT64_C(1) << (block >> 6);
		if (order < arena->order && is_free(arena, order, block ^ 1)) return "two buddies are both free";
		for (uint32_t s = block << order; s < (block + 1) << order; s++) {
			if (covered[s >> 6] >> (s & 63) & 1) return "a slice lies in two free blocks";
			covered[s >> 6] |= UINT64_C(1) << (s & 63);
		}
	}
	if (summary != arena->summary[order]) return "a summary word is wrong";
	if ((arena->orders >> order & 1) != (summary != 0)) return "the order mask is wrong";
	return NULL;
}

const char *hypi_arena_check(const hypi_arena *arena) {
	uint64_t covered[HYPI_BITMAP_WORDS] = {0};
	for (unsigned order = 0; order <= arena->order; order++) {
		const char *wrong = check_order(arena, order, covered);
		if (wrong != NULL) return wrong;
	}
	uint32_t free_slices = 0, dirty_free = 0;
	for (uint32_t s = 0; s < arena->slices; s++) {
		bool is_covered = covered[s >> 6] >> (s & 63) & 1, is_used = arena->used[s >> 6] >> (s & 63) & 1;
		if (is_covered == is_used) return is_used ? "a used slice lies in a free block" : "a free slice is lost";
		free_slices += is_covered;
		dirty_free += is_covered && (arena->dirty[s >> 6] >> (s & 63) & 1);
	}
	if (dirty_free != arena->dirty_free) return "the count of dirty slices is wrong";
	if (free_slices != arena->free_slices) return "the count of free slices is wrong";
	return NULL;
}
