/*
 * gate_tick.c: one tick: ask the replicas, then the primaries, then decide.
 *
 * Replicas go first because equality then proves that a replica had everything at that moment; a
 * primary that is asked late only widens the interval. A node that does not answer in time delays
 * nobody: its answer, or its timeout, is observed in the tick in which it arrives.
 *
 * Invariant: gate->waiting counts the nodes with `waiting` set, all of them asked in this tick.
 */
#include "gate_private.h"

/* Primaries are asked at the latest this long after the replicas. */
#define PRIMARIES_AFTER_MS 150
/* The verdict of a tick waits no longer than this. */
#define DECIDE_AFTER_MS 500
/* More than this many intervals between two ticks: the agent stood still (stopped, suspended). */
#define GAP_INTERVALS 3
/*
 * After standing still for longer than the lease everything that was published has run out, and
 * what the judge holds is old: this many ticks, the first included, must have new answers before
 * it counts again.
 */
#define QUIET_TICKS 2

/* Both waits shrink with short intervals, so that a tick is over before the next one. */
static int64_t primaries_after(const struct gate *gate)
{
    return i64_min(PRIMARIES_AFTER_MS, gate->config->intervals.replication_ms / 4);
}

static int64_t decide_after(const struct gate *gate)
{
    return i64_min(DECIDE_AFTER_MS, gate->config->intervals.replication_ms / 2);
}

static bool is_known_primary(const struct gate_node *node)
{
    return judge_verdict(node->cluster->judge, node->index)->role == ROLE_PRIMARY;
}

static void ask(struct gate *gate, bool primaries)
{
    for (size_t i = 0; i < gate->node_count; i++) {
        struct gate_node *node = gate->nodes[i];
        if (is_known_primary(node) != primaries || !probe_send(node->probe))
            continue;
        node->waiting = true;
        gate->waiting++;
    }
}

/* Asked at the start of a tick and before each decision: we can be stopped at any point of it. */
static void look_for_gap(struct gate *gate, mono_ms now)
{
    if (!mono_is_set(gate->ticked_at))
        return;
    int64_t since = mono_diff(now, gate->ticked_at);
    if (since <= GAP_INTERVALS * gate->config->intervals.replication_ms)
        return;
    gate->gap = true;
    if (since > gate->config->gate.lease_ms)
        gate->quiet_ticks = QUIET_TICKS;
    gate->ticked_at = now; /* one gap is seen once */
}

static void decide(struct gate *gate)
{
    loop_timer_stop(gate->step_timer);
    gate_abandon_tick(gate);
    /* Read anew: not before the end of the answers. */
    struct now now = clock_read();
    look_for_gap(gate, now.mono);
    for (size_t i = 0; i < gate->cluster_count; i++)
        judge_tick(gate->clusters[i]->judge, now, gate->gap);
    for (size_t i = 0; i < gate->node_count; i++)
        gate->nodes[i]->failure_counted = false;
    gate->gap = false;
    gate_publish(gate, now);
    if (gate->page != NULL)
        lease_check_guardian(gate->page, now.mono);
}

static void ask_primaries(struct gate *gate)
{
    gate->phase = GATE_PRIMARIES;
    ask(gate, true);
    if (gate->waiting == 0) {
        decide(gate);
        return;
    }
    int64_t spent = mono_diff(loop_now(gate->loop).mono, gate->ticked_at);
    loop_timer_start(gate->step_timer, i64_max(decide_after(gate) - spent, 1));
}

void gate_tick(struct gate *gate)
{
    mono_ms now = loop_now(gate->loop).mono;
    look_for_gap(gate, now);
    /* Only a loop that stood still or was held up gets here with a tick still open. */
    if (gate->phase != GATE_RESTING)
        decide(gate);
    gate->ticked_at = now;
    gate->last_answer_ns = 0;
    gate->phase = GATE_REPLICAS;
    ask(gate, false);
    if (gate->waiting == 0)
        ask_primaries(gate);
    else
        loop_timer_start(gate->step_timer, primaries_after(gate));
}

void gate_step(struct gate *gate)
{
    if (gate->phase == GATE_REPLICAS)
        ask_primaries(gate);
    else if (gate->phase == GATE_PRIMARIES)
        decide(gate);
}

void gate_abandon_tick(struct gate *gate)
{
    for (size_t i = 0; i < gate->node_count; i++)
        gate->nodes[i]->waiting = false;
    gate->waiting = 0;
    gate->phase = GATE_RESTING;
}

/*
 * A timeout and the refused attempt right after it can fall between two decisions; they are one
 * failed probe, or a node would be down sooner than down_after says.
 */
static void observe(struct gate_node *node, const struct probe_result *result)
{
    if (!result->answered && node->failure_counted)
        return;
    node->failure_counted = !result->answered;
    judge_observe(node->cluster->judge, node->index, result);
}

void gate_on_result(const struct probe_result *result, void *arg)
{
    struct gate_node *node = arg;
    struct gate *gate = node->cluster->gate;
    observe(node, result);
    if (result->answered)
        gate->last_answer_ns = clock_stage_ns();
    if (!node->waiting)
        return;
    node->waiting = false;
    gate->waiting--;
    if (gate->waiting > 0)
        return;
    if (gate->phase == GATE_REPLICAS)
        ask_primaries(gate);
    else if (gate->phase == GATE_PRIMARIES)
        decide(gate);
}
