/*
 * usable_write: programs write up to malloc_usable_size (systemd did; RELIABILITY.md row 26). Every byte of it is the
 * caller's: neighbours keep their contents. Built a second time with -D_FORTIFY_SOURCE=3, where memset into the
 * reported size must not be stopped either, as the attributes of <malloc.h> and the size from the library must agree.
 */
#include "interpose/check.h"

#include <malloc.h>

enum { NEIGHBOURS = 24 };

int main(void) {
	for (size_t size = 1; size < 2 * MIB; size += size / 9 + 1) {
		unsigned char *p[NEIGHBOURS];
		size_t usable[NEIGHBOURS];
		for (int i = 0; i < NEIGHBOURS; i++) {
			p[i] = malloc(opaque_size(size));
			REQUIRE(p[i]);
			usable[i] = malloc_usable_size(p[i]);
			REQUIRE(usable[i] >= size);
			memset(opaque(p[i]), i + 1, usable[i]);
		}
		for (int i = 0; i < NEIGHBOURS; i++) {
			for (size_t k = 0; k < usable[i]; k++)
				REQUIRE(p[i][k] == i + 1, "size %zu: a neighbour reached byte %zu", size, k);
			CHECK(malloc_usable_size(p[i]) == usable[i], "size %zu: the usable size changes", size);
			/* realloc carries at least the usable bytes that fit. */
			p[i] = realloc(opaque(p[i]), usable[i] + 1);
			REQUIRE(p[i]);
			CHECK(p[i][0] == i + 1 && p[i][size - 1] == i + 1);
		}
		for (int i = 0; i < NEIGHBOURS; i++) free(p[i]);
	}
	return check_end();
}
