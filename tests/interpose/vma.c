/*
 * vma_64k, vma_256k: mappings stay few (RELIABILITY.md rows 17 and 18).
 *
 * 20,000 blocks of 64 KiB (256 KiB), every second freed, then time for purging: the kernel's list of mappings must not
 * have grown to one a block, or vm.max_map_count ends the program. Bound, the promise table's: 200; where blocks stand
 * between guard pages (HYPOOL_HARDEN=3), a quarter of vm.max_map_count.
 */
#include "interpose/check.h"

#include <malloc.h>

enum { BLOCKS = 20000 };

static size_t bound(void) {
	const char *level = getenv("HYPOOL_HARDEN");
	FILE *limit = fopen("/proc/sys/vm/max_map_count", "r");
	unsigned long most = 0;
	if (limit && fscanf(limit, "%lu", &most) != 1) most = 0;
	if (limit) fclose(limit);
	return level && level[0] == '3' && most ? most / 4 : 200;
}

int main(int argc, char **argv) {
	REQUIRE(argc > 1, "usage: vma BYTES");
	size_t size = (size_t)strtoull(argv[1], NULL, 0), before = check_mappings();
	static char *blocks[BLOCKS];
	for (int i = 0; i < BLOCKS; i++) {
		blocks[i] = malloc(size);
		REQUIRE(blocks[i]);
		blocks[i][0] = 1; /* one page each: resident enough to be worth purging, small enough for this machine */
	}
	size_t full = check_mappings();
	for (int i = 0; i < BLOCKS; i += 2) free(blocks[i]);
	size_t halved = check_mappings();
	for (int i = 0; i < 30; i++) { /* light activity, so that decay has its chance */
		usleep(50000);
		free(opaque(malloc(size)));
	}
	malloc_trim(0);
	size_t purged = check_mappings();
	printf("mappings: start %zu, 20000 blocks %zu, half freed %zu, purged %zu\n", before, full, halved, purged);
	size_t most = before + bound();
	CHECK(full < most && halved < most && purged < most, "too many mappings: bound %zu", most);
	for (int i = 1; i < BLOCKS; i += 2) {
		CHECK(blocks[i][0] == 1, "block %d lost its contents", i);
		free(blocks[i]);
	}
	return check_end();
}
