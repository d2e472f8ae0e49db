/*
 * notes.c: annotations: what Prometheus tells about a query that has a result but looks wrong.
 *
 * The texts are Prometheus' own with the place in the expression behind them. They are formatted
 * only when there is something to tell, at most PROMQL_NOTES_MAX of them, into the arena of the
 * result. Invariant: no two notes of a result have the same text; the place told is the last one.
 */
#include "promql_private.h"

#include <stdarg.h>

#include "pgvigil/base/str.h"

#define NOTE_TEXT_MAX 1024

/* The text of a note ends with its place: is this the same without it? */
static bool is_same(const struct promql_note *note, bool is_warning, const char *text)
{
    size_t n = strlen(text);

    return note->is_warning == is_warning && strncmp(note->text, text, n) == 0 &&
           str_starts(note->text + n, " (") && !strchr(note->text + n + 2, ' ');
}

static struct promql_note *find_note(struct eval *ev, bool is_warning, const char *text)
{
    for (size_t i = 0; i < ev->note_count; i++)
        if (is_same(&ev->notes[i], is_warning, text))
            return &ev->notes[i];
    if (ev->note_count == PROMQL_NOTES_MAX)
        return NULL;
    if (!ev->notes)
        ev->notes = arena_alloc_array(ev->arena, PROMQL_NOTES_MAX, sizeof(*ev->notes));
    return &ev->notes[ev->note_count++];
}

void eval_note(struct eval *ev, bool is_warning, size_t pos, const char *fmt, ...)
{
    char text[NOTE_TEXT_MAX];
    struct promql_note *note;
    int n = snprintf(text, sizeof(text), "PromQL %s: ", is_warning ? "warning" : "info");
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
    va_end(ap);
    note = find_note(ev, is_warning, text);
    if (!note)
        return;
    note->is_warning = is_warning;
    text_place(ev->text, pos, &note->line, &note->col);
    note->text = arena_printf(ev->arena, "%s (%d:%d)", text, note->line, note->col);
}

void note_quantile(struct eval *ev, size_t pos, double q)
{
    char text[GO_FLOAT_MAX];

    if (!(q >= 0 && q <= 1))
        eval_note(ev, true, pos, "quantile value should be between 0 and 1, got %s",
                  go_float(q, text));
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && memcmp(s + n - m, end, m) == 0;
}

void note_counter(struct eval *ev, size_t pos, const char *name)
{
    char quoted[4 * LABEL_NAME_MAX];

    if (*name == '\0' || ends_with(name, "_total") || ends_with(name, "_sum") ||
        ends_with(name, "_count") || ends_with(name, "_bucket"))
        return;
    eval_note(ev, false, pos,
              "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: %s",
              go_quote(name, quoted, sizeof(quoted)));
}

/* ---- Go's formats ---- */

const char *go_float(double v, char out[GO_FLOAT_MAX])
{
    char text[GO_FLOAT_MAX];
    int digits = 0, exponent;
    double back = 0;

    if (isnan(v) || isinf(v)) {
        snprintf(out, GO_FLOAT_MAX, "%s", isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
        return out;
    }
    do {
        snprintf(text, sizeof(text), "%.*e", digits, v);
    } while ((!str_parse_double(text, &back) || back != v) && ++digits < 17);
    exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    if (exponent < -4 || exponent >= 6)
        snprintf(out, GO_FLOAT_MAX, "%s", text);
    else
        snprintf(out, GO_FLOAT_MAX, "%.*f", digits > exponent ? digits - exponent : 0, v);
    return out;
}

/*
 * Characters that Go does not take for printable: controls, blanks other than ' ', what has no
 * shape, private use. The unassigned ones are left out: they are another set in each Go.
 */
static bool is_printable(uint32_t c)
{
    static const struct {
        uint32_t from, to;
    } hidden[] = {
        {0x00, 0x1f},       {0x7f, 0xa0},        {0xad, 0xad},     {0x600, 0x605},
        {0x61c, 0x61c},     {0x6dd, 0x6dd},      {0x1680, 0x1680}, {0x180e, 0x180e},
        {0x2000, 0x200f},   {0x2028, 0x202f},    {0x205f, 0x206f}, {0x3000, 0x3000},
        {0xe000, 0xf8ff},   {0xfeff, 0xfeff},    {0xfff0, 0xfffb}, {0xfffe, 0xffff},
        {0xe0000, 0xe007f}, {0xf0000, 0x10ffff},
    };

    for (size_t i = 0; i < ARRAY_LEN(hidden); i++)
        if (c >= hidden[i].from && c <= hidden[i].to)
            return false;
    return true;
}

/* The code point of a valid sequence of len bytes. */
static uint32_t utf8_code(const char *s, size_t len)
{
    uint32_t c = (unsigned char)s[0];

    if (len > 1)
        c &= 0xffu >> (len + 1);
    for (size_t i = 1; i < len; i++)
        c = c << 6 | ((unsigned char)s[i] & 0x3fu);
    return c;
}

/* One character of a quoted text; returns its bytes. */
static size_t quote_char(const char *s, char *out, size_t n)
{
    static const char letters[] = "abfnrtv\\\"", values[] = "\a\b\f\n\r\t\v\\\"";
    const char *simple = strchr(values, *s);
    size_t len = str_utf8_len(s);
    uint32_t code = utf8_code(s, len);

    if (simple)
        snprintf(out, n, "\\%c", letters[simple - values]);
    else if (len == 0 || code < ' ' || code == 0x7f)
        snprintf(out, n, "\\x%02x", (unsigned char)*s);
    else if (!is_printable(code))
        snprintf(out, n, code > 0xffff ? "\\U%08x" : "\\u%04x", code);
    else
        snprintf(out, n, "%.*s", (int)len, s);
    return len > 0 ? len : 1;
}

const char *go_char(const char *s, char out[GO_CHAR_MAX])
{
    size_t len = str_utf8_len(s);
    uint32_t code = utf8_code(s, len);
    bool visible = len > 0 && code >= ' ' && code != 0x7f && is_printable(code);
    int n = snprintf(out, GO_CHAR_MAX, "U+%04X", code);

    if (visible)
        snprintf(out + n, GO_CHAR_MAX - (size_t)n, " '%.*s'", (int)len, s);
    return out;
}

const char *go_quote(const char *s, char *out, size_t n)
{
    size_t len = 1;

    out[0] = '"';
    while (*s && len + 12 < n) {
        s += quote_char(s, out + len, n - len);
        len += strlen(out + len);
    }
    out[len] = '"';
    out[len + 1] = '\0';
    return out;
}
