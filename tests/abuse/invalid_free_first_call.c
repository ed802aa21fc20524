/* invalid_free_first_call KIND: the same, before this thread ever allocated. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	REQUIRE(argc > 1);
	void *p = bad_pointer(argv[1]);
	say_pointer(p);
	in_a_thread(free_it, p);
	undetected();
}
