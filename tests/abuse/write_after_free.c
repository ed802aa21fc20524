/* write_after_free SIZE OFFSET: 8 bytes at OFFSET of freed blocks are written; then the program goes on allocating. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	static char *p[400];
	size_t size = argument(argc, argv, 1), offset = argument(argc, argv, 2);
	int count = size >= MIB ? 8 : size > 100 * KIB ? 40 : 400;
	for (int i = 0; i < count; i++) {
		p[i] = opaque(malloc(size));
		memset(p[i], 0x77, size < 4096 ? size : 4096);
	}
	for (int i = 1; i < count; i++)
		if (i % 4) free(p[i]); /* a span whose blocks are all free may be gone, and the write harmless */
	for (int i = 1; i < count; i++)
		if (i % 4) memset((char *)opaque(p[i]) + offset, 0x41, 8);
	/* As many as it takes for every freed block to come round again; each is freed, so that memory does not run out. */
	for (int i = 0; i < 20000; i++) {
		void *q = opaque(malloc(size)), *r = opaque(malloc(size));
		free(q);
		if (size < 4096) continue;
		free(r);
	}
	undetected();
}
