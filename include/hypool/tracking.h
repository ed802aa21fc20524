/*
 * hypool/tracking.h: where memory goes: tracking levels, the sampled profiler, leaks, pressure, the timeline.
 *
 * All of it is off at first and then costs nothing. Every function may be called by any thread, but where said.
 */
#ifndef HYPOOL_TRACKING_H
#define HYPOOL_TRACKING_H

#include <hypool/status.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- levels ---- */

/* What is tracked beyond the statistics, which cost nothing: */
typedef enum hyp_tracking_level {
	HYP_TRACKING_NONE,     /* nothing */
	HYP_TRACKING_BASIC,    /* the timeline of memory in use */
	HYP_TRACKING_STANDARD, /* and call sites, one sample in 16 MiB, or in profile_mean when that is set */
	HYP_TRACKING_DETAILED, /* one sample in 4 MiB */
	HYP_TRACKING_DEBUG     /* one sample in 1 MiB, and the last single events */
} hyp_tracking_level;

/* Switches at run time; threads follow in their next slow path. HYP_ERR_INVALID: no such level; HYP_ERR_NO_MEMORY. */
HYP_API HYP_NODISCARD hyp_status hyp_tracking_set_level(hyp_tracking_level level);
HYP_API hyp_tracking_level hyp_tracking_get_level(void);

/* A pool's own level instead of the process's, until the pool is reset or destroyed: its blocks alone are sampled at the
 * means above, or not at all. Of its pools the profile keeps call sites apart. HYP_ERR_INVALID, HYP_ERR_NO_MEMORY;
 * HYP_ERR_UNSUPPORTED: a pool that the processor cannot reach has statistics alone. */
struct hyp_pool;
HYP_API HYP_NODISCARD hyp_status hyp_tracking_set_pool_level(struct hyp_pool *pool, hyp_tracking_level level);
HYP_API hyp_tracking_level hyp_tracking_get_pool_level(struct hyp_pool *pool);

/* ---- the profiler ---- */

/* Samples each byte handed out with probability 1 / mean_bytes; 1: every allocation. What was counted before is kept. */
HYP_API HYP_NODISCARD hyp_status hyp_profile_start(uint64_t mean_bytes);
HYP_API void hyp_profile_stop(void);
/* Forgets what was counted; blocks that live go on being followed. */
HYP_API void hyp_profile_reset(void);

typedef enum hyp_profile_format {
	HYP_PROFILE_HYPOOL, /* everything, for `hypool report` and `hypool diff` */
	HYP_PROFILE_PPROF,  /* gzip'd protobuf, for `pprof` */
	HYP_PROFILE_JEPROF, /* heap_v2 text, for `jeprof` */
	HYP_PROFILE_FOLDED, /* folded stacks of live bytes, for flame graphs */
	HYP_PROFILE_DHAT    /* DHAT v2 JSON, for dh_view */
} hyp_profile_format;

/* Writes the profile so far to a descriptor. Symbols are looked up now: cost is tens of milliseconds. HYP_ERR_OS: the
 * descriptor could not take it all; errno says why. */
HYP_API HYP_NODISCARD hyp_status hyp_profile_write(int fd, hyp_profile_format format);

/* ---- leaks ---- */

typedef struct hyp_leak_totals {
	uint64_t blocks, bytes;                     /* that nothing points to any more: lost */
	uint64_t reachable_blocks, reachable_bytes; /* live and still pointed to */
	uint64_t suppressed_blocks, suppressed_bytes;
	uint32_t sites; /* call sites with lost blocks */
	uint32_t exact; /* 1: every allocation was followed; 0: scaled up from samples */
} hyp_leak_totals;

/* Looks for blocks that nothing points to, in a copy of the process made for it (the caller goes on meanwhile only when
 * it has other threads), and writes a report by call site to `fd` (negative: none) when there are any. Only what was allocated while the
 * profiler ran is looked at. Of devices, whose memory cannot be searched, the report says what was made and not freed as the
 * kept events of the timeline know it; the totals are without it. HYP_ERR_UNSUPPORTED: no copy could be made. */
