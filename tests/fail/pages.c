/*
 * tests/fail/pages.c: the kernel refuses the pages of free blocks (heap/pages.c): nothing is lost or changed, the heap asks
 * less and less often, and the pages go back when the kernel takes them again.
 */
#include "heap/heap.h"
#include "os/fault.h"

#include <hypool/hypool.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 512, BYTES = 32768, KEEP = 4, LOOKS = 1000, MOST_ASKED = 250, MOST_WAIT = 64 };

static unsigned char *blocks[BLOCKS];

#define REQUIRE(truth) \
	do { \
		if (!(truth)) { \
			printf("pages.c:%d: not so: %s\n", __LINE__, #truth); \
			exit(EXIT_FAILURE); \
		} \
	} while (0)

static void verify(void) {
	for (int i = 0; i < BLOCKS; i += KEEP)
		for (size_t k = 0; k < BYTES; k++) REQUIRE(blocks[i][k] == (unsigned char)(i + 1));
	const char *wrong = hypi_engine_check(&hypi_default_engine);
	if (wrong != NULL) printf("%s\n", wrong);
	REQUIRE(wrong == NULL);
}

int main(void) {
	for (int i = 0; i < BLOCKS; i++) {
		blocks[i] = hyp_malloc(BYTES);
		REQUIRE(blocks[i] != NULL);
		memset(blocks[i], i + 1, BYTES);
	}
	for (int i = 0; i < BLOCKS; i++)
		if (i % KEEP != 0) hyp_free(blocks[i]);
	hypi_heap *heap = hypi_heap_mine();
	hypi_heap_trim(heap);

	hypi_fault_script(1u << HYPI_FAULT_PURGE, 0, UINT64_MAX, EINVAL);
	size_t failures = hypi_load_relaxed(&hypi_default_engine.large.purge_failures);
	for (int look = 0; look < LOOKS; look++) REQUIRE(hypi_heap_release_pages(heap, true) == 0);
	uint64_t asked = hypi_fault_failed();
	printf("%d looks asked %llu times\n", LOOKS, (unsigned long long)asked);
	REQUIRE(asked > 0 && asked < MOST_ASKED);
	REQUIRE(hypi_load_relaxed(&hypi_default_engine.large.purge_failures) == failures + asked);
	REQUIRE(hypi_heap_release_pages(heap, false) == 0 && hypi_fault_failed() > asked); /* who asks is tried for */
	verify();

	hypi_fault_script(0, 0, 0, 0);
	size_t released = 0;
	for (int look = 0; look <= MOST_WAIT; look++) released += hypi_heap_release_pages(heap, true);
	size_t least = (size_t)BLOCKS / 2 * (BYTES - 2 * hypi_os.page_bytes);
	printf("then %zu bytes went back\n", released);
	REQUIRE(released >= least);
	verify();
	for (int i = 0; i < BLOCKS; i++) {
		if (i % KEEP == 0) continue;
		unsigned char *p = hyp_calloc(1, BYTES);
		REQUIRE(p != NULL && p[0] == 0 && p[BYTES / 2] == 0 && p[BYTES - 1] == 0);
		p[BYTES / 2] = 1;
	}
	verify();
	return EXIT_SUCCESS;
}
