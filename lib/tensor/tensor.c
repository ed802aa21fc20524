/*
 * tensor/tensor.c: the life of tensors and what they say of themselves.
 */
#include "tensor/internal.h"

#include "tensor/storage.h"

#include <hypool/hypool.h>

#define NAME_BYTES 64

void hypi_tensor_set_layout(hyp_tensor *t, hyp_dtype dtype, int rank, const int64_t *shape, const int64_t *strides,
                            int64_t elements) {
	t->dtype = (uint8_t)dtype;
	t->elements = elements;
	for (int i = 0; i < rank; i++) t->shape[i] = shape[i];
	if (strides == NULL) {
		hypi_strides_row_major(dtype, rank, shape, t->strides);
		t->contiguous = 1;
	} else {
		for (int i = 0; i < rank; i++) t->strides[i] = strides[i];
		t->contiguous = hypi_is_row_major(dtype, rank, shape, strides);
	}
}

static hyp_status no_header(void) { return hypi_fail(HYP_ERR_NO_MEMORY, "no memory for a tensor's header"); }

static hyp_status new_at(const hyp_tensor_place *place, hyp_dtype dtype, int rank, const int64_t *shape,
                         int64_t elements, int64_t bytes, hyp_tensor **ret_tensor) {
	struct hypi_storage *storage;
	HYPI_TRY(hypi_storage_create(place, (size_t)bytes, &storage));
	hyp_tensor *t = hypi_slot_take(rank);
	if (t == NULL) {
		hypi_storage_release(storage);
		return no_header();
	}
	t->storage = storage;
	t->offset_bytes = 0;
	t->created_ms = hypi_coarse_ms();
	hypi_tensor_set_layout(t, dtype, rank, shape, NULL, elements);
	*ret_tensor = t;
	return HYP_OK;
}

hyp_status hyp_tensor_empty_at(const hyp_tensor_place *place, hyp_dtype dtype, int rank, const int64_t *shape,
                               hyp_tensor **ret_tensor) {
	HYPI_CHECK_RET(ret_tensor);
	int64_t elements, bytes;
	HYPI_TRY(hypi_shape_check(dtype, rank, shape, &elements, &bytes));
	return new_at(place, dtype, rank, shape, elements, bytes, ret_tensor);
}

hyp_status hypi_tensor_new_like(const hyp_tensor *a, hyp_tensor **ret_tensor) {
	return new_at(NULL, (hyp_dtype)a->dtype, a->rank, a->shape, a->elements, a->elements * hypi_bytes_of(a->dtype),
	              ret_tensor);
}

hyp_status hyp_tensor_empty(hyp_dtype dtype, int rank, const int64_t *shape, hyp_tensor **ret_tensor) {
	return hyp_tensor_empty_at(NULL, dtype, rank, shape, ret_tensor);
}

hyp_status hypi_tensor_new(hyp_dtype dtype, int rank, const int64_t *shape, hyp_tensor **ret_tensor) {
	return hyp_tensor_empty_at(NULL, dtype, rank, shape, ret_tensor);
}

hyp_status hypi_tensor_derive(const hyp_tensor *t, hyp_dtype dtype, int rank, const int64_t *shape,
                              const int64_t *strides, int64_t offset_bytes, hyp_tensor **ret_tensor) {
	int64_t elements = 1;
	for (int i = 0; i < rank; i++) elements *= shape[i];
	hyp_tensor *view = hypi_slot_take(rank);
	if (view == NULL) return no_header();
	hypi_storage_retain(t->storage);
	view->storage = t->storage;
	view->offset_bytes = offset_bytes;
	view->flags = t->flags;
	view->created_ms = t->created_ms;
	hypi_tensor_set_layout(view, dtype, rank, shape, strides, elements);
	*ret_tensor = view;
	return HYP_OK;
}

