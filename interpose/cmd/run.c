/*
 * interpose/cmd/run.c: `hypool run`: a program under the preload library, and what became of its memory.
 *
 * The program keeps its own standard streams, process group and terminal; hypool speaks on descriptor 2 after it has
 * ended. Signals that are sent to hypool go on to the program; hypool ends as it did, by the same signal if need be.
 * The library writes its report into a folder made for the run; it is read from there and removed. A program that ends
 * by a signal, _exit or exec writes none: then the report is made here, of the box that the library kept (tracking/box.h).
 */
#include "interpose/cmd/cmd.h"
#include "interpose/cmd/model.h"
#include "tracking/box.h"
#include "tracking/start.h"
#include "tracking/symbols.h"

#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

typedef unsigned long long ull;

typedef struct run_options {
	const char *report, *mean, *suppressions, *record;
	bool leaks, json, quiet, live;
	uint64_t max_peak, max_leaks;
	bool has_max_peak, has_max_leaks;
} run_options;

static volatile sig_atomic_t child_pid;

static void pass_on(int signal) {
	if (child_pid > 0) kill((pid_t)child_pid, signal);
}

static int help(void) {
	puts("usage: hypool run [options] [--] PROGRAM [ARGUMENTS]\n"
	     "  --report FILE        keep the report: .html a page, .json, .folded, .pb.gz, .heap, .dhat, else for `hypool "
	     "report`\n"
	     "  --leaks              follow every allocation and look for what is lost at exit\n"
	     "  --suppressions FILE  leaks that are known: leak:PATTERN a line\n"
	     "  --mean BYTES         one sample in so many bytes (default 512K; 1: every allocation)\n"
	     "  --max-peak BYTES     fail when the peak of resident memory is above\n"
	     "  --max-leaks BYTES    fail when more is lost; implies --leaks\n"
	     "  --live               keep the page for `hypool top`\n"
	     "  --record FILE        record every allocation for `hypool replay`\n"
	     "  --option KEY:VALUE   any option of hypool's (see `hypool doctor`); may be given often\n"
	     "  --json               the summary as JSON\n"
	     "  --quiet              no summary\n"
	     "Exit status: the program's; 120 when a budget was exceeded and the program succeeded; 125 when hypool itself "
	     "failed;\n"
	     "126, 127: the program cannot be run, is not found.");
	return 0;
}

static void set(const char *key, const char *value) {
	char name[96];
	int n = snprintf(name, sizeof name, "HYPOOL_%s", key);
	for (int i = 0; i < n; i++) name[i] = (char)toupper((unsigned char)name[i]);
	setenv(name, value, 1);
}

static bool set_pair(const char *pair) {
	const char *colon = strpbrk(pair, ":=");
	if (colon == NULL || colon - pair > 64) return false;
	char key[72];
	snprintf(key, sizeof key, "%.*s", (int)(colon - pair), pair);
	set(key, colon + 1);
	return true;
}

