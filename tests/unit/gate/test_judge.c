/*
 * The judge over simulated clusters: who takes reads and writes, when, and for which reason. At
 * every tick of every test the true lag must lie within [lo, hi] (world.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gate/world.h"

#define assert_reason(w, node, text) assert_string_equal(world_verdict((w), (node))->reason, (text))

/* Three nodes, all well, after a few ticks. */
static void settled(struct world *w, size_t nodes)
{
    world_init(w, nodes);
    world_start(w);
    world_ticks(w, 5);
    for (size_t i = 2; i <= nodes; i++)
        assert_true(world_verdict(w, i)->read);
    world_forget_flips(w);
}

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
        settled(&w, 3);
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
    settled(&w, 3);
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
    settled(&w, 3);
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
    settled(&w, 3);
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
    settled(&w, 3);
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
    settled(&w, 3);
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
    settled(&w, 3);
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
    settled(&w, 3);
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
    settled(&w, 3);
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
    settled(&w, 3);
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
    settled(&w, 3);
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
                                               PG_FAIL_CONFIG};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        struct world w;
        settled(&w, 3);
        world_node(&w, 2)->failure = failures[i];
        world_ticks(&w, 60);
        assert_true(world_verdict(&w, 2)->read);
        assert_false(world_verdict(&w, 2)->up);
        assert_reason(&w, 2, "unobservable");
        world_deinit(&w);
    }
}

