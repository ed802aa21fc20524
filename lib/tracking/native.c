/*
 * tracking/native.c: hypool's own report: everything that is known, a line each, for `hypool report` and `hypool diff`.
 *
 * The first word of a line names it; numbers are decimal, the last field runs to the end of the line:
 *   hypool-report 2                      the format and its version; always first
 *   meta KEY VALUE                       pid, command, mean_bytes, duration_ms, exact, ...
 *   stat NAME VALUE                      include/hypool/stats.def
 *   class BYTES ALLOCATIONS FREES ACTIVE SPAN_BYTES
 *   tick MS COMMITTED RESIDENT LIVE
 *   module START END OFFSET BUILD_ID PATH     hexadecimal addresses
 *   frame ID PC MODULE NAME              MODULE counts modules from 1; 0: none
 *   site ID COUNT BYTES LIVE_COUNT LIVE_BYTES PEAK_BYTES BRIEF LIFE_MS FIRST_MS LAST_MS SLACK LOST_COUNT LOST_BYTES
 *        AT_PEAK_COUNT AT_PEAK_BYTES POOL FRAMES...
 *   confidence ID PERCENT                    of what the site of that number, which stands before it, lost
 *   pool NUMBER GONE COMMITTED LIMIT LIVE_BYTES LIVE_COUNT ALLOCATIONS ALLOCATED_BYTES FAILURES LEVEL NAME
 *   anomaly KIND FROM_MS TO_MS BYTES SCORE   of hyp_timeline_anomalies; BYTES may be negative
 *   arena BASE SLICES SLICE_BYTES MAP    one character for a group of slices: '0' free to '8' full
 *   advice KIND BYTES TEXT               of tracking/patterns.h
 *   end                                  a report without it was cut off
 */
#include "heap/stats.h"
#include "tracking/box.h"
#include "tracking/patterns.h"
#include "tracking/pools.h"
#include "tracking/timeline.h"
#include "tracking/write.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long long ull;

static ull count_of(double x) { return hypi_whole(x + 0.5); }

static void write_command(hypi_out *out) {
	char text[400];
	if (hypi_subject_command() != NULL) {
		hypi_out_format(out, "meta command %s\n", hypi_subject_command());
		return;
	}
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
	if (fd >= 0) close(fd);
	if (n <= 0) return;
	while (n > 0 && text[n - 1] == '\0') n--;
	for (ssize_t i = 0; i < n; i++)
		if (text[i] == '\0' || text[i] == '\n') text[i] = ' ';
	text[n] = '\0';
	hypi_out_format(out, "meta command %s\n", text);
}

static void write_arenas(hypi_out *out, hypi_large_pool *pool) {
	enum { GROUPS = 256 };
	hypi_lock_take(&pool->lock);
	for (const hypi_arena *arena = pool->all; arena != NULL; arena = arena->all_next) {
		uint32_t step = arena->slices > GROUPS ? arena->slices / GROUPS : 1;
		hypi_out_format(out, "arena %lx %u %zu ", arena->base, arena->slices, HYPI_SLICE_BYTES);
		for (uint32_t first = 0; first < arena->slices; first += step) {
			uint32_t used = 0;
			for (uint32_t i = first; i < first + step; i++) used += (uint32_t)(arena->used[i / 64] >> (i % 64) & 1);
			hypi_out_format(out, "%c", '0' + (char)((used * 8 + step - 1) / step));
		}
		hypi_out_format(out, "\n");
	}
	hypi_unlock(&pool->lock);
}

/* The number of an engine's pool when call sites were seen there; else 1024 on. */
static uint32_t number_of(const hypi_engine *engine, uint32_t *other) {
	if (engine == &hypi_default_engine) return 0;
	for (uint32_t i = 1; i < hypi_tracked_pool_count(); i++)
		if (hypi_tracked_pool_at(i)->serial == engine->serial) return i;
	return (*other)++;
}

