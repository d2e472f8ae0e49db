/* The endpoints over a head and a history file: answers to the letter, errors, seams, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>
#include <zlib.h>

#include "agent/serve/exchange.h"
#include "agent/serve/query.h"
#include "agent/serve/query_source.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define T0 INT64_C(1700000000000)

static struct {
    struct series_table *table;
    struct batch_builder *builder;
    struct head *head;
    struct history *history;
    struct query_source *source;
    char path[64];
} f;

static void put(int64_t t, double a, double b, bool in_head)
{
    batch_begin(f.builder, "s", (wall_ms){t}, NULL);
    BATCH_ADD(f.builder, "m", a, "node", "a");
    BATCH_ADD(f.builder, "m", b, "node", "b");
    BATCH_ADD(f.builder, "n_total", 7);
    struct batch *batch = batch_finish(f.builder);
    history_put(f.history, batch);
    if (in_head)
        head_append(f.head, batch);
    batch_unref(batch);
}

/* Ten points each second: the first five are in the file only. */
static int setup(void **state)
{
    (void)state;
    snprintf(f.path, sizeof(f.path), "/tmp/pgvigil-query-%d.db", (int)getpid());
    f.table = series_table_create(100);
    f.builder = batch_builder_create(f.table);
    f.head = head_create(HEAD_KEEP_MS, HEAD_BYTES_MAX);
    f.history = history_create(&(struct history_opts){f.path, NULL, INT64_C(1) << 50, 1 << 30});
    for (int i = 1; i <= 10; i++)
        put(T0 + i * 1000, i, 10 * i, i > 5);
    history_destroy(&f.history);
    f.source = query_source_create(f.head, f.path, "127.0.0.1:9432");
    return 0;
}

static int teardown(void **state)
{
    char name[80];
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    (void)state;
    query_source_unref(f.source);
    head_destroy(&f.head);
    batch_builder_destroy(&f.builder);
    series_table_destroy(&f.table);
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        snprintf(name, sizeof(name), "%s%s", f.path, suffixes[i]);
        unlink(name);
    }
    return 0;
}

static struct query *ask_with(enum query_kind kind, const char *params, const char *label,
                              bool gzip)
{
    struct err err = {0};
    struct query *q = query_create(kind);
    q->label = mem_strdup(label);
    q->gzip = gzip;
    q->began = clock_read().mono;
    q->now = (wall_ms){T0 + 10000};
    assert_true(params_add(&q->params, params, strlen(params), &err));
    struct query_reader *reader = query_source_take(f.source, query_cancelled, q);
    query_run(q, query_reader(reader), query_reader_warning(reader));
    query_source_give_back(f.source, &reader);
    return q;
}

static void expect(enum query_kind kind, const char *params, int status, const char *body)
{
    struct query *q = ask_with(kind, params, "node", false);
    if (q->reply.status != status || !str_eq(q->reply.body.data, body))
        fail_msg("%s:\n%d %s\nnot\n%d %s", params, q->reply.status, q->reply.body.data, status,
                 body);
    query_destroy(&q);
}

#define OK(data)  "{\"status\":\"success\",\"data\":" data "}"
#define BAD(text) "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"" text "\"}"
#define OURS      "\"instance\":\"127.0.0.1:9432\",\"job\":\"pgvigil\""

