/*
 * template_verbs.c: the verbs of printf for simple values, with Go's flags, widths and precisions.
 *
 * Everything ends in tpl_pad, which counts characters, not bytes. A zero flag pads numbers behind
 * their sign, and texts in front, as Go does.
 */
#include "template_private.h"

#include <math.h>

#include "pgvigil/base/str.h"

#define DIGITS_MAX 80   /* of an integer: 64 binary ones, a sign, a prefix */
#define FLOAT_MAX  2048 /* of a float: 309 digits, a point and PRECISION_MAX */

#define PRECISION_MAX 1000 /* more digits than a double has; beyond, Go prints zeros */

static size_t rune_count(const char *s, size_t n)
{
    size_t count = 0, len;
    for (size_t i = 0; i < n; i += len, count++)
        (void)tpl_rune(s + i, n - i, &len);
    return count;
}

static void repeat(struct buf *out, char c, size_t n)
{
    char block[64];
    memset(block, c, sizeof(block));
    for (; n > 0 && buf_ok(out); n -= size_min(n, sizeof(block)))
        buf_add(out, block, size_min(n, sizeof(block)));
}

void tpl_pad(struct tpl_printer *p, const char *s, size_t n)
{
    size_t width = p->flags.has_width ? (size_t)p->flags.width : 0;
    size_t have = width > 0 ? rune_count(s, n) : 0;
    size_t missing = width > have ? width - have : 0;
    if (!p->flags.minus)
        repeat(p->out, p->flags.zero ? '0' : ' ', missing);
    buf_add(p->out, s, n);
    if (p->flags.minus)
        repeat(p->out, ' ', missing);
}

void tpl_format_bool(struct tpl_printer *p, bool b)
{
    tpl_pad(p, b ? "true" : "false", b ? 4 : 5);
}

/* ---- integers ---- */

static void format_rune(struct tpl_printer *p, int64_t i, uint32_t verb)
{
    struct buf text, quoted;
    buf_init(&text, 64);
    buf_init(&quoted, 64);
    uint32_t rune = i < 0 || i > 0x10FFFF ? TPL_RUNE_BAD : (uint32_t)i;
    tpl_add_rune(&text, rune);
    if (verb == 'c') {
        tpl_pad(p, text.data, text.len);
    } else {
        bool is_quote = rune == '\'';
        tpl_quote(&quoted, is_quote ? "\\" : text.data, text.len, p->flags.plus);
        buf_clear(&text);
        if (is_quote)
            buf_add_str(&text, "'\\''");
        else if (rune == '"')
            buf_add_str(&text, "'\"'");
        else
            buf_printf(&text, "'%.*s'", (int)quoted.len - 2, quoted.data + 1);
        tpl_pad(p, text.data, text.len);
    }
    buf_deinit(&quoted);
    buf_deinit(&text);
}

static void format_unicode(struct tpl_printer *p, int64_t i)
{
    char text[DIGITS_MAX];
    struct buf shown;
    int digits = p->flags.has_precision ? (int)i64_max(4, i64_min(p->flags.precision, 16)) : 4;
    snprintf(text, sizeof(text), "U+%0*llX", digits, (unsigned long long)i);
    buf_init(&shown, 128);
    buf_add_str(&shown, text);
    if (p->flags.sharp && i >= 0 && i <= 0x10FFFF && tpl_rune_is_printable((uint32_t)i)) {
        buf_add_str(&shown, " '");
        tpl_add_rune(&shown, (uint32_t)i);
        buf_add_char(&shown, '\'');
    }
    p->flags.zero = false;
    tpl_pad(p, shown.data, shown.len);
    buf_deinit(&shown);
}

/* Digits of v from the end of out; where they begin. */
static char *digits_of(uint64_t v, unsigned base, bool upper, char *end)
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    *--end = '\0';
    do {
        *--end = digits[v % base];
    } while ((v /= base) > 0);
    return end;
}

static const char *int_prefix(const struct tpl_flags *flags, uint32_t verb, const char *digits)
{
    if (verb == 'O')
        return flags->sharp && digits[0] != '0' ? "0o0" : "0o";
    if (!flags->sharp)
        return "";
    switch (verb) {
    case 'b':
        return "0b";
    case 'o':
        return digits[0] == '0' ? "" : "0";
    case 'x':
        return "0x";
    case 'X':
        return "0X";
    default:
        return "";
    }
}

