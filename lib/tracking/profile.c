/*
 * tracking/profile.c: see tracking/profile.h. The tables are open-addressed with linear probing; an entry is removed by
 * moving later ones back (Knuth, vol. 3, 6.4, algorithm R), so they never silt up.
 */
#include "tracking/profile.h"

#include "base/bits.h"
#include "core/meta.h"
#include "heap/sample.h"
#include "tracking/box.h"
#include "tracking/live.h"
#include "tracking/pools.h"
#include "tracking/probes.h"
#include "tracking/start.h"
#include "tracking/timeline.h"
#include "tracking/trace.h"
#include "tracking/unwind.h"

#include <hypool/tracking.h>

#include <string.h>

hypi_profile hypi_profile_data;
static hypi_profile *const P = &hypi_profile_data;

enum { FIRST_PICKS = 64, FIRST_INDEX = 512, NO_SITE = 0 }; /* what is not touched costs no memory */

uint32_t hypi_profile_now_ms(void) { return (uint32_t)(hypi_os_now_coarse_ms() - P->start_ms); }
void hypi_profile_lock(void) { hypi_lock_take(&P->lock); }
void hypi_profile_unlock(void) { hypi_unlock(&P->lock); }

/* ---- call sites ---- */

static uint64_t hash_frames(const uintptr_t *frames, unsigned depth, uint32_t pool) {
	uint64_t hash = depth + ((uint64_t)pool << 32);
	for (unsigned i = 0; i < depth; i++) hash = (hash ^ frames[i]) * UINT64_C(0x9e3779b97f4a7c15) + (hash >> 29);
	return hypi_mix64(hash) | 1;
}

void hypi_profile_reindex(void) {
	uint32_t entries = P->index_entries;
	for (uint32_t i = 1; i < P->site_count; i++) {
		uint32_t at = (uint32_t)(P->sites[i].hash >> 20) & (entries - 1);
		while (P->site_index[at] != 0) at = (at + 1) & (entries - 1);
		P->site_index[at] = i;
	}
}

/* The index is as large as the sites need, so that few sites touch few pages. */
static void grow_index(void) {
	memset(P->site_index, 0, P->index_entries * sizeof *P->site_index);
	P->index_entries *= 2;
	hypi_profile_reindex();
}

static uint32_t site_of(const uintptr_t *frames, unsigned depth, uint32_t pool, uint32_t now_ms) {
	uint64_t hash = hash_frames(frames, depth, pool);
	if (P->site_count * 2 > P->index_entries && P->index_entries < 2 * HYPI_SITES) grow_index();
	const uint32_t mask = P->index_entries - 1;
	uint32_t at = (uint32_t)(hash >> 20) & mask;
	for (; P->site_index[at] != 0; at = (at + 1) & mask) {
		const hypi_site *site = &P->sites[P->site_index[at]];
		if (site->hash == hash && site->depth == depth && site->pool == pool &&
		    memcmp(hypi_site_frames(site), frames, depth * sizeof *frames) == 0)
			return P->site_index[at];
	}
	if (P->site_count == HYPI_SITES || P->frame_count + depth > HYPI_ALL_FRAMES) return NO_SITE;
	hypi_site *site = &P->sites[P->site_count];
	site->hash = hash;
	site->first = P->frame_count;
	site->depth = depth;
	site->pool = pool;
	site->first_ms = now_ms;
	memcpy(P->frames + P->frame_count, frames, depth * sizeof *frames);
	P->frame_count += depth;
	hypi_box_note_frames(frames, depth);
	return P->site_index[at] = P->site_count++;
}

/* ---- blocks ---- */

static size_t slot_of(uintptr_t address) { return hypi_mix64(address) & (P->pick_capacity - 1); }

hypi_pick *hypi_profile_pick_of(uintptr_t address) {
	if (P->picks == NULL) return NULL;
	for (size_t at = slot_of(address); P->picks[at].address != 0; at = (at + 1) & (P->pick_capacity - 1))
		if (P->picks[at].address == address) return &P->picks[at];
	return NULL;
}

