/*
 * inspect.c: what a parsed expression is. The tree stays private: callers get borrowed matchers.
 */
#include "pgvigil/promql/selector.h"

#include "promql_private.h"

const struct matcher *promql_selector(const struct promql_expr *expr, size_t *n,
                                      matcher_regex_fn *regex)
{
    const struct node *root = expr->root;

    if (root->kind != NODE_SELECTOR || root->type != PROMQL_VECTOR || root->parens ||
        root->selector.mods.at != AT_NONE || root->selector.mods.has_offset)
        return NULL;
    *n = root->selector.matcher_count;
    *regex = regex_match;
    return root->selector.matchers;
}
