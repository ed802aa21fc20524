/*
 * tensor/matmul.c: matrix products: NumPy's matmul, dot and outer.
 *
 * F32 and F64 go to the kernels' plans, which read either operand as it lies if one of its two axes is dense, and are
 * copied row-major first if neither is. Halves are widened to F32, multiplied, and rounded once. Integers are added
 * up in int64, which wraps as their own type does, row by row. A batch of big products shares each product's tiles
 * among the threads; a batch of small ones shares the products.
 */
#include "tensor/compute.h"
#include "tensor/parallel.h"

#include <hypool/hypool.h>

#define SMALL_FLOPS (2 << 20) /* below: not worth sharing one product */

struct product {
	int64_t m, n, k;
	int batch_rank;
	int64_t batch_shape[HYP_TENSOR_MAX_RANK];
	int64_t batch_stride[2][HYP_TENSOR_MAX_RANK]; /* of a and b, bytes */
	int64_t batch;
	int64_t row_a, col_a, row_b, col_b; /* strides of a[m][k] and b[k][n] in elements */
	char *a, *b, *c;
	bool f64;
};

static void operands_of(const struct product *p, int64_t number, char **ret_a, char **ret_b) {
	char *a = p->a, *b = p->b;
	for (int i = p->batch_rank - 1; i >= 0; i--) {
		int64_t at = number % p->batch_shape[i];
		number /= p->batch_shape[i];
		a += at * p->batch_stride[0][i];
		b += at * p->batch_stride[1][i];
	}
	*ret_a = a;
	*ret_b = b;
}

static void make_plan(const struct product *p, int64_t number, size_t workers, struct hypi_gemm_plan *ret_plan) {
	char *a, *b;
	operands_of(p, number, &a, &b);
	struct hypi_gemm_plan plan = {.m = (size_t)p->m, .n = (size_t)p->n, .k = (size_t)p->k, .a = a, .b = b};
	plan.c = p->c + number * p->m * p->n * (p->f64 ? 8 : 4);
	plan.ldc = (size_t)p->n;
	plan.trans_a = p->col_a != 1;
	plan.trans_b = p->col_b != 1;
	plan.lda = (size_t)(plan.trans_a ? p->col_a : p->row_a);
	plan.ldb = (size_t)(plan.trans_b ? p->col_b : p->row_b);
	plan.f64 = p->f64;
	plan.alpha = 1;
	plan.beta = 0;
	*ret_plan = plan;
	hypi_gemm_plan_init(ret_plan, &hypi_kernels()->gemm, workers);
}

struct shared_plan {
	const struct hypi_gemm_plan *plan;
	_Atomic bool *no_memory;
};

static void run_tiles(void *context, int64_t begin, int64_t end) {
	const struct shared_plan *s = context;
	void *scratch = NULL;
	if (s->plan->scratch_bytes > 0) {
		scratch = hyp_aligned_alloc(64, s->plan->scratch_bytes);
		if (scratch == NULL) {
			hypi_store_relaxed(s->no_memory, true);
			return;
		}
	}
	hypi_gemm_run(s->plan, &hypi_kernels()->gemm, (size_t)begin, (size_t)end, scratch);
	hyp_free(scratch);
}

struct shared_batch {
	const struct product *p;
	_Atomic bool *no_memory;
};

static void run_batch(void *context, int64_t begin, int64_t end) {
	const struct shared_batch *s = context;
	for (int64_t i = begin; i < end; i++) {
		struct hypi_gemm_plan plan;
		make_plan(s->p, i, 1, &plan);
		struct shared_plan one = {&plan, s->no_memory};
		run_tiles(&one, 0, (int64_t)plan.tiles);
	}
}

static hyp_status run_floats(const struct product *p) {
	_Atomic bool no_memory = false;
	double flops = 2.0 * (double)p->m * (double)p->n * (double)p->k;
	if (flops < SMALL_FLOPS || (p->batch >= 4 * (int64_t)hypi_parallel_width() && flops < 64.0 * SMALL_FLOPS)) {
		struct shared_batch s = {p, &no_memory};
		hypi_parallel(p->batch, (int64_t)(SMALL_FLOPS / (flops + 1)) + 1, run_batch, &s);
	} else {
		for (int64_t i = 0; i < p->batch; i++) {
			struct hypi_gemm_plan plan;
			make_plan(p, i, hypi_parallel_width(), &plan);
			struct shared_plan s = {&plan, &no_memory};
			hypi_parallel((int64_t)plan.tiles, 1, run_tiles, &s);
		}
	}
	return hypi_load_relaxed(&no_memory) ? hypi_fail(HYP_ERR_NO_MEMORY, "no memory for a matrix product's scratch")
	                                     : HYP_OK;
}