static void place(const hypi_pick *pick) {
	size_t at = slot_of(pick->address);
	while (P->picks[at].address != 0) at = (at + 1) & (P->pick_capacity - 1);
	P->picks[at] = *pick;
}

/* A mapping that the kernel will not take back costs address space, nothing else. */
static void drop(void *p, size_t bytes) {
	hyp_status status = hypi_os_unmap(p, hypi_round_up(bytes, hypi_os.page_bytes));
	(void)status;
}

static bool grow(void) {
	size_t capacity = P->pick_capacity == 0 ? FIRST_PICKS : P->pick_capacity * 2, before = P->pick_capacity;
	hypi_pick *old = P->picks, *picks = hypi_os_map(capacity * sizeof *picks, hypi_os.page_bytes);
	if (picks == NULL) return false;
	P->picks = picks;
	P->pick_capacity = capacity;
	for (size_t i = 0; i < before; i++)
		if (old[i].address != 0) place(&old[i]);
	if (old != NULL) drop(old, before * sizeof *old);
	return true;
}

static void remove_pick(hypi_pick *pick) {
	size_t mask = P->pick_capacity - 1, hole = (size_t)(pick - P->picks);
	for (size_t at = (hole + 1) & mask; P->picks[at].address != 0; at = (at + 1) & mask) {
		size_t home = slot_of(P->picks[at].address);
		if (((at - home) & mask) < ((at - hole) & mask)) continue;
		P->picks[hole] = P->picks[at];
		hole = at;
	}
	P->picks[hole].address = 0;
	P->pick_count--;
}

/* ---- what the sampler tells ---- */

/* Before a site changes: keeps what it held at the peak, once for each peak. So a new peak costs nothing, and each site
 * is exact. */
static void keep_peak(hypi_site *site) {
	if (site->peak_epoch == P->peak_epoch) return;
	site->peak_epoch = P->peak_epoch;
	site->at_peak_bytes = site->live_bytes;
	site->at_peak_count = site->live_count;
}

void hypi_site_at_peak(const hypi_site *site, double *ret_bytes, double *ret_count) {
	bool kept = site->peak_epoch == P->peak_epoch;
	*ret_bytes = kept ? site->at_peak_bytes : site->live_bytes;
	*ret_count = kept ? site->at_peak_count : site->live_count;
}

static void change_live(double bytes) {
	P->live_bytes += bytes;
	if (P->pick_count == 0 || P->live_bytes < 0) P->live_bytes = 0; /* no rounding left behind */
	hypi_store_relaxed(&P->live_now, (uint64_t)P->live_bytes);
}

static void count_alloc(hypi_site *site, const hypi_pick *pick) {
	double scale = (double)pick->scale, bytes = (double)pick->asked * scale;
	keep_peak(site);
	site->last_ms = pick->born_ms;
	site->picks++;
	site->pick_bytes += pick->asked + pick->slack;
	site->live_picks++;
	site->live_pick_bytes += pick->asked + pick->slack;
	site->count += scale;
	site->bytes += bytes;
	site->slack_bytes += (double)pick->slack * scale;
	site->live_count += scale;
	site->live_bytes += bytes;
	if (site->live_bytes > site->peak_bytes) site->peak_bytes = site->live_bytes;
	P->total_bytes += bytes;
	P->total_count += scale;
	change_live(bytes);
	if (P->live_bytes > P->peak_live_bytes) {
		P->peak_live_bytes = P->live_bytes;
		P->peak_ms = pick->born_ms;
		P->peak_epoch++;
	}
}

static void on_look(uint64_t now_ms);
static void drop_pool(uint32_t pool);

