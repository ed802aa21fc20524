/* Tests of heap/thread.c and the slow end of free: which threads have a heap. */
#include "core/meta.h"
#include "heap/heap.h"
#include "unit.h"

#include <hypool/hypool.h>

#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 4000, FEW = 8 };

static void *blocks[BLOCKS];

static uint64_t homeless(void) {
	uint64_t sum = 0;
	for (unsigned c = 0; c < HYPI_CLASSES; c++) sum += hypi_load_relaxed(&hypi_default_engine.homeless_frees[c]);
	return sum;
}

static void *free_them(void *context) {
	size_t count = *(size_t *)context;
	for (size_t i = 0; i < count; i++) hyp_free(blocks[i]);
	return hypi_self.heap;
}

/* Blocks of the main thread, freed by another that never asks for one. Returns that thread's heap. */
static void *freed_elsewhere(size_t count, size_t bytes) {
	for (size_t i = 0; i < count; i++) {
		blocks[i] = hyp_malloc(bytes);
		ck_assert_ptr_nonnull(blocks[i]);
		memset(blocks[i], 1, bytes);
	}
	pthread_t thread;
	void *heap;
	ck_assert_int_eq(pthread_create(&thread, NULL, free_them, &count), 0);
	ck_assert_int_eq(pthread_join(thread, &heap), 0);
	const char *wrong = hypi_engine_check(&hypi_default_engine);
	ck_assert_msg(wrong == NULL, "%s", wrong);
	return heap;
}

START_TEST(one_that_only_frees_gets_a_heap) {
	ck_assert_ptr_nonnull(freed_elsewhere(BLOCKS, 64));
	ck_assert_uint_eq(hypi_default_engine.heap_count, 2);
	ck_assert_uint_lt(homeless(), 64);
}
END_TEST

START_TEST(one_that_frees_little_gets_none) {
	ck_assert_ptr_null(freed_elsewhere(FEW, 64));
	ck_assert_uint_eq(hypi_default_engine.heap_count, 1);
	ck_assert_uint_eq(homeless(), FEW);
}
END_TEST

/* What it frees does not stay with it: the other thread's next blocks cost no memory. */
START_TEST(one_that_only_frees_keeps_little) {
	size_t bytes = 1024;
	freed_elsewhere(BLOCKS, bytes);
	hypi_heap_trim(hypi_heap_mine());
	ck_assert_uint_lt(hypi_default_engine.large.used_slices, 8);
}
END_TEST

static size_t list_bytes; /* of the class, while the thread lives */

static void *free_and_look(void *context) {
	size_t bytes = *(size_t *)context;
	unsigned c = hypi_class_of(bytes);
	for (size_t i = 0; i < BLOCKS; i++) {
		hyp_free(blocks[i]);
		if (hypi_self.heap == NULL) continue;
		size_t held = hypi_list_length(hypi_self.heap, c) * bytes;
		if (held > list_bytes) list_bytes = held;
	}
	return NULL;
}

/* No more than a batch and what the next is gathered from, where one that asks for such keeps 64 KiB. */
START_TEST(its_lists_are_short) {
	for (size_t bytes = 64; bytes <= HYPI_ABROAD_BYTES; bytes *= 4) {
		for (size_t i = 0; i < BLOCKS; i++) ck_assert_ptr_nonnull(blocks[i] = hyp_malloc(bytes));
		pthread_t thread;
		list_bytes = 0;
		ck_assert_int_eq(pthread_create(&thread, NULL, free_and_look, &bytes), 0);
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
		ck_assert_uint_gt(list_bytes, 0);
		ck_assert_uint_le(list_bytes, HYPI_OUTBOX_BYTES + 2 * bytes);
	}
}
END_TEST

static void *free_and_ask(void *context) {
	free_and_look(context);
	unsigned c = hypi_class_of(*(size_t *)context);
	for (size_t i = 0; i < BLOCKS; i++) ck_assert_ptr_nonnull(blocks[i] = hyp_malloc(*(size_t *)context));
	for (size_t i = 0; i < BLOCKS; i++) {
		hyp_free(blocks[i]);
		size_t held = hypi_list_length(hypi_self.heap, c) * *(size_t *)context;
		if (held > list_bytes) list_bytes = held;
	}
	return NULL;
}

