/*
 * macho.c: loads libhypool-preload.dylib for macOS on x86-64 into a Linux process, with this file as its libSystem, and
 * runs it: initialisers, zone, interposed calls, threads, forks.
 *
 *   macho DYLIB
 *
 * A test double. It shows that the code which macOS would run does what it should against calls that behave as Apple's
 * documentation and the published XNU sources say; it does not show that macOS behaves so. The loader knows what
 * ld64.lld writes for this one library: segments, classic rebase and bind opcodes, initialisers, the interpose table.
 * A symbol that the double lacks ends the test with its name. Formats: Apple, "OS X ABI Mach-O File Format Reference".
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REQUIRE(condition, ...) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "macho.c:%d: %s: ", __LINE__, #condition); \
			fprintf(stderr, " " __VA_ARGS__); \
			fputc('\n', stderr); \
			_exit(1); \
		} \
	} while (0)

/* ---- the double of libSystem ---- */

typedef struct zone zone;
struct zone { /* malloc_zone_t, as malloc/malloc.h publishes it */
	void *reserved[2];
	size_t (*size)(zone *, const void *);
	void *(*malloc)(zone *, size_t);
	void *(*calloc)(zone *, size_t, size_t);
	void *(*valloc)(zone *, size_t);
	void (*free)(zone *, void *);
	void *(*realloc)(zone *, void *, size_t);
	void (*destroy)(zone *);
	const char *name;
	unsigned (*batch_malloc)(zone *, size_t, void **, unsigned);
	void (*batch_free)(zone *, void **, unsigned);
	void **introspect;
	unsigned version;
	void *(*memalign)(zone *, size_t, size_t);
	void (*free_sized)(zone *, void *, size_t);
	size_t (*pressure)(zone *, size_t);
	int (*claimed)(zone *, void *);
};

/* The system's own zone: blocks with a mark in front, so that it knows its own. */
enum { MARK = 0x5afe };
static _Atomic long system_blocks;

static void *system_malloc(zone *z, size_t bytes) {
	(void)z;
	size_t *p = malloc(bytes + 16);
	p[0] = MARK;
	p[1] = bytes;
	atomic_fetch_add(&system_blocks, 1);
	return p + 2;
}
static _Atomic(void *) system_known[64];
static size_t system_size(zone *z, const void *p) {
	(void)z;
	for (int i = 0; i < 64; i++)
		if (system_known[i] == p) return ((const size_t *)p)[-1];
	return 0;
}
static void system_free(zone *z, void *p) {
	REQUIRE(system_size(z, p) != 0, "the system's zone was given a block that is not its own");
	for (int i = 0; i < 64; i++)
		if (system_known[i] == p) system_known[i] = NULL;
	atomic_fetch_sub(&system_blocks, 1);
	free((size_t *)p - 2);
}
static void *system_make(size_t bytes) {
	void *p = system_malloc(NULL, bytes);
	for (int i = 0; i < 64; i++)
		if (system_known[i] == NULL) return system_known[i] = p;
	REQUIRE(false, "too many blocks of the system's");
	return NULL;
}
static void *system_realloc(zone *z, void *p, size_t bytes) {
	void *q = system_make(bytes);
	size_t had = system_size(z, p);
	memcpy(q, p, had < bytes ? had : bytes);
	system_free(z, p);
	return q;
}
static zone system_zone = {.size = system_size,
                           .malloc = system_malloc,
                           .free = system_free,
                           .realloc = system_realloc,
                           .name = "the system's"};

static zone *zones[8] = {&system_zone};
static int zone_count = 1;

static zone *default_zone(void) { return zones[0]; }
static void zone_register(zone *z) { zones[zone_count++] = z; }
static void zone_unregister(zone *z) { /* the last takes its place, as libmalloc does */
	for (int i = 0; i < zone_count; i++)
		if (zones[i] == z) zones[i] = zones[--zone_count];
}
static zone *zone_from_ptr(const void *p) {
	for (int i = 0; i < zone_count; i++)
		if (zones[i]->size(zones[i], p) != 0) return zones[i];
	return NULL;
}
static void zone_free(zone *z, void *p) { z->free(z, p); }
static void *zone_realloc(zone *z, void *p, size_t bytes) { return z->realloc(z, p, bytes); }
static size_t original_size(const void *p) {
	zone *z = zone_from_ptr(p);
	return z ? z->size(z, p) : 0;
}

