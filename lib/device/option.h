/*
 * device/option.h: the options of libhypool-tensor.
 *
 * The table and its parser are the trunk's, and not exported. What this library needs of them are a few numbers and a
 * text at first use, read here from the same two variables with the same precedence: HYPOOL_CONF="key:value,..." and
 * over it HYPOOL_<KEY>. A setuid program ignores both. The values' syntax is checked by the trunk, which warns.
 */
#ifndef HYPI_DEVICE_OPTION_H
#define HYPI_DEVICE_OPTION_H

#include <stddef.h>
#include <stdint.h>

uint64_t hypi_tensor_option_number(const char *key, uint64_t initial);
/* Into ret_text; "" if it is not set. */
void hypi_tensor_option_text(const char *key, char *ret_text, size_t bytes);

#endif
