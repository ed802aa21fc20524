/*
 * tensor/to.c: tensors from one place to another: device or pool. A copy is row-major and finished when the call returns.
 */
#include "tensor/compute.h"
#include "tensor/storage.h"

#include "device/device.h"

/* Both row-major, of one type. */
static hyp_status move_bytes(const hyp_tensor *from, hyp_tensor *to, size_t bytes) {
	void *a, *b;
	HYPI_TRY(hypi_storage_lock(from->storage, hypi_coarse_ms(), &a));
	hyp_status status = hypi_storage_lock(to->storage, hypi_coarse_ms(), &b);
	if (status == HYP_OK) {
		status = hyp_copy(to->storage->device, (uintptr_t)b + (uintptr_t)to->offset_bytes, from->storage->device,
		                  (uintptr_t)a + (uintptr_t)from->offset_bytes, bytes);
		if (status != HYP_OK) (void)hypi_fail(status, "%s", hyp_device_last_error());
		hypi_storage_unlock(to->storage);
	}
	hypi_storage_unlock(from->storage);
	return status;
}

hyp_status hyp_tensor_to_place(const hyp_tensor *tensor, const hyp_tensor_place *place, hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_tensor);
	hyp_tensor *dense = NULL, *made = NULL;
	if (!tensor->contiguous && tensor->storage->device != 0)
		return hypi_fail(HYP_ERR_UNSUPPORTED, "argument tensor: a view with gaps on device %d; bring its base over",
		                 tensor->storage->device);
	HYPI_TRY(hyp_tensor_contiguous(tensor, &dense));
	hyp_status status = hyp_tensor_empty_at(place, (hyp_dtype)tensor->dtype, tensor->rank, tensor->shape, &made);
	if (status == HYP_OK && made->elements > 0) status = move_bytes(dense, made, made->storage->bytes);
	hyp_tensor_release(dense);
	if (status == HYP_OK) *ret_tensor = made;
	else hyp_tensor_release(made);
	return status;
}

hyp_status hyp_tensor_to(const hyp_tensor *tensor, int device, hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_tensor);
	if (device < 0 || device >= hyp_device_count())
		return hypi_fail(HYP_ERR_NOT_FOUND, "argument device: there is no device %d", device);
	if (tensor->storage->device == device) {
		*ret_tensor = hyp_tensor_retain((hyp_tensor *)(uintptr_t)tensor);
		return HYP_OK;
	}
	hyp_tensor_place place = {sizeof place, NULL, device, 0};
	return hyp_tensor_to_place(tensor, &place, ret_tensor);
}
