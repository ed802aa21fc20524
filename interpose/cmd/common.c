/*
 * interpose/cmd/common.c: what the parts of the command share: messages, arguments, sizes, and text made fit for where it
 * goes; see interpose/cmd/cmd.h. What a file or another process says may hold any bytes: hypi_cmd_clean stands between
 * them and a terminal, hypi_cmd_json and hypi_cmd_html between them and what is read by machines.
 */
#include "interpose/cmd/cmd.h"

#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

int hypi_cmd_fail(int status, const char *format, ...) {
	va_list args;
	va_start(args, format);
	fprintf(stderr, "hypool: ");
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return status;
}

bool hypi_cmd_flag(char **argv, int *at, const char *name) {
	if (strcmp(argv[*at], name) != 0) return false;
	++*at;
	return true;
}

bool hypi_cmd_value(int argc, char **argv, int *at, const char *name, const char **ret_value) {
	size_t n = strlen(name);
	const char *text = argv[*at];
	if (strncmp(text, name, n) != 0) return false;
	if (text[n] == '=') {
		*ret_value = text + n + 1;
		++*at;
		return true;
	}
	if (text[n] != '\0' || *at + 1 >= argc) return false;
	*ret_value = argv[*at + 1];
	*at += 2;
	return true;
}

bool hypi_cmd_size(const char *text, uint64_t *ret_bytes) {
	static const struct {
		const char *suffix;
		unsigned shift;
	} suffixes[] = {{"", 0},     {"B", 0},  {"K", 10},  {"KB", 10},  {"KiB", 10}, {"M", 20},  {"MB", 20},
	                {"MiB", 20}, {"G", 30}, {"GB", 30}, {"GiB", 30}, {"T", 40},   {"TiB", 40}};
	char *end;
	if (*text < '0' || *text > '9') return false;
	unsigned long long value = strtoull(text, &end, 10);
	for (size_t i = 0; i < HYP_ARRAY_LEN(suffixes); i++)
		if (strcasecmp(end, suffixes[i].suffix) == 0) {
			if (value > UINT64_MAX >> suffixes[i].shift) return false;
			*ret_bytes = (uint64_t)value << suffixes[i].shift;
			return true;
		}
	return false;
}

const char *hypi_cmd_bytes(double bytes, char ret_text[24]) {
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	unsigned unit = 0;
	double value = bytes < 0 ? -bytes : bytes;
	for (; value >= 1024 && unit + 1 < HYP_ARRAY_LEN(units); unit++) value /= 1024;
	snprintf(ret_text, 24, "%s%.*f %s", bytes < 0 ? "-" : "", unit == 0 || value >= 100 ? 0 : 1, value, units[unit]);
	return ret_text;
}

/* The bytes of one character of UTF-8 at `text`, at most `room`; 0: these are none (also of surrogates and of longer forms
 * than needed). */
static unsigned utf8_bytes(const unsigned char *text, size_t room) {
	if (text[0] < 0x80) return 1;
	unsigned bytes = text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
	if (text[0] < 0xc2 || text[0] > 0xf4 || bytes > room) return 0;
	for (unsigned i = 1; i < bytes; i++)
		if ((text[i] & 0xc0) != 0x80) return 0;
	if (text[0] == 0xe0 && text[1] < 0xa0) return 0;
	if (text[0] == 0xed && text[1] >= 0xa0) return 0;
	if (text[0] == 0xf0 && text[1] < 0x90) return 0;
	if (text[0] == 0xf4 && text[1] >= 0x90) return 0;
	return bytes;
}

void hypi_cmd_clean(char *text, size_t bytes) {
	unsigned char *at = (unsigned char *)text, *end = at + bytes;
	for (unsigned n; at < end && *at != '\0'; at += n) {
		n = utf8_bytes(at, (size_t)(end - at));
		bool control = *at < 0x20 || *at == 0x7f || (n == 2 && at[0] == 0xc2 && at[1] < 0xa0);
		if (n != 0 && !control) continue;
		if (n == 0) n = 1;
		memset(at, *at == '\t' ? ' ' : '?', n);
	}
}

int hypi_cmd_fit(const char *text, int most_bytes) {
	int n = (int)strnlen(text, (size_t)most_bytes + 1);
	if (n <= most_bytes) return n;
	for (n = most_bytes; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80;) n--;
	return n;
}

void hypi_cmd_json(FILE *to, const char *text) {
	const unsigned char *at = (const unsigned char *)text, *end = at + strlen(text);
	fputc('"', to);
	for (unsigned n; at < end; at += n) {
		n = utf8_bytes(at, (size_t)(end - at));
		if (n == 0) fputs("\\ufffd", to), n = 1;
		else if (*at == '"' || *at == '\\') fprintf(to, "\\%c", *at);
		else if (*at < 0x20) fprintf(to, "\\u%04x", *at);
		else fwrite(at, 1, n, to);
	}
	fputc('"', to);
}

void hypi_cmd_html(FILE *to, const char *text) {
	for (; *text != '\0'; text++) switch (*text) {
		case '<': fputs("&lt;", to); break;
		case '>': fputs("&gt;", to); break;
		case '&': fputs("&amp;", to); break;
		case '"': fputs("&quot;", to); break;
		case '\'': fputs("&#39;", to); break;
		default: fputc(*text, to); break;
		}
}

bool hypi_cmd_preload(char *ret_path, size_t bytes) {
	static const char *const places[] = {
		"", "../", "../lib/", "../lib/x86_64-linux-gnu/", "../lib/aarch64-linux-gnu/", "../lib64/"};
	char own[PATH_MAX], try[PATH_MAX + 64], real[PATH_MAX];
	const char *named = getenv("HYPOOL_PRELOAD");
	if (named != NULL && *named != '\0') {
		if (realpath(named, real) == NULL) return false;
		return (size_t)snprintf(ret_path, bytes, "%s", real) < bytes;
	}
	ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
	if (n <= 0) return false;
	own[n] = '\0';
	*(strrchr(own, '/') + 1) = '\0';
	for (size_t i = 0; i < HYP_ARRAY_LEN(places); i++) {
		snprintf(try, sizeof try, "%s%slibhypool-preload.so", own, places[i]);
		if (access(try, R_OK) == 0 && realpath(try, real) != NULL)
			return (size_t)snprintf(ret_path, bytes, "%s", real) < bytes;
	}
	return false;
}
