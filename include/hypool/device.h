/*
 * hypool/device.h: places for memory and work: the host, a simulated device, and whatever a driver registers.
 *
 * Device 0 is the host and always there. A driver is a table of functions (hyp_device_driver); CUDA and Metal are such
 * tables, and so is the simulated device, which tests everything without hardware. Work on a device runs in streams:
 * what one stream is given happens in that order, asynchronously; events order streams among each other.
 *
 * Every function may be called by any thread. On failure outputs are untouched. A device that reports
 * HYP_ERR_DEVICE from anything has failed: further calls on it return that at once, until hyp_device_recover.
 */
#ifndef HYPOOL_DEVICE_H
#define HYPOOL_DEVICE_H

#include <hypool/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HYP_DEVICE_HOST 0
#define HYP_DEVICE_MAX 64

typedef enum hyp_device_kind {
	HYP_DEVICE_KIND_HOST,
	HYP_DEVICE_KIND_SIMULATED,
	HYP_DEVICE_KIND_CUDA,
	HYP_DEVICE_KIND_METAL,
	HYP_DEVICE_KIND_OTHER
} hyp_device_kind;

typedef struct hyp_device_info {
	size_t struct_bytes; /* set by the caller to sizeof(hyp_device_info) */
	char name[64];
	hyp_device_kind kind;
	bool supports_metal, supports_cuda;
	bool unified_memory;    /* the host reads and writes its memory at the same addresses */
	bool host_accessible;   /* the processor may touch an allocation's address */
	uint32_t compute_units; /* host: cores */
	uint32_t numa_nodes;
	uint64_t memory_bytes;
	uint64_t memory_free_bytes; /* an estimate; of the host: what the system calls available */
	/* 1e9 bytes read a second by all units; 0: not known. The host: as measured on request, else as the firmware tells
	 * (HMAT, through hwloc). */
	double memory_bandwidth_gbps;
	double memory_latency_ns; /* of a dependent load; 0: not known */
	uint32_t simd_mask;       /* host: the kernels' sets in use, numbered as the option tensor_isa says */
	char simd_names[96];      /* "avx2 avx512" */
	uint64_t cache_bytes[3];  /* L1 data, L2, L3 of the first core; 0: none */
	uint32_t cache_line_bytes;
	uint64_t dtypes;    /* 1 << hyp_dtype for what it computes with */
	double flops_per_s; /* 0: not known */
} hyp_device_info;

/* ---- enumeration and choice ---- */

HYP_API int hyp_device_count(void);
/* Indices are dense from 0 up; a closed driver's index stays and reports HYP_ERR_DEVICE. */
HYP_API HYP_NODISCARD hyp_status hyp_device_describe(int device, hyp_device_info *ret_info);

typedef struct hyp_device_work {
	size_t struct_bytes;     /* sizeof(hyp_device_work) */
	uint64_t bytes;          /* that the work touches */
	uint64_t flops;          /* that it does */
	uint64_t transfer_bytes; /* that would have to move there and back */
	uint64_t dtypes;         /* 1 << hyp_dtype it needs; 0: any */
	bool needs_host_access;  /* its results are touched by the processor all the time */
} hyp_device_work;

/* The device with the least estimated time (transfer + the longer of compute and memory traffic + start-up) that has
 * the memory and the types and has not failed; work NULL: the best device for large work. The option device ("host",
 * an index, or the beginning of a name) overrides, if that device is there and has not failed. Never fails on work
 * that fits the host. */
HYP_API HYP_NODISCARD hyp_status hyp_device_auto_select(const hyp_device_work *work, int *ret_device);

/* ---- memory ---- */

HYP_API HYP_NODISCARD hyp_status hyp_device_alloc(int device, size_t bytes, size_t alignment, uintptr_t *ret_address);
HYP_API void hyp_device_free(int device, uintptr_t address);

/* ---- streams, events, copies ---- */

typedef struct hyp_stream hyp_stream;
typedef struct hyp_event hyp_event;

HYP_API HYP_NODISCARD hyp_status hyp_stream_create(int device, hyp_stream **ret_stream);
HYP_API void hyp_stream_destroy(hyp_stream *stream); /* after its work is done; NULL is allowed */
HYP_API int hyp_stream_device(const hyp_stream *stream);
HYP_API HYP_NODISCARD hyp_status hyp_stream_synchronize(hyp_stream *stream);
/* HYP_OK: all done; HYP_ERR_BUSY: not yet. */
HYP_API HYP_NODISCARD hyp_status hyp_stream_query(hyp_stream *stream);

