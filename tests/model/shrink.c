/* tests/model/shrink.c: streams in processes of their own, and how a failing one is made short; see ops.h. */
#include "ops.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECONDS = 300, SHRINK_SECONDS = 20, SHRINK_TRIES = 3000 };

static bool passes(const op *ops, size_t count, const ops_rules *rules, unsigned seconds, char *ret_why) {
	int ends[2], status;
	if (pipe(ends) != 0) return false;
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		dup2(ends[1], 2);
		close(ends[0]);
		close(ends[1]);
		alarm(seconds);
		const char *wrong = ops_run(ops, count, rules);
		if (wrong != NULL) fprintf(stderr, "%s\n", wrong);
		exit(wrong == NULL ? 0 : 1);
	}
	close(ends[1]);
	/* All of it is read, so that the child never waits; the last part is kept, where a sanitizer sums up. */
	size_t used = 0;
	char more[4096];
	ssize_t n;
	while ((n = read(ends[0], more, sizeof more)) > 0) {
		if (ret_why == NULL) continue;
		size_t keep = (size_t)n < 400 - used ? (size_t)n : 400 - used;
		memcpy(ret_why + used, more, keep);
		used += keep;
	}
	close(ends[0]);
	if (waitpid(child, &status, 0) != child) return false;
	if (ret_why != NULL)
		snprintf(ret_why + used, 512 - used, "[%s %d]", WIFSIGNALED(status) ? "signal" : "status",
		         WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool ops_passes(const op *ops, size_t count, const ops_rules *rules, char *ret_why) {
	return passes(ops, count, rules, SECONDS, ret_why);
}

static op *candidate;
static unsigned tries;

static bool still_fails(size_t count, const ops_rules *rules) {
	return tries++ < SHRINK_TRIES && !passes(candidate, count, rules, SHRINK_SECONDS, NULL);
}

/* Without `part` operations from `at` on. */
static size_t cut(const op *ops, size_t count, size_t at, size_t part) {
	if (part > count - at) part = count - at;
	memcpy(candidate, ops, at * sizeof *ops);
	memcpy(candidate + at, ops + at + part, (count - at - part) * sizeof *ops);
	return count - part;
}

static size_t drop_parts(op *ops, size_t count, const ops_rules *rules) {
	for (size_t part = (count + 1) / 2; part > 0; part /= 2)
		for (size_t at = count; at > 0;) {
			at = at > part ? at - part : 0; /* from the end: what follows the failure goes at once */
			if (at >= count) continue;
			size_t left = cut(ops, count, at, part);
			if (left < count && still_fails(left, rules)) {
				memcpy(ops, candidate, left * sizeof *ops);
				count = left;
			}
		}
	return count;
}

static void simplify(op *ops, size_t count, const ops_rules *rules) {
	for (size_t i = 0; i < count; i++)
		for (int what = 0; what < 3; what++) {
			memcpy(candidate, ops, count * sizeof *ops);
			op *o = &candidate[i];
			if (what == 0) o->thread = 0;
			if (what == 1) o->align_log2 = 0;
			if (what == 2) o->size = o->size > 16 ? 16 : o->size;
			if (memcmp(o, &ops[i], sizeof *o) != 0 && still_fails(count, rules)) ops[i] = *o;
		}
}

size_t ops_shrink(op *ops, size_t count, const ops_rules *rules) {
	candidate = calloc(count + 1, sizeof *candidate);
	if (candidate == NULL) return count;
	tries = 0;
	for (size_t before = count + 1; count < before;) {
		before = count;
		count = drop_parts(ops, count, rules);
	}
	simplify(ops, count, rules);
	free(candidate);
	return count;
}
