/*
 * One conformance suite, run on every backing: host memory of each shape, a file, shared memory, a table of functions
 * of the user's, and a simulated device whose memory faults when the processor touches it, which proves that no record
 * of the pool lies in it (lib/pool/backings.c, slab.c).
 */
#include "pool/handle.h"
#include "unit.h"

#include "tests_pool.h"

#include <signal.h>
#include <hypool/hypool.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a user's backing, which watches what is asked of it ---- */

typedef struct watched {
	int protection;
	size_t granule;
	_Atomic size_t reserved, ranges, committed, purged;
} watched;

static hyp_status user_reserve(void *context, size_t bytes, size_t alignment, uintptr_t *ret_address) {
	watched *w = context;
	HOLDS(bytes % w->granule == 0 && (alignment & (alignment - 1)) == 0);
	size_t total = bytes + alignment;
	char *p = mmap(NULL, total, w->protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) return HYP_ERR_NO_MEMORY;
	char *start = (char *)(((uintptr_t)p + alignment - 1) & ~(alignment - 1));
	if (start > p) munmap(p, (size_t)(start - p));
	if (start + bytes < p + total) munmap(start + bytes, (size_t)(p + total - start - bytes));
	w->reserved += bytes;
	w->ranges++;
	*ret_address = (uintptr_t)start;
	return HYP_OK;
}

static hyp_status user_commit(void *context, uintptr_t address, size_t bytes) {
	watched *w = context;
	HOLDS(address % w->granule == 0 && bytes % w->granule == 0);
	w->committed += bytes;
	return HYP_OK;
}

static hyp_status user_purge(void *context, uintptr_t address, size_t bytes) {
	watched *w = context;
	HOLDS(address % w->granule == 0 && bytes % w->granule == 0);
	w->purged += bytes;
	return madvise((void *)address, bytes, MADV_DONTNEED) == 0 ? HYP_OK : HYP_ERR_OS;
}

static hyp_status user_release(void *context, uintptr_t address, size_t bytes) {
	watched *w = context;
	w->reserved -= bytes;
	w->ranges--;
	return munmap((void *)address, bytes) == 0 ? HYP_OK : HYP_ERR_OS;
}

static hyp_backing user_backing(watched *w) {
	return (hyp_backing){
		.struct_bytes = sizeof(hyp_backing),
		.name = "user's",
		.context = w,
		.granule_bytes = w->granule,
		.numa_node = -1,
		.flags = w->protection == PROT_NONE ? 0 : HYP_BACKING_HOST | HYP_BACKING_ZEROED,
		.device = w->protection == PROT_NONE ? 7 : 0,
		.reserve = user_reserve,
		.commit = user_commit,
		.purge = user_purge,
		.release = user_release,
	};
}

/* ---- the suite ---- */

enum { PLACES = 300, STEPS = 6000 };

typedef struct place {
	hyp_handle handle;
	uintptr_t address;
	size_t bytes;
	uint8_t tag;
} place;

static void check_pool(hyp_pool *pool) {
	const char *wrong = hyp_pool_check(pool);
	ck_assert_msg(wrong == NULL, "%s", wrong);
}

static bool overlaps(const place *places, const place *p) {
	for (int i = 0; i < PLACES; i++)
		if (&places[i] != p && places[i].handle != 0 && p->address < places[i].address + places[i].bytes &&
		    places[i].address < p->address + p->bytes)
			return true;
	return false;
}

static void put_back(hyp_pool *pool, place *p) {
	void *at = NULL;
	HOLDS(hyp_handle_lock(pool, p->handle, &at) == HYP_OK && (uintptr_t)at == p->address);
	if (hypi_pool_is_host(pool)) HOLDS(filled(at, p->bytes, p->tag));
	HOLDS(hyp_handle_free(pool, p->handle) == HYP_ERR_BUSY);
	HOLDS(hyp_handle_unlock(pool, p->handle) == HYP_OK && hyp_handle_free(pool, p->handle) == HYP_OK);
	p->handle = 0;
}

