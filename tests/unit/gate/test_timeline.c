/*
 * The ring and its bounds: hand-made cases of each rule, then the property that counts: the truth
 * of a simulated primary lies in [lo, hi] at every evaluation.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gate/sim.h"
#include "pgvigil/gate/timeline.h"

#define SLACK_MS 60

static void add(struct timeline *tl, int64_t at_ms, lsn_t lsn, uint64_t snap)
{
    const struct timeline_entry e = {.t_before = {at_ms},
                                     .t_after = {at_ms + 2},
                                     .write = lsn,
                                     .insert = lsn,
                                     .snap = {snap, snap}};
    assert_true(timeline_add(tl, &e));
}

static struct lag_bounds judge_at(const struct timeline *tl, lsn_t replay, int64_t now_ms)
{
    struct lag_bounds b;
    timeline_judge(tl, replay, (mono_ms){now_ms}, (mono_ms){now_ms}, &b);
    return b;
}

static void test_empty_and_unknown(void **state)
{
    struct timeline *tl = timeline_create(1, 1);
    (void)state;
    assert_false(judge_at(tl, 100, 1000).known);
    add(tl, 1000, 100, 1);
    assert_false(judge_at(tl, 0, 1000).known);
    struct lag_bounds b = judge_at(tl, 100, 1500);
    assert_true(b.known);
    assert_int_equal(b.lo_ms, 0);
    assert_int_equal(b.hi_ms, 500);
    timeline_destroy(&tl);
    timeline_destroy(&tl);
}

static void test_run_length(void **state)
{
    struct timeline *tl = timeline_create(1, 1);
    (void)state;
    for (int64_t t = 0; t < 3600; t++)
        add(tl, t * 1000, 100, 1);
    assert_int_equal(timeline_count(tl), 1);
    struct timeline_entry e;
    assert_true(timeline_newest(tl, &e));
    assert_int_equal(e.t_after.ms, 2);
    assert_int_equal(e.t_before.ms, 3599000);
    /* The first byte after an idle hour is as old as one interval, not an hour. */
    add(tl, 3600000, 200, 2);
    struct lag_bounds b = judge_at(tl, 100, 3600500);
    assert_int_equal(b.hi_ms, 1500);
    assert_int_equal(b.lo_ms, 498);
    timeline_destroy(&tl);
}

static void test_bounds_of_steady_commits(void **state)
{
    struct timeline *tl = timeline_create(1, 1);
    (void)state;
    for (int64_t i = 0; i < 20; i++)
        add(tl, i * 1000, (lsn_t)(1000 + i * 100), (uint64_t)i + 1);
    /* Stands between entries 4 (1400) and 5 (1500). */
    struct lag_bounds b = judge_at(tl, 1450, 19100);
    assert_int_equal(b.wal_hi_ms, 15100);
    assert_int_equal(b.wal_lo_ms, 14098);
    assert_in_range(b.wal_shown_ms, 14500, 14700);
    assert_int_equal(b.hi_ms, 15100);
    assert_int_equal(b.lo_ms, 14098);
    assert_in_range(b.shown_ms, 14500, 14700);
    assert_int_equal(b.bytes, 2900 - 1450);
    /* At the newest. */
    b = judge_at(tl, 2900, 19100);
    assert_int_equal(b.lo_ms, 0);
    assert_int_equal(b.hi_ms, 100);
    assert_int_equal(b.bytes, 0);
    /* Before all that is known: hi is open, and lo is what is proven. */
    b = judge_at(tl, 500, 19100);
    assert_true(b.hi_ms == LAG_INFINITE);
    assert_int_equal(b.lo_ms, 19100 - 1002);
    timeline_destroy(&tl);
}

/* lo is what was proven when the replica was read; hi grows until now. */
static void test_read_earlier_than_now(void **state)
{
    struct timeline *tl = timeline_create(1, 1);
    struct lag_bounds b;
    (void)state;
    for (int64_t i = 0; i < 10; i++)
        add(tl, i * 1000, (lsn_t)(1000 + i * 100), (uint64_t)i + 1);
    timeline_judge(tl, 1150, (mono_ms){9000}, (mono_ms){12000}, &b);
    assert_int_equal(b.lo_ms, 9000 - 2002);
    assert_int_equal(b.hi_ms, 12000 - 1000);
    timeline_destroy(&tl);
}

