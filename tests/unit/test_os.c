/* Tests of os/linux.c and os/fault.c: each promise of os/os.h, asked of the running kernel. */
#include "base/bits.h"
#include "os/fault.h"
#include "os/os.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

START_TEST(machine) {
	hypi_os_init();
	ck_assert(hypi_os.ready);
	ck_assert_uint_eq(hypi_os.page_bytes, (size_t)sysconf(_SC_PAGESIZE));
	ck_assert_uint_ne(hypi_os.random, 0);
	ck_assert(!hypi_os.secure);
	hypi_os_info before = hypi_os;
	hypi_os_init();
	ck_assert_mem_eq(&before, &hypi_os, sizeof before);
	ck_assert_ptr_eq(hypi_os_environment(), environ);
	ck_assert_uint_eq(hypi_os_thread_id(), (uint32_t)getpid());
}
END_TEST

/* Whether touching an address ends a process by a signal. */
static bool faults(volatile char *address, bool write) {
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		if (write) *address = 1;
		else (void)*address;
		_exit(0);
	}
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static bool is_zero(const char *p, size_t bytes) {
	for (size_t i = 0; i < bytes; i++)
		if (p[i] != 0) return false;
	return true;
}

START_TEST(maps_are_aligned_and_zero) {
	hypi_os_init();
	for (size_t alignment = hypi_os.page_bytes; alignment <= (size_t)1 << 30; alignment *= 2)
		for (size_t pages = 1; pages <= 5; pages += 2) {
			size_t bytes = pages * hypi_os.page_bytes;
			char *p = hypi_os_map(bytes, alignment);
			ck_assert_ptr_nonnull(p);
			ck_assert_uint_eq((uintptr_t)p % alignment, 0);
			ck_assert(is_zero(p, bytes));
			memset(p, 1, bytes);
			ck_assert_int_eq(hypi_os_unmap(p, bytes), HYP_OK);
		}
}
END_TEST

static size_t address_space_bytes(void) {
	FILE *file = fopen("/proc/self/statm", "r");
	size_t pages = 0;
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%zu", &pages), 1);
	fclose(file);
	return pages * hypi_os.page_bytes;
}

/* Address space that an alignment needed besides is given back, before the block and behind it. */
START_TEST(alignment_leaves_nothing) {
	hypi_os_init();
	char *p[64];
	size_t before = address_space_bytes();
	for (size_t i = 0; i < HYP_ARRAY_LEN(p); i++) {
		p[i] = hypi_os_map(hypi_os.page_bytes, 16 * MIB);
		ck_assert_ptr_nonnull(p[i]);
	}
	ck_assert_uint_le(address_space_bytes() - before, HYP_ARRAY_LEN(p) * hypi_os.page_bytes + MIB);
	for (size_t i = 0; i < HYP_ARRAY_LEN(p); i++) ck_assert_int_eq(hypi_os_unmap(p[i], hypi_os.page_bytes), HYP_OK);
	ck_assert_uint_le(address_space_bytes() - before, MIB);
}
END_TEST

START_TEST(too_much) {
	hypi_os_init();
	errno = 0;
	ck_assert_ptr_null(hypi_os_map((size_t)1 << 62, hypi_os.page_bytes));
	ck_assert_int_eq(errno, ENOMEM);
	errno = 0;
	ck_assert_ptr_null(hypi_os_map(hypi_os.page_bytes, (size_t)1 << 62));
	ck_assert_int_eq(errno, ENOMEM);
	errno = 0;
	ck_assert_ptr_null(hypi_os_reserve((size_t)0 - hypi_os.page_bytes, (size_t)1 << 30));
	ck_assert_int_eq(errno, ENOMEM);
}
END_TEST

