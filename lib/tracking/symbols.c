/* tracking/symbols.c: see tracking/symbols.h. */
#include "tracking/symbols.h"

#include "base/bits.h"
#include "os/os.h"
#include "tracking/maps.h"
#include "tracking/profile.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The C++ library's, when the program has one. */
extern char *__cxa_demangle(const char *name, char *buffer, size_t *length, int *status) __attribute__((weak));
extern void free(void *p);

static hypi_module *modules_of(const hypi_symbols *s) { return (hypi_module *)(void *)s->modules.at; }
static hypi_symbol *symbols_of(const hypi_symbols *s) { return (hypi_symbol *)(void *)s->symbols.at; }

static size_t add_text(hypi_symbols *s, const char *text) {
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

/* ---- the files ---- */

static bool add_module(void *context, const hypi_map *map) {
	hypi_symbols *s = context;
	if (!map->execute || map->path[0] == '\0') return true;
	hypi_module module = {.start = map->start, .end = map->end, .offset = map->offset, .path = add_text(s, map->path)};
	hypi_bytes_add(&s->modules, &module, sizeof module);
	s->module_count++;
	return true;
}

static void open_file(hypi_module *m, const char *path) {
	if (path[0] != '/') return;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return;
	struct stat about;
	if (fstat(fd, &about) == 0 && about.st_size >= (off_t)sizeof(Elf64_Ehdr)) {
		void *p = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (p != MAP_FAILED) {
			m->file = p;
			m->file_bytes = (size_t)about.st_size;
		}
	}
	close(fd);
}

/* A range of the file, or NULL when it is not all there. */
static const void *range(const hypi_module *m, uint64_t offset, uint64_t bytes) {
	return offset <= m->file_bytes && bytes <= m->file_bytes - offset ? m->file + offset : NULL;
}

static const Elf64_Ehdr *elf_header(const hypi_module *m) {
	const Elf64_Ehdr *h = range(m, 0, sizeof *h);
	if (h == NULL || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0 || h->e_ident[EI_CLASS] != ELFCLASS64) return NULL;
	return h;
}

static void read_build_id(hypi_module *m, const unsigned char *note, uint64_t bytes) {
	while (bytes >= 12) {
		Elf64_Nhdr head;
		memcpy(&head, note, sizeof head);
		uint64_t name = hypi_round_up(head.n_namesz, 4), total = sizeof head + name + hypi_round_up(head.n_descsz, 4);
		if (total > bytes) return;
		if (head.n_type == NT_GNU_BUILD_ID && head.n_namesz == 4 && memcmp(note + 12, "GNU", 4) == 0) {
			for (unsigned i = 0; i < head.n_descsz && i < 20; i++)
				hypi_format(m->build_id + 2 * i, 3, "%02x", note[sizeof head + name + i]);
			return;
		}
		note += total;
		bytes -= total;
	}
}

/* What to add to an address of the file's to get one of memory; also finds the build id. */
static uintptr_t bias_of(hypi_module *m, const Elf64_Ehdr *h) {
	uintptr_t bias = m->start - m->offset;
	const Elf64_Phdr *p = range(m, h->e_phoff, (uint64_t)h->e_phnum * sizeof *p);
	for (unsigned i = 0; p != NULL && i < h->e_phnum; i++) {
		const void *data = range(m, p[i].p_offset, p[i].p_filesz);
		if (p[i].p_type == PT_NOTE && data != NULL && m->build_id[0] == '\0') read_build_id(m, data, p[i].p_filesz);
		if (p[i].p_type == PT_LOAD && (p[i].p_flags & PF_X) && m->offset + (m->end - m->start) > p[i].p_offset &&
		    m->offset < p[i].p_offset + p[i].p_filesz)
			bias = m->start - m->offset - (p[i].p_vaddr - p[i].p_offset);
	}
	return bias;
}

static size_t first_at_least(const hypi_symbols *s, uintptr_t pc) {
	size_t low = 0, high = s->symbol_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (symbols_of(s)[middle].pc < pc) low = middle + 1;
		else high = middle;
	}
	return low;
}

