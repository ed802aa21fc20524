/* aligned_sized_free_mismatch ALIGNMENT SIZE SAID: free_aligned_sized with a size of another class. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	void (*sized)(void *, size_t, size_t);
	*(void **)&sized = dlsym(RTLD_DEFAULT, "free_aligned_sized");
	REQUIRE(sized, "no free_aligned_sized");
	void *p = opaque(memalign(argument(argc, argv, 1), argument(argc, argv, 2)));
	say_pointer(p);
	sized(p, argument(argc, argv, 1), argument(argc, argv, 3));
	undetected();
}
