/* tests/model/ops.c: streams from seeds, from bytes, and as text; see ops.h. */
#include "ops.h"

#include "core/size_class.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *const ops_profile_names[OPS_PROFILES] = {"tiny", "small", "edges", "large", "mixed"};

static const char *const kind_names[OP_KINDS] = {"malloc",     "calloc", "realloc", "aligned", "free",
                                                 "free_sized", "usable", "trim",    "exit"};

static uint64_t next(uint64_t *state) { return hypi_mix64(*state += UINT64_C(0x9e3779b97f4a7c15)); }

/* ---- from a seed ---- */

static uint64_t log_even(uint64_t *state, unsigned most_log2) {
	unsigned log2 = (unsigned)(next(state) % most_log2);
	return (UINT64_C(1) << log2) + next(state) % (UINT64_C(1) << log2);
}

static uint64_t size_of(uint64_t *state, ops_profile profile) {
	uint64_t r = next(state);
	switch (profile) {
	case OPS_TINY: return r % 129;
	case OPS_SMALL: return log_even(state, 16);
	case OPS_EDGES: return hypi_class_bytes((unsigned)(r % HYPI_CLASSES)) + (r >> 32) % 3 - 1;
	case OPS_LARGE: return ((r % 128) << HYPI_SLICE_LOG2) + (r >> 32) % 3 - (r % 128 != 0);
	default: break;
	}
	switch (r % 100) {
	case 0: return UINT64_MAX - (r >> 32) % 20000;             /* impossible */
	case 1: return (UINT64_C(1) << (47 + (r >> 32) % 17)) - 1; /* impossible */
	case 2: return log_even(state, 24);
	case 3:
	case 4:
	case 5: return size_of(state, OPS_LARGE);
	default: return size_of(state, (ops_profile)((r >> 32) % OPS_LARGE));
	}
}

static op_kind kind_of(uint64_t r) {
	unsigned x = (unsigned)(r % 1000);
	if (x < 330) return OP_MALLOC;
	if (x < 400) return OP_CALLOC;
	if (x < 500) return OP_REALLOC;
	if (x < 550) return OP_ALIGNED;
	if (x < 900) return OP_FREE;
	if (x < 970) return OP_FREE_SIZED;
	if (x < 994) return OP_USABLE;
	if (x < 997) return OP_TRIM;
	return OP_EXIT;
}

void ops_make(op *ret_ops, size_t count, uint64_t seed, ops_profile profile, unsigned threads) {
	uint64_t state = seed;
	unsigned thread = 0;
	/* The slots in use grow and shrink, so that the heap does too. */
	unsigned width = OPS_SLOTS;
	for (size_t i = 0; i < count; i++) {
		uint64_t r = next(&state);
		if (r % 8 == 0) thread = (unsigned)(r >> 8) % threads;
		if (r % 1024 == 1) width = 1 + (unsigned)(r >> 16) % OPS_SLOTS;
		op *o = &ret_ops[i];
		*o = (op){.kind = kind_of(next(&state)), .thread = (uint8_t)thread};
		o->slot = (uint16_t)(next(&state) % width);
		o->size = size_of(&state, profile);
		uint64_t a = next(&state);
		o->align_log2 = (uint8_t)(a % 64 == 0 ? (a >> 8) % 24 : (a >> 8) % 13);
	}
}

/* ---- from bytes ---- */

size_t ops_decode(const uint8_t *bytes, size_t byte_count, op *ret_ops, size_t most) {
	enum { OP_BYTES = 5 };
	size_t count = byte_count / OP_BYTES;
	if (count > most) count = most;
	for (size_t i = 0; i < count; i++) {
		const uint8_t *b = bytes + i * OP_BYTES;
		op *o = &ret_ops[i];
		*o = (op){.kind = b[0] % 16, .thread = (uint8_t)((b[0] >> 4) % OPS_THREADS), .slot = b[1]};
		if (o->kind >= OP_KINDS) o->kind = o->kind % 2 ? OP_MALLOC : OP_FREE;
		/* A mantissa of 13 bits, moved up or, with the top codes, down from the end of the address space. */
		uint64_t value = (uint64_t)(b[2] | (b[3] & 31) << 8);
		unsigned shift = b[3] >> 5;
		o->size = shift == 7 ? UINT64_MAX - (value << (b[4] % 48)) : value << (shift == 6 ? 11 : shift);
		o->align_log2 = b[4] % 23;
	}
	return count;
}

/* ---- as text ---- */

void ops_write(const op *ops, size_t count) {
	for (size_t i = 0; i < count; i++)
		printf("%s thread=%u slot=%u size=%" PRIu64 " align=%u\n", kind_names[ops[i].kind], ops[i].thread, ops[i].slot,
		       ops[i].size, ops[i].align_log2);
}

static bool read_line(const char *line, op *ret_op) {
	char name[32];
	unsigned thread, slot, align;
	uint64_t size;
	if (sscanf(line, "%31s thread=%u slot=%u size=%" SCNu64 " align=%u", name, &thread, &slot, &size, &align) != 5)
		return false;
	unsigned kind = 0;
	while (kind < OP_KINDS && strcmp(kind_names[kind], name) != 0) kind++;
	if (kind == OP_KINDS || thread >= OPS_THREADS || slot >= OPS_SLOTS || align >= 48) return false;
	*ret_op = (op){(uint8_t)kind, (uint8_t)thread, (uint8_t)align, (uint16_t)slot, size};
	return true;
}

size_t ops_read(const char *path, op *ret_ops, size_t most) {
	FILE *file = fopen(path, "r");
	if (file == NULL) return SIZE_MAX;
	char line[256];
	size_t count = 0;
	bool good = true;
	while (good && count < most && fgets(line, sizeof line, file) != NULL)
		if (line[0] != '#' && line[0] != '\n') good = read_line(line, &ret_ops[count++]);
	fclose(file);
	return good ? count : SIZE_MAX;
}
