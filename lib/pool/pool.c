/*
 * pool/pool.c: a pool's life, and blocks of it by pointer.
 *
 * The hit paths are those of malloc (heap/fast.h), behind one comparison: the thread's last pool, remembered by serial
 * number, must be this one. A pool that must see every call (it clears blocks) has a front_serial that matches nobody's.
 *
 * Emptying a pool voids what threads remember of it by giving it a new serial: nobody has to be told. So a pool can go
 * while threads hold caches of it; heaps, spans and blocks are given back from the pool's side.
 */
#include "pool/pool.h"

#include "base/fatal.h"
#include "base/option.h"
#include "core/meta.h"
#include "heap/fast.h"
#include "heap/sample.h"
#include "heap/stats.h"
#include "pool/config.h"
#include "pool/handle.h"

#include <hypool/hypool.h>

#include <errno.h>
#include <string.h>

enum { MOST_ATTEMPTS = 8, CACHE_SHARE = 32 };

static hypi_pool_state default_state = {.name = "default"};

hypi_pool_state *hypi_pool_state_of(hyp_pool *pool) {
	return pool == (hyp_pool *)&hypi_default_engine ? &default_state : pool->engine.pool;
}

hyp_pool *hyp_pool_default(void) {
	hypi_process_init();
	return (hyp_pool *)&hypi_default_engine;
}

const char *hyp_pool_name(const hyp_pool *pool) { return hypi_pool_state_of((hyp_pool *)(uintptr_t)pool)->name; }

const char *hyp_pool_config_error(void) { return hypi_self.reason != NULL ? hypi_self.reason : ""; }

/* ---- create ---- */

static hyp_status refuse(hyp_status status, const char *reason) {
	hypi_self.reason = reason;
	return status;
}

static hyp_status open_backing(const hyp_pool_config *c, hyp_backing *ret_backing) {
	if (c->backing != NULL) {
		*ret_backing = *c->backing;
		return HYP_OK;
	}
	hyp_status status = hyp_backing_open_host(c->numa_node, c->huge_pages, c->lock_memory, ret_backing);
	if (status == HYP_OK) return status;
	if (c->huge_pages == HYP_HUGE_EXPLICIT && status == HYP_ERR_UNSUPPORTED)
		return refuse(status, "huge_pages: the system's pool has no such page free");
	if (c->numa_node >= 0 && status == HYP_ERR_INVALID)
		return refuse(status, "numa_node: this machine has no such node");
	if (c->numa_node >= 0 && status == HYP_ERR_UNSUPPORTED)
		return refuse(status, "numa_node: this system does not bind memory");
	if (c->lock_memory && status == HYP_ERR_OS)
		return refuse(status, "lock_memory: the system refuses (RLIMIT_MEMLOCK)");
	return refuse(status, "no memory");
}

/* As large as all that the pool may ever hold, if that is less than the usual. */
static size_t arena_bytes_for(const hyp_pool_config *c) {
	size_t most = hypi_option_get(HYPI_OPTION_arena), total = c->max_small_bytes + c->max_large_bytes;
	if (c->max_small_bytes == 0 || c->max_large_bytes == 0 || total >= most) return most;
	return total <= HYPI_SMALL_LIMIT ? HYPI_SMALL_LIMIT : (size_t)1 << hypi_log2_ceil(total);
}

static hyp_status reserve_initial(hypi_large_pool *large, size_t bytes) {
	while (large->mapped_bytes < bytes) {
		hyp_status status = hypi_large_pool_grow(large, large->arena_bytes);
		if (status != HYP_OK) return status;
	}
	return HYP_OK;
}

static hypi_pool_state *make_state(const hyp_pool_config *c) {
	hypi_pool_state *state = hypi_meta_alloc(sizeof *state);
	if (state == NULL) return NULL;
	const char *name = c->name != NULL ? c->name : "pool";
	memcpy(state->name, name, strlen(name) + 1);
	state->config = *c;
	state->config.name = state->name;
	state->config.backing = NULL;
	state->owns_backing = c->backing == NULL;
	return state;
}

