/*
 * tensor/unary.c: operations on one operand, and where.
 */
#include "tensor/compute.h"
#include "tensor/loops.h"

#define GRAIN (1 << 14)

struct unary_plan {
	hypi_unary_fn *fn;
	enum hypi_num num, result_num;
	hyp_dtype result;
	int dtype_in, dtype_out;
	bool is_not;
};

/* hyp_unary_op up to SILU stands in the order of the kernels' own list. */
_Static_assert((int)HYP_OP_NEG == (int)HYPI_NEG && (int)HYP_OP_SILU == (int)HYPI_SILU, "same order");

static bool is_test(hyp_unary_op op) { return op >= HYP_OP_ISNAN && op <= HYP_OP_ISFINITE; }

/* NumPy's float type for a float function of an integer. */
static hyp_dtype float_of(hyp_dtype d) {
	if (hypi_is_float((int)d)) return d;
	return hypi_bytes_of((int)d) == 1 ? HYP_F16 : hypi_bytes_of((int)d) == 2 ? HYP_F32 : HYP_F64;
}

static hyp_status make_plan(hyp_unary_op op, hyp_dtype dtype, struct unary_plan *p) {
	p->dtype_in = (int)dtype;
	p->is_not = op == HYP_OP_NOT;
	if (p->is_not) {
		p->result = HYP_BOOL;
		p->num = p->result_num = HYPI_U8;
		return HYP_OK;
	}
	if (dtype == HYP_BOOL && op == HYP_OP_NEG)
		return hypi_fail(HYP_ERR_TYPE, "argument a: bool has no negation; use not");
	bool stays = op == HYP_OP_NEG || op == HYP_OP_ABS || op == HYP_OP_RELU || op == HYP_OP_SQUARE || op == HYP_OP_SIGN;
	hyp_dtype computed = stays ? dtype : float_of(dtype);
	p->num = p->result_num = hypi_num_of((int)computed);
	p->result = computed;
	if (is_test(op)) {
		p->result = HYP_BOOL;
		p->result_num = HYPI_U8;
	}
	p->fn = op <= HYP_OP_SILU ? hypi_kernels()->elementwise.unary[p->num][op] : hypi_unary_loop(op, p->num);
	if (p->fn == NULL)
		return hypi_fail(HYP_ERR_TYPE, "argument a: the operation has no form for %s", hypi_dtypes[dtype].info.name);
	return HYP_OK;
}

static void body(void *context, char *const *data, const int64_t *stride, int64_t n) {
	const struct unary_plan *p = context;
	bool direct_in =
		hypi_num_is_exact(p->dtype_in) && hypi_num_of(p->dtype_in) == p->num && stride[1] == hypi_bytes_of(p->dtype_in);
	bool direct_out = hypi_num_is_exact(p->dtype_out) && hypi_num_of(p->dtype_out) == p->result_num &&
	                  (p->dtype_out != HYP_BOOL || p->result == HYP_BOOL) && stride[0] == hypi_bytes_of(p->dtype_out);
	if (direct_in && direct_out && !p->is_not) {
		p->fn(data[0], data[1], (size_t)n);
		return;
	}
	uint64_t in[HYPI_BLOCK], out[HYPI_BLOCK];
	for (int64_t at = 0; at < n; at += HYPI_BLOCK) {
		int64_t m = n - at < HYPI_BLOCK ? n - at : HYPI_BLOCK;
		const char *src = data[1] + at * stride[1];
		char *dst = data[0] + at * stride[0];
		void *to = direct_out ? (void *)dst : (void *)out;
		if (p->is_not) {
			uint8_t *bits = (uint8_t *)in;
			hypi_load_bool(bits, p->dtype_in, src, stride[1], m);
			for (int64_t i = 0; i < m; i++) ((uint8_t *)to)[i] = !bits[i];
		} else {
			p->fn(to, hypi_load(in, p->num, p->dtype_in, src, stride[1], m), (size_t)m);
		}
		if (!direct_out) hypi_store(dst, p->dtype_out, stride[0], out, p->result_num, m);
	}
}

