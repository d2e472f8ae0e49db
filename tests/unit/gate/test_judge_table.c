/*
 * The table of states, walked row by row: sane, reachable, named, and applied as it stands. And the
 * small pure parts beside it: weights, and where a node is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../../agent/gate/judge_private.h"
#include "pgvigil/base/str.h"

static bool is_node_state(unsigned state)
{
    return state <= JS_EXCLUDED;
}

static void test_rows_are_sane(void **state)
{
    size_t n;
    const struct judge_row *rows = judge_rows(&n);
    (void)state;
    assert_true(n > 40);
    for (size_t i = 0; i < n; i++) {
        const struct judge_row *r = &rows[i];
        bool is_node = r->from == FROM_ANY_NODE || is_node_state(r->from);
        assert_true(r->from == FROM_ANY_NODE || r->from < JS_COUNT);
        assert_true(r->to < JS_COUNT);
        assert_true(r->event > EV_NONE && r->event < EV_COUNT);
        assert_int_equal(is_node, is_node_state(r->to));
        assert_true(strlen(r->reason) > 0 && strlen(r->reason) < REASON_MAX);
        assert_null(strpbrk(r->reason, " \t\n="));
    }
}

/* No row stands in the shadow of another: each is found from some state. */
static void test_rows_are_reachable(void **state)
{
    size_t n;
    const struct judge_row *rows = judge_rows(&n);
    (void)state;
    for (size_t i = 0; i < n; i++) {
        bool is_found = false;
        for (unsigned from = 0; from < JS_COUNT; from++)
            is_found |=
                judge_row_find((enum judge_state)from, (enum judge_event)rows[i].event) == &rows[i];
        if (!is_found)
            fail_msg("row %zu (%s) is never found", i,
                     judge_event_name((enum judge_event)rows[i].event));
    }
}

static void test_every_event_and_state_is_used_and_named(void **state)
{
    size_t n;
    const struct judge_row *rows = judge_rows(&n);
    (void)state;
    for (unsigned e = EV_NONE + 1; e < EV_COUNT; e++) {
        bool is_used = false;
        for (size_t i = 0; i < n; i++)
            is_used |= rows[i].event == e;
        assert_true(is_used);
        for (unsigned f = 0; f < e; f++)
            assert_string_not_equal(judge_event_name((enum judge_event)e),
                                    judge_event_name((enum judge_event)f));
    }
    for (unsigned s = 0; s < JS_COUNT; s++) {
        bool is_entered = false;
        for (size_t i = 0; i < n; i++)
            is_entered |= rows[i].to == s;
        assert_true(is_entered);
        assert_true(s == JS_UNKNOWN || !str_eq(judge_state_name((enum judge_state)s), "unknown"));
    }
}

struct told {
    size_t flips;
    struct gate_flip last;
};

static void on_flip(const struct gate_flip *flip, void *arg)
{
    struct told *told = arg;
    told->flips++;
    told->last = *flip;
}

static struct judge *judge_of_one(struct told *told)
{
    static const struct config_gate gate = {.hold_ms = 5000, .down_after = 3, .fall = 2};
    static const struct config_node node = {
        .name = "pg1", .read = true, .max_lag_ms = 1000, .hard_lag_ms = 5000};
    const struct judge_opts opts = {.cluster = "main",
                                    .scope = SCOPE_CLUSTER,
                                    .gate = &gate,
                                    .nodes = &node,
                                    .node_count = 1,
                                    .interval_ms = 1000,
                                    .on_flip = on_flip,
                                    .arg = told};
    return judge_create(&opts, (struct now){{1000}, {1000}});
}

static void apply_row(const struct judge_row *row, enum judge_state from)
{
    struct told told = {0};
    struct judge *j = judge_of_one(&told);
    struct now now = {{5000}, {5000}};
    bool is_node = is_node_state(from);
    struct judge_node *n = is_node ? &j->nodes[0] : NULL;
    if (is_node) {
        n->v.state = (enum fresh_state)from;
        n->published = from == JS_FRESH;
    } else {
        j->mode = from;
    }
    judge_apply(j, n, (enum judge_event)row->event, now);
    assert_int_equal(is_node ? (int)n->v.state : (int)j->mode, row->to);
    assert_string_equal(is_node ? n->reason : j->mode_reason, row->reason);
    bool is_told = from != row->to || row->event == EV_HARD;
    assert_int_equal(told.flips, is_told);
    if (is_told) {
        assert_string_equal(told.last.what, is_node ? "state" : "fallback");
        assert_string_equal(told.last.from, judge_state_name(from));
        assert_string_equal(told.last.to, judge_state_name((enum judge_state)row->to));
        assert_string_equal(told.last.reason, row->reason);
        assert_int_equal(told.last.at.ms, 5000);
    }
    if (is_node) {
        bool is_out = row->to != JS_FRESH && row->to != JS_UNKNOWN;
        assert_false(is_out && n->published);
    }
    /* Applied again it changes nothing and tells nothing. */
    size_t flips = told.flips;
    if (judge_row_find((enum judge_state)row->to, (enum judge_event)row->event) == row) {
        judge_apply(j, n, (enum judge_event)row->event, now);
        assert_int_equal(told.flips, flips);
    }
    judge_destroy(&j);
}

