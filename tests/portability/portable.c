/*
 * tests/portability/portable.c: the malloc family under load, in plain POSIX C, so that one source runs with every C
 * library, processor and page size.
 *
 * Built with PORTABLE_PRELOAD=1 its malloc must be hypool's (preloaded or linked in); with 0 it calls hyp_malloc and
 * its like by name. Blocks carry a pattern that is checked when they are freed, half of them by another thread.
 */
#include <hypool/hypool.h>
#include <hypool/stats.h>

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if PORTABLE_PRELOAD
#define MALLOC malloc
#define CALLOC calloc
#define REALLOC realloc
#define FREE free
#define ALIGNED(ret_p, alignment, bytes) posix_memalign(ret_p, alignment, bytes)
#else
#define MALLOC hyp_malloc
#define CALLOC hyp_calloc
#define REALLOC hyp_realloc
#define FREE hyp_free
#define ALIGNED(ret_p, alignment, bytes) hyp_posix_memalign(ret_p, alignment, bytes)
#endif

enum { THREADS = 4, SLOTS = 512 };

#define DEMAND(x) ((x) ? (void)0 : fail(#x, __LINE__))

static void fail(const char *what, int line) {
	fprintf(stderr, "portable.c:%d: %s\n", line, what);
	_Exit(1);
}

typedef struct block {
	unsigned char *at;
	size_t bytes;
	unsigned char mark;
} block;

static unsigned long rounds = 20000;
static pthread_mutex_t mailbox_lock = PTHREAD_MUTEX_INITIALIZER;
static block mailbox[SLOTS]; /* blocks on their way to another thread */

static uint64_t next_random(uint64_t *state) {
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void drop(block *b) {
	if (b->at == NULL) return;
	DEMAND(b->at[0] == b->mark && b->at[b->bytes / 2] == b->mark && b->at[b->bytes - 1] == b->mark);
	FREE(b->at);
	b->at = NULL;
}

/* Mostly small, now and then large, rarely more than an arena's share. */
static size_t random_size(uint64_t r) {
	switch (r % 64) {
	case 0: return 1 + (r >> 8) % (3u << 20);
	case 1:
	case 2:
	case 3: return 1 + (r >> 8) % 200000;
	default: return 1 + (r >> 8) % 1500;
	}
}

static block make(uint64_t *state) {
	uint64_t r = next_random(state);
	block b = {.bytes = random_size(r), .mark = (unsigned char)(r >> 40)};
	if (r % 7 == 0) {
		size_t alignment = (size_t)16 << (r >> 50) % 14;
		void *p = NULL;
		DEMAND(ALIGNED(&p, alignment, b.bytes) == 0 && ((uintptr_t)p & (alignment - 1)) == 0);
		b.at = p;
	} else if (r % 7 == 1) {
		b.at = CALLOC(1, b.bytes);
		DEMAND(b.at != NULL && b.at[0] == 0 && b.at[b.bytes - 1] == 0);
	} else {
		b.at = MALLOC(b.bytes);
	}
	DEMAND(b.at != NULL && ((uintptr_t)b.at & 7) == 0);
	b.at[0] = b.at[b.bytes / 2] = b.at[b.bytes - 1] = b.mark;
	return b;
}

static void resize(block *b, uint64_t *state) {
	size_t bytes = random_size(next_random(state));
	unsigned char *p = REALLOC(b->at, bytes);
	DEMAND(p != NULL && p[0] == b->mark);
	b->at = p;
	b->bytes = bytes;
	p[bytes / 2] = p[bytes - 1] = b->mark;
}

static void *work(void *argument) {
	uint64_t state = UINT64_C(0x9e3779b97f4a7c15) + (uintptr_t)argument;
	block own[SLOTS] = {{0}};
	for (unsigned long i = 0; i < rounds; i++) {
		uint64_t r = next_random(&state);
		block *b = &own[r % SLOTS];
		if (b->at == NULL) *b = make(&state);
		else if (r >> 32 & 1) drop(b);
		else if (r >> 33 & 1) resize(b, &state);
		else {
			pthread_mutex_lock(&mailbox_lock);
			block taken = mailbox[(r >> 10) % SLOTS];
			mailbox[(r >> 10) % SLOTS] = *b;
			pthread_mutex_unlock(&mailbox_lock);
			b->at = NULL;
			drop(&taken);
		}
	}
	for (int i = 0; i < SLOTS; i++) drop(&own[i]);
	return NULL;
}

static void run_threads(void) {
	pthread_t threads[THREADS];
	for (uintptr_t i = 0; i < THREADS; i++) DEMAND(pthread_create(&threads[i], NULL, work, (void *)(i * 77)) == 0);
	for (int i = 0; i < THREADS; i++) DEMAND(pthread_join(threads[i], NULL) == 0);
}

static void run_child(void) {
	void *before = MALLOC(100);
	pid_t child = fork();
	DEMAND(child >= 0);
	if (child == 0) {
		rounds /= 10;
		FREE(before);
		run_threads();
		_Exit(7);
	}
	int status = 0;
	DEMAND(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
	FREE(before);
}

/* A program may copy memory that it never wrote: with what hypool left there, the copy is no freed block. */
static void demand_copies(void) {
	unsigned char *volatile freed = MALLOC(64);
	unsigned char *volatile copy = MALLOC(64);
	DEMAND(freed != NULL && copy != NULL);
	FREE(freed);
	memcpy(copy, freed, 16);
	FREE(copy);
}

static void demand_edges(void) {
	errno = 0;
	void *volatile none = MALLOC((size_t)PTRDIFF_MAX);
	DEMAND(none == NULL && errno == ENOMEM);
	void *p = REALLOC(NULL, 10);
	DEMAND(p != NULL);
	errno = 5;
	FREE(p);
	FREE(NULL);
	DEMAND(errno == 5);
	for (int i = 0; i < 4096; i++) { /* one block above another's death: nothing may pile up */
		char *q = MALLOC(1u << 20);
		DEMAND(q != NULL);
		q[i] = 1;
		FREE(q);
	}
}

int main(int count, char **words) {
	if (count > 1) rounds = strtoul(words[1], NULL, 10);
	void *held = MALLOC(1000);
	hyp_stats before = {.struct_bytes = sizeof before}, after = {.struct_bytes = sizeof after};
	DEMAND(hyp_stats_get(&before) == HYP_OK && before.current_bytes >= 1000);
	FREE(held);
	demand_edges();
	demand_copies();
	run_threads();
	run_child();
	run_threads();
	for (int i = 0; i < SLOTS; i++) drop(&mailbox[i]);
	DEMAND(hyp_stats_get(&after) == HYP_OK);
	DEMAND(after.current_bytes <= before.current_bytes + (64u << 10));
	printf("page %ld, %lu rounds in %d threads: sound\n", sysconf(_SC_PAGESIZE), rounds, THREADS);
	return 0;
}
