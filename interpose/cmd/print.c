/* interpose/cmd/print.c: a report as text, as JSON and as folded stacks. */
#include "interpose/cmd/cmd.h"
#include "interpose/cmd/model.h"

#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull;

static const char *const names[MODEL_NUMBERS] = {"count",      "bytes",       "live_count", "live_bytes",
                                                 "peak_bytes", "brief",       "life_ms",    "first_ms",
                                                 "last_ms",    "slack_bytes", "lost_count", "lost_bytes"};

static void print_stack(const model *m, FILE *to, const model_site *site, unsigned most) {
	bool past = false;
	unsigned shown = 0;
	for (uint32_t i = 0; i < site->depth && shown < most; i++) {
		const char *name = m->frames[site->frames[i]].name;
		past = past || strcmp(name, model_place(m, site)) == 0;
		if (past) fprintf(to, "%s%.60s%s", shown++ == 0 ? "        " : " < ", name, strlen(name) > 60 ? "..." : "");
	}
	fprintf(to, "\n");
}

static void print_top(const model *m, FILE *to, const char *title, model_number by, model_number count, unsigned top) {
	char text[24];
	uint64_t sum = model_sum(m, by);
	if (sum == 0) return;
	size_t sites = 0;
	for (size_t i = 0; i < m->site_count; i++) sites += m->sites[i].n[by] != 0;
	fprintf(to, "\n%s: %s at %zu call sites\n", title, hypi_cmd_bytes((double)sum, text), sites);
	const model_site **sorted = model_sorted(m, by);
	for (size_t i = 0; i < m->site_count && i < top && sorted[i]->n[by] != 0; i++) {
		fprintf(to, "  %5.1f %%  %10s in %llu  %.100s\n", 100 * (double)sorted[i]->n[by] / (double)sum,
		        hypi_cmd_bytes((double)sorted[i]->n[by], text), (ull)sorted[i]->n[count], model_place(m, sorted[i]));
		print_stack(m, to, sorted[i], 5);
	}
	free(sorted);
}

void model_print(const model *m, FILE *to, unsigned top) {
	char a[24], b[24], c[24];
	fprintf(to, "%s (pid %s, %.1f s)\n", model_meta(m, "command"), model_meta(m, "pid"),
	        strtod(model_meta(m, "duration_ms"), NULL) / 1000);
	fprintf(to, "peak resident %s, heap %s; live at the end %s in %llu blocks\n",
	        hypi_cmd_bytes((double)model_stat(m, "peak_resident_bytes"), a),
	        hypi_cmd_bytes((double)model_stat(m, "peak_committed_bytes"), b),
	        hypi_cmd_bytes((double)model_stat(m, "current_bytes"), c), (ull)model_stat(m, "active"));
	fprintf(to, "%llu allocations of %s in all\n", (ull)model_stat(m, "allocations"),
	        hypi_cmd_bytes((double)model_stat(m, "allocated_bytes"), a));
	if (strcmp(model_meta(m, "exact"), "1") != 0 && m->site_count != 0)
		fprintf(to, "call sites are scaled up from one sample in %s\n",
		        hypi_cmd_bytes(strtod(model_meta(m, "mean_bytes"), NULL), a));
	print_top(m, to, "lost", LOST_BYTES, LOST_COUNT, top);
	print_top(m, to, "live at the end", LIVE_BYTES, LIVE_COUNT, top);
	print_top(m, to, "allocated in all", BYTES, COUNT, top);
	if (m->advice_count != 0) fprintf(to, "\nadvice\n");
	for (size_t i = 0; i < m->advice_count; i++) fprintf(to, "  %s: %s\n", m->advice[i].kind, m->advice[i].text);
}

static void json_pairs(FILE *to, const char *name, const model_pair *pairs, size_t count, bool numbers) {
	fprintf(to, "\"%s\":{", name);
	for (size_t i = 0; i < count; i++) {
		fputs(i == 0 ? "" : ",", to);
		hypi_cmd_json(to, pairs[i].key);
		fputc(':', to);
		if (numbers) fputs(pairs[i].value, to);
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
	fprintf(to, "],\n\"sites\":[");
	for (size_t i = 0; i < m->site_count; i++) {
		fprintf(to, "%s\n{", i == 0 ? "" : ",");
		for (unsigned k = 0; k < MODEL_NUMBERS; k++) fprintf(to, "\"%s\":%llu,", names[k], (ull)m->sites[i].n[k]);
		fprintf(to, "\"stack\":[");
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
