/*
 * hypool/tensor.h: tensors: creation, metadata, views, element access, conversion.
 *
 * A tensor is a counted reference to storage, with a type, a shape, strides in elements (any sign, also 0) and an
 * offset. Views share storage; the storage goes back to its pool when the last tensor on it is released. Storage in a
 * pool may be moved by the pool while nothing has it locked: hyp_tensor_lock gives an address that holds until
 * hyp_tensor_unlock.
 *
 * Every function may be called by any thread; two threads may use one tensor at once as long as neither writes its
 * elements or metadata. On failure outputs are untouched, nothing is leaked, and hyp_tensor_last_error says which
 * argument was wrong and why. A released tensor passed again is refused with HYP_ERR_STALE while its slot is unused.
 */
#ifndef HYPOOL_TENSOR_H
#define HYPOOL_TENSOR_H

#include <hypool/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HYP_TENSOR_MAX_RANK 32

typedef struct hyp_tensor hyp_tensor;
typedef uint64_t hyp_tensor_weak; /* slot and generation; 0 is never one */
struct hyp_pool;

typedef enum hyp_dtype {
#define HYP_DTYPE_X(name, number, text, kind, elements, bytes, doc) HYP_##name = number,
#include <hypool/dtype.def>
#undef HYP_DTYPE_X
} hyp_dtype;

typedef enum hyp_dtype_kind {
	HYP_DTYPE_BOOL,
	HYP_DTYPE_INT,
	HYP_DTYPE_UINT,
	HYP_DTYPE_FLOAT,
	HYP_DTYPE_PACKED,
	HYP_DTYPE_TERNARY,
	HYP_DTYPE_GGUF
} hyp_dtype_kind;

typedef struct hyp_dtype_info {
	const char *name;
	hyp_dtype_kind kind;
	uint32_t block_elements;
	uint32_t block_bytes;
	const char *doc;
} hyp_dtype_info;

/* Static; NULL for a number that is no type. */
HYP_API const hyp_dtype_info *hyp_dtype_describe(hyp_dtype dtype);
/* NumPy's promotion of two plain types; BF16 with F16 is F32. */
HYP_API HYP_NODISCARD hyp_status hyp_dtype_promote(hyp_dtype a, hyp_dtype b, hyp_dtype *ret_dtype);

/* One value of any type. Make it with hyp_float, hyp_int or hyp_bool. */
typedef enum hyp_scalar_kind { HYP_SCALAR_BOOL, HYP_SCALAR_INT, HYP_SCALAR_FLOAT } hyp_scalar_kind;
typedef struct hyp_scalar {
	hyp_scalar_kind kind;
	union {
		double f;
		int64_t i; /* also of a bool: 0 or 1 */
	} value;
} hyp_scalar;

static inline hyp_scalar hyp_float(double x) {
	hyp_scalar s;
	s.kind = HYP_SCALAR_FLOAT;
	s.value.f = x;
	return s;
}
static inline hyp_scalar hyp_int(int64_t x) {
	hyp_scalar s;
	s.kind = HYP_SCALAR_INT;
	s.value.i = x;
	return s;
}
static inline hyp_scalar hyp_bool(bool x) {
	hyp_scalar s;
	s.kind = HYP_SCALAR_BOOL;
	s.value.i = x ? 1 : 0;
	return s;
}

/* The text of this thread's last failure in this library; "" if there was none. Valid until the thread's next call. */
HYP_API const char *hyp_tensor_last_error(void);

/* ---- creation: each gives a tensor with one reference, row-major ------------------------------------------------ */

/* Where storage is to lie. NULL where one is asked for means the default pool, the host, 64 bytes. */
typedef struct hyp_tensor_place {
	size_t struct_bytes;   /* sizeof(hyp_tensor_place) */
	struct hyp_pool *pool; /* NULL: the default pool */
	int device;            /* index; 0 is the host */
	size_t alignment;      /* of the first element: a power of two; 0: 64, of less than 256 bytes 16 */
} hyp_tensor_place;

