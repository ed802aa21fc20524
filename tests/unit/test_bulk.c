/* Tests of heap/bulk.c: when a heap frees in bulk and when no more, that every block is counted once and every empty
 * span given back, and that misuse is told at the call that makes it. */
#include "heap/harden.h"
#include "heap/heap.h"
#include "heap/sample.h"
#include "unit.h"

#include <hypool/hypool.h>
#include <hypool/pool.h>
#include <hypool/stats.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MANY = 24000, BYTES = 192, SIZES = 9 };

static unsigned char *blocks[MANY];
static const size_t sizes[SIZES] = {16, 24, 64, 192, 500, 1000, 1500, 3000, 4096};

static bool in_bulk(void) { return hypi_self.heap->window == HYPI_WINDOW_BULK; }

static void check(void) {
	const char *wrong = hypi_engine_check(&hypi_default_engine);
	ck_assert_msg(wrong == NULL, "%s", wrong);
}

static void ask(size_t bytes) {
	hypi_process_init();
	hypi_harden.config.sample_every = 0; /* each block is one of a span */
	for (size_t i = 0; i < MANY; i++) HOLDS((blocks[i] = memset(hyp_malloc(bytes), (int)i, bytes)) != NULL);
}

/* Frees until the heap does so in bulk; returns the first block that is still there. */
static size_t free_until_bulk(void) {
	size_t i = 0;
	while (i < MANY / 2 && !in_bulk()) hyp_free(blocks[i++]);
	ck_assert(in_bulk());
	return i;
}

static void free_from(size_t i) {
	while (i < MANY) hyp_free(blocks[i++]);
}

START_TEST(a_heap_that_only_frees) {
	ask(BYTES);
	size_t i = free_until_bulk(), at = i;
	hypi_heap *heap = hypi_self.heap;
	unsigned c = hypi_class_of(BYTES);
	uint32_t length = hypi_list_length(heap, c);
	ck_assert_uint_ge(i, HYPI_BULK_EVENTS);
	for (; i < at + 2000; i++) {
		hypi_span *span = hypi_span_at(blocks[i]);
		uint32_t out = span->out, listed = span->listed;
		hyp_free(blocks[i]);
		if (out == 1) continue; /* the span is gone */
		HOLDS(span->free == (hypi_block *)blocks[i]);
		HOLDS(span->out == out - 1 && span->listed == listed + 1);
	}
	ck_assert_uint_le(hypi_list_length(heap, c), length);
	ck_assert(in_bulk());
	check();
	free_from(i);
	check();
}
END_TEST

/* All is counted, at any moment, and nothing is left where everything was freed. */
START_TEST(what_is_counted) {
	hyp_stats before = {.struct_bytes = sizeof before}, now = before;
	ck_assert_int_eq(hyp_stats_get(&before), HYP_OK);
	uint32_t used = hypi_default_engine.large.used_slices;
	for (size_t i = 0; i < MANY; i++) HOLDS((blocks[i] = hyp_malloc(sizes[i % SIZES])) != NULL);
	for (size_t i = 0; i < MANY; i++) {
		hyp_free(blocks[i * 7919 % MANY]);
		if (i % 1000 != 999) continue;
		ck_assert_int_eq(hyp_stats_get(&now), HYP_OK);
		ck_assert_uint_eq(now.frees - before.frees, i + 1);
		ck_assert_uint_eq(now.active - before.active, MANY - 1 - i);
		check();
	}
	ck_assert(in_bulk());
	ck_assert_uint_eq(now.current_bytes, before.current_bytes);
	hyp_trim();
	check();
	ck_assert_uint_le(hypi_default_engine.large.used_slices, used);
}
END_TEST

/* Without any call but free. */
START_TEST(empty_spans_go_back) {
	ask(BYTES);
	uint32_t most = hypi_default_engine.large.used_slices;
	free_from(0);
	ck_assert(in_bulk());
	ck_assert_uint_lt(hypi_default_engine.large.used_slices, most / 8);
}
END_TEST

START_TEST(time_passes) {
	ask(BYTES);
	size_t i = free_until_bulk();
	int32_t before = hypi_self.heap->ticks;
	for (size_t end = i + 3 * HYPI_TICK; i < end; i++) hyp_free(blocks[i]);
	int32_t passed = hypi_self.heap->ticks - before;
	if (passed < 0) passed += HYPI_LOOK_EVENTS;
	ck_assert_int_eq(passed, 3);
	free_from(i);
}
END_TEST

/* ---- when it ends ---- */

