/*
 * query.c: the endpoints that read samples. Parameters are checked in Prometheus' order and refused
 * with its texts, because Grafana shows them. The answer is printed from the arena's values into
 * one bounded buffer; whatever fails on the way replaces it. Invariant: q->reply is always whole.
 */
#include "query.h"

#include <inttypes.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/promql/json.h"
#include "pgvigil/promql/selector.h"

/* As the parser says of any expression what the API says of match[] in words of its own. */
static const char no_matcher[] = "must contain at least one non-empty matcher";
static const char truncated[] = "results truncated due to limit";

struct query *query_create(enum query_kind kind)
{
    struct query *q = mem_alloc(sizeof(*q));
    q->kind = kind;
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

/* An empty parameter is an absent one, as in Prometheus. */
static const char *given(const struct query *q, const char *name)
{
    const char *text = params_get(&q->params, name);
    return text != NULL && *text != '\0' ? text : NULL;
}

static bool refuse(struct query *q, const char *name, const char *why)
{
    api_fail(&q->reply, API_BAD_DATA, "invalid parameter \"%s\": %s", name, why);
    return false;
}

static bool read_limit(struct query *q, size_t *limit)
{
    int64_t n = 0;
    const char *text = given(q, "limit");
    *limit = 0;
    if (text == NULL)
        return true;
    if (!str_parse_i64(text, INT64_MIN, INT64_MAX, &n)) {
        api_fail(&q->reply, API_BAD_DATA,
                 "invalid parameter \"limit\": strconv.Atoi: parsing \"%.100s\": invalid syntax",
                 text);
        return false;
    }
    if (n < 0)
        return refuse(q, "limit", "limit must be non-negative");
    *limit = (size_t)n;
    return true;
}

/* A time with a default. */
static bool read_time(struct query *q, const char *name, int64_t *t)
{
    const char *text = given(q, name);
    if (text == NULL || param_time(text, t))
        return true;
    api_fail(&q->reply, API_BAD_DATA,
             "invalid parameter \"%s\": Invalid time value for '%s': cannot parse \"%.100s\" to a "
             "valid timestamp",
             name, name, text);
    return false;
}

/* A parameter that must be given and be readable by parse. */
static bool need(struct query *q, const char *name, bool (*parse)(const char *text, int64_t *ms),
                 const char *what, int64_t *ms)
{
    const char *text = params_get(&q->params, name);
    if (text != NULL && parse(text, ms))
        return true;
    api_fail(&q->reply, API_BAD_DATA,
             "invalid parameter \"%s\": cannot parse \"%.100s\" to a valid %s", name,
             text != NULL ? text : "", what);
    return false;
}

static bool need_time(struct query *q, const char *name, int64_t *t)
{
    return need(q, name, param_time, "timestamp", t);
}

static bool read_duration(struct query *q, const char *name, int64_t *ms)
{
    return need(q, name, param_duration, "duration", ms);
}

/* `timeout` can only shorten what there is. */
static bool read_timeout(struct query *q)
{
    int64_t ms;
    if (given(q, "timeout") == NULL)
        return true;
    if (!read_duration(q, "timeout", &ms))
        return false;
    q->deadline = mono_add(q->began, i64_max(0, i64_min(ms, QUERY_TIMEOUT_MS)));
    return true;
}

static bool read_lookback(struct query *q, struct promql_limits *limits)
{
    const char *text = given(q, "lookback_delta");
    *limits = (struct promql_limits){
        .max_samples = QUERY_SAMPLES_MAX, .cancelled = query_cancelled, .arg = q};
    if (text == NULL || param_duration(text, &limits->lookback_ms))
        return true;
    api_fail(&q->reply, API_BAD_DATA,
             "error parsing lookback delta duration: cannot parse \"%.100s\" to a valid duration",
             text);
    return false;
}

static struct promql_expr *parse(struct query *q, const char *name, const char *text)
{
    struct promql_error err;
    struct promql_expr *expr = promql_parse(text != NULL ? text : "", &err);
    if (expr == NULL && str_eq(name, "match[]") && strstr(err.text, no_matcher) != NULL)
        refuse(q, name, "match[] must contain at least one non-empty matcher");
    else if (expr == NULL)
        refuse(q, name, err.text);
    return expr;
}

/* ---- answers ---- */

static void warn(struct query *q, const char *text)
{
    if (q->warning_count < ARRAY_LEN(q->warnings))
        q->warnings[q->warning_count++] = text;
}

static void begin_answer(struct query *q)
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

static void end_answer(struct query *q)
{
    struct buf *out = &q->reply.body;
    size_t warnings = 0, infos = 0;
    for (size_t i = 0; i < q->note_count; i++)
        if (q->notes[i].is_warning)
            add_listed(out, "warnings", &warnings, q->notes[i].text);
    for (size_t i = 0; i < q->warning_count; i++)
        add_listed(out, "warnings", &warnings, q->warnings[i]);
    buf_add_str(out, warnings > 0 ? "]" : "");
    for (size_t i = 0; i < q->note_count; i++)
        if (!q->notes[i].is_warning)
            add_listed(out, "infos", &infos, q->notes[i].text);
    buf_add_str(out, infos > 0 ? "]}" : "}");
    if (!buf_ok(out))
        api_fail(&q->reply, API_EXECUTION, "the answer is larger than %d MiB", REPLY_MAX >> 20);
}

static void fail(struct query *q, const struct err *err)
{
    enum api_error type = API_EXECUTION;
    if (err->kind == ERR_TIMEOUT)
        type = atomic_load(&q->given_up) ? API_CANCELED : API_TIMEOUT;
    else if (err->kind != ERR_INVALID && err->kind != ERR_LIMIT)
        type = API_INTERNAL;
    api_fail(&q->reply, type, "%s", err->text);
}

/* ---- query and query_range ---- */

static void give_value(struct query *q, struct promql_value *value, size_t limit)
{
    bool many = value->type == PROMQL_VECTOR || value->type == PROMQL_MATRIX;
    if (many && limit > 0 && value->n > limit) {
        value->n = limit;
        warn(q, truncated);
    }
    q->notes = value->notes;
    q->note_count = value->note_count;
    begin_answer(q);
    promql_print_json(value, &q->reply.body);
}

static bool run_instant(struct query *q)
{
    struct promql_limits limits;
    struct promql_value value;
    struct err err = {0};
    size_t limit;
    int64_t t = q->now.ms;
    if (!read_limit(q, &limit) || !read_time(q, "time", &t) || !read_timeout(q) ||
        !read_lookback(q, &limits))
        return false;
    struct promql_expr *expr = parse(q, "query", params_get(&q->params, "query"));
    if (expr == NULL)
        return false;
    bool ok = promql_instant(expr, q->reader, t, &limits, q->arena, &value, &err);
    if (ok)
        give_value(q, &value, limit);
    else
        fail(q, &err);
    promql_destroy(&expr);
    return ok;
}

struct range {
    int64_t start, end, step;
};

static bool read_range(struct query *q, struct range *r)
{
    if (!need_time(q, "start", &r->start) || !need_time(q, "end", &r->end))
        return false;
    if (r->end < r->start)
        return refuse(q, "end", "end timestamp must not be before start time");
    if (!read_duration(q, "step", &r->step))
        return false;
    if (r->step <= 0) {
        return refuse(q, "step",
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
    struct promql_expr *expr = parse(q, "query", params_get(&q->params, "query"));
    if (expr == NULL || promql_type(expr) == PROMQL_SCALAR || promql_type(expr) == PROMQL_VECTOR)
        return expr;
    api_fail(&q->reply, API_BAD_DATA,
             "invalid parameter \"query\": invalid expression type \"%s\" for range query, must be "
             "Scalar or instant Vector",
             promql_type(expr) == PROMQL_MATRIX ? "range vector" : "string");
    promql_destroy(&expr);
    return NULL;
}

static bool run_range(struct query *q)
{
    struct promql_limits limits;
    struct promql_value value;
    struct range r;
    struct err err = {0};
    size_t limit;
    if (!read_limit(q, &limit) || !read_range(q, &r) || !read_timeout(q) ||
        !read_lookback(q, &limits))
        return false;
    struct promql_expr *expr = parse_for_range(q);
    if (expr == NULL)
        return false;
    bool ok =
        promql_range(expr, q->reader, r.start, r.end, r.step, &limits, q->arena, &value, &err);
    if (ok)
        give_value(q, &value, limit);
    else
        fail(q, &err);
    promql_destroy(&expr);
    return ok;
}

/* ---- series, labels, label values ---- */

struct found {
    struct labels *v;
    size_t n, cap;
};

static void add_found(struct query *q, struct found *found, const struct labels *labels)
{
    if (found->n == found->cap) {
        size_t cap = found->cap == 0 ? 64 : 2 * found->cap;
        found->v = found->cap == 0
                       ? arena_alloc_array(q->arena, cap, sizeof(*found->v))
                       : arena_grow_array(q->arena, found->v, found->cap, cap, sizeof(*found->v));
        found->cap = cap;
    }
    found->v[found->n++] = *labels;
}

static bool find_series(struct query *q, struct read_request *req, struct found *found)
{
    struct read_result result;
    struct err err = {0};
    req->last_only = req->labels_only = true;
    req->max_points = QUERY_SAMPLES_MAX;
    bool ok = q->reader->select(q->reader, req, q->arena, &result, &err);
    if (ok && query_cancelled(q))
        ok = err_set(&err, ERR_TIMEOUT, "query timed out in expression evaluation");
    if (ok && arena_exceeded(q->arena))
        ok = err_set(&err, ERR_LIMIT, "query needs more memory than its budget");
    if (!ok) {
        fail(q, &err);
        return false;
    }
    for (size_t i = 0; i < result.n; i++)
        add_found(q, found, &result.series[i].labels);
    return true;
}

static bool find_selected(struct query *q, const char *text, struct read_request *req,
                          struct found *found)
{
    bool ok = false;
    struct promql_expr *expr = parse(q, "match[]", text);
    if (expr == NULL)
        return false;
    req->matchers = promql_selector(expr, &req->matcher_count, &req->regex_match);
    if (req->matchers == NULL)
        refuse(q, "match[]", "1:1: parse error: a selector is wanted");
    else
        ok = find_series(q, req, found);
    promql_destroy(&expr);
    return ok;
}

/* Series of all match[]; without any, all there are, or an error if some are wanted. */
static bool find_all(struct query *q, bool need_match, struct found *found)
{
    int64_t start = -PARAM_TIME_MAX, end = PARAM_TIME_MAX;
    size_t selectors = 0;
    if (!read_time(q, "start", &start) || !read_time(q, "end", &end))
        return false;
    struct read_request req = {.t_min = start - 1, .t_max = end};
    for (size_t i = 0; i < q->params.n; i++) {
        if (!str_eq(q->params.v[i].name, "match[]"))
            continue;
        if (++selectors > QUERY_MATCHERS_MAX)
            return refuse(q, "match[]", "too many selectors");
        if (!find_selected(q, q->params.v[i].value, &req, found))
            return false;
    }
    if (selectors == 0 && need_match) {
        api_fail(&q->reply, API_BAD_DATA, "no match[] parameter provided");
        return false;
    }
    return selectors > 0 || find_series(q, &req, found);
}

static int by_labels(const void *a, const void *b)
{
    return labels_compare(a, b);
}

static bool run_series(struct query *q)
{
    struct buf *out = &q->reply.body;
    struct found found = {0};
    size_t limit, given_count = 0;
    if (!read_limit(q, &limit) || !find_all(q, true, &found))
        return false;
    if (found.n > 1)
        qsort(found.v, found.n, sizeof(*found.v), by_labels);
    begin_answer(q);
    buf_add_char(out, '[');
    for (size_t i = 0; i < found.n; i++) {
        if (i > 0 && labels_equal(&found.v[i], &found.v[i - 1]))
            continue;
        if (limit > 0 && given_count == limit) {
            warn(q, truncated);
            break;
        }
        if (given_count++ > 0)
            buf_add_char(out, ',');
        labels_print_json(&found.v[i], out);
    }
    buf_add_char(out, ']');
    return true;
}

struct texts {
    const char **v;
    size_t n;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void give_texts(struct query *q, struct texts *texts, size_t limit)
{
    struct buf *out = &q->reply.body;
    size_t given_count = 0;
    if (texts->n > 1)
        qsort(texts->v, texts->n, sizeof(*texts->v), by_text);
    begin_answer(q);
    buf_add_char(out, '[');
    for (size_t i = 0; i < texts->n; i++) {
        if (i > 0 && str_eq(texts->v[i], texts->v[i - 1]))
            continue;
        if (limit > 0 && given_count == limit) {
            warn(q, truncated);
            break;
        }
        if (given_count++ > 0)
            buf_add_char(out, ',');
        buf_add_json(out, texts->v[i]);
    }
    buf_add_char(out, ']');
}

static bool run_labels(struct query *q)
{
    struct found found = {0};
    struct texts names = {0};
    size_t limit, most = 0;
    if (!read_limit(q, &limit) || !find_all(q, false, &found))
        return false;
    for (size_t i = 0; i < found.n; i++)
        most += found.v[i].n;
    names.v = arena_alloc_array(q->arena, most, sizeof(*names.v));
    for (size_t i = 0; i < found.n; i++)
        for (size_t k = 0; k < found.v[i].n; k++)
            names.v[names.n++] = found.v[i].v[k].name;
    give_texts(q, &names, limit);
    return true;
}

static bool is_label_name(const char *name)
{
    if (*name == '\0')
        return false;
    for (size_t n; *name != '\0'; name += n)
        if ((n = str_utf8_len(name)) == 0)
            return false;
    return true;
}

static size_t utf8_encode(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)((0xf0 << (4 - n)) | code);
    return n;
}

/* U__ names: `__` is an underscore, `_2e_` the character 0x2e. Another text is as it is. */
static const char *unescaped(struct arena *arena, const char *name)
{
    char *text = arena_alloc(arena, strlen(name) + 1), *out = text;
    if (!str_starts(name, "U__"))
        return name;
    for (const char *p = name + 3; *p != '\0';) {
        char *end;
        if (*p != '_') {
            *out++ = *p++;
        } else if (p[1] == '_') {
            *out++ = '_';
            p += 2;
        } else {
            unsigned long code = strtoul(p + 1, &end, 16);
            if (end == p + 1 || *end != '_' || code == 0 || code > 0x10ffff)
                return name;
            out += utf8_encode((uint32_t)code, out);
            p = end + 1;
        }
    }
    return text;
}

static bool run_label_values(struct query *q)
{
    struct found found = {0};
    struct texts values = {0};
    size_t limit;
    const char *name = unescaped(q->arena, q->label);
    if (!is_label_name(name)) {
        api_fail(&q->reply, API_BAD_DATA, "invalid label name: \"%.100s\"", name);
        return false;
    }
    if (!read_limit(q, &limit) || !find_all(q, false, &found))
        return false;
    values.v = arena_alloc_array(q->arena, found.n, sizeof(*values.v));
    for (size_t i = 0; i < found.n; i++) {
        const char *value = labels_get(&found.v[i], name);
        if (value != NULL)
            values.v[values.n++] = value;
    }
    give_texts(q, &values, limit);
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
        return run_series(q);
    case QUERY_LABELS:
        return run_labels(q);
    case QUERY_LABEL_VALUES:
        return run_label_values(q);
    }
    return false;
}

void query_run(struct query *q, struct reader *reader, const char *reader_warning)
{
    q->deadline = mono_add(q->began, QUERY_TIMEOUT_MS);
    q->arena = arena_create(0, QUERY_ARENA_MAX);
    q->reader = reader;
    if (run(q)) {
        if (reader_warning != NULL && *reader_warning != '\0')
            warn(q, reader_warning);
        end_answer(q);
    }
    arena_destroy(&q->arena);
    if (q->gzip)
        reply_gzip(&q->reply);
}
