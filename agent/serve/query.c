/*
 * query.c: the endpoints that evaluate, and the entry for all that run in a worker. Parameters are
 * checked in Prometheus' order. The answer is printed from the arena's values into one bounded
 * buffer; whatever fails on the way replaces it. Invariant: q->reply is always whole.
 */
#include "query.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/promql/json.h"
#include "pgvigil/promql/print.h"
#include "query_private.h"

#define NOTES_SHOWN_MAX 10                /* of each kind, as in Prometheus */
#define FORMATTED_MAX   (4 * 1024 * 1024) /* a long chain is mostly its own indentation */

struct query *query_create(enum query_kind kind)
{
    struct query *q = mem_alloc(sizeof(*q));
    q->kind = kind;
    q->budget = (struct query_budget){QUERY_TIMEOUT_MS, QUERY_ARENA_MAX, QUERY_SAMPLES_MAX};
    params_init(&q->params);
    q->reply = (struct reply){.status = 200, .content_type = "application/json"};
    buf_init(&q->reply.body, REPLY_MAX);
    return q;
}

void query_destroy(struct query **query)
{
    struct query *q = *query;
    if (q == NULL)
        return;
    params_deinit(&q->params);
    arena_destroy(&q->arena);
    buf_deinit(&q->reply.body);
    mem_free(q->label);
    MEM_FREE_NULL(query);
}

bool query_cancelled(void *arg)
{
    const struct query *q = arg;
    return atomic_load_explicit(&q->given_up, memory_order_relaxed) ||
           !mono_before(clock_read().mono, q->deadline);
}

/* ---- parameters ---- */

/* `timeout` can only shorten what there is. */
static bool read_timeout(struct query *q)
{
    int64_t ms;
    if (api_given(&q->params, "timeout") == NULL)
        return true;
    if (!api_need_duration(&q->params, "timeout", &q->reply, &ms))
        return false;
    q->deadline = mono_add(q->began, i64_max(0, i64_min(ms, q->budget.timeout_ms)));
    return true;
}

static bool read_lookback(struct query *q, struct promql_limits *limits)
{
    const char *text = api_given(&q->params, "lookback_delta");
    *limits = (struct promql_limits){
        .max_samples = q->budget.samples_max, .cancelled = query_cancelled, .arg = q};
    if (text == NULL || param_duration(text, &limits->lookback_ms))
        return true;
    api_fail(&q->reply, API_BAD_DATA,
             "error parsing lookback delta duration: cannot parse \"%.100s\" to a valid duration",
             text);
    return false;
}

static struct promql_expr *parse(struct query *q)
{
    struct promql_error err;
    const char *text = params_get(&q->params, "query");
    struct promql_expr *expr = promql_parse(text != NULL ? text : "", &err);
    if (expr == NULL)
        api_refuse(&q->reply, "query", "%s", err.text);
    return expr;
}

/* ---- answers ---- */

void query_warn(struct query *q, const char *text)
{
    if (q->warning_count < ARRAY_LEN(q->warnings))
        q->warnings[q->warning_count++] = text;
}

void query_begin_answer(struct query *q)
{
    buf_add_str(&q->reply.body, "{\"status\":\"success\",\"data\":");
}

/* Opens the list of this name with its first text. */
static void add_listed(struct buf *out, const char *name, size_t *count, const char *text)
{
    if ((*count)++ > 0)
        buf_add_char(out, ',');
    else
        buf_printf(out, ",\"%s\":[", name);
    buf_add_json(out, text);
}

/* The notes of a kind, the first ones only, and how many are left out. */
static void add_notes(struct query *q, const char *name, size_t *listed, bool warnings)
{
    struct buf *out = &q->reply.body;
    char text[80];
    size_t seen = 0;
    for (size_t i = 0; i < q->note_count; i++)
        if (q->notes[i].is_warning == warnings && seen++ < NOTES_SHOWN_MAX)
            add_listed(out, name, listed, q->notes[i].text);
    if (seen <= NOTES_SHOWN_MAX)
        return;
    snprintf(text, sizeof(text), "%zu more %s annotations omitted", seen - NOTES_SHOWN_MAX,
             warnings ? "warning" : "info");
    add_listed(out, name, listed, text);
}

static void end_answer(struct query *q)
{
    struct buf *out = &q->reply.body;
    size_t warnings = 0, infos = 0;
    add_notes(q, "warnings", &warnings, true);
    for (size_t i = 0; i < q->warning_count; i++)
        add_listed(out, "warnings", &warnings, q->warnings[i]);
    buf_add_str(out, warnings > 0 ? "]" : "");
    add_notes(q, "infos", &infos, false);
    buf_add_str(out, infos > 0 ? "]}" : "}");
    if (!buf_ok(out))
        api_fail(&q->reply, API_EXECUTION, "the answer is larger than %zu MiB", out->max >> 20);
}

void query_fail(struct query *q, const struct err *err)
{
    enum api_error type = API_EXECUTION;
    if (err->kind == ERR_TIMEOUT)
        type = atomic_load(&q->given_up) ? API_CANCELED : API_TIMEOUT;
    else if (err->kind != ERR_INVALID && err->kind != ERR_LIMIT)
        type = API_INTERNAL;
    api_fail(&q->reply, type, "%s", err->text);
}

/* ---- query and query_range ---- */

struct range {
    int64_t start, end, step; /* step 0: an instant query at end */
};

