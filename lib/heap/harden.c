/* heap/harden.c: small blocks' shadows, canaries and quarantines; see heap/harden.h. */
#include "heap/harden.h"

#include "base/fatal.h"
#include "base/option.h"
#include "core/meta.h"
#include "heap/fast.h"
#include "heap/sample.h"

#include <errno.h>
#include <string.h>

enum {
	GUARD_EVERY = 1000, /* level 3: small blocks to one with guard pages, which is at most one in three milliseconds */
	RANDOM_ENTRIES = 128, /* of a quarantine: any of them leaves next */
	FIFO_ENTRIES = 1024,  /* after which it waits here for its turn */
	LEAVE_BATCH = 16,     /* blocks that leave together where there is no room: their lines are fetched side by side */
	LEAVE_EVERY = 16,     /* allocations after which one block leaves, though there is room */
	SHUFFLE = 8,          /* fresh blocks of a list among which one is chosen */
	CANARY_ENDS = 32,     /* of a long canary, so many bytes at each end are written and compared */
	NEIGHBOUR_BYTES = 8,  /* looked at in front of a block that is freed */
	CLEAR_INLINE = 512,   /* bytes up to which a block is cleared without a call */
	LEAVE_LOOK = 128,     /* level 3: bytes of a block that are compared when it leaves quarantine */
	HOLD_STRONG = 1 << 20,
	HOLD_STRONGEST = 2 << 20,
	GUARD_FROM_STRONGEST = 1 << 17, /* from where glibc, too, maps a block of its own: programs know it to be dear */
	SLOTS_SAMPLED = 16,
	SLOTS_STRONGEST = 64
};

/* The largest page of the processor. Valgrind cannot read a library whose segments ask for more than 4 KiB. */
#define CONFIG_ALIGNMENT (HYP_CPU_X86_64 ? 4096 : HYPI_SLICE_BYTES)

hypi_harden_page hypi_harden __attribute__((aligned(CONFIG_ALIGNMENT)));

typedef struct hypi_quarantine {
	uint64_t random;
	size_t bytes;
	uint32_t fifo_first, fifo_count;
	uint32_t until_guard; /* small blocks up to the next guarded one; level 2: it never comes */
	uint32_t until_leave; /* allocations up to the next block that leaves */
	void *random_blocks[RANDOM_ENTRIES];
	void *fifo[FIFO_ENTRIES];
} hypi_quarantine;

void hypi_harden_init(void) {
	uint32_t level = (uint32_t)hypi_option_get(HYPI_OPTION_harden);
	hypi_harden_config *config = &hypi_harden.config;
	if (!HYP_CHECKS || config->level != 0) return;
	config->key = hypi_mix64(hypi_os.random + UINT64_C(0x9e3779b97f4a7c15));
	config->slots = level == 3 ? SLOTS_STRONGEST : SLOTS_SAMPLED;
	config->sample_every = level == 1 ? (uint32_t)hypi_option_get(HYPI_OPTION_guard) : 0;
	if (level < 2 || hypi_default_engine.heap_count > 1) return;
	config->guard_from_bytes = level == 3 ? GUARD_FROM_STRONGEST : hypi_default_engine.threshold_bytes;
	config->hold_bytes = level == 3 ? HOLD_STRONGEST : HOLD_STRONG;
	config->level = level;
	hypi_self.front = &hypi_heap_none;
	hypi_default_engine.front_serial = HYPI_NO_FRONT;
	/* Where it is refused, the page stays writable, and all else is as it was. */
	if (level == 3 && hypi_os_read_only(&hypi_harden, sizeof hypi_harden) != HYP_OK) return;
}

/* ---- canaries ---- */

/* Eight of them, at a multiple of 8, are the canary itself (all our processors are little-endian). */
static unsigned char canary_byte(uint64_t canary, uintptr_t at) { return (unsigned char)(canary >> (at & 7) * 8); }

