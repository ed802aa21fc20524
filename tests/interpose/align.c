/*
 * Alignment, four named tests (RELIABILITY.md row 25).
 *
 * align_small: a block is aligned for every type that fits in it. align16_all: 16 bytes and more are 16-aligned, on
 * every way in (malloc, calloc, realloc). align_matrix: alignments 1 B to 1 GiB by sizes around them, many at once,
 * never overlapping, usable to the end, freed in another order. align_edges: the same for every size class's edge and
 * one byte to either side.
 */
#include "interpose/check.h"

#include <malloc.h>

static void align_small(void) {
	for (size_t size = 1; size < 2048; size++) {
		size_t needed = size & (~size + 1); /* the greatest power of two that divides the size */
		if (needed > 16) needed = 16;
		for (int i = 0; i < 40; i++) {
			void *p = opaque(malloc(size)); /* kept: so that every slot of a span is seen */
			REQUIRE(p);
			CHECK(((uintptr_t)p & (needed - 1)) == 0, "malloc(%zu): %p", size, p);
		}
	}
}

static void align16_all(void) {
	for (size_t size = 16; size < 5 * MIB; size += size / 37 + 1) {
		void *p = opaque(malloc(size)), *q = opaque(calloc(1, size)), *r = opaque(realloc(opaque(malloc(3)), size));
		CHECK((((uintptr_t)p | (uintptr_t)q | (uintptr_t)r) & 15) == 0, "size %zu: %p %p %p", size, p, q, r);
		free(p);
		free(q);
		free(r);
	}
}

enum { SAME = 5 };

static void one_cell(size_t alignment, size_t size) {
	unsigned char *p[SAME];
	for (int i = 0; i < SAME; i++) {
		void *made = NULL;
		if (i == 0 && alignment >= sizeof(void *)) {
			if (posix_memalign(&made, alignment, size)) made = NULL;
		} else {
			made = i & 1 ? memalign(alignment, size) : aligned_alloc(alignment, size);
		}
		p[i] = opaque(made);
		if (!p[i] && alignment >= 256 * MIB) check_skip("the address space is too small for aligned blocks of 1 GiB");
		REQUIRE(p[i], "alignment %zu, size %zu: errno %d", alignment, size, errno);
		CHECK(((uintptr_t)p[i] & (alignment - 1)) == 0, "alignment %zu, size %zu: %p", alignment, size, (void *)p[i]);
		CHECK(malloc_usable_size(p[i]) >= size, "alignment %zu, size %zu: %zu usable", alignment, size,
		      malloc_usable_size(p[i]));
		if (size) {
			size_t touched = size < 256 * KIB ? size : 256 * KIB;
			memset(p[i], 0x40 + i, touched);
			p[i][size - 1] = (unsigned char)(0x40 + i);
		}
	}
	for (int k = 0; k < SAME; k++) {
		int i = (k * 3 + 1) % SAME;
		if (size) CHECK(p[i][0] == 0x40 + i && p[i][size - 1] == 0x40 + i, "%zu/%zu overlap", alignment, size);
		free(p[i]);
	}
}

/* Each size that the allocator has, as its own answer tells, and one byte to either side. Most edges are below 64 KiB. */
static void align_edges(void) {
	for (size_t alignment = 1; alignment <= 64 * KIB; alignment *= 4) {
		for (size_t size = 1; size <= 64 * KIB;) {
			void *p = opaque(malloc(size));
			REQUIRE(p, "size %zu", size);
			size_t edge = malloc_usable_size(p);
			free(p);
			one_cell(alignment, edge - 1);
			one_cell(alignment, edge);
			one_cell(alignment, edge + 1);
			size = edge + 1;
		}
	}
}

static void align_matrix(void) {
	for (size_t alignment = 1; alignment <= GIB; alignment *= 2) {
		static const size_t fixed[] = {0,   1,   8,    16,   24,    48,    100,    255,
		                               256, 257, 1000, 4096, 10000, 65536, 300000, 3000000};
		for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) one_cell(alignment, fixed[i]);
		if (alignment > 64 * MIB) continue;
		one_cell(alignment, alignment - 1);
		one_cell(alignment, alignment);
		one_cell(alignment, alignment + 1);
		one_cell(alignment, alignment * 3 / 2);
		one_cell(alignment, alignment * 2);
	}
	/* realloc of an aligned block keeps the contents, though not the alignment. */
	for (size_t alignment = 32; alignment <= MIB; alignment *= 2) {
		unsigned char *p = opaque(memalign(alignment, 500));
		REQUIRE(p);
		memset(p, 0x5a, 500);
		p = opaque(realloc(p, 100000));
		REQUIRE(p);
		for (int i = 0; i < 500; i++) CHECK(p[i] == 0x5a, "alignment %zu: byte %d lost by realloc", alignment, i);
		free(p);
	}
}

int main(int argc, char **argv) {
	const char *which = argc > 1 ? argv[1] : "";
	if (strcmp(which, "small") == 0) align_small();
	else if (strcmp(which, "16") == 0) align16_all();
	else if (strcmp(which, "edges") == 0) align_edges();
	else if (strcmp(which, "matrix") == 0) align_matrix();
	else REQUIRE(false, "usage: align small|16|matrix");
	return check_end();
}
