/*
 * Memory of your own: a pool over a table of functions. Here it stands for a device: the processor may not touch it
 * (the pages have no access), and still the pool serves it, since none of its records lie in it.
 */
#include <hypool/handle.h>

#include <stdio.h>
#include <sys/mman.h>

static hyp_status reserve(void *context, size_t bytes, size_t alignment, uintptr_t *ret_address) {
	size_t *total = context;
	char *p = mmap(NULL, bytes + alignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) return HYP_ERR_NO_MEMORY;
	uintptr_t start = ((uintptr_t)p + alignment - 1) & ~(alignment - 1);
	munmap(p, start - (uintptr_t)p);
	munmap((void *)(start + bytes), (uintptr_t)p + alignment - start);
	*total += bytes;
	*ret_address = start;
	return HYP_OK;
}

static hyp_status release(void *context, uintptr_t address, size_t bytes) {
	size_t *total = context;
	*total -= bytes;
	return munmap((void *)address, bytes) == 0 ? HYP_OK : HYP_ERR_OS;
}

int main(void) {
	size_t reserved = 0;
	hyp_backing device = {
		.struct_bytes = sizeof device,
		.name = "my device",
		.context = &reserved,
		.numa_node = -1,
		.device = 1,
		.reserve = reserve,
		.release = release,
	};
	hyp_pool_config config;
	hyp_pool_config_init(&config);
	config.backing = &device;
	config.initial_small_bytes = config.initial_large_bytes = 0;
	hyp_pool *pool;
	if (hyp_pool_create(&config, &pool) != HYP_OK) return 1;

	hyp_handle weights, bias;
	if (hyp_handle_alloc(pool, 3 << 20, 256, 1, &weights) != HYP_OK) return 1;
	if (hyp_handle_alloc(pool, 4096, 256, 1, &bias) != HYP_OK) return 1;
	hyp_handle_info info = {.struct_bytes = sizeof info};
	if (hyp_handle_get_info(pool, bias, &info) != HYP_OK) return 1;
	printf("%zu bytes on device %d, aligned to %zu, %s\n", info.bytes, info.device, info.alignment,
	       info.small ? "small" : "large");
	printf("by pointer: %s\n", hyp_pool_malloc(pool, 10) == NULL ? "not with this memory" : "?");
	printf("on the host: %s\n", hyp_status_message(hyp_handle_alloc(pool, 10, 0, 0, &bias)));
	hyp_pool_destroy(pool);
	printf("reserved at the end: %zu bytes\n", reserved);
	return reserved == 0 ? 0 : 1;
}
