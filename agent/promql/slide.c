/*
 * slide.c: all windows of a row at once, each made from the one before.
 *
 * A day of windows of one hour looks at each point sixty times; here it is a few times, whatever
 * the range. Nothing is ever subtracted: a sum from which the leaving point is taken loses digits
 * for good, and Inf - Inf is NaN. Instead
 * - changes and resets are differences of running counts of whole numbers: exact;
 * - min and max keep the points that no later one outdoes: the same value as by itself, also which
 *   of two zeros;
 * - quantile keeps a bit for each point in the order of their values: the same value;
 * - sum, avg, stddev, stdvar, deriv and predict_linear are put together from parts: those of the
 *   older points, for each start, and one that grows with the newer ones. When the older ones have
 *   left, the parts are made anew, so each point is added twice. Errors stay those of compensated
 *   sums: the last digit may differ from the window by itself.
 * A value that could overflow or vanish on the way, Inf and NaN are "wild": parts leave them out,
 * and a window that has one is worked out by itself, in the order of its points.
 */
#include "promql_private.h"

#define INLINE inline __attribute__((always_inline))

/* Not zeroed when it is used again; NULL over a limit. */
static void *take_room(struct windows *w, size_t which, size_t count, size_t size)
{
    struct slide_room *room = &w->rooms[which];

    if (count * size > room->bytes) {
        /* Rows that get longer and longer must not use the square of it. */
        room->bytes = count * size > 2 * room->bytes ? count * size : 2 * room->bytes;
        room->p = eval_array(w->ev, room->bytes, 1);
    }
    return room->p;
}

/* ---- parts ---- */

/* What is known of some points: their values, and their covariance with the time. */
struct part {
    struct running y;
    double x; /* mean */
    double xx, xy;
};

struct part_kind {
    double least, most; /* wild outside, 0 is not */
    void (*add)(struct part *p, double x, double y);
    void (*join)(struct part *p, const struct part *later);
    /* x_at: of the evaluation time; arg: the function's own argument */
    double (*result)(const struct part *p, double x_at, double arg);
};

static INLINE void sum_add(struct part *p, double x, double y)
{
    (void)x;
    p->y.n++;
    kahan_add(y, &p->y.sum, &p->y.carry);
}

static INLINE void sum_join(struct part *p, const struct part *later)
{
    p->y.n += later->y.n;
    kahan_add(later->y.sum, &p->y.sum, &p->y.carry);
    p->y.carry += later->y.carry;
}

static INLINE double sum_result(const struct part *p, double x_at, double arg)
{
    (void)x_at;
    (void)arg;
    return p->y.sum + p->y.carry;
}

static INLINE double avg_result(const struct part *p, double x_at, double arg)
{
    (void)x_at;
    (void)arg;
    return p->y.sum / p->y.n + p->y.carry / p->y.n;
}

static INLINE void variance_add(struct part *p, double x, double y)
{
    (void)x;
    running_variance(&p->y, y);
}

/* By how much the mean of the later points is above, and the weight of its square. */
static INLINE double mean_above(const struct part *p, const struct part *later)
{
    return (later->y.mean - p->y.mean) + (later->y.mean_carry - p->y.mean_carry);
}

static INLINE void variance_join(struct part *p, const struct part *later)
{
    double n = p->y.n + later->y.n, above = mean_above(p, later);

    if (later->y.n == 0)
        return;
    kahan_add(later->y.sum, &p->y.sum, &p->y.carry);
    p->y.carry += later->y.carry;
    kahan_add(above * above * (p->y.n * later->y.n / n), &p->y.sum, &p->y.carry);
    kahan_add(above * (later->y.n / n), &p->y.mean, &p->y.mean_carry);
    p->y.n = n;
}

static INLINE double stdvar_result(const struct part *p, double x_at, double arg)
{
    (void)x_at;
    (void)arg;
    return running_variance_result(&p->y);
}

static INLINE double stddev_result(const struct part *p, double x_at, double arg)
{
    return sqrt(stdvar_result(p, x_at, arg));
}

/* As Welford's: products of what is left beside the means, so that large values cancel early. */
static INLINE void line_add(struct part *p, double x, double y)
{
    double dx = x - p->x, dy = y - (p->y.mean + p->y.mean_carry);

    p->y.n++;
    p->x += dx / p->y.n;
    kahan_add(dy / p->y.n, &p->y.mean, &p->y.mean_carry);
    p->xx += dx * (x - p->x);
    p->xy += dx * (y - (p->y.mean + p->y.mean_carry));
}