static void test_each_row_is_applied_as_it_stands(void **state)
{
    size_t n, applied = 0;
    const struct judge_row *rows = judge_rows(&n);
    (void)state;
    for (size_t i = 0; i < n; i++) {
        for (unsigned from = 0; from < JS_COUNT; from++) {
            if (judge_row_find((enum judge_state)from, (enum judge_event)rows[i].event) != &rows[i])
                continue;
            apply_row(&rows[i], (enum judge_state)from);
            applied++;
        }
    }
    assert_true(applied >= n);
}

static void test_an_event_without_a_row_means_nothing(void **state)
{
    struct told told = {0};
    struct judge *j = judge_of_one(&told);
    (void)state;
    j->nodes[0].v.state = FRESH_EXCLUDED;
    judge_apply(j, &j->nodes[0], EV_FAILED, (struct now){{1}, {1}});
    judge_apply(j, &j->nodes[0], EV_NONE, (struct now){{1}, {1}});
    judge_apply(j, NULL, EV_CALM, (struct now){{1}, {1}});
    assert_int_equal(j->nodes[0].v.state, FRESH_EXCLUDED);
    assert_int_equal(j->mode, JS_NORMAL);
    assert_int_equal(told.flips, 0);
    judge_destroy(&j);
}

static void test_weight_by_lag(void **state)
{
    static const struct {
        int64_t lag_ms;
        int weight;
    } cases[] = {{0, 100},    {5000, 100}, {6000, 100}, {12000, 90},  {32500, 60},
                 {50000, 30}, {59999, 10}, {60000, 10}, {1000000, 10}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(judge_weight_for(cases[i].lag_ms, 60000), cases[i].weight);
}

static void weigh(struct judge_node *n, int64_t lag_ms, bool was_read, int64_t now_ms)
{
    n->lag.shown_ms = lag_ms;
    judge_weigh(n, was_read, (mono_ms){now_ms});
}

static void test_weight_moves_in_steps(void **state)
{
    struct judge_node n = {
        .v.read = true, .v.state = FRESH_FRESH, .v.max_lag_ms = 60000, .lag.known = true};
    (void)state;
    weigh(&n, 32500, false, 1000); /* a returning replica starts by its lag */
    assert_int_equal(n.v.weight, 60);
    weigh(&n, 26000, true, 2000);
    assert_int_equal(n.v.weight, 60);
    weigh(&n, 26000, true, 11999);
    assert_int_equal(n.v.weight, 60);
    weigh(&n, 26000, true, 12000); /* 10 s later it stands */
    assert_int_equal(n.v.weight, 70);
    weigh(&n, 0, true, 12001); /* off by 30 */
    assert_int_equal(n.v.weight, 100);
    n.v.state = FRESH_UNKNOWN;
    weigh(&n, 59000, true, 13000);
    assert_int_equal(n.v.weight, 100);
    n.v.read = false;
    weigh(&n, 0, true, 14000);
    assert_int_equal(n.v.weight, 0);
}

static void test_endpoint(void **state)
{
    static const struct {
        const char *dsn, *host;
        int port;
    } cases[] = {
        {"host=10.0.0.1 dbname=app", "10.0.0.1", 5432},
        {"dbname=app host=db1 port=6000", "db1", 6000},
        {"host=db1 hostaddr=10.0.0.7 port=5433", "10.0.0.7", 5433},
        {"host='db1' user=a", "db1", 5432},
        {"postgresql://user:p%40ss@db2:5433/app?sslmode=require", "db2", 5433},
        {"postgres://db3/app", "db3", 5432},
        {"postgres://db3:77,db4:78/app", "db3", 77},
        {"service=pg2", "", 5432},
        {"myhost=x", "", 5432},
        {"", "", 5432},
        {NULL, "", 5432},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char host[64];
        int port = 0;
        judge_endpoint(cases[i].dsn, host, sizeof(host), &port);
        assert_string_equal(host, cases[i].host);
        assert_int_equal(port, cases[i].port);
    }
    char dsn[400], host[64];
    int port;
    memset(dsn, 'a', sizeof(dsn));
    memcpy(dsn, "host=", 5);
    dsn[sizeof(dsn) - 1] = '\0';
    judge_endpoint(dsn, host, sizeof(host), &port);
    assert_string_equal(host, "");
    memcpy(dsn, "postgres://", 11);
    judge_endpoint(dsn, host, sizeof(host), &port);
    assert_string_equal(host, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_sane),
        cmocka_unit_test(test_rows_are_reachable),
        cmocka_unit_test(test_every_event_and_state_is_used_and_named),
        cmocka_unit_test(test_each_row_is_applied_as_it_stands),
        cmocka_unit_test(test_an_event_without_a_row_means_nothing),
        cmocka_unit_test(test_weight_by_lag),
        cmocka_unit_test(test_weight_moves_in_steps),
        cmocka_unit_test(test_endpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
