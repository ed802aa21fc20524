/* Pools by pointer: configuration, limits, isolation, threads, destroy and reset (lib/pool/pool.c, config.c). */
#include "core/meta.h"
#include "heap/heap.h"
#include "pool/pool.h"
#include "unit.h"

#include "tests_pool.h"

#include <hypool/hypool.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static hyp_status try(const hyp_pool_config *config) {
	hyp_pool *pool = NULL;
	hyp_status status = hyp_pool_create(config, &pool);
	if (status == HYP_OK) hyp_pool_destroy(pool);
	else ck_assert_ptr_null(pool);
	return status;
}

START_TEST(defaults) {
	hyp_pool_config c;
	hyp_pool_config_init(&c);
	ck_assert_uint_eq(c.initial_small_bytes, 64u << 20);
	ck_assert_uint_eq(c.max_small_bytes, 512u << 20);
	ck_assert_uint_eq(c.initial_large_bytes, 128u << 20);
	ck_assert_uint_eq(c.max_large_bytes, (size_t)2 << 30);
	ck_assert_uint_eq(c.threshold_bytes, 1u << 20);
	hyp_pool *pool = NULL;
	ck_assert_int_eq(hyp_pool_create(NULL, &pool), HYP_OK);
	ck_assert_str_eq(hyp_pool_config_error(), "");
	ck_assert_uint_ge(pool->engine.large.mapped_bytes, (size_t)192 << 20); /* initial is reserved */
	ck_assert_ptr_null(hyp_pool_check(pool));
	hyp_pool_destroy(pool);
	hyp_pool_destroy(NULL);
	ck_assert_int_eq(hyp_pool_create(NULL, NULL), HYP_ERR_INVALID);
}
END_TEST

