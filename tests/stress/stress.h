/*
 * stress.h: what the stress programs share: which heap they load, verified blocks, and how long they run.
 *
 * Built twice: preloaded, where malloc is the library under test, and with -DHYP_LINKED, where malloc and its family
 * stand for hyp_malloc and its family of libhypool, so that sanitizer builds can run them.
 *
 * A verified block carries its id and size in front and a pattern made of them up to its last byte; whoever frees it,
 * in whatever thread or process, verifies it first. Two owners of one block, a lost write or a moved byte are seen.
 *
 * A run is bounded by rounds and by seconds. HYPOOL_TEST_LONG=1 takes the long figures.
 */
#ifndef TESTS_STRESS_STRESS_H
#define TESTS_STRESS_STRESS_H

#ifdef HYP_LINKED
#define CHECK_NO_PRELOAD
#endif
#include "interpose/check.h"

#include <malloc.h>
#include <pthread.h>

#ifdef HYP_LINKED
#include <hypool/hypool.h>
#define malloc hyp_malloc
#define calloc hyp_calloc
#define realloc hyp_realloc
#define free hyp_free
#define aligned_alloc hyp_aligned_alloc
#define malloc_usable_size hyp_usable_size
#define malloc_trim(pad) ((void)(pad), hyp_trim())
#endif

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define STRESS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define STRESS_SANITIZED 1
#endif
#endif
#ifndef STRESS_SANITIZED
#define STRESS_SANITIZED 0
#endif

__attribute__((unused)) static bool stress_long(void) {
	const char *value = getenv("HYPOOL_TEST_LONG");
	return value && *value == '1';
}

/* True while the run may go on: fewer than `rounds` done, and within the time: 60 times as much in the long mode. */
struct stress_bound {
	long rounds, done;
	uint64_t end_ns;
};

__attribute__((unused)) static struct stress_bound stress_begin(long rounds, long long_rounds, double seconds) {
	bool is_long = stress_long();
	struct stress_bound b = {.rounds = is_long ? long_rounds : rounds};
	b.end_ns = check_now_ns() + (uint64_t)(seconds * (is_long ? 60 : 1) * 1e9);
	return b;
}

__attribute__((unused)) static bool stress_more(struct stress_bound *b) {
	if (b->done >= b->rounds || check_now_ns() > b->end_ns) {
		printf("%ld rounds\n", b->done);
		fflush(stdout);
		REQUIRE(b->done > 0);
		return false;
	}
	b->done++;
	return true;
}

struct verified {
	uint64_t id;
	size_t size;
};

enum { VERIFIED_LEAST = sizeof(struct verified) };

__attribute__((unused)) static unsigned char verified_byte(uint64_t id, size_t at) {
	return (unsigned char)((id * 167) ^ (at * 31) ^ (at >> 8));
}

/* Every byte of small blocks; of large ones the first, the last and one a cache line. */
__attribute__((unused)) static size_t verified_step(size_t size) { return size <= 512 ? 1 : 61; }

__attribute__((unused)) static void verified_fill(void *p, uint64_t id, size_t size) {
	struct verified *head = p;
	unsigned char *bytes = p;
	*head = (struct verified){.id = id, .size = size};
	for (size_t at = VERIFIED_LEAST; at < size; at += verified_step(size)) bytes[at] = verified_byte(id, at);
	if (size > VERIFIED_LEAST) bytes[size - 1] = verified_byte(id, size - 1);
}

/* The block's bytes up to `size`, as verified_fill left them with `filled` as its size. */
__attribute__((unused)) static void verified_check_part(const void *p, size_t size, size_t filled) {
	struct verified head;
	memcpy(&head, p, sizeof head);
	const unsigned char *bytes = p;
	for (size_t at = VERIFIED_LEAST; at < size; at += verified_step(filled))
		REQUIRE(bytes[at] == verified_byte(head.id, at), "block %p, id %#lx, size %zu: byte %zu changed", p,
		        (unsigned long)head.id, filled, at);
}

__attribute__((unused)) static void verified_check(const void *p) {
	struct verified head;
	memcpy(&head, p, sizeof head);
	verified_check_part(p, head.size, head.size);
	if (head.size > VERIFIED_LEAST)
		REQUIRE(((const unsigned char *)p)[head.size - 1] == verified_byte(head.id, head.size - 1),
		        "block %p: the last of %zu bytes changed", p, head.size);
}

__attribute__((unused)) static void *verified_make(uint64_t id, size_t size) {
	if (size < VERIFIED_LEAST) size = VERIFIED_LEAST;
	void *p = id % 7 ? malloc(size) : aligned_alloc((size_t)16 << (id % 9), size);
	REQUIRE(p, "%zu bytes: errno %d", size, errno);
	verified_fill(p, id, size);
	return p;
}

__attribute__((unused)) static void verified_free(void *p) {
	if (!p) return;
	verified_check(p);
	memset(p, 0xdd, VERIFIED_LEAST); /* so that a block given out twice is seen by its other owner */
	free(p);
}

/* Sizes as programs have them: mostly small, some of every class, a few large. */
__attribute__((unused)) static size_t stress_size(uint64_t *seed) {
	uint64_t kind = check_random(seed) % 1000;
	if (kind < 700) return check_random(seed) % 256 + VERIFIED_LEAST;
	if (kind < 940) return check_random(seed) % 4096 + VERIFIED_LEAST;
	if (kind < 990) return check_random(seed) % (100 * KIB) + VERIFIED_LEAST;
	return check_random(seed) % (kind < 998 ? MIB : 4 * MIB) + VERIFIED_LEAST;
}

#endif
