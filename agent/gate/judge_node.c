/*
 * judge_node.c: what the evidence about one node means, as an event for the table.
 *
 * Two kinds of evidence are kept apart: what speaks against a node (it does not answer, its lag is
 * proven, its timeline is old) and what is only missing (the primary is unread, a login is refused,
 * a name does not resolve). The second kind never takes a node out. Events are told by level, not
 * by edge: the same evidence gives the same event each tick, and the table makes nothing of
 * repeats.
 *
 * Invariant: lag counts only in a tick with an answer of that node, so a tick without one moves
 * nobody, neither out nor back.
 */
#include "judge_private.h"

#include "pgvigil/base/str.h"
#include "pgvigil/gate/lsn.h"

/* Readings are taken some milliseconds off the grid of ticks: a lag this close to the limit has
 * reached it, or flips would come a whole tick late. */
#define LEAVE_JITTER_MS 60
/* hi over the limit this many ticks in a row, before the state says unknown. */
#define DOUBT_TICKS 3
/* A server that says "starting up" is not down for this long. */
#define STARTING_MS 60000
/*
 * After a blindness the sessions come back one by one, each after its backoff (up to 30 s) and a
 * connect: until then silence is our own.
 */
#define SIGHT_GRACE_MS 35000

/* ---- answering ---- */

static enum unobservable own_loss(enum pg_failure failure)
{
    switch (failure) {
    case PG_FAIL_AUTH:
        return UNOBSERVABLE_LOGIN;
    case PG_FAIL_GRANT:
        return UNOBSERVABLE_GRANT;
    case PG_FAIL_CONFIG:
        return UNOBSERVABLE_CONFIG;
    case PG_FAIL_RESOLVE:
        return UNOBSERVABLE_NAME;
    case PG_FAIL_SATURATED:
        return UNOBSERVABLE_SATURATED;
    case PG_FAIL_NONE:
    case PG_FAIL_CONNECT:
    case PG_FAIL_TIMEOUT:
    case PG_FAIL_STARTING:
    case PG_FAIL_PROTOCOL:
    case PG_FAIL_CLOSED:
        break;
    }
    return UNOBSERVABLE_NOT;
}

static bool is_own_loss(enum pg_failure failure)
{
    return own_loss(failure) != UNOBSERVABLE_NOT;
}

bool judge_counts_against(enum pg_failure failure)
{
    return !is_own_loss(failure) && failure != PG_FAIL_STARTING;
}

bool judge_starting(const struct judge_node *n, mono_ms now)
{
    return !n->answered && n->failure == PG_FAIL_STARTING && mono_is_set(n->starting_since) &&
           mono_diff(now, n->starting_since) < STARTING_MS;
}

bool judge_up(const struct judge *j, const struct judge_node *n, mono_ms now)
{
    return n->failures < j->gate.down_after || judge_starting(n, now);
}

static bool has_sight_grace(const struct judge *j, const struct judge_node *n, mono_ms now)
{
    if (!mono_is_set(j->sight_back) || mono_diff(now, j->sight_back) >= SIGHT_GRACE_MS)
        return false;
    return mono_is_set(n->last.ended) && mono_before(n->last.ended, j->sight_back);
}

static enum judge_event failure_event(const struct judge *j, const struct judge_node *n,
                                      mono_ms now)
{
    if (n->answered || n->failures < j->gate.down_after)
        return EV_NONE;
    if (j->blind && j->gate.on_total_loss == LOSS_UNHEALTHY)
        return EV_TOTAL_LOSS;
    if (n->failure == PG_FAIL_STARTING)
        return judge_starting(n, now) ? EV_STARTING : EV_FAILED;
    if (is_own_loss(n->failure))
        return EV_UNOBSERVABLE;
    if (n->counted < j->gate.down_after || has_sight_grace(j, n, now))
        return EV_NONE;
    return EV_FAILED;
}

/*
 * A replica that streams from another one of ours says nothing of the primary: its link lives on
 * without one. A sender that is no node of ours may be the primary under another name.
 */
