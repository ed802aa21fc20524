/*
 * tests/fuzz/fuzz_trace.c: a trace that is to be repeated may say anything. The input is a trace's records, its sizes cut
 * down, or with a first byte of 1 the file as it is. It is refused, or repeated with counts that fit each other.
 */
#include "fuzz.h"

#include "interpose/cmd/cmd.h"
#include "tracking/trace.h"

#include <stdlib.h>
#include <string.h>

enum { RECORDS = 512, MOST_BYTES = 1 << 16 };

static uint64_t field(const char *text, const char *name) {
	const char *at = strstr(text, name);
	must(at != NULL);
	return strtoull(at + strlen(name), NULL, 10);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
	static struct {
		hypi_trace_head head;
		hypi_trace_record records[RECORDS];
	} file;
	static char json[] = "--json", path[] = "/fuzz/trace";
	if (count == 0) return 0;
	bool whole = *bytes++ == 1;
	count--;
	size_t records = 0;
	if (whole) {
		/* As it is only where it is refused anyway: sizes of a whole one would take all memory there is. */
		if (count >= 8 && memcmp(bytes, HYPI_TRACE_MAGIC, 8) == 0 && count >= sizeof file.head + sizeof *file.records)
			return 0;
		fuzz_file("/fuzz", "trace", bytes, count);
	} else {
		if (count > sizeof file.records) count = sizeof file.records;
		file.head = (hypi_trace_head){.record_bytes = sizeof *file.records};
		memcpy(file.head.magic, HYPI_TRACE_MAGIC, sizeof file.head.magic);
		memcpy(file.records, bytes, count);
		records = count / sizeof *file.records;
		for (size_t i = 0; i < records; i++)
			if (file.records[i].bytes != HYPI_TRACE_FREE) file.records[i].bytes %= MOST_BYTES;
		fuzz_file("/fuzz", "trace", &file, sizeof file.head + count);
	}
	int status;
	char *text = fuzz_printed(hypi_cmd_replay, 2, (char *[]){json, path, NULL}, &status);
	if (status == 0) {
		must(json_wrong(text) == NULL);
		uint64_t allocations = field(text, "\"allocations\":"), frees = field(text, "\"frees\":");
		must(frees <= allocations && allocations + frees + field(text, "\"unknown_frees\":") == records);
		must(field(text, "\"live_bytes\":") <= field(text, "\"peak_bytes\":"));
	} else {
		must(status == 1 && *text == '\0');
	}
	free(text);
	fuzz_no_files();
	return 0;
}
