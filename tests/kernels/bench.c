/*
 * tests/kernels/bench.c: checkkernels --bench: times kernels of one table on one thread, each beside the ceiling that
 * bounds it, measured in the same run. A rate is the best of the samples; "of ceiling" is that rate over the ceiling's.
 */
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#define SAMPLES 9
#define SAMPLE_NS_MIN 2000000.0
#define SLOW_NS 2e8 /* a call that takes longer is sampled twice */

static const struct hypi_kernels *k;
static const char *wanted, *highest = "ref"; /* of the table's sets */
static bool as_csv;
static double ceiling_flops, ceiling_ops, ceiling_read_cache, ceiling_read_memory;
static float *fa, *fb, *fc;
enum { SMALL = 1000000, LARGE = 50000000 }; /* elements: in the last cache, and beyond it */

static double now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Best nanoseconds of one call of f. */
static double best_ns(void (*f)(void *), void *arg) {
	double best = INFINITY, t0 = now_ns();
	f(arg);
	double once = now_ns() - t0;
	size_t repeat = once > SAMPLE_NS_MIN ? 1 : (size_t)(SAMPLE_NS_MIN / (once + 1)) + 1;
	for (int s = 0; s < (once > SLOW_NS ? 2 : SAMPLES); s++) {
		t0 = now_ns();
		for (size_t i = 0; i < repeat; i++) f(arg);
		double ns = (now_ns() - t0) / (double)repeat;
		best = ns < best ? ns : best;
	}
	return best;
}

static bool skipped(const char *name) { return wanted != NULL && strstr(name, wanted) == NULL; }

static void report(const char *name, double amount, const char *unit, double ns, double ceiling) {
	if (as_csv) printf("%s,%s,%.1f,%.3f,%s,%.3f\n", highest, name, ns, amount / ns, unit, amount / ns / ceiling);
	else
		printf("%-34s %12.1f ns %9.2f %-7s %5.0f %% of ceiling\n", name, ns, amount / ns, unit,
		       100 * amount / ns / ceiling);
	fflush(stdout);
}

/* ---- One call of each kind --------------------------------------------------------------------------------------- */
struct job {
	size_t n, rows, cols;
	int op, form;
	struct hypi_gemm_plan plan;
	struct hypi_ternary_job ternary;
	void *scratch;
};
static volatile double sink;

