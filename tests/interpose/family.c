/*
 * The malloc family called with the edge cases that ISO C, POSIX and glibc define.
 *
 * One function a member. The expectations are those of glibc 2.36 where ISO C and POSIX leave a choice: realloc(p, 0)
 * frees and gives NULL, malloc(0) gives a unique pointer, posix_memalign leaves its output untouched on failure,
 * aligned_alloc accepts a size that is no multiple of the alignment. free keeps errno (POSIX 2024).
 */
#include "interpose/check.h"

#include <limits.h>
#include <malloc.h>

static const size_t huge_sizes[] = {PTRDIFF_MAX,      (size_t)PTRDIFF_MAX + 1, SIZE_MAX,
                                    SIZE_MAX - 1,     SIZE_MAX - 15,           SIZE_MAX - 4095,
                                    SIZE_MAX - 65536, SIZE_MAX - 2 * MIB,      SIZE_MAX / 2 - 4096,
                                    SIZE_MAX / 4,     (size_t)1 << 56,         (size_t)1 << 48,
                                    SIZE_MAX - GIB};
#define EACH_HUGE(i) (size_t i = 0; i < sizeof huge_sizes / sizeof *huge_sizes; i++)

static bool is_aligned(const void *p, size_t alignment) { return ((uintptr_t)p & (alignment - 1)) == 0; }

static void fill_and_verify(void *p, size_t bytes) {
	memset(p, 0xa5, bytes);
	if (bytes) CHECK(((unsigned char *)opaque(p))[bytes - 1] == 0xa5);
}

static void test_malloc(void) {
	void *a = opaque(malloc(opaque_size(0))), *b = opaque(malloc(opaque_size(0)));
	CHECK(a && b, "malloc(0) gives NULL");
	CHECK(a != b, "malloc(0) gives one pointer twice");
	CHECK(is_aligned(a, 8));
	free(a);
	free(b);
	free(NULL);
	for
		EACH_HUGE(i) {
			errno = 0;
			void *p = opaque(malloc(opaque_size(huge_sizes[i])));
			CHECK(!p, "malloc(%#zx) gave %p", huge_sizes[i], p);
			CHECK(errno == ENOMEM, "malloc(%#zx): errno %d", huge_sizes[i], errno);
		}
	errno = EILSEQ;
	void *p = malloc(opaque_size(100));
	CHECK(p && errno == EILSEQ, "a malloc that succeeds sets errno to %d", errno);
	free(p);
}

static void test_calloc(void) {
	void *a = opaque(calloc(opaque_size(0), 8)), *b = opaque(calloc(8, opaque_size(0)));
	CHECK(a && b && a != b, "calloc of nothing: %p %p", a, b);
	free(a);
	free(b);
	static const size_t pairs[][2] = {{SIZE_MAX, 2},          {2, SIZE_MAX},
	                                  {SIZE_MAX, SIZE_MAX},   {(size_t)1 << 32, (size_t)1 << 32},
	                                  {SIZE_MAX / 8 + 1, 8},  {(size_t)1 << 33, ((size_t)1 << 31) + 1},
	                                  {PTRDIFF_MAX, 1},       {1, PTRDIFF_MAX},
	                                  {SIZE_MAX / 16 + 2, 16}};
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		errno = 0;
		void *p = opaque(calloc(opaque_size(pairs[i][0]), opaque_size(pairs[i][1])));
		CHECK(!p && errno == ENOMEM, "calloc(%#zx, %#zx): %p errno %d", pairs[i][0], pairs[i][1], p, errno);
	}
	/* Blocks come back zeroed, also when they were used and freed before, whatever their size. */
	for (size_t size = 1; size <= 8 * MIB; size = size * 5 / 3 + 1) {
		for (int round = 0; round < 6; round++) {
			unsigned char *p = opaque(calloc(1, opaque_size(size)));
			REQUIRE(p, "calloc(1, %zu)", size);
			size_t dirty = 0;
			for (size_t k = 0; k < size; k++) dirty += p[k] != 0;
			CHECK(dirty == 0, "calloc(1, %zu), round %d: %zu bytes are not zero", size, round, dirty);
			memset(p, 0xff, malloc_usable_size(p));
			free(p);
			unsigned char *q = opaque(malloc(size));
			memset(q, 0xee, size);
			free(q);
		}
	}
}

