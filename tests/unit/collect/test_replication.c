/* Verdicts of the gate as samples: health, availability, what is left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/collect/collect_private.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

struct bench {
    struct collect_env env;
    struct replication *r;
    struct config *config;
    struct batch *last[8]; /* newest batch of each source */
    size_t count;
    struct now now;
};

static void emit(struct batch *batch, void *arg)
{
    struct bench *b = arg;
    for (size_t i = 0; i < b->count; i++) {
        if (!str_eq(b->last[i]->source, batch->source))
            continue;
        batch_unref(b->last[i]);
        b->last[i] = batch;
        return;
    }
    assert_true(b->count < ARRAY_LEN(b->last));
    b->last[b->count++] = batch;
}

static void setup(struct bench *b)
{
    static const char text[] =
        "cluster: c\nscope: cluster\nnodes:\n"
        "- {name: p, dsn: 'host=127.0.0.1'}\n- {name: r, dsn: 'host=127.0.0.2'}\n";
    struct diag diag;
    diag_init(&diag);
    *b = (struct bench){.now = {{1000}, {1700000000000}}};
    b->config = config_parse("t", text, strlen(text), &diag);
    assert_non_null(b->config);
    b->env.opts.series = series_table_create(1000);
    b->env.opts.sources = sources_create();
    b->env.opts.emit = emit;
    b->env.opts.arg = b;
    b->env.builder = batch_builder_create(b->env.opts.series);
    b->r = replication_create(&b->env);
    replication_config(b->r, b->config);
    diag_deinit(&diag);
}

static void teardown(struct bench *b)
{
    for (size_t i = 0; i < b->count; i++)
        batch_unref(b->last[i]);
    replication_destroy(&b->r);
    batch_builder_destroy(&b->env.builder);
    series_table_destroy(&b->env.opts.series);
    sources_destroy(&b->env.opts.sources);
    config_unref(&b->config);
}

static struct gate_report report_of(const char *node, enum node_role role, enum fresh_state state)
{
    struct gate_report report = {.kind = GATE_REPORT_NODE};
    struct verdict *v = &report.u.node.verdict;
    str_copy(v->cluster, sizeof(v->cluster), "c");
    str_copy(v->node, sizeof(v->node), node);
    v->role = role;
    v->state = state;
    v->up = state != FRESH_DOWN;
    v->lag_ms = v->lag_lo_ms = v->lag_hi_ms = v->wal_lag_ms = v->lag_bytes = LAG_UNKNOWN;
    report.u.node.probe.answered = v->up;
    return report;
}

static void tick(struct bench *b, const struct gate_report *report)
{
    struct gate_report copy = *report;
    b->now.mono = mono_add(b->now.mono, 1000);
    b->now.wall = wall_add(b->now.wall, 1000);
    copy.at = b->now.wall;
    replication_report(b->r, &copy);
    replication_flush(b->r, b->now);
}

/* Value of a series of the newest batches; -1 = not there. */
static double value(const struct bench *b, const char *text)
{
    for (size_t i = 0; i < b->count; i++)
        for (size_t k = 0; k < b->last[i]->n; k++)
            if (str_eq(b->last[i]->samples[k].series->text, text))
                return b->last[i]->samples[k].value;
    return -1;
}

#define HEALTH   "db_replica_health{cluster=\"c\",replica=\"r\"}"
#define HEALTHY  "db_replica_healthy_seconds_total{cluster=\"c\",replica=\"r\"}"
#define OBSERVED "db_replica_observed_seconds_total{cluster=\"c\",replica=\"r\"}"
#define LAG      "db_replication_lag_seconds{cluster=\"c\",replica=\"r\"}"

static void health_follows_the_state(void **state)
{
    static const struct {
        enum fresh_state state;
        double health;
    } cases[] = {
        {FRESH_UNKNOWN, -1},                                           /* never seen: no series */
        {FRESH_FRESH, 1},    {FRESH_STALE, 1},     {FRESH_UNKNOWN, 1}, /* held */
        {FRESH_DOWN, 0},     {FRESH_UNKNOWN, 0},                       /* held */
        {FRESH_DIVERGED, 0}, {FRESH_EXCLUDED, -1}, /* taken out on purpose: no page */
    };
    struct bench b;
    (void)state;
    setup(&b);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct gate_report report = report_of("r", ROLE_REPLICA, cases[i].state);
        tick(&b, &report);
        if (value(&b, HEALTH) != cases[i].health)
            fail_msg("case %zu: %g", i, value(&b, HEALTH));
    }
    teardown(&b);
}

