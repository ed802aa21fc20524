/*
 * The metrics of a pool against shadows: each thread counts what it does, by size class, and blocks change hands; then all
 * figures must be equal, those of the structures and those of the JSON text.
 */
#include "pool/pool.h"
#include "unit.h"

#include "tests_pool.h"

#include <hypool/handle.h>
#include <hypool/hypool.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 4, PLACES = 256, STEPS = 30000 };

typedef struct tally {
	uint64_t allocations[HYPI_CLASSES + 1], frees[HYPI_CLASSES + 1]; /* the last: large */
	uint64_t allocated_bytes, freed_bytes, failures;
} tally;

typedef struct scene {
	hyp_pool *pool;
	_Atomic(void *) places[PLACES];
	_Atomic uint64_t handles[PLACES];
	tally tallies[THREADS];
	_Atomic unsigned turn;
} scene;

static unsigned class_by_usable(size_t usable) {
	if (usable >= HYPI_SMALL_LIMIT) return HYPI_CLASSES;
	unsigned c = hypi_class_of(usable);
	return c > 0 && hypi_class_block_bytes(c - 1) == usable ? c - 1 : c; /* staggered: more than its largest request */
}

static void count(tally *t, size_t usable, bool alloc) {
	unsigned c = class_by_usable(usable);
	if (alloc) t->allocations[c]++, t->allocated_bytes += usable;
	else t->frees[c]++, t->freed_bytes += usable;
}

static size_t size(uint64_t *seed) {
	uint32_t r = next_random(seed);
	if (r % 64 == 0) return (1 << 20) + next_random(seed) % 300000;
	return r % 4 == 0 ? next_random(seed) % 40000 : next_random(seed) % 600;
}

static void *made(scene *s, tally *t, uint64_t *seed) {
	size_t bytes = size(seed);
	void *p;
	switch (next_random(seed) % 3) {
	case 0: p = hyp_pool_calloc(s->pool, 1, bytes); break;
	case 1: p = hyp_pool_aligned_alloc(s->pool, (size_t)16 << next_random(seed) % 4, bytes); break;
	default: p = hyp_pool_malloc(s->pool, bytes);
	}
	if (p == NULL) t->failures++;
	else count(t, hyp_pool_usable_size(s->pool, p), true);
	return p;
}

static void gone(scene *s, tally *t, void *p, bool by_pool) {
	count(t, hyp_pool_usable_size(s->pool, p), false);
	if (by_pool) hyp_pool_free(s->pool, p);
	else hyp_free(p);
}

static void *resized(scene *s, tally *t, void *p, size_t bytes) {
	size_t before = hyp_pool_usable_size(s->pool, p);
	if (bytes == 0) bytes = 1;
	void *q = hyp_pool_realloc(s->pool, p, bytes);
	if (q == NULL) {
		t->failures++;
		return p;
	}
	size_t after = hyp_pool_usable_size(s->pool, q);
	if (q != p || after != before) count(t, after, true), count(t, before, false);
	return q;
}

static void by_handle(scene *s, tally *t, uint64_t *seed) {
	_Atomic uint64_t *place = &s->handles[next_random(seed) % PLACES];
	hyp_handle h = atomic_exchange(place, 0);
	hyp_handle_info info = {.struct_bytes = sizeof info};
	if (h == 0) {
		if (hyp_handle_alloc(s->pool, size(seed), 0, 0, &h) != HYP_OK) {
			t->failures++;
			return;
		}
		HOLDS(hyp_handle_get_info(s->pool, h, &info) == HYP_OK);
		count(t, info.usable_bytes, true);
		h = atomic_exchange(place, h); /* another may have put one there meanwhile */
		if (h == 0) return;
	}
	HOLDS(hyp_handle_get_info(s->pool, h, &info) == HYP_OK);
	count(t, info.usable_bytes, false);
	HOLDS(hyp_handle_free(s->pool, h) == HYP_OK);
}

static void *actor(void *context) {
	scene *s = context;
	unsigned number = atomic_fetch_add(&s->turn, 1);
	tally *t = &s->tallies[number];
	uint64_t seed = 5678 + number * 999983;
	for (int i = 0; i < STEPS; i++) {
		if (i % 5 == 0) {
			by_handle(s, t, &seed);
			continue;
		}
		void *p = atomic_exchange(&s->places[next_random(&seed) % PLACES], NULL); /* whoever made it */
		if (p == NULL) p = made(s, t, &seed);
		else if (next_random(&seed) % 3 == 0) p = resized(s, t, p, size(&seed));
		else gone(s, t, p, i & 1), p = NULL;
		if (p == NULL) continue;
		p = atomic_exchange(&s->places[next_random(&seed) % PLACES], p);
		if (p != NULL) gone(s, t, p, i & 2);
	}
	return NULL;
}

