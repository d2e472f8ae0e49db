/*
 * str.c: parsers of small texts that take the whole text or refuse it.
 *
 * The C library's parsers skip blanks, stop at the first odd byte and saturate; a configuration
 * must not be guessed. Invariant: every parser sets its result only when it returns true, and
 * nothing here asks the locale or keeps state.
 */
#include "pgvigil/base/str.h"

#include <errno.h>
#include <math.h>
#include <sys/random.h>

#define DURATION_MAX_MS INT64_C(1000000000000000)
#define NEAREST_MAX     64

bool str_eq(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_copy(char *out, size_t n, const char *s)
{
    size_t len = strlen(s);
    size_t kept;

    if (n == 0)
        return false;
    kept = size_min(len, n - 1);
    memcpy(out, s, kept);
    out[kept] = '\0';
    return kept == len;
}

/* Only the last star is ever tried again, so there is no exponential case. */
bool str_glob(const char *pattern, const char *s)
{
    const char *star = NULL, *retry = NULL;

    while (*s) {
        if (*pattern == '*') {
            star = pattern++;
            retry = s;
        } else if (*pattern == '?' || *pattern == *s) {
            pattern++;
            s++;
        } else if (star) {
            pattern = star + 1;
            s = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool str_parse_i64(const char *s, int64_t min, int64_t max, int64_t *out)
{
    const char *digits = *s == '-' || *s == '+' ? s + 1 : s;
    long long v;
    char *end;

    if (!is_digit(*digits))
        return false;
    errno = 0;
    v = strtoll(s, &end, 10);
    if (errno != 0 || *end != '\0' || v < min || v > max)
        return false;
    *out = v;
    return true;
}

bool str_parse_double(const char *s, double *out)
{
    double v;
    char *end;

    /* strtod skips blanks before the number and takes "nan(...)". */
    if (*s == '\0' || strchr(" \t\n\v\f\r", *s) || strchr(s, '('))
        return false;
    errno = 0;
    v = strtod(s, &end);
    if (end == s || *end != '\0' || (errno == ERANGE && fabs(v) > 1))
        return false;
    *out = v;
    return true;
}

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit duration_units[] = {
    {"y", INT64_C(31536000000)}, {"mo", INT64_C(2592000000)}, {"w", INT64_C(604800000)},
    {"d", INT64_C(86400000)},    {"h", INT64_C(3600000)},     {"m", INT64_C(60000)},
    {"s", INT64_C(1000)},        {"ms", INT64_C(1)},
};
#define UNIT_MONTH 1

/* Digits at *s, which moves behind them; false when there are none or they pass max. */
static bool take_number(const char **s, int64_t max, int64_t *out)
{
    const char *p = *s;
    int64_t v = 0;

    if (!is_digit(*p))
        return false;
    for (; is_digit(*p); p++) {
        v = v * 10 + (*p - '0');
        if (v > max)
            return false;
    }
    *s = p;
    *out = v;
    return true;
}

/* Index of the unit that is spelt by the letters at *s, which moves behind them; or -1. */
static int take_duration_unit(const char **s)
{
    size_t n = strspn(*s, "abcdefghijklmnopqrstuvwxyz");

    for (size_t i = 0; i < ARRAY_LEN(duration_units); i++) {
        if (strlen(duration_units[i].name) == n && memcmp(*s, duration_units[i].name, n) == 0) {
            *s += n;
            return (int)i;
        }
    }
    return -1;
}

static bool parse_duration(const char *s, bool months, int64_t *ms)
{
    int64_t total = 0;
    int last = -1;

    if (str_eq(s, "0")) {
        *ms = 0;
        return true;
    }
    if (*s == '\0')
        return false;
    while (*s) {
        int64_t n, part;
        int unit;

        if (!take_number(&s, DURATION_MAX_MS, &n))
            return false;
        unit = take_duration_unit(&s);
        if (unit <= last || (unit == UNIT_MONTH && !months))
            return false;
        last = unit;
        if (__builtin_mul_overflow(n, duration_units[unit].factor, &part) ||
            __builtin_add_overflow(total, part, &total) || total > DURATION_MAX_MS)
            return false;
    }
    *ms = total;
    return true;
}

bool str_parse_duration(const char *s, int64_t *ms)
{
    return parse_duration(s, false, ms);
}

bool str_parse_period(const char *s, int64_t *ms)
{
    return parse_duration(s, true, ms);
}

static const struct unit size_units[] = {
    {"B", 1},
    {"kB", INT64_C(1000)},
    {"MB", INT64_C(1000000)},
    {"GB", INT64_C(1000000000)},
    {"TB", INT64_C(1000000000000)},
    {"KiB", INT64_C(1) << 10},
    {"MiB", INT64_C(1) << 20},
    {"GiB", INT64_C(1) << 30},
    {"TiB", INT64_C(1) << 40},
};

bool str_parse_size(const char *s, int64_t *bytes)
{
    int64_t n, size;

    if (!take_number(&s, INT64_MAX / 16, &n))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(size_units); i++) {
        if (!str_eq(s, size_units[i].name))
            continue;
        if (__builtin_mul_overflow(n, size_units[i].factor, &size))
            return false;
        *bytes = size;
        return true;
    }
    return false;
}

bool str_parse_percent(const char *s, double *fraction)
{
    size_t n = strlen(s);
    char number[32];
    double v;

    if (n < 2 || s[n - 1] != '%' || n > sizeof(number) || !is_digit(s[0]))
        return false;
    memcpy(number, s, n - 1);
    number[n - 1] = '\0';
    /* Digits and a point only: no hexadecimal, no exponent, no infinity. */
    if (strspn(number, "0123456789.") != n - 1 || !str_parse_double(number, &v) || v > 100)
        return false;
    *fraction = v / 100;
    return true;
}

const char *str_format_duration(int64_t ms, char *out, size_t n)
{
    char text[64] = "";
    size_t len = 0;
    /* Negated as unsigned: the most negative number has no positive twin. */
    uint64_t left = ms < 0 ? -(uint64_t)ms : (uint64_t)ms;

    if (ms < 0)
        len += (size_t)snprintf(text, sizeof(text), "-");
    for (size_t i = 0; i < ARRAY_LEN(duration_units); i++) {
        uint64_t factor = (uint64_t)duration_units[i].factor;
        /* Years and weeks only when they say it all: "8d" reads better than "1w1d". */
        bool whole_only = factor > UINT64_C(86400000);

        if (i == UNIT_MONTH || left < factor || (whole_only && left % factor != 0))
            continue;
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%llu%s",
                                (unsigned long long)(left / factor), duration_units[i].name);
        left %= factor;
    }
    str_copy(out, n, ms == 0 ? "0s" : text);
    return out;
}

/* Levenshtein distance with one row; both lengths are at most NEAREST_MAX. */
static size_t edit_distance(const char *a, size_t na, const char *b, size_t nb)
{
    size_t row[NEAREST_MAX + 1];

    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            row[j] = size_min(replaced, size_min(row[j], row[j - 1]) + 1);
        }
    }
    return row[nb];
}

