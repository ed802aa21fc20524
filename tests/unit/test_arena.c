/*
 * Tests of core/arena.c: every state of a small arena against the definition of a buddy system.
 *
 * The free blocks of a fully coalesced buddy system follow from the used slices alone: they are the maximal aligned
 * free ranges. So for each of the 2^n states of an arena of n slices, what take must return can be told naively.
 */
#include "core/arena.h"
#include "unit.h"

#include <string.h>

static hypi_arena arena, before;

/* Puts the arena into the state in which exactly the slices of `used` are out. */
static void put_into(uint32_t slices, uint32_t used) {
	hypi_arena_init(&arena, 0, slices);
	for (uint32_t s = 0; s < slices; s++)
		if (used >> s & 1) HOLDS(hypi_arena_take_at(&arena, s, 1));
	HOLDS(hypi_arena_check(&arena) == NULL);
}

static bool naive_free(uint32_t used, uint32_t first, uint32_t count) {
	for (uint32_t s = first; s < first + count; s++)
		if (used >> s & 1) return false;
	return true;
}

/* The lowest maximal free block of the least order that is >= `want`; HYPI_NO_SLICE when there is none. */
static uint32_t naive_take(uint32_t slices, uint32_t used, unsigned want) {
	for (unsigned order = want; 1u << order <= slices; order++)
		for (uint32_t first = 0; first < slices; first += 1u << order) {
			uint32_t parent = first >> (order + 1) << (order + 1);
			bool maximal = 2u << order > slices || !naive_free(used, parent, 2u << order);
			if (maximal && naive_free(used, first, 1u << order)) return first;
		}
	return HYPI_NO_SLICE;
}

static bool same_buddies(const hypi_arena *a, const hypi_arena *b) {
	return memcmp(a->buddy, b->buddy, sizeof a->buddy) == 0 && memcmp(a->summary, b->summary, sizeof a->summary) == 0 &&
	       memcmp(a->used, b->used, sizeof a->used) == 0 && a->orders == b->orders && a->free_slices == b->free_slices;
}

static void take_in_every_state(uint32_t slices, unsigned last_align, bool check_each) {
	for (uint32_t used = 0; used < UINT32_C(1) << slices; used++) {
		put_into(slices, used);
		before = arena;
		for (uint32_t count = 1; count <= slices; count++)
			for (unsigned align = 0; align <= last_align; align++) {
				unsigned want = hypi_log2_ceil(count) > align ? hypi_log2_ceil(count) : align;
				uint32_t expect = naive_take(slices, used, want);
				uint32_t got = hypi_arena_take(&arena, count, align);
				if (got != expect)
					ck_abort_msg("state %x of %u: take(%u, %u) gave %u, not %u", used, slices, count, align, got,
					             expect);
				if (got == HYPI_NO_SLICE) {
					HOLDS(same_buddies(&arena, &before));
					continue;
				}
				if (check_each) HOLDS(hypi_arena_check(&arena) == NULL);
				HOLDS(arena.free_slices == before.free_slices - count);
				hypi_arena_give(&arena, got, count, false);
				HOLDS(same_buddies(&arena, &before));
			}
	}
}

START_TEST(take_exhaustive) {
	for (uint32_t slices = 1; slices <= 8; slices *= 2) take_in_every_state(slices, 4, true);
	take_in_every_state(16, 1, false);
}
END_TEST

static uint32_t count_bits(uint32_t bits, uint32_t first, uint32_t count) {
	return (uint32_t)__builtin_popcount(bits >> first & ((UINT32_C(1) << count) - 1));
}

/* The aligned free place with the most dirty slices; of equal ones that in the smallest free block, the lowest. */
static uint32_t naive_dirtiest(uint32_t slices, uint32_t used, uint32_t dirty, unsigned want) {
	uint32_t best = HYPI_NO_SLICE, most = 0, least_bytes = 0;
	for (uint32_t place = 0; place < slices; place += 1u << want) {
		uint32_t have = count_bits(dirty, place, 1u << want), size = 1u << want;
		if (!naive_free(used, place, size) || have == 0) continue;
		while (size < slices && naive_free(used, place / (2 * size) * (2 * size), 2 * size)) size *= 2;
		if (have < most || (have == most && best != HYPI_NO_SLICE && size >= least_bytes)) continue;
		best = place, most = have, least_bytes = size;
	}
	return best;
}

