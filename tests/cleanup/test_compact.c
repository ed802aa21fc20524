/* Compaction: what moves, what does not, how much it wins, and for how long (lib/cleanup/plan.c, run.c). */
#include "cleanup/cleanup.h"
#include "heap/heap.h"
#include "pool/handle.h"

#include "tests_cleanup.h"

#include <pthread.h>

enum { BLOCKS = 60000, BYTES = 256 };

static hyp_handle handles[BLOCKS]; /* 0: freed */

/* Every fourth block is left, at random: spans a quarter full. */
static void make_sparse(hyp_pool *pool, size_t bytes, int count, uint32_t keep_in_4) {
	uint64_t seed = 42;
	for (int i = 0; i < count; i++) handles[i] = make_block(pool, bytes, (uint32_t)i);
	for (int i = 0; i < count; i++) {
		if (next_random(&seed) % 4 < keep_in_4) continue;
		HOLDS(hyp_handle_free(pool, handles[i]) == HYP_OK);
		handles[i] = 0;
	}
}

static int check_all(hyp_pool *pool, size_t bytes, int count) {
	int live = 0;
	for (int i = 0; i < count; i++)
		if (handles[i] != 0) check_block(pool, handles[i], bytes, (uint32_t)i), live++;
	check_pool(pool);
	return live;
}

static hyp_cleanup_result run(hyp_pool *pool, const hyp_cleanup_request *request) {
	hyp_cleanup_result r = {.struct_bytes = sizeof r};
	ck_assert_int_eq(hyp_cleanup_run(pool, request, &r), HYP_OK);
	return r;
}

static uint64_t span_bytes(hyp_pool *pool) {
	hyp_stats s = {.struct_bytes = sizeof s};
	ck_assert_int_eq(hyp_pool_stats(pool, &s), HYP_OK);
	return s.small_span_bytes;
}

/* The plan is kept to: what it says is freed is freed, and the kernel says so too. */
START_TEST(sparse_spans) {
	hyp_pool *pool = cleanup_pool();
	pool->engine.large.decay_ms = 3600000; /* nothing goes by itself, however long it takes */
	make_sparse(pool, BYTES, BLOCKS, 1);
	hyp_cleanup_request request;
	hyp_cleanup_request_init(&request);
	request.budget_ms = 0;
	hyp_pool_trim(pool); /* what could be had without moving is had */
	size_t before = resident();
	request.dry_run = true;
	hyp_cleanup_result plan = run(pool, &request);
	ck_assert_uint_eq(plan.moved_blocks + plan.purged_bytes, 0);
	ck_assert_uint_gt(plan.planned_blocks, 0);
	request.dry_run = false;
	uint64_t spans_before = span_bytes(pool);
	hyp_cleanup_result r = run(pool, &request);
	ck_assert_uint_eq(r.planned_blocks, plan.planned_blocks);
	ck_assert_uint_eq(r.planned_freed_bytes, plan.planned_freed_bytes);
	ck_assert_uint_eq(r.moved_blocks, r.planned_blocks);
	ck_assert_uint_eq(r.freed_bytes, r.planned_freed_bytes);
	ck_assert_uint_eq(spans_before - span_bytes(pool), r.planned_freed_bytes);
	ck_assert(!r.more);
	int live = check_all(pool, BYTES, BLOCKS);
	/* What is left is as many spans as the blocks need, and one that is being carved. */
	size_t need = (size_t)live * BYTES;
	ck_assert_uint_le(span_bytes(pool), need + 3 * HYPI_SLICE_BYTES);
	size_t after = resident();
	ck_assert_uint_ge(r.purged_bytes, r.freed_bytes);
	if (!HYP_HAVE_SANITIZER) ck_assert_uint_ge(before - after, r.freed_bytes / 10 * 9);
	ck_assert_uint_eq(run(pool, &request).planned_blocks, 0); /* nothing is won by a second time */
	for (int i = 0; i < BLOCKS; i++)
		if (handles[i] != 0) HOLDS(hyp_handle_free(pool, handles[i]) == HYP_OK);
	hyp_pool_destroy(pool);
}
END_TEST

