/* Routes over snapshots without a socket: exposition, gate paths, JSON, page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/serve/serve_private.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/serve/expose.h"

struct bench {
    struct serve_sources from;
    struct series_table *series;
    struct batch_builder *builder;
};

static const char *no_param(const struct request *req, const char *name)
{
    (void)req;
    (void)name;
    return NULL;
}

static void put_node(struct bench *b, const char *name, enum node_role role, bool read)
{
    struct verdict v = {.role = role,
                        .state = FRESH_FRESH,
                        .up = true,
                        .read = read,
                        .write = role == ROLE_PRIMARY,
                        .read_config = true,
                        .local = true,
                        .lag_ms = 1500,
                        .lag_hi_ms = LAG_INFINITE,
                        .lag_bytes = LAG_UNKNOWN,
                        .read_at = {1700000000000}};
    struct cluster_verdict c = {.judged = true};
    str_copy(v.node, sizeof(v.node), name);
    str_copy(v.evidence, sizeof(v.evidence), "<script>alert(1)</script>");
    const struct verdict *nodes[] = {&v};
    const struct cluster_verdict *clusters[] = {&c};
    board_publish(b->from.board, nodes, 1, clusters, 1, b->from.now);
}

static void setup(struct bench *b)
{
    static const char text[] = "nodes: [{name: p, dsn: 'host=127.0.0.1'}]\n";
    struct diag diag;
    diag_init(&diag);
    *b = (struct bench){.from = {.ready = true, .now = {{5000}, {1700000005000}}}};
    b->from.config = config_parse("t", text, strlen(text), &diag);
    assert_non_null(b->from.config);
    b->from.board = board_create();
    b->from.snapshots = snapshots_create();
    b->from.alerts = alert_board_create();
    b->from.rules = rule_board_create();
    b->series = series_table_create(100);
    b->builder = batch_builder_create(b->series);
    diag_deinit(&diag);
}

static void teardown(struct bench *b)
{
    board_destroy(&b->from.board);
    snapshots_destroy(&b->from.snapshots);
    alert_board_destroy(&b->from.alerts);
    rule_board_destroy(&b->from.rules);
    batch_builder_destroy(&b->builder);
    series_table_destroy(&b->series);
    config_unref(&b->from.config);
}

static int get(struct bench *b, const char *path, struct reply *reply)
{
    struct request req = {.from = &b->from, .path = path, .param = no_param};
    *reply = (struct reply){.content_type = ""};
    buf_init(&reply->body, REPLY_MAX);
    route(&req, reply);
    return reply->status;
}

static void exposes_families_together(void **state)
{
    static const char *const none[] = {NULL};
    struct bench b;
    struct reply reply;
    (void)state;
    setup(&b);
    for (int i = 0; i < 2; i++) {
        char source[32];
        snprintf(source, sizeof(source), "pg%d/x", i);
        batch_begin(b.builder, source, b.from.now.wall, none);
        BATCH_ADD(b.builder, "db_up", 1, "node", i ? "pg1" : "pg0");
        BATCH_ADD(b.builder, "db_locks_waiting", 0.5, "node", i ? "pg1" : "pg0");
        struct batch *batch = batch_finish(b.builder);
        snapshots_put(b.from.snapshots, batch);
        batch_unref(batch);
    }
    assert_int_equal(get(&b, "/metrics", &reply), 200);
    assert_string_equal(reply.content_type, EXPOSE_CONTENT_TYPE);
    const char *first =
        strstr(reply.body.data, "# TYPE db_locks_waiting gauge\n"
                                "db_locks_waiting{node=\"pg0\"} 0.5\n"
                                "db_locks_waiting{node=\"pg1\"} 0.5\n# HELP db_up ");
    assert_non_null(first);
    assert_non_null(strstr(first, "db_up{node=\"pg0\"} 1\ndb_up{node=\"pg1\"} 1\n"));
    buf_deinit(&reply.body);
    teardown(&b);
}

static const struct {
    const char *path;
    bool read; /* of the only node, a primary */
    int status;
} paths[] = {
    {"/-/healthy", true, 200},
    {"/-/ready", true, 200},
    {"/nothing", true, 404},
    {"/primary", true, 200},
    {"/replica", true, 503},
    {"/read-only", true, 200},
    {"/health", true, 200},
    {"/liveness", true, 200},
    {"/", true, 200},
    {"/ui/style.css", true, 200},
    {"/api/pgvigil/gate", true, 200},
    {"/metrics/", true, 404},
    {"//", true, 404},
    {"/../etc/passwd", true, 404},
};

static void answers_each_path(void **state)
{
    struct bench b;
    struct reply reply;
    (void)state;
    setup(&b);
    put_node(&b, "p", ROLE_PRIMARY, true);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        int status = get(&b, paths[i].path, &reply);
        if (status != paths[i].status)
            fail_msg("%s: %d, not %d", paths[i].path, status, paths[i].status);
        assert_true(reply.body.len > 0);
        buf_deinit(&reply.body);
    }
    teardown(&b);
}

