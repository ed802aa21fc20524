/*
 * tests/tensor/one_heap.c: a program that links libhypool-tensor, started under the preload library, sees one heap:
 * malloc and tensors come from the same default pool. Without the preload library malloc is another one.
 * usage: one_heap preloaded|plain
 */
#include <hypool/pool.h>
#include <hypool/tensor.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
	if (argc != 2) return 2;
	bool preloaded = strcmp(argv[1], "preloaded") == 0;
	hyp_tensor *t;
	void *data;
	if (hyp_tensor_ones(HYP_F32, 1, (const int64_t[]){1000}, &t) != HYP_OK || hyp_tensor_lock(t, &data) != HYP_OK)
		return 1;
	void *block = malloc(1000);
	hyp_pool *of_tensor = hyp_pool_of(data), *of_malloc = hyp_pool_of(block);
	printf("tensor in %s, malloc in %s\n", of_tensor ? hyp_pool_name(of_tensor) : "none",
	       of_malloc ? hyp_pool_name(of_malloc) : "none");
	bool right = of_tensor == hyp_pool_default() && of_malloc == (preloaded ? of_tensor : NULL);
	free(block);
	hyp_tensor_unlock(t);
	hyp_tensor_release(t);
	return right ? 0 : 1;
}
