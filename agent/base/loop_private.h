/*
 * loop_private.h: what loop.c and loop_timer.c share.
 */
#ifndef PGVIGIL_AGENT_BASE_LOOP_PRIVATE_H
#define PGVIGIL_AGENT_BASE_LOOP_PRIVATE_H

#include "pgvigil/base/loop.h"

/* Binary heap of timers by (due, seq). Position 0 is the next one. */
struct timer_heap {
    struct loop_timer **items;
    size_t count, cap;
    uint64_t seq; /* of the timer that was armed last */
};

struct timer_heap *loop_timers(struct loop *loop);
/* Runs what is due at loop_now(), except what is armed while this runs. */
void loop_timers_run(struct loop *loop, struct hist *lateness);
/* MONO_NEVER if none is armed. */
mono_ms loop_timers_next(const struct timer_heap *heap);
void loop_timers_deinit(struct timer_heap *heap);

#endif