/* Every field, set to what must be refused; the reason names the field. */
#define REFUSE(field, value) \
	do { \
		hyp_pool_config c; \
		hyp_pool_config_init(&c); \
		c.field = (value); \
		ck_assert_int_eq(try(&c), HYP_ERR_INVALID); \
		ck_assert_msg(strstr(hyp_pool_config_error(), #field) != NULL, "%s: %s", #field, hyp_pool_config_error()); \
	} while (0)

START_TEST(refused) {
	REFUSE(struct_bytes, 8);
	REFUSE(name, "a name that is longer than 31 bytes");
	REFUSE(threshold_bytes, 4095);
	REFUSE(threshold_bytes, (1u << 20) + 1);
	REFUSE(max_small_bytes, 100);
	REFUSE(max_small_bytes, SIZE_MAX);
	REFUSE(max_large_bytes, (1u << 20) - 1);
	REFUSE(max_large_bytes, SIZE_MAX);
	REFUSE(initial_small_bytes, (size_t)513 << 20);
	REFUSE(initial_large_bytes, (size_t)2049 << 20);
	REFUSE(numa_node, -2);
	REFUSE(numa_node, 5000);
	REFUSE(huge_pages, (hyp_huge_pages)9);
	REFUSE(zero, (hyp_zero_policy)9);
	hyp_pool_config c;
	hyp_pool_config_init(&c);
	c.enable_tracking = true;
	c.tracking.pressure_threshold_ratio = 0;
	ck_assert_int_eq(try(&c), HYP_ERR_INVALID);
	ck_assert_ptr_nonnull(strstr(hyp_pool_config_error(), "tracking.pressure_threshold_ratio"));
	c.tracking.pressure_threshold_ratio = 0.0 / 0.0 * 0;
	ck_assert_int_eq(try(&c), HYP_ERR_INVALID);
	c.tracking.pressure_threshold_ratio = 1;
	c.tracking.leak_detection_interval_ms = 0;
	ck_assert_int_eq(try(&c), HYP_ERR_INVALID);
	c.tracking.leak_detection_interval_ms = 1;
	c.tracking.level = (hyp_tracking_level)17;
	ck_assert_int_eq(try(&c), HYP_ERR_INVALID);
	c.tracking.level = HYP_TRACKING_DEBUG;
	c.enable_cleanup = true;
	ck_assert_int_eq(try(&c), HYP_OK);
	c.cleanup.idle_interval_ms = 0;
	ck_assert_int_eq(try(&c), HYP_ERR_INVALID);
	c.cleanup.idle_interval_ms = 1;
	c.cleanup.pressure_threshold = 1.5;
	ck_assert_int_eq(try(&c), HYP_ERR_INVALID);
	c.cleanup.pressure_threshold = 0.5;
	c.cleanup.max_cleanup_ms = 0;
	ck_assert_int_eq(try(&c), HYP_ERR_INVALID);
}
END_TEST

static hyp_status no_reserve(void *context, size_t bytes, size_t alignment, uintptr_t *ret_address) {
	(void)context, (void)bytes, (void)alignment, (void)ret_address;
	return HYP_ERR_NO_MEMORY;
}
static hyp_status no_release(void *context, uintptr_t address, size_t bytes) {
	(void)context, (void)bytes, (void)address;
	return HYP_ERR_OS;
}

START_TEST(refused_backings) {
	hyp_backing good = {.struct_bytes = sizeof good,
	                    .name = "mine",
	                    .flags = HYP_BACKING_HOST,
	                    .numa_node = -1,
	                    .reserve = no_reserve,
	                    .release = no_release},
				b = good;
	hyp_pool_config c = small_config();
	c.backing = &b;
	ck_assert_int_eq(try(&c), HYP_OK); /* nothing is reserved yet */
	c.initial_small_bytes = 4096;
	ck_assert_int_eq(try(&c), HYP_ERR_NO_MEMORY);
	c.initial_small_bytes = 0;
	b.reserve = NULL;
	ck_assert_int_eq(try(&c), HYP_ERR_INVALID);
	b = good, b.release = NULL;
	ck_assert_int_eq(try(&c), HYP_ERR_INVALID);
	b = good, b.name = NULL;
	ck_assert_int_eq(try(&c), HYP_ERR_INVALID);
	b = good, b.struct_bytes = 3;
	ck_assert_int_eq(try(&c), HYP_ERR_INVALID);
	b = good, b.granule_bytes = 12345;
	ck_assert_int_eq(try(&c), HYP_ERR_INVALID);
	b = good, c.lock_memory = true;
	ck_assert_int_eq(try(&c), HYP_ERR_INVALID);
	c.lock_memory = false, c.numa_node = 0;
	ck_assert_int_eq(try(&c), HYP_ERR_INVALID);
	c.numa_node = -1, b.flags = 0, c.zero = HYP_ZERO_ON_ALLOC;
	ck_assert_int_eq(try(&c), HYP_ERR_INVALID);
}
END_TEST

START_TEST(family) {
	hyp_pool_config config = small_config();
	hyp_pool *pool = make_pool(&config);
	static const size_t sizes[] = {0, 1, 16, 17, 100, 1024, 1025, 5000, 70000, 1048575, 1048576, 3000000};
	for (size_t i = 0; i < HYP_ARRAY_LEN(sizes); i++) {
		char *p = hyp_pool_malloc(pool, sizes[i]), *q = hyp_pool_calloc(pool, 1, sizes[i]);
		ck_assert(p != NULL && q != NULL);
		ck_assert_uint_ge(hyp_pool_usable_size(pool, p), sizes[i]);
		ck_assert_ptr_eq(hyp_pool_of(p), pool);
		for (size_t k = 0; k < sizes[i]; k++) HOLDS(q[k] == 0);
		fill(p, sizes[i], 7);
		p = hyp_pool_realloc(pool, p, sizes[i] * 2 + 1);
		HOLDS(filled(p, sizes[i] < 64 ? sizes[i] : 64, 7));
		hyp_pool_free(pool, p);
		hyp_free(q); /* any pool's */
		ck_assert_ptr_null(hyp_pool_check(pool));
	}
	for (size_t a = 1; a <= (size_t)1 << 22; a *= 2) {
		void *p = hyp_pool_aligned_alloc(pool, a, 100);
		ck_assert_uint_eq((uintptr_t)p & (a - 1), 0);
		hyp_pool_free(pool, p);
	}
	errno = 0;
	ck_assert_ptr_null(hyp_pool_aligned_alloc(pool, 24, 100));
	ck_assert_int_eq(errno, EINVAL);
	errno = 0;
	ck_assert_ptr_null(hyp_pool_calloc(pool, SIZE_MAX / 2, 3));
	ck_assert_int_eq(errno, ENOMEM);
	ck_assert_ptr_null(hyp_pool_malloc(pool, SIZE_MAX));
	ck_assert_ptr_null(hyp_pool_realloc(pool, hyp_pool_malloc(pool, 10), 0));
	ck_assert_uint_eq(hyp_pool_usable_size(pool, NULL), 0);
	ck_assert_ptr_null(hyp_pool_of(&config));
	ck_assert_ptr_null(hyp_pool_of(NULL));
	void *m = hyp_malloc(10);
	ck_assert_ptr_eq(hyp_pool_of(m), hyp_pool_default());
	hyp_pool_free(hyp_pool_default(), m);
	m = hyp_pool_malloc(hyp_pool_default(), 10);
	m = hyp_realloc(m, 3000000);
	hyp_free(m);
	hyp_pool_free(pool, NULL);
	ck_assert_str_eq(hyp_pool_name(hyp_pool_default()), "default");
	ck_assert_ptr_null(pool->engine.huges);
	hyp_pool_destroy(pool);
}
END_TEST

START_TEST(another_pools_block) {
	hyp_pool_config config = small_config();
	hyp_pool *a = make_pool(&config), *b = make_pool(&config);
	hyp_pool_free(b, hyp_pool_malloc(a, 64)); /* ends the process */
}
END_TEST

START_TEST(limits) {
	hyp_pool_config config = small_config();
	hyp_pool *pool = make_pool(&config), *other = make_pool(&config);
	size_t small = 0, large = 0;
	static void *blocks[1 << 16];
	size_t n = 0;
	for (void *p; (p = hyp_pool_malloc(pool, 1000)) != NULL; small += hyp_pool_usable_size(pool, p)) blocks[n++] = p;
	ck_assert_int_eq(errno, ENOMEM);
	ck_assert(small <= config.max_small_bytes && small > config.max_small_bytes / 10 * 9);
	size_t smalls = n;
	for (void *p; (p = hyp_pool_malloc(pool, 1 << 20)) != NULL; large += hyp_pool_usable_size(pool, p)) blocks[n++] = p;
	ck_assert_uint_eq(large, config.max_large_bytes); /* small ones do not count against large ones */
	ck_assert_ptr_null(hyp_pool_malloc(pool, 100000000));
	ck_assert_ptr_null(hyp_pool_check(pool));
	hyp_free(hyp_pool_malloc(other, 1000)); /* nor another pool's */
	hyp_free(hyp_pool_malloc(other, 1 << 20));
	while (n > smalls) hyp_pool_free(pool, blocks[--n]);
	void *p = hyp_pool_malloc(pool, config.max_large_bytes);
	ck_assert_ptr_nonnull(p); /* all of it came back as one */
	ck_assert_ptr_null(hyp_pool_realloc(pool, p, config.max_large_bytes + 1));
	hyp_pool_free(pool, p);
	while (n > 0) hyp_pool_free(pool, blocks[--n]);
	p = hyp_pool_malloc(pool, 700000);
	ck_assert_ptr_nonnull(p);
	hyp_pool_free(pool, p);
	ck_assert_ptr_null(hyp_pool_check(pool));
	hyp_pool_destroy(pool);
	hyp_pool_destroy(other);
}
END_TEST

typedef struct rescue {
	hyp_pool *pool;
	void *spare;
	unsigned calls, seen;
	size_t bytes;
} rescue;

static bool on_oom(void *context, hyp_pool *pool, size_t bytes, unsigned attempt) {
	rescue *r = context;
	HOLDS(pool == r->pool && attempt == r->seen + 1);
	r->seen = attempt;
	r->calls++;
	r->bytes = bytes;
	hyp_pool_free(pool, hyp_pool_malloc(pool, 10)); /* it may use the pool */
	if (attempt < 3) return true;
	if (r->spare == NULL) return true; /* for ever: the pool gives up */
	hyp_pool_free(pool, r->spare);
	r->spare = NULL;
	return true;
}

START_TEST(out_of_memory) {
	hyp_pool_config config = small_config();
	rescue r = {0};
	config.on_out_of_memory = on_oom;
	config.out_of_memory_context = &r;
	hyp_pool *pool = r.pool = make_pool(&config);
	r.spare = hyp_pool_malloc(pool, (size_t)20 << 20);
	void *p = hyp_pool_malloc(pool, (size_t)10 << 20);
	ck_assert_ptr_nonnull(p);
	ck_assert_uint_eq(r.calls, 3);
	ck_assert_uint_eq(r.bytes, (size_t)10 << 20);
	ck_assert_uint_eq(hypi_load_relaxed(&pool->engine.failures), 0);
	r.seen = r.calls = 0;
	ck_assert_ptr_null(hyp_pool_malloc(pool, (size_t)20 << 20));
	ck_assert_int_eq(errno, ENOMEM);
	ck_assert_uint_eq(r.calls, 8);
	ck_assert_uint_eq(hypi_load_relaxed(&pool->engine.failures), 1);
	r.calls = 0;
	ck_assert_ptr_null(hyp_pool_malloc(pool, SIZE_MAX - 5));
	ck_assert_uint_eq(r.calls, 0); /* nobody can help there */
	hyp_pool_destroy(pool);
}
END_TEST

START_TEST(zeroing) {
	hyp_pool_config config = small_config();
	config.zero = HYP_ZERO_ON_ALLOC;
	hyp_pool *pool = make_pool(&config);
	for (int round = 0; round < 3; round++)
		for (size_t bytes = 16; bytes < 3000000; bytes = bytes * 3 + 1) {
			uint8_t *p = hyp_pool_malloc(pool, bytes);
			for (size_t i = 0; i < bytes; i++) HOLDS(p[i] == 0);
			memset(p, 0xff, bytes);
			hyp_pool_free(pool, p);
		}
	hyp_pool_destroy(pool);
	config.zero = HYP_ZERO_ON_FREE;
	pool = make_pool(&config);
	for (size_t bytes = 16; bytes < 100000; bytes = bytes * 3 + 1) {
		uint8_t *p = hyp_pool_malloc(pool, bytes), *keep = hyp_pool_malloc(pool, bytes);
		memset(p, 0xff, bytes);
		if (bytes & 1) hyp_pool_free(pool, p);
		else hyp_free(p);
		for (size_t i = 16; i < bytes; i++) HOLDS(p[i] == 0); /* the link alone stands there */
		hyp_pool_free(pool, keep);
	}
	hyp_pool_destroy(pool);
}
END_TEST

typedef struct party {
	hyp_pool *pools[4];
	pthread_barrier_t barrier;
	_Atomic int turn;
} party;

/* Works in four pools, frees some of it by pointer alone, leaves some behind; then waits while pools are emptied, and
 * works on with its stale memories of them. */
static void *guest(void *context) {
	party *all = context;
	uint64_t seed = 88172645463325252u + (uint64_t)hypi_add_relaxed(&all->turn, 1) * 7919;
	for (int act = 0; act < 3; act++) {
		void *held[4][40] = {{0}};
		size_t sizes[4][40] = {{0}};
		for (int i = 0; i < 6000; i++) {
			unsigned which = next_random(&seed) % 4, k = next_random(&seed) % 40;
			void **slot = &held[which][k];
			if (*slot != NULL) {
				HOLDS(filled(*slot, sizes[which][k], (uint8_t)(which + 1)));
				if (i & 1) hyp_pool_free(all->pools[which], *slot);
				else hyp_free(*slot);
				*slot = NULL;
			} else {
				size_t bytes = next_random(&seed) % 5000;
				*slot = hyp_pool_malloc(all->pools[which], bytes);
				sizes[which][k] = bytes;
				if (*slot != NULL) fill(*slot, bytes, (uint8_t)(which + 1));
			}
		}
		pthread_barrier_wait(&all->barrier);
		pthread_barrier_wait(&all->barrier);
	}
	return NULL;
}

START_TEST(emptied_while_threads_remember) {
	hyp_pool_config config = small_config();
	party all = {0};
	pthread_t threads[4];
	pthread_barrier_init(&all.barrier, NULL, 5);
	for (int i = 0; i < 4; i++) all.pools[i] = make_pool(&config);
	for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, guest, &all);
	for (int act = 0; act < 3; act++) {
		pthread_barrier_wait(&all.barrier);
		for (int i = 0; i < 4; i++) {
			const char *wrong = hyp_pool_check(all.pools[i]);
			ck_assert_msg(wrong == NULL, "%s", wrong);
			if (i & 1) {
				ck_assert_int_eq(hyp_pool_reset(all.pools[i]), HYP_OK);
				ck_assert_uint_eq(all.pools[i]->engine.large.used_slices, 0);
			} else {
				hyp_pool_destroy(all.pools[i]);
				all.pools[i] = make_pool(&config);
			}
		}
		pthread_barrier_wait(&all.barrier);
	}
	for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
	for (int i = 0; i < 4; i++) {
		ck_assert_ptr_null(hyp_pool_check(all.pools[i]));
		hyp_pool_destroy(all.pools[i]);
	}
	ck_assert_int_eq(hyp_pool_reset(hyp_pool_default()), HYP_ERR_INVALID);
	ck_assert_int_eq(hyp_pool_reset(NULL), HYP_ERR_INVALID);
}
END_TEST

/* ---- statistics against a shadow ---- */

typedef struct shadow {
	hyp_pool *pool;
	uint64_t allocated, freed, blocks, frees;
	unsigned number;
} shadow;

/* Keeps half of what it allocates; frees through both doors. */
static void *counted(void *context) {
	shadow *s = context;
	uint64_t seed = 31337 + s->number;
	for (int i = 0; i < 20000; i++) {
		void *p =
			hyp_pool_malloc(s->pool, i % 50 == 0 ? 1100000 + next_random(&seed) % 100000 : next_random(&seed) % 300);
		if (p == NULL) continue;
		uint64_t usable = hyp_pool_usable_size(s->pool, p);
		s->allocated += usable;
		s->blocks++;
		if (i % 50 != 0 && i % 2 == 0) continue;
		s->freed += usable;
		s->frees++;
		if (i & 4) hyp_pool_free(s->pool, p);
		else hyp_free(p);
	}
	return NULL;
}

START_TEST(statistics) {
	hyp_pool_config config = small_config();
	hyp_pool *pool = make_pool(&config), *idle = make_pool(&config);
	shadow shadows[3] = {{.pool = pool, .number = 1}, {.pool = pool, .number = 2}, {.pool = pool, .number = 3}},
		   sum = {0};
	pthread_t threads[3];
	for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, counted, &shadows[i]);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		sum.allocated += shadows[i].allocated, sum.freed += shadows[i].freed;
		sum.blocks += shadows[i].blocks, sum.frees += shadows[i].frees;
	}
	hyp_stats s = {.struct_bytes = sizeof s}, none = {.struct_bytes = sizeof none};
	ck_assert_int_eq(hyp_pool_stats(pool, &s), HYP_OK);
	ck_assert_uint_eq(s.allocated_bytes, sum.allocated);
	ck_assert_uint_eq(s.freed_bytes, sum.freed);
	ck_assert_uint_eq(s.allocations, sum.blocks);
	ck_assert_uint_eq(s.frees, sum.frees);
	ck_assert_uint_eq(s.current_bytes, sum.allocated - sum.freed);
	hyp_class_stats classes[200];
	size_t count = hyp_pool_classes(pool, classes, HYP_ARRAY_LEN(classes));
	uint64_t active = 0;
	for (size_t i = 0; i < count; i++) active += classes[i].active * classes[i].block_bytes;
	ck_assert_uint_eq(active, s.small_bytes);
	ck_assert_int_eq(hyp_pool_stats(idle, &none), HYP_OK); /* nothing of it is another pool's */
	ck_assert_uint_eq(none.allocations + none.current_bytes + none.committed_bytes + none.failures, 0);
	ck_assert_int_eq(hyp_pool_reset(pool), HYP_OK);
	ck_assert_int_eq(hyp_pool_stats(pool, &s), HYP_OK);
	ck_assert_uint_eq(s.allocations + s.frees + s.current_bytes + s.committed_bytes + s.peak_bytes, 0);
	ck_assert_int_eq(hyp_pool_stats(NULL, &s), HYP_ERR_INVALID);
	hyp_pool_destroy(pool);
	hyp_pool_destroy(idle);
}
END_TEST

