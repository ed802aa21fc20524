/*
 * dlopen_self: a program without the preload loads the library with dlopen (RELIABILITY.md rows 5 and 6).
 *
 * argv[1] is the library. The static TLS block has little left for a library that comes late: dlopen must succeed,
 * also after 12 other libraries took their share. Its malloc, found by dlsym, serves threads; after dlclose a thread
 * that used it ends, and its destructor must still be code (-z nodelete). The program's own malloc stays libc's.
 */
#define CHECK_NO_PRELOAD
#include "interpose/check.h"

#include <pthread.h>

static void *(*their_malloc)(size_t);
static void (*their_free)(void *);
static pthread_barrier_t allocated, closed;

static void *use(void *unused) {
	(void)unused;
	void *p[200];
	for (size_t i = 0; i < 200; i++) {
		p[i] = their_malloc(i * 37 + 1);
		REQUIRE(p[i]);
		memset(p[i], 1, i * 37 + 1);
	}
	for (size_t i = 0; i < 200; i += 2) their_free(p[i]);
	pthread_barrier_wait(&allocated);
	pthread_barrier_wait(&closed);
	for (size_t i = 1; i < 200; i += 2) their_free(p[i]);
	return NULL;
}

static void one_round(const char *path) {
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	REQUIRE(library, "dlopen: %s", dlerror());
	*(void **)&their_malloc = dlsym(library, "malloc");
	*(void **)&their_free = dlsym(library, "free");
	Dl_info info;
	REQUIRE(their_malloc && their_free && dladdr(dlsym(library, "malloc"), &info));
	CHECK(strcmp(info.dli_fname, path) == 0, "malloc is from %s", info.dli_fname);
	CHECK((void *)their_malloc != (void *)malloc, "the program's malloc changed");
	pthread_t threads[4];
	pthread_barrier_init(&allocated, NULL, 5);
	pthread_barrier_init(&closed, NULL, 5);
	for (int i = 0; i < 4; i++) REQUIRE(pthread_create(&threads[i], NULL, use, NULL) == 0);
	pthread_barrier_wait(&allocated);
	CHECK(dlclose(library) == 0, "dlclose: %s", dlerror());
	pthread_barrier_wait(&closed);
	for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
	void *p = malloc(100);
	free(p);
}

int main(int argc, char **argv) {
	REQUIRE(argc > 1, "usage: dlopen_self LIBRARY");
	if (!*argv[1]) check_skip("no library named");
	static const char *const others[] = {"libm.so.6",         "libresolv.so.2", "libnsl.so.1",   "libanl.so.1",
	                                     "libutil.so.1",      "librt.so.1",     "libgcc_s.so.1", "libstdc++.so.6",
	                                     "libthread_db.so.1", "libcrypt.so.1",  "libz.so.1",     "libgomp.so.1"};
	for (int round = 0; round < 5; round++) {
		one_round(argv[1]);
		for (size_t i = 0; i < sizeof others / sizeof *others; i++) (void)dlopen(others[i], RTLD_NOW);
	}
	return check_end();
}
