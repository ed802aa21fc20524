/* Handles: locks, generations, foreign and stale ones, and blocks that move while threads work (lib/pool/handle.c). */
#include "os/barrier.h"
#include "os/fault.h"
#include "pool/handle.h"
#include "unit.h"

#include "tests_pool.h"

#include <hypool/hypool.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static hyp_handle take(hyp_pool *pool, size_t bytes) {
	hyp_handle h = 0;
	HOLDS(hyp_handle_alloc(pool, bytes, 0, 0, &h) == HYP_OK && h != 0);
	return h;
}

START_TEST(life) {
	hyp_pool_config config = small_config();
	hyp_pool *pool = make_pool(&config);
	static const size_t sizes[] = {0, 1, 64, 5000, 1048575, 1048576, 5000000};
	for (size_t i = 0; i < HYP_ARRAY_LEN(sizes); i++)
		for (size_t alignment = 1; alignment <= 65536; alignment *= 16) {
			hyp_handle h = 0;
			void *p = NULL, *q = NULL;
			ck_assert_int_eq(hyp_handle_alloc(pool, sizes[i], alignment, 0, &h), HYP_OK);
			ck_assert_int_eq(hyp_handle_lock(pool, h, &p), HYP_OK);
			ck_assert_uint_eq((uintptr_t)p % alignment, 0);
			memset(p, 1, sizes[i]);
			ck_assert_int_eq(hyp_handle_lock(pool, h, &q), HYP_OK);
			ck_assert_ptr_eq(p, q);
			hyp_handle_info info = {.struct_bytes = sizeof info};
			ck_assert_int_eq(hyp_handle_get_info(pool, h, &info), HYP_OK);
			ck_assert(info.bytes == sizes[i] && info.usable_bytes >= sizes[i] && info.alignment == alignment);
			ck_assert(info.locks == 2 && info.device == 0 && info.address == (uintptr_t)p);
			if (alignment <= 4096) ck_assert_int_eq(info.small, sizes[i] < 1048576);
			ck_assert_int_eq(hyp_handle_free(pool, h), HYP_ERR_BUSY);
			ck_assert_int_eq(hyp_handle_realloc(pool, h, 10), HYP_ERR_BUSY);
			ck_assert_int_eq(hypi_handle_move(pool, h), HYP_ERR_BUSY);
			ck_assert_int_eq(hyp_handle_unlock(pool, h), HYP_OK);
			ck_assert_int_eq(hyp_handle_free(pool, h), HYP_ERR_BUSY);
			ck_assert_int_eq(hyp_handle_unlock(pool, h), HYP_OK);
			ck_assert_int_eq(hyp_handle_unlock(pool, h), HYP_ERR_INVALID);
			ck_assert_int_eq(hyp_handle_validate(pool, h), HYP_OK);
			ck_assert_ptr_null(hyp_pool_check(pool));
			ck_assert_int_eq(hyp_handle_free(pool, h), HYP_OK);
			ck_assert_int_eq(hyp_handle_free(pool, h), HYP_ERR_STALE);
			q = &config;
			ck_assert_int_eq(hyp_handle_lock(pool, h, &q), HYP_ERR_STALE);
			ck_assert_ptr_eq(q, &config); /* untouched */
			ck_assert_int_eq(hyp_handle_unlock(pool, h), HYP_ERR_STALE);
			ck_assert_int_eq(hyp_handle_get_info(pool, h, &info), HYP_ERR_STALE);
			ck_assert_int_eq(hyp_handle_realloc(pool, h, 10), HYP_ERR_STALE);
			ck_assert_ptr_null(hyp_pool_check(pool));
		}
	hyp_pool_destroy(pool);
}
END_TEST

