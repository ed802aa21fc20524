/*
 * tracking/start.c: what the options ask for, at the start and at the end of the process; and the levels.
 *
 * Runs as constructor and destructor of the library. At exit the profile and leak report are written by whichever
 * thread ends the process, after the program's own exit handlers; the program's other threads may still run.
 */
#include "base/bits.h"
#include "base/option.h"
#include "heap/sample.h"
#include "tracking/box.h"
#include "tracking/bytes.h"
#include "tracking/live.h"
#include "tracking/pools.h"
#include "tracking/profile.h"
#include "tracking/reach.h"
#include "tracking/start.h"
#include "tracking/timeline.h"
#include "tracking/trace.h"

#include <hypool/tracking.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DEBUG_EVENTS = 1024 }; /* kept at level debug when the option does not say */

static _Atomic int level_now;

hyp_tracking_level hyp_tracking_get_level(void) { return (hyp_tracking_level)hypi_load_relaxed(&level_now); }

HYPI_NEAR hyp_status hyp_tracking_set_level(hyp_tracking_level level) {
	if ((unsigned)level > HYP_TRACKING_DEBUG) return HYP_ERR_INVALID;
	uint64_t mean_bytes = hypi_tracking_mean_of(level);
	hypi_process_init();
	if (level != HYP_TRACKING_NONE) {
		uint64_t events = hypi_option_get(HYPI_OPTION_events);
		if (events == 0 && level >= HYP_TRACKING_DEBUG) events = DEBUG_EVENTS;
		if (!hypi_timeline_start(hypi_option_get(HYPI_OPTION_timeline), (uint32_t)events)) return HYP_ERR_NO_MEMORY;
		hypi_tracking_listen();
	} else {
		hypi_timeline_stop();
	}
	hyp_status status = HYP_OK;
	if (mean_bytes != 0) status = hyp_profile_start(mean_bytes);
	else if (hypi_profile_data.running) hyp_profile_stop();
	if (status == HYP_OK) hypi_store_relaxed(&level_now, (int)level);
	return status;
}

/* ---- files ---- */

/* Copies a name with %p replaced by the process id. */
static void expand(const char *name, char *ret_path, size_t bytes) {
	size_t used = 0;
	for (; *name != '\0' && used + 1 < bytes; name++) {
		if (name[0] == '%' && name[1] == 'p') {
			used += hypi_format(ret_path + used, bytes - used, "%d", (int)getpid());
			if (used >= bytes) used = bytes - 1;
			name++;
		} else {
			ret_path[used++] = *name;
		}
	}
	ret_path[used] = '\0';
}

static bool ends_in(const char *text, const char *end) {
	size_t a = strlen(text), b = strlen(end);
	return a >= b && strcmp(text + a - b, end) == 0;
}

hyp_profile_format hypi_profile_format_of(const char *path) {
	if (ends_in(path, ".pb.gz") || ends_in(path, ".pprof")) return HYP_PROFILE_PPROF;
	if (ends_in(path, ".heap")) return HYP_PROFILE_JEPROF;
	if (ends_in(path, ".folded")) return HYP_PROFILE_FOLDED;
	if (ends_in(path, ".dhat") || ends_in(path, ".json")) return HYP_PROFILE_DHAT;
	return HYP_PROFILE_HYPOOL;
}

static void complain(const char *what, const char *path) {
	hypi_out out;
	hypi_out_init_fd(&out, 2);
	hypi_out_format(&out, "hypool: %s %s\n", what, path);
	hypi_out_flush(&out);
}

static void write_profile(void) {
	char path[HYPI_OPTION_TEXT_BYTES + 32];
	const char *name = hypi_option_text(HYPI_OPTION_profile_file);
	expand(name[0] == '\0' ? "hypool.%p.hyp" : name, path, sizeof path);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0 || hyp_profile_write(fd, hypi_profile_format_of(path)) != HYP_OK) complain("cannot write", path);
	if (fd >= 0) close(fd);
}

static void refused(const char *line) { complain("cannot keep the suppression", line); }

/* ---- start and end ---- */

static _Atomic bool leaks_on, ended;
static _Atomic uint64_t next_leaks_ms; /* 0: none */
static pid_t start_pid;
static bool has_page, has_record; /* asked for by options: to be finished at the end, whose code nobody else touches */

