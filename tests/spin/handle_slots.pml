/*
 * handle_slots.pml: the lists of free slots behind handles, of a heap that one thread after another is in charge of, and
 * that others free to: a model for spin.
 *
 * Modelled, one atomic step for each access of the code (lib/pool/handle.c):
 *   take_slot   the heap's thread: its own list; when that is empty, all of slots_back by one exchange; else a new slot
 *   give_slot   the heap's thread: to its own list; another: load slots_back, store the slot's record, compare-and-swap
 *   free        one compare-and-swap of the state from live to free, then the block is read from the slot, then give_slot
 *   the thread's end, and the adoption of its heap (heap/thread.c), which hands the own list on as it is
 *
 * A slot's `record` has two meanings, as in the code: what belongs to the block while it is live, the next free slot after.
 *
 * Properties: a slot that is handed out is free; a block is read from its slot before anything else stands there; when all
 * threads have ended, each slot is live, or once in one of the lists, or new.
 *
 * Not modelled: pins (handle_pin.pml); generations, which make the state's compare-and-swap fail for a handle of an earlier
 * life; weak memory: the release and acquire named in the code order `record` with the exchange.
 *
 * BUG=1: slots_back is loaded and then cleared, not exchanged; BUG=2: the block is read after the slot was
 * given; BUG=3: the heap is adopted before its thread has ended; BUG=4: free looks at the state and then stores it; BUG=5:
 * another thread gives to the heap's own list. Each must make spin find an error.
 */
#ifndef BUG
#define BUG 0
#endif

#define SLOTS 2
#define BLOCK 9     /* a record that belongs to a live block */
#define THREADS 4

bool live[3];       /* LIVE in the slot's state; slots are 1 to SLOTS */
byte record[3];
byte own = 0;       /* heap->slots; 0: none */
byte back = 0;      /* heap->slots_back */
byte carved = 0;
bool orphan = false;
byte finished = 0;

inline give(s, mine) {
	if
	:: mine || BUG == 5 ->
		record[s] = own;
		own = s
	:: else ->
		given = false;
		do
		:: given -> break
		:: !given ->
			top = back;
			record[s] = top;
			atomic {
				if
				:: back == top -> back = s; given = true
				:: else -> skip
				fi
			}
		od
	fi
}

/* Frees slot `s` if it is live. */
inline free_slot(s, mine) {
	won = false;
#if BUG == 4
	if
	:: live[s] -> won = true
	:: else -> skip
	fi;
	if
	:: won -> live[s] = false
	:: else -> skip
	fi;
#else
	atomic {
		if
		:: live[s] -> live[s] = false; won = true
		:: else -> skip
		fi
	}
#endif
	if
	:: won ->
#if BUG == 2
		give(s, mine);
		assert(record[s] == BLOCK)
#else
		assert(record[s] == BLOCK);
		give(s, mine)
#endif
	:: else -> skip
	fi
}

inline take() {
	got = 0;
	if
	:: own == 0 && back != 0 ->
#if BUG == 1
		next = back;
		back = 0;
#else
		atomic { next = back; back = 0 };
#endif
		own = next
	:: else -> skip
	fi;
	if
	:: got == 0 && own != 0 ->
		got = own;
		own = record[got]
	:: got == 0 && own == 0 && carved < SLOTS -> carved++; got = carved
	:: else -> skip
	fi
}

/* In charge of the heap, one after the other. */
proctype heap_thread(bool adopts) {
	byte rounds = 0, got = 0, top = 0, next = 0;
	bool given = false, won = false;
	if
	:: adopts ->
		atomic {
			if
			:: orphan -> orphan = false
#if BUG == 3
			:: !orphan -> skip
#endif
			fi
		}
	:: else -> skip
	fi;
	do
	:: rounds == (adopts -> 2 : 3) -> break
	:: rounds < (adopts -> 2 : 3) ->
		rounds++;
		if
		:: true ->
			take();
			if
			:: got != 0 ->
				assert(!live[got]);
				record[got] = BLOCK;
				assert(!live[got]);
				live[got] = true
			:: else -> skip
			fi
		:: live[1] -> free_slot(1, true)
		:: live[2] -> free_slot(2, true)
		fi
	od;
	atomic { orphan = true; finished++ }
}

/* Frees handles of that heap. */
proctype other() {
	byte rounds = 0, top = 0;
	bool given = false, won = false;
	do
	:: rounds == 2 -> break
	:: rounds < 2 ->
		rounds++;
		if
		:: live[1] -> free_slot(1, false)
		:: live[2] -> free_slot(2, false)
		:: true -> skip
		fi
	od;
	finished++
}

init {
	byte at, count[3], steps = 0;
	atomic {
		run heap_thread(false);
		run heap_thread(true);
		run other();
		run other()
	};
	finished == THREADS;
	d_step {
		at = own;
		do
		:: at == 0 || steps > SLOTS -> break
		:: else -> count[at]++; steps++; at = record[at]
		od;
		at = back;
		do
		:: at == 0 || steps > SLOTS -> break
		:: else -> count[at]++; steps++; at = record[at]
		od;
		assert(steps <= SLOTS);
		at = 1;
		do
		:: at > SLOTS -> break
		:: else ->
			assert(count[at] + (live[at] -> 1 : 0) == (at <= carved -> 1 : 0));
			at++
		od
	}
}
