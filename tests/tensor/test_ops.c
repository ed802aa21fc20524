/*
 * tests/tensor/test_ops.c: operations that threads share, results that do not depend on them, large results, the profile.
 */
#include <hypool/ops.h>

#include "outcome.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static hyp_tensor *shared;
static hyp_tensor_weak shared_weak;
static void *worker(void *argument) {
	unsigned seed = (unsigned)(uintptr_t)argument;
	for (int i = 0; i < 400; i++) {
		hyp_tensor *mine, *sum, *view;
		if (hyp_tensor_weak_lock(shared_weak, &mine) != HYP_OK) break;
		OK(hyp_tensor_transpose(mine, 0, 1, &view));
		OK(hyp_tensor_sum(view, 0, NULL, NULL, &sum));
		ck_assert(at(sum, NULL) == 300 * 300);
		hyp_tensor_release(sum);
		hyp_tensor_release(view);
		hyp_tensor_release(mine);
		if (i % 100 == 50 && seed == 0) OK(hyp_tensor_set_threads(1 + (unsigned)i / 100));
	}
	return NULL;
}

START_TEST(many_threads) {
	OK(hyp_tensor_set_threads(3));
	OK(hyp_tensor_ones(HYP_F32, 2, (const int64_t[]){300, 300}, &shared));
	OK(hyp_tensor_weaken(shared, &shared_weak));
	pthread_t threads[4];
	for (int i = 0; i < 4; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)i), 0);
	for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
	hyp_tensor_release(shared);
	OK(hyp_tensor_set_threads(0));
	none_left();
}
END_TEST

/* The last reference goes while another thread asks for one through a weak handle: it gets the whole tensor or none. */
#define ROUNDS 20000
static _Atomic int round_begun, round_done;
static _Atomic hyp_tensor_weak round_weak;
static int revived;

static void *reviver(void *unused) {
	(void)unused;
	for (int i = 1; i <= ROUNDS; i++) {
		while (atomic_load(&round_begun) != i) sched_yield();
		hyp_tensor *mine;
		if (hyp_tensor_weak_lock(atomic_load(&round_weak), &mine) == HYP_OK) {
			revived += hyp_tensor_references(mine) > 0 && at(mine, (int64_t[]){0}) == i;
			hyp_tensor_release(mine);
		} else {
			revived++;
		}
		atomic_store(&round_done, i);
	}
	return NULL;
}

START_TEST(weak_handle_beside_the_last_reference) {
	pthread_t thread;
	revived = 0;
	ck_assert_int_eq(pthread_create(&thread, NULL, reviver, NULL), 0);
	for (int i = 1; i <= ROUNDS; i++) {
		hyp_tensor *t;
		hyp_tensor_weak weak;
		OK(hyp_tensor_full(HYP_I32, 1, (const int64_t[]){3}, hyp_int(i), &t));
		OK(hyp_tensor_weaken(t, &weak));
		atomic_store(&round_weak, weak);
		atomic_store(&round_begun, i);
		for (volatile int spin = 0; spin < i % 64; spin++) continue;
		hyp_tensor_release(t);
		while (atomic_load(&round_done) != i) sched_yield();
	}
	pthread_join(thread, NULL);
	ck_assert_int_eq(revived, ROUNDS);
	none_left();
}
END_TEST

START_TEST(results_do_not_depend_on_threads) {
	hyp_tensor *x, *one, *many;
	OK(hyp_tensor_random_normal(HYP_F32, 2, (const int64_t[]){1500, 1001}, 3, &x));
	for (int op = 0; op < HYP_REDUCE_OP_COUNT; op++) {
		for (int axis = -1; axis < 2; axis++) {
			OK(hyp_tensor_set_threads(1));
			OK(hyp_tensor_reduce((hyp_reduce_op)op, x, 1, axis < 0 ? NULL : &axis, NULL, &one));
			OK(hyp_tensor_set_threads(5));
			OK(hyp_tensor_reduce((hyp_reduce_op)op, x, 1, axis < 0 ? NULL : &axis, NULL, &many));
			void *a, *b;
			OK(hyp_tensor_lock(one, &a));
			OK(hyp_tensor_lock(many, &b));
			ck_assert_msg(memcmp(a, b, hyp_tensor_storage_bytes(one)) == 0, "reduction %d axis %d", op, axis);
			hyp_tensor_unlock(one);
			hyp_tensor_unlock(many);
			hyp_tensor_release(one);
			hyp_tensor_release(many);
		}
	}
	OK(hyp_tensor_set_threads(0));
	hyp_tensor_release(x);
	none_left();
}
END_TEST

