/* A restart: what fired goes on firing, what was pending waits for what was left. */
#include "rules_bench.h"

#define MINUTE 60
#define HOUR   3600

static const char *rule_text(int for_s)
{
    static char text[200];
    snprintf(text, sizeof(text),
             "groups: [{name: g, rules: [{alert: A, expr: 'metric > 5', for: %ds}]}]", for_s);
    return text;
}

/* A new process: nothing but the alerts is left, and it was down for so long. */
static void restart_with(struct bench *b, const char *text, int down_s, bool knows_when)
{
    struct alert_list *left = rules_list(b->rules, b->now.wall);
    wall_ms stopped = b->now.wall;
    rules_destroy(&b->rules);
    head_destroy(&b->head);
    b->head = head_create(HEAD_KEEP_MS, HEAD_BYTES_MAX);
    pass(b, down_s * INT64_C(1000));
    b->now.mono.ms = 5000; /* of another boot */
    open_rules(b);
    b->log[0] = '\0';
    rules_load(b->rules, parse(text), b->now);
    rules_restore(b->rules, left->alerts, left->n, knows_when ? stopped : WALL_UNSET, b->now);
    alert_list_unref(left);
}

static void restart(struct bench *b, int for_s, int down_s, bool knows_when)
{
    restart_with(b, rule_text(for_s), down_s, knows_when);
}

/* Seconds of a true condition until it fires; at most `most`. */
static int seconds_to_fire(struct bench *b, int most)
{
    for (int i = 1; i <= most; i++) {
        run(b, 6, 1);
        if (strstr(b->log, ">firing") != NULL)
            return i;
    }
    return -1;
}

static void pending_goes_on_with_what_was_left(void **state)
{
    static const struct {
        int for_s, before_s, down_s;
        bool knows_when;
        int after_s; /* from the first evaluation, which is the second run's first second */
    } rows[] = {
        {5 * MINUTE, 2 * MINUTE, 30, true, 3 * MINUTE},
        {5 * MINUTE, 2 * MINUTE, 10 * MINUTE, true, 3 * MINUTE},
        {5 * MINUTE, 2 * MINUTE, HOUR - 10, true, 3 * MINUTE},
        {5 * MINUTE, 2 * MINUTE, HOUR + 10, true, 5 * MINUTE}, /* starts anew */
        {5 * MINUTE, 2 * MINUTE, 10, false, 5 * MINUTE},
        {5 * MINUTE, 5 * MINUTE - 1, 10, true, 1},
        {HOUR, 20 * MINUTE, 10 * MINUTE, true, 40 * MINUTE},
        {HOUR, 50 * MINUTE, 10 * MINUTE, true, 10 * MINUTE},
        {HOUR, 58 * MINUTE, 10, true, 10 * MINUTE}, /* less than the grace is left */
        {HOUR, 58 * MINUTE, 2 * HOUR, true, HOUR},
        {10 * MINUTE, 9 * MINUTE, 10, true, 10 * MINUTE},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench b;
        setup(&b, rule_text(rows[i].for_s));
        run(&b, 6, rows[i].before_s + 1); /* the first second makes it active */
        assert_log(&b, "inactive>pending A;");
        restart(&b, rows[i].for_s, rows[i].down_s, rows[i].knows_when);
        /* the evaluation that sees it again has taken a second already */
        int took = seconds_to_fire(&b, 2 * HOUR) - 1;
        if (took != rows[i].after_s)
            fail_msg("row %zu: fired after %d s, not %d s", i, took, rows[i].after_s);
        assert_log(&b, "pending>pending A;pending>firing A;");
        teardown(&b);
    }
}

/* Its ALERTS_FOR_STATE tells the moved time, and nothing is told before it is known. */
static void series_tell_the_restored_time(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, rule_text(5 * MINUTE));
    run(&b, 6, 61);
    restart(&b, 5 * MINUTE, 1000, true);
    assert_true(isnan(ask(&b, "ALERTS_FOR_STATE")));
    assert_true(isnan(ask(&b, "ALERTS")));
    run(&b, 6, 1);
    assert_true(ask(&b, "ALERTS_FOR_STATE") * 1000 == (double)(b.now.wall.ms - 60000));
    assert_true(ask(&b, "ALERTS{alertstate=\"pending\"}") == 1);
    teardown(&b);
}

/* Each outage counts by itself: the moved time is what a second restart begins with. */
static void two_restarts_add_up(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, rule_text(5 * MINUTE));
    run(&b, 6, 61);
    restart(&b, 5 * MINUTE, 1000, true);
    run(&b, 6, 61);
    restart(&b, 5 * MINUTE, 2000, true);
    assert_int_equal(seconds_to_fire(&b, HOUR), 3 * MINUTE + 1);
    teardown(&b);
}

