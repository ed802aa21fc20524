/*
 * The kernel refuses (RELIABILITY.md rows 18, 21 and 22): a seccomp filter answers chosen calls with an error.
 *
 * mmap: after a while every mmap and mremap fails with ENOMEM (not brk: it has no errno, and a forged one misleads
 * libc): malloc must give NULL and ENOMEM, keep what it gave, and go on serving frees and reuse.
 * munmap, mprotect: ENOMEM, as at vm.max_map_count: frees must succeed all the same.
 * madvise: EINVAL, as in sandboxes. madvise_lies: 0 without effect, as qemu-user did: calloc must still give zeros.
 * noopen: open, getrandom, sched_getaffinity, prctl, membarrier kill the process: all must have been read at start.
 * strict: everything kills but what any allocator needs; real_strict: mode strict, warm blocks only.
 */
#include "interpose/check.h"
#include "interpose/seccomp.h"

#include <malloc.h>
#include <pthread.h>

enum { SLOTS = 2000 };
static struct {
	unsigned char *p;
	size_t size;
	unsigned char mark;
} slots[SLOTS];

static void verify_and_free(size_t at) {
	unsigned char *p = slots[at].p;
	if (!p) return;
	size_t size = slots[at].size;
	CHECK(p[0] == slots[at].mark && p[size / 2] == slots[at].mark && p[size - 1] == slots[at].mark,
	      "a block of %zu bytes changed", size);
	errno = EILSEQ;
	free(p);
	CHECK(errno == EILSEQ, "free set errno to %d", errno);
	slots[at].p = NULL;
}

static size_t some_size(uint64_t *seed) {
	uint64_t kind = check_random(seed) % 100;
	return kind < 80   ? check_random(seed) % 3000 + 1
	       : kind < 95 ? check_random(seed) % (500 * KIB) + 1
	                   : check_random(seed) % (6 * MIB) + 1;
}

/* Allocates, verifies, frees. Returns how many allocations failed; each must have said ENOMEM. */
static size_t exercise(size_t operations, uint64_t seed) {
	size_t refused = 0;
	for (size_t i = 0; i < operations; i++) {
		size_t at = check_random(&seed) % SLOTS, size = some_size(&seed), how = check_random(&seed) % 8;
		if (how == 7 && slots[at].p) { /* realloc, which may fail and must then leave the block */
			unsigned char *q = realloc(slots[at].p, size);
			if (!q) {
				refused++;
				continue;
			}
			CHECK(q[0] == slots[at].mark, "realloc to %zu lost the contents", size);
			slots[at].p = q;
		} else {
			verify_and_free(at);
			errno = 0;
			slots[at].p = how == 0   ? calloc(1, size)
			              : how == 1 ? memalign((size_t)64 << (check_random(&seed) % 8), size)
			                         : malloc(size);
			if (!slots[at].p) {
				CHECK(errno == ENOMEM, "size %zu: errno %d", size, errno);
				refused++;
				continue;
			}
			if (how == 0) {
				size_t dirty = 0;
				for (size_t k = 0; k < size; k++) dirty += slots[at].p[k] != 0;
				CHECK(dirty == 0, "calloc of %zu bytes: %zu are not zero", size, dirty);
			}
		}
		slots[at].size = size;
		slots[at].mark = (unsigned char)(i | 1);
		memset(slots[at].p, slots[at].mark, size);
	}
	return refused;
}

static void free_all(void) {
	for (size_t i = 0; i < SLOTS; i++) verify_and_free(i);
}

#define COUNT(rules) (sizeof(rules) / sizeof *(rules))

static void mmap_fails(void) {
	exercise(5000, 1);
	static const struct seccomp_rule rules[] = {{__NR_mmap, SECCOMP_ANSWER(ENOMEM)},
	                                            {__NR_mremap, SECCOMP_ANSWER(ENOMEM)}};
	seccomp_install(rules, COUNT(rules), SECCOMP_RET_ALLOW);
	size_t refused = exercise(60000, 2);
	/* Until there is nothing left: sooner or later NULL, and then after one free there is room again. */
	static void *taken[100000];
	size_t n = 0;
	errno = 0;
	while (n < COUNT(taken) && (taken[n] = malloc(400 * KIB))) n++;
	CHECK(n == COUNT(taken) || errno == ENOMEM, "errno %d", errno);
	errno = 0;
	void *huge = malloc(20 * GIB);
	CHECK(huge || errno == ENOMEM, "errno %d", errno);
	free(huge);
	while (n) free(taken[--n]);
	void *again = malloc(1000);
	CHECK(again, "after the frees not even 1000 bytes");
	free(again);
	printf("refused: %zu of 60000\n", refused);
	free_all();
}

static void one_call_fails(long number, int error) {
	exercise(3000, 3);
	struct seccomp_rule rules[2] = {{number, SECCOMP_ANSWER((uint32_t)error)}};
	size_t count = 1;
	if (number == __NR_madvise) rules[count++] = (struct seccomp_rule){__NR_fallocate, SECCOMP_ANSWER((uint32_t)error)};
	seccomp_install(rules, count, SECCOMP_RET_ALLOW);
	for (uint64_t round = 0; round < 6; round++) {
		CHECK(exercise(6000, 4 + round) == 0, "allocations failed though mmap works");
		free_all();
		malloc_trim(0);
		if (round % 2) usleep(300000); /* a decay time may pass: purging meets the refusal too */
	}
	for (int i = 0; i < 50; i++) {
		unsigned char *p = malloc(20 * MIB);
		REQUIRE(p);
		memset(p, 0xff, 20 * MIB);
		free(p);
		p = calloc(1, 20 * MIB);
		REQUIRE(p);
		for (size_t k = 0; k < 20 * MIB; k += 64) REQUIRE(p[k] == 0, "calloc of 20 MiB: byte %zu is dirty", k);
		free(p);
	}
}

