/*
 * aggregate.c: sum, topk and their kin.
 *
 * Rows are grouped once by their labels; then each group is worked off step by step with one
 * array of running values, which the next group uses again. Invariant: the members of a group are
 * chained in the order of the rows, so that results do not depend on hashing. A name that is to be
 * dropped still takes part in `by (__name__)`, and a group drops it if one of its members does.
 */
#include "promql_private.h"

#include "pgvigil/base/str.h"

struct groups {
    struct key_spec spec;
    size_t n;
    size_t *of;                  /* row to group */
    size_t *first, *last, *next; /* chains of rows */
    size_t *count;
};

struct aggregation {
    struct eval *ev;
    const struct node *node;
    const struct grid *grid;
    const struct value *in;
    struct groups groups;
    const double *param; /* of topk, bottomk, quantile; by step */
    struct value *out;
};

/* Running values of one group, by step. */
struct running_op {
    enum promql_aggr op;
    void (*add_row)(struct running *r, const double *v, size_t steps);
    double (*result)(const struct running *r);
};

/* A loop of its own for each operator: a call for each value costs more than adding it. */
#define ADD_ROW(name, add)                                             \
    static void name(struct running *r, const double *v, size_t steps) \
    {                                                                  \
        for (size_t i = 0; i < steps; i++)                             \
            if (!is_absent(v[i]))                                      \
                add(&r[i], v[i]);                                      \
    }

static inline void add_count(struct running *r, double v)
{
    (void)v;
    r->n++;
}

ADD_ROW(add_sums, running_sum)
ADD_ROW(add_avgs, running_avg)
ADD_ROW(add_mins, running_min)
ADD_ROW(add_maxs, running_max)
ADD_ROW(add_counts, add_count)
ADD_ROW(add_variances, running_variance)

static double result_count(const struct running *r)
{
    return r->n;
}

static double result_group(const struct running *r)
{
    (void)r;
    return 1;
}

static double result_extreme(const struct running *r)
{
    return r->sum;
}

static double result_stddev(const struct running *r)
{
    return sqrt(running_variance_result(r));
}

static const struct running_op running_ops[] = {
    {AGGR_SUM, add_sums, running_sum_result},
    {AGGR_AVG, add_avgs, running_avg_result},
    {AGGR_MIN, add_mins, result_extreme},
    {AGGR_MAX, add_maxs, result_extreme},
    {AGGR_COUNT, add_counts, result_count},
    {AGGR_GROUP, add_counts, result_group},
    {AGGR_STDDEV, add_variances, result_stddev},
    {AGGR_STDVAR, add_variances, running_variance_result},
};

static const struct running_op *find_running(enum promql_aggr op)
{
    for (size_t i = 0; i < ARRAY_LEN(running_ops); i++)
        if (running_ops[i].op == op)
            return &running_ops[i];
    return NULL;
}

/* ---- groups ---- */

static bool group_rows(struct aggregation *a)
{
    struct groups *g = &a->groups;
    size_t n = a->in->n;
    struct key_index index;

    g->spec =
        (struct key_spec){.only = !a->node->aggregate.without, .labels = a->node->aggregate.labels};
    g->of = eval_array(a->ev, 5 * n, sizeof(*g->of));
    if (!g->of || !key_index_init(a->ev, &index, &g->spec, n))
        return false;
    g->first = g->of + n;
    g->last = g->first + n;
    g->next = g->last + n;
    g->count = g->next + n;
    for (size_t r = 0; r < n; r++) {
        size_t known = index.n, key = key_index_add(&index, &a->in->rows[r].labels);

        g->of[r] = key;
        g->next[r] = KEY_NONE;
        if (key == known)
            g->first[key] = r;
        else
            g->next[g->last[key]] = r;
        g->last[key] = r;
        g->count[key]++;
    }
    g->n = index.n;
    return true;
}

