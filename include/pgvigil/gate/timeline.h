/*
 * timeline.h: where the primary's WAL was, and when: the ring behind every lag figure.
 *
 * One ring per (system identifier, timeline). An entry says: position `write` (and `insert`, and
 * the snapshot) was first seen by a query that ended at t_after and last by one that began at
 * t_before; an unchanged position only moves t_before forward (run-length). From it follows for a
 * replica that has replayed R, in the agent's own clock:
 *   hi: it has everything that was committed until the t_before of the last entry <= R;
 *   lo: something that it has not was there at the t_after of the first entry > R.
 * The snapshot rule turns WAL lag into data lag: while the primary's snapshot text stays the same,
 * no transaction with an id has ended, so WAL beyond an entry with the same snapshot hides
 * nothing visible. Details and measurements: the header of agent/gate/timeline.c.
 * Kept: 2 h at full resolution, then 24 h at one entry per 10 s; under 1 MiB. Pure; gate thread.
 */
#ifndef PGVIGIL_GATE_TIMELINE_H
#define PGVIGIL_GATE_TIMELINE_H

#include "pgvigil/model/gate_report.h"

struct timeline;

struct timeline *timeline_create(uint64_t system_id, uint32_t tli);
void timeline_destroy(struct timeline **tl);
uint64_t timeline_system_id(const struct timeline *tl);
uint32_t timeline_tli(const struct timeline *tl);

/*
 * A reading of the primary between t_before and t_after (start and end of the query). A position
 * lower than the newest is refused (false): the caller starts a new ring. insert must be
 * normalised. snap {0, 0} marks a surrogate: a position that a replica has received while the
 * primary is unread. It proves that this WAL exists (lo), and nothing of what else does (hi).
 */
bool timeline_add(struct timeline *tl, const struct timeline_entry *entry) MUST_CHECK;
/* The newest entry; false when empty. */
bool timeline_newest(const struct timeline *tl, struct timeline_entry *out);
size_t timeline_count(const struct timeline *tl);
/* Puts back stored entries (oldest first) before the first add; shift_ms is added to their times.
 */
void timeline_restore(struct timeline *tl, const struct timeline_entry *entries, size_t n,
                      int64_t shift_ms);
/* Forgets entries beyond a fork position (promotion). */
void timeline_cut(struct timeline *tl, lsn_t fork);
/* The history up to the fork is that of the new timeline too: call after timeline_cut. */
void timeline_rename(struct timeline *tl, uint32_t tli);

struct lag_bounds {
    bool known;                     /* there is evidence for this position at all */
    bool snapshot_rule;             /* data lag is 0 because nothing visible is missing */
    int64_t lo_ms, hi_ms, shown_ms; /* data lag; hi may be LAG_INFINITE */
    int64_t wal_lo_ms, wal_hi_ms, wal_shown_ms;
    int64_t bytes; /* newest write - replay, >= 0 */
};

/*
 * Bounds at `now` for a replica that reported replay position R by a query that began at
 * read_start. lo is what was proven at read_start; hi grows until now.
 */
void timeline_judge(const struct timeline *tl, lsn_t replay, mono_ms read_start, mono_ms now,
                    struct lag_bounds *out);
/* 128-bit hash of a snapshot text; never {0, 0}, except for NULL and "" (unknown). */
void timeline_hash_snapshot(const char *text, uint64_t out[2]);

#endif
