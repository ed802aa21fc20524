/* os/robust.c: see os/robust.h. */
#include "os/robust.h"

#if HYP_OS_LINUX

#include <errno.h>

hyp_status hypi_robust_init(hypi_robust_lock *lock) {
	pthread_mutexattr_t attributes;
	if (pthread_mutexattr_init(&attributes) != 0) return HYP_ERR_NO_MEMORY;
	bool done = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0 &&
	            pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0 &&
	            pthread_mutex_init(&lock->mutex, &attributes) == 0;
	pthread_mutexattr_destroy(&attributes);
	return done ? HYP_OK : HYP_ERR_UNSUPPORTED;
}

hyp_status hypi_robust_take(hypi_robust_lock *lock, bool *ret_died) {
	int result = pthread_mutex_lock(&lock->mutex);
	if (result != 0 && result != EOWNERDEAD) return HYP_ERR_CORRUPT;
	*ret_died = result == EOWNERDEAD;
	return HYP_OK;
}

void hypi_robust_repaired(hypi_robust_lock *lock) { pthread_mutex_consistent(&lock->mutex); }
void hypi_robust_unlock(hypi_robust_lock *lock) { pthread_mutex_unlock(&lock->mutex); }

#else

hyp_status hypi_robust_init(hypi_robust_lock *lock) {
	(void)lock;
	return HYP_ERR_UNSUPPORTED;
}
hyp_status hypi_robust_take(hypi_robust_lock *lock, bool *ret_died) {
	(void)lock;
	(void)ret_died;
	return HYP_ERR_CORRUPT;
}
void hypi_robust_repaired(hypi_robust_lock *lock) { (void)lock; }
void hypi_robust_unlock(hypi_robust_lock *lock) { (void)lock; }

#endif