HYP_API HYP_NODISCARD hyp_status hyp_tensor_empty_at(const hyp_tensor_place *place, hyp_dtype dtype, int rank,
                                                     const int64_t *shape, hyp_tensor **ret_tensor);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_empty(hyp_dtype dtype, int rank, const int64_t *shape,
                                                  hyp_tensor **ret_tensor);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_zeros(hyp_dtype dtype, int rank, const int64_t *shape,
                                                  hyp_tensor **ret_tensor);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_ones(hyp_dtype dtype, int rank, const int64_t *shape,
                                                 hyp_tensor **ret_tensor);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_full(hyp_dtype dtype, int rank, const int64_t *shape, hyp_scalar value,
                                                 hyp_tensor **ret_tensor);
/* start, start + step, ... below (above, for a negative step) stop: ceil((stop - start) / step) elements. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_arange(hyp_dtype dtype, double start, double stop, double step,
                                                   hyp_tensor **ret_tensor);
/* Ones on the diagonal `diagonal` (0 the main one, positive above it), zeros elsewhere. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_eye(hyp_dtype dtype, int64_t rows, int64_t columns, int64_t diagonal,
                                                hyp_tensor **ret_tensor);
/* Uniform in [low, high) (integers: the integers in it), a function of seed and index alone, whatever the threads. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_random(hyp_dtype dtype, int rank, const int64_t *shape, uint64_t seed,
                                                   double low, double high, hyp_tensor **ret_tensor);
/* Normal with mean 0 and deviation 1 (Box and Muller, 1958); float types. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_random_normal(hyp_dtype dtype, int rank, const int64_t *shape,
                                                          uint64_t seed, hyp_tensor **ret_tensor);
/* Copies from `data`: row-major if strides is NULL (packed types always are), else strides in elements. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_from_data(hyp_dtype dtype, int rank, const int64_t *shape,
                                                      const int64_t *strides, const void *data,
                                                      hyp_tensor **ret_tensor);

enum { HYP_TENSOR_READ_ONLY = 1 };

/*
 * A tensor over memory that is not hypool's. `data` + byte_offset is element 0; it need only be aligned to one element.
 * `bytes` is the size of the region from `data` on, and every element must lie in it; SIZE_MAX if unknown (then
 * elements may also lie below data). `deleter` (NULL: none) is called once with `context` when the last tensor on the
 * storage goes, by whichever thread; never if this call fails.
 */
typedef void hyp_tensor_deleter(void *context);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_from_foreign(hyp_dtype dtype, int rank, const int64_t *shape,
                                                         const int64_t *strides, void *data, size_t byte_offset,
                                                         size_t bytes, int device, uint32_t flags,
                                                         hyp_tensor_deleter *deleter, void *context,
                                                         hyp_tensor **ret_tensor);

/* ---- references ------------------------------------------------------------------------------------------------ */

HYP_API hyp_tensor *hyp_tensor_retain(hyp_tensor *tensor); /* NULL if it is NULL or was freed */
HYP_API void hyp_tensor_release(hyp_tensor *tensor);       /* NULL is allowed */
HYP_API uint32_t hyp_tensor_references(const hyp_tensor *tensor);
/* A weak handle keeps nothing alive. Locking it gives a new reference, or HYP_ERR_STALE when the tensor has gone. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_weaken(const hyp_tensor *tensor, hyp_tensor_weak *ret_weak);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_weak_lock(hyp_tensor_weak weak, hyp_tensor **ret_tensor);
/* Tensors that live in this process, for leak checks. */
HYP_API uint64_t hyp_tensor_live_count(void);

/* ---- metadata: -1, NULL or 0 for a tensor that is NULL or freed -------------------------------------------------- */

