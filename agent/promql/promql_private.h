/*
 * promql_private.h: what the files of this folder share: tokens, the tree, the evaluator's values.
 *
 * The tree is immutable once parsed and lives in the expression's arena. A value of the evaluator
 * is a table: one row of doubles per series, one column per step of the grid, so that labels are
 * matched and grouped once per query and not once per step. A column without a sample holds the
 * stale marker's bits (absent()), which no arithmetic can produce.
 */
#ifndef PGVIGIL_AGENT_PROMQL_PRIVATE_H
#define PGVIGIL_AGENT_PROMQL_PRIVATE_H

#include <math.h>

#include "pgvigil/promql/go_text.h"
#include "pgvigil/promql/promql.h"
#include "pgvigil/promql/regex.h"

/* ---- operators and aggregations: lexer.c has the words ---- */
enum promql_op {
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_MOD,
    OP_POW,
    OP_ATAN2,
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_AND,
    OP_OR,
    OP_UNLESS,
    OP_TRIM_UPPER, /* `</` and `>/`: of native histograms, refused */
    OP_TRIM_LOWER,
    OP_RE, /* in matchers only */
    OP_NRE
};

enum promql_aggr {
    AGGR_SUM,
    AGGR_AVG,
    AGGR_MIN,
    AGGR_MAX,
    AGGR_COUNT,
    AGGR_GROUP,
    AGGR_STDDEV,
    AGGR_STDVAR,
    AGGR_TOPK,
    AGGR_BOTTOMK,
    AGGR_QUANTILE,
    AGGR_COUNT_VALUES,
    AGGR_LIMITK, /* experimental, refused */
    AGGR_LIMIT_RATIO
};

enum promql_keyword {
    WORD_OFFSET,
    WORD_BY,
    WORD_WITHOUT,
    WORD_ON,
    WORD_IGNORING,
    WORD_GROUP_LEFT,
    WORD_GROUP_RIGHT,
    WORD_BOOL,
    WORD_START,
    WORD_END
};

static inline bool op_is_comparison(enum promql_op op)
{
    return op >= OP_EQ && op <= OP_GE;
}

static inline bool op_is_set(enum promql_op op)
{
    return op == OP_AND || op == OP_OR || op == OP_UNLESS;
}

/* ---- lexer.c ---- */
enum token_type {
    TOK_EOF,
    TOK_ERROR, /* text in the lexer's `error` */
    TOK_NUMBER,
    TOK_DURATION,
    TOK_STRING,
    TOK_IDENT,
    TOK_METRIC_IDENT, /* with a colon */
    TOK_OP,           /* id: enum promql_op */
    TOK_AGGR,         /* id: enum promql_aggr */
    TOK_KEYWORD,      /* id: enum promql_keyword */
    TOK_PUNCT         /* id: the character */
};

struct token {
    enum token_type type;
    int id;
    bool is_word;    /* spelled with letters: may be a label name */
    bool is_name;    /* may be a metric name */
    size_t pos, len; /* in the expression's text */
};

struct lexer {
    const char *text;
    size_t len, pos;
    int parens;
    bool in_braces, in_brackets, seen_colon;
    char error[ERR_TEXT_MAX];
};

void lexer_init(struct lexer *lexer, const char *text);
void lexer_next(struct lexer *lexer, struct token *token);
/* As Prometheus names a token in its errors: `identifier "x"`, `<op:+>`, `end of input`. */
void token_describe(const char *text, const struct token *token, char *out, size_t n);
const char *op_name(enum promql_op op);
const char *aggr_name(enum promql_aggr op);

/* ---- literals.c ---- */
bool literal_number(const char *s, size_t n, double *out);
bool literal_duration(const char *s, size_t n, int64_t *ms);
/* Copies a quoted literal without its quotes and with escapes resolved; NULL with a text in why. */
char *literal_string(struct arena *arena, const char *s, size_t n, char *why, size_t why_n);

