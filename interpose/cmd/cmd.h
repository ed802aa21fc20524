/*
 * interpose/cmd/cmd.h: what the parts of the `hypool` command share.
 *
 * Exit statuses, for all subcommands: 0 success; 1 what was asked for failed (a file, a process); 2 wrong usage.
 * `hypool run` ends as its program does, or with HYP_EXIT_BUDGET when a budget was exceeded and the program itself
 * succeeded, HYP_EXIT_OWN when hypool failed before the program ran, 126 and 127 as shells do.
 */
#ifndef HYPI_INTERPOSE_CMD_H
#define HYPI_INTERPOSE_CMD_H

#include "base/compiler.h"

#include <stdio.h>

enum { HYP_EXIT_BUDGET = 120, HYP_EXIT_OWN = 125 };

int hypi_cmd_run(int argc, char **argv);
int hypi_cmd_report(int argc, char **argv);
int hypi_cmd_diff(int argc, char **argv);
int hypi_cmd_doctor(int argc, char **argv);
int hypi_cmd_top(int argc, char **argv);
int hypi_cmd_bench(int argc, char **argv);
int hypi_cmd_replay(int argc, char **argv);

/* Prints "hypool: ..." on descriptor 2; returns `status`. */
int hypi_cmd_fail(int status, const char *format, ...) HYP_PRINTF(2, 3);

/* Whether argv[*at] is the option `name`; with a value, "--name=V" or "--name V", into ret_value; *at moves on. */
bool hypi_cmd_flag(char **argv, int *at, const char *name);
bool hypi_cmd_value(int argc, char **argv, int *at, const char *name, const char **ret_value);

/* "12M", "1GiB" to bytes; false: not a size. */
bool hypi_cmd_size(const char *text, uint64_t *ret_bytes);

/* "12.3 MiB" in a buffer of the caller's. */
const char *hypi_cmd_bytes(double bytes, char ret_text[24]);

/* Makes text of at most `bytes` fit for a terminal, in place: control characters and bytes that are no UTF-8 become '?'. */
void hypi_cmd_clean(char *text, size_t bytes);

/* How much of clean text to print where there is room for so many bytes: no half character. For "%.*s". */
int hypi_cmd_fit(const char *text, int most_bytes);

/* A JSON string with its quotes, of any bytes; text for HTML. */
void hypi_cmd_json(FILE *to, const char *text);
void hypi_cmd_html(FILE *to, const char *text);

/* The preload library: $HYPOOL_PRELOAD, beside the command, or in ../lib of it; false: not found. */
bool hypi_cmd_preload(char *ret_path, size_t bytes);

#endif
