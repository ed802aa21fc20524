/* misaligned_free SIZE OFFSET: free of an address OFFSET bytes into a live block. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	char *p = block_among_others(argument(argc, argv, 1));
	p += argument(argc, argv, 2);
	say_pointer(p);
	free(opaque(p));
	undetected();
}
