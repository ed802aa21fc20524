/*
 * interpose/report.c: the C library's questions about the heap, answered with hypool's numbers, and what is printed
 * at exit when an option asks for it.
 */
#include "base/compiler.h"

#if HYP_OS_LINUX

#include "base/option.h"
#include "heap/harden.h"
#include "heap/heap.h"
#include "heap/stats.h"
#include "os/os.h"

#include <hypool/hypool.h>
#include <hypool/stats.h>

#include <errno.h>
#include <malloc.h>
#include <stdio.h>

#define EXPORT __attribute__((visibility("default")))

/* glibc alone has these questions. */
#if defined(__GLIBC__)

#if HYP_HAVE_MALLINFO2
/* The fields that glibc's manual names, in its meaning; those of its own bins that hypool does not have are 0. */
EXPORT struct mallinfo2 mallinfo2(void) {
	hyp_stats s = {.struct_bytes = sizeof s};
	struct mallinfo2 info = {0};
	if (hyp_stats_get(&s) != HYP_OK) return info;
	info.arena = (size_t)s.reserved_bytes;
	info.ordblks = (size_t)s.active;
	info.hblks = (size_t)s.arenas;
	info.hblkhd = (size_t)s.large_bytes;
	info.uordblks = (size_t)s.small_bytes; /* as glibc counts: large blocks are in hblkhd alone */
	info.fordblks = (size_t)(s.committed_bytes > s.current_bytes ? s.committed_bytes - s.current_bytes : 0);
	info.keepcost = (size_t)s.dirty_bytes;
	return info;
}

static int clamp(size_t n) { return n > INT32_MAX ? INT32_MAX : (int)n; }

EXPORT struct mallinfo mallinfo(void) {
	struct mallinfo2 wide = mallinfo2();
	return (struct mallinfo){
		.arena = clamp(wide.arena),
		.ordblks = clamp(wide.ordblks),
		.hblks = clamp(wide.hblks),
		.hblkhd = clamp(wide.hblkhd),
		.uordblks = clamp(wide.uordblks),
		.fordblks = clamp(wide.fordblks),
		.keepcost = clamp(wide.keepcost),
	};
}
#endif

EXPORT void malloc_stats(void) { hyp_stats_print(2); }

/* The program's stdio stream may itself allocate: the numbers are taken first, and no lock is held. */
EXPORT int malloc_info(int options, FILE *stream) {
	if (options != 0) return errno = EINVAL, -1;
	hyp_stats s = {.struct_bytes = sizeof s};
	hyp_class_stats classes[HYPI_CLASSES];
	if (hyp_stats_get(&s) != HYP_OK) return -1;
	size_t count = hyp_stats_classes(classes, HYPI_CLASSES);
	fprintf(stream, "<malloc version=\"hypool-%u\">\n<heap nr=\"0\">\n<sizes>\n", s.version);
	for (size_t i = 0; i < count; i++)
		if (classes[i].spans != 0)
			fprintf(stream, "<size from=\"%zu\" to=\"%zu\" total=\"%llu\" count=\"%llu\"/>\n",
			        i == 0 ? (size_t)1 : classes[i - 1].block_bytes + 1, classes[i].block_bytes,
			        (unsigned long long)(classes[i].active * classes[i].block_bytes),
			        (unsigned long long)classes[i].active);
	fprintf(stream, "</sizes>\n");
#define HYP_STAT_X(name, kind, doc) \
	fprintf(stream, "<stat name=\"" #name "\" value=\"%llu\"/>\n", (unsigned long long)s.name);
#include <hypool/stats.def>
#undef HYP_STAT_X
	fprintf(stream,
	        "</heap>\n<system type=\"current\" size=\"%llu\"/>\n<system type=\"max\" size=\"%llu\"/>\n"
	        "<aspace type=\"total\" size=\"%llu\"/>\n</malloc>\n",
	        (unsigned long long)s.committed_bytes, (unsigned long long)s.peak_committed_bytes,
	        (unsigned long long)s.reserved_bytes);
	return 0;
}

/* glibc's parameters tune bins and thresholds that hypool does not have: known ones are accepted and change nothing. */
EXPORT int mallopt(int parameter, int value) {
	(void)value;
	switch (parameter) {
	case M_MXFAST:
	case M_TRIM_THRESHOLD:
	case M_TOP_PAD:
	case M_MMAP_THRESHOLD:
	case M_MMAP_MAX:
#ifdef M_CHECK_ACTION
	case M_CHECK_ACTION:
	case M_PERTURB:
#endif
#ifdef M_ARENA_TEST
	case M_ARENA_TEST:
	case M_ARENA_MAX:
#endif
		return 1;
	default: return 0;
	}
}

#endif /* glibc */

/* The C library has set `environ` by now: whatever came before ran on the defaults. */
__attribute__((constructor)) static void at_start(void) {
	hypi_process_init();
	hypi_options_init(hypi_os_environment(), hypi_os.secure);
	hypi_harden_init();
}

__attribute__((destructor)) static void at_exit(void) { hypi_stats_at_exit(); }

#endif