/* Rows of all products, in int64. */
static void run_integer_rows(void *context, int64_t begin, int64_t end) {
	const struct product *p = context;
	for (int64_t row = begin; row < end; row++) {
		char *a, *b;
		operands_of(p, row / p->m, &a, &b);
		const int64_t *x = (const int64_t *)(const void *)a + row % p->m * p->row_a;
		const int64_t *y = (const int64_t *)(const void *)b;
		uint64_t *z = (uint64_t *)(void *)p->c + row * p->n;
		memset(z, 0, (size_t)p->n * sizeof *z);
		for (int64_t k = 0; k < p->k; k++) {
			uint64_t factor = (uint64_t)x[k * p->col_a];
			for (int64_t j = 0; j < p->n; j++) z[j] += factor * (uint64_t)y[k * p->row_b + j * p->col_b];
		}
	}
}

/* ---- shapes ---- */

struct matrix {
	int64_t rows, cols, row_stride, col_stride;
	int batch_rank;
};

static hyp_status shapes_fail(const hyp_tensor *a, const hyp_tensor *b) {
	char text_a[HYPI_SHAPE_TEXT], text_b[HYPI_SHAPE_TEXT];
	return hypi_fail(HYP_ERR_SHAPE, "arguments a and b: shapes %s and %s have no matrix product",
	                 hypi_shape_text(a->rank, a->shape, text_a), hypi_shape_text(b->rank, b->shape, text_b));
}

/* A 1-D left operand is a row, a 1-D right one a column. */
static struct matrix matrix_of(const hyp_tensor *t, bool left) {
	int r = t->rank;
	if (r == 1) {
		if (left) return (struct matrix){1, t->shape[0], t->shape[0], t->strides[0], 0};
		return (struct matrix){t->shape[0], 1, t->strides[0], 1, 0};
	}
	return (struct matrix){t->shape[r - 2], t->shape[r - 1], t->strides[r - 2], t->strides[r - 1], r - 2};
}

static hyp_status result_shape(const hyp_tensor *a, const hyp_tensor *b, struct product *p, int *ret_rank,
                               int64_t *ret_shape) {
	if (a->rank == 0 || b->rank == 0) return shapes_fail(a, b);
	struct matrix ma = matrix_of(a, true), mb = matrix_of(b, false);
	if (ma.cols != mb.rows) return shapes_fail(a, b);
	int rank;
	HYPI_TRY(hypi_broadcast(ma.batch_rank, a->shape, mb.batch_rank, b->shape, &rank, ret_shape));
	p->batch_rank = rank;
	p->batch = 1;
	for (int i = 0; i < rank; i++) {
		p->batch_shape[i] = ret_shape[i];
		p->batch *= ret_shape[i];
	}
	p->m = ma.rows;
	p->n = mb.cols;
	p->k = ma.cols;
	if (a->rank > 1) ret_shape[rank++] = ma.rows;
	if (b->rank > 1) ret_shape[rank++] = mb.cols;
	*ret_rank = rank;
	return HYP_OK;
}

static void set_batch_strides(struct product *p, int which, const hyp_tensor *t) {
	int own = t->rank < 2 ? 0 : t->rank - 2;
	for (int i = 0; i < p->batch_rank; i++) {
		int axis = i - (p->batch_rank - own);
		bool fixed = axis < 0 || t->shape[axis] == 1;
		p->batch_stride[which][i] = fixed ? 0 : t->strides[axis] * hypi_bytes_of(t->dtype);
	}
}

/* One axis dense, and the other not stepping back or over itself: what a plan can read as it lies. */
static bool readable(const hyp_tensor *t, bool left) {
	struct matrix m = matrix_of(t, left);
	if (m.rows == 1) m.row_stride = m.cols;
	if (m.cols == 1) m.col_stride = m.row_stride == 1 ? m.rows : 1;
	return (m.col_stride == 1 && m.row_stride >= m.cols) || (m.row_stride == 1 && m.col_stride >= m.rows);
}

