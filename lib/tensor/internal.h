/*
 * tensor/internal.h: what a tensor is, for the files of tensor/ and interop/.
 *
 * A tensor's header lives in a slot that is never given back to the system, so that a stale pointer reads a dead
 * header and not somebody's memory. `life` holds the slot's generation (high half) and the reference count (low half)
 * in one word: a weak handle is (generation, slot), and taking a reference through it is one compare-and-swap that
 * succeeds only while the generation is the same and the count is not 0 (the idea: Michael, "ABA prevention using
 * single-word instructions", 2004).
 *
 * Storage is counted by the tensors on it. Invariants, set at creation and kept by every view:
 *   - every element lies in [0, storage->bytes);
 *   - strides are in elements; a packed type's last axis has stride 1, starts on a block, and all other strides are
 *     multiples of the block (extents of at most 1 element may have any stride);
 *   - elements, its product of extents, and every byte offset fit int64.
 */
#ifndef HYPI_TENSOR_INTERNAL_H
#define HYPI_TENSOR_INTERNAL_H

#include "base/atomic.h"
#include "base/compiler.h"

#include <hypool/tensor.h>

#include <stdlib.h>
#include <string.h>

struct hypi_storage;

#define HYPI_INLINE_RANK 6 /* dimensions in the slot itself; more take a block of their own */

struct hyp_tensor {
	_Atomic uint64_t life; /* generation << 32 | references */
	uint32_t slot;
	uint8_t dtype; /* hyp_dtype */
	uint8_t rank;
	uint8_t contiguous; /* row-major without gaps; set by hypi_tensor_set_layout */
	uint8_t flags;      /* HYP_TENSOR_READ_ONLY of this view */
	_Atomic bool
		weakened; /* a weak handle was asked for: the count may rise from 1 without a reference. Relaxed: set by
	                        * who has a reference, read by who has the last one */
	struct hypi_storage *storage;
	int64_t offset_bytes; /* of element 0, from storage's start */
	int64_t elements;
	int64_t *shape;   /* rank of them; = dims or a block */
	int64_t *strides; /* shape + rank capacity */
	uint64_t tag;
	uint64_t created_ms;
	char *name;                   /* NULL: none; owned */
	struct hyp_tensor *next_free; /* of a dead slot */
	int64_t dims[2 * HYPI_INLINE_RANK];
};

/* ---- errors (error.c) ---- */

/* Writes this thread's error text and returns status. */
hyp_status hypi_fail(hyp_status status, const char *format, ...) HYP_PRINTF(2, 3);
/* "argument <name>: is NULL" or "... was freed". */
hyp_status hypi_fail_argument(const hyp_tensor *t, const char *name);

