/* interpose/cmd/report.c: `hypool report` and `hypool diff`. */
#include "interpose/cmd/cmd.h"
#include "interpose/cmd/model.h"

#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull;

int hypi_cmd_report(int argc, char **argv) {
	const char *file = NULL, *html = NULL, *text;
	bool json = false, folded = false;
	unsigned top = 10;
	for (int at = 0; at < argc;) {
		if (hypi_cmd_flag(argv, &at, "--help")) {
			puts("usage: hypool report [--top N] [--json | --folded | --html FILE] FILE");
			return 0;
		}
		if (hypi_cmd_flag(argv, &at, "--json")) json = true;
		else if (hypi_cmd_flag(argv, &at, "--folded")) folded = true;
		else if (hypi_cmd_value(argc, argv, &at, "--html", &html)) continue;
		else if (hypi_cmd_value(argc, argv, &at, "--top", &text)) top = (unsigned)strtoul(text, NULL, 10);
		else if (argv[at][0] == '-' || file != NULL) return hypi_cmd_fail(2, "report: what is %s?", argv[at]);
		else file = argv[at++];
	}
	if (file == NULL) return hypi_cmd_fail(2, "report: which file?");
	model *m = model_load(file);
	if (m == NULL) return 1;
	int status = 0;
	if (html != NULL) {
		FILE *to = fopen(html, "we");
		if (to != NULL) model_print_html(m, to);
		if (to == NULL || ferror(to) || fclose(to) != 0) status = hypi_cmd_fail(1, "cannot write %s", html);
	} else if (json) {
		model_print_json(m, stdout);
	} else if (folded) {
		model_print_folded(m, stdout);
	} else {
		model_print(m, stdout, top, false);
	}
	model_free(m);
	return status;
}

/* ---- diff ---- */

typedef struct change {
	const char *key;
	const model *of;
	const model_site *site; /* for its names */
	int64_t live_bytes, live_count, bytes, count;
} change;

static int by_key(const void *a, const void *b) { return strcmp(((const change *)a)->key, ((const change *)b)->key); }

/* Files may hold any numbers: sums and differences are taken unsigned, where they may wrap around. */
static uint64_t size_of(int64_t n) { return n < 0 ? 0 - (uint64_t)n : (uint64_t)n; }
static int64_t difference(uint64_t after, uint64_t before) { return (int64_t)(after - before); }
static int64_t sum(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }

static int by_size(const void *a, const void *b) {
	const change *x = a, *y = b;
	uint64_t p = size_of(x->live_bytes), q = size_of(y->live_bytes);
	if (p != q) return p < q ? 1 : -1;
	p = size_of(x->bytes), q = size_of(y->bytes);
	return p != q ? (p < q ? 1 : -1) : strcmp(x->key, y->key);
}

/* `by_stack`: the key is the stack by names, for addresses differ from run to run; else the function. */
static size_t add(change *to, const model *m, bool before, bool by_stack) {
	for (size_t i = 0; i < m->site_count; i++) {
		const model_site *site = &m->sites[i];
		to[i] = (change){by_stack ? site->key : model_place(m, site),
		                 m,
		                 site,
		                 before ? difference(0, site->n[LIVE_BYTES]) : (int64_t)site->n[LIVE_BYTES],
		                 before ? difference(0, site->n[LIVE_COUNT]) : (int64_t)site->n[LIVE_COUNT],
		                 before ? difference(0, site->n[BYTES]) : (int64_t)site->n[BYTES],
		                 before ? difference(0, site->n[COUNT]) : (int64_t)site->n[COUNT]};
	}
	return m->site_count;
}

/* Sums up what has the same key. */
static size_t merge(change *all, size_t count) {
	size_t kept = 0;
	qsort(all, count, sizeof *all, by_key);
	for (size_t i = 0; i < count; i++) {
		if (kept == 0 || strcmp(all[kept - 1].key, all[i].key) != 0) {
			all[kept++] = all[i];
			continue;
		}
		change *c = &all[kept - 1];
		c->live_bytes = sum(c->live_bytes, all[i].live_bytes);
		c->live_count = sum(c->live_count, all[i].live_count);
		c->bytes = sum(c->bytes, all[i].bytes);
		c->count = sum(c->count, all[i].count);
	}
	qsort(all, kept, sizeof *all, by_size);
	return kept;
}