START_TEST(take_dirty_exhaustive) {
	for (uint32_t used = 0; used < 256; used++)
		for (uint32_t dirty = 1; dirty < 256; dirty++) {
			if ((dirty & used) != 0) continue;
			put_into(8, used);
			for (uint32_t s = 0; s < 8; s++)
				if (dirty >> s & 1) {
					HOLDS(hypi_arena_take_at(&arena, s, 1));
					hypi_arena_give(&arena, s, 1, true);
				}
			for (uint32_t count = 1; count <= 8; count++) {
				unsigned want = hypi_log2_ceil(count);
				uint32_t expect = naive_dirtiest(8, used, dirty, want);
				if (expect == HYPI_NO_SLICE) expect = naive_take(8, used, want);
				before = arena;
				uint32_t got = hypi_arena_take(&arena, count, 0);
				if (got != expect)
					ck_abort_msg("state %x, dirty %x: take(%u) gave %u, not %u", used, dirty, count, got, expect);
				HOLDS(hypi_arena_check(&arena) == NULL);
				arena = before;
			}
		}
}
END_TEST

/* The end of a free range with the most dirty slices; of equal ones that in the shortest range, the lowest. */
static hypi_place naive_end(uint32_t slices, uint32_t used, uint32_t dirty, uint32_t count, hypi_place best) {
	for (uint32_t first = 0; first + count <= slices; first++) {
		uint32_t start = first, end = first + count, have = count_bits(dirty, first, count);
		if (!naive_free(used, first, count)) continue;
		while (start > 0 && naive_free(used, start - 1, 1)) start--;
		while (end < slices && naive_free(used, end, 1)) end++;
		if (first != start && first + count != end) continue;
		if (have < best.dirty || (have == best.dirty && end - start >= best.room)) continue;
		best = (hypi_place){.first = first, .dirty = have, .room = end - start};
	}
	return best;
}

START_TEST(dirtiest_exhaustive) {
	for (uint32_t used = 0; used < 256; used++)
		for (uint32_t dirty = 0; dirty < 256; dirty++) {
			if ((dirty & used) != 0) continue;
			put_into(8, used);
			arena.dirty[0] = dirty;
			for (uint32_t count = 1; count <= 8; count++)
				for (uint32_t least = 0; least < 3; least++) {
					const hypi_place none = {.first = HYPI_NO_SLICE, .dirty = least};
					hypi_place got = none, expect = naive_end(8, used, dirty, count, none);
					HOLDS(hypi_arena_dirtiest(&arena, count, &got) == (expect.first != HYPI_NO_SLICE));
					HOLDS(got.first == expect.first && got.dirty == expect.dirty && got.room == expect.room);
				}
		}
}
END_TEST

/* Ranges that begin, cross and end at the edges of words. */
START_TEST(dirtiest_across_words) {
	static const uint32_t cuts[] = {0, 1, 63, 64, 65, 127, 128, 129, 191, 192, 255, 256};
	enum { CUTS = sizeof cuts / sizeof *cuts };
	for (int i = 0; i < CUTS; i++)
		for (int j = i + 1; j < CUTS; j++) {
			hypi_arena_init(&arena, (uintptr_t)1 << 40, 256);
			uint32_t count = cuts[j] - cuts[i];
			HOLDS(hypi_arena_take_at(&arena, 0, 256));
			hypi_arena_give(&arena, cuts[i], count, true);
			hypi_place best = {.first = HYPI_NO_SLICE};
			HOLDS(hypi_arena_dirtiest(&arena, count, &best));
			HOLDS(best.first == cuts[i] && best.dirty == count && best.room == count);
			best = (hypi_place){.first = HYPI_NO_SLICE};
			HOLDS(!hypi_arena_dirtiest(&arena, count + 1, &best));
		}
}
END_TEST

START_TEST(take_at_exhaustive) {
	for (uint32_t used = 0; used < 256; used++) {
		put_into(8, used);
		before = arena;
		for (uint32_t first = 0; first < 8; first++)
			for (uint32_t count = 1; count <= 9; count++) {
				bool expect = first + count <= 8 && naive_free(used, first, count);
				ck_assert_int_eq(hypi_arena_take_at(&arena, first, count), expect);
				ck_assert_ptr_null(hypi_arena_check(&arena));
				if (expect) hypi_arena_give(&arena, first, count, false);
				ck_assert(same_buddies(&arena, &before));
			}
	}
}
END_TEST

