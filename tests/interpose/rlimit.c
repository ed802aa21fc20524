/*
 * Limits of address space (RELIABILITY.md row 16).
 *
 * oom: under RLIMIT_AS the program allocates until it is refused: NULL and ENOMEM, in every size, in several threads,
 * never a crash; after the frees there is room again. start BYTES: the runner sets the limit before the first
 * instruction (run.py --address-space); the program must start and get half of what the limit leaves.
 */
#include "interpose/check.h"

#include <pthread.h>
#include <sys/resource.h>

struct chain {
	struct chain *next;
};

/* Takes blocks until refused; returns the bytes taken, and frees all. */
static size_t take_all(size_t size) {
	struct chain *head = NULL;
	size_t taken = 0;
	for (;;) {
		errno = 0;
		struct chain *block = malloc(size);
		if (!block) break;
		block->next = head;
		head = block;
		taken += size;
	}
	CHECK(errno == ENOMEM, "out of address space at %zu bytes: errno %d", size, errno);
	while (head) {
		struct chain *next = head->next;
		free(head);
		head = next;
	}
	return taken;
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* held while threads start: their stacks need room, too */

static void *take_all_thread(void *size) {
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	take_all((size_t)size);
	return NULL;
}

static void oom(void) {
	static const size_t sizes[] = {64, 1000, 40 * KIB, 300 * KIB, 1500 * KIB, 30 * MIB};
	struct rlimit limit = {600 * MIB, 600 * MIB};
	pthread_t threads[3];
	REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t taken = take_all(sizes[i]);
		printf("blocks of %zu: %zu MiB of 600\n", sizes[i], taken / MIB);
		CHECK(taken >= 250 * MIB, "blocks of %zu bytes: only %zu MiB", sizes[i], taken / MIB);
	}
	int started = 0;
	pthread_mutex_lock(&gate);
	for (; started < 3; started++)
		if (pthread_create(&threads[started], NULL, take_all_thread, (void *)(started ? 2000u : 3 * MIB)) != 0) break;
	pthread_mutex_unlock(&gate);
	for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
	CHECK(started == 3, "only %d threads could start", started);
	void *p = malloc(100 * MIB);
	CHECK(p, "after all was freed 100 MiB of 600 cannot be had");
	free(p);
}

static void start(size_t limit) {
	struct rlimit now;
	REQUIRE(getrlimit(RLIMIT_AS, &now) == 0 && now.rlim_cur == limit, "the runner set no limit");
	char *p = malloc(limit / 4);
	REQUIRE(p, "a quarter of the limit of %zu MiB cannot be had", limit / MIB);
	memset(p, 1, limit / 4);
	size_t taken = take_all(3000);
	printf("limit %zu MiB: a quarter in one block, then %zu MiB in small ones\n", limit / MIB, taken / MIB);
	CHECK(taken >= limit / 4, "only %zu MiB in small blocks", taken / MIB);
	free(p);
	/* Threads need room too. */
	for (int i = 0; i < 20; i++) {
		pthread_t thread;
		pthread_attr_t attributes;
		pthread_attr_init(&attributes);
		pthread_attr_setstacksize(&attributes, 256 * KIB);
		REQUIRE(pthread_create(&thread, &attributes, take_all_thread, (void *)(20 * MIB)) == 0);
		pthread_join(thread, NULL);
	}
}

int main(int argc, char **argv) {
	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc > 2 && strcmp(argv[1], "start") == 0) start((size_t)strtoull(argv[2], NULL, 0));
	else oom();
	return check_end();
}
