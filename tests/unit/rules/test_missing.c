/* Rules without series: what is told, what may rightly be absent, and when. */
#include "pgvigil/base/log.h"
#include "rules_bench.h"

#define LOOKS (RULES_LOOK_AFTER_MS / 1000 + 10)

/* Known metrics with their collectors; the catalogue is the real one. */
static void good(struct bench *b, const char *target, const char *collector, int64_t interval_ms)
{
    struct source_state *st = sources_get(b->sources, target, collector);
    st->configured = true;
    st->interval_ms = interval_ms;
    sources_good(st, (struct now){{1000000}, {START}}, 100);
}

static void setup_missing(struct bench *b, const char *expr, const char *more)
{
    char text[1000];
    snprintf(text, sizeof(text), "groups: [{name: g, rules: [{alert: A, expr: '%s'}%s]}]", expr,
             more);
    *b = (struct bench){.sources = sources_create()};
    good(b, "pg1", "replication", 1000);
    good(b, "pg1", "activity", 5000);
    good(b, "pg1", "slots", 10000);
    setup_with(b, text);
}

static void end(struct bench *b)
{
    teardown(b);
    sources_destroy(&b->sources);
}

/* Ticks of a second with db_up of two nodes and db_node_role of a primary. */
static void look(struct bench *b, int seconds)
{
    static const char *const none[] = {NULL};
    for (int i = 0; i < seconds; i++) {
        pass(b, 1000);
        batch_begin(b->builder, "pg1/replication", b->now.wall, none);
        BATCH_ADD(b->builder, "db_up", 1, "node", "pg1");
        BATCH_ADD(b->builder, "db_up", 1, "node", "pg2");
        BATCH_ADD(b->builder, "db_node_role", 1, "node", "pg1", "role", "primary");
        struct batch *batch = batch_finish(b->builder);
        head_append(b->head, batch);
        batch_unref(batch);
        rules_tick(b->rules, b->now);
    }
}

static const char *missing_of(struct bench *b, size_t i)
{
    static char text[500];
    struct rule_report *report = rules_report(b->rules);
    str_copy(text, sizeof(text), report->groups[0].rules[i].missing);
    rule_report_unref(report);
    return text;
}

