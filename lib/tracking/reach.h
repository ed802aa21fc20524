/*
 * tracking/reach.h: which blocks anything still points to.
 *
 * A conservative mark phase (Boehm, Weiser 1988) over a copy of the process: the caller's address space is cloned, the
 * child looks at its frozen copy and writes its verdicts into shared memory. So no thread is stopped, and the search
 * takes no lock that a thread might hold. Roots are all writable mappings but hypool's own memory and the parts of
 * stacks that are not in use; the stacks that glibc keeps of threads that are gone do not count. Every word that is an
 * address inside a block keeps that block, and what it points to.
 */
#ifndef HYPI_TRACKING_REACH_H
#define HYPI_TRACKING_REACH_H

#include "base/compiler.h"

typedef struct hypi_reach_range {
	uintptr_t start, end;
} hypi_reach_range;

/* The registers that a function keeps for its caller. */
typedef struct hypi_registers {
	uintptr_t kept[10];
} hypi_registers;

/* Fills in what the caller's caller may have left there, when it is called first of all. */
HYP_INLINE void hypi_registers_read(hypi_registers *ret_registers) {
	*ret_registers = (hypi_registers){{0}};
#if HYP_CPU_X86_64
	uintptr_t *to = ret_registers->kept;
	__asm__ volatile("movq %%rbx, 0(%0)\n\tmovq %%rbp, 8(%0)\n\tmovq %%r12, 16(%0)\n\tmovq %%r13, 24(%0)\n\t"
	                 "movq %%r14, 32(%0)\n\tmovq %%r15, 40(%0)"
	                 :
	                 : "r"(to)
	                 : "memory");
#elif HYP_CPU_ARM64
	uintptr_t *to = ret_registers->kept;
	__asm__ volatile("stp x19, x20, [%0]\n\tstp x21, x22, [%0, 16]\n\tstp x23, x24, [%0, 32]\n\t"
	                 "stp x25, x26, [%0, 48]\n\tstp x27, x28, [%0, 64]"
	                 :
	                 : "r"(to)
	                 : "memory");
#endif
}

/* For each of `count` blocks at `blocks` (0: none, skipped): ret_reached[i] = whether it is pointed to. `skip`: ranges
 * that are no roots. The caller's stack counts from `here`
 * up, and `registers` with it: what lies below is our own, and full of old pointers. ret_reached must be shared memory. False: no copy could be made, or it did not finish. */
bool hypi_reach(const uintptr_t *blocks, size_t stride_bytes, size_t count, const hypi_reach_range *skip,
                unsigned skip_count, uintptr_t here, const hypi_registers *registers, unsigned char *ret_reached);

/* The last field but one of a line of /proc/PID/task/N/syscall, which the kernel writes of a thread that waits. False:
 * the thread runs ("running"), or the line is none of these. */
bool hypi_reach_stack_pointer(const char *text, uintptr_t *ret_stack_pointer);

/* Ends the process at once, without exit handlers. */
void hypi_leave(int code) __attribute__((noreturn));

#endif
