/*
 * tensor/load.c: blocks of elements to and from the kernels' numbers (compute.h).
 *
 * Narrowing a binary64 or a wide integer to a half goes through binary32 rounded to odd, which makes the second
 * rounding exact (Boldo and Melquiond, 2005).
 */
#include "tensor/compute.h"

#include <math.h>

enum hypi_num hypi_num_of(int dtype) {
	static const uint8_t nums[] = {
		[HYP_F32] = HYPI_F32, [HYP_F16] = HYPI_F32, [HYP_BF16] = HYPI_F32, [HYP_F64] = HYPI_F64, [HYP_I8] = HYPI_I8,
		[HYP_I16] = HYPI_I16, [HYP_I32] = HYPI_I32, [HYP_I64] = HYPI_I64,  [HYP_U8] = HYPI_U8,   [HYP_BOOL] = HYPI_U8};
	return (enum hypi_num)nums[dtype];
}

bool hypi_num_is_exact(int dtype) { return dtype != HYP_F16 && dtype != HYP_BF16; }

static const void *gather(void *buffer, int dtype, const char *src, int64_t stride, int64_t n) {
	if (stride == hypi_bytes_of(dtype) || n == 1) return src;
	int log2 = hypi_dtypes[dtype].log2_bytes;
	hypi_kernels()->convert.copy_strided[log2](buffer, 1, src, stride >> log2, (size_t)n);
	return buffer;
}

const void *hypi_load(void *buffer, enum hypi_num num, int dtype, const char *src, int64_t stride, int64_t n) {
	enum hypi_num own = hypi_num_of(dtype);
	bool exact = hypi_num_is_exact(dtype);
	if (exact && own == num) return gather(buffer, dtype, src, stride, n);
	uint64_t gathered[HYPI_BLOCK];
	float wide[HYPI_BLOCK];
	const struct hypi_convert *convert = &hypi_kernels()->convert;
	const void *from = gather(gathered, dtype, src, stride, n);
	if (!exact) {
		float *to = num == HYPI_F32 ? buffer : wide;
		(dtype == HYP_F16 ? convert->f32_from_f16 : convert->f32_from_bf16)(to, from, (size_t)n);
		from = to;
	}
	if (own != num) convert->num[num][own](buffer, from, (size_t)n);
	return buffer;
}

void hypi_load_bool(uint8_t *buffer, int dtype, const char *src, int64_t stride, int64_t n) {
	uint64_t block[HYPI_BLOCK], zero = 0;
	enum hypi_num num = hypi_num_of(dtype);
	const void *from = hypi_load(block, num, dtype, src, stride, n);
	hypi_kernels()->elementwise.compare[num][HYPI_NE][HYPI_VS](buffer, from, &zero, (size_t)n);
}

/* binary64 to binary32: toward zero, and the last bit set if anything was lost. */
static void round_to_odd(float *dst, const double *src, int64_t n) {
	for (int64_t i = 0; i < n; i++) {
		float f = (float)src[i];
		double back = (double)f;
		if (back != src[i] && !isnan(src[i])) {
			uint32_t bits;
			memcpy(&bits, &f, sizeof bits);
			if (fabs(back) > fabs(src[i])) bits--;
			bits |= 1;
			memcpy(&f, &bits, sizeof f);
		}
		dst[i] = f;
	}
}

static void store_half(uint16_t *dst, int dtype, const void *src, enum hypi_num num, int64_t n) {
	const struct hypi_convert *convert = &hypi_kernels()->convert;
	float narrow[HYPI_BLOCK];
	double wide[HYPI_BLOCK];
	const void *from = src;
	if (num == HYPI_F64 || num == HYPI_I32 || num == HYPI_I64) {
		if (num != HYPI_F64) {
			convert->num[HYPI_F64][num](wide, src, (size_t)n);
			from = wide;
		}
		round_to_odd(narrow, from, n);
		from = narrow;
	} else if (num != HYPI_F32) {
		convert->num[HYPI_F32][num](narrow, src, (size_t)n);
		from = narrow;
	}
	(dtype == HYP_F16 ? convert->f16_from_f32 : convert->bf16_from_f32)(dst, from, (size_t)n);
}

void hypi_store(char *dst, int dtype, int64_t stride, const void *src, enum hypi_num num, int64_t n) {
	const struct hypi_kernels *kernels = hypi_kernels();
	uint64_t block[HYPI_BLOCK], zero = 0;
	enum hypi_num own = hypi_num_of(dtype);
	bool dense = stride == hypi_bytes_of(dtype) || n == 1;
	const void *from = dense ? (void *)dst : (void *)block;
	if (dtype == HYP_BOOL) {
		kernels->elementwise.compare[num][HYPI_NE][HYPI_VS]((uint8_t *)(uintptr_t)from, src, &zero, (size_t)n);
	} else if (!hypi_num_is_exact(dtype)) {
		store_half((uint16_t *)(uintptr_t)from, dtype, src, num, n);
	} else if (own != num) {
		kernels->convert.num[own][num]((void *)(uintptr_t)from, src, (size_t)n);
	} else if (dense) {
		if (src != dst) memmove(dst, src, (size_t)(n * hypi_bytes_of(dtype)));
		return;
	} else {
		from = src;
	}
	if (dense) return;
	int log2 = hypi_dtypes[dtype].log2_bytes;
	kernels->convert.copy_strided[log2](dst, stride >> log2, from, 1, (size_t)n);
}

static bool integer_fits(int64_t value, int dtype) {
	switch (dtype) {
	case HYP_I8: return value >= INT8_MIN && value <= INT8_MAX;
	case HYP_I16: return value >= INT16_MIN && value <= INT16_MAX;
	case HYP_I32: return value >= INT32_MIN && value <= INT32_MAX;
	case HYP_U8: return value >= 0 && value <= UINT8_MAX;
	default: return true;
	}
}

bool hypi_scalar_to(hyp_scalar value, int dtype, void *ret_element) {
	uint64_t element = 0;
	if (value.kind == HYP_SCALAR_FLOAT)
		hypi_store((char *)&element, dtype, hypi_bytes_of(dtype), &value.value.f, HYPI_F64, 1);
	else hypi_store((char *)&element, dtype, hypi_bytes_of(dtype), &value.value.i, HYPI_I64, 1);
	memcpy(ret_element, &element, (size_t)hypi_bytes_of(dtype));
	return value.kind == HYP_SCALAR_FLOAT || integer_fits(value.value.i, dtype);
}

hyp_scalar hypi_scalar_from(int dtype, const void *element) {
	uint64_t value;
	if (hypi_is_float(dtype)) {
		double f;
		memcpy(&f, hypi_load(&value, HYPI_F64, dtype, element, hypi_bytes_of(dtype), 1), sizeof f);
		return hyp_float(f);
	}
	int64_t i;
	memcpy(&i, hypi_load(&value, HYPI_I64, dtype, element, hypi_bytes_of(dtype), 1), sizeof i);
	return dtype == HYP_BOOL ? hyp_bool(i != 0) : hyp_int(i);
}