static void run_fma(void *arg) { sink = (double)k->probe.fma_f32(*(size_t *)arg); }
static void run_dot(void *arg) { sink = (double)k->probe.dot_i8(*(size_t *)arg); }
static void run_read(void *arg) { sink = (double)k->probe.read(fa, ((struct job *)arg)->n * 4); }
static void run_binary(void *arg) {
	struct job *j = arg;
	k->elementwise.binary[HYPI_F32][j->op][j->form](fc, fa, fb, j->n);
}
static void run_unary(void *arg) {
	struct job *j = arg;
	k->elementwise.unary[HYPI_F32][j->op](fc, fa, j->n);
}
static void run_compare(void *arg) {
	k->elementwise.compare[HYPI_F32][HYPI_LT][HYPI_VV]((uint8_t *)fc, fa, fb, ((struct job *)arg)->n);
}
static void run_fma_s(void *arg) { k->elementwise.fma_s_f32(fc, fa, 1.5f, 0.5f, ((struct job *)arg)->n); }
static void run_sum(void *arg) { sink = k->reduce.sum_f32(fa, ((struct job *)arg)->n); }
static void run_dot_f32(void *arg) { sink = k->reduce.dot_f32(fa, fb, ((struct job *)arg)->n); }
static void run_max(void *arg) { sink = (double)k->reduce.max_f32(fa, ((struct job *)arg)->n); }
static void run_argmax(void *arg) { sink = (double)k->reduce.argmax_f32(fa, ((struct job *)arg)->n); }
static void run_axis0(void *arg) {
	struct job *j = arg;
	k->reduce.add_axis0_f32((double *)(void *)fc, fa, j->rows, j->cols, j->cols);
}
static void run_axis1(void *arg) {
	struct job *j = arg;
	k->reduce.sum_axis1_f32(fc, fa, j->rows, j->cols, j->cols);
}
static void run_softmax(void *arg) {
	struct job *j = arg;
	for (size_t r = 0; r < j->rows; r++) k->reduce.softmax_f32(fc + r * j->cols, fa + r * j->cols, j->cols);
}
static void run_rms_norm(void *arg) {
	struct job *j = arg;
	for (size_t r = 0; r < j->rows; r++) k->reduce.rms_norm_f32(fc + r * j->cols, fa + r * j->cols, fb, j->cols, 1e-5f);
}
static void run_transpose(void *arg) {
	struct job *j = arg;
	k->convert.transpose[2](fc, j->rows, fa, j->cols, j->rows, j->cols);
}
static void run_strided(void *arg) { k->convert.copy_strided[2](fc, 1, fa, 2, ((struct job *)arg)->n / 2); }
static void run_to_f16(void *arg) { k->convert.f16_from_f32((uint16_t *)fc, fa, ((struct job *)arg)->n); }
static void run_from_f16(void *arg) { k->convert.f32_from_f16(fc, (uint16_t *)fb, ((struct job *)arg)->n); }
static void run_to_bf16(void *arg) { k->convert.bf16_from_f32((uint16_t *)fc, fa, ((struct job *)arg)->n); }
static void run_quantize_i8(void *arg) {
	struct job *j = arg;
	static float scale[64 << 10];
	static int32_t sum[64 << 10];
	k->ternary.quantize_i8((int8_t *)fc, j->cols, scale, sum, fa, j->cols, j->rows, j->cols);
}
static void run_absmean(void *arg) {
	struct job *j = arg;
	size_t n = j->rows * j->cols;
	float scale = (float)(k->ternary.abs_sum_f32(fa, n) / (double)n);
	for (size_t r = 0; r < j->rows; r++)
		k->ternary.quantize_t2((uint8_t *)fc + r * HYPI_T2_ROW_BYTES(j->cols), fa + r * j->cols, 1 / scale, j->cols);
}
static void run_gemm(void *arg) {
	struct job *j = arg;
	hypi_gemm_run(&j->plan, &k->gemm, 0, j->plan.tiles, j->scratch);
}
static void run_p16(void *arg) {
	struct job *j = arg;
	k->ternary.matmul_p16(&j->ternary, 0, j->ternary.m);
}
static void run_t2(void *arg) {
	struct job *j = arg;
	k->ternary.matmul_t2(&j->ternary, 0, j->ternary.m);
}
static void run_t5(void *arg) {
	struct job *j = arg;
	k->ternary.matmul_t5(&j->ternary, 0, j->ternary.m);
}

/* ---- The lists ------------------------------------------------------------------------------------------------------ */

static void ceilings(void) {
	size_t rounds = 100000;
	ceiling_flops = (double)k->probe.fma_f32(rounds) / best_ns(run_fma, &rounds);
	ceiling_ops = (double)k->probe.dot_i8(rounds) / best_ns(run_dot, &rounds);
	struct job small = {.n = SMALL}, large = {.n = LARGE};
	ceiling_read_cache = SMALL * 4.0 / best_ns(run_read, &small);
	ceiling_read_memory = LARGE * 4.0 / best_ns(run_read, &large);
	if (as_csv) {
		printf("%s,ceiling f32 multiply-add,,%.3f,GFLOP/s,\n%s,ceiling int8 dot,,%.3f,GOP/s,\n", highest, ceiling_flops,
		       highest, ceiling_ops);
		printf("%s,ceiling read 1e6,,%.3f,GB/s,\n%s,ceiling read 5e7,,%.3f,GB/s,\n", highest, ceiling_read_cache,
		       highest, ceiling_read_memory);
		return;
	}
	printf("ceilings: f32 multiply-add %.1f GFLOP/s, int8 dot %.1f GOP/s, read %.1f GB/s (4 MB), %.1f GB/s (200 MB)\n",
	       ceiling_flops, ceiling_ops, ceiling_read_cache, ceiling_read_memory);
}

