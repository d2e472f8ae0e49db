/*
 * alerts_world.h: what the tests of alerts.db share: one daemon's worth of it, and pairs to store.
 * Includes the failing disk; for one .c of a program.
 */
#ifndef TESTS_ALERTS_WORLD_H
#define TESTS_ALERTS_WORLD_H

#include "store_test.h"

#include <math.h>

#include "fault_vfs.c"
#include "pgvigil/store/alerts_db.h"

#define DEADLINE_MS 20000

/* ---- one daemon's worth ---- */
struct world {
    struct loop *loop;
    struct alerts_db *db;
    struct alerts_image image;
};

struct reply {
    int calls;
    bool ok;
    struct err err;
};

static struct now fake_now;

static inline struct now read_fake(void *arg)
{
    (void)arg;
    return fake_now;
}

static inline void start(struct world *w, const char *path)
{
    struct err err;

    w->loop = loop_create("test", &err);
    assert_non_null(w->loop);
    w->db = alerts_db_create(w->loop, path, FAULT_VFS, &w->image);
}

static inline void stop(struct world *w)
{
    alerts_image_free(&w->image);
    alerts_db_destroy(&w->db);
    assert_null(w->db);
    loop_destroy(&w->loop);
}

static inline int64_t real_ms(void)
{
    return (int64_t)(clock_stage_ns() / 1000000);
}

static inline void on_done(bool ok, const struct err *err, void *arg)
{
    struct reply *r = arg;

    r->calls++;
    r->ok = ok;
    r->err = *err;
}

static inline bool wait_reply(struct world *w, const struct reply *r)
{
    int64_t until = real_ms() + DEADLINE_MS;

    while (r->calls == 0 && real_ms() < until) {
        loop_run_once(w->loop, false);
        usleep(500);
    }
    return r->calls > 0;
}

static inline struct alerts_db_stats stats_of(struct world *w)
{
    struct alerts_db_stats st;

    alerts_db_stats(w->db, &st);
    return st;
}

static inline void wait_commits(struct world *w, uint64_t n)
{
    int64_t until = real_ms() + DEADLINE_MS;

    while (stats_of(w).commits_total < n && real_ms() < until)
        usleep(1000);
    assert_int_equal(stats_of(w).commits_total, n);
}

/* ---- things to store ---- */
static inline void put_outbox(struct alerts_tx *tx, int i)
{
    char body[32];
    struct outbox_row row = {.seq = i,
                             .created_at = {1000 + i},
                             .next_attempt_at = {2000 + i},
                             .attempts = i,
                             .body = body};

    snprintf(row.id, sizeof(row.id), "msg_%032d", i);
    str_copy(row.receiver, sizeof(row.receiver), "oncall");
    str_copy(row.group_key, sizeof(row.group_key), "g");
    snprintf(body, sizeof(body), "{\"n\":%d}", i);
    alerts_tx_put_outbox(tx, &row);
}

static inline void put_alert(struct alerts_tx *tx, int i, enum alert_state state)
{
    char name[16];
    struct label labels[] = {{"alertname", name}, {"node", "pg\"1\"\n\\ é"}};
    struct label annotations[] = {{"summary", "it {is} bad"}};
    struct alert a = {
        .state = state,
        .fingerprint = UINT64_C(0xf000000000000000) + (uint64_t)i,
        .labels = {2, labels},
        .annotations = {1, annotations},
        .value = i == 2   ? NAN
                 : i == 3 ? INFINITY
                          : i * 1.5,
        .active_at = {100 + i},
        .fired_at = state == ALERT_FIRING ? (wall_ms){200 + i} : WALL_UNSET,
        .resolved_at = state == ALERT_RESOLVED ? (wall_ms){300 + i} : WALL_UNSET,
        .keep_until = WALL_UNSET,
        .held = i == 1,
        .group = "g",
        .rule = "r",
        .expr = "up == 0",
        .reason = "",
    };

    snprintf(name, sizeof(name), "A%d", i);
    alerts_tx_put_alert(tx, &a);
}

/* What delivery relies on: the state and its message in one transaction. */
static inline void commit_pair(struct world *w, int i, struct reply *reply)
{
    struct alerts_tx *tx = alerts_tx_create();

    put_alert(tx, i, ALERT_FIRING);
    put_outbox(tx, i);
    assert_false(alerts_tx_is_empty(tx));
    alerts_db_commit(w->db, &tx, reply != NULL ? on_done : NULL, reply);
    assert_null(tx);
}

static inline void commit_pairs(const char *path, int n)
{
    struct world w;

    start(&w, path);
    for (int i = 1; i <= n; i++)
        commit_pair(&w, i, NULL);
    stop(&w);
}

#endif
