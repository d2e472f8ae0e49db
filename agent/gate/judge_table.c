/*
 * judge_table.c: every change of state as one row {from, event, to, reason}, and the one function
 * that applies rows.
 *
 * What an event means for a state is here and nowhere else; whether an event has happened (counts,
 * holds, the half rule) is decided in judge_node.c and judge_cluster.c. An event without a row for
 * the present state means nothing. A row that leaves the state as it is changes the reason shown.
 * The first matching row counts, so rows of one state stand before those of any.
 *
 * Invariants: no state is assigned elsewhere; each change of state is a flip with its evidence;
 * `published` follows from the state alone: fresh publishes a replica, unknown keeps what was, all
 * others take it out.
 */
#include "judge_private.h"

#include "pgvigil/base/str.h"

/* A return this soon after the one before doubles the hold, up to the cap. */
#define FLAP_MS     600000
#define HOLD_CAP_MS 300000

static const struct judge_row table[] = {
    /* replica, from its lag */
    {JS_UNKNOWN, EV_FIRST, JS_FRESH, "fresh"},
    {JS_UNKNOWN, EV_SURE, JS_FRESH, "fresh"},
    {JS_UNKNOWN, EV_RETURN, JS_FRESH, "returned"},
    {JS_UNKNOWN, EV_HOLD, JS_UNKNOWN, "hold"},
    {JS_UNKNOWN, EV_BEHIND, JS_UNKNOWN, "unproven"},
    {JS_UNKNOWN, EV_UNSURE, JS_UNKNOWN, "unproven"},
    {JS_UNKNOWN, EV_UNSEEN, JS_UNKNOWN, "primary_unseen"},
    {JS_UNKNOWN, EV_HALF, JS_UNKNOWN, "half_rule"},
    {JS_UNKNOWN, EV_LAG, JS_STALE, "lag"},
    {JS_UNKNOWN, EV_HARD, JS_STALE, "hard_lag"},
    {JS_FRESH, EV_UNSURE, JS_UNKNOWN, "unproven"},
    {JS_FRESH, EV_UNSEEN, JS_UNKNOWN, "primary_unseen"},
    {JS_FRESH, EV_HALF, JS_UNKNOWN, "half_rule"},
    {JS_FRESH, EV_LAG, JS_STALE, "lag"},
    {JS_FRESH, EV_HARD, JS_STALE, "hard_lag"},
    {JS_STALE, EV_LAG, JS_STALE, "lag"},
    {JS_STALE, EV_HARD, JS_STALE, "hard_lag"},
    {JS_STALE, EV_BEHIND, JS_STALE, "catching_up"},
    {JS_STALE, EV_HOLD, JS_STALE, "hold"},
    {JS_STALE, EV_RETURN, JS_FRESH, "returned"},
    /* replica or primary, from whether it answers; what is excluded stays so */
    {JS_UNKNOWN, EV_FAILED, JS_DOWN, "down"},
    {JS_FRESH, EV_FAILED, JS_DOWN, "down"},
    {JS_STALE, EV_FAILED, JS_DOWN, "down"},
    {JS_DIVERGED, EV_FAILED, JS_DOWN, "down"},
    {JS_UNKNOWN, EV_TOTAL_LOSS, JS_DOWN, "total_loss"},
    {JS_FRESH, EV_TOTAL_LOSS, JS_DOWN, "total_loss"},
    {JS_STALE, EV_TOTAL_LOSS, JS_DOWN, "total_loss"},
    {JS_DIVERGED, EV_TOTAL_LOSS, JS_DOWN, "total_loss"},
    {JS_UNKNOWN, EV_STARTING, JS_UNKNOWN, "starting"},
    {JS_FRESH, EV_STARTING, JS_UNKNOWN, "starting"},
    {JS_UNKNOWN, EV_UNOBSERVABLE, JS_UNKNOWN, "unobservable"},
    {JS_FRESH, EV_UNOBSERVABLE, JS_UNKNOWN, "unobservable"},
    {JS_DOWN, EV_ANSWERED, JS_UNKNOWN, "answered"},
    /* replica, from what it is */
    {JS_EXCLUDED, EV_READMITTED, JS_UNKNOWN, "readmitted"},
    {JS_DIVERGED, EV_REJOINED, JS_UNKNOWN, "rejoined"},
    {FROM_ANY_NODE, EV_READ_OFF, JS_EXCLUDED, "read_false"},
    {FROM_ANY_NODE, EV_NO_REPLAY_LSN, JS_EXCLUDED, "no_replay_lsn"},
    {FROM_ANY_NODE, EV_DELAYED, JS_EXCLUDED, "delayed"},
    {FROM_ANY_NODE, EV_OTHER_SYSTEM, JS_DIVERGED, "other_system"},
    {FROM_ANY_NODE, EV_OLD_TIMELINE, JS_DIVERGED, "old_timeline"},
    /* roles */
    {FROM_ANY_NODE, EV_PRIMARY, JS_FRESH, "primary"},
    {FROM_ANY_NODE, EV_DEMOTED, JS_UNKNOWN, "demoted"},
    /* the cluster's reads */
    {JS_NORMAL, EV_TO_PRIMARY, JS_ON_PRIMARY, "no_fresh_replica"},
    {JS_ON_BEST, EV_TO_PRIMARY, JS_ON_PRIMARY, "no_fresh_replica"},
    {JS_ON_HOLD, EV_TO_PRIMARY, JS_ON_PRIMARY, "no_fresh_replica"},
    {JS_NORMAL, EV_TO_BEST, JS_ON_BEST, "no_fresh_replica"},
    {JS_ON_PRIMARY, EV_TO_BEST, JS_ON_BEST, "no_fresh_replica"},
    {JS_ON_HOLD, EV_TO_BEST, JS_ON_BEST, "no_fresh_replica"},
    {JS_NORMAL, EV_TO_HOLD, JS_ON_HOLD, "no_fresh_replica"},
    {JS_ON_PRIMARY, EV_TO_HOLD, JS_ON_HOLD, "no_fresh_replica"},
    {JS_ON_BEST, EV_TO_HOLD, JS_ON_HOLD, "no_fresh_replica"},
    {JS_NORMAL, EV_SATURATED, JS_ON_BEST, "primary_saturated"},
    {JS_ON_PRIMARY, EV_SATURATED, JS_ON_BEST, "primary_saturated"},
    {JS_ON_BEST, EV_SATURATED, JS_ON_BEST, "primary_saturated"},
    {JS_ON_HOLD, EV_SATURATED, JS_ON_BEST, "primary_saturated"},
    {JS_NORMAL, EV_PRIMARY_LOST, JS_ON_BEST, "primary_lost"},
    {JS_ON_PRIMARY, EV_PRIMARY_LOST, JS_ON_BEST, "primary_lost"},
    {JS_ON_BEST, EV_PRIMARY_LOST, JS_ON_BEST, "primary_lost"},
    {JS_ON_HOLD, EV_PRIMARY_LOST, JS_ON_BEST, "primary_lost"},
    {JS_ON_PRIMARY, EV_CALM, JS_NORMAL, "replica_fit"},
    {JS_ON_BEST, EV_CALM, JS_NORMAL, "replica_fit"},
    {JS_ON_HOLD, EV_CALM, JS_NORMAL, "replica_fit"},
};

