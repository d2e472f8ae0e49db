/*
 * The gate's reports become samples here, on the engine's side, so that the gate's thread never
 * touches a series. While a lag is not proven the source counts as failing, so that alerts on it
 * are held instead of resolved. A report is complete in itself; the newest one of each node and
 * cluster since the last flush counts. Health follows the verdict: while a node is unknown or
 * cannot be observed (the agent may be the blind one) the last value stays, and such time counts
 * neither as healthy nor as observed. Whether a node is observed at all is known here only: the
 * gate tells of its probes, the registry of what the node refuses to the collectors.
 */
#include "collect_private.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define OBSERVED_GAP_MAX_MS 10000 /* a longer gap is time in which nobody looked */

struct node_samples {
    struct gate_report report; /* newest */
    bool fresh;                /* since the last flush */
    int health;                /* 0, 1; -1 = not known yet */
    double healthy_s, observed_s;
    mono_ms counted; /* availability is counted up to here */
};

struct cluster_samples {
    struct cluster_verdict verdict;
    bool fresh;
};

struct replication {
    struct collect_env *env;
    struct node_samples *nodes;
    size_t node_count;
    struct cluster_samples *clusters;
    size_t cluster_count;
    struct config *config;
    int64_t interval_ms;
};

struct replication *replication_create(struct collect_env *env)
{
    struct replication *r = mem_alloc(sizeof(*r));
    r->env = env;
    return r;
}

void replication_destroy(struct replication **r)
{
    if (*r == NULL)
        return;
    mem_free((*r)->nodes);
    mem_free((*r)->clusters);
    config_unref(&(*r)->config);
    MEM_FREE_NULL(r);
}

static struct node_samples *node_find(struct replication *r, const char *name)
{
    for (size_t i = 0; i < r->node_count; i++)
        if (str_eq(r->nodes[i].report.u.node.verdict.node, name))
            return &r->nodes[i];
    return NULL;
}

static void node_add(struct replication *r, const char *name)
{
    if (node_find(r, name) != NULL)
        return;
    r->nodes = mem_realloc_array(r->nodes, r->node_count + 1, sizeof(*r->nodes));
    struct node_samples *n = &r->nodes[r->node_count++];
    *n = (struct node_samples){.health = -1, .counted = MONO_UNSET};
    str_copy(n->report.u.node.verdict.node, NODE_NAME_MAX, name);
}

static struct source_state *node_source(struct replication *r, const char *name)
{
    struct source_state *st = sources_get(r->env->opts.sources, name, "replication");
    st->configured = true;
    st->interval_ms = r->interval_ms;
    return st;
}

static bool cluster_listed(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->node_count; i++)
        if (str_eq(config->nodes[i].cluster, name))
            return true;
    return false;
}

static const char *cluster_source(const char *name, char out[BATCH_SOURCE_MAX])
{
    snprintf(out, BATCH_SOURCE_MAX, "%s/gate", *name != '\0' ? name : "default");
    return out;
}

/* A cluster has no collectors of its own, so its series are ended here. */
static void drop_clusters(struct replication *r)
{
    char source[BATCH_SOURCE_MAX];
    size_t kept = 0;
    for (size_t i = 0; i < r->cluster_count; i++) {
        if (cluster_listed(r->config, r->clusters[i].verdict.cluster))
            r->clusters[kept++] = r->clusters[i];
        else
            r->env->opts.drop(cluster_source(r->clusters[i].verdict.cluster, source),
                              loop_now(r->env->opts.loop).wall, r->env->opts.arg);
    }
    r->cluster_count = kept;
}

void replication_config(struct replication *r, struct config *config)
{
    size_t kept = 0;
    config_unref(&r->config);
    r->config = config_ref(config);
    r->interval_ms = config->intervals.replication_ms;
    for (size_t i = 0; i < config->node_count; i++) {
        node_add(r, config->nodes[i].name);
        node_source(r, config->nodes[i].name);
    }
    for (size_t i = 0; i < r->node_count; i++) {
        if (config_node_find(config, r->nodes[i].report.u.node.verdict.node) != NULL)
            r->nodes[kept++] = r->nodes[i];
    }
    r->node_count = kept;
    drop_clusters(r);
}

