/*
 * os/robust.h: a lock in shared memory that tells when its holder died (POSIX robust mutexes; the kernel keeps the list
 * of what each thread holds).
 */
#ifndef HYPI_OS_ROBUST_H
#define HYPI_OS_ROBUST_H

#include "os/os.h"

#include <pthread.h>

typedef struct hypi_robust_lock {
	pthread_mutex_t mutex;
} hypi_robust_lock;

/* In zeroed shared memory. HYP_ERR_UNSUPPORTED: this system has none. */
HYP_MUST_USE hyp_status hypi_robust_init(hypi_robust_lock *lock);

/* *ret_died: the last holder died with it; the caller holds it now and must repair what it guards, then say so with
 * hypi_robust_repaired, or the next one will be told the same. HYP_ERR_CORRUPT: it is no lock, or was given up. */
HYP_MUST_USE hyp_status hypi_robust_take(hypi_robust_lock *lock, bool *ret_died);
void hypi_robust_repaired(hypi_robust_lock *lock);
void hypi_robust_unlock(hypi_robust_lock *lock);

#endif
