/*
 * tensor/idle.c: storages that nobody uses, compressed; and restored by whoever locks them next.
 *
 * A compressed storage's block has been given back to its pool, and its handle is stale; what is left is a frame. Who
 * locks a storage takes the handle's lock first and looks at the storage's gate then; who compresses closes the gate
 * first and looks at the handle's locks then, with a full fence between on either side: one of them sees the other
 * (Dekker, 1965). A locker that finds the gate closed lets go and waits for the storage's mutex. The fence costs every
 * lock some nanoseconds, so it is there only once compression was turned on.
 *
 * Invariants, under the storage's mutex: frame != NULL means that the handle is stale and the gate closed; the gate is
 * open whenever nobody holds the mutex and frame is NULL.
 *
 * The list holds the storages made since compression was turned on, without a reference of its own: a storage leaves it
 * when its last reference goes, and whoever walks it takes a reference only where there still is one.
 *
 * Locks: a storage's mutex (one of MUTEXES, by address), then the pool's own; the list's mutex alone. Zstandard's scratch
 * memory comes from the C library's malloc.
 */
#include "tensor/internal.h"
#include "tensor/storage.h"
#include "tensor/zstd.h"

#include <hypool/cleanup.h>
#include <hypool/handle.h>
#include <hypool/hypool.h>

#include <pthread.h>
#include <sched.h>

#define MUTEXES 16
#define LEAST_BYTES ((size_t)4096) /* a smaller storage is not worth a frame */
#define FREE_TRIES 1000            /* lockers that have not seen the gate yet let go within an instant */
#define RECLAIM_PRIORITY 0

struct hypi_frame {
	size_t bytes;     /* of data */
	size_t alignment; /* of the block that it was */
	unsigned char data[];
};

_Atomic bool hypi_compression_on; /* never false again */
static _Atomic bool wanted;       /* compress at all: what the user said last */
static _Atomic uint64_t idle_enough_ms;
static pthread_mutex_t mutexes[MUTEXES];
static pthread_mutex_t list_mutex = PTHREAD_MUTEX_INITIALIZER; /* guards list, next_listed and previous_listed */
static struct hypi_storage *list;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static pthread_mutex_t *mutex_of(const struct hypi_storage *s) { return &mutexes[(uintptr_t)s / 128 % MUTEXES]; }

/* ---- compressing ---- */

static struct hypi_frame *frame_of(struct hypi_storage *s, const void *data, size_t alignment) {
	size_t room = s->bytes - s->bytes / 8;
	struct hypi_frame *frame = hyp_malloc(sizeof *frame + room);
	if (frame == NULL) return NULL;
	frame->bytes = hypi_zstd_compress(frame->data, room, data, s->bytes);
	frame->alignment = alignment;
	if (frame->bytes == 0) {
		hyp_free(frame);
		return NULL;
	}
	struct hypi_frame *fitting = hyp_realloc(frame, sizeof *frame + frame->bytes);
	return fitting != NULL ? fitting : frame;
}

/* Under the mutex, the gate closed. */
static hyp_status compress_closed(struct hypi_storage *s, size_t *ret_saved_bytes) {
	hyp_handle handle = hypi_load_relaxed(&s->handle);
	hyp_handle_info info = {.struct_bytes = sizeof info};
	void *data;
	hyp_status status = hyp_handle_get_info(s->pool, handle, &info);
	if (status == HYP_OK && info.locks != 0) status = HYP_ERR_BUSY;
	if (status == HYP_OK) status = hyp_handle_lock(s->pool, handle, &data);
	if (status != HYP_OK) return status;
	struct hypi_frame *frame = frame_of(s, data, info.alignment);
	status = hyp_handle_unlock(s->pool, handle);
	if (frame == NULL || status != HYP_OK) {
		hyp_free(frame);
		return status;
	}
	for (int i = 0; (status = hyp_handle_free(s->pool, handle)) == HYP_ERR_BUSY && i < FREE_TRIES; i++)
		(void)sched_yield();
	if (status != HYP_OK) {
		hyp_free(frame);
		return status;
	}
	s->frame = frame;
	*ret_saved_bytes = info.usable_bytes - (sizeof *frame + frame->bytes);
	return HYP_OK;
}

