/*
 * exchange.c: parameters are collected here from URL and body, so that both kinds of endpoints see
 * them alike; what must read samples goes to the query workers. Invariant: there is a ticket
 * exactly while a query runs, and then there is no answer yet.
 */
#include "exchange.h"

#include "api_v1.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

struct exchange {
    char *query; /* raw, behind the ? */
    struct buf body;
    mono_ms began;
    bool seen, answered;
    struct reply reply;
    struct query_pool *pool;
    struct query_ticket *ticket;
    void (*on_answer)(void *arg);
    void *arg;
};

struct exchange *exchange_create(const char *uri, mono_ms began)
{
    struct exchange *x = mem_alloc(sizeof(*x));
    const char *query = strchr(uri, '?');
    x->query = mem_strdup(query != NULL ? query + 1 : "");
    x->query[strcspn(x->query, "#")] = '\0';
    x->began = began;
    buf_init(&x->body, SERVE_BODY_MAX);
    x->reply = (struct reply){.status = 200, .content_type = "application/json"};
    buf_init(&x->reply.body, REPLY_MAX);
    return x;
}

void exchange_destroy(struct exchange **exchange)
{
    struct exchange *x = *exchange;
    if (x == NULL)
        return;
    if (x->ticket != NULL)
        query_pool_cancel(x->pool, x->ticket);
    buf_deinit(&x->reply.body);
    buf_deinit(&x->body);
    mem_free(x->query);
    MEM_FREE_NULL(exchange);
}

bool exchange_is_new(struct exchange *x)
{
    bool is_new = !x->seen;
    x->seen = true;
    return is_new;
}

void exchange_body(struct exchange *x, const char *data, size_t n)
{
    buf_add(&x->body, data, n);
}

static const char *param(const struct request *req, const char *name)
{
    return params_get(req->connection, name);
}

/* Go reads the form of a POST only, so a proxy may add a body to a GET without changing it. */
static bool read_params(struct exchange *x, const struct exchange_head *head, struct params *params)
{
    struct err err = {0};
    bool has_form = head->is_form && str_eq(head->method, "POST");
    if ((has_form && !params_add(params, x->body.data, x->body.len, &err)) ||
        !params_add(params, x->query, strlen(x->query), &err)) {
        api_fail(&x->reply, API_BAD_DATA, "error parsing form values: %s", err.text);
        return false;
    }
    return true;
}

static void answer_at_once(struct exchange *x, const struct api_endpoint *endpoint,
                           const struct exchange_head *head, const struct serve_sources *from)
{
    struct params params;
    params_init(&params);
    if (read_params(x, head, &params)) {
        struct request req = {
            .from = from, .path = head->path, .param = param, .connection = &params};
        endpoint->run(&req, &x->reply);
    }
    params_deinit(&params);
    if (head->gzip)
        reply_gzip(&x->reply);
    x->answered = true;
}

static void on_done(struct query *q, void *arg)
{
    struct exchange *x = arg;
    struct reply empty = x->reply;
    x->reply = q->reply;
    q->reply = empty;
    x->ticket = NULL;
    x->answered = true;
    x->on_answer(x->arg);
}

/* False: it runs. */
static bool start_query(struct exchange *x, const struct api_endpoint *endpoint, char **label,
                        const struct exchange_head *head, wall_ms now)
{
    struct query *q = query_create(endpoint->kind);
    q->label = *label;
    *label = NULL;
    q->gzip = head->gzip;
    q->now = now;
    q->began = x->began;
    if (read_params(x, head, &q->params)) {
        x->ticket = query_pool_start(x->pool, q, on_done, x);
        if (x->ticket != NULL)
            return false;
        api_fail(&x->reply, API_UNAVAILABLE, "more than %d queries are waiting", QUERIES_WAITING);
    }
    query_destroy(&q);
    return true;
}

static void not_found(struct exchange *x)
{
    x->reply.status = 404;
    x->reply.content_type = "text/plain; charset=utf-8";
    buf_add_str(&x->reply.body, "404 page not found\n");
}

/* Answers what is wrong with the request itself; true if something was. */
static bool refuse(struct exchange *x, const struct api_endpoint *endpoint,
                   const struct exchange_head *head)
{
    const char *method = head->method, *encoding = head->encoding;
    bool posts = str_eq(method, "POST");
    if (endpoint == NULL) {
        not_found(x);
    } else if (str_eq(method, "OPTIONS")) {
        x->reply.status = 204;
    } else if (!str_eq(method, "GET") && !str_eq(method, "HEAD") &&
               !(posts && endpoint->takes_post)) {
        x->reply.status = 405;
        x->reply.allow = endpoint->takes_post ? "GET, HEAD, OPTIONS, POST" : NULL;
        x->reply.content_type = "text/plain; charset=utf-8";
        buf_add_str(&x->reply.body, "Method Not Allowed\n");
    } else if (!buf_ok(&x->body)) {
        api_fail(&x->reply, API_BAD_DATA, "the body is longer than %d bytes", SERVE_BODY_MAX);
        x->reply.status = 413;
    } else if (encoding != NULL && *encoding != '\0' && strcasecmp(encoding, "identity") != 0) {
        api_fail(&x->reply, API_BAD_DATA, "a body with content encoding \"%.100s\" is not taken",
                 encoding);
        x->reply.status = 415;
    } else {
        return false;
    }
    return true;
}

bool exchange_start(struct exchange *x, const struct exchange_head *head,
                    const struct serve_sources *from, struct query_pool *pool,
                    void (*on_answer)(void *arg), void *arg)
{
    char *label;
    const struct api_endpoint *endpoint = api_find(head->path, &label);
    x->pool = pool;
    x->on_answer = on_answer;
    x->arg = arg;
    if (refuse(x, endpoint, head))
        x->answered = true;
    else if (endpoint->run != NULL)
        answer_at_once(x, endpoint, head, from);
    else
        x->answered = start_query(x, endpoint, &label, head, from->now.wall);
    mem_free(label);
    return x->answered;
}

bool exchange_is_answered(const struct exchange *x)
{
    return x->answered;
}

struct reply *exchange_reply(struct exchange *x)
{
    return &x->reply;
}
