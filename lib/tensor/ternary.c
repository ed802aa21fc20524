/*
 * tensor/ternary.c: quantising, and products of ternary weights with int8 activations.
 *
 * Integer sums are exact whatever the kernel. Threads share the rows of the weights, so that each packed weight is
 * read once for a whole batch.
 */
#include "tensor/compute.h"
#include "tensor/parallel.h"

#include <hypool/hypool.h>

#include <math.h>

#define MAX_K (1 << 24) /* int32 sums are exact below */

/* ---- absmax ---- */

struct absmax {
	const float *x;
	int8_t *q;
	float *scale;
	int32_t *sum;
	int64_t k;
	_Atomic bool not_finite;
};

static void absmax_rows(void *context, int64_t begin, int64_t end) {
	struct absmax *a = context;
	for (int64_t i = begin; i < end; i++) {
		const float *x = a->x + i * a->k;
		float top = hypi_kernels()->reduce.max_f32(x, (size_t)a->k),
			  low = hypi_kernels()->reduce.min_f32(x, (size_t)a->k);
		if (!isfinite(top) || !isfinite(low)) {
			hypi_store_relaxed(&a->not_finite, true);
			return;
		}
	}
	hypi_kernels()->ternary.quantize_i8(a->q + begin * a->k, (size_t)a->k, a->scale + begin,
	                                    a->sum == NULL ? NULL : a->sum + begin, a->x + begin * a->k, (size_t)a->k,
	                                    (size_t)(end - begin), (size_t)a->k);
}

static hyp_status check_rows(const hyp_tensor *x, const char *name) {
	if (!hypi_is_plain(x->dtype) || !hypi_is_float(x->dtype))
		return hypi_fail(HYP_ERR_TYPE, "argument %s: %s is no float type", name, hypi_dtypes[x->dtype].info.name);
	if (x->rank == 0) return hypi_fail(HYP_ERR_SHAPE, "argument %s: has no axis", name);
	return HYP_OK;
}

/* q, scale and sum are new; any of x's rows. */
static hyp_status absmax(const hyp_tensor *x, hyp_tensor *q, hyp_tensor *scale, int32_t *sum) {
	if (x->elements == 0) return x->shape[x->rank - 1] == 0 ? hyp_tensor_fill(scale, hyp_int(0)) : HYP_OK;
	const hyp_tensor *dense;
	HYPI_TRY(hypi_as(x, HYP_F32, &dense));
	struct absmax a = {.sum = sum, .k = x->shape[x->rank - 1]};
	char *px, *pq, *ps;
	hyp_status status = hypi_pin(dense, "x", &px);
	if (status == HYP_OK) {
		status = hypi_pin(q, "q", &pq);
		if (status == HYP_OK) {
			status = hypi_pin(scale, "scale", &ps);
			if (status == HYP_OK) {
				a.x = (const float *)(void *)px;
				a.q = (int8_t *)pq;
				a.scale = (float *)(void *)ps;
				hypi_parallel(x->elements / a.k, (1 << 14) / a.k + 1, absmax_rows, &a);
				hypi_unpin(scale);
			}
			hypi_unpin(q);
		}
		hypi_unpin(dense);
	}
	hyp_tensor_release((hyp_tensor *)(uintptr_t)dense);
	if (status == HYP_OK && hypi_load_relaxed(&a.not_finite))
		return hypi_fail(HYP_ERR_INVALID, "argument x: has a NaN or an infinity (in F32)");
	return status;
}

hyp_status hyp_tensor_quantize_absmax(const hyp_tensor *x, hyp_tensor **ret_q, hyp_tensor **ret_scale) {
	HYPI_CHECK_TENSOR(x);
	HYPI_CHECK_RET(ret_q);
	HYPI_CHECK_RET(ret_scale);
	HYPI_TRY(check_rows(x, "x"));
	uint64_t begun = hypi_profile_start();
	hyp_tensor *q, *scale = NULL;
	HYPI_TRY(hypi_tensor_new(HYP_I8, x->rank, x->shape, &q));
	hyp_status status = hypi_tensor_new(HYP_F32, x->rank - 1, x->shape, &scale);
	if (status == HYP_OK) status = absmax(x, q, scale, NULL);
	if (status == HYP_OK) {
		HYPI_PROFILE(quantize, begun, 3 * x->elements, x->elements * (1 + hypi_bytes_of(x->dtype)));
		*ret_q = q;
		*ret_scale = scale;
		return HYP_OK;
	}
	hyp_tensor_release(q);
	hyp_tensor_release(scale);
	return status;
}

