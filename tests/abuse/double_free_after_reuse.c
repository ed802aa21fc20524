/* double_free_after_reuse SIZE: freed (and another after it), other blocks of its size allocated, freed again: where
 * memory is reused soon, the second free is that of another's block. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	size_t size = argument(argc, argv, 1);
	void *p = block_among_others(size);
	void *another = opaque(malloc(size));
	free(p);
	free(another);
	for (int i = 0; i < 8; i++) (void)opaque(malloc(size));
	say_pointer(p);
	free(opaque(p));
	undetected();
}
