/*
 * few_calls: steady work asks the kernel for little (RELIABILITY.md row 35): each madvise, munmap or mprotect costs every
 * processor that runs a thread of the process an interrupt, which virtual machines pay for dearly.
 *
 * The program's own madvise, munmap, mprotect and mmap stand before the C library's and count. Two threads allocate
 * blocks of 16 bytes to 16 KiB and hand them to two that free them, a million in all: less than one call in a thousand
 * frees. That the counting works is shown by blocks so large that each is mapped and unmapped.
 */
#include "interpose/check.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static _Atomic long calls;

int madvise(void *p, size_t bytes, int advice) {
	atomic_fetch_add(&calls, 1);
	return (int)syscall(SYS_madvise, p, bytes, advice);
}
int munmap(void *p, size_t bytes) {
	atomic_fetch_add(&calls, 1);
	return (int)syscall(SYS_munmap, p, bytes);
}
int mprotect(void *p, size_t bytes, int protection) {
	atomic_fetch_add(&calls, 1);
	return (int)syscall(SYS_mprotect, p, bytes, protection);
}

enum { RING = 1024, PAIRS = 2, FREES = 500000 };
static struct ring { _Atomic(void *) slots[RING]; } rings[PAIRS];

static void *produce(void *ring_in) {
	struct ring *ring = ring_in;
	uint64_t seed = (uintptr_t)ring | 1;
	for (int i = 0; i < FREES; i++) {
		size_t kind = check_random(&seed) % 16, size = check_random(&seed) % (kind < 14 ? 512 : 16 * KIB) + 16;
		char *p = malloc(size);
		REQUIRE(p);
		p[0] = 1;
		void *expected = NULL;
		while (!atomic_compare_exchange_weak(&ring->slots[i % RING], &expected, p)) {
			expected = NULL;
			usleep(0);
		}
	}
	return NULL;
}

static void *consume(void *ring_in) {
	struct ring *ring = ring_in;
	for (int i = 0; i < FREES; i++) {
		void *p;
		while (!(p = atomic_exchange(&ring->slots[i % RING], NULL))) usleep(0);
		free(p);
	}
	return NULL;
}

int main(void) {
	for (int i = 0; i < 20; i++) free(opaque(malloc(300 * MIB)));
	CHECK(atomic_load(&calls) >= 20, "the counting does not work: %ld", atomic_load(&calls));
	atomic_store(&calls, 0);
	pthread_t ids[2 * PAIRS];
	for (int i = 0; i < PAIRS; i++) {
		REQUIRE(pthread_create(&ids[2 * i], NULL, produce, &rings[i]) == 0);
		REQUIRE(pthread_create(&ids[2 * i + 1], NULL, consume, &rings[i]) == 0);
	}
	for (int i = 0; i < 2 * PAIRS; i++) pthread_join(ids[i], NULL);
	long steady = atomic_load(&calls);
	printf("%d frees, %ld calls of madvise, munmap and mprotect\n", PAIRS * FREES, steady);
	CHECK(steady < PAIRS * FREES / 1000, "too many");
	return check_end();
}
