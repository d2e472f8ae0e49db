/* Rules in made-up time, and over a history whose agent was down now and then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/promql/promql.h"
#include "pgvigil/rules/replay_history.h"
#include "promql/mem_reader.h"
#include "rule_text.h"

#define MINUTE INT64_C(60000)
#define HOUR   (60 * MINUTE)

/* ---- the runner ---- */

struct bench {
    char steps[4096], changes[4096];
    struct replay *replay;
    size_t stop_after; /* 0 = never */
    size_t count;
};

static bool on_step(struct replay *replay, wall_ms at, void *arg)
{
    struct bench *b = arg;
    size_t n = strlen(b->steps);
    assert_int_equal(replay_at(replay).ms, at.ms);
    snprintf(b->steps + n, sizeof(b->steps) - n, "%lld ", (long long)at.ms / 1000);
    return ++b->count != b->stop_after;
}

static void on_change(const struct alert *alert, enum alert_state from, void *arg)
{
    struct bench *b = arg;
    size_t n = strlen(b->changes);
    snprintf(b->changes + n, sizeof(b->changes) - n, "%lld %s %s>%s; ",
             (long long)replay_at(b->replay).ms / 1000, alert->rule, alert_state_name(from),
             alert_state_name(alert->state));
}

static void setup(struct bench *b, const char *rules, bool one_interval)
{
    *b = (struct bench){.count = 0};
    b->replay = replay_create(&(struct replay_opts){.evaluation_interval_ms = MINUTE,
                                                    .one_interval = one_interval,
                                                    .start = {1000},
                                                    .max_points = 100,
                                                    .on_step = on_step,
                                                    .on_change = on_change,
                                                    .arg = b},
                              parse(rules));
}

static void give(struct bench *b, const char *metric, int64_t step_ms, double from, size_t n)
{
    struct label pair = {LABEL_METRIC, metric};
    struct point points[100];
    struct err err;
    for (size_t i = 0; i < n; i++)
        points[i] = (struct point){1000 + (int64_t)i * step_ms, from + (double)i};
    assert_true(replay_add(b->replay, &(struct labels){1, &pair}, points, n, &err));
}

static void run_to(struct bench *b, int64_t seconds)
{
    struct err err = {0};
    if (!replay_run(b->replay, (wall_ms){seconds * 1000}, &err))
        fail_msg("%s", err.text);
}

static double value_of(struct bench *b, const char *text, int64_t seconds)
{
    struct promql_limits limits = PROMQL_LIMITS_RULES;
    struct promql_error perr;
    struct promql_value value;
    struct err err = {0};
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    struct promql_expr *expr = promql_parse(text, &perr);
    assert_non_null(expr);
    if (!promql_instant(expr, replay_reader(b->replay), seconds * 1000, &limits, arena, &value,
                        &err))
        fail_msg("%s", err.text);
    double v = value.n == 1 ? value.vector[0].value : -1;
    promql_destroy(&expr);
    arena_destroy(&arena);
    return v;
}

#define TWO_GROUPS                                                                   \
    "groups:\n"                                                                      \
    "- {name: slow, interval: 90s, rules: [{alert: Slow, expr: m > 1, for: 90s}]}\n" \
    "- {name: usual, rules: [{alert: Usual, expr: m > 1, for: 1m}, {record: r, expr: m * 10}]}\n"

static void test_each_group_has_its_interval(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, TWO_GROUPS, false);
    give(&b, "m", MINUTE, 0, 7);
    run_to(&b, 361);
    assert_string_equal(b.steps, "1 61 91 121 181 241 271 301 361 ");
    assert_string_equal(b.changes,
                        "121 Usual inactive>pending; 181 Slow inactive>pending; 181 Usual "
                        "pending>firing; 271 Slow pending>firing; ");
    assert_true(value_of(&b, "r", 361) == 60);
    assert_int_equal(replay_next(b.replay).ms, 421000);
    replay_destroy(&b.replay);
}

