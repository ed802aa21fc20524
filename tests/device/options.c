/*
 * tests/device/options.c: the options of devices and tensors, as a process that was started with them sees them.
 *
 * usage: options device INDEX     auto-selection gives that device; "fast one" is device 1
 *        options isa MASK         the kernels are those that the mask leaves of this processor's
 *        options threads COUNT    what big operations share
 *        options hmat GBPS        the host's bandwidth, unmeasured, as the machine's firmware tells
 *        options capacity GIB     hwloc counts that much memory, and the host is not sized by it
 *        options bound 0 or 1     a measurement says whether its threads were really bound where they were put
 *        options affinity CORES   a process bound to that many cores has a team of that width
 */
#include "fast_device.h"
#include "kernels/kernels.h"

#include <sched.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static int test_capacity(unsigned long wanted_gib) {
	const hyp_topology *machine;
	hyp_topology_info told = {.struct_bytes = sizeof told};
	hyp_device_info host = {.struct_bytes = sizeof host};
	if (hyp_topology_this(&machine) != HYP_OK || hyp_topology_describe(machine, &told) != HYP_OK ||
	    hyp_device_describe(HYP_DEVICE_HOST, &host) != HYP_OK)
		return 2;
	uint64_t real = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	hyp_device_work work = {.struct_bytes = sizeof work, .bytes = real / 2};
	int selected = -1;
	int fits = hyp_device_auto_select(&work, &selected) == HYP_OK && selected == HYP_DEVICE_HOST;
	work.bytes = 2 * real;
	int too_much = hyp_device_auto_select(&work, &selected) == HYP_ERR_NOT_FOUND;
	return wrong("GiB by hwloc", (long long)(told.memory_bytes >> 30), (long long)wanted_gib) |
	       wrong("MiB of the host", (long long)(host.memory_bytes >> 20), (long long)(real >> 20)) |
	       wrong("half of it fits", fits, true) | wrong("twice as much does not", too_much, true);
}

static int test_bound(int wanted) {
	hyp_bandwidth b = {.struct_bytes = sizeof b};
	if (hyp_topology_measure(0, (uint64_t)12 << 20, NULL, &b) != HYP_OK) return 2;
	return wrong("bound", b.bound, wanted);
}

static int test_affinity(unsigned long wanted) {
	cpu_set_t all, some;
	CPU_ZERO(&some);
	if (sched_getaffinity(0, sizeof all, &all) != 0) return 2;
	for (int cpu = 0; cpu < CPU_SETSIZE && (unsigned long)CPU_COUNT(&some) < wanted; cpu++)
		if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &some);
	if (sched_setaffinity(0, sizeof some, &some) != 0) return 2;
	return wrong("threads", hyp_tensor_threads(), (long long)wanted);
}

int main(int argc, char **argv) {
	if (argc != 3) return 2;
	unsigned long wanted = strtoul(argv[2], NULL, 0);
	if (strcmp(argv[1], "device") == 0) return test_device((int)wanted);
	if (strcmp(argv[1], "isa") == 0) return test_isa((uint32_t)wanted);
	if (strcmp(argv[1], "hmat") == 0) return test_hmat((double)wanted);
	if (strcmp(argv[1], "capacity") == 0) return test_capacity(wanted);
	if (strcmp(argv[1], "bound") == 0) return test_bound((int)wanted);
	if (strcmp(argv[1], "affinity") == 0) return test_affinity(wanted);
	return wrong("threads", hyp_tensor_threads(), (long long)wanted);
}
