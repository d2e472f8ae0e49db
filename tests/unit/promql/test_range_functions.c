/*
 * Functions over windows that slide against the same functions over each window by itself: a range
 * query and its instant queries, over random series with everything that floats can be.
 */
#include <float.h>
#include <math.h>

#include "promql/promql_check.h"

#define SERIES_POINTS 260
#define ROUNDS        60
#define STEPS         120

enum kind {
    KIND_NOISE,
    KIND_COUNTER,
    KIND_CONSTANT,
    KIND_STEPS,  /* few values, often equal, and zeros of both signs */
    KIND_OFFSET, /* a little beside a lot */
    KIND_SIZES,  /* from the smallest to where sums overflow */
    KIND_WILD,   /* with NaN, Inf and stale markers */
    KIND_COUNT
};

static uint64_t dice_state;

static uint64_t dice(uint64_t n)
{
    dice_state = dice_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (dice_state >> 33) % n;
}

static double real(void)
{
    return (double)dice(UINT64_C(1) << 31) / (double)(UINT64_C(1) << 30) - 1;
}

static double wild_value(void)
{
    const double values[] = {NAN, INFINITY, -INFINITY, 1.7e308, -1.7e308, point_stale_value()};

    return dice(12) == 0 ? values[dice(6)] : real();
}

static double value_of(enum kind kind, double before)
{
    static const double steps[] = {0, -0.0, 1, 0, -1};

    switch (kind) {
    case KIND_NOISE:
        return 100 * real();
    case KIND_COUNTER:
        return dice(30) == 0 ? 0 : before + (double)dice(20);
    case KIND_CONSTANT:
        return 0.1;
    case KIND_STEPS:
        return dice(4) == 0 ? steps[dice(5)] : before;
    case KIND_OFFSET:
        return 1e9 + real();
    case KIND_SIZES:
        return ldexp(real(), (int)dice(2100) - 1074);
    case KIND_WILD:
        return wild_value();
    case KIND_COUNT:
        break;
    }
    return 0;
}

static void make_series(struct mem_reader *mr, enum kind kind)
{
    struct label *name = arena_alloc(mr->arena, sizeof(*name));
    struct mem_series s = {.n = 0};
    int64_t t = 0;
    double v = 0;

    *name = (struct label){LABEL_METRIC, "m"};
    s.labels = (struct labels){1, name};
    for (size_t i = 0; i < SERIES_POINTS; i++) {
        v = value_of(kind, v);
        t += dice(40) == 0 ? (int64_t)dice(200000) : 500 + (int64_t)dice(2) * (int64_t)dice(1000);
        mem_add(mr, &s, t + 1, v);
    }
    *mem_find(mr, &s.labels) = s;
}

/* ---- comparing ---- */

/* How far a function may be from its plain form: relative, and relative to the largest value. */
struct case_of {
    const char *expr; /* %d: the range in ms */
    double relative, absolute;
};

static const struct case_of exact[] = {
    {"min_over_time(m[%dms])", 0, 0},
    {"max_over_time(m[%dms])", 0, 0},
    {"quantile_over_time(0.9, m[%dms])", 0, 0},
    {"quantile_over_time(0, m[%dms])", 0, 0},
    {"quantile_over_time(time() / 100 - 0.1, m[%dms])", 0, 0},
    {"changes(m[%dms])", 0, 0},
    {"resets(m[%dms])", 0, 0},
    {"count_over_time(m[%dms])", 0, 0},
    {"first_over_time(m[%dms])", 0, 0},
    {"last_over_time(m[%dms])", 0, 0},
    {"present_over_time(m[%dms])", 0, 0},
    {"absent_over_time(m[%dms])", 0, 0},
    {"delta(m[%dms])", 0, 0},
    {"rate(m[%dms])", 0, 0},
    {"increase(m[%dms])", 0, 0},
    {"irate(m[%dms])", 0, 0},
    {"idelta(m[%dms])", 0, 0},
    {"max_over_time(m[%dms] @ 50)", 0, 0},
    {"min_over_time(m[%dms] offset 7s)", 0, 0},
    {"max_over_time((m + 1)[%dms:1s])", 0, 0},
};