START_TEST(refused) {
	hyp_pool_config config = small_config();
	hyp_pool *pool = make_pool(&config), *other = make_pool(&config);
	hyp_handle h = take(pool, 100), g = 77;
	void *p;
	ck_assert_int_eq(hyp_handle_alloc(pool, 100, 24, 0, &g), HYP_ERR_INVALID);
	ck_assert_int_eq(hyp_handle_alloc(pool, 100, 16, 3, &g), HYP_ERR_DEVICE);
	ck_assert_int_eq(hyp_handle_alloc(pool, (size_t)30 << 20, 16, -1, &g), HYP_ERR_LIMIT);
	ck_assert_int_eq(hyp_handle_alloc(pool, SIZE_MAX - 3, 16, 0, &g), HYP_ERR_NO_MEMORY);
	ck_assert_int_eq(hyp_handle_alloc(NULL, 1, 16, 0, &g), HYP_ERR_INVALID);
	ck_assert_int_eq(hyp_handle_alloc(pool, 1, 16, 0, NULL), HYP_ERR_INVALID);
	ck_assert_uint_eq(g, 77);
	g = take(other, 100);
	ck_assert_int_eq(hyp_handle_lock(other, h, &p), HYP_ERR_FOREIGN);
	ck_assert_int_eq(hyp_handle_free(other, h), HYP_ERR_FOREIGN);
	ck_assert_int_eq(hyp_handle_unlock(pool, g), HYP_ERR_FOREIGN);
	ck_assert_int_eq(hyp_handle_realloc(pool, g, 1), HYP_ERR_FOREIGN);
	ck_assert_int_eq(hyp_handle_validate(pool, g), HYP_ERR_FOREIGN);
	ck_assert_int_eq(hyp_handle_lock(hyp_pool_default(), g, &p), HYP_ERR_FOREIGN);
	ck_assert_int_eq(hyp_handle_lock(pool, 0, &p), HYP_ERR_INVALID);
	ck_assert_int_eq(hyp_handle_lock(pool, UINT64_MAX, &p), HYP_ERR_INVALID);
	ck_assert_int_ne(hyp_handle_lock(pool, h + 1, &p), HYP_OK);
	ck_assert_int_ne(hyp_handle_lock(pool, h + (UINT64_C(1) << 32), &p), HYP_OK);
	ck_assert_int_eq(hyp_handle_lock(pool, h, NULL), HYP_ERR_INVALID);
	uint64_t seed = 1234567;
	for (int i = 0; i < 100000; i++) { /* garbage never opens */
		hyp_handle any = (uint64_t)next_random(&seed) << 32 | next_random(&seed);
		if (any != h) HOLDS(hyp_handle_lock(pool, any, &p) != HYP_OK);
		any = (uint64_t)(next_random(&seed) % 4) << 32 | next_random(&seed) % 2048;
		if (any != h) HOLDS(hyp_handle_lock(pool, any, &p) != HYP_OK);
	}
	ck_assert_int_eq(hyp_pool_reset(pool), HYP_OK);
	ck_assert_int_ne(hyp_handle_lock(pool, h, &p), HYP_OK);
	hyp_handle again = take(pool, 100);
	ck_assert_uint_ne(again, h);
	ck_assert_int_ne(hyp_handle_lock(pool, h, &p), HYP_OK);
	hyp_pool_destroy(other);
	ck_assert_int_ne(hyp_handle_lock(pool, g, &p), HYP_OK);
	other = make_pool(&config); /* may get the chunk of the one before */
	take(other, 1);
	ck_assert_int_ne(hyp_handle_lock(other, g, &p), HYP_OK);
	hyp_pool_destroy(pool);
	hyp_pool_destroy(other);
	h = take(hyp_pool_default(), 100); /* the default pool has handles too */
	ck_assert_int_eq(hyp_handle_lock(hyp_pool_default(), h, &p), HYP_OK);
	ck_assert_int_eq(hyp_handle_unlock(hyp_pool_default(), h), HYP_OK);
	ck_assert_int_eq(hyp_handle_free(hyp_pool_default(), h), HYP_OK);
}
END_TEST

/* What a slot without a live block has in place of a name must open nothing, whoever invents it: every value of few bits
 * around the handles that were, by the thread that owns their slots. */
