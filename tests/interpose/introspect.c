/*
 * What a program may ask about the heap: mallinfo, mallinfo2, malloc_info, malloc_stats, malloc_trim, mallopt.
 *
 * The figures must be true, not merely present: 64 MiB more in use must show as 64 MiB more, and less after the frees.
 * malloc_info's text must be well-formed XML (own check: tags nest and close, attributes are quoted).
 */
#include "interpose/check.h"

#include <malloc.h>

#define BLOCKS 1024

static void test_mallinfo2(void) {
	static void *blocks[BLOCKS];
	size_t each = 64 * KIB, total = each * BLOCKS;
	struct mallinfo2 before = mallinfo2();
	for (int i = 0; i < BLOCKS; i++) {
		blocks[i] = opaque(malloc(each));
		REQUIRE(blocks[i]);
		memset(blocks[i], i, each);
	}
	struct mallinfo2 during = mallinfo2();
	struct mallinfo old = mallinfo();
	for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
	struct mallinfo2 after = mallinfo2();
	size_t used_before = before.uordblks + before.hblkhd, used_during = during.uordblks + during.hblkhd,
		   used_after = after.uordblks + after.hblkhd;
	CHECK(used_during >= used_before + total && used_during <= used_before + total + total / 4,
	      "in use before %zu, with %zu more: %zu", used_before, total, used_during);
	CHECK(used_after < used_before + total / 4, "in use after the frees: %zu (before: %zu)", used_after, used_before);
	CHECK(during.arena + during.hblkhd >= used_during - during.hblkhd, "arena %zu, in use %zu", during.arena,
	      used_during);
	CHECK((size_t)(unsigned)old.uordblks + (size_t)(unsigned)old.hblkhd >= total / 2, "mallinfo: %d %d", old.uordblks,
	      old.hblkhd);
}

/* Every tag closes in order, attributes are name="value", one root. Returns what is wrong, or NULL. */
static const char *xml_fault(const char *s) {
	char open[64][32];
	int depth = 0, roots = 0;
	while (*s) {
		if (*s != '<') {
			if (depth == 0 && *s != '\n' && *s != ' ') return "text outside the root";
			if (*s == '&' || *s == '>') return "a bare & or >";
			s++;
			continue;
		}
		s++;
		if (*s == '?' || *s == '!') {
			s = strchr(s, '>');
			if (!s) return "an unclosed declaration";
			s++;
			continue;
		}
		bool closing = *s == '/';
		s += closing;
		char name[32];
		size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:");
		if (n == 0 || n >= sizeof name) return "a tag without a name";
		memcpy(name, s, n);
		name[n] = 0;
		s += n;
		if (closing) {
			if (*s != '>' || depth == 0 || strcmp(open[--depth], name) != 0) return "a tag closes out of order";
			s++;
			continue;
		}
		if (depth == 0) roots++;
		while (*s == ' ' || *s == '\n') {
			s += strspn(s, " \n");
			if (*s == '/' || *s == '>') break;
			s += strcspn(s, "=<>");
			if (s[0] != '=' || s[1] != '"') return "an attribute without a quoted value";
			s += 2 + strcspn(s + 2, "\"<");
			if (*s != '"') return "an unclosed attribute";
			s++;
		}
		if (*s == '/') {
			if (*++s != '>') return "a stray /";
		} else if (*s == '>') {
			if (depth == 64) return "too deep";
			strcpy(open[depth++], name);
		} else {
			return "an unclosed tag";
		}
		s++;
	}
	return depth ? "a tag is left open" : roots == 1 ? NULL : "not one root";
}

static void test_malloc_info(void) {
	CHECK(xml_fault("<a x=\"1\"><b/></a>") == NULL && xml_fault("<a><b></a>") && xml_fault("<a x=1/>"));
	char *text = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&text, &length);
	REQUIRE(stream);
	errno = 0;
	CHECK(malloc_info(1, stream) != 0, "malloc_info with an unknown option succeeds");
	fflush(stream);
	CHECK(length == 0, "a refused malloc_info wrote %zu bytes", length);
	CHECK(malloc_info(0, stream) == 0, "malloc_info: errno %d", errno);
	fclose(stream);
	REQUIRE(text && length > 20, "malloc_info wrote %zu bytes", length);
	const char *fault = xml_fault(text);
	CHECK(!fault, "malloc_info is not well-formed: %s\n%.200s", fault, text);
	CHECK(strstr(text, "<malloc") != NULL, "no <malloc> element: %.100s", text);
	free(text);
}

static void test_malloc_stats(void) {
	char path[] = "/tmp/hypool-stats-XXXXXX";
	int fd = mkstemp(path), saved = dup(2);
	REQUIRE(fd >= 0 && saved >= 0);
	unlink(path);
	fflush(stderr);
	dup2(fd, 2);
	malloc_stats();
	fflush(stderr);
	dup2(saved, 2);
	close(saved);
	off_t written = lseek(fd, 0, SEEK_END);
	close(fd);
	CHECK(written > 20, "malloc_stats wrote %ld bytes to descriptor 2", (long)written);
}

static void test_malloc_trim(void) {
	static void *blocks[4096];
	for (int i = 0; i < 4096; i++) memset(blocks[i] = opaque(malloc(32 * KIB)), 1, 32 * KIB);
	size_t full = check_rss_bytes();
	for (int i = 0; i < 4096; i++) free(blocks[i]);
	errno = EILSEQ;
	int gave = malloc_trim(0);
	size_t trimmed = check_rss_bytes();
	CHECK(gave == 0 || gave == 1, "malloc_trim returned %d", gave);
	CHECK(trimmed + 100 * MIB < full, "malloc_trim: resident %zu -> %zu of 128 MiB freed", full, trimmed);
	CHECK(malloc_trim(0) == 0 || malloc_trim(0) == 0, "malloc_trim always claims that it gave memory back");
	CHECK(malloc_trim(SIZE_MAX) == 0 || true);
}

/* mallopt accepts what glibc knows (1) and refuses nonsense (0); nothing may break either way. */
static void test_mallopt(void) {
	static const int known[] = {M_MXFAST,   M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD,
	                            M_MMAP_MAX, M_CHECK_ACTION,   M_PERTURB, M_ARENA_MAX};
	static const int values[] = {64, 128 * 1024, 128 * 1024, 128 * 1024, 65536, 3, 0, 8};
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		CHECK(mallopt(known[i], values[i]) == 1, "mallopt(%d, %d)", known[i], values[i]);
	int nonsense = mallopt(12345, 1);
	CHECK(nonsense == 0 || nonsense == 1, "mallopt(12345) returned %d", nonsense);
	void *p = opaque(malloc(1000));
	CHECK(p);
	free(p);
}

int main(void) {
	test_mallinfo2();
	test_malloc_info();
	test_malloc_stats();
	test_malloc_trim();
	test_mallopt();
	return check_end();
}
