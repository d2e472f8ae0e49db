/*
 * query_source.c: head and history as one.
 *
 * The head is complete from a known time on; what a query needs before it comes from the file, and
 * both parts are joined by labels. So a panel of the last hour never waits for a disk, and one that
 * reaches further back sees no seam. A file that cannot be read takes its part away, with a
 * warning, and never the rest. Invariant: the head is touched under the read lock only, and only
 * while it is not closed.
 */
#include "query_source.h"

#include <pthread.h>
#include <stdatomic.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define IDLE_READERS 4

struct query_reader {
    struct reader reader;
    struct query_source *source;
    struct reader *history; /* NULL until it is needed */
    bool (*cancelled)(void *arg);
    void *arg;
    char warning[ERR_TEXT_MAX + 40];
};

struct query_source {
    _Atomic uint32_t refs;
    pthread_rwlock_t head_lock;
    struct head *head;
    char *history_path, *instance;
    pthread_mutex_t idle_lock;
    struct query_reader *idle[IDLE_READERS];
    size_t idle_count;
};

/* ---- job and instance ---- */

static bool is_added(const char *name)
{
    return str_eq(name, "job") || str_eq(name, "instance");
}

/* The labels with ours among them; a name that is there is replaced. */
static struct labels with_added(const struct query_source *source, struct arena *arena,
                                const struct labels *ls)
{
    struct label *v = arena_alloc_array(arena, ls->n + 2, sizeof(*v));
    size_t n = 0;
    for (size_t i = 0; i < ls->n; i++)
        if (!is_added(ls->v[i].name))
            v[n++] = ls->v[i];
    v[n++] = (struct label){"instance", source->instance};
    v[n++] = (struct label){"job", QUERY_JOB};
    return (struct labels){labels_sort(v, n), v};
}

/* Splits the matchers: those of added labels are answered here. False: nothing can match. */
static bool split_matchers(const struct query_source *source, const struct read_request *req,
                           struct arena *arena, struct read_request *out)
{
    const struct label added[] = {{"instance", source->instance}, {"job", QUERY_JOB}};
    const struct labels labels = {ARRAY_LEN(added), added};
    struct matcher *rest = arena_alloc_array(arena, req->matcher_count + 1, sizeof(*rest));
    *out = *req;
    out->matchers = rest;
    out->matcher_count = 0;
    for (size_t i = 0; i < req->matcher_count; i++) {
        if (!is_added(req->matchers[i].name))
            rest[out->matcher_count++] = req->matchers[i];
        else if (!matchers_match(&req->matchers[i], 1, req->regex_match, &labels))
            return false;
    }
    return true;
}

/* ---- the two parts ---- */

/* Points from `since` on; INT64_MAX when nothing is there. */
static bool read_head(struct query_source *source, const struct read_request *req, int64_t *since,
                      struct arena *arena, struct read_result *out, struct err *err)
{
    bool ok = true;
    *out = (struct read_result){0};
    *since = INT64_MAX;
    pthread_rwlock_rdlock(&source->head_lock);
    if (source->head != NULL)
        *since = head_complete_since(source->head);
    if (*since <= req->t_max) {
        struct read_request part = *req;
        struct reader *reader = head_reader(source->head);
        part.t_min = i64_max(req->t_min, *since - 1);
        ok = reader->select(reader, &part, arena, out, err);
    }
    pthread_rwlock_unlock(&source->head_lock);
    return ok;
}

static bool history_reader_ready(struct query_reader *r, struct err *err)
{
    if (r->history == NULL)
        r->history = history_reader_open(r->source->history_path, err);
    if (r->history == NULL)
        return false;
    history_reader_watch(r->history, r->cancelled, r->arg);
    return true;
}

static bool read_history(struct query_reader *r, const struct read_request *req, int64_t since,
                         struct arena *arena, struct read_result *out, struct err *err)
{
    struct read_request part = *req;
    struct err cause = {0};
    *out = (struct read_result){0};
    if (r->source->history_path == NULL || req->t_min >= since - 1)
        return true;
    part.t_max = i64_min(req->t_max, since - 1);
    if (history_reader_ready(r, &cause) &&
        r->history->select(r->history, &part, arena, out, &cause))
        return true;
    *out = (struct read_result){0};
    if (cause.kind == ERR_TIMEOUT || cause.kind == ERR_LIMIT) {
        *err = cause;
        return false;
    }
    if (cause.kind != ERR_NOT_FOUND) /* no file yet: nothing is missing */
        snprintf(r->warning, sizeof(r->warning), "history cannot be read: %s", cause.text);
    return true;
}

/* ---- joining ---- */

struct index {
    uint32_t *slots; /* position + 1 */
    size_t mask;
    struct read_series *series;
};

static struct read_series *index_find(struct index *x, const struct labels *labels, uint32_t add)
{
    size_t at = labels_hash(labels) & x->mask;
    for (; x->slots[at] != 0; at = (at + 1) & x->mask)
        if (labels_equal(&x->series[x->slots[at] - 1].labels, labels))
            return &x->series[x->slots[at] - 1];
    x->slots[at] = add;
    return NULL;
}