static void test_blind_holds_everything(void **state)
{
    struct world w;
    (void)state;
    settled(&w, 3);
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
    settled(&w, 3);
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
    settled(&w, 3);
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

static size_t out_of(const struct world *w)
{
    size_t out = 0;
    for (size_t i = 2; i <= w->n; i++)
        out += !world_verdict(w, i)->read;
    return out;
}

static void test_half_rule_in_total(void **state)
{
    static const struct {
        size_t nodes, may_leave;
    } cases[] = {{2, 0}, {3, 1}, {4, 1}, {5, 2}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        settled(&w, cases[i].nodes);
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
        assert_int_equal(out_of(&w), cases[i].may_leave);
        world_deinit(&w);
    }
}

static void test_half_rule_says_so(void **state)
{
    struct world w;
    (void)state;
    settled(&w, 4);
    world_node(&w, 1)->failure = PG_FAIL_TIMEOUT;
    world_tick(&w);
    world_node(&w, 2)->failure = world_node(&w, 3)->failure = PG_FAIL_CONNECT;
    world_ticks(&w, 10);
    assert_int_equal(out_of(&w), 1);
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
    settled(&w, 4);
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
    settled(&w, 4);
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

/* ---- who is who ---- */

static void test_split_brain_on_one_timeline_holds(void **state)
{
    struct world w;
    (void)state;
    settled(&w, 4);
    world_node(&w, 2)->role = ROLE_PRIMARY;
    world_node(&w, 3)->failure = PG_FAIL_CONNECT;
    world_ticks(&w, 20);
    assert_true(judge_cluster(w.judge)->split_brain);
    assert_string_equal(judge_cluster(w.judge)->reason, "split_brain");
    assert_true(world_verdict(&w, 1)->write);
    assert_false(world_verdict(&w, 2)->write);
    assert_true(world_verdict(&w, 3)->read && world_verdict(&w, 4)->read);
    assert_int_equal(world_flips(&w, "read", 0) + world_flips(&w, "write", 0), 0);
    assert_int_equal(world_flips(&w, "role", 2), 1);
    world_deinit(&w);
}

static void promote(struct world *w, size_t from, size_t to)
{
    world_node(w, from)->failure = PG_FAIL_CONNECT;
    world_node(w, to)->role = ROLE_PRIMARY;
    world_node(w, to)->tli = 2;
}

static void test_promotion(void **state)
{
    struct world w;
    (void)state;
    settled(&w, 3);
    w.is_idle = true;
    world_ticks(&w, 2);
    promote(&w, 1, 2);
    world_node(&w, 3)->is_cut = true; /* has not been pointed to the new one yet */
    world_ticks(&w, 2);
    assert_true(world_verdict(&w, 2)->write);
    assert_false(world_verdict(&w, 1)->write);
    assert_int_equal(world_verdict(&w, 2)->role, ROLE_PRIMARY);
    assert_int_equal(world_flips(&w, "role", 2), 1);
    assert_string_equal(judge_cluster(w.judge)->primary, "pg2");
    /* Not beyond the fork, following nobody: it still has all that counts. */
    assert_true(world_verdict(&w, 3)->read);
    w.is_idle = false;
    world_node(&w, 3)->is_cut = false;
    world_node(&w, 3)->tli = 2;
    world_ticks(&w, 10);
    assert_true(world_verdict(&w, 3)->read);
    assert_int_equal(world_flips(&w, "read", 3), 0);
    world_deinit(&w);
}

static void test_following_the_old_primary_is_diverged(void **state)
{
    struct world w;
    (void)state;
    settled(&w, 4);
    world_node(&w, 2)->role = ROLE_PRIMARY; /* pg1 goes on, and pg3 follows it */
    world_node(&w, 2)->tli = 2;
    world_node(&w, 4)->tli = 2;
    w.skip_truth = true;
    world_tick(&w);
    assert_int_equal(world_verdict(&w, 3)->state, FRESH_DIVERGED);
    assert_false(world_verdict(&w, 3)->read);
    assert_reason(&w, 3, "old_timeline");
    assert_false(world_verdict(&w, 1)->write);
    assert_int_equal(world_verdict(&w, 1)->state, FRESH_DIVERGED);
    assert_true(world_verdict(&w, 2)->write);
    assert_true(judge_cluster(w.judge)->split_brain);
    world_ticks(&w, 5);
    assert_true(world_verdict(&w, 4)->read);
    /* Rebuilt from the new one, it comes back by the rule of return. */
    world_node(&w, 1)->failure = PG_FAIL_CONNECT;
    world_node(&w, 3)->tli = 2;
    int ticks = world_until_read(&w, 3, true, 12);
    assert_true(ticks >= 5);
    world_deinit(&w);
}

static void test_other_system_is_diverged(void **state)
{
    struct world w;
    (void)state;
    settled(&w, 3);
    world_node(&w, 3)->system_id = 666;
    world_tick(&w);
    assert_reason(&w, 3, "other_system");
    assert_int_equal(world_verdict(&w, 3)->state, FRESH_DIVERGED);
    assert_false(world_verdict(&w, 3)->read);
    assert_true(world_verdict(&w, 2)->read && world_verdict(&w, 1)->write);
    world_deinit(&w);
}

/* An old primary that comes back after the new one died does not get the writes. */
static void test_old_primary_never_writes_again(void **state)
{
    struct world w;
    (void)state;
    settled(&w, 3);
    promote(&w, 1, 2);
    world_node(&w, 3)->tli = 2;
    world_ticks(&w, 5);
    world_node(&w, 2)->failure = PG_FAIL_CONNECT;
    world_node(&w, 1)->failure = PG_FAIL_NONE;
    world_ticks(&w, 10);
    assert_false(world_verdict(&w, 1)->write);
    assert_int_equal(world_verdict(&w, 1)->state, FRESH_DIVERGED);
    /* Rewound, it is a replica of the new timeline. */
    world_node(&w, 2)->failure = PG_FAIL_NONE;
    world_node(&w, 1)->role = ROLE_REPLICA;
    world_node(&w, 1)->tli = 2;
    int ticks = world_until_read(&w, 1, true, 12);
    assert_true(ticks >= 5);
    assert_false(world_verdict(&w, 1)->write);
    world_deinit(&w);
}

/* ---- reads without a fit replica ---- */

static void pause_all(struct world *w, bool is_paused)
{
    for (size_t i = 2; i <= w->n; i++)
        world_node(w, i)->is_paused = is_paused;
}

static void test_panic_primary(void **state)
{
    struct world w;
    (void)state;
    settled(&w, 3);
    world_node(&w, 1)->connections_permille = 300;
    pause_all(&w, true);
    (void)world_until_read(&w, 1, true, 8);
    const struct verdict *v = world_verdict(&w, 1);
    assert_true(v->fallback && v->write);
    assert_int_equal(v->weight, 30);
    assert_string_equal(v->reason, "no_fresh_replica");
    assert_true(judge_cluster(w.judge)->reads_on_primary);
    assert_int_equal(out_of(&w), 2);
    assert_int_equal(world_flips(&w, "fallback", 1), 1);
    world_ticks(&w, 20);
    assert_int_equal(world_flips(&w, "read", 1), 1);
    pause_all(&w, false);
    world_ticks(&w, 5);
    assert_true(world_verdict(&w, 1)->read);
    (void)world_until_read(&w, 1, false, 4);
    assert_int_equal(out_of(&w), 0);
    assert_false(judge_cluster(w.judge)->reads_on_primary);
    assert_false(world_verdict(&w, 1)->fallback);
    world_deinit(&w);
}

static void test_panic_best(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 3);
    w.gate.panic = PANIC_BEST;
    world_start(&w);
    world_ticks(&w, 5);
    world_node(&w, 2)->is_paused = true;
    world_ticks(&w, 3);
    world_node(&w, 3)->is_paused = true;
    world_ticks(&w, 7);
    assert_true(world_verdict(&w, 3)->read);
    assert_reason(&w, 3, "panic_best");
    assert_int_equal(world_verdict(&w, 3)->state, FRESH_STALE);
    assert_true(world_verdict(&w, 3)->weight > 0);
    assert_false(world_verdict(&w, 2)->read || world_verdict(&w, 1)->read);
    assert_false(judge_cluster(w.judge)->reads_on_primary);
    /* Over hard_lag nobody is the best any more. */
    world_ticks(&w, 15);
    assert_int_equal(out_of(&w), 2);
    pause_all(&w, false);
    world_ticks(&w, 9);
    assert_int_equal(out_of(&w), 0);
    assert_reason(&w, 2, "returned");
    world_deinit(&w);
}

static void test_panic_hold(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 3);
    w.gate.panic = PANIC_HOLD;
    world_start(&w);
    world_ticks(&w, 5);
    world_forget_flips(&w);
    world_node(&w, 2)->is_paused = true;
    world_ticks(&w, 6);
    assert_false(world_verdict(&w, 2)->read);
    world_node(&w, 3)->is_paused = true;
    world_ticks(&w, 60);
    assert_true(world_verdict(&w, 3)->read);
    assert_int_equal(world_verdict(&w, 3)->state, FRESH_STALE);
    assert_reason(&w, 3, "panic_hold");
    assert_false(world_verdict(&w, 1)->read || world_verdict(&w, 2)->read);
    assert_int_equal(world_flips(&w, "read", 3), 0);
    world_node(&w, 2)->is_paused = false;
    (void)world_until_read(&w, 2, true, 9);
    world_tick(&w);
    assert_false(world_verdict(&w, 3)->read);
    world_deinit(&w);
}

