/*
 * hypool/interop.h: tensors shared with other libraries without a copy: DLPack.
 *
 * DLPack is an exchange of structures (dmlc/dlpack, version 1.1); their layouts are repeated in lib/interop/dlpack.c
 * and have opaque names here, so that this header goes together with anybody's dlpack.h. Both forms are spoken: the
 * old one ("dltensor", version 0.x, NumPy 1) and the versioned one ("dltensor_versioned", 1.x).
 */
#ifndef HYPOOL_INTEROP_H
#define HYPOOL_INTEROP_H

#include <hypool/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

struct DLManagedTensor;
struct DLManagedTensorVersioned;

/*
 * Export: the structure holds a reference and its storage is locked (it does not move) until whoever has it calls its
 * deleter, from any thread. Plain types, and the packed ones as bytes: the ternary types and I4, I2, I1 go as uint8
 * [.., row bytes], GGUF blocks too. Read-only tensors: the versioned form says so in its flags; the old form cannot,
 * and is refused with HYP_ERR_UNSUPPORTED. Device tensors: HYP_ERR_DEVICE.
 */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_to_dlpack(const hyp_tensor *tensor, struct DLManagedTensor **ret_managed);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_to_dlpack_versioned(const hyp_tensor *tensor,
                                                                struct DLManagedTensorVersioned **ret_managed);

/*
 * Import: a tensor over the structure's memory. On success the structure is the tensor's, whose end calls its deleter
 * once; on failure it is still the caller's. Strides may be NULL, zero or negative; rank up to HYP_TENSOR_MAX_RANK;
 * lanes 1. Host memory only (kDLCPU, kDLCUDAHost). A versioned structure of another major version is refused.
 */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_from_dlpack(struct DLManagedTensor *managed, hyp_tensor **ret_tensor);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_from_dlpack_versioned(struct DLManagedTensorVersioned *managed,
                                                                  hyp_tensor **ret_tensor);

#ifdef __cplusplus
}
#endif

#endif
