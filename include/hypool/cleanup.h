/*
 * hypool/cleanup.h: giving memory back: by hand, by itself, and by moving blocks.
 *
 * A cleanup of a pool has two halves. Compaction moves blocks that are known by handle and that nobody has locked out
 * of sparse spans and arenas, so that these run empty; blocks by pointer and locked ones never move. Purging then gives
 * every unused page back. What is told of it is measured: bytes are those that the system took back, and those by which
 * the pool's spans and runs became fewer; a plan's figures are called planned.
 *
 * Nothing runs by itself unless a pool's configuration (or hyp_cleanup_automatic) asks for it. Then one thread serves
 * all such pools; it blocks every signal, and ends with the last of them. A child of fork has no such thread until it
 * makes a pool that asks, or calls any function of this header.
 *
 * Every function may be called by any thread; a pool may be destroyed or reset meanwhile only as hypool/pool.h says (the
 * library's own thread keeps out of a pool that goes).
 */
#ifndef HYPOOL_CLEANUP_H
#define HYPOOL_CLEANUP_H

#include <hypool/pool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Why a cleanup ran. */
typedef enum hyp_cleanup_cause {
	HYP_CLEANUP_MANUAL,   /* hyp_cleanup_run */
	HYP_CLEANUP_IDLE,     /* nothing was allocated or freed for idle_interval_ms */
	HYP_CLEANUP_PERIODIC, /* period_ms are over */
	HYP_CLEANUP_PRESSURE, /* the pool's use of its limits reached pressure_threshold, or the system is short of memory */
	HYP_CLEANUP_EMERGENCY, /* the system's pressure is critical, or hyp_cleanup_relieve was called */
	HYP_CLEANUP_WANTED,    /* the pool's own strategy said so */
	HYP_CLEANUP_DEVICE,    /* the device's memory, which the pool's backing tells of, is used to pressure_threshold */
	HYP_CLEANUP_CAUSES     /* how many there are */
} hyp_cleanup_cause;

/* What a cleanup shall do. Start from hyp_cleanup_request_init. */
typedef struct hyp_cleanup_request {
	size_t struct_bytes;
	bool compact; /* move blocks; true */
	bool purge;   /* give unused pages back; true */
	bool dry_run; /* only plan; false */
	/* Which blocks may move: all of these must hold. */
	int device;             /* of the pool; -1: any. A pool of another device is left alone. */
	uint64_t least_age_ms;  /* since they were allocated; 0 */
	uint64_t least_idle_ms; /* since they were last locked, by the pool's clock (hypool/handle.h); 0 */
	size_t least_bytes;     /* as asked for; 0 */
	size_t most_bytes;      /* 0: no bound */
	size_t most_held_bytes; /* 4 MiB; 0: no bound. While a block is copied whoever wants to lock it waits: larger ones
	                         * are left alone, as locked ones are */
	/* When the cleanup ends early. The next one of the pool with the same choice of blocks goes on where it ended. */
	uint64_t budget_ms;  /* 100; 0: no bound. By the clock, of all of it: planning, moving and giving back are cut
	                      * where it ends; but a dry run plans whole */
	size_t budget_bytes; /* copied; 0: no bound */
} hyp_cleanup_request;

HYP_API void hyp_cleanup_request_init(hyp_cleanup_request *ret_request);

/* What a cleanup did. */
typedef struct hyp_cleanup_result {
	size_t struct_bytes; /* set by the caller to sizeof(hyp_cleanup_result) */
	char pool[32];       /* its name */
	hyp_cleanup_cause cause;
	bool more;                    /* a budget ended it: there is more to plan, to move or to purge */
	uint64_t when_ms;             /* it began; monotonic clock */
	uint64_t duration_ns;         /* all of it */
	uint64_t moving_ns;           /* of that, planning and moving */
	uint64_t planning_ns;         /* of that, planning; 0: it went on with a plan that was made before */
	uint64_t longest_ns;          /* the longest that any one block could not be locked */
	uint64_t longest_bytes;       /* the largest block that was copied */
	uint64_t planned_blocks;      /* to move, by the plan, once it is made */
	uint64_t planned_bytes;       /* of them */
	uint64_t planned_freed_bytes; /* of spans that the plan empties, less those that it fills anew */
	uint64_t planned_arenas;      /* that the plan empties */
	uint64_t moved_blocks;
	uint64_t moved_bytes;
	uint64_t locked_blocks; /* that would have moved */
	uint64_t freed_bytes;   /* by which the pool's spans and runs in use became fewer */
	uint64_t freed_arenas;  /* by which its arenas became fewer; one that is empty is kept */
	uint64_t purged_bytes;  /* that the system took back */
	uint64_t resident_before_bytes, resident_after_bytes; /* of the process, by the kernel; 0: unknown */
} hyp_cleanup_result;

