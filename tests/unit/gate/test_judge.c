/*
 * The judge over simulated clusters: when a replica leaves, when it comes back, and what is no
 * evidence against it: an idle primary, a lost login, a primary that is not seen. At every tick of
 * every test the true lag must lie within [lo, hi] (world.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gate/world.h"

#define assert_reason(w, node, text) assert_string_equal(world_verdict((w), (node))->reason, (text))

/* ---- first start ---- */

static void test_fresh_replicas_are_published_at_once(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 3);
    world_start(&w);
    assert_false(world_verdict(&w, 2)->read);
    world_ticks(&w, 2);
    const struct verdict *v = world_verdict(&w, 2);
    assert_true(v->read);
    assert_int_equal(v->state, FRESH_FRESH);
    assert_int_equal(v->weight, 100);
    assert_string_equal(v->reason, "fresh");
    assert_int_equal(v->timeline, 1);
    assert_int_equal(v->server_version, 150020);
    assert_true(v->streaming);
    assert_true(world_verdict(&w, 1)->write);
    assert_false(world_verdict(&w, 1)->read);
    assert_reason(&w, 1, "primary");
    const struct cluster_verdict *c = judge_cluster(w.judge);
    assert_true(c->judged);
    assert_false(c->reads_on_primary || c->blind || c->primary_unseen || c->split_brain);
    assert_int_equal(c->fresh_count, 2);
    assert_int_equal(c->replica_count, 2);
    assert_string_equal(c->primary, "pg1");
    assert_int_equal(world_flips(&w, "fallback", 0), 0);
    world_deinit(&w);
}

static void test_stale_at_first_start_is_not_published(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 3);
    world_node(&w, 2)->is_paused = true;
    world_pass(&w, 20000);
    world_start(&w);
    world_ticks(&w, 10);
    assert_false(world_verdict(&w, 2)->read);
    assert_int_equal(world_verdict(&w, 2)->state, FRESH_STALE);
    assert_true(world_verdict(&w, 3)->read);
    assert_int_equal(world_flips(&w, "read", 2), 0);
    world_deinit(&w);
}

/* ---- leaving and coming back ---- */

static void test_paused_replica_leaves_in_time(void **state)
{
    static const int64_t phases_ms[] = {0, 130, 370, 610, 990};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(phases_ms); i++) {
        struct world w;
        world_settle(&w, 3);
        world_tick(&w);
        /* Paused in mid-interval: the phase moves against the ticks. */
        world_pass(&w, phases_ms[i]);
        world_node(&w, 2)->is_paused = true;
        int64_t paused_ms = w.sim.now_ms;
        while (world_verdict(&w, 2)->read) {
            world_tick(&w);
            assert_true(w.sim.now_ms - paused_ms < 3000 + 4000 + 1000);
        }
        int64_t left_ms = wall_diff(world_verdict(&w, 2)->since, (wall_ms){w.wall_offset_ms});
        assert_true(left_ms - paused_ms >= 3000 - 100);
        assert_true(left_ms - paused_ms <= 3000 + 4000);
        assert_int_equal(world_verdict(&w, 2)->state, FRESH_STALE);
        assert_reason(&w, 2, "lag");
        assert_int_equal(world_verdict(&w, 2)->cause, CAUSE_REPLAY_PAUSED);
        assert_int_equal(world_verdict(&w, 2)->weight, 0);
        assert_true(world_verdict(&w, 3)->read);
        assert_int_equal(world_flips(&w, "read", 3), 0);
        assert_int_equal(world_flips(&w, "read", 2), 1);
        world_deinit(&w);
    }
}