/* The next place after a long canary's first bytes is where its last begin: both functions walk alike. */
static const unsigned char *skip(const unsigned char *from, const unsigned char *at, const unsigned char *end) {
	bool between = at - from >= CANARY_ENDS && end - at > CANARY_ENDS + 8;
	return between ? (const unsigned char *)((uintptr_t)(end - CANARY_ENDS) & ~(uintptr_t)7) : at;
}

void hypi_canary_write(uint64_t canary, void *from, void *to) {
	unsigned char *at = from, *end = to;
	for (; at < end && ((uintptr_t)at & 7) != 0; at++) *at = canary_byte(canary, (uintptr_t)at);
	for (; end - at >= 8; at += 8) {
		at = (unsigned char *)skip(from, at, end);
		memcpy(at, &canary, 8);
	}
	for (; at < end; at++) *at = canary_byte(canary, (uintptr_t)at);
}

const void *hypi_canary_differs(uint64_t canary, const void *from, const void *to) {
	const unsigned char *at = from, *end = to;
	for (; at < end && ((uintptr_t)at & 7) != 0; at++)
		if (*at != canary_byte(canary, (uintptr_t)at)) return at;
	for (; end - at >= 8; at += 8) {
		at = skip(from, at, end);
		uint64_t word;
		memcpy(&word, at, 8);
		if (word != canary) return at;
	}
	for (; at < end; at++)
		if (*at != canary_byte(canary, (uintptr_t)at)) return at;
	return NULL;
}

/* The last `count` bytes (at most 8) of the word that ends at `end` are canary. */
static bool ends_well(uint64_t canary, const char *end, size_t count) {
	uint64_t word;
	memcpy(&word, end - 8, 8);
	return ((word ^ canary) >> (8 - count) * 8) == 0;
}

/* A small block's canary: the two words at its start and the two at its end, which may overlap, and together are all of
 * it up to 32 bytes. A word that is not at a multiple of 8 is the canary turned. Of a canary below 8 bytes both ends are
 * the word that ends with it, under a mask. No branch up to 16 bytes: how many there are is as good as random. */
static uint64_t turned(uint64_t canary, uintptr_t at) {
	unsigned by = (unsigned)(at & 7) * 8;
	return canary >> by | canary << (-by & 63);
}

static void put_word(uint64_t word, char *at) { memcpy(at, &word, 8); }

static uint64_t word_at(const char *at) {
	uint64_t word;
	memcpy(&word, at, 8);
	return word;
}

/* The bytes of the word that ends at a block's end which belong to a canary of `count` bytes, which is at least 1. */
static uint64_t end_mask(size_t count) { return ~UINT64_C(0) << (count < 8 ? (8 - count) * 8 : 0); }

HYP_INLINE void write_tail(uint64_t canary, char *from, char *end) {
	size_t count = (size_t)(end - from);
	uint64_t mask = end_mask(count), last = (word_at(end - 8) & ~mask) | (canary & mask);
	if (HYP_UNLIKELY(count > 16)) {
		put_word(turned(canary, (uintptr_t)from), from + 8);
		put_word(canary, end - 16);
	}
	put_word(count < 8 ? last : turned(canary, (uintptr_t)from), count < 8 ? end - 8 : from);
	put_word(last, end - 8);
}

HYP_INLINE bool tail_differs(uint64_t canary, const char *from, const char *end) {
	size_t count = (size_t)(end - from);
	uint64_t mask = end_mask(count), differs = (word_at(end - 8) ^ canary) & mask;
	uint64_t begin = word_at(count < 8 ? end - 8 : from) ^ turned(canary, (uintptr_t)from);
	differs |= count < 8 ? 0 : begin;
	if (HYP_UNLIKELY(count > 16))
		differs |= (word_at(from + 8) ^ turned(canary, (uintptr_t)from)) | (word_at(end - 16) ^ canary);
	return differs != 0;
}

/* ---- clearing, and comparing with zero: blocks are multiples of 16 bytes, and lie at such ---- */

typedef uint64_t pair __attribute__((vector_size(16), may_alias));

