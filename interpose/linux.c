/*
 * interpose/linux.c: the C library's malloc family, replaced symbol by symbol.
 *
 * The hit paths are inlined here (heap/fast.h), so a call from a program is one jump through its own table and no
 * more. The C++ operators are not replaced: libstdc++'s and libc++'s reach malloc, throw and loop over the new_handler
 * as the standard asks, and forward to whatever forms a program replaces; every allocator that exports its own
 * operators gets some subset of those wrong.
 *
 * Start. The first call may come from the dynamic linker, before any constructor and before the C library has set
 * `environ`; options are read then or, when it was too early, by the constructor below.
 */
#include "base/compiler.h"

#if HYP_OS_LINUX

#include "base/option.h"
#include "heap/fast.h"
#include "os/os.h"

#include <hypool/hypool.h>

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))
/* The hit paths begin a cache line: where they lie is up to a tenth of a pair's time, and changed with every function that was
 * linked before them. */
#define EXPORT_HOT EXPORT __attribute__((aligned(HYP_CACHE_LINE)))

EXPORT_HOT void *malloc(size_t bytes) { return hypi_alloc(bytes); }
EXPORT_HOT void free(void *p) { hypi_free(p); }
EXPORT void *calloc(size_t count, size_t bytes) { return hyp_calloc(count, bytes); }
EXPORT void *realloc(void *p, size_t bytes) { return hypi_realloc(p, bytes); }
EXPORT void *reallocarray(void *p, size_t count, size_t bytes) { return hyp_reallocarray(p, count, bytes); }
EXPORT int posix_memalign(void **ret_p, size_t alignment, size_t bytes) {
	return hyp_posix_memalign(ret_p, alignment, bytes);
}
EXPORT void *aligned_alloc(size_t alignment, size_t bytes) { return hyp_aligned_alloc(alignment, bytes); }
EXPORT void *memalign(size_t alignment, size_t bytes) {
	/* As glibc: any alignment, rounded up to a power of two. */
	if (alignment > (SIZE_MAX >> 1) + 1) return errno = EINVAL, NULL;
	return hyp_aligned_alloc((size_t)1 << hypi_log2_ceil(alignment), bytes);
}
EXPORT void *valloc(size_t bytes) {
	hypi_process_init();
	return hyp_aligned_alloc(hypi_os.page_bytes, bytes);
}
EXPORT size_t malloc_usable_size(void *p) { return hyp_usable_size(p); }

EXPORT void free_sized(void *p, size_t bytes);
EXPORT void free_sized(void *p, size_t bytes) { hyp_free_sized(p, bytes); }
EXPORT void free_aligned_sized(void *p, size_t alignment, size_t bytes);
EXPORT void free_aligned_sized(void *p, size_t alignment, size_t bytes) { hyp_free_aligned_sized(p, alignment, bytes); }

/* What only glibc has is replaced only there; another C library has neither the symbol nor a caller of it. */
#if defined(__GLIBC__)
EXPORT void cfree(void *p);
EXPORT void cfree(void *p) { hypi_free(p); }
EXPORT void *pvalloc(size_t bytes) {
	hypi_process_init();
	size_t rounded;
	if (!hypi_round_up_checked(bytes, hypi_os.page_bytes, &rounded)) return errno = ENOMEM, NULL;
	return hyp_aligned_alloc(hypi_os.page_bytes, rounded == 0 ? hypi_os.page_bytes : rounded);
}
EXPORT int malloc_trim(size_t pad) {
	(void)pad;
	return hyp_trim() > 0;
}
#endif

#endif
