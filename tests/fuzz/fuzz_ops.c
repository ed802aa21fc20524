/*
 * tests/fuzz/fuzz_ops.c: any bytes are a stream of allocator operations, run against the model (tests/model/ops.h) with
 * the engine's checker after every few. Threads cost too much here: all operations are the one thread's.
 */
#include "fuzz.h"
#include "ops.h"

#include "base/option.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST_OPS = 400 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
	static op ops[MOST_OPS];
	static bool begun;
	if (!begun && hypi_option_set("arena", 5, "1M", 2, HYPI_FROM_API) != HYP_OK) abort();
	begun = true;
	size_t read = ops_decode(bytes, count, ops, MOST_OPS);
	for (size_t i = 0; i < read; i++) ops[i].thread = 0;
	ops_rules rules = {.check_every = 64};
	const char *wrong = ops_run(ops, read, &rules);
	if (wrong == NULL) return 0;
	fprintf(stderr, "%s\n", wrong);
	ops_write(ops, read);
	fflush(stdout);
	abort();
}
