/* Tests of core/span.c: carving, the links, chains from other threads, and the checker, for every class. */
#include "core/span.h"
#include "unit.h"

#include <pthread.h>
#include <string.h>

static hypi_large_pool pool;
static char an_owner;
#define OWNER ((struct hypi_heap *)&an_owner) /* compared, never followed */

static void begin(void) {
	hypi_os_init();
	hypi_link_key = UINT64_C(0x1234567812345670) | HYPI_LINK_NIBBLE;
	hypi_large_pool_init(&pool, hypi_backing_anonymous(), 4 << 20, 1000);
}

static void sound(const hypi_span *span) {
	const char *wrong = hypi_span_check(span);
	if (wrong != NULL) ck_abort_msg("%s", wrong);
}

/* A list of a heap, as far as a span sees it: blocks that are out. */
static hypi_block *out_list;

static hypi_block *pop(hypi_span *span) {
	if (out_list == NULL && hypi_span_carve(span, &out_list) == 0) return NULL;
	hypi_block *block = out_list;
	HOLDS(hypi_link_fits(block));
	out_list = hypi_link_get(block);
	block->link = 0;
	return block;
}

START_TEST(every_class) {
	begin();
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		hypi_span *span = hypi_span_create(&pool, c, hypi_class_slices(c), OWNER, 0);
		ck_assert_ptr_nonnull(span);
		sound(span);
		ck_assert_uint_eq((uintptr_t)span % HYP_CACHE_LINE, 0);
		ck_assert_uint_eq(span->block_bytes, hypi_class_block_bytes(c));
		ck_assert_uint_eq(span->slices, hypi_class_slices(c));
		ck_assert_ptr_eq(span->owner, OWNER);
		ck_assert_ptr_eq(hypi_span_at((void *)span->base), span);
		ck_assert_ptr_eq(hypi_span_at((void *)(span->base + ((size_t)span->slices << HYPI_SLICE_LOG2) - 1)), span);
		uint32_t capacity = hypi_span_capacity(span), count = 0;
		uintptr_t last = 0;
		hypi_block *block;
		out_list = NULL;
		for (;;) {
			uint32_t fresh = out_list == NULL ? hypi_span_carve(span, &out_list) : 0;
			/* At most a page of fresh blocks is touched at a time, or one block. */
			ck_assert_uint_le(fresh * span->block_bytes,
			                  span->block_bytes > hypi_os.page_bytes ? span->block_bytes : hypi_os.page_bytes);
			if (out_list == NULL) break;
			block = pop(span);
			HOLDS((uintptr_t)block > last); /* ascending, so that pages are touched in order */
			HOLDS(((uintptr_t)block - span->base) % span->block_bytes == 0);
			HOLDS((uintptr_t)block + span->block_bytes <= span->base + ((size_t)span->slices << HYPI_SLICE_LOG2));
			for (size_t i = sizeof *block; span->zeroed && i < span->block_bytes; i++) HOLDS(((char *)block)[i] == 0);
			memset(block, 0x77, span->block_bytes);
			last = (uintptr_t)block;
			count++;
		}
		ck_assert_uint_eq(count, capacity);
		ck_assert_uint_eq(span->out, capacity);
		sound(span);
		for (uint32_t i = 0; i < capacity; i++) {
			block = (hypi_block *)(span->base + i * span->block_bytes);
			HOLDS(!hypi_block_is_free(block));
			hypi_span_put(span, block);
			HOLDS(hypi_block_is_free(block));
			if (i < 3 || i == capacity - 1) sound(span);
		}
		ck_assert_uint_eq(span->out, 0);
		ck_assert_uint_eq(span->listed, capacity);
		ck_assert_ptr_eq(span->last, (hypi_block *)span->base);
		uintptr_t base = span->base;
		hypi_span_destroy(&pool, span);
		ck_assert_ptr_null(hypi_span_at((void *)base));
	}
	ck_assert_uint_eq(pool.used_slices, 0);
	hypi_large_pool_fini(&pool);
}
END_TEST

