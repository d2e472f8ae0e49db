/* The gate's HTTP answers: status by path and parameters, whom they speak of, and a body that
 * parses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "pgvigil/base/str.h"
#include "pgvigil/gate/answer.h"

#define MAX_AGE_MS 10000
#define BODY_MAX   (256 * 1024)

enum { PG1, PG2, PG3, PG4, NODES };

/* pg1 primary, pg2 fresh replica (local), pg3 stale one that is down, pg4 never seen. */
static void make_nodes(struct verdict nodes[NODES])
{
    memset(nodes, 0, NODES * sizeof(nodes[0]));
    for (size_t i = 0; i < NODES; i++) {
        (void)snprintf(nodes[i].node, sizeof(nodes[i].node), "pg%zu", i + 1);
        (void)snprintf(nodes[i].zone, sizeof(nodes[i].zone), "zone-%zu", i % 2);
        (void)str_copy(nodes[i].cluster, sizeof(nodes[i].cluster), "main");
        (void)str_copy(nodes[i].reason, sizeof(nodes[i].reason), "some_reason");
        nodes[i].up = true;
        nodes[i].read_at = (wall_ms){1000};
        nodes[i].role = ROLE_REPLICA;
        nodes[i].server_version = 150020;
        nodes[i].timeline = 3;
        nodes[i].lag_ms = nodes[i].lag_lo_ms = nodes[i].wal_lag_ms = 1500;
        nodes[i].lag_hi_ms = LAG_INFINITE;
        nodes[i].lag_bytes = 4096;
        nodes[i].lsn = 0x5000000;
    }
    nodes[PG1].role = ROLE_PRIMARY;
    nodes[PG1].write = true;
    nodes[PG1].lag_ms = nodes[PG1].lag_lo_ms = nodes[PG1].lag_hi_ms = LAG_UNKNOWN;
    nodes[PG1].lag_bytes = LAG_UNKNOWN;
    nodes[PG2].read = nodes[PG2].streaming = nodes[PG2].local = true;
    nodes[PG2].state = FRESH_FRESH;
    nodes[PG2].weight = 80;
    nodes[PG3].up = false;
    nodes[PG3].state = FRESH_DOWN;
    nodes[PG4].role = ROLE_UNKNOWN;
    nodes[PG4].read_at = WALL_UNSET;
}

static int ask(const struct answer_query *q, const struct verdict *nodes, size_t n, json_t **body)
{
    struct buf b;
    json_error_t error;
    buf_init(&b, BODY_MAX);
    int status = answer(q, nodes, n, 500, MAX_AGE_MS, &b);
    json_t *parsed = json_loads(b.data, 0, &error);
    if (parsed == NULL)
        fail_msg("not JSON: %s: %s", error.text, b.data);
    if (body != NULL)
        *body = parsed;
    else
        json_decref(parsed);
    buf_deinit(&b);
    return status;
}

static void test_paths(void **state)
{
    static const struct {
        const char *path;
        bool is_known;
        enum answer_kind kind;
    } cases[] = {
        {"/primary", true, ANSWER_PRIMARY},
        {"/leader", true, ANSWER_PRIMARY},
        {"/master", true, ANSWER_PRIMARY},
        {"/read-write", true, ANSWER_PRIMARY},
        {"/replica", true, ANSWER_REPLICA},
        {"/read-only", true, ANSWER_READ_ONLY},
        {"/health", true, ANSWER_HEALTH},
        {"/liveness", true, ANSWER_LIVENESS},
        {"/readiness", true, ANSWER_READINESS},
        {"/", false, ANSWER_PRIMARY},
        {"", false, ANSWER_PRIMARY},
        {"/replica/", false, ANSWER_PRIMARY},
        {"/Replica", false, ANSWER_PRIMARY},
        {"/metrics", false, ANSWER_PRIMARY},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum answer_kind kind = ANSWER_PRIMARY;
        assert_int_equal(answer_path(cases[i].path, &kind), cases[i].is_known);
        assert_int_equal(kind, cases[i].kind);
    }
}

