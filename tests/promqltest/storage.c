/*
 * storage.c: the series that load commands made, and which of them are native histograms.
 *
 * This engine has no native histograms, so their series are kept as labels only: a case that
 * selects one of them, whatever the time, is a native-histogram case. load_with_nhcb would make a
 * native series next to the classic buckets; it counts the same. Start timestamps are not used.
 */
#include "promqltest.h"

#include "pgvigil/base/str.h"

#define NATIVES_MAX 4096

void storage_init(struct storage *storage)
{
    *storage = (struct storage){.native_count = 0};
    mem_reader_init(&storage->floats);
}

void storage_deinit(struct storage *storage)
{
    mem_reader_deinit(&storage->floats);
}

void storage_clear(struct storage *storage)
{
    storage_deinit(storage);
    storage_init(storage);
    storage->is_changed = true;
}

static bool add_native(struct storage *storage, const struct labels *labels, struct err *err)
{
    size_t n = storage->native_count;

    if (n == NATIVES_MAX)
        return err_set(err, ERR_LIMIT, "more than %d native series", NATIVES_MAX);
    storage->natives = arena_grow_array(storage->floats.arena, storage->natives, n, n + 1,
                                        sizeof(*storage->natives));
    storage->natives[storage->native_count++] = *labels;
    return true;
}

/* x_bucket{le="1"} makes the native series x. */
static bool add_nhcb(struct storage *storage, const struct labels *labels, struct err *err)
{
    static const char bucket[] = "_bucket";
    struct arena *arena = storage->floats.arena;
    const char *name = labels_get_or_empty(labels, LABEL_METRIC);
    size_t n = strlen(name), end = sizeof(bucket) - 1;
    struct labels native;

    if (n <= end || !str_eq(name + n - end, bucket))
        return true;
    native = labels_with(arena, labels, "le", "");
    native = labels_with(arena, &native, LABEL_METRIC, arena_strndup(arena, name, n - end));
    return add_native(storage, &native, err);
}

static int compare_points(const void *a, const void *b)
{
    const struct point *x = a, *y = b;

    return (x->t > y->t) - (x->t < y->t);
}

static void add_float(struct storage *storage, int64_t step_ms, const struct series_line *line)
{
    struct mem_reader *mr = &storage->floats;
    struct mem_series *series = mem_find(mr, &line->labels);
    struct point *points =
        arena_alloc_array(mr->arena, series->n + line->n + 1, sizeof(*series->points));
    size_t n = 0;

    series->labels = line->labels;
    /* A later load adds to a series; what it names again is replaced. */
    for (size_t i = 0; i < line->n; i++)
        if (!line->items[i].is_gap)
            points[n++] = (struct point){.t = (int64_t)i * step_ms, .v = line->items[i].v};
    for (size_t i = 0, made = n; i < series->n; i++) {
        if (!made || !bsearch(&series->points[i], points, made, sizeof(*points), compare_points))
            points[n++] = series->points[i];
    }
    if (n > 1)
        qsort(points, n, sizeof(*points), compare_points);
    series->points = points;
    series->n = n;
}

bool storage_load(struct storage *storage, int64_t step_ms, bool with_nhcb, const char *line,
                  struct err *err)
{
    struct series_line series;

    storage->is_changed = true;
    if (!series_line_parse(storage->floats.arena, line, &series, err))
        return false;
    if (series.is_start_times)
        return true;
    if (series.has_native)
        return add_native(storage, &series.labels, err);
    add_float(storage, step_ms, &series);
    return !with_nhcb || add_nhcb(storage, &series.labels, err);
}

bool storage_touches_native(const struct storage *storage, const struct promql_expr *expr)
{
    for (const struct node *s = expr->selectors; s; s = s->selector.next) {
        for (size_t i = 0; i < storage->native_count; i++) {
            struct err ignored; /* in doubt it does */
            bool match;

            if (!matchers_match(s->selector.matchers, s->selector.matcher_count, regex_match,
                                &storage->natives[i], &match, &ignored) ||
                match)
                return true;
        }
    }
    return false;
}
