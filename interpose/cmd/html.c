/*
 * interpose/cmd/html.c: a report as one page that needs nothing else: no network, no script to read it (a few lines make
 * the flame graph zoom). Widths are relative and colours are by the reader's scheme, so it does on a phone and at night.
 */
#include "interpose/cmd/cmd.h"
#include "interpose/cmd/model.h"

#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull;

static const char style[] =
	":root{color-scheme:light "
	"dark;--bg:#fff;--fg:#1a1c20;--dim:#667;--line:#dde;--a:#2563eb;--b:#d97706;--c:#059669;--bad:#dc2626;--box:#"
	"f6f7fa}"
	"@media(prefers-color-scheme:dark){:root{--bg:#14161a;--fg:#e6e8ee;--dim:#99a;--line:#30343c;--a:#6ea0ff;--b:#"
	"f0a848;--c:#3ecf9a;--bad:#ff7070;--box:#1d2026}}"
	"*{box-sizing:border-box}body{margin:0 auto;max-width:72rem;padding:1rem;background:var(--bg);color:var(--fg);"
	"font:15px/1.45 system-ui,sans-serif}h1{font-size:1.15rem;overflow-wrap:anywhere;margin:.2rem "
	"0}h2{font-size:1rem;margin:1.6rem 0 .5rem}"
	".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.6rem}.card{background:var(--"
	"box);border-radius:.5rem;padding:.6rem .8rem}"
	".card b{display:block;font-size:1.15rem}.card "
	"span,.dim{color:var(--dim);font-size:.85rem}svg{width:100%;height:auto;display:block}"
	".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.88rem}td,th{text-align:left;padding:."
	"3rem .5rem;border-bottom:1px solid var(--line);vertical-align:top}"
	"td.n,th.n{text-align:right;width:1%;white-space:nowrap;font-variant-numeric:tabular-nums}.stack{color:var(--dim);"
	"font-size:"
	".8rem;overflow-wrap:anywhere}"
	".bar{height:.55rem;background:var(--a);border-radius:.2rem;min-width:1px}.bad{color:var(--bad)}ul{padding-left:1."
	"2rem}"
	".flame{font-size:11px;line-height:17px}.row{display:flex;width:100%}.f{overflow:hidden;min-width:0}.f>i{display:"
	"block;font-style:normal;height:17px;padding:0 3px;"
	"white-space:nowrap;overflow:hidden;text-overflow:ellipsis;border:1px solid "
	"var(--bg);border-radius:3px;color:#222;cursor:pointer}"
	".map{display:grid;grid-template-columns:repeat(64,1fr);gap:1px;margin-bottom:.4rem}.map "
	"i{height:.5rem;background:var(--line)}"
	".chart{position:relative;height:15rem;margin-bottom:1.2rem}.chart "
	"svg{position:absolute;inset:0;height:100%}.chart span{position:absolute;left:.2rem;font-size:.75rem;color:var(--"
	"dim);pointer-events:none}.chart span.r{left:auto;right:.2rem}details{font-size:.8rem;color:var(--dim)}"
	"summary{cursor:pointer;overflow-wrap:anywhere}nav{display:flex;flex-wrap:wrap;gap:.2rem "
	".9rem;margin:.8rem 0 0;font-size:.85rem}nav a{color:var(--a);text-decoration:none}"
	".key i{display:inline-block;width:.8rem;height:.8rem;border-radius:.15rem;margin:0 .3rem 0 "
	".8rem;vertical-align:-.1rem}";

static const char script[] =
	"document.querySelectorAll('.f>i').forEach(i=>i.onclick=()=>{const f=i.parentNode,on=f.classList.toggle('z');"
	"document.querySelectorAll('.f').forEach(x=>{x.style.display='';if(on){x.classList.toggle('z',x===f);"
	"if(!x.contains(f)&&!f.contains(x))x.style.display='none'}});"
	"document.querySelectorAll('.f').forEach(x=>x.style.width=on&&(x.contains(f))?'100%':x.dataset.w)});";

static void card(FILE *to, const char *name, double bytes) {
	char text[24];
	fprintf(to, "<div class=card><b>%s</b><span>%s</span></div>", hypi_cmd_bytes(bytes, text), name);
}

