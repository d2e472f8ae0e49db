/*
 * selectors.c: from the reader's points to rows (instant vectors) and windows (range vectors).
 *
 * A selector asks the reader once for everything that the whole grid can need. Windows are open on
 * the left and closed on the right: (t - range, t], the lookback likewise (v3). A stale marker ends
 * a series for the lookback and is left out of ranges. Invariant: rows are found by a cursor that
 * only moves forward, so the work is linear in points plus steps.
 */
#include "promql_private.h"

/* The time that a step looks from, before the offset. */
static bool pinned_time(const struct eval *ev, const struct modifiers *mods, int64_t *t)
{
    switch (mods->at) {
    case AT_NONE:
        return false;
    case AT_TIME:
        *t = mods->at_ms;
        break;
    case AT_START:
        *t = ev->start;
        break;
    case AT_END:
        *t = ev->end;
        break;
    }
    return true;
}

static bool select_points(struct eval *ev, const struct node *node, struct read_request *req,
                          struct read_result *out)
{
    size_t points = 0;

    req->matchers = node->selector.matchers;
    req->matcher_count = node->selector.matcher_count;
    req->regex_match = regex_match;
    req->max_points = ev->samples_left;
    *out = (struct read_result){.n = 0};
    if (eval_cancelled(ev) || !ev->reader->select(ev->reader, req, ev->arena, out, ev->err))
        return false;
    for (size_t i = 0; i < out->n; i++)
        points += out->series[i].n;
    return eval_charge(ev, points);
}

/* Values of one series at each step: the newest point of (t - lookback, t], unless stale. */
static void fill_row(const struct eval *ev, const struct read_series *series, int64_t offset_ms,
                     const struct grid *grid, bool want_times, double *v)
{
    size_t next = 0;

    for (size_t i = 0; i < grid->n; i++) {
        int64_t t = grid_time(grid, i) - offset_ms;
        const struct point *p;

        while (next < series->n && series->points[next].t <= t)
            next++;
        if (next == 0)
            continue;
        p = &series->points[next - 1];
        if (p->t > t - ev->lookback_ms && !is_absent(p->v))
            v[i] = want_times ? (double)p->t / 1000 : p->v;
    }
}

bool eval_selector(struct eval *ev, const struct node *node, const struct grid *grid,
                   bool want_times, struct value *out)
{
    const struct modifiers *mods = &node->selector.mods;
    struct grid looked = *grid;
    bool pinned = pinned_time(ev, mods, &looked.start);
    struct read_request req = {0};
    struct read_result read;
    int64_t offset_ms;

    *out = (struct value){.type = PROMQL_VECTOR};
    if (!eval_duration(ev, &mods->offset, DURATION_OFFSET, &offset_ms))
        return false;
    if (grid->n == 0)
        return true;
    if (pinned)
        looked.n = 1;
    req.t_min = looked.start - offset_ms - ev->lookback_ms;
    req.t_max = grid_time(&looked, looked.n - 1) - offset_ms;
    req.last_only = looked.n == 1;
    if (looked.n > 1) {
        req.grid_start = looked.start - offset_ms;
        req.step_ms = looked.step;
    }
    if (!select_points(ev, node, &req, &read))
        return false;
    out->rows = eval_array(ev, read.n, sizeof(*out->rows));
    if (!out->rows)
        return false;
    for (size_t s = 0; s < read.n; s++) {
        struct row *row = &out->rows[out->n++];

        row->labels = read.series[s].labels;
        row->v = eval_row(ev, grid);
        if (!row->v)
            return false;
        fill_row(ev, &read.series[s], offset_ms, &looked, want_times, row->v);
        for (size_t i = 1; pinned && i < grid->n; i++)
            row->v[i] = row->v[0];
    }
    value_prune(out, grid);
    return true;
}

/* ---- range vectors ---- */

/* Removes stale markers in place; they separate nothing inside a range. */
static size_t without_stale(struct point *points, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++)
        if (!is_absent(points[i].v))
            points[kept++] = points[i];
    return kept;
}

