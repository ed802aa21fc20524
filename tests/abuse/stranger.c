/*
 * stranger KIND [SIZE [AT [BYTES]]]: one corruption as a stranger to hypool would write it, who knows the checks of
 * glibc, jemalloc, mimalloc and tcmalloc, followed by a minute in the life of an ordinary program, so that a check that
 * comes late counts too. A program that lives to its end says so and exits 3; stranger.py judges and compares.
 *
 * Sizes are what is asked for. "Behind the end" means behind malloc_usable_size, where any allocator may care.
 */
#include "abuse/abuse.h"

#include <sys/prctl.h>

static size_t size = 100, at, bytes = 8;
static char *a, *b, *c;

/* Three neighbours, as far as an allocator makes them so, after some of their size that stay. */
static void three(void) {
	a = opaque(malloc(size));
	b = opaque(malloc(size));
	c = opaque(malloc(size));
	REQUIRE(a && b && c);
	memset(a, 1, size), memset(b, 2, size), memset(c, 3, size);
	/* The lowest is a. */
	if (b < a) {
		char *d = a;
		a = b;
		b = d;
	}
}

/* What the program does afterwards: blocks of this size and others come, go, grow; a thread lives; all in bounds. */
static void *ordinary(void *unused) {
	enum { SLOTS = 600 };
	const int slots_used = size > MIB ? 40 : SLOTS;
	static const size_t others[] = {24, 72, 136, 1040, 3000, 70000, 150000};
	static _Thread_local char *slots[SLOTS];
	(void)unused;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < slots_used; i++) {
			size_t n = i % 4 != 3 ? size : others[i % 7];
			if (n > 4096 && i > 60) n = 40;
			slots[i] = i % 5 == 0 ? calloc(1, n) : malloc(n);
			if (slots[i] == NULL) _exit(5);
			memset(slots[i], 0x5a, n);
		}
		for (int i = 0; i < slots_used; i += 3) slots[i] = realloc(slots[i], 1 + size / 2 + (size_t)i);
		for (int i = 0; i < slots_used; i += 2) free(slots[i]);
		for (int i = 1; i < slots_used; i += 2) free(slots[i]);
		malloc_trim(0);
	}
	return NULL;
}

static void fill_caches(void) {
	void *many[16];
	for (int i = 0; i < 16; i++) many[i] = opaque(malloc(size));
	for (int i = 0; i < 16; i++) free(many[i]);
}

static void frees(const char *kind) {
	three();
	if (strcmp(kind, "double") == 0) {
		free(a), free(a);
	} else if (strcmp(kind, "double_between") == 0) {
		free(a), free(b), free(a);
	} else if (strcmp(kind, "double_full_cache") == 0) {
		fill_caches();
		free(a), free(a);
	} else if (strcmp(kind, "double_after_big") == 0) {
		free(a);
		free(opaque(malloc(MIB)));
		free(a);
	} else if (strcmp(kind, "double_after_trim") == 0) {
		free(a);
		malloc_trim(0);
		free(a);
	} else if (strcmp(kind, "double_merged") == 0) { /* freed neighbours on both sides first */
		free(a), free(c), free(b), free(b);
	} else if (strcmp(kind, "double_key_cleared") == 0) { /* the second word of the freed block was written to */
		free(a);
		memset((char *)opaque(a) + 8, 0, 8);
		free(a);
	} else if (strcmp(kind, "double_first_cleared") == 0) {
		free(a);
		memset(opaque(a), 0, 8);
		free(a);
	} else if (strcmp(kind, "double_written") == 0) {
		free(a);
		memset(opaque(a), 0x41, size);
		free(a);
	} else if (strcmp(kind, "double_between_written") == 0) {
		free(a), free(b);
		memset(opaque(a), 0x41, size);
		free(a);
	} else if (strcmp(kind, "double_full_cache_written") == 0) {
		fill_caches();
		free(a);
		memset(opaque(a), 0x41, size);
		free(a);
	} else if (strcmp(kind, "double_of_thread") == 0) {
		in_a_thread(free_it, a);
		free(a);
	} else if (strcmp(kind, "double_realloc") == 0) {
		b = opaque(realloc(a, 40 * size));
		free(a);
	} else if (strcmp(kind, "realloc_zero") == 0) {
		b = opaque(realloc(a, 0));
		free(a);
	} else if (strcmp(kind, "realloc_freed") == 0) {
		free(a);
		b = opaque(realloc(a, 2 * size));
	} else if (strcmp(kind, "interior") == 0) {
		free(b + at);
	} else if (strcmp(kind, "before") == 0) {
		free(b - at);
	} else if (strcmp(kind, "behind") == 0) {
		free(c + malloc_usable_size(c) + at);
	} else if (strcmp(kind, "realloc_interior") == 0) {
		b = opaque(realloc(b + at, 2 * size));
	} else if (strcmp(kind, "usable_interior") == 0) {
		REQUIRE(malloc_usable_size(b + at) != 1);
	} else {
		REQUIRE(false, "no such kind: %s", kind);
	}
}