/* What is known of a peak that nobody looked at: not more than it was, and it was not more than what was committed. */
START_TEST(peaks) {
	hyp_pool_config config = small_config();
	hyp_pool *pool = make_pool(&config);
	static void *blocks[5000];
	uint64_t true_bytes = 0;
	for (int i = 0; i < 5000; i++) {
		blocks[i] = hyp_pool_malloc(pool, 1000);
		true_bytes += hyp_pool_usable_size(pool, blocks[i]);
	}
	for (int i = 0; i < 5000; i++) hyp_pool_free(pool, blocks[i]);
	hyp_stats s = {.struct_bytes = sizeof s};
	ck_assert_int_eq(hyp_pool_stats(pool, &s), HYP_OK);
	ck_assert_uint_le(s.peak_bytes, true_bytes);
	ck_assert_uint_ge(s.peak_committed_bytes, true_bytes);
	for (int i = 0; i < 5000; i++) blocks[i] = hyp_pool_malloc(pool, 1000);
	hyp_pool_trim(pool); /* a look */
	for (int i = 0; i < 5000; i++) hyp_pool_free(pool, blocks[i]);
	ck_assert_int_eq(hyp_pool_stats(pool, &s), HYP_OK);
	ck_assert_uint_eq(s.peak_bytes, true_bytes);
	ck_assert_uint_eq(s.peak_active, 5000);
	ck_assert_uint_ge(s.peak_resident_bytes, s.resident_bytes);
	ck_assert_uint_eq(s.current_bytes + s.active, 0);
	/* A pool at its limit looks by itself. */
	ck_assert_int_eq(hyp_pool_reset(pool), HYP_OK);
	uint64_t count = 0, sum = 0;
	void *first = NULL;
	for (void *p; (p = hyp_pool_malloc(pool, 1 << 20)) != NULL; count++) {
		sum += hyp_pool_usable_size(pool, p);
		*(void **)p = first;
		first = p;
	}
	for (void *next; first != NULL; first = next) next = *(void **)first, hyp_pool_free(pool, first);
	ck_assert_int_eq(hyp_pool_stats(pool, &s), HYP_OK);
	ck_assert_uint_eq(s.peak_bytes, sum);
	ck_assert_uint_eq(s.peak_active, count);
	hyp_pool_destroy(pool);
}
END_TEST

