/*
 * tracking/query.c: questions to the timeline: which events, and what stands out in the curve of memory in use.
 *
 * Lock: the profile's while events are looked at.
 */
#include "heap/heap.h"
#include "tracking/pools.h"
#include "tracking/profile.h"
#include "tracking/timeline.h"

#include <hypool/tracking.h>

#include <string.h>

/* ---- events ---- */

static const char *pool_of(const hypi_event *event) {
	if (event->kind != HYP_EVENT_ALLOC && event->kind != HYP_EVENT_FREE) return "";
	if (hypi_profile_data.sites == NULL || event->device != 0) return "";
	return hypi_tracked_pool_at(hypi_profile_data.sites[event->site].pool)->name;
}

static bool fits(const hyp_timeline_filter *q, const hypi_event *event) {
	if (event->ns < q->from_ns || (q->to_ns != 0 && event->ns > q->to_ns)) return false;
	if (q->kinds != 0 && (q->kinds >> event->kind & 1) == 0) return false;
	if (event->bytes < q->least_bytes || (q->most_bytes != 0 && event->bytes > q->most_bytes)) return false;
	if (q->device != -1 && event->device != q->device) return false;
	return q->pool == NULL || strcmp(pool_of(event), q->pool) == 0;
}

hyp_status hyp_timeline_query(const hyp_timeline_filter *query, hyp_timeline_event *ret_events, size_t capacity,
                              size_t *ret_count) {
	hyp_timeline_filter q = {.device = -1};
	if (ret_count == NULL || (ret_events == NULL && capacity != 0)) return HYP_ERR_INVALID;
	if (query != NULL && query->struct_bytes != sizeof q) return HYP_ERR_INVALID;
	if (query != NULL) q = *query;
	hypi_process_init();
	size_t count = 0, skipped, filled = 0;
	const hypi_event *event;
	hypi_profile_lock();
	for (uint64_t i = 0; (event = hypi_timeline_event_at(i)) != NULL; i++) count += fits(&q, event);
	skipped = count > capacity ? count - capacity : 0;
	for (uint64_t i = 0; filled < capacity && (event = hypi_timeline_event_at(i)) != NULL; i++) {
		if (!fits(&q, event)) continue;
		if (skipped > 0) {
			skipped--;
			continue;
		}
		hyp_timeline_event *to = &ret_events[filled++];
		*to = (hyp_timeline_event){.ns = event->ns,
		                           .bytes = event->bytes,
		                           .live_bytes = (uint64_t)event->live_bytes,
		                           .address = event->address,
		                           .thread = event->thread,
		                           .device = event->device,
		                           .kind = (hyp_timeline_event_kind)event->kind};
		memcpy(to->pool, pool_of(event), strlen(pool_of(event)) + 1);
	}
	hypi_profile_unlock();
	*ret_count = count;
	return HYP_OK;
}

hyp_status hyp_timeline_add(const hyp_timeline_event *event) {
	if (event == NULL || (unsigned)event->kind >= HYP_EVENT_KINDS || event->device != (int16_t)event->device)
		return HYP_ERR_INVALID;
	hypi_process_init();
	return hypi_timeline_note(event->kind, event->address, event->bytes, event->device) ? HYP_OK : HYP_ERR_NOT_FOUND;
}

/* ---- anomalies ---- */

enum { LEAST_TICKS = 8, TIMES_SPREAD = 8 };
#define LEAST_BYTES ((int64_t)8 << 20)
#define LEAST_SPREAD ((double)(1 << 20)) /* a curve that hardly moves is no reason to call everything far off */

static void sort(int64_t *numbers, unsigned count) {
	for (unsigned gap = count / 2; gap > 0; gap /= 2)
		for (unsigned i = gap; i < count; i++)
			for (unsigned j = i; j >= gap && numbers[j - gap] > numbers[j]; j -= gap) {
				int64_t x = numbers[j];
				numbers[j] = numbers[j - gap];
				numbers[j - gap] = x;
			}
}

static int64_t distance(int64_t a, int64_t b) { return a > b ? a - b : b - a; }

/* The median of the changes and the spread around it. */
static double spread_of(const int64_t *changes, unsigned count, int64_t *ret_median) {
	int64_t sorted[HYPI_TICKS];
	memcpy(sorted, changes, count * sizeof *sorted);
	sort(sorted, count);
	*ret_median = sorted[count / 2];
	for (unsigned i = 0; i < count; i++) sorted[i] = distance(changes[i], *ret_median);
	sort(sorted, count);
	return 1.4826 * (double)sorted[count / 2];
}

unsigned hypi_timeline_find_anomalies(const hypi_tick *ticks, unsigned ticks_count, hyp_anomaly *ret_anomalies,
                                      unsigned capacity) {
	int64_t changes[HYPI_TICKS], median;
	unsigned found = 0;
	if (ticks_count < LEAST_TICKS) return 0;
	for (unsigned i = 1; i < ticks_count; i++)
		changes[i - 1] = (int64_t)ticks[i].committed_bytes - (int64_t)ticks[i - 1].committed_bytes;
	double spread = spread_of(changes, ticks_count - 1, &median);
	if (spread < LEAST_SPREAD) spread = LEAST_SPREAD;
	uint64_t soon_ms = (ticks[ticks_count - 1].ms - ticks[0].ms) / 5;
	for (unsigned i = 0; i + 1 < ticks_count; i++) {
		int64_t off = distance(changes[i], median);
		if (off < LEAST_BYTES || (double)off < TIMES_SPREAD * spread) continue;
		hyp_anomaly a = {.kind = changes[i] > 0 ? HYP_ANOMALY_JUMP : HYP_ANOMALY_DROP,
		                 .from_ms = ticks[i].ms,
		                 .to_ms = ticks[i + 1].ms,
		                 .bytes = changes[i],
		                 .score = (double)off / spread};
		hyp_anomaly *last = found > 0 ? &ret_anomalies[found - 1] : NULL;
		bool soon = last != NULL && a.from_ms - last->to_ms <= soon_ms;
		if (soon && last->kind == HYP_ANOMALY_JUMP && a.kind == HYP_ANOMALY_DROP && -a.bytes * 2 > last->bytes) {
			last->kind = HYP_ANOMALY_PEAK;
			last->to_ms = a.to_ms;
		} else if (last != NULL && last->kind == a.kind && last->to_ms == a.from_ms) {
			last->to_ms = a.to_ms; /* one change, seen in parts */
			last->bytes += a.bytes;
			if (a.score > last->score) last->score = a.score;
		} else if (found < capacity) {
			ret_anomalies[found++] = a;
		}
	}
	return found;
}

hyp_status hyp_timeline_anomalies(hyp_anomaly *ret_anomalies, size_t capacity, size_t *ret_count) {
	hyp_anomaly all[64];
	hypi_tick ticks[HYPI_TICKS];
	if (ret_count == NULL || (ret_anomalies == NULL && capacity != 0)) return HYP_ERR_INVALID;
	hypi_process_init();
	unsigned found =
		hypi_timeline_find_anomalies(ticks, hypi_timeline_ticks(ticks, HYPI_TICKS), all, HYP_ARRAY_LEN(all));
	for (unsigned i = 0; i < found && i < capacity; i++) ret_anomalies[i] = all[i];
	*ret_count = found;
	return HYP_OK;
}
