/*
 * sampled KIND: misuse of a small block that the default level put between guard pages (heap/guard_sample.c).
 *
 * Such a block is told by its usable size, which is the exact size that was asked for; at levels 2 and 3 every block's
 * is. The program allocates and frees until it has one, for a hundred million rounds at most.
 * overflow: one byte behind the end; overflow_far: 16; underflow: one byte in front; read, write: after the free;
 * double: freed twice; inside: an address inside is freed; realloc: overflow by one, then realloc.
 */
#include "abuse/abuse.h"

enum { SIZE = 1000, ROUNDS = 100000000 };

static char *sampled_block(void) {
	for (int i = 0; i < 8; i++) REQUIRE(opaque(malloc(SIZE))); /* the stronger levels': not its span's first */
	for (long i = 0; i < ROUNDS; i++) {
		char *p = opaque(malloc(SIZE));
		REQUIRE(p);
		if (malloc_usable_size(p) == SIZE) return p;
		free(p);
	}
	return NULL;
}

int main(int argc, char **argv) {
	const char *kind = argc > 1 ? argv[1] : "";
	volatile char *p = sampled_block();
	if (p == NULL) undetected();
	memset((char *)p, 1, SIZE);
	say_pointer(strcmp(kind, "inside") == 0 ? (char *)p + 16 : (char *)p);
	if (strcmp(kind, "overflow") == 0 || strcmp(kind, "realloc") == 0) p[SIZE] = 0;
	else if (strcmp(kind, "overflow_far") == 0) p[SIZE + 15] = 0;
	else if (strcmp(kind, "underflow") == 0) p[-1] = 0;
	else if (strcmp(kind, "inside") == 0) free((char *)p + 16);
	if (strcmp(kind, "realloc") == 0) p = opaque(realloc((char *)p, 3 * SIZE));
	free(opaque((char *)p));
	if (strcmp(kind, "read") == 0) (void)p[SIZE / 2];
	else if (strcmp(kind, "write") == 0) p[SIZE / 2] = 0;
	else if (strcmp(kind, "double") == 0) free(opaque((char *)p));
	undetected();
}
