/*
 * tensor/iter.c: the walk over several strided operands (compute.h).
 */
#include "tensor/compute.h"
#include "tensor/parallel.h"

/* Must axis a be walked outside of axis b? By the first operand whose strides tell. */
static bool is_outer(const struct hypi_iter *it, int a, int b) {
	for (int k = 0; k < it->operands; k++) {
		int64_t sa = llabs(it->stride[k][a]), sb = llabs(it->stride[k][b]);
		if (sa != sb && sa != 0 && sb != 0) return sa > sb;
	}
	return true; /* as given */
}

static void swap_axes(struct hypi_iter *it, int a, int b) {
	int64_t t = it->shape[a];
	it->shape[a] = it->shape[b];
	it->shape[b] = t;
	for (int k = 0; k < it->operands; k++) {
		t = it->stride[k][a];
		it->stride[k][a] = it->stride[k][b];
		it->stride[k][b] = t;
	}
}

static void merge(struct hypi_iter *it) {
	int to = 0;
	for (int i = 1; i < it->rank; i++) {
		bool joined = true;
		for (int k = 0; k < it->operands && joined; k++) joined = it->stride[k][to] == it->stride[k][i] * it->shape[i];
		if (joined) it->shape[to] *= it->shape[i];
		else it->shape[++to] = it->shape[i];
		for (int k = 0; k < it->operands; k++) it->stride[k][to] = it->stride[k][i];
	}
	it->rank = to + 1;
}

void hypi_iter_init(struct hypi_iter *it, int rank, const int64_t *shape, int operands,
                    const hyp_tensor *const *tensors, char *const *data) {
	it->operands = operands;
	it->rank = 0;
	it->total = 1;
	for (int k = 0; k < operands; k++) it->base[k] = data[k];
	for (int i = 0; i < rank; i++) {
		it->total *= shape[i];
		if (shape[i] == 1) continue;
		int to = it->rank++;
		it->shape[to] = shape[i];
		for (int k = 0; k < operands; k++) {
			const hyp_tensor *t = tensors[k];
			int axis = t == NULL ? -1 : i - (rank - t->rank);
			it->stride[k][to] = axis < 0 || t->shape[axis] == 1 ? 0 : t->strides[axis] * hypi_bytes_of(t->dtype);
		}
	}
	if (it->rank == 0) {
		it->rank = 1;
		it->shape[0] = 1;
		for (int k = 0; k < operands; k++) it->stride[k][0] = 0;
		return;
	}
	for (int i = 1; i < it->rank; i++)
		for (int j = i; j > 0 && !is_outer(it, j - 1, j); j--) swap_axes(it, j - 1, j);
	merge(it);
}

void hypi_iter_run(const struct hypi_iter *it, int64_t begin, int64_t end, hypi_run_fn *fn, void *context) {
	if (begin >= end) return;
	int inner = it->rank - 1;
	int64_t index[HYP_TENSOR_MAX_RANK], stride[HYPI_OPERANDS], rest = begin, n = it->shape[inner];
	char *data[HYPI_OPERANDS];
	for (int k = 0; k < it->operands; k++) {
		data[k] = it->base[k];
		stride[k] = it->stride[k][inner];
	}
	for (int i = inner; i >= 0; i--) {
		index[i] = rest % it->shape[i];
		rest /= it->shape[i];
		for (int k = 0; k < it->operands; k++) data[k] += index[i] * it->stride[k][i];
	}
	for (;;) {
		int64_t run = n - index[inner] < end - begin ? n - index[inner] : end - begin;
		fn(context, data, stride, run);
		begin += run;
		if (begin == end) return;
		for (int k = 0; k < it->operands; k++) data[k] -= index[inner] * stride[k];
		index[inner] = 0;
		for (int i = inner - 1; i >= 0; i--) {
			for (int k = 0; k < it->operands; k++) data[k] += it->stride[k][i];
			if (++index[i] < it->shape[i]) break;
			for (int k = 0; k < it->operands; k++) data[k] -= it->shape[i] * it->stride[k][i];
			index[i] = 0;
		}
	}
}

struct shared_run {
	const struct hypi_iter *it;
	hypi_run_fn *fn;
	void *context;
};

static void run_range(void *context, int64_t begin, int64_t end) {
	struct shared_run *s = context;
	hypi_iter_run(s->it, begin, end, s->fn, s->context);
}

void hypi_iter_parallel(const struct hypi_iter *it, int64_t grain, hypi_run_fn *fn, void *context) {
	if (it->total <= grain) {
		hypi_iter_run(it, 0, it->total, fn, context);
		return;
	}
	struct shared_run s = {it, fn, context};
	hypi_parallel(it->total, grain, run_range, &s);
}
