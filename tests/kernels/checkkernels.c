/*
 * tests/kernels/checkkernels.c: one program that proves every kernel set against the C reference, and times it.
 *
 *   checkkernels [--seed N] [--family NAME] [--set NAME]     check; exit 0 if all agree
 *   checkkernels --bench [FILTER] [--csv] [--set NAME]       time each kernel next to this machine's ceilings
 *   checkkernels --list                                      the sets, and whether they run here
 *
 * After checkasm of x264 and dav1d (VideoLAN). A run that compared nothing in a set fails.
 */
#include "check.h"

#include <inttypes.h>
#include <stdlib.h>

static const struct {
	const char *name;
	void (*check)(struct check_run *run);
} families[] = {
	{"cpu", check_cpu},   {"elementwise", check_elementwise}, {"reduce", check_reduce}, {"convert", check_convert},
	{"gemm", check_gemm}, {"ternary", check_ternary},         {"block", check_block},
};

/* What the first use of the process's table may take. */
uint32_t hypi_kernels_allowed(void) { return HYPI_MASK_ALL; }

/* What the dispatcher promises: masks narrow, missing rungs are not stepped over, the process table follows. */
void check_cpu(struct check_run *run) {
	static struct hypi_kernels k;
	uint32_t have = hypi_kernels_detect();
	for (uint32_t mask = 0; mask < 1u << HYPI_SET_COUNT; mask++) {
		hypi_kernels_fill(&k, mask);
		bool ok = (k.mask & ~(mask & have)) == 0;
		for (int s = 0; s < HYPI_SET_COUNT; s++)
			if (k.mask & hypi_kernel_sets[s].mask)
				ok = ok && (k.mask & hypi_kernel_sets[s].below) == hypi_kernel_sets[s].below;
		/* No pointer is left out. */
		for (size_t i = 0; i < sizeof(k.reduce) / sizeof(void *); i++)
			ok = ok && ((void *const *)(const void *)&k.reduce)[i] != NULL;
		for (size_t i = 0; i < sizeof(k.convert) / sizeof(void *); i++)
			ok = ok && ((void *const *)(const void *)&k.convert)[i] != NULL;
		for (size_t i = 0; i < sizeof(k.ternary) / sizeof(void *); i++)
			ok = ok && ((void *const *)(const void *)&k.ternary)[i] != NULL;
		check_result(run, ok, "mask %#" PRIx32 " gives %#" PRIx32, mask, k.mask);
	}
	/* A rung that was climbed changed what it is for. */
	hypi_kernels_fill(&k, HYPI_MASK_ALL);
	if (have != 0) {
#define CHANGED(family) \
	check_result(run, memcmp(&k.family, &run->ref->family, sizeof(k.family)) != 0, #family " has no vector kernel")
		CHANGED(elementwise);
		CHANGED(reduce);
		CHANGED(convert.f16_from_f32);
		CHANGED(convert.num);
		CHANGED(convert.transpose);
		CHANGED(gemm.f32);
		CHANGED(gemm.f64);
		CHANGED(ternary);
		CHANGED(block);
		CHANGED(probe);
#undef CHANGED
	}
	check_result(run, hypi_kernels()->mask == have, "first use gives all sets");
	check_result(run, hypi_kernels_init(0) == 0 && hypi_kernels()->mask == 0, "init(0) gives the reference");
	check_result(run, hypi_kernels_init(HYPI_MASK_ALL) == have, "init(all) gives all sets");
}

static int list_sets(void) {
	uint32_t have = hypi_kernels_detect();
	for (int s = 0; s < HYPI_SET_COUNT; s++)
		printf("%-12s %-28s %s\n", hypi_kernel_sets[s].name, hypi_kernel_sets[s].needs,
		       have & hypi_kernel_sets[s].mask ? "here" : "not here");
	return 0;
}

static int check_set(const char *name, uint32_t mask, const char *family) {
	static struct hypi_kernels reference, kernels;
	struct check_run run = {.set = name, .ref = &reference, .k = &kernels};
	hypi_kernels_fill(&reference, 0);
	hypi_kernels_fill(&kernels, mask);
	if (kernels.mask != mask) return printf("FAIL %s: the table has %#" PRIx32 "\n", name, kernels.mask), 1;
	uint64_t before = 0;
	for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
		if (family != NULL && strcmp(family, families[f].name) != 0) continue;
		before = run.compared;
		families[f].check(&run);
		printf("%-12s %-12s %9" PRIu64 " comparisons\n", name, families[f].name, run.compared - before);
		fflush(stdout);
		check_result(&run, run.compared > before, "%s compared nothing", families[f].name);
	}
	if (run.compared == 0) printf("FAIL %s: no family named %s\n", name, family);
	if (run.failed != 0) printf("FAIL %s: %" PRIu64 " of %" PRIu64 "\n", name, run.failed, run.compared);
	return run.failed != 0 || run.compared == 0;
}

int main(int argc, char **argv) {
	const char *family = NULL, *set = NULL, *filter = NULL;
	bool bench = false, csv = false;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--list") == 0) return list_sets();
		if (strcmp(argv[i], "--bench") == 0) {
			bench = true;
			if (i + 1 < argc && argv[i + 1][0] != '-') filter = argv[++i];
		} else if (strcmp(argv[i], "--csv") == 0) {
			csv = true;
		} else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
			check_rng = strtoull(argv[++i], NULL, 0) * 2 + 1;
		} else if (strcmp(argv[i], "--family") == 0 && i + 1 < argc) {
			family = argv[++i];
		} else if (strcmp(argv[i], "--set") == 0 && i + 1 < argc) {
			set = argv[++i];
		} else {
			fprintf(
				stderr,
				"usage: checkkernels [--list] [--bench [FILTER]] [--csv] [--seed N] [--family NAME] [--set NAME]\n");
			return 2;
		}
	}
	uint32_t have = hypi_kernels_detect();
	int failed = 0, ran = 0;
	if (!bench && (set == NULL || strcmp(set, "ref") == 0)) failed |= check_set("ref", 0, family), ran++;
	if (bench && set != NULL && strcmp(set, "ref") == 0) return bench_main(0, filter, csv);
	for (int s = 0; s < HYPI_SET_COUNT; s++) {
		if (set != NULL && strcmp(set, hypi_kernel_sets[s].name) != 0) continue;
		if ((have & hypi_kernel_sets[s].mask) == 0) {
			if (set != NULL) printf("checkkernels: this processor lacks %s\n", set);
			continue;
		}
		uint32_t mask = hypi_kernel_sets[s].mask | hypi_kernel_sets[s].below;
		if (bench && set != NULL) return bench_main(mask, filter, csv);
		if (!bench) failed |= check_set(hypi_kernel_sets[s].name, mask, family), ran++;
	}
	if (bench) return bench_main(have, filter, csv);
	if (ran == 0) return 2;
	printf("%s: %d sets\n", failed ? "FAILED" : "all agree", ran);
	return failed;
}
