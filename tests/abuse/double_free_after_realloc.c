/* double_free_after_realloc SIZE: realloc moved the block; the old pointer is freed. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	size_t size = argument(argc, argv, 1);
	void *p = block_among_others(size), *old = opaque(p);
	p = opaque(realloc(p, size * 20));
	if (p == old) check_skip("realloc grew the block in place");
	say_pointer(old);
	free(opaque(old));
	undetected();
}
