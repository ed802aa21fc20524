/*
 * cleanup/defrag.c: blocks by pointer that their program moves itself: which are worth it, and where they go.
 *
 * For one size class of the calling thread's heap the best that moving can do is to empty the sparsest spans, as many as
 * the others have room for. A survey walks the spans that are not full once and sorts them by use into BUCKETS; the cut
 * is where what lives below it just fits into what is free above. Of the bucket that the cut falls into, the spans at the
 * upper addresses go: so that of spans which are all alike some are emptied, and the same ones at every look. (jemalloc
 * compares a slab with the mean of its bin, which Redis multiplies by 9/8 to get such a case moving at all.)
 *
 * A move must not get the block that the last one freed: that is what a free list would do. So the blocks moved out of are
 * put aside up to the end of the batch, what the heap keeps is returned before, and the spans of the class are linked
 * fullest first, which is the order in which the heap takes them.
 *
 * Everything here is of the calling thread's heap, whose fields are its own; no lock is taken. What hyp_defrag_hint
 * remembers of a survey is one for each class and the whole process: threads that take turns look again more often.
 */
#include "base/atomic.h"
#include "cleanup/cleanup.h"
#include "heap/harden.h"

#include <hypool/hypool.h>

#include <errno.h>
#include <string.h>

enum { BUCKETS = 64, LEAST_USES = 256, MOST_USES = 1 << 15 };

typedef struct survey {
	uint32_t spans;     /* not full */
	uint64_t live, all; /* blocks in them, and places */
	uint32_t cut;       /* buckets below are worth it */
	uintptr_t from;     /* of the bucket `cut`, spans from this address on are, too */
} survey;

typedef struct bucket {
	uint64_t live, spare, spans;
	uintptr_t lowest, highest;
} bucket;

static uint32_t bucket_of(const hypi_span *span) {
	return (uint32_t)((uint64_t)span->out * BUCKETS / (hypi_span_capacity(span) + 1));
}

static void add(bucket *b, const hypi_span *span) {
	b->live += span->out;
	b->spare += hypi_span_capacity(span) - span->out;
	if (b->spans == 0 || span->base < b->lowest) b->lowest = span->base;
	if (b->spans++ == 0 || span->base > b->highest) b->highest = span->base;
}

/* The caller's own heap. The carving span takes blocks, and is never emptied. */
static survey look(const hypi_heap *heap, unsigned c) {
	const hypi_bin *bin = &heap->bins[c];
	bucket buckets[BUCKETS] = {{0}};
	uint64_t spare = 0, moved = 0;
	survey s = {.from = UINTPTR_MAX};
	for (const hypi_span *span = bin->first; span != NULL; span = span->next) {
		if (span == bin->carving) continue;
		add(&buckets[bucket_of(span)], span);
		s.spans++;
		s.live += span->out;
		s.all += hypi_span_capacity(span);
	}
	spare = s.all - s.live; /* not the carving span's: the heap takes from the others first */
	for (; s.cut < BUCKETS; s.cut++) {
		const bucket *b = &buckets[s.cut];
		if (moved + b->live <= spare - b->spare) {
			moved += b->live;
			spare -= b->spare;
			continue;
		}
		/* As many of its spans, all taken for alike, as fit: moved + k live <= spare - k spare. */
		double part = (double)(spare - moved) / (double)(b->live + b->spare);
		if (b->spans > 1 && part * (double)b->spans >= 1)
			s.from = b->highest - (uintptr_t)(part * (double)(b->highest - b->lowest));
		break;
	}
	return s;
}

static bool is_worth(const survey *s, const hypi_span *span) {
	if (span->listed == 0 && span->out == hypi_span_capacity(span)) return false;
	uint32_t b = bucket_of(span);
	return b < s->cut || (b == s->cut && span->base >= s->from);
}

