/*
 * constructors: blocks made before anything of ours was constructed, and freed after everything was destructed.
 *
 * In the order of the dynamic linker: .preinit_array of the program, constructors of a library that it needs (this file
 * too, compiled with -DCONSTRUCTORS_LIBRARY), its own constructors, main; then atexit, destructors, and .fini_array of
 * the library. Each makes blocks of many sizes and verifies and resizes those of all before it. The library's last
 * destructor counts what ran: the process ends with that status.
 */
#include "interpose/check.h"

#include <malloc.h>

enum { STAGES = 8, BLOCKS = 40 };
struct stage {
	unsigned char *blocks[BLOCKS];
};
void constructors_stage(int stage);

#ifdef CONSTRUCTORS_LIBRARY

static struct stage stages[STAGES];
static int reached;

static size_t size_of(int stage, int block) {
	return ((size_t)block * (size_t)block * 97 + (size_t)stage) % 200000 + 1;
}

/* Stages come in order; each lets every block of those before it change hands once more. */
void constructors_stage(int stage) {
	REQUIRE(stage == reached, "stage %d came after %d others", stage, reached);
	reached++;
	for (int s = 0; s < stage; s++) {
		for (int b = 0; b < BLOCKS; b++) {
			unsigned char **p = &stages[s].blocks[b];
			size_t size = size_of(s, b);
			REQUIRE((*p)[0] == s + b && (*p)[size - 1] == s + b, "stage %d: block %d of stage %d", stage, b, s);
			*p = realloc(*p, size + (size_t)stage % 2 * 50);
			REQUIRE(*p);
		}
	}
	for (int b = 0; b < BLOCKS; b++) {
		size_t size = size_of(stage, b);
		unsigned char *p = b % 3 ? malloc(size) : calloc(1, size);
		REQUIRE(p && malloc_usable_size(p) >= size);
		memset(p, stage + b, size);
		stages[stage].blocks[b] = p;
	}
}

__attribute__((constructor(101))) static void construct_first(void) { constructors_stage(1); }
__attribute__((constructor)) static void construct(void) { constructors_stage(2); }
__attribute__((destructor)) static void destruct(void) { constructors_stage(6); }
__attribute__((destructor(101))) static void destruct_last(void) {
	constructors_stage(7);
	for (int s = 0; s < STAGES; s++)
		for (int b = 0; b < BLOCKS; b++) free(stages[s].blocks[b]);
	_exit(check_end() ? 1 : 40 + reached);
}

#else

static void before_all(void) { constructors_stage(0); }
__attribute__((section(".preinit_array"), used)) static void (*const preinit)(void) = before_all;
__attribute__((constructor)) static void construct(void) { constructors_stage(3); }
static void at_exit(void) { constructors_stage(5); }

int main(void) {
	constructors_stage(4);
	atexit(at_exit);
	return check_end();
}

#endif
