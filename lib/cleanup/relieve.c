/*
 * cleanup/relieve.c: the stages of giving memory back when it is short, cheapest first, and the program's reclaimers.
 *
 * Every stage is measured by the fall of the process's resident memory, as the kernel counts it, and by what the system
 * took back. A reclaimer runs outside every lock; one that is being removed is waited for.
 */
#include "cleanup/cleanup.h"

#include <string.h>

enum { RECLAIMERS = 32 };

static struct {
	hyp_reclaimer *call; /* NULL: a free place */
	void *context;
	int priority;
	unsigned running;
	uint64_t runner;      /* of the last to call it: a thread may remove what it runs */
} reclaimers[RECLAIMERS]; /* table lock */
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;

hyp_status hyp_cleanup_add(hyp_reclaimer *reclaimer, void *context, int priority, int *ret_id) {
	if (reclaimer == NULL || ret_id == NULL) return HYP_ERR_INVALID;
	hyp_status status = HYP_ERR_LIMIT;
	pthread_mutex_lock(&hypi_cleanup_table);
	for (int i = 0; i < RECLAIMERS && status != HYP_OK; i++) {
		if (reclaimers[i].call != NULL || reclaimers[i].running != 0) continue;
		reclaimers[i].call = reclaimer;
		reclaimers[i].context = context;
		reclaimers[i].priority = priority;
		*ret_id = i;
		status = HYP_OK;
	}
	pthread_mutex_unlock(&hypi_cleanup_table);
	return status;
}

void hyp_cleanup_remove(int id) {
	if (id < 0 || id >= RECLAIMERS) return;
	uint64_t self = (uint64_t)(uintptr_t)pthread_self();
	pthread_mutex_lock(&hypi_cleanup_table);
	reclaimers[id].call = NULL;
	while (reclaimers[id].running != 0 && reclaimers[id].runner != self) pthread_cond_wait(&ended, &hypi_cleanup_table);
	pthread_mutex_unlock(&hypi_cleanup_table);
}

/* Calls all, by falling priority, until they claim to have freed what is wanted. */
static uint64_t ask(uint64_t wanted_bytes, hyp_cleanup_cause cause) {
	bool asked[RECLAIMERS] = {false};
	uint64_t claimed = 0;
	pthread_mutex_lock(&hypi_cleanup_table);
	while (claimed < wanted_bytes) {
		int best = -1;
		for (int i = 0; i < RECLAIMERS; i++)
			if (reclaimers[i].call != NULL && !asked[i] &&
			    (best < 0 || reclaimers[i].priority > reclaimers[best].priority))
				best = i;
		if (best < 0) break;
		asked[best] = true;
		hyp_reclaimer *call = reclaimers[best].call;
		void *context = reclaimers[best].context;
		uint64_t left = wanted_bytes - claimed;
		reclaimers[best].running++;
		reclaimers[best].runner = (uint64_t)(uintptr_t)pthread_self();
		pthread_mutex_unlock(&hypi_cleanup_table);
		claimed += call(context, left < SIZE_MAX ? (size_t)left : SIZE_MAX, cause);
		pthread_mutex_lock(&hypi_cleanup_table);
		reclaimers[best].running--;
		pthread_cond_broadcast(&ended);
	}
	pthread_mutex_unlock(&hypi_cleanup_table);
	return claimed;
}

/* ---- stages ---- */

static void trim_one(void *context, hypi_cleanup *record) {
	(void)context;
	hypi_heap *heap = hypi_heap_of(&record->pool->engine);
	if (heap != NULL) hypi_heap_trim(heap);
}

static void purge_one(void *context, hypi_cleanup *record) {
	*(uint64_t *)context += hypi_large_pool_purge(&record->pool->engine.large);
}

static void compact_one(void *context, hypi_cleanup *record) {
	hyp_cleanup_request request;
	hyp_cleanup_result result = {.struct_bytes = sizeof result};
	hyp_cleanup_request_init(&request);
	if (hypi_cleanup_do(record->pool, &request, HYP_CLEANUP_EMERGENCY, &result) == HYP_OK)
		*(uint64_t *)context += result.purged_bytes;
	if (result.more) purge_one(context, record); /* the budget is for moving: what was won goes back */
}

void hypi_cleanup_relieve(uint64_t wanted_bytes, hyp_cleanup_cause cause, hyp_relief *ret_relief) {
	uint64_t resident = hypi_os_resident_bytes(), fallen = 0;
	hypi_cleanup_of(hyp_pool_default(), true); /* NULL: no memory for its record: the others then */
	for (int stage = 0; stage < HYP_RELIEF_STAGES && fallen < wanted_bytes; stage++) {
		uint64_t purged = 0;
		if (stage == HYP_RELIEF_CACHES) {
			hypi_heap_trim_kept(&hypi_default_engine, UINT64_MAX);
			hypi_cleanup_each(trim_one, NULL);
		}
		if (stage == HYP_RELIEF_RECLAIMERS) {
			ret_relief->claimed_bytes = ask(wanted_bytes - fallen, cause);
			hypi_cleanup_each(trim_one, NULL);
		}
		if (stage == HYP_RELIEF_PAGES || stage == HYP_RELIEF_RECLAIMERS) hypi_cleanup_each(purge_one, &purged);
		if (stage == HYP_RELIEF_COMPACTION) hypi_cleanup_each(compact_one, &purged);
		uint64_t now = hypi_os_resident_bytes(), fell = resident > now ? resident - now : 0;
		ret_relief->purged_bytes[stage] = purged;
		ret_relief->resident_bytes[stage] = fell;
		ret_relief->stages = (uint32_t)stage + 1;
		fallen += fell;
		resident = now;
	}
}

hyp_status hyp_cleanup_relieve(uint64_t wanted_bytes, hyp_relief *ret_relief) {
	if (ret_relief == NULL || ret_relief->struct_bytes != sizeof *ret_relief) return HYP_ERR_INVALID;
	hyp_relief relief = {.struct_bytes = sizeof relief};
	hypi_process_init();
	hypi_cleanup_relieve(wanted_bytes, HYP_CLEANUP_EMERGENCY, &relief);
	*ret_relief = relief;
	return HYP_OK;
}
