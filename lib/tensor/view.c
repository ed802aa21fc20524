/*
 * tensor/view.c: other tensors on the same storage. Each view is arithmetic on shape, strides and offset, and one header.
 *
 * A view of a valid tensor by slicing, permuting and expanding stays within what the tensor reached, so only
 * as_strided checks bounds. Learned from NumPy (Harris et al., 2020).
 */
#include "tensor/internal.h"

#include "tensor/storage.h"

static hyp_status view_of(const hyp_tensor *t, int rank, const int64_t *shape, const int64_t *strides,
                          int64_t offset_elements, hyp_tensor **ret_view) {
	return hypi_tensor_derive(t, (hyp_dtype)t->dtype, rank, shape, strides,
	                          t->offset_bytes + hypi_offset_bytes(t->dtype, offset_elements), ret_view);
}

hyp_status hyp_tensor_view(const hyp_tensor *tensor, hyp_tensor **ret_view) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_view);
	return view_of(tensor, tensor->rank, tensor->shape, tensor->strides, 0, ret_view);
}

/* Python's slice.indices(n): where it starts, and how many. */
static void resolve_slice(hyp_slice s, int64_t n, int64_t *ret_start, int64_t *ret_count) {
	int64_t lower = s.step < 0 ? -1 : 0, upper = s.step < 0 ? n - 1 : n, start, stop;
	if (s.start == HYP_SLICE_OPEN) start = s.step < 0 ? upper : lower;
	else if (s.start < 0) start = s.start + n < lower ? lower : s.start + n;
	else start = s.start > upper ? upper : s.start;
	if (s.stop == HYP_SLICE_OPEN) stop = s.step < 0 ? lower : upper;
	else if (s.stop < 0) stop = s.stop + n < lower ? lower : s.stop + n;
	else stop = s.stop > upper ? upper : s.stop;
	uint64_t span, step;
	if (s.step > 0) {
		span = stop > start ? (uint64_t)(stop - start) : 0;
		step = (uint64_t)s.step;
	} else {
		span = start > stop ? (uint64_t)(start - stop) : 0;
		step = 0 - (uint64_t)s.step;
	}
	*ret_start = start;
	*ret_count = span == 0 ? 0 : (int64_t)((span - 1) / step + 1);
}

hyp_status hyp_tensor_slice(const hyp_tensor *tensor, int count, const hyp_slice *slices, hyp_tensor **ret_view) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_view);
	int rank = tensor->rank;
	if (count < 0 || count > rank)
		return hypi_fail(HYP_ERR_INVALID, "argument count: %d slices for a tensor of rank %d", count, rank);
	if (count > 0 && slices == NULL) return hypi_fail(HYP_ERR_INVALID, "argument slices: is NULL");
	int64_t shape[HYP_TENSOR_MAX_RANK], strides[HYP_TENSOR_MAX_RANK], offset = 0;
	int64_t e = hypi_dtypes[tensor->dtype].info.block_elements;
	bool empty = false;
	for (int i = 0; i < rank; i++) {
		shape[i] = tensor->shape[i];
		strides[i] = tensor->strides[i];
		if (i >= count) continue;
		if (slices[i].step == 0) return hypi_fail(HYP_ERR_INVALID, "argument slices: step of slice %d is 0", i);
		int64_t start;
		resolve_slice(slices[i], tensor->shape[i], &start, &shape[i]);
		if (shape[i] == 0) {
			empty = true;
			continue;
		}
		if (e > 1 && i == rank - 1 && (start % e != 0 || (shape[i] > 1 && slices[i].step != 1)))
			return hypi_fail(HYP_ERR_UNSUPPORTED,
			                 "argument slices: the last axis of the packed type %s is cut at "
			                 "multiples of %lld, with step 1",
			                 hypi_dtypes[tensor->dtype].info.name, (long long)e);
		if (e > 1 && i == rank - 1 && shape[i] != tensor->shape[i] && shape[i] % e != 0 &&
		    hypi_dtypes[tensor->dtype].info.kind == HYP_DTYPE_GGUF)
			return hypi_fail(HYP_ERR_UNSUPPORTED, "argument slices: blocks of %s are not cut",
			                 hypi_dtypes[tensor->dtype].info.name);
		offset += start * tensor->strides[i];
		if (shape[i] > 1) strides[i] = tensor->strides[i] * slices[i].step;
	}
	return view_of(tensor, rank, shape, strides, empty ? 0 : offset, ret_view);
}

