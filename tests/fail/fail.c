/*
 * tests/fail/fail.c: each call to the operating system fails in turn.
 *
 *   fail KIND            one kind of call (map, purge, unmap, ...), or "all" for whichever comes
 *
 * A stream of operations (tests/model/ops.h) runs again and again, each time in a fresh process whose first, then whose
 * second, third, ... call of the kind fails: once, three times, or from then on. It ends when a run needs no more
 * calls. In each: no crash, requests are refused with ENOMEM and leave their outputs and blocks as they were, the
 * engine's checker agrees after every operation; and when the failures are over, requests are served again, all that is
 * freed comes back, and no slice is left in use.
 */
#include "ops.h"

#include "heap/heap.h"
#include "os/fault.h"

#include "base/option.h"

#include <hypool/hypool.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_OPS = 400, PASSED = 0, WRONG = 1, NOTHING_FAILED = 2, MOST_TURNS = 5000 };

static const struct {
	const char *name;
	uint32_t mask;
} kinds[] = {
	{"map", 1u << HYPI_FAULT_MAP},
	{"purge", 1u << HYPI_FAULT_PURGE},
	{"unmap", 1u << HYPI_FAULT_UNMAP},
	{"guard", 1u << HYPI_FAULT_GUARD},
	{"all", UINT32_MAX},
};

static const struct {
	uint64_t seed;
	ops_profile profile;
	unsigned threads;
	size_t count;
} streams[] = {
	{1, OPS_SMALL, 1, 120}, {2, OPS_LARGE, 2, 150}, {3, OPS_MIXED, 4, 400},
	{4, OPS_EDGES, 3, 300}, {5, OPS_MIXED, 6, 400},
};

static op ops[MOST_OPS];
static uint64_t failed;

/* The failures are over: everything must work as if nothing had been. */
static const char *recover(void) {
	failed = hypi_fault_failed();
	hypi_fault_script(0, 0, 0, 0);
	static const size_t sizes[] = {16, 5000, 40000, 3 << 20, 20 << 20};
	for (size_t i = 0; i < HYP_ARRAY_LEN(sizes); i++) {
		char *p = hyp_malloc(sizes[i]);
		if (p == NULL) return "a request is refused after the failures were over";
		p[0] = p[sizes[i] - 1] = 1;
		hyp_free(p);
	}
	return NULL;
}

static int run_in_child(uint32_t mask, uint64_t skip, uint64_t times, size_t count) {
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		ops_rules rules = {.check_every = 1, .may_fail = true, .before_end = recover};
		hypi_fault_script(mask, skip, times, skip % 2 == 0 ? ENOMEM : EAGAIN);
		const char *wrong = ops_run(ops, count, &rules);
		if (wrong != NULL) printf("%s\n", wrong);
		exit(wrong != NULL ? WRONG : failed == 0 ? NOTHING_FAILED : PASSED);
	}
	int status;
	if (child < 0 || waitpid(child, &status, 0) != child) return WRONG;
	if (WIFSIGNALED(status)) printf("signal %d\n", WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : WRONG;
}

static bool run_kind(size_t kind) {
	uint64_t runs = 0;
	for (size_t s = 0; s < HYP_ARRAY_LEN(streams); s++) {
		ops_make(ops, streams[s].count, streams[s].seed, streams[s].profile, streams[s].threads);
		for (size_t i = 20; i < streams[s].count; i += 20) ops[i].kind = OP_TRIM; /* so that pages go back meanwhile */
		static const uint64_t times[] = {1, 3, UINT64_MAX};
		for (size_t t = 0; t < HYP_ARRAY_LEN(times); t++)
			for (uint64_t skip = 0;; skip++) {
				int verdict = run_in_child(kinds[kind].mask, skip, times[t], streams[s].count);
				if (verdict == NOTHING_FAILED) break;
				runs++;
				if (verdict == PASSED && skip < MOST_TURNS) continue;
				printf("kind %s, stream %zu, %llu calls pass and then %lld fail: status %d\n", kinds[kind].name, s,
				       (unsigned long long)skip, (long long)times[t], verdict);
				return false;
			}
	}
	printf("%s: %llu runs, in each of which a call failed\n", kinds[kind].name, (unsigned long long)runs);
	return runs > 0; /* a test in which nothing failed has tested nothing */
}

int main(int count, char **words) {
	if (hypi_option_set("arena", 5, "1M", 2, HYPI_FROM_API) != HYP_OK) return 2;
	for (size_t k = 0; count == 2 && k < HYP_ARRAY_LEN(kinds); k++)
		if (strcmp(words[1], kinds[k].name) == 0) return run_kind(k) ? EXIT_SUCCESS : EXIT_FAILURE;
	fputs("fail: one argument, the kind of call; see the head of fail.c\n", stderr);
	return 2;
}
