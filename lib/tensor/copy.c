/*
 * tensor/copy.c: copies, casts, packing and unpacking of whole tensors, fills, single elements.
 *
 * Every copy into another layout or type goes through hypi_copy. A copy that swaps the fast axes of two layouts goes
 * tile by tile through the transpose kernel, since walking either side alone misses a cache line an element.
 */
#include "tensor/compute.h"
#include "tensor/pack.h"
#include "tensor/parallel.h"
#include "tensor/storage.h"

#include <hypool/hypool.h>

#define GRAIN (1 << 16)
/* Of a tile of the source: its lines, and those of the destination that are being written, stay in L1. Neighbouring tiles
 * follow each other along the source's rows. */
#define TILE_ROWS 128
#define TILE_COLUMNS 64

struct copy_plan {
	int to, from;
	enum hypi_num num;
	bool same;
};

static void body(void *context, char *const *data, const int64_t *stride, int64_t n) {
	const struct copy_plan *p = context;
	int log2 = hypi_dtypes[p->to].log2_bytes;
	if (p->same) {
		if (stride[0] == stride[1] && stride[0] == hypi_bytes_of(p->to))
			memcpy(data[0], data[1], (size_t)(n * stride[0]));
		else
			hypi_kernels()->convert.copy_strided[log2](data[0], stride[0] >> log2, data[1], stride[1] >> log2,
			                                           (size_t)n);
		return;
	}
	enum hypi_num to = hypi_num_of(p->to);
	uint64_t block[HYPI_BLOCK];
	if (hypi_num_is_exact(p->to) && hypi_num_is_exact(p->from) && p->to != HYP_BOOL &&
	    stride[0] == hypi_bytes_of(p->to) && stride[1] == hypi_bytes_of(p->from)) {
		hypi_kernels()->convert.num[to][p->num](data[0], data[1], (size_t)n);
		return;
	}
	for (int64_t at = 0; at < n; at += HYPI_BLOCK) {
		int64_t m = n - at < HYPI_BLOCK ? n - at : HYPI_BLOCK;
		const void *from = hypi_load(block, p->num, p->from, data[1] + at * stride[1], stride[1], m);
		hypi_store(data[0] + at * stride[0], p->to, stride[0], from, p->num, m);
	}
}

/* The axis along which the source is dense, where the destination's dense axis is the last; -1 if tiles do not apply. */
static int swapped_axis(const struct hypi_iter *it, int64_t bytes) {
	int last = it->rank - 1;
	if (it->rank < 2 || it->stride[0][last] != bytes || it->stride[1][last] == bytes || it->shape[last] < 8) return -1;
	for (int i = 0; i < last; i++)
		if (it->stride[1][i] == bytes && it->shape[i] >= 8 && it->stride[0][i] > 0 && it->stride[1][last] > 0 &&
		    it->stride[0][i] % bytes == 0 && it->stride[1][last] % bytes == 0)
			return i;
	return -1;
}

struct tiles {
	const struct hypi_iter *it;
	int axis, log2;
	int64_t tiles_axis, tiles_last;
};

static void run_tiles(void *context, int64_t begin, int64_t end) {
	const struct tiles *t = context;
	const struct hypi_iter *it = t->it;
	int last = it->rank - 1;
	for (int64_t number = begin; number < end; number++) {
		int64_t tile_axis = number % t->tiles_axis, rest = number / t->tiles_axis;
		int64_t tile_last = rest % t->tiles_last;
		rest /= t->tiles_last;
		char *dst = it->base[0], *src = it->base[1];
		for (int i = last - 1; i >= 0; i--) {
			if (i == t->axis) continue;
			dst += rest % it->shape[i] * it->stride[0][i];
			src += rest % it->shape[i] * it->stride[1][i];
			rest /= it->shape[i];
		}
		int64_t row = tile_last * TILE_ROWS, column = tile_axis * TILE_COLUMNS; /* of the source */
		int64_t rows = it->shape[last] - row < TILE_ROWS ? it->shape[last] - row : TILE_ROWS;
		int64_t columns = it->shape[t->axis] - column < TILE_COLUMNS ? it->shape[t->axis] - column : TILE_COLUMNS;
		dst += row * it->stride[0][last] + column * it->stride[0][t->axis];
		src += row * it->stride[1][last] + column * it->stride[1][t->axis];
		hypi_kernels()->convert.transpose[t->log2](dst, (size_t)(it->stride[0][t->axis] >> t->log2), src,
		                                           (size_t)(it->stride[1][last] >> t->log2), (size_t)rows,
		                                           (size_t)columns);
	}
}