static void test_one_interval_for_all(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, TWO_GROUPS, true);
    run_to(&b, 200);
    assert_string_equal(b.steps, "1 61 121 181 ");
    replay_destroy(&b.replay);
}

static void test_nothing_of_the_future_is_seen(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, TWO_GROUPS, false);
    give(&b, "m", 10000, 0, 20);
    run_to(&b, 61);
    assert_true(value_of(&b, "m", 150) == 6);
    run_to(&b, 121);
    assert_true(value_of(&b, "m", 150) == 12);
    replay_destroy(&b.replay);
}

/* Over a jump no time passes for alerts: what was pending has waited no longer. */
static void test_a_jump_ages_nothing(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, "groups: [{name: g, rules: [{alert: A, expr: '1', for: 2m}]}]\n", false);
    run_to(&b, 61);
    replay_jump(b.replay, (wall_ms){7200000});
    run_to(&b, 7300);
    assert_string_equal(b.steps, "1 61 7200 7260 ");
    assert_string_equal(b.changes, "1 A inactive>pending; 7200 A pending>firing; ");
    replay_destroy(&b.replay);
}

static void test_the_caller_may_stop(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, TWO_GROUPS, true);
    b.stop_after = 2;
    run_to(&b, 1000);
    assert_string_equal(b.steps, "1 61 ");
    run_to(&b, 121);
    assert_string_equal(b.steps, "1 61 121 ");
    replay_destroy(&b.replay);
}

static void test_without_rules_samples_become_visible(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, "groups: []\n", true);
    give(&b, "m", MINUTE, 5, 3);
    run_to(&b, 130);
    assert_true(value_of(&b, "m", 130) == 7);
    replay_destroy(&b.replay);
}

static void test_limit_of_samples(void **state)
{
    struct bench b;
    struct point points[101];
    struct label pair = {LABEL_METRIC, "m"};
    struct labels labels = {1, &pair};
    struct err err;
    (void)state;
    setup(&b, TWO_GROUPS, false);
    for (int i = 0; i < 101; i++)
        points[i] = (struct point){i, i};
    assert_false(replay_add(b.replay, &labels, points, 101, &err));
    assert_int_equal(err.kind, ERR_LIMIT);
    assert_true(replay_add(b.replay, &labels, points, 60, &err));
    assert_true(replay_add(b.replay, &labels, points, 40, &err)); /* none is newer */
    assert_int_equal(replay_points(b.replay), 60);
    replay_forget(b.replay, &labels);
    assert_int_equal(replay_points(b.replay), 0);
    replay_destroy(&b.replay);
}

/* A series that is given and recorded too is one series; what was given counts where both are. */
static void test_given_and_recorded(void **state)
{
    struct bench b;
    (void)state;
    setup(&b, "groups: [{name: g, rules: [{record: m, expr: 'vector(7)'}]}]\n", true);
    give(&b, "m", 3 * MINUTE, 1, 1);
    run_to(&b, 61);
    assert_true(value_of(&b, "count(m)", 61) == 1);
    assert_true(value_of(&b, "m", 1) == 1);
    assert_true(value_of(&b, "m", 61) == 7);
    assert_true(value_of(&b, "count_over_time(m[10m])", 61) == 2);
    replay_destroy(&b.replay);
}

/* ---- over a history ---- */

static void put(struct mem_reader *mr, const char *text, int64_t from, int64_t to, int64_t step,
                double v)
{
    struct labels labels;
    mem_labels(mr->arena, text, &labels);
    struct mem_series *s = mem_find(mr, &labels);
    s->labels = labels;
    for (int64_t t = from; t < to; t += step)
        mem_add(mr, s, t, v);
}

static struct replay_outcome *replay(struct mem_reader *mr, const char *rules, int64_t start,
                                     int64_t end, int64_t max_reach_ms)
{
    struct err err = {0};
    struct replay_outcome *o =
        replay_history_run(&(struct replay_history_opts){.history = &mr->reader,
                                                         .evaluation_interval_ms = 10000,
                                                         .start = {start},
                                                         .end = {end},
                                                         .max_reach_ms = max_reach_ms},
                           parse(rules), &err);
    if (o == NULL)
        fail_msg("%s", err.text);
    return o;
}

