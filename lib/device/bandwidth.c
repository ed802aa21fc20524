/*
 * device/bandwidth.c: what a NUMA node's memory gives, measured from its own cores.
 *
 * One thread a core, bound and read back; each touches its own part of three arrays first, so that the pages lie where
 * the thread runs, and the system is asked where that is. The loops are those of STREAM (McCalpin, 1995), with a pure
 * read and a pure write added; latency is a chase through one random cycle over cache lines (Sattolo's shuffle, 1986).
 * Best of PASSES, since what disturbs a measurement only ever slows it.
 */
#include "device/bandwidth_cache.h"
#include "device/device.h"
#include "device/topology.h"
#include "device/topology_private.h"

#include "base/atomic.h"

#include <hypool/hypool.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>

#define MAX_THREADS 256
#define PASSES 7
#define LEAST_BYTES ((uint64_t)64 << 20)
#define CHASE_BYTES ((size_t)64 << 20)
#define CHASE_STEPS 400000

enum loop { READ, WRITE, COPY, TRIAD, LOOP_COUNT };
static const double bytes_an_element[LOOP_COUNT] = {8, 8, 16, 24};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* one measurement at a time; guards kept */
static double kept_read_gbps, kept_latency_ns;            /* the sum over measured nodes; the least latency */
static double node_read_gbps[64];

struct team {
	hwloc_topology_t tree;
	pthread_mutex_t gate; /* held while the team is made; guards the next three */
	pthread_barrier_t barrier;
	unsigned threads;
	bool cancelled;
	size_t elements;                                 /* doubles in one array of one thread */
	uint64_t begun[MAX_THREADS], ended[MAX_THREADS]; /* of one pass; each thread's own, read between barriers */
	uint64_t best_ns[LOOP_COUNT];
	_Atomic bool bound, no_memory;
	hwloc_obj_t node;
};

struct member {
	struct team *team;
	unsigned index;
	hwloc_cpuset_t set;
	volatile double sink;
};

static uint64_t now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double read_loop(const double *a, size_t n) {
	double s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
	for (size_t i = 0; i + 8 <= n; i += 8) {
		s0 += a[i];
		s1 += a[i + 1];
		s2 += a[i + 2];
		s3 += a[i + 3];
		s4 += a[i + 4];
		s5 += a[i + 5];
		s6 += a[i + 6];
		s7 += a[i + 7];
	}
	return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7));
}

static void one_loop(struct member *m, enum loop loop, double *a, double *b, double *c) {
	size_t n = m->team->elements;
	switch (loop) {
	case READ: m->sink = read_loop(a, n); break;
	case WRITE:
		for (size_t i = 0; i < n; i++) a[i] = 1.5;
		break;
	case COPY: /* STREAM's loop, as it stands: memcpy would write past the caches and be another figure */
		for (size_t i = 0; i < n; i++) b[i] = a[i];
		break;
	default:
		for (size_t i = 0; i < n; i++) a[i] = b[i] + 3.0 * c[i];
	}
	__asm__ volatile("" : : "r"(a), "r"(b) : "memory");
}

/* Bound where it was put, and its memory on the node? */
static bool read_back(struct member *m, const void *memory, size_t bytes) {
	hwloc_bitmap_t is = hwloc_bitmap_alloc();
	bool right = false;
	if (is != NULL) {
		right = hwloc_get_cpubind(m->team->tree, is, HWLOC_CPUBIND_THREAD) == 0 && hwloc_bitmap_isincluded(is, m->set);
		int nodes = hwloc_get_nbobjs_by_type(m->team->tree, HWLOC_OBJ_NUMANODE);
		if (right && nodes > 1) {
			hwloc_bitmap_zero(is);
			right = hwloc_get_area_memlocation(m->team->tree, memory, bytes, is, HWLOC_MEMBIND_BYNODESET) == 0 &&
			        hwloc_bitmap_isincluded(is, m->team->node->nodeset);
		}
		hwloc_bitmap_free(is);
	}
	return right;
}

