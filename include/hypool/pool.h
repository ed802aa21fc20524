/*
 * hypool/pool.h: pools: sets of arenas with limits, statistics and a life of their own.
 *
 * A pool serves blocks by pointer, as fast as malloc and like it thread-local for small ones, and by handle
 * (hypool/handle.h). Pools are isolated: what one holds counts against its own limits only, and destroying it gives
 * everything back. Every function may be called by any thread, but for hyp_pool_destroy and hyp_pool_reset: no other
 * thread may be inside a call on the pool meanwhile (it may have used the pool before, and after a reset use it again).
 *
 * A pool whose backing is not HYP_BACKING_HOST holds memory that the processor cannot reach: it serves handles only.
 */
#ifndef HYPOOL_POOL_H
#define HYPOOL_POOL_H

#include <hypool/backing.h>
#include <hypool/stats.h>
#include <hypool/status.h>
#include <hypool/tracking.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hyp_pool hyp_pool;

typedef enum hyp_huge_pages {
	HYP_HUGE_DEFAULT,     /* what the option huge_pages says */
	HYP_HUGE_NEVER,       /* no transparent huge pages */
	HYP_HUGE_TRANSPARENT, /* ask for transparent huge pages */
	HYP_HUGE_EXPLICIT     /* pages of the system's huge page pool, or no pool at all */
} hyp_huge_pages;

typedef enum hyp_zero_policy {
	HYP_ZERO_NEVER,    /* but for calloc */
	HYP_ZERO_ON_ALLOC, /* every block reads as zero when handed out */
	HYP_ZERO_ON_FREE   /* every block is cleared when freed, so that what it held cannot be read later */
} hyp_zero_policy;

/* What is asked of tracking for this pool (hypool/tracking.h: hyp_tracking_set_pool_level; hypool/cleanup.h:
 * hyp_pool_leaks_find, hyp_pool_pressure). */
typedef struct hyp_pool_tracking {
	hyp_tracking_level level;            /* STANDARD */
	bool pressure_detection;             /* true */
	bool leak_detection;                 /* true */
	double pressure_threshold_ratio;     /* 0.8 of the limit; above 0, at most 1 */
	uint64_t leak_detection_interval_ms; /* 60000; at least 1; looked at when the pool has automatic cleanup */
	int report_fd;                       /* where what lives at the pool's end is reported: 2; negative: nowhere */
} hyp_pool_tracking;

/* Whether a pool shall be cleaned up now. Called by the library's thread, outside every lock; may allocate and free, but
 * not destroy or reset the pool. */
typedef bool hyp_cleanup_wanted(void *context, hyp_pool *pool);

/* What is asked of automatic cleanup for this pool (hypool/cleanup.h). */
typedef struct hyp_pool_cleanup {
	uint64_t idle_interval_ms; /* 30000; at least 1; once nothing was allocated or freed for so long */
	double
		pressure_threshold; /* 0.9; above 0, at most 1; of a limit of the pool, or of the memory that its backing tells of
	                             * (hyp_backing: usage); looked at every second */
	bool compaction;        /* true */
	uint64_t max_cleanup_ms;    /* 100; at least 1; of moving blocks at a time */
	uint64_t period_ms;         /* 0: never; that often, whatever happens */
	uint64_t least_age_ms;      /* 0; only blocks so old are moved: young ones die soon (Ungar 1984) */
	hyp_cleanup_wanted *wanted; /* NULL; a strategy of the program's own, asked at every look, at least once a second */
	void *wanted_context;
} hyp_pool_cleanup;

/* Asked when a request cannot be met even after the pool gave back what it could. Outside every lock; may allocate and
 * free in this and other pools. True: try again, for at most 8 attempts (attempt counts from 1); false: give up. */
typedef bool hyp_out_of_memory(void *context, hyp_pool *pool, size_t bytes, unsigned attempt);

typedef struct hyp_pool_config {
	size_t struct_bytes;        /* sizeof(hyp_pool_config) */
	const char *name;           /* for reports, NULL: "pool"; copied, at most 31 bytes */
	size_t initial_small_bytes; /* address space reserved at once; default 64 MiB */
	size_t max_small_bytes;     /* most for small blocks, in whole spans; default 512 MiB; 0: no limit */
	size_t initial_large_bytes; /* default 128 MiB */
	size_t max_large_bytes;     /* most for large blocks; default 2 GiB; 0: no limit */
	size_t threshold_bytes;     /* requests from here on are large; 4 KiB to 1 MiB, default 1 MiB */
	const hyp_backing *backing; /* NULL: anonymous host memory, shaped by the next three; copied */
	int numa_node;              /* memory of this node only; -1: any */
	hyp_huge_pages huge_pages;
	bool lock_memory; /* blocks stay in physical memory: locked when handed out, never purged */
	hyp_zero_policy zero;
	hyp_out_of_memory *on_out_of_memory; /* NULL: fail at once */
	void *out_of_memory_context;
	bool enable_tracking; /* false: `tracking` is not looked at */
	bool enable_cleanup;  /* false: `cleanup` is not looked at */
	hyp_pool_tracking tracking;
	hyp_pool_cleanup cleanup;
} hyp_pool_config;

/* Fills in the defaults named above. */
HYP_API void hyp_pool_config_init(hyp_pool_config *ret_config);

/* Makes a pool; `config` may be NULL for the defaults. HYP_ERR_INVALID: a field is refused, and
 * hyp_pool_config_error says which and why. HYP_ERR_UNSUPPORTED: this machine cannot bind to the node, or has no such
 * huge pages. HYP_ERR_NO_MEMORY, HYP_ERR_OS, HYP_ERR_LIMIT (65535 pools exist). Cost: one mapping for each 64 MiB of
 * the initial sizes; nothing is touched. */