hyp_status hyp_tensor_dequantize_absmax(const hyp_tensor *q, const hyp_tensor *scale, hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(q);
	HYPI_CHECK_TENSOR(scale);
	HYPI_CHECK_RET(ret_tensor);
	if (q->dtype != HYP_I8)
		return hypi_fail(HYP_ERR_TYPE, "argument q: is %s, not i8", hypi_dtypes[q->dtype].info.name);
	if (scale->dtype != HYP_F32)
		return hypi_fail(HYP_ERR_TYPE, "argument scale: is %s, not f32", hypi_dtypes[scale->dtype].info.name);
	if (q->rank == 0 || scale->rank != q->rank - 1 ||
	    memcmp(scale->shape, q->shape, (size_t)scale->rank * sizeof *q->shape) != 0)
		return hypi_fail(HYP_ERR_SHAPE, "argument scale: its shape is not that of q without the last axis");
	hyp_tensor *wide, *column, *out = NULL;
	HYPI_TRY(hyp_tensor_unsqueeze(scale, -1, &column));
	hyp_status status = hyp_tensor_cast(q, HYP_F32, &wide);
	if (status == HYP_OK) {
		status = hyp_tensor_binary(HYP_OP_MUL, wide, column, &out);
		hyp_tensor_release(wide);
	}
	hyp_tensor_release(column);
	if (status == HYP_OK) *ret_tensor = out;
	return status;
}

/* ---- absmean ---- */

struct absmean {
	const float *w;
	char *out;
	int64_t k, row_bytes;
	bool five;
	float inverse;
	double *sums; /* a row each */
};

static void abs_sums(void *context, int64_t begin, int64_t end) {
	struct absmean *a = context;
	for (int64_t i = begin; i < end; i++)
		a->sums[i] = hypi_kernels()->ternary.abs_sum_f32(a->w + i * a->k, (size_t)a->k);
}

#define STEP 1020 /* a multiple of 4 and 5 */
static void quantize_rows(void *context, int64_t begin, int64_t end) {
	const struct absmean *a = context;
	const struct hypi_ternary *t = &hypi_kernels()->ternary;
	uint8_t t2[STEP / 4];
	for (int64_t i = begin; i < end; i++) {
		uint8_t *dst = (uint8_t *)a->out + i * a->row_bytes;
		const float *w = a->w + i * a->k;
		if (!a->five) {
			t->quantize_t2(dst, w, a->inverse, (size_t)a->k);
			continue;
		}
		for (int64_t at = 0; at < a->k; at += STEP) {
			size_t n = (size_t)(a->k - at < STEP ? a->k - at : STEP);
			t->quantize_t2(t2, w + at, a->inverse, n);
			t->t5_from_t2(dst + at / 5, t2, n);
		}
	}
}

hyp_status hyp_tensor_quantize_absmean(const hyp_tensor *w, hyp_dtype dtype, hyp_tensor **ret_q, double *ret_scale) {
	HYPI_CHECK_TENSOR(w);
	HYPI_CHECK_RET(ret_q);
	HYPI_CHECK_RET(ret_scale);
	HYPI_TRY(check_rows(w, "w"));
	if (dtype != HYP_BITNET158 && dtype != HYP_BITNET158_5)
		return hypi_fail(HYP_ERR_TYPE, "argument dtype: %d is no ternary type", (int)dtype);
	uint64_t begun = hypi_profile_start();
	hyp_tensor *q;
	const hyp_tensor *dense = NULL;
	HYPI_TRY(hypi_tensor_new(dtype, w->rank, w->shape, &q));
	double scale = 1e-5;
	struct absmean a = {.k = w->shape[w->rank - 1], .five = dtype == HYP_BITNET158_5};
	hyp_status status = hypi_as(w, HYP_F32, &dense);
	if (status == HYP_OK && w->elements > 0) {
		int64_t rows = w->elements / a.k, grain = (1 << 14) / a.k + 1;
		char *pw;
		a.row_bytes = hypi_row_bytes((int)dtype, a.k);
		a.sums = hyp_malloc((size_t)rows * sizeof *a.sums);
		if (a.sums == NULL) status = hypi_fail(HYP_ERR_NO_MEMORY, "no memory for %lld sums", (long long)rows);
		if (status == HYP_OK && (status = hypi_pin(dense, "w", &pw)) == HYP_OK) {
			a.w = (const float *)(void *)pw;
			if ((status = hypi_pin(q, "q", &a.out)) == HYP_OK) {
				hypi_parallel(rows, grain, abs_sums, &a);
				double mean = hypi_kernels()->reduce.sum_f64(a.sums, (size_t)rows) / (double)w->elements;
				if (!isfinite(mean)) status = hypi_fail(HYP_ERR_INVALID, "argument w: has a NaN or an infinity");
				if (mean > scale) scale = mean;
				a.inverse = (float)(1 / scale);
				if (status == HYP_OK) hypi_parallel(rows, grain, quantize_rows, &a);
				hypi_unpin(q);
			}
			hypi_unpin(dense);
		}
		hyp_free(a.sums);
	}
	hyp_tensor_release((hyp_tensor *)(uintptr_t)dense);
	if (status != HYP_OK) {
		hyp_tensor_release(q);
		return status;
	}
	HYPI_PROFILE(quantize, begun, 3 * w->elements,
	             w->elements * hypi_bytes_of(w->dtype) + a.row_bytes * (a.k == 0 ? 0 : w->elements / a.k));
	*ret_q = q;
	*ret_scale = scale;
	return HYP_OK;
}