static void unobserved_time_is_not_downtime(void **state)
{
    struct bench b;
    (void)state;
    setup(&b);
    struct gate_report fresh = report_of("r", ROLE_REPLICA, FRESH_FRESH);
    struct gate_report down = report_of("r", ROLE_REPLICA, FRESH_DOWN);
    struct gate_report unknown = report_of("r", ROLE_REPLICA, FRESH_UNKNOWN);
    for (int i = 0; i < 11; i++)
        tick(&b, &fresh);
    for (int i = 0; i < 5; i++)
        tick(&b, &down);
    for (int i = 0; i < 20; i++)
        tick(&b, &unknown);
    assert_true(value(&b, HEALTHY) == 10);
    assert_true(value(&b, OBSERVED) == 15);
    b.now.mono = mono_add(b.now.mono, 3600000); /* the agent was suspended */
    tick(&b, &fresh);
    assert_true(value(&b, OBSERVED) == 15);
    teardown(&b);
}

#define SEEN "db_node_unobservable{cluster=\"c\",node=\"r\",role=\"replica\"}"
#define UNSEEN(reason) \
    "db_node_unobservable{cluster=\"c\",node=\"r\",reason=\"" reason "\",role=\"replica\"}"

/* Told by the gate or by what the node refuses to a collector; the gate's reason counts first. */
static void what_cannot_be_observed_is_told_with_its_reason(void **state)
{
    struct bench b;
    (void)state;
    setup(&b);
    struct gate_report report = report_of("r", ROLE_REPLICA, FRESH_FRESH);
    struct source_state *slots = sources_get(b.env.opts.sources, "r", "slots");
    slots->configured = true;
    tick(&b, &report);
    assert_true(value(&b, SEEN) == 0);
    sources_bad(slots, "permission denied");
    sources_refused(slots, REFUSAL_GRANT);
    tick(&b, &report);
    assert_true(value(&b, SEEN) == -1);
    assert_true(value(&b, UNSEEN("grant")) == 1);
    report.u.node.verdict.unobservable = UNOBSERVABLE_BLIND;
    tick(&b, &report);
    assert_true(value(&b, UNSEEN("blind")) == 1);
    assert_true(value(&b, UNSEEN("grant")) == -1);
    report.u.node.verdict.unobservable = UNOBSERVABLE_NOT;
    sources_good(slots, b.now, 100);
    tick(&b, &report);
    assert_true(value(&b, SEEN) == 0);
    teardown(&b);
}

/* A blind agent neither calls a replica down nor counts the time. */
static void unobservable_time_is_not_downtime(void **state)
{
    struct bench b;
    (void)state;
    setup(&b);
    struct gate_report report = report_of("r", ROLE_REPLICA, FRESH_FRESH);
    for (int i = 0; i < 11; i++)
        tick(&b, &report);
    report.u.node.verdict.up = false;
    report.u.node.verdict.unobservable = UNOBSERVABLE_BLIND;
    for (int i = 0; i < 20; i++)
        tick(&b, &report);
    assert_true(value(&b, HEALTH) == 1);
    assert_true(value(&b, OBSERVED) == 10);
    report.u.node.verdict.state = FRESH_DOWN; /* on_total_loss: unhealthy */
    tick(&b, &report);
    assert_true(value(&b, HEALTH) == 0);
    teardown(&b);
}

/* What was never seen was not down before it came. */
static void a_node_that_was_never_seen_was_not_down(void **state)
{
    struct bench b;
    (void)state;
    setup(&b);
    struct gate_report report = report_of("r", ROLE_UNKNOWN, FRESH_DOWN);
    report.u.node.verdict.unobservable = UNOBSERVABLE_NEVER_SEEN;
    tick(&b, &report);
    tick(&b, &report);
    report = report_of("r", ROLE_REPLICA, FRESH_UNKNOWN);
    tick(&b, &report);
    assert_true(value(&b, HEALTH) == -1);
    report = report_of("r", ROLE_REPLICA, FRESH_FRESH);
    tick(&b, &report);
    assert_true(value(&b, HEALTH) == 1);
    assert_true(value(&b, OBSERVED) == 1);
    teardown(&b);
}

