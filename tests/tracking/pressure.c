/*
 * Pressure from every source that a test can drive: a FIFO, a folder that stands for /proc and /sys/fs/cgroup (version 2
 * with ancestors and events, version 1), and the caller's own limit. Hysteresis, escalations that are over before the
 * poll, callbacks that allocate, refusals.
 */
#include "tracking/check.h"

#include <hypool/hypool.h>
#include <hypool/pool.h>
#include <hypool/tracking.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

static unsigned threads(void) {
	unsigned count = 0;
	DIR *dir = opendir("/proc/self/task");
	CHECK(dir != NULL, "/proc/self/task");
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

static void fifo(void) {
	char path[256];
	snprintf(path, sizeof path, "%s/fifo", root);
	CHECK(mkfifo(path, 0600) == 0, "mkfifo");
	unsigned before = threads();
	hyp_pressure *p = open_with((hyp_pressure_config){.watch = path, .hold_ms = 150});
	CHECK(threads() == before, "no thread is made");
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

static void pool_limits(void) {
	hyp_pool_config config;
	hyp_pool_config_init(&config);
	config.initial_small_bytes = config.initial_large_bytes = 0;
	config.max_small_bytes = 64 << 20;
	config.max_large_bytes = 100 << 20;
	hyp_pool *pool = NULL;
	CHECK(hyp_pool_create(&config, &pool) == HYP_OK, "pool");
	hyp_pressure *p = open_with((hyp_pressure_config){.pool = pool});
	void *other = hyp_malloc(200 << 20);
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_NONE, "another pool's use does not count");
	void *block = hyp_pool_malloc(pool, 92 << 20);
	CHECK(block != NULL && hyp_pressure_poll(p) == HYP_PRESSURE_HIGH && sources[0] == HYP_PRESSURE_FROM_USAGE,
	      "92 of 100 MiB of large blocks");
	hyp_pool_free(pool, block);
	hyp_pool_trim(pool);
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_NONE, "freed");
	for (int i = 0; i < 780; i++) CHECK(hyp_pool_malloc(pool, 64 << 10) != NULL, "no memory"); /* goes with the pool */
	CHECK(hyp_pressure_poll(p) >= HYP_PRESSURE_LOW, "50 of 64 MiB of small ones");
	hyp_pressure_close(p);
	hyp_free(other);
	hyp_pool_destroy(pool);
}

/* A limit that was hit between two polls is heard of, also when it is a group's above, and memory is free again. */
static void limits_hit(void) {
	put("proc/self/cgroup", "0::/up/down\n");
	put("sys/fs/cgroup/up/down/memory.max", "max\n");
	put("sys/fs/cgroup/up/memory.max", "%llu\n", 1000ull << 20);
	put("sys/fs/cgroup/up/memory.current", "%llu\n", 100ull << 20);
	put("sys/fs/cgroup/up/memory.events.local", "low 0\nhigh 9\nmax 3\noom 1\n");
	hyp_pressure *p = open_with((hyp_pressure_config){.hold_ms = 100});
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_NONE, "what was before does not count");
	put("sys/fs/cgroup/up/memory.events.local", "low 0\nhigh 9\nmax 4\noom 1\n");
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_CRITICAL && sources[0] == HYP_PRESSURE_FROM_EVENTS, "the group above");
	nap(150);
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_NONE && calls == 2, "%u calls", calls);
	hyp_pressure_close(p);
	put("proc/self/cgroup", "4:memory:/one\n");
	put("sys/fs/cgroup/memory/one/memory.failcnt", "17\n");
	p = open_with((hyp_pressure_config){.hold_ms = 100});
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_NONE, "what was before does not count");
	put("sys/fs/cgroup/memory/one/memory.failcnt", "18\n");
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_CRITICAL, "version 1");
	hyp_pressure_close(p);
}

