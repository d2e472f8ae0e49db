/*
 * The life of an alert is a table of rows {from, event, to}; life_apply is the only place where a
 * state changes. Durations (`for`, keep_firing_for, hold) run on the monotonic clock, so a clock
 * step neither fires nor resolves anything; wall times are stamps for people and for the store.
 * Missing data is decided here, after evaluation: an alert that disappeared from the result is held
 * while a collector that feeds one of its rule's selectors fails for the target that its labels
 * name, while a rule that feeds it has no result (feeds.c), and after a start until windows
 * and recorded series are filled again; an empty result with fresh inputs is recovery.
 */
#include "life.h"

#include "pgvigil/base/str.h"

static const struct {
    enum alert_state from;
    enum life_event event;
    enum alert_state to;
} rows[] = {
    {ALERT_INACTIVE, LIFE_TRUE_WAIT, ALERT_PENDING},
    {ALERT_INACTIVE, LIFE_TRUE_DUE, ALERT_FIRING},
    {ALERT_PENDING, LIFE_TRUE_WAIT, ALERT_PENDING},
    {ALERT_PENDING, LIFE_TRUE_DUE, ALERT_FIRING},
    {ALERT_PENDING, LIFE_HELD, ALERT_PENDING},
    {ALERT_PENDING, LIFE_KEPT, ALERT_INACTIVE}, /* keep_firing_for is for firing alerts */
    {ALERT_PENDING, LIFE_GONE, ALERT_INACTIVE},
    {ALERT_FIRING, LIFE_TRUE_DUE, ALERT_FIRING},
    {ALERT_FIRING, LIFE_TRUE_WAIT, ALERT_PENDING}, /* `for` was raised above its active time */
    {ALERT_FIRING, LIFE_KEPT, ALERT_FIRING},
    {ALERT_FIRING, LIFE_HELD, ALERT_FIRING},
    {ALERT_FIRING, LIFE_GONE, ALERT_RESOLVED},
    {ALERT_RESOLVED, LIFE_TRUE_WAIT, ALERT_PENDING},
    {ALERT_RESOLVED, LIFE_TRUE_DUE, ALERT_FIRING},
    {ALERT_RESOLVED, LIFE_GONE, ALERT_RESOLVED},
    {ALERT_RESOLVED, LIFE_EXPIRED, ALERT_INACTIVE},
};

static enum alert_state next_state(enum alert_state from, enum life_event event)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].from == from && rows[i].event == event)
            return rows[i].to;
    return from;
}

static void forget(struct life *life, struct life_instance *in)
{
    HASH_DEL(life->instances, in);
    alert_destroy(&in->alert);
    mem_free(in);
}

static void enter(struct life_instance *in, enum alert_state to, struct now now)
{
    struct alert *a = in->alert;
    switch (to) {
    case ALERT_PENDING:
        a->fired_at = WALL_UNSET;
        break;
    case ALERT_FIRING:
        a->fired_at = now.wall;
        a->resolved_at = WALL_UNSET;
        break;
    case ALERT_RESOLVED:
        a->resolved_at = now.wall;
        in->resolved = now.mono;
        break;
    case ALERT_INACTIVE:
        break;
    }
    a->state = to;
}

/* Applies the table; tells the change. The instance may be gone afterwards. */
static void life_apply(struct life *life, struct life_instance *in, enum life_event event,
                       struct now now)
{
    struct alert *a = in->alert;
    enum alert_state from = a->state, to = next_state(from, event);
    bool held = event == LIFE_HELD;
    bool changed = to != from || held != a->held;
    a->held = held;
    in->held_since = !held ? MONO_UNSET : mono_is_set(in->held_since) ? in->held_since : now.mono;
    if (to != from)
        enter(in, to, now);
    if (changed)
        life->opts->on_change(a, from, life->opts->arg);
    if (to == ALERT_INACTIVE)
        forget(life, in);
}

static void add_metric(const char *name, void *arg)
{
    struct life *life = arg;
    life->metrics =
        mem_realloc_array(life->metrics, life->metric_count + 1, sizeof(*life->metrics));
    life->metrics[life->metric_count++] = mem_strdup(name);
}

void life_init(struct life *life, const struct rules_opts *opts, const struct rule *rule,
               const char *group)
{
    *life = (struct life){.opts = opts, .rule = rule, .group = group, .whole_at = MONO_UNSET};
    life_add_inputs(life, rule);
}

