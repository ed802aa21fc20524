/* tracking/pressure_levels.c: see tracking/pressure_levels.h. */
#include "tracking/pressure_levels.h"

#include "os/os.h"
#include "tracking/timeline.h"

#include <string.h>

uint64_t hypi_pressure_part(uint64_t used, uint64_t limit) { return used / 1024 * 1000 / (limit / 1024 + 1); }

/* Thousandths of the pool's limit that are in use: of the one given, else of the tighter of its own. */
static uint64_t use_of_pool(const hypi_pressure_levels *p) {
	hypi_large_pool *large = &p->pool->engine.large;
	hypi_lock_take(&large->lock);
	uint64_t all = ((uint64_t)large->used_slices << HYPI_SLICE_LOG2) + large->huge_bytes;
	uint64_t small = (uint64_t)large->small_slices << HYPI_SLICE_LOG2;
	uint64_t small_limit = large->small_limit_bytes, large_limit = large->limit_bytes;
	hypi_unlock(&large->lock);
	if (p->limit_bytes != 0) return hypi_pressure_part(all, p->limit_bytes);
	uint64_t a = small_limit != 0 ? hypi_pressure_part(small, small_limit) : 0;
	uint64_t b = large_limit != 0 ? hypi_pressure_part(all - small, large_limit) : 0;
	return a > b ? a : b;
}

hyp_status hypi_pressure_configure(const hyp_pressure_config *config, hyp_pressure_config *ret_config,
                                   hypi_pressure_levels *ret_levels) {
	static const uint16_t usual[4] = {700, 800, 900, 950};
	hyp_pressure_config c = {0};
	hypi_process_init();
	if (config != NULL) memcpy(&c, config, config->struct_bytes < sizeof c ? config->struct_bytes : sizeof c);
	if (c.thresholds[0] == 0 && c.thresholds[3] == 0) memcpy(c.thresholds, usual, sizeof usual);
	for (int i = 0; i < 3; i++)
		if (c.thresholds[i] == 0 || c.thresholds[i] >= c.thresholds[i + 1]) return HYP_ERR_INVALID;
	hypi_pressure_levels levels = {.hysteresis = c.hysteresis == 0 ? 30 : c.hysteresis,
	                               .hold_ms = c.hold_ms == 0 ? 2000 : c.hold_ms,
	                               .limit_bytes = c.limit_bytes,
	                               .pool = c.pool != NULL ? c.pool : hyp_pool_default()};
	memcpy(levels.thresholds, c.thresholds, sizeof levels.thresholds);
	*ret_config = c;
	*ret_levels = levels;
	return HYP_OK;
}

void hyp_pressure_on_change(hyp_pressure *pressure, hyp_pressure_callback *callback, void *context) {
	hypi_pressure_levels *p = (hypi_pressure_levels *)(void *)pressure;
	p->callback = callback;
	p->context = context;
}

void hypi_pressure_tell(hypi_pressure_levels *p, hyp_pressure_level level, hyp_pressure_source source) {
	uint64_t now = hypi_os_now_coarse_ms();
	if (now >= p->told_until_ms || level >= p->told) {
		p->told = level;
		p->told_source = source;
	}
	p->told_until_ms = now + p->hold_ms;
}

static hyp_pressure_level level_of_use(const hypi_pressure_levels *p, uint64_t use) {
	int level = HYP_PRESSURE_NONE;
	while (level < HYP_PRESSURE_CRITICAL && use >= p->thresholds[level]) level++;
	/* A level that was reached stays until use is clearly below its threshold. */
	int before = (int)p->usage;
	while (before > level && use + p->hysteresis < p->thresholds[before - 1]) before--;
	return (hyp_pressure_level)(before > level ? before : level);
}

static void change(hypi_pressure_levels *p, hyp_pressure_level level, hyp_pressure_source source) {
	if (level == p->level) return;
	p->level = level;
	hypi_timeline_note(HYP_EVENT_PRESSURE, 0, level, 0);
	if (p->callback != NULL) p->callback(p->context, level, source);
}

hyp_pressure_level hypi_pressure_settle(hypi_pressure_levels *p, uint64_t use) {
	uint64_t pool = use_of_pool(p);
	p->usage = level_of_use(p, use > pool ? use : pool);
	if (hypi_os_now_coarse_ms() >= p->told_until_ms) p->told = HYP_PRESSURE_NONE;
	if (p->told > p->usage) change(p, p->told, p->told_source);
	else change(p, p->usage, HYP_PRESSURE_FROM_USAGE);
	return p->level;
}