static void on_alloc(void *p, size_t asked, size_t usable, double scale) {
	uintptr_t frames[HYPI_FRAMES];
	hypi_stack none = {0}, *stack = &none;
	/* A pool may be sampled while the process is not: then the thread's heap there knows the stack. */
	const hypi_heap *own = hypi_self.heap, *sampled = own != NULL && own->sampler != NULL ? own : hypi_self.pool_heap;
	if (sampled->sampler != NULL) stack = (hypi_stack *)(void *)sampled->sampler->stack;
	unsigned depth = hypi_unwind(stack, frames, HYPI_FRAMES);
	on_look(hypi_os_now_coarse_ms());
	hypi_pick pick = {.address = (uintptr_t)p, .asked = asked, .scale = (float)scale, .born_ms = hypi_profile_now_ms()};
	pick.slack = usable - asked > UINT32_MAX ? UINT32_MAX : (uint32_t)(usable - asked);
	hypi_trace_alloc((uintptr_t)p, asked, pick.born_ms);
	hypi_probe_alloc((uintptr_t)p, asked, scale);
	hypi_lock_take(&P->lock);
	hypi_box_leave(); /* a child that was made without the handlers of fork */
	if (P->pick_count >= P->pick_capacity / 4 * 3 && !grow() && P->pick_count >= P->pick_capacity / 8 * 7) {
		P->lost_picks++;
	} else {
		bool stale;
		uint32_t pool = hypi_pool_number(hypi_span_engine(hypi_span_at(p)), &stale);
		if (HYP_UNLIKELY(stale)) drop_pool(pool);
		pick.site = site_of(frames, depth, pool, pick.born_ms);
		place(&pick);
		P->pick_count++;
		count_alloc(&P->sites[pick.site], &pick);
		hypi_timeline_event(HYP_EVENT_ALLOC, (uintptr_t)p, asked, pick.site, P->live_bytes);
		hypi_box_keep();
	}
	hypi_unlock(&P->lock);
	hypi_leaks_look(hypi_os_now_coarse_ms());
}

static void count_free(hypi_pick *pick, uint32_t now_ms) {
	hypi_site *site = &P->sites[pick->site];
	double scale = (double)pick->scale, bytes = (double)pick->asked * scale;
	uint32_t life_ms = now_ms - pick->born_ms;
	keep_peak(site);
	site->live_picks--;
	site->live_pick_bytes -= pick->asked + pick->slack;
	site->live_count -= scale;
	site->live_bytes -= bytes;
	if (site->live_picks == 0) { /* no rounding left behind */
		site->live_count = site->live_bytes = 0;
		site->live_pick_bytes = 0;
	}
	site->freed_picks++;
	site->life_ms += life_ms;
	if (life_ms <= HYPI_BRIEF_MS) site->brief_picks++;
	hypi_pick gone = *pick;
	remove_pick(pick);
	change_live(-bytes);
	hypi_timeline_event(HYP_EVENT_FREE, gone.address, gone.asked, gone.site, P->live_bytes);
}

/* ---- pools that were emptied ---- */

/* What is removed may pull a later entry into its place: the same index is looked at again. */
static void drop_pool(uint32_t pool) {
	uint32_t now_ms = hypi_profile_now_ms();
	for (size_t i = 0; i < P->pick_capacity;) {
		hypi_pick *pick = &P->picks[i];
		if (pick->address != 0 && P->sites[pick->site].pool == pool) count_free(pick, now_ms);
		else i++;
	}
}

void hypi_profile_refresh(void) {
	for (uint32_t i = 1; P->sites != NULL && i < hypi_tracked_pool_count(); i++)
		if (hypi_tracked_pool_is_stale(i)) drop_pool(i);
}

static void on_free(void *p, size_t usable) {
	(void)usable; /* the pick knows what it counted */
	uint32_t now_ms = hypi_profile_now_ms();
	hypi_trace_free((uintptr_t)p, now_ms);
	hypi_probe_free((uintptr_t)p);
	hypi_lock_take(&P->lock);
	hypi_box_leave();
	hypi_pick *pick = hypi_profile_pick_of((uintptr_t)p);
	if (pick != NULL) count_free(pick, now_ms);
	hypi_box_keep();
	hypi_unlock(&P->lock);
}