START_TEST(a_list_that_runs_empty) {
	ask(BYTES);
	size_t i = free_until_bulk();
	for (int k = 0; k < 200; k++) hyp_free(blocks[i++]);
	for (size_t k = 0; k < i; k++) HOLDS((blocks[k] = hyp_malloc(BYTES)) != NULL);
	ck_assert(!in_bulk());
	ck_assert_uint_eq(hypi_self.heap->bulk_events, 0);
	check();
	hyp_free(blocks[0]);
	ck_assert(hypi_heap_holds(hypi_self.heap, blocks[0]));
	blocks[0] = hyp_malloc(BYTES);
	free_from(0);
	ck_assert(in_bulk());
	check();
}
END_TEST

/* Its list would last for longer: an event tells. */
START_TEST(pairs_from_a_list) {
	enum { BESIDE = 64, LONG = 900 };
	static void *beside[LONG];
	for (size_t k = 0; k < LONG; k++) HOLDS((beside[k] = hyp_malloc(BESIDE)) != NULL);
	ask(BYTES);
	for (size_t k = 0; k < LONG; k++) hyp_free(beside[k]);
	size_t i = free_until_bulk();
	ck_assert_uint_gt(hypi_list_length(hypi_self.heap, hypi_class_of(BESIDE)), 2 * HYPI_TICK);
	for (unsigned k = 0; k < HYPI_TICK && in_bulk(); k++) hyp_free(hyp_malloc(BESIDE));
	ck_assert(!in_bulk());
	check();
	free_from(i);
	check();
}
END_TEST

static void *make_one(void *p) {
	*(void **)p = hyp_malloc(100);
	return NULL;
}