/* The span of a small block of the calling thread's own, with its heap; else NULL. *ret_any: the span, whoever's. */
static hypi_span *own_span(const void *p, hypi_heap **ret_heap, hypi_span **ret_any) {
	hypi_span *span = p != NULL ? hypi_span_at(p) : NULL;
	*ret_any = span;
	if (span == NULL || hypi_load_relaxed(&span->kind) != HYPI_SPAN_SMALL) return NULL;
	hypi_heap *owner = hypi_load_relaxed(&span->owner);
	if (hypi_hardens(owner->engine) || owner != hypi_heap_of(owner->engine)) return NULL;
	*ret_heap = owner;
	return span;
}

/* ---- one block ---- */

/* What was seen of a class last: whose heap (its address, shifted) and for how many questions yet, in one word; and the
 * survey. Not one of them is needed to fit the others: a wrong hint costs a copy. */
static struct {
	_Atomic uint64_t whose; /* heap >> 6 << 16 | questions left */
	_Atomic uint32_t cut;
	_Atomic uintptr_t from;
} seen[HYPI_CLASSES];

bool hyp_defrag_hint(const void *p) {
	hypi_heap *heap;
	hypi_span *any, *span = own_span(p, &heap, &any);
	if (span == NULL || heap->bins[span->class_index].carving == span) return false;
	unsigned c = span->class_index;
	uint64_t whose = hypi_load_relaxed(&seen[c].whose), key = (uint64_t)(uintptr_t)heap >> 6 << 16;
	survey s;
	if (whose >> 16 << 16 != key || (whose & 0xffff) == 0) {
		s = look(heap, c);
		uint64_t uses = s.spans > MOST_USES ? MOST_USES : s.spans < LEAST_USES ? LEAST_USES : s.spans;
		hypi_store_relaxed(&seen[c].cut, s.cut);
		hypi_store_relaxed(&seen[c].from, s.from);
		whose = key | uses;
	} else {
		s.cut = hypi_load_relaxed(&seen[c].cut);
		s.from = hypi_load_relaxed(&seen[c].from);
	}
	hypi_store_relaxed(&seen[c].whose, whose - 1);
	return is_worth(&s, span);
}

/* ---- many ---- */

/* Surveys of one heap, made when a class is first asked for. */
typedef struct surveys {
	const hypi_heap *heap;
	bool known[HYPI_CLASSES];
	survey of[HYPI_CLASSES];
} surveys;

static const survey *survey_of(surveys *all, const hypi_heap *heap, unsigned c) {
	if (all->heap != heap) memset(all->known, 0, sizeof all->known);
	all->heap = heap;
	if (!all->known[c]) all->of[c] = look(heap, c);
	all->known[c] = true;
	return &all->of[c];
}

static void query(surveys *all, const void *p, hyp_defrag_info *ret_info) {
	hypi_heap *heap;
	hypi_span *any, *span = own_span(p, &heap, &any);
	hyp_defrag_info info = {.mine = span != NULL};
	if (any != NULL) {
		bool small = hypi_load_relaxed(&any->kind) == HYPI_SPAN_SMALL;
		info.block_bytes = any->block_bytes;
		info.span_bytes = small ? (size_t)any->slices << HYPI_SLICE_LOG2 : any->block_bytes;
		info.span_blocks = small ? hypi_span_capacity(any) : 1;
	}
	if (span != NULL) {
		const survey *s = survey_of(all, heap, span->class_index);
		info.span_live = span->out;
		info.class_spans = s->spans;
		info.class_use = s->all != 0 ? (double)s->live / (double)s->all : 0;
		info.worth = heap->bins[span->class_index].carving != span && is_worth(s, span);
	}
	*ret_info = info;
}

void hyp_defrag_query(const void *const *pointers, size_t count, hyp_defrag_info *ret_infos) {
	surveys all = {.heap = NULL};
	for (size_t i = 0; i < count; i++) query(&all, pointers[i], &ret_infos[i]);
}

/* ---- moving ---- */

