/*
 * compare.c: is a result what a case expects?
 *
 * Values agree within 1e-6 of their sum; any NaN is as good as another but a stale marker only
 * as good as a stale marker. Vectors are compared as sets unless the case is ordered; a range
 * result must come sorted by labels.
 */
#include "promqltest.h"

#include <float.h>

#include "pgvigil/base/str.h"

#define EPSILON 1e-6

static bool almost_equal(double a, double b)
{
    double sum = fabs(a) + fabs(b), difference = fabs(a - b);

    if (point_is_stale(a) || point_is_stale(b))
        return point_is_stale(a) && point_is_stale(b);
    if ((isnan(a) && isnan(b)) || a == b)
        return true;
    if (a == 0 || b == 0 || sum < DBL_MIN)
        return difference < EPSILON * DBL_MIN;
    return difference / fmin(sum, DBL_MAX) < EPSILON;
}

static bool differ(struct err *err, const struct labels *labels, const char *what)
{
    struct buf text;

    buf_init(&text, 300);
    labels_print(labels, &text);
    err_set(err, ERR_INVALID, "%s%s%s", what, *what ? " " : "", text.data);
    buf_deinit(&text);
    return false;
}

static const struct series_line *find_expected(const struct test_case *c,
                                               const struct labels *labels)
{
    /* The last line of a label set is the one that counts. */
    for (size_t i = c->series_count; i > 0; i--)
        if (labels_equal(&c->series[i - 1].labels, labels))
            return &c->series[i - 1];
    return NULL;
}

/* ---- vectors ---- */

static bool compare_sample(const struct test_case *c, const struct promql_sample *got, size_t place,
                           struct err *err)
{
    const struct series_line *want = find_expected(c, &got->labels);

    if (!want)
        return differ(err, &got->labels, "unexpected series");
    if (c->ordered && want != &c->series[place])
        return differ(err, &got->labels, "wrong place in the order:");
    if (want->n == 0 || want->items[0].is_gap || want->items[0].is_native)
        return differ(err, &got->labels, "no float expected for");
    if (!almost_equal(want->items[0].v, got->value)) {
        (void)differ(err, &got->labels, "");
        return err_wrap(err, "expected %.17g, got %.17g for", want->items[0].v, got->value);
    }
    return true;
}

static bool compare_vector(const struct test_case *c, const struct promql_value *got,
                           struct err *err)
{
    for (size_t i = 0; i < got->n; i++) {
        for (size_t k = 0; k < i; k++)
            if (labels_equal(&got->vector[i].labels, &got->vector[k].labels))
                return differ(err, &got->vector[i].labels, "twice in the result:");
        if (!compare_sample(c, &got->vector[i], i, err))
            return false;
    }
    for (size_t i = 0; i < c->series_count; i++) {
        size_t k = 0;

        while (k < got->n && !labels_equal(&got->vector[k].labels, &c->series[i].labels))
            k++;
        if (k == got->n)
            return differ(err, &c->series[i].labels, "missing series");
    }
    return true;
}

/* ---- matrices ---- */

static bool compare_points(const struct test_case *c, const struct series_line *want,
                           const struct promql_series *got, struct err *err)
{
    size_t next = 0;

    for (size_t i = 0; i < want->n; i++) {
        int64_t t = c->start + (int64_t)i * c->step;

        if (want->items[i].is_gap)
            continue;
        if (t > c->end)
            return differ(err, &got->labels, "more points expected than there are steps for");
        if (next == got->n || got->points[next].t != t) {
            (void)differ(err, &got->labels, "");
            return err_wrap(err, "no point at %.3f s of", (double)t / 1000);
        }
        if (!almost_equal(want->items[i].v, got->points[next].v)) {
            (void)differ(err, &got->labels, "");
            return err_wrap(err, "expected %.17g, got %.17g at %.3f s for", want->items[i].v,
                            got->points[next].v, (double)t / 1000);
        }
        next++;
    }
    return next == got->n || differ(err, &got->labels, "more points than expected for");
}