static void set_up(hypi_engine *engine, const hyp_backing *backing, const hyp_pool_config *c) {
	hypi_engine_init(engine, backing, arena_bytes_for(c), hypi_option_get(HYPI_OPTION_decay));
	engine->threshold_bytes = c->threshold_bytes;
	engine->large.small_limit_bytes = c->max_small_bytes;
	engine->large.limit_bytes = c->max_large_bytes;
	engine->zero_on_alloc = c->zero == HYP_ZERO_ON_ALLOC;
	engine->zero_on_free = c->zero == HYP_ZERO_ON_FREE;
	/* What threads keep counts against the limit: only a little may. */
	size_t share = c->max_large_bytes / CACHE_SHARE;
	if (c->max_large_bytes != 0 && engine->large_cache_bytes > share) engine->large_cache_bytes = share;
}

static hyp_status create(const hyp_pool_config *c, hyp_pool **ret_pool) {
	hyp_backing backing;
	hyp_status status = open_backing(c, &backing);
	if (status != HYP_OK) return status;
	hyp_pool *pool = hypi_meta_alloc(sizeof *pool);
	hypi_pool_state *state = make_state(c);
	status = HYP_ERR_NO_MEMORY;
	if (pool != NULL && state != NULL) {
		set_up(&pool->engine, &backing, c);
		pool->engine.pool = state;
		status = reserve_initial(&pool->engine.large, c->initial_small_bytes + c->initial_large_bytes);
		if (status == HYP_OK) status = hypi_engine_register(&pool->engine);
	}
	if (status == HYP_OK) {
		if (c->zero != HYP_ZERO_NEVER) pool->engine.front_serial = HYPI_NO_FRONT;
		*ret_pool = pool;
		return HYP_OK;
	}
	if (pool != NULL && state != NULL) hypi_large_pool_fini(&pool->engine.large);
	if (pool != NULL) hypi_meta_free(pool, sizeof *pool);
	if (state != NULL) hypi_meta_free(state, sizeof *state);
	if (c->backing == NULL) hyp_backing_close(&backing);
	return refuse(status, status == HYP_ERR_LIMIT ? "65535 pools exist already" : "no memory");
}

hyp_status hyp_pool_create(const hyp_pool_config *config, hyp_pool **ret_pool) {
	hyp_pool_config defaults;
	hypi_process_init();
	if (ret_pool == NULL) return refuse(HYP_ERR_INVALID, "ret_pool is NULL");
	if (config == NULL) {
		hyp_pool_config_init(&defaults);
		config = &defaults;
	}
	const char *wrong = hypi_pool_config_check(config);
	if (wrong != NULL) return refuse(HYP_ERR_INVALID, wrong);
	hyp_pool *pool = NULL;
	hyp_status status = create(config, &pool);
	if (status != HYP_OK) return status;
	status = hypi_cleanup_hooks.created(pool, config);
	if (status != HYP_OK) {
		hyp_pool_destroy(pool);
		return status;
	}
	hypi_self.reason = NULL;
	*ret_pool = pool;
	return HYP_OK;
}

/* ---- destroy and reset ---- */

static void empty(hyp_pool *pool, bool keep_arenas) {
	hypi_handles_empty(pool);
	hypi_slabs_empty(pool);
	hypi_engine_empty(&pool->engine, keep_arenas);
}

void hyp_pool_destroy(hyp_pool *pool) {
	if (pool == NULL || pool == hyp_pool_default()) return;
	int saved = errno;
	hypi_cleanup_hooks.destroyed(pool);
	hypi_pool_state *state = pool->engine.pool;
	empty(pool, false);
	hypi_engine_unregister(&pool->engine);
	if (state->owns_backing) hyp_backing_close(&pool->engine.large.backing);
	hypi_meta_free(state, sizeof *state);
	hypi_meta_free(pool, sizeof *pool);
	errno = saved;
}

hyp_status hyp_pool_reset(hyp_pool *pool) {
	if (pool == NULL || pool == hyp_pool_default()) return HYP_ERR_INVALID;
	hypi_cleanup_hooks.enter(pool);
	empty(pool, true);
	hypi_cleanup_hooks.leave(pool);
	return HYP_OK;
}

/* ---- allocate ---- */

static void raise_to(_Atomic uint64_t *peak, uint64_t value) {
	uint64_t seen = hypi_load_relaxed(peak);
	while (value > seen &&
	       !atomic_compare_exchange_weak_explicit(peak, &seen, value, memory_order_relaxed, memory_order_relaxed))
		continue;
}

