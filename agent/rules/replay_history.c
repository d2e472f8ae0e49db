/*
 * Why slices: a week of samples does not fit into memory and history.db is ordered by time, so one
 * walk over a slice serves all metrics, and behind it only what rules look back on is kept. What
 * nobody foresaw (a template's query, a selector without a metric name) is read from the file when
 * it is asked for: slow, but right. Invariant: everything of a wanted metric between its keep time
 * and the end of the slice is in memory, and no sample of a recorded series from the replay's own
 * time is read from the file.
 */
#include "replay_parts.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/promql/selector.h"

/* uthash must abort like the rest of us when memory is out. */
#undef uthash_malloc
#undef uthash_free
#define uthash_malloc(n)  mem_alloc(n)
#define uthash_free(p, n) mem_free(p)
#include <uthash.h>

#define SLICE_MS       (3600 * 1000)
#define SLICE_LEAST_MS (60 * 1000)
/* of one read: its result is copied, and both are in memory for a moment */
#define SLICE_POINTS 4000000
/* Sampled by every agent, so its absence alone shows that none ran. */
#define LIFE_METRIC "pgvigil_build_info"
/* Without a sample of anything for so long (or four usual steps) the agent was down; as long again
 * after it every collector has been heard, but those of schemas, whose rules are not urgent. */
#define GAP_LEAST_MS   60000
#define GAP_STEPS      4
#define GAP_UNKNOWN_MS (15 * 60 * 1000) /* as long as the usual step is not known */
#define STEPS_LEAST    20
#define STEPS_MAX      1000 /* between samples that are looked at for the usual one */

struct wanted {
    char *name; /* key */
    int64_t keep_ms;
    bool is_recorded; /* by a rule: the file's own samples count up to the first step only */
    UT_hash_handle hh;
};

struct walk {
    const struct replay_history_opts *opts;
    struct replay *replay;
    struct replay_notes *notes;
    struct wanted *wanted;
    struct reader rest;
    struct arena *arena;
    int64_t first_ms;  /* first step */
    int64_t loaded_ms; /* all is in memory up to here */
    int64_t read_ms;   /* metrics that keep as long or longer are read; see load_before */
    size_t max_points, points_most;
    uint64_t points_read;
    /* signs of life */
    bool *seen;           /* by second of the slice */
    int64_t last_seen_ms; /* INT64_MIN = nothing yet */
    int64_t steps[STEPS_MAX];
    size_t step_count;
    int64_t gap_ms; /* 0 = not known yet */
};

/* ---- which metrics, how far back ---- */

static struct wanted *find_wanted(const struct walk *w, const char *name)
{
    struct wanted *found;
    HASH_FIND_STR(w->wanted, name, found);
    return found;
}

static struct wanted *get_wanted(struct walk *w, const char *name)
{
    struct wanted *found = find_wanted(w, name);
    if (found == NULL) {
        found = mem_alloc(sizeof(*found));
        found->name = mem_strdup(name);
        found->keep_ms = PROMQL_LOOKBACK_MS;
        HASH_ADD_KEYPTR(hh, w->wanted, found->name, strlen(found->name), found);
    }
    return found;
}

struct reach_of {
    struct walk *walk;
    int64_t ms;
};

static void want_metric(const char *name, void *arg)
{
    const struct reach_of *reach = arg;
    struct wanted *wanted = get_wanted(reach->walk, name);
    wanted->keep_ms = i64_max(wanted->keep_ms, reach->ms);
}

static void free_wanted(struct walk *w)
{
    struct wanted *wanted, *next;
    HASH_ITER(hh, w->wanted, wanted, next)
    {
        HASH_DEL(w->wanted, wanted);
        mem_free(wanted->name);
        mem_free(wanted);
    }
}

