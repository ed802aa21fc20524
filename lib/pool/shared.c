/*
 * pool/shared.c: shared pools: making a region, attaching to it, and the calls on it; see hypool/shared.h.
 *
 * The lock is a robust mutex in the region. Who gets it from a dead holder derives the records anew (pool/region.h)
 * before anything else; should it die too, the next one does. If the truth itself is damaged, the region is broken for
 * all, and every call says so.
 */
#include "pool/shared.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "core/meta.h"
#include "heap/heap.h"
#include "os/file.h"

#include <errno.h>
#include <string.h>

enum { WAIT_MS = 2000 }; /* for whoever is making the region that we attach to */

#define LEAST_BYTES ((size_t)64 << 10)
#define MOST_BYTES ((size_t)256 << 30)

/* ---- make and attach ---- */

static void unmap(hyp_shared *shared) {
	int saved = errno;
	if (shared->region != NULL && hypi_os_unmap(shared->region, shared->bytes) != HYP_OK)
		errno = saved; /* the range stays: address space only */
	if (shared->fd >= 0) hypi_os_file_close(shared->fd);
	hypi_meta_free(shared, sizeof *shared);
	errno = saved;
}

static hyp_status new_shared(int fd, hyp_shared **ret_shared) {
	hyp_shared *shared = hypi_meta_alloc(sizeof *shared);
	if (shared == NULL) {
		hypi_os_file_close(fd);
		return HYP_ERR_NO_MEMORY;
	}
	shared->fd = fd;
	*ret_shared = shared;
	return HYP_OK;
}

static hyp_status why_no_file(void) {
	switch (errno) {
	case EEXIST: return HYP_ERR_EXISTS;
	case ENOENT: return HYP_ERR_NOT_FOUND;
	case EINVAL:
	case ENAMETOOLONG: return HYP_ERR_INVALID;
	case ENOSYS: return HYP_ERR_UNSUPPORTED;
	default: return HYP_ERR_OS;
	}
}

static hyp_status fill_new(hyp_shared *shared, const char *name, uint64_t granules) {
	hypi_region plan = {0};
	hypi_region_lay_out(&plan, granules);
	hyp_status status = hypi_os_file_resize(shared->fd, plan.region_bytes);
	if (status != HYP_OK) return status;
	if (name == NULL && !hypi_os_file_seal(shared->fd)) return HYP_ERR_OS;
	if (hypi_os_file_reserve(shared->fd, 0, plan.data_offset) == HYP_ERR_NO_MEMORY) return HYP_ERR_NO_MEMORY;
	hypi_region *region = hypi_os_file_map(shared->fd, 0, plan.region_bytes, NULL);
	if (region == NULL) return HYP_ERR_NO_MEMORY;
	shared->region = region;
	shared->bytes = plan.region_bytes;
	hypi_region_lay_out(region, granules);
	return hypi_robust_init(&region->lock);
}

hyp_status hypi_shared_make(const char *name, uint64_t granules, hyp_shared **ret_shared) {
	int fd = name != NULL ? hypi_os_file_open(HYPI_FILE_SHARED, name, true) : hypi_os_memory_file("hypool shared");
	if (fd < 0) return why_no_file();
	hyp_shared *shared = NULL;
	hyp_status status = new_shared(fd, &shared);
	if (status == HYP_OK) {
		status = fill_new(shared, name, granules);
		if (status == HYP_OK) {
			*ret_shared = shared;
			return HYP_OK;
		}
		unmap(shared);
	}
	if (name != NULL && !hypi_os_file_remove(HYPI_FILE_SHARED, name)) errno = 0;
	return status;
}

hyp_status hypi_shared_open(hyp_shared *shared) {
	if (!hypi_region_rebuild(shared->region)) return HYP_ERR_CORRUPT;
	hypi_store_release(&shared->region->magic, HYPI_REGION_MAGIC); /* pairs with the acquire in wait_for */
	return HYP_OK;
}

hyp_status hyp_shared_create(const char *name, size_t bytes, hyp_shared **ret_shared) {
	if (ret_shared == NULL || bytes < LEAST_BYTES || bytes > MOST_BYTES) return HYP_ERR_INVALID;
	hypi_process_init();
	hyp_shared *shared = NULL;
	hyp_status status = hypi_shared_make(name, hypi_round_up(bytes, 4096) >> HYPI_GRANULE_LOG2, &shared);
	if (status != HYP_OK) return status;
	status = hypi_shared_open(shared);
	if (status == HYP_OK) *ret_shared = shared;
	return status;
}

