/*
 * high_address: pointers above 47 bits, which a processor with five levels of page tables (LA57) can have.
 *
 * The kernel gives such addresses only to who asks for one by a hint. hypool never asks, so its own blocks lie below; a
 * program that does ask may hand one to free, which must be told as an invalid free, with the page map's bound compared
 * before any look-up. Where the machine has no such addresses the pointers are made up: the bound is the same.
 */
#include "interpose/check.h"

#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* What free (or another) says of it, in a child. */
static void is_told(void *p, int call, const char *wanted) {
	int ends[2], status;
	char text[200] = "";
	REQUIRE(pipe(ends) == 0);
	pid_t child = fork();
	if (child == 0) {
		dup2(ends[1], 2);
		if (call == 0) free(p);
		else if (call == 1) free(realloc(p, 100));
		else if (malloc_usable_size(p) == 7) _exit(1);
		_exit(0);
	}
	close(ends[1]);
	REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
	ssize_t n = read(ends[0], text, sizeof text - 1);
	close(ends[0]);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%p, call %d: status %d", p, call, status);
	CHECK(n > 0 && strstr(text, wanted), "%p, call %d: said \"%s\"", p, call, text);
}

int main(void) {
	size_t shifts[] = {47, 48, 52, 55, 56, 57, 62, 63};
	char *low = malloc(100);
	for (size_t i = 0; i < sizeof shifts / sizeof *shifts; i++) {
		/* Both a plain high address, and one whose low bits are those of a live block. */
		void *high[] = {(void *)((uintptr_t)1 << shifts[i]), (void *)((uintptr_t)low | (uintptr_t)1 << shifts[i])};
		for (int k = 0; k < 2; k++) {
			is_told(high[k], 0, "hypool: invalid free");
			is_told(high[k], 1, "hypool: invalid realloc");
			is_told(high[k], 2, "hypool: invalid pointer");
		}
	}
	void *hint = (void *)((uintptr_t)1 << 50);
	char *p = mmap(hint, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(p != MAP_FAILED);
	printf("%s\n",
	       (uintptr_t)p >> 47 ? "five levels: a real mapping above 47 bits" : "four levels: the addresses are made up");
	is_told(p, 0, "hypool: invalid free");
	is_told(p + MIB, 0, "hypool: invalid free");
	/* And hypool's own stay below, also when the hint's neighbourhood is in use. */
	for (size_t size = 100; size < GIB; size *= 20) {
		char *q = malloc(size);
		CHECK(q && (uintptr_t)q >> 47 == 0, "%p", (void *)q);
		free(q);
	}
	free(low);
	return check_end();
}