/* Firings as "minutes-minutes=peak", `!` = fires at the end. */
static const char *firings(const struct replay_outcome *o, size_t rule)
{
    static char out[1024];
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < o->rules[rule].firing_count; i++) {
        const struct replay_firing *f = &o->rules[rule].firings[i];
        n += (size_t)snprintf(out + n, sizeof(out) - n, "%g-", (double)f->from.ms / 60000);
        if (wall_is_set(f->to))
            n += (size_t)snprintf(out + n, sizeof(out) - n, "%g=%g ", (double)f->to.ms / 60000,
                                  f->peak);
        else
            n += (size_t)snprintf(out + n, sizeof(out) - n, "!=%g ", f->peak);
    }
    return out;
}

#define DAY0        (100 * HOUR) /* of the made-up histories; minutes of it stand in the tests */
#define AT(minutes) (DAY0 + (minutes)*MINUTE)

#define HIGH                                                                                     \
    "groups: [{name: g, rules: [{alert: High, expr: m > 5, for: 5m, annotations: {summary: 'is " \
    "{{ $value }}'}}]}]\n"

static void test_firings(void **state)
{
    struct mem_reader mr;
    (void)state;
    mem_reader_init(&mr);
    put(&mr, "m{a=\"1\"}", AT(-300), AT(60), 5000, 1);
    put(&mr, "m{a=\"1\"}", AT(60), AT(80), 5000, 9);
    put(&mr, "m{a=\"1\"}", AT(80), AT(90), 5000, 12);
    put(&mr, "m{a=\"1\"}", AT(90), AT(230), 5000, 1);
    put(&mr, "m{a=\"1\"}", AT(230), AT(240), 5000, 7);
    struct replay_outcome *o = replay(&mr, HIGH, AT(0), AT(240), 0);
    assert_string_equal(firings(o, 0), "6065-6090=12 6235-!=7 ");
    assert_int_equal(o->rules[0].firing_ms, 30 * MINUTE);
    assert_int_equal(o->gap_count, 0);
    assert_string_equal(labels_get(&o->rules[0].firings[0].alert->annotations, "summary"), "is 12");
    replay_outcome_destroy(&o);
    /* what began before the window counts within it only */
    o = replay(&mr, HIGH, AT(70), AT(240), 0);
    assert_string_equal(firings(o, 0), "6065-6090=12 6235-!=7 ");
    assert_int_equal(o->rules[0].firing_ms, 25 * MINUTE);
    replay_outcome_destroy(&o);
    o = replay(&mr, HIGH, AT(100), AT(200), 0);
    assert_string_equal(firings(o, 0), "");
    replay_outcome_destroy(&o);
    mem_reader_deinit(&mr);
}

/* While the agent was down nothing is evaluated: no end and no new alert, and the gap is named. */
static void test_gap(void **state)
{
    struct mem_reader mr;
    (void)state;
    mem_reader_init(&mr);
    put(&mr, "m", AT(-300), AT(60), 5000, 1);
    put(&mr, "m", AT(60), AT(90), 5000, 9);
    put(&mr, "m", AT(150), AT(170), 5000, 9);
    put(&mr, "m", AT(170), AT(240), 5000, 1);
    struct replay_outcome *o = replay(&mr, HIGH, AT(0), AT(240), 0);
    assert_string_equal(firings(o, 0), "6065-6170=9 ");
    assert_int_equal(o->gap_count, 1);
    assert_true(o->gaps[0].from.ms >= AT(90) - 10000 && o->gaps[0].from.ms <= AT(90));
    assert_true(o->gaps[0].to.ms >= AT(150) && o->gaps[0].to.ms <= AT(150) + 10000);
    replay_outcome_destroy(&o);
    mem_reader_deinit(&mr);
}

