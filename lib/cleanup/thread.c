/*
 * cleanup/thread.c: the one thread behind automatic cleanup.
 *
 * It is started by the first pool that asks and joined when the last one no longer does. It waits in poll for what wakes
 * it: a pipe (settings changed, or it shall end), the system's word of pressure (tracking/pressure.c), or the time at
 * which the next pool is due. All signals are blocked in it. A pool is looked at from the outside, by its counters; what it did
 * since the last look says whether it is idle. While it is in a pool, the pool cannot go (cleanup/record.c).
 *
 * Strategies, in the order in which the first that applies is taken: the system's pressure (HIGH: every pool is
 * cleaned; CRITICAL: all stages of cleanup/relieve.c), the pool's own limit, its device's memory, the program's own
 * strategy, the period, idleness. Each is bounded by the
 * pool's max_cleanup_ms; a cleanup that has more to move goes on at the next look.
 *
 * Start lock: outermost. The thread itself never takes it, or ending it would wait for ever.
 */
#include "base/atomic.h"
#include "cleanup/cleanup.h"
#include "heap/stats.h"
#include "os/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { LOOK_MOST_MS = 1000, LOOK_LEAST_MS = 5 };

static pthread_mutex_t start = PTHREAD_MUTEX_INITIALIZER;
static bool exists;                /* start lock */
static pthread_t thread;           /* start lock */
static int wake_fds[2] = {-1, -1}; /* made under the start lock, when there is no thread; [1] is written by anyone */
static _Atomic bool stop;
const hyp_pressure_config *hypi_cleanup_pressure;
static hyp_pressure *pressure;   /* the thread's, while it exists */
static _Atomic uint64_t self_id; /* of the thread: pthread_self() as a number; 0: none */

static bool is_self(void) { return hypi_load_relaxed(&self_id) == (uint64_t)(uintptr_t)pthread_self(); }

/* ---- one look at a pool ---- */

static uint64_t activity_of(hyp_pool *pool) {
	hyp_class_stats classes[HYPI_CLASSES];
	hypi_large_count large;
	hypi_engine_classes(&pool->engine, classes);
	hypi_lock_take(&pool->engine.lock);
	hypi_large_count_sum(&pool->engine, &large);
	hypi_unlock(&pool->engine.lock);
	uint64_t sum = hypi_load_relaxed(&large.allocs) + hypi_load_relaxed(&large.frees);
	for (unsigned c = 0; c < HYPI_CLASSES; c++) sum += classes[c].allocations + classes[c].frees;
	return sum;
}

/* How full the memory is that the pool's is part of, by its backing; 0: not known. */
static double device_use(hyp_pool *pool) {
	const hyp_backing *backing = &pool->engine.large.backing;
	uint64_t used = 0, total = 0;
	if (backing->usage == NULL || backing->usage(backing->context, &used, &total) != HYP_OK || total == 0) return 0;
	return (double)used / (double)total;
}

typedef struct look {
	uint64_t now_ms;
	hyp_pressure_level level;
} look;

/* Whether it is time; and what for. The record's times are the thread's alone, but that settings start them anew. */
static bool is_due(hypi_cleanup *record, const look *at, hyp_cleanup_cause *ret_cause, hyp_pool_cleanup *ret_settings) {
	uint64_t activity = activity_of(record->pool);
	hypi_pool_raise_peaks(record->pool);
	double ratio, device_ratio = device_use(record->pool);
	hyp_pool_pressure(record->pool, &ratio);
	pthread_mutex_lock(&hypi_cleanup_table);
	hyp_cleanup_wanted *asks = record->automatic ? record->settings.wanted : NULL;
	void *context = record->settings.wanted_context;
	pthread_mutex_unlock(&hypi_cleanup_table);
	bool wanted = asks != NULL && asks(context, record->pool), due = true;
	pthread_mutex_lock(&hypi_cleanup_table);
	const hyp_pool_cleanup *s = &record->settings;
	if (activity != record->seen_activity) {
		record->seen_activity = activity;
		record->changed_ms = at->now_ms;
		record->idle_done = false;
	}
	bool pressed = at->level >= HYP_PRESSURE_HIGH || ratio >= s->pressure_threshold;
	if (!record->automatic) {
		due = false;
	} else if (pressed && at->now_ms >= record->pressure_due_ms) {
		*ret_cause = HYP_CLEANUP_PRESSURE;
		record->pressure_due_ms = at->now_ms + LOOK_MOST_MS;
	} else if (device_ratio >= s->pressure_threshold && at->now_ms >= record->device_due_ms) {
		*ret_cause = HYP_CLEANUP_DEVICE;
		record->device_due_ms = at->now_ms + LOOK_MOST_MS;
	} else if (wanted) {
		*ret_cause = HYP_CLEANUP_WANTED;
	} else if (s->period_ms != 0 && at->now_ms >= record->period_due_ms) {
		*ret_cause = HYP_CLEANUP_PERIODIC;
		record->period_due_ms = at->now_ms + s->period_ms;
	} else if (!record->idle_done && at->now_ms - record->changed_ms >= s->idle_interval_ms) {
		*ret_cause = HYP_CLEANUP_IDLE;
	} else {
		due = false;
	}
	*ret_settings = *s;
	pthread_mutex_unlock(&hypi_cleanup_table);
	return due;
}