/* Four pairs, which overlap where the bytes are fewer than 64: no branch depends on a small block's size. */
static void *least(const char *a, const char *b) { return (void *)(uintptr_t)(a < b ? a : b); }
HYP_INLINE pair any_of(const char *at, const char *last) {
	const char *b = least(at + 16, last), *c = least(at + 32, last), *d = least(at + 48, last);
	return (*(const pair *)at | *(const pair *)b) | (*(const pair *)c | *(const pair *)d);
}

HYP_INLINE bool is_zero(const void *block, size_t bytes) {
	const char *at = block, *last = at + bytes - sizeof(pair);
	pair any = {0, 0};
	for (; HYP_UNLIKELY(last - at >= 64); at += 64) any |= any_of(at, at + 48);
	any |= any_of(at, last);
	return (any[0] | any[1]) == 0;
}

HYP_INLINE void clear_four(char *at, char *last) {
	const pair zero = {0, 0};
	pair *b = least(at + 16, last), *c = least(at + 32, last), *d = least(at + 48, last);
	*(pair *)at = *b = *c = *d = zero;
}

HYP_INLINE void clear(void *block, size_t bytes) {
	char *at = block, *last = at + bytes - sizeof(pair);
	if (HYP_UNLIKELY(bytes > CLEAR_INLINE)) {
		memset(block, 0, bytes);
		return;
	}
	for (; HYP_UNLIKELY(last - at >= 64); at += 64) clear_four(at, at + 48);
	clear_four(at, last);
}

/* ---- shadows: 3 bits of state, 20 of the asked size, 9 that change with every step ---- */

enum { NEVER, LIVE, BUSY, HELD, FREE, STATE_BITS = 3, ASKED_BITS = 20 };
_Static_assert(HYPI_SMALL_LIMIT <= (size_t)1 << ASKED_BITS, "a small block's asked size fits");

static unsigned state_of(uint32_t word) { return word & ((1 << STATE_BITS) - 1); }
static size_t asked_of(uint32_t word) { return word >> STATE_BITS & ((1u << ASKED_BITS) - 1); }
static uint32_t next_word(uint32_t before, unsigned state, size_t asked) {
	uint32_t turn = (before >> (STATE_BITS + ASKED_BITS)) + 1;
	return turn << (STATE_BITS + ASKED_BITS) | (uint32_t)asked << STATE_BITS | state;
}

static size_t index_of(const hypi_span *span, const void *p) {
	/* The exact quotient by the inverse that tells divisors (Lemire, Kaser, Kurz 2019). */
	return (size_t)(((unsigned __int128)((uintptr_t)p - span->base) * span->inverse) >> 64);
}

static _Atomic(_Atomic uint32_t *) *shadow_of(hypi_span *span) { return (void *)&span->shadow; }

/* Zeroed, or NULL. Where the kernel refuses address space, what stands empty goes back first. */
static void *shadow_alloc(size_t bytes) {
	void *shadow = hypi_meta_alloc(bytes);
	if (shadow != NULL) return shadow;
	hypi_large_pool *pool = &hypi_default_engine.large;
	hypi_lock_take(&pool->lock);
	pool->tight = true;
	hypi_unlock(&pool->lock);
	hypi_large_pool_purge(pool);
	hypi_guard_flush();
	return hypi_meta_alloc(bytes);
}

/* The word of a block, making the shadow where there is none yet. The caller was just handed a block of the span, so
 * only threads that were, too, race for it. NULL: no memory. */
static HYP_NOINLINE _Atomic uint32_t *make_shadow(hypi_span *span, const void *p) {
	_Atomic(_Atomic uint32_t *) *at = shadow_of(span);
	_Atomic uint32_t *shadow = hypi_load_acquire(at); /* pairs with the release below */
	if (HYP_UNLIKELY(shadow == NULL)) {
		_Atomic uint32_t *made = shadow_alloc(hypi_span_shadow_bytes(span));
		if (made == NULL) return NULL;
		if (atomic_compare_exchange_strong_explicit(at, &shadow, made, memory_order_acq_rel, memory_order_acquire))
			shadow = made;
		else hypi_meta_free(made, hypi_span_shadow_bytes(span));
	}
	return &shadow[index_of(span, p)];
}

