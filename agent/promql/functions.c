/*
 * functions.c: the table of functions and how the three kinds of them are called.
 *
 * A function is a row: its signature is what the type check reads, its implementation is one of
 * math, map, calendar (sample by sample), range (window by window) or eval (whatever else). A new
 * function is a row and a few lines. Experimental functions are rows without an implementation, so
 * that they are refused by name. Histogram functions that act on native histograms only have
 * nothing to say about floats and return nothing, as in Prometheus.
 */
#include "promql_private.h"

#include "pgvigil/base/clock.h"
#include "pgvigil/base/str.h"

/* ---- sample by sample ---- */

/* Go's Min and Max: NaN wins. */
static double go_max(double a, double b)
{
    if (isnan(a) || isnan(b))
        return NAN;
    return a > b ? a : b;
}

static double go_min(double a, double b)
{
    if (isnan(a) || isnan(b))
        return NAN;
    return a < b ? a : b;
}

static double map_clamp(double v, const double *args)
{
    return args[0] > args[1] ? absent() : go_max(args[0], go_min(args[1], v));
}

static double map_clamp_min(double v, const double *args)
{
    return go_max(args[0], v);
}

static double map_clamp_max(double v, const double *args)
{
    return go_min(args[0], v);
}

/* Through the inverse, so that round(x, 0.1) meets the nearest decimal. */
static double map_round(double v, const double *args)
{
    double inverse = 1 / args[0];

    return floor(v * inverse + 0.5) / inverse;
}

static double sign_of(double v)
{
    if (isnan(v))
        return v;
    return v > 0 ? 1 : v < 0 ? -1 : v;
}

static double to_degrees(double v)
{
    return v * 180 / M_PI;
}

static double to_radians(double v)
{
    return v * M_PI / 180;
}

/* Seconds outside of what a calendar holds are taken as its edge. */
static struct utc_time utc_of(double v)
{
    const double edge = 1e14;

    if (isnan(v))
        return clock_utc(0);
    return clock_utc((int64_t)(v > edge ? edge : v < -edge ? -edge : v));
}

static double days_in_month(const struct utc_time *t)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = t->year % 4 == 0 && (t->year % 100 != 0 || t->year % 400 == 0);

    return days[t->month - 1] + (t->month == 2 && leap);
}

static double day_of_month(const struct utc_time *t)
{
    return t->day;
}

static double day_of_week(const struct utc_time *t)
{
    return t->weekday;
}

static double day_of_year(const struct utc_time *t)
{
    return t->yearday;
}

static double hour(const struct utc_time *t)
{
    return t->hour;
}

static double minute(const struct utc_time *t)
{
    return t->minute;
}

static double month(const struct utc_time *t)
{
    return t->month;
}

static double year(const struct utc_time *t)
{
    return (double)t->year;
}

static double utc_part(double v, const struct function *fn)
{
    struct utc_time t = utc_of(v);

    return isnan(v) ? v : fn->calendar(&t);
}

/* ---- whatever else ---- */

static bool fn_time(struct eval *ev, const struct node *node, const struct grid *grid,
                    struct value *out)
{
    (void)node;
    out->type = PROMQL_SCALAR;
    out->scalar = eval_row(ev, grid);
    if (!out->scalar)
        return false;
    for (size_t i = 0; i < grid->n; i++)
        out->scalar[i] = (double)grid_time(grid, i) / 1000;
    return true;
}

static bool fn_pi(struct eval *ev, const struct node *node, const struct grid *grid,
                  struct value *out)
{
    (void)node;
    out->type = PROMQL_SCALAR;
    out->scalar = eval_row(ev, grid);
    for (size_t i = 0; out->scalar && i < grid->n; i++)
        out->scalar[i] = M_PI;
    return out->scalar != NULL;
}

