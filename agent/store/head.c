/*
 * head.c: the index of the head: appending, ending and trimming series.
 *
 * Why so: the engine appends whole batches, rules select by metric name each second, so a series is
 * reached by id (append) and by name (select) without touching the rest, and a source's series hang
 * on one list, so that those missing from its new batch are found in one walk. One short mutex:
 * the only writer is the engine, readers copy. Invariant: a series in the index has at least one
 * chunk with at least one point, and is on exactly one list of each kind.
 */
#include "pgvigil/store/head.h"

#include "head_parts.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define SLOTS_START 256

struct head *head_create(int64_t keep_ms, size_t max_bytes)
{
    struct head *head = mem_alloc(sizeof(*head));

    pthread_mutex_init(&head->lock, NULL);
    head->reader = (struct reader){head_select, head};
    head->keep_ms = keep_ms;
    head->max_bytes = max_bytes;
    head->complete_since = INT64_MAX;
    head->slots = SLOTS_START;
    head->by_id = mem_alloc_array(head->slots, sizeof(*head->by_id));
    return head;
}

static size_t slot_of_text(const char *s)
{
    return str_hash(s, strlen(s), STR_HASH_SEED) % HEAD_SLOTS;
}

struct head_series *head_find(const struct head *head, uint32_t id)
{
    struct head_series *s = head->by_id[id & (head->slots - 1)];

    while (s != NULL && s->series->id != id)
        s = s->next_by_id;
    return s;
}

const struct head_name *head_find_name(const struct head *head, const char *name)
{
    const struct head_name *n = head->names[slot_of_text(name)];

    while (n != NULL && !str_eq(n->name, name))
        n = n->next;
    return n;
}

static struct head_name *get_name(struct head *head, const char *name)
{
    struct head_name **slot = &head->names[slot_of_text(name)];
    size_t len = strlen(name) + 1;

    for (struct head_name *n = *slot; n != NULL; n = n->next) {
        if (str_eq(n->name, name))
            return n;
    }
    struct head_name *n = mem_alloc(sizeof(*n) + len);
    memcpy(n->name, name, len);
    n->next = *slot;
    *slot = n;
    return n;
}

static struct head_source *find_source(struct head *head, const char *source)
{
    struct head_source *s = head->sources[slot_of_text(source)];

    while (s != NULL && !str_eq(s->name, source))
        s = s->next;
    return s;
}

static struct head_source *get_source(struct head *head, const char *source)
{
    struct head_source *s = find_source(head, source);
    struct head_source **slot = &head->sources[slot_of_text(source)];
    size_t len = strlen(source) + 1;

    if (s != NULL)
        return s;
    s = mem_alloc(sizeof(*s) + len);
    memcpy(s->name, source, len);
    s->next = *slot;
    *slot = s;
    return s;
}

static void grow(struct head *head)
{
    size_t slots = head->slots * 2;
    struct head_series **by_id = mem_alloc_array(slots, sizeof(struct head_series *));

    for (size_t i = 0; i < head->slots; i++) {
        struct head_series *next;
        for (struct head_series *s = head->by_id[i]; s != NULL; s = next) {
            size_t slot = s->series->id & (slots - 1);
            next = s->next_by_id;
            s->next_by_id = by_id[slot];
            by_id[slot] = s;
        }
    }
    mem_free(head->by_id);
    head->by_id = by_id;
    head->slots = slots;
}

static void leave_source(struct head_series *s)
{
    *s->link_by_source = s->next_by_source;
    if (s->next_by_source != NULL)
        s->next_by_source->link_by_source = s->link_by_source;
}

static void join_source(struct head_series *s, struct head_source *source)
{
    s->source = source;
    s->next_by_source = source->first;
    s->link_by_source = &source->first;
    if (source->first != NULL)
        source->first->link_by_source = &s->next_by_source;
    source->first = s;
}

static void leave_name(struct head_series *s)
{
    *s->link_by_name = s->next_by_name;
    if (s->next_by_name != NULL)
        s->next_by_name->link_by_name = s->link_by_name;
}

static void join_name(struct head_series *s, struct head_name *name)
{
    s->next_by_name = name->first;
    s->link_by_name = &name->first;
    if (name->first != NULL)
        name->first->link_by_name = &s->next_by_name;
    name->first = s;
}

