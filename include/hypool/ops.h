/*
 * hypool/ops.h: what is computed on tensors.
 *
 * NumPy's rules: broadcasting, promotion (a scalar takes the tensor's type where it can), axes counted from the end
 * when negative, NaN. Packed operands are read as I8 (GGUF blocks as F32). Each operation exists as a new result and
 * "_into" a tensor of the right shape, whose type may be any plain one; the output may be an operand or overlap one.
 * Integer / gives F64; integer // and % by 0 give 0; a negative integer exponent is HYP_ERR_INVALID.
 */
#ifndef HYPOOL_OPS_H
#define HYPOOL_OPS_H

#include <hypool/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, enumerator) */
#define HYP_BINARY_OPS(X) \
	X(add, ADD) \
	X(sub, SUB) \
	X(mul, MUL) \
	X(div, DIV) \
	X(floor_div, FLOOR_DIV) \
	X(mod, MOD) \
	X(pow, POW) \
	X(min, MIN) \
	X(max, MAX) \
	X(eq, EQ) \
	X(ne, NE) \
	X(lt, LT) \
	X(le, LE) \
	X(gt, GT) \
	X(ge, GE) \
	X(and, AND) \
	X(or, OR) \
	X(xor, XOR)

/* gelu is 0.5 x erfc(-x / sqrt 2); round goes to even. Float functions take integers as NumPy does: I8, U8 and BOOL as
 * F16, I16 as F32, I32 and I64 as F64. */
#define HYP_UNARY_OPS(X) \
	X(neg, NEG) \
	X(abs, ABS) \
	X(relu, RELU) \
	X(sqrt, SQRT) \
	X(exp, EXP) \
	X(log, LOG) \
	X(tanh, TANH) \
	X(sigmoid, SIGMOID) \
	X(gelu, GELU) \
	X(gelu_tanh, GELU_TANH) \
	X(silu, SILU) \
	X(square, SQUARE) \
	X(sign, SIGN) \
	X(reciprocal, RECIPROCAL) \
	X(rsqrt, RSQRT) \
	X(floor, FLOOR) \
	X(ceil, CEIL) \
	X(round, ROUND) \
	X(trunc, TRUNC) \
	X(sin, SIN) \
	X(cos, COS) \
	X(tan, TAN) \
	X(exp2, EXP2) \
	X(expm1, EXPM1) \
	X(log2, LOG2) \
	X(log10, LOG10) \
	X(log1p, LOG1P) \
	X(erf, ERF) \
	X(isnan, ISNAN) \
	X(isinf, ISINF) \
	X(isfinite, ISFINITE) \
	X(not, NOT)

#define HYP_REDUCE_OPS(X) \
	X(sum, SUM) \
	X(mean, MEAN) \
	X(prod, PROD) \
	X(amin, AMIN) \
	X(amax, AMAX) \
	X(var, VAR) \
	X(std, STD) \
	X(argmin, ARGMIN) \
	X(argmax, ARGMAX) \
	X(any, ANY) \
	X(all, ALL) \
	X(norm, NORM)

typedef enum hyp_binary_op {
#define X(name, id) HYP_OP_##id,
	HYP_BINARY_OPS(X)
#undef X
		HYP_BINARY_OP_COUNT
} hyp_binary_op;

typedef enum hyp_unary_op {
#define X(name, id) HYP_OP_##id,
	HYP_UNARY_OPS(X)
#undef X
		HYP_UNARY_OP_COUNT
} hyp_unary_op;

typedef enum hyp_reduce_op {
#define X(name, id) HYP_OP_##id,
	HYP_REDUCE_OPS(X)
#undef X
		HYP_REDUCE_OP_COUNT
} hyp_reduce_op;

/* ---- element-wise ---------------------------------------------------------------------------------------------- */

HYP_API HYP_NODISCARD hyp_status hyp_tensor_binary(hyp_binary_op op, const hyp_tensor *a, const hyp_tensor *b,
                                                   hyp_tensor **ret_tensor);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_binary_into(hyp_binary_op op, const hyp_tensor *a, const hyp_tensor *b,
                                                        hyp_tensor *out);
