/*
 * pool/shared_file.c: a shared pool's state in a file, and back.
 *
 * The file: a header of 128 bytes, the kinds (one byte a granule, pool/region.h), and the granules of all blocks in
 * order. Two checksums: the header's own, and that of everything behind it. Each step of a checksum is a bijection of
 * the sum and of the word, so that any change within one word is found for certain, and others but for one in 2^64.
 * Everything is little-endian on the machines that we support; the magic number would not match elsewhere.
 *
 * Nothing that a file says is believed before it has been checked against the file's length; the contents of blocks go
 * into a new region that nobody else sees before the sum was right.
 */
#include "base/bits.h"
#include "base/out.h"
#include "core/meta.h"
#include "heap/heap.h"
#include "os/file.h"
#include "pool/shared.h"

#include <errno.h>
#include <string.h>

#define FILE_MAGIC UINT64_C(0x3145564153505948) /* "HYPSAVE1" */
enum { FILE_VERSION = 1, BUFFER_BYTES = 16384, PATH_BYTES = 1024 };

typedef struct file_header {
	uint64_t magic;
	uint32_t version, header_bytes;
	uint64_t granules, used_granules, blocks, root;
	uint64_t body_sum, body_bytes;
	uint64_t spare[7];
	uint64_t header_sum; /* of all before it */
} file_header;

_Static_assert(sizeof(file_header) == 128, "the header is written as it is");

/* `bytes` is a multiple of 8. */
static uint64_t sum_of(uint64_t sum, const void *data, size_t bytes) {
	for (size_t i = 0; i < bytes; i += 8) {
		uint64_t word;
		memcpy(&word, (const char *)data + i, sizeof word);
		sum = hypi_mix64(sum ^ word) + UINT64_C(0x9e3779b97f4a7c15);
	}
	return sum;
}

static uint64_t sum_of_header(const file_header *header) {
	return sum_of(FILE_MAGIC, header, offsetof(file_header, header_sum));
}

static char *kinds_of(hypi_region *region) { return (char *)region + region->kinds_offset; }
static char *data_of(hypi_region *region) { return (char *)region + region->data_offset; }

/* The next run of granules that blocks occupy from `at` on; false: no more. */
static bool next_run(const hypi_region *region, uint64_t at, uint64_t *ret_first, uint64_t *ret_end) {
	while (at < region->granules && hypi_region_block(region, at) == 0) at++;
	uint64_t end = at, count;
	while (end < region->granules && (count = hypi_region_block(region, end)) != 0) end += count;
	*ret_first = at;
	*ret_end = end;
	return at < end;
}

/* ---- save ---- */

/* What others change meanwhile may be written old or new, but what is summed is what is written: by way of a buffer. */
static hyp_status write_summed(int fd, const char *data, uint64_t bytes, char *buffer, uint64_t *sum) {
	while (bytes > 0) {
		size_t part = bytes < BUFFER_BYTES ? (size_t)bytes : BUFFER_BYTES;
		memcpy(buffer, data, part);
		*sum = sum_of(*sum, buffer, part);
		hyp_status status = hypi_os_file_write(fd, buffer, part);
		if (status != HYP_OK) return status;
		data += part;
		bytes -= part;
	}
	return HYP_OK;
}

static hyp_status write_body(hypi_region *region, int fd, char *buffer, uint64_t *sum) {
	hyp_status status = write_summed(fd, kinds_of(region), region->granules, buffer, sum);
	uint64_t first, end = 0;
	while (status == HYP_OK && next_run(region, end, &first, &end))
		status = write_summed(fd, data_of(region) + (first << HYPI_GRANULE_LOG2), (end - first) << HYPI_GRANULE_LOG2,
		                      buffer, sum);
	return status;
}

static hyp_status write_all(hypi_region *region, int fd, char *buffer) {
	file_header header = {
		.magic = FILE_MAGIC,
		.version = FILE_VERSION,
		.header_bytes = sizeof header,
		.granules = region->granules,
		.used_granules = region->used_granules,
		.blocks = region->blocks,
		.root = atomic_load(&region->root),
		.body_bytes = region->granules + (region->used_granules << HYPI_GRANULE_LOG2),
	};
	/* The sum is known last and stands first: a header of zeros holds its place. */
	static const file_header nothing;
	hyp_status status = hypi_os_file_write(fd, &nothing, sizeof nothing);
	if (status == HYP_OK) status = write_body(region, fd, buffer, &header.body_sum);
	header.header_sum = sum_of_header(&header);
	if (status == HYP_OK) status = hypi_os_file_rewind(fd);
	return status == HYP_OK ? hypi_os_file_write(fd, &header, sizeof header) : status;
}

