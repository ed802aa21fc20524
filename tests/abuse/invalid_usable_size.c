/* invalid_usable_size KIND: malloc_usable_size of a pointer that is no live block (kinds: abuse.h). */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	REQUIRE(argc > 1);
	void *p = bad_pointer(argv[1]);
	say_pointer(p);
	(void)opaque_size(malloc_usable_size(p));
	undetected();
}
