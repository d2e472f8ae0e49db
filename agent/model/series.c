/*
 * series.c: the table of time series: label set to one shared, immutable, counted object.
 *
 * A series is one block of memory (struct, labels, strings, printed text), because there are up to
 * 100,000 of them and they are only read after they are made. The table is open addressing with
 * linear probing over pointers; nothing is ever removed from it but by a sweep, which rebuilds it,
 * so there are no tombstones. Invariant: the table holds one reference to everything in it, and
 * only the engine's thread turns a table entry into a new reference, so a count of 1 seen by the
 * sweep cannot grow behind its back.
 */
#include "pgvigil/model/series.h"

#include "pgvigil/base/mem.h"

#include "series_internal.h"

#define SLOTS_MIN 256
/* name{...} with LABELS_MAX pairs, every byte escaped or replaced. */
#define TEXT_MAX (LABELS_MAX * (LABEL_NAME_MAX + 3 * LABEL_VALUE_MAX + 8))

struct series_table {
    struct series **slots;
    size_t slot_count; /* power of two, at least twice the series */
    size_t count;
    size_t cap;
    uint32_t next_id;
    _Atomic uint64_t dropped;
    struct buf text; /* scratch */
};

struct series_table *series_table_create(size_t cap)
{
    struct series_table *table = mem_alloc(sizeof(*table));
    table->slot_count = SLOTS_MIN;
    table->slots = mem_alloc_array(table->slot_count, sizeof(struct series *));
    table->cap = cap;
    table->next_id = 1;
    buf_init(&table->text, TEXT_MAX);
    return table;
}

void series_table_destroy(struct series_table **table)
{
    if (*table == NULL)
        return;
    for (size_t i = 0; i < (*table)->slot_count; i++)
        series_unref((*table)->slots[i]);
    mem_free((*table)->slots);
    buf_deinit(&(*table)->text);
    MEM_FREE_NULL(table);
}

struct series *series_ref(struct series *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void series_unref(struct series *s)
{
    if (s != NULL && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
        mem_free(s);
}

/* The slot of the labels, or the empty one where they belong. */
static struct series **find_slot(const struct series_table *table, const struct labels *labels,
                                 uint64_t hash)
{
    size_t mask = table->slot_count - 1;
    size_t i = (size_t)hash & mask;
    while (table->slots[i] != NULL) {
        const struct series *s = table->slots[i];
        if (s->hash == hash && labels_equal(&s->labels, labels))
            break;
        i = (i + 1) & mask;
    }
    return &table->slots[i];
}

/* Moves what stays into a table of slot_count slots; with sweep, frees what nobody else holds. */
static void rebuild(struct series_table *table, size_t slot_count, bool sweep)
{
    struct series **old = table->slots;
    size_t old_count = table->slot_count;
    table->slots = mem_alloc_array(slot_count, sizeof(struct series *));
    table->slot_count = slot_count;
    for (size_t i = 0; i < old_count; i++) {
        struct series *s = old[i];
        if (s == NULL)
            continue;
        if (sweep && atomic_load_explicit(&s->refs, memory_order_acquire) == 1) {
            series_unref(s);
            table->count--;
        } else {
            *find_slot(table, &s->labels, s->hash) = s;
        }
    }
    mem_free(old);
}

static bool within_limits(const struct labels *labels)
{
    if (labels->n == 0 || labels->n > LABELS_MAX || labels_get(labels, LABEL_METRIC) == NULL)
        return false;
    for (size_t i = 0; i < labels->n; i++) {
        if (strnlen(labels->v[i].name, LABEL_NAME_MAX + 1) > LABEL_NAME_MAX ||
            strnlen(labels->v[i].value, LABEL_VALUE_MAX + 1) > LABEL_VALUE_MAX)
            return false;
    }
    return true;
}

static const char *pack(char **at, const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = memcpy(*at, s, n);
    *at += n;
    return copy;
}

static struct series *series_make(struct series_table *table, const struct labels *labels,
                                  uint64_t hash)
{
    size_t bytes = sizeof(struct series) + labels->n * sizeof(struct label);
    buf_clear(&table->text);
    labels_print(labels, &table->text);
    bytes += table->text.len + 1;
    for (size_t i = 0; i < labels->n; i++)
        bytes += strlen(labels->v[i].name) + strlen(labels->v[i].value) + 2;

    struct series *s = mem_alloc(bytes);
    struct label *v = (struct label *)(s + 1);
    char *at = (char *)(v + labels->n);
    for (size_t i = 0; i < labels->n; i++) {
        v[i].name = pack(&at, labels->v[i].name);
        v[i].value = pack(&at, labels->v[i].value);
    }
    s->text = pack(&at, table->text.data);
    s->id = table->next_id++;
    atomic_init(&s->refs, 1);
    s->hash = hash;
    s->labels = (struct labels){.n = labels->n, .v = v};
    s->name = labels_get(&s->labels, LABEL_METRIC);
    return s;
}

void series_table_refuse(struct series_table *table)
{
    atomic_fetch_add_explicit(&table->dropped, 1, memory_order_relaxed);
}

struct series *series_table_get(struct series_table *table, const struct labels *labels)
{
    uint64_t hash = labels_hash(labels);
    struct series **slot = find_slot(table, labels, hash);
    if (*slot != NULL)
        return *slot;
    /* Ids are never used again, so the last one ends the table too. */
    if (table->count >= table->cap || table->next_id == UINT32_MAX || !within_limits(labels)) {
        series_table_refuse(table);
        return NULL;
    }
    if (2 * (table->count + 1) > table->slot_count) {
        rebuild(table, 2 * table->slot_count, false);
        slot = find_slot(table, labels, hash);
    }
    *slot = series_make(table, labels, hash);
    table->count++;
    return *slot;
}

struct series *series_table_make(struct series_table *table, const char *name,
                                 const struct label *pairs, size_t n)
{
    struct label all[LABELS_MAX];
    if (n > LABELS_MAX - 1) {
        series_table_refuse(table);
        return NULL;
    }
    all[0] = (struct label){.name = LABEL_METRIC, .value = name};
    if (n > 0)
        memcpy(&all[1], pairs, n * sizeof(all[0]));
    struct labels labels = {.v = all, .n = labels_sort(all, n + 1)};
    return series_table_get(table, &labels);
}

void series_table_sweep(struct series_table *table)
{
    rebuild(table, table->slot_count, true);
    /* After a burst the memory of the slots is given back too. */
    size_t want = SLOTS_MIN;
    while (want < 2 * (table->count + 1))
        want *= 2;
    if (want * 4 <= table->slot_count)
        rebuild(table, want, false);
}

size_t series_table_count(const struct series_table *table)
{
    return table->count;
}

uint64_t series_table_dropped(const struct series_table *table)
{
    return atomic_load_explicit(&table->dropped, memory_order_relaxed);
}