HYP_INLINE _Atomic uint32_t *make_word(hypi_span *span, const void *p) {
	_Atomic uint32_t *shadow = hypi_load_acquire(shadow_of(span)); /* pairs with the release in make_shadow */
	return HYP_LIKELY(shadow != NULL) ? &shadow[index_of(span, p)] : make_shadow(span, p);
}

/* The word of a block, or NULL when nothing is known of it. */
static _Atomic uint32_t *word_of(hypi_span *span, const void *p) {
	_Atomic uint32_t *shadow = hypi_load_acquire(shadow_of(span));
	if (shadow == NULL) return NULL;
	_Atomic uint32_t *word = &shadow[index_of(span, p)];
	return state_of(hypi_load_relaxed(word)) == NEVER ? NULL : word;
}

/* What is written after this is seen after the word that was stored before it. */
static void publish(_Atomic uint32_t *word, uint32_t value) {
	hypi_store_relaxed(word, value);
	atomic_thread_fence(memory_order_release);
}

/* The bytes in front of a block: its neighbour's end, which is canary, or zero when it is free. */
HYP_INLINE void check_in_front(const hypi_span *span, _Atomic uint32_t *word, const char *p) {
	if ((uintptr_t)p == span->base) return;
	uint32_t before = hypi_load_acquire(--word); /* pairs with the releases of the neighbour's holder */
	size_t slack = span->block_bytes - asked_of(before);
	bool good = true;
	if (state_of(before) == LIVE)
		good = ends_well(hypi_canary_of((uintptr_t)p - span->block_bytes), p, slack < 8 ? slack : 8);
	else if ((state_of(before) == HELD || state_of(before) == FREE) && span->block_bytes > sizeof(hypi_block))
		good = ends_well(0, p, NEIGHBOUR_BYTES);
	if (HYP_LIKELY(good)) return;
	atomic_thread_fence(memory_order_acquire);
	if (hypi_load_relaxed(word) == before) hypi_fatal("buffer underflow", p, span->block_bytes);
}

HYP_INLINE void check_canary(const hypi_span *span, const char *p, size_t asked) {
	if (HYP_UNLIKELY(tail_differs(hypi_canary_of((uintptr_t)p), p + asked, p + span->block_bytes)))
		hypi_fatal("buffer overflow", p, span->block_bytes);
}

/* ---- quarantine ---- */

static HYP_NOINLINE hypi_quarantine *make_quarantine(hypi_heap *heap) {
	int saved = errno;
	hypi_quarantine *q = hypi_meta_alloc(sizeof *q);
	errno = saved;
	if (q == NULL) return NULL;
	q->random = hypi_os.random ^ hypi_mix64(hypi_os_now_ns()) ^ (uintptr_t)heap;
	q->until_guard = hypi_harden.config.level == 3 ? GUARD_EVERY / 2 : UINT32_MAX;
	q->until_leave = LEAVE_EVERY;
	return heap->quarantine = q;
}

HYP_INLINE hypi_quarantine *quarantine_of(hypi_heap *heap) {
	if (HYP_UNLIKELY(heap == NULL)) return NULL;
	hypi_quarantine *q = heap->quarantine;
	return HYP_LIKELY(q != NULL) ? q : make_quarantine(heap);
}

static uint32_t draw(hypi_quarantine *q) {
	q->random = q->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407); /* Knuth's MMIX, high half */
	return (uint32_t)(q->random >> 32);
}

