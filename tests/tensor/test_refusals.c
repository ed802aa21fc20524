/*
 * tests/tensor/test_refusals.c: what is refused for one bad argument: every refusal names the argument and leaves outputs
 * and tensors as they were. What a wrong shape, view or operand gets stands in test_tensor.c; here is the rest.
 */
#include <hypool/device.h>
#include <hypool/ops.h>

#include "outcome.h"

static hyp_tensor *plain(hyp_dtype dtype, int rank, const int64_t *shape) {
	hyp_tensor *t;
	OK(hyp_tensor_ones(dtype, rank, shape, &t));
	return t;
}

static void release(hyp_tensor *const *tensors, size_t count) {
	for (size_t i = 0; i < count; i++) hyp_tensor_release(tensors[i]);
}
#define RELEASE(...) \
	release((hyp_tensor *const[]){__VA_ARGS__}, sizeof((hyp_tensor *const[]){__VA_ARGS__}) / sizeof(hyp_tensor *))

static const int64_t two_three[2] = {2, 3}, cube[3] = {2, 3, 4}, eight[1] = {8};

START_TEST(making) {
	hyp_tensor *t = untouched;
	hyp_dtype promoted = (hyp_dtype)77;
	const hyp_tensor_place wrong = {1, NULL, 0, 0};
	REFUSED(HYP_ERR_INVALID, "low and high", hyp_tensor_random(HYP_F32, 1, eight, 1, 2, -2, &t));
	REFUSED(HYP_ERR_TYPE, "dtype", hyp_tensor_random_normal(HYP_I32, 1, eight, 1, &t));
	REFUSED(HYP_ERR_TYPE, "dtype", hyp_tensor_random((hyp_dtype)99, 1, eight, 1, 0, 1, &t));
	REFUSED(HYP_ERR_INVALID, "place", hyp_tensor_empty_at(&wrong, HYP_F32, 1, eight, &t));
	REFUSED(HYP_ERR_OVERFLOW, "shape", hyp_tensor_empty(HYP_BITNET158, 1, (const int64_t[]){INT64_MAX}, &t));
	REFUSED(HYP_ERR_OVERFLOW, "shape", hyp_tensor_empty(HYP_BITNET158, 1, (const int64_t[]){INT64_MAX / 8}, &t));
	REFUSED(HYP_ERR_INVALID, "data", hyp_tensor_from_data(HYP_F32, 1, eight, NULL, NULL, &t));
	REFUSED(HYP_ERR_TYPE, "argument a", hyp_dtype_promote((hyp_dtype)99, HYP_F32, &promoted));
	REFUSED(HYP_ERR_TYPE, "argument b", hyp_dtype_promote(HYP_F32, (hyp_dtype)0, &promoted));
	ck_assert(t == untouched && promoted == (hyp_dtype)77);
	/* Strides of a packed type, from foreign memory. */
	static uint8_t codes[64];
	REFUSED(HYP_ERR_INVALID, "strides",
	        hyp_tensor_from_foreign(HYP_BITNET158, 2, (const int64_t[]){2, 8}, (const int64_t[]){7, 1}, codes, 0, 64, 0,
	                                0, NULL, NULL, &t));
	REFUSED(HYP_ERR_OVERFLOW, "strides",
	        hyp_tensor_from_foreign(HYP_F32, 2, (const int64_t[]){3, 3},
	                                (const int64_t[]){INT64_MAX / 2, INT64_MAX / 2}, codes, 0, 64, 0, 0, NULL, NULL,
	                                &t));
	ck_assert_ptr_eq(t, untouched);
	none_left();
}
END_TEST

