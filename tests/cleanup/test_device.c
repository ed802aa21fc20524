/*
 * Cleanup of memory that the processor cannot reach, on the simulated device, whose addresses fault when they are touched:
 * compaction by the device's own copies, and the strategy that looks at how full the device is.
 */
#include "tests_cleanup.h"

#include <hypool/device.h>

#include <pthread.h>

enum { SMALLS = 6000, SMALL = 1000, LARGES = 70, LARGE = 1 << 20 };

typedef struct card {
	int device;
	_Atomic uint64_t copies, released;
} card;

static hyp_status reserve(void *context, size_t bytes, size_t alignment, uintptr_t *ret_address) {
	card *c = context;
	return hyp_device_alloc(c->device, bytes, alignment, ret_address);
}

static hyp_status release(void *context, uintptr_t address, size_t bytes) {
	card *c = context;
	hyp_device_free(c->device, address);
	c->released += bytes;
	return HYP_OK;
}

static hyp_status copy(void *context, uintptr_t to, uintptr_t from, size_t bytes) {
	card *c = context;
	c->copies++;
	return hyp_copy(c->device, to, c->device, from, bytes);
}

static hyp_status usage(void *context, uint64_t *ret_used_bytes, uint64_t *ret_total_bytes) {
	card *c = context;
	hyp_device_info info = {.struct_bytes = sizeof info};
	hyp_status status = hyp_device_describe(c->device, &info);
	if (status != HYP_OK) return status;
	*ret_used_bytes = info.memory_bytes - info.memory_free_bytes;
	*ret_total_bytes = info.memory_bytes;
	return HYP_OK;
}

static void open_card(card *ret_card, size_t memory_bytes, hyp_backing *ret_backing) {
	hyp_simulated_config config = {.struct_bytes = sizeof config, .memory_bytes = memory_bytes, .poison = 0xa5};
	config.launch_ns = 1000, config.copy_gbps = 16, config.memory_gbps = 800;
	*ret_card = (card){.device = -1};
	ck_assert_int_eq(hyp_simulated_open(&config, &ret_card->device), HYP_OK);
	*ret_backing = (hyp_backing){.struct_bytes = sizeof *ret_backing,
	                             .name = "simulated",
	                             .context = ret_card,
	                             .numa_node = -1,
	                             .device = ret_card->device,
	                             .reserve = reserve,
	                             .release = release,
	                             .copy = copy,
	                             .usage = usage};
}

static hyp_pool *device_pool(const hyp_backing *backing, double threshold) {
	hyp_pool_config config;
	hyp_pool *pool = NULL;
	hyp_pool_config_init(&config);
	config.initial_small_bytes = config.initial_large_bytes = 0;
	config.max_small_bytes = config.max_large_bytes = 0;
	config.backing = backing;
	if (threshold > 0) {
		config.enable_cleanup = true;
		config.cleanup.pressure_threshold = threshold;
		config.cleanup.idle_interval_ms = 3600000;
		config.cleanup.max_cleanup_ms = 60000; /* on a busy machine the usual budget is over soon */
	}
	ck_assert_int_eq(hyp_pool_create(&config, &pool), HYP_OK);
	return pool;
}

static uint8_t byte_of(uint32_t number, size_t i) { return (uint8_t)(number * 31 + i * 7 + (number >> 8)); }

static hyp_handle put(hyp_pool *pool, int device, size_t bytes, uint32_t number) {
	static uint8_t text[LARGE];
	hyp_handle h = 0;
	void *p;
	HOLDS(hyp_handle_alloc(pool, bytes, 0, device, &h) == HYP_OK);
	for (size_t i = 0; i < bytes; i++) text[i] = byte_of(number, i);
	HOLDS(hyp_handle_lock(pool, h, &p) == HYP_OK);
	HOLDS(hyp_copy(device, (uintptr_t)p, HYP_DEVICE_HOST, (uintptr_t)text, bytes) == HYP_OK);
	HOLDS(hyp_handle_unlock(pool, h) == HYP_OK);
	return h;
}

