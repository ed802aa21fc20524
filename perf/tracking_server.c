/*
 * perf/tracking_server.c: the server load of perf/loads/server.c on one thread, for perf/tracking.py: what the tracking
 * levels of the process cost in time, and, with more sets, in memory.
 *
 *   tracking_server time CHUNKS     so many chunks of 100,000 replacements in a set of 1000 blocks, each timed in
 *                                   processor time of the thread. Prints "ns" and the median chunk's nanoseconds a
 *                                   replacement: what interrupts and other programs add to a few chunks is left out.
 *   tracking_server hold SETS       holds so many sets of 1000 blocks, replaces a million blocks at random, and prints
 *                                   "peak" and the peak of resident KiB, "private" and the private KiB at the end.
 *
 * Runs with the preload library. Blocks are as there: 31 of 32 are 16 to 1024 B log-uniform, one is 1 to 16 KiB.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SET = 1000, PLAN = 1 << 14, MOST_CHUNKS = 10000, CHUNK = 100000 };

static uint32_t plan_slot[PLAN], plan_size[PLAN];
static double took_ns[MOST_CHUNKS];
static uint64_t state = 88172645463325252u;

static double draw(void) {
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (double)(state >> 11) * 0x1p-53;
}

static uint64_t now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void **fill(size_t blocks) {
	void **set = calloc(blocks, sizeof *set);
	if (set == NULL) abort();
	for (size_t i = 0; i < blocks; i++) {
		uint32_t size = plan_size[i % PLAN];
		set[i] = malloc(size);
		if (set[i] == NULL) abort();
		memset(set[i], 1, size);
	}
	return set;
}

static __attribute__((noinline)) void replace(void **set, int operations) {
	static size_t at;
	for (int i = 0; i < operations; i++) {
		at = (at + 1) & (PLAN - 1);
		void **slot = &set[plan_slot[at]];
		free(*slot);
		*slot = malloc(plan_size[at]);
		if (*slot == NULL) abort();
		*(char *)*slot = 1;
	}
}

static int by_value(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static int time_chunks(int chunks) {
	if (chunks > MOST_CHUNKS) return 2;
	void **set = fill(SET);
	replace(set, 5 * CHUNK);
	for (int i = 0; i < chunks; i++) {
		uint64_t start = now_ns();
		replace(set, CHUNK);
		took_ns[i] = (double)(now_ns() - start) / CHUNK;
	}
	qsort(took_ns, (size_t)chunks, sizeof took_ns[0], by_value);
	printf("ns %.4f\n", took_ns[chunks / 2]);
	return 0;
}

static long field(const char *file, const char *name) {
	char line[256];
	long sum = 0;
	FILE *from = fopen(file, "r");
	while (from != NULL && fgets(line, sizeof line, from) != NULL)
		if (strncmp(line, name, strlen(name)) == 0) sum += strtol(line + strlen(name), NULL, 10);
	if (from != NULL) fclose(from);
	return sum;
}

static int hold(int sets) {
	void **all = fill((size_t)sets * SET);
	for (int i = 0; i < 1000; i++) replace(all + (size_t)(draw() * sets) * SET, 1000);
	printf("peak %ld\n", field("/proc/self/status", "VmHWM:"));
	printf("private %ld\n", field("/proc/self/smaps_rollup", "Private_Dirty:"));
	return 0;
}

int main(int argc, char **argv) {
	for (int i = 0; i < PLAN; i++) {
		plan_slot[i] = (uint32_t)(draw() * SET);
		plan_size[i] = (uint32_t)(draw() < 1.0 / 32 ? 1024 * pow(16, draw()) : 16 * pow(64, draw()));
	}
	int number = argc == 3 ? atoi(argv[2]) : 0;
	if (number > 0 && strcmp(argv[1], "time") == 0) return time_chunks(number);
	if (number > 0 && strcmp(argv[1], "hold") == 0) return hold(number);
	fprintf(stderr, "usage: tracking_server time CHUNKS | hold SETS\n");
	return 2;
}
