/*
 * feeds.c: recording rules that feed alerts. An alert on a recorded series must know what that
 * series was made of: a collector that fails takes the recorded series away as well, and after a
 * start it is not there before its rule has run. Links go through rules that feed rules; they are
 * made once for each load, by name, and a rule that feeds itself ends where it began. Invariant:
 * feeds point into the groups that are loaded, and are freed with them.
 */
#include "rules_private.h"

#include "pgvigil/base/str.h"
#include "pgvigil/promql/selector.h"

#define FEEDS_MAX 64 /* of one alert; 5,000 that each look at 5,000 would take all memory */

struct record {
    const char *name; /* key */
    struct rule_run *run;
    struct record *same; /* the next of this name */
    UT_hash_handle hh;
};

struct linking {
    struct record *records;
    struct rule_run *run; /* whose feeds are looked for */
};

static void add_record(struct record **records, struct rule_run *run)
{
    struct record *record = mem_alloc(sizeof(*record)), *first;
    record->name = run->rule->name;
    record->run = run;
    HASH_FIND_STR(*records, record->name, first);
    if (first != NULL) {
        record->same = first->same;
        first->same = record;
    } else {
        HASH_ADD_KEYPTR(hh, *records, record->name, strlen(record->name), record);
    }
}

static void free_records(struct record *records)
{
    struct record *record, *next, *same;
    HASH_ITER(hh, records, record, next)
    {
        HASH_DEL(records, record);
        for (; record != NULL; record = same) {
            same = record->same;
            mem_free(record);
        }
    }
}

static void add_feed(struct rule_run *run, struct rule_run *feed)
{
    for (size_t i = 0; i < run->feed_count; i++)
        if (run->feeds[i] == feed)
            return;
    if (run->feed_count == FEEDS_MAX)
        return;
    run->feeds = mem_realloc_array(run->feeds, run->feed_count + 1, sizeof(struct rule_run *));
    run->feeds[run->feed_count++] = feed;
    life_add_inputs(&run->life, feed->rule);
}

static bool is_of_alerts(const char *metric)
{
    return str_eq(metric, "ALERTS") || str_eq(metric, "ALERTS_FOR_STATE") ||
           str_eq(metric, "pgvigil_alert_firing");
}

static void look_at_metric(const char *metric, void *arg)
{
    struct linking *l = arg;
    struct record *record;
    if (is_of_alerts(metric))
        l->run->of_alerts = true;
    HASH_FIND_STR(l->records, metric, record);
    for (; record != NULL; record = record->same)
        add_feed(l->run, record->run);
}

static void link_run(struct linking *l)
{
    promql_each_metric(l->run->rule->expr, look_at_metric, l);
    for (size_t i = 0; i < l->run->feed_count; i++)
        promql_each_metric(l->run->feeds[i]->rule->expr, look_at_metric, l);
}

void rules_link_feeds(struct rules *r)
{
    struct linking l = {NULL, NULL};
    for (size_t g = 0; g < r->count; g++) {
        for (size_t i = 0; i < r->groups[g].group->count; i++)
            if (!r->groups[g].runs[i].rule->is_alert)
                add_record(&l.records, &r->groups[g].runs[i]);
    }
    for (size_t g = 0; g < r->count; g++) {
        for (size_t i = 0; i < r->groups[g].group->count; i++) {
            l.run = &r->groups[g].runs[i];
            if (l.run->rule->is_alert)
                link_run(&l);
        }
    }
    free_records(l.records);
}

bool rule_lacks_input(const struct rules *r, const struct rule_run *run)
{
    for (size_t i = 0; i < run->feed_count; i++)
        if (!wall_is_set(run->feeds[i]->run_at) || run->feeds[i]->error[0] != '\0')
            return true;
    return run->of_alerts && !mono_is_set(r->settled);
}

/* What looks further back than the lookback reads what was before the start (far.c). */
static int64_t own_window_ms(const struct rules *r, const struct rule_run *run)
{
    bool is_far = r->opts.run_far != NULL && run->reach_ms > PROMQL_LOOKBACK_MS;
    return is_far ? 0 : promql_window_ms(run->rule->expr);
}

/* A rule that runs before the one that feeds it sees it one interval later. */
int64_t rule_fill_ms(const struct rules *r, const struct rule_run *run)
{
    int64_t window = own_window_ms(r, run), late = 0;
    for (size_t i = 0; i < run->feed_count; i++) {
        window = i64_max(window, own_window_ms(r, run->feeds[i]));
        late += i64_min(run->feeds[i]->interval_ms, PROMQL_LOOKBACK_MS);
    }
    return window + late;
}
