/*
 * tensor/reduce.c: reductions over axes: the ways through memory.
 *
 * Two ways through memory. Where the axis that lies densest is reduced, each output takes its runs one after the other
 * through the kernels (by_output); a long reduction is cut into chunks of a fixed length, whose results are combined
 * in order, so that threads never change a result. Where the densest axis is kept, a block of columns is accumulated
 * while the rows go by (by_column): memory is read in its order either way.
 *
 * Rows going by update a variance as Welford (1962). What blocks and runs add up to is reduce_block.c's.
 */
#include "tensor/reduce.h"
#include "tensor/parallel.h"

#include <hypool/hypool.h>

#include <float.h>
#include <math.h>

#define CHUNK (1 << 18) /* elements of a reduction that one thread takes; fixed, so that results are too */
#define COLUMNS 256
#define GRAIN (1 << 16)

static const char *input_of(const struct hypi_reduction *r, int64_t output) {
	const char *in = r->in;
	for (int i = r->kept_rank - 1; i >= 0; i--) {
		in += output % r->kept_shape[i] * r->kept_stride[i];
		output /= r->kept_shape[i];
	}
	return in;
}

/* ---- by output ---- */

static void by_output(void *context, int64_t begin, int64_t end) {
	const struct hypi_reduction *r = context;
	struct hypi_iter it = r->reduced;
	for (int64_t task = begin; task < end; task++) {
		int64_t output = task / r->chunks, chunk = task % r->chunks;
		struct hypi_accumulator a = hypi_reduce_start(r);
		struct hypi_reduce_run run = {r, &a};
		it.base[0] = (char *)(uintptr_t)input_of(r, output);
		int64_t first = chunk * CHUNK, last = r->chunks == 1 ? r->length : first + CHUNK;
		hypi_iter_run(&it, first, last < r->length ? last : r->length, hypi_reduce_run, &run);
		if (a.index >= 0) a.index += first;
		if (r->chunks == 1) hypi_reduce_finish(r, &a, r->out + output * hypi_bytes_of((int)r->result));
		else r->partial[task] = a;
	}
}

static hyp_status run_by_output(struct hypi_reduction *r) {
	r->chunks = r->length > 2 * CHUNK ? (r->length + CHUNK - 1) / CHUNK : 1;
	if (r->chunks > 1) {
		r->partial = hyp_malloc((size_t)(r->outputs * r->chunks) * sizeof *r->partial);
		if (r->partial == NULL) return hypi_fail(HYP_ERR_NO_MEMORY, "no memory for a reduction's parts");
	}
	int64_t length = r->chunks > 1 ? CHUNK : r->length > 0 ? r->length : 1;
	hypi_parallel(r->outputs * r->chunks, GRAIN / length + 1, by_output, r);
	for (int64_t output = 0; r->chunks > 1 && output < r->outputs; output++) {
		struct hypi_accumulator a = hypi_reduce_start(r);
		for (int64_t chunk = 0; chunk < r->chunks; chunk++)
			hypi_reduce_join(r, &a, &r->partial[output * r->chunks + chunk]);
		hypi_reduce_finish(r, &a, r->out + output * hypi_bytes_of((int)r->result));
	}
	hyp_free(r->partial);
	return HYP_OK;
}

/* ---- by column ---- */

struct columns {
	const struct hypi_reduction *r;
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
			if (c->rows != 0 && !hypi_reduce_better(c->r, x[j], c->f[j])) continue;
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
	const struct hypi_reduction *r = c->r;
	uint64_t buffer[HYPI_BLOCK];
	int64_t step = r->kept_stride[r->column_axis];
	for (int64_t row = 0; row < n; row++, c->rows++) {
		const char *x = data[0] + row * stride[0];
		if (hypi_reduce_is_boolean(r->op)) {
			uint8_t bits[HYPI_BLOCK];
			hypi_load_bool(bits, r->dtype, x, step, c->width);
			for (int64_t j = 0; j < c->width; j++)
				c->i[j] = r->op == HYP_OP_ANY ? c->i[j] | bits[j] : c->i[j] & bits[j];
		} else if (r->real || hypi_reduce_is_variance(r->op)) {
			add_floats(c, hypi_load(buffer, HYPI_F64, r->dtype, x, step, c->width));
		} else {
			add_integers(c, hypi_load(buffer, HYPI_I64, r->dtype, x, step, c->width));
		}
	}
}

/* Outputs are the kept axes row-major: the step of the column axis, and the output of a task's first column. */
static void by_column(void *context, int64_t begin, int64_t end) {
	const struct hypi_reduction *r = context;
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
		struct hypi_accumulator a = hypi_reduce_start(r);
		for (int64_t j = 0; j < c.width; j++) {
			c.f[j] = a.f;
			c.square[j] = 0;
			c.i[j] = a.i;
			c.index[j] = -1;
		}
		it.base[0] = (char *)(uintptr_t)in;
		hypi_iter_run(&it, 0, r->length, add_rows, &c);
		for (int64_t j = 0; j < c.width; j++) {
			a = (struct hypi_accumulator){c.f[j], c.square[j], c.i[j], r->length, c.index[j]};
			hypi_reduce_finish(r, &a, r->out + (output + (first + j) * column_scale) * bytes);
		}
	}
}

