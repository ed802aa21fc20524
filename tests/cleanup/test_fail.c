/* Every call to the operating system that cleanup makes fails in turn, once and from then on: no block is lost or changed, the
 * checker passes, nothing leaks, and what is reported is what happened. */
#include "core/meta.h"
#include "os/fault.h"

#include "tests_cleanup.h"

#include <errno.h>

enum { BLOCKS = 3000, BYTES = 300, EVERY = (1 << HYPI_FAULT_COUNT) - 1 };

static hyp_handle handles[BLOCKS];

static void story(void) {
	hyp_pool_config config;
	hyp_pool *pool = NULL;
	hyp_pool_config_init(&config);
	config.initial_small_bytes = config.initial_large_bytes = 0;
	config.enable_cleanup = config.enable_tracking = true;
	config.tracking.report_fd = -1;
	config.cleanup.idle_interval_ms = 1000000;
	config.cleanup.pressure_threshold = 1;
	hyp_status status = hyp_pool_create(&config, &pool);
	if (status != HYP_OK) {
		ck_assert(status == HYP_ERR_NO_MEMORY || status == HYP_ERR_OS);
		ck_assert_str_ne(hyp_pool_config_error(), "");
		ck_assert_ptr_null(pool);
		return;
	}
	int made = 0;
	for (; made < BLOCKS; made++) {
		handles[made] = 0;
		if (hyp_handle_alloc(pool, BYTES, 0, 0, &handles[made]) != HYP_OK) continue;
		write_block(pool, handles[made], BYTES, (uint32_t)made);
	}
	for (int i = 0; i < made; i++)
		if (i % 5 != 0 && handles[i] != 0) {
			HOLDS(hyp_handle_free(pool, handles[i]) == HYP_OK);
			handles[i] = 0;
		}
	hyp_cleanup_result r = {.struct_bytes = sizeof r};
	status = hyp_cleanup_run(pool, NULL, &r);
	ck_assert(status == HYP_OK || status == HYP_ERR_NO_MEMORY || status == HYP_ERR_BUSY);
	for (int i = 0; i < made; i++)
		if (handles[i] != 0) check_block(pool, handles[i], BYTES, (uint32_t)i);
	check_pool(pool);
	hyp_relief relief = {.struct_bytes = sizeof relief};
	ck_assert_int_eq(hyp_cleanup_relieve(UINT64_MAX, &relief), HYP_OK);
	hyp_pool_leaks leaks = {.struct_bytes = sizeof leaks};
	ck_assert_int_eq(hyp_pool_leaks_find(pool, -1, &leaks), HYP_OK);
	check_pool(pool);
	hyp_pool_destroy(pool);
}

static void in_turn(uint64_t count, int error) {
	story();
	story();
	size_t used = hypi_meta_used_bytes();
	unsigned threads = thread_count();
	for (uint64_t turn = 0;; turn++) {
		ck_assert_uint_lt(turn, 5000);
		hypi_fault_script(EVERY, turn, count, error);
		story();
		uint64_t failed = hypi_fault_failed();
		hypi_fault_script(0, 0, 0, 0);
		ck_assert(threads_are(threads));
		if (count == 1) ck_assert_msg(hypi_meta_used_bytes() <= used, "turn %d: records leaked", (int)turn);
		if (failed == 0) break;
	}
}

START_TEST(once) { in_turn(1, ENOMEM); }
END_TEST

START_TEST(for_good) { in_turn(UINT64_MAX, ENOMEM); }
END_TEST

UNIT_MAIN("cleanup failures", once, for_good)