static void test_snapshot_rule_idle_and_bulk(void **state)
{
    struct timeline *tl = timeline_create(1, 1);
    (void)state;
    /* One bulk transaction: WAL grows for 100 s under one snapshot. */
    for (int64_t i = 0; i <= 100; i++)
        add(tl, i * 1000, (lsn_t)(1000 + i * 1000000), 1);
    struct lag_bounds b = judge_at(tl, 1000, 100100);
    assert_true(b.snapshot_rule);
    assert_int_equal(b.lo_ms, 0);
    assert_int_equal(b.hi_ms, 100);
    assert_int_equal(b.shown_ms, 0);
    assert_in_range(b.wal_lo_ms, 99000, 100000);
    /* Its commit: now something visible is missing, since then and not since its beginning. */
    add(tl, 101000, 102000000, 2);
    b = judge_at(tl, 50000000, 101500);
    assert_false(b.snapshot_rule);
    assert_int_equal(b.lo_ms, 498);
    assert_int_equal(b.hi_ms, 1500);
    assert_in_range(b.shown_ms, 498, 1500);
    timeline_destroy(&tl);
}

/* One lone commit in the interval that holds R: it may lie before R, so nothing is proven. */
static void test_lone_commit_proves_nothing_inside_its_interval(void **state)
{
    struct timeline *tl = timeline_create(1, 1);
    (void)state;
    add(tl, 0, 1000, 1);
    add(tl, 1000, 2000, 2);
    for (int64_t i = 2; i < 60; i++)
        add(tl, i * 1000, (lsn_t)(2000 + i * 10), 2); /* housekeeping */
    struct lag_bounds b = judge_at(tl, 1500, 59000);
    assert_int_equal(b.lo_ms, 0);
    assert_int_equal(b.hi_ms, 59000);
    /* Exactly at the entry before it: then it does lie behind. */
    b = judge_at(tl, 1000, 59000);
    assert_int_equal(b.lo_ms, 59000 - 1002);
    timeline_destroy(&tl);
}

/* Asynchronous commits are visible before they are written: insert decides, not write. */
static void test_insert_decides_for_async_commits(void **state)
{
    struct timeline *tl = timeline_create(1, 1);
    struct timeline_entry e = {.t_before = {0}, .t_after = {2}, .write = 1000, .insert = 1000};
    (void)state;
    e.snap[0] = 1;
    assert_true(timeline_add(tl, &e));
    e = (struct timeline_entry){
        .t_before = {1000}, .t_after = {1002}, .write = 1000, .insert = 1300, .snap = {2, 0}};
    assert_true(timeline_add(tl, &e));
    assert_int_equal(timeline_count(tl), 2);
    struct lag_bounds b = judge_at(tl, 1000, 1500);
    assert_int_equal(b.wal_hi_ms, 500);
    assert_int_equal(b.hi_ms, 1500);
    b = judge_at(tl, 1300, 1500);
    assert_int_equal(b.hi_ms, 500);
    timeline_destroy(&tl);
}

static void test_backward_jump_is_refused(void **state)
{
    struct timeline *tl = timeline_create(1, 1);
    const struct timeline_entry e = {
        .t_before = {9}, .t_after = {9}, .write = 50, .insert = 50, .snap = {1, 1}};
    (void)state;
    add(tl, 0, 100, 1);
    assert_false(timeline_add(tl, &e));
    assert_int_equal(timeline_count(tl), 1);
    timeline_destroy(&tl);
}

static void test_surrogates_prove_staleness_only(void **state)
{
    struct timeline *tl = timeline_create(1, 1);
    (void)state;
    for (int64_t i = 0; i < 5; i++)
        add(tl, i * 1000, (lsn_t)(1000 + i * 100), (uint64_t)i + 1);
    for (int64_t i = 5; i < 30; i++) {
        const struct timeline_entry e = {.t_before = {i * 1000},
                                         .t_after = {i * 1000 + 2},
                                         .write = (lsn_t)(1000 + i * 100),
                                         .insert = (lsn_t)(1000 + i * 100)};
        assert_true(timeline_add(tl, &e));
    }
    /* Has all that any replica has: yet nobody knows what else the primary has done. */
    struct lag_bounds b = judge_at(tl, 3900, 30000);
    assert_int_equal(b.lo_ms, 0);
    assert_int_equal(b.hi_ms, 30000 - 4000);
    /* Cut off, while others have received more. */
    b = judge_at(tl, 1400, 30000);
    assert_int_equal(b.hi_ms, 30000 - 4000);
    assert_int_equal(b.lo_ms, 30000 - 5002);
    /* The primary is read again. */
    add(tl, 30000, 4000, 40);
    b = judge_at(tl, 4000, 30100);
    assert_int_equal(b.hi_ms, 100);
    timeline_destroy(&tl);
}

