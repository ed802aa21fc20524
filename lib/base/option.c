/* base/option.c: the parser behind base/option.h, and the public reading (hypool/option.h). It never allocates. */
#include "base/option.h"

#include "base/bits.h"

#include <hypool/option.h>

#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

const hypi_option_info hypi_option_table[HYPI_OPTION_COUNT] = {
#define HYP_OPTION_X(name, type, initial, least, most, doc) {#name, HYPI_##type, initial, least, most, doc},
#include <hypool/options.def>
#undef HYP_OPTION_X
};

uint64_t hypi_option_values[HYPI_OPTION_COUNT] = {
#define HYP_OPTION_X(name, type, initial, least, most, doc) initial,
#include <hypool/options.def>
#undef HYP_OPTION_X
};

static unsigned char sources[HYPI_OPTION_COUNT];
static char texts[HYPI_OPTION_COUNT][HYPI_OPTION_TEXT_BYTES];
static bool initialised, warned;

const char *hypi_option_text(hypi_option option) { return texts[option]; }
hypi_option_source hypi_option_source_of(hypi_option option) { return (hypi_option_source)sources[option]; }

static bool equal(const char *text, size_t bytes, const char *word) {
	return strlen(word) == bytes && strncasecmp(text, word, bytes) == 0;
}

static bool parse_bool(const char *text, size_t bytes, uint64_t *ret_value) {
	static const char *const yes[] = {"true", "1", "yes", "on"}, *const no[] = {"false", "0", "no", "off"};
	for (size_t i = 0; i < HYP_ARRAY_LEN(yes); i++) {
		if (equal(text, bytes, yes[i])) return *ret_value = 1, true;
		if (equal(text, bytes, no[i])) return *ret_value = 0, true;
	}
	return false;
}

/* A decimal number with at most one suffix; the suffix decides the factor. */
static bool parse_number(const char *text, size_t bytes, hypi_option_type type, uint64_t *ret_value) {
	static const struct {
		const char *suffix;
		hypi_option_type type;
		uint64_t factor;
	} suffixes[] = {
		{"", HYPI_INT, 1},
		{"", HYPI_SIZE, 1},
		{"B", HYPI_SIZE, 1},
		{"K", HYPI_SIZE, 1 << 10},
		{"KiB", HYPI_SIZE, 1 << 10},
		{"KB", HYPI_SIZE, 1 << 10},
		{"M", HYPI_SIZE, 1 << 20},
		{"MiB", HYPI_SIZE, 1 << 20},
		{"MB", HYPI_SIZE, 1 << 20},
		{"G", HYPI_SIZE, 1 << 30},
		{"GiB", HYPI_SIZE, 1 << 30},
		{"GB", HYPI_SIZE, 1 << 30},
		{"T", HYPI_SIZE, 1ull << 40},
		{"TiB", HYPI_SIZE, 1ull << 40},
		{"TB", HYPI_SIZE, 1ull << 40},
		{"", HYPI_TIME, 1},
		{"ms", HYPI_TIME, 1},
		{"s", HYPI_TIME, 1000},
		{"m", HYPI_TIME, 60000},
	};
	uint64_t value = 0;
	size_t at = 0;
	for (; at < bytes && text[at] >= '0' && text[at] <= '9'; at++) {
		if (__builtin_mul_overflow(value, 10u, &value)) return false;
		if (__builtin_add_overflow(value, (uint64_t)(text[at] - '0'), &value)) return false;
	}
	if (at == 0) return false;
	for (size_t i = 0; i < HYP_ARRAY_LEN(suffixes); i++)
		if (suffixes[i].type == type && equal(text + at, bytes - at, suffixes[i].suffix))
			return !__builtin_mul_overflow(value, suffixes[i].factor, ret_value);
	return false;
}

/* HYPI_OPTION_COUNT: no such key. */
static unsigned find(const char *key, size_t key_bytes) {
	unsigned i = 0;
	while (i < HYPI_OPTION_COUNT && !equal(key, key_bytes, hypi_option_table[i].name)) i++;
	return i;
}

hyp_status hypi_option_set(const char *key, size_t key_bytes, const char *value, size_t value_bytes,
                           hypi_option_source source) {
	unsigned i = find(key, key_bytes);
	if (i == HYPI_OPTION_COUNT) return HYP_ERR_NOT_FOUND;
	const hypi_option_info *info = &hypi_option_table[i];
	if (info->type == HYPI_TEXT) {
		if (value_bytes >= HYPI_OPTION_TEXT_BYTES) return HYP_ERR_INVALID;
		memcpy(texts[i], value, value_bytes);
		texts[i][value_bytes] = '\0';
	} else {
		uint64_t n;
		bool parsed = info->type == HYPI_BOOL ? parse_bool(value, value_bytes, &n)
		                                      : parse_number(value, value_bytes, info->type, &n);
		if (!parsed || n < info->least || n > info->most) return HYP_ERR_INVALID;
		hypi_option_values[i] = n;
	}
	sources[i] = (unsigned char)source;
	return HYP_OK;
}

