/*
 * tensor/elementwise.c: operations on two operands, and where.
 *
 * What the operands' types make of the operation is decided once (struct plan); the walk then hands runs to body(),
 * which calls the kernel on the operands' own memory where type and stride allow it, and else goes block by block
 * through load and store. An operand whose elements the output would overwrite too early is copied first.
 */
#include "tensor/compute.h"
#include "tensor/loops.h"

#define GRAIN_CHEAP (1 << 16) /* elements a range: below that a thread's wake-up costs more than it brings */
#define GRAIN_DEAR (1 << 12)

enum plan_kind { PLAN_KERNEL, PLAN_COMPARE, PLAN_LOOP, PLAN_LOGICAL };

struct plan {
	enum plan_kind kind;
	enum hypi_num num; /* what it is computed in */
	enum hypi_num result_num;
	hyp_dtype result;
	hypi_binary_fn *kernel[HYPI_FORM_COUNT], *piece[HYPI_FORM_COUNT];
	bool in_pieces; /* a large result: what is computed at once, rows or a thread's share, is a piece of it */
	hypi_compare_fn *compare[HYPI_FORM_COUNT];
	hypi_binary_fn *loop;
	int logical; /* hyp_binary_op */
	int dtype_a, dtype_b, dtype_out;
	bool dear;
};

static bool is_compare(hyp_binary_op op) { return op >= HYP_OP_EQ && op <= HYP_OP_GE; }
static bool is_logical(hyp_binary_op op) { return op >= HYP_OP_AND && op <= HYP_OP_XOR; }

static int kernel_op(hyp_binary_op op, hyp_dtype promoted) {
	bool boolean = promoted == HYP_BOOL;
	switch (op) {
	case HYP_OP_ADD: return boolean ? HYPI_MAX : HYPI_ADD;
	case HYP_OP_SUB: return HYPI_SUB;
	case HYP_OP_MUL: return boolean ? HYPI_MIN : HYPI_MUL;
	case HYP_OP_DIV: return HYPI_DIV;
	case HYP_OP_MIN: return HYPI_MIN;
	case HYP_OP_MAX: return HYPI_MAX;
	case HYP_OP_FLOOR_DIV: return hypi_is_float((int)promoted) ? -1 : HYPI_DIV;
	default: return -1;
	}
}

static hyp_status make_plan(hyp_binary_op op, hyp_dtype a, hyp_dtype b, struct plan *ret_plan) {
	struct plan *p = ret_plan;
	const struct hypi_elementwise *e = &hypi_kernels()->elementwise;
	hyp_dtype promoted = hypi_promote(a, b);
	p->dtype_a = (int)a;
	p->dtype_b = (int)b;
	p->dear = op == HYP_OP_POW || op == HYP_OP_MOD || op == HYP_OP_FLOOR_DIV;
	if (is_logical(op)) {
		p->kind = PLAN_LOGICAL;
		p->num = p->result_num = HYPI_U8;
		p->result = HYP_BOOL;
		p->logical = (int)op;
		return HYP_OK;
	}
	if (is_compare(op)) {
		p->kind = PLAN_COMPARE;
		p->num = hypi_num_of((int)promoted);
		p->result_num = HYPI_U8;
		p->result = HYP_BOOL;
		for (int f = 0; f < HYPI_FORM_COUNT; f++) p->compare[f] = e->compare[p->num][op - HYP_OP_EQ][f];
		return HYP_OK;
	}
	if (promoted == HYP_BOOL && op == HYP_OP_SUB)
		return hypi_fail(HYP_ERR_TYPE, "arguments a and b: bool has no subtraction; use xor");
	if (op == HYP_OP_DIV && !hypi_is_float((int)promoted)) promoted = HYP_F64;
	if (promoted == HYP_BOOL && (op == HYP_OP_FLOOR_DIV || op == HYP_OP_MOD || op == HYP_OP_POW)) promoted = HYP_I8;
	p->result = promoted;
	p->num = p->result_num = hypi_num_of((int)promoted);
	int k = kernel_op(op, promoted);
	p->kind = k >= 0 ? PLAN_KERNEL : PLAN_LOOP;
	if (k >= 0)
		for (int f = 0; f < HYPI_FORM_COUNT; f++) {
			p->kernel[f] = e->binary[p->num][k][f];
			p->piece[f] = e->piece[p->num][k][f];
		}
	else p->loop = hypi_binary_loop(op, p->num);
	return HYP_OK;
}