/* Down when `for` had half passed, and over before it came back. */
static void test_gap_while_pending(void **state)
{
    struct mem_reader mr;
    (void)state;
    mem_reader_init(&mr);
    put(&mr, "m", AT(-300), AT(60), 5000, 1);
    put(&mr, "m", AT(60), AT(62), 5000, 9);
    put(&mr, "m", AT(120), AT(123), 5000, 9);
    put(&mr, "m", AT(123), AT(240), 5000, 1);
    struct replay_outcome *o = replay(&mr, HIGH, AT(0), AT(240), 0);
    assert_string_equal(firings(o, 0), "");
    assert_int_equal(o->gap_count, 1);
    replay_outcome_destroy(&o);
    mem_reader_deinit(&mr);
}

static void test_data_that_begins_and_ends(void **state)
{
    struct mem_reader mr;
    (void)state;
    mem_reader_init(&mr);
    put(&mr, "m", AT(60), AT(120), 5000, 9);
    struct replay_outcome *o = replay(&mr, HIGH, AT(0), AT(240), 0);
    assert_int_equal(o->gap_count, 2);
    assert_int_equal(o->gaps[0].from.ms, AT(0)); /* not of the time that warms up */
    assert_true(o->gaps[0].to.ms >= AT(60) && o->gaps[0].to.ms <= AT(60) + 10000);
    assert_true(o->gaps[1].from.ms <= AT(120) && o->gaps[1].to.ms == AT(240));
    assert_int_equal(o->rules[0].firing_count, 1);
    assert_false(wall_is_set(o->rules[0].firings[0].to));
    assert_true(o->data_end.ms <= AT(120));
    assert_true(o->rules[0].firing_ms < 56 * MINUTE && o->rules[0].firing_ms > 50 * MINUTE);
    replay_outcome_destroy(&o);
    mem_reader_deinit(&mr);
}

/* Minutes of imported samples are no gaps. */
static void test_slow_samples_are_no_gaps(void **state)
{
    struct mem_reader mr;
    (void)state;
    mem_reader_init(&mr);
    put(&mr, "m", AT(-300), AT(300), 2 * MINUTE, 9);
    struct replay_outcome *o = replay(&mr, HIGH, AT(0), AT(299), 0);
    assert_int_equal(o->gap_count, 0);
    assert_string_equal(firings(o, 0), "5995-!=9 ");
    replay_outcome_destroy(&o);
    mem_reader_deinit(&mr);
}

/* Recorded series of the file count up to the first step; from there on they are made anew. */
static void test_recorded_series_are_not_doubled(void **state)
{
    static const char rules[] =
        "groups: [{name: g, rules: [{record: r, expr: m + 1},\n"
        "  {alert: Twice, expr: 'count_over_time(r[1m]) > 6'}, {alert: Old, expr: r == 100},\n"
        "  {alert: Before, expr: 'max_over_time(r[5h]) == 100'}]}]\n";
    struct mem_reader mr;
    (void)state;
    mem_reader_init(&mr);
    put(&mr, "m", AT(-300), AT(240), 5000, 1);
    put(&mr, "r", AT(-300) + 3, AT(240), 10000, 100);
    struct replay_outcome *o = replay(&mr, rules, AT(0), AT(240), 0);
    assert_string_equal(firings(o, 1), "");
    assert_string_equal(firings(o, 2), "");
    assert_int_equal(o->rules[3].firing_count, 1); /* five hours reach behind the first step */
    assert_int_equal(o->rules[1].failures, 0);
    replay_outcome_destroy(&o);
    mem_reader_deinit(&mr);
}

