/* interpose/cmd/print.c: a report as text, as JSON and as folded stacks. */
#include "interpose/cmd/cmd.h"
#include "interpose/cmd/model.h"

#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull;

static const char *const names[MODEL_NUMBERS] = {"count",         "bytes",         "live_count", "live_bytes",
                                                 "peak_bytes",    "brief",         "life_ms",    "first_ms",
                                                 "last_ms",       "slack_bytes",   "lost_count", "lost_bytes",
                                                 "at_peak_count", "at_peak_bytes", "pool"};

static void print_stack(const model *m, FILE *to, const model_site *site, unsigned most) {
	bool past = false;
	unsigned shown = 0;
	for (uint32_t i = 0; i < site->depth && shown < most; i++) {
		const char *name = m->frames[site->frames[i]].name;
		past = past || strcmp(name, model_place(m, site)) == 0;
		if (past)
			fprintf(to, "%s%.*s%s", shown++ == 0 ? "        " : " < ", hypi_cmd_fit(name, 60), name,
			        strlen(name) > 60 ? "..." : "");
	}
	fprintf(to, "\n");
}

static void print_top(const model *m, FILE *to, const char *title, model_number by, model_number count, unsigned top) {
	char text[24];
	uint64_t sum = model_sum(m, by);
	if (sum == 0) return;
	size_t groups;
	model_group *all = model_grouped(m, by, count, &groups);
	fprintf(to, "\n%s: %s at %zu function%s\n", title, hypi_cmd_bytes((double)sum, text), groups,
	        groups == 1 ? "" : "s");
	for (size_t i = 0; i < groups && i < top; i++) {
		const char *pool = model_pool_name(m, all[i].largest);
		fprintf(to, "  %5.1f %%  %10s in %-8llu %.*s%s%s%s\n", 100 * (double)all[i].bytes / (double)sum,
		        hypi_cmd_bytes((double)all[i].bytes, text), (ull)all[i].count, hypi_cmd_fit(all[i].place, 100),
		        all[i].place, pool != NULL ? "  [pool " : "", pool != NULL ? pool : "", pool != NULL ? "]" : "");
		print_stack(m, to, all[i].largest, 5);
		if (by == LOST_BYTES)
			fprintf(to, "        confidence %u %%, first %.2f s and last %.2f s after the start\n",
			        all[i].largest->confidence, (double)all[i].largest->n[FIRST_MS] / 1000,
			        (double)all[i].largest->n[LAST_MS] / 1000);
		if (all[i].sites > 1) fprintf(to, "        and %zu more stacks\n", all[i].sites - 1);
	}
	if (groups > top) fprintf(to, "  and %zu more\n", groups - top);
	free(all);
}

static void print_pools(const model *m, FILE *to) {
	char a[24], b[24], c[24];
	if (m->pool_count < 2) return;
	fprintf(to, "\npools\n");
	for (size_t i = 0; i < m->pool_count; i++) {
		const model_pool *p = &m->pools[i];
		if (p->gone) fprintf(to, "  %-20s destroyed\n", p->name);
		else
			fprintf(to, "  %-20s %10s live in %llu blocks, %s held%s%s; %llu allocations, %llu failed\n", p->name,
			        hypi_cmd_bytes((double)p->live_bytes, a), (ull)p->live_count,
			        hypi_cmd_bytes((double)p->committed, b), p->limit != 0 ? " of at most " : "",
			        p->limit != 0 ? hypi_cmd_bytes((double)p->limit, c) : "", (ull)p->allocations, (ull)p->failures);
	}
}

static void print_anomalies(const model *m, FILE *to) {
	char a[24];
	if (m->anomaly_count != 0) fprintf(to, "\nout of the ordinary\n");
	for (size_t i = 0; i < m->anomaly_count; i++)
		fprintf(to, "  %s of %s from %.2f s to %.2f s, %llu times the usual change\n", m->anomalies[i].kind,
		        hypi_cmd_bytes((double)m->anomalies[i].bytes, a), (double)m->anomalies[i].from_ms / 1000,
		        (double)m->anomalies[i].to_ms / 1000, (ull)m->anomalies[i].score);
}

static void print_advice(const model *m, FILE *to, unsigned top) {
	bool lost = model_sum(m, LOST_BYTES) != 0;
	unsigned shown = 0;
	for (size_t i = 0; i < m->advice_count && shown < top; i++) {
		if (lost && strcmp(m->advice[i].kind, "leak") == 0) continue; /* named above */
		if (shown++ == 0) fprintf(to, "\nadvice\n");
		fprintf(to, "  %s: %s\n", m->advice[i].kind, m->advice[i].text);
	}
}

void model_print(const model *m, FILE *to, unsigned top, bool brief) {
	char a[24], b[24], c[24];
	fprintf(to, "%s (pid %s, %.1f s)\n", model_meta(m, "command"), model_meta(m, "pid"),
	        model_meta_number(m, "duration_ms") / 1000);
	fprintf(to, "peak resident %s, heap %s; live at the end %s in %llu blocks\n",
	        hypi_cmd_bytes((double)model_stat(m, "peak_resident_bytes"), a),
	        hypi_cmd_bytes(model_meta_number(m, "peak_heap_bytes"), b),
	        hypi_cmd_bytes((double)model_stat(m, "current_bytes"), c), (ull)model_stat(m, "active"));
	fprintf(to, "%llu allocations of %s in all\n", (ull)model_stat(m, "allocations"),
	        hypi_cmd_bytes((double)model_stat(m, "allocated_bytes"), a));
	if (!model_is_exact(m))
		fprintf(to, "call sites are scaled up from one sample in %s\n",
		        hypi_cmd_bytes(model_meta_number(m, "mean_bytes"), a));
	if (strcmp(model_meta(m, "ended_early"), "1") == 0)
		fprintf(to, "it ended without its exit handlers (a signal, _exit or exec): this is what was known then\n");
	print_top(m, to, "lost", LOST_BYTES, LOST_COUNT, top);
	print_top(m, to, "live at the peak", AT_PEAK_BYTES, AT_PEAK_COUNT, top);
	if (!brief) print_top(m, to, "live at the end", LIVE_BYTES, LIVE_COUNT, top);
	print_top(m, to, "allocated in all", BYTES, COUNT, top);
	print_pools(m, to);
	print_anomalies(m, to);
	print_advice(m, to, brief ? 5 : 50);
}

