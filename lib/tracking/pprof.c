/*
 * tracking/pprof.c: pprof's format: a protocol buffer (profile.proto of github.com/google/pprof) in a gzip file
 * (RFC 1952) of stored blocks (RFC 1951, 3.2.4): a report is small, and the trunk has no compressor.
 */
#include "tracking/write.h"

#include "tracking/pools.h"

#include <string.h>
#include <time.h>

/* ---- protocol buffers ---- */

static void varint(hypi_bytes *b, uint64_t value) {
	unsigned char text[10];
	size_t n = 0;
	for (; value >= 128; value >>= 7) text[n++] = (unsigned char)(value | 128);
	text[n++] = (unsigned char)value;
	hypi_bytes_add(b, text, n);
}

static void number(hypi_bytes *b, unsigned field, uint64_t value) {
	if (value == 0) return;
	varint(b, field << 3);
	varint(b, value);
}

static void chunk(hypi_bytes *b, unsigned field, const void *data, size_t bytes) {
	varint(b, field << 3 | 2);
	varint(b, bytes);
	hypi_bytes_add(b, data, bytes);
}

static void message(hypi_bytes *b, unsigned field, hypi_bytes *part) {
	chunk(b, field, part->at, part->used);
	if (part->failed) b->failed = true;
	part->used = 0;
}

/* ---- gzip ---- */

static uint32_t crc32_of(const unsigned char *at, size_t bytes) {
	uint32_t table[256], crc = UINT32_MAX;
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;
		for (int k = 0; k < 8; k++) c = c & 1 ? UINT32_C(0xedb88320) ^ c >> 1 : c >> 1;
		table[i] = c;
	}
	for (; bytes > 0; bytes--) crc = table[(crc ^ *at++) & 255] ^ crc >> 8;
	return ~crc;
}

static void little(hypi_bytes *b, uint64_t value, unsigned bytes) {
	for (; bytes > 0; bytes--, value >>= 8) hypi_bytes_add(b, &(unsigned char){(unsigned char)value}, 1);
}

static void gzip(const hypi_bytes *plain, hypi_bytes *to) {
	static const unsigned char head[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};
	hypi_bytes_add(to, head, sizeof head);
	for (size_t at = 0; at < plain->used || at == 0;) {
		size_t bytes = plain->used - at < 65535 ? plain->used - at : 65535;
		little(to, at + bytes == plain->used, 1);
		little(to, bytes, 2);
		little(to, ~bytes, 2);
		hypi_bytes_add(to, plain->at + at, bytes);
		at += bytes;
		if (bytes == 0) break;
	}
	little(to, crc32_of(plain->at, plain->used), 4);
	little(to, plain->used, 4);
	if (plain->failed) to->failed = true;
}

/* ---- the profile ---- */

typedef struct writer {
	const hypi_symbols *symbols;
	hypi_bytes out, part, inner, strings; /* strings: those fields, one after the other */
	uint64_t string_count;
} writer;

static uint64_t string(writer *w, const char *text) {
	chunk(&w->strings, 6, text, strlen(text));
	return w->string_count++;
}

static void value_type(writer *w, unsigned field, const char *type, const char *unit) {
	number(&w->part, 1, string(w, type));
	number(&w->part, 2, string(w, unit));
	message(&w->out, field, &w->part);
}

static uint64_t count_of(double x) { return hypi_whole(x + 0.5); }

static void write_sample(writer *w, const hypi_site *site) {
	for (uint32_t i = 0; i < site->depth; i++) {
		const hypi_symbol *symbol = hypi_symbols_find(w->symbols, hypi_site_frames(site)[i]);
		if (symbol != NULL)
			varint(&w->inner, (uint64_t)(symbol - (const hypi_symbol *)(const void *)w->symbols->symbols.at) + 1);
	}
	message(&w->part, 1, &w->inner);
	varint(&w->inner, count_of(site->count));
	varint(&w->inner, count_of(site->bytes));
	varint(&w->inner, count_of(site->live_count));
	varint(&w->inner, count_of(site->live_bytes));
	message(&w->part, 2, &w->inner);
	if (site->pool != 0) {
		number(&w->inner, 1, string(w, "pool"));
		number(&w->inner, 2, string(w, hypi_tracked_pool_at(site->pool)->name));
		message(&w->part, 3, &w->inner);
	}
	message(&w->out, 2, &w->part);
}

static void write_modules(writer *w) {
	const hypi_module *modules = (const hypi_module *)(const void *)w->symbols->modules.at;
	for (size_t i = 0; i < w->symbols->module_count; i++) {
		number(&w->part, 1, i + 1);
		number(&w->part, 2, modules[i].start);
		number(&w->part, 3, modules[i].end);
		number(&w->part, 4, modules[i].offset);
		number(&w->part, 5, string(w, hypi_symbols_text(w->symbols, modules[i].path)));
		number(&w->part, 6, string(w, modules[i].build_id));
		number(&w->part, 7, 1); /* functions are named here: the tool need not look */
		message(&w->out, 3, &w->part);
	}
}

static void write_locations(writer *w) {
	const hypi_symbol *symbols = (const hypi_symbol *)(const void *)w->symbols->symbols.at;
	for (size_t i = 0; i < w->symbols->symbol_count; i++) {
		char name[512];
		hypi_symbols_name(w->symbols, symbols[i].pc, name, sizeof name);
		uint64_t text = string(w, name);
		number(&w->part, 1, i + 1);
		number(&w->part, 2, text);
		number(&w->part, 3, text);
		message(&w->out, 5, &w->part);
		number(&w->inner, 1, i + 1);
		number(&w->part, 1, i + 1);
		number(&w->part, 2, symbols[i].module);
		number(&w->part, 3, symbols[i].pc - 1);
		message(&w->part, 4, &w->inner);
		message(&w->out, 4, &w->part);
	}
}

void hypi_write_pprof(const hypi_symbols *symbols, hypi_bytes *to) {
	writer w = {.symbols = symbols};
	string(&w, "");
	value_type(&w, 1, "alloc_objects", "count");
	value_type(&w, 1, "alloc_space", "bytes");
	value_type(&w, 1, "inuse_objects", "count");
	value_type(&w, 1, "inuse_space", "bytes");
	const hypi_profile *profile = &hypi_profile_data;
	for (uint32_t i = 0; i < profile->site_count; i++)
		if (profile->sites[i].picks != 0) write_sample(&w, &profile->sites[i]);
	write_modules(&w);
	write_locations(&w);
	/* Frames of allocators say nothing of the site: the tool leaves them out. */
	number(&w.out, 7,
	       string(&w, "malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|memalign|"
	                  "operator new.*|hypi?_.*"));
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	number(&w.out, 9, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
	number(&w.out, 10, (uint64_t)hypi_profile_now_ms() * 1000000u);
	value_type(&w, 11, "space", "bytes");
	number(&w.out, 12, profile->mean_bytes);
	number(&w.out, 14, string(&w, "inuse_space"));
	hypi_bytes_add(&w.out, w.strings.at, w.strings.used);
	if (w.strings.failed || w.part.failed || w.inner.failed) w.out.failed = true;
	gzip(&w.out, to);
	hypi_bytes_fini(&w.out);
	hypi_bytes_fini(&w.part);
	hypi_bytes_fini(&w.inner);
	hypi_bytes_fini(&w.strings);
}
