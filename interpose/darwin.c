/*
 * interpose/darwin.c: malloc on macOS, by both ways in at once. Run against a test double; never on macOS.
 *
 * The `__DATA,__interpose` table makes dyld bind every image's calls to ours when the library is inserted
 * (DYLD_INSERT_LIBRARIES). The zone makes malloc_zone_from_ptr and the C library's own calls, which dyld does not bind
 * anew, reach us: it is registered and made the default by unregistering and registering what was first. A pointer that
 * is not hypool's (made before us, or by another zone) goes to its own zone, for free, realloc and malloc_size alike.
 *
 * The zone is of version 10, with reinit_lock: with less, newer systems end every child of a fork (learned from
 * mimalloc, pull request 1315). Newer systems call malloc_type_* beside malloc (mimalloc issue 1350): those are weak here, so
 * the library also loads where they do not exist.
 */
#include "base/compiler.h"

#if HYP_OS_DARWIN

#include "base/option.h"
#include "core/page_map.h"
#include "heap/harden.h"
#include "heap/heap.h"
#include "heap/stats.h"
#include "os/os.h"

#include <hypool/hypool.h>

#include <errno.h>
#include <malloc/malloc.h>
#include <stdlib.h>
#include <string.h>

static bool ours(const void *p) { return p != NULL && hypi_span_at(p) != NULL; }

/* ---- entry points: ours, or the pointer's own zone ---- */

static void *our_malloc(size_t bytes) { return hyp_malloc(bytes); }
static void *our_calloc(size_t count, size_t bytes) { return hyp_calloc(count, bytes); }
static void *our_aligned_alloc(size_t alignment, size_t bytes) { return hyp_aligned_alloc(alignment, bytes); }

static int our_posix_memalign(void **ret_p, size_t alignment, size_t bytes) {
	return hyp_posix_memalign(ret_p, alignment, bytes);
}

static void *our_valloc(size_t bytes) {
	hypi_process_init();
	return hyp_aligned_alloc(hypi_os.page_bytes, bytes);
}

/* A call from the file that holds the interpose table reaches the original, so these do not come back here. */
static void our_free(void *p) {
	if (p == NULL || ours(p)) {
		hyp_free(p);
		return;
	}
	malloc_zone_t *zone = malloc_zone_from_ptr(p);
	if (zone != NULL) malloc_zone_free(zone, p);
	else hyp_free(p); /* nobody's: ends the process with its address */
}

static size_t our_size(const void *p) {
	if (p == NULL) return 0;
	return ours(p) ? hyp_usable_size(p) : malloc_size(p);
}

/* As macOS: realloc(p, 0) frees and gives a block of the least size. */
static void *our_realloc(void *p, size_t bytes) {
	if (p == NULL) return hyp_malloc(bytes);
	if (ours(p)) return hyp_realloc(p, bytes == 0 ? 1 : bytes);
	malloc_zone_t *zone = malloc_zone_from_ptr(p);
	if (zone == NULL) return hyp_realloc(p, bytes == 0 ? 1 : bytes);
	return malloc_zone_realloc(zone, p, bytes);
}

static void *our_reallocf(void *p, size_t bytes) {
	void *q = our_realloc(p, bytes);
	if (q == NULL) our_free(p);
	return q;
}

/* ---- malloc_type_*: the compiler's type id is not used ---- */

/* Weak, and only their addresses are taken: dyld leaves out what the running system lacks. */
#pragma clang diagnostic ignored "-Wunguarded-availability-new"
typedef unsigned long long type_id;
extern void *malloc_type_malloc(size_t, type_id) __attribute__((weak_import));
extern void *malloc_type_calloc(size_t, size_t, type_id) __attribute__((weak_import));
extern void malloc_type_free(void *, type_id) __attribute__((weak_import));
extern void *malloc_type_realloc(void *, size_t, type_id) __attribute__((weak_import));
extern void *malloc_type_valloc(size_t, type_id) __attribute__((weak_import));
extern void *malloc_type_aligned_alloc(size_t, size_t, type_id) __attribute__((weak_import));
extern int malloc_type_posix_memalign(void **, size_t, size_t, type_id) __attribute__((weak_import));

