/*
 * moved_clock.h: the machine's clocks, moved forward by the test, for parts that ask a loop for the
 * time: clock_set_source(moved_clock, NULL).
 */
#ifndef PGVIGIL_TESTS_MOVED_CLOCK_H
#define PGVIGIL_TESTS_MOVED_CLOCK_H

#include <time.h>

#include "pgvigil/base/clock.h"

static _Atomic int64_t clock_moved_ms;

static struct now moved_clock(void *arg)
{
    struct timespec boot, real;
    (void)arg;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_REALTIME, &real);
    return (struct now){
        {boot.tv_sec * INT64_C(1000) + boot.tv_nsec / 1000000 + clock_moved_ms},
        {real.tv_sec * INT64_C(1000) + real.tv_nsec / 1000000 + clock_moved_ms},
    };
}

#endif
