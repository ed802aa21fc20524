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
	hypi_plan *plan;
	uint32_t now_ms;
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
		                            .address = address,
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
	const hyp_cleanup_request *r = &c->plan->request;
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
	sight at_block = sight_of(plan, c->pool, plan->mine, handle);
	hypi_vessel seen = at_block.vessel;
	if (seen.key == NULL || plan->move_count == plan->room) return;
	size_t bytes = hypi_load_relaxed(&s->bytes), at = place_of(plan, seen.key);
	hypi_vessel *v = &plan->vessels[at];
	if (v->key == NULL) {
		if (plan->vessel_count >= plan->vessel_capacity / 4 * 3) return; /* more came than there were: next time */
		plan->vessel_count++;
		*v = seen;
	}
	if (v->class_index != seen.class_index || v->mine != seen.mine) return; /* the record is another's by now */
	uint32_t weight = at_block.weight;
	plan->by_handle[v->class_index]++;
	bool locked = is_locked(slot);
	plan->locked += locked;
	if (locked || !may_move(c, slot, bytes)) {
		v->fixed += weight;
		return;
	}
	v->movable += weight;
	v->moves++;
	plan->moves[plan->move_count++] = (hypi_move){
		.handle = handle, .bytes = bytes, .vessel = (uint32_t)at, .align_log2 = hypi_load_relaxed(&s->align_log2)};
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

/* A span of the planning thread's own heap, which alone could give it back: since it was looked at, perhaps. */
static const hypi_span *own_span(const hypi_plan *plan, hypi_large_pool *large, const hypi_vessel *v) {
	hypi_lock_take(&large->lock);
	const hypi_span *span = hypi_span_at_acquire((void *)v->address);
	bool same = span == v->key && hypi_load_relaxed(&((hypi_span *)(uintptr_t)span)->owner) == plan->mine &&
	            span->class_index == v->class_index;
	hypi_unlock(&large->lock);
	return same ? span : NULL;
}