static struct head_series *add_series(struct head *head, struct series *series,
                                      struct head_source *source)
{
    struct head_series *s = mem_alloc(sizeof(*s));

    if (head->stats.series >= head->slots)
        grow(head);
    s->series = series_ref(series);
    struct head_series **slot = &head->by_id[series->id & (head->slots - 1)];
    s->next_by_id = *slot;
    *slot = s;
    join_name(s, get_name(head, series->name));
    join_source(s, source);
    head->stats.series++;
    head->stats.bytes += sizeof(*s);
    return s;
}

static void free_series(struct head_series *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        mem_free(s->chunks[i]);
    mem_free(s->chunks);
    series_unref(s->series);
    mem_free(s);
}

/* From the lists of name and source; the id list is the caller's, who walks it. */
static void unlink_series(struct head *head, struct head_series *s)
{
    leave_name(s);
    leave_source(s);
    head->stats.series--;
    head->stats.bytes -= sizeof(*s) + s->cap * sizeof(*s->chunks);
}

static void add_chunk(struct head *head, struct head_series *s, int64_t t, double v)
{
    if (s->count > 0) {
        struct chunk **open = &s->chunks[s->count - 1];
        head->stats.bytes -= chunk_bytes(*open);
        *open = chunk_shrink(*open);
        head->stats.bytes += chunk_bytes(*open);
    }
    if (s->count == s->cap) {
        uint32_t cap = s->cap == 0 ? 2 : s->cap * 2;
        s->chunks = mem_realloc_array(s->chunks, cap, sizeof(*s->chunks));
        head->stats.bytes += (cap - s->cap) * sizeof(*s->chunks);
        s->cap = cap;
    }
    s->chunks[s->count++] = chunk_create(t, v, &s->tail);
    head->stats.bytes += chunk_bytes(s->chunks[s->count - 1]);
}

static void append_point(struct head *head, struct head_series *s, int64_t t, double v)
{
    head->stats.samples_total++;
    if (s->count == 0 || chunk_is_full(s->chunks[s->count - 1])) {
        add_chunk(head, s, t, v);
        return;
    }
    struct chunk **open = &s->chunks[s->count - 1];
    head->stats.bytes -= chunk_bytes(*open);
    *open = chunk_append(*open, &s->tail, t, v);
    head->stats.bytes += chunk_bytes(*open);
}

/* Also when the clock went back: the marker then comes right after the newest point. */
static void end_series(struct head *head, struct head_series *s, int64_t t)
{
    if (!point_is_stale(s->tail.v))
        append_point(head, s, i64_max(t, s->tail.t + 1), point_stale_value());
}

static void append_sample(struct head *head, struct head_source *source, struct series *series,
                          struct point p)
{
    struct head_series *s = head_find(head, series->id);

    if (s == NULL) {
        s = add_series(head, series, source);
    } else if (s->source != source) {
        leave_source(s);
        join_source(s, source);
    }
    s->seen = source->round;
    if (s->count > 0 && p.t <= s->tail.t)
        head->stats.dropped_total++;
    else
        append_point(head, s, p.t, p.v);
}

/* Frees the chunks that end before a time; `counted` tells lack of room from old age. False when
 * the series has none left. */
static bool drop_chunks(struct head *head, struct head_series *s, int64_t before, bool counted)
{
    uint32_t n = 0;

    while (n < s->count && s->chunks[n]->t_last < before) {
        head->stats.bytes -= chunk_bytes(s->chunks[n]);
        if (counted)
            head->stats.dropped_total += s->chunks[n]->n;
        mem_free(s->chunks[n]);
        n++;
    }
    if (n > 0) {
        s->count -= n;
        memmove(s->chunks, s->chunks + n, s->count * sizeof(*s->chunks));
    }
    return s->count > 0;
}

static void drop_before(struct head *head, int64_t before, bool counted)
{
    if (head->complete_since != INT64_MAX)
        head->complete_since = i64_max(head->complete_since, before);
    for (size_t i = 0; i < head->slots; i++) {
        struct head_series **p = &head->by_id[i];
        while (*p != NULL) {
            struct head_series *s = *p;
            if (drop_chunks(head, s, before, counted)) {
                p = &s->next_by_id;
                continue;
            }
            *p = s->next_by_id;
            unlink_series(head, s);
            free_series(s);
        }
    }
}

