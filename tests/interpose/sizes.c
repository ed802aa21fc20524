/*
 * Sizes from 1 byte to the address-space limit: every class edge and its neighbours.
 *
 * The class edges are found, not assumed: wherever malloc_usable_size steps, both sides of the step are tried. Each
 * block is written to its end, is disjoint from the one before it, keeps its contents and is aligned. Waste: at most
 * 12.5 % of a block above 128 bytes and below 1 MiB (DESIGN.md), and one page granule above.
 */
#include "interpose/check.h"

#include <malloc.h>

static void try_size(size_t size) {
	unsigned char *a = opaque(malloc(size)), *b = opaque(malloc(size));
	REQUIRE(a && b, "malloc(%zu)", size);
	size_t usable = malloc_usable_size(a);
	size_t alignment = size >= 16 ? 16 : size >= 8 ? 8 : 1;
	CHECK(((uintptr_t)a & (alignment - 1)) == 0 && ((uintptr_t)b & (alignment - 1)) == 0, "size %zu: %p %p", size,
	      (void *)a, (void *)b);
	CHECK(usable >= size, "size %zu: %zu usable", size, usable);
	CHECK(a + usable <= b || b + malloc_usable_size(b) <= a, "size %zu: blocks overlap: %p %p", size, (void *)a,
	      (void *)b);
	size_t touched = size < 4 * MIB ? size : 4 * MIB;
	memset(a, 0x11, touched);
	memset(b, 0x22, touched);
	a[size - 1] = 0x11;
	b[size - 1] = 0x22;
	CHECK(a[0] == 0x11 && a[touched - 1] == 0x11 && a[size - 1] == 0x11, "size %zu: contents lost", size);
	free(a);
	free(b);
}

static void check_waste(size_t size) {
	const char *lib = getenv("HYPOOL_TEST_LIB");
	if (!lib || !strstr(lib, "hypool")) return; /* a promise of ours alone */
	void *p = opaque(malloc(size));
	size_t usable = malloc_usable_size(p);
	if (size > 128 && size < MIB)
		CHECK((usable - size) * 8 <= usable, "size %zu: usable %zu wastes over 12.5 %%", size, usable);
	else if (size >= MIB) CHECK(usable - size < 64 * KIB, "size %zu: usable %zu wastes over one granule", size, usable);
	free(p);
}

static void sweep_small(void) {
	size_t last = 0;
	for (size_t size = 1; size <= 3 * MIB; size += size < 64 * KIB ? 1 : size < MIB ? 61 : 4093) {
		void *p = opaque(malloc(size));
		size_t usable = malloc_usable_size(p);
		free(p);
		/* A hardened heap tells the exact size: then every size is a step, and one in 32 will do. */
		bool edge = usable != size || size <= KIB || size % 64 <= 1;
		if (usable != last && edge) {
			if (size > 1) try_size(size - 1);
			try_size(size);
			try_size(size + 1);
			try_size(usable);
			try_size(usable + 1);
			check_waste(size);
			check_waste(usable + 1);
		}
		last = usable;
	}
}

/* Powers of two, their neighbours and three quarters between, up to what the kernel gives. */
static void sweep_large(void) {
	size_t limit = 0;
	for (int log2 = 20; log2 < 64; log2++) {
		for (int delta = -1; delta <= 1; delta++) {
			size_t size = ((size_t)1 << log2) + (size_t)delta;
			errno = 0;
			unsigned char *p = opaque(malloc(size));
			if (!p) {
				CHECK(errno == ENOMEM, "malloc(%#zx): errno %d", size, errno);
				continue;
			}
			CHECK(malloc_usable_size(p) >= size && log2 < 48, "malloc(%#zx)", size);
			if (size > limit) limit = size;
			p[0] = 1;
			p[size / 2] = 2;
			p[size - 1] = 3;
			CHECK(p[0] == 1 && p[size / 2] == 2 && p[size - 1] == 3);
			free(p);
		}
		check_waste(((size_t)3 << (log2 - 2 < 30 ? log2 - 2 : 30)) + 1);
	}
	CHECK(limit >= 8 * GIB, "the greatest block was %zu bytes", limit);
	printf("greatest block: %#zx\n", limit);
}

int main(void) {
	sweep_small();
	sweep_large();
	return check_end();
}
