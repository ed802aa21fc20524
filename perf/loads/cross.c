/* Blocks that cross threads, threads that come and go, and threads that share cache lines.
 *
 *   cross pipe PAIRS SIZE|mixed      PAIRS producers, each with its own consumer behind a ring of 4096 blocks; one
 *                                    operation is a block through the ring. mixed: log-uniform 16 B to 8 KiB
 *   cross churn keep|leave           threads that start, allocate 100 mixed blocks, free them (keep) or leave half of
 *                                    them to the main thread (leave), and exit; two at a time. ns a thread
 *   cross scratch active|passive T   T threads each allocate 8 B, write it 100 times and free it. active: from the
 *                                    start; passive: the first block was allocated by the main thread, side by side
 *                                    with the others' (after Berger et al., Hoard, 2000). ns an iteration */
#include "load.h"

enum { RING = 4096, PLAN = 1 << 14 };

static uint32_t *plan_size;

struct pipe {
	_Alignas(64) _Atomic(size_t) head;
	_Alignas(64) _Atomic(size_t) tail;
	_Alignas(64) void **ring;
	size_t count;
};

struct end {
	struct pipe *pipe;
	bool produces;
};

static void relax(unsigned *spins) {
	if (++*spins > 32) {
		sched_yield();
		*spins = 0;
	}
}

static void *pipe_end(void *argument) {
	struct end *end = argument;
	struct pipe *pipe = end->pipe;
	size_t other = 0;
	unsigned spins = 0;
	for (size_t i = 0; i < pipe->count; i++) {
		if (end->produces) {
			while (i - other == RING) {
				relax(&spins);
				other = atomic_load_explicit(&pipe->tail, memory_order_acquire);
			}
			pipe->ring[i % RING] = load_malloc(plan_size[i % PLAN]);
			atomic_store_explicit(&pipe->head, i + 1, memory_order_release);
		} else {
			while (i == other) {
				relax(&spins);
				other = atomic_load_explicit(&pipe->head, memory_order_acquire);
			}
			load_free(pipe->ring[i % RING]);
			atomic_store_explicit(&pipe->tail, i + 1, memory_order_release);
		}
	}
	return NULL;
}

static void run_pipes(const char *pairs_text, const char *size_text) {
	int pairs = atoi(pairs_text);
	if (pairs < 1 || pairs > 16) {
		load_die("cross: 1 to 16 pairs");
	}
	static struct pipe pipes[16];
	struct end ends[32];
	size_t count = 2000000U / (unsigned)pairs;
	for (int i = 0; i < pairs; i++) {
		pipes[i].ring = load_own_memory(RING * sizeof(void *));
		pipes[i].count = count;
		ends[2 * i] = (struct end){&pipes[i], true};
		ends[2 * i + 1] = (struct end){&pipes[i], false};
	}
	uint64_t wall = load_threads(2 * pairs, pipe_end, ends, sizeof *ends);
	char name[64];
	snprintf(name, sizeof name, "pipe.%s.%s", pairs_text, size_text);
	load_result(name, (double)wall / (double)(count * (unsigned)pairs), "%s", "");
}

enum { CHURN_BLOCKS = 100, CHURN_THREADS = 3000 };

struct visitor {
	size_t seed;
	bool leaves;
	void *left[CHURN_BLOCKS];
};

static void *visit(void *argument) {
	struct visitor *visitor = argument;
	void *mine[CHURN_BLOCKS];
	for (size_t i = 0; i < CHURN_BLOCKS; i++) {
		mine[i] = load_malloc(plan_size[(visitor->seed + i) % PLAN]);
	}
	for (size_t i = 0; i < CHURN_BLOCKS; i++) {
		bool leave = visitor->leaves && i % 2 == 0;
		visitor->left[i] = leave ? mine[i] : NULL;
		if (!leave) {
			load_free(mine[i]);
		}
	}
	return NULL;
}

static void run_churn(const char *mode) {
	struct visitor visitors[2];
	uint64_t start = load_now_ns();
	for (size_t i = 0; i < CHURN_THREADS / 2; i++) {
		for (size_t j = 0; j < 2; j++) {
			visitors[j].seed = (2 * i + j) * CHURN_BLOCKS;
			visitors[j].leaves = strcmp(mode, "leave") == 0;
		}
		load_threads(2, visit, visitors, sizeof *visitors);
		for (size_t j = 0; j < 2 * CHURN_BLOCKS; j++) {
			load_free(visitors[j / CHURN_BLOCKS].left[j % CHURN_BLOCKS]);
		}
	}
	char name[64];
	snprintf(name, sizeof name, "threads.%s", mode);
	load_result(name, (double)(load_now_ns() - start) / CHURN_THREADS, "%s", "");
}

struct scratch {
	char *first;
	size_t rounds;
};

static void *scratch(void *argument) {
	struct scratch *mine = argument;
	load_free(mine->first);
	for (size_t i = 0; i < mine->rounds; i++) {
		volatile char *p = load_malloc(8);
		for (int j = 0; j < 100; j++) {
			*p = (char)(*p + 1);
		}
		load_free((void *)(uintptr_t)p);
	}
	return NULL;
}

static void run_scratch(const char *mode, const char *threads_text) {
	int threads = atoi(threads_text);
	if (threads < 1 || threads > 16) {
		load_die("cross: 1 to 16 threads");
	}
	struct scratch work[16];
	for (int i = 0; i < threads; i++) {
		work[i].first = strcmp(mode, "passive") == 0 ? load_malloc(8) : NULL;
		work[i].rounds = 600000U / (unsigned)threads;
	}
	uint64_t wall = load_threads(threads, scratch, work, sizeof *work);
	char name[64];
	snprintf(name, sizeof name, "scratch.%s.%d", mode, threads);
	load_result(name, (double)wall / (double)(work[0].rounds * (unsigned)threads), "%s", "");
}

int main(int argc, char **argv) {
	const char *mode = argc > 2 ? argv[1] : "";
	bool fixed = argc > 3 && strcmp(mode, "pipe") == 0 && strcmp(argv[3], "mixed") != 0;
	uint64_t random = 21;
	plan_size = load_own_memory(PLAN * sizeof *plan_size);
	for (size_t i = 0; i < PLAN; i++) {
		plan_size[i] = (uint32_t)(fixed ? load_parse_size(argv[3]) : load_random_log(&random, 16, 8192));
	}
	if (argc > 3 && strcmp(mode, "pipe") == 0) {
		run_pipes(argv[2], argv[3]);
	} else if (strcmp(mode, "churn") == 0) {
		run_churn(argv[2]);
	} else if (argc > 3 && strcmp(mode, "scratch") == 0) {
		run_scratch(argv[2], argv[3]);
	} else {
		load_die("usage: cross pipe PAIRS SIZE|mixed | churn keep|leave | scratch active|passive THREADS");
	}
	return 0;
}