/* A random stream of handles against a table of what is where. */
static void stream(hyp_pool *pool, int device) {
	static place places[PLACES];
	memset(places, 0, sizeof places);
	uint64_t seed = 20240131;
	size_t refused = 0;
	for (int step = 0; step < STEPS; step++) {
		place *p = &places[next_random(&seed) % PLACES];
		if (p->handle != 0) {
			put_back(pool, p);
		} else {
			size_t alignment = (size_t)1 << next_random(&seed) % 17;
			p->bytes = random_size(&seed) + 1;
			p->tag = (uint8_t)next_random(&seed);
			hyp_status status = hyp_handle_alloc(pool, p->bytes, alignment, device, &p->handle);
			HOLDS(status == HYP_OK || status == HYP_ERR_LIMIT);
			if (status == HYP_ERR_LIMIT) {
				p->handle = 0;
				refused++;
				continue;
			}
			void *at;
			HOLDS(hyp_handle_lock(pool, p->handle, &at) == HYP_OK && hyp_handle_unlock(pool, p->handle) == HYP_OK);
			p->address = (uintptr_t)at;
			HOLDS(p->address % alignment == 0 && !overlaps(places, p));
			if (hypi_pool_is_host(pool)) fill(at, p->bytes, p->tag);
		}
		if (step % 500 == 0) check_pool(pool);
	}
	ck_assert_uint_lt(refused, STEPS / 2);
	for (int i = 0; i < PLACES; i++)
		if (places[i].handle != 0) put_back(pool, &places[i]);
	check_pool(pool);
}

static void conform(const hyp_backing *backing, int device) {
	hyp_pool_config config = small_config();
	config.backing = backing;
	config.initial_small_bytes = 1 << 20;
	config.initial_large_bytes = 4 << 20;
	hyp_pool *pool = NULL;
	ck_assert_int_eq(hyp_pool_create(&config, &pool), HYP_OK);
	ck_assert_uint_ge(pool->engine.large.mapped_bytes, 5 << 20);
	stream(pool, device);
	if (backing->flags & HYP_BACKING_HOST) {
		for (size_t bytes = 1; bytes < 10000000; bytes *= 3) {
			uint8_t *p = hyp_pool_calloc(pool, 1, bytes);
			for (size_t i = 0; i < bytes; i++) HOLDS(p[i] == 0);
			memset(p, 0xaa, bytes);
			hyp_pool_free(pool, p);
		}
	} else {
		errno = 0;
		ck_assert_ptr_null(hyp_pool_malloc(pool, 100));
		ck_assert_int_eq(errno, ENOTSUP);
		hyp_handle h;
		ck_assert_int_eq(hyp_handle_alloc(pool, 100, 0, 0, &h), HYP_ERR_DEVICE);
		ck_assert_int_eq(hyp_handle_alloc(pool, 100, 0, device, &h), HYP_OK);
		ck_assert_int_eq(hypi_handle_move(pool, h), HYP_ERR_UNSUPPORTED);
		ck_assert_int_eq(hyp_handle_realloc(pool, h, 110), HYP_OK); /* fits */
		ck_assert_int_eq(hyp_handle_realloc(pool, h, 110000), HYP_ERR_UNSUPPORTED);
		hyp_handle_info info = {.struct_bytes = sizeof info};
		ck_assert_int_eq(hyp_handle_get_info(pool, h, &info), HYP_OK);
		ck_assert(info.device == device && info.bytes == 110 && info.small);
	}
	/* Beyond an arena. */
	hyp_handle huge;
	ck_assert_int_eq(hyp_handle_alloc(pool, (size_t)20 << 20, 0, device, &huge), HYP_OK);
	check_pool(pool);
	stream(pool, device);
	ck_assert_int_eq(hyp_handle_free(pool, huge), HYP_OK);
	ck_assert_int_eq(hyp_handle_alloc(pool, (size_t)20 << 20, 0, device, &huge), HYP_OK);
	hyp_pool_trim(pool);
	check_pool(pool);
	ck_assert_int_eq(hyp_pool_reset(pool), HYP_OK);
	ck_assert_int_ne(hyp_handle_free(pool, huge), HYP_OK);
	ck_assert_uint_eq(pool->engine.large.used_slices + pool->engine.large.huge_bytes, 0);
	stream(pool, device);
	hyp_pool_destroy(pool); /* with whatever is left */
}

