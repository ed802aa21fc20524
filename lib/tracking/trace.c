/* tracking/trace.c: see tracking/trace.h. Lock: trace lock, taken inside none. A forked child records nothing. */
#include "tracking/trace.h"

#include "base/atomic.h"
#include "os/os.h"
#include "tracking/bytes.h"

#include <errno.h>
#include <fcntl.h>

enum { BUFFERED = 2048 };

static struct {
	hypi_lock lock;
	_Atomic int fd; /* + 1; 0: off */
	bool failed;
	unsigned used;
	hypi_trace_record records[BUFFERED];
} trace;

bool hypi_trace_start(const char *path) {
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0) return false;
	const hypi_trace_head head = {.magic = HYPI_TRACE_MAGIC, .record_bytes = sizeof(hypi_trace_record)};
	if (!hypi_write_all(fd, &head, sizeof head)) return false;
	hypi_store_relaxed(&trace.fd, fd + 1);
	return true;
}

static bool flush(void) {
	int saved = errno;
	if (trace.used > 0 &&
	    !hypi_write_all(hypi_load_relaxed(&trace.fd) - 1, trace.records, trace.used * sizeof *trace.records))
		trace.failed = true;
	trace.used = 0;
	errno = saved;
	return !trace.failed;
}

static void add(uintptr_t address, uint64_t bytes, uint32_t ms) {
	if (HYP_LIKELY(hypi_load_relaxed(&trace.fd) == 0)) return;
	uint32_t thread = hypi_os_thread_id();
	hypi_lock_take(&trace.lock);
	trace.records[trace.used++] = (hypi_trace_record){address, bytes, thread, ms};
	if (trace.used == BUFFERED) flush();
	hypi_unlock(&trace.lock);
}

void hypi_trace_alloc(uintptr_t address, uint64_t bytes, uint32_t ms) { add(address, bytes, ms); }
void hypi_trace_free(uintptr_t address, uint32_t ms) { add(address, HYPI_TRACE_FREE, ms); }

bool hypi_trace_flush(void) {
	if (hypi_load_relaxed(&trace.fd) == 0) return true;
	hypi_lock_take(&trace.lock);
	bool good = flush();
	hypi_unlock(&trace.lock);
	return good;
}

void hypi_trace_fork_child(void) {
	hypi_lock_reset(&trace.lock);
	hypi_store_relaxed(&trace.fd, 0);
	trace.used = 0;
}