START_TEST(invented) {
	enum { MANY = 600 };
	hyp_pool_config config = small_config();
	hyp_pool *pool = make_pool(&config);
	static hyp_handle were[MANY];
	for (int i = 0; i < MANY; i++) were[i] = take(pool, 100);
	for (int round = 0; round < 2; round++) {
		for (int i = round; i < MANY; i += 2) ck_assert_int_eq(hyp_handle_free(pool, were[i]), HYP_OK);
		for (int i = 0; i < MANY; i++)
			for (uint64_t generation = 0; generation < 3; generation++)
				for (uint64_t bit = 0; bit <= 32; bit++) {
					hyp_handle h = (uint32_t)were[i] ^ (bit < 32 ? UINT64_C(1) << bit : 0);
					h |= generation << 32;
					void *p = NULL;
					bool live = false;
					for (int k = 0; k < MANY && round == 0 && generation == 1; k++) live |= k % 2 == 1 && were[k] == h;
					hyp_status status = hyp_handle_lock(pool, h, &p);
					if (live) HOLDS(status == HYP_OK && hyp_handle_unlock(pool, h) == HYP_OK);
					else HOLDS(status != HYP_OK && p == NULL && hyp_handle_unlock(pool, h) != HYP_OK);
				}
		const char *wrong = hyp_pool_check(pool);
		ck_assert_msg(wrong == NULL, "%s", wrong);
	}
	hyp_pool_destroy(pool);
}
END_TEST

START_TEST(generations_end) {
	hyp_pool_config config = small_config();
	hyp_pool *pool = make_pool(&config);
	hyp_handle first = take(pool, 10);
	hypi_slot *slot = hypi_slot_of(first);
	ck_assert_int_eq(hyp_handle_free(pool, first), HYP_OK);
	/* The slot's last three lives; the last generation is never given out. */
	hypi_store_relaxed(&slot->state, (uint64_t)(UINT32_MAX - 3) << 32 | HYPI_SLOT_ZERO);
	for (uint64_t generation = UINT32_MAX - 3; generation < UINT32_MAX; generation++) {
		hyp_handle h = take(pool, 10);
		ck_assert_ptr_eq(hypi_slot_of(h), slot);
		ck_assert_uint_eq(h >> 32, generation);
		void *p;
		ck_assert_int_eq(hyp_handle_lock(pool, first, &p), HYP_ERR_STALE);
		ck_assert_int_eq(hyp_handle_free(pool, h), HYP_OK);
		ck_assert_int_eq(hyp_handle_free(pool, h), HYP_ERR_STALE);
	}
	for (int i = 0; i < 2000; i++) ck_assert_ptr_ne(hypi_slot_of(take(pool, 10)), slot); /* never again */
	ck_assert_int_eq(hyp_pool_reset(pool), HYP_OK);
	for (int i = 0; i < 2000; i++) ck_assert_ptr_ne(hypi_slot_of(take(pool, 10)), slot);
	ck_assert_ptr_null(hyp_pool_check(pool));
	hyp_pool_destroy(pool);
}
END_TEST

START_TEST(resized) {
	hyp_pool_config config = small_config();
	hyp_pool *pool = make_pool(&config);
	hyp_handle h = take(pool, 10);
	uint64_t seed = 99;
	size_t have = 10;
	void *p;
	HOLDS(hyp_handle_lock(pool, h, &p) == HYP_OK);
	fill(p, have, 1);
	HOLDS(hyp_handle_unlock(pool, h) == HYP_OK);
	for (int i = 0; i < 300; i++) {
		size_t bytes = random_size(&seed), kept = have < bytes ? have : bytes;
		ck_assert_int_eq(hyp_handle_realloc(pool, h, bytes), HYP_OK);
		HOLDS(hyp_handle_lock(pool, h, &p) == HYP_OK);
		for (size_t k = 0; k < kept && k < 64; k++) HOLDS(((uint8_t *)p)[k] == (uint8_t)(i + 1));
		fill(p, bytes, (uint8_t)(i + 2));
		HOLDS(hyp_handle_unlock(pool, h) == HYP_OK);
		have = bytes;
	}
	ck_assert_int_eq(hyp_handle_realloc(pool, h, (size_t)100 << 20), HYP_ERR_LIMIT);
	hyp_handle_info info = {.struct_bytes = sizeof info};
	ck_assert_int_eq(hyp_handle_get_info(pool, h, &info), HYP_OK);
	ck_assert_uint_eq(info.bytes, have);
	hyp_pool_destroy(pool);
}
END_TEST