/* Fakes what an in-band allocator looks for in front of a block, in memory that is not the heap's. */
static void fakes(const char *kind) {
	static uint64_t in_data[512] __attribute__((aligned(64)));
	uint64_t on_stack[64] __attribute__((aligned(64))) = {0};
	uint64_t *fake = strcmp(kind, "fake_static") == 0 ? in_data : on_stack;
	if (strcmp(kind, "fake_mapped") == 0)
		fake = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (strcmp(kind, "fake_in_block") == 0) fake = opaque(malloc(1000));
	fake[1] = 0x41;        /* a chunk of 64 bytes, the one in front in use */
	fake[1 + 8] = 0x20041; /* and the next */
	fake[1 + 16] = 0x41;
	free(opaque(fake + 2));
}

static void writes(const char *kind) {
	three();
	char *end = b + malloc_usable_size(b);
	if (strcmp(kind, "overflow_next_freed_after") == 0) {
		memset(end, 0x41, bytes);
		free(c), free(b), free(a);
	} else if (strcmp(kind, "overflow_next_was_free") == 0) {
		free(c);
		memset(end, 0x41, bytes);
	} else if (strcmp(kind, "overflow_then_free") == 0) {
		memset(end, 0x41, bytes);
		free(b);
	} else if (strcmp(kind, "overflow_then_realloc") == 0) {
		memset(end, 0x41, bytes);
		b = opaque(realloc(b, 3 * size));
	} else if (strcmp(kind, "overflow_then_realloc_next") == 0) {
		memset(end, 0x41, bytes);
		c = opaque(realloc(c, 3 * size));
	} else if (strcmp(kind, "overflow_last") == 0) {
		memset(c + malloc_usable_size(c), 0x41, bytes);
	} else if (strcmp(kind, "overflow_zero_byte") == 0) {
		*end = 0;
		free(c), free(b), free(a);
	} else if (strcmp(kind, "underflow_free") == 0) {
		memset(b - bytes, 0x41, bytes);
		free(b);
	} else if (strcmp(kind, "underflow_realloc") == 0) {
		memset(b - bytes, 0x41, bytes);
		b = opaque(realloc(b, 3 * size));
	} else if (strcmp(kind, "written_free") == 0) { /* write after free, at an offset */
		free(b);
		memset(b + at, 0x41, bytes);
	} else if (strcmp(kind, "written_free_zero") == 0) {
		free(b);
		memset(b + at, 0, bytes);
	} else if (strcmp(kind, "written_free_cached") == 0) {
		fill_caches();
		free(b);
		memset(b + at, 0x41, bytes);
	} else if (strcmp(kind, "written_free_sorted") == 0) { /* where a cache of sizes sorts free blocks by and by */
		fill_caches();
		free(b);
		free(opaque(malloc(4 * size)));
		memset(b + at, 0x41, bytes);
	} else if (strcmp(kind, "poison") == 0) { /* the freed block names a place of the attacker's */
		static char target[4096] __attribute__((aligned(64)));
		free(a), free(b);
		char *to = target + at;
		memcpy(b, &to, sizeof to);
	} else if (strcmp(kind, "poison_self") == 0) {
		free(a), free(b);
		char *self = b;
		memcpy(b, &self, sizeof self);
	} else if (strcmp(kind, "swap_links") == 0) { /* the words of one freed block are copied to another */
		free(a), free(b), free(c);
		memcpy(a, c, 16);
	} else if (strcmp(kind, "read_free") == 0) {
		free(b);
		REQUIRE(*(volatile char *)(b + at) != 0x13);
	} else {
		REQUIRE(false, "no such kind: %s", kind);
	}
}

/* Sized delete as C++ programs call it; 77 where the allocator at hand has none. */
static void sized(const char *kind) {
	union {
		void *address;
		void (*of)(void *, size_t);
	} delete_sized = {dlsym(RTLD_DEFAULT, "_ZdlPvm")};
	if (delete_sized.address == NULL) delete_sized.address = dlsym(dlopen("libstdc++.so.6", RTLD_NOW), "_ZdlPvm");
	if (delete_sized.address == NULL) _exit(77);
	three();
	delete_sized.of(b, strcmp(kind, "sized_less") == 0 ? size / 4 : size * 4);
}

int main(int argc, char **argv) {
	REQUIRE(argc > 1);
	prctl(PR_SET_DUMPABLE, 0); /* no core files */
	const char *kind = argv[1];
	if (argc > 2) size = argument(argc, argv, 2);
	if (argc > 3) at = argument(argc, argv, 3);
	if (argc > 4) bytes = argument(argc, argv, 4);
	if (strncmp(kind, "fake_", 5) == 0) fakes(kind);
	else if (strncmp(kind, "free_of_", 8) == 0) free(bad_pointer(kind + 8));
	else if (strncmp(kind, "realloc_of_", 11) == 0) a = opaque(realloc(bad_pointer(kind + 11), 100));
	else if (strncmp(kind, "usable_of_", 10) == 0) REQUIRE(malloc_usable_size(bad_pointer(kind + 10)) != 1);
	else if (strncmp(kind, "sized_", 6) == 0) sized(kind);
	else if (strncmp(kind, "overflow", 8) == 0 || strncmp(kind, "underflow", 9) == 0 ||
	         strncmp(kind, "written", 7) == 0 || strncmp(kind, "poison", 6) == 0 || strcmp(kind, "swap_links") == 0 ||
	         strcmp(kind, "read_free") == 0)
		writes(kind);
	else frees(kind);
	ordinary(NULL);
	in_a_thread(ordinary, NULL);
	undetected();
}
