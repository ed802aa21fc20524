/*
 * tracking/timeline.h: memory over time.
 *
 * Two records. The ticks are the whole life of the process in at most HYPI_TICKS points: when they are full every second
 * one is dropped and the distance doubles. The events are the last so many single ones, in a ring, when asked for.
 * Ticks have a lock of their own that is only ever tried on an allocation path; events are under the profile's lock.
 */
#ifndef HYPI_TRACKING_TIMELINE_H
#define HYPI_TRACKING_TIMELINE_H

#include "base/compiler.h"
#include "base/out.h"

#include <hypool/tracking.h>

#include <stdatomic.h>

enum { HYPI_TICKS = 512 };

typedef struct hypi_tick {
	uint64_t ms; /* since the timeline started */
	uint64_t committed_bytes, resident_bytes;
	double live_bytes; /* by the profiler's estimate; 0 without it */
} hypi_tick;

typedef struct hypi_event {
	uint64_t ns; /* since the timeline started */
	uintptr_t address;
	uint64_t bytes;
	float live_bytes;
	uint32_t site, thread;
	int16_t device;
	uint8_t kind; /* hyp_timeline_event_kind */
} hypi_event;

/* Starts the ticks every `every_ms`, and the ring of `events` (0: none). False: no memory. */
bool hypi_timeline_start(uint64_t every_ms, uint32_t events);
void hypi_timeline_stop(void);
bool hypi_timeline_running(void);

/* Called now and then: adds a tick when it is time. Never blocks, never allocates. */
void hypi_timeline_look(uint64_t now_ms);
void hypi_timeline_fork_child(void);
/* Adds a tick whatever the time. */
void hypi_timeline_tick(void);

/* Under the profile's lock. */
void hypi_timeline_event(hyp_timeline_event_kind kind, uintptr_t address, uint64_t bytes, uint32_t site,
                         double live_bytes);
/* An event that is no sample; takes the lock itself. False: none are kept. */
bool hypi_timeline_note(hyp_timeline_event_kind kind, uintptr_t address, uint64_t bytes, int32_t device);

/* Under the profile's lock: the i-th of those kept and not too old, oldest first; NULL: there are no more. */
const hypi_event *hypi_timeline_event_at(uint64_t i);

/* tracking/leaks_device.c, under the profile's lock: a line for each device that has blocks which were made and not freed,
 * as the kept events say. */
void hypi_leaks_write_devices(hypi_out *out);

/* The ring's memory, for who looks for pointers. */
void hypi_timeline_range(uintptr_t *ret_start, uintptr_t *ret_end);

/* tracking/query.c: what stands out among the ticks; returns how many of at most `capacity`. */
unsigned hypi_timeline_find_anomalies(const hypi_tick *ticks, unsigned ticks_count, hyp_anomaly *ret_anomalies,
                                      unsigned capacity);

/* The most that was in use at any tick, also in blocks with a mapping of their own. */
uint64_t hypi_timeline_peak_bytes(void);

/* Takes another process's for its own: tracking/box.h. At most HYPI_TICKS. */
void hypi_timeline_load(const hypi_tick *ticks, unsigned count, uint64_t peak_bytes);

/* Copies the ticks, oldest first; returns how many. */
unsigned hypi_timeline_ticks(hypi_tick *ret_ticks, unsigned capacity);

#endif
