/* freelist_write SIZE VALUE: the first 8 bytes of freed blocks are overwritten; the list must not be followed. */
#include "abuse/abuse.h"

/* VALUE: a number, or "stack", "block" (a live block, the plausible lie) or "flip" (one low bit of what stands there). */
static uintptr_t forged(const char *value, uintptr_t there, void *live) {
	static char *in_data[64];
	if (strcmp(value, "stack") == 0) return (uintptr_t)&in_data[8];
	if (strcmp(value, "block") == 0) return (uintptr_t)live;
	if (strcmp(value, "flip") == 0) return there ^ 16;
	return (uintptr_t)strtoull(value, NULL, 0);
}

int main(int argc, char **argv) {
	static void *p[400];
	size_t size = argument(argc, argv, 1);
	REQUIRE(argc > 2);
	for (int i = 0; i < 400; i++) p[i] = opaque(malloc(size));
	for (int i = 10; i < 390; i++)
		if (i % 4) free(p[i]); /* a span whose blocks are all free may be gone, and the write harmless */
	for (int i = 20; i < 380; i++) {
		if (i % 4 == 0) continue;
		uintptr_t *word = opaque(p[i]);
		*word = forged(argv[2], *word, p[3]);
	}
	for (int i = 0; i < 200000; i++) {
		char *q = opaque(malloc(size));
		/* Reached only where the link was believed: a live block given twice is the harm itself. */
		for (int k = 0; k < 400; k += 4)
			if (q == p[k]) undetected();
	}
	undetected();
}