/* What is asked of the kernel's stall information, by a FIFO that stands for it; $MEMORY_PRESSURE_WRITE likewise. */
static void triggers(void) {
	char path[256], text[256];
	put("proc/self/cgroup", "0::/nothing\n");
	put("proc/pressure/none", "\n");
	snprintf(path, sizeof path, "%s/proc/pressure/memory", root);
	CHECK(mkfifo(path, 0600) == 0, "mkfifo");
	int fd = open(path, O_RDWR | O_NONBLOCK);
	hyp_pressure *p = open_with((hyp_pressure_config){0});
	ssize_t n = read(fd, text, sizeof text);
	unsigned stall_us, window_us;
	CHECK(n >= 20 && text[n - 1] == '\0' && sscanf(text, "some %u %u", &stall_us, &window_us) == 2, "%zd", n);
	CHECK(stall_us < window_us && window_us % 2000000 == 0, "a window that the unprivileged may ask for: %u",
	      window_us);
	hyp_pressure_close(p);
	/* The service manager's word goes before, and what it wants written is. */
	char watch[256];
	snprintf(watch, sizeof watch, "%s/watch", root);
	CHECK(mkfifo(watch, 0600) == 0, "mkfifo");
	int other = open(watch, O_RDWR | O_NONBLOCK);
	p = open_with((hyp_pressure_config){.watch = watch, .write = "c29tZSAyMDAwMDAgMjAwMDAwMAA="});
	n = read(other, text, sizeof text);
	CHECK(n == 20 && memcmp(text, "some 200000 2000000", 20) == 0, "%zd bytes were written", n);
	CHECK(read(fd, text, sizeof text) < 0, "the next source was not asked");
	hyp_pressure_close(p);
	p = open_with((hyp_pressure_config){.watch = "/dev/null"});
	CHECK(read(fd, text, sizeof text) < 0, "/dev/null: do not watch");
	hyp_pressure_close(p);
	/* The process's group goes before the whole machine. */
	char own[256];
	put("proc/self/cgroup", "0::/stalls\n");
	put("sys/fs/cgroup/stalls/memory.max", "max\n");
	snprintf(own, sizeof own, "%s/sys/fs/cgroup/stalls/memory.pressure", root);
	CHECK(mkfifo(own, 0600) == 0, "mkfifo");
	int group = open(own, O_RDWR | O_NONBLOCK);
	p = open_with((hyp_pressure_config){0});
	CHECK(read(group, text, sizeof text) >= 20 && memcmp(text, "some ", 5) == 0, "the group is asked");
	CHECK(read(fd, text, sizeof text) < 0, "the machine was not asked");
	close(group);
	hyp_pressure_close(p);
	close(fd);
	close(other);
	unlink(path);
}

/* Brings a process into a control group of version 1 that is too small for what it reads: it waits for memory. */
static pid_t thrash(const char *group) {
	pid_t pid = fork();
	if (pid != 0) return pid;
	char path[512], buffer[65536] = {1};
	snprintf(path, sizeof path, "%s/cgroup.procs", group);
	FILE *file = fopen(path, "w");
	if (file == NULL || fprintf(file, "%d", (int)getpid()) < 0 || fclose(file) != 0) _exit(1);
	snprintf(path, sizeof path, "%s/big", root);
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	for (int i = 0; i < 1000 && write(fd, buffer, sizeof buffer) > 0; i++) continue;
	for (;;) {
		lseek(fd, 0, SEEK_SET);
		while (read(fd, buffer, sizeof buffer) > 0) continue;
	}
}

/* This kernel's own stall information, and a control group's limit, where we may make them speak. */
static void real(void) {
	char group[128], path[256];
	snprintf(group, sizeof group, "/sys/fs/cgroup/memory/hypool-pressure-%d", (int)getpid()); /* other copies may run */
	FILE *file = fopen("/proc/pressure/memory", "r+");
	if (file != NULL) fclose(file);
	if (file == NULL || mkdir(group, 0700) != 0) {
		puts("skipped: no stall information that may be asked, or no control group of version 1 that may be made");
		return;
	}
	snprintf(path, sizeof path, "%s/memory.limit_in_bytes", group);
	file = fopen(path, "w");
	CHECK(file != NULL && fprintf(file, "12000000") > 0 && fclose(file) == 0, "%s", path);
	hyp_pressure *p = NULL;
	hyp_pressure_config config = {.struct_bytes = sizeof config, .watch = ""};
	CHECK(hyp_pressure_open(&config, &p) == HYP_OK, "open");
	hyp_pressure_on_change(p, on_change, &calls);
	calls = 0;
	pid_t pid = thrash(group);
	struct pollfd wait = {.fd = hyp_pressure_fd(p), .events = POLLIN};
	int ready = 0;
	for (int i = 0; i < 60 && ready == 0; i++) ready = poll(&wait, 1, 250);
	hyp_pressure_level level = hyp_pressure_poll(p);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 50 && rmdir(group) != 0; i++) nap(20);
	CHECK(ready == 1 && level >= HYP_PRESSURE_HIGH && calls >= 1, "the kernel's word was not heard: %d", ready);
	CHECK(sources[0] == HYP_PRESSURE_FROM_STALL, "source %d", (int)sources[0]);
	hyp_pressure_close(p);
	puts("heard the kernel's stall information");
}