static void unknown_figures_give_no_series(void **state)
{
    struct bench b;
    (void)state;
    setup(&b);
    struct gate_report report = report_of("r", ROLE_REPLICA, FRESH_FRESH);
    tick(&b, &report);
    assert_true(value(&b, LAG) == -1);
    report.u.node.verdict.lag_ms = 1500;
    report.u.node.verdict.lag_hi_ms = LAG_INFINITE;
    tick(&b, &report);
    assert_true(value(&b, LAG) == 1.5);
    assert_false(sources_get(b.env.opts.sources, "r", "replication")->failing);
    report.u.node.verdict.state = FRESH_UNKNOWN; /* not proven: alerts on it are held */
    tick(&b, &report);
    assert_true(value(&b, LAG) == -1);
    assert_true(sources_get(b.env.opts.sources, "r", "replication")->failing);
    report.u.node.verdict.state = FRESH_FRESH;
    tick(&b, &report);
    assert_true(value(&b, "db_replication_lag_bound_seconds{bound=\"hi\",cluster=\"c\","
                          "replica=\"r\"}") == -1);
    struct gate_report primary = report_of("p", ROLE_PRIMARY, FRESH_FRESH);
    tick(&b, &primary);
    assert_true(value(&b, "db_up{cluster=\"c\",node=\"p\"}") == 1);
    assert_true(value(&b, "db_replica_health{cluster=\"c\",replica=\"p\"}") == -1);
    teardown(&b);
}

static void a_node_that_was_taken_out_says_nothing(void **state)
{
    struct bench b;
    (void)state;
    setup(&b);
    struct gate_report report = report_of("gone", ROLE_REPLICA, FRESH_FRESH);
    tick(&b, &report);
    assert_int_equal(b.count, 0);
    teardown(&b);
}

static void drop(const char *source, wall_ms at, void *arg)
{
    struct bench *b = arg;
    (void)at;
    for (size_t i = 0; i < b->count; i++) {
        if (!str_eq(b->last[i]->source, source))
            continue;
        batch_unref(b->last[i]);
        b->last[i] = b->last[--b->count];
    }
}

static void a_cluster_that_was_taken_out_has_no_series(void **state)
{
    static const char text[] = "cluster: d\nnodes: [{name: p, dsn: 'host=127.0.0.1'}]\n";
    struct bench b;
    struct diag diag;
    struct err err;
    (void)state;
    setup(&b);
    b.env.opts.drop = drop;
    b.env.opts.loop = loop_create("test", &err);
    struct gate_report report = {.kind = GATE_REPORT_CLUSTER};
    str_copy(report.u.cluster.cluster, sizeof(report.u.cluster.cluster), "c");
    tick(&b, &report);
    assert_true(value(&b, "db_split_brain{cluster=\"c\"}") == 0);
    diag_init(&diag);
    struct config *fresh = config_parse("t", text, strlen(text), &diag);
    replication_config(b.r, fresh);
    assert_true(value(&b, "db_split_brain{cluster=\"c\"}") == -1);
    tick(&b, &report); /* was on its way */
    assert_true(value(&b, "db_split_brain{cluster=\"c\"}") == -1);
    config_unref(&fresh);
    diag_deinit(&diag);
    loop_destroy(&b.env.opts.loop);
    teardown(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health_follows_the_state),
        cmocka_unit_test(unobserved_time_is_not_downtime),
        cmocka_unit_test(what_cannot_be_observed_is_told_with_its_reason),
        cmocka_unit_test(unobservable_time_is_not_downtime),
        cmocka_unit_test(a_node_that_was_never_seen_was_not_down),
        cmocka_unit_test(unknown_figures_give_no_series),
        cmocka_unit_test(a_node_that_was_taken_out_says_nothing),
        cmocka_unit_test(a_cluster_that_was_taken_out_has_no_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
