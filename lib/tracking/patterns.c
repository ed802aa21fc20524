/* tracking/patterns.c: see tracking/patterns.h. Each finder states its threshold; the tests have one program for each. */
#include "tracking/patterns.h"

#include "base/bits.h"
#include "heap/stats.h"
#include "tracking/box.h"
#include "tracking/profile.h"
#include "tracking/timeline.h"
#include "tracking/write.h"

#include <string.h>

typedef unsigned long long ull;

enum { MIB = 1 << 20, LEAST_PICKS = 16 };

typedef struct finder {
	const hypi_symbols *symbols;
	hypi_advice_each *each;
	void *context;
	char text[900], place[520];
} finder;

typedef struct stack_names {
	finder *f;
	const hypi_site *site;
} stack_names;

static const char *name_of(void *context, unsigned frame) {
	stack_names *s = context;
	hypi_symbols_name(s->f->symbols, hypi_site_frames(s->site)[frame], s->f->place, sizeof s->f->place);
	return s->f->place;
}

/* The first function of a stack that is not one of the allocator's own. */
static const char *place_of(finder *f, const hypi_site *site) {
	stack_names names = {f, site};
	uint32_t i = hypi_symbols_own_frames(name_of, &names, site->depth);
	hypi_format(f->place, sizeof f->place, "[unknown]");
	for (; i < site->depth; i++) {
		hypi_symbols_name(f->symbols, hypi_site_frames(site)[i], f->place, sizeof f->place);
		if (!hypi_symbols_is_allocator(f->place)) break;
	}
	return f->place;
}

static void say(finder *f, const char *kind, double bytes) {
	hypi_advice advice = {.kind = kind, .bytes = hypi_whole(bytes), .text = f->text};
	f->each(f->context, &advice);
}

/* Nearly all that a site makes is gone at once, and it is a good part of all allocations. */
static void temporary(finder *f, const hypi_site *site) {
	if (site->freed_picks < LEAST_PICKS || site->brief_picks * 10 < site->freed_picks * 9) return;
	if (site->live_picks * 10 > site->picks || site->count < 10000) return;
	if (site->bytes < 16 * MIB || site->bytes * 5 < hypi_profile_data.total_bytes) return;
	double brief = (double)site->brief_picks / (double)site->picks;
	hypi_format(f->text, sizeof f->text,
	            "%llu blocks (%llu MiB in all) of %s lived under %u ms each. Keep one buffer, or use the stack.",
	            hypi_whole(site->count * brief), hypi_whole(site->bytes * brief / MIB), place_of(f, site),
	            HYPI_BRIEF_MS);
	say(f, "temporary", site->bytes * brief);
}

/* A site that never frees, and was still at it at the end. */
static void growth(finder *f, const hypi_site *site, uint32_t now_ms) {
	if (site->picks < LEAST_PICKS || site->freed_picks * 20 > site->picks || site->live_bytes < 8 * MIB) return;
	uint32_t span_ms = site->last_ms - site->first_ms;
	if (span_ms < 200 || span_ms < now_ms / 2 || now_ms - site->last_ms > now_ms / 4) return;
	hypi_format(
		f->text, sizeof f->text,
		"%s took %llu MiB over %u ms, evenly to the end, and freed nearly none (%llu KiB/s). Bound it, or free it.",
		place_of(f, site), hypi_whole(site->live_bytes / MIB), span_ms,
		hypi_whole(site->live_bytes / 1024 * 1000 / span_ms));
	say(f, "growth", site->live_bytes);
}

static void leak(finder *f, const hypi_site *site) {
	if (site->lost_bytes <= 0) return;
	hypi_format(f->text, sizeof f->text, "%llu bytes in %llu blocks of %s: nothing points to them any more. Free them.",
	            hypi_whole(site->lost_bytes + 0.5), hypi_whole(site->lost_count + 0.5), place_of(f, site));
	say(f, "leak", site->lost_bytes);
}