HYP_API HYP_NODISCARD hyp_status hyp_pool_create(const hyp_pool_config *config, hyp_pool **ret_pool);

/* Why the calling thread's last hyp_pool_create failed; static, "" when none did. */
HYP_API const char *hyp_pool_config_error(void);

/* Gives everything back, whoever still holds blocks or handles of it. NULL is allowed; the default pool stays. */
HYP_API void hyp_pool_destroy(hyp_pool *pool);

/* As destroying and creating again: all blocks and handles are void, statistics start at 0, memory goes back.
 * HYP_ERR_INVALID: the default pool. */
HYP_API HYP_NODISCARD hyp_status hyp_pool_reset(hyp_pool *pool);

/* The pool behind hyp_malloc, and malloc where hypool replaces it. Never NULL. */
HYP_API hyp_pool *hyp_pool_default(void);

/* The configured name; "default" for the default pool. Lives as long as the pool. */
HYP_API const char *hyp_pool_name(const hyp_pool *pool);

/* ---- blocks by pointer; as the functions of hypool.h of the same names, but for the pool ----
 * NULL with errno ENOMEM; EINVAL for a bad alignment; ENOTSUP when the pool serves handles only. */
HYP_HOT_API void *hyp_pool_malloc(hyp_pool *pool, size_t bytes);
HYP_API void *hyp_pool_calloc(hyp_pool *pool, size_t count, size_t bytes);
HYP_API void *hyp_pool_realloc(hyp_pool *pool, void *p, size_t bytes);
HYP_API void *hyp_pool_aligned_alloc(hyp_pool *pool, size_t alignment, size_t bytes);

/* `p` must be a block of this pool: another pool's ends the process with a line that says so. hyp_free takes blocks of
 * any pool, a little slower. */
HYP_HOT_API void hyp_pool_free(hyp_pool *pool, void *p);
HYP_API size_t hyp_pool_usable_size(hyp_pool *pool, const void *p);

/* The pool that a block belongs to, by its first byte; NULL when hypool does not know the pointer. */
HYP_API hyp_pool *hyp_pool_of(const void *p);

/* Statistics of this pool alone: as hyp_stats_get, hyp_stats_classes and the printing of hypool/stats.h. Bytes and blocks
 * of memory that the processor cannot reach are counted as large. The resident and metadata figures are the process's. */
HYP_API HYP_NODISCARD hyp_status hyp_pool_stats(hyp_pool *pool, hyp_stats *ret_stats);
HYP_API size_t hyp_pool_classes(hyp_pool *pool, hyp_class_stats *ret_classes, size_t capacity);
/* Of all pools together whose memory is on a device (hyp_backing: device; 0: the host, with the default pool): sums, but for
 * largest_free_bytes and the process's figures; pools that are being reset or destroyed are left out. HYP_ERR_NOT_FOUND: no
 * pool is there. */
HYP_API HYP_NODISCARD hyp_status hyp_pool_stats_of_device(int device, hyp_stats *ret_stats);
HYP_API void hyp_pool_print(hyp_pool *pool, int fd);
HYP_API void hyp_pool_print_json(hyp_pool *pool, int fd);

/* How much of what a pool holds serves nobody, from 0 (nothing) towards 1 where it is a part. Every figure follows from
 * hyp_pool_stats, and is 0 where its divisor is. Rounding: only blocks by handle have a known asked size. */
typedef struct hyp_fragmentation {
	size_t struct_bytes; /* set by the caller to sizeof(hyp_fragmentation) */
	double internal;     /* 1 - small_bytes / small_span_bytes: of spans, what is no live block */
	double rounding;     /* 1 - asked / usable bytes: of live blocks by handle, what was not asked for */
	double external;     /* 1 - largest_free_bytes / free_bytes: of free memory, what one request could not have */
	double held;         /* (committed_bytes + dirty_bytes) / current_bytes: 1 is ideal */
	double resident;     /* resident_bytes of the process / current_bytes of this pool: for a process with one pool */
} hyp_fragmentation;

HYP_API HYP_NODISCARD hyp_status hyp_pool_fragmentation(hyp_pool *pool, hyp_fragmentation *ret_fragmentation);

/* Gives unused pages back to the system; returns the bytes. */
HYP_API size_t hyp_pool_trim(hyp_pool *pool);

/* NULL, or what is wrong in the pool's records. No other thread uses the pool meanwhile. For tests; slow. */
HYP_API const char *hyp_pool_check(hyp_pool *pool);

/* ---- backings that come with hypool; close one after the last pool over it is gone ---- */

HYP_API HYP_NODISCARD hyp_status hyp_backing_open_host(int numa_node, hyp_huge_pages huge_pages, bool lock_memory,
                                                       hyp_backing *ret_backing);
/* A new file at `path` (HYP_ERR_EXISTS), as long as the pool needs; it is removed when the backing is closed. */
HYP_API HYP_NODISCARD hyp_status hyp_backing_open_file(const char *path, hyp_backing *ret_backing);
/* Memory without a name in any file system, shared with children of a fork. */
HYP_API HYP_NODISCARD hyp_status hyp_backing_open_shared(hyp_backing *ret_backing);
/* NULL is allowed, and so is any backing that was not opened here: nothing happens. */
HYP_API void hyp_backing_close(hyp_backing *backing);

#ifdef __cplusplus
}
#endif

#endif
