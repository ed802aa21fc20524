/* sized_free_mismatch SIZE SAID: free_sized with a size of another class. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	void (*sized)(void *, size_t);
	*(void **)&sized = dlsym(RTLD_DEFAULT, "free_sized");
	REQUIRE(sized, "no free_sized");
	void *p = block_among_others(argument(argc, argv, 1));
	say_pointer(p);
	sized(p, argument(argc, argv, 2));
	undetected();
}