static void conform_host(int node, hyp_huge_pages huge, bool lock) {
	hyp_backing backing;
	ck_assert_int_eq(hyp_backing_open_host(node, huge, lock, &backing), HYP_OK);
	conform(&backing, 0);
	hyp_backing_close(&backing);
}

START_TEST(anonymous) {
	conform_host(-1, HYP_HUGE_DEFAULT, false);
	conform_host(-1, HYP_HUGE_NEVER, false);
	conform_host(-1, HYP_HUGE_TRANSPARENT, false);
	conform(hypi_backing_anonymous(), 0);
	hyp_backing_close(NULL);
}
END_TEST

/* Really huge pages, or refused: what smaps says, not what was asked. */
START_TEST(huge_pages) {
	hyp_backing backing;
	hyp_status status = hyp_backing_open_host(-1, HYP_HUGE_EXPLICIT, false, &backing);
	hyp_pool_config config = small_config();
	config.huge_pages = HYP_HUGE_EXPLICIT;
	hyp_pool *pool = NULL;
	if (status == HYP_ERR_UNSUPPORTED) {
		ck_assert_int_eq(hyp_pool_create(&config, &pool), HYP_ERR_UNSUPPORTED);
		ck_assert_ptr_nonnull(strstr(hyp_pool_config_error(), "huge_pages"));
		return;
	}
	ck_assert_int_eq(status, HYP_OK);
	hyp_backing_close(&backing);
	config.max_small_bytes = config.max_large_bytes = 2 << 20; /* a pool that one or two of them hold */
	ck_assert_int_eq(hyp_pool_create(&config, &pool), HYP_OK);
	char *p = hyp_pool_malloc(pool, 1000);
	ck_assert_ptr_nonnull(p);
	memset(p, 1, 1000);
	FILE *maps = fopen("/proc/self/smaps", "r");
	char line[512];
	bool inside = false;
	unsigned long from, to, size_kb, page_kb = 0;
	while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2) inside = (uintptr_t)p >= from && (uintptr_t)p < to;
		if (inside && sscanf(line, "KernelPageSize: %lu kB", &size_kb) == 1) page_kb = size_kb;
	}
	if (maps != NULL) fclose(maps);
	ck_assert_uint_eq(page_kb * 1024, hypi_os.huge_page_bytes);
	hyp_pool_destroy(pool);
}
END_TEST

/* A sanitizer's own memory is counted, too. */
#if HYP_TSAN || defined __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* Of the process, from smaps_rollup. */
static size_t rollup_kib(const char *field) {
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	char line[256];
	size_t kib = 0;
	while (file != NULL && fgets(line, sizeof line, file) != NULL)
		if (strncmp(line, field, strlen(field)) == 0) kib = strtoul(line + strlen(field), NULL, 10);
	if (file != NULL) fclose(file);
	return kib;
}

/* Whether the kernel gives transparent huge pages to who asks, on this machine and now. */
static bool kernel_has_huge_pages(void) {
	size_t bytes = (size_t)8 << 20, before = rollup_kib("AnonHugePages:");
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) return false;
	bool asked = madvise(p, bytes, MADV_HUGEPAGE) == 0;
	memset(p, 1, bytes);
	bool has = asked && rollup_kib("AnonHugePages:") > before;
	munmap(p, bytes);
	return has;
}

