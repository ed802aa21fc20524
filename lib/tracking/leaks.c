/*
 * tracking/leaks.c: blocks that nothing points to, by call site.
 *
 * What is lost is told from what merely lives at exit by looking for pointers (tracking/reach.h): a cache that a
 * program never frees is no leak. A word that looks like an address may hide a leak; it cannot invent one.
 * Suppressions are those of LeakSanitizer: "leak:PATTERN" a line, matched anywhere in a function's or library's name;
 * '*' stands for anything, '^' and '$' for the ends; '#' starts a comment.
 */
#include "base/bits.h"
#include "heap/heap.h"
#include "tracking/pools.h"
#include "tracking/start.h"
#include "tracking/timeline.h"
#include "tracking/write.h"

#include <hypool/tracking.h>

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef unsigned long long ull;

enum { PATTERNS_BYTES = 16384, TOP = 20 };
static char patterns[PATTERNS_BYTES]; /* each with its terminator; under the profile's lock */
static size_t patterns_used;

/* ---- suppressions ---- */

static bool glob(const char *pattern, const char *text) {
	for (; *pattern != '\0'; pattern++, text++) {
		if (*pattern == '*') {
			while (*pattern == '*') pattern++;
			if (*pattern == '\0') return true;
			for (; *text != '\0'; text++)
				if (glob(pattern, text)) return true;
			return *pattern == '$' && pattern[1] == '\0';
		}
		if (*pattern == '$' && pattern[1] == '\0') return *text == '\0';
		if (*pattern != *text) return false;
	}
	return true;
}

static bool matches(const char *pattern, const char *text) {
	if (*pattern == '^') return glob(pattern + 1, text);
	for (;; text++) {
		if (glob(pattern, text)) return true;
		if (*text == '\0') return false;
	}
}

hyp_status hyp_leaks_suppress(const char *pattern) {
	if (pattern == NULL) return HYP_ERR_INVALID;
	if (strncmp(pattern, "leak:", 5) == 0) pattern += 5;
	size_t bytes = strlen(pattern) + 1;
	if (bytes == 1) return HYP_ERR_INVALID;
	hyp_status status = HYP_ERR_LIMIT;
	hypi_profile_lock();
	if (bytes <= PATTERNS_BYTES - patterns_used) {
		memcpy(patterns + patterns_used, pattern, bytes);
		patterns_used += bytes;
		status = HYP_OK;
	}
	hypi_profile_unlock();
	return status;
}

static void suppress_line(const char *line, void (*refused)(const char *line)) {
	while (*line == ' ' || *line == '\t') line++;
	if (*line != '\0' && *line != '#' && hyp_leaks_suppress(line) != HYP_OK) refused(line);
}

bool hypi_leaks_suppress_file(const char *path, void (*refused)(const char *line)) {
	char chunk[1024], line[1024];
	size_t have = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;
	while (fd >= 0 && (n = read(fd, chunk, sizeof chunk)) > 0)
		for (ssize_t i = 0; i < n; i++) {
			if (chunk[i] == '\n') {
				line[have] = '\0';
				suppress_line(line, refused);
				have = 0;
			} else if (have < sizeof line - 1) { /* of a longer one, the beginning: it matches what begins so */
				line[have++] = chunk[i];
			}
		}
	if (fd >= 0) close(fd);
	line[have] = '\0';
	suppress_line(line, refused);
	return n == 0;
}

static bool any_matches(const char *text) {
	for (size_t at = 0; at < patterns_used; at += strlen(patterns + at) + 1)
		if (matches(patterns + at, text)) return true;
	return false;
}

static bool is_suppressed(const hypi_symbols *symbols, const hypi_site *site) {
	if (patterns_used == 0) return false;
	for (uint32_t i = 0; i < site->depth; i++) {
		char name[512];
		uintptr_t pc = hypi_site_frames(site)[i];
		hypi_symbols_name(symbols, pc, name, sizeof name);
		if (any_matches(name)) return true;
		const hypi_module *m = hypi_symbols_module(symbols, hypi_symbols_find(symbols, pc));
		if (m != NULL && any_matches(hypi_symbols_text(symbols, m->path))) return true;
	}
	return false;
}

/* ---- the search ---- */