START_TEST(locked_stay) {
	hyp_pool *pool = cleanup_pool();
	make_sparse(pool, BYTES, BLOCKS, 1);
	static void *where[BLOCKS];
	int locked = 0;
	for (int i = 0; i < BLOCKS; i++)
		if (handles[i] != 0 && i % 10 == 0) {
			HOLDS(hyp_handle_lock(pool, handles[i], &where[i]) == HYP_OK);
			locked++;
		}
	char *pointed = hyp_pool_malloc(pool, BYTES); /* and one by pointer */
	memset(pointed, 99, BYTES);
	hyp_cleanup_request request;
	hyp_cleanup_request_init(&request);
	request.budget_ms = 0;
	hyp_cleanup_result r = run(pool, &request);
	ck_assert_uint_gt(r.moved_blocks, 0);
	ck_assert_uint_eq(r.locked_blocks, (uint64_t)locked);
	for (int i = 0; i < BLOCKS; i++)
		if (where[i] != NULL) {
			hyp_handle_info info = {.struct_bytes = sizeof info};
			HOLDS(hyp_handle_get_info(pool, handles[i], &info) == HYP_OK && info.address == (uintptr_t)where[i]);
			HOLDS(hyp_handle_unlock(pool, handles[i]) == HYP_OK);
		}
	for (int i = 0; i < BYTES; i++) HOLDS(pointed[i] == 99);
	check_all(pool, BYTES, BLOCKS);
	hyp_pool_destroy(pool);
}
END_TEST

START_TEST(budgets) {
	hyp_pool *pool = cleanup_pool();
	make_sparse(pool, BYTES, BLOCKS, 1);
	hyp_cleanup_request request;
	hyp_cleanup_request_init(&request);
	request.budget_bytes = 100000;
	request.budget_ms = 0;
	hyp_cleanup_result r;
	uint64_t moved = 0, planned = 0, rounds = 0;
	do {
		r = run(pool, &request);
		ck_assert_uint_le(r.moved_bytes, 100000);
		if (rounds == 0) planned = r.planned_blocks;
		ck_assert_uint_eq(r.planned_blocks, planned); /* it goes on, and does not plan again */
		moved += r.moved_blocks;
		rounds++;
		check_pool(pool);
	} while (r.more);
	ck_assert_uint_eq(moved, planned);
	ck_assert_uint_ge(rounds, planned * BYTES / 100000);
	check_all(pool, BYTES, BLOCKS);
	hyp_pool_destroy(pool);

	/* Time: planning is cut as well, and made once; every run does something, and in the end all was moved. */
	pool = cleanup_pool();
	make_sparse(pool, BYTES, BLOCKS, 1);
	request.budget_bytes = 0;
	request.budget_ms = 1;
	unsigned runs = 0;
	uint64_t freed = 0, planned_freed = 0;
	bool planned_all = false;
	moved = planned = 0;
	do {
		r = run(pool, &request);
		freed += r.freed_bytes;
		moved += r.moved_blocks;
		ck_assert(r.planning_ns != 0 || planned_all);
		ck_assert(!planned_all || r.planning_ns == 0); /* never again */
		planned_all |= r.planned_blocks != 0;
		if (r.planned_blocks != 0) planned = r.planned_blocks, planned_freed = r.planned_freed_bytes;
		ck_assert(!r.more || r.moved_blocks != 0 || r.planning_ns != 0 || r.purged_bytes != 0);
		ck_assert(planned_all || r.moved_blocks == 0);
		ck_assert_uint_lt(++runs, 100000);
	} while (r.more);
	ck_assert_uint_gt(runs, 1);
	ck_assert_uint_eq(moved, planned);
	ck_assert_uint_ge(freed, planned_freed);
	check_all(pool, BYTES, BLOCKS);
	hyp_pool_destroy(pool);
}
END_TEST