static uint64_t in_json(const char *text, const char *name) {
	char key[64];
	snprintf(key, sizeof key, "\"%s\":", name);
	const char *at = strstr(text, key);
	ck_assert_msg(at != NULL, "%s is not in the JSON", name);
	return strtoull(at + strlen(key), NULL, 10);
}

static void compare(scene *s) {
	tally sum = {.failures = 0};
	hyp_class_stats classes[HYPI_CLASSES];
	hyp_stats stats = {.struct_bytes = sizeof stats};
	static char text[65536];
	for (int i = 0; i < THREADS; i++) {
		for (unsigned c = 0; c <= HYPI_CLASSES; c++) {
			sum.allocations[c] += s->tallies[i].allocations[c];
			sum.frees[c] += s->tallies[i].frees[c];
		}
		sum.allocated_bytes += s->tallies[i].allocated_bytes;
		sum.freed_bytes += s->tallies[i].freed_bytes;
		sum.failures += s->tallies[i].failures;
	}
	ck_assert_uint_eq(hyp_pool_classes(s->pool, classes, HYPI_CLASSES), HYPI_CLASSES);
	uint64_t allocations = sum.allocations[HYPI_CLASSES], frees = sum.frees[HYPI_CLASSES];
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		ck_assert_msg(classes[c].allocations == sum.allocations[c] && classes[c].frees == sum.frees[c],
		              "class of %zu: %llu and %llu by the pool, %llu and %llu by the shadows", classes[c].block_bytes,
		              (unsigned long long)classes[c].allocations, (unsigned long long)classes[c].frees,
		              (unsigned long long)sum.allocations[c], (unsigned long long)sum.frees[c]);
		allocations += sum.allocations[c];
		frees += sum.frees[c];
	}
	ck_assert_int_eq(hyp_pool_stats(s->pool, &stats), HYP_OK);
	ck_assert_uint_eq(stats.allocations, allocations);
	ck_assert_uint_eq(stats.frees, frees);
	ck_assert_uint_eq(stats.active, allocations - frees);
	ck_assert_uint_eq(stats.allocated_bytes, sum.allocated_bytes);
	ck_assert_uint_eq(stats.freed_bytes, sum.freed_bytes);
	ck_assert_uint_eq(stats.current_bytes, sum.allocated_bytes - sum.freed_bytes);
	ck_assert_uint_eq(stats.failures, sum.failures);
	int fds[2];
	ck_assert_int_eq(pipe(fds), 0);
	hyp_pool_print_json(s->pool, fds[1]);
	close(fds[1]);
	size_t used = 0;
	for (ssize_t n; (n = read(fds[0], text + used, sizeof text - 1 - used)) > 0;) used += (size_t)n;
	close(fds[0]);
	text[used] = '\0';
#define HYP_STAT_X(name, kind, doc) (void)in_json(text, #name);
#include <hypool/stats.def>
#undef HYP_STAT_X
	ck_assert_uint_eq(in_json(text, "allocations"), allocations);
	ck_assert_uint_eq(in_json(text, "freed_bytes"), sum.freed_bytes);
	ck_assert_uint_eq(in_json(text, "failures"), sum.failures);
}

static void play(size_t max_large_bytes) {
	static scene s;
	memset(&s, 0, sizeof s);
	hyp_pool_config config = small_config();
	config.max_small_bytes = (size_t)64 << 20;
	config.max_large_bytes = max_large_bytes;
	s.pool = make_pool(&config);
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, actor, &s);
	for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
	compare(&s);
	tally *t = &s.tallies[0];
	for (int i = 0; i < PLACES; i++)
		if (s.places[i] != NULL) gone(&s, t, s.places[i], i & 1);
	compare(&s);
	ck_assert_ptr_null(hyp_pool_check(s.pool));
	hyp_pool_destroy(s.pool);
}

START_TEST(shadows) { play(0); }
END_TEST

/* With a limit that is hit all the time: failures count, and count once. */
START_TEST(shadows_at_the_limit) { play((size_t)6 << 20); }
END_TEST

UNIT_MAIN("metrics", shadows, shadows_at_the_limit)
