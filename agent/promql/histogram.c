/*
 * histogram.c: histogram_quantile and histogram_fraction over the classic `_bucket` series.
 *
 * Rows are grouped by all labels but `le`; at each step the buckets that are there
 * make a cumulative histogram. Counters of different buckets are read at slightly different
 * moments, so tiny decreases are ignored and larger ones lifted to the previous count.
 * Invariant: buckets are sorted by bound, bounds are unique after merging.
 */
#include "promql_private.h"

#include "pgvigil/base/str.h"

#define SMALL_DELTA 1e-12

struct bucket {
    double bound, count;
};

struct histogram_row {
    size_t key; /* group of the row; KEY_NONE = no usable `le` */
    double bound;
};

static int compare_buckets(const void *a, const void *b)
{
    const struct bucket *x = a, *y = b;

    return (x->bound > y->bound) - (x->bound < y->bound);
}

static size_t merge_equal_bounds(struct bucket *buckets, size_t n)
{
    size_t kept = 0;

    for (size_t i = 1; i < n; i++) {
        if (buckets[i].bound == buckets[kept].bound)
            buckets[kept].count += buckets[i].count;
        else
            buckets[++kept] = buckets[i];
    }
    return kept + 1;
}

static void make_monotonic(struct bucket *buckets, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        double before = buckets[i - 1].count, now = buckets[i].count;
        double scale = fabs(before) + fabs(now);

        if (now < before || fabs(now - before) < SMALL_DELTA * scale)
            buckets[i].count = before;
    }
}

static double interpolate(const struct bucket *buckets, size_t n, double q)
{
    double rank = q * buckets[n - 1].count, start = 0, count;
    size_t b = 0;

    while (b < n - 1 && !(buckets[b].count >= rank))
        b++;
    if (b == n - 1)
        return buckets[n - 2].bound;
    if (b == 0 && buckets[0].bound <= 0)
        return buckets[0].bound;
    count = buckets[b].count;
    if (b > 0) {
        start = buckets[b - 1].bound;
        count -= buckets[b - 1].count;
        rank -= buckets[b - 1].count;
    }
    return start + (buckets[b].bound - start) * (rank / count);
}

/* Sorted and merged; 0 if they are no histogram with observations. */
static size_t prepare_buckets(struct bucket *buckets, size_t n)
{
    double total;

    qsort(buckets, n, sizeof(*buckets), compare_buckets);
    if (!(isinf(buckets[n - 1].bound) && buckets[n - 1].bound > 0))
        return 0;
    n = merge_equal_bounds(buckets, n);
    make_monotonic(buckets, n);
    total = buckets[n - 1].count;
    return total == 0 || isnan(total) ? 0 : n;
}

static double bucket_quantile(const double *args, struct bucket *buckets, size_t n)
{
    double q = args[0];

    if (isnan(q))
        return NAN;
    if (q < 0 || q > 1)
        return q < 0 ? -INFINITY : INFINITY;
    n = prepare_buckets(buckets, n);
    return n > 1 ? interpolate(buckets, n, q) : NAN;
}

enum edge { EDGE_LOWER, EDGE_UPPER };

/*
 * Observations up to v, linear inside a bucket that has two ends. One that is open to the left
 * gives nothing to a range that cuts it; one open to the right neither.
 */
static double rank_of(const struct bucket *buckets, size_t n, double v, enum edge edge)
{
    double start = buckets[0].bound > 0 ? 0 : -INFINITY, before = 0;
    size_t b = 0;

    for (; b < n && v >= buckets[b].bound; b++) {
        start = buckets[b].bound;
        before = buckets[b].count;
    }
    if (b == n || v <= start || isinf(buckets[b].bound))
        return before;
    if (isinf(start))
        return edge == EDGE_LOWER ? buckets[b].count : before;
    return before + (buckets[b].count - before) * (v - start) / (buckets[b].bound - start);
}

