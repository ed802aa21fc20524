/* double_free_remote_twice SIZE: two other threads free the same block. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	void *p = block_among_others(argument(argc, argv, 1));
	in_a_thread(free_it, p);
	say_pointer(p);
	in_a_thread(free_it, opaque(p));
	for (int i = 0; i < 100000; i++) (void)opaque(malloc(argument(argc, argv, 1) / 2 + 1)); /* take remote frees in */
	undetected();
}
