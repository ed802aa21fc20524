/*
 * hypool/option.h: the options in force, as the process was started with them (hypool/options.def lists them).
 *
 * They are read once, before main, from the config file, HYPOOL_CONF and HYPOOL_<KEY>, the later over the earlier; a
 * setuid program has the defaults. Any thread may ask at any time.
 */
#ifndef HYPOOL_OPTION_H
#define HYPOOL_OPTION_H

#include <hypool/status.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The value as text into ret_text, which holds `bytes`: "true", "65536" (bytes), "50ms", or the text that was set ("" if
 * none). HYP_ERR_NOT_FOUND: no such key. HYP_ERR_OVERFLOW: it does not fit; 257 bytes hold any. */
HYP_API HYP_NODISCARD hyp_status hyp_option_text(const char *key, char *ret_text, size_t bytes);

/* The value as a number: a boolean 0 or 1, a size in bytes, a time in milliseconds. HYP_ERR_TYPE: it is a text. */
HYP_API HYP_NODISCARD hyp_status hyp_option_number(const char *key, uint64_t *ret_number);

#ifdef __cplusplus
}
#endif

#endif
