/*
 * hypool/shared.h: a pool in memory that several processes map.
 *
 * A shared pool is one region of a fixed size: a header, a table of what is allocated, and the blocks. Processes map it
 * at different addresses, so a block is named by its offset from the region's start, which means the same to all of
 * them, and after a restart from a file too. A root offset, set by one and read by the others, is where they meet.
 *
 * Any process may be killed at any instruction: the others go on. What a process had allocated and not freed stays
 * allocated; a call that was cut short either happened or did not. Every function may be called by any thread of any
 * process that has the region attached; after a fork the child has it too. Costs: alloc and free take one lock that is
 * shared by all processes; no system call unless it is contended.
 */
#ifndef HYPOOL_SHARED_H
#define HYPOOL_SHARED_H

#include <hypool/status.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hyp_shared hyp_shared;
typedef uint64_t hyp_offset; /* of a block from the region's start; 0: none */

/* A region that holds at least `bytes` of blocks (64 KiB to 256 GiB). `name` as for shm_open ("/name": exists until
 * hyp_shared_remove), or NULL: it has no name, and goes to others by its descriptor (over a socket, or by a fork); its
 * size is then sealed. HYP_ERR_EXISTS, HYP_ERR_INVALID, HYP_ERR_NO_MEMORY, HYP_ERR_OS, HYP_ERR_UNSUPPORTED. */
HYP_API HYP_NODISCARD hyp_status hyp_shared_create(const char *name, size_t bytes, hyp_shared **ret_shared);

/* By name, or by a descriptor, which stays the caller's. HYP_ERR_NOT_FOUND; HYP_ERR_CORRUPT: it is not a shared pool of
 * this version, or it is damaged. */
HYP_API HYP_NODISCARD hyp_status hyp_shared_attach(const char *name, hyp_shared **ret_shared);
HYP_API HYP_NODISCARD hyp_status hyp_shared_attach_fd(int fd, hyp_shared **ret_shared);

/* Unmaps it here; other processes keep it. NULL is allowed. */
HYP_API void hyp_shared_detach(hyp_shared *shared);

/* Removes the name; whoever is attached stays attached. HYP_ERR_NOT_FOUND. */
HYP_API HYP_NODISCARD hyp_status hyp_shared_remove(const char *name);

/* The region's descriptor, to be passed on; it stays the pool's. */
HYP_API int hyp_shared_fd(const hyp_shared *shared);

/* A block of at least `bytes` bytes at a multiple of 64; contents are undefined. Wastes at most 1/8 above 512 bytes. */
HYP_API HYP_NODISCARD hyp_status hyp_shared_alloc(hyp_shared *shared, size_t bytes, hyp_offset *ret_offset);

/* HYP_ERR_INVALID: not the offset of a block that is allocated (a second free, too). */
HYP_API HYP_NODISCARD hyp_status hyp_shared_free(hyp_shared *shared, hyp_offset offset);

/* The block's address in this process, NULL for 0 or an offset outside the region. No lock. */
HYP_API void *hyp_shared_pointer(const hyp_shared *shared, hyp_offset offset);
/* And back; 0 for NULL or a pointer outside the region. */
HYP_API hyp_offset hyp_shared_offset(const hyp_shared *shared, const void *p);

/* Bytes that may be used behind an offset; 0: it is not that of a block. */
HYP_API size_t hyp_shared_usable_size(hyp_shared *shared, hyp_offset offset);

/* Where the processes meet: what was set last, 0 at first. Atomic: what was written before the set is seen after it. */
HYP_API void hyp_shared_set_root(hyp_shared *shared, hyp_offset offset);
HYP_API hyp_offset hyp_shared_root(const hyp_shared *shared);

typedef struct hyp_shared_stats {
	size_t struct_bytes; /* set by the caller to sizeof(hyp_shared_stats) */
	uint64_t capacity_bytes, used_bytes, largest_free_bytes, blocks;
	uint64_t recoveries; /* times that a process died inside a call */
} hyp_shared_stats;
HYP_API HYP_NODISCARD hyp_status hyp_shared_get_stats(hyp_shared *shared, hyp_shared_stats *ret_stats);

/* NULL, or what is wrong with the region's records. Takes the lock; slow. */
HYP_API const char *hyp_shared_check(hyp_shared *shared);

/* ---- a pool's state in a file ----
 * The file is versioned and checksummed; offsets mean the same after a restore. Saving takes the lock: allocate and
 * free wait meanwhile, but what others write into their blocks is theirs to hold still. Written beside `path` first and
 * then renamed: there is always a whole file. HYP_ERR_OS, HYP_ERR_NO_MEMORY. */
HYP_API HYP_NODISCARD hyp_status hyp_shared_save(hyp_shared *shared, const char *path);

/* A new shared pool (as by hyp_shared_create with `name`) with the file's contents. HYP_ERR_CORRUPT: truncated, changed,
 * or of another version. HYP_ERR_NOT_FOUND. */
HYP_API HYP_NODISCARD hyp_status hyp_shared_restore(const char *path, const char *name, hyp_shared **ret_shared);

#ifdef __cplusplus
}
#endif

#endif