static void look_at(void *context, hypi_cleanup *record) {
	const look *at = context;
	hyp_cleanup_cause cause;
	hyp_pool_cleanup settings;
	hypi_cleanup_look_at_leaks(record, at->now_ms);
	if (!is_due(record, at, &cause, &settings)) return;
	hyp_cleanup_request request;
	hyp_cleanup_result result = {.struct_bytes = sizeof result};
	hyp_cleanup_request_init(&request);
	request.compact = settings.compaction;
	request.budget_ms = settings.max_cleanup_ms;
	request.least_age_ms = settings.least_age_ms;
	hyp_status status = hypi_cleanup_do(record->pool, &request, cause, &result);
	uint64_t activity = activity_of(record->pool); /* moving allocates and frees: that is not the program's doing */
	pthread_mutex_lock(&hypi_cleanup_table);
	record->seen_activity = activity;
	if (cause == HYP_CLEANUP_IDLE && status != HYP_ERR_BUSY) record->idle_done = !result.more;
	pthread_mutex_unlock(&hypi_cleanup_table);
}

/* Milliseconds until somebody may be due. */
static int wait_ms(uint64_t now_ms) {
	uint64_t wait = LOOK_MOST_MS;
	pthread_mutex_lock(&hypi_cleanup_table);
	for (const hypi_cleanup *r = hypi_cleanup_all; r != NULL; r = r->next) {
		if (!r->automatic) continue;
		uint64_t idle_due = r->changed_ms + r->settings.idle_interval_ms;
		if (!r->idle_done && idle_due < now_ms + wait) wait = idle_due > now_ms ? idle_due - now_ms : 0;
		if (r->settings.idle_interval_ms / 4 < wait && r->idle_done) wait = r->settings.idle_interval_ms / 4;
		if (r->settings.period_ms != 0 && r->period_due_ms < now_ms + wait)
			wait = r->period_due_ms > now_ms ? r->period_due_ms - now_ms : 0;
	}
	pthread_mutex_unlock(&hypi_cleanup_table);
	return wait < LOOK_LEAST_MS ? LOOK_LEAST_MS : (int)wait;
}

static void *run(void *unused) {
	(void)unused;
	uint64_t critical_due_ms = 0;
	hypi_store_relaxed(&self_id, (uint64_t)(uintptr_t)pthread_self());
	while (!hypi_load_acquire(&stop)) { /* pairs with the release in hypi_cleanup_thread_rest */
		struct pollfd wait[2] = {{.fd = wake_fds[0], .events = POLLIN},
		                         {.fd = pressure != NULL ? hyp_pressure_fd(pressure) : -1, .events = POLLIN}};
		char drained[64];
		if (poll(wait, 2, wait_ms(hypi_os_now_coarse_ms())) > 0 && (wait[0].revents & POLLIN) != 0)
			while (read(wake_fds[0], drained, sizeof drained) == (ssize_t)sizeof drained) continue;
		if (hypi_load_acquire(&stop)) break; /* as above */
		look at = {.now_ms = hypi_os_now_coarse_ms()};
		if (pressure != NULL) at.level = hyp_pressure_poll(pressure);
		if (at.level == HYP_PRESSURE_CRITICAL && at.now_ms >= critical_due_ms) {
			hyp_relief relief = {.struct_bytes = sizeof relief};
			hypi_cleanup_relieve(UINT64_MAX, HYP_CLEANUP_EMERGENCY, &relief);
			critical_due_ms = at.now_ms + LOOK_MOST_MS;
		}
		hypi_cleanup_each(look_at, &at);
	}
	hypi_store_relaxed(&self_id, 0);
	return NULL;
}

/* ---- start and end ---- */

static bool is_wanted(void) {
	bool wanted = false;
	pthread_mutex_lock(&hypi_cleanup_table);
	for (const hypi_cleanup *r = hypi_cleanup_all; r != NULL && !wanted; r = r->next) wanted = r->automatic;
	pthread_mutex_unlock(&hypi_cleanup_table);
	return wanted;
}