static void *fake_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset) {
	int ours = flags & 0x13; /* MAP_SHARED, MAP_PRIVATE, MAP_FIXED are the same */
	if (flags & 0x1000) ours |= MAP_ANONYMOUS, fd = -1;
	if (flags & 0x40) ours |= MAP_NORESERVE;
	REQUIRE((flags & ~0x1053) == 0, "mmap: flags %#x", (unsigned)flags);
	return mmap(at, bytes, protection, ours, fd, offset);
}
static _Atomic long lazy_purges;
static int fake_madvise(void *at, size_t bytes, int advice) {
	REQUIRE(advice == 5 || advice == 7, "madvise: %d", advice); /* MADV_FREE, MADV_FREE_REUSABLE */
	atomic_fetch_add(&lazy_purges, 1);
	memset(at, 0x6b, bytes < 64 ? bytes : 64); /* contents are undefined from here on */
	return 0;
}
static int fake_key_create(unsigned long *ret_key, void (*destructor)(void *)) {
	pthread_key_t key;
	int status = pthread_key_create(&key, destructor);
	if (status == 0) *ret_key = key;
	return status;
}
static void *fake_getspecific(unsigned long key) { return pthread_getspecific((pthread_key_t)key); }
static int fake_setspecific(unsigned long key, const void *value) {
	return pthread_setspecific((pthread_key_t)key, value);
}
static int fake_threadid(pthread_t thread, uint64_t *ret_id) {
	(void)thread;
	*ret_id = (uint64_t)syscall(SYS_gettid);
	return 0;
}
static int ulock_wait(uint32_t operation, void *at, uint64_t value, uint32_t timeout_us) {
	REQUIRE(operation == 0x01000001 && timeout_us == 0, "__ulock_wait: %#x", operation);
	syscall(SYS_futex, at, FUTEX_WAIT_PRIVATE, (uint32_t)value, NULL, NULL, 0);
	return 0;
}
static int ulock_wake(uint32_t operation, void *at, uint64_t value) {
	(void)value;
	REQUIRE(operation == 0x01000001, "__ulock_wake: %#x", operation);
	syscall(SYS_futex, at, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	return 0;
}
static uint64_t fake_clock(int id) {
	(void)id;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
static uint64_t fake_absolute_time(void) { return fake_clock(0); }
static int fake_sysctl(const char *name, void *ret_value, size_t *length, void *new_value, size_t new_length) {
	(void)new_value, (void)new_length;
	if (strcmp(name, "hw.activecpu") != 0 || *length != sizeof(int)) return errno = ENOENT, -1;
	*(int *)ret_value = 4;
	return 0;
}
static int fake_task_info(unsigned task, unsigned kind, int *info, unsigned *count) {
	(void)task, (void)kind, (void)info, (void)count;
	return 5; /* KERN_FAILURE */
}
static int no_setugid(void) { return 0; }
static int page_size(void) { return 4096; } /* what this kernel has: arm64's 16 KiB is tested on Linux */
extern char **environ;
static char ***fake_environ(void) { return &environ; }
static void no_binder(void) { REQUIRE(false, "a lazy symbol was not bound"); }
static void stack_smashed(void) { REQUIRE(false, "__stack_chk_fail"); }
static void *memmove_chk(void *to, const void *from, size_t n, size_t room) {
	REQUIRE(n <= room);
	return memmove(to, from, n);
}
static void not_here(void) { REQUIRE(false, "a call that the double does not have"); }
static unsigned task_self = 1;
static uintptr_t stack_guard = 0x5a5a5a00;
extern int __cxa_atexit(void (*)(void *), void *, void *);

/* What is interposed: never called here, each has an address of its own. */
#define ORIGINALS(X) \
	X(malloc) \
	X(calloc) \
	X(realloc) \
	X(reallocf) \
	X(free) \
	X(valloc) \
	X(aligned_alloc) \
	X(posix_memalign) \
	X(malloc_type_malloc) \
	X(malloc_type_calloc) \
	X(malloc_type_free) \
	X(malloc_type_realloc) \
	X(malloc_type_valloc) \
	X(malloc_type_aligned_alloc) \
	X(malloc_type_posix_memalign)
#define ORIGINAL(name) \
	static void original_##name(void) { REQUIRE(false, "the original " #name " was called"); }
ORIGINALS(ORIGINAL)

static const struct symbol {
	const char *name;
	const void *address;
} symbols[] = {
#define F(name, f) \
	{ "_" name, (const void *)(uintptr_t)(f) }
#define ROW(name) F(#name, original_##name),
	ORIGINALS(ROW) F("malloc_size", original_size),
	F("malloc_default_zone", default_zone),
	F("malloc_zone_register", zone_register),
	F("malloc_zone_unregister", zone_unregister),
	F("malloc_zone_from_ptr", zone_from_ptr),
	F("malloc_zone_free", zone_free),
	F("malloc_zone_realloc", zone_realloc),
	F("mmap", fake_mmap),
	F("madvise", fake_madvise),
	F("munmap", munmap),
	F("mprotect", mprotect),
	F("mlock", mlock),
	F("pthread_key_create", fake_key_create),
	F("pthread_getspecific", fake_getspecific),
	F("pthread_setspecific", fake_setspecific),
	F("pthread_self", pthread_self),
	F("pthread_atfork", pthread_atfork),
	F("pthread_threadid_np", fake_threadid),
	F("__ulock_wait", ulock_wait),
	F("__ulock_wake", ulock_wake),
	F("clock_gettime_nsec_np", fake_clock),
	F("mach_absolute_time", fake_absolute_time),
	F("sysctlbyname", fake_sysctl),
	F("task_info", fake_task_info),
	F("mach_task_self_", &task_self),
	F("issetugid", no_setugid),
	F("getpagesize", page_size),
	F("getentropy", getentropy),
	F("getrusage", getrusage),
	F("getpid", getpid),
	F("sched_yield", sched_yield),
	F("_NSGetEnviron", fake_environ),
	F("__error", __errno_location),
	F("__cxa_atexit", __cxa_atexit),
	F("abort", abort),
	F("__stack_chk_fail", stack_smashed),
	F("__stack_chk_guard", &stack_guard),
	F("__memmove_chk", memmove_chk),
	F("__bzero", bzero),
	F("memcmp", memcmp),
	F("memcpy", memcpy),
	F("memmove", memmove),
	F("memset", memset),
	F("bzero", bzero),
	F("strlen", strlen),
	F("strnlen", strnlen),
	F("strchr", strchr),
	F("strcmp", strcmp),
	F("strncmp", strncmp),
	F("strncasecmp", strncasecmp),
	F("write", write),
	F("read", read),
	F("close", close),
	F("open", not_here),
	F("fcntl", not_here),
	F("fstat$INODE64", not_here),
	F("fsync", not_here),
	F("ftruncate", not_here),
	F("lseek", not_here),
	F("rename", not_here),
	F("shm_open", not_here),
	F("shm_unlink", not_here),
	F("unlink", not_here),
	{"dyld_stub_binder", (const void *)(uintptr_t)no_binder},
};

static const void *symbol_of(const char *name) {
	for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++)
		if (strcmp(symbols[i].name, name) == 0) return symbols[i].address;
	REQUIRE(false, "the library needs %s, which the double does not have", name);
	return NULL;
}

/* ---- the loader ---- */

struct section {
	char name[16], segment_name[16];
	uint64_t address, bytes;
	uint32_t offset, alignment_log2, relocations, relocation_count, flags, reserved[3];
};
struct segment {
	uint32_t command, command_bytes;
	char name[16];
	uint64_t address, bytes, file_offset, file_bytes;
	int32_t protection_most, protection;
	uint32_t section_count, flags;
	struct section sections[];
};
struct dyld_info {
	uint32_t command, command_bytes, rebase, rebase_bytes, bind, bind_bytes, weak, weak_bytes, lazy, lazy_bytes;
};

static const unsigned char *file;
static char *base;
static struct segment *segments[16];
static int segment_count;

static uint64_t leb(const unsigned char **p) {
	uint64_t value = 0;
	for (int shift = 0;; shift += 7) {
		unsigned char byte = *(*p)++;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) return value;
	}
}

