/* Runs one program with a library preloaded and reports what it cost: the measuring end of perf/compare.
 *
 *   runner REPORT LIBRARY PROGRAM ARGUMENT...
 *
 * Writes one line to the file REPORT: wall ns, user us, system us, peak resident KiB (ru_maxrss of wait4, the largest
 * process of the tree), wait status. LIBRARY may be "-" for none. It exists because the kernel lets ru_maxrss survive
 * exec: a child that a big harness forks would show the harness's size. This program is about 1 MiB, less than any. */
#include "load.h"
#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>

int main(int argc, char **argv) {
	if (argc < 4) {
		load_die("usage: runner REPORT LIBRARY PROGRAM ARGUMENT...");
	}
	uint64_t start = load_now_ns();
	pid_t pid = fork();
	if (pid < 0) {
		load_die("runner: fork failed");
	}
	if (pid == 0) {
		if (strcmp(argv[2], "-") != 0) {
			setenv("LD_PRELOAD", argv[2], 1);
		}
		execvp(argv[3], argv + 3);
		load_die("runner: cannot execute the program");
	}
	int status = 0;
	struct rusage use;
	while (wait4(pid, &status, 0, &use) < 0) {
		if (errno != EINTR) {
			load_die("runner: wait4 failed");
		}
	}
	uint64_t wall = load_now_ns() - start;
	char line[256];
	int n = snprintf(line, sizeof line, "%llu %lld %lld %ld %d\n", (unsigned long long)wall,
	                 (long long)use.ru_utime.tv_sec * 1000000 + use.ru_utime.tv_usec,
	                 (long long)use.ru_stime.tv_sec * 1000000 + use.ru_stime.tv_usec, use.ru_maxrss, status);
	int fd = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, line, (size_t)n) != n) {
		load_die("runner: cannot write the report");
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