START_TEST(a_block_of_another_heap) {
	void *other;
	pthread_t thread;
	ask(BYTES);
	size_t i = free_until_bulk();
	ck_assert_int_eq(pthread_create(&thread, NULL, make_one, &other), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert(in_bulk());
	hyp_free(other);
	ck_assert(!in_bulk());
	ck_assert(hypi_heap_holds(hypi_self.heap, other));
	free_from(i);
	check();
}
END_TEST

/* ---- what it is not for ---- */

START_TEST(a_class_that_is_asked_for) {
	ask(BYTES);
	for (size_t i = 0; i < MANY; i++) {
		hyp_free(blocks[i]);
		if (i % 8 == 0) hyp_free(hyp_malloc(BYTES));
		HOLDS(!in_bulk());
	}
	check();
}
END_TEST

START_TEST(larger_blocks) {
	enum { LARGER = 5000, SOME = 2000 };
	for (size_t i = 0; i < SOME; i++) HOLDS((blocks[i] = hyp_malloc(LARGER)) != NULL);
	for (size_t i = 0; i < SOME; i++) {
		hyp_free(blocks[i]);
		HOLDS(!in_bulk());
	}
	ask(BYTES);
	void *larger = hyp_malloc(LARGER);
	size_t i = free_until_bulk();
	hyp_free(larger);
	ck_assert(in_bulk() && hypi_heap_holds(hypi_self.heap, larger));
	free_from(i);
	check();
}
END_TEST

START_TEST(other_pointers) {
	ask(BYTES);
	void *large = hyp_malloc(3 << 20), *far = hyp_malloc(BYTES);
	size_t i = free_until_bulk();
	hyp_free(NULL);
	hyp_free(large);
	memset(blocks[i], HYPI_LINK_NIBBLE | 0x40, BYTES); /* begins as a link does */
	hypi_span *span = hypi_span_at(blocks[i]);
	hyp_free(blocks[i]);
	ck_assert_ptr_eq(span->free, blocks[i++]);
	hypi_self.heap->bulk_window++; /* as if all lay in another */
	hyp_free(far);
	hypi_self.heap->bulk_window--;
	ck_assert(in_bulk() && hypi_heap_holds(hypi_self.heap, far));
	unsigned char *kept = hyp_realloc(blocks[i], BYTES - 10);
	ck_assert_ptr_eq(kept, blocks[i]);
	free_from(i);
	check();
}
END_TEST

START_TEST(a_pool) {
	hyp_pool *pool;
	ck_assert_int_eq(hyp_pool_create(NULL, &pool), HYP_OK);
	for (size_t i = 0; i < MANY; i++) HOLDS((blocks[i] = hyp_pool_malloc(pool, BYTES)) != NULL);
	hyp_free(hyp_malloc(1));
	for (size_t i = 0; i < MANY; i++) {
		hyp_pool_free(pool, blocks[i]);
		HOLDS(!in_bulk() && hypi_self.pool_heap->window != HYPI_WINDOW_BULK);
	}
	hyp_pool_destroy(pool);
	check();
}
END_TEST

/* The blocks of a pool, while malloc's heap frees in bulk. */
START_TEST(a_pool_beside) {
	hyp_pool *pool;
	ck_assert_int_eq(hyp_pool_create(NULL, &pool), HYP_OK);
	void *p = hyp_pool_malloc(pool, BYTES);
	hypi_heap *theirs = hypi_self.pool_heap;
	ask(BYTES);
	size_t i = free_until_bulk();
	hyp_pool_free(pool, p);
	ck_assert(in_bulk() && hypi_heap_holds(theirs, p));
	free_from(i);
	hyp_pool_destroy(pool);
	check();
}
END_TEST

/* ---- the sampler ---- */

static size_t picked, told;
static void on_alloc(void *p, size_t asked, size_t usable, double scale) {
	(void)p, (void)asked, (void)usable, (void)scale;
	picked++;
}
static void on_free(void *p, size_t usable) {
	(void)p, (void)usable;
	told++;
}

START_TEST(the_sampler) {
	static const hypi_sample_hooks hooks = {.on_alloc = on_alloc, .on_free = on_free};
	hypi_sample_set(4096, &hooks);
	for (int round = 0; round < 3; round++) {
		ask(BYTES);
		free_from(0);
		check();
		ck_assert_uint_gt(picked, (size_t)MANY * (size_t)(round + 1) * BYTES / 4096 / 2);
		ck_assert_uint_eq(told, picked);
	}
	hypi_sample_set(0, &hooks);
}
END_TEST

/* ---- misuse ---- */

typedef void misuse(size_t i);

static void twice_at_once(size_t i) {
	hyp_free(blocks[i]);
	hyp_free(blocks[i]);
}
static void twice_later(size_t i) {
	for (size_t k = i; k < i + 100; k++) hyp_free(blocks[k]);
	hyp_free(blocks[i + 7]);
}
static void twice_from_a_list(size_t i) { hyp_free(blocks[i - 1 - HYPI_TICK]); }
static void inside(size_t i) { hyp_free(blocks[i] + 16); }
static void beyond(size_t i) {
	const hypi_span *span = hypi_span_at(blocks[i]);
	hyp_free((void *)(span->base + hypi_span_capacity(span) * span->block_bytes));
}
static void nothing(size_t i) { hyp_free(blocks[i]); }

/* How a process ends that misuses a block while it frees in bulk. */
static int ends(misuse *does) {
	ask(80); /* of which a span does not hold a whole number */
	size_t i = free_until_bulk();
	pid_t child = fork();
	if (child == 0) {
		if (close(2) != 0) _exit(3);
		does(i);
		_exit(in_bulk() ? 0 : 4);
	}
	int status = 0;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	free_from(i);
	return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

#if HYP_CHECKS
START_TEST(misuse_is_told) {
	ck_assert_int_eq(ends(twice_at_once), SIGABRT);
	ck_assert_int_eq(ends(twice_later), SIGABRT);
	ck_assert_int_eq(ends(twice_from_a_list), SIGABRT);
	ck_assert_int_eq(ends(inside), SIGABRT);
	ck_assert_int_eq(ends(beyond), SIGABRT);
}
END_TEST
#endif

START_TEST(a_fork) { ck_assert_int_eq(ends(nothing), 0); }
END_TEST

START_TEST(errno_stays) {
	ask(BYTES);
	errno = EXDEV;
	free_from(0);
	ck_assert(in_bulk());
	ck_assert_int_eq(errno, EXDEV);
}
END_TEST

/* ---- its thread ends ---- */

static void *leave_in_bulk(void *ret_heap) {
	for (size_t i = 0; i < MANY; i++) HOLDS((blocks[i] = hyp_malloc(BYTES)) != NULL);
	free_from(MANY - free_until_bulk());
	*(hypi_heap **)ret_heap = hypi_self.heap;
	return NULL;
}

START_TEST(the_next_thread_begins_anew) {
	hypi_heap *heap;
	pthread_t thread;
	ck_assert_int_eq(pthread_create(&thread, NULL, leave_in_bulk, &heap), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_eq(heap->bulk_window, UINTPTR_MAX);
	ck_assert_uint_lt(heap->window, HYPI_WINDOW_BULK);
	check();
}
END_TEST

#if HYP_CHECKS
#define OF_CHECKS misuse_is_told,
#else
#define OF_CHECKS
#endif

UNIT_MAIN("bulk", a_heap_that_only_frees, what_is_counted, empty_spans_go_back, time_passes, a_list_that_runs_empty,
          pairs_from_a_list, a_block_of_another_heap, a_class_that_is_asked_for, larger_blocks, other_pointers, a_pool,
          a_pool_beside, the_sampler, OF_CHECKS a_fork, errno_stays, the_next_thread_begins_anew)
