/*
 * print.c: what this engine answers, as JSON lines, for a comparison with another engine.
 *
 * A line with the series stands before the first case that they are for. A case is a line with an
 * instant result for each of its times: a range query is as many instants. Prometheus 2 closes
 * windows on the left; windows that are a millisecond longer see the same points, so each result
 * is there a second time with such windows ("closed"), which tells whether that is why the
 * other answers differently.
 */
#include "promqltest.h"

#include "pgvigil/promql/json.h"

#define PRINT_BYTES_MAX ((size_t)256 << 20)

static const struct promql_limits limits = PROMQL_LIMITS_RULES,
                                  closed_limits = {.max_samples = 5000000,
                                                   .lookback_ms = PROMQL_LOOKBACK_MS + 1};

static void flush(struct buf *out)
{
    printf("%s\n", out->data);
    buf_deinit(out);
}

/* ---- series ---- */

static void print_series(const struct mem_series *series, struct buf *out)
{
    buf_add_str(out, "{\"metric\":");
    labels_print_json(&series->labels, out);
    buf_add_str(out, ",\"points\":[");
    for (size_t i = 0; i < series->n; i++) {
        const struct point *p = &series->points[i];

        buf_printf(out, "%s[%lld,\"", i > 0 ? "," : "", (long long)p->t);
        if (point_is_stale(p->v))
            buf_add_str(out, "stale");
        else
            buf_add_double(out, p->v);
        buf_add_str(out, "\"]");
    }
    buf_add_str(out, "]}");
}

void print_storage(const struct storage *storage)
{
    struct buf out;

    buf_init(&out, PRINT_BYTES_MAX);
    buf_add_str(&out, "{\"series\":[");
    for (size_t i = 0; i < storage->floats.n; i++) {
        buf_add_str(&out, i > 0 ? "," : "");
        print_series(&storage->floats.series[i], &out);
    }
    buf_add_str(&out, "]}");
    flush(&out);
}

/* ---- windows that are closed on the left ---- */

static void widen_duration(struct duration *d)
{
    d->ms += d->expr == NULL;
}

static void widen(struct node *node)
{
    switch (node->kind) {
    case NODE_NUMBER:
    case NODE_STRING:
        return;
    case NODE_SELECTOR:
        if (node->selector.has_range)
            widen_duration(&node->selector.range);
        return;
    case NODE_SUBQUERY:
        widen_duration(&node->subquery.range);
        widen(node->subquery.child);
        return;
    case NODE_UNARY:
        widen(node->unary.child);
        return;
    case NODE_BINARY:
        widen(node->binary.lhs);
        widen(node->binary.rhs);
        return;
    case NODE_AGGREGATE:
        if (node->aggregate.param)
            widen(node->aggregate.param);
        widen(node->aggregate.child);
        return;
    case NODE_CALL:
        for (size_t i = 0; i < node->call.n; i++)
            widen(node->call.args[i]);
        return;
    }
}

/* ---- results ---- */

struct answer {
    struct storage *storage;
    const struct promql_limits *limits;
    const struct promql_expr *expr;
    const char *key;
};

static void print_answer(const struct answer *a, int64_t t, struct buf *out)
{
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    struct promql_value value;
    struct err err;

    buf_printf(out, ",\"%s\":", a->key);
    if (promql_instant(a->expr, &a->storage->floats.reader, t, a->limits, arena, &value, &err)) {
        promql_print_json(&value, out);
    } else {
        buf_add_str(out, "{\"error\":");
        buf_add_json(out, err.text);
        buf_add_char(out, '}');
    }
    arena_destroy(&arena);
}

static void print_results(struct storage *storage, const struct test_case *c,
                          struct promql_expr *open, struct promql_expr *closed)
{
    int64_t start = c->is_range ? c->start : c->at, end = c->is_range ? c->end : c->at;
    struct buf out;

    buf_init(&out, PRINT_BYTES_MAX);
    buf_printf(&out, "{\"line\":%d,\"range\":%s,\"expr\":", c->line,
               c->is_range ? "true" : "false");
    buf_add_json(&out, c->expr);
    buf_add_str(&out, ",\"at\":[");
    widen(closed->root);
    for (int64_t t = start; t <= end; t += c->is_range ? c->step : 1) {
        buf_printf(&out, "%s{\"t\":%lld", t > start ? "," : "", (long long)t);
        print_answer(&(struct answer){storage, &limits, open, "open"}, t, &out);
        print_answer(&(struct answer){storage, &closed_limits, closed, "closed"}, t, &out);
        buf_add_char(&out, '}');
    }
    buf_add_str(&out, "]}");
    flush(&out);
}

enum outcome print_case(struct storage *storage, const struct test_case *c, struct err *err)
{
    struct promql_expr *open = NULL, *closed = NULL;
    enum outcome outcome = parse_case(storage, c, &open, err);

    if (outcome == PASSED)
        outcome = parse_case(storage, c, &closed, err);
    if (outcome == PASSED)
        print_results(storage, c, open, closed);
    promql_destroy(&open);
    promql_destroy(&closed);
    return outcome;
}