static void test_panic_guard(void **state)
{
    struct world w;
    (void)state;
    settled(&w, 3);
    world_node(&w, 1)->connections_permille = 500;
    pause_all(&w, true);
    (void)world_until_read(&w, 1, true, 8);
    world_node(&w, 1)->connections_permille = 850;
    world_tick(&w);
    assert_false(world_verdict(&w, 1)->read);
    assert_string_equal(judge_cluster(w.judge)->reason, "primary_saturated");
    assert_int_equal(out_of(&w), 1);
    /* Relief alone does not bring the reads back: they would swing. */
    world_node(&w, 1)->connections_permille = 400;
    world_ticks(&w, 3);
    assert_false(world_verdict(&w, 1)->read);
    /* With no replica under hard_lag left, and room on the primary: there. */
    world_ticks(&w, 15);
    assert_true(world_verdict(&w, 1)->read);
    assert_int_equal(out_of(&w), 2);
    world_deinit(&w);
}

/* The fallback is on and the primary dies: stale reads are better than none. */
static void test_panic_without_a_primary(void **state)
{
    struct world w;
    (void)state;
    settled(&w, 3);
    pause_all(&w, true);
    (void)world_until_read(&w, 1, true, 8);
    world_node(&w, 1)->failure = PG_FAIL_CONNECT;
    world_ticks(&w, 2);
    assert_true(world_verdict(&w, 1)->read);
    world_ticks(&w, 2);
    assert_false(world_verdict(&w, 1)->read);
    assert_int_equal(out_of(&w), 1);
    assert_string_equal(judge_cluster(w.judge)->reason, "primary_lost");
    assert_false(judge_cluster(w.judge)->reads_on_primary);
    world_deinit(&w);
}

