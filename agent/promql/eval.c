/*
 * eval.c: entry points, dispatch over the tree, and what makes a result out of rows.
 *
 * Every node is evaluated once for all steps of the grid: series by series inside, so labels are
 * matched once and a selector reads its points once. An instant query is a grid of one step, which
 * keeps a rule over ten series at a few microseconds. The metric name is removed at the very end
 * (Prometheus' delayed name removal), so functions need not copy label sets.
 * Invariants: recursion is bounded by the parser's depth, left-growing chains are walked in
 * a loop (binary.c); everything is charged to max_samples before it is allocated; a function that
 * returns false has filled ev->err.
 */
#include "promql_private.h"

#include <inttypes.h>

#include "pgvigil/base/str.h"

static const char same_labels[] = "vector cannot contain metrics with the same labelset";

/* ---- budget ---- */

bool eval_cancelled(struct eval *ev)
{
    if (!ev->cancelled || !ev->cancelled(ev->arg))
        return false;
    err_set(ev->err, ERR_TIMEOUT, "query timed out in expression evaluation");
    return true;
}

bool eval_charge(struct eval *ev, size_t n)
{
    if (n > ev->samples_left) {
        return err_set(ev->err, ERR_LIMIT,
                       "query processing would load too many samples into memory in query "
                       "execution");
    }
    ev->samples_left -= n;
    if (arena_exceeded(ev->arena))
        return err_set(ev->err, ERR_LIMIT, "query needs more memory than its budget");
    return !eval_cancelled(ev);
}

double *eval_row(struct eval *ev, const struct grid *grid)
{
    double *v;

    if (!eval_charge(ev, grid->n))
        return NULL;
    v = arena_alloc_array(ev->arena, grid->n, sizeof(*v));
    for (size_t i = 0; i < grid->n; i++)
        v[i] = absent();
    return v;
}

void *eval_array(struct eval *ev, size_t count, size_t size)
{
    /* Bookkeeping is charged as samples too: a sample is the size of two doubles. */
    if (!eval_charge(ev, count * size / sizeof(struct point)))
        return NULL;
    return arena_alloc_array(ev->arena, count, size);
}

/* ---- rows ---- */

void value_prune(struct value *value, const struct grid *grid)
{
    size_t kept = 0;

    for (size_t r = 0; r < value->n; r++) {
        size_t i = 0;

        while (i < grid->n && is_absent(value->rows[r].v[i]))
            i++;
        if (i < grid->n)
            value->rows[kept++] = value->rows[r];
    }
    value->n = kept;
}

/* Moves the values of a row into another of the same labels; false if both have one at a step. */
static bool merge_row(double *into, const double *from, const struct grid *grid)
{
    for (size_t i = 0; i < grid->n; i++) {
        if (is_absent(from[i]))
            continue;
        if (!is_absent(into[i]))
            return false;
        into[i] = from[i];
    }
    return true;
}

bool covers_init(struct covers *covers, struct eval *ev, const struct grid *grid,
                 const struct value *rows, size_t keys)
{
    *covers = (struct covers){.ev = ev, .grid = grid, .rows = rows};
    covers->v = eval_array(ev, keys, sizeof(*covers->v));
    covers->is_copy = eval_array(ev, keys, sizeof(*covers->is_copy));
    return covers->v && covers->is_copy;
}

static bool cover_copy(struct covers *covers, size_t key)
{
    double *copy = eval_row(covers->ev, covers->grid);

    if (!copy)
        return false;
    memcpy(copy, covers->v[key], covers->grid->n * sizeof(*copy));
    covers->v[key] = copy;
    covers->is_copy[key] = true;
    return true;
}

bool covers_add(struct covers *covers, size_t key, size_t r, const double *where, bool *overlaps)
{
    double *from = covers->rows->rows[r].v;

    if (!covers->v[key]) {
        covers->v[key] = from;
        return true;
    }
    if (!covers->is_copy[key] && !cover_copy(covers, key))
        return false;
    for (size_t i = 0; i < covers->grid->n; i++) {
        if (is_absent(from[i]) || (where && is_absent(where[i])))
            continue;
        *overlaps = *overlaps || !is_absent(covers->v[key][i]);
        covers->v[key][i] = from[i];
    }
    return true;
}

