/*
 * series_notation.c: a line that describes a series: labels, then items.
 *
 * One reader for all: the acceptance cases, unit tests of rules and their expected samples use the
 * same notation. There are no hexadecimal numbers in items: `0x10` is zero, eleven times.
 * Invariant: at most SERIES_ITEMS_MAX items, at most LABELS_MAX labels.
 */
#include "pgvigil/promql/series_notation.h"

#include <ctype.h>

#include "pgvigil/base/str.h"
#include "promql_private.h"

#define TIMES_DIGITS_MAX 6

static const char *skip_blanks(const char *s)
{
    return s + strspn(s, " \t");
}

/* ---- labels ---- */

/* A quoted text; NULL if it does not end or has a bad escape. */
static const char *take_quoted(struct arena *arena, const char **s)
{
    char why[64], quote = **s;
    size_t n = 1;

    while ((*s)[n] && (*s)[n] != quote)
        n += (*s)[n] == '\\' && quote != '`' && (*s)[n + 1] ? 2 : 1;
    if (!(*s)[n])
        return NULL;
    *s += n + 1;
    return literal_string(arena, *s - n - 1, n + 1, why, sizeof(why));
}

static bool is_quote(char c)
{
    return c == '"' || c == '\'' || c == '`';
}

/* `name="value"` or a quoted metric name alone. */
static bool take_label(struct arena *arena, const char **s, struct label *out)
{
    size_t n = strcspn(*s, "= \t,}");
    bool is_quoted = is_quote(**s);

    if (is_quoted) {
        out->name = take_quoted(arena, s);
    } else {
        out->name = arena_strndup(arena, *s, n);
        *s += n;
    }
    *s = skip_blanks(*s);
    if (!out->name)
        return false;
    if (**s != '=') {
        *out = (struct label){.name = LABEL_METRIC, .value = out->name};
        return is_quoted;
    }
    *s = skip_blanks(*s + 1);
    out->value = is_quote(**s) ? take_quoted(arena, s) : NULL;
    return out->value != NULL;
}

/* Labels behind `{`, up to and with `}`. */
static bool take_braces(struct arena *arena, const char **s, struct label *v, size_t *n)
{
    for (*s = skip_blanks(*s + 1); **s != '}'; *s = skip_blanks(*s)) {
        if (*n == LABELS_MAX || !take_label(arena, s, &v[*n]))
            return false;
        ++*n;
        *s = skip_blanks(*s);
        if (**s == ',')
            ++*s;
        else if (**s != '}')
            return false;
    }
    ++*s;
    return true;
}

/* spaced: blanks may stand before the brace, as they may not where values follow. */
static bool take_labels(struct arena *arena, const char **s, bool spaced, struct labels *out)
{
    struct label *v = arena_alloc_array(arena, LABELS_MAX, sizeof(*v));
    size_t n = 0, name = strcspn(*s, "{ \t@");

    if (name > 0)
        v[n++] = (struct label){.name = LABEL_METRIC, .value = arena_strndup(arena, *s, name)};
    *s += name;
    if (spaced)
        *s = skip_blanks(*s);
    if (**s == '{' && !take_braces(arena, s, v, &n))
        return false;
    *out = (struct labels){.n = labels_sort(v, n), .v = v};
    return true;
}

bool series_labels_parse(struct arena *arena, const char *text, struct labels *out, struct err *err)
{
    const char *s = skip_blanks(text);

    if (*s == '\0' || !take_labels(arena, &s, true, out) || *skip_blanks(s) != '\0')
        return err_set(err, ERR_INVALID, "no series: %.200s", text);
    return true;
}

/* ---- items ---- */

static bool take_number(const char **s, double *out)
{
    char text[64];
    size_t n = **s == '-' || **s == '+';

    if (isalpha((unsigned char)(*s)[n])) {
        n += strspn(*s + n, "INFAnifa");
    } else {
        n += strspn(*s + n, "0123456789.");
        if ((*s)[n] == 'e' || (*s)[n] == 'E') {
            n++;
            n += (*s)[n] == '-' || (*s)[n] == '+';
            n += strspn(*s + n, "0123456789");
        }
    }
    if (n == 0 || n >= sizeof(text))
        return false;
    memcpy(text, *s, n);
    text[n] = '\0';
    *s += n;
    return str_parse_double(text, out);
}

/* `{{...}}`, and behind it another one that is added or subtracted. */
static bool take_native(const char **s)
{
    const char *end;

    if (**s == '+' || **s == '-')
        ++*s;
    end = strncmp(*s, "{{", 2) == 0 ? strstr(*s, "}}") : NULL;
    if (!end)
        return false;
    *s = end + 2;
    return true;
}

static bool take_value(const char **s, struct series_item *item, double *more)
{
    *more = 0;
    if (strncmp(*s, "{{", 2) == 0) {
        item->is_native = true;
        return take_native(s) && ((**s != '+' && **s != '-') || take_native(s));
    }
    if (**s == '_') {
        item->is_gap = true;
        ++*s;
        return true;
    }
    if (strncmp(*s, "stale", 5) == 0) {
        item->v = point_stale_value();
        *s += 5;
        return true;
    }
    return take_number(s, &item->v) && ((**s != '+' && **s != '-') || take_number(s, more));
}

/* The `xN` behind a value; `_x3` is three gaps, `1x3` four points. */
static bool take_times(const char **s, const struct series_item *item, size_t *times)
{
    size_t n;

    *times = 1;
    if (**s != 'x')
        return true;
    n = strspn(*s + 1, "0123456789");
    if (n == 0 || n > TIMES_DIGITS_MAX)
        return false;
    *times = strtoul(*s + 1, NULL, 10) + !item->is_gap;
    *s += 1 + n;
    return true;
}

static bool add_items(struct arena *arena, struct series_line *out, const struct series_item *first,
                      double more, size_t times)
{
    struct series_item item = *first;

    if (times > SERIES_ITEMS_MAX - out->n)
        return false;
    out->items = arena_grow_array(arena, out->items, out->n, out->n + times, sizeof(item));
    out->has_native = out->has_native || item.is_native;
    for (size_t i = 0; i < times; i++) {
        out->items[out->n++] = item;
        if (more != 0) /* a stale marker must keep its bits */
            item.v += more;
    }
    return true;
}

bool series_line_parse(struct arena *arena, const char *text, struct series_line *out,
                       struct err *err)
{
    const char *s = text;

    *out = (struct series_line){.n = 0};
    if (!take_labels(arena, &s, false, &out->labels))
        return err_set(err, ERR_INVALID, "no series: %.200s", text);
    out->is_start_times = strncmp(s, "@st", 3) == 0;
    if (out->is_start_times)
        return true;
    for (s = skip_blanks(s); *s && *s != '#'; s = skip_blanks(s)) {
        struct series_item item = {0};
        size_t times;
        double more;

        if (!take_value(&s, &item, &more) || !take_times(&s, &item, &times) ||
            (*s && *s != ' ' && *s != '\t') || !add_items(arena, out, &item, more, times))
            return err_set(err, ERR_INVALID, "no value of a series at: %.200s", s);
    }
    return true;
}
