/*
 * Signals interrupt everything, at every instruction that a timer can hit (SPEC A3, RELIABILITY.md row 31).
 *
 * Three threads work on verified blocks while a fourth sends them SIGUSR1 and a timer of 100 us brings SIGALRM. The
 * handlers allocate nothing, as POSIX asks; they use deep stacks, change errno and restore it. A block's state between
 * two instructions is never seen by anybody else, and no lock stays taken: threads that end are joined.
 */
#include "stress/stress.h"

#include <signal.h>
#include <sys/time.h>

enum { WORKERS = 3, SLOTS = 200 };
static _Atomic bool stop;
static _Atomic long delivered;

static void on_signal(int number) {
	int saved = errno;
	volatile char stack[4096];
	for (size_t i = 0; i < sizeof stack; i += 64) stack[i] = (char)number;
	errno = EINTR;
	atomic_fetch_add_explicit(&delivered, 1, memory_order_relaxed);
	errno = saved;
}

static void *work(void *seed_in) {
	uint64_t seed = (uintptr_t)seed_in + 99;
	void *slots[SLOTS] = {0};
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		for (int i = 0; i < 100; i++) {
			size_t at = check_random(&seed) % SLOTS;
			verified_free(slots[at]);
			slots[at] = verified_make(check_random(&seed), stress_size(&seed));
		}
	}
	for (int i = 0; i < SLOTS; i++) verified_free(slots[i]);
	return NULL;
}

static void *come_and_go(void *unused) {
	(void)unused;
	for (uintptr_t i = 0; !atomic_load(&stop); i++) {
		uint64_t seed = i + 1;
		void *p[50];
		for (int k = 0; k < 50; k++) p[k] = verified_make(i, stress_size(&seed));
		for (int k = 0; k < 50; k++) verified_free(p[k]);
	}
	return NULL;
}

int main(void) {
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	pthread_t threads[WORKERS], brief;
	for (int i = 0; i < WORKERS; i++) REQUIRE(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i) == 0);
	REQUIRE(pthread_create(&brief, NULL, come_and_go, NULL) == 0);
	struct itimerval every = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &every, NULL);
	struct stress_bound bound = stress_begin(100000, 5000000, 60);
	const long least = STRESS_SANITIZED ? 1000 : 10000;
	while (stress_more(&bound)) {
		pthread_kill(threads[bound.done % WORKERS], SIGUSR1);
		if (bound.done % 16 == 0) pthread_kill(brief, SIGUSR1);
		void *p = verified_make((uint64_t)bound.done, (size_t)bound.done % 5000 + 16);
		verified_free(p);
		for (volatile int spin = 0; spin < 2000; spin = spin + 1) continue;
		/* A fast machine goes round more often than signals come. */
		if (bound.done == bound.rounds && atomic_load(&delivered) < least) bound.rounds++;
	}
	setitimer(ITIMER_REAL, &never, NULL);
	atomic_store(&stop, true);
	for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
	pthread_join(brief, NULL);
	printf("%ld signals\n", atomic_load(&delivered));
	CHECK(atomic_load(&delivered) >= least, "only %ld signals were delivered", atomic_load(&delivered));
	return check_end();
}