HYPI_NEAR static void on_look(uint64_t now_ms) {
	hypi_timeline_look(now_ms);
	hypi_live_look(now_ms);
	hypi_box_look(now_ms);
}

static const hypi_sample_hooks hooks = {
	.on_alloc = on_alloc, .on_free = on_free, .on_look = on_look, .mean_of = hypi_pool_mean_of};

/* ---- switches ---- */

static bool make_tables(void) {
	if (P->sites != NULL) return true;
	/* Charged only as they are touched. */
	size_t sites = HYPI_SITES * sizeof(hypi_site), frames = HYPI_ALL_FRAMES * sizeof(uintptr_t);
	size_t index = 2 * HYPI_SITES * sizeof(uint32_t);
	char *p = hypi_box_tables();
	if (p == NULL) p = hypi_os_map(hypi_round_up(sites + frames + index, hypi_os.page_bytes), hypi_os.page_bytes);
	if (p == NULL) return false;
	P->frames = (uintptr_t *)(void *)(p + sites);
	P->site_index = (uint32_t *)(void *)(p + sites + frames);
	P->sites = (hypi_site *)(void *)p;
	P->index_entries = FIRST_INDEX;
	P->site_count = 1;
	P->start_ms = hypi_os_now_coarse_ms();
	return grow();
}

HYPI_NEAR void hypi_tracking_listen(void) {
	/* The clock alone: the timeline without call sites. */
	hypi_sample_set(hypi_sample_mean(), &hooks);
}

static void prepare(void) { hypi_lock_take(&P->lock); }
static void parent(void) { hypi_unlock(&P->lock); }
static void child(void) {
	hypi_lock_reset(&P->lock);
	hypi_timeline_fork_child();
	hypi_trace_fork_child();
	hypi_box_leave();
}

hyp_status hypi_profile_ready(uint64_t mean_bytes) {
	static hypi_lock once;
	static bool forks;
	hypi_process_init();
	hypi_unwind_init();
	hypi_lock_take(&once);
	bool first = !forks;
	forks = true;
	hypi_unlock(&once);
	if (first) hypi_os_fork_init(prepare, parent, child);
	hypi_lock_take(&P->lock);
	bool made = make_tables();
	if (made && P->mean_bytes != 0 && P->mean_bytes != mean_bytes) P->mixed = true;
	if (made && P->mean_bytes == 0) P->mean_bytes = mean_bytes;
	if (mean_bytes > 1) P->partial = true;
	hypi_unlock(&P->lock);
	return made ? HYP_OK : HYP_ERR_NO_MEMORY;
}

hyp_status hyp_profile_start(uint64_t mean_bytes) {
	if (mean_bytes == 0) return HYP_ERR_INVALID;
	hyp_status status = hypi_profile_ready(mean_bytes);
	if (status != HYP_OK) return status;
	hypi_lock_take(&P->lock);
	P->running = true;
	P->mean_bytes = mean_bytes;
	hypi_unlock(&P->lock);
	hypi_sample_set(mean_bytes, &hooks);
	return HYP_OK;
}

void hyp_profile_stop(void) {
	hypi_lock_take(&P->lock);
	P->running = false;
	P->partial = true;
	hypi_unlock(&P->lock);
	hypi_sample_set(0, NULL);
}

void hyp_profile_reset(void) {
	hypi_lock_take(&P->lock);
	for (uint32_t i = 0; i < P->site_count; i++) {
		hypi_site *site = &P->sites[i];
		site->picks = site->live_picks;
		site->pick_bytes = site->live_pick_bytes;
		site->count = site->live_count;
		site->bytes = site->peak_bytes = site->live_bytes;
		site->freed_picks = site->life_ms = site->brief_picks = 0;
		site->slack_bytes = 0;
	}
	P->peak_live_bytes = P->live_bytes;
	P->total_bytes = P->live_bytes;
	hypi_unlock(&P->lock);
}