/* ---- one run ---- */

static void call(const struct plan *p, enum hypi_form form, void *out, const void *a, const void *b, size_t n) {
	if (p->kind == PLAN_COMPARE) p->compare[form](out, a, b, n);
	else p->kernel[form](out, a, b, n);
}

static void splat(void *buffer, enum hypi_num num, int64_t n) {
	size_t bytes = hypi_num_bytes[num];
	for (size_t have = 1; have < (size_t)n; have *= 2)
		memcpy((char *)buffer + have * bytes, buffer, (have * 2 <= (size_t)n ? have : (size_t)n - have) * bytes);
}

static void body_logical(const struct plan *p, char *const *data, const int64_t *stride, int64_t n) {
	uint8_t a[HYPI_BLOCK], b[HYPI_BLOCK];
	for (int64_t at = 0; at < n; at += HYPI_BLOCK) {
		int64_t m = n - at < HYPI_BLOCK ? n - at : HYPI_BLOCK;
		hypi_load_bool(a, p->dtype_a, data[1] + at * stride[1], stride[1], m);
		hypi_load_bool(b, p->dtype_b, data[2] + at * stride[2], stride[2], m);
		if (p->logical == HYP_OP_AND)
			for (int64_t i = 0; i < m; i++) a[i] &= b[i];
		else if (p->logical == HYP_OP_OR)
			for (int64_t i = 0; i < m; i++) a[i] |= b[i];
		else
			for (int64_t i = 0; i < m; i++) a[i] ^= b[i];
		hypi_store(data[0] + at * stride[0], p->dtype_out, stride[0], a, HYPI_U8, m);
	}
}

static bool direct(int dtype, enum hypi_num num, int64_t stride) {
	return hypi_num_is_exact(dtype) && hypi_num_of(dtype) == num && stride == hypi_bytes_of(dtype);
}