START_TEST(reserve_and_commit) {
	hypi_os_init();
	char *p = hypi_os_reserve(MIB, MIB);
	ck_assert_ptr_nonnull(p);
	ck_assert_uint_eq((uintptr_t)p % MIB, 0);
	ck_assert(faults(p, false));
	ck_assert_int_eq(hypi_os_commit(p, MIB / 2), HYP_OK);
	memset(p, 7, MIB / 2);
	ck_assert(faults(p + MIB / 2, true));
	ck_assert_int_eq(hypi_os_decommit(p, MIB / 2), HYP_OK);
	ck_assert(faults(p, false));
	ck_assert_int_eq(hypi_os_commit(p, MIB), HYP_OK);
	ck_assert(is_zero(p, MIB));
	ck_assert_int_eq(hypi_os_unmap(p, MIB), HYP_OK);
	ck_assert(faults(p, false));
}
END_TEST

START_TEST(purge_now) {
	hypi_os_init();
	size_t bytes = 32 * MIB;
	char *p = hypi_os_map(bytes, hypi_os.page_bytes);
	ck_assert_ptr_nonnull(p);
	memset(p, 0x5a, bytes);
	size_t full = hypi_os_resident_bytes();
	errno = 42;
	ck_assert_int_eq(hypi_os_purge(p, bytes - hypi_os.page_bytes, HYPI_PURGE_NOW), HYP_OK);
	ck_assert_int_eq(errno, 42);
	size_t after = hypi_os_resident_bytes();
	ck_assert_uint_ge(full, bytes);
	ck_assert_uint_le(after + 30 * (size_t)MIB, full);
	ck_assert(is_zero(p, bytes - hypi_os.page_bytes));
	ck_assert_int_eq(p[bytes - 1], 0x5a);
	ck_assert_uint_ge(hypi_os_peak_resident_bytes(), full - MIB);
	ck_assert_int_eq(hypi_os_unmap(p, bytes), HYP_OK);
}
END_TEST

START_TEST(purge_lazily) {
	hypi_os_init();
	char *p = hypi_os_map(MIB, hypi_os.page_bytes);
	ck_assert_ptr_nonnull(p);
	memset(p, 0x5a, MIB);
	ck_assert_int_eq(hypi_os_purge(p, MIB, HYPI_PURGE_LAZY), HYP_OK);
	for (size_t i = 0; i < MIB; i++) HOLDS(p[i] == 0x5a || p[i] == 0);
	memset(p, 0x11, MIB);
	for (size_t i = 0; i < MIB; i++) HOLDS(p[i] == 0x11);
	ck_assert_int_eq(hypi_os_unmap(p, MIB), HYP_OK);
	/* Of what is not mapped nothing can be purged, and errno is kept. */
	errno = 42;
	ck_assert_int_eq(hypi_os_purge(p, MIB, HYPI_PURGE_LAZY), HYP_ERR_OS);
	ck_assert_int_eq(errno, 42);
}
END_TEST

START_TEST(move_pages) {
	hypi_os_init();
	char *from = hypi_os_map(MIB, hypi_os.page_bytes), *to = hypi_os_map(2 * MIB, hypi_os.page_bytes);
	ck_assert_ptr_nonnull(from);
	ck_assert_ptr_nonnull(to);
	memset(from, 3, MIB);
	memset(to, 4, 2 * MIB);
	hyp_status status = hypi_os_move_pages(from, to, MIB);
	if (status == HYP_OK) {
		ck_assert(is_zero(from, MIB));
		for (size_t i = 0; i < MIB; i++) HOLDS(to[i] == 3);
	} else { /* an old kernel, or valgrind */
		ck_assert_int_eq(status, HYP_ERR_UNSUPPORTED);
		for (size_t i = 0; i < MIB; i++) HOLDS(from[i] == 3);
	}
	for (size_t i = MIB; i < 2 * MIB; i++) HOLDS(to[i] == 4);
	/* A source that is not mapped: the target is still there. */
	ck_assert_int_eq(hypi_os_unmap(from, MIB), HYP_OK);
	ck_assert_int_ne(hypi_os_move_pages(from, to, MIB), HYP_OK);
	memset(to, 6, 2 * MIB);
	ck_assert_int_eq(hypi_os_unmap(to, 2 * MIB), HYP_OK);
}
END_TEST

