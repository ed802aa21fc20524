/*
 * tests/fuzz/fuzz_live.c: the page of statistics that another process keeps in shared memory may hold anything. The input
 * is laid over a sound page: two bytes say where, the next how many follow, and so on. `hypool top` refuses it, or shows
 * it: JSON is JSON, the text holds no control character.
 */
#include "fuzz.h"

#include "interpose/cmd/cmd.h"
#include "tracking/live.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void lay_over(void *page, size_t page_bytes, const uint8_t *bytes, size_t count) {
	while (count >= 3) {
		size_t at = (size_t)(bytes[0] | bytes[1] << 8) % page_bytes, n = bytes[2];
		bytes += 3, count -= 3;
		if (n > count) n = count;
		for (size_t i = 0; i < n && at + i < page_bytes; i++) ((uint8_t *)page)[at + i] = bytes[i];
		bytes += n, count -= n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
	static char json[] = "--json", once[] = "-n", one[] = "1";
	char name[32], pid[16];
	static hypi_live_page page;
	memset(&page, 0, sizeof page);
	page.magic = HYPI_LIVE_MAGIC;
	page.stats.struct_bytes = sizeof page.stats;
	page.stats.version = HYP_STATS_VERSION;
	page.pid = (uint64_t)getpid();
	strcpy(page.command, "program with words");
	page.class_count = 3;
	for (uint64_t i = 0; i < page.class_count; i++) page.classes[i] = (hypi_live_class){16 << i, 100 * i, 65536 * i};
	lay_over(&page, sizeof page, bytes, count);
	if ((page.sequence & 1) != 0) page.sequence++; /* else it waits for the writer, a tenth of a second in all */
	snprintf(name, sizeof name, "hypool.%d", (int)getpid());
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	fuzz_file("/dev/shm", name, &page, count == 1 ? bytes[0] : sizeof page);
	for (int i = 0; i < 2; i++) {
		int status;
		char *words[] = {once, one, i == 0 ? json : pid, pid, NULL};
		char *text = fuzz_printed(hypi_cmd_top, i == 0 ? 4 : 3, words, &status);
		must(status == 0 ? *text != '\0' : status == 1 && *text == '\0');
		const char *why = status != 0 ? NULL : i == 0 ? json_wrong(text) : terminal_wrong(text);
		if (why != NULL) fprintf(stderr, "%s in:\n%s\n", why, text), abort();
		free(text);
	}
	fuzz_no_files();
	return 0;
}
