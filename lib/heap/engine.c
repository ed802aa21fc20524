/*
 * heap/engine.c: the engines of pools: which exist, which heap a thread has in each, and emptying one.
 *
 * A pool comes and goes while threads remember heaps of it. So an engine has a serial number that is never used again,
 * and whatever a thread remembers is remembered by serial: what is left of a pool that is gone matches nothing. The low
 * 16 bits of a serial are the engine's slot, by which a thread finds its heap in two loads; the thread's last engine
 * stands in its thread-local storage, where the hit path looks.
 *
 * A thread at its end abandons its heaps in those engines that still exist, under the engines lock; so a pool that is
 * being destroyed has left the table before, or waits until the thread is through. Lock rank: engines lock, outermost.
 */
#include "core/meta.h"
#include "heap/sample.h"

#include <errno.h>
#include <string.h>

enum { SLOTS = 1 << 16, CHUNK_SLOTS = 1 << 8 };

/* A slot's serial, of its present engine or of the last; engines lock for writing. */
static _Atomic uint64_t slot_serials[SLOTS];
static uint16_t slot_next[SLOTS]; /* list of slots that are free again; engines lock */
static uint32_t slot_free, slot_fresh = 1;

typedef struct pool_entry {
	uint64_t serial;
	hypi_heap *heap;
} pool_entry;

typedef struct hypi_pool_table {
	pool_entry *chunks[SLOTS / CHUNK_SLOTS];
} hypi_pool_table;

static uint32_t slot_of(uint64_t serial) { return serial & (SLOTS - 1); }

/* ---- which engines exist ---- */

static uint64_t next_serial(uint32_t slot) {
	uint64_t last = hypi_load_relaxed(&slot_serials[slot]);
	return ((last >> 16) + 1) << 16 | slot;
}

hyp_status hypi_engine_register(hypi_engine *engine) {
	hypi_lock_take(&hypi_engines_lock);
	uint32_t slot = slot_free;
	if (slot != 0) slot_free = slot_next[slot];
	else if (slot_fresh < SLOTS) slot = slot_fresh++;
	if (slot != 0) {
		engine->serial = engine->front_serial = next_serial(slot);
		hypi_store_relaxed(&slot_serials[slot], engine->serial);
		engine->prev = NULL;
		engine->next = hypi_engines;
		hypi_engines->prev = engine;
		hypi_engines = engine;
	}
	hypi_unlock(&hypi_engines_lock);
	return slot != 0 ? HYP_OK : HYP_ERR_LIMIT;
}

void hypi_engine_unregister(hypi_engine *engine) {
	uint32_t slot = slot_of(engine->serial);
	hypi_lock_take(&hypi_engines_lock);
	/* The next serial already: the old one is nobody's now. */
	hypi_store_relaxed(&slot_serials[slot], next_serial(slot));
	slot_next[slot] = (uint16_t)slot_free;
	slot_free = slot;
	if (engine->prev != NULL) engine->prev->next = engine->next;
	else hypi_engines = engine->next;
	if (engine->next != NULL) engine->next->prev = engine->prev;
	hypi_unlock(&hypi_engines_lock);
}

/* ---- a thread's heaps ---- */

static pool_entry *entry_of(uint64_t serial) {
	hypi_pool_table *table = hypi_self.pools;
	if (table == NULL) return NULL;
	pool_entry *chunk = table->chunks[slot_of(serial) / CHUNK_SLOTS];
	return chunk == NULL ? NULL : &chunk[slot_of(serial) % CHUNK_SLOTS];
}

static pool_entry *make_entry(uint64_t serial) {
	hypi_thread *self = &hypi_self;
	if (self->pools == NULL) self->pools = hypi_meta_alloc(sizeof *self->pools);
	if (self->pools == NULL) return NULL;
	pool_entry **chunk = &self->pools->chunks[slot_of(serial) / CHUNK_SLOTS];
	if (*chunk == NULL) *chunk = hypi_meta_alloc(CHUNK_SLOTS * sizeof **chunk);
	return *chunk == NULL ? NULL : &(*chunk)[slot_of(serial) % CHUNK_SLOTS];
}

static hypi_heap *remember(uint64_t serial, hypi_heap *heap) {
	hypi_self.pool_serial = serial;
	hypi_self.pool_heap = heap;
	return heap;
}

hypi_heap *hypi_heap_of_pool(hypi_engine *engine) {
	if (hypi_self.pool_serial == engine->serial) return hypi_self.pool_heap;
	pool_entry *entry = entry_of(engine->serial);
	return entry != NULL && entry->serial == engine->serial ? entry->heap : NULL;
}

