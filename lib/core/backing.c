/* core/backing.c: the backing over anonymous pages of the host. */
#include "core/large_pool.h"

#include <errno.h>

static hyp_status reserve(void *context, size_t bytes, size_t alignment, uintptr_t *ret_address) {
	(void)context;
	void *p = hypi_os_map(bytes, alignment);
	if (p == NULL) return HYP_ERR_NO_MEMORY;
	*ret_address = (uintptr_t)p;
	return HYP_OK;
}

static hyp_status purge(void *context, uintptr_t address, size_t bytes) {
	(void)context;
	return hypi_os_purge((void *)address, bytes, HYPI_PURGE_NOW);
}

static hyp_status release(void *context, uintptr_t address, size_t bytes) {
	(void)context;
	return hypi_os_unmap((void *)address, bytes);
}

const hyp_backing *hypi_backing_anonymous(void) {
	static const hyp_backing anonymous = {
		.struct_bytes = sizeof(hyp_backing),
		.name = "anonymous",
		.flags = HYP_BACKING_HOST | HYP_BACKING_ZEROED,
		.numa_node = -1,
		.reserve = reserve,
		.purge = purge,
		.release = release,
	};
	return &anonymous;
}