/* A plan that is cut after each chunk, while spans come and go: what it remembers of them is looked at again. */
START_TEST(cut_plans) {
	hyp_pool *pool = cleanup_pool();
	make_sparse(pool, BYTES, BLOCKS, 1);
	hyp_cleanup_request request;
	hyp_cleanup_request_init(&request);
	request.budget_ms = 0;
	uint64_t seed = 5, moved = 0;
	for (int round = 0; round < 3; round++) {
		hypi_plan *plan = &hypi_cleanup_of(pool, true)->plan;
		hypi_heap *heap = hypi_heap_for(&pool->engine);
		hyp_pool_trim(pool);
		HOLDS(hypi_plan_begin(plan, pool, heap, &request));
		unsigned cuts = 0;
		while (!hypi_plan_go_on(plan, pool, 1)) {
			cuts++;
			/* Whole stretches of blocks go, and with them their spans; others come, and other classes. */
			unsigned from = next_random(&seed) % (BLOCKS - 1000);
			for (unsigned k = from; k < from + 1000; k++)
				if (handles[k] != 0) HOLDS(hyp_handle_free(pool, handles[k]) == HYP_OK), handles[k] = 0;
			void *p = hyp_pool_malloc(pool, 100000);
			for (unsigned k = from; k < from + 1000; k += 3) handles[k] = make_block(pool, BYTES, k);
			if (cuts % 8 == 0) hyp_pool_trim(pool);
			hyp_pool_free(pool, p);
		}
		ck_assert_uint_gt(cuts, BLOCKS / 2 / HYPI_CHUNK_SLOTS);
		hyp_cleanup_result r = run(pool, &request);
		ck_assert_uint_eq(r.planning_ns, 0); /* it went on with that plan */
		moved += r.moved_blocks;
		check_all(pool, BYTES, BLOCKS);
	}
	ck_assert_uint_gt(moved, 0);
	hyp_pool_destroy(pool);
}
END_TEST

/* What is copied while a block is held is bounded: larger ones are left where they are, and the others still move. */
START_TEST(held_bytes) {
	hyp_pool *pool = cleanup_pool();
	enum { COUNT = 60, SIZE = 2 << 20, SMALLS = 20000 };
	static hyp_handle smalls[SMALLS];
	make_sparse(pool, SIZE, COUNT, 1);
	for (int i = 0; i < SMALLS; i++) smalls[i] = make_block(pool, BYTES, (uint32_t)i);
	for (int i = 0; i < SMALLS; i++)
		if (i % 5 != 0) HOLDS(hyp_handle_free(pool, smalls[i]) == HYP_OK);
	hyp_cleanup_request request;
	hyp_cleanup_request_init(&request);
	ck_assert_uint_eq(request.most_held_bytes, 4 << 20);
	request.budget_ms = 0;
	request.most_held_bytes = SIZE - 1;
	hyp_cleanup_result r = run(pool, &request);
	ck_assert_uint_gt(r.moved_blocks, SMALLS / 10);
	ck_assert_uint_eq(r.longest_bytes, BYTES);
	ck_assert_uint_eq(r.planned_arenas, 0);
	request.most_held_bytes = SIZE;
	r = run(pool, &request);
	ck_assert_uint_eq(r.planned_arenas, 1);
	ck_assert_uint_eq(r.longest_bytes, SIZE);
	for (int i = 0; i < SMALLS; i += 5) check_block(pool, smalls[i], BYTES, (uint32_t)i);
	check_all(pool, SIZE, COUNT);
	hyp_pool_destroy(pool);
}
END_TEST

START_TEST(chosen_blocks) {
	hyp_pool *pool = cleanup_pool();
	make_sparse(pool, BYTES, 8000, 1);
	hyp_cleanup_request request;
	hyp_cleanup_request_init(&request);
	request.budget_ms = 0; /* or it may be over before one has moved */
	request.least_bytes = BYTES + 1;
	ck_assert_uint_eq(run(pool, &request).planned_blocks, 0);
	request.least_bytes = 0, request.most_bytes = BYTES - 1;
	ck_assert_uint_eq(run(pool, &request).planned_blocks, 0);
	request.most_bytes = 0, request.least_age_ms = 60000;
	ck_assert_uint_eq(run(pool, &request).planned_blocks, 0);
	request.least_age_ms = 0, request.least_idle_ms = 60000;
	ck_assert_uint_eq(run(pool, &request).planned_blocks, 0);
	request.least_idle_ms = 0, request.device = 3;
	hyp_cleanup_result r = {.struct_bytes = sizeof r};
	ck_assert_int_eq(hyp_cleanup_run(pool, &request, &r), HYP_ERR_DEVICE);
	request.device = 0, request.compact = false;
	ck_assert_uint_eq(run(pool, &request).planned_blocks, 0);
	request.compact = true, request.most_bytes = 5, request.least_bytes = 6;
	ck_assert_int_eq(hyp_cleanup_run(pool, &request, &r), HYP_ERR_INVALID);
	request.most_bytes = request.least_bytes = 0;
	request.struct_bytes = 1;
	ck_assert_int_eq(hyp_cleanup_run(pool, &request, &r), HYP_ERR_INVALID);
	ck_assert_int_eq(hyp_cleanup_run(NULL, NULL, &r), HYP_ERR_INVALID);
	sleep_ms(60);
	request.struct_bytes = sizeof request;
	request.least_age_ms = request.least_idle_ms = 20;
	ck_assert_uint_gt(run(pool, &request).moved_blocks, 0);
	check_all(pool, BYTES, 8000);
	hyp_pool_destroy(pool);
}
END_TEST

