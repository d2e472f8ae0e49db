/*
 * promql.h: PromQL (v3 semantics) over the reader interface.
 *
 * Parsing builds an immutable tree that may be evaluated again and again, from several threads.
 * Evaluation is pure: expression, reader and time in, values in the caller's arena out. Length,
 * depth, samples, series and bytes are limited before recursion or allocation.
 * What is there: the float part of PromQL v3 with all its stable functions
 * (agent/promql/functions.c), subqueries, duration expressions and annotations. Experimental
 * functions and modifiers and native histograms are refused, which promql_error.refusal tells.
 */
#ifndef PGVIGIL_PROMQL_PROMQL_H
#define PGVIGIL_PROMQL_PROMQL_H

#include "pgvigil/model/reader.h"

#define PROMQL_LENGTH_MAX       8192
#define PROMQL_DEPTH_MAX        64
#define PROMQL_LOOKBACK_MS      (5 * 60 * 1000)
#define PROMQL_POINTS_MAX       11000
#define PROMQL_SUBQUERY_STEP_MS (60 * 1000)

struct promql_expr;

enum promql_refusal {
    PROMQL_NOT_REFUSED, /* the expression is wrong */
    PROMQL_EXPERIMENTAL,
    PROMQL_NATIVE_HISTOGRAM
};

/* line and col from 1; text is whole, as Prometheus words it: `1:4: parse error: unexpected ...`.
 */
struct promql_error {
    int line, col;
    enum promql_refusal refusal;
    char text[ERR_TEXT_MAX];
};

struct promql_expr *promql_parse(const char *text, struct promql_error *err) MUST_CHECK;
/*
 * Only a selector, as match[] of the API takes it: no range, no modifiers, nothing around it. It
 * may match everything. See selector.h for its matchers.
 */
struct promql_expr *promql_parse_selector(const char *text, struct promql_error *err) MUST_CHECK;
void promql_destroy(struct promql_expr **expr);

enum promql_type { PROMQL_SCALAR, PROMQL_VECTOR, PROMQL_MATRIX, PROMQL_STRING };
enum promql_type promql_type(const struct promql_expr *expr);
const char *promql_type_name(enum promql_type type); /* "scalar", "vector", ... */

/* Calls fn for each metric name that a selector of the expression names by equality. */
void promql_each_metric(const struct promql_expr *expr, void (*fn)(const char *name, void *arg),
                        void *arg);

struct promql_sample {
    struct labels labels;
    double value;
};

struct promql_series {
    struct labels labels;
    struct point *points;
    size_t n;
};

/*
 * An annotation: a result that is probably not what was meant. Text is whole, with the place, as
 * Prometheus words it: `PromQL info: metric might not be a counter, ... "m" (1:6)`.
 */
struct promql_note {
    bool is_warning; /* else an info */
    int line, col;
    const char *text;
};
#define PROMQL_NOTES_MAX 64 /* more are left out */

struct promql_value {
    enum promql_type type;
    int64_t t; /* scalar, string, vector: evaluation time */
    double scalar;
    const char *string;
    struct promql_sample *vector;
    struct promql_series *matrix;
    size_t n;
    struct promql_note *notes; /* in the arena like the rest */
    size_t note_count;
    size_t samples; /* points read or held, as they counted against max_samples */
};

struct promql_limits {
    size_t max_samples;       /* points read or held at once */
    int64_t lookback_ms;      /* 0 = PROMQL_LOOKBACK_MS */
    int64_t subquery_step_ms; /* of `m[1h:]`; 0 = PROMQL_SUBQUERY_STEP_MS */
    /* Asked now and then; true = give up (deadline). May be NULL. */
    bool (*cancelled)(void *arg);
    void *arg;
};
#define PROMQL_LIMITS_RULES    \
    {                          \
        .max_samples = 5000000 \
    }

/* The arena holds the result; ERR_LIMIT when its budget or max_samples would be passed. */
bool promql_instant(const struct promql_expr *expr, struct reader *reader, int64_t t,
                    const struct promql_limits *limits, struct arena *arena,
                    struct promql_value *out, struct err *err) MUST_CHECK;
/* Result is a matrix, sorted by labels; start <= end, step > 0, at most PROMQL_POINTS_MAX steps
 * behind the first, as in Prometheus. */
bool promql_range(const struct promql_expr *expr, struct reader *reader, int64_t start, int64_t end,
                  int64_t step, const struct promql_limits *limits, struct arena *arena,
                  struct promql_value *out, struct err *err) MUST_CHECK;

#endif
