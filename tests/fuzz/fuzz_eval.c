/*
 * Any expression over samples that are as bad as they get: NaN, infinities, stale markers, gaps,
 * sub-millisecond neighbours, series that are one without their names, broken histograms.
 *
 * The engine evaluates all steps of a range at once, over windows that slide. So each step of a
 * range must be what an instant query at its time gives. A query that is cut short, by its
 * deadline, its budget or its reader, ends in an error and at once.
 */
#include <math.h>

#include "promql_check.h"

#define SAMPLES_MAX 50000
#define FEW_SAMPLES 40
#define ARENA_MAX   ((size_t)32 << 20)
#define STEP_MS     45000
#define STEPS       12
#define LOAD_MS     15000

static const char load[] =
    "m{a=\"x\",b=\"1\"} 0+1x30 stale _x5 5 3 3 stale stale 0x10 7\n"
    "m{a=\"y\",b=\"2\"} 5 4 3 2 1 NaN Inf -Inf 1e300 -1e300 1e308x5 NaNx3 2x10 -0 0 5e-324\n"
    "m{a=\"z\",b=\"3\"} NaN\n"
    "m{a=\"only\",b=\"Inf\"} _x9 Inf _x20 -Inf\n"
    "m{a=\"end\"} 1x20 stale\n"
    "n{a=\"x\",b=\"1\"} _x3 1x30 _x20 1\n"
    "n{a=\"y\",b=\"2\"} 2 _ 2 _ 2 _ 2 _ 2\n"
    "n_total{a=\"x\",b=\"1\"} 0+5x10 0+5x10 3 2 1 0 NaN 1 2 3\n"
    "n_total{__type__=\"counter\",__unit__=\"seconds\",a=\"t\"} 0+7x40\n"
    "n_total{__type__=\"gauge\",a=\"t\"} 0+7x40\n"
    "{a=\"nameless\"} 1 2 3x30\n"
    "h_bucket{le=\"0.1\"} 0+1x40\n"
    "h_bucket{le=\"1\"} 0+3x40\n"
    "h_bucket{le=\"1.0\"} 0+3x40\n"
    "h_bucket{le=\"+Inf\"} 0+4x40\n"
    "h_bucket{h=\"falls\",le=\"-1\"} 9x40\n"
    "h_bucket{h=\"falls\",le=\"0\"} 4x40\n"
    "h_bucket{h=\"falls\",le=\"5\"} 3x20 NaN -5 Inf -Inf\n"
    "h_bucket{h=\"falls\",le=\"Inf\"} 2x40\n"
    "h_bucket{h=\"open\",le=\"1\"} 1x40\n"
    "h_bucket{h=\"open\",le=\"2\"} 2x40\n"
    "h_bucket{h=\"odd\",le=\"NaN\"} 2x40\n"
    "h_bucket{h=\"odd\",le=\"-Inf\"} 0x40\n"
    "h_bucket{h=\"odd\",le=\"word\"} 2x40\n"
    "h_bucket{h=\"odd\",le=\"0x1\"} 2x40\n"
    "h_bucket{h=\"odd\",le=\"+Inf\"} 0 NaN Inf -Inf 1x20\n"
    "h_bucket{h=\"none\",le=\"+Inf\"} 0x40\n"
    "h_bucket{h=\"none\"} 1x40\n"
    "h_sum 0+2x40\n"
    "h_count 0+4x40\n"
    "t 0 86400 -1 951782400 1e18 -1e18 253402300799 4102444800 NaN Inf 1709164800\n";

/* ---- readers ---- */

/* Gives up at one of the selects. */
struct failing_reader {
    struct reader reader, *inner;
    size_t good;
};

static bool select_or_fail(struct reader *reader, const struct read_request *req,
                           struct arena *arena, struct read_result *out, struct err *err)
{
    struct failing_reader *f = reader->impl;

    require(req->t_min <= req->t_max && req->matcher_count > 0);
    if (f->good == 0)
        return err_set(err, ERR_IO, "disk I/O error");
    f->good--;
    return f->inner->select(f->inner, req, arena, out, err);
}

/* Points a millisecond apart, and before 1970. */
static void add_close_points(struct mem_reader *mr)
{
    struct labels labels;
    struct mem_series *series;

    mem_labels(mr->arena, "close{a=\"x\",b=\"1\"}", &labels);
    series = mem_find(mr, &labels);
    series->labels = labels;
    mem_add(mr, series, -60000, 1);
    for (int64_t i = 0; i < 5; i++)
        mem_add(mr, series, 90000 + i, (double)i);
    mem_add(mr, series, 150000, 1e17);
    mem_add(mr, series, 150001, 1);
    mem_add(mr, series, 150002, -1e17);
}

/* ---- one query ---- */

struct query {
    const struct promql_expr *expr;
    struct reader *reader;
    struct promql_limits limits;
    struct arena *arena;
};

static bool ask_instant(struct query *q, int64_t t, struct promql_value *out, struct err *err)
{
    bool ok;

    *err = (struct err){0};
    ok = promql_instant(q->expr, q->reader, t, &q->limits, q->arena, out, err);
    if (ok)
        check_value(out, false);
    else
        check_error(err);
    require(arena_used(q->arena) < 4 * ARENA_MAX && (!ok || !arena_exceeded(q->arena)));
    return ok;
}