START_TEST(a_chain_goes_back_at_once) {
	begin();
	out_list = NULL;
	hypi_span *span = hypi_span_create(&pool, 3, hypi_class_slices(3), OWNER, 0);
	hypi_block *a = pop(span), *b = pop(span), *c = pop(span), *d = pop(span);
	uint32_t out = span->out;
	hypi_link_set(a, b);
	hypi_link_set(c, d);
	hypi_span_put_chain(span, a, b, 2);
	ck_assert_ptr_eq(span->last, b);
	hypi_span_put_chain(span, c, d, 2);
	ck_assert_ptr_eq(span->last, b);
	ck_assert_uint_eq(span->listed, 4);
	ck_assert_uint_eq(span->out, out - 4);
	sound(span);
	const hypi_block *const order[] = {c, d, a, b, NULL};
	const hypi_block *at = hypi_span_take(span);
	for (int i = 0; i < 5; at = at == NULL ? NULL : hypi_link_get(at), i++) ck_assert_ptr_eq(at, order[i]);
	hypi_span_destroy(&pool, span);
	hypi_large_pool_fini(&pool);
}
END_TEST

START_TEST(what_a_link_is) {
	begin();
	out_list = NULL;
	hypi_span *span = hypi_span_create(&pool, 0, hypi_class_slices(0), OWNER, 0);
	hypi_block *a = pop(span), *b = pop(span);
	ck_assert(!hypi_block_is_free(a)); /* it was cleared: an allocated block does not look free */
	ck_assert(hypi_block_unlinked(a));
	hypi_span_put(span, a);
	ck_assert(hypi_block_is_free(a));
	ck_assert(!hypi_block_unlinked(a));
	ck_assert_ptr_ne((void *)a->link, (void *)hypi_link_get(a)); /* masked */
	/* No change of one word is believed, nor of both to the same. */
	for (unsigned bit = 0; bit < 64; bit++) {
		a->link ^= UINT64_C(1) << bit;
		ck_assert(!hypi_link_fits(a));
		a->link ^= UINT64_C(1) << bit;
	}
	ck_assert(hypi_link_fits(a));
	/* Every word of a user's that is not a link is told: text, counts, pointers, an address without the mask. */
	const uint64_t words[] = {0, 1, UINT64_MAX, 0x6f6c6c6548, 0x7fffffffe000, (uintptr_t)a};
	for (size_t i = 0; i < HYP_ARRAY_LEN(words); i++) {
		b->link = words[i];
		b->twin = words[i];
		ck_assert(!hypi_block_is_free(b));
		b->twin = ~words[i] ^ (uintptr_t)b; /* fits, but names no block */
		ck_assert(!hypi_block_is_free(b));
	}
	hypi_link_set(b, NULL);
	ck_assert(hypi_block_is_free(b)); /* the end of a list is a link */
	ck_assert(!hypi_span_holds(span, (void *)(span->base + span->carved_bytes)));
	ck_assert(hypi_span_holds(span, (void *)(span->base + span->carved_bytes - 1)));
	b->link = 0;
	hypi_span_destroy(&pool, span);
	hypi_large_pool_fini(&pool);
}
END_TEST