/* Runs given back piece by piece, in every split, coalesce all the same. */
START_TEST(give_in_pieces) {
	for (uint32_t count = 2; count <= 16; count++)
		for (uint32_t cut = 1; cut < count; cut++) {
			hypi_arena_init(&arena, 0, 16);
			uint32_t first = hypi_arena_take(&arena, count, 0);
			ck_assert_uint_eq(first, 0);
			hypi_arena_give(&arena, first + cut, count - cut, true);
			ck_assert_ptr_null(hypi_arena_check(&arena));
			hypi_arena_give(&arena, first, cut, true);
			ck_assert_ptr_null(hypi_arena_check(&arena));
			ck_assert(hypi_arena_is_whole(&arena));
			ck_assert_uint_eq(hypi_arena_largest(&arena), 5);
		}
}
END_TEST

START_TEST(full_size) {
	hypi_arena_init(&arena, 0, HYPI_ARENA_SLICES);
	ck_assert_uint_eq(hypi_arena_take(&arena, HYPI_ARENA_SLICES + 1, 0), HYPI_NO_SLICE);
	ck_assert_uint_eq(hypi_arena_take(&arena, HYPI_ARENA_SLICES, 0), 0);
	ck_assert_uint_eq(hypi_arena_largest(&arena), 0);
	ck_assert_uint_eq(hypi_arena_take(&arena, 1, 0), HYPI_NO_SLICE);
	ck_assert_ptr_null(hypi_arena_check(&arena));
	hypi_arena_give(&arena, 0, HYPI_ARENA_SLICES, true);
	/* One by one to the last slice, and back in a scattered order. */
	for (uint32_t s = 0; s < HYPI_ARENA_SLICES; s++) ck_assert_uint_eq(hypi_arena_take(&arena, 1, 0), s);
	ck_assert_uint_eq(arena.free_slices, 0);
	for (uint32_t s = 0; s < HYPI_ARENA_SLICES; s++) hypi_arena_give(&arena, s * 2731 % HYPI_ARENA_SLICES, 1, true);
	ck_assert_ptr_null(hypi_arena_check(&arena));
	ck_assert(hypi_arena_is_whole(&arena));
	ck_assert_uint_eq(hypi_arena_largest(&arena), HYPI_ARENA_ORDER + 1);
	ck_assert_uint_eq(hypi_arena_take(&arena, 3, 5), 0); /* the tail of an aligned block is free at once */
	ck_assert_uint_eq(hypi_arena_take(&arena, 1, 0), 3);
	ck_assert_ptr_null(hypi_arena_check(&arena));
}
END_TEST

/* ---- purging ---- */

/* Walks the runs that may be purged and compares with the wanted slices, one flag a slice. */
static void compare_runs(const bool *want, bool settled_only) {
	bool got[512] = {false};
	uint32_t from = 0, first, count, end = 0;
	while (hypi_arena_next_purge(&arena, from, settled_only, &first, &count)) {
		HOLDS(first >= from && count >= 1 && first + count <= arena.slices);
		HOLDS(from == 0 || first > end); /* runs are maximal */
		for (uint32_t s = first; s < first + count; s++) got[s] = true;
		end = from = first + count;
	}
	HOLDS(memcmp(got, want, arena.slices) == 0);
}

START_TEST(purge_exhaustive) {
	for (uint32_t used = 0; used < 256; used++)
		for (uint32_t dirty = 0; dirty < 256; dirty++) {
			bool want[8];
			hypi_arena_init(&arena, 0, 8);
			HOLDS(hypi_arena_take_at(&arena, 0, 8));
			for (uint32_t s = 0; s < 8; s++)
				if (!(used >> s & 1)) hypi_arena_give(&arena, s, 1, dirty >> s & 1);
			for (uint32_t s = 0; s < 8; s++) want[s] = !(used >> s & 1) && (dirty >> s & 1);
			compare_runs(want, false);
			compare_runs((bool[8]){false}, true);
			bool any = hypi_arena_settle(&arena);
			HOLDS(any == ((dirty & ~used & 255) != 0));
			HOLDS(arena.young == any);
			compare_runs(want, true);
		}
}
END_TEST