static void what_fired_fires_on(void **state)
{
    static const struct {
        int for_s, down_s;
        bool knows_when;
    } rows[] = {
        {0, 10, true},          {60, 10, true},   {60, 5 * HOUR, true},
        {60, 24 * HOUR, false}, {HOUR, 10, true}, /* `for` is longer now than it has fired */
        {60, -HOUR, true}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench b;
        setup(&b, rule_text(rows[i].for_s == HOUR ? 60 : rows[i].for_s));
        run(&b, 6, 100);
        restart(&b, rows[i].for_s, rows[i].down_s, rows[i].knows_when);
        run(&b, 6, 3);
        assert_log(&b, "");
        struct rules_stats stats;
        rules_stats(b.rules, &stats);
        assert_int_equal(stats.firing, 1);
        run(&b, 1, 1);
        assert_log(&b, "firing>resolved A;");
        teardown(&b);
    }
}

static void pending_whose_condition_is_gone_ends(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, rule_text(60));
    run(&b, 6, 10);
    restart(&b, 60, 10, true);
    b.failing = true; /* nothing has answered yet */
    run(&b, -1, 3);
    assert_log(&b, "pending>pending(held) A;");
    b.failing = false;
    run(&b, 1, 1);
    assert_log(&b, "pending>inactive A;");
    teardown(&b);
}

/* n seconds in which the metric grows by `step`. */
static void grow(struct bench *b, double step, int n)
{
    for (int i = 0; i < n; i++)
        run(b, b->value + step, 1);
}

#define GROUP(name, rule) "{name: " name ", rules: [" rule "]}"
#define A_ON(expr)        GROUP("a", "{alert: A, expr: '" expr "'}")
#define X_IS(expr)        GROUP("x", "{record: 'r:x', expr: '" expr "'}")
#define Y_IS(expr)        GROUP("y", "{record: 'r:y', expr: '" expr "'}")

/* What the head does not hold yet ends nothing: windows, and what other rules give later. */
static void what_is_not_there_yet_is_no_recovery(void **state)
{
    static const struct {
        const char *text;
        int ends_after_s; /* when the condition is gone */
    } rows[] = {
        {"groups: [" A_ON("rate(metric[30s]) > 0") "]", 30},
        {"groups: [" A_ON("max_over_time(rate(metric[10s])[20s:1s]) > 0") "]", 20},
        {"groups: [" A_ON("r:x > 5") "," X_IS("metric > 5") "]", 1},
        {"groups: [" A_ON("r:y > 5") "," Y_IS("r:x") "," X_IS("metric > 5") "]", 2},
        {"groups: [" A_ON("r:x > 0") "," X_IS("rate(metric[30s]) > 0") "]", 31},
        {"groups: [" A_ON("ALERTS{alertname=\"B\"}") "," GROUP(
             "b", "{alert: B, expr: 'metric > 5'}") "]",
         1},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench b;
        setup(&b, rows[i].text);
        b.value = 100;
        grow(&b, 1, 60);
        restart_with(&b, rows[i].text, 10, true);
        grow(&b, 1, 60);
        if (strstr(b.log, "resolved A") != NULL || strstr(b.log, "pending") != NULL)
            fail_msg("row %zu: %s", i, b.log);
        restart_with(&b, rows[i].text, 10, true);
        run(&b, 1, rows[i].ends_after_s);
        if (strstr(b.log, "resolved A") != NULL)
            fail_msg("row %zu ends too early: %s", i, b.log);
        run(&b, 1, 1);
        if (strstr(b.log, "firing>resolved A") == NULL)
            fail_msg("row %zu does not end: %s", i, b.log);
        teardown(&b);
    }
}

/* A rule that feeds the alert may wait for the history for longer than its interval. */
static void what_the_history_still_owes_is_no_recovery(void **state)
{
    static const char text[] =
        "groups: [" A_ON("r:x > 5") "," X_IS("max_over_time(metric[1d])") "]";
    struct bench b = {.use_far = false};
    (void)state;
    setup_with(&b, text);
    run(&b, 6, 10);
    b.use_far = true;
    restart_with(&b, text, 10, true);
    run(&b, 6, 10);
    assert_int_equal(b.job_count, 1);
    assert_log(&b, "firing>firing(held) A;");
    rule_job_run(b.jobs[0], head_reader(b.head), NULL, NULL);
    rules_far_done(b.rules, b.jobs[0], b.now);
    run(&b, 6, 1);
    assert_log(&b, "firing>firing A;");
    teardown(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pending_goes_on_with_what_was_left),
        cmocka_unit_test(series_tell_the_restored_time),
        cmocka_unit_test(two_restarts_add_up),
        cmocka_unit_test(what_fired_fires_on),
        cmocka_unit_test(pending_whose_condition_is_gone_ends),
        cmocka_unit_test(what_is_not_there_yet_is_no_recovery),
        cmocka_unit_test(what_the_history_still_owes_is_no_recovery),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