/*
 * Two compensated sums differ by the last digit, and by n * n * eps * eps of the largest value.
 * Deviations are taken from a mean that is rounded to a digit of the values. For
 * a line both forms lose digits where its slope is small beside its values; the plain one more, for
 * it counts times from far away.
 */
static const struct case_of adding[] = {
    {"sum_over_time(m[%dms])", 2 * DBL_EPSILON, 1e-26},
    {"avg_over_time(m[%dms])", 3 * DBL_EPSILON, 1e-26},
    {"sqrt(stdvar_over_time(m[%dms]))", 1e-13, DBL_EPSILON},
    {"stddev_over_time(m[%dms])", 1e-13, DBL_EPSILON},
    {"deriv(m[%dms])", 1e-12, 1e-13},
    {"predict_linear(m[%dms], 60)", 1e-9, 1e-11},
    {"sum_over_time((m + 0)[%dms:700ms])", 2 * DBL_EPSILON, 1e-26},
};

static uint64_t bits_of(double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

static double largest_of(const struct mem_reader *mr)
{
    double most = 0;

    for (size_t i = 0; i < mr->series[0].n; i++)
        if (isfinite(mr->series[0].points[i].v))
            most = fmax(most, fabs(mr->series[0].points[i].v));
    return most;
}

static bool is_same(const struct case_of *c, double largest, double a, double b)
{
    if (isnan(a) && isnan(b))
        return true;
    if (bits_of(a) == bits_of(b) || c->relative == 0)
        return bits_of(a) == bits_of(b); /* so the zeros have their signs */
    return fabs(a - b) <= c->relative * fabs(a) + c->absolute * largest;
}

struct runs {
    struct mem_reader *mr;
    struct promql_expr *expr;
    struct arena *arena;
};

static struct promql_value run(struct runs *r, int64_t start, int64_t end, int64_t step)
{
    const struct promql_limits limits = PROMQL_LIMITS_RULES;
    struct promql_value value;
    struct err err = {0};
    bool ok = step > 0
                  ? promql_range(r->expr, &r->mr->reader, start, end, step, &limits, r->arena,
                                 &value, &err)
                  : promql_instant(r->expr, &r->mr->reader, start, &limits, r->arena, &value, &err);

    if (!ok)
        fail_msg("%s", err.text);
    return value;
}

static void compare(struct mem_reader *mr, const struct case_of *c, const char *text, int64_t step)
{
    struct promql_error perr;
    struct runs r = {mr, promql_parse(text, &perr), arena_create(0, ARENA_NO_LIMIT)};
    double largest = largest_of(mr);
    struct promql_value all, one;
    size_t at = 0;

    if (!r.expr)
        fail_msg("%s: %s", text, perr.text);
    all = run(&r, 1000, 1000 + STEPS * step, step);
    for (int64_t t = 1000; t <= 1000 + STEPS * step; t += step) {
        const struct point *p =
            all.n > 0 && at < all.matrix[0].n ? &all.matrix[0].points[at] : NULL;

        one = run(&r, t, t, 0);
        if ((one.n > 0) != (p && p->t == t))
            fail_msg("%s at %ld: there is a value only in one of the two", text, (long)t);
        if (one.n == 0)
            continue;
        at++;
        if (!is_same(c, largest, one.vector[0].value, p->v))
            fail_msg("%s step %ld at %ld: %.17g by itself, %.17g by sliding (largest %g)", text,
                     (long)step, (long)t, one.vector[0].value, p->v, largest);
    }
    promql_destroy(&r.expr);
    arena_destroy(&r.arena);
}

static void each_kind(const struct case_of *cases, size_t n, enum kind kind)
{
    for (int round = 0; round < ROUNDS; round++) {
        const struct case_of *c = &cases[(size_t)round % n];
        struct mem_reader mr;
        char text[128];
        int range = 1 + (int)dice(60000);
        /* From windows that hardly differ to such that do not touch. */
        int64_t step = dice(3) > 0 ? 1 + (int64_t)dice((uint64_t)range / 8 + 2)
                                   : 1 + (int64_t)dice((uint64_t)range * 2);

        dice_state += (uint64_t)round;
        mem_reader_init(&mr);
        make_series(&mr, kind);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(text, sizeof(text), c->expr, range);
#pragma GCC diagnostic pop
        compare(&mr, c, text, step);
        mem_reader_deinit(&mr);
    }
}

static void test_same_values(void **state)
{
    (void)state;
    dice_state = 1;
    for (enum kind kind = 0; kind < KIND_COUNT; kind++)
        each_kind(exact, ARRAY_LEN(exact), kind);
}

static void test_same_sums(void **state)
{
    (void)state;
    dice_state = 2;
    for (enum kind kind = 0; kind < KIND_COUNT; kind++)
        each_kind(adding, ARRAY_LEN(adding), kind);
}

/* ---- what has left a window leaves nothing behind ---- */

static void test_windows_forget(void **state)
{
    static const char load[] = "m{i=\"a\"} 1x20 Inf 1x20 -Inf Inf 1x20\n"
                               "m{i=\"b\"} 1x20 1e308x3 1x40\n"
                               "m{i=\"c\"} 1x20 1e17 1x40\n"
                               "m{i=\"d\"} 1x20 NaN 1x40\n";
    static const char *const exprs[] = {"sum_over_time(m[100s])", "avg_over_time(m[100s]) * 10",
                                        "max_over_time(m[100s]) * 10",
                                        "stddev_over_time(m[100s]) + 10", "deriv(m[100s]) + 10"};
    struct mem_reader mr;

    (void)state;
    mem_reader_init(&mr);
    mem_reader_load(&mr, 10000, load);
    for (size_t i = 0; i < ARRAY_LEN(exprs); i++) {
        struct promql_error perr;
        struct runs r = {&mr, promql_parse(exprs[i], &perr), arena_create(0, ARENA_NO_LIMIT)};
        struct promql_value all = run(&r, 0, SECONDS(620), 1000);

        assert_true(all.n > 0);
        for (size_t k = 0; k < all.n; k++) {
            const struct promql_series *s = &all.matrix[k];
            const struct point *p = &s->points[s->n - 1];

            /* The last windows have ten ones, whatever was before them. */
            while (p->t > SECONDS(605))
                p--;
            if (p->v != 10)
                fail_msg("%s: %.17g at %ld", exprs[i], p->v, (long)p->t);
        }
        promql_destroy(&r.expr);
        arena_destroy(&r.arena);
    }
    mem_reader_deinit(&mr);
}

/* ---- limits ---- */

#define LIMIT_BYTES ((size_t)1 << 20)
#define ONE_BLOCK   ((size_t)512 * 1024) /* what may be taken at once before a limit is seen */

/* A query stays within its budget, or says that it needs more. */
static void test_memory(void **state)
{
    static const char *const exprs[] = {
        "m",
        "max(m)",
        "rate(m[5m])",
        "sum_over_time(m[30m])",
        "stddev_over_time(m[30m])",
        "deriv(m[30m])",
        "quantile_over_time(0.5, m[30m])",
        "max_over_time(m[30m])",
        "changes(m[30m])",
        "m + on (i) m",
        "m and m",
        "topk(3, m)",
        "quantile(0.5, m)",
        "count_values(\"x\", m)",
        "sum_over_time(m[30m:1s])",
    };
    struct mem_reader mr;
    char load[1024];
    int n = 0;

    (void)state;
    for (int i = 0; i < 20; i++)
        n += snprintf(load + n, sizeof(load) - (size_t)n, "m{i=\"%d\"} 0+%dx2000\n", i, i % 3);
    mem_reader_init(&mr);
    mem_reader_load(&mr, 1000, load);
    for (size_t i = 0; i < ARRAY_LEN(exprs); i++) {
        const struct promql_limits limits = PROMQL_LIMITS_RULES;
        struct promql_error perr;
        struct promql_expr *expr = promql_parse(exprs[i], &perr);
        struct arena *arena = arena_create(0, LIMIT_BYTES);
        struct promql_value value;
        struct err err = {0};
        bool ok = promql_range(expr, &mr.reader, 0, SECONDS(2000), SECONDS(2), &limits, arena,
                               &value, &err);

        if (ok ? arena_used(arena) > LIMIT_BYTES : err.kind != ERR_LIMIT)
            fail_msg("%s: %s, %zu bytes", exprs[i], ok ? "done" : err.text, arena_used(arena));
        if (arena_used(arena) > LIMIT_BYTES + ONE_BLOCK)
            fail_msg("%s: stopped at %zu bytes", exprs[i], arena_used(arena));
        promql_destroy(&expr);
        arena_destroy(&arena);
    }
    mem_reader_deinit(&mr);
}

static bool count_asked(void *arg)
{
    return ++*(int *)arg > 30; /* a dozen are before and behind the row */
}

/* The deadline is seen inside of one long row, also where sliding has to give up on each window. */
static void test_deadline(void **state)
{
    static const char *const exprs[] = {"sum_over_time(m[3000s])", "rate(m[3000s])"};
    struct mem_reader mr;

    (void)state;
    mem_reader_init(&mr);
    mem_reader_load(&mr, 1000, "m 1x2000 NaN 1+1x2000\n");
    for (size_t i = 0; i < ARRAY_LEN(exprs); i++) {
        int asked = 0;
        struct promql_error perr;
        struct promql_limits limits = {
            .max_samples = 1000000, .cancelled = count_asked, .arg = &asked};
        struct promql_expr *expr = promql_parse(exprs[i], &perr);
        struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
        struct promql_value value;
        struct err err = {0};

        assert_false(promql_range(expr, &mr.reader, SECONDS(2000), SECONDS(4000), 500, &limits,
                                  arena, &value, &err));
        assert_int_equal(err.kind, ERR_TIMEOUT);
        promql_destroy(&expr);
        arena_destroy(&arena);
    }
    mem_reader_deinit(&mr);
}

/* Rows that are worked off one after the other use the same memory. */
static void test_memory_of_rows(void **state)
{
    static const char *const exprs[] = {"quantile_over_time(0.5, m[30m])", "deriv(m[30m])",
                                        "max_over_time(m[30m])"};
    struct mem_reader mr;
    char load[2048];
    int n = 0;

    (void)state;
    for (int i = 0; i < 40; i++)
        n += snprintf(load + n, sizeof(load) - (size_t)n, "m{i=\"%d\"} 0+%dx2000\n", i, i % 3);
    mem_reader_init(&mr);
    mem_reader_load(&mr, 1000, load);
    for (size_t i = 0; i < ARRAY_LEN(exprs); i++) {
        struct promql_error perr;
        struct runs r = {&mr, promql_parse(exprs[i], &perr), arena_create(0, ARENA_NO_LIMIT)};
        struct runs plain = {&mr, promql_parse("count_over_time(m[30m])", &perr),
                             arena_create(0, ARENA_NO_LIMIT)};

        (void)run(&r, 0, SECONDS(2000), SECONDS(2));
        (void)run(&plain, 0, SECONDS(2000), SECONDS(2));
        /* 80 bytes for each point of one row; of all rows it would be 6 MB. */
        if (arena_used(r.arena) > arena_used(plain.arena) + (size_t)2001 * 160)
            fail_msg("%s: %zu bytes beside %zu", exprs[i], arena_used(r.arena),
                     arena_used(plain.arena));
        promql_destroy(&r.expr);
        promql_destroy(&plain.expr);
        arena_destroy(&r.arena);
        arena_destroy(&plain.arena);
    }
    mem_reader_deinit(&mr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_values),    cmocka_unit_test(test_same_sums),
        cmocka_unit_test(test_windows_forget), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_deadline),       cmocka_unit_test(test_memory_of_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