/* The region may be in the making: its size comes first, the magic number last. */
static hyp_status wait_for(hyp_shared *shared) {
	uint64_t until = hypi_os_now_coarse_ms() + WAIT_MS;
	for (;;) {
		size_t bytes;
		if (!hypi_os_file_size(shared->fd, &bytes)) return HYP_ERR_OS;
		if (shared->region == NULL && bytes >= sizeof(hypi_region)) {
			shared->region = hypi_os_file_map(shared->fd, 0, bytes, NULL);
			if (shared->region == NULL) return HYP_ERR_NO_MEMORY;
			shared->bytes = bytes;
		}
		if (shared->region != NULL) {
			uint64_t magic = hypi_load_acquire(&shared->region->magic); /* pairs with hypi_shared_open */
			if (magic == HYPI_REGION_MAGIC)
				return bytes == shared->bytes && hypi_region_is_sound(shared->region, bytes) ? HYP_OK : HYP_ERR_CORRUPT;
			if (magic != 0) return HYP_ERR_CORRUPT;
		}
		if (hypi_os_now_coarse_ms() > until) return HYP_ERR_CORRUPT;
		hypi_os_yield();
	}
}

static hyp_status attach(int fd, hyp_shared **ret_shared) {
	hyp_shared *shared = NULL;
	hyp_status status = new_shared(fd, &shared);
	if (status != HYP_OK) return status;
	status = wait_for(shared);
	if (status == HYP_OK) *ret_shared = shared;
	else unmap(shared);
	return status;
}

hyp_status hyp_shared_attach(const char *name, hyp_shared **ret_shared) {
	if (name == NULL || ret_shared == NULL) return HYP_ERR_INVALID;
	hypi_process_init();
	int fd = hypi_os_file_open(HYPI_FILE_SHARED, name, false);
	return fd < 0 ? why_no_file() : attach(fd, ret_shared);
}

hyp_status hyp_shared_attach_fd(int fd, hyp_shared **ret_shared) {
	if (fd < 0 || ret_shared == NULL) return HYP_ERR_INVALID;
	hypi_process_init();
	int own = hypi_os_file_duplicate(fd);
	return own < 0 ? HYP_ERR_OS : attach(own, ret_shared);
}

void hyp_shared_detach(hyp_shared *shared) {
	if (shared != NULL) unmap(shared);
}

hyp_status hyp_shared_remove(const char *name) {
	if (name == NULL) return HYP_ERR_INVALID;
	return hypi_os_file_remove(HYPI_FILE_SHARED, name) ? HYP_OK : why_no_file();
}

int hyp_shared_fd(const hyp_shared *shared) { return shared->fd; }

/* ---- the lock ---- */

hyp_status hypi_shared_lock(hyp_shared *shared) {
	hypi_region *region = shared->region;
	bool died = false;
	hyp_status status = hypi_robust_take(&region->lock, &died);
	if (status != HYP_OK) return status;
	if (died) {
		if (!hypi_region_rebuild(region)) hypi_store_relaxed(&region->broken, 1);
		region->recoveries++;
		hypi_robust_repaired(&region->lock);
	}
	if (hypi_load_relaxed(&region->broken) == 0) return HYP_OK;
	hypi_robust_unlock(&region->lock);
	return HYP_ERR_CORRUPT;
}

void hypi_shared_unlock(hyp_shared *shared) { hypi_robust_unlock(&shared->region->lock); }

/* ---- blocks ---- */

static hyp_offset offset_of(const hyp_shared *shared, uint64_t granule) {
	return shared->region->data_offset + (granule << HYPI_GRANULE_LOG2);
}

/* False: it is not where a block could start. */
static bool granule_of(const hyp_shared *shared, hyp_offset offset, uint64_t *ret_granule) {
	if (offset < shared->region->data_offset || (offset & 63) != 0) return false;
	*ret_granule = (offset - shared->region->data_offset) >> HYPI_GRANULE_LOG2;
	return *ret_granule < shared->region->granules;
}