static void give_value(struct query *q, struct promql_value *value, size_t limit,
                       const struct query_stats *stats)
{
    struct buf *out = &q->reply.body;
    bool many = value->type == PROMQL_VECTOR || value->type == PROMQL_MATRIX;
    if (many && limit > 0 && value->n > limit) {
        value->n = limit;
        query_warn(q, API_TRUNCATED);
    }
    q->notes = value->notes;
    q->note_count = value->note_count;
    query_begin_answer(q);
    promql_print_json_open(value, out);
    if (api_given(&q->params, "stats") != NULL)
        query_stats_print(stats, q, value->samples, out);
    buf_add_char(out, '}');
}

static bool evaluate(struct query *q, const struct promql_expr *expr, const struct range *r,
                     const struct promql_limits *limits, size_t limit)
{
    struct promql_value value;
    struct query_stats stats;
    struct err err = {0};
    query_stats_begin(&stats, q);
    bool ok = r->step > 0
                  ? promql_range(expr, &stats.reader, r->start, r->end, r->step, limits, q->arena,
                                 &value, &err)
                  : promql_instant(expr, &stats.reader, r->end, limits, q->arena, &value, &err);
    if (ok)
        give_value(q, &value, limit, &stats);
    else
        query_fail(q, &err);
    return ok;
}

static bool run_instant(struct query *q)
{
    struct promql_limits limits;
    struct range r = {.end = q->now.ms};
    size_t limit;
    if (!api_limit(&q->params, &q->reply, &limit) ||
        !api_time(&q->params, "time", &q->reply, &r.end) || !read_timeout(q) ||
        !read_lookback(q, &limits))
        return false;
    struct promql_expr *expr = parse(q);
    bool ok = expr != NULL && evaluate(q, expr, &r, &limits, limit);
    promql_destroy(&expr);
    return ok;
}

static bool read_range(struct query *q, struct range *r)
{
    if (!api_need_time(&q->params, "start", &q->reply, &r->start) ||
        !api_need_time(&q->params, "end", &q->reply, &r->end))
        return false;
    if (r->end < r->start)
        return api_refuse(&q->reply, "end", "end timestamp must not be before start time");
    if (!api_need_duration(&q->params, "step", &q->reply, &r->step))
        return false;
    if (r->step <= 0) {
        return api_refuse(&q->reply, "step",
                          "zero or negative query resolution step widths are not accepted. Try a "
                          "positive integer");
    }
    if ((r->end - r->start) / r->step > PROMQL_POINTS_MAX) {
        api_fail(&q->reply, API_BAD_DATA,
                 "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the "
                 "query resolution (?step=XX)");
        return false;
    }
    return true;
}

static struct promql_expr *parse_for_range(struct query *q)
{
    struct promql_expr *expr = parse(q);
    if (expr == NULL || promql_type(expr) == PROMQL_SCALAR || promql_type(expr) == PROMQL_VECTOR)
        return expr;
    api_refuse(&q->reply, "query",
               "invalid expression type \"%s\" for range query, must be Scalar or instant Vector",
               promql_type(expr) == PROMQL_MATRIX ? "range vector" : "string");
    promql_destroy(&expr);
    return NULL;
}

static bool run_range(struct query *q)
{
    struct promql_limits limits;
    struct range r;
    size_t limit;
    if (!api_limit(&q->params, &q->reply, &limit) || !read_range(q, &r) || !read_timeout(q) ||
        !read_lookback(q, &limits))
        return false;
    struct promql_expr *expr = parse_for_range(q);
    bool ok = expr != NULL && evaluate(q, expr, &r, &limits, limit);
    promql_destroy(&expr);
    return ok;
}

/* ---- format_query and parse_query ---- */

static bool run_format(struct query *q)
{
    struct buf text;
    struct promql_expr *expr = parse(q);
    if (expr == NULL)
        return false;
    buf_init(&text, FORMATTED_MAX);
    promql_print_pretty(expr, &text);
    bool ok = buf_ok(&text);
    query_begin_answer(q);
    buf_add_json(&q->reply.body, text.data);
    if (!ok)
        api_fail(&q->reply, API_EXECUTION, "the formatted text is longer than %d MiB",
                 FORMATTED_MAX >> 20);
    buf_deinit(&text);
    promql_destroy(&expr);
    return ok;
}

static bool run_parse(struct query *q)
{
    struct promql_expr *expr = parse(q);
    if (expr == NULL)
        return false;
    query_begin_answer(q);
    promql_print_tree(expr, &q->reply.body);
    promql_destroy(&expr);
    return true;
}

/* ---- entry ---- */

static bool run(struct query *q)
{
    switch (q->kind) {
    case QUERY_INSTANT:
        return run_instant(q);
    case QUERY_RANGE:
        return run_range(q);
    case QUERY_SERIES:
        return query_run_series(q);
    case QUERY_LABELS:
        return query_run_labels(q);
    case QUERY_LABEL_VALUES:
        return query_run_label_values(q);
    case QUERY_FORMAT:
        return run_format(q);
    case QUERY_PARSE:
        return run_parse(q);
    }
    return false;
}

void query_run(struct query *q, struct reader *reader, const char *reader_warning)
{
    q->deadline = mono_add(q->began, q->budget.timeout_ms);
    q->arena = arena_create(0, q->budget.arena_max);
    q->reader = reader;
    if (run(q)) {
        if (reader_warning != NULL && *reader_warning != '\0')
            query_warn(q, reader_warning);
        end_answer(q);
    }
    arena_destroy(&q->arena);
    if (q->gzip)
        reply_gzip(&q->reply);
}
