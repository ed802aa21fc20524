/*
 * device/topology.h: the machine by hwloc, for the folders above. Nothing here runs before it is first asked.
 */
#ifndef HYPI_DEVICE_TOPOLOGY_H
#define HYPI_DEVICE_TOPOLOGY_H

#include "base/compiler.h"

#include <hypool/device.h>

/* Cores that this process may run on: those its first caller was bound to; at least 1. */
unsigned hypi_topology_process_cores(void);
/* Binds the calling thread to the index-th of those cores (modulo their number). Without effect if it cannot. */
void hypi_topology_bind_worker(unsigned index);
/* The last measurement of all nodes together; 0 if none. */
double hypi_topology_read_gbps(void);
double hypi_topology_latency_ns(void);

#endif
