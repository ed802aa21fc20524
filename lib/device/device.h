/*
 * device/device.h: the device layer for the folders above: the public calls, and the error text they leave.
 */
#ifndef HYPI_DEVICE_DEVICE_H
#define HYPI_DEVICE_DEVICE_H

#include "base/compiler.h"

#include <hypool/device.h>

/* Writes this thread's device error text and returns status. */
hyp_status hypi_device_fail(hyp_status status, const char *format, ...) HYP_PRINTF(2, 3);

/* Describes the host: host.c. */
hyp_status hypi_host_describe(void *context, hyp_device_info *ret_info);
extern const hyp_device_driver hypi_host_driver;

/* What the host's description takes from the folders above. Its one definition is tensor/describe.c's, found by the
 * linker: an archive's member that is only reached by a constructor would be left out. */
typedef struct hypi_device_hooks {
	uint32_t (*simd_mask)(char *ret_names, size_t bytes);
	uint64_t dtypes; /* 1 << hyp_dtype each */
} hypi_device_hooks;
extern const hypi_device_hooks hypi_host_hooks;

#endif
