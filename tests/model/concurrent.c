/*
 * tests/model/concurrent.c: threads that really run at once, hand each other blocks, end and are followed by others.
 *
 *   concurrent [threads] [rounds] [operations a thread and round] [seed]
 *
 * Every block carries its size and a seed in its first bytes and a pattern behind them, verified by whoever frees it,
 * so a block that two threads own is found out. A third of all blocks goes through a mailbox to a thread that does not
 * own them; one that no mailbox takes is freed at home. Between rounds all threads stand still: the engine's checker
 * runs, and what the engine holds must be bounded by what is live and must not grow (no blow-up by cross-thread
 * frees, Berger et al. 2000). In each round some threads end, with blocks of theirs still out. At the end all comes back.
 */
#include "core/size_class.h"
#include "heap/heap.h"

#include <hypool/hypool.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_THREADS = 16, SLOTS = 128, MAILBOXES = 256, HEAP_BYTES = 20 << 20 };

typedef struct header {
	uint64_t size, seed;
} header;

typedef struct worker {
	pthread_t thread;
	uint64_t state;
	header *held[SLOTS];
	bool running, leaves;
} worker;

static worker workers[MOST_THREADS];
static _Atomic(header *) mailboxes[MAILBOXES];
static _Atomic uint64_t live_bytes, operations, handed_over;
static unsigned operations_a_round;
static pthread_barrier_t begin, end;
static bool over;

static uint64_t next(uint64_t *state) { return hypi_mix64(*state += UINT64_C(0x9e3779b97f4a7c15)); }

static void must(bool holds, const char *what) {
	if (holds) return;
	fprintf(stderr, "concurrent: %s\n", what);
	abort();
}

static unsigned char pattern(const header *h, size_t at) { return (unsigned char)(h->seed + at); }

static size_t step(size_t at) { return at < 512 ? at + 1 : at + 509; }

static void fill(header *h, size_t size, uint64_t seed) {
	h->size = size;
	h->seed = seed;
	for (size_t at = sizeof *h; at < size; at = step(at)) ((unsigned char *)h)[at] = pattern(h, at);
}

static void verify(const header *h, size_t size) {
	for (size_t at = sizeof *h; at < size; at = step(at))
		must(((const unsigned char *)h)[at] == pattern(h, at), "a block was written to by another thread");
}

static size_t random_size(uint64_t *state) {
	uint64_t r = next(state);
	if (r % 2048 == 0) return HYPI_SMALL_LIMIT + (r >> 32) % (3 << 20);
	unsigned log2 = 4 + (unsigned)(r >> 8) % (r % 64 == 0 ? 15 : 8);
	return sizeof(header) + ((r >> 32) & ((UINT64_C(1) << log2) - 1));
}

static header *make(uint64_t *state) {
	size_t size = random_size(state);
	uint64_t r = next(state);
	header *h;
	if (r % 8 == 0) {
		h = hyp_calloc(1, size);
		for (size_t at = 0; h != NULL && at < size; at = step(at))
			must(((unsigned char *)h)[at] == 0, "calloc's memory is not zero");
	} else if (r % 8 == 1) {
		h = hyp_aligned_alloc((size_t)1 << (r >> 8) % 13, size);
	} else {
		h = hyp_malloc(size);
	}
	must(h != NULL, "a possible request failed");
	atomic_fetch_add_explicit(&live_bytes, hyp_usable_size(h), memory_order_relaxed);
	fill(h, size, r);
	return h;
}

static void drop(header *h) {
	if (h == NULL) return;
	verify(h, h->size);
	atomic_fetch_sub_explicit(&live_bytes, hyp_usable_size(h), memory_order_relaxed);
	hyp_free(h);
}

static header *change(header *h, uint64_t *state) {
	if (h == NULL) return make(state);
	size_t before = hyp_usable_size(h), old = h->size, size = random_size(state);
	verify(h, old);
	h = hyp_realloc(h, size);
	must(h != NULL, "a possible realloc failed");
	verify(h, old < size ? old : size);
	atomic_fetch_add_explicit(&live_bytes, hyp_usable_size(h) - before, memory_order_relaxed);
	fill(h, size, next(state));
	return h;
}

