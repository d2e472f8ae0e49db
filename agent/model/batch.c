/*
 * batch.c: collects the samples of one poll and freezes them into one immutable block.
 *
 * The builder keeps its memory over polls, so a steady poll costs one allocation (the batch).
 * Samples are ordered by series id: ids grow as series are first seen, so polls of one source come
 * out in the same order every time and are nearly sorted when they are added. Invariant: a series
 * is in a batch at most once, and the batch holds a reference to each of its series.
 */
#include "pgvigil/model/batch.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#include "series_internal.h"

#define COMMON_MAX 8

struct entry {
    struct series *series;
    double value;
    uint32_t added; /* which of two samples of a series came later */
};

struct batch_builder {
    struct series_table *table;
    char source[BATCH_SOURCE_MAX];
    wall_ms at;
    struct label common[COMMON_MAX];
    size_t common_count;
    struct buf common_text; /* holds the strings of common */
    struct entry *entries;
    size_t count, room;
};

/* ---- batches ---- */

struct batch *batch_ref(struct batch *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void batch_unref(struct batch *b)
{
    if (b == NULL || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < b->n; i++)
        series_unref(b->samples[i].series);
    mem_free(b);
}

/* ---- the builder ---- */

struct batch_builder *batch_builder_create(struct series_table *table)
{
    struct batch_builder *builder = mem_alloc(sizeof(*builder));
    builder->table = table;
    buf_init(&builder->common_text, (size_t)COMMON_MAX * (LABEL_NAME_MAX + LABEL_VALUE_MAX + 2));
    return builder;
}

static void drop_entries(struct batch_builder *builder)
{
    for (size_t i = 0; i < builder->count; i++)
        series_unref(builder->entries[i].series);
    builder->count = 0;
}

void batch_builder_destroy(struct batch_builder **builder)
{
    if (*builder == NULL)
        return;
    drop_entries(*builder);
    mem_free((*builder)->entries);
    buf_deinit(&(*builder)->common_text);
    MEM_FREE_NULL(builder);
}

static void copy_common(struct batch_builder *builder, const char *const *common)
{
    size_t offsets[2 * COMMON_MAX];
    size_t n = 0;
    struct buf *text = &builder->common_text;
    buf_clear(text);
    for (; n < 2 * COMMON_MAX && common[n] != NULL; n++) {
        offsets[n] = text->len;
        buf_add(text, common[n], strlen(common[n]) + 1);
    }
    /* An over-long text leaves all labels out: the samples would be refused anyway. */
    builder->common_count = buf_ok(text) ? n / 2 : 0;
    for (size_t i = 0; i < builder->common_count; i++) {
        builder->common[i].name = text->data + offsets[2 * i];
        builder->common[i].value = text->data + offsets[2 * i + 1];
    }
}

void batch_begin(struct batch_builder *builder, const char *source, wall_ms at,
                 const char *const *common)
{
    drop_entries(builder);
    str_copy(builder->source, sizeof(builder->source), source);
    builder->at = at;
    builder->common_count = 0;
    if (common != NULL)
        copy_common(builder, common);
}

void batch_add_series(struct batch_builder *builder, struct series *series, double value)
{
    if (builder->count >= BATCH_SAMPLES_MAX) {
        series_table_refuse(builder->table);
        return;
    }
    if (builder->count == builder->room) {
        builder->room = builder->room == 0 ? 64 : 2 * builder->room;
        builder->entries = mem_realloc_array(builder->entries, builder->room, sizeof(struct entry));
    }
    builder->entries[builder->count] = (struct entry){
        .series = series_ref(series), .value = value, .added = (uint32_t)builder->count};
    builder->count++;
}

void batch_add(struct batch_builder *builder, const char *metric, double value,
               const char *const *pairs)
{
    struct label all[LABELS_MAX];
    size_t n = builder->common_count;
    memcpy(all, builder->common, n * sizeof(all[0]));
    for (; pairs != NULL && pairs[0] != NULL && pairs[1] != NULL; pairs += 2) {
        if (n == LABELS_MAX - 1) {
            series_table_refuse(builder->table);
            return;
        }
        all[n++] = (struct label){.name = pairs[0], .value = pairs[1]};
    }
    struct series *series = series_table_make(builder->table, metric, all, n);
    if (series != NULL)
        batch_add_series(builder, series, value);
}

static int by_series(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->series->id != y->series->id)
        return x->series->id < y->series->id ? -1 : 1;
    return x->added < y->added ? -1 : x->added > y->added;
}

static void sort_entries(struct batch_builder *builder)
{
    for (size_t i = 1; i < builder->count; i++) {
        if (builder->entries[i - 1].series->id >= builder->entries[i].series->id) {
            qsort(builder->entries, builder->count, sizeof(struct entry), by_series);
            return;
        }
    }
}

struct batch *batch_finish(struct batch_builder *builder)
{
    struct batch *b = mem_alloc(sizeof(*b) + builder->count * sizeof(struct sample));
    sort_entries(builder);
    atomic_init(&b->refs, 1);
    b->at = builder->at;
    str_copy(b->source, sizeof(b->source), builder->source);
    for (size_t i = 0; i < builder->count; i++) {
        struct entry *e = &builder->entries[i];
        if (i + 1 < builder->count && e[1].series == e->series)
            series_unref(e->series);
        else
            b->samples[b->n++] = (struct sample){.series = e->series, .value = e->value};
    }
    builder->count = 0;
    return b;
}
