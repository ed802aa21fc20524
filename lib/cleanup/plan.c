/*
 * cleanup/plan.c: which blocks to move so that spans and arenas run empty.
 *
 * A vessel is a span of small blocks or an arena of large ones. For each class of vessels the plan empties the j
 * sparsest, whose m blocks then need room elsewhere: what the calling thread's other spans have free (or other arenas),
 * and beyond that new vessels. j is chosen so that most vessels are won in the end, and of equal choices the one that
 * copies least (a greedy form of the first-fit bound; Robson 1974 says what a pool that cannot move may lose).
 *
 * What is known of a vessel. A span of the calling thread's heap: all of it, since its list was returned before. Another
 * thread's: the blocks by handle that lie in it, and that is all that lies in it exactly when no block of its class is
 * known by pointer alone; else it is left alone. An arena: its slices in use; it can be emptied when all of them are
 * blocks by handle. Handles that come and go while the plan is made cost it precision, never safety: every move is
 * decided again by the lock on its block.
 */
#include "base/bits.h"
#include "cleanup/cleanup.h"
#include "heap/stats.h"

#include <string.h>

typedef struct census {
	hyp_pool *pool;
	hypi_heap *mine;
	const hyp_cleanup_request *request;
	hypi_plan *plan;
	uint32_t now_ms;
	size_t room;                          /* for moves */
	uint64_t by_handle[HYPI_CLASSES + 1]; /* blocks, of each class */
} census;

/* ---- vessels ---- */

static size_t place_of(const hypi_plan *plan, const void *key) {
	size_t mask = plan->vessel_capacity - 1, at = hypi_mix64((uintptr_t)key) & mask;
	while (plan->vessels[at].key != NULL && plan->vessels[at].key != key) at = (at + 1) & mask;
	return at;
}

/* The pool's arena that an address lies in, or NULL. The caller holds the large pool's lock. */
static const hypi_arena *arena_at(hypi_plan *plan, const hypi_large_pool *large, uintptr_t address) {
	uint32_t gone = large->arenas_made - large->arenas; /* only rises, by one for each arena that goes */
	if (gone != plan->known_gone) memset(plan->known, 0, sizeof plan->known);
	plan->known_gone = gone;
	const hypi_arena **known = &plan->known[(address / large->arena_bytes) % HYPI_PLAN_ARENAS], *a = *known;
	if (a != NULL && address - a->base < (uintptr_t)a->slices << HYPI_SLICE_LOG2) return a;
	a = large->all;
	while (a != NULL && address - a->base >= (uintptr_t)a->slices << HYPI_SLICE_LOG2) a = a->all_next;
	if (a != NULL) *known = a;
	return a;
}

/* What is at an address that a block may be freed from meanwhile; the caller holds the large pool's lock, which keeps the
 * record of any span in the pool's arenas from going (see hypi_span_destroy). */
static void look(hypi_plan *plan, hyp_pool *pool, const hypi_heap *mine, uintptr_t address, hypi_vessel *ret_vessel) {
	const hypi_arena *arena = arena_at(plan, &pool->engine.large, address);
	hypi_span *span = arena != NULL ? hypi_span_at_acquire((void *)address) : NULL;
	if (span == NULL) return;
	unsigned kind = hypi_load_relaxed(&span->kind);
	if (kind == HYPI_SPAN_SMALL) {
		size_t bytes = (size_t)span->slices << HYPI_SLICE_LOG2;
		*ret_vessel = (hypi_vessel){.key = span,
		                            .bytes = bytes,
		                            .capacity = hypi_span_capacity(span),
		                            .class_index = span->class_index,
		                            .mine = hypi_load_relaxed(&span->owner) == mine};
	} else if (kind == HYPI_SPAN_LARGE) {
		*ret_vessel = (hypi_vessel){.key = arena,
		                            .bytes = (size_t)arena->slices << HYPI_SLICE_LOG2,
		                            .capacity = arena->slices,
		                            .class_index = HYPI_CLASSES};
	}
}

static hypi_vessel vessel_of_device(const hypi_device_block *block) {
	hypi_device_vessel d = hypi_device_vessel_of(block);
	return (hypi_vessel){.key = d.key, .bytes = d.bytes, .capacity = d.blocks, .class_index = (uint16_t)d.class_index};
}

typedef struct sight {
	hypi_vessel vessel;
	uint32_t weight;
} sight;

static void see(void *context, const hypi_device_block *block) {
	sight *s = context;
	s->vessel = vessel_of_device(block);
	s->weight = hypi_device_vessel_of(block).weight;
}

/* The span or the arena that a handle's block lies in, all of it but its weights, and the weight of the block. The key is
 * NULL: neither, or another pool's by now. */