/* Down the columns of matrices that are cut into chunks of rows, of columns, and of neither: against sums in F64. */
static void check_column(const float *const *got, const float *a, int64_t rows, int64_t columns, int64_t c) {
	double sum = 0, size = 0, n = (double)rows;
	float least = INFINITY, most = -INFINITY;
	for (int64_t r = 0; r < rows; r++) {
		float v = a[r * columns + c];
		sum += (double)v;
		size += fabs((double)v);
		least = fminf(least, v);
		most = fmaxf(most, v);
	}
	double off = 14 * 0x1p-24 * size + 0x1p-23 * fabs(sum);
	ck_assert_msg(fabs((double)got[0][c] - sum) <= off && fabs((double)got[1][c] - sum / n) <= off / n &&
	                  got[2][c] == least && got[3][c] == most,
	              "%lld x %lld, column %lld", (long long)rows, (long long)columns, (long long)c);
}

START_TEST(down_the_columns) {
	static const int64_t shapes[][2] = {{1500, 1001}, {33, 30001}, {70001, 7}, {17, 5}, {1, 9000}};
	static const hyp_reduce_op ops[4] = {HYP_OP_SUM, HYP_OP_MEAN, HYP_OP_AMIN, HYP_OP_AMAX};
	OK(hyp_tensor_set_threads(3));
	for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
		hyp_tensor *x, *result[4];
		float *a, *got[4];
		OK(hyp_tensor_random(HYP_F32, 2, shapes[k], 9, -1, 1, &x));
		OK(hyp_tensor_lock(x, (void **)&a));
		for (int i = 0; i < 4; i++) {
			OK(hyp_tensor_reduce(ops[i], x, 1, (const int[]){0}, NULL, &result[i]));
			OK(hyp_tensor_lock(result[i], (void **)&got[i]));
		}
		for (int64_t c = 0; c < shapes[k][1]; c++)
			check_column((const float *const *)got, a, shapes[k][0], shapes[k][1], c);
		for (int i = 0; i < 4; i++) {
			hyp_tensor_unlock(result[i]);
			hyp_tensor_release(result[i]);
		}
		hyp_tensor_unlock(x);
		hyp_tensor_release(x);
	}
	OK(hyp_tensor_set_threads(0));
	none_left();
}
END_TEST

static void same_row(const char *what, int64_t row, const float *got, const float *want, size_t n) {
	ck_assert_msg(memcmp(got, want, n * sizeof *got) == 0, "%s: row %lld", what, (long long)row);
}

/* A result that is too large for the caches and walked row by row is written past them, piece by piece. */
START_TEST(large_results_in_pieces) {
	enum { ROWS = 2051, COLUMNS = 2053 };
	hyp_tensor *a, *row, *column, *turned, *out, *wide;
	static float want[COLUMNS];
	OK(hyp_tensor_random(HYP_F32, 2, (const int64_t[]){ROWS, COLUMNS}, 1, -1, 1, &a));
	OK(hyp_tensor_random(HYP_F32, 1, (const int64_t[]){COLUMNS}, 2, -1, 1, &row));
	OK(hyp_tensor_random(HYP_F32, 2, (const int64_t[]){ROWS, 1}, 3, -1, 1, &column));
	OK(hyp_tensor_random(HYP_F32, 2, (const int64_t[]){ROWS, COLUMNS}, 4, 7, 8, &out));
	float *x, *r, *c, *y;
	OK(hyp_tensor_lock(a, (void **)&x));
	OK(hyp_tensor_lock(row, (void **)&r));
	OK(hyp_tensor_lock(column, (void **)&c));
	OK(hyp_tensor_lock(out, (void **)&y));
	OK(hyp_tensor_binary_into(HYP_OP_ADD, a, row, out));
	for (int64_t i = 0; i < ROWS; i++) {
		for (int64_t j = 0; j < COLUMNS; j++) want[j] = x[i * COLUMNS + j] + r[j];
		same_row("a + row", i, y + i * COLUMNS, want, COLUMNS);
	}
	OK(hyp_tensor_binary_into(HYP_OP_MUL, column, a, out));
	OK(hyp_tensor_binary_into(HYP_OP_SUB, out, column, out)); /* in place */
	for (int64_t i = 0; i < ROWS; i++) {
		for (int64_t j = 0; j < COLUMNS; j++) {
			volatile float product = c[i] * x[i * COLUMNS + j]; /* rounded: no multiply-add */
			want[j] = product - c[i];
		}
		same_row("column * a - column", i, y + i * COLUMNS, want, COLUMNS);
	}
	/* Into another type: through a buffer, which is no piece of the result. */
	OK(hyp_tensor_transpose(a, 0, 1, &turned));
	OK(hyp_tensor_zeros(HYP_F64, 2, (const int64_t[]){COLUMNS, ROWS}, &wide));
	OK(hyp_tensor_binary_into(HYP_OP_MAX, turned, turned, wide));
	for (int64_t i = 0; i < ROWS; i += 97)
		for (int64_t j = 0; j < COLUMNS; j += 89) ck_assert(at(wide, (int64_t[]){j, i}) == (double)x[i * COLUMNS + j]);
	hyp_tensor_unlock(a);
	hyp_tensor_unlock(row);
	hyp_tensor_unlock(column);
	hyp_tensor_unlock(out);
	hyp_tensor *others[] = {a, row, column, out, turned, wide};
	for (size_t i = 0; i < 6; i++) hyp_tensor_release(others[i]);
	none_left();
}
END_TEST