/* A new row of the output with the group's labels. */
static struct row *group_row(struct aggregation *a, size_t group)
{
    struct row *row = &a->out->rows[a->out->n];
    size_t first = a->groups.first[group];

    *row = (struct row){.v = eval_row(a->ev, a->grid)};
    if (!row->v)
        return NULL;
    row->labels = key_labels(a->ev->arena, &a->groups.spec, &a->in->rows[first].labels);
    for (size_t r = first; r != KEY_NONE; r = a->groups.next[r])
        row->drop_name = row->drop_name || a->in->rows[r].drop_name;
    a->out->n++;
    return row;
}

/* ---- operators with running values ---- */

static bool aggregate_running(struct aggregation *a, const struct running_op *op)
{
    size_t steps = a->grid->n;
    struct running *running = eval_array(a->ev, steps, sizeof(*running));

    a->out->rows = eval_array(a->ev, a->groups.n, sizeof(*a->out->rows));
    if (!running || !a->out->rows)
        return false;
    for (size_t g = 0; g < a->groups.n; g++) {
        struct row *row = group_row(a, g);

        if (!row)
            return false;
        memset(running, 0, steps * sizeof(*running));
        for (size_t r = a->groups.first[g]; r != KEY_NONE; r = a->groups.next[r])
            op->add_row(running, a->in->rows[r].v, steps);
        for (size_t i = 0; i < steps; i++)
            if (running[i].n > 0)
                row->v[i] = op->result(&running[i]);
    }
    return true;
}

/* ---- operators that need all values of a step at once ---- */

struct member {
    double v;
    size_t row;
};

/* The present values of a group at a step; returns their count. */
static size_t gather(const struct aggregation *a, size_t group, size_t step, struct member *out)
{
    size_t n = 0;

    for (size_t r = a->groups.first[group]; r != KEY_NONE; r = a->groups.next[r])
        if (!is_absent(a->in->rows[r].v[step]))
            out[n++] = (struct member){.v = a->in->rows[r].v[step], .row = r};
    return n;
}

static bool aggregate_quantile(struct aggregation *a)
{
    struct member *members = eval_array(a->ev, a->in->n, sizeof(*members));
    double *values = eval_array(a->ev, a->in->n, sizeof(*values));

    a->out->rows = eval_array(a->ev, a->groups.n, sizeof(*a->out->rows));
    if (!members || !values || !a->out->rows)
        return false;
    for (size_t g = 0; g < a->groups.n; g++) {
        struct row *row = group_row(a, g);

        if (!row)
            return false;
        for (size_t i = 0; i < a->grid->n; i++) {
            size_t n = gather(a, g, i, members);

            for (size_t m = 0; m < n; m++)
                values[m] = members[m].v;
            if (n > 0) {
                row->v[i] = quantile_of(a->param[i], values, n);
                note_quantile(a->ev, a->node->aggregate.param->pos, a->param[i]);
            }
        }
    }
    return true;
}

/* Equal values keep the order of the rows, so that two runs give the same. */
static int compare_top(const void *x, const void *y)
{
    const struct member *a = x, *b = y;

    if (isnan(a->v) || isnan(b->v)) {
        int order = (isnan(a->v) != 0) - (isnan(b->v) != 0);

        return order != 0 ? order : (a->row > b->row) - (a->row < b->row);
    }
    if (a->v != b->v)
        return a->v < b->v ? 1 : -1;
    return (a->row > b->row) - (a->row < b->row);
}

static int compare_bottom(const void *x, const void *y)
{
    const struct member *a = x, *b = y;

    if (isnan(a->v) || isnan(b->v) || a->v == b->v)
        return compare_top(x, y);
    return a->v > b->v ? 1 : -1;
}