static void test_a_flip_carries_its_evidence(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 3);
    world_node(&w, 2)->is_paused = true;
    (void)world_until_read(&w, 2, false, 8);
    assert_int_equal(w.flip_count, 2);
    const struct gate_flip *f = &w.flips[0];
    assert_string_equal(f->what, "state");
    assert_string_equal(f->from, "fresh");
    assert_string_equal(f->to, "stale");
    assert_string_equal(f->reason, "lag");
    assert_string_equal(f->cluster, "main");
    assert_string_equal(f->node, "pg2");
    assert_true(f->lo_ms >= 2940 && f->hi_ms >= f->lo_ms);
    assert_true(f->replay > 0 && f->primary > f->replay);
    assert_non_null(strstr(f->evidence, "lo="));
    assert_string_equal(w.flips[1].what, "read");
    assert_string_equal(w.flips[1].to, "off");
    assert_string_equal(w.flips[1].reason, "lag");
    world_deinit(&w);
}

static void test_returns_only_after_the_hold(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 3);
    world_node(&w, 2)->is_paused = true;
    (void)world_until_read(&w, 2, false, 8);
    world_node(&w, 2)->is_paused = false;
    int64_t resumed_ms = w.sim.now_ms;
    world_ticks(&w, 3);
    assert_reason(&w, 2, "hold");
    (void)world_until_read(&w, 2, true, 10);
    int64_t returned_ms = wall_diff(world_verdict(&w, 2)->since, (wall_ms){w.wall_offset_ms});
    assert_true(returned_ms - resumed_ms >= 5000);
    assert_true(returned_ms - resumed_ms <= 7000);
    assert_reason(&w, 2, "returned");
    world_deinit(&w);
}

static void test_relapse_during_the_hold_starts_it_again(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 3);
    world_node(&w, 2)->is_paused = true;
    (void)world_until_read(&w, 2, false, 8);
    world_node(&w, 2)->is_paused = false;
    world_ticks(&w, 4);
    world_node(&w, 2)->is_paused = true;
    world_ticks(&w, 3);
    assert_reason(&w, 2, "catching_up");
    world_node(&w, 2)->is_paused = false;
    world_ticks(&w, 5);
    assert_false(world_verdict(&w, 2)->read);
    (void)world_until_read(&w, 2, true, 3);
    world_deinit(&w);
}

static void flap(struct world *w)
{
    world_node(w, 2)->is_paused = true;
    (void)world_until_read(w, 2, false, 10);
    world_node(w, 2)->is_paused = false;
}

static void test_the_hold_doubles_up_to_its_cap(void **state)
{
    static const int64_t holds_ms[] = {5000, 10000, 20000, 40000, 80000, 160000, 300000, 300000};
    struct world w;
    struct gate_node_state saved;
    (void)state;
    world_settle(&w, 3);
    for (size_t i = 0; i < ARRAY_LEN(holds_ms); i++) {
        flap(&w);
        judge_node_state(w.judge, 1, world_now(&w).wall, &saved);
        assert_int_equal(saved.hold_ms, holds_ms[i]);
        int ticks = world_until_read(&w, 2, true, 310);
        assert_in_range(ticks, holds_ms[i] / 1000, holds_ms[i] / 1000 + 3);
    }
    /* Ten quiet minutes later it starts from the beginning. */
    world_ticks(&w, 605);
    flap(&w);
    judge_node_state(w.judge, 1, world_now(&w).wall, &saved);
    assert_int_equal(saved.hold_ms, 5000);
    world_deinit(&w);
}

static void test_hard_lag_is_told(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 3);
    world_node(&w, 2)->is_paused = true;
    world_ticks(&w, 10);
    assert_reason(&w, 2, "lag");
    world_ticks(&w, 8);
    assert_reason(&w, 2, "hard_lag");
    assert_int_equal(world_verdict(&w, 2)->state, FRESH_STALE);
    size_t told = 0;
    for (size_t i = 0; i < w.flip_count; i++)
        told += str_eq(w.flips[i].reason, "hard_lag");
    assert_int_equal(told, 1);
    world_deinit(&w);
}

/* hard_lag does not wait for `fall`. */
static void test_hard_lag_acts_at_once(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 3);
    w.gate.fall = 1000;
    world_start(&w);
    world_ticks(&w, 5);
    world_node(&w, 2)->is_paused = true;
    world_ticks(&w, 13);
    assert_true(world_verdict(&w, 2)->read);
    (void)world_until_read(&w, 2, false, 5);
    assert_reason(&w, 2, "hard_lag");
    world_deinit(&w);
}