hyp_status hyp_tensor_select(const hyp_tensor *tensor, int axis, int64_t index, hyp_tensor **ret_view) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_view);
	int a, rank = tensor->rank;
	HYPI_TRY(hypi_axis(axis, rank, &a));
	int64_t extent = tensor->shape[a], i = index < 0 ? index + extent : index;
	if (i < 0 || i >= extent)
		return hypi_fail(HYP_ERR_INVALID, "argument index: %lld is outside axis %d of %lld", (long long)index, a,
		                 (long long)extent);
	if (!hypi_is_plain(tensor->dtype) && a == rank - 1)
		return hypi_fail(HYP_ERR_UNSUPPORTED, "argument axis: the last axis of a packed type cannot be removed");
	int64_t shape[HYP_TENSOR_MAX_RANK], strides[HYP_TENSOR_MAX_RANK];
	for (int from = 0, to = 0; from < rank; from++) {
		if (from == a) continue;
		shape[to] = tensor->shape[from];
		strides[to++] = tensor->strides[from];
	}
	return view_of(tensor, rank - 1, shape, strides, tensor->elements == 0 ? 0 : i * tensor->strides[a], ret_view);
}

hyp_status hyp_tensor_permute(const hyp_tensor *tensor, const int *axes, hyp_tensor **ret_view) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_view);
	int rank = tensor->rank;
	int64_t shape[HYP_TENSOR_MAX_RANK], strides[HYP_TENSOR_MAX_RANK];
	uint32_t seen = 0;
	for (int i = 0; i < rank; i++) {
		int a = rank - 1 - i;
		if (axes != NULL) HYPI_TRY(hypi_axis(axes[i], rank, &a));
		if (seen >> a & 1) return hypi_fail(HYP_ERR_INVALID, "argument axes: axis %d occurs twice", a);
		seen |= 1u << a;
		shape[i] = tensor->shape[a];
		strides[i] = tensor->strides[a];
		if (!hypi_is_plain(tensor->dtype) && i == rank - 1 && a != i)
			return hypi_fail(HYP_ERR_UNSUPPORTED, "argument axes: the last axis of a packed type stays the last");
	}
	return view_of(tensor, rank, shape, strides, 0, ret_view);
}

hyp_status hyp_tensor_transpose(const hyp_tensor *tensor, int axis_a, int axis_b, hyp_tensor **ret_view) {
	HYPI_CHECK_TENSOR(tensor);
	int a, b, axes[HYP_TENSOR_MAX_RANK];
	HYPI_TRY(hypi_axis(axis_a, tensor->rank, &a));
	HYPI_TRY(hypi_axis(axis_b, tensor->rank, &b));
	for (int i = 0; i < tensor->rank; i++) axes[i] = i == a ? b : i == b ? a : i;
	return hyp_tensor_permute(tensor, axes, ret_view);
}

/* Strides of the new shape on the old layout; false if there are none. Each maximal run of old axes that lie without
 * gaps is matched with new axes of the same product. */
static bool reshape_strides(const hyp_tensor *t, int rank, const int64_t *shape, int64_t *ret_strides) {
	int64_t old_shape[HYP_TENSOR_MAX_RANK], old_strides[HYP_TENSOR_MAX_RANK];
	int old_rank = 0;
	for (int i = 0; i < t->rank; i++) {
		if (t->shape[i] == 1) continue;
		old_shape[old_rank] = t->shape[i];
		old_strides[old_rank++] = t->strides[i];
	}
	int from = 0, to = 0;
	while (from < old_rank && to < rank) {
		int from_end = from + 1, to_end = to + 1;
		int64_t have = old_shape[from], want = shape[to];
		while (have != want) {
			if (want < have) {
				if (to_end == rank) return false;
				want *= shape[to_end++];
			} else {
				if (from_end == old_rank) return false;
				have *= old_shape[from_end++];
			}
		}
		for (int i = from; i + 1 < from_end; i++)
			if (old_strides[i] != old_strides[i + 1] * old_shape[i + 1]) return false;
		int64_t stride = old_strides[from_end - 1];
		for (int i = to_end - 1; i >= to; i--) {
			ret_strides[i] = stride;
			stride *= shape[i];
		}
		from = from_end;
		to = to_end;
	}
	for (; to < rank; to++) ret_strides[to] = 1; /* extents of 1 */
	return true;
}