static INLINE void line_join(struct part *p, const struct part *later)
{
    double n = p->y.n + later->y.n, dx = later->x - p->x, dy = mean_above(p, later), weight;

    if (later->y.n == 0)
        return;
    weight = p->y.n * later->y.n / n;
    p->xx += later->xx + dx * dx * weight;
    p->xy += later->xy + dx * dy * weight;
    p->x += dx * (later->y.n / n);
    kahan_add(dy * (later->y.n / n), &p->y.mean, &p->y.mean_carry);
    p->y.n = n;
}

static INLINE double deriv_result(const struct part *p, double x_at, double arg)
{
    (void)x_at;
    (void)arg;
    return p->y.n < 2 ? absent() : p->xy / p->xx;
}

static INLINE double predict_result(const struct part *p, double x_at, double arg)
{
    double slope = p->xy / p->xx;

    if (p->y.n < 2)
        return absent();
    return slope * arg + (p->y.mean + p->y.mean_carry + slope * (x_at - p->x));
}

/* Points [low, high): parts of all [i, mid) with base <= i < mid, and of [mid, high). */
struct part_queue {
    struct part *from; /* by i - base */
    struct part back;
    uint32_t low, high, base, mid;
    size_t wild;
};

static INLINE bool is_wild(const struct part_kind *kind, double v)
{
    double size = fabs(v);

    return !(size < kind->most && (size > kind->least || v == 0));
}

static INLINE void part_add(const struct part_kind *kind, const struct windows *w,
                            const struct part_queue *q, uint32_t i, struct part *part)
{
    const struct point *p = &w->points[i];

    if (!is_wild(kind, p->v))
        kind->add(part, (double)(p->t - w->points[q->base].t) / 1000, p->v);
}

/* All parts anew, from the last point to the first. */
static INLINE void queue_rebuild(const struct part_kind *kind, const struct windows *w,
                                 struct part_queue *q, struct span span)
{
    struct part part = {.x = 0};

    q->base = span.low;
    q->mid = span.high;
    for (uint32_t i = span.high; i > span.low; i--) {
        part_add(kind, w, q, i - 1, &part);
        q->from[i - 1 - span.low] = part;
    }
    q->back = (struct part){.x = 0};
}

static INLINE void queue_advance(const struct part_kind *kind, const struct windows *w,
                                 struct part_queue *q, struct span span)
{
    uint32_t left = span.low < q->high ? span.low : q->high;
    uint32_t fresh = span.low > q->high ? span.low : q->high;

    for (uint32_t i = q->low; i < left; i++)
        q->wild -= is_wild(kind, w->points[i].v);
    for (uint32_t i = fresh; i < span.high; i++)
        q->wild += is_wild(kind, w->points[i].v);
    if (span.low >= q->mid) {
        queue_rebuild(kind, w, q, span);
    } else {
        for (uint32_t i = fresh; i < span.high; i++)
            part_add(kind, w, q, i, &q->back);
    }
    q->low = span.low;
    q->high = span.high;
}

static INLINE double queue_result(const struct part_kind *kind, const struct windows *w,
                                  const struct part_queue *q, size_t step)
{
    struct part all = q->back;
    double x_at = (double)(grid_time(w->grid, step) - w->points[q->base].t) / 1000;

    if (q->low < q->mid) {
        all = q->from[q->low - q->base];
        kind->join(&all, &q->back);
    }
    return kind->result(&all, x_at, w->args.n > 0 ? w->args.rows[0][step] : 0);
}

/* Inline with a kind that is known, or the calls for each point cost more than the sums. */
static INLINE bool slide_parts(const struct part_kind *kind, struct windows *w, double *v)
{
    struct part_queue q = {.low = 0};

    q.from = take_room(w, 0, w->longest, sizeof(*q.from));
    if (!q.from)
        return false;
    for (size_t i = 0; i < w->grid->n; i++) {
        struct span span = w->spans[i];

        queue_advance(kind, w, &q, span);
        if (span.low == span.high)
            continue;
        v[i] = q.wild > 0 ? windows_plain(w, i) : queue_result(kind, w, &q, i);
        if (q.wild > 0 && !windows_visit(w, span.high - span.low))
            return false;
    }
    return true;
}

/* With them no sum of 2^32 values overflows, and no square of one vanishes. */
#define SUM_MOST     1e290
#define SQUARE_LEAST 1e-140
#define SQUARE_MOST  1e140

static bool slide_sum(struct windows *w, double *v)
{
    static const struct part_kind kind = {-1, SUM_MOST, sum_add, sum_join, sum_result};

    return slide_parts(&kind, w, v);
}

static bool slide_avg(struct windows *w, double *v)
{
    static const struct part_kind kind = {-1, SUM_MOST, sum_add, sum_join, avg_result};

    return slide_parts(&kind, w, v);
}

static bool slide_stdvar(struct windows *w, double *v)
{
    static const struct part_kind kind = {SQUARE_LEAST, SQUARE_MOST, variance_add, variance_join,
                                          stdvar_result};

    return slide_parts(&kind, w, v);
}

