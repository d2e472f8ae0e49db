/*
 * parser.c: recursive descent with binding powers; the grammar is small and its errors are the
 * product, so a generator would only be in the way.
 *
 * The first syntax error ends parsing; type errors are noted as nodes are built and told only if
 * the syntax is right, which is the order in which Prometheus reports them. Invariants: every
 * recursion goes through parse_expression, which counts depth; chains of equal strength grow to
 * the left in a loop and cost no depth; everything hangs in the expression's arena.
 */
#include "promql_private.h"

#include <stdarg.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

enum { POWER_NONE, POWER_OR, POWER_AND, POWER_COMPARE, POWER_ADD, POWER_MUL, POWER_POW };

static int op_power(enum promql_op op)
{
    switch (op) {
    case OP_OR:
        return POWER_OR;
    case OP_AND:
    case OP_UNLESS:
        return POWER_AND;
    case OP_EQ:
    case OP_NE:
    case OP_LT:
    case OP_LE:
    case OP_GT:
    case OP_GE:
    case OP_TRIM_UPPER:
    case OP_TRIM_LOWER:
        return POWER_COMPARE;
    case OP_ADD:
    case OP_SUB:
        return POWER_ADD;
    case OP_MUL:
    case OP_DIV:
    case OP_MOD:
    case OP_ATAN2:
        return POWER_MUL;
    case OP_POW:
        return POWER_POW;
    case OP_RE:
    case OP_NRE:
        break;
    }
    return POWER_NONE;
}

/* ---- errors ---- */

static void set_error(struct parser *p, struct promql_error *err, size_t pos, const char *fmt,
                      va_list ap) PRINTF_LIKE(4, 0);

void text_place(const char *text, size_t pos, int *line, int *col)
{
    *line = 1;
    *col = 1;
    for (size_t i = 0; i < pos && text[i]; i++) {
        *line += text[i] == '\n';
        *col = text[i] == '\n' ? 1 : *col + 1;
    }
}

static void set_error(struct parser *p, struct promql_error *err, size_t pos, const char *fmt,
                      va_list ap)
{
    int n;

    err->refusal = PROMQL_NOT_REFUSED;
    text_place(p->lexer.text, pos, &err->line, &err->col);
    n = snprintf(err->text, sizeof(err->text), "%d:%d: parse error: ", err->line, err->col);
    vsnprintf(err->text + n, sizeof(err->text) - (size_t)n, fmt, ap);
}

bool parser_fail(struct parser *p, size_t pos, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    set_error(p, p->err, pos, fmt, ap);
    va_end(ap);
    return false;
}

void parser_type_error(struct parser *p, size_t pos, const char *fmt, ...)
{
    va_list ap;

    if (p->type_failed)
        return;
    p->type_failed = true;
    va_start(ap, fmt);
    set_error(p, &p->type_err, pos, fmt, ap);
    va_end(ap);
}

void parser_refuse(struct parser *p, size_t pos, enum promql_refusal why, const char *fmt, ...)
{
    va_list ap;

    if (p->refusal_err.refusal != PROMQL_NOT_REFUSED)
        return;
    va_start(ap, fmt);
    set_error(p, &p->refusal_err, pos, fmt, ap);
    va_end(ap);
    p->refusal_err.refusal = why;
}

bool parser_unexpected(struct parser *p, const char *context, const char *expected)
{
    char what[128];

    if (p->token.type == TOK_ERROR)
        return parser_fail(p, p->token.pos, "%s", p->lexer.error);
    token_describe(p->lexer.text, &p->token, what, sizeof(what));
    return parser_fail(p, p->token.pos, "unexpected %s%s%s%s%s", what, *context ? " in " : "",
                       context, *expected ? ", expected " : "", expected);
}

/* ---- tokens ---- */

void parser_advance(struct parser *p)
{
    if (p->token.type != TOK_ERROR)
        lexer_next(&p->lexer, &p->token);
}

bool parser_at_punct(const struct parser *p, char c)
{
    return p->token.type == TOK_PUNCT && p->token.id == c;
}

bool parser_at_keyword(const struct parser *p, enum promql_keyword word)
{
    return p->token.type == TOK_KEYWORD && p->token.id == (int)word;
}

bool parser_expect(struct parser *p, char c, const char *context, const char *expected)
{
    if (!parser_at_punct(p, c))
        return parser_unexpected(p, context, expected);
    parser_advance(p);
    return true;
}