hyp_status hyp_tensor_reshape(const hyp_tensor *tensor, int rank, const int64_t *shape, hyp_tensor **ret_view) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_view);
	if (rank < 0 || rank > HYP_TENSOR_MAX_RANK)
		return hypi_fail(HYP_ERR_SHAPE, "argument rank: %d is not in 0..%d", rank, HYP_TENSOR_MAX_RANK);
	if (rank > 0 && shape == NULL) return hypi_fail(HYP_ERR_INVALID, "argument shape: is NULL");
	int64_t full[HYP_TENSOR_MAX_RANK], strides[HYP_TENSOR_MAX_RANK], known = 1;
	int open = -1;
	char text[HYPI_SHAPE_TEXT];
	for (int i = 0; i < rank; i++) {
		full[i] = shape[i];
		if (shape[i] == -1) {
			if (open >= 0) return hypi_fail(HYP_ERR_SHAPE, "argument shape: more than one extent is -1");
			open = i;
		} else if (shape[i] < 0 || __builtin_mul_overflow(known, shape[i], &known)) {
			return hypi_fail(HYP_ERR_SHAPE, "argument shape: extent %d is %lld", i, (long long)shape[i]);
		}
	}
	if (open >= 0) full[open] = known == 0 ? 0 : tensor->elements / known;
	if (known * (open >= 0 ? full[open] : 1) != tensor->elements || (open >= 0 && known == 0))
		return hypi_fail(HYP_ERR_SHAPE, "argument shape: %lld elements do not fill %s", (long long)tensor->elements,
		                 hypi_shape_text(rank, shape, text));
	int64_t elements, bytes;
	HYPI_TRY(hypi_shape_check((hyp_dtype)tensor->dtype, rank, full, &elements, &bytes));
	if (!hypi_is_plain(tensor->dtype)) {
		int64_t e = hypi_dtypes[tensor->dtype].info.block_elements;
		bool same_row = rank > 0 && tensor->rank > 0 && full[rank - 1] == tensor->shape[tensor->rank - 1];
		bool whole =
			rank > 0 && tensor->rank > 0 && full[rank - 1] % e == 0 && tensor->shape[tensor->rank - 1] % e == 0;
		if (!tensor->contiguous || !(same_row || whole))
			return hypi_fail(HYP_ERR_UNSUPPORTED, "argument shape: rows of the packed type are not cut inside a block");
		hypi_strides_row_major((hyp_dtype)tensor->dtype, rank, full, strides);
	} else if (tensor->elements == 0) {
		hypi_strides_row_major((hyp_dtype)tensor->dtype, rank, full, strides);
	} else if (!reshape_strides(tensor, rank, full, strides)) {
		return hypi_fail(HYP_ERR_UNSUPPORTED, "argument shape: the strides do not allow it without a copy");
	}
	return view_of(tensor, rank, full, strides, 0, ret_view);
}

hyp_status hyp_tensor_squeeze(const hyp_tensor *tensor, int count, const int *axes, hyp_tensor **ret_view) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_view);
	uint32_t drop = 0;
	int rank = tensor->rank, left = 0;
	for (int i = 0; i < (axes == NULL ? rank : count); i++) {
		int a = i;
		if (axes != NULL) HYPI_TRY(hypi_axis(axes[i], rank, &a));
		if (tensor->shape[a] == 1) drop |= 1u << a;
		else if (axes != NULL)
			return hypi_fail(HYP_ERR_SHAPE, "argument axes: axis %d has extent %lld", a, (long long)tensor->shape[a]);
	}
	if (!hypi_is_plain(tensor->dtype) && rank > 0) drop &= ~(1u << (rank - 1)); /* a packed row stays */
	int64_t shape[HYP_TENSOR_MAX_RANK], strides[HYP_TENSOR_MAX_RANK];
	for (int i = 0; i < rank; i++) {
		if (drop >> i & 1) continue;
		shape[left] = tensor->shape[i];
		strides[left++] = tensor->strides[i];
	}
	return view_of(tensor, left, shape, strides, 0, ret_view);
}

