/* What a heap costs beyond what is alive in it (P5), and what stays when nothing is (A8).
 *
 *   memory overhead SIZE|small|large     256 MiB alive, every block replaced once at random, all of it written.
 *                                        total_pct: (resident growth - asked) / asked. overhead_pct: the growth beyond
 *                                        the blocks' own pages, over asked: metadata and unused commit (P5).
 *                                        info_waste_pct: (usable - asked) / asked: rounding, stated apart. small: 16 B
 *                                        to 1 KiB log-uniform, large: 1 to 8 MiB. ns an operation of fill and replacement
 *   memory return small|large            500 MiB allocated, written and freed, then 3 s of light activity (4 pairs
 *                                        every ms): rss_1s_kib, rss_3s_kib. small: 64 B to 1 KiB. ns of one free */
#include "load.h"
#include <malloc.h>

/* The tail of a large block that was never written is usable but not resident: its pages are not the block's own. */
#define PAGE ((size_t)4096)
#define LARGE (64 * LOAD_KIB)

struct heap {
	char **blocks;
	uint32_t *sizes;
	size_t count;
	size_t asked;
};

static size_t draw(const char *kind, uint64_t *random, size_t small_lo) {
	if (strcmp(kind, "small") == 0) {
		return load_random_log(random, small_lo, 1024);
	}
	if (strcmp(kind, "large") == 0) {
		return load_random_log(random, LOAD_MIB, 8 * LOAD_MIB);
	}
	return load_parse_size(kind);
}

/* The bookkeeping is touched before the first block, so that it is in the base figure and not in the growth. */
static void fill(struct heap *heap, const char *kind, size_t bytes, size_t small_lo, long *ret_base_kib) {
	uint64_t random = 3;
	size_t sum = 0;
	while (sum < bytes) {
		sum += draw(kind, &random, small_lo);
		heap->count++;
	}
	heap->blocks = load_own_memory(heap->count * sizeof *heap->blocks);
	heap->sizes = load_own_memory(heap->count * sizeof *heap->sizes);
	random = 3;
	for (size_t i = 0; i < heap->count; i++) {
		heap->sizes[i] = (uint32_t)draw(kind, &random, small_lo);
		heap->blocks[i] = (char *)heap;
	}
	*ret_base_kib = load_vm_kib("VmRSS:");
	for (size_t i = 0; i < heap->count; i++) {
		heap->blocks[i] = load_malloc(heap->sizes[i]);
		memset(heap->blocks[i], 1, heap->sizes[i]);
		heap->asked += heap->sizes[i];
	}
}

static void overhead(const char *kind) {
	struct heap heap = {0};
	long base_kib;
	uint64_t start = load_now_ns();
	fill(&heap, kind, 256 * LOAD_MIB, 16, &base_kib);
	uint64_t random = 17;
	for (size_t i = 0; i < heap.count; i++) {
		size_t slot = load_random_below(&random, heap.count);
		load_free(heap.blocks[slot]);
		heap.blocks[slot] = load_malloc(heap.sizes[slot]);
		memset(heap.blocks[slot], 2, heap.sizes[slot]);
	}
	double ns = (double)(load_now_ns() - start) / (2.0 * (double)heap.count);
	double grown = (double)(load_vm_kib("VmRSS:") - base_kib) * 1024;
	double usable = 0;
	double own = 0;
	for (size_t i = 0; i < heap.count; i++) {
		size_t room = malloc_usable_size(heap.blocks[i]);
		size_t written = (heap.sizes[i] + PAGE - 1) & ~(PAGE - 1);
		usable += (double)room;
		own += (double)(room < LARGE || room < written ? room : written);
	}
	double asked = (double)heap.asked;
	char name[64];
	snprintf(name, sizeof name, "overhead.%s", kind);
	load_result(name, ns, "total_pct=%.2f overhead_pct=%.2f info_waste_pct=%.2f info_live_kib=%.0f",
	            100 * (grown - asked) / asked, 100 * (grown - own) / asked, 100 * (usable - asked) / asked,
	            asked / 1024);
}

static void give_back(const char *kind) {
	struct heap heap = {0};
	long base_kib;
	fill(&heap, kind, 500 * LOAD_MIB, 64, &base_kib);
	long full_kib = load_vm_kib("VmRSS:");
	uint64_t start = load_now_ns();
	for (size_t i = 0; i < heap.count; i++) {
		load_free(heap.blocks[i]);
	}
	double ns = (double)(load_now_ns() - start) / (double)heap.count;
	long freed_kib = load_vm_kib("VmRSS:");
	long second_kib = 0;
	start = load_now_ns();
	for (uint64_t since = 0; since < 3000000000U; since = load_now_ns() - start) {
		for (size_t i = 0; i < 4; i++) {
			load_free(load_malloc(32U << i));
		}
		if (second_kib == 0 && since > 1000000000U) {
			second_kib = load_vm_kib("VmRSS:");
		}
		load_sleep_us(1000);
	}
	char name[64];
	snprintf(name, sizeof name, "return.%s", kind);
	load_result(name, ns, "rss_1s_kib=%ld rss_3s_kib=%ld info_full_kib=%ld info_freed_kib=%ld info_base_kib=%ld",
	            second_kib, load_vm_kib("VmRSS:"), full_kib, freed_kib, base_kib);
}

int main(int argc, char **argv) {
	if (argc > 2 && strcmp(argv[1], "overhead") == 0) {
		overhead(argv[2]);
	} else if (argc > 2 && strcmp(argv[1], "return") == 0) {
		give_back(argv[2]);
	} else {
		load_die("usage: memory overhead SIZE|small|large | return small|large");
	}
	return 0;
}
