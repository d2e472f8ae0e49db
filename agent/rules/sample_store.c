/*
 * Why not the head: its samples come in batches of one time and one source, in memory that is
 * compressed to last for hours; here whole series come at once, and are read a hundred times more
 * often than written. So a series is one array in time order, found by the hash of its labels
 * (adding) and by its metric name (reading). Invariant: points of a series strictly grow in time.
 */
#include "sample_store.h"

#include <math.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

/* uthash must abort like the rest of us when memory is out. */
#define uthash_malloc(n)  mem_alloc(n)
#define uthash_free(p, n) mem_free(p)
#include <uthash.h>

struct stored {
    uint64_t hash; /* key */
    struct labels labels;
    struct point *points;
    size_t n, cap;
    struct stored *next; /* of its name */
    UT_hash_handle hh;
};

struct stored_name {
    char *name; /* key */
    struct stored *first;
    UT_hash_handle hh;
};

struct sample_store {
    struct arena *arena; /* labels */
    struct stored *series;
    struct stored_name *names;
    size_t points, max_points;
};

struct sample_store *sample_store_create(size_t max_points)
{
    struct sample_store *store = mem_alloc(sizeof(*store));
    store->arena = arena_create(0, ARENA_NO_LIMIT);
    store->max_points = max_points;
    return store;
}

void sample_store_destroy(struct sample_store **storep)
{
    struct sample_store *store = *storep;
    struct stored *s, *next;
    struct stored_name *name, *next_name;
    if (store == NULL)
        return;
    HASH_ITER(hh, store->series, s, next)
    {
        HASH_DEL(store->series, s);
        mem_free(s->points);
        mem_free(s);
    }
    HASH_ITER(hh, store->names, name, next_name)
    {
        HASH_DEL(store->names, name);
        mem_free(name);
    }
    arena_destroy(&store->arena);
    MEM_FREE_NULL(storep);
}

size_t sample_store_points(const struct sample_store *store)
{
    return store->points;
}

/* ---- adding ---- */

static struct stored_name *get_name(struct sample_store *store, const char *metric)
{
    struct stored_name *name;
    HASH_FIND_STR(store->names, metric, name);
    if (name == NULL) {
        name = mem_alloc(sizeof(*name));
        name->name = arena_strdup(store->arena, metric);
        HASH_ADD_KEYPTR(hh, store->names, name->name, strlen(name->name), name);
    }
    return name;
}

static struct stored *find(struct sample_store *store, const struct labels *labels)
{
    struct stored *s;
    uint64_t hash = labels_hash(labels);
    HASH_FIND(hh, store->series, &hash, sizeof(hash), s);
    return s;
}

static struct stored *get_series(struct sample_store *store, const struct labels *labels)
{
    struct stored *s = find(store, labels);
    if (s == NULL) {
        struct stored_name *name = get_name(store, labels_get_or_empty(labels, LABEL_METRIC));
        s = mem_alloc(sizeof(*s));
        s->hash = labels_hash(labels);
        s->labels = labels_copy(store->arena, labels);
        s->next = name->first;
        name->first = s;
        HASH_ADD(hh, store->series, hash, sizeof(s->hash), s);
    }
    return s;
}

static void grow(struct stored *s, size_t n)
{
    if (n <= s->cap)
        return;
    /* a quarter more: whole slices are added, and memory is what bounds a replay */
    s->cap = n + n / 4;
    s->points = mem_realloc_array(s->points, s->cap, sizeof(*s->points));
}

bool sample_store_add(struct sample_store *store, const struct labels *labels,
                      const struct point *points, size_t n, struct err *err)
{
    if (n > store->max_points - store->points)
        return err_set(err, ERR_LIMIT, "more than %zu samples at a time", store->max_points);
    struct stored *s = get_series(store, labels);
    if (!labels_equal(&s->labels, labels))
        return err_set(err, ERR_INTERNAL, "two series have one hash");
    grow(s, s->n + n);
    for (size_t i = 0; i < n; i++) {
        if (s->n > 0 && points[i].t <= s->points[s->n - 1].t)
            continue;
        s->points[s->n++] = points[i];
        store->points++;
    }
    return true;
}

void sample_store_clear(struct sample_store *store, const struct labels *labels)
{
    struct stored *s = find(store, labels);
    if (s == NULL)
        return;
    store->points -= s->n;
    s->n = 0;
}

/* ---- reading ---- */

/* Index of the first point behind t. */
static size_t first_after(const struct stored *s, int64_t t)
{
    size_t low = 0, high = s->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->points[mid].t <= t)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

bool sample_store_contradicts(struct sample_store *store, const struct labels *labels,
                              const struct point *p)
{
    const struct stored *s = find(store, labels);
    size_t after = s != NULL ? first_after(s, p->t) : 0;
    if (after == 0 || s->points[after - 1].t != p->t)
        return false;
    double v = s->points[after - 1].v;
    return v != p->v && !(isnan(v) && isnan(p->v));
}

