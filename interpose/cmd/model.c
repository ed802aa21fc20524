/* interpose/cmd/model.c: see interpose/cmd/model.h. The parser refuses what it does not understand. */
#include "interpose/cmd/model.h"

#include "interpose/cmd/cmd.h"
#include "tracking/symbols.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DEPTH = 4096 };

/* Room for one more at the end of an array whose capacity is the next power of two; exits when there is no memory. */
static void *more(void *array, size_t count, size_t bytes) {
	if ((count & (count - 1)) != 0) return array;
	void *p = realloc(array, (count == 0 ? 1 : 2 * count) * bytes);
	if (p == NULL) exit(hypi_cmd_fail(1, "out of memory"));
	return p;
}
#define ADD(m, array, count) ((m)->array = more((m)->array, (m)->count, sizeof *(m)->array), &(m)->array[(m)->count++])

static char *word(char **at) {
	char *start = *at, *end = strchr(start, ' ');
	if (end == NULL) {
		*at = start + strlen(start);
	} else {
		*end = '\0';
		*at = end + 1;
	}
	return start;
}

static bool number(char **at, int base, uint64_t *ret_number) {
	char *text = word(at), *end;
	*ret_number = strtoull(text, &end, base);
	return end != text && *end == '\0' && *text != '-';
}

static bool numbers(char **at, uint64_t *ret_numbers, size_t count) {
	for (size_t i = 0; i < count; i++)
		if (!number(at, 10, &ret_numbers[i])) return false;
	return true;
}

/* What is printed as it is, in pages and in JSON. */
static bool holds_only(const char *text, const char *characters) {
	return *text != '\0' && text[strspn(text, characters)] == '\0';
}
#define DIGITS "0123456789"
#define IS_DECIMAL(text) holds_only(text, DIGITS)
#define IS_KIND(text) holds_only(text, DIGITS "abcdefghijklmnopqrstuvwxyz-_")

static bool add_frame(model *m, char *at) {
	uint64_t id, pc, module;
	if (!number(&at, 10, &id) || !number(&at, 16, &pc) || !number(&at, 10, &module)) return false;
	if (id != m->frame_count || module > m->module_count) return false;
	*ADD(m, frames, frame_count) = (model_frame){pc, (uint32_t)module, at};
	return true;
}

static bool add_site(model *m, char *at) {
	model_site site = {0};
	uint64_t id, frames[256];
	if (!number(&at, 10, &id) || !numbers(&at, site.n, MODEL_NUMBERS)) return false;
	for (; *at != '\0' && site.depth < HYP_ARRAY_LEN(frames); site.depth++)
		if (!number(&at, 10, &frames[site.depth]) || frames[site.depth] >= m->frame_count) return false;
	size_t bytes = 16;
	for (uint32_t i = 0; i < site.depth; i++) bytes += strlen(m->frames[frames[i]].name) + 1;
	site.frames = malloc((site.depth + 1) * sizeof *site.frames);
	site.key = malloc(bytes);
	if (site.frames == NULL || site.key == NULL) exit(hypi_cmd_fail(1, "out of memory"));
	char *to = site.key;
	*to = '\0';
	for (uint32_t i = 0; i < site.depth; i++) {
		site.frames[i] = (uint32_t)frames[i];
		to += sprintf(to, "%s%s", i == 0 ? "" : ";", m->frames[frames[i]].name);
	}
	*ADD(m, sites, site_count) = site;
	return true;
}

static bool add_arena(model *m, char *at) {
	model_arena arena;
	if (!number(&at, 16, &arena.base) || !number(&at, 10, &arena.slices) || !number(&at, 10, &arena.slice_bytes))
		return false;
	arena.map = at;
	if (strspn(at, "012345678") != strlen(at)) return false;
	*ADD(m, arenas, arena_count) = arena;
	return true;
}

static bool add_pool(model *m, char *at) {
	uint64_t n[10];
	if (!numbers(&at, n, 10)) return false;
	*ADD(m, pools, pool_count) = (model_pool){n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], at};
	return true;
}