/* ---- threads ---- */

enum { WORKERS = 3, SHARED = 64 };

typedef struct stage {
	hyp_pool *pool;
	_Atomic uint64_t handles[SHARED]; /* 0: a worker has it */
	_Atomic bool stop;
	_Atomic uint64_t moved, worked;
	_Atomic int turn;
} stage;

/* Takes a handle from the table, made by whichever thread, checks and rewrites its block under nested locks, and puts it
 * back, or frees it and puts a new one there. The block's first word is its size, the rest a tag. */
static void work_once(stage *s, uint64_t *seed) {
	_Atomic uint64_t *place = &s->handles[next_random(seed) % SHARED];
	hyp_handle h = atomic_exchange(place, 0);
	if (h == 0) return;
	hyp_handle_info info = {.struct_bytes = sizeof info};
	HOLDS(hyp_handle_get_info(s->pool, h, &info) == HYP_OK);
	void *p, *q;
	HOLDS(hyp_handle_lock(s->pool, h, &p) == HYP_OK);
	HOLDS(filled(p, info.bytes, (uint8_t)info.bytes));
	if (next_random(seed) % 4 == 0) {
		HOLDS(hyp_handle_lock(s->pool, h, &q) == HYP_OK && p == q);
		HOLDS(hyp_handle_free(s->pool, h) == HYP_ERR_BUSY);
		HOLDS(hyp_handle_unlock(s->pool, h) == HYP_OK);
	}
	for (int i = 0; i < 4; i++) { /* nobody may move it now */
		fill(p, info.bytes, (uint8_t)(info.bytes + (size_t)i));
		HOLDS(filled(p, info.bytes, (uint8_t)(info.bytes + (size_t)i)));
	}
	fill(p, info.bytes, (uint8_t)info.bytes);
	HOLDS(hyp_handle_unlock(s->pool, h) == HYP_OK);
	if (next_random(seed) % 3 == 0) {
		hyp_status status;
		while ((status = hyp_handle_free(s->pool, h)) == HYP_ERR_BUSY) continue;
		HOLDS(status == HYP_OK);
		HOLDS(hyp_handle_lock(s->pool, h, &p) == HYP_ERR_STALE);
		size_t bytes = 1 + next_random(seed) % 3000;
		h = take(s->pool, bytes);
		HOLDS(hyp_handle_lock(s->pool, h, &p) == HYP_OK);
		fill(p, bytes, (uint8_t)bytes);
		HOLDS(hyp_handle_unlock(s->pool, h) == HYP_OK);
	}
	atomic_store(place, h);
	hypi_add_relaxed(&s->worked, 1);
}

static void *worker(void *context) {
	stage *s = context;
	uint64_t seed = 4711 + (uint64_t)hypi_add_relaxed(&s->turn, 1) * 1000003;
	/* On a busy machine the mover may get its first turn late. */
	for (int i = 0; i < 20000 || (hypi_load_relaxed(&s->moved) <= 100 && i < 20000000); i++) work_once(s, &seed);
	return NULL;
}

static void move_one(void *context, hyp_handle h, const hypi_slot *slot) {
	(void)slot;
	stage *s = context;
	hyp_status status = hypi_handle_move(s->pool, h);
	HOLDS(status == HYP_OK || status == HYP_ERR_BUSY || status == HYP_ERR_STALE);
	if (status == HYP_OK) hypi_add_relaxed(&s->moved, 1);
}

