/*
 * tests/fuzz/fuzz_options.c: any bytes are a list of options. Whatever they are: every option stays in its range, what
 * is refused is counted, the warning is one line and no longer than the input explains, and a value written out is read
 * back as the same.
 */
#include "fuzz.h"

#include "base/option.h"
#include "tracking/start.h"

#include <stdlib.h>
#include <string.h>

static size_t told_bytes, told_lines;

static void hear(void *context, const char *text, size_t bytes) {
	(void)context;
	told_bytes += bytes;
	for (size_t i = 0; i < bytes; i++) told_lines += text[i] == '\n';
}

static void check_values(void) {
	char text[HYPI_OPTION_TEXT_BYTES + 1];
	for (unsigned i = 0; i < HYPI_OPTION_COUNT; i++) {
		const hypi_option_info *info = &hypi_option_table[i];
		uint64_t value = hypi_option_get((hypi_option)i);
		if (info->type == HYPI_TEXT) {
			must(strlen(hypi_option_text((hypi_option)i)) < HYPI_OPTION_TEXT_BYTES);
			continue;
		}
		must(value >= info->least && value <= info->most);
		hypi_option_format((hypi_option)i, text, sizeof text);
		must(hypi_option_set(info->name, strlen(info->name), text, strlen(text), HYPI_FROM_API) == HYP_OK);
		must(hypi_option_get((hypi_option)i) == value);
	}
}

static void set_back(void) {
	for (unsigned i = 0; i < HYPI_OPTION_COUNT; i++) {
		const hypi_option_info *info = &hypi_option_table[i];
		if (info->type == HYPI_TEXT)
			must(hypi_option_set(info->name, strlen(info->name), "", 0, HYPI_FROM_API) == HYP_OK);
		else hypi_option_values[i] = info->initial;
	}
}

/* A file, which is read a buffer at a time, says what the same text in memory says. */
static void check_file(const uint8_t *bytes, size_t count, const char *text, hypi_out *warn) {
	static char texts[HYPI_OPTION_COUNT][HYPI_OPTION_TEXT_BYTES];
	uint64_t values[HYPI_OPTION_COUNT];
	set_back();
	hypi_options_parse(text, count, HYPI_FROM_FILE, warn);
	memcpy(values, hypi_option_values, sizeof values);
	for (unsigned i = 0; i < HYPI_OPTION_COUNT; i++) strcpy(texts[i], hypi_option_text((hypi_option)i));
	set_back();
	fuzz_file("/fuzz", "options", bytes, count);
	hypi_options_read_file("/fuzz/options", warn);
	fuzz_no_files();
	must(memcmp(values, hypi_option_values, sizeof values) == 0);
	for (unsigned i = 0; i < HYPI_OPTION_COUNT; i++) must(strcmp(texts[i], hypi_option_text((hypi_option)i)) == 0);
}

static size_t refused_lines;

static void refuse(const char *line) {
	must(strchr(line, '\n') == NULL && line[0] != '#');
	refused_lines++;
}

/* The other file that a user writes: suppressions of leaks. */
static void check_suppressions(const uint8_t *bytes, size_t count) {
	size_t lines = 1;
	for (size_t i = 0; i < count; i++) lines += bytes[i] == '\n';
	refused_lines = 0;
	fuzz_file("/fuzz", "suppressions", bytes, count);
	must(hypi_leaks_suppress_file("/fuzz/suppressions", refuse));
	fuzz_no_files();
	must(refused_lines <= lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
	/* A copy of exactly that size: a byte read behind it is seen by the address sanitizer. */
	char *text = malloc(count);
	if (count > 0 && text == NULL) return 0;
	if (count > 0) memcpy(text, bytes, count);
	static uint64_t told_before;
	hypi_out warn;
	hypi_out_init_sink(&warn, hear, NULL);
	told_bytes = told_lines = 0;
	unsigned refused = hypi_options_parse(text, count, HYPI_FROM_FILE, &warn);
	hypi_out_flush(&warn);
	must(refused <= count);
	must(told_bytes == 0 || (refused > 0 && told_before == 0)); /* one warning a process */
	must(told_bytes <= count + 200);
	told_before += told_bytes;
	check_values();
	if (count <= 4096) check_file(bytes, count, text, &warn);
	check_suppressions(bytes, count);
	hypi_out_flush(&warn);
	if (count > 0) {
		const char *nearest = hypi_option_nearest(text, count);
		must(nearest != NULL && nearest[0] != '\0');
	}
	free(text);
	return 0;
}