/* Fullest first, and of those alike the lowest address: what is worth emptying comes last. */
static bool is_before(const hypi_span *a, const hypi_span *b) {
	uint32_t x = bucket_of(a), y = bucket_of(b);
	return x != y ? x > y : a->base < b->base;
}

/* Merges two chains that are linked by `next`. */
static hypi_span *merge(hypi_span *a, hypi_span *b) {
	hypi_span *first = NULL, **end = &first;
	while (a != NULL && b != NULL) {
		hypi_span **from = is_before(a, b) ? &a : &b;
		*end = *from;
		end = &(*end)->next;
		*from = *end;
	}
	*end = a != NULL ? a : b;
	return first;
}

/* Bottom-up merge sort of a bin's list (Knuth 1973): no memory, n log n. */
static void sort(hypi_bin *bin) {
	hypi_span *runs[32] = {NULL}, *next, *all = NULL;
	for (hypi_span *span = bin->first; span != NULL; span = next) {
		next = span->next;
		span->next = NULL;
		unsigned k = 0;
		for (; runs[k] != NULL; k++) {
			span = merge(runs[k], span);
			runs[k] = NULL;
		}
		runs[k] = span;
	}
	for (unsigned k = 0; k < HYP_ARRAY_LEN(runs); k++) all = merge(runs[k], all);
	bin->first = all;
	bin->last = NULL;
	for (hypi_span *span = all; span != NULL; span = span->next) {
		span->prev = bin->last;
		bin->last = span;
	}
}

typedef struct batch {
	hyp_pool *pool;
	hypi_heap *heap;
	surveys all;
	bool over[HYPI_CLASSES]; /* no better place was to be had */
	void *aside;             /* blocks to be freed at the end, linked by their first words */
	size_t moved;
} batch;

static void put_aside(batch *b, void *p) {
	*(void **)p = b->aside;
	b->aside = p;
}

static void *move(batch *b, void *p) {
	hypi_heap *heap;
	hypi_span *any, *span = own_span(p, &heap, &any);
	if (span == NULL || heap != b->heap || b->over[span->class_index]) return NULL;
	unsigned c = span->class_index;
	if (!b->all.known[c]) sort(&heap->bins[c]);
	if (heap->bins[c].carving == span || !is_worth(survey_of(&b->all, heap, c), span)) return NULL;
	/* Of the same class, and so of the same alignment; the pool's threshold may lie within the class. */
	size_t most = heap->engine->threshold_bytes - 1, bytes = span->block_bytes < most ? span->block_bytes : most;
	void *q = hypi_engine_alloc(heap->engine, heap, bytes, 1, false);
	if (q == NULL) {
		hypi_sub_relaxed(&heap->engine->failures, 1); /* nobody asked for it */
		b->over[c] = true;
		return NULL;
	}
	if (hypi_span_at(q) == span) {
		b->over[c] = true; /* all better ones are full */
		put_aside(b, q);
		return NULL;
	}
	memcpy(q, p, span->block_bytes);
	put_aside(b, p);
	b->moved++;
	return q;
}

size_t hyp_defrag_move(hyp_pool *pool, void *const *pointers, size_t count, void **ret_moved) {
	int saved = errno;
	bool hooked = hypi_self.hooked;
	if (pool == NULL) pool = hyp_pool_default();
	batch b = {.pool = pool, .heap = hypi_pool_is_host(pool) ? hypi_heap_of(&pool->engine) : NULL};
	memset(ret_moved, 0, count * sizeof *ret_moved);
	if (b.heap == NULL) return 0;
	hypi_self.hooked = true; /* nothing of this is the program's: the sampler does not look */
	hypi_heap_trim(b.heap);
	for (size_t i = 0; i < count; i++) ret_moved[i] = move(&b, pointers[i]);
	for (void *p = b.aside, *next; p != NULL; p = next) {
		next = *(void **)p;
		*(void **)p = NULL;
		hyp_pool_free(pool, p);
	}
	hypi_heap_trim(b.heap);
	hypi_self.hooked = hooked;
	errno = saved;
	return b.moved;
}
