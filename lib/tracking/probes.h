/*
 * tracking/probes.h: static probes (USDT) for tracers that look from outside: bpftrace, SystemTap, the eBPF profiler of
 * OpenTelemetry.
 *
 * The provider is otel_memory, by OpenTelemetry's contract for sampled heaps: alloc(pointer, bytes, weight) for a picked
 * allocation, weight being the bytes that it stands for; free(pointer) for a picked block. They fire while the profiler
 * samples. A probe is one `nop` and a note in the ELF section .note.stapsdt, which says where it is, where its arguments
 * are and which semaphore a tracer raises while it listens (the format is SystemTap's, Cohen and McGrath 2010). While
 * nobody listens the semaphore is 0 and not even the arguments are made. All of it is on the path of picked blocks only.
 */
#ifndef HYPI_TRACKING_PROBES_H
#define HYPI_TRACKING_PROBES_H

#include "base/compiler.h"

#if HYP_OS_LINUX && (HYP_CPU_X86_64 || HYP_CPU_ARM64)

/* Raised by tracers, in the process's own copy of the page. */
extern HYP_HIDDEN volatile unsigned short hypi_probe_alloc_semaphore, hypi_probe_free_semaphore;

/* The note's words: sizes and type; "stapsdt"; the probe, the base by which a prelinked address is corrected, and the
 * semaphore; provider, name and the places of the arguments. */
#define HYPI_PROBE_NOTE(name, arguments) \
	"990: nop\n" \
	".pushsection .note.stapsdt, \"?\", %%note\n" \
	".balign 4\n" \
	".4byte 992f - 991f, 994f - 993f, 3\n" \
	"991: .asciz \"stapsdt\"\n" \
	"992: .balign 4\n" \
	"993: .8byte 990b\n" \
	".8byte _.stapsdt.base\n" \
	".8byte hypi_probe_" name "_semaphore\n" \
	".asciz \"otel_memory\"\n" \
	".asciz \"" name "\"\n" \
	".asciz \"" arguments "\"\n" \
	"994: .balign 4\n" \
	".popsection\n" \
	".ifndef _.stapsdt.base\n" \
	".pushsection .stapsdt.base, \"aG\", %%progbits, .stapsdt.base, comdat\n" \
	".weak _.stapsdt.base\n" \
	".hidden _.stapsdt.base\n" \
	"_.stapsdt.base: .space 1\n" \
	".size _.stapsdt.base, 1\n" \
	".popsection\n" \
	".endif\n"

HYP_INLINE void hypi_probe_alloc(uintptr_t address, uint64_t bytes, double scale) {
	if (HYP_LIKELY(hypi_probe_alloc_semaphore == 0)) return;
	uint64_t weight = (uint64_t)((double)bytes * scale + 0.5);
	__asm__ volatile(HYPI_PROBE_NOTE("alloc", "8@%0 8@%1 8@%2") : : "r"(address), "r"(bytes), "r"(weight) : "memory");
}

HYP_INLINE void hypi_probe_free(uintptr_t address) {
	if (HYP_LIKELY(hypi_probe_free_semaphore == 0)) return;
	__asm__ volatile(HYPI_PROBE_NOTE("free", "8@%0") : : "r"(address) : "memory");
}

#else

HYP_INLINE void hypi_probe_alloc(uintptr_t address, uint64_t bytes, double scale) {
	(void)address, (void)bytes, (void)scale;
}
HYP_INLINE void hypi_probe_free(uintptr_t address) { (void)address; }

#endif

#endif
