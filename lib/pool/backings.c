/*
 * pool/backings.c: the backings that come with hypool: host memory of every shape, a file, and shared memory.
 *
 * What the machine cannot do is refused when the backing is opened, by trying it on one page (or huge page): a bind that
 * the kernel merely accepted, a lock beyond the limit or huge pages that do not exist are errors, not wishes.
 *
 * A file's ranges are handed out from a growing offset; what is released is punched out, so a file is as large as all
 * that it ever held but takes the space of what it holds. Called outside every lock of hypool; a file has its own.
 */
#include "base/bits.h"
#include "base/option.h"
#include "core/meta.h"
#include "os/file.h"
#include "pool/pool.h"

#include <errno.h>
#include <string.h>

/* ---- host memory ---- */

typedef struct host {
	int node;
	hyp_huge_pages huge;
	bool lock;
} host;

/* Explicit huge pages come aligned to their own size; a larger alignment is cut out of a larger mapping. */
static void *map_explicit(size_t bytes, size_t alignment) {
	size_t huge = hypi_os.huge_page_bytes, total;
	if (alignment <= huge) return hypi_os_map_huge(bytes, huge);
	if (__builtin_add_overflow(bytes, alignment - huge, &total)) return errno = ENOMEM, NULL;
	char *p = hypi_os_map_huge(total, huge);
	if (p == NULL) return NULL;
	char *start = (char *)hypi_round_up((uintptr_t)p, alignment);
	size_t before = (size_t)(start - p), after = total - before - bytes;
	/* What cannot be cut away stays reserved: huge pages lost to the pool, but nobody's harm. */
	if (before > 0 && hypi_os_unmap(p, before) != HYP_OK) errno = 0;
	if (after > 0 && hypi_os_unmap(start + bytes, after) != HYP_OK) errno = 0;
	return start;
}

static hyp_status host_reserve(void *context, size_t bytes, size_t alignment, uintptr_t *ret_address) {
	const host *h = context;
	void *p = h->huge == HYP_HUGE_EXPLICIT ? map_explicit(bytes, alignment) : hypi_os_map(bytes, alignment);
	if (p == NULL) return HYP_ERR_NO_MEMORY;
	hyp_status status = HYP_OK;
	if (h->node >= 0) status = hypi_os_numa_bind(p, bytes, h->node);
	/* Transparent huge pages are a wish: a kernel without them says no. */
	if (status == HYP_OK && (h->huge == HYP_HUGE_TRANSPARENT || h->huge == HYP_HUGE_NEVER) &&
	    hypi_os_huge_pages(p, bytes, h->huge == HYP_HUGE_TRANSPARENT) != HYP_OK)
		errno = 0;
	if (status == HYP_OK) {
		*ret_address = (uintptr_t)p;
		return HYP_OK;
	}
	int saved = errno;
	if (hypi_os_unmap(p, bytes) != HYP_OK) status = HYP_ERR_OS;
	errno = saved;
	return status;
}

static hyp_status host_lock(void *context, uintptr_t address, size_t bytes) {
	(void)context;
	return hypi_os_lock_memory((void *)address, bytes) == HYP_OK ? HYP_OK : HYP_ERR_NO_MEMORY;
}

static hyp_status host_purge(void *context, uintptr_t address, size_t bytes) {
	(void)context;
	return hypi_os_purge((void *)address, bytes, HYPI_PURGE_NOW);
}

static hyp_status host_release(void *context, uintptr_t address, size_t bytes) {
	(void)context;
	return hypi_os_unmap((void *)address, bytes);
}

static hyp_status try_host(host *h, size_t granule) {
	uintptr_t address;
	hyp_status status = host_reserve(h, granule, granule, &address);
	if (status == HYP_ERR_NO_MEMORY && h->huge == HYP_HUGE_EXPLICIT) return HYP_ERR_UNSUPPORTED;
	if (status != HYP_OK) return status;
	if (h->lock) status = hypi_os_lock_memory((void *)address, granule);
	if (hypi_os_unmap((void *)address, granule) != HYP_OK && status == HYP_OK) status = HYP_ERR_OS;
	return status;
}

