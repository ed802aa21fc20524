/*
 * tensor/slot.c: the headers of tensors, and what a thread keeps of them.
 *
 * Chunk k holds 256 << k slots; chunks are never given back, so a slot's number gives its address without a lock and
 * a stale header can always be read. Dead slots lie on a thread's own list (at most CACHE_SLOTS), then on the global
 * one. Each thread counts tensors made and released on its own; the live count is the sum over the threads, and what
 * ended threads left. Lock: one mutex, taken for 1 in CACHE_SLOTS / 2 operations, at thread exit and by the live count;
 * nothing else is taken under it.
 */
#include "tensor/internal.h"

#include <hypool/hypool.h>

#include <pthread.h>
#include <stdlib.h>

#define FIRST_LOG2 8
#define CHUNKS 23 /* 2^31 slots */
#define CACHE_SLOTS 64

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(hyp_tensor *) chunks[CHUNKS]; /* released after its slots are numbered; pairs with slot_at */
static uint32_t slots_made;                  /* under mutex */
static hyp_tensor *free_slots;               /* under mutex */
static struct hypi_thread *threads;          /* under mutex */
static int64_t ended_live;                   /* under mutex: of threads that have gone */

static HYP_TLS struct hypi_thread *self_;
static pthread_key_t exit_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fork_prepare(void) { pthread_mutex_lock(&mutex); }
static void fork_done(void) { pthread_mutex_unlock(&mutex); }

static void thread_exit(void *p) {
	struct hypi_thread *t = p;
	pthread_mutex_lock(&mutex);
	while (t->free != NULL) {
		hyp_tensor *slot = t->free;
		t->free = slot->next_free;
		slot->next_free = free_slots;
		free_slots = slot;
	}
	ended_live += t->live;
	if (t->previous != NULL) t->previous->next = t->next;
	else threads = t->next;
	if (t->next != NULL) t->next->previous = t->previous;
	pthread_mutex_unlock(&mutex);
	self_ = NULL;
	hyp_free(t);
}

static void start(void) {
	(void)pthread_key_create(&exit_key, thread_exit);
	(void)pthread_atfork(fork_prepare, fork_done, fork_done);
}

static HYP_NOINLINE struct hypi_thread *thread_create(void) {
	pthread_once(&once, start);
	struct hypi_thread *t = hyp_calloc(1, sizeof *t);
	if (t == NULL) return NULL;
	if (pthread_setspecific(exit_key, t) != 0) {
		hyp_free(t);
		return NULL;
	}
	pthread_mutex_lock(&mutex);
	t->next = threads;
	if (threads != NULL) threads->previous = t;
	threads = t;
	pthread_mutex_unlock(&mutex);
	self_ = t;
	return t;
}

struct hypi_thread *hypi_thread_self(void) {
	struct hypi_thread *t = self_;
	return HYP_LIKELY(t != NULL) ? t : thread_create();
}

static hyp_tensor *slot_at(uint32_t number) {
	uint32_t n = number + (1u << FIRST_LOG2);
	uint32_t log2 = 31u - (uint32_t)__builtin_clz(n);
	if (log2 - FIRST_LOG2 >= CHUNKS) return NULL;
	/* acquire: pairs with the release in grow */
	hyp_tensor *chunk = hypi_load_acquire(&chunks[log2 - FIRST_LOG2]);
	return chunk == NULL ? NULL : &chunk[n - (1u << log2)];
}

/* Adds the next chunk to the global list. Under the mutex. */
static bool grow(void) {
	uint32_t k = 0;
	while (k < CHUNKS && hypi_load_relaxed(&chunks[k]) != NULL) k++;
	if (k == CHUNKS) return false;
	uint32_t count = 1u << (FIRST_LOG2 + k);
	hyp_tensor *chunk = hyp_calloc(count, sizeof *chunk);
	if (chunk == NULL) return false;
	for (uint32_t i = count; i-- > 0;) {
		chunk[i].slot = slots_made + i;
		chunk[i].next_free = free_slots;
		atomic_init(&chunk[i].life, (uint64_t)1 << 32);
		free_slots = &chunk[i];
	}
	slots_made += count;
	hypi_store_release(&chunks[k], chunk);
	return true;
}

static HYP_NOINLINE bool refill(struct hypi_thread *self) {
	pthread_mutex_lock(&mutex);
	for (int i = 0; i < CACHE_SLOTS / 2; i++) {
		if (free_slots == NULL && !grow()) break;
		hyp_tensor *slot = free_slots;
		free_slots = slot->next_free;
		slot->next_free = self->free;
		self->free = slot;
		self->free_count++;
	}
	pthread_mutex_unlock(&mutex);
	return self->free != NULL;
}

