/* double_free_alone SIZE: free twice a block that had its class, perhaps its span, to itself. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	void *p = opaque(malloc(argument(argc, argv, 1)));
	free(p);
	say_pointer(p);
	free(opaque(p));
	undetected();
}
