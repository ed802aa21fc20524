/* What every load shares: the clock, a random number generator, the measuring loop, and the result line.
 *
 * Each load is one C file that compiles alone (cc -O2 x.c -lpthread) and calls plain malloc and free, so that
 * LD_PRELOAD decides which allocator is measured. A result is one line on standard output:
 *     result NAME NS_PER_OP PEAK_KIB KEY=VALUE ...
 * perf/compare reads it. Keys that start with info_ are facts, the others are compared (lower is better).
 * Nothing here allocates: the line is formatted on the stack and written by write(2), /proc is read the same way,
 * so the harness part of a load costs an allocator neither time nor memory. */
#ifndef HYP_PERF_LOAD_H
#define HYP_PERF_LOAD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LOAD_KIB ((size_t)1024)
#define LOAD_MIB ((size_t)1024 * 1024)

/* The compiler must believe that the pointer is used and that memory may have changed: no call is elided. */
#define LOAD_KEEP(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

static inline uint64_t load_now_ns(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

/* CPU time of the whole process, every thread of an allocator's own included; who waits for a core pays nothing. */
static inline uint64_t load_cpu_ns(void) {
	struct timespec ts;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static inline void load_die(const char *what) {
	(void)!write(2, what, strlen(what));
	(void)!write(2, "\n", 1);
	_exit(3);
}

/* xorshift64* (Marsaglia 2003, Vigna 2014): one state word, never zero. */
static inline uint64_t load_random(uint64_t *state) {
	uint64_t x = *state;
	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545F4914F6CDD1DU;
}

static inline size_t load_random_below(uint64_t *state, size_t limit) {
	return (size_t)(load_random(state) >> 33) % limit;
}

/* Log-uniform between lo and hi bytes: as many blocks in each doubling, as real programs roughly have. */
static inline size_t load_random_log(uint64_t *state, size_t lo, size_t hi) {
	unsigned doublings = 0;
	while ((lo << (doublings + 1)) <= hi) {
		doublings++;
	}
	size_t base = lo << load_random_below(state, doublings ? doublings : 1);
	size_t size = base + load_random_below(state, base);
	return size > hi ? hi : size;
}

static inline void load_shuffle(uint32_t *order, size_t count, uint64_t *state) {
	for (size_t i = 0; i < count; i++) {
		order[i] = (uint32_t)i;
	}
	for (size_t i = count; i > 1; i--) {
		size_t j = load_random_below(state, i);
		uint32_t t = order[i - 1];
		order[i - 1] = order[j];
		order[j] = t;
	}
}

/* malloc that must succeed, and whose block is used: the first byte is written. */
static inline void *load_malloc(size_t size) {
	char *p = malloc(size);
	if (p == NULL) {
		load_die("load: out of memory");
	}
	*(volatile char *)p = 1;
	return p;
}

static inline void load_free(void *p) {
	LOAD_KEEP(p);
	free(p);
}

/* Memory of the harness itself, which must not pass through the allocator that is measured: mmap's pages are part of
 * every allocator's figure alike. */
static inline void *load_own_memory(size_t bytes) {
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		load_die("load: mmap failed");
	}
	return p;
}

/* A line of /proc/self/status in KiB ("VmRSS:", "VmHWM:"); -1 where there is none. */
static inline long load_vm_kib(const char *key) {
	char text[4096];
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return -1;
	}
	ssize_t got = read(fd, text, sizeof text - 1);
	close(fd);
	if (got <= 0) {
		return -1;
	}
	text[got] = 0;
	const char *at = strstr(text, key);
	return at == NULL ? -1 : strtol(at + strlen(key), NULL, 10);
}

static inline void load_sleep_us(long us) {
	struct timespec ts = {us / 1000000, (us % 1000000) * 1000};
	nanosleep(&ts, NULL);
}

/* The result line; more is printf-like "key=value key=value", or "". */
__attribute__((format(printf, 3, 4))) static inline void load_result(const char *name, double ns_per_op,
                                                                     const char *more, ...) {
	char extra[1024];
	char line[2048];
	long peak = load_vm_kib("VmHWM:");
	va_list list;
	va_start(list, more);
	vsnprintf(extra, sizeof extra, more, list);
	va_end(list);
	Dl_info whose = {0};
	void *symbol = dlsym(RTLD_DEFAULT, "malloc");
	const char *file = symbol != NULL && dladdr(symbol, &whose) != 0 && whose.dli_fname ? whose.dli_fname : "?";
	const char *slash = strrchr(file, '/');
	int n = snprintf(line, sizeof line, "result %s %.4g %ld %s info_malloc=%s\n", name, ns_per_op, peak, extra,
	                 slash ? slash + 1 : file);
	(void)!write(1, line, (size_t)n);
}

/* Nanoseconds an operation: body(context, rounds) does rounds x ops operations. It is called with more and more rounds
 * until one call takes chunk_ns, then 9 such chunks are timed and their median is taken, so that an interrupt or a
 * descheduling does not count. The clock is CPU time: these loads have one thread and never wait. The same warm-up runs
 * for every allocator. */
static inline double load_measure_for(uint64_t chunk_ns, void (*body)(void *, size_t), void *context, double ops) {
	enum { CHUNKS = 9 };
	size_t rounds = 1;
	for (;;) {
		uint64_t start = load_cpu_ns();
		body(context, rounds);
		uint64_t took = load_cpu_ns() - start;
		if (took >= chunk_ns) {
			break;
		}
		double want = took > 1000 ? 1.2 * (double)chunk_ns / (double)took : 100;
		rounds = (size_t)((double)rounds * (want > 100 ? 100 : want)) + 1;
	}
	double times[CHUNKS];
	for (int i = 0; i < CHUNKS; i++) {
		uint64_t start = load_cpu_ns();
		body(context, rounds);
		double time = (double)(load_cpu_ns() - start);
		int j = i;
		for (; j > 0 && times[j - 1] > time; j--) {
			times[j] = times[j - 1];
		}
		times[j] = time;
	}
	return times[CHUNKS / 2] / ((double)rounds * ops);
}

static inline double load_measure(void (*body)(void *, size_t), void *context, double ops) {
	return load_measure_for(10000000U, body, context, ops);
}

/* "64", "4K", "2M" to bytes. */
static inline size_t load_parse_size(const char *text) {
	char *end;
	size_t value = strtoul(text, &end, 10);
	if (*end == 'K') {
		value *= LOAD_KIB;
	} else if (*end == 'M') {
		value *= LOAD_MIB;
	}
	return value;
}

/* Starts count threads on body(arguments + i * stride), waits for all, returns the wall time in ns. */
static inline uint64_t load_threads(int count, void *(*body)(void *), void *arguments, size_t stride) {
	pthread_t threads[64];
	uint64_t start = load_now_ns();
	for (int i = 0; i < count; i++) {
		if (pthread_create(&threads[i], NULL, body, (char *)arguments + (size_t)i * stride) != 0) {
			load_die("load: pthread_create failed");
		}
	}
	for (int i = 0; i < count; i++) {
		pthread_join(threads[i], NULL);
	}
	return load_now_ns() - start;
}

#endif
