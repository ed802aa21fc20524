/*
 * perf/pool/defrag.c: what moving blocks by pointer wins a cache server, and what it costs.
 *
 * The load is that of a key-value store: values of 40 to 400 bytes, reached by one table of pointers, a million of
 * them; four of five expire at random. Then resident memory by the kernel, the same after trimming, and after each pass
 * over all pointers in batches of 4096 (hyp_defrag_move), with the time of the pass. Every value is checked at the end. The
 * same with 10 further rounds of churn, in which a fifth of the values is replaced, one pass a round.
 *
 * Writes CSV: row,resident_kib,live_kib,ratio,moved,ns_a_pointer.
 */
#include <hypool/cleanup.h>
#include <hypool/hypool.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { VALUES = 1000000, BATCH = 4096 };

static unsigned char *values[VALUES];
static unsigned short sizes[VALUES];
static uint64_t seed = 88172645463325252u;

static uint32_t next_random(void) {
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 32);
}

static uint64_t now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static size_t resident_kib(void) {
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	char line[256];
	size_t kib = 0;
	while (file != NULL && fgets(line, sizeof line, file) != NULL)
		if (sscanf(line, "Rss: %zu kB", &kib) == 1) break;
	if (file != NULL) fclose(file);
	return kib;
}

static void put(int i) {
	sizes[i] = (unsigned short)(40 + next_random() % 361);
	values[i] = hyp_malloc(sizes[i]);
	if (values[i] == NULL) abort();
	memset(values[i], i, sizes[i]);
}

static void expire(uint32_t of_100) {
	for (int i = 0; i < VALUES; i++)
		if (values[i] != NULL && next_random() % 100 < of_100) hyp_free(values[i]), values[i] = NULL;
}

static void tell(const char *row, size_t moved, double ns) {
	size_t live = 0;
	for (int i = 0; i < VALUES; i++) live += values[i] != NULL ? hyp_usable_size(values[i]) : 0;
	size_t base = sizeof values / 1024 + sizeof sizes / 1024, kib = resident_kib() - base;
	printf("%s,%zu,%zu,%.3f,%zu,%.1f\n", row, kib, live / 1024, (double)kib * 1024 / (double)live, moved, ns);
}

static void pass(const char *row) {
	size_t moved = 0;
	uint64_t start = now_ns();
	for (int from = 0; from < VALUES; from += BATCH) {
		size_t n = (size_t)(VALUES - from < BATCH ? VALUES - from : BATCH);
		void *now[BATCH];
		moved += hyp_defrag_move(NULL, (void *const *)&values[from], n, now);
		for (size_t i = 0; i < n; i++)
			if (now[i] != NULL) values[from + (int)i] = now[i];
	}
	double ns = (double)(now_ns() - start) / VALUES;
	hyp_trim(); /* the pages go back: else they do so with time */
	tell(row, moved, ns);
}

int main(void) {
	memset(values, 0, sizeof values);
	memset(sizes, 1, sizeof sizes);
	printf("row,resident_kib,live_kib,ratio,moved,ns_a_pointer\n");
	for (int i = 0; i < VALUES; i++) put(i);
	tell("full", 0, 0);
	expire(80);
	tell("four of five expired", 0, 0);
	hyp_trim();
	tell("trimmed", 0, 0);
	pass("first pass");
	pass("second pass");
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < VALUES; i++)
			if (values[i] == NULL && next_random() % 5 == 0) put(i);
		expire(30);
	}
	hyp_trim();
	tell("after ten rounds of churn", 0, 0);
	pass("third pass");
	uint64_t start = now_ns();
	size_t hints = 0;
	for (int i = 0; i < VALUES; i++) hints += values[i] != NULL && hyp_defrag_hint(values[i]);
	printf("a hint of each,,,,%zu,%.1f\n", hints, (double)(now_ns() - start) / VALUES);
	for (int i = 0; i < VALUES; i++)
		for (size_t k = 0; values[i] != NULL && k < sizes[i]; k++)
			if (values[i][k] != (unsigned char)i) return fprintf(stderr, "value %d was changed\n", i), 1;
	return 0;
}
