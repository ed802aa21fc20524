/*
 * check.h: what every preloaded test program shares.
 *
 * Owns: the failure counter of one program, the proof that the library under test really serves malloc, and
 * readings of the process taken from /proc without allocating.
 *
 * A program is one subject. It prints one line for every broken expectation and exits 1, or exits 0. Exit status 77
 * says "cannot be tried here" and names the reason. HYPOOL_TEST_LIB, set by run.py, names the library under test: a
 * program that finds another malloc fails before main, so that a test which forgot the preload cannot pass.
 *
 * Called by: tests/interpose and tests/stress (preloaded). Not thread-safe except where said.
 */
#ifndef TESTS_INTERPOSE_CHECK_H
#define TESTS_INTERPOSE_CHECK_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CHECK_SKIP = 77 };
#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * 1024)
#define GIB ((size_t)1024 * 1024 * 1024)

/* Any thread may report; relaxed is enough, the value is read after the threads are joined. */
static _Atomic int check_failures;

/* Writes by one write(2) and never allocates: usable when the heap is what is broken. */
__attribute__((format(printf, 4, 5), unused)) static void check_report(const char *file, int line,
                                                                       const char *condition, const char *format, ...) {
	char text[512];
	int n = snprintf(text, sizeof text, "%s:%d: %.200s:", file, line, condition);
	va_list args;
	va_start(args, format);
	int m = vsnprintf(text + n, sizeof text - (size_t)n - 1, format, args);
	va_end(args);
	size_t length = (size_t)n + (m > 0 ? (size_t)m : 0);
	if (length > sizeof text - 2) length = sizeof text - 2;
	text[length++] = '\n';
	if (write(2, text, length) < 0) _exit(3);
	if (atomic_fetch_add_explicit(&check_failures, 1, memory_order_relaxed) > 50) _exit(1);
}

#define CHECK(condition, ...) \
	do { \
		if (!(condition)) check_report(__FILE__, __LINE__, #condition, " " __VA_ARGS__); \
	} while (0)

/* For what the rest of the program cannot go on without. */
#define REQUIRE(condition, ...) \
	do { \
		if (!(condition)) { \
			check_report(__FILE__, __LINE__, #condition, " " __VA_ARGS__); \
			_exit(1); \
		} \
	} while (0)

__attribute__((unused)) static int check_end(void) { return atomic_load(&check_failures) != 0; }

__attribute__((unused, noreturn)) static void check_skip(const char *why) {
	printf("skipped: %s\n", why);
	fflush(stdout);
	_exit(CHECK_SKIP);
}

/* Hides a pointer or a size from the optimiser, which may otherwise remove a malloc and free pair as dead. */
__attribute__((unused)) static inline void *opaque(void *p) {
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}
__attribute__((unused)) static inline size_t opaque_size(size_t n) {
	__asm__ volatile("" : "+r"(n));
	return n;
}

/* True when the symbol that the program would call lives in the library under test. */
__attribute__((unused)) static bool check_symbol_is_ours(const char *name) {
	const char *want = getenv("HYPOOL_TEST_LIB");
	void *symbol = dlsym(RTLD_DEFAULT, name);
	Dl_info info;
	struct stat a, b;
	if (!want || !*want) return symbol != NULL;
	if (!symbol || !dladdr(symbol, &info)) return false;
	return stat(want, &a) == 0 && stat(info.dli_fname, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

#ifndef CHECK_NO_PRELOAD
__attribute__((constructor)) static void check_the_library_is_there(void) {
	REQUIRE(check_symbol_is_ours("malloc"), "malloc is not the library's under test");
}
#endif

/* Resident bytes of this process, as the kernel counts them now (not the lagging counter of statm). */
__attribute__((unused)) static size_t check_rss_bytes(void) {
	static char text[4096];
	int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
	REQUIRE(fd >= 0, "smaps_rollup");
	size_t length = 0;
	for (ssize_t n; (n = read(fd, text + length, sizeof text - 1 - length)) > 0;) length += (size_t)n;
	close(fd);
	text[length] = 0;
	const char *line = strstr(text, "\nRss:");
	REQUIRE(line, "smaps_rollup has no Rss line");
	return (size_t)strtoull(line + 5, NULL, 10) * KIB;
}

/* Mappings of this process: lines of /proc/self/maps. */
__attribute__((unused)) static size_t check_mappings(void) {
	static char text[65536];
	size_t lines = 0;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	REQUIRE(fd >= 0, "maps");
	for (ssize_t n; (n = read(fd, text, sizeof text)) > 0;)
		for (ssize_t i = 0; i < n; i++) lines += text[i] == '\n';
	close(fd);
	return lines;
}

__attribute__((unused)) static uint64_t check_now_ns(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Marsaglia's xorshift64* (2003): a seed reproduces a run. */
__attribute__((unused)) static uint64_t check_random(uint64_t *state) {
	uint64_t x = *state;
	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * UINT64_C(2685821657736338717);
}

#endif