/* A block leaves quarantine: nobody wrote to it meanwhile, and it goes where freed blocks go. */
static void let_go(hypi_heap *heap, hypi_quarantine *q, void *p) {
	hypi_span *span = hypi_span_at(p);
	_Atomic uint32_t *word = &hypi_load_relaxed(shadow_of(span))[index_of(span, p)];
	if (q != NULL) q->bytes -= span->block_bytes;
	/* Its first bytes are about to become its link; the others are compared when it is handed out, if it ever is. */
	size_t look = hypi_harden.config.level == 3 ? LEAVE_LOOK : sizeof(hypi_block);
	if (!is_zero(p, look < span->block_bytes ? look : span->block_bytes))
		hypi_fatal("write after free", p, span->block_bytes);
	hypi_store_release(word, next_word(hypi_load_relaxed(word), FREE, 0)); /* pairs with check_in_front */
	if (HYP_LIKELY(heap != NULL) && HYP_LIKELY(hypi_load_relaxed(&span->owner) == heap))
		hypi_heap_put(heap, hypi_class_tag(span->class_index), p);
	else hypi_free_checked(&hypi_default_engine, heap, span, p);
}

static void *fifo_take(hypi_quarantine *q) {
	void *p = q->fifo[q->fifo_first];
	q->fifo_first = (q->fifo_first + 1) % FIFO_ENTRIES;
	q->fifo_count--;
	return p;
}

static HYP_NOINLINE void let_go_oldest(hypi_heap *heap, hypi_quarantine *q) {
	void *leaving[LEAVE_BATCH];
	uint32_t count = 0;
	for (; count < LEAVE_BATCH && q->fifo_count > 0; count++) {
		leaving[count] = fifo_take(q);
		__builtin_prefetch(leaving[count], 1);
	}
	for (uint32_t i = 0; i < count; i++) let_go(heap, q, leaving[i]);
}

/* More is held than may be. */
static HYP_NOINLINE void shrink(hypi_heap *heap, hypi_quarantine *q) {
	size_t most = hypi_harden.config.hold_bytes;
	while (q->bytes > most && q->fifo_count > 0) let_go_oldest(heap, q);
	for (uint32_t i = draw(q); q->bytes > most; i++) {
		void **at = &q->random_blocks[i % RANDOM_ENTRIES], *victim = *at;
		*at = NULL;
		if (victim != NULL) let_go(heap, q, victim);
	}
}

HYP_INLINE void hold(hypi_heap *heap, hypi_quarantine *q, const hypi_span *span, void *p) {
	bool was_busy = heap->busy;
	heap->busy = true;
	q->bytes += span->block_bytes;
	void **slot = &q->random_blocks[draw(q) % RANDOM_ENTRIES], *older = *slot;
	*slot = p;
	if (HYP_LIKELY(older != NULL)) {
		if (HYP_UNLIKELY(q->fifo_count == FIFO_ENTRIES)) let_go_oldest(heap, q);
		q->fifo[(q->fifo_first + q->fifo_count++) % FIFO_ENTRIES] = older;
	}
	if (HYP_UNLIKELY(q->bytes > hypi_harden.config.hold_bytes)) shrink(heap, q);
	heap->busy = was_busy;
}

/* Time passes, also where nothing is freed: what was written to must come to light. */
static HYP_NOINLINE void age(hypi_heap *heap, hypi_quarantine *q) {
	bool was_busy = heap->busy;
	heap->busy = true;
	q->until_leave = LEAVE_EVERY;
	void **slot = &q->random_blocks[draw(q) % RANDOM_ENTRIES], *p = *slot;
	if (q->fifo_count > 0) p = fifo_take(q);
	else *slot = NULL;
	if (p != NULL) let_go(heap, q, p);
	heap->busy = was_busy;
}

void hypi_harden_flush(hypi_heap *heap) {
	hypi_quarantine *q = heap->quarantine;
	if (q == NULL) return;
	bool was_busy = heap->busy;
	heap->busy = true;
	while (q->fifo_count > 0) let_go(heap, q, fifo_take(q));
	for (uint32_t i = 0; i < RANDOM_ENTRIES; i++) {
		void *p = q->random_blocks[i];
		q->random_blocks[i] = NULL;
		if (p != NULL) let_go(heap, q, p);
	}
	heap->quarantine = NULL;
	hypi_meta_free(q, sizeof *q);
	heap->busy = was_busy;
}