static void copy_run(const struct hypi_iter *it, struct copy_plan *p) {
	int axis = p->same ? swapped_axis(it, hypi_bytes_of(p->to)) : -1;
	if (axis < 0) {
		hypi_iter_parallel(it, GRAIN, body, p);
		return;
	}
	int last = it->rank - 1;
	struct tiles t = {it, axis, hypi_dtypes[p->to].log2_bytes, (it->shape[axis] + TILE_COLUMNS - 1) / TILE_COLUMNS,
	                  (it->shape[last] + TILE_ROWS - 1) / TILE_ROWS};
	int64_t count = t.tiles_axis * t.tiles_last;
	for (int i = 0; i < last; i++)
		if (i != axis) count *= it->shape[i];
	hypi_parallel(count, 8, run_tiles, &t);
}

/* ---- packed rows ---- */

struct rows {
	const hyp_tensor *to, *from; /* one of them packed, the other row-major of the type it is read as */
	char *to_data, *from_data;
	int64_t row; /* elements */
	bool pack;
};

static int64_t outer_offset(const hyp_tensor *t, int64_t number) {
	int64_t offset = 0;
	for (int i = t->rank - 2; i >= 0; i--) {
		offset += number % t->shape[i] * t->strides[i];
		number /= t->shape[i];
	}
	return hypi_offset_bytes(t->dtype, offset);
}

static void run_rows(void *context, int64_t begin, int64_t end) {
	const struct rows *r = context;
	for (int64_t i = begin; i < end; i++) {
		char *to = r->to_data + outer_offset(r->to, i);
		const char *from = r->from_data + outer_offset(r->from, i);
		if (r->pack) hypi_pack_row(to, r->to->dtype, from, r->row);
		else hypi_unpack_row(to, r->from->dtype, from, r->row);
	}
}

static hyp_status copy_rows(hyp_tensor *to, const hyp_tensor *from, bool pack) {
	struct rows r = {to, from, NULL, NULL, to->rank == 0 ? 1 : to->shape[to->rank - 1], pack};
	if (to->elements == 0) return HYP_OK;
	HYPI_TRY(hypi_pin(to, "to", &r.to_data));
	hyp_status status = hypi_pin(from, "from", &r.from_data);
	if (status == HYP_OK) {
		int64_t grain = 16384 / r.row + 1;
		hypi_parallel(to->elements / r.row, grain, run_rows, &r);
		hypi_unpin(from);
	}
	hypi_unpin(to);
	return status;
}

hyp_status hypi_plain(const hyp_tensor *t, const hyp_tensor **ret_tensor) {
	if (HYP_LIKELY(hypi_is_plain(t->dtype))) {
		*ret_tensor = hyp_tensor_retain((hyp_tensor *)(uintptr_t)t);
		return HYP_OK;
	}
	hyp_tensor *made;
	HYPI_TRY(hypi_tensor_new(hypi_dtype_plain((hyp_dtype)t->dtype), t->rank, t->shape, &made));
	hyp_status status = copy_rows(made, t, false);
	if (status != HYP_OK) hyp_tensor_release(made);
	else *ret_tensor = made;
	return status;
}

/* Into a packed type: the plain values, row-major in the type it is packed from, then the rows. */
static hyp_status copy_packed(hyp_tensor *to, const hyp_tensor *from) {
	hyp_dtype packed_from = hypi_dtype_plain((hyp_dtype)to->dtype);
	const hyp_tensor *values;
	HYPI_TRY(hypi_plain(from, &values));
	hyp_tensor *dense;
	hyp_status status = hypi_tensor_new(packed_from, to->rank, to->shape, &dense);
	if (status == HYP_OK) {
		/* I8 from a float: to the nearest, as quantising does; the ternary types clamp afterwards. */
		if (packed_from == HYP_I8 && hypi_is_float(values->dtype)) {
			hyp_tensor *rounded = NULL;
			status = hyp_tensor_unary(HYP_OP_ROUND, values, &rounded);
			if (status == HYP_OK) status = hypi_copy(dense, rounded);
			hyp_tensor_release(rounded);
		} else if (packed_from == HYP_I8 && values->dtype != HYP_I8 && values->dtype != HYP_BOOL) {
			hyp_tensor *low = NULL, *high = NULL; /* saturate before the integers wrap */
			hyp_scalar least = hyp_int(values->dtype == HYP_U8 ? 0 : -8), most = hyp_int(7);
			status = hyp_tensor_binary_scalar(HYP_OP_MIN, values, most, false, &high);
			if (status == HYP_OK) status = hyp_tensor_binary_scalar(HYP_OP_MAX, high, least, false, &low);
			if (status == HYP_OK) status = hypi_copy(dense, low);
			hyp_tensor_release(low);
			hyp_tensor_release(high);
		} else {
			status = hypi_copy(dense, values);
		}
		if (status == HYP_OK) status = copy_rows(to, dense, true);
		hyp_tensor_release(dense);
	}
	hyp_tensor_release((hyp_tensor *)(uintptr_t)values);
	return status;
}