static void close_all(void) {
	hyp_pressure_close(pressure);
	pressure = NULL;
	for (int i = 0; i < 2; i++) {
		if (wake_fds[i] >= 0) close(wake_fds[i]);
		wake_fds[i] = -1;
	}
}

static bool begin(void) {
	sigset_t all, before;
	if (hypi_fault(HYPI_FAULT_FILE) || pipe2(wake_fds, O_CLOEXEC | O_NONBLOCK) != 0) return false;
	if (hyp_pressure_open(hypi_cleanup_pressure, &pressure) != HYP_OK)
		pressure = NULL; /* pools' own limits still count */
	hypi_store_relaxed(&stop, false);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	exists = pthread_create(&thread, NULL, run, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!exists) close_all();
	return exists;
}

static void poke(void) {
	if (write(wake_fds[1], "", 1) != 1) errno = 0; /* full: it wakes anyway */
}

bool hypi_cleanup_thread_wake(void) {
	int saved = errno;
	if (is_self()) return true;
	pthread_mutex_lock(&start);
	bool there = exists || begin();
	if (there) poke();
	pthread_mutex_unlock(&start);
	errno = saved;
	return there;
}

void hypi_cleanup_thread_rest(void) {
	int saved = errno;
	if (is_self()) return; /* a reclaimer's doing: whoever next turns a pool's cleanup off ends the thread */
	pthread_mutex_lock(&start);
	if (exists && !is_wanted()) {
		hypi_store_release(&stop, true); /* pairs with the acquire in run */
		poke();
		pthread_join(thread, NULL);
		exists = false;
		close_all();
		if (is_wanted()) begin(); /* asked for by a reclaimer meanwhile */
	}
	pthread_mutex_unlock(&start);
	errno = saved;
}

/* ---- fork ---- */

void hypi_cleanup_thread_fork_prepare(void) {
	if (!is_self()) pthread_mutex_lock(&start);
}

void hypi_cleanup_thread_fork_parent(void) {
	if (!is_self()) pthread_mutex_unlock(&start);
}

void hypi_cleanup_thread_fork_child(void) {
	if (is_self()) pthread_mutex_init(&start, NULL); /* who held it is gone */
	else pthread_mutex_unlock(&start);
	hypi_store_relaxed(&self_id, 0);
	if (!exists) return;
	exists = false;
	close_all();
}

/* ---- the interface ---- */

static bool is_ratio(double x) { return x > 0 && x <= 1; }

hyp_status hyp_cleanup_automatic(hyp_pool *pool, const hyp_pool_cleanup *settings) {
	hyp_pool_config defaults;
	if (pool == NULL) return HYP_ERR_INVALID;
	if (settings == NULL) {
		hyp_pool_config_init(&defaults);
		settings = &defaults.cleanup;
	}
	if (settings->idle_interval_ms == 0 || settings->max_cleanup_ms == 0 || !is_ratio(settings->pressure_threshold))
		return HYP_ERR_INVALID;
	hypi_process_init();
	hypi_cleanup *record = hypi_cleanup_of(pool, true);
	if (record == NULL) return HYP_ERR_NO_MEMORY;
	uint64_t activity = activity_of(pool), now_ms = hypi_os_now_coarse_ms();
	pthread_mutex_lock(&hypi_cleanup_table);
	bool was = record->automatic;
	record->automatic = true;
	record->settings = *settings;
	record->seen_activity = activity;
	record->changed_ms = now_ms;
	record->idle_done = false;
	record->period_due_ms = now_ms + settings->period_ms;
	pthread_mutex_unlock(&hypi_cleanup_table);
	if (hypi_cleanup_thread_wake()) return HYP_OK;
	pthread_mutex_lock(&hypi_cleanup_table);
	record->automatic = was;
	pthread_mutex_unlock(&hypi_cleanup_table);
	return HYP_ERR_OS;
}

void hyp_cleanup_manual(hyp_pool *pool) {
	hypi_cleanup *record = pool != NULL ? hypi_cleanup_of(pool, false) : NULL;
	if (record == NULL) return;
	pthread_mutex_lock(&hypi_cleanup_table);
	bool was = record->automatic;
	record->automatic = false;
	pthread_mutex_unlock(&hypi_cleanup_table);
	if (!was) return;
	if (!is_self()) {
		hypi_cleanup_bar(record); /* waits until nobody is inside */
		hypi_cleanup_unbar(record);
	}
	hypi_cleanup_thread_rest();
}
