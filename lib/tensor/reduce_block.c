/*
 * tensor/reduce_block.c: blocks and runs of elements into accumulators, accumulators into results.
 *
 * Sums of floats add block results in binary64. Variance keeps (count, mean, sum of squared deviations) and combines
 * them as Chan, Golub and LeVeque (1979).
 */
#include "tensor/reduce.h"

#include <math.h>

struct hypi_accumulator hypi_reduce_start(const struct hypi_reduction *r) {
	struct hypi_accumulator a = {0, 0, 0, 0, -1};
	switch (r->op) {
	case HYP_OP_PROD:
		a.f = 1;
		a.i = 1;
		break;
	case HYP_OP_AMIN:
	case HYP_OP_ARGMIN:
		a.f = (double)INFINITY;
		a.i = INT64_MAX;
		break;
	case HYP_OP_AMAX:
	case HYP_OP_ARGMAX:
		a.f = -(double)INFINITY;
		a.i = INT64_MIN;
		break;
	case HYP_OP_ALL: a.i = 1; break;
	default: break;
	}
	return a;
}

bool hypi_reduce_better(const struct hypi_reduction *r, double x, double than) {
	if (isnan(than)) return false;
	if (isnan(x)) return true;
	return r->op == HYP_OP_AMIN || r->op == HYP_OP_ARGMIN ? x < than : x > than;
}

void hypi_reduce_join(const struct hypi_reduction *r, struct hypi_accumulator *to,
                      const struct hypi_accumulator *from) {
	if (from->count == 0) return;
	switch (r->op) {
	case HYP_OP_PROD:
		to->f *= from->f;
		to->i = (int64_t)((uint64_t)to->i * (uint64_t)from->i);
		break;
	case HYP_OP_AMIN:
	case HYP_OP_AMAX:
	case HYP_OP_ARGMIN:
	case HYP_OP_ARGMAX: {
		bool least = r->op == HYP_OP_AMIN || r->op == HYP_OP_ARGMIN;
		bool wins = r->real ? hypi_reduce_better(r, from->f, to->f) : least ? from->i < to->i : from->i > to->i;
		if (to->count == 0 || wins) {
			to->f = from->f;
			to->i = from->i;
			to->index = from->index;
		}
		break;
	}
	case HYP_OP_VAR:
	case HYP_OP_STD: {
		double n = (double)(to->count + from->count), delta = from->f - to->f;
		to->square += from->square + delta * delta * ((double)to->count * (double)from->count / n);
		to->f += delta * ((double)from->count / n);
		break;
	}
	case HYP_OP_ANY: to->i |= from->i; break;
	case HYP_OP_ALL: to->i &= from->i; break;
	default: to->f += from->f; to->i = (int64_t)((uint64_t)to->i + (uint64_t)from->i);
	}
	to->count += from->count;
}

/* ---- one contiguous block of numbers ---- */

static void block_floats(const struct hypi_reduction *r, enum hypi_num num, const void *x, int64_t n,
                         struct hypi_accumulator *a) {
	const struct hypi_reduce *k = &hypi_kernels()->reduce;
	const float *f = x;
	const double *d = x;
	bool narrow = num == HYPI_F32;
	size_t m = (size_t)n;
	switch (r->op) {
	case HYP_OP_PROD:
		for (int64_t i = 0; i < n; i++) a->f *= narrow ? (double)f[i] : d[i];
		break;
	case HYP_OP_AMIN: a->f = narrow ? (double)k->min_f32(f, m) : k->min_f64(d, m); break;
	case HYP_OP_AMAX: a->f = narrow ? (double)k->max_f32(f, m) : k->max_f64(d, m); break;
	case HYP_OP_ARGMIN:
	case HYP_OP_ARGMAX:
		if (narrow) {
			a->index = (int64_t)(r->op == HYP_OP_ARGMIN ? k->argmin_f32 : k->argmax_f32)(f, m);
			a->f = (double)f[a->index];
			break;
		}
		a->f = d[0];
		a->index = 0;
		for (int64_t i = 1; i < n; i++) {
			if (!hypi_reduce_better(r, d[i], a->f)) continue;
			a->f = d[i];
			a->index = i;
		}
		break;
	case HYP_OP_NORM: a->f = narrow ? k->dot_f32(f, f, m) : k->dot_f64(d, d, m); break;
	default: a->f = narrow ? k->sum_f32(f, m) : k->sum_f64(d, m);
	}
}

