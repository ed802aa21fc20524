/*
 * device/option.c: the options of libhypool-tensor (option.h).
 */
#include "device/option.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *environment(const char *name) {
	if (getuid() != geteuid() || getgid() != getegid()) return NULL;
	return getenv(name);
}

/* The last entry of the key in "key:value,key:value". */
static void find_in_list(const char *list, const char *key, char *ret_text, size_t bytes) {
	size_t key_bytes = strlen(key);
	while (list != NULL && *list != '\0') {
		size_t length = strcspn(list, ",\n");
		if (length > key_bytes && strncmp(list, key, key_bytes) == 0 && list[key_bytes] == ':')
			(void)snprintf(ret_text, bytes, "%.*s", (int)(length - key_bytes - 1), list + key_bytes + 1);
		list += length;
		if (*list != '\0') list++;
	}
}

void hypi_tensor_option_text(const char *key, char *ret_text, size_t bytes) {
	char name[64];
	ret_text[0] = '\0';
	find_in_list(environment("HYPOOL_CONF"), key, ret_text, bytes);
	size_t at = (size_t)snprintf(name, sizeof name, "HYPOOL_%s", key);
	for (size_t i = 7; i < at && i < sizeof name; i++)
		if (name[i] >= 'a' && name[i] <= 'z') name[i] = (char)(name[i] - 'a' + 'A');
	const char *value = environment(name);
	if (value != NULL) (void)snprintf(ret_text, bytes, "%s", value);
}

uint64_t hypi_tensor_option_number(const char *key, uint64_t initial) {
	char text[64], *end;
	hypi_tensor_option_text(key, text, sizeof text);
	if (text[0] < '0' || text[0] > '9') return initial;
	unsigned long long value = strtoull(text, &end, 10);
	return *end == '\0' ? (uint64_t)value : initial;
}