static void test_realloc(void) {
	void *p = opaque(realloc(NULL, opaque_size(40)));
	CHECK(p, "realloc(NULL, 40)");
	fill_and_verify(p, 40);
	CHECK(opaque(realloc(p, opaque_size(0))) == NULL, "realloc(p, 0) is not NULL");
	p = opaque(realloc(NULL, opaque_size(0)));
	CHECK(p, "realloc(NULL, 0) is NULL");
	free(p);
	/* realloc(p, 0) really frees: a leak of 4 GiB would show. */
	size_t before = check_rss_bytes();
	for (int i = 0; i < 4096; i++) {
		p = opaque(malloc(MIB));
		REQUIRE(p);
		memset(p, 1, MIB);
		CHECK(opaque(realloc(p, opaque_size(0))) == NULL);
	}
	size_t after = check_rss_bytes();
	CHECK(after < before + 256 * MIB, "realloc(p, 0) does not free: %zu -> %zu", before, after);

	/* A failure leaves the block as it was. */
	unsigned char *kept = opaque(malloc(1000));
	for (int i = 0; i < 1000; i++) kept[i] = (unsigned char)i;
	for
		EACH_HUGE(i) {
			errno = 0;
			void *q = opaque(realloc(opaque(kept), opaque_size(huge_sizes[i])));
			CHECK(!q && errno == ENOMEM, "realloc(p, %#zx): %p errno %d", huge_sizes[i], q, errno);
		}
	for (int i = 0; i < 1000; i++) CHECK(kept[i] == (unsigned char)i);
	errno = EILSEQ;
	free(kept);
	CHECK(errno == EILSEQ);

	/* Contents survive every step up and down, across the classes and the large threshold. */
	size_t size = 1, old = 0;
	unsigned char *grown = NULL;
	for (; size < 40 * MIB; old = size, size = size * 3 / 2 + 7) {
		grown = opaque(realloc(grown, size));
		REQUIRE(grown);
		CHECK(is_aligned(grown, size >= 16 ? 16 : 8), "realloc to %zu: %p", size, (void *)grown);
		for (size_t k = 0; k<old; k += old> 65536 ? 4093 : 1)
			REQUIRE(grown[k] == (unsigned char)(k * 7), "grown to %zu: byte %zu changed", size, k);
		for (size_t k = 0; k < size; k++) grown[k] = (unsigned char)(k * 7);
	}
	for (size = old; size > 1; size = size * 2 / 3) {
		grown = opaque(realloc(grown, size));
		REQUIRE(grown);
		for (size_t k = 0; k<size; k += size> 65536 ? 4093 : 1)
			REQUIRE(grown[k] == (unsigned char)(k * 7), "shrunk to %zu: byte %zu changed", size, k);
	}
	free(grown);
}

static void test_reallocarray(void) {
	unsigned char *p = opaque(reallocarray(NULL, opaque_size(10), 10));
	REQUIRE(p, "reallocarray(NULL, 10, 10)");
	memset(p, 7, 100);
	errno = 0;
	CHECK(!opaque(reallocarray(opaque(p), opaque_size(SIZE_MAX / 4), 8)) && errno == ENOMEM, "errno %d", errno);
	errno = 0;
	CHECK(!opaque(reallocarray(opaque(p), (size_t)1 << 32, opaque_size((size_t)1 << 32))) && errno == ENOMEM);
	CHECK(p[0] == 7 && p[99] == 7, "a failed reallocarray touched the block");
	CHECK(!opaque(reallocarray(opaque(p), opaque_size(0), 10)), "reallocarray(opaque(p), 0, n) is not NULL");
	p = opaque(reallocarray(NULL, 3, opaque_size(7)));
	CHECK(p);
	free(p);
}

