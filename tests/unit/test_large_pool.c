/*
 * Tests of core/large_pool.c over a fake backing: addresses that nothing is mapped at, every call recorded, any of them
 * failing on request. So they also prove that the pool never touches the memory it serves.
 */
#include "core/large_pool.h"
#include "base/atomic.h"
#include "core/page_map.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARENA = 1 << 20 };
#define ARENA_SLICES ((uint32_t)(ARENA >> HYPI_SLICE_LOG2))
#define SLICE HYPI_SLICE_BYTES

/* ---- the fake backing ---- */

typedef struct call {
	uintptr_t address;
	size_t bytes;
} call;

static struct {
	uintptr_t next;
	hypi_lock lock;
	unsigned reserves, commits, purges, releases;
	call last_commit, last_purge, last_release;
	size_t refuse_reserve_from; /* bytes; 0: never */
	bool refuse_commit, refuse_purge, refuse_release;
	size_t purged_bytes;
} fake;

static hyp_status fake_reserve(void *context, size_t bytes, size_t alignment, uintptr_t *ret_address) {
	(void)context;
	hypi_lock_take(&fake.lock);
	fake.reserves++;
	bool refuse = fake.refuse_reserve_from != 0 && bytes >= fake.refuse_reserve_from;
	uintptr_t address = hypi_round_up(fake.next, alignment);
	if (!refuse) fake.next = address + bytes;
	hypi_unlock(&fake.lock);
	if (refuse) return HYP_ERR_NO_MEMORY;
	*ret_address = address;
	return HYP_OK;
}

static hyp_status fake_commit(void *context, uintptr_t address, size_t bytes) {
	(void)context;
	fake.commits++;
	fake.last_commit = (call){address, bytes};
	return fake.refuse_commit ? HYP_ERR_NO_MEMORY : HYP_OK;
}

static void (*during_purge)(void); /* when not NULL */

static hyp_status fake_purge(void *context, uintptr_t address, size_t bytes) {
	(void)context;
	hypi_lock_take(&fake.lock);
	fake.purges++;
	fake.last_purge = (call){address, bytes};
	if (!fake.refuse_purge) fake.purged_bytes += bytes;
	hypi_unlock(&fake.lock);
	if (during_purge != NULL) during_purge();
	return fake.refuse_purge ? HYP_ERR_OS : HYP_OK;
}

static hyp_status fake_release(void *context, uintptr_t address, size_t bytes) {
	(void)context;
	hypi_lock_take(&fake.lock);
	fake.releases++;
	fake.last_release = (call){address, bytes};
	hypi_unlock(&fake.lock);
	return fake.refuse_release ? HYP_ERR_OS : HYP_OK;
}

static hypi_large_pool pool;

static void begin(bool with_commit, uint64_t decay_ms) {
	hypi_os_init();
	memset(&fake, 0, sizeof fake);
	fake.next = (uintptr_t)1 << 44;
	hyp_backing backing = {
		.struct_bytes = sizeof backing,
		.name = "fake",
		.flags = HYP_BACKING_ZEROED,
		.numa_node = -1,
		.reserve = fake_reserve,
		.commit = with_commit ? fake_commit : NULL,
		.purge = fake_purge,
		.release = fake_release,
	};
	hypi_large_pool_init(&pool, &backing, ARENA, decay_ms);
}

static void sound(void) {
	const char *wrong = hypi_large_pool_check(&pool);
	ck_assert_msg(wrong == NULL, "%s", wrong);
}

static hypi_run take(uint32_t count, unsigned align_order) {
	hypi_run run;
	ck_assert_int_eq(hypi_large_pool_take(&pool, count, align_order, &run), HYP_OK);
	ck_assert_uint_eq(run.count, count);
	ck_assert_uint_eq(hypi_run_address(&run) % (SLICE << align_order), 0);
	sound();
	return run;
}

static void give(const hypi_run *run, bool dirty) {
	hypi_large_pool_give(&pool, run, dirty);
	sound();
}

static void end(void) {
	ck_assert_uint_eq(pool.used_slices, 0);
	unsigned arenas = pool.arenas, before = fake.releases;
	hypi_large_pool_fini(&pool);
	ck_assert_uint_eq(fake.releases - before, arenas);
	sound();
}

/* ---- runs ---- */

