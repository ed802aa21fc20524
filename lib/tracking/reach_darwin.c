/*
 * tracking/reach_darwin.c: no search for pointers on macOS: a raw clone of the process, as tracking/reach.c makes it, is
 * not to be had there. hyp_leaks_find says HYP_ERR_UNSUPPORTED; what lives at exit is still in the report.
 */
#include "tracking/reach.h"

#include <unistd.h>

bool hypi_reach(const uintptr_t *blocks, size_t stride_bytes, size_t count, const hypi_reach_range *skip,
                unsigned skip_count, uintptr_t here, const hypi_registers *registers, unsigned char *ret_reached) {
	(void)blocks, (void)stride_bytes, (void)count, (void)skip, (void)skip_count;
	(void)here, (void)registers, (void)ret_reached;
	return false;
}

void hypi_leave(int code) { _exit(code); }