/* The same of narrow numbers: deviations from the mean as an F32, and what that rounding moved taken off. */
static void block_variance_f32(const float *x, int64_t n, struct hypi_accumulator *a) {
	float deviation[HYPI_BLOCK];
	const struct hypi_kernels *k = hypi_kernels();
	a->f = k->reduce.sum_f32(x, (size_t)n) / (double)n;
	float mean = (float)a->f;
	k->elementwise.binary[HYPI_F32][HYPI_SUB][HYPI_VS](deviation, x, &mean, (size_t)n);
	double moved = a->f - (double)mean, square = k->reduce.dot_f32(deviation, deviation, (size_t)n);
	a->square = square - (double)n * moved * moved;
	if (a->square < 0) a->square = 0;
}

/* A dense run of F32 in one pass: the mean of the block before is what is taken off the next, so that its squares are
 * about as small as they can be. The first block has no such mean and is gone through twice, from a cache. What a shift
 * by m costs is u n m^2, and m^2 is the square of how far two neighbours' means lie apart: summed up, that is at most
 * four times the sum of squared deviations itself. */
#define SHIFTED 4096
static void run_variance_f32(const struct hypi_reduction *r, const float *x, int64_t n, struct hypi_accumulator *a) {
	int64_t at = n < HYPI_BLOCK ? n : HYPI_BLOCK;
	block_variance_f32(x, at, a);
	a->count = at;
	double mean = a->f;
	for (; at < n; at += SHIFTED) {
		int64_t m = n - at < SHIFTED ? n - at : SHIFTED;
		double sum, square;
		float shift = (float)mean;
		hypi_kernels()->reduce.moments_f32(x + at, (size_t)m, shift, &sum, &square);
		double moved = sum / (double)m, rest = square - sum * moved;
		mean = (double)shift + moved;
		struct hypi_accumulator b = {mean, rest < 0 ? 0 : rest, 0, m, -1};
		hypi_reduce_join(r, a, &b);
	}
}

static void block_variance(const double *x, int64_t n, struct hypi_accumulator *a) {
	double deviation[HYPI_BLOCK];
	a->f = hypi_kernels()->reduce.sum_f64(x, (size_t)n) / (double)n;
	for (int64_t i = 0; i < n; i++) deviation[i] = x[i] - a->f;
	a->square = hypi_kernels()->reduce.dot_f64(deviation, deviation, (size_t)n);
}

static void block_integers(const struct hypi_reduction *r, const int64_t *x, int64_t n, struct hypi_accumulator *a) {
	switch (r->op) {
	case HYP_OP_SUM: a->i = hypi_kernels()->reduce.sum_i64(x, (size_t)n); break;
	case HYP_OP_PROD:
		for (int64_t i = 0; i < n; i++) a->i = (int64_t)((uint64_t)a->i * (uint64_t)x[i]);
		break;
	case HYP_OP_AMIN:
		for (int64_t i = 0; i < n; i++) a->i = x[i] < a->i ? x[i] : a->i;
		break;
	case HYP_OP_AMAX:
		for (int64_t i = 0; i < n; i++) a->i = x[i] > a->i ? x[i] : a->i;
		break;
	default:
		a->i = x[0];
		a->index = 0;
		for (int64_t i = 1; i < n; i++) {
			if (r->op == HYP_OP_ARGMIN ? x[i] >= a->i : x[i] <= a->i) continue;
			a->i = x[i];
			a->index = i;
		}
	}
}

/* ---- a run of any stride ---- */

