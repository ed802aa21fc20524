/*
 * Pressure from every source that a test can drive: a FIFO, a folder that stands for /proc and /sys/fs/cgroup (version 2
 * with ancestors and events, version 1), and the caller's own limit. Hysteresis, escalations that are over before the
 * poll, callbacks that allocate, refusals.
 */
#include "tracking/check.h"

#include <hypool/hypool.h>
#include <hypool/tracking.h>

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char root[] = "/tmp/hypool-pressure-XXXXXX";

__attribute__((format(printf, 2, 3))) static void put(const char *name, const char *format, ...) {
	char path[256];
	snprintf(path, sizeof path, "%s/%s", root, name);
	for (char *at = path + 1; (at = strchr(at, '/')) != NULL; at++) {
		*at = '\0';
		mkdir(path, 0700);
		*at = '/';
	}
	FILE *file = fopen(path, "w");
	CHECK(file != NULL, "%s", path);
	va_list args;
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	fclose(file);
}

static void nap(long ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL); }

static hyp_pressure_level heard[64];
static hyp_pressure_source sources[64];
static unsigned calls;

static void on_change(void *context, hyp_pressure_level level, hyp_pressure_source source) {
	CHECK(context == &calls && calls < 64, "call %u", calls);
	heard[calls] = level;
	sources[calls++] = source;
	hyp_free(hyp_malloc(5000)); /* it may */
}

static hyp_pressure *open_with(hyp_pressure_config config) {
	hyp_pressure *p = NULL;
	config.struct_bytes = sizeof config;
	config.root = root;
	if (config.watch == NULL) config.watch = "";
	CHECK(hyp_pressure_open(&config, &p) == HYP_OK, "open");
	hyp_pressure_on_change(p, on_change, &calls);
	calls = 0;
	return p;
}

static void fifo(void) {
	char path[256];
	snprintf(path, sizeof path, "%s/fifo", root);
	CHECK(mkfifo(path, 0600) == 0, "mkfifo");
	hyp_pressure *p = open_with((hyp_pressure_config){.watch = path, .hold_ms = 150});
	struct pollfd wait = {.fd = hyp_pressure_fd(p), .events = POLLIN};
	CHECK(poll(&wait, 1, 0) == 0 && hyp_pressure_poll(p) == HYP_PRESSURE_NONE && calls == 0, "quiet at first");
	int fd = open(path, O_WRONLY | O_NONBLOCK);
	for (int round = 0; round < 3; round++) {
		CHECK(write(fd, "pressure\n", 9) == 9, "write");
		CHECK(poll(&wait, 1, 1000) == 1, "the descriptor says so");
		CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_HIGH, "round %d", round);
		CHECK(poll(&wait, 1, 0) == 0, "it was drained");
		CHECK(calls == 1 + 2u * (unsigned)round && heard[calls - 1] == HYP_PRESSURE_HIGH &&
		          sources[calls - 1] == HYP_PRESSURE_FROM_WATCH,
		      "told once: %u", calls);
		CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_HIGH, "it holds");
		nap(200);
		CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_NONE && heard[calls - 1] == HYP_PRESSURE_NONE, "it ends");
	}
	/* The writer is gone, and another comes. */
	close(fd);
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_NONE, "no writer");
	fd = open(path, O_WRONLY | O_NONBLOCK);
	CHECK(write(fd, "x", 1) == 1 && hyp_pressure_poll(p) == HYP_PRESSURE_HIGH, "another writer");
	close(fd);
	hyp_pressure_close(p);
}