/* The edges of all windows of the grid: (lo, hi]. */
static void range_edges(const struct ranges *ranges, const struct grid *grid, int64_t *lo,
                        int64_t *hi)
{
    *lo = ranges_window_end(ranges, grid->start) - ranges->range_ms;
    *hi = ranges_window_end(ranges, grid_time(grid, grid->n - 1));
}

static bool selector_ranges(struct eval *ev, const struct node *node, const struct grid *grid,
                            struct ranges *out)
{
    struct read_request req = {0};
    struct read_result read;

    range_edges(out, grid, &req.t_min, &req.t_max);
    if (!select_points(ev, node, &req, &read))
        return false;
    out->rows = eval_array(ev, read.n, sizeof(*out->rows));
    if (!out->rows)
        return false;
    for (size_t s = 0; s < read.n; s++) {
        struct read_series *series = &read.series[s];
        size_t n = without_stale(series->points, series->n);

        if (n > 0)
            out->rows[out->n++] =
                (struct range_row){.labels = series->labels, .points = series->points, .n = n};
    }
    return true;
}

/* Steps of a subquery are absolute multiples of its step, the first one behind the edge. */
static bool subquery_grid(struct eval *ev, const struct node *node, const struct grid *grid,
                          const struct ranges *ranges, struct grid *inner)
{
    const struct duration *given = &node->subquery.step;
    int64_t step = ev->subquery_step_ms, lo, hi;

    *inner = (struct grid){.n = 0};
    if ((given->expr || given->ms > 0) && !eval_duration(ev, given, DURATION_STEP, &step))
        return false;
    range_edges(ranges, grid, &lo, &hi);
    *inner = (struct grid){.start = lo / step * step, .step = step};
    if (inner->start <= lo)
        inner->start += step;
    if (inner->start > hi)
        return true;
    inner->n = (size_t)((hi - inner->start) / step) + 1;
    return inner->n <= ev->samples_left || eval_charge(ev, inner->n);
}

static bool subquery_ranges(struct eval *ev, const struct node *node, const struct grid *grid,
                            struct ranges *out)
{
    struct grid inner;
    struct value value;

    if (!subquery_grid(ev, node, grid, out, &inner))
        return false;
    if (inner.n == 0)
        return true;
    if (!eval_node(ev, node->subquery.child, &inner, &value))
        return false;
    out->rows = eval_array(ev, value.n, sizeof(*out->rows));
    if (!out->rows)
        return false;
    for (size_t r = 0; r < value.n; r++) {
        struct range_row *row = &out->rows[out->n++];

        if (!eval_charge(ev, inner.n))
            return false;
        *row = (struct range_row){.labels = value.rows[r].labels,
                                  .drop_name = value.rows[r].drop_name};
        row->points = arena_alloc_array(ev->arena, inner.n, sizeof(*row->points));
        for (size_t i = 0; i < inner.n; i++) {
            if (!is_absent(value.rows[r].v[i]))
                row->points[row->n++] =
                    (struct point){.t = grid_time(&inner, i), .v = value.rows[r].v[i]};
        }
    }
    return true;
}

bool eval_ranges(struct eval *ev, const struct node *node, const struct grid *grid,
                 struct ranges *out)
{
    bool is_subquery = node->kind == NODE_SUBQUERY;
    const struct modifiers *mods = is_subquery ? &node->subquery.mods : &node->selector.mods;

    const struct duration *range = is_subquery ? &node->subquery.range : &node->selector.range;

    *out = (struct ranges){.n = 0};
    if (!eval_duration(ev, &mods->offset, DURATION_OFFSET, &out->offset_ms) ||
        !eval_duration(ev, range, DURATION_RANGE, &out->range_ms))
        return false;
    out->pinned = pinned_time(ev, mods, &out->pinned_ms);
    if (grid->n == 0)
        return true;
    return is_subquery ? subquery_ranges(ev, node, grid, out)
                       : selector_ranges(ev, node, grid, out);
}
