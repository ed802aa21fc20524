/*
 * Forks under load: 8 threads allocate and free without pause, the main thread forks (SPEC A3).
 *
 * Each child verifies blocks that other threads of the parent owned and, as those threads are gone, frees them; it
 * allocates of every kind, forks once more at times, and leaves by _exit or exit. 10,000 forks in the long mode.
 * "brief" as argument: 2 threads and children that do little, so that every run comes to 10,000 forks.
 * A child that hangs is ended by its alarm and counted.
 */
#include "stress/stress.h"

#include <sys/wait.h>

enum { THREADS = 8, THREADS_BRIEF = 2, SLOTS = 64, SHARED = 256 };
static _Atomic bool stop;
static bool brief_mode;
static _Atomic(void *) shared[SHARED]; /* blocks that change hands; NULL while somebody holds one */

static void work(uint64_t *seed, void **slots, int operations) {
	for (int i = 0; i < operations; i++) {
		size_t at = check_random(seed) % SLOTS;
		verified_free(slots[at]);
		/* A fork costs by what is mapped and touched: where it is the forks that count, blocks are small. */
		size_t size = brief_mode ? check_random(seed) % 3000 : stress_size(seed);
		slots[at] = verified_make(check_random(seed), size);
		if (i % 4 == 0) slots[at] = atomic_exchange(&shared[check_random(seed) % SHARED], slots[at]);
	}
}

static void *churn(void *seed_in) {
	uint64_t seed = (uintptr_t)seed_in * 7919 + 1;
	void *slots[SLOTS] = {0};
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) work(&seed, slots, 64);
	for (int i = 0; i < SLOTS; i++) verified_free(slots[i]);
	return NULL;
}

static void *brief(void *seed_in) {
	uint64_t seed = (uintptr_t)seed_in + 3;
	void *slots[SLOTS] = {0};
	work(&seed, slots, 100);
	for (int i = 0; i < SLOTS; i++) verified_free(slots[i]);
	return NULL;
}

static void child(long round) {
	alarm(60);
	uint64_t seed = (uint64_t)round * 31 + 17;
	void *slots[SLOTS] = {0};
	for (int i = 0; i < SHARED; i += 3) verified_free(atomic_exchange(&shared[i], NULL));
	work(&seed, slots, 60);
	if (round % 8 == 0 && !STRESS_SANITIZED) {
		pthread_t threads[2];
		for (int i = 0; i < 2; i++) REQUIRE(pthread_create(&threads[i], NULL, brief, (void *)(uintptr_t)i) == 0);
		for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
	}
	if (round % 16 == 1) {
		pid_t grandchild = fork();
		if (grandchild == 0) {
			work(&seed, slots, 100);
			_exit(check_end());
		}
		int status = -1;
		REQUIRE(waitpid(grandchild, &status, 0) == grandchild);
		CHECK(status == 0, "grandchild's status %#x", (unsigned)status);
	}
	for (int i = 0; i < SLOTS; i++) verified_free(slots[i]);
	if (round % 2 && !STRESS_SANITIZED) exit(check_end());
	_exit(check_end());
}

/* Every lock of the library is asked for once: small, large, another thread's block, one that is given back. */
static void brief_child(long round) {
	alarm(60);
	uint64_t seed = (uint64_t)round * 97 + 5;
	void *slots[SLOTS] = {0};
	verified_free(atomic_exchange(&shared[round % SHARED], NULL));
	free(opaque(malloc(2 * MIB)));
	work(&seed, slots, 8);
	if (round % 2 && !STRESS_SANITIZED) exit(check_end());
	_exit(check_end());
}

int main(int argc, char **argv) {
	brief_mode = argc > 1 && strcmp(argv[1], "brief") == 0;
	int count = brief_mode ? THREADS_BRIEF : THREADS;
	pthread_t threads[THREADS];
	for (int i = 0; i < count; i++) REQUIRE(pthread_create(&threads[i], NULL, churn, (void *)(uintptr_t)(i + 1)) == 0);
	struct stress_bound bound = brief_mode ? stress_begin(10000, 100000, 140) : stress_begin(400, 10000, 12);
	while (stress_more(&bound)) {
		pid_t pid = fork();
		REQUIRE(pid >= 0, "fork: errno %d", errno);
		if (pid == 0 && brief_mode) brief_child(bound.done);
		if (pid == 0) child(bound.done);
		void *p = verified_make(5, 1000);
		int status = -1;
		REQUIRE(waitpid(pid, &status, 0) == pid);
		REQUIRE(status == 0, "round %ld: child's status %#x (0xe: it hung)", bound.done, (unsigned)status);
		verified_free(p);
	}
	CHECK(!brief_mode || bound.done >= 10000, "%ld forks", bound.done);
	atomic_store(&stop, true);
	for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
	for (int i = 0; i < SHARED; i++) verified_free(atomic_load(&shared[i]));
	return check_end();
}
