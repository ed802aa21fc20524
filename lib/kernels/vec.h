/*
 * kernels/vec.h: one vocabulary over the vector registers of each set, so that a kernel is written once.
 *
 *   vf  VF_LANES floats      vd  VD_LANES doubles      vi  VF_LANES int32 beside a vf      vm, vdm  lane masks
 *
 * The float kernels (*_simd.c) include this and are compiled once a set, with that set's flags. The names mean:
 *   load, store          any alignment       load_n, store_n   only the first n lanes, n <= lanes; the rest load as 0
 *   stream               a store past the caches; the address is aligned to the vector
 *   fma(a, b, c)         a * b + c           fnma              c - a * b
 *   min, max             give NaN if either operand is NaN
 *   min_any, max_any     the cheap ones: which operand a NaN yields is the processor's affair
 *   clamp(x, lo, hi)     keeps a NaN in x    round             to the nearest even integer
 *   scale(x, n)          x * 2^n for integral n with |n| <= 252, rounded once
 * Everything here is a one-line wrapper; anything longer is in the file of its set.
 */
#ifndef HYPI_KERNELS_VEC_H
#define HYPI_KERNELS_VEC_H

#include <string.h>

#include "base/compiler.h"
#include "kernels/fill.h"

#ifndef HYPI_VNNI
#define HYPI_VNNI 0
#endif
#ifndef HYPI_DOTPROD
#define HYPI_DOTPROD 0
#endif
#ifndef HYPI_I8MM
#define HYPI_I8MM 0
#endif

#define HYP_UNROLL _Pragma("GCC unroll 32")

#if HYP_CPU_X86_64 && HYPI_VEC_BITS == 512
#include "kernels/vec_avx512.h"
#elif HYP_CPU_X86_64 && HYPI_VEC_BITS == 256
#include "kernels/vec_avx2.h"
#elif HYP_CPU_ARM64
#include "kernels/vec_neon.h"
#endif

#endif