static void append_points(struct arena *arena, struct read_series *old,
                          const struct read_series *newer)
{
    struct point *points = arena_alloc_array(arena, old->n + newer->n, sizeof(*points));
    for (size_t i = 0; i < old->n; i++)
        points[i] = old->points[i];
    for (size_t i = 0; i < newer->n; i++)
        points[old->n + i] = newer->points[i];
    old->points = points;
    old->n += newer->n;
}

/* `older` with the points of `newer` behind its own. */
static void join(const struct read_request *req, struct arena *arena,
                 const struct read_result *older, const struct read_result *newer,
                 struct read_result *out)
{
    struct index x = {.mask = 15};
    while (x.mask < 2 * (older->n + newer->n))
        x.mask = 2 * x.mask + 1;
    x.slots = arena_alloc_array(arena, x.mask + 1, sizeof(*x.slots));
    x.series = out->series = arena_alloc_array(arena, older->n + newer->n, sizeof(*out->series));
    for (size_t i = 0; i < older->n; i++) {
        out->series[out->n++] = older->series[i];
        index_find(&x, &older->series[i].labels, (uint32_t)out->n);
    }
    for (size_t i = 0; i < newer->n; i++) {
        struct read_series *old = index_find(&x, &newer->series[i].labels, (uint32_t)out->n + 1);
        if (old == NULL)
            out->series[out->n++] = newer->series[i];
        else if (req->last_only || req->labels_only)
            *old = newer->series[i];
        else
            append_points(arena, old, &newer->series[i]);
    }
}

static bool query_select(struct reader *reader, const struct read_request *req, struct arena *arena,
                         struct read_result *out, struct err *err)
{
    struct query_reader *r = reader->impl;
    struct read_request inner;
    struct read_result older, newer;
    int64_t since;
    *out = (struct read_result){0};
    if (!split_matchers(r->source, req, arena, &inner))
        return true;
    if (!read_head(r->source, &inner, &since, arena, &newer, err) ||
        !read_history(r, &inner, since, arena, &older, err))
        return false;
    if (older.n == 0)
        *out = newer;
    else
        join(&inner, arena, &older, &newer, out);
    for (size_t i = 0; i < out->n; i++)
        out->series[i].labels = with_added(r->source, arena, &out->series[i].labels);
    return !arena_exceeded(arena) ||
           err_set(err, ERR_LIMIT, "query needs more memory than its budget");
}

/* ---- life ---- */

struct query_source *query_source_create(struct head *head, const char *history_path,
                                         const char *instance)
{
    struct query_source *source = mem_alloc(sizeof(*source));
    atomic_init(&source->refs, 1);
    pthread_rwlock_init(&source->head_lock, NULL);
    pthread_mutex_init(&source->idle_lock, NULL);
    source->head = head;
    source->history_path = history_path != NULL ? mem_strdup(history_path) : NULL;
    source->instance = mem_strdup(instance);
    return source;
}

void query_source_close(struct query_source *source)
{
    pthread_rwlock_wrlock(&source->head_lock);
    source->head = NULL;
    pthread_rwlock_unlock(&source->head_lock);
}

struct query_source *query_source_ref(struct query_source *source)
{
    atomic_fetch_add_explicit(&source->refs, 1, memory_order_relaxed);
    return source;
}

static void reader_free(struct query_reader *r)
{
    history_reader_close(&r->history);
    mem_free(r);
}

void query_source_unref(struct query_source *source)
{
    if (source == NULL || atomic_fetch_sub_explicit(&source->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < source->idle_count; i++)
        reader_free(source->idle[i]);
    pthread_rwlock_destroy(&source->head_lock);
    pthread_mutex_destroy(&source->idle_lock);
    mem_free(source->history_path);
    mem_free(source->instance);
    mem_free(source);
}

struct query_reader *query_source_take(struct query_source *source, bool (*cancelled)(void *arg),
                                       void *arg)
{
    struct query_reader *r = NULL;
    pthread_mutex_lock(&source->idle_lock);
    if (source->idle_count > 0)
        r = source->idle[--source->idle_count];
    pthread_mutex_unlock(&source->idle_lock);
    if (r == NULL) {
        r = mem_alloc(sizeof(*r));
        r->reader = (struct reader){query_select, r};
        r->source = source;
    }
    r->cancelled = cancelled;
    r->arg = arg;
    r->warning[0] = '\0';
    return r;
}

void query_source_give_back(struct query_source *source, struct query_reader **reader)
{
    struct query_reader *r = *reader;
    *reader = NULL;
    if (r->history != NULL)
        history_reader_watch(r->history, NULL, NULL);
    pthread_mutex_lock(&source->idle_lock);
    bool keep = source->idle_count < IDLE_READERS;
    if (keep)
        source->idle[source->idle_count++] = r;
    pthread_mutex_unlock(&source->idle_lock);
    if (!keep)
        reader_free(r);
}

struct reader *query_reader(struct query_reader *r)
{
    return &r->reader;
}

const char *query_reader_warning(const struct query_reader *r)
{
    return r->warning;
}