/* From the first thread's start to the last one's end: what the barriers cost is no time of the memory's. */
static void take_time(struct team *t, enum loop loop) {
	uint64_t first = t->begun[0], last = t->ended[0];
	for (unsigned i = 1; i < t->threads; i++) {
		if (t->begun[i] < first) first = t->begun[i];
		if (t->ended[i] > last) last = t->ended[i];
	}
	if (last - first < t->best_ns[loop]) t->best_ns[loop] = last - first;
}

static void *member_main(void *argument) {
	struct member *m = argument;
	struct team *t = m->team;
	pthread_mutex_lock(&t->gate);
	bool cancelled = t->cancelled;
	pthread_mutex_unlock(&t->gate);
	if (cancelled) return NULL;
	(void)hwloc_set_cpubind(t->tree, m->set, HWLOC_CPUBIND_THREAD);
	size_t bytes = t->elements * sizeof(double);
	double *base = mmap(NULL, 3 * bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED) {
		hypi_store_relaxed(&t->no_memory, true);
		base = NULL;
	} else {
		(void)hwloc_set_area_membind(t->tree, base, 3 * bytes, t->node->nodeset, HWLOC_MEMBIND_BIND,
		                             HWLOC_MEMBIND_BYNODESET);
		for (size_t i = 0; i < 3 * t->elements; i++) base[i] = 1.0;
		if (!read_back(m, base, 3 * bytes)) hypi_store_relaxed(&t->bound, false);
	}
	for (int pass = 0; pass < PASSES; pass++) {
		for (int loop = 0; loop < LOOP_COUNT; loop++) {
			pthread_barrier_wait(&t->barrier);
			bool work = !hypi_load_relaxed(&t->no_memory);
			t->begun[m->index] = now_ns();
			if (work) one_loop(m, (enum loop)loop, base, base + t->elements, base + 2 * t->elements);
			t->ended[m->index] = now_ns();
			pthread_barrier_wait(&t->barrier);
			if (m->index == 0) take_time(t, (enum loop)loop);
		}
	}
	if (base != NULL) (void)munmap(base, 3 * bytes);
	return NULL;
}

/* The node's cores, one processing unit each; returns how many sets were made. */
static unsigned core_sets(hwloc_topology_t tree, hwloc_obj_t node, hwloc_cpuset_t *ret_sets) {
	unsigned n = 0;
	for (hwloc_obj_t core = NULL;
	     n < MAX_THREADS && (core = hwloc_get_next_obj_by_type(tree, HWLOC_OBJ_CORE, core)) != NULL;) {
		if (!hwloc_bitmap_intersects(core->cpuset, node->cpuset)) continue;
		hwloc_cpuset_t set = hwloc_bitmap_dup(core->cpuset);
		if (set == NULL) break;
		hwloc_bitmap_singlify(set);
		ret_sets[n++] = set;
	}
	if (n == 0 && (ret_sets[0] = hwloc_bitmap_dup(node->cpuset)) != NULL) n = 1;
	return n;
}

static hyp_status run_team(struct team *t, hwloc_cpuset_t *sets) {
	static struct member members[MAX_THREADS]; /* under mutex */
	pthread_t threads[MAX_THREADS];
	unsigned started = 0, wanted = t->threads;
	/* Nobody comes to the barrier before it is known for how many it is. */
	pthread_mutex_lock(&t->gate);
	for (; started < wanted; started++) {
		members[started] = (struct member){t, started, sets[started], 0};
		if (pthread_create(&threads[started], NULL, member_main, &members[started]) != 0) break;
	}
	t->threads = started;
	bool ready = started > 0 && pthread_barrier_init(&t->barrier, NULL, started) == 0;
	t->cancelled = !ready;
	pthread_mutex_unlock(&t->gate);
	for (unsigned i = 0; i < started; i++) (void)pthread_join(threads[i], NULL);
	if (!ready) return hypi_device_fail(HYP_ERR_NO_MEMORY, "no threads to measure with");
	(void)pthread_barrier_destroy(&t->barrier);
	return HYP_OK;
}