static bool is_cascaded(const struct judge *j, const struct judge_node *n)
{
    for (size_t i = 0; i < j->node_count; i++) {
        const struct judge_node *up = &j->nodes[i];
        if (up != n && up->role == ROLE_REPLICA && up->host[0] != '\0' &&
            str_eq(up->host, n->last.sender_host) && up->port == n->last.sender_port)
            return true;
    }
    return false;
}

/* Somebody who answers us hears from the primary. */
static bool is_streamed_from(const struct judge *j, const struct judge_node *primary)
{
    for (size_t i = 0; i < j->node_count; i++) {
        const struct judge_node *n = &j->nodes[i];
        if (n->answered && n->role == ROLE_REPLICA && n->last.receiver_known && n->last.streaming &&
            n->last.system_id == primary->last.system_id && !is_cascaded(j, n))
            return true;
    }
    return false;
}

/*
 * Only what lasts as long as it takes to be called down. One node alone cannot be told from the
 * cluster: when it does not answer, that is a finding about the node, and its own alerts tell it.
 */
enum unobservable judge_unobservable(const struct judge *j, const struct judge_node *n, mono_ms now)
{
    if (n->answered || n->failures < j->gate.down_after || judge_starting(n, now))
        return UNOBSERVABLE_NOT;
    if (is_own_loss(n->failure))
        return own_loss(n->failure);
    if (j->node_count > 1 && (j->blind || has_sight_grace(j, n, now)))
        return UNOBSERVABLE_BLIND;
    if (n->role == ROLE_PRIMARY && is_streamed_from(j, n))
        return UNOBSERVABLE_STREAMING;
    return n->role == ROLE_UNKNOWN ? UNOBSERVABLE_NEVER_SEEN : UNOBSERVABLE_NOT;
}

enum fresh_cause judge_cause(const struct judge *j, const struct judge_node *n, mono_ms now)
{
    if (!n->answered) {
        if (judge_starting(n, now))
            return CAUSE_STARTING;
        return n->failures >= j->gate.down_after ? CAUSE_ABSENT : CAUSE_NONE;
    }
    if (n->role != ROLE_REPLICA)
        return CAUSE_NONE;
    if (n->last.replay_paused)
        return CAUSE_REPLAY_PAUSED;
    if (n->last.apply_delay_ms >= n->max_lag_ms)
        return CAUSE_DELAYED;
    if (n->last.receiver_known && !n->last.streaming)
        return CAUSE_LINK_DOWN;
    bool waits = n->v.state == FRESH_STALE || (n->v.state == FRESH_UNKNOWN && !n->published);
    return waits && n->lag.known ? CAUSE_CATCHING_UP : CAUSE_NONE;
}

/* ---- measuring ---- */

/*
 * With the primary unread, the age of the last message from it bounds the lag of a replica that
 * has replayed all it was told of. Only for one that streams from the primary itself: a cascaded
 * one's link is fresh while its data is not. A sender that is still catching up can fool this, so
 * it is good enough to stay fresh and never to become it.
 */
static void tighten(const struct judge *j, struct judge_node *n, mono_ms now)
{
    const struct probe_result *r = &n->last;
    if (j->primary_seen || j->primary < 0 || !n->answered || !r->receiver_known || !r->streaming ||
        r->latest_end == 0 || r->replay < r->latest_end || r->receipt_age_ms < 0)
        return;
    const struct judge_node *primary = &j->nodes[j->primary];
    if (primary->host[0] == '\0' || !str_eq(primary->host, r->sender_host) ||
        primary->port != r->sender_port)
        return;
    int64_t hi = r->receipt_age_ms + i64_max(0, mono_diff(now, r->started));
    if (hi >= n->lag.hi_ms)
        return;
    n->lag.hi_ms = i64_max(hi, n->lag.lo_ms);
    n->lag.shown_ms = i64_min(n->lag.shown_ms, n->lag.hi_ms);
    n->tightened = true;
}

bool judge_on_old_timeline(const struct judge *j, const struct judge_node *n)
{
    if (n->timeline == 0 || n->timeline >= j->tli)
        return false;
    bool is_before_fork = n->role == ROLE_REPLICA && !n->last.streaming && j->ring != NULL &&
                          timeline_tli(j->ring) == j->tli && n->last.replay <= j->fork;
    return !is_before_fork;
}