/* Far from zero, with a mean that wanders, with a first element far from all others: against two passes in F64. */
START_TEST(variance_is_exact_enough) {
	enum { N = 700001 };
	for (int kind = 0; kind < 4; kind++) {
		hyp_tensor *t, *var;
		float *x;
		OK(hyp_tensor_random_normal(HYP_F32, 1, (const int64_t[]){N}, 5, &t));
		OK(hyp_tensor_lock(t, (void **)&x));
		for (int64_t i = 0; i < N; i++) {
			if (kind == 1) x[i] = 1e5f + x[i];
			if (kind == 2) x[i] = (float)i * 0.01f + x[i];
			if (kind == 3) x[i] = x[i] + (i == 0 ? 1e6f : i % 9000 < 10 ? 300 : 0);
		}
		double mean = 0, square = 0;
		for (int64_t i = 0; i < N; i++) mean += (double)x[i] / N;
		for (int64_t i = 0; i < N; i++) square += ((double)x[i] - mean) * ((double)x[i] - mean);
		OK(hyp_tensor_var(t, 0, NULL, NULL, &var));
		ck_assert_msg(fabs(at(var, NULL) - square / N) <= 2e-6 * square / N, "kind %d: %.9g, exactly %.9g", kind,
		              at(var, NULL), square / N);
		hyp_tensor_unlock(t);
		hyp_tensor_release(t);
		hyp_tensor_release(var);
	}
	none_left();
}
END_TEST

START_TEST(profile) {
	hyp_tensor *x, *y;
	hyp_profile_row row;
	OK(hyp_tensor_ones(HYP_F32, 2, (const int64_t[]){64, 64}, &x));
	hyp_profile_reset();
	OK(hyp_tensor_matmul(x, x, &y));
	hyp_profile_read(HYP_PROFILE_matmul, &row);
	ck_assert_uint_eq(row.calls, 0);
	hyp_tensor_release(y);
	hyp_profile_enable(true);
	OK(hyp_tensor_matmul(x, x, &y));
	hyp_tensor_release(y);
	OK(hyp_tensor_add(x, x, &y));
	hyp_tensor_release(y);
	hyp_profile_enable(false);
	hyp_profile_read(HYP_PROFILE_matmul, &row);
	ck_assert_str_eq(row.name, "matmul");
	ck_assert_uint_eq(row.calls, 1);
	ck_assert_uint_eq(row.flops, 2 * 64 * 64 * 64);
	ck_assert_uint_eq(row.bytes, 3 * 64 * 64 * 4);
	ck_assert(row.time_ns > 0);
	hyp_profile_read(HYP_PROFILE_binary, &row);
	ck_assert_uint_eq(row.calls, 1);
	ck_assert_uint_eq(row.flops, 64 * 64);
	hyp_profile_ceiling ceiling;
	OK(hyp_profile_measure(&ceiling));
	/* Figures of a machine, and no more than that: under a sanitizer, on a busy machine, they are a thousandth. */
	ck_assert_msg(ceiling.f32_flops_per_s > 1e5 && ceiling.f32_flops_per_s < 1e16, "%g", ceiling.f32_flops_per_s);
	ck_assert_msg(ceiling.i8_ops_per_s > 1e5 && ceiling.i8_ops_per_s < 1e16, "%g", ceiling.i8_ops_per_s);
	ck_assert_msg(ceiling.read_bytes_per_s > 1e5 && ceiling.read_bytes_per_s < 1e14, "%g", ceiling.read_bytes_per_s);
	ck_assert_msg(ceiling.stream_bytes_per_s > 1e5 && ceiling.stream_bytes_per_s < 1e14, "%g",
	              ceiling.stream_bytes_per_s);
	hyp_tensor_release(x);
	none_left();
}
END_TEST

int main(void) {
	const TTest *const tests[] = {many_threads,
	                              weak_handle_beside_the_last_reference,
	                              results_do_not_depend_on_threads,
	                              down_the_columns,
	                              large_results_in_pieces,
	                              variance_is_exact_enough,
	                              profile};
	return run_suite("operations", tests, sizeof tests / sizeof *tests);
}
