/*
 * tests/fuzz/fuzz_box.c: the box that `hypool run` reads when the program is dead may have been written over by it, or
 * have been left in the middle of a change. The input is laid over a sound box: one byte says which part of it, two where, the
 * next how many follow, and so on. It is refused, or a report of it is
 * written in every format, and the native one is text that the command reads again or refuses.
 */
#include "fuzz.h"

#include "interpose/cmd/cmd.h"
#include "interpose/cmd/model.h"
#include "tracking/box.h"

#include <hypool/tracking.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SITES = 4, FRAMES = 6 };

static const char lines[] = "10000000-10010000 r-xp 0 00:00 0 /fuzz/library.so\n";

static void sound(hypi_box *box) {
	memset(box, 0, sizeof *box);
	box->magic = HYPI_BOX_MAGIC;
	box->struct_bytes = sizeof *box;
	box->pid = 77;
	box->tick_count = 3;
	box->pool_count = 2;
	box->maps_bytes = sizeof lines - 1;
	memcpy(box->maps, lines, sizeof lines);
	strcpy(box->command, "program with words");
	strcpy(box->pools[1].name, "pool");
	box->stats = (hyp_stats){.struct_bytes = sizeof box->stats, .version = HYP_STATS_VERSION, .current_bytes = 5000};
	for (unsigned i = 0; i < HYPI_CLASSES; i++)
		box->classes[i] = (hyp_class_stats){.block_bytes = 16 + 16 * i, .allocations = i, .active = i};
	for (unsigned i = 0; i < box->tick_count; i++) box->ticks[i] = (hypi_tick){100 * i, 1 << 20, 2 << 20, 1e5 * i};
	box->profile.site_count = SITES;
	box->profile.frame_count = FRAMES;
	box->profile.mean_bytes = 1024;
	char *tables = (char *)box + HYPI_BOX_TABLES;
	hypi_site *sites = (hypi_site *)(void *)tables;
	uintptr_t *frames = (uintptr_t *)(void *)(tables + HYPI_SITES * sizeof(hypi_site));
	for (unsigned i = 0; i < FRAMES; i++) frames[i] = 0x10000100 + 0x100 * i;
	for (unsigned i = 0; i < SITES; i++)
		sites[i] = (hypi_site){.first = i,
		                       .depth = i == 0 ? 0 : 3,
		                       .pool = i % 2,
		                       .picks = 4,
		                       .pick_bytes = 400,
		                       .live_picks = 2,
		                       .live_pick_bytes = 200,
		                       .freed_picks = 2,
		                       .count = 40,
		                       .bytes = 4000,
		                       .live_count = 20,
		                       .live_bytes = 2000,
		                       .peak_bytes = 3000};
}

/* Where the input's bytes go: the counts and the command, the call sites, anywhere, the mappings. */
static uint8_t *place(hypi_box *box, unsigned kind, size_t where, size_t *ret_most) {
	switch (kind) {
	case 0: *ret_most = offsetof(hypi_box, stats); break;
	case 1: return *ret_most = SITES * sizeof(hypi_site), (uint8_t *)box + HYPI_BOX_TABLES;
	case 2: return *ret_most = 1 << 10, (uint8_t *)box + where * 64 % (sizeof *box >> 10 << 10) / 1024 * 1024;
	default: return *ret_most = 256, (uint8_t *)box->maps;
	}
	return (uint8_t *)box;
}

static void lay_over(hypi_box *box, const uint8_t *bytes, size_t count) {
	while (count >= 4) {
		size_t where = (size_t)(bytes[1] | bytes[2] << 8), most, n = bytes[3];
		uint8_t *to = place(box, bytes[0] & 3, where, &most);
		bytes += 4, count -= 4;
		if (n > count) n = count;
		for (size_t i = 0; i < n && where % most + i < most; i++) to[where % most + i] = bytes[i];
		bytes += n, count -= n;
	}
}

static size_t written(int fd, hyp_profile_format format) {
	must(ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
	must(hyp_profile_write(fd, format) == HYP_OK);
	return (size_t)lseek(fd, 0, SEEK_CUR);
}

/* What hypool wrote, hypool can read. */
static int read_again(int count, char **words) {
	(void)count;
	model *m = model_load(words[0]);
	if (m == NULL) return 1;
	model_print_json(m, stdout);
	model_free(m);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
	static hypi_box *box;
	static int fd;
	if (box == NULL) {
		box = mmap(NULL, hypi_box_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		fd = memfd_create("report", MFD_CLOEXEC);
		must(box != MAP_FAILED && fd >= 0);
	}
	sound(box);
	lay_over(box, bytes, count);
	fuzz_no_others("/fuzz");
	/* Paths of the machine's own files would be opened: only those below. */
	for (char *at = box->maps; (at = memchr(at, '/', (size_t)(box->maps + sizeof box->maps - at))) != NULL &&
	                           at + 6 < box->maps + sizeof box->maps;
	     at++)
		memcpy(at, "/fuzz/", 6);
	if (hypi_box_load(box, hypi_box_bytes())) {
		char path[32], *words[] = {path, NULL};
		int status;
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		for (unsigned format = 0; format <= HYP_PROFILE_DHAT; format++)
			must(written(fd, (hyp_profile_format)format) > 0 || format == HYP_PROFILE_FOLDED); /* no stack, no line */
		must(written(fd, HYP_PROFILE_HYPOOL) > 0);
		char *text = fuzz_printed(read_again, 1, words, &status);
		must(status == 0 && json_wrong(text) == NULL);
		free(text);
	}
	fuzz_no_files();
	return 0;
}