static unsigned base_of(uint32_t verb)
{
    switch (verb) {
    case 'b':
        return 2;
    case 'o':
    case 'O':
        return 8;
    case 'x':
    case 'X':
        return 16;
    default:
        return 10;
    }
}

static const char *int_sign(const struct tpl_flags *flags, int64_t i)
{
    if (i < 0)
        return "-";
    return flags->plus ? "+" : flags->space ? " " : "";
}

static void format_digits(struct tpl_printer *p, int64_t i, uint32_t verb)
{
    char room[DIGITS_MAX];
    struct tpl_flags *flags = &p->flags;
    uint64_t v = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    const char *digits = digits_of(v, base_of(verb), verb == 'X', room + sizeof(room));
    const char *sign = int_sign(flags, i);
    size_t n = strlen(digits), least = n, width = (size_t)flags->width;
    struct buf text;
    if (flags->has_precision) {
        least = (size_t)flags->precision;
        n = least == 0 && i == 0 ? 0 : n;
    } else if (flags->zero && flags->has_width) {
        least = width > strlen(sign) ? width - strlen(sign) : 0;
    }
    buf_init(&text, TPL_STRING_MAX + DIGITS_MAX);
    buf_add_str(&text, sign);
    buf_add_str(&text, int_prefix(flags, verb, digits));
    repeat(&text, '0', least > n ? least - n : 0);
    buf_add(&text, digits, n);
    flags->zero = false;
    tpl_pad(p, text.data, text.len);
    p->out->overflow |= text.overflow;
    buf_deinit(&text);
}

void tpl_format_int(struct tpl_printer *p, int64_t i, uint32_t verb)
{
    struct tpl_flags flags = p->flags; /* of a map or list, all items have the same */
    if (verb == 'c' || verb == 'q')
        format_rune(p, i, verb);
    else if (verb == 'U')
        format_unicode(p, i);
    else
        format_digits(p, i, verb);
    p->flags = flags;
}

/* ---- floats ---- */

/* An exponent of two has two digits at least, as one of ten. */
static void hex_float(const struct tpl_flags *flags, double f, bool upper, char *out)
{
    int precision = (int)i64_min(flags->precision, PRECISION_MAX);
    if (flags->has_precision)
        snprintf(out, FLOAT_MAX, upper ? "%.*A" : "%.*a", precision, f);
    else
        snprintf(out, FLOAT_MAX, upper ? "%A" : "%a", f);
    char *exponent = strchr(out, upper ? 'P' : 'p');
    if (exponent != NULL && strlen(exponent) == strlen("p+0")) {
        exponent[3] = exponent[2];
        exponent[2] = '0';
        exponent[4] = '\0';
    }
}

/* The mantissa as an integer, and the power of two that it is multiplied by. */
static void binary_float(double f, char *out)
{
    int exponent;
    double mantissa = frexp(f, &exponent);
    exponent = f == 0 ? -1074 : exponent < -1021 ? -1074 : exponent - 53;
    snprintf(out, FLOAT_MAX, "%.0fp%+d", f == 0 ? mantissa : ldexp(f, -exponent), exponent);
}

static size_t digit_count(const char *number)
{
    size_t n = 0;
    for (const char *c = number; *c != '\0' && *c != 'e'; c++)
        n += *c != '.' && (n > 0 || *c != '0');
    return n;
}

/* Shortest, or with # at least six digits. */
static void general_float(const struct tpl_flags *flags, double f, char *out)
{
    int precision = (int)i64_min(flags->precision, PRECISION_MAX);
    if (flags->has_precision) {
        snprintf(out, FLOAT_MAX, flags->sharp ? "%#.*g" : "%.*g", precision, f);
        return;
    }
    (void)tpl_float_text(f, out);
    if (flags->sharp && digit_count(out) <= 6)
        snprintf(out, FLOAT_MAX, "%#.6g", f);
}

