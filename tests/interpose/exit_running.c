/*
 * Exit, and the code that runs before and after everybody expects (RELIABILITY.md rows 8 and 9).
 *
 * Constructors of priority 101 and later allocate; their blocks are freed by destructors and atexit handlers, which
 * allocate again, while 8 threads go on allocating and freeing. argv[1] says how to leave: return, exit, quick_exit,
 * pthread_exit of the main thread, abort is not tried. The parent starts each many times and judges.
 */
#include "interpose/check.h"

#include <pthread.h>
#include <sys/wait.h>

static void *from_constructor[2];
__attribute__((constructor(101))) static void construct_first(void) {
	from_constructor[0] = malloc(300);
	REQUIRE(from_constructor[0]);
	memset(from_constructor[0], 1, 300);
}
__attribute__((constructor)) static void construct(void) {
	from_constructor[1] = calloc(3, 70000);
	REQUIRE(from_constructor[1]);
}
static void after_all(void) {
	for (int i = 0; i < 2; i++) {
		from_constructor[i] = realloc(from_constructor[i], 5000);
		REQUIRE(from_constructor[i]);
		memset(from_constructor[i], 2, 5000);
	}
}
__attribute__((destructor(101))) static void destruct_last(void) {
	after_all();
	free(from_constructor[0]);
	free(from_constructor[1]);
	free(malloc(12));
}
__attribute__((destructor)) static void destruct(void) { after_all(); }
static void at_exit(void) {
	after_all();
	free(malloc(3 * MIB));
}

static void *churn(void *seed_in) {
	uint64_t seed = (uintptr_t)seed_in + 1;
	void *slots[64] = {0};
	for (;;) {
		size_t at = check_random(&seed) % 64;
		free(slots[at]);
		slots[at] = malloc(check_random(&seed) % (at ? 3000 : 2 * MIB));
	}
	return NULL;
}

static int leave(const char *how) {
	alarm(45);
	atexit(at_exit);
	at_quick_exit(at_exit);
	pthread_t thread;
	for (uintptr_t i = 0; i < 8; i++) REQUIRE(pthread_create(&thread, NULL, churn, (void *)i) == 0);
	usleep(2000);
	if (strcmp(how, "exit") == 0) exit(0);
	if (strcmp(how, "quick_exit") == 0) quick_exit(0);
	if (strcmp(how, "_exit") == 0) _exit(0);
	return 0;
}

static void *leave_from_thread(void *unused) {
	(void)unused;
	usleep(5000);
	free(malloc(100));
	exit(0);
}

int main(int argc, char **argv) {
	if (argc > 1 && strcmp(argv[1], "thread") == 0) {
		alarm(45);
		pthread_t thread;
		pthread_create(&thread, NULL, leave_from_thread, malloc(10));
		pthread_exit(NULL);
	}
	if (argc > 1) return leave(argv[1]);
	static const char *const ways[] = {"return", "exit", "quick_exit", "_exit", "thread"};
	for (int round = 0; round < 150; round++) {
		const char *how = ways[round % 5];
		pid_t child = fork();
		REQUIRE(child >= 0);
		if (child == 0) {
			execl("/proc/self/exe", "exit_running", how, (char *)NULL);
			_exit(9);
		}
		int status = -1;
		waitpid(child, &status, 0);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "leaving by %s: status %#x (0xe: it hung)", how,
		      (unsigned)status);
	}
	return check_end();
}