static void json_pairs(FILE *to, const char *name, const model_pair *pairs, size_t count, bool numbers) {
	fprintf(to, "\"%s\":{", name);
	for (size_t i = 0; i < count; i++) {
		fputs(i == 0 ? "" : ",", to);
		hypi_cmd_json(to, pairs[i].key);
		fputc(':', to);
		if (numbers) fprintf(to, "%llu", strtoull(pairs[i].value, NULL, 10));
		else hypi_cmd_json(to, pairs[i].value);
	}
	fprintf(to, "},\n");
}

void model_print_json(const model *m, FILE *to) {
	fprintf(to, "{\"hypool_report\":1,\n");
	json_pairs(to, "meta", m->meta, m->meta_count, false);
	json_pairs(to, "stats", m->stats, m->stat_count, true);
	fprintf(to, "\"classes\":[");
	for (size_t i = 0; i < m->class_count; i++)
		fprintf(to, "%s{\"bytes\":%llu,\"allocations\":%llu,\"frees\":%llu,\"active\":%llu,\"span_bytes\":%llu}",
		        i == 0 ? "" : ",", (ull)m->classes[i].bytes, (ull)m->classes[i].allocations, (ull)m->classes[i].frees,
		        (ull)m->classes[i].active, (ull)m->classes[i].span_bytes);
	fprintf(to, "],\n\"ticks\":[");
	for (size_t i = 0; i < m->tick_count; i++)
		fprintf(to, "%s[%llu,%llu,%llu,%llu]", i == 0 ? "" : ",", (ull)m->ticks[i].ms, (ull)m->ticks[i].committed,
		        (ull)m->ticks[i].resident, (ull)m->ticks[i].live);
	fprintf(to, "],\n\"anomalies\":[");
	for (size_t i = 0; i < m->anomaly_count; i++)
		fprintf(to, "%s{\"kind\":\"%s\",\"from_ms\":%llu,\"to_ms\":%llu,\"bytes\":%llu,\"score\":%llu}",
		        i == 0 ? "" : ",", m->anomalies[i].kind, (ull)m->anomalies[i].from_ms, (ull)m->anomalies[i].to_ms,
		        (ull)m->anomalies[i].bytes, (ull)m->anomalies[i].score);
	fprintf(to, "],\n\"pools\":[");
	for (size_t i = 0; i < m->pool_count; i++) {
		const model_pool *p = &m->pools[i];
		fprintf(to, "%s{\"number\":%llu,\"name\":", i == 0 ? "" : ",", (ull)p->number);
		hypi_cmd_json(to, p->name);
		fprintf(
			to,
			",\"destroyed\":%s,\"committed_bytes\":%llu,\"limit_bytes\":%llu,\"live_bytes\":%llu,\"live_count\":%llu,"
			"\"allocations\":%llu,\"allocated_bytes\":%llu,\"failures\":%llu,\"level\":%llu}",
			p->gone ? "true" : "false", (ull)p->committed, (ull)p->limit, (ull)p->live_bytes, (ull)p->live_count,
			(ull)p->allocations, (ull)p->allocated_bytes, (ull)p->failures, (ull)p->level);
	}
	fprintf(to, "],\n\"sites\":[");
	for (size_t i = 0; i < m->site_count; i++) {
		fprintf(to, "%s\n{", i == 0 ? "" : ",");
		for (unsigned k = 0; k < MODEL_NUMBERS; k++) fprintf(to, "\"%s\":%llu,", names[k], (ull)m->sites[i].n[k]);
		fprintf(to, "\"confidence\":%u,\"stack\":[", m->sites[i].confidence);
		for (uint32_t k = 0; k < m->sites[i].depth; k++) {
			fputs(k == 0 ? "" : ",", to);
			hypi_cmd_json(to, m->frames[m->sites[i].frames[k]].name);
		}
		fprintf(to, "]}");
	}
	fprintf(to, "],\n\"advice\":[");
	for (size_t i = 0; i < m->advice_count; i++) {
		fprintf(to, "%s{\"kind\":\"%s\",\"bytes\":%llu,\"text\":", i == 0 ? "" : ",", m->advice[i].kind,
		        (ull)m->advice[i].bytes);
		hypi_cmd_json(to, m->advice[i].text);
		fputc('}', to);
	}
	fprintf(to, "]}\n");
}

void model_print_folded(const model *m, FILE *to) {
	for (size_t i = 0; i < m->site_count; i++) {
		if (m->sites[i].n[LIVE_BYTES] == 0) continue;
		for (uint32_t k = m->sites[i].depth; k-- > 0;) {
			for (const char *at = m->frames[m->sites[i].frames[k]].name; *at != '\0'; at++)
				fputc(*at == ';' ? ':' : *at, to);
			if (k != 0) fputc(';', to);
		}
		fprintf(to, " %llu\n", (ull)m->sites[i].n[LIVE_BYTES]);
	}
}