bool eval_check_unique(struct eval *ev, const struct value *value, const struct grid *grid,
                       const char *text)
{
    const struct key_spec whole = {.keep_name = true};
    struct key_index index;
    struct covers covers;
    bool overlaps = false;

    if (!key_index_init(ev, &index, &whole, value->n) ||
        !covers_init(&covers, ev, grid, value, value->n))
        return false;
    for (size_t r = 0; r < value->n; r++) {
        size_t key = key_index_add(&index, &value->rows[r].labels);

        if (!covers_add(&covers, key, r, NULL, &overlaps))
            return false;
        if (overlaps)
            return err_set(ev->err, ERR_INVALID, "%s", text);
    }
    return true;
}

/* Removes the names that are to be dropped and joins rows that have become one series. */
static bool finish_rows(struct eval *ev, struct value *value, const struct grid *grid)
{
    const struct key_spec whole = {.keep_name = true}, nameless = {.only = false};
    struct key_index index;
    size_t kept = 0;

    value_prune(value, grid);
    if (!key_index_init(ev, &index, &whole, value->n))
        return false;
    for (size_t r = 0; r < value->n; r++) {
        struct row *row = &value->rows[r];
        size_t key;

        if (row->drop_name)
            row->labels = key_labels(ev->arena, &nameless, &row->labels);
        row->drop_name = false;
        value->rows[kept] = *row;
        key = key_index_add(&index, &value->rows[kept].labels);
        if (key == kept)
            kept++;
        else if (!merge_row(value->rows[key].v, row->v, grid))
            return err_set(ev->err, ERR_INVALID, "%s", same_labels);
    }
    value->n = kept;
    return true;
}

static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a, *y = b;

    return labels_compare(&x->labels, &y->labels);
}

/* qsort wants an array even for nothing. */
void value_sort(struct value *value, int (*compare)(const void *a, const void *b))
{
    if (value->n > 1)
        qsort(value->rows, value->n, sizeof(*value->rows), compare);
}

/* ---- dispatch ---- */

static bool eval_number(struct eval *ev, const struct node *node, const struct grid *grid,
                        struct value *out)
{
    out->type = PROMQL_SCALAR;
    out->scalar = eval_row(ev, grid);
    if (!out->scalar)
        return false;
    for (size_t i = 0; i < grid->n; i++)
        out->scalar[i] = node->number;
    return true;
}

static bool eval_unary(struct eval *ev, const struct node *node, const struct grid *grid,
                       struct value *out)
{
    if (!eval_node(ev, node->unary.child, grid, out))
        return false;
    if (node->unary.op == OP_ADD)
        return true;
    for (size_t i = 0; out->type == PROMQL_SCALAR && i < grid->n; i++)
        out->scalar[i] = -out->scalar[i];
    for (size_t r = 0; r < out->n; r++) {
        out->rows[r].drop_name = true;
        for (size_t i = 0; i < grid->n; i++)
            if (!is_absent(out->rows[r].v[i]))
                out->rows[r].v[i] = -out->rows[r].v[i];
    }
    return true;
}

bool eval_node(struct eval *ev, const struct node *node, const struct grid *grid, struct value *out)
{
    *out = (struct value){.type = PROMQL_VECTOR};
    switch (node->kind) {
    case NODE_NUMBER:
        return eval_number(ev, node, grid, out);
    case NODE_STRING:
        out->type = PROMQL_STRING;
        out->string = node->string;
        return true;
    case NODE_SELECTOR:
        return eval_selector(ev, node, grid, false, out);
    case NODE_SUBQUERY:
        break; /* a range vector: only eval_ranges asks for it */
    case NODE_UNARY:
        return eval_unary(ev, node, grid, out);
    case NODE_BINARY:
        return eval_binary(ev, node, grid, out);
    case NODE_AGGREGATE:
        return eval_aggregate(ev, node, grid, out);
    case NODE_CALL:
        return eval_call(ev, node, grid, out);
    }
    return err_set(ev->err, ERR_INTERNAL, "range vector where a value was wanted");
}

