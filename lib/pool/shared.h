/*
 * pool/shared.h: a shared pool as one process sees it.
 */
#ifndef HYPI_POOL_SHARED_H
#define HYPI_POOL_SHARED_H

#include "pool/region.h"

#include <hypool/shared.h>

struct hyp_shared {
	hypi_region *region;
	size_t bytes;
	int fd;
};

/* Makes and maps a region of `granules`, whose lock is ready, and whose kinds say that all is free; nothing is derived
 * yet and nobody can attach before hypi_shared_open. */
HYP_MUST_USE hyp_status hypi_shared_make(const char *name, uint64_t granules, hyp_shared **ret_shared);
/* Lets others in. HYP_ERR_CORRUPT: the kinds are damaged. */
HYP_MUST_USE hyp_status hypi_shared_open(hyp_shared *shared);

/* Takes the lock, repairing what a dead process left. HYP_ERR_CORRUPT: the records are damaged. */
HYP_MUST_USE hyp_status hypi_shared_lock(hyp_shared *shared);
void hypi_shared_unlock(hyp_shared *shared);

/* Makes the file's pages under granules of the data; the caller has the lock, or is alone. False: there is no room. */
bool hypi_shared_back(hyp_shared *shared, uint64_t granule, uint64_t count);

#endif
