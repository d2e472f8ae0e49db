/*
 * inspect.c: what a parsed expression is and asks for. The tree stays private: callers get borrowed
 * matchers. Chains of operators grow to the left without a bound on their length, so they are
 * walked in a loop; everything else recurses no deeper than PROMQL_DEPTH_MAX.
 */
#include "pgvigil/promql/selector.h"

#include "pgvigil/base/str.h"
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

/* ---- walking ---- */

struct walk {
    void (*selected)(const struct promql_selected *selected, void *arg);
    void *arg;
    int64_t reach, window; /* the greatest so far */
};

/* base: how far before the query's time the node is evaluated. */
static void walk(struct walk *w, const struct node *node, int64_t base);

static int64_t duration_of(const struct duration *d, enum duration_use use)
{
    struct err ignored;
    struct eval ev = {.err = &ignored}; /* an instant query: its step and range are 0 */
    int64_t ms;
    /* one that cannot be evaluated fails the query too */
    return eval_duration(&ev, d, use, &ms) ? ms : 0;
}

/* Where the window of a selector or subquery ends. */
static int64_t shifted(const struct modifiers *mods, int64_t base)
{
    if (mods->at == AT_TIME)
        return TIME_MAX_MS;
    int64_t from = mods->at == AT_NONE ? base : 0; /* start() and end() are the query's time */
    return i64_min(TIME_MAX_MS, from + duration_of(&mods->offset, DURATION_OFFSET));
}

static void walk_selector(struct walk *w, const struct node *node, int64_t base)
{
    int64_t window = node->selector.has_range ? duration_of(&node->selector.range, DURATION_RANGE)
                                              : PROMQL_LOOKBACK_MS;
    const struct promql_selected selected = {node->selector.matchers, node->selector.matcher_count,
                                             regex_match};
    w->reach = i64_max(w->reach, shifted(&node->selector.mods, base) + window);
    if (node->selector.has_range)
        w->window = i64_max(w->window, window);
    if (w->selected != NULL)
        w->selected(&selected, w->arg);
}

static void walk_subquery(struct walk *w, const struct node *node, int64_t base)
{
    int64_t window = duration_of(&node->subquery.range, DURATION_RANGE);
    w->window = i64_max(w->window, window);
    base = i64_min(TIME_MAX_MS, shifted(&node->subquery.mods, base) + window);
    walk(w, node->subquery.child, base);
}

static void walk_call(struct walk *w, const struct node *node, int64_t base)
{
    const char *name = node->call.fn->name;
    if (w->selected != NULL && (str_eq(name, "absent") || str_eq(name, "absent_over_time")))
        return;
    for (size_t i = 0; i < node->call.n; i++)
        walk(w, node->call.args[i], base);
}

static void walk_binary(struct walk *w, const struct node *node, int64_t base)
{
    const struct node *first = node;
    while (first->binary.lhs->kind == NODE_BINARY)
        first = first->binary.lhs;
    walk(w, first->binary.lhs, base);
    for (;; first = first->up) {
        if (w->selected == NULL || first->binary.op != OP_UNLESS)
            walk(w, first->binary.rhs, base);
        if (first == node)
            return;
    }
}

static void walk(struct walk *w, const struct node *node, int64_t base)
{
    switch (node->kind) {
    case NODE_NUMBER:
    case NODE_STRING:
        break;
    case NODE_SELECTOR:
        walk_selector(w, node, base);
        break;
    case NODE_SUBQUERY:
        walk_subquery(w, node, base);
        break;
    case NODE_UNARY:
        walk(w, node->unary.child, base);
        break;
    case NODE_BINARY:
        walk_binary(w, node, base);
        break;
    case NODE_AGGREGATE:
        if (node->aggregate.param != NULL)
            walk(w, node->aggregate.param, base);
        walk(w, node->aggregate.child, base);
        break;
    case NODE_CALL:
        walk_call(w, node, base);
        break;
    }
}

int64_t promql_reach_ms(const struct promql_expr *expr)
{
    struct walk w = {0};
    walk(&w, expr->root, 0);
    return w.reach >= TIME_MAX_MS ? INT64_MAX : w.reach;
}

int64_t promql_window_ms(const struct promql_expr *expr)
{
    struct walk w = {0};
    walk(&w, expr->root, 0);
    return w.window;
}

void promql_each_selected(const struct promql_expr *expr,
                          void (*fn)(const struct promql_selected *selected, void *arg), void *arg)
{
    struct walk w = {.selected = fn, .arg = arg};
    walk(&w, expr->root, 0);
}
