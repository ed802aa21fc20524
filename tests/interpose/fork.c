/*
 * fork in a process whose other threads allocate (RELIABILITY.md rows 1 to 4).
 *
 * locked: 4 churning threads, 150 forks; each child allocates of every kind, starts a thread and exits by exit().
 * atfork: the same with prepare, parent and child handlers that allocate, registered before and after first use.
 * deep: children fork children, ten deep, without exec, and the daemon's double fork; each verifies inherited blocks.
 * cost: 1000 forks beside 64 threads that hold warm caches; prints the time (a peer run compares).
 * cost-trimmed: the same, but each thread gives back what it holds before it idles.
 * A child that hangs is seen by its alarm, a minute each.
 */
#include "interpose/check.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>

static _Atomic bool stop;
static unsigned char *inherited[256];

static void churn_once(uint64_t *seed, void **slots, size_t count) {
	for (int i = 0; i < 200; i++) {
		size_t at = check_random(seed) % count, kind = check_random(seed) % 100;
		size_t size = kind < 90   ? check_random(seed) % 2000 + 1
		              : kind < 99 ? check_random(seed) % (200 * KIB) + 1
		                          : check_random(seed) % (3 * MIB) + 1;
		free(slots[at]);
		slots[at] = kind & 1 ? malloc(size) : calloc(1, size);
		REQUIRE(slots[at]);
		*(volatile char *)slots[at] = 1;
	}
}

static void *churn(void *seed_in) {
	uint64_t seed = (uintptr_t)seed_in * 977 + 1;
	void *slots[64] = {0};
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) churn_once(&seed, slots, 64);
	for (int i = 0; i < 64; i++) free(slots[i]);
	return NULL;
}

static void *child_thread(void *seed_in) {
	uint64_t seed = (uintptr_t)seed_in + 5;
	void *slots[32] = {0};
	churn_once(&seed, slots, 32);
	for (int i = 0; i < 32; i++) free(slots[i]);
	return malloc(77);
}

static void make_inherited(void) {
	for (size_t i = 0; i < 256; i++) {
		size_t size = i * i + 1;
		inherited[i] = malloc(size);
		REQUIRE(inherited[i]);
		memset(inherited[i], (int)i, size);
	}
}

static void verify_and_free_inherited(void) {
	for (size_t i = 0; i < 256; i++) {
		size_t size = i * i + 1;
		REQUIRE(inherited[i][0] == i && inherited[i][size - 1] == i, "block %zu changed across fork", i);
		free(inherited[i]);
		inherited[i] = malloc(size);
		REQUIRE(inherited[i]);
		memset(inherited[i], (int)i, size);
	}
}

static void child_work(void) {
	alarm(60); /* a hang, however busy the machine */
	verify_and_free_inherited();
	uint64_t seed = (uint64_t)getpid();
	void *slots[64] = {0};
	churn_once(&seed, slots, 64);
	pthread_t thread;
	void *result = NULL;
	REQUIRE(pthread_create(&thread, NULL, child_thread, (void *)seed) == 0);
	REQUIRE(pthread_join(thread, &result) == 0 && result);
	free(result);
	for (int i = 0; i < 64; i++) free(slots[i]);
}

static void reap(pid_t child, const char *what, int round) {
	int status = 0;
	REQUIRE(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s, round %d: child's status %#x (0xe: it hung)", what, round,
	      (unsigned)status);
}

static void start_churners(pthread_t *threads, int count) {
	atomic_store(&stop, false);
	for (int i = 0; i < count; i++) REQUIRE(pthread_create(&threads[i], NULL, churn, (void *)(uintptr_t)(i + 1)) == 0);
}

