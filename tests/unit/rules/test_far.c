/* Rules that look further back than the head are evaluated elsewhere; their group waits. */
#include "rules_bench.h"

#include <pthread.h>

#define GROUPS                                                                                \
    "groups: [{name: far, rules: [{record: 'r:a', expr: metric}, "                            \
    "{alert: F, expr: 'max_over_time(metric[1d]) > 5'}, {record: 'r:b', expr: 'r:a + 1'}]}, " \
    "{name: near, rules: [{record: 'r:n', expr: metric}, {record: 'r:m', expr: "              \
    "'rate(metric[5m])'}]}]"

static void setup_far(struct bench *b, const char *text)
{
    *b = (struct bench){.use_far = true};
    setup_with(b, text);
}

/* What a worker does: evaluates job i over the head, which stands for head and history here. */
static void evaluate(struct bench *b, size_t i)
{
    rule_job_run(b->jobs[i], head_reader(b->head), NULL, NULL);
}

static void finish(struct bench *b, size_t i)
{
    rules_far_done(b->rules, b->jobs[i], b->now);
    rule_job_destroy(&b->jobs[i]);
    b->jobs[i] = b->jobs[--b->job_count];
}

static struct rules_stats stats_of(struct bench *b)
{
    struct rules_stats st;
    rules_stats(b->rules, &st);
    return st;
}

static void its_group_waits_and_the_others_go_on(void **state)
{
    struct bench b;
    (void)state;
    setup_far(&b, GROUPS);
    run(&b, 6, 1);
    int64_t began = b.now.wall.ms;
    assert_int_equal(b.job_count, 1);
    assert_true(ask(&b, "r:a") == 6);
    assert_true(isnan(ask(&b, "r:b")));
    run(&b, 7, 3);
    assert_int_equal(b.job_count, 1);
    assert_int_equal(stats_of(&b).missed_total, 3);
    assert_true(ask(&b, "r:a") == 6);
    assert_true(ask(&b, "r:n") == 7);
    evaluate(&b, 0);
    assert_log(&b, "");
    finish(&b, 0);
    assert_log(&b, "inactive>firing F;");
    assert_true(ask_at(&b, "r:b", began) == 7); /* at the time of its run */
    struct alert_list *list = rules_list(b.rules, b.now.wall);
    assert_int_equal(list->alerts[0]->active_at.ms, began);
    assert_true(list->alerts[0]->value == 6); /* not what came later */
    alert_list_unref(list);
    run(&b, 1, 1);
    assert_int_equal(b.job_count, 1);
    assert_int_equal(stats_of(&b).missed_total, 3);
    assert_true(ask(&b, "r:a") == 1);
    struct rule_report *report = rules_report(b.rules);
    assert_int_equal(report->groups[0].run_at.ms, began);
    rule_report_unref(report);
    teardown(&b);
}

static void an_end_without_a_result_is_an_error(void **state)
{
    struct bench b;
    (void)state;
    setup_far(&b, GROUPS);
    run(&b, 6, 1);
    evaluate(&b, 0);
    finish(&b, 0);
    assert_log(&b, "inactive>firing F;");
    run(&b, 1, 1);
    rules_far_failed(b.rules, b.jobs[0], "the history does not answer", b.now);
    assert_string_equal(error_of(&b, 1), "the history does not answer");
    assert_log(&b, "");
    rules_far_done(b.rules, b.jobs[0], b.now); /* too late: of no interest */
    rule_job_destroy(&b.jobs[0]);
    b.job_count = 0;
    run(&b, 1, 1);
    evaluate(&b, 0);
    rule_job_fail(b.jobs[0], "history cannot be read: it is broken");
    finish(&b, 0);
    assert_string_equal(error_of(&b, 1), "history cannot be read: it is broken");
    b.refuse_far = true;
    run(&b, 1, 1);
    assert_int_equal(b.job_count, 0);
    assert_non_null(strstr(error_of(&b, 1), "too many rules wait"));
    assert_true(ask(&b, "r:b") == 2); /* the group went on */
    assert_log(&b, "");
    teardown(&b);
}

static bool at_once(void *arg)
{
    (void)arg;
    return true;
}

static void a_deadline_ends_the_evaluation(void **state)
{
    struct bench b;
    (void)state;
    setup_far(&b, GROUPS);
    run(&b, 6, 1);
    rule_job_run(b.jobs[0], head_reader(b.head), at_once, NULL);
    finish(&b, 0);
    assert_string_not_equal(error_of(&b, 1), "");
    assert_int_equal(stats_of(&b).failures_total, 1);
    teardown(&b);
}