static void cards(const model *m, FILE *to) {
	fputs("<div class=cards>", to);
	card(to, "peak resident memory", (double)model_stat(m, "peak_resident_bytes"));
	card(to, "peak of the heap", model_meta_number(m, "peak_heap_bytes"));
	card(to, "live at the end", (double)model_stat(m, "current_bytes"));
	card(to, "allocated in all", (double)model_stat(m, "allocated_bytes"));
	fprintf(to, "<div class=card><b>%llu</b><span>allocations</span></div>", (ull)model_stat(m, "allocations"));
	if (strcmp(model_meta(m, "leaks_searched"), "1") == 0) card(to, "lost", (double)model_sum(m, LOST_BYTES));
	fputs("</div>", to);
}

/* ---- memory over time ---- */

static void curve(const model *m, FILE *to, const char *color, size_t offset, double width_ms, double top) {
	fprintf(to, "<polyline fill=none stroke='%s' stroke-width=2 vector-effect=non-scaling-stroke points='", color);
	for (size_t i = 0; i < m->tick_count; i++) {
		uint64_t value;
		memcpy(&value, (const char *)&m->ticks[i] + offset, sizeof value);
		fprintf(to, "%.1f,%.1f ", 1000 * (double)m->ticks[i].ms / width_ms, 1000 - 1000 * (double)value / top);
	}
	fputs("'/>", to);
}

/* A power of two, so that four steps hold `most`. */
static double step_of(double most) {
	double step = 1024;
	while (step * 4 < most) step *= 2;
	return step;
}

static void timeline(const model *m, FILE *to) {
	if (m->tick_count < 2) return;
	double most = 1, width_ms = (double)m->ticks[m->tick_count - 1].ms;
	if (width_ms < 1) width_ms = 1;
	for (size_t i = 0; i < m->tick_count; i++) {
		const model_tick *t = &m->ticks[i];
		if ((double)t->resident > most) most = (double)t->resident;
		if ((double)t->committed > most) most = (double)t->committed;
		if ((double)t->live > most) most = (double)t->live;
	}
	char text[24];
	double step = step_of(most), top = most * 1.04;
	fprintf(to,
	        "<h2 id=timeline>Memory over time</h2><p class='dim key'><i style='background:var(--a)'></i>resident<i "
	        "style='background:var(--b)'></i>heap in use<i style='background:var(--c)'></i>live, by samples</p>"
	        "<div class=chart><svg viewBox='0 0 1000 1000' preserveAspectRatio=none role=img aria-label='memory over "
	        "time'><g stroke='var(--line)' vector-effect=non-scaling-stroke>");
	for (double y = 0; y < top; y += step)
		fprintf(to, "<line x1=0 x2=1000 y1=%.1f y2=%.1f vector-effect=non-scaling-stroke />", 1000 - 1000 * y / top,
		        1000 - 1000 * y / top);
	for (size_t i = 0; i < m->anomaly_count; i++)
		fprintf(to,
		        "<rect x=%.1f width=%.1f y=0 height=1000 stroke=none fill='var(--bad)' opacity=.13><title>%s of "
		        "%s</title></rect>",
		        1000 * (double)m->anomalies[i].from_ms / width_ms,
		        1000 * (double)(m->anomalies[i].to_ms - m->anomalies[i].from_ms) / width_ms, m->anomalies[i].kind,
		        hypi_cmd_bytes((double)m->anomalies[i].bytes, text));
	double peak_ms = model_meta_number(m, "peak_ms");
	bool peak = model_sum(m, AT_PEAK_BYTES) != 0 && peak_ms <= width_ms;
	if (peak)
		fprintf(to,
		        "<line x1=%.1f x2=%.1f y1=0 y2=1000 stroke='var(--c)' stroke-dasharray='4 4' "
		        "vector-effect=non-scaling-stroke />",
		        1000 * peak_ms / width_ms, 1000 * peak_ms / width_ms);
	fputs("</g>", to);
	curve(m, to, "var(--a)", offsetof(model_tick, resident), width_ms, top);
	curve(m, to, "var(--b)", offsetof(model_tick, committed), width_ms, top);
	curve(m, to, "var(--c)", offsetof(model_tick, live), width_ms, top);
	fputs("</svg>", to);
	for (double y = step; y < top; y += step)
		fprintf(to, "<span style='bottom:%.1f%%'>%s</span>", 100 * y / top, hypi_cmd_bytes(y, text));
	fputs("<span style='top:100%'>0 s</span>", to);
	if (peak && peak_ms > width_ms / 8 && peak_ms < width_ms * 7 / 8)
		fprintf(to, "<span style='top:100%%;left:%.1f%%;transform:translateX(-50%%)'>peak</span>",
		        100 * peak_ms / width_ms);
	fprintf(to, "<span class=r style='top:100%%'>%.2f s</span></div>", width_ms / 1000);
	if (m->anomaly_count == 0) return;
	fputs("<p class=dim>Out of the ordinary (shaded): ", to);
	for (size_t i = 0; i < m->anomaly_count; i++)
		fprintf(to, "%sa %s of %s at %.2f s", i == 0 ? "" : ", ", m->anomalies[i].kind,
		        hypi_cmd_bytes((double)m->anomalies[i].bytes, text), (double)m->anomalies[i].from_ms / 1000);
	fputs("</p>", to);
}

