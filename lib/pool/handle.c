/*
 * pool/handle.c: see pool/handle.h. The directory of chunks is read without a lock: an entry is NULL or a chunk for good.
 *
 * Locks: the engines lock for the directory and the chunks that are nobody's; the engine's for the pool's list of them.
 */
#include "pool/handle.h"

#include "core/meta.h"
#include "heap/fast.h"
#include "heap/harden.h"
#include "os/barrier.h"

#include <errno.h>
#include <string.h>

static _Atomic(hypi_handle_chunk *) directory[HYPI_CHUNKS];
static uint32_t directory_used;         /* engines lock */
static hypi_handle_chunk *spare_chunks; /* engines lock */

/* ---- reading a handle ---- */

static uint64_t generation_of(hyp_handle handle) { return handle >> 32; }
static bool is_live(uint64_t state, hyp_handle handle) {
	return (state & HYPI_SLOT_LIVE) != 0 && state >> 32 == generation_of(handle);
}

HYP_INLINE hypi_handle_chunk *chunk_of(hyp_handle handle) {
	/* acquire: pairs with the release in new_chunk */
	return hypi_load_acquire(&directory[(uint32_t)handle >> (HYPI_SLOT_LOG2 + HYPI_CHUNK_LOG2)]);
}

HYP_INLINE hypi_slot *slot_in(hypi_handle_chunk *chunk, hyp_handle handle) {
	return (hypi_slot *)((char *)chunk->slots + (handle & ((HYPI_CHUNK_SLOTS - 1) << HYPI_SLOT_LOG2)));
}

/* The place in its chunk that a handle names. */
static uint32_t place_of(hyp_handle handle) { return (uint32_t)(handle >> HYPI_SLOT_LOG2) & (HYPI_CHUNK_SLOTS - 1); }

static hyp_handle name_of(const hypi_handle_chunk *chunk, uint32_t place, uint64_t state) {
	return (state >> 32) << 32 | chunk->id << (HYPI_SLOT_LOG2 + HYPI_CHUNK_LOG2) | place << HYPI_SLOT_LOG2;
}

hypi_slot *hypi_slot_of(hyp_handle handle) { return slot_in(chunk_of(handle), handle); }

/* What is wrong with a handle that is not a live one of the pool; HYP_OK: nothing. */
static hyp_status look_up(hyp_pool *pool, hyp_handle handle, hypi_handle_chunk **ret_chunk, hypi_slot **ret_slot) {
	hypi_handle_chunk *chunk = chunk_of(handle);
	if (chunk == NULL || generation_of(handle) == 0) return HYP_ERR_INVALID;
	if (handle & ((1u << HYPI_SLOT_LOG2) - 1)) return HYP_ERR_INVALID;
	/* A handle of a pool that is gone is stale; of one that is there, foreign. */
	hyp_pool *owner = hypi_load_acquire(&chunk->pool); /* pairs with the release in take_chunk */
	if (owner == NULL) return HYP_ERR_STALE;
	if (owner != pool) return HYP_ERR_FOREIGN;
	if (place_of(handle) >= hypi_load_acquire(&chunk->carved)) return HYP_ERR_INVALID;
	*ret_chunk = chunk;
	*ret_slot = slot_in(chunk, handle);
	return is_live(hypi_load_relaxed(&(*ret_slot)->state), handle) ? HYP_OK : HYP_ERR_STALE;
}

/* Locks on the block, the owner's and the others'. */
static int64_t locks_of(const hypi_slot *slot, uint64_t state) {
	/* acquire: pairs with the owner's release in unlock */
	int32_t local = (int32_t)hypi_load_acquire(&((hypi_slot *)(uintptr_t)slot)->local);
	return (int64_t)(state & HYPI_SLOT_COUNT) - (int64_t)HYPI_SLOT_ZERO + local;
}

/* ---- slots ---- */