bool hypi_shared_back(hyp_shared *shared, uint64_t granule, uint64_t count) {
	uint64_t offset, bytes;
	while (hypi_region_next_missing(shared->region, granule, count, &offset, &bytes)) {
		if (hypi_os_file_reserve(shared->fd, offset, bytes) == HYP_ERR_NO_MEMORY) return false;
		hypi_region_made(shared->region, offset, bytes);
	}
	return true;
}

hyp_status hyp_shared_alloc(hyp_shared *shared, size_t bytes, hyp_offset *ret_offset) {
	if (shared == NULL || ret_offset == NULL) return HYP_ERR_INVALID;
	hyp_status status = hypi_shared_lock(shared);
	if (status != HYP_OK) return status;
	uint64_t granule;
	bool taken = hypi_region_take(shared->region, bytes, &granule);
	if (taken && !hypi_shared_back(shared, granule, hypi_region_block(shared->region, granule))) {
		hypi_region_give(shared->region, granule);
		taken = false;
	}
	hypi_shared_unlock(shared);
	if (!taken) return HYP_ERR_NO_MEMORY;
	*ret_offset = offset_of(shared, granule);
	return HYP_OK;
}

hyp_status hyp_shared_free(hyp_shared *shared, hyp_offset offset) {
	uint64_t granule;
	if (shared == NULL || !granule_of(shared, offset, &granule)) return HYP_ERR_INVALID;
	hyp_status status = hypi_shared_lock(shared);
	if (status != HYP_OK) return status;
	bool is_block = hypi_region_block(shared->region, granule) != 0;
	if (is_block) hypi_region_give(shared->region, granule);
	hypi_shared_unlock(shared);
	return is_block ? HYP_OK : HYP_ERR_INVALID;
}

void *hyp_shared_pointer(const hyp_shared *shared, hyp_offset offset) {
	uint64_t end = shared->region->data_offset + (shared->region->granules << HYPI_GRANULE_LOG2);
	if (offset < shared->region->data_offset || offset >= end) return NULL;
	return (char *)shared->region + offset;
}

hyp_offset hyp_shared_offset(const hyp_shared *shared, const void *p) {
	uintptr_t offset = (uintptr_t)p - (uintptr_t)shared->region;
	return p != NULL && hyp_shared_pointer(shared, offset) != NULL ? offset : 0;
}

size_t hyp_shared_usable_size(hyp_shared *shared, hyp_offset offset) {
	uint64_t granule;
	if (!granule_of(shared, offset, &granule)) return 0;
	return hypi_region_block(shared->region, granule) << HYPI_GRANULE_LOG2;
}

/* release and acquire pair with each other */
void hyp_shared_set_root(hyp_shared *shared, hyp_offset offset) { hypi_store_release(&shared->region->root, offset); }
hyp_offset hyp_shared_root(const hyp_shared *shared) { return hypi_load_acquire(&shared->region->root); }

/* ---- questions ---- */

hyp_status hyp_shared_get_stats(hyp_shared *shared, hyp_shared_stats *ret_stats) {
	if (shared == NULL || ret_stats == NULL || ret_stats->struct_bytes < 2 * sizeof(uint64_t)) return HYP_ERR_INVALID;
	hyp_status status = hypi_shared_lock(shared);
	if (status != HYP_OK) return status;
	const hypi_region *region = shared->region;
	hyp_shared_stats stats = {
		.struct_bytes = ret_stats->struct_bytes < sizeof stats ? ret_stats->struct_bytes : sizeof stats,
		.capacity_bytes = region->granules << HYPI_GRANULE_LOG2,
		.used_bytes = region->used_granules << HYPI_GRANULE_LOG2,
		.largest_free_bytes = hypi_region_largest_free(region) << HYPI_GRANULE_LOG2,
		.blocks = region->blocks,
		.recoveries = region->recoveries,
	};
	hypi_shared_unlock(shared);
	memcpy(ret_stats, &stats, stats.struct_bytes);
	return HYP_OK;
}

const char *hyp_shared_check(hyp_shared *shared) {
	if (hypi_shared_lock(shared) != HYP_OK) return "the region is broken";
	const char *wrong = hypi_region_check(shared->region);
	hypi_shared_unlock(shared);
	return wrong;
}