/* One row without labels that holds the scalar. */
static bool vector_of(struct eval *ev, double *scalar, struct value *out)
{
    *out = (struct value){.type = PROMQL_VECTOR, .n = 1};
    out->rows = eval_array(ev, 1, sizeof(*out->rows));
    if (!out->rows)
        return false;
    out->rows[0].v = scalar;
    return true;
}

static bool fn_vector(struct eval *ev, const struct node *node, const struct grid *grid,
                      struct value *out)
{
    double *scalar;

    return eval_scalar(ev, node->call.args[0], grid, &scalar) && vector_of(ev, scalar, out);
}

static bool fn_scalar(struct eval *ev, const struct node *node, const struct grid *grid,
                      struct value *out)
{
    struct value in;
    double *scalar;

    if (!eval_node(ev, node->call.args[0], grid, &in))
        return false;
    scalar = eval_row(ev, grid);
    for (size_t i = 0; scalar && i < grid->n; i++) {
        size_t n = 0;

        for (size_t r = 0; r < in.n && n < 2; r++) {
            if (is_absent(in.rows[r].v[i]))
                continue;
            scalar[i] = in.rows[r].v[i];
            n++;
        }
        if (n != 1)
            scalar[i] = NAN;
    }
    *out = (struct value){.type = PROMQL_SCALAR, .scalar = scalar};
    return scalar != NULL;
}

/* Of a plain selector: when the sample was taken; of anything else: the step. */
static bool fn_timestamp(struct eval *ev, const struct node *node, const struct grid *grid,
                         struct value *out)
{
    const struct node *arg = node->call.args[0];
    bool plain = arg->kind == NODE_SELECTOR;

    if (plain ? !eval_selector(ev, arg, grid, true, out) : !eval_node(ev, arg, grid, out))
        return false;
    for (size_t r = 0; r < out->n; r++) {
        out->rows[r].drop_name = true;
        for (size_t i = 0; !plain && i < grid->n; i++)
            if (!is_absent(out->rows[r].v[i]))
                out->rows[r].v[i] = (double)grid_time(grid, i) / 1000;
    }
    out->ordered = false;
    return true;
}

static int compare_up(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    double u = x->v[0], v = y->v[0];

    if (isnan(u) || isnan(v))
        return (isnan(u) != 0) - (isnan(v) != 0);
    return u != v ? (u > v) - (u < v) : labels_compare(&x->labels, &y->labels);
}

/* NaN is last here too. */
static int compare_down(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    double u = x->v[0], v = y->v[0];

    return isnan(u) || isnan(v) || u == v ? compare_up(a, b) : -compare_up(a, b);
}

static bool sort_rows(struct eval *ev, const struct node *node, const struct grid *grid,
                      int (*compare)(const void *a, const void *b), struct value *out)
{
    if (!eval_node(ev, node->call.args[0], grid, out))
        return false;
    if (ev->step > 0) {
        /* A range result is sorted by labels. */
        eval_note(ev, true, node->pos,
                  "sort is ineffective for range queries since results are always ordered by "
                  "labels");
        return true;
    }
    if (grid->n != 1)
        return true; /* in a subquery */
    value_prune(out, grid);
    value_sort(out, compare);
    out->ordered = true;
    return true;
}

static bool fn_sort(struct eval *ev, const struct node *node, const struct grid *grid,
                    struct value *out)
{
    return sort_rows(ev, node, grid, compare_up, out);
}

static bool fn_sort_desc(struct eval *ev, const struct node *node, const struct grid *grid,
                         struct value *out)
{
    return sort_rows(ev, node, grid, compare_down, out);
}

static bool fn_nothing(struct eval *ev, const struct node *node, const struct grid *grid,
                       struct value *out)
{
    struct value in;

    *out = (struct value){.type = PROMQL_VECTOR};
    return eval_node(ev, node->call.args[node->call.n - 1], grid, &in);
}

/* ---- absent ---- */

static bool named_once(const struct node *selector, const char *name)
{
    size_t n = 0;

    for (size_t i = 0; i < selector->selector.matcher_count; i++)
        n += str_eq(selector->selector.matchers[i].name, name);
    return n == 1;
}

