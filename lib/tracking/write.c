/*
 * tracking/write.c: the text formats, and hyp_profile_write.
 *
 * jeprof's heap_v2 has the picked figures, which the tool scales itself by the mean in its first line; folded stacks
 * (Gregg 2011) and DHAT v2 (Nethercote 2019) have the scaled ones.
 */
#include "tracking/write.h"

#include "heap/heap.h"
#include "tracking/box.h"
#include "tracking/maps.h"

#include <hypool/tracking.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long long ull;

static ull count_of(double x) { return hypi_whole(x + 0.5); }

static bool write_map(void *context, const hypi_map *map) {
	hypi_out_format(context, "%lx-%lx %s%s%s%s %08lx 00:00 0 %s\n", map->start, map->end, map->read ? "r" : "-",
	                map->write ? "w" : "-", map->execute ? "x" : "-", map->shared ? "s" : "p", map->offset, map->path);
	return true;
}

/* The figures of a site that jeprof is to see: as picked, to be scaled by it; or scaled, when no single mean holds. */
static void jeprof_site(const hypi_site *site, ull ret_figures[4]) {
	const hypi_profile *p = &hypi_profile_data;
	double usable = site->picks == 0 ? 1 : (double)site->pick_bytes / (double)site->picks;
	ret_figures[0] = p->mixed ? count_of(site->live_count) : site->live_picks;
	ret_figures[1] = p->mixed ? count_of(site->live_count * usable) : site->live_pick_bytes;
	ret_figures[2] = p->mixed ? count_of(site->count) : site->picks;
	ret_figures[3] = p->mixed ? count_of(site->count * usable) : site->pick_bytes;
}

void hypi_write_jeprof(const hypi_symbols *symbols, hypi_bytes *to) {
	(void)symbols;
	const hypi_profile *p = &hypi_profile_data;
	ull all[4] = {0}, own[4];
	for (uint32_t i = 0; i < p->site_count; i++) {
		jeprof_site(&p->sites[i], own);
		for (int k = 0; k < 4; k++) all[k] += own[k];
	}
	hypi_out out;
	hypi_bytes_out(to, &out);
	hypi_out_format(&out, "heap_v2/%llu\n  t*: %llu: %llu [%llu: %llu]\n", p->mixed ? 1ull : (ull)p->mean_bytes, all[0],
	                all[1], all[2], all[3]);
	for (uint32_t i = 0; i < p->site_count; i++) {
		const hypi_site *site = &p->sites[i];
		if (site->picks == 0 || site->depth == 0) continue;
		hypi_out_format(&out, "@");
		for (uint32_t k = 0; k < site->depth; k++) hypi_out_format(&out, " 0x%lx", hypi_site_frames(site)[k]);
		jeprof_site(site, own);
		hypi_out_format(&out, "\n  t*: %llu: %llu [%llu: %llu]\n", own[0], own[1], own[2], own[3]);
	}
	hypi_out_format(&out, "\nMAPPED_LIBRARIES:\n");
	hypi_maps_each(write_map, &out);
	hypi_out_flush(&out);
}

void hypi_write_folded(const hypi_symbols *symbols, hypi_bytes *to) {
	const hypi_profile *p = &hypi_profile_data;
	hypi_out out;
	hypi_bytes_out(to, &out);
	for (uint32_t i = 0; i < p->site_count; i++) {
		const hypi_site *site = &p->sites[i];
		if (count_of(site->live_bytes) == 0) continue;
		for (uint32_t k = site->depth; k-- > 0;) {
			char name[512];
			hypi_symbols_name(symbols, hypi_site_frames(site)[k], name, sizeof name);
			for (char *at = name; *at != '\0'; at++)
				if (*at == ';' || *at == '\n') *at = ':';
			hypi_out_format(&out, "%s%s", name, k == 0 ? "" : ";");
		}
		hypi_out_format(&out, "%s %llu\n", site->depth == 0 ? "[unknown]" : "", count_of(site->live_bytes));
	}
	hypi_out_flush(&out);
}

