/* Blocks that grow, and large blocks that are filled.
 *
 *   grow double       realloc from 16 B to 64 MiB by doubling, each new half written, then freed; ns for the whole way
 *   grow steps        realloc from 16 B to 64 KiB in steps of 16 B; ns for the whole way
 *   grow fill SIZE    malloc, write every byte, free; ns a round */
#include "load.h"

static void *resize(void *old, size_t size) {
	void *p = realloc(old, size);
	if (p == NULL) {
		load_die("grow: realloc failed");
	}
	return p;
}

static void double_body(void *context, size_t rounds) {
	(void)context;
	for (size_t i = 0; i < rounds; i++) {
		char *p = load_malloc(16);
		memset(p, 1, 16);
		for (size_t size = 32; size <= 64 * LOAD_MIB; size *= 2) {
			p = resize(p, size);
			memset(p + size / 2, 2, size / 2);
			LOAD_KEEP(p);
		}
		if (p[0] != 1 || p[16] != 2) {
			load_die("grow: content lost");
		}
		load_free(p);
	}
}

static void steps_body(void *context, size_t rounds) {
	(void)context;
	for (size_t i = 0; i < rounds; i++) {
		char *p = load_malloc(16);
		for (size_t size = 32; size <= 64 * LOAD_KIB; size += 16) {
			p = resize(p, size);
			p[size - 1] = 1;
			LOAD_KEEP(p);
		}
		load_free(p);
	}
}

static void fill_body(void *context, size_t rounds) {
	size_t size = *(const size_t *)context;
	for (size_t i = 0; i < rounds; i++) {
		char *p = load_malloc(size);
		memset(p, (int)i, size);
		load_free(p);
	}
}

int main(int argc, char **argv) {
	const char *mode = argc > 1 ? argv[1] : "";
	if (strcmp(mode, "double") == 0) {
		load_result("realloc.double", load_measure(double_body, NULL, 1), "%s", "");
	} else if (strcmp(mode, "steps") == 0) {
		load_result("realloc.steps", load_measure(steps_body, NULL, 1), "%s", "");
	} else if (strcmp(mode, "fill") == 0 && argc > 2) {
		size_t size = load_parse_size(argv[2]);
		char name[64];
		snprintf(name, sizeof name, "fill.%s", argv[2]);
		load_result(name, load_measure(fill_body, &size, 1), "%s", "");
	} else {
		load_die("usage: grow double | steps | fill SIZE");
	}
	return 0;
}
