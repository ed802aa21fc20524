/*
 * tests/device/test_device.c: the registry, the host and the simulated device, topologies that are not this machine's,
 * the measurement of this one, and the choice of a device.
 */
#include <hypool/device.h>
#include <hypool/tensor.h>

#include "fast_device.h"
#include "kernels/kernels.h"

#define OUTCOME_ERROR hyp_device_last_error()
#include "outcome.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- machines ---- */

START_TEST(synthetic_machine) {
	hyp_topology *t;
	OK(hyp_topology_synthetic(
		"pack:2 numa:2(memory=8GB) l3:1(size=16777216) l2:4(size=1048576) l1d:1(size=32768) core:1 pu:2", &t));
	hyp_topology_info info = {.struct_bytes = sizeof info};
	OK(hyp_topology_describe(t, &info));
	ck_assert_uint_eq(info.packages, 2);
	ck_assert_uint_eq(info.numa_nodes, 4);
	ck_assert_uint_eq(info.cores, 16);
	ck_assert_uint_eq(info.pus, 32);
	ck_assert_uint_eq(info.cache_bytes[0], 32 << 10);
	ck_assert_uint_eq(info.cache_bytes[1], 1 << 20);
	ck_assert_uint_eq(info.cache_bytes[2], 16 << 20);
	ck_assert(!info.this_machine && info.gpus == 0);
	hyp_numa_node node = {.struct_bytes = sizeof node};
	OK(hyp_topology_node(t, 3, &node));
	ck_assert_uint_eq(node.cores, 4);
	ck_assert_uint_eq(node.pus, 8);
	ck_assert(node.memory_bytes >= (uint64_t)7 << 30);
	ck_assert(node.attribute_bandwidth_gbps == 0);
	REFUSED(HYP_ERR_NOT_FOUND, "", hyp_topology_node(t, 4, &node));
	hyp_topology_close(t);
	REFUSED(HYP_ERR_INVALID, "", hyp_topology_synthetic("no such:thing", &t));
	REFUSED(HYP_ERR_INVALID, "", hyp_topology_synthetic(NULL, &t));
	hyp_topology_close(NULL);
}
END_TEST

START_TEST(xml_machine) {
	hyp_topology *t;
	OK(hyp_topology_xml(getenv("HYP_TEST_XML"), &t));
	hyp_topology_info info = {.struct_bytes = sizeof info};
	OK(hyp_topology_describe(t, &info));
	ck_assert_uint_eq(info.packages, 1);
	ck_assert_uint_eq(info.numa_nodes, 2);
	ck_assert_uint_eq(info.cores, 4);
	ck_assert_uint_eq(info.pus, 4);
	ck_assert_uint_eq(info.cache_bytes[2], 8388608);
	ck_assert_uint_eq(info.cache_line_bytes, 64);
	ck_assert_uint_eq(info.pci_devices, 1);
	ck_assert_uint_eq(info.gpus, 1);
	/* Memory attributes of the file: MiB/s and ns. */
	hyp_numa_node node = {.struct_bytes = sizeof node};
	OK(hyp_topology_node(t, 0, &node));
	ck_assert(node.attribute_bandwidth_gbps > 104.8 && node.attribute_bandwidth_gbps < 104.9);
	ck_assert(node.attribute_latency_ns == 81);
	hyp_topology_close(t);
	REFUSED(HYP_ERR_INVALID, "", hyp_topology_xml("/nonexistent.xml", &t));
}
END_TEST

START_TEST(this_machine) {
	const hyp_topology *t;
	OK(hyp_topology_this(&t));
	hyp_topology_info info = {.struct_bytes = sizeof info};
	OK(hyp_topology_describe(t, &info));
	ck_assert(info.this_machine && info.cores >= 1 && info.pus >= info.cores && info.numa_nodes >= 1);
	info.struct_bytes = 3;
	REFUSED(HYP_ERR_INVALID, "", hyp_topology_describe(t, &info));
}
END_TEST

