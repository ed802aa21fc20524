/*
 * tests/faults/remap.c: realloc moves a large block by its pages, and the kernel's mremap fails after it has taken the
 * target away (lib/os/linux.c, hypi_os_move_pages; lib/heap/large.c, hypi_large_move).
 *
 * Refused early: the block is copied. Failed late: the target is mapped again, and the block is copied. Failed late, and
 * somebody else has mapped the target's place: NULL and ENOMEM, the block is as it was, nobody's mapping is touched. In
 * each case the engine's checker agrees, and the next realloc works.
 */
#include "heap/heap.h"
#include "os/fault.h"
#include "os/os.h"

#include <hypool/hypool.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define MIB ((size_t)1 << 20)
/* Beyond an arena: a mapping of its own, which alone is moved. */
#define HAVE (80 * MIB)
#define WANT (130 * MIB)
#define BIT(call) (1u << HYPI_FAULT_##call)
#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			printf("%s:%d: %s: %s\n", __FILE__, __LINE__, name, #condition); \
			exit(1); \
		} \
	} while (0)

static void fill(const char *name, unsigned char *p) {
	CHECK(p != NULL);
	for (size_t i = 0; i < HAVE; i += 4096) p[i] = (unsigned char)(i >> 12 | 1);
}

static bool holds(const unsigned char *p) {
	for (size_t i = 0; i < HAVE; i += 4096)
		if (p[i] != (unsigned char)(i >> 12 | 1) || p[i + 1] != 0) return false;
	return true;
}

/* One realloc while the script holds; whether it moved is told by what it says. */
static void one(const char *name, uint32_t mask, bool may_fail) {
	unsigned char *p = hyp_calloc(1, HAVE);
	fill(name, p);
	hypi_fault_script(mask, 0, 2, ENOMEM);
	errno = 0;
	unsigned char *q = hyp_realloc(p, WANT);
	int error = errno;
	uint64_t failed = hypi_fault_failed();
	hypi_fault_script(0, 0, 0, 0);
	if (mask != 0) CHECK(failed >= 1);
	if (may_fail) {
		CHECK(q == NULL && error == ENOMEM);
		CHECK(holds(p));
		q = hyp_realloc(p, WANT); /* the failure is over */
	}
	CHECK(q != NULL && holds(q));
	for (size_t i = HAVE; i < WANT; i += 4096) q[i] = 1; /* all of the target is there, and may be written */
	for (size_t i = 1; i < HAVE; i += 4096) q[i] = 1;
	CHECK(hypi_engine_check(&hypi_default_engine) == NULL);
	hyp_free(q);
	CHECK(hypi_engine_check(&hypi_default_engine) == NULL);
}

int main(void) {
	hyp_free(hyp_malloc(1));
	char *from = hypi_os_map(MIB, MIB), *to = hypi_os_map(MIB, MIB);
	if (from == NULL || to == NULL) return 1;
	if (hypi_os_move_pages(from, to, MIB) != HYP_OK) {
		puts("SKIPPED: this kernel does not move pages and keep the mapping");
		return 77;
	}
	one("moved", 0, false);
	one("refused at once", BIT(REMAP), false);
	one("failed late", BIT(REMAP_LATE), false);
	one("failed late, and the place is taken", BIT(REMAP_LATE) | BIT(REMAP_BACK), true);
	one("and once more", 0, false);
	puts("moved, copied, and refused");
	return 0;
}