START_TEST(remote_chains) {
	begin();
	out_list = NULL;
	hypi_span *span = hypi_span_create(&pool, 1, hypi_class_slices(1), OWNER, 0);
	hypi_block *held[64];
	for (int i = 0; i < 64; i++) held[i] = pop(span);
	uint32_t out = span->out;
	ck_assert_uint_eq(hypi_span_collect(span), 0);
	/* The first push after a drain is the one that must put the span on the stack. */
	hypi_link_set(held[0], held[1]);
	ck_assert(hypi_span_push_remote(span, held[0], held[1], 2));
	ck_assert(!hypi_span_push_remote(span, held[2], held[2], 1));
	ck_assert_uint_eq(hypi_chain_count(span->remote), 3);
	ck_assert(span->remote & HYPI_PENDING);
	ck_assert_uint_eq(span->out, out); /* they count as out until collected */
	for (int i = 0; i < 3; i++) ck_assert(hypi_block_is_free(held[i]));
	ck_assert(!hypi_block_is_free(held[3]));
	sound(span);
	ck_assert_uint_eq(hypi_span_collect(span), 3);
	ck_assert_uint_eq(span->remote, HYPI_PENDING); /* the stack still knows it */
	ck_assert_uint_eq(span->out, out - 3);
	sound(span);
	out_list = hypi_span_take(span);
	ck_assert_uint_eq(span->out, out);
	ck_assert_ptr_eq(pop(span), held[2]);
	ck_assert_ptr_eq(pop(span), held[0]);
	ck_assert_ptr_eq(pop(span), held[1]);
	ck_assert_ptr_null(out_list);
	sound(span);
	hypi_span_destroy(&pool, span);
	hypi_large_pool_fini(&pool);
}
END_TEST

/* ---- many threads push, the owner collects ---- */

enum { PUSHERS = 4 };

static hypi_span *shared;
static _Atomic uintptr_t mailbox[PUSHERS];
static _Atomic unsigned stacked;
static _Atomic bool done;

static void *push_what_comes(void *context) {
	_Atomic uintptr_t *box = context;
	for (;;) {
		bool last = atomic_load(&done);
		hypi_block *block = (hypi_block *)atomic_exchange(box, 0);
		if (block != NULL) {
			HOLDS(((char *)block)[16] == 0x33);
			hypi_link_set(block, NULL);
			if (hypi_span_push_remote(shared, block, block, 1)) atomic_fetch_add(&stacked, 1);
		} else if (last) {
			return NULL;
		} else {
			hypi_os_yield();
		}
	}
}

START_TEST(remote_threads) {
	begin();
	shared = hypi_span_create(&pool, 1, hypi_class_slices(1), OWNER, 0);
	pthread_t thread[PUSHERS];
	for (size_t i = 0; i < PUSHERS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, push_what_comes, &mailbox[i]), 0);
	out_list = NULL;
	uint32_t handed = 0, back = 0;
	for (unsigned i = 0; i < 100000; i++) {
		if (out_list == NULL) {
			if (atomic_exchange(&stacked, 0) > 0) atomic_fetch_and(&shared->remote, ~HYPI_PENDING);
			uint32_t count = hypi_span_collect(shared);
			back += count;
			if (count > 0) out_list = hypi_span_take(shared);
		}
		hypi_block *block = pop(shared);
		if (block == NULL) {
			hypi_os_yield();
			continue;
		}
		memset(block, 0x33, shared->block_bytes);
		while (atomic_load(&mailbox[i % PUSHERS]) != 0) hypi_os_yield();
		atomic_store(&mailbox[i % PUSHERS], (uintptr_t)block);
		handed++;
	}
	atomic_store(&done, true);
	for (size_t i = 0; i < PUSHERS; i++) ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
	sound(shared);
	back += hypi_span_collect(shared);
	sound(shared);
	ck_assert_uint_eq(handed, back);
	hypi_span_destroy(&pool, shared);
	hypi_large_pool_fini(&pool);
}
END_TEST

/* ---- the checker finds what is planted ---- */

static void planted(const hypi_span *span, const char *expect) {
	const char *wrong = hypi_span_check(span);
	ck_assert_ptr_nonnull(wrong);
	ck_assert_str_eq(wrong, expect);
}

/* The one comparison against the two questions that it stands for: at every block's edges, and all over the span. */
static void compare(const hypi_span *span) {
	static const int beside[] = {0, 1, 8, 15, 16, 24, -1, -8, -16};
	uint64_t end = (uint64_t)span->slices << HYPI_SLICE_LOG2, random = 7;
	for (uint64_t start = 0; start < end; start += span->block_bytes)
		for (size_t i = 0; i < HYP_ARRAY_LEN(beside); i++) {
			uint64_t at = start + (uint64_t)(int64_t)beside[i];
			if (at >= end) continue;
			HOLDS(hypi_span_starts(span, (void *)(span->base + at)) ==
			      (at < span->carved_bytes && at % span->block_bytes == 0));
		}
	for (int i = 0; i < 1000; i++) {
		uint64_t at = (random = hypi_mix64(random)) % end;
		HOLDS(hypi_span_starts(span, (void *)(span->base + at)) ==
		      (at < span->carved_bytes && at % span->block_bytes == 0));
	}
}

