/* Fragmentation on cases that are built up to have a known figure (lib/pool/fragment.c). */
#include "pool/pool.h"
#include "unit.h"

#include "tests_pool.h"

#include <hypool/handle.h>

#include <math.h>

static hyp_fragmentation of(hyp_pool *pool) {
	hyp_fragmentation f = {.struct_bytes = sizeof f};
	ck_assert_int_eq(hyp_pool_fragmentation(pool, &f), HYP_OK);
	return f;
}

static bool is(double value, double wanted) { return fabs(value - wanted) < 1e-9; }

START_TEST(nothing) {
	hyp_pool_config config = small_config();
	hyp_pool *pool = make_pool(&config);
	hyp_fragmentation f = of(pool);
	ck_assert(is(f.internal, 0) && is(f.rounding, 0) && is(f.external, 0) && is(f.held, 0) && is(f.resident, 0));
	ck_assert_int_eq(hyp_pool_fragmentation(NULL, &f), HYP_ERR_INVALID);
	f.struct_bytes = 0;
	ck_assert_int_eq(hyp_pool_fragmentation(pool, &f), HYP_ERR_INVALID);
	hyp_pool_destroy(pool);
}
END_TEST

/* Whole spans of 64-byte blocks, then every second block freed, then all but one a span. */
START_TEST(spans) {
	hyp_pool_config config = small_config();
	hyp_pool *pool = make_pool(&config);
	enum { SPANS = 10 };
	size_t each = HYPI_SLICE_BYTES / 64, count = SPANS * each;
	static void *blocks[SPANS * HYPI_SLICE_BYTES / 64];
	for (size_t i = 0; i < count; i++) blocks[i] = hyp_pool_malloc(pool, 64);
	ck_assert(is(of(pool).internal, 0));
	ck_assert(is(of(pool).held, 1));
	for (size_t i = 0; i < count; i += 2) hyp_pool_free(pool, blocks[i]);
	ck_assert(is(of(pool).internal, 0.5));
	ck_assert(is(of(pool).held, 2));
	for (size_t i = 1; i < count; i += 2)
		if (i % each != 1) hyp_pool_free(pool, blocks[i]);
	ck_assert(is(of(pool).internal, 1 - 1.0 / (double)each));
	hyp_pool_destroy(pool);
}
END_TEST

/* An arena of sixteen blocks of a mebibyte: every second one freed, then pairs, then all. */
START_TEST(arena) {
	hyp_pool_config config = small_config();
	config.max_small_bytes = (size_t)8 << 20;
	config.max_large_bytes = (size_t)8 << 20;
	hyp_pool *pool = make_pool(&config);
	pool->engine.large_cache_bytes = 0; /* what is freed goes back to the buddy system at once */
	void *blocks[16];
	pool->engine.large.limit_bytes = 0;
	for (int i = 0; i < 16; i++) blocks[i] = hyp_pool_malloc(pool, 1 << 20);
	hyp_stats s = {.struct_bytes = sizeof s};
	ck_assert_int_eq(hyp_pool_stats(pool, &s), HYP_OK);
	ck_assert_uint_eq(s.arenas, 1);
	ck_assert_uint_eq(s.free_bytes, 0);
	ck_assert(is(of(pool).external, 0));
	for (int i = 0; i < 16; i += 2) hyp_pool_free(pool, blocks[i]);
	ck_assert(is(of(pool).external, 1 - 1.0 / 8)); /* eight pieces of one mebibyte */
	for (int i = 1; i < 8; i += 2) hyp_pool_free(pool, blocks[i]);
	ck_assert(is(of(pool).external, 1 - 8.0 / 12)); /* one of eight, four of one */
	for (int i = 9; i < 16; i += 2) hyp_pool_free(pool, blocks[i]);
	ck_assert(is(of(pool).external, 0)); /* one piece again */
	hyp_pool_destroy(pool);
}
END_TEST

START_TEST(rounding) {
	hyp_pool_config config = small_config();
	hyp_pool *pool = make_pool(&config);
	hyp_handle h;
	for (int i = 0; i < 100; i++) ck_assert_int_eq(hyp_handle_alloc(pool, 12, 0, 0, &h), HYP_OK); /* of 16 */
	ck_assert(is(of(pool).rounding, 0.25));
	for (int i = 0; i < 100; i++) ck_assert_int_eq(hyp_handle_alloc(pool, 16, 0, 0, &h), HYP_OK);
	ck_assert(is(of(pool).rounding, 0.125));
	hyp_pool_destroy(pool);
}
END_TEST

/* Resident: what the kernel says over what is live, by a block that is the process's most. */
START_TEST(resident) {
	hyp_pool_config config = small_config();
	config.max_large_bytes = 0;
	hyp_pool *pool = make_pool(&config);
	size_t bytes = (size_t)48 << 20;
	char *p = hyp_pool_malloc(pool, bytes);
	double before = of(pool).resident;
	memset(p, 1, bytes);
	double rise = of(pool).resident - before;
	if (!HYP_HAVE_SANITIZER) ck_assert(rise > 0.97 && rise < 1.03);
	hyp_pool_destroy(pool);
}
END_TEST

UNIT_MAIN("fragmentation", nothing, spans, arena, rounding, resident)
