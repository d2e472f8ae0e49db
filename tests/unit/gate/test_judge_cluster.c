/*
 * The judge over simulated clusters: who is who after a promotion or a split, where reads go when
 * no replica is fit, and what outlives a restart, a gap or a reload. At every tick of every test
 * the true lag must lie within [lo, hi] (world.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gate/world.h"

#define assert_reason(w, node, text) assert_string_equal(world_verdict((w), (node))->reason, (text))

/* ---- who is who ---- */

static void test_split_brain_on_one_timeline_holds(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 4);
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
    world_settle(&w, 3);
    w.is_idle = true;
    world_ticks(&w, 2);
    promote(&w, 1, 2);
    world_node(&w, 3)->is_cut = true; /* has not been pointed to the new one yet */
    sim_write(&w.sim, 56, false);     /* as each promotion does */
    world_ticks(&w, 2);
    assert_true(world_verdict(&w, 2)->write);
    assert_false(world_verdict(&w, 1)->write);
    assert_int_equal(world_verdict(&w, 2)->role, ROLE_PRIMARY);
    assert_int_equal(world_flips(&w, "role", 2), 1);
    assert_string_equal(judge_cluster(w.judge)->primary, "pg2");
    /* Not beyond the fork, following nobody: the history up to it says that nothing is missing. */
    assert_true(world_verdict(&w, 3)->read);
    assert_int_equal(world_verdict(&w, 3)->lag_ms, 0);
    assert_in_range(world_verdict(&w, 3)->lag_hi_ms, 0, 1500);
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
    world_settle(&w, 4);
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
    world_settle(&w, 3);
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
    world_settle(&w, 3);
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
    world_settle(&w, 3);
    world_node(&w, 1)->connections_permille = 300;
    pause_all(&w, true);
    (void)world_until_read(&w, 1, true, 8);
    const struct verdict *v = world_verdict(&w, 1);
    assert_true(v->fallback && v->write);
    assert_int_equal(v->weight, 30);
    assert_string_equal(v->reason, "no_fresh_replica");
    assert_true(judge_cluster(w.judge)->reads_on_primary);
    assert_int_equal(world_out(&w), 2);
    assert_int_equal(world_flips(&w, "fallback", 1), 1);
    world_ticks(&w, 20);
    assert_int_equal(world_flips(&w, "read", 1), 1);
    pause_all(&w, false);
    world_ticks(&w, 5);
    assert_true(world_verdict(&w, 1)->read);
    (void)world_until_read(&w, 1, false, 4);
    assert_int_equal(world_out(&w), 0);
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
    assert_int_equal(world_out(&w), 2);
    pause_all(&w, false);
    world_ticks(&w, 9);
    assert_int_equal(world_out(&w), 0);
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
    world_settle(&w, 3);
    world_node(&w, 1)->connections_permille = 500;
    pause_all(&w, true);
    (void)world_until_read(&w, 1, true, 8);
    world_node(&w, 1)->connections_permille = 850;
    world_tick(&w);
    assert_false(world_verdict(&w, 1)->read);
    assert_string_equal(judge_cluster(w.judge)->reason, "primary_saturated");
    assert_int_equal(world_out(&w), 1);
    /* Relief alone does not bring the reads back: they would swing. */
    world_node(&w, 1)->connections_permille = 400;
    world_ticks(&w, 3);
    assert_false(world_verdict(&w, 1)->read);
    /* With no replica under hard_lag left, and room on the primary: there. */
    world_ticks(&w, 15);
    assert_true(world_verdict(&w, 1)->read);
    assert_int_equal(world_out(&w), 2);
    world_deinit(&w);
}

/* The fallback is on and the primary dies: stale reads are better than none. */
static void test_panic_without_a_primary(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 3);
    pause_all(&w, true);
    (void)world_until_read(&w, 1, true, 8);
    world_node(&w, 1)->failure = PG_FAIL_CONNECT;
    world_ticks(&w, 2);
    assert_true(world_verdict(&w, 1)->read);
    world_ticks(&w, 2);
    assert_false(world_verdict(&w, 1)->read);
    assert_int_equal(world_out(&w), 1);
    assert_string_equal(judge_cluster(w.judge)->reason, "primary_lost");
    assert_false(judge_cluster(w.judge)->reads_on_primary);
    world_deinit(&w);
}