static void compare(hyp_pool *pool, int device, hyp_handle h, size_t bytes, uint32_t number) {
	static uint8_t text[LARGE];
	void *p;
	HOLDS(hyp_handle_lock(pool, h, &p) == HYP_OK);
	HOLDS(hyp_copy(HYP_DEVICE_HOST, (uintptr_t)text, device, (uintptr_t)p, bytes) == HYP_OK);
	HOLDS(hyp_handle_unlock(pool, h) == HYP_OK);
	for (size_t i = 0; i < bytes; i++) HOLDS(text[i] == byte_of(number, i));
}

static hyp_handle smalls[SMALLS], larges[LARGES * 2];

/* A quarter of each is left. */
static void make_sparse(hyp_pool *pool, int device) {
	for (int i = 0; i < SMALLS; i++) smalls[i] = put(pool, device, SMALL, (uint32_t)i);
	for (int i = 0; i < LARGES * 2; i++) larges[i] = put(pool, device, LARGE, (uint32_t)i);
	for (int i = 0; i < SMALLS; i++)
		if (i % 4 != 0) HOLDS(hyp_handle_free(pool, smalls[i]) == HYP_OK);
	for (int i = 0; i < LARGES * 2; i++)
		if (i % 4 != 0) HOLDS(hyp_handle_free(pool, larges[i]) == HYP_OK);
}

static void check_all(hyp_pool *pool, int device) {
	for (int i = 0; i < SMALLS; i += 4) compare(pool, device, smalls[i], SMALL, (uint32_t)i);
	for (int i = 0; i < LARGES * 2; i += 4) compare(pool, device, larges[i], LARGE, (uint32_t)i);
}

static uint64_t free_bytes(int device) {
	hyp_device_info info = {.struct_bytes = sizeof info};
	HOLDS(hyp_device_describe(device, &info) == HYP_OK);
	return info.memory_free_bytes;
}

START_TEST(compacted) {
	card c;
	hyp_backing backing;
	open_card(&c, (size_t)1 << 30, &backing);
	hyp_pool *pool = device_pool(&backing, 0);
	make_sparse(pool, c.device);
	check_pool(pool);
	hyp_cleanup_request request;
	hyp_cleanup_request_init(&request);
	request.budget_ms = 0;
	request.device = c.device + 1;
	hyp_cleanup_result plan = {.struct_bytes = sizeof plan}, r = plan;
	ck_assert_int_eq(hyp_cleanup_run(pool, &request, &r), HYP_ERR_DEVICE); /* another's is left alone */
	request.device = c.device;
	request.dry_run = true;
	ck_assert_int_eq(hyp_cleanup_run(pool, &request, &plan), HYP_OK);
	ck_assert_uint_eq(c.copies, 0);
	ck_assert_uint_gt(plan.planned_freed_bytes, 0);
	ck_assert_uint_gt(plan.planned_arenas, 0);
	/* What is locked stays. */
	void *where, *then;
	HOLDS(hyp_handle_lock(pool, smalls[0], &where) == HYP_OK);
	hyp_stats before = {.struct_bytes = sizeof before}, after = before;
	ck_assert_int_eq(hyp_pool_stats(pool, &before), HYP_OK);
	uint64_t had = free_bytes(c.device);
	request.dry_run = false;
	ck_assert_int_eq(hyp_cleanup_run(pool, &request, &r), HYP_OK);
	ck_assert_uint_eq(r.locked_blocks, 1);
	ck_assert_uint_eq(r.moved_blocks, r.planned_blocks);
	ck_assert_uint_eq(c.copies, r.moved_blocks);
	ck_assert_uint_ge(r.planned_blocks + SMALLS / 100,
	                  plan.planned_blocks); /* all but the one span with the locked one */
	ck_assert_uint_ge(r.freed_bytes, r.planned_freed_bytes);
	ck_assert_uint_ge(r.freed_arenas + 1, r.planned_arenas);
	ck_assert_int_eq(hyp_pool_stats(pool, &after), HYP_OK);
	ck_assert_uint_eq(after.active, before.active);
	ck_assert_uint_le(after.small_span_bytes, before.small_span_bytes);
	ck_assert_uint_eq(free_bytes(c.device) - had, r.freed_arenas << 26); /* of the device's own memory */
	HOLDS(hyp_handle_lock(pool, smalls[0], &then) == HYP_OK && then == where);
	HOLDS(hyp_handle_unlock(pool, smalls[0]) == HYP_OK && hyp_handle_unlock(pool, smalls[0]) == HYP_OK);
	check_all(pool, c.device);
	check_pool(pool);
	/* Handles grow where they must move. */
	ck_assert_int_eq(hyp_handle_realloc(pool, smalls[4], 3 * SMALL), HYP_OK);
	compare(pool, c.device, smalls[4], SMALL, 4);
	hyp_pool_destroy(pool);
	ck_assert_uint_eq(free_bytes(c.device), (size_t)1 << 30);
}
END_TEST

