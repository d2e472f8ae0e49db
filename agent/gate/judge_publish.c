/*
 * judge_publish.c: from states to what is published: the verdicts of this tick.
 *
 * Facts (role, lag, positions) are always brought up to date. What routers act on (read, write,
 * weight, fallback) is left alone while the judge holds: blind, split brain, or just awake.
 * Invariant: read, write and weight change here and in judge_weight.c only, and each change of read
 * or write is a flip.
 */
#include "judge_private.h"

#include "pgvigil/base/str.h"
#include "pgvigil/gate/lsn.h"

static bool has_no_replicas(const struct judge *j)
{
    return j->primary >= 0 && judge_candidates(j) == 0;
}

static bool takes_fallback(const struct judge *j, const struct judge_node *n)
{
    bool is_primary = j->primary >= 0 && n == &j->nodes[j->primary];
    return is_primary && judge_primary_usable(j) &&
           (j->mode == JS_ON_PRIMARY || has_no_replicas(j));
}

static bool takes_writes(const struct judge *j, const struct judge_node *n)
{
    bool is_primary = j->primary >= 0 && n == &j->nodes[j->primary];
    return is_primary && n->as_primary && n->role == ROLE_PRIMARY &&
           (n->v.state == FRESH_FRESH || n->v.state == FRESH_UNKNOWN);
}

static const char *shown_reason(const struct judge *j, const struct judge_node *n)
{
    if (n->v.fallback)
        return has_no_replicas(j) ? "no_replicas" : j->mode_reason;
    if (n->panic_read && n->v.read)
        return j->mode == JS_ON_HOLD ? "panic_hold" : "panic_best";
    return n->reason[0] != '\0' ? n->reason : "unknown";
}

static void emit_flag(const struct judge *j, const struct judge_node *n, const char *what, bool on,
                      struct now now)
{
    struct gate_flip f = {0};
    (void)str_copy(f.what, sizeof(f.what), what);
    (void)str_copy(f.from, sizeof(f.from), on ? "off" : "on");
    (void)str_copy(f.to, sizeof(f.to), on ? "on" : "off");
    (void)str_copy(f.reason, sizeof(f.reason), shown_reason(j, n));
    judge_emit(j, n, &f, now);
}

static int fallback_weight(const struct judge *j)
{
    if (has_no_replicas(j))
        return 100;
    int weight = (int)(j->gate.guard_weight * 100 + 0.5);
    return weight < 1 ? 1 : (weight > 100 ? 100 : weight);
}

static void decide(struct judge *j, struct judge_node *n, struct now now)
{
    struct verdict *v = &n->v;
    bool was_read = v->read, was_write = v->write, is_own = judge_is_own(j, n);
    v->fallback = is_own && takes_fallback(j, n);
    v->read = v->fallback || (is_own && n->role == ROLE_REPLICA && (n->published || n->panic_read));
    v->write = is_own && takes_writes(j, n);
    if (v->fallback)
        v->weight = fallback_weight(j);
    else
        judge_weigh(n, was_read, now.mono);
    if (v->read != was_read)
        emit_flag(j, n, "read", v->read, now);
    if (v->write != was_write)
        emit_flag(j, n, "write", v->write, now);
}

static void fill_lag(const struct judge_node *n, struct verdict *v)
{
    bool is_shown = n->lag.known && v->up && n->role == ROLE_REPLICA;
    v->lag_ms = is_shown ? n->lag.shown_ms : LAG_UNKNOWN;
    v->lag_lo_ms = is_shown ? n->lag.lo_ms : LAG_UNKNOWN;
    v->lag_hi_ms = is_shown ? n->lag.hi_ms : LAG_UNKNOWN;
    v->wal_lag_ms = is_shown ? n->lag.wal_shown_ms : LAG_UNKNOWN;
    v->lag_bytes = is_shown ? n->lag.bytes : LAG_UNKNOWN;
}