static void test_dead_receiver_grows_and_leaves(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 3);
    world_node(&w, 2)->is_cut = true;
    (void)world_until_read(&w, 2, false, 8);
    assert_int_equal(world_verdict(&w, 2)->cause, CAUSE_LINK_DOWN);
    assert_true(world_verdict(&w, 2)->lag_ms >= 2900);
    world_deinit(&w);
}

/* ---- no wrong flips ---- */

static void test_idle_checkpoint_and_bulk_are_no_lag(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 3);
    w.skip_truth = true; /* single commits: lo may be an interval early */
    w.is_idle = true;
    world_ticks(&w, 2);
    for (int i = 0; i < 90; i++) {
        if (i % 15 == 0)
            sim_write(&w.sim, 56, false);
        world_tick(&w);
        assert_int_equal(world_verdict(&w, 2)->lag_ms, 0);
    }
    sim_write(&w.sim, 24000, false); /* checkpoint */
    world_ticks(&w, 5);
    /* Bulk: pg2 applies it slowly, and nothing visible is missing there. */
    w.is_bulk = true;
    world_node(&w, 2)->is_paused = true;
    for (int i = 0; i < 60; i++) {
        world_tick(&w);
        assert_int_equal(world_verdict(&w, 2)->lag_ms, 0);
        assert_true(world_verdict(&w, 2)->lag_hi_ms < 2000);
    }
    assert_true(world_verdict(&w, 2)->wal_lag_ms > 50000);
    assert_true(world_verdict(&w, 2)->lag_bytes > 1000000);
    w.is_bulk = false;
    world_node(&w, 2)->is_paused = false;
    sim_write(&w.sim, 200, true);
    world_ticks(&w, 10);
    assert_int_equal(w.flip_count, 0);
    world_deinit(&w);
}

static void test_missed_polls_of_the_primary_flip_nobody(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 3);
    for (int i = 0; i < 60; i++) {
        world_node(&w, 1)->is_silent = i % 3 == 0;
        world_tick(&w);
    }
    assert_int_equal(w.flip_count, 0);
    world_deinit(&w);
}

/* ---- nodes that do not answer ---- */

static void test_a_replica_is_down_after_three_probes(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 3);
    world_node(&w, 2)->failure = PG_FAIL_TIMEOUT;
    world_ticks(&w, 2);
    assert_true(world_verdict(&w, 2)->up && world_verdict(&w, 2)->read);
    world_tick(&w);
    const struct verdict *v = world_verdict(&w, 2);
    assert_false(v->up || v->read);
    assert_int_equal(v->state, FRESH_DOWN);
    assert_int_equal(v->cause, CAUSE_ABSENT);
    assert_int_equal(v->lag_ms, LAG_UNKNOWN);
    assert_string_equal(v->reason, "down");
    assert_non_null(strstr(v->evidence, "timeout"));
    world_node(&w, 2)->failure = PG_FAIL_NONE;
    world_tick(&w);
    assert_true(world_verdict(&w, 2)->up);
    assert_false(world_verdict(&w, 2)->read);
    int ticks = world_until_read(&w, 2, true, 10);
    assert_true(ticks >= 5);
    world_deinit(&w);
}

static void test_starting_is_not_down_for_a_minute(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 3);
    world_node(&w, 2)->failure = PG_FAIL_STARTING;
    world_ticks(&w, 58);
    const struct verdict *v = world_verdict(&w, 2);
    assert_true(v->up && v->read);
    assert_int_equal(v->cause, CAUSE_STARTING);
    assert_int_equal(v->state, FRESH_UNKNOWN);
    assert_string_equal(v->reason, "starting");
    world_ticks(&w, 5);
    assert_false(world_verdict(&w, 2)->up || world_verdict(&w, 2)->read);
    assert_int_equal(world_verdict(&w, 2)->state, FRESH_DOWN);
    world_deinit(&w);
}

