/*
 * base/out.h: text without allocation.
 *
 * A hypi_out collects text in a small buffer on the caller's stack and hands it to a sink when full. It never
 * allocates, so it may be used from inside malloc, from a signal handler, and in a process whose heap is corrupt.
 * The formats are printf's %s %c %d %u %x %p %% with l, ll, z and j sizes, a field width, and a leading '0' or '-';
 * %.Nf of a double with N up to 6.
 */
#ifndef HYPI_BASE_OUT_H
#define HYPI_BASE_OUT_H

#include "base/compiler.h"

#include <stdarg.h>

typedef void hypi_out_sink(void *context, const char *text, size_t bytes);

typedef struct hypi_out {
	hypi_out_sink *sink;
	void *context;
	size_t used_bytes;
	size_t total_bytes; /* everything ever written, also what a memory sink cut */
	char text[504];
} hypi_out;

/* Writes to descriptor `fd` by write(2), retrying on EINTR; other errors are dropped. */
void hypi_out_init_fd(hypi_out *out, int fd);
void hypi_out_init_sink(hypi_out *out, hypi_out_sink *sink, void *context);

/* Sends what is buffered. Call it at the end; there is no other clean-up. errno is kept. */
void hypi_out_flush(hypi_out *out);

void hypi_out_text(hypi_out *out, const char *text, size_t bytes);
void hypi_out_format(hypi_out *out, const char *format, ...) HYP_PRINTF(2, 3);
void hypi_out_vformat(hypi_out *out, const char *format, va_list args);

/* A JSON string literal with its quotes; bytes that are not valid in JSON are escaped. */
void hypi_out_json_string(hypi_out *out, const char *text);

/* Formats into `ret_text` of `bytes` bytes, always terminated when bytes > 0. Returns the length it wanted. */
size_t hypi_format(char *ret_text, size_t bytes, const char *format, ...) HYP_PRINTF(3, 4);

#endif
