/*
 * What malloc and free do, instruction by instruction and call by call, as a tracer sees it.
 *
 * hit: pairs of allocate and free, one thread, each size of a list: no instruction with a lock prefix (nor an exchange
 *   with memory, which is one), no system call, and up to 1 KiB no call out of line (SPEC A7, design of the hit path).
 * grown: a pair beside 320,000 blocks, every fifth of them a hole, takes at most a tenth more instructions (the least
 *   of a few looks; as a rule as many) than one beside 20,000 (SPEC A6). What goes between lists and spans comes in lumps and is not judged.
 * calls: a producer and a consumer pass a million blocks: calls to the kernel about memory stay few (RELIABILITY.md row
 *   35: each madvise or munmap interrupts every processor that the process ran on).
 *
 * The program forks; the child runs what is looked at, between two int3 where instructions are counted, and the parent
 * steps it with ptrace. Both have the same code at the same addresses, so the parent reads instructions in its own.
 * Counts are exact, no time is measured; decay is set so long that no purge falls into a count. Skipped where ptrace is forbidden or the processor is another.
 */
#include "interpose/check.h"

#if !defined(__x86_64__)
int main(void) { check_skip("the decoder knows x86-64 alone"); }
#else

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#define MARK() __asm__ volatile("int3" ::: "memory")
enum { INT3 = 0xcc, PAIRS = 16, LIVE = 320000, STAGES = 2, LOOKS = 7 };

/* ---- the child's side ---- */

static void one_pair(size_t size) {
	char *p = opaque(malloc(opaque_size(size)));
	p[0] = 1;
	free(opaque(p));
}

static void many_pairs(size_t size, int count) {
	for (int i = 0; i < count; i++) one_pair(size);
}

static void be_traced(void) {
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(CHECK_SKIP);
	raise(SIGSTOP);
}

static const size_t sizes[] = {1, 16, 64, 100, 256, 1000, 4000, 16000};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void child_hit(void) {
	for (int i = 0; i < SIZES; i++) {
		many_pairs(sizes[i], 1000);
		MARK();
		many_pairs(sizes[i], PAIRS);
		MARK();
	}
}

/* Grows the heap by mixed blocks, and makes holes in it. */
static void grow(int count) {
	static void *live[LIVE];
	static int have;
	static uint64_t seed = 1;
	int from = have;
	for (; have < from + count; have++) {
		live[have] = malloc(have % 3 == 0 ? 100 : check_random(&seed) % 4000);
		REQUIRE(live[have]);
	}
	for (int i = from; i < have; i += 5) free(live[i]);
}

static void child_grown(void) {
	for (int stage = 0; stage < STAGES; stage++) {
		grow(stage == 0 ? LIVE / 16 : LIVE * 15 / 16);
		for (int i = 0; i < LOOKS; i++) {
			many_pairs(100, 1000);
			MARK();
			many_pairs(100, PAIRS);
			MARK();
		}
	}
}

/* ---- the tracer's side ---- */

typedef struct count {
	long instructions, locked, system_calls, calls;
} count;

static Dl_info library;

static bool in_library(uintptr_t address) {
	Dl_info info;
	return dladdr((void *)address, &info) != 0 && info.dli_fbase == library.dli_fbase;
}

/* Adds one instruction to the count. Prefixes first, then the opcodes that matter. */
static void look_at(uintptr_t address, count *c) {
	const unsigned char *at = (const unsigned char *)address;
	bool locked = false;
	for (;; at++) {
		if (*at == 0xf0) locked = true;
		else if (*at != 0x66 && *at != 0x67 && *at != 0xf2 && *at != 0xf3 && *at != 0x64 && *at != 0x65 &&
		         *at != 0x2e && *at != 0x3e && (*at & 0xf0) != 0x40)
			break;
	}
	bool memory = at[1] >> 6 != 3;
	c->instructions++;
	c->locked += locked || ((*at == 0x86 || *at == 0x87) && memory);
	c->system_calls += at[0] == 0x0f && at[1] == 0x05;
	c->calls += (*at == 0xe8 || (*at == 0xff && (at[1] >> 3 & 7) == 2)) && in_library(address);
}

static pid_t start(void (*child)(void)) {
	pid_t pid = fork();
	REQUIRE(pid >= 0);
	if (pid == 0) {
		be_traced();
		child();
		_exit(check_end());
	}
	int status = -1;
	REQUIRE(waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == CHECK_SKIP) check_skip("ptrace is not allowed here");
	REQUIRE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP, "status %#x", (unsigned)status);
	return pid;
}

/* Lets the child run to its next mark; false when it came to its end instead. */
static bool to_mark(pid_t pid) {
	int status = -1;
	REQUIRE(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0);
	REQUIRE(waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status)) {
		REQUIRE(WEXITSTATUS(status) == 0, "the child's exit status %d", WEXITSTATUS(status));
		return false;
	}
	REQUIRE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP, "status %#x", (unsigned)status);
	return true;
}