/* What the missing series would have been called: the equal-matchers, but not the name. */
static struct labels absent_labels(struct eval *ev, const struct node *arg)
{
    struct label *pairs;
    size_t n = 0;

    if (arg->kind != NODE_SELECTOR)
        return (struct labels){.n = 0};
    pairs = arena_alloc_array(ev->arena, arg->selector.matcher_count, sizeof(*pairs));
    for (size_t i = 0; i < arg->selector.matcher_count; i++) {
        const struct matcher *m = &arg->selector.matchers[i];

        if (m->op == MATCH_EQ && !str_eq(m->name, LABEL_METRIC) && named_once(arg, m->name))
            pairs[n++] = (struct label){.name = arena_strdup(ev->arena, m->name),
                                        .value = arena_strdup(ev->arena, m->value)};
    }
    return (struct labels){.n = labels_sort(pairs, n), .v = pairs};
}

/* 1 at the steps where none of the rows has a value. */
static bool absent_of(struct eval *ev, const struct node *arg, const struct grid *grid,
                      const struct value *in, struct value *out)
{
    double *v = eval_row(ev, grid);

    for (size_t i = 0; v && i < grid->n; i++) {
        size_t r = 0;

        while (r < in->n && is_absent(in->rows[r].v[i]))
            r++;
        if (r == in->n)
            v[i] = 1;
    }
    if (!v || !vector_of(ev, v, out))
        return false;
    out->rows[0].labels = absent_labels(ev, arg);
    return true;
}

static bool fn_absent(struct eval *ev, const struct node *node, const struct grid *grid,
                      struct value *out)
{
    struct value in;

    return eval_node(ev, node->call.args[0], grid, &in) &&
           absent_of(ev, node->call.args[0], grid, &in, out);
}

static bool fn_absent_over_time(struct eval *ev, const struct node *node, const struct grid *grid,
                                struct value *out)
{
    struct value in;

    return eval_windows(ev, node, grid, range_present, &in) &&
           absent_of(ev, node->call.args[0], grid, &in, out);
}

/* ---- the table ---- */

#define S PROMQL_SCALAR
#define V PROMQL_VECTOR
#define M PROMQL_MATRIX
#define T PROMQL_STRING