/* A tensor of that type that a plan can read. */
static hyp_status readable_as(const hyp_tensor *t, hyp_dtype dtype, const hyp_tensor **ret_tensor, bool left) {
	if (t->dtype == dtype && (t->elements == 0 || readable(t, left))) {
		*ret_tensor = hyp_tensor_retain((hyp_tensor *)(uintptr_t)t);
		return HYP_OK;
	}
	return hypi_as(t, dtype, ret_tensor);
}

static void set_strides(struct product *p, const hyp_tensor *a, const hyp_tensor *b) {
	struct matrix ma = matrix_of(a, true), mb = matrix_of(b, false);
	/* An axis of one element may have any stride: give it one that a plan takes. */
	if (ma.rows == 1) ma.row_stride = ma.col_stride == 1 ? ma.cols : 1;
	if (ma.cols == 1) ma.col_stride = ma.row_stride == 1 && ma.rows > 1 ? ma.rows : 1;
	if (mb.rows == 1) mb.row_stride = mb.col_stride == 1 ? mb.cols : 1;
	if (mb.cols == 1) mb.col_stride = mb.row_stride == 1 && mb.rows > 1 ? mb.rows : 1;
	p->row_a = ma.row_stride;
	p->col_a = ma.col_stride;
	p->row_b = mb.row_stride;
	p->col_b = mb.col_stride;
	set_batch_strides(p, 0, a);
	set_batch_strides(p, 1, b);
}

static hyp_status multiply(struct product *p, const hyp_tensor *a, const hyp_tensor *b, hyp_tensor *c) {
	if (c->elements == 0) return HYP_OK;
	if (p->k == 0) return hyp_tensor_fill(c, hyp_int(0));
	set_strides(p, a, b);
	HYPI_TRY(hypi_pin(a, "a", &p->a));
	hyp_status status = hypi_pin(b, "b", &p->b);
	if (status == HYP_OK) {
		status = hypi_pin(c, "out", &p->c);
		if (status == HYP_OK) {
			if (c->dtype == HYP_I64) hypi_parallel(p->batch * p->m, (1 << 16) / (p->n * p->k) + 1, run_integer_rows, p);
			else status = run_floats(p);
			hypi_unpin(c);
		}
		hypi_unpin(b);
	}
	hypi_unpin(a);
	return status;
}

/* The product in `computed`; out or a new tensor of `result`. */
static hyp_status product_of(const hyp_tensor *a, const hyp_tensor *b, hyp_tensor *out, hyp_tensor **ret_tensor) {
	uint64_t begun = hypi_profile_start();
	struct product p = {0};
	int rank = 0;
	int64_t shape[HYP_TENSOR_MAX_RANK];
	HYPI_TRY(result_shape(a, b, &p, &rank, shape));
	hyp_dtype result = hypi_promote((hyp_dtype)a->dtype, (hyp_dtype)b->dtype);
	hyp_dtype computed = result == HYP_F64 ? HYP_F64 : hypi_is_float((int)result) ? HYP_F32 : HYP_I64;
	p.f64 = computed == HYP_F64;
	if (out != NULL && (out->rank != rank || memcmp(out->shape, shape, (size_t)rank * sizeof *shape) != 0)) {
		char have[HYPI_SHAPE_TEXT], want[HYPI_SHAPE_TEXT];
		return hypi_fail(HYP_ERR_SHAPE, "argument out: has shape %s, the result %s",
		                 hypi_shape_text(out->rank, out->shape, have), hypi_shape_text(rank, shape, want));
	}
	const hyp_tensor *ra = NULL, *rb = NULL;
	hyp_tensor *c = NULL;
	hyp_status status = readable_as(a, computed, &ra, true);
	if (status == HYP_OK) status = readable_as(b, computed, &rb, false);
	bool direct = out != NULL && out->contiguous && out->dtype == computed && !hyp_tensor_shares_storage(out, a) &&
	              !hyp_tensor_shares_storage(out, b) && !hypi_clash(out, a) && !hypi_clash(out, b);
	if (status == HYP_OK && !direct) status = hypi_tensor_new(computed, rank, shape, &c);
	if (status == HYP_OK) status = multiply(&p, ra, rb, direct ? out : c);
	if (status == HYP_OK && out != NULL && !direct) status = hypi_copy(out, c);
	if (status == HYP_OK && out == NULL) {
		if (computed == result) *ret_tensor = hyp_tensor_retain(c);
		else if (result == HYP_BOOL) status = hyp_tensor_cast(c, HYP_BOOL, ret_tensor);
		else status = hyp_tensor_cast(c, result, ret_tensor);
	}
	if (status == HYP_OK)
		HYPI_PROFILE(matmul, begun, 2 * p.m * p.n * p.k * p.batch,
		             a->elements * hypi_bytes_of(a->dtype) + b->elements * hypi_bytes_of(b->dtype) +
		                 p.m * p.n * p.batch * hypi_bytes_of((int)result));
	hyp_tensor_release((hyp_tensor *)(uintptr_t)ra);
	hyp_tensor_release((hyp_tensor *)(uintptr_t)rb);
	hyp_tensor_release(c);
	return status;
}

