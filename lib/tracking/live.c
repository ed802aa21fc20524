/* tracking/live.c: see tracking/live.h. */
#include "tracking/live.h"

#include "base/out.h"
#include "heap/stats.h"
#include "os/os.h"
#include "tracking/profile.h"
#include "tracking/start.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { EVERY_MS = 200 };

static struct {
	hypi_lock lock; /* only ever tried, but at the start */
	_Atomic(hypi_live_page *) page;
	_Atomic uint64_t next_ms;
	char path[64];
	pid_t pid;
} live;

/* The page's words are copied one by one: the reader may be in the middle of them, and throws away what it then read. */
static void fill(hypi_live_page *page, uint64_t now_ms) {
	static hypi_live_page next; /* under the lock */
	hyp_class_stats classes[HYPI_CLASSES];
	memset(&next, 0, sizeof next);
	hypi_engine_stats(&hypi_default_engine, &next.stats);
	hypi_engine_classes(&hypi_default_engine, classes);
	for (unsigned c = 0; c < HYPI_CLASSES; c++)
		if (classes[c].span_bytes != 0)
			next.classes[next.class_count++] =
				(hypi_live_class){classes[c].block_bytes, classes[c].active, classes[c].span_bytes};
	uint64_t sequence = hypi_load_relaxed(&page->sequence);
	hypi_store_relaxed(&page->sequence, sequence + 1);
	atomic_thread_fence(memory_order_release); /* pairs with the acquire fence of the reader */
	page->now_ms = now_ms;
	page->stats = next.stats;
	page->profiled_live_bytes = hypi_load_relaxed(&hypi_profile_data.live_now);
	page->class_count = next.class_count;
	memcpy(page->classes, next.classes, sizeof page->classes);
	hypi_store_release(&page->sequence, sequence + 2); /* pairs with the reader's acquire */
}

HYPI_NEAR void hypi_live_look(uint64_t now_ms) {
	hypi_live_page *page = hypi_load_relaxed(&live.page);
	if (HYP_LIKELY(page == NULL) || now_ms < hypi_load_relaxed(&live.next_ms)) return;
	if (!hypi_lock_try(&live.lock)) return;
	if (now_ms >= hypi_load_relaxed(&live.next_ms) && live.pid == getpid()) {
		fill(page, now_ms);
		hypi_store_relaxed(&live.next_ms, now_ms + EVERY_MS);
	}
	hypi_unlock(&live.lock);
}

static void read_command(char *ret_text, size_t bytes) {
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, ret_text, bytes - 1) : 0;
	if (fd >= 0) close(fd);
	for (ssize_t i = 0; i + 1 < n; i++)
		if (ret_text[i] == '\0' || ret_text[i] == '\n') ret_text[i] = ' ';
	ret_text[n > 0 ? n : 0] = '\0';
}

bool hypi_live_start(void) {
	hypi_format(live.path, sizeof live.path, "/dev/shm/hypool.%d", (int)getpid());
	unlink(live.path); /* of a process that had our id and was killed */
	int fd = open(live.path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) return false;
	hypi_live_page *page = MAP_FAILED;
	if (ftruncate(fd, sizeof *page) == 0) page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (page == MAP_FAILED) return unlink(live.path), false;
	live.pid = getpid();
	page->pid = (uint64_t)live.pid;
	page->start_ms = hypi_os_now_coarse_ms();
	read_command(page->command, sizeof page->command);
	fill(page, page->start_ms);
	page->magic = HYPI_LIVE_MAGIC;
	hypi_store_release(&live.page, page); /* pairs with nothing that needs more than the pointer */
	hypi_tracking_listen();
	return true;
}

void hypi_live_stop(void) {
	if (hypi_load_relaxed(&live.page) == NULL || live.pid != getpid()) return;
	unlink(live.path);
}
