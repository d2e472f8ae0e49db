/* alerts.db: what was acknowledged is there after every kind of end; order is kept; nobody waits.
 */
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

static struct now read_fake(void *arg)
{
    (void)arg;
    return fake_now;
}

static void start(struct world *w, const char *path)
{
    struct err err;

    w->loop = loop_create("test", &err);
    assert_non_null(w->loop);
    w->db = alerts_db_create(w->loop, path, FAULT_VFS, &w->image);
}

static void stop(struct world *w)
{
    alerts_image_free(&w->image);
    alerts_db_destroy(&w->db);
    assert_null(w->db);
    loop_destroy(&w->loop);
}

static int64_t real_ms(void)
{
    return (int64_t)(clock_stage_ns() / 1000000);
}

static void on_done(bool ok, const struct err *err, void *arg)
{
    struct reply *r = arg;

    r->calls++;
    r->ok = ok;
    r->err = *err;
}

static bool wait_reply(struct world *w, const struct reply *r)
{
    int64_t until = real_ms() + DEADLINE_MS;

    while (r->calls == 0 && real_ms() < until) {
        loop_run_once(w->loop, false);
        usleep(500);
    }
    return r->calls > 0;
}

static struct alerts_db_stats stats_of(struct world *w)
{
    struct alerts_db_stats st;

    alerts_db_stats(w->db, &st);
    return st;
}

static void wait_commits(struct world *w, uint64_t n)
{
    int64_t until = real_ms() + DEADLINE_MS;

    while (stats_of(w).commits_total < n && real_ms() < until)
        usleep(1000);
    assert_int_equal(stats_of(w).commits_total, n);
}

/* ---- things to store ---- */
static void put_outbox(struct alerts_tx *tx, int i)
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

static void put_alert(struct alerts_tx *tx, int i, enum alert_state state)
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
static void commit_pair(struct world *w, int i, struct reply *reply)
{
    struct alerts_tx *tx = alerts_tx_create();

    put_alert(tx, i, ALERT_FIRING);
    put_outbox(tx, i);
    assert_false(alerts_tx_is_empty(tx));
    alerts_db_commit(w->db, &tx, reply != NULL ? on_done : NULL, reply);
    assert_null(tx);
}

static void commit_pairs(const char *path, int n)
{
    struct world w;

    start(&w, path);
    for (int i = 1; i <= n; i++)
        commit_pair(&w, i, NULL);
    stop(&w);
}