static void rebase(const unsigned char *p, size_t bytes) {
	char *at = NULL;
	for (const unsigned char *end = p + bytes; p < end;) {
		unsigned char operation = *p & 0xf0, immediate = *p & 0x0f;
		uint64_t count = 0, skip = 0;
		p++;
		switch (operation) {
		case 0x00: return;
		case 0x10: break; /* the type: a pointer */
		case 0x20: at = base + segments[immediate]->address + leb(&p); break;
		case 0x30: at += leb(&p); break;
		case 0x40: at += immediate * 8; break;
		case 0x50: count = immediate; break;
		case 0x60: count = leb(&p); break;
		case 0x70: count = 1, skip = leb(&p); break;
		case 0x80: count = leb(&p), skip = leb(&p); break;
		default: REQUIRE(false, "rebase opcode %#x", operation);
		}
		for (uint64_t i = 0; i < count; i++, at += 8 + skip) *(uintptr_t *)(void *)at += (uintptr_t)base;
	}
}

static void bind(const unsigned char *p, size_t bytes, bool lazy) {
	char *at = NULL;
	const char *name = "";
	int64_t addend = 0;
	for (const unsigned char *end = p + bytes; p < end;) {
		unsigned char operation = *p & 0xf0, immediate = *p & 0x0f;
		uint64_t count = 0, skip = 0;
		p++;
		switch (operation) {
		case 0x00:
			if (!lazy) return;
			break;
		case 0x10:
		case 0x30:
		case 0x50: break; /* which library, and the type: a pointer */
		case 0x20: leb(&p); break;
		case 0x40: name = (const char *)p, p += strlen(name) + 1; break;
		case 0x60: addend = (int64_t)leb(&p); break;
		case 0x70: at = base + segments[immediate]->address + leb(&p); break;
		case 0x80: at += leb(&p); break;
		case 0x90: count = 1; break;
		case 0xa0: count = 1, skip = leb(&p); break;
		case 0xb0: count = 1, skip = immediate * 8u; break;
		case 0xc0: count = leb(&p), skip = leb(&p); break;
		default: REQUIRE(false, "bind opcode %#x", operation);
		}
		for (uint64_t i = 0; i < count; i++, at += 8 + skip)
			*(uintptr_t *)(void *)at = (uintptr_t)symbol_of(name) + (uintptr_t)addend;
	}
}