START_TEST(take_and_give) {
	begin(false, 1000);
	ck_assert_uint_eq(fake.reserves, 0); /* nothing is mapped before it is asked for */
	ck_assert_uint_eq(hypi_large_pool_largest_free(&pool), 0);
	hypi_run a = take(1, 0), b = take(5, 3), c = take(ARENA_SLICES / 2, 0);
	ck_assert_uint_eq(fake.reserves, 1);
	ck_assert_uint_eq(pool.used_slices, 6 + ARENA_SLICES / 2);
	ck_assert(a.zeroed && b.zeroed && c.zeroed);
	ck_assert_ptr_eq(hypi_large_pool_arena_of(&pool, hypi_run_address(&b)), b.arena);
	ck_assert_ptr_null(hypi_large_pool_arena_of(&pool, a.arena->base - 1));
	ck_assert_ptr_null(hypi_large_pool_arena_of(&pool, a.arena->base + ARENA));
	give(&b, true);
	give(&a, false);
	give(&c, true);
	/* A drained arena is one block again. */
	ck_assert_uint_eq(hypi_large_pool_largest_free(&pool), ARENA_SLICES);
	ck_assert_uint_eq(pool.peak_used_slices, 6 + ARENA_SLICES / 2);
	ck_assert_uint_eq(hypi_large_pool_dirty_slices(&pool), 5 + ARENA_SLICES / 2);
	/* What was written to is not zero any more, and is taken first: it costs nothing. What was not, is. */
	a = take(1, 0);
	ck_assert(!a.zeroed);
	b = take(ARENA_SLICES / 2, 0);
	ck_assert(!b.zeroed);
	give(&a, false);
	give(&b, true);
	end();
}
END_TEST

START_TEST(arguments_out_of_range) {
	begin(false, 1000);
	hypi_run run = {.first = 77};
	ck_assert_int_eq(hypi_large_pool_take(&pool, HYPI_ARENA_SLICES + 1, 0, &run), HYP_ERR_INVALID);
	ck_assert_int_eq(hypi_large_pool_take(&pool, 1, HYPI_ARENA_ORDER + 1, &run), HYP_ERR_INVALID);
	ck_assert_uint_eq(run.first, 77);
	/* Larger than the pool's arenas but no larger than an arena can be: it gets an arena of its size. */
	run = take(3 * ARENA_SLICES, 0);
	ck_assert_uint_eq(run.arena->slices, 4 * ARENA_SLICES);
	give(&run, true);
	end();
}
END_TEST

START_TEST(grows_and_shrinks_in_place) {
	begin(false, 1000);
	hypi_run a = take(4, 0);
	ck_assert(hypi_large_pool_resize(&pool, &a, 7));
	sound();
	ck_assert_uint_eq(a.count, 7);
	ck_assert_uint_eq(pool.used_slices, 7);
	hypi_run b = take(1, 0);
	ck_assert_uint_eq(b.first, 7);
	ck_assert(!hypi_large_pool_resize(&pool, &a, 8));
	ck_assert_uint_eq(a.count, 7);
	ck_assert_uint_eq(pool.used_slices, 8);
	ck_assert(hypi_large_pool_resize(&pool, &a, 2));
	sound();
	ck_assert_uint_eq(pool.used_slices, 3);
	ck_assert(hypi_large_pool_resize(&pool, &a, 2));
	ck_assert_uint_eq(hypi_large_pool_dirty_slices(&pool), 5);   /* the tail that came back may have been written */
	ck_assert(!hypi_large_pool_resize(&pool, &b, ARENA_SLICES)); /* past the arena's end */
	pool.limit_bytes = 4 * SLICE;
	ck_assert(!hypi_large_pool_resize(&pool, &b, 3));
	ck_assert(hypi_large_pool_resize(&pool, &b, 2));
	sound();
	give(&a, true);
	give(&b, true);
	end();
}
END_TEST

/* ---- growth and limits ---- */

START_TEST(growth) {
	begin(false, 1000);
	hypi_run run[3 * 64];
	for (uint32_t i = 0; i < 3 * ARENA_SLICES; i++) {
		run[i] = take(1, 0);
		ck_assert_uint_eq(fake.reserves, i / ARENA_SLICES + 1);
	}
	ck_assert_uint_eq(pool.arenas, 3);
	ck_assert_uint_eq(pool.mapped_bytes, 3 * ARENA);
	for (uint32_t i = 0; i < 3 * ARENA_SLICES; i++) give(&run[i * 31 % (3 * ARENA_SLICES)], true);
	ck_assert_uint_eq(pool.whole_arenas, 3);
	ck_assert_int_eq(hypi_large_pool_grow(&pool, 2 * ARENA), HYP_OK);
	ck_assert_uint_eq(hypi_large_pool_largest_free(&pool), 2 * ARENA_SLICES);
	sound();
	end();
}
END_TEST