/* 0: go on with the program at argv[*ret_at]; else an exit status + 1. */
static int read_options(int argc, char **argv, run_options *ret_options, int *ret_at) {
	run_options o = {0};
	const char *text;
	int at = 0;
	while (at < argc && argv[at][0] == '-') {
		if (hypi_cmd_flag(argv, &at, "--")) break;
		if (hypi_cmd_flag(argv, &at, "--help")) return help() + 1;
		if (hypi_cmd_flag(argv, &at, "--leaks")) o.leaks = true;
		else if (hypi_cmd_flag(argv, &at, "--json")) o.json = true;
		else if (hypi_cmd_flag(argv, &at, "--quiet")) o.quiet = true;
		else if (hypi_cmd_flag(argv, &at, "--live")) o.live = true;
		else if (hypi_cmd_value(argc, argv, &at, "--report", &o.report)) continue;
		else if (hypi_cmd_value(argc, argv, &at, "--mean", &o.mean)) continue;
		else if (hypi_cmd_value(argc, argv, &at, "--suppressions", &o.suppressions)) continue;
		else if (hypi_cmd_value(argc, argv, &at, "--record", &o.record)) continue;
		else if (hypi_cmd_value(argc, argv, &at, "--max-peak", &text)) {
			o.has_max_peak = true;
			if (!hypi_cmd_size(text, &o.max_peak)) return hypi_cmd_fail(2, "--max-peak %s: not a size", text) + 1;
		} else if (hypi_cmd_value(argc, argv, &at, "--max-leaks", &text)) {
			o.has_max_leaks = o.leaks = true;
			if (!hypi_cmd_size(text, &o.max_leaks)) return hypi_cmd_fail(2, "--max-leaks %s: not a size", text) + 1;
		} else if (hypi_cmd_value(argc, argv, &at, "--option", &text)) {
			if (!set_pair(text)) return hypi_cmd_fail(2, "--option %s: KEY:VALUE is wanted", text) + 1;
		} else return hypi_cmd_fail(2, "run: what is %s?", argv[at]) + 1;
	}
	if (at >= argc) return hypi_cmd_fail(2, "run: which program?") + 1;
	*ret_options = o;
	*ret_at = at;
	return 0;
}

/* ---- the box ---- */

static int box_fd = -1;

static void make_box(void) {
	char path[64];
	box_fd = memfd_create("hypool", MFD_CLOEXEC);
	if (box_fd < 0 || ftruncate(box_fd, (off_t)hypi_box_bytes()) != 0) return; /* then there is none */
	snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), box_fd);
	set("profile_box", path);
}

/* Writes the report that the program did not. False: it has none, or wrote it itself. */
static bool write_from_box(const char *path, hyp_profile_format format) {
	void *box = box_fd < 0 ? MAP_FAILED : mmap(NULL, hypi_box_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE, box_fd, 0);
	if (box == MAP_FAILED || !hypi_box_load(box, hypi_box_bytes())) return false;
	void *names = dlopen("libstdc++.so.6", RTLD_NOW | RTLD_LOCAL);
	if (names == NULL) names = dlopen("libc++abi.so.1", RTLD_NOW | RTLD_LOCAL);
	if (names != NULL) *(void **)&hypi_symbols_demangler = dlsym(names, "__cxa_demangle");
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	bool good = fd >= 0 && hyp_profile_write(fd, format) == HYP_OK;
	return (fd < 0 || close(fd) == 0) && good;
}

static bool is_native(const char *path) {
	static const char *const others[] = {".pb.gz", ".pprof", ".heap", ".dhat"};
	size_t n = strlen(path);
	for (size_t i = 0; i < HYP_ARRAY_LEN(others); i++)
		if (n > strlen(others[i]) && strcmp(path + n - strlen(others[i]), others[i]) == 0) return false;
	return true;
}

/* The environment of the program. */
static void prepare(const run_options *o, const char *library, const char *folder) {
	char text[2 * PATH_MAX + 8];
	const char *before = getenv("LD_PRELOAD");
	snprintf(text, sizeof text, "%s%s%s", library, before != NULL && *before != '\0' ? ":" : "",
	         before != NULL ? before : "");
	setenv("LD_PRELOAD", text, 1);
	set("profile", "1");
	make_box();
	if (o->leaks) set("leaks", "1");
	if (o->leaks && (o->quiet || o->json)) set("leak_report", "0");
	if (o->mean != NULL) set("profile_mean", o->mean);
	if (o->suppressions != NULL) set("leak_suppressions", o->suppressions);
	if (o->live) set("live", "1");
	if (o->record != NULL) set("record", o->record);
	if (o->report != NULL && !is_native(o->report)) {
		set("profile_file", o->report);
	} else {
		snprintf(text, sizeof text, "%s/%%p", folder);
		set("profile_file", text);
	}
}

static const int passed[] = {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT, SIGWINCH};

/* Starts the program. Signals that come before we can pass them on wait until then. Those of the terminal reach both of
 * us by themselves, and are the program's to act on. */