/* ---- allocate ---- */

/* Brings a random one of a list's first blocks to its head. Fresh blocks stand in the order of their addresses; those
 * that were freed before come out of the quarantine in none. */
static HYP_NOINLINE void shuffle(hypi_heap *heap, hypi_quarantine *q, unsigned c) {
	hypi_list *list = &heap->lists[c];
	hypi_block *before = list->head, *chosen;
	if (before == NULL) return;
	for (uint32_t steps = draw(q) % SHUFFLE; steps > 0; steps--, before = chosen) {
		chosen = hypi_link_follow(before);
		if (chosen == NULL) return;
		if (steps > 1) continue;
		hypi_link_set(before, hypi_link_follow(chosen));
		hypi_link_set(chosen, list->head);
		list->head = chosen;
		return;
	}
}

static HYP_COLD void *no_shadow(hypi_span *span, void *p) {
	/* No memory for the shadow: the block is given back, and is as if it had not been. */
	hypi_free_checked(&hypi_default_engine, hypi_self.heap, span, p);
	errno = ENOMEM;
	return NULL;
}

/* *ret_fresh: nobody had the block before. */
HYP_INLINE void *finish_small(hypi_span *span, char *p, size_t asked, bool zero, bool *ret_fresh) {
	_Atomic uint32_t *word = make_word(span, p);
	if (HYP_UNLIKELY(word == NULL)) return no_shadow(span, p);
	uint32_t before = hypi_load_relaxed(word);
	hypi_block *block = (void *)p;
	block->link = block->twin = 0;
	*ret_fresh = state_of(before) == NEVER;
	if (HYP_LIKELY(state_of(before) == FREE)) {
		if (HYP_UNLIKELY(!is_zero(p, span->block_bytes))) hypi_fatal("write after free", p, span->block_bytes);
	} else if (state_of(before) != NEVER) {
		hypi_fatal("free list corrupted", p, span->block_bytes);
	} else if (zero) {
		memset(p, 0, asked);
	}
	publish(word, next_word(before, BUSY, asked));
	write_tail(hypi_canary_of((uintptr_t)p), p + asked, p + span->block_bytes);
	hypi_store_release(word, next_word(before, LIVE, asked)); /* pairs with check_in_front */
	return p;
}

static void *finish_large(hypi_span *span, char *p, size_t asked) {
	span->asked_plus1 = asked + 1;
	hypi_canary_write(hypi_canary_of((uintptr_t)p), p + asked, p + span->block_bytes);
	return p;
}

void hypi_harden_count(hypi_heap *heap, const hypi_span *span, bool freed) {
	hypi_large_count *to = heap != NULL ? &heap->large_count : &hypi_default_engine.large_count;
	hypi_add_relaxed(freed ? &to->frees : &to->allocs, 1);
	hypi_add_relaxed(freed ? &to->freed_bytes : &to->allocated_bytes, span->block_bytes);
}

static void *alloc_guarded(hypi_heap *heap, size_t bytes, size_t alignment, bool zero) {
	void *p = hypi_guard_slot_alloc(bytes, alignment);
	if (p != NULL && zero) memset(p, 0, bytes); /* where the kernel lied about the page */
	if (p == NULL) p = hypi_guard_alloc(bytes, alignment);
	hypi_span *span = p != NULL ? hypi_span_at(p) : NULL;
	if (span == NULL) return NULL;
	hypi_harden_count(heap, span, false);
	if (heap != NULL && hypi_sample_concerns(heap)) hypi_sample_large(heap, span, bytes);
	return p;
}