static size_t readable(hypi_symbols *s, const char *name) {
	if (name[0] == '_' && name[1] == 'Z' && __cxa_demangle != NULL) {
		int status = 0;
		char *plain = __cxa_demangle(name, NULL, NULL, &status);
		if (plain != NULL) {
			size_t at = add_text(s, plain);
			free(plain);
			return at;
		}
	}
	return add_text(s, name);
}

static void read_table(hypi_symbols *s, uint32_t module, uintptr_t bias, const Elf64_Shdr *table,
                       const Elf64_Shdr *names) {
	const hypi_module *m = &modules_of(s)[module];
	const Elf64_Sym *symbols = range(m, table->sh_offset, table->sh_size);
	const char *text = range(m, names->sh_offset, names->sh_size);
	if (symbols == NULL || text == NULL || names->sh_size == 0 || text[names->sh_size - 1] != '\0') return;
	for (uint64_t i = 0; i < table->sh_size / sizeof *symbols; i++) {
		unsigned type = ELF64_ST_TYPE(symbols[i].st_info);
		if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbols[i].st_shndx == SHN_UNDEF) continue;
		if (symbols[i].st_name >= names->sh_size) continue;
		uintptr_t start = symbols[i].st_value + bias, end = start + symbols[i].st_size;
		size_t name = 0;
		/* A return address lies behind its call: (start, end]. */
		for (size_t k = first_at_least(s, start + 1); k < s->symbol_count && symbols_of(s)[k].pc <= end; k++) {
			hypi_symbol *symbol = &symbols_of(s)[k];
			if (symbol->start != 0 && symbol->size <= symbols[i].st_size) continue; /* the narrower one stays */
			if (name == 0) name = readable(s, text + symbols[i].st_name);
			symbol = &symbols_of(s)[k];
			symbol->start = start;
			symbol->size = symbols[i].st_size;
			symbol->name = name;
		}
	}
}

static void read_module(hypi_symbols *s, uint32_t module) {
	hypi_module *m = &modules_of(s)[module];
	size_t first = first_at_least(s, m->start), last = first_at_least(s, m->end);
	if (first == last) return;
	for (size_t i = first; i < last; i++) symbols_of(s)[i].module = module + 1;
	open_file(m, hypi_symbols_text(s, m->path));
	const Elf64_Ehdr *h = m->file != NULL ? elf_header(m) : NULL;
	if (h != NULL) {
		uintptr_t bias = bias_of(m, h);
		const Elf64_Shdr *sections = range(m, h->e_shoff, (uint64_t)h->e_shnum * sizeof *sections);
		for (int pass = 0; sections != NULL && pass < 2; pass++)
			for (unsigned i = 0; i < h->e_shnum; i++)
				if (sections[i].sh_type == (pass == 0 ? SHT_SYMTAB : SHT_DYNSYM) && sections[i].sh_link < h->e_shnum)
					read_table(s, module, bias, &sections[i], &sections[sections[i].sh_link]);
	}
	m = &modules_of(s)[module];
	if (m->file != NULL) munmap((void *)(uintptr_t)m->file, m->file_bytes);
	m->file = NULL;
}

bool hypi_symbols_init(hypi_symbols *s) {
	memset(s, 0, sizeof *s);
	add_text(s, "");
	if (!collect(s)) return false;
	hypi_maps_each(add_module, s);
	if (s->modules.failed || s->text.failed) return false;
	for (uint32_t i = 0; i < s->module_count; i++) read_module(s, i);
	return true;
}

void hypi_symbols_fini(hypi_symbols *s) {
	hypi_bytes_fini(&s->modules);
	hypi_bytes_fini(&s->symbols);
	hypi_bytes_fini(&s->text);
}

/* ---- questions ---- */

const hypi_symbol *hypi_symbols_find(const hypi_symbols *s, uintptr_t pc) {
	size_t at = first_at_least(s, pc);
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