static void group_use(void) {
	put("proc/self/cgroup", "0::/parent/child\n");
	put("sys/fs/cgroup/parent/child/memory.max", "max\n");
	put("sys/fs/cgroup/parent/child/memory.current", "%llu\n", 10ull << 20);
	put("sys/fs/cgroup/parent/memory.max", "%llu\n", 1000ull << 20);
	hyp_pressure *p = open_with((hyp_pressure_config){0});
	static const struct {
		unsigned use; /* MiB of 1000: the parent's limit counts */
		hyp_pressure_level level;
	} steps[] = {{100, HYP_PRESSURE_NONE},     {695, HYP_PRESSURE_NONE}, {705, HYP_PRESSURE_LOW},
	             {690, HYP_PRESSURE_LOW},      {660, HYP_PRESSURE_NONE}, {960, HYP_PRESSURE_CRITICAL},
	             {930, HYP_PRESSURE_CRITICAL}, {915, HYP_PRESSURE_HIGH}, {810, HYP_PRESSURE_MEDIUM},
	             {775, HYP_PRESSURE_MEDIUM},   {765, HYP_PRESSURE_LOW},  {0, HYP_PRESSURE_NONE}};
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		put("sys/fs/cgroup/parent/memory.current", "%llu\n", (unsigned long long)steps[i].use << 20);
		hyp_pressure_level level = hyp_pressure_poll(p);
		CHECK(level == steps[i].level, "step %zu: %u MiB gave %d", i, steps[i].use, (int)level);
	}
	for (unsigned i = 1; i < calls; i++) CHECK(heard[i] != heard[i - 1], "told twice");
	CHECK(calls == 7, "%u calls", calls);
	hyp_pressure_close(p);
}

static void group_events(void) {
	const char *events = "sys/fs/cgroup/parent/child/memory.events";
	put(events, "low 0\nhigh 5\nmax 2\noom 0\noom_kill 0\n");
	hyp_pressure *p = open_with((hyp_pressure_config){.hold_ms = 150});
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_NONE, "what was before does not count");
	put(events, "low 0\nhigh 6\nmax 2\noom 0\noom_kill 0\n");
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_HIGH && sources[0] == HYP_PRESSURE_FROM_EVENTS, "high rose");
	put(events, "low 0\nhigh 6\nmax 3\noom 0\noom_kill 0\n");
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_CRITICAL, "max rose");
	put(events, "low 0\nhigh 7\nmax 3\noom 0\noom_kill 0\n");
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_CRITICAL, "a lesser word does not lower it");
	nap(200);
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_NONE && calls == 3, "over: %u", calls);
	hyp_pressure_close(p);
}

static void version1(void) {
	put("proc/self/cgroup", "5:cpu:/a\n4:memory,hugetlb:/a/b\n0::/x\n");
	put("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
	put("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "%llu\n", 100ull << 20);
	put("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "%llu\n", 91ull << 20);
	hyp_pressure *p = open_with((hyp_pressure_config){0});
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_HIGH, "version 1");
	hyp_pressure_close(p);
}

static void own_limit(void) {
	put("proc/self/cgroup", "0::/nothing\n");
	hyp_pressure *p = open_with((hyp_pressure_config){.limit_bytes = 256 << 20});
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_NONE, "little in use");
	void *block = hyp_malloc(215 << 20);
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_MEDIUM && sources[0] == HYP_PRESSURE_FROM_USAGE, "215 of 256 MiB");
	hyp_free(block);
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_NONE, "freed");
	hyp_pressure_close(p);
}

static void refusals(void) {
	hyp_pressure *p = NULL;
	hyp_pressure_config config = {.struct_bytes = sizeof config, .thresholds = {700, 600, 900, 950}};
	CHECK(hyp_pressure_open(&config, &p) == HYP_ERR_INVALID && p == NULL, "falling thresholds");
	config = (hyp_pressure_config){.struct_bytes = sizeof config, .watch = "/nowhere/at/all", .root = "/nowhere"};
	CHECK(hyp_pressure_open(&config, &p) == HYP_OK && hyp_pressure_poll(p) == HYP_PRESSURE_NONE, "no source at all");
	hyp_pressure_close(p);
	hyp_pressure_close(NULL);
	CHECK(hyp_pressure_open(NULL, &p) == HYP_OK, "this machine's own");
	hyp_pressure_poll(p);
	hyp_pressure_close(p);
}

int main(void) {
	CHECK(mkdtemp(root) != NULL, "mkdtemp");
	fifo();
	group_use();
	group_events();
	version1();
	own_limit();
	refusals();
	char command[64];
	snprintf(command, sizeof command, "rm -r %s", root);
	CHECK(system(command) == 0, "%s", command);
	puts("pressure");
	return 0;
}
