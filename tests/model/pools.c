/*
 * tests/model/pools.c: the buddy system and the large-block pool against naive models, checked after every step.
 *
 *   pools [operations] [seed]
 *
 * The buddy's model is one byte a slice, and what follows from it: the free blocks of a coalesced buddy system are the
 * maximal aligned free ranges, so where the next request goes, or that there is no room, is a plain search. The pool's
 * model is a list of runs. Its memory is never there, its backing refuses now and then, and its pages are bytes: 0 for
 * one that reads as zero, so that a run called zeroed can be believed or not.
 */
#include "core/large_pool.h"
#include "base/atomic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;

static uint64_t next(void) { return hypi_mix64(state += UINT64_C(0x9e3779b97f4a7c15)); }

static void must(bool holds, const char *what, uint64_t step) {
	if (holds) return;
	fprintf(stderr, "pools: step %llu: %s\n", (unsigned long long)step, what);
	exit(EXIT_FAILURE);
}

/* ---- the buddy system ---- */

enum { SLICES = 1024, RUNS = 200 };

typedef struct model_run {
	uint32_t first, count;
} model_run;

static hypi_arena arena;
static bool used[SLICES], dirty[SLICES];
static model_run runs[RUNS];
static uint32_t run_count;

static bool is_free(uint32_t first, uint32_t count) {
	for (uint32_t s = first; s < first + count; s++)
		if (used[s]) return false;
	return true;
}

static uint32_t naive_take(unsigned want) {
	for (uint32_t size = 1u << want; size <= SLICES; size *= 2)
		for (uint32_t first = 0; first < SLICES; first += size)
			if (is_free(first, size) && (size == SLICES || !is_free(first / (2 * size) * (2 * size), 2 * size)))
				return first;
	return HYPI_NO_SLICE;
}

static void set_used(uint32_t first, uint32_t count, bool value) {
	for (uint32_t s = first; s < first + count; s++) {
		must(used[s] != value, "a slice is taken or given twice", s);
		used[s] = value;
	}
}

static void arena_take(uint64_t step) {
	uint32_t count = 1 + (uint32_t)(next() % (next() % 4 == 0 ? SLICES / 4 : 24));
	unsigned align = (unsigned)(next() % 6), want = hypi_log2_ceil(count);
	if (want < align) want = align;
	uint32_t expect = naive_take(want), got = hypi_arena_take(&arena, count, align);
	/* Where it is taken from is the arena's choice among free blocks: dirty ones first. That there is room is not. */
	must((got == HYPI_NO_SLICE) == (expect == HYPI_NO_SLICE), "take finds room where the model finds none, or none",
	     step);
	if (got == HYPI_NO_SLICE) return;
	must(got % (1u << want) == 0 && is_free(got, count), "take gives what is not free or not aligned", step);
	set_used(got, count, true);
	runs[run_count++] = (model_run){got, count};
}

static void arena_take_at(uint64_t step) {
	uint32_t first = (uint32_t)(next() % SLICES), count = 1 + (uint32_t)(next() % 40);
	bool expect = first + count <= SLICES && is_free(first, count);
	must(hypi_arena_take_at(&arena, first, count) == expect, "take_at disagrees with the model", step);
	if (!expect) return;
	set_used(first, count, true);
	runs[run_count++] = (model_run){first, count};
}

static void arena_give(void) {
	uint32_t i = (uint32_t)(next() % run_count), count = runs[i].count, first = runs[i].first;
	bool written = next() % 2;
	if (next() % 3 == 0 && count > 1) count = 1 + (uint32_t)(next() % (count - 1)); /* a part of it, from its start */
	hypi_arena_give(&arena, first, count, written);
	set_used(first, count, false);
	for (uint32_t s = first; s < first + count; s++) dirty[s] = written;
	runs[i].first += count;
	runs[i].count -= count;
	if (runs[i].count == 0) runs[i] = runs[--run_count];
}

