/*
 * Basic memory pool usage: make a pool with the default configuration, allocate a mebibyte aligned to 64 bytes, use it,
 * look at the metrics, give it back.
 */
#include <hypool/handle.h>
#include <hypool/pool.h>

#include <stdio.h>
#include <string.h>

int main(void) {
	/* A pool with the default configuration: 64 MiB reserved for small blocks, 128 MiB for large ones. */
	hyp_pool *pool;
	hyp_status status = hyp_pool_create(NULL, &pool);
	if (status != HYP_OK) {
		fprintf(stderr, "no pool: %s (%s)\n", hyp_status_message(status), hyp_pool_config_error());
		return 1;
	}

	/* 1 MiB on the host (device 0). A handle is not an address: the block may move until it is locked. */
	hyp_handle handle;
	status = hyp_handle_alloc(pool, 1024 * 1024, 64, 0, &handle);
	if (status != HYP_OK) {
		fprintf(stderr, "no memory: %s\n", hyp_status_message(status));
		return 1;
	}
	void *memory;
	if (hyp_handle_lock(pool, handle, &memory) != HYP_OK) return 1;
	memset(memory, 0, 1024 * 1024);
	if (hyp_handle_unlock(pool, handle) != HYP_OK) return 1;

	/* Metrics. */
	hyp_stats stats = {.struct_bytes = sizeof stats};
	if (hyp_pool_stats(pool, &stats) != HYP_OK) return 1;
	printf("Total allocated: %llu bytes\n", (unsigned long long)stats.allocated_bytes);
	printf("Peak usage: %llu bytes\n", (unsigned long long)stats.peak_bytes);

	/* Give it back. The handle is stale from now on, and every use of it says so. */
	if (hyp_handle_free(pool, handle) != HYP_OK) return 1;
	printf("Used after free: %s\n", hyp_status_message(hyp_handle_lock(pool, handle, &memory)));

	/* Blocks by pointer come from the same pool, as fast as malloc. */
	char *text = hyp_pool_malloc(pool, 100);
	if (text == NULL) return 1;
	snprintf(text, 100, "%s", "a block by pointer");
	puts(text);
	hyp_pool_free(pool, text);

	hyp_pool_destroy(pool);
	return 0;
}
