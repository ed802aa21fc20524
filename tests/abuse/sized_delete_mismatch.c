/* sized_delete_mismatch SIZE SAID [array]: the sized operator delete with a size of another class, as a wrong static type gives. */
#include "abuse/abuse.h"

int main(int argc, char **argv) {
	void (*sized)(void *, size_t);
	const char *name = argc > 3 ? "_ZdaPvm" : "_ZdlPvm";
	if (!check_symbol_is_ours(name)) check_skip("the library leaves the C++ operators to the C++ runtime");
	*(void **)&sized = dlsym(RTLD_DEFAULT, name);
	void *p = block_among_others(argument(argc, argv, 1));
	say_pointer(p);
	sized(p, argument(argc, argv, 2));
	undetected();
}
