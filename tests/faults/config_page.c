/*
 * At level 3 the page of the configuration is read-only once it is written: a program that writes to it, by a wild
 * pointer or on purpose to switch the checks off, ends by SIGSEGV. Below level 3 the same write goes through, which shows that
 * the test looks at the right page. HYPOOL_HARDEN says which level it is.
 */
#include "heap/harden.h"

#include <hypool/hypool.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void write_to_it(void) {
	volatile hypi_harden_config *config = &hypi_harden.config;
	signal(SIGSEGV, SIG_DFL); /* sanitizers have a handler of their own */
	config->hold_bytes = 0;
	_exit(config->hold_bytes == 0 ? 0 : 1);
}

int main(void) {
	const char *level = getenv("HYPOOL_HARDEN");
	bool strongest = level != NULL && level[0] == '3';
	hyp_free(hyp_malloc(100));
	if (!HYP_CHECKS) {
		puts("SKIPPED: built without checks: there are no levels");
		return 77;
	}
	if (hypi_harden.config.level != (strongest ? 3 : 2)) {
		printf("HYPOOL_HARDEN=%s, and the level is %u\n", level == NULL ? "" : level, hypi_harden.config.level);
		return 1;
	}
	int status = 0;
	pid_t pid = fork();
	if (pid == 0) write_to_it();
	if (pid < 0 || waitpid(pid, &status, 0) != pid) return 1;
	printf("the child's status: %#x\n", (unsigned)status);
	if (strongest) return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV ? 0 : 1;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
}
