/* tracking/probes.c: the semaphores of tracking/probes.h. Their section's name is part of the format. */
#include "tracking/probes.h"

#if HYP_OS_LINUX && (HYP_CPU_X86_64 || HYP_CPU_ARM64)

__attribute__((section(".probes"), used)) volatile unsigned short hypi_probe_alloc_semaphore;
__attribute__((section(".probes"), used)) volatile unsigned short hypi_probe_free_semaphore;

#endif
