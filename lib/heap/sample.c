/* heap/sample.c: see heap/sample.h. */
#include "heap/sample.h"

#include "core/meta.h"
#include "heap/fast.h"
#include "heap/harden.h"

#include <errno.h>

_Atomic uint32_t hypi_sample_generation;
_Atomic(const hypi_sample_hooks *) hypi_sample_hooks_on;
static _Atomic uint64_t mean_bytes_now;
enum {
	NEAR = 32, /* allocations at a time, when the picked one is near */
	TRIM_BYTES = 32768,
	COARSE_BYTES = 16384, /* see class_of_pick */
	COARSE_MEAN = 65536
};
static hypi_lock sample_lock; /* the engine's sampled heap */

uint64_t hypi_sample_mean(void) { return hypi_load_relaxed(&mean_bytes_now); }

void hypi_sample_set(uint64_t mean_bytes, const hypi_sample_hooks *hooks) {
	hypi_process_init();
	/* release: pairs with the acquire in tell_alloc, tell_free and hypi_sample_look */
	if (hooks != NULL) hypi_store_release(&hypi_sample_hooks_on, hooks);
	hypi_store_relaxed(&mean_bytes_now, mean_bytes);
	/* release: pairs with the acquire in notice */
	atomic_fetch_add_explicit(&hypi_sample_generation, 1, memory_order_release);
}

/* ---- numbers ---- */

/* 2 atanh((m - 1) / (m + 1)) for the mantissa, in [1/sqrt 2, sqrt 2), and the exponent's share. Error below 1e-12. */
double hypi_minus_log(double u) {
	int exponent = 0;
	while (u < 0.70710678118654752) u *= 2, exponent++;
	double s = (u - 1) / (u + 1), square = s * s, term = s, sum = 0;
	for (int k = 1; k < 16; k += 2, term *= square) sum += term / k;
	return exponent * 0.69314718055994531 - 2 * sum;
}

/* exp(x) by halving to a short series: x is at most 0. */
static double exp_of(double x) {
	if (x < -700) return 0;
	int halvings = 0;
	for (; x < -0.125; x /= 2) halvings++;
	double term = 1, sum = 1;
	for (int k = 1; k < 14; k++) sum += term = term * x / k;
	for (; halvings > 0; halvings--) sum *= sum;
	return sum;
}

double hypi_sample_probability(size_t usable, uint64_t mean_bytes) {
	if (mean_bytes <= 1) return 1;
	double x = (double)usable / (double)mean_bytes;
	/* For small x the series of 1 - exp(-x), which subtracting from 1 would round away. */
	if (x < 0.01) return x * (1 - x / 2 * (1 - x / 3 * (1 - x / 4 * (1 - x / 5))));
	return 1 - exp_of(-x);
}

/* An exponential variate of mean 1. */
static double exponential(hypi_sampler *sampler) {
	sampler->random += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t bits = hypi_mix64(sampler->random) >> 11;
	return hypi_minus_log(((double)bits + 0.5) * (1.0 / 9007199254740992.0));
}

static uint32_t draw(hypi_sampler *sampler, unsigned c) {
	if (sampler->mean_bytes <= 1) return 1;
	double count = exponential(sampler) * (double)sampler->mean_bytes / (double)hypi_class_block_bytes(c);
	return count >= 1 << 30 ? UINT32_C(1) << 30 : 1 + (uint32_t)count;
}

/* ---- one class of one heap ---- */

void hypi_sample_settle(hypi_heap *heap, unsigned c) {
	hypi_sampled_class *k = &heap->sampler->classes[c];
	uint32_t allocs = hypi_load_relaxed(&heap->lists[c].allocs), passed = allocs - k->base;
	HYP_ASSERT(passed < k->until);
	k->until = passed < k->until ? k->until - passed : 1;
	k->base = allocs;
}

void hypi_sample_rebase(hypi_heap *heap, unsigned c) {
	heap->sampler->classes[c].base = hypi_load_relaxed(&heap->lists[c].allocs);
}

static hypi_block *last_of(hypi_block *block) {
	for (hypi_block *next; (next = hypi_link_follow(block)) != NULL;) block = next;
	return block;
}

/* Leaves the newest `keep` blocks on the list; what follows comes before the rest. */
static void cut(hypi_heap *heap, unsigned c, uint32_t length, uint32_t keep) {
	hypi_sampled_class *k = &heap->sampler->classes[c];
	hypi_list *list = &heap->lists[c];
	hypi_block *after = list->head;
	if (keep == 0) {
		list->head = NULL;
	} else {
		hypi_block *last = list->head;
		for (uint32_t i = 1; i < keep; i++) last = hypi_link_follow(last);
		after = hypi_link_follow(last);
		hypi_link_set(last, NULL);
	}
	if (k->rest != NULL) hypi_link_set(last_of(after), k->rest);
	k->rest = after;
	k->rest_count += length - keep;
	heap->bins[c].stock -= length - keep;
}

