/*
 * Thousands of threads come and go, each leaving blocks to others (SPEC A3, A7).
 *
 * A thread takes over blocks that threads before it left, verifies and frees some, leaves new ones and ends; 32 live at
 * once. Memory is bounded: what dead threads left is used by those that follow.
 */
#include "stress/stress.h"

enum { AT_ONCE = 32, LEFT = 4096 };
static _Atomic(void *) left[LEFT];

static void *brief_life(void *seed_in) {
	uint64_t seed = (uintptr_t)seed_in * 104729 + 1;
	void *own[40];
	for (int i = 0; i < 40; i++) own[i] = verified_make(check_random(&seed), check_random(&seed) % 3000);
	for (int i = 0; i < 40; i++) {
		if (i % 2) {
			verified_free(own[i]);
			continue;
		}
		verified_free(atomic_exchange(&left[check_random(&seed) % LEFT], own[i]));
	}
	if (check_random(&seed) % 64 == 0) verified_free(verified_make(1, 3 * MIB));
	return NULL;
}

int main(void) {
	pthread_t threads[AT_ONCE];
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 256 * KIB);
	size_t warm = 0;
	struct stress_bound bound = stress_begin(400, 10000, STRESS_SANITIZED ? 10 : 60);
	while (stress_more(&bound)) {
		for (long i = 0; i < AT_ONCE; i++)
			REQUIRE(pthread_create(&threads[i], &attributes, brief_life,
			                       (void *)(uintptr_t)(bound.done * AT_ONCE + i)) == 0);
		for (int i = 0; i < AT_ONCE; i++) pthread_join(threads[i], NULL);
		if (bound.done == 60) warm = check_rss_bytes();
	}
	size_t last = check_rss_bytes();
	printf("%ld threads; resident after 60 rounds %zu KiB, at the end %zu KiB\n", bound.done * AT_ONCE, warm / KIB,
	       last / KIB);
	CHECK(STRESS_SANITIZED || bound.done * AT_ONCE >= 10000, "only %ld threads", bound.done * AT_ONCE);
	if (warm && !STRESS_SANITIZED) CHECK(last < warm + warm / 2 + 16 * MIB, "memory grows with the dead");
	for (int i = 0; i < LEFT; i++) verified_free(atomic_load(&left[i]));
	return check_end();
}
