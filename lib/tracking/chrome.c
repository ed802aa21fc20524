/*
 * tracking/chrome.c: the timeline in Chrome's trace format: counters over time, and the ring's single events as instants.
 */
#include "heap/heap.h"
#include "tracking/bytes.h"
#include "tracking/profile.h"
#include "tracking/timeline.h"

#include <hypool/tracking.h>

#include <errno.h>
#include <unistd.h>

typedef unsigned long long ull;

static void write_ticks(hypi_out *out, int pid) {
	hypi_tick ticks[HYPI_TICKS];
	unsigned count = hypi_timeline_ticks(ticks, HYPI_TICKS);
	for (unsigned i = 0; i < count; i++)
		hypi_out_format(out,
		                ",\n{\"ph\":\"C\",\"name\":\"memory\",\"pid\":%d,\"ts\":%llu,\"args\":{\"resident\":%llu,"
		                "\"heap\":%llu,\"live\":%.0f}}",
		                pid, (ull)ticks[i].ms * 1000, (ull)ticks[i].resident_bytes, (ull)ticks[i].committed_bytes,
		                ticks[i].live_bytes);
}

static void write_events(hypi_out *out, int pid) {
	static const char *const names[HYP_EVENT_KINDS] = {"allocate", "free", "pressure", "event"};
	const hypi_event *event;
	for (uint64_t i = 0; (event = hypi_timeline_event_at(i)) != NULL; i++)
		hypi_out_format(out,
		                ",\n{\"ph\":\"i\",\"s\":\"t\",\"name\":\"%s\",\"pid\":%d,\"tid\":%u,\"ts\":%llu.%03u,\"args\":{"
		                "\"address\":\"0x%lx\","
		                "\"bytes\":%llu,\"site\":%u,\"device\":%d,\"live\":%.0f}}",
		                names[event->kind], pid, event->thread, (ull)(event->ns / 1000), (unsigned)(event->ns % 1000),
		                event->address, (ull)event->bytes, event->site, (int)event->device, (double)event->live_bytes);
}

hyp_status hyp_timeline_write(int fd) {
	hypi_process_init();
	bool hooked = hypi_self.hooked;
	hypi_self.hooked = true;
	hypi_bytes text = {0};
	hyp_status status = HYP_ERR_NO_MEMORY;
	int pid = (int)getpid();
	hypi_out out;
	hypi_bytes_out(&text, &out);
	hypi_out_format(&out,
	                "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{\"ph\":\"M\",\"name\":\"process_name\","
	                "\"pid\":%d,\"args\":{\"name\":\"hypool\"}}",
	                pid);
	write_ticks(&out, pid);
	hypi_profile_lock();
	write_events(&out, pid);
	hypi_profile_unlock();
	hypi_out_format(&out, "]}\n");
	hypi_out_flush(&out);
	if (!text.failed) status = hypi_write_all(fd, text.at, text.used) ? HYP_OK : HYP_ERR_OS;
	int saved = errno;
	hypi_bytes_fini(&text);
	hypi_self.hooked = hooked;
	errno = saved;
	return status;
}
