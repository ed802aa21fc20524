/*
 * tests/tensor/outcome.h: what the tests of devices and tensors share: calls that must succeed, calls that must be
 * refused with a reason and leave nothing, one element, and the run of a suite.
 */
#ifndef OUTCOME_H
#define OUTCOME_H

#include <hypool/device.h>
#include <hypool/tensor.h>

#include <check.h>
#include <string.h>

/* Whose reason is told: of tensors, unless a test of devices says otherwise before it includes this. */
#ifndef OUTCOME_ERROR
#define OUTCOME_ERROR hyp_tensor_last_error()
#endif

#define OK(call) ck_assert_msg((call) == HYP_OK, "%s: %s", #call, OUTCOME_ERROR)
/* A refusal with this status and a text that names the argument; no tensor more is alive than before. */
#define REFUSED(status, named, call) \
	do { \
		uint64_t before_ = hyp_tensor_live_count(); \
		hyp_status got_ = (call); \
		ck_assert_msg(got_ == (status), "%s: %s (%s)", #call, hyp_status_name(got_), OUTCOME_ERROR); \
		ck_assert_msg(OUTCOME_ERROR[0] != '\0' && strstr(OUTCOME_ERROR, (named)) != NULL, "%s: '%s'", #call, \
		              OUTCOME_ERROR); \
		ck_assert_uint_eq(hyp_tensor_live_count(), before_); \
	} while (0)

/* What an output holds before a call that fails, and after it. */
#define untouched ((hyp_tensor *)(uintptr_t)0x5a5a)

static inline void none_left(void) { ck_assert_uint_eq(hyp_tensor_live_count(), 0); }

static inline double at(const hyp_tensor *t, const int64_t *index) {
	hyp_scalar s;
	ck_assert_msg(hyp_tensor_get(t, index, &s) == HYP_OK, "%s", hyp_tensor_last_error());
	return s.kind == HYP_SCALAR_FLOAT ? s.value.f : (double)s.value.i;
}

static inline int run_suite(const char *name, const TTest *const *tests, size_t count) {
	Suite *suite = suite_create(name);
	TCase *cases = tcase_create(name);
	tcase_set_timeout(cases, 120);
	for (size_t i = 0; i < count; i++) tcase_add_test(cases, tests[i]);
	suite_add_tcase(suite, cases);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}

#endif
