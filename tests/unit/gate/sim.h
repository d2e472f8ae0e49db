/*
 * sim.h: a primary and its WAL in fake time: what was written when, what was a commit, and so the
 * true age of the oldest commit that a position does not have.
 */
#ifndef SIM_H
#define SIM_H

#include "pgvigil/base/mem.h"
#include "pgvigil/model/gate_report.h"

#define SIM_WAL_MAX   200000
#define SIM_WAL_START UINT64_C(0x5000000)

struct sim_wal {
    int64_t at_ms;
    lsn_t end;
    bool is_commit;
};

struct sim {
    int64_t now_ms;
    struct sim_wal *wal;
    size_t n;
    uint64_t commits;
    uint64_t random;
};

static inline void sim_init(struct sim *s, uint64_t seed)
{
    *s = (struct sim){.now_ms = 1000000, .random = seed * UINT64_C(2654435761) + 1};
    s->wal = mem_alloc_array(SIM_WAL_MAX, sizeof(*s->wal));
    s->wal[s->n++] = (struct sim_wal){s->now_ms, SIM_WAL_START, false};
}

static inline void sim_deinit(struct sim *s)
{
    MEM_FREE_NULL(&s->wal);
}

/* Uniform in [0, n). */
static inline int64_t sim_random(struct sim *s, int64_t n)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (int64_t)(s->random % (uint64_t)n);
}

static inline void sim_write(struct sim *s, lsn_t bytes, bool is_commit)
{
    if (s->n == SIM_WAL_MAX)
        abort();
    s->wal[s->n] = (struct sim_wal){s->now_ms, s->wal[s->n - 1].end + bytes, is_commit};
    s->n++;
    s->commits += is_commit;
}

static inline lsn_t sim_lsn(const struct sim *s)
{
    return s->wal[s->n - 1].end;
}

/* Age of the oldest commit beyond lsn; 0 if none. */
static inline int64_t sim_truth_ms(const struct sim *s, lsn_t lsn)
{
    size_t low = 0, high = s->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (s->wal[mid].end > lsn)
            high = mid;
        else
            low = mid + 1;
    }
    for (; low < s->n; low++) {
        if (s->wal[low].is_commit)
            return s->now_ms - s->wal[low].at_ms;
    }
    return 0;
}

/* A reading that takes query_ms and sees what is there now. */
static inline struct timeline_entry sim_entry(const struct sim *s, int64_t query_ms)
{
    return (struct timeline_entry){.t_before = {s->now_ms},
                                   .t_after = {s->now_ms + query_ms},
                                   .write = sim_lsn(s),
                                   .insert = sim_lsn(s),
                                   .snap = {s->commits + 1, 7}};
}

#endif
