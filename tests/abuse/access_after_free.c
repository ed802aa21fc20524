/* access_after_free SIZE read | write: a large block is touched after it was freed. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	REQUIRE(argc > 2);
	volatile char *p = block_among_others(argument(argc, argv, 1));
	free((void *)(uintptr_t)p);
	if (strcmp(argv[2], "write") == 0) p[100] = 1;
	else (void)p[100];
	undetected();
}
