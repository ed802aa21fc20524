/* os/barrier.c: see os/barrier.h. */
#include "os/barrier.h"

#include "base/atomic.h"
#include "os/fault.h"

#if HYP_OS_LINUX

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool command(int what) { return syscall(SYS_membarrier, what, 0, 0) == 0; }

bool hypi_os_barrier_ready(void) {
	static _Atomic int known; /* 0: not asked, 1: yes, 2: no */
	int answer = hypi_load_relaxed(&known);
	if (answer != 0) return answer == 1;
	int saved = errno;
	bool ready = !hypi_fault(HYPI_FAULT_BARRIER) && command(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
	errno = saved;
	hypi_store_relaxed(&known, ready ? 1 : 2);
	return ready;
}

bool hypi_os_barrier(void) {
	if (hypi_fault(HYPI_FAULT_BARRIER)) return false;
	int saved = errno;
	/* A registration may not have come through a fork: once more, then. */
	bool done = command(MEMBARRIER_CMD_PRIVATE_EXPEDITED) ||
	            (command(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && command(MEMBARRIER_CMD_PRIVATE_EXPEDITED));
	errno = saved;
	return done;
}

#else

bool hypi_os_barrier_ready(void) { return false; }
bool hypi_os_barrier(void) { return false; }

#endif
