/*
 * head_read.c: selecting from the head while the engine appends.
 *
 * Why so: matching and copying labels needs no lock, because a struct series is immutable and
 * counted. So a select takes references under the lock (by name: only that name's series), matches
 * outside, and takes the lock again to copy points, letting go of it every READ_BURST points so
 * that a long range query never holds up the engine for more than some hundred microseconds.
 * Invariant: every reference taken is given back on every path.
 */
#include "head_parts.h"

#define READ_BURST 32768

struct candidates {
    struct series **v;
    size_t n;
};

static void take_name(const struct head *head, const char *name, struct arena *arena,
                      struct candidates *c)
{
    const struct head_name *found = head_find_name(head, name);
    size_t n = 0;

    if (found == NULL)
        return;
    for (const struct head_series *s = found->first; s != NULL; s = s->next_by_name)
        n++;
    c->v = arena_alloc_array(arena, n, sizeof(struct series *));
    for (const struct head_series *s = found->first; s != NULL; s = s->next_by_name)
        c->v[c->n++] = series_ref(s->series);
}

static void take_all(const struct head *head, struct arena *arena, struct candidates *c)
{
    c->v = arena_alloc_array(arena, head->stats.series, sizeof(struct series *));
    for (size_t i = 0; i < head->slots; i++) {
        for (const struct head_series *s = head->by_id[i]; s != NULL; s = s->next_by_id)
            c->v[c->n++] = series_ref(s->series);
    }
}

static struct candidates take_candidates(struct head *head, const struct read_request *req,
                                         struct arena *arena)
{
    struct candidates c = {0};
    const char *name = matchers_metric(req->matchers, req->matcher_count);

    pthread_mutex_lock(&head->lock);
    if (name != NULL)
        take_name(head, name, arena, &c);
    else
        take_all(head, arena, &c);
    pthread_mutex_unlock(&head->lock);
    return c;
}

static void give_back(struct candidates *c)
{
    for (size_t i = 0; i < c->n; i++)
        series_unref(c->v[i]);
}

/* Keeps those that match, in place, and gives the others back. */
static bool keep_matching(const struct read_request *req, struct candidates *c, struct err *err)
{
    size_t kept = 0;
    bool ok = true, match = false;

    for (size_t i = 0; i < c->n; i++) {
        struct series *s = c->v[i];
        ok = ok && read_goes_on(req, i, err) &&
             matchers_match(req->matchers, req->matcher_count, req->regex_match, &s->labels, &match,
                            err);
        if (ok && match)
            c->v[kept++] = s;
        else
            series_unref(s);
    }
    c->n = kept;
    return ok;
}

/* How many chunks begin at t or before: halving looks at few of them, the others stay out of cache.
 */
