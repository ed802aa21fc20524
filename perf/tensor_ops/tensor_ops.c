/*
 * perf/tensor_ops/tensor_ops.c: how fast tensors are, as CSV on standard output: one row a measurement, the best and the
 * median of the samples, and the fraction of this machine's own ceiling, measured in the same run.
 *
 * usage: tensor_ops [threads [text]]     only the rows whose name contains the text
 * Small rows are ns a call. Large ones are GB/s of the elements read and written once, and the fraction of what a plain
 * loop of the same mix of reads and writes reaches with as many threads on the same arrays, each sample of the operation
 * between two of the loop: on a shared machine bandwidth changes from second to second, and only neighbours can be
 * compared. That is the measured bandwidth that a bar means. With all cores they also stand beside what
 * hyp_topology_measure gives for the mix: the best of eight samples beside its figures (a best of seven) before and after
 * them, of such eights the middle. With one thread the clock is the thread's own: it stands still while somebody else has
 * the processor.
 */
#include <hypool/device.h>
#include <hypool/ops.h>
#include <hypool/tensor.h>

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAMPLES 31
static const char *filter = "";
static clockid_t the_clock = CLOCK_MONOTONIC;

static double now(void) {
	struct timespec t;
	clock_gettime(the_clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void must(hyp_status status) {
	if (status == HYP_OK) return;
	(void)fprintf(stderr, "tensor_ops: %s: %s\n", hyp_status_name(status), hyp_tensor_last_error());
	exit(1);
}

static int by_value(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

struct operands {
	hyp_tensor *a, *b, *c, *row;
	int64_t n;
};
typedef void body_fn(struct operands *o);

static void measure(body_fn *body, struct operands *o, int repeats, double *ret_best, double *ret_median) {
	double samples[SAMPLES];
	body(o);
	for (int i = 0; i < SAMPLES; i++) {
		double begun = now();
		for (int r = 0; r < repeats; r++) body(o);
		samples[i] = (now() - begun) / repeats;
	}
	qsort(samples, SAMPLES, sizeof *samples, by_value);
	*ret_best = samples[0];
	*ret_median = samples[SAMPLES / 2];
}

/* ---- small ---- */

static void create_free(struct operands *o) {
	(void)o;
	const int64_t shape[2] = {128, 256};
	hyp_tensor *t;
	must(hyp_tensor_empty(HYP_F32, 2, shape, &t));
	hyp_tensor_release(t);
}
static void create_free_small(struct operands *o) {
	(void)o;
	const int64_t shape[1] = {16};
	hyp_tensor *t;
	must(hyp_tensor_empty(HYP_F32, 1, shape, &t));
	hyp_tensor_release(t);
}
static void view(struct operands *o) {
	hyp_tensor *t;
	must(hyp_tensor_transpose(o->a, 0, 1, &t));
	hyp_tensor_release(t);
}
static void slice(struct operands *o) {
	const hyp_slice cut = {3, HYP_SLICE_OPEN, 2};
	hyp_tensor *t;
	must(hyp_tensor_slice(o->a, 1, &cut, &t));
	hyp_tensor_release(t);
}
static void add_into(struct operands *o) { must(hyp_tensor_binary_into(HYP_OP_ADD, o->a, o->b, o->c)); }
static void add_new(struct operands *o) {
	hyp_tensor *t;
	must(hyp_tensor_add(o->a, o->b, &t));
	hyp_tensor_release(t);
}

static void small_row(const char *name, body_fn *body, struct operands *o, double bar_ns) {
	double best, median;
	if (strstr(name, filter) == NULL) return;
	measure(body, o, 20000, &best, &median);
	printf("%s,ns,%.1f,%.1f,%.0f,,,%s\n", name, best * 1e9, median * 1e9, bar_ns,
	       bar_ns == 0              ? ""
	       : median * 1e9 <= bar_ns ? "met"
	                                : "missed");
}

/* ---- large ---- */

static void mul_into(struct operands *o) { must(hyp_tensor_binary_into(HYP_OP_MUL, o->a, o->b, o->c)); }
static void row_into(struct operands *o) { must(hyp_tensor_binary_into(HYP_OP_ADD, o->a, o->row, o->c)); }
static void exp_into(struct operands *o) { must(hyp_tensor_unary_into(HYP_OP_EXP, o->a, o->c)); }
static void copy_into(struct operands *o) { must(hyp_tensor_copy(o->c, o->a)); }
static void reduced(struct operands *o, hyp_reduce_op op, const int *axis) {
	hyp_tensor *t;
	must(hyp_tensor_reduce(op, o->a, axis == NULL ? 0 : 1, axis, NULL, &t));
	hyp_tensor_release(t);
}
static void sum_all(struct operands *o) { reduced(o, HYP_OP_SUM, NULL); }
static void max_all(struct operands *o) { reduced(o, HYP_OP_AMAX, NULL); }
static void sum_0(struct operands *o) { reduced(o, HYP_OP_SUM, &(const int){0}); }
static void sum_1(struct operands *o) { reduced(o, HYP_OP_SUM, &(const int){1}); }
static void var_all(struct operands *o) { reduced(o, HYP_OP_VAR, NULL); }
static void transposed(struct operands *o) {
	hyp_tensor *t;
	must(hyp_tensor_transpose(o->a, 0, 1, &t));
	must(hyp_tensor_copy(o->c, t));
	hyp_tensor_release(t);
}

/* The plain loops: read one array, copy one to another, add two into a third. */
enum loop { READ, COPY, ADD };
static const double streams[] = {1, 2, 3};
#define MAX_THREADS 64
static unsigned threads;
static bool all_cores;

struct part {
	enum loop loop;
	const float *a, *b;
	float *c;
	size_t n;
	float sink;
	unsigned index;
	double begun; /* of part 0: when all threads were there */
};

static pthread_barrier_t ready;

static void *run_part(void *argument) {
	struct part *p = argument;
	cpu_set_t core; /* each on a core of its own, as the library's threads are */
	CPU_ZERO(&core);
	CPU_SET(p->index, &core);
	if (p->index != 0) (void)pthread_setaffinity_np(pthread_self(), sizeof core, &core);
	if (threads > 1) (void)pthread_barrier_wait(&ready);
	if (p->index == 0) p->begun = now();
	if (p->loop == ADD) {
		for (size_t i = 0; i < p->n; i++) p->c[i] = p->a[i] + p->b[i];
	} else if (p->loop == COPY) {
		memcpy(p->c, p->a, p->n * sizeof *p->c);
	} else {
		float s[64] = {0};
		for (size_t i = 0; i + 64 <= p->n; i += 64)
			for (size_t j = 0; j < 64; j++) s[j] += p->a[i + j];
		for (size_t j = 0; j < 64; j++) p->sink += s[j];
	}
	__asm__ volatile("" : : "r"(p) : "memory");
	return NULL;
}

static double plain_loop(struct operands *o, enum loop loop) {
	void *a, *b, *c;
	struct part parts[MAX_THREADS];
	pthread_t others[MAX_THREADS];
	must(hyp_tensor_lock(o->a, &a));
	must(hyp_tensor_lock(o->b, &b));
	must(hyp_tensor_lock(o->c, &c));
	size_t n = (size_t)hyp_tensor_elements(o->a), each = n / threads / 64 * 64;
	if (pthread_barrier_init(&ready, NULL, threads) != 0) exit(1);
	for (unsigned i = 0; i < threads; i++) {
		size_t first = i * each, count = i + 1 == threads ? n - first : each;
		parts[i] = (struct part){loop, (float *)a + first, (float *)b + first, (float *)c + first, count, 0, i, 0};
		if (i > 0 && pthread_create(&others[i], NULL, run_part, &parts[i]) != 0) exit(1);
	}
	(void)run_part(&parts[0]);
	for (unsigned i = 1; i < threads; i++) (void)pthread_join(others[i], NULL);
	double seconds = now() - parts[0].begun;
	(void)pthread_barrier_destroy(&ready);
	hyp_tensor_unlock(o->a);
	hyp_tensor_unlock(o->b);
	hyp_tensor_unlock(o->c);
	return seconds;
}

/* What memory gives all cores for the loop's mix, in bytes a second; 0 on fewer. */
static double device_rate(enum loop loop) {
	hyp_bandwidth b = {.struct_bytes = sizeof b};
	if (!all_cores) return 0;
	must(hyp_topology_measure(0, (uint64_t)300 << 20, NULL, &b));
	return 1e9 * (loop == READ ? b.read_gbps : loop == COPY ? b.copy_gbps : b.triad_gbps);
}

#define EIGHTS ((SAMPLES + 7) / 8)

/* bar: of the plain loop's rate; 0: none. */
static void large_row(const char *name, int64_t side, body_fn *body, struct operands *o, double array_bytes,
                      enum loop loop, double bar) {
	double samples[SAMPLES], ratios[SAMPLES], of_device[EIGHTS] = {0}, best = 1e9, bytes = streams[loop] * array_bytes;
	if (strstr(name, filter) == NULL) return;
	body(o);
	(void)plain_loop(o, loop);
	/* What lies in a cache is no matter of the memory's. */
	double device = bar != 0 ? device_rate(loop) : 0;
	for (int i = 0; i < SAMPLES; i++) {
		double before = plain_loop(o, loop), begun = now();
		body(o);
		samples[i] = now() - begun;
		double after = plain_loop(o, loop);
		ratios[i] = (before + after) / 2 / samples[i];
		if (samples[i] < best) best = samples[i];
		if (device == 0 || (i % 8 != 7 && i != SAMPLES - 1)) continue;
		double next = device_rate(loop);
		of_device[i / 8] = bytes / best / ((device + next) / 2);
		device = next;
		best = 1e9;
	}
	qsort(samples, SAMPLES, sizeof *samples, by_value);
	qsort(ratios, SAMPLES, sizeof *ratios, by_value);
	qsort(of_device, EIGHTS, sizeof *of_device, by_value);
	double ratio = ratios[SAMPLES / 2], rate = bytes / samples[SAMPLES / 2];
	char beside[16] = "";
	if (device != 0)
		(void)snprintf(beside, sizeof beside, "%.2f", (of_device[(EIGHTS - 1) / 2] + of_device[EIGHTS / 2]) / 2);
	printf("%s %lldx%lld,GB/s,%.2f,%.2f,%.2g,%.2f,%s,%s\n", name, (long long)side, (long long)side,
	       bytes / samples[0] * 1e-9, rate * 1e-9, bar, ratio, beside,
	       bar == 0       ? ""
	       : ratio >= bar ? "met"
	                      : "missed");
	(void)fflush(stdout);
}

/* The large ones have bars: of a transposing copy, what was 5 of 10.6 GB/s. */
static void large(int64_t side, double bar, double turned) {
	struct operands o;
	const int64_t shape[2] = {side, side};
	double b = (double)side * (double)side * 4;
	must(hyp_tensor_random(HYP_F32, 2, shape, 1, -1, 1, &o.a));
	must(hyp_tensor_random(HYP_F32, 2, shape, 2, -1, 1, &o.b));
	must(hyp_tensor_zeros(HYP_F32, 2, shape, &o.c));
	must(hyp_tensor_random(HYP_F32, 1, shape, 3, -1, 1, &o.row));
	large_row("add", side, add_into, &o, b, ADD, bar);
	large_row("mul", side, mul_into, &o, b, ADD, bar);
	large_row("add row", side, row_into, &o, b, COPY, bar);
	large_row("copy", side, copy_into, &o, b, COPY, bar);
	large_row("exp", side, exp_into, &o, b, COPY, bar);
	large_row("sum", side, sum_all, &o, b, READ, bar);
	large_row("max", side, max_all, &o, b, READ, bar);
	large_row("sum axis 0", side, sum_0, &o, b, READ, bar);
	large_row("sum axis 1", side, sum_1, &o, b, READ, bar);
	large_row("var", side, var_all, &o, b, READ, bar);
	large_row("transpose copy", side, transposed, &o, b, COPY, turned);
	hyp_tensor_release(o.a);
	hyp_tensor_release(o.b);
	hyp_tensor_release(o.c);
	hyp_tensor_release(o.row);
}

int main(int argc, char **argv) {
	if (argc > 1) must(hyp_tensor_set_threads((unsigned)atoi(argv[1])));
	if (argc > 2) filter = argv[2];
	hyp_profile_ceiling ceiling;
	hyp_topology_info machine = {.struct_bytes = sizeof machine};
	const hyp_topology *topology;
	must(hyp_topology_this(&topology));
	must(hyp_topology_describe(topology, &machine));
	must(hyp_profile_measure(&ceiling));
	printf("# threads %u; ceilings: read %.2f GB/s, stream %.2f GB/s, f32 %.1f GFLOP/s, i8 %.1f GOP/s\n",
	       hyp_tensor_threads(), ceiling.read_bytes_per_s * 1e-9, ceiling.stream_bytes_per_s * 1e-9,
	       ceiling.f32_flops_per_s * 1e-9, ceiling.i8_ops_per_s * 1e-9);
	if (hyp_tensor_threads() == 1) the_clock = CLOCK_THREAD_CPUTIME_ID;
	printf("row,unit,best,median,bar,of plain loop,of device figure,verdict\n");
	struct operands o;
	const int64_t shape[2] = {4, 4};
	must(hyp_tensor_random(HYP_F32, 2, shape, 1, -1, 1, &o.a));
	must(hyp_tensor_random(HYP_F32, 2, shape, 2, -1, 1, &o.b));
	must(hyp_tensor_zeros(HYP_F32, 2, shape, &o.c));
	small_row("create and free [128; 256] F32", create_free, &o, 150);
	small_row("create and free [16] F32", create_free_small, &o, 0);
	small_row("view (transpose)", view, &o, 40);
	small_row("view (slice)", slice, &o, 40);
	small_row("add 16 elements into", add_into, &o, 100);
	small_row("add 16 elements to a new tensor", add_new, &o, 100);
	hyp_tensor_release(o.a);
	hyp_tensor_release(o.b);
	hyp_tensor_release(o.c);
	all_cores = hyp_tensor_threads() == machine.cores && machine.cores > 1 && machine.numa_nodes == 1;
	threads = hyp_tensor_threads() < MAX_THREADS ? hyp_tensor_threads() : MAX_THREADS;
	large(1000, 0, 0);
	large(5000, 0.9, 0.47);
	return 0;
}
