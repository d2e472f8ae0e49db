/*
 * windows.c: a range function over the windows of all rows.
 *
 * The edges of all windows of a row are found first, in one pass over its points: their sizes tell
 * whether the windows overlap so much that sliding is cheaper (slide.c) than looking at
 * each window by itself. Invariant: a window that is worked out has at least one point.
 */
#include "promql_private.h"

#include "pgvigil/base/str.h"

/* A window may be long and a row has many: how often the deadline is looked at. */
#define VISITS_PER_LOOK ((size_t)1 << 18)

/* ---- scalar arguments ---- */

bool scalar_args(struct eval *ev, const struct node *node, const struct grid *grid,
                 struct scalar_args *args)
{
    for (size_t i = 0; i < node->call.n; i++) {
        double *row;

        if (node->call.args[i]->type != PROMQL_SCALAR)
            continue;
        if (!eval_scalar(ev, node->call.args[i], grid, &row))
            return false;
        args->rows[args->n++] = row;
    }
    return true;
}

void scalar_args_at(const struct scalar_args *args, size_t step, double out[FN_ARGS_MAX])
{
    for (size_t i = 0; i < FN_ARGS_MAX; i++)
        out[i] = i < args->n ? args->rows[i][step] : 1;
}

/* ---- one row ---- */

static void find_spans(struct windows *w)
{
    const struct point *points = w->points;
    size_t low = 0, high = 0;

    w->longest = w->visits = 0;
    for (size_t i = 0; i < w->grid->n; i++) {
        int64_t end = ranges_window_end(w->ranges, grid_time(w->grid, i));
        int64_t start = end - w->ranges->range_ms;

        while (high < w->n && points[high].t <= end)
            high++;
        while (low < high && points[low].t <= start)
            low++;
        w->spans[i] = (struct span){(uint32_t)low, (uint32_t)high};
        w->visits += high - low;
        w->longest = high - low > w->longest ? high - low : w->longest;
    }
}

double windows_plain(const struct windows *w, size_t step)
{
    double args[FN_ARGS_MAX];
    struct span span = w->spans[step];
    struct window one = {.points = w->points + span.low,
                         .n = span.high - span.low,
                         .t = grid_time(w->grid, step),
                         .args = args,
                         .scratch = w->scratch,
                         .hops = w->hops ? w->hops + span.low : NULL};

    one.end = ranges_window_end(w->ranges, one.t);
    one.start = one.end - w->ranges->range_ms;
    scalar_args_at(&w->args, step, args);
    return w->range(&one);
}

bool windows_visit(struct windows *w, size_t points)
{
    w->visited += points;
    if (w->visited < VISITS_PER_LOOK)
        return true;
    w->visited = 0;
    return !eval_cancelled(w->ev);
}

static bool each_by_itself(struct windows *w, double *v)
{
    if (w->hops)
        range_hops(w->points, w->n, w->hops);
    for (size_t i = 0; i < w->grid->n; i++) {
        if (w->spans[i].low == w->spans[i].high)
            continue;
        v[i] = windows_plain(w, i);
        if (!windows_visit(w, w->spans[i].high - w->spans[i].low))
            return false;
    }
    return true;
}

static bool run_row(struct windows *w, const struct range_row *row, double *v)
{
    w->points = row->points;
    w->n = row->n;
    find_spans(w);
    switch (slide_windows(w, v)) {
    case SLIDE_NO:
        return each_by_itself(w, v);
    case SLIDE_DONE:
        return true;
    case SLIDE_FAILED:
        return false;
    }
    return false;
}

/* ---- annotations ---- */

static bool is_rate(double (*range)(const struct window *w))
{
    return range == range_rate || range == range_increase;
}

/* A row that has a result; told is the name that was looked at last: most rows share one. */
static void note_row(struct eval *ev, const struct node *node, const struct range_row *row,
                     const double *v, size_t steps, const char **told)
{
    const char *name = labels_get_or_empty(&row->labels, LABEL_METRIC);
    size_t i = 0;

    if (*told && str_eq(*told, name))
        return;
    while (i < steps && is_absent(v[i]))
        i++;
    if (i == steps)
        return;
    *told = name;
    note_counter(ev, node->call.args[0]->pos, name);
}

static void note_quantiles(struct eval *ev, const struct node *node, const struct windows *w)
{
    for (size_t i = 0; w->ranges->n > 0 && i < w->grid->n; i++)
        note_quantile(ev, node->call.args[0]->pos, w->args.rows[0][i]);
}

/* ---- all rows ---- */

static const struct node *range_arg(const struct node *node)
{
    size_t i = 0;

    while (i + 1 < node->call.n && node->call.args[i]->type != PROMQL_MATRIX)
        i++;
    return node->call.args[i];
}

/* Room for what functions work out per window or row. */
static bool make_room(struct windows *w, struct value *out)
{
    const struct ranges *ranges = w->ranges;

    for (size_t r = 0; r < ranges->n; r++)
        w->room = ranges->rows[r].n > w->room ? ranges->rows[r].n : w->room;
    if (w->room > UINT32_MAX)
        return err_set(w->ev->err, ERR_LIMIT, "a series has too many points");
    w->scratch = eval_array(w->ev, w->room, sizeof(*w->scratch));
    w->spans = eval_array(w->ev, w->grid->n, sizeof(*w->spans));
    out->rows = eval_array(w->ev, ranges->n, sizeof(*out->rows));
    if (!w->scratch || !w->spans || !out->rows)
        return false;
    /* Worth its pass over the row when windows overlap. */
    if (w->grid->n == 1 || !is_rate(w->range))
        return true;
    w->hops = eval_array(w->ev, w->room, sizeof(*w->hops));
    return w->hops != NULL;
}

bool eval_windows(struct eval *ev, const struct node *node, const struct grid *grid,
                  double (*range)(const struct window *w), struct value *out)
{
    struct ranges ranges;
    struct windows w = {.ev = ev, .grid = grid, .ranges = &ranges, .range = range};
    const char *told = NULL;

    *out = (struct value){.type = PROMQL_VECTOR};
    if (!scalar_args(ev, node, grid, &w.args) || !eval_ranges(ev, range_arg(node), grid, &ranges) ||
        !make_room(&w, out))
        return false;
    for (size_t r = 0; r < ranges.n; r++) {
        const struct range_row *from = &ranges.rows[r];
        struct row *row = &out->rows[out->n++];

        *row = (struct row){.labels = from->labels, .v = eval_row(ev, grid)};
        row->drop_name = from->drop_name || node->call.fn->drops_name;
        if (!row->v || !run_row(&w, from, row->v))
            return false;
        if (is_rate(range))
            note_row(ev, node, from, row->v, grid->n, &told);
    }
    if (range == range_quantile)
        note_quantiles(ev, node, &w);
    value_prune(out, grid);
    return true;
}