HYP_API HYP_NODISCARD hyp_status hyp_leaks_find(int fd, hyp_leak_totals *ret_totals);

/* As hyp_leaks_find, but only blocks of this pool count and are reported. Pools are looked at while they exist: what a
 * destroyed pool held is gone with it. Blocks behind live handles are reachable. */
HYP_API HYP_NODISCARD hyp_status hyp_leaks_find_in(struct hyp_pool *pool, int fd, hyp_leak_totals *ret_totals);

/* Adds a suppression, "leak:PATTERN" or a pattern alone: of a function or library; * stands for anything. */
HYP_API HYP_NODISCARD hyp_status hyp_leaks_suppress(const char *pattern);

/* ---- pressure ---- */

typedef enum hyp_pressure_level {
	HYP_PRESSURE_NONE,
	HYP_PRESSURE_LOW,     /* from 0.70 of a limit in use */
	HYP_PRESSURE_MEDIUM,  /* from 0.80 */
	HYP_PRESSURE_HIGH,    /* from 0.90, or the system says that somebody waits for memory */
	HYP_PRESSURE_CRITICAL /* from 0.95, or the group has reached its limit */
} hyp_pressure_level;

/* Where a level came from, for who is told. */
typedef enum hyp_pressure_source {
	HYP_PRESSURE_FROM_USAGE, /* memory in use against the control groups' limits and the pool's */
	HYP_PRESSURE_FROM_WATCH, /* what $MEMORY_PRESSURE_WATCH names (the service manager's protocol) */
	HYP_PRESSURE_FROM_STALL, /* the kernel's pressure stall information */
	HYP_PRESSURE_FROM_EVENTS /* the control groups' memory.events, memory.events.local or memory.failcnt */
} hyp_pressure_source;

typedef struct hyp_pressure_config {
	size_t struct_bytes;    /* sizeof(hyp_pressure_config) */
	uint64_t limit_bytes;   /* of the pool's memory in use; 0: the pool's own limits, if it has any */
	uint16_t thresholds[4]; /* of LOW to CRITICAL in thousandths, rising; all 0: 700 800 900 950 */
	uint16_t hysteresis;    /* thousandths below a threshold at which its level ends; 0: 30 */
	uint32_t hold_ms;       /* how long a level that the system told of lasts without another word; 0: 2000 */
	const char *watch;      /* instead of $MEMORY_PRESSURE_WATCH; "": none */
	const char *write;      /* instead of $MEMORY_PRESSURE_WRITE: base64 */
	const char *root;       /* in front of /proc and /sys; NULL: "" */
	struct hyp_pool *pool;  /* whose use is looked at; NULL: the default pool's. It outlives the hyp_pressure */
} hyp_pressure_config;

typedef struct hyp_pressure hyp_pressure;
typedef void hyp_pressure_callback(void *context, hyp_pressure_level level, hyp_pressure_source source);

/* Opens the sources that there are. No thread is made: whoever wants to know waits for the descriptor and polls.
 * `config` may be NULL. HYP_ERR_INVALID: thresholds do not rise; HYP_ERR_NO_MEMORY; HYP_ERR_OS. */
HYP_API HYP_NODISCARD hyp_status hyp_pressure_open(const hyp_pressure_config *config, hyp_pressure **ret_pressure);
HYP_API void hyp_pressure_close(hyp_pressure *pressure);

/* Readable when a source has something to say; for poll, epoll and the like. Usage has no descriptor: poll now and then. */
HYP_API int hyp_pressure_fd(const hyp_pressure *pressure);

/* Who is told of every change of level; replaces the one before. It runs inside hyp_pressure_poll, outside every lock,
 * and may allocate. */
HYP_API void hyp_pressure_on_change(hyp_pressure *pressure, hyp_pressure_callback *callback, void *context);

/* Hears all sources, without waiting, and returns the level. Whatever a source said since the last call counts, also
 * when it is over by now: no escalation is lost. One thread at a time. */
