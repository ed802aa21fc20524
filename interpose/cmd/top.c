/*
 * interpose/cmd/top.c: `hypool top`: the live page of another process (lib/tracking/live.h), read only.
 *
 * The process is not stopped, asked or traced. The page says when it was written: a process that does not allocate does
 * not write it.
 */
#include "interpose/cmd/cmd.h"
#include "os/os.h"
#include "tracking/live.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long ull;

static const hypi_live_page *open_page(long pid) {
	char path[64];
	snprintf(path, sizeof path, "/dev/shm/hypool.%ld", pid);
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		bool alive = kill((pid_t)pid, 0) == 0 || errno == EPERM;
		hypi_cmd_fail(0,
		              alive ? "process %ld keeps no live statistics: start it with HYPOOL_LIVE=1 or `hypool run --live`"
		                    : "there is no process %ld",
		              pid);
		return NULL;
	}
	struct stat about;
	void *p = MAP_FAILED;
	if (fstat(fd, &about) == 0 && about.st_size >= (off_t)sizeof(hypi_live_page))
		p = mmap(NULL, sizeof(hypi_live_page), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	const hypi_live_page *page = p;
	if (p == MAP_FAILED || page->magic != HYPI_LIVE_MAGIC || page->stats.version != HYP_STATS_VERSION)
		return hypi_cmd_fail(0, "%s is of another version", path), NULL;
	return page;
}

/* Whatever the page holds, it is shown without harm: counts fit their arrays, words are text. */
static bool is_sound(hypi_live_page *p) {
	p->command[sizeof p->command - 1] = '\0';
	hypi_cmd_clean(p->command, sizeof p->command);
	return p->class_count <= HYPI_LIVE_CLASSES;
}

/* A copy that no writer changed meanwhile. */
static bool snapshot(const hypi_live_page *page, hypi_live_page *ret_page) {
	for (int tries = 0; tries < 1000; tries++) {
		uint64_t before = atomic_load_explicit(&page->sequence, memory_order_acquire); /* pairs with fill's release */
		memcpy(ret_page, page, sizeof *page);
		atomic_thread_fence(memory_order_acquire); /* pairs with fill's release fence */
		if (before % 2 == 0 && atomic_load_explicit(&page->sequence, memory_order_relaxed) == before)
			return is_sound(ret_page);
		nanosleep(&(struct timespec){0, 100000}, NULL);
	}
	return false;
}

static void print_json(const hypi_live_page *p) {
	printf("{\"pid\":%llu,\"age_ms\":%llu,\"command\":", (ull)p->pid, (ull)(hypi_os_now_coarse_ms() - p->now_ms));
	hypi_cmd_json(stdout, p->command);
#define HYP_STAT_X(name, kind, doc) printf(",\"" #name "\":%llu", (ull)p->stats.name);
#include <hypool/stats.def>
#undef HYP_STAT_X
	printf(",\"classes\":[");
	for (uint64_t i = 0; i < p->class_count; i++)
		printf("%s{\"bytes\":%llu,\"active\":%llu,\"span_bytes\":%llu}", i == 0 ? "" : ",",
		       (ull)p->classes[i].block_bytes, (ull)p->classes[i].active, (ull)p->classes[i].span_bytes);
	printf("]}\n");
}

static int larger_first(const void *a, const void *b) {
	const hypi_live_class *x = a, *y = b;
	return x->span_bytes == y->span_bytes ? 0 : x->span_bytes < y->span_bytes ? 1 : -1;
}

static void print_text(hypi_live_page *p, const hypi_live_page *last) {
	char a[24], b[24], c[24], d[24];
	const hyp_stats *s = &p->stats;
	uint64_t since = p->now_ms - last->now_ms;
	printf("hypool top - pid %llu, up %llu s, written %llu ms ago\n%s\n\n", (ull)p->pid,
	       (ull)((p->now_ms - p->start_ms) / 1000), (ull)(hypi_os_now_coarse_ms() - p->now_ms), p->command);
	printf("resident %-12s peak %-12s live %-12s blocks %llu\n", hypi_cmd_bytes((double)s->resident_bytes, a),
	       hypi_cmd_bytes((double)s->peak_resident_bytes, b), hypi_cmd_bytes((double)s->current_bytes, c),
	       (ull)s->active);
	printf("heap     %-12s dirty %-11s given back %-12s arenas %llu, heaps %llu\n",
	       hypi_cmd_bytes((double)s->committed_bytes, a), hypi_cmd_bytes((double)s->dirty_bytes, b),
	       hypi_cmd_bytes((double)s->purged_bytes, c), (ull)s->arenas, (ull)s->heaps);
	if (since != 0)
		printf("%.0f allocations/s, %s/s\n", 1000 * (double)(s->allocations - last->stats.allocations) / (double)since,
		       hypi_cmd_bytes(1000 * (double)(s->allocated_bytes - last->stats.allocated_bytes) / (double)since, d));
	qsort(p->classes, p->class_count, sizeof p->classes[0], larger_first);
	printf("\n%12s %12s %12s %6s\n", "block", "live", "spans", "used");
	for (uint64_t i = 0; i < p->class_count && i < 15; i++)
		printf("%12s %12llu %12s %5.0f%%\n", hypi_cmd_bytes((double)p->classes[i].block_bytes, a),
		       (ull)p->classes[i].active, hypi_cmd_bytes((double)p->classes[i].span_bytes, b),
		       p->classes[i].span_bytes == 0 ? 0
		                                     : 100 * (double)p->classes[i].active * (double)p->classes[i].block_bytes /
		                                           (double)p->classes[i].span_bytes);
}