static void stop_churners(pthread_t *threads, int count) {
	atomic_store(&stop, true);
	for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

static void locked(int rounds) {
	pthread_t threads[4];
	make_inherited();
	start_churners(threads, 4);
	for (int round = 0; round < rounds; round++) {
		pid_t child = fork();
		REQUIRE(child >= 0);
		if (child == 0) {
			child_work();
			exit(check_end()); /* runs destructors with the heap of a forked child */
		}
		free(malloc(100));
		reap(child, "locked", round);
	}
	stop_churners(threads, 4);
}

static void *handler_blocks[3];
static _Atomic int handler_runs;
static void handler_allocates(int which) {
	free(handler_blocks[which]);
	handler_blocks[which] = malloc(1000 + (size_t)which);
	void *large = malloc(2 * MIB);
	REQUIRE(handler_blocks[which] && large);
	*(volatile char *)large = 1;
	free(large);
	atomic_fetch_add(&handler_runs, 1);
}
static void on_prepare(void) { handler_allocates(0); }
static void on_parent(void) { handler_allocates(1); }
static void on_child(void) { handler_allocates(2); }

/* Before our constructor or the library's: handlers run prepare in reverse and child in order of registration. */
__attribute__((constructor(101))) static void register_early(void) {
	if (getenv("HYPOOL_TEST_ATFORK")) pthread_atfork(on_prepare, on_parent, on_child);
}

static void atfork(void) {
	/* Main executable's constructors run after those of the preloaded library; exec self only to set the variable. */
	if (!getenv("HYPOOL_TEST_ATFORK")) {
		setenv("HYPOOL_TEST_ATFORK", "1", 1);
		execl("/proc/self/exe", "fork", "atfork", (char *)NULL);
		REQUIRE(false, "exec");
	}
	REQUIRE(pthread_atfork(on_prepare, on_parent, on_child) == 0);
	locked(100);
	CHECK(atomic_load(&handler_runs) == 100 * 4, "handlers ran %d times", atomic_load(&handler_runs));
}

static void deep_child(int depth) {
	child_work();
	if (depth == 0) return;
	pthread_t threads[2];
	start_churners(threads, 2);
	pid_t child = fork();
	REQUIRE(child >= 0);
	if (child == 0) {
		deep_child(depth - 1);
		exit(check_end());
	}
	reap(child, "deep", depth);
	stop_churners(threads, 2);
}

static void deep(void) {
	make_inherited();
	deep_child(10);
	for (int round = 0; round < 20; round++) { /* the daemon's double fork: the middle process exits at once */
		int ends[2];
		REQUIRE(pipe(ends) == 0);
		pid_t child = fork();
		REQUIRE(child >= 0);
		if (child == 0) {
			if (fork() == 0) {
				child_work();
				char word = 'k';
				if (write(ends[1], &word, 1) != 1) _exit(1);
				exit(check_end());
			}
			exit(0);
		}
		reap(child, "double fork", round);
		close(ends[1]);
		char word = 0;
		CHECK(read(ends[0], &word, 1) == 1 && word == 'k', "the grandchild of round %d did not finish", round);
		close(ends[0]);
	}
}

static pthread_barrier_t warmed;
static bool trims;
static void *warm(void *unused) {
	(void)unused;
	void *slots[256];
	for (size_t i = 0; i < 256; i++) slots[i] = malloc(i * 16 + 1);
	for (size_t i = 0; i < 256; i++) free(slots[i]);
	if (trims) malloc_trim(0);
	pthread_barrier_wait(&warmed);
	pthread_barrier_wait(&warmed);
	return NULL;
}

static void cost(void) {
	pthread_t threads[64];
	pthread_barrier_init(&warmed, NULL, 65);
	for (int i = 0; i < 64; i++) REQUIRE(pthread_create(&threads[i], NULL, warm, NULL) == 0);
	pthread_barrier_wait(&warmed);
	uint64_t start = check_now_ns();
	for (int round = 0; round < 1000; round++) {
		pid_t child = fork();
		REQUIRE(child >= 0);
		if (child == 0) _exit(0);
		reap(child, "cost", round);
	}
	uint64_t each_us = (check_now_ns() - start) / 1000 / 1000;
	printf("fork beside 64 idle threads: %lu us each\n", (unsigned long)each_us);
	pthread_barrier_wait(&warmed);
	for (int i = 0; i < 64; i++) pthread_join(threads[i], NULL);
}

int main(int argc, char **argv) {
	const char *which = argc > 1 ? argv[1] : "";
	if (strcmp(which, "locked") == 0) locked(150);
	else if (strcmp(which, "atfork") == 0) atfork();
	else if (strcmp(which, "deep") == 0) deep();
	else if (strcmp(which, "cost") == 0) cost();
	else if ((trims = strcmp(which, "cost-trimmed") == 0)) cost();
	else REQUIRE(false, "usage: fork locked|atfork|deep|cost|cost-trimmed");
	return check_end();
}
