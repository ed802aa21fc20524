/* os/fault.c: see os/fault.h. */
#include "os/fault.h"

#if HYP_TEST_FAULTS

#include "base/atomic.h"

#include <errno.h>

static _Atomic uint32_t script_mask;
static _Atomic uint64_t script_skip, script_count, seen, failed;
static _Atomic int script_error;

void hypi_fault_script(uint32_t mask, uint64_t skip, uint64_t count, int error) {
	hypi_store_relaxed(&script_mask, 0);
	hypi_store_relaxed(&script_skip, skip);
	hypi_store_relaxed(&script_count, count);
	hypi_store_relaxed(&script_error, error);
	hypi_store_relaxed(&seen, 0);
	hypi_store_relaxed(&failed, 0);
	hypi_store_release(&script_mask, mask); /* pairs with the acquire in hypi_fault */
}

uint64_t hypi_fault_seen(void) { return hypi_load_relaxed(&seen); }
uint64_t hypi_fault_failed(void) { return hypi_load_relaxed(&failed); }

bool hypi_fault(hypi_fault_call call) {
	if ((hypi_load_acquire(&script_mask) >> call & 1) == 0) return false; /* pairs with hypi_fault_script */
	uint64_t turn = hypi_add_relaxed(&seen, 1);
	uint64_t skip = hypi_load_relaxed(&script_skip);
	if (turn < skip || turn - skip >= hypi_load_relaxed(&script_count)) return false;
	hypi_add_relaxed(&failed, 1);
	errno = hypi_load_relaxed(&script_error);
	return true;
}

#else
typedef int hypi_fault_unused; /* ISO C wants a translation unit to hold something */
#endif