/* Blocks that live for most of the run and then go: made one by one, wanted together. */
static void lifetime(finder *f, const hypi_site *site, uint32_t now_ms) {
	if (now_ms < 500 || site->freed_picks < LEAST_PICKS || site->live_picks * 10 > site->picks) return;
	if (site->bytes < 8 * MIB || site->count < 20000) return;
	uint64_t mean_ms = site->life_ms / site->freed_picks;
	if (mean_ms * 2 < now_ms) return;
	hypi_format(f->text, sizeof f->text,
	            "%llu blocks of %s lived %llu ms each, most of the run, and were freed one by one. Give them one pool.",
	            hypi_whole(site->count), place_of(f, site), (ull)mean_ms);
	say(f, "lifetime", site->bytes);
}

/* What rounding up to size classes costs at one site. */
static void slack(finder *f, const hypi_site *site) {
	if (site->picks < LEAST_PICKS || site->bytes <= 0 || site->slack_bytes * 3 < site->bytes) return;
	double at_most = site->slack_bytes / site->bytes * site->peak_bytes; /* what was held at once */
	if (at_most < MIB) return;
	hypi_format(f->text, sizeof f->text,
	            "%s asks for %llu bytes a block and gets %llu: %llu MiB of rounding. Pack several into one block.",
	            place_of(f, site), hypi_whole(site->bytes / site->count),
	            hypi_whole((site->bytes + site->slack_bytes) / site->count), hypi_whole(at_most / MIB));
	say(f, "slack", at_most);
}

/* One size class has most of very many allocations. */
static void size(finder *f, const hyp_stats *stats) {
	hyp_class_stats classes[HYPI_CLASSES];
	hypi_subject_classes(classes);
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		if (classes[c].allocations < 1000000 || classes[c].allocations * 5 < stats->allocations * 4) continue;
		hypi_format(f->text, sizeof f->text,
		            "%llu of %llu allocations were of %zu bytes or little less. A pool of that size, or one array, "
		            "serves them.",
		            (ull)classes[c].allocations, (ull)stats->allocations, classes[c].block_bytes);
		say(f, "size", (double)classes[c].allocations * (double)classes[c].block_bytes);
	}
}

/* Memory that is held for blocks that are gone: of spans that have one left at least. Those that have none wait in the
 * heaps' lists, and go back by themselves. */
static void fragmentation(finder *f, const hyp_stats *stats) {
	hyp_class_stats classes[HYPI_CLASSES];
	uint64_t held = 0, used = stats->small_bytes;
	hypi_subject_classes(classes);
	for (unsigned c = 0; c < HYPI_CLASSES; c++)
		held += classes[c].active < classes[c].spans ? classes[c].span_bytes / classes[c].spans * classes[c].active
		                                             : classes[c].span_bytes;
	if (held < 16 * MIB || used * 2 > held) return;
	hypi_format(
		f->text, sizeof f->text,
		"%llu MiB of spans hold %llu MiB of blocks: survivors keep whole spans. Allocate what lives long together.",
		(ull)(held / MIB), (ull)(used / MIB));
	say(f, "fragmentation", (double)(held - used));
}

/* Blocks of a device that live for a moment: each costs two calls of its driver, which may wait for all that it does. Of
 * the events in the ring, paired by address; a pair that another address overwrote is not counted. */
static void device(finder *f) {
	enum { DEVICES = 8, OPEN = 1024, LEAST = 64 };
	struct {
		int32_t device;
		uint64_t count, brief, bytes;
	} sums[DEVICES] = {{0}};
	struct {
		uintptr_t address;
		uint64_t ns;
		int32_t device;
	} open[OPEN] = {{0}};
	unsigned known = 0;
	const hypi_event *e;
	for (uint64_t i = 0; (e = hypi_timeline_event_at(i)) != NULL; i++) {
		if (e->device == 0 || (e->kind != HYP_EVENT_ALLOC && e->kind != HYP_EVENT_FREE)) continue;
		unsigned d = 0, at = (unsigned)hypi_mix64(e->address ^ (uint64_t)(uint16_t)e->device << 48) % OPEN;
		while (d < known && sums[d].device != e->device) d++;
		if (d == DEVICES) continue;
		if (d == known) sums[known++].device = e->device;
		if (e->kind == HYP_EVENT_ALLOC) {
			sums[d].count++;
			sums[d].bytes += e->bytes;
			open[at].address = e->address;
			open[at].ns = e->ns;
			open[at].device = e->device;
		} else if (open[at].address == e->address && open[at].device == e->device) {
			sums[d].brief += e->ns - open[at].ns < HYPI_BRIEF_MS * UINT64_C(1000000);
			open[at].address = 0;
		}
	}
	for (unsigned d = 0; d < known; d++) {
		if (sums[d].count < LEAST || sums[d].brief * 10 < sums[d].count * 9) continue;
		hypi_format(
			f->text, sizeof f->text,
			"%llu of %llu blocks (%llu KiB in all) on device %d lived under %u ms each. Keep one buffer there, or "
			"allocate in the order of a stream.",
			(ull)sums[d].brief, (ull)sums[d].count, (ull)(sums[d].bytes / 1024), (int)sums[d].device, HYPI_BRIEF_MS);
		say(f, "device", (double)sums[d].bytes);
	}
}