/* Transparent ones where a pool asks for them, and none where it says never: by the kernel's count. */
START_TEST(transparent_huge_pages) {
	if (SANITIZED || !kernel_has_huge_pages()) {
		puts("skipped: the kernel gives no transparent huge pages now");
		return;
	}
	for (int ask = 0, tries = 0; ask < 2; ask++) {
		hyp_pool_config config;
		hyp_pool_config_init(&config);
		config.huge_pages = ask ? HYP_HUGE_TRANSPARENT : HYP_HUGE_NEVER;
		hyp_pool *pool = make_pool(&config);
		size_t bytes = (size_t)32 << 20, before = rollup_kib("AnonHugePages:");
		char *p = hyp_pool_malloc(pool, bytes);
		ck_assert_ptr_nonnull(p);
		memset(p, 1, bytes);
		size_t now = rollup_kib("AnonHugePages:");
		hyp_pool_free(pool, p);
		hyp_pool_destroy(pool);
		if (ask && now < before + 2048 && ++tries < 100) { /* it may have none at the moment: others took them */
			if (!kernel_has_huge_pages()) return;
			ask--;
			continue;
		}
		if (ask) ck_assert_uint_ge(now, before + 2048);
		else ck_assert_uint_le(now, before);
		ck_assert_uint_le(rollup_kib("AnonHugePages:"), before);
	}
}
END_TEST

static size_t free_huge_pages(void) {
	FILE *file = fopen("/proc/meminfo", "r");
	char line[256];
	size_t pages = 0;
	while (file != NULL && fgets(line, sizeof line, file) != NULL)
		if (sscanf(line, "HugePages_Free: %zu", &pages) == 1) break;
	if (file != NULL) fclose(file);
	return pages;
}

/* The whole suite, where the system keeps enough of them; all go back. */
START_TEST(huge_pages_conform) {
	size_t before = free_huge_pages();
	if (before < 160) {
		printf("huge pages: the suite needs 160 free ones, there are %zu (vm.nr_hugepages)\n", before);
		return;
	}
	conform_host(-1, HYP_HUGE_EXPLICIT, false);
	ck_assert_uint_eq(free_huge_pages(), before);
}
END_TEST

#if defined(__linux__)
/* The node of each page of a block, by the kernel's own word. */
static void check_node(void *p, size_t bytes, int node) {
	enum { MOST = 1024 };
	void *pages[MOST];
	int nodes[MOST], policy = -1;
	unsigned long mask[16] = {0};
	size_t count = 0;
	for (uintptr_t at = (uintptr_t)p & ~(hypi_os.page_bytes - 1); at < (uintptr_t)p + bytes && count < MOST;
	     at += hypi_os.page_bytes)
		pages[count++] = (void *)at;
	ck_assert_int_eq(syscall(SYS_move_pages, 0, count, pages, NULL, nodes, 0), 0);
	for (size_t i = 0; i < count; i++) ck_assert_int_eq(nodes[i], node);
	ck_assert_int_eq(syscall(SYS_get_mempolicy, &policy, mask, sizeof mask * 8, p, 2ul /* MPOL_F_ADDR */), 0);
	ck_assert_int_eq(policy, 2 /* MPOL_BIND */);
	ck_assert_uint_eq(mask[(unsigned)node / 64], 1ul << ((unsigned)node % 64));
}

static bool is_online(int node) {
	char path[64];
	snprintf(path, sizeof path, "/sys/devices/system/node/node%d", node);
	return access(path, F_OK) == 0;
}