static void dhat_site(hypi_out *out, const hypi_symbols *symbols, const hypi_site *site, const char *before) {
	double peak_bytes, peak_count;
	hypi_site_at_peak(site, &peak_bytes, &peak_count);
	ull now = hypi_profile_now_ms();
	/* Lifetimes of what still lives count up to now, as DHAT does. */
	double scale = site->count / (double)site->picks;
	double life = (double)site->life_ms * scale + site->live_count * (double)(now - site->first_ms) / 2;
	hypi_out_format(
		out,
		"%s{\"tb\":%llu,\"tbk\":%llu,\"tl\":%llu,\"mb\":%llu,\"mbk\":%llu,\"gb\":%llu,\"gbk\":%llu,\"eb\":%llu,"
		"\"ebk\":%llu,\"fs\":[",
		before, count_of(site->bytes), count_of(site->count), count_of(life), count_of(site->peak_bytes),
		count_of(site->peak_bytes / (site->bytes / site->count)), count_of(peak_bytes), count_of(peak_count),
		count_of(site->live_bytes), count_of(site->live_count));
	for (uint32_t k = 0; k < site->depth; k++) {
		const hypi_symbol *symbol = hypi_symbols_find(symbols, hypi_site_frames(site)[k]);
		size_t index =
			symbol == NULL ? 0 : (size_t)(symbol - (const hypi_symbol *)(const void *)symbols->symbols.at) + 1;
		hypi_out_format(out, "%s%zu", k == 0 ? "" : ",", index);
	}
	hypi_out_format(out, "]}\n");
}

void hypi_write_dhat(const hypi_symbols *symbols, hypi_bytes *to) {
	const hypi_profile *p = &hypi_profile_data;
	const hypi_symbol *all = (const hypi_symbol *)(const void *)symbols->symbols.at;
	hypi_out out;
	hypi_bytes_out(to, &out);
	hypi_out_format(
		&out,
		"{\"dhatFileVersion\":2,\"mode\":\"heap\",\"verb\":\"Allocated\",\"bklt\":true,\"bkacc\":false,"
		"\"tu\":\"ms\",\"Mtu\":\"s\",\"tuth\":%u,\"cmd\":\"pid %d\",\"pid\":%d,\"tg\":%u,\"te\":%u,\n\"pps\":[",
		HYPI_BRIEF_MS, hypi_subject_pid(), hypi_subject_pid(), p->peak_ms, hypi_profile_now_ms());
	const char *before = "";
	for (uint32_t i = 0; i < p->site_count; i++) {
		if (p->sites[i].picks == 0 || p->sites[i].bytes <= 0) continue;
		dhat_site(&out, symbols, &p->sites[i], before);
		before = ",";
	}
	hypi_out_format(&out, "],\n\"ftbl\":[\"[root]\"");
	for (size_t i = 0; i < symbols->symbol_count; i++) {
		char name[512], text[600];
		hypi_symbols_name(symbols, all[i].pc, name, sizeof name);
		hypi_format(text, sizeof text, "0x%lx: %s", all[i].pc - 1, name);
		hypi_out_format(&out, ",\n");
		hypi_out_json_string(&out, text);
	}
	hypi_out_format(&out, "]}\n");
	hypi_out_flush(&out);
}

hyp_status hyp_profile_write(int fd, hyp_profile_format format) {
	static void (*const writers[])(const hypi_symbols *, hypi_bytes *) = {
		[HYP_PROFILE_HYPOOL] = hypi_write_native, [HYP_PROFILE_PPROF] = hypi_write_pprof,
		[HYP_PROFILE_JEPROF] = hypi_write_jeprof, [HYP_PROFILE_FOLDED] = hypi_write_folded,
		[HYP_PROFILE_DHAT] = hypi_write_dhat,
	};
	if ((unsigned)format >= HYP_ARRAY_LEN(writers)) return HYP_ERR_INVALID;
	hypi_process_init();
	bool hooked = hypi_self.hooked;
	hypi_self.hooked = true; /* the report is not part of the profile */
	hypi_symbols symbols;
	hypi_bytes bytes = {0};
	hyp_status status = HYP_ERR_NO_MEMORY;
	if (hypi_symbols_init(&symbols)) {
		hypi_profile_lock();
		hypi_profile_refresh();
		writers[format](&symbols, &bytes);
		hypi_profile_unlock();
		if (!bytes.failed) status = hypi_write_all(fd, bytes.at, bytes.used) ? HYP_OK : HYP_ERR_OS;
	}
	int saved = errno;
	hypi_bytes_fini(&bytes);
	hypi_symbols_fini(&symbols);
	hypi_self.hooked = hooked;
	errno = saved;
	return status;
}