static void test_surrogate_alone(void **state)
{
    struct timeline *tl = timeline_create(1, 1);
    const struct timeline_entry e = {.t_before = {5}, .t_after = {7}, .write = 50, .insert = 50};
    (void)state;
    assert_true(timeline_add(tl, &e));
    struct lag_bounds b = judge_at(tl, 50, 1000);
    assert_true(b.known);
    assert_true(b.hi_ms == LAG_INFINITE);
    timeline_destroy(&tl);
}

static void test_restore_with_shift(void **state)
{
    const struct timeline_entry stored[] = {
        {{1000}, {900}, 100, 100, {1, 1}},
        {{2000}, {1900}, 200, 200, {2, 2}},
        {{2500}, {2400}, 150, 150, {3, 3}},           /* goes back: damage */
        {{INT64_MAX}, {INT64_MAX}, 300, 300, {3, 3}}, /* no time */
        {{3000}, {2900}, 300, 300, {3, 3}},
    };
    struct timeline *tl = timeline_create(1, 1);
    (void)state;
    timeline_restore(tl, stored, ARRAY_LEN(stored), 500000);
    assert_int_equal(timeline_count(tl), 3);
    struct lag_bounds b = judge_at(tl, 200, 510000);
    assert_int_equal(b.hi_ms, 510000 - 502000);
    assert_int_equal(b.lo_ms, 510000 - 502900);
    add(tl, 510000, 400, 4);
    assert_int_equal(timeline_count(tl), 4);
    timeline_destroy(&tl);
}

static void test_cut_at_fork(void **state)
{
    struct timeline *tl = timeline_create(1, 1);
    (void)state;
    for (int64_t i = 0; i < 10; i++)
        add(tl, i * 1000, (lsn_t)(1000 + i * 100), (uint64_t)i + 1);
    timeline_cut(tl, 1550);
    timeline_rename(tl, 2);
    assert_int_equal(timeline_tli(tl), 2);
    assert_int_equal(timeline_count(tl), 6);
    add(tl, 20000, 1600, 99);
    struct lag_bounds b = judge_at(tl, 1500, 20000);
    assert_int_equal(b.hi_ms, 15000);
    timeline_destroy(&tl);
}

static void test_memory_stays_bounded_and_thinning_only_widens(void **state)
{
    struct timeline *tl = timeline_create(1, 1);
    lsn_t lsn = 0x1000000;
    const int64_t day_s = 86400;
    (void)state;
    for (int64_t i = 0; i < 2 * day_s; i++) {
        add(tl, i * 1000, lsn, (uint64_t)i + 1);
        lsn += 100;
        if (i == 600)
            assert_true(timeline_count(tl) == 601);
    }
    assert_true(timeline_count(tl) <= 20480);
    int64_t now_ms = 2 * day_s * 1000;
    static const int64_t ages_s[] = {60, 3600, 7000, 8000, 40000, 80000};
    for (size_t i = 0; i < ARRAY_LEN(ages_s); i++) {
        lsn_t replay = 0x1000000 + (lsn_t)(2 * day_s - ages_s[i]) * 100 - 50;
        int64_t truth_ms = ages_s[i] * 1000;
        struct lag_bounds b = judge_at(tl, replay, now_ms);
        int64_t width_ms = ages_s[i] <= 7200 ? 1100 : 10100;
        assert_true(b.lo_ms <= truth_ms + 1000 && b.hi_ms >= truth_ms);
        if (b.hi_ms - b.lo_ms > width_ms)
            fail_msg("age %lld s: lo %lld hi %lld", (long long)ages_s[i], (long long)b.lo_ms,
                     (long long)b.hi_ms);
    }
    timeline_destroy(&tl);
}

/* Polled five times a second, two hours do not fit: the ring stays bounded all the same. */
static void test_memory_stays_bounded_when_polled_fast(void **state)
{
    struct timeline *tl = timeline_create(1, 1);
    (void)state;
    for (int64_t i = 0; i < 5 * 3600 * 5; i++) {
        add(tl, i * 200, (lsn_t)(1000 + i), (uint64_t)i + 1);
        assert_true(timeline_count(tl) <= 20480);
    }
    struct lag_bounds b = judge_at(tl, 1000 + 5 * 3600 * 5 - 1500, 5 * 3600 * 1000);
    assert_true(b.hi_ms - b.lo_ms <= 600);
    timeline_destroy(&tl);
}

static void test_hash_snapshot(void **state)
{
    uint64_t a[2], b[2];
    (void)state;
    timeline_hash_snapshot("750:750:", a);
    timeline_hash_snapshot("750:751:", b);
    assert_true(a[0] != b[0] && a[1] != b[1]);
    timeline_hash_snapshot("750:750:", b);
    assert_true(a[0] == b[0] && a[1] == b[1]);
    timeline_hash_snapshot(NULL, a);
    assert_true(a[0] == 0 && a[1] == 0);
    timeline_hash_snapshot("", a);
    assert_true(a[0] == 0 && a[1] == 0);
}