/* ---- round trips ---- */
static void test_alerts_and_outbox_come_back(void **state)
{
    const char *path = scratch("round.db");
    struct world w;
    struct reply reply = {0};
    (void)state;

    start(&w, path);
    assert_int_equal(w.image.next_seq, 1);
    assert_int_equal(w.image.alert_count + w.image.outbox_count + w.image.gate.node_count, 0);
    struct alerts_tx *tx = alerts_tx_create();
    assert_true(alerts_tx_is_empty(tx));
    for (int i = 1; i <= 40; i++) {
        put_alert(tx, i, i % 2 == 0 ? ALERT_PENDING : ALERT_FIRING);
        put_outbox(tx, i);
    }
    put_alert(tx, 50, ALERT_RESOLVED);
    alerts_tx_drop_alert(tx, UINT64_C(0xf000000000000000) + 40);
    alerts_tx_outbox_attempt(tx, "msg_00000000000000000000000000000002", 7, (wall_ms){99}, "503");
    alerts_tx_outbox_done(tx, "msg_00000000000000000000000000000040", (wall_ms){5000});
    alerts_db_commit(w.db, &tx, on_done, &reply);
    assert_true(wait_reply(&w, &reply));
    assert_true(reply.ok);
    assert_false(stats_of(&w).degraded);
    assert_int_equal(hist_count(alerts_db_commit_time(w.db)), 1);
    stop(&w);
    assert_int_equal(reply.calls, 1);

    start(&w, path);
    assert_int_equal(w.image.alert_count, 39);
    assert_int_equal(w.image.outbox_count, 39);
    assert_int_equal(w.image.next_seq, 41);
    const struct alert *a = w.image.alerts[0], *b = w.image.alerts[1], *c = w.image.alerts[2];
    assert_int_equal(a->state, ALERT_FIRING);
    assert_int_equal(b->state, ALERT_PENDING);
    assert_true(a->fingerprint == UINT64_C(0xf000000000000001));
    assert_string_equal(labels_get(&a->labels, "alertname"), "A1");
    assert_string_equal(labels_get(&a->labels, "node"), "pg\"1\"\n\\ é");
    assert_string_equal(labels_get(&a->annotations, "summary"), "it {is} bad");
    assert_true(a->value > 1.4 && a->value < 1.6 && isnan(b->value) && isinf(c->value));
    assert_int_equal(a->active_at.ms, 101);
    assert_int_equal(a->fired_at.ms, 201);
    assert_false(wall_is_set(b->fired_at) || wall_is_set(a->resolved_at));
    assert_true(a->held && !b->held);
    assert_string_equal(a->group, "g");
    assert_string_equal(a->rule, "r");
    assert_string_equal(a->expr, "up == 0");
    const struct outbox_row *r = &w.image.outbox[1];
    assert_string_equal(r->id, "msg_00000000000000000000000000000002");
    assert_string_equal(r->receiver, "oncall");
    assert_string_equal(r->group_key, "g");
    assert_string_equal(r->body, "{\"n\":2}");
    assert_string_equal(r->last_error, "503");
    assert_int_equal(r->attempts, 7);
    assert_int_equal(r->next_attempt_at.ms, 99);
    assert_int_equal(r->created_at.ms, 1002);
    stop(&w);
    assert_string_equal(look(path, "SELECT delivered_at FROM outbox WHERE seq = 40"), "5000");
    assert_string_equal(look(path, "SELECT labels ->> 'alertname' FROM alerts LIMIT 1"), "A1");
}

static const struct gate_node_state node_1 = {.cluster = "main",
                                              .node = "pg1",
                                              .role = ROLE_REPLICA,
                                              .state = FRESH_STALE,
                                              .read = true,
                                              .weight = 70,
                                              .reason = "lag",
                                              .since = {10},
                                              .lease_until = {20},
                                              .hold_ms = 30000,
                                              .last_return = {INT64_MIN},
                                              .saved_at = {40}};
static const struct gate_flip flip_1 = {.at = {1700000007000},
                                        .cluster = "main",
                                        .node = "pg1",
                                        .what = "read",
                                        .from = "yes",
                                        .to = "no",
                                        .reason = "lag",
                                        .lo_ms = 61000,
                                        .hi_ms = INT64_MAX,
                                        .replay = 0x5A3C2D8,
                                        .primary = UINT64_C(0xFFFFFFFF00000001),
                                        .evidence = "lo 61 s >= max_lag 60 s"};
static const struct timeline_entry entry_1 = {.t_before = {5500},
                                              .t_after = {5000},
                                              .write = 0x100,
                                              .insert = UINT64_MAX,
                                              .snap = {UINT64_MAX, 1}};

static void commit_gate(const char *path)
{
    struct world w;
    struct alerts_tx *tx = alerts_tx_create();
    struct timeline_entry later = entry_1;

    start(&w, path);
    alerts_tx_put_gate_node(tx, &node_1);
    alerts_tx_put_gate_flip(tx, &flip_1);
    alerts_tx_put_timeline(tx, UINT64_C(7300000000000000001), 3, &entry_1, fake_now);
    later.t_before.ms = 5900; /* the same position, seen longer: replaces the row */
    alerts_tx_put_timeline(tx, UINT64_C(7300000000000000001), 3, &later, fake_now);
    alerts_tx_put_timeline(tx, UINT64_C(7300000000000000001), 4, &entry_1, fake_now);
    alerts_db_commit(w.db, &tx, NULL, NULL);
    stop(&w);
}