static hyp_status plain_product(const hyp_tensor *a, const hyp_tensor *b, hyp_tensor *out, hyp_tensor **ret_tensor) {
	const hyp_tensor *pa, *pb;
	HYPI_TRY(hypi_plain(a, &pa));
	hyp_status status = hypi_plain(b, &pb);
	if (status == HYP_OK) {
		status = product_of(pa, pb, out, ret_tensor);
		hyp_tensor_release((hyp_tensor *)(uintptr_t)pb);
	}
	hyp_tensor_release((hyp_tensor *)(uintptr_t)pa);
	return status;
}

hyp_status hyp_tensor_matmul(const hyp_tensor *a, const hyp_tensor *b, hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(a);
	HYPI_CHECK_TENSOR(b);
	HYPI_CHECK_RET(ret_tensor);
	return plain_product(a, b, NULL, ret_tensor);
}

hyp_status hyp_tensor_matmul_into(const hyp_tensor *a, const hyp_tensor *b, hyp_tensor *out) {
	HYPI_CHECK_TENSOR(a);
	HYPI_CHECK_TENSOR(b);
	HYPI_CHECK_TENSOR(out);
	if (!hypi_is_plain(out->dtype))
		return hypi_fail(HYP_ERR_TYPE, "argument out: is of the packed type %s", hypi_dtypes[out->dtype].info.name);
	HYPI_TRY(hypi_check_output(out, "out"));
	return plain_product(a, b, out, NULL);
}

hyp_status hyp_tensor_dot(const hyp_tensor *a, const hyp_tensor *b, hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(a);
	HYPI_CHECK_TENSOR(b);
	if (a->rank == 0 || b->rank == 0) return hyp_tensor_binary(HYP_OP_MUL, a, b, ret_tensor);
	if (a->rank > 2 || b->rank > 2)
		return hypi_fail(HYP_ERR_SHAPE, "arguments a and b: dot takes ranks up to 2; matmul takes batches");
	return hyp_tensor_matmul(a, b, ret_tensor);
}

hyp_status hyp_tensor_outer(const hyp_tensor *a, const hyp_tensor *b, hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(a);
	HYPI_CHECK_TENSOR(b);
	hyp_tensor *flat_a = NULL, *flat_b = NULL, *column = NULL;
	int64_t all = -1;
	hyp_tensor *dense_a = NULL, *dense_b = NULL;
	hyp_status status = hyp_tensor_contiguous(a, &dense_a);
	if (status == HYP_OK) status = hyp_tensor_contiguous(b, &dense_b);
	all = a->elements;
	if (status == HYP_OK) status = hyp_tensor_reshape(dense_a, 1, &all, &flat_a);
	all = b->elements;
	if (status == HYP_OK) status = hyp_tensor_reshape(dense_b, 1, &all, &flat_b);
	if (status == HYP_OK) status = hyp_tensor_unsqueeze(flat_a, 1, &column);
	if (status == HYP_OK) status = hyp_tensor_binary(HYP_OP_MUL, column, flat_b, ret_tensor);
	hyp_tensor_release(column);
	hyp_tensor_release(flat_a);
	hyp_tensor_release(flat_b);
	hyp_tensor_release(dense_a);
	hyp_tensor_release(dense_b);
	return status;
}
