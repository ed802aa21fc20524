/* What the tests of tests/tracking share: a claim that ends the program when it is false. */
#ifndef HYP_TESTS_TRACKING_CHECK_H
#define HYP_TESTS_TRACKING_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(claim, ...) \
	do { \
		if (!(claim)) { \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #claim); \
			fprintf(stderr, __VA_ARGS__); \
			fputc('\n', stderr); \
			exit(1); \
		} \
	} while (0)

#endif