static void test_two_nodes_failover_keeps_a_reader(void **state)
{
    struct world w;
    (void)state;
    world_settle(&w, 2);
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
    world_settle(&w, 4);
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
    world_settle(&w, 3);
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
        size_t out = world_out(&w);
        restart(&w, 3000);
        assert_int_equal(world_verdict(&w, 1)->read, on_primary);
        world_ticks(&w, 10);
        assert_int_equal(world_verdict(&w, 1)->read, on_primary);
        assert_int_equal(world_out(&w), out);
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
    world_settle(&w, 3);
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
    world_settle(&w, 3);
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
    world_settle(&w, 3);
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
    world_settle(&w, 3);
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
    world_settle(&w, 4);
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

/* ---- all at once ---- */

/* One of many faults begins or ends. */
static void disturb(struct world *w)
{
    struct world_node *n = &w->nodes[sim_random(&w->sim, (int64_t)w->n)];
    switch (sim_random(&w->sim, 12)) {
    case 0:
        n->failure = PG_FAIL_TIMEOUT;
        break;
    case 1:
        n->failure = PG_FAIL_STARTING;
        break;
    case 2:
        n->is_silent = true;
        break;
    case 3:
        n->is_paused = n->role == ROLE_REPLICA;
        break;
    case 4:
        n->is_cut = n->role == ROLE_REPLICA;
        break;
    default: /* most faults are short */
        n->failure = PG_FAIL_NONE;
        n->is_silent = n->is_paused = n->is_cut = false;
    }
}

static void check_invariants(const struct world *w, const int64_t stale_since_ms[WORLD_NODES])
{
    const struct cluster_verdict *c = judge_cluster(w->judge);
    size_t readers = 0, writers = 0;
    for (size_t i = 0; i < w->n; i++) {
        const struct verdict *v = judge_verdict(w->judge, i);
        readers += v->read;
        writers += v->write;
        assert_true(v->weight > 0 || !v->read);
        assert_true(v->read || v->weight == 0);
        assert_false(v->state == FRESH_FRESH && v->role == ROLE_REPLICA && !v->read);
        /* Stale, seen by an agent that sees the primary: out within 4 s. */
        if (stale_since_ms[i] != 0 && w->sim.now_ms - stale_since_ms[i] > 5000)
            assert_false(v->state == FRESH_FRESH);
    }
    assert_true(writers <= 1);
    assert_true(readers > 0 || c->blind || c->primary_unseen || writers == 0);
}

static void test_chaos(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct world w;
        int64_t stale_since_ms[WORLD_NODES] = {0};
        world_settle(&w, 4);
        w.sim.random = seed * 7919 + 1;
        for (int i = 0; i < 1500; i++) {
            if (sim_random(&w.sim, 3) == 0)
                disturb(&w);
            world_tick(&w);
            bool is_primary_read = w.nodes[0].failure == PG_FAIL_NONE && !w.nodes[0].is_silent;
            for (size_t n = 1; n < w.n; n++) {
                bool is_stale = sim_truth_ms(&w.sim, w.nodes[n].replay) > 3000;
                bool is_read = w.nodes[n].failure == PG_FAIL_NONE && !w.nodes[n].is_silent;
                if (!is_stale || !is_read || !is_primary_read)
                    stale_since_ms[n] = 0;
                else if (stale_since_ms[n] == 0)
                    stale_since_ms[n] = w.sim.now_ms;
            }
            check_invariants(&w, stale_since_ms);
            world_forget_flips(&w);
        }
        /* When all is well again, all come back. */
        for (size_t n = 0; n < w.n; n++) {
            w.nodes[n].failure = PG_FAIL_NONE;
            w.nodes[n].is_silent = w.nodes[n].is_paused = w.nodes[n].is_cut = false;
        }
        world_ticks(&w, 310);
        assert_int_equal(world_out(&w), 0);
        assert_true(world_verdict(&w, 1)->write && !world_verdict(&w, 1)->read);
        world_deinit(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        cmocka_unit_test(test_chaos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
