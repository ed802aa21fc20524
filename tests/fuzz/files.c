/*
 * tests/fuzz/files.c: files that are not there, standard output in memory, and inputs of several parts; see fuzz.h.
 *
 * Readers of fixed paths (/proc, /sys, a process's page in /dev/shm) are tried as they are: the linker sends their open and
 * fopen here (ld --wrap), and a path that was given with fuzz_file is a file in memory.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FILES = 16 };

static struct {
	const char *folder, *name;
	int fd;
} files[FILES];
static size_t file_count;
static const char *closed;

void must(bool holds) {
	if (!holds) abort();
}

void fuzz_file(const char *folder, const char *name, const void *bytes, size_t count) {
	must(file_count < FILES);
	if (files[file_count].fd == 0) files[file_count].fd = memfd_create("fuzz", MFD_CLOEXEC);
	int fd = files[file_count].fd;
	must(fd > 0 && ftruncate(fd, 0) == 0 && pwrite(fd, bytes, count, 0) == (ssize_t)count);
	files[file_count].folder = folder;
	files[file_count++].name = name;
}

void fuzz_no_others(const char *folder) { closed = folder; }

void fuzz_no_files(void) {
	file_count = 0;
	closed = NULL;
}

/* -1: it is no file of ours; -2: it does not exist. */
static int own_file(const char *path) {
	size_t length = strlen(path);
	for (size_t i = 0; i < file_count; i++) {
		size_t n = strlen(files[i].name);
		if (strncmp(path, files[i].folder, strlen(files[i].folder)) == 0 && length > n && path[length - n - 1] == '/' &&
		    strcmp(path + length - n, files[i].name) == 0)
			return files[i].fd;
	}
	return closed != NULL && strncmp(path, closed, strlen(closed)) == 0 ? -2 : -1;
}

/* What to open in place of `path`; NULL with errno: nothing. */
static const char *instead(const char *path, char ret_path[64]) {
	int fd = own_file(path);
	if (fd == -1) return path;
	if (fd == -2) return errno = ENOENT, NULL;
	snprintf(ret_path, 64, "/proc/self/fd/%d", fd);
	return ret_path;
}

#define WRAPPED_OPEN(name) \
	int __real_##name(const char *path, int flags, ...); \
	int __wrap_##name(const char *path, int flags, ...); \
	int __wrap_##name(const char *path, int flags, ...) { \
		char other[64]; \
		va_list more; \
		va_start(more, flags); \
		unsigned mode = (flags & O_CREAT) != 0 ? va_arg(more, unsigned) : 0; \
		va_end(more); \
		const char *at = instead(path, other); \
		return at == NULL ? -1 : __real_##name(at, at == other ? flags & ~O_NOFOLLOW : flags, mode); \
	}
WRAPPED_OPEN(open)
WRAPPED_OPEN(open64)

#define WRAPPED_FOPEN(name) \
	FILE *__real_##name(const char *path, const char *mode); \
	FILE *__wrap_##name(const char *path, const char *mode); \
	FILE *__wrap_##name(const char *path, const char *mode) { \
		char other[64]; \
		const char *at = instead(path, other); \
		return at == NULL ? NULL : __real_##name(at, mode); \
	}
WRAPPED_FOPEN(fopen)
WRAPPED_FOPEN(fopen64)

int __real_access(const char *path, int what);
int __wrap_access(const char *path, int what);
int __wrap_access(const char *path, int what) {
	char other[64];
	const char *at = instead(path, other);
	return at == NULL ? -1 : __real_access(at, what);
}

size_t fuzz_parts(const uint8_t *bytes, size_t count, fuzz_part *ret_parts, size_t most) {
	size_t parts = 0, from = 0;
	for (size_t at = 0; parts + 1 < most && count >= 3 && at <= count - 3; at++) {
		if (memcmp(bytes + at, "==\n", 3) != 0 || (at != 0 && bytes[at - 1] != '\n')) continue;
		ret_parts[parts++] = (fuzz_part){bytes + from, at - from};
		from = at + 3;
		at += 2;
	}
	ret_parts[parts++] = (fuzz_part){bytes + from, count - from};
	return parts;
}

char *fuzz_printed(int (*call)(int argc, char **argv), int argc, char **argv, int *ret_status) {
	static FILE *nowhere;
	if (nowhere == NULL) nowhere = fopen("/dev/null", "we");
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = stdout, *err = stderr, *memory = open_memstream(&text, &bytes);
	must(nowhere != NULL && memory != NULL);
	stdout = memory;
	stderr = nowhere;
	int status = call(argc, argv);
	stdout = out;
	stderr = err;
	must(fclose(memory) == 0);
	must(strlen(text) == bytes); /* no zero byte in it */
	if (ret_status != NULL) *ret_status = status;
	return text;
}