static bool add_line(model *m, char *at) {
	uint64_t n[5];
	char *kind = word(&at), *name;
	if (strcmp(kind, "meta") == 0) {
		name = word(&at);
		*ADD(m, meta, meta_count) = (model_pair){name, at};
	} else if (strcmp(kind, "stat") == 0) {
		name = word(&at);
		if (!IS_DECIMAL(at)) return false;
		*ADD(m, stats, stat_count) = (model_pair){name, at};
	} else if (strcmp(kind, "class") == 0) {
		if (!numbers(&at, n, 5)) return false;
		*ADD(m, classes, class_count) = (model_class){n[0], n[1], n[2], n[3], n[4]};
	} else if (strcmp(kind, "tick") == 0) {
		if (!numbers(&at, n, 4)) return false;
		*ADD(m, ticks, tick_count) = (model_tick){n[0], n[1], n[2], n[3]};
	} else if (strcmp(kind, "module") == 0) {
		if (!number(&at, 16, n) || !number(&at, 16, n) || !number(&at, 16, n)) return false;
		name = word(&at);
		*ADD(m, modules, module_count) = (model_pair){name, at};
	} else if (strcmp(kind, "frame") == 0) {
		return add_frame(m, at);
	} else if (strcmp(kind, "site") == 0) {
		return add_site(m, at);
	} else if (strcmp(kind, "confidence") == 0) {
		if (!numbers(&at, n, 2) || m->site_count == 0 || n[1] > 100) return false;
		m->sites[m->site_count - 1].confidence = (uint32_t)n[1];
	} else if (strcmp(kind, "anomaly") == 0) {
		name = word(&at);
		if (!IS_KIND(name) || !numbers(&at, n, 2)) return false;
		if (*at == '-') at++;
		if (!numbers(&at, n + 2, 2)) return false;
		*ADD(m, anomalies, anomaly_count) = (model_anomaly){name, n[0], n[1], n[2], n[3]};
	} else if (strcmp(kind, "pool") == 0) {
		return add_pool(m, at);
	} else if (strcmp(kind, "arena") == 0) {
		return add_arena(m, at);
	} else if (strcmp(kind, "advice") == 0) {
		name = word(&at);
		if (!IS_KIND(name) || !number(&at, 10, n)) return false;
		*ADD(m, advice, advice_count) = (model_advice){name, at, n[0]};
	} /* a newer hypool may write lines of other kinds */
	return true;
}

static char *read_all(const char *path) {
	FILE *file = fopen(path, "re");
	if (file == NULL) return NULL;
	size_t used = 0, room = 65536;
	char *text = malloc(room);
	while (text != NULL) {
		used += fread(text + used, 1, room - used - 1, file);
		if (used < room - 1) break;
		char *larger = realloc(text, room *= 2);
		if (larger == NULL) free(text);
		text = larger;
	}
	fclose(file);
	if (text != NULL) text[used] = '\0';
	return text;
}

bool model_is_exact(const model *m) { return strcmp(model_meta(m, "exact"), "1") == 0 || m->site_count == 0; }

model *model_load(const char *path) {
	char *text = read_all(path);
	if (text == NULL) return hypi_cmd_fail(0, "cannot read %s: %s", path, strerror(errno)), NULL;
	if (strncmp(text, "hypool-report 2\n", 16) != 0) {
		free(text);
		return hypi_cmd_fail(0, "%s is no report of hypool", path), NULL;
	}
	model *m = calloc(1, sizeof *m);
	if (m == NULL) exit(hypi_cmd_fail(1, "out of memory"));
	m->text = text;
	*ADD(m, frames, frame_count) = (model_frame){0, 0, (char[]){"[unknown]"}};
	m->frames[0].name = strdup("[unknown]");
	unsigned line_number = 1;
	bool ended = false;
	for (char *line = text + 16, *next; !ended && (next = strchr(line, '\n')) != NULL; line = next) {
		*next++ = '\0';
		line_number++;
		hypi_cmd_clean(line, (size_t)(next - line));
		ended = strcmp(line, "end") == 0;
		if (!ended && !add_line(m, line)) {
			hypi_cmd_fail(0, "%s:%u: not understood", path, line_number);
			model_free(m);
			return NULL;
		}
	}
	if (!ended) {
		hypi_cmd_fail(0, "%s is cut off", path);
		model_free(m);
		return NULL;
	}
	return m;
}

void model_free(model *m) {
	if (m == NULL) return;
	for (size_t i = 0; i < m->site_count; i++) {
		free(m->sites[i].frames);
		free(m->sites[i].key);
	}
	if (m->frames != NULL) free(m->frames[0].name);
	void *const all[] = {m->meta,  m->stats,  m->modules, m->classes, m->ticks,     m->frames,
	                     m->sites, m->arenas, m->advice,  m->pools,   m->anomalies, m->text};
	for (size_t i = 0; i < HYP_ARRAY_LEN(all); i++) free(all[i]);
	free(m);
}