const struct judge_row *judge_rows(size_t *n)
{
    *n = ARRAY_LEN(table);
    return table;
}

const struct judge_row *judge_row_find(enum judge_state from, enum judge_event event)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const struct judge_row *r = &table[i];
        if (r->event == event &&
            (r->from == from || (r->from == FROM_ANY_NODE && from <= JS_EXCLUDED)))
            return r;
    }
    return NULL;
}

const char *judge_event_name(enum judge_event event)
{
    static const char *const names[EV_COUNT] = {
        [EV_NONE] = "none",
        [EV_READ_OFF] = "read_off",
        [EV_NO_REPLAY_LSN] = "no_replay_lsn",
        [EV_DELAYED] = "delayed",
        [EV_READMITTED] = "readmitted",
        [EV_OTHER_SYSTEM] = "other_system",
        [EV_OLD_TIMELINE] = "old_timeline",
        [EV_REJOINED] = "rejoined",
        [EV_FAILED] = "failed",
        [EV_TOTAL_LOSS] = "total_loss",
        [EV_ANSWERED] = "answered",
        [EV_STARTING] = "starting",
        [EV_UNOBSERVABLE] = "unobservable",
        [EV_FIRST] = "first",
        [EV_SURE] = "sure",
        [EV_UNSURE] = "unsure",
        [EV_UNSEEN] = "unseen",
        [EV_HALF] = "half",
        [EV_LAG] = "lag",
        [EV_HARD] = "hard",
        [EV_BEHIND] = "behind",
        [EV_HOLD] = "hold",
        [EV_RETURN] = "return",
        [EV_PRIMARY] = "primary",
        [EV_DEMOTED] = "demoted",
        [EV_TO_PRIMARY] = "to_primary",
        [EV_TO_BEST] = "to_best",
        [EV_TO_HOLD] = "to_hold",
        [EV_SATURATED] = "saturated",
        [EV_PRIMARY_LOST] = "primary_lost",
        [EV_CALM] = "calm",
    };
    return event < EV_COUNT ? names[event] : "unknown";
}