/* From the mark at which the child stands to the next one. */
static count step_to_mark(pid_t pid) {
	count c = {0, 0, 0, 0};
	for (;;) {
		struct user_regs_struct registers;
		int status = -1;
		REQUIRE(ptrace(PTRACE_GETREGS, pid, NULL, &registers) == 0);
		if (*(const unsigned char *)registers.rip == INT3) break;
		look_at(registers.rip, &c);
		REQUIRE(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
		REQUIRE(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP, "status %#x",
		        (unsigned)status);
	}
	REQUIRE(c.instructions > PAIRS, "the tracer saw %ld instructions", c.instructions);
	REQUIRE(to_mark(pid));
	return c;
}

static void hit(void) {
	pid_t pid = start(child_hit);
	for (int i = 0; i < SIZES; i++) {
		REQUIRE(to_mark(pid));
		count c = step_to_mark(pid);
		printf("%5zu bytes: %ld instructions a pair, %ld locked, %ld system calls, %ld calls out of line in %d pairs\n",
		       sizes[i], c.instructions / PAIRS, c.locked, c.system_calls, c.calls, PAIRS);
		CHECK(c.locked == 0, "%zu bytes: %ld instructions are locked", sizes[i], c.locked);
		CHECK(c.system_calls == 0, "%zu bytes: %ld system calls", sizes[i], c.system_calls);
		CHECK(sizes[i] > KIB || c.calls == 0, "%zu bytes: %ld calls out of line", sizes[i], c.calls);
	}
	CHECK(!to_mark(pid));
}

static void grown(void) {
	long least[STAGES];
	pid_t pid = start(child_grown);
	for (int i = 0; i < STAGES * LOOKS; i++) {
		REQUIRE(to_mark(pid));
		long now = step_to_mark(pid).instructions, *best = &least[i / LOOKS];
		if (i % LOOKS == 0 || now < *best) *best = now;
	}
	printf("a pair beside %d blocks: %ld instructions, beside %d: %ld\n", LIVE / 16, least[0] / PAIRS, LIVE,
	       least[1] / PAIRS);
	/* A window of the page map may end among the blocks; those beyond it cost a few more instructions. */
	CHECK(least[1] <= least[0] + least[0] / 10 + 32 * PAIRS, "%ld and %ld instructions", least[0], least[1]);
	CHECK(!to_mark(pid));
}

/* ---- calls to the kernel ---- */

enum { RING = 1024, PASSED = 1000000, MOST_CALLS = 1000 };
static void *ring[RING];
static sem_t filled, emptied;

static void *consume(void *unused) {
	(void)unused;
	for (size_t i = 0; i < PASSED; i++) {
		sem_wait(&filled);
		free(ring[i % RING]);
		sem_post(&emptied);
	}
	return NULL;
}

static void trace_calls_about_memory(void) {
	static const int numbers[] = {SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise};
	enum { COUNT = sizeof numbers / sizeof *numbers };
	struct sock_filter code[COUNT + 3];
	size_t n = 0;
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < COUNT; i++)
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)numbers[i],
		                                         (unsigned char)(COUNT - i), 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
	struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		_exit(CHECK_SKIP);
}

static void child_calls(void) {
	pthread_t thread;
	uint64_t seed = 1;
	sem_init(&filled, 0, 0);
	sem_init(&emptied, 0, RING);
	trace_calls_about_memory();
	REQUIRE(pthread_create(&thread, NULL, consume, NULL) == 0);
	for (size_t i = 0; i < PASSED; i++) {
		sem_wait(&emptied);
		ring[i % RING] = malloc(check_random(&seed) % 1000 + 1);
		REQUIRE(ring[i % RING]);
		sem_post(&filled);
	}
	pthread_join(thread, NULL);
}

static void calls(void) {
	pid_t pid = start(child_calls);
	REQUIRE(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE) == 0);
	REQUIRE(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0);
	long seen = 0;
	for (;;) {
		int status = -1;
		pid_t who = waitpid(-1, &status, __WALL);
		REQUIRE(who > 0);
		if (who == pid && WIFEXITED(status)) {
			if (WEXITSTATUS(status) == CHECK_SKIP) check_skip("seccomp filters are not allowed here");
			REQUIRE(WEXITSTATUS(status) == 0, "the child's exit status %d", WEXITSTATUS(status));
			break;
		}
		if (!WIFSTOPPED(status)) continue; /* the other thread ended */
		int event = status >> 16, number = WSTOPSIG(status);
		seen += event == PTRACE_EVENT_SECCOMP;
		bool own = event != 0 || number == SIGSTOP || number == SIGTRAP;
		ptrace(PTRACE_CONT, who, NULL, (void *)(uintptr_t)(own ? 0 : number));
	}
	printf("%ld calls to the kernel about memory, for %d blocks passed on\n", seen, PASSED);
	CHECK(seen > 0, "the tracer saw nothing"); /* a thread's stack is one */
	CHECK(seen <= MOST_CALLS, "%ld calls to the kernel for %d blocks", seen, PASSED);
}

int main(int argc, char **argv) {
	const char *which = argc > 1 ? argv[1] : "";
	dladdr(dlsym(RTLD_DEFAULT, "malloc"), &library);
	if (strcmp(which, "hit") == 0) hit();
	else if (strcmp(which, "grown") == 0) grown();
	else if (strcmp(which, "calls") == 0) calls();
	else REQUIRE(false, "usage: traced hit|grown|calls");
	return check_end();
}
#endif
