/*
 * No entry point may be missing: a block from libc's heap that reaches our free is an abort (RELIABILITY.md row 12).
 *
 * symbols: every name of the family resolves to the library. zero_sizes: a block of size 0 from each of them can be
 * freed. crossing: what libc allocates on its own account (strdup, getline, asprintf, getaddrinfo's kind) is ours.
 */
#include "interpose/check.h"

#include <dirent.h>
#include <malloc.h>
#include <regex.h>
#include <wchar.h>

static const char *const names[] = {
	"malloc",
	"calloc",
	"realloc",
	"reallocarray",
	"free",
	"free_sized",
	"free_aligned_sized",
	"aligned_alloc",
	"memalign",
	"valloc",
	"posix_memalign",
	"pvalloc",
	"malloc_trim",
	"mallopt",
	"malloc_usable_size",
	"mallinfo",
	"mallinfo2",
	"malloc_stats",
	"malloc_info",
	"cfree",
};

static void symbols(void) {
	const char *lib = getenv("HYPOOL_TEST_LIB");
	if (!lib || !*lib) return;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		/* cfree is history: glibc 2.26 dropped it for new programs. It may be absent, but not be another's. */
		if (strcmp(names[i], "cfree") == 0 && !dlsym(RTLD_DEFAULT, "cfree")) continue;
		CHECK(check_symbol_is_ours(names[i]), "%s is not the library's", names[i]);
	}
}

static void zero_sizes(void) {
	void *p = NULL;
	free(opaque(malloc(opaque_size(0))));
	free(opaque(calloc(opaque_size(0), 0)));
	free(opaque(realloc(NULL, opaque_size(0))));
	free(opaque(reallocarray(NULL, opaque_size(0), 0)));
	free(opaque(aligned_alloc(16, opaque_size(0))));
	free(opaque(memalign(64, opaque_size(0))));
	free(opaque(valloc(opaque_size(0))));
	free(opaque(pvalloc(opaque_size(0))));
	if (posix_memalign(&p, 64, 0) == 0) free(p);
	p = opaque(malloc(0));
	p = opaque(realloc(p, 10));
	REQUIRE(p);
	memset(p, 1, 10);
	free(p);
}

static void crossing(void) {
	free(strdup("a string"));
	free(strndup("a string", 3));
	free(wcsdup(L"a string"));
	char *text = NULL;
	CHECK(asprintf(&text, "%d %s", 42, "answers") == 10);
	text = realloc(text, 4000);
	free(text);
	free(realpath("/proc/self/exe", NULL));
	free(getcwd(NULL, 0));
	size_t capacity = 0;
	char *line = NULL;
	FILE *stream = fopen("/proc/self/maps", "r");
	REQUIRE(stream);
	while (getline(&line, &capacity, stream) > 0) CHECK(malloc_usable_size(line) >= capacity);
	free(line);
	fclose(stream);
	struct dirent **entries = NULL;
	int n = scandir("/proc/self", &entries, NULL, alphasort);
	CHECK(n > 0);
	for (int i = 0; i < n; i++) free(entries[i]);
	free(entries);
	regex_t expression;
	CHECK(regcomp(&expression, "(a|b)*c{2,5}[^x-z]+", REG_EXTENDED) == 0);
	regfree(&expression);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	CHECK(setenv("HYPOOL_TEST_VALUE", "x", 1) == 0 && unsetenv("HYPOOL_TEST_VALUE") == 0);
}

int main(void) {
	symbols();
	zero_sizes();
	crossing();
	return check_end();
}