static hyp_status walk(struct unary_plan *p, const hyp_tensor *a, hyp_tensor *out) {
	const hyp_tensor *tensors[2] = {out, a};
	char *data[2];
	HYPI_TRY(hypi_pin(out, "out", &data[0]));
	hyp_status status = hypi_pin(a, "a", &data[1]);
	if (status == HYP_OK) {
		if (out->elements > 0) {
			struct hypi_iter it;
			p->dtype_out = out->dtype;
			hypi_iter_init(&it, out->rank, out->shape, 2, tensors, data);
			hypi_iter_parallel(&it, GRAIN, body, p);
		}
		hypi_unpin(a);
	}
	hypi_unpin(out);
	return status;
}

static hyp_status apply(hyp_unary_op op, const hyp_tensor *a, hyp_tensor *out, hyp_tensor **ret_tensor) {
	uint64_t begun = hypi_profile_start();
	struct unary_plan p;
	HYPI_TRY(make_plan(op, (hyp_dtype)a->dtype, &p));
	hyp_tensor *made = NULL, *copy = NULL;
	hyp_status status = HYP_OK;
	if (out == NULL) {
		HYPI_TRY(hypi_tensor_new(p.result, a->rank, a->shape, &made));
	} else {
		HYPI_TRY(hypi_check_output(out, "out"));
		if (out->rank != a->rank || memcmp(out->shape, a->shape, (size_t)a->rank * sizeof *a->shape) != 0) {
			char have[HYPI_SHAPE_TEXT], want[HYPI_SHAPE_TEXT];
			return hypi_fail(HYP_ERR_SHAPE, "argument out: has shape %s, the result %s",
			                 hypi_shape_text(out->rank, out->shape, have), hypi_shape_text(a->rank, a->shape, want));
		}
		if (hypi_clash(out, a)) {
			HYPI_TRY(hyp_tensor_clone(a, &copy));
			a = copy;
		}
	}
	hyp_tensor *target = made != NULL ? made : out;
	status = walk(&p, a, target);
	if (status == HYP_OK)
		HYPI_PROFILE(unary, begun, a->elements, a->elements * (hypi_bytes_of(a->dtype) + hypi_bytes_of(target->dtype)));
	hyp_tensor_release(copy);
	if (made != NULL && status != HYP_OK) hyp_tensor_release(made);
	else if (made != NULL) *ret_tensor = made;
	return status;
}

static hyp_status plain_apply(hyp_unary_op op, const hyp_tensor *a, hyp_tensor *out, hyp_tensor **ret_tensor) {
	if ((int)op < 0 || op >= HYP_UNARY_OP_COUNT)
		return hypi_fail(HYP_ERR_INVALID, "argument op: %d is no operation", (int)op);
	const hyp_tensor *plain;
	HYPI_TRY(hypi_plain(a, &plain));
	hyp_status status = apply(op, plain, out, ret_tensor);
	hyp_tensor_release((hyp_tensor *)(uintptr_t)plain);
	return status;
}

hyp_status hyp_tensor_unary(hyp_unary_op op, const hyp_tensor *a, hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(a);
	HYPI_CHECK_RET(ret_tensor);
	return plain_apply(op, a, NULL, ret_tensor);
}

hyp_status hyp_tensor_unary_into(hyp_unary_op op, const hyp_tensor *a, hyp_tensor *out) {
	HYPI_CHECK_TENSOR(a);
	HYPI_CHECK_TENSOR(out);
	if (!hypi_is_plain(out->dtype))
		return hypi_fail(HYP_ERR_TYPE, "argument out: is of the packed type %s", hypi_dtypes[out->dtype].info.name);
	return plain_apply(op, a, out, NULL);
}

/* ---- where ---- */

struct where_plan {
	int dtype[4]; /* out, condition, a, b */
	enum hypi_num num;
};

/* Elements of any type as words of their size, chosen by masks: random conditions would cost a branch a time. */
#define PICK(bits) \
	typedef uint##bits##_t __attribute__((may_alias)) word##bits; \
	static void pick_##bits(void *out, const uint8_t *pick, const void *a, const void *b, int64_t n) { \
		word##bits *z = out; \
		const word##bits *x = a, *y = b; \
		for (int64_t i = 0; i < n; i++) { \
			word##bits mask = (word##bits)(0 - (word##bits)pick[i]); \
			z[i] = (word##bits)((x[i] & mask) | (y[i] & (word##bits) ~mask)); \
		} \
	}
PICK(8)
PICK(16)
PICK(32)
PICK(64)
#undef PICK

