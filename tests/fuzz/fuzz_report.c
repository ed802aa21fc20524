/*
 * tests/fuzz/fuzz_report.c: a report file may say anything. The input is a report without its first and last line, or two
 * of them with a line "==" between. Whatever it is, it is refused, or else everything that the command makes of it is sound:
 * the text holds no control character and is UTF-8, JSON is JSON, the page holds no markup but its own, each folded stack
 * ends in a number.
 */
#include "fuzz.h"

#include "interpose/cmd/cmd.h"
#include "interpose/cmd/model.h"

#include <stdlib.h>
#include <string.h>

#define HEAD "hypool-report 2\n"

/* With a mark behind each character that means something in markup, and no other. */
static void give(const char *name, fuzz_part part) {
	static char text[sizeof HEAD + (3u << 16) + 8];
	size_t n = strlen(HEAD);
	memcpy(text, HEAD, n);
	for (size_t i = 0; i < part.count && i < 1 << 16; i++) {
		text[n++] = (char)(part.bytes[i] == (unsigned char)MARK[1] ? '?' : part.bytes[i]);
		if (part.bytes[i] != 0 && strchr("<>&\"'", part.bytes[i]) != NULL) {
			memcpy(text + n, MARK, strlen(MARK));
			n += strlen(MARK);
		}
	}
	memcpy(text + n, "\nend\n", 5);
	fuzz_file("/fuzz", name, text, n + 5);
}

static void check(const char *text, const char *(*is_wrong)(const char *text)) {
	const char *why = is_wrong(text);
	if (why == NULL) return;
	fprintf(stderr, "%s in:\n%s\n", why, text);
	abort();
}

typedef int command(int argc, char **argv);

static bool try(command *run, const char *(*is_wrong)(const char *text), char **words) {
	int count = 0, status;
	while (words[count] != NULL) count++;
	char *text = fuzz_printed(run, count, words, &status);
	must(status == 0 || status == 1);
	bool taken = *text != '\0';
	must(status == 0 || !taken || run == hypi_cmd_diff);
	if (taken) check(text, is_wrong);
	free(text);
	return taken;
}

static const char *page_wrong(const char *text) {
	const char *why = html_wrong(text);
	return why != NULL ? why : terminal_wrong(text);
}

static void page(const char *path) {
	model *m = model_load(path);
	must(m != NULL);
	char *text = NULL;
	size_t bytes = 0;
	FILE *to = open_memstream(&text, &bytes);
	must(to != NULL);
	model_print_html(m, to);
	must(fclose(to) == 0);
	check(text, page_wrong);
	free(text);
	model_free(m);
}

static const char *folded_wrong(const char *text) {
	while (*text != '\0') {
		const char *end = strchr(text, '\n'), *number = end;
		if (end == NULL) return "a line without an end";
		while (number > text && number[-1] != ' ') number--;
		if (number == text || number == end || strspn(number, "0123456789") != (size_t)(end - number))
			return "a stack without a number";
		text = end + 1;
	}
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
	static char one[] = "/fuzz/one", two[] = "/fuzz/two", json[] = "--json", folded[] = "--folded", top[] = "--top=3";
	fuzz_part parts[2];
	size_t have = fuzz_parts(bytes, count, parts, 2);
	give("one", parts[0]);
	if (have == 2) give("two", parts[1]);
	if (try(hypi_cmd_report, json_wrong, (char *[]){json, one, NULL})) {
		try(hypi_cmd_report, terminal_wrong, (char *[]){one, NULL});
		try(hypi_cmd_report, folded_wrong, (char *[]){folded, one, NULL});
		page(one);
		char *other = have == 2 ? two : one;
		if (try(hypi_cmd_diff, json_wrong, (char *[]){json, one, other, NULL}))
			try(hypi_cmd_diff, terminal_wrong, (char *[]){top, other, one, NULL});
	}
	fuzz_no_files();
	return 0;
}