HYP_API hyp_pressure_level hyp_pressure_poll(hyp_pressure *pressure);

/* ---- the timeline ---- */

typedef enum hyp_timeline_event_kind {
	HYP_EVENT_ALLOC,    /* a sampled allocation */
	HYP_EVENT_FREE,     /* of a sampled block */
	HYP_EVENT_PRESSURE, /* the level changed; `bytes` is the level */
	HYP_EVENT_USER,     /* hyp_timeline_add's own */
	HYP_EVENT_KINDS
} hyp_timeline_event_kind;

typedef struct hyp_timeline_event {
	uint64_t ns; /* since the timeline started */
	uint64_t bytes;
	uint64_t live_bytes; /* by the profiler's estimate, after it */
	uintptr_t address;   /* 0: none */
	uint32_t thread;     /* equal for one thread's */
	int32_t device;      /* 0: host memory; else the device's id, below 32768 */
	hyp_timeline_event_kind kind;
	char pool[32]; /* "" when none is known */
} hyp_timeline_event;

typedef struct hyp_timeline_filter {
	size_t struct_bytes;              /* sizeof(hyp_timeline_filter) */
	uint64_t from_ns, to_ns;          /* to_ns 0: up to now */
	uint32_t kinds;                   /* sum of 1 << kind; 0: all */
	uint64_t least_bytes, most_bytes; /* most_bytes 0: no bound */
	const char *pool;                 /* by its name; NULL: all */
	int32_t device;                   /* -1: all */
} hyp_timeline_filter;

/* The single events that are kept and fit the query, oldest first: the newest `capacity` of them. *ret_count: how many
 * fit, also beyond the capacity. `query` may be NULL: all. Events are kept from level debug on, or as hyp_timeline_keep
 * says. */
HYP_API HYP_NODISCARD hyp_status hyp_timeline_query(const hyp_timeline_filter *query, hyp_timeline_event *ret_events,
                                                    size_t capacity, size_t *ret_count);

/* How many of the last events are kept (at most 16777216; 0: none, and what is kept is forgotten), and how old they may
 * be (0: any age). HYP_ERR_INVALID, HYP_ERR_NO_MEMORY: nothing is changed. */
HYP_API HYP_NODISCARD hyp_status hyp_timeline_keep(uint32_t events, uint64_t most_age_ms);

/* Adds an event of the program's own or of a device; its ns, live_bytes and thread are set here. HYP_ERR_NOT_FOUND: no
 * events are kept. */
HYP_API HYP_NODISCARD hyp_status hyp_timeline_add(const hyp_timeline_event *event);

typedef enum hyp_anomaly_kind {
	HYP_ANOMALY_JUMP, /* memory in use rose far more than it usually does between two points */
	HYP_ANOMALY_DROP, /* it fell so */
	HYP_ANOMALY_PEAK  /* it rose so and fell so soon after */
} hyp_anomaly_kind;

typedef struct hyp_anomaly {
	hyp_anomaly_kind kind;
	uint64_t from_ms, to_ms; /* since the timeline started */
	int64_t bytes;           /* by which the heap's memory in use changed; of a peak: its height */
	double score;            /* how many times the usual spread of changes */
} hyp_anomaly;

/* What stands out in the timeline of memory in use: changes beyond eight times the spread of all changes (1.4826 times
 * their median absolute deviation: Leys et al. 2013), and at least 8 MiB. Oldest first. */
HYP_API HYP_NODISCARD hyp_status hyp_timeline_anomalies(hyp_anomaly *ret_anomalies, size_t capacity, size_t *ret_count);

/* ---- metrics ---- */

/* The timeline and the ring of single events as Chrome's trace JSON, for a trace viewer (Perfetto, about:tracing). */
HYP_API HYP_NODISCARD hyp_status hyp_timeline_write(int fd);

/* OpenMetrics text of the statistics, to a descriptor. */
HYP_API void hyp_metrics_write(int fd);

#ifdef __cplusplus
}
#endif

#endif
