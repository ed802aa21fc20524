/*
 * interpose/cmd/replay.c: `hypool replay`: a trace (lib/tracking/trace.h) repeated on this process's malloc, so that
 * LD_PRELOAD decides which allocator is tried. One thread does it all, in the order of the trace; every page of a block
 * is touched once. The tables of the replay itself come from mmap, so the allocator serves the trace alone.
 */
#include "interpose/cmd/cmd.h"
#include "os/os.h"
#include "tracking/trace.h"

#include "base/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef unsigned long long ull;

typedef struct entry {
	uint64_t address, bytes; /* of the trace */
	char *p;                 /* ours; NULL with address set: freed */
} entry;

typedef struct table {
	entry *entries;
	size_t mask;
} table;

static void *map_own(size_t bytes) {
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static entry *find(const table *t, uint64_t address) {
	size_t at = hypi_mix64(address) & t->mask;
	while (t->entries[at].address != 0 && t->entries[at].address != address) at = (at + 1) & t->mask;
	return &t->entries[at];
}

typedef struct result {
	uint64_t allocations, frees, unknown, live_bytes, peak_bytes, live, ns;
} result;

static bool repeat(const hypi_trace_record *records, size_t count, const table *t, bool progress, result *ret_result) {
	result r = {0};
	uint64_t start = hypi_os_now_ns();
	for (size_t i = 0; i < count; i++) {
		if (records[i].address == 0) return false; /* no block's */
		entry *e = find(t, records[i].address);
		if (progress && i % (1 << 22) == 0) fprintf(stderr, "\r%3.0f %%", 100 * (double)i / (double)count);
		if (records[i].bytes == HYPI_TRACE_FREE) {
			if (e->p == NULL) {
				r.unknown++;
				continue;
			}
			free(e->p);
			e->p = NULL;
			r.live_bytes -= e->bytes;
			r.live--;
			r.frees++;
			continue;
		}
		if (e->p != NULL) return false; /* handed out twice: no trace of ours */
		*e = (entry){records[i].address, records[i].bytes, malloc(records[i].bytes)};
		if (e->p == NULL) return false;
		for (uint64_t at = 0; at < e->bytes; at += 4096) *(volatile char *)(e->p + at) = 1;
		r.allocations++;
		r.live++;
		r.live_bytes += e->bytes;
		if (r.live_bytes > r.peak_bytes) r.peak_bytes = r.live_bytes;
	}
	r.ns = hypi_os_now_ns() - start;
	if (progress) fprintf(stderr, "\r     \r");
	*ret_result = r;
	return true;
}

/* What lives at the end; after everything was measured. */
static void release(const table *t) {
	for (size_t i = 0; i <= t->mask; i++) free(t->entries[i].p);
	munmap(t->entries, (t->mask + 1) * sizeof *t->entries);
}

int hypi_cmd_replay(int argc, char **argv) {
	const char *file = NULL;
	bool json = false;
	for (int at = 0; at < argc;) {
		if (hypi_cmd_flag(argv, &at, "--help"))
			return puts("usage: hypool replay [--json] TRACE\nRecord one with `hypool run --record TRACE -- PROGRAM`; "
			            "LD_PRELOAD chooses the allocator.") < 0;
		if (hypi_cmd_flag(argv, &at, "--json")) json = true;
		else if (file == NULL && argv[at][0] != '-') file = argv[at++];
		else return hypi_cmd_fail(2, "replay: what is %s?", argv[at]);
	}
	if (file == NULL) return hypi_cmd_fail(2, "replay: which trace?");
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return hypi_cmd_fail(1, "cannot read %s: %s", file, strerror(errno));
	struct stat about;
	const hypi_trace_head *head = MAP_FAILED;
	if (fstat(fd, &about) == 0 && about.st_size >= (off_t)sizeof *head)
		head = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (head == MAP_FAILED || memcmp(head->magic, HYPI_TRACE_MAGIC, 8) != 0 ||
	    head->record_bytes != sizeof(hypi_trace_record))
		return hypi_cmd_fail(1, "%s is no trace of hypool", file);
	size_t count = ((size_t)about.st_size - sizeof *head) / sizeof(hypi_trace_record);
	const hypi_trace_record *records = (const void *)(head + 1);
	table t = {.mask = ((size_t)2 << hypi_log2_ceil(count + 1)) - 1};
	t.entries = map_own((t.mask + 1) * sizeof *t.entries);
	if (t.entries == NULL) return hypi_cmd_fail(1, "no memory for %zu records", count);
	result r;
	bool good = repeat(records, count, &t, !json && isatty(2), &r);
	uint64_t rss = hypi_os_peak_resident_bytes();
	release(&t);
	munmap((void *)(uintptr_t)head, (size_t)about.st_size);
	if (!good) return hypi_cmd_fail(1, "%s: no memory, or not in order", file);
	char a[24], b[24], c[24];
	if (json)
		printf("{\"allocations\":%llu,\"frees\":%llu,\"unknown_frees\":%llu,\"peak_bytes\":%llu,\"live_bytes\":%llu,"
		       "\"ns\":%llu,"
		       "\"peak_resident_bytes\":%llu}\n",
		       (ull)r.allocations, (ull)r.frees, (ull)r.unknown, (ull)r.peak_bytes, (ull)r.live_bytes, (ull)r.ns,
		       (ull)rss);
	else
		printf("%llu allocations, %llu frees in %.3f s; peak %s live, %s resident with the replay's own; %s live at "
		       "the end\n",
		       (ull)r.allocations, (ull)r.frees, (double)r.ns / 1e9, hypi_cmd_bytes((double)r.peak_bytes, a),
		       hypi_cmd_bytes((double)rss, b), hypi_cmd_bytes((double)r.live_bytes, c));
	return 0;
}