START_TEST(single_elements_and_bytes) {
	hyp_tensor *f = plain(HYP_F32, 2, two_three), *small = plain(HYP_I8, 2, two_three),
			   *three = plain(HYP_F32, 1, eight);
	hyp_tensor *blocks, *x;
	OK(hyp_tensor_random(HYP_Q8_0, 1, (const int64_t[]){64}, 1, -1, 1, &blocks));
	hyp_scalar value = hyp_int(5);
	char bytes[64];
	hyp_tensor_info info = {.struct_bytes = 3};
	REFUSED(HYP_ERR_INVALID, "index", hyp_tensor_get(f, (const int64_t[]){0, 3}, &value));
	REFUSED(HYP_ERR_INVALID, "index", hyp_tensor_set(f, (const int64_t[]){-3, 0}, value));
	ck_assert(value.kind == HYP_SCALAR_INT && value.value.i == 5);
	REFUSED(HYP_ERR_UNSUPPORTED, "single elements", hyp_tensor_set(blocks, (const int64_t[]){1}, hyp_float(1)));
	REFUSED(HYP_ERR_OVERFLOW, "value", hyp_tensor_set(small, (const int64_t[]){0, 0}, hyp_int(128)));
	REFUSED(HYP_ERR_INVALID, "bytes", hyp_tensor_read(f, bytes, 23));
	REFUSED(HYP_ERR_INVALID, "bytes", hyp_tensor_write(f, bytes, 25));
	REFUSED(HYP_ERR_INVALID, "ret_info", hyp_tensor_describe(f, &info));
	REFUSED(HYP_ERR_SHAPE, "broadcast", hyp_tensor_copy(f, three));
	hyp_tensor *deeper = plain(HYP_F32, 3, (const int64_t[]){5, 2, 3});
	REFUSED(HYP_ERR_SHAPE, "from", hyp_tensor_copy(f, deeper));
	x = untouched;
	value.kind = (hyp_scalar_kind)9;
	REFUSED(HYP_ERR_INVALID, "scalar", hyp_tensor_binary_scalar(HYP_OP_ADD, f, value, false, &x));
	ck_assert_ptr_eq(x, untouched);
	ck_assert(at(f, (const int64_t[]){1, 2}) == 1 && at(small, (const int64_t[]){0, 0}) == 1);
	RELEASE(f, small, three, blocks, deeper);
	none_left();
}
END_TEST

START_TEST(views) {
	hyp_tensor *f = plain(HYP_F32, 2, two_three), *codes = plain(HYP_BITNET158, 2, (const int64_t[]){1, 1}),
			   *v = untouched;
	hyp_tensor *blocks, *packed = plain(HYP_BITNET158, 2, (const int64_t[]){4, 8});
	OK(hyp_tensor_random(HYP_Q8_0, 2, (const int64_t[]){2, 64}, 1, -1, 1, &blocks));
	static const hyp_slice all[3] = {{0, 1, 1}, {0, 1, 1}, {0, 1, 1}}, cut[2] = {{0, 2, 1}, {0, 63, 1}};
	static const int64_t wide[33] = {1};
	REFUSED(HYP_ERR_INVALID, "count", hyp_tensor_slice(f, 3, all, &v));
	REFUSED(HYP_ERR_UNSUPPORTED, "slices", hyp_tensor_slice(blocks, 2, cut, &v));
	REFUSED(HYP_ERR_UNSUPPORTED, "axis", hyp_tensor_select(packed, 1, 0, &v));
	REFUSED(HYP_ERR_UNSUPPORTED, "axis", hyp_tensor_unsqueeze(packed, 2, &v));
	REFUSED(HYP_ERR_SHAPE, "rank", hyp_tensor_reshape(f, 33, wide, &v));
	REFUSED(HYP_ERR_SHAPE, "shape", hyp_tensor_reshape(f, 2, (const int64_t[]){-2, 3}, &v));
	REFUSED(HYP_ERR_UNSUPPORTED, "shape", hyp_tensor_expand(codes, 2, (const int64_t[]){1, 4}, &v));
	ck_assert_ptr_eq(v, untouched);
	RELEASE(f, codes, blocks, packed);
	none_left();
}
END_TEST

