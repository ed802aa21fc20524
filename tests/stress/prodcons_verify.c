/*
 * Producers and consumers, every block verified where it is freed (SPEC A7).
 *
 * 3 producers and 3 consumers share a ring; the consumers free, some blocks after a realloc, some after passing them
 * back, so that blocks are freed by their own thread, by another, and by a third. Queue: a ring under a mutex.
 */
#include "stress/stress.h"

enum { SIDES = 3, RING = 512 };
static struct ring {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	void *slots[RING];
	size_t head, tail;
	bool closed;
} forward = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER},
  back = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* Puts a block in; a full ring blocks when `wait`, else gives the block back to the caller. */
static void *put(struct ring *ring, void *p, bool wait) {
	pthread_mutex_lock(&ring->mutex);
	while (wait && ring->tail - ring->head == RING) pthread_cond_wait(&ring->changed, &ring->mutex);
	if (ring->tail - ring->head < RING) {
		ring->slots[ring->tail++ % RING] = p;
		p = NULL;
		pthread_cond_broadcast(&ring->changed);
	}
	pthread_mutex_unlock(&ring->mutex);
	return p;
}

/* The oldest block; NULL when the ring is empty and (wait) closed. */
static void *get(struct ring *ring, bool wait) {
	void *p = NULL;
	pthread_mutex_lock(&ring->mutex);
	while (wait && ring->tail == ring->head && !ring->closed) pthread_cond_wait(&ring->changed, &ring->mutex);
	if (ring->tail != ring->head) {
		p = ring->slots[ring->head++ % RING];
		pthread_cond_broadcast(&ring->changed);
	}
	pthread_mutex_unlock(&ring->mutex);
	return p;
}

static struct stress_bound bound;
static pthread_mutex_t bound_mutex = PTHREAD_MUTEX_INITIALIZER;

static bool more(void) {
	pthread_mutex_lock(&bound_mutex);
	bool go_on = bound.done < bound.rounds && check_now_ns() < bound.end_ns;
	if (go_on) bound.done++;
	pthread_mutex_unlock(&bound_mutex);
	return go_on;
}

static void *produce(void *seed_in) {
	uint64_t seed = (uintptr_t)seed_in + 1;
	while (more()) {
		for (int i = 0; i < 100; i++) put(&forward, verified_make(check_random(&seed), stress_size(&seed)), true);
		for (void *p; (p = get(&back, false));) verified_free(p);
	}
	return NULL;
}

static void *consume(void *seed_in) {
	uint64_t seed = (uintptr_t)seed_in + 100;
	for (void *p; (p = get(&forward, true));) {
		uint64_t choice = check_random(&seed) % 10;
		verified_check(p);
		if (choice == 0) {
			struct verified head = *(struct verified *)p;
			size_t size = stress_size(&seed);
			p = realloc(p, size);
			REQUIRE(p);
			verified_check_part(p, size < head.size ? size : head.size, head.size);
			verified_fill(p, check_random(&seed), size);
		}
		if (choice < 3) p = put(&back, p, false);
		verified_free(p);
	}
	return NULL;
}

int main(void) {
	pthread_t producers[SIDES], consumers[SIDES];
	bound = stress_begin(20000, 1000000, 8);
	for (int i = 0; i < SIDES; i++) {
		REQUIRE(pthread_create(&consumers[i], NULL, consume, (void *)(uintptr_t)i) == 0);
		REQUIRE(pthread_create(&producers[i], NULL, produce, (void *)(uintptr_t)i) == 0);
	}
	for (int i = 0; i < SIDES; i++) pthread_join(producers[i], NULL);
	pthread_mutex_lock(&forward.mutex);
	forward.closed = true;
	pthread_cond_broadcast(&forward.changed);
	pthread_mutex_unlock(&forward.mutex);
	for (int i = 0; i < SIDES; i++) pthread_join(consumers[i], NULL);
	for (void *p; (p = get(&back, false));) verified_free(p);
	printf("%ld hundred blocks passed\n", bound.done);
	REQUIRE(bound.done > 0);
	return check_end();
}