static void *visitor(void *pool) {
	void *p = hyp_pool_malloc(pool, 100);
	hyp_pool_free(pool, hyp_pool_malloc(pool, 3000));
	return p;
}

START_TEST(thread_exit) {
	hyp_pool_config config = small_config();
	hyp_pool *pool = make_pool(&config);
	for (int i = 0; i < 200; i++) {
		pthread_t thread;
		void *p;
		pthread_create(&thread, NULL, visitor, pool);
		pthread_join(thread, &p);
		ck_assert_ptr_nonnull(p);
		hyp_pool_free(pool, p);
	}
	ck_assert_uint_le(pool->engine.heap_count, 2); /* the dead threads' heap is adopted again and again */
	ck_assert_ptr_null(hyp_pool_check(pool));
	hyp_pool_destroy(pool);
}
END_TEST

START_TEST(many_pools) {
	enum { AT_ONCE = 1000, ROUNDS = 10 };
	static hyp_pool *pools[AT_ONCE];
	hyp_pool_config config = small_config();
	size_t before = 0, resident = 0;
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < AT_ONCE; i++) {
			pools[i] = make_pool(&config);
			ck_assert_ptr_nonnull(pools[i]);
			ck_assert_ptr_nonnull(hyp_pool_malloc(pools[i], 64));
		}
		for (int i = 0; i < AT_ONCE; i++) hyp_pool_destroy(pools[i]);
		if (round != 1) continue;
		before = hypi_meta_used_bytes();
		resident = hypi_os_resident_bytes();
	}
	ck_assert_uint_eq(hypi_meta_used_bytes(), before); /* ten thousand came and went, and nothing grew */
	if (!HYP_HAVE_SANITIZER) ck_assert_uint_le(hypi_os_resident_bytes(), resident + (1 << 20));
}
END_TEST

