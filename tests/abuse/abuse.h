/*
 * abuse.h: what every misuse program shares.
 *
 * A program commits one misuse, named by its file, with sizes or kinds as arguments. It first writes the pointer that
 * it is about to pass ("pointer 0x...") to descriptor 1, so that the runner can compare it with the one in the fatal
 * message. A program that is still there afterwards says so and exits 3: undetected. Nothing here allocates.
 * expect.txt says which message each must end with. Idea of one program a misuse: hardened_malloc's tests (Micay, 2016).
 */
#ifndef TESTS_ABUSE_ABUSE_H
#define TESTS_ABUSE_ABUSE_H

#include "interpose/check.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>

__attribute__((unused)) static void say_pointer(const void *p) {
	char line[40];
	int n = snprintf(line, sizeof line, "pointer 0x%lx\n", (unsigned long)(uintptr_t)p);
	if (write(1, line, (size_t)n) != n) _exit(4);
}

__attribute__((unused, noreturn)) static void undetected(void) {
	static const char text[] = "undetected\n";
	if (write(1, text, sizeof text - 1) < 0) _exit(4);
	_exit(3);
}

/* The size named on the command line. */
__attribute__((unused)) static size_t argument(int argc, char **argv, int at) {
	REQUIRE(argc > at, "argument %d is missing", at);
	return (size_t)strtoull(argv[at], NULL, 0);
}

/* A block whose span is kept alive by neighbours on both sides, and touched, as programs do. */
__attribute__((unused)) static void *block_among_others(size_t size) {
	int around = size > MIB ? 1 : size > 100 * KIB ? 4 : 40;
	void *middle = NULL;
	for (int i = 0; i <= 2 * around; i++) {
		void *p = opaque(malloc(size));
		REQUIRE(p);
		memset(p, 0x77, size < 4096 ? size : 4096);
		if (i == around) middle = p;
	}
	return middle;
}

__attribute__((unused)) static void in_a_thread(void *(*body)(void *), void *argument_in) {
	pthread_t thread;
	REQUIRE(pthread_create(&thread, NULL, body, argument_in) == 0);
	pthread_join(thread, NULL);
}

__attribute__((unused)) static void *free_it(void *p) {
	free(p);
	return NULL;
}

/* A pointer that no malloc gave, by the name of its kind. */
__attribute__((unused)) static void *bad_pointer(const char *kind) {
	static char in_data[4096] __attribute__((aligned(64))) = {1};
	static _Thread_local char in_tls[256] __attribute__((aligned(64)));
	static char *stack;
	if (strcmp(kind, "stack") == 0) return opaque(stack = (char *)(((uintptr_t)__builtin_frame_address(0) | 63) + 1));
	if (strcmp(kind, "static") == 0) return opaque(in_data + 64);
	if (strcmp(kind, "tls") == 0) return opaque(in_tls);
	if (strcmp(kind, "code") == 0) return opaque((void *)(((uintptr_t)&bad_pointer | 15) + 1));
	if (strcmp(kind, "mmap") == 0)
		return opaque(mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if (strcmp(kind, "mmap_inside") == 0)
		return (char *)opaque(mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) +
		       8 * MIB + 64;
	if (strcmp(kind, "unmapped") == 0) {
		char *p = mmap(NULL, MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		munmap(p, MIB);
		return opaque(p);
	}
	if (strcmp(kind, "noncanonical") == 0) return opaque((void *)UINT64_C(0x4141414141414140));
	if (strcmp(kind, "above_user") == 0) return opaque((void *)UINT64_C(0x0000800000000000));
	if (strcmp(kind, "top_of_user") == 0) return opaque((void *)UINT64_C(0x00007ffffffff000));
	if (strcmp(kind, "kernel") == 0) return opaque((void *)UINT64_C(0xffff888000000000));
	if (strcmp(kind, "all_ones") == 0) return opaque((void *)UINT64_C(0xfffffffffffffff0));
	if (strcmp(kind, "low") == 0) return opaque((void *)UINT64_C(0x10));
	if (strcmp(kind, "one") == 0) return opaque((void *)UINT64_C(1));
	if (strcmp(kind, "first_pages") == 0) return opaque((void *)UINT64_C(0x40000));
	/* Inside the library's own address ranges, where no block was ever given: behind, and far behind, a block. */
	if (strcmp(kind, "never_given") == 0) return (char *)block_among_others(300 * KIB) + 16 * MIB;
	if (strcmp(kind, "interior") == 0) return (char *)block_among_others(1024) + 512;
	if (strcmp(kind, "interior_large") == 0) return (char *)block_among_others(3 * MIB) + MIB;
	if (strcmp(kind, "freed") == 0) {
		void *p = block_among_others(128);
		free(p);
		return opaque(p);
	}
	if (strcmp(kind, "freed_large") == 0) {
		void *p = block_among_others(3 * MIB);
		free(p);
		return opaque(p);
	}
	REQUIRE(false, "no such kind: %s", kind);
	return NULL;
}

#endif
