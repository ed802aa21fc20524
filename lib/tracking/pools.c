/* tracking/pools.c: see tracking/pools.h. Lock: the profile's; the engines lock is taken inside it. */
#include "tracking/pools.h"

#include "base/option.h"
#include "base/out.h"
#include "heap/sample.h"
#include "tracking/profile.h"
#include "tracking/start.h"
#include "tracking/timeline.h"

#include <string.h>

enum { SLOTS = 1 << 16 };

static _Atomic uint64_t levels[SLOTS]; /* level + 1, beside the serial of the pool that it is for */
static uint16_t number_of_slot[SLOTS];
static hypi_tracked_pool pools[HYPI_TRACKED_POOLS]; /* 0 is unused: the default engine has a record of its own: */
static const hypi_tracked_pool the_default = {.name = "default"};
static uint32_t pool_count = 1;

static uint32_t slot_of(uint64_t serial) { return serial & (SLOTS - 1); }

HYPI_NEAR uint64_t hypi_tracking_mean_of(hyp_tracking_level level) {
	static const uint64_t means[] = {
		[HYP_TRACKING_STANDARD] = 16 << 20, [HYP_TRACKING_DETAILED] = 4 << 20, [HYP_TRACKING_DEBUG] = 1 << 20};
	if ((unsigned)level >= HYP_ARRAY_LEN(means) || means[level] == 0) return 0;
	bool chosen = hypi_option_source_of(HYPI_OPTION_profile_mean) != HYPI_FROM_DEFAULT;
	return chosen ? hypi_option_get(HYPI_OPTION_profile_mean) : means[level];
}

/* ---- numbers ---- */

uint32_t hypi_pool_number(const hypi_engine *engine, bool *ret_stale) {
	*ret_stale = false;
	if (engine == &hypi_default_engine) return 0;
	const char *name = hyp_pool_name((const hyp_pool *)engine);
	uint32_t slot = slot_of(engine->serial), number = number_of_slot[slot];
	if (number != 0 && number != HYPI_TRACKED_POOLS - 1 && strcmp(pools[number].name, name) == 0) {
		*ret_stale = pools[number].serial != engine->serial;
	} else {
		number = pool_count < HYPI_TRACKED_POOLS - 1 ? pool_count++ : HYPI_TRACKED_POOLS - 1;
		if (number == HYPI_TRACKED_POOLS - 1) pool_count = HYPI_TRACKED_POOLS, name = "other pools";
		number_of_slot[slot] = (uint16_t)number;
		hypi_format(pools[number].name, sizeof pools[number].name, "%s", name);
	}
	pools[number].serial = engine->serial;
	return number;
}

uint32_t hypi_tracked_pool_count(void) { return pool_count; }
const hypi_tracked_pool *hypi_tracked_pool_at(uint32_t number) { return number == 0 ? &the_default : &pools[number]; }

void hypi_tracked_pools_load(const hypi_tracked_pool *from, uint32_t count) {
	for (uint32_t i = 1; i < count; i++) {
		pools[i] = from[i];
		pools[i].name[sizeof pools[i].name - 1] = '\0';
	}
	pool_count = count > 0 ? count : 1;
}

bool hypi_tracked_pool_is_stale(uint32_t number) {
	if (number == 0 || number == HYPI_TRACKED_POOLS - 1) return false;
	bool found = false;
	hypi_lock_take(&hypi_engines_lock);
	for (const hypi_engine *e = hypi_engines; e != NULL && !found; e = e->next)
		found = e->serial == pools[number].serial;
	hypi_unlock(&hypi_engines_lock);
	return !found;
}

/* ---- levels ---- */

hyp_status hyp_tracking_set_pool_level(hyp_pool *pool, hyp_tracking_level level) {
	if (pool == NULL || (unsigned)level > HYP_TRACKING_DEBUG) return HYP_ERR_INVALID;
	if (pool == hyp_pool_default()) return hyp_tracking_set_level(level);
	if (!hypi_pool_is_host(pool)) return HYP_ERR_UNSUPPORTED;
	hyp_status status = HYP_OK;
	if (hypi_tracking_mean_of(level) != 0) status = hypi_profile_ready(hypi_tracking_mean_of(level));
	if (status != HYP_OK) return status;
	/* The serial leaves the low 16 bits to the slot, which is known. */
	hypi_store_relaxed(&levels[slot_of(pool->engine.serial)],
	                   (pool->engine.serial & ~(uint64_t)(SLOTS - 1)) + level + 1);
	hypi_tracking_listen(); /* every heap looks again */
	return HYP_OK;
}

/* What was set for the pool as it is; 0: nothing. */
static unsigned level_of(const hypi_engine *engine) {
	uint64_t entry = hypi_load_relaxed(&levels[slot_of(engine->serial)]);
	return entry >> 16 == engine->serial >> 16 ? entry & (SLOTS - 1) : 0;
}

hyp_tracking_level hyp_tracking_get_pool_level(hyp_pool *pool) {
	unsigned level = pool == hyp_pool_default() ? 0 : level_of(&pool->engine);
	return level == 0 ? hyp_tracking_get_level() : (hyp_tracking_level)(level - 1);
}

HYPI_NEAR uint64_t hypi_pool_mean_of(const hypi_engine *engine, uint64_t usual) {
	unsigned level = engine == &hypi_default_engine ? 0 : level_of(engine);
	return level == 0 ? usual : hypi_tracking_mean_of((hyp_tracking_level)(level - 1));
}