static const struct section *section_of(const char *name) {
	for (int s = 0; s < segment_count; s++)
		for (uint32_t i = 0; i < segments[s]->section_count; i++)
			if (strncmp(segments[s]->sections[i].name, name, 16) == 0) return &segments[s]->sections[i];
	return NULL;
}

static void load(const char *path) {
	struct stat facts;
	int fd = open(path, O_RDONLY);
	REQUIRE(fd >= 0 && fstat(fd, &facts) == 0, "%s", path);
	file = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	const uint32_t *head = (const void *)file;
	REQUIRE(head[0] == 0xfeedfacf && head[1] == 0x01000007 && head[3] == 6, "not a dylib for x86-64");
	const struct dyld_info *info = NULL;
	size_t most = 0;
	const unsigned char *command = file + 32;
	for (uint32_t i = 0; i < head[4]; i++, command += ((const uint32_t *)(const void *)command)[1]) {
		uint32_t kind = *(const uint32_t *)(const void *)command & 0x7fffffff;
		REQUIRE(kind != 0x34, "chained fixups: link for an older system");
		if (kind == 0x22) info = (const void *)command;
		if (kind != 0x19) continue;
		segments[segment_count] = (struct segment *)(uintptr_t)command;
		size_t end = segments[segment_count]->address + segments[segment_count]->bytes;
		segment_count++;
		most = end > most ? end : most;
	}
	REQUIRE(info && segment_count > 0);
	base = mmap(NULL, most, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < segment_count; i++)
		memcpy(base + segments[i]->address, file + segments[i]->file_offset, segments[i]->file_bytes);
	rebase(file + info->rebase, info->rebase_bytes);
	bind(file + info->bind, info->bind_bytes, false);
	bind(file + info->lazy, info->lazy_bytes, true);
	for (int i = 0; i < segment_count; i++)
		REQUIRE(mprotect(base + segments[i]->address, segments[i]->bytes, segments[i]->protection) == 0);
}

