/*
 * pool/slot.c: the process's one table of slots: the records behind handles; see pool/handle.h.
 *
 * Who calls it: handle.c and block.c for one slot; cleanup, tracking and the checker for all of a pool's.
 * Locks: the engines lock for the directory and the chunks that are nobody's; the engine's for the pool's list of them.
 */
#include "pool/handle.h"

#include "core/meta.h"
#include "os/barrier.h"

_Atomic(hypi_handle_chunk *) hypi_handle_chunks[HYPI_CHUNKS];
static uint32_t chunks_made;            /* engines lock */
static hypi_handle_chunk *spare_chunks; /* engines lock */

/* ---- from handle to slot ---- */

/* The place in its chunk that a handle names. */
static uint32_t place_of(hyp_handle handle) { return (uint32_t)(handle >> HYPI_SLOT_LOG2) & (HYPI_CHUNK_SLOTS - 1); }

static hyp_handle name_of(const hypi_handle_chunk *chunk, uint32_t place, uint64_t state) {
	return (state >> 32) << 32 | chunk->id << (HYPI_SLOT_LOG2 + HYPI_CHUNK_LOG2) | place << HYPI_SLOT_LOG2;
}

hyp_status hypi_handle_find(hyp_pool *pool, hyp_handle handle, hypi_handle_chunk **ret_chunk, hypi_slot **ret_slot) {
	hypi_handle_chunk *chunk = hypi_chunk_of(handle);
	if (chunk == NULL || handle >> 32 == 0) return HYP_ERR_INVALID;
	if (handle & ((1u << HYPI_SLOT_LOG2) - 1)) return HYP_ERR_INVALID;
	/* A handle of a pool that is gone is stale; of one that is there, foreign. */
	hyp_pool *owner = hypi_load_acquire(&chunk->pool); /* pairs with the release in take_chunk */
	if (owner == NULL) return HYP_ERR_STALE;
	if (owner != pool) return HYP_ERR_FOREIGN;
	if (place_of(handle) >= hypi_load_acquire(&chunk->carved)) return HYP_ERR_INVALID;
	*ret_chunk = chunk;
	*ret_slot = hypi_slot_in(chunk, handle);
	return hypi_slot_is_live(hypi_load_relaxed(&(*ret_slot)->state), handle) ? HYP_OK : HYP_ERR_STALE;
}

hypi_slot *hypi_slot_of(hyp_handle handle) { return hypi_slot_in(hypi_chunk_of(handle), handle); }

/* ---- slots ---- */

static hypi_handle_chunk *new_chunk(void) {
	hypi_handle_chunk *chunk = NULL;
	hypi_lock_take(&hypi_engines_lock);
	if (spare_chunks != NULL) {
		chunk = spare_chunks;
		spare_chunks = chunk->next;
	} else if (chunks_made < HYPI_CHUNKS) {
		chunk = hypi_meta_alloc(sizeof *chunk);
		if (chunk != NULL) {
			chunk->id = chunks_made++;
			hypi_store_release(&hypi_handle_chunks[chunk->id], chunk); /* pairs with the acquire in hypi_chunk_of */
		}
	}
	hypi_unlock(&hypi_engines_lock);
	return chunk;
}

static bool take_chunk(hyp_pool *pool, hypi_heap *heap) {
	hypi_handle_chunk *chunk = new_chunk();
	if (chunk == NULL) return false;
	hypi_pool_state *state = hypi_pool_state_of(pool);
	chunk->heap = heap;
	hypi_store_relaxed(&chunk->carved, 0);
	hypi_lock_take(&pool->engine.lock);
	chunk->next = state->chunks;
	state->chunks = chunk;
	hypi_unlock(&pool->engine.lock);
	hypi_store_release(&chunk->pool, pool); /* pairs with the acquire in hypi_handle_find */
	heap->slot_chunk = chunk;
	return true;
}

/* A slot that was never used in this pool. Its generation goes on from the chunk's life before. */
static hypi_slot *carve(hyp_pool *pool, hypi_heap *heap) {
	for (;;) {
		hypi_handle_chunk *chunk = heap->slot_chunk;
		if (chunk == NULL || hypi_load_relaxed(&chunk->carved) == HYPI_CHUNK_SLOTS) {
			if (!take_chunk(pool, heap)) return NULL;
			continue;
		}
		uint32_t at = hypi_load_relaxed(&chunk->carved);
		hypi_slot *slot = &chunk->slots[at];
		uint64_t generation = hypi_load_relaxed(&slot->state) >> 32;
		hypi_store_relaxed(&slot->name, hypi_slot_no_name(name_of(chunk, at, 0)));
		hypi_store_relaxed(&slot->owner, hypi_os_barrier_ready() ? heap : NULL);
		hypi_store_relaxed(&slot->local, 0);
		if (generation == 0) generation = 1;
		hypi_store_relaxed(&slot->state, generation << 32 | HYPI_SLOT_ZERO);
		hypi_store_release(&chunk->carved, at + 1); /* pairs with the acquire in hypi_handle_find */
		if (generation < UINT32_MAX) return slot;
	}
}

hypi_slot *hypi_slot_take_slow(hyp_pool *pool, hypi_heap *heap) {
	if (hypi_load_relaxed(&heap->slots_back) == NULL) return carve(pool, heap);
	hypi_slot *slot =
		hypi_exchange_acquire(&heap->slots_back, NULL); /* pairs with the release in hypi_slot_give_back */
	heap->slots = hypi_load_relaxed(&slot->record);
	return slot;
}

