/*
 * parse_selector.c: what stands in braces and brackets, and the offset and @ behind them.
 *
 * Invariant: modifiers are stored on the selector or subquery that they follow, never on anything
 * else.
 */
#include "promql_private.h"

#include "pgvigil/base/str.h"

/* ---- matchers ---- */

static bool parse_match_op(struct parser *p, enum match_op *op)
{
    if (parser_at_punct(p, '=')) {
        *op = MATCH_EQ;
        return true;
    }
    if (p->token.type != TOK_OP)
        return parser_unexpected(p, "label matching", "label matching operator");
    switch ((enum promql_op)p->token.id) {
    case OP_NE:
        *op = MATCH_NE;
        return true;
    case OP_RE:
        *op = MATCH_RE;
        return true;
    case OP_NRE:
        *op = MATCH_NRE;
        return true;
    default: /* the lexer gives no other operator inside braces */
        return parser_unexpected(p, "label matching", "label matching operator");
    }
}

static void add_matcher(struct parser *p, struct node *node, const struct matcher *m)
{
    size_t n = node->selector.matcher_count++;

    node->selector.matchers = parser_grow(p, node->selector.matchers, n, sizeof(*m));
    node->selector.matchers[n] = *m;
}

static bool compile_matcher(struct parser *p, struct matcher *m, size_t pos)
{
    struct err err;
    struct regex *regex;

    if (m->op != MATCH_RE && m->op != MATCH_NRE)
        return true;
    regex = regex_create(m->value, &err);
    if (!regex)
        return parser_fail(p, pos, "error parsing regexp: %s", err.text);
    m->regex = parser_keep_regex(p, regex);
    return true;
}

/* name op "value", or since v3 a quoted metric name alone. */
static bool parse_matcher(struct parser *p, struct node *node)
{
    struct matcher m = {.op = MATCH_EQ};
    size_t pos = p->token.pos;
    bool quoted = p->token.type == TOK_STRING;

    m.name = quoted ? parser_string(p) : parser_token_text(p);
    if (!m.name)
        return false;
    parser_advance(p);
    if (quoted && (parser_at_punct(p, ',') || parser_at_punct(p, '}'))) {
        m.value = m.name;
        m.name = LABEL_METRIC;
        if (node->selector.name)
            return parser_fail(p, node->pos, "metric name must not be set twice: \"%s\" or \"%s\"",
                               node->selector.name, m.value);
        node->selector.name = m.value;
        node->selector.name_in_braces = true;
        add_matcher(p, node, &m);
        return true;
    }
    if (!parse_match_op(p, &m.op))
        return false;
    parser_advance(p);
    if (p->token.type != TOK_STRING)
        return parser_unexpected(p, "label matching", "string");
    m.value = parser_string(p);
    if (!m.value || !compile_matcher(p, &m, pos))
        return false;
    parser_advance(p);
    add_matcher(p, node, &m);
    return true;
}

static bool parse_matchers(struct parser *p, struct node *node)
{
    parser_advance(p);
    while (!parser_at_punct(p, '}')) {
        if (p->token.type != TOK_IDENT && p->token.type != TOK_STRING)
            return parser_unexpected(p, "label matching", "identifier or \"}\"");
        if (!parse_matcher(p, node))
            return false;
        if (parser_at_punct(p, ','))
            parser_advance(p);
        else if (!parser_at_punct(p, '}'))
            return parser_unexpected(p, "label matching", "\",\" or \"}\"");
    }
    parser_advance(p);
    return true;
}

struct node *parse_selector(struct parser *p, const char *name, size_t pos)
{
    struct node *node = node_create(p, NODE_SELECTOR, pos);

    node->type = PROMQL_VECTOR;
    node->selector.name = name;
    if (name)
        add_matcher(p, node,
                    &(struct matcher){.op = MATCH_EQ, .name = LABEL_METRIC, .value = name});
    if (parser_at_punct(p, '{') && !parse_matchers(p, node))
        return NULL;
    node->selector.next = p->expr->selectors;
    p->expr->selectors = node;
    check_node(p, node);
    return node;
}

/* ---- ranges and subqueries ---- */

static struct node *apply_range(struct parser *p, struct node *node, size_t pos,
                                const struct duration *range)
{
    const char *why = NULL;

    if (node->kind != NODE_SELECTOR || node->parens || node->selector.has_range)
        why = "ranges only allowed for vector selectors";
    else if (node->selector.mods.has_offset)
        why = "no offset modifiers allowed before range";
    else if (node->selector.mods.at != AT_NONE)
        why = "no @ modifiers allowed before range";
    if (why) {
        (void)parser_fail(p, pos, "%s", why);
        return NULL;
    }
    node->selector.has_range = true;
    node->selector.range = *range;
    node->type = PROMQL_MATRIX;
    return node;
}