hyp_status hyp_tensor_from_foreign(hyp_dtype dtype, int rank, const int64_t *shape, const int64_t *strides, void *data,
                                   size_t byte_offset, size_t bytes, int device, uint32_t flags,
                                   hyp_tensor_deleter *deleter, void *context, hyp_tensor **ret_tensor) {
	HYPI_CHECK_RET(ret_tensor);
	int64_t elements, row_bytes, low, high;
	HYPI_TRY(hypi_shape_check(dtype, rank, shape, &elements, &row_bytes));
	int64_t row_major[HYP_TENSOR_MAX_RANK];
	if (strides == NULL) {
		hypi_strides_row_major(dtype, rank, shape, row_major);
		strides = row_major;
	}
	HYPI_TRY(hypi_extent(dtype, rank, shape, strides, &low, &high));
	if (data == NULL && elements > 0) return hypi_fail(HYP_ERR_INVALID, "argument data: is NULL");
	if (flags & ~(uint32_t)HYP_TENSOR_READ_ONLY)
		return hypi_fail(HYP_ERR_INVALID, "argument flags: unknown bits %#x", flags);
	char *first = (char *)data + byte_offset;
	size_t unit = hypi_is_plain((int)dtype) ? (size_t)hypi_bytes_of((int)dtype) : 1;
	if (elements > 0 && (uintptr_t)first % unit != 0)
		return hypi_fail(HYP_ERR_INVALID, "arguments data and byte_offset: element 0 is not aligned to its %zu bytes",
		                 unit);
	if (bytes != SIZE_MAX &&
	    (byte_offset > bytes || (int64_t)byte_offset + low < 0 || (size_t)((int64_t)byte_offset + high) > bytes))
		return hypi_fail(HYP_ERR_INVALID, "arguments strides and bytes: elements reach from byte %lld to %lld of %zu",
		                 (long long)((int64_t)byte_offset + low), (long long)((int64_t)byte_offset + high), bytes);
	hyp_tensor *t = hypi_slot_take(rank);
	if (t == NULL) return no_header();
	/* Of an unknown region, what the elements touch is the storage. */
	void *base = bytes == SIZE_MAX ? first + low : data;
	size_t size = bytes == SIZE_MAX ? (size_t)(high - low) : bytes;
	hyp_status status =
		hypi_storage_foreign(base, size, device, (flags & HYP_TENSOR_READ_ONLY) != 0, deleter, context, &t->storage);
	if (status != HYP_OK) {
		hypi_slot_give(t);
		return status;
	}
	t->offset_bytes = bytes == SIZE_MAX ? -low : (int64_t)byte_offset;
	t->flags = (uint8_t)flags;
	t->created_ms = hypi_coarse_ms();
	hypi_tensor_set_layout(t, dtype, rank, shape, strides, elements);
	*ret_tensor = t;
	return HYP_OK;
}

/* ---- references ---- */

hyp_tensor *hyp_tensor_retain(hyp_tensor *tensor) {
	if (!hypi_is_live(tensor)) {
		(void)hypi_fail_argument(tensor, "tensor");
		return NULL;
	}
	(void)hypi_add_relaxed(&tensor->life, 1);
	return tensor;
}

void hyp_tensor_release(hyp_tensor *tensor) {
	if (tensor == NULL) return;
	if (!hypi_is_live(tensor)) {
		(void)hypi_fail_argument(tensor, "tensor");
		return;
	}
	/* acquire and release: every use of the tensor happens before its end, pairs with itself. The last reference need
	 * not be counted down, unless a weak handle may raise it. */
	if (((uint32_t)hypi_load_acquire(&tensor->life) != 1 || hypi_load_relaxed(&tensor->weakened)) &&
	    (uint32_t)atomic_fetch_sub_explicit(&tensor->life, 1, memory_order_acq_rel) != 1)
		return;
	/* Dead from here on, also for a deleter that asks. */
	hypi_store_relaxed(&tensor->life, hypi_load_relaxed(&tensor->life) & ~(uint64_t)UINT32_MAX);
	hypi_storage_release(tensor->storage);
	if (tensor->name != NULL) hyp_free(tensor->name);
	hypi_slot_give(tensor);
}