bool eval_scalar(struct eval *ev, const struct node *node, const struct grid *grid, double **out)
{
    struct value value;

    if (!eval_node(ev, node, grid, &value))
        return false;
    *out = value.scalar;
    return true;
}

/* ---- results ---- */

static bool eval_init(struct eval *ev, const struct promql_expr *expr,
                      const struct promql_limits *limits, int64_t start, int64_t end)
{
    ev->samples_max = ev->samples_left = limits->max_samples;
    ev->lookback_ms = limits->lookback_ms > 0 ? limits->lookback_ms : PROMQL_LOOKBACK_MS;
    ev->subquery_step_ms =
        limits->subquery_step_ms > 0 ? limits->subquery_step_ms : PROMQL_SUBQUERY_STEP_MS;
    ev->cancelled = limits->cancelled;
    ev->arg = limits->arg;
    ev->start = start;
    ev->end = end;
    ev->text = expr->text;
    if (start < -TIME_MAX_MS || end > TIME_MAX_MS || ev->lookback_ms > TIME_MAX_MS)
        return err_set(ev->err, ERR_INVALID, "time is out of range");
    return true;
}

/* A range vector at one time: the points of its window. */
static bool instant_matrix(struct eval *ev, const struct node *node, const struct grid *grid,
                           struct promql_value *out)
{
    struct ranges ranges;
    struct value names = {.type = PROMQL_VECTOR};

    if (!eval_ranges(ev, node, grid, &ranges))
        return false;
    out->matrix = arena_alloc_array(ev->arena, ranges.n, sizeof(*out->matrix));
    names.rows = arena_alloc_array(ev->arena, ranges.n, sizeof(*names.rows));
    for (size_t r = 0; r < ranges.n; r++) {
        const struct range_row *row = &ranges.rows[r];
        struct row *name = &names.rows[names.n];

        if (row->n == 0)
            continue;
        *name = (struct row){.labels = row->labels, .drop_name = row->drop_name};
        name->v = eval_row(ev, grid);
        if (!name->v)
            return false;
        name->v[0] = (double)r;
        names.n++;
    }
    /* A row's value is its index, so that names are dropped and sorted as for any vector. */
    if (!finish_rows(ev, &names, grid))
        return false;
    value_sort(&names, compare_rows);
    for (size_t i = 0; i < names.n; i++) {
        const struct range_row *row = &ranges.rows[(size_t)names.rows[i].v[0]];

        out->matrix[i] = (struct promql_series){
            .labels = names.rows[i].labels, .points = row->points, .n = row->n};
    }
    out->n = names.n;
    return true;
}

static bool instant_value(struct eval *ev, struct value *value, const struct grid *grid,
                          struct promql_value *out)
{
    if (value->type == PROMQL_SCALAR) {
        out->scalar = value->scalar[0];
        return true;
    }
    if (value->type == PROMQL_STRING) {
        out->string = arena_strdup(ev->arena, value->string);
        return true;
    }
    if (!finish_rows(ev, value, grid))
        return false;
    if (!value->ordered)
        value_sort(value, compare_rows);
    out->n = value->n;
    out->vector = arena_alloc_array(ev->arena, value->n, sizeof(*out->vector));
    for (size_t r = 0; r < value->n; r++)
        out->vector[r] =
            (struct promql_sample){.labels = value->rows[r].labels, .value = value->rows[r].v[0]};
    return true;
}

/* The budget may have been passed by the last allocation. */
static bool finish(struct eval *ev, struct promql_value *out)
{
    out->notes = ev->notes;
    out->note_count = ev->note_count;
    out->samples = ev->samples_max - ev->samples_left;
    return eval_charge(ev, 0);
}

