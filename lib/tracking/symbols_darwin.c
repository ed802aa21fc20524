/*
 * tracking/symbols_darwin.c: functions by the dynamic linker (dladdr), which on macOS also knows of local symbols that
 * were not stripped; images by their Mach-O headers, whose LC_UUID stands for the build id. Compiled for macOS, and
 * never run there by us.
 */
#include "base/out.h"
#include "tracking/symbols.h"

#include <dlfcn.h>
#include <mach-o/dyld.h>
#include <mach-o/loader.h>
#include <string.h>

char *hypi_symbols_demangle(const char *name) {
	typedef char *demangle(const char *name, char *buffer, size_t *length, int *status);
	demangle *own = (demangle *)dlsym(RTLD_DEFAULT, "__cxa_demangle");
	int status = 0;
	return own != NULL ? own(name, NULL, NULL, &status) : NULL;
}

static hypi_symbol *symbols_of(const hypi_symbols *s) { return (hypi_symbol *)(void *)s->symbols.at; }

static void read_commands(const struct mach_header_64 *h, hypi_module *m) {
	const char *at = (const char *)(h + 1);
	for (uint32_t i = 0; i < h->ncmds; i++) {
		const struct load_command *c = (const void *)at;
		if (c->cmd == LC_SEGMENT_64) {
			const struct segment_command_64 *segment = (const void *)at;
			if (strcmp(segment->segname, SEG_TEXT) == 0) m->end = m->start + segment->vmsize;
		} else if (c->cmd == LC_UUID) {
			const struct uuid_command *id = (const void *)at;
			for (unsigned k = 0; k < 16; k++) hypi_format(m->build_id + 2 * k, 3, "%02x", id->uuid[k]);
		}
		at += c->cmdsize;
	}
}

bool hypi_symbols_read(hypi_symbols *s) {
	for (uint32_t image = 0; image < _dyld_image_count(); image++) {
		const struct mach_header_64 *h = (const void *)_dyld_get_image_header(image);
		const char *path = _dyld_get_image_name(image);
		if (h == NULL || h->magic != MH_MAGIC_64 || path == NULL) continue;
		hypi_module m = {.start = (uintptr_t)h, .path = hypi_symbols_add_text(s, path)};
		read_commands(h, &m);
		hypi_bytes_add(&s->modules, &m, sizeof m);
		if (s->modules.failed || s->text.failed) return false;
		s->module_count++;
		for (size_t i = hypi_symbols_first(s, m.start); i < s->symbol_count && symbols_of(s)[i].pc < m.end; i++)
			symbols_of(s)[i].module = (uint32_t)s->module_count;
	}
	for (size_t i = 0; i < s->symbol_count; i++) {
		Dl_info info;
		if (dladdr((void *)(symbols_of(s)[i].pc - 1), &info) == 0 || info.dli_sname == NULL) continue;
		size_t name = hypi_symbols_readable(s, info.dli_sname);
		symbols_of(s)[i].name = name;
		symbols_of(s)[i].start = (uintptr_t)info.dli_saddr;
	}
	return !s->text.failed;
}
