/*
 * gate_publish.c: from verdicts to files, board and reports.
 *
 * Files come before reports: a router must not wait for the engine. Reports are complete in
 * themselves; when the ring is full they are counted and lost, the gate never waits for its reader.
 *
 * Invariant: with files open and no fault, a health file is there exactly if its node's verdict
 * says so, and its lease was renewed in this tick.
 */
#include "gate_private.h"
#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define FILES_RETRY_MS  1000
#define STATES_EVERY_MS 10000

/* ---- reports ---- */

static void report(struct gate *gate, const struct gate_report *r)
{
    if (!ring_put(gate->reports, r))
        atomic_fetch_add_explicit(&gate->reports_lost, 1, memory_order_relaxed);
}

static void wake_reader(struct gate *gate)
{
    if (gate->on_report)
        gate->on_report(gate->on_report_arg);
}

static const struct verdict *verdict_of(const struct gate_node *node)
{
    return judge_verdict(node->cluster->judge, node->index);
}

static void log_flip(const struct gate_flip *flip)
{
    char evidence[2 * EVIDENCE_MAX], cluster[2 * NODE_NAME_MAX];
    log_info("flip cluster=%s node=%s what=%s from=%s to=%s reason=%s lo_ms=%lld hi_ms=%lld "
             "evidence=%s",
             log_quote(cluster, sizeof(cluster), flip->cluster), flip->node, flip->what, flip->from,
             flip->to, flip->reason, (long long)flip->lo_ms, (long long)flip->hi_ms,
             log_quote(evidence, sizeof(evidence), flip->evidence));
}

void gate_on_flip(const struct gate_flip *flip, void *arg)
{
    struct gate_report r = {.kind = GATE_REPORT_FLIP, .at = flip->at};
    r.u.flip = *flip;
    report(arg, &r);
    log_flip(flip);
}

static void report_verdicts(struct gate *gate, wall_ms now)
{
    for (size_t i = 0; i < gate->node_count; i++) {
        struct gate_report r = {.kind = GATE_REPORT_NODE, .at = now};
        r.u.node.verdict = *verdict_of(gate->nodes[i]);
        r.u.node.probe = *probe_stats(gate->nodes[i]->probe);
        report(gate, &r);
    }
    for (size_t i = 0; i < gate->cluster_count; i++) {
        struct gate_report r = {.kind = GATE_REPORT_CLUSTER, .at = now};
        r.u.cluster = *judge_cluster(gate->clusters[i]->judge);
        report(gate, &r);
    }
}

/* An answer of the primary moves t_before of the newest entry, also when nothing was written. */
static void report_timelines(struct gate *gate, wall_ms now)
{
    for (size_t i = 0; i < gate->cluster_count; i++) {
        struct gate_cluster *cluster = gate->clusters[i];
        struct gate_report r = {.kind = GATE_REPORT_TIMELINE, .at = now};
        if (!judge_timeline_newest(cluster->judge, &r.u.timeline.system_id, &r.u.timeline.timeline,
                                   &r.u.timeline.entry) ||
            r.u.timeline.entry.t_before.ms == cluster->timeline_told.ms)
            continue;
        cluster->timeline_told = r.u.timeline.entry.t_before;
        report(gate, &r);
    }
}

static bool state_differs(const struct gate_node_state *a, const struct gate_node_state *b)
{
    return a->role != b->role || a->state != b->state || a->read != b->read ||
           a->write != b->write || a->weight != b->weight || a->hold_ms != b->hold_ms ||
           !str_eq(a->reason, b->reason);
}

static void report_states(struct gate *gate, struct now now, int64_t lease_ms, bool all)
{
    for (size_t i = 0; i < gate->node_count; i++) {
        struct gate_node *node = gate->nodes[i];
        struct gate_report r = {.kind = GATE_REPORT_STATE, .at = now.wall};
        struct gate_node_state *state = &r.u.state;
        judge_node_state(node->cluster->judge, node->index, now.wall, state);
        if (!all && node->state_told && !state_differs(state, &node->told))
            continue;
        state->lease_until = wall_add(now.wall, lease_ms);
        node->told = *state;
        node->state_told = true;
        report(gate, &r);
    }
}

void gate_tell_retired(struct gate *gate, wall_ms now)
{
    while (gate->retired_count > 0) {
        struct gate_report r = {.kind = GATE_REPORT_CONFIG, .at = now};
        r.u.config = gate->retired[gate->retired_count - 1];
        /* Not lost: told again in the next tick. */
        if (!ring_put(gate->reports, &r))
            return;
        gate->retired_count--;
    }
    wake_reader(gate);
}

/* ---- files ---- */

static void files_fault(struct gate *gate, const struct err *err, mono_ms now)
{
    if (atomic_exchange(&gate->files_ok, false))
        log_error("health files cannot be published: %s", err->text);
    files_close(&gate->files);
    gate->files_retry_at = mono_add(now, FILES_RETRY_MS);
}

static void files_fine(struct gate *gate)
{
    if (!atomic_exchange(&gate->files_ok, true))
        log_info("health files are published again");
}

static bool put_read(struct gate *gate, const struct gate_node *node, bool healthy,
                     struct now until, struct err *err)
{
    const struct verdict *v = verdict_of(node);
    if (!healthy)
        return files_remove(gate->files, node->read_file, err);
    struct files_line line = {
        .weight = v->weight, .lag_ms = v->lag_ms, .until = until.wall, .reason = v->reason};
    return files_put(gate->files, node->read_file, &line, until.mono, err);
}

/* Weight and lag of a verdict are those of reads; who takes writes takes all and lags behind
 * nobody. */
