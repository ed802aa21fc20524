/*
 * interpose/deepbind.c: dlopen without RTLD_DEEPBIND.
 *
 * A plugin opened with RTLD_DEEPBIND finds the C library's malloc before ours: two heaps, and a free in the wrong one.
 * So the flag is dropped, as every allocator's users end up doing by hand. The call is then passed on by a jump, not a
 * call: the C library looks at its return address to know whose RUNPATH and $ORIGIN to use, and must see the caller's.
 */
#include "base/compiler.h"

#if HYP_OS_LINUX

#include "base/atomic.h"

#include <dlfcn.h>
#include <errno.h>

#ifndef RTLD_DEEPBIND
#define RTLD_DEEPBIND 0
#endif

typedef void *dlopen_function(const char *path, int flags);

static _Atomic(dlopen_function *) next_dlopen;

static void *no_dlopen(const char *path, int flags) {
	(void)path;
	(void)flags;
	errno = ENOSYS;
	return NULL;
}

static dlopen_function *find(void) {
	union {
		void *object;
		dlopen_function *function;
	} next = {.object = dlsym(RTLD_NEXT, "dlopen")};
	if (next.object == NULL) next.function = no_dlopen;
	hypi_store_relaxed(&next_dlopen, next.function);
	return next.function;
}

__attribute__((visibility("default"))) void *dlopen(const char *path, int flags) {
	dlopen_function *next = hypi_load_relaxed(&next_dlopen);
	if (HYP_UNLIKELY(next == NULL)) next = find();
	return next(path, flags & ~RTLD_DEEPBIND);
}

#endif