/* Told even if there is nothing to choose from: the expression is wrong, not the data. */
static bool check_k(const struct aggregation *a)
{
    for (size_t i = 0; i < a->grid->n; i++) {
        if (isnan(a->param[i]))
            return err_set(a->ev->err, ERR_INVALID, "Parameter value is NaN");
        if (fabs(a->param[i]) >= 9223372036854775808.0)
            return err_set(a->ev->err, ERR_INVALID, "Scalar value %g overflows int64", a->param[i]);
    }
    return true;
}

static bool is_top(enum promql_aggr op)
{
    return op == AGGR_TOPK || op == AGGR_BOTTOMK;
}

/* The k of a step, at most n; below 1 it chooses nothing. */
static size_t k_at(const struct aggregation *a, size_t step, size_t n)
{
    double k = a->param[step];

    if (k < 1)
        return 0;
    return k < (double)n ? (size_t)k : n;
}

/* The members of a group at a step, best first; returns how many are chosen. */
static size_t rank(const struct aggregation *a, size_t group, size_t step, struct member *members)
{
    size_t n = gather(a, group, step, members);

    qsort(members, n, sizeof(*members),
          a->node->aggregate.op == AGGR_TOPK ? compare_top : compare_bottom);
    return k_at(a, step, n);
}

/* For an instant query the result is ordered by value within each group. */
static bool order_by_rank(struct aggregation *a, struct member *members)
{
    for (size_t g = 0; g < a->groups.n; g++) {
        size_t k = rank(a, g, 0, members);

        for (size_t m = 0; m < k; m++)
            a->out->rows[a->out->n++] = a->in->rows[members[m].row];
    }
    a->out->ordered = true;
    return true;
}

/* Each step chooses its own rows: what is not chosen is absent there. */
static bool choose_rows(struct aggregation *a, struct member *members)
{
    for (; a->out->n < a->in->n; a->out->n++) {
        struct row *row = &a->out->rows[a->out->n];

        *row = a->in->rows[a->out->n];
        row->v = eval_row(a->ev, a->grid);
        if (!row->v)
            return false;
    }
    for (size_t g = 0; g < a->groups.n; g++) {
        for (size_t i = 0; i < a->grid->n; i++) {
            size_t k = rank(a, g, i, members);

            for (size_t m = 0; m < k; m++)
                a->out->rows[members[m].row].v[i] = members[m].v;
        }
    }
    value_prune(a->out, a->grid);
    return true;
}

static bool aggregate_top(struct aggregation *a)
{
    struct member *members = eval_array(a->ev, a->in->n, sizeof(*members));

    a->out->rows = eval_array(a->ev, a->in->n, sizeof(*a->out->rows));
    if (!members || !a->out->rows)
        return false;
    return a->grid->n == 1 ? order_by_rank(a, members) : choose_rows(a, members);
}

/* ---- count_values ---- */

struct counted {
    double v;
    size_t step;
};

static int compare_counted(const void *a, const void *b)
{
    const struct counted *x = a, *y = b;

    if (isnan(x->v) || isnan(y->v))
        return (isnan(x->v) != 0) - (isnan(y->v) != 0);
    return (x->v > y->v) - (x->v < y->v);
}

static bool same_value(double a, double b)
{
    return isnan(a) ? isnan(b) : a == b && signbit(a) == signbit(b);
}

/* The shortest text of the number, always in plain digits: 1e21 is a one with 21 zeros. */
static const char *plain_number(struct arena *arena, double v)
{
    struct buf text;
    char *plain, *e;
    int digits = 0;

    buf_init(&text, 64);
    buf_add_double(&text, v);
    e = strchr(text.data, 'e');
    if (!e) {
        plain = arena_strdup(arena, text.data);
    } else {
        for (const char *c = strchr(text.data, '.'); c && c + 1 < e; c++)
            digits++;
        digits -= (int)strtol(e + 1, NULL, 10);
        plain = arena_printf(arena, "%.*f", digits > 0 ? digits : 0, v);
    }
    buf_deinit(&text);
    return plain;
}

