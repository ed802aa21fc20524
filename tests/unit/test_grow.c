/* Tests of how a block grows by realloc: above two slices where it is, so that it is copied once a doubling at most and
 * leaves no used memory behind. */
#include "heap/heap.h"
#include "os/fault.h"
#include "unit.h"

#include <hypool/hypool.h>
#include <hypool/stats.h>

#include <errno.h>
#include <string.h>

enum { FROM = 20000, STEP = 3000, TO = 3 << 20, ROWS = 4 };

static unsigned char *rows[ROWS];

static void fill(unsigned char *p, size_t from, size_t to, int row) {
	for (size_t i = from; i < to; i++) p[i] = (unsigned char)(i * 7 + (size_t)row);
}

static bool is_filled(const unsigned char *p, size_t to, int row) {
	for (size_t i = 0; i < to; i++)
		if (p[i] != (unsigned char)(i * 7 + (size_t)row)) return false;
	return true;
}

/* Grows `count` blocks in turns; returns how often one moved. */
static int grow(int count) {
	int moves = 0;
	for (int row = 0; row < count; row++) fill(rows[row] = hyp_malloc(FROM), 0, FROM, row);
	for (size_t bytes = FROM; bytes + STEP <= TO; bytes += STEP)
		for (int row = 0; row < count; row++) {
			unsigned char *p = hyp_realloc(rows[row], bytes + STEP);
			HOLDS(p != NULL);
			moves += p != rows[row];
			fill(rows[row] = p, bytes, bytes + STEP, row);
		}
	return moves;
}

START_TEST(one_moves_once_a_doubling) {
	int doublings = (int)(hypi_log2_ceil(TO) - hypi_log2_floor(32768));
	ck_assert_int_le(grow(1), doublings + 4); /* and as a small block, twice a doubling at most */
	HOLDS(is_filled(rows[0], TO - STEP, 0));
	hyp_free(rows[0]);
	ck_assert_ptr_null(hypi_engine_check(&hypi_default_engine));
}
END_TEST

START_TEST(some_in_turns) {
	int doublings = (int)(hypi_log2_ceil(TO) - hypi_log2_floor(32768));
	ck_assert_int_le(grow(ROWS), ROWS * (2 * doublings + 4));
	for (int row = 0; row < ROWS; row++) {
		HOLDS(is_filled(rows[row], TO - STEP, row));
		hyp_free(rows[row]);
	}
	ck_assert_ptr_null(hypi_engine_check(&hypi_default_engine));
}
END_TEST

/* What a block left behind is used again: the memory at the end is that of the block and the slack (core/large_pool.c). */
START_TEST(nothing_is_left_behind) {
	grow(1);
	size_t dirty = hypi_large_pool_dirty_slices(&hypi_default_engine.large) << HYPI_SLICE_LOG2;
	ck_assert_uint_le(dirty, TO);
	unsigned char *p = hyp_realloc(rows[0], 100000); /* a tail goes back at once */
	ck_assert_ptr_eq(p, rows[0]);
	HOLDS(is_filled(p, 100000, 0));
	hyp_free(p);
}
END_TEST

/* As under a limit of address space (lib/heap/thread.c). */
static void make_arenas_small(void) {
	hypi_process_init();
	hypi_default_engine.large.arena_bytes = (size_t)1 << 20;
}

/* Where arenas are small, no block gets a mapping of its own for the sake of room. */
START_TEST(small_arenas) {
	make_arenas_small();
	unsigned char *p = hyp_malloc(540000);
	p = hyp_realloc(p, 700000);
	HOLDS(p != NULL && hypi_load_relaxed(&hypi_span_at(p)->kind) != HYPI_SPAN_HUGE);
	hyp_free(p);
	ck_assert_ptr_null(hypi_engine_check(&hypi_default_engine));
}
END_TEST

/* No run with room behind it, and no memory for an arena: the block goes where it finds a place, and nothing has failed. */
START_TEST(without_room) {
	make_arenas_small();
	enum { MOST = 100 };
	unsigned char *others[MOST], *p = hyp_malloc(40000);
	fill(p, 0, 40000, 1);
	HOLDS((others[0] = hyp_malloc(80000)) != NULL);
	hypi_fault_script(1u << HYPI_FAULT_MAP, 0, UINT64_MAX, ENOMEM);
	int count = 1;
	while (count < MOST && (others[count] = hyp_malloc(80000)) != NULL) count++;
	HOLDS(count > 4 && count < MOST);
	hyp_free(others[2]); /* a place for one, without room for two */
	hyp_stats before = {.struct_bytes = sizeof before}, after = before;
	HOLDS(hyp_stats_get(&before) == HYP_OK);
	errno = 0;
	unsigned char *q = hyp_realloc(p, 79000);
	ck_assert_ptr_nonnull(q);
	ck_assert_int_eq(errno, 0);
	HOLDS(hyp_stats_get(&after) == HYP_OK);
	ck_assert_uint_eq(after.failures, before.failures);
	hypi_fault_script(0, 0, 0, 0);
	HOLDS(is_filled(q, 40000, 1));
	ck_assert_ptr_null(hypi_engine_check(&hypi_default_engine));
}
END_TEST

UNIT_MAIN("grow", one_moves_once_a_doubling, some_in_turns, nothing_is_left_behind, small_arenas, without_room)
