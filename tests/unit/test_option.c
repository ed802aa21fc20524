/*
 * Tests of base/option.c: every type at its edges, where a value comes from, and what is told about a bad one.
 *
 * The options are process state that is read once: each test of hypi_options_init runs in a child of its own.
 */
#include "base/option.h"
#include "unit.h"

#include <hypool/option.h>

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static hyp_status set(const char *key, const char *value) {
	return hypi_option_set(key, strlen(key), value, strlen(value), HYPI_FROM_API);
}

/* ---- values ---- */

START_TEST(the_table) {
	for (unsigned i = 0; i < HYPI_OPTION_COUNT; i++) {
		const hypi_option_info *info = &hypi_option_table[i];
		ck_assert_uint_gt(strlen(info->name), 0);
		ck_assert_uint_lt(strlen(info->name), 48); /* fits where HYPOOL_<NAME> is put together */
		ck_assert_uint_gt(strlen(info->doc), 0);
		ck_assert_uint_le(info->least, info->most);
		if (info->type == HYPI_TEXT) continue;
		ck_assert_uint_ge(info->initial, info->least);
		ck_assert_uint_le(info->initial, info->most);
		ck_assert_uint_eq(hypi_option_get((hypi_option)i), info->initial);
		ck_assert_int_eq(hypi_option_source_of((hypi_option)i), HYPI_FROM_DEFAULT);
		ck_assert_str_eq(hypi_option_nearest(info->name, strlen(info->name)), info->name);
	}
}
END_TEST

START_TEST(booleans) {
	static const char *const yes[] = {"true", "1", "yes", "on", "TRUE", "Yes", "ON"};
	static const char *const no[] = {"false", "0", "no", "off", "False", "NO", "OFF"};
	static const char *const bad[] = {"", "2", "tru", "truee", "y", "on off", " on", "-1"};
	for (size_t i = 0; i < HYP_ARRAY_LEN(yes); i++) {
		ck_assert_int_eq(set("stats", no[i]), HYP_OK);
		ck_assert_uint_eq(hypi_option_get(HYPI_OPTION_stats), 0);
		ck_assert_int_eq(set("stats", yes[i]), HYP_OK);
		ck_assert_uint_eq(hypi_option_get(HYPI_OPTION_stats), 1);
	}
	for (size_t i = 0; i < HYP_ARRAY_LEN(bad); i++) {
		ck_assert_int_eq(set("stats", bad[i]), HYP_ERR_INVALID);
		ck_assert_uint_eq(hypi_option_get(HYPI_OPTION_stats), 1);
	}
}
END_TEST

START_TEST(sizes) {
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"1048576", 1048576}, {"1048576B", 1048576},  {"2M", 2 << 20},       {"2m", 2 << 20},
		{"2MiB", 2 << 20},    {"2MB", 2 << 20},       {"2048K", 2 << 20},    {"2048KiB", 2 << 20},
		{"2048kb", 2 << 20},  {"67108864", 64 << 20}, {"0000002M", 2 << 20},
	};
	static const char *const bad[] = {
		"",
		"M",
		"-1M",
		"1.5M",
		"0x100000",
		"1048575",
		"67108865",
		"1G",
		"1T",
		"2Mi",
		"2 M",
		"2MM",
		"2s",
		"64M1",
		"99999999999999999999999999",
		"18446744073709551616",
		"18014398509481984K", /* overflow of the number, and of the product */
	};
	for (size_t i = 0; i < HYP_ARRAY_LEN(good); i++) {
		ck_assert_int_eq(set("arena", good[i].text), HYP_OK);
		ck_assert_uint_eq(hypi_option_get(HYPI_OPTION_arena), good[i].bytes);
	}
	for (size_t i = 0; i < HYP_ARRAY_LEN(bad); i++) {
		ck_assert_msg(set("arena", bad[i]) == HYP_ERR_INVALID, "'%s' was taken", bad[i]);
		ck_assert_uint_eq(hypi_option_get(HYPI_OPTION_arena), 2 << 20);
	}
	ck_assert_int_eq(set("large_cache", "1GiB"), HYP_OK);
	ck_assert_uint_eq(hypi_option_get(HYPI_OPTION_large_cache), 1 << 30);
}
END_TEST