/* Without a sign, which is not padded like digits. */
static void float_digits(const struct tpl_flags *flags, double f, uint32_t verb, char *out)
{
    int precision = flags->has_precision ? (int)i64_min(flags->precision, PRECISION_MAX) : 6;
    f = fabs(f);
    switch (verb) {
    case 'e':
    case 'E':
        snprintf(out, FLOAT_MAX, flags->sharp ? "%#.*e" : "%.*e", precision, f);
        break;
    case 'f':
    case 'F':
        snprintf(out, FLOAT_MAX, flags->sharp ? "%#.*f" : "%.*f", precision, f);
        break;
    case 'x':
    case 'X':
        hex_float(flags, f, verb == 'X', out);
        break;
    case 'b':
        binary_float(f, out);
        break;
    default:
        general_float(flags, f, out);
        break;
    }
    char *e = verb == 'E' || verb == 'G' ? strchr(out, 'e') : NULL;
    if (e != NULL)
        *e = 'E';
}

void tpl_format_float(struct tpl_printer *p, double f, uint32_t verb)
{
    char text[FLOAT_MAX + 1];
    struct tpl_flags flags = p->flags;
    bool plus = flags.plus, zero = flags.zero && flags.has_width;
    text[0] = signbit(f) && !isnan(f) ? '-' : plus ? '+' : ' ';
    if (isnan(f) || isinf(f)) {
        if (isinf(f) && f > 0 && !flags.space)
            text[0] = '+';
        (void)str_copy(text + 1, FLOAT_MAX, isnan(f) ? "NaN" : "Inf");
        zero = false;
    } else {
        float_digits(&flags, f, verb, text + 1);
    }
    bool has_sign = text[0] != ' ' || flags.space;
    p->flags.zero = zero;
    if (zero && has_sign && (size_t)flags.width > strlen(text)) {
        buf_add_char(p->out, text[0]);
        p->flags.width--;
        tpl_pad(p, text + 1, strlen(text + 1));
    } else {
        tpl_pad(p, text + !has_sign, strlen(text + !has_sign));
    }
    p->flags = flags;
}

/* ---- texts ---- */

static size_t cut(const struct tpl_flags *flags, const char *s, size_t n)
{
    size_t end = 0, len;
    if (!flags->has_precision)
        return n;
    for (int i = 0; i < flags->precision && end < n; i++, end += len)
        (void)tpl_rune(s + end, n - end, &len);
    return end;
}

static void format_hex(struct tpl_printer *p, const char *s, size_t n, bool upper)
{
    struct buf text;
    const char *prefix = !p->flags.sharp ? "" : upper ? "0X" : "0x";
    if (p->flags.has_precision)
        n = size_min(n, (size_t)p->flags.precision);
    buf_init(&text, 4 * TPL_STRING_MAX);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && p->flags.space)
            buf_add_char(&text, ' ');
        buf_add_str(&text, i == 0 || p->flags.space ? prefix : "");
        buf_printf(&text, upper ? "%02X" : "%02x", (unsigned char)s[i]);
    }
    tpl_pad(p, text.data, text.len);
    buf_deinit(&text);
}

/* With # a text that has neither back quotes nor control characters stands in back quotes. */
static bool quote_raw(struct buf *out, const char *s, size_t n)
{
    size_t len;
    for (size_t i = 0; i < n; i += len) {
        uint32_t rune = tpl_rune(s + i, n - i, &len);
        if ((rune == TPL_RUNE_BAD && len == 1) || rune == 0xFEFF || rune == '`' || rune == 0x7F ||
            (rune < ' ' && rune != '\t'))
            return false;
    }
    buf_add_char(out, '`');
    buf_add(out, s, n);
    buf_add_char(out, '`');
    return true;
}

void tpl_format_string(struct tpl_printer *p, const char *s, size_t n, uint32_t verb)
{
    struct buf quoted;
    if (verb == 'x' || verb == 'X') {
        format_hex(p, s, n, verb == 'X');
        return;
    }
    n = cut(&p->flags, s, n);
    if (verb != 'q' && !p->flags.sharp_v) {
        tpl_pad(p, s, n);
        return;
    }
    buf_init(&quoted, 4 * TPL_STRING_MAX + 2);
    if (!p->flags.sharp || !quote_raw(&quoted, s, n))
        tpl_quote(&quoted, s, n, p->flags.plus);
    tpl_pad(p, quoted.data, quoted.len);
    buf_deinit(&quoted);
}
