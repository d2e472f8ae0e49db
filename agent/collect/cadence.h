/*
 * cadence.h: when a node's statements are due. Nodes that are polled in the same instant are one
 * heavy moment each interval for the loop and for servers that share a machine, so each node has a
 * place of its own within the interval, which its name decides and a restart keeps.
 */
#ifndef AGENT_COLLECT_CADENCE_H
#define AGENT_COLLECT_CADENCE_H

#include "pgvigil/base/clock.h"

struct cadence {
    mono_ms base;
    int64_t place; /* shifts the grid; any value >= 0 */
};

struct cadence cadence_of(const char *name, mono_ms now);

/* Time to the node's next place on the grid of this interval, in 1..interval_ms. */
int64_t cadence_wait(const struct cadence *c, int64_t interval_ms, mono_ms now);

/* A timer meets the grid with a little jitter: this near to it counts as on it. */
int64_t cadence_slack(int64_t interval_ms);

/* Next time after a poll at `now`. */
mono_ms cadence_next(const struct cadence *c, int64_t interval_ms, mono_ms now);

#endif
