/*
 * pool/block.c: the blocks behind handles: making, measuring, holding and moving them; see pool/handle.h.
 *
 * Who calls it: handle.c, and compaction. A block that is held is nobody else's until it is let go; what makes or frees
 * blocks is never called while one is held, since it may call the program.
 */
#include "pool/handle.h"

#include "heap/harden.h"
#include "os/barrier.h"

#include <errno.h>
#include <string.h>

/* ---- blocks ---- */

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

hyp_status hypi_block_alloc(hyp_pool *pool, size_t bytes, size_t alignment, hypi_device_block *ret_block) {
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
	return c < HYPI_CLASSES ? hypi_class_block_bytes(c) : hypi_round_up(bytes == 0 ? 1 : bytes, hypi_os.page_bytes);
}

size_t hypi_slot_usable(hyp_pool *pool, const hypi_slot *slot) {
	hypi_slot *s = (hypi_slot *)(uintptr_t)slot;
	if (hypi_pool_is_host(pool)) return hypi_handle_host_usable(pool, s);
	return hypi_device_usable(hypi_load_relaxed(&s->record), hypi_load_relaxed(&s->small));
}

bool hypi_handle_look(hyp_pool *pool, hyp_handle handle, void (*visit)(void *context, const hypi_device_block *block),
                      void *context) {
	hypi_slot *slot = hypi_slot_of(handle);
	for (;;) {
		/* Whoever gives a block's record back takes one of the two after the handle was made to name it no longer. */
		hypi_lock_take(&pool->engine.lock);
		hypi_lock_take(&pool->engine.large.lock);
		uint64_t state = hypi_load_acquire(&slot->state); /* pairs with hypi_slot_let_go */
		bool live = hypi_slot_is_live(state, handle), held = (state & HYPI_SLOT_HELD) != 0;
		hypi_device_block block = hypi_slot_block(slot);
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

size_t hypi_slot_usable_now(hyp_pool *pool, hypi_slot *slot, hyp_handle handle) {
	if (hypi_pool_is_host(pool)) return hypi_handle_host_usable(pool, slot);
	size_t bytes = 0;
	hypi_handle_look(pool, handle, see_usable, &bytes);
	return bytes;
}

void hypi_block_free(hyp_pool *pool, const hypi_device_block *block) {
	if (hypi_pool_is_host(pool)) hyp_pool_free(pool, (void *)block->address);
	else hypi_device_free(pool, block);
}

/* ---- holding ---- */

/* release: pairs with the acquire of whoever locks next; the block's new address comes before its name. */
void hypi_slot_let_go(hypi_slot *slot, hyp_handle handle) {
	hypi_store_release(&slot->name, handle);
	atomic_fetch_and_explicit(&slot->state, ~HYPI_SLOT_HELD, memory_order_release);
}

hyp_status hypi_slot_hold(hypi_slot *slot, hyp_handle handle, const hypi_heap *mine) {
	uint64_t state = hypi_load_relaxed(&slot->state);
	for (;;) {
		if (!hypi_slot_is_live(state, handle)) return HYP_ERR_STALE;
		if (state & HYPI_SLOT_HELD) {
			hypi_os_yield();
			state = hypi_load_relaxed(&slot->state);
			continue;
		}
		if (hypi_slot_locks(slot, state) != 0) return HYP_ERR_BUSY;
		/* Pairs with hypi_slot_let_go, and with the compare-and-swaps of lock and unlock. */
		if (hypi_cas_weak_acq_rel(&slot->state, &state, state | HYPI_SLOT_HELD)) break;
	}
	hypi_store_relaxed(&slot->name, hypi_slot_no_name(handle));
	const hypi_heap *owner = hypi_load_relaxed(&slot->owner);
	bool barred = owner == NULL || owner == mine || hypi_os_barrier();
	state = hypi_load_acquire(&slot->state);
	if (barred && hypi_slot_locks(slot, state) == 0) return HYP_OK;
	hypi_slot_let_go(slot, handle);
	return barred ? HYP_ERR_BUSY : HYP_ERR_OS;
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
	hyp_status status = hypi_block_alloc(pool, bytes, alignment, &fresh);
	if (status != HYP_OK) return status;
	status = hypi_slot_hold(slot, handle, hypi_heap_of(&pool->engine));
	if (status == HYP_OK) {
		size_t have = hypi_load_relaxed(&slot->bytes);
		hypi_device_block old = hypi_slot_block(slot);
		if (same && have != bytes) status = HYP_ERR_BUSY;
		else status = copy(pool, fresh.address, old.address, have < bytes ? have : bytes);
		if (status == HYP_OK) {
			set_block(slot, &fresh);
			hypi_store_relaxed(&slot->bytes, bytes);
			fresh = old;
		}
		hypi_slot_let_go(slot, handle);
	}
	hypi_block_free(pool, &fresh);
	return status;
}

hyp_status hypi_handle_put_in(hyp_pool *pool, hyp_handle handle, size_t bytes, hypi_device_block *block,
                              uint64_t *ret_ns) {
	hypi_handle_chunk *chunk;
	hypi_slot *slot;
	hyp_status status = hypi_handle_find(pool, handle, &chunk, &slot);
	if (status != HYP_OK) return status;
	if (!hypi_handles_move(pool)) return HYP_ERR_UNSUPPORTED;
	uint64_t from_ns = hypi_os_now_ns();
	status = hypi_slot_hold(slot, handle, hypi_heap_of(&pool->engine));
	if (status != HYP_OK) return status;
	hypi_device_block old = hypi_slot_block(slot);
	if (hypi_load_relaxed(&slot->bytes) != bytes) status = HYP_ERR_BUSY;
	else status = copy(pool, block->address, old.address, bytes);
	if (status == HYP_OK) {
		set_block(slot, block);
		*block = old;
	}
	hypi_slot_let_go(slot, handle);
	*ret_ns = hypi_os_now_ns() - from_ns;
	if (status == HYP_OK) hypi_add_relaxed(&hypi_pool_state_of(pool)->moves, 1);
	return status;
}

hyp_status hypi_handle_move(hyp_pool *pool, hyp_handle handle) {
	hypi_handle_chunk *chunk;
	hypi_slot *slot;
	hyp_status status = hypi_handle_find(pool, handle, &chunk, &slot);
	if (status != HYP_OK) return status;
	status = move_to_size(pool, slot, handle, hypi_load_relaxed(&slot->bytes), true);
	if (status == HYP_OK) hypi_add_relaxed(&hypi_pool_state_of(pool)->moves, 1);
	return status;
}

hyp_status hyp_handle_realloc(hyp_pool *pool, hyp_handle handle, size_t bytes) {
	hypi_handle_chunk *chunk;
	hypi_slot *slot;
	if (pool == NULL || bytes > PTRDIFF_MAX) return HYP_ERR_INVALID;
	hyp_status status = hypi_handle_find(pool, handle, &chunk, &slot);
	if (status != HYP_OK) return status;
	status = hypi_slot_hold(slot, handle, hypi_heap_of(&pool->engine));
	if (status != HYP_OK) return status;
	hypi_pool_clock(pool);
	size_t usable = hypi_slot_usable(pool, slot);
	bool host = hypi_pool_is_host(pool);
	bool fits = bytes <= usable && (bytes > usable / 2 || usable <= 32 || !host) && !hypi_hardens(&pool->engine);
	if (fits && host) hypi_store_relaxed(&slot->record, (void *)(uintptr_t)usable);
	if (fits) hypi_store_release(&slot->bytes, bytes); /* pairs with the acquire in hypi_handle_host_usable */
	hypi_slot_let_go(slot, handle);
	return fits ? HYP_OK : move_to_size(pool, slot, handle, bytes, false);
}
