/*
 * histogram.c: histogram_quantile and histogram_fraction over the classic `_bucket` series.
 *
 * Rows are grouped by all labels but `le`; at each step the buckets that are there
 * make a cumulative histogram. Counters of different buckets are read at slightly different
 * moments, so tiny decreases are ignored and larger ones lifted to the previous count.
 * Invariant: buckets are sorted by bound, bounds are unique after merging.
 */
#include "promql_private.h"

#include "pgvigil/base/clock.h"
#include "pgvigil/base/str.h"

#define SMALL_DELTA     1e-12
#define NAME_SUFFIX_MAX 256
#define CLOCK_TEXT_MAX  64

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

/* What was lifted in the buckets of one name, over all steps; see note_fixes. */
struct fixes {
    size_t row; /* the first row of the histogram */
    size_t count;
    double low, high, most; /* bounds of the buckets, largest difference */
    int64_t first, last;
};

static void make_monotonic(struct bucket *buckets, size_t n, struct fixes *fixes)
{
    double low = 0, high = 0, most = 0;

    for (size_t i = 1; i < n; i++) {
        double before = buckets[i - 1].count, now = buckets[i].count;
        double scale = fabs(before) + fabs(now), lost = before - now;

        if (now < before && fabs(lost) >= SMALL_DELTA * scale) {
            low = most > 0 ? low : buckets[i].bound;
            high = buckets[i].bound;
            most = fmax(most, lost);
        }
        if (now < before || fabs(lost) < SMALL_DELTA * scale)
            buckets[i].count = before;
    }
    if (most == 0)
        return;
    fixes->low = fixes->count > 0 ? fmin(fixes->low, low) : low;
    fixes->high = fixes->count > 0 ? fmax(fixes->high, high) : high;
    fixes->most = fmax(fixes->most, most);
    fixes->count++;
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

/*
 * Sorted and merged; 0 if they are no histogram with observations. Fractions take the counts as
 * they are, as in Prometheus: fixes is NULL then.
 */
static size_t prepare_buckets(struct bucket *buckets, size_t n, struct fixes *fixes)
{
    double total;

    qsort(buckets, n, sizeof(*buckets), compare_buckets);
    if (!(isinf(buckets[n - 1].bound) && buckets[n - 1].bound > 0))
        return 0;
    n = merge_equal_bounds(buckets, n);
    if (fixes)
        make_monotonic(buckets, n, fixes);
    total = buckets[n - 1].count;
    return total == 0 || isnan(total) ? 0 : n;
}

static double bucket_quantile(const double *args, struct bucket *buckets, size_t n,
                              struct fixes *fixes)
{
    double q = args[0];

    if (isnan(q))
        return NAN;
    if (q < 0 || q > 1)
        return q < 0 ? -INFINITY : INFINITY;
    n = prepare_buckets(buckets, n, fixes);
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

static double bucket_fraction(const double *args, struct bucket *buckets, size_t n,
                              struct fixes *fixes)
{
    double lower, upper;

    (void)fixes;
    n = prepare_buckets(buckets, n, NULL);
    if (n == 0 || isnan(args[0]) || isnan(args[1]))
        return NAN;
    if (args[0] >= args[1])
        return 0;
    lower = rank_of(buckets, n, args[0], EDGE_LOWER);
    upper = rank_of(buckets, n, args[1], EDGE_UPPER);
    return upper > lower ? (upper - lower) / buckets[n - 1].count : 0;
}

typedef double bucket_fn(const double *args, struct bucket *buckets, size_t n, struct fixes *fixes);

/* One call of histogram_quantile or histogram_fraction. */
struct histograms {
    struct eval *ev;
    const struct grid *grid;
    bucket_fn *fn;
    size_t pos; /* of the vector argument, for annotations */
    struct value in;
    size_t scalars; /* the arguments before the vector */
    double *args[2];
    struct key_index index;
    struct histogram_row *rows; /* of the input */
    size_t *first, *next;       /* chains of rows by key */
    struct bucket *buckets;     /* room for all rows */
    struct fixes fixes;         /* of the rows with one name, one after the other */
};

static const char *name_of(const struct histograms *h, size_t row)
{
    return labels_get_or_empty(&h->in.rows[row].labels, LABEL_METRIC);
}

/* `for metric name "x"` behind the text of an annotation, if there is a name. */
static const char *name_suffix(const char *name, char out[NAME_SUFFIX_MAX])
{
    char quoted[NAME_SUFFIX_MAX - 32];

    *out = '\0';
    if (*name)
        snprintf(out, NAME_SUFFIX_MAX, " for metric name %s",
                 go_quote(name, quoted, sizeof(quoted)));
    return out;
}

static bool bound_of(struct histograms *h, size_t r)
{
    const char *le = labels_get_or_empty(&h->in.rows[r].labels, "le");
    char quoted[NAME_SUFFIX_MAX], suffix[NAME_SUFFIX_MAX];

    if (str_parse_double(le, &h->rows[r].bound) && !isnan(h->rows[r].bound))
        return true;
    eval_note(h->ev, true, h->pos,
              "bucket label \"le\" is missing or has a malformed value of %s%s",
              go_quote(le, quoted, sizeof(quoted)), name_suffix(name_of(h, r), suffix));
    return false;
}

static bool group_buckets(struct histograms *h)
{
    static const char *const le[] = {"le"};
    const struct key_spec spec = {.keep_name = true,
                                  .labels = {.names = (const char **)(uintptr_t)le, .n = 1}};
    size_t n = h->in.n;

    h->rows = eval_array(h->ev, n, sizeof(*h->rows));
    h->first = eval_array(h->ev, n, sizeof(*h->first));
    h->next = eval_array(h->ev, n, sizeof(*h->next));
    h->buckets = eval_array(h->ev, n, sizeof(*h->buckets));
    if (!h->rows || !h->first || !h->next || !h->buckets ||
        !key_index_init(h->ev, &h->index, &spec, n))
        return false;
    for (size_t r = 0; r < n; r++) {
        size_t known = h->index.n;
        struct histogram_row *row = &h->rows[r];

        row->key = KEY_NONE;
        if (!bound_of(h, r))
            continue;
        row->key = key_index_add(&h->index, &h->in.rows[r].labels);
        h->next[r] = row->key < known ? h->first[row->key] : KEY_NONE;
        h->first[row->key] = r;
    }
    return true;
}

static size_t buckets_at(const struct histograms *h, size_t key, size_t step)
{
    size_t n = 0;

    for (size_t r = h->first[key]; r != KEY_NONE; r = h->next[r]) {
        if (!is_absent(h->in.rows[r].v[step]))
            h->buckets[n++] =
                (struct bucket){.bound = h->rows[r].bound, .count = h->in.rows[r].v[step]};
    }
    return n;
}

/* Time in seconds as RFC 3339 with the milliseconds that there are. */
static const char *time_text(int64_t ms, char out[CLOCK_TEXT_MAX])
{
    struct utc_time t = clock_utc(ms >= 0 || ms % 1000 == 0 ? ms / 1000 : ms / 1000 - 1);
    int part = (int)((ms % 1000 + 1000) % 1000);
    int n = snprintf(out, CLOCK_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d", (int)t.year, t.month,
                     t.day, t.hour, t.minute, t.second);

    if (part > 0) {
        n += snprintf(out + n, CLOCK_TEXT_MAX - (size_t)n, ".%03d", part);
        while (out[n - 1] == '0')
            n--;
    }
    snprintf(out + n, CLOCK_TEXT_MAX - (size_t)n, "Z");
    return out;
}

/* One annotation for all that was lifted under one name. */
static void note_fixes(struct histograms *h)
{
    const struct fixes *f = &h->fixes;
    char suffix[NAME_SUFFIX_MAX], low[GO_FLOAT_MAX], high[GO_FLOAT_MAX];
    char first[CLOCK_TEXT_MAX], last[CLOCK_TEXT_MAX];

    if (f->count == 0)
        return;
    eval_note(h->ev, false, h->pos,
              "input to histogram_quantile needed to be fixed for monotonicity (see "
              "https://prometheus.io/docs/prometheus/latest/querying/functions/"
              "#histogram_quantile)%s, from buckets %s to %s, with a max diff of %.2g, over %zu "
              "samples from %s to %s",
              name_suffix(name_of(h, f->row), suffix), go_float(f->low, low),
              go_float(f->high, high), f->most, f->count, time_text(f->first, first),
              time_text(f->last, last));
}

static void run_histogram(struct histograms *h, size_t key, double *v)
{
    double args[2] = {0, 0};

    for (size_t i = 0; i < h->grid->n; i++) {
        size_t n = buckets_at(h, key, i), fixed = h->fixes.count;
        int64_t t = grid_time(h->grid, i);

        for (size_t s = 0; s < h->scalars; s++)
            args[s] = h->args[s][i];
        if (n > 0)
            v[i] = h->fn(args, h->buckets, n, &h->fixes);
        if (h->fixes.count > fixed) {
            h->fixes.first = fixed == 0 || t < h->fixes.first ? t : h->fixes.first;
            h->fixes.last = fixed == 0 || t > h->fixes.last ? t : h->fixes.last;
        }
    }
}

static bool run_histograms(struct histograms *h, struct value *out)
{
    out->rows = eval_array(h->ev, h->index.n, sizeof(*out->rows));
    if (!out->rows)
        return false;
    for (size_t key = 0; key < h->index.n; key++) {
        struct row *row = &out->rows[out->n++];
        size_t first = h->first[key];

        *row = (struct row){.drop_name = true, .v = eval_row(h->ev, h->grid)};
        row->labels = labels_with(h->ev->arena, &h->in.rows[first].labels, "le", "");
        if (!row->v)
            return false;
        if (h->fixes.count > 0 && !str_eq(name_of(h, h->fixes.row), name_of(h, first))) {
            note_fixes(h);
            h->fixes.count = 0;
        }
        h->fixes.row = h->fixes.count > 0 ? h->fixes.row : first;
        run_histogram(h, key, row->v);
    }
    note_fixes(h);
    return true;
}

/* One result per histogram and step; scalars are the arguments before the vector. */
static bool eval_histograms(struct eval *ev, const struct node *node, const struct grid *grid,
                            bucket_fn *fn, struct value *out)
{
    struct histograms h = {.ev = ev, .grid = grid, .fn = fn, .scalars = node->call.n - 1};
    const struct node *vector = node->call.args[h.scalars];

    *out = (struct value){.type = PROMQL_VECTOR};
    h.pos = vector->pos;
    for (size_t s = 0; s < h.scalars; s++)
        if (!eval_scalar(ev, node->call.args[s], grid, &h.args[s]))
            return false;
    if (!eval_node(ev, vector, grid, &h.in))
        return false;
    for (size_t i = 0; fn == bucket_quantile && i < grid->n; i++)
        note_quantile(ev, node->call.args[0]->pos, h.args[0][i]);
    return group_buckets(&h) && run_histograms(&h, out);
}

bool fn_histogram_quantile(struct eval *ev, const struct node *node, const struct grid *grid,
                           struct value *out)
{
    return eval_histograms(ev, node, grid, bucket_quantile, out);
}

bool fn_histogram_fraction(struct eval *ev, const struct node *node, const struct grid *grid,
                           struct value *out)
{
    return eval_histograms(ev, node, grid, bucket_fraction, out);
}