static void *mover(void *context) {
	stage *s = context;
	while (!hypi_load_relaxed(&s->stop)) hypi_handles_walk(s->pool, move_one, s);
	return NULL;
}

START_TEST(moved_while_threads_work) {
	hyp_pool_config config = small_config();
	stage s = {.pool = make_pool(&config)};
	for (int i = 0; i < SHARED; i++) {
		hyp_handle h = take(s.pool, 100);
		void *p;
		HOLDS(hyp_handle_lock(s.pool, h, &p) == HYP_OK);
		fill(p, 100, 100);
		HOLDS(hyp_handle_unlock(s.pool, h) == HYP_OK);
		s.handles[i] = h;
	}
	pthread_t threads[WORKERS], moving;
	pthread_create(&moving, NULL, mover, &s);
	for (int i = 0; i < WORKERS; i++) pthread_create(&threads[i], NULL, worker, &s);
	for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
	hypi_store_relaxed(&s.stop, true);
	pthread_join(moving, NULL);
	ck_assert_uint_gt(s.moved, 100);
	ck_assert_uint_gt(s.worked, 1000);
	const char *wrong = hyp_pool_check(s.pool);
	ck_assert_msg(wrong == NULL, "%s", wrong);
	for (int i = 0; i < SHARED; i++) ck_assert_int_eq(hyp_handle_free(s.pool, s.handles[i]), HYP_OK);
	hyp_pool_destroy(s.pool);
}
END_TEST

/* One block that its owner locks and writes again and again while another thread moves it: the pin that costs no
 * barrier, against the barrier that makes up for it. */
typedef struct duel {
	hyp_pool *pool;
	hyp_handle handle;
	_Atomic bool stop;
	_Atomic uint64_t moved;
} duel;

static void *duellist(void *context) {
	duel *d = context;
	while (!hypi_load_relaxed(&d->stop)) hypi_add_relaxed(&d->moved, hypi_handle_move(d->pool, d->handle) == HYP_OK);
	return NULL;
}

START_TEST(owner_against_mover) {
	hyp_pool_config config = small_config();
	duel d = {.pool = make_pool(&config)};
	d.handle = take(d.pool, 64);
	void *p;
	HOLDS(hyp_handle_lock(d.pool, d.handle, &p) == HYP_OK);
	memset(p, 0, 64);
	HOLDS(hyp_handle_unlock(d.pool, d.handle) == HYP_OK);
	pthread_t thread;
	pthread_create(&thread, NULL, duellist, &d);
	uint64_t rounds = hypi_os_barrier_ready() ? 3000000 : 300000, end_ns = hypi_os_now_ns() + 4 * UINT64_C(1000000000);
	/* On a busy machine the mover may get its first turn late, and lose the processor while it holds the block. */
	for (uint64_t i = 0; i < rounds || (hypi_load_relaxed(&d.moved) <= 100 && i < 100 * rounds); i++) {
		HOLDS(hyp_handle_lock(d.pool, d.handle, &p) == HYP_OK);
		volatile uint64_t *words = p;
		HOLDS(words[0] == i && words[7] == i); /* a write that went to the old place would be lost here */
		words[0] = words[7] = i + 1;
		HOLDS(hyp_handle_unlock(d.pool, d.handle) == HYP_OK);
		if (i % 1024 == 0 && hypi_load_relaxed(&d.moved) > 100 && hypi_os_now_ns() > end_ns) break;
	}
	hypi_store_relaxed(&d.stop, true);
	pthread_join(thread, NULL);
	ck_assert_uint_gt(d.moved, 100);
	hyp_pool_destroy(d.pool);
}
END_TEST

static void *lock_it(void *context) {
	duel *d = context;
	void *p;
	HOLDS(hyp_handle_lock(d->pool, d->handle, &p) == HYP_OK);
	return NULL;
}
static void *unlock_it(void *context) {
	duel *d = context;
	return (void *)(uintptr_t)hyp_handle_unlock(d->pool, d->handle);
}
static void *free_it(void *context) {
	duel *d = context;
	return (void *)(uintptr_t)hyp_handle_free(d->pool, d->handle);
}

