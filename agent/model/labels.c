/*
 * labels.c: label sets as sorted arrays.
 *
 * Sets are small (10 labels or so), so sorted arrays with linear look-ups beat any table, and the
 * order makes comparing, hashing and printing one pass. Invariant: sorted by name, names unique.
 */
#include "pgvigil/model/labels.h"

#include "pgvigil/base/str.h"

const char *labels_get(const struct labels *ls, const char *name)
{
    for (size_t i = 0; i < ls->n; i++) {
        if (strcmp(ls->v[i].name, name) == 0)
            return ls->v[i].value;
    }
    return NULL;
}

const char *labels_get_or_empty(const struct labels *ls, const char *name)
{
    const char *value = labels_get(ls, name);
    return value != NULL ? value : "";
}

uint64_t labels_hash(const struct labels *ls)
{
    return labels_fingerprint(ls);
}

int labels_compare(const struct labels *a, const struct labels *b)
{
    size_t n = size_min(a->n, b->n);
    for (size_t i = 0; i < n; i++) {
        int c = strcmp(a->v[i].name, b->v[i].name);
        if (c == 0)
            c = strcmp(a->v[i].value, b->v[i].value);
        if (c != 0)
            return c;
    }
    return a->n < b->n ? -1 : a->n > b->n;
}

bool labels_equal(const struct labels *a, const struct labels *b)
{
    return a->n == b->n && labels_compare(a, b) == 0;
}

/* Stable insertion sort: builders add pairs nearly in order, and there are at most LABELS_MAX. */
static void sort_by_name(struct label *pairs, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct label pair = pairs[i];
        size_t at = i;
        while (at > 0 && strcmp(pairs[at - 1].name, pair.name) > 0) {
            pairs[at] = pairs[at - 1];
            at--;
        }
        pairs[at] = pair;
    }
}

size_t labels_sort(struct label *pairs, size_t n)
{
    size_t kept = 0;
    sort_by_name(pairs, n);
    for (size_t i = 0; i < n; i++) {
        /* Of pairs with one name the one that was added last is meant. */
        if (i + 1 < n && strcmp(pairs[i].name, pairs[i + 1].name) == 0)
            continue;
        if (pairs[i].value[0] != '\0')
            pairs[kept++] = pairs[i];
    }
    return kept;
}

struct labels labels_copy(struct arena *arena, const struct labels *ls)
{
    struct label *v = arena_alloc_array(arena, ls->n, sizeof(*v));
    for (size_t i = 0; i < ls->n; i++) {
        v[i].name = arena_strdup(arena, ls->v[i].name);
        v[i].value = arena_strdup(arena, ls->v[i].value);
    }
    return (struct labels){.n = ls->n, .v = v};
}

/* Scrapers refuse a page with one invalid byte, so invalid UTF-8 becomes U+FFFD here. */
static void print_value(const char *s, struct buf *out)
{
    buf_add_char(out, '"');
    while (*s != '\0') {
        size_t run = strcspn(s, "\\\"\n");
        const char *end = s + run;
        while (s < end) {
            size_t n = (unsigned char)*s < 0x80 ? 1 : str_utf8_len(s);
            if (n == 0)
                buf_add_str(out, "\xEF\xBF\xBD");
            else
                buf_add(out, s, n);
            s += n == 0 ? 1 : n;
        }
        if (*s == '\0')
            break;
        buf_add_char(out, '\\');
        buf_add_char(out, *s == '\n' ? 'n' : *s);
        s++;
    }
    buf_add_char(out, '"');
}

void labels_print(const struct labels *ls, struct buf *out)
{
    const char *name = labels_get(ls, LABEL_METRIC);
    bool first = true;
    if (name != NULL)
        buf_add_str(out, name);
    for (size_t i = 0; i < ls->n; i++) {
        if (strcmp(ls->v[i].name, LABEL_METRIC) == 0)
            continue;
        buf_add_char(out, first ? '{' : ',');
        first = false;
        buf_add_str(out, ls->v[i].name);
        buf_add_char(out, '=');
        print_value(ls->v[i].value, out);
    }
    if (!first)
        buf_add_char(out, '}');
    else if (name == NULL)
        buf_add_str(out, "{}");
}

uint64_t labels_fingerprint(const struct labels *ls)
{
    static const char separator = '\xff';
    uint64_t h = STR_HASH_SEED;
    for (size_t i = 0; i < ls->n; i++) {
        h = str_hash(ls->v[i].name, strlen(ls->v[i].name), h);
        h = str_hash(&separator, 1, h);
        h = str_hash(ls->v[i].value, strlen(ls->v[i].value), h);
        h = str_hash(&separator, 1, h);
    }
    return h;
}

void labels_print_json(const struct labels *ls, struct buf *out)
{
    buf_add_char(out, '{');
    for (size_t i = 0; i < ls->n; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        buf_add_json(out, ls->v[i].name);
        buf_add_char(out, ':');
        buf_add_json(out, ls->v[i].value);
    }
    buf_add_char(out, '}');
}
