/*
 * tensor/compute.h: from any type and stride to a kernel's contiguous numbers and back, block by block, and the walk
 * over several operands at once.
 *
 * An iterator holds up to HYPI_OPERANDS strided operands over one shape: axes of extent 1 dropped, sorted so that the
 * first operand (the output) is walked along memory, neighbours merged where every operand allows it. An elementwise
 * operation on row-major tensors is thus one run, whatever its rank. Learned from NumPy's nditer (Wiebe, 2010).
 */
#ifndef HYPI_TENSOR_COMPUTE_H
#define HYPI_TENSOR_COMPUTE_H

#include "kernels/kernels.h"
#include "tensor/internal.h"

#define HYPI_BLOCK 512 /* elements converted at once: a few blocks of 8 bytes an element stay in L1 */
#define HYPI_OPERANDS 4

struct hypi_iter {
	int rank, operands;
	int64_t total;
	int64_t shape[HYP_TENSOR_MAX_RANK];
	int64_t stride[HYPI_OPERANDS][HYP_TENSOR_MAX_RANK]; /* bytes */
	char *base[HYPI_OPERANDS];
};

/* One run of n elements, each operand at its own byte stride. */
typedef void hypi_run_fn(void *context, char *const *data, const int64_t *stride, int64_t n);

/* shape is the broadcast shape; tensors[i] NULL is a scalar at data[i]. */
void hypi_iter_init(struct hypi_iter *it, int rank, const int64_t *shape, int operands,
                    const hyp_tensor *const *tensors, char *const *data);
void hypi_iter_run(const struct hypi_iter *it, int64_t begin, int64_t end, hypi_run_fn *fn, void *context);
/* The same shared among threads, in ranges of at least grain elements. */
void hypi_iter_parallel(const struct hypi_iter *it, int64_t grain, hypi_run_fn *fn, void *context);

/* The kernels' number that a plain type is computed in: halves in F32, BOOL in U8. */
enum hypi_num hypi_num_of(int dtype);
/* Are the bytes of the type the number itself? (Not of halves; of BOOL yes.) */
bool hypi_num_is_exact(int dtype);

/* n <= HYPI_BLOCK elements as contiguous `num`: src itself when it is that already, else buffer. */
const void *hypi_load(void *buffer, enum hypi_num num, int dtype, const char *src, int64_t stride, int64_t n);
/* As 0 and 1: is it not 0? Always through the buffer. */
void hypi_load_bool(uint8_t *buffer, int dtype, const char *src, int64_t stride, int64_t n);
void hypi_store(char *dst, int dtype, int64_t stride, const void *src, enum hypi_num num, int64_t n);

/* One value as an element of a plain type. false: an integer that the type cannot hold (it is wrapped). */
bool hypi_scalar_to(hyp_scalar value, int dtype, void *ret_element);
hyp_scalar hypi_scalar_from(int dtype, const void *element);

/* May writing `out` change what is read of `in` before it is read? False where they lie apart or element on element. */
bool hypi_clash(const hyp_tensor *out, const hyp_tensor *in);

/* ---- profile.c: 0 when off, else a time ---- */
#include <hypool/ops.h>
extern _Atomic bool hypi_profile_on;
uint64_t hypi_profile_begin(void);
void hypi_profile_end(hyp_profile_op op, uint64_t begun, uint64_t flops, uint64_t bytes);
HYP_INLINE uint64_t hypi_profile_start(void) {
	return HYP_UNLIKELY(hypi_load_relaxed(&hypi_profile_on)) ? hypi_profile_begin() : 0;
}
#define HYPI_PROFILE(op, begun, flops, bytes) \
	if (HYP_UNLIKELY((begun) != 0)) hypi_profile_end(HYP_PROFILE_##op, (begun), (uint64_t)(flops), (uint64_t)(bytes))

#endif