/* A refused login or a name that does not resolve is the agent's own loss. */
static void test_own_loss_takes_nobody_out(void **state)
{
    static const enum pg_failure failures[] = {PG_FAIL_AUTH, PG_FAIL_RESOLVE, PG_FAIL_SATURATED,
                                               PG_FAIL_CONFIG, PG_FAIL_GRANT};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        struct world w;
        world_settle(&w, 3);
        world_node(&w, 2)->failure = failures[i];
        world_ticks(&w, 60);
        assert_true(world_verdict(&w, 2)->read);
        assert_false(world_verdict(&w, 2)->up);
        assert_reason(&w, 2, "unobservable");
        world_deinit(&w);
    }
}

/* ---- what the agent cannot observe ---- */

struct sight {
    enum pg_failure failures[3]; /* from the fourth tick on; NONE: answers */
    bool cut;                    /* no replica streams */
    int cascaded;                /* this replica streams from the other one; 0: none */
    enum unobservable wanted[3];
};

static const struct sight sights[] = {
    {.failures = {0}, .wanted = {0}},
    {.failures = {[1] = PG_FAIL_AUTH}, .wanted = {[1] = UNOBSERVABLE_LOGIN}},
    {.failures = {[0] = PG_FAIL_AUTH}, .wanted = {[0] = UNOBSERVABLE_LOGIN}},
    {.failures = {[1] = PG_FAIL_GRANT}, .wanted = {[1] = UNOBSERVABLE_GRANT}},
    {.failures = {[1] = PG_FAIL_CONFIG}, .wanted = {[1] = UNOBSERVABLE_CONFIG}},
    {.failures = {[1] = PG_FAIL_RESOLVE}, .wanted = {[1] = UNOBSERVABLE_NAME}},
    {.failures = {[1] = PG_FAIL_SATURATED}, .wanted = {[1] = UNOBSERVABLE_SATURATED}},
    /* down by its own probes is observed */
    {.failures = {[1] = PG_FAIL_CONNECT}, .wanted = {0}},
    {.failures = {[1] = PG_FAIL_TIMEOUT}, .wanted = {0}},
    {.failures = {[1] = PG_FAIL_STARTING}, .wanted = {0}},
    /* a silent primary */
    {.failures = {[0] = PG_FAIL_TIMEOUT}, .wanted = {[0] = UNOBSERVABLE_STREAMING}},
    {.failures = {[0] = PG_FAIL_CONNECT}, .wanted = {[0] = UNOBSERVABLE_STREAMING}},
    {.failures = {[0] = PG_FAIL_CONNECT}, .cut = true, .wanted = {0}},
    {.failures = {PG_FAIL_CONNECT, 0, PG_FAIL_CONNECT}, .wanted = {[0] = UNOBSERVABLE_STREAMING}},
    {.failures = {PG_FAIL_CONNECT, PG_FAIL_CONNECT}, .cascaded = 3, .wanted = {0}},
    {.failures = {PG_FAIL_CONNECT}, .cascaded = 3, .wanted = {[0] = UNOBSERVABLE_STREAMING}},
    /* blind; a node's own reason is told first */
    {.failures = {PG_FAIL_TIMEOUT, PG_FAIL_TIMEOUT, PG_FAIL_CONNECT},
     .wanted = {UNOBSERVABLE_BLIND, UNOBSERVABLE_BLIND, UNOBSERVABLE_BLIND}},
    {.failures = {PG_FAIL_TIMEOUT, PG_FAIL_AUTH, PG_FAIL_CONNECT},
     .wanted = {UNOBSERVABLE_BLIND, UNOBSERVABLE_LOGIN, UNOBSERVABLE_BLIND}},
};

