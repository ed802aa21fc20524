/*
 * tracking/unwind.h: who called, from inside malloc.
 *
 * Takes no lock, allocates nothing, calls no unwinder of the compiler's and never the loader's locks: return addresses
 * are found by the call-frame information that every program carries for exceptions (.eh_frame), so that it also works
 * on Debian's builds without frame pointers. The rule of each return address (where the caller's frame is, in stack
 * pointer or frame pointer) is worked out once and kept in a table of one word an address (the idea of compact unwind
 * tables: ORC, Poimboeuf 2017), so a frame costs a few loads. Where there is no such information the frame pointer is
 * followed. Only the thread's own stack is read, within bounds.
 *
 * On systems without _dl_find_object (glibc before 2.35, musl) and off x86-64: frame pointers alone.
 */
#ifndef HYPI_TRACKING_UNWIND_H
#define HYPI_TRACKING_UNWIND_H

#include "base/compiler.h"

/* Where the thread's stack lies, found once. */
typedef struct hypi_stack {
	uintptr_t low, high;
} hypi_stack;

/* Makes the table. Not from inside malloc. Idempotent. */
void hypi_unwind_init(void);

/* At most `capacity` return addresses, innermost first, into ret_frames, without hypool's own. `stack` is kept by the
 * caller for its thread; zeroed at first. Returns how many. */
unsigned hypi_unwind(hypi_stack *stack, uintptr_t *ret_frames, unsigned capacity);

#endif