void hypi_pool_raise_peaks(hyp_pool *pool) {
	hyp_class_stats classes[HYPI_CLASSES];
	hypi_large_count large;
	hypi_engine *engine = &pool->engine;
	hypi_engine_classes(engine, classes);
	hypi_lock_take(&engine->lock);
	hypi_large_count_sum(engine, &large);
	hypi_unlock(&engine->lock);
	uint64_t active = hypi_load_relaxed(&large.allocs) - hypi_load_relaxed(&large.frees);
	uint64_t bytes = hypi_load_relaxed(&large.allocated_bytes) - hypi_load_relaxed(&large.freed_bytes);
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		active += classes[c].active;
		bytes += classes[c].active * classes[c].block_bytes;
	}
	raise_to(&engine->peak_bytes, bytes);
	raise_to(&engine->peak_active, active);
}

bool hypi_pool_make_room(hyp_pool *pool, size_t bytes, unsigned *stage) {
	if (bytes > PTRDIFF_MAX) return false;
	if ((*stage)++ == 0) {
		hypi_pool_raise_peaks(pool); /* a pool at its limit is at its peak */
		hypi_heap *heap = hypi_heap_of(&pool->engine);
		if (heap != NULL) hypi_heap_trim(heap);
		hypi_large_pool_purge(&pool->engine.large);
		return true;
	}
	const hyp_pool_config *c = &hypi_pool_state_of(pool)->config;
	unsigned attempt = *stage - 1;
	return c->on_out_of_memory != NULL && attempt <= MOST_ATTEMPTS &&
	       c->on_out_of_memory(c->out_of_memory_context, pool, bytes, attempt);
}

void *hypi_pool_alloc(hyp_pool *pool, size_t bytes, size_t alignment, bool zero) {
	hypi_engine *engine = &pool->engine;
	if (!hypi_pool_is_host(pool)) return errno = ENOTSUP, NULL;
	hypi_heap *heap = hypi_heap_for(engine);
	for (unsigned stage = 0;;) {
		void *p = hypi_engine_alloc(engine, heap, bytes, alignment, zero);
		if (HYP_LIKELY(p != NULL)) {
			if (HYP_UNLIKELY(engine->zero_on_alloc) && !zero) memset(p, 0, hypi_span_at(p)->block_bytes);
			return p;
		}
		if (!hypi_pool_make_room(pool, bytes, &stage)) return errno = ENOMEM, NULL;
		hypi_sub_relaxed(&engine->failures, 1); /* one request fails once */
	}
}

void *hyp_pool_malloc(hyp_pool *pool, size_t bytes) {
	if (HYP_LIKELY(hypi_self.pool_serial == pool->engine.front_serial)) {
		/* Small sizes are below any threshold: comparing them with it is left to the larger ones. A threshold, which is at
		 * most HYPI_SMALL_LIMIT, may cut a class in two: a list may hold blocks of it all the same. */
		if (HYP_LIKELY(bytes < HYPI_LEAST_THRESHOLD) || HYP_LIKELY(bytes < pool->engine.threshold_bytes)) {
			void *p = hypi_list_pop(hypi_list_for(hypi_self.pool_heap, bytes));
			if (HYP_LIKELY(p != NULL)) return p;
		}
	}
	return hypi_pool_alloc(pool, bytes, 1, false);
}

void *hyp_pool_calloc(hyp_pool *pool, size_t count, size_t bytes) {
	size_t total;
	if (!hypi_mul_checked(count, bytes, &total)) {
		hypi_add_relaxed(&pool->engine.failures, 1);
		return errno = ENOMEM, NULL;
	}
	return hypi_pool_alloc(pool, total, 1, true);
}

void *hyp_pool_aligned_alloc(hyp_pool *pool, size_t alignment, size_t bytes) {
	if (!hypi_is_pow2(alignment)) return errno = EINVAL, NULL;
	return alignment <= 16 ? hyp_pool_malloc(pool, bytes) : hypi_pool_alloc(pool, bytes, alignment, false);
}

/* ---- free and questions ---- */

static const hypi_misuse misuse_realloc = {"invalid realloc", "invalid realloc", "invalid realloc"};
static const hypi_misuse misuse_pointer = {"invalid pointer", "invalid pointer", "invalid pointer"};

static hypi_span *span_of(hyp_pool *pool, const void *p, const hypi_misuse *misuse) {
	hypi_span *span = hypi_span_of_block(p, misuse);
	if (HYP_UNLIKELY(hypi_span_engine(span) != &pool->engine))
		hypi_fatal("block of another pool", p, span->block_bytes);
	return span;
}