static bool compare_matrix(const struct test_case *c, const struct promql_value *got,
                           struct err *err)
{
    if (c->ordered)
        return err_set(err, ERR_INVALID, "an order is expected of a range result");
    for (size_t i = 0; i < got->n; i++) {
        const struct series_line *want = find_expected(c, &got->matrix[i].labels);

        if (i > 0 && labels_compare(&got->matrix[i - 1].labels, &got->matrix[i].labels) >= 0)
            return differ(err, &got->matrix[i].labels, "not sorted by labels:");
        if (!want)
            return differ(err, &got->matrix[i].labels, "unexpected series");
        if (!compare_points(c, want, &got->matrix[i], err))
            return false;
    }
    for (size_t i = 0; i < c->series_count; i++) {
        size_t k = 0;

        while (k < got->n && !labels_equal(&got->matrix[k].labels, &c->series[i].labels))
            k++;
        if (k == got->n)
            return differ(err, &c->series[i].labels, "missing series");
    }
    return true;
}

/* ---- whole results ---- */

static bool compare_scalar(const struct test_case *c, const struct promql_value *got,
                           struct err *err)
{
    if (!c->wants_scalar)
        return err_set(err, ERR_INVALID, "unexpected scalar %.17g", got->scalar);
    return almost_equal(c->scalar, got->scalar) ||
           err_set(err, ERR_INVALID, "expected %.17g, got %.17g", c->scalar, got->scalar);
}

bool compare_value(const struct test_case *c, const struct promql_value *got, struct err *err)
{
    if (c->wants_scalar != (got->type == PROMQL_SCALAR) ||
        c->wants_string != (got->type == PROMQL_STRING))
        return err_set(err, ERR_INVALID, "unexpected result of type %s",
                       promql_type_name(got->type));
    switch (got->type) {
    case PROMQL_SCALAR:
        return compare_scalar(c, got, err);
    case PROMQL_STRING:
        return str_eq(c->string, got->string) ||
               err_set(err, ERR_INVALID, "expected string \"%s\", got \"%s\"", c->string,
                       got->string);
    case PROMQL_VECTOR:
        return compare_vector(c, got, err);
    case PROMQL_MATRIX:
        if (!c->is_range && !c->wants_range_vector)
            return err_set(err, ERR_INVALID, "unexpected range vector");
        return compare_matrix(c, got, err);
    }
    return false;
}

/* ---- annotations and failures ---- */

static bool expect_matches(const struct expect *e, const char *text)
{
    if (e->regex)
        return regex_match(e->regex, text) == REGEX_MATCH;
    return !e->text || str_eq(e->text, text);
}

/* Does any expectation of the kind match the text, and is there one at all? */
static bool any_matches(const struct test_case *c, enum expect_kind kind, const char *text,
                        bool *is_given)
{
    bool matches = false;

    for (const struct expect *e = c->expects; e; e = e->next) {
        if (e->kind != kind)
            continue;
        *is_given = true;
        matches = matches || expect_matches(e, text);
    }
    return matches;
}

/* Each expected text must have come. */
static bool compare_expected(const struct test_case *c, const struct promql_value *got,
                             struct err *err)
{
    for (const struct expect *e = c->expects; e; e = e->next) {
        bool is_found = false;

        for (size_t i = 0; i < got->note_count; i++)
            is_found = is_found || (got->notes[i].is_warning == (e->kind == EXPECT_WARN) &&
                                    expect_matches(e, got->notes[i].text));
        if ((e->kind == EXPECT_WARN || e->kind == EXPECT_INFO) && !is_found)
            return err_set(err, ERR_INVALID, "%s missing: %s",
                           e->kind == EXPECT_WARN ? "warning" : "info", e->text ? e->text : "any");
    }
    return true;
}

bool compare_notes(const struct test_case *c, const struct promql_value *got, struct err *err)
{
    for (size_t i = 0; i < got->note_count; i++) {
        const struct promql_note *note = &got->notes[i];
        bool is_given = false, is_excluded = false, matches;

        matches =
            any_matches(c, note->is_warning ? EXPECT_WARN : EXPECT_INFO, note->text, &is_given);
        (void)any_matches(c, note->is_warning ? EXPECT_NO_WARN : EXPECT_NO_INFO, note->text,
                          &is_excluded);
        if (is_excluded || (is_given && !matches))
            return err_set(err, ERR_INVALID, "unexpected: %s", note->text);
    }
    return compare_expected(c, got, err);
}

bool compare_failure(const struct test_case *c, const char *got, struct err *err)
{
    bool is_given = false;

    if (any_matches(c, EXPECT_FAIL, got, &is_given))
        return true;
    return err_set(err, ERR_INVALID, "%s: %s", is_given ? "another failure" : "failed", got);
}