static void *type_malloc(size_t bytes, type_id id) { return (void)id, hyp_malloc(bytes); }
static void *type_calloc(size_t count, size_t bytes, type_id id) { return (void)id, hyp_calloc(count, bytes); }
static void type_free(void *p, type_id id) { (void)id, our_free(p); }
static void *type_realloc(void *p, size_t bytes, type_id id) { return (void)id, our_realloc(p, bytes); }
static void *type_valloc(size_t bytes, type_id id) { return (void)id, our_valloc(bytes); }
static void *type_aligned_alloc(size_t alignment, size_t bytes, type_id id) {
	return (void)id, hyp_aligned_alloc(alignment, bytes);
}
static int type_posix_memalign(void **ret_p, size_t alignment, size_t bytes, type_id id) {
	return (void)id, hyp_posix_memalign(ret_p, alignment, bytes);
}

/* ---- the table that dyld reads ---- */

typedef struct interposed {
	const void *ours, *theirs;
} interposed;

#define INTERPOSE(our, their) \
	{ (const void *)(uintptr_t) & (our), (const void *)(uintptr_t) & (their) }

__attribute__((used, section("__DATA,__interpose"))) static const interposed table[] = {
	INTERPOSE(our_malloc, malloc),
	INTERPOSE(our_calloc, calloc),
	INTERPOSE(our_realloc, realloc),
	INTERPOSE(our_reallocf, reallocf),
	INTERPOSE(our_free, free),
	INTERPOSE(our_valloc, valloc),
	INTERPOSE(our_aligned_alloc, aligned_alloc),
	INTERPOSE(our_posix_memalign, posix_memalign),
	INTERPOSE(our_size, malloc_size),
	INTERPOSE(type_malloc, malloc_type_malloc),
	INTERPOSE(type_calloc, malloc_type_calloc),
	INTERPOSE(type_free, malloc_type_free),
	INTERPOSE(type_realloc, malloc_type_realloc),
	INTERPOSE(type_valloc, malloc_type_valloc),
	INTERPOSE(type_aligned_alloc, malloc_type_aligned_alloc),
	INTERPOSE(type_posix_memalign, malloc_type_posix_memalign),
};

/* ---- the zone ---- */

/* A pointer of another zone has size 0: so the system asks the next zone. */
static size_t zone_size(malloc_zone_t *zone, const void *p) {
	(void)zone;
	return ours(p) ? hyp_usable_size(p) : 0;
}
static void *zone_malloc(malloc_zone_t *zone, size_t bytes) { return (void)zone, hyp_malloc(bytes); }
static void *zone_calloc(malloc_zone_t *zone, size_t count, size_t bytes) {
	return (void)zone, hyp_calloc(count, bytes);
}
static void *zone_valloc(malloc_zone_t *zone, size_t bytes) { return (void)zone, our_valloc(bytes); }
static void zone_free(malloc_zone_t *zone, void *p) { (void)zone, our_free(p); }
static void *zone_realloc(malloc_zone_t *zone, void *p, size_t bytes) { return (void)zone, our_realloc(p, bytes); }
static void zone_destroy(malloc_zone_t *zone) { (void)zone; }
static void *zone_memalign(malloc_zone_t *zone, size_t alignment, size_t bytes) {
	return (void)zone, hyp_aligned_alloc(alignment, bytes);
}
static void zone_free_sized(malloc_zone_t *zone, void *p, size_t bytes) { (void)zone, (void)bytes, our_free(p); }
static size_t zone_pressure(malloc_zone_t *zone, size_t goal) { return (void)zone, (void)goal, hyp_trim(); }
static boolean_t zone_claimed(malloc_zone_t *zone, void *p) { return (void)zone, ours(p); }

