/*
 * pool/handle.c: the calls of hypool/handle.h, but for those that move a block (block.c); see pool/handle.h.
 *
 * The owner of a slot locks and unlocks with plain loads and stores; everybody else comes to the functions in _shared.
 */
#include "pool/handle.h"

#include "heap/fast.h"

#include <string.h>

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
	status = hypi_block_alloc(pool, bytes, alignment, &block);
	if (HYP_UNLIKELY(status != HYP_OK)) return status;
	hypi_slot *slot = hypi_slot_take(pool, heap);
	if (HYP_UNLIKELY(slot == NULL)) {
		hypi_block_free(pool, &block);
		return HYP_ERR_NO_MEMORY;
	}
	hypi_store_relaxed(&slot->address, block.address);
	hypi_store_relaxed(&slot->bytes, bytes);
	uint32_t now = hypi_pool_clock(pool);
	hypi_store_relaxed(&slot->record, block.record);
	hypi_store_relaxed(&slot->made_ms, now);
	hypi_store_relaxed(&slot->used_ms, now);
	hypi_store_relaxed(&slot->device, (uint16_t)device);
	hypi_store_relaxed(&slot->align_log2, (uint8_t)hypi_log2_floor(alignment));
	hypi_store_relaxed(&slot->small, block.small);
	/* The name comes first: from the state on, compaction may hold the block, and takes the name away. */
	uint64_t state = hypi_load_relaxed(&slot->state) | HYPI_SLOT_LIVE;
	hyp_handle handle = (state >> 32) << 32 | hypi_slot_no_name(hypi_load_relaxed(&slot->name));
	hypi_store_relaxed(&slot->name, handle);
	hypi_store_release(&slot->state, state); /* pairs with the acquire in lock and hold */
	*ret_handle = handle;
	return HYP_OK;
}

/* A slot that is not live and that nobody holds goes back to its heap. `mine`: the caller's, or NULL. */
static void give_slot(hypi_slot *slot, hypi_heap *heap, const hypi_heap *mine) {
	if (heap != mine) {
		hypi_slot_give_back(slot, heap);
		return;
	}
	hypi_store_relaxed(&slot->record, heap->slots);
	heap->slots = slot;
}

/* The caller is the block's one user from here on: the handle is stale for all others. */
static void retire(hyp_pool *pool, hypi_handle_chunk *chunk, hypi_slot *slot, const hypi_heap *mine) {
	hypi_device_block block = hypi_slot_block(slot);
	if (hypi_load_relaxed(&slot->state) >> 32 < UINT32_MAX) give_slot(slot, chunk->heap, mine);
	hypi_block_free(pool, &block);
}

static hyp_status free_held(hyp_pool *pool, hypi_handle_chunk *chunk, hypi_slot *slot, hyp_handle handle,
                            const hypi_heap *mine) {
	hyp_status status = hypi_slot_hold(slot, handle, mine);
	if (status != HYP_OK) return status;
	uint64_t state = hypi_load_relaxed(&slot->state);
	/* Nobody changes a held state but an unlock that is one too many, and that is refused. */
	while (!hypi_cas_weak_acq_rel(&slot->state, &state, hypi_slot_freed(state))) continue;
	retire(pool, chunk, slot, mine);
	return HYP_OK;
}

hyp_status hyp_handle_free(hyp_pool *pool, hyp_handle handle) {
	hypi_handle_chunk *chunk;
	hypi_slot *slot;
	hyp_status status = hypi_handle_find(pool, handle, &chunk, &slot);
	if (HYP_UNLIKELY(status != HYP_OK)) return status;
	hypi_heap *mine = hypi_heap_of(&pool->engine);
	if (HYP_UNLIKELY(hypi_load_relaxed(&slot->owner) != mine) || mine == NULL)
		return free_held(pool, chunk, slot, handle, mine);
	/* The owner needs no barrier: the one compare-and-swap settles it with everybody else. */
	uint64_t state = hypi_load_relaxed(&slot->state);
	do {
		if (!hypi_slot_is_live(state, handle)) return HYP_ERR_STALE;
		if (state & HYPI_SLOT_HELD) return free_held(pool, chunk, slot, handle, mine);
		if (hypi_slot_locks(slot, state) != 0) return HYP_ERR_BUSY;
	} while (!hypi_cas_weak_acq_rel(&slot->state, &state, hypi_slot_freed(state)));
	hypi_store_relaxed(&slot->name, hypi_slot_no_name(handle));
	retire(pool, chunk, slot, mine);
	return HYP_OK;
}

/* ---- lock and unlock ---- */

