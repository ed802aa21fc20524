/* heap/harden.c: small blocks' shadows, canaries and quarantines; see heap/harden.h. */
#include "heap/harden.h"

#include "base/fatal.h"
#include "base/option.h"
#include "core/meta.h"
#include "heap/sample.h"

#include <errno.h>
#include <string.h>

enum {
	GUARD_EVERY = 1000,   /* level 3: small blocks to one with guard pages */
	RANDOM_ENTRIES = 256, /* of a quarantine: any of them leaves next */
	FIFO_ENTRIES = 1024,  /* after which it waits here for its turn */
	LEAVE_EVERY = 16,     /* allocations after which one block leaves, though there is room */
	SHUFFLE = 8,          /* blocks of a list among which one is chosen */
	CANARY_ENDS = 32,     /* of a long canary, so many bytes at each end are written and compared */
	NEIGHBOUR_BYTES = 16, /* looked at in front of a block that is freed */
	HOLD_STRONG = 1 << 20,
	HOLD_STRONGEST = 8 << 20,
	GUARD_FROM_STRONGEST = 1 << 16
};

/* The largest page of the processor. Valgrind cannot read a library whose segments ask for more than 4 KiB. */
#define CONFIG_ALIGNMENT (HYP_CPU_X86_64 ? 4096 : HYPI_SLICE_BYTES)

hypi_harden_page hypi_harden __attribute__((aligned(CONFIG_ALIGNMENT)));

typedef struct hypi_quarantine {
	uint64_t random;
	size_t bytes;
	uint32_t fifo_first, fifo_count;
	uint32_t until_guard; /* level 3: small blocks up to the next guarded one */
	uint32_t allocs;
	void *random_blocks[RANDOM_ENTRIES];
	void *fifo[FIFO_ENTRIES];
} hypi_quarantine;