START_TEST(times) {
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {{"0", 0}, {"15", 15}, {"15ms", 15}, {"15MS", 15}, {"2s", 2000}, {"60m", 3600000}, {"3600000", 3600000}};
	static const char *const bad[] = {"", "ms", "1h", "61m", "3600001", "-1", "1.5s", "1K", "18446744073709551615s"};
	for (size_t i = 0; i < HYP_ARRAY_LEN(good); i++) {
		ck_assert_int_eq(set("decay", good[i].text), HYP_OK);
		ck_assert_uint_eq(hypi_option_get(HYPI_OPTION_decay), good[i].ms);
	}
	for (size_t i = 0; i < HYP_ARRAY_LEN(bad); i++) ck_assert_int_eq(set("decay", bad[i]), HYP_ERR_INVALID);
}
END_TEST

START_TEST(integers) {
	ck_assert_int_eq(set("harden", "0"), HYP_OK);
	ck_assert_int_eq(set("harden", "3"), HYP_OK);
	ck_assert_int_eq(set("harden", "4"), HYP_ERR_INVALID);
	ck_assert_int_eq(set("harden", "1K"), HYP_ERR_INVALID);
	ck_assert_int_eq(set("harden", "-1"), HYP_ERR_INVALID);
	ck_assert_int_eq(set("harden", "+1"), HYP_ERR_INVALID);
	ck_assert_uint_eq(hypi_option_get(HYPI_OPTION_harden), 3);
}
END_TEST

START_TEST(texts) {
	char longest[HYPI_OPTION_TEXT_BYTES + 1];
	memset(longest, 'x', sizeof longest);
	ck_assert_str_eq(hypi_option_text(HYPI_OPTION_stats_file), "");
	ck_assert_int_eq(set("stats_file", "/tmp/a b"), HYP_OK);
	ck_assert_str_eq(hypi_option_text(HYPI_OPTION_stats_file), "/tmp/a b");
	longest[HYPI_OPTION_TEXT_BYTES] = '\0';
	ck_assert_int_eq(set("stats_file", longest), HYP_ERR_INVALID);
	ck_assert_str_eq(hypi_option_text(HYPI_OPTION_stats_file), "/tmp/a b");
	longest[HYPI_OPTION_TEXT_BYTES - 1] = '\0';
	ck_assert_int_eq(set("stats_file", longest), HYP_OK);
	ck_assert_str_eq(hypi_option_text(HYPI_OPTION_stats_file), longest);
	ck_assert_int_eq(set("stats_file", ""), HYP_OK);
	ck_assert_str_eq(hypi_option_text(HYPI_OPTION_stats_file), "");
}
END_TEST

START_TEST(keys) {
	ck_assert_int_eq(set("", "1"), HYP_ERR_NOT_FOUND);
	ck_assert_int_eq(set("stat", "1"), HYP_ERR_NOT_FOUND);
	ck_assert_int_eq(set("statss", "1"), HYP_ERR_NOT_FOUND);
	ck_assert_int_eq(set("STATS", "1"), HYP_OK);
	ck_assert_int_eq(hypi_option_source_of(HYPI_OPTION_stats), HYPI_FROM_API);
	/* Neither key nor value need an end. */
	ck_assert_int_eq(hypi_option_set("stats_json", 5, "0123", 1, HYPI_FROM_API), HYP_OK);
	ck_assert_uint_eq(hypi_option_get(HYPI_OPTION_stats), 0);
	ck_assert_str_eq(hypi_option_nearest("decai", 5), "decay");
	ck_assert_str_eq(hypi_option_nearest("hugepages", 9), "huge_pages");
	ck_assert_str_eq(hypi_option_nearest("stats-file", 10), "stats_file");
	ck_assert_ptr_nonnull(hypi_option_nearest("", 0));
	char far[200];
	memset(far, 'q', sizeof far);
	ck_assert_ptr_nonnull(hypi_option_nearest(far, sizeof far));
}
END_TEST

