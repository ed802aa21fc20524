/*
 * os/darwin.c: the contract of os/os.h on macOS. Compiled here for arm64 and x86-64; never run on macOS.
 *
 * Pages are 16 KiB on arm64. MADV_FREE_REUSABLE takes pages off the process's footprint at once and needs no call
 * before they are written again to be sound, but their contents may survive: for pages that must read as zero a fresh
 * mapping is laid over the old one. There is no remapping, no NUMA, no naming of a mapping by call, and superpages only
 * by mmap: those calls say so. Locks wait in __ulock_wait, as libc++ and Go do (present since 10.12).
 *
 * Learned from: mimalloc's prim/osx (Leijen 2019) and the published XNU sources (bsd/sys/ulock.h) for the facts.
 */
#include "base/compiler.h"

#if HYP_OS_DARWIN

#include "base/atomic.h"
#include "base/bits.h"
#include "os/fault.h"
#include "os/os.h"

#include <crt_externs.h>
#include <errno.h>
#include <mach/mach.h>
#include <mach/mach_time.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysctl.h>
#include <time.h>
#include <unistd.h>

hypi_os_info hypi_os;

/* The tag under which vmmap(1) lists the mappings: the first of those left to applications. */
static const int map_tag = VM_MAKE_TAG(VM_MEMORY_APPLICATION_SPECIFIC_1);

void hypi_os_init(void) {
	if (hypi_os.ready) return;
	hypi_os.page_bytes = (size_t)getpagesize();
	hypi_os.huge_page_bytes = 0;
	hypi_os.secure = issetugid() != 0;
	uint64_t seed[2] = {0, 0};
	if (getentropy(seed, sizeof seed) != 0) seed[0] = mach_absolute_time();
	hypi_os.random = hypi_mix64(seed[0]) ^ hypi_mix64(seed[1] + (uintptr_t)&seed);
	int cpus = 0;
	size_t length = sizeof cpus;
	hypi_os.cpus = sysctlbyname("hw.activecpu", &cpus, &length, NULL, 0) == 0 && cpus > 0 ? (unsigned)cpus : 1;
	hypi_os.ready = true;
}

char *const *hypi_os_environment(void) {
	char ***environment = _NSGetEnviron();
	return environment == NULL ? NULL : *environment;
}

static void *map(size_t bytes, int protection) {
	void *p = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, map_tag, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void *map_aligned(size_t bytes, size_t alignment, int protection) {
	char *p = map(bytes, protection);
	if (p == NULL || ((uintptr_t)p & (alignment - 1)) == 0) return p;
	munmap(p, bytes);
	size_t total;
	if (__builtin_add_overflow(bytes, alignment - hypi_os.page_bytes, &total)) return errno = ENOMEM, NULL;
	p = map(total, protection);
	if (p == NULL) return NULL;
	char *start = (char *)hypi_round_up((uintptr_t)p, alignment);
	size_t before = (size_t)(start - p), after = total - before - bytes;
	if (before > 0) munmap(p, before);
	if (after > 0) munmap(start + bytes, after);
	return start;
}

void *hypi_os_map(size_t bytes, size_t alignment) {
	if (hypi_fault(HYPI_FAULT_MAP)) return NULL;
	return map_aligned(bytes, alignment, PROT_READ | PROT_WRITE);
}

void *hypi_os_reserve(size_t bytes, size_t alignment) {
	if (hypi_fault(HYPI_FAULT_RESERVE)) return NULL;
	return map_aligned(bytes, alignment, PROT_NONE);
}

hyp_status hypi_os_commit(void *address, size_t bytes) {
	if (hypi_fault(HYPI_FAULT_COMMIT)) return HYP_ERR_NO_MEMORY;
	return mprotect(address, bytes, PROT_READ | PROT_WRITE) == 0 ? HYP_OK : HYP_ERR_NO_MEMORY;
}

/* A fresh mapping over the range: the old pages are gone, the new ones read as zero. On failure XNU may have removed
 * the old pages already, never the range: it replaces in one step. */
static bool replace(void *address, size_t bytes, int protection) {
	return mmap(address, bytes, protection, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE | MAP_FIXED, map_tag, 0) == address;
}

hyp_status hypi_os_decommit(void *address, size_t bytes) {
	if (hypi_fault(HYPI_FAULT_PURGE)) return HYP_ERR_OS;
	return replace(address, bytes, PROT_NONE) ? HYP_OK : HYP_ERR_OS;
}

hyp_status hypi_os_purge(void *address, size_t bytes, hypi_os_purge_kind kind) {
	if (hypi_fault(HYPI_FAULT_PURGE)) return HYP_ERR_OS;
	int saved = errno;
	bool done;
	if (kind == HYPI_PURGE_NOW) done = replace(address, bytes, PROT_READ | PROT_WRITE);
	else done = madvise(address, bytes, MADV_FREE_REUSABLE) == 0 || madvise(address, bytes, MADV_FREE) == 0;
	errno = saved;
	return done ? HYP_OK : HYP_ERR_OS;
}

hyp_status hypi_os_unmap(void *address, size_t bytes) {
	if (hypi_fault(HYPI_FAULT_UNMAP)) return HYP_ERR_OS;
	int saved = errno;
	hyp_status status = munmap(address, bytes) == 0 ? HYP_OK : HYP_ERR_OS;
	errno = saved;
	return status;
}

/* No mremap: the caller allocates, copies and frees. */
void *hypi_os_remap(void *address, size_t old_bytes, size_t new_bytes) {
	(void)address;
	(void)old_bytes;
	(void)new_bytes;
	if (hypi_fault(HYPI_FAULT_REMAP)) return NULL;
	return errno = ENOTSUP, NULL;
}

hyp_status hypi_os_guard(void *address, size_t bytes) {
	if (hypi_fault(HYPI_FAULT_GUARD)) return HYP_ERR_OS;
	return mprotect(address, bytes, PROT_NONE) == 0 ? HYP_OK : HYP_ERR_OS;
}

hyp_status hypi_os_read_only(void *address, size_t bytes) {
	if (hypi_fault(HYPI_FAULT_GUARD)) return HYP_ERR_OS;
	return mprotect(address, bytes, PROT_READ) == 0 ? HYP_OK : HYP_ERR_OS;
}

hyp_status hypi_os_huge_pages(void *address, size_t bytes, bool on) {
	(void)address;
	(void)bytes;
	if (hypi_fault(HYPI_FAULT_HUGE)) return HYP_ERR_OS;
	return on ? HYP_ERR_UNSUPPORTED : HYP_OK;
}

void *hypi_os_map_huge(size_t bytes, size_t huge_bytes) {
	if (hypi_fault(HYPI_FAULT_HUGE)) return NULL;
#if HYP_CPU_X86_64
	if (huge_bytes == (size_t)2 << 20) {
		void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, VM_FLAGS_SUPERPAGE_SIZE_2MB, 0);
		return p == MAP_FAILED ? NULL : p;
	}
#else
	(void)bytes;
	(void)huge_bytes;
#endif
	return errno = ENOTSUP, NULL;
}