START_TEST(starts_of_blocks) {
	begin();
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		hypi_span *span = hypi_span_create(&pool, c, hypi_class_slices(c), OWNER, 0);
		ck_assert_ptr_nonnull(span);
		hypi_block *first;
		uint32_t count = 0, fresh;
		do {
			compare(span);
			fresh = hypi_span_carve(span, &first);
			for (uint32_t i = 0; i < fresh; i++) {
				hypi_block *next = hypi_link_get(first);
				hypi_span_put(span, first);
				first = next;
			}
			count += fresh;
		} while (fresh != 0);
		ck_assert_uint_eq(count, hypi_span_capacity(span));
		sound(span);
		hypi_span_destroy(&pool, span);
	}
	hypi_large_pool_fini(&pool);
}
END_TEST

START_TEST(planted_faults) {
	begin();
	out_list = NULL;
	hypi_span *span = hypi_span_create(&pool, 2, hypi_class_slices(2), OWNER, 0);
	hypi_block *a = pop(span), *b = pop(span), *c = pop(span), *head = pop(span), *after = pop(span);
	hypi_span_put(span, after);
	hypi_span_put(span, head);
	sound(span);

	hypi_link_set(head, (hypi_block *)0x4141414141414140);
	planted(span, "a link leaves its span");
	hypi_link_set(head, (hypi_block *)((char *)a + 16));
	planted(span, "a link points inside a block");
	hypi_link_set(head, head);
	planted(span, "a block is free twice");
	hypi_link_set(head, after);
	head->twin ^= 1;
	planted(span, "a link was written over");
	head->twin ^= 1;
	sound(span);

	hypi_span_put(span, a); /* a double free that nobody stopped */
	hypi_span_put(span, a);
	planted(span, "a block is free twice");
	span->free = head;
	span->listed -= 2;
	span->out += 2;
	sound(span);

	span->listed++;
	planted(span, "the list is not as long as it says");
	span->listed--;
	span->out--; /* a block is lost */
	planted(span, "listed and out do not add up");
	span->out++;
	span->carved_bytes += 16;
	planted(span, "carved_bytes is wrong");
	span->carved_bytes -= 16;
	span->carved_bytes += 1 << 20;
	planted(span, "carved_bytes is wrong");
	span->carved_bytes -= 1 << 20;
	span->bound++;
	planted(span, "carved_bytes and bound disagree");
	span->bound--;
	hypi_page_map_set(span->base, 1, NULL);
	planted(span, "the page map does not know a span");
	hypi_page_map_set_tagged(span->base, 1, span, 0);
	planted(span, "the page map has another class for a span");
	hypi_page_map_set_tagged(span->base, 1, span, hypi_class_tag(span->class_index));

	hypi_link_set(b, c);
	ck_assert(hypi_span_push_remote(span, b, b, 2)); /* a chain that is shorter than it says */
	planted(span, "the remote chain is not as long as it says");
	span->remote = 0;
	sound(span);
	ck_assert(hypi_span_push_remote(span, head, head, 1)); /* free in both lists */
	ck_assert_ptr_nonnull(hypi_span_check(span));
	span->remote = 0;
	hypi_link_set(head, after);
	sound(span);
	hypi_span_destroy(&pool, span);
	hypi_large_pool_fini(&pool);
}
END_TEST

UNIT_MAIN("span", every_class, a_chain_goes_back_at_once, what_a_link_is, remote_chains, remote_threads,
          starts_of_blocks, planted_faults)