/* ---- the property ---- */

struct runner {
    struct sim sim;
    struct timeline *tl;
    lsn_t replay;
    int64_t paused_until_ms;
    int64_t sampling_ms;
    int commit_every_ms;
    int checked;
};

/* Milliseconds pass: commits, housekeeping, and a replica that is sometimes held up. */
static void pass(struct runner *r, int64_t ms)
{
    for (int64_t i = 0; i < ms; i++) {
        r->sim.now_ms++;
        if (sim_random(&r->sim, r->commit_every_ms) == 0)
            sim_write(&r->sim, 64 + (lsn_t)sim_random(&r->sim, 400), true);
        if (sim_random(&r->sim, 700) == 0)
            sim_write(&r->sim, 56, false);
        if (r->sim.now_ms >= r->paused_until_ms)
            r->replay = sim_lsn(&r->sim);
        if (sim_random(&r->sim, 12000) == 0)
            r->paused_until_ms = r->sim.now_ms + sim_random(&r->sim, 9000);
    }
}

static void check(struct runner *r, lsn_t replay, int64_t read_ms, int64_t truth_at_read_ms)
{
    struct lag_bounds b;
    timeline_judge(r->tl, replay, (mono_ms){read_ms}, (mono_ms){r->sim.now_ms}, &b);
    int64_t truth_ms = sim_truth_ms(&r->sim, replay);
    r->checked++;
    if (b.lo_ms > truth_at_read_ms + SLACK_MS || truth_ms - SLACK_MS > b.hi_ms ||
        b.lo_ms > b.hi_ms || b.shown_ms < b.lo_ms || b.shown_ms > b.hi_ms)
        fail_msg("at %lld: truth %lld (at read %lld), lo %lld, hi %lld, shown %lld",
                 (long long)r->sim.now_ms, (long long)truth_ms, (long long)truth_at_read_ms,
                 (long long)b.lo_ms, (long long)b.hi_ms, (long long)b.shown_ms);
}

static void run_property(uint64_t seed, int64_t sampling_ms, int commit_every_ms)
{
    struct runner r = {.sampling_ms = sampling_ms, .commit_every_ms = commit_every_ms};
    sim_init(&r.sim, seed);
    r.tl = timeline_create(1, 1);
    r.replay = sim_lsn(&r.sim);
    for (int i = 0; i < 400; i++) {
        int64_t read_ms = r.sim.now_ms;
        lsn_t replay = r.replay;
        int64_t truth_at_read_ms = sim_truth_ms(&r.sim, replay);
        pass(&r, 1 + sim_random(&r.sim, 150));
        bool is_read = sim_random(&r.sim, 20) != 0; /* now and then the primary is missed */
        int64_t query_ms = 1 + sim_random(&r.sim, 8);
        struct timeline_entry e = sim_entry(&r.sim, query_ms);
        pass(&r, query_ms);
        if (is_read)
            assert_true(timeline_add(r.tl, &e));
        if (timeline_count(r.tl) > 0)
            check(&r, replay, read_ms, truth_at_read_ms);
        pass(&r, i64_max(1, r.sampling_ms - (r.sim.now_ms - read_ms)));
    }
    assert_true(r.checked > 390);
    timeline_destroy(&r.tl);
    sim_deinit(&r.sim);
}

static void test_truth_lies_within_bounds(void **state)
{
    static const int64_t samplings_ms[] = {200, 1000, 2000, 5000};
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        for (size_t i = 0; i < ARRAY_LEN(samplings_ms); i++)
            run_property(seed, samplings_ms[i], 15);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_and_unknown),
        cmocka_unit_test(test_run_length),
        cmocka_unit_test(test_bounds_of_steady_commits),
        cmocka_unit_test(test_read_earlier_than_now),
        cmocka_unit_test(test_snapshot_rule_idle_and_bulk),
        cmocka_unit_test(test_lone_commit_proves_nothing_inside_its_interval),
        cmocka_unit_test(test_insert_decides_for_async_commits),
        cmocka_unit_test(test_backward_jump_is_refused),
        cmocka_unit_test(test_surrogates_prove_staleness_only),
        cmocka_unit_test(test_surrogate_alone),
        cmocka_unit_test(test_restore_with_shift),
        cmocka_unit_test(test_cut_at_fork),
        cmocka_unit_test(test_memory_stays_bounded_and_thinning_only_widens),
        cmocka_unit_test(test_memory_stays_bounded_when_polled_fast),
        cmocka_unit_test(test_hash_snapshot),
        cmocka_unit_test(test_truth_lies_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
