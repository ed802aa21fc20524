/*
 * base/fatal.h: the one place where hypool ends a process.
 *
 * Detected corruption or misuse is one line on descriptor 2, "hypool: what of 0xpointer (detail)", then abort().
 * Nothing else in the library prints by itself.
 */
#ifndef HYPI_BASE_FATAL_H
#define HYPI_BASE_FATAL_H

#include "base/compiler.h"

/* `block_bytes` is the size class of the block or 0 when none is known. */
void hypi_fatal(const char *what, const void *pointer, size_t block_bytes) __attribute__((noreturn, cold));

#endif