/* lint-ok parameters: what a query is made of, and two places for what comes out */
bool promql_instant(const struct promql_expr *expr, struct reader *reader, int64_t t,
                    const struct promql_limits *limits, struct arena *arena,
                    struct promql_value *out, struct err *err)
{
    struct eval ev = {.reader = reader, .arena = arena, .err = err};
    struct grid grid = {.start = t, .step = 1, .n = 1};
    struct value value;

    *out = (struct promql_value){.type = expr->root->type, .t = t};
    if (!eval_init(&ev, expr, limits, t, t))
        return false;
    if (out->type == PROMQL_MATRIX)
        return instant_matrix(&ev, expr->root, &grid, out) && finish(&ev, out);
    return eval_node(&ev, expr->root, &grid, &value) && instant_value(&ev, &value, &grid, out) &&
           finish(&ev, out);
}

static bool check_range(struct eval *ev, const struct promql_expr *expr, int64_t step)
{
    if (expr->root->type != PROMQL_SCALAR && expr->root->type != PROMQL_VECTOR) {
        return err_set(ev->err, ERR_INVALID,
                       "invalid expression type \"%s\" for range query, must be Scalar or instant "
                       "Vector",
                       expr->root->type == PROMQL_MATRIX ? "range vector" : "string");
    }
    if (step <= 0 || ev->end < ev->start) {
        return err_set(ev->err, ERR_INVALID,
                       "invalid range: start %" PRId64 ", end %" PRId64 ", step %" PRId64,
                       ev->start, ev->end, step);
    }
    if ((ev->end - ev->start) / step > PROMQL_POINTS_MAX) {
        return err_set(ev->err, ERR_LIMIT,
                       "exceeded maximum resolution of 11,000 points per timeseries. Try "
                       "decreasing the query resolution (?step=XX)");
    }
    return true;
}

static bool range_series(struct eval *ev, const struct row *row, const struct grid *grid,
                         struct promql_series *out)
{
    *out = (struct promql_series){.labels = row->labels};
    if (!eval_charge(ev, grid->n))
        return false;
    out->points = arena_alloc_array(ev->arena, grid->n, sizeof(*out->points));
    for (size_t i = 0; i < grid->n; i++)
        if (!is_absent(row->v[i]))
            out->points[out->n++] = (struct point){.t = grid_time(grid, i), .v = row->v[i]};
    return true;
}

/* A scalar is a row without labels. */
static bool rows_of_scalar(struct eval *ev, struct value *value)
{
    if (value->type != PROMQL_SCALAR)
        return true;
    value->rows = eval_array(ev, 1, sizeof(*value->rows));
    if (!value->rows)
        return false;
    value->rows[0].v = value->scalar;
    value->n = 1;
    return true;
}

static bool range_value(struct eval *ev, struct value *value, const struct grid *grid,
                        struct promql_value *out)
{
    if (!rows_of_scalar(ev, value) || !finish_rows(ev, value, grid))
        return false;
    value_sort(value, compare_rows);
    out->matrix = arena_alloc_array(ev->arena, value->n, sizeof(*out->matrix));
    for (; out->n < value->n; out->n++)
        if (!range_series(ev, &value->rows[out->n], grid, &out->matrix[out->n]))
            return false;
    return true;
}

/* lint-ok parameters: as above, with three times */
bool promql_range(const struct promql_expr *expr, struct reader *reader, int64_t start, int64_t end,
                  int64_t step, const struct promql_limits *limits, struct arena *arena,
                  struct promql_value *out, struct err *err)
{
    struct eval ev = {.reader = reader, .arena = arena, .err = err, .step = step};
    struct grid grid = {.start = start, .step = step};
    struct value value;

    *out = (struct promql_value){.type = PROMQL_MATRIX, .t = end};
    if (!eval_init(&ev, expr, limits, start, end) || !check_range(&ev, expr, step))
        return false;
    grid.n = (size_t)((end - start) / step) + 1;
    return eval_node(&ev, expr->root, &grid, &value) && range_value(&ev, &value, &grid, out) &&
           finish(&ev, out);
}
