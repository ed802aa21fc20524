/*
 * vfork_spawn: vfork, posix_spawn, system and popen beside threads that allocate (RELIABILITY.md row 3).
 *
 * A vfork child shares our memory and our thread's heap: what it allocates and frees before exec or _exit must be
 * good in the parent afterwards (shells and make do so, against the standard's letter).
 */
#include "interpose/check.h"

#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;
static _Atomic bool stop;

static void *churn(void *unused) {
	(void)unused;
	uint64_t seed = 99;
	while (!atomic_load(&stop)) {
		void *p = malloc(check_random(&seed) % 5000), *q = malloc(check_random(&seed) % 200000);
		free(p);
		free(q);
	}
	return NULL;
}

static void ended_well(pid_t child, const char *what) {
	int status = -1;
	REQUIRE(child > 0, "%s", what);
	REQUIRE(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: status %#x", what, (unsigned)status);
}

static void by_vfork(void) {
	void *volatile kept[64];
	for (int i = 0; i < 64; i++) kept[i] = malloc(200);
	pid_t child = vfork();
	if (child == 0) {
		for (int i = 0; i < 64; i++) {
			free(kept[i]);
			kept[i] = malloc((size_t)i * 40 + 1);
		}
		execl("/bin/true", "true", (char *)NULL);
		_exit(9);
	}
	ended_well(child, "vfork and exec");
	for (int i = 0; i < 64; i++) {
		memset(kept[i], 3, (size_t)i * 40 + 1);
		free(kept[i]);
	}
}

int main(void) {
	pthread_t threads[3];
	for (int i = 0; i < 3; i++) REQUIRE(pthread_create(&threads[i], NULL, churn, NULL) == 0);
	alarm(60);
	for (int round = 0; round < 50; round++) {
		by_vfork();
		char *arguments[] = {(char *)"sh", (char *)"-c", (char *)"x=$(echo a b c); [ \"$x\" = 'a b c' ]", NULL};
		pid_t child = -1;
		CHECK(posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environ) == 0);
		ended_well(child, "posix_spawn");
		if (round % 5) continue;
		CHECK(system("true") == 0, "system");
		FILE *pipe_end = popen("echo spawned", "r");
		char line[64] = "";
		CHECK(pipe_end && fgets(line, sizeof line, pipe_end) && strcmp(line, "spawned\n") == 0, "popen: %s", line);
		if (pipe_end) CHECK(pclose(pipe_end) == 0, "pclose");
	}
	atomic_store(&stop, true);
	for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
	return check_end();
}