static void test_two_nodes_failover_keeps_a_reader(void **state)
{
    struct world w;
    (void)state;
    settled(&w, 2);
    promote(&w, 1, 2);
    world_tick(&w);
    assert_true(world_verdict(&w, 2)->write && world_verdict(&w, 2)->read);
    assert_true(world_verdict(&w, 2)->fallback);
    assert_true(judge_cluster(w.judge)->reads_on_primary);
    assert_false(judge_cluster(w.judge)->no_replicas);
    world_deinit(&w);
}

static void test_no_replicas_is_no_fallback(void **state)
{
    struct world w;
    (void)state;
    for (int scope = 0; scope < 2; scope++) {
        world_init(&w, 1);
        w.scope = scope == 0 ? SCOPE_NODE : SCOPE_CLUSTER;
        world_start(&w);
        world_ticks(&w, 30);
        const struct verdict *v = world_verdict(&w, 1);
        assert_true(v->read && v->write);
        assert_string_equal(v->reason, "no_replicas");
        assert_int_equal(v->weight, 100);
        assert_true(judge_cluster(w.judge)->no_replicas);
        assert_false(judge_cluster(w.judge)->reads_on_primary);
        assert_int_equal(world_flips(&w, "fallback", 0), 0);
        world_deinit(&w);
    }
}

/* A backup replica with `read: false` is none to fall back from. */
static void test_read_false_is_excluded(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 2);
    w.configs[1].read = false;
    world_start(&w);
    world_ticks(&w, 10);
    const struct verdict *v = world_verdict(&w, 2);
    assert_int_equal(v->state, FRESH_EXCLUDED);
    assert_string_equal(v->reason, "read_false");
    assert_false(v->read);
    assert_true(v->up && v->lag_ms >= 0); /* still measured */
    assert_true(world_verdict(&w, 1)->read);
    assert_reason(&w, 1, "no_replicas");
    world_deinit(&w);
}

static void test_what_a_replica_is_excludes_it(void **state)
{
    struct world w;
    (void)state;
    settled(&w, 4);
    world_node(&w, 2)->has_no_replay_lsn = true;
    world_node(&w, 3)->delay_ms = 10000;
    world_ticks(&w, 3);
    assert_reason(&w, 2, "no_replay_lsn");
    assert_reason(&w, 3, "delayed");
    assert_int_equal(world_verdict(&w, 2)->state, FRESH_EXCLUDED);
    assert_int_equal(world_verdict(&w, 3)->state, FRESH_EXCLUDED);
    assert_int_equal(world_verdict(&w, 3)->cause, CAUSE_DELAYED);
    assert_int_equal(world_verdict(&w, 3)->expected_delay_ms, 10000);
    world_node(&w, 3)->delay_ms = 0;
    (void)world_until_read(&w, 3, true, 12);
    world_deinit(&w);
}

/* A delay under max_lag is no reason to leave, and does not keep from coming back. */
static void test_short_delay_is_tolerated(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 2);
    w.gate.max_lag_ms = w.configs[1].max_lag_ms = 10000;
    w.gate.hard_lag_ms = w.configs[1].hard_lag_ms = 50000;
    world_node(&w, 2)->delay_ms = 6000;
    world_start(&w);
    world_ticks(&w, 30);
    assert_true(world_verdict(&w, 2)->read);
    world_node(&w, 2)->is_paused = true;
    (void)world_until_read(&w, 2, false, 8);
    world_node(&w, 2)->is_paused = false;
    (void)world_until_read(&w, 2, true, 12);
    world_deinit(&w);
}

