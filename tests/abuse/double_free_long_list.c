/* double_free_long_list SIZE: 20,000 blocks are freed, every eighth stays; the first freed is freed again. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	static void *p[20000];
	size_t size = argument(argc, argv, 1);
	for (int i = 0; i < 20000; i++) p[i] = opaque(malloc(size));
	for (int i = 1; i < 20000; i++)
		if (i % 8) free(p[i]);
	say_pointer(p[1]);
	free(opaque(p[1]));
	undetected();
}