/* All that is not plainly a block off the thread's own list. */
static HYP_NOINLINE void *alloc_rest(hypi_heap *heap, size_t bytes, size_t alignment, bool zero, bool guarded) {
	if (guarded) {
		void *p = alloc_guarded(heap, bytes, alignment, zero);
		if (p != NULL) return p;
	}
	/* At least one byte of canary. An absurd size is refused below. */
	size_t room = bytes < SIZE_MAX ? bytes + 1 : bytes;
	char *p = hypi_engine_alloc_plain(&hypi_default_engine, heap, room, alignment, zero);
	if (p == NULL && hypi_guard_flush()) p = hypi_engine_alloc_plain(&hypi_default_engine, heap, room, alignment, zero);
	if (p == NULL) return NULL;
	hypi_span *span = hypi_span_at(p);
	if (hypi_load_relaxed(&span->kind) != HYPI_SPAN_SMALL) return finish_large(span, p, bytes);
	bool fresh = false;
	p = finish_small(span, p, bytes, zero, &fresh);
	if (p != NULL && fresh && heap != NULL && heap->quarantine != NULL) {
		bool was_busy = heap->busy;
		heap->busy = true;
		shuffle(heap, heap->quarantine, span->class_index);
		heap->busy = was_busy;
	}
	return p;
}

void *hypi_harden_alloc(hypi_heap *heap, size_t bytes, size_t alignment, bool zero) {
	hypi_quarantine *q = quarantine_of(heap);
	bool guarded = bytes >= hypi_harden.config.guard_from_bytes;
	if (HYP_UNLIKELY(q == NULL) || guarded) return alloc_rest(heap, bytes, alignment, zero, guarded);
	if (HYP_UNLIKELY(--q->until_guard == 0)) {
		bool now = hypi_harden.config.level == 3;
		q->until_guard = now ? 1 + draw(q) % (2 * GUARD_EVERY) : UINT32_MAX;
		if (now && hypi_guard_turn()) return alloc_rest(heap, bytes, alignment, zero, true);
	}
	if (HYP_UNLIKELY(--q->until_leave == 0)) age(heap, q);
	if (alignment > 16 || bytes >= HYPI_SMALL_LIMIT - 1) return alloc_rest(heap, bytes, alignment, zero, false);
	hypi_list *list = hypi_list_for(heap, bytes + 1);
	char *p = hypi_list_pop(list);
	if (HYP_UNLIKELY(p == NULL)) return alloc_rest(heap, bytes, alignment, zero, false);
	__builtin_prefetch(list->head, 1);
	bool fresh = false;
	p = finish_small(hypi_span_at(p), p, bytes, zero, &fresh);
	if (HYP_UNLIKELY(fresh) && p != NULL) {
		bool was_busy = heap->busy;
		heap->busy = true;
		shuffle(heap, q, (unsigned)(list - heap->lists));
		heap->busy = was_busy;
	}
	return p;
}

/* ---- free and ask ---- */

/* A small block, whose word is BUSY by the caller's hand, is cleared, and waits. */
HYP_INLINE void retire(hypi_heap *heap, hypi_span *span, char *p, _Atomic uint32_t *word, uint32_t before) {
	check_canary(span, p, asked_of(before));
	check_in_front(span, word, p);
	clear(p, span->block_bytes);
	/* Two steps after LIVE; pairs with check_in_front. */
	hypi_store_release(word, next_word(next_word(before, BUSY, 0), HELD, 0));
	bool picked = hypi_load_relaxed(&span->owner) == hypi_load_relaxed(&hypi_default_engine.sampled);
	hypi_quarantine *q = picked ? NULL : quarantine_of(heap);
	if (HYP_LIKELY(q != NULL)) hold(heap, q, span, p);
	else let_go(heap, NULL, p);
}

static bool claim(_Atomic uint32_t *word, uint32_t before) {
	/* acquire: pairs with the release of the last change, which may be another thread's realloc */
	return state_of(before) == LIVE &&
	       atomic_compare_exchange_strong_explicit(word, &before, next_word(before, BUSY, 0), memory_order_acq_rel,
	                                               memory_order_relaxed);
}

