/*
 * tracking/leaks_device.c: blocks of devices that were made and not freed, by device.
 *
 * The processor may not read a device's memory, nor is every driver's address a pointer: so nothing is looked for there.
 * What is known is what the ring of the timeline was told (hyp_timeline_add): allocations and frees are paired by device
 * and address, in order. What the ring has dropped is not known, and the report says so.
 *
 * Runs under the profile's lock, in the place of who asked for the report (tracking/leaks.c); allocates by mapping alone.
 */
#include "base/bits.h"
#include "os/os.h"
#include "tracking/timeline.h"

enum { DEVICES = 16 };

typedef struct entry {
	uintptr_t address;
	uint64_t bytes; /* 0 with an address: freed */
	int32_t device; /* 0: an empty place */
} entry;

typedef struct device_sum {
	int32_t device;
	uint64_t blocks, bytes;
} device_sum;

static entry *place_of(entry *entries, size_t capacity, const hypi_event *e) {
	size_t at = hypi_mix64(e->address ^ (uint64_t)(uint16_t)e->device << 48) & (capacity - 1);
	while (entries[at].device != 0 && (entries[at].device != e->device || entries[at].address != e->address))
		at = (at + 1) & (capacity - 1);
	return &entries[at];
}

static bool concerns(const hypi_event *e) {
	return e->device != 0 && (e->kind == HYP_EVENT_ALLOC || e->kind == HYP_EVENT_FREE);
}

/* Fills at most `capacity` sums; returns how many. */
static unsigned sum_up(device_sum *ret_sums, unsigned capacity) {
	size_t count = 0;
	const hypi_event *e;
	for (uint64_t i = 0; (e = hypi_timeline_event_at(i)) != NULL; i++) count += concerns(e);
	if (count == 0) return 0;
	size_t places = (size_t)1 << hypi_log2_ceil(2 * count),
		   bytes = hypi_round_up(places * sizeof(entry), hypi_os.page_bytes);
	entry *entries = hypi_os_map(bytes, hypi_os.page_bytes);
	if (entries == NULL) return 0;
	for (uint64_t i = 0; (e = hypi_timeline_event_at(i)) != NULL; i++) {
		if (!concerns(e)) continue;
		*place_of(entries, places, e) =
			(entry){.address = e->address, .bytes = e->kind == HYP_EVENT_ALLOC ? e->bytes : 0, .device = e->device};
	}
	unsigned known = 0;
	for (size_t i = 0; i < places; i++) {
		if (entries[i].device == 0 || entries[i].bytes == 0) continue;
		unsigned d = 0;
		while (d < known && ret_sums[d].device != entries[i].device) d++;
		if (d == capacity) continue;
		if (d == known) ret_sums[known++] = (device_sum){.device = entries[i].device};
		ret_sums[d].blocks++;
		ret_sums[d].bytes += entries[i].bytes;
	}
	hyp_status status = hypi_os_unmap(entries, bytes);
	(void)status; /* a mapping that stays costs address space */
	return known;
}

void hypi_leaks_write_devices(hypi_out *out) {
	device_sum sums[DEVICES];
	unsigned count = sum_up(sums, DEVICES);
	for (unsigned i = 0; i < count; i++)
		hypi_out_format(
			out, "hypool: leaks: %llu bytes in %llu blocks of device %d not freed, of the events that are kept\n",
			(unsigned long long)sums[i].bytes, (unsigned long long)sums[i].blocks, (int)sums[i].device);
}
