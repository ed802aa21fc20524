/*
 * work.h: what a program does while its environment fails: blocks of all sizes come, grow and go, each verified.
 *
 * Nothing here counts on a request being served: a refused one must give NULL and ENOMEM, leave the block that it was
 * about as it was, and harm no other. Not thread-safe but for work_thread.
 */
#ifndef TESTS_FAULTS_WORK_H
#define TESTS_FAULTS_WORK_H

#include "interpose/check.h"

#include <malloc.h>
#include <pthread.h>

enum { WORK_SLOTS = 800 };
typedef struct work {
	struct {
		unsigned char *p;
		size_t size;
		unsigned char mark;
	} slots[WORK_SLOTS];
	uint64_t seed;
	size_t refused, served;
} work;

static inline void work_drop(work *w, size_t at) {
	unsigned char *p = w->slots[at].p, mark = w->slots[at].mark;
	size_t size = w->slots[at].size;
	if (!p) return;
	CHECK(p[0] == mark && p[size / 2] == mark && p[size - 1] == mark, "a block of %zu bytes changed", size);
	errno = EILSEQ;
	free(p);
	CHECK(errno == EILSEQ, "free set errno to %d", errno);
	w->slots[at].p = NULL;
}

static inline size_t work_size(work *w) {
	uint64_t kind = check_random(&w->seed) % 100;
	return kind < 80   ? check_random(&w->seed) % 3000 + 1
	       : kind < 97 ? check_random(&w->seed) % (300 * KIB) + 1
	                   : check_random(&w->seed) % (4 * MIB) + 1;
}

static inline unsigned char *work_get(work *w, size_t how, size_t size) {
	unsigned char *p = how == 0   ? calloc(1, size)
	                   : how == 1 ? memalign((size_t)64 << (check_random(&w->seed) % 8), size)
	                              : malloc(size);
	if (p && how == 0) {
		size_t dirty = 0;
		for (size_t k = 0; k < size; k++) dirty += p[k] != 0;
		CHECK(dirty == 0, "calloc of %zu bytes: %zu are not zero", size, dirty);
	}
	return p;
}

/* One step: a block is replaced, or reallocated. */
static inline void work_step(work *w) {
	size_t at = check_random(&w->seed) % WORK_SLOTS, size = work_size(w), how = check_random(&w->seed) % 6;
	unsigned char *p;
	errno = 0;
	if (how == 5 && w->slots[at].p) {
		p = realloc(w->slots[at].p, size);
		CHECK(!p || p[0] == w->slots[at].mark, "realloc to %zu lost the contents", size);
	} else {
		work_drop(w, at);
		errno = 0;
		p = work_get(w, how, size);
	}
	if (!p) {
		CHECK(errno == ENOMEM, "%zu bytes: errno %d", size, errno);
		w->refused++;
		return;
	}
	w->served++;
	w->slots[at].p = p;
	w->slots[at].size = size;
	w->slots[at].mark = (unsigned char)(w->served | 1);
	memset(p, w->slots[at].mark, size);
}

static inline void work_end(work *w) {
	for (size_t i = 0; i < WORK_SLOTS; i++) work_drop(w, i);
}

/* Everything is served again. */
static inline void work_recovered(void) {
	static const size_t sizes[] = {16, 1000, 40 * KIB, 300 * KIB, 3 * MIB, 70 * MIB};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		char *p = malloc(sizes[i]);
		CHECK(p, "%zu bytes are refused after the fault was over", sizes[i]);
		if (p) p[0] = p[sizes[i] - 1] = 1;
		free(p);
	}
}

__attribute__((unused)) static void *work_thread(void *steps) {
	work *w = calloc(1, sizeof *w);
	if (!w) return NULL;
	w->seed = (uint64_t)(uintptr_t)&w | 1;
	for (size_t i = (size_t)steps; i > 0; i--) work_step(w);
	work_end(w);
	free(w);
	return NULL;
}

__attribute__((unused)) static void work_threads(size_t threads, size_t steps) {
	pthread_t ids[16];
	size_t started = 0;
	while (started < threads && pthread_create(&ids[started], NULL, work_thread, (void *)steps) == 0) started++;
	CHECK(started > 0, "not one thread could start");
	for (size_t i = 0; i < started; i++) pthread_join(ids[i], NULL);
}

#endif
