/*
 * tensor/dtype.c: the table of element types and NumPy's promotion.
 */
#include "tensor/internal.h"

#define LOG2_OF(bytes) ((bytes) == 8 ? 3 : (bytes) == 4 ? 2 : (bytes) == 2 ? 1 : 0)

const struct hypi_dtype hypi_dtypes[] = {
#define HYP_DTYPE_X(name, number, text, kind, elements, bytes, doc) \
	[number] = {{text, HYP_DTYPE_##kind, elements, bytes, doc}, LOG2_OF(bytes)},
#include <hypool/dtype.def>
#undef HYP_DTYPE_X
};
const uint32_t hypi_dtype_count = HYP_ARRAY_LEN(hypi_dtypes);

const hyp_dtype_info *hyp_dtype_describe(hyp_dtype dtype) {
	return hypi_dtype_valid((int)dtype) ? &hypi_dtypes[dtype].info : NULL;
}

hyp_dtype hypi_dtype_plain(hyp_dtype d) {
	if (hypi_is_plain((int)d)) return d;
	return hypi_dtypes[d].info.kind == HYP_DTYPE_GGUF ? HYP_F32 : HYP_I8;
}

/* Of the wider of two integers and a float: the float type whose significand holds it. */
static hyp_dtype float_for_integer(hyp_dtype f, hyp_dtype i) {
	int64_t bytes = hypi_bytes_of((int)i);
	if (f == HYP_F64 || bytes >= 4) return HYP_F64;
	if (f == HYP_F32 || bytes == 2) return HYP_F32;
	return f;
}

hyp_dtype hypi_promote(hyp_dtype a, hyp_dtype b) {
	if (a == b) return a;
	if (a == HYP_BOOL) return b;
	if (b == HYP_BOOL) return a;
	bool float_a = hypi_is_float((int)a), float_b = hypi_is_float((int)b);
	if (float_a && float_b) {
		if (a == HYP_F64 || b == HYP_F64) return HYP_F64;
		return HYP_F32; /* F32 with a half, or F16 with BF16 */
	}
	if (float_a) return float_for_integer(a, b);
	if (float_b) return float_for_integer(b, a);
	if ((a == HYP_U8 && b == HYP_I8) || (a == HYP_I8 && b == HYP_U8)) return HYP_I16;
	return hypi_bytes_of((int)a) >= hypi_bytes_of((int)b) ? (a == HYP_U8 ? b : a) : b;
}

hyp_status hyp_dtype_promote(hyp_dtype a, hyp_dtype b, hyp_dtype *ret_dtype) {
	HYPI_CHECK_RET(ret_dtype);
	if (!hypi_dtype_valid((int)a)) return hypi_fail(HYP_ERR_TYPE, "argument a: %d is no type", (int)a);
	if (!hypi_dtype_valid((int)b)) return hypi_fail(HYP_ERR_TYPE, "argument b: %d is no type", (int)b);
	*ret_dtype = hypi_promote(hypi_dtype_plain(a), hypi_dtype_plain(b));
	return HYP_OK;
}
