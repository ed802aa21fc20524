/* os/file.c: see os/file.h. POSIX, and what Linux has beyond it. */
#include "os/file.h"

#include "os/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int hypi_os_file_open(hypi_file_kind kind, const char *name, bool create) {
	if (hypi_fault(HYPI_FAULT_FILE)) return -1;
	int flags = O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_EXCL : 0);
	return kind == HYPI_FILE_SHARED ? shm_open(name, flags & ~O_CLOEXEC, 0600) : open(name, flags, 0600);
}

bool hypi_os_file_remove(hypi_file_kind kind, const char *name) {
	return (kind == HYPI_FILE_SHARED ? shm_unlink(name) : unlink(name)) == 0;
}

hyp_status hypi_os_file_publish(int fd, const char *from, const char *to) {
	if (hypi_fault(HYPI_FAULT_FILE)) return HYP_ERR_OS;
	return fsync(fd) == 0 && rename(from, to) == 0 ? HYP_OK : HYP_ERR_OS;
}

int hypi_os_memory_file(const char *name) {
	if (hypi_fault(HYPI_FAULT_FILE)) return -1;
#if HYP_HAVE_MEMFD_CREATE
	return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
#else
	(void)name;
	errno = ENOSYS;
	return -1;
#endif
}

bool hypi_os_file_seal(int fd) {
#if HYP_HAVE_MEMFD_CREATE
	return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0;
#else
	(void)fd;
	return false;
#endif
}

hyp_status hypi_os_file_resize(int fd, size_t bytes) {
	if (hypi_fault(HYPI_FAULT_FILE)) return HYP_ERR_OS;
	return ftruncate(fd, (off_t)bytes) == 0 ? HYP_OK : HYP_ERR_OS;
}

hyp_status hypi_os_file_reserve(int fd, size_t offset, size_t bytes) {
	if (hypi_fault(HYPI_FAULT_FILE)) return HYP_ERR_NO_MEMORY;
#if HYP_OS_LINUX
	int saved = errno, done;
	do done = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes);
	while (done != 0 && errno == EINTR);
	hyp_status status = done == 0                                               ? HYP_OK
	                    : errno == ENOSPC || errno == ENOMEM || errno == EDQUOT ? HYP_ERR_NO_MEMORY
	                                                                            : HYP_ERR_UNSUPPORTED;
	errno = saved;
	return status;
#else
	(void)fd;
	(void)offset;
	(void)bytes;
	return HYP_ERR_UNSUPPORTED;
#endif
}

bool hypi_os_file_size(int fd, size_t *ret_bytes) {
	struct stat st;
	if (hypi_fault(HYPI_FAULT_FILE) || fstat(fd, &st) != 0 || st.st_size < 0) return false;
	*ret_bytes = (size_t)st.st_size;
	return true;
}

void hypi_os_file_close(int fd) {
	int saved = errno;
	close(fd);
	errno = saved;
}

int hypi_os_file_duplicate(int fd) {
	if (hypi_fault(HYPI_FAULT_FILE)) return -1;
	return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

hyp_status hypi_os_file_rewind(int fd) {
	if (hypi_fault(HYPI_FAULT_FILE)) return HYP_ERR_OS;
	return lseek(fd, 0, SEEK_SET) == 0 ? HYP_OK : HYP_ERR_OS;
}

void *hypi_os_file_map(int fd, size_t offset, size_t bytes, void *address) {
	if (hypi_fault(HYPI_FAULT_MAP)) return NULL;
	int flags = MAP_SHARED | (address != NULL ? MAP_FIXED : 0);
	void *p = mmap(address, bytes, PROT_READ | PROT_WRITE, flags, fd, (off_t)offset);
	return p == MAP_FAILED ? NULL : p;
}

hyp_status hypi_os_file_punch(int fd, size_t offset, size_t bytes) {
	if (hypi_fault(HYPI_FAULT_PURGE)) return HYP_ERR_OS;
#if HYP_OS_LINUX
	int saved = errno;
	int done = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes);
	errno = saved;
	return done == 0 ? HYP_OK : HYP_ERR_OS;
#else
	(void)fd;
	(void)offset;
	(void)bytes;
	return HYP_ERR_OS;
#endif
}

hyp_status hypi_os_file_write(int fd, const void *data, size_t bytes) {
	if (hypi_fault(HYPI_FAULT_FILE)) return HYP_ERR_OS;
	const char *at = data;
	while (bytes > 0) {
		ssize_t n = write(fd, at, bytes);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) return HYP_ERR_OS;
		at += n;
		bytes -= (size_t)n;
	}
	return HYP_OK;
}

hyp_status hypi_os_file_read(int fd, void *ret_data, size_t bytes) {
	if (hypi_fault(HYPI_FAULT_FILE)) return HYP_ERR_OS;
	char *at = ret_data;
	while (bytes > 0) {
		ssize_t n = read(fd, at, bytes);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return HYP_ERR_OS;
		if (n == 0) return HYP_ERR_CORRUPT;
		at += n;
		bytes -= (size_t)n;
	}
	return HYP_OK;
}