START_TEST(forked) {
	hyp_pool_config config = small_config();
	hyp_pool *pool = make_pool(&config);
	void *p = hyp_pool_malloc(pool, 100);
	pid_t child = fork();
	if (child == 0) {
		hyp_pool_free(pool, p);
		for (int i = 0; i < 1000; i++) hyp_pool_free(pool, hyp_pool_malloc(pool, (size_t)i * 100));
		_exit(hyp_pool_check(pool) == NULL ? 0 : 1);
	}
	int status;
	waitpid(child, &status, 0);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	hyp_pool_free(pool, p);
	hyp_pool_destroy(pool);
}
END_TEST

int main(void) {
	const TTest *const tests[] = {defaults,    refused,    refused_backings,
	                              family,      limits,     out_of_memory,
	                              zeroing,     forked,     emptied_while_threads_remember,
	                              thread_exit, many_pools, statistics,
	                              peaks};
	int result = unit_run("pool", tests, HYP_ARRAY_LEN(tests));
	if (getenv("CK_FORK") != NULL) return result; /* what ends the process needs one of its own */
	Suite *suite = suite_create("pool misuse");
	TCase *tcase = tcase_create("misuse");
	tcase_set_timeout(tcase, 120);
	tcase_add_test_raise_signal(tcase, another_pools_block, 6);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? result : EXIT_FAILURE;
}
