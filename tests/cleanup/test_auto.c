/* Automatic cleanup: the thread, its strategies, its end, fork; relief in stages (lib/cleanup/thread.c, record.c, relieve.c). */
#include "base/option.h"
#include "cleanup/cleanup.h"
#include "pool/handle.h"

#include "tests_cleanup.h"

#include <hypool/hypool.h>

#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 20000, BYTES = 512, WAIT_MS = 60000, ONE = HYP_TSAN ? 0 : 1 };

static hyp_handle handles[BLOCKS];

/* A cleanup is not cut short: on a busy machine the usual budget is over soon. */
static hyp_pool_cleanup settings_of(uint64_t idle_ms, uint64_t period_ms, double threshold) {
	return (hyp_pool_cleanup){.idle_interval_ms = idle_ms,
	                          .period_ms = period_ms,
	                          .pressure_threshold = threshold,
	                          .compaction = true,
	                          .max_cleanup_ms = 60000};
}

static hyp_pool *created(const hyp_pool_config *config) {
	hyp_pool *pool = NULL;
	ck_assert_int_eq(hyp_pool_create(config, &pool), HYP_OK);
	return pool;
}

static hyp_pool *automatic_pool(uint64_t idle_ms, uint64_t period_ms, double threshold) {
	hyp_pool_config config;
	hyp_pool_config_init(&config);
	config.initial_small_bytes = config.initial_large_bytes = 0;
	config.max_large_bytes = (size_t)64 << 20;
	config.enable_cleanup = idle_ms != 0;
	config.cleanup = settings_of(idle_ms, period_ms, threshold);
	return created(&config);
}

static hyp_cleanup_stats stats_of(hyp_pool *pool) {
	hyp_cleanup_stats s = {.struct_bytes = sizeof s};
	ck_assert_int_eq(hyp_cleanup_stats_get(pool, &s), HYP_OK);
	return s;
}

static bool comes(hyp_pool *pool, hyp_cleanup_cause cause, uint64_t count) {
	for (int waited = 0; waited < WAIT_MS; waited += 5, sleep_ms(5))
		if (stats_of(pool).by_cause[cause] >= count) return true;
	return false;
}

/* 40 MiB of large blocks, written, and freed: dirty pages that nobody gives back, since nobody calls. */
static void make_dirty(hyp_pool *pool) {
	void *blocks[20];
	for (int i = 0; i < 20; i++) memset(blocks[i] = hyp_pool_malloc(pool, 2 << 20), 1, 2 << 20);
	for (int i = 0; i < 20; i++) hyp_pool_free(pool, blocks[i]);
	hyp_pool_free(pool, hyp_pool_malloc(pool, 10));
}

static void make_sparse(hyp_pool *pool) {
	for (int i = 0; i < BLOCKS; i++) handles[i] = make_block(pool, BYTES, (uint32_t)i);
	for (int i = 0; i < BLOCKS; i++)
		if (i % 8 != 0) HOLDS(hyp_handle_free(pool, handles[i]) == HYP_OK);
}

static void check_sparse(hyp_pool *pool) {
	for (int i = 0; i < BLOCKS; i += 8) check_block(pool, handles[i], BYTES, (uint32_t)i);
	hyp_cleanup_stats s = {.struct_bytes = sizeof s};
	ck_assert_int_eq(hyp_cleanup_stats_get(pool, &s), HYP_OK);
	if (!s.automatic || (!HYP_TSAN && thread_count() == ONE)) check_pool(pool); /* nobody else may be in it */
}

/* What a strategy won, by the kernel: the blocks that are left lay in all spans before, and trimming alone wins nothing. The
 * spans are this thread's, so that it has to look before those that were emptied go. */
static void check_won(hyp_pool *pool, size_t resident_before) {
	ck_assert_uint_gt(stats_of(pool).moved_blocks, 0);
	hyp_cleanup_manual(pool);
	hyp_pool_trim(pool);
	size_t now = resident();
	if (!HYP_HAVE_SANITIZER) ck_assert_uint_ge(resident_before, now + (5 << 20));
	check_sparse(pool);
}

