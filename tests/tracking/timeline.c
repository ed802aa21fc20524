/*
 * The timeline's questions: single events by time, kind, size, pool and device, how many and how old they may be; and
 * what stands out in a curve, on curves that were made for it and on the process's own.
 */
#include "tracking/check.h"

#include "tracking/timeline.h"

#include <hypool/hypool.h>
#include <hypool/pool.h>

#include <time.h>
#include <unistd.h>

static void nap(long ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL); }

static size_t count_of(hyp_timeline_filter query) {
	size_t count;
	query.struct_bytes = sizeof query;
	CHECK(hyp_timeline_query(&query, NULL, 0, &count) == HYP_OK, "query");
	return count;
}

static hyp_timeline_event events[4096];

static void by_everything(hyp_pool *pool) {
	size_t count;
	void *p[10];
	uint64_t before_ns, between_ns;
	hyp_timeline_event mark = {.kind = HYP_EVENT_USER, .bytes = 77, .device = 3, .address = 5};
	CHECK(hyp_timeline_add(&mark) == HYP_OK, "add");
	CHECK(hyp_timeline_query(NULL, events, 4096, &count) == HYP_OK && count >= 1, "all");
	before_ns = events[count - 1].ns;
	CHECK(events[count - 1].bytes == 77 && events[count - 1].device == 3 && events[count - 1].address == 5, "the mark");
	for (int i = 0; i < 10; i++) p[i] = hyp_malloc(1000 + (size_t)i);
	nap(5);
	CHECK(hyp_timeline_add(&mark) == HYP_OK, "add");
	CHECK(hyp_timeline_query(NULL, events, 4096, &count) == HYP_OK, "all");
	between_ns = events[count - 1].ns;
	CHECK(between_ns >= before_ns + 5000000, "time passes");
	for (size_t i = 1; i < count; i++) CHECK(events[i].ns >= events[i - 1].ns, "in order");
	for (int i = 0; i < 4; i++) hyp_free(p[i]);
	void *of_pool = hyp_pool_malloc(pool, 5000);
	CHECK(count_of((hyp_timeline_filter){
			  .device = -1, .from_ns = before_ns, .to_ns = between_ns, .kinds = 1u << HYP_EVENT_ALLOC}) == 10,
	      "allocations between the marks");
	CHECK(count_of((hyp_timeline_filter){.device = -1, .from_ns = between_ns, .kinds = 1u << HYP_EVENT_FREE}) == 4,
	      "frees after");
	CHECK(count_of((hyp_timeline_filter){.device = -1,
	                                     .least_bytes = 1003,
	                                     .most_bytes = 1005,
	                                     .from_ns = before_ns,
	                                     .kinds = 1u << HYP_EVENT_ALLOC}) == 3,
	      "by size");
	CHECK(count_of((hyp_timeline_filter){.device = 3}) == 2 && count_of((hyp_timeline_filter){.device = 4}) == 0,
	      "by device");
	CHECK(count_of((hyp_timeline_filter){.device = -1, .pool = "mine"}) == 1, "by pool");
	hyp_timeline_filter query = {.struct_bytes = sizeof query, .device = -1, .pool = "mine"};
	CHECK(hyp_timeline_query(&query, events, 1, &count) == HYP_OK && events[0].bytes == 5000 &&
	          strcmp(events[0].pool, "mine") == 0,
	      "what it says");
	query = (hyp_timeline_filter){.struct_bytes = sizeof query, .device = 3};
	CHECK(hyp_timeline_query(&query, events, 1, &count) == HYP_OK && count == 2 && events[0].ns == between_ns,
	      "the newest of them");
	query.struct_bytes = 3;
	CHECK(hyp_timeline_query(&query, events, 1, &count) == HYP_ERR_INVALID, "a struct of another size");
	hyp_pool_free(pool, of_pool);
	for (int i = 4; i < 10; i++) hyp_free(p[i]);
}