/* ---- restart, gap, reload ---- */

static struct gate_image image_of(struct world *w)
{
    struct gate_image image = {.node_count = w->n, .same_boot = true};
    image.nodes = mem_alloc_array(w->n, sizeof(*image.nodes));
    for (size_t i = 0; i < w->n; i++) {
        judge_node_state(w->judge, i, world_now(w).wall, &image.nodes[i]);
        image.nodes[i].lease_until = wall_add(world_now(w).wall, w->gate.lease_ms);
    }
    return image;
}

/* The judge's ring as the store would have it: one entry for each tick of the last ones. */
static void add_timeline(struct world *w, struct gate_image *image, int ticks)
{
    struct gate_image_timeline *t = mem_alloc_array(1, sizeof(*t));
    t->entries = mem_alloc_array((size_t)ticks, sizeof(*t->entries));
    for (int i = 0; i < ticks; i++) {
        world_tick(w);
        assert_true(
            judge_timeline_newest(w->judge, &t->system_id, &t->timeline, &t->entries[t->count++]));
    }
    image->timelines = t;
    image->timeline_count = 1;
}

static void restart(struct world *w, int64_t after_ms)
{
    struct gate_image image = image_of(w), rings = {.node_count = 0};
    add_timeline(w, &rings, 10);
    image.timelines = rings.timelines;
    image.timeline_count = rings.timeline_count;
    for (size_t i = 0; i < w->n; i++)
        image.nodes[i].lease_until = wall_add(world_now(w).wall, w->gate.lease_ms);
    judge_destroy(&w->judge);
    world_pass(w, after_ms);
    world_start(w);
    judge_restore(w->judge, &image, world_now(w));
    gate_image_free(&image);
    world_forget_flips(w);
}

static void test_restart_keeps_what_was_published(void **state)
{
    struct world w;
    (void)state;
    settled(&w, 3);
    world_node(&w, 2)->is_paused = true;
    (void)world_until_read(&w, 2, false, 8);
    restart(&w, 6000);
    assert_true(world_verdict(&w, 3)->read && world_verdict(&w, 1)->write);
    assert_false(world_verdict(&w, 2)->read);
    assert_int_equal(world_verdict(&w, 3)->weight, 100);
    assert_int_equal(world_verdict(&w, 2)->state, FRESH_STALE);
    world_ticks(&w, 20);
    assert_int_equal(world_flips(&w, "read", 0) + world_flips(&w, "write", 0), 0);
    /* The ring was kept: the lag is known from before the restart. */
    assert_true(world_verdict(&w, 2)->lag_lo_ms > 25000);
    world_node(&w, 2)->is_paused = false;
    int ticks = world_until_read(&w, 2, true, 10);
    assert_true(ticks >= 5);
    world_deinit(&w);
}

static void test_restart_keeps_the_fallback(void **state)
{
    static const enum config_panic policies[] = {PANIC_PRIMARY, PANIC_BEST, PANIC_HOLD};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
        struct world w;
        world_init(&w, 3);
        w.gate.panic = policies[i];
        w.gate.hard_lag_ms = w.configs[1].hard_lag_ms = w.configs[2].hard_lag_ms = 100000;
        world_start(&w);
        world_ticks(&w, 5);
        pause_all(&w, true);
        world_ticks(&w, 8);
        bool on_primary = world_verdict(&w, 1)->read;
        size_t out = out_of(&w);
        restart(&w, 3000);
        assert_int_equal(world_verdict(&w, 1)->read, on_primary);
        world_ticks(&w, 10);
        assert_int_equal(world_verdict(&w, 1)->read, on_primary);
        assert_int_equal(out_of(&w), out);
        assert_int_equal(world_flips(&w, "read", 0), 0);
        assert_int_equal(judge_cluster(w.judge)->reads_on_primary, policies[i] == PANIC_PRIMARY);
        world_deinit(&w);
    }
}

