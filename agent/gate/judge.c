/*
 * judge.c: the judge's life cycle and the order of its tick.
 *
 * One judge per cluster, so that nothing of one cluster can touch another's verdicts. A tick is:
 * take what was observed (judge_cluster.c: who is primary, what do we see at all), measure each
 * replica against the ring and turn that into an event (judge_node.c), apply the events through the
 * one table (judge_table.c), settle where reads go, publish (judge_publish.c). The order of nodes
 * in a tick matters only to the half rule.
 *
 * Invariant: while the judge holds (blind, split brain, settling after a gap) no event is applied
 * and nothing that routers act on changes; the counters go on, so that it is ready afterwards.
 */
#include "judge_private.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

/* Full ticks that must pass after the agent itself stood still. */
#define SETTLE_TICKS 2
/* States are stored this often, so a stored lease may be this much behind the real one. */
#define STATE_SAVE_MS 10000

/* ---- life cycle ---- */

static void configure_node(struct judge_node *n, const struct judge_opts *opts,
                           const struct config_node *node)
{
    (void)str_copy(n->v.cluster, sizeof(n->v.cluster), opts->cluster);
    (void)str_copy(n->v.node, sizeof(n->v.node), node->name);
    (void)str_copy(n->v.zone, sizeof(n->v.zone), node->zone);
    n->v.local = node->local;
    n->v.read_config = node->read;
    n->v.max_lag_ms = n->max_lag_ms = node->max_lag_ms;
    n->hard_lag_ms = node->hard_lag_ms;
    judge_endpoint(node->dsn, n->host, sizeof(n->host), &n->port);
}

static void init_node(struct judge_node *n, const struct judge_opts *opts, struct now now)
{
    *n = (struct judge_node){.result_at = MONO_UNSET,
                             .last.started = MONO_UNSET,
                             .last.ended = MONO_UNSET,
                             .starting_since = MONO_UNSET,
                             .good_since = MONO_UNSET,
                             .hold_ms = opts->gate->hold_ms,
                             .returned = {MONO_UNSET, WALL_UNSET},
                             .undecided = true};
    n->v.read_at = WALL_UNSET;
    n->v.since = now.wall;
    n->v.lag_ms = n->v.lag_lo_ms = n->v.lag_hi_ms = LAG_UNKNOWN;
    n->v.wal_lag_ms = n->v.lag_bytes = LAG_UNKNOWN;
    n->v.decided_at = now.wall;
    (void)str_copy(n->v.reason, sizeof(n->v.reason), "unknown");
}

static void configure(struct judge *j, const struct judge_opts *opts)
{
    (void)str_copy(j->cluster, sizeof(j->cluster), opts->cluster);
    j->scope = opts->scope;
    j->gate = *opts->gate;
    j->interval_ms = opts->interval_ms;
    j->on_flip = opts->on_flip;
    j->arg = opts->arg;
}

static int index_of(const struct judge *j, const char *name)
{
    for (size_t i = 0; i < j->node_count; i++) {
        if (str_eq(j->nodes[i].v.node, name))
            return (int)i;
    }
    return -1;
}

struct judge *judge_create(const struct judge_opts *opts, struct now now)
{
    struct judge *j = mem_alloc(sizeof(*j));
    j->created = now.mono;
    j->sight_back = MONO_UNSET;
    j->primary = -1;
    j->mode = JS_NORMAL;
    j->mode_reason = "";
    configure(j, opts);
    j->nodes = mem_alloc_array(opts->node_count, sizeof(*j->nodes));
    j->node_count = opts->node_count;
    for (size_t i = 0; i < j->node_count; i++) {
        init_node(&j->nodes[i], opts, now);
        configure_node(&j->nodes[i], opts, &opts->nodes[i]);
    }
    judge_publish(j, now, true);
    return j;
}