static hypi_handle_chunk *new_chunk(void) {
	hypi_handle_chunk *chunk = NULL;
	hypi_lock_take(&hypi_engines_lock);
	if (spare_chunks != NULL) {
		chunk = spare_chunks;
		spare_chunks = chunk->next;
	} else if (directory_used < HYPI_CHUNKS) {
		chunk = hypi_meta_alloc(sizeof *chunk);
		if (chunk != NULL) {
			chunk->id = directory_used++;
			hypi_store_release(&directory[chunk->id], chunk); /* pairs with the acquire in chunk_of */
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
	hypi_store_release(&chunk->pool, pool); /* pairs with the acquire in look_up */
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
		hypi_store_relaxed(&slot->name, name_of(chunk, at, 0));
		hypi_store_relaxed(&slot->owner, hypi_os_barrier_ready() ? heap : NULL);
		hypi_store_relaxed(&slot->local, 0);
		if (generation == 0) generation = 1;
		hypi_store_relaxed(&slot->state, generation << 32 | HYPI_SLOT_ZERO);
		hypi_store_release(&chunk->carved, at + 1); /* pairs with the acquire in look_up */
		if (generation < UINT32_MAX) return slot;
	}
}

static hypi_slot *take_slot(hyp_pool *pool, hypi_heap *heap) {
	if (HYP_UNLIKELY(heap->slots == NULL) && hypi_load_relaxed(&heap->slots_back) != NULL)
		heap->slots = hypi_exchange_acquire(&heap->slots_back, NULL); /* pairs with the release in give_slot */
	hypi_slot *slot = heap->slots;
	if (HYP_UNLIKELY(slot == NULL)) return carve(pool, heap);
	heap->slots = hypi_load_relaxed(&slot->record);
	return slot;
}

/* A slot that is not live and that nobody holds goes back to its heap. `mine`: the caller's, or NULL. */
static void give_slot(hypi_slot *slot, hypi_heap *heap, const hypi_heap *mine) {
	if (heap == mine) {
		hypi_store_relaxed(&slot->record, heap->slots);
		heap->slots = slot;
		return;
	}
	hypi_slot *top = hypi_load_relaxed(&heap->slots_back);
	do hypi_store_relaxed(&slot->record, top);
	while (!hypi_cas_weak_release(&heap->slots_back, &top, slot)); /* pairs with the acquire in take_slot */
}

/* ---- holding: nobody has the block locked, and nobody can lock it until it is let go ---- */

/* release: pairs with the acquire of whoever locks next; the block's new address comes before its name. */
static void let_go(hypi_slot *slot, hyp_handle handle) {
	hypi_store_release(&slot->name, handle);
	atomic_fetch_and_explicit(&slot->state, ~HYPI_SLOT_HELD, memory_order_release);
}

static hyp_status hold(hypi_slot *slot, hyp_handle handle, const hypi_heap *mine) {
	uint64_t state = hypi_load_relaxed(&slot->state);
	for (;;) {
		if (!is_live(state, handle)) return HYP_ERR_STALE;
		if (state & HYPI_SLOT_HELD) {
			hypi_os_yield();
			state = hypi_load_relaxed(&slot->state);
			continue;
		}
		if (locks_of(slot, state) != 0) return HYP_ERR_BUSY;
		/* Pairs with let_go, and with the compare-and-swaps of lock and unlock. */
		if (hypi_cas_weak_acq_rel(&slot->state, &state, state | HYPI_SLOT_HELD)) break;
	}
	hypi_store_relaxed(&slot->name, (uint32_t)handle);
	const hypi_heap *owner = hypi_load_relaxed(&slot->owner);
	bool barred = owner == NULL || owner == mine || hypi_os_barrier();
	state = hypi_load_acquire(&slot->state);
	if (barred && locks_of(slot, state) == 0) return HYP_OK;
	let_go(slot, handle);
	return barred ? HYP_ERR_BUSY : HYP_ERR_OS;
}

/* ---- blocks ---- */

static uint32_t clock_now(hyp_pool *pool) {
	uint32_t now = (uint32_t)hypi_os_now_coarse_ms();
	hypi_store_relaxed(&pool->engine.clock_ms, now);
	return now;
}

/* Why the host pool gave no block: a span of its class, or its slices, would not fit under the limit; or it would. */
static hyp_status why_not(hyp_pool *pool, size_t bytes, size_t alignment) {
	hypi_large_pool *large = &pool->engine.large;
	unsigned c = hypi_pool_class_of(pool, bytes, alignment);
	size_t slices = c < HYPI_CLASSES ? hypi_class_slices(c) : hypi_slices_of(bytes);
	hypi_lock_take(&large->lock);
	size_t small = large->small_slices, used = large->used_slices - small, huge = large->huge_bytes;
	hypi_unlock(&large->lock);
	size_t limit = c < HYPI_CLASSES ? large->small_limit_bytes : large->limit_bytes;
	size_t after = c < HYPI_CLASSES ? (small + slices) << HYPI_SLICE_LOG2 : ((used + slices) << HYPI_SLICE_LOG2) + huge;
	return limit != 0 && after > limit ? HYP_ERR_LIMIT : HYP_ERR_NO_MEMORY;
}

static hyp_status block_alloc(hyp_pool *pool, size_t bytes, size_t alignment, hypi_device_block *ret_block) {
	if (!hypi_pool_is_host(pool)) {
		for (unsigned stage = 0;;) {
			hyp_status status = hypi_device_alloc(pool, bytes, alignment, ret_block);
			if (status == HYP_OK || !hypi_pool_make_room(pool, bytes, &stage)) return status;
		}
	}
	void *p = alignment <= 16 ? hyp_pool_malloc(pool, bytes) : hypi_pool_alloc(pool, bytes, alignment, false);
	if (p == NULL) return why_not(pool, bytes, alignment);
	ret_block->address = (uintptr_t)p;
	ret_block->record = NULL;
	ret_block->small = alignment <= 16 ? bytes < pool->engine.threshold_bytes
	                                   : hypi_pool_class_of(pool, bytes, alignment) < HYPI_CLASSES;
	return HYP_OK;
}

/* It follows from the request, or was noted when the request changed under it: a query must not follow the block to its
 * span, which may be gone by then. */
size_t hypi_handle_host_usable(const hyp_pool *pool, hypi_slot *slot) {
	size_t bytes = hypi_load_acquire(&slot->bytes); /* pairs with the release in hyp_handle_realloc */
	size_t noted = (uintptr_t)hypi_load_relaxed(&slot->record);
	if (noted != 0) return noted;
	if (hypi_hardens(&pool->engine)) return bytes; /* the canary stands behind it */
	unsigned c = hypi_pool_class_of(pool, bytes, (size_t)1 << hypi_load_relaxed(&slot->align_log2));
	return c < HYPI_CLASSES ? hypi_class_bytes(c) : hypi_round_up(bytes == 0 ? 1 : bytes, hypi_os.page_bytes);
}

/* The caller holds the block, or nobody else uses the pool. */
static size_t usable_bytes(hyp_pool *pool, const hypi_slot *slot) {
	hypi_slot *s = (hypi_slot *)(uintptr_t)slot;
	if (hypi_pool_is_host(pool)) return hypi_handle_host_usable(pool, s);
	return hypi_device_usable(hypi_load_relaxed(&s->record), hypi_load_relaxed(&s->small));
}

static hypi_device_block block_of(const hypi_slot *slot) {
	hypi_slot *s = (hypi_slot *)(uintptr_t)slot;
	return (hypi_device_block){.address = hypi_load_relaxed(&s->address),
	                           .record = hypi_load_relaxed(&s->record),
	                           .small = hypi_load_relaxed(&s->small)};
}

bool hypi_handle_look(hyp_pool *pool, hyp_handle handle, void (*visit)(void *context, const hypi_device_block *block),
                      void *context) {
	hypi_slot *slot = hypi_slot_of(handle);
	for (;;) {
		/* Whoever gives a block's record back takes one of the two after the handle was made to name it no longer. */
		hypi_lock_take(&pool->engine.lock);
		hypi_lock_take(&pool->engine.large.lock);
		uint64_t state = hypi_load_acquire(&slot->state); /* pairs with let_go */
		bool live = is_live(state, handle), held = (state & HYPI_SLOT_HELD) != 0;
		hypi_device_block block = block_of(slot);
		if (live && !held) visit(context, &block);
		hypi_unlock(&pool->engine.large.lock);
		hypi_unlock(&pool->engine.lock);
		if (!live || !held) return live;
		hypi_os_yield();
	}
}

static void see_usable(void *context, const hypi_device_block *block) {
	*(size_t *)context = hypi_device_usable(block->record, block->small);
}

/* The same while others may free, resize or move it; 0: it is gone. */
static size_t usable_now(hyp_pool *pool, hypi_slot *slot, hyp_handle handle) {
	if (hypi_pool_is_host(pool)) return hypi_handle_host_usable(pool, slot);
	size_t bytes = 0;
	hypi_handle_look(pool, handle, see_usable, &bytes);
	return bytes;
}

static void block_free(hyp_pool *pool, const hypi_device_block *block) {
	if (hypi_pool_is_host(pool)) hyp_pool_free(pool, (void *)block->address);
	else hypi_device_free(pool, block);
}

/* ---- alloc and free ---- */

static hyp_status check_request(hyp_pool *pool, size_t bytes, size_t *alignment, int *device, const void *ret_handle) {
	if (pool == NULL || ret_handle == NULL) return HYP_ERR_INVALID;
	if (*alignment == 0) *alignment = 16;
	if (!hypi_is_pow2(*alignment)) return HYP_ERR_INVALID;
	int own = pool->engine.large.backing.device;
	if (*device == -1) *device = own;
	if (*device != own) return HYP_ERR_DEVICE;
	return bytes > PTRDIFF_MAX ? HYP_ERR_NO_MEMORY : HYP_OK;
}

hyp_status hyp_handle_alloc(hyp_pool *pool, size_t bytes, size_t alignment, int device, hyp_handle *ret_handle) {
	hyp_status status = check_request(pool, bytes, &alignment, &device, ret_handle);
	if (HYP_UNLIKELY(status != HYP_OK)) return status;
	hypi_heap *heap =
		HYP_LIKELY(hypi_self.pool_serial == pool->engine.serial) ? hypi_self.pool_heap : hypi_heap_for(&pool->engine);
	if (HYP_UNLIKELY(heap == NULL)) return HYP_ERR_NO_MEMORY;
	hypi_device_block block;
	status = block_alloc(pool, bytes, alignment, &block);
	if (HYP_UNLIKELY(status != HYP_OK)) return status;
	hypi_slot *slot = take_slot(pool, heap);
	if (HYP_UNLIKELY(slot == NULL)) {
		block_free(pool, &block);
		return HYP_ERR_NO_MEMORY;
	}
	hypi_store_relaxed(&slot->address, block.address);
	hypi_store_relaxed(&slot->bytes, bytes);
	uint32_t now = clock_now(pool);
	hypi_store_relaxed(&slot->record, block.record);
	hypi_store_relaxed(&slot->made_ms, now);
	hypi_store_relaxed(&slot->used_ms, now);
	hypi_store_relaxed(&slot->device, (uint16_t)device);
	hypi_store_relaxed(&slot->align_log2, (uint8_t)hypi_log2_floor(alignment));
	hypi_store_relaxed(&slot->small, block.small);
	uint64_t state = hypi_load_relaxed(&slot->state) | HYPI_SLOT_LIVE;
	hypi_store_release(&slot->state, state); /* pairs with the acquire in lock and hold */
	hyp_handle handle = (state >> 32) << 32 | (uint32_t)hypi_load_relaxed(&slot->name);
	hypi_store_relaxed(&slot->name, handle);
	*ret_handle = handle;
	return HYP_OK;
}

/* The caller is the block's one user from here on: the handle is stale for all others. */
static void retire(hyp_pool *pool, hypi_handle_chunk *chunk, hypi_slot *slot, const hypi_heap *mine) {
	hypi_device_block block = block_of(slot);
	if (hypi_load_relaxed(&slot->state) >> 32 < UINT32_MAX) give_slot(slot, chunk->heap, mine);
	block_free(pool, &block);
}

/* The state of a slot whose block is freed: one generation on; the count of locks stays, so that with `local` it adds up
 * to none. The last generation is never given out: retire and carve see to that. */
static uint64_t freed_state(uint64_t state) {
	return (state & ~(HYPI_SLOT_LIVE | HYPI_SLOT_HELD)) + (UINT64_C(1) << 32);
}

static hyp_status free_held(hyp_pool *pool, hypi_handle_chunk *chunk, hypi_slot *slot, hyp_handle handle,
                            const hypi_heap *mine) {
	hyp_status status = hold(slot, handle, mine);
	if (status != HYP_OK) return status;
	uint64_t state = hypi_load_relaxed(&slot->state);
	/* Nobody changes a held state but an unlock that is one too many, and that is refused. */
	while (!hypi_cas_weak_acq_rel(&slot->state, &state, freed_state(state))) continue;
	retire(pool, chunk, slot, mine);
	return HYP_OK;
}

hyp_status hyp_handle_free(hyp_pool *pool, hyp_handle handle) {
	hypi_handle_chunk *chunk;
	hypi_slot *slot;
	hyp_status status = look_up(pool, handle, &chunk, &slot);
	if (HYP_UNLIKELY(status != HYP_OK)) return status;
	hypi_heap *mine = hypi_heap_of(&pool->engine);
	if (HYP_UNLIKELY(hypi_load_relaxed(&slot->owner) != mine) || mine == NULL)
		return free_held(pool, chunk, slot, handle, mine);
	/* The owner needs no barrier: the one compare-and-swap settles it with everybody else. */
	uint64_t state = hypi_load_relaxed(&slot->state);
	do {
		if (!is_live(state, handle)) return HYP_ERR_STALE;
		if (state & HYPI_SLOT_HELD) return free_held(pool, chunk, slot, handle, mine);
		if (locks_of(slot, state) != 0) return HYP_ERR_BUSY;
	} while (!hypi_cas_weak_acq_rel(&slot->state, &state, freed_state(state)));
	hypi_store_relaxed(&slot->name, (uint32_t)handle);
	retire(pool, chunk, slot, mine);
	return HYP_OK;
}

/* ---- lock and unlock ---- */

static HYP_NOINLINE hyp_status lock_shared(hyp_pool *pool, hyp_handle handle, void **ret_p) {
	hypi_handle_chunk *chunk;
	hypi_slot *slot;
	if (pool == NULL || ret_p == NULL) return HYP_ERR_INVALID;
	hyp_status status = look_up(pool, handle, &chunk, &slot);
	if (status != HYP_OK) return status;
	uint64_t state = hypi_load_relaxed(&slot->state);
	for (;;) {
		if (!is_live(state, handle)) return HYP_ERR_STALE;
		if (state & HYPI_SLOT_HELD) {
			hypi_os_yield();
			state = hypi_load_relaxed(&slot->state);
		} else if ((state & HYPI_SLOT_COUNT) == HYPI_SLOT_COUNT) {
			return HYP_ERR_OVERFLOW;
		} else if (hypi_cas_weak_acq_rel(&slot->state, &state, state + 1)) { /* pairs with hold and let_go */
			break;
		}
	}
	hypi_store_relaxed(&slot->used_ms, hypi_load_relaxed(&pool->engine.clock_ms));
	*ret_p = (void *)hypi_load_relaxed(&slot->address);
	return HYP_OK;
}

/* The slot of a handle when it is live, of `pool`, not held, and the caller is its owner; else NULL. The serial says that
 * the caller's heap is of this pool, and so is a slot that the heap owns. */
HYP_INLINE hypi_slot *own_slot(const hyp_pool *pool, hyp_handle handle) {
	hypi_handle_chunk *chunk = chunk_of(handle);
	if (HYP_UNLIKELY(chunk == NULL) || HYP_UNLIKELY(pool == NULL)) return NULL;
	if (HYP_UNLIKELY(hypi_self.pool_serial != pool->engine.serial)) return NULL;
	hypi_slot *slot = slot_in(chunk, handle);
	if (HYP_UNLIKELY(hypi_load_relaxed(&slot->owner) != hypi_self.pool_heap)) return NULL;
	return HYP_LIKELY(hypi_load_relaxed(&slot->name) == handle) ? slot : NULL;
}

HYP_CACHE_ALIGNED hyp_status hyp_handle_lock(hyp_pool *pool, hyp_handle handle, void **ret_p) {
	hypi_slot *slot = own_slot(pool, handle);
	if (HYP_LIKELY(slot != NULL) && HYP_LIKELY(ret_p != NULL)) {
		hypi_count_up(&slot->local);
		/* The processor's barrier is the other side's to make: see hold. */
		atomic_signal_fence(memory_order_seq_cst);
		if (HYP_LIKELY(hypi_load_acquire(&slot->name) == handle)) { /* pairs with let_go */
			hypi_store_relaxed(&slot->used_ms, hypi_load_relaxed(&pool->engine.clock_ms));
			*ret_p = (void *)hypi_load_relaxed(&slot->address);
			return HYP_OK;
		}
		hypi_store_release(&slot->local, hypi_load_relaxed(&slot->local) - 1);
	}
	return lock_shared(pool, handle, ret_p);
}

static HYP_NOINLINE hyp_status unlock_shared(hyp_pool *pool, hyp_handle handle) {
	hypi_handle_chunk *chunk;
	hypi_slot *slot;
	if (pool == NULL) return HYP_ERR_INVALID;
	hyp_status status = look_up(pool, handle, &chunk, &slot);
	if (status != HYP_OK) return status;
	uint64_t state = hypi_load_relaxed(&slot->state);
	do {
		if (!is_live(state, handle)) return HYP_ERR_STALE;
		if (locks_of(slot, state) <= 0 || (state & HYPI_SLOT_COUNT) == 0) return HYP_ERR_INVALID;
	} while (!hypi_cas_weak_acq_rel(&slot->state, &state, state - 1)); /* pairs with hold */
	return HYP_OK;
}

HYP_CACHE_ALIGNED hyp_status hyp_handle_unlock(hyp_pool *pool, hyp_handle handle) {
	hypi_slot *slot = own_slot(pool, handle);
	if (HYP_LIKELY(slot != NULL)) {
		uint32_t local = hypi_load_relaxed(&slot->local);
		int32_t others = (int32_t)(hypi_load_relaxed(&slot->state) & HYPI_SLOT_COUNT);
		if (HYP_LIKELY(others + (int32_t)local > (int32_t)HYPI_SLOT_ZERO)) {
			/* release: pairs with the acquire in locks_of; what was written under the lock is seen by who moves it */
			hypi_store_release(&slot->local, local - 1);
			return HYP_OK;
		}
	}
	return unlock_shared(pool, handle);
}

/* ---- questions ---- */

hyp_status hyp_handle_validate(hyp_pool *pool, hyp_handle handle) {
	hypi_handle_chunk *chunk;
	hypi_slot *slot;
	return pool == NULL ? HYP_ERR_INVALID : look_up(pool, handle, &chunk, &slot);
}

hyp_status hyp_handle_get_info(hyp_pool *pool, hyp_handle handle, hyp_handle_info *ret_info) {
	hypi_handle_chunk *chunk;
	hypi_slot *slot;
	if (pool == NULL || ret_info == NULL || ret_info->struct_bytes < offsetof(hyp_handle_info, device))
		return HYP_ERR_INVALID;
	hyp_status status = look_up(pool, handle, &chunk, &slot);
	if (status != HYP_OK) return status;
	uint32_t now = clock_now(pool);
	int64_t locks = locks_of(slot, hypi_load_acquire(&slot->state));
	hyp_handle_info info = {
		.struct_bytes = ret_info->struct_bytes < sizeof info ? ret_info->struct_bytes : sizeof info,
		.bytes = hypi_load_relaxed(&slot->bytes),
		.usable_bytes = usable_now(pool, slot, handle),
		.alignment = (size_t)1 << hypi_load_relaxed(&slot->align_log2),
		.device = hypi_load_relaxed(&slot->device),
		.small = hypi_load_relaxed(&slot->small),
		.locks = locks > 0 ? (uint32_t)locks : 0,
		.address = hypi_load_relaxed(&slot->address),
		.age_ms = now - hypi_load_relaxed(&slot->made_ms),
		.idle_ms = now - hypi_load_relaxed(&slot->used_ms),
	};
	if (!is_live(hypi_load_acquire(&slot->state), handle)) return HYP_ERR_STALE; /* freed meanwhile */
	memcpy(ret_info, &info, info.struct_bytes);
	return HYP_OK;
}

/* ---- moving ---- */

static void set_block(hypi_slot *slot, const hypi_device_block *block) {
	hypi_store_relaxed(&slot->address, block->address);
	hypi_store_relaxed(&slot->record, block->record);
	hypi_store_relaxed(&slot->small, block->small);
}

bool hypi_handles_move(const hyp_pool *pool) {
	return hypi_pool_is_host(pool) || pool->engine.large.backing.copy != NULL;
}

static hyp_status copy(hyp_pool *pool, uintptr_t to, uintptr_t from, size_t bytes) {
	const hyp_backing *backing = &pool->engine.large.backing;
	if (!hypi_pool_is_host(pool)) return bytes == 0 ? HYP_OK : backing->copy(backing->context, to, from, bytes);
	memcpy((void *)to, (void *)from, bytes);
	return HYP_OK;
}

/* To a new block of `bytes`; it is made before anything is held: making it may call the user. `same`: the size must not
 * have changed meanwhile. */
static hyp_status move_to_size(hyp_pool *pool, hypi_slot *slot, hyp_handle handle, size_t bytes, bool same) {
	size_t alignment = (size_t)1 << hypi_load_relaxed(&slot->align_log2);
	if (!hypi_handles_move(pool)) return HYP_ERR_UNSUPPORTED;
	hypi_device_block fresh;
	hyp_status status = block_alloc(pool, bytes, alignment, &fresh);
	if (status != HYP_OK) return status;
	status = hold(slot, handle, hypi_heap_of(&pool->engine));
	if (status == HYP_OK) {
		size_t have = hypi_load_relaxed(&slot->bytes);
		hypi_device_block old = block_of(slot);
		if (same && have != bytes) status = HYP_ERR_BUSY;
		else status = copy(pool, fresh.address, old.address, have < bytes ? have : bytes);
		if (status == HYP_OK) {
			set_block(slot, &fresh);
			hypi_store_relaxed(&slot->bytes, bytes);
			fresh = old;
		}
		let_go(slot, handle);
	}
	block_free(pool, &fresh);
	return status;
}

hyp_status hypi_handle_put_in(hyp_pool *pool, hyp_handle handle, size_t bytes, hypi_device_block *block,
                              uint64_t *ret_ns) {
	hypi_handle_chunk *chunk;
	hypi_slot *slot;
	hyp_status status = look_up(pool, handle, &chunk, &slot);
	if (status != HYP_OK) return status;
	if (!hypi_handles_move(pool)) return HYP_ERR_UNSUPPORTED;
	uint64_t from_ns = hypi_os_now_ns();
	status = hold(slot, handle, hypi_heap_of(&pool->engine));
	if (status != HYP_OK) return status;
	hypi_device_block old = block_of(slot);
	if (hypi_load_relaxed(&slot->bytes) != bytes) status = HYP_ERR_BUSY;
	else status = copy(pool, block->address, old.address, bytes);
	if (status == HYP_OK) {
		set_block(slot, block);
		*block = old;
	}
	let_go(slot, handle);
	*ret_ns = hypi_os_now_ns() - from_ns;
	if (status == HYP_OK) hypi_add_relaxed(&hypi_pool_state_of(pool)->moves, 1);
	return status;
}

hyp_status hypi_handle_move(hyp_pool *pool, hyp_handle handle) {
	hypi_handle_chunk *chunk;
	hypi_slot *slot;
	hyp_status status = look_up(pool, handle, &chunk, &slot);
	if (status != HYP_OK) return status;
	status = move_to_size(pool, slot, handle, hypi_load_relaxed(&slot->bytes), true);
	if (status == HYP_OK) hypi_add_relaxed(&hypi_pool_state_of(pool)->moves, 1);
	return status;
}

hyp_status hyp_handle_realloc(hyp_pool *pool, hyp_handle handle, size_t bytes) {
	hypi_handle_chunk *chunk;
	hypi_slot *slot;
	if (pool == NULL || bytes > PTRDIFF_MAX) return HYP_ERR_INVALID;
	hyp_status status = look_up(pool, handle, &chunk, &slot);
	if (status != HYP_OK) return status;
	status = hold(slot, handle, hypi_heap_of(&pool->engine));
	if (status != HYP_OK) return status;
	clock_now(pool);
	size_t usable = usable_bytes(pool, slot);
	bool host = hypi_pool_is_host(pool);
	bool fits = bytes <= usable && (bytes > usable / 2 || usable <= 32 || !host) && !hypi_hardens(&pool->engine);
	if (fits && host) hypi_store_relaxed(&slot->record, (void *)(uintptr_t)usable);
	if (fits) hypi_store_release(&slot->bytes, bytes); /* pairs with the acquire in hypi_handle_host_usable */
	let_go(slot, handle);
	return fits ? HYP_OK : move_to_size(pool, slot, handle, bytes, false);
}

/* ---- all of them ---- */

void hypi_handles_walk(hyp_pool *pool, void (*visit)(void *context, hyp_handle handle, const hypi_slot *slot),
                       void *context) {
	hypi_lock_take(&pool->engine.lock);
	hypi_handle_chunk *chunk = hypi_pool_state_of(pool)->chunks;
	hypi_unlock(&pool->engine.lock);
	/* Chunks stay with the pool, and new ones come in front. */
	for (; chunk != NULL; chunk = chunk->next)
		for (uint32_t i = 0, n = hypi_load_acquire(&chunk->carved); i < n; i++) {
			const hypi_slot *slot = &chunk->slots[i];
			uint64_t state = hypi_load_acquire(&chunk->slots[i].state);
			if (state & HYPI_SLOT_LIVE) visit(context, name_of(chunk, i, state), slot);
		}
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
			hypi_device_block block = block_of(slot);
			if (device) hypi_device_free(pool, &block); /* the host's go with their spans */
			hypi_store_relaxed(&slot->name, name_of(chunk, i, 0));
			hypi_store_release(&slot->state, freed_state(now)); /* pairs with the acquire in lock */
		}
		hypi_store_release(&chunk->pool, NULL); /* pairs with the acquire in look_up */
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
	if (name != name_of(chunk, i, (state & HYPI_SLOT_LIVE) != 0 ? state : 0)) return "a slot has another's name";
	if (state >> 32 == 0) return "a slot has no generation";
	if (state & HYPI_SLOT_HELD) return "a slot is held by nobody";
	int64_t locks = locks_of(slot, state);
	if ((state & HYPI_SLOT_LIVE) == 0) return locks == 0 ? NULL : "a free slot is locked";
	if (locks < 0) return "a slot has fewer than no locks";
	uintptr_t address = hypi_load_relaxed(&((hypi_slot *)(uintptr_t)slot)->address);
	if (address & (((uintptr_t)1 << hypi_load_relaxed(&((hypi_slot *)(uintptr_t)slot)->align_log2)) - 1))
		return "a block is not aligned as its handle says";
	size_t usable = usable_bytes(pool, slot);
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