/* A copy that fails: nothing is lost, nothing moved, and the cleanup ends. */
START_TEST(copy_fails) {
	card c;
	hyp_backing backing;
	open_card(&c, (size_t)1 << 30, &backing);
	hyp_pool *pool = device_pool(&backing, 0);
	make_sparse(pool, c.device);
	hyp_stats before = {.struct_bytes = sizeof before}, after = before;
	ck_assert_int_eq(hyp_pool_stats(pool, &before), HYP_OK);
	hyp_handle_info was = {.struct_bytes = sizeof was}, is = was;
	ck_assert_int_eq(hyp_handle_get_info(pool, smalls[8], &was), HYP_OK);
	ck_assert_int_eq(hyp_simulated_fail(c.device, HYP_FAULT_COPY, 1), HYP_OK);
	ck_assert_int_eq(hyp_handle_realloc(pool, smalls[8], 3 * SMALL), HYP_ERR_DEVICE);
	ck_assert_int_eq(hyp_handle_get_info(pool, smalls[8], &is), HYP_OK);
	ck_assert(is.address == was.address && is.bytes == SMALL);
	hyp_cleanup_result r = {.struct_bytes = sizeof r};
	ck_assert_int_eq(hyp_cleanup_run(pool, NULL, &r), HYP_OK); /* the device has failed: not one is moved */
	ck_assert_uint_eq(r.moved_blocks, 0);
	ck_assert_uint_le(c.copies, 2);
	check_pool(pool);
	ck_assert_int_eq(hyp_pool_stats(pool, &after), HYP_OK);
	ck_assert_uint_eq(after.active, before.active);
	hyp_pool_destroy(pool);
}
END_TEST

static void *asker(void *context) {
	struct {
		hyp_pool *pool;
		_Atomic bool stop;
	} *a = context;
	uint64_t seed = 3;
	while (!a->stop) {
		hyp_handle_info info = {.struct_bytes = sizeof info};
		hyp_status status = hyp_handle_get_info(a->pool, smalls[next_random(&seed) % (SMALLS / 4) * 4], &info);
		HOLDS(status == HYP_OK || status == HYP_ERR_STALE);
		if (status == HYP_OK) HOLDS(info.usable_bytes == 1024);
	}
	return NULL;
}

/* Questions about blocks that are moved and freed meanwhile. */
START_TEST(asked_while_moved) {
	card c;
	hyp_backing backing;
	open_card(&c, (size_t)1 << 30, &backing);
	struct {
		hyp_pool *pool;
		_Atomic bool stop;
	} a = {.pool = device_pool(&backing, 0)};
	make_sparse(a.pool, c.device);
	pthread_t thread;
	pthread_create(&thread, NULL, asker, &a);
	for (int i = 0; i < 10; i++) ck_assert_int_eq(hyp_cleanup_run(a.pool, NULL, NULL), HYP_OK);
	for (int i = 0; i < SMALLS; i += 4) HOLDS(hyp_handle_free(a.pool, smalls[i]) == HYP_OK);
	a.stop = true;
	pthread_join(thread, NULL);
	check_pool(a.pool);
	hyp_pool_destroy(a.pool);
}
END_TEST

