/*
 * The option `names`: arenas carry a name in /proc/self/maps. Each case is a process of its own, because options are read
 * once. What is asked of the kernel is heard here in the place of the C library's prctl; what the kernel makes of it is
 * looked for where it was built with such names (CONFIG_ANON_VMA_NAME).
 */
#include "tracking/check.h"

#include <hypool/hypool.h>

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SET_VMA = 0x53564d41 };

static unsigned asked, granted;
static uintptr_t base;
static size_t size;

int prctl(int option, ...) {
	unsigned long given[4];
	va_list args;
	va_start(args, option);
	for (int i = 0; i < 4; i++) given[i] = va_arg(args, unsigned long);
	va_end(args);
	long result = syscall(SYS_prctl, option, given[0], given[1], given[2], given[3]);
	if (option != SET_VMA) return (int)result;
	CHECK(given[0] == 0 && strcmp((const char *)given[3], "hypool arena") == 0, "an arena's name");
	asked++;
	granted += result == 0;
	base = given[1];
	size = given[2];
	return (int)result;
}

/* How many mappings have the name, and whether one of them is around `p`. */
static unsigned named(const void *p, bool *ret_around) {
	char line[512];
	unsigned count = 0;
	FILE *file = fopen("/proc/self/maps", "r");
	CHECK(file != NULL, "/proc/self/maps");
	*ret_around = false;
	while (fgets(line, sizeof line, file) != NULL) {
		unsigned long from, to;
		if (strstr(line, "[anon:hypool arena]") == NULL || sscanf(line, "%lx-%lx", &from, &to) != 2) continue;
		count++;
		*ret_around |= (uintptr_t)p >= from && (uintptr_t)p < to;
	}
	fclose(file);
	return count;
}

static int with_names(bool on) {
	char *p = hyp_malloc(100);
	CHECK(p != NULL, "malloc");
	memset(p, 1, 100);
	bool around;
	unsigned count = named(p, &around);
	if (!on) {
		CHECK(asked == 0 && count == 0, "not asked for: %u, %u", asked, count);
	} else {
		CHECK(asked > 0 && (uintptr_t)p - base < size, "the block's arena has a name: %u", asked);
		if (granted > 0) CHECK(count > 0 && around, "%u mappings have the name", count);
		puts(granted > 0 ? "names are in /proc/self/maps"
		                 : "skipped: how /proc/self/maps shows it; this kernel has no names");
	}
	hyp_free(p);
	return 0;
}

static void run(const char *self, const char *mode) {
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		if (strcmp(mode, "on") == 0) setenv("HYPOOL_NAMES", "1", 1);
		else unsetenv("HYPOOL_NAMES");
		execl("/proc/self/exe", self, mode, (char *)NULL);
		_exit(126);
	}
	int status = -1;
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "%s: status %d", mode, status);
}

int main(int argc, char **argv) {
	if (argc == 2) return with_names(strcmp(argv[1], "on") == 0);
	run(argv[0], "off");
	run(argv[0], "on");
	puts("names");
	return 0;
}
