/*
 * tracking/profile.h: what the sampler picked, by call site.
 *
 * Owns two tables under one lock: the call sites (a stack of return addresses each, with counts) and the picked blocks
 * that live (by address). Both are in mappings of their own; nothing is added to a block. Counts are kept twice: as
 * picked, and scaled to what they stand for.
 *
 * Lock: profile lock. It is taken inside no lock but the sample lock (by on_look, which only tries), and outside
 * metadata's. Nothing under it allocates from the heap.
 */
#ifndef HYPI_TRACKING_PROFILE_H
#define HYPI_TRACKING_PROFILE_H

#include "base/atomic.h"
#include "os/os.h"

#include <hypool/status.h>

/* Of what every tracked program runs now and then: placed beside the heap's own code. The kernel maps code 64 KiB at a
 * time, so one call elsewhere costs that. */
#define HYPI_NEAR __attribute__((hot))

enum { HYPI_FRAMES = 48 }; /* of a stack that are kept, innermost */

typedef struct hypi_site {
	uint64_t hash;
	uint32_t first, depth; /* in the table of frames */
	uint32_t first_ms, last_ms;
	uint32_t pool; /* its number: tracking/pools.h */
	/* As picked. */
	uint64_t picks, pick_bytes;           /* allocations, usable bytes */
	uint64_t live_picks, live_pick_bytes; /* of them not freed */
	uint64_t freed_picks, life_ms;        /* freed, and the sum of their lifetimes */
	uint64_t brief_picks;                 /* freed within HYPI_BRIEF_MS */
	/* Scaled. */
	double count, bytes, live_count, live_bytes; /* bytes as asked for */
	double peak_bytes;                           /* highest live_bytes */
	double at_peak_bytes, at_peak_count; /* live at the process's peak, when peak_epoch is current; else live_* are */
	uint64_t peak_epoch;
	double slack_bytes; /* usable minus asked, of all */
	/* Filled by the search for leaks. */
	double lost_count, lost_bytes;
	uint64_t lost_picks;
} hypi_site;

#define HYPI_BRIEF_MS 10u

typedef struct hypi_pick {
	uintptr_t address; /* 0: free entry */
	uint64_t asked;
	uint32_t site, born_ms;
	float scale;
	uint32_t slack; /* usable minus asked; at most UINT32_MAX */
} hypi_pick;

typedef struct hypi_profile {
	hypi_lock lock;
	hypi_site *sites; /* [0] takes what has no room of its own */
	uint32_t site_count;
	uint32_t *site_index;   /* by hash; 0: free */
	uint32_t index_entries; /* of it in use, a power of two */
	uintptr_t *frames;
	uint32_t frame_count;
	hypi_pick *picks;
	size_t pick_count, pick_capacity; /* capacity is a power of two */
	uint64_t mean_bytes;              /* last used; 0: never ran */
	bool mixed;                       /* there was more than one mean */
	bool leaks_searched;
	bool running, partial;         /* partial: some allocation before or between was not followed */
	uint64_t start_ms, lost_picks; /* lost: no memory for the table */
	double live_bytes, peak_live_bytes, total_bytes, total_count;
	uint32_t peak_ms;
	uint64_t peak_epoch;       /* rises with every new peak */
	_Atomic uint64_t live_now; /* live_bytes for readers without the lock */
} hypi_profile;

enum { HYPI_SITES = 1 << 16, HYPI_ALL_FRAMES = 1 << 20 };

extern hypi_profile hypi_profile_data;

/* Milliseconds since the profile started; what times are in. */
uint32_t hypi_profile_now_ms(void);

/* Takes the lock; the tables stand still until hypi_profile_unlock. */
void hypi_profile_lock(void);
void hypi_profile_unlock(void);

HYP_INLINE const uintptr_t *hypi_site_frames(const hypi_site *site) { return hypi_profile_data.frames + site->first; }

/* Makes the tables and has pools of `mean_bytes` told of; the process's own mean stays. */
HYP_MUST_USE hyp_status hypi_profile_ready(uint64_t mean_bytes);

/* Under the lock: fills the index, which is empty, with the sites. */
void hypi_profile_reindex(void);

/* Under the lock: forgets blocks of pools that were emptied meanwhile. Before anything is reported. */
void hypi_profile_refresh(void);

/* What a site held at the process's peak. Under the lock. */
void hypi_site_at_peak(const hypi_site *site, double *ret_bytes, double *ret_count);

/* How far the figures of what a site lost can be relied on, in percent: 100 when every allocation was followed, else 100
 * less the relative standard error of an estimate from so many picks. Under the lock. */
unsigned hypi_site_confidence(const hypi_site *site);

/* The pick of a block; NULL: none. Under the lock. */
hypi_pick *hypi_profile_pick_of(uintptr_t address);

#endif