/* Arenas: large blocks leave the sparse ones, and what is free is one piece again. */
START_TEST(sparse_arenas) {
	hyp_pool_config config;
	hyp_pool_config_init(&config);
	config.initial_small_bytes = config.initial_large_bytes = 0;
	config.max_large_bytes = 0;
	hyp_pool *pool = NULL;
	ck_assert_int_eq(hyp_pool_create(&config, &pool), HYP_OK);
	enum { COUNT = 160, SIZE = 2 << 20 };
	make_sparse(pool, SIZE, COUNT, 1);
	hyp_pool_trim(pool);
	hyp_stats before = {.struct_bytes = sizeof before}, after = before;
	ck_assert_int_eq(hyp_pool_stats(pool, &before), HYP_OK);
	hyp_cleanup_request request;
	hyp_cleanup_request_init(&request);
	request.budget_ms = 0;
	hyp_cleanup_result r = run(pool, &request);
	ck_assert_int_eq(hyp_pool_stats(pool, &after), HYP_OK);
	ck_assert_uint_gt(r.planned_arenas, 0);
	ck_assert_uint_eq(r.moved_blocks, r.planned_blocks);
	ck_assert_uint_ge(before.arenas - after.arenas + 1, r.planned_arenas); /* one empty one is kept */
	ck_assert_uint_eq(before.arenas - after.arenas, r.freed_arenas);
	check_all(pool, SIZE, COUNT);
	hyp_pool_destroy(pool);
}
END_TEST

/* Large blocks that shrank where they were are small ones once they are moved. */
START_TEST(shrunk_blocks) {
	hyp_pool *pool = cleanup_pool();
	enum { COUNT = 120, SIZE = 1 << 20, LESS = 600000 };
	make_sparse(pool, SIZE, COUNT, 1);
	for (int i = 0; i < COUNT; i++)
		if (handles[i] != 0) HOLDS(hyp_handle_realloc(pool, handles[i], LESS) == HYP_OK);
	check_all(pool, LESS, COUNT);
	hyp_cleanup_request request;
	hyp_cleanup_request_init(&request);
	request.budget_ms = 0; /* on a busy machine it may be over before one has moved */
	ck_assert_uint_gt(run(pool, &request).moved_blocks, 0);
	check_all(pool, LESS, COUNT);
	for (int i = 0; i < COUNT; i++)
		if (handles[i] != 0) HOLDS(hyp_handle_free(pool, handles[i]) == HYP_OK);
	check_pool(pool);
	hyp_pool_destroy(pool);
}
END_TEST

/* A backing whose every purge takes two milliseconds at least, which is more than the budget: so a run makes one step. */
static _Atomic uint64_t purge_calls, purge_most_bytes;
static hyp_backing plain;

static hyp_status slow_purge(void *context, uintptr_t address, size_t bytes) {
	sleep_ms(2);
	purge_calls++;
	if (bytes > purge_most_bytes) purge_most_bytes = bytes;
	return plain.purge(context, address, bytes);
}

static uint64_t dirty_bytes(hyp_pool *pool) {
	return hypi_large_pool_dirty_slices(&pool->engine.large) << HYPI_SLICE_LOG2;
}