START_TEST(short_of_address_space) {
	begin(false, 1000);
	/* An arena of the usual size is refused: a smaller one serves. */
	fake.refuse_reserve_from = ARENA / 2;
	hypi_run a = take(3, 0);
	ck_assert_uint_eq(a.arena->slices, ARENA_SLICES / 4);
	/* No arena that holds the request can be had: nothing changes. */
	hypi_run none = {.first = 77};
	errno = 0;
	ck_assert_int_eq(hypi_large_pool_take(&pool, ARENA_SLICES / 2, 0, &none), HYP_ERR_NO_MEMORY);
	ck_assert_int_eq(errno, ENOMEM);
	ck_assert_uint_eq(none.first, 77);
	ck_assert_uint_eq(pool.used_slices, 3);
	sound();
	give(&a, true);
	end();
}
END_TEST

START_TEST(limits) {
	begin(false, 1000);
	pool.limit_bytes = 10 * SLICE + 5;
	hypi_run a = take(10, 0), none = {.first = 77};
	errno = 0;
	ck_assert_int_eq(hypi_large_pool_take(&pool, 1, 0, &none), HYP_ERR_LIMIT);
	ck_assert_int_eq(errno, ENOMEM);
	ck_assert_uint_eq(none.first, 77);
	ck_assert_uint_eq(hypi_large_pool_map_huge(&pool, SLICE, SLICE), 0);
	give(&a, true);
	/* Mappings of their own count as well. */
	uintptr_t huge = hypi_large_pool_map_huge(&pool, 8 * SLICE, SLICE);
	ck_assert_uint_ne(huge, 0);
	ck_assert_uint_eq(pool.huge_bytes, 8 * SLICE);
	ck_assert_int_eq(hypi_large_pool_take(&pool, 3, 0, &none), HYP_ERR_LIMIT);
	a = take(2, 0);
	hypi_large_pool_unmap_huge(&pool, huge, 8 * SLICE);
	ck_assert_uint_eq(pool.huge_bytes, 0);
	ck_assert_uint_eq(fake.last_release.address, huge);
	ck_assert_uint_eq(fake.last_release.bytes, 8 * SLICE);
	pool.limit_bytes = 1; /* lowered below what is used: all is refused, nothing wraps */
	ck_assert_int_eq(hypi_large_pool_take(&pool, 1, 0, &none), HYP_ERR_LIMIT);
	give(&a, true);
	end();
}
END_TEST

START_TEST(best_fit_among_arenas) {
	begin(false, 1000);
	hypi_run all[2] = {take(ARENA_SLICES, 0), take(ARENA_SLICES, 0)};
	hypi_run small = {.arena = all[0].arena, .first = 8, .count = 8}, large = all[1];
	give(&small, true); /* 8 free slices in the one, all of the other */
	give(&large, true);
	hypi_run a = take(8, 0);
	ck_assert_ptr_eq(a.arena, small.arena); /* not the larger block, though it fits as well */
	hypi_run b = take(8, 0);
	ck_assert_ptr_eq(b.arena, large.arena);
	hypi_run rest[2] = {{.arena = small.arena, .first = 0, .count = 16},
	                    {.arena = small.arena, .first = 16, .count = ARENA_SLICES - 16}};
	give(&rest[0], true);
	give(&rest[1], true);
	give(&b, true);
	ck_assert_uint_eq(pool.whole_arenas, 2);
	end();
}
END_TEST

/* Blocks of many sizes from a mebibyte up: one that comes goes where the most dirty memory lies, at any slice. */
enum { LONG = (1 << 20) >> HYPI_SLICE_LOG2 };

