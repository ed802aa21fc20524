/* double_free_dead_owner SIZE: the owner thread is gone; the heir frees twice. */
#include "abuse/abuse.h"

static size_t size;
static void *result;
static void *allocate(void *unused) {
	(void)unused;
	result = block_among_others(size);
	return NULL;
}

int main(int argc, char **argv) {
	size = argument(argc, argv, 1);
	in_a_thread(allocate, NULL);
	free(result);
	say_pointer(result);
	free(opaque(result));
	undetected();
}
