/*
 * os/os.h: the one contract with the operating system.
 *
 * linux.c and darwin.c fulfil it; nothing else in the trunk calls mmap, madvise, futex or clock_gettime. Sizes and
 * addresses are multiples of the page unless said otherwise. A call that fails leaves memory as it was and says so;
 * no call here allocates from the heap. In test builds every call that can fail first asks os/fault.h whether it
 * shall fail now.
 */
#ifndef HYPI_OS_OS_H
#define HYPI_OS_OS_H

#include "base/compiler.h"

#include <hypool/status.h>

#include <stdatomic.h>

/* ---- what the machine is; read once by hypi_os_init, constant afterwards ---- */

typedef struct hypi_os_info {
	size_t page_bytes;          /* 4 to 64 KiB */
	size_t huge_page_bytes;     /* of a transparent huge page; 0: none */
	uint64_t random;            /* the process's own secret */
	bool secure;                /* runs with more rights than its caller */
	size_t address_limit_bytes; /* of the process (RLIMIT_AS) at the start; 0: none */
	bool ready;
} hypi_os_info;

extern hypi_os_info hypi_os;

/* Idempotent; the first call happens before any other thread exists. Makes no system call that a sandbox refuses. */
void hypi_os_init(void);

/* The environment of the process, or NULL while the C library has not set it yet. */
char *const *hypi_os_environment(void);

/* ---- memory ---- */

typedef enum hypi_os_purge_kind {
	HYPI_PURGE_NOW, /* resident memory falls before the call returns; the pages read as zero afterwards */
	HYPI_PURGE_LAZY /* the kernel takes the pages when it needs them; contents are undefined until written */
} hypi_os_purge_kind;

/* A fresh zeroed private mapping, readable and writable, charged only as it is touched. `alignment` is a power of
 * two >= the page. NULL with errno when it cannot be had. */
void *hypi_os_map(size_t bytes, size_t alignment);

/* Address space that faults when touched, until hypi_os_commit. */
void *hypi_os_reserve(size_t bytes, size_t alignment);
HYP_MUST_USE hyp_status hypi_os_commit(void *address, size_t bytes);
HYP_MUST_USE hyp_status hypi_os_decommit(void *address, size_t bytes);

/* Gives the pages back but keeps the range. HYP_ERR_OS: the pages are as they were. HYPI_PURGE_NOW zeroes for
 * certain: the implementation verifies that the kernel kept the promise. The range is readable and writable. */
HYP_MUST_USE hyp_status hypi_os_purge(void *address, size_t bytes, hypi_os_purge_kind kind);

/* Unmaps. On HYP_ERR_OS the mapping is still there and is the caller's. */
HYP_MUST_USE hyp_status hypi_os_unmap(void *address, size_t bytes);

/* Moves the pages of one private anonymous range to another; `from` stays mapped and reads as zero. HYP_ERR_OS,
 * HYP_ERR_UNSUPPORTED: what `from` holds is where it was, and `to` is mapped (it may have lost its contents).
 * HYP_ERR_NO_MEMORY: the same, but `to` is not the caller's any more: it may neither be used nor unmapped. */
HYP_MUST_USE hyp_status hypi_os_move_pages(void *from, void *to, size_t bytes);

/* No access at all, for guard pages. */
HYP_MUST_USE hyp_status hypi_os_guard(void *address, size_t bytes);

/* Read-only, for state that is written once. */
HYP_MUST_USE hyp_status hypi_os_read_only(void *address, size_t bytes);

/* Asks for (or refuses) transparent huge pages. */
HYP_MUST_USE hyp_status hypi_os_huge_pages(void *address, size_t bytes, bool on);

/* Explicit huge pages of `huge_bytes`; NULL when none are configured. */
void *hypi_os_map_huge(size_t bytes, size_t huge_bytes);

/* Binds to a NUMA node before first touch. HYP_ERR_UNSUPPORTED: no NUMA; HYP_ERR_INVALID: no such node. */
HYP_MUST_USE hyp_status hypi_os_numa_bind(void *address, size_t bytes, int node);

HYP_MUST_USE hyp_status hypi_os_lock_memory(void *address, size_t bytes);

/* Names a mapping in /proc/self/maps where the kernel can; `name` must outlive the mapping. */
void hypi_os_name(void *address, size_t bytes, const char *name);

/* Resident bytes of the process by the kernel, 0 when unknown. Opens a file: never on an allocation path. */
size_t hypi_os_resident_bytes(void);
size_t hypi_os_peak_resident_bytes(void);

/* ---- time and identity ---- */

uint64_t hypi_os_now_ns(void);        /* monotonic, precise */
uint64_t hypi_os_now_coarse_ms(void); /* monotonic, a few milliseconds coarse, no system call */
uint32_t hypi_os_thread_id(void);
unsigned hypi_os_cpu(void); /* the processor this thread runs on, a hint */

/* ---- locks ---- */

/* A futex lock (Drepper, "Futexes are tricky", 2005): 0 free, 1 held, 2 held and awaited. Static zero is a free lock.
 * Not recursive. In HYP_DEBUG builds the rank must rise with every lock that a thread takes. */
typedef struct hypi_lock {
	_Atomic uint32_t word;
} hypi_lock;

void hypi_lock_wait(hypi_lock *lock);
void hypi_lock_wake(hypi_lock *lock);

HYP_INLINE bool hypi_lock_try(hypi_lock *lock) {
	uint32_t expected = 0;
	/* acquire: pairs with the release in hypi_unlock */
	return atomic_compare_exchange_strong_explicit(&lock->word, &expected, 1, memory_order_acquire,
	                                               memory_order_relaxed);
}

HYP_INLINE void hypi_lock_take(hypi_lock *lock) {
	if (HYP_UNLIKELY(!hypi_lock_try(lock))) hypi_lock_wait(lock);
}

HYP_INLINE void hypi_unlock(hypi_lock *lock) {
	/* release: pairs with the acquire in hypi_lock_try and hypi_lock_wait */
	if (HYP_UNLIKELY(atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)) hypi_lock_wake(lock);
}

/* In the child of a fork: whoever held the lock is gone or is us. */
HYP_INLINE void hypi_lock_reset(hypi_lock *lock) { atomic_store_explicit(&lock->word, 0, memory_order_relaxed); }

/* ---- threads ---- */

/* `handler` runs at the exit of every thread that called hypi_os_thread_arm, after the thread's own work; a thread
 * may arm itself again from inside it, for at most HYPI_OS_EXIT_ROUNDS rounds. False: no key was to be had. */
#define HYPI_OS_EXIT_ROUNDS 3
typedef void hypi_os_exit_handler(void);
bool hypi_os_thread_exit_init(hypi_os_exit_handler *handler);
void hypi_os_thread_arm(void);

/* Registers the three fork handlers. May allocate inside the C library. */
bool hypi_os_fork_init(void (*prepare)(void), void (*parent)(void), void (*child)(void));

void hypi_os_yield(void);

#endif