static uint32_t chunks_from(const struct head_series *s, int64_t t)
{
    uint32_t low = 0, high = s->count;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (s->chunks[mid]->t_first <= t)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The newest point in the range; almost always the newest of all, which needs no decoding. */
static size_t copy_last(const struct head_series *s, const struct read_request *req,
                        struct arena *arena, struct point **out)
{
    struct point points[CHUNK_POINTS];
    struct point last = {s->tail.t, s->tail.v};

    if (last.t > req->t_max) {
        uint32_t i = chunks_from(s, req->t_max);
        if (i == 0)
            return 0;
        chunk_decode(s->chunks[i - 1], points);
        size_t n = s->chunks[i - 1]->n;
        while (points[n - 1].t > req->t_max)
            n--;
        last = points[n - 1];
    }
    if (last.t <= req->t_min)
        return 0;
    *out = arena_alloc(arena, sizeof(**out));
    **out = last;
    return 1;
}

/* ---- ranges ---- */

/* Points on their way to the reader; of those up to `edge` the newest counts. */
struct copying {
    const struct read_request *req;
    struct point *out;
    size_t n;
    int64_t edge; /* nothing is copied: none yet */
    /* Here and not where it is used: the compiler zeroes locals. */
    struct point decoded[2][CHUNK_POINTS];
};

/* The first time of the request's grid that is not before t. */
static int64_t grid_edge(const struct read_request *req, int64_t t)
{
    int64_t past = t - req->grid_start, step = req->step_ms;

    return past <= 0 ? req->grid_start : req->grid_start + (past + step - 1) / step * step;
}

/* Would the point at `next` hide everything that is not before t? */
static bool is_hidden(const struct read_request *req, int64_t t, int64_t next)
{
    return req->step_ms > 0 && next <= req->t_max && next <= grid_edge(req, t);
}

/* The last of the points that are not behind the edge; `run` of them were so at the edge before. */
static size_t last_before(const struct point *points, size_t n, int64_t edge, size_t run)
{
    size_t i = run > 0 && run <= n && points[run - 1].t <= edge ? run - 1 : 0;

    while (i + 1 < n && points[i + 1].t <= edge)
        i++;
    return i;
}

/* The newest point of the edge is wanted; mostly it is the next one, which needs no division. */
static void next_edge(struct copying *to, int64_t t)
{
    int64_t next = to->edge + to->req->step_ms;

    to->edge = to->n > 0 && t <= next ? next : grid_edge(to->req, t);
    to->n++;
}

static void copy_thinned(struct copying *to, const struct point *points, size_t n)
{
    size_t i = 0, run = 0;

    while (i < n) {
        if (points[i].t > to->edge || to->n == 0)
            next_edge(to, points[i].t);
        run = last_before(points + i, n - i, to->edge, run);
        i += run++;
        to->out[to->n - 1] = points[i++];
    }
}

/* The points of a chunk that are in the range; only its first and last chunk have others. */
static void copy_chunk(struct copying *to, const struct point *points, size_t n)
{
    const struct read_request *req = to->req;
    size_t from = 0;

    while (from < n && points[from].t <= req->t_min)
        from++;
    while (n > from && points[n - 1].t > req->t_max)
        n--;
    if (req->step_ms > 0) {
        copy_thinned(to, points + from, n - from);
    } else if (n > from) {
        memcpy(to->out + to->n, points + from, (n - from) * sizeof(*points));
        to->n += n - from;
    }
}

/* How many points can be left of so many chunks: with a grid one for each edge, and one behind. */
static size_t most_points(const struct read_request *req, uint32_t chunks)
{
    size_t most = (size_t)chunks * CHUNK_POINTS;
    int64_t steps;

    if (req->step_ms <= 0)
        return most;
    steps = (req->t_max - req->t_min) / req->step_ms + 2;
    return steps < (int64_t)most ? (size_t)steps : most;
}

#define CACHE_LINE 64

/*
 * A day of a series is some hundred chunks all over the memory. Without asking for them early a
 * query waits for memory half of its time: the bytes of the next two while two are decoded, and
 * the heads of those behind them, which say how many they are.
 */
static void prefetch(const struct head_series *s, uint32_t c, uint32_t end)
{
    for (uint32_t i = c; i < c + 2 && i < end; i++)
        for (size_t at = 0; at < s->chunks[i]->used; at += CACHE_LINE)
            __builtin_prefetch(s->chunks[i]->data + at);
    for (uint32_t i = c + 2; i < c + 4 && i < end; i++)
        __builtin_prefetch(s->chunks[i]);
}

/* The next chunk from *c on that is wanted, or NULL; *c is the one behind it. */
static const struct chunk *next_chunk(const struct head_series *s, const struct read_request *req,
                                      uint32_t *c, uint32_t end)
{
    while (*c + 1 < end && is_hidden(req, s->chunks[*c]->t_first, s->chunks[*c + 1]->t_first))
        (*c)++;
    return *c < end ? s->chunks[(*c)++] : NULL;
}

static void copy_chunks(const struct head_series *s, uint32_t c, uint32_t end, struct copying *to)
{
    const struct chunk *a, *b;

    while ((a = next_chunk(s, to->req, &c, end)) != NULL) {
        b = next_chunk(s, to->req, &c, end);
        prefetch(s, c, end);
        if (b == NULL)
            chunk_decode(a, to->decoded[0]);
        else
            chunk_decode_two(a, b, to->decoded[0], to->decoded[1]);
        copy_chunk(to, to->decoded[0], a->n);
        if (b != NULL)
            copy_chunk(to, to->decoded[1], b->n);
    }
}

/* Returns how many points were looked at. */
static size_t copy_range(const struct head_series *s, const struct read_request *req,
                         struct arena *arena, struct read_series *out)
{
    struct copying to = {.req = req};
    uint32_t first = chunks_from(s, req->t_min), end = chunks_from(s, req->t_max);

    if (first > 0 && s->chunks[first - 1]->t_last > req->t_min)
        first--;
    if (first >= end)
        return 0;
    out->points = to.out = arena_alloc_array(arena, most_points(req, end - first), sizeof(*to.out));
    copy_chunks(s, first, end, &to);
    out->n = to.n;
    return (size_t)(end - first) * CHUNK_POINTS;
}

static bool within_limits(const struct read_request *req, const struct arena *arena, size_t points,
                          struct err *err)
{
    if (points > req->max_points)
        return err_set(err, ERR_LIMIT, "the query reads more than %zu points", req->max_points);
    if (arena_exceeded(arena))
        return err_set(err, ERR_LIMIT, "the query needs more memory than it may use");
    return true;
}

/* Returns how many points were looked at: that is what takes time. */
static size_t copy_points(const struct head *head, const struct series *series,
                          const struct read_request *req, struct arena *arena,
                          struct read_series *out)
{
    const struct head_series *s = head_find(head, series->id);

    out->n = 0;
    if (s == NULL)
        return 0; /* trimmed since the references were taken */
    if (!req->last_only)
        return copy_range(s, req, arena, out);
    out->n = copy_last(s, req, arena, &out->points);
    return 1;
}

static bool read_points(struct head *head, const struct read_request *req,
                        const struct candidates *c, struct arena *arena, struct read_result *out,
                        struct err *err)
{
    size_t total = 0, burst = 0;
    bool ok = true;

    pthread_mutex_lock(&head->lock);
    for (size_t i = 0; ok && i < c->n; i++) {
        struct read_series *into = &out->series[out->n];
        burst += copy_points(head, c->v[i], req, arena, into);
        if (into->n > 0) {
            into->labels = c->v[i]->labels; /* copied into the arena once the lock is free */
            out->n++;
        }
        total += into->n;
        ok = within_limits(req, arena, total, err);
        if (burst >= READ_BURST) {
            burst = 0;
            pthread_mutex_unlock(&head->lock);
            pthread_mutex_lock(&head->lock);
        }
    }
    pthread_mutex_unlock(&head->lock);
    return ok;
}

bool head_select(struct reader *reader, const struct read_request *req, struct arena *arena,
                 struct read_result *out, struct err *err)
{
    struct head *head = reader->impl;
    struct candidates c = take_candidates(head, req, arena);
    bool ok;

    *out = (struct read_result){0};
    ok = keep_matching(req, &c, err);
    out->series = arena_alloc_array(arena, c.n, sizeof(*out->series));
    ok = ok && read_points(head, req, &c, arena, out, err);
    for (size_t i = 0; ok && i < out->n; i++)
        out->series[i].labels = labels_copy(arena, &out->series[i].labels);
    give_back(&c);
    return ok;
}
