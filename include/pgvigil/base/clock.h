/*
 * clock.h: the only place that asks the system for the time.
 *
 * Two types that the compiler keeps apart: mono_ms (CLOCK_BOOTTIME, durations and deadlines; goes
 * on during suspend, never jumps) and wall_ms (UTC since 1970, stamps shown to people and stored).
 * Pure modules get a `struct now` as a parameter and never call clock_read. clock_set_source is
 * the seam for tests: a fake clock lets hours pass in milliseconds.
 */
#ifndef PGVIGIL_BASE_CLOCK_H
#define PGVIGIL_BASE_CLOCK_H

#include "pgvigil/base/base.h"

typedef struct {
    int64_t ms;
} mono_ms;

typedef struct {
    int64_t ms;
} wall_ms;

struct now {
    mono_ms mono;
    wall_ms wall;
};

/* "No deadline", and "never happened". */
#define MONO_NEVER ((mono_ms){INT64_MAX})
#define MONO_UNSET ((mono_ms){INT64_MIN})
#define WALL_UNSET ((wall_ms){INT64_MIN})

struct now clock_read(void);
/* Nanoseconds of CLOCK_MONOTONIC for measuring stages; never faked, never compared with mono_ms. */
uint64_t clock_stage_ns(void);
/* CPU time of the calling thread in nanoseconds. */
uint64_t clock_thread_cpu_ns(void);
/* Replaces the source for the whole process (tests, before threads start); NULL restores. */
void clock_set_source(struct now (*source)(void *arg), void *arg);

static inline mono_ms mono_add(mono_ms t, int64_t ms)
{
    return (mono_ms){t.ms + ms};
}

/* a - b in milliseconds. */
static inline int64_t mono_diff(mono_ms a, mono_ms b)
{
    return a.ms - b.ms;
}

static inline bool mono_before(mono_ms a, mono_ms b)
{
    return a.ms < b.ms;
}

static inline bool mono_is_set(mono_ms t)
{
    return t.ms != INT64_MIN;
}

static inline wall_ms wall_add(wall_ms t, int64_t ms)
{
    return (wall_ms){t.ms + ms};
}

static inline int64_t wall_diff(wall_ms a, wall_ms b)
{
    return a.ms - b.ms;
}

static inline bool wall_is_set(wall_ms t)
{
    return t.ms != INT64_MIN;
}

#define CLOCK_RFC3339_MAX 32
/* "2026-02-03T04:05:06.789Z" (milliseconds always) into out; returns out. Takes no lock. */
const char *clock_format_rfc3339(wall_ms t, char out[CLOCK_RFC3339_MAX]);
/* Reads RFC 3339 with any offset and up to 9 digits of fraction (rounded to ms). */
bool clock_parse_rfc3339(const char *s, wall_ms *out) MUST_CHECK;

/* Broken-down UTC without the C library's time zone lock. month 1-12, day 1-31, weekday 0=Sunday.
 */
struct utc_time {
    int64_t year;
    int month, day, hour, minute, second, weekday, yearday; /* yearday 1-366 */
};
struct utc_time clock_utc(int64_t unix_seconds);

#endif
