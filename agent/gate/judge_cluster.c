/*
 * judge_cluster.c: what the nodes' answers say together.
 *
 * The agent must not take its own loss of sight for the cluster's. So there are three degrees:
 * blind (no node answers: everything is held), primary unread (at most half of the replicas that
 * were published when sight was lost may be out, in total), and two primaries on one timeline
 * (nothing tells which is right: everything is held). A primary is the cluster's only on the
 * highest timeline ever seen, so an old one that comes back gets neither reads nor writes.
 *
 * Invariant: the ring holds positions of one history only: it is cut at the fork or begun anew when
 * system or timeline changes, before any replica is measured against it.
 */
#include "judge_private.h"

#include "pgvigil/base/str.h"

/* A primary's reading older than this many intervals does not say where it stands now. */
#define SIGHT_INTERVALS 3

int64_t judge_contact_ms(const struct judge *j)
{
    return j->gate.probe_timeout_ms + SIGHT_INTERVALS * j->interval_ms;
}

/* ---- identity ---- */

static size_t votes_for(const struct judge *j, uint64_t system_id)
{
    size_t votes = 0;
    for (size_t i = 0; i < j->node_count; i++)
        votes += j->nodes[i].last.system_id == system_id;
    return votes;
}

/* The system identifier that most nodes have; at a tie the one that it was, else the first. */
static void look_system(struct judge *j)
{
    uint64_t best = j->system_id;
    size_t best_votes = best != 0 ? votes_for(j, best) : 0;
    for (size_t i = 0; i < j->node_count && best_votes * 2 <= j->node_count; i++) {
        uint64_t id = j->nodes[i].last.system_id;
        size_t votes = id != 0 && id != best ? votes_for(j, id) : 0;
        if (votes > best_votes) {
            best = id;
            best_votes = votes;
        }
    }
    if (best != j->system_id) {
        j->system_id = best;
        j->tli = 0;
    }
}

void judge_drop_restored(struct judge *j)
{
    for (size_t i = 0; i < j->restored_count; i++)
        timeline_destroy(&j->restored[i]);
    j->restored_count = 0;
}

static void adopt_restored(struct judge *j)
{
    if (j->system_id == 0 || j->restored_count == 0)
        return;
    for (size_t i = 0; i < j->restored_count; i++) {
        if (timeline_system_id(j->restored[i]) != j->system_id || j->ring != NULL)
            continue;
        j->ring = j->restored[i];
        j->restored[i] = NULL;
        j->tli = timeline_tli(j->ring);
    }
    judge_drop_restored(j);
}

static void look_timeline(struct judge *j)
{
    for (size_t i = 0; i < j->node_count; i++) {
        const struct judge_node *n = &j->nodes[i];
        if (n->answered && n->last.system_id == j->system_id && n->timeline > j->tli)
            j->tli = n->timeline;
    }
}

static void emit_role(const struct judge *j, const struct judge_node *n, enum node_role from,
                      struct now now)
{
    struct gate_flip f = {.what = "role", .reason = "role"};
    (void)str_copy(f.from, sizeof(f.from), node_role_name(from));
    (void)str_copy(f.to, sizeof(f.to), node_role_name(n->role));
    judge_emit(j, n, &f, now);
}

/* Taking up what was observed; a role that was known and is another one is a flip. */
static void take_role(struct judge *j, struct judge_node *n, struct now now)
{
    if (!n->observed || !n->answered)
        return;
    enum node_role was = n->role;
    n->role = n->last.role;
    if (n->role == ROLE_REPLICA) {
        bool is_same_history = was != ROLE_PRIMARY && n->v.system_id == n->last.system_id;
        if (!is_same_history || n->last.timeline > n->timeline)
            n->timeline = n->last.timeline;
        n->replay_seen = n->last.replay;
    } else {
        n->timeline = n->last.timeline;
    }
    n->v.system_id = n->last.system_id;
    if (was != ROLE_UNKNOWN && was != n->role)
        emit_role(j, n, was, now);
}

/* ---- primary ---- */

static bool is_seen(const struct judge *j, const struct judge_node *n, mono_ms now)
{
    return n->answered && mono_diff(now, n->last.ended) <= SIGHT_INTERVALS * j->interval_ms;
}

static bool is_true_primary(const struct judge *j, const struct judge_node *n)
{
    return n->role == ROLE_PRIMARY && n->timeline == j->tli && n->last.system_id == j->system_id;
}

static void look_primary(struct judge *j, mono_ms now)
{
    int chosen = -1, on_top = 0, writable = 0;
    for (size_t i = 0; i < j->node_count; i++) {
        const struct judge_node *n = &j->nodes[i];
        if (n->role != ROLE_PRIMARY || !is_seen(j, n, now) || n->last.system_id != j->system_id)
            continue;
        writable++;
        if (!is_true_primary(j, n))
            continue;
        on_top++;
        if (chosen < 0 || (int)i == j->primary)
            chosen = (int)i;
    }
    j->split_brain = writable > 1;
    j->split_held = on_top > 1;
    j->primary_seen = on_top == 1;
    if (chosen >= 0) {
        j->primary = chosen;
    } else if (j->primary >= 0 && mono_is_set(j->nodes[j->primary].last.started) &&
               !is_true_primary(j, &j->nodes[j->primary])) {
        /* Only unread, it would have stayed the primary: it has become something else. */
        j->primary = -1;
    }
}

