/*
 * limits data | cgroup: as much memory as there is, and no more.
 *
 * data: vm.overcommit_memory=2 as RLIMIT_DATA shows it: every private writable page counts from the moment it is mapped
 * or made writable, whether or not it is touched, MAP_NORESERVE or not (RELIABILITY.md row 17). The sysctl itself is the
 * whole machine's. At least two fifths of the limit must be had in blocks of each size, with NULL and ENOMEM behind it; what
 * is free must serve other sizes; mappings stay few.
 *
 * cgroup: the runner (cgroup.sh) has put the process in a memory cgroup of LIMIT bytes, where the kernel kills who
 * takes more. A fifth of it in blocks of one size comes and goes, then in blocks of another: what is free, in lists and
 * caches, must not add up to the limit (a thread's cache of large blocks, 64 MiB by default, comes on top).
 */
#include "faults/work.h"

#include <sys/resource.h>

struct chain {
	struct chain *next;
};

static size_t take(size_t size, size_t most) {
	struct chain *head = NULL;
	size_t taken = 0;
	errno = 0;
	while (taken < most) {
		struct chain *block = malloc(size);
		if (!block) break;
		memset(block, 1, size);
		block->next = head;
		head = block;
		taken += size;
	}
	int error = errno;
	size_t mappings = check_mappings();
	while (head) {
		struct chain *next = head->next;
		free(head);
		head = next;
	}
	CHECK(taken >= most || error == ENOMEM, "blocks of %zu: errno %d", size, error);
	const char *level = getenv("HYPOOL_HARDEN"); /* at the strongest, blocks stand between guard pages */
	if (!level || level[0] != '3') CHECK(mappings < 400, "%zu mappings with blocks of %zu", mappings, size);
	return taken;
}

static const size_t sizes[] = {48, 700, 5000, 70 * KIB, 400 * KIB, 3 * MIB, 20 * MIB};

static void data(void) {
	const size_t most = 512 * MIB;
	static work w = {.seed = 9};
	struct rlimit limit = {most, most};
	REQUIRE(setrlimit(RLIMIT_DATA, &limit) == 0);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t taken = take(sizes[i], SIZE_MAX);
		printf("blocks of %zu: %zu of %zu MiB\n", sizes[i], taken / MIB, most / MIB);
		CHECK(taken >= most / 5 * 2, "blocks of %zu: only %zu MiB of %zu", sizes[i], taken / MIB, most / MIB);
	}
	for (int i = 0; i < 3000; i++) work_step(&w);
	CHECK(w.refused == 0, "%zu requests of a small program are refused", w.refused);
	work_threads(3, 500);
	work_end(&w);
}

static void cgroup(size_t most) {
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			size_t taken = take(sizes[i], most / 5);
			CHECK(taken >= most / 5 - sizes[i], "blocks of %zu: only %zu MiB", sizes[i], taken / MIB);
		}
	work_threads(3, 500);
	printf("a fifth of %zu MiB, in %zu sizes in turn\n", most / MIB, sizeof sizes / sizeof *sizes);
}

int main(int argc, char **argv) {
	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc > 2 && strcmp(argv[1], "cgroup") == 0) cgroup((size_t)strtoull(argv[2], NULL, 0));
	else data();
	return check_end();
}
