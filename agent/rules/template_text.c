/*
 * template_text.c: code points, quoting and numbers as Go writes them.
 *
 * The C library's answers about letters depend on a locale that a daemon does not set, so the few
 * scripts that turn up in labels (Latin, Greek, Cyrillic) are known here, others stay as they are.
 */
#include "template_private.h"

#include <float.h>
#include <math.h>

#include "pgvigil/base/str.h"

/* ---- UTF-8 ---- */

uint32_t tpl_rune(const char *s, size_t n, size_t *len)
{
    char copy[5] = {0}; /* the text need not end with NUL */
    memcpy(copy, s, size_min(n, 4));
    const unsigned char *u = (const unsigned char *)copy;
    *len = u[0] < 0x80 ? 1 : str_utf8_len(copy);
    switch (*len) {
    case 1:
        return u[0];
    case 2:
        return (u[0] & 0x1Fu) << 6 | (u[1] & 0x3Fu);
    case 3:
        return (u[0] & 0x0Fu) << 12 | (u[1] & 0x3Fu) << 6 | (u[2] & 0x3Fu);
    case 4:
        return (u[0] & 0x07u) << 18 | (u[1] & 0x3Fu) << 12 | (u[2] & 0x3Fu) << 6 | (u[3] & 0x3Fu);
    default:
        *len = 1;
        return TPL_RUNE_BAD;
    }
}

void tpl_add_rune(struct buf *out, uint32_t rune)
{
    char s[4];
    size_t n = 0;
    if (rune > 0x10FFFF || (rune >= 0xD800 && rune < 0xE000))
        rune = TPL_RUNE_BAD;
    if (rune < 0x80) {
        s[n++] = (char)rune;
    } else if (rune < 0x800) {
        s[n++] = (char)(0xC0 | rune >> 6);
    } else if (rune < 0x10000) {
        s[n++] = (char)(0xE0 | rune >> 12);
        s[n++] = (char)(0x80 | (rune >> 6 & 0x3F));
    } else {
        s[n++] = (char)(0xF0 | rune >> 18);
        s[n++] = (char)(0x80 | (rune >> 12 & 0x3F));
        s[n++] = (char)(0x80 | (rune >> 6 & 0x3F));
    }
    if (rune >= 0x80)
        s[n++] = (char)(0x80 | (rune & 0x3F));
    buf_add(out, s, n);
}

struct range {
    uint32_t from, to;
};

static bool in_ranges(uint32_t rune, const struct range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (rune >= ranges[i].from && rune <= ranges[i].to)
            return true;
    return false;
}

bool tpl_rune_is_letter(uint32_t rune)
{
    /* Signs, punctuation and pictures: whatever else is above ASCII counts as a letter. */
    static const struct range signs[] = {{0x80, 0xA9},       {0xAB, 0xB4},       {0xB6, 0xB9},
                                         {0xBB, 0xBF},       {0xD7, 0xD7},       {0xF7, 0xF7},
                                         {0x2000, 0x206F},   {0x20A0, 0x20FF},   {0x2190, 0x2BFF},
                                         {0x3000, 0x3004},   {0x3008, 0x3020},   {0xE000, 0xF8FF},
                                         {0xFE00, 0xFE6F},   {0xFEFF, 0xFF20},   {0xFFE0, 0xFFFF},
                                         {0x1F000, 0x1FAFF}, {0xE0000, 0x10FFFF}};
    if (rune < 0x80)
        return (rune >= 'a' && rune <= 'z') || (rune >= 'A' && rune <= 'Z') || rune == '_';
    return !in_ranges(rune, signs, ARRAY_LEN(signs));
}

bool tpl_rune_is_printable(uint32_t rune)
{
    static const struct range hidden[] = {
        {0, 0x1F},          {0x7F, 0xA0},         {0xAD, 0xAD},     {0x1680, 0x1680},
        {0x2000, 0x200F},   {0x2028, 0x202F},     {0x205F, 0x206F}, {0x3000, 0x3000},
        {0xD800, 0xF8FF},   {0xFEFF, 0xFEFF},     {0xFFF0, 0xFFFB}, {0xFFFE, 0xFFFF},
        {0xE0000, 0xE00FF}, {0xF0000, 0xFFFFFFFF}};
    return !in_ranges(rune, hidden, ARRAY_LEN(hidden));
}

