/*
 * tracking/cfi.c: see tracking/cfi.h. The format is that of the Linux Standard Base (.eh_frame, .eh_frame_hdr) over
 * DWARF 4, section 6.4. Of all registers only the stack and frame pointer are followed.
 */
#include "tracking/cfi.h"

#include <string.h>

enum { FP = 6, SP = 7, RA = 16, DEPTH = 8 };

typedef struct reader {
	const unsigned char *at, *end;
	bool bad;
} reader;

static uint64_t fixed(reader *r, unsigned bytes) {
	uint64_t value = 0;
	if ((size_t)(r->end - r->at) < bytes) return r->bad = true, 0;
	memcpy(&value, r->at, bytes);
	r->at += bytes;
	return value;
}

static uint64_t uleb(reader *r) {
	uint64_t value = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint64_t byte = fixed(r, 1);
		value |= (byte & 127) << shift;
		if (byte < 128) return value;
	}
	return r->bad = true, 0;
}

static int64_t sleb(reader *r) {
	uint64_t value = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint64_t byte = fixed(r, 1);
		value |= (byte & 127) << shift;
		if (byte < 128) return (int64_t)(byte & 64 && shift < 57 ? value | (~UINT64_C(0) << (shift + 7)) : value);
	}
	return r->bad = true, 0;
}

/* A pointer in one of the encodings DW_EH_PE; the indirect ones only skip. */
static uintptr_t pointer(reader *r, unsigned encoding) {
	uintptr_t base = (encoding & 0x70) == 0x10 ? (uintptr_t)r->at : 0;
	switch (encoding & 15) {
	case 0:
	case 4:
	case 12: return base + fixed(r, 8);
	case 2: return base + fixed(r, 2);
	case 3: return base + fixed(r, 4);
	case 10: return base + (uintptr_t)(int16_t)fixed(r, 2);
	case 11: return base + (uintptr_t)(int64_t)(int32_t)fixed(r, 4);
	case 1: return base + uleb(r);
	case 9: return base + (uintptr_t)sleb(r);
	default: return r->bad = true, 0;
	}
}

typedef struct state {
	uint64_t cfa_register, cfa_bytes;
	int64_t fp_at; /* below the base; 0: unchanged */
	bool expression, outermost;
} state;

typedef struct common {
	uint64_t code_align;
	int64_t data_align;
	unsigned encoding;
	bool augmented, signal;
	reader instructions;
} common;

static reader entry(const unsigned char *at) {
	uint32_t bytes;
	memcpy(&bytes, at, 4);
	bool bad = bytes == 0 || bytes == UINT32_MAX;
	return (reader){.at = at + 4, .end = at + 4 + (bad ? 0 : bytes), .bad = bad};
}

static bool read_common(const unsigned char *at, common *ret_common) {
	reader r = entry(at);
	common c = {0};
	if (fixed(&r, 4) != 0) return false;
	unsigned version = (unsigned)fixed(&r, 1);
	const char *augmentation = (const char *)r.at;
	while (fixed(&r, 1) != 0 && !r.bad) continue;
	c.code_align = uleb(&r);
	c.data_align = sleb(&r);
	if (version == 1) fixed(&r, 1);
	else uleb(&r);
	if (*augmentation == 'z') {
		uint64_t bytes = uleb(&r);
		const unsigned char *end = r.at + bytes;
		c.augmented = true;
		for (augmentation++; *augmentation != '\0' && !r.bad; augmentation++) {
			if (*augmentation == 'R') c.encoding = (unsigned)fixed(&r, 1);
			else if (*augmentation == 'L') fixed(&r, 1);
			else if (*augmentation == 'P') pointer(&r, (unsigned)fixed(&r, 1));
			else if (*augmentation == 'S') c.signal = true;
		}
		if (end > r.end || end < r.at) return false;
		r.at = end;
	} else if (*augmentation != '\0') {
		return false;
	}
	c.instructions = r;
	*ret_common = c;
	return !r.bad;
}

static void saved(state *s, uint64_t reg, int64_t at) {
	if (reg == FP) s->fp_at = -at;
}