hyp_status hypi_copy(hyp_tensor *to, const hyp_tensor *from) {
	if (to->elements == 0) return HYP_OK;
	if (!hypi_is_plain(to->dtype)) return copy_packed(to, from);
	if (!hypi_is_plain(from->dtype)) {
		const hyp_tensor *plain;
		HYPI_TRY(hypi_plain(from, &plain));
		hyp_status status = hypi_copy(to, plain);
		hyp_tensor_release((hyp_tensor *)(uintptr_t)plain);
		return status;
	}
	const hyp_tensor *tensors[2] = {to, from};
	char *data[2];
	HYPI_TRY(hypi_pin(to, "to", &data[0]));
	hyp_status status = hypi_pin(from, "from", &data[1]);
	if (status == HYP_OK) {
		struct copy_plan p = {to->dtype, from->dtype, hypi_num_of(from->dtype), to->dtype == from->dtype};
		struct hypi_iter it;
		hypi_iter_init(&it, to->rank, to->shape, 2, tensors, data);
		copy_run(&it, &p);
		hypi_unpin(from);
	}
	hypi_unpin(to);
	return status;
}

/* ---- public ---- */

hyp_status hyp_tensor_copy(hyp_tensor *to, const hyp_tensor *from) {
	HYPI_CHECK_TENSOR(to);
	HYPI_CHECK_TENSOR(from);
	uint64_t begun = hypi_profile_start();
	HYPI_TRY(hypi_check_output(to, "to"));
	int rank;
	int64_t shape[HYP_TENSOR_MAX_RANK];
	HYPI_TRY(hypi_broadcast(to->rank, to->shape, from->rank, from->shape, &rank, shape));
	if (rank != to->rank || memcmp(shape, to->shape, (size_t)rank * sizeof *shape) != 0) {
		char have[HYPI_SHAPE_TEXT], want[HYPI_SHAPE_TEXT];
		return hypi_fail(HYP_ERR_SHAPE, "argument from: %s does not broadcast to %s",
		                 hypi_shape_text(from->rank, from->shape, have), hypi_shape_text(to->rank, to->shape, want));
	}
	hyp_tensor *copy = NULL;
	if (hypi_clash(to, from)) {
		HYPI_TRY(hyp_tensor_clone(from, &copy));
		from = copy;
	}
	hyp_status status = hypi_copy(to, from);
	if (status == HYP_OK && hypi_is_plain(to->dtype) && hypi_is_plain(from->dtype))
		HYPI_PROFILE(copy, begun, 0,
		             to->elements * hypi_bytes_of(to->dtype) + from->elements * hypi_bytes_of(from->dtype));
	hyp_tensor_release(copy);
	return status;
}

hyp_status hyp_tensor_cast(const hyp_tensor *tensor, hyp_dtype dtype, hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_tensor);
	hyp_tensor *made;
	HYPI_TRY(hypi_tensor_new(dtype, tensor->rank, tensor->shape, &made));
	hyp_status status = HYP_OK;
	/* A packed copy of the same type keeps its codes: they are not quantised again. */
	if (dtype == (hyp_dtype)tensor->dtype && !hypi_is_plain((int)dtype) && tensor->elements > 0) {
		char *to, *from;
		int64_t row = tensor->rank == 0 ? 1 : tensor->shape[tensor->rank - 1], bytes = hypi_row_bytes((int)dtype, row);
		status = hypi_pin(tensor, "tensor", &from);
		if (status == HYP_OK && (status = hypi_pin(made, "tensor", &to)) == HYP_OK) {
			for (int64_t i = 0; i < tensor->elements / row; i++)
				memcpy(to + i * bytes, from + outer_offset(tensor, i), (size_t)bytes);
			hypi_unpin(made);
		}
		hypi_unpin(tensor);
	} else {
		status = hyp_tensor_copy(made, tensor);
	}
	if (status != HYP_OK) hyp_tensor_release(made);
	else *ret_tensor = made;
	return status;
}

