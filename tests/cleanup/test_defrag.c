/* Blocks by pointer: hints, queries, and moves that their program carries out (lib/cleanup/defrag.c). */
#include "pool/pool.h"
#include "heap/heap.h"

#include "tests_cleanup.h"

#include <hypool/hypool.h>

#include <pthread.h>

enum { VALUES = 60000, BATCH = 512 };

static uint8_t *values[VALUES]; /* NULL: freed */
static uint32_t sizes[VALUES];

static void write_value(uint8_t *p, size_t bytes, uint32_t number) {
	for (size_t i = 0; i < bytes; i++) p[i] = (uint8_t)(number * 31 + i * 7);
}

static void check_values(int count) {
	for (int i = 0; i < count; i++)
		for (size_t k = 0; values[i] != NULL && k < sizes[i]; k++)
			HOLDS(values[i][k] == (uint8_t)((uint32_t)i * 31 + k * 7));
}

/* Values of `least` to `most` bytes; of ten, `keep` are left, at random. */
static size_t make_sparse(hyp_pool *pool, int count, uint32_t least, uint32_t most, uint32_t keep) {
	uint64_t seed = 4242;
	size_t live = 0;
	for (int i = 0; i < count; i++) {
		sizes[i] = least + next_random(&seed) % (most - least + 1);
		values[i] = hyp_pool_malloc(pool, sizes[i]);
		HOLDS(values[i] != NULL);
		write_value(values[i], sizes[i], (uint32_t)i);
	}
	for (int i = 0; i < count; i++) {
		if (next_random(&seed) % 10 < keep) {
			live += hyp_pool_usable_size(pool, values[i]);
			continue;
		}
		hyp_pool_free(pool, values[i]);
		values[i] = NULL;
	}
	return live;
}

static hyp_stats stats_of(hyp_pool *pool) {
	hyp_stats s = {.struct_bytes = sizeof s};
	ck_assert_int_eq(hyp_pool_stats(pool, &s), HYP_OK);
	return s;
}

/* One look at every value, in batches, as a server does between requests. Returns how many moved. */
static size_t pass(hyp_pool *pool, int count) {
	size_t moved = 0;
	for (int from = 0; from < count; from += BATCH) {
		size_t n = (size_t)(count - from < BATCH ? count - from : BATCH);
		void *old[BATCH], *now[BATCH];
		memcpy(old, &values[from], n * sizeof *old);
		size_t claimed = hyp_defrag_move(pool, old, n, now), seen = 0;
		for (size_t i = 0; i < n; i++)
			if (now[i] != NULL) {
				HOLDS(now[i] != old[i]);
				values[from + (int)i] = now[i];
				seen++;
			}
		HOLDS(claimed == seen);
		moved += seen;
	}
	return moved;
}

/* The churn of a cache: most values go, at random, and what is left holds every span. Two passes bring it to what it
 * needs, and the kernel says so too. */
START_TEST(churn) {
	hyp_pool *pool = cleanup_pool();
	size_t live = make_sparse(pool, VALUES, 40, 400, 2);
	hyp_pool_trim(pool);
	hyp_stats before = stats_of(pool);
	size_t resident_before = resident();
	ck_assert_uint_ge(before.small_span_bytes, 3 * live);
	size_t first = pass(pool, VALUES), second = pass(pool, VALUES);
	check_pool(pool);
	check_values(VALUES);
	hyp_pool_trim(pool);
	hyp_stats after = stats_of(pool);
	ck_assert_uint_gt(first, 0);
	ck_assert_uint_lt(second, first / 16); /* it goes to the fullest, and so comes to an end */
	ck_assert_uint_eq(after.active, before.active);
	ck_assert_uint_eq(after.current_bytes, before.current_bytes);
	/* 24 classes, each with a span that is being carved and one that is not full. */
	ck_assert_uint_le(after.small_span_bytes, live + live / 10 + 24 * 2 * HYPI_SLICE_BYTES);
	if (!HYP_HAVE_SANITIZER)
		ck_assert_uint_ge(resident_before - resident(), (before.small_span_bytes - after.small_span_bytes) / 10 * 9);
	for (int i = 0; i < VALUES; i++) hyp_pool_free(pool, values[i]);
	check_pool(pool);
	hyp_pool_destroy(pool);
}
END_TEST

