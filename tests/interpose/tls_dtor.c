/*
 * tls_dtor_alloc: thread-exit destructors that allocate after the allocator's own ran (RELIABILITY.md row 7).
 *
 * Keys that re-arm themselves for three rounds (glibc runs PTHREAD_DESTRUCTOR_ITERATIONS = 4), C11 tss, and a
 * destructor that frees the block of another thread. 7200 threads come and go, 16 at a time; what each leaves behind
 * must be taken over: the resident size is bounded.
 */
#include "interpose/check.h"

#include <pthread.h>
#include <threads.h>

enum { THREADS = 7200, AT_ONCE = 16 };
static pthread_key_t keys[8];
static tss_t c11_key;
static _Atomic long destroyed;
static _Atomic(void *) handed_over;

struct load {
	pthread_key_t key;
	int rounds_left;
	void *blocks[8];
};

static void fill(struct load *load) {
	for (size_t i = 0; i < 8; i++) {
		load->blocks[i] = malloc((i + 1) * 700);
		REQUIRE(load->blocks[i]);
		memset(load->blocks[i], (int)i, (i + 1) * 700);
	}
}

static void on_exit_key(void *value) {
	struct load *load = value;
	for (int i = 0; i < 8; i++) free(load->blocks[i]);
	atomic_fetch_add(&destroyed, 1);
	free(atomic_exchange(&handed_over, malloc(4000))); /* a block of another thread, perhaps gone */
	if (load->rounds_left-- > 0) {
		struct load *next = malloc(sizeof *next);
		REQUIRE(next);
		*next = *load;
		fill(next);
		pthread_setspecific(next->key, next);
	}
	free(load);
}

static void on_exit_c11(void *value) { free(value); }

static void *work(void *unused) {
	(void)unused;
	for (int i = 0; i < 8; i++) {
		struct load *load = malloc(sizeof *load);
		REQUIRE(load);
		load->key = keys[i];
		load->rounds_left = i % 2 ? 3 : 0;
		fill(load);
		pthread_setspecific(keys[i], load);
	}
	tss_set(c11_key, malloc(300));
	return malloc(5000); /* freed by the thread that joins */
}

/* A thread that never allocated before its destructor does. */
static pthread_key_t late_key;
static void on_exit_late(void *value) {
	(void)value;
	void *p = malloc(123);
	REQUIRE(p);
	memset(p, 1, 123);
	free(p);
}
static void *work_without_malloc(void *value) {
	pthread_setspecific(late_key, value);
	return NULL;
}

int main(void) {
	for (int i = 0; i < 8; i++) REQUIRE(pthread_key_create(&keys[i], on_exit_key) == 0);
	REQUIRE(pthread_key_create(&late_key, on_exit_late) == 0 && tss_create(&c11_key, on_exit_c11) == thrd_success);
	pthread_t threads[AT_ONCE];
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 128 * KIB);
	size_t warm = 0;
	for (int n = 0; n < THREADS; n += AT_ONCE) {
		for (int i = 0; i < AT_ONCE; i++)
			REQUIRE(pthread_create(&threads[i], &attributes, i % 4 ? work : work_without_malloc, (void *)&threads) ==
			        0);
		for (int i = 0; i < AT_ONCE; i++) {
			void *result = NULL;
			pthread_join(threads[i], &result);
			free(result);
		}
		if (n >= 800 && !warm) warm = check_rss_bytes();
	}
	size_t last = check_rss_bytes();
	printf("resident after 800 threads %zu KiB, after %d threads %zu KiB\n", warm / KIB, THREADS, last / KIB);
	CHECK(last < warm + 8 * MIB, "grows with dead threads: %zu -> %zu KiB", warm / KIB, last / KIB);
	/* 3 of 4 threads work; odd keys run 4 times, even ones once. */
	CHECK(atomic_load(&destroyed) == THREADS / 4 * 3 * (4 * 4 + 4), "%ld destructors ran", atomic_load(&destroyed));
	free(atomic_load(&handed_over));
	return check_end();
}
