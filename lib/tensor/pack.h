/*
 * tensor/pack.h: rows of packed types.
 */
#ifndef HYPI_TENSOR_PACK_H
#define HYPI_TENSOR_PACK_H

#include <hypool/tensor.h>

/* One row of n elements. Integers and ternary types unpack to int8 and pack from it, saturating (ternary: the sign, the
 * value clamped to -1..1); GGUF blocks unpack to float and pack from it. n of a GGUF row is a multiple of its block. */
void hypi_unpack_row(void *dst, int dtype, const void *src, int64_t n);
void hypi_pack_row(void *dst, int dtype, const void *src, int64_t n);

#endif