void judge_destroy(struct judge **judge)
{
    if (*judge == NULL)
        return;
    timeline_destroy(&(*judge)->ring);
    judge_drop_restored(*judge);
    mem_free((*judge)->nodes);
    MEM_FREE_NULL(judge);
}

void judge_reconfigure(struct judge *j, const struct judge_opts *opts, struct now now)
{
    struct judge_node *nodes = mem_alloc_array(opts->node_count, sizeof(*nodes));
    int64_t old_hold_ms = j->gate.hold_ms;
    int primary = -1;
    for (size_t i = 0; i < opts->node_count; i++) {
        int old = index_of(j, opts->nodes[i].name);
        if (old >= 0)
            nodes[i] = j->nodes[old];
        else
            init_node(&nodes[i], opts, now);
        configure_node(&nodes[i], opts, &opts->nodes[i]);
        /* A hold that has not been doubled follows the configuration. */
        if (nodes[i].hold_ms == old_hold_ms)
            nodes[i].hold_ms = opts->gate->hold_ms;
        if (old >= 0 && old == j->primary)
            primary = (int)i;
    }
    mem_free(j->nodes);
    j->nodes = nodes;
    j->node_count = opts->node_count;
    j->primary = primary;
    configure(j, opts);
    judge_publish(j, now, true);
}

/* ---- what the last run knew ---- */

/* Its files have run out: nothing is published any more, and only proofs against it still count. */
static bool is_covered(const struct judge *j, const struct gate_node_state *saved, wall_ms now)
{
    wall_ms until = saved->lease_until;
    if (!wall_is_set(until))
        until = wall_is_set(saved->saved_at) ? wall_add(saved->saved_at, j->gate.lease_ms) : now;
    int64_t over_ms = wall_diff(now, until);
    return over_ms <= STATE_SAVE_MS;
}

static void restore_node(struct judge *j, struct judge_node *n, const struct gate_node_state *saved,
                         struct now now)
{
    bool reads = saved->read || saved->write;
    if (reads && !is_covered(j, saved, now.wall))
        return;
    judge_table_restore(j, n, saved);
    if (saved->hold_ms > 0)
        n->hold_ms = saved->hold_ms;
    int64_t ago_ms = wall_is_set(saved->last_return) ? wall_diff(now.wall, saved->last_return) : -1;
    if (ago_ms >= 0)
        n->returned = (struct now){mono_add(now.mono, -ago_ms), saved->last_return};
    if (n->as_primary && saved->write)
        j->primary = (int)(n - j->nodes);
}

/* From the future: the wall clock was set back, so no age in it can be trusted. */
static bool is_usable_ring(const struct timeline *ring, mono_ms now)
{
    struct timeline_entry newest;
    return timeline_newest(ring, &newest) && newest.t_after.ms <= now.ms &&
           newest.t_before.ms <= now.ms;
}

/* Of a system that is there already only the newer timeline is kept. */
static void keep_ring(struct judge *j, struct timeline *ring)
{
    size_t at = 0;
    while (at < j->restored_count &&
           timeline_system_id(j->restored[at]) != timeline_system_id(ring))
        at++;
    bool is_new = at == j->restored_count && at < RESTORED_MAX;
    bool is_newer = at < j->restored_count && timeline_tli(j->restored[at]) < timeline_tli(ring);
    if (!is_new && !is_newer) {
        timeline_destroy(&ring);
        return;
    }
    j->restored_count += is_new;
    timeline_destroy(&j->restored[at]);
    j->restored[at] = ring;
}

static void restore_ring(struct judge *j, const struct gate_image_timeline *saved, mono_ms now)
{
    struct timeline *ring = timeline_create(saved->system_id, saved->timeline);
    timeline_restore(ring, saved->entries, saved->count, 0);
    if (is_usable_ring(ring, now))
        keep_ring(j, ring);
    else
        timeline_destroy(&ring);
}