/* Real binding where there is a node, refusal where there is none. */
START_TEST(numa) {
	hyp_backing backing;
	int bound = 0;
	for (int node = 0; node < 64; node++) {
		hyp_pool_config config = small_config();
		config.numa_node = node;
		hyp_pool *pool = NULL;
		hyp_status status = hyp_pool_create(&config, &pool);
		if (!is_online(node)) {
			ck_assert(status == HYP_ERR_INVALID || status == HYP_ERR_UNSUPPORTED);
			ck_assert_ptr_nonnull(strstr(hyp_pool_config_error(), "numa_node"));
			ck_assert_ptr_null(pool);
			status = hyp_backing_open_host(node, HYP_HUGE_DEFAULT, false, &backing);
			ck_assert(status == HYP_ERR_INVALID || status == HYP_ERR_UNSUPPORTED);
			continue;
		}
		if (status == HYP_ERR_UNSUPPORTED) continue; /* a sandbox without mbind: refused, not pretended */
		ck_assert_int_eq(status, HYP_OK);
		bound++;
		for (size_t bytes = 100; bytes < (size_t)30 << 20; bytes *= 9) {
			void *p = hyp_pool_malloc(pool, bytes);
			if (p == NULL) continue;
			memset(p, 1, bytes);
			check_node(p, bytes, node);
		}
		hyp_pool_trim(pool);
		void *p = hyp_pool_malloc(pool, 1 << 20); /* after a purge the pages are new: of the same node */
		memset(p, 1, 1 << 20);
		check_node(p, 1 << 20, node);
		hyp_pool_destroy(pool);
		ck_assert_int_eq(hyp_backing_open_host(node, HYP_HUGE_DEFAULT, false, &backing), HYP_OK);
		conform(&backing, 0);
		hyp_backing_close(&backing);
	}
	if (bound == 0) printf("NUMA: this system binds no memory\n");
	ck_assert_int_ne(hyp_backing_open_host(1000, HYP_HUGE_DEFAULT, false, &backing), HYP_OK);
}
END_TEST
#else
START_TEST(numa) {
	hyp_backing backing;
	ck_assert_int_eq(hyp_backing_open_host(0, HYP_HUGE_DEFAULT, false, &backing), HYP_ERR_UNSUPPORTED);
}
END_TEST
#endif

static size_t locked_bytes(void) {
	FILE *status = fopen("/proc/self/status", "r");
	char line[256];
	size_t kb = 0;
	while (status != NULL && fgets(line, sizeof line, status) != NULL)
		if (sscanf(line, "VmLck: %zu kB", &kb) == 1) break;
	if (status != NULL) fclose(status);
	return kb * 1024;
}