static void arena_compare(uint64_t step) {
	const char *wrong = hypi_arena_check(&arena);
	must(wrong == NULL, wrong, step);
	uint32_t free_slices = 0;
	for (uint32_t s = 0; s < SLICES; s++) free_slices += !used[s];
	must(free_slices == arena.free_slices, "the count of free slices is another", step);
	uint32_t at = 0, first, count;
	while (hypi_arena_next_purge(&arena, at, false, &first, &count)) {
		for (uint32_t s = at; s < first + count; s++)
			must((dirty[s] && !used[s]) == (s >= first), "what may be purged is another", step);
		at = first + count;
	}
	for (; at < SLICES; at++) must(!dirty[at] || used[at], "what may be purged is missed", step);
}

static void run_arena(uint64_t operations) {
	hypi_arena_init(&arena, 0, SLICES);
	for (uint64_t step = 0; step < operations; step++) {
		unsigned what = (unsigned)(next() % 8), bias = (unsigned)(step >> 12 & 1); /* fills up, and drains */
		if (run_count > 0 && (run_count == RUNS || what < 3 + 2 * bias)) arena_give();
		else if (what == 7) arena_take_at(step);
		else arena_take(step);
		if (next() % 64 == 0) hypi_arena_settle(&arena);
		arena_compare(step);
	}
	while (run_count > 0) arena_give();
	arena_compare(operations);
	must(hypi_arena_is_whole(&arena) && hypi_arena_largest(&arena) == hypi_log2_floor(SLICES) + 1,
	     "a drained arena is not whole", operations);
}

/* ---- the large-block pool ---- */

enum { ARENA_BYTES = 1 << 20, PAGES = 1 << 16 };

#define SPACE ((uintptr_t)1 << 44)

static hypi_large_pool pool;
static hypi_run held[RUNS];
static bool reserved[PAGES], written[PAGES]; /* by slice, from SPACE on */
static bool refuses;
static size_t most_bytes;

static size_t page_of(uintptr_t address) {
	must(address >= SPACE && (address - SPACE) >> HYPI_SLICE_LOG2 < PAGES, "an address is none of ours", 0);
	return (address - SPACE) >> HYPI_SLICE_LOG2;
}

static bool now_refuses(void) { return refuses && next() % 4 == 0; }

/* First fit. */
static hyp_status reserve(void *context, size_t bytes, size_t alignment, uintptr_t *ret_address) {
	(void)context;
	size_t slices = bytes >> HYPI_SLICE_LOG2, unit = alignment >> HYPI_SLICE_LOG2, run = 0;
	if (now_refuses()) return HYP_ERR_NO_MEMORY;
	for (size_t first = 0; first + slices <= PAGES; first += unit) {
		for (run = 0; run < slices && !reserved[first + run]; run++) continue;
		if (run < slices) continue;
		for (size_t i = first; i < first + slices; i++) reserved[i] = true, written[i] = false;
		*ret_address = SPACE + (first << HYPI_SLICE_LOG2);
		return HYP_OK;
	}
	return HYP_ERR_NO_MEMORY;
}

static hyp_status purge(void *context, uintptr_t address, size_t bytes) {
	(void)context;
	if (now_refuses()) return HYP_ERR_OS;
	for (size_t i = 0; i < bytes >> HYPI_SLICE_LOG2; i++) {
		must(reserved[page_of(address) + i], "what is purged is not reserved", 0);
		written[page_of(address) + i] = false;
	}
	return HYP_OK;
}

static hyp_status release(void *context, uintptr_t address, size_t bytes) {
	(void)context;
	if (now_refuses()) return HYP_ERR_OS;
	for (size_t i = 0; i < bytes >> HYPI_SLICE_LOG2; i++) {
		must(reserved[page_of(address) + i], "what is released is not reserved", 0);
		reserved[page_of(address) + i] = false;
	}
	return HYP_OK;
}

static size_t held_slices(void) {
	size_t slices = 0;
	for (uint32_t i = 0; i < run_count; i++) slices += held[i].count;
	return slices;
}