uint32_t hyp_tensor_references(const hyp_tensor *tensor) {
	return tensor == NULL ? 0 : (uint32_t)hypi_load_relaxed(&((hyp_tensor *)(uintptr_t)tensor)->life);
}

/* ---- metadata ---- */

int hyp_tensor_rank(const hyp_tensor *tensor) { return hypi_is_live(tensor) ? tensor->rank : -1; }
const int64_t *hyp_tensor_shape(const hyp_tensor *tensor) { return hypi_is_live(tensor) ? tensor->shape : NULL; }
const int64_t *hyp_tensor_strides(const hyp_tensor *tensor) { return hypi_is_live(tensor) ? tensor->strides : NULL; }
hyp_dtype hyp_tensor_dtype(const hyp_tensor *tensor) {
	return hypi_is_live(tensor) ? (hyp_dtype)tensor->dtype : (hyp_dtype)0;
}
int64_t hyp_tensor_elements(const hyp_tensor *tensor) { return hypi_is_live(tensor) ? tensor->elements : -1; }
int64_t hyp_tensor_offset(const hyp_tensor *tensor) { return hypi_is_live(tensor) ? tensor->offset_bytes : -1; }
size_t hyp_tensor_storage_bytes(const hyp_tensor *tensor) { return hypi_is_live(tensor) ? tensor->storage->bytes : 0; }
int hyp_tensor_device(const hyp_tensor *tensor) { return hypi_is_live(tensor) ? tensor->storage->device : -1; }
bool hyp_tensor_is_contiguous(const hyp_tensor *tensor) { return hypi_is_live(tensor) && tensor->contiguous; }
bool hyp_tensor_is_read_only(const hyp_tensor *tensor) {
	return hypi_is_live(tensor) && ((tensor->flags & HYP_TENSOR_READ_ONLY) != 0 || tensor->storage->read_only);
}
bool hyp_tensor_shares_storage(const hyp_tensor *a, const hyp_tensor *b) {
	return hypi_is_live(a) && hypi_is_live(b) && a->storage == b->storage;
}

hyp_status hyp_tensor_set_name(hyp_tensor *tensor, const char *name) {
	HYPI_CHECK_TENSOR(tensor);
	size_t length = name == NULL ? 0 : strlen(name);
	if (length >= NAME_BYTES)
		return hypi_fail(HYP_ERR_INVALID, "argument name: is longer than %d bytes", NAME_BYTES - 1);
	char *copy = NULL;
	if (length > 0) {
		copy = hyp_malloc(length + 1);
		if (copy == NULL) return hypi_fail(HYP_ERR_NO_MEMORY, "no memory for a tensor's name");
		memcpy(copy, name, length + 1);
	}
	if (tensor->name != NULL) hyp_free(tensor->name);
	tensor->name = copy;
	return HYP_OK;
}

const char *hyp_tensor_name(const hyp_tensor *tensor) {
	return hypi_is_live(tensor) && tensor->name != NULL ? tensor->name : "";
}

hyp_status hyp_tensor_set_tag(hyp_tensor *tensor, uint64_t tag) {
	HYPI_CHECK_TENSOR(tensor);
	tensor->tag = tag;
	return HYP_OK;
}

uint64_t hyp_tensor_tag(const hyp_tensor *tensor) { return hypi_is_live(tensor) ? tensor->tag : 0; }