HYP_API int hyp_tensor_rank(const hyp_tensor *tensor);
HYP_API const int64_t *hyp_tensor_shape(const hyp_tensor *tensor);
HYP_API const int64_t *hyp_tensor_strides(const hyp_tensor *tensor); /* in elements */
HYP_API hyp_dtype hyp_tensor_dtype(const hyp_tensor *tensor);
HYP_API int64_t hyp_tensor_elements(const hyp_tensor *tensor);
HYP_API int64_t hyp_tensor_offset(const hyp_tensor *tensor); /* of element 0 from the start of the storage, bytes */
HYP_API size_t hyp_tensor_storage_bytes(const hyp_tensor *tensor);
HYP_API int hyp_tensor_device(const hyp_tensor *tensor);
HYP_API bool hyp_tensor_is_contiguous(const hyp_tensor *tensor);
HYP_API bool hyp_tensor_is_read_only(const hyp_tensor *tensor);
HYP_API bool hyp_tensor_shares_storage(const hyp_tensor *a, const hyp_tensor *b);

/* What is kept besides, all optional: a name (up to 63 bytes), a tag, ages and a count. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_set_name(hyp_tensor *tensor, const char *name);
HYP_API const char *hyp_tensor_name(const hyp_tensor *tensor); /* "" if it has none */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_set_tag(hyp_tensor *tensor, uint64_t tag);
HYP_API uint64_t hyp_tensor_tag(const hyp_tensor *tensor);

typedef struct hyp_tensor_info {
	size_t struct_bytes; /* set by the caller to sizeof(hyp_tensor_info) */
	uint64_t id;         /* the weak handle */
	hyp_dtype dtype;
	int rank;
	int device;
	uint32_t references;         /* of this tensor */
	uint32_t storage_references; /* tensors on its storage */
	uint64_t created_ms;         /* coarse monotonic clock */
	uint64_t used_ms;            /* of its storage: the last lock by an operation or the caller */
	uint64_t use_count;          /* of its storage: how often it was locked */
	uint64_t tag;
	size_t storage_bytes;
	size_t compressed_bytes; /* what stands in memory of an idle storage instead; 0: it is not compressed */
	bool contiguous, read_only, foreign;
} hyp_tensor_info;
HYP_API HYP_NODISCARD hyp_status hyp_tensor_describe(const hyp_tensor *tensor, hyp_tensor_info *ret_info);

/* Storage is pinned between the two; calls nest. The address is that of element 0. Host devices only. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_lock(const hyp_tensor *tensor, void **ret_data);
HYP_API void hyp_tensor_unlock(const hyp_tensor *tensor);

/* ---- idle tensors ----------------------------------------------------------------------------------------------- */

/* Turns compression on or off. Tensors of the host whose storage nobody has locked for least_idle_ms are then compressed
 * when memory is short (hypool/cleanup.h asks), and by the calls below; whoever locks one next, an operation or
 * hyp_tensor_lock, restores it first, and may so meet HYP_ERR_NO_MEMORY. Turn it on before other threads use tensors; a
 * lock costs some nanoseconds more from then on. Off: nothing more is compressed. HYP_ERR_UNSUPPORTED: no Zstandard. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_compression(bool on, uint64_t least_idle_ms);
/* One now, if that saves an eighth of at least 4096 bytes: else 0 is saved. HYP_ERR_BUSY: it is locked.
 * HYP_ERR_UNSUPPORTED: compression is off. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_compress(const hyp_tensor *tensor, size_t *ret_saved_bytes);
/* All that were made since compression was turned on and have been idle that long. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_compress_idle(uint64_t least_idle_ms, size_t *ret_saved_bytes);

/* ---- views: new tensors on the same storage, no copy ------------------------------------------------------------ */

/* Marks a start or stop that is not given, as an empty place in Python's a[i:j:k]. */
#define HYP_SLICE_OPEN INT64_MIN
typedef struct hyp_slice {
	int64_t start, stop, step; /* as Python's: negative counts from the end; step is not 0 */
} hyp_slice;

