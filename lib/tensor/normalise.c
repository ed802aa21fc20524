/*
 * tensor/normalise.c: softmax and the root-mean-square norm along the last axis, one kernel call a row.
 */
#include "tensor/compute.h"
#include "tensor/parallel.h"

struct rows {
	const float *in, *weight;
	float *out;
	int64_t length;
	float eps;
};

static void softmax_rows(void *context, int64_t begin, int64_t end) {
	const struct rows *r = context;
	for (int64_t i = begin; i < end; i++)
		hypi_kernels()->reduce.softmax_f32(r->out + i * r->length, r->in + i * r->length, (size_t)r->length);
}

static void norm_rows(void *context, int64_t begin, int64_t end) {
	const struct rows *r = context;
	for (int64_t i = begin; i < end; i++)
		hypi_kernels()->reduce.rms_norm_f32(r->out + i * r->length, r->in + i * r->length, r->weight, (size_t)r->length,
		                                    r->eps);
}

static hyp_status run(const hyp_tensor *in, const hyp_tensor *weight, hyp_tensor *out, struct rows *r,
                      hypi_range_fn *fn) {
	if (in->elements == 0) return HYP_OK;
	char *data_in, *data_out, *data_weight = NULL;
	HYPI_TRY(hypi_pin(in, "a", &data_in));
	hyp_status status = hypi_pin(out, "out", &data_out);
	if (status == HYP_OK) {
		if (weight != NULL) status = hypi_pin(weight, "weight", &data_weight);
		if (status == HYP_OK) {
			r->in = (const float *)(void *)data_in;
			r->out = (float *)(void *)data_out;
			r->weight = (const float *)(void *)data_weight;
			hypi_parallel(in->elements / r->length, (1 << 14) / r->length + 1, fn, r);
			if (weight != NULL) hypi_unpin(weight);
		}
		hypi_unpin(out);
	}
	hypi_unpin(in);
	return status;
}

static hyp_status check(const hyp_tensor *a) {
	if (!hypi_is_plain(a->dtype) || !hypi_is_float(a->dtype))
		return hypi_fail(HYP_ERR_TYPE, "argument a: %s is no float type", hypi_dtypes[a->dtype].info.name);
	if (a->rank == 0) return hypi_fail(HYP_ERR_SHAPE, "argument a: has no axis");
	return HYP_OK;
}

/* F64 is computed by the tensor operations themselves: exp(a - max) / sum. */
static hyp_status softmax_f64(const hyp_tensor *a, hyp_tensor **ret_tensor) {
	hyp_tensor *greatest = NULL, *shifted = NULL, *sum = NULL;
	int axis = -1;
	hyp_reduce_options keep = {sizeof keep, true, 0};
	if (a->elements == 0) return hyp_tensor_clone(a, ret_tensor);
	hyp_status status = hyp_tensor_reduce(HYP_OP_AMAX, a, 1, &axis, &keep, &greatest);
	if (status == HYP_OK) status = hyp_tensor_binary(HYP_OP_SUB, a, greatest, &shifted);
	if (status == HYP_OK) status = hyp_tensor_unary_into(HYP_OP_EXP, shifted, shifted);
	if (status == HYP_OK) status = hyp_tensor_reduce(HYP_OP_SUM, shifted, 1, &axis, &keep, &sum);
	if (status == HYP_OK) status = hyp_tensor_binary_into(HYP_OP_DIV, shifted, sum, shifted);
	hyp_tensor_release(greatest);
	hyp_tensor_release(sum);
	if (status == HYP_OK) *ret_tensor = shifted;
	else hyp_tensor_release(shifted);
	return status;
}

