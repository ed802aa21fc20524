/*
 * os/file.h: memory that is a file: named files, memory files and shared-memory objects, and mappings of them.
 *
 * Like os/os.h the only place in the trunk where these calls are made. A call that fails sets errno and changes
 * nothing. Every call that can fail asks os/fault.h first (HYPI_FAULT_FILE; mappings HYPI_FAULT_MAP).
 */
#ifndef HYPI_OS_FILE_H
#define HYPI_OS_FILE_H

#include "os/os.h"

typedef enum hypi_file_kind {
	HYPI_FILE_PATH,  /* `name` is a path */
	HYPI_FILE_SHARED /* `name` is that of a shared-memory object, "/name" */
} hypi_file_kind;

/* Opens for reading and writing; -1 with errno. `create`: it must not exist, and is for the user alone. */
int hypi_os_file_open(hypi_file_kind kind, const char *name, bool create);
bool hypi_os_file_remove(hypi_file_kind kind, const char *name);

/* Brings what was written to the disk and then gives the file its name, in place of what had it. */
HYP_MUST_USE hyp_status hypi_os_file_publish(int fd, const char *from, const char *to);

/* A file of no name, in memory; it can be sealed. -1: none to be had here. */
int hypi_os_memory_file(const char *name);

/* The file never changes its size again (where the system can promise that), so that no reader of its mapping is
 * killed by a cut. False: no such promise. */
bool hypi_os_file_seal(int fd);

HYP_MUST_USE hyp_status hypi_os_file_resize(int fd, size_t bytes);

/* Makes the file's pages in the range, so that a store to its mapping cannot be the one for which there is no room (the
 * kernel's answer to that is SIGBUS). HYP_ERR_NO_MEMORY: there is none. HYP_ERR_UNSUPPORTED: no such promise here. */
HYP_MUST_USE hyp_status hypi_os_file_reserve(int fd, size_t offset, size_t bytes);
bool hypi_os_file_size(int fd, size_t *ret_bytes);
void hypi_os_file_close(int fd);
int hypi_os_file_duplicate(int fd); /* -1 with errno */
HYP_MUST_USE hyp_status hypi_os_file_rewind(int fd);

/* Maps [offset, offset + bytes) shared, readable and writable, over the reserved range at `address`, or anywhere when
 * that is NULL. NULL with errno. */
void *hypi_os_file_map(int fd, size_t offset, size_t bytes, void *address);

/* Gives the file's pages in the range back; they read as zero afterwards. */
HYP_MUST_USE hyp_status hypi_os_file_punch(int fd, size_t offset, size_t bytes);

/* All of it or HYP_ERR_OS; a short file is HYP_ERR_CORRUPT. */
HYP_MUST_USE hyp_status hypi_os_file_write(int fd, const void *data, size_t bytes);
HYP_MUST_USE hyp_status hypi_os_file_read(int fd, void *ret_data, size_t bytes);

#endif