/* A short peak far above the usual. */
static void temporal(finder *f) {
	hypi_tick ticks[HYPI_TICKS];
	unsigned count = hypi_timeline_ticks(ticks, HYPI_TICKS), above = 0;
	double mean = 0, peak = 0;
	uint64_t peak_ms = 0;
	if (count < 8) return;
	for (unsigned i = 0; i < count; i++) {
		double live = (double)ticks[i].committed_bytes;
		mean += live / count;
		if (live > peak) {
			peak = live;
			peak_ms = ticks[i].ms;
		}
	}
	for (unsigned i = 0; i < count; i++) above += (double)ticks[i].committed_bytes > peak / 2;
	if (peak < 32 * MIB || peak < 3 * mean || above * 5 > count) return;
	hypi_format(
		f->text, sizeof f->text,
		"a peak of %llu MiB at %llu ms, %llu times the mean, in %u of %u ticks. Spread that work, or do it in parts.",
		hypi_whole(peak / MIB), (ull)peak_ms, hypi_whole(peak / mean), above, count);
	say(f, "temporal", peak - mean);
}

uint64_t hypi_patterns_peak_heap(void) {
	hyp_stats stats;
	hypi_subject_stats(&stats);
	uint64_t peak = stats.peak_committed_bytes, ticks = hypi_timeline_peak_bytes();
	uint64_t live = hypi_whole(hypi_profile_data.peak_live_bytes);
	if (ticks > peak) peak = ticks;
	return live > peak ? live : peak;
}

/* Most of what is resident never was in the heap: the reader looks for it in vain here. */
static void outside(finder *f, const hyp_stats *stats) {
	uint64_t resident = stats->peak_resident_bytes, heap = hypi_patterns_peak_heap();
	if (resident < 2 * heap || resident - heap < 32 * (uint64_t)MIB) return;
	bool python = false;
	const hypi_symbol *all = (const hypi_symbol *)(const void *)f->symbols->symbols.at;
	for (size_t i = 0; i < f->symbols->symbol_count && !python; i++)
		python = strcmp(hypi_symbols_text(f->symbols, all[i].name), "Py_RunMain") == 0;
	hypi_format(
		f->text, sizeof f->text,
		"of %llu MiB resident at the peak the heap was %llu MiB: the rest is files, stacks and what the program maps "
		"itself. %s",
		(ull)(resident / MIB), (ull)(heap / MIB),
		python ? "Python maps memory for small objects itself: PYTHONMALLOC=malloc shows them here."
			   : "Look for its own mmap calls in /proc/PID/smaps.");
	say(f, "outside", (double)(resident - heap));
}

void hypi_patterns_find(const hypi_symbols *symbols, hypi_advice_each *each, void *context) {
	finder f = {.symbols = symbols, .each = each, .context = context};
	hyp_stats stats;
	hypi_subject_stats(&stats);
	uint32_t now_ms = hypi_profile_data.sites != NULL ? hypi_profile_now_ms() : 0;
	for (uint32_t i = 0; i < hypi_profile_data.site_count; i++) {
		const hypi_site *site = &hypi_profile_data.sites[i];
		if (site->picks == 0) continue;
		temporary(&f, site);
		growth(&f, site, now_ms);
		leak(&f, site);
		lifetime(&f, site, now_ms);
		slack(&f, site);
	}
	size(&f, &stats);
	fragmentation(&f, &stats);
	temporal(&f);
	device(&f);
	outside(&f, &stats);
}