static const struct function functions[] = {
    {"abs", V, true, 1, 0, {V}, .math = fabs},
    {"absent", V, true, 1, 0, {V}, .eval = fn_absent},
    {"absent_over_time", V, true, 1, 0, {M}, .eval = fn_absent_over_time},
    {"acos", V, true, 1, 0, {V}, .math = acos},
    {"acosh", V, true, 1, 0, {V}, .math = acosh},
    {"asin", V, true, 1, 0, {V}, .math = asin},
    {"asinh", V, true, 1, 0, {V}, .math = asinh},
    {"atan", V, true, 1, 0, {V}, .math = atan},
    {"atanh", V, true, 1, 0, {V}, .math = atanh},
    {"avg_over_time", V, true, 1, 0, {M}, .range = range_avg},
    {"ceil", V, true, 1, 0, {V}, .math = ceil},
    {"changes", V, true, 1, 0, {M}, .range = range_changes},
    {"clamp", V, true, 3, 0, {V, S, S}, .map = map_clamp},
    {"clamp_max", V, true, 2, 0, {V, S}, .map = map_clamp_max},
    {"clamp_min", V, true, 2, 0, {V, S}, .map = map_clamp_min},
    {"cos", V, true, 1, 0, {V}, .math = cos},
    {"cosh", V, true, 1, 0, {V}, .math = cosh},
    {"count_over_time", V, true, 1, 0, {M}, .range = range_count},
    {"day_of_month", V, true, 0, 1, {V}, .calendar = day_of_month},
    {"day_of_week", V, true, 0, 1, {V}, .calendar = day_of_week},
    {"day_of_year", V, true, 0, 1, {V}, .calendar = day_of_year},
    {"days_in_month", V, true, 0, 1, {V}, .calendar = days_in_month},
    {"deg", V, true, 1, 0, {V}, .math = to_degrees},
    {"delta", V, true, 1, 0, {M}, .range = range_delta},
    {"deriv", V, true, 1, 0, {M}, .range = range_deriv},
    {"double_exponential_smoothing", V, true, 3, 0, {M, S, S}, .is_experimental = true},
    {"end", S, true, 0, 0, {S}, .is_experimental = true},
    {"exp", V, true, 1, 0, {V}, .math = exp},
    {"first_over_time", V, false, 1, 0, {M}, .range = range_first},
    {"floor", V, true, 1, 0, {V}, .math = floor},
    {"histogram_avg", V, true, 1, 0, {V}, .eval = fn_nothing},
    {"histogram_count", V, true, 1, 0, {V}, .eval = fn_nothing},
    {"histogram_fraction", V, true, 3, 0, {S, S, V}, .eval = fn_histogram_fraction},
    {"histogram_quantile", V, true, 2, 0, {S, V}, .eval = fn_histogram_quantile},
    {"histogram_quantiles", V, true, 3, FN_ANY_NUMBER, {V, T, S, S}, .is_experimental = true},
    {"histogram_stddev", V, true, 1, 0, {V}, .eval = fn_nothing},
    {"histogram_stdvar", V, true, 1, 0, {V}, .eval = fn_nothing},
    {"histogram_sum", V, true, 1, 0, {V}, .eval = fn_nothing},
    {"hour", V, true, 0, 1, {V}, .calendar = hour},
    {"idelta", V, true, 1, 0, {M}, .range = range_idelta},
    {"increase", V, true, 1, 0, {M}, .range = range_increase},
    {"info", V, true, 1, 1, {V, V}, .is_experimental = true},
    {"irate", V, true, 1, 0, {M}, .range = range_irate},
    {"label_join", V, false, 3, FN_ANY_NUMBER, {V, T, T, T}, .eval = fn_label_join},
    {"label_replace", V, false, 5, 0, {V, T, T, T, T}, .eval = fn_label_replace},
    {"last_over_time", V, false, 1, 0, {M}, .range = range_last},
    {"ln", V, true, 1, 0, {V}, .math = log},
    {"log10", V, true, 1, 0, {V}, .math = log10},
    {"log2", V, true, 1, 0, {V}, .math = log2},
    {"mad_over_time", V, true, 1, 0, {M}, .is_experimental = true},
    {"max_of", S, true, 2, 0, {S, S}, .is_experimental = true},
    {"max_over_time", V, true, 1, 0, {M}, .range = range_max},
    {"min_of", S, true, 2, 0, {S, S}, .is_experimental = true},
    {"min_over_time", V, true, 1, 0, {M}, .range = range_min},
    {"minute", V, true, 0, 1, {V}, .calendar = minute},
    {"month", V, true, 0, 1, {V}, .calendar = month},
    {"pi", S, true, 0, 0, {S}, .eval = fn_pi},
    {"predict_linear", V, true, 2, 0, {M, S}, .range = range_predict_linear},
    {"present_over_time", V, true, 1, 0, {M}, .range = range_present},
    {"quantile_over_time", V, true, 2, 0, {S, M}, .range = range_quantile},
    {"rad", V, true, 1, 0, {V}, .math = to_radians},
    {"range", S, true, 0, 0, {S}, .is_experimental = true},
    {"rate", V, true, 1, 0, {M}, .range = range_rate},
    {"resets", V, true, 1, 0, {M}, .range = range_resets},
    {"round", V, true, 1, 1, {V, S}, .map = map_round},
    {"scalar", S, true, 1, 0, {V}, .eval = fn_scalar},
    {"sgn", V, true, 1, 0, {V}, .math = sign_of},
    {"sin", V, true, 1, 0, {V}, .math = sin},
    {"sinh", V, true, 1, 0, {V}, .math = sinh},
    {"sort", V, false, 1, 0, {V}, .eval = fn_sort},
    {"sort_by_label", V, true, 2, FN_ANY_NUMBER, {V, T, T}, .is_experimental = true},
    {"sort_by_label_desc", V, true, 2, FN_ANY_NUMBER, {V, T, T}, .is_experimental = true},
    {"sort_desc", V, false, 1, 0, {V}, .eval = fn_sort_desc},
    {"sqrt", V, true, 1, 0, {V}, .math = sqrt},
    {"start", S, true, 0, 0, {S}, .is_experimental = true},
    {"start_timestamp", V, true, 1, 0, {V}, .is_experimental = true},
    {"stddev_over_time", V, true, 1, 0, {M}, .range = range_stddev},
    {"stdvar_over_time", V, true, 1, 0, {M}, .range = range_stdvar},
    {"step", S, true, 0, 0, {S}, .is_experimental = true},
    {"sum_over_time", V, true, 1, 0, {M}, .range = range_sum},
    {"tan", V, true, 1, 0, {V}, .math = tan},
    {"tanh", V, true, 1, 0, {V}, .math = tanh},
    {"time", S, true, 0, 0, {S}, .eval = fn_time},
    {"timestamp", V, true, 1, 0, {V}, .eval = fn_timestamp},
    {"ts_of_first_over_time", V, true, 1, 0, {M}, .is_experimental = true},
    {"ts_of_last_over_time", V, true, 1, 0, {M}, .is_experimental = true},
    {"ts_of_max_over_time", V, true, 1, 0, {M}, .is_experimental = true},
    {"ts_of_min_over_time", V, true, 1, 0, {M}, .is_experimental = true},
    {"vector", V, true, 1, 0, {S}, .eval = fn_vector},
    {"year", V, true, 0, 1, {V}, .calendar = year},
};

