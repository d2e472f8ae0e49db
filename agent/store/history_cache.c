/*
 * history_cache.c: from a series' id in this process to its row in the file.
 *
 * Why so: each sample needs the row, and asking SQLite by the text of the labels would cost more
 * than writing the sample. Open addressing with linear probing over 32-byte slots; slots are never
 * freed one by one: when the table must grow, what was not seen for long is left out.
 * Invariant: at most 3/4 of the slots are used, so a probe always ends.
 */
#include "history_parts.h"
#include "pgvigil/base/mem.h"

#define CACHE_START 256

void series_cache_clear(struct series_cache *c)
{
    mem_free(c->slots);
    *c = (struct series_cache){0};
}

static struct cached_series *probe(const struct series_cache *c, uint32_t id)
{
    size_t i = (id * UINT32_C(2654435761)) & (c->cap - 1);

    while (c->slots[i].row != 0 && c->slots[i].id != id)
        i = (i + 1) & (c->cap - 1);
    return &c->slots[i];
}

struct cached_series *series_cache_find(const struct series_cache *c, uint32_t id)
{
    if (c->cap == 0)
        return NULL;
    struct cached_series *s = probe(c, id);
    return s->row == 0 ? NULL : s;
}

static void rebuild(struct series_cache *c, int64_t forget_t)
{
    struct series_cache old = *c;
    size_t live = 0;

    for (size_t i = 0; i < old.cap; i++)
        live += old.slots[i].row != 0 && old.slots[i].seen_t >= forget_t;
    c->cap = CACHE_START;
    while (c->cap < live * 2)
        c->cap *= 2;
    c->slots = mem_alloc_array(c->cap, sizeof(*c->slots));
    c->n = live;
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i].row != 0 && old.slots[i].seen_t >= forget_t)
            *probe(c, old.slots[i].id) = old.slots[i];
    }
    mem_free(old.slots);
}

struct cached_series *series_cache_add(struct series_cache *c, uint32_t id, int64_t row,
                                       int64_t seen_t, int64_t forget_t)
{
    if (4 * (c->n + 1) > 3 * c->cap)
        rebuild(c, forget_t);
    struct cached_series *s = probe(c, id);
    *s = (struct cached_series){.id = id, .row = row, .seen_t = seen_t, .saved_t = seen_t};
    c->n++;
    return s;
}
