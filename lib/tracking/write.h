/*
 * tracking/write.h: the profile in the formats of other tools. Each writer fills a buffer under the profile's lock.
 */
#ifndef HYPI_TRACKING_WRITE_H
#define HYPI_TRACKING_WRITE_H

#include "tracking/profile.h"
#include "tracking/symbols.h"

/* A figure as a number to print, cut off; what is none, or less than nothing, is 0: a box (tracking/box.h) may hold any. */
HYP_INLINE unsigned long long hypi_whole(double x) {
	return x > 0 ? (x < 0x1p63 ? (unsigned long long)x : 1ull << 63) : 0;
}

void hypi_write_pprof(const hypi_symbols *symbols, hypi_bytes *to);
void hypi_write_jeprof(const hypi_symbols *symbols, hypi_bytes *to);
void hypi_write_folded(const hypi_symbols *symbols, hypi_bytes *to);
void hypi_write_dhat(const hypi_symbols *symbols, hypi_bytes *to);
void hypi_write_native(const hypi_symbols *symbols, hypi_bytes *to);

#endif