hyp_status hyp_tensor_dequantize_absmean(const hyp_tensor *q, double scale, hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(q);
	HYPI_CHECK_RET(ret_tensor);
	if (hypi_dtypes[q->dtype].info.kind != HYP_DTYPE_TERNARY)
		return hypi_fail(HYP_ERR_TYPE, "argument q: %s is no ternary type", hypi_dtypes[q->dtype].info.name);
	hyp_tensor *wide;
	HYPI_TRY(hyp_tensor_cast(q, HYP_F32, &wide));
	hyp_status status = hyp_tensor_binary_scalar_into(HYP_OP_MUL, wide, hyp_float(scale), false, wide);
	if (status == HYP_OK) *ret_tensor = wide;
	else hyp_tensor_release(wide);
	return status;
}

/* ---- the product ---- */

enum layout { T2, T5, P16 };

struct shared_job {
	struct hypi_ternary_job job;
	enum layout layout;
};

static void run_rows(void *context, int64_t begin, int64_t end) {
	const struct shared_job *s = context;
	const struct hypi_ternary *t = &hypi_kernels()->ternary;
	size_t first = (size_t)begin * 16, last = (size_t)end * 16 < s->job.m ? (size_t)end * 16 : s->job.m;
	(s->layout == T2 ? t->matmul_t2 : s->layout == T5 ? t->matmul_t5 : t->matmul_p16)(&s->job, first, last);
}

static hyp_status check_activations(const hyp_tensor *x, const hyp_tensor *x_scale, int64_t k) {
	bool real = hypi_is_plain(x->dtype) && hypi_is_float(x->dtype);
	if (!real && x->dtype != HYP_I8)
		return hypi_fail(HYP_ERR_TYPE, "argument x: is %s, not i8 or a float type", hypi_dtypes[x->dtype].info.name);
	if (x->rank == 0 || x->shape[x->rank - 1] != k)
		return hypi_fail(HYP_ERR_SHAPE, "argument x: its last axis is not the weights' %lld", (long long)k);
	if (k >= MAX_K) return hypi_fail(HYP_ERR_UNSUPPORTED, "argument w: rows of %d or more", MAX_K);
	if (x_scale == NULL) return HYP_OK;
	HYPI_CHECK_TENSOR(x_scale);
	if (real) return hypi_fail(HYP_ERR_INVALID, "argument x_scale: x is not quantised");
	if (x_scale->dtype != HYP_F32)
		return hypi_fail(HYP_ERR_TYPE, "argument x_scale: is %s, not f32", hypi_dtypes[x_scale->dtype].info.name);
	if (x_scale->rank != x->rank - 1 || memcmp(x_scale->shape, x->shape, (size_t)x_scale->rank * sizeof *x->shape) != 0)
		return hypi_fail(HYP_ERR_SHAPE, "argument x_scale: its shape is not that of x without the last axis");
	return HYP_OK;
}

