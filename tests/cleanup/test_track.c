/* A pool's tracking section: level, call sites, what lives at its end (lib/cleanup/track.c). */
#include "pool/handle.h"
#include "tracking/profile.h"

#include "tests_cleanup.h"

#include <hypool/hypool.h>
#include <hypool/tracking.h>

#include <fcntl.h>
#include <unistd.h>

static hyp_pool *tracked_pool(hyp_tracking_level level, int fd) {
	hyp_pool_config config;
	hyp_pool *pool = NULL;
	hyp_pool_config_init(&config);
	config.name = "tracked";
	config.initial_small_bytes = config.initial_large_bytes = 0;
	config.enable_tracking = true;
	config.tracking.level = level;
	config.tracking.report_fd = fd;
	ck_assert_int_eq(hyp_pool_create(&config, &pool), HYP_OK);
	return pool;
}

START_TEST(levels) {
	hyp_pool *a = tracked_pool(HYP_TRACKING_BASIC, -1), *b = tracked_pool(HYP_TRACKING_DETAILED, -1);
	hyp_pool *plain = cleanup_pool();
	ck_assert_int_eq(hyp_tracking_get_level(), HYP_TRACKING_NONE); /* the process's is its own */
	ck_assert_int_eq(hyp_tracking_get_pool_level(a), HYP_TRACKING_BASIC);
	ck_assert_int_eq(hyp_tracking_get_pool_level(b), HYP_TRACKING_DETAILED);
	ck_assert_int_eq(hyp_tracking_get_pool_level(plain), HYP_TRACKING_NONE);
	ck_assert_int_eq(hyp_pool_reset(b), HYP_OK);
	ck_assert_int_eq(hyp_tracking_get_pool_level(b), HYP_TRACKING_DETAILED);
	/* A level that was switched since stays, too; and a pool that has none of its own follows the process. */
	ck_assert_int_eq(hyp_tracking_set_pool_level(b, HYP_TRACKING_BASIC), HYP_OK);
	ck_assert_int_eq(hyp_tracking_set_pool_level(a, HYP_TRACKING_NONE), HYP_OK);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(hyp_pool_reset(a), HYP_OK);
		ck_assert_int_eq(hyp_pool_reset(b), HYP_OK);
		ck_assert_int_eq(hyp_pool_reset(plain), HYP_OK);
		ck_assert_int_eq(hyp_tracking_get_pool_level(a), HYP_TRACKING_NONE);
		ck_assert_int_eq(hyp_tracking_get_pool_level(b), HYP_TRACKING_BASIC);
	}
	ck_assert_int_eq(hyp_tracking_set_level(HYP_TRACKING_BASIC), HYP_OK);
	ck_assert_int_eq(hyp_tracking_get_pool_level(a), HYP_TRACKING_NONE);
	ck_assert_int_eq(hyp_tracking_get_pool_level(plain), HYP_TRACKING_BASIC);
	ck_assert_int_eq(hyp_tracking_set_pool_level(plain, HYP_TRACKING_DETAILED), HYP_OK);
	ck_assert_int_eq(hyp_pool_reset(plain), HYP_OK);
	ck_assert_int_eq(hyp_tracking_get_pool_level(plain), HYP_TRACKING_DETAILED);
	ck_assert_int_eq(hyp_tracking_set_level(HYP_TRACKING_NONE), HYP_OK);
	hyp_pool_destroy(a);
	hyp_pool_destroy(b);
	hyp_pool_destroy(plain);
}
END_TEST

static size_t picks_live(void) {
	hypi_profile_lock();
	size_t count = hypi_profile_data.pick_count;
	hypi_profile_unlock();
	return count;
}

static void read_back(int fd, char *ret_text, size_t bytes) {
	ssize_t n = pread(fd, ret_text, bytes - 1, 0);
	ret_text[n > 0 ? n : 0] = '\0';
}

