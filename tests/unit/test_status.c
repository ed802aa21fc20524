/* Tests of base/status.c: the numbers are pinned here once more, by hand: a changed one breaks callers. */
#include "unit.h"

#include <hypool/status.h>

#include <string.h>

START_TEST(pinned) {
	static const struct {
		hyp_status status;
		int number;
		const char *name;
	} all[] = {
		{HYP_OK, 0, "HYP_OK"},
		{HYP_ERR_NO_MEMORY, 1, "HYP_ERR_NO_MEMORY"},
		{HYP_ERR_INVALID, 2, "HYP_ERR_INVALID"},
		{HYP_ERR_LIMIT, 3, "HYP_ERR_LIMIT"},
		{HYP_ERR_STALE, 4, "HYP_ERR_STALE"},
		{HYP_ERR_FOREIGN, 5, "HYP_ERR_FOREIGN"},
		{HYP_ERR_BUSY, 6, "HYP_ERR_BUSY"},
		{HYP_ERR_UNSUPPORTED, 7, "HYP_ERR_UNSUPPORTED"},
		{HYP_ERR_OS, 8, "HYP_ERR_OS"},
		{HYP_ERR_CORRUPT, 9, "HYP_ERR_CORRUPT"},
		{HYP_ERR_NOT_FOUND, 10, "HYP_ERR_NOT_FOUND"},
		{HYP_ERR_EXISTS, 11, "HYP_ERR_EXISTS"},
		{HYP_ERR_OVERFLOW, 12, "HYP_ERR_OVERFLOW"},
		{HYP_ERR_TYPE, 13, "HYP_ERR_TYPE"},
		{HYP_ERR_SHAPE, 14, "HYP_ERR_SHAPE"},
		{HYP_ERR_DEVICE, 15, "HYP_ERR_DEVICE"},
		{HYP_ERR_TIMEOUT, 16, "HYP_ERR_TIMEOUT"},
	};
	for (size_t i = 0; i < HYP_ARRAY_LEN(all); i++) {
		ck_assert_int_eq((int)all[i].status, all[i].number);
		ck_assert_str_eq(hyp_status_name(all[i].status), all[i].name);
	}
}
END_TEST

START_TEST(messages) {
	const char *seen[256];
	size_t count = 0;
#define HYP_STATUS_X(name, number, message) \
	ck_assert_str_eq(hyp_status_message(HYP_##name), message); \
	ck_assert_uint_gt(strlen(message), 0); \
	for (size_t i = 0; i < count; i++) ck_assert_str_ne(seen[i], message); \
	seen[count++] = message;
#include <hypool/status.def>
#undef HYP_STATUS_X
	ck_assert_uint_ge(count, 17);
}
END_TEST

START_TEST(unknown) {
	volatile int numbers[] = {-1, 9999, 1 << 30};
	for (size_t i = 0; i < HYP_ARRAY_LEN(numbers); i++) {
		ck_assert_str_eq(hyp_status_message((hyp_status)numbers[i]), "unknown status");
		ck_assert_str_eq(hyp_status_name((hyp_status)numbers[i]), "unknown status");
	}
}
END_TEST

UNIT_MAIN("status", pinned, messages, unknown)