static void pick_bytes(void *out, const uint8_t *pick, const void *a, const void *b, size_t bytes, int64_t n) {
	if (bytes == 1) pick_8(out, pick, a, b, n);
	else if (bytes == 2) pick_16(out, pick, a, b, n);
	else if (bytes == 4) pick_32(out, pick, a, b, n);
	else pick_64(out, pick, a, b, n);
}

static void where_body(void *context, char *const *data, const int64_t *stride, int64_t n) {
	const struct where_plan *p = context;
	uint64_t a[HYPI_BLOCK], b[HYPI_BLOCK], out[HYPI_BLOCK];
	uint8_t pick[HYPI_BLOCK];
	size_t bytes = hypi_num_bytes[p->num];
	for (int64_t at = 0; at < n; at += HYPI_BLOCK) {
		int64_t m = n - at < HYPI_BLOCK ? n - at : HYPI_BLOCK;
		hypi_load_bool(pick, p->dtype[1], data[1] + at * stride[1], stride[1], m);
		const char *from_a = hypi_load(a, p->num, p->dtype[2], data[2] + at * stride[2], stride[2], m);
		const char *from_b = hypi_load(b, p->num, p->dtype[3], data[3] + at * stride[3], stride[3], m);
		pick_bytes(out, pick, from_a, from_b, bytes, m);
		hypi_store(data[0] + at * stride[0], p->dtype[0], stride[0], out, p->num, m);
	}
}

static hyp_status where_plain(const hyp_tensor *const *in, hyp_tensor **ret_tensor) {
	int rank;
	int64_t shape[HYP_TENSOR_MAX_RANK], pair[HYP_TENSOR_MAX_RANK];
	int pair_rank;
	HYPI_TRY(hypi_broadcast(in[1]->rank, in[1]->shape, in[2]->rank, in[2]->shape, &pair_rank, pair));
	HYPI_TRY(hypi_broadcast(in[0]->rank, in[0]->shape, pair_rank, pair, &rank, shape));
	hyp_dtype dtype = hypi_promote((hyp_dtype)in[1]->dtype, (hyp_dtype)in[2]->dtype);
	hyp_tensor *out;
	HYPI_TRY(hypi_tensor_new(dtype, rank, shape, &out));
	const hyp_tensor *tensors[4] = {out, in[0], in[1], in[2]};
	static const char *const names[4] = {"out", "condition", "a", "b"};
	char *data[4];
	int pinned = 0;
	hyp_status status = HYP_OK;
	for (; pinned < 4; pinned++)
		if ((status = hypi_pin(tensors[pinned], names[pinned], &data[pinned])) != HYP_OK) break;
	if (status == HYP_OK && out->elements > 0) {
		struct where_plan p = {{(int)dtype, in[0]->dtype, in[1]->dtype, in[2]->dtype}, hypi_num_of((int)dtype)};
		struct hypi_iter it;
		hypi_iter_init(&it, rank, shape, 4, tensors, data);
		hypi_iter_parallel(&it, GRAIN, where_body, &p);
	}
	while (pinned-- > 0) hypi_unpin(tensors[pinned]);
	if (status != HYP_OK) hyp_tensor_release(out);
	else *ret_tensor = out;
	return status;
}

hyp_status hyp_tensor_where(const hyp_tensor *condition, const hyp_tensor *a, const hyp_tensor *b,
                            hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(condition);
	HYPI_CHECK_TENSOR(a);
	HYPI_CHECK_TENSOR(b);
	HYPI_CHECK_RET(ret_tensor);
	uint64_t begun = hypi_profile_start();
	const hyp_tensor *from[3] = {condition, a, b}, *plain[3];
	int made = 0;
	hyp_status status = HYP_OK;
	for (; made < 3; made++)
		if ((status = hypi_plain(from[made], &plain[made])) != HYP_OK) break;
	if (status == HYP_OK) status = where_plain(plain, ret_tensor);
	while (made-- > 0) hyp_tensor_release((hyp_tensor *)(uintptr_t)plain[made]);
	if (status == HYP_OK)
		HYPI_PROFILE(where, begun, (*ret_tensor)->elements,
		             (*ret_tensor)->elements * (1 + 3 * hypi_bytes_of((*ret_tensor)->dtype)));
	return status;
}