/* Where control groups of version 2 are mounted; false: nowhere. */
static bool find_groups(char *ret_folder, size_t bytes) {
	char folder[192], kind[32];
	FILE *file = fopen("/proc/self/mounts", "r");
	bool found = false;
	while (file != NULL && !found && fscanf(file, "%*s %191s %31s %*[^\n]", folder, kind) == 2)
		found = strcmp(kind, "cgroup2") == 0;
	if (file != NULL) fclose(file);
	if (found) snprintf(ret_folder, bytes, "%s", folder);
	return found;
}

/* The process's group is removed: no pressure, no descriptor that is ready for ever, and the machine is asked instead. */
static void vanished(void) {
	char mount[192], group[256], path[320], own[320], text[64];
	if (!find_groups(mount, sizeof mount)) {
		puts("skipped: no control groups of version 2");
		return;
	}
	snprintf(group, sizeof group, "%s/hypool-gone-%d", mount, (int)getpid());
	snprintf(path, sizeof path, "%s/memory.pressure", group);
	static const char trigger[] = "some 200000 2000000";
	int fd = mkdir(group, 0700) == 0 ? open(path, O_RDWR | O_NONBLOCK) : -1;
	bool takes = fd >= 0 && write(fd, trigger, sizeof trigger) == (ssize_t)sizeof trigger;
	if (fd >= 0) close(fd);
	if (!takes) {
		rmdir(group);
		puts("skipped: no control group of version 2 with stall information may be made");
		return;
	}
	put("proc/self/cgroup", "0::/gone\n");
	put("sys/fs/cgroup/gone/memory.max", "max\n");
	snprintf(own, sizeof own, "%s/sys/fs/cgroup/gone/memory.pressure", root);
	CHECK(symlink(path, own) == 0, "%s", own);
	/* Any file of the group that tells of changes: the group of a test has no memory controller. */
	snprintf(path, sizeof path, "%s/cgroup.events", group);
	snprintf(own, sizeof own, "%s/sys/fs/cgroup/gone/memory.events", root);
	CHECK(symlink(path, own) == 0, "%s", own);
	char whole[320];
	snprintf(whole, sizeof whole, "%s/proc/pressure/memory", root);
	unlink(whole);
	CHECK(mkfifo(whole, 0600) == 0, "mkfifo");
	int machine = open(whole, O_RDWR | O_NONBLOCK);
	hyp_pressure *p = open_with((hyp_pressure_config){.hold_ms = 60000});
	CHECK(read(machine, text, sizeof text) < 0, "the machine was asked, though there is a group");
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_NONE, "quiet at first");
	/* It also has an event to tell of, which nobody read before its end. */
	snprintf(path, sizeof path, "%s/cgroup.freeze", group);
	FILE *file = fopen(path, "w");
	if (file != NULL) { /* Linux 5.2 and later */
		fputs("1", file);
		fclose(file);
	}
	CHECK(rmdir(group) == 0, "rmdir %s", group);
	struct pollfd wait = {.fd = hyp_pressure_fd(p), .events = POLLIN};
	CHECK(poll(&wait, 1, 10000) == 1, "it is told that the group is gone");
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_NONE && calls == 0, "a group's end is no pressure");
	CHECK(poll(&wait, 1, 0) == 0, "the descriptor stays ready");
	CHECK(read(machine, text, sizeof text) >= 20 && memcmp(text, "some ", 5) == 0, "the machine is asked instead");
	CHECK(hyp_pressure_poll(p) == HYP_PRESSURE_NONE, "and goes on");
	hyp_pressure_close(p);
	close(machine);
	unlink(whole);
	puts("heard that a control group was removed");
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
	pool_limits();
	limits_hit();
	triggers();
	real();
	vanished();
	refusals();
	char command[64];
	snprintf(command, sizeof command, "rm -r %s", root);
	CHECK(system(command) == 0, "%s", command);
	puts("pressure");
	return 0;
}