static void tells_what_can_never_fire(void **state)
{
    static const struct {
        const char *expr, *more, *missing; /* "" = nothing */
    } rows[] = {
        {"db_up == 0", "", ""},
        {"db_up{node=\"pg2\"} == 0", "", ""},
        {"db_up{node=\"pg9\"} == 0", "", "no series has these labels: db_up{node=\"pg9\"}"},
        {"db_up{node=~\"x.*\"} == 0", "", "no series has these labels: db_up{node=~\"x.*\"}"},
        {"db_up{job=\"pgvigil\"} == 0", "", "no series has these labels: db_up{job=\"pgvigil\"}"},
        {"{__name__=~\"nothing.*\"}", "", "no series has these labels: {__name__=~\"nothing.*\"}"},
        {"db_upp == 0", "", "nobody knows this metric, did you mean \"db_up\"?: db_upp"},
        {"quite_another_thing == 0", "", "nobody knows this metric: quite_another_thing"},
        /* labels that change with time */
        {"db_node_role{role=\"replica\"} == 2", "", ""},
        {"db_node_role{role=\"replica\",node=\"pg9\"} == 2", "",
         "no series has these labels: db_node_role{role=\"replica\",node=\"pg9\"}"},
        /* the collector answers: there is no slot, but slot x was asked for */
        {"db_slot_lost == 1", "", ""},
        {"db_slot_lost{slot!=\"x\"} == 1", "", ""},
        {"db_slot_lost{slot=\"x\"} == 1", "",
         "no series has these labels: db_slot_lost{slot=\"x\"}"},
        /* no pool is configured */
        {"db_connection_pool_size{pool=\"app\"} > 5", "", ""},
        /* of an application that has a histogram of it */
        {"rate(db_connection_pool_wait_time_seconds_bucket[5m]) > 5", "", ""},
        {"rate(db_slot_lost_bucket[5m]) > 5", "", ""},
        {"rate(db_slott_lost_bucket[5m]) > 5", "",
         "nobody knows this metric: db_slott_lost_bucket"},
        /* the agent's own */
        {"pgvigil_outbox_length > 5", "", ""},
        {"pgvigil_rule_without_series == 1", "", ""},
        {"pgvigil_outbox_lenght > 5", "",
         "nobody knows this metric, did you mean \"pgvigil_outbox_length\"?: "
         "pgvigil_outbox_lenght"},
        {"ALERTS{alertname=\"A\"} == 2", "", ""},
        {"ALERTS{alertstate=\"firing\"} == 2", "", ""},
        {"ALERTS{alertname=\"B\"} == 2", "",
         "no rule gives the alert \"B\": ALERTS{alertname=\"B\"}"},
        /* finding nothing is their purpose */
        {"absent(nothing) == 2", "", ""},
        {"absent_over_time(nothing[5m]) == 2", "", ""},
        {"db_up == 0 unless nothing", "", ""},
        {"db_up == 0 and nothing", "", "nobody knows this metric: nothing"},
        /* one way of an `or` is enough, if it gives something */
        {"db_up == 1 or nothing", "", ""},
        {"db_up == 0 or nothing", "", "nobody knows this metric: nothing"},
        /* recorded by the set */
        {"r:x == 0", ", {record: \"r:x\", expr: db_up}", ""},
        {"r:x{node=\"pg9\"} == 0", ", {record: \"r:x\", expr: db_up}",
         "no series has these labels: r:x{node=\"pg9\"}"},
        {"r:x == 0", ", {record: \"r:x\", expr: \"db_up > 5\"}", ""},
        {"r:y == 0", ", {record: \"r:x\", expr: db_up}",
         "nobody knows this metric, did you mean \"r:x\"?: r:y"},
        {"1 == bool 2", "", ""},
        {"vector(1) == 2", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench b;
        setup_missing(&b, rows[i].expr, rows[i].more);
        look(&b, LOOKS);
        if (!str_eq(missing_of(&b, 0), rows[i].missing))
            fail_msg("%s: '%s'", rows[i].expr, missing_of(&b, 0));
        end(&b);
    }
}

static void a_collector_that_gives_nothing_is_told(void **state)
{
    struct bench b;
    (void)state;
    setup_missing(&b, "db_slot_lost == 1", "");
    good(&b, "pg1", "slots", 60000);
    (void)sources_bad(sources_get(b.sources, "pg1", "slots"), "permission denied");
    look(&b, LOOKS);
    assert_string_equal(missing_of(&b, 0), ""); /* not before three intervals */
    look(&b, 180);
    assert_string_equal(missing_of(&b, 0),
                        "collector slots of pg1 gives nothing: permission denied: db_slot_lost");
    good(&b, "pg1", "slots", 60000);
    look(&b, 61);
    assert_string_equal(missing_of(&b, 0), "");
    end(&b);
}

static void waits_for_the_first_evaluations_and_a_minute(void **state)
{
    struct bench b;
    (void)state;
    setup_missing(&b, "nothing == 0", "");
    look(&b, RULES_LOOK_AFTER_MS / 1000);
    assert_string_equal(missing_of(&b, 0), "");
    look(&b, 1);
    assert_string_equal(missing_of(&b, 0), "nobody knows this metric: nothing");
    end(&b);
}

/* A group that waits for a job has not run. */
static void waits_for_groups_that_wait(void **state)
{
    struct bench b = {.use_far = true, .sources = sources_create()};
    (void)state;
    setup_with(&b, "groups: [{name: g, rules: [{alert: A, expr: 'max_over_time(nothing[1d]) > 1'}, "
                   "{alert: B, expr: nothing}]}]");
    look(&b, 2 * LOOKS);
    assert_string_equal(missing_of(&b, 1), "");
    while (b.job_count > 0) {
        rule_job_run(b.jobs[0], head_reader(b.head), NULL, NULL);
        rules_far_done(b.rules, b.jobs[0], b.now);
        rule_job_destroy(&b.jobs[0]);
        b.job_count--;
    }
    look(&b, LOOKS);
    assert_string_equal(missing_of(&b, 1), "nobody knows this metric: nothing");
    end(&b);
}

static void clears_when_series_appear(void **state)
{
    static const char *const nodes[] = {"pg1", NULL};
    struct bench b;
    (void)state;
    setup_missing(&b, "other > 5", "");
    look(&b, LOOKS);
    assert_string_equal(missing_of(&b, 0), "nobody knows this metric: other");
    feed_nodes(&b, "other", nodes, (const double[]){1});
    look(&b, 61);
    assert_string_equal(missing_of(&b, 0), "");
    end(&b);
}

static size_t lines;

static void count_line(enum log_level level, const char *line, void *arg)
{
    (void)level;
    (void)arg;
    lines += strstr(line, "rule without series") != NULL;
}

static void add_rule(const char *file, const char *group, const char *rule, void *arg)
{
    char *out = arg;
    size_t n = strlen(out);
    snprintf(out + n, 200 - n, "%s/%s/%s ", file, group, rule);
}

/* One line for each fault, also over a reload that changes nothing; a changed rule is looked at
 * anew. */
static void is_told_once(void **state)
{
    static const char rules[] = "groups: [{name: g, rules: [{alert: A, expr: nothing}, "
                                "{alert: B, expr: db_up}, {alert: C, expr: nothing}]}]";
    struct bench b = {.sources = sources_create()};
    char names[200] = "";
    (void)state;
    lines = 0;
    log_set_sink(count_line, NULL);
    setup_with(&b, rules);
    look(&b, 3 * LOOKS);
    assert_int_equal(lines, 2);
    rules_each_missing(b.rules, add_rule, names);
    assert_string_equal(names, "t.yml/g/A t.yml/g/C ");
    rules_load(b.rules, parse(rules), b.now);
    assert_string_not_equal(missing_of(&b, 0), "");
    look(&b, 3 * LOOKS);
    assert_int_equal(lines, 2);
    rules_load(b.rules, parse("groups: [{name: g, rules: [{alert: A, expr: 'nothing > 1'}]}]"),
               b.now);
    assert_string_equal(missing_of(&b, 0), "");
    look(&b, LOOKS);
    assert_int_equal(lines, 3);
    log_set_sink(NULL, NULL);
    end(&b);
}

struct counting {
    struct reader reader;
    struct reader *head;
    size_t selects, most;
};

static bool counting_select(struct reader *reader, const struct read_request *req,
                            struct arena *arena, struct read_result *out, struct err *err)
{
    struct counting *c = reader->impl;
    c->selects++;
    return c->head->select(c->head, req, arena, out, err);
}

/* A hundred rules: each tick looks up the selectors of one at most, and all get their turn. */
static void looks_at_one_rule_for_each_tick(void **state)
{
    struct bench b = {.sources = sources_create()};
    struct counting c = {.reader = {counting_select, &c}};
    char text[20000];
    size_t n = 0, missing = 0;
    (void)state;
    n += (size_t)snprintf(text, sizeof(text), "groups: [{name: e, rules: []}");
    for (int i = 0; i < 100; i++)
        n += (size_t)snprintf(
            text + n, sizeof(text) - n,
            ", {name: g%d, interval: 1h, rules: [{alert: A, expr: 'nothing%d > 1'}]}", i, i);
    snprintf(text + n, sizeof(text) - n, "]");
    log_set_sink(count_line, NULL);
    setup_with(&b, "groups: []");
    c.head = head_reader(b.head);
    rules_destroy(&b.rules);
    b.rules = rules_create(&(struct rules_opts){.evaluation_interval_ms = 1000,
                                                .series = b.series,
                                                .reader = &c.reader,
                                                .on_samples = on_samples,
                                                .on_change = on_change,
                                                .failing = failing,
                                                .gone = gone,
                                                .sources = b.sources,
                                                .arg = &b});
    rules_load(b.rules, parse(text), b.now);
    look(&b, 2);
    for (int i = 0; i < 100 + LOOKS; i++) {
        c.selects = 0;
        look(&b, 1);
        c.most = c.selects > c.most ? c.selects : c.most;
    }
    assert_int_equal(c.most, 2); /* the selector, and its name alone */
    struct rule_report *report = rules_report(b.rules);
    for (size_t i = 0; i < report->n; i++)
        missing += report->groups[i].n > 0 && *report->groups[i].rules[0].missing != '\0';
    assert_int_equal(missing, 100);
    rule_report_unref(report);
    log_set_sink(NULL, NULL);
    end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_what_can_never_fire),
        cmocka_unit_test(a_collector_that_gives_nothing_is_told),
        cmocka_unit_test(waits_for_the_first_evaluations_and_a_minute),
        cmocka_unit_test(waits_for_groups_that_wait),
        cmocka_unit_test(clears_when_series_appear),
        cmocka_unit_test(is_told_once),
        cmocka_unit_test(looks_at_one_rule_for_each_tick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