__attribute__((constructor)) static void at_start(void) {
	hypi_process_init();
	hypi_options_init(hypi_os_environment(), hypi_os.secure);
	start_pid = getpid();
	hyp_status status = HYP_OK;
	bool leaks = hypi_option_get(HYPI_OPTION_leaks) != 0, profile = hypi_option_get(HYPI_OPTION_profile) != 0;
	/* First: the tables are to lie in it. */
	const char *box = hypi_option_text(HYPI_OPTION_profile_box);
	if (box[0] != '\0' && (leaks || profile)) (void)hypi_box_open(box); /* not ours, or out of reach: no box */
	if (hypi_option_get(HYPI_OPTION_track) != 0)
		status = hyp_tracking_set_level((hyp_tracking_level)hypi_option_get(HYPI_OPTION_track));
	if (status == HYP_OK && (leaks || profile)) {
		bool mean_set = hypi_option_source_of(HYPI_OPTION_profile_mean) != HYPI_FROM_DEFAULT;
		if (!hypi_timeline_start(hypi_option_get(HYPI_OPTION_timeline), (uint32_t)hypi_option_get(HYPI_OPTION_events)))
			status = HYP_ERR_NO_MEMORY;
		else status = hyp_profile_start(leaks && !mean_set ? 1 : hypi_option_get(HYPI_OPTION_profile_mean));
		hypi_store_relaxed(&leaks_on, leaks);
		uint64_t every_ms = hypi_option_get(HYPI_OPTION_leak_interval);
		if (leaks && every_ms != 0) hypi_store_relaxed(&next_leaks_ms, hypi_os_now_coarse_ms() + every_ms);
		if (leaks && hypi_option_text(HYPI_OPTION_leak_suppressions)[0] != '\0')
			if (!hypi_leaks_suppress_file(hypi_option_text(HYPI_OPTION_leak_suppressions), refused))
				complain("cannot read", hypi_option_text(HYPI_OPTION_leak_suppressions));
	}
	const char *record = hypi_option_text(HYPI_OPTION_record);
	if (record[0] != '\0' && status == HYP_OK) {
		has_record = hypi_trace_start(record);
		if (has_record) status = hyp_profile_start(1);
		else complain("cannot write", record);
	}
	if (hypi_option_get(HYPI_OPTION_live) != 0) {
		has_page = hypi_live_start();
		if (!has_page) complain("cannot make the page of live statistics in", "/dev/shm");
	}
	if (status != HYP_OK) complain("tracking is off:", hyp_status_message(status));
}

void hypi_leaks_look(uint64_t now_ms) {
	uint64_t next = hypi_load_relaxed(&next_leaks_ms);
	if (HYP_LIKELY(next == 0 || now_ms < next)) return;
	uint64_t after = now_ms + hypi_option_get(HYPI_OPTION_leak_interval);
	/* One of the threads that see it due. */
	if (!atomic_compare_exchange_strong_explicit(&next_leaks_ms, &next, after, memory_order_relaxed,
	                                             memory_order_relaxed))
		return;
	hyp_leak_totals totals;
	hyp_status status = hyp_leaks_find(2, &totals);
	if (status != HYP_OK) complain("no search for leaks:", hyp_status_message(status));
}

__attribute__((destructor)) static void at_end(void) {
	if (atomic_exchange_explicit(&ended, true, memory_order_relaxed)) return;
	if (has_page) hypi_live_stop();
	if (has_record && !hypi_trace_flush()) complain("cannot write all of", hypi_option_text(HYPI_OPTION_record));
	bool leaks = hypi_load_relaxed(&leaks_on), profile = hypi_option_get(HYPI_OPTION_profile) != 0;
	if (!leaks && !profile && hypi_option_get(HYPI_OPTION_track) < HYP_TRACKING_STANDARD) return;
	hypi_timeline_tick();
	hyp_leak_totals totals = {0};
	if (leaks) {
		/* A child that was forked looks and writes as its parent does; hypool run gathers both. */
		hypi_registers none = {{0}}; /* the program is over: its registers hold nothing */
		hyp_status status = hypi_leaks_find_from(NULL, hypi_option_get(HYPI_OPTION_leak_report) != 0 ? 2 : -1,
		                                         (uintptr_t)__builtin_frame_address(0), &none, &totals);
		if (status != HYP_OK) complain("no search for leaks:", hyp_status_message(status));
	}
	if (profile || hypi_option_text(HYPI_OPTION_profile_file)[0] != '\0') write_profile();
	hypi_box_finish();
	int code = (int)hypi_option_get(HYPI_OPTION_leak_exit_code);
	if (code != 0 && totals.blocks != 0) {
		fflush(NULL);
		hypi_leave(code);
	}
}