hyp_status hyp_tensor_describe(const hyp_tensor *tensor, hyp_tensor_info *ret_info) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_info);
	if (ret_info->struct_bytes != sizeof *ret_info)
		return hypi_fail(HYP_ERR_INVALID, "argument ret_info: struct_bytes is %zu, not %zu", ret_info->struct_bytes,
		                 sizeof *ret_info);
	uint64_t life = hypi_load_relaxed(&((hyp_tensor *)(uintptr_t)tensor)->life);
	struct hypi_storage *s = tensor->storage;
	ret_info->id = (life & ~(uint64_t)UINT32_MAX) | tensor->slot;
	ret_info->dtype = (hyp_dtype)tensor->dtype;
	ret_info->rank = tensor->rank;
	ret_info->device = s->device;
	ret_info->references = (uint32_t)life;
	ret_info->storage_references = hypi_load_relaxed(&s->references);
	ret_info->created_ms = tensor->created_ms;
	ret_info->used_ms = hypi_load_relaxed(&s->used_ms);
	ret_info->use_count = hypi_load_relaxed(&s->use_count);
	ret_info->tag = tensor->tag;
	ret_info->storage_bytes = s->bytes;
	ret_info->compressed_bytes = hypi_storage_compressed_bytes(s);
	ret_info->contiguous = tensor->contiguous;
	ret_info->read_only = hyp_tensor_is_read_only(tensor);
	ret_info->foreign = s->kind == HYPI_STORAGE_FOREIGN;
	return HYP_OK;
}

/* ---- access ---- */

hyp_status hypi_pin(const hyp_tensor *t, const char *name, char **ret_data) {
	return hypi_pin_at(t, name, hypi_coarse_ms(), ret_data);
}

hyp_status hypi_pin_at(const hyp_tensor *t, const char *name, uint64_t now_ms, char **ret_data) {
	if (HYP_UNLIKELY(t->storage->device != 0))
		return hypi_fail(HYP_ERR_DEVICE, "argument %s: lies on device %d; bring it to the host first", name,
		                 t->storage->device);
	void *base;
	hyp_status status = hypi_storage_lock(t->storage, now_ms, &base);
	if (HYP_UNLIKELY(status != HYP_OK)) return hypi_fail(status, "argument %s: its storage cannot be locked", name);
	*ret_data = (char *)base + t->offset_bytes;
	return HYP_OK;
}

void hypi_unpin(const hyp_tensor *t) { hypi_storage_unlock(t->storage); }

hyp_status hypi_check_output(const hyp_tensor *out, const char *name) {
	if (HYP_UNLIKELY(hyp_tensor_is_read_only(out)))
		return hypi_fail(HYP_ERR_INVALID, "argument %s: is read-only", name);
	if (HYP_LIKELY(out->contiguous)) return HYP_OK;
	/* Sorted by stride, each axis must step over everything that the smaller ones reach; what fails that may still be
	 * free of overlap, but no view of a row-major tensor by slicing and permuting fails it. */
	int64_t reach = 0, last = 0;
	int order[HYP_TENSOR_MAX_RANK], count = 0;
	for (int i = 0; i < out->rank; i++) {
		if (out->shape[i] == 0) return HYP_OK;
		if (out->shape[i] == 1) continue;
		int at = count++;
		for (; at > 0 && llabs(out->strides[order[at - 1]]) > llabs(out->strides[i]); at--) order[at] = order[at - 1];
		order[at] = i;
	}
	for (int i = 0; i < count; i++) {
		last = llabs(out->strides[order[i]]);
		if (last <= reach)
			return hypi_fail(HYP_ERR_INVALID, "argument %s: its elements overlap (stride %lld on axis %d)", name,
			                 (long long)out->strides[order[i]], order[i]);
		reach += last * (out->shape[order[i]] - 1);
	}
	return HYP_OK;
}

hyp_status hyp_tensor_lock(const hyp_tensor *tensor, void **ret_data) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_data);
	char *data = NULL;
	HYPI_TRY(hypi_pin(tensor, "tensor", &data));
	*ret_data = data;
	return HYP_OK;
}

void hyp_tensor_unlock(const hyp_tensor *tensor) {
	if (hypi_is_live(tensor)) hypi_unpin(tensor);
}
