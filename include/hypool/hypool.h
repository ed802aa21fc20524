/*
 * hypool/hypool.h: the malloc family under hypool's own names, and everything else by inclusion.
 *
 * These functions serve the process's default pool. They may be used beside the C library's malloc; a block goes back
 * to the family it came from. Every function may be called by any thread.
 */
#ifndef HYPOOL_HYPOOL_H
#define HYPOOL_HYPOOL_H

#include <hypool/status.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* At least `bytes` bytes, aligned to 16; 0 bytes gives a block of its own. NULL with errno ENOMEM. O(1). */
HYP_API void *hyp_malloc(size_t bytes);

/* As hyp_malloc of count * bytes, all zero. A product that overflows gives NULL and ENOMEM. */
HYP_API void *hyp_calloc(size_t count, size_t bytes);

/* Changes a block's size, moving it when it must. NULL with errno: `p` is as it was. realloc(NULL, n) allocates;
 * realloc(p, 0) frees and returns NULL. */
HYP_API void *hyp_realloc(void *p, size_t bytes);
HYP_API void *hyp_reallocarray(void *p, size_t count, size_t bytes);

/* Gives a block back. NULL is allowed; errno is kept. A pointer that hypool did not hand out, or that was freed
 * already, ends the process with one line that names it. */
HYP_API void hyp_free(void *p);

/* As hyp_free, and checks the size and alignment that the block was asked for (C23). */
HYP_API void hyp_free_sized(void *p, size_t bytes);
HYP_API void hyp_free_aligned_sized(void *p, size_t alignment, size_t bytes);

/* `alignment` is a power of two, up to the address space; else NULL and EINVAL. */
HYP_API void *hyp_aligned_alloc(size_t alignment, size_t bytes);

/* As POSIX: 0, EINVAL or ENOMEM; errno is kept, and *ret_p is untouched on failure. */
HYP_API int hyp_posix_memalign(void **ret_p, size_t alignment, size_t bytes);

/* Bytes that may be used behind `p`; 0 for NULL. */
HYP_API size_t hyp_usable_size(const void *p);

/* Gives every unused page of the default pool back to the operating system; returns the bytes. */
HYP_API size_t hyp_trim(void);

#ifdef __cplusplus
}
#endif

#endif
