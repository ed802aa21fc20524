/*
 * Moving blocks by pointer: a table of values, most of which expire, so that the rest hold far more memory than they need.
 * The program asks which of them are worth moving, lets a batch be moved, and mends its table.
 */
#include <hypool/cleanup.h>
#include <hypool/hypool.h>
#include <hypool/stats.h>

#include <stdio.h>
#include <string.h>

enum { VALUES = 100000, BATCH = 4000 };

static char *values[VALUES];

static unsigned long long span_kib(void) {
	hyp_stats stats = {.struct_bytes = sizeof stats};
	return hyp_trim(), hyp_stats_get(&stats) == HYP_OK ? (unsigned long long)stats.small_span_bytes / 1024 : 0;
}

int main(void) {
	for (int i = 0; i < VALUES; i++) {
		values[i] = hyp_malloc((size_t)(50 + i % 200));
		if (values[i] == NULL) return 1;
		snprintf(values[i], 50, "value %d", i);
	}
	for (int i = 0; i < VALUES; i++)
		if (i % 10 != 0) hyp_free(values[i]), values[i] = NULL;
	unsigned long long before = span_kib();
	int hints = 0;
	for (int i = 0; i < VALUES; i += 10) hints += hyp_defrag_hint(values[i]);

	size_t moved = 0;
	for (int from = 0; from < VALUES; from += BATCH) {
		void *old[BATCH], *now[BATCH];
		for (int i = 0; i < BATCH; i++) old[i] = values[from + i];
		moved += hyp_defrag_move(NULL, old, BATCH, now);
		for (int i = 0; i < BATCH; i++)
			if (now[i] != NULL) values[from + i] = now[i]; /* all that points to it */
	}
	unsigned long long after = span_kib();
	printf("%d of %d are worth it; %zu moved, %llu KiB before, %llu KiB after\n", hints, VALUES / 10, moved, before,
	       after);

	for (int i = 0; i < VALUES; i += 10) {
		char text[50];
		snprintf(text, sizeof text, "value %d", i);
		if (strcmp(values[i], text) != 0) return 1;
		hyp_free(values[i]);
	}
	puts(after * 3 < before ? "less than a third is left" : "little was won");
	return 0;
}