static hyp_status in_thread(void *(*what)(void *), duel *d) {
	pthread_t thread;
	void *result;
	pthread_create(&thread, NULL, what, d);
	pthread_join(thread, &result);
	return (hyp_status)(uintptr_t)result;
}

START_TEST(locks_change_hands) {
	hyp_pool_config config = small_config();
	duel d = {.pool = make_pool(&config)};
	void *p;
	for (int round = 0; round < 20; round++) {
		d.handle = take(d.pool, 64);
		in_thread(lock_it, &d); /* theirs; ours to unlock */
		ck_assert_int_eq(hyp_handle_free(d.pool, d.handle), HYP_ERR_BUSY);
		ck_assert_int_eq(hyp_handle_unlock(d.pool, d.handle), HYP_OK);
		ck_assert_int_eq(hyp_handle_unlock(d.pool, d.handle), HYP_ERR_INVALID);
		ck_assert_int_eq(in_thread(unlock_it, &d), HYP_ERR_INVALID);
		ck_assert_int_eq(hyp_handle_lock(d.pool, d.handle, &p), HYP_OK); /* ours; theirs to unlock */
		ck_assert_int_eq(in_thread(free_it, &d), HYP_ERR_BUSY);
		ck_assert_int_eq(in_thread(unlock_it, &d), HYP_OK);
		ck_assert_int_eq(hyp_handle_unlock(d.pool, d.handle), HYP_ERR_INVALID);
		if (round & 1) ck_assert_int_eq(in_thread(free_it, &d), HYP_OK);
		else ck_assert_int_eq(hyp_handle_free(d.pool, d.handle), HYP_OK);
		ck_assert_int_eq(hyp_handle_free(d.pool, d.handle), HYP_ERR_STALE);
		ck_assert_int_eq(in_thread(free_it, &d), HYP_ERR_STALE);
		ck_assert_ptr_null(hyp_pool_check(d.pool));
	}
	hyp_pool_destroy(d.pool);
}
END_TEST

#if HYP_TEST_FAULTS
START_TEST(barrier_refused) {
	hyp_pool_config config = small_config();
	duel d = {.pool = make_pool(&config)};
	d.handle = take(d.pool, 64);
	if (hypi_os_barrier_ready()) { /* a sandbox that was set up later refuses the call */
		hypi_fault_script(1u << HYPI_FAULT_BARRIER, 0, 1, EPERM);
		ck_assert_int_eq(in_thread(free_it, &d), HYP_ERR_OS);
		hypi_fault_script(0, 0, 0, 0);
		ck_assert_int_eq(hyp_handle_validate(d.pool, d.handle), HYP_OK); /* as it was */
	}
	ck_assert_int_eq(in_thread(free_it, &d), HYP_OK);
	hyp_pool_destroy(d.pool);
}
END_TEST
#endif

START_TEST(forked) {
	hyp_pool_config config = small_config();
	duel d = {.pool = make_pool(&config)};
	d.handle = take(d.pool, 64);
	pid_t child = fork();
	if (child == 0) {
		void *p;
		bool good = hyp_handle_lock(d.pool, d.handle, &p) == HYP_OK && hyp_handle_unlock(d.pool, d.handle) == HYP_OK;
		_exit(good && in_thread(free_it, &d) == HYP_OK ? 0 : 1);
	}
	int status;
	waitpid(child, &status, 0);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	hyp_pool_destroy(d.pool);
}
END_TEST