static hyp_status by_rows(const hyp_tensor *a, const hyp_tensor *weight, struct rows *r, hypi_range_fn *fn,
                          hyp_tensor **ret_tensor) {
	const hyp_tensor *in, *w = NULL;
	hyp_tensor *out = NULL;
	HYPI_TRY(hypi_as(a, HYP_F32, &in));
	hyp_status status = weight == NULL ? HYP_OK : hypi_as(weight, HYP_F32, &w);
	r->length = a->shape[a->rank - 1];
	if (status == HYP_OK) status = hypi_tensor_new(HYP_F32, a->rank, a->shape, &out);
	if (status == HYP_OK) status = run(in, w, out, r, fn);
	if (status == HYP_OK && a->dtype != HYP_F32) status = hyp_tensor_cast(out, (hyp_dtype)a->dtype, ret_tensor);
	else if (status == HYP_OK) *ret_tensor = hyp_tensor_retain(out);
	hyp_tensor_release(out);
	hyp_tensor_release((hyp_tensor *)(uintptr_t)w);
	hyp_tensor_release((hyp_tensor *)(uintptr_t)in);
	return status;
}

hyp_status hyp_tensor_softmax(const hyp_tensor *a, hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(a);
	HYPI_CHECK_RET(ret_tensor);
	HYPI_TRY(check(a));
	uint64_t begun = hypi_profile_start();
	struct rows r = {0};
	hyp_status status =
		a->dtype == HYP_F64 ? softmax_f64(a, ret_tensor) : by_rows(a, NULL, &r, softmax_rows, ret_tensor);
	if (status == HYP_OK) HYPI_PROFILE(softmax, begun, 5 * a->elements, 2 * a->elements * hypi_bytes_of(a->dtype));
	return status;
}

static hyp_status norm_f64(const hyp_tensor *a, const hyp_tensor *weight, double eps, hyp_tensor **ret_tensor) {
	hyp_tensor *square = NULL, *mean = NULL, *out = NULL;
	int axis = -1;
	hyp_reduce_options keep = {sizeof keep, true, 0};
	hyp_status status = hyp_tensor_unary(HYP_OP_SQUARE, a, &square);
	if (status == HYP_OK) status = hyp_tensor_reduce(HYP_OP_MEAN, square, 1, &axis, &keep, &mean);
	if (status == HYP_OK) status = hyp_tensor_binary_scalar_into(HYP_OP_ADD, mean, hyp_float(eps), false, mean);
	if (status == HYP_OK) status = hyp_tensor_unary_into(HYP_OP_SQRT, mean, mean);
	if (status == HYP_OK) status = hyp_tensor_binary(HYP_OP_DIV, a, mean, &out);
	if (status == HYP_OK && weight != NULL) status = hyp_tensor_binary_into(HYP_OP_MUL, out, weight, out);
	hyp_tensor_release(square);
	hyp_tensor_release(mean);
	if (status == HYP_OK) *ret_tensor = out;
	else hyp_tensor_release(out);
	return status;
}

hyp_status hyp_tensor_rms_norm(const hyp_tensor *a, const hyp_tensor *weight, double eps, hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(a);
	HYPI_CHECK_RET(ret_tensor);
	HYPI_TRY(check(a));
	if (weight != NULL) {
		HYPI_CHECK_TENSOR(weight);
		if (weight->rank != 1 || weight->shape[0] != a->shape[a->rank - 1])
			return hypi_fail(HYP_ERR_SHAPE, "argument weight: is not as long as the last axis, %lld",
			                 (long long)a->shape[a->rank - 1]);
	}
	if (!(eps >= 0)) return hypi_fail(HYP_ERR_INVALID, "argument eps: %g", eps);
	uint64_t begun = hypi_profile_start();
	struct rows r = {.eps = (float)eps};
	hyp_status status =
		a->dtype == HYP_F64 ? norm_f64(a, weight, eps, ret_tensor) : by_rows(a, weight, &r, norm_rows, ret_tensor);
	if (status == HYP_OK) HYPI_PROFILE(rms_norm, begun, 4 * a->elements, 2 * a->elements * hypi_bytes_of(a->dtype));
	return status;
}