const char *model_meta(const model *m, const char *key) {
	for (size_t i = 0; i < m->meta_count; i++)
		if (strcmp(m->meta[i].key, key) == 0) return m->meta[i].value;
	return "";
}

double model_meta_number(const model *m, const char *key) {
	const char *text = model_meta(m, key);
	return IS_DECIMAL(text) ? (double)strtoull(text, NULL, 10) : 0;
}

uint64_t model_stat(const model *m, const char *name) {
	for (size_t i = 0; i < m->stat_count; i++)
		if (strcmp(m->stats[i].key, name) == 0) return strtoull(m->stats[i].value, NULL, 10);
	return 0;
}

typedef struct stack_names {
	const model *m;
	const model_site *site;
} stack_names;

static const char *name_of(void *context, unsigned frame) {
	const stack_names *s = context;
	return s->m->frames[s->site->frames[frame]].name;
}

const char *model_place(const model *m, const model_site *site) {
	stack_names names = {m, site};
	for (uint32_t i = hypi_symbols_own_frames(name_of, &names, site->depth); i < site->depth; i++) {
		const char *name = m->frames[site->frames[i]].name;
		if (!hypi_symbols_is_allocator(name)) return name;
	}
	return site->depth == 0 ? "[unknown]" : m->frames[site->frames[0]].name;
}

const char *model_pool_name(const model *m, const model_site *site) {
	if (site->n[POOL] == 0) return NULL;
	for (size_t i = 0; i < m->pool_count; i++)
		if (m->pools[i].number == site->n[POOL]) return m->pools[i].name;
	return NULL;
}

static model_number sort_by;

static int compare(const void *a, const void *b) {
	const model_site *x = *(const model_site *const *)a, *y = *(const model_site *const *)b;
	if (x->n[sort_by] != y->n[sort_by]) return x->n[sort_by] < y->n[sort_by] ? 1 : -1;
	return strcmp(x->key, y->key);
}

const model_site **model_sorted(const model *m, model_number by) {
	const model_site **sorted = malloc((m->site_count + 1) * sizeof *sorted);
	if (sorted == NULL) exit(hypi_cmd_fail(1, "out of memory"));
	for (size_t i = 0; i < m->site_count; i++) sorted[i] = &m->sites[i];
	sort_by = by;
	qsort(sorted, m->site_count, sizeof *sorted, compare);
	return sorted;
}

uint64_t model_sum(const model *m, model_number what) {
	uint64_t sum = 0;
	for (size_t i = 0; i < m->site_count; i++) sum += m->sites[i].n[what];
	return sum;
}

static int by_place(const void *a, const void *b) {
	const model_group *x = a, *y = b;
	int order = strcmp(x->place, y->place);
	return order != 0 ? order : x->bytes == y->bytes ? 0 : x->bytes < y->bytes ? 1 : -1;
}

static int by_bytes(const void *a, const void *b) {
	const model_group *x = a, *y = b;
	return x->bytes != y->bytes ? (x->bytes < y->bytes ? 1 : -1) : strcmp(x->place, y->place);
}

model_group *model_grouped(const model *m, model_number by, model_number count, size_t *ret_groups) {
	model_group *groups = malloc((m->site_count + 1) * sizeof *groups);
	if (groups == NULL) exit(hypi_cmd_fail(1, "out of memory"));
	size_t used = 0, kept = 0;
	for (size_t i = 0; i < m->site_count; i++) {
		const model_site *site = &m->sites[i];
		if (site->n[by] == 0) continue;
		groups[used++] = (model_group){model_place(m, site), site->n[by], site->n[count], site, 1};
	}
	qsort(groups, used, sizeof *groups, by_place);
	for (size_t i = 0; i < used; i++) {
		if (kept == 0 || strcmp(groups[kept - 1].place, groups[i].place) != 0) {
			groups[kept++] = groups[i];
			continue;
		}
		groups[kept - 1].bytes += groups[i].bytes;
		groups[kept - 1].count += groups[i].count;
		groups[kept - 1].sites++;
	}
	qsort(groups, kept, sizeof *groups, by_bytes);
	*ret_groups = kept;
	return groups;
}
