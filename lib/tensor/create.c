/*
 * tensor/create.c: tensors with something in them.
 *
 * Random numbers are a function of the seed and the element's index alone (a counter through the finaliser of
 * SplitMix64; Steele, Lea and Flood, 2014), so that threads and order do not show.
 */
#include "tensor/compute.h"
#include "tensor/parallel.h"

#include <math.h>

#define GRAIN (1 << 14)

hyp_status hyp_tensor_full(hyp_dtype dtype, int rank, const int64_t *shape, hyp_scalar value, hyp_tensor **ret_tensor) {
	hyp_tensor *t;
	HYPI_CHECK_RET(ret_tensor);
	HYPI_TRY(hypi_tensor_new(dtype, rank, shape, &t));
	hyp_status status = hyp_tensor_fill(t, value);
	if (status != HYP_OK) hyp_tensor_release(t);
	else *ret_tensor = t;
	return status;
}

hyp_status hyp_tensor_zeros(hyp_dtype dtype, int rank, const int64_t *shape, hyp_tensor **ret_tensor) {
	return hyp_tensor_full(dtype, rank, shape, hyp_int(0), ret_tensor);
}

hyp_status hyp_tensor_ones(hyp_dtype dtype, int rank, const int64_t *shape, hyp_tensor **ret_tensor) {
	return hyp_tensor_full(dtype, rank, shape, hyp_int(1), ret_tensor);
}

/* ---- by index ---- */

typedef void element_fn(void *context, double *values, int64_t first, int64_t n);
struct generated {
	char *data;
	int dtype;
	element_fn *fn;
	void *context;
};

static void generate_range(void *context, int64_t begin, int64_t end) {
	struct generated *g = context;
	double values[HYPI_BLOCK];
	for (int64_t at = begin; at < end; at += HYPI_BLOCK) {
		int64_t n = end - at < HYPI_BLOCK ? end - at : HYPI_BLOCK;
		g->fn(g->context, values, at, n);
		hypi_store(g->data + at * hypi_bytes_of(g->dtype), g->dtype, hypi_bytes_of(g->dtype), values, HYPI_F64, n);
	}
}

static hyp_status generate(hyp_dtype dtype, int rank, const int64_t *shape, element_fn *fn, void *context,
                           hyp_tensor **ret_tensor) {
	HYPI_CHECK_RET(ret_tensor);
	if (!hypi_dtype_valid((int)dtype)) return hypi_fail(HYP_ERR_TYPE, "argument dtype: %d is no type", (int)dtype);
	hyp_dtype plain = hypi_dtype_plain(dtype);
	hyp_tensor *t;
	HYPI_TRY(hypi_tensor_new(plain, rank, shape, &t));
	struct generated g = {NULL, (int)plain, fn, context};
	hyp_status status = hypi_pin(t, "tensor", &g.data);
	if (status == HYP_OK) {
		hypi_parallel(t->elements, GRAIN, generate_range, &g);
		hypi_unpin(t);
		if (plain != dtype) {
			hyp_tensor *packed;
			status = hyp_tensor_cast(t, dtype, &packed);
			hyp_tensor_release(t);
			if (status == HYP_OK) *ret_tensor = packed;
			return status;
		}
	}
	if (status != HYP_OK) hyp_tensor_release(t);
	else *ret_tensor = t;
	return status;
}

struct progression {
	double start, step;
};

static void arange_values(void *context, double *values, int64_t first, int64_t n) {
	const struct progression *p = context;
	for (int64_t i = 0; i < n; i++) values[i] = p->start + (double)(first + i) * p->step;
}

hyp_status hyp_tensor_arange(hyp_dtype dtype, double start, double stop, double step, hyp_tensor **ret_tensor) {
	if (!(isfinite(start) && isfinite(stop) && isfinite(step)) || step == 0)
		return hypi_fail(HYP_ERR_INVALID, "arguments start, stop and step: not finite, or a step of 0");
	double count = ceil((stop - start) / step);
	if (!(count < 9.0e15)) return hypi_fail(HYP_ERR_OVERFLOW, "arguments start, stop and step: %g elements", count);
	int64_t n = count > 0 ? (int64_t)count : 0;
	struct progression p = {start, step};
	return generate(dtype, 1, &n, arange_values, &p, ret_tensor);
}

