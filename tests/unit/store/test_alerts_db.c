/* alerts.db: what is stored comes back; order is kept; nobody waits. */
#include "alerts_world.h"

/* ---- round trips ---- */
static void test_alerts_and_outbox_come_back(void **state)
{
    const char *path = scratch("round.db");
    struct world w;
    struct reply reply = {0};
    (void)state;

    start(&w, path);
    assert_int_equal(w.image.next_seq, 1);
    assert_false(wall_is_set(w.image.evaluated_at));
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
    alerts_tx_put_evaluated(tx, (wall_ms){1700000004000});
    alerts_tx_put_evaluated(tx, (wall_ms){1700000005000}); /* the newest stays */
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
    assert_int_equal(w.image.evaluated_at.ms, 1700000005000);
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
    write_sql(path, "UPDATE meta SET value = 'noon' WHERE key = 'evaluated_at'");
    fake_now = (struct now){{1000}, {1700000105000}};
    start(&w, path);
    assert_false(wall_is_set(w.image.evaluated_at));
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
    /* the insert cannot be prepared any more; what the writer does by itself still works */
    write_sql(path, "ALTER TABLE gate_flips RENAME COLUMN evidence TO proof");
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
    };
    fault_vfs_register();
    log_set_sink(drop_line, &lines);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