static bool ask_range(struct query *q, int64_t start, struct promql_value *out, struct err *err)
{
    int64_t end = start + (int64_t)STEP_MS * (STEPS - 1);
    bool ok;

    *err = (struct err){0};
    ok = promql_range(q->expr, q->reader, start, end, STEP_MS, &q->limits, q->arena, out, err);
    if (ok)
        check_value(out, true);
    else
        check_error(err);
    require(arena_used(q->arena) < 4 * ARENA_MAX && (!ok || !arena_exceeded(q->arena)));
    return ok;
}

/* ---- steps of a range against instants ---- */

static const double *find_point(const struct promql_value *range, const struct labels *labels,
                                int64_t t)
{
    for (size_t i = 0; i < range->n; i++) {
        if (!labels_equal(&range->matrix[i].labels, labels))
            continue;
        for (size_t k = 0; k < range->matrix[i].n; k++)
            if (range->matrix[i].points[k].t == t)
                return &range->matrix[i].points[k].v;
    }
    return NULL;
}

static bool same_value(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static size_t points_at(const struct promql_value *range, int64_t t)
{
    size_t n = 0;

    for (size_t i = 0; i < range->n; i++)
        for (size_t k = 0; k < range->matrix[i].n; k++)
            n += range->matrix[i].points[k].t == t;
    return n;
}

static void compare_step(const struct promql_value *range, const struct promql_value *instant)
{
    const struct labels none = {0};
    const double *v;

    if (instant->type == PROMQL_SCALAR) {
        v = find_point(range, &none, instant->t);
        require(v && same_value(*v, instant->scalar));
        return;
    }
    require(points_at(range, instant->t) == instant->n);
    for (size_t i = 0; i < instant->n; i++) {
        v = find_point(range, &instant->vector[i].labels, instant->t);
        require(v && same_value(*v, instant->vector[i].value));
    }
}

/*
 * Names of the range itself mean something else in an instant query. Sums that slide may differ in
 * their last digit from the window by itself, and that may decide a comparison around them; unit
 * tests look at them with a tolerance.
 */
static bool may_differ(const char *text)
{
    static const char *const words[] = {
        "start",         "end",           "step",          "range",
        "sum_over_time", "avg_over_time", "dev_over_time", "stdvar_over_time",
        "deriv",         "predict_linear"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcasestr(text, words[i]))
            return true;
    return false;
}

static void compare_steps(struct query *q, int64_t start)
{
    struct promql_value range, instant;
    struct err err;

    arena_reset(q->arena);
    if (!ask_range(q, start, &range, &err))
        return;
    for (int64_t i = 0; i < STEPS; i++) {
        /* What all steps could afford, each of them can; the arena is the sum of all. */
        if (!ask_instant(q, start + i * STEP_MS, &instant, &err)) {
            require(err.kind == ERR_LIMIT);
            return;
        }
        compare_step(&range, &instant);
    }
}

/* ---- cut short ---- */

static bool count_down(void *arg)
{
    size_t *left = arg;

    if (*left == 0)
        return true;
    --*left;
    return false;
}

static void cut_short(const struct query *whole, size_t after)
{
    struct failing_reader failing = {.inner = whole->reader, .good = after};
    struct query q = *whole;
    struct promql_value value;
    struct err err;
    size_t left = after;

    failing.reader = (struct reader){.select = select_or_fail, .impl = &failing};
    q.reader = &failing.reader;
    arena_reset(q.arena);
    (void)ask_range(&q, 0, &value, &err);
    q.reader = whole->reader;
    q.limits.cancelled = count_down;
    q.limits.arg = &left;
    arena_reset(q.arena);
    if (!ask_range(&q, 0, &value, &err) && left == 0)
        require(err.kind != ERR_INTERNAL);
    q.limits = (struct promql_limits){.max_samples = FEW_SAMPLES << after};
    arena_reset(q.arena);
    (void)ask_range(&q, 0, &value, &err);
}

static void evaluate(struct query *q, const char *text)
{
    struct promql_value value;
    struct err err;

    arena_reset(q->arena);
    (void)ask_instant(q, 300000, &value, &err);
    arena_reset(q->arena);
    (void)ask_instant(q, -5000, &value, &err);
    if (may_differ(text)) {
        arena_reset(q->arena);
        (void)ask_range(q, 0, &value, &err);
    } else {
        compare_steps(q, 7000);
        q->limits.lookback_ms = 1;
        compare_steps(q, 0);
        q->limits.lookback_ms = 0;
    }
    for (size_t after = 0; after < 3; after++)
        cut_short(q, after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct promql_error err = {0};
    char *text = mem_alloc(size + 1);
    struct promql_expr *expr;
    struct mem_reader mr;
    struct query q = {.limits = {.max_samples = SAMPLES_MAX}};

    memcpy(text, data, size);
    expr = promql_parse(text, &err);
    if (expr) {
        mem_reader_init(&mr);
        mem_reader_load(&mr, LOAD_MS, load);
        add_close_points(&mr);
        q.expr = expr;
        q.reader = &mr.reader;
        q.arena = arena_create(0, ARENA_MAX);
        evaluate(&q, text);
        arena_destroy(&q.arena);
        mem_reader_deinit(&mr);
        promql_destroy(&expr);
    }
    mem_free(text);
    return 0;
}
