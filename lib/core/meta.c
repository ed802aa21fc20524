/* core/meta.c: a bump allocator with exact-size free lists; see core/meta.h. */
#include "core/meta.h"

#include "base/bits.h"

#include <errno.h>
#include <string.h>

enum { CHUNK_BYTES = 1 << 18, LISTED_BYTES = 16384 };

struct free_record {
	struct free_record *next;
};

static struct {
	hypi_lock lock;
	char *at, *end;
	size_t mapped_bytes, used_bytes;
	struct free_record *free[LISTED_BYTES / HYP_CACHE_LINE + 1];
} meta;

static void *bump(size_t bytes) {
	if ((size_t)(meta.end - meta.at) < bytes) {
		/* What is left of the old chunk is less than one record: not worth a list. */
		size_t chunk = bytes > CHUNK_BYTES ? hypi_round_up(bytes, hypi_os.page_bytes) : CHUNK_BYTES;
		char *p = hypi_os_map(chunk, hypi_os.page_bytes);
		if (p == NULL) return NULL;
		meta.mapped_bytes += chunk;
		if (chunk != CHUNK_BYTES) return p;
		meta.at = p;
		meta.end = p + chunk;
	}
	void *p = meta.at;
	meta.at += bytes;
	return p;
}

void *hypi_meta_alloc(size_t bytes) {
	bytes = hypi_round_up(bytes, HYP_CACHE_LINE);
	size_t list = bytes / HYP_CACHE_LINE;
	hypi_lock_take(&meta.lock);
	void *p;
	if (bytes <= LISTED_BYTES && meta.free[list] != NULL) {
		struct free_record *record = meta.free[list];
		meta.free[list] = record->next;
		memset(record, 0, bytes);
		p = record;
	} else {
		p = bump(bytes);
	}
	if (p != NULL) meta.used_bytes += bytes;
	hypi_unlock(&meta.lock);
	if (p == NULL) errno = ENOMEM;
	return p;
}

void hypi_meta_free(void *record, size_t bytes) {
	bytes = hypi_round_up(bytes, HYP_CACHE_LINE);
	HYP_ASSERT(bytes <= LISTED_BYTES);
	struct free_record *r = record;
	hypi_lock_take(&meta.lock);
	r->next = meta.free[bytes / HYP_CACHE_LINE];
	meta.free[bytes / HYP_CACHE_LINE] = r;
	meta.used_bytes -= bytes;
	hypi_unlock(&meta.lock);
}

size_t hypi_meta_mapped_bytes(void) {
	hypi_lock_take(&meta.lock);
	size_t bytes = meta.mapped_bytes;
	hypi_unlock(&meta.lock);
	return bytes;
}

size_t hypi_meta_used_bytes(void) {
	hypi_lock_take(&meta.lock);
	size_t bytes = meta.used_bytes;
	hypi_unlock(&meta.lock);
	return bytes;
}

void hypi_meta_fork_prepare(void) { hypi_lock_take(&meta.lock); }
void hypi_meta_fork_parent(void) { hypi_unlock(&meta.lock); }
void hypi_meta_fork_child(void) { hypi_lock_reset(&meta.lock); }
