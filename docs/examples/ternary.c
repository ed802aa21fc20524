/*
 * Weights in two bits: quantised by absmean, packed for the fastest kernel, multiplied by activations in int8; and a
 * tensor shared without a copy as DLPack, which is how NumPy and others would take it.
 */
#include <hypool/interop.h>
#include <hypool/ops.h>
#include <hypool/tensor.h>

#include <stdio.h>
#include <stdlib.h>

static void must(hyp_status status) {
	if (status == HYP_OK) return;
	fprintf(stderr, "%s: %s\n", hyp_status_name(status), hyp_tensor_last_error());
	exit(1);
}

static double at(const hyp_tensor *tensor, int64_t row, int64_t column) {
	hyp_scalar value;
	must(hyp_tensor_get(tensor, (const int64_t[]){row, column}, &value));
	return value.value.f;
}

int main(void) {
	const int64_t weights_shape[2] = {64, 256}, batch_shape[2] = {8, 256};
	hyp_tensor *weights, *codes, *packed, *activations, *product, *plain, *turned, *reference;
	double scale;
	must(hyp_tensor_random(HYP_F32, 2, weights_shape, 1, -1, 1, &weights));
	must(hyp_tensor_random(HYP_F32, 2, batch_shape, 2, -1, 1, &activations));
	must(hyp_tensor_quantize_absmean(weights, HYP_BITNET158, &codes, &scale));
	must(hyp_tensor_pack_ternary(codes, &packed));
	/* Float activations are quantised row by row; the product is [8, 64]: x times the weights transposed. */
	must(hyp_tensor_matmul_ternary_packed(activations, NULL, packed, weights_shape[0], scale, &product));

	/* The same in floats, from what the codes stand for: only the rounding of the activations lies between them. */
	must(hyp_tensor_dequantize_absmean(codes, scale, &plain));
	must(hyp_tensor_transpose(plain, 0, 1, &turned));
	must(hyp_tensor_matmul(activations, turned, &reference));
	double apart = at(product, 3, 5) - at(reference, 3, 5);
	printf("ternary %s the float product\n", apart < 0.2 && apart > -0.2 ? "is near" : "is far from");

	struct DLManagedTensor *shared;
	hyp_tensor *same;
	must(hyp_tensor_to_dlpack(product, &shared)); /* a capsule named "dltensor" around it is what NumPy takes */
	hyp_tensor_release(product);                  /* the structure holds the memory */
	must(hyp_tensor_from_dlpack(shared, &same));  /* and now this tensor does, without a copy */
	printf("shared: %.3f\n", at(same, 3, 5));

	hyp_tensor *all[] = {weights, codes, packed, activations, plain, turned, reference, same};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) hyp_tensor_release(all[i]);
	return 0;
}
