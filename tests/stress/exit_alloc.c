/*
 * A process ends while its threads allocate (SPEC A3): return from main's code by exit, quick_exit, _exit, a signal.
 *
 * Each round forks a child that starts 6 allocating threads and leaves after a moment. atexit handlers and key
 * destructors of ours allocate and free meanwhile. The end must come: an alarm of a minute tells a hang. "brief" as argument:
 * 2 threads and a shorter moment, so that every run comes to 10,000 ends.
 */
#include "stress/stress.h"

#include <signal.h>
#include <sys/wait.h>

enum { THREADS = 6, THREADS_BRIEF = 2, BRIEF_ROUNDS = 10000 };
static pthread_key_t key;
static bool brief;

static void on_thread_exit(void *p) {
	verified_free(p);
	verified_free(verified_make(3, 2000));
}

static void at_exit(void) {
	uint64_t seed = 11;
	for (int i = 0; i < (brief ? 20 : 200); i++) verified_free(verified_make((uint64_t)i, stress_size(&seed)));
}

static void *churn(void *seed_in) {
	uint64_t seed = (uintptr_t)seed_in + 1;
	void *slots[32] = {0};
	pthread_setspecific(key, verified_make(seed, 500));
	for (;;) {
		size_t at = check_random(&seed) % 32;
		verified_free(slots[at]);
		slots[at] = verified_make(check_random(&seed), stress_size(&seed));
		if (check_random(&seed) % (brief ? 100 : 100000) == 0)
			return NULL; /* some end by themselves, at the worst moment */
	}
}

static void child(long round) {
	alarm(60); /* a hang, however busy the machine */
	pthread_t thread;
	for (uintptr_t i = 0; i < (brief ? THREADS_BRIEF : THREADS); i++) {
		REQUIRE(pthread_create(&thread, NULL, churn, (void *)(i + (uintptr_t)round * THREADS)) == 0);
		REQUIRE(pthread_detach(thread) == 0);
	}
	usleep((useconds_t)(round * 37 % (brief ? 300 : 3000)));
	switch (round % 4) {
	case 0: exit(0);
	case 1: quick_exit(0);
	case 2: _exit(0);
	default: kill(getpid(), SIGKILL); pause();
	}
}

int main(int argc, char **argv) {
	brief = argc > 1 && strcmp(argv[1], "brief") == 0;
	pthread_key_create(&key, on_thread_exit);
	atexit(at_exit);
	at_quick_exit(at_exit);
	struct stress_bound bound = brief ? stress_begin(BRIEF_ROUNDS, BRIEF_ROUNDS, 140) : stress_begin(1000, 10000, 8);
	while (stress_more(&bound)) {
		pid_t pid = fork();
		REQUIRE(pid >= 0);
		if (pid == 0) child(bound.done);
		int status = -1;
		REQUIRE(waitpid(pid, &status, 0) == pid);
		int wanted = bound.done % 4 == 3 ? SIGKILL : 0;
		REQUIRE(status == wanted, "round %ld: status %#x (0xe: it hung)", bound.done, (unsigned)status);
	}
	CHECK(!brief || bound.done >= BRIEF_ROUNDS, "%ld ends of processes", bound.done);
	return check_end();
}