hyp_status hyp_shared_save(hyp_shared *shared, const char *path) {
	char temporary[PATH_BYTES];
	if (shared == NULL || path == NULL) return HYP_ERR_INVALID;
	size_t length = hypi_format(temporary, sizeof temporary, "%s.%u.tmp", path, (unsigned)hypi_os_thread_id());
	if (length >= sizeof temporary) return HYP_ERR_INVALID;
	char *buffer = hypi_meta_alloc(BUFFER_BYTES);
	if (buffer == NULL) return HYP_ERR_NO_MEMORY;
	hyp_status status = HYP_ERR_OS;
	int fd = hypi_os_file_open(HYPI_FILE_PATH, temporary, true);
	if (fd >= 0) {
		status = hypi_shared_lock(shared);
		if (status == HYP_OK) {
			status = write_all(shared->region, fd, buffer);
			hypi_shared_unlock(shared);
		}
		if (status == HYP_OK) status = hypi_os_file_publish(fd, temporary, path);
		int saved = errno;
		if (status != HYP_OK) hypi_os_file_remove(HYPI_FILE_PATH, temporary);
		errno = saved;
		hypi_os_file_close(fd);
	}
	hypi_meta_free(buffer, BUFFER_BYTES);
	return status;
}

/* ---- restore ---- */

static hyp_status read_header(int fd, file_header *ret_header) {
	size_t bytes;
	if (!hypi_os_file_size(fd, &bytes)) return HYP_ERR_OS;
	if (bytes < sizeof *ret_header) return HYP_ERR_CORRUPT;
	hyp_status status = hypi_os_file_read(fd, ret_header, sizeof *ret_header);
	if (status != HYP_OK) return status;
	const file_header *h = ret_header;
	if (h->magic != FILE_MAGIC || h->version != FILE_VERSION || h->header_bytes != sizeof *h ||
	    h->header_sum != sum_of_header(h))
		return HYP_ERR_CORRUPT;
	if (h->granules == 0 || h->granules % 64 != 0 || h->granules > UINT64_C(1) << 32 || h->used_granules > h->granules)
		return HYP_ERR_CORRUPT;
	uint64_t body = h->granules + (h->used_granules << HYPI_GRANULE_LOG2);
	return h->body_bytes == body && bytes == sizeof *h + body ? HYP_OK : HYP_ERR_CORRUPT;
}

static hyp_status read_body(int fd, const file_header *header, hyp_shared *shared) {
	hypi_region *region = shared->region;
	hyp_status status = hypi_os_file_read(fd, kinds_of(region), header->granules);
	if (status != HYP_OK) return status;
	if (!hypi_region_rebuild(region) || region->used_granules != header->used_granules ||
	    region->blocks != header->blocks)
		return HYP_ERR_CORRUPT;
	uint64_t sum = sum_of(0, kinds_of(region), header->granules), first, end = 0;
	while (next_run(region, end, &first, &end)) {
		if (!hypi_shared_back(shared, first, end - first)) return HYP_ERR_NO_MEMORY;
		char *data = data_of(region) + (first << HYPI_GRANULE_LOG2);
		size_t bytes = (size_t)((end - first) << HYPI_GRANULE_LOG2);
		status = hypi_os_file_read(fd, data, bytes);
		if (status != HYP_OK) return status;
		sum = sum_of(sum, data, bytes);
	}
	return sum == header->body_sum ? HYP_OK : HYP_ERR_CORRUPT;
}

hyp_status hyp_shared_restore(const char *path, const char *name, hyp_shared **ret_shared) {
	if (path == NULL || ret_shared == NULL) return HYP_ERR_INVALID;
	hypi_process_init();
	int fd = hypi_os_file_open(HYPI_FILE_PATH, path, false);
	if (fd < 0) return errno == ENOENT ? HYP_ERR_NOT_FOUND : HYP_ERR_OS;
	file_header header;
	hyp_shared *shared = NULL;
	hyp_status status = read_header(fd, &header);
	if (status == HYP_OK) status = hypi_shared_make(name, header.granules, &shared);
	if (status == HYP_OK) {
		status = read_body(fd, &header, shared);
		if (status == HYP_OK) {
			atomic_store(&shared->region->root, header.root);
			status = hypi_shared_open(shared);
		}
		if (status == HYP_OK) {
			*ret_shared = shared;
		} else {
			hyp_shared_detach(shared);
			if (name != NULL && hyp_shared_remove(name) != HYP_OK) errno = 0;
		}
	}
	hypi_os_file_close(fd);
	return status;
}
