/*
 * tensor/storage.c: making, locking and giving back the bytes under tensors (storage.h).
 */
#include "tensor/storage.h"

#include "device/device.h"
#include "tensor/internal.h"

#include <hypool/handle.h>
#include <hypool/hypool.h>

#include <time.h>

#define DEFAULT_ALIGNMENT 64 /* a cache line, and the widest vector */
#define SMALL_BYTES 256      /* below that the pool's own alignment does, which costs an allocation less */
#define SMALL_ALIGNMENT 16

uint64_t hypi_coarse_ms(void) {
	struct timespec now;
#ifdef CLOCK_MONOTONIC_COARSE
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
#else
	clock_gettime(CLOCK_MONOTONIC, &now);
#endif
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct hypi_storage *storage_new(uint8_t kind, int device, size_t bytes) {
	struct hypi_storage *s = hyp_malloc(sizeof *s);
	if (s == NULL) return NULL;
	atomic_init(&s->references, 1);
	s->kind = kind;
	s->read_only = 0;
	s->device = device;
	s->pool = NULL;
	atomic_init(&s->handle, 0);
	s->data = NULL;
	s->bytes = bytes;
	s->deleter = NULL;
	s->context = NULL;
	atomic_init(&s->used_ms, 0);
	atomic_init(&s->use_count, 0);
	atomic_init(&s->gate, false);
	s->listed = false;
	s->frame = NULL;
	return s;
}

static hyp_status no_memory(size_t bytes) {
	return hypi_fail(HYP_ERR_NO_MEMORY, "no memory for a tensor of %zu bytes", bytes);
}

hyp_status hypi_storage_create(const hyp_tensor_place *place, size_t bytes, struct hypi_storage **ret_storage) {
	size_t alignment = bytes < SMALL_BYTES ? SMALL_ALIGNMENT : DEFAULT_ALIGNMENT;
	int device = 0;
	struct hyp_pool *pool = NULL;
	if (place != NULL) {
		if (place->struct_bytes != sizeof *place)
			return hypi_fail(HYP_ERR_INVALID, "argument place: struct_bytes is %zu, not %zu", place->struct_bytes,
			                 sizeof *place);
		if ((place->alignment & (place->alignment - 1)) != 0)
			return hypi_fail(HYP_ERR_INVALID, "argument place: alignment %zu is no power of two", place->alignment);
		if (place->alignment > alignment) alignment = place->alignment;
		device = place->device;
		pool = place->pool;
	}
	struct hypi_storage *s = storage_new(device == 0 ? HYPI_STORAGE_POOL : HYPI_STORAGE_DEVICE, device, bytes);
	if (s == NULL) return no_memory(bytes);
	hyp_status status = HYP_OK;
	if (device != 0) {
		uintptr_t address = 0;
		status = hyp_device_alloc(device, bytes == 0 ? 1 : bytes, alignment, &address);
		s->data = (void *)address;
		if (status != HYP_OK) (void)hypi_fail(status, "device %d: no %zu bytes", device, bytes);
	} else {
		s->pool = pool != NULL ? pool : hyp_pool_default();
		hyp_handle handle = 0;
		status = hyp_handle_alloc(s->pool, bytes == 0 ? 1 : bytes, alignment, 0, &handle);
		hypi_store_relaxed(&s->handle, handle);
		if (HYP_UNLIKELY(status != HYP_OK))
			(void)hypi_fail(status, "no %zu bytes for a tensor: %s", bytes, hyp_status_message(status));
	}
	if (HYP_UNLIKELY(status != HYP_OK)) {
		hyp_free(s);
		return status;
	}
	if (HYP_UNLIKELY(hypi_load_relaxed(&hypi_compression_on)) && device == 0) hypi_storage_list(s);
	*ret_storage = s;
	return HYP_OK;
}

hyp_status hypi_storage_foreign(void *data, size_t bytes, int device, bool read_only, hyp_tensor_deleter *deleter,
                                void *context, struct hypi_storage **ret_storage) {
	struct hypi_storage *s = storage_new(HYPI_STORAGE_FOREIGN, device, bytes);
	if (s == NULL) return no_memory(sizeof *s);
	s->read_only = read_only;
	s->data = data;
	s->deleter = deleter;
	s->context = context;
	*ret_storage = s;
	return HYP_OK;
}

void hypi_storage_retain(struct hypi_storage *storage) { (void)hypi_add_relaxed(&storage->references, 1); }

void hypi_storage_release(struct hypi_storage *storage) {
	/* The last reference need not be counted down: nobody else can raise it, but who walks the list of idle.c. acquire
	 * and release: every use of the storage happens before its end, pairs with itself. */
	if ((storage->listed || hypi_load_acquire(&storage->references) != 1) &&
	    atomic_fetch_sub_explicit(&storage->references, 1, memory_order_acq_rel) != 1)
		return;
	if (storage->listed) hypi_storage_unlist(storage);
	if (storage->kind == HYPI_STORAGE_FOREIGN) {
		if (storage->deleter != NULL) storage->deleter(storage->context);
	} else if (storage->kind == HYPI_STORAGE_DEVICE) {
		hyp_device_free(storage->device, (uintptr_t)storage->data);
	} else if (storage->frame != NULL) {
		hyp_free(storage->frame);
	} else {
		/* An operation unlocks before it lets go; a caller may have forgotten to: undo that rather than leak. */
		hyp_handle handle = hypi_load_relaxed(&storage->handle);
		while (hyp_handle_free(storage->pool, handle) == HYP_ERR_BUSY &&
		       hyp_handle_unlock(storage->pool, handle) == HYP_OK) {
		}
	}
	hyp_free(storage);
}

hyp_status hypi_storage_lock(struct hypi_storage *storage, uint64_t now_ms, void **ret_data) {
	hypi_store_relaxed(&storage->used_ms, now_ms);
	hypi_store_relaxed(&storage->use_count, hypi_load_relaxed(&storage->use_count) + 1);
	if (storage->kind == HYPI_STORAGE_POOL) {
		hyp_handle handle = hypi_load_acquire(&storage->handle); /* pairs with the release in idle.c */
		hyp_status status = hyp_handle_lock(storage->pool, handle, ret_data);
		if (HYP_LIKELY(!hypi_load_relaxed(&hypi_compression_on))) return status;
		return hypi_storage_lock_gated(storage, handle, status, ret_data);
	}
	*ret_data = storage->data;
	return HYP_OK;
}

void hypi_storage_unlock(struct hypi_storage *storage) {
	if (storage->kind != HYPI_STORAGE_POOL) return;
	hyp_status status = hyp_handle_unlock(storage->pool, hypi_load_relaxed(&storage->handle));
	(void)status;
}