static pid_t start(char **argv) {
	sigset_t ours, before;
	sigemptyset(&ours);
	for (size_t i = 0; i < HYP_ARRAY_LEN(passed); i++) sigaddset(&ours, passed[i]);
	sigprocmask(SIG_BLOCK, &ours, &before);
	pid_t pid = fork();
	if (pid == 0) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		execvp(argv[0], argv);
		int status = errno == ENOENT ? 127 : 126;
		hypi_cmd_fail(0, "%s: %s", argv[0], strerror(errno));
		_exit(status);
	}
	child_pid = pid;
	struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
	for (size_t i = 0; i < HYP_ARRAY_LEN(passed); i++) sigaction(passed[i], &action, NULL);
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

static int wait_for(pid_t pid, struct rusage *ret_usage) {
	int status = 0;
	while (wait4(pid, &status, 0, ret_usage) < 0)
		if (errno != EINTR) return -1;
	child_pid = 0;
	return status;
}

/* Reads the program's own report and removes the folder; *ret_others: reports of processes that it started. */
static model *gather(const char *folder, pid_t pid, unsigned *ret_others) {
	char path[PATH_MAX + 260];
	model *m = NULL;
	DIR *dir = opendir(folder);
	*ret_others = 0;
	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
		if (entry->d_name[0] == '.') continue;
		snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
		if (atol(entry->d_name) == pid) m = model_load(path);
		else ++*ret_others;
		unlink(path);
	}
	if (dir != NULL) closedir(dir);
	rmdir(folder);
	return m;
}

static bool ends_in(const char *text, const char *end) {
	size_t a = strlen(text), b = strlen(end);
	return a >= b && strcmp(text + a - b, end) == 0;
}

static bool copy_file(const char *from, const char *to) {
	FILE *in = fopen(from, "re"), *out = fopen(to, "we");
	char buffer[65536];
	bool good = in != NULL && out != NULL;
	for (size_t n; good && (n = fread(buffer, 1, sizeof buffer, in)) > 0;) good = fwrite(buffer, 1, n, out) == n;
	if (in != NULL) fclose(in);
	if (out != NULL && fclose(out) != 0) good = false;
	return good;
}

static bool keep(const model *m, const char *path) {
	FILE *to = fopen(path, "we");
	if (to == NULL) return false;
	if (ends_in(path, ".html") || ends_in(path, ".htm")) model_print_html(m, to);
	else if (ends_in(path, ".json")) model_print_json(m, to);
	else model_print_folded(m, to);
	bool good = !ferror(to);
	return fclose(to) == 0 && good;
}

static bool is_converted(const char *path) {
	return ends_in(path, ".html") || ends_in(path, ".htm") || ends_in(path, ".json") || ends_in(path, ".folded");
}

static void summary(const run_options *o, const model *m, const struct rusage *usage, int status, unsigned others) {
	uint64_t peak = (uint64_t)usage->ru_maxrss * 1024, lost = m != NULL ? model_sum(m, LOST_BYTES) : 0;
	if (o->json) {
		fprintf(stderr,
		        "{\"status\":%d,\"signal\":%d,\"peak_resident_bytes\":%llu,\"user_s\":%ld.%06ld,\"lost_bytes\":%s",
		        WIFEXITED(status) ? WEXITSTATUS(status) : 0, WIFSIGNALED(status) ? WTERMSIG(status) : 0, (ull)peak,
		        (long)usage->ru_utime.tv_sec, (long)usage->ru_utime.tv_usec, o->leaks && m != NULL ? "" : "null");
		if (o->leaks && m != NULL) fprintf(stderr, "%llu", (ull)lost);
		fprintf(stderr, ",\"other_processes\":%u,\"report\":", others);
		if (m != NULL) model_print_json(m, stderr);
		else fprintf(stderr, "null");
		fprintf(stderr, "}\n");
		return;
	}
	fprintf(stderr, "\nhypool: ");
	if (m != NULL) model_print(m, stderr, 3, true);
	else fprintf(stderr, "no report: the program is statically linked, or allocated nothing\n");
	if (others != 0)
		fprintf(stderr, "%u processes that it started wrote reports of their own; they are not in this one\n", others);
	if (o->report != NULL && (m != NULL || !is_native(o->report))) fprintf(stderr, "report: %s\n", o->report);
}

