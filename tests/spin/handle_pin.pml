/*
 * handle_pin.pml: how a handle's block is pinned by its owner without a barrier, and taken by others: a model for spin.
 *
 * Modelled, one atomic step for each atomic access of the code (lib/pool/handle.c):
 *   hyp_handle_alloc   the owner: name := handle, then LIVE in the state, from which on others may hold the block
 *   hyp_handle_lock    the owner: name == handle, local + 1, signal fence, name == handle once more, else local - 1
 *   hyp_handle_unlock  the owner: local - 1
 *   lock_shared, unlock_shared  another thread: compare-and-swap of the state's count
 *   hold               whoever frees or moves: compare-and-swap to HELD, name := nothing, hypi_os_barrier, look at local
 *   let_go             name := handle, then HELD cleared; free_held: LIVE and HELD cleared, one generation on
 *
 * The owner's store to `local` goes through a store buffer of one entry, as x86 and ARM have it: it is written to memory
 * at any later time (drain_store), at the latest when the owner stores again. The barrier empties it (membarrier
 * interrupts every running thread). Its own loads of `local` see the buffer. After the start
 * `name` is stored by the holder alone.
 *
 * Properties: while the owner or another thread uses the address, nobody moves or frees the block (asserts in use), two
 * never hold it at once; a freed handle locks nobody; the pins of a block that is freed add up to none.
 *
 * Not modelled: the owner's own free, which is one compare-and-swap on its own thread; the list of free slots (handle_slots.pml).
 *
 * BUG=1 leaves the barrier out; BUG=2 looks at `local` before the name is taken away only; BUG=3: the owner does not look
 * at the name again; BUG=4: let_go clears HELD of a block that was freed; BUG=5: the block is live before it has its name. Each must make spin find an error.
 */
#ifndef BUG
#define BUG 0
#endif

bool name = false;    /* slot->name is the handle */
bool live = false;    /* LIVE in slot->state, in the handle's generation */
bool held = false;    /* HELD there */
byte count = 0;       /* others' locks there */
byte local_mem = 0;   /* slot->local as memory has it */
byte local_own = 0;   /* as the owner sees it: the last value it stored */
byte users = 0;       /* threads that use the address */
byte changing = 0;    /* threads that move or free the block */
byte finished = 0;    /* threads that have ended */

/* The owner's buffered store reaches memory. */
active proctype drain_store() {
end:
	do
	:: atomic { local_mem != local_own -> local_mem = local_own }
	od
}

inline store_local(value) {
	atomic { local_mem = local_own; local_own = value }  /* the entry before leaves the buffer first */
}

inline use() {
	atomic { assert(changing == 0); assert(live); users++ }
	atomic { assert(changing == 0); users-- }
}

active proctype owner() {
	byte rounds = 0;
#if BUG == 5
	live = true;
	name = true;
#else
	name = true;
	live = true;
#endif
	do
	:: rounds == 2 -> break
	:: rounds < 2 ->
		rounds++;
		if
		:: name ->
			store_local(local_own + 1);
			if
			:: (name || BUG == 3) ->
				use();
				store_local(local_own - 1)
			:: else -> store_local(local_own - 1)
			fi
		:: else -> skip /* lock_shared, which another models */
		fi
	od;
	finished++
}

active proctype other() {
	bool done = false, got = false;
	do
	:: done -> break
	:: !done ->
		atomic {
			if
			:: !live -> done = true
			:: live && !held -> count++; got = true; done = true
			:: else -> skip /* held: yield, and look again */
			fi
		}
	od;
	if
	:: got ->
		use();
		atomic { count-- }
	:: else -> skip
	fi;
	finished++
}

/* One moves the block (compaction), one frees it. */
proctype holder(bool frees) {
	bool mine = false, ended = false, pinned = false;
	do
	:: ended -> break
	:: !ended ->
		atomic {
			if
			:: !live -> ended = true                                   /* stale */
			:: live && held -> skip                                    /* yield */
			:: live && !held && (count + local_mem > 0) -> ended = true /* busy */
			:: live && !held && (count + local_mem == 0) -> held = true; mine = true; ended = true
			fi
		}
	od;
	if
	:: mine ->
		name = false;
#if BUG != 1
		atomic { local_mem = local_own };                                  /* the barrier */
#endif
#if BUG != 2
		atomic { pinned = (count + local_mem > 0) };
#endif
		if
		:: pinned -> skip
		:: else ->
			atomic { assert(users == 0); assert(changing == 0); changing++ };
			atomic { assert(users == 0); changing-- };
			if
			:: frees -> atomic { assert(held); live = false; held = false; mine = false }
			:: else -> skip
			fi
		fi;
		if
		:: mine || BUG == 4 ->
			name = true;
			held = false;
#if BUG == 4
			live = true
#endif
		:: else -> skip
		fi
	:: else -> skip
	fi;
	finished++
}

init {
	atomic { run holder(false); run holder(true) };
	(finished == 4);
	local_mem = local_own;
	assert(count + local_mem == 0);
	assert(changing == 0 && users == 0);
	assert(!(held));
	assert(name == live)
}