uint32_t hypi_sample_cap(hypi_heap *heap, unsigned c, uint32_t left) {
	hypi_sample_settle(heap, c);
	uint32_t length = hypi_list_length(heap, c), until = heap->sampler->classes[c].until;
	if (length + left <= until) return left;
	uint32_t room = length < until ? until - length : 0;
	if (room >= NEAR || (room > 0 && until <= NEAR)) return room;
	/* A short list at a time: what lies deep in it is cold, and may never be popped before the picked one. */
	if (left > until / 2) left = until > 1 ? until / 2 : 1;
	if (left > NEAR) left = NEAR;
	uint32_t keep = until - left < NEAR ? until - left : NEAR;
	if (length > keep) cut(heap, c, length, keep);
	return left;
}

bool hypi_sample_rest(hypi_heap *heap, unsigned c) {
	hypi_sampled_class *k = &heap->sampler->classes[c];
	hypi_list *list = &heap->lists[c];
	if (k->rest == NULL) return false;
	if (list->head == NULL) list->head = k->rest;
	else hypi_link_set(last_of(list->head), k->rest);
	heap->bins[c].stock += k->rest_count;
	k->rest = NULL;
	k->rest_count = 0;
	return true;
}

/* ---- a heap finds out that sampling was switched ---- */

/* What holds for the heap now. */
static uint64_t mean_of(const hypi_heap *heap) {
	const hypi_sample_hooks *hooks = hypi_load_acquire(&hypi_sample_hooks_on); /* pairs with hypi_sample_set */
	uint64_t usual = hypi_sample_mean();
	return hooks != NULL && hooks->mean_of != NULL ? hooks->mean_of(heap->engine, usual) : usual;
}

static void begin(hypi_heap *heap, uint64_t mean_bytes) {
	hypi_sampler *sampler = hypi_meta_alloc(sizeof *sampler);
	if (sampler == NULL) return;
	sampler->random = hypi_os.random ^ hypi_mix64(hypi_os_now_ns()) ^ (uintptr_t)heap;
	sampler->mean_bytes = mean_bytes;
	sampler->large_until = exponential(sampler) * (double)mean_bytes;
	heap->sampler = sampler;
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		sampler->classes[c].until = draw(sampler, c);
		hypi_sample_rebase(heap, c);
		hypi_list_arm(heap, c);
	}
}

static void end(hypi_heap *heap) {
	hypi_sampler *sampler = heap->sampler;
	for (unsigned c = 0; c < HYPI_CLASSES; c++) hypi_sample_rest(heap, c);
	heap->sampler = NULL;
	for (unsigned c = 0; c < HYPI_CLASSES; c++) hypi_list_arm(heap, c);
	hypi_meta_free(sampler, sizeof *sampler);
}

void hypi_sample_quit(hypi_heap *heap) {
	end(heap);
	heap->sample_generation = 0; /* whoever adopts the heap begins anew */
}

static void notice(hypi_heap *heap) {
	/* acquire: pairs with the release in hypi_sample_set */
	uint32_t generation = hypi_load_acquire(&hypi_sample_generation);
	if (HYP_LIKELY(heap->sample_generation == generation)) return;
	bool was_busy = heap->busy;
	heap->busy = true;
	heap->sample_generation = generation;
	if (heap->sampler != NULL) end(heap);
	uint64_t mean_bytes = mean_of(heap);
	if (mean_bytes != 0) begin(heap, mean_bytes);
	heap->busy = was_busy;
}

void hypi_sample_event(hypi_heap *heap, unsigned c) {
	/* Only the thread's own heaps take part; not those of picked blocks. */
	if (heap->sample_generation != hypi_load_relaxed(&hypi_sample_generation) && heap == hypi_heap_of(heap->engine))
		notice(heap);
	if (heap->sampler != NULL) hypi_sample_settle(heap, c);
}

/* ---- allocate and free ---- */

static void tell_alloc(void *p, size_t asked, size_t usable, uint64_t mean) {
	const hypi_sample_hooks *hooks = hypi_load_acquire(&hypi_sample_hooks_on); /* pairs with hypi_sample_set */
	if (hooks == NULL) return;
	int saved = errno;
	hypi_self.hooked = true;
	hooks->on_alloc(p, asked, usable, 1 / hypi_sample_probability(usable, mean));
	hypi_self.hooked = false;
	errno = saved;
}