START_TEST(operations) {
	hyp_tensor *f = plain(HYP_F32, 2, two_three), *n = plain(HYP_I32, 2, two_three),
			   *bits = plain(HYP_BOOL, 2, two_three);
	hyp_tensor *three = plain(HYP_F32, 3, cube), *eights = plain(HYP_F32, 1, eight), *t = untouched, *empty_row,
			   *column;
	hyp_tensor *packed = plain(HYP_BITNET158, 2, two_three);
	REFUSED(HYP_ERR_INVALID, "op", hyp_tensor_unary((hyp_unary_op)999, f, &t));
	REFUSED(HYP_ERR_INVALID, "op", hyp_tensor_reduce((hyp_reduce_op)999, f, 0, NULL, NULL, &t));
	REFUSED(HYP_ERR_TYPE, "argument a", hyp_tensor_unary(HYP_OP_NEG, bits, &t));
	REFUSED(HYP_ERR_SHAPE, "out", hyp_tensor_unary_into(HYP_OP_EXP, f, eights));
	REFUSED(HYP_ERR_TYPE, "out", hyp_tensor_unary_into(HYP_OP_EXP, f, packed));
	REFUSED(HYP_ERR_TYPE, "argument a", hyp_tensor_softmax(n, &t));
	REFUSED(HYP_ERR_SHAPE, "weight", hyp_tensor_rms_norm(f, eights, 1e-5, &t));
	REFUSED(HYP_ERR_SHAPE, "dot", hyp_tensor_dot(three, three, &t));
	OK(hyp_tensor_transpose(f, 0, 1, &column));
	REFUSED(HYP_ERR_SHAPE, "out", hyp_tensor_matmul_into(f, column, eights));
	REFUSED(HYP_ERR_TYPE, "out", hyp_tensor_matmul_into(f, column, packed));
	/* Nothing is in it, and still its product does not fit. */
	static float nothing;
	hyp_tensor *tall;
	OK(hyp_tensor_from_foreign(HYP_F32, 2, (const int64_t[]){1ll << 40, 1}, (const int64_t[]){0, 0}, &nothing, 0, 4, 0,
	                           0, NULL, NULL, &tall));
	OK(hyp_tensor_from_foreign(HYP_F32, 2, (const int64_t[]){1, 1ll << 40}, (const int64_t[]){0, 0}, &nothing, 0, 4, 0,
	                           0, NULL, NULL, &empty_row));
	REFUSED(HYP_ERR_OVERFLOW, "broadcast", hyp_tensor_mul(tall, empty_row, &t));
	ck_assert_ptr_eq(t, untouched);
	RELEASE(f, n, bits, three, eights, packed, column, tall, empty_row);
	none_left();
}
END_TEST

START_TEST(quantised) {
	hyp_tensor *f = plain(HYP_F32, 2, two_three), *n = plain(HYP_I32, 2, two_three), *q = plain(HYP_I8, 2, two_three);
	hyp_tensor *scale = plain(HYP_F32, 1, (const int64_t[]){2}), *longer = plain(HYP_F32, 1, eight);
	hyp_tensor *codes = plain(HYP_BITNET158, 2, (const int64_t[]){4, 3}), *packed, *upside, *t = untouched,
			   *u = untouched;
	double mean = 7;
	OK(hyp_tensor_pack_ternary(codes, &packed));
	REFUSED(HYP_ERR_TYPE, "argument x", hyp_tensor_quantize_absmax(n, &t, &u));
	REFUSED(HYP_ERR_TYPE, "argument q", hyp_tensor_dequantize_absmax(f, scale, &t));
	REFUSED(HYP_ERR_TYPE, "scale", hyp_tensor_dequantize_absmax(q, n, &t));
	REFUSED(HYP_ERR_SHAPE, "scale", hyp_tensor_dequantize_absmax(q, longer, &t));
	REFUSED(HYP_ERR_TYPE, "dtype", hyp_tensor_quantize_absmean(f, HYP_I8, &t, &mean));
	REFUSED(HYP_ERR_TYPE, "argument q", hyp_tensor_dequantize_absmean(q, 1, &t));
	REFUSED(HYP_ERR_TYPE, "argument x", hyp_tensor_matmul_ternary(n, NULL, codes, 1, &t));
	REFUSED(HYP_ERR_TYPE, "x_scale", hyp_tensor_matmul_ternary(q, n, codes, 1, &t));
	REFUSED(HYP_ERR_SHAPE, "x_scale", hyp_tensor_matmul_ternary(q, longer, codes, 1, &t));
	REFUSED(HYP_ERR_SHAPE, "packed", hyp_tensor_matmul_ternary_packed(q, NULL, packed, 400, 1, &t));
	OK(hyp_tensor_slice(codes, 1, &(const hyp_slice){HYP_SLICE_OPEN, HYP_SLICE_OPEN, -1}, &upside));
	REFUSED(HYP_ERR_UNSUPPORTED, "argument w", hyp_tensor_pack_ternary(upside, &t));
	ck_assert(t == untouched && u == untouched && mean == 7);
	RELEASE(f, n, q, scale, longer, codes, packed, upside);
	none_left();
}
END_TEST

