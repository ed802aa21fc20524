/* One thread, one block at a time: malloc then free of one size (P1, P2), calloc, aligned_alloc, and the sweep over
 * every class edge.
 *
 *   pairs malloc SIZE | calloc SIZE | aligned ALIGNMENT SIZE      one result each
 *   pairs sweep [LIMIT]       a result for each size edge up to LIMIT (1M): eight steps a doubling, edge and edge + 1
 *   pairs count SIZE N | count-empty SIZE N     N pairs and no clock: perf/callgrind.sh counts their instructions
 *
 * The first byte of every block is written, so memory that an allocator gave back costs its page fault here. */
#include "load.h"

struct pair {
	size_t size;
	size_t alignment;
};

static void malloc_body(void *context, size_t rounds) {
	const size_t size = ((const struct pair *)context)->size;
	for (size_t i = 0; i < rounds; i++) {
		load_free(load_malloc(size));
	}
}

static void calloc_body(void *context, size_t rounds) {
	const size_t size = ((const struct pair *)context)->size;
	for (size_t i = 0; i < rounds; i++) {
		char *p = calloc(1, size);
		if (p == NULL || *(volatile char *)p != 0) {
			load_die("pairs: calloc failed or memory is not zero");
		}
		*(volatile char *)p = 1;
		load_free(p);
	}
}

static void aligned_body(void *context, size_t rounds) {
	const struct pair *pair = context;
	for (size_t i = 0; i < rounds; i++) {
		char *p = aligned_alloc(pair->alignment, pair->size);
		if (p == NULL || ((uintptr_t)p & (pair->alignment - 1)) != 0) {
			load_die("pairs: aligned_alloc failed or is misaligned");
		}
		*(volatile char *)p = 1;
		load_free(p);
	}
}

static void count_empty(size_t size, size_t rounds) {
	char block[16];
	for (size_t i = 0; i < rounds; i++) {
		char *p = block;
		LOAD_KEEP(size);
		LOAD_KEEP(p);
		*(volatile char *)p = 1;
		LOAD_KEEP(p);
	}
}

static void sweep(size_t limit) {
	for (size_t power = 8; power < limit; power *= 2) {
		for (size_t step = 1; step <= 8; step++) {
			size_t edge = power + power * step / 8;
			if (edge == power + power * (step - 1) / 8 || edge > limit) {
				continue;
			}
			for (size_t over = 0; over < 2; over++) {
				struct pair pair = {edge + over, 0};
				char name[64];
				snprintf(name, sizeof name, "sweep.%zu", pair.size);
				load_result(name, load_measure_for(1000000U, malloc_body, &pair, 1), "%s", "");
			}
		}
	}
}

int main(int argc, char **argv) {
	const char *mode = argc > 1 ? argv[1] : "";
	char name[64];
	if (strcmp(mode, "sweep") == 0) {
		sweep(argc > 2 ? load_parse_size(argv[2]) : LOAD_MIB);
		return 0;
	}
	if (argc < 3) {
		load_die("usage: pairs malloc SIZE | calloc SIZE | aligned ALIGNMENT SIZE | sweep [LIMIT] | count SIZE N");
	}
	struct pair pair = {load_parse_size(argv[argc > 3 ? 3 : 2]), load_parse_size(argv[2])};
	if (strcmp(mode, "malloc") == 0) {
		snprintf(name, sizeof name, "pair.%s", argv[2]);
		load_result(name, load_measure(malloc_body, &pair, 1), "%s", "");
	} else if (strcmp(mode, "calloc") == 0) {
		snprintf(name, sizeof name, "calloc.%s", argv[2]);
		load_result(name, load_measure(calloc_body, &pair, 1), "%s", "");
	} else if (strcmp(mode, "aligned") == 0 && argc > 3) {
		snprintf(name, sizeof name, "aligned.%s.%s", argv[2], argv[3]);
		load_result(name, load_measure(aligned_body, &pair, 1), "%s", "");
	} else if (strcmp(mode, "count") == 0 && argc > 3) {
		pair.size = load_parse_size(argv[2]);
		malloc_body(&pair, strtoul(argv[3], NULL, 10));
	} else if (strcmp(mode, "count-empty") == 0 && argc > 3) {
		count_empty(load_parse_size(argv[2]), strtoul(argv[3], NULL, 10));
	} else {
		load_die("pairs: unknown mode");
	}
	return 0;
}