void replication_report(struct replication *r, const struct gate_report *report)
{
    if (report->kind == GATE_REPORT_NODE) {
        struct node_samples *n = node_find(r, report->u.node.verdict.node);
        if (n == NULL)
            return; /* taken out of the configuration; the gate had not heard yet */
        n->report = *report;
        n->fresh = true;
        return;
    }
    if (!cluster_listed(r->config, report->u.cluster.cluster))
        return;
    size_t i = 0;
    while (i < r->cluster_count &&
           !str_eq(r->clusters[i].verdict.cluster, report->u.cluster.cluster))
        i++;
    if (i == r->cluster_count)
        r->clusters = mem_realloc_array(r->clusters, ++r->cluster_count, sizeof(*r->clusters));
    r->clusters[i] = (struct cluster_samples){.verdict = report->u.cluster, .fresh = true};
}

/* ---- a node ---- */

/* A verdict that went against a node that was known was taken on purpose (gate.on_total_loss), or
 * before sight of it was lost. */
static bool is_held(const struct verdict *v)
{
    bool is_out = v->state == FRESH_DOWN || v->state == FRESH_DIVERGED;
    if (v->state == FRESH_UNKNOWN || v->unobservable == UNOBSERVABLE_NEVER_SEEN)
        return true;
    return v->unobservable != UNOBSERVABLE_NOT && !is_out;
}

static void update_health(struct node_samples *n, const struct verdict *v)
{
    if (is_held(v))
        return;
    switch (v->state) {
    case FRESH_FRESH:
    case FRESH_STALE:
    case FRESH_EXCLUDED:
        n->health = v->up;
        break;
    case FRESH_DOWN:
    case FRESH_DIVERGED:
        n->health = 0;
        break;
    case FRESH_UNKNOWN:
        break;
    }
}

static void count_availability(struct node_samples *n, const struct verdict *v, mono_ms now)
{
    int64_t step = mono_is_set(n->counted) ? mono_diff(now, n->counted) : 0;
    n->counted = now;
    if (is_held(v) || n->health < 0 || step > OBSERVED_GAP_MAX_MS)
        return;
    n->observed_s += (double)step / 1000;
    n->healthy_s += n->health == 1 ? (double)step / 1000 : 0;
}

static bool lag_known(int64_t ms)
{
    return ms != LAG_UNKNOWN && ms != LAG_INFINITE;
}

static void add_lag(struct batch_builder *b, const struct verdict *v)
{
    const char *node = v->node;
    /* without proof only the bounds are told: a figure between them would fire or resolve alerts */
    if (lag_known(v->lag_ms) && v->state != FRESH_UNKNOWN)
        BATCH_ADD(b, "db_replication_lag_seconds", (double)v->lag_ms / 1000, "replica", node);
    if (lag_known(v->lag_lo_ms))
        BATCH_ADD(b, "db_replication_lag_bound_seconds", (double)v->lag_lo_ms / 1000, "replica",
                  node, "bound", "lo");
    if (lag_known(v->lag_hi_ms))
        BATCH_ADD(b, "db_replication_lag_bound_seconds", (double)v->lag_hi_ms / 1000, "replica",
                  node, "bound", "hi");
    if (lag_known(v->wal_lag_ms))
        BATCH_ADD(b, "db_replication_wal_lag_seconds", (double)v->wal_lag_ms / 1000, "replica",
                  node);
    if (lag_known(v->lag_bytes))
        BATCH_ADD(b, "db_replication_lag_bytes", (double)v->lag_bytes, "replica", node);
}

static void add_replica(struct batch_builder *b, struct node_samples *n, const struct verdict *v)
{
    static const enum fresh_state states[] = {FRESH_UNKNOWN, FRESH_FRESH,    FRESH_STALE,
                                              FRESH_DOWN,    FRESH_DIVERGED, FRESH_EXCLUDED};
    const char *node = v->node;
    add_lag(b, v);
    /* a replica that was taken out on purpose must not page when it is stopped */
    if (n->health >= 0 && v->state != FRESH_EXCLUDED)
        BATCH_ADD(b, "db_replica_health", n->health, "replica", node);
    BATCH_ADD(b, "db_replica_routable", v->read, "replica", node);
    BATCH_ADD(b, "db_replica_weight_ratio", (double)v->weight / 100, "replica", node);
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        BATCH_ADD(b, "db_replica_state", v->state == states[i], "replica", node, "state",
                  fresh_state_name(states[i]));
    BATCH_ADD(b, "db_replica_expected_delay_seconds", (double)v->expected_delay_ms / 1000,
              "replica", node);
    if (v->streaming_known)
        BATCH_ADD(b, "db_replica_streaming", v->streaming, "replica", node);
    BATCH_ADD(b, "db_replica_replay_paused", v->replay_paused, "replica", node);
    BATCH_ADD(b, "db_replica_healthy_seconds_total", n->healthy_s, "replica", node);
    BATCH_ADD(b, "db_replica_observed_seconds_total", n->observed_s, "replica", node);
}

