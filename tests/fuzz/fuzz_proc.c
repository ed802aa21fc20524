/*
 * tests/fuzz/fuzz_proc.c: what the kernel's files say may be anything: a sandbox or another system's emulation writes them
 * too. The first byte of the input says which they are; the rest is cut at lines "==" into their contents.
 *   0  the process's mappings: ranges, the leak search's roots, statm, and the state of a thread
 *   1  what `hypool doctor` reads: control groups, huge pages, overcommit, mappings allowed
 *   2  the control groups' files under a pressure monitor, before and after they change; and what a service manager names
 */
#include "fuzz.h"

#include "heap/heap.h"
#include "interpose/cmd/cmd.h"
#include "os/os.h"
#include "tracking/maps.h"
#include "tracking/reach.h"

#include <hypool/tracking.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PARTS = 10 };

/* ---- mappings ---- */

typedef struct seen {
	size_t count, most;
	uintptr_t sum;
} seen;

static bool look(void *context, const hypi_map *map) {
	seen *s = context;
	s->count++;
	s->sum = s->sum * 31 + map->start + map->end + map->offset + map->read + strlen(map->path);
	must(strlen(map->path) < 8192);
	must(strchr(map->path, '\n') == NULL);
	return s->count < s->most;
}

static void mappings(const fuzz_part *parts, size_t count) {
	fuzz_file("/proc/self", "maps", parts[0].bytes, parts[0].count);
	if (count > 1) fuzz_file("/proc/self", "statm", parts[1].bytes, parts[1].count);
	size_t lines = 0;
	for (size_t i = 0; i < parts[0].count; i++) lines += parts[0].bytes[i] == '\n';
	seen all = {.most = SIZE_MAX}, few = {.most = 3};
	must(hypi_maps_each(look, &all) && hypi_maps_each(look, &few));
	must(all.count <= lines && few.count == (all.count < 3 ? all.count : 3));
	/* The same lines in memory, as of another process: line by line, where the file is read a buffer at a time. */
	seen again = {.most = SIZE_MAX};
	char *text = malloc(parts[0].count + 1);
	must(text != NULL);
	memcpy(text, parts[0].bytes, parts[0].count);
	text[parts[0].count] = '\0';
	bool whole = strlen(text) == parts[0].count;
	hypi_maps_load(text);
	must(hypi_maps_each(look, &again));
	hypi_maps_load(NULL);
	must(!whole || (again.count == all.count && again.sum == all.sum));
	free(text);
	uintptr_t low, high, here = (uintptr_t)&low;
	if (hypi_maps_around(here, &low, &high)) must(low <= here && here < high);
	if (hypi_maps_own((uintptr_t)&mappings, &low, &high))
		must(low <= (uintptr_t)&mappings && (uintptr_t)&mappings < high);
	must(hypi_os_resident_bytes() % hypi_os.page_bytes == 0);
	if (count < 3) return;
	char state[256];
	size_t n = parts[2].count < sizeof state - 1 ? parts[2].count : sizeof state - 1;
	memcpy(state, parts[2].bytes, n);
	state[n] = '\0';
	uintptr_t stack = 1;
	if (!hypi_reach_stack_pointer(state, &stack)) must(stack == 1);
}

/* ---- the doctor ---- */

static void doctor(const fuzz_part *parts, size_t count) {
	static const char *const names[][2] = {{"/proc/self", "cgroup"},
	                                       {"/sys/kernel/mm/transparent_hugepage", "enabled"},
	                                       {"/proc/sys/vm", "overcommit_memory"},
	                                       {"/proc/sys/vm", "max_map_count"},
	                                       {"/sys/fs/cgroup", "memory.max"},
	                                       {"/sys/fs/cgroup", "memory.limit_in_bytes"}};
	static char json[] = "--json";
	for (size_t i = 0; i < count && i < sizeof names / sizeof *names; i++)
		fuzz_file(names[i][0], names[i][1], parts[i].bytes, parts[i].count);
	fuzz_no_others("/sys/fs/cgroup");
	for (int i = 0; i < 2; i++) {
		int status;
		char *text = fuzz_printed(hypi_cmd_doctor, i, (char *[]){json, NULL}, &status);
		const char *why = i == 1 ? json_wrong(text) : terminal_wrong(text);
		if (why != NULL) fprintf(stderr, "%s in:\n%s\n", why, text), abort();
		must(status == 0);
		free(text);
	}
}

/* ---- pressure ---- */

static char fifo[64];

static void go_away(void) { unlink(fifo); }

static void group_files(const fuzz_part *parts, size_t count) {
	static const char *const names[] = {"memory.max",          "memory.current",        "memory.events",
	                                    "memory.events.local", "memory.limit_in_bytes", "memory.usage_in_bytes",
	                                    "memory.failcnt"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const fuzz_part *part = &parts[count == 0 ? 0 : i % count];
		if (count != 0) fuzz_file("/fuzz/sys/fs/cgroup", names[i], part->bytes, part->count);
	}
}

static void pressure(const fuzz_part *parts, size_t count) {
	char word[512];
	size_t n = count < 2 ? 0 : parts[1].count < sizeof word - 1 ? parts[1].count : sizeof word - 1;
	memcpy(word, count < 2 ? (const uint8_t *)"" : parts[1].bytes, n);
	word[n] = '\0';
	hyp_pressure_config config = {.struct_bytes = sizeof config, .root = "/fuzz", .watch = fifo, .write = word};
	hyp_pressure *p = NULL;
	fuzz_file("/fuzz/proc", "cgroup", parts[0].bytes, parts[0].count);
	fuzz_no_others("/fuzz");
	if (count > 2) group_files(parts + 2, count - 2);
	must(hyp_pressure_open(&config, &p) == HYP_OK);
	must(hyp_pressure_poll(p) <= HYP_PRESSURE_CRITICAL);
	fuzz_no_files();
	fuzz_no_others("/fuzz");
	if (count > 3) group_files(parts + 3, count - 3);
	must(hyp_pressure_poll(p) <= HYP_PRESSURE_CRITICAL);
	hyp_pressure_close(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
	fuzz_part parts[PARTS];
	if (fifo[0] == '\0') {
		snprintf(fifo, sizeof fifo, "/tmp/hypool-fuzz-proc-%d", (int)getpid());
		must(mkfifo(fifo, 0600) == 0);
		atexit(go_away);
		hypi_process_init();
	}
	if (count == 0) return 0;
	size_t have = fuzz_parts(bytes + 1, count - 1, parts, PARTS);
	switch (bytes[0] % 3) {
	case 0: mappings(parts, have); break;
	case 1: doctor(parts, have); break;
	default: pressure(parts, have);
	}
	fuzz_no_files();
	return 0;
}
