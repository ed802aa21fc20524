/*
 * seccomp.h: a filter that answers chosen system calls with an errno (0: success without effect), or kills.
 *
 * Owns nothing. The filter is for this process and its children and cannot be taken off again, so a program that uses
 * it first allocates what it needs for itself. x86-64 and arm64 (the numbers come from <sys/syscall.h>).
 */
#ifndef TESTS_INTERPOSE_SECCOMP_H
#define TESTS_INTERPOSE_SECCOMP_H

#include "interpose/check.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define SECCOMP_ANSWER(error) (SECCOMP_RET_ERRNO | ((error)&SECCOMP_RET_DATA))

struct seccomp_rule {
	long number;
	uint32_t answer;
};

/* Calls that match no rule are allowed, or answered by `otherwise`. */
__attribute__((unused)) static void seccomp_install(const struct seccomp_rule *rules, size_t count,
                                                    uint32_t otherwise) {
	struct sock_filter code[2 * 96 + 2];
	size_t n = 0;
	REQUIRE(count <= 96);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < count; i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)rules[i].number, 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, rules[i].answer);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, otherwise);
	struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
	REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0) check_skip("no seccomp filters here");
}

#endif
