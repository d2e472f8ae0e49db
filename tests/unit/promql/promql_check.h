/*
 * promql_check.h: evaluates an expression and compares the printed result, so that a case is a
 * line of a table. Series are printed as `{labels} value` or `{labels} value@seconds ...`, one a
 * line, scalars and strings bare, errors as `error: text`.
 */
#ifndef PGVIGIL_TESTS_PROMQL_CHECK_H
#define PGVIGIL_TESTS_PROMQL_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mem_reader.h"
#include "pgvigil/promql/promql.h"

#define CHECK_TEXT_MAX ((size_t)1 << 20)
#define SECONDS(s)     ((int64_t)(s)*1000)

struct check_case {
    const char *expr;
    int64_t at_s;
    const char *want;
};

static inline void check_print_matrix(const struct promql_value *v, struct buf *out)
{
    for (size_t i = 0; i < v->n; i++) {
        labels_print(&v->matrix[i].labels, out);
        for (size_t k = 0; k < v->matrix[i].n; k++) {
            buf_add_char(out, ' ');
            buf_add_double(out, v->matrix[i].points[k].v);
            buf_add_char(out, '@');
            buf_add_double(out, (double)v->matrix[i].points[k].t / 1000);
        }
        buf_add_char(out, '\n');
    }
}

static inline void check_print(const struct promql_value *v, struct buf *out)
{
    switch (v->type) {
    case PROMQL_SCALAR:
        buf_add_double(out, v->scalar);
        break;
    case PROMQL_STRING:
        buf_add_str(out, v->string);
        break;
    case PROMQL_MATRIX:
        check_print_matrix(v, out);
        break;
    case PROMQL_VECTOR:
        for (size_t i = 0; i < v->n; i++) {
            labels_print(&v->vector[i].labels, out);
            buf_add_char(out, ' ');
            buf_add_double(out, v->vector[i].value);
            buf_add_char(out, '\n');
        }
        break;
    }
}

struct check_query {
    const char *expr;
    int64_t start, end, step; /* step 0 = instant at start */
    struct promql_limits limits;
    size_t arena_limit; /* 0 = none */
};

static inline enum err_kind check_run(struct mem_reader *mr, const struct check_query *q,
                                      struct buf *out)
{
    struct promql_error perr = {0};
    struct err err = {0};
    struct promql_value value;
    struct promql_expr *expr = promql_parse(q->expr, &perr);
    struct arena *arena = arena_create(0, q->arena_limit ? q->arena_limit : ARENA_NO_LIMIT);
    bool ok = expr != NULL;

    if (!ok)
        err_set(&err, ERR_INVALID, "%s", perr.text);
    else if (q->step > 0)
        ok = promql_range(expr, &mr->reader, q->start, q->end, q->step, &q->limits, arena, &value,
                          &err);
    else
        ok = promql_instant(expr, &mr->reader, q->start, &q->limits, arena, &value, &err);
    /* The result must stand on its own. */
    promql_destroy(&expr);
    if (ok)
        check_print(&value, out);
    else
        buf_printf(out, "error: %s", err.text);
    arena_destroy(&arena);
    return ok ? ERR_NONE : err.kind;
}

static inline void check_query(struct mem_reader *mr, const struct check_query *q, const char *want)
{
    struct buf got;

    buf_init(&got, CHECK_TEXT_MAX);
    (void)check_run(mr, q, &got);
    if (strcmp(got.data, want) != 0) {
        print_error("%s\n  wanted: %s\n  got:    %s\n", q->expr, want, got.data);
        fail();
    }
    buf_deinit(&got);
}

static inline void check_instant(struct mem_reader *mr, const struct check_case *c)
{
    struct check_query q = {
        .expr = c->expr, .start = SECONDS(c->at_s), .limits = PROMQL_LIMITS_RULES};

    check_query(mr, &q, c->want);
}

static inline void check_cases(const char *load, int64_t step_ms, const struct check_case *cases,
                               size_t n)
{
    struct mem_reader mr;

    mem_reader_init(&mr);
    mem_reader_load(&mr, step_ms, load);
    for (size_t i = 0; i < n; i++)
        check_instant(&mr, &cases[i]);
    mem_reader_deinit(&mr);
}

#endif
