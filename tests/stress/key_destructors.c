/*
 * Destructors of thread keys allocate, free what others made, and re-arm themselves (SPEC A3).
 *
 * More keys than one, registered before and after the library's own (which exists once a thread allocated): whatever
 * the order in which the C library runs them, allocation works to the last. Blocks pass between dying threads. "brief"
 * as argument: fewer and smaller blocks, so that every run comes to 10,000 ends of threads.
 *
 * The C library runs destructors in four rounds. The thread sanitizer's own key, the oldest of all, re-arms itself and
 * in the fourth round gives up the thread's record before the other keys' destructors of that round are called: any
 * instrumented function ends the process there, with hypool or without. (Seen with GCC 12 and Clang 14: a program
 * whose one destructor calls the C library's malloc and re-arms itself twice ends well, thrice it ends by SIGSEGV in
 * the sanitizer's runtime.) So there a value re-arms itself once: its second run may wake the library's own key for
 * the third round, and the fourth stays empty.
 */
#include "stress/stress.h"

#if defined(__SANITIZE_THREAD__)
#define STRESS_THREAD_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STRESS_THREAD_SANITIZED 1
#endif
#endif
#ifndef STRESS_THREAD_SANITIZED
#define STRESS_THREAD_SANITIZED 0
#endif

enum { KEYS = 24, AT_ONCE = 8, ENDS = 10000, RUNS_MOST = STRESS_THREAD_SANITIZED ? 2 : 4 };
static pthread_key_t keys[KEYS];
static _Atomic(void *) passed[64];
static _Atomic long runs;
static bool brief;

struct armed {
	struct verified head; /* first: a verified block */
	int key, rounds;
};

static void arm(int key, int rounds, uint64_t id) {
	struct armed *armed = malloc(sizeof *armed);
	REQUIRE(armed);
	armed->head = (struct verified){.id = id, .size = VERIFIED_LEAST};
	armed->key = key;
	armed->rounds = rounds;
	REQUIRE(pthread_setspecific(keys[key], armed) == 0);
}

static void on_exit_key(void *value) {
	struct armed *armed = value;
	uint64_t seed = armed->head.id + (uint64_t)armed->rounds + 1;
	for (int i = 0; i < (brief ? 2 : 6); i++) {
		void *made = verified_make(check_random(&seed), brief ? check_random(&seed) % 3000 : stress_size(&seed));
		verified_free(atomic_exchange(&passed[check_random(&seed) % 64], made));
	}
	atomic_fetch_add_explicit(&runs, 1, memory_order_relaxed);
	if (armed->rounds > 0) arm(armed->key, armed->rounds - 1, seed);
	verified_free(armed);
}

static void *work(void *seed_in) {
	uint64_t seed = (uintptr_t)seed_in * 6007 + 1;
	if (check_random(&seed) % 3) verified_free(verified_make(seed, 100)); /* one third never allocates before */
	for (int i = 0; i < KEYS; i++) {
		if (check_random(&seed) % (brief ? 8 : 2)) continue;
		arm(i, (int)(check_random(&seed) % RUNS_MOST), seed);
	}
	return NULL;
}

int main(int argc, char **argv) {
	brief = argc > 1 && strcmp(argv[1], "brief") == 0;
	for (int i = 0; i < KEYS; i++) REQUIRE(pthread_key_create(&keys[i], on_exit_key) == 0);
	struct stress_bound bound = brief ? stress_begin(ENDS / AT_ONCE, ENDS, 140) : stress_begin(400, 10000, 4);
	while (stress_more(&bound)) {
		pthread_t threads[AT_ONCE];
		for (long i = 0; i < AT_ONCE; i++)
			REQUIRE(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)(bound.done * AT_ONCE + i)) == 0);
		for (int i = 0; i < AT_ONCE; i++) pthread_join(threads[i], NULL);
	}
	for (int i = 0; i < 64; i++) verified_free(atomic_load(&passed[i]));
	printf("%ld destructors\n", atomic_load(&runs));
	CHECK(!brief || bound.done * AT_ONCE >= ENDS, "%ld ends of threads", bound.done * AT_ONCE);
	CHECK(atomic_load(&runs) > bound.done * AT_ONCE * KEYS / (brief ? 8 : 2));
	return check_end();
}