static void one_block(const struct hypi_reduction *r, const char *data, int64_t stride, int64_t n,
                      struct hypi_accumulator *ret_a) {
	uint64_t buffer[HYPI_BLOCK];
	if (hypi_reduce_is_boolean(r->op)) {
		uint8_t bits[HYPI_BLOCK];
		hypi_load_bool(bits, r->dtype, data, stride, n);
		bool any = memchr(bits, 1, (size_t)n) != NULL, all = memchr(bits, 0, (size_t)n) == NULL;
		ret_a->i = r->op == HYP_OP_ANY ? any : all;
	} else if (hypi_reduce_is_variance(r->op)) {
		if (hypi_num_of(r->dtype) == HYPI_F32)
			block_variance_f32(hypi_load(buffer, HYPI_F32, r->dtype, data, stride, n), n, ret_a);
		else block_variance(hypi_load(buffer, HYPI_F64, r->dtype, data, stride, n), n, ret_a);
	} else if (r->real) {
		enum hypi_num num = hypi_num_of(r->dtype) == HYPI_F32 && r->op != HYP_OP_PROD ? HYPI_F32 : HYPI_F64;
		block_floats(r, num, hypi_load(buffer, num, r->dtype, data, stride, n), n, ret_a);
	} else {
		block_integers(r, hypi_load(buffer, HYPI_I64, r->dtype, data, stride, n), n, ret_a);
	}
}

/* A dense run of a type that a kernel takes whole. */
static bool whole_run(const struct hypi_reduction *r, const char *data, int64_t n, struct hypi_accumulator *a) {
	if (hypi_reduce_is_boolean(r->op)) return false;
	if (hypi_reduce_is_variance(r->op)) {
		if (r->dtype == HYP_F32) run_variance_f32(r, (const float *)(const void *)data, n, a);
		return r->dtype == HYP_F32;
	}
	if (r->real) {
		enum hypi_num num = hypi_num_of(r->dtype);
		if (!hypi_num_is_exact(r->dtype) || (num != HYPI_F32 && num != HYPI_F64)) return false;
		block_floats(r, num, data, n, a);
		return true;
	}
	if (r->op != HYP_OP_SUM) return false;
	const struct hypi_reduce *k = &hypi_kernels()->reduce;
	if (r->dtype == HYP_I8) a->i = k->sum_i8((const int8_t *)data, (size_t)n);
	else if (r->dtype == HYP_I32) a->i = k->sum_i32((const int32_t *)(const void *)data, (size_t)n);
	else return false;
	return true;
}

void hypi_reduce_run(void *context, char *const *data, const int64_t *stride, int64_t n) {
	struct hypi_reduce_run *run = context;
	const struct hypi_reduction *r = run->r;
	struct hypi_accumulator a = hypi_reduce_start(r);
	if (stride[0] == hypi_bytes_of(r->dtype) && whole_run(r, data[0], n, &a)) {
		a.count = n;
		if (a.index >= 0) a.index += run->a->count;
		hypi_reduce_join(r, run->a, &a);
		return;
	}
	for (int64_t at = 0; at < n; at += HYPI_BLOCK) {
		int64_t m = n - at < HYPI_BLOCK ? n - at : HYPI_BLOCK;
		a = hypi_reduce_start(r);
		one_block(r, data[0] + at * stride[0], stride[0], m, &a);
		a.count = m;
		if (a.index >= 0) a.index += run->a->count;
		hypi_reduce_join(r, run->a, &a);
		if (hypi_reduce_is_boolean(r->op) && run->a->i == (r->op == HYP_OP_ANY)) return;
	}
}

/* ---- results ---- */

void hypi_reduce_finish(const struct hypi_reduction *r, const struct hypi_accumulator *a, char *out) {
	double f = a->f, n = (double)a->count;
	int64_t i = a->i;
	bool real = true;
	switch (r->op) {
	case HYP_OP_MEAN: f /= n; break;
	case HYP_OP_VAR:
	case HYP_OP_STD:
		/* Too few elements for ddof: NumPy's result of dividing by nothing. */
		f = n - r->ddof > 0                   ? a->square / (n - r->ddof)
		    : a->count == 0 || a->square == 0 ? (double)NAN
		                                      : (double)INFINITY;
		if (r->op == HYP_OP_STD) f = sqrt(f);
		break;
	case HYP_OP_NORM: f = sqrt(f); break;
	case HYP_OP_ARGMIN:
	case HYP_OP_ARGMAX:
		i = a->index;
		real = false;
		break;
	case HYP_OP_ANY:
	case HYP_OP_ALL: real = false; break;
	default: real = r->real;
	}
	int64_t stride = hypi_bytes_of((int)r->result);
	if (real) hypi_store(out, (int)r->result, stride, &f, HYPI_F64, 1);
	else hypi_store(out, (int)r->result, stride, &i, HYPI_I64, 1);
}
