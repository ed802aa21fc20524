/*
 * base/atomic.h: atomics with the memory order in the name.
 *
 * An order that is not relaxed names its partner where it is used. hypi_count_* are counters with one writer and many
 * readers: a relaxed load and a relaxed store, which is an ordinary increment on every processor, and no data race.
 */
#ifndef HYPI_BASE_ATOMIC_H
#define HYPI_BASE_ATOMIC_H

#include "base/compiler.h"

#include <stdatomic.h>

#define hypi_load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define hypi_load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
#define hypi_store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define hypi_store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define hypi_exchange_acquire(p, v) atomic_exchange_explicit((p), (v), memory_order_acquire)
#define hypi_exchange_acq_rel(p, v) atomic_exchange_explicit((p), (v), memory_order_acq_rel)
#define hypi_cas_weak_release(p, e, v) \
	atomic_compare_exchange_weak_explicit((p), (e), (v), memory_order_release, memory_order_relaxed)
#define hypi_cas_weak_acq_rel(p, e, v) \
	atomic_compare_exchange_weak_explicit((p), (e), (v), memory_order_acq_rel, memory_order_relaxed)
#define hypi_cas_strong_acquire(p, e, v) \
	atomic_compare_exchange_strong_explicit((p), (e), (v), memory_order_acquire, memory_order_relaxed)
#define hypi_add_relaxed(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define hypi_sub_relaxed(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_relaxed)

/* On x86-64 these are one instruction without a lock prefix, which the compilers do not make of a relaxed load and a
 * relaxed store; under the thread sanitizer they are what it can see through. */
#if HYP_CPU_X86_64 && !HYP_TSAN
HYP_INLINE void hypi_count_up(_Atomic uint32_t *counter) { __asm__("addl $1, %0" : "+m"(*counter) : : "cc"); }

/* Counts down by one; true when that gave 0. */
HYP_INLINE bool hypi_count_down(_Atomic uint32_t *counter) {
	bool zero;
	__asm__("subl $1, %0" : "+m"(*counter), "=@ccz"(zero));
	return zero;
}
#else
HYP_INLINE void hypi_count_up(_Atomic uint32_t *counter) {
	hypi_store_relaxed(counter, hypi_load_relaxed(counter) + 1);
}

HYP_INLINE bool hypi_count_down(_Atomic uint32_t *counter) {
	uint32_t next = hypi_load_relaxed(counter) - 1;
	hypi_store_relaxed(counter, next);
	return next == 0;
}
#endif

HYP_INLINE void hypi_count_add(_Atomic uint64_t *counter, uint64_t n) {
	hypi_store_relaxed(counter, hypi_load_relaxed(counter) + n);
}

#endif