hyp_status hyp_tensor_clone(const hyp_tensor *tensor, hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(tensor);
	return hyp_tensor_cast(tensor, (hyp_dtype)tensor->dtype, ret_tensor);
}

hyp_status hypi_as(const hyp_tensor *t, hyp_dtype dtype, const hyp_tensor **ret_tensor) {
	if (t->dtype == dtype && t->contiguous) {
		*ret_tensor = hyp_tensor_retain((hyp_tensor *)(uintptr_t)t);
		return HYP_OK;
	}
	hyp_tensor *made;
	HYPI_TRY(hyp_tensor_cast(t, dtype, &made));
	*ret_tensor = made;
	return HYP_OK;
}

hyp_status hyp_tensor_fill(hyp_tensor *tensor, hyp_scalar value) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_TRY(hypi_check_output(tensor, "tensor"));
	hyp_dtype dtype = value.kind == HYP_SCALAR_FLOAT ? HYP_F64 : value.kind == HYP_SCALAR_INT ? HYP_I64 : HYP_BOOL;
	if (value.kind == HYP_SCALAR_INT && hypi_is_plain(tensor->dtype) && !hypi_is_float(tensor->dtype)) {
		uint64_t element;
		if (!hypi_scalar_to(value, tensor->dtype, &element))
			return hypi_fail(HYP_ERR_OVERFLOW, "argument value: %s cannot hold %lld",
			                 hypi_dtypes[tensor->dtype].info.name, (long long)value.value.i);
	}
	/* One element converted once, then spread. */
	hyp_dtype plain = hypi_dtype_plain((hyp_dtype)tensor->dtype);
	if (hypi_is_plain(tensor->dtype)) dtype = plain;
	uint64_t element = 0;
	(void)hypi_scalar_to(value, (int)dtype, &element);
	hyp_tensor *one;
	HYPI_TRY(hyp_tensor_from_foreign(dtype, 0, NULL, NULL, &element, 0, sizeof element, 0, 0, NULL, NULL, &one));
	hyp_status status = hypi_copy(tensor, one);
	hyp_tensor_release(one);
	return status;
}

static hyp_status element_offset(const hyp_tensor *t, const int64_t *index, int64_t *ret_offset) {
	int64_t offset = 0;
	if (t->rank > 0 && index == NULL) return hypi_fail(HYP_ERR_INVALID, "argument index: is NULL");
	for (int i = 0; i < t->rank; i++) {
		int64_t at = index[i] < 0 ? index[i] + t->shape[i] : index[i];
		if (at < 0 || at >= t->shape[i])
			return hypi_fail(HYP_ERR_INVALID, "argument index: %lld is outside axis %d of %lld", (long long)index[i], i,
			                 (long long)t->shape[i]);
		offset += at * t->strides[i];
	}
	*ret_offset = offset;
	return HYP_OK;
}

hyp_status hyp_tensor_get(const hyp_tensor *tensor, const int64_t *index, hyp_scalar *ret_value) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_value);
	int64_t offset;
	HYPI_TRY(element_offset(tensor, index, &offset));
	char *data;
	HYPI_TRY(hypi_pin(tensor, "tensor", &data));
	if (hypi_is_plain(tensor->dtype)) {
		*ret_value = hypi_scalar_from(tensor->dtype, data + offset * hypi_bytes_of(tensor->dtype));
	} else {
		int64_t e = hypi_dtypes[tensor->dtype].info.block_elements, in_block = tensor->rank == 0 ? 0 : offset % e;
		float block[256];
		hypi_unpack_row(block, tensor->dtype, data + hypi_offset_bytes(tensor->dtype, offset - in_block), e);
		bool real = hypi_dtypes[tensor->dtype].info.kind == HYP_DTYPE_GGUF;
		*ret_value = real ? hyp_float((double)block[in_block]) : hyp_int(((int8_t *)block)[in_block]);
	}
	hypi_unpin(tensor);
	return HYP_OK;
}