/* Pools that exist, and those that are gone but whose call sites are here. */
static void write_pools(hypi_out *out) {
	uint32_t other = HYPI_TRACKED_POOLS;
	hypi_lock_take(&hypi_engines_lock);
	for (hypi_engine *e = hypi_engines; e != NULL; e = e->next) {
		if (e->pool == NULL && e != &hypi_default_engine) continue;
		hyp_stats stats;
		hypi_engine_stats(e, &stats);
		hypi_out_format(out, "pool %u 0 %llu %llu %llu %llu %llu %llu %llu %d %s\n", number_of(e, &other),
		                (ull)stats.committed_bytes, (ull)(e->large.small_limit_bytes + e->large.limit_bytes),
		                (ull)stats.current_bytes, (ull)stats.active, (ull)stats.allocations, (ull)stats.allocated_bytes,
		                (ull)stats.failures, (int)hyp_tracking_get_pool_level((hyp_pool *)e),
		                hyp_pool_name((hyp_pool *)e));
	}
	hypi_unlock(&hypi_engines_lock);
	for (uint32_t i = 1; i < hypi_tracked_pool_count(); i++)
		if (hypi_tracked_pool_is_stale(i))
			hypi_out_format(out, "pool %u 1 0 0 0 0 0 0 0 0 %s\n", i, hypi_tracked_pool_at(i)->name);
}

/* Of a process that is gone: what its call sites say. */
static void write_known_pools(hypi_out *out) {
	const hypi_profile *p = &hypi_profile_data;
	for (uint32_t i = 0; i < hypi_tracked_pool_count(); i++) {
		double bytes = 0, count = 0;
		for (uint32_t k = 0; k < p->site_count; k++) {
			if (p->sites[k].pool != i) continue;
			bytes += p->sites[k].live_bytes;
			count += p->sites[k].live_count;
		}
		hypi_out_format(out, "pool %u 0 0 0 %llu %llu 0 0 0 0 %s\n", i, count_of(bytes), count_of(count),
		                hypi_tracked_pool_at(i)->name);
	}
}

static void write_numbers(hypi_out *out) {
	hyp_stats stats;
	hypi_subject_stats(&stats);
#define HYP_STAT_X(name, kind, doc) hypi_out_format(out, "stat " #name " %llu\n", (ull)stats.name);
#include <hypool/stats.def>
#undef HYP_STAT_X
	hyp_class_stats classes[HYPI_CLASSES];
	hypi_subject_classes(classes);
	for (unsigned c = 0; c < HYPI_CLASSES; c++)
		if (classes[c].allocations != 0)
			hypi_out_format(out, "class %zu %llu %llu %llu %llu\n", classes[c].block_bytes, (ull)classes[c].allocations,
			                (ull)classes[c].frees, (ull)classes[c].active, (ull)classes[c].span_bytes);
	hypi_tick ticks[HYPI_TICKS];
	unsigned count = hypi_timeline_ticks(ticks, HYPI_TICKS);
	for (unsigned i = 0; i < count; i++)
		hypi_out_format(out, "tick %llu %llu %llu %llu\n", (ull)ticks[i].ms, (ull)ticks[i].committed_bytes,
		                (ull)ticks[i].resident_bytes, count_of(ticks[i].live_bytes));
}

static void write_anomalies(hypi_out *out) {
	static const char *const kinds[] = {"jump", "drop", "peak"};
	hyp_anomaly found[16];
	hypi_tick ticks[HYPI_TICKS];
	unsigned count =
		hypi_timeline_find_anomalies(ticks, hypi_timeline_ticks(ticks, HYPI_TICKS), found, HYP_ARRAY_LEN(found));
	for (unsigned i = 0; i < count; i++)
		hypi_out_format(out, "anomaly %s %llu %llu %s%llu %llu\n", kinds[found[i].kind], (ull)found[i].from_ms,
		                (ull)found[i].to_ms, found[i].bytes < 0 ? "-" : "",
		                (ull)(found[i].bytes < 0 ? -found[i].bytes : found[i].bytes), count_of(found[i].score));
}