/* ---- regex.c; more of it is public ---- */
struct regex *regex_create(const char *pattern, struct err *err) MUST_CHECK;
enum regex_outcome regex_match(const void *regex, const char *text);
/* If text matches: appends the template with $1, ${name}, $$ filled in. */
enum regex_outcome regex_expand(const struct regex *regex, const char *text, const char *template,
                                struct buf *out);

/* ---- the tree ---- */
enum node_kind {
    NODE_NUMBER,
    NODE_STRING,
    NODE_SELECTOR, /* a range selector when has_range */
    NODE_SUBQUERY,
    NODE_UNARY,
    NODE_BINARY,
    NODE_AGGREGATE,
    NODE_CALL
};

enum at_kind { AT_NONE, AT_TIME, AT_START, AT_END };

/* A duration that is known when it is parsed, or arithmetic that is done for each query. */
enum duration_op { DUR_LITERAL, DUR_STEP, DUR_RANGE, DUR_MIN, DUR_MAX, DUR_NEGATE, DUR_ARITHMETIC };

struct duration_expr {
    enum duration_op op;
    enum promql_op arithmetic;
    bool is_duration; /* LITERAL: was written as 5m, not as 300 */
    bool parens;      /* not a LITERAL: stood in parentheses */
    size_t pos, end;
    double seconds;
    struct duration_expr *lhs, *rhs; /* NEGATE has only rhs */
};

struct duration {
    int64_t ms;
    const struct duration_expr *expr; /* NULL: ms */
};

/* Where a selector or subquery looks: offset is applied after @. */
struct modifiers {
    enum at_kind at;
    bool has_offset;
    int64_t at_ms;
    struct duration offset;
};

struct label_list {
    const char **names;
    size_t n;
};

enum match_card { CARD_ONE_TO_ONE, CARD_MANY_TO_ONE, CARD_ONE_TO_MANY };

struct matching {
    bool given, on;
    enum match_card card;
    struct label_list labels;
    struct label_list include;
};

struct function;

struct node {
    enum node_kind kind;
    enum promql_type type;
    uint8_t parens;   /* how many stand around it: then no modifier may follow */
    bool is_duration; /* NUMBER: was written as 5m, not as 300 */
    size_t pos;
    struct node *up; /* the binary node whose left side this is */
    union {
        double number;
        const char *string;
        struct {
            const char *name; /* NULL if only a matcher names the metric */
            bool name_in_braces;
            struct matcher *matchers;
            size_t matcher_count;
            bool has_range;
            struct duration range;
            struct modifiers mods;
            struct node *next; /* list of all selectors of the expression */
        } selector;
        struct {
            struct node *child;
            struct duration range, step; /* step 0 = the default */
            struct modifiers mods;
        } subquery;
        struct {
            enum promql_op op;
            struct node *child;
        } unary;
        struct {
            enum promql_op op;
            bool is_bool;
            size_t op_pos;
            struct node *lhs, *rhs;
            struct matching matching;
        } binary;
        struct {
            enum promql_aggr op;
            bool without;
            struct label_list labels;
            struct node *param, *child;
        } aggregate;
        struct {
            const struct function *fn;
            struct node **args;
            size_t n;
            struct regex *regex; /* label_replace: NULL if it does not compile */
        } call;
    };
};

struct regex_link {
    struct regex *regex;
    struct regex_link *next;
};

struct promql_expr {
    struct arena *arena;
    const char *text; /* for the places of annotations */
    struct node *root;
    struct node *selectors;
    struct regex_link *regexes;
};

/* ---- parser.c, parse_selector.c, durations.c ---- */
struct parser {
    struct promql_expr *expr;
    struct lexer lexer;
    struct token token;
    struct promql_error *err; /* a syntax error ends parsing */
    struct promql_error type_err;
    bool type_failed;                /* the first type error is told if the syntax is right */
    struct promql_error refusal_err; /* told before type errors: these parts are not checked */
    int depth;
};