START_TEST(a_long_run_goes_where_memory_is) {
	begin(false, 1000);
	pool.arena_bytes = 16 * ARENA;
	hypi_run a = take(LONG, 0), b = take(2 * LONG, 0), c = take(3 * LONG, 0);
	ck_assert_ptr_eq(a.arena, c.arena);
	uint32_t first = a.first + LONG / 2;
	hypi_run high = {.arena = a.arena, .first = first, .count = LONG / 2};
	give(&high, true);
	give(&b, true); /* behind it, and behind the clean slices that it left free at a multiple of its size */
	ck_assert_uint_eq(b.first, 2 * LONG);
	hypi_run d = take(2 * LONG + LONG / 2, 0);
	ck_assert_ptr_eq(d.arena, a.arena);
	ck_assert_uint_eq(d.first, LONG + LONG / 2);
	ck_assert_uint_eq(d.clean, LONG / 2);
	give(&d, true);
	/* One that must be aligned is (take looks). */
	d = take(2 * LONG, hypi_log2_ceil(2 * LONG));
	give(&d, true);
	a.count = LONG / 2;
	give(&a, true);
	give(&c, true);
	end();
}
END_TEST

/* Sizes at random for a while: the memory that is taken and given back stays near what the blocks need. */
START_TEST(long_runs_reuse_memory) {
	enum { BLOCKS = 20, ROUNDS = 2000 };
	begin(false, 1000);
	pool.arena_bytes = HYPI_ARENA_BYTES;
	hypi_run runs[BLOCKS] = {{0}};
	uint64_t seed = 42, clean = 0, all = 0;
	for (int i = 0; i < ROUNDS; i++) {
		hypi_run *run = &runs[hypi_mix64(seed++) % BLOCKS];
		if (run->count > 0) hypi_large_pool_give(&pool, run, true);
		uint32_t count = (uint32_t)(5 * LONG + hypi_mix64(seed++) % (20 * LONG));
		ck_assert_int_eq(hypi_large_pool_take(&pool, count, 0, run), HYP_OK);
		if (i < ROUNDS / 4) continue; /* it has grown to its size */
		clean += run->clean;
		all += run->count;
	}
	sound();
	ck_assert_uint_lt(clean, all / 16); /* a third, by the buddy system alone */
	for (int i = 0; i < BLOCKS; i++)
		if (runs[i].count > 0) give(&runs[i], true);
	end();
}
END_TEST

/* ---- commit ---- */

START_TEST(backing_with_commit) {
	begin(true, 1000);
	hypi_run a = take(3, 0);
	ck_assert_uint_eq(fake.commits, 1);
	ck_assert_uint_eq(fake.last_commit.address, hypi_run_address(&a));
	ck_assert_uint_eq(fake.last_commit.bytes, 3 * SLICE);
	ck_assert(hypi_large_pool_resize(&pool, &a, 4));
	ck_assert_uint_eq(fake.last_commit.address, hypi_run_address(&a) + 3 * SLICE);
	ck_assert_uint_eq(fake.last_commit.bytes, SLICE);
	/* A refused commit leaves all as it was. */
	fake.refuse_commit = true;
	hypi_run none = {.first = 77};
	ck_assert_int_eq(hypi_large_pool_take(&pool, 2, 0, &none), HYP_ERR_NO_MEMORY);
	ck_assert_uint_eq(none.first, 77);
	ck_assert(!hypi_large_pool_resize(&pool, &a, 5));
	ck_assert_uint_eq(a.count, 4);
	ck_assert_uint_eq(pool.used_slices, 4);
	sound();
	uintptr_t huge = hypi_large_pool_map_huge(&pool, 2 * ARENA, SLICE);
	ck_assert_uint_eq(huge, 0);
	ck_assert_uint_eq(pool.huge_bytes, 0);
	ck_assert_uint_eq(fake.last_release.bytes, 2 * ARENA);
	fake.refuse_commit = false;
	huge = hypi_large_pool_map_huge(&pool, 2 * ARENA, SLICE);
	ck_assert_uint_ne(huge, 0);
	ck_assert_uint_eq(fake.last_commit.bytes, 2 * ARENA);
	hypi_large_pool_unmap_huge(&pool, huge, 2 * ARENA);
	give(&a, true);
	end();
}
END_TEST

/* ---- memory goes back ---- */