START_TEST(one_thread) {
	unsigned before = thread_count();
	hyp_pool *plain = cleanup_pool(), *pools[20];
	ck_assert(threads_are(before)); /* nobody asked */
	for (int i = 0; i < 20; i++) pools[i] = automatic_pool(1000, 0, 0.9);
	ck_assert(threads_are(before + ONE));
	for (int i = 0; i < 19; i++) hyp_pool_destroy(pools[i]);
	ck_assert(threads_are(before + ONE));
	hyp_cleanup_manual(pools[19]);
	ck_assert(threads_are(before));
	ck_assert(!stats_of(pools[19]).automatic);
	ck_assert_int_eq(hyp_cleanup_automatic(plain, NULL), HYP_OK);
	ck_assert(stats_of(plain).automatic);
	ck_assert(threads_are(before + ONE));
	ck_assert_int_eq(hyp_cleanup_automatic(hyp_pool_default(), NULL), HYP_OK);
	hyp_pool_destroy(plain);
	hyp_pool_destroy(pools[19]);
	ck_assert(threads_are(before + ONE));
	hyp_cleanup_manual(hyp_pool_default());
	ck_assert(threads_are(before));
	hyp_pool_cleanup wrong = {0};
	ck_assert_int_eq(hyp_cleanup_automatic(hyp_pool_default(), &wrong), HYP_ERR_INVALID);
	ck_assert_int_eq(hyp_cleanup_automatic(NULL, NULL), HYP_ERR_INVALID);
	hyp_cleanup_manual(NULL);
}
END_TEST

START_TEST(idle) {
	hyp_pool *pool = automatic_pool(0, 0, 1);
	hyp_pool_cleanup settings = settings_of(100, 0, 1);
	make_dirty(pool);
	size_t before = resident();
	ck_assert_int_eq(hyp_cleanup_automatic(pool, &settings), HYP_OK);
	ck_assert(comes(pool, HYP_CLEANUP_IDLE, 1));
	hyp_cleanup_stats s = stats_of(pool);
	/* Some may be in the thread's own cache of large blocks: half at least went back. */
	ck_assert_uint_ge(s.purged_bytes, 20 << 20);
	if (!HYP_HAVE_SANITIZER) ck_assert_uint_ge(before - resident(), 18 << 20);
	sleep_ms(300);
	ck_assert_uint_eq(stats_of(pool).by_cause[HYP_CLEANUP_IDLE], 1); /* once, until it is used again */
	hyp_pool_free(pool, hyp_pool_malloc(pool, 100));
	ck_assert(comes(pool, HYP_CLEANUP_IDLE, 2));
	hyp_pool_destroy(pool);
}
END_TEST

START_TEST(periodic_and_compacting) {
	hyp_pool *pool = automatic_pool(0, 0, 1);
	hyp_pool_cleanup settings = settings_of(3600000, 50, 1);
	make_sparse(pool);
	hyp_pool_trim(pool);
	size_t before = resident();
	ck_assert_int_eq(hyp_cleanup_automatic(pool, &settings), HYP_OK);
	ck_assert(comes(pool, HYP_CLEANUP_PERIODIC, stats_of(pool).by_cause[HYP_CLEANUP_PERIODIC] + 3));
	hyp_cleanup_stats s = stats_of(pool);
	ck_assert_uint_gt(s.moved_blocks, 0);
	ck_assert_uint_eq(s.by_cause[HYP_CLEANUP_IDLE] + s.by_cause[HYP_CLEANUP_MANUAL], 0);
	check_won(pool, before);
	hyp_cleanup_result history[80];
	size_t count = hyp_cleanup_history(history, 80);
	ck_assert(count >= 3);
	uint64_t moved = 0;
	for (size_t i = 0; i < count; i++) {
		ck_assert_int_eq(history[i].cause, HYP_CLEANUP_PERIODIC);
		ck_assert_str_eq(history[i].pool, "pool");
		if (i > 0) ck_assert_uint_le(history[i].when_ms, history[i - 1].when_ms);
		moved += history[i].moved_blocks;
	}
	ck_assert_uint_gt(moved, 0);
	hyp_pool_destroy(pool);
}
END_TEST

static bool says(void *context, hyp_pool *pool) {
	_Atomic int *turns = context;
	hyp_pool_free(pool, hyp_pool_malloc(pool, 50)); /* it may use the pool */
	return ++*turns % 2 == 0;
}

