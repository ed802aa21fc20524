/* tracking/timeline.c: see tracking/timeline.h. */
#include "tracking/timeline.h"

#include "base/bits.h"
#include "heap/heap.h"
#include "os/os.h"
#include "tracking/profile.h"

static struct {
	hypi_lock lock;
	_Atomic uint64_t next_ms; /* when the next tick is due; 0: off */
	uint64_t start_ms, start_ns, every_ms;
	unsigned count;
	uint64_t peak_bytes;
	hypi_tick ticks[HYPI_TICKS];
	hypi_event *events; /* under the profile's lock, as what follows */
	uint32_t capacity;
	uint64_t written, most_age_ns; /* most_age_ns 0: any */
} line;

HYPI_NEAR bool hypi_timeline_start(uint64_t every_ms, uint32_t events) {
	if (events != 0 && line.events == NULL && hyp_timeline_keep(events, 0) != HYP_OK) return false;
	hypi_lock_take(&line.lock);
	if (line.start_ms == 0) {
		line.start_ms = hypi_os_now_coarse_ms();
		if (line.start_ns == 0) line.start_ns = hypi_os_now_ns();
	}
	if (line.every_ms == 0) line.every_ms = every_ms == 0 ? 1 : every_ms;
	hypi_store_relaxed(&line.next_ms, line.start_ms);
	hypi_unlock(&line.lock);
	return true;
}

void hypi_timeline_stop(void) { hypi_store_relaxed(&line.next_ms, 0); }

bool hypi_timeline_running(void) { return hypi_load_relaxed(&line.next_ms) != 0; }

HYPI_NEAR static void add(uint64_t now_ms) {
	if (line.count == HYPI_TICKS) {
		for (unsigned i = 0; i < HYPI_TICKS / 2; i++) line.ticks[i] = line.ticks[2 * i + 1];
		line.count = HYPI_TICKS / 2;
		line.every_ms *= 2;
	}
	hypi_large_pool *pool = &hypi_default_engine.large;
	hypi_lock_take(&pool->lock);
	size_t used = pool->used_slices, huge = pool->huge_bytes;
	hypi_unlock(&pool->lock);
	line.ticks[line.count++] = (hypi_tick){
		.ms = now_ms - line.start_ms,
		.committed_bytes = ((uint64_t)used << HYPI_SLICE_LOG2) + huge,
		.resident_bytes = hypi_os_resident_bytes(),
		.live_bytes = (double)hypi_load_relaxed(&hypi_profile_data.live_now),
	};
	uint64_t committed = line.ticks[line.count - 1].committed_bytes;
	if (committed > line.peak_bytes) line.peak_bytes = committed;
	hypi_store_relaxed(&line.next_ms, now_ms + line.every_ms);
}

HYPI_NEAR void hypi_timeline_look(uint64_t now_ms) {
	uint64_t next = hypi_load_relaxed(&line.next_ms);
	if (HYP_LIKELY(next == 0 || now_ms < next) || !hypi_lock_try(&line.lock)) return;
	add(now_ms);
	hypi_unlock(&line.lock);
}

void hypi_timeline_fork_child(void) { hypi_lock_reset(&line.lock); }

void hypi_timeline_tick(void) {
	if (!hypi_timeline_running() || !hypi_lock_try(&line.lock)) return;
	add(hypi_os_now_coarse_ms());
	hypi_unlock(&line.lock);
}

/* ---- single events ---- */

static void add_event(hypi_event event) {
	event.ns = hypi_os_now_ns() - line.start_ns;
	event.thread = (uint32_t)((uintptr_t)&hypi_self >> 6); /* no system call: any number of its own will do */
	line.events[line.written++ % line.capacity] = event;
}

void hypi_timeline_event(hyp_timeline_event_kind kind, uintptr_t address, uint64_t bytes, uint32_t site,
                         double live_bytes) {
	if (line.events == NULL) return;
	add_event((hypi_event){
		.address = address, .bytes = bytes, .live_bytes = (float)live_bytes, .site = site, .kind = (uint8_t)kind});
}

bool hypi_timeline_note(hyp_timeline_event_kind kind, uintptr_t address, uint64_t bytes, int32_t device) {
	hypi_profile_lock();
	bool kept = line.events != NULL;
	if (kept)
		add_event((hypi_event){.address = address,
		                       .bytes = bytes,
		                       .live_bytes = (float)hypi_profile_data.live_bytes,
		                       .device = (int16_t)device,
		                       .kind = (uint8_t)kind});
	hypi_profile_unlock();
	return kept;
}

static uint64_t kept(void) { return line.written < line.capacity ? line.written : line.capacity; }

const hypi_event *hypi_timeline_event_at(uint64_t i) {
	uint64_t have = kept(), first = line.written - have, now_ns = hypi_os_now_ns() - line.start_ns;
	/* They are in order of time: those that are too old come first. */
	uint64_t low = 0, high = line.most_age_ns == 0 || now_ns < line.most_age_ns ? 0 : have;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		if (line.events[(first + middle) % line.capacity].ns + line.most_age_ns < now_ns) low = middle + 1;
		else high = middle;
	}
	return i < have - low ? &line.events[(first + low + i) % line.capacity] : NULL;
}

hyp_status hyp_timeline_keep(uint32_t events, uint64_t most_age_ms) {
	if (events > 1u << 24) return HYP_ERR_INVALID;
	hypi_process_init();
	size_t bytes = hypi_round_up(events * sizeof *line.events, hypi_os.page_bytes);
	hypi_event *ring = events != 0 ? hypi_os_map(bytes, hypi_os.page_bytes) : NULL;
	if (events != 0 && ring == NULL) return HYP_ERR_NO_MEMORY;
	hypi_profile_lock();
	if (line.start_ns == 0) line.start_ns = hypi_os_now_ns();
	hypi_event *old = line.events;
	size_t old_bytes = hypi_round_up(line.capacity * sizeof *old, hypi_os.page_bytes);
	uint64_t have = old != NULL ? kept() : 0, copied = have < events ? have : events;
	for (uint64_t i = 0; i < copied; i++) ring[i] = old[(line.written - copied + i) % line.capacity];
	line.events = ring;
	line.capacity = events;
	line.written = copied;
	line.most_age_ns = most_age_ms * 1000000;
	hypi_profile_unlock();
	if (old == NULL) return HYP_OK;
	hyp_status status = hypi_os_unmap(old, old_bytes);
	(void)status; /* a mapping that stays costs address space */
	return HYP_OK;
}

uint64_t hypi_timeline_peak_bytes(void) {
	hypi_lock_take(&line.lock);
	uint64_t peak = line.peak_bytes;
	hypi_unlock(&line.lock);
	return peak;
}

unsigned hypi_timeline_ticks(hypi_tick *ret_ticks, unsigned capacity) {
	hypi_lock_take(&line.lock);
	unsigned count = line.count < capacity ? line.count : capacity;
	for (unsigned i = 0; i < count; i++) ret_ticks[i] = line.ticks[i];
	hypi_unlock(&line.lock);
	return count;
}

void hypi_timeline_load(const hypi_tick *ticks, unsigned count, uint64_t peak_bytes) {
	hypi_lock_take(&line.lock);
	for (unsigned i = 0; i < count; i++) line.ticks[i] = ticks[i];
	line.count = count;
	line.peak_bytes = peak_bytes;
	hypi_unlock(&line.lock);
}

void hypi_timeline_range(uintptr_t *ret_start, uintptr_t *ret_end) {
	*ret_start = (uintptr_t)line.events;
	*ret_end = (uintptr_t)(line.events + line.capacity);
}