/* a op scalar, or scalar op a if reversed. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_binary_scalar(hyp_binary_op op, const hyp_tensor *a, hyp_scalar scalar,
                                                          bool reversed, hyp_tensor **ret_tensor);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_binary_scalar_into(hyp_binary_op op, const hyp_tensor *a, hyp_scalar scalar,
                                                               bool reversed, hyp_tensor *out);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_unary(hyp_unary_op op, const hyp_tensor *a, hyp_tensor **ret_tensor);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_unary_into(hyp_unary_op op, const hyp_tensor *a, hyp_tensor *out);
/* condition (not 0) ? a : b, broadcast. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_where(const hyp_tensor *condition, const hyp_tensor *a, const hyp_tensor *b,
                                                  hyp_tensor **ret_tensor);

/* ---- reductions ------------------------------------------------------------------------------------------------ */

typedef struct hyp_reduce_options {
	size_t struct_bytes; /* sizeof(hyp_reduce_options) */
	bool keepdims;
	int ddof; /* of var and std: they divide by n - ddof */
} hyp_reduce_options;

/*
 * Over the axes named, or all if axes is NULL (argmin and argmax: one axis, or all, flattened). options may be NULL.
 * Results: sum and prod of integers I64; mean, var, std and norm (Euclidean) of integers F64; min and max the type
 * itself; indices I64; any and all BOOL. Nothing to reduce: sum 0, prod 1, any false, all true, norm 0, mean and var
 * NaN; amin, amax, argmin, argmax HYP_ERR_SHAPE. Error of float sums: the kernels' order-independent bound, 14 u
 * sum|x| along contiguous runs, whatever the number of threads; results do not depend on that number.
 */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_reduce(hyp_reduce_op op, const hyp_tensor *a, int axis_count,
                                                   const int *axes, const hyp_reduce_options *options,
                                                   hyp_tensor **ret_tensor);
/* Along the last axis, float types. weight (NULL: ones) has that axis' extent. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_softmax(const hyp_tensor *a, hyp_tensor **ret_tensor);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_rms_norm(const hyp_tensor *a, const hyp_tensor *weight, double eps,
                                                     hyp_tensor **ret_tensor);

/* ---- products -------------------------------------------------------------------------------------------------- */

/* NumPy's matmul: 1-D operands lend an axis, the rest broadcasts. Integers wrap, in I64 or their own type. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_matmul(const hyp_tensor *a, const hyp_tensor *b, hyp_tensor **ret_tensor);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_matmul_into(const hyp_tensor *a, const hyp_tensor *b, hyp_tensor *out);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_dot(const hyp_tensor *a, const hyp_tensor *b, hyp_tensor **ret_tensor);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_outer(const hyp_tensor *a, const hyp_tensor *b, hyp_tensor **ret_tensor);

/*
 * x [.., k] times ternary weights [m, k], transposed: [.., m]. w is BITNET158 or BITNET158_5, or packed (below).
 *   x I8, x_scale NULL:     exact sums, I32.
 *   x I8, x_scale F32 [..]: F32, sum * (x_scale * w_scale).
 *   x float:                each row is quantised by absmax first; F32.
 */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_matmul_ternary(const hyp_tensor *x, const hyp_tensor *x_scale,
                                                           const hyp_tensor *w, double w_scale,
                                                           hyp_tensor **ret_tensor);
/* The same weights in the order that the fastest kernel reads (16 rows interleaved): an opaque U8 tensor that
 * hyp_tensor_matmul_ternary_packed takes. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_pack_ternary(const hyp_tensor *w, hyp_tensor **ret_packed);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_matmul_ternary_packed(const hyp_tensor *x, const hyp_tensor *x_scale,
                                                                  const hyp_tensor *packed, int64_t m, double w_scale,
                                                                  hyp_tensor **ret_tensor);

/* ---- quantise -------------------------------------------------------------------------------------------------- */

