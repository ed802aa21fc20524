/*
 * tracking/symbols.h: from code addresses to functions, libraries and build ids, at report time.
 *
 * Reads /proc/self/maps and the symbol tables of the ELF files named there (.symtab, else .dynsym), by mapping them.
 * All addresses of a report are looked up at once: each file's table is passed over a single time. C++ names are
 * demangled by the program's own C++ library, when it has one. Not for an allocation path.
 */
#ifndef HYPI_TRACKING_SYMBOLS_H
#define HYPI_TRACKING_SYMBOLS_H

#include "tracking/bytes.h"

typedef struct hypi_module {
	uintptr_t start, end, offset; /* of the code's mapping */
	size_t path;                  /* in `text` */
	char build_id[41];            /* "" when it has none */
	const unsigned char *file;    /* mapped while the tables are read */
	size_t file_bytes;
} hypi_module;

typedef struct hypi_symbol {
	uintptr_t pc;    /* a return address */
	uintptr_t start; /* of the function, in memory; 0: unknown */
	uint32_t module; /* index + 1; 0: none */
	size_t name;     /* in `text`; 0: unknown */
	uint64_t size;   /* of the function */
} hypi_symbol;

typedef struct hypi_symbols {
	hypi_bytes modules, symbols, text; /* symbols are sorted by pc */
	size_t module_count, symbol_count;
} hypi_symbols;

/* Looks up all return addresses of the profile. False: no memory. */
bool hypi_symbols_init(hypi_symbols *s);
void hypi_symbols_fini(hypi_symbols *s);

/* The system's part (symbols_elf.c, symbols_darwin.c): fills in modules, and the functions of the addresses. False: no
 * memory. What it works with: text kept, a name made readable and kept, and the first address from `pc` on. */
bool hypi_symbols_read(hypi_symbols *s);
/* What demangles in place of the program's own C++ library, which the command does not have; NULL: nothing. */
typedef char *hypi_demangler(const char *name, char *buffer, size_t *length, int *status);
extern hypi_demangler *hypi_symbols_demangler;

/* By the program's own C++ library: to be freed; NULL: it has none, or this is no C++ name. */
char *hypi_symbols_demangle(const char *name);
size_t hypi_symbols_add_text(hypi_symbols *s, const char *text);
size_t hypi_symbols_readable(hypi_symbols *s, const char *name);
size_t hypi_symbols_first(const hypi_symbols *s, uintptr_t pc);

/* NULL: it is not among them. */
const hypi_symbol *hypi_symbols_find(const hypi_symbols *s, uintptr_t pc);
const hypi_module *hypi_symbols_module(const hypi_symbols *s, const hypi_symbol *symbol); /* or NULL */

/* "function", or "library+0x1234", or "0x1234"; at most `bytes`. */
void hypi_symbols_name(const hypi_symbols *s, uintptr_t pc, char *ret_name, size_t bytes);
const char *hypi_symbols_text(const hypi_symbols *s, size_t at);

/* How many of a stack's innermost frames are hypool's own, when it is linked into the program itself; `name_of` gives a
 * frame's name. */
unsigned hypi_symbols_own_frames(const char *(*name_of)(void *context, unsigned frame), void *context, unsigned depth);

/* Whether a function is one through which programs allocate (malloc, operator new, ...): it says nothing of the site. */
bool hypi_symbols_is_allocator(const char *name);

#endif
