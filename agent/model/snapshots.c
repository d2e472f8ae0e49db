/*
 * snapshots.c: the newest batch of each source, for /metrics.
 *
 * A mutex guards an array of pointers sorted by source; it is held for a binary search or for
 * copying some hundred pointers, never while a batch is built, printed or freed. Only the engine
 * and readers of HTTP meet it; the gate's thread never does. Invariant: one entry per source.
 */
#include "pgvigil/model/batch.h"

#include <pthread.h>

#include "pgvigil/base/mem.h"

struct snapshots {
    pthread_mutex_t lock;
    struct batch **batches; /* by source */
    size_t n, room;
};

struct snapshots *snapshots_create(void)
{
    struct snapshots *s = mem_alloc(sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void snapshots_destroy(struct snapshots **s)
{
    if (*s == NULL)
        return;
    for (size_t i = 0; i < (*s)->n; i++)
        batch_unref((*s)->batches[i]);
    mem_free((*s)->batches);
    pthread_mutex_destroy(&(*s)->lock);
    MEM_FREE_NULL(s);
}

/* Place of the source, or where it belongs. Under the lock. */
static size_t find(const struct snapshots *s, const char *source, bool *found)
{
    size_t low = 0, high = s->n;
    *found = false;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = strcmp(s->batches[mid]->source, source);
        if (c == 0) {
            *found = true;
            return mid;
        }
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void insert(struct snapshots *s, size_t at, struct batch *b)
{
    if (s->n == s->room) {
        s->room = s->room == 0 ? 16 : 2 * s->room;
        s->batches = mem_realloc_array(s->batches, s->room, sizeof(struct batch *));
    }
    memmove(&s->batches[at + 1], &s->batches[at], (s->n - at) * sizeof(struct batch *));
    s->batches[at] = b;
    s->n++;
}

void snapshots_put(struct snapshots *s, struct batch *b)
{
    bool found;
    struct batch *old = NULL;
    batch_ref(b);
    pthread_mutex_lock(&s->lock);
    size_t at = find(s, b->source, &found);
    if (found) {
        old = s->batches[at];
        s->batches[at] = b;
    } else {
        insert(s, at, b);
    }
    pthread_mutex_unlock(&s->lock);
    batch_unref(old);
}

void snapshots_drop(struct snapshots *s, const char *source)
{
    bool found;
    struct batch *old = NULL;
    pthread_mutex_lock(&s->lock);
    size_t at = find(s, source, &found);
    if (found) {
        old = s->batches[at];
        s->n--;
        memmove(&s->batches[at], &s->batches[at + 1], (s->n - at) * sizeof(struct batch *));
    }
    pthread_mutex_unlock(&s->lock);
    batch_unref(old);
}

struct batch **snapshots_get(struct snapshots *s, size_t *n)
{
    pthread_mutex_lock(&s->lock);
    struct batch **out = mem_alloc_array(s->n, sizeof(struct batch *));
    for (size_t i = 0; i < s->n; i++)
        out[i] = batch_ref(s->batches[i]);
    *n = s->n;
    pthread_mutex_unlock(&s->lock);
    return out;
}