HYP_INLINE bool hypi_is_live(const hyp_tensor *t) {
	return t != NULL && (uint32_t)atomic_load_explicit(&((hyp_tensor *)(uintptr_t)t)->life, memory_order_relaxed) != 0;
}
/* Every public function begins with these. */
#define HYPI_CHECK_TENSOR(t) \
	if (HYP_UNLIKELY(!hypi_is_live(t))) return hypi_fail_argument((t), #t)
#define HYPI_CHECK_RET(p) \
	if (HYP_UNLIKELY((p) == NULL)) return hypi_fail(HYP_ERR_INVALID, "argument " #p ": is NULL")
#define HYPI_TRY(call) \
	do { \
		hyp_status try_status_ = (call); \
		if (HYP_UNLIKELY(try_status_ != HYP_OK)) return try_status_; \
	} while (0)

/* ---- threads' own state (slot.c) ---- */

#define HYPI_ERROR_BYTES 256
struct hypi_thread {
	hyp_tensor *free; /* cached dead slots */
	uint32_t free_count;
	_Atomic int64_t live; /* tensors made less tensors released here; summed over threads it is the live count */
	struct hypi_thread *next, *previous;
	char error[HYPI_ERROR_BYTES];
};
/* NULL only when out of memory. */
struct hypi_thread *hypi_thread_self(void);

/* ---- slots (slot.c) ---- */

/* A live header with one reference and room for rank dimensions; everything else is 0. NULL: out of memory. */
hyp_tensor *hypi_slot_take(int rank);
void hypi_slot_give(hyp_tensor *t); /* the count has just reached 0; name and storage are gone already */

/* ---- types (dtype.c) ---- */

struct hypi_dtype {
	hyp_dtype_info info;
	uint8_t log2_bytes; /* of a plain type */
};
extern const struct hypi_dtype hypi_dtypes[];
extern const uint32_t hypi_dtype_count; /* one past the greatest number */

HYP_INLINE bool hypi_dtype_valid(int d) { return d > 0 && (uint32_t)d < hypi_dtype_count; }
HYP_INLINE bool hypi_is_plain(int d) { return hypi_dtypes[d].info.block_elements == 1; }
HYP_INLINE bool hypi_is_float(int d) { return hypi_dtypes[d].info.kind == HYP_DTYPE_FLOAT; }
HYP_INLINE int64_t hypi_bytes_of(int d) { return hypi_dtypes[d].info.block_bytes; } /* of a plain type's element */
/* Byte offset of an element offset that is a multiple of the block. */
HYP_INLINE int64_t hypi_offset_bytes(int d, int64_t elements) {
	return hypi_is_plain(d) ? elements * hypi_bytes_of(d)
	                        : elements / hypi_dtypes[d].info.block_elements * hypi_dtypes[d].info.block_bytes;
}
/* Bytes of a row of n elements. */
HYP_INLINE int64_t hypi_row_bytes(int d, int64_t n) {
	int64_t e = hypi_dtypes[d].info.block_elements;
	return (n + e - 1) / e * hypi_dtypes[d].info.block_bytes;
}
/* The type that a packed type is read as: I8, or F32 for GGUF; a plain type itself. */
hyp_dtype hypi_dtype_plain(hyp_dtype d);
/* As hyp_dtype_promote, of plain types, unchecked. */
hyp_dtype hypi_promote(hyp_dtype a, hyp_dtype b);

/* ---- shapes (shape.c) ---- */

/* Checks rank, extents and the product; ret_bytes is what row-major storage takes. */
hyp_status hypi_shape_check(hyp_dtype dtype, int rank, const int64_t *shape, int64_t *ret_elements, int64_t *ret_bytes);
void hypi_strides_row_major(hyp_dtype dtype, int rank, const int64_t *shape, int64_t *ret_strides);
bool hypi_is_row_major(hyp_dtype dtype, int rank, const int64_t *shape, const int64_t *strides);
/* Lowest byte and one past the highest that the elements touch, relative to element 0. HYP_ERR_OVERFLOW. Of no
 * elements: 0, 0. The strides of a packed type are checked as well. */
hyp_status hypi_extent(hyp_dtype dtype, int rank, const int64_t *shape, const int64_t *strides, int64_t *ret_low,
                       int64_t *ret_high);
/* NumPy's broadcast of two shapes into ret_shape[HYP_TENSOR_MAX_RANK]. */
hyp_status hypi_broadcast(int rank_a, const int64_t *a, int rank_b, const int64_t *b, int *ret_rank,
                          int64_t *ret_shape);
/* "[2, 3]" for messages, into the caller's buffer, which it returns. */
#define HYPI_SHAPE_TEXT 96
const char *hypi_shape_text(int rank, const int64_t *shape, char *buffer);
/* -rank..rank-1 to 0..rank-1. */
hyp_status hypi_axis(int axis, int rank, int *ret_axis);

/* ---- tensors (tensor.c) ---- */

/* Sets type, shape and strides, elements and the contiguous flag of a fresh header. strides NULL: row-major. */
void hypi_tensor_set_layout(hyp_tensor *t, hyp_dtype dtype, int rank, const int64_t *shape, const int64_t *strides,
                            int64_t elements);
/* Another tensor on t's storage with another layout, which must keep the invariants. */
hyp_status hypi_tensor_derive(const hyp_tensor *t, hyp_dtype dtype, int rank, const int64_t *shape,
                              const int64_t *strides, int64_t offset_bytes, hyp_tensor **ret_tensor);
/* Row-major in the default pool on the host. */
hyp_status hypi_tensor_new(hyp_dtype dtype, int rank, const int64_t *shape, hyp_tensor **ret_tensor);
/* The same of a's type and shape, which need no check: a is plain and row-major. */
hyp_status hypi_tensor_new_like(const hyp_tensor *a, hyp_tensor **ret_tensor);

/* Pins and gives element 0's address; the tensor must be on the host. */
hyp_status hypi_pin(const hyp_tensor *t, const char *name, char **ret_data);
/* For who pins several at once and has read the clock (hypi_coarse_ms). */
hyp_status hypi_pin_at(const hyp_tensor *t, const char *name, uint64_t now_ms, char **ret_data);
void hypi_unpin(const hyp_tensor *t);
/* Refuses read-only tensors and ones whose elements overlap. */
hyp_status hypi_check_output(const hyp_tensor *out, const char *name);

/* A coarse monotonic clock in milliseconds (storage.c). */
uint64_t hypi_coarse_ms(void);

/* ---- copies (copy.c) ---- */

/* from broadcasts into to; both on the host, checked. No profile. */
hyp_status hypi_copy(hyp_tensor *to, const hyp_tensor *from);
/* t itself with a reference, or a plain row-major copy if it is packed. */
hyp_status hypi_plain(const hyp_tensor *t, const hyp_tensor **ret_tensor);
/* A row-major tensor of that type with t's elements: t with a reference if it is one. */
hyp_status hypi_as(const hyp_tensor *t, hyp_dtype dtype, const hyp_tensor **ret_tensor);

#endif
