/*
 * types.c: the type check, node by node as the parser builds them from below.
 *
 * Prometheus reports type errors as parse errors; the texts and places are its own. Invariant: a
 * tree that came out of promql_parse without an error needs no type check when it is evaluated:
 * each operand and argument has the type that its node asks for.
 */
#include "promql_private.h"

#include "pgvigil/base/str.h"

const char *promql_type_name(enum promql_type type)
{
    switch (type) {
    case PROMQL_SCALAR:
        return "scalar";
    case PROMQL_VECTOR:
        return "vector";
    case PROMQL_MATRIX:
        return "matrix";
    case PROMQL_STRING:
        return "string";
    }
    return "unknown";
}

enum promql_type promql_type(const struct promql_expr *expr)
{
    return expr->root->type;
}

/* The name that people read in errors. */
static const char *type_text(enum promql_type type)
{
    if (type == PROMQL_VECTOR)
        return "instant vector";
    return type == PROMQL_MATRIX ? "range vector" : promql_type_name(type);
}

static void expect_type(struct parser *p, const struct node *node, enum promql_type want,
                        const char *context)
{
    if (node->type != want)
        parser_type_error(p, node->pos, "expected type %s in %s, got %s", type_text(want), context,
                          type_text(node->type));
}

static bool matches_empty(const struct matcher *m)
{
    switch (m->op) {
    case MATCH_EQ:
        return *m->value == '\0';
    case MATCH_NE:
        return *m->value != '\0';
    case MATCH_RE:
        return regex_match(m->regex, "") != REGEX_NO_MATCH;
    case MATCH_NRE:
        return regex_match(m->regex, "") != REGEX_MATCH;
    }
    return true;
}

/* A selector that matches the empty set would read every series there is. */
static void check_selector(struct parser *p, struct node *node)
{
    const char *name = node->selector.name;
    bool selective = false;

    for (size_t i = 0; i < node->selector.matcher_count; i++) {
        const struct matcher *m = &node->selector.matchers[i];

        if (name && m->value != name && str_eq(m->name, LABEL_METRIC)) {
            parser_type_error(p, node->pos,
                              "metric name must not be set twice: \"%.128s\" or \"%.128s\"", name,
                              m->value);
        }
        selective = selective || !matches_empty(m);
    }
    if (!selective)
        parser_type_error(p, node->pos,
                          "vector selector must contain at least one non-empty matcher");
}

static void check_unary(struct parser *p, struct node *node)
{
    enum promql_type type = node->unary.child->type;

    node->type = type;
    if (type != PROMQL_SCALAR && type != PROMQL_VECTOR) {
        parser_type_error(p, node->pos,
                          "unary expression only allowed on expressions of type scalar or "
                          "instant vector, got \"%s\"",
                          type_text(type));
    }
}

static const char *label_in_both(const struct matching *m)
{
    for (size_t i = 0; m->on && i < m->labels.n; i++) {
        for (size_t j = 0; j < m->include.n; j++)
            if (str_eq(m->labels.names[i], m->include.names[j]))
                return m->labels.names[i];
    }
    return NULL;
}

static bool is_operand(const struct node *node)
{
    return node->type == PROMQL_SCALAR || node->type == PROMQL_VECTOR;
}

static void check_operands(struct parser *p, struct node *node)
{
    static const char text[] =
        "binary expression must contain only scalar and instant vector types";

    if (!is_operand(node->binary.lhs))
        parser_type_error(p, node->binary.lhs->pos, text);
    if (!is_operand(node->binary.rhs))
        parser_type_error(p, node->binary.rhs->pos, text);
}

static void check_bool(struct parser *p, const struct node *node)
{
    bool is_comparison = op_is_comparison(node->binary.op);

    if (node->binary.is_bool && !is_comparison)
        parser_type_error(p, node->binary.op_pos,
                          "bool modifier can only be used on comparison operators");
    if (!node->binary.is_bool && is_comparison && node->type == PROMQL_SCALAR)
        parser_type_error(p, node->binary.op_pos,
                          "comparisons between scalars must use BOOL modifier");
}

static void check_matching(struct parser *p, const struct node *node, bool vectors)
{
    enum promql_op op = node->binary.op;
    const struct matching *m = &node->binary.matching;

    if (!vectors && m->labels.n > 0)
        parser_type_error(p, node->pos, "vector matching only allowed between instant vectors");
    if (vectors && op_is_set(op) && m->card != CARD_ONE_TO_ONE)
        parser_type_error(p, node->pos, "no grouping allowed for \"%s\" operation", op_name(op));
}

