/* Tests of heap/check.c: an engine with one of everything is sound, and each fault that is planted in it is named. */
#include "core/meta.h"
#include "heap/heap.h"
#include "unit.h"

#include <hypool/hypool.h>

#include <pthread.h>
#include <semaphore.h>
#include <string.h>

static hypi_engine *const engine = &hypi_default_engine;
static char *small, *other, *large, *kept, *huge;
static sem_t ready, leave;

/* Another thread, alive, with a block of the main thread's in its outbox: one that is smaller than a cache line. */
static void *keep_in_outbox(void *block) {
	(void)hyp_malloc(48);
	hyp_free(block);
	sem_post(&ready);
	sem_wait(&leave);
	return NULL;
}

static void begin(void) {
	small = hyp_malloc(48);
	other = hyp_malloc(48);
	large = hyp_malloc(2 << 20);
	kept = hyp_malloc(3 << 20);
	huge = hyp_malloc((size_t)200 << 20);
	ck_assert(small != NULL && other != NULL && large != NULL && kept != NULL && huge != NULL);
	hyp_free(kept); /* into the thread's cache */
	pthread_t thread;
	sem_init(&ready, 0, 0);
	sem_init(&leave, 0, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, keep_in_outbox, other), 0);
	sem_wait(&ready);
	const char *wrong = hypi_engine_check(engine);
	ck_assert_msg(wrong == NULL, "%s", wrong);
}

static void planted(const char *expect) {
	const char *wrong = hypi_engine_check(engine);
	ck_assert_msg(wrong != NULL, "not found: %s", expect);
	ck_assert_str_eq(wrong, expect);
}

static void sound(void) {
	const char *wrong = hypi_engine_check(engine);
	ck_assert_msg(wrong == NULL, "%s", wrong);
}

START_TEST(slices) {
	begin();
	hypi_span *span = hypi_span_at(small);
	hypi_page_map_set(span->base, span->slices, NULL);
	planted("a list names what is no block");
	hypi_page_map_set_tagged(span->base, span->slices, span, hypi_class_tag(span->class_index));
	sound();
	span = hypi_span_at(large);
	hypi_page_map_set(span->base, 1, NULL);
	planted("a used slice belongs to nobody");
	hypi_page_map_set(span->base + HYPI_SLICE_BYTES, 1, span);
	hypi_page_map_set(span->base, 1, span);
	planted("two spans have the same slice");
	hypi_page_map_set(span->base + HYPI_SLICE_BYTES, 1, NULL);
	sound();
	span->first++;
	planted("a span is not where its slices are");
	span->first--;
	span->slices++;
	ck_assert_ptr_nonnull(hypi_engine_check(engine)); /* the next slice is free or another's */
	span->slices--;
	hypi_run run;
	ck_assert_int_eq(hypi_large_pool_take(&engine->large, 1, 0, &run), HYP_OK);
	planted("a used slice belongs to nobody"); /* leaked */
	hypi_large_pool_give(&engine->large, &run, false);
	hypi_page_map_set(hypi_run_address(&run), 1, span);
	planted("a free slice has a span");
	hypi_page_map_set(hypi_run_address(&run), 1, NULL);
	sound();
}
END_TEST

START_TEST(counts) {
	begin();
	engine->large.used_slices++;
	planted("spans and the count of used slices do not agree");
	engine->large.used_slices--;
	engine->large.small_slices++;
	planted("the count of small blocks' slices is wrong");
	engine->large.small_slices--;
	hypi_self.heap->cached_bytes++;
	planted("the count of cached bytes is wrong");
	hypi_self.heap->cached_bytes--;
	sound();
	hyp_free(huge);
	sound();
	hypi_count_add(&engine->large_count.allocated_bytes, 4096);
	planted("the count of large blocks' bytes is wrong");
	hypi_count_add(&engine->large_count.freed_bytes, 4096);
	sound();
}
END_TEST

START_TEST(records) {
	begin();
	hypi_span *span = hypi_span_at(large), *cached = hypi_self.heap->cache[0];
	span->engine = NULL;
	planted("a large block is another engine's");
	span->engine = engine;
	hypi_store_relaxed(&span->kind, HYPI_SPAN_NONE);
	planted("the page map holds a span that is not in use");
	hypi_store_relaxed(&span->kind, HYPI_SPAN_CACHED);
	planted("a kept large block is in no cache");
	hypi_store_relaxed(&span->kind, HYPI_SPAN_LARGE);
	hypi_store_relaxed(&cached->kind, HYPI_SPAN_LARGE);
	planted("a block in a cache is not kept there");
	hypi_store_relaxed(&cached->kind, HYPI_SPAN_CACHED);
	sound();
	span = hypi_span_at(huge);
	span->engine = NULL;
	planted("a huge block is not one");
	span->engine = engine;
	sound();
	span = hypi_span_at(small);
	hypi_heap *owner = hypi_load_relaxed(&span->owner);
	hypi_store_relaxed(&span->owner, NULL);
	ck_assert_ptr_nonnull(hypi_engine_check(engine));
	hypi_store_relaxed(&span->owner, owner);
	atomic_fetch_or(&span->remote, HYPI_PENDING);
	planted("a pending span is on no stack");
	atomic_fetch_and(&span->remote, ~HYPI_PENDING);
	sound();
}
END_TEST

START_TEST(lists) {
	begin();
	hypi_heap *heap = hypi_self.heap;
	unsigned c = hypi_span_at(small)->class_index;
	hypi_block *head = heap->lists[c].head;
	ck_assert_ptr_nonnull(head);
	uint64_t twin = head->twin;
	head->twin = 0;
	planted("a list was written over");
	head->twin = twin;
	heap->bins[c].stock++;
	planted("a list is not as long as its counters say");
	heap->bins[c].stock--;
	heap->lists[c].head = (hypi_block *)((char *)head + 16);
	planted("a list names what is no block");
	heap->lists[c].head = head;
	sound();
	hypi_heap *neighbour = engine->heaps == heap ? heap->next : engine->heaps;
	hypi_outbox_entry *entry = NULL;
	for (unsigned i = 0; i < HYPI_OUTBOX_ENTRIES; i++)
		if (neighbour->outbox[i].span != NULL) entry = &neighbour->outbox[i];
	ck_assert_ptr_nonnull(entry);
	entry->tail = (hypi_block *)small;
	planted("a chain in an outbox is longer than it says");
	entry->tail = entry->head;
	entry->count = UINT32_MAX;
	planted("an outbox holds more blocks than were out");
	entry->count = 1;
	sound();
}
END_TEST

UNIT_MAIN("check", slices, counts, records, lists)
