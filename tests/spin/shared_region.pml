/*
 * shared_region.pml: a pool that processes share, any of which may be killed between any two stores: a model for spin.
 *
 * Modelled, one atomic step for each store that matters:
 *   os/robust.c   the robust lock: the kernel takes it from a dead holder and says so to the next, until one repairs
 *   pool/shared.c hypi_shared_lock   who is told rebuilds first, and then calls it repaired
 *                 hypi_shared_open, wait_for   the maker stores the magic number last; others wait for it
 *   pool/region.c hypi_region_take   the derived records change (the free set, the counts), and then the truth: one byte
 *                 hypi_region_give   the truth, then the derived records
 *                 hypi_region_rebuild   the derived records anew from the truth, step by step
 *
 * A region of GRANULES granules in blocks of one; PROCESSES processes each allocate a block and free it; KILLS of them may
 * be killed anywhere, also while they repair what another left.
 *
 * Properties: no block is given to two (assert in `take`); whoever has the lock, and is not repairing, finds derived
 * records that agree with the truth (assert in `agrees`, at lock and unlock); all that live come to their end (spin's
 * invalid end states), and a killed one's blocks stay its own.
 *
 * BUG=1 calls the lock repaired and lets it go before it rebuilds; BUG=2 does not rebuild; BUG=3 unlocks before it stores the truth;
 * BUG=4 stores the magic number before the records are made. Each must make spin find an error. (To call it
 * repaired first and rebuild then, without letting go, is no error: who dies meanwhile dies with the lock.)
 */
#ifndef BUG
#define BUG 0
#endif
#define GRANULES 2
#define PROCESSES 3
#define NOBODY 255

byte kills = 2;
bool magic = false;
bool truth[GRANULES];   /* kinds: a block starts here */
bool in_set[GRANULES];  /* derived: the free set */
byte used = 7;          /* derived: what an unmade region holds is anything */
byte holder = NOBODY;   /* of the lock */
bool died = false;      /* its last holder died with it, and nobody has repaired since */
byte whose[GRANULES];   /* ghost: 0, or 1 + the process that was given the block */
byte ended = 0;

#define MAY_DIE if :: atomic { kills > 0 -> kills--; goto dead } :: skip fi

inline agrees() {
	d_step {
		assert(in_set[0] == !truth[0] && in_set[1] == !truth[1]);
		assert(used == truth[0] + truth[1]);
	}
}

/* hypi_region_rebuild: a step for each record. */
inline rebuild() {
	used = 0;
	MAY_DIE;
	in_set[0] = !truth[0];
	MAY_DIE;
	used = used + truth[0];
	MAY_DIE;
	in_set[1] = !truth[1];
	MAY_DIE;
	used = used + truth[1]
}

/* hypi_shared_lock */
inline lock() {
	atomic { holder == NOBODY -> holder = me }
	MAY_DIE;
	if
	:: died ->
#if BUG == 1
		died = false;
		holder = NOBODY;
		MAY_DIE;
		atomic { holder == NOBODY -> holder = me }
#endif
#if BUG != 2
		rebuild();
		MAY_DIE;
#endif
		died = false                                        /* pthread_mutex_consistent */
	:: else
	fi;
	agrees();
	MAY_DIE
}

inline unlock() {
#if BUG != 3
	agrees();
#endif
	holder = NOBODY
}

proctype process(byte me) {
	byte g = NOBODY;
	if
	:: me == 0 ->                                           /* it makes the region; nobody locks it yet */
#if BUG == 4
		magic = true;
#endif
		used = 0;
		in_set[0] = true;
		in_set[1] = true;
		magic = true
	:: else -> magic                                        /* wait_for */
	fi;

	lock();
	if                                                      /* hypi_region_take */
	:: in_set[0] -> g = 0
	:: else ->
		if
		:: in_set[1] -> g = 1
		:: else
		fi
	fi;
	if
	:: g != NOBODY ->
		MAY_DIE;
		in_set[g] = false;
		MAY_DIE;
		used++;
		MAY_DIE;
#if BUG == 3
		unlock();
		MAY_DIE;
#endif
		atomic { assert(whose[g] == 0); truth[g] = true; whose[g] = me + 1 }
#if BUG != 3
		MAY_DIE;
		unlock();
#endif
		MAY_DIE;
		lock();                                             /* hypi_region_give */
		atomic { assert(truth[g] && whose[g] == me + 1); truth[g] = false; whose[g] = 0 }
		MAY_DIE;
		in_set[g] = true;
		MAY_DIE;
		used--;
		MAY_DIE;
		unlock()
	:: else -> unlock()
	fi;
	goto done;
dead:
	atomic {                                                /* the kernel walks the dead thread's robust list */
		if
		:: holder == me -> holder = NOBODY; died = true
		:: else
		fi
	}
done:
	ended++
}

init {
	atomic {
		run process(0);
		run process(1);
		run process(2)
	}
	(ended == PROCESSES);
	/* The next to come finds the pool whole. */
	if
	:: died -> in_set[0] = !truth[0]; in_set[1] = !truth[1]; used = truth[0] + truth[1]
	:: else
	fi;
	agrees()
}