hypi_heap *hypi_heap_for(hypi_engine *engine) {
	hypi_heap *mine = hypi_heap_mine(); /* also arms the thread for its exit */
	if (mine == NULL) return NULL;
	if (engine == &hypi_default_engine) return remember(engine->serial, mine);
	hypi_heap *heap = hypi_heap_of_pool(engine);
	if (heap != NULL) return remember(engine->serial, heap);
	pool_entry *entry = make_entry(engine->serial);
	if (entry == NULL) return NULL;
	heap = hypi_heap_acquire(engine);
	if (heap == NULL) return NULL;
	*entry = (pool_entry){engine->serial, heap};
	return remember(engine->serial, heap);
}

static void abandon_if_there(const pool_entry *entry) {
	if (entry->heap == NULL) return;
	hypi_lock_take(&hypi_engines_lock);
	if (hypi_load_relaxed(&slot_serials[slot_of(entry->serial)]) == entry->serial) hypi_heap_abandon(entry->heap);
	hypi_unlock(&hypi_engines_lock);
}

void hypi_pool_heaps_exit(void) {
	hypi_thread *self = &hypi_self;
	hypi_pool_table *table = self->pools;
	remember(0, &hypi_heap_none);
	self->pools = NULL;
	if (table == NULL) return;
	for (size_t i = 0; i < HYP_ARRAY_LEN(table->chunks); i++) {
		pool_entry *chunk = table->chunks[i];
		if (chunk == NULL) continue;
		for (size_t j = 0; j < CHUNK_SLOTS; j++) abandon_if_there(&chunk[j]);
		hypi_meta_free(chunk, CHUNK_SLOTS * sizeof *chunk);
	}
	hypi_meta_free(table, sizeof *table);
}

/* ---- emptying ---- */

static void drop_span(hypi_engine *engine, hypi_span *span) {
	bool small = hypi_load_relaxed(&span->kind) == HYPI_SPAN_SMALL;
	hypi_run run = {.arena = span->arena, .first = span->first, .count = span->slices, .small = small};
	hypi_page_map_set(span->base, small ? span->slices : 1, NULL);
	hypi_store_relaxed(&span->kind, HYPI_SPAN_NONE);
	hypi_large_pool_give(&engine->large, &run, true);
	hypi_meta_free(span, sizeof *span);
}

static void empty_arena(hypi_engine *engine, hypi_arena *arena) {
	for (uint32_t s = 0; s < arena->slices;) {
		hypi_span *span = NULL;
		if (arena->used[s >> 6] >> (s & 63) & 1)
			span = hypi_span_at((void *)(arena->base + ((uintptr_t)s << HYPI_SLICE_LOG2)));
		if (span == NULL) {
			s++;
			continue;
		}
		s = span->first + span->slices;
		drop_span(engine, span);
	}
}

static void forget_counts(hypi_engine *engine) {
	memset(engine->homeless_frees, 0, sizeof engine->homeless_frees);
	memset(&engine->large_count, 0, sizeof engine->large_count);
	hypi_store_relaxed(&engine->failures, 0);
	hypi_store_relaxed(&engine->peak_bytes, 0);
	hypi_store_relaxed(&engine->peak_active, 0);
	engine->large.peak_used_slices = engine->large.used_slices;
}

void hypi_engine_empty(hypi_engine *engine, bool keep_arenas) {
	bool front = engine->front_serial == engine->serial;
	hypi_lock_take(&hypi_engines_lock);
	uint32_t slot = slot_of(engine->serial);
	engine->serial = next_serial(slot);
	if (front) engine->front_serial = engine->serial;
	hypi_store_relaxed(&slot_serials[slot], engine->serial);
	hypi_heap *heaps = engine->heaps;
	engine->heaps = engine->orphans = engine->limbo = NULL;
	hypi_store_relaxed(&engine->sampled, NULL);
	engine->heap_count = 0;
	hypi_unlock(&hypi_engines_lock);

	for (hypi_arena *arena = engine->large.all; arena != NULL; arena = arena->all_next) empty_arena(engine, arena);
	while (engine->huges != NULL) {
		hypi_span *span = engine->huges;
		engine->huges = span->next;
		hypi_page_map_set(span->base, 1, NULL);
		hypi_large_pool_unmap_huge(&engine->large, span->base, span->mapped_bytes);
		hypi_store_relaxed(&span->kind, HYPI_SPAN_NONE);
		hypi_meta_free(span, sizeof *span);
	}
	for (hypi_heap *next; heaps != NULL; heaps = next) {
		next = heaps->next;
		if (heaps->sampler != NULL) hypi_meta_free(heaps->sampler, sizeof *heaps->sampler);
		hypi_meta_free(heaps, sizeof *heaps);
	}
	forget_counts(engine);
	if (keep_arenas) hypi_large_pool_purge(&engine->large);
	else hypi_large_pool_fini(&engine->large);
}