static void test_status_by_role(void **state)
{
    static const int expected[][NODES] = {
        [ANSWER_PRIMARY] = {200, 503, 503, 503},   [ANSWER_REPLICA] = {503, 200, 503, 503},
        [ANSWER_READ_ONLY] = {200, 200, 503, 503}, [ANSWER_HEALTH] = {200, 200, 503, 503},
        [ANSWER_LIVENESS] = {200, 200, 200, 200},  [ANSWER_READINESS] = {200, 200, 503, 503},
    };
    struct verdict nodes[NODES];
    (void)state;
    make_nodes(nodes);
    for (int kind = ANSWER_PRIMARY; kind <= ANSWER_READINESS; kind++) {
        for (size_t i = 0; i < NODES; i++) {
            const struct answer_query q = {.kind = (enum answer_kind)kind, .node = nodes[i].node};
            if (ask(&q, nodes, NODES, NULL) != expected[kind][i])
                fail_msg("kind %d of %s is not %d", kind, nodes[i].node, expected[kind][i]);
        }
    }
    /* The fallback makes no replica of a primary. */
    nodes[PG1].read = nodes[PG1].fallback = true;
    const struct answer_query replica = {.kind = ANSWER_REPLICA, .node = "pg1"};
    assert_int_equal(ask(&replica, nodes, NODES, NULL), 503);
    nodes[PG1].write = false;
    const struct answer_query reads = {.kind = ANSWER_READ_ONLY, .node = "pg1"};
    assert_int_equal(ask(&reads, nodes, NODES, NULL), 200);
}

static void test_parameters(void **state)
{
    static const struct {
        struct answer_query q;
        int status;
    } cases[] = {
        {{.kind = ANSWER_REPLICA, .lag = "4096"}, 200},
        {{.kind = ANSWER_REPLICA, .lag = "4095"}, 503},
        {{.kind = ANSWER_REPLICA, .lag = "4kB"}, 200}, /* PostgreSQL's kB: 1024 */
        {{.kind = ANSWER_REPLICA, .lag = "16MB"}, 200},
        {{.kind = ANSWER_REPLICA, .lag = "4KiB"}, 200},
        {{.kind = ANSWER_REPLICA, .lag = "0"}, 503},
        {{.kind = ANSWER_REPLICA, .lag = "x"}, 400},
        {{.kind = ANSWER_REPLICA, .lag = ""}, 400},
        {{.kind = ANSWER_REPLICA, .lag = "-1"}, 400},
        {{.kind = ANSWER_REPLICA, .lag = "16 MB"}, 400},
        {{.kind = ANSWER_REPLICA, .lag = "9999999999TB"}, 400},
        {{.kind = ANSWER_REPLICA, .lag = "99999999999999999999999"}, 400},
        {{.kind = ANSWER_REPLICA, .max_lag = "2s"}, 200},
        {{.kind = ANSWER_REPLICA, .max_lag = "1500ms"}, 200},
        {{.kind = ANSWER_REPLICA, .max_lag = "1s"}, 503},
        {{.kind = ANSWER_REPLICA, .max_lag = "10"}, 400},
        {{.kind = ANSWER_REPLICA, .min_lsn = "0/5000000"}, 200},
        {{.kind = ANSWER_REPLICA, .min_lsn = "0/5000001"}, 503},
        {{.kind = ANSWER_REPLICA, .min_lsn = "5000000"}, 400},
        {{.kind = ANSWER_REPLICA, .replication_state = "streaming"}, 200},
        {{.kind = ANSWER_REPLICA, .replication_state = "stopped"}, 400},
        {{.kind = ANSWER_REPLICA, .zone = "zone-1"}, 200},
        {{.kind = ANSWER_REPLICA, .zone = "zone-0"}, 503},
        {{.kind = ANSWER_READ_ONLY, .max_lag = "1s"}, 503},
        {{.kind = ANSWER_READ_ONLY, .node = "pg1", .max_lag = "1s", .lag = "0"}, 200},
        {{.kind = ANSWER_READINESS, .max_lag = "1s"}, 503},
        {{.kind = ANSWER_HEALTH, .max_lag = "1s"}, 200},
        {{.kind = ANSWER_HEALTH, .lag = "x"}, 400},
        {{.kind = ANSWER_PRIMARY, .node = "pg1", .min_lsn = "F/0"}, 200},
    };
    struct verdict nodes[NODES];
    (void)state;
    make_nodes(nodes);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int status = ask(&cases[i].q, nodes, NODES, NULL);
        if (status != cases[i].status)
            fail_msg("case %zu: %d, not %d", i, status, cases[i].status);
    }
}

/* What is not known is not within a bound. */
static void test_unknown_lag_is_no(void **state)
{
    static const struct answer_query queries[] = {
        {.kind = ANSWER_REPLICA, .lag = "16MB"},
        {.kind = ANSWER_REPLICA, .max_lag = "1h"},
        {.kind = ANSWER_REPLICA, .replication_state = "streaming"},
    };
    struct verdict nodes[NODES];
    (void)state;
    make_nodes(nodes);
    nodes[PG2].lag_ms = nodes[PG2].lag_bytes = LAG_UNKNOWN;
    nodes[PG2].streaming = false;
    for (size_t i = 0; i < ARRAY_LEN(queries); i++)
        assert_int_equal(ask(&queries[i], nodes, NODES, NULL), 503);
}

