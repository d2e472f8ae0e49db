/*
 * buf.c: one growth function that knows the maximum; everything else appends through it.
 *
 * Invariants: data[len] is NUL, len < cap or both are 0, and an append is whole or not there at
 * all, also the escaping ones (they roll back), so that a cut text can never be taken for a
 * finished one.
 */
#include "pgvigil/base/buf.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define BUF_FIRST_BYTES 64
/* Digits of a double that always read back to the same one. */
#define DIGITS_MAX    17
#define DIGITS_ALWAYS 15

/* What a buffer without memory shows (cap 0). Never written. */
static char empty_text[1];

void buf_init(struct buf *b, size_t max)
{
    /* A quarter of the address space is no limit in practice, and sums below cannot wrap. */
    *b = (struct buf){.data = empty_text, .max = size_min(max, SIZE_MAX / 4)};
}

void buf_deinit(struct buf *b)
{
    if (b->cap > 0)
        mem_free(b->data);
    *b = (struct buf){0};
}

static void buf_roll_back(struct buf *b, size_t len)
{
    b->len = len;
    if (b->cap > 0)
        b->data[len] = '\0';
}

void buf_clear(struct buf *b)
{
    buf_roll_back(b, 0);
    b->overflow = false;
}

/* Makes room for n more bytes and the NUL; false, with overflow set, when that passes the max. */
static bool buf_reserve(struct buf *b, size_t n)
{
    size_t cap;

    if (b->overflow || n > b->max - b->len) {
        b->overflow = true;
        return false;
    }
    if (b->len + n < b->cap)
        return true;
    cap = b->cap > 0 ? b->cap : BUF_FIRST_BYTES;
    while (cap <= b->len + n)
        cap *= 2;
    cap = size_min(cap, b->max + 1);
    b->data = mem_realloc_array(b->cap > 0 ? b->data : NULL, cap, 1);
    b->cap = cap;
    return true;
}

void buf_add(struct buf *b, const void *data, size_t n)
{
    if (n == 0 || !buf_reserve(b, n))
        return;
    memcpy(b->data + b->len, data, n);
    b->len += n;
    b->data[b->len] = '\0';
}

void buf_add_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_add_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    int n;

    if (b->overflow)
        return;
    va_start(ap, fmt);
    n = vsnprintf(b->data + b->len, b->cap - b->len, fmt, ap);
    va_end(ap);
    if (n < 0)
        n = 0;
    if ((size_t)n >= b->cap - b->len) {
        buf_roll_back(b, b->len);
        if (!buf_reserve(b, (size_t)n))
            return;
        va_start(ap, fmt);
        vsnprintf(b->data + b->len, b->cap - b->len, fmt, ap);
        va_end(ap);
    }
    b->len += (size_t)n;
}

/* What the byte becomes in a JSON string, or NULL if it stays. */
static const char *json_escape(unsigned char c, char hex[8])
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\b':
        return "\\b";
    case '\f':
        return "\\f";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        if (c >= 0x20)
            return NULL;
        snprintf(hex, 8, "\\u%04x", c);
        return hex;
    }
}