static HYP_NOINLINE void free_slow(hyp_pool *pool, void *p) {
	if (p == NULL) return;
	span_of(pool, p, &hypi_misuse_free);
	hypi_free_slow(p);
}

void hyp_pool_free(hyp_pool *pool, void *p) {
	if (HYP_LIKELY(hypi_self.pool_serial == pool->engine.front_serial) &&
	    HYP_LIKELY(hypi_heap_free(hypi_self.pool_heap, p, false)))
		return;
	free_slow(pool, p);
}

void *hyp_pool_realloc(hyp_pool *pool, void *p, size_t bytes) {
	if (p == NULL) return hyp_pool_malloc(pool, bytes);
	hypi_span *span = span_of(pool, p, &misuse_realloc);
	if (bytes == 0) {
		hyp_pool_free(pool, p);
		return NULL;
	}
	size_t have = span->block_bytes;
	if (hypi_load_relaxed(&span->kind) == HYPI_SPAN_SMALL) {
		if (bytes <= have && (bytes > have / 2 || have <= 32)) return p;
	} else if (hypi_large_resize(&pool->engine, hypi_heap_of(&pool->engine), span, p, bytes) != NULL) {
		if (pool->engine.zero_on_alloc && span->block_bytes > have)
			memset((char *)p + have, 0, span->block_bytes - have);
		if (span->block_bytes != have) hypi_sample_resized(hypi_heap_of(&pool->engine), span, bytes);
		return p;
	}
	void *q = hyp_pool_malloc(pool, bytes);
	if (q == NULL) return NULL;
	memcpy(q, p, have < bytes ? have : bytes);
	hyp_pool_free(pool, p);
	return q;
}

size_t hyp_pool_usable_size(hyp_pool *pool, const void *p) {
	return p == NULL ? 0 : span_of(pool, p, &misuse_pointer)->block_bytes;
}

hyp_pool *hyp_pool_of(const void *p) {
	hypi_span *span = hypi_span_at(p);
	if (span == NULL) return NULL;
	unsigned kind = hypi_load_relaxed(&span->kind);
	if (kind == HYPI_SPAN_NONE || kind == HYPI_SPAN_CACHED) return NULL;
	if (kind == HYPI_SPAN_SMALL ? !hypi_span_holds(span, p) : (uintptr_t)p != span->base) return NULL;
	return (hyp_pool *)hypi_span_engine(span);
}

hyp_status hyp_pool_stats(hyp_pool *pool, hyp_stats *ret_stats) {
	if (pool == NULL) return HYP_ERR_INVALID;
	hyp_stats stats;
	hypi_engine_stats(&pool->engine, &stats);
	return hypi_stats_copy(&stats, ret_stats);
}

size_t hyp_pool_classes(hyp_pool *pool, hyp_class_stats *ret_classes, size_t capacity) {
	hyp_class_stats classes[HYPI_CLASSES];
	hypi_engine_classes(&pool->engine, classes);
	size_t count = capacity < HYPI_CLASSES ? capacity : HYPI_CLASSES;
	if (count > 0) memcpy(ret_classes, classes, count * sizeof *classes);
	return HYPI_CLASSES;
}

void hyp_pool_print(hyp_pool *pool, int fd) {
	hypi_out out;
	hypi_out_init_fd(&out, fd);
	hypi_stats_print(&pool->engine, hyp_pool_name(pool), &out);
	hypi_out_flush(&out);
}

void hyp_pool_print_json(hyp_pool *pool, int fd) {
	hypi_out out;
	hypi_out_init_fd(&out, fd);
	hypi_stats_print_json(&pool->engine, hyp_pool_name(pool), &out);
	hypi_out_flush(&out);
}

size_t hyp_pool_trim(hyp_pool *pool) {
	hypi_pool_raise_peaks(pool);
	hypi_heap *heap = hypi_heap_of(&pool->engine);
	if (heap != NULL) hypi_heap_trim(heap);
	return hypi_large_pool_purge(&pool->engine.large);
}

const char *hyp_pool_check(hyp_pool *pool) {
	const char *wrong = hypi_handles_check(pool);
	if (wrong != NULL) return wrong;
	return hypi_pool_is_host(pool) ? hypi_engine_check(&pool->engine) : hypi_slabs_check(pool);
}
