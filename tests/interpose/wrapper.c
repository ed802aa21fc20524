/*
 * A library preloaded before ours that wraps malloc and free, as profilers, fakeroot and leak checkers do: it finds the
 * next malloc by dlsym(RTLD_NEXT), from its first call on, which may be before any constructor ran. dlsym and dlerror
 * allocate on their own account. wrapped_calls counts, so that the program knows that it was there.
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

_Atomic long wrapped_calls;
static void *(*next_malloc)(size_t);
static void (*next_free)(void *);
static void *(*next_realloc)(void *, size_t);

static int finding; /* the first call is made before there is a second thread */

static void find_next(void) {
	if (finding++) return;
	(void)dlerror();
	(void)dlsym(RTLD_NEXT, "no_such_function_at_all"); /* makes dlerror allocate its text */
	(void)dlerror();
	*(void **)&next_realloc = dlsym(RTLD_NEXT, "realloc");
	*(void **)&next_free = dlsym(RTLD_NEXT, "free");
	*(void **)&next_malloc = dlsym(RTLD_NEXT, "malloc");
}

void *malloc(size_t size) {
	if (!next_malloc) find_next();
	/* Inside dlsym: calloc is not wrapped, so it is the library's under test. */
	if (!next_malloc) return calloc(1, size);
	atomic_fetch_add(&wrapped_calls, 1);
	return next_malloc(size);
}

void free(void *p) {
	if (!next_free) find_next();
	if (next_free) next_free(p);
}

void *realloc(void *p, size_t size) {
	if (!next_realloc) find_next();
	return next_realloc ? next_realloc(p, size) : p ? NULL : malloc(size);
}