static void body(void *context, char *const *data, const int64_t *stride, int64_t n) {
	const struct plan *p = context;
	if (p->kind == PLAN_LOGICAL) {
		body_logical(p, data, stride, n);
		return;
	}
	uint64_t scalar_a, scalar_b;
	bool one_a = stride[1] == 0 && n > 1, one_b = stride[2] == 0 && n > 1;
	/* The output's bytes are the result's own: of its type, but never a BOOL that is not a comparison's 0 or 1. */
	bool direct_out =
		direct(p->dtype_out, p->result_num, stride[0]) && (p->dtype_out != HYP_BOOL || p->result == HYP_BOOL);
	bool direct_a = direct(p->dtype_a, p->num, stride[1]), direct_b = direct(p->dtype_b, p->num, stride[2]);
	const void *sa = one_a ? hypi_load(&scalar_a, p->num, p->dtype_a, data[1], 0, 1) : NULL;
	const void *sb = one_b ? hypi_load(&scalar_b, p->num, p->dtype_b, data[2], 0, 1) : NULL;
	bool loop = p->kind == PLAN_LOOP;
	if (direct_out && (direct_a || one_a) && (direct_b || one_b) && !(one_a && one_b) && !(loop && (one_a || one_b))) {
		enum hypi_form form = one_a ? HYPI_SV : one_b ? HYPI_VS : HYPI_VV;
		if (loop) p->loop(data[0], data[1], data[2], (size_t)n);
		else if (p->in_pieces && p->piece[form] != NULL)
			p->piece[form](data[0], data[1], one_b ? sb : data[2], (size_t)n);
		else call(p, form, data[0], one_a ? sa : data[1], one_b ? sb : data[2], (size_t)n);
		return;
	}
	uint64_t a[HYPI_BLOCK], b[HYPI_BLOCK], out[HYPI_BLOCK];
	int64_t most = n < HYPI_BLOCK ? n : HYPI_BLOCK;
	bool splat_a = one_a && (loop || one_b), splat_b = one_b && loop;
	if (splat_a) {
		memcpy(a, sa, hypi_num_bytes[p->num]);
		splat(a, p->num, most);
	}
	if (splat_b) {
		memcpy(b, sb, hypi_num_bytes[p->num]);
		splat(b, p->num, most);
	}
	for (int64_t at = 0; at < n; at += HYPI_BLOCK) {
		int64_t m = n - at < HYPI_BLOCK ? n - at : HYPI_BLOCK;
		const void *from_a = splat_a ? a
		                     : one_a ? sa
		                             : hypi_load(a, p->num, p->dtype_a, data[1] + at * stride[1], stride[1], m);
		const void *from_b = splat_b ? b
		                     : one_b ? sb
		                             : hypi_load(b, p->num, p->dtype_b, data[2] + at * stride[2], stride[2], m);
		char *dst = data[0] + at * stride[0];
		void *to = direct_out ? (void *)dst : (void *)out;
		if (loop) p->loop(to, from_a, from_b, (size_t)m);
		else call(p, one_a && !splat_a ? HYPI_SV : one_b ? HYPI_VS : HYPI_VV, to, from_a, from_b, (size_t)m);
		if (!direct_out) hypi_store(dst, p->dtype_out, stride[0], out, p->result_num, m);
	}
}

/* ---- integer exponents ---- */

static void find_negative(void *context, char *const *data, const int64_t *stride, int64_t n) {
	int64_t block[HYPI_BLOCK];
	const int *dtype = context;
	for (int64_t at = 0; at < n && *dtype >= 0; at += HYPI_BLOCK) {
		int64_t m = n - at < HYPI_BLOCK ? n - at : HYPI_BLOCK;
		const int64_t *v = hypi_load(block, HYPI_I64, *dtype, data[0] + at * stride[0], stride[0], m);
		for (int64_t i = 0; i < m; i++)
			if (v[i] < 0) *(int *)context = -1;
	}
}

static hyp_status check_exponent(const hyp_tensor *b, int dtype, const char *data, int rank, const int64_t *shape) {
	struct hypi_iter it;
	char *base = (char *)(uintptr_t)data;
	hypi_iter_init(&it, b == NULL ? 0 : b->rank, b == NULL ? NULL : b->shape, 1, &b, &base);
	for (int i = 0; i < rank; i++)
		if (shape[i] == 0) return HYP_OK;
	hypi_iter_run(&it, 0, it.total, find_negative, &dtype);
	if (dtype >= 0) return HYP_OK;
	return hypi_fail(HYP_ERR_INVALID, "argument b: an integer to a negative integer power is no integer");
}

/* ---- the operation ---- */

/* An operand: a tensor, or a scalar of some type. */
struct operand {
	const hyp_tensor *tensor; /* NULL: scalar */
	int dtype;
	uint64_t scalar;
};