START_TEST(formatted) {
	char text[64];
	ck_assert_int_eq(set("decay", "2s"), HYP_OK);
	hypi_option_format(HYPI_OPTION_decay, text, sizeof text);
	ck_assert_str_eq(text, "2000ms");
	ck_assert_int_eq(set("stats", "on"), HYP_OK);
	hypi_option_format(HYPI_OPTION_stats, text, sizeof text);
	ck_assert_str_eq(text, "true");
	/* What is formatted parses to the same value, option by option. */
	for (unsigned i = 0; i < HYPI_OPTION_COUNT; i++) {
		uint64_t value = hypi_option_get((hypi_option)i);
		hypi_option_format((hypi_option)i, text, sizeof text);
		ck_assert_int_eq(set(hypi_option_table[i].name, text), HYP_OK);
		ck_assert_uint_eq(hypi_option_get((hypi_option)i), value);
	}
}
END_TEST

/* ---- lists of options ---- */

static char told[1024];
static size_t told_bytes;

static void hear(void *context, const char *text, size_t bytes) {
	(void)context;
	ck_assert_uint_lt(told_bytes + bytes, sizeof told);
	memcpy(told + told_bytes, text, bytes);
	told_bytes += bytes;
	told[told_bytes] = '\0';
}

static unsigned parse(const char *text, hypi_out *warn) {
	return hypi_options_parse(text, strlen(text), HYPI_FROM_FILE, warn);
}

START_TEST(lists) {
	ck_assert_uint_eq(parse("", NULL), 0);
	ck_assert_uint_eq(parse(",,\n, ,\t\n", NULL), 0);
	ck_assert_uint_eq(parse("stats:true,decay:5s", NULL), 0);
	ck_assert_uint_eq(hypi_option_get(HYPI_OPTION_stats), 1);
	ck_assert_uint_eq(hypi_option_get(HYPI_OPTION_decay), 5000);
	ck_assert_int_eq(hypi_option_source_of(HYPI_OPTION_decay), HYPI_FROM_FILE);
	ck_assert_uint_eq(parse(" stats = false \n\n# decay:1s, stats:true\n  decay :\t7s\r\nharden:2", NULL), 0);
	ck_assert_uint_eq(hypi_option_get(HYPI_OPTION_stats), 0);
	ck_assert_uint_eq(hypi_option_get(HYPI_OPTION_decay), 7000);
	ck_assert_uint_eq(hypi_option_get(HYPI_OPTION_harden), 2);
	/* The last one wins; what is refused does not stop the rest. */
	ck_assert_uint_eq(parse("decay:1s,decay:bad,nothing:1,:,stats,decay:3s", NULL), 4);
	ck_assert_uint_eq(hypi_option_get(HYPI_OPTION_decay), 3000);
	/* A value may hold the separators of keys. */
	ck_assert_uint_eq(parse("stats_file:/tmp/a:b=c", NULL), 0);
	ck_assert_str_eq(hypi_option_text(HYPI_OPTION_stats_file), "/tmp/a:b=c");
	ck_assert_uint_eq(parse("stats_file:,decay:1s#2", NULL), 1);
}
END_TEST

START_TEST(one_warning) {
	hypi_out warn;
	hypi_out_init_sink(&warn, hear, NULL);
	ck_assert_uint_eq(parse("stats:true,decai:5s,hardn:1,decay:never", &warn), 3);
	hypi_out_flush(&warn);
	ck_assert_str_eq(told, "hypool: unknown option 'decai'; did you mean 'decay'?\n");
	ck_assert_uint_eq(parse("decai:5s", &warn), 1);
	hypi_out_flush(&warn);
	ck_assert_str_eq(told, "hypool: unknown option 'decai'; did you mean 'decay'?\n");
}
END_TEST

