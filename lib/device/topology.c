/*
 * device/topology.c: machines by hwloc (Broquedis et al., 2010): packages, NUMA nodes, caches, processing units, PCI.
 *
 * This machine's topology is loaded on first use and lives as long as the process; its lock guards the loading and the
 * memory attributes that a measurement puts back. Other machines (synthetic, XML) belong to their caller. A node's
 * memory size is what hwloc says: in virtual machines that can be wrong, so nothing here is sized by it.
 */
#include "device/topology.h"

#include "device/device.h"
#include "device/topology_private.h"

#include <hypool/hypool.h>

#include <hwloc.h>
#include <pthread.h>
#include <string.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct hyp_topology this_machine; /* under mutex until loaded; its tree is constant afterwards */
static bool loaded;
static hwloc_cpuset_t process_set; /* what the process was bound to when this was first asked */
static unsigned process_cores;

/* ---- loading ---- */

static hyp_status load(struct hyp_topology *t, const char *synthetic, const char *xml) {
	if (hwloc_topology_init(&t->tree) != 0) return hypi_device_fail(HYP_ERR_NO_MEMORY, "hwloc: no topology");
	(void)hwloc_topology_set_io_types_filter(t->tree, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
	int refused = 0;
	if (synthetic != NULL) refused = hwloc_topology_set_synthetic(t->tree, synthetic);
	if (xml != NULL) refused = hwloc_topology_set_xml(t->tree, xml);
	if (refused != 0 || hwloc_topology_load(t->tree) != 0) {
		hwloc_topology_destroy(t->tree);
		return hypi_device_fail(HYP_ERR_INVALID, "hwloc does not take the topology%s%s",
		                        synthetic != NULL || xml != NULL ? " " : "",
		                        synthetic ? synthetic
		                        : xml     ? xml
		                                  : "");
	}
	return HYP_OK;
}

static hyp_status other(const char *synthetic, const char *xml, hyp_topology **ret_topology) {
	if (ret_topology == NULL || (synthetic == NULL && xml == NULL))
		return hypi_device_fail(HYP_ERR_INVALID, "an argument is NULL");
	struct hyp_topology *t = hyp_calloc(1, sizeof *t);
	if (t == NULL) return hypi_device_fail(HYP_ERR_NO_MEMORY, "no memory for a topology");
	hyp_status status = load(t, synthetic, xml);
	if (status != HYP_OK) {
		hyp_free(t);
		return status;
	}
	*ret_topology = t;
	return HYP_OK;
}

hyp_status hyp_topology_synthetic(const char *description, hyp_topology **ret_topology) {
	return other(description, NULL, ret_topology);
}

hyp_status hyp_topology_xml(const char *path, hyp_topology **ret_topology) { return other(NULL, path, ret_topology); }

void hyp_topology_close(hyp_topology *topology) {
	if (topology == NULL || topology == &this_machine) return;
	hwloc_topology_destroy(topology->tree);
	hyp_free(topology);
}

static unsigned count_cores(hwloc_topology_t tree, hwloc_const_cpuset_t set) {
	int cores = hwloc_get_nbobjs_inside_cpuset_by_type(tree, set, HWLOC_OBJ_CORE);
	unsigned n = 0;
	/* A binding may cover only some threads of each core: count cores that it touches. */
	for (hwloc_obj_t core = NULL; (core = hwloc_get_next_obj_by_type(tree, HWLOC_OBJ_CORE, core)) != NULL;)
		if (hwloc_bitmap_intersects(core->cpuset, set)) n++;
	if (n == 0) n = cores > 0 ? (unsigned)cores : (unsigned)hwloc_bitmap_weight(set);
	return n == 0 ? 1 : n;
}

hyp_status hypi_topology_get(struct hyp_topology **ret_topology) {
	pthread_mutex_lock(&mutex);
	hyp_status status = HYP_OK;
	if (!loaded) {
		status = load(&this_machine, NULL, NULL);
		if (status == HYP_OK) {
			this_machine.this_machine = true;
			process_set = hwloc_bitmap_alloc();
			if (process_set != NULL && hwloc_get_cpubind(this_machine.tree, process_set, HWLOC_CPUBIND_PROCESS) != 0 &&
			    hwloc_get_cpubind(this_machine.tree, process_set, HWLOC_CPUBIND_THREAD) != 0)
				hwloc_bitmap_copy(process_set, hwloc_topology_get_allowed_cpuset(this_machine.tree));
			if (process_set != NULL) process_cores = count_cores(this_machine.tree, process_set);
			loaded = true;
		}
	}
	pthread_mutex_unlock(&mutex);
	if (status == HYP_OK) *ret_topology = &this_machine;
	return status;
}

hyp_status hyp_topology_this(const hyp_topology **ret_topology) {
	if (ret_topology == NULL) return hypi_device_fail(HYP_ERR_INVALID, "argument ret_topology: is NULL");
	struct hyp_topology *t;
	hyp_status status = hypi_topology_get(&t);
	if (status == HYP_OK) *ret_topology = t;
	return status;
}

/* ---- workers ---- */

unsigned hypi_topology_process_cores(void) {
	struct hyp_topology *t;
	if (hypi_topology_get(&t) != HYP_OK) return 1;
	return process_cores == 0 ? 1 : process_cores;
}

void hypi_topology_bind_worker(unsigned index) {
	struct hyp_topology *t;
	if (hypi_topology_get(&t) != HYP_OK || process_set == NULL) return;
	unsigned wanted = index % hypi_topology_process_cores(), n = 0;
	hwloc_obj_t core = NULL;
	while ((core = hwloc_get_next_obj_by_type(t->tree, HWLOC_OBJ_CORE, core)) != NULL)
		if (hwloc_bitmap_intersects(core->cpuset, process_set) && n++ == wanted) break;
	if (core == NULL) return;
	hwloc_bitmap_t set = hwloc_bitmap_alloc();
	if (set == NULL) return;
	hwloc_bitmap_and(set, core->cpuset, process_set);
	(void)hwloc_set_cpubind(t->tree, set, HWLOC_CPUBIND_THREAD);
	hwloc_bitmap_free(set);
}

/* ---- description ---- */

static uint32_t count_of(hwloc_topology_t tree, hwloc_obj_type_t type) {
	int n = hwloc_get_nbobjs_by_type(tree, type);
	return n > 0 ? (uint32_t)n : 0;
}

static uint32_t count_gpus(hwloc_topology_t tree) {
	uint32_t n = 0;
	for (hwloc_obj_t pci = NULL; (pci = hwloc_get_next_pcidev(tree, pci)) != NULL;)
		if (pci->attr->pcidev.class_id >> 8 == 0x03) n++; /* PCI base class 3: display controllers */
	return n;
}

hyp_status hyp_topology_describe(const hyp_topology *topology, hyp_topology_info *ret_info) {
	if (topology == NULL || ret_info == NULL) return hypi_device_fail(HYP_ERR_INVALID, "an argument is NULL");
	if (ret_info->struct_bytes != sizeof *ret_info)
		return hypi_device_fail(HYP_ERR_INVALID, "argument ret_info: struct_bytes is %zu, not %zu",
		                        ret_info->struct_bytes, sizeof *ret_info);
	hwloc_topology_t tree = topology->tree;
	hyp_topology_info info = {.struct_bytes = sizeof info, .this_machine = topology->this_machine};
	info.packages = count_of(tree, HWLOC_OBJ_PACKAGE);
	info.numa_nodes = count_of(tree, HWLOC_OBJ_NUMANODE);
	info.cores = count_of(tree, HWLOC_OBJ_CORE);
	info.pus = count_of(tree, HWLOC_OBJ_PU);
	info.pci_devices = count_of(tree, HWLOC_OBJ_PCI_DEVICE);
	info.gpus = count_gpus(tree);
	info.memory_bytes = hwloc_get_root_obj(tree)->total_memory;
	hwloc_obj_t pu = hwloc_get_obj_by_type(tree, HWLOC_OBJ_PU, 0);
	for (hwloc_obj_t up = pu; up != NULL; up = up->parent) {
		if (!hwloc_obj_type_is_dcache(up->type) || up->attr->cache.depth < 1 || up->attr->cache.depth > 3) continue;
		info.cache_bytes[up->attr->cache.depth - 1] = up->attr->cache.size;
		if (up->attr->cache.linesize != 0) info.cache_line_bytes = up->attr->cache.linesize;
	}
	*ret_info = info;
	return HYP_OK;
}

static double attribute(hwloc_topology_t tree, unsigned id, hwloc_obj_t node) {
	struct hwloc_location from = {.type = HWLOC_LOCATION_TYPE_CPUSET, .location = {.cpuset = node->cpuset}};
	hwloc_uint64_t value;
	return hwloc_memattr_get_value(tree, id, node, &from, 0, &value) == 0 ? (double)value : 0;
}

hyp_status hyp_topology_node(const hyp_topology *topology, uint32_t node, hyp_numa_node *ret_node) {
	if (topology == NULL || ret_node == NULL) return hypi_device_fail(HYP_ERR_INVALID, "an argument is NULL");
	if (ret_node->struct_bytes != sizeof *ret_node)
		return hypi_device_fail(HYP_ERR_INVALID, "argument ret_node: struct_bytes is %zu, not %zu",
		                        ret_node->struct_bytes, sizeof *ret_node);
	hwloc_obj_t object = hwloc_get_obj_by_type(topology->tree, HWLOC_OBJ_NUMANODE, node);
	if (object == NULL) return hypi_device_fail(HYP_ERR_NOT_FOUND, "argument node: there is no node %u", node);
	hyp_numa_node n = {.struct_bytes = sizeof n, .os_index = object->os_index};
	n.memory_bytes = object->attr->numanode.local_memory;
	n.pus = (uint32_t)hwloc_bitmap_weight(object->cpuset);
	int cores = hwloc_get_nbobjs_inside_cpuset_by_type(topology->tree, object->cpuset, HWLOC_OBJ_CORE);
	n.cores = cores > 0 ? (uint32_t)cores : n.pus;
	pthread_mutex_lock(&mutex);
	/* hwloc counts MiB/s and ns. */
	n.attribute_bandwidth_gbps = attribute(topology->tree, HWLOC_MEMATTR_ID_BANDWIDTH, object) * 1048576e-9;
	n.attribute_latency_ns = attribute(topology->tree, HWLOC_MEMATTR_ID_LATENCY, object);
	pthread_mutex_unlock(&mutex);
	*ret_node = n;
	return HYP_OK;
}

void hypi_topology_put(struct hyp_topology *t, hwloc_obj_t node, double gbps, double latency_ns) {
	struct hwloc_location from = {.type = HWLOC_LOCATION_TYPE_CPUSET, .location = {.cpuset = node->cpuset}};
	pthread_mutex_lock(&mutex);
	(void)hwloc_memattr_set_value(t->tree, HWLOC_MEMATTR_ID_BANDWIDTH, node, &from, 0,
	                              (hwloc_uint64_t)(gbps * 1e9 / 1048576));
	(void)hwloc_memattr_set_value(t->tree, HWLOC_MEMATTR_ID_LATENCY, node, &from, 0,
	                              (hwloc_uint64_t)(latency_ns + 0.5));
	pthread_mutex_unlock(&mutex);
}
