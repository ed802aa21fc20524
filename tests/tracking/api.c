/*
 * The tracking interface from C: levels switched at run time, start, stop and reset, every format to a descriptor that
 * refuses, leaks on demand while other threads work, metrics, and the trace of the timeline.
 */
#include "tracking/check.h"

#include <hypool/hypool.h>
#include <hypool/tracking.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

static atomic_bool done;
static void *volatile sink;

static void *churn(void *seed) {
	void *slots[64] = {0};
	unsigned long random = (unsigned long)(uintptr_t)seed;
	while (!done) {
		random = random * 6364136223846793005ul + 1442695040888963407ul;
		void **slot = &slots[(random >> 33) % 64];
		hyp_free(*slot);
		*slot = hyp_malloc(1 + (random >> 40) % 3000);
	}
	for (int i = 0; i < 64; i++) hyp_free(slots[i]);
	return NULL;
}

static char text[1 << 22];

static const char *written(hyp_status (*write_to)(int fd)) {
	char name[] = "/tmp/hypool-api-XXXXXX";
	int fd = mkstemp(name);
	CHECK(fd >= 0, "mkstemp");
	unlink(name);
	CHECK(write_to(fd) == HYP_OK, "write");
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	CHECK(n >= 0, "read");
	text[n] = '\0';
	close(fd);
	return text;
}

static hyp_status metrics(int fd) { return hyp_metrics_write(fd), HYP_OK; }
static hyp_status native(int fd) { return hyp_profile_write(fd, HYP_PROFILE_HYPOOL); }

__attribute__((noinline)) static void lose(void) {
	for (int i = 0; i < 10; i++) sink = hyp_malloc(1234);
	sink = NULL;
}

__attribute__((noinline)) static void wipe(void) {
	volatile char deep[32768];
	for (size_t i = 0; i < sizeof deep; i++) deep[i] = 0;
}

int main(void) {
	pthread_t threads[3];
	CHECK(hyp_tracking_get_level() == HYP_TRACKING_NONE, "off at first");
	CHECK(hyp_profile_start(0) == HYP_ERR_INVALID, "a mean of nothing");
	hyp_leak_totals totals = {0};
	CHECK(hyp_leaks_find(-1, &totals) == HYP_ERR_NOT_FOUND, "nothing was followed");
	CHECK(strstr(written(native), "\nend\n") != NULL, "a report of nothing is whole");
	for (uintptr_t i = 0; i < 3; i++) CHECK(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)) == 0, "thread");
	for (int round = 0; round < 5; round++)
		for (int level = 4; level >= 0; level--) {
			CHECK(hyp_tracking_set_level((hyp_tracking_level)level) == HYP_OK, "level %d", level);
			CHECK(hyp_tracking_get_level() == (hyp_tracking_level)level, "level %d", level);
			usleep(3000);
			for (int format = 0; format <= HYP_PROFILE_DHAT; format++) {
				int fd = open("/dev/full", O_WRONLY);
				hyp_status status = hyp_profile_write(fd, (hyp_profile_format)format);
				bool empty = format == HYP_PROFILE_FOLDED && status == HYP_OK; /* no stack yet: nothing to write */
				CHECK(empty || (status == HYP_ERR_OS && errno == ENOSPC), "format %d", format);
				close(fd);
			}
		}
	CHECK(hyp_tracking_set_level((hyp_tracking_level)5) == HYP_ERR_INVALID, "level 5");
	CHECK(hyp_profile_start(1) == HYP_OK, "start");
	hyp_free(hyp_aligned_alloc(64, 99));
	lose();
	wipe();
	for (int i = 0; i < 3; i++) {
		CHECK(hyp_leaks_find(-1, &totals) == HYP_OK, "search %d", i);
		CHECK(totals.blocks >= 9 && totals.blocks <= 10, "%lu blocks", (unsigned long)totals.blocks);
	}
	CHECK(hyp_leaks_suppress("") == HYP_ERR_INVALID && hyp_leaks_suppress("leak:") == HYP_ERR_INVALID, "nothing");
	CHECK(strstr(written(hyp_timeline_write), "\"traceEvents\"") != NULL && strstr(text, "\"allocate\"") != NULL,
	      "trace");
	CHECK(strstr(written(metrics), "hypool_allocations_total ") != NULL && strstr(text, "\n# EOF\n") != NULL,
	      "metrics");
	hyp_profile_stop();
	hyp_profile_reset();
	done = true;
	for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
	puts("api");
	return 0;
}
