/* A program for each pattern that hypool names; "clean" has none. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#if defined(__clang__)
#define OUT_OF_LINE __attribute__((noinline))
#else
#define OUT_OF_LINE __attribute__((noinline, noclone))
#endif

static void *volatile sink;
static void nap(long ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL); }

static void *keep(size_t bytes) {
	char *p = malloc(bytes);
	memset(p, 1, bytes);
	return sink = p;
}

OUT_OF_LINE static void temporary(void) {
	for (int i = 0; i < 200000; i++) free(keep(1000));
}

OUT_OF_LINE static void growth(void) {
	void **all = NULL;
	for (int i = 0; i < 600; i++) {
		void **next = keep(32768);
		*next = all;
		all = next;
		nap(2);
	}
	sink = all;
}

OUT_OF_LINE static void leak(void) {
	for (int i = 0; i < 100; i++) keep(10000);
	sink = NULL;
}

OUT_OF_LINE static void lifetime(void) {
	enum { COUNT = 60000 };
	static void *all[COUNT];
	for (int i = 0; i < COUNT; i++) all[i] = keep(400);
	nap(700);
	for (int i = 0; i < COUNT; i++) free(all[i]);
}

OUT_OF_LINE static void slack(void) {
	static void *all[2000000];
	for (int i = 0; i < 2000000; i++) all[i] = malloc(1);
	for (int i = 0; i < 2000000; i++) free(all[i]);
}

OUT_OF_LINE static void size(void) {
	static void *all[1500];
	for (int i = 0; i < 1500000; i++) {
		free(all[i % 1500]);
		all[i % 1500] = malloc(72);
	}
}

OUT_OF_LINE static void fragmentation(void) {
	enum { COUNT = 200000 };
	static void *all[COUNT];
	for (int i = 0; i < COUNT; i++) all[i] = keep(256);
	for (int i = 0; i < COUNT; i++)
		if (i % 40 != 0) free(all[i]);
	sink = all;
}

OUT_OF_LINE static void temporal(void) {
	for (int i = 0; i < 60; i++) {
		void *peak = i == 30 ? keep(200 << 20) : NULL;
		for (int k = 0; k < 100; k++) free(keep(60000));
		nap(20);
		free(peak);
		if (i == 30) nap(20);
	}
}

OUT_OF_LINE static void outside(void) {
	size_t bytes = 96 << 20;
	char *own = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(own, 1, bytes);
	free(keep(1000));
}

OUT_OF_LINE static void sizes(void) { /* about 100 MiB of many sizes, held a while: no pattern at all */
	static void *all[4000];
	unsigned long random = 1;
	for (int i = 0; i < 60000; i++) {
		random = random * 6364136223846793005ul + 1442695040888963407ul;
		void **slot = &all[(random >> 40) % 4000];
		free(*slot);
		if (i % 1000 == 0) nap(15);
		*slot = malloc(16 + (random >> 33) % (i % 10 == 0 ? 12000 : 900));
	}
	for (int i = 0; i < 4000; i++) free(all[i]), all[i] = NULL;
}

int main(int argc, char **argv) {
	static const struct {
		const char *name;
		void (*run)(void);
	} all[] = {{"temporary", temporary},
	           {"growth", growth},
	           {"leak", leak},
	           {"lifetime", lifetime},
	           {"slack", slack},
	           {"size", size},
	           {"fragmentation", fragmentation},
	           {"temporal", temporal},
	           {"outside", outside},
	           {"sizes", sizes}};
	printf("pid %d\n", (int)getpid());
	fflush(stdout);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (argc > 1 && strcmp(argv[1], all[i].name) == 0) return all[i].run(), 0;
	return 2;
}
