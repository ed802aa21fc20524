/* A server under load, after Larson and Krishnan (1998): each thread replaces random blocks of the set it holds, and
 * sets wander between threads, so that most blocks are freed by another thread than allocated them.
 *
 *   server throughput THREADS    one operation is a free and a malloc; ns is wall time over all threads' operations
 *   server latency THREADS       each malloc and each free timed alone into a log-scale histogram (after Tene's
 *                                HdrHistogram, 2012): p50_ns p99_ns p999_ns max_ns, the clock's own cost included
 *                                (info_clock_ns). ns is the mean.
 *
 * A set has 1000 blocks: 31 of 32 are 16 to 1024 B log-uniform, one is 1 to 16 KiB. After 5000 replacements a thread
 * puts its set into the exchange and takes another thread's from it. */
#include "load.h"

enum { SET = 1000, PLAN = 1 << 14, HAND_OVER = 5000, SUB_LOG2 = 4, BUCKETS = 64 << SUB_LOG2 };

struct set {
	void *blocks[SET];
};

struct worker {
	struct set *set;
	uint64_t seed;
	size_t rounds;
	uint64_t *histogram; /* NULL: throughput */
	uint64_t max_ticks;
	char pad[64];
};

static _Atomic(struct set *) exchange;
static uint32_t *plan_slot;
static uint32_t *plan_size;

static inline uint64_t ticks(void) {
#if defined(__x86_64__)
	uint32_t lo;
	uint32_t hi;
	__asm__ volatile("rdtscp" : "=a"(lo), "=d"(hi) : : "rcx", "memory");
	return (uint64_t)hi << 32 | lo;
#elif defined(__aarch64__)
	uint64_t value;
	__asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(value) : : "memory");
	return value;
#else
	return load_now_ns();
#endif
}

static inline unsigned bucket_of(uint64_t value) {
	if (value < 1U << SUB_LOG2) {
		return (unsigned)value;
	}
	unsigned shift = 63U - (unsigned)__builtin_clzll(value) - SUB_LOG2;
	return ((shift + 1) << SUB_LOG2) + (unsigned)((value >> shift) & ((1U << SUB_LOG2) - 1));
}

/* The largest value of a bucket. */
static uint64_t bucket_top(unsigned bucket) {
	if (bucket < 1U << SUB_LOG2) {
		return bucket;
	}
	unsigned shift = (bucket >> SUB_LOG2) - 1;
	uint64_t base = (1U << SUB_LOG2) + (bucket & ((1U << SUB_LOG2) - 1));
	return ((base + 1) << shift) - 1;
}

static inline void record(struct worker *worker, uint64_t took) {
	worker->histogram[bucket_of(took)]++;
	if (took > worker->max_ticks) {
		worker->max_ticks = took;
	}
}

static void *work(void *argument) {
	struct worker *worker = argument;
	struct set *set = worker->set;
	size_t at = (size_t)worker->seed & (PLAN - 1);
	for (size_t i = 0; i < worker->rounds; i++) {
		at = (at + 1) & (PLAN - 1);
		void **slot = &set->blocks[plan_slot[at]];
		if (worker->histogram == NULL) {
			load_free(*slot);
			*slot = load_malloc(plan_size[at]);
		} else {
			uint64_t start = ticks();
			load_free(*slot);
			uint64_t middle = ticks();
			*slot = load_malloc(plan_size[at]);
			uint64_t end = ticks();
			record(worker, middle - start);
			record(worker, end - middle);
		}
		if (i % HAND_OVER == HAND_OVER - 1) {
			set = atomic_exchange_explicit(&exchange, set, memory_order_acq_rel);
			at = (at + (size_t)worker->seed) & (PLAN - 1);
		}
	}
	worker->set = set;
	return NULL;
}

static struct set *fill_set(void) {
	struct set *set = load_own_memory(sizeof *set);
	for (size_t i = 0; i < SET; i++) {
		set->blocks[i] = load_malloc(plan_size[i]);
	}
	return set;
}

static double ticks_per_ns(void) {
	uint64_t start_ns = load_now_ns();
	uint64_t start = ticks();
	load_sleep_us(20000);
	uint64_t took = ticks() - start;
	return (double)took / (double)(load_now_ns() - start_ns);
}

static double percentile_ns(const uint64_t *histogram, uint64_t total, double part, double per_ns) {
	uint64_t want = (uint64_t)((double)total * part);
	uint64_t seen = 0;
	for (unsigned i = 0; i < BUCKETS; i++) {
		seen += histogram[i];
		if (seen > want) {
			return (double)bucket_top(i) / per_ns;
		}
	}
	return 0;
}

static void report_latency(struct worker *workers, int threads, double ns) {
	static uint64_t sum[BUCKETS];
	double per_ns = ticks_per_ns();
	uint64_t total = 0;
	uint64_t max = 0;
	for (int t = 0; t < threads; t++) {
		for (unsigned i = 0; i < BUCKETS; i++) {
			sum[i] += workers[t].histogram[i];
			total += workers[t].histogram[i];
		}
		max = workers[t].max_ticks > max ? workers[t].max_ticks : max;
	}
	uint64_t clock = UINT64_MAX;
	for (int i = 0; i < 1000; i++) {
		uint64_t start = ticks();
		uint64_t took = ticks() - start;
		clock = took < clock ? took : clock;
	}
	char name[64];
	snprintf(name, sizeof name, "latency.server.%d", threads);
	load_result(name, ns, "p50_ns=%.0f p99_ns=%.0f p999_ns=%.0f max_ns=%.0f info_clock_ns=%.1f",
	            percentile_ns(sum, total, 0.5, per_ns), percentile_ns(sum, total, 0.99, per_ns),
	            percentile_ns(sum, total, 0.999, per_ns), (double)max / per_ns, (double)clock / per_ns);
}

int main(int argc, char **argv) {
	int threads = argc > 2 ? atoi(argv[2]) : 0;
	if (threads < 1 || threads > 64) {
		load_die("usage: server throughput|latency THREADS");
	}
	bool latency = strcmp(argv[1], "latency") == 0;
	uint64_t random = 5;
	plan_slot = load_own_memory(PLAN * sizeof *plan_slot);
	plan_size = load_own_memory(PLAN * sizeof *plan_size);
	for (size_t i = 0; i < PLAN; i++) {
		plan_slot[i] = (uint32_t)load_random_below(&random, SET);
		plan_size[i] = (uint32_t)(load_random_below(&random, 32) == 0 ? load_random_log(&random, 1024, 16384)
		                                                              : load_random_log(&random, 16, 1024));
	}
	static struct worker workers[64];
	for (int t = 0; t < threads; t++) {
		workers[t].set = fill_set();
		workers[t].seed = (uint64_t)t * 7919 + 13;
		workers[t].rounds = (latency ? 1000000U : 3000000U) / (unsigned)threads;
		workers[t].histogram = latency ? load_own_memory(BUCKETS * sizeof(uint64_t)) : NULL;
	}
	atomic_store(&exchange, fill_set());
	uint64_t wall = load_threads(threads, work, workers, sizeof *workers);
	double ns = (double)wall / (double)(workers[0].rounds * (unsigned)threads);
	if (latency) {
		report_latency(workers, threads, ns);
	} else {
		char name[64];
		snprintf(name, sizeof name, "server.%d", threads);
		load_result(name, ns, "%s", "");
	}
	return 0;
}
