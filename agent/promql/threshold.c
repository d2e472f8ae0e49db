/*
 * threshold.c: finds the number of `x > 60`, wherever in the tree the comparison stands.
 *
 * The tree knows where a number begins; where it ends is asked from the lexer, so that whatever
 * the grammar takes for a number (1h, 0x1f, 1_000) is replaced as a whole.
 */
#include "pgvigil/promql/threshold.h"

#include "promql_private.h"

struct search {
    const struct promql_expr *expr;
    struct promql_threshold found, found_bool; /* the first of each */
    size_t count, count_bool;
};

static void search_node(struct search *s, const struct node *node);

static bool is_constant(const struct node *node)
{
    if (node->kind == NODE_UNARY)
        return is_constant(node->unary.child);
    if (node->kind == NODE_BINARY)
        return is_constant(node->binary.lhs) && is_constant(node->binary.rhs);
    return node->kind == NODE_NUMBER;
}

static struct promql_threshold literal_at(const struct promql_expr *expr, const struct node *node)
{
    struct promql_threshold out = {.pos = node->pos};
    struct lexer lexer;
    struct token token;

    if (node->kind != NODE_NUMBER)
        return out;
    out.value = node->number;
    lexer_init(&lexer, expr->text);
    lexer.pos = node->pos;
    lexer_next(&lexer, &token);
    while (token.type == TOK_PUNCT && token.id == '(')
        lexer_next(&lexer, &token);
    out.pos = token.pos;
    while (token.type == TOK_OP) /* signs */
        lexer_next(&lexer, &token);
    if (token.type == TOK_NUMBER || token.type == TOK_DURATION)
        out.len = token.pos + token.len - out.pos;
    return out;
}

static void search_comparison(struct search *s, const struct node *node)
{
    enum promql_op op = node->binary.op;
    bool left = is_constant(node->binary.lhs), right = is_constant(node->binary.rhs);

    if ((op != OP_LT && op != OP_LE && op != OP_GT && op != OP_GE) || left == right)
        return;
    size_t *count = node->binary.is_bool ? &s->count_bool : &s->count;
    struct promql_threshold *found = node->binary.is_bool ? &s->found_bool : &s->found;
    if ((*count)++ == 0)
        *found = literal_at(s->expr, left ? node->binary.lhs : node->binary.rhs);
}

/* Sums are deep on their left side only, so that one is a loop. */
static void search_binary(struct search *s, const struct node *node)
{
    for (; node->kind == NODE_BINARY; node = node->binary.lhs) {
        search_comparison(s, node);
        search_node(s, node->binary.rhs);
    }
    search_node(s, node);
}

static void search_node(struct search *s, const struct node *node)
{
    switch (node->kind) {
    case NODE_NUMBER:
    case NODE_STRING:
    case NODE_SELECTOR:
        break;
    case NODE_SUBQUERY:
        search_node(s, node->subquery.child);
        break;
    case NODE_UNARY:
        search_node(s, node->unary.child);
        break;
    case NODE_BINARY:
        search_binary(s, node);
        break;
    case NODE_AGGREGATE:
        search_node(s, node->aggregate.child);
        if (node->aggregate.param != NULL)
            search_node(s, node->aggregate.param);
        break;
    case NODE_CALL:
        for (size_t i = 0; i < node->call.n; i++)
            search_node(s, node->call.args[i]);
        break;
    }
}

size_t promql_threshold_find(const struct promql_expr *expr, struct promql_threshold *out)
{
    struct search s = {.expr = expr};

    search_node(&s, expr->root);
    *out = s.count > 0 ? s.found : s.found_bool;
    return s.count > 0 ? s.count : s.count_bool;
}
