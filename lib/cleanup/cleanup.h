/*
 * cleanup/cleanup.h: what this layer keeps beside each pool, and its parts.
 *
 * A pool has a record from its first cleanup, or from its making when its configuration asks for anything here. The
 * record hangs at the pool's state (pool/pool.h) and goes with the pool.
 *
 * Locks, outermost first. The start lock (cleanup/thread.c): the background thread begins or ends. A record's run lock: one
 * cleanup of a pool at a time. The table lock: the list of records, their settings and
 * figures, the history and the reclaimers; nothing is called under it but the C library's condition variable. A record's
 * move lock: one block at a time. None of them is held while a callback of the program runs.
 */
#ifndef HYPI_CLEANUP_CLEANUP_H
#define HYPI_CLEANUP_CLEANUP_H

#include "pool/handle.h"

#include <hypool/cleanup.h>

#include <pthread.h>

/* A span (device memory: a slab) or an arena that blocks can be moved out of. Weights are blocks in a span, slices in an
 * arena. Its record may be
 * gone, and be another's, as soon as the large pool's lock is let go: the key is compared, and never followed but for a
 * span of the calling thread's own heap. */
typedef struct hypi_vessel {
	const void *key;       /* hypi_span or hypi_arena; NULL: a free entry, or nothing */
	uintptr_t address;     /* of a block in it */
	size_t bytes;          /* of it */
	uint32_t capacity;     /* weight that it can hold */
	uint32_t movable;      /* weight by handle that may move */
	uint32_t fixed;        /* and that may not: locked, or left alone by the request */
	uint32_t live;         /* all weight, as far as it is known */
	uint32_t first, moves; /* of its moves in the plan's order */
	uint16_t class_index;  /* HYPI_CLASSES: an arena */
	bool mine;             /* a span of the calling thread's heap */
	bool weighed;          /* an arena, or a slab of device memory, that was there when all were weighed */
	bool emptied;          /* the plan empties it */
} hypi_vessel;

typedef struct hypi_move {
	hyp_handle handle;
	size_t bytes;
	uint32_t vessel; /* index */
	uint8_t align_log2;
} hypi_move;

#define HYPI_PLAN_ARENAS 64u
#define HYPI_PURGE_STEP_BYTES ((size_t)4 << 20) /* purged between two looks at the clock */

/* A plan is an order of moves, vessel by vessel, sparsest first. Making it takes a look at every handle, and then an order
 * of all moves; both are cut where a budget ends, and the next cleanup goes on there. So it does with the moves, while
 * `next` < `move_count`. */
typedef enum hypi_plan_stage { HYPI_PLAN_NONE, HYPI_PLAN_LOOKING, HYPI_PLAN_ORDERING, HYPI_PLAN_MADE } hypi_plan_stage;

typedef struct hypi_plan {
	hyp_cleanup_request request; /* that it was made for */
	hypi_plan_stage stage;
	const hypi_heap *mine;     /* whose thread makes it */
	hypi_handle_cursor cursor; /* where the look is */
	uint64_t *by_handle;       /* blocks of each class that handles name, and large ones; in the same mapping */
	hypi_move *ordered;        /* where the moves go; in the same mapping */
	hypi_vessel **order;       /* those that could be emptied; in the same mapping */
	size_t room;               /* for moves */
	size_t order_at;           /* moves before this are in order, or dropped */
	size_t order_count;        /* moves that stay */
	hypi_vessel *vessels;      /* open addressing by key; in one mapping with the moves */
	size_t vessel_capacity, vessel_count;
	hypi_move *moves;
	size_t move_count, next;
	hypi_device_block *aside; /* device memory: blocks that are freed at the end; in the same mapping */
	size_t aside_room;
	size_t mapped_bytes;
	/* Arenas found last, by their addresses; void when the pool has let one go since. The large pool's lock. */
	const hypi_arena *known[HYPI_PLAN_ARENAS];
	uint32_t known_gone;
	uint32_t arenas_made; /* by the pool when the plan was: an arena with a higher number is new */
	uint64_t planned_bytes, planned_freed_bytes, planned_arenas, locked;
} hypi_plan;