START_TEST(measured) {
	char path[] = "hypool-bandwidth-XXXXXX";
	int fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	close(fd);
	hyp_bandwidth b = {.struct_bytes = sizeof b}, again = {.struct_bytes = sizeof again};
	OK(hyp_topology_measure(0, (uint64_t)96 << 20, path, &b));
	ck_assert(b.threads >= 1 && b.bound);
	ck_assert(b.read_gbps > 0.01 && b.read_gbps < 5000 && b.write_gbps > 0.01 && b.copy_gbps > 0.01 &&
	          b.triad_gbps > 0.01);
	ck_assert(b.latency_ns > 1 && b.latency_ns < 100000); /* wide: the machine may be busy, or emulated */
	/* From the file: to its digits the same, and no measurement. */
	OK(hyp_topology_measure(0, (uint64_t)96 << 20, path, &again));
	ck_assert(again.read_gbps > b.read_gbps - 1e-3 && again.read_gbps < b.read_gbps + 1e-3 &&
	          again.threads == b.threads);
	/* Put back into the topology, and into the host's description. */
	const hyp_topology *t;
	hyp_numa_node node = {.struct_bytes = sizeof node};
	OK(hyp_topology_this(&t));
	OK(hyp_topology_node(t, 0, &node));
	ck_assert(node.attribute_bandwidth_gbps > 0.98 * again.read_gbps &&
	          node.attribute_bandwidth_gbps < 1.02 * again.read_gbps);
	hyp_device_info host = {.struct_bytes = sizeof host};
	OK(hyp_device_describe(0, &host));
	ck_assert(host.memory_bandwidth_gbps > 0.98 * again.read_gbps && host.memory_latency_ns > 0);
	/* Another machine's line, a torn one and noise are not believed. */
	FILE *file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	(void)fprintf(file, "another machine\t0\t1\t9999\t9999\t9999\t9999\t1\t1\nhalf a li\tne\n\xff\xfe\t\t");
	(void)fclose(file);
	OK(hyp_topology_measure(0, (uint64_t)24 << 20, path, &again));
	ck_assert(again.read_gbps < 9000);
	(void)unlink(path);
	REFUSED(HYP_ERR_NOT_FOUND, "", hyp_topology_measure(99, 0, NULL, &b));
	REFUSED(HYP_ERR_OS, "", hyp_topology_measure(0, (uint64_t)24 << 20, "/nonexistent/file", &b));
}
END_TEST

/* ---- the host ---- */

START_TEST(host) {
	hyp_device_info info = {.struct_bytes = sizeof info};
	ck_assert_int_ge(hyp_device_count(), 1);
	OK(hyp_device_describe(HYP_DEVICE_HOST, &info));
	ck_assert_int_eq(info.kind, HYP_DEVICE_KIND_HOST);
	ck_assert(info.unified_memory && info.host_accessible && !info.supports_cuda && !info.supports_metal);
	ck_assert(info.compute_units >= 1 && info.memory_bytes > 0);
	ck_assert((info.dtypes >> HYP_F32 & 1) && (info.dtypes >> HYP_BITNET158 & 1));
	const hyp_topology *machine;
	hyp_topology_info topology = {.struct_bytes = sizeof topology};
	OK(hyp_topology_this(&machine));
	OK(hyp_topology_describe(machine, &topology));
	ck_assert(info.compute_units == topology.cores && info.numa_nodes == topology.numa_nodes);
	ck_assert(memcmp(info.cache_bytes, topology.cache_bytes, sizeof info.cache_bytes) == 0);
	ck_assert_uint_eq(info.simd_mask, hypi_kernels()->mask);
	for (int i = 0; i < HYPI_SET_COUNT; i++)
		ck_assert_int_eq(info.simd_mask >> i & 1, strstr(info.simd_names, hypi_kernel_sets[i].name) != NULL);
	REFUSED(HYP_ERR_NOT_FOUND, "", hyp_device_describe(99, &info));
	REFUSED(HYP_ERR_INVALID, "", hyp_device_unregister(0));
	hyp_stream *stream;
	hyp_event *first, *second;
	uintptr_t address;
	char back[8];
	OK(hyp_stream_create(0, &stream));
	OK(hyp_event_create(0, &first));
	OK(hyp_event_create(0, &second));
	OK(hyp_device_alloc(0, 64, 4096, &address));
	ck_assert_uint_eq(address % 4096, 0);
	OK(hyp_event_record(first, stream));
	OK(hyp_fill_async(stream, address, 'x', 64));
	OK(hyp_copy_async(stream, 0, (uintptr_t)back, 0, address, sizeof back));
	OK(hyp_stream_wait(stream, first));
	OK(hyp_event_record(second, stream));
	OK(hyp_stream_synchronize(stream));
	uint64_t ns;
	OK(hyp_event_elapsed_ns(first, second, &ns));
	ck_assert(memcmp(back, "xxxxxxxx", 8) == 0 && ns < 1000000000);
	hyp_device_free(0, address);
	hyp_event_destroy(first);
	hyp_event_destroy(second);
	hyp_stream_destroy(stream);
}
END_TEST

/* ---- the simulated device ---- */

