/* misaligned_free_aligned ALIGNMENT SIZE OFFSET: a block of memalign is freed by an address OFFSET bytes away, as code
 * does that takes a header, or an aligned part, for the block. */
#include "abuse/abuse.h"

enum { BLOCKS = 33, MIDDLE = 22 };

int main(int argc, char **argv) {
	size_t alignment = argument(argc, argv, 1), size = argument(argc, argv, 2);
	long offset = strtol(argc > 3 ? argv[3] : "0", NULL, 0);
	char *p[BLOCKS];
	for (int i = 0; i < BLOCKS; i++) p[i] = opaque(memalign(alignment, size));
	char *middle = p[0]; /* with blocks on both sides in its span, of whichever size the first spans are */
	for (int i = 0; i < BLOCKS; i++) {
		int below = 0;
		for (int k = 0; k < BLOCKS; k++) below += p[k] < p[i];
		if (below == MIDDLE) middle = p[i];
	}
	say_pointer(middle + offset);
	free(opaque(middle + offset));
	undetected();
}