static void check_gate(const struct gate_image *g, int64_t shift)
{
    assert_int_equal(g->node_count, 1);
    assert_memory_equal(&g->nodes[0].cluster, &node_1.cluster, sizeof(node_1.cluster));
    assert_string_equal(g->nodes[0].node, "pg1");
    assert_int_equal(g->nodes[0].role, ROLE_REPLICA);
    assert_int_equal(g->nodes[0].state, FRESH_STALE);
    assert_true(g->nodes[0].read && !g->nodes[0].write);
    assert_int_equal(g->nodes[0].weight, 70);
    assert_int_equal(g->nodes[0].lease_until.ms, 20);
    assert_int_equal(g->nodes[0].hold_ms, 30000);
    assert_false(wall_is_set(g->nodes[0].last_return));
    assert_int_equal(g->timeline_count, 2);
    assert_true(g->timelines[0].system_id == UINT64_C(7300000000000000001));
    assert_int_equal(g->timelines[0].timeline, 3);
    assert_int_equal(g->timelines[1].timeline, 4);
    assert_int_equal(g->timelines[0].count, 1);
    const struct timeline_entry *e = &g->timelines[0].entries[0];
    assert_int_equal(e->t_after.ms, 5000 + shift);
    assert_int_equal(e->t_before.ms, 5900 + shift);
    assert_true(e->write == 0x100 && e->insert == UINT64_MAX);
    assert_true(e->snap[0] == UINT64_MAX && e->snap[1] == 1);
}

static void test_gate_memory_and_reboot(void **state)
{
    const char *path = scratch("gate.db");
    struct world w;
    struct gate_flip *flips;
    size_t n;
    struct err err = {0};
    (void)state;

    fake_now = (struct now){{6000}, {1700000006000}};
    clock_set_source(read_fake, NULL);
    commit_gate(path);
    fake_now = (struct now){{60000}, {1700000060000}};
    start(&w, path);
    assert_true(w.image.gate.same_boot);
    check_gate(&w.image.gate, 0);
    stop(&w);

    assert_true(alerts_db_read_flips(path, flip_1.at, &flips, &n, &err));
    assert_int_equal(n, 1);
    assert_int_equal(flips[0].at.ms, flip_1.at.ms);
    assert_string_equal(flips[0].from, "yes");
    assert_string_equal(flips[0].to, "no");
    assert_string_equal(flips[0].evidence, flip_1.evidence);
    assert_true(flips[0].primary == flip_1.primary && flips[0].hi_ms == INT64_MAX);
    mem_free(flips);
    assert_true(alerts_db_read_flips(path, wall_add(flip_1.at, 1), &flips, &n, &err));
    assert_int_equal(n, 0);
    mem_free(flips);
    assert_false(alerts_db_read_flips(scratch("nothing.db"), (wall_ms){0}, &flips, &n, &err));
    assert_int_equal(err.kind, ERR_NOT_FOUND);

    /* Another boot: its clock reads 1000 at a wall time 100 s after the entry was made. */
    write_sql(path, "UPDATE meta SET value = 'another' WHERE key = 'boot_id'");
    fake_now = (struct now){{1000}, {1700000105000}};
    start(&w, path);
    assert_false(w.image.gate.same_boot);
    check_gate(&w.image.gate, 1000 - 100000 - 5000);
    stop(&w);
    /* The old boot's entries are no proof in the new one. */
    start(&w, path);
    assert_true(w.image.gate.same_boot);
    assert_int_equal(w.image.gate.timeline_count, 0);
    assert_int_equal(w.image.gate.node_count, 1);
    stop(&w);
    clock_set_source(NULL, NULL);
}

static void wait_for_value(const char *path, const char *sql, const char *value)
{
    int64_t until = real_ms() + DEADLINE_MS;

    while (!str_eq(look(path, sql), value) && real_ms() < until)
        usleep(5000);
    assert_string_equal(look(path, sql), value);
}