void parser_advance(struct parser *p);
bool parser_at_punct(const struct parser *p, char c);
bool parser_at_keyword(const struct parser *p, enum promql_keyword word);
/* All three set the error and return false, so that `return parser_fail(...)` reads well. */
bool parser_fail(struct parser *p, size_t pos, const char *fmt, ...) PRINTF_LIKE(3, 4);
bool parser_unexpected(struct parser *p, const char *context, const char *expected);
bool parser_expect(struct parser *p, char c, const char *context, const char *expected);
void parser_type_error(struct parser *p, size_t pos, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Notes the use of what this engine has not; parsing goes on, so that bad syntax is still told. */
void parser_refuse(struct parser *p, size_t pos, enum promql_refusal why, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* Line and column, from 1, of a byte of the text. */
void text_place(const char *text, size_t pos, int *line, int *col);
/* Is the token the word, in any case, with a `(` behind it? */
bool parser_at_call(const struct parser *p, const char *word);
/*
 * As promql_parse, but an expression that is refused is returned with err->refusal set, for tests
 * that look at its selectors; it must not be evaluated.
 */
struct promql_expr *promql_parse_any(const char *text, struct promql_error *err) MUST_CHECK;
char *parser_token_text(struct parser *p);
char *parser_string(struct parser *p);
struct node *node_create(struct parser *p, enum node_kind kind, size_t pos);
struct regex *parser_keep_regex(struct parser *p, struct regex *regex);
void *parser_grow(struct parser *p, void *array, size_t n, size_t size);

/* The token is a metric name or `{`; leaves the parser behind the selector. */
struct node *parse_selector(struct parser *p, const char *name, size_t pos);
/* Ranges, subqueries, offset and @ behind a node. */
struct node *parse_postfix(struct parser *p, struct node *node);

enum duration_use { DURATION_RANGE, DURATION_STEP, DURATION_OFFSET };
/* What may stand in brackets (RANGE, STEP: more than 0) or behind the word offset. */
bool parse_duration(struct parser *p, enum duration_use use, struct duration *out);
/* A number of seconds or a duration as a token; leaves the parser on it. */
bool parse_seconds(struct parser *p, const char *context, const char *expected, double *out);
struct eval;
bool eval_duration(struct eval *ev, const struct duration *d, enum duration_use use, int64_t *ms);

/* ---- types.c: checks a node whose children are checked ---- */
void check_node(struct parser *p, struct node *node);

/* ---- print.c ---- */
/* As Go prints a float with %f and as few digits as read back the same. */
void print_plain(double v, struct buf *out);

/* ---- labelset.c: keys made of some labels ---- */
struct key_spec {
    bool only;      /* the listed labels only; else all but these */
    bool keep_name; /* with !only: the metric name is part of the key */
    struct label_list labels;
};

uint64_t key_hash(const struct key_spec *spec, const struct labels *ls);
bool key_equal(const struct key_spec *spec, const struct labels *a, const struct labels *b);
struct labels key_labels(struct arena *arena, const struct key_spec *spec, const struct labels *ls);
/* A copy with name set to value, or without it if value is empty. Strings are borrowed. */
struct labels labels_with(struct arena *arena, const struct labels *ls, const char *name,
                          const char *value);

/* Groups label sets by key; group numbers are given in the order of first appearance. */
struct key_index {
    struct key_spec spec;
    uint32_t *slots;
    size_t slot_count;
    const struct labels **labels; /* by group: the first label set */
    uint64_t *hashes;
    size_t n;
};
#define KEY_NONE SIZE_MAX

bool key_index_init(struct eval *ev, struct key_index *index, const struct key_spec *spec,
                    size_t max_keys);
size_t key_index_add(struct key_index *index, const struct labels *ls);
size_t key_index_find(const struct key_index *index, const struct labels *ls);

/* ---- evaluation ---- */
/* Evaluation times start + i * step, i < n. */
struct grid {
    int64_t start, step;
    size_t n;
};

static inline int64_t grid_time(const struct grid *grid, size_t i)
{
    return grid->start + (int64_t)i * grid->step;
}

struct row {
    struct labels labels;
    bool drop_name; /* the metric name goes at the end of the query, not before */
    double *v;      /* one per step; see is_absent */
};

struct value {
    enum promql_type type; /* never PROMQL_MATRIX: range vectors are struct ranges */
    bool ordered;          /* rows are in an order that the query asked for */
    struct row *rows;
    size_t n;
    double *scalar;
    const char *string;
};

static inline double absent(void)
{
    uint64_t bits = STALE_NAN_BITS;
    double v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

static inline bool is_absent(double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    return bits == STALE_NAN_BITS;
}

struct eval {
    struct reader *reader;
    struct arena *arena;
    struct err *err;
    size_t samples_max, samples_left;
    int64_t lookback_ms, subquery_step_ms;
    int64_t start, end; /* of the query, for @ start() and @ end() */
    int64_t step;       /* of the query; 0 for an instant query */
    const char *text;   /* of the expression */
    struct promql_note *notes;
    size_t note_count;
    bool (*cancelled)(void *arg);
    void *arg;
};

/* Times and durations beyond it are refused, so that sums of a few of them cannot overflow. */
#define TIME_MAX_MS (INT64_C(1) << 60)
/* 292 years: Prometheus keeps durations as 63 bits of nanoseconds. */
#define DURATION_MAX_S ((double)INT64_MAX / 1e9)

bool eval_node(struct eval *ev, const struct node *node, const struct grid *grid,
               struct value *out);
bool eval_scalar(struct eval *ev, const struct node *node, const struct grid *grid, double **out);
/* Charges n samples to the budget; with it the deadline and the arena's budget are looked at. */
bool eval_charge(struct eval *ev, size_t n);
bool eval_cancelled(struct eval *ev);
/* A row of the grid's width, all absent; NULL over a limit. */
double *eval_row(struct eval *ev, const struct grid *grid);
void *eval_array(struct eval *ev, size_t count, size_t size);
/* False with an error if two rows of the same labels have a value at the same step. */
bool eval_check_unique(struct eval *ev, const struct value *value, const struct grid *grid,
                       const char *text);
/* Drops the rows that are absent at every step. */
void value_prune(struct value *value, const struct grid *grid);

/* ---- notes.c: annotations ---- */
/* Adds one; the same text at two places is one, as in Prometheus. */
void eval_note(struct eval *ev, bool is_warning, size_t pos, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* Warns if q is no quantile; cheap if it is. */
void note_quantile(struct eval *ev, size_t pos, double q);
/* rate and increase: tells if the name is not one of a counter. */
void note_counter(struct eval *ev, size_t pos, const char *name);
/* As Go prints a float with %g. */
#define GO_FLOAT_MAX 40
const char *go_float(double v, char out[GO_FLOAT_MAX]);

void value_sort(struct value *value, int (*compare)(const void *a, const void *b));

/* By key: where any of the rows of that key has a value. The rows themselves are not changed. */
struct covers {
    struct eval *ev;
    const struct grid *grid;
    const struct value *rows;
    double **v; /* NULL: no row of this key */
    bool *is_copy;
};

/* keys: how many the index has that they are counted by; it may be that of other rows. */
bool covers_init(struct covers *covers, struct eval *ev, const struct grid *grid,
                 const struct value *rows, size_t keys);
/*
 * Adds row r; overlaps is set if a row of the key has a value at the same step already, looking
 * only where `where` has one (NULL = everywhere).
 */
bool covers_add(struct covers *covers, size_t key, size_t r, const double *where, bool *overlaps);

/* selectors.c */
struct range_row {
    struct labels labels;
    bool drop_name;
    struct point *points;
    size_t n;
};

struct ranges {
    struct range_row *rows;
    size_t n;
    int64_t range_ms, offset_ms;
    bool pinned; /* by @ */
    int64_t pinned_ms;
};

bool eval_selector(struct eval *ev, const struct node *node, const struct grid *grid,
                   bool want_times, struct value *out);
bool eval_ranges(struct eval *ev, const struct node *node, const struct grid *grid,
                 struct ranges *out);
/* The window of a row at evaluation time t: points with start < t <= end. */
static inline int64_t ranges_window_end(const struct ranges *ranges, int64_t t)
{
    return (ranges->pinned ? ranges->pinned_ms : t) - ranges->offset_ms;
}

/* binary.c, matching.c, aggregate.c */
bool eval_binary(struct eval *ev, const struct node *node, const struct grid *grid,
                 struct value *out);
double op_apply(enum promql_op op, double a, double b);
bool op_compare(enum promql_op op, double a, double b);
/* Both operands are vectors; they may be changed in place. */
bool eval_set_op(struct eval *ev, const struct node *node, const struct grid *grid,
                 struct value *sides, struct value *out);
bool eval_match(struct eval *ev, const struct node *node, const struct grid *grid,
                struct value *sides, struct value *out);
bool eval_aggregate(struct eval *ev, const struct node *node, const struct grid *grid,
                    struct value *out);

/* ---- functions ---- */
#define FN_ARGS_MAX   5
#define FN_ANY_NUMBER 100

struct window {
    const struct point *points;
    size_t n;             /* at least 1 */
    int64_t start, end;   /* edges */
    int64_t t;            /* evaluation time */
    const double *args;   /* the scalar arguments, in order */
    double *scratch;      /* room for n values */
    const uint32_t *hops; /* by point: how far to the next reset, itself included; may be NULL */
};

struct utc_time;

/* Exactly one of the implementations is set, none if experimental. map and range may return
 * absent(). */
struct function {
    const char *name;
    enum promql_type result;
    bool drops_name;
    uint8_t required, optional; /* arguments; optional FN_ANY_NUMBER repeats the last type */
    enum promql_type args[FN_ARGS_MAX];
    bool is_experimental;     /* refused */
    double (*math)(double v); /* often the C library's own */
    /* v is a sample of the vector argument, args the scalar ones; those left out are 1. */
    double (*map)(double v, const double *args);
    double (*calendar)(const struct utc_time *t);
    double (*range)(const struct window *w);
    bool (*eval)(struct eval *ev, const struct node *node, const struct grid *grid,
                 struct value *out);
};

const struct function *function_find(const char *name);
bool eval_call(struct eval *ev, const struct node *node, const struct grid *grid,
               struct value *out);

/* The scalar arguments, each a row of the grid; those left out are NULL and count as 1. */
struct scalar_args {
    const double *rows[FN_ARGS_MAX];
    size_t n;
};

bool scalar_args(struct eval *ev, const struct node *node, const struct grid *grid,
                 struct scalar_args *args);
void scalar_args_at(const struct scalar_args *args, size_t step, double out[FN_ARGS_MAX]);

/* ---- windows.c: a function over the windows of all rows ---- */
bool eval_windows(struct eval *ev, const struct node *node, const struct grid *grid,
                  double (*range)(const struct window *w), struct value *out);

/* Points of a window: low <= i < high; none if they are equal. */
struct span {
    uint32_t low, high;
};

/* Memory that one row after the other uses. */
struct slide_room {
    void *p;
    size_t bytes;
};
#define SLIDE_ROOMS 5

/* One row and its windows, by step; both edges only move forward. */
struct windows {
    struct eval *ev;
    const struct grid *grid;
    const struct ranges *ranges;
    struct scalar_args args;
    double (*range)(const struct window *w);
    double *scratch; /* room for the longest row */
    uint32_t *hops;  /* as scratch; NULL if the function does without */
    size_t visited;  /* points of windows since the deadline was looked at */
    size_t room;     /* points of the longest row of all */
    struct span *spans;
    const struct point *points; /* of the row */
    size_t n;
    size_t longest; /* points of the longest window of the row */
    size_t visits;  /* points of all its windows */
    struct slide_room rooms[SLIDE_ROOMS];
};

/* The function's value in the window of a step, worked out from its points alone. */
double windows_plain(const struct windows *w, size_t step);
/* So many points were looked at: asks for the deadline now and then; false when it has passed. */
bool windows_visit(struct windows *w, size_t points);

/* slide.c: all windows of the row at once, where they overlap so much that it pays. */
enum slid { SLIDE_NO, SLIDE_DONE, SLIDE_FAILED };
enum slid slide_windows(struct windows *w, double *v);

/* range_functions.c */
static inline bool is_reset(double before, double v)
{
    return v < before;
}

static inline bool is_change(double before, double v)
{
    return before != v && !(isnan(before) && isnan(v));
}

void range_hops(const struct point *points, size_t n, uint32_t *hops);
double range_rate(const struct window *w);
double range_increase(const struct window *w);
double range_delta(const struct window *w);
double range_irate(const struct window *w);
double range_idelta(const struct window *w);
double range_min(const struct window *w);
double range_max(const struct window *w);
double range_avg(const struct window *w);
double range_sum(const struct window *w);
double range_count(const struct window *w);
double range_first(const struct window *w);
double range_last(const struct window *w);
double range_present(const struct window *w);
double range_stddev(const struct window *w);
double range_stdvar(const struct window *w);
double range_quantile(const struct window *w);
double range_changes(const struct window *w);
double range_resets(const struct window *w);
double range_deriv(const struct window *w);
double range_predict_linear(const struct window *w);

/* label_functions.c, histogram.c */
bool is_label_name(const char *name);
bool fn_label_replace(struct eval *ev, const struct node *node, const struct grid *grid,
                      struct value *out);
bool fn_label_join(struct eval *ev, const struct node *node, const struct grid *grid,
                   struct value *out);
bool fn_histogram_fraction(struct eval *ev, const struct node *node, const struct grid *grid,
                           struct value *out);
bool fn_histogram_quantile(struct eval *ev, const struct node *node, const struct grid *grid,
                           struct value *out);

/* numeric.c: running sums shared by aggregations and *_over_time */
struct running {
    double n;
    double sum, carry; /* Kahan-Neumaier; sum of squares for the variance */
    double mean, mean_carry;
    bool by_mean; /* the sum has overflowed: average of averages from then on */
};

/* Inline, as what follows: called for each point of each window. */
static inline void kahan_add(double v, double *sum, double *carry)
{
    double t = *sum + v;

    if (isinf(t))
        *carry = 0;
    else if (fabs(*sum) >= fabs(v))
        *carry += (*sum - t) + v;
    else
        *carry += (v - t) + *sum;
    *sum = t;
}

static inline void running_sum(struct running *r, double v)
{
    r->n++;
    kahan_add(v, &r->sum, &r->carry);
}

/* NaN only if there is nothing else. */
static inline void running_min(struct running *r, double v)
{
    if (r->n++ == 0 || v < r->sum || isnan(r->sum))
        r->sum = v;
}

static inline void running_max(struct running *r, double v)
{
    if (r->n++ == 0 || v > r->sum || isnan(r->sum))
        r->sum = v;
}

/* Welford's; a first value that is not finite makes the result NaN by itself. */
static inline void running_variance(struct running *r, double v)
{
    double delta = v - (r->mean + r->mean_carry);

    r->n++;
    kahan_add(delta / r->n, &r->mean, &r->mean_carry);
    kahan_add(delta * (v - (r->mean + r->mean_carry)), &r->sum, &r->carry);
}

void running_avg(struct running *r, double v);
double running_sum_result(const struct running *r);
double running_avg_result(const struct running *r);
double running_variance_result(const struct running *r);

/* Between which of n sorted values a quantile lies; 0 <= q <= 1, n > 0. */
struct quantile_place {
    size_t low, high;
    double weight; /* of the high one */
};

static inline struct quantile_place quantile_place(double q, size_t n)
{
    double rank = q * ((double)n - 1);
    size_t low = (size_t)floor(rank);

    return (struct quantile_place){low, size_min(low + 1, n - 1), rank - floor(rank)};
}

static inline double quantile_between(const struct quantile_place *place, double low, double high)
{
    return low * (1 - place->weight) + high * place->weight;
}

/* Sorts the values in place. */
double quantile_of(double q, double *values, size_t n);

#endif