START_TEST(one_warning_of_a_value) {
	hypi_out warn;
	hypi_out_init_sink(&warn, hear, NULL);
	ck_assert_uint_eq(parse("decay:never", &warn), 1);
	hypi_out_flush(&warn);
	ck_assert_str_eq(told, "hypool: option 'decay' does not take 'never'\n");
}
END_TEST

/* ---- the environment ---- */

/* hypi_options_init as a process of its own would run it: what it prints goes to `told`. Returns the child's verdict. */
static int in_child(char *const *environment, bool secure, bool (*holds)(void)) {
	int ends[2], status;
	ck_assert_int_eq(pipe(ends), 0);
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		dup2(ends[1], 2);
		close(ends[0]);
		close(ends[1]);
		hypi_options_init(NULL, false); /* too early: the next call is still the first */
		hypi_options_init(environment, secure);
		hypi_options_init((char *const[]){(char *)"HYPOOL_DECAY=77", NULL}, false); /* does nothing any more */
		_exit(holds() ? 0 : 1);
	}
	close(ends[1]);
	told_bytes = 0;
	ssize_t n;
	while ((n = read(ends[0], told + told_bytes, sizeof told - 1 - told_bytes)) > 0) told_bytes += (size_t)n;
	told[told_bytes] = '\0';
	close(ends[0]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

#define ENVIRONMENT(...) \
	(char *const[]) { __VA_ARGS__, NULL }

static char config_path[64], config_variable[96];

static void write_config(const char *text) {
	strcpy(config_path, "/tmp/hypool-test-XXXXXX");
	int fd = mkstemp(config_path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	snprintf(config_variable, sizeof config_variable, "HYPOOL_CONF_FILE=%s", config_path);
}

static bool precedence_holds(void) {
	return hypi_option_get(HYPI_OPTION_decay) == 3000 &&
	       hypi_option_source_of(HYPI_OPTION_decay) == HYPI_FROM_ENVIRONMENT &&
	       hypi_option_get(HYPI_OPTION_harden) == 2 && hypi_option_source_of(HYPI_OPTION_harden) == HYPI_FROM_CONF &&
	       hypi_option_get(HYPI_OPTION_arena) == 1 << 20 &&
	       hypi_option_source_of(HYPI_OPTION_arena) == HYPI_FROM_FILE &&
	       hypi_option_get(HYPI_OPTION_large_cache) == 64 << 20 &&
	       hypi_option_source_of(HYPI_OPTION_large_cache) == HYPI_FROM_DEFAULT && set("decay", "4s") == HYP_OK &&
	       hypi_option_get(HYPI_OPTION_decay) == 4000;
}

START_TEST(precedence) {
	write_config("# written by a test\ndecay: 1s\nharden: 1\narena: 1M\n");
	int verdict = in_child(ENVIRONMENT((char *)"HYPOOL_DECAY=3s", config_variable, (char *)"PATH=/bin",
	                                   (char *)"HYPOOL_CONF=decay:2s,harden:2"),
	                       false, precedence_holds);
	unlink(config_path);
	ck_assert_int_eq(verdict, 0);
	ck_assert_str_eq(told, "");
}
END_TEST

static bool only_defaults(void) {
	for (unsigned i = 0; i < HYPI_OPTION_COUNT; i++)
		if (hypi_option_get((hypi_option)i) != hypi_option_table[i].initial ||
		    hypi_option_source_of((hypi_option)i) != HYPI_FROM_DEFAULT || hypi_option_text((hypi_option)i)[0] != '\0')
			return false;
	return true;
}

START_TEST(setuid_ignores_all) {
	write_config("decay: 1s\nwrong: 1\n");
	int verdict = in_child(ENVIRONMENT((char *)"HYPOOL_DECAY=3s", config_variable, (char *)"HYPOOL_CONF=decai:2s",
	                                   (char *)"HYPOOL_STATS_FILE=/etc/shadow"),
	                       true, only_defaults);
	unlink(config_path);
	ck_assert_int_eq(verdict, 0);
	ck_assert_str_eq(told, "");
}
END_TEST

START_TEST(an_empty_environment) {
	ck_assert_int_eq(in_child((char *const[]){NULL}, false, only_defaults), 0);
	ck_assert_int_eq(in_child(ENVIRONMENT((char *)"HYPOOL_DECODER=3s", (char *)"HYPOOL_=1", (char *)"XHYPOOL_DECAY=3s",
	                                      (char *)"HYPOOL_CONF="),
	                          false, only_defaults),
	                 0);
	ck_assert_str_eq(told, "");
}
END_TEST

START_TEST(warnings_of_the_environment) {
	ck_assert_int_eq(
		in_child(ENVIRONMENT((char *)"HYPOOL_CONF=decai:2s", (char *)"HYPOOL_STATS=maybe"), false, only_defaults), 0);
	ck_assert_str_eq(told, "hypool: unknown option 'decai'; did you mean 'decay'?\n");
	ck_assert_int_eq(in_child(ENVIRONMENT((char *)"HYPOOL_STATS=maybe"), false, only_defaults), 0);
	ck_assert_str_eq(told, "hypool: option 'stats' does not take 'maybe'\n");
	ck_assert_int_eq(in_child(ENVIRONMENT((char *)"HYPOOL_CONF_FILE=/nonexistent/file"), false, only_defaults), 0);
	ck_assert_str_eq(told, "hypool: cannot read the config file /nonexistent/file\n");
	ck_assert_int_eq(in_child(ENVIRONMENT((char *)"HYPOOL_CONF_FILE=/"), false, only_defaults), 0);
	ck_assert_str_eq(told, "hypool: cannot read the config file /\n");
}
END_TEST

/* Variables that are nearly an option's are told of, those of a program's own are not. */
START_TEST(slips_of_the_finger) {
	static const char *const slips[][2] = {
		{"HYPOOL_TRAK=1", "hypool: unknown option 'trak'; did you mean 'track'?\n"},
		{"HYPOOL_DECAYS=3s", "hypool: unknown option 'decays'; did you mean 'decay'?\n"},
		{"HYPOOL_HUGEPAGES=1", "hypool: unknown option 'hugepages'; did you mean 'huge_pages'?\n"},
		{"HYPOOL_PROFILE_MAEN=1", "hypool: unknown option 'profile_maen'; did you mean 'profile_mean'?\n"},
		{"HYPOOL_BUILD=debug", ""},
		{"HYPOOL_TEST_LIB=/lib/x.so", ""},
		{"HYPOOL_CONF_FILE_OF_MINE=x", ""},
		{"HYPOOL_PRELOAD=/lib/x.so", ""},
		{"HYPOOL_JOBS=4", ""},
		{"HYPOOL_TRAK", ""},
		{"HYPOOL_A_NAME_LONGER_THAN_ANY_OPTION_WILL_EVER_BE=1", ""},
	};
	for (size_t i = 0; i < HYP_ARRAY_LEN(slips); i++) {
		ck_assert_int_eq(in_child(ENVIRONMENT((char *)slips[i][0]), false, only_defaults), 0);
		ck_assert_str_eq(told, slips[i][1]);
	}
	/* One warning a process, and none of a program with more rights than its caller. */
	ck_assert_int_eq(in_child(ENVIRONMENT((char *)"HYPOOL_TRAK=1", (char *)"HYPOOL_STATS=maybe"), false, only_defaults),
	                 0);
	ck_assert_str_eq(told, "hypool: option 'stats' does not take 'maybe'\n");
	ck_assert_int_eq(in_child(ENVIRONMENT((char *)"HYPOOL_TRAK=1"), true, only_defaults), 0);
	ck_assert_str_eq(told, "");
}
END_TEST

static bool long_file_holds(void) { return hypi_option_get(HYPI_OPTION_decay) == 5000; }

/* The file's only entry that counts is "decay: 5s", and nothing of it is warned of. */
static void reads_whole(const char *text) {
	write_config(text);
	int verdict = in_child(ENVIRONMENT(config_variable), false, long_file_holds);
	unlink(config_path);
	ck_assert_int_eq(verdict, 0);
	ck_assert_str_eq(told, "");
}

/* A config file with a long preamble of comments is read to its end. */
START_TEST(a_long_config_file) {
	static char text[20000];
	size_t at = 0;
	while (at < sizeof text - 200) at += (size_t)snprintf(text + at, sizeof text - at, "# %060d\n", 0);
	snprintf(text + at, sizeof text - at, "decay: 5s\n");
	reads_whole(text);
}
END_TEST

/* A comment is one to the end of its line, however long that is, and an entry may stand anywhere in a long line. */
START_TEST(long_lines_in_a_config_file) {
	static char text[20000];
	memset(text, 'x', sizeof text - 1);
	text[0] = '#';
	memcpy(text + 4096, "\rdecay:9s,decay:9s", 18);
	memset(text + 8000, ',', 8000);
	memcpy(text + 7000, "\nstats:no,", 10);
	memset(text + 7010, ' ', 990);
	memcpy(text + 15999, "decay: 5s,#", 11);
	reads_whole(text);
}
END_TEST

/* What other libraries read. */
START_TEST(public_reading) {
	char text[HYPI_OPTION_TEXT_BYTES + 1] = "before";
	uint64_t number = 77;
	ck_assert_int_eq(set("decay", "2s"), HYP_OK);
	ck_assert_int_eq(set("names", "yes"), HYP_OK);
	ck_assert_int_eq(set("device", "a device"), HYP_OK);
	ck_assert_int_eq(hyp_option_number("decay", &number), HYP_OK);
	ck_assert_uint_eq(number, 2000);
	ck_assert_int_eq(hyp_option_number("names", &number), HYP_OK);
	ck_assert_uint_eq(number, 1);
	ck_assert_int_eq(hyp_option_number("device", &number), HYP_ERR_TYPE);
	ck_assert_int_eq(hyp_option_number("devic", &number), HYP_ERR_NOT_FOUND);
	ck_assert_int_eq(hyp_option_number(NULL, &number), HYP_ERR_INVALID);
	ck_assert_int_eq(hyp_option_number("decay", NULL), HYP_ERR_INVALID);
	ck_assert_uint_eq(number, 1);
	ck_assert_int_eq(hyp_option_text("nothing", text, sizeof text), HYP_ERR_NOT_FOUND);
	ck_assert_int_eq(hyp_option_text("device", text, 8), HYP_ERR_OVERFLOW);
	ck_assert_int_eq(hyp_option_text("device", NULL, 8), HYP_ERR_INVALID);
	ck_assert_str_eq(text, "before");
	ck_assert_int_eq(hyp_option_text("device", text, 9), HYP_OK);
	ck_assert_str_eq(text, "a device");
	ck_assert_int_eq(hyp_option_text("decay", text, sizeof text), HYP_OK);
	ck_assert_str_eq(text, "2000ms");
}
END_TEST

UNIT_MAIN("option", the_table, booleans, sizes, times, integers, texts, keys, formatted, lists, one_warning,
          one_warning_of_a_value, precedence, setuid_ignores_all, an_empty_environment, warnings_of_the_environment,
          slips_of_the_finger, a_long_config_file, long_lines_in_a_config_file, public_reading)