static void want_metrics(struct walk *w, const struct rule_set *set)
{
    static const char *const own[] = {"ALERTS", "ALERTS_FOR_STATE", "pgvigil_alert_firing"};
    free_wanted(w);
    get_wanted(w, LIFE_METRIC);
    for (size_t g = 0; g < set->count; g++) {
        for (size_t i = 0; i < set->groups[g].count; i++) {
            const struct rule *rule = &set->groups[g].rules[i];
            struct reach_of reach = {w, replay_reach_ms(rule) + set->groups[g].query_offset_ms};
            promql_each_metric(rule->expr, want_metric, &reach);
            if (!rule->is_alert)
                get_wanted(w, rule->name)->is_recorded = true;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        get_wanted(w, own[i])->is_recorded = true;
}

static int64_t keep_after(const char *metric, void *arg)
{
    const struct walk *w = arg;
    const struct wanted *wanted = find_wanted(w, metric);
    return w->loaded_ms - (wanted != NULL ? wanted->keep_ms : 0);
}

/* ---- reading the file ---- */

static enum regex_outcome is_read_now(const void *arg, const char *name)
{
    const struct walk *w = arg;
    const struct wanted *wanted = find_wanted(w, name);
    bool is_read = wanted != NULL && wanted->keep_ms >= w->read_ms;
    return is_read ? REGEX_MATCH : REGEX_NO_MATCH;
}

static bool is_made_anew(const struct walk *w, const struct labels *labels)
{
    const struct wanted *wanted = find_wanted(w, labels_get_or_empty(labels, LABEL_METRIC));
    return wanted != NULL && wanted->is_recorded;
}

static void see(struct walk *w, const struct read_series *series, int64_t from)
{
    for (size_t i = 0; w->seen != NULL && i < series->n; i++)
        w->seen[(series->points[i].t - from - 1) / 1000] = true;
}

static bool take_result(struct walk *w, const struct read_result *result, int64_t from,
                        struct err *err)
{
    for (size_t i = 0; i < result->n; i++) {
        const struct read_series *series = &result->series[i];
        size_t n = series->n;
        see(w, series, from);
        w->points_read += n;
        while (is_made_anew(w, &series->labels) && n > 0 && series->points[n - 1].t >= w->first_ms)
            n--;
        if (n > 0 && !replay_add(w->replay, &series->labels, series->points, n, err))
            return false;
    }
    size_t held = replay_points(w->replay);
    w->points_most = held > w->points_most ? held : w->points_most;
    return true;
}

/* Reads (from, to] of the metrics that keep at least read_ms. */
static bool load(struct walk *w, int64_t from, int64_t to, struct err *err)
{
    struct matcher all = {.op = MATCH_RE, .name = LABEL_METRIC, .value = "", .regex = w};
    size_t room = w->max_points - replay_points(w->replay);
    struct read_request req = {.matchers = &all,
                               .matcher_count = 1,
                               .regex_match = is_read_now,
                               .t_min = from,
                               .t_max = to,
                               .max_points = size_min(SLICE_POINTS, room)};
    struct read_result result;
    arena_reset(w->arena);
    return w->opts->history->select(w->opts->history, &req, w->arena, &result, err) &&
           take_result(w, &result, from, err);
}

/* What is not in memory: from the file, without what the rules have made anew. */
static bool select_rest(struct reader *reader, const struct read_request *req, struct arena *arena,
                        struct read_result *out, struct err *err)
{
    struct walk *w = reader->impl;
    if (!w->opts->history->select(w->opts->history, req, arena, out, err))
        return false;
    for (size_t i = 0; i < out->n; i++) {
        struct read_series *series = &out->series[i];
        while (is_made_anew(w, &series->labels) && series->n > 0 &&
               series->points[series->n - 1].t >= w->first_ms)
            series->n--;
    }
    return true;
}

static bool covers(const char *metric, int64_t t_min, void *arg)
{
    const struct walk *w = arg;
    const struct wanted *wanted = metric != NULL ? find_wanted(w, metric) : NULL;
    /* steps are at or before loaded_ms, and what is older than one's keep time was dropped at the
     * last slice: so it is safe to compare with the step's own time */
    return wanted != NULL && t_min >= replay_next(w->replay).ms - wanted->keep_ms;
}

/* ---- before the first step ---- */

static int64_t longest_keep(const struct walk *w)
{
    int64_t ms = 0;
    for (const struct wanted *wanted = w->wanted; wanted != NULL; wanted = wanted->hh.next)
        ms = i64_max(ms, wanted->keep_ms);
    return ms;
}

/* The time before the first step that rules look back on; from far to near, each time only those
 * metrics that are kept so long. */
static bool load_before(struct walk *w, struct err *err)
{
    int64_t step = 6 * SLICE_MS, at = w->first_ms - longest_keep(w);
    bool ok = true;
    while (ok && at < w->first_ms) {
        int64_t to = i64_min(at + step, w->first_ms);
        w->read_ms = w->first_ms - to;
        ok = load(w, at, to, err);
        if (ok) {
            at = to;
        } else if (err->kind == ERR_LIMIT && step > SLICE_LEAST_MS &&
                   replay_points(w->replay) < w->max_points / 2) {
            step /= 2;
            ok = true;
        }
    }
    w->read_ms = 0;
    w->loaded_ms = w->first_ms;
    return ok;
}

static int64_t warm_ms(const struct rule_set *set)
{
    int64_t reach = 0, wait = 0;
    for (size_t g = 0; g < set->count; g++) {
        for (size_t i = 0; i < set->groups[g].count; i++) {
            const struct rule *rule = &set->groups[g].rules[i];
            reach = i64_max(reach, replay_reach_ms(rule));
            wait = i64_max(wait, rule->for_ms + rule->keep_firing_ms);
        }
    }
    return i64_min(reach, REPLAY_WARM_MAX_MS) + wait;
}

/* ---- signs of life ---- */

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The usual time between samples, from the first slices that have some. */
static void learn_steps(struct walk *w, int64_t seconds)
{
    int64_t last = -1;
    for (int64_t i = 0; w->gap_ms == 0 && i < seconds && w->step_count < STEPS_MAX; i++) {
        if (!w->seen[i])
            continue;
        if (last >= 0)
            w->steps[w->step_count++] = (i - last) * 1000;
        last = i;
    }
    if (w->gap_ms != 0 || w->step_count < STEPS_LEAST)
        return;
    qsort(w->steps, w->step_count, sizeof(*w->steps), by_size);
    w->gap_ms = i64_max(GAP_LEAST_MS, GAP_STEPS * w->steps[w->step_count / 2]);
}

static int64_t gap_ms(const struct walk *w)
{
    return w->gap_ms > 0 ? w->gap_ms : GAP_UNKNOWN_MS;
}

static bool run_to(struct walk *w, int64_t to, struct err *err)
{
    return replay_run(w->replay, (wall_ms){to}, err);
}

/* A sample at this time, seen after last_seen_ms. */
static bool live(struct walk *w, int64_t at, struct err *err)
{
    bool is_first = w->last_seen_ms == INT64_MIN;
    int64_t since = is_first ? w->first_ms : w->last_seen_ms, limit = gap_ms(w);
    if (at - since <= limit) {
        w->last_seen_ms = at;
        return true;
    }
    if (!run_to(w, is_first ? since - 1 : since, err))
        return false;
    replay_notes_gap(w->notes, (wall_ms){since}, (wall_ms){at}, (wall_ms){at + limit});
    replay_jump(w->replay, (wall_ms){at + limit});
    w->last_seen_ms = at;
    return true;
}

/* Steps of the slice (from, to], which is in memory. */
static bool run_slice(struct walk *w, int64_t from, int64_t to, struct err *err)
{
    int64_t seconds = (to - from + 999) / 1000;
    learn_steps(w, seconds);
    for (int64_t i = 0; i < seconds; i++)
        if (w->seen[i] && !live(w, i64_min(from + (i + 1) * 1000, to), err))
            return false;
    /* the time since the last sample may be the begin of a gap */
    int64_t since = w->last_seen_ms == INT64_MIN ? w->first_ms - 1 : w->last_seen_ms;
    return run_to(w, to - since > gap_ms(w) ? since : to, err);
}

/* ---- the walk ---- */

static bool walk_slices(struct walk *w, struct err *err)
{
    int64_t slice = SLICE_MS, end = w->opts->end.ms;
    w->seen = mem_alloc_array(SLICE_MS / 1000 + 1, sizeof(*w->seen));
    while (w->loaded_ms < end) {
        int64_t from = w->loaded_ms, to = i64_min(from + slice, end);
        memset(w->seen, 0, (SLICE_MS / 1000 + 1) * sizeof(*w->seen));
        if (!load(w, from, to, err)) {
            if (err->kind != ERR_LIMIT || slice <= SLICE_LEAST_MS)
                return false;
            slice /= 2; /* points that were added already are not added twice */
            continue;
        }
        w->loaded_ms = to;
        if (!run_slice(w, from, to, err))
            return false;
        replay_trim(w->replay, keep_after, w,
                    (wall_ms){w->loaded_ms - longest_keep(w) - PROMQL_LOOKBACK_MS});
        if (w->opts->progress != NULL)
            w->opts->progress((wall_ms){to}, w->opts->arg);
    }
    int64_t since = w->last_seen_ms == INT64_MIN ? w->first_ms : w->last_seen_ms;
    if (end - since > gap_ms(w))
        replay_notes_gap(w->notes, (wall_ms){since}, (wall_ms){end}, (wall_ms){end});
    return true;
}

static void on_change(const struct alert *alert, enum alert_state from, void *arg)
{
    struct walk *w = arg;
    wall_ms at = alert->state == ALERT_FIRING     ? alert->fired_at
                 : alert->state == ALERT_RESOLVED ? alert->resolved_at
                                                  : replay_at(w->replay);
    replay_notes_change(w->notes, alert, from, at);
}

static bool on_step(struct replay *replay, wall_ms at, void *arg)
{
    replay_notes_step(((struct walk *)arg)->notes, replay, at);
    return true;
}

static void create_replay(struct walk *w, struct rule_set *set)
{
    const struct replay_history_opts *o = w->opts;
    w->replay =
        replay_create(&(struct replay_opts){.evaluation_interval_ms = o->evaluation_interval_ms,
                                            .external_labels = o->external_labels,
                                            .external_label_count = o->external_label_count,
                                            .start = {w->first_ms},
                                            .max_points = w->max_points,
                                            .rest = &w->rest,
                                            .covers = covers,
                                            .on_change = on_change,
                                            .on_step = on_step,
                                            .arg = w},
                      set);
}

struct replay_outcome *replay_history_run(const struct replay_history_opts *opts,
                                          struct rule_set *set, struct err *err)
{
    struct walk *w = mem_alloc(sizeof(*w));
    struct replay_outcome *outcome = NULL;
    w->opts = opts;
    w->rest = (struct reader){select_rest, w};
    w->arena = arena_create(0, ARENA_NO_LIMIT);
    w->max_points = opts->max_points > 0 ? opts->max_points : REPLAY_HISTORY_POINTS;
    w->last_seen_ms = INT64_MIN;
    w->notes = replay_notes_create(set, opts->start, opts->end);
    if (opts->max_reach_ms > 0)
        replay_notes_leave_out(w->notes, set, opts->max_reach_ms);
    w->first_ms = opts->start.ms - warm_ms(set);
    want_metrics(w, set);
    create_replay(w, set);
    if (load_before(w, err) && walk_slices(w, err)) {
        outcome = replay_notes_finish(w->notes);
        outcome->points_most = w->points_most;
        outcome->points_read = w->points_read;
    }
    replay_notes_destroy(&w->notes);
    replay_destroy(&w->replay);
    free_wanted(w);
    arena_destroy(&w->arena);
    mem_free(w->seen);
    mem_free(w);
    return outcome;
}
