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

/* The kernels belong to another folder; tensor/describe.c sets this when the library is loaded. */
typedef struct hypi_device_hooks {
	uint32_t (*simd_mask)(char *ret_names, size_t bytes);
	uint64_t dtypes;
} hypi_device_hooks;
extern hypi_device_hooks hypi_device_hooks_;

#endif