START_TEST(decay) {
	begin(false, 1000);
	uint64_t now = 100000, epoch = 501;
	hypi_large_pool_tick(&pool, now); /* the first tick starts the clock */
	hypi_run a = take(4, 0), b = take(4, 0), c = take(1, 0);
	give(&a, true);
	hypi_large_pool_tick(&pool, now + epoch - 1);
	ck_assert_uint_eq(fake.purges, 0);
	now += epoch;
	hypi_large_pool_tick(&pool, now); /* a settles */
	ck_assert_uint_eq(fake.purges, 0);
	give(&b, true);
	hypi_large_pool_tick(&pool, now + epoch - 1);
	ck_assert_uint_eq(fake.purges, 0);
	now += epoch;
	hypi_large_pool_tick(&pool, now); /* a goes back, b settles */
	ck_assert_uint_eq(fake.purges, 1);
	ck_assert_uint_eq(fake.last_purge.address, hypi_run_address(&a));
	ck_assert_uint_eq(fake.last_purge.bytes, 4 * SLICE);
	ck_assert_uint_eq(hypi_large_pool_dirty_slices(&pool), 4);
	sound();
	now += epoch;
	hypi_large_pool_tick(&pool, now);
	ck_assert_uint_eq(fake.purges, 2);
	ck_assert_uint_eq(fake.last_purge.address, hypi_run_address(&b));
	ck_assert_uint_eq(hypi_large_pool_dirty_slices(&pool), 0);
	ck_assert_uint_eq(hypi_load_relaxed(&pool.purged_bytes), 8 * SLICE);
	for (int i = 0; i < 5; i++) hypi_large_pool_tick(&pool, now += epoch); /* nothing is left to do */
	ck_assert_uint_eq(fake.purges, 2);
	/* What was purged reads as zero again. */
	a = take(4, 0);
	ck_assert(a.zeroed);
	give(&a, false);
	give(&c, true);
	end();
}
END_TEST

/* A slice that is in use when its time comes stays as it is. */
START_TEST(decay_spares_what_is_used) {
	begin(false, 1000);
	uint64_t now = 100000;
	hypi_large_pool_tick(&pool, now);
	hypi_run a = take(8, 0);
	give(&a, true);
	hypi_large_pool_tick(&pool, now += 501);
	a = take(3, 0);
	hypi_large_pool_tick(&pool, now += 501);
	ck_assert_uint_eq(fake.purged_bytes, 5 * SLICE);
	give(&a, true);
	hypi_large_pool_tick(&pool, now += 501);
	ck_assert_uint_eq(fake.purged_bytes, 5 * SLICE);
	hypi_large_pool_tick(&pool, now += 501);
	ck_assert_uint_eq(fake.purged_bytes, 8 * SLICE);
	end();
}
END_TEST

START_TEST(purge_on_demand) {
	begin(false, 1000);
	hypi_run run[3];
	for (size_t i = 0; i < 3; i++) run[i] = take(ARENA_SLICES, 0);
	for (size_t i = 0; i < 3; i++) give(&run[i], true);
	ck_assert_uint_eq(hypi_large_pool_purge(&pool), 3 * ARENA);
	sound();
	ck_assert_uint_eq(pool.arenas, 1); /* one whole arena stays */
	ck_assert_uint_eq(fake.releases, 2);
	ck_assert_uint_eq(hypi_large_pool_dirty_slices(&pool), 0);
	ck_assert_uint_eq(hypi_large_pool_purge(&pool), 0);
	pool.keep_arenas = true;
	for (size_t i = 0; i < 3; i++) run[i] = take(ARENA_SLICES, 0);
	for (size_t i = 0; i < 3; i++) give(&run[i], true);
	hypi_large_pool_purge(&pool);
	ck_assert_uint_eq(pool.arenas, 3);
	end();
}
END_TEST

/* As when another thread purges while this one forks: in the child nobody comes back with the slices. */
static void fork_here(void) {
	during_purge = NULL;
	pid_t child = fork();
	if (child == 0) {
		if (pool.purging != 1) _exit(2);
		hypi_large_pool_forked(&pool);
		if (pool.purging != 0 || hypi_large_pool_check(&pool) != NULL) _exit(3);
		fake.refuse_reserve_from = 1;
		hypi_run run;
		if (hypi_large_pool_take(&pool, ARENA_SLICES, 0, &run) != HYP_OK) _exit(4); /* what was out is back */
		if (hypi_large_pool_take(&pool, 1, 0, &run) == HYP_OK) _exit(5);            /* and nobody is waited for */
		_exit(hypi_large_pool_check(&pool) == NULL ? 0 : 6);
	}
	int status = 0;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
}

START_TEST(a_fork_during_a_purge) {
	begin(false, 1000);
	hypi_run run = take(ARENA_SLICES, 0);
	give(&run, true);
	during_purge = fork_here;
	ck_assert_uint_eq(hypi_large_pool_purge(&pool), ARENA);
	ck_assert_ptr_null(during_purge);
	sound();
	end();
}
END_TEST