START_TEST(own_strategy_and_age) {
	hyp_pool_config config;
	_Atomic int turns = 0;
	hyp_pool_config_init(&config);
	config.enable_cleanup = true;
	config.cleanup.max_cleanup_ms = 60000;
	config.cleanup.idle_interval_ms = 40; /* it is never idle: the strategy uses it */
	config.cleanup.least_age_ms = 3600000;
	config.cleanup.wanted = says;
	config.cleanup.wanted_context = &turns;
	hyp_pool *pool = created(&config);
	make_sparse(pool);
	ck_assert(comes(pool, HYP_CLEANUP_WANTED, 3));
	ck_assert_uint_eq(stats_of(pool).moved_blocks, 0); /* no block is an hour old */
	hyp_pool_trim(pool);
	size_t before = resident();
	config.cleanup.least_age_ms = 10;
	ck_assert_int_eq(hyp_cleanup_automatic(pool, &config.cleanup), HYP_OK);
	ck_assert(comes(pool, HYP_CLEANUP_WANTED, stats_of(pool).by_cause[HYP_CLEANUP_WANTED] + 3));
	check_won(pool, before);
	hyp_pool_destroy(pool);
	int after = turns;
	sleep_ms(100);
	ck_assert_int_eq(turns, after);
}
END_TEST

static _Atomic bool inside;

static bool dwells(void *context, hyp_pool *pool) {
	(void)context, (void)pool;
	inside = true;
	sleep_ms(60);
	inside = false;
	return false;
}

/* Who empties, destroys or lets go of a pool waits until the thread is out of it. */
START_TEST(thread_keeps_out) {
	hyp_pool_config config;
	hyp_pool *pool, *other = automatic_pool(1000, 0, 1); /* so that the thread is not only joined */
	hyp_pool_config_init(&config);
	config.enable_cleanup = true;
	config.cleanup.idle_interval_ms = 10;
	config.cleanup.wanted = dwells;
	for (int how = 0; how < 6; how++) {
		pool = created(&config);
		bool seen = false; /* it may be out again when we have our next turn */
		for (int waited = 0; !(seen = inside) && waited < WAIT_MS; waited++) sleep_ms(1);
		ck_assert(seen);
		if (how % 3 == 0) ck_assert_int_eq(hyp_pool_reset(pool), HYP_OK);
		if (how % 3 == 1) hyp_cleanup_manual(pool);
		if (how % 3 != 2) ck_assert(!inside || how % 3 == 0); /* after a reset it may be in again */
		hyp_pool_destroy(pool);
		ck_assert(!inside);
	}
	hyp_pool_destroy(other);
}
END_TEST

START_TEST(pressed_by_its_limit) {
	hyp_pool *pool = automatic_pool(3600000, 0, 0.6);
	hyp_pool *other = automatic_pool(3600000, 20, 1); /* so that the thread looks often */
	double ratio;
	ck_assert_int_eq(hyp_pool_pressure(pool, &ratio), HYP_PRESSURE_NONE);
	make_sparse(pool);
	hyp_pool_trim(pool);
	size_t before = resident();
	void *p = hyp_pool_malloc(pool, (size_t)20 << 20);
	uint64_t looks = stats_of(other).by_cause[HYP_CLEANUP_PERIODIC];
	ck_assert(comes(other, HYP_CLEANUP_PERIODIC, looks + 3)); /* it looked */
	ck_assert_uint_eq(stats_of(pool).by_cause[HYP_CLEANUP_PRESSURE], 0);
	void *q = hyp_pool_malloc(pool, (size_t)38 << 20);
	hyp_pressure_level level = hyp_pool_pressure(pool, &ratio);
	ck_assert(level == HYP_PRESSURE_HIGH && ratio > 0.89 && ratio < 0.92);
	ck_assert(comes(pool, HYP_CLEANUP_PRESSURE, 1));
	check_won(pool, before);
	hyp_pool_free(pool, q);
	hyp_pool_free(pool, p);
	hyp_pool_destroy(other);
	hyp_pool_destroy(pool);
}
END_TEST

/* ---- the system's pressure ---- */

static char root[] = "/tmp/hypool-test-XXXXXX";