START_TEST(locked) {
	hyp_pool_config config = small_config();
	config.lock_memory = true;
	hyp_pool *pool = NULL;
	hyp_status status = hyp_pool_create(&config, &pool);
	if (status != HYP_OK) {
		ck_assert_ptr_nonnull(strstr(hyp_pool_config_error(), "lock_memory"));
		return;
	}
	void *p = hyp_pool_malloc(pool, 2 << 20);
	ck_assert_ptr_nonnull(p);
	if (!HYP_HAVE_SANITIZER) ck_assert_uint_ge(locked_bytes(), 2 << 20); /* a sanitizer makes mlock do nothing */
	hyp_pool_destroy(pool);
	ck_assert_uint_eq(locked_bytes(), 0);
	hyp_backing backing; /* the whole suite, where so much may be locked */
	struct rlimit limit;
	ck_assert_int_eq(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (geteuid() != 0 && limit.rlim_cur != RLIM_INFINITY) {
		puts("locked memory: the suite needs no limit on it");
		return;
	}
	ck_assert_int_eq(hyp_backing_open_host(-1, HYP_HUGE_DEFAULT, true, &backing), HYP_OK);
	ck_assert((backing.flags & HYP_BACKING_PINNED) != 0);
	conform(&backing, 0);
	hyp_backing_close(&backing);
	ck_assert_uint_eq(locked_bytes(), 0);
}
END_TEST

START_TEST(file_mapped) {
	char folder[] = "/tmp/hypool-test-XXXXXX", path[64];
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/pool", folder);
	hyp_backing backing, second;
	ck_assert_int_eq(hyp_backing_open_file(path, &backing), HYP_OK);
	ck_assert_int_eq(hyp_backing_open_file(path, &second), HYP_ERR_EXISTS);
	ck_assert_int_ne(hyp_backing_open_file("/nowhere/pool", &second), HYP_OK);
	conform(&backing, 0);
	/* What is written in the pool stands in the file. */
	hyp_pool_config config = small_config();
	config.backing = &backing;
	hyp_pool *pool = make_pool(&config);
	char *p = hyp_pool_malloc(pool, 100);
	strcpy(p, "a line that can be found in the file");
	FILE *file = fopen(path, "rb");
	struct stat st;
	ck_assert_int_eq(fstat(fileno(file), &st), 0);
	char *text = malloc((size_t)st.st_size);
	ck_assert_uint_eq(fread(text, 1, (size_t)st.st_size, file), (size_t)st.st_size);
	ck_assert_ptr_nonnull(memmem(text, (size_t)st.st_size, p, strlen(p)));
	free(text);
	fclose(file);
	hyp_pool_destroy(pool);
	hyp_backing_close(&backing);
	ck_assert_int_ne(access(path, F_OK), 0); /* gone with the backing */
	rmdir(folder);
}
END_TEST

START_TEST(shared_memory) {
	hyp_backing backing;
	ck_assert_int_eq(hyp_backing_open_shared(&backing), HYP_OK);
	conform(&backing, 0);
	hyp_pool_config config = small_config();
	config.backing = &backing;
	hyp_pool *pool = make_pool(&config);
	_Atomic int *p = hyp_pool_malloc(pool, 100);
	*p = 1;
	pid_t child = fork();
	if (child == 0) {
		*p = 2;
		_exit(0);
	}
	waitpid(child, NULL, 0);
	ck_assert_int_eq(*p, 2); /* the child wrote to our block */
	hyp_pool_destroy(pool);
	hyp_backing_close(&backing);
}
END_TEST

static void conform_user(watched w) {
	hyp_backing backing = user_backing(&w);
	conform(&backing, backing.device);
	ck_assert_uint_eq(w.reserved, 0);
	ck_assert_uint_eq(w.ranges, 0);
	ck_assert_uint_gt(w.committed, 0);
	if (w.granule <= HYPI_SLICE_BYTES) ck_assert_uint_gt(w.purged, 0);
}

START_TEST(users) {
	conform_user((watched){.protection = PROT_READ | PROT_WRITE, .granule = 4096});
	conform_user((watched){.protection = PROT_READ | PROT_WRITE, .granule = 2 << 20});
}
END_TEST

START_TEST(device_memory) {
	conform_user((watched){.protection = PROT_NONE, .granule = 4096});
	conform_user((watched){.protection = PROT_NONE, .granule = 2 << 20});
}
END_TEST

START_TEST(device_memory_faults) {
	signal(SIGSEGV, SIG_DFL); /* a sanitizer would report it and exit */
	watched w = {.protection = PROT_NONE, .granule = 4096};
	hyp_backing backing = user_backing(&w);
	hyp_pool_config config = small_config();
	config.backing = &backing;
	hyp_pool *pool = make_pool(&config);
	hyp_handle h;
	void *p;
	HOLDS(hyp_handle_alloc(pool, 100, 0, 7, &h) == HYP_OK && hyp_handle_lock(pool, h, &p) == HYP_OK);
	*(volatile char *)p = 1; /* ends the process: the simulation is one */
}
END_TEST

int main(void) {
	const TTest *const tests[] = {anonymous,          huge_pages,    transparent_huge_pages,
	                              huge_pages_conform, numa,          locked,
	                              file_mapped,        shared_memory, users,
	                              device_memory};
	int result = unit_run("backing", tests, HYP_ARRAY_LEN(tests));
	if (getenv("CK_FORK") != NULL) return result;
	Suite *suite = suite_create("device memory faults");
	TCase *tcase = tcase_create("fault");
	tcase_set_timeout(tcase, 120);
	tcase_add_test_raise_signal(tcase, device_memory_faults, 11);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? result : EXIT_FAILURE;
}
