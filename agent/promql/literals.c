/*
 * literals.c: numbers, durations and strings as Go reads them, because rule files are written for
 * Go's parser: `010` is eight, `08` is eight too, `1_000` is a thousand, "\x41" is A.
 *
 * Invariant: each function takes exactly n bytes and never reads behind them. A string that would
 * hold a NUL byte is refused, since label values here are C strings and would be cut in silence.
 */
#include "promql_private.h"

#include "pgvigil/base/str.h"

#define NUMBER_TEXT_MAX 400

static bool is_digit_of(char c, int base)
{
    if (base == 16)
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    return c >= '0' && c < '0' + base;
}

/* Does the separator at i stand between digits, or behind 0x? */
static bool is_separator(const char *s, size_t n, size_t i)
{
    bool hex = n > 2 && s[0] == '0' && (s[1] | 0x20) == 'x';
    int base = hex ? 16 : 10;

    if (i == 0 || i + 1 == n || !is_digit_of(s[i + 1], base))
        return false;
    return is_digit_of(s[i - 1], base) || (hex && i == 2);
}

/* The text without digit separators; false where one does not stand between digits. */
static bool strip_underscores(const char *s, size_t n, char out[NUMBER_TEXT_MAX])
{
    size_t len = 0;

    if (n == 0 || n >= NUMBER_TEXT_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] != '_')
            out[len++] = s[i];
        else if (!is_separator(s, n, i))
            return false;
    }
    out[len] = '\0';
    return true;
}

/* digits [. digits] [e [sign] digits] with a digit before the exponent. */
static bool is_decimal(const char *s)
{
    size_t whole = strspn(s, "0123456789"), fraction = 0;

    s += whole;
    if (*s == '.') {
        fraction = strspn(++s, "0123456789");
        s += fraction;
    }
    if (whole + fraction == 0)
        return false;
    if (*s == 'e' || *s == 'E') {
        s++;
        s += *s == '+' || *s == '-';
        if (strspn(s, "0123456789") == 0)
            return false;
        s += strspn(s, "0123456789");
    }
    return *s == '\0';
}

static bool parse_based(const char *s, int base, double *out)
{
    double v = 0;

    if (*s == '\0')
        return false;
    for (; *s; s++) {
        int c = (unsigned char)*s;

        if (!is_digit_of(*s, base))
            return false;
        v = v * base + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    *out = v;
    return true;
}

bool literal_number(const char *s, size_t n, double *out)
{
    char text[NUMBER_TEXT_MAX];

    if (n == 3 && (strncasecmp(s, "inf", 3) == 0 || strncasecmp(s, "nan", 3) == 0)) {
        *out = (*s | 0x20) == 'i' ? (double)INFINITY : (double)NAN;
        return true;
    }
    if (!strip_underscores(s, n, text))
        return false;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        return parse_based(text + 2, 16, out);
    if (text[0] == '0' && parse_based(text, 8, out))
        return true;
    return is_decimal(text) && str_parse_double(text, out);
}

bool literal_duration(const char *s, size_t n, int64_t *ms)
{
    char text[64];

    if (n == 0 || n >= sizeof(text))
        return false;
    memcpy(text, s, n);
    text[n] = '\0';
    return str_parse_duration(text, ms) && *ms < TIME_MAX_MS / 16;
}

/* Appends a code point; 0 for one that has no UTF-8 form. */
static size_t put_utf8(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        if (c >= 0xd800 && c < 0xe000)
            return 0;
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    if (c > 0x10ffff)
        return 0;
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

struct escape {
    const char *s, *end; /* behind the backslash; at end is the closing quote */
    char *out;
    char quote;
    char *why; /* of why_n */
    size_t why_n;
};

static bool escape_fail(struct escape *e, const char *before, const char *s, const char *after)
{
    char text[GO_CHAR_MAX] = "";

    snprintf(e->why, e->why_n, "%s%s%s", before, s ? go_char(s, text) : "", after);
    return false;
}

/* \x41, \101, \u00e9, \U0001F600: digits of a base, as a byte or as a code point. */
static bool escape_code(struct escape *e, int digits, int base, bool is_byte)
{
    uint32_t v = 0;
    size_t n;

    for (int i = 0; i < digits; i++, e->s++) {
        int c;

        if (e->s >= e->end || !is_digit_of(*e->s, base))
            return escape_fail(e, "illegal character ", e->s, " in escape sequence");
        c = (unsigned char)*e->s;
        v = v * (uint32_t)base + (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    if (v == 0)
        return escape_fail(e, "strings with a NUL character are not supported", NULL, "");
    if (is_byte && v <= 0xff) {
        *e->out++ = (char)v;
        return true;
    }
    n = is_byte ? 0 : put_utf8(v, e->out);
    if (n == 0)
        return escape_fail(e, "escape sequence is an invalid Unicode code point", NULL, "");
    e->out += n;
    return true;
}

static bool escape_resolve(struct escape *e)
{
    static const char letters[] = "abfnrtv\\", values[] = "\a\b\f\n\r\t\v\\";
    char c = *e->s;
    const char *simple = c ? strchr(letters, c) : NULL;

    if (e->s >= e->end)
        return escape_fail(e, "escape sequence not terminated", NULL, "");
    if (simple || c == e->quote) {
        *e->out++ = simple ? values[simple - letters] : c;
        e->s++;
        return true;
    }
    if (c >= '0' && c <= '7')
        return escape_code(e, 3, 8, true);
    if (!c || !strchr("xuU", c))
        return escape_fail(e, "unknown escape sequence ", e->s, "");
    e->s++;
    return escape_code(e, c == 'x' ? 2 : c == 'u' ? 4 : 8, 16, c == 'x');
}

char *literal_string(struct arena *arena, const char *s, size_t n, char *why, size_t why_n)
{
    /* An escape is never shorter than what it stands for. */
    char *text = arena_alloc(arena, n);
    struct escape e = {
        .s = s + 1, .end = s + n - 1, .out = text, .quote = *s, .why = why, .why_n = why_n};

    while (e.s < e.end) {
        if (*e.s != '\\' || e.quote == '`') {
            *e.out++ = *e.s++;
            continue;
        }
        e.s++;
        if (!escape_resolve(&e))
            return NULL;
    }
    *e.out = '\0';
    return text;
}