static hyp_status walk(hyp_binary_op op, struct plan *p, struct operand *a, struct operand *b, hyp_tensor *out) {
	const hyp_tensor *tensors[3] = {out, a->tensor, b->tensor};
	char *data[3] = {NULL, (char *)&a->scalar, (char *)&b->scalar};
	static const char *const names[3] = {"out", "a", "b"};
	int pinned = 0;
	hyp_status status = HYP_OK;
	for (; pinned < 3; pinned++)
		if (tensors[pinned] != NULL && (status = hypi_pin(tensors[pinned], names[pinned], &data[pinned])) != HYP_OK)
			break;
	if (status == HYP_OK && op == HYP_OP_POW && p->num != HYPI_F32 && p->num != HYPI_F64)
		status = check_exponent(b->tensor, b->dtype, data[2], out->rank, out->shape);
	if (status == HYP_OK && out->elements > 0) {
		p->dtype_out = out->dtype;
		struct hypi_iter it;
		hypi_iter_init(&it, out->rank, out->shape, 3, tensors, data);
		p->in_pieces = p->kind == PLAN_KERNEL && (size_t)it.total * hypi_num_bytes[p->result_num] >= HYPI_LARGE_BYTES;
		hypi_iter_parallel(&it, p->dear ? GRAIN_DEAR : GRAIN_CHEAP, body, p);
	}
	while (pinned-- > 0)
		if (tensors[pinned] != NULL) hypi_unpin(tensors[pinned]);
	return status;
}

/* ---- the short way, for small row-major operands of one type and shape ---- */

#define SMALL 4096 /* elements; beyond, deciding the long way costs nothing beside the work */

static bool same_shape(const hyp_tensor *a, const hyp_tensor *b) {
	if (a->rank != b->rank) return false;
	for (int i = 0; i < a->rank; i++)
		if (a->shape[i] != b->shape[i]) return false;
	return true;
}

static bool is_small(hyp_binary_op op, const hyp_tensor *a, const hyp_tensor *b) {
	bool simple = op == HYP_OP_ADD || op == HYP_OP_SUB || op == HYP_OP_MUL || op == HYP_OP_MIN || op == HYP_OP_MAX;
	return simple && (a->contiguous & b->contiguous) && a->dtype == b->dtype && a->elements <= SMALL &&
	       hypi_is_plain(a->dtype) && a->dtype != HYP_BOOL && hypi_num_is_exact(a->dtype) && same_shape(a, b) &&
	       !hypi_load_relaxed(&hypi_profile_on);
}

static hyp_status small(hyp_binary_op op, const hyp_tensor *a, const hyp_tensor *b, hyp_tensor *out) {
	hypi_binary_fn *fn =
		hypi_kernels()->elementwise.binary[hypi_num_of(a->dtype)][kernel_op(op, (hyp_dtype)a->dtype)][HYPI_VV];
	char *pa, *pb, *po;
	uint64_t now_ms = hypi_coarse_ms();
	HYPI_TRY(hypi_pin_at(a, "a", now_ms, &pa));
	hyp_status status = hypi_pin_at(b, "b", now_ms, &pb);
	if (HYP_LIKELY(status == HYP_OK)) {
		status = hypi_pin_at(out, "out", now_ms, &po);
		if (HYP_LIKELY(status == HYP_OK)) {
			fn(po, pa, pb, (size_t)a->elements);
			hypi_unpin(out);
		}
		hypi_unpin(b);
	}
	hypi_unpin(a);
	return status;
}

static uint64_t traffic(const struct operand *a, const struct operand *b, const hyp_tensor *out) {
	uint64_t bytes = (uint64_t)(out->elements * hypi_bytes_of(out->dtype));
	if (a->tensor != NULL) bytes += (uint64_t)(a->tensor->elements * hypi_bytes_of(a->dtype));
	if (b->tensor != NULL) bytes += (uint64_t)(b->tensor->elements * hypi_bytes_of(b->dtype));
	return bytes;
}