static void kept(void) {
	size_t count;
	hyp_timeline_event mark = {.kind = HYP_EVENT_USER};
	CHECK(hyp_timeline_keep(1u << 25, 0) == HYP_ERR_INVALID, "too many");
	CHECK(hyp_timeline_keep(5, 0) == HYP_OK, "five");
	CHECK(hyp_timeline_query(NULL, events, 4096, &count) == HYP_OK && count == 5, "%zu of the old ones stay", count);
	for (uint64_t i = 0; i < 12; i++) {
		mark.bytes = i;
		CHECK(hyp_timeline_add(&mark) == HYP_OK, "add");
	}
	CHECK(hyp_timeline_query(NULL, events, 4096, &count) == HYP_OK && count == 5, "%zu", count);
	for (uint64_t i = 0; i < 5; i++) CHECK(events[i].bytes == 7 + i, "the last ones");
	CHECK(hyp_timeline_keep(100, 60) == HYP_OK, "by age");
	CHECK(hyp_timeline_query(NULL, events, 4096, &count) == HYP_OK && count == 5, "%zu", count);
	nap(80);
	CHECK(hyp_timeline_add(&mark) == HYP_OK, "add");
	CHECK(hyp_timeline_query(NULL, events, 4096, &count) == HYP_OK && count == 1, "%zu are young", count);
	CHECK(hyp_timeline_keep(0, 0) == HYP_OK && hyp_timeline_add(&mark) == HYP_ERR_NOT_FOUND, "none");
	CHECK(hyp_timeline_query(NULL, events, 4096, &count) == HYP_OK && count == 0, "%zu", count);
}

static unsigned find(const unsigned *mebibytes, unsigned count, hyp_anomaly *ret_found) {
	hypi_tick ticks[HYPI_TICKS];
	for (unsigned i = 0; i < count; i++)
		ticks[i] = (hypi_tick){.ms = 10 * i, .committed_bytes = (uint64_t)mebibytes[i] << 20};
	return hypi_timeline_find_anomalies(ticks, count, ret_found, 8);
}

static void anomalies(void) {
	static const unsigned calm[] = {10, 12, 11, 13, 12, 14, 12, 13, 11, 12, 13, 12};
	static const unsigned grows[] = {10, 30, 50, 70, 90, 110, 130, 150, 170, 190};
	static const unsigned jump[] = {10, 12, 11, 13, 12, 90, 91, 92, 91, 90, 92, 91};
	static const unsigned peak[] = {10, 12, 11, 13, 12, 90, 13, 12, 13, 12, 11, 12};
	static const unsigned drop[] = {80, 82, 81, 83, 82, 20, 21, 22, 21, 20};
	hyp_anomaly found[8];
	CHECK(find(calm, 12, found) == 0, "a calm curve");
	CHECK(find(grows, 10, found) == 0, "even growth is no anomaly");
	CHECK(find(jump, 4, found) == 0, "too short to say");
	CHECK(find(jump, 12, found) == 1 && found[0].kind == HYP_ANOMALY_JUMP && found[0].bytes == 78 << 20, "a jump");
	CHECK(found[0].from_ms == 40 && found[0].to_ms == 50 && found[0].score > 8 && found[0].score < 80, "where");
	CHECK(find(peak, 12, found) == 1 && found[0].kind == HYP_ANOMALY_PEAK && found[0].bytes == 78 << 20, "a peak");
	CHECK(found[0].from_ms == 40 && found[0].to_ms == 60, "where");
	CHECK(find(drop, 10, found) == 1 && found[0].kind == HYP_ANOMALY_DROP && found[0].bytes == -(62 << 20), "a drop");
	size_t count = 99;
	CHECK(hyp_timeline_anomalies(NULL, 0, &count) == HYP_OK && count == 0, "of this process: %zu", count);
	CHECK(hyp_timeline_anomalies(NULL, 1, &count) == HYP_ERR_INVALID, "no room");
}

/* Whether a report written now has advice on devices. */
static bool advises_on_a_device(void) {
	static char text[1 << 20];
	char name[] = "/tmp/hypool-timeline-XXXXXX";
	int fd = mkstemp(name);
	CHECK(fd >= 0 && unlink(name) == 0, "mkstemp");
	CHECK(hyp_profile_write(fd, HYP_PROFILE_HYPOOL) == HYP_OK, "write");
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	CHECK(n > 0, "read");
	text[n] = '\0';
	close(fd);
	const char *line = strstr(text, "\nadvice device ");
	CHECK(line == NULL || strstr(line, "200 of 200 blocks") != NULL, "%.200s", line);
	return line != NULL;
}