/* Small letters and how far their capitals are; step 2: capital and small letter take turns. */
static const struct {
    uint32_t from, to; /* small letters */
    int32_t distance;  /* to the capital */
    uint32_t step;
} cases[] = {
    {'a', 'z', -32, 1},     {0xB5, 0xB5, 743, 1},    {0xE0, 0xF6, -32, 1},
    {0xF8, 0xFE, -32, 1},   {0xFF, 0xFF, 121, 1},    {0x101, 0x12F, -1, 2},
    {0x133, 0x137, -1, 2},  {0x13A, 0x148, -1, 2},   {0x14B, 0x177, -1, 2},
    {0x17A, 0x17E, -1, 2},  {0x17F, 0x17F, -300, 1}, {0x1CE, 0x1DC, -1, 2},
    {0x1DF, 0x1EF, -1, 2},  {0x1F9, 0x21F, -1, 2},   {0x223, 0x233, -1, 2},
    {0x3AC, 0x3AC, -38, 1}, {0x3AD, 0x3AF, -37, 1},  {0x3C3, 0x3CB, -32, 1},
    {0x3B1, 0x3C1, -32, 1}, {0x3C2, 0x3C2, -31, 1},  {0x3CC, 0x3CC, -64, 1},
    {0x3CD, 0x3CE, -63, 1}, {0x430, 0x44F, -32, 1},  {0x450, 0x45F, -80, 1},
    {0x461, 0x481, -1, 2},  {0x48B, 0x4BF, -1, 2},   {0x4C2, 0x4CE, -1, 2},
    {0x4D1, 0x52F, -1, 2},  {0x1E01, 0x1E95, -1, 2}, {0x1EA1, 0x1EFF, -1, 2},
};

uint32_t tpl_rune_upper(uint32_t rune)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t from = cases[i].from;
        if (rune >= from && rune <= cases[i].to && (rune - from) % cases[i].step == 0)
            return (uint32_t)((int32_t)rune + cases[i].distance);
    }
    return rune;
}

uint32_t tpl_rune_lower(uint32_t rune)
{
    static const uint32_t one_way[] = {0xB5, 0x17F, 0x3C2}; /* capitals of another letter */
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t low = (uint32_t)((int32_t)rune - cases[i].distance);
        if (low >= cases[i].from && low <= cases[i].to &&
            (low - cases[i].from) % cases[i].step == 0 && low != one_way[0] && low != one_way[1] &&
            low != one_way[2])
            return low;
    }
    return rune;
}

/* ---- quoting ---- */

static void quote_rune(struct buf *out, uint32_t rune)
{
    static const char escapes[] = "\aa\bb\ff\nn\rr\tt\vv";
    for (size_t i = 0; i + 1 < sizeof(escapes); i += 2) {
        if (rune == (unsigned char)escapes[i]) {
            buf_printf(out, "\\%c", escapes[i + 1]);
            return;
        }
    }
    if (rune < 0x80)
        buf_printf(out, "\\x%02x", (unsigned)rune);
    else if (rune < 0x10000)
        buf_printf(out, "\\u%04x", (unsigned)rune);
    else
        buf_printf(out, "\\U%08x", (unsigned)rune);
}

void tpl_quote(struct buf *out, const char *s, size_t n, bool ascii_only)
{
    size_t len;
    buf_add_char(out, '"');
    for (size_t i = 0; i < n && buf_ok(out); i += len) {
        uint32_t rune = tpl_rune(s + i, n - i, &len);
        if (rune == '"' || rune == '\\')
            buf_printf(out, "\\%c", (char)rune);
        else if (rune == TPL_RUNE_BAD && len == 1)
            buf_printf(out, "\\x%02x", (unsigned char)s[i]);
        else if (tpl_rune_is_printable(rune) && (rune < 0x80 || !ascii_only))
            buf_add(out, s + i, len);
        else
            quote_rune(out, rune);
    }
    buf_add_char(out, '"');
}

void tpl_add_query_escaped(struct buf *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == ' ')
            buf_add_char(out, '+');
        else if (c < 0x80 && (tpl_rune_is_letter(c) || (c >= '0' && c <= '9') ||
                              (c != '\0' && strchr("-.~", c) != NULL)))
            buf_add_char(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

/* ---- numbers ---- */

/*
 * 15 digits always come back from a double unchanged, so what reads back from 15 is the shortest
 * once its zeros are cut; else 16 do, or 17. The smallest doubles have fewer than 15.
 */
static int shortest(double f, char *out, size_t n)
{
    double back = 0;
    int digits = fabs(f) < DBL_MIN ? 1 : 15;
    do {
        snprintf(out, n, "%.*e", digits - 1, f);
    } while ((!str_parse_double(out, &back) || back != f) && ++digits <= 17);
    char *e = strchr(out, 'e'), *last = e - 1;
    while (*last == '0')
        last--;
    last += *last != '.';
    memmove(last, e, strlen(e) + 1);
    return (int)(last - out) - (signbit(f) ? 1 : 0);
}

const char *tpl_float_text(double f, char out[TPL_FLOAT_MAX])
{
    if (isnan(f) || isinf(f)) {
        (void)str_copy(out, TPL_FLOAT_MAX, isnan(f) ? "NaN" : f > 0 ? "+Inf" : "-Inf");
        return out;
    }
    if (fabs(f) < 1e6 && f == (double)(int)f && !(f == 0 && signbit(f))) {
        snprintf(out, TPL_FLOAT_MAX, "%d", (int)f); /* most values: no search for digits */
        return out;
    }
    int width = shortest(f, out, TPL_FLOAT_MAX);
    int exponent = (int)strtol(strchr(out, 'e') + 1, NULL, 10);
    int decimals = (width > 1 ? width - 2 : 0) - exponent; /* "1.25" has two behind the point */
    if (exponent >= -4 && exponent < 6)
        snprintf(out, TPL_FLOAT_MAX, "%.*f", decimals > 0 ? decimals : 0, f);
    return out;
}