/* The process to watch when none is named: the only one that keeps a page. 0: there is none, or several, and they were
 * listed. */
static long find_process(void) {
	DIR *dir = opendir("/dev/shm");
	long found = 0;
	unsigned count = 0;
	char first[HYPI_LIVE_COMMAND + 16];
	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
		long pid = strncmp(entry->d_name, "hypool.", 7) == 0 ? strtol(entry->d_name + 7, NULL, 10) : 0;
		char path[64], command[HYPI_LIVE_COMMAND] = "";
		snprintf(path, sizeof path, "/dev/shm/hypool.%ld", pid);
		if (pid <= 0 || access(path, R_OK) != 0 || kill((pid_t)pid, 0) != 0) continue;
		snprintf(path, sizeof path, "/proc/%ld/cmdline", pid);
		FILE *file = fopen(path, "re");
		if (file != NULL) {
			size_t n = fread(command, 1, sizeof command - 1, file);
			for (size_t i = 0; i + 1 < n; i++)
				if (command[i] == '\0' || command[i] == '\n') command[i] = ' ';
			fclose(file);
			hypi_cmd_clean(command, sizeof command);
		}
		/* One alone is not listed: it is shown. */
		if (count == 0) snprintf(first, sizeof first, "%8ld  %s\n", found = pid, command);
		if (count == 1) fputs(first, stderr);
		if (count++ >= 1) fprintf(stderr, "%8ld  %s\n", pid, command);
	}
	if (dir != NULL) closedir(dir);
	if (count > 1) hypi_cmd_fail(0, "top: which of these?");
	if (count == 0)
		hypi_cmd_fail(0, "top: no process keeps live statistics: start one with `hypool run --live -- PROGRAM`");
	return count == 1 ? found : 0;
}

static int watch(const hypi_live_page *page, long pid, long rounds, double seconds, bool json, bool screen) {
	static hypi_live_page now, last;
	if (!snapshot(page, &last))
		return hypi_cmd_fail(1, "process %ld is stuck while it writes, or what it writes makes no sense", pid);
	while (rounds != 0) {
		if (!snapshot(page, &now))
			return hypi_cmd_fail(1, "process %ld is stuck while it writes, or what it writes makes no sense", pid);
		if (json) {
			print_json(&now);
		} else {
			if (screen) printf("\033[H\033[2J");
			print_text(&now, &last);
		}
		fflush(stdout);
		last = now;
		if (rounds > 0 && --rounds == 0) break;
		nanosleep(&(struct timespec){(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)}, NULL);
		if (kill((pid_t)pid, 0) != 0 && errno == ESRCH) return hypi_cmd_fail(0, "process %ld has ended", pid);
	}
	return 0;
}

int hypi_cmd_top(int argc, char **argv) {
	bool json = false, screen = isatty(1);
	long pid = 0, rounds = screen ? -1 : 1;
	double seconds = 1;
	const char *text;
	for (int at = 0; at < argc;) {
		if (hypi_cmd_flag(argv, &at, "--help"))
			return puts("usage: hypool top [--json] [-n ROUNDS] [-d SECONDS] [PID]\nWithout PID: the process that "
			            "keeps live statistics, or a list of them.") < 0;
		if (hypi_cmd_flag(argv, &at, "--json")) json = true;
		else if (hypi_cmd_value(argc, argv, &at, "-n", &text)) rounds = strtol(text, NULL, 10);
		else if (hypi_cmd_value(argc, argv, &at, "-d", &text)) seconds = strtod(text, NULL);
		else if (pid == 0 && (pid = strtol(argv[at], NULL, 10)) > 0) at++;
		else return hypi_cmd_fail(2, "top: what is %s?", argv[at]);
	}
	if (pid == 0) pid = find_process();
	if (pid <= 0) return 1;
	const hypi_live_page *page = open_page(pid);
	if (page == NULL) return 1;
	int status = watch(page, pid, rounds, seconds, json, screen);
	munmap((void *)(uintptr_t)page, sizeof *page);
	return status;
}
