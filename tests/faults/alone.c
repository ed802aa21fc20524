/*
 * alone: everything that may read /proc, /sys or /dev, in a process where they are not to be had (outside.sh hides them,
 * sandbox refuses the calls): statistics, trimming, threads, fork, limits, and work that is verified.
 */
#include "faults/work.h"

#include <sys/wait.h>

static void ask(void) {
	struct mallinfo2 info = mallinfo2();
	CHECK(info.uordblks > 0);
	malloc_stats();
	FILE *out = tmpfile();
	if (!out) out = fopen("/dev/null", "w");
	if (!out) out = stdout;
	CHECK(malloc_info(0, out) == 0);
	if (out != stdout) fclose(out);
	malloc_trim(0);
}

int main(void) {
	static work w = {.seed = 3};
	for (int i = 0; i < 6000; i++) work_step(&w);
	ask();
	work_threads(4, 1000);
	pid_t child = fork();
	if (child == 0) {
		for (int i = 0; i < 1000; i++) work_step(&w);
		work_threads(2, 300);
		work_end(&w);
		_exit(check_end());
	}
	int status = -1;
	REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
	CHECK(status == 0, "the child ended with %d", status);
	work_end(&w);
	ask();
	CHECK(w.refused == 0, "%zu requests were refused", w.refused);
	work_recovered();
	return check_end();
}