const char *judge_state_name(enum judge_state state)
{
    switch (state) {
    case JS_UNKNOWN:
    case JS_FRESH:
    case JS_STALE:
    case JS_DOWN:
    case JS_DIVERGED:
    case JS_EXCLUDED:
        return fresh_state_name((enum fresh_state)state);
    case JS_NORMAL:
        return "off";
    case JS_ON_PRIMARY:
        return "primary";
    case JS_ON_BEST:
        return "best";
    case JS_ON_HOLD:
        return "hold";
    case JS_COUNT:
        break;
    }
    return "unknown";
}

void judge_emit(const struct judge *j, const struct judge_node *n, const struct gate_flip *what,
                struct now now)
{
    struct gate_flip f = *what;
    struct timeline_entry newest;
    f.at = now.wall;
    f.lo_ms = f.hi_ms = LAG_UNKNOWN;
    (void)str_copy(f.cluster, sizeof(f.cluster), j->cluster);
    if (j->ring != NULL && timeline_newest(j->ring, &newest))
        f.primary = newest.write;
    if (n != NULL) {
        (void)str_copy(f.node, sizeof(f.node), n->v.node);
        (void)str_copy(f.evidence, sizeof(f.evidence), n->v.evidence);
        f.replay = n->role == ROLE_REPLICA ? n->last.replay : 0;
        if (n->lag.known) {
            f.lo_ms = n->lag.lo_ms;
            f.hi_ms = n->lag.hi_ms;
        }
    }
    if (j->on_flip != NULL)
        j->on_flip(&f, j->arg);
}

static void emit_state(const struct judge *j, const struct judge_node *n, enum judge_state from,
                       const struct judge_row *row, struct now now)
{
    struct gate_flip f = {0};
    (void)str_copy(f.what, sizeof(f.what), n != NULL ? "state" : "fallback");
    (void)str_copy(f.from, sizeof(f.from), judge_state_name(from));
    (void)str_copy(f.to, sizeof(f.to), judge_state_name((enum judge_state)row->to));
    (void)str_copy(f.reason, sizeof(f.reason), row->reason);
    if (n == NULL && j->primary >= 0)
        (void)str_copy(f.node, sizeof(f.node), j->nodes[j->primary].v.node);
    judge_emit(j, n, &f, now);
}

/* A replica that leaves soon after its last return has to wait twice as long for the next. */
static void lengthen_hold(const struct judge *j, struct judge_node *n, mono_ms now)
{
    int64_t base = j->gate.hold_ms;
    bool flaps = mono_is_set(n->returned.mono) && mono_diff(now, n->returned.mono) < FLAP_MS;
    n->hold_ms = flaps ? i64_min(i64_max(n->hold_ms, base) * 2, i64_max(base, HOLD_CAP_MS)) : base;
}

