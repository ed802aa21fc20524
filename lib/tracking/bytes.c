/* tracking/bytes.c: see tracking/bytes.h. */
#include "tracking/bytes.h"

#include "base/bits.h"
#include "os/os.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static void drop(void *p, size_t bytes) {
	hyp_status status = hypi_os_unmap(p, bytes);
	(void)status; /* a mapping that stays costs address space alone */
}

void hypi_bytes_fini(hypi_bytes *b) {
	if (b->at != NULL) drop(b->at, b->capacity);
	*b = (hypi_bytes){0};
}

void *hypi_bytes_extend(hypi_bytes *b, size_t bytes) {
	if (b->failed) return NULL;
	if (b->capacity - b->used < bytes) {
		size_t capacity = hypi_round_up(2 * b->capacity + bytes + 65536, hypi_os.page_bytes);
		unsigned char *p = hypi_os_map(capacity, hypi_os.page_bytes);
		if (p == NULL) return b->failed = true, NULL;
		if (b->at != NULL) {
			memcpy(p, b->at, b->used);
			drop(b->at, b->capacity);
		}
		b->at = p;
		b->capacity = capacity;
	}
	void *p = b->at + b->used;
	b->used += bytes;
	return p;
}

void hypi_bytes_add(hypi_bytes *b, const void *data, size_t bytes) {
	void *p = hypi_bytes_extend(b, bytes);
	if (p != NULL && bytes != 0) memcpy(p, data, bytes);
}

static void sink(void *context, const char *text, size_t bytes) { hypi_bytes_add(context, text, bytes); }

void hypi_bytes_out(hypi_bytes *b, hypi_out *ret_out) { hypi_out_init_sink(ret_out, sink, b); }

bool hypi_write_all(int fd, const void *data, size_t bytes) {
	const char *at = data;
	while (bytes > 0) {
		ssize_t n = write(fd, at, bytes);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) return false;
		at += n;
		bytes -= (size_t)n;
	}
	return true;
}
