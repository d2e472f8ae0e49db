/*
 * rules_bench.h: rules over a head with a fake clock, so that hours pass in milliseconds.
 */
#ifndef TESTS_RULES_BENCH_H
#define TESTS_RULES_BENCH_H

/* Not every test uses all of it. */
#pragma GCC diagnostic ignored "-Wunused-function"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/rules/rules.h"
#include "pgvigil/store/head.h"
#include "rule_text.h"

#define START INT64_C(1700000000000)

struct bench {
    struct series_table *series;
    struct head *head;
    struct batch_builder *builder;
    struct rules *rules;
    struct now now;
    bool failing, gone;
    /* jobs of run_far are kept here until the test ends them */
    bool use_far, refuse_far;
    struct rule_job *jobs[8];
    size_t job_count;
    struct sources *sources;
    char sources_of[2][BATCH_SOURCE_MAX]; /* of the last two batches of rules */
    char log[8192];                       /* "pending>firing Down pg1" per change */
    double value;                         /* of metric{node="pg1"}; -1 = no sample */
};

static void on_samples(struct batch *batch, void *arg)
{
    struct bench *b = arg;
    memcpy(b->sources_of[0], b->sources_of[1], BATCH_SOURCE_MAX);
    str_copy(b->sources_of[1], BATCH_SOURCE_MAX, batch->source);
    head_append(b->head, batch);
    batch_unref(batch);
}

static void on_change(const struct alert *a, enum alert_state from, void *arg)
{
    struct bench *b = arg;
    size_t n = strlen(b->log);
    snprintf(b->log + n, sizeof(b->log) - n, "%s>%s%s %s%s%s;", alert_state_name(from),
             alert_state_name(a->state), a->held ? "(held)" : "", a->rule,
             *a->reason ? " reason=" : "", a->reason);
}

static bool failing(const char *metric, const struct labels *labels, void *arg)
{
    struct bench *b = arg;
    return b->failing && str_eq(metric, "metric") && labels_get(labels, "node") != NULL;
}

static bool gone(const struct labels *labels, void *arg)
{
    (void)labels;
    return ((struct bench *)arg)->gone;
}

static bool keep_job(struct rule_job *job, void *arg)
{
    struct bench *b = arg;
    if (b->refuse_far)
        return false;
    assert_true(b->job_count < ARRAY_LEN(b->jobs));
    b->jobs[b->job_count++] = job;
    return true;
}

static int64_t complete_since(void *arg)
{
    return head_complete_since(((struct bench *)arg)->head);
}

static void open_rules(struct bench *b)
{
    static const char url[] = "http://agent:9432";
    static const struct label external[] = {{"region", "eu"}};
    b->rules = rules_create(&(struct rules_opts){.evaluation_interval_ms = 1000,
                                                 .external_labels = external,
                                                 .external_label_count = 1,
                                                 .series = b->series,
                                                 .reader = head_reader(b->head),
                                                 .on_samples = on_samples,
                                                 .on_change = on_change,
                                                 .failing = failing,
                                                 .gone = gone,
                                                 .external_url = url,
                                                 .run_far = b->use_far ? keep_job : NULL,
                                                 .complete_since = complete_since,
                                                 .reader_keep_ms = HEAD_KEEP_MS,
                                                 .sources = b->sources,
                                                 .arg = b});
}

/* What the test has set of use_far and sources stays. */
static void setup_with(struct bench *b, const char *text)
{
    b->now = (struct now){{1000000}, {START}};
    b->value = -1;
    b->series = series_table_create(1000);
    b->head = head_create(HEAD_KEEP_MS, HEAD_BYTES_MAX);
    b->builder = batch_builder_create(b->series);
    open_rules(b);
    rules_load(b->rules, parse(text), b->now);
}

static void setup(struct bench *b, const char *text)
{
    *b = (struct bench){0};
    setup_with(b, text);
}

static void teardown(struct bench *b)
{
    rules_destroy(&b->rules);
    while (b->job_count > 0)
        rule_job_destroy(&b->jobs[--b->job_count]);
    batch_builder_destroy(&b->builder);
    head_destroy(&b->head);
    series_table_destroy(&b->series);
}

static void feed(struct bench *b)
{
    static const char *const none[] = {NULL};
    batch_begin(b->builder, "pg1/test", b->now.wall, none);
    if (b->value >= 0)
        BATCH_ADD(b->builder, "metric", b->value, "node", "pg1");
    struct batch *batch = batch_finish(b->builder);
    head_append(b->head, batch);
    batch_unref(batch);
}

/* Samples of a source of their own: pairs of node and value, up to "". */
static void feed_nodes(struct bench *b, const char *metric, const char *const *nodes,
                       const double *values)
{
    static const char *const none[] = {NULL};
    char source[BATCH_SOURCE_MAX];
    snprintf(source, sizeof(source), "nodes/%s", metric);
    batch_begin(b->builder, source, b->now.wall, none);
    for (size_t i = 0; nodes[i] != NULL; i++)
        BATCH_ADD(b->builder, metric, values[i], "node", nodes[i]);
    struct batch *batch = batch_finish(b->builder);
    head_append(b->head, batch);
    batch_unref(batch);
}

/* n ticks of a second with this value. */
static void run(struct bench *b, double value, int n)
{
    b->value = value;
    for (int i = 0; i < n; i++) {
        b->now.mono = mono_add(b->now.mono, 1000);
        b->now.wall = wall_add(b->now.wall, 1000);
        feed(b);
        rules_tick(b->rules, b->now);
    }
}

/* Moves both clocks on and evaluates, without samples. */
static void pass(struct bench *b, int64_t ms)
{
    b->now.mono = mono_add(b->now.mono, ms);
    b->now.wall = wall_add(b->now.wall, ms);
}

static void assert_log(struct bench *b, const char *wanted)
{
    assert_string_equal(b->log, wanted);
    b->log[0] = '\0';
}

/* The value of an instant query over the head; NAN if it has none, or several. */
static double ask_at(struct bench *b, const char *text, int64_t t)
{
    static const struct promql_limits limits = PROMQL_LIMITS_RULES;
    struct promql_error error;
    struct promql_value value;
    struct err err;
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    struct promql_expr *expr = promql_parse(text, &error);
    assert_non_null(expr);
    assert_true(promql_instant(expr, head_reader(b->head), t, &limits, arena, &value, &err));
    double v = value.type == PROMQL_SCALAR ? value.scalar
               : value.n == 1              ? value.vector[0].value
                                           : NAN;
    promql_destroy(&expr);
    arena_destroy(&arena);
    return v;
}

static double ask(struct bench *b, const char *text)
{
    return ask_at(b, text, b->now.wall.ms);
}

/* The last run's error of rule i of the first group; lives until the next call. */
static const char *error_of(struct bench *b, size_t i)
{
    static char text[200];
    struct rule_report *report = rules_report(b->rules);
    str_copy(text, sizeof(text), report->groups[0].rules[i].error);
    rule_report_unref(report);
    return text;
}

#endif