/* x [batch, k] I8 row-major, sums made here unless given. */
static hyp_status run_product(const hyp_tensor *x, const hyp_tensor *scale, const int32_t *given_sums,
                              const hyp_tensor *w, enum layout layout, int64_t m, int64_t k, double w_scale,
                              hyp_tensor *out) {
	int64_t batch = k == 0 ? out->elements / m : x->elements / k;
	int32_t *sums = NULL;
	char *px, *pw, *po, *ps = NULL;
	HYPI_TRY(hypi_pin(x, "x", &px));
	hyp_status status = HYP_OK;
	if (given_sums == NULL) {
		sums = hyp_malloc((size_t)batch * sizeof *sums);
		if (sums == NULL) status = hypi_fail(HYP_ERR_NO_MEMORY, "no memory for %lld sums", (long long)batch);
		else
			for (int64_t i = 0; i < batch; i++)
				sums[i] = (int32_t)hypi_kernels()->reduce.sum_i8((const int8_t *)px + i * k, (size_t)k);
	}
	if (status == HYP_OK && (status = hypi_pin(w, "w", &pw)) == HYP_OK) {
		if ((status = hypi_pin(out, "out", &po)) == HYP_OK) {
			if (scale != NULL) status = hypi_pin(scale, "x_scale", &ps);
			if (status == HYP_OK) {
				struct shared_job s = {.layout = layout};
				s.job.w = (const uint8_t *)pw;
				s.job.w_stride_bytes = layout == P16 ? 0 : (size_t)hypi_offset_bytes(w->dtype, w->strides[0]);
				s.job.m = (size_t)m;
				s.job.k = (size_t)k;
				s.job.batch = (size_t)batch;
				s.job.x = (const int8_t *)px;
				s.job.x_stride = (size_t)k;
				s.job.x_sum = given_sums != NULL ? given_sums : sums;
				s.job.x_scale = (const float *)(void *)ps;
				s.job.w_scale = (float)w_scale;
				s.job.out_stride = (size_t)m;
				if (scale != NULL) s.job.out_f32 = (float *)(void *)po;
				else s.job.out_i32 = (int32_t *)(void *)po;
				int64_t panel_work = 16 * k * batch;
				hypi_parallel((m + 15) / 16, (1 << 19) / (panel_work + 1) + 1, run_rows, &s);
				if (scale != NULL) hypi_unpin(scale);
			}
			hypi_unpin(out);
		}
		hypi_unpin(w);
	}
	hyp_free(sums);
	hypi_unpin(x);
	return status;
}

static hyp_status product(const hyp_tensor *x, const hyp_tensor *x_scale, const hyp_tensor *w, enum layout layout,
                          int64_t m, int64_t k, double w_scale, hyp_tensor **ret_tensor) {
	uint64_t begun = hypi_profile_start();
	HYPI_TRY(check_activations(x, x_scale, k));
	int64_t shape[HYP_TENSOR_MAX_RANK];
	memcpy(shape, x->shape, (size_t)x->rank * sizeof *shape);
	shape[x->rank - 1] = m;
	bool real = hypi_is_float(x->dtype), floats = real || x_scale != NULL;
	hyp_tensor *out, *q = NULL, *scale = NULL;
	const hyp_tensor *rows = NULL, *scales = NULL;
	int32_t *sums = NULL;
	HYPI_TRY(hypi_tensor_new(floats ? HYP_F32 : HYP_I32, x->rank, shape, &out));
	hyp_status status = HYP_OK;
	if (real) {
		int64_t batch = k == 0 ? 0 : x->elements / k;
		sums = hyp_malloc((size_t)(batch + 1) * sizeof *sums);
		if (sums == NULL) status = hypi_fail(HYP_ERR_NO_MEMORY, "no memory for %lld sums", (long long)batch);
		if (status == HYP_OK) status = hypi_tensor_new(HYP_I8, x->rank, x->shape, &q);
		if (status == HYP_OK) status = hypi_tensor_new(HYP_F32, x->rank - 1, x->shape, &scale);
		if (status == HYP_OK) status = absmax(x, q, scale, sums);
		if (status == HYP_OK) status = hypi_as(q, HYP_I8, &rows);
		if (status == HYP_OK) status = hypi_as(scale, HYP_F32, &scales);
	} else {
		status = hypi_as(x, HYP_I8, &rows);
		if (status == HYP_OK && x_scale != NULL) status = hypi_as(x_scale, HYP_F32, &scales);
	}
	if (status == HYP_OK && out->elements > 0)
		status =
			k == 0 ? hyp_tensor_fill(out, hyp_int(0)) : run_product(rows, scales, sums, w, layout, m, k, w_scale, out);
	if (status == HYP_OK)
		HYPI_PROFILE(matmul_ternary, begun, 2 * k * out->elements,
		             x->elements * hypi_bytes_of(x->dtype) + m * ((k + 3) / 4) + out->elements * 4);
	hyp_tensor_release((hyp_tensor *)(uintptr_t)rows);
	hyp_tensor_release((hyp_tensor *)(uintptr_t)scales);
	hyp_tensor_release(q);
	hyp_tensor_release(scale);
	hyp_free(sums);
	if (status == HYP_OK) *ret_tensor = out;
	else hyp_tensor_release(out);
	return status;
}

