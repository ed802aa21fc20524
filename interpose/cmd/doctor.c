/* interpose/cmd/doctor.c: `hypool doctor`: options in effect, what the system offers, and what is off and why. */
#include "base/option.h"
#include "interpose/cmd/cmd.h"
#include "os/os.h"

#include <hypool/hypool.h>

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

static bool json, first;

/* First line of a file; "" when it cannot be read. */
static const char *line_of(const char *path, char *ret_text, size_t bytes) {
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, ret_text, bytes - 1) : 0;
	if (fd >= 0) close(fd);
	ret_text[n > 0 ? n : 0] = '\0';
	ret_text[strcspn(ret_text, "\n")] = '\0';
	return ret_text;
}

static void say(const char *name, bool good, const char *words, const char *why) {
	char value[PATH_MAX];
	snprintf(value, sizeof value, "%s", words);
	hypi_cmd_clean(value, sizeof value);
	if (json) {
		printf("%s\n{\"name\":", first ? "" : ",");
		hypi_cmd_json(stdout, name);
		printf(",\"ok\":%s,\"value\":", good ? "true" : "false");
		hypi_cmd_json(stdout, value);
		printf(",\"note\":");
		hypi_cmd_json(stdout, why);
		printf("}");
	} else {
		printf("  %-4s %-24s %s%s%s\n", good ? "ok" : "off", name, value, *value != '\0' && *why != '\0' ? "; " : "",
		       why);
	}
	first = false;
}

static const char *source_name(hypi_option_source source) {
	static const char *const names[] = {"default", "file", "HYPOOL_CONF", "environment", "API"};
	return names[source];
}

static void options(void) {
	first = true;
	printf(json ? "{\"options\":[" : "options, and where each came from\n");
	for (unsigned i = 0; i < HYPI_OPTION_COUNT; i++) {
		char value[HYPI_OPTION_TEXT_BYTES];
		hypi_option_format((hypi_option)i, value, sizeof value);
		hypi_cmd_clean(value, sizeof value);
		const char *source = source_name(hypi_option_source_of((hypi_option)i));
		if (json) {
			printf("%s\n{\"name\":\"%s\",\"value\":", first ? "" : ",", hypi_option_table[i].name);
			hypi_cmd_json(stdout, value);
			printf(",\"source\":\"%s\",\"doc\":", source);
			hypi_cmd_json(stdout, hypi_option_table[i].doc);
			printf("}");
			first = false;
		} else {
			printf("  %-18s %-12s %-12s %s\n", hypi_option_table[i].name, value, source, hypi_option_table[i].doc);
		}
	}
	printf(json ? "],\n" : "\n");
}

static void memory_features(void) {
	char text[256];
	snprintf(text, sizeof text, "%zu bytes", hypi_os.page_bytes);
	say("page", true, text, "");
	line_of("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text);
	bool huge = *text != '\0' && strstr(text, "[never]") == NULL;
	say("transparent huge pages", huge, text, huge ? "option huge_pages asks for them" : "the kernel has them off");
	line_of("/proc/sys/vm/overcommit_memory", text, sizeof text);
	say("overcommit", strcmp(text, "2") != 0, text,
	    strcmp(text, "2") == 0 ? "reserved address space counts as memory here" : "");
	line_of("/proc/sys/vm/max_map_count", text, sizeof text);
	say("mappings allowed", atol(text) >= 65530, text, atol(text) >= 65530 ? "" : "guard pages may run out");
	void *p = mmap(NULL, hypi_os.page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool named = p != MAP_FAILED && prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, hypi_os.page_bytes, "hypool") == 0;
	say("names of mappings", named, "",
	    named ? "option names uses them" : "the kernel was built without (CONFIG_ANON_VMA_NAME)");
	bool lazy = p != MAP_FAILED && madvise(p, hypi_os.page_bytes, MADV_FREE) == 0;
	say("lazy purge (MADV_FREE)", lazy, "", lazy ? "option purge_lazy uses it" : "the kernel refuses it");
	if (p != MAP_FAILED) munmap(p, hypi_os.page_bytes);
}

static void pressure_features(void) {
	char text[256], path[512];
	const char *watch = getenv("MEMORY_PRESSURE_WATCH");
	say("pressure: service manager", watch != NULL, watch != NULL ? watch : "",
	    watch != NULL ? "" : "MEMORY_PRESSURE_WATCH is not set");
	bool psi = access("/proc/pressure/memory", R_OK) == 0;
	say("pressure: stall information", psi, "",
	    psi ? "" : "no /proc/pressure/memory: the kernel has PSI off (psi=1 at boot)");
	/* Where the memory controller is: on the line "0::", or on one of version 1 that names it. */
	char group[256] = "";
	bool two = true;
	FILE *file = fopen("/proc/self/cgroup", "re");
	while (file != NULL && fgets(text, sizeof text, file) != NULL) {
		text[strcspn(text, "\n")] = '\0';
		char *controllers = strchr(text, ':'), *own = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
		if (own == NULL) continue;
		*own++ = '\0';
		bool first_version = strstr(controllers, "memory") != NULL;
		if (!first_version && (controllers[1] != '\0' || *group != '\0')) continue;
		snprintf(group, sizeof group, "%s", own);
		two = !first_version;
		if (first_version) break;
	}
	if (file != NULL) fclose(file);
	say("control group", *group != '\0', group, two ? "version 2" : "version 1");
	snprintf(path, sizeof path, two ? "/sys/fs/cgroup%s/memory.max" : "/sys/fs/cgroup/memory%s/memory.limit_in_bytes",
	         group);
	bool limited = access(path, R_OK) == 0;
	char limit[64];
	const char *value = line_of(path, limit, sizeof limit);
	bool any = limited && strcmp(value, "max") != 0 && strtoull(value, NULL, 10) < UINT64_C(1) << 60;
	say("memory limit of the group", limited, limited && !any ? "none" : value,
	    limited ? "" : "no memory controller here");
}

static void tracking_features(void) {
	char text[PATH_MAX];
	bool found = hypi_cmd_preload(text, sizeof text);
	say("preload library", found, found ? text : "",
	    found ? "" : "neither beside hypool nor in ../lib: `hypool run` will not work");
	bool maps = access("/proc/self/maps", R_OK) == 0;
	say("call sites", maps, "", maps ? "" : "/proc is not mounted: no stacks, no leaks, no symbols");
	bool live = access("/dev/shm", W_OK) == 0;
	say("hypool top", live, "", live ? "for processes with option live" : "/dev/shm cannot be written");
	say("checks of every free", HYP_CHECKS != 0, "", HYP_CHECKS ? "" : "built with -Dchecks=false");
}

int hypi_cmd_doctor(int argc, char **argv) {
	json = false;
	for (int at = 0; at < argc;) {
		if (hypi_cmd_flag(argv, &at, "--help")) return puts("usage: hypool doctor [--json]") < 0;
		if (hypi_cmd_flag(argv, &at, "--json")) json = true;
		else return hypi_cmd_fail(2, "doctor: what is %s?", argv[at]);
	}
	hyp_free(hyp_malloc(1)); /* reads the options as any program does */
	options();
	first = true;
	printf(json ? "\"features\":[" : "what the system offers\n");
	memory_features();
	pressure_features();
	tracking_features();
	printf(json ? "]}\n" : "");
	return 0;
}