/* Cleans a pool up now. `request` may be NULL for the defaults; ret_result may be NULL. What the calling thread keeps
 * for its next requests goes back too. Spans whose last blocks were another thread's go back when that thread next
 * allocates or frees, or ends. HYP_ERR_INVALID, HYP_ERR_DEVICE (the pool is on another device), HYP_ERR_BUSY (another
 * cleanup of the pool runs), HYP_ERR_NO_MEMORY (for the plan; the pool was purged all the same). Cost: one look at each
 * handle, a copy of what moves; while one block is copied whoever wants to lock it waits. */
HYP_API HYP_NODISCARD hyp_status hyp_cleanup_run(hyp_pool *pool, const hyp_cleanup_request *request,
                                                 hyp_cleanup_result *ret_result);

/* Turns the automatic cleanup of a pool on, with these settings (NULL: the defaults of hyp_pool_config_init), or
 * changes it. HYP_ERR_INVALID: a field is refused; HYP_ERR_OS: no thread could be started. */
HYP_API HYP_NODISCARD hyp_status hyp_cleanup_automatic(hyp_pool *pool, const hyp_pool_cleanup *settings);
/* Turns it off. When it returns, the library's thread is not in the pool. */
HYP_API void hyp_cleanup_manual(hyp_pool *pool);

/* Sums over all cleanups of a pool that were no dry runs. */
typedef struct hyp_cleanup_stats {
	size_t struct_bytes;                   /* set by the caller to sizeof(hyp_cleanup_stats) */
	uint64_t runs;                         /* of all causes */
	uint64_t by_cause[HYP_CLEANUP_CAUSES]; /* by hyp_cleanup_cause */
	uint64_t moved_blocks, moved_bytes, locked_blocks;
	uint64_t freed_bytes, purged_bytes;
	uint64_t duration_ns, longest_ns, longest_run_ns;
	bool automatic; /* now */
} hyp_cleanup_stats;

HYP_API HYP_NODISCARD hyp_status hyp_cleanup_stats_get(hyp_pool *pool, hyp_cleanup_stats *ret_stats);

/* The last cleanups of all pools that were no dry runs, newest first: at most `capacity`. Returns how many there are, at
 * most 64. */
HYP_API size_t hyp_cleanup_history(hyp_cleanup_result *ret_results, size_t capacity);

/* ---- blocks by pointer ----
 * hypool never moves them, but a program that knows all of its pointers to a block can, and these functions say when that
 * is worth while and carry it out. They know the spans of the calling thread: a block that another thread allocated, a
 * large one, and one that hardening or the profiler keeps apart is never worth moving. Cost of a question: the page map,
 * and now and then a look at the thread's spans of the block's size. */

/* Whether moving this block now would help to empty its span: the span is one of the sparsest of its size, and the others
 * have room for what they hold. `p` is a live block, by its first byte. */
HYP_API bool hyp_defrag_hint(const void *p);

typedef struct hyp_defrag_info {
	size_t block_bytes;   /* usable; 0: hypool does not know the pointer */
	size_t span_bytes;    /* of the span that it lies in; large: of the block */
	uint32_t span_blocks; /* that the span can hold; 1: a large block */
	uint32_t span_live;   /* of them in use, those that the thread keeps for its next requests included; 0: not known */
	uint32_t class_spans; /* of the thread's spans of this size, those that are not full */
	double class_use;     /* of these spans, which part is in use; 0: none */
	bool mine;            /* the calling thread's: what was said of span and size is known */
	bool worth;           /* as hyp_defrag_hint */
} hyp_defrag_info;

/* The same of many blocks, in one look at the spans of each size: cheaper than as many hints. NULL is a pointer that hypool
 * does not know. */
HYP_API void hyp_defrag_query(const void *const *pointers, size_t count, hyp_defrag_info *ret_infos);