/* "" while the node can be observed. */
static const char *unobservable_reason(const struct replication *r, const struct verdict *v)
{
    if (v->unobservable != UNOBSERVABLE_NOT)
        return unobservable_name(v->unobservable);
    switch (sources_refusal(r->env->opts.sources, v->node)) {
    case REFUSAL_LOGIN:
        return unobservable_name(UNOBSERVABLE_LOGIN);
    case REFUSAL_GRANT:
        return unobservable_name(UNOBSERVABLE_GRANT);
    case REFUSAL_NONE:
        break;
    }
    return "";
}

static void note_source(struct replication *r, const struct gate_report *report, struct now now)
{
    const struct probe_stats *p = &report->u.node.probe;
    struct source_state *st = node_source(r, report->u.node.verdict.node);
    bool proven = report->u.node.verdict.state != FRESH_UNKNOWN;
    if (p->answered && proven)
        sources_good(st, now, p->duration_us);
    else
        sources_bad(st, p->answered ? "the lag is not proven yet" : p->error);
    st->polls_total = p->polls_total;
    st->failures_total = p->failures_total;
    st->skipped_total = p->skipped_total;
}

static void flush_node(struct replication *r, struct node_samples *n, struct now now)
{
    static const enum node_role roles[] = {ROLE_UNKNOWN, ROLE_PRIMARY, ROLE_REPLICA};
    const struct verdict *v = &n->report.u.node.verdict;
    struct batch_builder *b = r->env->builder;
    char source[BATCH_SOURCE_MAX];
    const char *const common[] = {"cluster", v->cluster, NULL};
    note_source(r, &n->report, now);
    update_health(n, v);
    count_availability(n, v, now.mono);
    snprintf(source, sizeof(source), "%s/replication", v->node);
    batch_begin(b, source, n->report.at, common);
    BATCH_ADD(b, "db_up", v->up, "node", v->node);
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        BATCH_ADD(b, "db_node_role", v->role == roles[i], "node", v->node, "role",
                  node_role_name(roles[i]));
    const char *reason = unobservable_reason(r, v);
    BATCH_ADD(b, "db_node_unobservable", *reason != '\0', "node", v->node, "role",
              node_role_name(v->role), "reason", reason);
    if (v->role == ROLE_REPLICA)
        add_replica(b, n, v);
    r->env->opts.emit(batch_finish(b), r->env->opts.arg);
}

/* ---- a cluster ---- */

static void flush_cluster(struct replication *r, const struct cluster_samples *c, struct now now)
{
    const struct cluster_verdict *v = &c->verdict;
    struct batch_builder *b = r->env->builder;
    char source[BATCH_SOURCE_MAX];
    const char *const common[] = {"cluster", v->cluster, NULL};
    batch_begin(b, cluster_source(v->cluster, source), now.wall, common);
    if (v->judged) {
        BATCH_ADD(b, "db_reads_on_primary", v->reads_on_primary);
        BATCH_ADD(b, "db_replicas", v->replica_count);
        BATCH_ADD(b, "db_replicas_fresh", v->fresh_count);
        BATCH_ADD(b, "db_replicas_min_fresh", r->config->gate.min_fresh);
    }
    BATCH_ADD(b, "db_split_brain", v->split_brain);
    BATCH_ADD(b, "db_cluster_blind", v->blind);
    BATCH_ADD(b, "db_primary_unseen", v->primary_unseen);
    r->env->opts.emit(batch_finish(b), r->env->opts.arg);
}

void replication_flush(struct replication *r, struct now now)
{
    for (size_t i = 0; i < r->node_count; i++) {
        if (r->nodes[i].fresh)
            flush_node(r, &r->nodes[i], now);
        r->nodes[i].fresh = false;
    }
    for (size_t i = 0; i < r->cluster_count; i++) {
        if (r->clusters[i].fresh)
            flush_cluster(r, &r->clusters[i], now);
        r->clusters[i].fresh = false;
    }
}