/* Long after the lease nothing is published: the first proof of freshness publishes it again. */
static void test_restart_after_the_lease_starts_anew(void **state)
{
    struct world w;
    (void)state;
    settled(&w, 3);
    restart(&w, 120000);
    assert_false(world_verdict(&w, 2)->read || world_verdict(&w, 1)->write);
    world_ticks(&w, 3);
    assert_true(world_verdict(&w, 2)->read && world_verdict(&w, 1)->write);
    world_deinit(&w);
}

/* Of another boot, moved by a wall clock that was wrong: times in the future prove nothing. */
static void test_ring_from_the_future_is_dropped(void **state)
{
    struct world w;
    (void)state;
    settled(&w, 3);
    struct gate_image image = {.node_count = 0};
    add_timeline(&w, &image, 5);
    for (size_t i = 0; i < image.timelines[0].count; i++) {
        image.timelines[0].entries[i].t_before.ms += 3600000;
        image.timelines[0].entries[i].t_after.ms += 3600000;
    }
    judge_destroy(&w.judge);
    world_node(&w, 2)->is_paused = true;
    world_pass(&w, 5000);
    world_start(&w);
    judge_restore(w.judge, &image, world_now(&w));
    gate_image_free(&image);
    world_ticks(&w, 3);
    assert_false(world_verdict(&w, 2)->read);
    world_deinit(&w);
}

static void test_gap_lets_two_ticks_pass(void **state)
{
    struct world w;
    (void)state;
    settled(&w, 3);
    world_node(&w, 2)->is_paused = true;
    world_pass(&w, 60000); /* the agent stood still */
    world_tick_gap(&w, true);
    assert_true(world_verdict(&w, 2)->read);
    world_ticks(&w, 2);
    assert_true(world_verdict(&w, 2)->read);
    assert_int_equal(w.flip_count, 0);
    (void)world_until_read(&w, 2, false, 3);
    assert_true(world_verdict(&w, 3)->read);
    world_deinit(&w);
}

static void test_gap_resets_failures(void **state)
{
    struct world w;
    (void)state;
    settled(&w, 3);
    world_node(&w, 2)->failure = PG_FAIL_TIMEOUT;
    world_ticks(&w, 2);
    world_tick_gap(&w, true);
    world_ticks(&w, 2);
    assert_true(world_verdict(&w, 2)->up);
    world_node(&w, 2)->failure = PG_FAIL_NONE;
    world_ticks(&w, 5);
    assert_int_equal(world_flips(&w, "read", 0), 0);
    world_deinit(&w);
}

static void test_reconfigure_keeps_states(void **state)
{
    struct world w;
    (void)state;
    settled(&w, 4);
    world_node(&w, 3)->is_paused = true;
    (void)world_until_read(&w, 3, false, 8);
    /* pg2 is removed; pg3 and pg4 move up. */
    for (size_t i = 1; i < 3; i++) {
        w.configs[i] = w.configs[i + 1];
        w.nodes[i] = w.nodes[i + 1];
    }
    w.n = 3;
    const struct judge_opts opts = world_opts(&w);
    world_forget_flips(&w);
    judge_reconfigure(w.judge, &opts, world_now(&w));
    assert_int_equal(judge_node_count(w.judge), 3);
    assert_string_equal(world_verdict(&w, 2)->node, "pg3");
    assert_false(world_verdict(&w, 2)->read);
    assert_true(world_verdict(&w, 3)->read && world_verdict(&w, 1)->write);
    world_ticks(&w, 5);
    assert_int_equal(world_verdict(&w, 2)->state, FRESH_STALE);
    assert_true(world_verdict(&w, 2)->lag_lo_ms > 5000);
    assert_int_equal(world_flips(&w, "read", 0), 0);
    world_deinit(&w);
}

/* ---- scope: node ---- */

static void test_scope_node_judges_its_own(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 3);
    w.scope = SCOPE_NODE;
    w.configs[1].local = true;
    world_start(&w);
    world_ticks(&w, 5);
    assert_true(world_verdict(&w, 2)->read);
    assert_false(world_verdict(&w, 3)->read || world_verdict(&w, 1)->write);
    assert_false(judge_cluster(w.judge)->judged);
    pause_all(&w, true);
    (void)world_until_read(&w, 2, false, 8);
    world_ticks(&w, 5);
    assert_false(world_verdict(&w, 1)->read);
    assert_false(judge_cluster(w.judge)->reads_on_primary);
    world_deinit(&w);
}