static int finish(const run_options *o, const model *m, const struct rusage *usage, int status) {
	char a[24], b[24];
	uint64_t peak = (uint64_t)usage->ru_maxrss * 1024, lost = m != NULL ? model_sum(m, LOST_BYTES) : 0;
	bool over = false;
	if (o->has_max_peak && peak > o->max_peak) {
		over = true;
		hypi_cmd_fail(0, "over budget: the peak was %s, %s are allowed", hypi_cmd_bytes((double)peak, a),
		              hypi_cmd_bytes((double)o->max_peak, b));
	}
	bool searched = m != NULL && strcmp(model_meta(m, "leaks_searched"), "1") == 0;
	if (o->has_max_leaks && !searched && WIFEXITED(status)) {
		over = true;
		hypi_cmd_fail(0, "over budget: nothing is known of leaks, for the program ended without looking for them");
	} else if (o->has_max_leaks && lost > o->max_leaks) {
		over = true;
		hypi_cmd_fail(0, "over budget: %s were lost, %s are allowed", hypi_cmd_bytes((double)lost, a),
		              hypi_cmd_bytes((double)o->max_leaks, b));
	}
	if (WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL);
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* the program has left its own */
		raise(WTERMSIG(status));
		return 128 + WTERMSIG(status);
	}
	int code = WEXITSTATUS(status);
	return code == 0 && over ? HYP_EXIT_BUDGET : code;
}

int hypi_cmd_run(int argc, char **argv) {
	run_options o = {0};
	int at = 0, stop = read_options(argc, argv, &o, &at);
	if (stop != 0) return stop - 1;
	char library[PATH_MAX], folder[PATH_MAX], path[PATH_MAX + 32];
	const char *tmp = getenv("TMPDIR");
	if (!hypi_cmd_preload(library, sizeof library))
		return hypi_cmd_fail(HYP_EXIT_OWN,
		                     "libhypool-preload.so is neither beside hypool nor in ../lib (HYPOOL_PRELOAD names it)");
	snprintf(folder, sizeof folder, "%s/hypool.XXXXXX", tmp != NULL && *tmp != '\0' ? tmp : "/tmp");
	if (mkdtemp(folder) == NULL) return hypi_cmd_fail(HYP_EXIT_OWN, "%s: %s", folder, strerror(errno));
	prepare(&o, library, folder);
	pid_t pid = start(argv + at);
	if (pid < 0) return hypi_cmd_fail(HYP_EXIT_OWN, "fork: %s", strerror(errno));
	struct rusage usage = {0};
	int status = wait_for(pid, &usage);
	bool kept = true;
	snprintf(path, sizeof path, "%s/%d", folder, (int)pid);
	bool foreign = o.report != NULL && !is_native(o.report);
	if (foreign) (void)write_from_box(o.report, hypi_profile_format_of(o.report)); /* the program's own is there else */
	else if (access(path, R_OK) != 0) (void)write_from_box(path, HYP_PROFILE_HYPOOL);
	if (o.report != NULL && is_native(o.report) && !is_converted(o.report) && access(path, R_OK) == 0)
		kept = copy_file(path, o.report);
	unsigned others;
	model *m = gather(folder, pid, &others);
	if (m != NULL && o.report != NULL && is_converted(o.report)) kept = keep(m, o.report);
	bool ran = WIFSIGNALED(status) || WEXITSTATUS(status) < 126;
	if (!o.quiet && ran) summary(&o, m, &usage, status, others);
	if (!kept) hypi_cmd_fail(0, "cannot write %s", o.report);
	int code = finish(&o, m, &usage, status);
	model_free(m);
	return code == 2 ? (exit(2), 2) : code; /* the program's own 2 is no wrong usage of ours */
}