/* `pool`: only its blocks count; NULL: all. */
static bool is_of(const hypi_site *site, const hyp_pool *pool) {
	if (pool == NULL) return true;
	if (pool == hyp_pool_default() || site->pool == 0) return pool == hyp_pool_default() && site->pool == 0;
	return hypi_tracked_pool_at(site->pool)->serial == pool->engine.serial;
}

static bool search(const hyp_pool *pool, hyp_leak_totals *totals, uintptr_t here, const hypi_registers *registers) {
	hypi_profile *p = &hypi_profile_data;
	size_t bytes = hypi_round_up(p->pick_capacity + 1, hypi_os.page_bytes);
	unsigned char *reached = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (reached == MAP_FAILED) return false;
	uintptr_t ring, ring_end;
	hypi_timeline_range(&ring, &ring_end);
	const hypi_reach_range own[] = {
		{ring, ring_end},
		{(uintptr_t)p->picks, (uintptr_t)(p->picks + p->pick_capacity)},
		{(uintptr_t)p->sites, (uintptr_t)(p->sites + HYPI_SITES)},
		{(uintptr_t)p->frames, (uintptr_t)(p->frames + HYPI_ALL_FRAMES)},
	};
	bool done = hypi_reach(&p->picks->address, sizeof *p->picks, p->pick_capacity, own, HYP_ARRAY_LEN(own), here,
	                       registers, reached);
	for (uint32_t i = 0; i < p->site_count; i++) {
		p->sites[i].lost_count = p->sites[i].lost_bytes = 0;
		p->sites[i].lost_picks = 0;
	}
	double reachable = 0, reachable_bytes = 0;
	for (size_t i = 0; done && i < p->pick_capacity; i++) {
		const hypi_pick *pick = &p->picks[i];
		if (pick->address == 0 || !is_of(&p->sites[pick->site], pool)) continue;
		double scale = (double)pick->scale, size = (double)pick->asked * scale;
		if (reached[i]) {
			reachable += scale;
			reachable_bytes += size;
		} else {
			p->sites[pick->site].lost_count += scale;
			p->sites[pick->site].lost_picks++;
			p->sites[pick->site].lost_bytes += size;
		}
	}
	totals->reachable_blocks = (uint64_t)(reachable + 0.5);
	totals->reachable_bytes = (uint64_t)(reachable_bytes + 0.5);
	p->leaks_searched = done;
	munmap(reached, bytes);
	return done;
}

/* ---- the report ---- */

unsigned hypi_site_confidence(const hypi_site *site) {
	double picks = (double)site->lost_picks, error = 1;
	if (site->lost_picks == 0) return 0;
	if (site->lost_count < picks + 0.5) return 100;                         /* each stands for itself */
	for (int i = 0; i < 40; i++) error = (error + 1 / (error * picks)) / 2; /* 1 / sqrt(picks), by Heron's rule */
	return (unsigned)(100 * (1 - error) + 0.5);
}

static void write_site(hypi_out *out, const hypi_symbols *symbols, const hypi_site *site) {
	hypi_out_format(
		out,
		"%llu bytes in %llu blocks lost%s%s, first made %u ms and last %u ms after the start, confidence %u %%, by:\n",
		(ull)(site->lost_bytes + 0.5), (ull)(site->lost_count + 0.5), site->pool == 0 ? "" : " of pool ",
		site->pool == 0 ? "" : hypi_tracked_pool_at(site->pool)->name, site->first_ms, site->last_ms,
		hypi_site_confidence(site));
	for (uint32_t i = 0; i < site->depth && i < 24; i++) {
		char name[512];
		uintptr_t pc = hypi_site_frames(site)[i];
		hypi_symbols_name(symbols, pc, name, sizeof name);
		const hypi_module *m = hypi_symbols_module(symbols, hypi_symbols_find(symbols, pc));
		hypi_out_format(out, "    #%u %s", i, name);
		if (m != NULL)
			hypi_out_format(out, " (%s+0x%lx)", hypi_symbols_text(symbols, m->path), pc - 1 - m->start + m->offset);
		hypi_out_format(out, "\n");
	}
}

