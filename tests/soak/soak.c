/*
 * soak SECONDS SEED PLUGIN: everything at once, for as long as is asked (tests/soak/soak.sh runs it for hours).
 *
 * Threads come and go by the thousand and leave blocks to each other; others work on for all of the time; children are
 * forked from the middle of it, allocate with threads of their own, and end while those still run; a
 * library with thread-local storage is opened, used by whoever is there, and closed; a timer's signal interrupts all of
 * them about once a millisecond. Every block is verified by whoever frees it. Memory is bounded: what is resident at the
 * end is compared with what it was after a quarter of the time. When all threads have ended, the checker looks at every
 * record (linked with libhypool; the preload library has no checker to call).
 */
#include "stress/stress.h"

#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

#ifdef HYP_LINKED
#include <hypool/pool.h>
#endif

enum { LEFT = 512, WORKERS = 2, AT_ONCE = 16, CHILD_SECONDS = 60 };
static _Atomic(void *) left[LEFT];
static _Atomic bool stop;
static _Atomic uint64_t threads_done, forks_done, loads_done, signals_done;

static void on_signal(int number) {
	(void)number;
	atomic_fetch_add_explicit(&signals_done, 1, memory_order_relaxed);
}

static size_t some_size(uint64_t *seed) {
	uint64_t kind = check_random(seed) % 200;
	return kind < 170   ? check_random(seed) % 2000
	       : kind < 195 ? check_random(seed) % (100 * KIB)
	       : kind < 199 ? check_random(seed) % (2 * MIB)
	                    : check_random(seed) % (70 * MIB);
}

/* Blocks of its own, and blocks that others left: made, moved, freed. */
static void work(uint64_t *seed, int steps) {
	void *own[24] = {NULL};
	for (int i = 0; i < steps; i++) {
		size_t at = check_random(seed) % 24, size = some_size(seed);
		if (check_random(seed) % 4 == 0) {
			verified_free(atomic_exchange(&left[check_random(seed) % LEFT], own[at]));
			own[at] = NULL;
		} else {
			verified_free(own[at]);
			own[at] = verified_make(check_random(seed), size);
		}
	}
	for (int i = 0; i < 24; i++) verified_free(own[i]);
}

static void *brief_life(void *seed_in) {
	uint64_t seed = (uintptr_t)seed_in | 1;
	work(&seed, 60);
	return NULL;
}

static void *worker(void *seed_in) {
	uint64_t seed = (uintptr_t)seed_in * 31 + 7;
	while (!atomic_load(&stop)) work(&seed, 200);
	return NULL;
}

static void *spawner(void *seed_in) {
	uint64_t seed = (uintptr_t)seed_in * 1777 + 3;
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 256 * KIB);
	while (!atomic_load(&stop)) {
		pthread_t ids[AT_ONCE];
		int n = 0;
		while (n < AT_ONCE && pthread_create(&ids[n], &attributes, brief_life, (void *)check_random(&seed)) == 0) n++;
		for (int i = 0; i < n; i++) pthread_join(ids[i], NULL);
		atomic_fetch_add(&threads_done, (uint64_t)n);
	}
	pthread_attr_destroy(&attributes);
	return NULL;
}

/* A child from the middle of it: it works, has threads of its own, and ends under them. Not by exit: the C library's own
 * lock of exit handlers may have been held, by a thread that opened a library (tests/stress/exit_alloc.c does that). */
static void child(uint64_t seed) {
	struct itimerval off = {{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &off, NULL);
	signal(SIGALRM, SIG_DFL);
	alarm(CHILD_SECONDS);
	pthread_t ids[3];
	int n = 0;
	work(&seed, 100);
	while (n < 3 && pthread_create(&ids[n], NULL, n == 0 ? brief_life : worker, (void *)check_random(&seed)) == 0) n++;
	if (n > 0) pthread_join(ids[0], NULL);
	work(&seed, 50);
	_exit(check_end());
}

static void *forker(void *seed_in) {
	uint64_t seed = (uintptr_t)seed_in * 99991 + 5;
	while (!atomic_load(&stop)) {
		pid_t pid = fork();
		if (pid == 0) child(check_random(&seed));
		int status = 0;
		REQUIRE(pid > 0, "errno %d", errno);
		while (waitpid(pid, &status, 0) < 0) REQUIRE(errno == EINTR);
		REQUIRE(status == 0, "a child ended with status %#x (14: it hung)", status);
		atomic_fetch_add(&forks_done, 1);
		usleep(2000);
	}
	return NULL;
}

static void *loader(void *path) {
	while (!atomic_load(&stop)) {
		void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		REQUIRE(library, "%s", dlerror());
		char *(*make)(size_t);
		void (*take)(char *);
		*(void **)&make = dlsym(library, "plugin_make");
		*(void **)&take = dlsym(library, "plugin_take");
		REQUIRE(make && take);
		for (size_t size = 1; size < 100000; size = size * 3 + 1) take(make(size));
		REQUIRE(dlclose(library) == 0);
		atomic_fetch_add(&loads_done, 1);
		usleep(500);
	}
	return NULL;
}

/* Sleeps through signals. */
static void wait_until(uint64_t end_ns) {
	while (check_now_ns() < end_ns) usleep(20000);
}

int main(int argc, char **argv) {
	REQUIRE(argc > 3, "usage: soak SECONDS SEED PLUGIN");
	double seconds = atof(argv[1]);
	uint64_t seed = strtoull(argv[2], NULL, 0), start = check_now_ns();
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	sigaction(SIGALRM, &action, NULL);
	struct itimerval often = {{0, 1000}, {0, 1000}};
	setitimer(ITIMER_REAL, &often, NULL);
	void *(*const bodies[])(void *) = {worker, worker, spawner, forker, loader};
	enum { BODIES = sizeof bodies / sizeof *bodies };
	pthread_t ids[BODIES];
	int loads = !STRESS_SANITIZED; /* those have their own opinion of forks and of libraries that go */
	int last = loads ? BODIES : 3;
	for (int i = 0; i < last; i++) {
		void *argument = bodies[i] == loader ? (void *)argv[3] : (void *)(uintptr_t)(seed + (uint64_t)i);
		REQUIRE(pthread_create(&ids[i], NULL, bodies[i], argument) == 0);
	}
	wait_until(start + (uint64_t)(seconds * 0.25e9));
	size_t early = check_rss_bytes();
	wait_until(start + (uint64_t)(seconds * 1e9));
	size_t late = check_rss_bytes();
	atomic_store(&stop, true);
	for (int i = 0; i < last; i++) pthread_join(ids[i], NULL);
	struct itimerval off = {{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &off, NULL);
	for (int i = 0; i < LEFT; i++) verified_free(atomic_load(&left[i]));
	malloc_trim(0);
	printf(
		"seed %lu: %lu threads, %lu forks, %lu loads, %lu signals; resident %zu MiB early, %zu late, %zu at the end\n",
		(unsigned long)seed, (unsigned long)threads_done, (unsigned long)forks_done, (unsigned long)loads_done,
		(unsigned long)signals_done, early / MIB, late / MIB, check_rss_bytes() / MIB);
	CHECK(threads_done > 0 && signals_done > 0 && (!loads || (forks_done > 0 && loads_done > 0)));
	if (!STRESS_SANITIZED)
		CHECK(late < 2 * early + 400 * MIB, "memory grows: %zu MiB, %zu MiB", early / MIB, late / MIB);
#ifdef HYP_LINKED
	const char *wrong = hyp_pool_check(hyp_pool_default());
	CHECK(wrong == NULL, "%s", wrong);
#endif
	return check_end();
}