static void test_free_keeps_errno(void) {
	static const size_t sizes[] = {0, 1, 16, 100, 4096, 50000, 300 * KIB, 2 * MIB, 40 * MIB, 300 * MIB};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		for (int round = 0; round < 300; round++) {
			if (sizes[i] >= MIB && round > 10) break;
			void *p = opaque(malloc(sizes[i]));
			REQUIRE(p);
			errno = EILSEQ;
			free(p);
			REQUIRE(errno == EILSEQ, "free of %zu bytes set errno to %d", sizes[i], errno);
		}
	}
	errno = EILSEQ;
	free(NULL);
	CHECK(errno == EILSEQ);
}

static void test_posix_memalign(void) {
	static const size_t bad[] = {0, 1, 2, 4, 3, 5, 7, 9, 12, 24, 48, 100, 4095, 4097, SIZE_MAX, SIZE_MAX - 7};
	void *untouched = &untouched;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		void *p = untouched;
		errno = EILSEQ;
		int status = posix_memalign(&p, opaque_size(bad[i]), 64);
		CHECK(status == EINVAL, "posix_memalign(alignment %zu) returned %d", bad[i], status);
		CHECK(p == untouched, "posix_memalign(alignment %zu) wrote its output on failure", bad[i]);
		CHECK(errno == EILSEQ, "posix_memalign set errno to %d", errno);
	}
	for
		EACH_HUGE(i) {
			for (size_t alignment = 8; alignment <= GIB; alignment *= 8) {
				void *p = untouched;
				int status = posix_memalign(&p, alignment, opaque_size(huge_sizes[i]));
				CHECK(status == ENOMEM && p == untouched, "posix_memalign(%zu, %#zx): %d %p", alignment, huge_sizes[i],
				      status, p);
			}
		}
	for (size_t alignment = 8; alignment <= 4 * MIB; alignment *= 2) {
		void *p = NULL, *q = NULL;
		CHECK(posix_memalign(&p, alignment, opaque_size(0)) == 0 && posix_memalign(&q, alignment, 0) == 0);
		CHECK(p == NULL || p != q, "posix_memalign(%zu, 0) gave one pointer twice", alignment);
		CHECK(is_aligned(p, alignment) && is_aligned(q, alignment), "size 0, alignment %zu: %p", alignment, p);
		free(p);
		free(q);
	}
	void *p = untouched;
	CHECK(posix_memalign(&p, opaque_size((size_t)1 << 62), 8) == ENOMEM && p == untouched);
	CHECK(posix_memalign(&p, opaque_size((size_t)1 << 63), 8) != 0 && p == untouched);
}

static void test_aligned_alloc(void) {
	for (size_t alignment = 1; alignment <= 64 * KIB; alignment *= 2) {
		static const size_t odd[] = {0, 1, 3, 17, 100, 4095, 4097, 70001};
		for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
			void *p = opaque(aligned_alloc(opaque_size(alignment), opaque_size(odd[i])));
			CHECK(p && is_aligned(p, alignment), "aligned_alloc(%zu, %zu): %p", alignment, odd[i], p);
			if (p) fill_and_verify(p, odd[i]);
			free(p);
		}
	}
	/* glibc 2.36 rounds an alignment that is no power of two up; later ones and C23 answer EINVAL. Both are right;
	   a block that is not even aligned to the greatest power of two below, or a crash, is not. */
	static const size_t bad[] = {3, 5, 6, 7, 12, 24, 100, 4095, 4097, 65537, SIZE_MAX, SIZE_MAX / 2 + 2};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		errno = 0;
		void *p = opaque(aligned_alloc(opaque_size(bad[i]), opaque_size(64)));
		if (!p) {
			CHECK(errno == EINVAL || errno == ENOMEM, "aligned_alloc(%zu): errno %d", bad[i], errno);
			continue;
		}
		size_t below = (size_t)1 << (63 - __builtin_clzl(bad[i]));
		CHECK(is_aligned(p, below), "aligned_alloc(%zu, 64): %p", bad[i], p);
		free(p);
	}
	for
		EACH_HUGE(i) {
			errno = 0;
			void *p = opaque(aligned_alloc(64, opaque_size(huge_sizes[i])));
			CHECK(!p && errno == ENOMEM, "aligned_alloc(64, %#zx): %p errno %d", huge_sizes[i], p, errno);
			errno = 0;
			p = opaque(memalign(4096, opaque_size(huge_sizes[i])));
			CHECK(!p && errno == ENOMEM, "memalign(4096, %#zx): %p errno %d", huge_sizes[i], p, errno);
		}
	void *p = opaque(memalign(opaque_size(0), 100));
	CHECK(p, "memalign(0, 100)");
	free(p);
	p = opaque(memalign(opaque_size(24), 100)); /* glibc rounds the alignment up to 32 */
	CHECK(p == NULL || is_aligned(p, 8));
	free(p);
}