bool parser_at_call(const struct parser *p, const char *word)
{
    const char *s = p->lexer.text + p->lexer.pos;

    return p->token.type == TOK_IDENT && p->token.len == strlen(word) &&
           strncasecmp(p->lexer.text + p->token.pos, word, p->token.len) == 0 &&
           s[strspn(s, " \t\r\n")] == '(';
}

char *parser_token_text(struct parser *p)
{
    return arena_strndup(p->expr->arena, p->lexer.text + p->token.pos, p->token.len);
}

/* The text of the string token; NULL with the error set. */
char *parser_string(struct parser *p)
{
    char why[64];
    char *s = literal_string(p->expr->arena, p->lexer.text + p->token.pos, p->token.len, why,
                             sizeof(why));

    if (!s)
        (void)parser_fail(p, p->token.pos, "%s", why);
    return s;
}

struct node *node_create(struct parser *p, enum node_kind kind, size_t pos)
{
    struct node *node = arena_alloc(p->expr->arena, sizeof(*node));

    node->kind = kind;
    node->pos = pos;
    return node;
}

/* Room for one more behind n; doubles, so that a long list costs the arena twice its size. */
void *parser_grow(struct parser *p, void *array, size_t n, size_t size)
{
    if ((n & (n - 1)) != 0)
        return array;
    return arena_grow_array(p->expr->arena, array, n, n > 0 ? 2 * n : 1, size);
}

struct regex *parser_keep_regex(struct parser *p, struct regex *regex)
{
    struct regex_link *link = arena_alloc(p->expr->arena, sizeof(*link));

    link->regex = regex;
    link->next = p->expr->regexes;
    p->expr->regexes = link;
    return regex;
}

/* ---- expressions ---- */

static struct node *parse_expression(struct parser *p, int min_power);

static struct node *parse_number(struct parser *p)
{
    struct node *node = node_create(p, NODE_NUMBER, p->token.pos);
    const char *s = p->lexer.text + p->token.pos;
    int64_t ms = 0;
    bool ok = p->token.type == TOK_NUMBER ? literal_number(s, p->token.len, &node->number)
                                          : literal_duration(s, p->token.len, &ms);

    if (!ok) {
        (void)parser_unexpected(p, "", "");
        return NULL;
    }
    node->is_duration = p->token.type == TOK_DURATION;
    if (node->is_duration)
        node->number = (double)ms / 1000;
    if (node->is_duration && node->number > DURATION_MAX_S) {
        (void)parser_fail(p, p->token.pos, "duration out of range");
        return NULL;
    }
    node->type = PROMQL_SCALAR;
    parser_advance(p);
    return node;
}

static struct node *parse_string(struct parser *p)
{
    struct node *node = node_create(p, NODE_STRING, p->token.pos);

    node->string = parser_string(p);
    if (!node->string)
        return NULL;
    node->type = PROMQL_STRING;
    parser_advance(p);
    return node;
}

/* `(a, b)` with the parentheses; the list may be empty. */
static bool parse_args(struct parser *p, struct node ***args, size_t *n)
{
    *args = NULL;
    *n = 0;
    if (!parser_expect(p, '(', "", ""))
        return false;
    while (!(*n == 0 && parser_at_punct(p, ')'))) {
        struct node *arg = parse_expression(p, POWER_OR);
        size_t comma = p->token.pos;

        if (!arg)
            return false;
        *args = parser_grow(p, *args, *n, sizeof(**args));
        (*args)[(*n)++] = arg;
        if (!parser_at_punct(p, ','))
            break;
        parser_advance(p);
        if (parser_at_punct(p, ')'))
            return parser_fail(p, comma, "trailing commas not allowed in function call args");
    }
    return parser_expect(p, ')', "", "");
}

/* A word, or a quoted name, that may stand where a label name is wanted. */
static const char *parse_label_name(struct parser *p)
{
    const char *name = NULL;

    if (p->token.type == TOK_STRING) {
        name = parser_string(p);
        if (!name)
            return NULL;
    } else if (p->token.is_word && p->token.type != TOK_METRIC_IDENT &&
               p->token.type != TOK_NUMBER) {
        name = parser_token_text(p);
    } else {
        (void)parser_unexpected(p, "grouping opts", "label");
        return NULL;
    }
    parser_advance(p);
    return name;
}