void sample_store_trim(struct sample_store *store, int64_t (*before)(const char *metric, void *arg),
                       void *arg)
{
    for (struct stored_name *name = store->names; name != NULL; name = name->hh.next) {
        int64_t t = before(name->name, arg);
        for (struct stored *s = name->first; s != NULL; s = s->next) {
            size_t from = first_after(s, t);
            if (from == 0)
                continue;
            s->n -= from;
            store->points -= from;
            memmove(s->points, s->points + from, s->n * sizeof(*s->points));
        }
    }
}

struct select {
    const struct read_request *req;
    struct arena *arena;
    struct read_result *out;
    size_t cap, points;
};

static bool take(struct select *sel, const struct stored *s, struct err *err)
{
    const struct read_request *req = sel->req;
    size_t from = first_after(s, req->t_min), end = first_after(s, req->t_max);
    bool match;
    if (end <= from)
        return true;
    if (!matchers_match(req->matchers, req->matcher_count, req->regex_match, &s->labels, &match,
                        err))
        return false;
    if (!match)
        return true;
    if (req->last_only)
        from = end - 1;
    sel->points += req->labels_only ? 0 : end - from;
    if (sel->points > req->max_points || arena_exceeded(sel->arena))
        return err_set(err, ERR_LIMIT, "the query reads more than %zu points", req->max_points);
    if (sel->out->n == sel->cap) {
        size_t cap = sel->cap == 0 ? 16 : sel->cap * 2;
        sel->out->series = arena_grow_array(sel->arena, sel->out->series, sel->cap, cap,
                                            sizeof(*sel->out->series));
        sel->cap = cap;
    }
    struct read_series *to = &sel->out->series[sel->out->n++];
    *to = (struct read_series){.labels = s->labels};
    if (req->labels_only)
        return true;
    to->n = end - from;
    to->points = arena_alloc_array(sel->arena, to->n, sizeof(*to->points));
    memcpy(to->points, s->points + from, to->n * sizeof(*to->points));
    return true;
}

bool sample_store_select(struct sample_store *store, const struct read_request *req,
                         struct arena *arena, struct read_result *out, struct err *err)
{
    struct select sel = {.req = req, .arena = arena, .out = out};
    const char *metric = matchers_metric(req->matchers, req->matcher_count);
    struct stored_name *name = store->names;
    *out = (struct read_result){0};
    if (metric != NULL)
        HASH_FIND_STR(store->names, metric, name);
    for (; name != NULL; name = metric != NULL ? NULL : name->hh.next) {
        for (const struct stored *s = name->first; s != NULL; s = s->next) {
            if (!take(&sel, s, err))
                return false;
        }
    }
    return true;
}

/* ---- two results in one ---- */

static int by_labels(const void *a, const void *b)
{
    return labels_compare(&((const struct read_series *)a)->labels,
                          &((const struct read_series *)b)->labels);
}

static struct read_series merge_series(struct arena *arena, const struct read_series *a,
                                       const struct read_series *b, bool last_only)
{
    struct read_series out = {.labels = a->labels};
    size_t i = 0, k = 0;
    out.points = arena_alloc_array(arena, a->n + b->n, sizeof(*out.points));
    while (i < a->n || k < b->n) {
        bool from_a = k == b->n || (i < a->n && a->points[i].t <= b->points[k].t);
        struct point p = from_a ? a->points[i++] : b->points[k++];
        if (out.n == 0 || p.t > out.points[out.n - 1].t)
            out.points[out.n++] = p;
    }
    if (last_only && out.n > 1) {
        out.points[0] = out.points[out.n - 1];
        out.n = 1;
    }
    return out;
}

struct read_result read_result_merge(struct arena *arena, const struct read_result *a,
                                     const struct read_result *b, bool last_only)
{
    struct read_result out = {0};
    size_t i = 0, k = 0;
    if (a->n == 0 || b->n == 0)
        return a->n == 0 ? *b : *a;
    qsort(a->series, a->n, sizeof(*a->series), by_labels);
    qsort(b->series, b->n, sizeof(*b->series), by_labels);
    out.series = arena_alloc_array(arena, a->n + b->n, sizeof(*out.series));
    while (i < a->n || k < b->n) {
        int order = i == a->n ? 1 : k == b->n ? -1 : by_labels(&a->series[i], &b->series[k]);
        if (order == 0)
            out.series[out.n++] = merge_series(arena, &a->series[i++], &b->series[k++], last_only);
        else
            out.series[out.n++] = order < 0 ? a->series[i++] : b->series[k++];
    }
    return out;
}
