/* interpose/cmd/bench.c: `hypool bench`: allocate + free pairs of hypool beside this process's malloc. */
#include "interpose/cmd/cmd.h"
#include "os/os.h"

#include <hypool/hypool.h>

#include <stdlib.h>
#include <string.h>

enum { CHUNKS = 9 };

typedef struct allocator {
	const char *name;
	void *(*allocate)(size_t bytes);
	void (*release)(void *p);
} allocator;

static double chunk_ns(const allocator *a, size_t bytes, unsigned rounds) {
	uint64_t start = hypi_os_now_ns();
	for (unsigned i = 0; i < rounds; i++) {
		char *p = a->allocate(bytes);
		if (p == NULL) exit(hypi_cmd_fail(1, "out of memory"));
		*(volatile char *)p = 1;
		a->release(p);
	}
	return (double)(hypi_os_now_ns() - start) / rounds;
}

/* The median of CHUNKS chunks of a few milliseconds. */
static double pair_ns(const allocator *a, size_t bytes) {
	unsigned rounds = 1000;
	double times[CHUNKS];
	while (chunk_ns(a, bytes, rounds) * rounds < 3e6 && rounds < 1u << 26) rounds *= 2;
	for (int i = 0; i < CHUNKS; i++) {
		double time = chunk_ns(a, bytes, rounds);
		int at = i;
		for (; at > 0 && times[at - 1] > time; at--) times[at] = times[at - 1];
		times[at] = time;
	}
	return times[CHUNKS / 2];
}

int hypi_cmd_bench(int argc, char **argv) {
	static const size_t sizes[] = {16, 64, 256, 1024, 4096, 32768, 262144, 1 << 20, 8 << 20};
	const allocator hypool = {"hypool", hyp_malloc, hyp_free}, own = {"malloc", malloc, free};
	bool json = false;
	for (int at = 0; at < argc;) {
		if (hypi_cmd_flag(argv, &at, "--help")) return puts("usage: hypool bench [--json]") < 0;
		if (hypi_cmd_flag(argv, &at, "--json")) json = true;
		else return hypi_cmd_fail(2, "bench: what is %s?", argv[at]);
	}
	printf(json ? "[" : "allocate + free, one thread, median of %d chunks\n%10s %12s %12s\n", CHUNKS, "bytes",
	       "hypool ns", "malloc ns");
	for (size_t i = 0; i < HYP_ARRAY_LEN(sizes); i++) {
		double a = pair_ns(&hypool, sizes[i]), b = pair_ns(&own, sizes[i]);
		if (json) printf("%s{\"bytes\":%zu,\"hypool_ns\":%.2f,\"malloc_ns\":%.2f}", i == 0 ? "" : ",", sizes[i], a, b);
		else printf("%10zu %12.1f %12.1f\n", sizes[i], a, b);
		fflush(stdout);
	}
	printf(json ? "]\n" : "");
	return 0;
}
