/*
 * hist.c: a handful of relaxed counters; a stage that is measured must not notice it.
 *
 * Invariant: one thread writes, so the maximum needs no compare-and-swap.
 */
#include "pgvigil/base/hist.h"

const double hist_bounds_s[HIST_BOUNDS] = {
    50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1, 5,
};

/* The same bounds in nanoseconds: comparing whole numbers has no rounding at the edge. */
static const uint64_t bounds_ns[HIST_BOUNDS] = {
    50000,    100000,   250000,   500000,    1000000,   2500000,    5000000,
    10000000, 25000000, 50000000, 100000000, 250000000, 1000000000, UINT64_C(5000000000),
};

void hist_observe_ns(struct hist *h, uint64_t ns)
{
    size_t i = 0;

    while (i < HIST_BOUNDS && ns > bounds_ns[i])
        i++;
    atomic_fetch_add_explicit(&h->counts[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_ns, ns, memory_order_relaxed);
    if (ns > atomic_load_explicit(&h->max_ns, memory_order_relaxed))
        atomic_store_explicit(&h->max_ns, ns, memory_order_relaxed);
}

uint64_t hist_count(const struct hist *h)
{
    uint64_t sum = 0;

    for (size_t i = 0; i <= HIST_BOUNDS; i++)
        sum += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
    return sum;
}

double hist_quantile_s(const struct hist *h, double q)
{
    uint64_t counts[HIST_BOUNDS + 1], total = 0, seen = 0;

    /* Copied first: a sample that comes in between must not move the rank past the end. */
    for (size_t i = 0; i <= HIST_BOUNDS; i++) {
        counts[i] = atomic_load_explicit(&h->counts[i], memory_order_relaxed);
        total += counts[i];
    }
    if (total == 0)
        return 0;
    for (size_t i = 0; i < HIST_BOUNDS; i++) {
        seen += counts[i];
        if (seen > 0 && (double)seen >= q * (double)total)
            return hist_bounds_s[i];
    }
    return (double)atomic_load_explicit(&h->max_ns, memory_order_relaxed) / 1e9;
}
