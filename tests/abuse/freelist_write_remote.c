/* freelist_write_remote SIZE: another thread freed the blocks; their first 8 bytes are overwritten before the owner takes them in. */
#include "abuse/abuse.h"

static void *p[400];
static void *free_most(void *unused) {
	(void)unused;
	for (int i = 0; i < 400; i++)
		if (i % 4) free(p[i]); /* a span whose blocks are all free may be gone, and the write harmless */
	return NULL;
}

int main(int argc, char **argv) {
	size_t size = argument(argc, argv, 1);
	for (int i = 0; i < 400; i++) p[i] = opaque(malloc(size));
	in_a_thread(free_most, NULL);
	for (int i = 0; i < 400; i++)
		if (i % 4) *(uintptr_t *)opaque(p[i]) = UINT64_C(0x4141414141414141);
	for (int i = 0; i < 200000; i++) (void)opaque(malloc(size));
	undetected();
}