static void initialise(void) {
	const struct section *s = section_of("__mod_init_func");
	REQUIRE(s && s->bytes > 0, "no initialisers");
	char *arguments[] = {(char *)"macho", NULL};
	for (uint64_t i = 0; i < s->bytes / 8; i++)
		((void (**)(int, char **, char **, char **))(void *)(base + s->address))[i](1, arguments, environ, arguments);
}

/* What dyld would put in the place of `name` in every other image. */
static void *interposed(const char *name) {
	char with[64];
	snprintf(with, sizeof with, "_%s", name);
	const struct section *s = section_of("__interpose");
	REQUIRE(s, "no interpose table");
	void **pairs = (void **)(void *)(base + s->address);
	for (uint64_t i = 0; i < s->bytes / 16; i++)
		if (pairs[2 * i + 1] == symbol_of(with)) return pairs[2 * i];
	REQUIRE(false, "%s is not interposed", name);
	return NULL;
}

/* ---- the test ---- */

static void *(*our_malloc)(size_t), *(*our_calloc)(size_t, size_t), *(*our_realloc)(void *, size_t);
static void (*our_free)(void *);
static size_t (*our_size)(const void *);
static int (*our_memalign)(void **, size_t, size_t);

static _Atomic bool stop;
static _Atomic(void *) shared[128];
static _Atomic long destructed;
static pthread_key_t key;

static void work(uint64_t *seed, int steps) {
	for (int i = 0; i < steps; i++) {
		*seed = *seed * 6364136223846793005u + 1442695040888963407u;
		size_t pick = *seed >> 33, size = pick % 50 ? pick % 3000 + 1 : pick % 4000000 + 1;
		unsigned char *p = pick % 3 ? our_malloc(size) : our_calloc(1, size);
		REQUIRE(p && our_size(p) >= size);
		p[0] = p[size - 1] = 7;
		if (pick % 7 == 0) {
			p = our_realloc(p, size + 1000);
			REQUIRE(p && p[0] == 7 && (size == 1 || p[size - 1] == 7));
		}
		our_free(atomic_exchange(&shared[pick % 128], p));
	}
}

static void on_end(void *value) { /* allocates, and comes again: 4 rounds in all */
	uint64_t seed = (uintptr_t)value;
	work(&seed, 20);
	atomic_fetch_add(&destructed, 1);
	if ((uintptr_t)value % 4 != 3) pthread_setspecific(key, (void *)((uintptr_t)value + 1));
}

static void *brief(void *number) {
	uint64_t seed = (uintptr_t)number * 4 + 4;
	pthread_setspecific(key, (void *)(uintptr_t)seed);
	work(&seed, 200);
	return NULL;
}

static void *churn(void *number) {
	uint64_t seed = (uintptr_t)number + 1000;
	while (!stop) work(&seed, 50);
	return NULL;
}

static void foreign_blocks(void) {
	void *p = system_make(100);
	memset(p, 5, 100);
	REQUIRE(our_size(p) == 100, "malloc_size of a block of another zone");
	p = our_realloc(p, 300);
	REQUIRE(p && ((char *)p)[99] == 5);
	our_free(p);
	REQUIRE(system_blocks == 0, "a block of another zone was not given back to it");
	our_free(NULL);
}

