/* double_free_same_thread SIZE: free twice in a row, the span's other blocks alive. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	void *p = block_among_others(argument(argc, argv, 1));
	free(p);
	say_pointer(p);
	free(opaque(p));
	undetected();
}
