/*
 * os/darwin.c: the contract of os/os.h on macOS. Compiled for arm64 and x86-64, run against a test double on x86-64
 * (tests/portability/macho.c); never run on macOS.
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
#include "base/fatal.h"
#include "os/fault.h"
#include "os/os.h"

#include <crt_externs.h>
#include <errno.h>
#include <limits.h>
#include <mach/mach.h>
#include <mach/mach_time.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
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

/* No mremap: the caller copies. */
hyp_status hypi_os_move_pages(void *from, void *to, size_t bytes) {
	(void)from;
	(void)to;
	(void)bytes;
	return hypi_fault(HYPI_FAULT_REMAP) ? HYP_ERR_OS : HYP_ERR_UNSUPPORTED;
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

/*
 * ---- what a thread owns: the trunk's thread-local variables ----
 *
 * macOS's own `__thread` allocates with malloc when a thread first touches a variable, which under interposition comes
 * back to us for ever. So the trunk is compiled with -femulated-tls: each access becomes a call of
 * __emutls_get_address (the interface of GCC's runtime), and this one, hidden in our library, allocates from mapped
 * pages. A thread's record hangs on a pthread key, whose slots lie in the thread itself: none of these calls allocates.
 *
 * A record stays in its slot through the last round of destructors, since later ones may still allocate. It is used
 * again by a thread whose pthread_t is the same address: the one that had it is certainly gone.
 */
enum { RECORD_BYTES = 256, RECORD_BUCKETS = 64, RECORDS_FIRST = 16, RECORDS_AT_ONCE = 256 };

typedef struct record {
	struct record *next; /* in its bucket, once its thread has ended; records_lock */
	pthread_t thread;
	unsigned rounds; /* of destructors that have run */
	_Alignas(16) char variables[RECORD_BYTES - 32];
} record;

/* What the compiler makes of a variable. `offset` is 0 until the first touch by any thread. */
typedef struct emulated {
	size_t size_bytes, alignment;
	_Atomic uintptr_t offset; /* in the record */
	const void *image;        /* NULL: zeros */
} emulated;

void *__emutls_get_address(emulated *variable);

static hypi_lock records_lock; /* last of all: nothing is called under it but mmap */
static record *ended[RECORD_BUCKETS];
static record first_records[RECORDS_FIRST];
static record *fresh = first_records;
static unsigned fresh_count = RECORDS_FIRST;
static size_t variables_used;
static pthread_key_t record_key;
static _Atomic bool record_key_made;
static hypi_os_exit_handler *exit_handler;

_Static_assert(sizeof(record) == RECORD_BYTES, "records are carved from pages");

static record **bucket_of(pthread_t thread) { return &ended[hypi_mix64((uintptr_t)thread) % RECORD_BUCKETS]; }

/* The thread's exit handler runs in every round, whether the thread armed itself or not: so it counts them all. */
static void on_thread_end(void *value) {
	record *r = value;
	pthread_setspecific(record_key, r);
	if (exit_handler != NULL) exit_handler();
	if (++r->rounds != PTHREAD_DESTRUCTOR_ITERATIONS) return;
	hypi_lock_take(&records_lock);
	record **bucket = bucket_of(r->thread);
	r->next = *bucket;
	*bucket = r;
	hypi_unlock(&records_lock);
}

/* records_lock is held. */
static record *take_record(pthread_t thread) {
	for (record **at = bucket_of(thread); *at != NULL; at = &(*at)->next) {
		record *r = *at;
		if (r->thread != thread) continue;
		*at = r->next;
		memset(r, 0, sizeof *r);
		return r;
	}
	if (fresh_count == 0) {
		fresh = map((size_t)RECORDS_AT_ONCE * RECORD_BYTES, PROT_READ | PROT_WRITE);
		if (fresh == NULL) hypi_fatal("no memory for the record of a thread", NULL, RECORD_BYTES);
		fresh_count = RECORDS_AT_ONCE;
	}
	fresh_count--;
	return fresh++;
}

HYP_COLD static void *first_touch(emulated *variable) {
	int saved = errno;
	hypi_lock_take(&records_lock);
	if (!hypi_load_relaxed(&record_key_made)) {
		if (pthread_key_create(&record_key, on_thread_end) != 0)
			hypi_fatal("no key for the records of threads", NULL, 0);
		hypi_store_release(&record_key_made, true); /* pairs with the acquire in __emutls_get_address */
	}
	uintptr_t offset = hypi_load_relaxed(&variable->offset);
	if (offset == 0) {
		size_t at = hypi_round_up(variables_used + 1, variable->alignment); /* one byte before it: "has its image" */
		variables_used = at + variable->size_bytes;
		if (variables_used > sizeof first_records->variables || variable->alignment > 16)
			hypi_fatal("no room in the record of a thread", variable, variable->size_bytes);
		offset = offsetof(record, variables) + at;
		hypi_store_release(&variable->offset, offset); /* pairs with the acquire in __emutls_get_address */
	}
	record *r = pthread_getspecific(record_key);
	if (r == NULL) {
		pthread_t self = pthread_self();
		r = take_record(self);
		r->thread = self;
		pthread_setspecific(record_key, r);
	}
	hypi_unlock(&records_lock);
	char *p = (char *)r + offset;
	if (p[-1] == 0) {
		if (variable->image != NULL) memcpy(p, variable->image, variable->size_bytes);
		p[-1] = 1;
	}
	errno = saved;
	return p;
}

void *__emutls_get_address(emulated *variable) {
	/* Both acquires pair with the releases in first_touch. */
	if (HYP_LIKELY(hypi_load_acquire(&record_key_made))) {
		uintptr_t offset = hypi_load_acquire(&variable->offset);
		char *r = pthread_getspecific(record_key);
		if (HYP_LIKELY(r != NULL && offset != 0 && r[offset - 1] != 0)) return r + offset;
	}
	return first_touch(variable);
}

/* ---- the end of a thread, forks ---- */

/* Every thread that has a record meets the handler: nothing is left to do when it arms itself. */
bool hypi_os_thread_exit_init(hypi_os_exit_handler *handler) { return exit_handler = handler, true; }
void hypi_os_thread_arm(void) {}

static void (*after_prepare)(void), (*after_parent)(void), (*after_child)(void);

static void fork_prepare(void) {
	after_prepare();
	hypi_lock_take(&records_lock);
}

static void fork_parent(void) {
	hypi_unlock(&records_lock);
	after_parent();
}

static void fork_child(void) {
	hypi_lock_reset(&records_lock);
	after_child();
}

bool hypi_os_fork_init(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
	after_prepare = prepare, after_parent = parent, after_child = child;
	return pthread_atfork(fork_prepare, fork_parent, fork_child) == 0;
}

#else
typedef int hypi_os_darwin_unused;
#endif