/* The first step of the window sees as much as any other: windows and `for` are warm. */
static void test_warm_start(void **state)
{
    struct mem_reader mr;
    (void)state;
    mem_reader_init(&mr);
    put(&mr, "m", AT(-300), AT(10), 5000, 9);
    struct replay_outcome *o = replay(&mr,
                                      "groups: [{name: g, rules: [{alert: A, expr: "
                                      "'count_over_time(m[1h]) >= 720', for: 30m}]}]\n",
                                      AT(0), AT(10), 0);
    assert_int_equal(o->rules[0].firing_count, 1);
    assert_int_equal(o->rules[0].firing_ms, 10 * MINUTE);
    replay_outcome_destroy(&o);
    mem_reader_deinit(&mr);
}

/* What no one foresaw is read from the file: templates' queries, selectors without a name. */
static void test_unforeseen_reads(void **state)
{
    struct mem_reader mr;
    (void)state;
    mem_reader_init(&mr);
    put(&mr, "m", AT(-300), AT(10), 5000, 9);
    put(&mr, "other{x=\"y\"}", AT(-300), AT(10), 5000, 3);
    struct replay_outcome *o =
        replay(&mr,
               "groups: [{name: g, rules: [{alert: A, expr: m > 5, annotations:\n"
               "    {summary: '{{ with query \"other\" }}{{ . | first | value }}{{ end }}'}},\n"
               "  {alert: B, expr: '{__name__=~\"oth.*\"} == 3'}]}]\n",
               AT(0), AT(10), 0);
    assert_int_equal(o->rules[0].firing_count, 1);
    assert_string_equal(labels_get(&o->rules[0].firings[0].alert->annotations, "summary"), "3");
    assert_int_equal(o->rules[1].firing_count, 1);
    replay_outcome_destroy(&o);
    mem_reader_deinit(&mr);
}

static void test_rules_that_reach_too_far(void **state)
{
    static const char rules[] =
        "groups: [{name: g, rules: [{alert: Far, expr: 'max_over_time(m[3h]) > 5'},\n"
        "  {alert: Near, expr: m > 5}, {alert: Bad, expr: m + on () m}]}]\n";
    struct mem_reader mr;
    struct err err = {0};
    (void)state;
    mem_reader_init(&mr);
    put(&mr, "m", AT(-300), AT(10), 5000, 9);
    put(&mr, "m{a=\"1\"}", AT(-300), AT(10), 5000, 1);
    assert_null(replay_history_run(&(struct replay_history_opts){.history = &mr.reader,
                                                                 .evaluation_interval_ms = 10000,
                                                                 .start = {AT(0)},
                                                                 .end = {AT(10)},
                                                                 .max_points = 3000},
                                   parse(rules), &err));
    assert_int_equal(err.kind, ERR_LIMIT);
    struct replay_outcome *o = replay(&mr, rules, AT(0), AT(10), 2 * HOUR);
    assert_true(o->rules[0].left_out && !o->rules[1].left_out);
    assert_int_equal(o->rules[0].firing_count, 0);
    assert_int_equal(o->rules[1].firing_count, 1);
    assert_int_equal(o->rules[2].failures, 61);
    assert_true(str_starts(o->rules[2].error, "found duplicate series"));
    replay_outcome_destroy(&o);
    mem_reader_deinit(&mr);
}

static int quiet(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_group_has_its_interval),
        cmocka_unit_test(test_one_interval_for_all),
        cmocka_unit_test(test_nothing_of_the_future_is_seen),
        cmocka_unit_test(test_a_jump_ages_nothing),
        cmocka_unit_test(test_the_caller_may_stop),
        cmocka_unit_test(test_without_rules_samples_become_visible),
        cmocka_unit_test(test_limit_of_samples),
        cmocka_unit_test(test_given_and_recorded),
        cmocka_unit_test(test_firings),
        cmocka_unit_test(test_gap),
        cmocka_unit_test(test_gap_while_pending),
        cmocka_unit_test(test_data_that_begins_and_ends),
        cmocka_unit_test(test_slow_samples_are_no_gaps),
        cmocka_unit_test(test_recorded_series_are_not_doubled),
        cmocka_unit_test(test_warm_start),
        cmocka_unit_test(test_unforeseen_reads),
        cmocka_unit_test(test_rules_that_reach_too_far),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