static const struct {
    enum query_kind kind;
    const char *params;
    int status;
    const char *body;
} answers[] = {
    {QUERY_INSTANT, "query=1%2B1&time=4", 200,
     OK("{\"resultType\":\"scalar\",\"result\":[4,\"2\"]}")},
    {QUERY_INSTANT, "query=1e21&time=4", 200,
     OK("{\"resultType\":\"scalar\",\"result\":[4,\"1000000000000000000000\"]}")},
    {QUERY_INSTANT, "query=-1e-7&time=4", 200,
     OK("{\"resultType\":\"scalar\",\"result\":[4,\"-0.0000001\"]}")},
    {QUERY_INSTANT, "query=vector(1e21)&time=4", 200,
     OK("{\"resultType\":\"vector\",\"result\":[{\"metric\":{},\"value\":[4,\"1e+21\"]}]}")},
    {QUERY_INSTANT, "query=-Inf&time=4", 200,
     OK("{\"resultType\":\"scalar\",\"result\":[4,\"-Inf\"]}")},
    {QUERY_INSTANT, "query=%22x%22&time=1.5", 200,
     OK("{\"resultType\":\"string\",\"result\":[1.500,\"x\"]}")},
    {QUERY_INSTANT, "query=m%7Bnode=%22a%22%7D", 200,
     OK("{\"resultType\":\"vector\",\"result\":[{\"metric\":{\"__name__\":\"m\"," OURS
        ",\"node\":\"a\"},\"value\":[1700000010,\"10\"]}]}")},
    {QUERY_INSTANT, "query=sum(m)&time=1700000002.25", 200,
     OK("{\"resultType\":\"vector\",\"result\":[{\"metric\":{},\"value\":[1700000002.250,"
        "\"22\"]}]}")},
    {QUERY_INSTANT, "query=sum(m)&time=-0.5", 200, OK("{\"resultType\":\"vector\",\"result\":[]}")},
    /* over the seam between file and head, each point once */
    {QUERY_INSTANT, "query=m%7Bnode=%22a%22%7D[1m]", 200,
     OK("{\"resultType\":\"matrix\",\"result\":[{\"metric\":{\"__name__\":\"m\"," OURS
        ",\"node\":\"a\"},\"values\":[[1700000001,\"1\"],[1700000002,\"2\"],[1700000003,\"3\"],"
        "[1700000004,\"4\"],[1700000005,\"5\"],[1700000006,\"6\"],[1700000007,\"7\"],"
        "[1700000008,\"8\"],[1700000009,\"9\"],[1700000010,\"10\"]]}]}")},
    {QUERY_INSTANT, "query=m&limit=1&time=1700000003", 200,
     "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":{"
     "\"__name__\":\"m\"," OURS ",\"node\":\"a\"},\"value\":[1700000003,\"3\"]}]},"
     "\"warnings\":[\"results truncated due to limit\"]}"},
    {QUERY_INSTANT, "query=m&time=1700000020&lookback_delta=5s", 200,
     OK("{\"resultType\":\"vector\",\"result\":[]}")},
    {QUERY_INSTANT, "query=count(m%7Bjob=%22pgvigil%22%7D)&time=1700000003", 200,
     OK("{\"resultType\":\"vector\",\"result\":[{\"metric\":{},\"value\":[1700000003,\"2\"]}]}")},
    {QUERY_INSTANT, "query=m%7Bjob!=%22pgvigil%22%7D", 200,
     OK("{\"resultType\":\"vector\",\"result\":[]}")},
    {QUERY_RANGE, "query=sum(m)&start=1700000005&end=1700000007.9&step=1s", 200,
     OK("{\"resultType\":\"matrix\",\"result\":[{\"metric\":{},\"values\":[[1700000005,\"55\"],"
        "[1700000006,\"66\"],[1700000007,\"77\"]]}]}")},
    {QUERY_RANGE, "query=1&start=0&end=10999&step=11000&foo=bar", 200,
     OK("{\"resultType\":\"matrix\",\"result\":[{\"metric\":{},\"values\":[[0,\"1\"]]}]}")},
    {QUERY_SERIES, "match[]=n_total&match[]=%7B__name__=~%22n.*%22%7D", 200,
     OK("[{\"__name__\":\"n_total\"," OURS "}]")},
    {QUERY_SERIES, "match[]=m&limit=1", 200,
     "{\"status\":\"success\",\"data\":[{\"__name__\":\"m\"," OURS ",\"node\":\"a\"}],"
     "\"warnings\":[\"results truncated due to limit\"]}"},
    {QUERY_SERIES, "match[]=nothing", 200, OK("[]")},
    {QUERY_LABELS, "", 200, OK("[\"__name__\",\"instance\",\"job\",\"node\"]")},
    {QUERY_LABELS, "match[]=n_total", 200, OK("[\"__name__\",\"instance\",\"job\"]")},
    {QUERY_LABEL_VALUES, "", 200, OK("[\"a\",\"b\"]")},
    {QUERY_LABEL_VALUES, "match[]=n_total", 200, OK("[]")},
    {QUERY_INSTANT, "query=1&time=x", 400,
     BAD("invalid parameter \\\"time\\\": Invalid time value for 'time': cannot parse \\\"x\\\" to "
         "a valid timestamp")},
    {QUERY_INSTANT, "query=1&limit=x", 400,
     BAD("invalid parameter \\\"limit\\\": strconv.Atoi: parsing \\\"x\\\": invalid syntax")},
    {QUERY_INSTANT, "query=1&timeout=x", 400,
     BAD("invalid parameter \\\"timeout\\\": cannot parse \\\"x\\\" to a valid duration")},
    {QUERY_INSTANT, "query=1&lookback_delta=x", 400,
     BAD("error parsing lookback delta duration: cannot parse \\\"x\\\" to a valid duration")},
    {QUERY_RANGE, "query=1&start=2&end=1&step=1", 400,
     BAD("invalid parameter \\\"end\\\": end timestamp must not be before start time")},
    {QUERY_RANGE, "query=1&start=1&end=2&step=-1", 400,
     BAD("invalid parameter \\\"step\\\": zero or negative query resolution step widths are not "
         "accepted. Try a positive integer")},
    {QUERY_RANGE, "query=1&start=0&end=11001&step=1", 400,
     BAD("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query "
         "resolution (?step=XX)")},
    {QUERY_RANGE, "query=m[5m]&start=0&end=1&step=1", 400,
     BAD("invalid parameter \\\"query\\\": invalid expression type \\\"range vector\\\" for range "
         "query, must be Scalar or instant Vector")},
    {QUERY_SERIES, "", 400, BAD("no match[] parameter provided")},
    {QUERY_LABELS, "match[]=%7Ba=~%22.*%22%7D", 400,
     BAD("match[] must contain at least one non-empty "
         "matcher")},
    {QUERY_FORMAT, "query=sum(m)by(a)", 200, OK("\"sum by (a) (m)\"")},
    {QUERY_FORMAT, "query=sum(", 400,
     BAD("invalid parameter \\\"query\\\": 1:5: parse error: unclosed left parenthesis")},
    {QUERY_PARSE, "query=-1", 200, OK("{\"type\":\"numberLiteral\",\"val\":\"-1\"}")},
    {QUERY_PARSE, "", 400,
     BAD("invalid parameter \\\"query\\\": 1:1: parse error: no expression found in input")},
    {QUERY_SERIES, "match[]=sum(m)", 400,
     BAD("invalid parameter \\\"match[]\\\": 1:4: parse error: unexpected \\\"(\\\"")},
    {QUERY_SERIES, "match[]=m[5m]", 400,
     BAD("invalid parameter \\\"match[]\\\": 1:2: parse error: unexpected \\\"[\\\"")},
    {QUERY_SERIES, "match[]=m%20offset%205m", 400,
     BAD("invalid parameter \\\"match[]\\\": 1:3: parse error: unexpected <offset>")},
    {QUERY_SERIES, "match[]=1%2B1", 400,
     BAD("invalid parameter \\\"match[]\\\": 1:1: parse error: unexpected number \\\"1\\\"")},
    {QUERY_SERIES, "match[]=(m)", 400,
     BAD("invalid parameter \\\"match[]\\\": 1:1: parse error: unexpected \\\"(\\\"")},
    {QUERY_SERIES, "match[]=m%2B1", 400,
     BAD("invalid parameter \\\"match[]\\\": 1:2: parse error: unexpected <op:+>")},
    {QUERY_SERIES, "match[]=", 400,
     BAD("invalid parameter \\\"match[]\\\": 1:1: parse error: unexpected end of input")},
    {QUERY_SERIES, "match[]=m{__name__=%22x%22}", 200, OK("[]")},
    {QUERY_SERIES, "match[]=m&start=x", 400,
     BAD("invalid parameter \\\"start\\\": Invalid time value for 'start': cannot parse "
         "\\\"x\\\" to a valid timestamp")},
    {QUERY_LABELS, "limit=2", 200,
     "{\"status\":\"success\",\"data\":[\"__name__\",\"instance\"],\"warnings\":[\"results "
     "truncated due to limit\"]}"},
    {QUERY_LABEL_VALUES, "limit=1", 200,
     "{\"status\":\"success\",\"data\":[\"a\"],\"warnings\":[\"results truncated due to "
     "limit\"]}"},
    {QUERY_SERIES, "match[]=m%7Binstance=~%22(.*.*)*[0-9]{5}[xyz]%22%7D", 422,
     "{\"status\":\"error\",\"errorType\":\"execution\",\"error\":\"regular expression of a "
     "selector needs too many steps\"}"},
    {QUERY_LABEL_VALUES, "match[]=m%7Binstance!~%22(.*.*)*[0-9]{5}[xyz]%22%7D", 422,
     "{\"status\":\"error\",\"errorType\":\"execution\",\"error\":\"regular expression of a "
     "selector needs too many steps\"}"},
    {QUERY_INSTANT, "query=m&timeout=0", 503,
     "{\"status\":\"error\",\"errorType\":\"timeout\",\"error\":\"query timed out in expression "
     "evaluation\"}"},
};

static void answers_as_prometheus_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++)
        expect(answers[i].kind, answers[i].params, answers[i].status, answers[i].body);
}

