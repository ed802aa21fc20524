/*
 * tests/fuzz/fuzz_symbols.c: a library that is mapped may be any file by the time a report is written. The input is an ELF
 * file's bytes, two bytes say where, the next how many, laid over a small sound one of this program's making; a first byte
 * of 1: the file itself. Names and build ids come out of it or do not; each is text.
 */
#include "fuzz.h"

#include "tracking/maps.h"
#include "tracking/profile.h"
#include "tracking/symbols.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BASE = 0x10000000, ADDRESSES = 8, FILE_BYTES = 1024 };

typedef struct file {
	Elf64_Ehdr head;
	Elf64_Phdr parts[2];
	Elf64_Shdr sections[4]; /* none, .symtab, .strtab, .dynsym */
	Elf64_Sym symbols[4];
	Elf64_Nhdr note;
	char note_text[4 + 20];
	char names[64];
} file;

static void sound(file *f) {
	memset(f, 0, sizeof *f);
	memcpy(f->head.e_ident, ELFMAG, SELFMAG);
	f->head.e_ident[EI_CLASS] = ELFCLASS64;
	f->head.e_phoff = offsetof(file, parts), f->head.e_phnum = 2;
	f->head.e_shoff = offsetof(file, sections), f->head.e_shnum = 4;
	f->parts[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_filesz = sizeof *f, .p_memsz = sizeof *f};
	f->parts[1] = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = offsetof(file, note), .p_filesz = sizeof f->note + 24};
	f->sections[1] = (Elf64_Shdr){
		.sh_type = SHT_SYMTAB, .sh_offset = offsetof(file, symbols), .sh_size = sizeof f->symbols, .sh_link = 2};
	f->sections[2] =
		(Elf64_Shdr){.sh_type = SHT_STRTAB, .sh_offset = offsetof(file, names), .sh_size = sizeof f->names};
	f->sections[3] = f->sections[1];
	f->sections[3].sh_type = SHT_DYNSYM;
	strcpy(f->names + 1, "work");
	strcpy(f->names + 8, "_ZN3fooC1Ev");
	for (unsigned i = 0; i < 4; i++)
		f->symbols[i] = (Elf64_Sym){
			.st_name = i % 2 == 0 ? 1 : 8, .st_info = STT_FUNC, .st_shndx = 1, .st_value = 0x100 * i, .st_size = 0x80};
	f->note = (Elf64_Nhdr){.n_namesz = 4, .n_descsz = 20, .n_type = NT_GNU_BUILD_ID};
	memcpy(f->note_text, "GNU", 4);
}

static void give_profile(void) {
	static hypi_site sites[2];
	static uintptr_t frames[ADDRESSES];
	for (unsigned i = 0; i < ADDRESSES; i++) frames[i] = BASE + 0x40 + 0x80 * i;
	sites[1] = (hypi_site){.first = 0, .depth = ADDRESSES, .picks = 1};
	hypi_profile_data.sites = sites;
	hypi_profile_data.site_count = 2;
	hypi_profile_data.frames = frames;
	hypi_profile_data.frame_count = ADDRESSES;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
	static uint8_t image[FILE_BYTES];
	static char lines[128];
	snprintf(lines, sizeof lines, "%x-%x r-xp 00000000 08:01 77 /fuzz/library.so\n", BASE, BASE + 0x10000);
	hypi_maps_load(lines);
	give_profile();
	sound((file *)(void *)image);
	_Static_assert(sizeof(file) <= FILE_BYTES, "it has room");
	if (count > 0 && bytes[0] == 1) {
		fuzz_file("/fuzz", "library.so", bytes + 1, count - 1);
	} else {
		for (size_t at = 1; at + 3 <= count;) {
			size_t where = (size_t)(bytes[at] | bytes[at + 1] << 8) % sizeof(file), n = bytes[at + 2];
			for (at += 3; n > 0 && at < count; n--, at++) image[where++ % sizeof image] = bytes[at];
		}
		fuzz_file("/fuzz", "library.so", image, sizeof(file));
	}
	hypi_symbols s;
	must(hypi_symbols_init(&s));
	for (unsigned i = 0; i < ADDRESSES; i++) {
		char name[256];
		uintptr_t pc = hypi_profile_data.frames[i];
		hypi_symbols_name(&s, pc, name, sizeof name);
		must(name[0] != '\0' && strchr(name, '\n') == NULL);
		const hypi_symbol *symbol = hypi_symbols_find(&s, pc);
		must(symbol != NULL && symbol->module == 1);
		const hypi_module *module = hypi_symbols_module(&s, symbol);
		must(module != NULL && strspn(module->build_id, "0123456789abcdef") == strlen(module->build_id));
		if (symbol->start != 0) must(symbol->start < pc && pc - symbol->start <= symbol->size);
	}
	hypi_symbols_fini(&s);
	fuzz_no_files();
	return 0;
}