static void check_sight(const struct sight *s, size_t number)
{
    struct world w;
    world_settle(&w, 3);
    for (size_t i = 0; i < 3; i++) {
        w.nodes[i].failure = s->failures[i];
        w.nodes[i].is_cut = s->cut && i > 0;
        (void)snprintf(w.nodes[i].sender_host, sizeof(w.nodes[i].sender_host), "10.0.0.%d",
                       (int)i + 1 == s->cascaded ? 2 : 1);
    }
    world_ticks(&w, 2);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(world_verdict(&w, i + 1)->unobservable, UNOBSERVABLE_NOT);
    world_tick(&w);
    for (size_t i = 0; i < 3; i++)
        if (world_verdict(&w, i + 1)->unobservable != s->wanted[i])
            fail_msg("case %zu: pg%zu is %s", number, i + 1,
                     unobservable_name(world_verdict(&w, i + 1)->unobservable));
    for (size_t i = 0; i < 3; i++)
        w.nodes[i].failure = PG_FAIL_NONE;
    world_tick(&w);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(world_verdict(&w, i + 1)->unobservable, UNOBSERVABLE_NOT);
    world_deinit(&w);
}

static void test_what_cannot_be_observed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sights); i++)
        check_sight(&sights[i], i);
}

static void test_never_seen(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 3);
    world_node(&w, 3)->failure = PG_FAIL_CONNECT;
    world_start(&w);
    world_ticks(&w, 2);
    assert_int_equal(world_verdict(&w, 3)->unobservable, UNOBSERVABLE_NOT);
    world_tick(&w);
    assert_int_equal(world_verdict(&w, 3)->unobservable, UNOBSERVABLE_NEVER_SEEN);
    world_node(&w, 3)->failure = PG_FAIL_NONE;
    world_tick(&w);
    world_node(&w, 3)->failure = PG_FAIL_CONNECT;
    world_ticks(&w, 4); /* seen once, it is a replica that is down */
    assert_int_equal(world_verdict(&w, 3)->unobservable, UNOBSERVABLE_NOT);
    world_deinit(&w);
}

/* The only node of a cluster is its own witness. */
static void test_one_node_is_never_blind(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 1);
    world_node(&w, 1)->failure = PG_FAIL_CONNECT;
    world_ticks(&w, 5);
    assert_true(judge_cluster(w.judge)->blind);
    assert_int_equal(world_verdict(&w, 1)->unobservable, UNOBSERVABLE_NOT);
    world_node(&w, 1)->failure = PG_FAIL_AUTH;
    world_ticks(&w, 1);
    assert_int_equal(world_verdict(&w, 1)->unobservable, UNOBSERVABLE_LOGIN);
    world_deinit(&w);
}

/* After a blindness sessions come back one by one: silence is our own until then. */
static void test_sight_comes_back_node_by_node(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 3);
    for (size_t i = 1; i <= 3; i++)
        world_node(&w, i)->failure = PG_FAIL_TIMEOUT;
    world_ticks(&w, 10);
    world_node(&w, 1)->failure = PG_FAIL_NONE;
    world_ticks(&w, 20);
    assert_int_equal(world_verdict(&w, 1)->unobservable, UNOBSERVABLE_NOT);
    assert_int_equal(world_verdict(&w, 2)->unobservable, UNOBSERVABLE_BLIND);
    world_ticks(&w, 20);
    assert_int_equal(world_verdict(&w, 2)->unobservable, UNOBSERVABLE_NOT);
    assert_int_equal(world_verdict(&w, 2)->state, FRESH_DOWN);
    world_deinit(&w);
}

static void test_blind_holds_everything(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 3);
    for (size_t i = 1; i <= 3; i++)
        world_node(&w, i)->failure = PG_FAIL_TIMEOUT;
    world_ticks(&w, 600);
    assert_true(judge_cluster(w.judge)->blind);
    assert_string_equal(judge_cluster(w.judge)->reason, "blind");
    assert_true(world_verdict(&w, 1)->write);
    assert_true(world_verdict(&w, 2)->read && world_verdict(&w, 3)->read);
    assert_false(world_verdict(&w, 2)->up);
    assert_int_equal(w.flip_count, 0);
    /* They come back one by one, as their sessions do: still nothing is lost. */
    world_node(&w, 1)->failure = PG_FAIL_NONE;
    world_ticks(&w, 10);
    world_node(&w, 2)->failure = PG_FAIL_NONE;
    world_ticks(&w, 15);
    world_node(&w, 3)->failure = PG_FAIL_NONE;
    world_ticks(&w, 10);
    assert_false(judge_cluster(w.judge)->blind);
    assert_int_equal(world_flips(&w, "read", 0) + world_flips(&w, "write", 0), 0);
    world_deinit(&w);
}