/* ---- flame graph: sites sorted by their stack from the outside in, and cut into equal prefixes ---- */

static const model *sorting;

static int outside_in(const void *a, const void *b) {
	const model_site *x = *(const model_site *const *)a, *y = *(const model_site *const *)b;
	for (uint32_t i = 1;; i++) {
		if (i > x->depth || i > y->depth) return (int)x->depth - (int)y->depth;
		int order =
			strcmp(sorting->frames[x->frames[x->depth - i]].name, sorting->frames[y->frames[y->depth - i]].name);
		if (order != 0) return order;
	}
}

static void flames(const model *m, FILE *to, const model_site **sites, size_t count, uint32_t depth, model_number by,
                   double whole) {
	double inside = 0;
	for (size_t i = 0; i < count; i++) inside += (double)sites[i]->n[by];
	fputs("<div class=row>", to);
	for (size_t i = 0, end; i < count; i = end) {
		end = i + 1;
		if (sites[i]->depth <= depth) continue;
		const char *name = m->frames[sites[i]->frames[sites[i]->depth - 1 - depth]].name;
		double sum = (double)sites[i]->n[by];
		for (; end < count && strcmp(m->frames[sites[end]->frames[sites[end]->depth - 1 - depth]].name, name) == 0;
		     end++)
			sum += (double)sites[end]->n[by];
		if (sum < whole / 200 || depth > 60) continue;
		unsigned hash = 0;
		for (const char *at = name; *at != '\0'; at++) hash = hash * 31 + (unsigned char)*at;
		char text[24];
		fprintf(to,
		        "<div class=f data-w='%.3f%%' style='width:%.3f%%'><i style='background:hsl(%u 75%% %u%%)' title=\"",
		        100 * sum / inside, 100 * sum / inside, 18 + hash % 40, 62 + hash / 64 % 14);
		hypi_cmd_html(to, name);
		fprintf(to, ": %s (%.1f %%)\">", hypi_cmd_bytes(sum, text), 100 * sum / whole);
		hypi_cmd_html(to, name);
		fputs("</i>", to);
		flames(m, to, sites + i, end - i, depth + 1, by, whole);
		fputs("</div>", to);
	}
	fputs("</div>", to);
}

static void flame_graph(const model *m, FILE *to, const char *id, const char *title, model_number by) {
	double whole = (double)model_sum(m, by);
	if (whole <= 0) return;
	const model_site **sites = model_sorted(m, by);
	size_t count = 0;
	while (count < m->site_count && sites[count]->n[by] != 0) count++;
	sorting = m;
	qsort(sites, count, sizeof *sites, outside_in);
	char text[24];
	fprintf(to, "<h2 id=%s>%s: %s</h2><div class=flame>", id, title, hypi_cmd_bytes(whole, text));
	flames(m, to, sites, count, 0, by, whole);
	fputs("</div>", to);
	free(sites);
}

/* ---- tables ---- */