static void is_not_ready_before_the_first_poll(void **state)
{
    struct bench b;
    struct reply reply;
    (void)state;
    setup(&b);
    b.from.ready = false;
    assert_int_equal(get(&b, "/-/ready", &reply), 503);
    buf_deinit(&reply.body);
    teardown(&b);
}

/* A gate that has not ticked for longer than the lease calls nothing healthy. */
static void old_verdicts_are_not_healthy(void **state)
{
    struct bench b;
    struct reply reply;
    (void)state;
    setup(&b);
    put_node(&b, "p", ROLE_PRIMARY, true);
    b.from.now.mono = mono_add(b.from.now.mono, b.from.config->gate.lease_ms + 1);
    assert_int_equal(get(&b, "/primary", &reply), 503);
    buf_deinit(&reply.body);
    assert_int_equal(get(&b, "/", &reply), 200);
    assert_non_null(strstr(reply.body.data, "nothing here is current"));
    buf_deinit(&reply.body);
    teardown(&b);
}

static void text_stays_text_on_the_page(void **state)
{
    struct bench b;
    struct reply reply;
    (void)state;
    setup(&b);
    put_node(&b, "p", ROLE_PRIMARY, true);
    get(&b, "/", &reply);
    assert_null(strstr(reply.body.data, "<script"));
    assert_non_null(strstr(reply.body.data, "&lt;script&gt;"));
    assert_non_null(strstr(reply.body.data, "All 1 nodes answer and nothing fires."));
    buf_deinit(&reply.body);
    put_node(&b, "r", ROLE_REPLICA, false);
    get(&b, "/", &reply);
    assert_null(strstr(reply.body.data, "nothing fires"));
    assert_non_null(strstr(reply.body.data, "1 out of reads"));
    buf_deinit(&reply.body);
    teardown(&b);
}

static void alerts_are_as_prometheus_gives_them(void **state)
{
    static const struct label labels[] = {{"alertname", "A"}, {"node", "pg1"}};
    struct alert a = {.state = ALERT_FIRING,
                      .labels = {2, labels},
                      .value = 3.5,
                      .active_at = {1700000000000},
                      .rule = "A",
                      .reason = ""};
    struct bench b;
    struct reply reply;
    (void)state;
    setup(&b);
    struct alert_list *list = alert_list_create(b.from.now.wall, 1);
    list->alerts[0] = alert_copy(&a);
    alert_board_put(b.from.alerts, list);
    struct request req = {.from = &b.from};
    reply = (struct reply){.status = 200};
    buf_init(&reply.body, REPLY_MAX);
    api_alerts(&req, &reply);
    assert_string_equal(reply.body.data,
                        "{\"status\":\"success\",\"data\":{\"alerts\":[{\"labels\":"
                        "{\"alertname\":\"A\",\"node\":\"pg1\"},\"annotations\":{},"
                        "\"state\":\"firing\",\"activeAt\":\"2023-11-14T22:13:20.000Z\","
                        "\"value\":\"3.5e+00\"}]}}");
    buf_deinit(&reply.body);
    teardown(&b);
}

/* What always fires is on the page, and its verdict does not count it. */
static void page_counts_no_watchdog(void **state)
{
    static const char *const severities[] = {"none", "info"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(severities); i++) {
        const struct label labels[] = {{"alertname", "Watchdog"}, {"severity", severities[i]}};
        struct alert a = {
            .state = ALERT_FIRING, .labels = {2, labels}, .rule = "Watchdog", .reason = ""};
        struct bench b;
        struct reply reply;
        setup(&b);
        put_node(&b, "p", ROLE_PRIMARY, true);
        struct alert_list *list = alert_list_create(b.from.now.wall, 1);
        list->alerts[0] = alert_copy(&a);
        alert_board_put(b.from.alerts, list);
        get(&b, "/", &reply);
        assert_non_null(strstr(reply.body.data, "<td>Watchdog</td>"));
        assert_int_equal(strstr(reply.body.data, "and nothing fires.") != NULL, i == 0);
        assert_int_equal(strstr(reply.body.data, "1 alert firing") != NULL, i == 1);
        assert_int_equal(strstr(reply.body.data, "<td class=\"ok\">firing") != NULL, i == 0);
        assert_int_equal(strstr(reply.body.data, "(!) ") != NULL, i == 1);
        buf_deinit(&reply.body);
        teardown(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exposes_families_together),
        cmocka_unit_test(answers_each_path),
        cmocka_unit_test(is_not_ready_before_the_first_poll),
        cmocka_unit_test(old_verdicts_are_not_healthy),
        cmocka_unit_test(text_stays_text_on_the_page),
        cmocka_unit_test(alerts_are_as_prometheus_gives_them),
        cmocka_unit_test(page_counts_no_watchdog),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