static void test_page_functions(void) {
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	static const size_t sizes[] = {0, 1, 100, 4095, 4096, 4097, 100000};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		void *v = opaque(valloc(opaque_size(sizes[i]))), *p = opaque(pvalloc(opaque_size(sizes[i])));
		CHECK(v && is_aligned(v, page), "valloc(%zu): %p", sizes[i], v);
		CHECK(p && is_aligned(p, page), "pvalloc(%zu): %p", sizes[i], p);
		/* pvalloc rounds up to whole pages, which are all the caller's. */
		if (sizes[i]) {
			size_t rounded = (sizes[i] + page - 1) / page * page;
			CHECK(malloc_usable_size(p) >= rounded, "pvalloc(%zu): %zu usable", sizes[i], malloc_usable_size(p));
			fill_and_verify(p, rounded);
		}
		free(v);
		free(p);
	}
	for
		EACH_HUGE(i) {
			errno = 0;
			CHECK(!opaque(valloc(opaque_size(huge_sizes[i]))) && errno == ENOMEM, "valloc(%#zx)", huge_sizes[i]);
			errno = 0;
			CHECK(!opaque(pvalloc(opaque_size(huge_sizes[i]))) && errno == ENOMEM, "pvalloc(%#zx)", huge_sizes[i]);
		}
}

static void test_usable_size(void) {
	CHECK(malloc_usable_size(NULL) == 0, "malloc_usable_size(NULL)");
	void *p = opaque(malloc(0));
	memset(p, 1, malloc_usable_size(p));
	free(p);
	p = opaque(malloc(100));
	CHECK(malloc_usable_size(p) >= 100);
	free(p);
}

/* free_sized and free_aligned_sized are C23: glibc 2.36 has neither, so they are found by name. */
static void test_sized_frees(void) {
	void (*free_sized)(void *, size_t);
	void (*free_aligned_sized)(void *, size_t, size_t);
	*(void **)&free_sized = dlsym(RTLD_DEFAULT, "free_sized");
	*(void **)&free_aligned_sized = dlsym(RTLD_DEFAULT, "free_aligned_sized");
	const char *lib = getenv("HYPOOL_TEST_LIB");
	if (!lib || !*lib) return; /* the system's malloc: nothing to promise */
	CHECK(free_sized && free_aligned_sized, "free_sized %p free_aligned_sized %p", *(void **)&free_sized,
	      *(void **)&free_aligned_sized);
	if (!free_sized || !free_aligned_sized) return;
	free_sized(NULL, 0);
	free_sized(NULL, 17);
	free_aligned_sized(NULL, 16, 0);
	for (size_t size = 0; size < 3 * MIB; size = size * 4 / 3 + 1) {
		errno = EILSEQ;
		free_sized(opaque(malloc(size)), size);
		free_sized(opaque(calloc(1, size)), size);
		free_sized(opaque(realloc(opaque(malloc(size / 2 + 1)), size + 1)), size + 1);
		free_sized(opaque(realloc(opaque(malloc(size)), size * 3 / 4 + 1)), size * 3 / 4 + 1); /* perhaps in place */
		for (size_t alignment = 16; alignment <= 64 * KIB; alignment *= 4)
			free_aligned_sized(opaque(aligned_alloc(alignment, size)), alignment, size);
		CHECK(errno == EILSEQ, "a sized free of %zu set errno to %d", size, errno);
	}
}

int main(void) {
	test_malloc();
	test_calloc();
	test_realloc();
	test_reallocarray();
	test_free_keeps_errno();
	test_posix_memalign();
	test_aligned_alloc();
	test_page_functions();
	test_usable_size();
	test_sized_frees();
	return check_end();
}