/* One that stays silent long after sight came back is down after all. */
static void test_down_after_blindness(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 3);
    for (size_t i = 1; i <= 3; i++)
        world_node(&w, i)->failure = PG_FAIL_TIMEOUT;
    world_ticks(&w, 20);
    world_node(&w, 1)->failure = world_node(&w, 2)->failure = PG_FAIL_NONE;
    world_ticks(&w, 34);
    assert_true(world_verdict(&w, 3)->read);
    world_ticks(&w, 5);
    assert_false(world_verdict(&w, 3)->read);
    world_deinit(&w);
}

static void test_total_loss_by_choice(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 3);
    w.gate.on_total_loss = LOSS_UNHEALTHY;
    world_start(&w);
    world_ticks(&w, 5);
    for (size_t i = 1; i <= 3; i++)
        world_node(&w, i)->failure = PG_FAIL_TIMEOUT;
    world_ticks(&w, 4);
    for (size_t i = 1; i <= 3; i++) {
        assert_false(world_verdict(&w, i)->read || world_verdict(&w, i)->write);
        assert_reason(&w, i, "total_loss");
    }
    assert_true(judge_cluster(w.judge)->blind);
    for (size_t i = 1; i <= 3; i++)
        world_node(&w, i)->failure = PG_FAIL_NONE;
    world_ticks(&w, 10);
    assert_true(world_verdict(&w, 1)->write && world_verdict(&w, 2)->read);
    world_deinit(&w);
}

/* ---- the primary unread ---- */

static void test_frozen_primary_takes_no_replica_out(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 3);
    w.is_idle = true; /* it is frozen, so nothing is written */
    world_node(&w, 1)->is_silent = true;
    world_ticks(&w, 2);
    world_node(&w, 1)->is_silent = false;
    world_node(&w, 1)->failure = PG_FAIL_TIMEOUT;
    world_ticks(&w, 600);
    assert_true(world_verdict(&w, 2)->read && world_verdict(&w, 3)->read);
    assert_reason(&w, 2, "primary_unseen");
    assert_true(judge_cluster(w.judge)->primary_unseen);
    assert_false(world_verdict(&w, 1)->write);
    assert_int_equal(world_verdict(&w, 1)->state, FRESH_DOWN);
    assert_int_equal(world_flips(&w, "read", 0), 0);
    world_node(&w, 1)->failure = PG_FAIL_NONE;
    w.is_idle = false;
    world_ticks(&w, 10);
    assert_true(world_verdict(&w, 1)->write);
    assert_int_equal(world_verdict(&w, 2)->state, FRESH_FRESH);
    assert_int_equal(world_flips(&w, "read", 0), 0);
    world_deinit(&w);
}

static void test_half_rule_in_total(void **state)
{
    static const struct {
        size_t nodes, may_leave;
    } cases[] = {{2, 0}, {3, 1}, {4, 1}, {5, 2}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        world_settle(&w, cases[i].nodes);
        w.skip_truth = true;
        world_node(&w, 1)->failure = PG_FAIL_TIMEOUT;
        world_tick(&w);
        /* All but one fall silent, at different times; the last one keeps the agent from blindness.
         */
        for (size_t n = 2; n <= cases[i].nodes; n++) {
            if (n < cases[i].nodes)
                world_node(&w, n)->failure = PG_FAIL_CONNECT;
            else
                world_node(&w, n)->is_cut = true;
            world_ticks(&w, 20);
        }
        world_ticks(&w, 120);
        assert_int_equal(world_out(&w), cases[i].may_leave);
        world_deinit(&w);
    }
}