void judge_restore(struct judge *j, const struct gate_image *image, struct now now)
{
    for (size_t i = 0; i < image->node_count; i++) {
        const struct gate_node_state *saved = &image->nodes[i];
        int at = str_eq(saved->cluster, j->cluster) ? index_of(j, saved->node) : -1;
        if (at >= 0)
            restore_node(j, &j->nodes[at], saved, now);
    }
    for (size_t i = 0; i < image->timeline_count; i++)
        restore_ring(j, &image->timelines[i], now.mono);
    judge_publish(j, now, true);
}

/* ---- ticks ---- */

void judge_observe(struct judge *j, size_t node, const struct probe_result *result)
{
    if (node >= j->node_count)
        return;
    struct judge_node *n = &j->nodes[node];
    n->observed = true;
    n->answered = result->answered;
    n->failure = result->failure;
    n->result_at = result->ended;
    if (result->answered) {
        n->last = *result;
        n->failures = n->counted = 0;
        n->starting_since = MONO_UNSET;
        return;
    }
    n->failures++;
    n->counted += judge_counts_against(result->failure);
    if (result->failure == PG_FAIL_STARTING && !mono_is_set(n->starting_since))
        n->starting_since = result->ended;
}

static void forget_counts(struct judge *j)
{
    for (size_t i = 0; i < j->node_count; i++) {
        struct judge_node *n = &j->nodes[i];
        n->failures = n->counted = n->over_ticks = n->doubt_ticks = 0;
        n->good_since = MONO_UNSET;
        n->starting_since = MONO_UNSET;
    }
}

static void decide_nodes(struct judge *j, struct now now, bool held)
{
    for (size_t i = 0; i < j->node_count; i++) {
        struct judge_node *n = &j->nodes[i];
        judge_measure(j, n, now.mono);
        judge_tell(j, n);
        enum judge_event event = judge_node_event(j, n, now.mono);
        if (!held)
            judge_apply(j, n, judge_half_rule(j, n, event), now);
        n->observed = false;
    }
}

void judge_tick(struct judge *j, struct now now, bool gap)
{
    if (gap) {
        forget_counts(j);
        j->settle = SETTLE_TICKS + 1; /* this one does not count */
    }
    judge_look(j, now);
    bool is_blind = j->blind && j->gate.on_total_loss == LOSS_HOLD;
    bool held = is_blind || j->split_held || j->settle > 0;
    decide_nodes(j, now, held);
    if (!held)
        judge_panic(j, now);
    judge_publish(j, now, held);
    if (j->settle > 0)
        j->settle--;
}

/* ---- getters ---- */

size_t judge_node_count(const struct judge *j)
{
    return j->node_count;
}

const struct verdict *judge_verdict(const struct judge *j, size_t node)
{
    return &j->nodes[node].v;
}

const struct cluster_verdict *judge_cluster(const struct judge *j)
{
    return &j->verdict;
}

void judge_node_state(const struct judge *j, size_t node, wall_ms now, struct gate_node_state *out)
{
    const struct judge_node *n = &j->nodes[node];
    *out = (struct gate_node_state){.role = n->v.role,
                                    .state = n->v.state,
                                    .read = n->v.read,
                                    .write = n->v.write,
                                    .weight = n->v.weight,
                                    .since = n->v.since,
                                    .lease_until = WALL_UNSET,
                                    .hold_ms = n->hold_ms,
                                    .last_return = n->returned.wall,
                                    .saved_at = now};
    (void)str_copy(out->cluster, sizeof(out->cluster), n->v.cluster);
    (void)str_copy(out->node, sizeof(out->node), n->v.node);
    (void)str_copy(out->reason, sizeof(out->reason), n->v.reason);
}

bool judge_timeline_newest(const struct judge *j, uint64_t *system_id, uint32_t *tli,
                           struct timeline_entry *out)
{
    if (j->ring == NULL || !timeline_newest(j->ring, out))
        return false;
    *system_id = timeline_system_id(j->ring);
    *tli = timeline_tli(j->ring);
    return true;
}
