/*
 * durations.c: what stands in `[...]` and behind `offset`: a duration, a number of seconds, or
 * arithmetic over them with step(), range(), min_of() and max_of().
 *
 * Since v3 a number may stand where a duration is wanted and the other way round; both are read as
 * seconds. A lone literal is known at once; anything else is worked out for each query, because
 * step() and range() are the query's and because Prometheus reports its errors then. Behind
 * `offset` arithmetic needs parentheses: `m offset 2 + 1` is `(m offset 2) + 1`. Invariants: every
 * recursion counts depth; every duration that leaves here is within +-DURATION_MAX_S.
 */
#include "promql_private.h"

static const struct use {
    const char *context, *expected;
} uses[] = {
    [DURATION_RANGE] = {"subquery or range selector", "number or duration"},
    [DURATION_STEP] = {"subquery selector", "number or duration or \"]\""},
    [DURATION_OFFSET] = {"offset", "number or duration"},
};

bool parse_seconds(struct parser *p, const char *context, const char *expected, double *out)
{
    const char *s = p->lexer.text + p->token.pos;
    int64_t ms = 0;

    if (p->token.type == TOK_NUMBER && literal_number(s, p->token.len, out))
        return true;
    if (p->token.type != TOK_DURATION || !literal_duration(s, p->token.len, &ms))
        return parser_unexpected(p, context, expected);
    *out = (double)ms / 1000;
    return true;
}

/* ---- parsing ---- */

static struct duration_expr *parse_sum(struct parser *p, const struct use *use, int min_power);

static struct duration_expr *create(struct parser *p, enum duration_op op, size_t pos)
{
    struct duration_expr *d = arena_alloc(p->expr->arena, sizeof(*d));

    d->op = op;
    d->pos = pos;
    return d;
}

/* Takes the token, which is the last one of the expression. */
static struct duration_expr *finish(struct parser *p, struct duration_expr *d)
{
    d->end = p->token.pos + p->token.len;
    parser_advance(p);
    return d;
}

/* Behind the word: `()`, or `(a, b)` for min_of and max_of. */
static struct duration_expr *parse_duration_call(struct parser *p, const struct use *use,
                                                 enum duration_op op)
{
    struct duration_expr *d = create(p, op, p->token.pos);

    parser_advance(p);
    parser_advance(p);
    if (op == DUR_MIN || op == DUR_MAX) {
        d->lhs = parse_sum(p, use, 0);
        if (!d->lhs || !parser_expect(p, ',', use->context, "\",\""))
            return NULL;
        d->rhs = parse_sum(p, use, 0);
        if (!d->rhs)
            return NULL;
    }
    if (!parser_at_punct(p, ')')) {
        (void)parser_unexpected(p, use->context, "\")\"");
        return NULL;
    }
    return finish(p, d);
}

static struct duration_expr *parse_duration_parens(struct parser *p, const struct use *use)
{
    struct duration_expr *d;

    parser_advance(p);
    d = parse_sum(p, use, 0);
    if (!d || !parser_expect(p, ')', use->context, "\")\""))
        return NULL;
    d->parens = d->op != DUR_LITERAL;
    return d;
}

static struct duration_expr *parse_duration_primary(struct parser *p, const struct use *use)
{
    static const struct {
        const char *word;
        enum duration_op op;
    } calls[] = {
        {"step", DUR_STEP}, {"range", DUR_RANGE}, {"min_of", DUR_MIN}, {"max_of", DUR_MAX}};
    struct duration_expr *d;

    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        if (parser_at_call(p, calls[i].word))
            return parse_duration_call(p, use, calls[i].op);
    if (parser_at_punct(p, '('))
        return parse_duration_parens(p, use);
    d = create(p, DUR_LITERAL, p->token.pos);
    if (!parse_seconds(p, use->context, use->expected, &d->seconds))
        return NULL;
    d->is_duration = p->token.type == TOK_DURATION;
    if (!(fabs(d->seconds) <= DURATION_MAX_S)) {
        (void)parser_fail(p, d->pos, "duration out of range");
        return NULL;
    }
    return finish(p, d);
}

static bool at_sign(const struct parser *p)
{
    return p->token.type == TOK_OP && (p->token.id == OP_ADD || p->token.id == OP_SUB);
}

static struct duration_expr *negate(struct parser *p, struct duration_expr *child, size_t pos)
{
    struct duration_expr *d;

    if (child->op == DUR_LITERAL) {
        child->seconds = -child->seconds;
        child->pos = pos;
        return child;
    }
    d = create(p, DUR_NEGATE, pos);
    d->rhs = child;
    d->end = child->end;
    return d;
}

enum { POWER_ADD = 1, POWER_MUL, POWER_POW };

static int power_of(const struct parser *p)
{
    if (p->token.type != TOK_OP)
        return 0;
    switch (p->token.id) {
    case OP_ADD:
    case OP_SUB:
        return POWER_ADD;
    case OP_MUL:
    case OP_DIV:
    case OP_MOD:
        return POWER_MUL;
    default: /* only `^` of the other operators has a meaning here */
        return p->token.id == OP_POW ? POWER_POW : 0;
    }
}

/* A sign binds like `*`: its operand takes in `^` only. */
static struct duration_expr *parse_signed(struct parser *p, const struct use *use)
{
    bool is_negative = p->token.id == OP_SUB;
    size_t pos = p->token.pos;
    struct duration_expr *child;