/* One of the operations without operands in the opcode; false: unknown. */
static bool extended(reader *r, const common *c, unsigned op, state *s, const state *initial, uintptr_t *location) {
	uint64_t reg;
	switch (op) {
	case 0x00: return true;
	case 0x02: return *location += fixed(r, 1) * c->code_align, true;
	case 0x03: return *location += fixed(r, 2) * c->code_align, true;
	case 0x04: return *location += fixed(r, 4) * c->code_align, true;
	case 0x05: return reg = uleb(r), saved(s, reg, (int64_t)uleb(r) * c->data_align), true;
	case 0x06: return reg = uleb(r), reg == FP ? (void)(s->fp_at = initial->fp_at) : (void)0, true;
	case 0x07: return uleb(r) == RA ? (void)(s->outermost = true) : (void)0, true;
	case 0x08: return uleb(r) == FP ? (void)(s->fp_at = 0) : (void)0, true;
	case 0x09: return uleb(r), uleb(r), true;
	case 0x0c: return s->cfa_register = uleb(r), s->cfa_bytes = uleb(r), s->expression = false, true;
	case 0x0d: return s->cfa_register = uleb(r), s->expression = false, true;
	case 0x0e: return s->cfa_bytes = uleb(r), true;
	case 0x0f: {
		uint64_t bytes = uleb(r);
		s->expression = true;
		return bytes <= (uint64_t)(r->end - r->at) ? r->at += bytes, true : false;
	}
	case 0x10:
	case 0x16: {
		if (uleb(r) == FP) s->expression = true;
		uint64_t bytes = uleb(r);
		return bytes <= (uint64_t)(r->end - r->at) ? r->at += bytes, true : false;
	}
	case 0x11: return reg = uleb(r), saved(s, reg, sleb(r) * c->data_align), true;
	case 0x12: return s->cfa_register = uleb(r), s->cfa_bytes = (uint64_t)(sleb(r) * c->data_align), true;
	case 0x13: return s->cfa_bytes = (uint64_t)(sleb(r) * c->data_align), true;
	case 0x14: return uleb(r), uleb(r), true;
	case 0x2e: return uleb(r), true;
	default: return false;
	}
}

/* Runs the instructions up to `pc`; false: malformed or unknown. */
static bool execute(reader r, const common *c, state *s, const state *initial, uintptr_t location, uintptr_t pc) {
	state kept[DEPTH];
	unsigned depth = 0;
	while (r.at < r.end && location <= pc && !r.bad) {
		unsigned op = (unsigned)fixed(&r, 1), low = op & 63;
		switch (op >> 6) {
		case 1: location += low * c->code_align; continue;
		case 2: saved(s, low, (int64_t)uleb(&r) * c->data_align); continue;
		case 3:
			if (low == FP) s->fp_at = initial->fp_at;
			continue;
		default: break;
		}
		if (op == 0x0a) {
			if (depth == DEPTH) return false;
			kept[depth++] = *s;
		} else if (op == 0x0b) {
			if (depth == 0) return false;
			*s = kept[--depth];
		} else if (!extended(&r, c, op, s, initial, &location)) {
			return false;
		}
	}
	return !r.bad;
}

/* The frame description that may cover `pc`, by binary search of the header's sorted table; NULL: none. */
static const unsigned char *search(const unsigned char *header, uintptr_t pc) {
	if (header[0] != 1 || header[2] != 0x03 || header[3] != 0x3b) return NULL; /* what every linker writes */
	reader r = {.at = header + 4, .end = header + 64};
	pointer(&r, header[1]);
	uint32_t low = 0, high = (uint32_t)fixed(&r, 4);
	const unsigned char *table = r.at;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int32_t start;
		memcpy(&start, table + (size_t)middle * 8, 4);
		if ((uintptr_t)header + (uintptr_t)(intptr_t)start <= pc) low = middle + 1;
		else high = middle;
	}
	if (low == 0) return NULL;
	int32_t at;
	memcpy(&at, table + (size_t)(low - 1) * 8 + 4, 4);
	return header + at;
}

hypi_cfi_rule hypi_cfi_find(const unsigned char *header, uintptr_t pc) {
	const hypi_cfi_rule none = {.kind = HYPI_CFI_NONE};
	const unsigned char *description = search(header, pc);
	if (description == NULL) return none;
	reader r = entry(description);
	const unsigned char *id_at = r.at;
	uint64_t id = fixed(&r, 4);
	common c;
	if (r.bad || id == 0 || !read_common(id_at - id, &c) || c.signal) return none;
	uintptr_t begin = pointer(&r, c.encoding), bytes = pointer(&r, c.encoding & 15);
	if (r.bad || pc < begin || pc - begin >= bytes) return none;
	if (c.augmented) {
		uint64_t skip = uleb(&r);
		if (skip > (uint64_t)(r.end - r.at)) return none;
		r.at += skip;
	}
	state s = {0}, initial = {0};
	if (!execute(c.instructions, &c, &s, &initial, 0, 0)) return none;
	initial = s;
	if (!execute(r, &c, &s, &initial, begin, pc)) return none;
	if (s.outermost) return (hypi_cfi_rule){.kind = HYPI_CFI_END};
	if (s.expression || (s.cfa_register != SP && s.cfa_register != FP) || s.fp_at < 0) return none;
	return (hypi_cfi_rule){.kind = s.cfa_register == SP ? HYPI_CFI_SP : HYPI_CFI_FP,
	                       .cfa_bytes = (uint32_t)s.cfa_bytes,
	                       .fp_bytes = (uint32_t)s.fp_at};
}
