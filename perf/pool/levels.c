/*
 * perf/pool/levels.c: what each tracking level of a pool costs, in time and in memory, against level none.
 *
 * Time: one pool whose level is switched at run time, under one load (a thousand blocks of up to 1 KiB, one replaced at
 * random an operation, and its first word written), so that all levels have the same memory. Rounds of a fraction of a
 * millisecond of processor time alternate over the levels, each after as much of the load again for the switch to be
 * heard of; told is the median over rounds of the ratio to the round of level none beside it, so that a machine that changes
 * speed changes both. Level none stands twice: its second row is the noise.
 *
 * Memory: a process of its own holds 64 MiB in blocks of 16 to 1024 bytes, in a pool at a level, and the kernel says what is
 * resident, and what of that is anonymous: the process's own, without the pages of libraries, which the page cache has
 * anyway and all processes share. It maps those 64 KiB at a time, so what one look at them costs depends on where the
 * libraries lie: every process is a program started anew, at addresses of its own, and told are the medians of 41.
 *
 * Writes CSV: level,ns,time_ratio,resident_bytes,resident_ratio,own_bytes,own_ratio.
 */
#include <hypool/pool.h>
#include <hypool/tracking.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LEVELS = 6, ROUNDS = 2001, OPERATIONS = 4000, BLOCKS = 1000, PROCESSES = 41 };

static const char *const names[LEVELS] = {"none", "none again", "basic", "standard", "detailed", "debug"};
static const hyp_tracking_level levels[LEVELS] = {HYP_TRACKING_NONE,     HYP_TRACKING_NONE,     HYP_TRACKING_BASIC,
                                                  HYP_TRACKING_STANDARD, HYP_TRACKING_DETAILED, HYP_TRACKING_DEBUG};

typedef struct load {
	hyp_pool *pool;
	void *blocks[BLOCKS];
	uint64_t seed;
} load;

static load one = {.seed = 88172645463325252u};
static double ns[LEVELS][ROUNDS], ratio[LEVELS][ROUNDS];

static uint32_t next_random(uint64_t *state) {
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)(*state >> 32);
}

static uint64_t now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static hyp_pool *pool_at(hyp_tracking_level level) {
	hyp_pool_config config;
	hyp_pool *pool;
	hyp_pool_config_init(&config);
	config.initial_small_bytes = config.initial_large_bytes = 0;
	config.enable_tracking = true;
	config.tracking.level = level;
	config.tracking.report_fd = -1;
	if (hyp_pool_create(&config, &pool) != HYP_OK) abort();
	return pool;
}

static void work(load *l, int operations) {
	for (int i = 0; i < operations; i++) {
		uint32_t r = next_random(&l->seed);
		void **place = &l->blocks[r % BLOCKS];
		if (*place != NULL) hyp_pool_free(l->pool, *place);
		*place = hyp_pool_malloc(l->pool, 16 + (r >> 12) % 1008);
		if (*place == NULL) abort();
		*(uint32_t *)*place = r;
	}
}

static int by_value(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *values, int count) {
	qsort(values, (size_t)count, sizeof *values, by_value);
	return values[count / 2];
}

typedef struct memory {
	double resident, own;
} memory;

static memory memory_now(void) {
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	char line[256];
	memory now = {0};
	double kb;
	while (file != NULL && fgets(line, sizeof line, file) != NULL) {
		if (sscanf(line, "Rss: %lf kB", &kb) == 1) now.resident = kb * 1024;
		if (sscanf(line, "Anonymous: %lf kB", &kb) == 1) now.own = kb * 1024;
	}
	if (file != NULL) fclose(file);
	return now;
}

/* In a process of its own: fills a pool, and says what that takes. */
static int hold(hyp_tracking_level level) {
	hyp_pool *pool = pool_at(level);
	uint64_t seed = 7;
	for (size_t held = 0; held < (size_t)64 << 20;) {
		size_t size = 16 + next_random(&seed) % 1008;
		void *p = hyp_pool_malloc(pool, size);
		if (p == NULL) abort();
		memset(p, 1, size);
		held += size;
	}
	memory now = memory_now();
	return write(STDOUT_FILENO, &now, sizeof now) == (ssize_t)sizeof now ? 0 : 1;
}

static memory memory_of(hyp_tracking_level level) {
	int fds[2];
	char number[8];
	memory bytes = {0};
	snprintf(number, sizeof number, "%d", (int)level);
	if (pipe(fds) != 0) return bytes;
	pid_t child = fork();
	if (child == 0) {
		dup2(fds[1], STDOUT_FILENO);
		close(fds[0]);
		close(fds[1]);
		execl("/proc/self/exe", "bench-levels", "hold", number, (char *)NULL);
		_exit(1);
	}
	close(fds[1]);
	if (read(fds[0], &bytes, sizeof bytes) != (ssize_t)sizeof bytes) abort();
	close(fds[0]);
	waitpid(child, NULL, 0);
	return bytes;
}

int main(int argc, char **argv) {
	if (argc == 3 && strcmp(argv[1], "hold") == 0) return hold((hyp_tracking_level)atoi(argv[2]));
	if (argc == 3) { /* for callgrind: one level, so many operations */
		one.pool = pool_at(levels[atoi(argv[1])]);
		work(&one, atoi(argv[2]));
		return 0;
	}
	memory held[LEVELS];
	for (int i = 0; i < LEVELS; i++) {
		double all[PROCESSES], own[PROCESSES];
		for (int k = 0; k < PROCESSES; k++) {
			memory each = memory_of(levels[i]);
			all[k] = each.resident;
			own[k] = each.own;
		}
		held[i] = (memory){median(all, PROCESSES), median(own, PROCESSES)};
	}
	one.pool = pool_at(HYP_TRACKING_NONE);
	work(&one, 100 * OPERATIONS);
	for (int round = 0; round < ROUNDS; round++)
		for (int k = 0; k < LEVELS; k++) {
			int i = (k + round) % LEVELS; /* nobody is always first */
			if (hyp_tracking_set_pool_level(one.pool, levels[i]) != HYP_OK) abort();
			work(&one, OPERATIONS);
			uint64_t start = now_ns();
			work(&one, OPERATIONS);
			ns[i][round] = (double)(now_ns() - start) / OPERATIONS;
		}
	for (int i = 0; i < LEVELS; i++)
		for (int round = 0; round < ROUNDS; round++) ratio[i][round] = ns[i][round] / ns[0][round];
	printf("level,ns,time_ratio,resident_bytes,resident_ratio,own_bytes,own_ratio\n");
	for (int i = 0; i < LEVELS; i++)
		printf("%s,%.2f,%.4f,%.0f,%.4f,%.0f,%.4f\n", names[i], median(ns[i], ROUNDS), median(ratio[i], ROUNDS),
		       held[i].resident, held[i].resident / held[0].resident, held[i].own, held[i].own / held[0].own);
	return 0;
}