/* Moves those of `count` blocks of a pool (NULL: the default one) that are worth it to fuller spans, and frees them where
 * they were: ret_moved[i] is where the i-th is now, NULL: it stayed. The caller then mends its own pointers; nobody may
 * use the blocks meanwhile. No pointer may occur twice. Alignments are kept. Returns how many moved. Batches of thousands
 * are cheapest: each begins and ends with a return of what the thread keeps for its next requests, and sorts its spans. */
HYP_API size_t hyp_defrag_move(hyp_pool *pool, void *const *pointers, size_t count, void **ret_moved);

/* ---- what a program can give back itself ---- */

/* Asked to give back at least `wanted_bytes`; returns how many it freed, by its own count. Called outside every lock,
 * by the library's thread or by the caller of hyp_cleanup_relieve; may allocate and free. */
typedef size_t hyp_reclaimer(void *context, size_t wanted_bytes, hyp_cleanup_cause cause);

/* Registers one; those with a higher priority are asked first. HYP_ERR_LIMIT: 32 are registered. */
HYP_API HYP_NODISCARD hyp_status hyp_cleanup_add(hyp_reclaimer *reclaimer, void *context, int priority, int *ret_id);
/* When it returns, the reclaimer does not run and will not (it may be called by the reclaimer itself, which then runs
 * to its end). */
HYP_API void hyp_cleanup_remove(int id);

/* What is done when memory is short, cheapest first. Each is measured by the fall of the process's resident memory. */
typedef enum hyp_relief_stage {
	HYP_RELIEF_CACHES,     /* what the calling thread keeps for its next requests, in every pool */
	HYP_RELIEF_PAGES,      /* unused pages of every pool */
	HYP_RELIEF_RECLAIMERS, /* what the program registered; and the pages that this freed */
	HYP_RELIEF_COMPACTION, /* of every pool; and the pages that this freed */
	HYP_RELIEF_STAGES
} hyp_relief_stage;

typedef struct hyp_relief {
	size_t struct_bytes;                        /* set by the caller to sizeof(hyp_relief) */
	uint32_t stages;                            /* that were done: the first so many */
	uint64_t purged_bytes[HYP_RELIEF_STAGES];   /* that the system took back in each */
	uint64_t resident_bytes[HYP_RELIEF_STAGES]; /* by which the process's resident memory fell in each */
	uint64_t claimed_bytes;                     /* what the reclaimers said */
} hyp_relief;

/* Does stage after stage until the process's resident memory has fallen by `wanted_bytes`. */
HYP_API HYP_NODISCARD hyp_status hyp_cleanup_relieve(uint64_t wanted_bytes, hyp_relief *ret_relief);

/* ---- a pool's use of its limits, and what lives in it ---- */

/* How much of its tighter limit a pool uses: spans and runs over max_small_bytes or max_large_bytes; 0 when it has
 * none. NONE, or from tracking.pressure_threshold_ratio (0.8 without tracking) on MEDIUM, from halfway between that and
 * the limit on HIGH, from nine tenths of the way CRITICAL. */
HYP_API hyp_pressure_level hyp_pool_pressure(hyp_pool *pool, double *ret_ratio);

typedef struct hyp_pool_leaks {
	size_t struct_bytes;    /* set by the caller to sizeof(hyp_pool_leaks) */
	uint64_t blocks, bytes; /* live now, exactly; bytes in usable sizes */
	uint64_t handles;       /* of the blocks, those by handle */
	uint64_t sampled_sites; /* call sites that the profiler knows of them */
	uint64_t rising;        /* how many times in a row the background thread found more of them, every
	                         * tracking.leak_detection_interval_ms; 0 without enable_cleanup */
} hyp_pool_leaks;

/* Everything that lives in a pool: all of it would leak if the program forgot it, and all of it goes with the pool. At
 * the destroying of a pool that tracks leaks the report is written to descriptor 2 if anything lives (tracking.report_fd).
 * `fd`: where to write the report, with the size classes and, from level standard on, the sampled call sites;
 * negative: nowhere. */
HYP_API HYP_NODISCARD hyp_status hyp_pool_leaks_find(hyp_pool *pool, int fd, hyp_pool_leaks *ret_leaks);

#ifdef __cplusplus
}
#endif

#endif
