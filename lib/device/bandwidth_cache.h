/*
 * device/bandwidth_cache.h: the file that hyp_topology_measure keeps its figures in; see device/bandwidth_cache.c.
 */
#ifndef HYPI_DEVICE_BANDWIDTH_CACHE_H
#define HYPI_DEVICE_BANDWIDTH_CACHE_H

#include <hypool/device.h>

/* The first line of the file for this key and node; false, and nothing changed: there is none. */
bool hypi_bandwidth_read(const char *path, const char *key, uint32_t node, hyp_bandwidth *ret_bandwidth);

/* Appends a line. False: the file cannot be written. */
bool hypi_bandwidth_write(const char *path, const char *key, uint32_t node, const hyp_bandwidth *b);

#endif