static hyp_status compress(struct hypi_storage *s, size_t *ret_saved_bytes) {
	*ret_saved_bytes = 0;
	if (s->kind != HYPI_STORAGE_POOL || s->bytes < LEAST_BYTES) return HYP_OK;
	hyp_status status = HYP_OK;
	pthread_mutex_lock(mutex_of(s));
	if (s->frame == NULL) {
		hypi_store_relaxed(&s->gate, true);
		atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in hypi_storage_lock_gated */
		status = compress_closed(s, ret_saved_bytes);
		if (s->frame == NULL) hypi_store_relaxed(&s->gate, false);
	}
	pthread_mutex_unlock(mutex_of(s));
	return status;
}

/* ---- restoring ---- */

/* Under the mutex. The new block is locked for the caller. */
static hyp_status restore(struct hypi_storage *s, void **ret_data) {
	hyp_handle handle;
	void *data;
	HYPI_TRY(hyp_handle_alloc(s->pool, s->bytes, s->frame->alignment, 0, &handle));
	hyp_status status = hyp_handle_lock(s->pool, handle, &data);
	if (status == HYP_OK && !hypi_zstd_restore(data, s->bytes, s->frame->data, s->frame->bytes)) {
		status = hyp_handle_unlock(s->pool, handle);
		status = status == HYP_OK ? HYP_ERR_CORRUPT : status;
	}
	if (status != HYP_OK) {
		hyp_status freed = hyp_handle_free(s->pool, handle);
		(void)freed;
		return status;
	}
	hyp_free(s->frame);
	s->frame = NULL;
	hypi_store_release(&s->handle, handle); /* pairs with the acquire in hypi_storage_lock */
	hypi_store_relaxed(&s->gate, false);
	*ret_data = data;
	return HYP_OK;
}

hyp_status hypi_storage_lock_gated(struct hypi_storage *s, uint64_t handle, hyp_status status, void **ret_data) {
	atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in compress */
	if (HYP_LIKELY(status == HYP_OK && !hypi_load_relaxed(&s->gate))) return HYP_OK;
	if (status == HYP_OK) HYPI_TRY(hyp_handle_unlock(s->pool, handle));
	pthread_mutex_lock(mutex_of(s));
	if (s->frame != NULL) status = restore(s, ret_data);
	else status = hyp_handle_lock(s->pool, hypi_load_relaxed(&s->handle), ret_data);
	pthread_mutex_unlock(mutex_of(s));
	return status;
}

size_t hypi_storage_compressed_bytes(struct hypi_storage *s) {
	if (!hypi_load_relaxed(&hypi_compression_on)) return 0;
	pthread_mutex_lock(mutex_of(s));
	size_t bytes = s->frame == NULL ? 0 : s->frame->bytes;
	pthread_mutex_unlock(mutex_of(s));
	return bytes;
}

/* ---- the list ---- */

void hypi_storage_list(struct hypi_storage *s) {
	hypi_store_relaxed(&s->used_ms, hypi_coarse_ms());
	pthread_mutex_lock(&list_mutex);
	s->listed = true;
	s->next_listed = list;
	s->previous_listed = NULL;
	if (list != NULL) list->previous_listed = s;
	list = s;
	pthread_mutex_unlock(&list_mutex);
}

void hypi_storage_unlist(struct hypi_storage *s) {
	pthread_mutex_lock(&list_mutex);
	if (s->previous_listed != NULL) s->previous_listed->next_listed = s->next_listed;
	else list = s->next_listed;
	if (s->next_listed != NULL) s->next_listed->previous_listed = s->previous_listed;
	pthread_mutex_unlock(&list_mutex);
}

static bool retain_living(struct hypi_storage *s) {
	uint32_t n = hypi_load_relaxed(&s->references);
	while (n != 0 && !atomic_compare_exchange_weak_explicit(&s->references, &n, n + 1, memory_order_acquire,
	                                                        memory_order_relaxed)) {
	}
	return n != 0;
}