static unsigned zone_batch_malloc(malloc_zone_t *zone, size_t bytes, void **ret_blocks, unsigned count) {
	(void)zone;
	unsigned made = 0;
	while (made < count && (ret_blocks[made] = hyp_malloc(bytes)) != NULL) made++;
	return made;
}

static void zone_batch_free(malloc_zone_t *zone, void **blocks, unsigned count) {
	(void)zone;
	for (unsigned i = 0; i < count; i++) our_free(blocks[i]);
}

static kern_return_t inspect_enumerator(task_t task, void *context, unsigned kinds, vm_address_t zone,
                                        memory_reader_t reader, vm_range_recorder_t recorder) {
	(void)task, (void)context, (void)kinds, (void)zone, (void)reader, (void)recorder;
	return KERN_NOT_SUPPORTED;
}
static size_t inspect_good_size(malloc_zone_t *zone, size_t bytes) { return (void)zone, bytes; }
static boolean_t inspect_check(malloc_zone_t *zone) { return (void)zone, 1; }
static void inspect_print(malloc_zone_t *zone, boolean_t verbose) { (void)zone, (void)verbose, hyp_stats_print(2); }
static void inspect_log(malloc_zone_t *zone, void *address) { (void)zone, (void)address; }
/* Forks are handled by pthread_atfork (heap/thread.c); the system only wants the three to exist. */
static void inspect_lock(malloc_zone_t *zone) { (void)zone; }
static boolean_t inspect_locked(malloc_zone_t *zone) { return (void)zone, 0; }

static void inspect_statistics(malloc_zone_t *zone, malloc_statistics_t *ret_statistics) {
	(void)zone;
	hyp_stats s = {.struct_bytes = sizeof s};
	memset(ret_statistics, 0, sizeof *ret_statistics);
	if (hyp_stats_get(&s) != HYP_OK) return;
	ret_statistics->blocks_in_use = (unsigned)s.active;
	ret_statistics->size_in_use = (size_t)s.current_bytes;
	ret_statistics->max_size_in_use = (size_t)s.peak_bytes;
	ret_statistics->size_allocated = (size_t)s.committed_bytes;
}

static malloc_introspection_t introspection = {
	.enumerator = inspect_enumerator,
	.good_size = inspect_good_size,
	.check = inspect_check,
	.print = inspect_print,
	.log = inspect_log,
	.force_lock = inspect_lock,
	.force_unlock = inspect_lock,
	.statistics = inspect_statistics,
	.zone_locked = inspect_locked,
	.reinit_lock = inspect_lock,
};

static malloc_zone_t zone = {
	.size = zone_size,
	.malloc = zone_malloc,
	.calloc = zone_calloc,
	.valloc = zone_valloc,
	.free = zone_free,
	.realloc = zone_realloc,
	.destroy = zone_destroy,
	.zone_name = "hypool",
	.batch_malloc = zone_batch_malloc,
	.batch_free = zone_batch_free,
	.introspect = &introspection,
	.version = 10,
	.memalign = zone_memalign,
	.free_definite_size = zone_free_sized,
	.pressure_relief = zone_pressure,
	.claimed_address = zone_claimed,
};

/* Zones stand in a row and the first is the default: who was first goes behind us. */
static void make_default(void) {
	malloc_zone_t *first = malloc_default_zone();
	malloc_zone_register(&zone);
	if (first == NULL || first == &zone) return;
	malloc_zone_unregister(first);
	malloc_zone_register(first);
}

__attribute__((constructor)) static void at_start(void) {
	hypi_process_init();
	hypi_options_init(hypi_os_environment(), hypi_os.secure);
	hypi_harden_init();
	make_default();
}

__attribute__((destructor)) static void at_exit(void) { hypi_stats_at_exit(); }

#else
typedef int hypi_interpose_darwin_unused;
#endif
