/*
 * tracking/write.h: the profile in the formats of other tools. Each writer fills a buffer under the profile's lock.
 */
#ifndef HYPI_TRACKING_WRITE_H
#define HYPI_TRACKING_WRITE_H

#include "tracking/profile.h"
#include "tracking/symbols.h"

void hypi_write_pprof(const hypi_symbols *symbols, hypi_bytes *to);
void hypi_write_jeprof(const hypi_symbols *symbols, hypi_bytes *to);
void hypi_write_folded(const hypi_symbols *symbols, hypi_bytes *to);
void hypi_write_dhat(const hypi_symbols *symbols, hypi_bytes *to);
void hypi_write_native(const hypi_symbols *symbols, hypi_bytes *to);

#endif
