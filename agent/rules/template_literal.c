/*
 * template_literal.c: what literals stand for: quoted texts, character constants and numbers.
 *
 * The lexer has found their ends; a text that passes here obeys Go's rules for escapes and digits.
 */
#include "template_private.h"

#include <errno.h>
#include <math.h>

#define NUMBER_MAX 400

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* n digits of the base at s; false if they are not that. */
static bool digits(const char *s, const char *end, size_t n, int base, uint32_t *out)
{
    *out = 0;
    if ((size_t)(end - s) < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int digit = hex_digit(s[i]);
        if (digit < 0 || digit >= base)
            return false;
        *out = *out * (uint32_t)base + (uint32_t)digit;
    }
    return true;
}

struct escape {
    uint32_t value;
    bool is_byte; /* a byte of the text, not a code point */
    size_t len;
};

static bool numeric_escape(const char *s, const char *end, struct escape *e)
{
    e->is_byte = true;
    switch (*s) {
    case 'x':
        e->len = 3;
        return digits(s + 1, end, 2, 16, &e->value);
    case 'u':
    case 'U':
        e->is_byte = false;
        e->len = *s == 'u' ? 5 : 9;
        return digits(s + 1, end, e->len - 1, 16, &e->value) && e->value <= 0x10FFFF &&
               (e->value < 0xD800 || e->value >= 0xE000);
    default:
        e->len = 3;
        return digits(s, end, 3, 8, &e->value) && e->value <= 255;
    }
}

/* Behind the backslash. */
static bool read_escape(const char *s, const char *end, char quote, struct escape *e)
{
    static const char names[] = "abfnrtv\\", values[] = "\a\b\f\n\r\t\v\\";
    if (s == end)
        return false;
    const char *name = *s != '\0' ? strchr(names, *s) : NULL;
    *e = (struct escape){.len = 1};
    if (name != NULL) {
        e->value = (unsigned char)values[name - names];
        return true;
    }
    e->value = (unsigned char)*s;
    return *s == quote || numeric_escape(s, end, e);
}

bool tpl_unquote(struct arena *arena, const char *s, size_t n, struct tpl_value *out)
{
    const char *p = s + 1, *end = s + n - 1;
    struct buf text;
    bool ok = true;
    buf_init(&text, TPL_STRING_MAX);
    while (ok && p < end) {
        struct escape e;
        if (*s == '`') {
            buf_add(&text, p, *p != '\r'); /* Go's raw texts have no carriage returns */
            p++;
        } else if (*p != '\\') {
            buf_add_char(&text, *p++);
        } else if ((ok = read_escape(p + 1, end, *s, &e))) {
            if (e.is_byte)
                buf_add_char(&text, (char)e.value);
            else
                tpl_add_rune(&text, e.value);
            p += 1 + e.len;
        }
    }
    char *copy = arena_alloc(arena, text.len + 1);
    memcpy(copy, text.data, text.len);
    *out = tpl_text(copy, text.len);
    buf_deinit(&text);
    return ok;
}

static bool char_constant(const char *s, size_t n, struct tpl_value *out, struct err *err)
{
    const char *p = s + 1, *end = s + n - 1;
    struct escape e;
    size_t len;
    if (p == end || *p == '\'' || (*p == '\\' && !read_escape(p + 1, end, '\'', &e)))
        return err_set(err, ERR_INVALID, "invalid syntax");
    if (*p == '\\') {
        len = 1 + e.len;
        *out = tpl_int(e.value);
    } else {
        *out = tpl_int(tpl_rune(p, (size_t)(end - p), &len));
    }
    if (p + len != end)
        return err_set(err, ERR_INVALID, "malformed character constant: %.*s", (int)size_min(n, 64),
                       s);
    return true;
}

/* Underscores may stand between digits, and behind a prefix. */
static bool drop_underscores(const char *s, size_t n, char *out)
{
    char last = 'x';
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] != '_') {
            *out++ = s[i];
        } else {
            any = true;
            if (hex_digit(last) < 0 && strchr("xXoObB", last) == NULL)
                return false;
            if (i + 1 == n || hex_digit(s[i + 1]) < 0)
                return false;
        }
        last = s[i];
    }
    *out = '\0';
    return !any || last != '_';
}

/* Digits in Go's bases: 0x, 0o, 0b, and a leading 0 for octal. */
static bool parse_int(const char *text, int64_t *out)
{
    char *end;
    const char *sign = text + (*text == '+' || *text == '-');
    int base = 10;
    if (sign[0] == '0' && sign[1] != '\0') {
        char c = (char)(sign[1] | 0x20);
        base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
        sign += c == 'x' || c == 'b' || c == 'o' ? 2 : 1;
    }
    if (hex_digit(*sign) < 0)
        return false;
    errno = 0;
    unsigned long long v = strtoull(sign, &end, base);
    if (*end != '\0' || errno != 0 || v > (unsigned long long)INT64_MAX + (*text == '-'))
        return false;
    *out = *text == '-' ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

static bool parse_float(const char *text, double *out)
{
    char *end;
    bool is_hex = strpbrk(text, "xX") != NULL;
    if (is_hex && strpbrk(text, "pP") == NULL)
        return false;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*out);
}

bool tpl_parse_number(const char *s, size_t n, struct tpl_value *out, struct err *err)
{
    char text[NUMBER_MAX];
    int64_t i;
    double f;
    if (*s == '\'')
        return char_constant(s, n, out, err);
    bool ok = n < sizeof(text) && drop_underscores(s, n, text);
    if (ok && parse_int(text, &i)) {
        *out = tpl_int(i);
        return true;
    }
    if (!ok || !parse_float(text, &f))
        return err_set(err, ERR_INVALID, "illegal number syntax: \"%.*s\"", (int)size_min(n, 64),
                       s);
    if (strpbrk(text, ".eEpP") == NULL)
        return err_set(err, ERR_INVALID, "integer overflow: \"%.*s\"", (int)size_min(n, 64), s);
    *out = tpl_float(f);
    return true;
}
