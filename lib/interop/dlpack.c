/*
 * interop/dlpack.c: DLPack in and out (interop.h).
 *
 * The structures follow the published layout of DLPack 1.1, whose fields have not moved since 0.2 but for the versioned
 * form's head; static asserts pin them. An exported structure, its shape and its strides are one block, freed by its
 * own deleter.
 */
#include "tensor/internal.h"
#include "tensor/storage.h"

#include <hypool/hypool.h>
#include <hypool/interop.h>

enum { DL_CPU = 1, DL_CUDA_HOST = 3 };
enum { DL_INT = 0, DL_UINT = 1, DL_FLOAT = 2, DL_BFLOAT = 4, DL_BOOL = 6 };
enum { DL_READ_ONLY = 1, DL_COPIED = 2, DL_SUBBYTE_PADDED = 4 };
#define DL_MAJOR 1
#define DL_MINOR 1

struct dl_tensor {
	void *data;
	struct {
		int32_t device_type, device_id;
	} device;
	int32_t ndim;
	struct {
		uint8_t code, bits;
		uint16_t lanes;
	} dtype;
	int64_t *shape, *strides; /* strides in elements; NULL: row-major */
	uint64_t byte_offset;
};

struct DLManagedTensor {
	struct dl_tensor tensor;
	void *manager_context;
	void (*deleter)(struct DLManagedTensor *self);
};

struct DLManagedTensorVersioned {
	struct {
		uint32_t major, minor;
	} version;
	void *manager_context;
	void (*deleter)(struct DLManagedTensorVersioned *self);
	uint64_t flags;
	struct dl_tensor tensor;
};

_Static_assert(sizeof(struct dl_tensor) == 48 && offsetof(struct dl_tensor, byte_offset) == 40, "DLPack's layout");
_Static_assert(sizeof(struct DLManagedTensor) == 64, "DLPack's layout");
_Static_assert(sizeof(struct DLManagedTensorVersioned) == 80 && offsetof(struct DLManagedTensorVersioned, tensor) == 32,
               "DLPack's layout");

/* ---- export ---- */

static void type_of(int dtype, struct dl_tensor *dl) {
	static const uint8_t codes[] = {
		[HYP_DTYPE_BOOL] = DL_BOOL, [HYP_DTYPE_INT] = DL_INT, [HYP_DTYPE_UINT] = DL_UINT, [HYP_DTYPE_FLOAT] = DL_FLOAT};
	dl->dtype.lanes = 1;
	if (!hypi_is_plain(dtype)) {
		dl->dtype.code = DL_UINT;
		dl->dtype.bits = 8;
		return;
	}
	dl->dtype.code = dtype == HYP_BF16 ? DL_BFLOAT : codes[hypi_dtypes[dtype].info.kind];
	dl->dtype.bits = (uint8_t)(hypi_bytes_of(dtype) * 8);
}

/* Fills dl and its axes; the tensor is locked afterwards. */
static hyp_status fill(const hyp_tensor *t, struct dl_tensor *dl, int64_t *axes) {
	char *data;
	HYPI_TRY(hypi_pin(t, "tensor", &data));
	int rank = t->rank == 0 && !hypi_is_plain(t->dtype) ? 1 : t->rank;
	memset(dl, 0, sizeof *dl);
	dl->data = data;
	dl->device.device_type = DL_CPU;
	dl->ndim = rank;
	dl->shape = axes;
	dl->strides = axes + rank;
	type_of(t->dtype, dl);
	for (int i = 0; i < t->rank; i++) {
		bool row = i == t->rank - 1;
		dl->shape[i] = row && !hypi_is_plain(t->dtype) ? hypi_row_bytes(t->dtype, t->shape[i]) : t->shape[i];
		dl->strides[i] = row || hypi_is_plain(t->dtype) ? t->strides[i] : hypi_offset_bytes(t->dtype, t->strides[i]);
	}
	if (rank != t->rank) {
		dl->shape[0] = hypi_row_bytes(t->dtype, 1);
		dl->strides[0] = 1;
	}
	return HYP_OK;
}

static void let_go(void *context) {
	hyp_tensor *t = context;
	hypi_unpin(t);
	hyp_tensor_release(t);
}

static void delete_managed(struct DLManagedTensor *self) {
	if (self == NULL) return;
	let_go(self->manager_context);
	hyp_free(self);
}

static void delete_versioned(struct DLManagedTensorVersioned *self) {
	if (self == NULL) return;
	let_go(self->manager_context);
	hyp_free(self);
}

static size_t axes_bytes(const hyp_tensor *t) { return 2 * sizeof(int64_t) * (size_t)(t->rank == 0 ? 1 : t->rank); }

