/*
 * run_record.c: what the result of a recording rule becomes: samples of its source. All labels are
 * built before the first sample is added, because two that have become the same are an error that
 * drops the whole run.
 */
#include "rules_private.h"

#include "pgvigil/base/str.h"

#define RECORD_LABELS_MAX (LABELS_MAX - 1) /* beside the name */

struct recorded {
    uint64_t hash;
    struct labels labels; /* without the name, which all have in common */
    double value;
};

/* The sample's labels with the rule's over them; an empty value takes its label away. */
static struct labels record_labels(struct arena *arena, const struct rule *rule,
                                   const struct labels *sample)
{
    struct label *pairs = arena_alloc_array(arena, PAIRS_MAX, sizeof(*pairs));
    size_t n = 0;
    for (size_t i = 0; i < sample->n; i++)
        if (!str_eq(sample->v[i].name, LABEL_METRIC))
            put_pair(pairs, &n, sample->v[i].name, sample->v[i].value);
    for (size_t i = 0; i < rule->label_count; i++)
        put_pair(pairs, &n, rule->labels[i].name, rule->labels[i].value);
    return (struct labels){labels_sort(pairs, n), pairs};
}

static int by_labels(const void *a, const void *b)
{
    const struct recorded *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return labels_compare(&x->labels, &y->labels);
}

static void add_recorded(struct rules *r, const struct rule *rule, const struct recorded *from)
{
    const char *pairs[2 * LABELS_MAX + 1];
    size_t n = 0;
    for (size_t i = 0; i < from->labels.n; i++) {
        pairs[n++] = from->labels.v[i].name;
        pairs[n++] = from->labels.v[i].value;
    }
    pairs[n] = NULL;
    batch_add(r->builder, rule->name, from->value, pairs);
}

static bool check_recorded(const struct group_run *group, struct recorded *all, size_t n,
                           struct err *err)
{
    int limit = group->group->limit;
    qsort(all, n, sizeof(*all), by_labels);
    for (size_t i = 1; i < n; i++) {
        if (by_labels(&all[i - 1], &all[i]) == 0) {
            return err_set(err, ERR_INVALID,
                           "vector contains metrics with the same labelset after applying rule "
                           "labels");
        }
    }
    if (limit > 0 && n > (size_t)limit)
        return err_set(err, ERR_LIMIT, "exceeded limit of %d with %zu series", limit, n);
    return true;
}

bool run_record(struct rules *r, const struct group_run *group, struct rule_run *run,
                const struct promql_value *value, struct err *err)
{
    static const char *const none[] = {NULL};
    struct promql_sample scalar;
    size_t n;
    const struct promql_sample *samples = value_samples(value, &scalar, &n);
    if (n > BATCH_SAMPLES_MAX)
        return err_set(err, ERR_LIMIT, "more than %d series", BATCH_SAMPLES_MAX);
    struct recorded *all = arena_alloc_array(r->arena, n, sizeof(*all));
    for (size_t i = 0; i < n; i++) {
        all[i].labels = record_labels(r->arena, run->rule, &samples[i].labels);
        if (!fit_labels(&all[i].labels, RECORD_LABELS_MAX, err))
            return false;
        all[i].hash = labels_hash(&all[i].labels);
        all[i].value = samples[i].value;
    }
    if (!check_recorded(group, all, n, err))
        return false;
    batch_begin(r->builder, run->source, group_sample_time(group), none);
    for (size_t i = 0; i < n; i++)
        add_recorded(r, run->rule, &all[i]);
    rules_send_batch(r, run);
    return true;
}