const struct function *function_find(const char *name)
{
    size_t low = 0, high = ARRAY_LEN(functions);

    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = strcmp(functions[mid].name, name);

        if (order == 0)
            return &functions[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* ---- calls ---- */

/* The vector argument, or vector(time()) where a function may be called without one. */
static bool eval_vector_arg(struct eval *ev, const struct node *node, const struct grid *grid,
                            struct value *out)
{
    struct value now = {.type = PROMQL_SCALAR};

    if (node->call.n > 0)
        return eval_node(ev, node->call.args[0], grid, out);
    return fn_time(ev, node, grid, &now) && vector_of(ev, now.scalar, out);
}

static double map_value(const struct function *fn, double v, const double *args)
{
    if (fn->math)
        return fn->math(v);
    return fn->map ? fn->map(v, args) : utc_part(v, fn);
}

static bool call_map(struct eval *ev, const struct node *node, const struct grid *grid,
                     struct value *out)
{
    double args[FN_ARGS_MAX];
    struct scalar_args rows = {.n = 0};

    if (!scalar_args(ev, node, grid, &rows) || !eval_vector_arg(ev, node, grid, out))
        return false;
    for (size_t r = 0; r < out->n; r++) {
        double *v = out->rows[r].v;

        out->rows[r].drop_name = out->rows[r].drop_name || node->call.fn->drops_name;
        for (size_t i = 0; i < grid->n; i++) {
            scalar_args_at(&rows, i, args);
            if (!is_absent(v[i]))
                v[i] = map_value(node->call.fn, v[i], args);
        }
    }
    out->ordered = false;
    return true;
}

bool eval_call(struct eval *ev, const struct node *node, const struct grid *grid, struct value *out)
{
    const struct function *fn = node->call.fn;

    *out = (struct value){.type = fn->result};
    if (fn->math || fn->map || fn->calendar)
        return call_map(ev, node, grid, out);
    if (fn->range)
        return eval_windows(ev, node, grid, fn->range, out);
    return fn->eval(ev, node, grid, out);
}
