/*
 * core/meta.h: memory for hypool's own records.
 *
 * Records (spans, arenas, heaps, page-map leaves) live in mappings of their own, far from user memory, so that a wild
 * write into a block cannot reach them. A record is zeroed when made, aligned to a cache line, and never unmapped: a
 * freed one is kept for the next of the same size. So a stale pointer to a span always points to some span.
 *
 * Lock rank: the innermost but for the page map's.
 */
#ifndef HYPI_CORE_META_H
#define HYPI_CORE_META_H

#include "base/compiler.h"
#include "os/os.h"

/* A zeroed record of `bytes`, or NULL with errno ENOMEM. Any thread. Cost: one lock. */
void *hypi_meta_alloc(size_t bytes);

/* Takes a record back; `bytes` as it was made with. */
void hypi_meta_free(void *record, size_t bytes);

/* Bytes mapped, and bytes of them in records that are in use. */
size_t hypi_meta_mapped_bytes(void);
size_t hypi_meta_used_bytes(void);

/* Taken around fork. */
void hypi_meta_fork_prepare(void);
void hypi_meta_fork_parent(void);
void hypi_meta_fork_child(void);

#endif