hyp_status hypi_os_numa_bind(void *address, size_t bytes, int node) {
	(void)address;
	(void)bytes;
	(void)node;
	if (hypi_fault(HYPI_FAULT_NUMA)) return HYP_ERR_OS;
	return HYP_ERR_UNSUPPORTED;
}

hyp_status hypi_os_lock_memory(void *address, size_t bytes) {
	if (hypi_fault(HYPI_FAULT_MLOCK)) return HYP_ERR_OS;
	return mlock(address, bytes) == 0 ? HYP_OK : HYP_ERR_OS;
}

void hypi_os_name(void *address, size_t bytes, const char *name) {
	(void)address;
	(void)bytes;
	(void)name;
}

static bool task_memory(mach_task_basic_info_data_t *ret_info) {
	mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
	return !hypi_fault(HYPI_FAULT_FILE) &&
	       task_info(mach_task_self(), MACH_TASK_BASIC_INFO, (task_info_t)ret_info, &count) == KERN_SUCCESS;
}

size_t hypi_os_resident_bytes(void) {
	mach_task_basic_info_data_t info;
	return task_memory(&info) ? (size_t)info.resident_size : 0;
}

size_t hypi_os_peak_resident_bytes(void) {
	struct rusage usage;
	return getrusage(RUSAGE_SELF, &usage) == 0 ? (size_t)usage.ru_maxrss : 0; /* bytes here, not KiB */
}

uint64_t hypi_os_now_ns(void) { return clock_gettime_nsec_np(CLOCK_UPTIME_RAW); }
uint64_t hypi_os_now_coarse_ms(void) { return clock_gettime_nsec_np(CLOCK_UPTIME_RAW_APPROX) / 1000000u; }

uint32_t hypi_os_thread_id(void) {
	uint64_t id = 0;
	pthread_threadid_np(NULL, &id);
	return (uint32_t)id;
}

unsigned hypi_os_cpu(void) { return 0; }
void hypi_os_yield(void) { sched_yield(); }

/* In libSystem, declared in no public header; the numbers are XNU's. */
extern int __ulock_wait(uint32_t operation, void *address, uint64_t value, uint32_t timeout_us);
extern int __ulock_wake(uint32_t operation, void *address, uint64_t wake_value);
enum { UL_COMPARE_AND_WAIT = 1, ULF_NO_ERRNO = 0x01000000 };

void hypi_lock_wait(hypi_lock *lock) {
	for (int spin = 0; spin < 64; spin++)
		if (hypi_load_relaxed(&lock->word) == 0 && hypi_lock_try(lock)) return;
	/* acquire: pairs with the release in hypi_unlock */
	while (hypi_exchange_acquire(&lock->word, 2) != 0)
		__ulock_wait(UL_COMPARE_AND_WAIT | ULF_NO_ERRNO, &lock->word, 2, 0);
}

void hypi_lock_wake(hypi_lock *lock) { __ulock_wake(UL_COMPARE_AND_WAIT | ULF_NO_ERRNO, &lock->word, 0); }

static pthread_key_t exit_key;
static bool exit_key_made;
static hypi_os_exit_handler *exit_handler;

static void run_exit_handler(void *value) {
	(void)value;
	exit_handler();
}

bool hypi_os_thread_exit_init(hypi_os_exit_handler *handler) {
	if (exit_key_made) return true;
	exit_handler = handler;
	exit_key_made = pthread_key_create(&exit_key, run_exit_handler) == 0;
	return exit_key_made;
}

void hypi_os_thread_arm(void) {
	if (exit_key_made) pthread_setspecific(exit_key, (void *)1);
}

bool hypi_os_fork_init(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
	return pthread_atfork(prepare, parent, child) == 0;
}

#else
typedef int hypi_os_darwin_unused;
#endif
