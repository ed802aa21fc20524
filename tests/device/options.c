/*
 * tests/device/options.c: the options of devices and tensors, as a process that was started with them sees them.
 *
 * usage: options device INDEX     auto-selection gives that device; "fast one" is device 1
 *        options isa MASK         the kernels are those that the mask leaves of this processor's
 *        options threads COUNT    what big operations share
 *        options hmat GBPS        the host's bandwidth, unmeasured, as the machine's firmware tells
 */
#include "fast_device.h"
#include "kernels/kernels.h"

#include <stdlib.h>
#include <string.h>

static int wrong(const char *what, long long is, long long wanted) {
	(void)printf("%s: %lld, wanted %lld\n", what, is, wanted);
	return is == wanted ? 0 : 1;
}

static int test_device(int wanted) {
	static bool cuda;
	int device, selected;
	if (hyp_device_register(&fast_driver, &cuda, &device) != HYP_OK || device != 1) return 2;
	if (hyp_device_auto_select(NULL, &selected) != HYP_OK) return 2;
	return wrong("device", selected, wanted);
}

static int test_isa(uint32_t mask) {
	static struct hypi_kernels left;
	hypi_kernels_fill(&left, mask);
	hyp_device_info info = {.struct_bytes = sizeof info};
	if (hyp_device_describe(HYP_DEVICE_HOST, &info) != HYP_OK) return 2;
	(void)printf("sets in use: '%s'\n", info.simd_names);
	bool same = memcmp(&left, hypi_kernels(), sizeof left) == 0;
	return wrong("mask", info.simd_mask, left.mask) | wrong("table", same, true) |
	       wrong("names", info.simd_names[0] != '\0', left.mask != 0);
}

static int test_hmat(double wanted) {
	hyp_device_info info = {.struct_bytes = sizeof info};
	if (hyp_device_describe(HYP_DEVICE_HOST, &info) != HYP_OK) return 2;
	(void)printf("%.3f GB/s, %.1f ns\n", info.memory_bandwidth_gbps, info.memory_latency_ns);
	return wrong("GB/s", (long long)info.memory_bandwidth_gbps, (long long)wanted) |
	       wrong("ns", info.memory_latency_ns == 81, true);
}

int main(int argc, char **argv) {
	if (argc != 3) return 2;
	unsigned long wanted = strtoul(argv[2], NULL, 0);
	if (strcmp(argv[1], "device") == 0) return test_device((int)wanted);
	if (strcmp(argv[1], "isa") == 0) return test_isa((uint32_t)wanted);
	if (strcmp(argv[1], "hmat") == 0) return test_hmat((double)wanted);
	return wrong("threads", hyp_tensor_threads(), (long long)wanted);
}
