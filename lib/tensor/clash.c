/*
 * tensor/clash.c: may an operation write its output while it reads an operand?
 *
 * Exact for the cases that occur (apart, or element on element) and cautious for the rest: a clash costs a copy of the
 * operand, never a wrong result.
 */
#include "tensor/compute.h"
#include "tensor/storage.h"

static bool reach(const hyp_tensor *t, uintptr_t *ret_low, uintptr_t *ret_high) {
	int64_t low, high;
	if (t->elements == 0 || hypi_extent((hyp_dtype)t->dtype, t->rank, t->shape, t->strides, &low, &high) != HYP_OK)
		return false;
	/* Within one storage offsets compare; between storages only foreign ones can meet, and those do not move. */
	uintptr_t base = (uintptr_t)t->storage->data + (uintptr_t)t->offset_bytes;
	*ret_low = base + (uintptr_t)low;
	*ret_high = base + (uintptr_t)high;
	return true;
}

bool hypi_clash(const hyp_tensor *out, const hyp_tensor *in) {
	if (out == in) return false;
	if (out->storage != in->storage &&
	    !(out->storage->kind == HYPI_STORAGE_FOREIGN || in->storage->kind == HYPI_STORAGE_FOREIGN))
		return false;
	uintptr_t out_low, out_high, in_low, in_high;
	if (!reach(out, &out_low, &out_high) || !reach(in, &in_low, &in_high)) return false;
	if (out_high <= in_low || in_high <= out_low) return false;
	bool same = out->rank == in->rank && out->dtype == in->dtype &&
	            (uintptr_t)out->storage->data + (uintptr_t)out->offset_bytes ==
	                (uintptr_t)in->storage->data + (uintptr_t)in->offset_bytes;
	for (int i = 0; i < out->rank && same; i++)
		same = out->shape[i] == in->shape[i] && (out->shape[i] == 1 || out->strides[i] == in->strides[i]);
	return !same;
}