/* Whether all that lives in a vessel can be moved away; sets `live`, where it was not weighed. */
static bool is_emptiable(const hypi_plan *plan, hypi_large_pool *large, hypi_vessel *v, const uint64_t *by_pointer) {
	if (v->weighed) return v->fixed == 0 && v->live == v->movable;
	if (v->class_index == HYPI_CLASSES) return false; /* gone since */
	v->live = v->movable + v->fixed;
	if (v->mine) {
		const hypi_span *span = own_span(plan, large, v);
		if (span == NULL) return false;
		v->live = span->out;
	} else if (by_pointer[v->class_index] != 0) {
		return false;
	}
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

/* Gives each vessel that is emptied its place in the order of moves, sparsest first. */
static void place_vessels(hypi_plan *plan, size_t count) {
	uint32_t first = 0;
	for (size_t i = 0; i < count; i++) {
		hypi_vessel *v = plan->order[i];
		if (!v->emptied) continue;
		v->first = first;
		first += v->moves;
		v->moves = 0;
	}
	plan->order_at = 0;
	plan->order_count = first;
}

/* Brings so many moves more into their vessels' order, and drops those out of vessels that are not emptied. */
static void order_moves(hypi_plan *plan, size_t most) {
	size_t end = plan->move_count - plan->order_at < most ? plan->move_count : plan->order_at + most;
	for (; plan->order_at < end; plan->order_at++) {
		const hypi_move *move = &plan->moves[plan->order_at];
		hypi_vessel *v = &plan->vessels[move->vessel];
		if (!v->emptied) continue;
		plan->ordered[v->first + v->moves++] = *move;
		plan->planned_bytes += move->bytes;
	}
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

/* Room for so many handles, and for as many vessels: at most one a slice in use, and one an arena. Pages that are not
 * needed are never touched. */
static bool map_plan(hypi_plan *plan, size_t handles, size_t slices) {
	plan->vessel_capacity = (size_t)1 << hypi_log2_ceil(2 * (handles < slices ? handles : slices) + 32);
	size_t vessels = plan->vessel_capacity * sizeof *plan->vessels, moves = handles * sizeof *plan->moves;
	size_t classes = (HYPI_CLASSES + 1) * sizeof *plan->by_handle, order = handles * sizeof(void *);
	plan->mapped_bytes = hypi_round_up(vessels + 2 * moves + order + classes, hypi_os.page_bytes);
	char *p = hypi_os_map(plan->mapped_bytes, hypi_os.page_bytes);
	if (p == NULL) return false;
	plan->vessels = (hypi_vessel *)(void *)p;
	plan->moves = (hypi_move *)(void *)(p + vessels);
	plan->ordered = (hypi_move *)(void *)(p + vessels + moves);
	plan->order = (hypi_vessel **)(void *)(p + vessels + 2 * moves);
	plan->by_handle = (uint64_t *)(void *)(p + vessels + 2 * moves + order);
	plan->room = handles;
	return true;
}

/* Blocks of each class that no handle names, as far as figures of running threads can tell. */
static void count_pointers(const hypi_plan *plan, hyp_pool *pool, uint64_t *ret_by_pointer) {
	hyp_class_stats classes[HYPI_CLASSES];
	hypi_engine_classes(&pool->engine, classes);
	for (unsigned k = 0; k < HYPI_CLASSES; k++)
		ret_by_pointer[k] = classes[k].active > plan->by_handle[k] ? classes[k].active - plan->by_handle[k] : 0;
}

/* All handles were looked at: which vessels shall be emptied. */
static void decide(hypi_plan *plan, hyp_pool *pool) {
	hypi_large_pool *large = &pool->engine.large;
	bool host = hypi_pool_is_host(pool);
	uint64_t by_pointer[HYPI_CLASSES];
	count_pointers(plan, pool, by_pointer);
	hypi_lock_take(&large->lock);
	size_t count = 0, arena_room = weigh_arenas(plan, large);
	plan->arenas_made = large->arenas_made;
	hypi_unlock(&large->lock);
	slab_scale slabs = {.plan = plan};
	if (!host) hypi_slabs_walk(pool, weigh_slab, &slabs);
	for (size_t i = 0; i < plan->vessel_capacity; i++) {
		hypi_vessel *v = &plan->vessels[i];
		if (v->key == NULL || v->movable == 0 || (!v->weighed && !host)) continue;
		if (is_emptiable(plan, large, v, by_pointer)) plan->order[count++] = v;
	}
	sort(plan->order, count);
	for (size_t from = 0, to; from < count; from = to) {
		unsigned class_index = plan->order[from]->class_index;
		to = from + 1;
		while (to < count && plan->order[to]->class_index == class_index) to++;
		size_t room = arena_room;
		if (class_index < HYPI_CLASSES) room = host ? own_room(plan->mine, class_index) : slabs.room[class_index];
		choose(plan, plan->order + from, to - from, room);
	}
	place_vessels(plan, count);
}

bool hypi_plan_begin(hypi_plan *plan, hyp_pool *pool, const hypi_heap *mine, const hyp_cleanup_request *request) {
	hypi_plan_fini(plan);
	plan->request = *request;
	plan->mine = mine;
	plan->stage = HYPI_PLAN_MADE; /* when there is nothing to look at */
	size_t handles = hypi_handles_room(pool);
	if (handles == 0) return true;
	hypi_large_pool *large = &pool->engine.large;
	hypi_lock_take(&large->lock);
	size_t slices = large->used_slices + large->arenas;
	hypi_unlock(&large->lock);
	if (!map_plan(plan, handles, slices + slices / 8)) return memset(plan, 0, sizeof *plan), false; /* some may come */
	plan->stage = HYPI_PLAN_LOOKING;
	return true;
}

static bool is_over(uint64_t until_ns) { return until_ns != 0 && hypi_os_now_ns() >= until_ns; }

bool hypi_plan_go_on(hypi_plan *plan, hyp_pool *pool, uint64_t until_ns) {
	if (plan->stage == HYPI_PLAN_LOOKING) {
		census c = {.pool = pool, .plan = plan, .now_ms = (uint32_t)hypi_os_now_coarse_ms()};
		while (hypi_handles_walk_chunk(pool, &plan->cursor, meet, &c))
			if (is_over(until_ns)) return false;
		decide(plan, pool);
		plan->stage = HYPI_PLAN_ORDERING;
	}
	if (plan->stage == HYPI_PLAN_ORDERING) {
		enum { AT_A_TIME = 8192 };
		while (plan->order_at < plan->move_count) {
			order_moves(plan, AT_A_TIME);
			if (plan->order_at < plan->move_count && is_over(until_ns)) return false;
		}
		plan->aside = (hypi_device_block *)(void *)plan->moves; /* it has served */
		plan->aside_room = plan->room * sizeof *plan->moves / sizeof *plan->aside;
		plan->moves = plan->ordered;
		plan->move_count = plan->order_count;
		plan->stage = HYPI_PLAN_MADE;
	}
	return true;
}
