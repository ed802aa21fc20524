/* tracking/symbols.c: see tracking/symbols.h. */
#include "tracking/symbols.h"

#include "base/out.h"
#include "tracking/profile.h"

#include <string.h>

hypi_demangler *hypi_symbols_demangler;

extern void free(void *p);

static hypi_module *modules_of(const hypi_symbols *s) { return (hypi_module *)(void *)s->modules.at; }
static hypi_symbol *symbols_of(const hypi_symbols *s) { return (hypi_symbol *)(void *)s->symbols.at; }

size_t hypi_symbols_add_text(hypi_symbols *s, const char *text) {
	size_t at = s->text.used;
	hypi_bytes_add(&s->text, text, strlen(text) + 1);
	return s->text.failed ? 0 : at;
}

const char *hypi_symbols_text(const hypi_symbols *s, size_t at) { return (const char *)s->text.at + at; }

/* ---- the addresses ---- */

static void sift(hypi_symbol *a, size_t at, size_t count) {
	for (size_t child; (child = 2 * at + 1) < count; at = child) {
		if (child + 1 < count && a[child + 1].pc > a[child].pc) child++;
		if (a[at].pc >= a[child].pc) return;
		hypi_symbol t = a[at];
		a[at] = a[child];
		a[child] = t;
	}
}

/* By heap sort: no memory, no bad case. Then equal ones become one. */
static size_t sort_unique(hypi_symbol *a, size_t count) {
	for (size_t i = count / 2; i-- > 0;) sift(a, i, count);
	for (size_t end = count; end > 1; end--) {
		hypi_symbol t = a[0];
		a[0] = a[end - 1];
		a[end - 1] = t;
		sift(a, 0, end - 1);
	}
	size_t kept = 0;
	for (size_t i = 0; i < count; i++)
		if (kept == 0 || a[kept - 1].pc != a[i].pc) a[kept++] = a[i];
	return kept;
}

static bool collect(hypi_symbols *s) {
	hypi_profile_lock();
	uint32_t count = hypi_profile_data.frame_count;
	for (uint32_t i = 0; i < count; i++) {
		hypi_symbol symbol = {.pc = hypi_profile_data.frames[i]};
		hypi_bytes_add(&s->symbols, &symbol, sizeof symbol);
	}
	hypi_profile_unlock();
	if (s->symbols.failed) return false;
	s->symbol_count = sort_unique(symbols_of(s), count);
	return true;
}

/* ---- for who reads the files ---- */

size_t hypi_symbols_first(const hypi_symbols *s, uintptr_t pc) {
	size_t low = 0, high = s->symbol_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (symbols_of(s)[middle].pc < pc) low = middle + 1;
		else high = middle;
	}
	return low;
}

size_t hypi_symbols_readable(hypi_symbols *s, const char *name) {
	if (name[0] == '_' && name[1] == 'Z') {
		char *plain = hypi_symbols_demangle(name);
		if (plain != NULL) {
			size_t at = hypi_symbols_add_text(s, plain);
			free(plain);
			return at;
		}
	}
	return hypi_symbols_add_text(s, name);
}

bool hypi_symbols_init(hypi_symbols *s) {
	memset(s, 0, sizeof *s);
	hypi_symbols_add_text(s, "");
	if (!collect(s)) return false;
	return hypi_symbols_read(s);
}

void hypi_symbols_fini(hypi_symbols *s) {
	hypi_bytes_fini(&s->modules);
	hypi_bytes_fini(&s->symbols);
	hypi_bytes_fini(&s->text);
}

/* ---- questions ---- */

const hypi_symbol *hypi_symbols_find(const hypi_symbols *s, uintptr_t pc) {
	size_t at = hypi_symbols_first(s, pc);
	return at < s->symbol_count && symbols_of(s)[at].pc == pc ? &symbols_of(s)[at] : NULL;
}

const hypi_module *hypi_symbols_module(const hypi_symbols *s, const hypi_symbol *symbol) {
	return symbol == NULL || symbol->module == 0 ? NULL : &modules_of(s)[symbol->module - 1];
}

void hypi_symbols_name(const hypi_symbols *s, uintptr_t pc, char *ret_name, size_t bytes) {
	const hypi_symbol *symbol = hypi_symbols_find(s, pc);
	const hypi_module *m = hypi_symbols_module(s, symbol);
	if (symbol != NULL && symbol->name != 0) {
		hypi_format(ret_name, bytes, "%s", hypi_symbols_text(s, symbol->name));
	} else if (m != NULL) {
		const char *path = hypi_symbols_text(s, m->path), *slash = path;
		for (const char *at = path; *at != '\0'; at++)
			if (*at == '/') slash = at + 1;
		hypi_format(ret_name, bytes, "%s+0x%lx", slash, pc - m->start + m->offset);
	} else {
		hypi_format(ret_name, bytes, "0x%lx", pc);
	}
	for (char *at = ret_name; *at != '\0'; at++)
		if (*at == '\n') *at = ' '; /* a file may hold any name; reports are made of lines */
}

unsigned hypi_symbols_own_frames(const char *(*name_of)(void *context, unsigned frame), void *context, unsigned depth) {
	enum { MOST = 10 };
	unsigned own = 0;
	for (unsigned i = 0; i < depth && i < MOST; i++) {
		const char *name = name_of(context, i);
		if (strncmp(name, "hyp_", 4) == 0 || strncmp(name, "hypi_", 5) == 0) own = i + 1;
	}
	return own;
}

bool hypi_symbols_is_allocator(const char *name) {
	static const char *const whole[] = {"malloc",   "calloc",         "realloc",        "reallocarray", "aligned_alloc",
	                                    "memalign", "posix_memalign", "valloc",         "pvalloc",      "strdup",
	                                    "strndup",  "__strdup",       "__strndup",      "xmalloc",      "xrealloc",
	                                    "xcalloc",  "free",           "operator delete"};
	static const char *const begins[] = {"operator new",
	                                     "std::",
	                                     "void std::",
	                                     "__gnu_cxx::",
	                                     "hyp_",
	                                     "hypi_",
	                                     "_Znwm",
	                                     "_Znam",
	                                     "zmalloc",
	                                     "zrealloc",
	                                     "zcalloc",
	                                     "ztry",
	                                     "g_malloc",
	                                     "g_realloc",
	                                     "g_slice_",
	                                     "PyObject_Malloc",
	                                     "PyObject_Calloc",
	                                     "PyObject_Realloc",
	                                     "_PyObject_Malloc",
	                                     "_PyObject_Calloc",
	                                     "_PyMem_",
	                                     "PyMem_",
	                                     "pymalloc_",
	                                     "_PyObject_GC_",
	                                     "_PyObject_Realloc",
	                                     "new_arena",
	                                     "arena_map_",
	                                     "allocate_from_new_pool"};
	for (size_t i = 0; i < HYP_ARRAY_LEN(whole); i++)
		if (strcmp(name, whole[i]) == 0) return true;
	for (size_t i = 0; i < HYP_ARRAY_LEN(begins); i++)
		if (strncmp(name, begins[i], strlen(begins[i])) == 0) return true;
	return false;
}
