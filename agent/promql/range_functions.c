/*
 * range_functions.c: functions over the points of one window, pure in their arguments.
 *
 * rate and its kin follow Prometheus' extrapolation to the edges of the window (v3: the window is
 * open on the left). Invariants: a window has at least one point and no stale marker; absent()
 * means that the function has no result there.
 */
#include "promql_private.h"

/* ---- counters ---- */

/*
 * Resets are rare and windows overlap: with the hops a window is as much work as it has resets,
 * and its sum is made in the same order as without.
 */
void range_hops(const struct point *points, size_t n, uint32_t *hops)
{
    uint32_t hop = (uint32_t)n;

    for (size_t i = n; i > 0; i--) {
        hop = i > 1 && is_reset(points[i - 2].v, points[i - 1].v) ? 0 : hop + (hop < n);
        hops[i - 1] = hop;
    }
}

/* Index of the first reset from i on, or something behind the window. */
static size_t next_reset(const struct window *w, size_t i)
{
    if (w->hops)
        return i < w->n ? i + w->hops[i] : i;
    while (i < w->n && !is_reset(w->points[i - 1].v, w->points[i].v))
        i++;
    return i;
}

/* The difference over the window, with what was lost at each reset put back. */
static double counted_difference(const struct window *w, bool is_counter)
{
    double difference = w->points[w->n - 1].v - w->points[0].v;

    if (!is_counter)
        return difference;
    for (size_t i = next_reset(w, 1); i < w->n; i = next_reset(w, i + 1))
        difference += w->points[i - 1].v;
    return difference;
}

/* How far the first and last point stand from the edges decides how far the line is drawn on. */
static double extrapolate(const struct window *w, bool is_counter)
{
    double difference, sampled_s, gap_s, before_s, after_s;

    if (w->n < 2)
        return absent();
    difference = counted_difference(w, is_counter);
    sampled_s = (double)(w->points[w->n - 1].t - w->points[0].t) / 1000;
    gap_s = sampled_s / (double)(w->n - 1);
    before_s = (double)(w->points[0].t - w->start) / 1000;
    after_s = (double)(w->end - w->points[w->n - 1].t) / 1000;
    if (before_s >= gap_s * 1.1)
        before_s = gap_s / 2;
    if (after_s >= gap_s * 1.1)
        after_s = gap_s / 2;
    if (is_counter && difference > 0 && w->points[0].v >= 0) {
        /* A counter was never below zero. */
        double to_zero_s = sampled_s * (w->points[0].v / difference);

        before_s = to_zero_s < before_s ? to_zero_s : before_s;
    }
    return difference * ((sampled_s + before_s + after_s) / sampled_s);
}

double range_rate(const struct window *w)
{
    double difference = extrapolate(w, true);

    return is_absent(difference) ? difference : difference / ((double)(w->end - w->start) / 1000);
}

double range_increase(const struct window *w)
{
    return extrapolate(w, true);
}

double range_delta(const struct window *w)
{
    return extrapolate(w, false);
}

double range_irate(const struct window *w)
{
    const struct point *last = &w->points[w->n - 1], *before = last - 1;

    if (w->n < 2 || last->t == before->t)
        return absent();
    return (last->v < before->v ? last->v : last->v - before->v) /
           ((double)(last->t - before->t) / 1000);
}

double range_idelta(const struct window *w)
{
    const struct point *last = &w->points[w->n - 1];

    return w->n < 2 || last->t == last[-1].t ? absent() : last->v - last[-1].v;
}

double range_resets(const struct window *w)
{
    double n = 0;

    for (size_t i = 1; i < w->n; i++)
        n += is_reset(w->points[i - 1].v, w->points[i].v);
    return n;
}

double range_changes(const struct window *w)
{
    double n = 0;

    for (size_t i = 1; i < w->n; i++)
        n += is_change(w->points[i - 1].v, w->points[i].v);
    return n;
}

/* ---- *_over_time ---- */

static struct running run_over(const struct window *w, void (*add)(struct running *r, double v))
{
    struct running r = {0};

    for (size_t i = 0; i < w->n; i++)
        add(&r, w->points[i].v);
    return r;
}

double range_min(const struct window *w)
{
    return run_over(w, running_min).sum;
}

double range_max(const struct window *w)
{
    return run_over(w, running_max).sum;
}

double range_sum(const struct window *w)
{
    double sum = 0, carry = 0;

    for (size_t i = 0; i < w->n; i++)
        kahan_add(w->points[i].v, &sum, &carry);
    return sum + carry;
}

double range_avg(const struct window *w)
{
    struct running r;
    double sum = 0, carry = 0, n = (double)w->n;

    for (size_t i = 0; i < w->n; i++)
        kahan_add(w->points[i].v, &sum, &carry);
    /* Nothing has overflowed: the same as the average that looks at each value, only faster. */
    if (isfinite(sum))
        return sum / n + carry / n;
    r = run_over(w, running_avg);
    return running_avg_result(&r);
}

double range_stdvar(const struct window *w)
{
    struct running r = run_over(w, running_variance);

    return running_variance_result(&r);
}

double range_stddev(const struct window *w)
{
    return sqrt(range_stdvar(w));
}

double range_count(const struct window *w)
{
    return (double)w->n;
}

double range_first(const struct window *w)
{
    return w->points[0].v;
}

double range_last(const struct window *w)
{
    return w->points[w->n - 1].v;
}

double range_present(const struct window *w)
{
    (void)w;
    return 1;
}

double range_quantile(const struct window *w)
{
    for (size_t i = 0; i < w->n; i++)
        w->scratch[i] = w->points[i].v;
    return quantile_of(w->args[0], w->scratch, w->n);
}

/* ---- least squares ---- */

struct line {
    double slope, intercept;
};

/* x in seconds from the origin; a constant input has slope 0 exactly. */
static struct line fit_line(const struct window *w, int64_t origin)
{
    double x = 0, y = 0, xy = 0, xx = 0, cx = 0, cy = 0, cxy = 0, cxx = 0;
    double n = (double)w->n;
    bool is_constant = true;
    struct line line;

    for (size_t i = 0; i < w->n; i++) {
        double at = (double)(w->points[i].t - origin) / 1000, v = w->points[i].v;

        is_constant = is_constant && v == w->points[0].v;
        kahan_add(at, &x, &cx);
        kahan_add(v, &y, &cy);
        kahan_add(at * v, &xy, &cxy);
        kahan_add(at * at, &xx, &cxx);
    }
    if (is_constant)
        return isinf(w->points[0].v) ? (struct line){NAN, NAN} : (struct line){0, w->points[0].v};
    x += cx;
    y += cy;
    line.slope = (xy + cxy - x * y / n) / (xx + cxx - x * x / n);
    line.intercept = y / n - line.slope * x / n;
    return line;
}

double range_deriv(const struct window *w)
{
    return w->n < 2 ? absent() : fit_line(w, w->points[0].t).slope;
}

/* Counts from the evaluation time, not from the end of the window. */
double range_predict_linear(const struct window *w)
{
    struct line line;

    if (w->n < 2)
        return absent();
    line = fit_line(w, w->t);
    return line.slope * w->args[0] + line.intercept;
}