static const char *signed_bytes(int64_t bytes, char ret_text[32]) {
	char text[24];
	hypi_cmd_bytes((double)size_of(bytes), text);
	snprintf(ret_text, 32, "%s%s", bytes < 0 ? "-" : bytes > 0 ? "+" : "", text);
	return ret_text;
}

static void print_change(const change *c) {
	char a[32], b[32];
	const char *place = model_place(c->of, c->site);
	printf("%12s %+10lld %12s %+10lld  %.*s\n", signed_bytes(c->live_bytes, a), (long long)c->live_count,
	       signed_bytes(c->bytes, b), (long long)c->count, hypi_cmd_fit(place, 100), place);
}

static void print_change_json(const change *c, bool first) {
	printf("%s\n{\"live_bytes\":%lld,\"live_count\":%lld,\"bytes\":%lld,\"count\":%lld,\"stack\":[", first ? "" : ",",
	       (long long)c->live_bytes, (long long)c->live_count, (long long)c->bytes, (long long)c->count);
	for (uint32_t k = 0; k < c->site->depth; k++) {
		fputs(k == 0 ? "" : ",", stdout);
		hypi_cmd_json(stdout, c->of->frames[c->site->frames[k]].name);
	}
	printf("]}");
}

static const char SAMPLED[] =
	"call sites are scaled up from samples: a change of a few may be chance (run --mean 1 follows every block)\n";

int hypi_cmd_diff(int argc, char **argv) {
	const char *files[2] = {NULL, NULL}, *text;
	bool json = false;
	uint64_t top = 20, most = UINT64_MAX;
	int given = 0;
	for (int at = 0; at < argc;) {
		if (hypi_cmd_flag(argv, &at, "--help")) {
			puts("usage: hypool diff [--top N] [--json] [--max-growth BYTES] BEFORE AFTER\n"
			     "Exit status 1 when more bytes live at the end of AFTER, by more than --max-growth.");
			return 0;
		}
		if (hypi_cmd_flag(argv, &at, "--json")) json = true;
		else if (hypi_cmd_value(argc, argv, &at, "--top", &text)) top = strtoul(text, NULL, 10);
		else if (hypi_cmd_value(argc, argv, &at, "--max-growth", &text)) {
			if (!hypi_cmd_size(text, &most)) return hypi_cmd_fail(2, "--max-growth %s: not a size", text);
		} else if (argv[at][0] == '-' || given == 2) return hypi_cmd_fail(2, "diff: what is %s?", argv[at]);
		else files[given++] = argv[at++];
	}
	if (given != 2) return hypi_cmd_fail(2, "diff: which two files?");
	model *before = model_load(files[0]), *after = before != NULL ? model_load(files[1]) : NULL;
	if (after == NULL) return model_free(before), 1;
	change *all = calloc(before->site_count + after->site_count + 1, sizeof *all);
	if (all == NULL) return hypi_cmd_fail(1, "out of memory");
	size_t count = add(all, after, false, json);
	count += add(all + count, before, true, json);
	count = merge(all, count);
	int64_t live = difference(model_stat(after, "current_bytes"), model_stat(before, "current_bytes"));
	int64_t peak = difference(model_stat(after, "peak_resident_bytes"), model_stat(before, "peak_resident_bytes"));
	char a[32], b[32];
	if (json) printf("{\"live_bytes\":%lld,\"peak_resident_bytes\":%lld,\"sites\":[", (long long)live, (long long)peak);
	else
		printf("live at the end %s, peak resident %s\n%s%12s %10s %12s %10s  function\n", signed_bytes(live, a),
		       signed_bytes(peak, b), model_is_exact(before) && model_is_exact(after) ? "" : SAMPLED, "live", "blocks",
		       "in all", "blocks");
	for (size_t i = 0; i < count && i < top && (all[i].live_bytes != 0 || all[i].bytes != 0); i++) {
		if (json) print_change_json(&all[i], i == 0);
		else print_change(&all[i]);
	}
	if (json) printf("]}\n");
	free(all);
	model_free(before);
	model_free(after);
	return live > 0 && (uint64_t)live > most ? 1 : 0;
}
