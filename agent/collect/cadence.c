/*
 * One shift serves all intervals of a node: where a longer interval is a multiple of the shortest,
 * its grid is part of the shortest one's, and one timer at the shortest interval meets them all.
 * Times come from the grid, not from the last poll, so they do not drift.
 */
#include "cadence.h"

#include "pgvigil/base/str.h"

#define SLACK_MS  250
#define PLACE_MAX (24 * 3600 * 1000) /* the longest interval */

struct cadence cadence_of(const char *name, mono_ms now)
{
    uint64_t hash = str_hash(name, strlen(name), 0);
    /* The low bits of names that differ in their last letter are near each other. */
    hash ^= hash >> 29;
    return (struct cadence){.base = now, .place = (int64_t)(hash % PLACE_MAX)};
}

int64_t cadence_wait(const struct cadence *c, int64_t interval_ms, mono_ms now)
{
    int64_t since = mono_diff(now, c->base) - c->place % interval_ms;
    int64_t into = since % interval_ms;
    return into < 0 ? -into : interval_ms - into;
}

int64_t cadence_slack(int64_t interval_ms)
{
    return interval_ms / 2 < SLACK_MS ? interval_ms / 2 : SLACK_MS;
}

mono_ms cadence_next(const struct cadence *c, int64_t interval_ms, mono_ms now)
{
    mono_ms earliest = mono_add(now, cadence_slack(interval_ms));
    return mono_add(earliest, cadence_wait(c, interval_ms, earliest));
}