hyp_status hyp_tensor_unsqueeze(const hyp_tensor *tensor, int axis, hyp_tensor **ret_view) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_view);
	int a, rank = tensor->rank + 1;
	if (rank > HYP_TENSOR_MAX_RANK) return hypi_fail(HYP_ERR_SHAPE, "the rank would be %d", rank);
	HYPI_TRY(hypi_axis(axis, rank, &a));
	if (!hypi_is_plain(tensor->dtype) && a == rank - 1)
		return hypi_fail(HYP_ERR_UNSUPPORTED, "argument axis: the last axis of a packed type stays the last");
	int64_t shape[HYP_TENSOR_MAX_RANK], strides[HYP_TENSOR_MAX_RANK];
	for (int i = 0; i < rank; i++) {
		int from = i < a ? i : i - 1;
		shape[i] = i == a ? 1 : tensor->shape[from];
		strides[i] = i == a ? 0 : tensor->strides[from];
	}
	return view_of(tensor, rank, shape, strides, 0, ret_view);
}

hyp_status hyp_tensor_expand(const hyp_tensor *tensor, int rank, const int64_t *shape, hyp_tensor **ret_view) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_view);
	int64_t elements, bytes, strides[HYP_TENSOR_MAX_RANK];
	HYPI_TRY(hypi_shape_check((hyp_dtype)tensor->dtype, rank, shape, &elements, &bytes));
	int added = rank - tensor->rank;
	bool fits = added >= 0;
	for (int i = 0; i < rank && fits; i++) {
		int64_t extent = i < added ? 1 : tensor->shape[i - added];
		strides[i] = i < added || (extent == 1 && shape[i] != 1) ? 0 : tensor->strides[i - added];
		fits = extent == shape[i] || extent == 1;
		if (fits && !hypi_is_plain(tensor->dtype) && i == rank - 1 && extent != shape[i])
			return hypi_fail(HYP_ERR_UNSUPPORTED, "argument shape: the last axis of a packed type is not expanded");
	}
	if (!fits) {
		char from[HYPI_SHAPE_TEXT], to[HYPI_SHAPE_TEXT];
		return hypi_fail(HYP_ERR_SHAPE, "argument shape: %s does not broadcast to %s",
		                 hypi_shape_text(tensor->rank, tensor->shape, from), hypi_shape_text(rank, shape, to));
	}
	return view_of(tensor, rank, shape, strides, 0, ret_view);
}

hyp_status hyp_tensor_as_strided(const hyp_tensor *tensor, int rank, const int64_t *shape, const int64_t *strides,
                                 int64_t offset, hyp_tensor **ret_view) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_view);
	hyp_dtype dtype = (hyp_dtype)tensor->dtype;
	int64_t elements, bytes, low, high;
	HYPI_TRY(hypi_shape_check(dtype, rank, shape, &elements, &bytes));
	if (rank > 0 && strides == NULL) return hypi_fail(HYP_ERR_INVALID, "argument strides: is NULL");
	HYPI_TRY(hypi_extent(dtype, rank, shape, strides, &low, &high));
	int64_t e = hypi_dtypes[dtype].info.block_elements, size = (int64_t)tensor->storage->bytes;
	if (offset < 0 || offset > INT64_MAX / 128 || offset % e != 0)
		return hypi_fail(HYP_ERR_INVALID, "argument offset: %lld is negative, inside a block or too large",
		                 (long long)offset);
	/* Foreign storage may hold element 0 off the element grid of its own start: keep the tensor's. */
	int64_t unit = hypi_is_plain((int)dtype) ? hypi_bytes_of((int)dtype) : hypi_dtypes[dtype].info.block_bytes;
	int64_t at = hypi_offset_bytes((int)dtype, offset) + tensor->offset_bytes % unit;
	if (elements > 0 && (at + low < 0 || at + high > size))
		return hypi_fail(HYP_ERR_INVALID,
		                 "arguments shape, strides and offset: elements reach from byte %lld to %lld of "
		                 "storage of %lld",
		                 (long long)(at + low), (long long)(at + high), (long long)size);
	return hypi_tensor_derive(tensor, dtype, rank, shape, strides, elements > 0 ? at : 0, ret_view);
}

hyp_status hyp_tensor_contiguous(const hyp_tensor *tensor, hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_tensor);
	if (!tensor->contiguous) return hyp_tensor_clone(tensor, ret_tensor);
	*ret_tensor = hyp_tensor_retain((hyp_tensor *)(uintptr_t)tensor);
	return HYP_OK;
}
