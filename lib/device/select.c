/*
 * device/select.c: which device for a piece of work.
 *
 * The estimate is the roofline (Williams, Waterman and Patterson, 2009) plus what it takes to bring the data there and
 * to start: transfer + max(flops / peak, bytes / bandwidth) + launch. What a device does not say of itself counts as
 * the host's. The option device overrides.
 */
#include "device/device.h"

#include <hypool/option.h>

#include <stdlib.h>
#include <string.h>

#define TRANSFER_BYTES_PER_S 12e9 /* a PCI Express 3 x16 link, as copies reach it */
#define LAUNCH_S 20e-6
#define HOST_FLOPS 50e9
#define HOST_BYTES_PER_S 10e9

/* Bytes a second to the device and back: what was measured, the slower of both ways, else a link as most have. */
static double transfer_rate(int device) {
	double there = hyp_device_copy_gbps(HYP_DEVICE_HOST, device), back = hyp_device_copy_gbps(device, HYP_DEVICE_HOST);
	double slower = there == 0 || (back != 0 && back < there) ? back : there;
	return slower > 0 ? slower * 1e9 : TRANSFER_BYTES_PER_S;
}

static double seconds(int device, const hyp_device_info *info, const hyp_device_work *work) {
	double flops = info->flops_per_s > 0 ? info->flops_per_s : HOST_FLOPS;
	double rate = info->memory_bandwidth_gbps > 0 ? info->memory_bandwidth_gbps * 1e9 : HOST_BYTES_PER_S;
	double compute = (double)work->flops / flops, memory = (double)work->bytes / rate;
	double time = compute > memory ? compute : memory;
	if (info->kind == HYP_DEVICE_KIND_HOST) return time;
	return time + LAUNCH_S + (info->unified_memory ? 0 : (double)work->transfer_bytes / transfer_rate(device));
}

static bool able(const hyp_device_info *info, const hyp_device_work *work) {
	if (work->bytes > info->memory_bytes) return false;
	if (info->kind != HYP_DEVICE_KIND_HOST && work->bytes > info->memory_free_bytes) return false;
	if (work->needs_host_access && !info->host_accessible) return false;
	/* Nothing computes on a device that names no types: it stores. */
	return work->dtypes == 0 ? info->dtypes != 0 : (info->dtypes & work->dtypes) == work->dtypes;
}

static int named(const char *wanted) {
	if (strcmp(wanted, "host") == 0 || strcmp(wanted, "cpu") == 0) return HYP_DEVICE_HOST;
	char *end;
	long index = strtol(wanted, &end, 10);
	if (end != wanted && *end == '\0') return index >= 0 && index < hyp_device_count() ? (int)index : -1;
	for (int i = 0; i < hyp_device_count(); i++) {
		hyp_device_info info = {.struct_bytes = sizeof info};
		if (hyp_device_describe(i, &info) == HYP_OK && strncmp(info.name, wanted, strlen(wanted)) == 0) return i;
	}
	return -1;
}

hyp_status hyp_device_auto_select(const hyp_device_work *work, int *ret_device) {
	/* Large work: a second of arithmetic on 64 MiB that come and go once. */
	static const hyp_device_work large = {sizeof large, (uint64_t)64 << 20, 1000000000000, (uint64_t)64 << 20, 0,
	                                      false};
	if (ret_device == NULL) return hypi_device_fail(HYP_ERR_INVALID, "argument ret_device: is NULL");
	if (work == NULL) work = &large;
	if (work->struct_bytes != sizeof *work)
		return hypi_device_fail(HYP_ERR_INVALID, "argument work: struct_bytes is %zu, not %zu", work->struct_bytes,
		                        sizeof *work);
	char wanted[64];
	bool asked = hyp_option_text("device", wanted, sizeof wanted) == HYP_OK && wanted[0] != '\0';
	int forced = asked ? named(wanted) : -1;
	if (forced >= 0 && !hyp_device_failed(forced)) {
		*ret_device = forced;
		return HYP_OK;
	}
	int best = -1;
	double best_time = 0;
	for (int i = 0; i < hyp_device_count(); i++) {
		hyp_device_info info = {.struct_bytes = sizeof info};
		if (hyp_device_failed(i) || hyp_device_describe(i, &info) != HYP_OK || !able(&info, work)) continue;
		double time = seconds(i, &info, work);
		if (best >= 0 && time >= best_time) continue;
		best = i;
		best_time = time;
	}
	if (best < 0) return hypi_device_fail(HYP_ERR_NOT_FOUND, "argument work: no device has the memory and the types");
	*ret_device = best;
	return HYP_OK;
}
