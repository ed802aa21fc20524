/*
 * tensor/loops.h: the element-wise operations that have no kernel of their own, as plain loops over contiguous numbers.
 */
#ifndef HYPI_TENSOR_LOOPS_H
#define HYPI_TENSOR_LOOPS_H

#include "kernels/kernels.h"

#include <hypool/ops.h>

/* FLOOR_DIV of floats, MOD and POW, both operands vectors; NULL for anything else. Python's signs: a % b has b's. */
hypi_binary_fn *hypi_binary_loop(hyp_binary_op op, enum hypi_num num);
/* Of F32 and F64; SIGN and SQUARE also of integers; NULL where there is none. ISNAN, ISINF and ISFINITE write uint8. */
hypi_unary_fn *hypi_unary_loop(hyp_unary_op op, enum hypi_num num);

#endif