static double bucket_fraction(const double *args, struct bucket *buckets, size_t n)
{
    double lower, upper;

    n = prepare_buckets(buckets, n);
    if (n == 0 || isnan(args[0]) || isnan(args[1]))
        return NAN;
    if (args[0] >= args[1])
        return 0;
    lower = rank_of(buckets, n, args[0], EDGE_LOWER);
    upper = rank_of(buckets, n, args[1], EDGE_UPPER);
    return upper > lower ? (upper - lower) / buckets[n - 1].count : 0;
}

struct histograms {
    struct key_index index;
    struct histogram_row *rows; /* of the input */
    size_t *first, *next;       /* chains of rows by key */
    struct bucket *buckets;     /* room for all rows */
};

static bool group_buckets(struct eval *ev, const struct value *in, struct histograms *h)
{
    static const char *const le[] = {"le"};
    const struct key_spec spec = {.keep_name = true,
                                  .labels = {.names = (const char **)(uintptr_t)le, .n = 1}};

    h->rows = eval_array(ev, in->n, sizeof(*h->rows));
    h->first = eval_array(ev, in->n, sizeof(*h->first));
    h->next = eval_array(ev, in->n, sizeof(*h->next));
    h->buckets = eval_array(ev, in->n, sizeof(*h->buckets));
    if (!h->rows || !h->first || !h->next || !h->buckets ||
        !key_index_init(ev, &h->index, &spec, in->n))
        return false;
    for (size_t r = 0; r < in->n; r++) {
        size_t known = h->index.n;
        struct histogram_row *row = &h->rows[r];

        row->key = KEY_NONE;
        if (!str_parse_double(labels_get_or_empty(&in->rows[r].labels, "le"), &row->bound) ||
            isnan(row->bound))
            continue;
        row->key = key_index_add(&h->index, &in->rows[r].labels);
        h->next[r] = row->key < known ? h->first[row->key] : KEY_NONE;
        h->first[row->key] = r;
    }
    return true;
}

static size_t buckets_at(const struct histograms *h, const struct value *in, size_t key,
                         size_t step)
{
    size_t n = 0;

    for (size_t r = h->first[key]; r != KEY_NONE; r = h->next[r]) {
        if (!is_absent(in->rows[r].v[step]))
            h->buckets[n++] =
                (struct bucket){.bound = h->rows[r].bound, .count = in->rows[r].v[step]};
    }
    return n;
}

/* One result per histogram and step; scalars are the arguments before the vector. */
static bool each_histogram(struct eval *ev, const struct node *node, const struct grid *grid,
                           double (*fn)(const double *args, struct bucket *buckets, size_t n),
                           struct value *out)
{
    size_t scalars = node->call.n - 1;
    struct histograms h;
    struct value in;
    double *rows[2] = {NULL, NULL}, args[2] = {0, 0};

    *out = (struct value){.type = PROMQL_VECTOR};
    for (size_t s = 0; s < scalars; s++)
        if (!eval_scalar(ev, node->call.args[s], grid, &rows[s]))
            return false;
    if (!eval_node(ev, node->call.args[scalars], grid, &in) || !group_buckets(ev, &in, &h))
        return false;
    out->rows = eval_array(ev, h.index.n, sizeof(*out->rows));
    if (!out->rows)
        return false;
    for (size_t key = 0; key < h.index.n; key++) {
        struct row *row = &out->rows[out->n++];

        *row = (struct row){.drop_name = true, .v = eval_row(ev, grid)};
        row->labels = labels_with(ev->arena, &in.rows[h.first[key]].labels, "le", "");
        if (!row->v)
            return false;
        for (size_t i = 0; i < grid->n; i++) {
            size_t n = buckets_at(&h, &in, key, i);

            for (size_t s = 0; s < scalars; s++)
                args[s] = rows[s][i];
            if (n > 0)
                row->v[i] = fn(args, h.buckets, n);
        }
    }
    return true;
}

bool fn_histogram_quantile(struct eval *ev, const struct node *node, const struct grid *grid,
                           struct value *out)
{
    return each_histogram(ev, node, grid, bucket_quantile, out);
}

bool fn_histogram_fraction(struct eval *ev, const struct node *node, const struct grid *grid,
                           struct value *out)
{
    return each_histogram(ev, node, grid, bucket_fraction, out);
}