static int open_simulated(void) {
	hyp_simulated_config config = {sizeof config, 1 << 20, 1000, 1.0, 10.0, 0xa5};
	int device;
	OK(hyp_simulated_open(&config, &device));
	return device;
}

static uint64_t now(int device) {
	uint64_t ns;
	OK(hyp_simulated_now(device, &ns));
	return ns;
}

START_TEST(asynchronous) {
	int device = open_simulated();
	uintptr_t address;
	unsigned char in[1000], out[1000];
	hyp_stream *stream;
	memset(in, 7, sizeof in);
	memset(out, 1, sizeof out);
	OK(hyp_device_alloc(device, sizeof in, 256, &address));
	ck_assert_uint_eq(address % 256, 0);
	OK(hyp_stream_create(device, &stream));
	OK(hyp_copy_async(stream, 0, (uintptr_t)out, device, address, sizeof out));
	OK(hyp_copy_async(stream, device, address, 0, (uintptr_t)in, sizeof in));
	OK(hyp_copy_async(stream, 0, (uintptr_t)out, device, address, 500));
	/* 1000 ns to launch and 1 ns a byte: nothing has happened at 1999, the first copy at 2000. */
	OK(hyp_simulated_advance(device, 1999));
	ck_assert_int_eq(out[0], 1);
	ck_assert_int_eq(hyp_stream_query(stream), HYP_ERR_BUSY);
	OK(hyp_simulated_advance(device, 1));
	ck_assert_int_eq(out[0], 0xa5); /* fresh memory is poison */
	in[0] = 9;                      /* a copy reads its source when it happens, not when it is given */
	OK(hyp_stream_synchronize(stream));
	ck_assert_int_eq(out[0], 9);
	ck_assert_int_eq(out[499], 7);
	ck_assert_int_eq(out[500], 0xa5);
	ck_assert_uint_eq(now(device), 2000 + 2000 + 1500);
	OK(hyp_stream_query(stream));
	REFUSED(HYP_ERR_INVALID, "", hyp_copy_async(stream, device, address + 500, 0, (uintptr_t)in, 501));
	REFUSED(HYP_ERR_DEVICE, "", hyp_copy_async(stream, device + 1, address, 0, (uintptr_t)in, 5));
	hyp_stream_destroy(stream);
	hyp_device_free(device, address);
	uint64_t blocks, bytes;
	OK(hyp_simulated_live(device, &blocks, &bytes));
	ck_assert(blocks == 0 && bytes == 0);
	OK(hyp_device_unregister(device));
	REFUSED(HYP_ERR_DEVICE, "", hyp_device_alloc(device, 1, 1, &address));
}
END_TEST

START_TEST(events_order_streams) {
	int device = open_simulated();
	uintptr_t address;
	hyp_stream *a, *b;
	hyp_event *done, *start;
	unsigned char out[8];
	OK(hyp_device_alloc(device, 8, 8, &address));
	OK(hyp_stream_create(device, &a));
	OK(hyp_stream_create(device, &b));
	OK(hyp_event_create(device, &done));
	OK(hyp_event_create(device, &start));
	/* Without the event, b's short read would come before a's second fill. */
	OK(hyp_event_record(start, a));
	for (int i = 0; i < 5; i++) OK(hyp_fill_async(a, address, (uint8_t)i, 8));
	OK(hyp_event_record(done, a));
	ck_assert_int_eq(hyp_event_query(done), HYP_ERR_BUSY);
	OK(hyp_stream_wait(b, done));
	OK(hyp_copy_async(b, 0, (uintptr_t)out, device, address, 8));
	OK(hyp_stream_synchronize(b));
	ck_assert_int_eq(out[0], 4);
	OK(hyp_event_query(done));
	uint64_t ns;
	OK(hyp_event_elapsed_ns(start, done, &ns));
	ck_assert_uint_eq(ns, 5 * 1000); /* five launches; 8 bytes at 10 GB/s take no whole nanosecond */
	REFUSED(HYP_ERR_INVALID, "", hyp_event_elapsed_ns(done, start, &ns));
	/* And without it, it does. */
	OK(hyp_fill_async(a, address, 10, 8));
	OK(hyp_fill_async(a, address, 11, 8));
	OK(hyp_copy_async(b, 0, (uintptr_t)out, device, address, 8));
	OK(hyp_stream_synchronize(b));
	ck_assert_int_ne(out[0], 11);
	OK(hyp_stream_synchronize(a));
	/* An event may be destroyed while a queue still names it. */
	OK(hyp_fill_async(a, address, 12, 8));
	OK(hyp_event_record(done, a));
	OK(hyp_stream_wait(b, done));
	hyp_event_destroy(done);
	OK(hyp_stream_synchronize(b));
	hyp_event_destroy(start);
	hyp_stream_destroy(a);
	hyp_stream_destroy(b);
	hyp_device_free(device, address);
	OK(hyp_device_unregister(device));
}
END_TEST

