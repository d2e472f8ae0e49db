/*
 * sources.c: the registry of sources, an array of pointers sorted by target and collector.
 *
 * There are some thousand sources at most and they come and go with the configuration only, so a
 * sorted array is enough: look-ups are binary searches, iteration is in a stable order for
 * /metrics. Invariant: a state is never moved, so collectors may keep the pointer until its target
 * is removed.
 */
#include "pgvigil/model/sources.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/model/metrics.h"

/* A source is late when nothing good came for this many intervals. */
#define LATE_INTERVALS 3

struct source {
    struct source_state state; /* first: what callers hold points to the whole */
    mono_ms first_check;       /* stands for the last good poll until there is one */
};

struct sources {
    struct source **items;
    size_t n, room;
};

struct sources *sources_create(void)
{
    return mem_alloc(sizeof(struct sources));
}

void sources_destroy(struct sources **s)
{
    if (*s == NULL)
        return;
    for (size_t i = 0; i < (*s)->n; i++)
        mem_free((*s)->items[i]);
    mem_free((*s)->items);
    MEM_FREE_NULL(s);
}

static struct source *find(const struct sources *s, const char *target, const char *collector,
                           size_t *at)
{
    size_t low = 0, high = s->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct source_state *st = &s->items[mid]->state;
        int c = strcmp(st->target, target);
        if (c == 0)
            c = strcmp(st->collector, collector);
        if (c == 0) {
            *at = mid;
            return s->items[mid];
        }
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *at = low;
    return NULL;
}

struct source_state *sources_get(struct sources *s, const char *target, const char *collector)
{
    struct source *source = mem_alloc(sizeof(*source));
    size_t at;
    /* Cut first: an over-long name must find its own entry again. */
    str_copy(source->state.target, sizeof(source->state.target), target);
    str_copy(source->state.collector, sizeof(source->state.collector), collector);
    struct source *old = find(s, source->state.target, source->state.collector, &at);
    if (old != NULL) {
        mem_free(source);
        return &old->state;
    }
    source->state.last_good = WALL_UNSET;
    source->state.last_good_mono = MONO_UNSET;
    source->first_check = MONO_UNSET;
    if (s->n == s->room) {
        s->room = s->room == 0 ? 16 : 2 * s->room;
        s->items = mem_realloc_array(s->items, s->room, sizeof(struct source *));
    }
    memmove(&s->items[at + 1], &s->items[at], (s->n - at) * sizeof(struct source *));
    s->items[at] = source;
    s->n++;
    return &source->state;
}

void sources_good(struct source_state *st, struct now now, int64_t duration_us)
{
    st->polls_total++;
    st->duration_us = duration_us;
    st->last_good = now.wall;
    st->last_good_mono = now.mono;
    st->failing = false;
    st->refusal = REFUSAL_NONE;
    st->error[0] = '\0';
}

bool sources_bad(struct source_state *st, const char *text)
{
    bool first = !st->failing;
    st->polls_total++;
    st->failures_total++;
    st->failing = true;
    st->refusal = REFUSAL_NONE;
    str_copy(st->error, sizeof(st->error), text);
    return first;
}

void sources_refused(struct source_state *st, enum source_refusal why)
{
    st->refusal = why;
}

enum source_refusal sources_refusal(const struct sources *s, const char *target)
{
    enum source_refusal why = REFUSAL_NONE;
    size_t at;
    /* no collector has an empty name, so this is where those of the target begin */
    (void)find(s, target, "", &at);
    for (; at < s->n && str_eq(s->items[at]->state.target, target); at++) {
        const struct source_state *st = &s->items[at]->state;
        if (st->configured && st->refusal != REFUSAL_NONE && why != REFUSAL_LOGIN)
            why = st->refusal;
    }
    return why;
}

void sources_remove_target(struct sources *s, const char *target)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (str_eq(s->items[i]->state.target, target))
            mem_free(s->items[i]);
        else
            s->items[kept++] = s->items[i];
    }
    s->n = kept;
}

void sources_check_late(struct sources *s, mono_ms now)
{
    for (size_t i = 0; i < s->n; i++) {
        struct source *source = s->items[i];
        struct source_state *st = &source->state;
        if (!st->configured || st->failing || st->interval_ms <= 0)
            continue;
        if (!mono_is_set(source->first_check))
            source->first_check = now;
        mono_ms last = mono_is_set(st->last_good_mono) ? st->last_good_mono : source->first_check;
        if (mono_diff(now, last) > LATE_INTERVALS * st->interval_ms) {
            st->failing = true;
            snprintf(st->error, sizeof(st->error), "late: no answer for more than %d intervals",
                     LATE_INTERVALS);
        }
    }
}

bool sources_metric_failing(const struct sources *s, const char *metric,
                            const struct labels *labels)
{
    static const char *const names[] = {"node", "replica", "pool"};
    const struct metric_info *info = metric_info_find(metric);
    const char *target = NULL;
    size_t at;
    for (size_t i = 0; target == NULL && i < ARRAY_LEN(names); i++)
        target = labels_get(labels, names[i]);
    if (info == NULL || target == NULL)
        return false;
    const struct source *source = find(s, target, info->collector, &at);
    if (source == NULL || !source->state.configured)
        return false;
    /* what has not answered since the start has not shown that anything is well again */
    return source->state.failing || !wall_is_set(source->state.last_good);
}

void sources_each(const struct sources *s, void (*fn)(const struct source_state *st, void *arg),
                  void *arg)
{
    for (size_t i = 0; i < s->n; i++)
        fn(&s->items[i]->state, arg);
}