void hypi_slot_give_back(hypi_slot *slot, hypi_heap *heap) {
	hypi_slot *top = hypi_load_relaxed(&heap->slots_back);
	do hypi_store_relaxed(&slot->record, top);
	while (!hypi_cas_weak_release(&heap->slots_back, &top, slot)); /* pairs with the acquire in hypi_slot_take_slow */
}

/* ---- all of them ---- */

static hypi_handle_chunk *first_chunk(hyp_pool *pool) {
	hypi_lock_take(&pool->engine.lock);
	hypi_handle_chunk *chunk = hypi_pool_state_of(pool)->chunks;
	hypi_unlock(&pool->engine.lock);
	return chunk;
}

/* Chunks stay with the pool, and new ones come in front. */
bool hypi_handles_walk_chunk(hyp_pool *pool, hypi_handle_cursor *cursor,
                             void (*visit)(void *context, hyp_handle handle, const hypi_slot *slot), void *context) {
	hypi_handle_chunk *chunk = cursor->begun ? cursor->chunk : first_chunk(pool);
	cursor->begun = true;
	if (chunk == NULL) return false;
	for (uint32_t i = 0, n = hypi_load_acquire(&chunk->carved); i < n; i++) {
		uint64_t state = hypi_load_acquire(&chunk->slots[i].state);
		if (state & HYPI_SLOT_LIVE) visit(context, name_of(chunk, i, state), &chunk->slots[i]);
	}
	cursor->chunk = chunk->next;
	return true;
}

void hypi_handles_walk(hyp_pool *pool, void (*visit)(void *context, hyp_handle handle, const hypi_slot *slot),
                       void *context) {
	hypi_handle_cursor cursor = {0};
	while (hypi_handles_walk_chunk(pool, &cursor, visit, context)) continue;
}

size_t hypi_handles_room(hyp_pool *pool) {
	size_t room = 0;
	for (const hypi_handle_chunk *chunk = first_chunk(pool); chunk != NULL; chunk = chunk->next)
		room += HYPI_CHUNK_SLOTS;
	return room;
}

void hypi_handles_empty(hyp_pool *pool) {
	hypi_pool_state *state = hypi_pool_state_of(pool);
	bool device = !hypi_pool_is_host(pool);
	hypi_handle_chunk *next;
	for (hypi_handle_chunk *chunk = state->chunks; chunk != NULL; chunk = next) {
		next = chunk->next;
		for (uint32_t i = 0; i < hypi_load_relaxed(&chunk->carved); i++) {
			hypi_slot *slot = &chunk->slots[i];
			uint64_t now = hypi_load_relaxed(&slot->state);
			if ((now & HYPI_SLOT_LIVE) == 0) continue;
			hypi_device_block block = hypi_slot_block(slot);
			if (device) hypi_device_free(pool, &block); /* the host's go with their spans */
			hypi_store_relaxed(&slot->name, hypi_slot_no_name(name_of(chunk, i, 0)));
			hypi_store_release(&slot->state, hypi_slot_freed(now)); /* pairs with the acquire in lock */
		}
		hypi_store_release(&chunk->pool, NULL); /* pairs with the acquire in hypi_handle_find */
		chunk->heap = NULL;
		hypi_lock_take(&hypi_engines_lock);
		chunk->next = spare_chunks;
		spare_chunks = chunk;
		hypi_unlock(&hypi_engines_lock);
	}
	state->chunks = NULL;
}

static const char *check_slot(hyp_pool *pool, const hypi_handle_chunk *chunk, uint32_t i) {
	const hypi_slot *slot = &chunk->slots[i];
	uint64_t state = hypi_load_relaxed(&((hypi_slot *)(uintptr_t)slot)->state);
	uint64_t name = hypi_load_relaxed(&((hypi_slot *)(uintptr_t)slot)->name);
	bool live = (state & HYPI_SLOT_LIVE) != 0;
	if (name != (live ? name_of(chunk, i, state) : hypi_slot_no_name(name_of(chunk, i, 0))))
		return "a slot has another's name";
	if (state >> 32 == 0) return "a slot has no generation";
	if (state & HYPI_SLOT_HELD) return "a slot is held by nobody";
	int64_t locks = hypi_slot_locks(slot, state);
	if (!live) return locks == 0 ? NULL : "a free slot is locked";
	if (locks < 0) return "a slot has fewer than no locks";
	uintptr_t address = hypi_load_relaxed(&((hypi_slot *)(uintptr_t)slot)->address);
	if (address & (((uintptr_t)1 << hypi_load_relaxed(&((hypi_slot *)(uintptr_t)slot)->align_log2)) - 1))
		return "a block is not aligned as its handle says";
	size_t usable = hypi_slot_usable(pool, slot);
	if (usable < hypi_load_relaxed(&((hypi_slot *)(uintptr_t)slot)->bytes))
		return "a block is smaller than its handle says";
	if (!hypi_pool_is_host(pool)) return NULL;
	if (hyp_pool_of((void *)address) != pool) return "a handle's block is not of its pool";
	/* A block that the sampler picked may be larger. */
	if (hypi_span_at((void *)address)->block_bytes < usable) return "a handle takes its block for larger than it is";
	return NULL;
}

const char *hypi_handles_check(hyp_pool *pool) {
	for (hypi_handle_chunk *chunk = hypi_pool_state_of(pool)->chunks; chunk != NULL; chunk = chunk->next) {
		if (hypi_load_relaxed(&chunk->pool) != pool) return "a chunk of handles is in another pool's list";
		for (uint32_t i = 0; i < hypi_load_relaxed(&chunk->carved); i++) {
			const char *wrong = check_slot(pool, chunk, i);
			if (wrong != NULL) return wrong;
		}
	}
	return NULL;
}