/* munmap_fails at the limit of mappings: more than 200 large blocks come and go and none can be unmapped. */
static void munmap_fails(void) {
	one_call_fails(__NR_munmap, ENOMEM);
	for (int i = 0; i < 200; i++) {
		void *p = malloc(100 * MIB);
		REQUIRE(p, "round %d: address space leaks: errno %d", i, errno);
		free(p);
	}
}

static void *thread_work(void *unused) {
	(void)unused;
	void *p[100];
	for (size_t i = 0; i < 100; i++) p[i] = malloc(i * 300 + 1);
	for (size_t i = 0; i < 100; i++) free(p[i]);
	return NULL;
}

static void noopen(void) {
	static const struct seccomp_rule rules[] = {
#ifdef __NR_open
		{__NR_open, SECCOMP_RET_KILL_PROCESS},
#endif
		{__NR_openat, SECCOMP_RET_KILL_PROCESS},
		{__NR_getrandom, SECCOMP_RET_KILL_PROCESS},
		{__NR_sched_getaffinity, SECCOMP_RET_KILL_PROCESS},
		{__NR_membarrier, SECCOMP_RET_KILL_PROCESS},
		{__NR_prctl, SECCOMP_RET_KILL_PROCESS},
		{__NR_sysinfo, SECCOMP_RET_KILL_PROCESS},
		{__NR_uname, SECCOMP_RET_KILL_PROCESS},
		{__NR_readlinkat, SECCOMP_RET_KILL_PROCESS},
		{__NR_getcpu, SECCOMP_RET_KILL_PROCESS},
		{__NR_mbind, SECCOMP_RET_KILL_PROCESS},
		{__NR_get_mempolicy, SECCOMP_RET_KILL_PROCESS},
		{__NR_socket, SECCOMP_RET_KILL_PROCESS},
	};
	pthread_t thread; /* glibc itself opens and asks at the first thread */
	REQUIRE(pthread_create(&thread, NULL, thread_work, NULL) == 0 && pthread_join(thread, NULL) == 0);
	seccomp_install(rules, COUNT(rules), SECCOMP_RET_ALLOW);
	CHECK(exercise(20000, 7) == 0);
	REQUIRE(pthread_create(&thread, NULL, thread_work, NULL) == 0 && pthread_join(thread, NULL) == 0);
	free_all();
	malloc_trim(0);
}

static void strict(void) {
	static const long allowed[] = {__NR_read,   __NR_write,  __NR_exit,          __NR_exit_group, __NR_rt_sigreturn,
	                               __NR_mmap,   __NR_munmap, __NR_mremap,        __NR_mprotect,   __NR_madvise,
	                               __NR_futex,  __NR_brk,    __NR_clock_gettime, __NR_tgkill,     __NR_rt_sigprocmask,
	                               __NR_getpid, __NR_gettid, __NR_close,         __NR_newfstatat, __NR_fstat};
	struct seccomp_rule rules[COUNT(allowed)];
	for (size_t i = 0; i < COUNT(allowed); i++) rules[i] = (struct seccomp_rule){allowed[i], SECCOMP_RET_ALLOW};
	exercise(10, 1);
	seccomp_install(rules, COUNT(rules), SECCOMP_RET_KILL_PROCESS);
	CHECK(exercise(20000, 8) == 0);
	free_all();
	malloc_trim(0);
}

/* SECCOMP_MODE_STRICT knows read, write, exit and sigreturn. Warm small blocks must need no call at all, unless sampled. */
static void real_strict(void) {
	static void *p[1000];
	if (getenv("HYPOOL_GUARD") == NULL) { /* a sampled block's page is protected by a call */
		setenv("HYPOOL_GUARD", "0", 1);
		execl("/proc/self/exe", "os_fails", "real_strict", (char *)NULL);
		REQUIRE(false, "exec");
	}
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 1000; i++) p[i] = malloc(100);
		for (int i = 0; i < 1000; i++) free(p[i]);
	}
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) check_skip("no strict seccomp here");
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 500; i++) p[i] = malloc(100);
		for (int i = 0; i < 500; i++) free(p[i]);
	}
	syscall(SYS_exit, check_end());
}

int main(int argc, char **argv) {
	const char *which = argc > 1 ? argv[1] : "";
	setvbuf(stdout, NULL, _IONBF, 0);
	if (strcmp(which, "mmap") == 0) mmap_fails();
	else if (strcmp(which, "munmap") == 0) munmap_fails();
	else if (strcmp(which, "mprotect") == 0) one_call_fails(__NR_mprotect, ENOMEM);
	else if (strcmp(which, "madvise") == 0) one_call_fails(__NR_madvise, EINVAL);
	else if (strcmp(which, "madvise_lies") == 0) one_call_fails(__NR_madvise, 0);
	else if (strcmp(which, "noopen") == 0) noopen();
	else if (strcmp(which, "strict") == 0) strict();
	else if (strcmp(which, "real_strict") == 0) real_strict();
	else REQUIRE(false, "usage: os_fails mmap|munmap|mprotect|madvise|madvise_lies|noopen|strict|real_strict");
	return check_end();
}
