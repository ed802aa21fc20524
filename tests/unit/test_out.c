/* Tests of base/out.c: the formats that it shares with printf against printf, and its sinks. */
#include "base/out.h"
#include "unit.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SAME(...) \
	do { \
		char want[512], got[512]; \
		size_t want_bytes = (size_t)snprintf(want, sizeof want, __VA_ARGS__); \
		size_t got_bytes = hypi_format(got, sizeof got, __VA_ARGS__); \
		ck_assert_str_eq(got, want); \
		ck_assert_uint_eq(got_bytes, want_bytes); \
	} while (0)

START_TEST(as_printf) {
	SAME("plain");
	SAME("%s", "");
	SAME("a%sb%%c", "text");
	SAME("[%8s][%-8s][%.3s][%8.2s]", "abc", "abc", "abcdef", "abcdef");
	SAME("[%.*s]", 3, "abcdef");
	SAME("%c%c", 'x', 'y');
	SAME("%d %d %d", 0, INT_MAX, INT_MIN);
	SAME("%u %x", UINT_MAX, UINT_MAX);
	SAME("%ld %lld %zu", LONG_MIN, LLONG_MIN, SIZE_MAX);
	SAME("%lx %llx %zx", ULONG_MAX, ULLONG_MAX, SIZE_MAX);
	SAME("[%5d][%-5d][%05d][%2d]", 42, 42, 42, 12345);
	SAME("[%5d][%-5d][%05d]", -42, -42, -42);
	SAME("[%8x][%08x][%-8x]", 0xbeefu, 0xbeefu, 0xbeefu);
	SAME("%p", (void *)0x7f1234);
	SAME("%jd %ju", (intmax_t)-5, (uintmax_t)5);
}
END_TEST

START_TEST(reals) {
	static const double values[] = {0.0, 1.0, -1.0, 0.5, 1.25, 3.14159, 99.999, 1e6, 123456789.125, -2.75, 0.001};
	for (size_t i = 0; i < HYP_ARRAY_LEN(values); i++) {
		SAME("%.0f", values[i] + 0.2);
		SAME("%.1f", values[i] + 0.02);
		SAME("%.3f", values[i]);
		SAME("%.6f", values[i]);
		SAME("[%12.2f][%-12.2f][%012.2f]", values[i] + 0.001, values[i] + 0.001, values[i] + 0.001);
	}
	char got[32];
	hypi_format(got, sizeof got, "%.1f", (double)NAN);
	ck_assert_str_eq(got, "nan");
	hypi_format(got, sizeof got, "%.1f %.1f", (double)INFINITY, -(double)INFINITY);
	ck_assert_str_eq(got, "inf -inf");
}
END_TEST

START_TEST(null_text) {
	char got[32];
	const char *volatile none = NULL;
	hypi_format(got, sizeof got, "%s", none);
	ck_assert_str_eq(got, "(null)");
}
END_TEST

START_TEST(cut_to_the_room) {
	char got[8];
	memset(got, '#', sizeof got);
	ck_assert_uint_eq(hypi_format(got, 4, "%s", "abcdef"), 6);
	ck_assert_str_eq(got, "abc");
	ck_assert_int_eq(got[4], '#');
	ck_assert_uint_eq(hypi_format(got, 1, "%s", "abcdef"), 6);
	ck_assert_str_eq(got, "");
	got[0] = '#';
	ck_assert_uint_eq(hypi_format(got, 0, "%s", "abcdef"), 6);
	ck_assert_int_eq(got[0], '#');
}
END_TEST

struct collected {
	char text[4096];
	size_t used, calls;
};

static void collect(void *context, const char *text, size_t bytes) {
	struct collected *c = context;
	ck_assert_uint_gt(bytes, 0);
	ck_assert_uint_le(c->used + bytes, sizeof c->text);
	memcpy(c->text + c->used, text, bytes);
	c->used += bytes;
	c->calls++;
}

START_TEST(longer_than_the_buffer) {
	struct collected c = {.used = 0};
	hypi_out out;
	hypi_out_init_sink(&out, collect, &c);
	char want[2048];
	for (size_t i = 0; i < sizeof want; i++) want[i] = (char)('a' + i % 26);
	hypi_out_text(&out, want, 5);
	ck_assert_uint_eq(c.calls, 0);
	hypi_out_text(&out, want + 5, sizeof want - 5);
	hypi_out_flush(&out);
	ck_assert_uint_eq(c.used, sizeof want);
	ck_assert_uint_eq(out.total_bytes, sizeof want);
	ck_assert_mem_eq(c.text, want, sizeof want);
	size_t calls = c.calls;
	hypi_out_flush(&out); /* nothing is left: nothing is sent */
	ck_assert_uint_eq(c.calls, calls);
}
END_TEST

START_TEST(to_a_descriptor) {
	int ends[2];
	ck_assert_int_eq(pipe(ends), 0);
	hypi_out out;
	hypi_out_init_fd(&out, ends[1]);
	errno = 42;
	hypi_out_format(&out, "n=%d", 7);
	hypi_out_flush(&out);
	ck_assert_int_eq(errno, 42);
	close(ends[1]);
	char got[16] = "";
	ck_assert_int_eq(read(ends[0], got, sizeof got), 3);
	ck_assert_str_eq(got, "n=7");
	close(ends[0]);
	/* A descriptor that is closed loses the text, and that is all. */
	hypi_out_init_fd(&out, -1);
	errno = 42;
	hypi_out_format(&out, "lost");
	hypi_out_flush(&out);
	ck_assert_int_eq(errno, 42);
}
END_TEST

START_TEST(json) {
	struct collected c = {.used = 0};
	hypi_out out;
	hypi_out_init_sink(&out, collect, &c);
	hypi_out_json_string(&out, "a\"b\\c\n\x01\x7f\xc3");
	hypi_out_flush(&out);
	c.text[c.used] = '\0';
	ck_assert_str_eq(c.text, "\"a\\\"b\\\\c\\u000a\\u0001\\u007f\\u00c3\"");
}
END_TEST

UNIT_MAIN("out", as_printf, reals, null_text, cut_to_the_room, longer_than_the_buffer, to_a_descriptor, json)
