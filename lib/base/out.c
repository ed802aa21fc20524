/* base/out.c: the formatter behind base/out.h. */
#include "base/out.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static void fd_sink(void *context, const char *text, size_t bytes) {
	int fd = (int)(intptr_t)context;
	while (bytes > 0) {
		ssize_t n = write(fd, text, bytes);
		if (n < 0) {
			if (errno == EINTR) continue;
			return;
		}
		text += n;
		bytes -= (size_t)n;
	}
}

void hypi_out_init_fd(hypi_out *out, int fd) { hypi_out_init_sink(out, fd_sink, (void *)(intptr_t)fd); }

void hypi_out_init_sink(hypi_out *out, hypi_out_sink *sink, void *context) {
	out->sink = sink;
	out->context = context;
	out->used_bytes = 0;
	out->total_bytes = 0;
}

void hypi_out_flush(hypi_out *out) {
	int saved = errno;
	if (out->used_bytes > 0) out->sink(out->context, out->text, out->used_bytes);
	out->used_bytes = 0;
	errno = saved;
}

void hypi_out_text(hypi_out *out, const char *text, size_t bytes) {
	out->total_bytes += bytes;
	while (bytes > 0) {
		size_t room = sizeof out->text - out->used_bytes;
		size_t n = bytes < room ? bytes : room;
		memcpy(out->text + out->used_bytes, text, n);
		out->used_bytes += n;
		text += n;
		bytes -= n;
		if (out->used_bytes == sizeof out->text) hypi_out_flush(out);
	}
}

static void pad(hypi_out *out, char with, size_t count) {
	for (; count > 0; count--) hypi_out_text(out, &with, 1);
}

enum { STAR = -2 }; /* the precision is an argument */

typedef struct spec {
	bool left, zero;
	size_t width;
	int precision; /* -1: none */
	int size;      /* number of bytes of an integer argument */
} spec;

static void field(hypi_out *out, const spec *s, const char *text, size_t bytes, bool negative) {
	size_t total = bytes + (negative ? 1 : 0);
	size_t fill = s->width > total ? s->width - total : 0;
	if (!s->left && !s->zero) pad(out, ' ', fill);
	if (negative) hypi_out_text(out, "-", 1);
	if (!s->left && s->zero) pad(out, '0', fill);
	hypi_out_text(out, text, bytes);
	if (s->left) pad(out, ' ', fill);
}

static void number(hypi_out *out, const spec *s, uint64_t n, unsigned base, bool negative) {
	char digits[24];
	size_t at = sizeof digits;
	do {
		digits[--at] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n != 0);
	field(out, s, digits + at, sizeof digits - at, negative);
}

static void real(hypi_out *out, const spec *s, double x) {
	if (x != x || x > 1e18 || x < -1e18) {
		const char *name = x != x ? "nan" : "inf";
		field(out, s, name, 3, x < 0);
		return;
	}
	bool negative = x < 0;
	if (negative) x = -x;
	int places = s->precision < 0 ? 6 : s->precision > 6 ? 6 : s->precision;
	uint64_t scale = 1;
	for (int i = 0; i < places; i++) scale *= 10;
	uint64_t whole = (uint64_t)x;
	uint64_t part = (uint64_t)((x - (double)whole) * (double)scale + 0.5);
	if (part >= scale) {
		whole++;
		part -= scale;
	}
	char text[40];
	size_t n = hypi_format(text, sizeof text, "%llu", (unsigned long long)whole);
	if (places > 0) {
		text[n++] = '.';
		for (uint64_t unit = scale / 10; unit > 0; unit /= 10) text[n++] = (char)('0' + part / unit % 10);
	}
	field(out, s, text, n, negative);
}

static const char *parse_spec(const char *f, spec *ret_spec) {
	spec s = {.precision = -1, .size = sizeof(int)};
	for (;; f++) {
		if (*f == '-') s.left = true;
		else if (*f == '0') s.zero = true;
		else break;
	}
	for (; *f >= '0' && *f <= '9'; f++) s.width = s.width * 10 + (size_t)(*f - '0');
	if (*f == '.' && f[1] == '*') {
		s.precision = STAR;
		f += 2;
	} else if (*f == '.') {
		s.precision = 0;
		for (f++; *f >= '0' && *f <= '9'; f++) s.precision = s.precision * 10 + (*f - '0');
	}
	for (; *f == 'l' || *f == 'z' || *f == 'j'; f++) s.size = 8;
	*ret_spec = s;
	return f;
}

void hypi_out_vformat(hypi_out *out, const char *f, va_list args) {
	for (; *f != '\0'; f++) {
		if (*f != '%') {
			const char *end = strchr(f, '%');
			size_t n = end != NULL ? (size_t)(end - f) : strlen(f);
			hypi_out_text(out, f, n);
			f += n - 1;
			continue;
		}
		spec s;
		f = parse_spec(f + 1, &s);
		if (s.precision == STAR) s.precision = va_arg(args, int);
		switch (*f) {
		case 's': {
			const char *text = va_arg(args, const char *);
			if (text == NULL) text = "(null)";
			size_t n = s.precision >= 0 ? strnlen(text, (size_t)s.precision) : strlen(text);
			field(out, &s, text, n, false);
			break;
		}
		case 'c': {
			char c = (char)va_arg(args, int);
			field(out, &s, &c, 1, false);
			break;
		}
		case 'd': {
			int64_t n = s.size == 8 ? va_arg(args, int64_t) : va_arg(args, int);
			number(out, &s, n < 0 ? 0 - (uint64_t)n : (uint64_t)n, 10, n < 0);
			break;
		}
		case 'u':
		case 'x': {
			uint64_t n = s.size == 8 ? va_arg(args, uint64_t) : va_arg(args, unsigned);
			number(out, &s, n, *f == 'x' ? 16 : 10, false);
			break;
		}
		case 'p':
			hypi_out_text(out, "0x", 2);
			number(out, &s, (uintptr_t)va_arg(args, void *), 16, false);
			break;
		case 'f': real(out, &s, va_arg(args, double)); break;
		case '\0': return;
		default: hypi_out_text(out, f, 1); break;
		}
	}
}

void hypi_out_format(hypi_out *out, const char *format, ...) {
	va_list args;
	va_start(args, format);
	hypi_out_vformat(out, format, args);
	va_end(args);
}

void hypi_out_json_string(hypi_out *out, const char *text) {
	hypi_out_text(out, "\"", 1);
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		if (c == '"' || c == '\\') hypi_out_format(out, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f) hypi_out_format(out, "\\u%04x", c);
		else hypi_out_text(out, text, 1);
	}
	hypi_out_text(out, "\"", 1);
}

struct memory_sink {
	char *text;
	size_t used, bytes;
};

static void memory_sink(void *context, const char *text, size_t bytes) {
	struct memory_sink *m = context;
	for (size_t i = 0; i < bytes; i++)
		if (m->used + 1 < m->bytes) m->text[m->used++] = text[i];
}

size_t hypi_format(char *ret_text, size_t bytes, const char *format, ...) {
	struct memory_sink m = {.text = ret_text, .bytes = bytes};
	hypi_out out;
	hypi_out_init_sink(&out, memory_sink, &m);
	va_list args;
	va_start(args, format);
	hypi_out_vformat(&out, format, args);
	va_end(args);
	hypi_out_flush(&out);
	if (bytes > 0) ret_text[m.used] = '\0';
	return out.total_bytes;
}