static sight sight_of(hypi_plan *plan, hyp_pool *pool, const hypi_heap *mine, hyp_handle handle) {
	sight at = {.weight = 1};
	if (!hypi_pool_is_host(pool)) {
		hypi_handle_look(pool, handle, see, &at);
		return at;
	}
	hypi_slot *slot = hypi_slot_of(handle);
	hypi_lock_take(&pool->engine.large.lock);
	look(plan, pool, mine, hypi_load_relaxed(&slot->address), &at.vessel);
	hypi_unlock(&pool->engine.large.lock);
	if (at.vessel.class_index == HYPI_CLASSES)
		at.weight = (uint32_t)hypi_slices_of(hypi_handle_host_usable(pool, slot));
	return at;
}

static const hypi_vessel *find(const hypi_plan *plan, const void *key) {
	const hypi_vessel *v = key != NULL ? &plan->vessels[place_of(plan, key)] : NULL;
	return v != NULL && v->key != NULL ? v : NULL;
}

const hypi_vessel *hypi_plan_vessel(hypi_plan *plan, hyp_pool *pool, hyp_handle handle) {
	return find(plan, sight_of(plan, pool, NULL, handle).vessel.key);
}

const hypi_vessel *hypi_plan_vessel_of(hypi_plan *plan, hyp_pool *pool, const hypi_device_block *block) {
	hypi_vessel at = {.key = NULL};
	if (!hypi_pool_is_host(pool)) return find(plan, hypi_device_vessel_of(block).key);
	hypi_lock_take(&pool->engine.large.lock);
	look(plan, pool, NULL, block->address, &at);
	hypi_unlock(&pool->engine.large.lock);
	return find(plan, at.key);
}

static bool is_emptied(const void *plan, const void *key) {
	const hypi_vessel *v = find(plan, key);
	return v != NULL && v->emptied;
}

void hypi_plan_put_last(const hypi_plan *plan, hyp_pool *pool) { hypi_slabs_put_last(pool, is_emptied, plan); }

/* ---- the walk over all handles ---- */

static bool may_move(const census *c, const hypi_slot *slot, size_t bytes) {
	const hyp_cleanup_request *r = c->request;
	hypi_slot *s = (hypi_slot *)(uintptr_t)slot;
	if (bytes < r->least_bytes || (r->most_bytes != 0 && bytes > r->most_bytes)) return false;
	if (r->most_held_bytes != 0 && bytes > r->most_held_bytes) return false;
	if (c->now_ms - hypi_load_relaxed(&s->made_ms) < r->least_age_ms) return false;
	return c->now_ms - hypi_load_relaxed(&s->used_ms) >= r->least_idle_ms;
}

static bool is_locked(const hypi_slot *slot) {
	hypi_slot *s = (hypi_slot *)(uintptr_t)slot;
	uint64_t state = hypi_load_relaxed(&s->state);
	return (state & HYPI_SLOT_COUNT) + (uint64_t)(int64_t)(int32_t)hypi_load_relaxed(&s->local) != HYPI_SLOT_ZERO;
}

static void meet(void *context, hyp_handle handle, const hypi_slot *slot) {
	census *c = context;
	hypi_plan *plan = c->plan;
	hypi_slot *s = (hypi_slot *)(uintptr_t)slot;
	sight at_block = sight_of(plan, c->pool, c->mine, handle);
	hypi_vessel seen = at_block.vessel;
	if (seen.key == NULL || plan->move_count == c->room) return;
	size_t bytes = hypi_load_relaxed(&s->bytes), at = place_of(plan, seen.key);
	hypi_vessel *v = &plan->vessels[at];
	if (v->key == NULL) {
		if (plan->vessel_count >= plan->vessel_capacity / 4 * 3) return; /* more came than there were: next time */
		plan->vessel_count++;
		*v = seen;
	}
	if (v->class_index != seen.class_index || v->mine != seen.mine) return; /* the record is another's by now */
	uint32_t weight = at_block.weight;
	c->by_handle[v->class_index]++;
	bool locked = is_locked(slot);
	plan->locked += locked;
	if (locked || !may_move(c, slot, bytes)) {
		v->fixed += weight;
		return;
	}
	v->movable += weight;
	plan->moves[plan->move_count++] = (hypi_move){
		.handle = handle, .bytes = bytes, .vessel = (uint32_t)at, .align_log2 = hypi_load_relaxed(&s->align_log2)};
}

static void count_one(void *context, hyp_handle handle, const hypi_slot *slot) {
	(void)handle, (void)slot;
	++*(size_t *)context;
}

/* ---- choosing ---- */

/* What lives in the plan's arenas, of those that are still there; and what all of the pool have free. The caller holds the
 * large pool's lock: arenas stand still. */
