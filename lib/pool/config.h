/*
 * pool/config.h: what a pool's configuration must hold.
 */
#ifndef HYPI_POOL_CONFIG_H
#define HYPI_POOL_CONFIG_H

#include <hypool/pool.h>

/* The least threshold_bytes: hyp_pool_malloc leans on it. */
#define HYPI_LEAST_THRESHOLD ((size_t)4096)

/* NULL, or the first field that is refused and why, in static memory. */
const char *hypi_pool_config_check(const hyp_pool_config *config);

#endif