static bool parse_label_list(struct parser *p, struct label_list *list)
{
    if (!parser_expect(p, '(', "grouping opts", "\"(\""))
        return false;
    while (!parser_at_punct(p, ')')) {
        const char *name = parse_label_name(p);

        if (!name)
            return false;
        list->names = parser_grow(p, list->names, list->n, sizeof(*list->names));
        list->names[list->n++] = name;
        if (!parser_at_punct(p, ','))
            break;
        parser_advance(p);
    }
    return parser_expect(p, ')', "grouping opts", "\",\" or \")\"");
}

static bool at_grouping(const struct parser *p)
{
    return parser_at_keyword(p, WORD_BY) || parser_at_keyword(p, WORD_WITHOUT);
}

static bool parse_grouping(struct parser *p, struct node *node)
{
    node->aggregate.without = parser_at_keyword(p, WORD_WITHOUT);
    parser_advance(p);
    return parse_label_list(p, &node->aggregate.labels);
}

static bool aggregate_has_param(enum promql_aggr op)
{
    return op >= AGGR_TOPK;
}

/* Behind the operator's word: `by (..) (args)`, `(args) by (..)` or `(args)`. */
static struct node *parse_aggregate(struct parser *p, const struct token *word)
{
    struct node *node = node_create(p, NODE_AGGREGATE, word->pos);
    bool grouped = at_grouping(p);
    struct node **args;
    size_t n, wanted;

    node->aggregate.op = (enum promql_aggr)word->id;
    wanted = aggregate_has_param(node->aggregate.op) ? 2 : 1;
    if (grouped && !parse_grouping(p, node))
        return NULL;
    if (!parser_at_punct(p, '(')) {
        (void)parser_unexpected(p, "aggregation", "");
        return NULL;
    }
    if (!parse_args(p, &args, &n))
        return NULL;
    if (!grouped && at_grouping(p) && !parse_grouping(p, node))
        return NULL;
    if (node->aggregate.op >= AGGR_LIMITK) {
        parser_refuse(p, node->pos, PROMQL_EXPERIMENTAL,
                      "%.*s() is experimental and is not supported", (int)word->len,
                      p->lexer.text + word->pos);
    }
    if (n == 0) {
        (void)parser_fail(p, node->pos, "no arguments for aggregate expression provided");
        return NULL;
    }
    if (n != wanted) {
        (void)parser_fail(p, node->pos,
                          "wrong number of arguments for aggregate expression provided, "
                          "expected %zu, got %zu",
                          wanted, n);
        return NULL;
    }
    node->aggregate.child = args[n - 1];
    node->aggregate.param = n == 2 ? args[0] : NULL;
    check_node(p, node);
    return node;
}

static struct node *parse_call(struct parser *p, const char *name, size_t pos)
{
    struct node *node = node_create(p, NODE_CALL, pos);

    node->call.fn = function_find(name);
    if (!node->call.fn) {
        (void)parser_fail(p, pos, "unknown function with name \"%.128s\"", name);
        return NULL;
    }
    if (!parse_args(p, &node->call.args, &node->call.n))
        return NULL;
    if (node->call.fn->is_experimental)
        parser_refuse(p, pos, PROMQL_EXPERIMENTAL,
                      "function \"%s\" is experimental and is not supported", name);
    check_node(p, node);
    return node;
}

/* A word: aggregation, function or metric name, told apart by what follows. */
static struct node *parse_word(struct parser *p)
{
    struct token word = p->token;
    const char *name = parser_token_text(p);

    parser_advance(p);
    if (word.type == TOK_AGGR && (parser_at_punct(p, '(') || at_grouping(p)))
        return parse_aggregate(p, &word);
    if ((word.type == TOK_IDENT || word.id == WORD_START || word.id == WORD_END) &&
        word.type != TOK_AGGR && parser_at_punct(p, '('))
        return parse_call(p, name, word.pos);
    return parse_selector(p, name, word.pos);
}

static struct node *parse_parens(struct parser *p)
{
    size_t pos = p->token.pos;
    struct node *node;

    parser_advance(p);
    node = parse_expression(p, POWER_OR);
    if (!node || !parser_expect(p, ')', "", ""))
        return NULL;
    node->parens++; /* PROMQL_DEPTH_MAX bounds it */
    node->pos = pos;
    return node;
}

