/* One thread, a steady heap whose blocks are replaced at random, and a heap whose sizes change under it.
 *
 *   churn replace LIVE MAX       LIVE blocks of 1 to MAX bytes; one operation frees a random one and allocates another
 *   churn fragment               six phases: fill to 48 MiB with one range of sizes, free 4 blocks of 5 at random, fill
 *                                with the next range. What is left between phases pins pages of the old sizes.
 *                                rss_end_kib is the memory at the end; info_rss_N its course; info_live_kib what is alive.
 *   churn large                  20 blocks of 5 to 25 MiB; one operation allocates and writes another and then frees a
 *                                random one, as a program does that replaces its buffers */
#include "load.h"

struct replace {
	size_t live;
	void **blocks;
	const uint32_t *plan_slot;
	const uint32_t *plan_size;
	size_t at;
};

enum { PLAN = 1 << 16 };

static void replace_body(void *context, size_t rounds) {
	struct replace *churn = context;
	size_t at = churn->at;
	for (size_t i = 0; i < rounds; i++) {
		at = (at + 1) & (PLAN - 1);
		void **slot = &churn->blocks[churn->plan_slot[at]];
		load_free(*slot);
		*slot = load_malloc(churn->plan_size[at]);
	}
	churn->at = at;
}

static void replace(const char *live_text, const char *max_text) {
	size_t live = strtoul(live_text, NULL, 10);
	size_t max = load_parse_size(max_text);
	uint64_t random = 7;
	uint32_t *slots = load_own_memory(PLAN * sizeof *slots);
	uint32_t *sizes = load_own_memory(PLAN * sizeof *sizes);
	void **blocks = load_own_memory(live * sizeof *blocks);
	for (size_t i = 0; i < PLAN; i++) {
		slots[i] = (uint32_t)load_random_below(&random, live);
		sizes[i] = (uint32_t)load_random_below(&random, max) + 1;
	}
	for (size_t i = 0; i < live; i++) {
		blocks[i] = load_malloc(sizes[i]);
	}
	struct replace churn = {live, blocks, slots, sizes, 0};
	char name[64];
	snprintf(name, sizeof name, "churn.%s.%s", live_text, max_text);
	load_result(name, load_measure(replace_body, &churn, 1), "%s", "");
}

static void fragment(void) {
	enum { PHASES = 6, MAX_BLOCKS = 2000000 };
	static const size_t range[PHASES][2] = {{16, 128}, {256, 2048}, {24, 600}, {2048, 32768}, {16, 256}, {64, 8192}};
	const size_t target = 48 * LOAD_MIB;
	struct block {
		char *p;
		size_t size;
	} *blocks = load_own_memory(MAX_BLOCKS * sizeof *blocks);
	size_t count = 0;
	size_t live = 0;
	size_t ops = 0;
	uint64_t random = 99;
	long rss_kib[PHASES];
	uint64_t start = load_now_ns();
	for (int phase = 0; phase < PHASES; phase++) {
		while (live < target && count < MAX_BLOCKS) {
			size_t size = load_random_log(&random, range[phase][0], range[phase][1]);
			char *p = load_malloc(size);
			memset(p, phase, size);
			blocks[count++] = (struct block){p, size};
			live += size;
			ops++;
		}
		for (size_t i = phase == PHASES - 1 ? count : 0; i < count;) {
			if (load_random_below(&random, 5) == 0) {
				i++;
				continue;
			}
			live -= blocks[i].size;
			load_free(blocks[i].p);
			blocks[i] = blocks[--count];
			ops++;
		}
		rss_kib[phase] = load_vm_kib("VmRSS:");
	}
	double ns = (double)(load_now_ns() - start) / (double)ops;
	load_result("churn.fragment", ns,
	            "rss_end_kib=%ld info_live_kib=%zu info_rss_1=%ld info_rss_2=%ld info_rss_3=%ld info_rss_4=%ld "
	            "info_rss_5=%ld",
	            rss_kib[PHASES - 1], live / LOAD_KIB, rss_kib[0], rss_kib[1], rss_kib[2], rss_kib[3], rss_kib[4]);
}

static void large(void) {
	enum { LIVE = 20, OPS = 400 };
	char *blocks[LIVE] = {NULL};
	uint64_t random = 5;
	uint64_t start = load_now_ns();
	for (int i = 0; i < OPS; i++) {
		size_t size = 5 * LOAD_MIB + load_random_below(&random, 20 * LOAD_MIB);
		char *p = load_malloc(size);
		memset(p, i, size);
		char **slot = &blocks[load_random_below(&random, LIVE)];
		load_free(*slot);
		*slot = p;
	}
	load_result("churn.large", (double)(load_now_ns() - start) / OPS, "%s", "");
}

int main(int argc, char **argv) {
	if (argc > 3 && strcmp(argv[1], "replace") == 0) {
		replace(argv[2], argv[3]);
	} else if (argc > 1 && strcmp(argv[1], "fragment") == 0) {
		fragment();
	} else if (argc > 1 && strcmp(argv[1], "large") == 0) {
		large();
	} else {
		load_die("usage: churn replace LIVE MAX | fragment | large");
	}
	return 0;
}