typedef struct hypi_cleanup {
	struct hypi_cleanup *next; /* table lock */
	hyp_pool *pool;
	hypi_lock run_lock;
	hypi_lock move_lock;     /* held while a block is held: a fork waits for it */
	hypi_plan plan;          /* run lock */
	uint64_t slice_purge_ns; /* that purging a slice took last time; 0: not known. Run lock, as the next two */
	size_t unpurged_slices;  /* that the last cleanup's purging left, where its budget cut it */
	hyp_cleanup_request purge_request; /* that it was for */
	/* Table lock, all that follows. */
	bool automatic;
	uint32_t inside; /* callers of this layer that are in the pool without the program's knowing */
	uint32_t barred; /* not 0: they must stay out */
	hyp_pool_cleanup settings;
	hyp_pool_tracking tracking;
	bool tracks;
	bool levelled;            /* while the pool is reset: `level` is the pool's own */
	hyp_tracking_level level; /* that it had */
	hyp_cleanup_stats stats;
	uint64_t seen_activity, changed_ms, period_due_ms, leaks_due_ms, pressure_due_ms, device_due_ms;
	bool idle_done;
	uint64_t leak_blocks, leak_rising;
} hypi_cleanup;

/* The record of a pool; `make`: made when there is none. NULL: none, or no memory. */
hypi_cleanup *hypi_cleanup_of(hyp_pool *pool, bool make);

extern pthread_mutex_t hypi_cleanup_table;
extern hypi_cleanup *hypi_cleanup_all; /* table lock */

/* Keeps everybody of this layer out of a pool, waiting until they are; and lets them in again. */
void hypi_cleanup_bar(hypi_cleanup *record);
void hypi_cleanup_unbar(hypi_cleanup *record);

/* Calls `visit` for each pool that has a record and is not going; it stays while it is visited. No lock is held. */
void hypi_cleanup_each(void (*visit)(void *context, hypi_cleanup *record), void *context);

/* ---- plan.c ---- */

/* Begins a plan of what to move; the caller has the pool's run lock. False: no memory. */
bool hypi_plan_begin(hypi_plan *plan, hyp_pool *pool, const hypi_heap *mine, const hyp_cleanup_request *request);
/* Goes on with it until it is made; the caller's heap is the plan's, and it returned what it keeps. False: it is `until_ns`
 * (0: never), and the plan is not made yet. */
bool hypi_plan_go_on(hypi_plan *plan, hyp_pool *pool, uint64_t until_ns);
void hypi_plan_fini(hypi_plan *plan);
/* The vessel of a handle's block, or of a block of the caller's, when the plan knows it. */
const hypi_vessel *hypi_plan_vessel(hypi_plan *plan, hyp_pool *pool, hyp_handle handle);
const hypi_vessel *hypi_plan_vessel_of(hypi_plan *plan, hyp_pool *pool, const hypi_device_block *block);

/* Device memory: slabs that the plan empties hand blocks out last. */
void hypi_plan_put_last(const hypi_plan *plan, hyp_pool *pool);

/* ---- run.c ---- */

/* One cleanup, counted and kept in the history. */
hyp_status hypi_cleanup_do(hyp_pool *pool, const hyp_cleanup_request *request, hyp_cleanup_cause cause,
                           hyp_cleanup_result *ret_result);

/* ---- relieve.c ---- */

/* All stages, or as many as it takes. */
void hypi_cleanup_relieve(uint64_t wanted_bytes, hyp_cleanup_cause cause, hyp_relief *ret_relief);

/* ---- thread.c ---- */

/* Where the system's word of pressure comes from; NULL: from where it usually does. Read when the thread starts; for tests,
 * which are not to depend on how busy the machine is. */
extern const hyp_pressure_config *hypi_cleanup_pressure;

/* Starts the thread when an automatic pool wants it and there is none (a fork may have lost it). False: refused. */
bool hypi_cleanup_thread_wake(void);
/* Ends it when no pool wants it any more. */
void hypi_cleanup_thread_rest(void);
void hypi_cleanup_thread_fork_prepare(void);
void hypi_cleanup_thread_fork_parent(void);
void hypi_cleanup_thread_fork_child(void);

/* ---- track.c: the tracking section of the configuration ---- */

hyp_status hypi_cleanup_track(hypi_cleanup *record, const hyp_pool_tracking *tracking);
/* A reset makes the tracking layer forget the pool's level: keeps it before, and sets it again after. */
void hypi_cleanup_keep_level(hypi_cleanup *record);
hyp_status hypi_cleanup_set_level(hypi_cleanup *record);
/* The pool goes or is reset: its sampled blocks are no more. `report`: of what lives, when it was asked for. */
void hypi_cleanup_forget(hypi_cleanup *record, bool report);
/* The thread: counts what lives when it is time. */
void hypi_cleanup_look_at_leaks(hypi_cleanup *record, uint64_t now_ms);

#endif