static void test_which_node(void **state)
{
    const struct answer_query any = {.kind = ANSWER_HEALTH};
    const struct answer_query foreign = {.kind = ANSWER_HEALTH, .node = "pg\"9"};
    struct verdict nodes[NODES];
    json_t *body;
    (void)state;
    make_nodes(nodes);
    assert_int_equal(ask(&any, nodes, NODES, &body), 200);
    assert_string_equal(json_string_value(json_object_get(body, "node")), "pg2");
    json_decref(body);
    assert_int_equal(ask(&foreign, nodes, NODES, NULL), 404);
    nodes[PG2].local = false;
    assert_int_equal(ask(&any, nodes, NODES, &body), 400);
    assert_int_equal(json_array_size(json_object_get(body, "nodes")), NODES);
    json_decref(body);
    assert_int_equal(ask(&any, nodes, 1, NULL), 200); /* the only one */
    assert_int_equal(ask(&any, nodes, 0, NULL), 400);
    nodes[PG1].local = nodes[PG2].local = true;
    assert_int_equal(ask(&any, nodes, NODES, NULL), 400);
    const struct answer_query alive = {.kind = ANSWER_LIVENESS};
    assert_int_equal(ask(&alive, nodes, NODES, NULL), 200); /* speaks of the agent */
}

static void test_nothing_is_healthy_beyond_the_lease(void **state)
{
    static const int64_t ages_ms[] = {-1, MAX_AGE_MS + 1, INT64_MAX};
    struct verdict nodes[NODES];
    struct buf b;
    (void)state;
    make_nodes(nodes);
    buf_init(&b, BODY_MAX);
    for (int kind = ANSWER_PRIMARY; kind <= ANSWER_READINESS; kind++) {
        const struct answer_query q = {.kind = (enum answer_kind)kind,
                                       .node = kind == ANSWER_PRIMARY ? "pg1" : "pg2"};
        for (size_t i = 0; i < ARRAY_LEN(ages_ms); i++)
            assert_int_equal(answer(&q, nodes, NODES, ages_ms[i], MAX_AGE_MS, &b), 503);
        assert_int_equal(answer(&q, nodes, NODES, MAX_AGE_MS, MAX_AGE_MS, &b), 200);
    }
    buf_deinit(&b);
}

static void test_body(void **state)
{
    const struct answer_query q = {.kind = ANSWER_REPLICA, .node = "pg2"};
    struct verdict nodes[NODES];
    json_t *body;
    (void)state;
    make_nodes(nodes);
    (void)str_copy(nodes[PG2].evidence, sizeof(nodes[PG2].evidence), "lo=1.5s \"quoted\"");
    assert_int_equal(ask(&q, nodes, NODES, &body), 200);
    static const struct {
        const char *key, *value;
    } texts[] = {{"state", "running"},
                 {"role", "replica"},
                 {"freshness", "fresh"},
                 {"node", "pg2"},
                 {"cluster", "main"},
                 {"zone", "zone-1"},
                 {"lsn", "0/5000000"},
                 {"reason", "some_reason"},
                 {"cause", ""},
                 {"replication_state", "streaming"},
                 {"evidence", "lo=1.5s \"quoted\""}};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_string_equal(json_string_value(json_object_get(body, texts[i].key)), texts[i].value);
    assert_int_equal(json_integer_value(json_object_get(body, "server_version")), 150020);
    assert_int_equal(json_integer_value(json_object_get(body, "timeline")), 3);
    assert_int_equal(json_integer_value(json_object_get(body, "weight")), 80);
    assert_int_equal(json_integer_value(json_object_get(body, "status")), 200);
    assert_true(json_is_true(json_object_get(body, "read")));
    assert_true(json_is_false(json_object_get(body, "write")));
    assert_true(json_real_value(json_object_get(body, "lag_seconds")) > 1.49);
    assert_true(json_is_null(json_object_get(body, "lag_hi_seconds")));
    const json_t *xlog = json_object_get(body, "xlog");
    assert_int_equal(json_integer_value(json_object_get(xlog, "replayed_location")), 0x5000000);
    json_decref(body);
    nodes[PG3].cause = CAUSE_STARTING;
    const struct answer_query starting = {.kind = ANSWER_HEALTH, .node = "pg3"};
    (void)ask(&starting, nodes, NODES, &body);
    assert_string_equal(json_string_value(json_object_get(body, "state")), "starting");
    json_decref(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_status_by_role),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_unknown_lag_is_no),
        cmocka_unit_test(test_which_node),
        cmocka_unit_test(test_nothing_is_healthy_beyond_the_lease),
        cmocka_unit_test(test_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
