/*
 * device/host.c: the host as a device. Its work is done by the caller at once, so a stream is always empty and an event
 * has happened when it is recorded.
 */
#include "device/device.h"
#include "device/topology.h"

#include <hypool/hypool.h>

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct host_event {
	uint64_t ns; /* 0: never recorded */
};

static uint64_t now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The memory attributes of all nodes together: HMAT, where the machine has it. */
static void told_by_firmware(const hyp_topology *topology, uint32_t nodes, hyp_device_info *info) {
	for (uint32_t i = 0; i < nodes; i++) {
		hyp_numa_node node = {.struct_bytes = sizeof node};
		if (hyp_topology_node(topology, i, &node) != HYP_OK) continue;
		info->memory_bandwidth_gbps += node.attribute_bandwidth_gbps;
		double latency_ns = node.attribute_latency_ns;
		if (latency_ns > 0 && (info->memory_latency_ns == 0 || latency_ns < info->memory_latency_ns))
			info->memory_latency_ns = latency_ns;
	}
}

hyp_status hypi_host_describe(void *context, hyp_device_info *ret_info) {
	(void)context;
	hyp_device_info *info = ret_info;
	const hyp_topology *topology;
	hyp_topology_info machine = {.struct_bytes = sizeof machine};
	hyp_status status = hyp_topology_this(&topology);
	if (status == HYP_OK) status = hyp_topology_describe(topology, &machine);
	if (status != HYP_OK) return status;
	(void)snprintf(info->name, sizeof info->name, "host");
	info->kind = HYP_DEVICE_KIND_HOST;
	info->unified_memory = info->host_accessible = true;
	info->compute_units = machine.cores;
	info->numa_nodes = machine.numa_nodes;
	/* What hwloc says of memory can be wrong in a virtual machine, either way: the system's own count goes first. */
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE), available = sysconf(_SC_AVPHYS_PAGES);
	info->memory_bytes = pages > 0 ? (uint64_t)pages * (uint64_t)page : machine.memory_bytes;
	info->memory_free_bytes = available > 0 ? (uint64_t)available * (uint64_t)page : 0;
	info->memory_bandwidth_gbps = hypi_topology_read_gbps();
	info->memory_latency_ns = hypi_topology_latency_ns();
	if (info->memory_bandwidth_gbps == 0) told_by_firmware(topology, machine.numa_nodes, info);
	memcpy(info->cache_bytes, machine.cache_bytes, sizeof info->cache_bytes);
	info->cache_line_bytes = machine.cache_line_bytes;
	info->dtypes = hypi_host_hooks.dtypes;
	info->simd_mask = hypi_host_hooks.simd_mask(info->simd_names, sizeof info->simd_names);
	return HYP_OK;
}

static hyp_status host_alloc(void *context, size_t bytes, size_t alignment, uintptr_t *ret_address) {
	(void)context;
	void *p = hyp_aligned_alloc(alignment, bytes);
	if (p == NULL) return HYP_ERR_NO_MEMORY;
	*ret_address = (uintptr_t)p;
	return HYP_OK;
}

static void host_free(void *context, uintptr_t address) {
	(void)context;
	hyp_free((void *)address);
}

static hyp_status stream_create(void *context, void **ret_stream) {
	*ret_stream = context;
	return HYP_OK;
}
static void stream_destroy(void *context, void *stream) {
	(void)context;
	(void)stream;
}
static hyp_status stream_done(void *context, void *stream) {
	(void)context;
	(void)stream;
	return HYP_OK;
}
static hyp_status stream_wait(void *context, void *stream, void *event) {
	(void)context;
	(void)stream;
	(void)event;
	return HYP_OK;
}

static hyp_status event_create(void *context, void **ret_event) {
	(void)context;
	struct host_event *event = hyp_calloc(1, sizeof *event);
	if (event == NULL) return HYP_ERR_NO_MEMORY;
	*ret_event = event;
	return HYP_OK;
}
static void event_destroy(void *context, void *event) {
	(void)context;
	hyp_free(event);
}
static hyp_status event_record(void *context, void *event, void *stream) {
	(void)context;
	(void)stream;
	((struct host_event *)event)->ns = now_ns();
	return HYP_OK;
}
static hyp_status event_elapsed_ns(void *context, void *from, void *to, uint64_t *ret_ns) {
	(void)context;
	const struct host_event *a = from, *b = to;
	if (a->ns == 0 || b->ns == 0) return HYP_ERR_INVALID;
	*ret_ns = b->ns - a->ns;
	return HYP_OK;
}

static hyp_status copy_async(void *context, void *stream, uintptr_t to, bool to_host, uintptr_t from, bool from_host,
                             size_t bytes) {
	(void)context;
	(void)stream;
	(void)to_host;
	(void)from_host;
	memmove((void *)to, (const void *)from, bytes);
	return HYP_OK;
}

static hyp_status fill_async(void *context, void *stream, uintptr_t to, uint8_t value, size_t bytes) {
	(void)context;
	(void)stream;
	memset((void *)to, value, bytes);
	return HYP_OK;
}

const hyp_device_driver hypi_host_driver = {
	.struct_bytes = sizeof(hyp_device_driver),
	.describe = hypi_host_describe,
	.alloc = host_alloc,
	.free = host_free,
	.stream_create = stream_create,
	.stream_destroy = stream_destroy,
	.stream_synchronize = stream_done,
	.stream_query = stream_done,
	.stream_wait = stream_wait,
	.event_create = event_create,
	.event_destroy = event_destroy,
	.event_record = event_record,
	.event_synchronize = stream_done,
	.event_query = stream_done,
	.event_elapsed_ns = event_elapsed_ns,
	.copy_async = copy_async,
	.fill_async = fill_async,
};
