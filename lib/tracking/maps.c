/* tracking/maps.c: see tracking/maps.h. */
#include "tracking/maps.h"

#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

static uintptr_t hex(const char **at) {
	uintptr_t value = 0;
	for (;; (*at)++) {
		char c = **at;
		if (c >= '0' && c <= '9') value = value * 16 + (uintptr_t)(c - '0');
		else if (c >= 'a' && c <= 'f') value = value * 16 + (uintptr_t)(c - 'a' + 10);
		else return value;
	}
}

static hypi_map parse(const char *at) {
	hypi_map map = {0};
	map.start = hex(&at);
	at += *at == '-';
	map.end = hex(&at);
	at += *at == ' ';
	map.read = at[0] == 'r';
	map.write = map.read && at[1] == 'w';
	map.execute = map.read && at[2] == 'x';
	map.shared = map.read && at[3] == 's';
	while (*at != '\0' && *at != ' ') at++;
	at += *at == ' ';
	map.offset = hex(&at);
	for (int fields = 0; fields < 2; fields++) {
		while (*at == ' ') at++;
		while (*at != '\0' && *at != ' ') at++;
	}
	while (*at == ' ') at++;
	map.path = at;
	return map;
}

/* Of a longer line nothing is told: a path may have 4096 bytes, each newline in it written as four. */
enum { LINE_BYTES = 8192 };

static const char *other;

void hypi_maps_load(const char *lines) { other = lines; }

static bool each_of_other(bool (*each)(void *context, const hypi_map *map), void *context) {
	char line[LINE_BYTES];
	for (const char *at = other, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
		size_t length = (size_t)(end - at);
		if (length >= sizeof line - 1) continue;
		memcpy(line, at, length);
		line[length] = '\0';
		hypi_map map = parse(line);
		if (!each(context, &map)) break;
	}
	return true;
}

bool hypi_maps_each(bool (*each)(void *context, const hypi_map *map), void *context) {
	if (other != NULL) return each_of_other(each, context);
	int saved = errno;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	if (fd < 0) return errno = saved, false;
	char text[LINE_BYTES];
	size_t have = 0;
	bool inside = false; /* of a line that is too long */
	for (bool more = true; more;) {
		ssize_t n = read(fd, text + have, sizeof text - 1 - have);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) break;
		have += (size_t)n;
		text[have] = '\0';
		char *line = text, *end;
		while (more && (end = memchr(line, '\n', (size_t)(text + have - line))) != NULL) {
			*end = '\0';
			if (!inside) {
				hypi_map map = parse(line);
				more = each(context, &map);
			}
			inside = false;
			line = end + 1;
		}
		have -= (size_t)(line - text);
		memmove(text, line, have);
		if (have == sizeof text - 1) have = 0, inside = true;
	}
	close(fd);
	errno = saved;
	return true;
}

struct range {
	uintptr_t address, low, high;
};

static bool around(void *context, const hypi_map *map) {
	struct range *r = context;
	if (r->address < map->start || r->address >= map->end || !map->write) return true;
	r->low = map->start;
	r->high = map->end;
	return false;
}

bool hypi_maps_around(uintptr_t address, uintptr_t *ret_low, uintptr_t *ret_high) {
	struct range r = {.address = address};
	if (!hypi_maps_each(around, &r) || r.high == 0) return false;
	*ret_low = r.low;
	*ret_high = r.high;
	return true;
}

static bool code_around(void *context, const hypi_map *map) {
	struct range *r = context;
	if (r->address < map->start || r->address >= map->end) return true;
	r->low = map->start;
	r->high = map->end;
	return false;
}

bool hypi_maps_own(uintptr_t address, uintptr_t *ret_low, uintptr_t *ret_high) {
	struct range r = {.address = address};
	if (!hypi_maps_each(code_around, &r) || r.high == 0) return false;
	uintptr_t program = getauxval(AT_ENTRY);
	if (program >= r.low && program < r.high) return false;
	*ret_low = r.low;
	*ret_high = r.high;
	return true;
}
