/*
 * joined.c: one reader over the head and history.db.
 *
 * The head is complete from a known time on; what a request needs before it comes from the file,
 * and both parts are joined by labels. So what is recent never waits for a disk. Invariant: the
 * head is touched under the read lock of its gate only, and only while it is not closed.
 */
#include "pgvigil/store/joined.h"

#include <pthread.h>
#include <stdatomic.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

struct joined_head {
    _Atomic uint32_t refs;
    pthread_rwlock_t lock;
    struct head *head; /* NULL once closed */
};

struct joined {
    struct reader reader;
    struct joined_head *head;
    char *history_path;
    struct reader *history; /* NULL until it is needed */
    bool (*cancelled)(void *arg);
    void *arg;
    char warning[ERR_TEXT_MAX + 40];
};

/* ---- the head's gate ---- */

struct joined_head *joined_head_create(struct head *head)
{
    struct joined_head *h = mem_alloc(sizeof(*h));
    atomic_init(&h->refs, 1);
    pthread_rwlock_init(&h->lock, NULL);
    h->head = head;
    return h;
}

void joined_head_close(struct joined_head *h)
{
    pthread_rwlock_wrlock(&h->lock);
    h->head = NULL;
    pthread_rwlock_unlock(&h->lock);
}

struct joined_head *joined_head_ref(struct joined_head *h)
{
    atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
    return h;
}

void joined_head_unref(struct joined_head *h)
{
    if (h == NULL || atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) != 1)
        return;
    pthread_rwlock_destroy(&h->lock);
    mem_free(h);
}

/* ---- the two parts ---- */

/* Points from `since` on; INT64_MAX when nothing is there. */
static bool read_head(struct joined_head *h, const struct read_request *req, int64_t *since,
                      struct arena *arena, struct read_result *out, struct err *err)
{
    bool ok = true;
    *out = (struct read_result){0};
    *since = INT64_MAX;
    pthread_rwlock_rdlock(&h->lock);
    if (h->head != NULL)
        *since = head_complete_since(h->head);
    if (*since <= req->t_max) {
        struct read_request part = *req;
        struct reader *reader = head_reader(h->head);
        part.t_min = i64_max(req->t_min, *since - 1);
        ok = reader->select(reader, &part, arena, out, err);
    }
    pthread_rwlock_unlock(&h->lock);
    return ok;
}

static bool history_ready(struct joined *j, struct err *err)
{
    if (j->history == NULL)
        j->history = history_reader_open(j->history_path, err);
    if (j->history == NULL)
        return false;
    history_reader_watch(j->history, j->cancelled, j->arg);
    return true;
}

static bool read_history(struct joined *j, const struct read_request *req, int64_t since,
                         struct arena *arena, struct read_result *out, struct err *err)
{
    struct read_request part = *req;
    struct err cause = {0};
    *out = (struct read_result){0};
    if (j->history_path == NULL || req->t_min >= since - 1)
        return true;
    part.t_max = i64_min(req->t_max, since - 1);
    if (history_ready(j, &cause) && j->history->select(j->history, &part, arena, out, &cause))
        return true;
    *out = (struct read_result){0};
    if (cause.kind == ERR_TIMEOUT || cause.kind == ERR_LIMIT) {
        *err = cause;
        return false;
    }
    if (cause.kind != ERR_NOT_FOUND) /* no file yet: nothing is missing */
        snprintf(j->warning, sizeof(j->warning), "history cannot be read: %s", cause.text);
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

static bool joined_select(struct reader *reader, const struct read_request *req,
                          struct arena *arena, struct read_result *out, struct err *err)
{
    struct joined *j = reader->impl;
    struct read_request watched = *req;
    struct read_result older, newer;
    int64_t since;
    *out = (struct read_result){0};
    watched.cancelled = j->cancelled;
    watched.arg = j->arg;
    if (!read_head(j->head, &watched, &since, arena, &newer, err) ||
        !read_history(j, &watched, since, arena, &older, err))
        return false;
    if (older.n == 0)
        *out = newer;
    else
        join(&watched, arena, &older, &newer, out);
    return !arena_exceeded(arena) ||
           err_set(err, ERR_LIMIT, "query needs more memory than its budget");
}

/* ---- life ---- */

struct joined *joined_create(struct joined_head *head, const char *history_path)
{
    struct joined *j = mem_alloc(sizeof(*j));
    j->reader = (struct reader){joined_select, j};
    j->head = joined_head_ref(head);
    j->history_path = history_path != NULL ? mem_strdup(history_path) : NULL;
    return j;
}

void joined_destroy(struct joined **joined)
{
    struct joined *j = *joined;
    if (j == NULL)
        return;
    history_reader_close(&j->history);
    joined_head_unref(j->head);
    mem_free(j->history_path);
    MEM_FREE_NULL(joined);
}

void joined_begin(struct joined *j, bool (*cancelled)(void *arg), void *arg)
{
    j->cancelled = cancelled;
    j->arg = arg;
    j->warning[0] = '\0';
    if (j->history != NULL)
        history_reader_watch(j->history, cancelled, arg);
}

struct reader *joined_reader(struct joined *j)
{
    return &j->reader;
}

const char *joined_warning(const struct joined *j)
{
    return j->warning;
}
