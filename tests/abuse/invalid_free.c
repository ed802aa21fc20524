/* invalid_free KIND: free of a pointer that malloc never gave (kinds: abuse.h). */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	free(opaque(malloc(100)));
	REQUIRE(argc > 1);
	void *p = bad_pointer(argv[1]);
	say_pointer(p);
	free(p);
	undetected();
}