const char *str_nearest(const char *s, const char *const *candidates, size_t n)
{
    size_t len = strnlen(s, NEAREST_MAX + 1);
    size_t limit = len / 3 > 2 ? len / 3 : 2;
    const char *best = NULL;

    if (len > NEAREST_MAX)
        return NULL;
    /* A word of two letters is two steps from every other: not a likeness. */
    if (limit >= len)
        limit = len > 0 ? len - 1 : 0;
    for (size_t i = 0; i < n; i++) {
        size_t other = strnlen(candidates[i], NEAREST_MAX + 1);
        size_t d;

        if (other > NEAREST_MAX)
            continue;
        d = edit_distance(s, len, candidates[i], other);
        if (d < limit || (d == limit && !best)) {
            best = candidates[i];
            limit = d;
        }
    }
    return best;
}

uint64_t str_hash(const void *data, size_t n, uint64_t seed)
{
    const unsigned char *p = data;
    uint64_t hash = seed;

    for (size_t i = 0; i < n; i++) {
        hash ^= p[i];
        hash *= UINT64_C(0x100000001b3);
    }
    return hash;
}

void str_random_hex(char out[33])
{
    unsigned char bytes[16];
    size_t got = 0;

    while (got < sizeof(bytes)) {
        ssize_t n = getrandom(bytes + got, sizeof(bytes) - got, 0);

        if (n > 0)
            got += (size_t)n;
        else if (n == 0 || errno != EINTR)
            abort(); /* every kernel we run on has it; a made-up id would not be unique */
    }
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

size_t str_utf8_len(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    unsigned char low = 0x80, high = 0xBF;
    size_t n;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return 0;
    n = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    /* The second byte's range keeps out overlong forms, surrogates and what is over U+10FFFF. */
    if (p[0] == 0xE0)
        low = 0xA0;
    else if (p[0] == 0xED)
        high = 0x9F;
    else if (p[0] == 0xF0)
        low = 0x90;
    else if (p[0] == 0xF4)
        high = 0x8F;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (p[i] < 0x80 || p[i] > 0xBF)
            return 0;
    return n;
}