/* ---- ring ---- */

static void new_ring(struct judge *j)
{
    timeline_destroy(&j->ring);
    j->ring = timeline_create(j->system_id, j->tli);
    j->fork = 0;
}

/*
 * A promotion keeps the history up to the fork. The exact fork is not to be had without reading
 * files; the last replay position seen of the new primary cannot lie beyond it.
 */
static void follow_promotion(struct judge *j, const struct judge_node *primary)
{
    if (primary->replay_seen == 0) {
        new_ring(j);
        return;
    }
    timeline_cut(j->ring, primary->replay_seen);
    timeline_rename(j->ring, j->tli);
    j->fork = primary->replay_seen;
}

static void feed_primary(struct judge *j)
{
    const struct judge_node *n = &j->nodes[j->primary];
    const struct probe_result *r = &n->last;
    const struct timeline_entry e = {.t_before = r->started,
                                     .t_after = r->ended,
                                     .write = r->write,
                                     .insert = r->insert,
                                     .snap = {r->snap[0], r->snap[1]}};
    if (!n->observed || !n->answered || r->write == 0)
        return;
    if (j->ring == NULL || timeline_system_id(j->ring) != j->system_id ||
        timeline_tli(j->ring) > j->tli)
        new_ring(j);
    else if (timeline_tli(j->ring) < j->tli)
        follow_promotion(j, n);
    /* Refused once: it went back (pg_resetwal, or restored in place). */
    for (int attempt = 0; attempt < 2 && !timeline_add(j->ring, &e); attempt++)
        new_ring(j);
}

/* The farthest that any replica of this timeline has received while the primary is unread. */
static void feed_surrogate(struct judge *j)
{
    struct timeline_entry e = {.write = 0};
    for (size_t i = 0; i < j->node_count; i++) {
        const struct judge_node *n = &j->nodes[i];
        if (!n->observed || !n->answered || n->role != ROLE_REPLICA || n->timeline != j->tli ||
            n->last.system_id != j->system_id || n->last.receive <= e.write)
            continue;
        e.write = e.insert = n->last.receive;
        e.t_before = n->last.started;
        e.t_after = n->last.ended;
    }
    if (e.write == 0)
        return;
    if (j->ring == NULL)
        new_ring(j);
    if (timeline_system_id(j->ring) != j->system_id || timeline_tli(j->ring) != j->tli)
        return;
    /* Refused when it is behind the ring: then it proves nothing new. */
    bool is_news = timeline_add(j->ring, &e);
    (void)is_news;
}

/* ---- sight ---- */

static bool has_contact(const struct judge *j, const struct judge_node *n, mono_ms now)
{
    mono_ms since = mono_is_set(n->result_at) ? n->result_at : j->created;
    bool speaks = n->answered || !mono_is_set(n->result_at) || n->failure == PG_FAIL_STARTING;
    return speaks && mono_diff(now, since) <= judge_contact_ms(j);
}

static void look_contact(struct judge *j, mono_ms now)
{
    bool was_blind = j->blind;
    j->blind = j->node_count > 0;
    for (size_t i = 0; i < j->node_count && j->blind; i++)
        j->blind = !has_contact(j, &j->nodes[i], now);
    if (was_blind && !j->blind)
        j->sight_back = now;
}

static void look_sight(struct judge *j)
{
    if (j->had_sight && !j->primary_seen) {
        for (size_t i = 0; i < j->node_count; i++)
            j->nodes[i].was_published = j->nodes[i].published;
    }
    j->had_sight = j->primary_seen;
}

void judge_look(struct judge *j, struct now now)
{
    for (size_t i = 0; i < j->node_count; i++)
        take_role(j, &j->nodes[i], now);
    look_contact(j, now.mono);
    look_system(j);
    adopt_restored(j);
    look_timeline(j);
    look_primary(j, now.mono);
    look_sight(j);
    if (j->primary_seen)
        feed_primary(j);
    else if (!j->split_held)
        feed_surrogate(j);
}

/* ---- half rule ---- */

enum judge_event judge_half_rule(const struct judge *j, const struct judge_node *n,
                                 enum judge_event event)
{
    bool takes_out = event == EV_LAG || event == EV_HARD || event == EV_FAILED;
    if (!takes_out || !n->published || j->primary_seen)
        return event;
    size_t base = 0, out = 0;
    for (size_t i = 0; i < j->node_count; i++) {
        base += j->nodes[i].was_published;
        out += j->nodes[i].was_published && !j->nodes[i].published;
    }
    return out + 1 > base / 2 ? EV_HALF : event;
}