static size_t weigh_arenas(hypi_plan *plan, const hypi_large_pool *large) {
	size_t room = 0;
	for (const hypi_arena *a = large->all; a != NULL; a = a->all_next) {
		hypi_vessel *v = &plan->vessels[place_of(plan, a)];
		room += a->free_slices;
		if (v->key == NULL) continue;
		v->live = a->slices - a->free_slices;
		v->capacity = a->slices;
		v->weighed = true;
	}
	return room;
}

/* The same of slabs; `room` by class. */
typedef struct slab_scale {
	hypi_plan *plan;
	size_t room[HYPI_CLASSES];
} slab_scale;

static void weigh_slab(void *context, const hypi_device_vessel *slab) {
	slab_scale *scale = context;
	hypi_vessel *v = &scale->plan->vessels[place_of(scale->plan, slab->key)];
	scale->room[slab->class_index] += slab->blocks - slab->used;
	if (v->key == NULL) return;
	v->live = slab->used;
	v->weighed = true;
}

/* Whether all that lives in a vessel can be moved away; sets `live`, where it was not weighed. */
static bool is_emptiable(hypi_vessel *v, const uint64_t *by_pointer) {
	if (v->weighed) return v->fixed == 0 && v->live == v->movable;
	if (v->class_index == HYPI_CLASSES) return false; /* gone since */
	v->live = v->movable + v->fixed;
	if (v->mine) v->live = ((const hypi_span *)v->key)->out;
	else if (by_pointer[v->class_index] != 0) return false;
	return v->fixed == 0 && v->live == v->movable;
}

/* What the plan may not count on any more when it empties a vessel. */
static uint32_t room_in(const hypi_vessel *v) { return v->weighed || v->mine ? v->capacity - v->live : 0; }

/* By class, and sparsest first. */
static bool is_before(const hypi_vessel *a, const hypi_vessel *b) {
	if (a->class_index != b->class_index) return a->class_index < b->class_index;
	return a->live != b->live ? a->live < b->live : (uintptr_t)a->key > (uintptr_t)b->key;
}

/* Heap sort (Williams 1964): in place, and never quadratic. */
static void sift(hypi_vessel **v, size_t at, size_t count) {
	for (size_t child; (child = 2 * at + 1) < count; at = child) {
		if (child + 1 < count && is_before(v[child], v[child + 1])) child++;
		if (!is_before(v[at], v[child])) return;
		hypi_vessel *t = v[at];
		v[at] = v[child];
		v[child] = t;
	}
}

static void sort(hypi_vessel **v, size_t count) {
	for (size_t i = count / 2; i-- > 0;) sift(v, i, count);
	for (size_t n = count; n-- > 1;) {
		hypi_vessel *t = v[0];
		v[0] = v[n];
		v[n] = t;
		sift(v, 0, n);
	}
}

/* Free places in the calling thread's spans of a class, also in those that hold no handle. */
static size_t own_room(const hypi_heap *mine, unsigned class_index) {
	const hypi_bin *bin = &mine->bins[class_index];
	size_t room = 0;
	for (const hypi_span *span = bin->first; span != NULL; span = span->next)
		if (span != bin->carving) room += span->listed;
	if (bin->carving != NULL) room += hypi_span_capacity(bin->carving) - bin->carving->out;
	return room;
}

/* Marks which of `count` vessels of one class, sparsest first, are emptied. */
static void choose(hypi_plan *plan, hypi_vessel **v, size_t count, size_t room) {
	size_t moved = 0, best = 0, capacity = v[0]->capacity;
	bool arenas = v[0]->class_index == HYPI_CLASSES;
	long best_won = 0;
	for (size_t j = 1; j <= count; j++) {
		moved += v[j - 1]->live;
		room = room > room_in(v[j - 1]) ? room - room_in(v[j - 1]) : 0;
		size_t fresh = moved > room ? (moved - room + capacity - 1) / capacity : 0;
		if (arenas && fresh != 0) break; /* nothing is won by making another */
		long won = (long)j - (long)fresh;
		if (won > best_won) best_won = won, best = j;
	}
	for (size_t j = 0; j < best; j++) v[j]->emptied = true;
	if (arenas) plan->planned_arenas = best;
	else plan->planned_freed_bytes += (uint64_t)best_won * v[0]->bytes;
}

/* Brings the moves into their vessels' order, and drops those out of vessels that are not emptied. */
static void order_moves(hypi_plan *plan, hypi_vessel **v, size_t count, hypi_move *scratch) {
	for (size_t i = 0; i < plan->move_count; i++) plan->vessels[plan->moves[i].vessel].moves++;
	uint32_t first = 0;
	for (size_t i = 0; i < count; i++) {
		if (!v[i]->emptied) continue;
		v[i]->first = first;
		first += v[i]->moves;
		v[i]->moves = 0;
	}
	for (size_t i = 0; i < plan->move_count; i++) {
		hypi_vessel *to = &plan->vessels[plan->moves[i].vessel];
		if (!to->emptied) continue;
		scratch[to->first + to->moves++] = plan->moves[i];
		plan->planned_bytes += plan->moves[i].bytes;
	}
	memcpy(plan->moves, scratch, first * sizeof *scratch);
	plan->move_count = first;
}