static void test_half_rule_says_so(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 4);
    world_node(&w, 1)->failure = PG_FAIL_TIMEOUT;
    world_tick(&w);
    world_node(&w, 2)->failure = world_node(&w, 3)->failure = PG_FAIL_CONNECT;
    world_ticks(&w, 10);
    assert_int_equal(world_out(&w), 1);
    assert_reason(&w, 2, "down");
    assert_reason(&w, 3, "half_rule");
    /* The primary is read again: then its silence counts. */
    world_node(&w, 1)->failure = PG_FAIL_NONE;
    world_ticks(&w, 2);
    assert_false(world_verdict(&w, 3)->read);
    world_deinit(&w);
}

/* Others go on receiving from a primary that only the agent has lost: a cut-off one is seen. */
static void test_surrogates_show_a_cut_off_replica(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 4);
    world_node(&w, 1)->failure = PG_FAIL_TIMEOUT;
    world_ticks(&w, 5);
    world_node(&w, 2)->is_cut = true;
    (void)world_until_read(&w, 2, false, 10);
    assert_reason(&w, 2, "lag");
    world_ticks(&w, 100);
    assert_true(world_verdict(&w, 3)->read && world_verdict(&w, 4)->read);
    world_deinit(&w);
}

/* The age of the last message keeps a direct replica fresh, and makes none fresh. */
static void test_receipt_age_keeps_fresh_only(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 4);
    for (size_t i = 2; i <= 4; i++) {
        world_node(&w, i)->receipt_age_ms = 100;
        (void)str_copy(world_node(&w, i)->sender_host, 32, i == 4 ? "10.0.0.2" : "10.0.0.1");
    }
    world_node(&w, 3)->is_paused = true;
    (void)world_until_read(&w, 3, false, 8);
    world_node(&w, 1)->failure = PG_FAIL_TIMEOUT;
    world_node(&w, 3)->is_paused = false;
    world_ticks(&w, 60);
    assert_int_equal(world_verdict(&w, 2)->state, FRESH_FRESH);
    assert_false(world_verdict(&w, 3)->read);
    /* Cascaded: its link is fresh, its data may not be. */
    assert_int_equal(world_verdict(&w, 4)->state, FRESH_UNKNOWN);
    assert_true(world_verdict(&w, 4)->read);
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fresh_replicas_are_published_at_once),
        cmocka_unit_test(test_stale_at_first_start_is_not_published),
        cmocka_unit_test(test_paused_replica_leaves_in_time),
        cmocka_unit_test(test_a_flip_carries_its_evidence),
        cmocka_unit_test(test_returns_only_after_the_hold),
        cmocka_unit_test(test_relapse_during_the_hold_starts_it_again),
        cmocka_unit_test(test_the_hold_doubles_up_to_its_cap),
        cmocka_unit_test(test_hard_lag_is_told),
        cmocka_unit_test(test_hard_lag_acts_at_once),
        cmocka_unit_test(test_dead_receiver_grows_and_leaves),
        cmocka_unit_test(test_idle_checkpoint_and_bulk_are_no_lag),
        cmocka_unit_test(test_missed_polls_of_the_primary_flip_nobody),
        cmocka_unit_test(test_a_replica_is_down_after_three_probes),
        cmocka_unit_test(test_starting_is_not_down_for_a_minute),
        cmocka_unit_test(test_own_loss_takes_nobody_out),
        cmocka_unit_test(test_what_cannot_be_observed),
        cmocka_unit_test(test_never_seen),
        cmocka_unit_test(test_one_node_is_never_blind),
        cmocka_unit_test(test_sight_comes_back_node_by_node),
        cmocka_unit_test(test_blind_holds_everything),
        cmocka_unit_test(test_down_after_blindness),
        cmocka_unit_test(test_total_loss_by_choice),
        cmocka_unit_test(test_frozen_primary_takes_no_replica_out),
        cmocka_unit_test(test_half_rule_in_total),
        cmocka_unit_test(test_half_rule_says_so),
        cmocka_unit_test(test_surrogates_show_a_cut_off_replica),
        cmocka_unit_test(test_receipt_age_keeps_fresh_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
