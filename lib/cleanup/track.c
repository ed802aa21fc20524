/*
 * cleanup/track.c: the tracking section of a pool's configuration: level, pressure, and what lives at the pool's end.
 *
 * The level is the tracking layer's (tracking/pools.c), which forgets it at a reset: it is set again then. When a pool
 * goes or is reset its picked blocks go without a call of free: the profiler is told of each.
 *
 * Lock: the table lock for a record's settings. The profile's lock is taken inside none of this layer's.
 */
#include "base/atomic.h"
#include "base/out.h"
#include "cleanup/cleanup.h"
#include "heap/sample.h"
#include "heap/stats.h"
#include "tracking/profile.h"
#include "tracking/symbols.h"

#include <string.h>

typedef unsigned long long ull;

/* ---- level ---- */

void hypi_cleanup_keep_level(hypi_cleanup *record) {
	record->level = hyp_tracking_get_pool_level(record->pool);
	/* A pool that is tracked has one of its own; any other when it is not the process's. */
	record->levelled = record->tracks || record->level != hyp_tracking_get_level();
}

hyp_status hypi_cleanup_set_level(hypi_cleanup *record) {
	if (!record->levelled) return HYP_OK;
	hyp_status status = hyp_tracking_set_pool_level(record->pool, record->level);
	return status == HYP_ERR_UNSUPPORTED ? HYP_OK : status; /* device memory has its statistics */
}

hyp_status hypi_cleanup_track(hypi_cleanup *record, const hyp_pool_tracking *tracking) {
	pthread_mutex_lock(&hypi_cleanup_table);
	record->tracking = *tracking;
	record->tracks = record->levelled = true;
	record->level = tracking->level;
	record->leaks_due_ms = hypi_os_now_coarse_ms() + tracking->leak_detection_interval_ms;
	pthread_mutex_unlock(&hypi_cleanup_table);
	return hypi_cleanup_set_level(record);
}

/* ---- pressure ---- */

hyp_pressure_level hyp_pool_pressure(hyp_pool *pool, double *ret_ratio) {
	double ratio = 0, threshold = 0.8;
	if (pool != NULL) {
		hypi_large_pool *large = &pool->engine.large;
		hypi_lock_take(&large->lock);
		double small = (double)(large->small_slices << HYPI_SLICE_LOG2);
		double others = (double)(((large->used_slices - large->small_slices) << HYPI_SLICE_LOG2) + large->huge_bytes);
		if (large->small_limit_bytes != 0) ratio = small / (double)large->small_limit_bytes;
		if (large->limit_bytes != 0 && others / (double)large->limit_bytes > ratio)
			ratio = others / (double)large->limit_bytes;
		hypi_unlock(&large->lock);
		hypi_cleanup *record = hypi_cleanup_of(pool, false);
		pthread_mutex_lock(&hypi_cleanup_table);
		if (record != NULL && record->tracks) threshold = record->tracking.pressure_threshold_ratio;
		if (record != NULL && record->tracks && !record->tracking.pressure_detection) threshold = 2; /* never */
		pthread_mutex_unlock(&hypi_cleanup_table);
	}
	if (ret_ratio != NULL) *ret_ratio = ratio;
	if (ratio < threshold) return HYP_PRESSURE_NONE;
	if (ratio >= threshold + (1 - threshold) * 0.9) return HYP_PRESSURE_CRITICAL;
	return ratio >= threshold + (1 - threshold) * 0.5 ? HYP_PRESSURE_HIGH : HYP_PRESSURE_MEDIUM;
}

/* ---- what lives ---- */

static void count_handle(void *context, hyp_handle handle, const hypi_slot *slot) {
	(void)handle, (void)slot;
	++*(uint64_t *)context;
}

static bool is_of(hyp_pool *pool, const hypi_pick *pick) {
	return pick->address != 0 && hyp_pool_of((const void *)pick->address) == pool;
}

/* Scaled figures of a call site in one pool, kept beside the profile's own. */
typedef struct site_share {
	double blocks, bytes;
} site_share;

static void write_sites(hypi_out *out, hyp_pool *pool, site_share *shares, uint64_t *ret_sites) {
	hypi_profile *p = &hypi_profile_data;
	hypi_symbols symbols;
	bool named = out != NULL && hypi_symbols_init(&symbols);
	uint64_t sites = 0;
	hypi_profile_lock();
	for (size_t i = 0; i < p->pick_capacity; i++) {
		const hypi_pick *pick = &p->picks[i];
		if (!is_of(pool, pick)) continue;
		site_share *share = &shares[pick->site];
		sites += share->blocks <= 0;
		share->blocks += (double)pick->scale;
		share->bytes += (double)pick->scale * (double)pick->asked;
	}
	for (unsigned shown = 0; named && shown < 10; shown++) {
		uint32_t best = 0;
		for (uint32_t i = 0; i < p->site_count; i++)
			if (shares[i].blocks > 0 && (shares[best].blocks <= 0 || shares[i].bytes > shares[best].bytes)) best = i;
		if (shares[best].blocks <= 0) break;
		const hypi_site *site = &p->sites[best];
		hypi_out_format(out, "  about %llu bytes in %llu blocks, by:\n", (ull)(shares[best].bytes + 0.5),
		                (ull)(shares[best].blocks + 0.5));
		for (uint32_t i = 0; i < site->depth && i < 16; i++) {
			char name[512];
			hypi_symbols_name(&symbols, hypi_site_frames(site)[i], name, sizeof name);
			hypi_out_format(out, "    #%u %s\n", i, name);
		}
		shares[best].blocks = 0;
	}
	hypi_profile_unlock();
	if (named) hypi_symbols_fini(&symbols);
	*ret_sites = sites;
}

