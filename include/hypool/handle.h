/*
 * hypool/handle.h: blocks by handle: a 64-bit name instead of an address.
 *
 * A handle is an index and a generation. Its block may be moved while nobody has it locked; locking pins it and gives
 * the address. A handle whose block was freed is told from every later one (HYP_ERR_STALE), one of another pool too
 * (HYP_ERR_FOREIGN): never is a wrong block handed out. 0 is never a handle.
 *
 * Any thread may use any handle. Locks nest and count; one thread may unlock what another locked. The thread that
 * allocated a handle locks and unlocks it at the cost of a few ordinary loads and stores; others pay an atomic
 * instruction, and to free another thread's handle a system call (membarrier).
 */
#ifndef HYPOOL_HANDLE_H
#define HYPOOL_HANDLE_H

#include <hypool/pool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef uint64_t hyp_handle;

typedef struct hyp_handle_info {
	size_t struct_bytes; /* set by the caller to sizeof(hyp_handle_info) */
	size_t bytes;        /* as asked for */
	size_t usable_bytes; /* of the block */
	size_t alignment;
	int device;        /* 0: the host */
	bool small;        /* from the small-block pool */
	uint32_t locks;    /* now */
	uintptr_t address; /* now; good while locked */
	uint64_t age_ms;   /* since it was allocated */
	uint64_t idle_ms;  /* since it was last locked, or allocated; by the pool's clock, which moves with every
	                   * allocation, reallocation and query of handles of the pool */
} hyp_handle_info;

/* A block of `bytes` at a multiple of `alignment` (a power of two; 0: 16). `device`: the device of the pool's backing;
 * -1: whichever it is. HYP_ERR_INVALID, HYP_ERR_DEVICE (the pool is on another device), HYP_ERR_NO_MEMORY,
 * HYP_ERR_LIMIT. Small blocks O(1). */
HYP_HOT_API HYP_NODISCARD hyp_status hyp_handle_alloc(hyp_pool *pool, size_t bytes, size_t alignment, int device,
                                                      hyp_handle *ret_handle);

/* HYP_ERR_BUSY: it is locked. HYP_ERR_STALE, HYP_ERR_FOREIGN, HYP_ERR_INVALID (never a handle). */
HYP_HOT_API HYP_NODISCARD hyp_status hyp_handle_free(hyp_pool *pool, hyp_handle handle);

/* Pins the block and gives its address, which the processor can use if the pool's backing is HYP_BACKING_HOST. The
 * block stays there until as many unlocks as locks. HYP_ERR_STALE, HYP_ERR_FOREIGN, HYP_ERR_INVALID. */
HYP_HOT_API HYP_NODISCARD hyp_status hyp_handle_lock(hyp_pool *pool, hyp_handle handle, void **ret_p);

/* HYP_ERR_INVALID also: it is not locked. */
HYP_HOT_API HYP_NODISCARD hyp_status hyp_handle_unlock(hyp_pool *pool, hyp_handle handle);

/* What is known of it. Does not count as a use. */
HYP_API HYP_NODISCARD hyp_status hyp_handle_get_info(hyp_pool *pool, hyp_handle handle, hyp_handle_info *ret_info);

/* Changes the size, keeping contents and handle. HYP_ERR_BUSY: it is locked. HYP_ERR_UNSUPPORTED: it would have to move,
 * and neither the processor nor the pool's backing can copy this memory. On failure the block is as it was. */
HYP_API HYP_NODISCARD hyp_status hyp_handle_realloc(hyp_pool *pool, hyp_handle handle, size_t bytes);

/* HYP_OK, or what any other call would say of this handle. */
HYP_API HYP_NODISCARD hyp_status hyp_handle_validate(hyp_pool *pool, hyp_handle handle);

#ifdef __cplusplus
}
#endif

#endif
