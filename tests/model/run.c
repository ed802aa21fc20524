/*
 * tests/model/run.c: runs a stream against the naive model; see ops.h.
 *
 * The model's own memory is static, so that it leans on nothing that it tests. One run at a time in a process.
 */
#include "ops.h"

#include "core/size_class.h"
#include "heap/heap.h"

#include <hypool/hypool.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

typedef struct block {
	char *p;
	size_t size, usable;
	uint64_t seed;
	uint8_t align_log2;
} block;

static struct {
	const op *ops;
	const ops_rules *rules;
	block slots[OPS_SLOTS];
	uint64_t seed;
	const char *wrong;
	char text[256];
} model;

static bool fail(const char *what, size_t at) {
	if (model.wrong == NULL) {
		snprintf(model.text, sizeof model.text, "operation %zu: %s", at, what);
		model.wrong = model.text;
	}
	return false;
}

/* ---- contents ---- */

enum { DENSE = 4096, STRIDE = 16381 };

/* Where the pattern is looked at: everywhere near both ends, and in steps between. */
static size_t step(size_t at, size_t size) {
	if (at + 1 < DENSE || at + DENSE >= size) return at + 1;
	return at + STRIDE + DENSE < size ? at + STRIDE : size - DENSE;
}

static char pattern(uint64_t seed, size_t at) { return (char)(seed + at * 131 + (at >> 9)); }

static void fill(block *b) {
	b->seed = hypi_mix64(++model.seed);
	for (size_t at = 0; at < b->usable; at = step(at, b->usable)) b->p[at] = pattern(b->seed, at);
}

/* `kept`: bytes from the start that must be as fill left them when the block had `usable` bytes. */
static bool intact(const char *p, uint64_t seed, size_t usable, size_t kept) {
	for (size_t at = 0; at < kept; at = step(at, usable))
		if (p[at] != pattern(seed, at)) return false;
	return true;
}

static bool is_zero(const char *p, size_t size) {
	size_t whole = size <= 1 << 20 ? size : 1 << 20;
	for (size_t at = 0; at < whole; at++)
		if (p[at] != 0) return false;
	for (size_t at = whole; at < size; at += 1021)
		if (p[at] != 0) return false;
	return size == 0 || p[size - 1] == 0;
}

/* ---- what must hold of a block that was just handed out ---- */

static bool fits(const block *b, size_t at) {
	uintptr_t first = (uintptr_t)b->p, end = first + b->usable;
	size_t alignment = (size_t)1 << b->align_log2;
	if (b->usable < b->size) return fail("the usable size is less than was asked for", at);
	if (b->size < HYPI_SMALL_LIMIT && b->align_log2 <= 4 && b->usable > hypi_class_block_bytes(hypi_class_of(b->size)))
		return fail("the block is larger than its class", at);
	if (first % (alignment < 16 ? 16 : alignment) != 0) return fail("the block is not aligned", at);
	for (const block *other = model.slots; other < model.slots + OPS_SLOTS; other++)
		if (other != b && other->p != NULL && first < (uintptr_t)other->p + other->usable && (uintptr_t)other->p < end)
			return fail("two blocks overlap", at);
	return true;
}

/* A request may be refused when it is larger than any block can be, or when the OS is made to fail. */
static bool refused(const op *o, size_t at) {
	if (errno != ENOMEM) return fail("a request failed without ENOMEM", at);
	if (!model.rules->may_fail && o->size < UINT64_C(1) << 40) return fail("a possible request failed", at);
	return true;
}

static bool taken(const op *o, block *b, char *p, uint8_t align_log2, size_t at) {
	if (p == NULL) return refused(o, at);
	if (o->size > PTRDIFF_MAX) return fail("an impossible request succeeded", at);
	*b = (block){.p = p, .size = o->size, .usable = hyp_usable_size(p), .align_log2 = align_log2};
	if (!fits(b, at)) return false;
	if (o->kind == OP_CALLOC && !is_zero(p, o->size)) return fail("calloc's memory is not zero", at);
	fill(b);
	return true;
}

/* ---- the operations ---- */

static bool give(const op *o, block *b, size_t at) {
	if (b->p != NULL && !intact(b->p, b->seed, b->usable, b->usable)) return fail("a block was written to", at);
	block old = *b;
	b->p = NULL;
	errno = 4242;
	if (o->kind != OP_FREE_SIZED || old.p == NULL) hyp_free(old.p);
	else if (old.align_log2 > 4) hyp_free_aligned_sized(old.p, (size_t)1 << old.align_log2, old.size);
	else hyp_free_sized(old.p, old.size);
	return errno == 4242 ? true : fail("free changed errno", at);
}

static bool change(const op *o, block *b, size_t at) {
	block old = *b;
	if (old.p == NULL) return taken(o, b, hyp_realloc(NULL, o->size), 0, at);
	if (!intact(old.p, old.seed, old.usable, old.usable)) return fail("a block was written to", at);
	b->p = NULL;
	errno = 0;
	char *p = hyp_realloc(old.p, o->size);
	if (o->size == 0) return p == NULL ? true : fail("realloc to 0 gave a block", at);
	if (p == NULL) {
		*b = old;
		if (!intact(old.p, old.seed, old.usable, old.usable)) return fail("a failed realloc changed the block", at);
		return refused(o, at);
	}
	if (o->size > PTRDIFF_MAX) return fail("an impossible request succeeded", at);
	size_t kept = old.size < o->size ? old.size : o->size;
	if (!intact(p, old.seed, old.usable, kept)) return fail("realloc lost contents", at);
	*b = (block){.p = p, .size = o->size, .usable = hyp_usable_size(p)};
	if (b->usable < b->size) return fail("the usable size is less than was asked for", at);
	for (const block *other = model.slots; other < model.slots + OPS_SLOTS; other++)
		if (other != b && other->p != NULL && p < other->p + other->usable && other->p < p + b->usable)
			return fail("two blocks overlap", at);
	fill(b);
	return true;
}

