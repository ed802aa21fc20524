/* heap/sample.c: see heap/sample.h. */
#include "heap/sample.h"

#include "core/meta.h"
#include "heap/fast.h"

#include <errno.h>

_Atomic uint32_t hypi_sample_generation;
_Atomic(const hypi_sample_hooks *) hypi_sample_hooks_on;
static _Atomic uint64_t mean_bytes_now;
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
	uint64_t mean = hypi_sample_mean();
	if (mean <= 1) return 1;
	double count = exponential(sampler) * (double)mean / (double)hypi_class_bytes(c);
	return count >= 1 << 30 ? UINT32_C(1) << 30 : 1 + (uint32_t)count;
}

/* ---- one class of one heap ---- */

void hypi_sample_settle(hypi_heap *heap, unsigned c) {
	hypi_sampled_class *k = &heap->sampler->classes[c];
	uint32_t allocs = hypi_load_relaxed(&heap->current[c]->allocs), passed = allocs - k->base;
	HYP_ASSERT(passed < k->until);
	k->until = passed < k->until ? k->until - passed : 1;
	uint32_t left = hypi_load_relaxed(&heap->current[c]->left), listed = k->listed + (k->armed - left);
	k->listed = passed < listed ? listed - passed : 0;
	k->base = allocs;
	k->armed = left;
}

/* The last block of a list, which has at least one. */
static hypi_block *last_of(const hypi_span *span, hypi_block *block) {
	for (;;) {
		hypi_block *next = hypi_link_read(block);
		if (!hypi_span_holds(span, next)) return block;
		block = next;
	}
}

/* Leaves `keep` blocks on the span's list; what follows comes before the rest. */
static void cut(hypi_span *span, hypi_sampled_class *k, uint32_t keep) {
	hypi_block *none = hypi_no_block(span->base), *after;
	k->listed = keep;
	if (!hypi_span_holds(span, span->free)) return;
	if (keep == 0) {
		after = span->free;
		span->free = none;
	} else {
		hypi_block *last = span->free;
		for (; keep > 1; keep--) {
			hypi_block *next = hypi_link_read(last);
			if (!hypi_span_holds(span, next)) return;
			last = next;
		}
		after = hypi_link_read(last);
		if (!hypi_span_holds(span, after)) return;
		last->link = hypi_link_make(none);
	}
	if (k->rest != NULL) last_of(span, after)->link = hypi_link_make(k->rest);
	k->rest = after;
}

void hypi_sample_arm(hypi_heap *heap, unsigned c) {
	hypi_span *span = heap->current[c];
	hypi_sampled_class *k = &heap->sampler->classes[c];
	k->base = hypi_load_relaxed(&span->allocs);
	if (span == hypi_heap_none.current[0]) return;
	uint32_t bound = hypi_span_capacity(span) - hypi_span_live(span);
	/* What was freed since is on the list; after the first cut only the count kept here bounds it. */
	if (k->rest == NULL || k->listed > bound) k->listed = bound;
	uint32_t left;
	if (k->listed < k->until) {
		left = k->until - k->listed;
		if (left > HYPI_TICK) left = HYPI_TICK;
	} else {
		left = k->until / 2 > HYPI_TICK ? HYPI_TICK : k->until > 1 ? k->until / 2 : 1;
		cut(span, k, k->until - left);
	}
	hypi_span_set_left(span, left);
	k->armed = left;
}

void hypi_sample_changed(hypi_heap *heap, unsigned c) {
	hypi_sampled_class *k = &heap->sampler->classes[c];
	k->base = hypi_load_relaxed(&heap->current[c]->allocs);
	k->armed = hypi_load_relaxed(&heap->current[c]->left);
	k->listed = 0;
	k->rest = NULL;
}

void hypi_sample_passed(hypi_heap *heap, unsigned c) {
	hypi_sample_settle(heap, c);
	hypi_sample_arm(heap, c);
}

bool hypi_sample_rest(hypi_heap *heap, hypi_span *span) {
	hypi_sampled_class *k = &heap->sampler->classes[span->class_index];
	if (span != heap->current[span->class_index] || k->rest == NULL) return false;
	span->free = k->rest;
	k->rest = NULL;
	return true;
}

/* ---- a heap finds out that sampling was switched ---- */

static void begin(hypi_heap *heap) {
	hypi_sampler *sampler = hypi_meta_alloc(sizeof *sampler);
	if (sampler == NULL) return;
	sampler->random = hypi_os.random ^ hypi_mix64(hypi_os_now_ns()) ^ (uintptr_t)heap;
	sampler->large_until = exponential(sampler) * (double)hypi_sample_mean();
	heap->sampler = sampler;
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		sampler->classes[c].until = draw(sampler, c);
		hypi_sample_arm(heap, c);
	}
}

static void end(hypi_heap *heap) {
	hypi_sampler *sampler = heap->sampler;
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		hypi_span *span = heap->current[c];
		if (span == hypi_heap_none.current[0]) continue;
		hypi_block *rest = sampler->classes[c].rest;
		if (rest != NULL) {
			if (hypi_span_holds(span, span->free)) last_of(span, span->free)->link = hypi_link_make(rest);
			else span->free = rest;
		}
		hypi_span_set_left(span, HYPI_TICK);
	}
	heap->sampler = NULL;
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
	if (hypi_sample_mean() != 0) begin(heap);
	heap->busy = was_busy;
}

void hypi_sample_event(hypi_heap *heap, unsigned c) {
	/* Only the thread's own heap in the default engine takes part; not the one of picked blocks, nor pools'. */
	if (heap == hypi_self.heap) notice(heap);
	if (heap->sampler != NULL) hypi_sample_settle(heap, c);
}

/* ---- allocate and free ---- */

static void tell_alloc(void *p, size_t asked, size_t usable) {
	const hypi_sample_hooks *hooks = hypi_load_acquire(&hypi_sample_hooks_on); /* pairs with hypi_sample_set */
	uint64_t mean = hypi_sample_mean();
	if (hooks == NULL || mean == 0) return;
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
		hypi_sample_arm(heap, c);
	}
	heap->busy = was_busy;
	if (!picked) return NULL;
	void *p = take(heap->engine, c, ret_zeroed);
	if (p != NULL) tell_alloc(p, asked, hypi_class_bytes(c));
	return p;
}

void hypi_sample_large(hypi_heap *heap, hypi_span *span, size_t asked) {
	notice(heap);
	if (heap->sampler == NULL || hypi_self.hooked) return;
	heap->sampler->large_until -= (double)span->block_bytes;
	if (heap->sampler->large_until > 0) return;
	heap->sampler->large_until = exponential(heap->sampler) * (double)hypi_sample_mean();
	span->place = HYPI_PICKED;
	tell_alloc((void *)span->base, asked, span->block_bytes);
}

void hypi_sample_free_small(hypi_span *span, void *p) {
	/* First the hooks: once the block is back, another thread may get it and tell of it. */
	tell_free(p, span->block_bytes);
	hypi_lock_take(&sample_lock);
	hypi_span_put(span, p);
	hypi_unlock(&sample_lock);
}

void hypi_sample_free_large(hypi_span *span) {
	span->place = HYPI_FULL;
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
