/*
 * remote_free.pml: the protocol by which a block freed by another thread comes back: a model for spin.
 *
 * Modelled, one atomic step for each atomic access of the code:
 *   core/span.c  hypi_span_push_remote  push: the chain's head, its count and HYPI_PENDING change in one exchange; who
 *                                       finds PENDING clear must stack the span
 *                hypi_span_collect      taking the chain, PENDING kept
 *   heap/remote.c push                  stacking the span on the owner's pending stack; hypi_heap_reclaim
 *   heap/heap.c  hypi_heap_drain        taking the whole stack, clearing PENDING span by span, collecting; an empty
 *                give_back              span goes back at once, unless PENDING is set
 *   heap/thread.c hypi_heap_abandon     the thread ends: a last drain, the orphan state, and one more look
 *                adopt                  another thread takes the orphan (ADOPT)
 *
 * One heap with one span of BLOCKS blocks, all out at the start; each of BLOCKS threads frees one of them. That is the
 * protocol's worst: the last free makes the span empty, and whoever sees it gives it back.
 *
 * Properties:
 *   a pusher touches the span's record (its `remote`, its pending link) only while it is not freed (assert in TOUCH);
 *   a span is freed once, by one thread at a time in the owner's place (asserts in the drain);
 *   no block is lost: when every thread has stopped, all blocks were collected and the span was given back (the end
 *   assertion in init).
 * The owner's ordinary slow path also collects between; that is drain at arbitrary times, which OWNER_DRAINS covers.
 *
 * BUG=1 frees an empty span though PENDING is set; BUG=2 leaves out the last look of the abandoning thread; BUG=3
 * reclaims without taking the state first; BUG=4 does not look again after a reclaim. Each must make spin find an error (tests/spin/meson.build).
 */
#ifndef BUG
#define BUG 0
#endif
#ifndef ADOPT
#define ADOPT 0
#endif
#define BLOCKS 3
#define OWNER_DRAINS 1

mtype = { OWNED, ORPHAN };

byte chain = 0;       /* blocks in span->remote */
bool pending = false; /* HYPI_PENDING in span->remote */
bool stacked = false; /* the span is on heap->pending */
bool freed = false;   /* the record was given back */
byte out = BLOCKS;    /* span->out, the owner's count */
mtype state = OWNED;  /* heap->state */
byte in_charge = 1;   /* threads that act as the heap's owner */
byte ended = 0;

#define TOUCH assert(!freed)

/* hypi_heap_drain, by whoever is in charge. The stack holds the one span or nothing. */
inline drain() {
	bool mine = false;
	byte got = 0;
	assert(in_charge == 1);
	atomic { mine = stacked; stacked = false; }             /* exchange of heap->pending */
	if
	:: mine ->
		atomic { TOUCH; pending = false; }                  /* fetch_and of span->remote */
		if
		:: chain > 0 -> atomic { TOUCH; got = chain; chain = 0; out = out - got; }  /* hypi_span_collect */
		:: else
		fi;
		if
		:: out == 0 && (!pending || BUG == 1) -> atomic { assert(!freed); freed = true; } /* give_back */
		:: else
		fi
	:: else
	fi;
	mine = false;
	got = 0
}

/* heap/remote.c hypi_heap_reclaim: as long as something is stacked on an orphan */
inline reclaim() {
	bool took = false;
	do
	:: true ->
#if BUG == 3
		atomic { took = (state == ORPHAN); if :: took -> in_charge++ :: else fi }
#else
		atomic {                                            /* compare-and-swap of heap->state */
			took = (state == ORPHAN);
			if
			:: took -> state = OWNED; in_charge++
			:: else
			fi
		}
#endif
		if
		:: took ->
			drain();
			atomic { state = ORPHAN; in_charge--; }
		:: else -> break
		fi;
#if BUG == 4
		break;
#endif
		if
		:: stacked                                          /* pushed by who saw the state taken: once more */
		:: else -> break
		fi
	od;
	took = false
}

/* heap/remote.c push, for a chain of one block */
proctype pusher() {
	bool first = false;
	atomic { TOUCH; first = !pending; pending = true; chain++; }  /* the exchange that succeeds */
	if
	:: first ->
		TOUCH;                                              /* store of span->pending_next */
		atomic { assert(!stacked); stacked = true; }        /* exchange of heap->pending that succeeds */
	:: else
	fi;
	if
	:: state == ORPHAN -> reclaim()
	:: else
	fi;
	ended++
}

/* heap/thread.c: the owner drains now and then, and ends */
proctype owner() {
	byte turns = 0;
	do
	:: turns < OWNER_DRAINS -> drain(); turns++
	:: break
	od;
	drain();                                                /* hypi_heap_trim in hypi_heap_abandon */
	atomic { state = ORPHAN; in_charge--; }
#if BUG != 2
	if
	:: stacked -> reclaim()                                 /* once more, for who pushed before the state changed */
	:: else
	fi;
#endif
	ended++
}

#if ADOPT
/* Another thread takes the heap, uses it, and ends. */
proctype adopter() {
	bool adopted = false;
	atomic {
		if
		:: state == ORPHAN -> state = OWNED; adopted = true; in_charge++
		:: true
		fi
	}
	if
	:: adopted ->
		drain();
		drain();
		atomic { state = ORPHAN; in_charge--; }
		if
		:: stacked -> reclaim()
		:: else
		fi
	:: else
	fi;
	ended++
}
#endif

init {
	byte i = 0;
	atomic {
		run owner();
#if ADOPT
		run adopter();
#endif
		do
		:: i < BLOCKS -> run pusher(); i++
		:: else -> break
		od
	}
	(ended == BLOCKS + 1 + ADOPT);
	assert(in_charge == 0 && state == ORPHAN);
	assert(chain == 0 && !stacked && !pending && out == 0);
	assert(freed)
}
