/* interpose/cmd/main.c: the `hypool` command: finds the subcommand; see interpose/cmd/cmd.h. */
#include "interpose/cmd/cmd.h"

#include <string.h>

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
