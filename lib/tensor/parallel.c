/*
 * tensor/parallel.c: the threads that big operations share.
 *
 * One team a process, started by the first operation that is big enough, as wide as the option tensor_threads says or
 * as the cores of this process by hwloc. Each worker binds itself to a core of its own and not to where the thread
 * that started it happens to be bound: some programs bind their main thread, and a team that inherits that shares one
 * core. One caller has the team at a time; another caller, and a nested call, does its work alone. Workers spin for a
 * moment after their work and then sleep.
 *
 * Locks: `turn` is held by the caller that has the team; `mutex` guards the fields and the two conditions. Ranges are
 * claimed from an atomic counter. A worker joins a job as long as it is open; a caller that has no range left closes it
 * and waits for those that joined, not for those that still sleep: on a busy machine they may sleep for long. After a
 * fork the child has no workers and starts its own team.
 */
#include "tensor/parallel.h"

#include "device/topology.h"
#include "tensor/internal.h"

#include <hypool/option.h>

#include <pthread.h>

#define MAX_THREADS 256
#define RANGES_A_THREAD 4 /* finer than one each, so that a thread that was held up does not hold up the rest */
#define SPINS 4000        /* about 20 us: operations often come in quick succession */

struct job {
	hypi_range_fn *fn;
	void *context;
	int64_t total, step;
};

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER;
static pthread_cond_t done = PTHREAD_COND_INITIALIZER;
static struct job job;                     /* written by the caller under mutex while no worker is active */
static bool open;                          /* may workers still join the job? under mutex */
static _Atomic int64_t next_range;         /* start of the next unclaimed range */
static _Atomic uint64_t job_number;        /* raised under mutex; workers spin on it */
static unsigned active;                    /* workers that joined the job and are not done; under mutex */
static unsigned started;                   /* workers that exist; under turn and mutex */
static pthread_t workers[MAX_THREADS];     /* [started] */
static uint64_t first_unseen[MAX_THREADS]; /* the last job before a worker was made; written before it starts */
static bool stopping;                      /* under mutex */
static _Atomic unsigned width;             /* 0: not decided yet */
static HYP_TLS bool inside;                /* this thread is running a range */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fork_prepare(void) {
	pthread_mutex_lock(&turn);
	pthread_mutex_lock(&mutex);
}

static void fork_parent(void) {
	pthread_mutex_unlock(&mutex);
	pthread_mutex_unlock(&turn);
}

static void fork_child(void) {
	started = 0;
	active = 0;
	open = false;
	(void)pthread_cond_init(&work, NULL);
	(void)pthread_cond_init(&done, NULL);
	pthread_mutex_unlock(&mutex);
	pthread_mutex_unlock(&turn);
}

static void start(void) { (void)pthread_atfork(fork_prepare, fork_parent, fork_child); }

unsigned hypi_parallel_width(void) {
	unsigned w = hypi_load_relaxed(&width);
	if (HYP_LIKELY(w != 0)) return w;
	uint64_t asked;
	if (hyp_option_number("tensor_threads", &asked) != HYP_OK) asked = 0;
	w = asked != 0 ? (unsigned)(asked < MAX_THREADS ? asked : MAX_THREADS) : hypi_topology_process_cores();
	if (w == 0) w = 1;
	if (w > MAX_THREADS) w = MAX_THREADS;
	unsigned expected = 0;
	(void)atomic_compare_exchange_strong_explicit(&width, &expected, w, memory_order_relaxed, memory_order_relaxed);
	return hypi_load_relaxed(&width);
}

static void run_ranges(const struct job *j) {
	inside = true;
	for (;;) {
		int64_t begin = atomic_fetch_add_explicit(&next_range, j->step, memory_order_relaxed);
		if (begin >= j->total) break;
		j->fn(j->context, begin, j->total - begin < j->step ? j->total : begin + j->step);
	}
	inside = false;
}

static void pause_cpu(void) {
#if HYP_CPU_X86_64
	__builtin_ia32_pause();
#else
	atomic_signal_fence(memory_order_seq_cst);
#endif
}

static void *worker(void *argument) {
	unsigned index = (unsigned)(uintptr_t)argument;
	hypi_topology_bind_worker(index + 1);
	uint64_t seen = first_unseen[index];
	for (;;) {
		for (int i = 0; i < SPINS && hypi_load_relaxed(&job_number) == seen; i++) pause_cpu();
		pthread_mutex_lock(&mutex);
		while (hypi_load_relaxed(&job_number) == seen && !stopping) pthread_cond_wait(&work, &mutex);
		bool stop = stopping;
		seen = hypi_load_relaxed(&job_number);
		struct job mine = job;
		bool joined = open && !stop;
		if (joined) active++;
		pthread_mutex_unlock(&mutex);
		if (stop) return NULL;
		if (!joined) continue;
		run_ranges(&mine);
		pthread_mutex_lock(&mutex);
		if (--active == 0) pthread_cond_signal(&done);
		pthread_mutex_unlock(&mutex);
	}
}

/* Under turn. A thread that cannot be had is done without. */
static void start_workers(unsigned wanted) {
	pthread_once(&once, start);
	while (started < wanted) {
		first_unseen[started] = hypi_load_relaxed(&job_number);
		if (pthread_create(&workers[started], NULL, worker, (void *)(uintptr_t)started) != 0) return;
		started++;
	}
}

static void stop_workers(void) {
	pthread_mutex_lock(&mutex);
	stopping = true;
	pthread_cond_broadcast(&work);
	pthread_mutex_unlock(&mutex);
	for (unsigned i = 0; i < started; i++) (void)pthread_join(workers[i], NULL);
	started = 0;
	pthread_mutex_lock(&mutex);
	stopping = false;
	pthread_mutex_unlock(&mutex);
}

void hypi_parallel(int64_t total, int64_t grain, hypi_range_fn *fn, void *context) {
	unsigned w;
	if (total <= grain || inside || (w = hypi_parallel_width()) == 1 || pthread_mutex_trylock(&turn) != 0) {
		if (total > 0) fn(context, 0, total);
		return;
	}
	start_workers(w - 1);
	int64_t step = (total / ((int64_t)w * RANGES_A_THREAD) + grain) / grain * grain;
	if (step < grain) step = grain;
	pthread_mutex_lock(&mutex);
	job = (struct job){fn, context, total, step};
	hypi_store_relaxed(&next_range, 0);
	open = true;
	(void)hypi_add_relaxed(&job_number, 1);
	pthread_cond_broadcast(&work);
	pthread_mutex_unlock(&mutex);
	struct job mine = {fn, context, total, step};
	run_ranges(&mine);
	pthread_mutex_lock(&mutex);
	open = false;
	while (active != 0) pthread_cond_wait(&done, &mutex);
	pthread_mutex_unlock(&mutex);
	pthread_mutex_unlock(&turn);
}

hyp_status hyp_tensor_set_threads(unsigned threads) {
	if (threads > MAX_THREADS) return hypi_fail(HYP_ERR_INVALID, "argument threads: more than %d", MAX_THREADS);
	if (inside) return hypi_fail(HYP_ERR_BUSY, "called from inside an operation");
	unsigned w = threads != 0 ? threads : hypi_topology_process_cores();
	if (w == 0) w = 1;
	pthread_mutex_lock(&turn);
	stop_workers();
	hypi_store_relaxed(&width, w < MAX_THREADS ? w : MAX_THREADS);
	pthread_mutex_unlock(&turn);
	return HYP_OK;
}

unsigned hyp_tensor_threads(void) { return hypi_parallel_width(); }