hyp_status hyp_backing_open_host(int numa_node, hyp_huge_pages huge_pages, bool lock_memory, hyp_backing *ret_backing) {
	if (ret_backing == NULL || numa_node < -1 || (unsigned)huge_pages > HYP_HUGE_EXPLICIT) return HYP_ERR_INVALID;
	hypi_process_init();
	if (huge_pages == HYP_HUGE_DEFAULT && hypi_option_get(HYPI_OPTION_huge_pages)) huge_pages = HYP_HUGE_TRANSPARENT;
	host h = {numa_node, huge_pages, lock_memory};
	size_t granule = huge_pages == HYP_HUGE_EXPLICIT ? hypi_os.huge_page_bytes : hypi_os.page_bytes;
	hyp_status status = try_host(&h, granule);
	if (status != HYP_OK) return status;
	host *context = hypi_meta_alloc(sizeof *context);
	if (context == NULL) return HYP_ERR_NO_MEMORY;
	*context = h;
	bool purges = !lock_memory && huge_pages != HYP_HUGE_EXPLICIT;
	*ret_backing = (hyp_backing){
		.struct_bytes = sizeof *ret_backing,
		.name = numa_node >= 0                    ? "numa"
	            : huge_pages == HYP_HUGE_EXPLICIT ? "huge pages"
	            : lock_memory                     ? "locked"
	                                              : "anonymous",
		.context = context,
		.flags = HYP_BACKING_HOST | HYP_BACKING_ZEROED | (lock_memory ? HYP_BACKING_PINNED : 0u),
		.granule_bytes = granule,
		.numa_node = numa_node,
		.reserve = host_reserve,
		.commit = lock_memory ? host_lock : NULL,
		.purge = purges ? host_purge : NULL,
		.release = host_release,
	};
	return HYP_OK;
}

/* ---- files ---- */

typedef struct file_range {
	struct file_range *next;
	uintptr_t address;
	size_t bytes, offset;
} file_range;

typedef struct file {
	hypi_lock lock;
	int fd;
	size_t end;         /* of the file; the lock */
	file_range *ranges; /* the lock */
	char path[512];     /* "": it has none */
} file;

static hyp_status file_reserve(void *context, size_t bytes, size_t alignment, uintptr_t *ret_address) {
	file *f = context;
	file_range *range = hypi_meta_alloc(sizeof *range);
	if (range == NULL) return HYP_ERR_NO_MEMORY;
	void *p = hypi_os_reserve(bytes, alignment);
	hyp_status status = p != NULL ? HYP_OK : HYP_ERR_NO_MEMORY;
	if (status == HYP_OK) {
		hypi_lock_take(&f->lock);
		size_t offset = f->end;
		status = hypi_os_file_resize(f->fd, offset + bytes);
		if (status == HYP_OK) {
			f->end += bytes;
			if (hypi_os_file_map(f->fd, offset, bytes, p) == NULL) status = HYP_ERR_NO_MEMORY;
		}
		if (status == HYP_OK) {
			*range = (file_range){f->ranges, (uintptr_t)p, bytes, offset};
			f->ranges = range;
		}
		hypi_unlock(&f->lock);
		if (status != HYP_OK && hypi_os_unmap(p, bytes) != HYP_OK) status = HYP_ERR_OS;
	}
	if (status == HYP_OK) *ret_address = (uintptr_t)p;
	else hypi_meta_free(range, sizeof *range);
	return status;
}

/* Where in the file an address is; the caller holds the lock. */
static file_range **range_of(file *f, uintptr_t address) {
	file_range **at = &f->ranges;
	while (*at != NULL && address - (*at)->address >= (*at)->bytes) at = &(*at)->next;
	return at;
}