static bool align(const op *o, block *b, size_t at) {
	size_t alignment = (size_t)1 << o->align_log2;
	if (at % 2 == 0 && alignment >= sizeof(void *)) {
		void *p = &model;
		errno = 4242;
		int error = hyp_posix_memalign(&p, alignment, o->size);
		if (errno != 4242) return fail("posix_memalign changed errno", at);
		if (error != 0 && p != &model) return fail("posix_memalign failed and changed its output", at);
		errno = error;
		return taken(o, b, error == 0 ? p : NULL, o->align_log2, at);
	}
	return taken(o, b, hyp_aligned_alloc(alignment, o->size), o->align_log2, at);
}

static bool run_one(size_t at) {
	const op *o = &model.ops[at];
	block *b = &model.slots[o->slot];
	bool allocates = o->kind == OP_MALLOC || o->kind == OP_CALLOC || o->kind == OP_ALIGNED;
	if (allocates && b->p != NULL && !give(o, b, at)) return false;
	errno = 0;
	switch (o->kind) {
	case OP_MALLOC: return taken(o, b, hyp_malloc(o->size), 0, at);
	case OP_CALLOC: {
		size_t count = o->size % 3 == 0 && o->size != 0 ? 3 : 1;
		return taken(o, b, hyp_calloc(count, o->size / count), 0, at);
	}
	case OP_ALIGNED: return align(o, b, at);
	case OP_REALLOC:
		if (model.rules->plant && o->size > 5000 && b->p != NULL) b->p[b->size / 2] ^= 1;
		return change(o, b, at);
	case OP_FREE:
	case OP_FREE_SIZED: return give(o, b, at);
	case OP_USABLE:
		if (hyp_usable_size(b->p) != (b->p == NULL ? 0 : b->usable)) return fail("the usable size changed", at);
		return true;
	case OP_TRIM: hyp_trim(); return true;
	default: return true; /* OP_EXIT: by the caller */
	}
}

static bool run_range(size_t first, size_t end) {
	size_t every = model.rules->check_every;
	for (size_t at = first; at < end; at++) {
		if (!run_one(at)) return false;
		if (every == 0 || at % every != 0) continue;
		const char *wrong = hypi_engine_check(&hypi_default_engine);
		if (wrong != NULL) return fail(wrong, at);
	}
	return true;
}

/* ---- threads in lock step ---- */

static struct worker {
	pthread_t thread;
	sem_t go;
	size_t first, end;
	bool running, leave;
} workers[OPS_THREADS];
static sem_t done;

static void wait_for(sem_t *semaphore) {
	while (sem_wait(semaphore) != 0) continue;
}

static void *work(void *context) {
	struct worker *w = context;
	for (;;) {
		wait_for(&w->go);
		run_range(w->first, w->end);
		if (w->leave) return NULL; /* whoever waits, waits for the thread's end */
		sem_post(&done);
	}
}

static bool hand_over(unsigned index, size_t first, size_t end, bool leave) {
	struct worker *w = &workers[index];
	if (!w->running) {
		if (leave && first == end) return true;
		if (sem_init(&w->go, 0, 0) != 0 || pthread_create(&w->thread, NULL, work, w) != 0)
			return fail("the test could not start a thread", first);
		w->running = true;
	}
	w->first = first;
	w->end = end;
	w->leave = leave;
	sem_post(&w->go);
	if (leave) {
		pthread_join(w->thread, NULL);
		sem_destroy(&w->go);
		w->running = false;
	} else {
		wait_for(&done);
	}
	return model.wrong == NULL;
}

/* Runs of operations by one thread are handed over together. */
static bool run_all(size_t count) {
	for (size_t first = 0, end; first < count; first = end) {
		unsigned thread = model.ops[first].thread;
		bool leave = false;
		for (end = first; end < count && !leave && model.ops[end].thread == thread; end++)
			leave = model.ops[end].kind == OP_EXIT;
		if (thread == 0 ? !run_range(first, end) : !hand_over(thread, first, end, leave)) return false;
	}
	return true;
}

static bool finish(size_t count) {
	for (unsigned i = 1; i < OPS_THREADS; i++)
		if (!hand_over(i, count, count, true)) return false;
	const char *why = model.rules->before_end != NULL ? model.rules->before_end() : NULL;
	if (why != NULL) return fail(why, count);
	static const op release = {.kind = OP_FREE};
	for (size_t i = 0; i < OPS_SLOTS; i++)
		if (!give(&release, &model.slots[i], count)) return false;
	hyp_trim();
	const hypi_large_pool *pool = &hypi_default_engine.large;
	const char *wrong = hypi_engine_check(&hypi_default_engine);
	if (wrong != NULL) return fail(wrong, count);
	if (hypi_large_live_bytes(&hypi_default_engine) != 0) return fail("large blocks are left over", count);
	if (pool->huge_bytes != 0) return fail("huge blocks are left over", count);
	if (pool->used_slices != 0) return fail("slices are in use after all was freed and trimmed", count);
	return true;
}

const char *ops_run(const op *ops, size_t count, const ops_rules *rules) {
	memset(&model, 0, sizeof model);
	model.ops = ops;
	model.rules = rules;
	sem_init(&done, 0, 0);
	if (run_all(count)) finish(count);
	for (unsigned i = 1; i < OPS_THREADS; i++)
		if (workers[i].running) hand_over(i, count, count, true);
	sem_destroy(&done);
	return model.wrong;
}