static const char *html_escape(unsigned char c, char hex[8])
{
    (void)hex;
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

/* Runs of bytes that need nothing are appended in one piece: most texts are one run. */
static void buf_add_escaped(struct buf *b, const char *s,
                            const char *(*escape)(unsigned char c, char hex[8]))
{
    const char *run = s;
    char hex[8];

    while (*s) {
        size_t n = str_utf8_len(s);
        const char *instead = n == 0 ? "\xEF\xBF\xBD" : escape((unsigned char)*s, hex);

        if (instead) {
            buf_add(b, run, (size_t)(s - run));
            buf_add_str(b, instead);
            run = s + 1;
        }
        s += n > 0 ? n : 1;
    }
    buf_add(b, run, (size_t)(s - run));
}

void buf_add_json(struct buf *b, const char *s)
{
    size_t before = b->len;

    buf_add_char(b, '"');
    buf_add_escaped(b, s, json_escape);
    buf_add_char(b, '"');
    if (b->overflow)
        buf_roll_back(b, before);
}

void buf_add_html(struct buf *b, const char *s)
{
    size_t before = b->len;

    buf_add_escaped(b, s, html_escape);
    if (b->overflow)
        buf_roll_back(b, before);
}

/*
 * Shortest digits of a finite v > 0 without the point, and the exponent of the first one. Decimals
 * of up to 15 digits survive a double, so 15 finds every shorter one once zeros at the end are
 * gone; doubles below DBL_MIN carry fewer bits, there each length is tried.
 */
static int double_digits(double v, char digits[DIGITS_MAX + 1])
{
    char text[40];
    int n, exponent;
    size_t len;

    for (n = v < DBL_MIN ? 1 : DIGITS_ALWAYS; n <= DIGITS_MAX; n++) {
        snprintf(text, sizeof(text), "%.*e", n - 1, v);
        if (n == DIGITS_MAX || strtod(text, NULL) == v)
            break;
    }
    exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    digits[0] = text[0];
    len = 1;
    for (const char *p = text + 1; *p != 'e'; p++)
        if (*p >= '0' && *p <= '9')
            digits[len++] = *p;
    while (len > 1 && digits[len - 1] == '0')
        len--;
    digits[len] = '\0';
    return exponent;
}

/* Room for the longest plain form: 21 digits, or 0.000001 and 17 more. */
#define DOUBLE_TEXT_MAX 48

static void double_plain(char *out, const char *digits, int exponent)
{
    int len = (int)strlen(digits);

    if (exponent < 0) {
        snprintf(out, DOUBLE_TEXT_MAX, "0.%.*s%s", -exponent - 1, "000000000", digits);
    } else if (exponent >= len - 1) {
        snprintf(out, DOUBLE_TEXT_MAX, "%s%.*s", digits, exponent - len + 1,
                 "000000000000000000000");
    } else {
        snprintf(out, DOUBLE_TEXT_MAX, "%.*s.%s", exponent + 1, digits, digits + exponent + 1);
    }
}

#define DECIMALS_MAX 9

/*
 * Most samples that are no whole numbers are decimals of a few digits. With less than 1e15 and a
 * power of ten that is exact, the quotient is the double that the decimal is read as; and the
 * first power that gives it back gives the fewest digits. False: not such a number.
 */
static bool add_decimal(struct buf *b, double v)
{
    static const double tens[DECIMALS_MAX + 1] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    char text[32], *p = text + sizeof(text);
    double size = fabs(v), scaled = 0;
    int decimals = 0;
    uint64_t rest;

    do {
        if (++decimals > DECIMALS_MAX || size * tens[decimals] >= 1e15)
            return false;
        scaled = floor(size * tens[decimals] + 0.5);
    } while (scaled / tens[decimals] != size);
    rest = (uint64_t)scaled;
    for (; rest > 0 || decimals >= 0; rest /= 10) {
        *--p = (char)('0' + rest % 10);
        if (--decimals == 0)
            *--p = '.';
    }
    if (signbit(v))
        *--p = '-';
    buf_add(b, p, (size_t)(text + sizeof(text) - p));
    return true;
}

void buf_add_double(struct buf *b, double v)
{
    char digits[DIGITS_MAX + 1], text[DOUBLE_TEXT_MAX];
    const char *sign = signbit(v) ? "-" : "";
    int exponent;

    if (isnan(v)) {
        buf_add_str(b, "NaN");
    } else if (isinf(v)) {
        buf_add_str(b, v > 0 ? "+Inf" : "-Inf");
    } else if (fabs(v) < 1e15 && v == (double)(int64_t)v) {
        /* Most samples are whole numbers: no search for digits. */
        buf_printf(b, "%s%lld", sign, (long long)fabs(v));
    } else if (fabs(v) < 1e-6 || !add_decimal(b, v)) {
        v = fabs(v);
        exponent = double_digits(v, digits);
        if (v < 1e-6 || v >= 1e21) {
            buf_printf(b, "%s%c%s%se%c%02d", sign, digits[0], digits[1] ? "." : "", digits + 1,
                       exponent < 0 ? '-' : '+', abs(exponent));
            return;
        }
        double_plain(text, digits, exponent);
        buf_printf(b, "%s%s", sign, text);
    }
}

char *buf_take(struct buf *b, size_t *len)
{
    char *data = b->cap > 0 ? b->data : mem_strdup("");

    if (len)
        *len = b->len;
    buf_init(b, b->max);
    return data;
}
