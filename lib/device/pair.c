/*
 * device/pair.c: what copies between two devices reach.
 *
 * Measured with events of the device that carries the copy out, so that on a device the time is its own and not the
 * caller's. Two devices that know nothing of each other copy through the host, one way after the other: their time is
 * the sum. Best of PASSES after one that is not counted, since what disturbs a measurement only ever slows it.
 */
#include "device/device.h"

#include "base/atomic.h"

#include <string.h>

#define PASSES 5
#define DEFAULT_BYTES ((size_t)16 << 20)

/* Bits of a double, 1e9 bytes a second; 0: never measured. Relaxed: each is a figure of its own. */
static _Atomic uint64_t kept[HYP_DEVICE_MAX][HYP_DEVICE_MAX];

static hyp_status one_pass(hyp_stream *stream, hyp_event *const *events, int to_device, uintptr_t to, int from_device,
                           uintptr_t from, size_t bytes, uint64_t *ret_ns) {
	hyp_status status = hyp_event_record(events[0], stream);
	if (status == HYP_OK) status = hyp_copy_async(stream, to_device, to, from_device, from, bytes);
	if (status == HYP_OK) status = hyp_event_record(events[1], stream);
	if (status == HYP_OK) status = hyp_event_synchronize(events[1]);
	if (status == HYP_OK) status = hyp_event_elapsed_ns(events[0], events[1], ret_ns);
	return status;
}

/* One way that one device carries out; the other end is the host or itself. */
static hyp_status one_way(int from_device, int to_device, size_t bytes, uint64_t *ret_ns) {
	int worker = from_device != HYP_DEVICE_HOST ? from_device : to_device;
	uintptr_t from = 0, to = 0;
	hyp_stream *stream = NULL;
	hyp_event *events[2] = {NULL, NULL};
	uint64_t best = UINT64_MAX, ns = 0;
	hyp_status status = hyp_device_alloc(from_device, bytes, 64, &from);
	if (status == HYP_OK) status = hyp_device_alloc(to_device, bytes, 64, &to);
	if (status == HYP_OK) status = hyp_stream_create(worker, &stream);
	for (int i = 0; status == HYP_OK && i < 2; i++) status = hyp_event_create(worker, &events[i]);
	/* The host's pages are there before the clock runs. */
	if (status == HYP_OK && from_device == HYP_DEVICE_HOST) memset((void *)from, 1, bytes);
	if (status == HYP_OK && to_device == HYP_DEVICE_HOST) memset((void *)to, 2, bytes);
	for (int pass = 0; status == HYP_OK && pass <= PASSES; pass++) {
		status = one_pass(stream, events, to_device, to, from_device, from, bytes, &ns);
		if (pass > 0 && ns < best) best = ns;
	}
	hyp_event_destroy(events[0]);
	hyp_event_destroy(events[1]);
	hyp_stream_destroy(stream);
	hyp_device_free(to_device, to);
	hyp_device_free(from_device, from);
	if (status == HYP_OK) *ret_ns = best == 0 ? 1 : best;
	return status;
}

hyp_status hyp_device_measure_copy(int from_device, int to_device, size_t bytes, double *ret_gbps) {
	if (ret_gbps == NULL) return hypi_device_fail(HYP_ERR_INVALID, "argument ret_gbps: is NULL");
	if (bytes == 0) bytes = DEFAULT_BYTES;
	uint64_t first = 0, second = 0;
	bool through = from_device != to_device && from_device != HYP_DEVICE_HOST && to_device != HYP_DEVICE_HOST;
	hyp_status status = one_way(from_device, through ? HYP_DEVICE_HOST : to_device, bytes, &first);
	if (status == HYP_OK && through) status = one_way(HYP_DEVICE_HOST, to_device, bytes, &second);
	if (status != HYP_OK) return status;
	double gbps = (double)bytes / (double)(first + second);
	uint64_t bits;
	memcpy(&bits, &gbps, sizeof bits);
	hypi_store_relaxed(&kept[from_device][to_device], bits);
	*ret_gbps = gbps;
	return HYP_OK;
}

double hyp_device_copy_gbps(int from_device, int to_device) {
	if (from_device < 0 || from_device >= HYP_DEVICE_MAX || to_device < 0 || to_device >= HYP_DEVICE_MAX) return 0;
	uint64_t bits = hypi_load_relaxed(&kept[from_device][to_device]);
	double gbps;
	memcpy(&gbps, &bits, sizeof gbps);
	return gbps;
}