static void fill_facts(const struct judge *j, struct judge_node *n, struct now now)
{
    struct verdict *v = &n->v;
    const struct probe_result *r = &n->last;
    bool is_replica = n->role == ROLE_REPLICA;
    v->role = n->role;
    v->up = judge_up(j, n, now.mono);
    v->unobservable = judge_unobservable(j, n, now.mono);
    v->cause = judge_cause(j, n, now.mono);
    v->streaming_known = is_replica && v->up && r->receiver_known;
    v->streaming = v->streaming_known && r->streaming;
    v->replay_paused = is_replica && r->replay_paused;
    v->expected_delay_ms = is_replica ? i64_max(0, r->apply_delay_ms) : 0;
    v->lsn = is_replica ? r->replay : r->write;
    v->timeline = n->timeline;
    v->server_version = r->server_version;
    v->decided_at = now.wall;
    if (mono_is_set(r->started))
        v->read_at = wall_add(now.wall, -i64_max(0, mono_diff(now.mono, r->ended)));
    fill_lag(n, v);
}

static const char *seconds(int64_t ms, char *out, size_t n)
{
    if (ms == LAG_INFINITE)
        (void)snprintf(out, n, "inf");
    else
        (void)snprintf(out, n, "%.3fs", (double)ms / 1000);
    return out;
}

void judge_tell(const struct judge *j, struct judge_node *n)
{
    char lo[24], hi[24], replay[LSN_TEXT_MAX], primary[LSN_TEXT_MAX];
    struct timeline_entry newest = {.write = 0};
    char *out = n->v.evidence;
    if (!n->answered && n->failures > 0) {
        (void)snprintf(out, EVIDENCE_MAX, "no answer: %s, %d times in a row",
                       pg_failure_name(n->failure), n->failures);
        return;
    }
    if (!n->lag.known) {
        (void)snprintf(out, EVIDENCE_MAX, "role=%s timeline=%u", node_role_name(n->role),
                       n->timeline);
        return;
    }
    if (!timeline_newest(j->ring, &newest))
        return;
    (void)snprintf(out, EVIDENCE_MAX, "lo=%s hi=%s replay=%s primary=%s timeline=%u%s%s%s",
                   seconds(n->lag.lo_ms, lo, sizeof(lo)), seconds(n->lag.hi_ms, hi, sizeof(hi)),
                   lsn_format(n->last.replay, replay), lsn_format(newest.write, primary),
                   n->timeline, n->lag.snapshot_rule ? " by=snapshot" : "",
                   n->tightened ? " by=receipt" : "", j->primary_seen ? "" : " primary=unread");
}

static const char *cluster_reason(const struct judge *j)
{
    if (j->blind)
        return "blind";
    if (j->split_held)
        return "split_brain";
    if (j->mode != JS_NORMAL)
        return j->mode_reason;
    if (has_no_replicas(j))
        return "no_replicas";
    return j->primary_seen ? "" : "primary_unseen";
}

static void fill_cluster(struct judge *j)
{
    struct cluster_verdict *c = &j->verdict;
    (void)str_copy(c->cluster, sizeof(c->cluster), j->cluster);
    c->judged = j->scope == SCOPE_CLUSTER;
    c->blind = j->blind;
    c->primary_unseen = !j->primary_seen && !j->split_held;
    c->split_brain = j->split_brain;
    c->no_replicas = has_no_replicas(j);
    c->reads_on_primary =
        c->judged && j->mode == JS_ON_PRIMARY && j->primary >= 0 && j->nodes[j->primary].v.fallback;
    c->fresh_count = 0;
    for (size_t i = 0; i < j->node_count; i++)
        c->fresh_count += j->nodes[i].role == ROLE_REPLICA && j->nodes[i].v.state == FRESH_FRESH;
    c->replica_count = (int)judge_candidates(j);
    c->primary[0] = '\0';
    if (j->primary >= 0)
        (void)str_copy(c->primary, sizeof(c->primary), j->nodes[j->primary].v.node);
    (void)str_copy(c->reason, sizeof(c->reason), cluster_reason(j));
}

void judge_publish(struct judge *j, struct now now, bool held)
{
    for (size_t i = 0; i < j->node_count; i++) {
        struct judge_node *n = &j->nodes[i];
        fill_facts(j, n, now);
        if (!held)
            decide(j, n, now);
        (void)str_copy(n->v.reason, sizeof(n->v.reason), shown_reason(j, n));
    }
    fill_cluster(j);
}
