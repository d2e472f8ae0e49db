/*
 * hist.h: fixed histogram of stage times, updated by one thread, read by any.
 *
 * Every stage (probe, publish, rule tick, commit, ...) has one, from the first day. Buckets are
 * relaxed atomics: a reader may see a sample a moment early in one field, never garbage.
 */
#ifndef PGVIGIL_BASE_HIST_H
#define PGVIGIL_BASE_HIST_H

#include <stdatomic.h>

#include "pgvigil/base/base.h"

/* Upper bounds in seconds: 50us 100us 250us 500us 1ms 2.5ms 5ms 10ms 25ms 50ms 100ms 250ms 1s 5s.
 */
#define HIST_BOUNDS 14
extern const double hist_bounds_s[HIST_BOUNDS];

struct hist {
    _Atomic uint64_t counts[HIST_BOUNDS + 1]; /* not cumulative; last is +Inf */
    _Atomic uint64_t sum_ns;
    _Atomic uint64_t max_ns;
};

void hist_observe_ns(struct hist *h, uint64_t ns);
uint64_t hist_count(const struct hist *h);
/* Upper bound in seconds of the bucket that holds the q-quantile; 0 when empty. */
double hist_quantile_s(const struct hist *h, double q);

#endif
