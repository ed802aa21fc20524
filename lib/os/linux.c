/*
 * os/linux.c: the contract of os/os.h on Linux (glibc and musl).
 *
 * Learned from: mimalloc's prim.h (Leijen 2019) for the size of the contract; "Futexes are tricky" (Drepper 2005) for
 * the lock. Aligned mappings are tried plain first, since the kernel hands out neighbours, and only then over-mapped
 * and trimmed.
 */
#include "base/compiler.h"

#if HYP_OS_LINUX

#include "base/atomic.h"
#include "base/bits.h"
#include "os/fault.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

hypi_os_info hypi_os;

void hypi_os_init(void) {
	if (hypi_os.ready) return;
	hypi_os.page_bytes = (size_t)getauxval(AT_PAGESZ);
	if (hypi_os.page_bytes == 0) hypi_os.page_bytes = 4096;
	hypi_os.huge_page_bytes = (size_t)2 << 20;
	hypi_os.secure = getauxval(AT_SECURE) != 0;
	uint64_t seed[2] = {0, 0};
	const void *bytes = (const void *)getauxval(AT_RANDOM);
	if (bytes != NULL) memcpy(seed, bytes, sizeof seed);
	/* AT_RANDOM also feeds the stack protector: mix, so that neither tells the other. */
	hypi_os.random = hypi_mix64(seed[0] + UINT64_C(0x9e3779b97f4a7c15)) ^ hypi_mix64(seed[1]) ^ (uintptr_t)&seed;
	struct rlimit limit;
	if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		hypi_os.address_limit_bytes = (size_t)limit.rlim_cur;
	hypi_os.ready = true;
}

char *const *hypi_os_environment(void) { return environ; }

static void *map(size_t bytes, int protection) {
	void *p = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
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
	/* A trim that the kernel refuses (its table of mappings is full) leaves address space behind, no memory. */
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

hyp_status hypi_os_decommit(void *address, size_t bytes) {
	if (hypi_fault(HYPI_FAULT_PURGE)) return HYP_ERR_OS;
	if (madvise(address, bytes, MADV_DONTNEED) != 0) return HYP_ERR_OS;
	return mprotect(address, bytes, PROT_NONE) == 0 ? HYP_OK : HYP_ERR_OS;
}

/* Emulators and some sandboxes accept MADV_DONTNEED and do nothing (RELIABILITY: jemalloc #1844), perhaps only from some
 * moment on: so each call is checked by a word that it must have cleared. */
static bool purge_now(void *address, size_t bytes) {
	volatile uint64_t *word = address;
	*word = 1;
	return madvise(address, bytes, MADV_DONTNEED) == 0 && *word == 0;
}

hyp_status hypi_os_purge(void *address, size_t bytes, hypi_os_purge_kind kind) {
	if (hypi_fault(HYPI_FAULT_PURGE)) return HYP_ERR_OS;
	int saved = errno;
	hyp_status status = HYP_ERR_OS;
	if (kind == HYPI_PURGE_LAZY) {
		if (madvise(address, bytes, MADV_FREE) == 0) status = HYP_OK;
	} else if (purge_now(address, bytes)) {
		status = HYP_OK;
	}
	errno = saved;
	return status;
}

hyp_status hypi_os_unmap(void *address, size_t bytes) {
	if (hypi_fault(HYPI_FAULT_UNMAP)) return HYP_ERR_OS;
	int saved = errno;
	hyp_status status = munmap(address, bytes) == 0 ? HYP_OK : HYP_ERR_OS;
	errno = saved;
	return status;
}

/* mremap, which in a test fails the way the kernel does at its worst. */
static void *move_mapping(void *from, void *to, size_t bytes) {
	if (!hypi_fault(HYPI_FAULT_REMAP_LATE))
		return mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to);
	munmap(to, bytes);
	bool taken = hypi_fault(HYPI_FAULT_REMAP_BACK);
	if (taken) taken = mmap(to, hypi_os.page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == to;
	errno = ENOMEM;
	return MAP_FAILED;
}

hyp_status hypi_os_move_pages(void *from, void *to, size_t bytes) {
	if (hypi_fault(HYPI_FAULT_REMAP)) return HYP_ERR_OS;
	if (hypi_os.address_limit_bytes != 0) return HYP_ERR_UNSUPPORTED; /* both ranges count for a moment */
	int saved = errno;
	hyp_status status = HYP_OK;
	if (move_mapping(from, to, bytes) == MAP_FAILED) {
		/* Some errors come after the kernel has taken `to` away (mm/mremap.c): it is mapped again, unless another thread
		 * had that place first. EINVAL comes before: a kernel that does not know the flag. */
		status = errno == EINVAL ? HYP_ERR_UNSUPPORTED : HYP_ERR_OS;
		if (status == HYP_ERR_OS &&
		    mmap(to, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
		         -1, 0) != to)
			status = HYP_ERR_NO_MEMORY;
	}
	errno = saved;
	return status;
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
	if (hypi_fault(HYPI_FAULT_HUGE)) return HYP_ERR_OS;
	return madvise(address, bytes, on ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) == 0 ? HYP_OK : HYP_ERR_OS;
}

void *hypi_os_map_huge(size_t bytes, size_t huge_bytes) {
	if (hypi_fault(HYPI_FAULT_HUGE)) return NULL;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (int)(hypi_log2_floor(huge_bytes) << 26);
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

hyp_status hypi_os_numa_bind(void *address, size_t bytes, int node) {
	if (hypi_fault(HYPI_FAULT_NUMA)) return HYP_ERR_OS;
	if (node < 0 || node >= 1024) return HYP_ERR_INVALID;
	unsigned long mask[1024 / (8 * sizeof(unsigned long))] = {0};
	mask[(unsigned)node / 64] = 1ul << ((unsigned)node % 64);
	if (syscall(SYS_mbind, address, bytes, MPOL_BIND, mask, 1024ul, MPOL_MF_STRICT) == 0) {
		/* A bind that "succeeded" is read back before it is believed. */
		unsigned long seen[1024 / (8 * sizeof(unsigned long))] = {0};
		int policy = -1;
		if (syscall(SYS_get_mempolicy, &policy, seen, 1024ul, address, (unsigned long)MPOL_F_ADDR) == 0 &&
		    policy == MPOL_BIND && memcmp(mask, seen, sizeof mask) == 0)
			return HYP_OK;
		return HYP_ERR_OS;
	}
	return errno == EINVAL ? HYP_ERR_INVALID : errno == ENOSYS || errno == EPERM ? HYP_ERR_UNSUPPORTED : HYP_ERR_OS;
}

hyp_status hypi_os_lock_memory(void *address, size_t bytes) {
	if (hypi_fault(HYPI_FAULT_MLOCK)) return HYP_ERR_OS;
	return mlock(address, bytes) == 0 ? HYP_OK : HYP_ERR_OS;
}

void hypi_os_name(void *address, size_t bytes, const char *name) {
	int saved = errno;
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, address, bytes, name);
	errno = saved;
}

size_t hypi_os_resident_bytes(void) {
	if (hypi_fault(HYPI_FAULT_FILE)) return 0;
	char text[128];
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	if (fd < 0) return 0;
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0) return 0;
	text[n] = '\0';
	const char *at = strchr(text, ' ');
	size_t pages = 0;
	if (at != NULL)
		for (at++; *at >= '0' && *at <= '9'; at++) pages = pages * 10 + (size_t)(*at - '0');
	return pages * hypi_os.page_bytes;
}

