/*
 * tests/model/model.c: runs many streams, each in a process of its own; a failing one is shrunk and printed.
 *
 *   model [--streams N] [--ops N] [--threads N] [--profile NAME] [--check-every N] [--seed N] [--arena BYTES]
 *   model --replay FILE [--check-every N]
 *   model --plant           damages a block and demands to be found out, and to come down to a few operations
 */
#include "ops.h"

#include "base/option.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
	uint64_t seed, streams, ops, threads, check_every, arena;
	const char *replay;
	int profile; /* -1: all in turn */
	bool plant;
} arguments = {.seed = 1, .streams = 20, .ops = 20000, .threads = 4, .check_every = 1, .arena = 1 << 20, .profile = -1};

static bool read_number(const char *text, uint64_t *ret_number) {
	char *end;
	*ret_number = strtoull(text, &end, 0);
	return *text != '\0' && *end == '\0';
}

static bool read_profile(const char *text) {
	for (int i = 0; i < OPS_PROFILES; i++)
		if (strcmp(text, ops_profile_names[i]) == 0) return arguments.profile = i, true;
	return false;
}

static bool read_arguments(int count, char **words) {
	for (int i = 1; i < count; i++) {
		const char *word = words[i], *value = i + 1 < count ? words[i + 1] : "";
		bool good = true;
		if (strcmp(word, "--plant") == 0) {
			arguments.plant = true;
			continue;
		}
		i++;
		if (strcmp(word, "--seed") == 0) good = read_number(value, &arguments.seed);
		else if (strcmp(word, "--streams") == 0) good = read_number(value, &arguments.streams);
		else if (strcmp(word, "--ops") == 0) good = read_number(value, &arguments.ops);
		else if (strcmp(word, "--threads") == 0) good = read_number(value, &arguments.threads);
		else if (strcmp(word, "--check-every") == 0) good = read_number(value, &arguments.check_every);
		else if (strcmp(word, "--arena") == 0) good = read_number(value, &arguments.arena);
		else if (strcmp(word, "--profile") == 0) good = read_profile(value);
		else if (strcmp(word, "--replay") == 0) arguments.replay = value;
		else good = false;
		if (!good) return false;
	}
	return arguments.threads >= 1 && arguments.threads <= OPS_THREADS && arguments.ops > 0;
}

static int shrink_and_show(op *ops, size_t count, const ops_rules *rules, const char *why) {
	printf("%s\nshrinking %zu operations ...\n", why, count);
	count = ops_shrink(ops, count, rules);
	char last[512] = "";
	bool passes = ops_passes(ops, count, rules, last);
	printf("# %zu operations are left%s; run them with --replay FILE --check-every %zu --arena %" PRIu64 "\n# %s\n",
	       count, passes ? " (and pass alone: timing decides)" : "", rules->check_every, arguments.arena, last);
	ops_write(ops, count);
	return EXIT_FAILURE;
}

static int run_planted(op *ops, const ops_rules *rules) {
	char why[512] = "";
	ops_make(ops, arguments.ops, arguments.seed, OPS_MIXED, (unsigned)arguments.threads);
	if (ops_passes(ops, arguments.ops, rules, why)) return puts("the planted fault was not found"), EXIT_FAILURE;
	size_t count = ops_shrink(ops, arguments.ops, rules);
	printf("found: %s\nshrunk to %zu of %" PRIu64 " operations:\n", why, count, arguments.ops);
	ops_write(ops, count);
	return count <= 3 && !ops_passes(ops, count, rules, why) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run_streams(op *ops, const ops_rules *rules) {
	char why[512] = "";
	uint64_t total = 0;
	for (uint64_t i = 0; i < arguments.streams; i++) {
		ops_profile profile = arguments.profile >= 0 ? (ops_profile)arguments.profile : (ops_profile)(i % OPS_PROFILES);
		unsigned threads = i % 4 == 3 ? 1 : (unsigned)arguments.threads;
		/* Large blocks cost page faults, which are not what is tested. */
		size_t count = profile == OPS_LARGE ? arguments.ops / 5 + 1 : arguments.ops;
		ops_make(ops, count, arguments.seed + i, profile, threads);
		total += count;
		if (ops_passes(ops, count, rules, why)) continue;
		printf("seed %" PRIu64 ", profile %s, %u threads: ", arguments.seed + i, ops_profile_names[profile], threads);
		return shrink_and_show(ops, count, rules, why);
	}
	printf("%" PRIu64 " streams, %" PRIu64 " operations\n", arguments.streams, total);
	return arguments.streams > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int count, char **words) {
	if (!read_arguments(count, words)) return fputs("model: bad arguments; see the head of model.c\n", stderr), 2;
	/* Small arenas: more of them, and every kind of block at sizes that cost little. */
	char text[32];
	int bytes = snprintf(text, sizeof text, "%" PRIu64, arguments.arena);
	if (hypi_option_set("arena", 5, text, (size_t)bytes, HYPI_FROM_API) != HYP_OK) return 2;
	ops_rules rules = {.check_every = (size_t)arguments.check_every, .plant = arguments.plant};
	op *ops = calloc(arguments.ops < 1 << 20 ? 1 << 20 : arguments.ops, sizeof *ops);
	if (ops == NULL) return 2;
	int result;
	if (arguments.replay != NULL) {
		size_t read = ops_read(arguments.replay, ops, 1 << 20);
		if (read == SIZE_MAX) return fprintf(stderr, "model: cannot read %s\n", arguments.replay), 2;
		const char *wrong = ops_run(ops, read, &rules);
		puts(wrong == NULL ? "passes" : wrong);
		result = wrong == NULL ? EXIT_SUCCESS : EXIT_FAILURE;
	} else {
		result = arguments.plant ? run_planted(ops, &rules) : run_streams(ops, &rules);
	}
	free(ops);
	return result;
}