HYP_API HYP_NODISCARD hyp_status hyp_tensor_view(const hyp_tensor *tensor, hyp_tensor **ret_view);
/* One slice for each of the first `count` axes; the rest are whole. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_slice(const hyp_tensor *tensor, int count, const hyp_slice *slices,
                                                  hyp_tensor **ret_view);
/* Removes an axis by fixing its index (negative counts from the end). */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_select(const hyp_tensor *tensor, int axis, int64_t index,
                                                   hyp_tensor **ret_view);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_transpose(const hyp_tensor *tensor, int axis_a, int axis_b,
                                                      hyp_tensor **ret_view);
/* axes[i] is the old axis that becomes axis i; NULL reverses them. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_permute(const hyp_tensor *tensor, const int *axes, hyp_tensor **ret_view);
/* One extent may be -1: what is left. HYP_ERR_UNSUPPORTED if it cannot be had without a copy. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_reshape(const hyp_tensor *tensor, int rank, const int64_t *shape,
                                                    hyp_tensor **ret_view);
/* Removes axes of extent 1: the named ones, or all of them if axes is NULL. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_squeeze(const hyp_tensor *tensor, int count, const int *axes,
                                                    hyp_tensor **ret_view);
/* A new axis of extent 1 before `axis` (of the result; negative counts from its end). */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_unsqueeze(const hyp_tensor *tensor, int axis, hyp_tensor **ret_view);
/* Broadcasts to the shape: extents 1 get stride 0, new axes come in front. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_expand(const hyp_tensor *tensor, int rank, const int64_t *shape,
                                                   hyp_tensor **ret_view);
/* Any shape, strides and offset in elements from the start of the storage, as long as all lies within it. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_as_strided(const hyp_tensor *tensor, int rank, const int64_t *shape,
                                                       const int64_t *strides, int64_t offset, hyp_tensor **ret_view);
/* Itself with one more reference if it is row-major already, else a row-major copy. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_contiguous(const hyp_tensor *tensor, hyp_tensor **ret_tensor);

/* ---- elements and conversion ------------------------------------------------------------------------------------ */

HYP_API HYP_NODISCARD hyp_status hyp_tensor_get(const hyp_tensor *tensor, const int64_t *index, hyp_scalar *ret_value);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_set(hyp_tensor *tensor, const int64_t *index, hyp_scalar value);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_fill(hyp_tensor *tensor, hyp_scalar value);
/* Broadcasts `from` into `to`, converting. Floats to integers go toward zero and saturate, NaN gives 0; integers among
 * themselves wrap; to BOOL: is it not 0. Floats round to nearest even. They may overlap. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_copy(hyp_tensor *to, const hyp_tensor *from);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_clone(const hyp_tensor *tensor, hyp_tensor **ret_tensor);
/* To packed integers: saturating. To the ternary types: the nearest of -1, 0, 1. To GGUF blocks: their quantiser. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_cast(const hyp_tensor *tensor, hyp_dtype dtype, hyp_tensor **ret_tensor);
/* A copy on another device, finished when the call returns; one more reference if it lies there already. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_to(const hyp_tensor *tensor, int device, hyp_tensor **ret_tensor);
/* A row-major copy in that place: in any pool, on any device, with any alignment (NULL: the default pool). So whatever
 * can be created can be created there. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_to_place(const hyp_tensor *tensor, const hyp_tensor_place *place,
                                                     hyp_tensor **ret_tensor);
/* All elements, row-major, into the caller's memory; `bytes` must be what they take. And from it. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_read(const hyp_tensor *tensor, void *ret_data, size_t bytes);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_write(hyp_tensor *tensor, const void *data, size_t bytes);

/* ---- threads ---------------------------------------------------------------------------------------------------- */

/* Threads that big operations share, the caller included; 0: what hwloc counts as cores of this process. Waits for
 * operations in progress. The option tensor_threads sets the same before first use. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_set_threads(unsigned threads);
HYP_API unsigned hyp_tensor_threads(void);

#ifdef __cplusplus
}
#endif

#endif
