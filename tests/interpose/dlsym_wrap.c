/*
 * dlsym_wrap: a wrapper library stands before ours and finds malloc by dlsym(RTLD_NEXT) (RELIABILITY.md row 9).
 * The program proves that the wrapper counted its calls and that blocks of all the unwrapped functions mix with it.
 */
#define CHECK_NO_PRELOAD
#include "interpose/check.h"

#include <malloc.h>
#include <pthread.h>

static void *work(void *unused) {
	(void)unused;
	for (size_t i = 1; i < 2000; i++) {
		void *a = opaque(malloc(i)), *b = opaque(calloc(i, 3)), *c = NULL;
		REQUIRE(a && b && posix_memalign(&c, 256, i) == 0);
		a = opaque(realloc(a, i * 2));
		b = opaque(realloc(b, i * 5));
		REQUIRE(malloc_usable_size(a) >= i * 2 && malloc_usable_size(b) >= i * 5);
		free(a);
		free(b);
		free(c);
	}
	return NULL;
}

int main(void) {
	_Atomic long *calls = dlsym(RTLD_DEFAULT, "wrapped_calls");
	REQUIRE(calls, "the wrapper is not there");
	CHECK(check_symbol_is_ours("calloc"), "calloc is not the library's under test");
	free(opaque(malloc(1))); /* the wrapper looks its functions up before there are threads */
	long before = atomic_load(calls);
	pthread_t threads[4];
	for (int i = 0; i < 4; i++) REQUIRE(pthread_create(&threads[i], NULL, work, NULL) == 0);
	work(NULL);
	for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
	CHECK(atomic_load(calls) - before >= 5 * 1999, "the wrapper saw %ld calls", atomic_load(calls) - before);
	return check_end();
}
