/*
 * numeric.c: sums that do not lose small numbers beside large ones, shared by aggregations over
 * series and by functions over time, so that both agree to the last digit with each other.
 *
 * Kahan-Neumaier with the carry reset once the sum is infinite, as Prometheus has it. Built with
 * -ffp-contract=off, or the compensation is optimised away. Invariant: a struct running of zeros
 * is an empty one.
 */
#include "promql_private.h"

double running_sum_result(const struct running *r)
{
    return r->sum + r->carry;
}

void running_avg(struct running *r, double v)
{
    r->n++;
    if (!r->by_mean) {
        double sum = r->sum, carry = r->carry;

        kahan_add(v, &sum, &carry);
        if (r->n == 1 || !isinf(sum)) {
            r->sum = sum;
            r->carry = carry;
            return;
        }
        r->by_mean = true;
        r->mean = r->sum / (r->n - 1);
        r->mean_carry = r->carry / (r->n - 1);
    }
    double share = (r->n - 1) / r->n;

    r->mean *= share;
    r->mean_carry *= share;
    kahan_add(v / r->n, &r->mean, &r->mean_carry);
}

double running_avg_result(const struct running *r)
{
    return r->by_mean ? r->mean + r->mean_carry : r->sum / r->n + r->carry / r->n;
}

double running_variance_result(const struct running *r)
{
    return (r->sum + r->carry) / r->n;
}

/* NaN is the smallest. */
static int compare_values(const void *a, const void *b)
{
    double x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    if (isnan(x) || isnan(y))
        return (isnan(y) != 0) - (isnan(x) != 0);
    return (x > y) - (x < y);
}

double quantile_of(double q, double *values, size_t n)
{
    struct quantile_place place;

    if (n == 0 || isnan(q))
        return NAN;
    if (q < 0 || q > 1)
        return q < 0 ? -INFINITY : INFINITY;
    qsort(values, n, sizeof(*values), compare_values);
    place = quantile_place(q, n);
    return quantile_between(&place, values[place.low], values[place.high]);
}
