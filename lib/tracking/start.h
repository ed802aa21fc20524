/*
 * tracking/start.h: the options' part of tracking; see tracking/start.c.
 */
#ifndef HYPI_TRACKING_START_H
#define HYPI_TRACKING_START_H

#include "tracking/reach.h"

#include <hypool/tracking.h>

/* The format that a file's name asks for. */
hyp_profile_format hypi_profile_format_of(const char *path);

/* hyp_leaks_find of a caller whose own frame ends at `here`; `pool`: of its blocks alone; NULL: of all. */
hyp_status hypi_leaks_find_from(struct hyp_pool *pool, int fd, uintptr_t here, const hypi_registers *registers,
                                hyp_leak_totals *ret_totals);

/* Looks for leaks when the interval that the option asks for is over. The caller holds no lock. */
void hypi_leaks_look(uint64_t now_ms);

/* hyp_leaks_suppress of each line of a file of any length, without empty ones and comments; `refused` is told of each that
 * was not kept. False: the file cannot be read. */
bool hypi_leaks_suppress_file(const char *path, void (*refused)(const char *line));

/* Lets the timeline hear the heaps' clock (tracking/profile.c). */
void hypi_tracking_listen(void);

#endif
