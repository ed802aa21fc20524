/*
 * max_maps: the kernel's table of mappings (vm.max_map_count) is full, as in a process with very many mapped files:
 * mmap, and munmap or mprotect of a part, fail with ENOMEM (RELIABILITY.md row 18).
 *
 * The table is filled by one mapping whose pages are in turn readable and not. Meanwhile blocks come, grow and go: a
 * request may be refused with ENOMEM, a free may not fail, no block may be harmed. Freed large blocks must not pile up
 * as address space, either. When the table has room again everything is served.
 */
#include "faults/work.h"

#include <sys/mman.h>

enum { STEPS = 12000 };

static char *fill_table(size_t page, size_t *ret_pages) {
	size_t pages = 0;
	FILE *limit = fopen("/proc/sys/vm/max_map_count", "r");
	if (!limit || fscanf(limit, "%zu", &pages) != 1) check_skip("vm.max_map_count cannot be read");
	fclose(limit);
	if (pages > 2000000) check_skip("vm.max_map_count is too high to be reached");
	pages += 1000;
	char *all = mmap(NULL, pages * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	REQUIRE(all != MAP_FAILED);
	size_t i = 0;
	while (i < pages && mprotect(all + i * page, page, PROT_NONE) == 0) i += 2;
	if (i >= pages) check_skip("this kernel has no limit on mappings");
	REQUIRE(errno == ENOMEM, "errno %d", errno);
	/* One place is left at most: fill it with mappings of their own kind. */
	while (mmap(NULL, page, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) {
	}
	*ret_pages = pages;
	return all;
}

int main(void) {
	static work w = {.seed = 7};
	size_t page = (size_t)sysconf(_SC_PAGESIZE), pages;
	setvbuf(stdout, NULL, _IONBF, 0);
	for (int i = 0; i < 3000; i++) work_step(&w);
	CHECK(w.refused == 0);
	char *all = fill_table(page, &pages);
	for (int i = 0; i < STEPS; i++) work_step(&w);
	size_t refused = w.refused;
	/* One block at a time, again and again: what is freed serves the next. */
	void *p = malloc(2 * MIB);
	for (int i = 0; p && i < 200; i++) {
		free(p);
		p = malloc(2 * MIB);
		CHECK(p, "round %d: what was freed is not served again", i);
	}
	free(p);
	malloc_trim(0);
	for (int i = 0; i < STEPS / 4; i++) work_step(&w);
	printf("with a full table: %zu of %d refused\n", refused, STEPS);
	CHECK(w.served > STEPS / 2, "only %zu of %d requests were served", w.served, STEPS);
	REQUIRE(munmap(all, pages * page) == 0);
	work_recovered();
	work_threads(3, 500);
	work_end(&w);
	return check_end();
}
