/*
 * tests/fuzz/fuzz.h: what a fuzz target is: libFuzzer's entry point. With -fsanitize=fuzzer the library drives it;
 * without, corpus.c gives it every file of a corpus, so that any compiler runs what is known. And what targets share.
 */
#ifndef HYP_TESTS_FUZZ_FUZZ_H
#define HYP_TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

/* Ends the program when it does not hold. */
void must(bool holds);

/* ---- files.c: files that are not there. The targets that use it are linked with --wrap=open and the like ---- */

/* From now on, whoever opens a path that begins with `folder` and ends in "/" and `name` reads these bytes. At most 16. */
void fuzz_file(const char *folder, const char *name, const void *bytes, size_t count);
/* From now on, all other paths that begin with `folder` do not exist. At most one. */
void fuzz_no_others(const char *folder);
void fuzz_no_files(void);

/* Cuts an input at lines "==" into at most `most` parts; returns how many. */
typedef struct fuzz_part {
	const uint8_t *bytes;
	size_t count;
} fuzz_part;
size_t fuzz_parts(const uint8_t *bytes, size_t count, fuzz_part *ret_parts, size_t most);

/* Runs `call` with standard output and standard error of stdio in memory; returns what it printed on standard output, to be
 * freed. What it complained of is dropped. (glibc's stdout may be assigned to.) */
char *fuzz_printed(int (*call)(int argc, char **argv), int argc, char **argv, int *ret_status);

/* ---- output.c: what is wrong with a text; NULL: nothing ---- */

const char *json_wrong(const char *text);
/* Markup that is not the program's own: the text that was put in carries MARK after each of <>&"' */
#define MARK "\xc2\xa7"
const char *html_wrong(const char *text);
const char *terminal_wrong(const char *text); /* control characters, or no UTF-8 */

#endif