static void tell_free(void *p, size_t usable) {
	const hypi_sample_hooks *hooks = hypi_load_acquire(&hypi_sample_hooks_on); /* pairs with hypi_sample_set */
	if (hooks == NULL) return;
	int saved = errno;
	bool hooked = hypi_self.hooked;
	hypi_self.hooked = true;
	hooks->on_free(p, usable);
	hypi_self.hooked = hooked;
	errno = saved;
}

static void *take(hypi_engine *engine, unsigned c, bool *ret_zeroed) {
	hypi_lock_take(&sample_lock);
	hypi_heap *heap = hypi_load_relaxed(&engine->sampled);
	if (heap == NULL) hypi_store_relaxed(&engine->sampled, heap = hypi_heap_create(engine));
	void *p = heap != NULL ? hypi_heap_alloc(heap, c, ret_zeroed) : NULL;
	hypi_unlock(&sample_lock);
	return p;
}

/* Where picks are rare, they share the spans of a few classes: the powers of two. A class of its own for each size would
 * cost a page for each. Not for hardened blocks, whose class is checked against what was asked. */
static unsigned class_of_pick(const hypi_heap *heap, unsigned c) {
	size_t bytes = hypi_class_bytes(c);
	if (heap->sampler->mean_bytes < COARSE_MEAN || bytes > COARSE_BYTES || hypi_hardens(heap->engine)) return c;
	return hypi_class_of(bytes <= 32 ? 32 : (size_t)1 << (hypi_log2_floor(bytes - 1) + 1));
}

void *hypi_sample_small(hypi_heap *heap, unsigned c, size_t asked, bool *ret_zeroed) {
	notice(heap);
	if (heap->sampler == NULL) return NULL;
	bool was_busy = heap->busy;
	heap->busy = true;
	hypi_sample_settle(heap, c);
	bool picked = heap->sampler->classes[c].until == 1;
	if (picked) {
		/* When this one will not be taken, it still is one allocation of the new count. */
		heap->sampler->classes[c].until = draw(heap->sampler, c) + 1;
		picked = !hypi_self.hooked;
		if (picked) heap->sampler->classes[c].until--;
		hypi_list_arm(heap, c);
	}
	heap->busy = was_busy;
	if (!picked) return NULL;
	void *p = take(heap->engine, class_of_pick(heap, c), ret_zeroed);
	if (p != NULL) tell_alloc(p, asked, hypi_class_block_bytes(c), heap->sampler->mean_bytes);
	return p;
}

void hypi_sample_large(hypi_heap *heap, hypi_span *span, size_t asked) {
	notice(heap);
	if (heap->sampler == NULL || hypi_self.hooked) return;
	heap->sampler->large_until -= (double)span->block_bytes;
	if (heap->sampler->large_until > 0) return;
	heap->sampler->large_until = exponential(heap->sampler) * (double)heap->sampler->mean_bytes;
	span->place = HYPI_PICKED;
	tell_alloc((void *)span->base, asked, span->block_bytes, heap->sampler->mean_bytes);
}

void hypi_sample_free_small(hypi_span *span, void *p) {
	/* First the hooks: once the block is back, another thread may get it and tell of it. */
	tell_free(p, span->block_bytes);
	hypi_heap *heap = hypi_load_relaxed(&span->owner);
	/* What this heap keeps is memory that the others do without: where picks are rare, larger blocks go back at once. */
	bool trims = span->block_bytes >= TRIM_BYTES && hypi_sample_mean() != 1;
	hypi_lock_take(&sample_lock);
	hypi_heap_put(heap, hypi_class_tag(span->class_index), p);
	if (trims) hypi_heap_trim(heap);
	hypi_unlock(&sample_lock);
}

void hypi_sample_free_large(hypi_span *span) {
	span->place = HYPI_UNLISTED;
	tell_free((void *)span->base, span->block_bytes);
}

void hypi_sample_look(uint64_t now_ms) {
	const hypi_sample_hooks *hooks = hypi_load_acquire(&hypi_sample_hooks_on); /* pairs with hypi_sample_set */
	if (HYP_LIKELY(hooks == NULL) || hooks->on_look == NULL || hypi_self.hooked) return;
	hypi_self.hooked = true;
	hooks->on_look(now_ms);
	hypi_self.hooked = false;
}

void hypi_sample_fork_prepare(void) { hypi_lock_take(&sample_lock); }
void hypi_sample_fork_parent(void) { hypi_unlock(&sample_lock); }
void hypi_sample_fork_child(void) { hypi_lock_reset(&sample_lock); }