    if (!at_sign(p))
        return parse_duration_primary(p, use);
    parser_advance(p);
    child = parse_sum(p, use, POWER_POW);
    return child && is_negative ? negate(p, child, pos) : child;
}

static struct duration_expr *parse_operation(struct parser *p, const struct use *use,
                                             struct duration_expr *lhs, int power)
{
    struct duration_expr *d = create(p, DUR_ARITHMETIC, lhs->pos);
    size_t op_pos = p->token.pos;

    d->arithmetic = (enum promql_op)p->token.id;
    d->lhs = lhs;
    parser_advance(p);
    d->rhs = parse_sum(p, use, power == POWER_POW ? power : power + 1);
    if (!d->rhs)
        return NULL;
    d->end = d->rhs->end;
    if ((d->arithmetic == OP_DIV || d->arithmetic == OP_MOD) && d->rhs->op == DUR_LITERAL &&
        d->rhs->seconds == 0) {
        (void)parser_fail(p, op_pos,
                          d->arithmetic == OP_DIV ? "division by zero" : "modulo by zero");
        return NULL;
    }
    return d;
}

/* Operands of at least min_power. A chain grows to the left; its length counts as depth too. */
static struct duration_expr *parse_sum(struct parser *p, const struct use *use, int min_power)
{
    int depth = p->depth;
    struct duration_expr *d = NULL;

    if (p->depth++ < PROMQL_DEPTH_MAX)
        d = parse_signed(p, use);
    while (d && power_of(p) > 0 && power_of(p) >= min_power && p->depth++ < PROMQL_DEPTH_MAX)
        d = parse_operation(p, use, d, power_of(p));
    if (p->depth > PROMQL_DEPTH_MAX) {
        (void)parser_fail(p, p->token.pos, "expression is nested deeper than %d levels",
                          PROMQL_DEPTH_MAX);
        return NULL;
    }
    p->depth = depth;
    return d;
}

/* A sign and one operand: what follows belongs to the selector with its offset. */
static struct duration_expr *parse_operand(struct parser *p, const struct use *use)
{
    bool is_negative = at_sign(p) && p->token.id == OP_SUB;
    size_t pos = p->token.pos;
    struct duration_expr *d;

    if (at_sign(p))
        parser_advance(p);
    d = parse_duration_primary(p, use);
    return d && is_negative ? negate(p, d, pos) : d;
}

bool parse_duration(struct parser *p, enum duration_use use, struct duration *out)
{
    const struct duration_expr *d =
        use == DURATION_OFFSET ? parse_operand(p, &uses[use]) : parse_sum(p, &uses[use], 0);

    if (!d)
        return false;
    *out = (struct duration){.expr = d};
    if (d->op != DUR_LITERAL)
        return true;
    *out = (struct duration){.ms = llround(d->seconds * 1000)};
    if (use != DURATION_OFFSET && out->ms <= 0)
        return parser_fail(p, d->pos, "duration must be greater than 0");
    return true;
}

/* ---- evaluation ---- */

static bool fail_at(struct eval *ev, const struct duration_expr *d, const char *what)
{
    /* Byte positions, as Prometheus has them here. */
    return err_set(ev->err, ERR_INVALID, "%zu:%zu: %s", d->pos, d->end, what);
}

static bool seconds_of(struct eval *ev, const struct duration_expr *d, double *out)
{
    double lhs = 0, rhs = 0;

    if ((d->lhs && !seconds_of(ev, d->lhs, &lhs)) || (d->rhs && !seconds_of(ev, d->rhs, &rhs)))
        return false;
    switch (d->op) {
    case DUR_LITERAL:
        *out = d->seconds;
        return true;
    case DUR_STEP:
        *out = (double)ev->step / 1000;
        return true;
    case DUR_RANGE:
        *out = (double)(ev->end - ev->start) / 1000;
        return true;
    case DUR_MIN:
        *out = fmin(lhs, rhs);
        return true;
    case DUR_MAX:
        *out = fmax(lhs, rhs);
        return true;
    case DUR_NEGATE:
        *out = -rhs;
        return true;
    case DUR_ARITHMETIC:
        break;
    }
    if (rhs == 0 && (d->arithmetic == OP_DIV || d->arithmetic == OP_MOD))
        return fail_at(ev, d, d->arithmetic == OP_DIV ? "division by zero" : "modulo by zero");
    *out = op_apply(d->arithmetic, lhs, rhs);
    return true;
}

bool eval_duration(struct eval *ev, const struct duration *d, enum duration_use use, int64_t *ms)
{
    double seconds;

    *ms = d->ms;
    if (!d->expr)
        return true;
    if (!seconds_of(ev, d->expr, &seconds))
        return false;
    if (use != DURATION_OFFSET && seconds <= 0)
        return fail_at(ev, d->expr, "duration must be greater than 0");
    if (!(fabs(seconds) <= DURATION_MAX_S))
        return fail_at(ev, d->expr, "duration is out of range");
    *ms = (int64_t)(seconds * 1000);
    /* Less than a millisecond is no window. */
    if (use != DURATION_OFFSET && *ms <= 0)
        return fail_at(ev, d->expr, "duration must be greater than 0");
    return true;
}