static void test_pruning(void **state)
{
    static const struct {
        int64_t age_ms;
        const char *delivered, *flips, *timeline;
    } cases[] = {
        {1000, "2", "1", "11"},
        {OUTBOX_KEEP_MS / 72 * 3, "2", "1", "2"}, /* 3 h: two buckets of 10 s */
        {OUTBOX_KEEP_MS / 72 * 27, "2", "1", "0"},
        {OUTBOX_KEEP_MS + 60000, "1", "1", "0"}, /* the newest seq stays */
        {INT64_C(91) * 86400000, "1", "0", "0"},
    };
    const char *path = scratch("prune.db");
    const int64_t at = 1700000000000;
    (void)state;

    fake_now = (struct now){{1000000}, {at}};
    clock_set_source(read_fake, NULL);
    struct world w;
    struct alerts_tx *tx = alerts_tx_create();
    struct gate_flip flip = flip_1;
    start(&w, path);
    for (int i = 1; i <= 3; i++)
        put_outbox(tx, i);
    alerts_tx_outbox_done(tx, "msg_00000000000000000000000000000001", (wall_ms){at});
    alerts_tx_outbox_done(tx, "msg_00000000000000000000000000000003", (wall_ms){at});
    flip.at.ms = at;
    alerts_tx_put_gate_flip(tx, &flip);
    for (int i = 0; i <= 10; i++) {
        struct timeline_entry e = {.t_before = {990000 + i * 1000}, .t_after = {990000 + i * 1000}};
        alerts_tx_put_timeline(tx, 1, 1, &e, fake_now);
    }
    alerts_db_commit(w.db, &tx, NULL, NULL);
    stop(&w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fake_now.wall.ms = at + cases[i].age_ms;
        start(&w, path);
        wait_for_value(path, "SELECT count(*) FROM gate_timeline", cases[i].timeline);
        wait_for_value(path, "SELECT count(*) FROM outbox WHERE delivered_at IS NOT NULL",
                       cases[i].delivered);
        wait_for_value(path, "SELECT count(*) FROM gate_flips", cases[i].flips);
        assert_int_equal(w.image.outbox_count, 1);
        assert_int_equal(w.image.next_seq, 4);
        stop(&w);
    }
    clock_set_source(NULL, NULL);
}

/* ---- failures while running ---- */
static void test_failed_transactions_wait_in_order(void **state)
{
    static const enum fault_kind kinds[] = {FAULT_ENOSPC, FAULT_EIO};
    (void)state;

    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        const char *path = scratch(k == 0 ? "order1.db" : "order2.db");
        struct world w;
        struct reply r[4] = {0};

        start(&w, path);
        commit_pair(&w, 1, &r[0]);
        assert_true(wait_reply(&w, &r[0]) && r[0].ok);
        fault_plan.kind = kinds[k];
        fault_plan.for_ever = true;
        fault_plan.at = fault_plan.operations + 1;
        int64_t began = real_ms();
        for (int i = 1; i < 4; i++) {
            struct alerts_tx *tx = alerts_tx_create();
            if (i > 1)
                alerts_tx_drop_alert(tx, UINT64_C(0xf000000000000000) + (uint64_t)i - 1);
            put_alert(tx, i + 1, ALERT_FIRING);
            put_outbox(tx, i + 1);
            alerts_db_commit(w.db, &tx, on_done, &r[i]);
            assert_true(wait_reply(&w, &r[i]));
            assert_false(r[i].ok);
            assert_int_equal(r[i].err.kind, ERR_IO);
        }
        /* Nobody waits for a retry: 2 s is when delivery stops waiting. */
        assert_true(real_ms() - began < 2000);
        struct alerts_db_stats st = stats_of(&w);
        assert_true(st.degraded && st.error[0] != '\0');
        assert_int_equal(st.queued, 3);
        fault_reset();
        wait_commits(&w, 4);
        for (int i = 0; i < 20; i++)
            loop_run_once(w.loop, false);
        for (int i = 0; i < 4; i++)
            assert_int_equal(r[i].calls, 1);
        int64_t until = real_ms() + DEADLINE_MS;
        while (stats_of(&w).degraded && real_ms() < until)
            usleep(1000);
        assert_false(stats_of(&w).degraded);
        assert_int_equal(stats_of(&w).queued, 0);
        stop(&w);
        /* In the wrong order a drop would have come before its put. */
        assert_string_equal(look(path, "SELECT group_concat(fingerprint) FROM alerts"),
                            "f000000000000003,f000000000000004");
        assert_string_equal(look(path, "SELECT count(*) FROM outbox"), "4");
        assert_intact(path);
    }
}