static hyp_status file_purge(void *context, uintptr_t address, size_t bytes) {
	file *f = context;
	hypi_lock_take(&f->lock);
	const file_range *range = *range_of(f, address);
	size_t offset = range != NULL ? range->offset + (address - range->address) : 0;
	hypi_unlock(&f->lock);
	return range != NULL ? hypi_os_file_punch(f->fd, offset, bytes) : HYP_ERR_INVALID;
}

static hyp_status file_release(void *context, uintptr_t address, size_t bytes) {
	file *f = context;
	hyp_status status = hypi_os_unmap((void *)address, bytes);
	if (status != HYP_OK) return status;
	hypi_lock_take(&f->lock);
	file_range **at = range_of(f, address), *range = *at;
	if (range != NULL) *at = range->next;
	hypi_unlock(&f->lock);
	if (range == NULL) return HYP_ERR_INVALID;
	if (hypi_os_file_punch(f->fd, range->offset, bytes) != HYP_OK) errno = 0; /* the space goes when the file does */
	hypi_meta_free(range, sizeof *range);
	return HYP_OK;
}

static hyp_status open_file(int fd, const char *path, const char *name, hyp_backing *ret_backing) {
	if (fd < 0) return errno == EEXIST ? HYP_ERR_EXISTS : errno == ENOSYS ? HYP_ERR_UNSUPPORTED : HYP_ERR_OS;
	file *f = hypi_meta_alloc(sizeof *f);
	if (f == NULL) {
		hypi_os_file_close(fd);
		return HYP_ERR_NO_MEMORY;
	}
	f->fd = fd;
	memcpy(f->path, path, strlen(path) + 1);
	*ret_backing = (hyp_backing){
		.struct_bytes = sizeof *ret_backing,
		.name = name,
		.context = f,
		.flags = HYP_BACKING_HOST | HYP_BACKING_ZEROED | HYP_BACKING_SHAREABLE,
		.numa_node = -1,
		.reserve = file_reserve,
		.purge = file_purge,
		.release = file_release,
	};
	return HYP_OK;
}

hyp_status hyp_backing_open_file(const char *path, hyp_backing *ret_backing) {
	if (path == NULL || ret_backing == NULL || strlen(path) >= sizeof((file *)0)->path) return HYP_ERR_INVALID;
	hypi_process_init();
	int fd = hypi_os_file_open(HYPI_FILE_PATH, path, true);
	hyp_status status = open_file(fd, path, "file", ret_backing);
	if (fd >= 0 && status != HYP_OK && !hypi_os_file_remove(HYPI_FILE_PATH, path)) errno = 0;
	return status;
}

hyp_status hyp_backing_open_shared(hyp_backing *ret_backing) {
	if (ret_backing == NULL) return HYP_ERR_INVALID;
	hypi_process_init();
	return open_file(hypi_os_memory_file("hypool"), "", "shared memory", ret_backing);
}

void hyp_backing_close(hyp_backing *backing) {
	if (backing == NULL || backing->context == NULL) return;
	if (backing->reserve == host_reserve) {
		hypi_meta_free(backing->context, sizeof(host));
	} else if (backing->reserve == file_reserve) {
		file *f = backing->context;
		/* What could not be released before: no pool is left that could use it. */
		for (file_range *range = f->ranges, *next; range != NULL; range = next) {
			next = range->next;
			if (hypi_os_unmap((void *)range->address, range->bytes) != HYP_OK) errno = 0;
			hypi_meta_free(range, sizeof *range);
		}
		hypi_os_file_close(f->fd);
		if (f->path[0] != '\0' && !hypi_os_file_remove(HYPI_FILE_PATH, f->path)) errno = 0;
		hypi_meta_free(f, sizeof *f);
	} else {
		return;
	}
	backing->context = NULL;
	backing->reserve = NULL;
}