/* out: the caller's, or NULL to make one. The operands are plain. */
static hyp_status apply(hyp_binary_op op, struct operand *a, struct operand *b, hyp_tensor *out,
                        hyp_tensor **ret_tensor) {
	uint64_t begun = hypi_profile_start();
	struct plan p;
	HYPI_TRY(make_plan(op, (hyp_dtype)a->dtype, (hyp_dtype)b->dtype, &p));
	int rank;
	int64_t shape[HYP_TENSOR_MAX_RANK];
	HYPI_TRY(hypi_broadcast(a->tensor ? a->tensor->rank : 0, a->tensor ? a->tensor->shape : NULL,
	                        b->tensor ? b->tensor->rank : 0, b->tensor ? b->tensor->shape : NULL, &rank, shape));
	hyp_tensor *made = NULL, *copy_a = NULL, *copy_b = NULL;
	hyp_status status = HYP_OK;
	if (out == NULL) {
		HYPI_TRY(hypi_tensor_new(p.result, rank, shape, &made));
	} else {
		HYPI_TRY(hypi_check_output(out, "out"));
		if (out->rank != rank || memcmp(out->shape, shape, (size_t)rank * sizeof *shape) != 0) {
			char have[HYPI_SHAPE_TEXT], want[HYPI_SHAPE_TEXT];
			return hypi_fail(HYP_ERR_SHAPE, "argument out: has shape %s, the result %s",
			                 hypi_shape_text(out->rank, out->shape, have), hypi_shape_text(rank, shape, want));
		}
		if (a->tensor != NULL && hypi_clash(out, a->tensor)) {
			status = hyp_tensor_clone(a->tensor, &copy_a);
			a->tensor = copy_a;
		}
		if (status == HYP_OK && b->tensor != NULL && hypi_clash(out, b->tensor)) {
			status = hyp_tensor_clone(b->tensor, &copy_b);
			b->tensor = copy_b;
		}
	}
	hyp_tensor *target = made != NULL ? made : out;
	if (status == HYP_OK) status = walk(op, &p, a, b, target);
	if (status == HYP_OK) HYPI_PROFILE(binary, begun, target->elements, traffic(a, b, target));
	hyp_tensor_release(copy_a);
	hyp_tensor_release(copy_b);
	if (made != NULL && status != HYP_OK) hyp_tensor_release(made);
	else if (made != NULL) *ret_tensor = made;
	return status;
}

static hyp_status check_op(int op, int count) {
	return op >= 0 && op < count ? HYP_OK : hypi_fail(HYP_ERR_INVALID, "argument op: %d is no operation", op);
}

static hyp_status check_plain_output(const hyp_tensor *out) {
	if (!hypi_is_plain(out->dtype))
		return hypi_fail(HYP_ERR_TYPE, "argument out: is of the packed type %s", hypi_dtypes[out->dtype].info.name);
	return HYP_OK;
}

static hyp_status two_tensors(hyp_binary_op op, const hyp_tensor *a, const hyp_tensor *b, hyp_tensor *out,
                              hyp_tensor **ret_tensor) {
	HYPI_TRY(check_op((int)op, HYP_BINARY_OP_COUNT));
	const hyp_tensor *pa, *pb;
	HYPI_TRY(hypi_plain(a, &pa));
	hyp_status status = hypi_plain(b, &pb);
	if (status == HYP_OK) {
		struct operand oa = {pa, pa->dtype, 0}, ob = {pb, pb->dtype, 0};
		status = apply(op, &oa, &ob, out, ret_tensor);
		hyp_tensor_release((hyp_tensor *)(uintptr_t)pb);
	}
	hyp_tensor_release((hyp_tensor *)(uintptr_t)pa);
	return status;
}

hyp_status hyp_tensor_binary(hyp_binary_op op, const hyp_tensor *a, const hyp_tensor *b, hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(a);
	HYPI_CHECK_TENSOR(b);
	HYPI_CHECK_RET(ret_tensor);
	if (is_small(op, a, b)) {
		hyp_tensor *made;
		HYPI_TRY(hypi_tensor_new_like(a, &made));
		hyp_status status = small(op, a, b, made);
		if (HYP_LIKELY(status == HYP_OK)) *ret_tensor = made;
		else hyp_tensor_release(made);
		return status;
	}
	return two_tensors(op, a, b, NULL, ret_tensor);
}