void life_add_inputs(struct life *life, const struct rule *rule)
{
    promql_each_metric(rule->expr, add_metric, life);
}

void life_deinit(struct life *life)
{
    struct life_instance *in, *next;
    HASH_ITER(hh, life->instances, in, next)
    {
        forget(life, in);
    }
    for (size_t i = 0; i < life->metric_count; i++)
        mem_free(life->metrics[i]);
    mem_free(life->metrics);
}

void life_begin(struct life *life, bool lacks_input, struct now now)
{
    life->run++;
    life->lacks_input = lacks_input;
    if (!mono_is_set(life->whole_at))
        life->whole_at = mono_add(now.mono, life->fill_ms);
}

static struct life_instance *find(struct life *life, uint64_t fingerprint)
{
    struct life_instance *in;
    HASH_FIND(hh, life->instances, &fingerprint, sizeof(fingerprint), in);
    return in;
}

static struct life_instance *add(struct life *life, struct alert *owned)
{
    struct life_instance *in = mem_alloc(sizeof(*in));
    in->fingerprint = owned->fingerprint;
    in->alert = owned;
    in->active = in->gone_since = in->held_since = in->resolved = MONO_UNSET;
    HASH_ADD(hh, life->instances, fingerprint, sizeof(in->fingerprint), in);
    return in;
}

/* Value, annotations and, after a reload, the expression follow each run; times and state stay. */
static void refresh(struct life_instance *in, const struct alert *seen)
{
    struct alert *old = in->alert, *copy;
    bool same = old->value == seen->value && str_eq(old->expr, seen->expr) &&
                labels_equal(&old->annotations, &seen->annotations);
    if (same)
        return;
    struct alert fresh = *old;
    fresh.value = seen->value;
    fresh.annotations = seen->annotations;
    fresh.expr = seen->expr;
    copy = alert_copy(&fresh);
    alert_destroy(&in->alert);
    in->alert = copy;
}

/*
 * How long a restored alert has been pending, as Prometheus counts it: time in which nobody
 * evaluated is left out, and one that is nearly due waits a while for fresh data. This agent knows
 * when it went down to 10 s, so a short `for` is restored too.
 */
static int64_t pending_ms(const struct life *life, const struct life_instance *in, struct now now)
{
    int64_t for_ms = life->rule->for_ms;
    if (!wall_is_set(in->down_since) || wall_diff(now.wall, in->down_since) > RULES_OUTAGE_MAX_MS)
        return 0;
    int64_t spent = i64_max(0, wall_diff(in->down_since, in->alert->active_at));
    if (for_ms >= RULES_GRACE_MS && spent < for_ms && for_ms - spent < RULES_GRACE_MS)
        return for_ms - RULES_GRACE_MS;
    return spent;
}

/* At the first evaluation that sees it. The moved time is stored, or a second restart would count
 * the first outage. */
static void settle_restored(struct life *life, struct life_instance *in, struct now now)
{
    int64_t spent = pending_ms(life, in, now);
    in->is_restored = false;
    in->active = mono_add(now.mono, -spent);
    in->alert->active_at = wall_add(now.wall, -spent);
    life->opts->on_change(in->alert, in->alert->state, life->opts->arg);
}

void life_seen(struct life *life, const struct alert *alert, struct now now)
{
    struct life_instance *in = find(life, alert->fingerprint);
    if (in == NULL) {
        struct alert *copy = alert_copy(alert);
        copy->state = ALERT_INACTIVE;
        in = add(life, copy);
    } else {
        refresh(in, alert);
    }
    if (in->is_restored)
        settle_restored(life, in, now);
    if (in->alert->state == ALERT_INACTIVE || in->alert->state == ALERT_RESOLVED) {
        in->active = now.mono;
        in->alert->active_at = now.wall;
    }
    in->run = life->run;
    in->is_unseen = false;
    in->gone_since = MONO_UNSET;
    in->alert->reason = "";
    in->alert->keep_until = WALL_UNSET;
    bool due = mono_diff(now.mono, in->active) >= life->rule->for_ms;
    life_apply(life, in, due ? LIFE_TRUE_DUE : LIFE_TRUE_WAIT, now);
}