/* The run is reserved, disjoint from all others, and zero if it says so; from now on it is written to. */
static void pool_own(const hypi_run *run, uint32_t from, bool zeroed, uint64_t step) {
	size_t first = page_of(hypi_run_address(run));
	for (uint32_t i = 0; i < run_count; i++) {
		if (&held[i] == run) continue;
		size_t other = page_of(hypi_run_address(&held[i]));
		must(first + run->count <= other || other + held[i].count <= first, "two runs overlap", step);
	}
	for (size_t s = first + from; s < first + run->count; s++) {
		must(reserved[s], "a run lies where nothing is reserved", step);
		must(!zeroed || !written[s], "a run is called zeroed, and is not", step);
		written[s] = true;
	}
}

static void pool_take(uint64_t step) {
	uint32_t count = 1 + (uint32_t)(next() % (next() % 8 == 0 ? 200 : 20));
	unsigned align = (unsigned)(next() % 5);
	hypi_run run;
	hyp_status status = hypi_large_pool_take(&pool, count, align, &run);
	bool over = most_bytes != 0 && (held_slices() + count) << HYPI_SLICE_LOG2 > most_bytes;
	if (status == HYP_OK) {
		must(!over && run.count == count, "more is given than the limit allows", step);
		must(hypi_run_address(&run) % (HYPI_SLICE_BYTES << align) == 0, "a run is not aligned", step);
		held[run_count] = run;
		pool_own(&held[run_count++], 0, run.zeroed, step);
	} else {
		must(over ? status == HYP_ERR_LIMIT : refuses && status == HYP_ERR_NO_MEMORY,
		     "a request is refused without cause", step);
	}
}

static void pool_give(uint32_t i) {
	hypi_large_pool_give(&pool, &held[i], true);
	held[i] = held[--run_count];
}

static void pool_resize(uint64_t step) {
	hypi_run *run = &held[next() % run_count];
	uint32_t before = run->count, count = 1 + (uint32_t)(next() % 40);
	bool done = hypi_large_pool_resize(&pool, run, count);
	must(run->count == (done ? count : before), "a run is of another size than it says", step);
	must(done || count > before, "a run does not shrink", step);
	if (done && count > before) pool_own(run, before, false, step);
}

static void run_pool(uint64_t operations) {
	const hyp_backing backing = {.struct_bytes = sizeof backing,
	                             .name = "model",
	                             .flags = HYP_BACKING_ZEROED,
	                             .numa_node = -1,
	                             .reserve = reserve,
	                             .purge = purge,
	                             .release = release};
	hypi_large_pool_init(&pool, &backing, ARENA_BYTES, 1000);
	uint64_t now = 1000;
	for (uint64_t step = 0; step < operations; step++) {
		unsigned what = (unsigned)(next() % 64), bias = (unsigned)(step >> 11 & 1);
		if (step % 4096 == 0) {
			refuses = next() % 2;
			pool.limit_bytes = most_bytes = next() % 2 ? 0 : (held_slices() + next() % 2000) << HYPI_SLICE_LOG2;
		}
		if (what == 0) hypi_large_pool_purge(&pool);
		else if (what < 4) hypi_large_pool_tick(&pool, now += next() % 400);
		else if (what < 10 && run_count > 0) pool_resize(step);
		else if (run_count > 0 && (run_count == RUNS || what < 30 + 20 * bias))
			pool_give((uint32_t)(next() % run_count));
		else pool_take(step);
		const char *wrong = hypi_large_pool_check(&pool);
		must(wrong == NULL, wrong, step);
		must(pool.used_slices == held_slices(), "the count of used slices is another", step);
	}
	refuses = false;
	while (run_count > 0) pool_give(0);
	hypi_large_pool_purge(&pool);
	must(hypi_large_pool_dirty_slices(&pool) == 0 && pool.whole_arenas == pool.arenas, "a drained pool is not whole",
	     operations);
	hypi_large_pool_fini(&pool);
	for (size_t i = 0; i < PAGES; i++) must(!reserved[i], "a range was never given back", operations);
}

int main(int count, char **words) {
	uint64_t operations = count > 1 ? strtoull(words[1], NULL, 0) : 20000;
	state = count > 2 ? strtoull(words[2], NULL, 0) : 1;
	hypi_os_init();
	run_arena(operations);
	run_pool(operations);
	printf("%llu operations on each\n", (unsigned long long)operations);
	return operations > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
