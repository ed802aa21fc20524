/*
 * interpose/cmd/model.h: a report file (lib/tracking/native.c says its format) in memory.
 */
#ifndef HYPI_INTERPOSE_CMD_MODEL_H
#define HYPI_INTERPOSE_CMD_MODEL_H

#include "base/compiler.h"

typedef struct model_pair {
	char *key, *value;
} model_pair;

typedef struct model_class {
	uint64_t bytes, allocations, frees, active, span_bytes;
} model_class;

typedef struct model_tick {
	uint64_t ms, committed, resident, live;
} model_tick;

typedef struct model_frame {
	uint64_t pc;
	uint32_t module;
	char *name;
} model_frame;

/* In the order of the file's fields. */
typedef enum model_number {
	COUNT,
	BYTES,
	LIVE_COUNT,
	LIVE_BYTES,
	PEAK_BYTES,
	BRIEF,
	LIFE_MS,
	FIRST_MS,
	LAST_MS,
	SLACK,
	LOST_COUNT,
	LOST_BYTES,
	AT_PEAK_COUNT,
	AT_PEAK_BYTES,
	POOL,
	MODEL_NUMBERS
} model_number;

typedef struct model_site {
	uint64_t n[MODEL_NUMBERS];
	uint32_t confidence;     /* percent, of LOST_*; 0: nothing was lost */
	uint32_t depth, *frames; /* innermost first; index in frames */
	char *key;               /* function names, innermost first, joined by ';' */
} model_site;

typedef struct model_arena {
	uint64_t base, slices, slice_bytes;
	char *map;
} model_arena;

typedef struct model_pool {
	uint64_t number, gone, committed, limit, live_bytes, live_count, allocations, allocated_bytes, failures, level;
	char *name;
} model_pool;

typedef struct model_anomaly {
	char *kind;
	uint64_t from_ms, to_ms, bytes, score; /* bytes: of a drop, how many fewer */
} model_anomaly;

typedef struct model_advice {
	char *kind, *text;
	uint64_t bytes;
} model_advice;

typedef struct model {
	model_pair *meta, *stats, *modules; /* modules: build id and path */
	model_class *classes;
	model_tick *ticks;
	model_frame *frames; /* [0] is unknown */
	model_site *sites;
	model_arena *arenas;
	model_advice *advice;
	model_pool *pools;
	model_anomaly *anomalies;
	size_t meta_count, stat_count, module_count, class_count, tick_count, frame_count, site_count, arena_count,
		advice_count, pool_count, anomaly_count;
	char *text;
} model;

/* Reads a report. NULL with a message on descriptor 2: no such file, or no whole report. */
model *model_load(const char *path);
bool model_is_exact(const model *m); /* its call sites are counted, not scaled up from samples */
void model_free(model *m);

const char *model_meta(const model *m, const char *key);   /* "" when absent */
double model_meta_number(const model *m, const char *key); /* 0 when it is none */
uint64_t model_stat(const model *m, const char *name);

/* The function that a site is known by: the innermost that is not one of an allocator. */
const char *model_place(const model *m, const model_site *site);

/* The name of a site's pool; NULL: the default pool, or none that is known. */
const char *model_pool_name(const model *m, const model_site *site);

/* One row for all sites that are known by the same function: sums, and the largest site for its stack. */
typedef struct model_group {
	const char *place;
	uint64_t bytes, count;
	const model_site *largest;
	size_t sites;
} model_group;

/* Groups by one pair of numbers, largest first, without those that have none; the caller frees the array. */
model_group *model_grouped(const model *m, model_number by, model_number count, size_t *ret_groups);

/* Sites sorted by one of their numbers, largest first; the caller frees the array. */
const model_site **model_sorted(const model *m, model_number by);

/* Sums over all sites. */
uint64_t model_sum(const model *m, model_number what);

/* The report as text, as JSON, and as a page, on a stream. `top`: functions at most in each part; `brief`: the parts that
 * one wants to see after every run. */
#include <stdio.h>
void model_print(const model *m, FILE *to, unsigned top, bool brief);
void model_print_json(const model *m, FILE *to);
void model_print_html(const model *m, FILE *to);
void model_print_folded(const model *m, FILE *to);

#endif
