/*
 * judge_panic.c: where reads go when no replica is fit: a mode of the cluster.
 *
 * The mode is changed by rows of judge_table.c: to the policy's, or to `best` when the primary
 * cannot take the reads (lost, or over panic_guard). While a mode other than normal is on,
 * measuring goes on as ever, and it ends by the same rule by which a replica returns.
 *
 * Invariant: reads that stand on a mode (panic_read, the primary's fallback) never change a state,
 * so the end of a panic leaves exactly what the states say.
 */
#include "judge_private.h"

#include "pgvigil/base/str.h"

bool judge_is_own(const struct judge *j, const struct judge_node *n)
{
    if (j->scope == SCOPE_CLUSTER || n->v.local)
        return true;
    for (size_t i = 0; i < j->node_count; i++) {
        if (j->nodes[i].v.local)
            return false;
    }
    return true;
}

size_t judge_candidates(const struct judge *j)
{
    size_t count = 0;
    for (size_t i = 0; i < j->node_count; i++)
        count += (int)i != j->primary && j->nodes[i].v.read_config;
    return count;
}

bool judge_primary_usable(const struct judge *j)
{
    if (j->primary < 0)
        return false;
    const struct judge_node *n = &j->nodes[j->primary];
    return n->as_primary && n->role == ROLE_PRIMARY && n->v.read_config &&
           (n->v.state == FRESH_FRESH || n->v.state == FRESH_UNKNOWN);
}

static bool is_saturated(const struct judge *j)
{
    int64_t used = j->primary >= 0 ? j->nodes[j->primary].last.connections_used_permille : -1;
    return used >= 0 && (double)used > j->gate.guard_connections * 1000;
}

static bool has_published(const struct judge *j)
{
    for (size_t i = 0; i < j->node_count; i++) {
        if (j->nodes[i].published)
            return true;
    }
    return false;
}

/* At the very start a node may still have to show what it is: as long as three timeouts take. */
static bool is_undecided(const struct judge *j, mono_ms now)
{
    int64_t grace_ms = (j->gate.down_after - 1) * j->gate.probe_timeout_ms + judge_contact_ms(j);
    bool waits = false;
    for (size_t i = 0; i < j->node_count; i++) {
        const struct judge_node *n = &j->nodes[i];
        waits |= (int)i != j->primary && n->v.read_config && n->undecided;
    }
    return waits && mono_diff(now, j->created) < grace_ms;
}

/* The least stale may be used as long as it is not proven to be over hard_lag. */
static bool is_eligible(const struct judge_node *n)
{
    bool can_read = n->v.state == FRESH_STALE || n->v.state == FRESH_UNKNOWN;
    return can_read && n->role == ROLE_REPLICA && n->answered && n->v.read_config &&
           (!n->lag.known || n->lag.lo_ms < n->hard_lag_ms);
}

static bool is_proven_better(const struct judge_node *a, const struct judge_node *b)
{
    return a->lag.known && b->lag.known && a->lag.hi_ms < b->lag.lo_ms;
}

/* Stays with the one it has until that is out, or another is proven to be fresher. */
static struct judge_node *choose_best(struct judge *j)
{
    struct judge_node *best = NULL, *present = NULL;
    for (size_t i = 0; i < j->node_count; i++) {
        struct judge_node *n = &j->nodes[i];
        if (!is_eligible(n))
            continue;
        if (best == NULL || n->last.replay > best->last.replay)
            best = n;
        if (n->panic_read)
            present = n;
    }
    return present != NULL && !is_proven_better(best, present) ? present : best;
}

static enum judge_event panic_event(struct judge *j)
{
    if (j->gate.panic == PANIC_BEST)
        return EV_TO_BEST;
    if (j->gate.panic == PANIC_HOLD)
        return EV_TO_HOLD;
    if (!judge_primary_usable(j))
        return EV_PRIMARY_LOST;
    /* Once saturated it stays so while another can take the reads: else they would swing back
     * as soon as their absence has relieved it. */
    bool was_saturated = j->mode == JS_ON_BEST && str_eq(j->mode_reason, "primary_saturated");
    if (is_saturated(j) || (was_saturated && choose_best(j) != NULL))
        return EV_SATURATED;
    return EV_TO_PRIMARY;
}

static void panic_on_best(struct judge *j)
{
    const struct judge_node *best = choose_best(j);
    for (size_t i = 0; i < j->node_count; i++)
        j->nodes[i].panic_read = &j->nodes[i] == best;
}

/* Those that took reads until now keep them, unless they must not be read at all. */
static void panic_on_hold(struct judge *j)
{
    for (size_t i = 0; i < j->node_count; i++) {
        struct judge_node *n = &j->nodes[i];
        bool may = n->v.state != FRESH_DIVERGED && n->v.state != FRESH_EXCLUDED &&
                   n->role == ROLE_REPLICA && !j->blind;
        n->panic_read = may && n->v.read;
    }
}

static void panic_off(struct judge *j)
{
    for (size_t i = 0; i < j->node_count; i++)
        j->nodes[i].panic_read = false;
}

void judge_panic(struct judge *j, struct now now)
{
    bool has_reader = has_published(j) || judge_candidates(j) == 0;
    if (j->scope != SCOPE_CLUSTER || has_reader)
        judge_apply(j, NULL, EV_CALM, now);
    else if (j->mode != JS_NORMAL || !is_undecided(j, now.mono))
        judge_apply(j, NULL, panic_event(j), now);
    if (j->mode == JS_ON_BEST)
        panic_on_best(j);
    else if (j->mode == JS_ON_HOLD)
        panic_on_hold(j);
    else
        panic_off(j);
}