/* What the file can never take is answered, told and dropped whole; the others go on. */
static void test_impossible_transaction_blocks_nobody(void **state)
{
    const char *path = scratch("impossible.db");
    struct world w;
    struct reply r[2] = {0};
    struct alerts_tx *tx = alerts_tx_create();
    (void)state;

    start(&w, path);
    write_sql(path, "DROP TABLE gate_flips");
    put_alert(tx, 1, ALERT_FIRING);
    alerts_tx_put_gate_flip(tx, &flip_1);
    alerts_db_commit(w.db, &tx, on_done, &r[0]);
    commit_pair(&w, 2, &r[1]);
    assert_true(wait_reply(&w, &r[0]) && wait_reply(&w, &r[1]));
    assert_false(r[0].ok);
    assert_true(r[1].ok);
    assert_int_equal(stats_of(&w).queued, 0);
    stop(&w);
    assert_string_equal(look(path, "SELECT group_concat(fingerprint) FROM alerts"),
                        "f000000000000002");
}

static void test_starts_without_a_disk(void **state)
{
    const char *path = scratch("nodisk.db");
    struct world w;
    struct reply r = {0};
    (void)state;

    commit_pairs(path, 2);
    fault_plan.kind = FAULT_EIO;
    fault_plan.for_ever = true;
    fault_plan.at = 1;
    fault_plan.operations = 1;
    start(&w, path);
    assert_true(stats_of(&w).degraded);
    assert_int_equal(w.image.alert_count, 0);
    assert_int_equal(w.image.next_seq, 1);
    commit_pair(&w, 3, &r);
    assert_true(wait_reply(&w, &r));
    assert_false(r.ok);
    fault_reset();
    wait_commits(&w, 1);
    stop(&w);
    assert_string_equal(look(path, "SELECT count(*) FROM outbox"), "3");
}

static void test_newer_file_is_left_alone(void **state)
{
    const char *path = scratch("newer.db");
    struct world w;
    struct reply r = {0};
    struct err err = {0};
    struct gate_flip *flips;
    size_t n;
    (void)state;

    commit_pairs(path, 1);
    write_sql(path, "PRAGMA user_version=99");
    uint64_t before = file_hash(path);
    start(&w, path);
    assert_true(stats_of(&w).degraded);
    assert_non_null(strstr(stats_of(&w).error, "newer"));
    commit_pair(&w, 2, &r);
    assert_true(wait_reply(&w, &r));
    assert_false(r.ok);
    assert_int_equal(r.err.kind, ERR_NEWER);
    stop(&w);
    assert_true(file_hash(path) == before);
    assert_false(alerts_db_read_flips(path, (wall_ms){0}, &flips, &n, &err));
    assert_int_equal(err.kind, ERR_NEWER);
}

static const char *victim;

/* The gate's own rows are refused when too many wait; alerts never are. */
static void test_queue_bound(void **state)
{
    struct world w;
    struct reply r = {0}, kept = {0};
    (void)state;

    fault_plan.kind = FAULT_EIO;
    fault_plan.for_ever = true;
    fault_plan.at = 1;
    fault_plan.operations = 1;
    start(&w, scratch("bound.db"));
    for (int i = 0; i < 5000; i++) {
        struct alerts_tx *tx = alerts_tx_create();
        alerts_tx_put_gate_node(tx, &node_1);
        alerts_db_commit(w.db, &tx, i == 4999 ? on_done : NULL, &r);
    }
    assert_true(wait_reply(&w, &r));
    assert_int_equal(r.err.kind, ERR_LIMIT);
    size_t queued = stats_of(&w).queued;
    assert_in_range(queued, 4000, 4096);
    commit_pair(&w, 1, &kept);
    assert_true(wait_reply(&w, &kept));
    assert_int_equal(kept.err.kind, ERR_IO);
    assert_int_equal(stats_of(&w).queued, queued + 1);
    stop(&w);
    fault_reset();
}