static bool is_on_ring(const struct judge *j, const struct judge_node *n)
{
    if (n->role != ROLE_REPLICA || !n->last.has_replay || j->ring == NULL ||
        n->last.system_id != timeline_system_id(j->ring))
        return false;
    /* On a newer timeline than the ring's, positions beyond the fork cannot be compared. */
    return n->timeline <= timeline_tli(j->ring) && !judge_on_old_timeline(j, n);
}

void judge_measure(const struct judge *j, struct judge_node *n, mono_ms now)
{
    n->lag = (struct lag_bounds){.known = false};
    n->tightened = false;
    if (!mono_is_set(n->last.started) || !is_on_ring(j, n))
        return;
    timeline_judge(j->ring, n->last.replay, n->last.started, now, &n->lag);
    /* Older than the ring: something is missing, and only the replica's own clock says since when.
     */
    if (n->lag.hi_ms == LAG_INFINITE && n->lag.lo_ms > 0)
        n->lag.shown_ms = i64_max(n->lag.shown_ms, n->last.replay_age_ms);
    if (n->lag.known)
        tighten(j, n, now);
}

/* ---- lag ---- */

/*
 * A delayed standby under max_lag stands at its delay at best: half of what is left above it is
 * its way back. And hi is never below the sampling interval, whatever the limit.
 */
static int64_t return_limit_ms(const struct judge *j, const struct judge_node *n)
{
    int64_t delay = i64_max(0, n->last.apply_delay_ms);
    int64_t half = delay + (n->max_lag_ms - delay) / 2;
    return i64_min(i64_max(half, delay + j->interval_ms * 3 / 2), n->max_lag_ms);
}

static bool is_proven_under(const struct judge_node *n, int64_t limit_ms)
{
    return n->lag.known && !n->tightened && n->lag.hi_ms <= limit_ms;
}

/* hi is at the limit or over it, and lo is not: nothing is proven any more. */
static enum judge_event doubt_event(const struct judge *j, struct judge_node *n)
{
    if (!n->published)
        return EV_NONE;
    if (n->lag.known && n->lag.hi_ms < n->max_lag_ms) {
        n->doubt_ticks = 0;
        return EV_NONE;
    }
    if (++n->doubt_ticks < DOUBT_TICKS)
        return EV_NONE;
    return j->primary_seen ? EV_UNSURE : EV_UNSEEN;
}

static enum judge_event hold_event(const struct judge *j, struct judge_node *n, mono_ms now)
{
    bool is_gap = mono_is_set(n->good_since) && mono_diff(now, n->good_at) > judge_contact_ms(j);
    if (!mono_is_set(n->good_since) || is_gap)
        n->good_since = now;
    n->good_at = now;
    return mono_diff(now, n->good_since) >= n->hold_ms ? EV_RETURN : EV_HOLD;
}

static enum judge_event waiting_event(const struct judge *j, struct judge_node *n, mono_ms now)
{
    if (!n->lag.known)
        return EV_NONE;
    if (n->undecided && is_proven_under(n, n->max_lag_ms - 1))
        return EV_FIRST;
    if (is_proven_under(n, return_limit_ms(j, n)))
        return hold_event(j, n, now);
    n->good_since = MONO_UNSET;
    return EV_BEHIND;
}

static enum judge_event lag_event(const struct judge *j, struct judge_node *n, mono_ms now)
{
    if (!n->observed)
        return doubt_event(j, n);
    int64_t lo = n->lag.known ? n->lag.lo_ms + LEAVE_JITTER_MS : 0;
    n->over_ticks = lo >= n->max_lag_ms ? n->over_ticks + 1 : 0;
    if (lo >= n->hard_lag_ms)
        return EV_HARD;
    if (n->over_ticks > 0) {
        n->good_since = MONO_UNSET;
        return n->over_ticks >= j->gate.fall ? EV_LAG : EV_NONE;
    }
    if (!n->published)
        return waiting_event(j, n, now);
    if (is_proven_under(n, n->max_lag_ms - 1)) {
        n->doubt_ticks = 0;
        return EV_SURE;
    }
    return doubt_event(j, n);
}

/* ---- both together ---- */

