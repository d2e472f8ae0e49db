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
static void keep_matching(const struct read_request *req, struct candidates *c)
{
    size_t kept = 0;

    for (size_t i = 0; i < c->n; i++) {
        struct series *s = c->v[i];
        if (matchers_match(req->matchers, req->matcher_count, req->regex_match, &s->labels))
            c->v[kept++] = s;
        else
            series_unref(s);
    }
    c->n = kept;
}

/* The newest point in the range; almost always the newest of all, which needs no decoding. */
static size_t copy_last(const struct head_series *s, const struct read_request *req,
                        struct arena *arena, struct point **out)
{
    struct point points[CHUNK_POINTS];
    struct point last = {s->tail.t, s->tail.v};

    if (last.t > req->t_max) {
        uint32_t i = s->count;
        while (i > 0 && s->chunks[i - 1]->t_first > req->t_max)
            i--;
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

/* Which chunks [*first, end) may hold points of the range; the sum of their points. */
static size_t find_chunks(const struct head_series *s, const struct read_request *req,
                          uint32_t *first, uint32_t *end)
{
    size_t n = 0;

    *end = s->count;
    while (*end > 0 && s->chunks[*end - 1]->t_first > req->t_max)
        (*end)--;
    *first = *end;
    while (*first > 0 && s->chunks[*first - 1]->t_last > req->t_min) {
        (*first)--;
        n += s->chunks[*first]->n;
    }
    return n;
}

/* ---- ranges ---- */

/* Points on their way to the reader; of those up to `edge` the newest counts. */
struct copying {
    const struct read_request *req;
    struct point *out;
    size_t n;
    int64_t edge; /* INT64_MIN: none yet */
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

static void copy_thinned(struct copying *to, const struct point *points, size_t n)
{
    struct point *out = to->out;
    size_t kept = to->n;

    for (size_t i = 0; i < n; i++) {
        if (points[i].t > to->edge || kept == 0) {
            kept++;
            to->edge = grid_edge(to->req, points[i].t);
        }
        out[kept - 1] = points[i];
    }
    to->n = kept;
}

/* The points of a chunk that are in the range; only its first and last chunk have others. */
static void copy_chunk(struct copying *to, const struct chunk *c)
{
    const struct read_request *req = to->req;
    struct point points[CHUNK_POINTS];
    size_t from = 0, end = c->n;

    if (req->step_ms <= 0 && c->t_first > req->t_min && c->t_last <= req->t_max) {
        chunk_decode(c, to->out + to->n);
        to->n += c->n;
        return;
    }
    chunk_decode(c, points);
    while (from < end && points[from].t <= req->t_min)
        from++;
    while (end > from && points[end - 1].t > req->t_max)
        end--;
    if (req->step_ms > 0) {
        copy_thinned(to, points + from, end - from);
    } else if (end > from) {
        memcpy(to->out + to->n, points + from, (end - from) * sizeof(*points));
        to->n += end - from;
    }
}

/* How many of `most` points can be left by copy_thinned: one for each edge, and one behind. */
static size_t most_points(const struct read_request *req, size_t most)
{
    int64_t steps;

    if (req->step_ms <= 0)
        return most;
    steps = (req->t_max - req->t_min) / req->step_ms + 2;
    return steps < (int64_t)most ? (size_t)steps : most;
}

static size_t copy_range(const struct head_series *s, const struct read_request *req,
                         struct arena *arena, struct point **out)
{
    struct copying to = {.req = req, .edge = INT64_MIN};
    uint32_t first, end;
    size_t most = find_chunks(s, req, &first, &end);

    if (most == 0)
        return 0;
    *out = to.out = arena_alloc_array(arena, most_points(req, most), sizeof(**out));
    for (uint32_t c = first; c < end; c++)
        if (c + 1 == end || !is_hidden(req, s->chunks[c]->t_first, s->chunks[c + 1]->t_first))
            copy_chunk(&to, s->chunks[c]);
    return to.n;
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

static void copy_points(const struct head *head, const struct series *series,
                        const struct read_request *req, struct arena *arena,
                        struct read_series *out)
{
    const struct head_series *s = head_find(head, series->id);

    out->n = 0;
    if (s == NULL)
        return; /* trimmed since the references were taken */
    out->n = req->last_only ? copy_last(s, req, arena, &out->points)
                            : copy_range(s, req, arena, &out->points);
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
        copy_points(head, c->v[i], req, arena, into);
        if (into->n > 0) {
            into->labels = c->v[i]->labels; /* copied into the arena once the lock is free */
            out->n++;
        }
        total += into->n;
        burst += into->n;
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
    keep_matching(req, &c);
    out->series = arena_alloc_array(arena, c.n, sizeof(*out->series));
    ok = read_points(head, req, &c, arena, out, err);
    for (size_t i = 0; ok && i < out->n; i++)
        out->series[i].labels = labels_copy(arena, &out->series[i].labels);
    give_back(&c);
    return ok;
}
