/*
 * tensor/describe.c: what the folders below take from here: the host's description (device/host.c) the kernels' sets and
 * the types that tensors compute with, the kernels the option that narrows their sets.
 */
#include "device/device.h"
#include "kernels/kernels.h"
#include "tensor/internal.h"

#include <hypool/option.h>

#include <stdio.h>

uint32_t hypi_kernels_allowed(void) {
	uint64_t mask;
	return hyp_option_number("tensor_isa", &mask) == HYP_OK ? (uint32_t)mask : HYPI_MASK_ALL;
}

static uint32_t simd_mask(char *ret_names, size_t bytes) {
	uint32_t mask = hypi_kernels()->mask;
	size_t at = 0;
	ret_names[0] = '\0';
	for (int i = 0; i < HYPI_SET_COUNT && at + 1 < bytes; i++)
		if (mask & hypi_kernel_sets[i].mask)
			at += (size_t)snprintf(ret_names + at, bytes - at, at == 0 ? "%s" : " %s", hypi_kernel_sets[i].name);
	return mask;
}

const hypi_device_hooks hypi_host_hooks = {.simd_mask = simd_mask, .dtypes = 0
#define HYP_DTYPE_X(name, number, text, kind, elements, bytes, doc) | (uint64_t)1 << number
#include <hypool/dtype.def>
#undef HYP_DTYPE_X
};
