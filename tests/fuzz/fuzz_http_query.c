/*
 * Parameters of API requests: the bytes up to the first newline are a URL, the rest is a form body.
 * What is decoded goes on into an endpoint over an empty source; every answer must be whole JSON of
 * one of the two kinds. The bytes are headers of negotiation, too.
 */
#include <jansson.h>

#include "../../agent/serve/api_v1.h"
#include "../../agent/serve/negotiate.h"
#include "../../agent/serve/query_source.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_answer(const struct reply *reply)
{
    json_t *root = json_loads(reply->body.data, 0, NULL);
    const char *status = json_string_value(json_object_get(root, "status"));
    if (status == NULL || !str_eq(status, reply->status == 200 ? "success" : "error"))
        __builtin_trap();
    json_decref(root);
}

static const char *param(const struct request *req, const char *name)
{
    return params_get(req->connection, name);
}

/* Endpoints that answer from snapshots, with one rule to show. */
static void run_at_once(const struct api_endpoint *endpoint, struct params *params)
{
    static struct serve_sources from = {.version = "1"};
    struct request req = {.from = &from, .param = param, .connection = params};
    struct reply reply = {.status = 200};
    if (from.rules == NULL) {
        struct rule_report *report = rule_report_create(1);
        struct rule_shown *rule = arena_alloc(report->arena, sizeof(*rule));
        static const struct label labels[] = {{"a", "xxxxxxxxxxxxxxxxxxxx"}};
        *rule = (struct rule_shown){.is_alert = true,
                                    .name = "a",
                                    .expr = "up",
                                    .query = "up",
                                    .labels = {1, labels},
                                    .error = ""};
        report->groups[0] =
            (struct rule_group_shown){.name = "g", .file = "f", .rules = rule, .n = 1};
        from.rules = rule_board_create();
        from.alerts = alert_board_create();
        rule_board_put(from.rules, report);
    }
    buf_init(&reply.body, REPLY_MAX);
    endpoint->run(&req, &reply);
    check_answer(&reply);
    buf_deinit(&reply.body);
}

static void run(const char *path, const char *query, const char *body, size_t body_len)
{
    static struct query_source *source;
    struct err err = {0};
    char *label;
    const struct api_endpoint *endpoint = api_find(path, &label);
    if (source == NULL)
        source = query_source_create(NULL, NULL, "127.0.0.1:9432");
    if (endpoint != NULL) {
        struct query *q = query_create(endpoint->kind);
        struct query_reader *reader = query_source_take(source, query_cancelled, q);
        q->label = label != NULL ? mem_strdup(label) : NULL;
        q->began = clock_read().mono;
        if (params_add(&q->params, body, body_len, &err) &&
            params_add(&q->params, query, strlen(query), &err)) {
            if (endpoint->run != NULL) {
                run_at_once(endpoint, &q->params);
            } else {
                query_run(q, query_reader(reader), query_reader_warning(reader));
                check_answer(&q->reply);
            }
        }
        query_source_give_back(source, &reader);
        query_destroy(&q);
    }
    mem_free(label);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_strndup((const char *)data, size);
    size_t len = strlen(text), head = strcspn(text, "\n");
    const char *body = head < len ? text + head + 1 : "";
    text[head] = '\0';
    char *mark = strchr(text, '?');
    if (mark != NULL)
        *mark = '\0';
    run(text, mark != NULL ? mark + 1 : "", body, strlen(body));
    negotiate_exposition(body);
    negotiate_gzip(body);
    mem_free(text);
    return 0;
}