/* A file below the root, all of it at once. */
static void put(const char *name, const char *text) {
	char path[128], fresh[128];
	snprintf(path, sizeof path, "%s/%s", root, name);
	snprintf(fresh, sizeof fresh, "%s/fresh", root);
	FILE *file = fopen(fresh, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(rename(fresh, path), 0);
}

static void folder(const char *name, bool there) {
	char path[128];
	snprintf(path, sizeof path, "%s/%s", root, name);
	ck_assert_int_eq(there ? mkdir(path, 0700) : rmdir(path), 0);
}

static size_t give(void *context, size_t wanted, hyp_cleanup_cause cause) {
	(void)wanted;
	HOLDS(cause == HYP_CLEANUP_EMERGENCY);
	++*(_Atomic int *)context;
	return 1000;
}

/* A control group near its limit: HIGH cleans the pools, CRITICAL does all stages of relief. */
START_TEST(pressed_by_the_system) {
	static const char *const folders[] = {"proc", "proc/self", "sys", "sys/fs", "sys/fs/cgroup", "sys/fs/cgroup/g"};
	static const char *const files[] = {"proc/self/cgroup", "sys/fs/cgroup/g/memory.max",
	                                    "sys/fs/cgroup/g/memory.current"};
	ck_assert_ptr_nonnull(mkdtemp(root));
	for (unsigned i = 0; i < HYP_ARRAY_LEN(folders); i++) folder(folders[i], true);
	put(files[0], "0::/g\n");
	put(files[1], "1000000\n");
	put(files[2], "500000\n");
	hyp_pressure_config config = {.struct_bytes = sizeof config, .root = root};
	hypi_cleanup_pressure = &config;
	_Atomic int asked_times = 0;
	int id;
	ck_assert_int_eq(hyp_cleanup_add(give, (void *)&asked_times, 0, &id), HYP_OK);
	hyp_pool *pool = automatic_pool(3600000, 0, 1),
			 *other = automatic_pool(3600000, 20, 1); /* so that it looks often */
	make_dirty(pool);
	make_sparse(pool);
	size_t before = resident();
	uint64_t looks = stats_of(other).by_cause[HYP_CLEANUP_PERIODIC];
	ck_assert(comes(other, HYP_CLEANUP_PERIODIC, looks + 3));
	ck_assert_uint_eq(stats_of(pool).runs, 0);
	put(files[2], "920000\n");
	ck_assert(comes(pool, HYP_CLEANUP_PRESSURE, 1));
	hyp_cleanup_stats s = stats_of(pool);
	ck_assert_uint_eq(s.by_cause[HYP_CLEANUP_EMERGENCY], 0);
	ck_assert_int_eq(asked_times, 0);
	ck_assert_uint_gt(s.moved_blocks, 0);
	ck_assert_uint_ge(s.purged_bytes, 20 << 20);
	put(files[2], "990000\n");
	ck_assert(comes(pool, HYP_CLEANUP_EMERGENCY, 1));
	ck_assert_int_ge(asked_times, 1);
	hyp_cleanup_manual(other);
	check_won(pool, before);
	hyp_cleanup_remove(id);
	hyp_pool_destroy(other);
	hyp_pool_destroy(pool);
	char path[128];
	for (unsigned i = 0; i < HYP_ARRAY_LEN(files); i++) {
		snprintf(path, sizeof path, "%s/%s", root, files[i]);
		unlink(path);
	}
	for (unsigned i = HYP_ARRAY_LEN(folders); i-- > 0;) folder(folders[i], false);
	rmdir(root);
}
END_TEST

/* Pools come, go and are reset while the thread is busy in them. */
typedef struct churn {
	int rounds;
	unsigned number;
} churn;

static void *churner(void *context) {
	const churn *c = context;
	for (int round = 0; round < c->rounds; round++) {
		hyp_pool *pool = automatic_pool(5, 5, 1);
		hyp_handle h[200];
		for (unsigned i = 0; i < 200; i++) h[i] = make_block(pool, 300, i);
		for (unsigned i = 0; i < 200; i++)
			if (i % 4 != 0)
				while (hyp_handle_free(pool, h[i]) == HYP_ERR_BUSY) continue;
		if (round % 5 == 0) sleep_ms(12);
		for (unsigned i = 0; i < 200; i += 4) check_block(pool, h[i], 300, i);
		HOLDS(hyp_pool_reset(pool) == HYP_OK);
		h[0] = make_block(pool, 300, c->number);
		check_block(pool, h[0], 300, c->number);
		hyp_pool_destroy(pool);
	}
	return NULL;
}

START_TEST(pools_come_and_go) {
	pthread_t threads[3];
	churn c[3] = {{60, 1}, {60, 2}, {60, 3}};
	unsigned before = thread_count();
	for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, churner, &c[i]);
	for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
	ck_assert(threads_are(before));
}
END_TEST

