/* double_free_other_thread SIZE: the owner frees, then another thread does. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	void *p = block_among_others(argument(argc, argv, 1));
	free(p);
	say_pointer(p);
	in_a_thread(free_it, opaque(p));
	free(opaque(malloc(16))); /* a remote free may be judged when the owner takes it in; at the latest here */
	malloc_trim(0);
	undetected();
}
