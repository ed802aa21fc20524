/*
 * tracking/box.h: the profile in a file that outlives the process, for `hypool run`.
 *
 * A program that ends by a signal, _exit or exec runs no exit handlers. So `hypool run` makes a file in memory and names
 * it to the program (option profile_box); the program keeps the call sites' tables in it, mapped shared, and beside them
 * what else a report needs. When the program left no report, the command reads the box and writes the report itself.
 * (The flight recorder of an aircraft, and of many a kernel.)
 *
 * The file belongs to one process id, the first that opens it; after an exec the new program takes it over, empty. A child that was
 * forked leaves it: it gets the tables in memory of its own. Nobody but the process writes to it while it lives; the
 * command reads when it is dead, and checks each number, for the end may have come in the middle of a change.
 *
 * Lock: the profile's for tables and `profile`; what is refreshed by the clock has a lock of its own, only ever tried.
 */
#ifndef HYPI_TRACKING_BOX_H
#define HYPI_TRACKING_BOX_H

#include "core/size_class.h"
#include "tracking/pools.h"
#include "tracking/profile.h"
#include "tracking/timeline.h"

#include <hypool/stats.h>

#define HYPI_BOX_MAGIC UINT64_C(0x31786f62706f7968) /* "hypobox1" in memory order; changes with any of the structs */
enum { HYPI_BOX_COMMAND = 400, HYPI_BOX_MAPS = 1 << 17 };

typedef struct hypi_box {
	uint64_t magic, struct_bytes;
	_Atomic uint64_t pid;      /* 0: nobody's yet */
	_Atomic uint32_t finished; /* the process wrote its report itself */
	uint32_t tick_count, pool_count, maps_bytes;
	uint64_t peak_bytes; /* of the timeline */
	char command[HYPI_BOX_COMMAND];
	hypi_profile profile; /* its pointers mean nothing */
	hyp_stats stats;
	hyp_class_stats classes[HYPI_CLASSES];
	hypi_tick ticks[HYPI_TICKS];
	hypi_tracked_pool pools[HYPI_TRACKED_POOLS];
	char maps[HYPI_BOX_MAPS]; /* the lines of /proc/self/maps that are code */
} hypi_box;

/* The tables follow, at multiples of this. */
#define HYPI_BOX_TABLES ((sizeof(hypi_box) + 65535) / 65536 * 65536)

/* Opens the box that `path` names. False: there is none, or it is another process's. */
bool hypi_box_open(const char *path);

/* Memory for the tables: in the box when it is open; NULL: it is not. */
char *hypi_box_tables(void);

extern hypi_box *hypi_box_now; /* NULL: none; set before the tables are made, cleared in a forked child */

/* Under the profile's lock, after a change: keeps what is beside the tables. */
HYP_INLINE void hypi_box_keep(void) {
	if (HYP_UNLIKELY(hypi_box_now != NULL)) hypi_box_now->profile = hypi_profile_data;
}

/* Under the profile's lock: a call site with these frames is new; code that is not known yet is looked for at the next look. */
void hypi_box_note_frames(const uintptr_t *frames, unsigned depth);

/* Called now and then, without the profile's lock: refreshes the rest when it is time. */
void hypi_box_look(uint64_t now_ms);

/* Under the profile's lock, in a process that may be a forked child: leaves the parent's box. */
void hypi_box_leave(void);

/* The process writes its report itself. */
void hypi_box_finish(void);

/* For the command: how large the file is to be. */
size_t hypi_box_bytes(void);

/* For the command: makes the box of a dead process what this one reports of. False: there is nothing in it. */
bool hypi_box_load(const void *file, size_t bytes);

/* What a report is about: this process, or the box that was loaded. */
int hypi_subject_pid(void);
const char *hypi_subject_command(void); /* NULL: this process's */
bool hypi_subject_ended(void);          /* it is a box: of a program that wrote no report */
void hypi_subject_stats(hyp_stats *ret_stats);
void hypi_subject_classes(hyp_class_stats *ret_classes);

#endif
