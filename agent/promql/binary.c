/*
 * binary.c: arithmetic and comparison, and the walk over chains of operators.
 *
 * `a + b + c ...` is a tree that grows to the left, as deep as the text is long. It is evaluated
 * from its leftmost leaf upwards in a loop, so that only nesting costs stack. Rows belong to one
 * node at a time, so operators with a scalar work in place.
 */
#include "promql_private.h"

double op_apply(enum promql_op op, double a, double b)
{
    switch (op) {
    case OP_ADD:
        return a + b;
    case OP_SUB:
        return a - b;
    case OP_MUL:
        return a * b;
    case OP_DIV:
        return a / b;
    case OP_MOD:
        return fmod(a, b);
    case OP_POW:
        return pow(a, b);
    case OP_ATAN2:
        return atan2(a, b);
    case OP_EQ:
    case OP_NE:
    case OP_LT:
    case OP_LE:
    case OP_GT:
    case OP_GE:
        return op_compare(op, a, b) ? 1 : 0;
    case OP_AND:
    case OP_OR:
    case OP_UNLESS:
    case OP_TRIM_UPPER:
    case OP_TRIM_LOWER:
    case OP_RE:
    case OP_NRE:
        break;
    }
    return NAN;
}

bool op_compare(enum promql_op op, double a, double b)
{
    switch (op) {
    case OP_EQ:
        return a == b;
    case OP_NE:
        return a != b;
    case OP_LT:
        return a < b;
    case OP_LE:
        return a <= b;
    case OP_GT:
        return a > b;
    case OP_GE:
        return a >= b;
    default: /* the callers ask for comparisons only */
        return false;
    }
}

/* One of the sides is a scalar; a comparison keeps the vector's value, whichever side it is on. */
static void with_scalar(const struct node *node, const struct grid *grid, struct value *vector,
                        const double *scalar, bool scalar_is_left)
{
    enum promql_op op = node->binary.op;
    bool is_filter = op_is_comparison(op) && !node->binary.is_bool;

    for (size_t r = 0; r < vector->n; r++) {
        struct row *row = &vector->rows[r];

        row->drop_name = row->drop_name || !is_filter;
        for (size_t i = 0; i < grid->n; i++) {
            double a = scalar_is_left ? scalar[i] : row->v[i];
            double b = scalar_is_left ? row->v[i] : scalar[i];

            if (is_absent(row->v[i]))
                continue;
            if (!is_filter)
                row->v[i] = op_apply(op, a, b);
            else if (!op_compare(op, a, b))
                row->v[i] = absent();
        }
    }
    if (is_filter)
        value_prune(vector, grid);
}

static void scalars(const struct node *node, const struct grid *grid, double *a, const double *b)
{
    for (size_t i = 0; i < grid->n; i++)
        a[i] = op_apply(node->binary.op, a[i], b[i]);
}

static bool combine(struct eval *ev, const struct node *node, const struct grid *grid,
                    struct value *sides, struct value *out)
{
    bool left_vector = sides[0].type == PROMQL_VECTOR,
         right_vector = sides[1].type == PROMQL_VECTOR;

    if (left_vector && right_vector)
        return op_is_set(node->binary.op) ? eval_set_op(ev, node, grid, sides, out)
                                          : eval_match(ev, node, grid, sides, out);
    if (left_vector)
        with_scalar(node, grid, &sides[0], sides[1].scalar, false);
    else if (right_vector)
        with_scalar(node, grid, &sides[1], sides[0].scalar, true);
    else
        scalars(node, grid, sides[0].scalar, sides[1].scalar);
    *out = sides[right_vector ? 1 : 0];
    return true;
}

bool eval_binary(struct eval *ev, const struct node *node, const struct grid *grid,
                 struct value *out)
{
    const struct node *at = node;
    struct value sides[2];

    while (at->kind == NODE_BINARY)
        at = at->binary.lhs;
    if (!eval_node(ev, at, grid, out))
        return false;
    do {
        at = at->up;
        sides[0] = *out;
        if (!eval_node(ev, at->binary.rhs, grid, &sides[1]) || !combine(ev, at, grid, sides, out))
            return false;
    } while (at != node);
    return true;
}