/* The oldest and the newest point of all. */
static bool time_span(const struct head *head, int64_t *oldest, int64_t *newest)
{
    *oldest = INT64_MAX;
    *newest = INT64_MIN;
    for (size_t i = 0; i < head->slots; i++) {
        for (const struct head_series *s = head->by_id[i]; s != NULL; s = s->next_by_id) {
            *oldest = i64_min(*oldest, s->chunks[0]->t_first);
            *newest = i64_max(*newest, s->tail.t);
        }
    }
    return *oldest < *newest;
}

/*
 * Drops the oldest eighth of the time span until there is room: eighths, so that a full head does
 * not walk all series for each batch. The open chunks of living series stay: they are bounded by
 * the cap on series.
 */
static void make_room(struct head *head)
{
    size_t goal = head->max_bytes - head->max_bytes / 16;
    int64_t oldest, newest;

    if (head->stats.bytes <= head->max_bytes || !time_span(head, &oldest, &newest))
        return;
    int64_t step = (newest - oldest) / 8 + 1;
    for (int64_t t = oldest + step; head->stats.bytes > goal && t < newest + step; t += step)
        drop_before(head, i64_min(t, newest), true);
}

void head_append(struct head *head, const struct batch *batch)
{
    pthread_mutex_lock(&head->lock);
    struct head_source *source = get_source(head, batch->source);

    source->round++;
    if (head->complete_since == INT64_MAX)
        head->complete_since = batch->at.ms;
    for (size_t i = 0; i < batch->n; i++) {
        append_sample(head, source, batch->samples[i].series,
                      (struct point){batch->at.ms, batch->samples[i].value});
    }
    for (struct head_series *s = source->first; s != NULL; s = s->next_by_source) {
        if (s->seen != source->round)
            end_series(head, s, batch->at.ms);
    }
    make_room(head);
    pthread_mutex_unlock(&head->lock);
}

void head_end_source(struct head *head, const char *source, wall_ms at)
{
    pthread_mutex_lock(&head->lock);
    struct head_source *found = find_source(head, source);

    if (found != NULL) {
        for (struct head_series *s = found->first; s != NULL; s = s->next_by_source)
            end_series(head, s, at.ms);
    }
    pthread_mutex_unlock(&head->lock);
}

static void drop_empty_names(struct head *head)
{
    for (size_t i = 0; i < HEAD_SLOTS; i++) {
        struct head_name **n = &head->names[i];
        while (*n != NULL) {
            struct head_name *gone = *n;
            if (gone->first != NULL) {
                n = &gone->next;
                continue;
            }
            *n = gone->next;
            mem_free(gone);
        }
    }
}

static void drop_empty_sources(struct head *head)
{
    for (size_t i = 0; i < HEAD_SLOTS; i++) {
        struct head_source **s = &head->sources[i];
        while (*s != NULL) {
            struct head_source *gone = *s;
            if (gone->first != NULL) {
                s = &gone->next;
                continue;
            }
            *s = gone->next;
            mem_free(gone);
        }
    }
}

void head_trim(struct head *head, wall_ms now)
{
    pthread_mutex_lock(&head->lock);
    drop_before(head, now.ms - head->keep_ms, false);
    drop_empty_names(head);
    drop_empty_sources(head);
    pthread_mutex_unlock(&head->lock);
}

void head_destroy(struct head **headp)
{
    struct head *head = *headp;

    if (head == NULL)
        return;
    drop_before(head, INT64_MAX, false);
    drop_empty_names(head);
    drop_empty_sources(head);
    pthread_mutex_destroy(&head->lock);
    mem_free(head->by_id);
    MEM_FREE_NULL(headp);
}

struct reader *head_reader(struct head *head)
{
    return &head->reader;
}

int64_t head_complete_since(struct head *head)
{
    pthread_mutex_lock(&head->lock);
    int64_t since = head->complete_since;

    pthread_mutex_unlock(&head->lock);
    return since;
}

struct head_stats head_stats(struct head *head)
{
    pthread_mutex_lock(&head->lock);
    struct head_stats stats = head->stats;

    pthread_mutex_unlock(&head->lock);
    return stats;
}
