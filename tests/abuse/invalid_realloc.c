/* invalid_realloc KIND: realloc of a pointer that is no live block (kinds: abuse.h). */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	REQUIRE(argc > 1);
	void *p = bad_pointer(argv[1]);
	say_pointer(p);
	p = opaque(realloc(p, 5000));
	undetected();
}