START_TEST(what_lives) {
	char name[] = "/tmp/hypool-track-XXXXXX";
	static char text[65536];
	int fd = mkstemp(name);
	ck_assert_int_ge(fd, 0);
	unlink(name);
	hyp_pool *pool = tracked_pool(HYP_TRACKING_DEBUG, fd), *other = cleanup_pool();
	size_t picks = picks_live();
	void *kept[30];
	for (int i = 0; i < 30; i++) kept[i] = hyp_pool_malloc(pool, 100);
	hyp_handle h = make_block(pool, 5000, 1);
	void *big = NULL; /* 60 MiB are sampled some two hundred times */
	for (int i = 0; i < 20; i++) big = hyp_pool_malloc(pool, 3 << 20);
	void *others = hyp_pool_malloc(other, 100);
	hyp_pool_free(pool, kept[0]);
	hyp_pool_leaks leaks = {.struct_bytes = sizeof leaks};
	ck_assert_int_eq(hyp_pool_leaks_find(pool, -1, &leaks), HYP_OK);
	ck_assert_uint_eq(leaks.blocks, 50);
	ck_assert_uint_eq(leaks.handles, 1);
	ck_assert_uint_ge(leaks.bytes, 29 * 100 + 5000 + 20 * (3 << 20));
	ck_assert_uint_ge(leaks.sampled_sites, 1);
	ck_assert_uint_ge(picks_live(), picks + 10);
	ck_assert_ptr_nonnull(big);
	hyp_pool_destroy(pool);
	read_back(fd, text, sizeof text);
	ck_assert_msg(strstr(text, "pool \"tracked\"") != NULL, "%s", text);
	ck_assert_ptr_nonnull(strstr(text, "in 50 blocks live, 1 of them by handle"));
	/* One that the sampler picked, once in some 300 runs, lies elsewhere. */
	ck_assert(strstr(text, "29 blocks of 112 bytes") != NULL || strstr(text, "28 blocks of 112 bytes") != NULL);
	ck_assert_ptr_nonnull(strstr(text, "bytes in large blocks"));
	ck_assert_ptr_nonnull(strstr(text, "by:\n    #0"));
	ck_assert_uint_eq(picks_live(), picks); /* they went with the pool */
	void *dummy;
	ck_assert_int_ne(hyp_handle_lock(other, h, &dummy), HYP_OK);
	hyp_pool_free(other, others);
	ck_assert_uint_eq(picks_live(), picks);
	/* A pool with nothing in it, or that is reset, says nothing. */
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	lseek(fd, 0, SEEK_SET);
	pool = tracked_pool(HYP_TRACKING_DEBUG, fd);
	ck_assert_ptr_nonnull(hyp_pool_malloc(pool, 20 << 20));
	ck_assert_int_eq(hyp_pool_reset(pool), HYP_OK);
	ck_assert_uint_eq(picks_live(), picks);
	hyp_pool_free(pool, hyp_pool_malloc(pool, 100));
	hyp_pool_destroy(pool);
	read_back(fd, text, sizeof text);
	ck_assert_str_eq(text, "");
	hyp_pool_destroy(other);
	close(fd);
}
END_TEST

START_TEST(rising) {
	hyp_pool_config config;
	hyp_pool *pool = NULL;
	hyp_pool_config_init(&config);
	config.enable_tracking = config.enable_cleanup = true;
	config.tracking.level = HYP_TRACKING_BASIC;
	config.tracking.report_fd = -1;
	config.tracking.leak_detection_interval_ms = 20;
	config.cleanup.idle_interval_ms = 40;
	ck_assert_int_eq(hyp_pool_create(&config, &pool), HYP_OK);
	hyp_pool_leaks leaks = {.struct_bytes = sizeof leaks};
	for (int i = 0; i < 2000 && leaks.rising < 5; i++) {
		for (int k = 0; k < 10; k++) ck_assert_ptr_nonnull(hyp_pool_malloc(pool, 50));
		sleep_ms(10);
		ck_assert_int_eq(hyp_pool_leaks_find(pool, -1, &leaks), HYP_OK);
	}
	ck_assert_uint_ge(leaks.rising, 5);
	for (int i = 0; i < 5000 && leaks.rising != 0; i++) {
		sleep_ms(10);
		ck_assert_int_eq(hyp_pool_leaks_find(pool, -1, &leaks), HYP_OK);
	}
	ck_assert_uint_eq(leaks.rising, 0); /* no more came */
	hyp_pool_destroy(pool);
}
END_TEST

UNIT_MAIN("tracking of pools", levels, what_lives, rising)
