/* interpose/cmd/main.c: the `hypool` command: finds the subcommand; see interpose/cmd/cmd.h. */
#include "interpose/cmd/cmd.h"

#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *usage, *doc;
} commands[] = {
	{"run", hypi_cmd_run, "run [options] [--] PROGRAM [ARGUMENTS]",
     "run a program on hypool and see where its memory goes"},
	{"report", hypi_cmd_report, "report [options] FILE", "show a report that was kept"},
	{"diff", hypi_cmd_diff, "diff [options] BEFORE AFTER", "compare two reports by call site"},
	{"top", hypi_cmd_top, "top [options] [PID]", "watch a process that keeps live statistics"},
	{"doctor", hypi_cmd_doctor, "doctor [--json]",
     "options in effect and where each came from, what the system offers, what is off"},
	{"replay", hypi_cmd_replay, "replay [--json] TRACE", "repeat a recorded trace on the malloc of this process"},
	{"bench", hypi_cmd_bench, "bench [--json]", "a minute's measure of hypool beside this process's malloc"},
};

static int usage(FILE *to) {
	fprintf(to, "usage: hypool COMMAND ...\n\n");
	for (size_t i = 0; i < HYP_ARRAY_LEN(commands); i++)
		fprintf(to, "  hypool %-42s %s\n", commands[i].usage, commands[i].doc);
	fprintf(to, "\nTry first:  hypool run --report out.html -- python3 -c 'print(1)'\n"
	            "`hypool COMMAND --help` and the manual page hypool(1) say more.\n");
	return to == stdout ? 0 : 2;
}

int main(int argc, char **argv) {
	if (argc < 2) return usage(stderr);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) return usage(stdout);
	if (strcmp(argv[1], "--version") == 0) return printf("hypool %s\n", HYP_VERSION) > 0 ? 0 : 1;
	for (size_t i = 0; i < HYP_ARRAY_LEN(commands); i++) {
		if (strcmp(argv[1], commands[i].name) != 0) continue;
		int status = commands[i].run(argc - 2, argv + 2);
		if (status == 2) fprintf(stderr, "usage: hypool %s\n", commands[i].usage);
		if (fflush(stdout) != 0 || ferror(stdout)) return hypi_cmd_fail(1, "cannot write to standard output");
		return status;
	}
	fprintf(stderr, "hypool: no command %s\n", argv[1]);
	return usage(stderr);
}

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

void hypi_cmd_json(FILE *to, const char *text) {
	fputc('"', to);
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		if (c == '"' || c == '\\') fprintf(to, "\\%c", c);
		else if (c < 0x20) fprintf(to, "\\u%04x", c);
		else fputc(c, to);
	}
	fputc('"', to);
}

void hypi_cmd_html(FILE *to, const char *text) {
	for (; *text != '\0'; text++) switch (*text) {
		case '<': fputs("&lt;", to); break;
		case '>': fputs("&gt;", to); break;
		case '&': fputs("&amp;", to); break;
		case '"': fputs("&quot;", to); break;
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
