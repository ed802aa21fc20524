/*
 * sandbox kill|ERROR NAME... -- PROGRAM ...: runs a program whose system calls of these names are refused with EPERM,
 * ENOSYS or EINVAL, or end it, from its first instruction on: a sandbox that its users write, not the program.
 */
#include "interpose/seccomp.h"

static const struct {
	const char *name;
	long number;
} calls[] = {
	{"madvise", __NR_madvise},
	{"membarrier", __NR_membarrier},
	{"rseq", __NR_rseq},
	{"getrandom", __NR_getrandom},
	{"prctl", __NR_prctl},
	{"mbind", __NR_mbind},
	{"mremap", __NR_mremap},
	{"sched_getaffinity", __NR_sched_getaffinity},
	{"process_madvise", 440},
	{"get_mempolicy", __NR_get_mempolicy},
	{"memfd_create", __NR_memfd_create},
	{"fallocate", __NR_fallocate},
	{"mlock", __NR_mlock},
	{"getrusage", __NR_getrusage},
};

int main(int argc, char **argv) {
	struct seccomp_rule rules[32];
	size_t count = 0;
	REQUIRE(argc > 4, "usage: sandbox kill|EPERM|ENOSYS|EINVAL NAME... -- PROGRAM ...");
	uint32_t answer = strcmp(argv[1], "kill") == 0     ? SECCOMP_RET_KILL_PROCESS
	                  : strcmp(argv[1], "ENOSYS") == 0 ? SECCOMP_ANSWER(ENOSYS)
	                  : strcmp(argv[1], "EINVAL") == 0 ? SECCOMP_ANSWER(EINVAL)
	                                                   : SECCOMP_ANSWER(EPERM);
	int at = 2;
	for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
		size_t i = 0;
		while (i < sizeof calls / sizeof *calls && strcmp(calls[i].name, argv[at]) != 0) i++;
		REQUIRE(i < sizeof calls / sizeof *calls, "no such call here: %s", argv[at]);
		rules[count++] = (struct seccomp_rule){calls[i].number, answer};
	}
	REQUIRE(at + 1 < argc && count > 0);
	seccomp_install(rules, count, SECCOMP_RET_ALLOW);
	/* The filter works: what is refused is refused. */
	if (answer != SECCOMP_RET_KILL_PROCESS) REQUIRE(syscall(rules[0].number, 0, 0, 0, 0, 0, 0) == -1);
	execv(argv[at + 1], argv + at + 1);
	REQUIRE(false, "%s: cannot be run", argv[at + 1]);
}
