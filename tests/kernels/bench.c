/* tests/kernels/bench.c: times the kernels. */
#include "check.h"

int bench_main(uint32_t mask, const char *filter) {
	(void)mask;
	(void)filter;
	return 2;
}