static void stream(const char *name, void (*f)(void *), struct job job, double bytes_each) {
	static const size_t sizes[2] = {SMALL, LARGE};
	if (skipped(name)) return;
	for (int s = 0; s < 2; s++) {
		char full[64];
		job.n = sizes[s];
		job.cols = s == 0 ? 1000 : 5000;
		job.rows = job.n / job.cols;
		snprintf(full, sizeof(full), "%s %s", name, s == 0 ? "1e6" : "5e7");
		report(full, (double)job.n * bytes_each, "GB/s", best_ns(f, &job),
		       s == 0 ? ceiling_read_cache : ceiling_read_memory);
	}
}

static void bench_gemm(const char *name, size_t m, size_t n, size_t kk, bool trans_b) {
	if (skipped(name)) return;
	struct job j = {.plan = {.m = m,
	                         .n = n,
	                         .k = kk,
	                         .a = fa,
	                         .b = fb,
	                         .c = fc,
	                         .lda = kk,
	                         .ldb = trans_b ? kk : n,
	                         .ldc = n,
	                         .trans_b = trans_b,
	                         .alpha = 1}};
	char full[64];
	hypi_gemm_plan_init(&j.plan, &k->gemm, 1);
	j.scratch = aligned_alloc(64, (j.plan.scratch_bytes + 63) / 64 * 64 + 64);
	snprintf(full, sizeof(full), "%s %s %zux%zux%zu", name, trans_b ? "NT" : "NN", m, n, kk);
	double ns = best_ns(run_gemm, &j);
	if (m == 1) {
		report(full, 4.0 * (double)n * (double)kk, "GB/s", ns, ceiling_read_memory);
	} else {
		report(full, 2.0 * (double)m * (double)n * (double)kk, "GFLOP/s", ns, ceiling_flops);
	}
	free(j.scratch);
}

static void bench_ternary(const char *name, void (*f)(void *), size_t m, size_t kk, size_t batch, bool f32) {
	if (skipped(name)) return;
	static float scale[256];
	static int32_t sum[256];
	struct job j = {.ternary = {.w = (uint8_t *)fb,
	                            .w_stride_bytes = HYPI_T2_ROW_BYTES(kk),
	                            .m = m,
	                            .k = kk,
	                            .batch = batch,
	                            .x = (int8_t *)fa,
	                            .x_stride = kk,
	                            .x_sum = sum,
	                            .x_scale = scale,
	                            .w_scale = 1,
	                            .out_stride = m}};
	j.ternary.out_f32 = f32 ? fc : NULL;
	j.ternary.out_i32 = f32 ? NULL : (int32_t *)fc;
	char full[64];
	snprintf(full, sizeof(full), "%s b%zu %zux%zu", name, batch, m, kk);
	double ns = best_ns(f, &j);
	if (batch == 1) {
		report(full, (double)m * (double)kk / 4, "GB/s", ns, ceiling_read_cache);
	} else {
		report(full, 2.0 * (double)m * (double)kk * (double)batch, "GOP/s", ns, ceiling_ops);
	}
}