/* The device runs full, by whomever: its pool is cleaned, and the device's memory has so much more free. */
START_TEST(device_runs_full) {
	card c;
	hyp_backing backing;
	open_card(&c, (size_t)400 << 20, &backing);
	hyp_pool *pool = device_pool(&backing, 0.9);
	make_sparse(pool, c.device); /* three arenas of 64 MiB, a quarter of them in use */
	uint64_t had = free_bytes(c.device);
	hyp_cleanup_stats s = {.struct_bytes = sizeof s};
	uintptr_t others;
	ck_assert_int_eq(hyp_device_alloc(c.device, had - ((size_t)20 << 20), 4096, &others), HYP_OK);
	for (int waited = 0; waited < 60000 && s.by_cause[HYP_CLEANUP_DEVICE] == 0; waited += 5, sleep_ms(5))
		ck_assert_int_eq(hyp_cleanup_stats_get(pool, &s), HYP_OK);
	ck_assert_uint_ge(s.by_cause[HYP_CLEANUP_DEVICE], 1);
	ck_assert_uint_eq(s.by_cause[HYP_CLEANUP_IDLE], 0); /* the machine may be short of memory, too: that comes first */
	ck_assert_uint_gt(s.moved_blocks, 0);
	hyp_cleanup_manual(pool);
	ck_assert_uint_ge(free_bytes(c.device), (size_t)(20 + 64) << 20); /* an arena at least went back */
	check_all(pool, c.device);
	check_pool(pool);
	hyp_device_free(c.device, others);
	hyp_pool_destroy(pool);
}
END_TEST

static hyp_stats stats_of(hyp_pool *pool) {
	hyp_stats s = {.struct_bytes = sizeof s};
	ck_assert_int_eq(hyp_pool_stats(pool, &s), HYP_OK);
	return s;
}

static hyp_stats stats_on(int device) {
	hyp_stats s = {.struct_bytes = sizeof s};
	ck_assert_int_eq(hyp_pool_stats_of_device(device, &s), HYP_OK);
	return s;
}

/* Per device: what its pools count together, and nothing of another's. */
START_TEST(counted_by_device) {
	card c[2];
	hyp_backing backings[2];
	hyp_stats none = {.struct_bytes = sizeof none};
	for (int i = 0; i < 2; i++) open_card(&c[i], (size_t)1 << 30, &backings[i]);
	ck_assert_int_eq(hyp_pool_stats_of_device(c[0].device, &none), HYP_ERR_NOT_FOUND);
	hyp_stats host = stats_on(0), alone = stats_of(hyp_pool_default());
	ck_assert_uint_eq(host.allocations, alone.allocations);
	hyp_pool *a = device_pool(&backings[0], 0), *b = device_pool(&backings[0], 0),
			 *other = device_pool(&backings[1], 0);
	hyp_pool *plain = cleanup_pool();
	for (uint32_t i = 0; i < 300; i++) {
		hyp_handle h = put(i % 3 == 0 ? a : b, c[0].device, 100 + i * 50, i);
		if (i % 5 == 0) HOLDS(hyp_handle_free(i % 3 == 0 ? a : b, h) == HYP_OK);
	}
	put(other, c[1].device, 77, 1);
	make_block(plain, 1000, 1);
	hyp_stats x = stats_of(a), y = stats_of(b), sum = stats_on(c[0].device);
	ck_assert_uint_eq(sum.allocations, 300);
	ck_assert_uint_eq(sum.frees, 60);
	ck_assert_uint_eq(sum.allocations, x.allocations + y.allocations);
	ck_assert_uint_eq(sum.current_bytes, x.current_bytes + y.current_bytes);
	ck_assert_uint_eq(sum.peak_bytes, x.peak_bytes + y.peak_bytes);
	ck_assert_uint_eq(sum.committed_bytes, x.committed_bytes + y.committed_bytes);
	ck_assert_uint_eq(sum.arenas, 2);
	ck_assert_uint_eq(stats_on(c[1].device).active, 1);
	hyp_stats now = stats_on(0);
	ck_assert_uint_eq(now.active, stats_of(hyp_pool_default()).active + 1); /* and the plain pool's block */
	ck_assert_int_eq(hyp_cleanup_run(hyp_pool_default(), NULL, NULL),
	                 HYP_OK); /* it has a record now, and counts once */
	ck_assert_uint_eq(stats_on(0).active, stats_of(hyp_pool_default()).active + 1);
	hyp_pool_destroy(a);
	ck_assert_uint_eq(stats_on(c[0].device).active, y.active);
	hyp_pool_destroy(b);
	ck_assert_int_eq(hyp_pool_stats_of_device(c[0].device, &none), HYP_ERR_NOT_FOUND);
	hyp_pool_destroy(other);
	hyp_pool_destroy(plain);
}
END_TEST

UNIT_MAIN("cleanup of devices", compacted, counted_by_device, copy_fails, asked_while_moved, device_runs_full)