static struct node *parse_subquery_step(struct parser *p, struct node *child,
                                        const struct duration *range)
{
    struct node *node = node_create(p, NODE_SUBQUERY, child->pos);

    parser_advance(p);
    node->type = PROMQL_MATRIX;
    node->subquery.child = child;
    node->subquery.range = *range;
    if (!parser_at_punct(p, ']') && !parse_duration(p, DURATION_STEP, &node->subquery.step))
        return NULL;
    if (!parser_expect(p, ']', "subquery selector", "\"]\""))
        return NULL;
    check_node(p, node);
    return node;
}

static struct node *parse_brackets(struct parser *p, struct node *node)
{
    size_t pos = p->token.pos;
    struct duration range;

    parser_advance(p);
    if (!parse_duration(p, DURATION_RANGE, &range))
        return NULL;
    if (parser_at_punct(p, ':'))
        return parse_subquery_step(p, node, &range);
    if (!parser_expect(p, ']', "subquery or range selector", "\":\" or \"]\""))
        return NULL;
    return apply_range(p, node, pos, &range);
}

/* ---- offset and @ ---- */

static struct modifiers *node_modifiers(struct node *node)
{
    if (node->parens)
        return NULL;
    if (node->kind == NODE_SELECTOR)
        return &node->selector.mods;
    return node->kind == NODE_SUBQUERY ? &node->subquery.mods : NULL;
}

static bool parse_offset(struct parser *p, struct node *node)
{
    struct modifiers *mods = node_modifiers(node);
    struct duration offset;

    parser_advance(p);
    if (!parse_duration(p, DURATION_OFFSET, &offset))
        return false;
    if (!mods) {
        return parser_fail(p, node->pos,
                           "offset modifier must be preceded by an instant vector selector or "
                           "range vector selector or a subquery");
    }
    if (mods->has_offset)
        return parser_fail(p, node->pos, "offset may not be set multiple times");
    mods->has_offset = true;
    mods->offset = offset;
    return true;
}

static bool parse_at_time(struct parser *p, struct node *node, struct modifiers *at)
{
    bool is_negative = p->token.type == TOK_OP && p->token.id == OP_SUB;
    double seconds;

    if (is_negative || (p->token.type == TOK_OP && p->token.id == OP_ADD))
        parser_advance(p);
    if (!parse_seconds(p, "@", "timestamp", &seconds))
        return false;
    seconds = is_negative ? -seconds : seconds;
    if (!(fabs(seconds) < (double)TIME_MAX_MS / 1000))
        return parser_fail(p, node->pos, "timestamp out of bounds for @ modifier: %f", seconds);
    parser_advance(p);
    at->at = AT_TIME;
    at->at_ms = llround(seconds * 1000);
    return true;
}

static bool parse_at(struct parser *p, struct node *node)
{
    struct modifiers *mods = node_modifiers(node), at = {.at = AT_NONE};

    parser_advance(p);
    if (parser_at_keyword(p, WORD_START) || parser_at_keyword(p, WORD_END)) {
        at.at = parser_at_keyword(p, WORD_START) ? AT_START : AT_END;
        parser_advance(p);
        if (!parser_expect(p, '(', "@", "timestamp") || !parser_expect(p, ')', "@", "timestamp"))
            return false;
    } else if (!parse_at_time(p, node, &at)) {
        return false;
    }
    if (!mods) {
        return parser_fail(p, node->pos,
                           "@ modifier must be preceded by an instant vector selector or range "
                           "vector selector or a subquery");
    }
    if (mods->at != AT_NONE)
        return parser_fail(p, node->pos, "@ <timestamp> may not be set multiple times");
    mods->at = at.at;
    mods->at_ms = at.at_ms;
    return true;
}

/* `m[5m] anchored`, `m smoothed`: experimental. */
static bool at_extended(const struct parser *p)
{
    const char *s = p->lexer.text + p->token.pos;

    return p->token.type == TOK_IDENT && p->token.len == 8 &&
           (strncasecmp(s, "anchored", 8) == 0 || strncasecmp(s, "smoothed", 8) == 0);
}

static void refuse_extended(struct parser *p)
{
    parser_refuse(p, p->token.pos, PROMQL_EXPERIMENTAL,
                  "modifier \"%.8s\" is experimental and is not supported",
                  p->lexer.text + p->token.pos);
    parser_advance(p);
}

struct node *parse_postfix(struct parser *p, struct node *node)
{
    for (;;) {
        bool ok = true;

        if (parser_at_punct(p, '['))
            node = parse_brackets(p, node);
        else if (parser_at_keyword(p, WORD_OFFSET))
            ok = parse_offset(p, node);
        else if (parser_at_punct(p, '@'))
            ok = parse_at(p, node);
        else if (at_extended(p))
            refuse_extended(p);
        else
            return node;
        if (!node || !ok)
            return NULL;
    }
}
