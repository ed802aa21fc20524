/*
 * cleanup/record.c: a pool's record from its making to its end; what lib/pool tells this layer; fork.
 *
 * Every pool of hyp_pool_create has a record, so that who works on all pools (the thread, hyp_cleanup_relieve) can be kept out
 * of one that goes: `inside` counts them, `barred` stops new ones, and the condition tells when the last is out. The
 * default pool has one when somebody asks for it; it never goes.
 *
 * Fork: prepare takes the table lock and every record's move lock, so that no block is held in the child by a thread that
 * is not there. A child has no thread of ours; what lost threads had planned is dropped, and what they had put aside is
 * lost to the child.
 */
#include "base/atomic.h"
#include "cleanup/cleanup.h"
#include "core/meta.h"

#include <string.h>

pthread_mutex_t hypi_cleanup_table = PTHREAD_MUTEX_INITIALIZER;
hypi_cleanup *hypi_cleanup_all;
static pthread_cond_t left = PTHREAD_COND_INITIALIZER; /* somebody left a pool */

/* ---- who is inside ---- */

static bool go_in(hypi_cleanup *record) {
	if (record->barred != 0) return false;
	record->inside++;
	return true;
}

static void go_out(hypi_cleanup *record) {
	record->inside--;
	pthread_cond_broadcast(&left);
}

void hypi_cleanup_bar(hypi_cleanup *record) {
	pthread_mutex_lock(&hypi_cleanup_table);
	record->barred++;
	while (record->inside != 0) pthread_cond_wait(&left, &hypi_cleanup_table);
	pthread_mutex_unlock(&hypi_cleanup_table);
}

void hypi_cleanup_unbar(hypi_cleanup *record) {
	pthread_mutex_lock(&hypi_cleanup_table);
	record->barred--;
	pthread_mutex_unlock(&hypi_cleanup_table);
}

void hypi_cleanup_each(void (*visit)(void *context, hypi_cleanup *record), void *context) {
	pthread_mutex_lock(&hypi_cleanup_table);
	for (hypi_cleanup *record = hypi_cleanup_all; record != NULL; record = record->next) {
		if (!go_in(record)) continue;
		pthread_mutex_unlock(&hypi_cleanup_table);
		visit(context, record);
		pthread_mutex_lock(&hypi_cleanup_table);
		go_out(record); /* it could not go meanwhile: so `next` is good */
	}
	pthread_mutex_unlock(&hypi_cleanup_table);
}

/* ---- fork ---- */

static void fork_prepare(void) {
	hypi_cleanup_thread_fork_prepare();
	pthread_mutex_lock(&hypi_cleanup_table);
	for (hypi_cleanup *record = hypi_cleanup_all; record != NULL; record = record->next)
		hypi_lock_take(&record->move_lock);
}

static void fork_parent(void) {
	for (hypi_cleanup *record = hypi_cleanup_all; record != NULL; record = record->next)
		hypi_unlock(&record->move_lock);
	pthread_mutex_unlock(&hypi_cleanup_table);
	hypi_cleanup_thread_fork_parent();
}

static void fork_child(void) {
	pthread_mutex_unlock(&hypi_cleanup_table); /* this thread locked it */
	pthread_cond_init(&left, NULL);
	for (hypi_cleanup *record = hypi_cleanup_all; record != NULL; record = record->next) {
		record->inside = record->barred = 0;
		if (hypi_lock_try(&record->run_lock)) hypi_unlock(&record->run_lock);
		else memset(&record->plan, 0, sizeof record->plan); /* half made, perhaps: its mapping is lost to the child */
		hypi_lock_reset(&record->run_lock);
		hypi_lock_reset(&record->move_lock);
	}
	hypi_cleanup_thread_fork_child();
}

static void init_once(void) {
	hypi_process_init();
	hypi_os_fork_init(fork_prepare, fork_parent, fork_child);
}

/* ---- records ---- */

hypi_cleanup *hypi_cleanup_of(hyp_pool *pool, bool make) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	hypi_pool_state *state = hypi_pool_state_of(pool);
	hypi_cleanup *record = hypi_load_acquire(&state->cleanup); /* pairs with the release below */
	if (record != NULL || !make) return record;
	pthread_once(&once, init_once);
	pthread_mutex_lock(&hypi_cleanup_table);
	record = hypi_load_relaxed(&state->cleanup);
	if (record == NULL) record = hypi_meta_alloc(sizeof *record);
	if (record != NULL && record->pool == NULL) {
		record->pool = pool;
		record->next = hypi_cleanup_all;
		hypi_cleanup_all = record;
		hypi_store_release(&state->cleanup, record); /* pairs with the acquire above */
	}
	pthread_mutex_unlock(&hypi_cleanup_table);
	return record;
}

static void drop(hypi_cleanup *record) {
	pthread_mutex_lock(&hypi_cleanup_table);
	hypi_cleanup **at = &hypi_cleanup_all;
	while (*at != record) at = &(*at)->next;
	*at = record->next;
	pthread_mutex_unlock(&hypi_cleanup_table);
	hypi_plan_fini(&record->plan);
	hypi_meta_free(record, sizeof *record);
}

/* ---- what lib/pool tells ---- */

static hyp_status created(hyp_pool *pool, const hyp_pool_config *config) {
	hypi_cleanup *record = hypi_cleanup_of(pool, true);
	if (record == NULL) {
		hypi_self.reason = "no memory";
		return HYP_ERR_NO_MEMORY;
	}
	if (config->enable_tracking) {
		hyp_status status = hypi_cleanup_track(record, &config->tracking);
		if (status != HYP_OK) {
			hypi_self.reason = "tracking: no memory";
			return status;
		}
	}
	if (config->enable_cleanup && hyp_cleanup_automatic(pool, &config->cleanup) != HYP_OK) {
		hypi_self.reason = "cleanup: the system starts no thread";
		return HYP_ERR_OS;
	}
	return HYP_OK;
}

static void enter(hyp_pool *pool) {
	hypi_cleanup *record = hypi_cleanup_of(pool, false);
	if (record == NULL) return;
	hypi_cleanup_bar(record);
	hypi_cleanup_keep_level(record);
	hypi_cleanup_forget(record, false);
	hypi_plan_fini(&record->plan);
	record->unpurged_slices = 0;
}

static void leave(hyp_pool *pool) {
	hypi_cleanup *record = hypi_cleanup_of(pool, false);
	if (record == NULL) return;
	hyp_status status = hypi_cleanup_set_level(record);
	(void)status; /* the tables were made when it was set first */
	hypi_cleanup_unbar(record);
}

static void destroyed(hyp_pool *pool) {
	hypi_cleanup *record = hypi_cleanup_of(pool, false);
	if (record == NULL) return;
	hyp_cleanup_manual(pool);
	hypi_cleanup_bar(record);
	hypi_cleanup_forget(record, true);
	hypi_store_relaxed(&hypi_pool_state_of(pool)->cleanup, NULL);
	drop(record);
}

const hypi_pool_hooks hypi_cleanup_hooks = {.created = created, .enter = enter, .leave = leave, .destroyed = destroyed};