static void expect_values(const char *label, int status, const char *body)
{
    struct query *q = ask_with(QUERY_LABEL_VALUES, "", label, false);
    assert_int_equal(q->reply.status, status);
    assert_string_equal(q->reply.body.data, body);
    query_destroy(&q);
}

static void label_names_may_be_escaped(void **state)
{
    (void)state;
    expect_values("U__node", 200, OK("[\"a\",\"b\"]"));
    expect_values("U__no_64_e", 200, OK("[\"a\",\"b\"]"));
    expect_values("U____name__", 200, OK("[]")); /* `_name_` */
    expect_values("no such", 200, OK("[]"));
    expect_values("U__no_000064_e", 200, OK("[\"a\",\"b\"]"));
    expect_values("U__no_0000064_e", 200, OK("[]")); /* too many digits: not escaped */
    expect_values("U__no_ 64_e", 200, OK("[]"));
    expect_values("U__no_d800_e", 200, OK("[]"));
    expect_values("U__node_", 200, OK("[]"));
    expect_values("\xff", 400, BAD("invalid label name: \\\"\\\\xff\\\""));
    expect_values("", 400, BAD("invalid label name: \\\"\\\""));
}

static void compresses_what_is_worth_it(void **state)
{
    static char plain[1 << 20];
    static const char params[] = "query=m&start=1700000001&end=1700000100&step=0.1";
    struct query *small = ask_with(QUERY_INSTANT, "query=1", "", true);
    struct query *packed = ask_with(QUERY_RANGE, params, "", true);
    struct query *whole = ask_with(QUERY_RANGE, params, "", false);
    z_stream z = {0};
    (void)state;
    assert_false(small->reply.gzip);
    assert_true(packed->reply.gzip);
    assert_true(packed->reply.body.len < whole->reply.body.len / 4);
    z.next_in = (unsigned char *)packed->reply.body.data;
    z.avail_in = (unsigned)packed->reply.body.len;
    z.next_out = (unsigned char *)plain;
    z.avail_out = sizeof(plain) - 1;
    assert_int_equal(inflateInit2(&z, MAX_WBITS + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    inflateEnd(&z);
    assert_string_equal(plain, whole->reply.body.data);
    query_destroy(&small);
    query_destroy(&packed);
    query_destroy(&whole);
}

/* Without its file the API still has the head; a file that is none is told. */
static void history_may_be_missing_or_broken(void **state)
{
    (void)state;
    query_source_unref(f.source);
    f.source = query_source_create(f.head, "/nonexistent/history.db", "127.0.0.1:9432");
    expect(QUERY_INSTANT, "query=sum(count_over_time(m[1m]))", 200,
           OK("{\"resultType\":\"vector\",\"result\":[{\"metric\":{},\"value\":[1700000010,"
              "\"10\"]}]}"));
    query_source_unref(f.source);
    f.source = query_source_create(f.head, "/etc/passwd", "127.0.0.1:9432");
    struct query *q = ask_with(QUERY_INSTANT, "query=sum(count_over_time(m[1m]))", "", false);
    assert_int_equal(q->reply.status, 200);
    assert_non_null(strstr(q->reply.body.data, "\"10\"]"));
    assert_non_null(strstr(q->reply.body.data, "\"warnings\":[\"history cannot be read: "));
    query_destroy(&q);
}

static void a_closed_source_leaves_the_head_alone(void **state)
{
    (void)state;
    query_source_close(f.source);
    head_destroy(&f.head);
    expect(QUERY_INSTANT, "query=sum(m)", 200,
           OK("{\"resultType\":\"vector\",\"result\":[{\"metric\":{},\"value\":[1700000010,"
              "\"110\"]}]}"));
}

/* ---- through the workers ---- */

struct answer {
    struct loop *loop;
    int count;
};

static void on_answer(void *arg)
{
    struct answer *a = arg;
    a->count++;
}

/* More than fit are refused at once; those that run answer, and one that is dropped never does. */
static void workers_answer_refuse_and_give_up(void **state)
{
    enum { N = QUERIES_RUNNING + QUERIES_WAITING + 3 };
    struct exchange *x[N];
    struct err err = {0};
    struct answer a = {0};
    struct serve_sources from = {.now = {clock_read().mono, {T0 + 10000}}, .version = "1"};
    struct exchange_head head = {.method = "POST", .path = "/api/v1/query", .is_form = true};
    int refused = 0;
    (void)state;
    a.loop = loop_create("test", &err);
    struct query_pool *pool = query_pool_create(a.loop, f.source);
    for (size_t i = 0; i < N; i++) {
        x[i] = exchange_create("/api/v1/query?time=4", from.now.mono);
        exchange_body(x[i], "query=sum", 9);
        exchange_body(x[i], "(vector(2))", 11);
        if (exchange_start(x[i], &head, &from, pool, on_answer, &a)) {
            refused++;
            assert_int_equal(exchange_reply(x[i])->status, 500);
            assert_non_null(strstr(exchange_reply(x[i])->body.data, "\"unavailable\""));
        }
    }
    assert_int_equal(refused, 3);
    exchange_destroy(&x[1]);
    while (a.count < N - refused - 1)
        loop_run_once(a.loop, true);
    assert_string_equal(exchange_reply(x[0])->body.data,
                        OK("{\"resultType\":\"vector\",\"result\":[{\"metric\":{},\"value\":[4,"
                           "\"2\"]}]}"));
    for (size_t i = 0; i < N; i++)
        exchange_destroy(&x[i]);
    x[0] = exchange_create("/api/v1/query?query=1", from.now.mono);
    assert_false(exchange_start(x[0], &head, &from, pool, on_answer, &a));
    exchange_destroy(&x[0]);
    f.source = query_source_create(f.head, f.path, "x");
    query_pool_destroy(&pool);
    loop_destroy(&a.loop);
}

static const struct {
    const char *method, *uri, *path;
    int status;
    const char *part;
} at_once[] = {
    {"GET", "/api/v1/status/buildinfo", "/api/v1/status/buildinfo", 200, "\"version\":\"1\""},
    {"GET", "/api/v1/metadata?metric=db_up", "/api/v1/metadata", 200,
     "{\"status\":\"success\",\"data\":{\"db_up\":[{\"type\":\"gauge\",\"help\":\""},
    {"GET", "/api/v1/metadata?limit=0", "/api/v1/metadata", 200, "\"data\":{}}"},
    {"GET", "/api/v1/metadata?limit=x", "/api/v1/metadata", 400, "limit must be a number"},
    {"POST", "/api/v1/metadata", "/api/v1/metadata", 405, "Method"},
    {"GET", "/api/v1/query_exemplars?query=test&start=1700000000000&end=1700000000000",
     "/api/v1/query_exemplars", 200, "{\"status\":\"success\",\"data\":[]}"},
    {"GET", "/api/v1/query_exemplars?query=(", "/api/v1/query_exemplars", 400, "parse error"},
    {"PUT", "/api/v1/query", "/api/v1/query", 405, "Method"},
    {"GET", "/api/v1/nothing", "/api/v1/nothing", 404, "404 page not found\n"},
    {"GET", "/api/v1/label/x", "/api/v1/label/x", 404, "404"},
    {"GET", "/api/v1/label//values", "/api/v1/label//values", 404, "404"},
    {"POST", "/api/v1/label/x/values", "/api/v1/label/x/values", 405, "Method"},
    {"GET", "/api/v1/query?query=%z", "/api/v1/query", 400, "error parsing form values"},
};

static void answers_at_once_what_needs_no_sample(void **state)
{
    struct serve_sources from = {.version = "1"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(at_once); i++) {
        struct exchange *x = exchange_create(at_once[i].uri, (mono_ms){0});
        struct exchange_head head = {.method = at_once[i].method, .path = at_once[i].path};
        assert_true(exchange_start(x, &head, &from, NULL, NULL, NULL));
        struct reply *reply = exchange_reply(x);
        if (reply->status != at_once[i].status || strstr(reply->body.data, at_once[i].part) == NULL)
            fail_msg("%s: %d %s", at_once[i].uri, reply->status, reply->body.data);
        exchange_destroy(&x);
    }
}

/* ---- rules ---- */

static struct rule_report *two_rules(void)
{
    static const struct label labels[] = {{"severity", "page"}};
    struct rule_report *r = rule_report_create(1);
    struct rule_shown *rules = arena_alloc_array(r->arena, 2, sizeof(*rules));
    rules[0] = (struct rule_shown){.is_alert = true,
                                   .name = "Down",
                                   .expr = "up==0",
                                   .query = "up == 0",
                                   .labels = {1, labels},
                                   .for_ms = 90000,
                                   .error = "it \"failed\"",
                                   .run_ns = 1500000,
                                   .run_at = {1700000000000}};
    rules[1] = (struct rule_shown){.name = "a:b",
                                   .expr = "sum(b)",
                                   .query = "sum(b)",
                                   .error = "",
                                   .missing = "nobody knows this metric: b",
                                   .note = "no \"counter\"",
                                   .run_at = {WALL_UNSET.ms}};
    r->groups[0] = (struct rule_group_shown){.name = "g",
                                             .file = "/f.yml",
                                             .interval_ms = 15000,
                                             .run_ns = 2000000,
                                             .run_at = {1700000000000},
                                             .rules = rules,
                                             .n = 2};
    return r;
}

#define GROUP                                                                                   \
    "{\"name\":\"g\",\"file\":\"/f.yml\",\"interval\":15,\"limit\":0,\"evaluationTime\":0.002," \
    "\"lastEvaluation\":\"2023-11-14T22:13:20.000Z\",\"rules\":["
#define DOWN_BEGIN                                                                           \
    "{\"name\":\"Down\",\"query\":\"up == 0\",\"labels\":{\"severity\":\"page\"},\"state\":" \
    "\"firing\",\"duration\":90,\"keepFiringFor\":0,\"annotations\":{},\"alerts\":["
#define FIRING                                                           \
    "{\"labels\":{\"alertname\":\"Down\"},\"annotations\":{},\"state\":" \
    "\"firing\",\"activeAt\":\"2023-11-14T22:13:20.000Z\",\"value\":\"0e+00\"}"
#define DOWN_END                                                                          \
    "],\"health\":\"err\",\"lastError\":\"it \\\"failed\\\"\",\"evaluationTime\":0.0015," \
    "\"lastEvaluation\":\"2023-11-14T22:13:20.000Z\",\"type\":\"alerting\"}"
#define RECORD                                                                     \
    "{\"name\":\"a:b\",\"query\":\"sum(b)\",\"labels\":{},\"health\":\"unknown\"," \
    "\"warnings\":[\"nobody knows this metric: b\",\"no \\\"counter\\\"\"],"       \
    "\"evaluationTime\":0,\"lastEvaluation\":\"0001-01-01T00:00:00Z\",\"type\":\"recording\"}"
#define GROUPS(text) OK("{\"groups\":[" text "]}")

static const struct {
    const char *query, *body;
} rule_answers[] = {
    {"", GROUPS(GROUP DOWN_BEGIN FIRING DOWN_END "," RECORD "]}")},
    {"?type=record&x=y", GROUPS(GROUP RECORD "]}")},
    {"?type=alert&exclude_alerts=true", GROUPS(GROUP DOWN_BEGIN DOWN_END "]}")},
    {"?rule_name[]=no&rule_name[]=a:b&rule_group[]=g&file[]=/f.yml", GROUPS(GROUP RECORD "]}")},
    {"?rule_group[]=h", GROUPS("")},
    {"?file[]=h", GROUPS("")},
    {"?match[]={severity=~%22p.*%22}&exclude_alerts=1", GROUPS(GROUP DOWN_BEGIN DOWN_END "]}")},
    {"?match[]={severity=%22x%22}", GROUPS("")},
    {"?type=x", BAD("invalid parameter \\\"type\\\": not supported value \\\"x\\\"")},
    {"?match[]=a[5m]", BAD("1:2: parse error: unexpected \\\"[\\\"")},
    {"?match[]={a=~%22.*%22}", BAD("match[] must contain at "
                                   "least one non-empty matcher")},
    {"?type=Record&exclude_alerts=F", GROUPS(GROUP RECORD "]}")},
    {"?exclude_alerts=x",
     BAD("invalid parameter \\\"exclude_alerts\\\": error converting exclude_alerts: "
         "strconv.ParseBool: parsing \\\"x\\\": invalid syntax")},
    {"?group_limit=x", BAD("invalid parameter \\\"group_limit\\\": group_limit needs to be a valid "
                           "number: strconv.ParseInt: parsing \\\"x\\\": invalid syntax")},
    {"?group_limit=0",
     BAD("invalid parameter \\\"group_limit\\\": group_limit needs to be greater than 0")},
    {"?group_next_token=x",
     BAD("invalid parameter \\\"group_next_token\\\": group_limit needs to be present in order to "
         "paginate over the groups")},
    {"?group_limit=1&group_next_token=x",
     BAD("invalid parameter \\\"group_next_token\\\": invalid group_next_token 'x'. were rule "
         "groups changed?")},
    {"?group_limit=1&type=record", GROUPS(GROUP RECORD "]}")},
};

static void shows_rules_with_their_alerts(void **state)
{
    static const struct label labels[] = {{"alertname", "Down"}};
    struct alert a = {.state = ALERT_FIRING,
                      .labels = {1, labels},
                      .active_at = {1700000000000},
                      .group = "g",
                      .rule = "Down",
                      .expr = "up==0"};
    struct serve_sources from = {.alerts = alert_board_create(), .rules = rule_board_create()};
    struct alert_list *list = alert_list_create(a.active_at, 3);
    (void)state;
    list->alerts[0] = alert_copy(&a);
    a.group = "other";
    list->alerts[1] = alert_copy(&a);
    a.group = "g";
    a.state = ALERT_RESOLVED;
    list->alerts[2] = alert_copy(&a);
    alert_board_put(from.alerts, list);
    rule_board_put(from.rules, two_rules());
    for (size_t i = 0; i < ARRAY_LEN(rule_answers); i++) {
        struct exchange *x = exchange_create(rule_answers[i].query, (mono_ms){0});
        struct exchange_head head = {.method = "GET", .path = "/api/v1/rules"};
        assert_true(exchange_start(x, &head, &from, NULL, NULL, NULL));
        assert_string_equal(exchange_reply(x)->body.data, rule_answers[i].body);
        exchange_destroy(&x);
    }
    alert_board_destroy(&from.alerts);
    rule_board_destroy(&from.rules);
}

/* The loop also has the gate's answers to give. */
static void selectors_do_not_hold_the_loop(void **state)
{
    static const struct label labels[] = {{"a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}};
    enum { RULES = 300 };
    struct serve_sources from = {.alerts = alert_board_create(), .rules = rule_board_create()};
    struct rule_report *report = rule_report_create(1);
    struct rule_shown *rules = arena_alloc_array(report->arena, RULES, sizeof(*rules));
    struct exchange_head head = {.method = "GET", .path = "/api/v1/rules"};
    uint64_t begin = clock_stage_ns();
    (void)state;
    for (size_t i = 0; i < RULES; i++)
        rules[i] = (struct rule_shown){
            .name = "r", .expr = "1", .query = "1", .error = "", .labels = {1, labels}};
    report->groups[0] =
        (struct rule_group_shown){.file = "f", .name = "g", .rules = rules, .n = RULES};
    rule_board_put(from.rules, report);
    /* just below its limit, and matches none */
    struct exchange *x =
        exchange_create("?match[]={a=~%22(.|.){1,15}[0-9=][!-~]%2B%22}", (mono_ms){0});
    assert_true(exchange_start(x, &head, &from, NULL, NULL, NULL));
    assert_string_equal(exchange_reply(x)->body.data,
                        "{\"status\":\"error\",\"errorType\":\"execution\",\"error\":\"matching "
                        "of selectors takes too long\"}");
    assert_true(clock_stage_ns() - begin < UINT64_C(300000000));
    exchange_destroy(&x);
    alert_board_destroy(&from.alerts);
    rule_board_destroy(&from.rules);
}

/* Pages of two of five groups, in the order of file and name; what is filtered out counts not. */
static void gives_rules_in_pages(void **state)
{
    static const char *const names[][2] = {
        {"/b.yml", "z"}, {"/a.yml", "y"}, {"/b.yml", "a"}, {"/c.yml", "k"}, {"/a.yml", "x"}};
    static const char *const pages[] = {"x y ", "a z ", "k "};
    struct serve_sources from = {.alerts = alert_board_create(), .rules = rule_board_create()};
    struct rule_report *report = rule_report_create(ARRAY_LEN(names));
    char query[200] = "?group_limit=2", seen[100];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        report->groups[i] = (struct rule_group_shown){.file = names[i][0], .name = names[i][1]};
    rule_board_put(from.rules, report);
    for (size_t page = 0; page < ARRAY_LEN(pages); page++) {
        struct exchange *x = exchange_create(query, (mono_ms){0});
        struct exchange_head head = {.method = "GET", .path = "/api/v1/rules"};
        assert_true(exchange_start(x, &head, &from, NULL, NULL, NULL));
        json_t *root = json_loads(exchange_reply(x)->body.data, 0, NULL), *group;
        json_t *data = json_object_get(root, "data");
        size_t i;
        seen[0] = '\0';
        json_array_foreach(json_object_get(data, "groups"), i, group)
        {
            size_t n = strlen(seen);
            snprintf(seen + n, sizeof(seen) - n, "%s ",
                     json_string_value(json_object_get(group, "name")));
        }
        assert_string_equal(seen, pages[page]);
        const char *token = json_string_value(json_object_get(data, "groupNextToken"));
        assert_true((token != NULL) == (page + 1 < ARRAY_LEN(pages)));
        snprintf(query, sizeof(query), "?group_limit=2&group_next_token=%s", token ? token : "");
        json_decref(root);
        exchange_destroy(&x);
    }
    alert_board_destroy(&from.alerts);
    rule_board_destroy(&from.rules);
}

/* What `stats` adds; times vary, so only what they are is looked at. */
static void tells_statistics(void **state)
{
    static const char *const timings[] = {"evalTotalTime", "resultSortTime", "queryPreparationTime",
                                          "innerEvalTime", "execQueueTime",  "execTotalTime"};
    struct query *q = ask_with(
        QUERY_RANGE, "query=m&stats=all&start=1700000001&end=1700000010&step=1", "", false);
    json_t *root = json_loads(q->reply.body.data, 0, NULL);
    json_t *stats = json_object_get(json_object_get(root, "data"), "stats");
    json_t *samples = json_object_get(stats, "samples");
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(timings); i++) {
        json_t *t = json_object_get(json_object_get(stats, "timings"), timings[i]);
        assert_true(json_is_number(t) && json_number_value(t) >= 0 && json_number_value(t) < 60);
    }
    assert_int_equal(json_integer_value(json_object_get(samples, "totalQueryableSamples")), 20);
    assert_true(json_integer_value(json_object_get(samples, "peakSamples")) >= 20);
    json_decref(root);
    query_destroy(&q);
    q = ask_with(QUERY_INSTANT, "query=m&stats=", "", false);
    assert_null(strstr(q->reply.body.data, "stats"));
    query_destroy(&q);
}

/* Ten notes of a kind are given, and how many more there were. */
static void gives_ten_notes(void **state)
{
    char params[1000] = "query=sum(m)";
    for (int i = 2; i < 14; i++) {
        size_t n = strlen(params);
        snprintf(params + n, sizeof(params) - n, "%%2Bquantile(%d,m)", i);
    }
    struct query *q = ask_with(QUERY_INSTANT, params, "", false);
    json_t *root = json_loads(q->reply.body.data, 0, NULL);
    json_t *warnings = json_object_get(root, "warnings");
    (void)state;
    assert_int_equal(json_array_size(warnings), 11);
    assert_string_equal(json_string_value(json_array_get(warnings, 10)),
                        "2 more warning annotations omitted");
    assert_null(json_object_get(root, "infos"));
    json_decref(root);
    query_destroy(&q);
}

/* 405 names what the endpoint takes; a packed body is refused as such. */
static void refuses_methods_and_encodings(void **state)
{
    struct serve_sources from = {.version = "1"};
    struct exchange_head put = {.method = "PUT", .path = "/api/v1/query"};
    struct exchange_head post = {.method = "POST", .path = "/api/v1/rules"};
    struct exchange_head packed = {
        .method = "POST", .path = "/api/v1/query", .is_form = true, .encoding = "gzip"};
    const struct {
        struct exchange_head *head;
        int status;
        const char *allow;
    } cases[] = {{&put, 405, "GET, HEAD, OPTIONS, POST"}, {&post, 405, NULL}, {&packed, 415, NULL}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct exchange *x = exchange_create("/", (mono_ms){0});
        assert_true(exchange_start(x, cases[i].head, &from, NULL, NULL, NULL));
        assert_int_equal(exchange_reply(x)->status, cases[i].status);
        if (cases[i].allow != NULL)
            assert_string_equal(exchange_reply(x)->allow, cases[i].allow);
        exchange_destroy(&x);
    }
}

static void only_the_form_of_a_post_counts(void **state)
{
    static const char *const methods[] = {"GET", "HEAD", "POST"};
    struct serve_sources from = {.version = "1"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct exchange_head head = {
            .method = methods[i], .path = "/api/v1/query_exemplars", .is_form = true};
        struct exchange *x = exchange_create("/?query=a", (mono_ms){0});
        exchange_body(x, "query=sum(", 10);
        assert_true(exchange_start(x, &head, &from, NULL, NULL, NULL));
        assert_int_equal(exchange_reply(x)->status, str_eq(methods[i], "POST") ? 400 : 200);
        exchange_destroy(&x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_as_prometheus_does, setup, teardown),
        cmocka_unit_test_setup_teardown(label_names_may_be_escaped, setup, teardown),
        cmocka_unit_test_setup_teardown(compresses_what_is_worth_it, setup, teardown),
        cmocka_unit_test_setup_teardown(history_may_be_missing_or_broken, setup, teardown),
        cmocka_unit_test_setup_teardown(a_closed_source_leaves_the_head_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(workers_answer_refuse_and_give_up, setup, teardown),
        cmocka_unit_test(answers_at_once_what_needs_no_sample),
        cmocka_unit_test(shows_rules_with_their_alerts),
        cmocka_unit_test(selectors_do_not_hold_the_loop),
        cmocka_unit_test(gives_rules_in_pages),
        cmocka_unit_test_setup_teardown(tells_statistics, setup, teardown),
        cmocka_unit_test(refuses_methods_and_encodings),
        cmocka_unit_test(only_the_form_of_a_post_counts),
        cmocka_unit_test_setup_teardown(gives_ten_notes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
