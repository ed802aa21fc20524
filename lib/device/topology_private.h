/*
 * device/topology_private.h: what topology.c and bandwidth.c share; the only header of ours that shows hwloc.
 */
#ifndef HYPI_DEVICE_TOPOLOGY_PRIVATE_H
#define HYPI_DEVICE_TOPOLOGY_PRIVATE_H

#include <hypool/device.h>

#include <hwloc.h>

struct hyp_topology {
	hwloc_topology_t tree;
	bool this_machine;
};

hyp_status hypi_topology_get(struct hyp_topology **ret_topology);
/* Puts a measurement into the tree as hwloc memory attributes. */
void hypi_topology_put(struct hyp_topology *t, hwloc_obj_t node, double gbps, double latency_ns);

#endif