/* Levenshtein's distance (1965), capped: words longer than the table's longest are far anyway. */
static unsigned distance(const char *a, size_t a_bytes, const char *b) {
	enum { CAP = 31 };
	unsigned row[CAP + 1];
	size_t b_bytes = strlen(b);
	if (a_bytes > CAP) a_bytes = CAP;
	if (b_bytes > CAP) b_bytes = CAP;
	for (size_t j = 0; j <= b_bytes; j++) row[j] = (unsigned)j;
	for (size_t i = 1; i <= a_bytes; i++) {
		unsigned diagonal = row[0];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_bytes; j++) {
			unsigned change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
			diagonal = row[j];
			unsigned best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
			row[j] = change < best ? change : best;
		}
	}
	return row[b_bytes];
}

const char *hypi_option_nearest(const char *key, size_t key_bytes) {
	unsigned best = UINT32_MAX, at = 0;
	for (unsigned i = 0; i < HYPI_OPTION_COUNT; i++) {
		unsigned d = distance(key, key_bytes, hypi_option_table[i].name);
		if (d < best) best = d, at = i;
	}
	return hypi_option_table[at].name;
}

static void refuse(hypi_out *warn, hyp_status why, const char *key, size_t key_bytes, const char *value,
                   size_t value_bytes) {
	if (warn == NULL || warned) return;
	warned = true;
	if (why == HYP_ERR_NOT_FOUND)
		hypi_out_format(warn, "hypool: unknown option '%.*s'; did you mean '%s'?\n", (int)key_bytes, key,
		                hypi_option_nearest(key, key_bytes));
	else
		hypi_out_format(warn, "hypool: option '%.*s' does not take '%.*s'\n", (int)key_bytes, key, (int)value_bytes,
		                value);
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static void trim(const char **text, size_t *bytes) {
	while (*bytes > 0 && is_space(**text)) (*text)++, (*bytes)--;
	while (*bytes > 0 && is_space((*text)[*bytes - 1])) (*bytes)--;
}

unsigned hypi_options_parse(const char *text, size_t bytes, hypi_option_source source, hypi_out *warn) {
	unsigned refused = 0;
	for (size_t at = 0; at < bytes;) {
		size_t end = at;
		if (text[at] == '#') {
			while (end < bytes && text[end] != '\n') end++;
			at = end + 1;
			continue;
		}
		while (end < bytes && text[end] != ',' && text[end] != '\n') end++;
		const char *key = text + at;
		size_t entry_bytes = end - at;
		at = end + 1;
		trim(&key, &entry_bytes);
		if (entry_bytes == 0) continue;
		size_t key_bytes = 0;
		while (key_bytes < entry_bytes && key[key_bytes] != ':' && key[key_bytes] != '=') key_bytes++;
		const char *value = key_bytes < entry_bytes ? key + key_bytes + 1 : "";
		size_t value_bytes = key_bytes < entry_bytes ? entry_bytes - key_bytes - 1 : 0;
		trim(&key, &key_bytes);
		trim(&value, &value_bytes);
		hyp_status status = hypi_option_set(key, key_bytes, value, value_bytes, source);
		if (status != HYP_OK) {
			refused++;
			refuse(warn, status, key, key_bytes, value, value_bytes);
		}
	}
	return refused;
}

static const char *lookup(char *const *environment, const char *name) {
	size_t n = strlen(name);
	for (; *environment != NULL; environment++)
		if (strncmp(*environment, name, n) == 0 && (*environment)[n] == '=') return *environment + n + 1;
	return NULL;
}

/* A file of any length, an entry at a time. Of one that is longer than any option takes, the beginning is refused. */
void hypi_options_read_file(const char *path, hypi_out *warn) {
	char chunk[1024], entry[4096];
	size_t have = 0;
	bool comment = false;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;
	while (fd >= 0 && (n = read(fd, chunk, sizeof chunk)) > 0)
		for (ssize_t i = 0; i < n; i++) {
			comment = comment || (have == 0 && chunk[i] == '#');
			if (chunk[i] == '\n' || (chunk[i] == ',' && !comment)) {
				hypi_options_parse(entry, have, HYPI_FROM_FILE, warn);
				have = 0;
				comment = false;
			} else if (!comment && have < sizeof entry) {
				entry[have++] = chunk[i];
			}
		}
	if (fd >= 0) close(fd);
	if (n == 0) {
		hypi_options_parse(entry, have, HYPI_FROM_FILE, warn);
	} else if (!warned) {
		warned = true;
		hypi_out_format(warn, "hypool: cannot read the config file %s\n", path);
	}
}

/* A variable that is no option's may be a program's own: only one that looks like a slip of the finger is told of. */
static void look_for_slips(const char *variable, hypi_out *warn) {
	char key[32];
	size_t n = 0;
	if (strncmp(variable, "HYPOOL_", 7) != 0) return;
	for (variable += 7; n < sizeof key && variable[n] != '=' && variable[n] != '\0'; n++)
		key[n] = variable[n] >= 'A' && variable[n] <= 'Z' ? (char)(variable[n] - 'A' + 'a') : variable[n];
	if (n == sizeof key || variable[n] != '=' || find(key, n) != HYPI_OPTION_COUNT) return;
	if (equal(key, n, "conf") || equal(key, n, "conf_file") || equal(key, n, "preload")) return;
	unsigned slips = distance(key, n, hypi_option_nearest(key, n));
	if (slips <= 2 && slips * 3 <= n) refuse(warn, HYP_ERR_NOT_FOUND, key, n, "", 0);
}

static void read_variables(char *const *environment, hypi_out *warn) {
	for (unsigned i = 0; i < HYPI_OPTION_COUNT; i++) {
		const char *name = hypi_option_table[i].name;
		char variable[64] = "HYPOOL_";
		size_t n = strlen(name);
		for (size_t j = 0; j <= n; j++)
			variable[7 + j] = name[j] >= 'a' && name[j] <= 'z' ? (char)(name[j] - 'a' + 'A') : name[j];
		const char *value = lookup(environment, variable);
		if (value == NULL) continue;
		hyp_status status = hypi_option_set(name, n, value, strlen(value), HYPI_FROM_ENVIRONMENT);
		if (status != HYP_OK) refuse(warn, status, name, n, value, strlen(value));
	}
	for (; *environment != NULL; environment++) look_for_slips(*environment, warn);
}

void hypi_options_init(char *const *environment, bool secure) {
	if (initialised || environment == NULL) return;
	initialised = true;
	if (secure) return;
	hypi_out warn;
	hypi_out_init_fd(&warn, 2);
	const char *file = lookup(environment, "HYPOOL_CONF_FILE");
	if (file != NULL) hypi_options_read_file(file, &warn);
	const char *conf = lookup(environment, "HYPOOL_CONF");
	if (conf != NULL) hypi_options_parse(conf, strlen(conf), HYPI_FROM_CONF, &warn);
	read_variables(environment, &warn);
	hypi_out_flush(&warn);
}

void hypi_option_format(hypi_option option, char *ret_text, size_t bytes) {
	const hypi_option_info *info = &hypi_option_table[option];
	unsigned long long n = hypi_option_values[option];
	switch (info->type) {
	case HYPI_BOOL: hypi_format(ret_text, bytes, "%s", n ? "true" : "false"); break;
	case HYPI_TEXT: hypi_format(ret_text, bytes, "%s", texts[option]); break;
	case HYPI_TIME: hypi_format(ret_text, bytes, "%llums", n); break;
	case HYPI_INT:
	case HYPI_SIZE: hypi_format(ret_text, bytes, "%llu", n); break;
	}
}

hyp_status hyp_option_text(const char *key, char *ret_text, size_t bytes) {
	if (key == NULL || ret_text == NULL) return HYP_ERR_INVALID;
	unsigned i = find(key, strlen(key));
	if (i == HYPI_OPTION_COUNT) return HYP_ERR_NOT_FOUND;
	char text[HYPI_OPTION_TEXT_BYTES + 1];
	hypi_option_format((hypi_option)i, text, sizeof text);
	size_t length = strlen(text);
	if (length >= bytes) return HYP_ERR_OVERFLOW;
	memcpy(ret_text, text, length + 1);
	return HYP_OK;
}

hyp_status hyp_option_number(const char *key, uint64_t *ret_number) {
	if (key == NULL || ret_number == NULL) return HYP_ERR_INVALID;
	unsigned i = find(key, strlen(key));
	if (i == HYPI_OPTION_COUNT) return HYP_ERR_NOT_FOUND;
	if (hypi_option_table[i].type == HYPI_TEXT) return HYP_ERR_TYPE;
	*ret_number = hypi_option_values[i];
	return HYP_OK;
}
