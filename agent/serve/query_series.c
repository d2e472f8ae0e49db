/*
 * query_series.c: the endpoints that list series, label names and label values. All of them find
 * label sets first, and the lists are made of those. Invariant: whatever may have hidden a series
 * (a limit, a deadline, a regex that was given up) is an error.
 */
#include "pgvigil/base/str.h"
#include "pgvigil/promql/print.h"
#include "pgvigil/promql/selector.h"
#include "query_private.h"

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

/* Series that may have samples in the time of the request. */
static bool find_series(struct query *q, struct read_request *req, struct found *found)
{
    struct read_result result;
    struct err err = {0};
    req->last_only = req->labels_only = true;
    req->max_points = q->budget.samples_max;
    bool ok = q->reader->select(q->reader, req, q->arena, &result, &err);
    if (ok && query_cancelled(q))
        ok = err_set(&err, ERR_TIMEOUT, "query timed out in expression evaluation");
    if (ok && arena_exceeded(q->arena))
        ok = err_set(&err, ERR_LIMIT, "query needs more memory than its budget");
    if (!ok) {
        query_fail(q, &err);
        return false;
    }
    for (size_t i = 0; i < result.n; i++)
        add_found(q, found, &result.series[i].labels);
    return true;
}

static bool find_selected(struct query *q, const struct matcher_sets *sets,
                          struct read_request *req, struct found *found)
{
    for (size_t i = 0; i < sets->n; i++) {
        req->matchers = promql_selector(sets->v[i], &req->matcher_count, &req->regex_match);
        if (!find_series(q, req, found))
            return false;
    }
    return true;
}

static bool find_matched(struct query *q, struct found *found)
{
    int64_t start = -PARAM_TIME_MAX, end = PARAM_TIME_MAX;
    struct matcher_sets sets = {0};
    if (!api_time(&q->params, "start", &q->reply, &start) ||
        !api_time(&q->params, "end", &q->reply, &end))
        return false;
    struct read_request req = {.t_min = start - 1, .t_max = end};
    bool ok = api_match(&q->params, q->kind == QUERY_SERIES, &q->reply, &sets);
    if (ok && sets.n > 0)
        ok = find_selected(q, &sets, &req, found);
    else if (ok)
        ok = find_series(q, &req, found);
    api_match_free(&sets);
    return ok;
}

/* The comma before an item of the list; false when there were as many as wanted. */
static bool next_item(struct query *q, size_t limit, size_t *given_count)
{
    if (limit > 0 && *given_count == limit) {
        query_warn(q, API_TRUNCATED);
        return false;
    }
    if ((*given_count)++ > 0)
        buf_add_char(&q->reply.body, ',');
    return true;
}

static int by_labels(const void *a, const void *b)
{
    return labels_compare(a, b);
}

bool query_run_series(struct query *q)
{
    struct buf *out = &q->reply.body;
    struct found found = {0};
    size_t limit, given_count = 0;
    if (params_get(&q->params, "match[]") == NULL) {
        api_fail(&q->reply, API_BAD_DATA, "no match[] parameter provided");
        return false;
    }
    if (!api_limit(&q->params, &q->reply, &limit) || !find_matched(q, &found))
        return false;
    if (found.n > 1)
        qsort(found.v, found.n, sizeof(*found.v), by_labels);
    query_begin_answer(q);
    buf_add_char(out, '[');
    for (size_t i = 0; i < found.n; i++) {
        if (i > 0 && labels_equal(&found.v[i], &found.v[i - 1]))
            continue;
        if (!next_item(q, limit, &given_count))
            break;
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
    query_begin_answer(q);
    buf_add_char(out, '[');
    for (size_t i = 0; i < texts->n; i++) {
        if (i > 0 && str_eq(texts->v[i], texts->v[i - 1]))
            continue;
        if (!next_item(q, limit, &given_count))
            break;
        buf_add_json(out, texts->v[i]);
    }
    buf_add_char(out, ']');
}

bool query_run_labels(struct query *q)
{
    struct found found = {0};
    struct texts names = {0};
    size_t limit, most = 0;
    if (!api_limit(&q->params, &q->reply, &limit) || !find_matched(q, &found))
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

/* `2e_` behind an underscore: at most six digits; returns what it takes, 0 if it is no code. */
static size_t escaped_code(const char *s, uint32_t *code)
{
    size_t n = strspn(s, "0123456789abcdefABCDEF");
    if (n == 0 || n > 6 || s[n] != '_')
        return 0;
    *code = (uint32_t)strtoul(s, NULL, 16);
    bool valid = *code != 0 && *code <= 0x10ffff && (*code < 0xd800 || *code > 0xdfff);
    return valid ? n + 1 : 0;
}

/* U__ names: `__` is an underscore, `_2e_` the character 0x2e. Another text is as it is. */
static const char *unescaped(struct arena *arena, const char *name)
{
    char *text = arena_alloc(arena, strlen(name) + 1), *out = text;
    if (!str_starts(name, "U__"))
        return name;
    for (const char *p = name + 3; *p != '\0';) {
        uint32_t code = '_';
        size_t taken = 1;
        if (p[0] != '_') {
            *out++ = *p++;
            continue;
        }
        if (p[1] != '_')
            taken = escaped_code(p + 1, &code);
        if (taken == 0)
            return name;
        out += utf8_encode(code, out);
        p += 1 + taken;
    }
    return text;
}

static void refuse_label(struct query *q, const char *name)
{
    struct buf text;
    buf_init(&text, ERR_TEXT_MAX);
    promql_print_string(name, &text);
    api_fail(&q->reply, API_BAD_DATA, "invalid label name: %s", buf_ok(&text) ? text.data : "");
    buf_deinit(&text);
}

bool query_run_label_values(struct query *q)
{
    struct found found = {0};
    struct texts values = {0};
    size_t limit;
    const char *name = unescaped(q->arena, q->label);
    if (!is_label_name(name)) {
        refuse_label(q, name);
        return false;
    }
    if (!api_limit(&q->params, &q->reply, &limit) || !find_matched(q, &found))
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
