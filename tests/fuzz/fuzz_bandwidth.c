/*
 * tests/fuzz/fuzz_bandwidth.c: the file of measured bandwidths may hold any lines. What is taken from it are figures.
 */
#include "fuzz.h"

#include "device/bandwidth_cache.h"

#include <math.h>

static bool is_figure(double x) { return isfinite(x) && x >= 0; }

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
	fuzz_file("/fuzz", "cache", bytes, count);
	for (uint32_t node = 0; node < 2; node++) {
		hyp_bandwidth b = {.threads = 77};
		if (hypi_bandwidth_read("/fuzz/cache", "machine", node, &b)) {
			must(b.struct_bytes == sizeof b && b.read_gbps > 0 && is_figure(b.read_gbps) && is_figure(b.write_gbps));
			must(is_figure(b.copy_gbps) && is_figure(b.triad_gbps) && is_figure(b.latency_ns));
		} else {
			must(b.threads == 77);
		}
	}
	fuzz_no_files();
	return 0;
}