/* ---- the plan ---- */

void hypi_plan_fini(hypi_plan *plan) {
	if (plan->vessels != NULL && hypi_os_unmap(plan->vessels, plan->mapped_bytes) != HYP_OK) {
		/* The kernel's table of mappings is full: the pages at least go back. */
		hyp_status status = hypi_os_purge(plan->vessels, plan->mapped_bytes, HYPI_PURGE_NOW);
		(void)status;
	}
	memset(plan, 0, sizeof *plan);
}

/* Room for so many handles, and for as many vessels: at most one a slice in use, and one an arena. */
static bool map_plan(hypi_plan *plan, size_t handles, size_t slices, hypi_move **ret_scratch,
                     hypi_vessel ***ret_order) {
	plan->vessel_capacity = (size_t)1 << hypi_log2_ceil(2 * (handles < slices ? handles : slices) + 32);
	size_t vessels = plan->vessel_capacity * sizeof *plan->vessels, moves = (handles + 1) * sizeof *plan->moves;
	plan->mapped_bytes = hypi_round_up(vessels + 2 * moves + (handles + 1) * sizeof(void *), hypi_os.page_bytes);
	char *p = hypi_os_map(plan->mapped_bytes, hypi_os.page_bytes);
	if (p == NULL) return false;
	plan->vessels = (hypi_vessel *)(void *)p;
	plan->moves = (hypi_move *)(void *)(p + vessels);
	*ret_scratch = (hypi_move *)(void *)(p + vessels + moves);
	*ret_order = (hypi_vessel **)(void *)(p + vessels + 2 * moves);
	return true;
}

/* Blocks of each class that no handle names, as far as figures of running threads can tell. */
static void count_pointers(const census *c, uint64_t *ret_by_pointer) {
	hyp_class_stats classes[HYPI_CLASSES];
	hypi_engine_classes(&c->pool->engine, classes);
	for (unsigned k = 0; k < HYPI_CLASSES; k++)
		ret_by_pointer[k] = classes[k].active > c->by_handle[k] ? classes[k].active - c->by_handle[k] : 0;
}

bool hypi_plan_make(hypi_plan *plan, hyp_pool *pool, hypi_heap *mine, const hyp_cleanup_request *request) {
	size_t handles = 0;
	hypi_plan_fini(plan);
	hypi_handles_walk(pool, count_one, &handles);
	if (handles == 0) return true;
	handles += handles / 8 + 16; /* some may come meanwhile */
	hypi_move *scratch;
	hypi_vessel **order;
	hypi_large_pool *large = &pool->engine.large;
	hypi_lock_take(&large->lock);
	size_t slices = large->used_slices + large->arenas;
	hypi_unlock(&large->lock);
	if (!map_plan(plan, handles, slices, &scratch, &order)) return memset(plan, 0, sizeof *plan), false;
	uint32_t now_ms = (uint32_t)hypi_os_now_coarse_ms();
	census c = {.pool = pool, .mine = mine, .request = request, .plan = plan, .room = handles, .now_ms = now_ms};
	hypi_handles_walk(pool, meet, &c);
	uint64_t by_pointer[HYPI_CLASSES];
	count_pointers(&c, by_pointer);
	hypi_lock_take(&large->lock);
	size_t count = 0, arena_room = weigh_arenas(plan, large);
	plan->arenas_made = large->arenas_made;
	hypi_unlock(&large->lock);
	slab_scale slabs = {.plan = plan};
	if (!hypi_pool_is_host(pool)) hypi_slabs_walk(pool, weigh_slab, &slabs);
	for (size_t i = 0; i < plan->vessel_capacity; i++) {
		hypi_vessel *v = &plan->vessels[i];
		if (v->key == NULL || v->movable == 0 || (!v->weighed && !hypi_pool_is_host(pool))) continue;
		if (is_emptiable(v, by_pointer)) order[count++] = v;
	}
	sort(order, count);
	for (size_t from = 0, to; from < count; from = to) {
		unsigned class_index = order[from]->class_index;
		to = from + 1;
		while (to < count && order[to]->class_index == class_index) to++;
		size_t room = arena_room;
		if (class_index < HYPI_CLASSES)
			room = hypi_pool_is_host(pool) ? own_room(mine, class_index) : slabs.room[class_index];
		choose(plan, order + from, to - from, room);
	}
	order_moves(plan, order, count, scratch);
	plan->aside = (hypi_device_block *)(void *)scratch; /* it has served */
	plan->aside_room = handles * sizeof *scratch / sizeof *plan->aside;
	return true;
}