START_TEST(purge_fails) {
	begin(false, 1000);
	hypi_run a = take(4, 0);
	give(&a, true);
	fake.refuse_purge = true;
	ck_assert_uint_eq(hypi_large_pool_purge(&pool), 0);
	sound();
	ck_assert_uint_eq(hypi_load_relaxed(&pool.purge_failures), 1);
	ck_assert_uint_eq(hypi_load_relaxed(&pool.purged_bytes), 0);
	ck_assert_uint_eq(hypi_large_pool_dirty_slices(&pool), 4);
	a = take(4, 0);
	ck_assert(!a.zeroed); /* its contents are still there */
	give(&a, true);
	fake.refuse_purge = false;
	ck_assert_uint_eq(hypi_large_pool_purge(&pool), 4 * SLICE); /* it is tried again */
	end();
}
END_TEST

START_TEST(release_fails) {
	begin(false, 1000);
	hypi_run run[2] = {take(ARENA_SLICES, 0), take(ARENA_SLICES, 0)};
	give(&run[0], true);
	give(&run[1], true);
	fake.refuse_release = true;
	hypi_large_pool_purge(&pool);
	sound();
	ck_assert_uint_eq(pool.arenas, 2); /* it is kept, and serves */
	run[0] = take(ARENA_SLICES, 0);
	run[1] = take(ARENA_SLICES, 0);
	ck_assert_uint_eq(pool.arenas, 2);
	give(&run[0], true);
	give(&run[1], true);
	/* A mapping of its own that cannot be unmapped gives its pages back at least. */
	uintptr_t huge = hypi_large_pool_map_huge(&pool, 2 * ARENA, SLICE);
	hypi_large_pool_unmap_huge(&pool, huge, 2 * ARENA);
	ck_assert_uint_eq(fake.last_purge.address, huge);
	ck_assert_uint_eq(fake.last_purge.bytes, 2 * ARENA);
	ck_assert_uint_eq(pool.huge_bytes, 0);
	fake.refuse_release = false;
	end();
}
END_TEST

START_TEST(a_backing_that_cannot_purge) {
	begin(false, 1000);
	pool.backing.purge = NULL;
	hypi_run a = take(4, 0);
	give(&a, true);
	ck_assert_uint_eq(hypi_large_pool_purge(&pool), 0);
	sound();
	a = take(4, 0);
	ck_assert(!a.zeroed);
	give(&a, true);
	end();
}
END_TEST

/* What cannot be purged goes back arena by arena. */
START_TEST(arenas_of_a_backing_that_cannot_purge) {
	begin(false, 1000);
	pool.backing.purge = NULL;
	hypi_run run[4];
	for (size_t i = 0; i < 4; i++) run[i] = take(ARENA_SLICES, 0);
	for (size_t i = 0; i < 4; i++) give(&run[i], true);
	hypi_large_pool_purge(&pool);
	sound();
	ck_assert_uint_lt(pool.arenas, 4);
	ck_assert_uint_eq(pool.arenas + fake.releases, 4);
	end();
}
END_TEST

/* A granule above the slice: every call is of whole granules, and what is handed out was committed. */
START_TEST(coarse_granule) {
	begin(true, 1000);
	hyp_backing backing = pool.backing;
	backing.granule_bytes = 8 * SLICE;
	hypi_large_pool_init(&pool, &backing, ARENA, 1000);
	hypi_run a = take(3, 0), b = take(8, 3), c = take(1, 0);
	ck_assert_uint_ge(fake.commits, 1);
	ck_assert_uint_eq(fake.last_commit.address % (8 * SLICE), 0);
	ck_assert_uint_eq(fake.last_commit.bytes % (8 * SLICE), 0);
	ck_assert_uint_le(fake.last_commit.address, hypi_run_address(&a));
	ck_assert_uint_ge(fake.last_commit.address + fake.last_commit.bytes, hypi_run_address(&b) + 8 * SLICE);
	give(&a, true);
	give(&b, true);
	give(&c, true);
	hypi_large_pool_purge(&pool);
	ck_assert(fake.purges == 0 || (fake.last_purge.address | fake.last_purge.bytes) % (8 * SLICE) == 0);
	fake.refuse_commit = true;
	hypi_run none;
	ck_assert_int_eq(hypi_large_pool_take(&pool, 2 * ARENA_SLICES, 0, &none), HYP_ERR_NO_MEMORY);
	sound();
	end();
	/* Without commit, pages go back by granules; a part of one stays. */
	begin(false, 1000);
	backing = pool.backing;
	backing.granule_bytes = 8 * SLICE;
	hypi_large_pool_init(&pool, &backing, ARENA, 1000);
	a = take(8, 3), b = take(3, 0);
	give(&a, true);
	ck_assert_uint_eq(hypi_large_pool_purge(&pool), 8 * SLICE);
	give(&b, true);
	ck_assert_uint_eq(hypi_large_pool_purge(&pool), 0);
	ck_assert_uint_eq(fake.purges, 1);
	ck_assert_uint_eq(hypi_load_relaxed(&pool.purge_failures), 0);
	end();
}
END_TEST