static void write_report(hypi_out *out, const hypi_symbols *symbols, const hyp_leak_totals *t) {
	const hypi_profile *p = &hypi_profile_data;
	hypi_out_format(out,
	                "hypool: leaks: %llu bytes in %llu blocks lost at %u call sites%s; %llu bytes in %llu blocks live "
	                "and reachable",
	                (ull)t->bytes, (ull)t->blocks, t->sites, t->exact ? "" : " (scaled up from samples)",
	                (ull)t->reachable_bytes, (ull)t->reachable_blocks);
	if (t->suppressed_blocks != 0)
		hypi_out_format(out, "; %llu bytes in %llu blocks suppressed", (ull)t->suppressed_bytes,
		                (ull)t->suppressed_blocks);
	hypi_out_format(out, "\n");
	/* The largest first, by selection: each pass finds the next smaller. */
	double below = 1e300;
	uint32_t below_index = 0;
	for (unsigned shown = 0; shown < TOP; shown++) {
		uint32_t best = 0;
		for (uint32_t i = 0; i < p->site_count; i++) {
			double lost = p->sites[i].lost_bytes + p->sites[i].lost_count;
			if (p->sites[i].lost_count <= 0 || lost > below || (lost == below && i <= below_index)) continue;
			double have = p->sites[best].lost_bytes + p->sites[best].lost_count;
			if (best == 0 || lost > have) best = i;
		}
		if (best == 0) return;
		below = p->sites[best].lost_bytes + p->sites[best].lost_count;
		below_index = best;
		write_site(out, symbols, &p->sites[best]);
	}
	if (t->sites > TOP) hypi_out_format(out, "and %u more call sites\n", t->sites - TOP);
}

hyp_status hyp_leaks_find(int fd, hyp_leak_totals *ret_totals) {
	hypi_registers registers;
	hypi_registers_read(&registers);
	return hypi_leaks_find_from(NULL, fd, (uintptr_t)__builtin_frame_address(0), &registers, ret_totals);
}

hyp_status hyp_leaks_find_in(hyp_pool *pool, int fd, hyp_leak_totals *ret_totals) {
	hypi_registers registers;
	hypi_registers_read(&registers);
	if (pool == NULL) return HYP_ERR_INVALID;
	return hypi_leaks_find_from(pool, fd, (uintptr_t)__builtin_frame_address(0), &registers, ret_totals);
}

/* Sums up what the search left at the sites, but for what is suppressed. */
static void count_lost(const hypi_symbols *symbols, hyp_leak_totals *totals) {
	hypi_profile *p = &hypi_profile_data;
	for (uint32_t i = 0; i < p->site_count; i++) {
		hypi_site *site = &p->sites[i];
		if (site->lost_count <= 0) continue;
		uint64_t blocks = (uint64_t)(site->lost_count + 0.5), size = (uint64_t)(site->lost_bytes + 0.5);
		if (is_suppressed(symbols, site)) {
			totals->suppressed_blocks += blocks;
			totals->suppressed_bytes += size;
			site->lost_count = site->lost_bytes = 0;
		} else {
			totals->blocks += blocks;
			totals->bytes += size;
			totals->sites++;
		}
	}
}

hyp_status hypi_leaks_find_from(hyp_pool *pool, int fd, uintptr_t here, const hypi_registers *registers,
                                hyp_leak_totals *ret_totals) {
	if (ret_totals == NULL) return HYP_ERR_INVALID;
	if (hypi_profile_data.sites == NULL) return HYP_ERR_NOT_FOUND;
	bool hooked = hypi_self.hooked;
	hypi_self.hooked = true;
	hyp_leak_totals totals = {0};
	hypi_symbols symbols;
	hypi_bytes bytes = {0};
	hyp_status status = HYP_ERR_NO_MEMORY;
	if (hypi_symbols_init(&symbols)) {
		hypi_profile_lock();
		hypi_profile_refresh();
		status = search(pool, &totals, here, registers) ? HYP_OK : HYP_ERR_UNSUPPORTED;
		count_lost(&symbols, &totals);
		totals.exact = !hypi_profile_data.partial;
		hypi_out out;
		hypi_bytes_out(&bytes, &out);
		if (status == HYP_OK && fd >= 0 && totals.blocks != 0) write_report(&out, &symbols, &totals);
		if (status == HYP_OK && fd >= 0 && pool == NULL) hypi_leaks_write_devices(&out);
		hypi_out_flush(&out);
		hypi_profile_unlock();
		if (fd >= 0 && !hypi_write_all(fd, bytes.at, bytes.used)) status = HYP_ERR_OS;
	}
	hypi_bytes_fini(&bytes);
	hypi_symbols_fini(&symbols);
	hypi_self.hooked = hooked;
	if (status == HYP_OK) *ret_totals = totals;
	return status;
}
