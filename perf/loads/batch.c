/* One thread, many blocks at once: allocate COUNT blocks, then free them last-first, first-first or in random order.
 *
 *   batch COUNT SIZE|mixed lifo|fifo|random       one operation is one malloc and its free
 *   batch count COUNT SIZE ORDER N                N batches and no clock, for perf/callgrind.sh
 *
 * mixed: log-uniform 16 B to 8 KiB. The order and the sizes are drawn beforehand, outside the timed loop. */
#include "load.h"

struct batch {
	size_t count;
	const uint32_t *sizes;
	const uint32_t *order;
	void **blocks;
};

static void batch_body(void *context, size_t rounds) {
	const struct batch *batch = context;
	for (size_t round = 0; round < rounds; round++) {
		for (size_t i = 0; i < batch->count; i++) {
			batch->blocks[i] = load_malloc(batch->sizes[i]);
		}
		for (size_t i = 0; i < batch->count; i++) {
			load_free(batch->blocks[batch->order[i]]);
		}
	}
}

int main(int argc, char **argv) {
	bool counting = argc > 5 && strcmp(argv[1], "count") == 0;
	if (argc < 4) {
		load_die("usage: batch [count] COUNT SIZE|mixed lifo|fifo|random [N]");
	}
	char **arg = argv + (counting ? 2 : 1);
	size_t count = strtoul(arg[0], NULL, 10);
	uint32_t *sizes = load_own_memory(count * sizeof *sizes);
	uint32_t *order = load_own_memory(count * sizeof *order);
	void **blocks = load_own_memory(count * sizeof *blocks);
	uint64_t random = 42;
	for (size_t i = 0; i < count; i++) {
		size_t size = strcmp(arg[1], "mixed") == 0 ? load_random_log(&random, 16, 8192) : load_parse_size(arg[1]);
		sizes[i] = (uint32_t)size;
		order[i] = (uint32_t)(strcmp(arg[2], "lifo") == 0 ? count - 1 - i : i);
	}
	if (strcmp(arg[2], "random") == 0) {
		load_shuffle(order, count, &random);
	}
	struct batch batch = {count, sizes, order, blocks};
	if (counting) {
		batch_body(&batch, strtoul(arg[3], NULL, 10));
		return 0;
	}
	char name[96];
	snprintf(name, sizeof name, "batch.%s.%s.%s", arg[0], arg[1], arg[2]);
	load_result(name, load_measure(batch_body, &batch, (double)count), "%s", "");
	return 0;
}
