/*
 * core/slice.h: the unit of the page map and of the buddy system.
 *
 * A slice is the smallest piece of an arena that can be handed out, purged and looked up. It is a multiple of every
 * page size that the processor may be set to (4 KiB on x86-64, up to 64 KiB on arm64), and small enough that a
 * program with little in many size classes holds little in each.
 */
#ifndef HYPI_CORE_SLICE_H
#define HYPI_CORE_SLICE_H

#include "base/compiler.h"

#if HYP_CPU_X86_64
#define HYPI_SLICE_LOG2 14
#else
#define HYPI_SLICE_LOG2 16
#endif
#define HYPI_SLICE_BYTES ((size_t)1 << HYPI_SLICE_LOG2)

#define HYPI_ARENA_LOG2 26 /* the largest arena, 64 MiB */
#define HYPI_ARENA_BYTES ((size_t)1 << HYPI_ARENA_LOG2)
#define HYPI_ARENA_ORDER (HYPI_ARENA_LOG2 - HYPI_SLICE_LOG2) /* its buddy order: an order-k block is 2^k slices */
#define HYPI_ARENA_SLICES ((size_t)1 << HYPI_ARENA_ORDER)

HYP_INLINE size_t hypi_slices_of(size_t bytes) { return (bytes + HYPI_SLICE_BYTES - 1) >> HYPI_SLICE_LOG2; }

#endif