static hyp_status check_weights(const hyp_tensor *w) {
	if (w->dtype != HYP_BITNET158 && w->dtype != HYP_BITNET158_5)
		return hypi_fail(HYP_ERR_TYPE, "argument w: %s is no ternary type", hypi_dtypes[w->dtype].info.name);
	if (w->rank != 2) return hypi_fail(HYP_ERR_SHAPE, "argument w: has rank %d, not 2", w->rank);
	if (w->elements > 0 && w->shape[0] > 1 && w->strides[0] <= 0)
		return hypi_fail(HYP_ERR_UNSUPPORTED, "argument w: its rows do not step forward in memory");
	return HYP_OK;
}

hyp_status hyp_tensor_matmul_ternary(const hyp_tensor *x, const hyp_tensor *x_scale, const hyp_tensor *w,
                                     double w_scale, hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(x);
	HYPI_CHECK_TENSOR(w);
	HYPI_CHECK_RET(ret_tensor);
	HYPI_TRY(check_weights(w));
	return product(x, x_scale, w, w->dtype == HYP_BITNET158 ? T2 : T5, w->shape[0], w->shape[1], w_scale, ret_tensor);
}

/* ---- packed for speed ---- */

/* The packed tensor is U8 [panels, bytes of a panel]; the caller keeps m, and k is x's. */
hyp_status hyp_tensor_pack_ternary(const hyp_tensor *w, hyp_tensor **ret_packed) {
	HYPI_CHECK_TENSOR(w);
	HYPI_CHECK_RET(ret_packed);
	HYPI_TRY(check_weights(w));
	int64_t m = w->shape[0], k = w->shape[1];
	if (k >= MAX_K) return hypi_fail(HYP_ERR_UNSUPPORTED, "argument w: rows of %d or more", MAX_K);
	hyp_tensor *t2, *packed;
	if (w->dtype == HYP_BITNET158) t2 = hyp_tensor_retain((hyp_tensor *)(uintptr_t)w);
	else HYPI_TRY(hyp_tensor_cast(w, HYP_BITNET158, &t2));
	int64_t shape[2] = {(m + 15) / 16, (int64_t)HYPI_P16_PANEL_BYTES(k)};
	hyp_status status = hypi_tensor_new(HYP_U8, 2, shape, &packed);
	if (status == HYP_OK && packed->elements > 0) {
		char *from, *to;
		status = hypi_pin(t2, "w", &from);
		if (status == HYP_OK) {
			status = hypi_pin(packed, "packed", &to);
			if (status == HYP_OK) {
				hypi_kernels()->ternary.pack_p16((uint8_t *)to, (const uint8_t *)from,
				                                 (size_t)hypi_offset_bytes(t2->dtype, t2->strides[0]), (size_t)m,
				                                 (size_t)k, 0, (size_t)m);
				hypi_unpin(packed);
			}
			hypi_unpin(t2);
		}
		if (status != HYP_OK) hyp_tensor_release(packed);
	}
	hyp_tensor_release(t2);
	if (status == HYP_OK) *ret_packed = packed;
	return status;
}

hyp_status hyp_tensor_matmul_ternary_packed(const hyp_tensor *x, const hyp_tensor *x_scale, const hyp_tensor *packed,
                                            int64_t m, double w_scale, hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(x);
	HYPI_CHECK_TENSOR(packed);
	HYPI_CHECK_RET(ret_tensor);
	if (x->rank == 0) return hypi_fail(HYP_ERR_SHAPE, "argument x: has no axis");
	int64_t k = x->shape[x->rank - 1];
	if (packed->dtype != HYP_U8 || packed->rank != 2 || !packed->contiguous)
		return hypi_fail(HYP_ERR_TYPE, "argument packed: is not what hyp_tensor_pack_ternary made");
	if (m < 0 || m > INT64_MAX / 64 || packed->shape[0] != (m + 15) / 16 ||
	    packed->shape[1] != (int64_t)HYPI_P16_PANEL_BYTES(k))
		return hypi_fail(HYP_ERR_SHAPE, "argument packed: does not hold %lld rows of %lld weights", (long long)m,
		                 (long long)k);
	return product(x, x_scale, packed, P16, m, k, w_scale, ret_tensor);
}
