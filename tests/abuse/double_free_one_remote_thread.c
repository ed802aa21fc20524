/* double_free_one_remote_thread SIZE: one other thread frees a block twice in a row. */
#include "abuse/abuse.h"

static void *free_twice(void *p) {
	free(p);
	say_pointer(p);
	free(opaque(p));
	return NULL;
}

int main(int argc, char **argv) {
	in_a_thread(free_twice, block_among_others(argument(argc, argv, 1)));
	undetected();
}
