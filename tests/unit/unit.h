/*
 * tests/unit/unit.h: what every unit test shares: Check, and a main that runs the tests it is given as one suite.
 *
 * Each file tests one source file of lib/. Every test runs in a process of its own, also under the sanitizers: much of
 * what is tested is state of the process that is set once. A sanitizer's report ends the child with a status of its
 * own, which Check counts as an error.
 */
#ifndef HYP_TESTS_UNIT_UNIT_H
#define HYP_TESTS_UNIT_UNIT_H

#include "base/compiler.h"

#include <check.h>
#include <stdlib.h>

/* As ck_assert, for the inside of long loops and for threads: it costs nothing while it holds. */
#define HOLDS(x) (HYP_LIKELY(x) ? (void)0 : ck_abort_msg("%s does not hold", #x))

/* Runs the tests; the process's exit status says whether all passed. */
static inline int unit_run(const char *name, const TTest *const *tests, size_t count) {
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create(name);
	tcase_set_timeout(tcase, 120);
	for (size_t i = 0; i < count; i++) tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_NORMAL);
	int run = srunner_ntests_run(runner), failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return run > 0 && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define UNIT_MAIN(name, ...) \
	int main(void) { \
		const TTest *const tests[] = {__VA_ARGS__}; \
		return unit_run(name, tests, HYP_ARRAY_LEN(tests)); \
	}

#endif
