/* double_free_by_owner_later SIZE: another thread frees, then the owner does, before it took the free in. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	void *p = block_among_others(argument(argc, argv, 1));
	in_a_thread(free_it, p);
	say_pointer(p);
	free(opaque(p));
	undetected();
}
