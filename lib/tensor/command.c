/*
 * tensor/command.c: the program hypool-tensor: what the operations reach on this machine, beside what it could do.
 *
 *   hypool-tensor bench [--threads N] [--seconds S] [--side N] [--rounds N] [--csv]
 *   hypool-tensor devices
 *
 * bench first measures memory twice, in turns: as hyp_topology_measure does, and with STREAM's copy and triad (McCalpin,
 * 1995) written out here. Then it runs each
 * operation for S seconds (0.2) on side x side (4096) matrices, products on smaller ones, with the profile on, and prints
 * its calls, time, FLOP/s and bytes/s: the first as a part of the ceiling that this machine reached in the same run, the
 * second as a part of what hyp_topology_measure gives for the same mix of reads and writes, just before and after it. It
 * uses the public names only.
 */
#include <hypool/device.h>
#include <hypool/ops.h>
#include <hypool/tensor.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds = 0.2;
static int rounds = 5; /* of measuring memory */
static int64_t side = 4096;
static bool as_csv;

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void must(hyp_status status) {
	if (status == HYP_OK) return;
	const char *tensor = hyp_tensor_last_error(), *device = hyp_device_last_error();
	(void)fprintf(stderr, "hypool-tensor: %s: %s\n", hyp_status_message(status), tensor[0] != '\0' ? tensor : device);
	exit(1);
}

/* ---- memory: STREAM beside hyp_topology_measure ---- */

#define STREAM_PASSES 10
enum { MOST_THREADS = 256, MOST_ROUNDS = 1000 };

struct stream {
	double *a, *b, *c;
	size_t elements;
	pthread_barrier_t *barrier;
	double *best_copy_s, *best_triad_s; /* thread 0 writes */
	bool first;
};

static void *stream_main(void *argument) {
	struct stream *s = argument;
	for (size_t i = 0; i < s->elements; i++) s->a[i] = 1, s->b[i] = 2, s->c[i] = 0;
	for (int pass = 0; pass < STREAM_PASSES; pass++) {
		for (int triad = 0; triad < 2; triad++) {
			pthread_barrier_wait(s->barrier);
			double begun = now();
			double *restrict a = s->a, *restrict b = s->b, *restrict c = s->c;
			if (triad)
				for (size_t i = 0; i < s->elements; i++) a[i] = b[i] + 3.0 * c[i];
			else
				for (size_t i = 0; i < s->elements; i++) c[i] = a[i];
			__asm__ volatile("" : : "r"(a), "r"(c) : "memory");
			pthread_barrier_wait(s->barrier);
			double took = now() - begun, *best = triad ? s->best_triad_s : s->best_copy_s;
			if (s->first && took < *best) *best = took;
		}
	}
	return NULL;
}

/* STREAM's copy and triad in GB/s with that many threads. */
static void stream_once(unsigned threads, size_t elements, double *ret_copy_gbps, double *ret_triad_gbps) {
	static struct stream parts[MOST_THREADS];
	pthread_t others[MOST_THREADS];
	pthread_barrier_t barrier;
	double copy_s = 1e9, triad_s = 1e9;
	/* As the arrays of hyp_topology_measure lie: each thread's three behind each other, on pages, and not a power of two
	 * apart. A copy's speed depends on that by a third. */
	size_t each = elements / threads / 512 * 512 + 512;
	double *memory = aligned_alloc(4096, 3 * each * threads * sizeof *memory);
	if (memory == NULL || pthread_barrier_init(&barrier, NULL, threads) != 0) must(HYP_ERR_NO_MEMORY);
	for (unsigned i = 0; i < threads; i++) {
		parts[i] = (struct stream){memory + 3 * i * each,
		                           memory + (3 * i + 1) * each,
		                           memory + (3 * i + 2) * each,
		                           each,
		                           &barrier,
		                           &copy_s,
		                           &triad_s,
		                           i == 0};
		if (i > 0 && pthread_create(&others[i], NULL, stream_main, &parts[i]) != 0) must(HYP_ERR_OS);
	}
	(void)stream_main(&parts[0]);
	for (unsigned i = 1; i < threads; i++) (void)pthread_join(others[i], NULL);
	(void)pthread_barrier_destroy(&barrier);
	free(memory);
	double bytes = (double)(each * threads) * sizeof(double);
	*ret_copy_gbps = 2 * bytes / copy_s * 1e-9;
	*ret_triad_gbps = 3 * bytes / triad_s * 1e-9;
}

