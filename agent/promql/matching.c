/*
 * matching.c: operators between two vectors: `and or unless`, and joins one-to-one and
 * many-to-one.
 *
 * Rows of both sides are brought together by key once for all steps; whether they have a value is
 * looked at per step. Several rows of one key on the "one" side are fine as long as no step has
 * two (a series that was renamed in between); two at a step are an error even if a comparison
 * would drop the pair. Invariant: `first` and `next` chain the rows of a key in their order.
 */
#include "promql_private.h"

static struct key_spec spec_of(const struct node *node)
{
    return (struct key_spec){.only = node->binary.matching.on,
                             .labels = node->binary.matching.labels};
}

/* ---- set operators ---- */

/* The keys of a side and where they have values. */
static bool cover_side(struct eval *ev, const struct node *node, const struct grid *grid,
                       const struct value *side, struct key_index *index, struct covers *covers)
{
    const struct key_spec spec = spec_of(node);
    bool overlaps = false;

    if (!key_index_init(ev, index, &spec, side->n) || !covers_init(covers, ev, grid, side, side->n))
        return false;
    for (size_t r = 0; r < side->n; r++) {
        size_t key = key_index_add(index, &side->rows[r].labels);

        if (!covers_add(covers, key, r, NULL, &overlaps))
            return false;
    }
    return true;
}

/* Keeps the values of a row where the cover has one (wanted) or has none (!wanted). */
static void mask_row(double *v, const double *cover, bool wanted, const struct grid *grid)
{
    for (size_t i = 0; i < grid->n; i++)
        if ((cover && !is_absent(cover[i])) != wanted)
            v[i] = absent();
}

static bool mask_side(struct eval *ev, const struct node *node, const struct grid *grid,
                      struct value *side, const struct value *by, bool wanted)
{
    struct key_index index;
    struct covers covers;

    if (!cover_side(ev, node, grid, by, &index, &covers))
        return false;
    for (size_t r = 0; r < side->n; r++) {
        size_t key = key_index_find(&index, &side->rows[r].labels);

        mask_row(side->rows[r].v, key == KEY_NONE ? NULL : covers.v[key], wanted, grid);
    }
    value_prune(side, grid);
    return true;
}

bool eval_set_op(struct eval *ev, const struct node *node, const struct grid *grid,
                 struct value *sides, struct value *out)
{
    struct value *lhs = &sides[0], *rhs = &sides[1];

    *out = (struct value){.type = PROMQL_VECTOR};
    if (node->binary.op != OP_OR) {
        if (!mask_side(ev, node, grid, lhs, rhs, node->binary.op == OP_AND))
            return false;
        out->rows = lhs->rows;
        out->n = lhs->n;
        return true;
    }
    if (!mask_side(ev, node, grid, rhs, lhs, false))
        return false;
    out->n = lhs->n + rhs->n;
    out->rows = eval_array(ev, out->n, sizeof(*out->rows));
    if (!out->rows)
        return false;
    for (size_t r = 0; r < out->n; r++)
        out->rows[r] = r < lhs->n ? lhs->rows[r] : rhs->rows[r - lhs->n];
    return true;
}

/* ---- joins ---- */

struct join {
    struct eval *ev;
    const struct node *node;
    const struct grid *grid;
    const struct value *many, *one;
    bool many_is_left;
    struct key_index index; /* of the one side */
    struct covers one_covers, many_covers;
    size_t *first, *last, *next; /* chains of the one side */
    struct value *out;
    size_t out_cap;
};

/* As Prometheus prints label sets in errors: the name is a label like others. */
static void print_labels(const struct labels *ls, struct buf *out)
{
    char quoted[4 * LABEL_VALUE_MAX];

    buf_add_char(out, '{');
    for (size_t i = 0; i < ls->n; i++)
        buf_printf(out, "%s%s=%s", i > 0 ? ", " : "", ls->v[i].name,
                   go_quote(ls->v[i].value, quoted, sizeof(quoted)));
    buf_add_char(out, '}');
}

/* before: the row that was there first. */
static bool fail_duplicate(struct join *j, size_t before, size_t r)
{
    const struct key_spec spec = spec_of(j->node);
    const struct labels *ls = &j->one->rows[r].labels;
    struct labels key = key_labels(j->ev->arena, &spec, ls);
    struct buf text;

    buf_init(&text, 8192);
    buf_add_str(&text, "found duplicate series for the match group ");
    print_labels(&key, &text);
    buf_printf(&text, " on the %s hand-side of the operation: [",
               j->many_is_left ? "right" : "left");
    print_labels(&j->one->rows[before].labels, &text);
    buf_add_str(&text, ", ");
    print_labels(ls, &text);
    buf_add_str(&text, "];many-to-many matching not allowed: matching labels must be unique on one "
                       "side");
    err_set(j->ev->err, ERR_INVALID, "%s", text.data);
    buf_deinit(&text);
    return false;
}

/* A row with a value wherever the many side has any: elsewhere duplicates do no harm. */
static double *steps_of_many(struct join *j)
{
    double *any = eval_row(j->ev, j->grid);

    for (size_t r = 0; any && r < j->many->n; r++) {
        for (size_t i = 0; i < j->grid->n; i++)
            if (!is_absent(j->many->rows[r].v[i]))
                any[i] = 1;
    }
    return any;
}

