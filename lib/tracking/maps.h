/*
 * tracking/maps.h: /proc/self/maps, line by line, without allocation.
 */
#ifndef HYPI_TRACKING_MAPS_H
#define HYPI_TRACKING_MAPS_H

#include "base/compiler.h"

typedef struct hypi_map {
	uintptr_t start, end, offset;
	bool read, write, execute, shared;
	const char *path; /* "" when it has none; valid during the call */
} hypi_map;

/* Calls `each` for every mapping until it returns false. False: the file cannot be read. */
bool hypi_maps_each(bool (*each)(void *context, const hypi_map *map), void *context);

/* From now on hypi_maps_each tells of these lines, of another process: tracking/box.h. */
void hypi_maps_load(const char *lines);

/* The readable and writable mapping around an address. */
bool hypi_maps_around(uintptr_t address, uintptr_t *ret_low, uintptr_t *ret_high);

/* The mapping of the code at `address`, unless that is the program itself. */
bool hypi_maps_own(uintptr_t address, uintptr_t *ret_low, uintptr_t *ret_high);

#endif