static HYP_NOINLINE void drain(struct hypi_thread *self) {
	pthread_mutex_lock(&mutex);
	for (int i = 0; i < CACHE_SLOTS / 2; i++) {
		hyp_tensor *slot = self->free;
		self->free = slot->next_free;
		self->free_count--;
		slot->next_free = free_slots;
		free_slots = slot;
	}
	pthread_mutex_unlock(&mutex);
}

hyp_tensor *hypi_slot_take(int rank) {
	struct hypi_thread *self = hypi_thread_self();
	if (HYP_UNLIKELY(self == NULL)) return NULL;
	if (HYP_UNLIKELY(self->free == NULL) && !refill(self)) return NULL;
	hyp_tensor *t = self->free;
	int64_t *dims = t->dims;
	if (HYP_UNLIKELY(rank > HYPI_INLINE_RANK)) {
		dims = hyp_malloc((size_t)rank * 2 * sizeof *dims);
		if (dims == NULL) return NULL;
	}
	self->free = t->next_free;
	self->free_count--;
	hypi_store_relaxed(&self->live, self->live + 1);
	t->rank = (uint8_t)rank;
	t->flags = 0;
	t->storage = NULL;
	hypi_store_relaxed(&t->weakened, false);
	t->shape = dims;
	t->strides = dims + rank;
	t->tag = 0;
	t->name = NULL;
	/* release: pairs with the acquire in hyp_tensor_weak_lock */
	hypi_store_release(&t->life, (hypi_load_relaxed(&t->life) & ~(uint64_t)UINT32_MAX) | 1);
	return t;
}

void hypi_slot_give(hyp_tensor *t) {
	if (HYP_UNLIKELY(t->shape != t->dims)) hyp_free(t->shape);
	uint64_t generation = (hypi_load_relaxed(&t->life) >> 32) + 1;
	if ((generation & UINT32_MAX) == 0) generation = 1;
	hypi_store_release(&t->life, generation << 32);
	struct hypi_thread *self = hypi_thread_self();
	if (HYP_UNLIKELY(self == NULL)) { /* no memory for this thread's state: the global list takes it */
		pthread_mutex_lock(&mutex);
		ended_live--;
		t->next_free = free_slots;
		free_slots = t;
		pthread_mutex_unlock(&mutex);
		return;
	}
	hypi_store_relaxed(&self->live, self->live - 1);
	t->next_free = self->free;
	self->free = t;
	if (HYP_UNLIKELY(++self->free_count > CACHE_SLOTS)) drain(self);
}

uint64_t hyp_tensor_live_count(void) {
	pthread_mutex_lock(&mutex);
	int64_t sum = ended_live;
	for (struct hypi_thread *t = threads; t != NULL; t = t->next) sum += hypi_load_relaxed(&t->live);
	pthread_mutex_unlock(&mutex);
	return sum < 0 ? 0 : (uint64_t)sum;
}

hyp_status hyp_tensor_weaken(const hyp_tensor *tensor, hyp_tensor_weak *ret_weak) {
	HYPI_CHECK_TENSOR(tensor);
	HYPI_CHECK_RET(ret_weak);
	hyp_tensor *t = (hyp_tensor *)(uintptr_t)tensor;
	hypi_store_relaxed(&t->weakened, true);
	uint64_t life = hypi_load_relaxed(&t->life);
	*ret_weak = (life & ~(uint64_t)UINT32_MAX) | tensor->slot;
	return HYP_OK;
}

hyp_status hyp_tensor_weak_lock(hyp_tensor_weak weak, hyp_tensor **ret_tensor) {
	HYPI_CHECK_RET(ret_tensor);
	hyp_tensor *t = weak == 0 ? NULL : slot_at((uint32_t)weak);
	if (t == NULL) return hypi_fail(HYP_ERR_INVALID, "argument weak: no tensor ever had this handle");
	uint64_t life = hypi_load_acquire(&t->life);
	do {
		if (life >> 32 != weak >> 32 || (uint32_t)life == 0)
			return hypi_fail(HYP_ERR_STALE, "argument weak: the tensor was freed");
	} while (
		!atomic_compare_exchange_weak_explicit(&t->life, &life, life + 1, memory_order_acquire, memory_order_acquire));
	*ret_tensor = t;
	return HYP_OK;
}