void hypi_harden_init(void) {
	uint32_t level = (uint32_t)hypi_option_get(HYPI_OPTION_harden);
	hypi_harden_config *config = &hypi_harden.config;
	if (!HYP_CHECKS || config->level != 0 || level < 2 || hypi_default_engine.heap_count > 1) return;
	config->key = hypi_mix64(hypi_os.random + UINT64_C(0x9e3779b97f4a7c15));
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

/* Whether [at, at + bytes) is zero; both multiples of 16 but for the start's being one of 8. */
static bool is_zero(const void *at, size_t bytes) {
	const uint64_t *word = at;
	uint64_t any = 0;
	for (size_t i = 0; i < bytes / 8; i++) any |= word[i];
	return any == 0;
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

/* The word of a block, making the shadow where there is none yet. The caller was just handed a block of the span, so
 * only threads that were, too, race for it. NULL: no memory. */
static _Atomic uint32_t *make_word(hypi_span *span, const void *p) {
	_Atomic(_Atomic uint32_t *) *at = (void *)&span->shadow;
	_Atomic uint32_t *shadow = hypi_load_acquire(at); /* pairs with the release below */
	if (shadow == NULL) {
		_Atomic uint32_t *made = hypi_meta_alloc(hypi_span_shadow_bytes(span));
		if (made == NULL) return NULL;
		if (atomic_compare_exchange_strong_explicit(at, &shadow, made, memory_order_acq_rel, memory_order_acquire))
			shadow = made;
		else hypi_meta_free(made, hypi_span_shadow_bytes(span));
	}
	return &shadow[index_of(span, p)];
}

/* The word of a block, or NULL when nothing is known of it. */
static _Atomic uint32_t *word_of(hypi_span *span, const void *p) {
	_Atomic uint32_t *shadow = hypi_load_acquire((_Atomic(_Atomic uint32_t *) *)(void *)&span->shadow);
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
static void check_in_front(hypi_span *span, _Atomic uint32_t *word, char *p) {
	if ((uintptr_t)p == span->base) return;
	uint32_t before = hypi_load_acquire(--word); /* pairs with the releases of the neighbour's holder */
	const char *block = p - span->block_bytes, *from = p - NEIGHBOUR_BYTES;
	bool bad = false;
	if (state_of(before) == LIVE) {
		if (block + asked_of(before) > from) from = block + asked_of(before);
		bad = hypi_canary_differs(hypi_canary_of((uintptr_t)block), from, p) != NULL;
	} else if ((state_of(before) == HELD || state_of(before) == FREE) && span->block_bytes >= 2 * NEIGHBOUR_BYTES) {
		bad = !is_zero(from, NEIGHBOUR_BYTES);
	}
	atomic_thread_fence(memory_order_acquire);
	if (bad && hypi_load_relaxed(word) == before) hypi_fatal("buffer underflow", p, span->block_bytes);
}

static void check_canary(const hypi_span *span, const char *p, size_t asked) {
	if (hypi_canary_differs(hypi_canary_of((uintptr_t)p), p + asked, p + span->block_bytes) != NULL)
		hypi_fatal("buffer overflow", p, span->block_bytes);
}

/* ---- quarantine ---- */

static hypi_quarantine *quarantine_of(hypi_heap *heap) {
	if (heap == NULL || heap->quarantine != NULL) return heap == NULL ? NULL : heap->quarantine;
	int saved = errno;
	hypi_quarantine *q = hypi_meta_alloc(sizeof *q);
	errno = saved;
	if (q == NULL) return NULL;
	q->random = hypi_os.random ^ hypi_mix64(hypi_os_now_ns()) ^ (uintptr_t)heap;
	q->until_guard = GUARD_EVERY / 2;
	return heap->quarantine = q;
}

static uint32_t draw(hypi_quarantine *q) {
	q->random += UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t)(hypi_mix64(q->random) >> 32);
}

/* A block leaves quarantine: nobody wrote to it meanwhile, and it goes where freed blocks go. */
static void let_go(hypi_heap *heap, hypi_quarantine *q, void *p) {
	hypi_span *span = hypi_span_at(p);
	_Atomic uint32_t *word = word_of(span, p);
	if (q != NULL) q->bytes -= span->block_bytes;
	/* Its first bytes are about to become its link; the others are compared when it is handed out, if it ever is. */
	if (!is_zero(p, hypi_harden.config.level == 3 ? span->block_bytes : sizeof(hypi_block)))
		hypi_fatal("write after free", p, span->block_bytes);
	hypi_store_release(word, next_word(hypi_load_relaxed(word), FREE, 0)); /* pairs with check_in_front */
	hypi_free_checked(&hypi_default_engine, heap, span, p);
}

static void *fifo_take(hypi_quarantine *q) {
	void *p = q->fifo[q->fifo_first];
	q->fifo_first = (q->fifo_first + 1) % FIFO_ENTRIES;
	q->fifo_count--;
	return p;
}

static void hold(hypi_heap *heap, hypi_quarantine *q, hypi_span *span, void *p) {
	bool was_busy = heap->busy;
	heap->busy = true;
	q->bytes += span->block_bytes;
	void **slot = &q->random_blocks[draw(q) % RANDOM_ENTRIES], *older = *slot;
	*slot = p;
	if (older != NULL) {
		if (q->fifo_count == FIFO_ENTRIES) let_go(heap, q, fifo_take(q));
		q->fifo[(q->fifo_first + q->fifo_count++) % FIFO_ENTRIES] = older;
	}
	while (q->bytes > hypi_harden.config.hold_bytes && q->fifo_count > 0) let_go(heap, q, fifo_take(q));
	for (uint32_t i = draw(q); q->bytes > hypi_harden.config.hold_bytes; i++) {
		void **at = &q->random_blocks[i % RANDOM_ENTRIES], *victim = *at;
		*at = NULL;
		if (victim != NULL) let_go(heap, q, victim);
	}
	heap->busy = was_busy;
}

/* Time passes, also where nothing is freed: what was written to must come to light. */
static void age(hypi_heap *heap, hypi_quarantine *q) {
	if (++q->allocs % LEAVE_EVERY != 0) return;
	void **slot = &q->random_blocks[draw(q) % RANDOM_ENTRIES], *p = *slot;
	if (q->fifo_count > 0) p = fifo_take(q);
	else *slot = NULL;
	if (p != NULL) let_go(heap, q, p);
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

/* Brings a random one of a list's first blocks to its head. */
static void shuffle(hypi_heap *heap, hypi_quarantine *q, unsigned c) {
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

static void *finish_small(hypi_span *span, char *p, size_t asked, bool zero) {
	_Atomic uint32_t *word = make_word(span, p);
	if (word == NULL) { /* no memory for the shadow: the block is given back, and is as if it had not been */
		hypi_free_checked(&hypi_default_engine, hypi_self.heap, span, p);
		errno = ENOMEM;
		return NULL;
	}
	uint32_t before = hypi_load_relaxed(word);
	hypi_block *block = (void *)p;
	block->link = block->twin = 0;
	if (state_of(before) == FREE) {
		if (!is_zero(p, span->block_bytes)) hypi_fatal("write after free", p, span->block_bytes);
	} else if (state_of(before) != NEVER) {
		hypi_fatal("free list corrupted", p, span->block_bytes);
	} else if (zero) {
		memset(p, 0, asked);
	}
	publish(word, next_word(before, BUSY, asked));
	hypi_canary_write(hypi_canary_of((uintptr_t)p), p + asked, p + span->block_bytes);
	hypi_store_release(word, next_word(before, LIVE, asked)); /* pairs with check_in_front */
	return p;
}

static void *finish_large(hypi_span *span, char *p, size_t asked) {
	span->asked_plus1 = asked + 1;
	hypi_canary_write(hypi_canary_of((uintptr_t)p), p + asked, p + span->block_bytes);
	return p;
}

static void count(hypi_heap *heap, const hypi_span *span, bool freed) {
	hypi_large_count *to = heap != NULL ? &heap->large_count : &hypi_default_engine.large_count;
	hypi_add_relaxed(freed ? &to->frees : &to->allocs, 1);
	hypi_add_relaxed(freed ? &to->freed_bytes : &to->allocated_bytes, span->block_bytes);
}

static void *alloc_guarded(hypi_heap *heap, size_t bytes, size_t alignment) {
	void *p = hypi_guard_alloc(bytes, alignment);
	if (p == NULL) return NULL;
	hypi_span *span = hypi_span_at(p);
	count(heap, span, false);
	if (heap != NULL && hypi_sample_concerns(heap)) hypi_sample_large(heap, span, bytes);
	return p;
}

void *hypi_harden_alloc(hypi_heap *heap, size_t bytes, size_t alignment, bool zero) {
	hypi_quarantine *q = quarantine_of(heap);
	bool guarded = bytes >= hypi_harden.config.guard_from_bytes;
	if (!guarded && hypi_harden.config.level == 3 && q != NULL && --q->until_guard == 0) {
		q->until_guard = 1 + draw(q) % (2 * GUARD_EVERY);
		guarded = true;
	}
	if (guarded) {
		void *p = alloc_guarded(heap, bytes, alignment);
		if (p != NULL) return p;
	}
	if (q != NULL && alignment <= 16 && bytes < HYPI_SMALL_LIMIT - 1) {
		bool was_busy = heap->busy;
		heap->busy = true;
		age(heap, q);
		shuffle(heap, q, hypi_class_of(bytes + 1));
		heap->busy = was_busy;
	}
	/* At least one byte of canary. An absurd size is refused below. */
	char *p =
		hypi_engine_alloc_plain(&hypi_default_engine, heap, bytes < SIZE_MAX ? bytes + 1 : bytes, alignment, zero);
	if (p == NULL) return NULL;
	hypi_span *span = hypi_span_at(p);
	bool small = hypi_load_relaxed(&span->kind) == HYPI_SPAN_SMALL;
	return small ? finish_small(span, p, bytes, zero) : finish_large(span, p, bytes);
}

/* ---- free and ask ---- */

bool hypi_harden_free(hypi_heap *heap, hypi_span *span, void *p) {
	if (hypi_guarded(span)) {
		hypi_guard_check(span);
		count(heap, span, true);
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
	uint32_t before = hypi_load_relaxed(word), busy = next_word(before, BUSY, 0);
	if (state_of(before) != LIVE || !atomic_compare_exchange_strong(word, &before, busy))
		hypi_fatal(hypi_misuse_free.freed, p, span->block_bytes);
	atomic_thread_fence(memory_order_release);
	check_canary(span, p, asked_of(before));
	check_in_front(span, word, p);
	memset(p, 0, span->block_bytes);
	hypi_store_release(word, next_word(busy, HELD, 0)); /* pairs with check_in_front */
	bool picked = hypi_load_relaxed(&span->owner) == hypi_load_relaxed(&hypi_default_engine.sampled);
	hypi_quarantine *q = picked ? NULL : quarantine_of(heap);
	if (q != NULL) hold(heap, q, span, p);
	else let_go(heap, NULL, p);
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
	count(NULL, span, false);
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