static enum judge_event exclusion_event(const struct judge_node *n)
{
    if (!n->v.read_config)
        return EV_READ_OFF;
    if (n->role != ROLE_REPLICA || !mono_is_set(n->last.started))
        return EV_NONE;
    if (!n->last.has_replay)
        return EV_NO_REPLAY_LSN;
    return n->last.apply_delay_ms >= n->max_lag_ms ? EV_DELAYED : EV_NONE;
}

static enum judge_event identity_event(const struct judge *j, const struct judge_node *n)
{
    if (j->system_id != 0 && n->last.system_id != 0 && n->last.system_id != j->system_id)
        return EV_OTHER_SYSTEM;
    return judge_on_old_timeline(j, n) ? EV_OLD_TIMELINE : EV_NONE;
}

static enum judge_event primary_event(const struct judge *j, const struct judge_node *n,
                                      mono_ms now)
{
    if (!n->answered)
        return failure_event(j, n, now);
    enum judge_event identity = identity_event(j, n);
    if (identity != EV_NONE)
        return identity;
    return n->as_primary && n->v.state == FRESH_FRESH ? EV_NONE : EV_PRIMARY;
}

static enum judge_event replica_event(const struct judge *j, struct judge_node *n, mono_ms now)
{
    enum judge_event excluded = exclusion_event(n);
    if (excluded != EV_NONE)
        return excluded;
    if (!n->answered) {
        enum judge_event failed = failure_event(j, n, now);
        return failed != EV_NONE ? failed : doubt_event(j, n);
    }
    if (n->as_primary)
        return EV_DEMOTED;
    enum judge_event identity = identity_event(j, n);
    if (identity != EV_NONE)
        return identity;
    if (n->v.state == FRESH_EXCLUDED)
        return EV_READMITTED;
    if (n->v.state == FRESH_DIVERGED)
        return EV_REJOINED;
    if (n->v.state == FRESH_DOWN)
        return EV_ANSWERED;
    return lag_event(j, n, now);
}

enum judge_event judge_node_event(const struct judge *j, struct judge_node *n, mono_ms now)
{
    if (n->role == ROLE_PRIMARY)
        return primary_event(j, n, now);
    if (!mono_is_set(n->result_at) && n->v.read_config)
        return EV_NONE;
    return replica_event(j, n, now);
}

/* ---- where a node is, for "direct replica of" ---- */

static bool endpoint_uri(const char *dsn, char *host, size_t n, int *port)
{
    const char *at = strstr(dsn, "://");
    if (at == NULL)
        return false;
    at += 3;
    size_t len = strcspn(at, "/?");
    const char *user_end = memrchr(at, '@', len);
    if (user_end != NULL) {
        len -= (size_t)(user_end + 1 - at);
        at = user_end + 1;
    }
    size_t host_len = size_min(len, strcspn(at, ":,"));
    if (host_len >= n)
        return true;
    memcpy(host, at, host_len);
    host[host_len] = '\0';
    if (host_len < len && at[host_len] == ':')
        *port = (int)strtol(at + host_len + 1, NULL, 10);
    return true;
}

/* Value of `key=` in a conninfo text, quotes left out; false if it is not there. */
static bool conninfo_value(const char *dsn, const char *key, char *out, size_t n)
{
    size_t key_len = strlen(key);
    for (const char *at = dsn; (at = strstr(at, key)) != NULL; at += key_len) {
        bool is_start = at == dsn || at[-1] == ' ';
        const char *value = at + key_len;
        if (!is_start || *value != '=')
            continue;
        value += value[1] == '\'' ? 2 : 1;
        size_t len = strcspn(value, " '");
        if (len >= n)
            return false;
        memcpy(out, value, len);
        out[len] = '\0';
        return true;
    }
    return false;
}

/* A host that is not plain to see (service file, socket, several) stays "": never called direct. */
void judge_endpoint(const char *dsn, char *host, size_t n, int *port)
{
    host[0] = '\0';
    *port = 5432;
    if (dsn == NULL || endpoint_uri(dsn, host, n, port))
        return;
    char text[8];
    if (!conninfo_value(dsn, "hostaddr", host, n) && !conninfo_value(dsn, "host", host, n))
        return;
    if (conninfo_value(dsn, "port", text, sizeof(text)))
        *port = (int)strtol(text, NULL, 10);
}