/* The rule, its text and its group are gone while a worker evaluates it. */
static void a_reload_meanwhile_is_safe(void **state)
{
    struct bench b;
    (void)state;
    setup_far(&b, GROUPS);
    run(&b, 6, 1);
    rules_load(b.rules, parse("groups: [{name: far, rules: [{alert: F, expr: 'metric > 100'}]}]"),
               b.now);
    evaluate(&b, 0);
    finish(&b, 0);
    assert_log(&b, "");
    run(&b, 6, 1);
    assert_int_equal(b.job_count, 0);
    rules_load(b.rules, parse(GROUPS), b.now);
    run(&b, 6, 1);
    rules_load(b.rules, parse(GROUPS), b.now);
    run(&b, 7, 1); /* the new group has a job of its own */
    assert_int_equal(b.job_count, 2);
    evaluate(&b, 0);
    evaluate(&b, 1);
    finish(&b, 0);
    assert_log(&b, "");
    finish(&b, 0);
    assert_log(&b, "inactive>firing F;");
    teardown(&b);
}

static void the_rules_may_end_before_the_job(void **state)
{
    struct bench b;
    (void)state;
    setup_far(&b, GROUPS);
    run(&b, 6, 1);
    rules_destroy(&b.rules);
    evaluate(&b, 0); /* the reader is still there */
    teardown(&b);
}

static void *work(void *arg)
{
    evaluate(arg, 0);
    return NULL;
}

/* In a thread, with reloads and ticks beside it: for ASan and TSan. */
static void a_worker_and_the_engine_share_nothing(void **state)
{
    struct bench b;
    pthread_t thread;
    (void)state;
    setup_far(&b, GROUPS);
    for (int i = 0; i < 20; i++) {
        run(&b, 6, 1);
        assert_int_equal(pthread_create(&thread, NULL, work, &b), 0);
        if (i % 2 == 1)
            rules_load(b.rules, parse(GROUPS), b.now);
        else
            run(&b, 6, 2);
        pthread_join(thread, NULL);
        finish(&b, 0);
    }
    teardown(&b);
}

/* From how far on it is far: only what the head does not hold whole, and never the lookback. */
static void far_is_what_the_head_does_not_hold(void **state)
{
    static const struct {
        const char *expr;
        int after_s;
        bool is_far;
    } rows[] = {
        {"metric", 1, false},
        {"rate(metric[5m])", 1, false},
        {"rate(metric[6m])", 1, true},
        {"rate(metric[6m])", 361, false},
        {"metric offset 10m", 400, true},
        {"metric offset 10m", 901, false},
        {"metric @ 1600000000", 901, true},
        {"1", 1, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench b;
        char text[200];
        snprintf(text, sizeof(text), "groups: [{name: g, rules: [{record: 'r:x', expr: '%s'}]}]",
                 rows[i].expr);
        setup_far(&b, "groups: []");
        run(&b, 6, rows[i].after_s);
        rules_load(b.rules, parse(text), b.now);
        run(&b, 6, 1);
        if ((b.job_count > 0) != rows[i].is_far)
            fail_msg("%s after %d s", rows[i].expr, rows[i].after_s);
        teardown(&b);
    }
}

/* After a start a window of an hour is read from the history too; if that does not answer, the rule
 * is not blind. */
static void what_fits_into_the_head_does_not_depend_on_the_history(void **state)
{
    struct bench b;
    (void)state;
    setup_far(&b,
              "groups: [{name: g, rules: [{record: 'r:x', expr: 'max_over_time(metric[1h])'}]}]");
    run(&b, 6, 1);
    rules_far_failed(b.rules, b.jobs[0], "the history does not answer", b.now);
    rule_job_destroy(&b.jobs[0]);
    b.job_count = 0;
    assert_string_equal(error_of(&b, 0), "");
    assert_true(ask(&b, "r:x") == 6);
    run(&b, 7, 1);
    evaluate(&b, 0);
    rule_job_fail(b.jobs[0], "history cannot be read: it is broken");
    finish(&b, 0);
    assert_string_equal(error_of(&b, 0), "");
    assert_true(ask(&b, "r:x") == 7);
    b.refuse_far = true;
    run(&b, 8, 1);
    assert_string_equal(error_of(&b, 0), "");
    assert_true(ask(&b, "r:x") == 8);
    teardown(&b);
}

/* Without run_far everything is evaluated at once. */
static void nothing_is_far_without_workers(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, GROUPS);
    run(&b, 6, 1);
    assert_log(&b, "inactive>firing F;");
    assert_true(ask(&b, "r:b") == 7);
    teardown(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_group_waits_and_the_others_go_on),
        cmocka_unit_test(an_end_without_a_result_is_an_error),
        cmocka_unit_test(a_deadline_ends_the_evaluation),
        cmocka_unit_test(a_reload_meanwhile_is_safe),
        cmocka_unit_test(the_rules_may_end_before_the_job),
        cmocka_unit_test(a_worker_and_the_engine_share_nothing),
        cmocka_unit_test(far_is_what_the_head_does_not_hold),
        cmocka_unit_test(what_fits_into_the_head_does_not_depend_on_the_history),
        cmocka_unit_test(nothing_is_far_without_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