START_TEST(faults_of_the_processor) {
	int device = open_simulated();
	uintptr_t address;
	OK(hyp_device_alloc(device, 4096, 4096, &address));
	pid_t child = fork();
	if (child == 0) {
		(void)signal(SIGSEGV, SIG_DFL);
		(void)freopen("/dev/null", "w", stderr);
		*(volatile char *)address = 1;
		_exit(0);
	}
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_msg(!(WIFEXITED(status) && WEXITSTATUS(status) == 0), "the processor touched device memory");
	hyp_device_free(device, address);
	OK(hyp_device_unregister(device));
}
END_TEST

START_TEST(injected_faults) {
	int device = open_simulated();
	uintptr_t address = 77, other;
	char out[8] = "before";
	hyp_stream *stream = NULL;
	OK(hyp_simulated_fail(device, HYP_FAULT_ALLOC, 2));
	OK(hyp_device_alloc(device, 8, 8, &address));
	other = 77;
	REFUSED(HYP_ERR_NO_MEMORY, "", hyp_device_alloc(device, 8, 8, &other));
	ck_assert_uint_eq(other, 77);
	REFUSED(HYP_ERR_NO_MEMORY, "", hyp_device_alloc(device, 2 << 20, 8, &other)); /* more than it has */
	OK(hyp_simulated_fail(device, HYP_FAULT_STREAM, 1));
	REFUSED(HYP_ERR_NO_MEMORY, "", hyp_stream_create(device, &stream));
	ck_assert_ptr_null(stream);
	OK(hyp_stream_create(device, &stream));
	/* A copy that fails takes the device with it, and nothing of it arrives. */
	OK(hyp_simulated_fail(device, HYP_FAULT_COPY, 1));
	OK(hyp_copy_async(stream, 0, (uintptr_t)out, device, address, 8));
	ck_assert(!hyp_device_failed(device));
	REFUSED(HYP_ERR_DEVICE, "", hyp_stream_synchronize(stream));
	ck_assert_str_eq(out, "before");
	ck_assert(hyp_device_failed(device));
	REFUSED(HYP_ERR_DEVICE, "", hyp_device_alloc(device, 8, 8, &other));
	REFUSED(HYP_ERR_DEVICE, "", hyp_copy_async(stream, 0, (uintptr_t)out, device, address, 8));
	int selected;
	OK(hyp_device_auto_select(NULL, &selected));
	ck_assert_int_ne(selected, device);
	OK(hyp_device_recover(device));
	OK(hyp_copy_async(stream, 0, (uintptr_t)out, device, address, 8));
	OK(hyp_stream_synchronize(stream));
	ck_assert_int_eq((unsigned char)out[0], 0xa5);
	OK(hyp_simulated_fail(device, HYP_FAULT_SYNC, 1));
	REFUSED(HYP_ERR_DEVICE, "", hyp_stream_synchronize(stream));
	OK(hyp_device_recover(device));
	hyp_stream_destroy(stream);
	hyp_device_free(device, address);
	OK(hyp_device_unregister(device));
}
END_TEST

START_TEST(between_devices) {
	int a = open_simulated(), b = open_simulated();
	uintptr_t at_a, at_b;
	char in[32] = "from one device to another", out[32] = "";
	OK(hyp_device_alloc(a, 32, 8, &at_a));
	OK(hyp_device_alloc(b, 32, 8, &at_b));
	OK(hyp_copy(a, at_a, 0, (uintptr_t)in, 32));
	OK(hyp_copy(b, at_b, a, at_a, 32));
	OK(hyp_copy(0, (uintptr_t)out, b, at_b, 32));
	ck_assert_str_eq(out, in);
	hyp_device_free(a, at_a);
	hyp_device_free(b, at_b);
	OK(hyp_device_unregister(a));
	OK(hyp_device_unregister(b));
}
END_TEST