size_t hypi_os_peak_resident_bytes(void) {
	struct rusage usage;
	return getrusage(RUSAGE_SELF, &usage) == 0 ? (size_t)usage.ru_maxrss * 1024 : 0;
}

uint64_t hypi_os_now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t hypi_os_now_coarse_ms(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

uint32_t hypi_os_thread_id(void) { return (uint32_t)syscall(SYS_gettid); }

unsigned hypi_os_cpu(void) {
	int cpu = sched_getcpu();
	return cpu < 0 ? 0 : (unsigned)cpu;
}

void hypi_os_yield(void) { sched_yield(); }

static long futex(_Atomic uint32_t *word, int operation, uint32_t value) {
	return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

void hypi_lock_wait(hypi_lock *lock) {
	int saved = errno;
	for (int spin = 0; spin < 64; spin++) {
		if (hypi_load_relaxed(&lock->word) == 0 && hypi_lock_try(lock)) return;
#if HYP_CPU_X86_64
		__builtin_ia32_pause();
#endif
	}
	/* acquire: pairs with the release in hypi_unlock */
	while (hypi_exchange_acquire(&lock->word, 2) != 0) futex(&lock->word, FUTEX_WAIT, 2);
	errno = saved;
}

void hypi_lock_wake(hypi_lock *lock) {
	int saved = errno;
	futex(&lock->word, FUTEX_WAKE, 1);
	errno = saved;
}

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

#ifdef __GLIBC__
/* What glibc's pthread_atfork calls. That itself lies in a static part of the C library, which the linker puts behind all
 * of ours: the kernel maps 36 KiB of our file around it. */
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso);
extern void *__dso_handle HYP_HIDDEN;

bool hypi_os_fork_init(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
	return __register_atfork(prepare, parent, child, __dso_handle) == 0;
}
#else
bool hypi_os_fork_init(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
	return pthread_atfork(prepare, parent, child) == 0;
}
#endif

#else
typedef int hypi_os_linux_unused;
#endif