static bool index_one(struct join *j)
{
    const struct key_spec spec = spec_of(j->node);
    size_t n = j->one->n;
    double *any = steps_of_many(j);

    j->first = eval_array(j->ev, n, sizeof(*j->first));
    j->last = eval_array(j->ev, n, sizeof(*j->last));
    j->next = eval_array(j->ev, n, sizeof(*j->next));
    if (!any || !j->first || !j->last || !j->next || !key_index_init(j->ev, &j->index, &spec, n) ||
        !covers_init(&j->one_covers, j->ev, j->grid, j->one, n) ||
        !covers_init(&j->many_covers, j->ev, j->grid, j->many, n))
        return false;
    for (size_t r = 0; r < n; r++) {
        bool overlaps = false;
        size_t known = j->index.n, key = key_index_add(&j->index, &j->one->rows[r].labels);

        if (!covers_add(&j->one_covers, key, r, any, &overlaps))
            return false;
        if (overlaps)
            return fail_duplicate(j, j->last[key], r);
        j->next[r] = KEY_NONE;
        if (key == known)
            j->first[key] = r;
        else
            j->next[j->last[key]] = r;
        j->last[key] = r;
    }
    return true;
}

static struct labels join_labels(const struct join *j, const struct row *many,
                                 const struct row *one)
{
    const struct matching *m = &j->node->binary.matching;
    struct labels out = many->labels;

    if (m->card == CARD_ONE_TO_ONE) {
        const struct key_spec spec = {.only = m->on, .keep_name = true, .labels = m->labels};

        return m->on || m->labels.n > 0 ? key_labels(j->ev->arena, &spec, &out) : out;
    }
    for (size_t i = 0; i < m->include.n; i++) {
        const char *name = m->include.names[i];
        const char *value = labels_get_or_empty(&one->labels, name);

        /* The name outlives the expression with the result. */
        out = labels_with(j->ev->arena, &out, arena_strdup(j->ev->arena, name), value);
    }
    return out;
}

static struct row *join_row(struct join *j, const struct row *many, const struct row *one)
{
    enum promql_op op = j->node->binary.op;
    bool is_filter = op_is_comparison(op) && !j->node->binary.is_bool;
    struct value *out = j->out;
    struct row *row;

    if (out->n == j->out_cap) {
        size_t cap = j->out_cap > 0 ? 2 * j->out_cap : j->many->n;

        if (!eval_charge(j->ev, cap * sizeof(*out->rows) / sizeof(struct point)))
            return NULL;
        out->rows = arena_grow_array(j->ev->arena, out->rows, out->n, cap, sizeof(*out->rows));
        j->out_cap = cap;
    }
    row = &out->rows[out->n];
    *row = (struct row){.labels = join_labels(j, many, one)};
    row->drop_name = many->drop_name || !is_filter;
    row->v = eval_row(j->ev, j->grid);
    out->n += row->v != NULL;
    return row->v ? row : NULL;
}

static double join_value(const struct join *j, double many, double one)
{
    enum promql_op op = j->node->binary.op;
    double lhs = j->many_is_left ? many : one, rhs = j->many_is_left ? one : many;

    if (!op_is_comparison(op) || j->node->binary.is_bool)
        return op_apply(op, lhs, rhs);
    return op_compare(op, lhs, rhs) ? lhs : absent();
}

static bool join_pair(struct join *j, const struct row *many, const struct row *one)
{
    struct row *row = NULL;

    for (size_t i = 0; i < j->grid->n; i++) {
        if (is_absent(many->v[i]) || is_absent(one->v[i]))
            continue;
        if (!row)
            row = join_row(j, many, one);
        if (!row)
            return false;
        row->v[i] = join_value(j, many->v[i], one->v[i]);
    }
    return true;
}

static bool join_many(struct join *j, size_t r)
{
    const struct row *many = &j->many->rows[r];
    size_t key = key_index_find(&j->index, &many->labels);
    bool overlaps = false;

    if (key == KEY_NONE)
        return true;
    if (j->node->binary.matching.card == CARD_ONE_TO_ONE &&
        !covers_add(&j->many_covers, key, r, j->one_covers.v[key], &overlaps))
        return false;
    if (overlaps) {
        return err_set(j->ev->err, ERR_INVALID,
                       "multiple matches for labels: many-to-one matching must be explicit "
                       "(group_left/group_right)");
    }
    for (size_t one = j->first[key]; one != KEY_NONE; one = j->next[one])
        if (!join_pair(j, many, &j->one->rows[one]))
            return false;
    return true;
}

bool eval_match(struct eval *ev, const struct node *node, const struct grid *grid,
                struct value *sides, struct value *out)
{
    enum match_card card = node->binary.matching.card;
    bool many_is_left = card != CARD_ONE_TO_MANY;
    struct join j = {.ev = ev,
                     .node = node,
                     .grid = grid,
                     .many = &sides[many_is_left ? 0 : 1],
                     .one = &sides[many_is_left ? 1 : 0],
                     .many_is_left = many_is_left,
                     .out = out};

    *out = (struct value){.type = PROMQL_VECTOR};
    if (sides[0].n == 0 || sides[1].n == 0)
        return true;
    if (!index_one(&j))
        return false;
    for (size_t r = 0; r < j.many->n; r++)
        if (!join_many(&j, r))
            return false;
    /* Without copied labels the results differ as the rows of the many side do. */
    if (card == CARD_ONE_TO_ONE || node->binary.matching.include.n == 0)
        return true;
    return eval_check_unique(ev, out, grid,
                             "multiple matches for labels: grouping labels must ensure unique "
                             "matches");
}
