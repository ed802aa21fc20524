/*
 * tensor/reduce.c: reductions over axes.
 *
 * Two ways through memory. Where the axis that lies densest is reduced, each output takes its runs one after the other
 * through the kernels (by_output); a long reduction is cut into chunks of a fixed length, whose results are combined
 * in order, so that threads never change a result. Where the densest axis is kept, a block of columns is accumulated
 * while the rows go by (by_column): memory is read in its order either way.
 *
 * Sums of floats add block results in binary64. Variance keeps (count, mean, sum of squared deviations) and combines
 * them as Chan, Golub and LeVeque (1979); rows going by update it as Welford (1962).
 */
#include "tensor/compute.h"
#include "tensor/parallel.h"

#include <hypool/hypool.h>

#include <float.h>
#include <math.h>

#define CHUNK (1 << 18) /* elements of a reduction that one thread takes; fixed, so that results are too */
#define COLUMNS 256
#define GRAIN (1 << 16)

struct accumulator {
	double f;      /* sum, product, least or greatest, mean of VAR */
	double square; /* of VAR: sum of squared deviations */
	int64_t i;     /* the same of integers; BOOL: 0 or 1 */
	int64_t count; /* elements so far */
	int64_t index; /* of ARG* */
};

struct reduction {
	hyp_reduce_op op;
	int dtype;
	bool real; /* computed in floats */
	bool keepdims;
	int ddof;
	const char *in;
	char *out;
	hyp_dtype result;
	int kept_rank; /* kept axes, as the input has them */
	int64_t kept_shape[HYP_TENSOR_MAX_RANK], kept_stride[HYP_TENSOR_MAX_RANK];
	int64_t outputs;
	struct hypi_iter reduced;    /* base not used */
	int64_t length;              /* elements in one reduction */
	int64_t chunks;              /* of one reduction */
	struct accumulator *partial; /* [outputs * chunks] if chunks > 1 */
	int column_axis;             /* kept axis that lies densest */
	int64_t column_blocks;
};

static struct accumulator start_of(const struct reduction *r) {
	struct accumulator a = {0, 0, 0, 0, -1};
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

/* NaN counts as less and as greater than anything: the first one wins. */
static bool better(const struct reduction *r, double x, double than) {
	if (isnan(than)) return false;
	if (isnan(x)) return true;
	return r->op == HYP_OP_AMIN || r->op == HYP_OP_ARGMIN ? x < than : x > than;
}

static void join(const struct reduction *r, struct accumulator *to, const struct accumulator *from) {
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
		bool wins = r->real ? better(r, from->f, to->f) : least ? from->i < to->i : from->i > to->i;
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

static void block_floats(const struct reduction *r, enum hypi_num num, const void *x, int64_t n,
                         struct accumulator *a) {
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
			if (!better(r, d[i], a->f)) continue;
			a->f = d[i];
			a->index = i;
		}
		break;
	case HYP_OP_NORM: a->f = narrow ? k->dot_f32(f, f, m) : k->dot_f64(d, d, m); break;
	default: a->f = narrow ? k->sum_f32(f, m) : k->sum_f64(d, m);
	}
}

/* The same of narrow numbers: deviations from the mean as an F32, and what that rounding moved taken off. */
static void block_variance_f32(const float *x, int64_t n, struct accumulator *a) {
	float deviation[HYPI_BLOCK];
	const struct hypi_kernels *k = hypi_kernels();
	a->f = k->reduce.sum_f32(x, (size_t)n) / (double)n;
	float mean = (float)a->f;
	k->elementwise.binary[HYPI_F32][HYPI_SUB][HYPI_VS](deviation, x, &mean, (size_t)n);
	double moved = a->f - (double)mean, square = k->reduce.dot_f32(deviation, deviation, (size_t)n);
	a->square = square - (double)n * moved * moved;
	if (a->square < 0) a->square = 0;
}

static void block_variance(const double *x, int64_t n, struct accumulator *a) {
	double deviation[HYPI_BLOCK];
	a->f = hypi_kernels()->reduce.sum_f64(x, (size_t)n) / (double)n;
	for (int64_t i = 0; i < n; i++) deviation[i] = x[i] - a->f;
	a->square = hypi_kernels()->reduce.dot_f64(deviation, deviation, (size_t)n);
}