/* After a start the head lacks the samples of before: a window with too few of them, or a recorded
 * series that is not there yet, is no recovery of what fired on them. */
static bool is_head_short(const struct life *life, const struct life_instance *in, mono_ms now)
{
    return in->is_unseen && mono_before(now, life->whole_at);
}

static bool input_fails(const struct life *life, const struct life_instance *in, mono_ms now)
{
    if (life->lacks_input || is_head_short(life, in, now))
        return true;
    for (size_t i = 0; i < life->metric_count; i++)
        if (life->opts->failing(life->metrics[i], &in->alert->labels, life->opts->arg))
            return true;
    return false;
}

/* What it means that an alert is no longer in the result. */
static enum life_event absent_event(struct life *life, struct life_instance *in, struct now now)
{
    struct alert *a = in->alert;
    if (a->state == ALERT_RESOLVED)
        return mono_diff(now.mono, in->resolved) >= RULES_RESOLVED_KEEP_MS ? LIFE_EXPIRED
                                                                           : LIFE_GONE;
    if (life->opts->gone(&a->labels, life->opts->arg)) {
        a->reason = "removed";
        return LIFE_GONE;
    }
    if (input_fails(life, in, now.mono)) {
        bool lost =
            mono_is_set(in->held_since) && mono_diff(now.mono, in->held_since) >= RULES_HELD_MAX_MS;
        if (!lost)
            return LIFE_HELD;
        a->reason = "lost";
        return LIFE_GONE;
    }
    if (!mono_is_set(in->gone_since)) {
        in->gone_since = now.mono;
        a->keep_until = wall_add(now.wall, life->rule->keep_firing_ms);
    }
    bool kept = mono_diff(now.mono, in->gone_since) < life->rule->keep_firing_ms;
    return kept ? LIFE_KEPT : LIFE_GONE;
}

void life_end(struct life *life, struct now now)
{
    struct life_instance *in, *next;
    HASH_ITER(hh, life->instances, in, next)
    {
        if (in->run != life->run)
            life_apply(life, in, absent_event(life, in, now), now);
    }
}

/* keep_firing_for counts as in Prometheus; what is held for want of data does not. */
static bool would_be_kept(const struct life *life, const struct life_instance *in, struct now now)
{
    int64_t gone = mono_is_set(in->gone_since) ? mono_diff(now.mono, in->gone_since) : 0;
    return in->alert->state == ALERT_FIRING && gone < life->rule->keep_firing_ms;
}

size_t life_active_after(struct life *life, const struct alert *alerts, size_t n, struct now now)
{
    size_t active = n;
    for (const struct life_instance *in = life->instances; in != NULL; in = in->hh.next)
        active += would_be_kept(life, in, now);
    for (size_t i = 0; i < n; i++) { /* those were counted twice */
        const struct life_instance *in = find(life, alerts[i].fingerprint);
        active -= in != NULL && would_be_kept(life, in, now);
    }
    return active;
}

void life_resolve_all(struct life *life, const char *reason, struct now now)
{
    struct life_instance *in, *next;
    HASH_ITER(hh, life->instances, in, next)
    {
        if (in->alert->state == ALERT_RESOLVED)
            continue;
        in->alert->reason = reason;
        life_apply(life, in, LIFE_GONE, now);
    }
}

void life_restore(struct life *life, const struct alert *alert, wall_ms down_since, struct now now)
{
    if (find(life, alert->fingerprint) != NULL)
        return;
    struct life_instance *in = add(life, alert_copy(alert));
    in->alert->held = false;
    in->is_restored = alert->state == ALERT_PENDING;
    in->is_unseen = true;
    in->down_since = down_since;
    /* What fired fires on, whatever the outage and the clock: its receivers wait for the end. */
    int64_t active_for =
        i64_max(life->rule->for_ms, i64_max(0, wall_diff(now.wall, alert->active_at)));
    in->active = mono_add(now.mono, -active_for);
    if (wall_is_set(alert->keep_until))
        in->gone_since =
            mono_add(now.mono, wall_diff(alert->keep_until, now.wall) - life->rule->keep_firing_ms);
}

void life_move(struct life *from, struct life *to)
{
    to->instances = from->instances;
    to->run = from->run;
    to->fill_ms = from->fill_ms;
    to->whole_at = from->whole_at;
    from->instances = NULL;
}