/* ST11: a disk that hangs for a minute holds up the stop for 3 s at most. */
static void hang_and_stop(int fd)
{
    struct world w;

    start(&w, victim);
    fault_plan.sync_delay_ms = 60000;
    int64_t began = real_ms();
    commit_pair(&w, 1, NULL);
    if (real_ms() - began > 200)
        _exit(1);
    usleep(50000);
    began = real_ms();
    alerts_db_destroy(&w.db);
    if (real_ms() - began > 4000)
        _exit(1);
    acknowledge(fd);
}

static void test_hanging_disk(void **state)
{
    bool killed;
    (void)state;

    victim = scratch("hang.db");
    assert_int_equal(run_child(hang_and_stop, &killed), 1);
}

/* ---- ends at every write ---- */
enum { PAIRS = 5 };

static void commit_acknowledged(int fd)
{
    struct world w;

    start(&w, victim);
    for (int i = 1; i <= PAIRS; i++) {
        struct reply r = {0};
        commit_pair(&w, i, &r);
        if (!wait_reply(&w, &r))
            _exit(1);
        if (r.ok)
            acknowledge(fd);
    }
    stop(&w);
}

/* How many pairs the file holds; they must be whole and the first ones. */
static int check_pairs(void)
{
    struct world w;

    start(&w, victim);
    assert_false(stats_of(&w).degraded);
    size_t n = w.image.outbox_count;
    assert_int_equal(w.image.alert_count, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(w.image.outbox[i].seq, i + 1);
        assert_true(w.image.alerts[i]->fingerprint == UINT64_C(0xf000000000000001) + i);
    }
    stop(&w);
    assert_intact(victim);
    return (int)n;
}

static void end_at_every_write(enum fault_kind kind)
{
    long at;

    victim = scratch("end.db");
    for (at = 1; at < 2000; at++) {
        bool killed;
        char shm[256];

        remove_db(victim);
        fault_reset();
        fault_plan.kind = kind;
        fault_plan.seed = (unsigned)at;
        fault_plan.at = at;
        int acks = run_child(commit_acknowledged, &killed);
        fault_reset();
        snprintf(shm, sizeof(shm), "%s-shm", victim);
        if (kind == FAULT_POWER)
            unlink(shm); /* shared memory does not outlive the power */
        int found = check_pairs();
        if (found < acks)
            fail_msg("operation %ld: %d acknowledged, %d found", at, acks, found);
        if (kind == FAULT_KILL || kind == FAULT_POWER ? !killed : acks == PAIRS && at > 100)
            break;
    }
    print_message("%ld operations\n", at);
    assert_in_range(at, 30, 1000);
    assert_int_equal(set_aside_count(), 0);
}

/* ST8 */
static void test_kill_at_every_write(void **state)
{
    (void)state;
    end_at_every_write(FAULT_KILL);
}

/* ST9 */
static void test_power_loss_at_every_write(void **state)
{
    (void)state;
    end_at_every_write(FAULT_POWER);
}

/* ST2, ST3, ST4 */
static void test_full_disk_at_every_write(void **state)
{
    (void)state;
    end_at_every_write(FAULT_ENOSPC);
}

static void test_io_error_at_every_write(void **state)
{
    (void)state;
    end_at_every_write(FAULT_EIO);
}

/* ---- damage ---- */
static void copy_file(const char *from, const char *to)
{
    char command[300];

    snprintf(command, sizeof(command), "cp '%s' '%s'", from, to);
    assert_int_equal(system(command), 0);
}

static void overwrite(const char *path, long offset, size_t n, unsigned seed)
{
    FILE *f = fopen(path, "r+b");

    assert_non_null(f);
    fseek(f, offset, SEEK_SET);
    for (size_t i = 0; i < n; i++)
        fputc((int)(rand_r(&seed) & 0xff), f);
    fclose(f);
}

