/*
 * expose.c: the page is made anew for each scrape from the newest batches: some hundred rows are
 * sorted by family (sources share families, and a family must stand together) and printed; the
 * text of a series was made once, when the series was, and is the same in both forms. Order inside
 * a family is source, then as collected, so buckets keep their order. Invariant: no PromQL and no
 * lock but that of the snapshots' list.
 */
#include "pgvigil/serve/expose.h"

#include "pgvigil/base/mem.h"

struct row {
    const char *family;
    const struct metric_info *info; /* NULL: not in the catalogue (a recorded series) */
    const struct sample *sample;
    size_t order;
};

static int by_family(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int c = strcmp(x->family, y->family);
    if (c != 0)
        return c;
    return x->order < y->order ? -1 : x->order > y->order;
}

const char *expose_content_type(enum expose_format format)
{
    switch (format) {
    case EXPOSE_TEXT:
        return EXPOSE_CONTENT_TYPE;
    case EXPOSE_OPENMETRICS:
        return "application/openmetrics-text; version=1.0.0; charset=utf-8";
    case EXPOSE_OPENMETRICS_0_0_1:
        return "application/openmetrics-text; version=0.0.1; charset=utf-8";
    }
    return "";
}

static const char *type_name(const struct metric_info *info, bool openmetrics)
{
    if (info == NULL)
        return openmetrics ? "unknown" : "untyped";
    return metric_type_name(info->type);
}

/* The length of name without the suffix, or 0 if it does not end in it. */
static size_t without(const char *name, size_t n, const char *suffix)
{
    size_t tail = strlen(suffix);
    return n > tail && strncmp(name + n - tail, suffix, tail) == 0 ? n - tail : 0;
}

/* What OpenMetrics calls a counter family ends before _total. */
static size_t family_length(const char *family, const struct metric_info *info)
{
    size_t n = strlen(family), base = 0;
    if (info != NULL && info->type == METRIC_COUNTER)
        base = without(family, n, "_total");
    return base > 0 ? base : n;
}

const char *expose_unit(const struct metric_info *info)
{
    static const char *const units[] = {"_seconds", "_bytes"};
    for (size_t i = 0; info != NULL && i < ARRAY_LEN(units); i++)
        if (without(info->name, family_length(info->name, info), units[i]) > 0)
            return units[i] + 1;
    return "";
}

/* OpenMetrics escapes quotes too. */
static void add_help(struct buf *out, const struct row *row, bool openmetrics)
{
    const char *help = row->info != NULL ? row->info->help : "Recorded by a rule.";
    for (; *help != '\0'; help++) {
        if (*help == '\\' || (*help == '"' && openmetrics))
            buf_printf(out, "\\%c", *help);
        else if (*help == '\n')
            buf_add_str(out, "\\n");
        else
            buf_add_char(out, *help);
    }
}

static void add_meta(struct buf *out, const char *what, const char *family, size_t n)
{
    buf_add_str(out, what);
    buf_add(out, family, n);
    buf_add_char(out, ' ');
}

static void add_header(struct buf *out, const struct row *row, bool openmetrics)
{
    size_t n = openmetrics ? family_length(row->family, row->info) : strlen(row->family);
    const char *unit = openmetrics ? expose_unit(row->info) : "";
    if (!openmetrics) { /* the order that everybody knows of 0.0.4 */
        add_meta(out, "# HELP ", row->family, n);
        add_help(out, row, false);
        buf_add_char(out, '\n');
    }
    add_meta(out, "# TYPE ", row->family, n);
    buf_add_str(out, type_name(row->info, openmetrics));
    buf_add_char(out, '\n');
    if (*unit != '\0') {
        add_meta(out, "# UNIT ", row->family, n);
        buf_printf(out, "%s\n", unit);
    }
    if (openmetrics) {
        add_meta(out, "# HELP ", row->family, n);
        add_help(out, row, true);
        buf_add_char(out, '\n');
    }
}

static struct row *collect_rows(struct batch *const *batches, size_t n, size_t *count)
{
    size_t total = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        total += batches[i]->n;
    struct row *rows = mem_alloc_array(total + 1, sizeof(*rows));
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < batches[i]->n; k++) {
            struct row *row = &rows[at];
            row->sample = &batches[i]->samples[k];
            row->info = metric_info_find(row->sample->series->name);
            row->family = row->info != NULL ? row->info->name : row->sample->series->name;
            row->order = at++;
        }
    }
    *count = total;
    return rows;
}

void expose(enum expose_format format, struct batch *const *batches, size_t n, struct buf *out)
{
    bool openmetrics = format != EXPOSE_TEXT;
    size_t count;
    struct row *rows = collect_rows(batches, n, &count);
    qsort(rows, count, sizeof(*rows), by_family);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(rows[i].family, rows[i - 1].family) != 0)
            add_header(out, &rows[i], openmetrics);
        buf_add_str(out, rows[i].sample->series->text);
        buf_add_char(out, ' ');
        buf_add_double(out, rows[i].sample->value);
        buf_add_char(out, '\n');
    }
    if (openmetrics)
        buf_add_str(out, "# EOF\n");
    mem_free(rows);
}
