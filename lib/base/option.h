/*
 * base/option.h: the options, from one table (hypool/options.def).
 *
 * Precedence, lowest first: default, config file (named by HYPOOL_CONF_FILE), HYPOOL_CONF="key:value,key:value",
 * HYPOOL_<KEY>, API. A setuid program ignores the environment. An unknown key or a bad value is one warning a
 * process on descriptor 2, with the nearest key; of an unknown variable HYPOOL_..., only when it is near to one. Values
 * are written before threads start or by the API; readers see plain memory that no longer changes.
 */
#ifndef HYPI_BASE_OPTION_H
#define HYPI_BASE_OPTION_H

#include "base/compiler.h"
#include "base/out.h"

#include <hypool/status.h>

typedef enum hypi_option {
#define HYP_OPTION_X(name, type, initial, least, most, doc) HYPI_OPTION_##name,
#include <hypool/options.def>
#undef HYP_OPTION_X
	HYPI_OPTION_COUNT
} hypi_option;

typedef enum hypi_option_type { HYPI_BOOL, HYPI_INT, HYPI_SIZE, HYPI_TIME, HYPI_TEXT } hypi_option_type;

typedef enum hypi_option_source {
	HYPI_FROM_DEFAULT,
	HYPI_FROM_FILE,
	HYPI_FROM_CONF,
	HYPI_FROM_ENVIRONMENT,
	HYPI_FROM_API
} hypi_option_source;

typedef struct hypi_option_info {
	const char *name;
	hypi_option_type type;
	uint64_t initial, least, most;
	const char *doc;
} hypi_option_info;

#define HYPI_OPTION_TEXT_BYTES 256 /* longest TEXT value with its terminator */

extern const hypi_option_info hypi_option_table[HYPI_OPTION_COUNT];
extern uint64_t hypi_option_values[HYPI_OPTION_COUNT]; /* TIME in milliseconds */

HYP_INLINE uint64_t hypi_option_get(hypi_option option) { return hypi_option_values[option]; }
const char *hypi_option_text(hypi_option option); /* "" when unset */
hypi_option_source hypi_option_source_of(hypi_option option);

/* Reads file and environment once; later calls do nothing. `environment` may be NULL (then only defaults hold).
 * `secure`: the process runs with more rights than its caller. */
void hypi_options_init(char *const *environment, bool secure);

/* Sets one option by text. HYP_ERR_NOT_FOUND: no such key. HYP_ERR_INVALID: the value does not parse or is outside
 * its range; the option is unchanged. */
HYP_MUST_USE hyp_status hypi_option_set(const char *key, size_t key_bytes, const char *value, size_t value_bytes,
                                        hypi_option_source source);

/* Parses "key:value,key:value" (commas or newlines; '#' starts a comment to the end of the line). Returns the number
 * of entries refused; the first refusal of the process is told on `warn` unless that is NULL. */
unsigned hypi_options_parse(const char *text, size_t bytes, hypi_option_source source, hypi_out *warn);

/* The same of a file; one that cannot be read is told of too. */
void hypi_options_read_file(const char *path, hypi_out *warn);

/* The key of the table nearest to `key` by edit distance; never NULL. */
const char *hypi_option_nearest(const char *key, size_t key_bytes);

/* The option's value as text into ret_text. */
void hypi_option_format(hypi_option option, char *ret_text, size_t bytes);

#endif