hyp_status hyp_tensor_binary_into(hyp_binary_op op, const hyp_tensor *a, const hyp_tensor *b, hyp_tensor *out) {
	HYPI_CHECK_TENSOR(a);
	HYPI_CHECK_TENSOR(b);
	HYPI_CHECK_TENSOR(out);
	if (is_small(op, a, b) && out->contiguous && out->dtype == a->dtype && !hyp_tensor_is_read_only(out) &&
	    same_shape(out, a) && !hypi_clash(out, a) && !hypi_clash(out, b))
		return small(op, a, b, out);
	HYPI_TRY(check_plain_output(out));
	return two_tensors(op, a, b, out, NULL);
}

/* The type that the scalar takes beside a tensor: the tensor's own where it can (NumPy's NEP 50). */
static hyp_status scalar_operand(hyp_binary_op op, hyp_dtype beside, hyp_scalar scalar, struct operand *ret_operand) {
	int dtype = (int)beside;
	if (scalar.kind < HYP_SCALAR_BOOL || scalar.kind > HYP_SCALAR_FLOAT)
		return hypi_fail(HYP_ERR_INVALID, "argument scalar: %d is no kind", (int)scalar.kind);
	if (scalar.kind == HYP_SCALAR_BOOL) dtype = HYP_BOOL;
	else if (scalar.kind == HYP_SCALAR_FLOAT && !hypi_is_float(dtype)) dtype = HYP_F64;
	else if (scalar.kind == HYP_SCALAR_INT && beside == HYP_BOOL) dtype = HYP_I64;
	ret_operand->tensor = NULL;
	ret_operand->scalar = 0;
	if (!hypi_scalar_to(scalar, dtype, &ret_operand->scalar) && !hypi_is_float(dtype)) {
		if (!is_compare(op))
			return hypi_fail(HYP_ERR_OVERFLOW, "argument scalar: %s cannot hold %lld", hypi_dtypes[dtype].info.name,
			                 (long long)scalar.value.i);
		dtype = HYP_I64;
		(void)hypi_scalar_to(scalar, dtype, &ret_operand->scalar);
	}
	ret_operand->dtype = dtype;
	return HYP_OK;
}

static hyp_status tensor_and_scalar(hyp_binary_op op, const hyp_tensor *a, hyp_scalar scalar, bool reversed,
                                    hyp_tensor *out, hyp_tensor **ret_tensor) {
	HYPI_TRY(check_op((int)op, HYP_BINARY_OP_COUNT));
	const hyp_tensor *plain;
	struct operand first, second;
	HYPI_TRY(scalar_operand(op, hypi_dtype_plain((hyp_dtype)a->dtype), scalar, &second));
	HYPI_TRY(hypi_plain(a, &plain));
	first = (struct operand){plain, plain->dtype, 0};
	hyp_status status = apply(op, reversed ? &second : &first, reversed ? &first : &second, out, ret_tensor);
	hyp_tensor_release((hyp_tensor *)(uintptr_t)plain);
	return status;
}

hyp_status hyp_tensor_binary_scalar(hyp_binary_op op, const hyp_tensor *a, hyp_scalar scalar, bool reversed,
                                    hyp_tensor **ret_tensor) {
	HYPI_CHECK_TENSOR(a);
	HYPI_CHECK_RET(ret_tensor);
	return tensor_and_scalar(op, a, scalar, reversed, NULL, ret_tensor);
}

hyp_status hyp_tensor_binary_scalar_into(hyp_binary_op op, const hyp_tensor *a, hyp_scalar scalar, bool reversed,
                                         hyp_tensor *out) {
	HYPI_CHECK_TENSOR(a);
	HYPI_CHECK_TENSOR(out);
	HYPI_TRY(check_plain_output(out));
	return tensor_and_scalar(op, a, scalar, reversed, out, NULL);
}