static void stack(const model *m, FILE *to, const model_group *g) {
	const model_site *site = g->largest;
	const char *pool = model_pool_name(m, site);
	if (pool != NULL) {
		fputs(" <span class=dim>pool ", to);
		hypi_cmd_html(to, pool);
		fputs("</span>", to);
	}
	/* From the function that names the row on; below it are only allocators. */
	uint32_t first = 0;
	while (first + 1 < site->depth && strcmp(m->frames[site->frames[first]].name, g->place) != 0) first++;
	fputs("<details><summary>", to);
	for (uint32_t k = first + 1; k < site->depth && k < first + 4; k++) {
		fputs(k == first + 1 ? "from " : " &larr; ", to);
		hypi_cmd_html(to, m->frames[site->frames[k]].name);
	}
	if (first + 1 >= site->depth) fputs("no caller is known", to);
	if (g->sites > 1) fprintf(to, " <b>and %zu more stacks</b>", g->sites - 1);
	fputs("</summary><div class=stack>", to);
	for (uint32_t k = 0; k < site->depth; k++) {
		if (k != 0) fputs(" &larr; ", to);
		hypi_cmd_html(to, m->frames[site->frames[k]].name);
	}
	fputs("</div></details>", to);
}

static void site_table(const model *m, FILE *to, const char *id, const char *title, model_number by,
                       model_number count) {
	double whole = (double)model_sum(m, by);
	if (whole <= 0) return;
	fprintf(to, "<h2 id=%s>%s</h2><div class=scroll><table><tr><th class=n>bytes<th class=n>blocks<th>function", id,
	        title);
	size_t groups;
	model_group *all = model_grouped(m, by, count, &groups);
	for (size_t i = 0; i < groups && i < 25; i++) {
		char text[24];
		fprintf(to, "<tr><td class=n>%s<div class=bar style='width:%.1f%%'></div><td class=n>%llu<td>",
		        hypi_cmd_bytes((double)all[i].bytes, text), 100 * (double)all[i].bytes / whole, (ull)all[i].count);
		hypi_cmd_html(to, all[i].place);
		stack(m, to, &all[i]);
	}
	fputs("</table></div>", to);
	if (groups > 25) fprintf(to, "<p class=dim>and %zu more functions</p>", groups - 25);
	free(all);
}

static void pool_table(const model *m, FILE *to) {
	if (m->pool_count == 0) return;
	fputs("<h2 id=pools>Pools</h2><div class=scroll><table><tr><th>pool<th class=n>live<th class=n>blocks<th "
	      "class=n>held<th class=n>limit<th class=n>allocations<th class=n>failed",
	      to);
	for (size_t i = 0; i < m->pool_count; i++) {
		const model_pool *p = &m->pools[i];
		char a[24], b[24], c[24];
		fputs("<tr><td>", to);
		hypi_cmd_html(to, p->name);
		if (p->gone) fputs("<td class='n dim'>destroyed<td><td><td><td><td>", to);
		else
			fprintf(to, "<td class=n>%s<td class=n>%llu<td class=n>%s<td class=n>%s<td class=n>%llu<td class=n>%llu",
			        hypi_cmd_bytes((double)p->live_bytes, a), (ull)p->live_count,
			        hypi_cmd_bytes((double)p->committed, b),
			        p->limit != 0 ? hypi_cmd_bytes((double)p->limit, c) : "none", (ull)p->allocations,
			        (ull)p->failures);
	}
	fputs("</table></div>", to);
}

static void class_table(const model *m, FILE *to) {
	if (m->class_count == 0) return;
	uint64_t most = 1;
	for (size_t i = 0; i < m->class_count; i++)
		if (m->classes[i].allocations > most) most = m->classes[i].allocations;
	fputs("<h2 id=classes>Size classes</h2><div class=scroll><table><tr><th class=n>block<th class=n>allocations<th "
	      "class=n>live<th class=n>in use of spans<th style='width:30%'>",
	      to);
	for (size_t i = 0; i < m->class_count; i++) {
		const model_class *c = &m->classes[i];
		char a[24], b[24];
		fprintf(to, "<tr><td class=n>%s<td class=n>%llu<td class=n>%llu<td class=n>",
		        hypi_cmd_bytes((double)c->bytes, a), (ull)c->allocations, (ull)c->active);
		if (c->span_bytes != 0)
			fprintf(to, "%.0f %% of %s", 100 * (double)(c->active * c->bytes) / (double)c->span_bytes,
			        hypi_cmd_bytes((double)c->span_bytes, b));
		fprintf(to, "<td><div class=bar style='width:%.1f%%'></div>", 100 * (double)c->allocations / (double)most);
	}
	fputs("</table></div>", to);
}