START_TEST(forked) {
	hyp_pool *pool = automatic_pool(10, 5, 1);
	make_sparse(pool);
	for (int round = 0; round < 30; round++) {
		pid_t child = fork();
		if (child == 0) {
			alarm(100);
			if (thread_count() != ONE) _exit(2);
			check_sparse(pool);
			bool asks = round % 3 == 0 && !HYP_TSAN; /* which knows no threads after a fork */
			if (asks && hyp_cleanup_automatic(pool, NULL) != HYP_OK) _exit(3);
			if (asks && thread_count() != 2) _exit(4);
			for (unsigned i = 0; i < 500; i++)
				if (hyp_handle_free(pool, make_block(pool, 100, i)) != HYP_OK) _exit(5);
			if (round % 2 == 0) hyp_pool_destroy(pool);
			_exit(0);
		}
		int status = 0;
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "round %d: status %x", round, status);
		sleep_ms(round % 4);
	}
	hyp_cleanup_manual(pool);
	check_sparse(pool);
	hyp_pool_destroy(pool);
}
END_TEST

/* A fork while a block is being copied: the child must not find it held by a thread that it does not have. */
enum { LARGE = 96, LARGE_BYTES = 1 << 20 };

typedef struct copies {
	hyp_pool *pool;
	_Atomic uint64_t handles[LARGE];
	_Atomic bool stop;
	_Atomic uint64_t moved;
} copies;

static void *copier(void *context) {
	copies *c = context;
	while (!c->stop || c->moved == 0) { /* the forks may be over before the first copy */
		for (int i = 0; i < LARGE; i++) c->handles[i] = make_block(c->pool, LARGE_BYTES, (uint32_t)i);
		for (int i = 0; i < LARGE; i++)
			if (i % 4 != 0) HOLDS(hyp_handle_free(c->pool, atomic_exchange(&c->handles[i], 0)) == HYP_OK);
		hyp_cleanup_result r = {.struct_bytes = sizeof r};
		hyp_cleanup_request request;
		hyp_cleanup_request_init(&request);
		request.budget_ms = 0; /* or it may be over before one has moved */
		HOLDS(hyp_cleanup_run(c->pool, &request, &r) == HYP_OK);
		c->moved += r.moved_blocks;
		for (int i = 0; i < LARGE; i += 4)
			HOLDS(hyp_handle_free(c->pool, atomic_exchange(&c->handles[i], 0)) == HYP_OK);
	}
	return NULL;
}

START_TEST(forked_while_copying) {
	copies c = {.pool = cleanup_pool()};
	pthread_t thread;
	pthread_create(&thread, NULL, copier, &c);
	for (int round = 0; round < 100; round++) {
		pid_t child = fork();
		if (child == 0) {
			alarm(100); /* a lock that waits for nobody would wait for ever */
			for (int i = 0; i < LARGE; i += 4) {
				void *p;
				hyp_handle h = c.handles[i];
				if (h != 0 && hyp_handle_lock(c.pool, h, &p) == HYP_OK && hyp_handle_unlock(c.pool, h) != HYP_OK)
					_exit(2);
			}
			_exit(0);
		}
		int status = 0;
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "round %d: status %x", round, status);
	}
	c.stop = true;
	pthread_join(thread, NULL);
	ck_assert_uint_gt(c.moved, 0);
	hyp_pool_destroy(c.pool);
}
END_TEST

/* ---- relief ---- */

static int order[8], asked;

static size_t reclaim(void *context, size_t wanted, hyp_cleanup_cause cause) {
	(void)wanted;
	HOLDS(cause == HYP_CLEANUP_EMERGENCY);
	void **cache = context;
	order[asked++] = cache[0] != NULL ? 1 : 2;
	if (cache[0] == NULL) return 0;
	hyp_free(cache[0]); /* it may free, and allocate */
	cache[0] = NULL;
	hyp_free(hyp_malloc(1000));
	return 8 << 20;
}