START_TEST(protections) {
	hypi_os_init();
	char *p = hypi_os_map(3 * hypi_os.page_bytes, hypi_os.page_bytes);
	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(hypi_os_guard(p + 2 * hypi_os.page_bytes, hypi_os.page_bytes), HYP_OK);
	ck_assert_int_eq(hypi_os_read_only(p + hypi_os.page_bytes, hypi_os.page_bytes), HYP_OK);
	ck_assert(!faults(p, true));
	ck_assert(!faults(p + hypi_os.page_bytes, false));
	ck_assert(faults(p + hypi_os.page_bytes, true));
	ck_assert(faults(p + 2 * hypi_os.page_bytes, false));
	hypi_os_name(p, hypi_os.page_bytes, "hypool test");
	ck_assert_int_eq(hypi_os_unmap(p, 3 * hypi_os.page_bytes), HYP_OK);
}
END_TEST

START_TEST(nodes_that_are_not) {
	hypi_os_init();
	char *p = hypi_os_map(MIB, hypi_os.page_bytes);
	ck_assert_int_eq(hypi_os_numa_bind(p, MIB, -1), HYP_ERR_INVALID);
	ck_assert_int_eq(hypi_os_numa_bind(p, MIB, 5000), HYP_ERR_INVALID);
	ck_assert_int_ne(hypi_os_numa_bind(p, MIB, 1000), HYP_OK);
	*(volatile char *)p = 1;
	ck_assert_int_eq(hypi_os_unmap(p, MIB), HYP_OK);
}
END_TEST

START_TEST(time_passes) {
	uint64_t ns = hypi_os_now_ns(), ms = hypi_os_now_coarse_ms();
	usleep(30000);
	uint64_t ns_passed = hypi_os_now_ns() - ns, ms_passed = hypi_os_now_coarse_ms() - ms;
	ck_assert_uint_ge(ns_passed, 30000000);
	ck_assert_uint_ge(ms_passed, 20);
	ck_assert_uint_lt(ms_passed, 60000);
}
END_TEST

/* ---- the lock ---- */

static hypi_lock lock;
static uint64_t guarded; /* not atomic: only the lock keeps it right */

static void *count(void *rounds) {
	for (uintptr_t i = 0; i < (uintptr_t)rounds; i++) {
		if (i % 3 != 0 || !hypi_lock_try(&lock)) hypi_lock_take(&lock);
		guarded++;
		if (i % 1024 == 0) hypi_os_yield();
		hypi_unlock(&lock);
	}
	return NULL;
}