static void work_a_round(worker *w) {
	for (unsigned i = 0; i < operations_a_round; i++) {
		uint64_t r = next(&w->state);
		header **slot = &w->held[r % SLOTS];
		switch ((r >> 16) % 8) {
		case 0: *slot = change(*slot, &w->state); break;
		case 1:
		case 2:
		case 3: { /* what was in the mailbox is another's: freed here */
			_Atomic(header *) *box = &mailboxes[(r >> 32) % MAILBOXES];
			drop(atomic_exchange_explicit(box, *slot, memory_order_acq_rel));
			atomic_fetch_add_explicit(&handed_over, *slot != NULL, memory_order_relaxed);
			*slot = NULL;
			break;
		}
		default:
			if (*slot != NULL) {
				drop(*slot);
				*slot = NULL;
			} else {
				*slot = make(&w->state);
			}
		}
	}
	atomic_fetch_add_explicit(&operations, operations_a_round, memory_order_relaxed);
}

static void *work(void *context) {
	worker *w = context;
	for (;;) {
		pthread_barrier_wait(&begin);
		if (over) return NULL;
		work_a_round(w);
		bool leaves = w->leaves;
		pthread_barrier_wait(&end);
		if (leaves) return NULL;
	}
}

/* All threads stand still, those that leave are gone. */
static size_t examine(void) {
	const char *wrong = hypi_engine_check(&hypi_default_engine);
	must(wrong == NULL, wrong);
	const hypi_large_pool *pool = &hypi_default_engine.large;
	/* A heap may keep a span of each class, whose pages it need not have touched, and its lists up to their limits. */
	size_t held = (pool->used_slices << HYPI_SLICE_LOG2) + pool->huge_bytes;
	size_t most = 2 * atomic_load(&live_bytes) + hypi_default_engine.heap_count * (size_t)HEAP_BYTES;
	if (held > most) fprintf(stderr, "%zu bytes are held, of at most %zu\n", held, most);
	must(held <= most, "the engine holds much more than is live");
	return held;
}

int main(int count, char **words) {
	unsigned threads = count > 1 ? (unsigned)atoi(words[1]) : 4, rounds = count > 2 ? (unsigned)atoi(words[2]) : 50;
	operations_a_round = count > 3 ? (unsigned)atoi(words[3]) : 4000;
	uint64_t seed = count > 4 ? strtoull(words[4], NULL, 0) : 1;
	must(threads >= 1 && threads <= MOST_THREADS && rounds > 0, "bad arguments; see the head of concurrent.c");
	pthread_barrier_init(&begin, NULL, threads + 1);
	pthread_barrier_init(&end, NULL, threads + 1);
	for (unsigned i = 0; i < threads; i++) workers[i].state = hypi_mix64(seed + i);
	size_t most_held[2] = {0, 0}; /* in the first half of the rounds, and in the second */
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < threads; i++) {
			worker *w = &workers[i];
			w->leaves = next(&seed) % 4 == 0;
			if (!w->running) must(pthread_create(&w->thread, NULL, work, w) == 0, "a thread could not be started");
			w->running = true;
		}
		pthread_barrier_wait(&begin);
		pthread_barrier_wait(&end);
		for (unsigned i = 0; i < threads; i++) {
			if (!workers[i].leaves) continue;
			pthread_join(workers[i].thread, NULL);
			workers[i].running = false;
		}
		size_t held = examine(), *most = &most_held[round >= rounds / 2];
		if (held > *most) *most = held;
	}
	if (rounds >= 20 && most_held[1] > 2 * most_held[0] + HEAP_BYTES)
		fprintf(stderr, "at first at most %zu bytes were held, later %zu\n", most_held[0], most_held[1]);
	must(rounds < 20 || most_held[1] <= 2 * most_held[0] + HEAP_BYTES,
	     "what is held grows while what is live does not");
	for (unsigned i = 0; i < threads; i++) /* the barrier counts on everyone */
		if (!workers[i].running) must(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0, "no thread");
	over = true;
	pthread_barrier_wait(&begin);
	for (unsigned i = 0; i < threads; i++) pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < threads; i++)
		for (unsigned s = 0; s < SLOTS; s++) drop(workers[i].held[s]);
	for (unsigned i = 0; i < MAILBOXES; i++) drop(atomic_load(&mailboxes[i]));
	must(atomic_load(&live_bytes) == 0, "blocks were lost");
	hyp_trim();
	examine();
	must(hypi_default_engine.large.used_slices == 0, "slices are in use after all was freed and trimmed");
	must(hypi_large_live_bytes(&hypi_default_engine) == 0, "large blocks are left over");
	must(atomic_load(&handed_over) > 0 || threads * rounds < 4, "no block changed hands");
	printf("%llu operations, %llu blocks handed over, %u heaps\n", (unsigned long long)atomic_load(&operations),
	       (unsigned long long)atomic_load(&handed_over), hypi_default_engine.heap_count);
	return EXIT_SUCCESS;
}
