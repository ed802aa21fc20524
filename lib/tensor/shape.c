/*
 * tensor/shape.c: arithmetic on shapes and strides. Everything is checked for overflow here, once, so that the
 * operations need not.
 */
#include "tensor/internal.h"

#include <stdio.h>

const char *hypi_shape_text(int rank, const int64_t *shape, char *buffer) {
	size_t at = 0;
	buffer[at++] = '[';
	for (int i = 0; i < rank && at < HYPI_SHAPE_TEXT - 28; i++)
		at += (size_t)snprintf(buffer + at, HYPI_SHAPE_TEXT - at, i == 0 ? "%lld" : ", %lld", (long long)shape[i]);
	(void)snprintf(buffer + at, HYPI_SHAPE_TEXT - at, "]");
	return buffer;
}

hyp_status hypi_axis(int axis, int rank, int *ret_axis) {
	int a = axis < 0 ? axis + rank : axis;
	if (a < 0 || a >= rank) return hypi_fail(HYP_ERR_INVALID, "axis %d is outside a tensor of rank %d", axis, rank);
	*ret_axis = a;
	return HYP_OK;
}

hyp_status hypi_shape_check(hyp_dtype dtype, int rank, const int64_t *shape, int64_t *ret_elements,
                            int64_t *ret_bytes) {
	if (!hypi_dtype_valid((int)dtype)) return hypi_fail(HYP_ERR_TYPE, "argument dtype: %d is no type", (int)dtype);
	if (rank < 0 || rank > HYP_TENSOR_MAX_RANK)
		return hypi_fail(HYP_ERR_SHAPE, "argument rank: %d is not in 0..%d", rank, HYP_TENSOR_MAX_RANK);
	if (rank > 0 && shape == NULL) return hypi_fail(HYP_ERR_INVALID, "argument shape: is NULL");
	/* Extents of 0 do not excuse the others: the product without them must fit, as NumPy has it. */
	int64_t product = 1, bytes = hypi_is_plain((int)dtype) ? hypi_bytes_of((int)dtype) : 1;
	bool empty = false;
	for (int i = 0; i < rank; i++) {
		int64_t extent = shape[i];
		if (extent < 0) return hypi_fail(HYP_ERR_SHAPE, "argument shape: extent %d is %lld", i, (long long)extent);
		if (extent == 0) {
			empty = true;
			continue;
		}
		int64_t wide = extent;
		if (i == rank - 1 && !hypi_is_plain((int)dtype)) {
			int64_t e = hypi_dtypes[dtype].info.block_elements;
			if (hypi_dtypes[dtype].info.kind == HYP_DTYPE_GGUF && extent % e != 0)
				return hypi_fail(HYP_ERR_SHAPE,
				                 "argument shape: the last extent, %lld, is not a multiple of %lld, the "
				                 "block of %s",
				                 (long long)extent, (long long)e, hypi_dtypes[dtype].info.name);
			if (extent > INT64_MAX - e) return hypi_fail(HYP_ERR_OVERFLOW, "argument shape: its size overflows");
			wide = hypi_row_bytes((int)dtype, extent);
			if (wide < 0 || extent > INT64_MAX / 64)
				return hypi_fail(HYP_ERR_OVERFLOW, "argument shape: its size overflows");
		}
		if (__builtin_mul_overflow(product, extent, &product) || __builtin_mul_overflow(bytes, wide, &bytes) ||
		    bytes > INT64_MAX / 64)
			return hypi_fail(HYP_ERR_OVERFLOW, "argument shape: its size overflows at extent %d", i);
	}
	if (rank == 0 && !hypi_is_plain((int)dtype)) bytes = hypi_row_bytes((int)dtype, 1);
	*ret_elements = empty ? 0 : product;
	*ret_bytes = empty ? 0 : bytes;
	return HYP_OK;
}

void hypi_strides_row_major(hyp_dtype dtype, int rank, const int64_t *shape, int64_t *ret_strides) {
	int64_t stride = 1, e = hypi_dtypes[dtype].info.block_elements;
	for (int i = rank - 1; i >= 0; i--) {
		ret_strides[i] = stride;
		int64_t extent = shape[i] > 0 ? shape[i] : 1;
		stride *= i == rank - 1 ? (extent + e - 1) / e * e : extent;
	}
}

bool hypi_is_row_major(hyp_dtype dtype, int rank, const int64_t *shape, const int64_t *strides) {
	int64_t stride = 1, e = hypi_dtypes[dtype].info.block_elements;
	for (int i = rank - 1; i >= 0; i--) {
		if (shape[i] == 0) return true;
		if (shape[i] != 1 && strides[i] != stride) return false;
		stride *= i == rank - 1 ? (shape[i] + e - 1) / e * e : shape[i];
	}
	return true;
}

hyp_status hypi_extent(hyp_dtype dtype, int rank, const int64_t *shape, const int64_t *strides, int64_t *ret_low,
                       int64_t *ret_high) {
	int64_t low = 0, high = 0, e = hypi_dtypes[dtype].info.block_elements;
	for (int i = 0; i < rank; i++) {
		if (shape[i] == 0) {
			*ret_low = *ret_high = 0;
			return HYP_OK;
		}
	}
	for (int i = 0; i < rank; i++) {
		int64_t reach;
		if (shape[i] > 1 && e > 1 && (i == rank - 1 ? strides[i] != 1 : strides[i] % e != 0))
			return hypi_fail(HYP_ERR_INVALID,
			                 "argument strides: stride %d of the packed type %s is %lld; the last is 1, "
			                 "the others multiples of %lld",
			                 i, hypi_dtypes[dtype].info.name, (long long)strides[i], (long long)e);
		if (__builtin_mul_overflow(shape[i] - 1, strides[i], &reach) ||
		    __builtin_add_overflow(reach < 0 ? low : high, reach, reach < 0 ? &low : &high))
			return hypi_fail(HYP_ERR_OVERFLOW, "argument strides: stride %d, %lld, overflows", i,
			                 (long long)strides[i]);
	}
	if (low < -(INT64_MAX / 128) || high > INT64_MAX / 128)
		return hypi_fail(HYP_ERR_OVERFLOW, "argument strides: they reach too far");
	*ret_low = hypi_offset_bytes((int)dtype, low / e * e);
	*ret_high = hypi_row_bytes((int)dtype, high + 1);
	return HYP_OK;
}

hyp_status hypi_broadcast(int rank_a, const int64_t *a, int rank_b, const int64_t *b, int *ret_rank,
                          int64_t *ret_shape) {
	int rank = rank_a > rank_b ? rank_a : rank_b;
	int64_t product = 1;
	for (int i = 0; i < rank; i++) {
		int64_t extent_a = i < rank - rank_a ? 1 : a[i - (rank - rank_a)];
		int64_t extent_b = i < rank - rank_b ? 1 : b[i - (rank - rank_b)];
		if (extent_a != extent_b && extent_a != 1 && extent_b != 1) {
			char text_a[HYPI_SHAPE_TEXT], text_b[HYPI_SHAPE_TEXT];
			return hypi_fail(HYP_ERR_SHAPE, "arguments a and b: shapes %s and %s do not broadcast",
			                 hypi_shape_text(rank_a, a, text_a), hypi_shape_text(rank_b, b, text_b));
		}
		ret_shape[i] = extent_a == 1 ? extent_b : extent_a;
		if (ret_shape[i] > 0 && __builtin_mul_overflow(product, ret_shape[i], &product))
			return hypi_fail(HYP_ERR_OVERFLOW, "arguments a and b: their broadcast shape overflows");
	}
	*ret_rank = rank;
	return HYP_OK;
}
