/*
 * tracking/symbols_elf.c: functions and build ids out of the ELF files that /proc/self/maps names; see
 * tracking/symbols.h. Every offset of a file is checked before it is followed.
 */
#include "base/bits.h"
#include "base/out.h"
#include "tracking/maps.h"
#include "tracking/symbols.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The C++ library's, when the program has one. */
extern char *__cxa_demangle(const char *name, char *buffer, size_t *length, int *status) __attribute__((weak));

char *hypi_symbols_demangle(const char *name) {
	int status = 0;
	hypi_demangler *by = hypi_symbols_demangler != NULL ? hypi_symbols_demangler : __cxa_demangle;
	return by != NULL ? by(name, NULL, NULL, &status) : NULL;
}

static hypi_module *modules_of(const hypi_symbols *s) { return (hypi_module *)(void *)s->modules.at; }
static hypi_symbol *symbols_of(const hypi_symbols *s) { return (hypi_symbol *)(void *)s->symbols.at; }

static bool add_module(void *context, const hypi_map *map) {
	hypi_symbols *s = context;
	if (!map->execute || map->path[0] == '\0') return true;
	hypi_module module = {
		.start = map->start, .end = map->end, .offset = map->offset, .path = hypi_symbols_add_text(s, map->path)};
	hypi_bytes_add(&s->modules, &module, sizeof module);
	s->module_count++;
	return true;
}

static void open_file(hypi_module *m, const char *path) {
	if (path[0] != '/') return;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* by now it may be a FIFO, which nobody writes to */
	if (fd < 0) return;
	struct stat about;
	if (fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && about.st_size >= (off_t)sizeof(Elf64_Ehdr)) {
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

/* The same of a table, which also must lie where its entries are aligned. */
static const void *table_at(const hypi_module *m, uint64_t offset, uint64_t bytes) {
	return offset % _Alignof(uint64_t) == 0 ? range(m, offset, bytes) : NULL;
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
	const Elf64_Phdr *p = table_at(m, h->e_phoff, (uint64_t)h->e_phnum * sizeof *p);
	for (unsigned i = 0; p != NULL && i < h->e_phnum; i++) {
		const void *data = range(m, p[i].p_offset, p[i].p_filesz);
		if (p[i].p_type == PT_NOTE && data != NULL && m->build_id[0] == '\0') read_build_id(m, data, p[i].p_filesz);
		if (p[i].p_type == PT_LOAD && (p[i].p_flags & PF_X) && m->offset + (m->end - m->start) > p[i].p_offset &&
		    m->offset < p[i].p_offset + p[i].p_filesz)
			bias = m->start - m->offset - (p[i].p_vaddr - p[i].p_offset);
	}
	return bias;
}

static void read_table(hypi_symbols *s, uint32_t module, uintptr_t bias, const Elf64_Shdr *table,
                       const Elf64_Shdr *names) {
	const hypi_module *m = &modules_of(s)[module];
	const Elf64_Sym *symbols = table_at(m, table->sh_offset, table->sh_size);
	const char *text = range(m, names->sh_offset, names->sh_size);
	if (symbols == NULL || text == NULL || names->sh_size == 0 || text[names->sh_size - 1] != '\0') return;
	for (uint64_t i = 0; i < table->sh_size / sizeof *symbols; i++) {
		unsigned type = ELF64_ST_TYPE(symbols[i].st_info);
		if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbols[i].st_shndx == SHN_UNDEF) continue;
		if (symbols[i].st_name >= names->sh_size || text[symbols[i].st_name] == '\0') continue;
		uintptr_t start = symbols[i].st_value + bias, end = start + symbols[i].st_size;
		size_t name = 0;
		if (end < start) continue;
		/* A return address lies behind its call: (start, end]. */
		for (size_t k = hypi_symbols_first(s, start + 1); k < s->symbol_count && symbols_of(s)[k].pc <= end; k++) {
			hypi_symbol *symbol = &symbols_of(s)[k];
			if (symbol->start != 0 && symbol->size <= symbols[i].st_size) continue; /* the narrower one stays */
			if (name == 0) name = hypi_symbols_readable(s, text + symbols[i].st_name);
			symbol = &symbols_of(s)[k];
			symbol->start = start;
			symbol->size = symbols[i].st_size;
			symbol->name = name;
		}
	}
}

static void read_module(hypi_symbols *s, uint32_t module) {
	hypi_module *m = &modules_of(s)[module];
	size_t first = hypi_symbols_first(s, m->start), last = hypi_symbols_first(s, m->end);
	if (first == last) return;
	for (size_t i = first; i < last; i++) symbols_of(s)[i].module = module + 1;
	open_file(m, hypi_symbols_text(s, m->path));
	const Elf64_Ehdr *h = m->file != NULL ? elf_header(m) : NULL;
	if (h != NULL) {
		uintptr_t bias = bias_of(m, h);
		const Elf64_Shdr *sections = table_at(m, h->e_shoff, (uint64_t)h->e_shnum * sizeof *sections);
		for (int pass = 0; sections != NULL && pass < 2; pass++)
			for (unsigned i = 0; i < h->e_shnum; i++)
				if (sections[i].sh_type == (pass == 0 ? SHT_SYMTAB : SHT_DYNSYM) && sections[i].sh_link < h->e_shnum)
					read_table(s, module, bias, &sections[i], &sections[sections[i].sh_link]);
	}
	m = &modules_of(s)[module];
	if (m->file != NULL) munmap((void *)(uintptr_t)m->file, m->file_bytes);
	m->file = NULL;
}

bool hypi_symbols_read(hypi_symbols *s) {
	hypi_maps_each(add_module, s);
	if (s->modules.failed || s->text.failed) return false;
	for (uint32_t i = 0; i < s->module_count; i++) read_module(s, i);
	return true;
}