static uint64_t step_random(uint64_t *state) {
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

struct chase {
	hwloc_topology_t tree;
	hwloc_cpuset_t set;
	double ns;
};

static void *chase_main(void *argument) {
	struct chase *c = argument;
	(void)hwloc_set_cpubind(c->tree, c->set, HWLOC_CPUBIND_THREAD);
	size_t lines = CHASE_BYTES / 64;
	uint64_t *memory = mmap(NULL, CHASE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	c->ns = 0;
	if (memory == MAP_FAILED) return NULL;
#ifdef MADV_HUGEPAGE
	(void)madvise(memory, CHASE_BYTES, MADV_HUGEPAGE); /* else each step also walks the page tables */
#endif
	for (size_t i = 0; i < lines; i++) memory[i * 8] = i;
	uint64_t state = 88172645463325252u;
	for (size_t i = lines - 1; i > 0; i--) {
		size_t j = step_random(&state) % i;
		uint64_t swap = memory[i * 8];
		memory[i * 8] = memory[j * 8];
		memory[j * 8] = swap;
	}
	uint64_t at = 0, best = UINT64_MAX;
	for (int pass = 0; pass < 3; pass++) {
		uint64_t begun = now_ns();
		for (int i = 0; i < CHASE_STEPS; i++) at = memory[at * 8];
		__asm__ volatile("" : "+r"(at));
		uint64_t ns = now_ns() - begun;
		if (ns < best) best = ns;
	}
	c->ns = (double)best / CHASE_STEPS;
	(void)munmap(memory, CHASE_BYTES);
	return NULL;
}

static double rate(const struct team *t, enum loop loop) {
	return bytes_an_element[loop] * (double)t->elements * t->threads / (double)t->best_ns[loop];
}

static hyp_status measure(struct hyp_topology *topology, hwloc_obj_t node, uint64_t bytes,
                          hyp_bandwidth *ret_bandwidth) {
	hwloc_cpuset_t sets[MAX_THREADS];
	struct team t = {.tree = topology->tree, .node = node, .gate = PTHREAD_MUTEX_INITIALIZER};
	unsigned count = core_sets(topology->tree, node, sets);
	t.threads = count;
	if (count == 0) return hypi_device_fail(HYP_ERR_UNSUPPORTED, "node %u has no cores", node->logical_index);
	if (bytes == 0) {
		hyp_topology_info info = {.struct_bytes = sizeof info};
		hyp_status status = hyp_topology_describe(topology, &info);
		if (status != HYP_OK) return status;
		bytes = 4 * info.cache_bytes[2] < LEAST_BYTES ? LEAST_BYTES : 4 * info.cache_bytes[2];
		bytes *= 3;
	}
	t.elements = (size_t)(bytes / (3 * sizeof(double) * t.threads)) / 512 * 512 + 512;
	for (int i = 0; i < LOOP_COUNT; i++) t.best_ns[i] = UINT64_MAX;
	atomic_init(&t.bound, true);
	hyp_status status = run_team(&t, sets);
	struct chase chase = {topology->tree, sets[0], 0};
	pthread_t thread;
	if (status == HYP_OK && pthread_create(&thread, NULL, chase_main, &chase) == 0) (void)pthread_join(thread, NULL);
	for (unsigned i = 0; i < count; i++) hwloc_bitmap_free(sets[i]);
	if (status == HYP_OK && (hypi_load_relaxed(&t.no_memory) || t.best_ns[READ] == UINT64_MAX))
		status = hypi_device_fail(HYP_ERR_NO_MEMORY, "no memory or threads to measure with");
	if (status != HYP_OK) return status;
	*ret_bandwidth =
		(hyp_bandwidth){sizeof *ret_bandwidth, t.threads,       rate(&t, READ), rate(&t, WRITE),
	                    rate(&t, COPY),        rate(&t, TRIAD), chase.ns,       hypi_load_relaxed(&t.bound)};
	return HYP_OK;
}

/* ---- the cache file: one line a node, for one machine ---- */

/* What a measurement holds for: the processor's model, the shape of the machine and the kernel's name. */
static void machine_key(struct hyp_topology *topology, char *ret_key, size_t bytes) {
	struct utsname name;
	if (uname(&name) != 0) memset(&name, 0, sizeof name);
	hwloc_obj_t package = hwloc_get_obj_by_type(topology->tree, HWLOC_OBJ_PACKAGE, 0);
	const char *model = package == NULL ? NULL : hwloc_obj_get_info_by_name(package, "CPUModel");
	hyp_topology_info info = {.struct_bytes = sizeof info};
	if (hyp_topology_describe(topology, &info) != HYP_OK) memset(&info, 0, sizeof info);
	(void)snprintf(ret_key, bytes, "%s|%s|%s|%u.%u.%u.%u|%" PRIu64, name.nodename, name.machine,
	               model == NULL ? "" : model, info.packages, info.numa_nodes, info.cores, info.pus,
	               info.cache_bytes[2]);
	for (char *p = ret_key; *p != '\0'; p++)
		if (*p == '\n' || *p == '\t') *p = ' ';
}

hyp_status hyp_topology_measure(uint32_t node, uint64_t bytes, const char *cache_path, hyp_bandwidth *ret_bandwidth) {
	if (ret_bandwidth == NULL) return hypi_device_fail(HYP_ERR_INVALID, "argument ret_bandwidth: is NULL");
	if (ret_bandwidth->struct_bytes != sizeof *ret_bandwidth)
		return hypi_device_fail(HYP_ERR_INVALID, "argument ret_bandwidth: struct_bytes is %zu, not %zu",
		                        ret_bandwidth->struct_bytes, sizeof *ret_bandwidth);
	if (bytes > (uint64_t)1 << 40) return hypi_device_fail(HYP_ERR_INVALID, "argument bytes: more than 1 TiB");
	struct hyp_topology *topology;
	hyp_status status = hypi_topology_get(&topology);
	if (status != HYP_OK) return status;
	hwloc_obj_t object = hwloc_get_obj_by_type(topology->tree, HWLOC_OBJ_NUMANODE, node);
	if (object == NULL) return hypi_device_fail(HYP_ERR_NOT_FOUND, "argument node: there is no node %u", node);
	char key[512];
	hyp_bandwidth b = {.struct_bytes = sizeof b};
	machine_key(topology, key, sizeof key);
	pthread_mutex_lock(&mutex);
	if (cache_path == NULL || !hypi_bandwidth_read(cache_path, key, node, &b)) {
		status = measure(topology, object, bytes, &b);
		if (status == HYP_OK && cache_path != NULL && !hypi_bandwidth_write(cache_path, key, node, &b))
			status = hypi_device_fail(HYP_ERR_OS, "argument cache_path: %s cannot be written", cache_path);
	}
	if (status == HYP_OK) {
		if (node < HYP_ARRAY_LEN(node_read_gbps)) node_read_gbps[node] = b.read_gbps;
		kept_read_gbps = 0;
		for (size_t i = 0; i < HYP_ARRAY_LEN(node_read_gbps); i++) kept_read_gbps += node_read_gbps[i];
		if (b.latency_ns > 0 && (kept_latency_ns == 0 || b.latency_ns < kept_latency_ns))
			kept_latency_ns = b.latency_ns;
	}
	pthread_mutex_unlock(&mutex);
	if (status != HYP_OK) return status;
	hypi_topology_put(topology, object, b.read_gbps, b.latency_ns);
	*ret_bandwidth = b;
	return HYP_OK;
}

double hypi_topology_read_gbps(void) {
	pthread_mutex_lock(&mutex);
	double gbps = kept_read_gbps;
	pthread_mutex_unlock(&mutex);
	return gbps;
}

double hypi_topology_latency_ns(void) {
	pthread_mutex_lock(&mutex);
	double ns = kept_latency_ns;
	pthread_mutex_unlock(&mutex);
	return ns;
}
