/*
 * print_tree.c: the tree as JSON, in the shape that Prometheus 3 gives to its query page.
 *
 * Times are milliseconds; what a node has not is null, lists are never null. Invariant: each value
 * of the tree is one object with a `type`, and parentheses are objects too.
 */
#include "pgvigil/promql/print.h"

#include "promql_private.h"

static void add_node(const struct node *node, struct buf *out);

static void add_text(struct buf *out, const char *key, const char *text)
{
    buf_printf(out, ",\"%s\":", key);
    buf_add_json(out, text);
}

static void add_bool(struct buf *out, const char *key, bool value)
{
    buf_printf(out, ",\"%s\":%s", key, value ? "true" : "false");
}

static void add_child(struct buf *out, const char *key, const struct node *child)
{
    buf_printf(out, ",\"%s\":", key);
    if (child)
        add_node(child, out);
    else
        buf_add_str(out, "null");
}

static void add_names(struct buf *out, const char *key, const struct label_list *list)
{
    buf_printf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < list->n; i++) {
        buf_add_str(out, i > 0 ? "," : "");
        buf_add_json(out, list->names[i]);
    }
    buf_add_char(out, ']');
}

static void add_modifiers(struct buf *out, const struct modifiers *mods)
{
    buf_printf(out, ",\"offset\":%lld,\"timestamp\":", (long long)mods->offset.ms);
    if (mods->at == AT_TIME)
        buf_printf(out, "%lld", (long long)mods->at_ms);
    else
        buf_add_str(out, "null");
    buf_add_str(out, ",\"startOrEnd\":");
    if (mods->at == AT_START || mods->at == AT_END)
        buf_add_str(out, mods->at == AT_START ? "\"start\"" : "\"end\"");
    else
        buf_add_str(out, "null");
}

static void add_matcher(struct buf *out, const struct matcher *m, bool *first)
{
    static const char *const ops[] = {
        [MATCH_EQ] = "=", [MATCH_NE] = "!=", [MATCH_RE] = "=~", [MATCH_NRE] = "!~"};

    buf_add_str(out, *first ? "" : ",");
    *first = false;
    buf_printf(out, "{\"type\":\"%s\"", ops[m->op]);
    add_text(out, "name", m->name);
    add_text(out, "value", m->value);
    buf_add_char(out, '}');
}

/* The matcher of a name before the braces is the first one here and the last one in Prometheus. */
static void add_selector(struct buf *out, const struct node *node)
{
    const struct matcher *m = node->selector.matchers;
    bool named = node->selector.name && !node->selector.name_in_braces, first = true;

    buf_printf(out, "\"%s\"", node->selector.has_range ? "matrixSelector" : "vectorSelector");
    add_text(out, "name", named ? node->selector.name : "");
    buf_add_str(out, ",\"matchers\":[");
    for (size_t i = named ? 1 : 0; i < node->selector.matcher_count; i++)
        add_matcher(out, &m[i], &first);
    if (named)
        add_matcher(out, &m[0], &first);
    buf_add_char(out, ']');
    if (node->selector.has_range)
        buf_printf(out, ",\"range\":%lld", (long long)node->selector.range.ms);
    add_modifiers(out, &node->selector.mods);
}

static void add_subquery(struct buf *out, const struct node *node)
{
    buf_printf(out, "\"subquery\",\"range\":%lld,\"step\":%lld", (long long)node->subquery.range.ms,
               (long long)node->subquery.step.ms);
    add_modifiers(out, &node->subquery.mods);
    add_child(out, "expr", node->subquery.child);
}

static const char *card_name(const struct node *node)
{
    if (op_is_set(node->binary.op))
        return "many-to-many";
    switch (node->binary.matching.card) {
    case CARD_ONE_TO_ONE:
        return "one-to-one";
    case CARD_MANY_TO_ONE:
        return "many-to-one";
    case CARD_ONE_TO_MANY:
        return "one-to-many";
    }
    return "";
}

static void open_node(const struct node *node, struct buf *out)
{
    for (unsigned i = 0; i < node->parens; i++)
        buf_add_str(out, "{\"type\":\"parenExpr\",\"expr\":");
    buf_add_str(out, "{\"type\":");
}