static void test_scope_node_primary_takes_no_reads(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 2);
    w.scope = SCOPE_NODE;
    w.configs[0].local = true;
    world_node(&w, 2)->failure = PG_FAIL_CONNECT;
    world_start(&w);
    world_ticks(&w, 20);
    assert_true(world_verdict(&w, 1)->write);
    assert_false(world_verdict(&w, 1)->read);
    world_deinit(&w);
}

/* At the first start nobody panics while a node may still answer. */
static void test_start_waits_for_slow_nodes(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 2);
    world_node(&w, 2)->is_silent = true;
    world_start(&w);
    world_ticks(&w, 5);
    assert_false(world_verdict(&w, 1)->read);
    world_ticks(&w, 6);
    assert_true(world_verdict(&w, 1)->read);
    world_deinit(&w);
}

static void test_weight_follows_lag(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 2);
    w.configs[1].max_lag_ms = 60000;
    w.configs[1].hard_lag_ms = 300000;
    world_start(&w);
    world_ticks(&w, 5);
    assert_int_equal(world_verdict(&w, 2)->weight, 100);
    world_node(&w, 2)->is_paused = true;
    int last = 100;
    int changes = 0;
    for (int i = 0; i < 58; i++) {
        world_tick(&w);
        int weight = world_verdict(&w, 2)->weight;
        assert_true(weight <= last && weight >= 10 && weight % 10 == 0);
        changes += weight != last;
        last = weight;
    }
    assert_true(last <= 30);
    assert_in_range(changes, 3, 6); /* steps of 20 points, not of each tick */
    (void)world_until_read(&w, 2, false, 10);
    assert_int_equal(world_verdict(&w, 2)->weight, 0);
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
        cmocka_unit_test(test_blind_holds_everything),
        cmocka_unit_test(test_down_after_blindness),
        cmocka_unit_test(test_total_loss_by_choice),
        cmocka_unit_test(test_frozen_primary_takes_no_replica_out),
        cmocka_unit_test(test_half_rule_in_total),
        cmocka_unit_test(test_half_rule_says_so),
        cmocka_unit_test(test_surrogates_show_a_cut_off_replica),
        cmocka_unit_test(test_receipt_age_keeps_fresh_only),
        cmocka_unit_test(test_split_brain_on_one_timeline_holds),
        cmocka_unit_test(test_promotion),
        cmocka_unit_test(test_following_the_old_primary_is_diverged),
        cmocka_unit_test(test_other_system_is_diverged),
        cmocka_unit_test(test_old_primary_never_writes_again),
        cmocka_unit_test(test_panic_primary),
        cmocka_unit_test(test_panic_best),
        cmocka_unit_test(test_panic_hold),
        cmocka_unit_test(test_panic_guard),
        cmocka_unit_test(test_panic_without_a_primary),
        cmocka_unit_test(test_two_nodes_failover_keeps_a_reader),
        cmocka_unit_test(test_no_replicas_is_no_fallback),
        cmocka_unit_test(test_read_false_is_excluded),
        cmocka_unit_test(test_what_a_replica_is_excludes_it),
        cmocka_unit_test(test_short_delay_is_tolerated),
        cmocka_unit_test(test_restart_keeps_what_was_published),
        cmocka_unit_test(test_restart_keeps_the_fallback),
        cmocka_unit_test(test_restart_after_the_lease_starts_anew),
        cmocka_unit_test(test_ring_from_the_future_is_dropped),
        cmocka_unit_test(test_gap_lets_two_ticks_pass),
        cmocka_unit_test(test_gap_resets_failures),
        cmocka_unit_test(test_reconfigure_keeps_states),
        cmocka_unit_test(test_scope_node_judges_its_own),
        cmocka_unit_test(test_scope_node_primary_takes_no_reads),
        cmocka_unit_test(test_start_waits_for_slow_nodes),
        cmocka_unit_test(test_weight_follows_lag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