/* The budget bounds purging, too: it is cut after any step, and the next runs go on with it, and plan nothing. */
START_TEST(cut_purges) {
	hyp_pool_config config;
	hyp_pool *pool = NULL;
	ck_assert_int_eq(hyp_backing_open_host(-1, HYP_HUGE_DEFAULT, false, &plain), HYP_OK);
	hyp_backing backing = plain;
	backing.purge = slow_purge;
	hyp_pool_config_init(&config);
	config.initial_small_bytes = config.initial_large_bytes = 0;
	config.backing = &backing;
	ck_assert_int_eq(hyp_pool_create(&config, &pool), HYP_OK);
	pool->engine.large.decay_ms = 3600000;
	enum { COUNT = 20, SIZE = 2 << 20, STEPS = COUNT * SIZE / (4 << 20) };
	const hypi_plan *plan = &hypi_cleanup_of(pool, true)->plan;
	make_sparse(pool, BYTES, 2000, 4); /* what a plan would look at */
	for (int round = 0; round < 2; round++) {
		void *blocks[COUNT];
		hyp_cleanup_request request;
		hyp_cleanup_request_init(&request);
		for (int i = 0; i < COUNT; i++) memset(blocks[i] = hyp_pool_malloc(pool, SIZE), 1, SIZE);
		for (int i = 0; i < COUNT; i++) hyp_pool_free(pool, blocks[i]);
		hypi_heap_trim(hypi_heap_for(&pool->engine));
		uint64_t dirty = dirty_bytes(pool), purged = 0;
		ck_assert_uint_ge(dirty, COUNT * SIZE);
		purge_calls = purge_most_bytes = 0;
		request.budget_ms = round == 0 ? 1 : 0;
		unsigned runs = 0;
		hyp_cleanup_result r;
		do {
			bool plans = runs == 0 || plan->stage != HYPI_PLAN_NONE;
			r = run(pool, &request);
			purged += r.purged_bytes;
			ck_assert(plans || r.planning_ns == 0);
			if (round == 0) ck_assert_uint_le(r.purged_bytes, HYPI_PURGE_STEP_BYTES);
			ck_assert_uint_eq(dirty_bytes(pool), dirty - purged);
			ck_assert(r.more == (dirty_bytes(pool) != 0 || plan->stage != HYPI_PLAN_NONE));
			check_pool(pool);
			ck_assert_uint_lt(++runs, 100);
		} while (r.more);
		ck_assert_uint_eq(purged, dirty);
		if (round == 0) ck_assert_uint_ge(runs, STEPS);
		else ck_assert_uint_eq(runs, 1);
		if (round == 0) ck_assert_uint_le(purge_most_bytes, HYPI_PURGE_STEP_BYTES);
	}
	ck_assert_uint_gt(purge_calls, 0);
	/* Purging that was cut, and that somebody else finished, keeps no cleanup from planning. */
	hyp_cleanup_request request;
	hyp_cleanup_request_init(&request);
	request.budget_ms = 1;
	void *p = hyp_pool_malloc(pool, 60 << 20);
	memset(p, 1, 60 << 20);
	hyp_pool_free(pool, p);
	while (run(pool, &request).more && plan->stage != HYPI_PLAN_NONE) continue;
	ck_assert_uint_ge(dirty_bytes(pool), HYPI_PURGE_STEP_BYTES);
	hyp_pool_trim(pool);
	ck_assert_uint_gt(run(pool, &request).planning_ns, 0);
	check_all(pool, BYTES, 2000);
	hyp_pool_destroy(pool);
	hyp_backing_close(&plain);
}
END_TEST

/* ---- blocks of other threads ---- */

typedef struct other {
	hyp_pool *pool;
	pthread_barrier_t barrier;
} other;

static void *owner(void *context) {
	other *o = context;
	make_sparse(o->pool, BYTES, BLOCKS / 4, 1);
	pthread_barrier_wait(&o->barrier);
	pthread_barrier_wait(&o->barrier); /* somebody else compacts */
	hyp_handle_free(o->pool, make_block(o->pool, BYTES, 0)) == HYP_OK ? (void)0 : abort();
	hyp_pool_trim(o->pool);
	pthread_barrier_wait(&o->barrier);
	pthread_barrier_wait(&o->barrier);
	return NULL;
}

START_TEST(another_threads_blocks) {
	other o = {.pool = cleanup_pool()};
	pthread_t thread;
	pthread_barrier_init(&o.barrier, NULL, 2);
	pthread_create(&thread, NULL, owner, &o);
	pthread_barrier_wait(&o.barrier);
	hyp_cleanup_request request;
	hyp_cleanup_request_init(&request);
	request.budget_ms = 0;
	hyp_cleanup_result r = run(o.pool, &request);
	ck_assert_uint_gt(r.planned_freed_bytes, 0);
	ck_assert_uint_eq(r.moved_blocks, r.planned_blocks);
	uint64_t middle = span_bytes(o.pool);
	pthread_barrier_wait(&o.barrier);
	pthread_barrier_wait(&o.barrier);
	/* The owner looked: what was moved away went back. */
	ck_assert_uint_ge(middle - span_bytes(o.pool), r.planned_freed_bytes);
	check_all(o.pool, BYTES, BLOCKS / 4);
	pthread_barrier_wait(&o.barrier);
	pthread_join(thread, NULL);
	check_all(o.pool, BYTES, BLOCKS / 4);
	ck_assert_uint_eq(run(o.pool, NULL).planned_freed_bytes, 0);
	hyp_pool_destroy(o.pool);
}
END_TEST

