/*
 * Tensors in a pool of their own: a product, a view, a sum along an axis, and what the operations cost.
 */
#include <hypool/device.h>
#include <hypool/ops.h>
#include <hypool/pool.h>
#include <hypool/tensor.h>

#include <stdio.h>
#include <stdlib.h>

static void must(hyp_status status) {
	if (status == HYP_OK) return;
	fprintf(stderr, "%s\n", hyp_tensor_last_error()); /* says which argument, and why */
	exit(1);
}

int main(void) {
	hyp_pool *pool;
	if (hyp_pool_create(NULL, &pool) != HYP_OK) return 1;
	const hyp_tensor_place in_pool = {sizeof in_pool, pool, HYP_DEVICE_HOST, 0};
	const int64_t shape[2] = {64, 64};
	hyp_tensor *made, *a, *b, *product, *first_rows, *sums;
	must(hyp_tensor_arange(HYP_F32, 0, 64, 1, &made));
	must(hyp_tensor_to_place(made, &in_pool, &a)); /* whatever can be made can be made in any place */
	must(hyp_tensor_eye(HYP_F32, 64, 64, 0, &b));
	must(hyp_tensor_empty_at(&in_pool, HYP_F32, 2, shape, &product));

	hyp_profile_enable(true);
	must(hyp_tensor_binary_into(HYP_OP_ADD, b, a, product)); /* broadcast, as NumPy does */
	must(hyp_tensor_matmul_into(product, b, product));
	must(hyp_tensor_slice(product, 1, &(hyp_slice){0, 2, 1}, &first_rows)); /* a view: no copy */
	must(hyp_tensor_sum(first_rows, 1, (const int[]){1}, NULL, &sums));
	hyp_profile_enable(false);

	for (int64_t i = 0; i < 2; i++) {
		hyp_scalar value;
		must(hyp_tensor_get(sums, &i, &value));
		printf("row %lld sums to %g\n", (long long)i, value.value.f);
	}
	hyp_profile_row row;
	hyp_profile_read(HYP_PROFILE_matmul, &row);
	printf("%s: %llu call, %llu operations\n", row.name, (unsigned long long)row.calls, (unsigned long long)row.flops);

	hyp_tensor *all[] = {made, a, b, product, first_rows, sums};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) hyp_tensor_release(all[i]);
	hyp_pool_destroy(pool);
	return 0;
}