struct counting {
    const char *label;
    struct key_index index; /* of the finished label sets: two groups may end up with the same */
};

/* The row of one value of one group. */
static struct row *value_row(struct aggregation *a, struct counting *c, size_t group, double v)
{
    struct row *row = group_row(a, group);
    size_t key;

    if (!row)
        return NULL;
    row->labels = labels_with(a->ev->arena, &row->labels, c->label, plain_number(a->ev->arena, v));
    key = key_index_add(&c->index, &row->labels);
    if (key == a->out->n - 1)
        return row;
    a->out->n--;
    return &a->out->rows[key];
}

static bool count_group(struct aggregation *a, struct counting *c, size_t group,
                        struct counted *values)
{
    struct row *row = NULL;
    size_t n = 0;

    for (size_t r = a->groups.first[group]; r != KEY_NONE; r = a->groups.next[r]) {
        for (size_t i = 0; i < a->grid->n; i++)
            if (!is_absent(a->in->rows[r].v[i]))
                values[n++] = (struct counted){.v = a->in->rows[r].v[i], .step = i};
    }
    qsort(values, n, sizeof(*values), compare_counted);
    for (size_t i = 0; i < n; i++) {
        double *count;

        if (i == 0 || !same_value(values[i].v, values[i - 1].v))
            row = value_row(a, c, group, values[i].v);
        if (!row)
            return false;
        count = &row->v[values[i].step];
        *count = is_absent(*count) ? 1 : *count + 1;
    }
    return true;
}

static bool check_count_label(struct eval *ev, const char *label)
{
    char quoted[4 * LABEL_NAME_MAX];

    return is_label_name(label) || err_set(ev->err, ERR_INVALID, "invalid label name %s",
                                           go_quote(label, quoted, sizeof(quoted)));
}

static bool aggregate_count_values(struct aggregation *a, const char *label)
{
    const struct key_spec whole = {.keep_name = true};
    struct counting c = {.label = arena_strdup(a->ev->arena, label)};
    size_t most = 0;
    struct counted *values;

    for (size_t r = 0; r < a->in->n; r++)
        for (size_t i = 0; i < a->grid->n; i++)
            most += !is_absent(a->in->rows[r].v[i]);
    values = eval_array(a->ev, most, sizeof(*values));
    a->out->rows = eval_array(a->ev, most, sizeof(*a->out->rows));
    if (!values || !a->out->rows || !key_index_init(a->ev, &c.index, &whole, most))
        return false;
    for (size_t g = 0; g < a->groups.n; g++)
        if (!count_group(a, &c, g, values))
            return false;
    return true;
}

/* ---- dispatch ---- */

bool eval_aggregate(struct eval *ev, const struct node *node, const struct grid *grid,
                    struct value *out)
{
    const struct running_op *running = find_running(node->aggregate.op);
    struct value in, param = {.type = PROMQL_SCALAR};
    struct aggregation a = {.ev = ev, .node = node, .grid = grid, .in = &in, .out = out};

    *out = (struct value){.type = PROMQL_VECTOR};
    if (node->aggregate.param && !eval_node(ev, node->aggregate.param, grid, &param))
        return false;
    if (node->aggregate.op == AGGR_COUNT_VALUES && !check_count_label(ev, param.string))
        return false;
    if (!eval_node(ev, node->aggregate.child, grid, &in))
        return false;
    a.param = param.scalar;
    if (is_top(node->aggregate.op) && !check_k(&a))
        return false;
    value_prune(&in, grid);
    if (in.n == 0)
        return true;
    if (!group_rows(&a))
        return false;
    if (running)
        return aggregate_running(&a, running);
    if (node->aggregate.op == AGGR_QUANTILE)
        return aggregate_quantile(&a);
    if (node->aggregate.op == AGGR_COUNT_VALUES)
        return aggregate_count_values(&a, param.string);
    return aggregate_top(&a);
}