/* ---- threads ---- */

static void *churn(void *seed) {
	uint64_t random = (uintptr_t)seed;
	hypi_run held[16];
	bool has[16] = {false};
	for (unsigned i = 0; i < 4000; i++) {
		random = hypi_mix64(random + 1);
		unsigned slot = random % 16;
		if (random >> 8 & 1 && (random >> 16) % 64 == 0) hypi_large_pool_purge(&pool);
		if (has[slot]) {
			if (random >> 32 & 1) {
				hypi_large_pool_give(&pool, &held[slot], true);
				has[slot] = false;
			} else {
				(void)hypi_large_pool_resize(&pool, &held[slot], 1 + (uint32_t)(random >> 40) % 16);
			}
		} else {
			has[slot] = hypi_large_pool_take(&pool, 1 + (uint32_t)(random >> 40) % 20, (random >> 60) % 3,
			                                 &held[slot]) == HYP_OK;
			HOLDS(has[slot]);
		}
		hypi_large_pool_tick(&pool, i / 8);
	}
	for (size_t i = 0; i < 16; i++)
		if (has[i]) hypi_large_pool_give(&pool, &held[i], true);
	return NULL;
}

START_TEST(threads) {
	begin(false, 10);
	pthread_t thread[4];
	for (uintptr_t i = 0; i < 4; i++) ck_assert_int_eq(pthread_create(&thread[i], NULL, churn, (void *)(i + 1)), 0);
	for (int i = 0; i < 20; i++) {
		sound();
		hypi_os_yield();
	}
	for (size_t i = 0; i < 4; i++) ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
	sound();
	ck_assert_uint_eq(pool.purging, 0);
	hypi_large_pool_purge(&pool);
	ck_assert_uint_eq(hypi_large_pool_dirty_slices(&pool), 0);
	ck_assert_uint_eq(pool.whole_arenas, pool.arenas);
	end();
}
END_TEST

/* ---- the checker finds what is planted ---- */

static void planted(const char *expect) {
	const char *wrong = hypi_large_pool_check(&pool);
	ck_assert_ptr_nonnull(wrong);
	ck_assert_str_eq(wrong, expect);
}

START_TEST(planted_faults) {
	begin(false, 1000);
	hypi_run a = take(3, 0);
	pool.used_slices++;
	planted("the count of used slices is wrong");
	pool.used_slices--;
	pool.list_mask ^= 2;
	planted("the mask of arena lists is wrong");
	pool.list_mask ^= 2;
	pool.arenas++;
	planted("the count of arenas is wrong");
	pool.arenas--;
	pool.whole_arenas++;
	planted("the count of arenas is wrong");
	pool.whole_arenas--;
	pool.mapped_bytes += SLICE;
	planted("the count of mapped bytes is wrong");
	pool.mapped_bytes -= SLICE;
	a.arena->listed--;
	planted("an arena is in the wrong list");
	a.arena->listed++;
	a.arena->free_slices--;
	planted("the count of free slices is wrong");
	a.arena->free_slices++;
	sound();
	give(&a, true);
	end();
}
END_TEST

UNIT_MAIN("large_pool", take_and_give, a_long_run_goes_where_memory_is, long_runs_reuse_memory, arguments_out_of_range,
          grows_and_shrinks_in_place, growth, short_of_address_space, limits, best_fit_among_arenas,
          backing_with_commit, decay, decay_spares_what_is_used, purge_on_demand, a_fork_during_a_purge, purge_fails,
          release_fails, a_backing_that_cannot_purge, arenas_of_a_backing_that_cannot_purge, coarse_granule, threads,
          planted_faults)
