/* double_free_neighbours_reused SIZE: 32 blocks freed, 16 allocated again; one not given again is freed again. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	size_t size = argument(argc, argv, 1);
	void *p[32], *again[16];
	for (int i = 0; i < 32; i++) p[i] = block_among_others(size);
	for (int i = 0; i < 32; i++) free(p[i]);
	for (int i = 0; i < 16; i++) again[i] = opaque(malloc(size));
	for (int i = 0; i < 32; i++) {
		bool reused = false;
		for (int k = 0; k < 16; k++) reused |= again[k] == p[i];
		if (reused) continue;
		say_pointer(p[i]);
		free(opaque(p[i]));
		undetected();
	}
	undetected();
}
