/* underflow SIZE BYTES [neighbour_free]: BYTES are written in front of a block; then it is freed. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	size_t size = argument(argc, argv, 1), bytes = argument(argc, argv, 2);
	/* Of neighbours in address order, the upper one, which does not begin a slice, and so no span: there is a block of the
	 * same span in front of it. */
	char *block[64], *p = NULL, *before = NULL;
	for (int i = 0; i < 64; i++) block[i] = opaque(malloc(size));
	for (int i = 0; i < 64 && p == NULL; i++)
		for (int k = 0; k < 64; k++)
			if ((uintptr_t)block[i] % 16384 != 0 && block[i] > block[k] &&
			    (size_t)(block[i] - block[k]) < 2 * size + 64)
				p = block[i], before = block[k];
	if (p == NULL) p = block[32];
	if (argc > 3 && before != NULL) free(before);
	say_pointer(p);
	memset((char *)opaque(p) - bytes, 0x5a, bytes);
	free(opaque(p));
	undetected();
}