#undef OUTCOME_ERROR
#define OUTCOME_ERROR hyp_device_last_error()

START_TEST(devices) {
	const hyp_simulated_config wrong = {.struct_bytes = 1}, slow = {sizeof slow, 1 << 20, 1, 0, 1, 0};
	hyp_device_info info = {.struct_bytes = 1};
	hyp_device_work work = {.struct_bytes = 1};
	hyp_device_driver driver = {.struct_bytes = 1};
	hyp_bandwidth bandwidth = {.struct_bytes = 1};
	hyp_numa_node node = {.struct_bytes = 1};
	const hyp_topology *machine;
	int a = -7, b = -7;
	uintptr_t address = 0;
	REFUSED(HYP_ERR_INVALID, "config", hyp_simulated_open(&wrong, &a));
	REFUSED(HYP_ERR_INVALID, "bandwidth", hyp_simulated_open(&slow, &a));
	REFUSED(HYP_ERR_INVALID, "driver", hyp_device_register(&driver, NULL, &a));
	REFUSED(HYP_ERR_INVALID, "ret_info", hyp_device_describe(0, &info));
	REFUSED(HYP_ERR_INVALID, "work", hyp_device_auto_select(&work, &a));
	REFUSED(HYP_ERR_INVALID, "ret_bandwidth", hyp_topology_measure(0, 0, NULL, &bandwidth));
	OK(hyp_topology_this(&machine));
	REFUSED(HYP_ERR_INVALID, "ret_node", hyp_topology_node(machine, 0, &node));
	REFUSED(HYP_ERR_NOT_FOUND, "simulated", hyp_simulated_fail(0, HYP_FAULT_ALLOC, 1));
	REFUSED(HYP_ERR_NOT_FOUND, "device", hyp_device_alloc(62, 1, 1, &address));
	ck_assert(a == -7 && address == 0);
	OK(hyp_simulated_open(NULL, &a));
	OK(hyp_simulated_open(NULL, &b));
	REFUSED(HYP_ERR_INVALID, "fault", hyp_simulated_fail(a, HYP_FAULT_COUNT, 1));
	REFUSED(HYP_ERR_INVALID, "alignment", hyp_device_alloc(a, 8, 3, &address));
	hyp_stream *stream;
	hyp_event *of_a, *of_b;
	uint64_t ns = 7;
	OK(hyp_stream_create(a, &stream));
	OK(hyp_event_create(a, &of_a));
	OK(hyp_event_create(b, &of_b));
	REFUSED(HYP_ERR_DEVICE, "event and stream", hyp_event_record(of_b, stream));
	REFUSED(HYP_ERR_DEVICE, "from and to", hyp_event_elapsed_ns(of_a, of_b, &ns));
	ck_assert_uint_eq(ns, 7);
	hyp_event_destroy(of_a);
	hyp_event_destroy(of_b);
	hyp_stream_destroy(stream);
	OK(hyp_device_unregister(a));
	REFUSED(HYP_ERR_DEVICE, "closed", hyp_device_unregister(a));
	OK(hyp_device_unregister(b));
	/* As many as there is room for, and one more. */
	hyp_status status = HYP_OK;
	for (int i = 0; i < 1000 && status == HYP_OK; i++) status = hyp_simulated_open(NULL, &a);
	ck_assert_int_eq(status, HYP_ERR_LIMIT);
	none_left();
}
END_TEST

int main(void) {
	const TTest *const tests[] = {making, single_elements_and_bytes, views, operations, quantised, devices};
	return run_suite("refusals", tests, sizeof tests / sizeof *tests);
}
