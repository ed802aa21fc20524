/*
 * Every call to the operating system that pools, handles, backings, shared pools and files make fails in turn, once and
 * from then on: no crash, statuses as promised, outputs untouched, nothing leaked, and the checker passes.
 */
#include "core/meta.h"
#include "os/fault.h"
#include "pool/handle.h"
#include "unit.h"

#include "tests_pool.h"

#include <hypool/shared.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define EVERY ((1u << HYPI_FAULT_COUNT) - 1)

/* Runs the story with the first call failing, then the second, and so on, until one needs no more. */
static void in_turn(void (*story)(void), uint64_t count, int error) {
	story(); /* whatever is only made once is made */
	size_t used = hypi_meta_used_bytes();
	for (uint64_t turn = 0;; turn++) {
		ck_assert_uint_lt(turn, 5000);
		hypi_fault_script(EVERY, turn, count, error);
		story();
		uint64_t failed = hypi_fault_failed();
		hypi_fault_script(0, 0, 0, 0);
		if (count == 1) ck_assert_msg(hypi_meta_used_bytes() <= used, "turn %d: records leaked", (int)turn);
		if (failed == 0) break;
	}
}

static void check(hyp_pool *pool) {
	const char *wrong = hyp_pool_check(pool);
	ck_assert_msg(wrong == NULL, "%s", wrong);
}

static void pool_story(void) {
	hyp_pool_config config = small_config();
	config.initial_small_bytes = 1 << 20;
	hyp_pool *pool = (hyp_pool *)&config;
	hyp_status status = hyp_pool_create(&config, &pool);
	if (status != HYP_OK) {
		ck_assert_ptr_eq(pool, &config); /* untouched */
		ck_assert(status == HYP_ERR_NO_MEMORY || status == HYP_ERR_OS);
		ck_assert_str_ne(hyp_pool_config_error(), "");
		return;
	}
	for (size_t bytes = 10; bytes < (size_t)80 << 20; bytes *= 7) {
		errno = 0;
		char *p = hyp_pool_malloc(pool, bytes);
		if (p == NULL) ck_assert_int_eq(errno, ENOMEM);
		else fill(p, bytes, 5);
		char *q = hyp_pool_realloc(pool, p, bytes * 3);
		if (p != NULL && q == NULL) HOLDS(filled(p, bytes, 5));
		if (q != NULL && p != NULL) HOLDS(filled(q, bytes < 64 ? bytes : 64, 5));
		hyp_pool_free(pool, q != NULL ? q : p);
		check(pool);
		hyp_handle h = 3;
		status = hyp_handle_alloc(pool, bytes, 64, 0, &h);
		if (status == HYP_OK) {
			ck_assert_int_eq(hyp_handle_validate(pool, h), HYP_OK);
			hyp_status moved = hypi_handle_move(pool, h);
			ck_assert(moved == HYP_OK || moved == HYP_ERR_NO_MEMORY || moved == HYP_ERR_LIMIT);
			moved = hyp_handle_realloc(pool, h, bytes * 3);
			ck_assert(moved == HYP_OK || moved == HYP_ERR_NO_MEMORY || moved == HYP_ERR_LIMIT);
			hyp_handle_info info = {.struct_bytes = sizeof info};
			ck_assert_int_eq(hyp_handle_get_info(pool, h, &info), HYP_OK);
			ck_assert_uint_eq(info.bytes, moved == HYP_OK ? bytes * 3 : bytes);
			ck_assert_int_eq(hyp_handle_free(pool, h), HYP_OK);
		} else {
			ck_assert_uint_eq(h, 3);
		}
		check(pool);
	}
	hyp_pool_trim(pool);
	check(pool);
	ck_assert_int_eq(hyp_pool_reset(pool), HYP_OK);
	check(pool);
	hyp_pool_destroy(pool);
}

static void backing_story(void) {
	static char path[64];
	snprintf(path, sizeof path, "/tmp/hypool-fail-%d", (int)getpid());
	for (int kind = 0; kind < 4; kind++) {
		hyp_backing backing = {.name = "untouched"};
		hyp_status status = kind == 0   ? hyp_backing_open_file(path, &backing)
		                    : kind == 1 ? hyp_backing_open_shared(&backing)
		                    : kind == 2 ? hyp_backing_open_host(0, HYP_HUGE_DEFAULT, false, &backing)
		                                : hyp_backing_open_host(-1, HYP_HUGE_TRANSPARENT, true, &backing);
		if (status != HYP_OK) {
			ck_assert_str_eq(backing.name, "untouched");
			ck_assert_ptr_null(backing.context);
			continue;
		}
		hyp_pool_config config = small_config();
		config.backing = &backing;
		hyp_pool *pool = NULL;
		if (hyp_pool_create(&config, &pool) == HYP_OK) {
			for (size_t bytes = 100; bytes < (size_t)80 << 20; bytes *= 31)
				hyp_pool_free(pool, hyp_pool_malloc(pool, bytes));
			hyp_pool_trim(pool);
			check(pool);
			hyp_pool_destroy(pool);
		}
		hyp_backing_close(&backing);
	}
	ck_assert_int_ne(access(path, F_OK), 0);
}

static void shared_story(void) {
	static char path[64];
	snprintf(path, sizeof path, "/tmp/hypool-fail-%d", (int)getpid());
	hyp_shared *shared = NULL, *second = NULL;
	hyp_status status = hyp_shared_create(NULL, (size_t)1 << 20, &shared);
	if (status != HYP_OK) {
		ck_assert_ptr_null(shared);
		return;
	}
	hyp_offset offset = 0;
	status = hyp_shared_alloc(shared, 5000, &offset);
	if (status != HYP_OK) { /* no room for the file's pages */
		ck_assert_int_eq(status, HYP_ERR_NO_MEMORY);
		ck_assert_uint_eq(offset, 0);
		ck_assert_ptr_null(hyp_shared_check(shared));
		hyp_shared_detach(shared);
		return;
	}
	if (hyp_shared_attach_fd(hyp_shared_fd(shared), &second) == HYP_OK) hyp_shared_detach(second);
	second = NULL;
	if (hyp_shared_save(shared, path) == HYP_OK && hyp_shared_restore(path, NULL, &second) == HYP_OK) {
		ck_assert_uint_ge(hyp_shared_usable_size(second, offset), 5000);
		hyp_shared_detach(second);
	}
	unlink(path);
	ck_assert_ptr_null(hyp_shared_check(shared));
	hyp_shared_detach(shared);
}

START_TEST(pools) {
	in_turn(pool_story, 1, ENOMEM);
	in_turn(pool_story, UINT64_MAX, ENOMEM);
}
END_TEST

START_TEST(backings) {
	in_turn(backing_story, 1, EPERM);
	in_turn(backing_story, UINT64_MAX, EPERM);
}
END_TEST

START_TEST(shared_pools) {
	in_turn(shared_story, 1, EIO);
	in_turn(shared_story, UINT64_MAX, EIO);
}
END_TEST

UNIT_MAIN("pool failures", pools, backings, shared_pools)
