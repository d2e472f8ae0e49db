/*
 * The page is made anew for each scrape from the newest batches: some hundred rows are sorted by
 * family (sources share families, and a family must stand together) and printed; the text of a
 * series was made once, when the series was. Order inside a family is source, then as collected, so
 * buckets keep their order.
 */
#include "pgvigil/serve/expose.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/model/metrics.h"

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

static const char *type_name(const struct metric_info *info)
{
    if (info == NULL)
        return "untyped";
    switch (info->type) {
    case METRIC_GAUGE:
        return "gauge";
    case METRIC_COUNTER:
        return "counter";
    case METRIC_HISTOGRAM:
        return "histogram";
    }
    return "untyped";
}

static void add_help(struct buf *out, const char *help)
{
    for (; *help != '\0'; help++) {
        if (*help == '\\')
            buf_add_str(out, "\\\\");
        else if (*help == '\n')
            buf_add_str(out, "\\n");
        else
            buf_add_char(out, *help);
    }
}

static void add_header(struct buf *out, const struct row *row)
{
    buf_add_str(out, "# HELP ");
    buf_add_str(out, row->family);
    buf_add_char(out, ' ');
    add_help(out, row->info != NULL ? row->info->help : "Recorded by a rule.");
    buf_add_str(out, "\n# TYPE ");
    buf_add_str(out, row->family);
    buf_add_char(out, ' ');
    buf_add_str(out, type_name(row->info));
    buf_add_char(out, '\n');
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

void expose_text(struct batch *const *batches, size_t n, struct buf *out)
{
    size_t count;
    struct row *rows = collect_rows(batches, n, &count);
    qsort(rows, count, sizeof(*rows), by_family);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(rows[i].family, rows[i - 1].family) != 0)
            add_header(out, &rows[i]);
        buf_add_str(out, rows[i].sample->series->text);
        buf_add_char(out, ' ');
        buf_add_double(out, rows[i].sample->value);
        buf_add_char(out, '\n');
    }
    mem_free(rows);
}