static bool publishes(const struct judge_node *n, const struct judge_row *row)
{
    if (row->event == EV_PRIMARY || row->event == EV_DEMOTED)
        return false;
    if (row->to == JS_FRESH)
        return true;
    return row->to == JS_UNKNOWN && n->published;
}

static void apply_to_node(struct judge *j, struct judge_node *n, const struct judge_row *row,
                          struct now now)
{
    bool was = n->published;
    n->published = publishes(n, row);
    if (was && !n->published)
        lengthen_hold(j, n, now.mono);
    if (row->event == EV_RETURN)
        n->returned = now;
    if (row->event == EV_PRIMARY || row->event == EV_DEMOTED)
        n->as_primary = row->event == EV_PRIMARY;
    if (row->to != JS_UNKNOWN || row->event == EV_DEMOTED)
        n->undecided = false;
    n->good_since = MONO_UNSET;
    n->over_ticks = n->doubt_ticks = 0;
}

static void enter(struct judge *j, struct judge_node *n, const struct judge_row *row,
                  struct now now)
{
    (void)str_copy(n->reason, sizeof(n->reason), row->reason);
    bool changes_role = row->event == EV_PRIMARY || row->event == EV_DEMOTED;
    if ((int)row->to == (int)n->v.state && !changes_role)
        return;
    n->v.state = (enum fresh_state)row->to;
    n->v.since = now.wall;
    apply_to_node(j, n, row, now);
}

void judge_apply(struct judge *j, struct judge_node *n, enum judge_event event, struct now now)
{
    enum judge_state from = n != NULL ? (enum judge_state)n->v.state : j->mode;
    const struct judge_row *row = judge_row_find(from, event);
    if (row == NULL)
        return;
    bool is_change = row->to != from;
    if (!is_change && str_eq(n != NULL ? n->reason : j->mode_reason, row->reason))
        return;
    if (n != NULL) {
        enter(j, n, row, now);
    } else {
        j->mode = (enum judge_state)row->to;
        j->mode_reason = row->reason;
    }
    /* hard_lag cuts sessions where lag only drains: routers treat them differently. */
    if (is_change || event == EV_HARD)
        emit_state(j, n, from, row, now);
}

/*
 * The mode is not stored: the reasons under which nodes took reads tell it. In their place comes
 * the reason that their state must have had.
 */
static void restore_mode(struct judge *j, struct judge_node *n, bool reads)
{
    static const struct {
        const char *reason;
        enum judge_state mode;
    } modes[] = {{"no_fresh_replica", JS_ON_PRIMARY},
                 {"panic_best", JS_ON_BEST},
                 {"panic_hold", JS_ON_HOLD}};
    for (size_t i = 0; reads && i < ARRAY_LEN(modes); i++) {
        if (!str_eq(n->reason, modes[i].reason))
            continue;
        j->mode = modes[i].mode;
        j->mode_reason = "no_fresh_replica";
        n->panic_read = modes[i].mode != JS_ON_PRIMARY;
        n->published = false;
        (void)str_copy(n->reason, sizeof(n->reason), "lag");
    }
}

void judge_table_restore(struct judge *j, struct judge_node *n, const struct gate_node_state *saved)
{
    n->role = saved->role;
    n->v.role = saved->role;
    n->v.state = saved->state <= FRESH_EXCLUDED ? saved->state : FRESH_UNKNOWN;
    n->v.since = saved->since;
    (void)str_copy(n->reason, sizeof(n->reason), saved->reason);
    n->published = saved->role == ROLE_REPLICA && saved->read;
    n->as_primary = saved->role == ROLE_PRIMARY && n->v.state == FRESH_FRESH;
    n->undecided = false;
    n->v.read = saved->read;
    n->v.write = saved->write;
    n->v.weight = saved->weight >= 0 && saved->weight <= 100 ? saved->weight : 0;
    if (j->scope == SCOPE_CLUSTER)
        restore_mode(j, n, saved->read);
    if (n->as_primary)
        (void)str_copy(n->reason, sizeof(n->reason), "primary");
    n->was_published = n->published;
}