static HYP_NOINLINE hyp_status lock_shared(hyp_pool *pool, hyp_handle handle, void **ret_p) {
	hypi_handle_chunk *chunk;
	hypi_slot *slot;
	if (pool == NULL || ret_p == NULL) return HYP_ERR_INVALID;
	hyp_status status = hypi_handle_find(pool, handle, &chunk, &slot);
	if (status != HYP_OK) return status;
	uint64_t state = hypi_load_relaxed(&slot->state);
	for (;;) {
		if (!hypi_slot_is_live(state, handle)) return HYP_ERR_STALE;
		if (state & HYPI_SLOT_HELD) {
			hypi_os_yield();
			state = hypi_load_relaxed(&slot->state);
		} else if ((state & HYPI_SLOT_COUNT) == HYPI_SLOT_COUNT) {
			return HYP_ERR_OVERFLOW;
		} else if (hypi_cas_weak_acq_rel(&slot->state, &state, state + 1)) { /* pairs with hold and let go */
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
	hypi_handle_chunk *chunk = hypi_chunk_of(handle);
	if (HYP_UNLIKELY(chunk == NULL) || HYP_UNLIKELY(pool == NULL)) return NULL;
	if (HYP_UNLIKELY(hypi_self.pool_serial != pool->engine.serial)) return NULL;
	hypi_slot *slot = hypi_slot_in(chunk, handle);
	if (HYP_UNLIKELY(hypi_load_relaxed(&slot->owner) != hypi_self.pool_heap)) return NULL;
	return HYP_LIKELY(hypi_load_relaxed(&slot->name) == handle) ? slot : NULL;
}

HYP_CACHE_ALIGNED hyp_status hyp_handle_lock(hyp_pool *pool, hyp_handle handle, void **ret_p) {
	hypi_slot *slot = own_slot(pool, handle);
	if (HYP_LIKELY(slot != NULL) && HYP_LIKELY(ret_p != NULL)) {
		hypi_count_up(&slot->local);
		/* The processor's barrier is the other side's to make: see hold. */
		atomic_signal_fence(memory_order_seq_cst);
		if (HYP_LIKELY(hypi_load_acquire(&slot->name) == handle)) { /* pairs with hypi_slot_let_go */
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
	hyp_status status = hypi_handle_find(pool, handle, &chunk, &slot);
	if (status != HYP_OK) return status;
	uint64_t state = hypi_load_relaxed(&slot->state);
	do {
		if (!hypi_slot_is_live(state, handle)) return HYP_ERR_STALE;
		if (hypi_slot_locks(slot, state) <= 0 || (state & HYPI_SLOT_COUNT) == 0) return HYP_ERR_INVALID;
	} while (!hypi_cas_weak_acq_rel(&slot->state, &state, state - 1)); /* pairs with hold */
	return HYP_OK;
}

HYP_CACHE_ALIGNED hyp_status hyp_handle_unlock(hyp_pool *pool, hyp_handle handle) {
	hypi_slot *slot = own_slot(pool, handle);
	if (HYP_LIKELY(slot != NULL)) {
		uint32_t local = hypi_load_relaxed(&slot->local);
		int32_t others = (int32_t)(hypi_load_relaxed(&slot->state) & HYPI_SLOT_COUNT);
		if (HYP_LIKELY(others + (int32_t)local > (int32_t)HYPI_SLOT_ZERO)) {
			/* release: pairs with the acquire in hypi_slot_locks; what was written under the lock is seen by who moves it */
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
	return pool == NULL ? HYP_ERR_INVALID : hypi_handle_find(pool, handle, &chunk, &slot);
}

hyp_status hyp_handle_get_info(hyp_pool *pool, hyp_handle handle, hyp_handle_info *ret_info) {
	hypi_handle_chunk *chunk;
	hypi_slot *slot;
	if (pool == NULL || ret_info == NULL || ret_info->struct_bytes < offsetof(hyp_handle_info, device))
		return HYP_ERR_INVALID;
	hyp_status status = hypi_handle_find(pool, handle, &chunk, &slot);
	if (status != HYP_OK) return status;
	uint32_t now = hypi_pool_clock(pool);
	int64_t locks = hypi_slot_locks(slot, hypi_load_acquire(&slot->state));
	hyp_handle_info info = {
		.struct_bytes = ret_info->struct_bytes < sizeof info ? ret_info->struct_bytes : sizeof info,
		.bytes = hypi_load_relaxed(&slot->bytes),
		.usable_bytes = hypi_slot_usable_now(pool, slot, handle),
		.alignment = (size_t)1 << hypi_load_relaxed(&slot->align_log2),
		.device = hypi_load_relaxed(&slot->device),
		.small = hypi_load_relaxed(&slot->small),
		.locks = locks > 0 ? (uint32_t)locks : 0,
		.address = hypi_load_relaxed(&slot->address),
		.age_ms = now - hypi_load_relaxed(&slot->made_ms),
		.idle_ms = now - hypi_load_relaxed(&slot->used_ms),
	};
	if (!hypi_slot_is_live(hypi_load_acquire(&slot->state), handle)) return HYP_ERR_STALE; /* freed meanwhile */
	memcpy(ret_info, &info, info.struct_bytes);
	return HYP_OK;
}
