/* overflow SIZE BYTES [realloc | remote]: BYTES are written behind a block's end; then it is freed, or reallocated. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	size_t size = argument(argc, argv, 1), bytes = argument(argc, argv, 2);
	const char *how = argc > 3 ? argv[3] : "free";
	char *p = block_among_others(size);
	say_pointer(p);
	memset((char *)opaque(p) + size, 0, bytes);
	if (strcmp(how, "realloc") == 0) p = opaque(realloc(p, size * 3));
	else if (strcmp(how, "remote") == 0) in_a_thread(free_it, p);
	else free(p);
	undetected();
}
