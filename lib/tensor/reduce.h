/*
 * tensor/reduce.h: one reduction, and what has been taken into it so far: between reduce.c, which walks, and
 * reduce_block.c, which adds up.
 */
#ifndef HYPI_TENSOR_REDUCE_H
#define HYPI_TENSOR_REDUCE_H

#include "tensor/compute.h"

#include <hypool/ops.h>

struct hypi_accumulator {
	double f;      /* sum, product, least or greatest, mean of VAR */
	double square; /* of VAR: sum of squared deviations */
	int64_t i;     /* the same of integers; BOOL: 0 or 1 */
	int64_t count; /* elements so far */
	int64_t index; /* of ARG* */
};

struct hypi_reduction {
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
	struct hypi_iter reduced;         /* base not used */
	int64_t length;                   /* elements in one reduction */
	int64_t chunks;                   /* of one reduction */
	struct hypi_accumulator *partial; /* [outputs * chunks] if chunks > 1 */
	int column_axis;                  /* kept axis that lies densest */
	int64_t column_blocks;
	int64_t chunk_rows;    /* by_column_f32: rows of one task */
	void *column_partials; /* [chunks][columns] double sums, or float extremes */
};

/* The context of a walk that reduces. */
struct hypi_reduce_run {
	const struct hypi_reduction *r;
	struct hypi_accumulator *a;
};

HYP_INLINE bool hypi_reduce_is_boolean(hyp_reduce_op op) { return op == HYP_OP_ANY || op == HYP_OP_ALL; }
HYP_INLINE bool hypi_reduce_is_variance(hyp_reduce_op op) { return op == HYP_OP_VAR || op == HYP_OP_STD; }

/* Of no elements. */
struct hypi_accumulator hypi_reduce_start(const struct hypi_reduction *r);
/* NaN counts as less and as greater than anything: the first one wins. */
bool hypi_reduce_better(const struct hypi_reduction *r, double x, double than);
/* `from` comes after `to`. */
void hypi_reduce_join(const struct hypi_reduction *r, struct hypi_accumulator *to, const struct hypi_accumulator *from);
/* A hypi_run_fn over the reduced elements: the context is a struct hypi_reduce_run. */
void hypi_reduce_run(void *context, char *const *data, const int64_t *stride, int64_t n);
/* One element of the result. */
void hypi_reduce_finish(const struct hypi_reduction *r, const struct hypi_accumulator *a, char *out);

#endif