static uint64_t find_sites(hypi_out *out, hyp_pool *pool) {
	size_t bytes = HYPI_SITES * sizeof(site_share);
	uint64_t sites = 0;
	if (hypi_profile_data.sites == NULL) return 0;
	site_share *shares = hypi_os_map(bytes, hypi_os.page_bytes);
	if (shares == NULL) return 0;
	write_sites(out, pool, shares, &sites);
	hyp_status status = hypi_os_unmap(shares, bytes);
	(void)status; /* a range that stays costs address space */
	return sites;
}

static void write_classes(hypi_out *out, hyp_pool *pool) {
	hyp_class_stats classes[HYPI_CLASSES];
	hypi_engine_classes(&pool->engine, classes);
	for (unsigned c = 0; c < HYPI_CLASSES; c++)
		if (classes[c].active != 0)
			hypi_out_format(out, "  %llu blocks of %zu bytes\n", (ull)classes[c].active, classes[c].block_bytes);
}

static void find(hyp_pool *pool, int fd, hyp_pool_leaks *ret_leaks) {
	hyp_stats stats;
	hypi_out out;
	bool hooked = hypi_self.hooked;
	hypi_self.hooked = true;
	hypi_engine_stats(&pool->engine, &stats);
	*ret_leaks =
		(hyp_pool_leaks){.struct_bytes = sizeof *ret_leaks, .blocks = stats.active, .bytes = stats.current_bytes};
	hypi_handles_walk(pool, count_handle, &ret_leaks->handles);
	bool writes = fd >= 0 && stats.active != 0;
	if (writes) {
		hypi_out_init_fd(&out, fd);
		hypi_out_format(&out, "hypool: pool \"%s\": %llu bytes in %llu blocks live, %llu of them by handle\n",
		                hyp_pool_name(pool), (ull)stats.current_bytes, (ull)stats.active, (ull)ret_leaks->handles);
		write_classes(&out, pool);
		if (stats.large_bytes != 0) hypi_out_format(&out, "  %llu bytes in large blocks\n", (ull)stats.large_bytes);
	}
	ret_leaks->sampled_sites = find_sites(writes ? &out : NULL, pool);
	if (writes) hypi_out_flush(&out);
	hypi_self.hooked = hooked;
}

hyp_status hyp_pool_leaks_find(hyp_pool *pool, int fd, hyp_pool_leaks *ret_leaks) {
	if (pool == NULL || ret_leaks == NULL || ret_leaks->struct_bytes < offsetof(hyp_pool_leaks, handles))
		return HYP_ERR_INVALID;
	hyp_pool_leaks leaks;
	find(pool, fd, &leaks);
	hypi_cleanup *record = hypi_cleanup_of(pool, false);
	pthread_mutex_lock(&hypi_cleanup_table);
	leaks.rising = record != NULL ? record->leak_rising : 0;
	pthread_mutex_unlock(&hypi_cleanup_table);
	size_t bytes = ret_leaks->struct_bytes < sizeof leaks ? ret_leaks->struct_bytes : sizeof leaks;
	leaks.struct_bytes = bytes;
	memcpy(ret_leaks, &leaks, bytes);
	return HYP_OK;
}

void hypi_cleanup_look_at_leaks(hypi_cleanup *record, uint64_t now_ms) {
	pthread_mutex_lock(&hypi_cleanup_table);
	bool due = record->tracks && record->tracking.leak_detection && now_ms >= record->leaks_due_ms;
	if (due) record->leaks_due_ms = now_ms + record->tracking.leak_detection_interval_ms;
	pthread_mutex_unlock(&hypi_cleanup_table);
	if (!due) return;
	hyp_stats stats;
	hypi_engine_stats(&record->pool->engine, &stats);
	pthread_mutex_lock(&hypi_cleanup_table);
	record->leak_rising = stats.active > record->leak_blocks ? record->leak_rising + 1 : 0;
	record->leak_blocks = stats.active;
	pthread_mutex_unlock(&hypi_cleanup_table);
}

/* ---- the end ---- */

/* Tells the profiler that the pool's picked blocks are freed. */
static void forget_picks(hyp_pool *pool) {
	hypi_profile *p = &hypi_profile_data;
	const hypi_sample_hooks *hooks = hypi_load_acquire(&hypi_sample_hooks_on); /* pairs with hypi_sample_set */
	if (hooks == NULL || p->picks == NULL) return;
	/* Removing moves later entries back: so from the end, and again until none is left. */
	for (bool any = true; any;) {
		any = false;
		for (size_t i = 0;; i++) {
			uintptr_t address = 0;
			hypi_profile_lock();
			while (i < p->pick_capacity && !is_of(pool, &p->picks[i])) i++;
			if (i < p->pick_capacity) address = p->picks[i].address;
			hypi_profile_unlock();
			if (address == 0) break;
			any = true;
			hooks->on_free((void *)address, hypi_span_at((void *)address)->block_bytes);
			if (i > 0) i--;
		}
	}
}

void hypi_cleanup_forget(hypi_cleanup *record, bool report) {
	if (report && record->tracks && record->tracking.leak_detection && record->tracking.report_fd >= 0) {
		hyp_pool_leaks leaks;
		find(record->pool, record->tracking.report_fd, &leaks);
	}
	if (hypi_load_relaxed(&hypi_sample_generation) != 0) forget_picks(record->pool);
}