static void write_modules(hypi_out *out, const hypi_symbols *symbols) {
	const hypi_module *modules = (const hypi_module *)(const void *)symbols->modules.at;
	for (size_t i = 0; i < symbols->module_count; i++)
		hypi_out_format(out, "module %lx %lx %lx %s %s\n", modules[i].start, modules[i].end, modules[i].offset,
		                modules[i].build_id[0] == '\0' ? "-" : modules[i].build_id,
		                hypi_symbols_text(symbols, modules[i].path));
	const hypi_symbol *all = (const hypi_symbol *)(const void *)symbols->symbols.at;
	for (size_t i = 0; i < symbols->symbol_count; i++) {
		char name[512];
		hypi_symbols_name(symbols, all[i].pc, name, sizeof name);
		hypi_out_format(out, "frame %zu %lx %u %s\n", i + 1, all[i].pc, all[i].module, name);
	}
}

static void write_sites(hypi_out *out, const hypi_symbols *symbols) {
	const hypi_profile *p = &hypi_profile_data;
	for (uint32_t i = 0; i < p->site_count; i++) {
		const hypi_site *site = &p->sites[i];
		if (site->picks == 0) continue;
		double scale = site->count / (double)site->picks, peak_bytes, peak_count;
		hypi_site_at_peak(site, &peak_bytes, &peak_count);
		hypi_out_format(out, "site %u %llu %llu %llu %llu %llu %llu %llu %u %u %llu %llu %llu %llu %llu %u", i,
		                count_of(site->count), count_of(site->bytes), count_of(site->live_count),
		                count_of(site->live_bytes), count_of(site->peak_bytes),
		                count_of((double)site->brief_picks * scale), count_of((double)site->life_ms * scale),
		                site->first_ms, site->last_ms, count_of(site->slack_bytes), count_of(site->lost_count),
		                count_of(site->lost_bytes), count_of(peak_count), count_of(peak_bytes), site->pool);
		for (uint32_t k = 0; k < site->depth; k++) {
			const hypi_symbol *symbol = hypi_symbols_find(symbols, hypi_site_frames(site)[k]);
			const hypi_symbol *all = (const hypi_symbol *)(const void *)symbols->symbols.at;
			hypi_out_format(out, " %zu", symbol == NULL ? 0 : (size_t)(symbol - all) + 1);
		}
		hypi_out_format(out, "\n");
		if (site->lost_picks != 0) hypi_out_format(out, "confidence %u %u\n", i, hypi_site_confidence(site));
	}
}

static void write_advice(void *context, const hypi_advice *advice) {
	hypi_out_format(context, "advice %s %llu %s\n", advice->kind, (ull)advice->bytes, advice->text);
}

void hypi_write_native(const hypi_symbols *symbols, hypi_bytes *to) {
	const hypi_profile *p = &hypi_profile_data;
	hypi_out out;
	hypi_bytes_out(to, &out);
	hypi_out_format(&out, "hypool-report 2\nmeta pid %d\nmeta ended_early %d\n", hypi_subject_pid(),
	                hypi_subject_ended());
	write_command(&out);
	hypi_out_format(&out, "meta mean_bytes %llu\nmeta exact %d\nmeta duration_ms %u\n", (ull)p->mean_bytes, !p->partial,
	                p->sites != NULL ? hypi_profile_now_ms() : 0);
	hypi_out_format(&out, "meta peak_live_bytes %llu\nmeta peak_ms %u\nmeta total_bytes %llu\nmeta total_count %llu\n",
	                count_of(p->peak_live_bytes), p->peak_ms, count_of(p->total_bytes), count_of(p->total_count));
	hypi_out_format(&out, "meta peak_heap_bytes %llu\n", (ull)hypi_patterns_peak_heap());
	hypi_out_format(&out, "meta unfollowed %llu\nmeta leaks_searched %d\n", (ull)p->lost_picks, p->leaks_searched);
	write_numbers(&out);
	write_anomalies(&out);
	write_modules(&out, symbols);
	write_sites(&out, symbols);
	if (hypi_subject_ended()) {
		write_known_pools(&out);
	} else {
		write_pools(&out);
		write_arenas(&out, &hypi_default_engine.large);
	}
	hypi_patterns_find(symbols, write_advice, &out);
	hypi_out_format(&out, "end\n");
	hypi_out_flush(&out);
}