static void close_node(const struct node *node, struct buf *out)
{
    for (unsigned i = 0; i <= node->parens; i++)
        buf_add_char(out, '}');
}

static void add_left(struct buf *out, const struct node *node)
{
    buf_add_str(out, "\"binaryExpr\"");
    add_text(out, "op", op_name(node->binary.op));
    buf_add_str(out, ",\"lhs\":");
}

static void add_right(struct buf *out, const struct node *node)
{
    const struct matching *m = &node->binary.matching;

    add_child(out, "rhs", node->binary.rhs);
    if (node->binary.lhs->type == PROMQL_VECTOR && node->binary.rhs->type == PROMQL_VECTOR) {
        buf_printf(out, ",\"matching\":{\"card\":\"%s\"", card_name(node));
        add_names(out, "labels", &m->labels);
        add_bool(out, "on", m->on);
        add_names(out, "include", &m->include);
        buf_add_char(out, '}');
    } else {
        buf_add_str(out, ",\"matching\":null");
    }
    add_bool(out, "bool", node->binary.is_bool);
}

/* A chain leans to the left without a bound on its length: down and up again in loops. */
static void add_binary(struct buf *out, const struct node *node)
{
    const struct node *first = node;

    add_left(out, node);
    for (; first->binary.lhs->kind == NODE_BINARY; add_left(out, first)) {
        first = first->binary.lhs;
        open_node(first, out);
    }
    add_node(first->binary.lhs, out);
    for (;; first = first->up) {
        add_right(out, first);
        if (first == node)
            break;
        close_node(first, out);
    }
}

static void add_call(struct buf *out, const struct node *node)
{
    const struct function *fn = node->call.fn;
    bool repeats = fn->optional == FN_ANY_NUMBER;
    size_t types = (size_t)fn->required + (repeats ? 1 : fn->optional);

    buf_printf(out, "\"call\",\"func\":{\"name\":\"%s\",\"argTypes\":[", fn->name);
    for (size_t i = 0; i < types; i++)
        buf_printf(out, "%s\"%s\"", i > 0 ? "," : "", promql_type_name(fn->args[i]));
    buf_printf(out, "],\"variadic\":%d,\"returnType\":\"%s\"},\"args\":[",
               repeats ? -1 : fn->optional, promql_type_name(fn->result));
    for (size_t i = 0; i < node->call.n; i++) {
        buf_add_str(out, i > 0 ? "," : "");
        add_node(node->call.args[i], out);
    }
    buf_add_char(out, ']');
}

static void add_aggregate(struct buf *out, const struct node *node)
{
    buf_add_str(out, "\"aggregation\"");
    add_text(out, "op", aggr_name(node->aggregate.op));
    add_child(out, "expr", node->aggregate.child);
    add_child(out, "param", node->aggregate.param);
    add_names(out, "grouping", &node->aggregate.labels);
    add_bool(out, "without", node->aggregate.without);
}

static void add_fields(const struct node *node, struct buf *out)
{
    switch (node->kind) {
    case NODE_NUMBER:
        buf_add_str(out, "\"numberLiteral\",\"val\":\"");
        print_plain(node->number, out);
        buf_add_char(out, '"');
        break;
    case NODE_STRING:
        buf_add_str(out, "\"stringLiteral\"");
        add_text(out, "val", node->string);
        break;
    case NODE_SELECTOR:
        add_selector(out, node);
        break;
    case NODE_SUBQUERY:
        add_subquery(out, node);
        break;
    case NODE_UNARY:
        buf_add_str(out, "\"unaryExpr\"");
        add_text(out, "op", op_name(node->unary.op));
        add_child(out, "expr", node->unary.child);
        break;
    case NODE_BINARY:
        add_binary(out, node);
        break;
    case NODE_AGGREGATE:
        add_aggregate(out, node);
        break;
    case NODE_CALL:
        add_call(out, node);
        break;
    }
}

static void add_node(const struct node *node, struct buf *out)
{
    open_node(node, out);
    add_fields(node, out);
    close_node(node, out);
}

void promql_print_tree(const struct promql_expr *expr, struct buf *out)
{
    add_node(expr->root, out);
}