static void fragmentation(const model *m, FILE *to) {
	if (m->arena_count == 0) return;
	double live = (double)model_stat(m, "current_bytes"), held = (double)model_stat(m, "committed_bytes");
	double largest = (double)model_stat(m, "largest_free_bytes"), free_bytes = (double)model_stat(m, "free_bytes");
	fprintf(
		to,
		"<h2 id=fragmentation>Arenas at the end</h2><p class=dim>%.1f %% of the heap in use is live blocks; the "
		"largest free "
		"piece is %.1f %% of what is free. Each cell is a 256th of an arena, darker where more of it is in use.</p>",
		held > 0 ? 100 * live / held : 100, free_bytes > 0 ? 100 * largest / free_bytes : 100);
	for (size_t i = 0; i < m->arena_count && i < 64; i++) {
		char text[24];
		fprintf(to, "<div class=dim>0x%llx, %s</div><div class=map>", (ull)m->arenas[i].base,
		        hypi_cmd_bytes((double)(m->arenas[i].slices * m->arenas[i].slice_bytes), text));
		for (const char *at = m->arenas[i].map; *at != '\0'; at++) {
			if (*at == '0') fputs("<i></i>", to);
			else fprintf(to, "<i style='background:var(--a);opacity:%.2f'></i>", 0.3 + 0.7 * (*at - '0') / 8);
		}
		fputs("</div>", to);
	}
}

static void contents(const model *m, FILE *to) {
	fputs("<nav>", to);
	if (m->advice_count != 0) fputs("<a href='#advice'>advice</a>", to);
	if (m->tick_count >= 2) fputs("<a href='#timeline'>over time</a>", to);
	if (model_sum(m, LOST_BYTES) != 0) fputs("<a href='#leaks'>lost</a>", to);
	if (model_sum(m, AT_PEAK_BYTES) != 0) fputs("<a href='#flame-peak'>at the peak</a>", to);
	if (model_sum(m, LIVE_BYTES) != 0) fputs("<a href='#flame-live'>at the end</a>", to);
	if (model_sum(m, BYTES) != 0) fputs("<a href='#flame-all'>in all</a>", to);
	fputs("<a href='#pools'>pools</a><a href='#classes'>size classes</a><a href='#fragmentation'>arenas</a></nav>", to);
}

void model_print_html(const model *m, FILE *to) {
	fprintf(to, "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
	            "content='width=device-width,initial-scale=1'>"
	            "<title>hypool: ");
	hypi_cmd_html(to, model_meta(m, "command"));
	fprintf(to, "</title><style>%s</style><h1>", style);
	hypi_cmd_html(to, model_meta(m, "command"));
	fputs("</h1><p class=dim>process ", to);
	hypi_cmd_html(to, model_meta(m, "pid"));
	fprintf(to, ", %.2f s; ", model_meta_number(m, "duration_ms") / 1000);
	char text[24];
	if (strcmp(model_meta(m, "exact"), "1") == 0) fputs("every allocation was followed", to);
	else
		fprintf(to, "call sites are scaled up from one sample in %s",
		        hypi_cmd_bytes(model_meta_number(m, "mean_bytes"), text));
	fputs("</p>", to);
	cards(m, to);
	contents(m, to);
	if (m->advice_count != 0) {
		fputs("<h2 id=advice>Advice</h2><ul>", to);
		for (size_t i = 0; i < m->advice_count; i++) {
			fprintf(to, "<li><b>%s</b>: ", m->advice[i].kind);
			hypi_cmd_html(to, m->advice[i].text);
		}
		fputs("</ul>", to);
	}
	timeline(m, to);
	site_table(m, to, "leaks", "<span class=bad>Lost: nothing points to these blocks</span>", LOST_BYTES, LOST_COUNT);
	flame_graph(m, to, "flame-peak", "Live at the peak", AT_PEAK_BYTES);
	site_table(m, to, "peak", "Live at the peak, by function", AT_PEAK_BYTES, AT_PEAK_COUNT);
	flame_graph(m, to, "flame-live", "Live at the end", LIVE_BYTES);
	site_table(m, to, "live", "Live at the end, by function", LIVE_BYTES, LIVE_COUNT);
	flame_graph(m, to, "flame-all", "Allocated in all", BYTES);
	site_table(m, to, "allocated", "Allocated in all, by function", BYTES, COUNT);
	pool_table(m, to);
	class_table(m, to);
	fragmentation(m, to);
	fprintf(to, "<script>%s</script></html>\n", script);
}