HYP_API HYP_NODISCARD hyp_status hyp_event_create(int device, hyp_event **ret_event);
HYP_API void hyp_event_destroy(hyp_event *event);
/* The event happens when what the stream has now is done. */
HYP_API HYP_NODISCARD hyp_status hyp_event_record(hyp_event *event, hyp_stream *stream);
/* The stream goes on only after the event (of the same device) has happened. */
HYP_API HYP_NODISCARD hyp_status hyp_stream_wait(hyp_stream *stream, hyp_event *event);
HYP_API HYP_NODISCARD hyp_status hyp_event_synchronize(hyp_event *event);
HYP_API HYP_NODISCARD hyp_status hyp_event_query(hyp_event *event);
/* Device time between two events that have happened. */
HYP_API HYP_NODISCARD hyp_status hyp_event_elapsed_ns(hyp_event *from, hyp_event *to, uint64_t *ret_ns);

/* Both ends are on the stream's device or the host; host memory must stay until the copy is done. */
HYP_API HYP_NODISCARD hyp_status hyp_copy_async(hyp_stream *stream, int to_device, uintptr_t to, int from_device,
                                                uintptr_t from, size_t bytes);
HYP_API HYP_NODISCARD hyp_status hyp_fill_async(hyp_stream *stream, uintptr_t to, uint8_t value, size_t bytes);
/* Between any two devices, through the host if need be; done when it returns. */
HYP_API HYP_NODISCARD hyp_status hyp_copy(int to_device, uintptr_t to, int from_device, uintptr_t from, size_t bytes);

/* What copies from one device to another reach, in 1e9 bytes copied a second: the best of several of `bytes` (0: 16 MiB),
 * timed by the events of the device that carries them out. Kept, and used by hyp_device_auto_select. */
HYP_API HYP_NODISCARD hyp_status hyp_device_measure_copy(int from_device, int to_device, size_t bytes,
                                                         double *ret_gbps);
/* The last such measurement; 0: none. */
HYP_API double hyp_device_copy_gbps(int from_device, int to_device);

/* ---- failure ---- */

/* The text of the calling thread's last failed device call; "" if none. */
HYP_API const char *hyp_device_last_error(void);
HYP_API bool hyp_device_failed(int device);
/* Asks the driver to start over. Memory and streams of before are gone (free and destroy them as usual). */
HYP_API HYP_NODISCARD hyp_status hyp_device_recover(int device);

/* ---- drivers ---- */

/*
 * What a driver implements. Every function gets the context; streams and events are the driver's own objects behind
 * void *. All required, but those said to be optional. None may call back into hypool's device functions. Called
 * concurrently. Copies: exactly one end is host memory, or neither.
 */
typedef struct hyp_device_driver {
	size_t struct_bytes; /* sizeof(hyp_device_driver) */
	hyp_status (*describe)(void *context, hyp_device_info *ret_info);
	hyp_status (*alloc)(void *context, size_t bytes, size_t alignment, uintptr_t *ret_address);
	void (*free)(void *context, uintptr_t address); /* waits for work that was given before */
	hyp_status (*stream_create)(void *context, void **ret_stream);
	void (*stream_destroy)(void *context, void *stream);
	hyp_status (*stream_synchronize)(void *context, void *stream);
	hyp_status (*stream_query)(void *context, void *stream);
	hyp_status (*stream_wait)(void *context, void *stream, void *event);
	hyp_status (*event_create)(void *context, void **ret_event);
	void (*event_destroy)(void *context, void *event);
	hyp_status (*event_record)(void *context, void *event, void *stream);
	hyp_status (*event_synchronize)(void *context, void *event);
	hyp_status (*event_query)(void *context, void *event);
	hyp_status (*event_elapsed_ns)(void *context, void *from, void *to, uint64_t *ret_ns);
	hyp_status (*copy_async)(void *context, void *stream, uintptr_t to, bool to_host, uintptr_t from, bool from_host,
	                         size_t bytes);
	hyp_status (*fill_async)(void *context, void *stream, uintptr_t to, uint8_t value, size_t bytes);
	hyp_status (*recover)(void *context); /* NULL: cannot */
	void (*close)(void *context);         /* NULL: nothing to do */
} hyp_device_driver;

/* The driver is copied; context must live until hyp_device_unregister. HYP_ERR_LIMIT after HYP_DEVICE_MAX. */
HYP_API HYP_NODISCARD hyp_status hyp_device_register(const hyp_device_driver *driver, void *context, int *ret_device);
/* Nobody uses it any more. */
HYP_API HYP_NODISCARD hyp_status hyp_device_unregister(int device);

/* ---- the simulated device ---- */

/*
 * A device in software, for tests: its addresses fault when the processor touches them, its streams run on a clock of
 * its own that moves only when someone waits or hyp_simulated_advance is called, and it fails when told to. Nothing
 * that was given to a stream has happened before the clock reaches it, so that a missing wait reads old bytes.
 */
