/*
 * Random realloc, calloc, aligned blocks and frees by four threads on shared slots, contents verified at every step.
 *
 * A slot is claimed by exchanging its pointer for NULL, so a block has one owner at a time, and a new owner each time.
 * realloc keeps the bytes up to the smaller size; calloc gives zeros; usable bytes are writable.
 */
#include "stress/stress.h"

enum { THREADS = 4, SLOTS = 600 };
static _Atomic(void *) slots[SLOTS];
static _Atomic bool stop;
static _Atomic long operations;

static void *resize(uint64_t *seed, void *p) {
	struct verified head = *(struct verified *)p;
	verified_check(p);
	size_t size = check_random(seed) % 4 ? stress_size(seed) : head.size + check_random(seed) % 64 + 1;
	void *q = realloc(p, size);
	REQUIRE(q, "realloc to %zu", size);
	verified_check_part(q, size < head.size ? size : head.size, head.size);
	verified_fill(q, check_random(seed), size);
	return q;
}

static void *make_zeroed(uint64_t *seed) {
	size_t size = stress_size(seed);
	unsigned char *p = calloc(size / 8 + 1, 8);
	REQUIRE(p);
	for (size_t i = 0; i < size; i += verified_step(size)) REQUIRE(p[i] == 0, "calloc, size %zu: byte %zu", size, i);
	memset(p, 0xff, size); /* what comes next through calloc must have been cleared again */
	verified_fill(p, check_random(seed), size);
	return p;
}

static void *work(void *seed_in) {
	uint64_t seed = (uintptr_t)seed_in + 1;
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		_Atomic(void *) *slot = &slots[check_random(&seed) % SLOTS];
		void *p = atomic_exchange(slot, NULL);
		switch (check_random(&seed) % 5) {
		case 0: verified_free(p), p = make_zeroed(&seed); break;
		case 1: verified_free(p), p = verified_make(check_random(&seed), stress_size(&seed)); break;
		case 2: verified_free(p), p = NULL; break;
		default: p = p ? resize(&seed, p) : make_zeroed(&seed); break;
		}
		if (p) REQUIRE(malloc_usable_size(p) >= ((struct verified *)p)->size);
		verified_free(atomic_exchange(slot, p));
		atomic_fetch_add_explicit(&operations, 1, memory_order_relaxed);
	}
	return NULL;
}

int main(void) {
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++) REQUIRE(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i) == 0);
	struct stress_bound bound = stress_begin(60, 6000, 6);
	while (stress_more(&bound)) {
		usleep(100000);
		if (bound.done % 10 == 0) malloc_trim(0); /* gives pages back in the middle of it */
	}
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
	for (int i = 0; i < SLOTS; i++) verified_free(atomic_load(&slots[i]));
	printf("%ld operations\n", atomic_load(&operations));
	return check_end();
}