static bool put_write(struct gate *gate, const struct gate_node *node, bool healthy,
                      struct now until, struct err *err)
{
    if (!healthy)
        return files_remove(gate->files, node->write_file, err);
    struct files_line line = {
        .weight = 100, .lag_ms = 0, .until = until.wall, .reason = verdict_of(node)->reason};
    return files_put(gate->files, node->write_file, &line, until.mono, err);
}

static void open_again(struct gate *gate, mono_ms now)
{
    if (mono_is_set(gate->files_retry_at) && mono_before(now, gate->files_retry_at))
        return;
    const char **keep = mem_alloc_array(2 * gate->node_count, sizeof(*keep));
    size_t n = 0;
    for (size_t i = 0; i < gate->node_count; i++) {
        const struct verdict *v = verdict_of(gate->nodes[i]);
        if (v->read)
            keep[n++] = gate->nodes[i]->read_file;
        if (v->write && gate->config->gate.write)
            keep[n++] = gate->nodes[i]->write_file;
    }
    struct err err;
    gate->files = files_open(gate->health_dir, gate->page, keep, n, &err);
    if (!gate->files)
        files_fault(gate, &err, now);
    mem_free(keep);
}

/* All nodes, also after a fault: one broken name must not keep the others. */
static void publish_files(struct gate *gate, struct now now, int64_t lease_ms, bool none)
{
    if (!gate->files && !none)
        open_again(gate, now.mono);
    if (!gate->files)
        return;
    struct now until = {mono_add(now.mono, lease_ms), wall_add(now.wall, lease_ms)};
    struct err err;
    bool ok = true;
    for (size_t i = 0; i < gate->node_count; i++) {
        const struct gate_node *node = gate->nodes[i];
        const struct verdict *v = verdict_of(node);
        bool write = v->write && gate->config->gate.write;
        ok &= put_read(gate, node, v->read && !none, until, &err);
        ok &= put_write(gate, node, write && !none, until, &err);
    }
    if (ok)
        files_fine(gate);
    else
        files_fault(gate, &err, now.mono);
}

/*
 * Names that the stored states of the last run cover. States are stored every STATES_EVERY_MS and
 * leases renewed each tick, so a lease may have been renewed after the last record of it: which of
 * these files still has a lease is decided by the line in it (files_open).
 */
static bool is_covered(const struct gate_node_state *state, wall_ms now)
{
    return wall_is_set(state->lease_until) &&
           wall_diff(wall_add(state->lease_until, STATES_EVERY_MS), now) > 0;
}

void gate_open_files(struct gate *gate, const struct gate_image *image, struct now now)
{
    if (gate->config->gate.dry_run)
        return;
    size_t nodes = image ? image->node_count : 0, n = 0;
    char(*names)[FILES_NAME_MAX] = mem_alloc_array(2 * nodes, sizeof(*names));
    const char **keep = mem_alloc_array(2 * nodes, sizeof(*keep));
    for (size_t i = 0; i < nodes; i++) {
        const struct gate_node_state *state = &image->nodes[i];
        bool shown[] = {state->read, state->write && gate->config->gate.write};
        for (size_t j = 0; j < ARRAY_LEN(shown) && is_covered(state, now.wall); j++) {
            if (!shown[j])
                continue;
            snprintf(names[n], sizeof(names[n]), "%.*s%s", NODE_NAME_MAX - 1, state->node,
                     j ? ".write" : ".read");
            keep[n] = names[n];
            n++;
        }
    }
    struct err err;
    gate->files = files_open(gate->health_dir, gate->page, keep, n, &err);
    if (!gate->files)
        files_fault(gate, &err, now.mono);
    mem_free(keep);
    mem_free(names);
}

/* ---- all of it ---- */

static void publish_board(struct gate *gate, struct now now)
{
    for (size_t i = 0; i < gate->node_count; i++)
        gate->verdicts[i] = verdict_of(gate->nodes[i]);
    for (size_t i = 0; i < gate->cluster_count; i++)
        gate->cluster_verdicts[i] = judge_cluster(gate->clusters[i]->judge);
    board_publish(gate->board, gate->verdicts, gate->node_count, gate->cluster_verdicts,
                  gate->cluster_count, now);
}

void gate_publish(struct gate *gate, struct now now)
{
    bool quiet = gate->quiet_ticks > 0;
    if (quiet)
        gate->quiet_ticks--;
    else
        publish_board(gate, now);
    publish_files(gate, now, gate->config->gate.lease_ms, quiet || gate->config->gate.dry_run);
    if (gate->last_answer_ns)
        hist_observe_ns(&gate->publish, clock_stage_ns() - gate->last_answer_ns);
    report_verdicts(gate, now.wall);
    report_timelines(gate, now.wall);
    bool all = !mono_is_set(gate->states_told_at) ||
               mono_diff(now.mono, gate->states_told_at) >= STATES_EVERY_MS;
    if (all)
        gate->states_told_at = now.mono;
    report_states(gate, now, gate->config->gate.lease_ms, all);
    if (gate->retired_count > 0)
        gate_tell_retired(gate, now.wall);
    wake_reader(gate);
}

/* The last turn: longer leases for a successor, or nothing left behind. */
void gate_publish_last(struct gate *gate, struct now now, bool keep_files)
{
    bool none = !keep_files || gate->config->gate.dry_run;
    publish_files(gate, now, GATE_STOP_LEASE_MS, none);
    if (!none)
        lease_extend_all(gate->page, mono_add(now.mono, GATE_STOP_LEASE_MS));
    report_states(gate, now, none ? 0 : GATE_STOP_LEASE_MS, true);
    wake_reader(gate);
}