typedef struct hyp_simulated_config {
	size_t struct_bytes; /* sizeof(hyp_simulated_config) */
	size_t memory_bytes; /* default 256 MiB; beyond: HYP_ERR_NO_MEMORY */
	uint64_t launch_ns;  /* each operation's fixed time; default 5000 */
	double copy_gbps;    /* host to device and back; default 16 */
	double memory_gbps;  /* on the device; default 800 */
	uint8_t poison;      /* what fresh memory holds; default 0xa5 */
} hyp_simulated_config;

typedef enum hyp_simulated_fault {
	HYP_FAULT_ALLOC,  /* HYP_ERR_NO_MEMORY */
	HYP_FAULT_STREAM, /* of stream_create and event_create: HYP_ERR_NO_MEMORY */
	HYP_FAULT_COPY,   /* the device fails while the clock passes that copy: HYP_ERR_DEVICE from then on */
	HYP_FAULT_SYNC,   /* the device fails at that synchronisation */
	HYP_FAULT_COUNT
} hyp_simulated_fault;

HYP_API HYP_NODISCARD hyp_status hyp_simulated_open(const hyp_simulated_config *config, int *ret_device);
/* The n-th call of that kind from now on fails (1: the next); 0: none. */
HYP_API HYP_NODISCARD hyp_status hyp_simulated_fail(int device, hyp_simulated_fault fault, uint64_t nth);
HYP_API HYP_NODISCARD hyp_status hyp_simulated_advance(int device, uint64_t ns);
HYP_API HYP_NODISCARD hyp_status hyp_simulated_now(int device, uint64_t *ret_ns);
HYP_API HYP_NODISCARD hyp_status hyp_simulated_live(int device, uint64_t *ret_blocks, uint64_t *ret_bytes);

/* ---- the machine ---- */

typedef struct hyp_topology hyp_topology;
/* This machine by hwloc; shared, made on first use, never closed. */
HYP_API HYP_NODISCARD hyp_status hyp_topology_this(const hyp_topology **ret_topology);
/* Another machine, as hwloc writes them: "pack:2 numa:2 core:4 pu:2", or an XML file's path. */
HYP_API HYP_NODISCARD hyp_status hyp_topology_synthetic(const char *description, hyp_topology **ret_topology);
HYP_API HYP_NODISCARD hyp_status hyp_topology_xml(const char *path, hyp_topology **ret_topology);
HYP_API void hyp_topology_close(hyp_topology *topology);

typedef struct hyp_topology_info {
	size_t struct_bytes; /* set by the caller to sizeof(hyp_topology_info) */
	uint32_t packages, numa_nodes, cores, pus, gpus, pci_devices;
	uint64_t cache_bytes[3];
	uint32_t cache_line_bytes;
	uint64_t memory_bytes; /* of all nodes, by hwloc; virtual machines may say what is not so */
	bool this_machine;
} hyp_topology_info;
HYP_API HYP_NODISCARD hyp_status hyp_topology_describe(const hyp_topology *topology, hyp_topology_info *ret_info);

typedef struct hyp_numa_node {
	size_t struct_bytes; /* set by the caller to sizeof(hyp_numa_node) */
	uint32_t os_index;
	uint32_t cores, pus;
	uint64_t memory_bytes;
	double attribute_bandwidth_gbps; /* hwloc's memory attribute (HMAT, or put there by a measurement); 0: none */
	double attribute_latency_ns;
} hyp_numa_node;
HYP_API HYP_NODISCARD hyp_status hyp_topology_node(const hyp_topology *topology, uint32_t node,
                                                   hyp_numa_node *ret_node);

typedef struct hyp_bandwidth {
	size_t struct_bytes;                     /* set by the caller to sizeof(hyp_bandwidth) */
	uint32_t threads;                        /* that were bound, one a core of the node */
	double read_gbps, write_gbps, copy_gbps; /* 1e9 bytes a second; of a copy, read plus written */
	double triad_gbps;                       /* a = b + s c, two read and one written */
	double latency_ns;                       /* of dependent loads at random over the same memory */
	bool bound;                              /* threads and memory were read back to be where they were put */
} hyp_bandwidth;

/*
 * Measures a node's memory from its own cores: one thread a core, three arrays of `bytes` in all a pass (0: four times
 * the last cache, at least 64 MiB), best of several passes; about half a second. The result is put into the topology
 * as hwloc memory attributes and kept for the process; hyp_device_describe then reports it. Only this machine's
 * topology. cache_path (NULL: none): read from there if the file is of this very machine, else measured and written.
 */
HYP_API HYP_NODISCARD hyp_status hyp_topology_measure(uint32_t node, uint64_t bytes, const char *cache_path,
                                                      hyp_bandwidth *ret_bandwidth);

#ifdef __cplusplus
}
#endif

#endif
