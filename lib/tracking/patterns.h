/*
 * tracking/patterns.h: what the numbers say about how a program uses memory: each finding with its evidence and one
 * line of advice. Quiet on a program that does nothing of it.
 */
#ifndef HYPI_TRACKING_PATTERNS_H
#define HYPI_TRACKING_PATTERNS_H

#include "tracking/symbols.h"

typedef struct hypi_advice {
	const char *kind; /* size, temporal, lifetime, temporary, leak, fragmentation, slack, outside */
	uint64_t bytes;   /* how much it is about, to sort by */
	const char *text; /* evidence, then advice; one line */
} hypi_advice;

/* The highest that is known of the heap's use: statistics see arenas alone, ticks and samples large mappings too. */
uint64_t hypi_patterns_peak_heap(void);

typedef void hypi_advice_each(void *context, const hypi_advice *advice);

/* Under the profile's lock. */
void hypi_patterns_find(const hypi_symbols *symbols, hypi_advice_each *each, void *context);

#endif