/* In the order in which Prometheus checks: the first error is the one that is told. */
static void check_binary(struct parser *p, struct node *node)
{
    enum promql_op op = node->binary.op;
    enum promql_type lhs = node->binary.lhs->type, rhs = node->binary.rhs->type;
    const char *twice = label_in_both(&node->binary.matching);
    bool has_scalar = lhs == PROMQL_SCALAR || rhs == PROMQL_SCALAR;

    node->type = lhs == PROMQL_SCALAR && rhs == PROMQL_SCALAR ? PROMQL_SCALAR : PROMQL_VECTOR;
    check_bool(p, node);
    if (twice)
        parser_type_error(p, node->binary.op_pos,
                          "label \"%.128s\" must not occur in ON and GROUP clause at once", twice);
    check_operands(p, node);
    check_matching(p, node, lhs == PROMQL_VECTOR && rhs == PROMQL_VECTOR);
    if (has_scalar && op_is_set(op)) {
        parser_type_error(p, node->pos,
                          "set operator \"%s\" not allowed in binary scalar expression",
                          op_name(op));
    }
}

static void check_aggregate(struct parser *p, struct node *node)
{
    node->type = PROMQL_VECTOR;
    expect_type(p, node->aggregate.child, PROMQL_VECTOR, "aggregation expression");
    if (node->aggregate.param) {
        expect_type(p, node->aggregate.param,
                    node->aggregate.op == AGGR_COUNT_VALUES ? PROMQL_STRING : PROMQL_SCALAR,
                    "aggregation parameter");
    }
}

static void check_arg_count(struct parser *p, const struct node *node)
{
    const struct function *fn = node->call.fn;
    size_t n = node->call.n, most = (size_t)fn->required + fn->optional;
    const char *how = "";

    if (n >= fn->required && (n <= most || fn->optional == FN_ANY_NUMBER))
        return;
    if (fn->optional > 0)
        how = n < fn->required ? "at least " : "at most ";
    parser_type_error(p, node->pos, "expected %s%zu argument(s) in call to \"%s\", got %zu", how,
                      n < fn->required ? fn->required : most, fn->name, n);
}

/*
 * label_replace compiles its pattern here, once. One that does not compile is an error when it is
 * evaluated, as in Prometheus.
 */
static void prepare_label_replace(struct parser *p, struct node *node)
{
    struct err err;
    struct regex *regex;

    if (node->call.fn->eval != fn_label_replace || node->call.n != 5 ||
        node->call.args[4]->kind != NODE_STRING)
        return;
    regex = regex_create(node->call.args[4]->string, &err);
    if (regex)
        node->call.regex = parser_keep_regex(p, regex);
}

static void check_call(struct parser *p, struct node *node)
{
    const struct function *fn = node->call.fn;
    size_t types = (size_t)fn->required + fn->optional;
    char context[64];

    if (fn->optional == FN_ANY_NUMBER)
        types = (size_t)fn->required + 1;
    node->type = fn->result;
    check_arg_count(p, node);
    snprintf(context, sizeof(context), "call to function \"%s\"", fn->name);
    for (size_t i = 0; i < node->call.n && types > 0; i++)
        expect_type(p, node->call.args[i], fn->args[size_min(i, types - 1)], context);
    prepare_label_replace(p, node);
}

static void check_subquery(struct parser *p, struct node *node)
{
    enum promql_type type = node->subquery.child->type;

    if (type != PROMQL_VECTOR) {
        parser_type_error(p, node->pos,
                          "subquery is only allowed on instant vector, got %s instead",
                          promql_type_name(type));
    }
}

void check_node(struct parser *p, struct node *node)
{
    switch (node->kind) {
    case NODE_SELECTOR:
        check_selector(p, node);
        break;
    case NODE_SUBQUERY:
        check_subquery(p, node);
        break;
    case NODE_UNARY:
        check_unary(p, node);
        break;
    case NODE_BINARY:
        check_binary(p, node);
        break;
    case NODE_AGGREGATE:
        check_aggregate(p, node);
        break;
    case NODE_CALL:
        check_call(p, node);
        break;
    case NODE_NUMBER:
    case NODE_STRING:
        break;
    }
}