START_TEST(measured_pairs) {
	int a = open_simulated(), b = open_simulated(); /* 1 GB/s to the host and back, 10 on the device, 1 us to launch */
	double gbps = 77;
	ck_assert(hyp_device_copy_gbps(0, a) == 0 && hyp_device_copy_gbps(-1, 0) == 0 &&
	          hyp_device_copy_gbps(0, HYP_DEVICE_MAX) == 0);
	OK(hyp_device_measure_copy(0, a, 200000, &gbps));
	ck_assert_msg(gbps > 0.99 && gbps <= 1, "to the device %g", gbps); /* 201 us */
	ck_assert(hyp_device_copy_gbps(0, a) == gbps);
	OK(hyp_device_measure_copy(a, 0, 100000, &gbps));
	ck_assert_msg(gbps > 0.985 && gbps <= 1, "and back %g", gbps);
	OK(hyp_device_measure_copy(a, a, 500000, &gbps)); /* read and written at 10: 5 copied */
	ck_assert_msg(gbps > 4.9 && gbps <= 5, "on the device %g", gbps);
	OK(hyp_device_measure_copy(a, b, 200000, &gbps)); /* through the host, one way after the other */
	ck_assert_msg(gbps > 0.49 && gbps <= 0.5, "between devices %g", gbps);
	OK(hyp_device_measure_copy(0, 0, 0, &gbps));
	ck_assert(gbps > 0.01 && gbps < 5000);
	/* A failure leaves the figure, and nothing lives on. */
	OK(hyp_simulated_fail(b, HYP_FAULT_COPY, 2));
	gbps = 77;
	REFUSED(HYP_ERR_DEVICE, "", hyp_device_measure_copy(a, b, 1000, &gbps));
	REFUSED(HYP_ERR_NO_MEMORY, "", hyp_device_measure_copy(0, a, 2 << 20, &gbps));
	REFUSED(HYP_ERR_NOT_FOUND, "", hyp_device_measure_copy(0, 63, 1000, &gbps));
	REFUSED(HYP_ERR_INVALID, "", hyp_device_measure_copy(0, a, 1000, NULL));
	ck_assert(gbps == 77 && hyp_device_copy_gbps(a, b) > 0.49);
	for (int i = 0; i < 2; i++) {
		uint64_t blocks, bytes;
		OK(hyp_simulated_live(i == 0 ? a : b, &blocks, &bytes));
		ck_assert(blocks == 0 && bytes == 0);
	}
	OK(hyp_device_unregister(a));
	OK(hyp_device_unregister(b));
}
END_TEST

/* ---- choice ---- */

START_TEST(selection) {
	static bool cuda = true;
	hyp_device_driver driver = fast_driver;
	int device, selected;
	driver.alloc = NULL;
	REFUSED(HYP_ERR_INVALID, "", hyp_device_register(&driver, &cuda, &device));
	driver.alloc = fast_driver.alloc;
	OK(hyp_device_register(&driver, &cuda, &device));
	hyp_device_info info = {.struct_bytes = sizeof info};
	OK(hyp_device_describe(device, &info));
	ck_assert(info.supports_cuda && strcmp(info.name, "fast one") == 0);
	int simulated = open_simulated(); /* computes with nothing: never chosen */
	OK(hyp_device_auto_select(NULL, &selected));
	ck_assert_int_eq(selected, device);
	hyp_device_work work = {.struct_bytes = sizeof work, .bytes = 1 << 10, .flops = 1 << 10, .transfer_bytes = 1 << 10};
	OK(hyp_device_auto_select(&work, &selected)); /* small: not worth the way */
	ck_assert_int_eq(selected, 0);
	work.flops = 1000000000000;
	OK(hyp_device_auto_select(&work, &selected));
	ck_assert_int_eq(selected, device);
	work.dtypes = (uint64_t)1 << HYP_BITNET158; /* a type that it lacks */
	OK(hyp_device_auto_select(&work, &selected));
	ck_assert_int_eq(selected, 0);
	work.dtypes = 0;
	work.needs_host_access = true;
	OK(hyp_device_auto_select(&work, &selected));
	ck_assert_int_eq(selected, 0);
	work.needs_host_access = false;
	work.bytes = (uint64_t)2 << 30; /* more than it has */
	OK(hyp_device_auto_select(&work, &selected));
	ck_assert_int_eq(selected, 0);
	work.bytes = UINT64_MAX;
	REFUSED(HYP_ERR_NOT_FOUND, "", hyp_device_auto_select(&work, &selected));
	OK(hyp_device_unregister(simulated));
	OK(hyp_device_unregister(device));
}
END_TEST

int main(void) {
	const TTest *const tests[] = {synthetic_machine,
	                              xml_machine,
	                              this_machine,
	                              measured,
	                              host,
	                              asynchronous,
	                              events_order_streams,
	                              faults_of_the_processor,
	                              injected_faults,
	                              between_devices,
	                              measured_pairs,
	                              selection};
	return run_suite("device", tests, sizeof tests / sizeof *tests);
}