static void *short_lived(void *context) {
	make_sparse(context, BYTES, BLOCKS / 4, 1);
	return NULL;
}

/* A thread that has ended: what is moved out of its spans goes back at once, no thread has to look. */
START_TEST(ended_threads_blocks) {
	hyp_pool *pool = cleanup_pool();
	pthread_t thread;
	pthread_create(&thread, NULL, short_lived, pool);
	pthread_join(thread, NULL);
	hyp_cleanup_request request;
	hyp_cleanup_request_init(&request);
	request.budget_ms = 0;
	uint64_t before = span_bytes(pool);
	hyp_cleanup_result r = run(pool, &request);
	ck_assert_uint_gt(r.planned_freed_bytes, 100 * HYPI_SLICE_BYTES);
	ck_assert_uint_ge(before - span_bytes(pool), r.planned_freed_bytes);
	check_all(pool, BYTES, BLOCKS / 4);
	hyp_pool_destroy(pool);
}
END_TEST

/* Threads allocate, write, verify and free while two others compact the pool again and again. */
typedef struct stage {
	hyp_pool *pool;
	_Atomic bool stop;
	_Atomic uint64_t moved;
	_Atomic int turn;
} stage;

static void *worker(void *context) {
	stage *s = context;
	enum { HELD = 500 };
	hyp_handle held[HELD] = {0};
	uint32_t numbers[HELD];
	uint64_t seed = 99 + (uint64_t)atomic_fetch_add(&s->turn, 1) * 7717;
	/* On a busy machine the compactors may get their first turn late. */
	for (uint32_t i = 0; i < 60000 || (s->moved == 0 && i < 60000000); i++) {
		unsigned k = next_random(&seed) % HELD;
		size_t bytes = 16u << k % 6;
		if (held[k] == 0) {
			held[k] = make_block(s->pool, bytes, numbers[k] = i);
		} else {
			check_block(s->pool, held[k], bytes, numbers[k]);
			hyp_status status;
			while ((status = hyp_handle_free(s->pool, held[k])) == HYP_ERR_BUSY) continue;
			HOLDS(status == HYP_OK);
			held[k] = 0;
		}
	}
	for (unsigned k = 0; k < HELD; k++)
		if (held[k] != 0) {
			check_block(s->pool, held[k], 16u << k % 6, numbers[k]);
			while (hyp_handle_free(s->pool, held[k]) == HYP_ERR_BUSY) continue;
		}
	return NULL;
}

static void *compactor(void *context) {
	stage *s = context;
	while (!s->stop) {
		hyp_cleanup_result r = {.struct_bytes = sizeof r};
		hyp_status status = hyp_cleanup_run(s->pool, NULL, &r);
		HOLDS(status == HYP_OK || status == HYP_ERR_BUSY);
		if (status == HYP_OK) s->moved += r.moved_blocks;
		sleep_ms(1);
	}
	return NULL;
}

START_TEST(while_threads_work) {
	stage s = {.pool = cleanup_pool()};
	pthread_t threads[3], compactors[2];
	for (int i = 0; i < 2; i++) pthread_create(&compactors[i], NULL, compactor, &s);
	for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, worker, &s);
	for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
	s.stop = true;
	for (int i = 0; i < 2; i++) pthread_join(compactors[i], NULL);
	ck_assert_uint_gt(s.moved, 0);
	check_pool(s.pool);
	hyp_stats stats = {.struct_bytes = sizeof stats};
	ck_assert_int_eq(hyp_pool_stats(s.pool, &stats), HYP_OK);
	ck_assert_uint_eq(stats.active, 0);
	ck_assert_uint_eq(stats.failures, 0);
	hyp_pool_destroy(s.pool);
}
END_TEST

UNIT_MAIN("compact", sparse_spans, locked_stay, budgets, cut_plans, cut_purges, held_bytes, chosen_blocks,
          sparse_arenas, shrunk_blocks, another_threads_blocks, ended_threads_blocks, while_threads_work)
