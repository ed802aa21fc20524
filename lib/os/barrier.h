/*
 * os/barrier.h: a memory barrier on every processor that runs a thread of this process.
 *
 * One side of a Dekker protocol that is taken all the time then needs none of its own: a compiler barrier will do. The
 * other, rare side pays for both with a system call (Linux membarrier, Desnoyers 2010; "biased" pins as in Vasudevan,
 * Namjoshi, Edwards 2010).
 */
#ifndef HYPI_OS_BARRIER_H
#define HYPI_OS_BARRIER_H

#include "base/compiler.h"

/* Whether this process may use hypi_os_barrier; asks the system once. */
bool hypi_os_barrier_ready(void);

/* False: the system refused after all (a sandbox set up since); no barrier happened. errno is kept. */
bool hypi_os_barrier(void);

#endif