/* The kernels' own way over the rows of an F32 matrix. Rows are shared in chunks that the shape alone decides, so that
 * results do not depend on the threads: whole rows are what memory reads fastest. Where there are too few of them for
 * the threads, the columns are shared too; a column's sum is the same in whichever piece it lies. */
#define LEAST_COLUMNS 512
#define CHUNKS_MAX 32 /* whose partial results are still small beside the input */
#define CHUNK_ROWS 16 /* what a kernel joins at once */

static int64_t column_cut(const struct hypi_reduction *r, int64_t piece) {
	int64_t width = r->kept_shape[0];
	return piece >= r->column_blocks ? width : width * piece / r->column_blocks / 16 * 16;
}

static void by_column_f32(void *context, int64_t begin, int64_t end) {
	const struct hypi_reduction *r = context;
	const struct hypi_reduce *k = &hypi_kernels()->reduce;
	size_t stride = (size_t)(r->reduced.stride[0][0] / 4);
	for (int64_t task = begin; task < end; task++) {
		int64_t chunk = task / r->column_blocks, piece = task % r->column_blocks;
		int64_t first = column_cut(r, piece), row = chunk * r->chunk_rows, at = chunk * r->kept_shape[0] + first;
		size_t n = (size_t)(column_cut(r, piece + 1) - first);
		size_t rows = (size_t)(r->length - row < r->chunk_rows ? r->length - row : r->chunk_rows);
		const float *src = (const float *)(const void *)r->in + (size_t)row * stride + first;
		if (r->op == HYP_OP_AMIN) {
			k->min_axis0_f32((float *)r->column_partials + at, src, rows, n, stride);
		} else if (r->op == HYP_OP_AMAX) {
			k->max_axis0_f32((float *)r->column_partials + at, src, rows, n, stride);
		} else {
			double *total = (double *)r->column_partials + at;
			memset(total, 0, n * sizeof *total);
			k->add_axis0_f32(total, src, rows, n, stride);
		}
	}
}

/* The chunks' results, in order. */
static void join_columns_f32(const struct hypi_reduction *r) {
	const struct hypi_reduce *k = &hypi_kernels()->reduce;
	float *dst = (float *)(void *)r->out;
	size_t n = (size_t)r->kept_shape[0], chunks = (size_t)r->chunks;
	double *total = r->column_partials;
	if (r->op == HYP_OP_AMIN) {
		k->min_axis0_f32(dst, r->column_partials, chunks, n, n);
	} else if (r->op == HYP_OP_AMAX) {
		k->max_axis0_f32(dst, r->column_partials, chunks, n, n);
	} else {
		for (size_t chunk = 1; chunk < chunks; chunk++)
			for (size_t j = 0; j < n; j++) total[j] += total[chunk * n + j];
		for (size_t j = 0; j < n; j++) dst[j] = (float)total[j];
	}
	if (r->op == HYP_OP_MEAN)
		for (size_t j = 0; j < n; j++) dst[j] = (float)((double)dst[j] / (double)r->length);
}

static hyp_status run_columns_f32(struct hypi_reduction *r) {
	int64_t width = r->kept_shape[0], most = width / LEAST_COLUMNS, threads = (int64_t)hypi_parallel_width();
	int64_t rows = CHUNK / width + 1, least = (r->length + CHUNKS_MAX - 1) / CHUNKS_MAX;
	rows = ((rows > least ? rows : least) + CHUNK_ROWS - 1) / CHUNK_ROWS * CHUNK_ROWS;
	r->chunk_rows = rows;
	r->chunks = r->length <= rows ? 1 : (r->length + rows - 1) / rows;
	bool worth = width * r->length >= 2 * GRAIN;
	r->column_blocks = !worth || r->chunks >= threads || most < 1 ? 1 : most < threads ? most : threads;
	r->column_partials = hyp_malloc((size_t)(r->chunks * width) * sizeof(double));
	if (r->column_partials == NULL) return hypi_fail(HYP_ERR_NO_MEMORY, "no memory for a reduction's parts");
	hypi_parallel(r->chunks * r->column_blocks, 1, by_column_f32, r);
	join_columns_f32(r);
	hyp_free(r->column_partials);
	return HYP_OK;
}

/* And along them. */
static void by_row_f32(void *context, int64_t begin, int64_t end) {
	const struct hypi_reduction *r = context;
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
static int densest_kept(const struct hypi_reduction *r) {
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

static hyp_status run(struct hypi_reduction *r) {
	r->column_axis = densest_kept(r);
	bool simple = r->op == HYP_OP_SUM || r->op == HYP_OP_MEAN || r->op == HYP_OP_AMIN || r->op == HYP_OP_AMAX;
	bool matrix = simple && r->dtype == HYP_F32 && r->kept_rank == 1 && r->reduced.rank == 1;
	if (matrix && r->column_axis < 0 && r->reduced.stride[0][0] == 4 && r->kept_stride[0] >= 4 * r->length &&
	    r->length > 0 && r->outputs > 1) {
		hypi_parallel(r->outputs, GRAIN / r->length + 1, by_row_f32, r);
		return HYP_OK;
	}
	if (r->column_axis < 0) return run_by_output(r);
	if (matrix && r->kept_stride[0] == 4 && r->reduced.stride[0][0] > 0) return run_columns_f32(r);
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
	struct hypi_reduction r;
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
