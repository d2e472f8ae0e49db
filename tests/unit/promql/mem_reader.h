/*
 * mem_reader.h: a small reader over series written as text, for tests.
 *
 * mem_reader_load takes lines `metric{l="v"} items`; item i stands at i * step after 1970. Items:
 * a number, `_` (gap), `_xN` (N gaps), `stale`, `axN` (a, then N more), `a+bxN`, `a-bxN`. A series
 * named again by a later load is replaced. Text that cannot be read ends the test program.
 */
#ifndef PGVIGIL_TESTS_MEM_READER_H
#define PGVIGIL_TESTS_MEM_READER_H

#include <ctype.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/model/reader.h"

#define MEM_READER_LABELS 32

struct mem_series {
    struct labels labels;
    struct point *points;
    size_t n;
};

struct mem_reader {
    struct reader reader;
    struct arena *arena;
    struct mem_series *series;
    size_t n;
    size_t selects; /* how often it was asked */
};

/* Index of the first point behind t. */
static inline size_t mem_after(const struct mem_series *s, int64_t t)
{
    size_t low = 0, high = s->n;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (s->points[mid].t <= t)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static inline bool mem_select(struct reader *reader, const struct read_request *req,
                              struct arena *arena, struct read_result *out, struct err *err)
{
    struct mem_reader *mr = reader->impl;
    size_t total = 0;

    mr->selects++;
    *out = (struct read_result){0};
    out->series = arena_alloc_array(arena, mr->n, sizeof(*out->series));
    for (size_t i = 0; i < mr->n; i++) {
        const struct mem_series *s = &mr->series[i];
        struct read_series *to = &out->series[out->n];
        size_t from, end;
        bool match;

        if (!matchers_match(req->matchers, req->matcher_count, req->regex_match, &s->labels, &match,
                            err))
            return false;
        if (!match)
            continue;
        from = mem_after(s, req->t_min);
        end = mem_after(s, req->t_max);
        if (req->last_only && end > from)
            from = end - 1;
        total += end - from;
        if (total > req->max_points)
            return err_set(err, ERR_LIMIT, "too many points");
        if (end == from)
            continue;
        to->labels = labels_copy(arena, &s->labels);
        to->n = end - from;
        to->points = arena_alloc_array(arena, to->n, sizeof(*to->points));
        memcpy(to->points, s->points + from, to->n * sizeof(*to->points));
        out->n++;
    }
    return true;
}

static inline void mem_reader_init(struct mem_reader *mr)
{
    *mr = (struct mem_reader){.reader = {.select = mem_select}};
    mr->reader.impl = mr;
    mr->arena = arena_create(0, ARENA_NO_LIMIT);
}

static inline void mem_reader_deinit(struct mem_reader *mr)
{
    arena_destroy(&mr->arena);
}

static inline void mem_reader_die(const char *what, const char *at)
{
    fprintf(stderr, "mem_reader: %s at: %.60s\n", what, at);
    abort();
}

static inline const char *mem_blanks(const char *s)
{
    while (*s == ' ' || *s == '\t')
        s++;
    return s;
}

/* A quoted text with \" \\ \n escapes. */
static inline const char *mem_quoted(struct arena *arena, const char *s, const char **out)
{
    char quote = *s++;
    char *text = arena_alloc(arena, strcspn(s, "\n") + 1), *to = text;

    for (; *s != quote; s++) {
        if (*s == '\0' || *s == '\n')
            mem_reader_die("string without end", s);
        if (*s == '\\' && quote != '`') {
            s++;
            *to++ = *s == 'n' ? '\n' : *s;
        } else {
            *to++ = *s;
        }
    }
    *out = text;
    return s + 1;
}

static inline const char *mem_label(struct arena *arena, const char *s, struct label *label)
{
    size_t n = strcspn(s, "=, }\n");

    label->name = arena_strndup(arena, s, n);
    s = mem_blanks(s + n);
    if (*label->name == '"' || *label->name == '\'') { /* a quoted metric name */
        label->value = arena_strndup(arena, label->name + 1, strlen(label->name) - 2);
        label->name = LABEL_METRIC;
        return s;
    }
    if (*s != '=')
        mem_reader_die("label without =", s);
    s = mem_blanks(s + 1);
    return mem_quoted(arena, s, &label->value);
}

/* `name{a="b"}`; returns what follows. */
static inline const char *mem_labels(struct arena *arena, const char *s, struct labels *out)
{
    struct label *v = arena_alloc_array(arena, MEM_READER_LABELS, sizeof(*v));
    size_t n = 0, name = strcspn(s, "{ \t\n");

    if (name > 0)
        v[n++] = (struct label){.name = LABEL_METRIC, .value = arena_strndup(arena, s, name)};
    s += name;
    if (*s == '{') {
        for (s = mem_blanks(s + 1); *s != '}'; s = mem_blanks(s)) {
            if (n == MEM_READER_LABELS)
                mem_reader_die("too many labels", s);
            s = mem_blanks(mem_label(arena, s, &v[n++]));
            if (*s == ',')
                s++;
        }
        s++;
    }
    *out = (struct labels){.n = labels_sort(v, n), .v = v};
    return s;
}

/* A number without hexadecimal: `0x10` is eleven zeros. */
static inline const char *mem_number(const char *s, double *out)
{
    const char *from = s;
    char text[64];
    size_t n;

    s += *s == '-' || *s == '+';
    if (isalpha((unsigned char)*s)) {
        s += strspn(s, "InfinftyNaA");
    } else {
        s += strspn(s, "0123456789.");
        if (*s == 'e' || *s == 'E') {
            s++;
            s += *s == '-' || *s == '+';
            s += strspn(s, "0123456789");
        }
    }
    n = (size_t)(s - from);
    if (n == 0 || n >= sizeof(text))
        mem_reader_die("number wanted", from);
    memcpy(text, from, n);
    text[n] = '\0';
    *out = strtod(text, NULL);
    return s;
}

static inline void mem_add(struct mem_reader *mr, struct mem_series *s, int64_t t, double v)
{
    s->points = arena_grow_array(mr->arena, s->points, s->n, s->n + 1, sizeof(*s->points));
    s->points[s->n++] = (struct point){.t = t, .v = v};
}

static inline const char *mem_item(struct mem_reader *mr, const char *s, int64_t step,
                                   struct mem_series *series, int64_t *at)
{
    double v = 0, more = 0;
    bool gap = *s == '_';
    long times = 0;

    if (strncmp(s, "stale", 5) == 0) {
        mem_add(mr, series, (*at)++ * step, point_stale_value());
        return s + 5;
    }
    s = gap ? s + 1 : mem_number(s, &v);
    if (*s == '+' || *s == '-')
        s = mem_number(s, &more);
    if (*s == 'x') {
        times = strtol(s + 1, NULL, 10);
        s += 1 + strspn(s + 1, "0123456789");
        times -= gap; /* `_x3` is three gaps, `1x3` is four points */
    }
    for (long i = 0; i <= times; i++, v += more, (*at)++)
        if (!gap)
            mem_add(mr, series, *at * step, v);
    return s;
}

static inline struct mem_series *mem_find(struct mem_reader *mr, const struct labels *labels)
{
    for (size_t i = 0; i < mr->n; i++)
        if (labels_equal(&mr->series[i].labels, labels))
            return &mr->series[i];
    mr->series = arena_grow_array(mr->arena, mr->series, mr->n, mr->n + 1, sizeof(*mr->series));
    return &mr->series[mr->n++];
}

/* One series; returns the end of its line. */
static inline const char *mem_reader_line(struct mem_reader *mr, int64_t step_ms, const char *s)
{
    struct mem_series made = {.n = 0};
    int64_t at = 0;

    s = mem_blanks(mem_labels(mr->arena, s, &made.labels));
    while (*s && *s != '\n')
        s = mem_blanks(mem_item(mr, s, step_ms, &made, &at));
    *mem_find(mr, &made.labels) = made;
    return s;
}

static inline void mem_reader_load(struct mem_reader *mr, int64_t step_ms, const char *lines)
{
    for (const char *s = mem_blanks(lines); *s; s = mem_blanks(s)) {
        if (*s == '\n')
            s++;
        else
            s = mem_reader_line(mr, step_ms, s);
    }
}

#endif