/* Each row along the last axis: scale = max|x| / 127, q = round to even (x / scale): I8, and F32 scales without that
 * axis. NaN or infinity in x: HYP_ERR_INVALID. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_quantize_absmax(const hyp_tensor *x, hyp_tensor **ret_q,
                                                            hyp_tensor **ret_scale);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_dequantize_absmax(const hyp_tensor *q, const hyp_tensor *scale,
                                                              hyp_tensor **ret_tensor);
/* The whole tensor: scale = max(mean|w|, 1e-5), codes = round to even (w / scale) clamped to -1..1. dtype is BITNET158
 * or BITNET158_5. w is about codes * scale. */
HYP_API HYP_NODISCARD hyp_status hyp_tensor_quantize_absmean(const hyp_tensor *w, hyp_dtype dtype, hyp_tensor **ret_q,
                                                             double *ret_scale);
HYP_API HYP_NODISCARD hyp_status hyp_tensor_dequantize_absmean(const hyp_tensor *q, double scale,
                                                               hyp_tensor **ret_tensor);

/* ---- profile --------------------------------------------------------------------------------------------------- */

#define HYP_PROFILE_OPS(X) \
	X(binary) \
	X(unary) \
	X(where) \
	X(copy) \
	X(reduce) \
	X(softmax) \
	X(rms_norm) \
	X(matmul) \
	X(matmul_ternary) \
	X(quantize)

typedef enum hyp_profile_op {
#define X(name) HYP_PROFILE_##name,
	HYP_PROFILE_OPS(X)
#undef X
		HYP_PROFILE_COUNT
} hyp_profile_op;

typedef struct hyp_profile_row {
	const char *name;
	uint64_t calls, time_ns;
	uint64_t flops; /* arithmetic operations asked for: one an element, two a multiply-add */
	uint64_t bytes; /* elements read and written once, whatever the caches did */
} hyp_profile_row;

/* Off at start: an operation then pays one load. Counting is by relaxed atomics and covers all threads. */
HYP_API void hyp_profile_enable(bool on);
HYP_API void hyp_profile_reset(void);
HYP_API void hyp_profile_read(hyp_profile_op op, hyp_profile_row *ret_row);

/* This machine's own ceilings with the threads in use, measured on the first call (about 0.3 s). */
typedef struct hyp_profile_ceiling {
	double f32_flops_per_s;    /* fused multiply-adds, two each */
	double i8_ops_per_s;       /* the best exact int8 dot product */
	double read_bytes_per_s;   /* main memory */
	double stream_bytes_per_s; /* two streams read, one written */
} hyp_profile_ceiling;
HYP_API HYP_NODISCARD hyp_status hyp_profile_measure(hyp_profile_ceiling *ret_ceiling);

/* ---- by name: hyp_tensor_add(a, b, &c), hyp_tensor_exp(a, &b), hyp_tensor_sum(a, count, axes, options, &b) ---------- */

#define X(name, id) \
	HYP_NODISCARD static inline hyp_status hyp_tensor_##name(const hyp_tensor *a, const hyp_tensor *b, \
	                                                         hyp_tensor **ret_tensor) { \
		return hyp_tensor_binary(HYP_OP_##id, a, b, ret_tensor); \
	}
HYP_BINARY_OPS(X)
#undef X
#define X(name, id) \
	HYP_NODISCARD static inline hyp_status hyp_tensor_##name(const hyp_tensor *a, hyp_tensor **ret_tensor) { \
		return hyp_tensor_unary(HYP_OP_##id, a, ret_tensor); \
	}
HYP_UNARY_OPS(X)
#undef X
#define X(name, id) \
	HYP_NODISCARD static inline hyp_status hyp_tensor_##name(const hyp_tensor *a, int axis_count, const int *axes, \
	                                                         const hyp_reduce_options *options, \
	                                                         hyp_tensor **ret_tensor) { \
		return hyp_tensor_reduce(HYP_OP_##id, a, axis_count, axes, options, ret_tensor); \
	}
HYP_REDUCE_OPS(X)
#undef X

#ifdef __cplusplus
}
#endif

#endif