/* Hints agree with queries; following them by hand, with what the library's own moves would do, is the program's right. */
START_TEST(hints) {
	hyp_pool *pool = cleanup_pool();
	make_sparse(pool, VALUES / 2, 100, 100, 3);
	hyp_pool_trim(pool);
	static hyp_defrag_info infos[VALUES];
	hyp_defrag_query((const void *const *)values, VALUES / 2, infos);
	int worth = 0, hinted = 0, agree = 0, live = 0;
	double worst_stays = 1, best_goes = 0;
	for (int i = 0; i < VALUES / 2; i++) {
		if (values[i] == NULL) {
			ck_assert(infos[i].block_bytes == 0 && !infos[i].worth && !hyp_defrag_hint(NULL));
			continue;
		}
		ck_assert(infos[i].mine && infos[i].block_bytes == 112 && infos[i].span_bytes == HYPI_SLICE_BYTES);
		ck_assert_uint_eq(infos[i].span_blocks, HYPI_SLICE_BYTES / 112);
		ck_assert(infos[i].span_live > 0 && infos[i].class_use > 0.25 && infos[i].class_use < 0.35);
		double use = (double)infos[i].span_live / infos[i].span_blocks;
		if (hypi_span_at(values[i]) == hypi_self.pool_heap->bins[hypi_class_of(100)].carving) continue;
		if (infos[i].worth && use > best_goes) best_goes = use;
		if (!infos[i].worth && use < worst_stays) worst_stays = use;
		bool hint = hyp_defrag_hint(values[i]);
		live++, worth += infos[i].worth, hinted += hint, agree += hint == infos[i].worth;
	}
	ck_assert_int_eq(agree, live); /* nothing changed between the two */
	ck_assert_int_eq(hinted, worth);
	ck_assert_int_gt(worth, live / 2); /* three of ten places are in use: most spans can go */
	ck_assert_int_lt(worth, live);
	ck_assert(best_goes <= worst_stays + 2.0 / 64); /* the sparsest go */
	hyp_pool_destroy(pool);
}
END_TEST

static void *theirs(void *context) {
	hyp_pool *pool = context;
	for (int i = 0; i < 1000; i++) values[i] = hyp_pool_malloc(pool, 100);
	for (int i = 0; i < 1000; i++)
		if (i % 8 != 0) hyp_pool_free(pool, values[i]), values[i] = NULL;
	return NULL;
}

/* What is never worth it: full spans, large blocks, others' blocks, pointers that are not hypool's. */
START_TEST(left_alone) {
	hyp_pool *pool = cleanup_pool();
	hyp_defrag_info info;
	void *old[4] = {NULL}, *now[4];
	const void *p = hyp_pool_malloc(pool, 5 << 20);
	hyp_defrag_query(&p, 1, &info);
	ck_assert(!info.worth && info.block_bytes == 5 << 20 && info.span_blocks == 1 && !info.mine);
	ck_assert(!hyp_defrag_hint(p));
	old[0] = (void *)(uintptr_t)p;
	p = &info;
	hyp_defrag_query(&p, 1, &info);
	ck_assert(!info.worth && info.block_bytes == 0 && !hyp_defrag_hint(&info));
	pthread_t thread;
	pthread_create(&thread, NULL, theirs, pool);
	pthread_join(thread, NULL);
	old[1] = values[0], old[2] = hyp_pool_malloc(pool, 64);
	p = old[1];
	hyp_defrag_query(&p, 1, &info);
	ck_assert(!info.mine && !info.worth && info.block_bytes == 112 && info.span_live == 0 && !hyp_defrag_hint(p));
	ck_assert_uint_eq(hyp_defrag_move(pool, old, 4, now), 0);
	for (int i = 0; i < 4; i++) ck_assert_ptr_null(now[i]);
	ck_assert_uint_eq(hyp_defrag_move(pool, old, 0, now), 0);
	check_pool(pool);
	/* The default pool, and blocks that are aligned. */
	enum { COUNT = 4000 };
	static void *blocks[COUNT];
	size_t kept = 0, moved = 0;
	for (int i = 0; i < COUNT; i++) memset(blocks[i] = hyp_aligned_alloc(256, 700), i, 700);
	for (int i = 0; i < COUNT; i++) {
		if (i % 5 == 0) blocks[kept++] = blocks[i];
		else hyp_free(blocks[i]);
	}
	static void *after[COUNT];
	moved = hyp_defrag_move(NULL, blocks, kept, after);
	ck_assert_uint_gt(moved, kept / 2);
	for (size_t i = 0; i < kept; i++) {
		if (after[i] != NULL) blocks[i] = after[i];
		HOLDS((uintptr_t)blocks[i] % 256 == 0 && *(uint8_t *)blocks[i] == (uint8_t)(i * 5));
		hyp_free(blocks[i]);
	}
	check_pool(hyp_pool_default());
	hyp_pool_destroy(pool);
}
END_TEST

