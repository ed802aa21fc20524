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
	hypi_tick ticks[HYPI_TICKS];
	hypi_event *events; /* under the profile's lock, as what follows */
	uint32_t capacity;
	uint64_t written;
} line;

bool hypi_timeline_start(uint64_t every_ms, uint32_t events) {
	if (events != 0 && line.events == NULL) {
		hypi_event *ring = hypi_os_map(hypi_round_up(events * sizeof *ring, hypi_os.page_bytes), hypi_os.page_bytes);
		if (ring == NULL) return false;
		hypi_profile_lock();
		line.capacity = events;
		line.events = ring;
		hypi_profile_unlock();
	}
	hypi_lock_take(&line.lock);
	if (line.start_ms == 0) {
		line.start_ms = hypi_os_now_coarse_ms();
		line.start_ns = hypi_os_now_ns();
	}
	if (line.every_ms == 0) line.every_ms = every_ms == 0 ? 1 : every_ms;
	hypi_store_relaxed(&line.next_ms, line.start_ms);
	hypi_unlock(&line.lock);
	return true;
}

void hypi_timeline_stop(void) { hypi_store_relaxed(&line.next_ms, 0); }

bool hypi_timeline_running(void) { return hypi_load_relaxed(&line.next_ms) != 0; }

static void add(uint64_t now_ms) {
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
	hypi_store_relaxed(&line.next_ms, now_ms + line.every_ms);
}

void hypi_timeline_look(uint64_t now_ms) {
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

void hypi_timeline_event(hypi_event_kind kind, uintptr_t address, uint64_t bytes, uint32_t site, double live_bytes) {
	if (line.events == NULL) return;
	line.events[line.written++ % line.capacity] = (hypi_event){
		.ns = hypi_os_now_ns() - line.start_ns,
		.address = address,
		.bytes = bytes,
		.live_bytes = live_bytes,
		.site = site,
		.thread = (uint32_t)((uintptr_t)&hypi_self >> 6), /* no system call: any number of its own will do */
		.kind = kind,
	};
}

unsigned hypi_timeline_ticks(hypi_tick *ret_ticks, unsigned capacity) {
	hypi_lock_take(&line.lock);
	unsigned count = line.count < capacity ? line.count : capacity;
	for (unsigned i = 0; i < count; i++) ret_ticks[i] = line.ticks[i];
	hypi_unlock(&line.lock);
	return count;
}

unsigned hypi_timeline_events(hypi_event *ret_events, unsigned capacity) {
	uint64_t have = line.written < line.capacity ? line.written : line.capacity;
	if (have > capacity) have = capacity;
	for (uint64_t i = 0; i < have; i++) ret_events[i] = line.events[(line.written - have + i) % line.capacity];
	return (unsigned)have;
}

void hypi_timeline_range(uintptr_t *ret_start, uintptr_t *ret_end) {
	*ret_start = (uintptr_t)line.events;
	*ret_end = (uintptr_t)(line.events + line.capacity);
}