static int by_value(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(const double *samples, int n) {
	double sorted[MOST_ROUNDS] = {0};
	for (int i = 0; i < n; i++) sorted[i] = samples[i];
	qsort(sorted, (size_t)n, sizeof *sorted, by_value);
	return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

/* Of each round's figure beside the mean of STREAM's before and after it. */
static double median_ratio(const double *ours, const double *stream, int n) {
	double ratios[MOST_ROUNDS] = {0};
	for (int i = 0; i < n; i++) ratios[i] = 2 * ours[i] / (stream[i] + stream[i + 1]);
	return median(ratios, n);
}

static void memory_row(const char *name, const double *ours, const double *stream) {
	double gbps = median(ours, rounds), beside = stream == NULL ? 0 : median(stream, rounds + 1),
		   ratio = stream == NULL ? 0 : median_ratio(ours, stream, rounds);
	if (as_csv && stream != NULL) printf("memory,%s,,,,%.3f,%.3f,,%.4f\n", name, gbps, beside, ratio);
	else if (as_csv) printf("memory,%s,,,,%.3f,,,\n", name, gbps);
	else if (stream != NULL)
		printf("  %-8s %8.2f GB/s   STREAM beside it %8.2f GB/s: %.2f of it%s\n", name, gbps, beside, ratio,
		       ratio < 0.9 || ratio > 1.1 ? ", more than 10 % apart" : "");
	else printf("  %-8s %8.2f GB/s\n", name, gbps);
}

/* Of one of the three arrays: far more than the caches hold. */
static uint64_t array_bytes(const hyp_topology_info *info) {
	uint64_t least = (uint64_t)64 << 20, array = 4 * info->cache_bytes[2];
	return array < least ? least : array;
}

/* STREAM, we, STREAM, we, ... STREAM: what memory gives changes from second to second on a shared machine, and a best of
 * each would compare one's luck with the other's; so neighbours are compared, and the middle of all rounds counts. */
static void bench_node(uint32_t node, const hyp_topology_info *info) {
	static double read[MOST_ROUNDS], write[MOST_ROUNDS], latency[MOST_ROUNDS], copy[MOST_ROUNDS], triad[MOST_ROUNDS];
	static double stream_copy[MOST_ROUNDS + 1], stream_triad[MOST_ROUNDS + 1];
	size_t elements = (size_t)array_bytes(info) / sizeof(double);
	hyp_bandwidth b = {.struct_bytes = sizeof b};
	/* Threads of this program run on any node: beside one node of several it would be another machine. */
	bool beside = info->numa_nodes == 1 && info->cores <= MOST_THREADS;
	if (beside) stream_once(info->cores, elements, &stream_copy[0], &stream_triad[0]);
	for (int i = 0; i < rounds; i++) {
		must(hyp_topology_measure(node, 3 * elements * sizeof(double), NULL, &b));
		read[i] = b.read_gbps;
		write[i] = b.write_gbps;
		latency[i] = b.latency_ns;
		copy[i] = b.copy_gbps;
		triad[i] = b.triad_gbps;
		if (beside) stream_once(b.threads, elements, &stream_copy[i + 1], &stream_triad[i + 1]);
	}
	if (!as_csv)
		printf("memory of node %u, %u threads%s, latency %.1f ns\n", node, b.threads,
		       b.bound ? "" : " (binding was not confirmed)", median(latency, rounds));
	memory_row("read", read, NULL);
	memory_row("write", write, NULL);
	memory_row("copy", copy, beside ? stream_copy : NULL);
	memory_row("triad", triad, beside ? stream_triad : NULL);
}

static void bench_memory(void) {
	hyp_topology_info info = {.struct_bytes = sizeof info};
	const hyp_topology *machine;
	must(hyp_topology_this(&machine));
	must(hyp_topology_describe(machine, &info));
	for (uint32_t node = 0; node < info.numa_nodes; node++) bench_node(node, &info);
}

/* ---- operations ---- */

static struct {
	hyp_tensor *a, *b, *c, *bits, *codes, *activations, *packed, *turned, *floats;
	hyp_tensor *left, *right, *product;
} on;

static void run_binary(void) { must(hyp_tensor_binary_into(HYP_OP_ADD, on.a, on.b, on.c)); }
static void run_unary(void) { must(hyp_tensor_unary_into(HYP_OP_EXP, on.a, on.c)); }
static void run_copy(void) { must(hyp_tensor_copy(on.c, on.turned)); }
static void run_matmul(void) { must(hyp_tensor_matmul_into(on.left, on.right, on.product)); }
static void drop(hyp_status status, hyp_tensor *t) {
	must(status);
	hyp_tensor_release(t);
}
static void run_where(void) {
	hyp_tensor *t = NULL;
	hyp_status status = hyp_tensor_where(on.bits, on.a, on.b, &t);
	drop(status, t);
}
static void run_reduce(void) {
	hyp_tensor *t = NULL;
	hyp_status status = hyp_tensor_sum(on.a, 0, NULL, NULL, &t);
	drop(status, t);
}
static void run_softmax(void) {
	hyp_tensor *t = NULL;
	hyp_status status = hyp_tensor_softmax(on.a, &t);
	drop(status, t);
}
static void run_rms_norm(void) {
	hyp_tensor *t = NULL;
	hyp_status status = hyp_tensor_rms_norm(on.a, NULL, 1e-6, &t);
	drop(status, t);
}
static void run_matmul_ternary(void) {
	hyp_tensor *t = NULL;
	hyp_status status =
		hyp_tensor_matmul_ternary_packed(on.activations, NULL, on.packed, hyp_tensor_shape(on.codes)[0], 1, &t);
	drop(status, t);
}
static void run_quantize(void) {
	hyp_tensor *q = NULL, *scale = NULL;
	must(hyp_tensor_quantize_absmax(on.floats, &q, &scale));
	hyp_tensor_release(q);
	hyp_tensor_release(scale);
}

/* Every row of the profile has its work: a missing one does not link. */
#define X(name) static void run_##name(void);
HYP_PROFILE_OPS(X)
#undef X
static const struct {
	hyp_profile_op op;
	void (*run)(void);
	bool of_integers; /* its arithmetic is int8 */
} work[] = {
#define X(name) {HYP_PROFILE_##name, run_##name, HYP_PROFILE_##name == HYP_PROFILE_matmul_ternary},
	HYP_PROFILE_OPS(X)
#undef X
};

/* How an operation uses memory: it reads, copies, or reads two streams and writes one. */
enum mix { MIX_READ, MIX_COPY, MIX_TRIAD, MIX_COUNT };
static const char *const mix_names[MIX_COUNT] = {"read", "copy", "triad"};
static double mix_gbps[MIX_COUNT]; /* as measured last */
#define REMEASURE_S 0.1 /* a shorter run of an operation is a trial, and not worth the time of a measurement */

static enum mix mix_of(hyp_profile_op op) {
	switch (op) {
	case HYP_PROFILE_binary:
	case HYP_PROFILE_where: return MIX_TRIAD;
	case HYP_PROFILE_unary:
	case HYP_PROFILE_copy:
	case HYP_PROFILE_softmax:
	case HYP_PROFILE_rms_norm: return MIX_COPY;
	default: return MIX_READ;
	}
}

/* All nodes' memory, each measured by its own cores. */
static void measure_mixes(void) {
	hyp_topology_info info = {.struct_bytes = sizeof info};
	const hyp_topology *machine;
	must(hyp_topology_this(&machine));
	must(hyp_topology_describe(machine, &info));
	for (int m = 0; m < MIX_COUNT; m++) mix_gbps[m] = 0;
	for (uint32_t node = 0; node < info.numa_nodes; node++) {
		hyp_bandwidth b = {.struct_bytes = sizeof b};
		must(hyp_topology_measure(node, 3 * array_bytes(&info), NULL, &b));
		mix_gbps[MIX_READ] += b.read_gbps;
		mix_gbps[MIX_COPY] += b.copy_gbps;
		mix_gbps[MIX_TRIAD] += b.triad_gbps;
	}
}

static void prepare(void) {
	int64_t less = side < 1024 ? side : 1024, rows = side < 2560 ? side : 2560;
	const int64_t square[2] = {side, side}, small[2] = {less, less}, weights[2] = {rows, rows}, batch[2] = {32, rows};
	must(hyp_tensor_random(HYP_F32, 2, square, 1, -1, 1, &on.a));
	must(hyp_tensor_random(HYP_F32, 2, square, 2, -1, 1, &on.b));
	must(hyp_tensor_zeros(HYP_F32, 2, square, &on.c));
	must(hyp_tensor_transpose(on.a, 0, 1, &on.turned));
	must(hyp_tensor_lt(on.a, on.b, &on.bits));
	must(hyp_tensor_random(HYP_BITNET158, 2, weights, 3, -1, 2, &on.codes));
	must(hyp_tensor_pack_ternary(on.codes, &on.packed));
	must(hyp_tensor_random(HYP_I8, 2, batch, 4, -127, 128, &on.activations));
	must(hyp_tensor_random(HYP_F32, 2, square, 5, -4, 4, &on.floats));
	must(hyp_tensor_random(HYP_F32, 2, small, 6, -1, 1, &on.left));
	must(hyp_tensor_random(HYP_F32, 2, small, 7, -1, 1, &on.right));
	must(hyp_tensor_zeros(HYP_F32, 2, small, &on.product));
}

static void finish(void) {
	hyp_tensor *all[] = {on.a,      on.b,      on.c,      on.bits, on.codes, on.activations,
	                     on.packed, on.turned, on.floats, on.left, on.right, on.product};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) hyp_tensor_release(all[i]);
}

static void operation_row(size_t i, const hyp_profile_ceiling *ceiling) {
	hyp_profile_row row;
	hyp_profile_reset();
	work[i].run();
	hyp_profile_reset();
	hyp_profile_enable(true);
	enum mix mix = mix_of(work[i].op);
	double before = mix_gbps[mix];
	for (double begun = now(); now() - begun < seconds;) work[i].run();
	hyp_profile_enable(false);
	if (seconds >= REMEASURE_S) measure_mixes();
	hyp_profile_read(work[i].op, &row);
	double s = (double)row.time_ns * 1e-9, flops = (double)row.flops / s, bytes = (double)row.bytes / s;
	double top_flops = work[i].of_integers ? ceiling->i8_ops_per_s : ceiling->f32_flops_per_s;
	double memory = (before + mix_gbps[mix]) / 2; /* its neighbours: memory's rate changes from second to second */
	double of_flops = flops / top_flops, of_bytes = bytes * 1e-9 / memory;
	if (as_csv)
		printf("operation,%s,%llu,%.6f,%.3f,%.3f,%.3f,%.4f,%.4f\n", row.name, (unsigned long long)row.calls, s,
		       flops * 1e-9, bytes * 1e-9, memory, of_flops, of_bytes);
	else
		printf("%-15s %9llu %10.3f %10.2f %6.1f %% %10.2f %6.1f %% of %s %.2f\n", row.name,
		       (unsigned long long)row.calls, s * 1e3, flops * 1e-9, 100 * of_flops, bytes * 1e-9, 100 * of_bytes,
		       mix_names[mix], memory);
	(void)fflush(stdout);
}

static int bench(void) {
	if (as_csv) printf("kind,name,calls,seconds,gflops,gbytes_per_s,beside_gbytes_per_s,of_flops,of_bytes\n");
	bench_memory();
	hyp_profile_ceiling ceiling;
	hyp_device_info host = {.struct_bytes = sizeof host};
	must(hyp_profile_measure(&ceiling));
	must(hyp_device_describe(HYP_DEVICE_HOST, &host));
	if (as_csv)
		printf("ceiling,f32,,,%.3f,,,,\nceiling,int8,,,%.3f,,,,\nceiling,read,,,,%.3f,,,\nceiling,stream,,,,%.3f,,,\n",
		       ceiling.f32_flops_per_s * 1e-9, ceiling.i8_ops_per_s * 1e-9, ceiling.read_bytes_per_s * 1e-9,
		       ceiling.stream_bytes_per_s * 1e-9);
	else
		printf("ceilings of %u threads with %s: f32 %.1f GFLOP/s, int8 %.1f GOP/s, read %.2f GB/s, two read and one "
		       "written %.2f GB/s\n\n%-15s %9s %10s %10s %8s %10s %8s\n",
		       hyp_tensor_threads(), host.simd_names[0] != '\0' ? host.simd_names : "plain C",
		       ceiling.f32_flops_per_s * 1e-9, ceiling.i8_ops_per_s * 1e-9, ceiling.read_bytes_per_s * 1e-9,
		       ceiling.stream_bytes_per_s * 1e-9, "operation", "calls", "ms", "GFLOP/s", "of it", "GB/s", "of it");
	prepare();
	measure_mixes();
	for (size_t i = 0; i < sizeof work / sizeof *work; i++) operation_row(i, &ceiling);
	finish();
	if (!as_csv)
		printf(
			"\nGFLOP/s of matmul_ternary are int8 operations. Bytes are elements read and written once, whatever the "
			"caches\ndid, beside what all cores together got from memory for the same mix of reads and writes just "
			"before and\nafter: more than 100 %% means that they lay in a cache, or were written past it.\n");
	return 0;
}

static int devices(void) {
	for (int i = 0; i < hyp_device_count(); i++) {
		hyp_device_info d = {.struct_bytes = sizeof d};
		if (hyp_device_describe(i, &d) != HYP_OK) {
			printf("%d: %s\n", i, hyp_device_last_error());
			continue;
		}
		printf("%d: %s, %u units, %.1f GiB of which %.1f free, caches %llu %llu %llu KiB, sets: %s\n", i, d.name,
		       d.compute_units, (double)d.memory_bytes / 0x1p30, (double)d.memory_free_bytes / 0x1p30,
		       (unsigned long long)d.cache_bytes[0] >> 10, (unsigned long long)d.cache_bytes[1] >> 10,
		       (unsigned long long)d.cache_bytes[2] >> 10, d.simd_names[0] != '\0' ? d.simd_names : "plain C");
	}
	return 0;
}

static int usage(void) {
	(void)fputs("usage: hypool-tensor bench [--threads N] [--seconds S] [--side N] [--rounds N] [--csv]\n"
	            "       hypool-tensor devices\n",
	            stderr);
	return 2;
}

int main(int argc, char **argv) {
	if (argc >= 2 && strcmp(argv[1], "devices") == 0) return argc == 2 ? devices() : usage();
	if (argc < 2 || strcmp(argv[1], "bench") != 0) return usage();
	for (int i = 2; i < argc; i++) {
		char *end = NULL;
		if (strcmp(argv[i], "--csv") == 0) {
			as_csv = true;
			continue;
		}
		if (i + 1 == argc) return usage();
		double value = strtod(argv[i + 1], &end);
		if (*end != '\0' || !(value >= 0)) return usage();
		if (strcmp(argv[i], "--threads") == 0 && value <= MOST_THREADS) must(hyp_tensor_set_threads((unsigned)value));
		else if (strcmp(argv[i], "--seconds") == 0 && value <= 3600) seconds = value;
		else if (strcmp(argv[i], "--side") == 0 && value >= 1 && value <= 65536) side = (int64_t)value;
		else if (strcmp(argv[i], "--rounds") == 0 && value >= 1 && value <= MOST_ROUNDS) rounds = (int)value;
		else return usage();
		i++;
	}
	return bench();
}