hyp_status hyp_tensor_to_dlpack(const hyp_tensor *tensor, struct DLManagedTensor **ret_managed) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_managed);
	if (hyp_tensor_is_read_only(tensor))
		return hypi_fail(HYP_ERR_UNSUPPORTED, "argument tensor: is read-only, which only the versioned form can say");
	struct DLManagedTensor *m = hyp_malloc(sizeof *m + axes_bytes(tensor));
	if (m == NULL) return hypi_fail(HYP_ERR_NO_MEMORY, "no memory for a DLPack structure");
	hyp_status status = fill(tensor, &m->tensor, (int64_t *)(m + 1));
	if (status != HYP_OK) {
		hyp_free(m);
		return status;
	}
	m->manager_context = hyp_tensor_retain((hyp_tensor *)(uintptr_t)tensor);
	m->deleter = delete_managed;
	*ret_managed = m;
	return HYP_OK;
}

hyp_status hyp_tensor_to_dlpack_versioned(const hyp_tensor *tensor, struct DLManagedTensorVersioned **ret_managed) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_managed);
	struct DLManagedTensorVersioned *m = hyp_malloc(sizeof *m + axes_bytes(tensor));
	if (m == NULL) return hypi_fail(HYP_ERR_NO_MEMORY, "no memory for a DLPack structure");
	hyp_status status = fill(tensor, &m->tensor, (int64_t *)(m + 1));
	if (status != HYP_OK) {
		hyp_free(m);
		return status;
	}
	m->version.major = DL_MAJOR;
	m->version.minor = DL_MINOR;
	m->flags = hyp_tensor_is_read_only(tensor) ? DL_READ_ONLY : 0;
	m->manager_context = hyp_tensor_retain((hyp_tensor *)(uintptr_t)tensor);
	m->deleter = delete_versioned;
	*ret_managed = m;
	return HYP_OK;
}

/* ---- import ---- */

static hyp_status type_from(const struct dl_tensor *dl, hyp_dtype *ret_dtype) {
	static const struct {
		uint8_t code, bits;
		hyp_dtype dtype;
	} types[] = {{DL_FLOAT, 32, HYP_F32}, {DL_FLOAT, 16, HYP_F16}, {DL_BFLOAT, 16, HYP_BF16}, {DL_FLOAT, 64, HYP_F64},
	             {DL_INT, 8, HYP_I8},     {DL_INT, 16, HYP_I16},   {DL_INT, 32, HYP_I32},     {DL_INT, 64, HYP_I64},
	             {DL_UINT, 8, HYP_U8},    {DL_BOOL, 8, HYP_BOOL}};
	if (dl->dtype.lanes != 1) return hypi_fail(HYP_ERR_TYPE, "argument managed: has %u lanes", dl->dtype.lanes);
	for (size_t i = 0; i < HYP_ARRAY_LEN(types); i++) {
		if (types[i].code != dl->dtype.code || types[i].bits != dl->dtype.bits) continue;
		*ret_dtype = types[i].dtype;
		return HYP_OK;
	}
	return hypi_fail(HYP_ERR_TYPE, "argument managed: has no type of ours for code %u of %u bits", dl->dtype.code,
	                 dl->dtype.bits);
}

static hyp_status import(const struct dl_tensor *dl, bool read_only, hyp_tensor_deleter *deleter, void *context,
                         hyp_tensor **ret_tensor) {
	hyp_dtype dtype = HYP_F32;
	if (dl->device.device_type != DL_CPU && dl->device.device_type != DL_CUDA_HOST)
		return hypi_fail(HYP_ERR_DEVICE, "argument managed: lies on a device of type %d", dl->device.device_type);
	HYPI_TRY(type_from(dl, &dtype));
	return hyp_tensor_from_foreign(dtype, dl->ndim, dl->shape, dl->strides, dl->data, (size_t)dl->byte_offset, SIZE_MAX,
	                               0, read_only ? HYP_TENSOR_READ_ONLY : 0, deleter, context, ret_tensor);
}

static void end_managed(void *context) {
	struct DLManagedTensor *m = context;
	if (m->deleter != NULL) m->deleter(m);
}

static void end_versioned(void *context) {
	struct DLManagedTensorVersioned *m = context;
	if (m->deleter != NULL) m->deleter(m);
}

hyp_status hyp_tensor_from_dlpack(struct DLManagedTensor *managed, hyp_tensor **ret_tensor) {
	HYPI_CHECK_RET(managed);
	HYPI_CHECK_RET(ret_tensor);
	return import(&managed->tensor, false, end_managed, managed, ret_tensor);
}

hyp_status hyp_tensor_from_dlpack_versioned(struct DLManagedTensorVersioned *managed, hyp_tensor **ret_tensor) {
	HYPI_CHECK_RET(managed);
	HYPI_CHECK_RET(ret_tensor);
	if (managed->version.major != DL_MAJOR)
		return hypi_fail(HYP_ERR_UNSUPPORTED, "argument managed: is of DLPack %u.%u", managed->version.major,
		                 managed->version.minor);
	return import(&managed->tensor, (managed->flags & DL_READ_ONLY) != 0, end_versioned, managed, ret_tensor);
}