hyp_status hyp_tensor_set(hyp_tensor *tensor, const int64_t *index, hyp_scalar value) {
	HYPI_CHECK_TENSOR(tensor);
	if (hyp_tensor_is_read_only(tensor)) return hypi_fail(HYP_ERR_INVALID, "argument tensor: is read-only");
	int64_t offset;
	HYPI_TRY(element_offset(tensor, index, &offset));
	hyp_dtype_kind kind = hypi_dtypes[tensor->dtype].info.kind;
	if (kind == HYP_DTYPE_GGUF)
		return hypi_fail(HYP_ERR_UNSUPPORTED, "argument tensor: single elements of %s cannot be set",
		                 hypi_dtypes[tensor->dtype].info.name);
	uint64_t element;
	hyp_dtype plain = hypi_dtype_plain((hyp_dtype)tensor->dtype);
	if (!hypi_scalar_to(value, (int)plain, &element) && !hypi_is_float((int)plain))
		return hypi_fail(HYP_ERR_OVERFLOW, "argument value: %s cannot hold %lld", hypi_dtypes[tensor->dtype].info.name,
		                 (long long)value.value.i);
	char *data;
	HYPI_TRY(hypi_pin(tensor, "tensor", &data));
	if (hypi_is_plain(tensor->dtype)) {
		size_t bytes = (size_t)hypi_bytes_of(tensor->dtype);
		memcpy(data + offset * (int64_t)bytes, &element, bytes);
	} else {
		int64_t e = hypi_dtypes[tensor->dtype].info.block_elements, in_block = offset % e;
		/* What pads the row's last block stays what it is. */
		int8_t block[8];
		char *at = data + hypi_offset_bytes(tensor->dtype, offset - in_block);
		hypi_unpack_row(block, tensor->dtype, at, e);
		memcpy(&block[in_block], &element, 1);
		hypi_pack_row(at, tensor->dtype, block, e);
	}
	hypi_unpin(tensor);
	return HYP_OK;
}

static int64_t dense_bytes(const hyp_tensor *t) {
	if (t->elements == 0) return 0;
	int64_t row = t->rank == 0 ? 1 : t->shape[t->rank - 1];
	return t->elements / row * hypi_row_bytes(t->dtype, row);
}

hyp_status hyp_tensor_read(const hyp_tensor *tensor, void *ret_data, size_t bytes) {
	HYPI_CHECK_TENSOR(tensor);
	if (bytes != (size_t)dense_bytes(tensor))
		return hypi_fail(HYP_ERR_INVALID, "argument bytes: %zu, the elements take %lld", bytes,
		                 (long long)dense_bytes(tensor));
	if (bytes == 0) return HYP_OK;
	HYPI_CHECK_RET(ret_data);
	hyp_tensor *dense;
	HYPI_TRY(hyp_tensor_contiguous(tensor, &dense));
	char *data;
	hyp_status status = hypi_pin(dense, "tensor", &data);
	if (status == HYP_OK) {
		memcpy(ret_data, data, bytes);
		hypi_unpin(dense);
	}
	hyp_tensor_release(dense);
	return status;
}

hyp_status hyp_tensor_write(hyp_tensor *tensor, const void *data, size_t bytes) {
	HYPI_CHECK_TENSOR(tensor);
	if (bytes != (size_t)dense_bytes(tensor))
		return hypi_fail(HYP_ERR_INVALID, "argument bytes: %zu, the elements take %lld", bytes,
		                 (long long)dense_bytes(tensor));
	if (bytes == 0) return HYP_OK;
	HYPI_CHECK_RET(data);
	HYPI_TRY(hypi_check_output(tensor, "tensor"));
	if (tensor->contiguous) {
		char *to;
		HYPI_TRY(hypi_pin(tensor, "tensor", &to));
		memcpy(to, data, bytes);
		hypi_unpin(tensor);
		return HYP_OK;
	}
	hyp_tensor *from;
	HYPI_TRY(hyp_tensor_from_data((hyp_dtype)tensor->dtype, tensor->rank, tensor->shape, NULL, data, &from));
	hyp_status status = hyp_tensor_copy(tensor, from);
	hyp_tensor_release(from);
	return status;
}
