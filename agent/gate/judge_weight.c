/*
 * judge_weight.c: how much of the reads a replica gets: "prefer low lag".
 *
 * Full weight up to a twelfth of max_lag (5 s of 60 s), falling linearly to 10 % at max_lag, in
 * steps of 10. A weight moves only when it is off by 20 points, or when the new one has stood for
 * 10 s: balancers rebuild their tables at each change. Invariant: 0 exactly while no reads go
 * there.
 */
#include "judge_private.h"

#define FULL_SHARE    12
#define WEIGHT_FULL   100
#define WEIGHT_LEAST  10
#define WEIGHT_STEP   10
#define WEIGHT_JUMP   20
#define WEIGHT_STABLE 10000

int judge_weight_for(int64_t lag_ms, int64_t max_lag_ms)
{
    int64_t full = max_lag_ms / FULL_SHARE;
    if (lag_ms <= full)
        return WEIGHT_FULL;
    if (lag_ms >= max_lag_ms)
        return WEIGHT_LEAST;
    double share = (double)(lag_ms - full) / (double)(max_lag_ms - full);
    double weight = WEIGHT_FULL - (WEIGHT_FULL - WEIGHT_LEAST) * share;
    return (int)(weight / WEIGHT_STEP + 0.5) * WEIGHT_STEP;
}

void judge_weigh(struct judge_node *n, bool was_read, mono_ms now)
{
    struct verdict *v = &n->v;
    if (!v->read) {
        v->weight = 0;
        return;
    }
    /* Without evidence the weight is held like the state. */
    bool holds = v->state == FRESH_UNKNOWN || !n->lag.known;
    if (holds && was_read && v->weight > 0)
        return;
    int target = n->lag.known ? judge_weight_for(n->lag.shown_ms, v->max_lag_ms) : WEIGHT_LEAST;
    if (target != n->weight_next) {
        n->weight_next = target;
        n->weight_since = now;
    }
    int off = target > v->weight ? target - v->weight : v->weight - target;
    bool is_stable = mono_diff(now, n->weight_since) >= WEIGHT_STABLE;
    if (!was_read || off >= WEIGHT_JUMP || is_stable)
        v->weight = target;
}
