/*
 * tests/model/ops.h: streams of allocator operations: made from a seed or from bytes, run against a naive model,
 * written and read as text, and shrunk when they fail.
 *
 * The model is a table of slots. Each holds at most one block: its address, the size asked for, and a pattern that was
 * written all over it. After every operation the ranges of all blocks are disjoint and aligned, their contents are what
 * was written, what calloc gave was zero, and the engine's own checker agrees. The model test, the fault tests and the
 * fuzzer run the same streams.
 *
 * Threads run in lock step: each operation names its thread, and only that one moves. So a stream with many threads,
 * their exits and their successors is as repeatable as one without.
 */
#ifndef HYP_TESTS_MODEL_OPS_H
#define HYP_TESTS_MODEL_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OPS_SLOTS = 256, OPS_THREADS = 6 };

typedef enum op_kind {
	OP_MALLOC,
	OP_CALLOC,
	OP_REALLOC,
	OP_ALIGNED, /* aligned_alloc and posix_memalign by turns */
	OP_FREE,
	OP_FREE_SIZED,
	OP_USABLE,
	OP_TRIM,
	OP_EXIT, /* the thread ends; the next operation that names it starts another */
	OP_KINDS
} op_kind;

typedef struct op {
	uint8_t kind, thread, align_log2;
	uint16_t slot;
	uint64_t size;
} op;

typedef enum ops_profile {
	OPS_TINY,  /* up to 128 bytes */
	OPS_SMALL, /* up to 64 KiB, evenly over the logarithm */
	OPS_EDGES, /* class edges, one less and one more */
	OPS_LARGE, /* whole slices and their neighbours, up to 2 MiB */
	OPS_MIXED, /* all of these, huge ones and impossible ones */
	OPS_PROFILES
} ops_profile;

extern const char *const ops_profile_names[OPS_PROFILES];

/* Fills `ret_ops` with `count` operations by `threads` threads (1 to OPS_THREADS). */
void ops_make(op *ret_ops, size_t count, uint64_t seed, ops_profile profile, unsigned threads);

/* Decodes bytes, any bytes, into at most `most` operations; returns how many. */
size_t ops_decode(const uint8_t *bytes, size_t byte_count, op *ret_ops, size_t most);

/* Text: one operation a line. ops_read returns the number read, SIZE_MAX when a line is none. */
void ops_write(const op *ops, size_t count);
size_t ops_read(const char *path, op *ret_ops, size_t most);

typedef struct ops_rules {
	size_t check_every; /* operations between two runs of the checker; 0: at the end only */
	bool may_fail;      /* requests may fail with ENOMEM, for the OS is made to */
	bool plant;         /* the runner damages a block, to see itself go red */
	/* Called when all operations have run, before what is left is freed; NULL, or what is wrong. May be NULL. */
	const char *(*before_end)(void);
} ops_rules;

/* Runs the stream, frees all, and checks that everything came back. NULL, or what went wrong. */
const char *ops_run(const op *ops, size_t count, const ops_rules *rules);

/* As ops_run, in a process of its own: a crash or a hang is a failure as well. ret_why: at least 512 bytes. */
bool ops_passes(const op *ops, size_t count, const ops_rules *rules, char *ret_why);

/* Takes operations out of a failing stream as long as it still fails (delta debugging: Zeller, Hildebrandt 2002), and
 * makes sizes simpler. Returns how many are left. */
size_t ops_shrink(op *ops, size_t count, const ops_rules *rules);

#endif