/* All spans alike: there is no sparsest, and still some are emptied. And a pool whose threshold cuts the class. */
START_TEST(all_alike) {
	hyp_pool_config config;
	hyp_pool *pool = NULL;
	hyp_pool_config_init(&config);
	config.threshold_bytes = 5000;
	ck_assert_int_eq(hyp_pool_create(&config, &pool), HYP_OK);
	enum { COUNT = 8000 };
	for (int i = 0; i < COUNT; i++) {
		sizes[i] = 4999;
		write_value(values[i] = hyp_pool_malloc(pool, 4999), 4999, (uint32_t)i);
	}
	for (int i = 0; i < COUNT; i += 2) hyp_pool_free(pool, values[i]), values[i] = NULL;
	hyp_pool_trim(pool);
	hyp_stats before = stats_of(pool);
	ck_assert_uint_gt(pass(pool, COUNT), COUNT / 8);
	pass(pool, COUNT);
	hyp_pool_trim(pool);
	ck_assert_uint_le(stats_of(pool).small_span_bytes, before.small_span_bytes / 10 * 6);
	ck_assert_uint_eq(stats_of(pool).active, COUNT / 2);
	ck_assert_uint_eq(stats_of(pool).large_bytes, 0);
	check_values(COUNT);
	check_pool(pool);
	hyp_pool_destroy(pool);
}
END_TEST

/* Threads with heaps of their own in one pool, each moving what is its own while the others allocate and free. */
typedef struct mine {
	hyp_pool *pool;
	uint64_t seed, moved;
} mine;

static void *mover(void *context) {
	mine *m = context;
	enum { HELD = 3000 };
	uint8_t **held = hyp_calloc(HELD, sizeof *held);
	void **now = hyp_calloc(HELD, sizeof *now);
	for (int round = 0; round < 12; round++) {
		for (int i = 0; i < HELD; i++)
			if (held[i] == NULL) write_value(held[i] = hyp_pool_malloc(m->pool, 80), 80, (uint32_t)i);
		for (int i = 0; i < HELD; i++) {
			if (next_random(&m->seed) % 4 != 0) hyp_pool_free(m->pool, held[i]), held[i] = NULL;
		}
		m->moved += hyp_defrag_move(m->pool, (void *const *)held, HELD, now);
		for (int i = 0; i < HELD; i++) {
			if (now[i] != NULL) held[i] = now[i];
			for (size_t k = 0; held[i] != NULL && k < 80; k++) HOLDS(held[i][k] == (uint8_t)((uint32_t)i * 31 + k * 7));
		}
	}
	for (int i = 0; i < HELD; i++) hyp_pool_free(m->pool, held[i]);
	hyp_free(held);
	hyp_free(now);
	return NULL;
}

START_TEST(threads) {
	mine m[3] = {{NULL, 1, 0}, {NULL, 2, 0}, {NULL, 3, 0}};
	pthread_t thread[3];
	hyp_pool *pool = cleanup_pool();
	for (int i = 0; i < 3; i++) m[i].pool = pool, pthread_create(&thread[i], NULL, mover, &m[i]);
	for (int i = 0; i < 3; i++) pthread_join(thread[i], NULL);
	for (int i = 0; i < 3; i++) ck_assert_uint_gt(m[i].moved, 0);
	check_pool(pool);
	ck_assert_uint_eq(stats_of(pool).active, 0);
	hyp_pool_destroy(pool);
}
END_TEST

UNIT_MAIN("defrag", churn, hints, left_alone, all_alike, threads)
