/*
 * kernels/dispatch.c: makes the table. The ladder below is the only place that knows which set improves which family.
 */
#include "kernels/kernels.h"

#include <stdatomic.h>

#include "base/compiler.h"
#include "kernels/fill.h"

const uint8_t hypi_num_bytes[HYPI_NUM_COUNT] = {4, 8, 1, 2, 4, 8, 1};

const struct hypi_block_info hypi_block_info[HYPI_BLOCK_COUNT] = {
	[HYPI_Q8_0] = {"Q8_0", 32, 34},    [HYPI_Q4_0] = {"Q4_0", 32, 18},  [HYPI_TQ1_0] = {"TQ1_0", 256, 54},
	[HYPI_TQ2_0] = {"TQ2_0", 256, 66}, [HYPI_I2_S] = {"I2_S", 128, 32},
};

static struct hypi_kernels process_table;
/* 0 empty, 1 someone fills it, 2 ready. The release store of 2 pairs with the acquire load in hypi_kernels(). */
static _Atomic int process_state;

static void fill_reference(struct hypi_kernels *k) {
	hypi_fill_elementwise_ref(&k->elementwise);
	hypi_fill_integer_ref(&k->elementwise);
	hypi_fill_reduce_ref(&k->reduce);
	hypi_fill_convert_ref(&k->convert);
	hypi_fill_num_ref(&k->convert);
	hypi_fill_gemm_ref(&k->gemm);
	hypi_fill_ternary_ref(&k->ternary);
	hypi_fill_block_ref(&k->block);
	hypi_fill_probe_ref(&k->probe);
}

#define FILL_VECTOR_SET(k, set) \
	(hypi_fill_elementwise_##set(&(k)->elementwise), hypi_fill_integer_##set(&(k)->elementwise), \
	 hypi_fill_reduce_##set(&(k)->reduce), hypi_fill_convert_##set(&(k)->convert), hypi_fill_num_##set(&(k)->convert), \
	 hypi_fill_gemm_##set(&(k)->gemm), hypi_fill_ternary_##set(&(k)->ternary), hypi_fill_block_##set(&(k)->block), \
	 hypi_fill_probe_##set(&(k)->probe))

void hypi_kernels_fill(struct hypi_kernels *ret_kernels, uint32_t mask) {
	struct hypi_kernels *k = ret_kernels;
	mask &= hypi_kernels_detect();
	fill_reference(k);
	k->mask = 0;
#if HYP_CPU_X86_64
	if ((mask & HYPI_MASK(AVX2)) == 0) return;
	FILL_VECTOR_SET(k, avx2);
	k->mask |= HYPI_MASK(AVX2);
	if ((mask & HYPI_MASK(AVX512)) == 0) return;
	FILL_VECTOR_SET(k, avx512);
	k->mask |= HYPI_MASK(AVX512);
	if ((mask & HYPI_MASK(AVX512VNNI)) == 0) return;
	hypi_fill_ternary_avx512vnni(&k->ternary);
	hypi_fill_probe_avx512vnni(&k->probe);
	k->mask |= HYPI_MASK(AVX512VNNI);
#elif HYP_CPU_ARM64
	if ((mask & HYPI_MASK(NEON)) == 0) return;
	FILL_VECTOR_SET(k, neon);
	k->mask |= HYPI_MASK(NEON);
	if ((mask & HYPI_MASK(DOTPROD)) == 0) return;
	hypi_fill_ternary_dotprod(&k->ternary);
	hypi_fill_probe_dotprod(&k->probe);
	k->mask |= HYPI_MASK(DOTPROD);
	if ((mask & HYPI_MASK(I8MM)) == 0) return;
	hypi_fill_ternary_i8mm(&k->ternary);
	k->mask |= HYPI_MASK(I8MM);
#endif
}

uint32_t hypi_kernels_init(uint32_t mask) {
	hypi_kernels_fill(&process_table, mask);
	atomic_store_explicit(&process_state, 2, memory_order_release);
	return process_table.mask;
}

const struct hypi_kernels *hypi_kernels(void) {
	if (HYP_LIKELY(atomic_load_explicit(&process_state, memory_order_acquire) == 2)) return &process_table;
	int expected = 0;
	if (atomic_compare_exchange_strong_explicit(&process_state, &expected, 1, memory_order_acquire,
	                                            memory_order_acquire)) {
		(void)hypi_kernels_init(hypi_kernels_allowed());
	}
	/* Another thread fills it: that takes microseconds. */
	while (atomic_load_explicit(&process_state, memory_order_acquire) != 2) {
	}
	return &process_table;
}
