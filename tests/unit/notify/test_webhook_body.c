/* The body of a message, field by field as Alertmanager's webhook version 4 has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "pgvigil/notify/webhook_body.h"

static const struct label lag_labels[] = {
    {"alertname", "Lag"}, {"cluster", "main"}, {"replica", "pg2"}, {"severity", "warning"}};
static const struct label down_labels[] = {
    {"alertname", "Down"}, {"cluster", "main"}, {"replica", "pg2"}, {"severity", "critical"}};
static const struct label lag_annotations[] = {{"summary", "line\n\"quoted\" <b>"}};
static const struct label group_labels[] = {{"cluster", "main"}, {"replica", "pg2"}};

static struct alert make(enum alert_state state, const struct label *labels,
                         const struct label *annotations, size_t annotation_count)
{
    struct alert a = {.state = state,
                      .labels = {4, labels},
                      .annotations = {annotation_count, annotations},
                      .fired_at = {1700000000123},
                      .resolved_at = {state == ALERT_RESOLVED ? 1700000060000 : INT64_MIN},
                      .expr = "a > 3"};
    a.fingerprint = labels_fingerprint(&a.labels);
    return a;
}

static void writes_firing_and_resolved(void **state)
{
    struct alert lag = make(ALERT_RESOLVED, lag_labels, lag_annotations, 1);
    struct alert down = make(ALERT_FIRING, down_labels, NULL, 0);
    const struct alert *alerts[] = {&lag, &down};
    char wanted[2048];
    struct buf out;
    (void)state;
    buf_init(&out, 65536);
    webhook_body(&(struct webhook_group){.receiver = "webhook",
                                         .group_key = "{}:{cluster=\"main\", replica=\"pg2\"}",
                                         .group_labels = {2, group_labels},
                                         .external_url = "http://127.0.0.1:9432",
                                         .alerts = alerts,
                                         .n = 2},
                 &out);
    snprintf(wanted, sizeof(wanted),
             "{\"receiver\":\"webhook\",\"status\":\"firing\",\"alerts\":["
             "{\"status\":\"resolved\",\"labels\":{\"alertname\":\"Lag\",\"cluster\":\"main\","
             "\"replica\":\"pg2\",\"severity\":\"warning\"},"
             "\"annotations\":{\"summary\":\"line\\n\\\"quoted\\\" <b>\"},"
             "\"startsAt\":\"2023-11-14T22:13:20.123Z\",\"endsAt\":\"2023-11-14T22:14:20.000Z\","
             "\"generatorURL\":\"http://127.0.0.1:9432/graph?g0.expr=a%%20%%3E%%203&g0.tab=1\","
             "\"fingerprint\":\"%016llx\"},"
             "{\"status\":\"firing\",\"labels\":{\"alertname\":\"Down\",\"cluster\":\"main\","
             "\"replica\":\"pg2\",\"severity\":\"critical\"},\"annotations\":{},"
             "\"startsAt\":\"2023-11-14T22:13:20.123Z\",\"endsAt\":\"0001-01-01T00:00:00Z\","
             "\"generatorURL\":\"http://127.0.0.1:9432/graph?g0.expr=a%%20%%3E%%203&g0.tab=1\","
             "\"fingerprint\":\"%016llx\"}],"
             "\"groupLabels\":{\"cluster\":\"main\",\"replica\":\"pg2\"},"
             "\"commonLabels\":{\"cluster\":\"main\",\"replica\":\"pg2\"},"
             "\"commonAnnotations\":{},\"externalURL\":\"http://127.0.0.1:9432\",\"version\":\"4\","
             "\"groupKey\":\"{}:{cluster=\\\"main\\\", replica=\\\"pg2\\\"}\","
             "\"truncatedAlerts\":0}",
             (unsigned long long)lag.fingerprint, (unsigned long long)down.fingerprint);
    assert_string_equal(out.data, wanted);
    buf_deinit(&out);
}

static void is_resolved_when_nothing_fires(void **state)
{
    struct alert lag = make(ALERT_RESOLVED, lag_labels, lag_annotations, 1);
    const struct alert *alerts[] = {&lag};
    struct buf out;
    (void)state;
    buf_init(&out, 65536);
    webhook_body(&(struct webhook_group){.receiver = "webhook",
                                         .group_key = "{}:{}",
                                         .external_url = "http://x",
                                         .alerts = alerts,
                                         .n = 1},
                 &out);
    assert_non_null(strstr(out.data, "{\"receiver\":\"webhook\",\"status\":\"resolved\","));
    assert_non_null(strstr(out.data, "\"commonAnnotations\":{\"summary\":"));
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_firing_and_resolved),
        cmocka_unit_test(is_resolved_when_nothing_fires),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
