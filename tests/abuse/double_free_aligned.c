/* double_free_aligned ALIGNMENT SIZE: a block of memalign freed twice. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	void *p[9];
	for (int i = 0; i < 9; i++) p[i] = opaque(memalign(argument(argc, argv, 1), argument(argc, argv, 2)));
	free(p[4]);
	say_pointer(p[4]);
	free(opaque(p[4]));
	undetected();
}