START_TEST(lock_under_threads) {
	enum { THREADS = 6, ROUNDS = 40000 };
	pthread_t thread[THREADS];
	guarded = 0;
	for (size_t i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_create(&thread[i], NULL, count, (void *)ROUNDS), 0);
	for (size_t i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
	ck_assert_uint_eq(guarded, THREADS * ROUNDS);
	ck_assert_uint_eq(lock.word, 0);
	ck_assert(hypi_lock_try(&lock));
	ck_assert(!hypi_lock_try(&lock));
	hypi_lock_reset(&lock);
	ck_assert(hypi_lock_try(&lock));
	hypi_unlock(&lock);
}
END_TEST

/* A waiter sleeps and is woken; errno is nobody's but the program's. */
static void *wait_for_lock(void *unused) {
	(void)unused;
	errno = 42;
	hypi_lock_take(&lock);
	HOLDS(errno == 42);
	guarded++;
	hypi_unlock(&lock);
	HOLDS(errno == 42);
	return NULL;
}

START_TEST(lock_wakes_sleepers) {
	pthread_t thread[4];
	guarded = 0;
	hypi_lock_take(&lock);
	for (size_t i = 0; i < 4; i++) ck_assert_int_eq(pthread_create(&thread[i], NULL, wait_for_lock, NULL), 0);
	usleep(50000);
	ck_assert_uint_eq(guarded, 0);
	hypi_unlock(&lock);
	for (size_t i = 0; i < 4; i++) ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
	ck_assert_uint_eq(guarded, 4);
}
END_TEST

/* ---- thread exit ---- */

static _Atomic int exits;

static void on_exit_of_thread(void) {
	if (atomic_fetch_add(&exits, 1) < 1) hypi_os_thread_arm(); /* once more */
}

static void *armed(void *unused) {
	hypi_os_thread_arm();
	return unused;
}

static void *unarmed(void *unused) { return unused; }

START_TEST(exit_handler) {
	pthread_t thread;
	ck_assert(hypi_os_thread_exit_init(on_exit_of_thread));
	ck_assert(hypi_os_thread_exit_init(on_exit_of_thread));
	ck_assert_int_eq(pthread_create(&thread, NULL, unarmed, NULL), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(exits, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, armed, NULL), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(exits, 2);
}
END_TEST

/* ---- the scripted failing OS ---- */

START_TEST(fault_script) {
	hypi_fault_script(1u << HYPI_FAULT_MAP | 1u << HYPI_FAULT_PURGE, 2, 2, EAGAIN);
	ck_assert(!hypi_fault(HYPI_FAULT_MAP));
	ck_assert(!hypi_fault(HYPI_FAULT_UNMAP)); /* of another kind: not counted */
	ck_assert(!hypi_fault(HYPI_FAULT_PURGE));
	errno = 0;
	ck_assert(hypi_fault(HYPI_FAULT_PURGE));
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert(hypi_fault(HYPI_FAULT_MAP));
	ck_assert(!hypi_fault(HYPI_FAULT_MAP));
	ck_assert_uint_eq(hypi_fault_seen(), 5);
	ck_assert_uint_eq(hypi_fault_failed(), 2);
	hypi_fault_script(0, 0, 0, 0);
	ck_assert(!hypi_fault(HYPI_FAULT_MAP));
	ck_assert_uint_eq(hypi_fault_seen(), 0);
}
END_TEST

START_TEST(every_call_can_fail) {
	hypi_os_init();
	char *p = hypi_os_map(MIB, hypi_os.page_bytes);
	ck_assert_ptr_nonnull(p);
	*p = 9;
	hypi_fault_script(UINT32_MAX, 0, UINT64_MAX, ENOMEM);
	ck_assert_ptr_null(hypi_os_map(MIB, MIB));
	ck_assert_ptr_null(hypi_os_reserve(MIB, MIB));
	ck_assert_int_eq(hypi_os_commit(p, MIB), HYP_ERR_NO_MEMORY);
	ck_assert_int_eq(hypi_os_decommit(p, MIB), HYP_ERR_OS);
	ck_assert_int_eq(hypi_os_purge(p, MIB, HYPI_PURGE_NOW), HYP_ERR_OS);
	ck_assert_int_eq(hypi_os_purge(p, MIB, HYPI_PURGE_LAZY), HYP_ERR_OS);
	ck_assert_int_eq(hypi_os_unmap(p, MIB), HYP_ERR_OS);
	ck_assert_int_eq(hypi_os_move_pages(p, (char *)p + MIB, MIB), HYP_ERR_OS);
	ck_assert_int_eq(hypi_os_guard(p, MIB), HYP_ERR_OS);
	ck_assert_int_eq(hypi_os_read_only(p, MIB), HYP_ERR_OS);
	ck_assert_int_eq(hypi_os_huge_pages(p, MIB, true), HYP_ERR_OS);
	ck_assert_ptr_null(hypi_os_map_huge(2 * MIB, 2 * MIB));
	ck_assert_int_eq(hypi_os_numa_bind(p, MIB, 0), HYP_ERR_OS);
	ck_assert_int_eq(hypi_os_lock_memory(p, MIB), HYP_ERR_OS);
	ck_assert_uint_eq(hypi_os_resident_bytes(), 0);
	ck_assert_uint_eq(hypi_fault_failed(), 15);
	hypi_fault_script(0, 0, 0, 0);
	ck_assert_int_eq(*p, 9); /* nothing was done by halves */
	*p = 10;
	ck_assert_int_eq(hypi_os_unmap(p, MIB), HYP_OK);
}
END_TEST

UNIT_MAIN("os", machine, maps_are_aligned_and_zero, alignment_leaves_nothing, too_much, reserve_and_commit, purge_now,
          purge_lazily, move_pages, protections, nodes_that_are_not, time_passes, lock_under_threads,
          lock_wakes_sleepers, exit_handler, fault_script, every_call_can_fail)
