/* double_free_between WHAT SIZE: a block is freed, WHAT happens, and it is freed again.
 *
 * others: 50 blocks of other sizes are freed; same: 20 of its size; mallocs: 50 blocks of other sizes are allocated;
 * written: its first 16 bytes are written over; buried: 20 of its size are freed, then it is written over;
 * trim: malloc_trim; threads: a thread lives and dies; sleep: time for whatever gives memory back;
 * fork: the second free is the child's; realloc0: the first is realloc's. */
#include "abuse/abuse.h"

#include <sys/wait.h>

static void *some_work(void *unused) {
	for (size_t i = 1; i < 100; i++) free(opaque(malloc(i * 50)));
	return unused;
}

/* Ends as the child does. */
static void fork_and_follow(void) {
	pid_t child = fork();
	REQUIRE(child >= 0);
	if (child == 0) return;
	int status = 0;
	REQUIRE(waitpid(child, &status, 0) == child);
	if (!WIFSIGNALED(status)) _exit(WEXITSTATUS(status));
	raise(WTERMSIG(status));
}

static void happens(const char *what, size_t size, void **prepared) {
	if (strcmp(what, "others") == 0 || strcmp(what, "same") == 0 || strcmp(what, "buried") == 0) {
		for (int i = 0; i < 50; i++) free(prepared[i]);
	} else if (strcmp(what, "mallocs") == 0) {
		for (size_t i = 0; i < 50; i++) prepared[i] = opaque(malloc(i * 100 == size ? 1 : i * 100));
	} else if (strcmp(what, "trim") == 0) {
		malloc_trim(0);
	} else if (strcmp(what, "threads") == 0) {
		in_a_thread(some_work, NULL);
	} else if (strcmp(what, "sleep") == 0) {
		for (int i = 0; i < 30; i++) {
			usleep(50000);
			some_work(NULL);
		}
	} else if (strcmp(what, "fork") == 0) {
		fork_and_follow();
	} else {
		REQUIRE(strcmp(what, "realloc0") == 0 || strcmp(what, "written") == 0, "%s", what);
	}
}

int main(int argc, char **argv) {
	const char *what = argc > 1 ? argv[1] : "";
	size_t size = argument(argc, argv, 2);
	bool buried = strcmp(what, "buried") == 0, same = buried || strcmp(what, "same") == 0;
	void *prepared[50] = {0}, *p = block_among_others(size);
	for (size_t i = 0; i < (same ? 20 : 50); i++) prepared[i] = opaque(malloc(same ? size : i * 100 + 8));
	say_pointer(p);
	if (strcmp(what, "realloc0") == 0) REQUIRE(realloc(p, 0) == NULL);
	else free(p);
	if (strcmp(what, "written") == 0) memset(opaque(p), 0x41, 16);
	happens(what, size, prepared);
	if (buried) memset(opaque(p), 0x41, 16);
	free(opaque(p));
	undetected();
}
