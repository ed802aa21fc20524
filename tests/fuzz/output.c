/*
 * tests/fuzz/output.c: what is wrong with a text that was made of words that are not believed; see fuzz.h. JSON is that of
 * RFC 8259, strictly, in UTF-8 without control characters. Of HTML no more is known than what tells the program's own markup
 * from another's: which elements it writes, which kinds of quotes, and where a marked character may stand.
 */
#include "fuzz.h"

#include <ctype.h>
#include <string.h>

/* ---- UTF-8 ---- */

/* One character on; NULL: none. By the bits, and the code point afterwards. */
static const char *after_character(const char *at) {
	unsigned char first = (unsigned char)*at++;
	unsigned more = first < 0x80 ? 0 : first >> 5 == 6 ? 1 : first >> 4 == 14 ? 2 : first >> 3 == 30 ? 3 : 9;
	if (more == 9) return NULL;
	uint32_t code = more == 0 ? first : first & (0x3fu >> more);
	for (unsigned i = 0; i < more; i++, at++) {
		if (((unsigned char)*at & 0xc0) != 0x80) return NULL;
		code = code << 6 | ((unsigned char)*at & 0x3f);
	}
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
	if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return NULL;
	return at;
}

const char *terminal_wrong(const char *text) {
	while (*text != '\0') {
		unsigned char c = (unsigned char)*text;
		if ((c < 0x20 && c != '\n') || c == 0x7f) return "a control character";
		if (c == 0xc2 && (unsigned char)text[1] < 0xa0) return "a control character of the second set";
		text = after_character(text);
		if (text == NULL) return "no UTF-8";
	}
	return NULL;
}

/* ---- JSON ---- */

static const char *wrong;

static const char *fail(const char *why) {
	if (wrong == NULL) wrong = why;
	return NULL;
}

static const char *spaces(const char *at) { return at + strspn(at, " \t\r\n"); }

static const char *string(const char *at) {
	if (*at++ != '"') return fail("a string was wanted");
	while (*at != '"') {
		if ((unsigned char)*at < 0x20) return fail("a control character, or the end, in a string");
		if (*at == '\\') {
			at++;
			if (*at == 'u') {
				for (int i = 1; i <= 4; i++)
					if (!isxdigit((unsigned char)at[i])) return fail("\\u without four digits");
				at += 5;
			} else if (*at != '\0' && strchr("\"\\/bfnrt", *at) != NULL) {
				at++;
			} else {
				return fail("an unknown escape");
			}
			continue;
		}
		at = after_character(at);
		if (at == NULL) return fail("a string that is no UTF-8");
	}
	return at + 1;
}

static const char *digits(const char *at) {
	size_t n = strspn(at, "0123456789");
	return n == 0 ? fail("a digit was wanted") : at + n;
}

static const char *number(const char *at) {
	at += *at == '-';
	at = *at == '0' ? at + 1 : digits(at);
	if (at != NULL && *at == '.') at = digits(at + 1);
	if (at != NULL && (*at == 'e' || *at == 'E')) {
		at++;
		at = digits(at + (*at == '+' || *at == '-'));
	}
	return at;
}

static const char *value(const char *at, int depth);

static const char *list(const char *at, int depth, char end) {
	at = spaces(at + 1);
	if (*at == end) return at + 1;
	for (;;) {
		if (end == '}') {
			at = string(spaces(at));
			if (at == NULL) return NULL;
			at = spaces(at);
			if (*at++ != ':') return fail("a colon was wanted");
		}
		at = value(at, depth + 1);
		if (at == NULL) return NULL;
		at = spaces(at);
		if (*at == end) return at + 1;
		if (*at++ != ',') return fail("a comma was wanted");
	}
}

static const char *value(const char *at, int depth) {
	static const char *const words[] = {"true", "false", "null"};
	at = spaces(at);
	if (depth > 20) return fail("too deep");
	if (*at == '{') return list(at, depth, '}');
	if (*at == '[') return list(at, depth, ']');
	if (*at == '"') return string(at);
	for (size_t i = 0; i < 3; i++)
		if (strncmp(at, words[i], strlen(words[i])) == 0) return at + strlen(words[i]);
	return number(at);
}