struct diagonal {
	int64_t columns, diagonal;
};

static void eye_values(void *context, double *values, int64_t first, int64_t n) {
	const struct diagonal *d = context;
	for (int64_t i = 0; i < n; i++)
		values[i] = (first + i) % d->columns - (first + i) / d->columns == d->diagonal ? 1 : 0;
}

hyp_status hyp_tensor_eye(hyp_dtype dtype, int64_t rows, int64_t columns, int64_t diagonal, hyp_tensor **ret_tensor) {
	int64_t shape[2] = {rows, columns};
	struct diagonal d = {columns, diagonal};
	return generate(dtype, 2, shape, eye_values, &d, ret_tensor);
}

/* ---- random ---- */

struct random {
	uint64_t seed;
	double low, range;
	bool integers;
	int bits; /* of the type's significand, so that storing does not round 1 - 2^-53 up to 1 */
};

static uint64_t bits_at(uint64_t seed, uint64_t index) {
	uint64_t z = seed * 0xd1342543de82ef95u + (index + 1) * 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static double unit_at(uint64_t seed, uint64_t index, int bits) {
	return ldexp((double)(bits_at(seed, index) >> (64 - bits)), -bits);
}

static int significand_bits(hyp_dtype dtype) {
	return dtype == HYP_F32 ? 24 : dtype == HYP_F16 ? 11 : dtype == HYP_BF16 ? 8 : 53;
}

static void uniform_values(void *context, double *values, int64_t first, int64_t n) {
	const struct random *r = context;
	for (int64_t i = 0; i < n; i++) {
		double x = r->low + r->range * unit_at(r->seed, (uint64_t)(first + i), r->bits);
		values[i] = r->integers ? floor(x) : x;
	}
}

hyp_status hyp_tensor_random(hyp_dtype dtype, int rank, const int64_t *shape, uint64_t seed, double low, double high,
                             hyp_tensor **ret_tensor) {
	if (!(low <= high) || !isfinite(high - low))
		return hypi_fail(HYP_ERR_INVALID, "arguments low and high: %g and %g", low, high);
	if (!hypi_dtype_valid((int)dtype)) return hypi_fail(HYP_ERR_TYPE, "argument dtype: %d is no type", (int)dtype);
	struct random r = {seed, low, high - low, !hypi_is_float((int)hypi_dtype_plain(dtype)), significand_bits(dtype)};
	if (r.integers) {
		r.low = ceil(low);
		r.range = ceil(high) - r.low;
	}
	return generate(dtype, rank, shape, uniform_values, &r, ret_tensor);
}

static void normal_values(void *context, double *values, int64_t first, int64_t n) {
	const struct random *r = context;
	for (int64_t i = 0; i < n; i++) {
		uint64_t pair = (uint64_t)(first + i) & ~(uint64_t)1;
		double radius = sqrt(-2 * log(1 - unit_at(r->seed, pair, 53))),
			   angle = 6.283185307179586 * unit_at(r->seed, pair + 1, 53);
		values[i] = radius * ((first + i) & 1 ? sin(angle) : cos(angle));
	}
}

hyp_status hyp_tensor_random_normal(hyp_dtype dtype, int rank, const int64_t *shape, uint64_t seed,
                                    hyp_tensor **ret_tensor) {
	if (!hypi_dtype_valid((int)dtype) || !hypi_is_float((int)dtype))
		return hypi_fail(HYP_ERR_TYPE, "argument dtype: %d is no float type", (int)dtype);
	struct random r = {seed, 0, 1, false, 53};
	return generate(dtype, rank, shape, normal_values, &r, ret_tensor);
}

hyp_status hyp_tensor_from_data(hyp_dtype dtype, int rank, const int64_t *shape, const int64_t *strides,
                                const void *data, hyp_tensor **ret_tensor) {
	HYPI_CHECK_RET(ret_tensor);
	hyp_tensor *foreign;
	HYPI_TRY(hyp_tensor_from_foreign(dtype, rank, shape, strides, (void *)(uintptr_t)data, 0, SIZE_MAX, 0,
	                                 HYP_TENSOR_READ_ONLY, NULL, NULL, &foreign));
	hyp_status status = hyp_tensor_clone(foreign, ret_tensor);
	hyp_tensor_release(foreign);
	return status;
}