/* Short-lived blocks of one device are a pattern; what lives longer, or lies in the host's memory, is none. */
static void device_pattern(void) {
	hyp_timeline_event made = {.kind = HYP_EVENT_ALLOC, .bytes = 4096, .device = 3};
	CHECK(hyp_timeline_keep(0, 0) == HYP_OK && hyp_timeline_keep(4096, 0) == HYP_OK, "an empty ring");
	for (uintptr_t i = 1; i <= 200; i++) {
		made.address = i << 12;
		made.kind = HYP_EVENT_ALLOC;
		CHECK(hyp_timeline_add(&made) == HYP_OK, "add");
	}
	CHECK(!advises_on_a_device(), "kept blocks");
	CHECK(hyp_timeline_keep(0, 0) == HYP_OK && hyp_timeline_keep(4096, 0) == HYP_OK, "an empty ring");
	for (uintptr_t i = 1; i <= 200; i++) {
		made.address = (i % 7 + 1) << 12;
		made.kind = HYP_EVENT_ALLOC;
		CHECK(hyp_timeline_add(&made) == HYP_OK, "add");
		made.kind = HYP_EVENT_FREE;
		CHECK(hyp_timeline_add(&made) == HYP_OK, "add");
	}
	CHECK(advises_on_a_device(), "short-lived blocks");
	CHECK(hyp_timeline_keep(0, 0) == HYP_OK && hyp_timeline_keep(4096, 0) == HYP_OK, "an empty ring");
	made.device = 0;
	for (int i = 0; i < 200; i++) {
		made.kind = i % 2 == 0 ? HYP_EVENT_ALLOC : HYP_EVENT_FREE;
		CHECK(hyp_timeline_add(&made) == HYP_OK, "add");
	}
	CHECK(!advises_on_a_device(), "the host's");
}

/* The report of leaks by device, of the events that are kept. */
static void device_leaks(void) {
	char name[] = "/tmp/hypool-timeline-XXXXXX", text[65536];
	int fd = mkstemp(name);
	CHECK(fd >= 0 && unlink(name) == 0, "mkstemp");
	CHECK(hyp_timeline_keep(0, 0) == HYP_OK && hyp_timeline_keep(4096, 0) == HYP_OK, "an empty ring");
	/* Each address is used on two devices, and again after a free; device 2 frees all, device 3 all but the last 7. */
	for (uintptr_t i = 0; i < 300; i++) {
		hyp_timeline_event e = {.kind = HYP_EVENT_ALLOC, .address = (i % 100 + 1) << 12, .bytes = 4096, .device = 2};
		CHECK(hyp_timeline_add(&e) == HYP_OK, "add");
		e.device = 3;
		e.bytes = 1000;
		CHECK(hyp_timeline_add(&e) == HYP_OK, "add");
		e.kind = HYP_EVENT_FREE;
		if (i < 293) CHECK(hyp_timeline_add(&e) == HYP_OK, "add");
		e.device = 2;
		CHECK(hyp_timeline_add(&e) == HYP_OK, "add");
	}
	hyp_leak_totals totals;
	hyp_status status = hyp_leaks_find(fd, &totals);
	if (status == HYP_ERR_UNSUPPORTED) {
		puts("skipped: leaks by device; the process cannot be copied");
		close(fd);
		return;
	}
	CHECK(status == HYP_OK, "leaks: %d", (int)status);
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	CHECK(n > 0, "a report");
	text[n] = '\0';
	close(fd);
	CHECK(strstr(text, "hypool: leaks: 7000 bytes in 7 blocks of device 3 not freed") != NULL, "%s", text);
	CHECK(strstr(text, "device 2") == NULL, "%s", text);
}

int main(void) {
	size_t count;
	hyp_timeline_event mark = {.kind = HYP_EVENT_USER};
	CHECK(hyp_timeline_query(NULL, events, 4096, &count) == HYP_OK && count == 0, "off at first");
	CHECK(hyp_timeline_add(&mark) == HYP_ERR_NOT_FOUND, "off at first");
	mark.kind = HYP_EVENT_KINDS;
	CHECK(hyp_timeline_add(&mark) == HYP_ERR_INVALID, "no kind");
	CHECK(hyp_tracking_set_level(HYP_TRACKING_DEBUG) == HYP_OK && hyp_profile_start(1) == HYP_OK, "start");
	hyp_pool_config config;
	hyp_pool_config_init(&config);
	config.name = "mine";
	hyp_pool *pool = NULL;
	CHECK(hyp_pool_create(&config, &pool) == HYP_OK, "pool");
	by_everything(pool);
	kept();
	anomalies();
	device_pattern();
	device_leaks();
	hyp_pool_destroy(pool);
	puts("timeline");
	return 0;
}