START_TEST(one_that_asks_at_last_has_longer_ones) {
	size_t bytes = 512;
	for (size_t i = 0; i < BLOCKS; i++) ck_assert_ptr_nonnull(blocks[i] = hyp_malloc(bytes));
	pthread_t thread;
	ck_assert_int_eq(pthread_create(&thread, NULL, free_and_ask, &bytes), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_gt(list_bytes, 4 * HYPI_OUTBOX_BYTES);
}
END_TEST

/* Who holds a block back took the ways of ordinary frees; whatever goes the long one is not held. */
static void *free_and_hold(void *context) {
	size_t *ret_held = context;
	for (size_t i = 0; i < BLOCKS; i++) {
		hyp_free(blocks[i]);
		*ret_held += hypi_self.heap != NULL && hypi_heap_holds(hypi_self.heap, blocks[i]);
	}
	return NULL;
}

START_TEST(one_that_only_frees_does_so_as_others_do) {
	size_t held = 0;
	for (size_t i = 0; i < BLOCKS; i++) blocks[i] = memset(hyp_malloc(64), (int)(i & 0xff), 64); /* links among them */
	pthread_t thread;
	ck_assert_int_eq(pthread_create(&thread, NULL, free_and_hold, &held), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_gt(held, BLOCKS - 64 - BLOCKS / 8); /* the block held back goes with some events */
	const char *wrong = hypi_engine_check(&hypi_default_engine);
	ck_assert_msg(wrong == NULL, "%s", wrong);
}
END_TEST

START_TEST(a_block_that_begins_as_a_link_does) {
	unsigned char *p = hyp_malloc(64);
	hyp_free(hyp_malloc(64));
	memset(p, HYPI_LINK_NIBBLE | 0x40, 64);
	HOLDS(!hypi_block_unlinked(p));
	hyp_free(p);
	HOLDS(hypi_heap_holds(hypi_self.heap, p));
}
END_TEST

/* A list that is found short is looked at less and less often, but never holds more than 16 blocks over its limit. */
START_TEST(a_short_list_is_seldom_looked_at) {
	enum { BYTES = 200000, CROWD = 64 };
	unsigned c = hypi_class_of(BYTES);
	for (int i = 0; i < 200; i++) hyp_free(hyp_malloc(BYTES));
	const hypi_bin *bin = &hypi_heap_mine()->bins[c];
	ck_assert_uint_eq(bin->slack, 16);
	for (int i = 0; i < CROWD; i++) ck_assert_ptr_nonnull(blocks[i] = hyp_malloc(BYTES));
	uint32_t most = 0;
	for (int i = 0; i < CROWD; i++) {
		hyp_free(blocks[i]);
		uint32_t length = hypi_list_length(hypi_self.heap, c);
		if (length > most) most = length;
	}
	ck_assert_uint_le(most, bin->limit + 16);
	ck_assert_uint_lt(bin->slack, 16); /* it was found long */
}
END_TEST

static void ends_well(pid_t child) {
	int status = 0;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
}

/* Half of hypi_remote_free: the block is on its span, and the span not yet on its owner's stack. */
static void *push_half(void *context) {
	pthread_barrier_t *turns = context;
	hyp_free(hyp_malloc(64));
	hypi_span *span = hypi_span_at(blocks[0]);
	hypi_count_add(&hypi_self.heap->bins[span->class_index].sent, 1);
	hypi_link_set(blocks[0], NULL);
	hypi_store_relaxed(&hypi_self.heap->pushing, span);
	HOLDS(hypi_span_push_remote(span, blocks[0], blocks[0], 1));
	pthread_barrier_wait(turns);
	pthread_barrier_wait(turns);
	return NULL;
}

START_TEST(a_push_that_a_fork_cut) {
	pthread_t thread;
	pthread_barrier_t turns;
	HOLDS(pthread_barrier_init(&turns, NULL, 2) == 0);
	blocks[0] = hyp_malloc(3000);
	HOLDS(pthread_create(&thread, NULL, push_half, &turns) == 0);
	pthread_barrier_wait(&turns);
	pid_t child = fork();
	if (child == 0) {
		if (hypi_engine_check(&hypi_default_engine) != NULL) _exit(2);
		if (!hypi_heap_drain(hypi_heap_mine())) _exit(3);
		if (hypi_span_at(blocks[0]) != NULL &&
		    hypi_chain_count(hypi_load_relaxed(&hypi_span_at(blocks[0])->remote)) != 0)
			_exit(4);
		_exit(hypi_engine_check(&hypi_default_engine) == NULL ? 0 : 5);
	}
	ends_well(child);
	pthread_barrier_wait(&turns);
	pthread_join(thread, NULL);
}
END_TEST

/* The push was over, and the span's record became another thing before the thread said so. */
START_TEST(a_push_that_was_over) {
	hypi_heap *mine = hypi_heap_mine();
	hypi_span *other = hypi_meta_alloc(sizeof *other);
	void *p = hyp_malloc(3000);
	other->base = hypi_span_at(p)->base;
	hypi_store_relaxed(&other->kind, HYPI_SPAN_SMALL);
	hypi_store_relaxed(&other->remote, HYPI_PENDING);
	hypi_store_relaxed(&other->owner, (hypi_heap *)16);
	hypi_store_relaxed(&mine->pushing, other);
	hypi_remote_forked(mine);
	ck_assert_ptr_null(hypi_load_relaxed(&mine->pushing));
	ck_assert_ptr_null(hypi_engine_check(&hypi_default_engine));
	hyp_free(p);
}
END_TEST

/* A thread that a fork leaves inside the outbox leaves its heap to nobody in the child. */
static void *stay_inside(void *context) {
	pthread_barrier_t *turns = context;
	hyp_free(hyp_malloc(64));
	hypi_self.heap->busy = true;
	pthread_barrier_wait(turns);
	pthread_barrier_wait(turns);
	hypi_self.heap->busy = false;
	return NULL;
}

START_TEST(a_heap_that_a_fork_left_inside) {
	pthread_t thread;
	pthread_barrier_t turns;
	HOLDS(pthread_barrier_init(&turns, NULL, 2) == 0);
	HOLDS(pthread_create(&thread, NULL, stay_inside, &turns) == 0);
	pthread_barrier_wait(&turns);
	const hypi_heap *theirs = hypi_default_engine.heaps;
	pid_t child = fork();
	if (child == 0) {
		if (hypi_load_relaxed(&theirs->state) != HYPI_HEAP_LOST) _exit(2);
		if (hypi_engine_check(&hypi_default_engine) != NULL) _exit(3);
		_exit(hypi_heap_acquire(&hypi_default_engine) != theirs ? 0 : 4);
	}
	ends_well(child);
	pthread_barrier_wait(&turns);
	pthread_join(thread, NULL);
}
END_TEST

/* ---- what a thread leaves to the next ---- */

enum { VISITS = 60 };

static void *visit(void *context) {
	size_t most = *(size_t *)context;
	void *mine[VISITS];
	for (size_t i = 0; i < VISITS; i++) HOLDS((mine[i] = hyp_malloc(1 + i * most / VISITS)) != NULL);
	for (size_t i = 0; i < VISITS; i++) hyp_free(mine[i]);
	return hypi_self.heap;
}

static hypi_heap *visited(size_t most) {
	pthread_t thread;
	void *heap;
	ck_assert_int_eq(pthread_create(&thread, NULL, visit, &most), 0);
	ck_assert_int_eq(pthread_join(thread, &heap), 0);
	ck_assert_ptr_null(hypi_engine_check(&hypi_default_engine));
	return heap;
}

static uint32_t used(void) { return hypi_default_engine.large.used_slices; }

START_TEST(the_next_thread_finds_what_the_last_one_had) {
	hypi_heap *heap = visited(20000);
	uint32_t slices = heap->slices, before = used();
	ck_assert_uint_gt(slices, 0);
	ck_assert_uint_eq(hypi_load_relaxed(&hypi_default_engine.kept), slices);
	for (int i = 0; i < 3; i++) {
		ck_assert_ptr_eq(visited(20000), heap);
		ck_assert_uint_eq(used(), before);
		ck_assert_uint_eq(hypi_load_relaxed(&hypi_default_engine.kept), slices);
	}
	hypi_heap_trim_kept(&hypi_default_engine, heap->kept_ms - 1); /* not so long */
	ck_assert_uint_eq(used(), before);
	hypi_heap_trim_kept(&hypi_default_engine, heap->kept_ms);
	ck_assert_uint_eq(used(), before - slices);
	ck_assert_uint_eq(hypi_load_relaxed(&hypi_default_engine.kept), 0);
	ck_assert_ptr_null(hypi_engine_check(&hypi_default_engine));
	ck_assert_ptr_eq(visited(20000), heap); /* it is an orphan still */
	hyp_trim();
	ck_assert_uint_eq(hypi_load_relaxed(&hypi_default_engine.kept), 0);
	ck_assert_uint_eq(used(), hypi_heap_mine()->slices);
}
END_TEST

START_TEST(a_large_heap_is_not_kept) {
	hypi_heap *heap = visited(1000000);
	ck_assert_uint_eq(hypi_load_relaxed(&hypi_default_engine.kept), 0);
	ck_assert_uint_eq(heap->slices, 0);
}
END_TEST

/* A block in another window of the page map than the heap's last is freed as all are: it is held back. */
START_TEST(a_block_that_lies_far) {
	void *p = hyp_malloc(100), *q = hyp_malloc(1000);
	hypi_heap *heap = hypi_heap_mine();
	uintptr_t window = heap->window;
	heap->window = window + 1;
	hyp_free(p);
	ck_assert(hypi_heap_holds(heap, p));
	hyp_free(q);
	ck_assert(hypi_heap_holds(heap, q));
	heap->window = window;
	ck_assert_ptr_eq(hyp_malloc(100), p);
	hyp_free(p);
	ck_assert_ptr_null(hypi_engine_check(&hypi_default_engine));
}
END_TEST

/* However many end at once. */
enum { CROWD = 24 };

static void *visit_at_once(void *context) {
	size_t most = 60000;
	visit(&most);
	pthread_barrier_wait(context);
	return hypi_self.heap;
}

START_TEST(few_are_kept) {
	pthread_t threads[CROWD];
	pthread_barrier_t turns;
	uint64_t slices = 0;
	HOLDS(pthread_barrier_init(&turns, NULL, CROWD + 1) == 0);
	for (int i = 0; i < CROWD; i++) HOLDS(pthread_create(&threads[i], NULL, visit_at_once, &turns) == 0);
	pthread_barrier_wait(&turns);
	for (int i = 0; i < CROWD; i++) pthread_join(threads[i], NULL);
	for (hypi_heap *heap = hypi_default_engine.heaps; heap != NULL; heap = heap->next) slices += heap->slices;
	ck_assert_uint_gt(slices, 0);
	ck_assert_uint_le(slices, 512);
	ck_assert_uint_ge(hypi_load_relaxed(&hypi_default_engine.kept), slices);
	ck_assert_ptr_null(hypi_engine_check(&hypi_default_engine));
	hyp_trim();
	ck_assert_uint_eq(used(), 0);
}
END_TEST

/* Nobody asks: a heap that looks after itself trims those that were kept for longer than free memory is. */
START_TEST(what_is_kept_is_trimmed_in_time) {
	hyp_free(hyp_malloc(100));
	hypi_heap *heap = visited(20000), *mine = hypi_heap_mine();
	ck_assert_uint_gt(heap->slices, 0);
	hypi_heap_look(mine);
	ck_assert_uint_gt(heap->slices, 0);
	heap->kept_ms -= hypi_default_engine.large.decay_ms + 100;
	mine->look_ms = 1; /* a look is due */
	hypi_heap_look(mine);
	ck_assert_uint_eq(heap->slices, 0);
	ck_assert_uint_eq(hypi_load_relaxed(&hypi_default_engine.kept), 0);
}
END_TEST

UNIT_MAIN("thread", one_that_only_frees_gets_a_heap, one_that_frees_little_gets_none, one_that_only_frees_keeps_little,
          its_lists_are_short, one_that_asks_at_last_has_longer_ones, one_that_only_frees_does_so_as_others_do,
          a_block_that_begins_as_a_link_does, a_short_list_is_seldom_looked_at, a_push_that_a_fork_cut,
          a_push_that_was_over, a_heap_that_a_fork_left_inside, the_next_thread_finds_what_the_last_one_had,
          a_large_heap_is_not_kept, few_are_kept, a_block_that_lies_far, what_is_kept_is_trimmed_in_time)