static void the_zone(void) {
	REQUIRE(zone_count == 2 && default_zone() != &system_zone && zones[1] == &system_zone, "the default zone");
	zone *z = default_zone();
	REQUIRE(strcmp(z->name, "hypool") == 0 && z->version >= 9 && z->introspect, "%s, version %u", z->name, z->version);
	void *p = z->malloc(z, 1000);
	REQUIRE(z->size(z, p) >= 1000 && zone_from_ptr(p) == z && z->claimed(z, p));
	REQUIRE(z->size(z, &p) == 0 && zone_from_ptr(&p) == NULL, "knows what is not its own");
	p = z->realloc(z, p, 70000);
	z->free_sized(z, p, 70000);
	void *batch[100];
	REQUIRE(z->batch_malloc(z, 48, batch, 100) == 100);
	z->batch_free(z, batch, 100);
	p = z->memalign(z, 4096, 5000);
	REQUIRE(p && (uintptr_t)p % 4096 == 0);
	z->free(z, p);
	p = z->valloc(z, 1);
	REQUIRE(p && (uintptr_t)p % 4096 == 0);
	z->free(z, p);
	z->pressure(z, 0);
}

static void forks(void) {
	pthread_t threads[3];
	for (uintptr_t i = 0; i < 3; i++) REQUIRE(pthread_create(&threads[i], NULL, churn, (void *)i) == 0);
	for (int round = 0; round < 300; round++) {
		pid_t child = fork();
		if (child == 0) {
			alarm(10);
			uint64_t seed = (uint64_t)round + 77;
			work(&seed, 100);
			pthread_t thread;
			if (round % 8 == 0) {
				REQUIRE(pthread_create(&thread, NULL, brief, (void *)1) == 0);
				pthread_join(thread, NULL);
			}
			_exit(0);
		}
		int status = -1;
		REQUIRE(child > 0 && waitpid(child, &status, 0) == child && status == 0, "round %d: %#x", round,
		        (unsigned)status);
	}
	stop = true;
	for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}

int main(int argc, char **argv) {
	REQUIRE(argc == 2, "usage: macho DYLIB");
	alarm(120);
	load(argv[1]);
	*(void **)&our_malloc = interposed("malloc"), *(void **)&our_calloc = interposed("calloc");
	*(void **)&our_realloc = interposed("realloc"), *(void **)&our_free = interposed("free");
	*(void **)&our_size = interposed("malloc_size"), *(void **)&our_memalign = interposed("posix_memalign");
	void *early = our_malloc(100); /* other images' initialisers come before ours */
	REQUIRE(early && our_size(early) >= 100);
	initialise();
	our_free(early);
	the_zone();
	foreign_blocks();
	void *p = NULL;
	REQUIRE(our_memalign(&p, 65536, 10) == 0 && (uintptr_t)p % 65536 == 0 && our_memalign(&p, 3, 10) == EINVAL);
	our_free(p);
	errno = 0;
	REQUIRE(our_malloc(SIZE_MAX / 2) == NULL && errno == ENOMEM);
	p = our_realloc(our_malloc(10), 0);
	REQUIRE(p, "realloc to 0 gives a block, as on macOS");
	our_free(p);

	pthread_key_create(&key, on_end);
	for (int round = 0; round < 200; round++) {
		pthread_t threads[8];
		for (uintptr_t i = 0; i < 8; i++)
			REQUIRE(pthread_create(&threads[i], NULL, brief, (void *)(i + (uintptr_t)round * 8)) == 0);
		for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
	}
	REQUIRE(destructed == 200 * 8 * 4, "%ld destructors", destructed);
	forks();
	for (int i = 0; i < 128; i++) our_free(shared[i]);
	printf(
		"macho: loaded and run against the double: zone, interposed calls, 1600 threads, 300 forks, %ld lazy purges\n",
		lazy_purges);
	return 0;
}