static int own_id;
static size_t reclaim_once(void *context, size_t wanted, hyp_cleanup_cause cause) {
	(void)context, (void)wanted, (void)cause;
	hyp_cleanup_remove(own_id);
	order[asked++] = 3;
	return 0;
}

static void *visitor(void *context) {
	(void)context;
	hyp_free(hyp_malloc(5000));
	return NULL;
}

START_TEST(relief) {
	pthread_t thread;
	HOLDS(pthread_create(&thread, NULL, visitor, NULL) == 0);
	HOLDS(pthread_join(thread, NULL) == 0);
	ck_assert_uint_gt(hypi_load_relaxed(&hypi_default_engine.kept), 0); /* its heap waits for the next thread */
	void *cache = hyp_malloc(8 << 20), *none = NULL;
	memset(cache, 1, 8 << 20);
	hyp_pool *pool = cleanup_pool();
	make_dirty(pool);
	make_sparse(pool);
	int id, empty_id;
	ck_assert_int_eq(hyp_cleanup_add(NULL, NULL, 0, &id), HYP_ERR_INVALID);
	ck_assert_int_eq(hyp_cleanup_add(reclaim, &none, 1, &empty_id), HYP_OK);
	ck_assert_int_eq(hyp_cleanup_add(reclaim, &cache, 5, &id), HYP_OK);
	ck_assert_int_eq(hyp_cleanup_add(reclaim_once, NULL, -1, &own_id), HYP_OK);
	size_t before = resident();
	hyp_relief r = {.struct_bytes = sizeof r};
	ck_assert_int_eq(hyp_cleanup_relieve(1, &r), HYP_OK); /* pages alone are enough for that */
	ck_assert_uint_le(r.stages, 2);
	ck_assert_int_eq(asked, 0);
	ck_assert_int_eq(hyp_cleanup_relieve(UINT64_MAX, &r), HYP_OK);
	ck_assert_uint_eq(r.stages, HYP_RELIEF_STAGES);
	ck_assert_uint_eq(hypi_load_relaxed(&hypi_default_engine.kept), 0);
	ck_assert(asked == 3 && order[0] == 1 && order[1] == 2 && order[2] == 3); /* by priority */
	ck_assert_uint_eq(r.claimed_bytes, 8 << 20);
	if (!HYP_HAVE_SANITIZER) ck_assert_uint_ge(r.resident_bytes[HYP_RELIEF_RECLAIMERS], 7 << 20);
	asked = 0;
	hyp_cleanup_remove(id);
	hyp_cleanup_remove(empty_id);
	/* On a busy machine the budget cuts a compaction short: the next one goes on there. */
	uint64_t won = r.resident_bytes[HYP_RELIEF_COMPACTION];
	for (int i = 0; i < 100 && (i == 0 || won < 4 << 20); i++) {
		ck_assert_int_eq(hyp_cleanup_relieve(UINT64_MAX, &r), HYP_OK);
		won += r.resident_bytes[HYP_RELIEF_COMPACTION];
	}
	ck_assert_int_eq(asked, 0);
	if (!HYP_HAVE_SANITIZER) {
		ck_assert_uint_ge(won, 4 << 20);
		ck_assert_uint_ge(before - resident(), 40 << 20);
	}
	check_sparse(pool);
	hyp_pool_destroy(pool);
	r.struct_bytes = 3;
	ck_assert_int_eq(hyp_cleanup_relieve(1, &r), HYP_ERR_INVALID);
}
END_TEST

int main(void) {
	/* The machine's own pressure is not to be heard: it may be busy with anything. And nothing decays, however long a test takes. */
	static const hyp_pressure_config quiet = {.struct_bytes = sizeof quiet, .root = "/nonexistent"};
	hypi_cleanup_pressure = &quiet;
	hypi_option_values[HYPI_OPTION_decay] = 3600000;
	const TTest *const tests[] = {one_thread,
	                              idle,
	                              periodic_and_compacting,
	                              own_strategy_and_age,
	                              thread_keeps_out,
	                              pressed_by_its_limit,
	                              pressed_by_the_system,
	                              pools_come_and_go,
	                              forked,
	                              forked_while_copying,
	                              relief};
	return unit_run("automatic cleanup", tests, HYP_ARRAY_LEN(tests));
}