static void block_integers(const struct reduction *r, const int64_t *x, int64_t n, struct accumulator *a) {
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

struct run {
	const struct reduction *r;
	struct accumulator *a;
};

static bool is_boolean(hyp_reduce_op op) { return op == HYP_OP_ANY || op == HYP_OP_ALL; }
static bool is_variance(hyp_reduce_op op) { return op == HYP_OP_VAR || op == HYP_OP_STD; }

static void one_block(const struct reduction *r, const char *data, int64_t stride, int64_t n,
                      struct accumulator *ret_a) {
	uint64_t buffer[HYPI_BLOCK];
	if (is_boolean(r->op)) {
		uint8_t bits[HYPI_BLOCK];
		hypi_load_bool(bits, r->dtype, data, stride, n);
		bool any = memchr(bits, 1, (size_t)n) != NULL, all = memchr(bits, 0, (size_t)n) == NULL;
		ret_a->i = r->op == HYP_OP_ANY ? any : all;
	} else if (is_variance(r->op)) {
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
static bool whole_run(const struct reduction *r, const char *data, int64_t n, struct accumulator *a) {
	if (is_boolean(r->op) || is_variance(r->op)) return false;
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

static void take_run(void *context, char *const *data, const int64_t *stride, int64_t n) {
	struct run *run = context;
	const struct reduction *r = run->r;
	struct accumulator a = start_of(r);
	if (stride[0] == hypi_bytes_of(r->dtype) && whole_run(r, data[0], n, &a)) {
		a.count = n;
		if (a.index >= 0) a.index += run->a->count;
		join(r, run->a, &a);
		return;
	}
	for (int64_t at = 0; at < n; at += HYPI_BLOCK) {
		int64_t m = n - at < HYPI_BLOCK ? n - at : HYPI_BLOCK;
		a = start_of(r);
		one_block(r, data[0] + at * stride[0], stride[0], m, &a);
		a.count = m;
		if (a.index >= 0) a.index += run->a->count;
		join(r, run->a, &a);
		if (is_boolean(r->op) && run->a->i == (r->op == HYP_OP_ANY)) return;
	}
}

/* ---- results ---- */

static void finish(const struct reduction *r, const struct accumulator *a, char *out) {
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

static const char *input_of(const struct reduction *r, int64_t output) {
	const char *in = r->in;
	for (int i = r->kept_rank - 1; i >= 0; i--) {
		in += output % r->kept_shape[i] * r->kept_stride[i];
		output /= r->kept_shape[i];
	}
	return in;
}

/* ---- by output ---- */

static void by_output(void *context, int64_t begin, int64_t end) {
	const struct reduction *r = context;
	struct hypi_iter it = r->reduced;
	for (int64_t task = begin; task < end; task++) {
		int64_t output = task / r->chunks, chunk = task % r->chunks;
		struct accumulator a = start_of(r);
		struct run run = {r, &a};
		it.base[0] = (char *)(uintptr_t)input_of(r, output);
		int64_t first = chunk * CHUNK, last = r->chunks == 1 ? r->length : first + CHUNK;
		hypi_iter_run(&it, first, last < r->length ? last : r->length, take_run, &run);
		if (a.index >= 0) a.index += first;
		if (r->chunks == 1) finish(r, &a, r->out + output * hypi_bytes_of((int)r->result));
		else r->partial[task] = a;
	}
}

static hyp_status run_by_output(struct reduction *r) {
	r->chunks = r->length > 2 * CHUNK ? (r->length + CHUNK - 1) / CHUNK : 1;
	if (r->chunks > 1) {
		r->partial = hyp_malloc((size_t)(r->outputs * r->chunks) * sizeof *r->partial);
		if (r->partial == NULL) return hypi_fail(HYP_ERR_NO_MEMORY, "no memory for a reduction's parts");
	}
	int64_t length = r->chunks > 1 ? CHUNK : r->length > 0 ? r->length : 1;
	hypi_parallel(r->outputs * r->chunks, GRAIN / length + 1, by_output, r);
	for (int64_t output = 0; r->chunks > 1 && output < r->outputs; output++) {
		struct accumulator a = start_of(r);
		for (int64_t chunk = 0; chunk < r->chunks; chunk++) join(r, &a, &r->partial[output * r->chunks + chunk]);
		finish(r, &a, r->out + output * hypi_bytes_of((int)r->result));
	}
	hyp_free(r->partial);
	return HYP_OK;
}

/* ---- by column ---- */

struct columns {
	const struct reduction *r;
	int64_t width, rows; /* columns here; rows so far */
	double f[COLUMNS], square[COLUMNS];
	int64_t i[COLUMNS], index[COLUMNS];
};

static void add_floats(struct columns *c, const double *x) {
	int64_t w = c->width;
	double inverse = 1 / (double)(c->rows + 1);
	switch (c->r->op) {
	case HYP_OP_PROD:
		for (int64_t j = 0; j < w; j++) c->f[j] *= x[j];
		break;
	case HYP_OP_AMIN:
		for (int64_t j = 0; j < w; j++) c->f[j] = x[j] < c->f[j] || isnan(x[j]) ? x[j] : c->f[j];
		break;
	case HYP_OP_AMAX:
		for (int64_t j = 0; j < w; j++) c->f[j] = x[j] > c->f[j] || isnan(x[j]) ? x[j] : c->f[j];
		break;
	case HYP_OP_ARGMIN:
	case HYP_OP_ARGMAX:
		for (int64_t j = 0; j < w; j++) {
			if (c->rows != 0 && !better(c->r, x[j], c->f[j])) continue;
			c->f[j] = x[j];
			c->index[j] = c->rows;
		}
		break;
	case HYP_OP_VAR:
	case HYP_OP_STD:
		for (int64_t j = 0; j < w; j++) {
			double delta = x[j] - c->f[j];
			c->f[j] += delta * inverse;
			c->square[j] += delta * (x[j] - c->f[j]);
		}
		break;
	case HYP_OP_NORM:
		for (int64_t j = 0; j < w; j++) c->f[j] += x[j] * x[j];
		break;
	default:
		for (int64_t j = 0; j < w; j++) c->f[j] += x[j];
	}
}

static void add_integers(struct columns *c, const int64_t *x) {
	int64_t w = c->width;
	switch (c->r->op) {
	case HYP_OP_PROD:
		for (int64_t j = 0; j < w; j++) c->i[j] = (int64_t)((uint64_t)c->i[j] * (uint64_t)x[j]);
		break;
	case HYP_OP_AMIN:
		for (int64_t j = 0; j < w; j++) c->i[j] = x[j] < c->i[j] ? x[j] : c->i[j];
		break;
	case HYP_OP_AMAX:
		for (int64_t j = 0; j < w; j++) c->i[j] = x[j] > c->i[j] ? x[j] : c->i[j];
		break;
	case HYP_OP_ARGMIN:
	case HYP_OP_ARGMAX:
		for (int64_t j = 0; j < w; j++) {
			if (c->rows != 0 && (c->r->op == HYP_OP_ARGMIN ? x[j] >= c->i[j] : x[j] <= c->i[j])) continue;
			c->i[j] = x[j];
			c->index[j] = c->rows;
		}
		break;
	default:
		for (int64_t j = 0; j < w; j++) c->i[j] = (int64_t)((uint64_t)c->i[j] + (uint64_t)x[j]);
	}
}

static void add_rows(void *context, char *const *data, const int64_t *stride, int64_t n) {
	struct columns *c = context;
	const struct reduction *r = c->r;
	uint64_t buffer[HYPI_BLOCK];
	int64_t step = r->kept_stride[r->column_axis];
	for (int64_t row = 0; row < n; row++, c->rows++) {
		const char *x = data[0] + row * stride[0];
		if (is_boolean(r->op)) {
			uint8_t bits[HYPI_BLOCK];
			hypi_load_bool(bits, r->dtype, x, step, c->width);
			for (int64_t j = 0; j < c->width; j++)
				c->i[j] = r->op == HYP_OP_ANY ? c->i[j] | bits[j] : c->i[j] & bits[j];
		} else if (r->real || is_variance(r->op)) {
			add_floats(c, hypi_load(buffer, HYPI_F64, r->dtype, x, step, c->width));
		} else {
			add_integers(c, hypi_load(buffer, HYPI_I64, r->dtype, x, step, c->width));
		}
	}
}

/* Outputs are the kept axes row-major: the step of the column axis, and the output of a task's first column. */
static void by_column(void *context, int64_t begin, int64_t end) {
	const struct reduction *r = context;
	struct hypi_iter it = r->reduced;
	struct columns c;
	int64_t bytes = hypi_bytes_of((int)r->result);
	for (int64_t task = begin; task < end; task++) {
		int64_t first = task % r->column_blocks * COLUMNS, rest = task / r->column_blocks;
		int64_t output = 0, scale = 1, column_scale = 1;
		const char *in = r->in + first * r->kept_stride[r->column_axis];
		for (int i = r->kept_rank - 1; i >= 0; i--) {
			if (i == r->column_axis) {
				column_scale = scale;
			} else {
				int64_t at = rest % r->kept_shape[i];
				rest /= r->kept_shape[i];
				in += at * r->kept_stride[i];
				output += at * scale;
			}
			scale *= r->kept_shape[i];
		}
		int64_t left = r->kept_shape[r->column_axis] - first;
		c.r = r;
		c.width = left < COLUMNS ? left : COLUMNS;
		c.rows = 0;
		struct accumulator a = start_of(r);
		for (int64_t j = 0; j < c.width; j++) {
			c.f[j] = a.f;
			c.square[j] = 0;
			c.i[j] = a.i;
			c.index[j] = -1;
		}
		it.base[0] = (char *)(uintptr_t)in;
		hypi_iter_run(&it, 0, r->length, add_rows, &c);
		for (int64_t j = 0; j < c.width; j++) {
			a = (struct accumulator){c.f[j], c.square[j], c.i[j], r->length, c.index[j]};
			finish(r, &a, r->out + (output + (first + j) * column_scale) * bytes);
		}
	}
}

/* The kernels' own way over the rows of an F32 matrix, a block of columns a task. */
#define KERNEL_COLUMNS 4096
static void by_column_f32(void *context, int64_t begin, int64_t end) {
	const struct reduction *r = context;
	const struct hypi_reduce *k = &hypi_kernels()->reduce;
	int64_t width = r->kept_shape[0], blocks = (width + KERNEL_COLUMNS - 1) / KERNEL_COLUMNS;
	for (int64_t task = begin; task < end && task < blocks; task++) {
		int64_t first = task * KERNEL_COLUMNS, n = width - first < KERNEL_COLUMNS ? width - first : KERNEL_COLUMNS;
		float *dst = (float *)(void *)r->out + first;
		const float *src = (const float *)(const void *)r->in + first;
		size_t stride = (size_t)(r->reduced.stride[0][0] / 4);
		if (r->op == HYP_OP_AMIN) k->min_axis0_f32(dst, src, (size_t)r->length, (size_t)n, stride);
		else if (r->op == HYP_OP_AMAX) k->max_axis0_f32(dst, src, (size_t)r->length, (size_t)n, stride);
		else k->sum_axis0_f32(dst, src, (size_t)r->length, (size_t)n, stride);
		if (r->op == HYP_OP_MEAN)
			for (int64_t j = 0; j < n; j++) dst[j] = (float)((double)dst[j] / (double)r->length);
	}
}

/* And along them. */
static void by_row_f32(void *context, int64_t begin, int64_t end) {
	const struct reduction *r = context;
	const struct hypi_reduce *k = &hypi_kernels()->reduce;
	size_t stride = (size_t)(r->kept_stride[0] / 4), rows = (size_t)(end - begin), columns = (size_t)r->length;
	float *dst = (float *)(void *)r->out + begin;
	const float *src = (const float *)(const void *)r->in + (size_t)begin * stride;
	if (r->op == HYP_OP_AMIN) k->min_axis1_f32(dst, src, rows, columns, stride);
	else if (r->op == HYP_OP_AMAX) k->max_axis1_f32(dst, src, rows, columns, stride);
	else k->sum_axis1_f32(dst, src, rows, columns, stride);
	if (r->op == HYP_OP_MEAN)
		for (size_t j = 0; j < rows; j++) dst[j] = (float)((double)dst[j] / (double)r->length);
}

/* The kept axis that is denser than every reduced one; -1 if there is none. */
static int densest_kept(const struct reduction *r) {
	int best = -1;
	for (int i = 0; i < r->kept_rank; i++)
		if (r->kept_shape[i] > 3 && r->kept_stride[i] != 0 &&
		    (best < 0 || llabs(r->kept_stride[i]) < llabs(r->kept_stride[best])))
			best = i;
	if (best < 0 || r->length < 2) return -1;
	for (int i = 0; i < r->reduced.rank; i++)
		if (r->reduced.shape[i] > 1 && llabs(r->reduced.stride[0][i]) <= llabs(r->kept_stride[best])) return -1;
	return best;
}

static hyp_status run(struct reduction *r) {
	r->column_axis = densest_kept(r);
	bool simple = r->op == HYP_OP_SUM || r->op == HYP_OP_MEAN || r->op == HYP_OP_AMIN || r->op == HYP_OP_AMAX;
	bool matrix = simple && r->dtype == HYP_F32 && r->kept_rank == 1 && r->reduced.rank == 1;
	if (matrix && r->column_axis < 0 && r->reduced.stride[0][0] == 4 && r->kept_stride[0] >= 4 * r->length &&
	    r->length > 0 && r->outputs > 1) {
		hypi_parallel(r->outputs, GRAIN / r->length + 1, by_row_f32, r);
		return HYP_OK;
	}
	if (r->column_axis < 0) return run_by_output(r);
	if (matrix && r->kept_stride[0] == 4 && r->reduced.stride[0][0] > 0) {
		hypi_parallel((r->kept_shape[0] + KERNEL_COLUMNS - 1) / KERNEL_COLUMNS, 1, by_column_f32, r);
		return HYP_OK;
	}
	r->column_blocks = (r->kept_shape[r->column_axis] + COLUMNS - 1) / COLUMNS;
	int64_t tasks = r->column_blocks * (r->outputs / r->kept_shape[r->column_axis]);
	hypi_parallel(tasks, GRAIN / (COLUMNS * r->length) + 1, by_column, r);
	return HYP_OK;
}

/* ---- the operation ---- */

static hyp_dtype result_of(hyp_reduce_op op, hyp_dtype d) {
	bool real = hypi_is_float((int)d);
	switch (op) {
	case HYP_OP_SUM:
	case HYP_OP_PROD: return real ? d : HYP_I64;
	case HYP_OP_MEAN:
	case HYP_OP_VAR:
	case HYP_OP_STD:
	case HYP_OP_NORM: return real ? d : HYP_F64;
	case HYP_OP_ARGMIN:
	case HYP_OP_ARGMAX: return HYP_I64;
	case HYP_OP_ANY:
	case HYP_OP_ALL: return HYP_BOOL;
	default: return d;
	}
}

static hyp_status check_arguments(hyp_reduce_op op, const hyp_tensor *a, int axis_count, const int *axes,
                                  const hyp_reduce_options *options, uint32_t *ret_mask) {
	if ((int)op < 0 || op >= HYP_REDUCE_OP_COUNT)
		return hypi_fail(HYP_ERR_INVALID, "argument op: %d is no reduction", (int)op);
	if (options != NULL && options->struct_bytes != sizeof *options)
		return hypi_fail(HYP_ERR_INVALID, "argument options: struct_bytes is %zu, not %zu", options->struct_bytes,
		                 sizeof *options);
	uint32_t mask = 0;
	for (int i = 0; axes != NULL && i < axis_count; i++) {
		int axis;
		HYPI_TRY(hypi_axis(axes[i], a->rank, &axis));
		if (mask >> axis & 1) return hypi_fail(HYP_ERR_INVALID, "argument axes: axis %d occurs twice", axis);
		mask |= 1u << axis;
	}
	if (axes == NULL) mask = a->rank == 32 ? UINT32_MAX : (1u << a->rank) - 1;
	bool arg = op == HYP_OP_ARGMIN || op == HYP_OP_ARGMAX;
	if (arg && axes != NULL && axis_count != 1)
		return hypi_fail(HYP_ERR_INVALID, "argument axes: %s takes one axis, or all",
		                 op == HYP_OP_ARGMIN ? "argmin" : "argmax");
	*ret_mask = mask;
	return HYP_OK;
}

/* a is plain, and row-major if an index over several axes is asked for. */
static hyp_status reduce(hyp_reduce_op op, const hyp_tensor *a, uint32_t mask, const hyp_reduce_options *options,
                         hyp_tensor **ret_tensor) {
	struct reduction r;
	r.op = op;
	r.dtype = a->dtype;
	r.real = hypi_is_float(a->dtype) || op == HYP_OP_NORM || op == HYP_OP_MEAN;
	r.keepdims = options != NULL && options->keepdims;
	r.ddof = options != NULL ? options->ddof : 0;
	r.result = result_of(op, (hyp_dtype)a->dtype);
	r.kept_rank = 0;
	r.outputs = r.length = 1;
	r.partial = NULL;
	int64_t shape[HYP_TENSOR_MAX_RANK], reduced_shape[HYP_TENSOR_MAX_RANK], reduced_stride[HYP_TENSOR_MAX_RANK];
	int rank = 0, reduced_rank = 0;
	for (int i = 0; i < a->rank; i++) {
		if (mask >> i & 1) {
			reduced_shape[reduced_rank] = a->shape[i];
			reduced_stride[reduced_rank++] = a->strides[i];
			r.length *= a->shape[i];
			if (r.keepdims) shape[rank++] = 1;
		} else {
			r.kept_shape[r.kept_rank] = a->shape[i];
			r.kept_stride[r.kept_rank++] = a->strides[i] * hypi_bytes_of(a->dtype);
			r.outputs *= a->shape[i];
			shape[rank++] = a->shape[i];
		}
	}
	bool needs_one = op == HYP_OP_AMIN || op == HYP_OP_AMAX || op == HYP_OP_ARGMIN || op == HYP_OP_ARGMAX;
	if (r.length == 0 && needs_one && r.outputs > 0)
		return hypi_fail(HYP_ERR_SHAPE, "argument a: nothing to reduce has no least or greatest element");
	hyp_tensor *out;
	HYPI_TRY(hypi_tensor_new(r.result, rank, shape, &out));
	char *data[2];
	hyp_status status = hypi_pin(out, "out", &data[0]);
	if (status == HYP_OK) {
		status = hypi_pin(a, "a", &data[1]);
		if (status == HYP_OK) {
			hyp_tensor axes = {
				.dtype = a->dtype, .rank = (uint8_t)reduced_rank, .shape = reduced_shape, .strides = reduced_stride};
			const hyp_tensor *operand = &axes;
			r.out = data[0];
			r.in = data[1];
			hypi_iter_init(&r.reduced, reduced_rank, reduced_shape, 1, &operand, &data[1]);
			if (r.outputs > 0) status = run(&r);
			hypi_unpin(a);
		}
		hypi_unpin(out);
	}
	if (status != HYP_OK) hyp_tensor_release(out);
	else *ret_tensor = out;
	return status;
}

hyp_status hyp_tensor_reduce(hyp_reduce_op op, const hyp_tensor *a, int axis_count, const int *axes,
                             const hyp_reduce_options *options, hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(a);
	HYPI_CHECK_RET(ret_tensor);
	uint64_t begun = hypi_profile_start();
	uint32_t mask = 0;
	HYPI_TRY(check_arguments(op, a, axis_count, axes, options, &mask));
	const hyp_tensor *plain, *dense;
	HYPI_TRY(hypi_plain(a, &plain));
	hyp_status status = HYP_OK;
	bool flat_index = (op == HYP_OP_ARGMIN || op == HYP_OP_ARGMAX) && axes == NULL;
	if (flat_index || op == HYP_OP_NORM) {
		hyp_dtype as = op == HYP_OP_NORM && !hypi_is_float(plain->dtype) ? HYP_F64 : (hyp_dtype)plain->dtype;
		if (flat_index || as != (hyp_dtype)plain->dtype) {
			status = hypi_as(plain, as, &dense);
			if (status == HYP_OK) {
				hyp_tensor_release((hyp_tensor *)(uintptr_t)plain);
				plain = dense;
			}
		}
	}
	if (status == HYP_OK) status = reduce(op, plain, mask, options, ret_tensor);
	if (status == HYP_OK)
		HYPI_PROFILE(reduce, begun, plain->elements,
		             plain->elements * hypi_bytes_of(plain->dtype) +
		                 (*ret_tensor)->elements * hypi_bytes_of((*ret_tensor)->dtype));
	hyp_tensor_release((hyp_tensor *)(uintptr_t)plain);
	return status;
}