bool hypi_harden_free_small(void *p) {
	hypi_span *span = hypi_span_at(p);
	if (HYP_UNLIKELY(span == NULL) || hypi_load_relaxed(&span->kind) != HYPI_SPAN_SMALL) return false;
	/* As index_of, and hypi_span_starts. */
	unsigned __int128 quotient = (unsigned __int128)((uintptr_t)p - span->base) * span->inverse;
	if (HYP_UNLIKELY((uint64_t)quotient >= hypi_load_relaxed(&span->bound))) return false;
	_Atomic uint32_t *shadow = hypi_load_acquire(shadow_of(span));
	if (HYP_UNLIKELY(shadow == NULL)) return false;
	_Atomic uint32_t *word = &shadow[(size_t)(quotient >> 64)];
	uint32_t before = hypi_load_relaxed(word);
	if (HYP_UNLIKELY(!claim(word, before))) return false;
	atomic_thread_fence(memory_order_release);
	retire(hypi_self.heap, span, p, word, before);
	return true;
}

bool hypi_harden_free(hypi_heap *heap, hypi_span *span, void *p) {
	if (hypi_guarded(span)) {
		hypi_guard_check(span);
		hypi_harden_count(heap, span, true);
		if (span->place == HYPI_PICKED) hypi_sample_free_large(span);
		hypi_guard_free(span);
		return false;
	}
	if (hypi_load_relaxed(&span->kind) != HYPI_SPAN_SMALL) {
		if (span->asked_plus1 != 0) check_canary(span, p, span->asked_plus1 - 1);
		span->asked_plus1 = 0;
		return true;
	}
	_Atomic uint32_t *word = word_of(span, p);
	if (word == NULL) return true;
	uint32_t before = hypi_load_relaxed(word);
	if (!claim(word, before)) hypi_fatal(hypi_misuse_free.freed, p, span->block_bytes);
	atomic_thread_fence(memory_order_release);
	retire(heap, span, p, word, before);
	return false;
}

size_t hypi_harden_asked(hypi_span *span, const void *p, const hypi_misuse *misuse, size_t unknown) {
	if (hypi_guarded(span)) {
		hypi_guard_check(span);
		return span->asked_plus1 - 1;
	}
	size_t asked;
	if (hypi_load_relaxed(&span->kind) == HYPI_SPAN_SMALL) {
		_Atomic uint32_t *word = word_of(span, p);
		if (word == NULL) return unknown;
		uint32_t now = hypi_load_relaxed(word);
		if (state_of(now) != LIVE) hypi_fatal(misuse->freed, p, span->block_bytes);
		asked = asked_of(now);
	} else {
		if (span->asked_plus1 == 0) return unknown;
		asked = span->asked_plus1 - 1;
	}
	check_canary(span, p, asked);
	return asked;
}

/* Counted as freed and allocated. */
static bool resize_guarded(hypi_span *span, size_t bytes) {
	size_t before = span->block_bytes;
	if (span->place == HYPI_PICKED || !hypi_guard_resize(span, bytes)) return false;
	hypi_large_count *to = &hypi_default_engine.large_count;
	hypi_add_relaxed(&to->frees, 1);
	hypi_add_relaxed(&to->freed_bytes, before);
	hypi_harden_count(NULL, span, false);
	return true;
}

bool hypi_harden_resize(hypi_span *span, void *p, size_t bytes) {
	if (hypi_guarded(span)) return resize_guarded(span, bytes);
	if (hypi_load_relaxed(&span->kind) != HYPI_SPAN_SMALL || bytes + 1 > span->block_bytes) return false;
	/* As far as its class is the one that the new size would get; a block of an unknown one moves. */
	_Atomic uint32_t *word = word_of(span, p);
	if (word == NULL || hypi_class_of(bytes + 1) != span->class_index) return false;
	uint32_t before = hypi_load_relaxed(word), busy = next_word(before, BUSY, 0);
	publish(word, busy);
	hypi_canary_write(hypi_canary_of((uintptr_t)p), (char *)p + bytes, (char *)p + span->block_bytes);
	hypi_store_release(word, next_word(busy, LIVE, bytes)); /* pairs with check_in_front */
	return true;
}