static void forget_set_aside(void)
{
    char command[160];

    snprintf(command, sizeof(command), "rm -f '%s'/damaged.db*", scratch_dir);
    assert_int_equal(system(command), 0);
}

/* Starts on the damaged file; returns the outbox rows that are left. */
static size_t start_damaged(const char *path)
{
    struct world w;
    struct reply r = {0};

    start(&w, path);
    assert_false(stats_of(&w).degraded);
    size_t n = w.image.outbox_count;
    commit_pair(&w, 999, &r);
    assert_true(wait_reply(&w, &r));
    if (!r.ok)
        fail_msg("not stored: %s", r.err.text);
    stop(&w);
    assert_intact(path);
    return n;
}

/* ST7: every page once; what is not damaged is carried over. */
static void test_damaged_pages(void **state)
{
    enum { ROWS = 300 };
    const char *good = scratch("good.db"), *bad = scratch("damaged.db");
    struct stat st;
    size_t best = 0, sum = 0;
    (void)state;

    commit_pairs(good, ROWS);
    assert_int_equal(stat(good, &st), 0);
    long pages = st.st_size / 4096;
    for (long page = 0; page < pages; page++) {
        forget_set_aside();
        copy_file(good, bad);
        overwrite(bad, page * 4096, 4096, (unsigned)page);
        size_t left = start_damaged(bad);
        best = left > best ? left : best;
        sum += left;
        assert_int_equal(set_aside_count(), page == 1 ? set_aside_count() : 1);
    }
    print_message("%ld pages; on average %zu of %d rows are left\n", pages, sum / (size_t)pages,
                  ROWS);
    assert_int_equal(best, ROWS);
    assert_true(sum / (size_t)pages > ROWS / 2);
    forget_set_aside();
}

static void test_flipped_bytes(void **state)
{
    const char *good = scratch("good2.db"), *bad = scratch("damaged.db");
    unsigned seed = 20240601;
    struct stat st;
    (void)state;

    commit_pairs(good, 60);
    assert_int_equal(stat(good, &st), 0);
    for (int i = 0; i < 150; i++) {
        forget_set_aside();
        copy_file(good, bad);
        for (int k = 0; k < 4; k++)
            overwrite(bad, rand_r(&seed) % st.st_size, 1, seed);
        struct world w;
        start(&w, bad);
        stop(&w);
    }
    forget_set_aside();
}

/* ST10 */
static void test_lost_wal(void **state)
{
    static const char *const lost[] = {"-wal", "-shm"};
    bool killed;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(lost); i++) {
        char name[256];
        victim = scratch(i == 0 ? "wal1.db" : "wal2.db");
        fault_reset();
        fault_plan.kind = FAULT_KILL;
        fault_plan.at = 60;
        run_child(commit_acknowledged, &killed);
        assert_true(killed);
        fault_reset();
        snprintf(name, sizeof(name), "%s%s", victim, lost[i]);
        unlink(name);
        check_pairs();
    }
}

static int lines;

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alerts_and_outbox_come_back),
        cmocka_unit_test(test_gate_memory_and_reboot),
        cmocka_unit_test(test_pruning),
        cmocka_unit_test(test_failed_transactions_wait_in_order),
        cmocka_unit_test(test_impossible_transaction_blocks_nobody),
        cmocka_unit_test(test_starts_without_a_disk),
        cmocka_unit_test(test_newer_file_is_left_alone),
        cmocka_unit_test(test_queue_bound),
        cmocka_unit_test(test_hanging_disk),
        cmocka_unit_test(test_kill_at_every_write),
        cmocka_unit_test(test_power_loss_at_every_write),
        cmocka_unit_test(test_full_disk_at_every_write),
        cmocka_unit_test(test_io_error_at_every_write),
        cmocka_unit_test(test_damaged_pages),
        cmocka_unit_test(test_flipped_bytes),
        cmocka_unit_test(test_lost_wal),
    };
    fault_vfs_register();
    log_set_sink(drop_line, &lines);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
