/*
 * query_source.c: the joined reader (store/joined.h) as queries of the API see it: with `job` and
 * `instance` on every series, and with a few connections to the file kept for the next query.
 * Invariant: matchers of the added labels are answered here and never reach the stores.
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
    struct joined *joined;
};

struct query_source {
    _Atomic uint32_t refs;
    struct joined_head *head;
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

/* Splits the matchers: those of added labels are answered here. *none: nothing can match. */
static bool split_matchers(const struct query_source *source, const struct read_request *req,
                           struct arena *arena, struct read_request *out, bool *none,
                           struct err *err)
{
    const struct label added[] = {{"instance", source->instance}, {"job", QUERY_JOB}};
    const struct labels labels = {ARRAY_LEN(added), added};
    struct matcher *rest = arena_alloc_array(arena, req->matcher_count + 1, sizeof(*rest));
    bool match = true;
    *out = *req;
    out->matchers = rest;
    out->matcher_count = 0;
    for (size_t i = 0; match && i < req->matcher_count; i++) {
        if (!is_added(req->matchers[i].name))
            rest[out->matcher_count++] = req->matchers[i];
        else if (!matchers_match(&req->matchers[i], 1, req->regex_match, &labels, &match, err))
            return false;
    }
    *none = !match;
    return true;
}

static bool query_select(struct reader *reader, const struct read_request *req, struct arena *arena,
                         struct read_result *out, struct err *err)
{
    struct query_reader *r = reader->impl;
    struct reader *joined = joined_reader(r->joined);
    struct read_request inner;
    bool none;
    *out = (struct read_result){0};
    if (!split_matchers(r->source, req, arena, &inner, &none, err))
        return false;
    if (none)
        return true;
    if (!joined->select(joined, &inner, arena, out, err))
        return false;
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
    pthread_mutex_init(&source->idle_lock, NULL);
    source->head = joined_head_create(head);
    source->history_path = history_path != NULL ? mem_strdup(history_path) : NULL;
    source->instance = mem_strdup(instance);
    return source;
}

void query_source_close(struct query_source *source)
{
    joined_head_close(source->head);
}

struct query_source *query_source_ref(struct query_source *source)
{
    atomic_fetch_add_explicit(&source->refs, 1, memory_order_relaxed);
    return source;
}

static void reader_free(struct query_reader *r)
{
    joined_destroy(&r->joined);
    mem_free(r);
}

void query_source_unref(struct query_source *source)
{
    if (source == NULL || atomic_fetch_sub_explicit(&source->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < source->idle_count; i++)
        reader_free(source->idle[i]);
    joined_head_unref(source->head);
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
        r->joined = joined_create(source->head, source->history_path);
    }
    joined_begin(r->joined, cancelled, arg);
    return r;
}

void query_source_give_back(struct query_source *source, struct query_reader **reader)
{
    struct query_reader *r = *reader;
    *reader = NULL;
    joined_begin(r->joined, NULL, NULL);
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
    return joined_warning(r->joined);
}