static bool slide_stddev(struct windows *w, double *v)
{
    static const struct part_kind kind = {SQUARE_LEAST, SQUARE_MOST, variance_add, variance_join,
                                          stddev_result};

    return slide_parts(&kind, w, v);
}

static bool slide_deriv(struct windows *w, double *v)
{
    static const struct part_kind kind = {SQUARE_LEAST, SQUARE_MOST, line_add, line_join,
                                          deriv_result};

    return slide_parts(&kind, w, v);
}

static bool slide_predict(struct windows *w, double *v)
{
    static const struct part_kind kind = {SQUARE_LEAST, SQUARE_MOST, line_add, line_join,
                                          predict_result};

    return slide_parts(&kind, w, v);
}

/* ---- counts ---- */

static INLINE bool slide_counts(bool (*counts)(double before, double v), struct windows *w,
                                double *v)
{
    uint32_t *upto = take_room(w, 0, w->n, sizeof(*upto)); /* how many at points 1 .. i */

    if (!upto)
        return false;
    upto[0] = 0;
    for (size_t i = 1; i < w->n; i++)
        upto[i] = upto[i - 1] + counts(w->points[i - 1].v, w->points[i].v);
    for (size_t i = 0; i < w->grid->n; i++)
        if (w->spans[i].low < w->spans[i].high)
            v[i] = upto[w->spans[i].high - 1] - upto[w->spans[i].low];
    return true;
}

static bool slide_changes(struct windows *w, double *v)
{
    return slide_counts(is_change, w, v);
}

static bool slide_resets(struct windows *w, double *v)
{
    return slide_counts(is_reset, w, v);
}

/* ---- min, max ---- */

static INLINE bool is_below(double a, double b)
{
    return a < b;
}

static INLINE bool is_above(double a, double b)
{
    return a > b;
}

/*
 * The candidates are in the order of their times, each outdone by none behind it, so the first is
 * the result. Of equal ones the oldest stays in front: it is the one that a loop would find. NaN is
 * never one, and the result where there is none.
 */
static INLINE bool slide_extreme(bool (*beats)(double a, double b), struct windows *w, double *v)
{
    uint32_t *candidates = take_room(w, 0, w->n, sizeof(*candidates));
    const struct point *points = w->points;
    size_t first = 0, end = 0, next = 0;

    if (!candidates)
        return false;
    for (size_t i = 0; i < w->grid->n; i++) {
        struct span span = w->spans[i];

        for (next = next > span.low ? next : span.low; next < span.high; next++) {
            if (isnan(points[next].v))
                continue;
            while (end > first && beats(points[next].v, points[candidates[end - 1]].v))
                end--;
            candidates[end++] = (uint32_t)next;
        }
        while (first < end && candidates[first] < span.low)
            first++;
        if (span.low < span.high)
            v[i] = points[first < end ? candidates[first] : span.high - 1].v;
    }
    return true;
}

static bool slide_min(struct windows *w, double *v)
{
    return slide_extreme(is_below, w, v);
}

static bool slide_max(struct windows *w, double *v)
{
    return slide_extreme(is_above, w, v);
}

/* ---- quantile ---- */

struct keyed {
    uint64_t key; /* in the order of the values */
    uint32_t i;
};

/* NaN is the smallest, the zeros are equal. */
static uint64_t key_of(double v)
{
    const uint64_t sign = UINT64_C(1) << 63;
    uint64_t bits;

    if (isnan(v))
        return 0;
    v = v == 0 ? 0 : v;
    memcpy(&bits, &v, sizeof(bits));
    return bits & sign ? ~bits : bits | sign;
}

#define DIGIT_BITS 11
#define DIGITS     ((size_t)1 << DIGIT_BITS)

static size_t digit_of(uint64_t key, unsigned shift)
{
    return (size_t)(key >> shift) & (DIGITS - 1);
}

/* Sorts by one digit from a to b, keeping the order of equal ones; false if all are equal. */
static bool sort_by_digit(const struct keyed *a, struct keyed *b, size_t n, unsigned shift)
{
    uint32_t at[DIGITS] = {0}, sum = 0;

    for (size_t i = 0; i < n; i++)
        at[digit_of(a[i].key, shift)]++;
    if (at[digit_of(a[0].key, shift)] == n)
        return false;
    for (size_t d = 0; d < DIGITS; d++) {
        uint32_t count = at[d];

        at[d] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++)
        b[at[digit_of(a[i].key, shift)]++] = a[i];
    return true;
}

/* The points of a row by value, and a bit for each that is in the window. */
struct ranking {
    const struct keyed *sorted;
    uint32_t *rank;   /* by point */
    uint64_t *words;  /* bits by rank */
    uint32_t *blocks; /* how many bits are set in each BLOCK_WORDS words */
};
#define BLOCK_WORDS ((size_t)64)
#define BLOCK_RANKS (64 * BLOCK_WORDS)