static struct node *parse_primary(struct parser *p)
{
    if (p->token.type == TOK_NUMBER || p->token.type == TOK_DURATION)
        return parse_number(p);
    if (p->token.type == TOK_STRING)
        return parse_string(p);
    if (parser_at_punct(p, '('))
        return parse_parens(p);
    if (parser_at_punct(p, '{'))
        return parse_selector(p, NULL, p->token.pos);
    if (p->token.is_name)
        return parse_word(p);
    (void)parser_unexpected(p, "", "");
    return NULL;
}

static bool at_sign(const struct parser *p)
{
    return p->token.type == TOK_OP && (p->token.id == OP_ADD || p->token.id == OP_SUB);
}

/* A sign binds like `*`: its operand takes in `^` only. */
static struct node *parse_unary(struct parser *p)
{
    size_t pos = p->token.pos;
    enum promql_op op = (enum promql_op)p->token.id;
    struct node *child, *node;

    if (!at_sign(p)) {
        node = parse_primary(p);
        return node ? parse_postfix(p, node) : NULL;
    }
    parser_advance(p);
    child = parse_expression(p, POWER_POW);
    if (!child)
        return NULL;
    if (child->kind == NODE_NUMBER && child->parens == 0) {
        child->number = op == OP_SUB ? -child->number : child->number;
        child->pos = pos;
        return child;
    }
    node = node_create(p, NODE_UNARY, pos);
    node->unary.op = op;
    node->unary.child = child;
    check_node(p, node);
    return node;
}

/* `fill (0)`, `fill_left (0) fill_right (1)`: experimental. */
static bool parse_fill(struct parser *p)
{
    while (parser_at_call(p, "fill") || parser_at_call(p, "fill_left") ||
           parser_at_call(p, "fill_right")) {
        parser_refuse(p, p->token.pos, PROMQL_EXPERIMENTAL,
                      "fill modifiers are experimental and are not supported");
        parser_advance(p);
        parser_advance(p);
        if (at_sign(p))
            parser_advance(p);
        if (p->token.type != TOK_NUMBER && p->token.type != TOK_DURATION)
            return parser_unexpected(p, "fill modifier", "number");
        parser_advance(p);
        if (!parser_expect(p, ')', "fill modifier", "\")\""))
            return false;
    }
    return true;
}

/* `bool`, `on (..)`, `ignoring (..)`, `group_left (..)` behind an operator. */
static bool parse_matching(struct parser *p, struct node *node)
{
    struct matching *m = &node->binary.matching;

    if (parser_at_keyword(p, WORD_BOOL)) {
        node->binary.is_bool = true;
        parser_advance(p);
    }
    if (!parser_at_keyword(p, WORD_ON) && !parser_at_keyword(p, WORD_IGNORING))
        return true;
    m->given = true;
    m->on = parser_at_keyword(p, WORD_ON);
    parser_advance(p);
    if (!parse_label_list(p, &m->labels))
        return false;
    if (!parser_at_keyword(p, WORD_GROUP_LEFT) && !parser_at_keyword(p, WORD_GROUP_RIGHT))
        return true;
    m->card = parser_at_keyword(p, WORD_GROUP_LEFT) ? CARD_MANY_TO_ONE : CARD_ONE_TO_MANY;
    parser_advance(p);
    return !parser_at_punct(p, '(') || parse_label_list(p, &m->include);
}

/* The operator and its right side. */
static struct node *parse_binary(struct parser *p, struct node *lhs, int power)
{
    struct node *node = node_create(p, NODE_BINARY, lhs->pos);

    node->binary.op = (enum promql_op)p->token.id;
    node->binary.op_pos = p->token.pos;
    node->binary.lhs = lhs;
    lhs->up = node;
    if (node->binary.op == OP_TRIM_UPPER || node->binary.op == OP_TRIM_LOWER) {
        parser_refuse(p, p->token.pos, PROMQL_NATIVE_HISTOGRAM,
                      "operator \"%s\" is for native histograms, which are not supported",
                      op_name(node->binary.op));
    }
    parser_advance(p);
    if (!parse_matching(p, node) || !parse_fill(p))
        return NULL;
    node->binary.rhs = parse_expression(p, power == POWER_POW ? power : power + 1);
    if (!node->binary.rhs)
        return NULL;
    check_node(p, node);
    return node;
}