static void bench_elementwise(void) {
	stream("add", run_binary, (struct job){.op = HYPI_ADD, .form = HYPI_VV}, 12);
	stream("mul", run_binary, (struct job){.op = HYPI_MUL, .form = HYPI_VV}, 12);
	stream("div", run_binary, (struct job){.op = HYPI_DIV, .form = HYPI_VV}, 12);
	stream("max", run_binary, (struct job){.op = HYPI_MAX, .form = HYPI_VV}, 12);
	stream("add scalar", run_binary, (struct job){.op = HYPI_ADD, .form = HYPI_VS}, 8);
	stream("compare", run_compare, (struct job){0}, 9);
	stream("a*s+b", run_fma_s, (struct job){0}, 8);
	stream("exp", run_unary, (struct job){.op = HYPI_EXP}, 8);
	stream("log", run_unary, (struct job){.op = HYPI_LOG}, 8);
	stream("tanh", run_unary, (struct job){.op = HYPI_TANH}, 8);
	stream("gelu", run_unary, (struct job){.op = HYPI_GELU}, 8);
	stream("silu", run_unary, (struct job){.op = HYPI_SILU}, 8);
	stream("sum", run_sum, (struct job){0}, 4);
	stream("dot", run_dot_f32, (struct job){0}, 8);
	stream("max of all", run_max, (struct job){0}, 4);
	stream("argmax", run_argmax, (struct job){0}, 4);
	stream("sum axis 0", run_axis0, (struct job){0}, 4);
	stream("sum axis 1", run_axis1, (struct job){0}, 4);
	stream("softmax rows", run_softmax, (struct job){0}, 8);
	stream("rms_norm rows", run_rms_norm, (struct job){0}, 8);
	stream("transpose", run_transpose, (struct job){0}, 8);
	stream("copy [::2]", run_strided, (struct job){0}, 4);
	stream("f32 to f16", run_to_f16, (struct job){0}, 6);
	stream("f16 to f32", run_from_f16, (struct job){0}, 6);
	stream("f32 to bf16", run_to_bf16, (struct job){0}, 6);
	stream("absmax int8 rows", run_quantize_i8, (struct job){0}, 4);
	stream("absmean ternary", run_absmean, (struct job){0}, 4);
}

int bench_main(uint32_t mask, const char *filter, bool csv) {
	static struct hypi_kernels table;
	hypi_kernels_fill(&table, mask);
	k = &table;
	wanted = filter;
	as_csv = csv;
	float **arrays[3] = {&fa, &fb, &fc};
	for (int i = 0; i < 3; i++) {
		*arrays[i] = aligned_alloc(64, ((size_t)LARGE * 4 + 4095) / 64 * 64);
		if (*arrays[i] == NULL) return 2;
		for (size_t j = 0; j < LARGE; j++) (*arrays[i])[j] = (float)(j % 1021) * 0.001f - 0.5f;
	}
	for (int s = 0; s < HYPI_SET_COUNT; s++)
		if (table.mask & hypi_kernel_sets[s].mask) highest = hypi_kernel_sets[s].name;
	if (as_csv) printf("set,row,ns,rate,unit,of_ceiling\n");
	else printf("sets up to %s\n", highest);
	ceilings();
	bench_elementwise();
	static const size_t cubes[] = {64, 128, 256, 512, 1024, 2048};
	for (size_t i = 0; i < sizeof(cubes) / sizeof(cubes[0]); i++)
		bench_gemm("sgemm", cubes[i], cubes[i], cubes[i], false);
	bench_gemm("sgemm", 1024, 1024, 1024, true);
	bench_gemm("sgemv", 1, 4096, 4096, true);
	bench_gemm("sgemv", 1, 4096, 4096, false);
	static const size_t rows[] = {8, 32, 128};
	for (size_t i = 0; i < 3; i++) {
		bench_gemm("sgemm", rows[i], 4096, 4096, true);
		bench_gemm("sgemm", rows[i], 4096, 4096, false);
	}
	static const size_t shapes[3][2] = {{2560, 2560}, {6912, 2560}, {2560, 6912}};
	for (size_t i = 0; i < 3; i++) {
		bench_ternary("ternary t2", run_t2, shapes[i][0], shapes[i][1], 1, true);
		bench_ternary("ternary t5", run_t5, shapes[i][0], shapes[i][1], 1, true);
		bench_ternary("ternary p16", run_p16, shapes[i][0], shapes[i][1], 1, true);
		bench_ternary("ternary p16", run_p16, shapes[i][0], shapes[i][1], 32, true);
		bench_ternary("ternary p16", run_p16, shapes[i][0], shapes[i][1], 128, true);
	}
	for (int i = 0; i < 3; i++) free(*arrays[i]);
	return 0;
}