static bool ranking_init(struct ranking *r, struct windows *w)
{
    size_t words = w->n / 64 + 1, blocks = w->n / BLOCK_RANKS + 1;
    struct keyed *a = take_room(w, 0, w->n, sizeof(*a)), *b = take_room(w, 1, w->n, sizeof(*b));

    r->rank = take_room(w, 2, w->n, sizeof(*r->rank));
    r->words = take_room(w, 3, words, sizeof(*r->words));
    r->blocks = take_room(w, 4, blocks, sizeof(*r->blocks));
    if (!a || !b || !r->rank || !r->words || !r->blocks)
        return false;
    memset(r->words, 0, words * sizeof(*r->words));
    memset(r->blocks, 0, blocks * sizeof(*r->blocks));
    for (size_t i = 0; i < w->n; i++)
        a[i] = (struct keyed){.key = key_of(w->points[i].v), .i = (uint32_t)i};
    for (unsigned shift = 0; shift < 64; shift += DIGIT_BITS) {
        struct keyed *from = a;

        if (!sort_by_digit(a, b, w->n, shift))
            continue;
        a = b;
        b = from;
    }
    for (size_t k = 0; k < w->n; k++)
        r->rank[a[k].i] = (uint32_t)k;
    r->sorted = a;
    return true;
}

static void ranking_put(struct ranking *r, size_t i)
{
    uint32_t rank = r->rank[i];

    r->words[rank / 64] |= UINT64_C(1) << rank % 64;
    r->blocks[rank / BLOCK_RANKS]++;
}

static void ranking_take(struct ranking *r, size_t i)
{
    uint32_t rank = r->rank[i];

    r->words[rank / 64] &= ~(UINT64_C(1) << rank % 64);
    r->blocks[rank / BLOCK_RANKS]--;
}

/* The k-th value of the window, from 0; there is one. */
static double ranking_value(const struct ranking *r, const struct windows *w, size_t k)
{
    size_t block = 0, word, count;
    uint64_t bits;

    for (; k >= r->blocks[block]; block++)
        k -= r->blocks[block];
    for (word = block * BLOCK_WORDS;; word++) {
        count = (size_t)__builtin_popcountll(r->words[word]);
        if (k < count)
            break;
        k -= count;
    }
    for (bits = r->words[word]; k > 0; k--)
        bits &= bits - 1;
    return w->points[r->sorted[64 * word + (size_t)__builtin_ctzll(bits)].i].v;
}

static double ranking_quantile(const struct ranking *r, const struct windows *w, size_t n, double q)
{
    struct quantile_place place = quantile_place(q, n);

    return quantile_between(&place, ranking_value(r, w, place.low),
                            ranking_value(r, w, place.high));
}

static bool slide_quantile(struct windows *w, double *v)
{
    struct ranking r;
    size_t low = 0, high = 0;

    if (!ranking_init(&r, w))
        return false;
    for (size_t i = 0; i < w->grid->n; i++) {
        struct span span = w->spans[i];
        double q = w->args.rows[0][i];

        for (; low < span.low && low < high; low++)
            ranking_take(&r, low);
        low = span.low;
        for (high = high > low ? high : low; high < span.high; high++)
            ranking_put(&r, high);
        if (low == high)
            continue;
        v[i] = q >= 0 && q <= 1 ? ranking_quantile(&r, w, high - low, q) : windows_plain(w, i);
    }
    return true;
}

/* ---- choice ---- */

struct slide {
    double (*range)(const struct window *w);
    bool (*run)(struct windows *w, double *v);
    /* How often a window by itself looks at a point in the time that sliding takes for it: measured
     * with a day of points at 5 s, and rounded up. */
    size_t pays_from;
};

static const struct slide slides[] = {
    {range_sum, slide_sum, 8},           {range_avg, slide_avg, 8},
    {range_stdvar, slide_stdvar, 4},     {range_stddev, slide_stddev, 4},
    {range_deriv, slide_deriv, 8},       {range_predict_linear, slide_predict, 8},
    {range_changes, slide_changes, 2},   {range_resets, slide_resets, 4},
    {range_min, slide_min, 2},           {range_max, slide_max, 2},
    {range_quantile, slide_quantile, 2},
};

enum slid slide_windows(struct windows *w, double *v)
{
    for (size_t i = 0; i < ARRAY_LEN(slides); i++) {
        if (slides[i].range != w->range)
            continue;
        if (w->visits < slides[i].pays_from * w->n)
            return SLIDE_NO;
        return slides[i].run(w, v) ? SLIDE_DONE : SLIDE_FAILED;
    }
    return SLIDE_NO;
}