START_TEST(purge_across_words) {
	static const uint32_t edges[] = {0, 1, 62, 63, 64, 65, 127, 128, 129, 191, 192, 254, 255, 256};
	for (size_t i = 0; i < HYP_ARRAY_LEN(edges); i++)
		for (size_t j = i + 1; j < HYP_ARRAY_LEN(edges); j++) {
			bool want[256] = {false};
			hypi_arena_init(&arena, 0, 256);
			ck_assert_uint_eq(hypi_arena_take(&arena, 256, 0), 0);
			hypi_arena_give(&arena, edges[i], edges[j] - edges[i], true);
			for (uint32_t s = edges[i]; s < edges[j]; s++) want[s] = true;
			compare_runs(want, false);
			uint32_t first, count;
			ck_assert(hypi_arena_next_purge(&arena, 0, false, &first, &count));
			ck_assert_uint_eq(first, edges[i]);
			ck_assert_uint_eq(count, edges[j] - edges[i]);
			ck_assert(!hypi_arena_next_purge(&arena, edges[j], false, &first, &count));
			ck_assert(!hypi_arena_is_clean(&arena, edges[i], 1));
			ck_assert(!hypi_arena_is_clean(&arena, 0, edges[i] + 1));
			ck_assert(!hypi_arena_is_clean(&arena, edges[j] - 1, 256 - edges[j] + 1));
			if (edges[i] > 0) ck_assert(hypi_arena_is_clean(&arena, 0, edges[i]));
		}
}
END_TEST

/* A slice that was settled, taken and given back again is young: its time starts anew. */
START_TEST(settling_starts_anew) {
	hypi_arena_init(&arena, 0, 64);
	ck_assert_uint_eq(hypi_arena_take(&arena, 64, 0), 0);
	hypi_arena_give(&arena, 0, 4, true);
	ck_assert(hypi_arena_settle(&arena));
	ck_assert_uint_eq(hypi_arena_take(&arena, 2, 0), 0);
	hypi_arena_give(&arena, 0, 2, true);
	uint32_t first, count;
	ck_assert(hypi_arena_next_purge(&arena, 0, true, &first, &count));
	ck_assert_uint_eq(first, 2);
	ck_assert_uint_eq(count, 2);
	hypi_arena_settle(&arena);
	ck_assert(hypi_arena_next_purge(&arena, 0, true, &first, &count));
	ck_assert_uint_eq(first, 0);
	ck_assert_uint_eq(count, 4);
	/* Given back clean, as after a purge: nothing is left to do. */
	ck_assert(hypi_arena_take_at(&arena, 0, 4));
	hypi_arena_give(&arena, 0, 4, false);
	ck_assert(hypi_arena_is_clean(&arena, 0, 4));
	ck_assert(!hypi_arena_next_purge(&arena, 0, false, &first, &count));
	ck_assert(!hypi_arena_settle(&arena));
}
END_TEST

/* ---- the checker finds what is planted ---- */

static void planted(const char *expect) {
	const char *wrong = hypi_arena_check(&arena);
	ck_assert_ptr_nonnull(wrong);
	ck_assert_str_eq(wrong, expect);
}

static void sound(void) {
	hypi_arena_init(&arena, 0, 128); /* two words of slices; order 0 begins the bitmaps */
	ck_assert_uint_eq(hypi_arena_take(&arena, 1, 0), 0);
	ck_assert_ptr_null(hypi_arena_check(&arena));
}

START_TEST(planted_faults) {
	sound(); /* slice 0 is used, slice 1 a block of order 0 */
	arena.buddy[0] |= 1;
	planted("two buddies are both free");

	sound();
	arena.buddy[0] |= UINT64_C(1) << 2; /* lies in the block [2, 4) of order 1 as well */
	planted("a slice lies in two free blocks");

	sound();
	arena.summary[0] |= 2;
	planted("a summary word is wrong");

	sound();
	arena.summary[0] = 0;
	planted("a summary word is wrong");

	sound();
	arena.orders &= ~1u;
	planted("the order mask is wrong");

	sound();
	arena.orders |= 1u << arena.order;
	planted("the order mask is wrong");

	sound();
	arena.used[0] |= UINT64_C(1) << 9;
	planted("a used slice lies in a free block");

	sound();
	arena.used[0] &= ~UINT64_C(1);
	planted("a free slice is lost");

	sound();
	arena.free_slices++;
	planted("the count of free slices is wrong");
}
END_TEST

UNIT_MAIN("arena", take_exhaustive, take_dirty_exhaustive, dirtiest_exhaustive, dirtiest_across_words,
          take_at_exhaustive, give_in_pieces, full_size, purge_exhaustive, purge_across_words, settling_starts_anew,
          planted_faults)