static struct node *parse_expression(struct parser *p, int min_power)
{
    struct node *node;

    if (p->depth >= PROMQL_DEPTH_MAX) {
        (void)parser_fail(p, p->token.pos, "expression is nested deeper than %d levels",
                          PROMQL_DEPTH_MAX);
        return NULL;
    }
    p->depth++;
    node = parse_unary(p);
    while (node && p->token.type == TOK_OP) {
        int power = op_power((enum promql_op)p->token.id);

        if (power < min_power)
            break;
        node = parse_binary(p, node, power);
    }
    p->depth--;
    return node;
}

/* ---- entry ---- */

/* Reads the first token. */
static bool begin(struct parser *p, const char *text)
{
    size_t len = strnlen(text, PROMQL_LENGTH_MAX + 1);

    /* A lexer over the empty text gives the place 1:1. */
    lexer_init(&p->lexer, len > PROMQL_LENGTH_MAX ? "" : text);
    p->expr->text = arena_strdup(p->expr->arena, p->lexer.text);
    if (len > PROMQL_LENGTH_MAX)
        return parser_fail(p, 0, "expression is longer than %d bytes", PROMQL_LENGTH_MAX);
    parser_advance(p);
    return true;
}

static bool parse_only_selector(struct parser *p, const char *text)
{
    const char *name = NULL;
    size_t pos;

    if (!begin(p, text))
        return false;
    pos = p->token.pos;
    if (p->token.is_name) {
        name = parser_token_text(p);
        parser_advance(p);
    } else if (!parser_at_punct(p, '{')) {
        return parser_unexpected(p, "", "");
    }
    p->expr->root = parse_selector(p, name, pos);
    if (!p->expr->root)
        return false;
    return p->token.type == TOK_EOF || parser_unexpected(p, "", "");
}

static bool parse_all(struct parser *p, const char *text)
{
    if (!begin(p, text))
        return false;
    if (p->token.type == TOK_EOF)
        return parser_fail(p, 0, "no expression found in input");
    p->expr->root = parse_expression(p, POWER_OR);
    if (!p->expr->root)
        return false;
    if (p->token.type != TOK_EOF)
        return parser_unexpected(p, "", "");
    if (p->refusal_err.refusal != PROMQL_NOT_REFUSED) {
        *p->err = p->refusal_err;
        return true;
    }
    if (p->type_failed)
        *p->err = p->type_err;
    return !p->type_failed;
}

static struct promql_expr *parse_with(bool (*parse)(struct parser *p, const char *text),
                                      const char *text, struct promql_error *err)
{
    struct promql_expr *expr = mem_alloc(sizeof(*expr));
    struct parser p = {.expr = expr, .err = err};

    expr->arena = arena_create(0, ARENA_NO_LIMIT);
    if (!parse(&p, text))
        promql_destroy(&expr);
    return expr;
}

struct promql_expr *promql_parse_any(const char *text, struct promql_error *err)
{
    return parse_with(parse_all, text, err);
}

struct promql_expr *promql_parse_selector(const char *text, struct promql_error *err)
{
    return parse_with(parse_only_selector, text, err);
}

struct promql_expr *promql_parse(const char *text, struct promql_error *err)
{
    struct promql_error own;
    struct promql_expr *expr;

    own.refusal = PROMQL_NOT_REFUSED;
    expr = promql_parse_any(text, &own);
    if (!expr || own.refusal != PROMQL_NOT_REFUSED) {
        *err = own;
        promql_destroy(&expr);
    }
    return expr;
}

void promql_destroy(struct promql_expr **expr)
{
    if (!*expr)
        return;
    for (struct regex_link *link = (*expr)->regexes; link; link = link->next)
        regex_destroy(&link->regex);
    arena_destroy(&(*expr)->arena);
    MEM_FREE_NULL(expr);
}

void promql_each_metric(const struct promql_expr *expr, void (*fn)(const char *name, void *arg),
                        void *arg)
{
    for (const struct node *s = expr->selectors; s; s = s->selector.next) {
        for (size_t i = 0; i < s->selector.matcher_count; i++) {
            const struct matcher *m = &s->selector.matchers[i];

            if (m->op == MATCH_EQ && str_eq(m->name, LABEL_METRIC))
                fn(m->value, arg);
        }
    }
}