/* Queries of handles whose blocks others free, resize and move: every answer is of the block, or says that it is gone. */
static void *asker(void *context) {
	stage *s = context;
	uint64_t seed = 777;
	while (!hypi_load_relaxed(&s->stop)) {
		hyp_handle h = s->handles[next_random(&seed) % SHARED];
		hyp_handle_info info = {.struct_bytes = sizeof info};
		hyp_status status = h != 0 ? hyp_handle_get_info(s->pool, h, &info) : HYP_ERR_STALE;
		HOLDS(status == HYP_OK || status == HYP_ERR_STALE);
		if (status == HYP_OK) HOLDS(info.alignment == 16 && info.usable_bytes >= info.bytes);
		hyp_fragmentation f = {.struct_bytes = sizeof f};
		if (next_random(&seed) % 64 == 0) HOLDS(hyp_pool_fragmentation(s->pool, &f) == HYP_OK && f.rounding >= 0);
		hypi_add_relaxed(&s->worked, status == HYP_OK);
	}
	return NULL;
}

START_TEST(asked_while_freed) {
	hyp_pool_config config = small_config();
	stage s = {.pool = make_pool(&config)};
	pthread_t thread;
	pthread_create(&thread, NULL, asker, &s);
	uint64_t seed = 31;
	for (int i = 0; i < 60000 || (s.worked < 100 && i < 60000000); i++) {
		_Atomic uint64_t *place = &s.handles[next_random(&seed) % SHARED];
		if (*place == 0)
			*place = take(s.pool, next_random(&seed) % 16 == 0 ? 1 << 20 : 1000 + next_random(&seed) % 30000);
		else HOLDS(hyp_handle_free(s.pool, atomic_exchange(place, 0)) == HYP_OK);
		if (i % 64 == 0) hyp_pool_trim(s.pool); /* their spans go, and the records are used again */
	}
	hypi_store_relaxed(&s.stop, true);
	pthread_join(thread, NULL);
	ck_assert_ptr_null(hyp_pool_check(s.pool));
	hyp_pool_destroy(s.pool);
}
END_TEST

/* The threshold cuts a class of blocks in two: what is asked for beyond it is large, whatever lies in the class's list. */
START_TEST(threshold_within_a_class) {
	hyp_pool_config config = small_config();
	config.threshold_bytes = 5000;
	hyp_pool *pool = make_pool(&config);
	hyp_handle below[8], h = take(pool, 5000);
	hyp_handle_info info = {.struct_bytes = sizeof info};
	for (int i = 0; i < 8; i++) below[i] = take(pool, 4999);
	ck_assert_int_eq(hyp_handle_get_info(pool, below[0], &info), HYP_OK);
	ck_assert(info.small && info.usable_bytes == 5120);
	for (int i = 0; i < 8; i++) HOLDS(hyp_handle_free(pool, below[i]) == HYP_OK);
	for (int i = 0; i < 9; i++) {
		if (i > 0) h = take(pool, 5000);
		ck_assert_int_eq(hyp_handle_get_info(pool, h, &info), HYP_OK);
		ck_assert(!info.small && info.usable_bytes == 8192);
		ck_assert_ptr_null(hyp_pool_check(pool));
		ck_assert_int_eq(hyp_handle_realloc(pool, h, 8192), HYP_OK); /* all of it may be used */
		ck_assert_int_eq(hyp_handle_realloc(pool, h, 4200), HYP_OK); /* where it is: smaller than the threshold */
		ck_assert_int_eq(hyp_handle_get_info(pool, h, &info), HYP_OK);
		ck_assert(!info.small && info.usable_bytes == 8192 && info.bytes == 4200);
		ck_assert_ptr_null(hyp_pool_check(pool));
		ck_assert_int_eq(hypi_handle_move(pool, h), HYP_OK); /* and a small one then */
		ck_assert_int_eq(hyp_handle_get_info(pool, h, &info), HYP_OK);
		ck_assert(info.small && info.usable_bytes == 4224 && info.bytes == 4200);
		ck_assert_ptr_null(hyp_pool_check(pool));
	}
	hyp_pool_destroy(pool);
}
END_TEST

UNIT_MAIN("handle", life, refused, invented, generations_end, resized, locks_change_hands, owner_against_mover,
          moved_while_threads_work, barrier_refused, forked, asked_while_freed, threshold_within_a_class)