const char *json_wrong(const char *text) {
	wrong = NULL;
	const char *end = value(text, 0);
	if (end != NULL && *spaces(end) != '\0') fail("something behind the value");
	return wrong;
}

/* ---- HTML ---- */

static bool is_mark(const char *at) { return strncmp(at, MARK, strlen(MARK)) == 0; }

static bool is_one_of(const char *const *names, const char *name, size_t bytes) {
	for (; *names != NULL; names++)
		if (strlen(*names) == bytes && strncmp(*names, name, bytes) == 0) return true;
	return false;
}

static const char *attribute(const char *at) {
	static const char *const known[] = {"lang",
	                                    "charset",
	                                    "name",
	                                    "content",
	                                    "class",
	                                    "id",
	                                    "href",
	                                    "title",
	                                    "style",
	                                    "data-w",
	                                    "fill",
	                                    "stroke",
	                                    "points",
	                                    "viewBox",
	                                    "role",
	                                    "aria-label",
	                                    "x",
	                                    "y",
	                                    "x1",
	                                    "x2",
	                                    "y1",
	                                    "y2",
	                                    "width",
	                                    "height",
	                                    "opacity",
	                                    "stroke-dasharray",
	                                    "stroke-width",
	                                    "preserveAspectRatio",
	                                    "vector-effect",
	                                    NULL};
	size_t n = 0;
	while (isalnum((unsigned char)at[n]) || at[n] == '-') n++;
	if (!is_one_of(known, at, n)) return fail("an attribute that the page has not");
	at += n;
	if (*at != '=') return at;
	char quote = *++at;
	if (quote != '"' && quote != '\'') return at + strcspn(at, " \t\n>\"'`=<");
	for (at++; *at != quote; at++) {
		if (*at == '\0') return fail("an attribute without an end");
		if (is_mark(at) && (at[-1] == '&' || at[-1] == quote)) return fail("a bare character in an attribute");
	}
	return at + 1;
}

static const char *tag(const char *at) {
	static const char *const known[] = {"html", "meta",  "title",    "style", "script",  "h1",      "h2",
	                                    "p",    "div",   "b",        "span",  "nav",     "a",       "ul",
	                                    "li",   "table", "tr",       "th",    "td",      "svg",     "g",
	                                    "line", "rect",  "polyline", "i",     "details", "summary", NULL};
	if (strncmp(at, "<!doctype html>", 15) == 0) return at + 15;
	bool end = at[1] == '/';
	const char *name = at + 1 + end;
	size_t n = 0;
	while (isalnum((unsigned char)name[n])) n++;
	if (!is_one_of(known, name, n)) return fail("an element that the page has not");
	for (at = name + n;;) {
		at = spaces(at);
		if (*at == '>') return at + 1;
		if (at[0] == '/' && at[1] == '>') return at + 2;
		if (end) return fail("an end with attributes");
		at = attribute(at);
		if (at == NULL) return NULL;
	}
}

const char *html_wrong(const char *text) {
	wrong = NULL;
	for (const char *at = text; at != NULL && *at != '\0';) {
		if (is_mark(at) && at != text && strchr("<>&", at[-1]) != NULL) return "a bare character in the text";
		if (*at != '<') {
			at++;
			continue;
		}
		const char *own = strncmp(at, "<script>", 8) == 0  ? "</script>"
		                  : strncmp(at, "<style>", 7) == 0 ? "</style>"
		                                                   : NULL;
		at = tag(at);
		if (at == NULL || own == NULL) continue;
		const char *end = strstr(at, own), *mark = strstr(at, MARK);
		if (end == NULL) return "a script without an end";
		if (mark != NULL && mark < end) return "words in a script";
		at = end;
	}
	return wrong;
}
