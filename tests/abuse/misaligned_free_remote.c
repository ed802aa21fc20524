/* misaligned_free_remote SIZE OFFSET: the same by a thread that does not own the block. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	char *p = block_among_others(argument(argc, argv, 1));
	p += argument(argc, argv, 2);
	say_pointer(p);
	in_a_thread(free_it, opaque(p));
	free(opaque(malloc(16)));
	malloc_trim(0);
	undetected();
}