/* The next storage behind `last` that has been idle that long, with a reference; `last`, if any, is let go. */
static struct hypi_storage *next_idle(struct hypi_storage *last, uint64_t now_ms, uint64_t least_idle_ms) {
	pthread_mutex_lock(&list_mutex);
	struct hypi_storage *s = last == NULL ? list : last->next_listed;
	for (; s != NULL; s = s->next_listed) {
		uint64_t used_ms = hypi_load_relaxed(&s->used_ms);
		if (s->bytes < LEAST_BYTES || hypi_load_relaxed(&s->gate)) continue;
		if (now_ms - used_ms >= least_idle_ms && used_ms <= now_ms && retain_living(s)) break;
	}
	pthread_mutex_unlock(&list_mutex);
	if (last != NULL) hypi_storage_release(last);
	return s;
}

static size_t compress_idle(uint64_t least_idle_ms, size_t wanted_bytes) {
	size_t saved = 0;
	uint64_t now_ms = hypi_coarse_ms();
	struct hypi_storage *s = NULL;
	while ((s = next_idle(s, now_ms, least_idle_ms)) != NULL) {
		size_t bytes = 0;
		if (compress(s, &bytes) == HYP_OK) saved += bytes;
		if (saved < wanted_bytes) continue;
		hypi_storage_release(s);
		break;
	}
	return saved;
}

/* ---- public ---- */

static size_t reclaim(void *context, size_t wanted_bytes, hyp_cleanup_cause cause) {
	(void)context;
	(void)cause;
	if (!hypi_load_relaxed(&wanted)) return 0;
	return compress_idle(hypi_load_relaxed(&idle_enough_ms), wanted_bytes);
}

static void fork_prepare(void) {
	for (int i = 0; i < MUTEXES; i++) pthread_mutex_lock(&mutexes[i]);
	pthread_mutex_lock(&list_mutex);
}

static void fork_done(void) {
	pthread_mutex_unlock(&list_mutex);
	for (int i = MUTEXES; i-- > 0;) pthread_mutex_unlock(&mutexes[i]);
}

static void start(void) {
	for (int i = 0; i < MUTEXES; i++) (void)pthread_mutex_init(&mutexes[i], NULL);
	(void)pthread_atfork(fork_prepare, fork_done, fork_done);
	int id;
	/* Without a place among the reclaimers there is still the call. */
	hyp_status status = hyp_cleanup_add(reclaim, NULL, RECLAIM_PRIORITY, &id);
	(void)status;
}

hyp_status hyp_tensor_compression(bool on, uint64_t least_idle_ms) {
	if (!hypi_zstd_here()) return hypi_fail(HYP_ERR_UNSUPPORTED, "this build has no Zstandard");
	if (on) pthread_once(&once, start);
	hypi_store_relaxed(&idle_enough_ms, least_idle_ms);
	hypi_store_relaxed(&wanted, on);
	if (on) hypi_store_release(&hypi_compression_on, true);
	return HYP_OK;
}

static hyp_status check_on(void) {
	if (hypi_load_relaxed(&wanted)) return HYP_OK;
	return hypi_fail(HYP_ERR_UNSUPPORTED, "compression is off: hyp_tensor_compression turns it on");
}

hyp_status hyp_tensor_compress(const hyp_tensor *tensor, size_t *ret_saved_bytes) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_saved_bytes);
	HYPI_TRY(check_on());
	size_t saved;
	hyp_status status = compress(tensor->storage, &saved);
	if (status != HYP_OK) return hypi_fail(status, "argument tensor: %s", hyp_status_message(status));
	*ret_saved_bytes = saved;
	return HYP_OK;
}

hyp_status hyp_tensor_compress_idle(uint64_t least_idle_ms, size_t *ret_saved_bytes) {
	HYPI_CHECK_RET(ret_saved_bytes);
	HYPI_TRY(check_on());
	*ret_saved_bytes = compress_idle(least_idle_ms, SIZE_MAX);
	return HYP_OK;
}
