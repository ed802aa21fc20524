/*
 * os/fault.h: the scripted failing OS, for tests.
 *
 * In a build with HYP_TEST_FAULTS every call of os/os.h that can fail counts itself here first, and fails with the
 * scripted errno when its turn has come: so a test fails the first call, then the second, and so on, until a run needs
 * no more (each OS call failed in turn). In every other build the question is the constant false.
 */
#ifndef HYPI_OS_FAULT_H
#define HYPI_OS_FAULT_H

#include "base/compiler.h"

typedef enum hypi_fault_call {
	HYPI_FAULT_MAP,
	HYPI_FAULT_RESERVE,
	HYPI_FAULT_COMMIT,
	HYPI_FAULT_PURGE,
	HYPI_FAULT_UNMAP,
	HYPI_FAULT_REMAP,      /* refused before anything happened */
	HYPI_FAULT_REMAP_LATE, /* the kernel has unmapped the target, and then fails (mm/mremap.c) */
	HYPI_FAULT_REMAP_BACK, /* ... and another thread has mapped something there meanwhile */
	HYPI_FAULT_GUARD,
	HYPI_FAULT_HUGE,
	HYPI_FAULT_NUMA,
	HYPI_FAULT_MLOCK,
	HYPI_FAULT_FILE,
	HYPI_FAULT_BARRIER,
	HYPI_FAULT_COUNT
} hypi_fault_call;

#if HYP_TEST_FAULTS
/* Lets `skip` calls of the kinds in `mask` (1 << hypi_fault_call) pass, then fails `count` of them with `error`. */
void hypi_fault_script(uint32_t mask, uint64_t skip, uint64_t count, int error);
/* Calls of the scripted kinds seen since then, and how many of them failed. */
uint64_t hypi_fault_seen(void);
uint64_t hypi_fault_failed(void);
bool hypi_fault(hypi_fault_call call);
#else
HYP_INLINE bool hypi_fault(hypi_fault_call call) {
	(void)call;
	return false;
}
#endif

#endif
